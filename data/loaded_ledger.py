"""The loaded ledger, as the check of an update asks about it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import pandas as pd
import sqlalchemy as sa

from obligor.data.row_packing import OWNER
from obligor.data.row_store import LedgerState, RowStore


@dataclass(frozen=True)
class LoadedLedger:
    """The loaded ledger, read within one transaction.

    Attributes
    ----------
    rows : RowStore
        Where it is stored.
    connection : Connection
        In a transaction.
    state : LedgerState
        What is true of it as a whole.
    """

    rows: RowStore
    connection: sa.Connection
    state: LedgerState

    def owners(self, table: str, ids: pd.Series) -> pd.Series:
        """Return the customers of those ids that are stored, by id."""
        if table != "customers":
            return self.rows.owner_of(self.connection, table, ids)
        stored_ids = self.rows.known_customers(self.connection, ids.dropna().unique())
        index = pd.Index(sorted(stored_ids), dtype="str")
        return pd.Series(index, index=index, name=OWNER, dtype="str")

    def legal_owners(self, kind: str, ids: Iterable[str]) -> list[tuple[str, str]]:
        """Return id and customer of those legal ids that are stored."""
        return self.rows.legal_owners(self.connection, kind, ids)

    def first_rates(self) -> dict[str, pd.Timestamp]:
        """Return the first day with a rate, by currency."""
        rates = self.rows.read_shared(self.connection, "fx_rates")
        first_days = rates.groupby("currency")["rate_on"].min()
        return {str(currency): day for currency, day in first_days.items()}
