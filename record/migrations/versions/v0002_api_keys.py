"""API keys, as hashes."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy import Column, DateTime, String

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "api_keys",
        Column("key_id", String(12), primary_key=True),
        Column("name", String(128), nullable=False),
        Column("role", String(20), nullable=False),
        Column("secret_sha256", String(64), nullable=False),
        Column("per_second", sa.Integer, nullable=False),
        Column("person", String(128), nullable=True),
        Column("authority", String(20), nullable=True),
        Column("created_at", DateTime(timezone=True), nullable=False),
        Column("revoked_at", DateTime(timezone=True), nullable=True),
    )


def downgrade() -> None:
    """Drop the table."""
    op.drop_table("api_keys")
