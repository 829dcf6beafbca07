"""Whose turn it is to deliver: one process at a time, so that the order holds."""

from __future__ import annotations

import fcntl
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import sqlalchemy as sa

from obligor.record.database import RecordDatabase

LOCK_FILE = "webhooks.lock"
_DELIVERY_LOCK = 0x0B11606


class DeliveryTurn:
    """A lock on a file of the store, released however its holder ends.

    Parameters
    ----------
    store : Path
        The folder of the store.
    """

    def __init__(self, store: Path) -> None:
        self._path = store / LOCK_FILE

    def take(self) -> BinaryIO | None:
        """Take the turn; None if another process has it.

        Returns
        -------
        file or None
            Holds the lock while it is open in this process, or in one that inherited
            it.
        """
        file = self._path.open("ab")
        with suppress(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return file
        file.close()
        return None


class DatabaseTurn:
    """The same over machines: a lock of PostgreSQL, held by a connection of its own.

    On SQLite the file of the store is enough, and this lock is always free.

    Parameters
    ----------
    database : RecordDatabase
        The record's database.
    """

    def __init__(self, database: RecordDatabase) -> None:
        self._database = database
        self._connection: sa.Connection | None = None

    def take(self) -> bool:
        """Take the turn; False if another process has it."""
        if self._database.is_sqlite:
            return True
        if self._connection is None:
            self._connection = self._database.engine.connect().execution_options(
                isolation_level="AUTOCOMMIT"
            )
        lock = sa.func.pg_try_advisory_lock(_DELIVERY_LOCK)
        return bool(self._connection.scalar(sa.select(lock)))

    def release(self) -> None:
        """Give the turn back."""
        if self._connection is not None:
            unlock = sa.func.pg_advisory_unlock(_DELIVERY_LOCK)
            self._connection.execute(sa.select(unlock))
            self._connection.close()
            self._connection = None
