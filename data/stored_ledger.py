"""What the check of an update needs to know of the loaded ledger."""

from __future__ import annotations

from typing import Protocol

import pandas as pd


class StoredLedger(Protocol):
    """Answers what the loaded ledger has, so that new rows may refer to it."""

    def owners(self, table: str, ids: pd.Series) -> pd.Series:
        """Return the customers of those ids that are stored, by id.

        Parameters
        ----------
        table : {"customers", "invoices", "payments"}
            What the ids stand for.
        ids : Series of str
            The ids; empty ones are not looked up.
        """

    def first_rates(self) -> dict[str, pd.Timestamp]:
        """Return the first day with a rate, by currency."""
