"""Settling a whole ledger: frames in, frames out.

The customers who have something to settle go through `data.settling`, one by one; the
rows of all others stay as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pandas as pd

from obligor.arrays import Ints
from obligor.data.account import CREDIT_NOTE, PAYMENT, WRITE_OFF, Account
from obligor.data.account_building import frame_of, posted_accounts
from obligor.data.ledger import DAY_DTYPE, OF_INVOICE, Ledger, is_among
from obligor.data.money import minor_digits
from obligor.data.posting import PostedLedger, empty_money, posted
from obligor.data.settling import settled

# Less than the smallest minor unit: the rounding of a sum of floats.
_ROUNDING = 1e-6


def settled_ledger(ledger: Ledger) -> PostedLedger:
    """Return a ledger of which each row stands as it is, and the money left over.

    Parameters
    ----------
    ledger : Ledger
        What is known on a day.

    Returns
    -------
    PostedLedger
        Invoices with the due day that counts; payments and write-offs above 0, each of
        an invoice; no allocations, cancellations or extensions. The money of customers
        that no item took.

    Raises
    ------
    SchemaError
        If a payment is in a currency that has no rate on its day.
    """
    posting = posted(ledger)
    rough_ids = _rough_customers(posting)
    if not len(rough_ids):
        return posting
    rough, plain = _divided(posting.ledger, rough_ids)
    rough_posting = PostedLedger(rough, posting.money, posting.returned)
    whole = frame_of(rough_posting, ledger.observed_until)
    accounts = [settled(account) for account in posted_accounts(rough_posting, whole)]
    rows = _standing_rows(accounts, rough)
    tables = dict(plain.tables)
    for table, frame in rows.items():
        if table in tables or len(frame):
            tables[table] = _joined(plain[table], frame)
    for table in ("cancellations", "extensions"):
        tables.pop(table, None)
    return PostedLedger(
        replace(ledger, tables=tables),
        _money_left(accounts),
        posting.returned,
    )


def _rough_customers(posting: PostedLedger) -> pd.Index:
    """Return the customers who have something to settle."""
    ledger = posting.ledger
    invoices = ledger["invoices"]
    rough_items = [
        ledger["cancellations"]["invoice_id"],
        ledger["extensions"]["invoice_id"],
        _overpaid(ledger),
    ]
    for table in ("payments", "write_offs"):
        frame = ledger[table]
        rough_items.append(frame.loc[frame["amount"] < 0, "invoice_id"])
    rough_ids = pd.Index(pd.concat(rough_items).unique())
    is_rough = is_among(invoices["invoice_id"], rough_ids)
    owners = [invoices.loc[is_rough, "customer_id"], posting.money["customer_id"]]
    customer_ids: pd.Index = pd.Index(pd.concat(owners).unique())
    return customer_ids


def _overpaid(ledger: Ledger) -> pd.Series[str]:
    """Return the invoices for which more than their amount was paid and credited."""
    invoices = ledger["invoices"]
    payments = ledger["payments"]
    invoice_ids = pd.Index(invoices["invoice_id"])
    item = invoice_ids.get_indexer(pd.Index(payments["invoice_id"]))
    paid = np.zeros(len(invoices))
    np.add.at(paid, item, payments["amount"].to_numpy(dtype=float))
    amount = invoices["amount"].to_numpy(dtype=float)
    return invoices.loc[paid > amount + _ROUNDING, "invoice_id"]


def _divided(ledger: Ledger, customer_ids: pd.Index) -> tuple[Ledger, Ledger]:
    """Return the rows of some customers, and the rows of all others."""
    invoices = ledger["invoices"]
    is_own_invoice = is_among(invoices["customer_id"], customer_ids)
    invoice_ids = pd.Index(invoices.loc[is_own_invoice, "invoice_id"])
    own = {}
    others = {}
    for table in ledger.tables:
        frame = ledger[table]
        if table in OF_INVOICE:
            is_own = is_among(frame["invoice_id"], invoice_ids)
        elif "customer_id" in frame:
            is_own = is_among(frame["customer_id"], customer_ids)
        else:
            own[table] = frame
            others[table] = frame
            continue
        own[table] = frame[is_own]
        others[table] = frame[~is_own]
    return replace(ledger, tables=own), replace(ledger, tables=others)


class _Row(NamedTuple):
    """An amount booked on an item."""

    invoice_id: str
    day: int
    kind: int
    amount: float
    known_on: int


def _standing_rows(
    accounts: Sequence[Account], rough: Ledger
) -> dict[str, pd.DataFrame]:
    """Return the rows of settled accounts, by table."""
    due = dict[str, int]()
    for account in accounts:
        due.update(zip(account.invoice_ids, account.items.due.tolist(), strict=True))
    invoices = rough["invoices"]
    invoices = invoices[invoices["invoice_id"].isin(list(due))]
    due_on = [due[invoice_id] for invoice_id in invoices["invoice_id"]]
    tables = {
        "customers": rough["customers"],
        "invoices": invoices.assign(due_on=_dates(due_on).to_numpy()),
        "payments": _payments(accounts),
        "write_offs": _write_offs(accounts),
    }
    for table in rough.tables:
        frame = rough[table]
        if table in ("promises", "disputes"):
            tables[table] = frame[frame["invoice_id"].isin(list(due))]
        elif table in ("limits", "financials"):
            tables[table] = frame
    return tables


def _bookings(accounts: Sequence[Account], kinds: Sequence[int]) -> list[_Row]:
    rows = []
    for account in accounts:
        units = [10.0 ** minor_digits(code) for code in account.currencies]
        currency = account.items.currency
        events = account.events
        for row in np.flatnonzero(np.isin(events.kind, kinds)).tolist():
            item = int(events.item[row])
            unit = units[currency[item]]
            rows.append(
                _Row(
                    invoice_id=account.invoice_ids[item],
                    day=int(events.day[row]),
                    kind=int(events.kind[row]),
                    amount=int(events.value[row]) / unit,
                    known_on=int(events.known_on[row]),
                )
            )
    return rows


def _payments(accounts: Sequence[Account]) -> pd.DataFrame:
    rows = _bookings(accounts, (PAYMENT, CREDIT_NOTE))
    kinds = ["credit_note" if row.kind == CREDIT_NOTE else "payment" for row in rows]
    return pd.DataFrame(
        {
            "payment_id": [f"settled-{index}" for index in range(len(rows))],
            "invoice_id": [row.invoice_id for row in rows],
            "paid_on": _dates([row.day for row in rows]),
            "amount": [row.amount for row in rows],
            "kind": kinds,
            "known_on": _dates([row.known_on for row in rows]),
        }
    )


def _write_offs(accounts: Sequence[Account]) -> pd.DataFrame:
    rows = _bookings(accounts, (WRITE_OFF,))
    return pd.DataFrame(
        {
            "invoice_id": [row.invoice_id for row in rows],
            "written_off_on": _dates([row.day for row in rows]),
            "amount": [row.amount for row in rows],
            "known_on": _dates([row.known_on for row in rows]),
        }
    )


def _money_left(accounts: Sequence[Account]) -> pd.DataFrame:
    """Return the money of customers that no item took."""
    frames = [empty_money()]
    for account in accounts:
        money = account.money
        codes = [account.currencies[code] for code in money.currency.tolist()]
        units = np.array([10.0 ** minor_digits(code) for code in codes])
        is_credit_note = money.kind == CREDIT_NOTE
        frame = pd.DataFrame(
            {
                "customer_id": account.customer_id,
                "day": _dates(money.day),
                "kind": np.where(is_credit_note, "credit_note", "payment"),
                "amount": money.value / units,
                "currency": codes,
                "known_on": _dates(money.known_on),
            }
        )
        if len(frame):
            frames.append(frame)
    return _joined_frames(frames)


def _joined(plain: pd.DataFrame, rough: pd.DataFrame) -> pd.DataFrame:
    """Return rows below each other, in the columns of a table."""
    columns = [column for column in plain.columns if column in rough]
    return _joined_frames([plain[columns], rough[columns]])


def _joined_frames(frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    # An empty frame would change the types of the others.
    with_rows = [frame for frame in frames if len(frame)]
    if not with_rows:
        return frames[0]
    return pd.concat(with_rows, ignore_index=True)


def _dates(numbers: Sequence[int] | Ints) -> pd.Series:
    days = np.asarray(numbers, dtype=np.int64).astype("datetime64[D]")
    return pd.Series(days.astype(DAY_DTYPE))
