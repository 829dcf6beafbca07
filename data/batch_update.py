"""The rows of some customers while they are brought up to date."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date

import pandas as pd

from obligor.arrays import Ints
from obligor.data.account import Account
from obligor.data.account_building import LedgerFrame, accounts_of
from obligor.data.asof import known_account
from obligor.data.ledger import OF_INVOICE
from obligor.data.money import minor_digits
from obligor.data.open_items import open_balances
from obligor.data.row_building import ledger_of_rows, no_rows, parts_of
from obligor.data.row_packing import OWNER, SET_ASIDE, STATED_ON, UNTIL
from obligor.data.row_store import LedgerState
from obligor.data.updating import (
    SAME,
    Tables,
    cleared,
    closed,
    empty_days,
    joined,
    merge,
    moved,
    nothing_arrived,
    rows_of,
)

# The id of a payment that stands for what a snapshot does not list any more.
CLEARED = "cleared "
# Of a row that a snapshot lacks nothing follows: these have no end, or it is unknown.
NEVER_ENDED = ("customers", "limits", "financials", "bureau", "groups", "fx_rates")


@dataclass(frozen=True)
class Snapshot:
    """Lists that name everything there is: a row they lack is over.

    Attributes
    ----------
    tables : frozenset of str
        The lists.
    exported_on : date
        The day on which they were written.
    today : date
        The day on which they were loaded.
    """

    tables: frozenset[str]
    exported_on: date
    today: date

    def ends(self, table: str) -> bool:
        """Return whether a row that the list lacks is over."""
        return table in self.tables and table not in NEVER_ENDED


@dataclass
class Ended:
    """The rows that a snapshot ended.

    Attributes
    ----------
    counts : dict of str to int
        How many rows, by table.
    amounts : dict of str to float
        What was open of the invoices, by currency, in major units.
    """

    counts: dict[str, int] = field(default_factory=dict)
    amounts: dict[str, float] = field(default_factory=dict)

    def add(self, other: Ended) -> None:
        """Add the rows of another batch."""
        for table, count in other.counts.items():
            self.counts[table] = self.counts.get(table, 0) + count
        for currency, amount in other.amounts.items():
            self.amounts[currency] = self.amounts.get(currency, 0.0) + amount


class BatchUpdate:
    """The rows of some customers, and what an update does to them.

    Parameters
    ----------
    stored : mapping of str to DataFrame
        All rows of these customers.
    day : Timestamp
        The day of the update.
    has_payment_ids : bool
        Whether the source of the payments has ids.

    Attributes
    ----------
    frames : dict of str to DataFrame
        The rows as they are by now.
    touched : set of str
        The customers whose rows are no longer as they are stored.
    new_rows : dict of str to DataFrame
        What arrived and was neither stored nor the same.
    """

    def __init__(
        self,
        stored: Tables,
        day: pd.Timestamp,
        has_payment_ids: bool = True,
    ) -> None:
        self.frames = dict(stored)
        self.touched = set[str]()
        self.new_rows: dict[str, pd.DataFrame] = {}
        self._missing: dict[str, pd.Index] = {}
        self._day = day
        self._has_payment_ids = has_payment_ids

    def merge(self, table: str, arrived: pd.DataFrame) -> Ints:
        """Take rows into a table; return what became of each."""
        has_ids = table != "payments" or self._has_payment_ids
        update = merge(
            table,
            self._frame(table),
            arrived,
            self._day,
            has_ids,
        )
        self.frames[table] = update.frame
        self.touched.update(update.touched)
        self.new_rows[table] = arrived[update.verdicts != SAME]
        self._missing[table] = update.missing
        return update.verdicts

    def clear_marks(self, arrived: Tables) -> None:
        """Forget that rows were set aside which have arrived in order."""
        if SET_ASIDE in self.frames:
            marks = cleared(self.frames[SET_ASIDE], arrived, self._day)
            self.frames[SET_ASIDE] = marks.frame
            self.touched.update(marks.touched)

    def follow_invoices(self) -> None:
        """Give what happened to an invoice to its customer, if that one changed."""
        if "invoices" not in self.new_rows:
            return
        for table in OF_INVOICE:
            if table in self.frames:
                self.frames[table] = moved(
                    self.frames[table], self.frames["invoices"], self._day
                )

    def end_missing(self, snapshot: Snapshot, state: LedgerState) -> Ended:
        """End the rows that the lists lack.

        Parameters
        ----------
        snapshot : Snapshot
            The lists.
        state : LedgerState
            What is true of the whole ledger.

        Returns
        -------
        Ended
            How many rows, and what was open of them.
        """
        ended = Ended()
        for table in sorted(snapshot.tables):
            if not snapshot.ends(table) or table not in self.frames:
                continue
            if table not in self._missing:
                self.merge(table, nothing_arrived(table, self.frames[table]))
            if table == "invoices":
                self._reopen()
                self._clear_invoices(snapshot, state, ended)
            elif table == "disputes":
                self._resolve_disputes(snapshot, ended)
            else:
                self._close(table, self._missing[table], ended)
        return ended

    def _frame(self, table: str) -> pd.DataFrame:
        return self.frames.get(table, no_rows(table))

    def _close(
        self,
        table: str,
        rows: pd.Index,
        ended: Ended,
    ) -> None:
        frame = self.frames[table]
        if table == "payments":
            # Our own rows are in nobody's list.
            own = frame.loc[rows, "payment_id"].str.startswith(CLEARED, na=False)
            rows = rows[~own]
        if len(rows):
            self.touched.update(frame.loc[rows, OWNER])
            self.frames[table] = closed(frame, rows, self._day)
            ended.counts[table] = len(rows)

    def _resolve_disputes(self, snapshot: Snapshot, ended: Ended) -> None:
        disputes = self.frames["disputes"]
        rows = self._missing["disputes"]
        rows = rows[disputes.loc[rows, "resolved_on"].isna()]
        if not len(rows):
            return
        self.touched.update(disputes.loc[rows, OWNER])
        resolved_on = pd.Timestamp(snapshot.exported_on).as_unit("s")
        resolved = disputes.loc[rows].assign(
            resolved_on=resolved_on, known_on=self._day
        )
        remaining = closed(disputes, rows, self._day)
        self.frames["disputes"] = joined(remaining, resolved)
        ended.counts["disputes"] = len(rows)

    def _reopen(self) -> None:
        """Take back that invoices were cleared which are in the list again."""
        payments = self._frame("payments")
        invoices = self.frames["invoices"]
        missing_ids = invoices.loc[self._missing["invoices"], "invoice_id"]
        is_own = payments["payment_id"].str.startswith(CLEARED, na=False)
        is_own &= payments[UNTIL].isna() & ~payments["invoice_id"].isin(missing_ids)
        if is_own.any():
            rows = payments.index[is_own]
            self.touched.update(payments.loc[rows, OWNER])
            self.frames["payments"] = closed(payments, rows, self._day)

    def _clear_invoices(
        self,
        snapshot: Snapshot,
        state: LedgerState,
        ended: Ended,
    ) -> None:
        """Take what is open of invoices that the list lacks as paid."""
        invoices = self.frames["invoices"]
        missing = invoices.loc[self._missing["invoices"]]
        if missing.empty:
            return
        customer_ids = pd.Index(missing[OWNER].unique())
        own = {
            table: frame[rows_of(frame, customer_ids)]
            for table, frame in self.frames.items()
        }
        missing_ids = set(missing["invoice_id"])
        rows = list[dict[str, object]]()
        for part in parts_of(own):
            ledger = ledger_of_rows(part, state)
            whole = LedgerFrame(state.currencies, state.observed_until)
            for account in accounts_of(ledger, whole):
                rows += _clearings(account, missing_ids, snapshot, ended)
        if not rows:
            return
        payments = pd.DataFrame(rows).assign(kind="payment", known_on=self._day)
        payments["paid_on"] = pd.Timestamp(snapshot.exported_on).as_unit("s")
        payments[UNTIL] = empty_days(payments.index)
        payments[STATED_ON] = empty_days(payments.index)
        stored = self._frame("payments")
        columns = {name: payments.get(name) for name in stored.columns}
        new_rows = pd.DataFrame(columns, index=payments.index).astype(stored.dtypes)
        self.frames["payments"] = joined(stored, new_rows)
        self.touched.update(payments[OWNER])
        ended.counts["invoices"] = len(payments)


def _clearings(
    account: Account,
    missing_ids: set[str],
    snapshot: Snapshot,
    ended: Ended,
) -> list[dict[str, object]]:
    """Return a payment of what is open of each missing invoice of an account."""
    if not len(account.items.known_on):
        return []
    known = known_account(account, snapshot.today).account
    balances = open_balances(known)
    payments = list[dict[str, object]]()
    for item, invoice_id in enumerate(known.invoice_ids):
        if invoice_id not in missing_ids or balances[item] <= 0:
            continue
        currency = known.currencies[known.items.currency[item]]
        amount = float(balances[item] / 10 ** minor_digits(currency))
        ended.amounts[currency] = ended.amounts.get(currency, 0.0) + amount
        payments.append(
            {
                OWNER: account.customer_id,
                "payment_id": f"{CLEARED}{snapshot.exported_on} {invoice_id}",
                "invoice_id": invoice_id,
                "amount": amount,
            }
        )
    return payments
