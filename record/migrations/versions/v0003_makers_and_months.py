"""Who had an entry made; a customer's key for each month; quotas of API keys."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision, down_revision = "0003", "0002"
_NAMES = {
    "uq": "uq_%(table_name)s_%(column_0_name)s"
}  # SQLite keeps no names of constraints: they are given here


def upgrade() -> None:
    """Add the columns and the table."""
    op.add_column("entries", sa.Column("made_by", sa.String(128), nullable=True))
    op.add_column("api_keys", sa.Column("per_day", sa.BigInteger, nullable=True))
    op.create_table(
        "api_usage",
        sa.Column("key_id", sa.String(64), primary_key=True),
        sa.Column("day", sa.Date, primary_key=True),
        sa.Column("calls", sa.BigInteger, nullable=False),
    )
    with op.batch_alter_table("customers", naming_convention=_NAMES) as table:
        table.add_column(
            sa.Column("month", sa.String(7), nullable=False, server_default="")
        )
        table.drop_constraint(_unique_lookup(), type_="unique")
        table.create_unique_constraint("uq_customers_lookup_month", ["lookup", "month"])


def downgrade() -> None:
    """Take them away; refused by the database where a customer has keys for several months."""
    with op.batch_alter_table("customers", naming_convention=_NAMES) as table:
        table.drop_constraint("uq_customers_lookup_month", type_="unique")
        table.create_unique_constraint(_unique_lookup(), ["lookup"])
        table.drop_column("month")
    op.drop_table("api_usage")
    op.drop_column("api_keys", "per_day")
    op.drop_column("entries", "made_by")


def _unique_lookup() -> str:
    return (
        "uq_customers_lookup"
        if op.get_bind().dialect.name == "sqlite"
        else "customers_lookup_key"
    )
