"""What was in force at a time: models and rulebooks, who brought them in, and why."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import NamedTuple

import orjson

from obligor.errors import AsOfError, RecordError
from obligor.model.bundle import PROMOTIONS
from obligor.policy.rulebooks.rulebook import (
    RELEASE,
    folders,
    read_release,
    read_rulebook,
)


class InForce(NamedTuple):
    """A model or rulebook, from when on it was in force, who brought it in and why."""

    since: datetime
    what: str
    version: str
    sha256: str
    by: str
    because: str


def timeline_of(store: Path, rules: Path) -> list[InForce]:
    """Return every promotion and release, by time.

    Raises
    ------
    RecordError
        Where the list of promotions is damaged.
    PolicyError
        Where a released rulebook was changed.
    """
    return sorted([*_models(store / PROMOTIONS), *_rulebooks(rules)])


def in_force_at(events: Sequence[InForce], at: datetime) -> dict[str, InForce]:
    """Return the model and the rulebook that were in force at a time; of rulebooks that with the latest date.

    Examples
    --------
    >>> day = [datetime(2026, 1, n, tzinfo=UTC) for n in (1, 2, 3)]
    >>> events = [InForce(day[0], "model", "1", "", "", ""), InForce(day[2], "model", "2", "", "", "")]
    >>> [in_force_at(events, at).get("model", events[0]).version for at in day]
    ['1', '1', '2']
    """
    return {one.what: one for one in events if one.since <= at}


def in_force_answer(at: str, store: Path, rules: Path) -> bytes:
    """Return what was in force at a time (ISO 8601) as JSON.

    Raises
    ------
    AsOfError
        Where the text is no time.
    """
    try:
        when = datetime.fromisoformat(at)
    except ValueError:
        raise AsOfError(
            "is no time", where="at", expected="such as 2026-03-01T12:00:00+00:00"
        ) from None
    when = when if when.tzinfo else when.replace(tzinfo=UTC)
    found = in_force_at(timeline_of(store, rules), when)
    parts = {
        name: found[name]._asdict() if name in found else None
        for name in ("model", "rulebook")
    }
    return orjson.dumps({"at": when, **parts})


def _models(path: Path) -> list[InForce]:
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    found = []
    for number, line in enumerate(lines, start=1):
        try:
            one = json.loads(line)
            since = datetime.fromisoformat(one["at"])
            found.append(
                InForce(
                    since,
                    "model",
                    one["version"],
                    one["sha256"],
                    one["by"],
                    one["because"],
                )
            )
        except (ValueError, KeyError, TypeError):
            raise RecordError(
                "cannot be read", where=f"{path.name} line {number}", do="restore it"
            ) from None
    return found


def _rulebooks(rules: Path) -> list[InForce]:
    found = []
    for folder in folders(rules):
        if (folder / RELEASE).exists():
            rulebook = read_rulebook(folder)
            release = read_release(folder, rulebook)
            released = datetime.fromisoformat(release["released_at"])
            since = max(released, _start(rulebook.effective))
            found.append(
                InForce(
                    since,
                    "rulebook",
                    rulebook.version,
                    rulebook.sha256,
                    release["released_by"],
                    release["because"],
                )
            )
    return found


def _start(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)
