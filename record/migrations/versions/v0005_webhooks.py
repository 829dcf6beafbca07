"""Webhooks: endpoints, their secrets, the outbox, and how far the record was read."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy import BigInteger, Column, DateTime, Integer, LargeBinary, String

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "webhook_endpoints",
        Column("endpoint_id", String(16), primary_key=True),
        Column("url", String(2000), nullable=False),
        Column("types", String(1000), nullable=False),
        Column("secret_from", String(128), nullable=True),
        Column("from_leaf", BigInteger, nullable=False),
        Column("created_at", DateTime(timezone=True), nullable=False),
        Column("removed_at", DateTime(timezone=True), nullable=True),
    )
    op.create_table(
        "webhook_secrets",
        Column("secret_id", String(16), primary_key=True),
        Column("endpoint_id", String(16), nullable=False),
        Column("wrapped", LargeBinary, nullable=False),
        Column("created_at", DateTime(timezone=True), nullable=False),
        Column("retires_at", DateTime(timezone=True), nullable=True),
    )
    op.create_table(
        "webhook_counters",
        Column("name", String(16), primary_key=True),
        Column("value", BigInteger, nullable=False),
    )
    big = BigInteger().with_variant(sa.Integer, "sqlite")
    op.create_table(
        "webhook_outbox",
        Column("seq", big, primary_key=True, autoincrement=True),
        Column("endpoint_id", String(16), nullable=False),
        Column("event_id", String(80), nullable=False),
        Column("type", String(40), nullable=False),
        Column("entry_id", String(36), nullable=False),
        Column("customer_ref", String(32), nullable=False),
        Column("details", String(4000), nullable=False),
        Column("occurred_at", DateTime(timezone=True), nullable=False),
        Column("state", String(10), nullable=False),
        Column("attempts", Integer, nullable=False),
        Column("next_at", DateTime(timezone=True), nullable=False),
        Column("gives_up_at", DateTime(timezone=True), nullable=False),
        Column("finished_at", DateTime(timezone=True), nullable=True),
        Column("last_status", Integer, nullable=True),
        Column("last_error", String(200), nullable=True),
        sa.UniqueConstraint(
            "endpoint_id", "event_id", name="uq_webhook_outbox_endpoint_event"
        ),
    )
    for name, columns in (
        ("state", ["state", "endpoint_id", "seq"]),
        ("customer_ref", ["customer_ref", "endpoint_id", "state"]),
    ):
        op.create_index(f"ix_webhook_outbox_{name}", "webhook_outbox", columns)


def downgrade() -> None:
    """Drop the tables."""
    for table in ("outbox", "counters", "secrets", "endpoints"):
        op.drop_table(f"webhook_{table}")
