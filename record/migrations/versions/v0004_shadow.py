"""What a challenger would have said of a decision."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision, down_revision = "0004", "0003"


def upgrade() -> None:
    """Add the table."""
    op.create_table(
        "shadow_scores",
        sa.Column("entry_id", sa.String(36), primary_key=True),
        sa.Column("model_sha256", sa.String(64), primary_key=True),
        sa.Column("pd_12m", sa.Float(53), nullable=False),
        sa.Column("scored_at", sa.DateTime(timezone=True), nullable=False),
    )


def downgrade() -> None:
    """Take it away."""
    op.drop_table("shadow_scores")
