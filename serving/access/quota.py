"""Calls a key may make in a day, counted over all processes and restarts."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from obligor.errors import RateError, RecordError
from obligor.record.tables import API_USAGE


class _KeyDay(NamedTuple):
    """One key on one day of UTC."""

    key_id: str
    day: date


class Quota:
    """Counts calls in memory; `flush` adds them to those of the other processes.

    Parameters
    ----------
    engine : Engine
        Of the database that stores the keys.
    now : callable
        Returns the time, with its zone; a day is one of UTC.
    """

    def __init__(
        self,
        engine: sa.Engine,
        now: Callable[[], datetime],
    ) -> None:
        self._engine = engine
        self._now = now
        self._lock = threading.Lock()
        self._unsaved = dict[_KeyDay, int]()
        self._saved = dict[_KeyDay, int]()  # of all processes, at the last flush

    def take(
        self,
        key_id: str,
        per_day: int | None,
    ) -> None:
        """Take one of a key's calls of the day.

        Between two flushes, other processes may take some more.

        Raises
        ------
        RateError
            If no call is left.
        """
        now = self._now().astimezone(UTC)
        key_day = _KeyDay(key_id, now.date())
        with self._lock:
            if key_day not in self._saved:
                self._forget_other_days(key_day.day)
                self._saved[key_day] = self._stored_calls(key_day)
            unsaved = self._unsaved.get(key_day, 0)
            if per_day is not None and self._saved[key_day] + unsaved >= per_day:
                raise RateError(
                    f"the key's limit of {per_day:,} calls a day is reached",
                    retry_after_s=_seconds_to_midnight(now),
                )
            self._unsaved[key_day] = unsaved + 1

    def flush(self) -> None:
        """Add the calls counted to the database, and read what others added.

        Raises
        ------
        RecordError
            If the database cannot be written; no count is lost.
        """
        with self._lock:
            if not self._unsaved:
                return
            try:
                for key_day in list(self._unsaved):
                    self._add_calls(key_day, self._unsaved[key_day])
                    del self._unsaved[key_day]
                for key_day in self._saved:
                    self._saved[key_day] = self._stored_calls(key_day)
            except sa.exc.SQLAlchemyError as error:
                raise RecordError(
                    f"the calls cannot be counted ({type(error).__name__})",
                    where="api_usage",
                    do="check the database",
                ) from None

    def _forget_other_days(self, day: date) -> None:
        for key_day in list(self._saved):
            if key_day.day != day:
                del self._saved[key_day]

    def _stored_calls(self, key_day: _KeyDay) -> int:
        query = sa.select(API_USAGE.c.calls).where(
            API_USAGE.c.key_id == key_day.key_id,
            API_USAGE.c.day == key_day.day,
        )
        with self._engine.connect() as connection:
            return int(connection.scalar(query) or 0)

    def _add_calls(
        self,
        key_day: _KeyDay,
        calls: int,
    ) -> None:
        is_sqlite = self._engine.dialect.name == "sqlite"
        dialect = sqlite if is_sqlite else postgresql
        insert = dialect.insert(API_USAGE).values(
            key_id=key_day.key_id,
            day=key_day.day,
            calls=calls,
        )
        total = API_USAGE.c.calls + insert.excluded.calls
        upsert = insert.on_conflict_do_update(
            index_elements=["key_id", "day"],
            set_={"calls": total},
        )
        with self._engine.begin() as connection:
            connection.execute(upsert)


def _seconds_to_midnight(now: datetime) -> float:
    tomorrow = now.date() + timedelta(days=1)
    midnight = datetime.combine(tomorrow, time(), UTC)
    return (midnight - now).total_seconds()
