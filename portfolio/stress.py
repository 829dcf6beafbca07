"""Expected loss of the portfolio under stress."""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd

from obligor.errors import SchemaError
from obligor.policy.rulebooks.draft import Rule
from obligor.policy.rulebooks.rulebook import Rulebook
from obligor.portfolio.comparison import summary
from obligor.portfolio.decide_many import PortfolioDecisions, decide_many
from obligor.portfolio.snapshot import Portfolio

SECTOR_SCENARIO = "sector"  # the row of the table ``stress`` that shocks one sector


@dataclass(frozen=True)
class Scenario:
    """A stress scenario.

    Attributes
    ----------
    pd_factor, sector_pd_factor : float
        Factors on the PD of everyone, and on that of one sector.
    lgd_add : float
        Added to the loss given default, which stays at most 1.
    sector : str
        The sector that is shocked; empty for none.
    """

    pd_factor: float = 1.0
    lgd_add: float = 0.0
    sector: str = ""
    sector_pd_factor: float = 1.0


def stressed(
    portfolio: Portfolio,
    rulebook: Rulebook,
    scenario: Scenario,
) -> PortfolioDecisions:
    """Return the decisions on a portfolio as if a scenario were true.

    Parameters
    ----------
    portfolio : Portfolio
        The customers.
    rulebook : Rulebook
        The rules in force.
    scenario : Scenario
        The factors on PD and LGD.

    Returns
    -------
    PortfolioDecisions
        Under the worse PDs and loss given default.
    """
    # The factor of the sector comes on top of that of everyone.
    factor = np.full(len(portfolio), scenario.pd_factor)
    if scenario.sector:
        is_shocked = portfolio.groups["sector"] == scenario.sector
        factor[is_shocked] *= scenario.sector_pd_factor
    pd_12m = np.minimum(portfolio.pd_12m * factor, 1.0)
    worse_portfolio = replace(portfolio, pd_12m=pd_12m)
    parameters = dict(rulebook.parameters)
    lgd = parameters["lgd"] + Decimal(str(scenario.lgd_add))
    parameters["lgd"] = min(lgd, Decimal(1))
    worse_rulebook = replace(rulebook, parameters=parameters)
    return decide_many(worse_portfolio, worse_rulebook)


def stress(
    portfolio: Portfolio,
    rulebook: Rulebook,
    sector: str | None = None,
) -> dict[str, dict[str, Any]]:
    """Return the figures of the portfolio before and after each scenario of the rules.

    Parameters
    ----------
    portfolio : Portfolio
        The customers.
    rulebook : Rulebook
        Its table ``stress`` holds the scenarios.
    sector : str, optional
        The sector that is shocked; default the one with the largest limits.

    Returns
    -------
    dict of str to dict
        Per scenario its assumptions (``scenario``) and the `Figures` of everyone.

    Raises
    ------
    SchemaError
        If no customer is of the sector.
    """
    base = decide_many(portfolio, rulebook)
    sector = _checked_sector(portfolio, base, sector)
    figures = dict[str, dict[str, Any]]()
    for rule in rulebook.tables["stress"].rules:
        name, scenario = _scenario(rule, sector)
        if name == SECTOR_SCENARIO:
            if sector is None:
                continue
            name = f"sector {sector}"
        worse = stressed(portfolio, rulebook, scenario)
        everyone = summary(portfolio, base, worse)["all"]["all"]
        figures[name] = {"scenario": vars(scenario), **everyone}
    return figures


def _checked_sector(
    portfolio: Portfolio,
    base: PortfolioDecisions,
    sector: str | None,
) -> str | None:
    """The sector asked for, or the one with the largest limits; None if unknown."""
    sectors = portfolio.groups.get("sector")
    if sectors is None:
        if sector is None:
            return None
        raise _no_such_sector(sector, [])
    if sector is None:
        limits = pd.Series(base.limit).groupby(sectors).sum()
        # A customer without a sector is in none that could be shocked.
        return str(limits.drop("", errors="ignore").idxmax())
    if not sector or sector not in sectors:
        raise _no_such_sector(sector, sorted(set(sectors.tolist()) - {""}))
    return sector


def _no_such_sector(sector: str, sectors: list[str]) -> SchemaError:
    return SchemaError(
        f"no customer is in sector {sector!r}",
        where="sector",
        expected=f"one of {sectors}",
    )


def _scenario(rule: Rule, sector: str | None) -> tuple[str, Scenario]:
    """The name of a row of the table ``stress``, and its scenario."""
    (scenario,) = rule.cells[0].any_of
    name = str(scenario)
    factors = {}
    for key, value in rule.outputs.items():
        factors[key] = float(str(value))
    # Only the row of the sector names one; the others stress everyone alike.
    shocked = sector or "" if name == SECTOR_SCENARIO else ""
    return name, Scenario(sector=shocked, **factors)
