"""Alembic's entry: runs the versions on the connection it is given."""

from __future__ import annotations

from alembic import context

from obligor.record.tables import METADATA

context.configure(
    connection=context.config.attributes["connection"], target_metadata=METADATA
)
context.run_migrations()
