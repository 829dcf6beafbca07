"""Alembic's entry point: runs the versions on the given connection."""

from __future__ import annotations

from alembic import context

from obligor.record.tables import METADATA

context.configure(
    connection=context.config.attributes["connection"], target_metadata=METADATA
)
context.run_migrations()
