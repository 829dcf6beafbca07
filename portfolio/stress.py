"""Expected loss of the portfolio under stress."""

from __future__ import annotations

from typing import Any

import pandas as pd

from obligor.errors import SchemaError
from obligor.policy.rulebooks.rulebook import Rulebook
from obligor.portfolio.decide_many import (
    Portfolio,
    Scenario,
    simulate,
    stressed,
    summary,
)


def stress(
    portfolio: Portfolio, rulebook: Rulebook, sector: str | None = None
) -> dict[str, dict[str, Any]]:
    """Return the figures of the whole portfolio, before and after, under each scenario of the rules.

    Parameters
    ----------
    sector : str, optional
        The one that is shocked; default the one with the largest limits.

    Raises
    ------
    SchemaError
        Where the sector is none of the portfolio's.
    """
    base, sectors = simulate(portfolio, rulebook), portfolio.groups.get("sector")
    if sector is None and sectors is not None:
        sector = str(pd.Series(base.limit).groupby(sectors).sum().idxmax())
    if sector is not None and (sectors is None or sector not in sectors):
        known = sorted(set(sectors.tolist())) if sectors is not None else []
        raise SchemaError(
            f"no customer is of sector {sector!r}",
            where="sector",
            expected=f"one of {known}",
        )
    found = dict[str, dict[str, Any]]()
    for rule in rulebook.tables["stress"].rules:
        name = next(str(value) for value in rule.cells[0].any_of)
        if name == "sector" and sector is None:
            continue
        given = {key: float(value) for key, value in rule.outputs.items()}  # type: ignore[arg-type]
        scenario = Scenario(sector=sector or "" if name == "sector" else "", **given)
        figures = summary(portfolio, base, stressed(portfolio, rulebook, scenario))[
            "all"
        ]["all"]
        found[name if name != "sector" else f"sector {sector}"] = {
            "scenario": vars(scenario),
            **figures,
        }
    return found
