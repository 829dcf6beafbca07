"""The tables of the record, the same on SQLite and PostgreSQL; `serving/migrations` makes them."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext

METADATA = sa.MetaData()
ENTRIES = sa.Table(
    "entries",
    METADATA,
    sa.Column(
        "seq",
        sa.BigInteger().with_variant(sa.Integer, "sqlite"),
        primary_key=True,
        autoincrement=True,
    ),
    # The transaction that wrote it: on PostgreSQL the order of `seq` is not that of the commits.
    sa.Column("xid", sa.BigInteger, nullable=False, server_default="0"),
    # From here on the fields of `the leaf`, in their order.
    sa.Column("entry_id", sa.String(36), nullable=False, unique=True),
    sa.Column("kind", sa.String(10), nullable=False),
    sa.Column("about", sa.String(36), nullable=True, index=True),
    sa.Column("customer_ref", sa.String(32), nullable=False, index=True),
    sa.Column("as_of", sa.Date, nullable=False),
    sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("key_ref", sa.String(64), nullable=True, unique=True),
    sa.Column("request_ref", sa.String(64), nullable=False),
    sa.Column("outcome", sa.String(12), nullable=False),
    sa.Column("pd_12m", sa.Float(53), nullable=True),
    sa.Column("grade", sa.Integer, nullable=True),
    # Money as whole minor units: an SQLite Numeric loses cents past 2**53.
    sa.Column("limit_minor", sa.BigInteger, nullable=True),
    sa.Column("currency", sa.String(3), nullable=True),
    sa.Column("model_sha256", sa.String(64), nullable=True),
    sa.Column("policy_sha256", sa.String(64), nullable=True),
    sa.Column("is_filed", sa.Boolean, nullable=False),
    sa.Column("request", sa.LargeBinary, nullable=False),
    sa.Column("body", sa.LargeBinary, nullable=False),
    sa.Column("inputs", sa.LargeBinary, nullable=True),
    sa.Column("made_by", sa.String(128), nullable=True),
    sa.Column("leaf_hash", sa.LargeBinary, nullable=False),
    sa.Index("ix_entries_kind", "kind", "outcome", "about"),
    sa.Index("ix_entries_order", "xid", "seq"),
)
# Who a reference stands for, and in which month: erasing a customer, or a month that is old enough, empties `lookup`
# and `wrapped`, and the reference means nobody.
CUSTOMERS = sa.Table(
    "customers",
    METADATA,
    sa.Column("customer_ref", sa.String(32), primary_key=True),
    sa.Column("lookup", sa.String(64), nullable=True),
    sa.Column("wrapped", sa.LargeBinary, nullable=True),
    sa.Column(
        "is_natural_person", sa.Boolean, nullable=False, server_default=sa.false()
    ),
    sa.Column("erased_at", sa.DateTime(timezone=True), nullable=True),
    sa.Column("erased_because", sa.String(500), nullable=True),
    sa.Column("month", sa.String(7), nullable=False, server_default=""),
    sa.UniqueConstraint("lookup", "month", name="uq_customers_lookup_month"),
)
SECRETS = sa.Table(
    "secrets",
    METADATA,
    sa.Column("name", sa.String(32), primary_key=True),
    sa.Column("wrapped", sa.LargeBinary, nullable=False),
)
# The Merkle tree: level 0 are the leaves in their order, level n the roots of 256**n of them.
NODES = sa.Table(
    "nodes",
    METADATA,
    sa.Column("level", sa.Integer, primary_key=True),
    sa.Column("place", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("hash", sa.LargeBinary, nullable=False),
    sa.Column("seq", sa.BigInteger, nullable=True, unique=True),
    sa.Column("xid", sa.BigInteger, nullable=True),
)
API_KEYS = sa.Table(
    "api_keys",
    METADATA,
    sa.Column("key_id", sa.String(12), primary_key=True),
    sa.Column("name", sa.String(128), nullable=False),
    sa.Column("role", sa.String(20), nullable=False),
    sa.Column("secret_sha256", sa.String(64), nullable=False),
    sa.Column("per_second", sa.Integer, nullable=False),
    sa.Column("person", sa.String(128), nullable=True),
    sa.Column("authority", sa.String(20), nullable=True),
    sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
    sa.Column("per_day", sa.BigInteger, nullable=True),
)
API_USAGE = sa.Table(
    "api_usage",
    METADATA,
    sa.Column("key_id", sa.String(64), primary_key=True),
    sa.Column("day", sa.Date, primary_key=True),
    sa.Column("calls", sa.BigInteger, nullable=False),
)
# What a challenger would have said of a decision; never shown, and no part of the tree.
SHADOW_SCORES = sa.Table(
    "shadow_scores",
    METADATA,
    sa.Column("entry_id", sa.String(36), primary_key=True),
    sa.Column("model_sha256", sa.String(64), primary_key=True),
    sa.Column("pd_12m", sa.Float(53), nullable=False),
    sa.Column("scored_at", sa.DateTime(timezone=True), nullable=False),
)
_MIGRATIONS = Path(__file__).parent / "migrations"


def migrate(connection: sa.Connection, to: str = "head") -> None:
    """Bring the tables of a database to a version such as ``head``, ``base`` or ``0002``, up or down.

    Parameters
    ----------
    connection : Connection
        In a transaction of its own.
    """
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    config.attributes["connection"] = connection
    now = MigrationContext.configure(connection).get_current_revision() or ""
    is_down = to == "base" or (to != "head" and to < now)
    (command.downgrade if is_down else command.upgrade)(config, to)
