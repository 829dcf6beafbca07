"""Erasing a customer: from the ledger store, and from the record."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from obligor.data.store import LedgerStore
from obligor.record.entry import service_entry
from obligor.record.record import Record
from obligor.record.retention import erase, references_of


class Erased(NamedTuple):
    """What was erased: entries that cannot be read any more, and rows of the ledger."""

    entries: int
    ledger_rows: int


@dataclass(frozen=True)
class Eraser:
    """Erases customers.

    Attributes
    ----------
    record : Record
        The record.
    ledger : LedgerStore
        The loaded ledger.
    now : callable
        Returns the time, with its zone.
    new_id : callable
        Returns a fresh id.
    """

    record: Record
    ledger: LedgerStore
    now: Callable[[], datetime]
    new_id: Callable[[], str]

    def erase(self, customer_id: str, because: str) -> Erased:
        """Delete a customer from the ledger store, and destroy the customer's keys.

        An entry of its own records the erasure, without the customer's id.

        Parameters
        ----------
        customer_id : str
            The customer.
        because : str
            Why, such as who requested it and when.

        Returns
        -------
        Erased
            What was erased.

        Raises
        ------
        UnknownDecisionError
            If neither the ledger nor the record knows the customer.
        RecordError
            If a database cannot be written.
        """
        # The ledger first: what is interrupted afterwards can be repeated.
        n_rows = self.ledger.erase(customer_id, stand_in=f"erased-{self.new_id()}")
        is_recorded = bool(references_of(self.record.database, customer_id))
        if n_rows or is_recorded:
            self.ledger.rewrite()
        entry_id = self.new_id()
        if is_recorded or not n_rows:
            n_entries = erase(self.record, customer_id, because, self.now(), entry_id)
            return Erased(n_entries, n_rows)
        details = {"references": list[str](), "because": because}
        entry = service_entry("erasure", details, self.now(), entry_id)
        self.record.writer.append([entry])
        return Erased(0, n_rows)
