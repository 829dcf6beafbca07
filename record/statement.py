"""A SQL statement compiled once, run by the database driver itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.sql.dml import Insert

# What the driver takes: values by name, or for SQLite by position.
DriverValues = Mapping[str, Any] | Sequence[Any]


class Statement:
    """A statement as text for the driver, with its values in the driver's form.

    Running one INSERT through SQLAlchemy costs ten times what SQLite needs for it.

    Parameters
    ----------
    statement : Insert, Update or Select
        What to compile.
    dialect : Dialect
        Of the database it will run on.
    columns : iterable of str
        The columns an INSERT fills; other statements name theirs themselves.
    """

    def __init__(
        self,
        statement: Insert | sa.Update | sa.Select[tuple[object, ...]],
        dialect: sa.Dialect,
        columns: Iterable[str] = (),
    ) -> None:
        column_keys = list(columns) if isinstance(statement, Insert) else None
        compiled = statement.compile(dialect=dialect, column_keys=column_keys)
        assert isinstance(compiled, sa.sql.compiler.SQLCompiler)
        self.text = str(compiled)
        self._is_sqlite = dialect.name == "sqlite"
        self._order = compiled.positiontup or ()

    def values(self, named: Mapping[str, object]) -> DriverValues:
        """Return values as the driver takes them: by name, for SQLite by position."""
        if not self._is_sqlite:
            return dict(named)
        return tuple(_sqlite_value(named[name]) for name in self._order)


def _sqlite_value(value: object) -> object:
    """Return dates and times as SQLAlchemy stores them in SQLite."""
    # A datetime is a date, too: most values need this one test only.
    if not isinstance(value, date):
        return value
    if isinstance(value, datetime):
        in_utc = value.astimezone(UTC).replace(tzinfo=None)
        return in_utc.isoformat(" ", "microseconds")
    return value.isoformat()
