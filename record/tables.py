"""The tables of the record, the same on SQLite and PostgreSQL.

The versions in `record/migrations` create them.
"""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import BigInteger, Boolean, Column, DateTime, String

METADATA = sa.MetaData()
ENTRIES = sa.Table(
    "entries",
    METADATA,
    Column(
        "seq",
        BigInteger().with_variant(sa.Integer, "sqlite"),
        primary_key=True,
        autoincrement=True,
    ),
    # The transaction that wrote the entry: on PostgreSQL, the order of `seq` is not the
    # order of the commits.
    Column("xid", BigInteger, nullable=False, server_default="0"),
    # From here up to `leaf_hash`: the columns that the entry's leaf covers.
    Column("entry_id", String(36), nullable=False, unique=True),
    Column("kind", String(10), nullable=False),
    Column("about", String(36), nullable=True, index=True),
    Column("customer_ref", String(32), nullable=False, index=True),
    Column("as_of", sa.Date, nullable=False),
    Column("recorded_at", DateTime(timezone=True), nullable=False),
    Column("key_ref", String(64), nullable=True, unique=True),
    Column("request_ref", String(64), nullable=False),
    Column("outcome", String(12), nullable=False),
    Column("pd_12m", sa.Float(53), nullable=True),
    Column("grade", sa.Integer, nullable=True),
    # Money as whole minor units: an SQLite Numeric loses cents past 2**53.
    Column("limit_minor", BigInteger, nullable=True),
    Column("currency", String(3), nullable=True),
    Column("model_sha256", String(64), nullable=True),
    Column("policy_sha256", String(64), nullable=True),
    Column("is_filed", Boolean, nullable=False),
    Column("request", sa.LargeBinary, nullable=False),
    Column("body", sa.LargeBinary, nullable=False),
    Column("inputs", sa.LargeBinary, nullable=True),
    Column("made_by", String(128), nullable=True),
    Column("leaf_hash", sa.LargeBinary, nullable=False),
    sa.Index("ix_entries_kind", "kind", "outcome", "about"),
    sa.Index("ix_entries_order", "xid", "seq"),
)
# Which customer and month a reference stands for, and the key of both. Erasing a
# customer, or purging a month, empties `lookup` and `wrapped`; then it means nobody.
CUSTOMERS = sa.Table(
    "customers",
    METADATA,
    Column("customer_ref", String(32), primary_key=True),
    Column("lookup", String(64), nullable=True),
    Column("wrapped", sa.LargeBinary, nullable=True),
    Column("is_natural_person", Boolean, nullable=False, server_default=sa.false()),
    Column("erased_at", DateTime(timezone=True), nullable=True),
    Column("erased_because", String(500), nullable=True),
    Column("month", String(7), nullable=False, server_default=""),
    sa.UniqueConstraint("lookup", "month", name="uq_customers_lookup_month"),
)
SECRETS = sa.Table(
    "secrets",
    METADATA,
    Column("name", String(32), primary_key=True),
    Column("wrapped", sa.LargeBinary, nullable=False),
)
# The Merkle tree: on level 0 the leaves in their order, on level n the roots of blocks
# of 256**n leaves.
NODES = sa.Table(
    "nodes",
    METADATA,
    Column("level", sa.Integer, primary_key=True),
    Column("place", BigInteger, primary_key=True, autoincrement=False),
    Column("hash", sa.LargeBinary, nullable=False),
    Column("seq", BigInteger, nullable=True, unique=True),
    Column("xid", BigInteger, nullable=True),
)
API_KEYS = sa.Table(
    "api_keys",
    METADATA,
    Column("key_id", String(12), primary_key=True),
    Column("name", String(128), nullable=False),
    Column("role", String(20), nullable=False),
    Column("secret_sha256", String(64), nullable=False),
    Column("per_second", sa.Integer, nullable=False),
    Column("person", String(128), nullable=True),
    Column("authority", String(20), nullable=True),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("revoked_at", DateTime(timezone=True), nullable=True),
    Column("per_day", BigInteger, nullable=True),
)
API_USAGE = sa.Table(
    "api_usage",
    METADATA,
    Column("key_id", String(64), primary_key=True),
    Column("day", sa.Date, primary_key=True),
    Column("calls", BigInteger, nullable=False),
)
# The challenger's PD of a decision; never shown, and not part of the tree.
SHADOW_SCORES = sa.Table(
    "shadow_scores",
    METADATA,
    Column("entry_id", String(36), primary_key=True),
    Column("model_sha256", String(64), primary_key=True),
    Column("pd_12m", sa.Float(53), nullable=False),
    Column("scored_at", DateTime(timezone=True), nullable=False),
)
# Where events go. A removed endpoint keeps its row: its deliveries still name it.
WEBHOOK_ENDPOINTS = sa.Table(
    "webhook_endpoints",
    METADATA,
    Column("endpoint_id", String(16), primary_key=True),
    Column("url", String(2000), nullable=False),
    Column("types", String(1000), nullable=False),
    # The environment variable with the secrets; null if they are in `webhook_secrets`.
    Column("secret_from", String(128), nullable=True),
    # Only entries from this leaf of the tree on give events for it.
    Column("from_leaf", BigInteger, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("removed_at", DateTime(timezone=True), nullable=True),
)
WEBHOOK_SECRETS = sa.Table(
    "webhook_secrets",
    METADATA,
    Column("secret_id", String(16), primary_key=True),
    Column("endpoint_id", String(16), nullable=False),
    Column("wrapped", sa.LargeBinary, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("retires_at", DateTime(timezone=True), nullable=True),
)
# Up to which leaf the record was read for events, and how many were delivered.
WEBHOOK_COUNTERS = sa.Table(
    "webhook_counters",
    METADATA,
    Column("name", String(16), primary_key=True),
    Column("value", BigInteger, nullable=False),
)
# One row for each event and endpoint. It holds no customer's data: the event is written
# from the entry when it is sent, so an erased customer cannot be sent any more.
WEBHOOK_OUTBOX = sa.Table(
    "webhook_outbox",
    METADATA,
    Column(
        "seq",
        BigInteger().with_variant(sa.Integer, "sqlite"),
        primary_key=True,
        autoincrement=True,
    ),
    Column("endpoint_id", String(16), nullable=False),
    Column("event_id", String(80), nullable=False),
    Column("type", String(40), nullable=False),
    Column("entry_id", String(36), nullable=False),
    Column("customer_ref", String(32), nullable=False),
    Column("details", String(4000), nullable=False),
    Column("occurred_at", DateTime(timezone=True), nullable=False),
    Column("state", String(10), nullable=False),
    Column("attempts", sa.Integer, nullable=False),
    Column("next_at", DateTime(timezone=True), nullable=False),
    Column("gives_up_at", DateTime(timezone=True), nullable=False),
    Column("finished_at", DateTime(timezone=True), nullable=True),
    Column("last_status", sa.Integer, nullable=True),
    Column("last_error", String(200), nullable=True),
    sa.UniqueConstraint(
        "endpoint_id", "event_id", name="uq_webhook_outbox_endpoint_event"
    ),
    sa.Index("ix_webhook_outbox_state", "state", "endpoint_id", "seq"),
    sa.Index("ix_webhook_outbox_customer_ref", "customer_ref", "endpoint_id", "state"),
)
# The columns by name, as queries write them.
ENTRY = ENTRIES.c
CUSTOMER = CUSTOMERS.c
NODE = NODES.c
_MIGRATIONS = Path(__file__).parent / "migrations"


def migrate(connection: sa.Connection, to: str = "head") -> None:
    """Bring the tables of a database to a version, up or down.

    Parameters
    ----------
    connection : Connection
        In a transaction of its own.
    to : str
        ``head``, ``base`` or a version such as ``0002``.
    """
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    config.attributes["connection"] = connection
    current = MigrationContext.configure(connection).get_current_revision() or ""
    is_down = to == "base" or (to != "head" and to < current)
    if is_down:
        command.downgrade(config, to)
    else:
        command.upgrade(config, to)
