"""Retention: erasing a customer, purging old months, changing the data key.

Entries are never deleted. Destroying the key that encrypts them makes their texts
unreadable for good, and the log still verifies.
"""

from __future__ import annotations

from calendar import monthrange
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from obligor.errors import RecordError, UnknownDecisionError
from obligor.record.database import INDEX_KEY, RecordDatabase
from obligor.record.encryption import Vault
from obligor.record.entry import key_owner, service_entry
from obligor.record.record import Record
from obligor.record.tables import (
    CUSTOMER,
    CUSTOMERS,
    ENTRIES,
    ENTRY,
    SECRETS,
    WEBHOOK_SECRETS,
)

# A statement takes at most 32,766 values in SQLite (SQLITE_MAX_VARIABLE_NUMBER).
MOST_IN_STATEMENT = 10_000


@dataclass(frozen=True)
class RetentionPeriod:
    """For how many months entries stay readable.

    Attributes
    ----------
    months : int
        For companies; 12 by default, as long as the notice to a business must be kept
        (Regulation B, 12 CFR 1002.12(b)).
    months_of_persons : int
        For natural persons; 25 by default (the same). A customer who was recorded as a
        person once is a person.
    """

    months: int = 12
    months_of_persons: int = 25


LEGAL_PERIOD = RetentionPeriod()


@dataclass(frozen=True)
class Purge:
    """What was purged.

    Attributes
    ----------
    months : mapping of str to int
        How many customers each month was purged of, such as ``2024-03``.
    entries : int
        How many entries can no longer be read.
    """

    months: Mapping[str, int]
    entries: int


def erase(
    record: Record,
    customer_id: str,
    because: str,
    at: datetime,
    entry_id: str,
) -> int:
    """Destroy a customer's keys, so that nothing about the customer can be read again.

    An entry of its own records the erasure, without the customer's id.

    Parameters
    ----------
    record : Record
        The record.
    customer_id : str
        The customer.
    because : str
        Why, such as who requested it and when.
    at : datetime
        The time, with its zone.
    entry_id : str
        A fresh id for the entry about the erasure.

    Returns
    -------
    int
        How many entries can no longer be read.

    Raises
    ------
    UnknownDecisionError
        If nothing is recorded about the customer.
    RecordError
        If the database cannot be written.
    """
    references = references_of(record.database, customer_id)
    if not references:
        raise UnknownDecisionError(
            f"nothing is recorded about {customer_id!r}", where="customer_id"
        )
    details = {"references": references, "because": because}
    # Recorded first: afterwards it is no longer known whose keys they were.
    record.writer.append([service_entry("erasure", details, at, entry_id)])
    return _destroy_keys(record.database, references, because, at)


def references_of(database: RecordDatabase, customer_id: str) -> list[str]:
    """Return what stands for a customer in the record; nothing for an unknown one."""
    lookup = database.pseudonym(customer_id)
    query = sa.select(CUSTOMER.customer_ref).where(CUSTOMER.lookup == lookup)
    return [str(row.customer_ref) for row in database.rows(query)]


def purge(
    record: Record,
    at: datetime,
    entry_id: str,
    period: RetentionPeriod = LEGAL_PERIOD,
    is_trial: bool = False,
) -> Purge:
    """Destroy the keys of every month whose last entry is older than its period.

    An entry of its own records the purge, unless there is nothing to purge.

    Parameters
    ----------
    record : Record
        The record.
    at : datetime
        The time, with its zone.
    entry_id : str
        A fresh id for the entry about the purge.
    period : RetentionPeriod
        For how long entries stay readable.
    is_trial : bool
        Whether to report only what would be purged.

    Raises
    ------
    RecordError
        If the database cannot be written.
    """
    query = _expired(record.database, at, period)
    with record.database.engine.connect() as connection:
        rows = connection.execute(query).all()
    references = [str(row.customer_ref) for row in rows]
    by_month = Counter(str(row.month) for row in rows)
    months = dict(sorted(by_month.items()))
    if is_trial or not references:
        return Purge(months, _count_entries(record.database, references))
    because = (
        f"kept for {period.months} months, "
        f"{period.months_of_persons} where it is a person"
    )
    details = {"months": months, "references": references, "because": because}
    record.writer.append([service_entry("purge", details, at, entry_id)])
    return Purge(months, _destroy_keys(record.database, references, because, at))


def rotate(database: RecordDatabase, new_vault: Vault) -> int:
    """Wrap every key, and every secret of a webhook, under another data key.

    Returns
    -------
    int
        How many customers' keys there were.

    Raises
    ------
    RecordError
        If the database cannot be written, or a key cannot be unwrapped with the old
        data key.
    """
    try:
        with database.writing() as connection:
            _rewrap_index_key(connection, database.vault, new_vault)
            _rewrap_webhook_secrets(connection, database.vault, new_vault)
            return _rewrap_customer_keys(connection, database.vault, new_vault)
    except sa.exc.SQLAlchemyError as error:
        raise _unwritable(error) from None


def _rewrap_index_key(
    connection: sa.Connection,
    old: Vault,
    new: Vault,
) -> None:
    is_index_key = SECRETS.c.name == INDEX_KEY
    wrapped = connection.scalar(sa.select(SECRETS.c.wrapped).where(is_index_key))
    index_key = old.unwrap(wrapped or b"", INDEX_KEY)
    rewrapped = {"wrapped": new.wrap(index_key, INDEX_KEY)}
    connection.execute(SECRETS.update().where(is_index_key).values(rewrapped))


def _rewrap_webhook_secrets(
    connection: sa.Connection,
    old: Vault,
    new: Vault,
) -> None:
    query = sa.select(WEBHOOK_SECRETS.c.secret_id, WEBHOOK_SECRETS.c.wrapped)
    for secret_id, wrapped in connection.execute(query).all():
        secret = old.unwrap(bytes(wrapped), secret_id)
        connection.execute(
            WEBHOOK_SECRETS.update()
            .where(WEBHOOK_SECRETS.c.secret_id == secret_id)
            .values(wrapped=new.wrap(secret, secret_id))
        )


def _rewrap_customer_keys(
    connection: sa.Connection,
    old: Vault,
    new: Vault,
) -> int:
    query = sa.select(CUSTOMER.customer_ref, CUSTOMER.wrapped)
    customers = connection.execute(query.where(CUSTOMER.wrapped.isnot(None))).all()
    for customer_ref, wrapped in customers:
        key = old.unwrap(wrapped, customer_ref)
        connection.execute(
            CUSTOMERS.update()
            .where(CUSTOMER.customer_ref == customer_ref)
            .values(wrapped=new.wrap(key, customer_ref))
        )
    return len(customers)


def _expired(
    database: RecordDatabase,
    at: datetime,
    period: RetentionPeriod,
) -> sa.Select[tuple[str, str]]:
    """Return the query of the customers' months whose retention has ended."""
    persons = sa.select(CUSTOMER.lookup).where(
        CUSTOMER.is_natural_person,
        CUSTOMER.lookup.isnot(None),
    )
    earliest_kept = sa.case(
        (CUSTOMER.lookup.in_(persons), _months_before(at, period.months_of_persons)),
        else_=_months_before(at, period.months),
    )
    # The entries about the service itself are kept: they contain no customer's data.
    service = database.pseudonym(key_owner(None))
    return (
        sa.select(CUSTOMER.customer_ref, CUSTOMER.month)
        .join(ENTRIES, ENTRY.customer_ref == CUSTOMER.customer_ref)
        .where(CUSTOMER.lookup.isnot(None), CUSTOMER.lookup != service)
        .group_by(CUSTOMER.customer_ref, CUSTOMER.month, CUSTOMER.lookup)
        .having(sa.func.max(ENTRY.recorded_at) < earliest_kept)
    )


def _months_before(at: datetime, months: int) -> sa.BindParameter[datetime]:
    """Return the same day some months earlier, or the last day of that month."""
    months_since_year_0 = at.year * 12 + at.month - 1 - months
    year, month_index = divmod(months_since_year_0, 12)
    month = month_index + 1
    _, days_in_month = monthrange(year, month)
    day = min(at.day, days_in_month)
    earlier = at.replace(
        year=year,
        month=month,
        day=day,
    )
    return sa.literal(earlier, sa.DateTime(timezone=True))


def _destroy_keys(
    database: RecordDatabase,
    references: Sequence[str],
    because: str,
    at: datetime,
) -> int:
    """Destroy the keys of some references; return how many entries they encrypted."""
    destroyed = {
        "lookup": None,
        "wrapped": None,
        "erased_at": at,
        "erased_because": because,
    }
    try:
        with database.writing() as connection:
            for part in _parts(references):
                connection.execute(
                    CUSTOMERS.update()
                    .where(CUSTOMER.customer_ref.in_(part))
                    .values(destroyed)
                )
        if database.is_sqlite:
            # `secure_delete` overwrites the pages; the write-ahead log is cut here.
            with database.engine.connect() as connection:
                connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    except sa.exc.SQLAlchemyError as error:
        raise _unwritable(error) from None
    database.forget_keys()
    return _count_entries(database, references)


def _count_entries(database: RecordDatabase, references: Sequence[str]) -> int:
    total = 0
    with database.engine.connect() as connection:
        for part in _parts(references):
            is_theirs = ENTRY.customer_ref.in_(part)
            query = sa.select(sa.func.count()).where(is_theirs)
            total += connection.scalar(query) or 0
    return total


def _parts(references: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(references), MOST_IN_STATEMENT):
        yield references[start : start + MOST_IN_STATEMENT]


def _unwritable(error: Exception) -> RecordError:
    # The class only: the statement holds customer data.
    return RecordError(
        f"the record cannot be written ({type(error).__name__})",
        do="check the database",
    )
