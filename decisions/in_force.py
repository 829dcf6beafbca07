"""Which models and rulebooks were in force at a time, by whom, and why."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Annotated, NamedTuple

from typing_extensions import TypedDict

from obligor.decisions.json_values import one_of
from obligor.errors import AsOfError, RecordError
from obligor.model.bundle import NAMED, PROMOTIONS
from obligor.policy.rulebooks.rulebook import (
    RELEASE,
    folders,
    read_archived_rulebook,
    read_release,
)


class InForce(NamedTuple):
    """A model or rulebook: since when it is in force, who released it, and why."""

    since: datetime
    what: str
    version: str
    sha256: str
    by: str
    because: str


class InForceEntry(TypedDict):
    """A model or rulebook: since when it is in force, who released it, and why."""

    since: datetime
    what: Annotated[str, one_of("model", "rulebook")]
    version: str
    sha256: str
    by: str
    because: str


class InForceAnswer(TypedDict):
    """The model and the rulebook that were in force at a time."""

    at: datetime
    model: InForceEntry | None
    rulebook: InForceEntry | None


def timeline_of(store: Path, rules: Path) -> list[InForce]:
    """Return every promotion and release, by time; a named model has its name.

    Raises
    ------
    RecordError
        If the list of promotions is damaged.
    PolicyError
        If a released rulebook was changed.
    """
    events = [*_models(store / PROMOTIONS, "model"), *_rulebooks(rules)]
    for path in (store / NAMED).glob(f"*/{PROMOTIONS}"):
        events += _models(path, f"model {path.parent.name}")
    return sorted(events)


def in_force_at(events: Sequence[InForce], at: datetime) -> dict[str, InForce]:
    """Return the model and the rulebook that were in force at a time.

    Examples
    --------
    >>> days = [datetime(2026, 1, n, tzinfo=UTC) for n in (1, 2, 3)]
    >>> old = InForce(days[0], "model", "1", "", "", "")
    >>> new = InForce(days[2], "model", "2", "", "", "")
    >>> [in_force_at([old, new], day)["model"].version for day in days]
    ['1', '1', '2']
    """
    in_force = dict[str, InForce]()
    for event in events:
        if event.since <= at:
            in_force[event.what] = event
    return in_force


def in_force_answer(at: str, store: Path, rules: Path) -> InForceAnswer:
    """Return the model and the rulebook that were in force at a time.

    Parameters
    ----------
    at : str
        The time (ISO 8601); UTC if it names no zone.
    store : Path
        The folder with the list of promotions.
    rules : Path
        The folder of the rulebooks.

    Returns
    -------
    InForceAnswer
        None for what was not in force yet.

    Raises
    ------
    AsOfError
        If the text is not a time.
    """
    try:
        when = datetime.fromisoformat(at)
    except ValueError:
        raise AsOfError(
            "the text is not a valid time",
            where="at",
            expected="such as 2026-03-01T12:00:00+00:00",
        ) from None
    if when.tzinfo is None:
        when = when.replace(tzinfo=UTC)
    in_force = in_force_at(timeline_of(store, rules), when)
    return {
        "at": when,
        "model": _entry(in_force.get("model")),
        "rulebook": _entry(in_force.get("rulebook")),
    }


def _entry(event: InForce | None) -> InForceEntry | None:
    if event is None:
        return None
    return {
        "since": event.since,
        "what": event.what,
        "version": event.version,
        "sha256": event.sha256,
        "by": event.by,
        "because": event.because,
    }


def _models(path: Path, what: str) -> list[InForce]:
    if not path.exists():
        return []
    events = list[InForce]()
    lines = path.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines, start=1):
        try:
            promotion = json.loads(line)
            event = InForce(
                since=datetime.fromisoformat(promotion["at"]),
                what=what,
                version=promotion["version"],
                sha256=promotion["sha256"],
                by=promotion["by"],
                because=promotion["because"],
            )
        except (ValueError, KeyError, TypeError):
            raise RecordError(
                "the promotion cannot be read",
                where=f"{path.name} line {number}",
                do="restore it",
            ) from None
        events.append(event)
    return events


def _rulebooks(rules: Path) -> list[InForce]:
    events = list[InForce]()
    for folder in folders(rules):
        if not (folder / RELEASE).exists():
            continue
        rulebook = read_archived_rulebook(folder)
        release = read_release(folder, rulebook)
        released_at = datetime.fromisoformat(release["released_at"])
        event = InForce(
            since=max(released_at, _start(rulebook.effective)),
            what="rulebook",
            version=rulebook.version,
            sha256=rulebook.sha256,
            by=release["released_by"],
            because=release["because"],
        )
        events.append(event)
    return events


def _start(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)
