"""How many calls a key may make in a day, counted over all processes and restarts."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import sqlalchemy as sa

from obligor.errors import RateError, RecordError
from obligor.record.tables import API_USAGE


class Quota:
    """Counts calls in memory and, at every `flush`, together with other processes in the database.

    Parameters
    ----------
    now : callable
        The time, with its zone; a day is one of UTC.
    """

    def __init__(self, engine: sa.Engine, now: Callable[[], datetime]) -> None:
        self.engine, self.now = engine, now
        self._lock = threading.Lock()
        self._fresh = dict[tuple[str, date], int]()  # not in the database yet
        self._total = dict[tuple[str, date], int]()

    def take(self, key_id: str, per_day: int | None) -> None:
        """Take one of a key's calls of the day; between two flushes another process may take some more.

        Raises
        ------
        RateError
            Where none is left.
        """
        now = self.now().astimezone(UTC)
        place = (key_id, now.date())
        with self._lock:
            if place not in self._total:
                self._total = {
                    **{old: n for old, n in self._total.items() if old[1] == place[1]},
                    place: self._counted(*place),
                }
            if (
                per_day is not None
                and self._total[place] + self._fresh.get(place, 0) >= per_day
            ):
                midnight = datetime.combine(place[1] + timedelta(days=1), time(), UTC)
                raise RateError(
                    f"more than {per_day:,} calls a day",
                    (midnight - now).total_seconds(),
                )
            self._fresh[place] = self._fresh.get(place, 0) + 1

    def flush(self) -> None:
        """Add what was counted to the database, and read what others added.

        Raises
        ------
        RecordError
            Where the database cannot be written to; nothing is lost.
        """
        with self._lock:
            if not self._fresh:
                return
            try:
                for place in list(self._fresh):
                    with self.engine.begin() as connection:
                        connection.execute(
                            _adding(
                                self.engine.dialect.name, *place, self._fresh[place]
                            )
                        )
                    del self._fresh[place]
            except sa.exc.SQLAlchemyError as error:
                raise RecordError(
                    f"calls cannot be counted ({type(error).__name__})",
                    where="api_usage",
                ) from None
            self._total = {place: self._counted(*place) for place in self._total}

    def _counted(self, key_id: str, day: date) -> int:
        query = sa.select(API_USAGE.c.calls).where(
            API_USAGE.c.key_id == key_id, API_USAGE.c.day == day
        )
        with self.engine.connect() as connection:
            return int(connection.scalar(query) or 0)


def _adding(dialect: str, key_id: str, day: date, calls: int) -> Any:
    from sqlalchemy.dialects import postgresql, sqlite

    insert = (sqlite if dialect == "sqlite" else postgresql).insert(API_USAGE)
    statement = insert.values(key_id=key_id, day=day, calls=calls)
    more = {"calls": API_USAGE.c.calls + statement.excluded.calls}
    return statement.on_conflict_do_update(index_elements=["key_id", "day"], set_=more)
