"""Calls that were denied: counted, and put into the record once a minute, so that nobody can flood it."""

from __future__ import annotations

import threading
from collections import Counter
from datetime import datetime, timedelta
from typing import NamedTuple

from obligor.record.entry import Entry, service_entry

EVERY = timedelta(minutes=1)
MOST = 500  # kinds of denied calls in one entry; what is beyond is counted together


class Denied(NamedTuple):
    """A kind of denied calls; the key is empty where no good one came."""

    key_id: str
    method: str
    route: str
    status: int


_REST = Denied("", "", "all others", 0)


class Denials:
    """What was denied since the last entry about it."""

    def __init__(self) -> None:
        self._counts, self._lock = Counter[Denied](), threading.Lock()
        self._last: datetime | None = None

    def note(self, denied: Denied) -> None:
        """Count a call."""
        with self._lock:
            self._counts[
                denied if denied in self._counts or len(self._counts) < MOST else _REST
            ] += 1

    def entry(self, at: datetime, entry_id: str, is_last: bool = False) -> Entry | None:
        """Return the entry about what was denied, None where nothing was or the last one is too young."""
        with self._lock:
            if not self._counts or not (
                is_last or self._last is None or at - self._last >= EVERY
            ):
                return None
            calls = [
                {**one._asdict(), "calls": count}
                for one, count in sorted(self._counts.items())
            ]
            self._counts.clear()
            self._last = at
        return service_entry("denied", {"calls": calls}, at, entry_id)
