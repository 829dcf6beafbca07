"""The record: entries, customers' keys, secrets, the tree.

Entries and nodes are append-only.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy import BigInteger, Boolean, Column, Date, DateTime, LargeBinary, String

revision = "0001"
down_revision = None
_APPEND_ONLY = ("entries", "nodes")


def upgrade() -> None:
    """Create the tables and their triggers."""
    is_sqlite = op.get_bind().dialect.name == "sqlite"
    big = BigInteger().with_variant(sa.Integer, "sqlite")
    xid = "0" if is_sqlite else sa.text("(pg_current_xact_id()::text::bigint)")
    op.create_table(
        "entries",
        Column("seq", big, primary_key=True, autoincrement=True),
        Column("xid", BigInteger, nullable=False, server_default=xid),
        Column("entry_id", String(36), nullable=False, unique=True),
        Column("kind", String(10), nullable=False),
        Column("about", String(36), nullable=True),
        Column("customer_ref", String(32), nullable=False),
        Column("as_of", Date, nullable=False),
        Column("recorded_at", DateTime(timezone=True), nullable=False),
        Column("key_ref", String(64), nullable=True, unique=True),
        Column("request_ref", String(64), nullable=False),
        Column("outcome", String(12), nullable=False),
        Column("pd_12m", sa.Float(53), nullable=True),
        Column("grade", sa.Integer, nullable=True),
        Column("limit_minor", BigInteger, nullable=True),
        Column("currency", String(3), nullable=True),
        Column("model_sha256", String(64), nullable=True),
        Column("policy_sha256", String(64), nullable=True),
        Column("is_filed", Boolean, nullable=False),
        Column("request", LargeBinary, nullable=False),
        Column("body", LargeBinary, nullable=False),
        Column("inputs", LargeBinary, nullable=True),
        Column("leaf_hash", LargeBinary, nullable=False),
    )
    for name, columns in (
        ("about", ["about"]),
        ("customer_ref", ["customer_ref"]),
        ("kind", ["kind", "outcome", "about"]),
        ("order", ["xid", "seq"]),
    ):
        op.create_index(f"ix_entries_{name}", "entries", columns)
    op.create_table(
        "customers",
        Column("customer_ref", String(32), primary_key=True),
        Column("lookup", String(64), nullable=True, unique=True),
        Column("wrapped", LargeBinary, nullable=True),
        Column("is_natural_person", Boolean, nullable=False, server_default=sa.false()),
        Column("erased_at", DateTime(timezone=True), nullable=True),
        Column("erased_because", String(500), nullable=True),
    )
    op.create_table(
        "secrets",
        Column("name", String(32), primary_key=True),
        Column("wrapped", LargeBinary, nullable=False),
    )
    op.create_table(
        "nodes",
        Column("level", sa.Integer, primary_key=True),
        Column("place", BigInteger, primary_key=True, autoincrement=False),
        Column("hash", LargeBinary, nullable=False),
        Column("seq", BigInteger, nullable=True, unique=True),
        Column("xid", BigInteger, nullable=True),
    )
    _forbid_changes(is_sqlite)


def _forbid_changes(is_sqlite: bool) -> None:
    if not is_sqlite:
        op.execute(
            "CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE EXCEPTION 'the record is append-only' "
            "USING ERRCODE = 'integrity_constraint_violation'; END $$"
        )
    for table in _APPEND_ONLY:
        for action in ("UPDATE", "DELETE"):
            name = f"{table}_no_{action.lower()}"
            if is_sqlite:
                op.execute(
                    f"CREATE TRIGGER {name} BEFORE {action} ON {table} "
                    "BEGIN SELECT RAISE(ABORT, 'the record is append-only'); END"
                )
            else:
                op.execute(
                    f"CREATE TRIGGER {name} BEFORE {action} OR TRUNCATE ON {table} "
                    "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
                )


def downgrade() -> None:
    """Drop the tables."""
    for table in ("nodes", "secrets", "customers", "entries"):
        op.drop_table(table)
    if op.get_bind().dialect.name != "sqlite":
        op.execute("DROP FUNCTION refuse_change()")
