"""The challenger's PD of each decision."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy import Column, DateTime, String

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "shadow_scores",
        Column("entry_id", String(36), primary_key=True),
        Column("model_sha256", String(64), primary_key=True),
        Column("pd_12m", sa.Float(53), nullable=False),
        Column("scored_at", DateTime(timezone=True), nullable=False),
    )


def downgrade() -> None:
    """Drop the table."""
    op.drop_table("shadow_scores")
