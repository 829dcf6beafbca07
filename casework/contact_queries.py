"""What collectors read in the record: contacts, and what was put on file."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any, NamedTuple

import orjson
import sqlalchemy as sa

from obligor.decisions.questions import DecisionRequest
from obligor.policy.credit.credit_file import CreditFile
from obligor.record.reader import IS_READABLE, RecordReader
from obligor.record.tables import CUSTOMERS, ENTRIES


class RecordedPromise(NamedTuple):
    """A promise that a collector took; its amount is in the reporting currency."""

    amount: Decimal
    pay_by: date


class RecordedContact(NamedTuple):
    """A contact as it was recorded."""

    contacted_on: date
    promise: RecordedPromise | None
    next_contact_on: date | None


class ContactQueries:
    """Reads contacts and credit files from the record.

    Parameters
    ----------
    reader : RecordReader
        The record.
    """

    def __init__(self, reader: RecordReader) -> None:
        self._reader = reader

    def by_customer(self, first: date, last: date) -> dict[str, list[RecordedContact]]:
        """Return the contacts from the first day through the last, by customer.

        Parameters
        ----------
        first, last : date
            Both days are included.

        Returns
        -------
        dict of str to list of RecordedContact
            In the order recorded.
        """
        entries = self._reader.matching(
            ENTRIES.c.kind == "contact",
            ENTRIES.c.as_of.between(first, last),
            IS_READABLE,
        )
        contacts = dict[str, list[RecordedContact]]()
        for entry in entries:
            body = orjson.loads(entry.body)
            contacts.setdefault(body["customer_id"], []).append(contact_of(body))
        return contacts

    def credit_files(self, as_of: date) -> dict[str, CreditFile]:
        """Return each customer's credit file, if the last request put something on it.

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
        credit_files = dict[str, CreditFile]()
        for entry in entries:
            request = DecisionRequest.model_validate_json(entry.request)
            if request.file:
                credit_files[request.customer_id] = request.file.credit_file()
        return credit_files


def credit_file_of(request: str) -> CreditFile | None:
    """Return the credit file that came with a recorded request (JSON), if any."""
    body = DecisionRequest.model_validate_json(request).file
    return body.credit_file() if body else None


def contact_of(body: dict[str, Any]) -> RecordedContact:
    """Return a contact from its recorded answer."""
    promise = None
    if body["promise"]:
        promise = RecordedPromise(
            amount=Decimal(body["promise"]["reporting_amount"]),
            pay_by=date.fromisoformat(body["promise"]["pay_by"]),
        )
    fixed = body["next_contact_on"]
    return RecordedContact(
        contacted_on=date.fromisoformat(body["contacted_on"]),
        promise=promise,
        next_contact_on=date.fromisoformat(fixed) if fixed else None,
    )
