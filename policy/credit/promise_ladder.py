"""The promise ladder: kept and broken promises move a customer up and down, by date."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import NamedTuple

from obligor.policy.rulebooks.decision_table import Evaluation
from obligor.policy.rulebooks.rulebook import Rulebook

QUIET_YEAR = timedelta(days=365)


class Promise(NamedTuple):
    """A settled promise to pay.

    Attributes
    ----------
    settled_on : date
        The day it was kept, or the day after the one it was broken on.
    is_kept : bool
        Whether it was kept.
    """

    settled_on: date
    is_kept: bool


@dataclass(frozen=True)
class LadderPosition:
    """The rung of a customer on the promise ladder, since when, and the steps to it."""

    rung: int = 0
    since: date | None = None
    steps: tuple[tuple[date, Evaluation], ...] = ()


MIDDLE_RUNG = LadderPosition()


def ladder_position(
    promises: Sequence[Promise],
    as_of: date,
    rulebook: Rulebook,
) -> LadderPosition:
    """Return the position on a day: promises settled by then, and quiet years between.

    Parameters
    ----------
    promises : sequence of Promise
        In any order; those settled after `as_of` do not count.
    as_of : date
        The day.
    rulebook : Rulebook
        Its table ``ladder_moves`` gives the step after each event.

    Returns
    -------
    LadderPosition
        The rung, and every step with its date and rule.

    Examples
    --------
    >>> from obligor.policy.rulebooks.rulebook import RULES, read_rulebook
    >>> rules = read_rulebook(RULES / "2000-01-01")
    >>> kept_promises = [Promise(date(2025, month, 1), True) for month in (1, 2, 3)]
    >>> ladder_position(kept_promises, date(2025, 2, 28), rules).rung
    0
    >>> ladder_position(kept_promises, date(2025, 3, 1), rules).rung
    1
    >>> broken = Promise(date(2025, 4, 1), False)
    >>> ladder_position([*kept_promises, broken], date(2025, 4, 1), rules).rung
    0
    >>> ladder_position(kept_promises, date(2026, 3, 1), rules).rung  # a quiet year
    0
    """
    rung = 0
    kept_in_a_row = 0
    since = None
    steps = list[tuple[date, Evaluation]]()
    moves = rulebook.tables["ladder_moves"]
    for day, event in _events(promises, as_of):
        kept_in_a_row = kept_in_a_row + 1 if event == "kept" else 0
        move = moves(
            event=event,
            kept_in_a_row=kept_in_a_row,
            rung=rung,
        )
        step = move.whole("step")
        if step:
            rung += step
            # The next step needs three kept promises of its own.
            kept_in_a_row = 0
            since = day
            steps.append((day, move))
    return LadderPosition(rung, since, tuple(steps))


def _events(promises: Sequence[Promise], as_of: date) -> list[tuple[date, str]]:
    """The events up to a day, with ``quiet_year`` at the end of each year without."""
    events = list[tuple[date, str]]()
    settled = sorted(promise for promise in promises if promise.settled_on <= as_of)
    for day, is_kept in settled:
        events += _quiet_years(events, day)
        events.append((day, "kept" if is_kept else "broken"))
    # The year must have passed by the end of the as-of date.
    return events + _quiet_years(events, as_of + timedelta(days=1))


def _quiet_years(
    events: Sequence[tuple[date, str]], until: date
) -> list[tuple[date, str]]:
    """The quiet years between the last event and a day, that day not included."""
    if not events:
        return []
    last_event_on, _ = events[-1]
    n_years = (until - last_event_on - timedelta(days=1)) // QUIET_YEAR
    return [
        (last_event_on + QUIET_YEAR * year, "quiet_year")
        for year in range(1, n_years + 1)
    ]
