"""One pass over a customer's items and events computes every feature.

For 20,000 customers on 24 dates it takes 2.6 s; the same takes 7.8 s in polars, 10.7 s
in DuckDB and 14.8 s in pandas. The same source runs in the interpreter and compiled by
numba, so it keeps to loops, numbers and indexing. Days are counted from 1970-01-01.
Amounts are whole minor units; into the reporting currency each item has the rate of its
day and the closing rate. NaN means "not known". A window of n days is (as_of-n, as_of].
"""

from __future__ import annotations

from math import nan
from typing import NamedTuple

from numpy import rint

from obligor.arrays import Floats, Ints
from obligor.data.account import (
    CREDIT_NOTE,
    DISPUTE,
    FIRST_ACCOUNTING,
    PAYMENT,
    PROMISE,
    WRITE_OFF,
)
from obligor.data.days import OPEN_END
from obligor.data.promises import EventColumns, progress

WINDOWS = (30, 90, 180, 365)
# Four disjoint bins of age, whose sums are the windows, and one of what is older.
BINS = 5

# Where the sums by age bin start in the scratch space: each takes BINS places.
INVOICES = 0
INVOICED = 5
PAYMENTS = 10
PAID = 15
LATE = 20
DBT = 25
DBT_MAX = 30
TERMS = 35
CREDITED = 40
PARTIAL = 45
SIZE = 50
DISPUTES = 55
BROKEN = 60
LOST = 65
# Sums over the open items.
OPEN = 70
OPEN_COUNT = 71
OVERDUE = 72
DAYS_OVERDUE = 73
DISPUTED = 74
LARGEST = 75
DPD = 76
AGE_1_30 = 77
AGE_31_60 = 78
AGE_61_90 = 79
AGE_OVER_90 = 80
# In minor units of the reporting currency, so that sums are exact.
OPEN_MINOR = 81
# How many items are past due: so many columns of the late items are in use.
N_LATE = 82
# Days of the first and last event; NaN until there is one.
FIRST_ISSUED = 83
LAST_ISSUED = 84
LAST_PAID = 85
# The size of the scratch space.
WORK = 86
# Rows of the scratch space of late items.
DAYS_LATE = 0
AMOUNT_LATE = 1
# A product of a share may lie a little above or below the exact amount.
_ABOVE = 1 + 1e-12


class ItemColumns(NamedTuple):
    """The items of all customers, customer after customer.

    Attributes
    ----------
    issued, due : array of int
        Days.
    amount : array of int
        Minor units.
    rate : array of float
        What a minor unit was worth in the reporting currency on the day of issue.
    closing_rate : array of float
        What it is worth on the as-of date: the rate of what is open.
    first_event : array of int, one longer than the items
        The events of item n are ``first_event[n] .. first_event[n + 1] - 1``.
    """

    issued: Ints
    due: Ints
    amount: Ints
    rate: Floats
    closing_rate: Floats
    first_event: Ints


class Standing(NamedTuple):
    """What is known of a customer besides items and events, one value per customer.

    Attributes
    ----------
    registered : array of float
        The day of registration.
    limit : array of float
        The credit limit in the reporting currency.
    equity_ratio, current_ratio, net_margin : array of float
        Of the last statement.
    accounting : array of float
        The version by which the customer's amounts are counted.
    unapplied : array of float
        Money of the customer that belongs to no item, in minor units of the reporting
        currency.
    returned_90d, returned_365d : array of float
        Number of payments that came back in the last days.
    bureau_score, bureau_score_mean : array of float
        The lowest and the mean last score of the sources, as a share of its scale.
    """

    registered: Floats
    limit: Floats
    equity_ratio: Floats
    current_ratio: Floats
    net_margin: Floats
    accounting: Floats
    unapplied: Floats
    returned_90d: Floats
    returned_365d: Floats
    bureau_score: Floats
    bureau_score_mean: Floats


class MaterialAmount(NamedTuple):
    """From what amount on a debt is material; it must exceed amount and share.

    Attributes
    ----------
    amount : float
        In the reporting currency.
    share : float
        Of what is owed, 0 to 1.
    """

    amount: float
    share: float


class Threshold(NamedTuple):
    """From what amount on a debt is material; it must exceed amount and share.

    Attributes
    ----------
    amount : float
        Minor units of the reporting currency; below 0 if the age of the oldest item is
        asked for, however small it is.
    share : float
        Of what is owed, 0 to 1.
    minor_units : float
        Of one major unit of the reporting currency.
    """

    amount: float
    share: float
    minor_units: float


def all_customers(
    as_of: int,
    threshold: Threshold,
    standing: Standing,
    items: ItemColumns,
    events: EventColumns,
    first_items: Ints,
    late: Floats,
    work: Floats,
    out: Floats,
) -> None:
    """Fill a row of `out` for each customer.

    The loop is in this module so that numba's cache notices every change of the kernel.

    Parameters
    ----------
    as_of : int
        The day at whose end items and events are known.
    threshold : Threshold
        What is material.
    standing : Standing
        One value per customer.
    items : ItemColumns
        The items of all customers.
    events : EventColumns
        Their events.
    first_items : array of int, one longer than the customers
        The items of customer n are ``first_items[n] .. first_items[n + 1] - 1``.
    late : array of float, shape (2, most items of a customer)
        Scratch space for days late and amounts, overwritten.
    work : array of float, length WORK
        Scratch space, overwritten.
    out : array of float, shape (customers, features)
        Where the features go, in catalogue order.
    """
    for customer in range(len(first_items) - 1):
        features = out[customer]
        _clear(work)
        counts_once = standing.accounting[customer] > FIRST_ACCOUNTING
        for item in range(first_items[customer], first_items[customer + 1]):
            _add_item(as_of, items, item, work)
            has_promises = _add_events(
                as_of,
                items,
                events,
                item,
                threshold.minor_units,
                late,
                work,
            )
            if has_promises:
                _add_promises(
                    as_of,
                    events,
                    items.first_event[item],
                    items.first_event[item + 1],
                    counts_once,
                    work,
                )
        _nest_windows(work)
        _put_windows(work, features)
        _put_balances(customer, standing, work, features)
        _put_habits(
            as_of,
            customer,
            standing,
            work,
            features,
        )
        _put_second(
            customer,
            threshold,
            standing,
            late,
            work,
            features,
        )


def _clear(work: Floats) -> None:
    """Set every sum to 0 and every day to NaN."""
    for index in range(WORK):
        work[index] = 0.0 if index < FIRST_ISSUED else nan


def _nest_windows(work: Floats) -> None:
    """Turn the sums of disjoint bins of age into sums of nested windows."""
    for measure in range(0, OPEN, BINS):
        for bin_ in range(1, BINS - 1):
            index = measure + bin_
            if measure == DBT_MAX:
                work[index] = max(work[index], work[index - 1])
            else:
                work[index] += work[index - 1]


def _age_bin(age: int) -> int:
    """Return the bin of an event that happened `age` days before the as-of date."""
    if age < 30:
        return 0
    if age < 90:
        return 1
    if age < 180:
        return 2
    if age < 365:
        return 3
    return 4


def _add_item(
    as_of: int,
    items: ItemColumns,
    item: int,
    work: Floats,
) -> None:
    """Count one item as issued."""
    issued = items.issued[item]
    value = items.amount[item] * items.rate[item]
    bin_ = _age_bin(as_of - issued)
    work[INVOICES + bin_] += 1.0
    work[INVOICED + bin_] += value
    # An invoice that is billed after its due date gives no time to pay.
    terms_days = max(items.due[item] - issued, 0)
    work[TERMS + bin_] += value * terms_days
    # Negated, since NaN (no item yet) compares false.
    if not work[FIRST_ISSUED] <= issued:
        work[FIRST_ISSUED] = issued
    if not work[LAST_ISSUED] >= issued:
        work[LAST_ISSUED] = issued


def _add_events(
    as_of: int,
    items: ItemColumns,
    events: EventColumns,
    item: int,
    minor_units: float,
    late: Floats,
    work: Floats,
) -> bool:
    """Follow what happened to one item; return whether a promise was among it."""
    amount = items.amount[item]
    due = items.due[item]
    rate = items.rate[item]
    balance = amount
    disputed = 0
    has_promises = False
    # In order of time: whether a payment was partial depends on what came before it.
    for event in range(items.first_event[item], items.first_event[item + 1]):
        kind = events.kind[event]
        day = events.day[event]
        value = events.value[event]
        bin_ = _age_bin(as_of - day)
        if kind == PAYMENT:
            balance -= value
            _add_payment(
                value * rate,
                day,
                due,
                bin_,
                work,
            )
            # An amount below half a minor unit is 0.
            if amount > 0:
                work[SIZE + bin_] += value / amount
            if balance > 0:
                work[PARTIAL + bin_] += 1.0
        elif kind == CREDIT_NOTE:
            balance -= value
            work[CREDITED + bin_] += value * rate
        elif kind == WRITE_OFF:
            work[LOST + bin_] += min(value, max(balance, 0)) * rate
            balance -= value
        elif kind == DISPUTE:
            work[DISPUTES + bin_] += 1.0
            # A dispute without an amount is about the whole item.
            if events.end[event] == OPEN_END:
                disputed += value if value > 0 else amount
        elif kind == PROMISE:
            has_promises = True
    if balance > 0:
        closing_rate = items.closing_rate[item]
        _add_balance(
            balance * closing_rate,
            min(disputed, balance) * closing_rate,
            as_of - due,
            minor_units,
            late,
            work,
        )
    return has_promises


def _add_payment(
    paid: float,
    paid_on: int,
    due_on: int,
    bin_: int,
    work: Floats,
) -> None:
    """Count one payment; an early one is 0 days beyond terms."""
    dbt_days = max(paid_on - due_on, 0)
    work[PAYMENTS + bin_] += 1.0
    work[PAID + bin_] += paid
    work[DBT + bin_] += paid * dbt_days
    work[DBT_MAX + bin_] = max(work[DBT_MAX + bin_], dbt_days)
    if dbt_days > 0:
        work[LATE + bin_] += paid
    if not work[LAST_PAID] >= paid_on:
        work[LAST_PAID] = paid_on


def _add_promises(
    as_of: int,
    events: EventColumns,
    first: int,
    stop: int,
    counts_once: bool,
    work: Floats,
) -> None:
    """Count the promises of an item that are past their last day and were not kept."""
    kept_on = progress(events, first, stop, counts_once).kept_on
    for event in range(first, stop):
        last_day = events.end[event]
        is_over = events.kind[event] == PROMISE and last_day < as_of
        # An amount below half a minor unit is 0.
        is_kept = kept_on[event - first] <= last_day or events.value[event] == 0
        if is_over and not is_kept:
            work[BROKEN + _age_bin(as_of - last_day)] += 1.0


def _add_balance(
    balance: float,
    disputed: float,
    dpd_days: int,
    minor_units: float,
    late: Floats,
    work: Floats,
) -> None:
    """Add what is still open of one item to the sums, by its days past due."""
    in_minor_units = rint(balance * minor_units)
    work[OPEN] += balance
    work[OPEN_MINOR] += in_minor_units
    work[OPEN_COUNT] += 1.0
    work[LARGEST] = max(work[LARGEST], balance)
    work[DISPUTED] += disputed
    if dpd_days <= 0:
        return
    n_late = int(work[N_LATE])
    late[DAYS_LATE, n_late] = dpd_days
    late[AMOUNT_LATE, n_late] = in_minor_units
    work[N_LATE] += 1.0
    work[OVERDUE] += balance
    work[DAYS_OVERDUE] += balance * dpd_days
    work[DPD] = max(work[DPD], dpd_days)
    if dpd_days <= 30:
        work[AGE_1_30] += balance
    elif dpd_days <= 60:
        work[AGE_31_60] += balance
    elif dpd_days <= 90:
        work[AGE_61_90] += balance
    else:
        work[AGE_OVER_90] += balance


def _ratio(part: float, whole: float) -> float:
    """Return a part of a whole, NaN if there is no whole."""
    return part / whole if whole > 0 else nan


def _put_windows(work: Floats, out: Floats) -> None:
    """Fill features 0 to 23: six measures over four windows each."""
    for window in range(4):
        paid = work[PAID + window]
        has_payments = work[PAYMENTS + window] > 0
        out[window] = work[INVOICES + window]  # invoice_count
        out[4 + window] = work[INVOICED + window]  # invoiced_amount
        out[8 + window] = paid  # paid_amount
        out[12 + window] = _ratio(work[DBT + window], paid)  # dbt_days_mean
        out[16 + window] = work[DBT_MAX + window] if has_payments else nan
        out[20 + window] = _ratio(work[LATE + window], paid)  # share_late


def _put_balances(
    customer: int,
    standing: Standing,
    work: Floats,
    out: Floats,
) -> None:
    """Fill features 24 to 37: what is open on the as-of date."""
    balance = work[OPEN]
    out[24] = balance
    out[25] = work[OPEN_COUNT]
    out[26] = work[OVERDUE]
    out[27] = work[AGE_1_30]
    out[28] = work[AGE_31_60]
    out[29] = work[AGE_61_90]
    out[30] = work[AGE_OVER_90]
    out[31] = _ratio(work[OVERDUE], balance)  # overdue_share
    out[32] = work[DPD]
    out[33] = _ratio(work[DAYS_OVERDUE], balance)  # dpd_days_mean
    out[34] = _ratio(work[DISPUTED], balance)  # disputed_share
    out[35] = _ratio(work[LARGEST], balance)  # largest_open_share
    out[36] = _ratio(balance, standing.limit[customer])  # utilisation
    out[37] = _ratio(balance, work[INVOICED + 1])  # open_to_sales_90d


def _put_habits(
    as_of: int,
    customer: int,
    standing: Standing,
    work: Floats,
    out: Floats,
) -> None:
    """Fill features 38 to 53: trends, habits, age of the relation, statements."""
    quarter = 1  # the window of 90 days
    year = 3  # the window of 365 days
    dbt_quarter = _ratio(work[DBT + quarter], work[PAID + quarter])
    dbt_year = _ratio(work[DBT + year], work[PAID + year])
    invoiced_quarter = work[INVOICED + quarter]
    invoiced_year = work[INVOICED + year]
    payments_year = work[PAYMENTS + year]
    out[38] = dbt_quarter - dbt_year  # dbt_days_trend
    out[39] = _ratio(invoiced_quarter * 365, invoiced_year * 90)  # sales_trend
    out[40] = as_of - work[LAST_PAID]  # days_since_last_payment
    out[41] = as_of - work[LAST_ISSUED]  # days_since_last_invoice
    out[42] = as_of - work[FIRST_ISSUED]  # days_since_first_invoice
    out[43] = as_of - standing.registered[customer]  # tenure_days
    out[44] = work[BROKEN + year]
    out[45] = work[DISPUTES + year]
    out[46] = _ratio(work[PARTIAL + year], payments_year)  # partial_payment_share_365d
    out[47] = _ratio(work[SIZE + year], payments_year)  # payment_size_mean_365d
    out[48] = _ratio(work[CREDITED + year], invoiced_year)  # credit_note_share_365d
    out[49] = _ratio(work[TERMS + year], invoiced_year)  # terms_days_mean_365d
    out[50] = work[LOST + year]
    out[51] = standing.equity_ratio[customer]
    out[52] = standing.current_ratio[customer]
    out[53] = standing.net_margin[customer]


def _put_second(
    customer: int,
    threshold: Threshold,
    standing: Standing,
    late: Floats,
    work: Floats,
    out: Floats,
) -> None:
    """Fill features 54 to 58, and the days past due of a material amount."""
    year = 3  # the window of 365 days
    unapplied = standing.unapplied[customer]
    returned = standing.returned_365d[customer]
    if threshold.amount >= 0 and work[DPD] > 0:
        out[32] = _material_days(threshold, unapplied, late, work)  # dpd_days
    out[54] = unapplied / threshold.minor_units
    out[55] = standing.returned_90d[customer]
    out[56] = _ratio(returned, returned + work[PAYMENTS + year])
    out[57] = standing.bureau_score[customer]
    out[58] = standing.bureau_score_mean[customer]


def _material_days(
    threshold: Threshold,
    unapplied: float,
    late: Floats,
    work: Floats,
) -> float:
    """Return the most days for which all that is so long past due is material.

    The fewer the days, the larger the amount: the days are found by halving.
    """
    owed = max(work[OPEN_MINOR] - unapplied, 0.0)
    least = max(threshold.amount, threshold.share * owed) * _ABOVE + unapplied
    n_late = int(work[N_LATE])
    lowest = 0
    highest = int(work[DPD])
    while lowest < highest:
        days = (lowest + highest + 1) // 2
        amount = 0.0
        for index in range(n_late):
            if late[DAYS_LATE, index] >= days:
                amount += late[AMOUNT_LATE, index]
        if amount > least:
            lowest = days
        else:
            highest = days - 1
    return float(lowest)
