"""A rulebook over a whole portfolio: the tables and the limit's formulas on arrays.

The answers are those of `obligor.policy.credit.decide` (tested customer by customer).
Amounts are floats here, so a limit may differ in its last cent. Credit files and
requests belong to single decisions and do not count.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.special import ndtr, ndtri

from obligor.arrays import Bools, Floats, Ints
from obligor.data.money import minor_digits
from obligor.policy.credit.position import SHORTEST_YEAR
from obligor.policy.credit.promise_ladder import ladder_position
from obligor.policy.economics import PD_FLOOR
from obligor.policy.rulebooks.rulebook import Rulebook
from obligor.portfolio.array_tables import Inputs, lookup, outputs
from obligor.portfolio.snapshot import Portfolio

OUTCOMES = ("approve", "refer", "decline")
CUSTOMER_CLASSES = ("premium", "general", "risk")


@dataclass(frozen=True)
class PortfolioDecisions:
    """The decisions of a rulebook on a portfolio; every array has shape (n,).

    Attributes
    ----------
    outcome, customer_class, approver : Ints
        Indices among the values of their columns, such as `OUTCOMES`.
    grade : Ints
        1 (safest) to 10.
    limit, expected_loss, eva : Floats
        In the reporting currency.
    terms_days : Ints
        Days of credit.
    is_held : Bools
        Whether an order of a usual month would be held or referred.
    """

    outcome: Ints
    grade: Ints
    customer_class: Ints
    limit: Floats
    terms_days: Ints
    approver: Ints
    is_held: Bools
    expected_loss: Floats
    eva: Floats


class _Position(NamedTuple):
    """Features as the rules look at them, money rounded to minor units."""

    used: Floats
    open_amount: Floats
    overdue_amount: Floats
    dpd_days: Floats
    dbt_days: Floats
    annual_sales: Floats
    sales_90d: Floats


class _Customers(NamedTuple):
    """A portfolio and the rules it is decided by, as floats."""

    portfolio: Portfolio
    position: _Position
    rulebook: Rulebook
    parameters: Mapping[str, float]

    def rows(self, table: str, **columns: Inputs) -> Ints:
        """The row of a table that fires for each customer."""
        return lookup(self.rulebook.tables[table], len(self.portfolio), **columns)

    def whole(
        self,
        table: str,
        name: str,
        rows: Ints,
    ) -> Ints:
        """A whole output, or a text's index, of the row that fires for each."""
        values = outputs(self.rulebook.tables[table], name)
        return np.asarray(values, dtype=np.int64)[rows]

    def number(
        self,
        table: str,
        name: str,
        rows: Ints,
    ) -> Floats:
        """A number of the row that fires for each customer."""
        values = outputs(self.rulebook.tables[table], name)
        return np.asarray(values, dtype=np.float64)[rows]


class _Rating(NamedTuple):
    """Grade, class and rung of each customer."""

    grade: Ints
    customer_class: Ints
    rung: Floats


class _Terms(NamedTuple):
    """Days of credit, and whether orders are paid in advance or stopped."""

    terms_days: Ints
    pays_in_advance: Bools
    is_stopped: Bools


class _Costs(NamedTuple):
    """Yearly margin of each customer, and yearly cost per unit of exposure."""

    margin: Floats
    per_unit: Floats


def decide_many(portfolio: Portfolio, rulebook: Rulebook) -> PortfolioDecisions:
    """Decide on every customer of a portfolio under one rulebook."""
    parameters = {}
    for name, value in rulebook.parameters.items():
        parameters[name] = float(value)
    customers = _Customers(
        portfolio,
        _position(portfolio),
        rulebook,
        parameters,
    )
    # 1. Rating: master scale, promise ladder, class.
    rating = _rating(customers)
    # 2. Hard stops: what stops a customer whatever its score.
    stop = _hard_stops(customers)
    # 3. Terms by grade, class and rung.
    terms = _terms(customers, rating)
    # 4. Limit: the smallest of its caps; a new customer earns it in steps.
    costs = _costs(customers)
    limit = _limit(customers, rating, terms, costs)
    # 5. Authority: who may approve the limit; then the outcome.
    approver = _approver(customers, rating, limit)
    outcome = _outcome(customers, rating, stop, approver)
    is_declined = outcome == OUTCOMES.index("decline")
    limit = np.where(is_declined, 0.0, limit)
    # 6. Loss and value added, and whether an order of a usual month would be held.
    exposure = np.maximum(limit, customers.position.used)
    return PortfolioDecisions(
        outcome=outcome,
        grade=rating.grade,
        customer_class=rating.customer_class,
        limit=limit,
        terms_days=terms.terms_days,
        approver=approver,
        is_held=_is_held(customers, rating, terms, outcome, limit),
        expected_loss=portfolio.pd_12m * parameters["lgd"] * exposure,
        eva=costs.margin - exposure * costs.per_unit,
    )


def _position(portfolio: Portfolio) -> _Position:
    features = portfolio.features
    cents = 10 ** minor_digits(portfolio.currency)

    def money(name: str) -> Floats:
        """An amount rounded to minor units, 0 if not known."""
        whole_cents = np.round(np.nan_to_num(features[name]) * cents)
        amount: Floats = whole_cents / cents
        return amount

    used = money("open_amount")
    return _Position(
        used=used,
        open_amount=_if_known(features["open_amount"], used),
        overdue_amount=_if_known(
            features["overdue_amount"],
            money("overdue_amount"),
        ),
        dpd_days=features["dpd_days"],
        dbt_days=np.nan_to_num(features["dbt_days_mean_365d"]),
        annual_sales=_annual_sales(features),
        sales_90d=money("invoiced_amount_90d"),
    )


def _if_known(feature: Floats, amount: Floats) -> Floats:
    """A rounded amount, NaN again if the feature is not known."""
    known: Floats = np.where(np.isnan(feature), np.nan, amount)
    return known


def _annual_sales(features: Mapping[str, Floats]) -> Floats:
    """Yearly purchases of each customer, scaled up from at least 90 days."""
    # As in `position_of`: at least 90 days, at most a year.
    days = features["days_since_first_invoice"] + 1
    days = np.clip(days, float(SHORTEST_YEAR), 365.0)
    sales: Floats = np.nan_to_num(features["invoiced_amount_365d"] * 365 / days)
    return sales


def _rating(customers: _Customers) -> _Rating:
    portfolio = customers.portfolio
    rows = customers.rows("master_scale", pd_12m=portfolio.pd_12m)
    grade = customers.whole("master_scale", "grade", rows)
    rung = _rungs(portfolio, customers.rulebook)
    rows = customers.rows(
        "customer_class",
        grade=grade,
        dpd_days=customers.position.dpd_days,
        rung=rung,
        broken_promises=portfolio.features["broken_promises_365d"],
    )
    customer_class = customers.whole("customer_class", "customer_class", rows)
    return _Rating(grade, customer_class, rung)


def _rungs(portfolio: Portfolio, rulebook: Rulebook) -> Floats:
    # Few customers have made promises, so these are walked one by one.
    rungs = np.zeros(len(portfolio))
    for row, promises in portfolio.promises.items():
        rungs[row] = ladder_position(promises, portfolio.as_of, rulebook).rung
    return rungs


def _hard_stops(customers: _Customers) -> Ints:
    features = customers.portfolio.features
    rows = customers.rows(
        "hard_stops",
        has_invoices=~np.isnan(features["days_since_first_invoice"]),
        dpd_days=customers.position.dpd_days,
        written_off_amount_365d=features["written_off_amount_365d"],
        open_amount=customers.position.open_amount,
        overdue_amount=customers.position.overdue_amount,
        disputed_share=features["disputed_share"],
    )
    return customers.whole("hard_stops", "stop", rows)


def _terms(customers: _Customers, rating: _Rating) -> _Terms:
    offered = customers.rows(
        "terms", grade=rating.grade, customer_class=rating.customer_class
    )
    ladder = customers.rows("ladder", rung=rating.rung)
    terms_days = customers.whole("terms", "terms_days", offered)
    days_change = customers.whole("ladder", "days_change", ladder)
    is_prepaid = customers.whole("terms", "is_prepaid", offered) > 0
    is_stopped = customers.whole("ladder", "is_stopped", ladder) > 0
    moved_days = np.maximum(terms_days + days_change, 0)
    return _Terms(
        terms_days=np.where(terms_days > 0, moved_days, 0),
        pays_in_advance=is_prepaid | is_stopped,
        is_stopped=is_stopped,
    )


def _costs(customers: _Customers) -> _Costs:
    parameters = customers.parameters
    pd_12m = customers.portfolio.pd_12m
    lgd = parameters["lgd"]
    capital = capital_ratios(pd_12m, lgd, parameters["capital_confidence"])
    risk_per_unit = pd_12m * lgd + parameters["hurdle_rate"] * capital
    return _Costs(
        margin=customers.position.annual_sales * parameters["credit_margin"],
        per_unit=parameters["cost_of_funds"] + risk_per_unit,
    )


def _limit(
    customers: _Customers,
    rating: _Rating,
    terms: _Terms,
    costs: _Costs,
) -> Floats:
    """The smallest cap times the share a new customer has earned, rounded down."""
    caps = [
        _need(customers.position, terms),
        costs.margin / costs.per_unit,
        *_grade_caps(customers, rating),
    ]
    features = customers.portfolio.features
    step_up = customers.rows(
        "step_up", relation_days=features["days_since_first_invoice"]
    )
    share = customers.number("step_up", "share", step_up)
    cents = 10 ** minor_digits(customers.portfolio.currency)
    smallest = np.minimum.reduce(caps)
    # A float just below a whole cent would lose that cent without the tolerance.
    whole_cents = np.floor(smallest * share * cents + 1e-6)
    limit: Floats = whole_cents / cents
    return limit


def _need(position: _Position, terms: _Terms) -> Floats:
    year_pace = position.annual_sales / 365
    quarter_pace = position.sales_90d / 90
    days = terms.terms_days + position.dbt_days
    need: Floats = np.maximum(year_pace, quarter_pace) * days
    return need


def _grade_caps(customers: _Customers, rating: _Rating) -> list[Floats]:
    """Ceiling, unsecured amount, and shares of net worth and turnover if known."""
    rows = customers.rows("exposure_caps", grade=rating.grade)

    def cap(name: str) -> Floats:
        return customers.number("exposure_caps", name, rows)

    equity = np.maximum(customers.portfolio.equity, 0)
    turnover = np.maximum(customers.portfolio.turnover, 0)
    net_worth_cap = equity * cap("net_worth_share")
    turnover_cap = turnover * cap("turnover_share")
    return [
        cap("ceiling"),
        cap("unsecured"),
        # A statement that is not known sets no cap.
        np.nan_to_num(net_worth_cap, nan=np.inf),
        np.nan_to_num(turnover_cap, nan=np.inf),
    ]


def _approver(
    customers: _Customers,
    rating: _Rating,
    limit: Floats,
) -> Ints:
    rows = customers.rows(
        "authority",
        amount=limit,
        customer_class=rating.customer_class,
        grade=rating.grade,
    )
    return customers.whole("authority", "approver", rows)


def _outcome(
    customers: _Customers,
    rating: _Rating,
    stop: Ints,
    approver: Ints,
) -> Ints:
    rows = customers.rows(
        "outcome",
        stop=stop,
        grade=rating.grade,
        request_fits=None,  # nothing is asked for
        approver=approver,
    )
    return customers.whole("outcome", "outcome", rows)


def _is_held(
    customers: _Customers,
    rating: _Rating,
    terms: _Terms,
    outcome: Ints,
    limit: Floats,
) -> Bools:
    """Whether an order of a usual month's sales would meet a block rule."""
    portfolio = customers.portfolio
    position = customers.position
    order = position.annual_sales / 12
    # Sales count as one order a month, delivered on credit at once.
    rows = customers.rows(
        "order_blocks",
        is_prepaid=np.zeros(len(portfolio), dtype=bool),
        is_small=order <= customers.parameters["small_order"],
        outcome=outcome,
        customer_class=rating.customer_class,
        is_over_limit=position.used + order > limit,
        pays_in_advance=terms.pays_in_advance,
        is_stopped=terms.is_stopped,
        dpd_days=position.dpd_days,
        overdue_amount=position.overdue_amount,
        order_multiple=np.where(order > 0, 1.0, np.nan),
        idle_days=portfolio.features["days_since_last_invoice"],
    )
    return rows >= 0


def capital_ratios(
    pd_12m: Floats,
    lgd: float,
    confidence: float,
) -> Floats:
    """Return `capital_ratio` of many PDs at a maturity of one year.

    Parameters
    ----------
    pd_12m : Floats
        Probabilities of default within 12 months, shape (n,).
    lgd : float
        Loss given default, 0 to 1.
    confidence : float
        Probability that the capital covers the loss of a year, below 1.

    Returns
    -------
    Floats
        Capital per unit of exposure, shape (n,).

    Notes
    -----
    The formula is in `obligor.policy.economics.capital_ratio` (Basel CRE31.5). Its
    maturity adjustment is 1 at one year.

    Examples
    --------
    >>> capital_ratios(np.array([0.01, 0.2]), 0.45, 0.999).round(4).tolist()
    [0.0586, 0.1784]
    """
    pd_ = np.clip(pd_12m, PD_FLOOR, 1 - PD_FLOOR)
    weight = (1 - np.exp(-50 * pd_)) / (1 - np.exp(-50))
    correlation = 0.12 * weight + 0.24 * (1 - weight)
    systematic = np.sqrt(correlation) * ndtri(confidence)
    threshold = ndtri(pd_) + systematic
    stressed_pd = ndtr(threshold / np.sqrt(1 - correlation))
    capital: Floats = lgd * stressed_pd - pd_ * lgd
    return capital
