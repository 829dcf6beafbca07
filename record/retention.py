"""Forgetting a customer, or what is old enough, and changing the key that all keys are wrapped under."""

from __future__ import annotations

from calendar import monthrange
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from obligor.errors import RecordError, UnknownDecisionError
from obligor.record.database import INDEX_KEY
from obligor.record.encryption import Vault
from obligor.record.entry import key_owner, service_entry
from obligor.record.record import Record
from obligor.record.tables import CUSTOMERS, ENTRIES, SECRETS


def erase(
    record: Record, customer_id: str, because: str, at: datetime, entry_id: str
) -> int:
    """Destroy a customer's keys: nothing about the customer can be read again. Return the number of entries.

    The entries stay as they are, sealed for good, so the log still verifies. An entry of its own says what was done.

    Raises
    ------
    UnknownDecisionError
        Where nothing is recorded about the customer.
    RecordError
        Where the database cannot write.
    """
    meant = CUSTOMERS.c.lookup == record.database.pseudonym(customer_id)
    refs = _refs(record, sa.select(CUSTOMERS.c.customer_ref).where(meant))
    if not refs:
        raise UnknownDecisionError(
            f"nothing is recorded about {customer_id!r}", where="customer_id"
        )
    said = {"references": refs, "because": because}
    record.writer.append(
        [service_entry("erasure", said, at, entry_id)]
    )  # first: what was destroyed cannot be told again
    return _destroy(record, refs, because, at)


@dataclass(frozen=True)
class Purge:
    """What has been kept for long enough: customers' months, and how many entries cannot be read any more."""

    months: Mapping[str, int]  # "2024-03" -> customers
    entries: int


def purge(
    record: Record,
    at: datetime,
    entry_id: str,
    months: int = 12,
    months_of_persons: int = 25,
    is_trial: bool = False,
) -> Purge:
    """Destroy the keys of every month whose last entry is older than the retention period.

    Retention is 25 months for persons and 12 for companies by default (Reg B, 12 CFR 1002.12(b): the notice to a
    company must be kept for 12 months); a customer who was a person once is a person.

    Raises
    ------
    RecordError
        Where the database cannot write.
    """
    persons = sa.select(CUSTOMERS.c.lookup).where(
        CUSTOMERS.c.is_natural_person, CUSTOMERS.c.lookup.isnot(None)
    )
    last = sa.func.max(ENTRIES.c.recorded_at)
    kept = CUSTOMERS.c.lookup.isnot(None) & (
        CUSTOMERS.c.lookup != record.database.pseudonym(key_owner(None))
    )
    query = (
        sa.select(CUSTOMERS.c.customer_ref, CUSTOMERS.c.month)
        .join(ENTRIES, ENTRIES.c.customer_ref == CUSTOMERS.c.customer_ref)
        .where(kept)
        .group_by(CUSTOMERS.c.customer_ref, CUSTOMERS.c.month, CUSTOMERS.c.lookup)
        .having(
            last
            < sa.case(
                (CUSTOMERS.c.lookup.in_(persons), _before(at, months_of_persons)),
                else_=_before(at, months),
            )
        )
    )
    with record.database.engine.connect() as connection:
        rows = connection.execute(query).all()
    refs, found = (
        [str(row.customer_ref) for row in rows],
        Counter(str(row.month) for row in rows),
    )
    by_month = dict(sorted(found.items()))
    if is_trial or not refs:
        return Purge(by_month, _count(record, refs))
    because = f"kept for {months} months, {months_of_persons} where it is a person"
    record.writer.append(
        [
            service_entry(
                "purge",
                {"months": by_month, "references": refs, "because": because},
                at,
                entry_id,
            )
        ]
    )
    return Purge(by_month, _destroy(record, refs, because, at))


def _before(at: datetime, months: int) -> sa.BindParameter[datetime]:
    """The same day so many months ago, or the last one of that month."""
    year, month = divmod(at.year * 12 + at.month - 1 - months, 12)
    day = min(at.day, monthrange(year, month + 1)[1])
    return sa.literal(
        at.replace(year=year, month=month + 1, day=day), sa.DateTime(timezone=True)
    )


def _refs(record: Record, query: sa.Select[tuple[str]]) -> list[str]:
    with record.database.engine.connect() as connection:
        return list(connection.scalars(query))


def _count(record: Record, refs: Sequence[str]) -> int:
    with record.database.engine.connect() as connection:
        counts = (
            connection.scalar(
                sa.select(sa.func.count()).where(ENTRIES.c.customer_ref.in_(part))
            )
            for part in _parts(refs)
        )
        return sum(count or 0 for count in counts)


def _parts(refs: Sequence[str]) -> Iterator[Sequence[str]]:
    """At most so many at a time: a statement takes 32,766 values in SQLite."""
    return (refs[start : start + 10_000] for start in range(0, len(refs), 10_000))


def _destroy(record: Record, refs: Sequence[str], because: str, at: datetime) -> int:
    try:
        with record.database.writing() as connection:
            gone = {
                "lookup": None,
                "wrapped": None,
                "erased_at": at,
                "erased_because": because,
            }
            for part in _parts(refs):
                connection.execute(
                    CUSTOMERS.update()
                    .where(CUSTOMERS.c.customer_ref.in_(part))
                    .values(gone)
                )
        if (
            record.database.engine.dialect.name == "sqlite"
        ):  # `secure_delete` cleared the pages; now the write-ahead log
            with record.database.engine.connect() as connection:
                connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    except sa.exc.SQLAlchemyError as error:
        raise _failed(error) from None
    record.database.forget_keys()
    return _count(record, refs)


def rotate(record: Record, new: Vault) -> int:
    """Wrap every key under another data key; return how many customers' keys there were.

    Raises
    ------
    RecordError
        Where the database cannot write, or a key does not open under the old data key.
    """
    try:
        with record.database.writing() as connection:
            secret = SECRETS.c.name == INDEX_KEY
            index = record.database.vault.unwrap(
                connection.scalar(sa.select(SECRETS.c.wrapped).where(secret)) or b"",
                INDEX_KEY,
            )
            connection.execute(
                SECRETS.update()
                .where(secret)
                .values(wrapped=new.wrap(index, INDEX_KEY))
            )
            rows = connection.execute(
                sa.select(CUSTOMERS).where(CUSTOMERS.c.wrapped.isnot(None))
            ).all()
            for row in rows:
                wrapped = new.wrap(
                    record.database.vault.unwrap(row.wrapped, row.customer_ref),
                    row.customer_ref,
                )
                mine = CUSTOMERS.c.customer_ref == row.customer_ref
                connection.execute(
                    CUSTOMERS.update().where(mine).values(wrapped=wrapped)
                )
    except sa.exc.SQLAlchemyError as error:
        raise _failed(error) from None
    return len(rows)


def _failed(error: Exception) -> RecordError:
    return RecordError(
        f"cannot be written ({type(error).__name__})",
        where="record",
        do="check the database",
    )
