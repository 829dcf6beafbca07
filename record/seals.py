"""Seals for texts about customers that are kept elsewhere, such as in the ledger store.

They are encrypted under a key of the customer's own that the record keeps. Erasing the
customer destroys it with the others; a purge of old months does not, because no entry
belongs to it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from obligor.errors import RecordError
from obligor.record.database import RecordDatabase
from obligor.record.encryption import decrypt, encrypt
from obligor.record.tables import CUSTOMER, CUSTOMERS

# Stands in the place of the month: this key belongs to no month of entries.
LEDGER_KEY = "ledger"
# A statement takes at most 32,766 values in SQLite (SQLITE_MAX_VARIABLE_NUMBER).
MOST_IN_STATEMENT = 5_000
# Built once: to build it anew takes as long as to run it.
_KEY_OF_ONE = sa.select(
    CUSTOMER.lookup,
    CUSTOMER.customer_ref,
    CUSTOMER.wrapped,
).where(
    CUSTOMER.lookup == sa.bindparam("customer"),
    CUSTOMER.month == LEDGER_KEY,
)


class CustomerSeals:
    """Seals and opens texts about customers.

    Parameters
    ----------
    database : RecordDatabase
        The record's database, which keeps the customers' keys.
    """

    def __init__(self, database: RecordDatabase) -> None:
        self._database = database

    def pseudonym(self, text: str) -> str:
        """Return a keyed hash that stands for a text about customers."""
        return self._database.pseudonym(f"{LEDGER_KEY}\n{text}")

    def sealed(self, purpose: str, texts: Mapping[str, bytes]) -> dict[str, bytes]:
        """Return texts encrypted, each under its customer's key.

        Parameters
        ----------
        purpose : str
            What the texts are, such as ``profile``; they open for it only.
        texts : mapping of str to bytes
            One text for each customer's id.

        Returns
        -------
        dict of str to bytes
            By the customer's id.

        Raises
        ------
        RecordError
            If a key can be neither read nor made.
        """
        sealed = {}
        random = self._database.vault.random
        ids = iter(texts)
        while part := list(islice(ids, MOST_IN_STATEMENT)):
            for customer_id, (reference, key) in self._keys(part).items():
                context = f"{purpose} of {reference}"
                text = texts[customer_id]
                sealed[customer_id] = encrypt(key, text, context, random)
        return sealed

    def opened(
        self,
        purpose: str,
        customer_id: str,
        sealed: bytes,
    ) -> bytes:
        """Return a text that was sealed.

        Parameters
        ----------
        purpose : str
            What it is.
        customer_id : str
            The customer it is about.
        sealed : bytes
            As `sealed` returned it.

        Raises
        ------
        RecordError
            If the customer has no key: it was erased, or the text was sealed under the
            keys of another record. Also if the text was changed.
        """
        lookup = self._database.pseudonym(customer_id)
        for row in self._database.rows(_KEY_OF_ONE.params(customer=lookup)):
            key = self._database.customer_key(row.wrapped, row.customer_ref)
            return decrypt(key, sealed, f"{purpose} of {row.customer_ref}")
        raise _without_key(purpose)

    def opened_all(self, purpose: str, sealed: Mapping[str, bytes]) -> dict[str, bytes]:
        """Return texts that were sealed, each about the customer it is keyed by.

        Raises
        ------
        RecordError
            As `opened`, if one of them cannot be opened.
        """
        texts = {}
        ids = iter(sealed)
        while part := list(islice(ids, MOST_IN_STATEMENT)):
            by_lookup = {self._database.pseudonym(each): each for each in part}
            rows = self._rows(by_lookup)
            if len(rows) < len(part):
                raise _without_key(purpose)
            for lookup, reference, wrapped in rows:
                customer_id = by_lookup[lookup]
                key = self._database.customer_key(wrapped, reference)
                context = f"{purpose} of {reference}"
                texts[customer_id] = decrypt(key, sealed[customer_id], context)
        return texts

    def _keys(self, customer_ids: Sequence[str]) -> dict[str, tuple[str, bytes]]:
        """Return reference and key of each customer; missing ones are made."""
        by_lookup = {self._database.pseudonym(each): each for each in customer_ids}
        rows = self._rows(by_lookup)
        missing = by_lookup.keys() - {lookup for lookup, _, _ in rows}
        if missing:
            self._make(sorted(missing))
            rows = self._rows(by_lookup)
        if len(rows) < len(by_lookup):
            raise RecordError(
                "a customer's key could not be made",
                where="record",
                do="load the ledger again",
            )
        return {
            by_lookup[lookup]: (
                reference,
                self._database.customer_key(wrapped, reference),
            )
            for lookup, reference, wrapped in rows
        }

    def _rows(self, lookups: Iterable[str]) -> list[tuple[str, str, bytes]]:
        query = sa.select(
            CUSTOMER.lookup, CUSTOMER.customer_ref, CUSTOMER.wrapped
        ).where(CUSTOMER.lookup.in_(list(lookups)), CUSTOMER.month == LEDGER_KEY)
        return [
            (str(row.lookup), str(row.customer_ref), bytes(row.wrapped))
            for row in self._database.rows(query)
        ]

    def _make(self, lookups: Sequence[str]) -> None:
        is_sqlite = self._database.is_sqlite
        insert = sqlite.insert if is_sqlite else postgresql.insert
        # Another process may make the same keys meanwhile: the stored ones are used.
        statement = insert(CUSTOMERS).on_conflict_do_nothing()
        try:
            with self._database.writing() as connection:
                connection.execute(statement, list(self._new_rows(lookups)))
        except sa.exc.SQLAlchemyError as error:
            raise RecordError(
                f"the customers' keys cannot be written ({type(error).__name__})",
                where="record",
                do="check disk space and the database",
            ) from None

    def _new_rows(self, lookups: Sequence[str]) -> Iterator[dict[str, object]]:
        vault = self._database.vault
        for lookup in lookups:
            reference = vault.random(16).hex()
            yield {
                "customer_ref": reference,
                "lookup": lookup,
                "month": LEDGER_KEY,
                "wrapped": vault.wrap(vault.new_key(), reference),
                "is_natural_person": False,
            }


def _without_key(purpose: str) -> RecordError:
    return RecordError(
        f"the {purpose} in the ledger store cannot be opened: its key is gone",
        where="ledger store",
        do="load the ledger again, or erase the customer",
    )
