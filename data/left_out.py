"""What a ledger loses by the rows that were set aside: rows, money and customers.

A share of rows says little: one row can hold all that a customer owes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from obligor.data.bookkeeping import Owners, owners_of
from obligor.data.ledger import OF_INVOICE, Ledger

# Events that settle an invoice.
SETTLEMENTS = ("payments", "write_offs")


@dataclass(frozen=True)
class Share:
    """A part of an amount of money.

    Attributes
    ----------
    part, total : float
        Absolute amounts in the reporting currency, at the last rate of the ledger.
    """

    part: float
    total: float

    @property
    def ratio(self) -> float:
        """The part as a share of the total, from 0 to 1; 0 if there is no money."""
        return self.part / self.total if self.total > 0 else 0.0


@dataclass(frozen=True)
class LeftOut:
    """What the rows of one table that were set aside hold.

    Attributes
    ----------
    table : str
        The table.
    n_rows, n_all_rows : int
        The rows that were set aside, and all rows.
    amount : Share
        Their amounts.
    open_amount : Share
        Of invoices: what is still open, before any row is set aside.
    customers : tuple of str
        The customers they touch, as far as the rows name them.
    n_unreadable : int
        The rows whose amount cannot be read, so that it is missing above.
    """

    table: str
    n_rows: int
    n_all_rows: int
    amount: Share
    open_amount: Share
    customers: tuple[str, ...]
    n_unreadable: int = 0

    @property
    def money_share(self) -> float:
        """The larger of the shares of the amount and of the open amount."""
        return max(self.amount.ratio, self.open_amount.ratio)

    def sentence(self, currency: str) -> str:
        """Return what is left out, for a person; `currency` is the reporting one."""
        parts = [f"{self.n_rows:,} of {self.n_all_rows:,} rows"]
        if self.amount.total > 0:
            parts.append(_money(self.amount, f"{currency} of the amount"))
        if self.open_amount.total > 0:
            parts.append(_money(self.open_amount, f"{currency} of the open amount"))
        if self.n_unreadable:
            parts.append(f"{self.n_unreadable:,} without an amount that can be read")
        noun = "customer" if len(self.customers) == 1 else "customers"
        parts.append(f"{len(self.customers):,} {noun}")
        return f"left out of {self.table}: {', '.join(parts)}"


def _money(share: Share, unit: str) -> str:
    return f"{share.part:,.2f} {unit} ({share.ratio:.1%})"


def summed(losses: Iterable[LeftOut]) -> list[LeftOut]:
    """Return what several parts of a ledger lose, for each table that loses any rows.

    Parameters
    ----------
    losses : iterable of LeftOut
        Of each part one for each table.
    """
    by_table: dict[str, LeftOut] = {}
    for loss in losses:
        earlier = by_table.get(loss.table)
        by_table[loss.table] = loss if earlier is None else _sum(earlier, loss)
    return [loss for loss in by_table.values() if loss.n_rows]


def _sum(first: LeftOut, second: LeftOut) -> LeftOut:
    return LeftOut(
        table=first.table,
        n_rows=first.n_rows + second.n_rows,
        n_all_rows=first.n_all_rows + second.n_all_rows,
        amount=_sum_of_shares(first.amount, second.amount),
        open_amount=_sum_of_shares(first.open_amount, second.open_amount),
        customers=tuple(sorted({*first.customers, *second.customers})),
        n_unreadable=first.n_unreadable + second.n_unreadable,
    )


def _sum_of_shares(first: Share, second: Share) -> Share:
    return Share(first.part + second.part, first.total + second.total)


def left_out_of(
    ledger: Ledger, quarantined: Mapping[str, pd.DataFrame]
) -> list[LeftOut]:
    """Return what the rows that were set aside hold, one value for each table.

    Parameters
    ----------
    ledger : Ledger
        As it was read, with the bad rows.
    quarantined : mapping of str to DataFrame
        The bad rows, by table.
    """
    invoices = _first_invoices(ledger)
    owners = owners_of(ledger)
    losses = []
    for table, rows in quarantined.items():
        every_row = ledger[table]
        is_left_out = every_row.index.isin(rows.index)
        amounts = _amounts(ledger, table, invoices)
        is_invoices = table == "invoices"
        balances = _balances(ledger, amounts) if is_invoices else amounts * 0
        losses.append(
            LeftOut(
                table=table,
                n_rows=len(rows),
                n_all_rows=len(every_row),
                amount=_share(amounts, is_left_out),
                open_amount=_share(balances, is_left_out),
                customers=_customers(owners, table, rows),
                n_unreadable=_n_unreadable(rows),
            )
        )
    return losses


def _customers(owners: Owners, table: str, rows: pd.DataFrame) -> tuple[str, ...]:
    """Return the customers of rows; an allocation may be of two."""
    customers = set(owners.of_rows(rows).dropna().astype("str"))
    if table == "allocations":
        customers.update(owners.of_strange_receipts(rows))
    return tuple(sorted(customers))


def _share(amounts: pd.Series, is_left_out: np.ndarray) -> Share:
    return Share(float(amounts[is_left_out].sum()), float(amounts.sum()))


def _first_invoices(ledger: Ledger) -> pd.DataFrame:
    """Return the invoices by id; of several with one id, the first."""
    invoices = ledger["invoices"]
    if "invoice_id" not in invoices:
        return invoices.iloc[:0]
    with_id = invoices[invoices["invoice_id"].notna()]
    return with_id.drop_duplicates("invoice_id").set_index("invoice_id")


def _amounts(ledger: Ledger, table: str, invoices: pd.DataFrame) -> pd.Series:
    """Return the absolute amount of each row, 0 if it has none that can be read."""
    frame = ledger[table]
    if "amount" not in frame:
        return pd.Series(0.0, index=frame.index)
    amounts = frame["amount"].abs()
    amounts = amounts.where(np.isfinite(amounts), 0.0)
    # A payment without a currency is in that of its invoice.
    currencies = frame.reindex(columns=["currency"])["currency"].astype("object")
    is_of_invoice = table in OF_INVOICE and "invoice_id" in frame
    if is_of_invoice and "currency" in invoices:
        currencies = currencies.fillna(frame["invoice_id"].map(invoices["currency"]))
    return amounts * currencies.map(_last_rates(ledger)).fillna(1.0).astype("float64")


def _last_rates(ledger: Ledger) -> dict[str, float]:
    """Return the last rate of each currency into the reporting currency."""
    rates = ledger["fx_rates"]
    if not {"currency", "rate_on", "rate"} <= set(rates):
        return {}
    usable = rates[rates["rate"] > 0].sort_values("rate_on")
    last_rates = usable.groupby("currency")["rate"].last()
    return {str(currency): float(rate) for currency, rate in last_rates.items()}


def _balances(ledger: Ledger, amounts: pd.Series) -> pd.Series:
    """Return what is open of each invoice: never below 0."""
    invoices = ledger["invoices"]
    if "invoice_id" not in invoices:
        return amounts
    settled = pd.Series(0.0, index=invoices.index)
    first_invoices = _first_invoices(ledger)
    for table in SETTLEMENTS:
        frame = ledger[table]
        if not {"invoice_id", "amount"} <= set(frame):
            continue
        signed = _amounts(ledger, table, first_invoices) * np.sign(frame["amount"])
        by_invoice = signed.groupby(frame["invoice_id"]).sum()
        settled += invoices["invoice_id"].map(by_invoice).fillna(0.0).astype("float64")
    # A credit memo is below 0: nothing is open of it.
    owed = amounts.where(invoices["amount"] > 0, 0.0)
    return (owed - settled).clip(lower=0.0)


def _n_unreadable(rows: pd.DataFrame) -> int:
    if "amount" not in rows:
        return 0
    return int((~np.isfinite(rows["amount"])).sum())
