"""A rulebook over a whole portfolio, and two compared: the tables' own lookups and the limit's formulas on arrays.

The answers are those of `policy.decide` (tested customer by customer); amounts are floats here, so a limit may
differ in its last cent. Nothing is on file and nothing is asked for: that belongs to single decisions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from obligor.arrays import Floats
from obligor.data.money import minor_digits
from obligor.policy.credit.decide import Decision, decide
from obligor.policy.credit.facts import Facts
from obligor.policy.credit.position import SHORTEST_YEAR
from obligor.policy.credit.promise_ladder import Promise, ladder_position
from obligor.policy.economics import PD_FLOOR
from obligor.policy.rulebooks.decision_table import DecisionTable
from obligor.policy.rulebooks.rulebook import Rulebook

Array = NDArray[Any]
OUTCOMES = ("approve", "refer", "decline")
MOST_MOVERS = 20


@dataclass(frozen=True)
class Portfolio:
    """Customers on one day: PD and features by name, each of shape (n,), NaN where not known.

    Attributes
    ----------
    groups : mapping of str to array
        Further ways to break the figures down, e.g. ``sector``.
    promises : mapping of int to tuple of Promise
        Of those customers, by place, who have made any.
    """

    customer_ids: Sequence[str]
    currency: str
    as_of: date
    pd_12m: Floats
    features: Mapping[str, Floats]
    equity: Floats
    turnover: Floats
    groups: Mapping[str, Array]
    promises: Mapping[int, tuple[Promise, ...]] = field(default_factory=dict)

    def facts(self, place: int) -> Facts:
        """Return what the rules are asked about one customer."""
        row = {name: float(column[place]) for name, column in self.features.items()}
        standing = float(self.equity[place]), float(self.turnover[place])
        return Facts(
            float(self.pd_12m[place]),
            self.currency,
            row,
            self.as_of,
            equity=standing[0],
            turnover=standing[1],
            promises=self.promises.get(place, ()),
            customer_id=self.customer_ids[place],
        )


@dataclass(frozen=True)
class Result:
    """What a rulebook makes of a portfolio: arrays of shape (n,), texts as places in their column's values."""

    outcome: Array
    grade: Array
    customer_class: Array
    limit: Floats
    terms_days: Array
    approver: Array
    is_held: Array
    expected_loss: Floats
    eva: Floats


def lookup(table: DecisionTable, n: int, **columns: Array | None) -> Array:
    """Return the row of a table that fires for each of n rows; of a ``collect`` table the first, -1 for none.

    Parameters
    ----------
    columns : array or None
        Floats with NaN for null, booleans, or places in the values of a text column; None: null everywhere.
    """
    rows: Array = np.full(n, -1, dtype=np.int64)
    for column, points, masks in zip(
        table.inputs, table.points, table.masks, strict=True
    ):
        given = columns[column.name]
        if given is None:
            rows &= masks[-1]
            continue
        place: Array = np.zeros(n, dtype=np.int8 if len(points) < 60 else np.int32)
        if column.is_number:
            for point in points:  # twice the points below, and one more on a point; a search takes four times as long
                place += given > float(point)
                place += given >= float(point)
            if column.is_nullable:
                place[np.isnan(given)] = len(masks) - 1
        else:
            place += given.astype(place.dtype)
        rows &= np.array(masks)[place]
    rows &= (1 << len(table.rules)) - 1
    return (
        np.frexp((rows & -rows).astype(np.float64))[1] - 1
    )  # the place of the lowest bit; -1 where there is none


def outputs(table: DecisionTable, name: str) -> Array:
    """Return an output of every row of a table: numbers, or places in the values of a text."""
    column = next(column for column in table.outputs if column.name == name)
    values = [rule.outputs[name] for rule in table.rules]
    if column.type == "text":
        return np.array([column.values.index(str(value)) for value in values])
    if column.type == "number":
        return np.array([float(value) for value in values])  # type: ignore[arg-type]
    return np.array([int(value) for value in values])  # type: ignore[arg-type]


def simulate(portfolio: Portfolio, rulebook: Rulebook) -> Result:
    """Decide on every customer of a portfolio under one rulebook."""
    f, n, tables = portfolio.features, len(portfolio.customer_ids), rulebook.tables
    p = {name: float(value) for name, value in rulebook.parameters.items()}

    def answer(table: str, *names: str, **columns: Array | None) -> list[Array]:
        row = lookup(tables[table], n, **columns)
        return [outputs(tables[table], name)[row] for name in names]

    cents = 10 ** minor_digits(portfolio.currency)
    used = np.round(np.nan_to_num(f["open_amount"]) * cents) / cents
    dpd, sales, late = (
        f["dpd_days"],
        _annual_sales(f),
        np.nan_to_num(f["dbt_days_mean_365d"]),
    )
    # 1. Rating: nothing is on file.
    (grade,) = answer("master_scale", "grade", pd_12m=portfolio.pd_12m)
    rung = _rungs(portfolio, rulebook)
    (class_,) = answer(
        "customer_class",
        "customer_class",
        grade=grade,
        dpd_days=dpd,
        rung=rung,
        broken_promises=f["broken_promises_365d"],
    )
    # 2-3. Hard stops and terms.
    (stop,) = answer(
        "hard_stops",
        "stop",
        has_invoices=~np.isnan(f["days_since_first_invoice"]),
        dpd_days=dpd,
        written_off_amount_365d=f["written_off_amount_365d"],
        open_amount=np.where(np.isnan(f["open_amount"]), np.nan, used),
        disputed_share=f["disputed_share"],
    )
    terms, prepaid = answer(
        "terms", "terms_days", "is_prepaid", grade=grade, customer_class=class_
    )
    change, stopped = answer("ladder", "days_change", "is_stopped", rung=rung)
    terms = np.where(terms > 0, np.maximum(terms + change, 0), 0)
    # 4. Limit.
    risk = portfolio.pd_12m * p["lgd"] + p["hurdle_rate"] * capital_ratios(
        portfolio.pd_12m, p["lgd"], p["capital_confidence"]
    )
    ceiling, unsecured, worth_share, turnover_share = answer(
        "exposure_caps",
        "ceiling",
        "unsecured",
        "net_worth_share",
        "turnover_share",
        grade=grade,
    )
    (share,) = answer("step_up", "share", relation_days=f["days_since_first_invoice"])
    peak = np.maximum(
        sales / 365,
        np.round(np.nan_to_num(f["invoiced_amount_90d"]) * cents) / cents / 90,
    )
    margin = sales * p["credit_margin"]
    limit = np.minimum.reduce(
        [
            peak * (terms + late),
            margin / (p["cost_of_funds"] + risk),
            ceiling,
            unsecured,
            np.nan_to_num(np.maximum(portfolio.equity, 0) * worth_share, nan=np.inf),
            np.nan_to_num(
                np.maximum(portfolio.turnover, 0) * turnover_share, nan=np.inf
            ),
        ]
    )
    limit = np.floor(limit * share * cents + 1e-6) / cents
    # 5. Authority and outcome.
    (approver,) = answer(
        "authority", "approver", amount=limit, customer_class=class_, grade=grade
    )
    (outcome,) = answer(
        "outcome",
        "outcome",
        stop=stop,
        grade=grade,
        request_fits=None,
        approver=approver,
    )
    limit = np.where(outcome == OUTCOMES.index("decline"), 0.0, limit)
    # 6. What it costs; and whether a usual month's order would be held.
    blocked = lookup(
        tables["order_blocks"],
        n,
        is_prepaid=np.zeros(n, bool),
        is_small=sales / 12 <= p["small_order"],
        outcome=outcome,
        customer_class=class_,
        is_over_limit=used + sales / 12 > limit,
        pays_in_advance=(prepaid > 0) | (stopped > 0),
        is_stopped=stopped > 0,
        dpd_days=dpd,
        order_multiple=np.where(sales > 0, 1.0, np.nan),
        idle_days=f["days_since_last_invoice"],
    )
    exposure = np.maximum(limit, used)
    return Result(
        outcome=outcome,
        grade=grade,
        customer_class=class_,
        limit=limit,
        terms_days=terms,
        approver=approver,
        is_held=blocked >= 0,
        expected_loss=portfolio.pd_12m * p["lgd"] * exposure,
        eva=margin - exposure * (p["cost_of_funds"] + risk),
    )


@dataclass(frozen=True)
class Scenario:
    """What goes wrong: times the PD, more LGD, and times the PD of one sector."""

    pd_factor: float = 1.0
    lgd_add: float = 0.0
    sector: str = ""
    sector_pd_factor: float = 1.0


def stressed(portfolio: Portfolio, rulebook: Rulebook, scenario: Scenario) -> Result:
    """Return what a rulebook would make of the portfolio were the scenario true."""
    factor: Array = np.full(len(portfolio.customer_ids), scenario.pd_factor)
    if scenario.sector:
        factor[portfolio.groups["sector"] == scenario.sector] *= (
            scenario.sector_pd_factor
        )
    lgd = min(rulebook.parameters["lgd"] + Decimal(str(scenario.lgd_add)), Decimal(1))
    worse = replace(portfolio, pd_12m=np.minimum(portfolio.pd_12m * factor, 1.0))
    return simulate(
        worse, replace(rulebook, parameters={**rulebook.parameters, "lgd": lgd})
    )


def _rungs(portfolio: Portfolio, rulebook: Rulebook) -> Array:
    rungs: Array = np.zeros(len(portfolio.customer_ids))
    for place, promises in portfolio.promises.items():
        rungs[place] = ladder_position(promises, portfolio.as_of, rulebook).rung
    return rungs


def capital_ratios(pd_12m: Floats, lgd: float, confidence: float) -> Floats:
    """Return `policy.economics.capital_ratio` of many PDs at a maturity of one year."""
    pd_ = np.clip(pd_12m, PD_FLOOR, 1 - PD_FLOOR)
    weight = (1 - np.exp(-50 * pd_)) / (1 - np.exp(-50))
    correlation = 0.12 * weight + 0.24 * (1 - weight)
    stressed = ndtr(
        (ndtri(pd_) + np.sqrt(correlation) * ndtri(confidence))
        / np.sqrt(1 - correlation)
    )
    found: Floats = (
        lgd * stressed - pd_ * lgd
    )  # the maturity adjustment of one year is 1
    return found


def _annual_sales(f: Mapping[str, Floats]) -> Floats:
    days = np.clip(f["days_since_first_invoice"] + 1, float(SHORTEST_YEAR), 365.0)
    found: Floats = np.nan_to_num(f["invoiced_amount_365d"] * 365 / days)
    return found


def summary(portfolio: Portfolio, old: Result, new: Result) -> dict[str, Any]:
    """Return what changes from one result to the other: in all, and by grade, class and each group."""
    every = np.ones(len(portfolio.customer_ids), dtype=bool)
    class_names = ("premium", "general", "risk")
    parts: dict[str, Iterator[tuple[str, Array]]] = {
        "all": iter([("all", every)]),
        "grade": ((str(grade), old.grade == grade) for grade in range(1, 11)),
        "customer_class": (
            (name, old.customer_class == place)
            for place, name in enumerate(class_names)
        ),
    }
    for name, column in portfolio.groups.items():
        parts[name] = ((str(value), column == value) for value in np.unique(column))
    return {
        name: {key: _figures(old, new, chosen) for key, chosen in found if chosen.any()}
        for name, found in parts.items()
    }


def _figures(old: Result, new: Result, chosen: Array) -> dict[str, Any]:
    total: Callable[[Array], float] = lambda column: float(column[chosen].sum())  # noqa: E731
    found: dict[str, Any] = {
        "customers": int(chosen.sum()),
        "decisions_changed": int((old.outcome != new.outcome)[chosen].sum()),
        "limits_changed": int((old.limit != new.limit)[chosen].sum()),
    }
    for name, place in (("approve", 0), ("refer", 1), ("decline", 2)):
        found[name] = [
            int(total(old.outcome == place)),
            int(total(new.outcome == place)),
        ]
    for name in ("limit", "expected_loss", "eva", "is_held"):
        found[name] = [total(getattr(old, name)), total(getattr(new, name))]
    found["to_a_person"] = [int(total(old.approver > 0)), int(total(new.approver > 0))]
    return found


def movers(
    portfolio: Portfolio, old: Rulebook, new: Rulebook, before: Result, after: Result
) -> list[dict[str, Any]]:
    """Return the customers whose limits move most, each decided again under both rulebooks to say why."""
    change = np.abs(after.limit - before.limit)
    order = np.argsort(-change, kind="stable")[:MOST_MOVERS]
    return [
        what_if(portfolio.customer_ids[n], portfolio.facts(n), old, new)
        for n in order
        if change[n] > 0
    ]


def what_if(
    customer_id: str, facts: Facts, old: Rulebook, new: Rulebook
) -> dict[str, Any]:
    """Return one customer's decision under two rulebooks, and the rules and caps that differ."""
    was, now = decide(facts, old), decide(facts, new)
    return {
        "customer_id": customer_id,
        "pd_12m": facts.pd_12m,
        "outcome": [was.outcome, now.outcome],
        "limit": [was.limit.amount, now.limit.amount],
        "binding_cap": [was.limit.binding_cap, now.limit.binding_cap],
        "because": list(_changes(was, now)),
    }


def _changes(was: Decision, now: Decision) -> Iterator[str]:
    fired = {one.table: one for one in was.trace}
    for one in now.trace:
        before = fired.get(one.table)
        if before is None or (before.fired, before.outputs) != (one.fired, one.outputs):
            said = f"{before.fired} {dict(before.outputs)}" if before else "nothing"
            yield f"{one.table}: {said} -> {one.fired} {dict(one.outputs)}"
    for name, cap in now.limit.caps.items():
        if was.limit.caps.get(name) != cap:
            yield f"cap {name}: {was.limit.caps.get(name)} -> {cap}"
