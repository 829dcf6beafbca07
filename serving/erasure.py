"""Forgetting a customer, and changing the key that all keys are wrapped under."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa

from data.errors import RecordError, UnknownDecisionError
from serving.record import INDEX_KEY, Record
from serving.record_tables import CUSTOMERS, ENTRIES, SECRETS
from serving.vault import Vault


def erase(record: Record, customer_id: str, because: str, at: datetime) -> int:
    """Destroy a customer's key: nothing about the customer can be read again. Return the number of entries.

    The entries stay as they are, sealed for good, so the log still verifies.

    Raises
    ------
    UnknownDecisionError
        Where nothing is recorded about the customer.
    RecordError
        Where the database cannot write.
    """
    try:
        with record.turn(), record.engine.begin() as connection:
            meant = CUSTOMERS.c.lookup == record.pseudonym(customer_id)
            ref = connection.scalar(sa.select(CUSTOMERS.c.customer_ref).where(meant))
            if ref is None:
                raise UnknownDecisionError(f"nothing is recorded about {customer_id!r}", where="customer_id")
            gone = {"lookup": None, "wrapped": None, "erased_at": at, "erased_because": because}
            connection.execute(CUSTOMERS.update().where(CUSTOMERS.c.customer_ref == ref).values(gone))
            count = connection.scalar(sa.select(sa.func.count()).where(ENTRIES.c.customer_ref == ref))
        if record.engine.dialect.name == "sqlite":  # `secure_delete` cleared the pages; now the write-ahead log
            with record.engine.connect() as connection:
                connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    except sa.exc.SQLAlchemyError as error:
        raise _failed(error) from None
    record.forget_keys()
    return int(count or 0)


def rotate(record: Record, new: Vault) -> int:
    """Wrap every key under another data key; return how many customers' keys there were.

    Raises
    ------
    RecordError
        Where the database cannot write, or a key does not open under the old data key.
    """
    try:
        with record.turn(), record.engine.begin() as connection:
            secret = SECRETS.c.name == INDEX_KEY
            index = record.vault.unwrap(connection.scalar(sa.select(SECRETS.c.wrapped).where(secret)) or b"", INDEX_KEY)
            connection.execute(SECRETS.update().where(secret).values(wrapped=new.wrap(index, INDEX_KEY)))
            rows = connection.execute(sa.select(CUSTOMERS).where(CUSTOMERS.c.wrapped.isnot(None))).all()
            for row in rows:
                wrapped = new.wrap(record.vault.unwrap(row.wrapped, row.customer_ref), row.customer_ref)
                mine = CUSTOMERS.c.customer_ref == row.customer_ref
                connection.execute(CUSTOMERS.update().where(mine).values(wrapped=wrapped))
    except sa.exc.SQLAlchemyError as error:
        raise _failed(error) from None
    return len(rows)


def _failed(error: Exception) -> RecordError:
    return RecordError(f"cannot be written ({type(error).__name__})", where="record", do="check the database")
