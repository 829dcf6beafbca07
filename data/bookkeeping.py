"""What is said of the rows that are more than an invoice or a payment of one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd

from obligor.arrays import Bools
from obligor.data.findings import Finding
from obligor.data.ledger import OF_INVOICE, Ledger
from obligor.data.posting import UNDOING_KINDS
from obligor.data.stored_ledger import StoredLedger

# If more than half of so many rows are below 0, the source writes its signs otherwise.
FEWEST_ROWS_TO_JUDGE_SIGNS = 10
# How far a converted amount may be from the invoice at a rate of the table.
_ROUNDING = 0.0005
# Rows of these tables change what a customer owes, or how it is told.
ACCOUNT_TABLES = ("invoices", *OF_INVOICE)


def bookkeeping_findings(
    ledger: Ledger, stored: StoredLedger | None = None
) -> Iterator[Finding]:
    """Yield what a person must know of a ledger's memos, returns and free money.

    Parameters
    ----------
    ledger : Ledger
        As it was read; its references are checked elsewhere.
    stored : StoredLedger, optional
        The loaded ledger that it updates.
    """
    yield from _inverted_signs(ledger)
    yield from _memos(ledger)
    yield from _strange_allocations(ledger, stored)
    if "payments" not in ledger.tables:
        if stored is not None:
            return
        yield _note(
            "payments",
            "",
            "there is no table: each amount is taken as what is open, and nothing is "
            "known of how customers pay",
        )
        return
    yield from _repeated_payments(ledger)
    yield from _converted_payments(ledger)
    payment_ids = _payment_ids(ledger, stored)
    yield from _homeless_payments(ledger, payment_ids)
    yield from _undoing_payments(ledger, payment_ids)
    yield from _bad_cancellations(ledger)


def _note(table: str, column: str, what: str) -> Finding:
    return Finding(
        level="note",
        table=table,
        column=column,
        row=None,
        what=what,
        expected="",
    )


def _quarantine(
    table: str,
    column: str,
    row: object,
    what: str,
    expected: str,
) -> Finding:
    return Finding(
        level="quarantine",
        table=table,
        column=column,
        row=int(str(row)),
        what=what,
        expected=expected,
    )


def _inverted_signs(ledger: Ledger) -> Iterator[Finding]:
    """Refuse a table of which most amounts are below 0: each would be misread."""
    for table in ("invoices", "payments", "write_offs"):
        amount = ledger[table].reindex(columns=["amount"])["amount"]
        n_below = int((amount < 0).sum())
        if len(amount) < FEWEST_ROWS_TO_JUDGE_SIGNS or n_below * 2 <= len(amount):
            continue
        yield Finding(
            level="refuse",
            table=table,
            column="amount",
            row=None,
            what=f"{n_below:,} of {len(amount):,} amounts are below 0",
            expected=(
                f"{table} above 0, and below 0 only what undoes them; "
                "state negate = true if the source writes them with a minus"
            ),
        )


def _memos(ledger: Ledger) -> Iterator[Finding]:
    invoices = ledger["invoices"]
    if "amount" not in invoices:
        return
    amount = invoices["amount"]
    n_memos = int((amount < 0).sum())
    if n_memos:
        noun = "row is" if n_memos == 1 else "rows are"
        what = f"{n_memos:,} {noun} below 0: credit memos, money of the customer"
        yield _note("invoices", "amount", what)
    for row in invoices.index[amount == 0]:
        yield Finding(
            level="note",
            table="invoices",
            column="amount",
            row=int(row),
            what="the amount is 0; the row is not used",
            expected="",
        )


def _repeated_payments(ledger: Ledger) -> Iterator[Finding]:
    """Yield a finding for each payment that is there more than once.

    A receipt over several items has a row for each of them.
    """
    payments = ledger["payments"]
    if "payment_id" not in payments:
        return
    keys = payments.reindex(columns=["payment_id", "invoice_id"])
    with_id = keys[keys["payment_id"].notna()]
    for row in with_id.index[with_id.duplicated()]:
        yield _quarantine(
            "payments",
            "payment_id",
            row,
            f"the id {with_id['payment_id'][row]!r} is used more than once",
            "a unique id for each payment, or for each of its items",
        )


def _payment_ids(ledger: Ledger, stored: StoredLedger | None) -> pd.Index:
    """Return the ids that a row may undo."""
    payments = ledger["payments"].reindex(columns=["payment_id", "reverses"])
    payment_ids: pd.Index = pd.Index(payments["payment_id"].dropna())
    if stored is not None:
        stored_ids = stored.owners("payments", payments["reverses"]).index
        payment_ids = payment_ids.append(stored_ids)
    return payment_ids


def _homeless_payments(ledger: Ledger, payment_ids: pd.Index) -> Iterator[Finding]:
    """Yield findings on payments without an item, and on those without a customer."""
    columns = ["payment_id", "invoice_id", "customer_id", "reverses", "amount"]
    payments = ledger["payments"].reindex(columns=columns)
    undone = payments["reverses"].isin(payment_ids)
    is_free = payments["invoice_id"].isna()
    is_homeless = is_free & payments["customer_id"].isna() & ~undone
    for row in payments.index[is_homeless]:
        yield _quarantine(
            "payments",
            "invoice_id",
            row,
            "the payment has neither an invoice nor a customer",
            "an invoice_id, or the customer_id of money without an item",
        )
    is_money = is_free & ~is_homeless & ~undone
    if is_money.any():
        noun = "row has" if is_money.sum() == 1 else "rows have"
        policy = "it pays the oldest items first"
        if ledger.unapplied_policy != "oldest_first":
            policy = "it stays as it is allocated"
        what = f"{is_money.sum():,} {noun} no item: money of the customer; {policy}"
        yield _note("payments", "invoice_id", what)
        yield from _money_without_currency(ledger, is_money)


def _money_without_currency(ledger: Ledger, is_money: pd.Series) -> Iterator[Finding]:
    """Yield a note, if the currency of money without an item is not stated."""
    payments = ledger["payments"].reindex(columns=["currency"])
    is_unstated = is_money & payments["currency"].isna()
    invoices = ledger["invoices"]
    if "currency" not in invoices or not is_unstated.any():
        return
    if (invoices["currency"] != ledger.currency).any():
        what = (
            f"{is_unstated.sum():,} rows without an item have no currency: it is taken "
            f"from the customer's items, or is {ledger.currency} if they have several"
        )
        yield _note("payments", "currency", what)


def _converted_payments(ledger: Ledger) -> Iterator[Finding]:
    """Yield a note on payments that look converted, and do not state their currency.

    Each is the only one of its invoice, and as much as the invoice is worth in the
    reporting currency.
    """
    payments = ledger["payments"].reindex(columns=["invoice_id", "amount", "currency"])
    invoices = ledger["invoices"]
    rates = ledger["fx_rates"]
    has_columns = {"invoice_id", "amount", "currency"} <= set(invoices)
    if not has_columns or not {"currency", "rate"} <= set(rates):
        return
    firsts = invoices.dropna(subset="invoice_id").drop_duplicates("invoice_id")
    items = firsts.set_index("invoice_id")
    item_amount = payments["invoice_id"].map(items["amount"])
    item_currency = payments["invoice_id"].map(items["currency"])
    is_meant = payments["currency"].isna() & item_currency.notna()
    is_meant &= ~payments["invoice_id"].duplicated(keep=False)
    is_meant &= (item_currency != ledger.currency) & (item_amount > 0)
    for currency in item_currency[is_meant].unique():
        own = is_meant & (item_currency == currency)
        own_rates = rates.loc[rates["currency"] == currency, "rate"]
        paid_share = payments["amount"][own] / item_amount[own]
        for row in paid_share.index[_are_rates(paid_share, own_rates)]:
            yield Finding(
                level="note",
                table="payments",
                column="currency",
                row=int(row),
                what=(
                    "the payment states no currency: it is taken in that of its "
                    f"invoice, {currency}, and is what the invoice is worth in "
                    f"{ledger.currency}"
                ),
                expected="a column of currencies, if payments have others",
            )


def _are_rates(shares: pd.Series, rates: pd.Series) -> Bools:
    """Return which paid shares of invoices are rates of their currency, but not 1."""
    ordered = np.sort(rates.dropna().to_numpy(dtype=np.float64))
    values = shares.to_numpy(dtype=np.float64)
    if not len(ordered):
        return np.zeros(len(values), dtype=bool)
    above = np.searchsorted(ordered, values).clip(max=len(ordered) - 1)
    nearest = np.stack([ordered[above], ordered[(above - 1).clip(min=0)]])
    is_rate: Bools = (np.abs(nearest - values) <= values * _ROUNDING).any(axis=0)
    is_rate &= values != 1
    return is_rate


def _undoing_payments(ledger: Ledger, payment_ids: pd.Index) -> Iterator[Finding]:
    columns = ["payment_id", "amount", "kind", "reverses"]
    payments = ledger["payments"].reindex(columns=columns)
    is_undoing = (payments["amount"] < 0) | payments["kind"].isin(UNDOING_KINDS)
    if is_undoing.any():
        noun = "row undoes" if is_undoing.sum() == 1 else "rows undo"
        what = f"{is_undoing.sum():,} {noun} earlier ones"
        yield _note("payments", "amount", what)
    is_unknown = payments["reverses"].notna()
    is_unknown &= ~payments["reverses"].isin(payment_ids)
    for row in payments.index[is_unknown]:
        yield Finding(
            level="note",
            table="payments",
            column="reverses",
            row=int(row),
            what=f"{payments['reverses'][row]!r} is unknown; the likeliest is undone",
            expected="the payment_id of what the row undoes",
        )
    yield from _strange_receipts(ledger)


def _strange_receipts(ledger: Ledger) -> Iterator[Finding]:
    """Yield a note on each row that names a payment of another customer."""
    payments = ledger["payments"]
    if "reverses" not in payments:
        return
    owners = owners_of(ledger)
    owner = owners.of_rows(payments.drop(columns="reverses"))
    receipt_owner = payments["reverses"].map(owners.payments)
    is_strange = owner.notna() & receipt_owner.notna() & (owner != receipt_owner)
    for row in payments.index[is_strange]:
        yield Finding(
            level="note",
            table="payments",
            column="reverses",
            row=int(row),
            what=(
                f"{payments['reverses'][row]!r} is a payment of another customer; the "
                "likeliest of this one is undone"
            ),
            expected="the payment_id of what the row undoes",
        )


def _strange_allocations(
    ledger: Ledger,
    stored: StoredLedger | None,
) -> Iterator[Finding]:
    """Yield a finding on each allocation of one customer's money to another's item."""
    allocations = ledger["allocations"]
    if not {"invoice_id", "payment_id"} <= set(allocations) or allocations.empty:
        return
    receipt_owner, item_owner = _owners_of_allocations(allocations, ledger, stored)
    is_strange = receipt_owner.notna() & item_owner.notna()
    is_strange &= receipt_owner != item_owner
    for row in allocations.index[is_strange]:
        yield _quarantine(
            "allocations",
            "payment_id",
            row,
            f"{allocations['payment_id'][row]!r} is a payment of customer "
            f"{receipt_owner[row]}, {allocations['invoice_id'][row]!r} an invoice of "
            f"customer {item_owner[row]}",
            "a payment and an invoice of one customer; book what one pays for another "
            "as a payment of that invoice",
        )


def _owners_of_allocations(
    allocations: pd.DataFrame,
    ledger: Ledger,
    stored: StoredLedger | None,
) -> tuple[pd.Series, pd.Series]:
    """Return the customer of the payment and of the invoice of each allocation."""
    owners = owners_of(ledger)
    columns = []
    for key, home, own in (
        ("payment_id", "payments", owners.payments),
        ("invoice_id", "invoices", owners.invoices),
    ):
        ids = allocations[key]
        owner = ids.map(own).astype("object")
        if stored is not None:
            stored_owners = stored.owners(home, ids[owner.isna()])
            owner = owner.fillna(ids.map(stored_owners).astype("object"))
        # A credit memo is allocated as a payment is.
        columns.append(owner.fillna(ids.map(owners.invoices).astype("object")))
    return columns[0], columns[1]


def _bad_cancellations(ledger: Ledger) -> Iterator[Finding]:
    columns = ["invoice_id", "payment_id"]
    cancellations = ledger["cancellations"].reindex(columns=columns)
    n_ids = cancellations.notna().sum(axis=1)
    for row in cancellations.index[n_ids != 1]:
        yield _quarantine(
            "cancellations",
            "invoice_id",
            row,
            f"the row names {n_ids[row]} of invoice_id and payment_id",
            "one of them",
        )


def rows_set_aside(
    ledger: Ledger, quarantined: Mapping[str, pd.DataFrame], clean: Ledger
) -> dict[str, int]:
    """Return how many rows of each customer's account could not be used.

    Parameters
    ----------
    ledger : Ledger
        As it was read, with the bad rows.
    quarantined : mapping of str to DataFrame
        The bad rows, by table.
    clean : Ledger
        The ledger without them.

    Returns
    -------
    dict of str to int
        By customer. A row that repeats one that is used is not counted: nothing is
        lost by it.
    """
    owners = owners_of(ledger)
    counts = dict[str, int]()
    for table in ACCOUNT_TABLES:
        if table not in quarantined:
            continue
        rows = quarantined[table]
        used = pd.concat([clean[table], rows]).reindex(columns=rows.columns)
        is_lost = ~used.duplicated().to_numpy()[len(used) - len(rows) :]
        lost = rows[is_lost]
        for customer in owners.of_rows(lost).dropna():
            counts[str(customer)] = counts.get(str(customer), 0) + 1
        if table == "allocations":
            for customer in owners.of_strange_receipts(lost):
                counts[customer] = counts.get(customer, 0) + 1
    return counts


class Owners:
    """Who owns the rows of a ledger, as far as they name somebody or something.

    Parameters
    ----------
    invoices, payments : Series of str
        The customer of each invoice and of each payment, by id.
    """

    def __init__(self, invoices: pd.Series, payments: pd.Series) -> None:
        self.invoices = invoices
        self.payments = payments

    def of_rows(self, rows: pd.DataFrame) -> pd.Series:
        """Return the customer of each row; empty if nobody can tell."""
        columns = ["customer_id", "invoice_id", "payment_id", "reverses"]
        keys = rows.reindex(columns=columns)
        customer = keys["customer_id"].astype("object")
        for key, owners in (
            ("invoice_id", self.invoices),
            ("payment_id", self.payments),
            ("reverses", self.payments),
        ):
            customer = customer.fillna(keys[key].map(owners))
        return customer

    def of_strange_receipts(self, allocations: pd.DataFrame) -> list[str]:
        """Return the customers whose money allocations give to items of others."""
        columns = ["invoice_id", "payment_id"]
        keys = allocations.reindex(columns=columns)
        of_item = keys["invoice_id"].map(self.invoices)
        of_receipt = keys["payment_id"].map(self.payments)
        is_strange = of_item.notna() & of_receipt.notna() & (of_item != of_receipt)
        return of_receipt[is_strange].astype("str").tolist()


def owners_of(ledger: Ledger) -> Owners:
    """Return who owns the rows of a ledger, the bad ones too."""
    invoices = _by_id(ledger["invoices"], "invoice_id")
    payments = ledger["payments"]
    columns = ["payment_id", "invoice_id", "customer_id"]
    payments = payments.reindex(columns=columns)
    owner = payments["customer_id"].astype("object")
    owner = owner.fillna(payments["invoice_id"].map(invoices))
    return Owners(invoices, _by_id(payments.assign(customer_id=owner), "payment_id"))


def _by_id(rows: pd.DataFrame, key: str) -> pd.Series:
    """Return the customer of each row by its id; of several, the first."""
    if not {key, "customer_id"} <= set(rows):
        return pd.Series(dtype="object")
    with_id = rows[rows[key].notna()].drop_duplicates(key)
    return with_id.set_index(key)["customer_id"].astype("object")
