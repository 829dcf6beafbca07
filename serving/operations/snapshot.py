"""One view of a whole database, whatever is written meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa


@contextmanager
def snapshot(engine: sa.Engine) -> Iterator[sa.Connection]:
    """Give one view of the whole database, whatever is written meanwhile."""
    with engine.connect() as connection:
        if engine.dialect.name == "sqlite":
            connection.exec_driver_sql("BEGIN")
        else:
            connection = connection.execution_options(
                isolation_level="REPEATABLE READ",
                stream_results=True,
            )
        yield connection
        connection.rollback()
