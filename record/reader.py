"""Reading the record: entries by id, by customer, by kind; decrypted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import sqlalchemy as sa

from obligor.errors import ConflictError, ErasedError, UnknownDecisionError
from obligor.record.database import DatabaseRow, RecordDatabase
from obligor.record.encryption import decrypt
from obligor.record.entry import LEAF_COLUMNS, OpenedEntry, StoredEntry
from obligor.record.tables import CUSTOMER, CUSTOMERS, ENTRIES, ENTRY

# An entry is readable until its customer's key is destroyed.
IS_READABLE = CUSTOMER.wrapped.isnot(None)
STORED_COLUMNS = [ENTRY[name] for name in (*LEAF_COLUMNS, "leaf_hash")]
_OF_CUSTOMER = ENTRIES.join(CUSTOMERS, CUSTOMER.customer_ref == ENTRY.customer_ref)
_OPENED_COLUMNS = (
    ENTRY.entry_id,
    ENTRY.kind,
    ENTRY.about,
    ENTRY.customer_ref,
    ENTRY.outcome,
    ENTRY.request_ref,
    ENTRY.request,
    ENTRY.body,
    ENTRY.leaf_hash,
    ENTRY.made_by,
    CUSTOMER.wrapped,
)


class RecordReader:
    """Reads entries of the record.

    Parameters
    ----------
    database : RecordDatabase
        The record's database.
    """

    def __init__(self, database: RecordDatabase) -> None:
        self._database = database

    def entry(self, entry_id: str) -> OpenedEntry:
        """Return an entry.

        Raises
        ------
        UnknownDecisionError
            If no entry has this id.
        ErasedError
            If its customer was erased.
        """
        rows = self._rows(ENTRY.entry_id == entry_id)
        if not rows:
            raise _unknown(entry_id)
        return self._opened(rows[0])

    def inputs_of(self, entry_id: str) -> bytes:
        """Return what an answer was computed from; raises as `entry`."""
        query = (
            sa.select(ENTRY.customer_ref, ENTRY.inputs, CUSTOMER.wrapped)
            .select_from(_OF_CUSTOMER)
            .where(ENTRY.entry_id == entry_id)
        )
        rows = self._database.rows(query)
        if not rows or rows[0].inputs is None:
            raise UnknownDecisionError(
                f"no inputs are recorded for {entry_id!r}", where="decision_id"
            )
        key = self._key(rows[0], entry_id)
        return decrypt(key, rows[0].inputs, f"inputs of {entry_id}")

    def stored(self, entry_id: str) -> StoredEntry:
        """Return an entry as its table holds it, readable or not.

        Raises
        ------
        UnknownDecisionError
            If no entry has this id.
        """
        query = sa.select(*STORED_COLUMNS).where(ENTRY.entry_id == entry_id)
        rows = self._database.rows(query)
        if not rows:
            raise _unknown(entry_id)
        return StoredEntry(rows[0]._asdict())

    def of_customer(
        self,
        customer_id: str,
        kind: str,
        limit: int = 100,
    ) -> list[OpenedEntry]:
        """Return the last entries of one kind about a customer, newest first.

        Parameters
        ----------
        customer_id : str
            The customer; one who was erased has no entries.
        kind : str
            Such as ``decision``.
        limit : int
            How many at most, one or more.

        Returns
        -------
        list of OpenedEntry
            Empty for a customer the record does not know.
        """
        query = (
            sa.select(*_OPENED_COLUMNS)
            .select_from(_OF_CUSTOMER)
            .where(
                CUSTOMER.lookup == self._database.pseudonym(customer_id),
                ENTRY.kind == kind,
            )
            .order_by(ENTRY.seq.desc())
            .limit(limit)
        )
        return [self._opened(row) for row in self._database.rows(query)]

    def for_key(
        self,
        idempotency_key: str,
        request: str,
    ) -> OpenedEntry | None:
        """Return the entry that answered an idempotency key, None if the key is new.

        Raises
        ------
        ConflictError
            If the key came with another request before.
        ErasedError
            If the customer was erased.
        """
        key_ref = self._database.pseudonym(idempotency_key)
        rows = self._rows(ENTRY.key_ref == key_ref)
        if not rows:
            return None
        # Compared before it is decrypted, so that a wrong request learns nothing.
        if rows[0].request_ref != self._database.pseudonym(request):
            raise ConflictError(
                "the key was used with another request",
                where="Idempotency-Key",
                expected="one key per request",
                do="use a new key",
            )
        return self._opened(rows[0])

    def ids_of_kinds(self, kinds: Iterable[str]) -> list[str]:
        """Return the ids of the entries of some kinds, in the order recorded."""
        query = (
            sa.select(ENTRY.entry_id)
            .where(ENTRY.kind.in_(list(kinds)))
            .order_by(ENTRY.seq)
        )
        return [str(row.entry_id) for row in self._database.rows(query)]

    def readable_entries(self, kinds: Iterable[str]) -> Iterator[OpenedEntry]:
        """Give the entries of some kinds in the order recorded, but for the erased."""
        for entry_id in self.ids_of_kinds(kinds):
            try:
                entry = self.entry(entry_id)
            except ErasedError:
                continue
            yield entry

    def ids_matching(
        self,
        *conditions: sa.ColumnElement[bool],
        limit: int | None = None,
    ) -> list[str]:
        """Return the ids of the entries that meet all conditions, oldest first.

        Parameters
        ----------
        *conditions : ColumnElement
            On `ENTRIES`, and on `CUSTOMERS` joined to them.
        limit : int, optional
            How many at most; the oldest come first.
        """
        query = (
            sa.select(ENTRY.entry_id)
            .select_from(_OF_CUSTOMER)
            .where(*conditions)
            .order_by(ENTRY.seq)
            .limit(limit)
        )
        return [str(row.entry_id) for row in self._database.rows(query)]

    def matching(self, *conditions: sa.ColumnElement[bool]) -> list[OpenedEntry]:
        """Return the entries that meet all conditions, in the order recorded.

        Parameters
        ----------
        *conditions : ColumnElement
            As in `ids_matching`; add `IS_READABLE` to leave out erased customers.

        Raises
        ------
        ErasedError
            If the customer of one of them was erased.
        """
        return [self._opened(row) for row in self._rows(*conditions)]

    def _rows(self, *conditions: sa.ColumnElement[bool]) -> Sequence[DatabaseRow]:
        query = sa.select(*_OPENED_COLUMNS).select_from(_OF_CUSTOMER).where(*conditions)
        return self._database.rows(query.order_by(ENTRY.seq))

    def _opened(self, row: DatabaseRow) -> OpenedEntry:
        key = self._key(row, row.entry_id)
        return OpenedEntry(
            entry_id=row.entry_id,
            kind=row.kind,
            case_id=row.about,
            outcome=row.outcome,
            request=decrypt(key, row.request, f"request of {row.entry_id}").decode(),
            body=decrypt(key, row.body, f"body of {row.entry_id}").decode(),
            leaf_hash=row.leaf_hash,
            requested_by_key=row.made_by,
        )

    def _key(
        self,
        row: DatabaseRow,
        entry_id: str,
    ) -> bytes:
        if row.wrapped is None:
            raise ErasedError(
                "the customer was erased",
                where=entry_id,
                do="the record still proves that the entry was made",
            )
        return self._database.customer_key(row.wrapped, row.customer_ref)


def _unknown(entry_id: str) -> UnknownDecisionError:
    return UnknownDecisionError(f"no decision {entry_id!r}", where="decision_id")
