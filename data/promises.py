"""When promises to pay were kept: the one definition of kernel and ladder.

The source runs in the interpreter and compiled by numba as a part of `features.kernel`,
so it keeps to loops, numbers and indexing.
"""

# numba's cache watches kernel.py only: touch it after a change of this file.

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from obligor.arrays import Ints
from obligor.data.account import PAYMENT, PROMISE
from obligor.data.days import OPEN_END


class EventColumns(NamedTuple):
    """The events, by item and in order of time, as in `data.account.Events`."""

    kind: Ints
    day: Ints
    value: Ints
    end: Ints


class Progress(NamedTuple):
    """How far promises are, one value for each event of an item.

    Attributes
    ----------
    kept_on : array of int
        The day on which a promise was kept; `OPEN_END` if it was not kept in time, and
        for all other events.
    missing : array of int
        What is not yet paid of a promise, minor units.
    """

    kept_on: Ints
    missing: Ints


def progress(
    events: EventColumns,
    first: int,
    stop: int,
    counts_once: bool,
) -> Progress:
    """Return how far the promises of one item are.

    A promise is kept on the day by which as much as promised was paid since it was
    made, if that is its last day or earlier. What is paid counts once: for the oldest
    promise that lacks it, of several made on one day for the one to be paid first.
    Promises made on one day are instalments of a plan: money that comes late for an
    instalment is not money for the next, so an instalment takes it until the last day
    of the plan.

    Parameters
    ----------
    events : EventColumns
        Events, those of the item among them.
    first, stop : int
        The events of the item are ``first .. stop - 1``, in order of time.
    counts_once : bool
        False for the first version of accounting, by which a payment counts for every
        promise that it is in time for.

    Returns
    -------
    Progress
        Arrays of shape (stop - first,).

    Examples
    --------
    A plan of two instalments, the first of which is paid a day late:

    >>> events = EventColumns(
    ...     kind=np.array([PROMISE, PROMISE, PAYMENT]),
    ...     day=np.array([0, 0, 11]),
    ...     value=np.array([50, 50, 50]),
    ...     end=np.array([10, 20, OPEN_END]),
    ... )
    >>> plan = progress(events, 0, 3, counts_once=True)
    >>> (plan.kept_on < OPEN_END).tolist(), plan.missing[:2].tolist()
    ([False, False, False], [0, 50])
    >>> each_alone = progress(events, 0, 3, counts_once=False)
    >>> (each_alone.kept_on < OPEN_END).tolist(), each_alone.missing[:2].tolist()
    ([False, True, False], [50, 0])
    """
    kept_on = np.full(stop - first, OPEN_END)
    missing = events.value[first:stop].copy()
    oldest_first = _oldest_first(events, first, stop)
    last_days = _last_days(events, first, stop, counts_once)
    for payment in range(first, stop):
        if events.kind[payment] != PAYMENT:
            continue
        day = events.day[payment]
        money = events.value[payment]
        for promise in oldest_first:
            is_made = events.day[first + promise] <= day
            if not is_made or last_days[promise] < day:
                continue
            part = min(money, missing[promise])
            missing[promise] -= part
            is_in_time = day <= events.end[first + promise]
            if missing[promise] == 0 and is_in_time and kept_on[promise] == OPEN_END:
                kept_on[promise] = day
            if counts_once:
                money -= part
    return Progress(kept_on, missing)


def _oldest_first(events: EventColumns, first: int, stop: int) -> Ints:
    """Return the promises of an item by day and last day, counted from its `first`."""
    promises = np.empty(stop - first, dtype=np.int64)
    count = 0
    for event in range(first, stop):
        if events.kind[event] != PROMISE:
            continue
        # Those of one day change places until the one to be paid first is first.
        position = count
        while position > 0:
            earlier = first + promises[position - 1]
            is_same_day = events.day[earlier] == events.day[event]
            if not is_same_day or events.end[earlier] <= events.end[event]:
                break
            promises[position] = promises[position - 1]
            position -= 1
        promises[position] = event - first
        count += 1
    return promises[:count]


def _last_days(
    events: EventColumns,
    first: int,
    stop: int,
    counts_once: bool,
) -> Ints:
    """Return the last day on which each promise takes money: that of its plan."""
    last_days = events.end[first:stop].copy()
    if not counts_once:
        return last_days
    for event in range(first, stop):
        if events.kind[event] != PROMISE:
            continue
        for other in range(first, stop):
            is_promise = events.kind[other] == PROMISE
            if is_promise and events.day[other] == events.day[event]:
                last_day = max(last_days[event - first], events.end[other])
                last_days[event - first] = last_day
    return last_days
