"""What the check of an update needs to know of the loaded ledger."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import pandas as pd


class NothingStored:
    """Of a ledger that is loaded for the first time, nothing is stored."""

    def owners(self, table: str, ids: pd.Series) -> pd.Series:
        """Return no customers."""
        return pd.Series(dtype="str")

    def legal_owners(self, kind: str, ids: Iterable[str]) -> list[tuple[str, str]]:
        """Return no customers."""
        return []

    def first_rates(self) -> dict[str, pd.Timestamp]:
        """Return no rates."""
        return {}


class StoredLedger(Protocol):
    """Answers what the loaded ledger has, so that new rows may refer to it."""

    def owners(self, table: str, ids: pd.Series) -> pd.Series:
        """Return the customers of those ids that are stored, by id.

        Parameters
        ----------
        table : {"customers", "invoices", "documents", "payments"}
            What the ids stand for.
        ids : Series of str
            The ids; empty ones are not looked up.
        """

    def legal_owners(self, kind: str, ids: Iterable[str]) -> list[tuple[str, str]]:
        """Return id and customer of those legal ids that are stored.

        Parameters
        ----------
        kind : {"vat_id", "registration_id", "lei"}
            What the ids are.
        ids : iterable of str
            The ids, without blanks, dots and dashes.
        """

    def first_rates(self) -> dict[str, pd.Timestamp]:
        """Return the first day with a rate, by currency."""
