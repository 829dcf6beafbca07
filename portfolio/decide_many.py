"""A rulebook over a whole portfolio: the tables and the limit's formulas on arrays.

The answers are those of `obligor.policy.credit.decide` (tested customer by customer).
Amounts are floats here, so a limit may differ in its last cent. Credit files and
requests belong to single decisions and do not count; groups whose limit is in the
ledger do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from obligor.arrays import Bools, Floats, Ints
from obligor.data.money import minor_digits
from obligor.policy.credit.groups import group_cap
from obligor.policy.credit.position import SHORTEST_YEAR
from obligor.policy.credit.promise_ladder import ladder_position
from obligor.policy.economics import PD_FLOOR
from obligor.policy.rulebooks.contracts import STOP
from obligor.policy.rulebooks.rulebook import Materiality, Rulebook
from obligor.portfolio.array_tables import Inputs, lookup, outputs
from obligor.portfolio.snapshot import Portfolio, PortfolioAgeing

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
    material_dpd_days : Floats
        Days for which a material amount has been past due; NaN if not known.
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
    material_dpd_days: Floats


class _Position(NamedTuple):
    """Features as the rules look at them, money rounded to minor units."""

    used: Floats
    dbt_days: Floats
    annual_sales: Floats
    sales_90d: Floats
    material_dpd_days: Floats
    standing: Mapping[str, Floats | Bools]


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
        _position(portfolio, rulebook.materiality),
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
        material_dpd_days=customers.position.material_dpd_days,
    )


def _position(portfolio: Portfolio, materiality: Materiality | None) -> _Position:
    features = portfolio.features
    cents = 10 ** minor_digits(portfolio.currency)

    def money(name: str) -> Floats:
        """An amount rounded to minor units, 0 if not known."""
        whole_cents = np.round(np.nan_to_num(features[name]) * cents)
        amount: Floats = whole_cents / cents
        return amount

    open_amount = money("open_amount")
    unapplied = np.zeros(len(portfolio))
    if portfolio.ageing is not None:
        unapplied = portfolio.ageing.unapplied / cents
    overdue = np.maximum(money("overdue_amount") - unapplied, 0)
    overdue_cents = np.round(overdue * cents)
    used_cents = np.round(np.maximum(open_amount - unapplied, 0) * cents)
    standing: dict[str, Floats | Bools] = {
        "dpd_days": _oldest_dpd_days(portfolio),
        "open_amount": _if_known(features["open_amount"], open_amount),
        "overdue_amount": _if_known(features["overdue_amount"], overdue_cents / cents),
        "unapplied_amount": unapplied,
        "written_off_amount_365d": features["written_off_amount_365d"],
        "disputed_share": features["disputed_share"],
        "broken_promises": features["broken_promises_365d"],
        "is_incomplete": _is_incomplete(portfolio),
    }
    standing |= _bureau(portfolio)
    material = _material(portfolio, materiality)
    standing |= material
    return _Position(
        used=used_cents / cents,
        dbt_days=np.nan_to_num(features["dbt_days_mean_365d"]),
        annual_sales=_annual_sales(features),
        sales_90d=money("invoiced_amount_90d"),
        material_dpd_days=material["material_dpd_days"],
        standing=standing,
    )


def _is_incomplete(portfolio: Portfolio) -> Bools:
    """Whether each customer's ledger may lack a part of what it owes."""
    is_incomplete = np.zeros(len(portfolio), dtype=bool)
    is_incomplete[list(portfolio.incomplete_rows)] = True
    return is_incomplete


def _bureau(portfolio: Portfolio) -> dict[str, Floats | Bools]:
    """What bureaus say of each customer."""
    score = np.full(len(portfolio), np.nan)
    has_insolvency = np.zeros(len(portfolio), dtype=bool)
    recommended_limit = np.full(len(portfolio), np.nan)
    # Bureaus report on few customers of a portfolio.
    for row, report in portfolio.bureau.items():
        has_insolvency[row] = report.has_insolvency
        if report.score is not None:
            score[row] = float(report.score)
        if report.recommended_limit is not None:
            recommended_limit[row] = float(report.recommended_limit)
    return {
        "bureau_score": score,
        "bureau_insolvency": has_insolvency,
        "bureau_recommended_limit": recommended_limit,
    }


def _material(
    portfolio: Portfolio,
    materiality: Materiality | None,
) -> dict[str, Floats]:
    """Days past due and write-offs as far as they are material."""
    features = portfolio.features
    dpd_days = _oldest_dpd_days(portfolio)
    written_off = features["written_off_amount_365d"]
    if materiality is None:
        return {
            "material_dpd_days": dpd_days,
            "material_written_off_amount_365d": written_off,
        }
    cents = 10 ** minor_digits(portfolio.currency)
    ageing = portfolio.ageing
    # As in `position_of`: what is not known stays as it is.
    is_known = ~np.isnan(dpd_days)
    if ageing is None:
        is_known &= ~np.isnan(features["open_amount"])
        is_known &= ~np.isnan(features["overdue_amount"])
        ageing = _lumps(features, cents)
    thresholds = _thresholds(ageing, materiality, cents)
    written_off_cents = np.round(np.nan_to_num(written_off) * cents)
    is_below = (written_off_cents <= thresholds).astype(bool)
    is_small = is_known & is_below & ~np.isnan(written_off)
    return {
        "material_dpd_days": np.where(
            is_known,
            _material_days(ageing, thresholds),
            dpd_days,
        ),
        "material_written_off_amount_365d": np.where(is_small, 0.0, written_off),
    }


def _lumps(features: Mapping[str, Floats], cents: int) -> PortfolioAgeing:
    """All that is past due of each customer, as old as its oldest item."""
    dpd_days = np.nan_to_num(features["dpd_days"]).astype(np.int64)
    return PortfolioAgeing(
        open_amount=np.round(np.nan_to_num(features["open_amount"]) * cents),
        unapplied=np.zeros(len(dpd_days)),
        first_items=np.arange(len(dpd_days) + 1),
        days_late=dpd_days,
        overdue=np.round(np.nan_to_num(features["overdue_amount"]) * cents),
    )


# Whole numbers of Python: floats would be off by a cent at a threshold, and absurd
# amounts need more than 64 bits.
_Whole = NDArray[np.object_]


def _whole(amounts: Floats) -> _Whole:
    """Amounts in minor units as whole numbers of Python."""
    return np.array([int(amount) for amount in amounts.tolist()], dtype=object)


def _thresholds(
    ageing: PortfolioAgeing,
    materiality: Materiality,
    cents: int,
) -> _Whole:
    """The largest amount that is not material, in minor units, of each customer."""
    owed = np.maximum(ageing.open_amount - ageing.unapplied, 0)
    numerator, denominator = materiality.share.as_integer_ratio()
    shares = _whole(owed) * numerator // denominator
    amount = int(materiality.amount * cents)
    thresholds: _Whole = np.maximum(shares, amount)
    return thresholds


def _material_days(ageing: PortfolioAgeing, thresholds: _Whole) -> Floats:
    """The days for which more than the threshold of each customer is past due."""
    n_customers = len(thresholds)
    n_items = np.diff(ageing.first_items)
    row_of_item = np.repeat(np.arange(n_customers), n_items)
    # What is past due so long or longer: a running sum that starts anew per customer.
    overdue = np.concatenate([[0.0], ageing.overdue])
    running = np.cumsum(_whole(overdue))
    before = running[ageing.first_items[:-1]] + _whole(ageing.unapplied)
    excess = running[1:] - before[row_of_item] - thresholds[row_of_item]
    items = np.flatnonzero(excess > 0)
    rows, first = np.unique(row_of_item[items], return_index=True)
    days = np.zeros(n_customers)
    days[rows] = ageing.days_late[items[first]]
    return days


def _oldest_dpd_days(portfolio: Portfolio) -> Floats:
    """The age of the oldest item: a model may count from a material amount on."""
    ageing = portfolio.ageing
    dpd_days = portfolio.features["dpd_days"]
    if ageing is None:
        return dpd_days
    starts = ageing.first_items[:-1]
    has_overdue = starts < ageing.first_items[1:]
    oldest = np.zeros(len(portfolio))
    # The items of a customer come with the oldest first.
    oldest[has_overdue] = ageing.days_late[starts[has_overdue]]
    return _if_known(dpd_days, oldest)


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
        rung=rung,
        **customers.position.standing,
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
    standing = customers.position.standing
    rows = customers.rows(
        "hard_stops",
        has_invoices=~np.isnan(features["days_since_first_invoice"]),
        **standing,
    )
    stop = customers.whole("hard_stops", "stop", rows)
    # As in `decide`: no rulebook approves a customer with an incomplete ledger.
    is_unstopped = stop == STOP.values.index("none")
    is_referred = is_unstopped & standing["is_incomplete"].astype(bool)
    return np.where(is_referred, STOP.values.index("refer"), stop)


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
    recommended_limit = customers.position.standing["bureau_recommended_limit"]
    caps = [
        _need(customers.position, terms),
        costs.margin / costs.per_unit,
        *_grade_caps(customers, rating),
        # A bureau that recommends nothing sets no cap.
        np.nan_to_num(recommended_limit, nan=np.inf),
        _group_rooms(customers.portfolio),
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


def _group_rooms(portfolio: Portfolio) -> Floats:
    """What is left of the limits of a customer's groups; no cap without a limit."""
    rooms = np.full(len(portfolio), np.inf)
    for row, line in portfolio.group_lines.items():
        _, room = group_cap(line)
        rooms[row] = max(float(room), 0.0)
    return rooms


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
        order_multiple=np.where(order > 0, 1.0, np.nan),
        idle_days=portfolio.features["days_since_last_invoice"],
        **position.standing,
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
