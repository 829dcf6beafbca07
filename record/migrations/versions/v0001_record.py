"""The record: entries, customers' keys, secrets, the tree; entries and nodes are append-only."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision, down_revision = "0001", None
_APPEND_ONLY = ("entries", "nodes")


def upgrade() -> None:
    """Make the tables and their triggers."""
    is_sqlite = op.get_bind().dialect.name == "sqlite"
    big = sa.BigInteger().with_variant(sa.Integer, "sqlite")
    xid = "0" if is_sqlite else sa.text("(pg_current_xact_id()::text::bigint)")
    op.create_table(
        "entries",
        sa.Column("seq", big, primary_key=True, autoincrement=True),
        sa.Column("xid", sa.BigInteger, nullable=False, server_default=xid),
        sa.Column("entry_id", sa.String(36), nullable=False, unique=True),
        sa.Column("kind", sa.String(10), nullable=False),
        sa.Column("about", sa.String(36), nullable=True),
        sa.Column("customer_ref", sa.String(32), nullable=False),
        sa.Column("as_of", sa.Date, nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("key_ref", sa.String(64), nullable=True, unique=True),
        sa.Column("request_ref", sa.String(64), nullable=False),
        sa.Column("outcome", sa.String(12), nullable=False),
        sa.Column("pd_12m", sa.Float(53), nullable=True),
        sa.Column("grade", sa.Integer, nullable=True),
        sa.Column("limit_minor", sa.BigInteger, nullable=True),
        sa.Column("currency", sa.String(3), nullable=True),
        sa.Column("model_sha256", sa.String(64), nullable=True),
        sa.Column("policy_sha256", sa.String(64), nullable=True),
        sa.Column("is_filed", sa.Boolean, nullable=False),
        sa.Column("request", sa.LargeBinary, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("inputs", sa.LargeBinary, nullable=True),
        sa.Column("leaf_hash", sa.LargeBinary, nullable=False),
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
        sa.Column("customer_ref", sa.String(32), primary_key=True),
        sa.Column("lookup", sa.String(64), nullable=True, unique=True),
        sa.Column("wrapped", sa.LargeBinary, nullable=True),
        sa.Column(
            "is_natural_person", sa.Boolean, nullable=False, server_default=sa.false()
        ),
        sa.Column("erased_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("erased_because", sa.String(500), nullable=True),
    )
    op.create_table(
        "secrets",
        sa.Column("name", sa.String(32), primary_key=True),
        sa.Column("wrapped", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "nodes",
        sa.Column("level", sa.Integer, primary_key=True),
        sa.Column("place", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("hash", sa.LargeBinary, nullable=False),
        sa.Column("seq", sa.BigInteger, nullable=True, unique=True),
        sa.Column("xid", sa.BigInteger, nullable=True),
    )
    _forbid_changes(is_sqlite)


def _forbid_changes(is_sqlite: bool) -> None:
    if not is_sqlite:
        op.execute(
            "CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE EXCEPTION 'the record is append-only' USING ERRCODE = 'integrity_constraint_violation'; "
            "END $$"
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
    """Drop all of it."""
    for table in ("nodes", "secrets", "customers", "entries"):
        op.drop_table(table)
    if op.get_bind().dialect.name != "sqlite":
        op.execute("DROP FUNCTION refuse_change()")
