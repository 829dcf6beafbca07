"""The ladder of rewards and penalties: promises kept and broken move a customer up and down, by date."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import NamedTuple

from obligor.policy.rulebooks.decision_table import Evaluation
from obligor.policy.rulebooks.rulebook import Rulebook

QUIET = timedelta(days=365)


class Promise(NamedTuple):
    """A promise that is settled: the day it was kept, or the day after the one it was broken on."""

    settled_on: date
    is_kept: bool


@dataclass(frozen=True)
class Rung:
    """Where a customer stands on the ladder, since when, and the steps that led there."""

    rung: int = 0
    since: date | None = None
    steps: tuple[tuple[date, Evaluation], ...] = ()


MIDDLE = Rung()


def rung_on(promises: Sequence[Promise], as_of: date, rulebook: Rulebook) -> Rung:
    """Return the rung on a day: the promises settled by then, in their order, and the quiet years between.

    Parameters
    ----------
    promises : sequence of Promise
        In any order; those settled after `as_of` are not looked at.

    Examples
    --------
    >>> from policy.rulebook import RULES, read_rulebook
    >>> rules = read_rulebook(RULES / "2000-01-01")
    >>> kept = [Promise(date(2025, month, 1), True) for month in (1, 2, 3)]
    >>> rung_on(kept, date(2025, 2, 28), rules).rung, rung_on(kept, date(2025, 3, 1), rules).rung
    (0, 1)
    >>> rung_on([*kept, Promise(date(2025, 4, 1), False)], date(2025, 4, 1), rules).rung
    0
    >>> rung_on(kept, date(2026, 3, 1), rules).rung     # a year without any
    0
    """
    rung, in_a_row, since = 0, 0, None
    steps = list[tuple[date, Evaluation]]()
    moves = rulebook.tables["ladder_moves"]
    for day, event in _events(promises, as_of):
        in_a_row = in_a_row + 1 if event == "kept" else 0
        move = moves(event=event, kept_in_a_row=in_a_row, rung=rung)
        step = move.whole("step")
        if step:
            rung, in_a_row, since = rung + step, 0, day
            steps.append((day, move))
    return Rung(rung, since, tuple(steps))


def _events(promises: Sequence[Promise], as_of: date) -> list[tuple[date, str]]:
    """What happened by a day, with an event at the end of each year in which nothing did."""
    found = list[tuple[date, str]]()
    for day, is_kept in sorted(
        promise for promise in promises if promise.settled_on <= as_of
    ):
        found += _quiet_years(found, day)
        found.append((day, "kept" if is_kept else "broken"))
    return found + _quiet_years(found, as_of + timedelta(days=1))


def _quiet_years(
    found: Sequence[tuple[date, str]], until: date
) -> list[tuple[date, str]]:
    years = (until - found[-1][0] - timedelta(days=1)) // QUIET if found else 0
    return [(found[-1][0] + QUIET * year, "quiet_year") for year in range(1, years + 1)]
