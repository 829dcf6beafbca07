"""What collectors read in the record: contacts, and what was put on file."""

from __future__ import annotations

from datetime import date

import sqlalchemy as sa

from obligor.record.reader import IS_READABLE, RecordReader
from obligor.record.tables import CUSTOMERS, ENTRIES


class ContactQueries:
    """Reads contacts and credit files from the record.

    Parameters
    ----------
    reader : RecordReader
        The record.
    """

    def __init__(self, reader: RecordReader) -> None:
        self._reader = reader

    def contacts_between(self, first: date, last: date) -> list[str]:
        """Return the contacts from the first day through the last, as recorded.

        Parameters
        ----------
        first, last : date
            Both days are included.

        Returns
        -------
        list of str
            The answer of each contact (JSON), in the order recorded.
        """
        entries = self._reader.matching(
            ENTRIES.c.kind == "contact",
            ENTRIES.c.as_of.between(first, last),
            IS_READABLE,
        )
        return [entry.body for entry in entries]

    def requests_with_file(self, as_of: date) -> list[str]:
        """Return each customer's last request, if it put something on file.

        Only requests as of a day up to `as_of` are read.
        """
        last = (
            sa.select(sa.func.max(ENTRIES.c.seq))
            .join(CUSTOMERS, CUSTOMERS.c.customer_ref == ENTRIES.c.customer_ref)
            .where(ENTRIES.c.kind == "decision", ENTRIES.c.as_of <= as_of)
            .group_by(CUSTOMERS.c.lookup)
        )
        entries = self._reader.matching(
            ENTRIES.c.seq.in_(last),
            ENTRIES.c.is_filed,
            IS_READABLE,
        )
        return [entry.request for entry in entries]
