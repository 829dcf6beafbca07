"""The tables of the ledger store."""

from __future__ import annotations

import sqlalchemy as sa

METADATA = sa.MetaData()

# What decisions read: one packed account per customer.
ACCOUNTS = sa.Table(
    "accounts",
    METADATA,
    sa.Column("customer_id", sa.String, primary_key=True),
    sa.Column("account", sa.LargeBinary, nullable=False),
)
RATES = sa.Table(
    "rates",
    METADATA,
    sa.Column("currency", sa.String(3), primary_key=True),
    sa.Column("rates", sa.LargeBinary, nullable=False),
)
# What holds for the ledger as a whole, such as the day of its export.
FACTS = sa.Table(
    "facts",
    METADATA,
    sa.Column("name", sa.String, primary_key=True),
    sa.Column("value", sa.LargeBinary, nullable=False),
)

# What updates read: the source rows of each customer, with the days on which they
# were true.
ROWS = sa.Table(
    "ledger_rows",
    METADATA,
    sa.Column("customer_id", sa.String, primary_key=True),
    sa.Column("rows", sa.LargeBinary, nullable=False),
    # The tables with personal or confidential cells, sealed; empty without any.
    sa.Column("sealed_rows", sa.LargeBinary, nullable=False),
)
# Whose an invoice or a payment is. The id is stored as a hash of 64 bits: two ids with
# one hash cost reading a customer in vain.
IDS = sa.Table(
    "ledger_ids",
    METADATA,
    sa.Column("id_hash", sa.BigInteger, primary_key=True),
    sa.Column("customer_id", sa.String, primary_key=True),
    sqlite_with_rowid=False,
)

# Rows that were only added to those of a customer are kept beside them, until the
# customer's rows are written as a whole (`data.appending`).
ROW_PARTS = sa.Table(
    "ledger_row_parts",
    METADATA,
    sa.Column("customer_id", sa.String, primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("rows", sa.LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)
# What these rows add to the packed account.
ADDITIONS = sa.Table(
    "account_additions",
    METADATA,
    sa.Column("customer_id", sa.String, primary_key=True),
    sa.Column("addition", sa.LargeBinary, nullable=False),
)
