"""Denied calls: counted, and recorded once a minute: nobody can flood the record."""

from __future__ import annotations

import threading
from collections import Counter
from datetime import datetime, timedelta
from typing import NamedTuple

from obligor.record.entry import Entry, service_entry

EVERY = timedelta(minutes=1)
# Kinds of denied calls in one entry; those beyond are counted together.
MOST = 500


class Denied(NamedTuple):
    """A kind of denied calls; `key_id` is empty if no valid key was sent."""

    key_id: str
    method: str
    route: str
    status: int


_OTHERS = Denied("", "", "all others", 0)


class Denials:
    """Counts the calls that were denied since they were last recorded."""

    def __init__(self) -> None:
        self._counts = Counter[Denied]()
        self._lock = threading.Lock()
        self._recorded_at: datetime | None = None

    def count(self, denied: Denied) -> None:
        """Count a call."""
        with self._lock:
            has_room = len(self._counts) < MOST
            if denied in self._counts or has_room:
                self._counts[denied] += 1
            else:
                self._counts[_OTHERS] += 1

    def entry(
        self,
        at: datetime,
        entry_id: str,
        is_last: bool = False,
    ) -> Entry | None:
        """Return the entry about the calls denied so far, and count from zero again.

        Parameters
        ----------
        at : datetime
            The time, with its zone.
        entry_id : str
            A fresh id.
        is_last : bool
            Whether the process ends, so that there is no later time to record them.

        Returns
        -------
        Entry or None
            None if no call was denied, or the last entry is less than a minute old.
        """
        with self._lock:
            if not self._counts or not (is_last or self._is_due(at)):
                return None
            calls = []
            for denied, n_calls in sorted(self._counts.items()):
                calls.append({**denied._asdict(), "calls": n_calls})
            self._counts.clear()
            self._recorded_at = at
        return service_entry("denied", {"calls": calls}, at, entry_id)

    def _is_due(self, at: datetime) -> bool:
        return self._recorded_at is None or at - self._recorded_at >= EVERY
