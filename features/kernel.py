"""ONE pass over one customer's items and events gives all features.

The same source runs plain on lists (one decision) and compiled by numba on arrays (batch), so it keeps
to loops, numbers and indexing. Days are counted from 1970-01-01; amounts are whole minor units with one
rate per item into the reporting currency; NaN means "not known". A window of n days is (as_of-n, as_of].
"""

from __future__ import annotations

from collections.abc import MutableSequence, Sequence
from math import nan

from obligor.data.account import CREDIT_NOTE, DISPUTE, PAYMENT, WRITE_OFF

WINDOWS = (30, 90, 180, 365)
BINS = 5  # four disjoint age bins that add up to the windows, and what is older

# Sums by age bin: each takes BINS places.
INVOICES, INVOICED, PAYMENTS, PAID, LATE, DBT, DBT_MAX, TERMS, CREDITED = (
    0,
    5,
    10,
    15,
    20,
    25,
    30,
    35,
    40,
)
PARTIAL, SIZE, DISPUTES, BROKEN, LOST = 45, 50, 55, 60, 65
# Sums over the open items, and days of the first and last event.
OPEN, OPEN_COUNT, OVERDUE, DAYS_OVERDUE, DISPUTED, LARGEST, DPD = (
    70,
    71,
    72,
    73,
    74,
    75,
    76,
)
AGE_1_30, AGE_31_60, AGE_61_90, AGE_OVER_90 = 77, 78, 79, 80
FIRST_ISSUED, LAST_ISSUED, LAST_PAID = 81, 82, 83
WORK = 84  # places the pass needs


def customer_features(
    as_of: int,
    standing: Sequence[float],
    items: tuple[
        Sequence[int], Sequence[int], Sequence[int], Sequence[float], Sequence[int]
    ],
    events: tuple[Sequence[int], Sequence[int], Sequence[int], Sequence[int]],
    first: int,
    last: int,
    work: MutableSequence[float],
    out: MutableSequence[float],
) -> None:
    """Fill `out` with the features of one customer, in catalogue order.

    Parameters
    ----------
    as_of : int
        The day whose knowledge the items and events hold.
    standing : sequence of float, length 5
        Registration day, limit, equity ratio, current ratio, net margin; NaN where not known.
    items : tuple of sequences
        Per item: issued day, due day, amount (minor units), rate, first event; events of item i
        are ``start[i] .. start[i+1]``.
    events : tuple of sequences
        Per event, in order of time within an item: kind, day, amount (minor units; for a dispute 1
        while it is open), end day (of a promise).
    first, last : int
        The customer's items are ``first .. last - 1``.
    work : sequence of float, length WORK
        Scratch space, overwritten.
    out : sequence of float, length of the catalogue
        Where the features go.
    """
    for place in range(WORK):
        work[place] = 0.0 if place < FIRST_ISSUED else nan
    for item in range(first, last):
        add_item(as_of, items, item, work)
        add_events(as_of, items, events, item, work)
    for measure in range(0, OPEN, BINS):
        for bin_ in range(1, BINS - 1):  # disjoint bins become nested windows
            if measure == DBT_MAX:
                work[measure + bin_] = max(
                    work[measure + bin_], work[measure + bin_ - 1]
                )
            else:
                work[measure + bin_] += work[measure + bin_ - 1]
    put_windows(work, out)
    put_balances(work, standing, out)
    put_habits(as_of, work, standing, out)


def all_customers(
    as_of: int,
    standing: Sequence[Sequence[float]],
    items: tuple[
        Sequence[int], Sequence[int], Sequence[int], Sequence[float], Sequence[int]
    ],
    events: tuple[Sequence[int], Sequence[int], Sequence[int], Sequence[int]],
    firsts: Sequence[int],
    work: MutableSequence[float],
    out: Sequence[MutableSequence[float]],
) -> None:
    """Fill a row of `out` per customer; it stands here so that numba's cache sees every change of the kernel."""
    for customer in range(len(firsts) - 1):
        customer_features(
            as_of,
            standing[customer],
            items,
            events,
            firsts[customer],
            firsts[customer + 1],
            work,
            out[customer],
        )


def age_bin(age: int) -> int:
    """The bin of an event `age` days before the as-of date."""
    if age < 30:
        return 0
    if age < 90:
        return 1
    if age < 180:
        return 2
    if age < 365:
        return 3
    return 4


def add_item(
    as_of: int,
    items: tuple[
        Sequence[int], Sequence[int], Sequence[int], Sequence[float], Sequence[int]
    ],
    item: int,
    work: MutableSequence[float],
) -> None:
    """Count one item as issued."""
    issued, due, amount, rate, _ = items
    value = amount[item] * rate[item]
    bin_ = age_bin(as_of - issued[item])
    work[INVOICES + bin_] += 1.0
    work[INVOICED + bin_] += value
    work[TERMS + bin_] += value * (due[item] - issued[item])
    if (
        not work[FIRST_ISSUED] <= issued[item]
    ):  # also where there is none yet: NaN compares false
        work[FIRST_ISSUED] = issued[item]
    if not work[LAST_ISSUED] >= issued[item]:
        work[LAST_ISSUED] = issued[item]


def add_events(
    as_of: int,
    items: tuple[
        Sequence[int], Sequence[int], Sequence[int], Sequence[float], Sequence[int]
    ],
    events: tuple[Sequence[int], Sequence[int], Sequence[int], Sequence[int]],
    item: int,
    work: MutableSequence[float],
) -> None:
    """Follow what happened to one item, and leave its balance in the sums."""
    _, due, amount, rate, start = items
    kind, day, value, _ = events
    balance = amount[item]
    is_disputed = False
    for event in range(start[item], start[item + 1]):
        bin_ = age_bin(as_of - day[event])
        if kind[event] == PAYMENT:
            balance -= value[event]
            add_payment(value[event] * rate[item], day[event], due[item], bin_, work)
            if amount[item] > 0:  # an amount below half a minor unit is 0
                work[SIZE + bin_] += value[event] / amount[item]
            if balance > 0:
                work[PARTIAL + bin_] += 1.0
        elif kind[event] == CREDIT_NOTE:
            balance -= value[event]
            work[CREDITED + bin_] += value[event] * rate[item]
        elif kind[event] == WRITE_OFF:
            work[LOST + bin_] += min(value[event], max(balance, 0)) * rate[item]
            balance -= value[event]
        elif kind[event] == DISPUTE:
            work[DISPUTES + bin_] += 1.0
            is_disputed = is_disputed or value[event] == 1
        elif is_broken(as_of, items, events, item, event):
            work[BROKEN + age_bin(as_of - events[3][event])] += 1.0
    if balance > 0:
        add_balance(balance * rate[item], as_of - due[item], is_disputed, work)


def add_payment(
    paid: float, paid_on: int, due_on: int, bin_: int, work: MutableSequence[float]
) -> None:
    """Count one payment; days beyond terms of an early one are 0."""
    dbt_days = max(paid_on - due_on, 0)
    work[PAYMENTS + bin_] += 1.0
    work[PAID + bin_] += paid
    work[DBT + bin_] += paid * dbt_days
    work[DBT_MAX + bin_] = max(work[DBT_MAX + bin_], dbt_days)
    if dbt_days > 0:
        work[LATE + bin_] += paid
    if not work[LAST_PAID] >= paid_on:
        work[LAST_PAID] = paid_on


def is_broken(
    as_of: int,
    items: tuple[
        Sequence[int], Sequence[int], Sequence[int], Sequence[float], Sequence[int]
    ],
    events: tuple[Sequence[int], Sequence[int], Sequence[int], Sequence[int]],
    item: int,
    promise: int,
) -> bool:
    """Whether a promise is past its day and less than promised came between its two days."""
    kind, day, value, end = events
    paid = 0
    for event in range(items[4][item], items[4][item + 1]):
        if kind[event] == PAYMENT and day[promise] <= day[event] <= end[promise]:
            paid += value[event]
    return end[promise] < as_of and paid < value[promise]


def add_balance(
    balance: float, dpd_days: int, is_disputed: bool, work: MutableSequence[float]
) -> None:
    """Count what is still open of one item, by its days past due."""
    work[OPEN] += balance
    work[OPEN_COUNT] += 1.0
    work[LARGEST] = max(work[LARGEST], balance)
    if is_disputed:
        work[DISPUTED] += balance
    if dpd_days <= 0:
        return
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


def ratio(part: float, whole: float) -> float:
    """Part of a whole, unknown where there is no whole."""
    return part / whole if whole > 0 else nan


def put_windows(work: Sequence[float], out: MutableSequence[float]) -> None:
    """Features 0 to 23: six measures over four windows each."""
    for window in range(4):
        paid = work[PAID + window]
        out[window] = work[INVOICES + window]
        out[4 + window] = work[INVOICED + window]
        out[8 + window] = paid
        out[12 + window] = ratio(work[DBT + window], paid)
        out[16 + window] = (
            work[DBT_MAX + window] if work[PAYMENTS + window] > 0 else nan
        )
        out[20 + window] = ratio(work[LATE + window], paid)


def put_balances(
    work: Sequence[float], standing: Sequence[float], out: MutableSequence[float]
) -> None:
    """Features 24 to 37: what is open on the day."""
    out[24] = work[OPEN]
    out[25] = work[OPEN_COUNT]
    out[26] = work[OVERDUE]
    out[27] = work[AGE_1_30]
    out[28] = work[AGE_31_60]
    out[29] = work[AGE_61_90]
    out[30] = work[AGE_OVER_90]
    out[31] = ratio(work[OVERDUE], work[OPEN])
    out[32] = work[DPD]
    out[33] = ratio(work[DAYS_OVERDUE], work[OPEN])
    out[34] = ratio(work[DISPUTED], work[OPEN])
    out[35] = ratio(work[LARGEST], work[OPEN])
    out[36] = ratio(work[OPEN], standing[1])
    out[37] = ratio(work[OPEN], work[INVOICED + 1])


def put_habits(
    as_of: int,
    work: Sequence[float],
    standing: Sequence[float],
    out: MutableSequence[float],
) -> None:
    """Features 38 to 53: trends, habits, age of the relation, financial ratios."""
    year = 3  # the place of the 365-day window
    out[38] = ratio(work[DBT + 1], work[PAID + 1]) - ratio(
        work[DBT + year], work[PAID + year]
    )
    out[39] = ratio(work[INVOICED + 1] * 365, work[INVOICED + year] * 90)
    out[40] = as_of - work[LAST_PAID]
    out[41] = as_of - work[LAST_ISSUED]
    out[42] = as_of - work[FIRST_ISSUED]
    out[43] = as_of - standing[0]
    out[44] = work[BROKEN + year]
    out[45] = work[DISPUTES + year]
    out[46] = ratio(work[PARTIAL + year], work[PAYMENTS + year])
    out[47] = ratio(work[SIZE + year], work[PAYMENTS + year])
    out[48] = ratio(work[CREDITED + year], work[INVOICED + year])
    out[49] = ratio(work[TERMS + year], work[INVOICED + year])
    out[50] = work[LOST + year]
    out[51] = standing[2]
    out[52] = standing[3]
    out[53] = standing[4]
