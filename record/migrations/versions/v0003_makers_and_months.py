"""The key that requested an entry; a customer's key per month; quotas of API keys."""

from __future__ import annotations

from alembic import op
from sqlalchemy import BigInteger, Column, Date, String

revision = "0003"
down_revision = "0002"
# SQLite does not store the names of constraints: they are derived here.
_NAMES = {"uq": "uq_%(table_name)s_%(column_0_name)s"}


def upgrade() -> None:
    """Add the columns and the table."""
    op.add_column("entries", Column("made_by", String(128), nullable=True))
    op.add_column("api_keys", Column("per_day", BigInteger, nullable=True))
    op.create_table(
        "api_usage",
        Column("key_id", String(64), primary_key=True),
        Column("day", Date, primary_key=True),
        Column("calls", BigInteger, nullable=False),
    )
    with op.batch_alter_table("customers", naming_convention=_NAMES) as table:
        table.add_column(Column("month", String(7), nullable=False, server_default=""))
        table.drop_constraint(_unique_lookup(), type_="unique")
        table.create_unique_constraint("uq_customers_lookup_month", ["lookup", "month"])


def downgrade() -> None:
    """Drop them; the database refuses if a customer has keys for several months."""
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
