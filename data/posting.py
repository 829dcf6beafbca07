"""Every row of a ledger as what it does to an item, or to the money of a customer.

What accountants write in many ways is put into one form: an amount below 0 undoes
something, a credit memo is money of the customer, an allocation moves money to an item,
and every amount is in the currency of its item.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from obligor.data.conversion import in_item_currency
from obligor.data.ledger import (
    DAY_DTYPE,
    OF_INVOICE,
    Ledger,
    empty_table,
    is_among,
)

# Kinds of payments that undo one, whatever the sign of their amount.
UNDOING_KINDS = ("returned", "refund")
MONEY_COLUMNS = (
    "customer_id",
    "day",
    "kind",
    "amount",
    "currency",
    "ends_on",
    "known_on",
    "until",
    "document_id",
)
RETURNED_COLUMNS = ("customer_id", "day", "payment_id", "known_on", "until")
# Parts of an amount are rounded; a minor unit has at most three digits.
_SHARE_DIGITS = 6
_DAY_COLUMNS = ("day", "ends_on", "known_on", "until")
_ID_COLUMNS = ("invoice_id", "payment_id", "undoes")
# What undoes a booking is converted with the rates that were known for the booking.
_RATES_KNOWN_ON = "rates_known_on"
_BOOKING_COLUMNS = (*MONEY_COLUMNS, *_ID_COLUMNS, _RATES_KNOWN_ON)


@dataclass(frozen=True)
class PostedLedger:
    """A ledger whose events are all of items, and the money of customers beside it.

    Attributes
    ----------
    ledger : Ledger
        Invoices above 0; payments with an invoice, in its currency, of the kinds
        ``payment`` and ``credit_note``, with ``ends_on``: the day of what a negative
        amount undoes.
    money : DataFrame
        Columns `MONEY_COLUMNS`: money without an item, and what takes from it.
    returned : DataFrame
        Columns `RETURNED_COLUMNS`: the payments that came back, a row for each part.
    """

    ledger: Ledger
    money: pd.DataFrame
    returned: pd.DataFrame


def posted(ledger: Ledger) -> PostedLedger:
    """Return a ledger in which each row says what it does.

    Parameters
    ----------
    ledger : Ledger
        A checked ledger: events refer to invoices it holds, or name their customer.

    Raises
    ------
    SchemaError
        If a payment is in another currency than its item, and one of them has no rate
        on or before the day of the payment.
    """
    if not _needs_posting(ledger):
        return PostedLedger(ledger, empty_money(), none_returned())
    invoices = ledger["invoices"]
    is_item = invoices["amount"] > 0
    items = invoices[is_item].set_index("invoice_id")
    memos = invoices[invoices["amount"] < 0].set_index("invoice_id")
    referable = with_documents(invoices)
    payments = _bookings_of_payments(ledger["payments"], referable)
    returned = _returned(ledger["payments"], payments, referable)
    credit = _bookings_of_memos(memos)
    receipts = [payments, credit.assign(payment_id=memos.index)]
    bookings = _joined(
        [
            payments,
            *_bookings_of_allocations(ledger["allocations"], receipts, referable),
            credit,
            _bookings_of_memo_write_offs(ledger, memos),
        ]
    )
    bookings = _placed(_with_owners(bookings, referable))
    bookings = _joined([bookings, _cancelled(bookings, ledger, memos)])
    bookings = _with_items(_with_owners(bookings, referable), referable)
    item_currency = _of_ids(_first_of(referable)["currency"], bookings["invoice_id"])
    bookings = in_item_currency(bookings, item_currency, ledger)
    bookings = _with_places(bookings, invoices)
    has_item = bookings["has_item"].to_numpy(dtype=bool)
    tables = {
        **ledger.tables,
        **_tables_of_items(ledger, items),
        "invoices": invoices[is_item],
        "payments": _payments(bookings[has_item]),
    }
    tables.pop("allocations", None)
    money = _money(bookings[~has_item], items, ledger.currency)
    return PostedLedger(replace(ledger, tables=tables), money, returned)


def _tables_of_items(ledger: Ledger, items: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return what happened to items, by table; a row of a document is of each item."""
    tables = {}
    for table in OF_INVOICE:
        if table in ledger.tables:
            frame = _of_each_item(ledger[table], items)
            is_of_item = is_among(frame["invoice_id"], _first_rows(items).index)
            tables[table] = frame[is_of_item]
    return tables


def _joined(frames: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """Return bookings below each other, each column of its type."""
    # An empty frame has no types, and would change those of the others.
    with_rows = [frame for frame in frames if len(frame)]
    columns = list(_BOOKING_COLUMNS)
    bookings = empty_money()
    if with_rows:
        bookings = pd.concat(with_rows)
    bookings = bookings.reindex(columns=columns)
    for column in (*_DAY_COLUMNS, _RATES_KNOWN_ON):
        bookings[column] = pd.to_datetime(bookings[column]).astype(DAY_DTYPE)
    return bookings.astype(dict.fromkeys(_ID_COLUMNS, "object"))


def _with_columns(frame: pd.DataFrame, texts: Sequence[str] = ()) -> pd.DataFrame:
    """Return a table with `until` and some columns of texts, empty if it lacks them."""
    missing = [name for name in texts if name not in frame]
    frame = frame.assign(**{name: None for name in missing})
    frame = frame.astype(dict.fromkeys(texts, "object"))
    if "until" not in frame:
        frame["until"] = pd.Series(pd.NaT, index=frame.index, dtype=DAY_DTYPE)
    return frame


def empty_money() -> pd.DataFrame:
    """Return a table of money without rows."""
    days = dict.fromkeys(_DAY_COLUMNS, DAY_DTYPE)
    dtypes = {**dict.fromkeys(MONEY_COLUMNS, "str"), "amount": "float64", **days}
    columns = {name: pd.Series(dtype=dtype) for name, dtype in dtypes.items()}
    return pd.DataFrame(columns)


def none_returned() -> pd.DataFrame:
    """Return a table of returned payments without rows."""
    dtypes = {name: "str" for name in RETURNED_COLUMNS}
    dtypes |= dict.fromkeys(("day", "known_on", "until"), DAY_DTYPE)
    columns = {name: pd.Series(dtype=dtypes[name]) for name in RETURNED_COLUMNS}
    return pd.DataFrame(columns)


def _returned(
    payments: pd.DataFrame,
    bookings: pd.DataFrame,
    invoices: pd.DataFrame,
) -> pd.DataFrame:
    """Return the payments that came back, with the customer of each.

    A refund is no such payment: the house paid it out.

    Parameters
    ----------
    payments : DataFrame
        As the ledger has them.
    bookings : DataFrame
        What they do, row by row.
    invoices : DataFrame
        What payments may refer to.
    """
    is_below_zero = (payments["kind"] == "payment") & (payments["amount"] < 0)
    is_returned = is_below_zero | (payments["kind"] == "returned")
    if not is_returned.any():
        return none_returned()
    rows = bookings[is_returned]
    rows = rows.assign(customer_id=_owners(rows, invoices))
    invoice_known_on = _of_ids(_first_known(invoices), rows["invoice_id"])
    known_on = pd.concat([rows["known_on"], invoice_known_on], axis=1).max(axis=1)
    return rows.assign(known_on=known_on)[list(RETURNED_COLUMNS)]


def _needs_posting(ledger: Ledger) -> bool:
    """Return whether any row is more than an invoice, or a payment of one."""
    payments = ledger["payments"]
    optional = payments.reindex(columns=["currency", "reverses"])
    documents = ledger["invoices"].reindex(columns=["document_id"])
    return bool(
        documents.notna().to_numpy().any()
        or len(ledger["allocations"])
        or len(ledger["cancellations"])
        or (ledger["invoices"]["amount"] <= 0).any()
        or payments["invoice_id"].isna().any()
        or (payments["amount"] < 0).any()
        or payments["kind"].isin(UNDOING_KINDS).any()
        or optional.notna().to_numpy().any()
    )


def _first_rows(items: pd.DataFrame) -> pd.DataFrame:
    """Return one row for each id; the versions of an item share what is asked here."""
    return items[~items.index.duplicated()]


def with_documents(invoices: pd.DataFrame) -> pd.DataFrame:
    """Return what payments may refer to: the invoices, then the documents by their id.

    The id of an invoice is meant rather than an equal id of a document, and a document
    of several customers is nobody's.
    """
    if "document_id" not in invoices:
        return invoices
    documents = invoices[invoices["document_id"].notna()]
    n_customers = documents.groupby("document_id")["customer_id"].transform("nunique")
    documents = documents[n_customers == 1]
    documents = documents.assign(invoice_id=documents["document_id"])
    invoice_ids = pd.Index(invoices["invoice_id"].unique())
    is_invoice = is_among(documents["invoice_id"], invoice_ids)
    return pd.concat([invoices.assign(document_id=None), documents[~is_invoice]])


def _of_each_item(frame: pd.DataFrame, items: pd.DataFrame) -> pd.DataFrame:
    """Return rows of items: a row of a document is one of each of its items."""
    if frame.empty or "document_id" not in items:
        return frame
    is_of_item = is_among(frame["invoice_id"], _first_rows(items).index)
    with_document = _first_rows(items).dropna(subset="document_id")
    pairs = pd.DataFrame(
        {
            "document": with_document["document_id"],
            "item_due_on": with_document["due_on"],
            "item_amount": with_document["amount"],
        }
    )
    of_documents = frame[~is_of_item].rename(columns={"invoice_id": "document"})
    of_documents = of_documents.assign(row=range(len(of_documents)))
    expanded = of_documents.merge(pairs.reset_index(), on="document")
    if expanded.empty:
        return frame
    if "amount" in expanded:
        expanded = _shared_out(expanded)
    return pd.concat([frame[is_of_item], expanded[list(frame.columns)]])


def _shared_out(rows: pd.DataFrame) -> pd.DataFrame:
    """Return rows whose amount is that of their document shared out over its items.

    The item due first takes of it what it is worth; the others take the rest. A row
    without an amount is about all of each item.
    """
    rows = rows.sort_values(["row", "item_due_on", "invoice_id"], kind="stable")
    worth = rows["item_amount"]
    taken_before = worth.groupby(rows["row"]).cumsum() - worth
    part = (rows["amount"] - taken_before).clip(lower=0.0)
    part = part.clip(upper=worth).round(_SHARE_DIGITS)
    rows = rows.assign(amount=part)
    return rows[part.isna() | (part > 0)]


def _bookings_of_payments(
    payments: pd.DataFrame, invoices: pd.DataFrame
) -> pd.DataFrame:
    """Return the payments with the sign of what they do."""
    if payments.empty:
        return _joined([])
    texts = ("customer_id", "invoice_id", "currency", "reverses")
    payments = _with_columns(payments, texts)
    is_undoing = payments["kind"].isin(UNDOING_KINDS)
    payments["amount"] = payments["amount"].where(
        ~is_undoing, -payments["amount"].abs()
    )
    payments["kind"] = payments["kind"].where(~is_undoing, "payment")
    owner = _owners(payments, invoices)
    first_rows = payments.assign(owner=owner)
    first_rows = first_rows.drop_duplicates("payment_id").set_index("payment_id")
    undone = _undone(payments, owner, first_rows)
    receipt_customer = _of_ids(first_rows["customer_id"], undone)
    receipt_currency = _of_ids(first_rows["currency"], undone)
    return pd.DataFrame(
        {
            "customer_id": payments["customer_id"].fillna(receipt_customer),
            "day": payments["paid_on"],
            "kind": payments["kind"],
            "amount": payments["amount"],
            "currency": payments["currency"].fillna(receipt_currency),
            "ends_on": undone.map(first_rows["paid_on"]),
            "known_on": payments["known_on"],
            "until": payments["until"],
            "invoice_id": payments["invoice_id"],
            "payment_id": payments["payment_id"],
            "undoes": undone,
            _RATES_KNOWN_ON: undone.map(first_rows["known_on"]),
        }
    )


def _undone(
    payments: pd.DataFrame,
    owner: pd.Series,
    first_rows: pd.DataFrame,
) -> pd.Series:
    """Return the payment that each row undoes, as far as it can be told.

    A row that names none, in another currency than its item, undoes the last of an
    equal amount: only so is it converted at the same rates. A payment of another
    customer is not undone, though the row names it.
    """
    receipt_known_on = payments["reverses"].map(first_rows["known_on"])
    # A receipt that became known after the row was not looked at when it was undone.
    is_known = receipt_known_on <= payments["known_on"]
    receipt_owner = _of_ids(first_rows["owner"], payments["reverses"])
    is_own = owner.isna() | receipt_owner.isna() | (owner == receipt_owner)
    undone = payments["reverses"].where(is_known & is_own)
    is_foreign = payments["currency"].notna() & payments["invoice_id"].notna()
    is_nameless = is_foreign & (payments["amount"] < 0) & undone.isna()
    keys = ["invoice_id", "kind", "currency"]
    for row in payments.index[is_nameless]:
        undoing = payments.loc[row]
        is_equal = (payments[keys] == undoing[keys]).all(axis=1)
        is_equal &= payments["amount"] == -undoing["amount"]
        is_equal &= payments["known_on"] <= undoing["known_on"]
        earlier = payments[is_equal & (payments["paid_on"] <= undoing["paid_on"])]
        if len(earlier):
            last = earlier.sort_values("paid_on", kind="stable").index[-1]
            undone[row] = earlier.loc[last, "payment_id"]
    return undone


def _placed(bookings: pd.DataFrame) -> pd.DataFrame:
    """Return bookings in which a receipt comes back from where it was booked.

    A return that names its receipt but no item takes first what of the receipt is on no
    item, then what is on its items, the last id first.
    """
    is_free = bookings["invoice_id"].isna() & bookings["payment_id"].notna()
    is_return = is_free & bookings["undoes"].notna() & (bookings["amount"] < 0)
    # An allocation takes from its receipt and has its id.
    is_return &= bookings["payment_id"] != bookings["undoes"]
    if not is_return.any():
        return bookings
    pieces = [bookings[~is_return]]
    for receipt_id in bookings.loc[is_return, "undoes"].unique():
        is_of_receipt = bookings["payment_id"] == receipt_id
        own = bookings[is_of_receipt | (bookings["undoes"] == receipt_id)]
        # A return that is undone itself is a booking like others here.
        own = own.assign(is_return=is_return & (bookings["undoes"] == receipt_id))
        own = own.sort_values(["known_on", "is_return", "day"], kind="stable")
        pieces += _pieces(own, receipt_id)
    return _joined(pieces).reset_index(drop=True)


def _pieces(own: pd.DataFrame, receipt_id: str) -> Iterable[pd.DataFrame]:
    """Yield what the returns of one receipt take from where it is booked.

    Parameters
    ----------
    own : DataFrame
        The bookings of the receipt and what undoes them, in the order in which they
        became known, with ``is_return``: whether the row has to find its items.
    receipt_id : str
        The receipt.
    """
    is_of_receipt = own["payment_id"] == receipt_id
    filled = own.loc[is_of_receipt, ["customer_id", "currency"]].bfill()
    earlier = own.iloc[:0]
    for row in range(len(own)):
        booking = own.iloc[[row]]
        if booking["is_return"].iloc[0]:
            if len(filled):
                booking = booking.fillna(filled.iloc[0].to_dict())
            booked = _booked(earlier, booking["known_on"].iloc[0])
            booking = _divided(booking, booked)
            yield booking
        earlier = pd.concat([earlier, booking]) if row else booking


def _booked(earlier: pd.DataFrame, day: pd.Timestamp) -> dict[str, float]:
    """Return how much of a receipt was on each item on a day; on none, under ``""``."""
    standing = earlier[~(earlier["until"] <= day)]
    items = standing["invoice_id"].fillna("")
    sums = standing["amount"].groupby(items).sum()
    return {str(item): float(amount) for item, amount in sums.items()}


def _divided(returned: pd.DataFrame, booked: Mapping[str, float]) -> pd.DataFrame:
    """Return what a return takes from each item, as rows of their own."""
    parts = _parts(booked, -float(returned["amount"].iloc[0]))
    places = [item or None for item, _ in parts]
    rows = pd.concat([returned] * len(parts))
    return rows.assign(
        amount=[-amount for _, amount in parts],
        invoice_id=pd.Series(places, dtype="object").to_numpy(),
    )


def _parts(booked: Mapping[str, float], amount: float) -> list[tuple[str, float]]:
    """Return how an amount is taken from items, the money without an item first.

    Examples
    --------
    >>> _parts({"": 10.0, "A1": 50.0, "A2": 60.0}, 100.0)
    [('', 10.0), ('A2', 60.0), ('A1', 30.0)]
    >>> _parts({"A1": 50.0}, 100.0)
    [('A1', 50.0), ('', 50.0)]
    """
    parts = []
    left = amount
    for item in ["", *sorted(booked, reverse=True)]:
        part = min(left, max(booked.get(item, 0.0), 0.0))
        if part > 0:
            parts.append((item, part))
            left -= part
    return [*parts, ("", left)] if left > 0 else parts


def _bookings_of_allocations(
    allocations: pd.DataFrame,
    money: Sequence[pd.DataFrame],
    invoices: pd.DataFrame,
) -> list[pd.DataFrame]:
    """Return what allocations put on items, and what they take from the customer.

    Parameters
    ----------
    allocations : DataFrame
        As the ledger has them.
    money : sequence of DataFrame
        What payments and what credit memos do: both can be allocated, by their ids.
    invoices : DataFrame
        What allocations may refer to.
    """
    if allocations.empty:
        return []
    receipts = _joined(money).drop_duplicates("payment_id").set_index("payment_id")
    # An item that changed its customer leaves the receipt behind.
    is_own = _are_of_one_customer(allocations, receipts, _first_of(invoices))
    allocations = _with_columns(allocations[is_own])
    if allocations.empty:
        return []
    receipt = receipts.loc[allocations["payment_id"]].reset_index()
    receipt.index = allocations.index
    known_on = [
        allocations["known_on"],
        receipt["known_on"],
        allocations["invoice_id"].map(_first_known(invoices)),
    ]
    on_items = receipt.assign(
        amount=allocations["amount"] * np.sign(receipt["amount"]),
        known_on=pd.concat(known_on, axis=1).max(axis=1),
        until=allocations["until"],
        invoice_id=allocations["invoice_id"],
        undoes=None,
    )
    from_money = on_items.assign(
        amount=-on_items["amount"],
        ends_on=receipt["day"],
        invoice_id=None,
        undoes=receipt["payment_id"],
    )
    return [on_items, from_money]


def _are_of_one_customer(
    allocations: pd.DataFrame,
    receipts: pd.DataFrame,
    invoices: pd.DataFrame,
) -> pd.Series:
    """Return whether the receipt and the item of an allocation have one customer.

    Parameters
    ----------
    allocations : DataFrame
        Columns ``payment_id`` and ``invoice_id``.
    receipts : DataFrame
        The payments, one row for each id.
    invoices : DataFrame
        What allocations may refer to, by id.
    """
    owners = invoices["customer_id"]
    owner_of_receipt = _of_ids(owners, receipts["invoice_id"])
    owner_of_receipt = owner_of_receipt.fillna(receipts["customer_id"])
    receipt_owner = _of_ids(owner_of_receipt, allocations["payment_id"])
    return receipt_owner == _of_ids(owners, allocations["invoice_id"])


def _bookings_of_memos(memos: pd.DataFrame) -> pd.DataFrame:
    """Return credit memos as credit notes of the customer.

    A memo that names a document, or an invoice as one, is for its items first.
    """
    memos = _with_columns(memos, ("document_id",))
    return pd.DataFrame(
        {
            "customer_id": memos["customer_id"],
            "day": memos["issued_on"],
            "kind": "credit_note",
            "amount": -memos["amount"],
            "currency": memos["currency"],
            "known_on": memos["known_on"],
            "until": memos["until"],
            "document_id": memos["document_id"],
        },
        columns=_BOOKING_COLUMNS,
    ).reset_index(drop=True)


def _bookings_of_memo_write_offs(ledger: Ledger, memos: pd.DataFrame) -> pd.DataFrame:
    """Return what was written off of credit memos: the customer loses it."""
    write_offs = _with_columns(ledger["write_offs"])
    write_offs = write_offs[
        is_among(write_offs["invoice_id"], _first_rows(memos).index)
    ]
    memo = _first_rows(memos).reindex(write_offs["invoice_id"])
    return pd.DataFrame(
        {
            "customer_id": memo["customer_id"].to_numpy(),
            "day": write_offs["written_off_on"],
            "kind": "credit_note",
            "amount": -write_offs["amount"].abs(),
            "currency": memo["currency"].to_numpy(),
            "ends_on": memo["issued_on"].to_numpy(),
            "known_on": write_offs["known_on"],
            "until": write_offs["until"],
            "invoice_id": write_offs["invoice_id"],
        },
        columns=_BOOKING_COLUMNS,
    )


def _cancelled(
    bookings: pd.DataFrame, ledger: Ledger, memos: pd.DataFrame
) -> pd.DataFrame:
    """Return what undoes cancelled payments, and cancelled memos and documents."""
    if ledger["cancellations"].empty:
        return _joined([])
    cancellations = _with_columns(ledger["cancellations"], ("invoice_id", "payment_id"))
    bookings = bookings.assign(row=np.arange(len(bookings)))
    payments = bookings[bookings["payment_id"].notna()]
    credit = _credit_of_memos_and_documents(bookings, ledger, memos)
    pairs = pd.concat(
        [
            _pairs(cancellations, payments, "payment_id"),
            _pairs(cancellations, credit, "invoice_id"),
        ]
    )
    # Nothing is cancelled twice; a cancellation that was withdrawn does not count.
    pairs = pairs.sort_values("known_on", kind="stable")
    is_repeated = pairs["until"].isna() & pairs.duplicated(["row", "until"])
    return pairs.loc[~is_repeated, list(_BOOKING_COLUMNS)]


def _pairs(
    cancellations: pd.DataFrame,
    bookings: pd.DataFrame,
    key: str,
) -> pd.DataFrame:
    """Return what undoes each booking whose key was cancelled.

    Parameters
    ----------
    cancellations : DataFrame
        Columns ``key``, ``cancelled_on``, ``known_on``, ``until``.
    bookings : DataFrame
        Columns `_BOOKING_COLUMNS` and ``row``, the number of the booking.
    key : str
        ``payment_id`` or ``invoice_id``.
    """
    rows = cancellations[cancellations[key].notna()]
    columns = [key, "cancelled_on", "known_on", "until"]
    pairs = rows[columns].merge(bookings, on=key, suffixes=("", "_undone"))
    rates_known_on = pairs[_RATES_KNOWN_ON].fillna(pairs["known_on_undone"])
    return pairs.assign(
        ends_on=pairs["day"],
        day=pairs["cancelled_on"],
        amount=-pairs["amount"],
        known_on=pairs[["known_on", "known_on_undone"]].max(axis=1),
        until=pairs[["until", "until_undone"]].min(axis=1),
        **{_RATES_KNOWN_ON: rates_known_on},
        payment_id=None,
        undoes=None,
    )


def _credit_of_memos_and_documents(
    bookings: pd.DataFrame, ledger: Ledger, memos: pd.DataFrame
) -> pd.DataFrame:
    """Return the credit that goes with a memo or a document, by their ids.

    What is credited on an item goes with the item.
    """
    memos = _with_columns(memos, ("document_id",))
    rows = _bookings_of_memos(memos)
    rows = rows.assign(row=-1 - np.arange(len(rows)))
    invoices = ledger["invoices"]
    items = pd.Index(invoices.loc[invoices["amount"] > 0, "invoice_id"].unique())
    is_credit = bookings["kind"] == "credit_note"
    is_credit &= ~is_among(bookings["invoice_id"], items)
    frames = [
        rows.assign(invoice_id=memos.index),
        rows.assign(invoice_id=memos["document_id"].to_numpy()),
        bookings[is_credit & bookings["invoice_id"].notna()],
    ]
    numbers = pd.concat([frame["row"] for frame in frames])
    return _joined(frames).assign(row=numbers.to_numpy())


def _first_known(invoices: pd.DataFrame) -> pd.Series:
    """Return the day on which each invoice became known, by its id."""
    return invoices.groupby("invoice_id")["known_on"].min()


def _of_ids(values: pd.Series, ids: pd.Series) -> pd.Series:
    """Return the value of each id, empty if there is none.

    Not by `map`, which makes numbers of a column without rows: a customer may have
    money and no invoice.
    """
    return values.reindex(ids).set_axis(ids.index)


def _first_of(invoices: pd.DataFrame) -> pd.DataFrame:
    """Return one row for each invoice, by its id."""
    return invoices.drop_duplicates("invoice_id").set_index("invoice_id")


def _owners(rows: pd.DataFrame, invoices: pd.DataFrame) -> pd.Series:
    """Return the customer of each row: of its item, or else the stated one."""
    owner = _of_ids(_first_of(invoices)["customer_id"], rows["invoice_id"])
    return owner.fillna(rows["customer_id"])


def _with_owners(bookings: pd.DataFrame, invoices: pd.DataFrame) -> pd.DataFrame:
    """Return bookings that name the customer of their item, numbered anew."""
    owner = _owners(bookings, invoices)
    return bookings.assign(customer_id=owner).reset_index(drop=True)


def _with_items(bookings: pd.DataFrame, invoices: pd.DataFrame) -> pd.DataFrame:
    """Return bookings with their document; none is known before its invoice."""
    first_known = _of_ids(_first_known(invoices), bookings["invoice_id"])
    invoice_known_on = first_known.astype(DAY_DTYPE)
    known_on = pd.concat([bookings["known_on"], invoice_known_on], axis=1).max(axis=1)
    rates_known_on = bookings[_RATES_KNOWN_ON].fillna(known_on)
    rates_known_on = rates_known_on.mask(
        rates_known_on < invoice_known_on, invoice_known_on
    )
    owners = _first_of(invoices)
    document = _with_columns(owners, ("document_id",))["document_id"]
    return bookings.assign(
        known_on=known_on,
        **{_RATES_KNOWN_ON: rates_known_on},
        document_id=_of_ids(document, bookings["invoice_id"]).fillna(
            bookings["document_id"]
        ),
    )


def _with_places(bookings: pd.DataFrame, invoices: pd.DataFrame) -> pd.DataFrame:
    """Return bookings with ``has_item``: whether they are of an item, or are money.

    A booking of an invoice that was a credit memo for a time is a row for each time.
    """
    is_item = invoices["amount"] > 0
    items = pd.Index(invoices.loc[is_item, "invoice_id"].unique())
    memos = pd.Index(invoices.loc[~is_item, "invoice_id"].unique())
    has_item = is_among(bookings["invoice_id"], items)
    bookings = bookings.assign(has_item=has_item)
    is_changed = has_item & is_among(bookings["invoice_id"], memos)
    if not is_changed.any():
        return bookings
    versions = _with_columns(invoices).assign(has_item=is_item)
    versions = versions[["invoice_id", "known_on", "until", "has_item"]]
    changed = bookings[is_changed].drop(columns="has_item")
    times = changed.merge(versions, on="invoice_id", suffixes=("", "_version"))
    times["known_on"] = times[["known_on", "known_on_version"]].max(axis=1)
    times["until"] = times[["until", "until_version"]].min(axis=1)
    times = times[~(times["until"] <= times["known_on"])]
    parts = [bookings[~is_changed], times[bookings.columns]]
    return pd.concat(parts, ignore_index=True)


def _payments(bookings: pd.DataFrame) -> pd.DataFrame:
    """Return bookings on items as a table of payments."""
    if bookings.empty:
        return empty_table("payments").assign(ends_on=pd.Series(dtype=DAY_DTYPE))
    payments = bookings.rename(columns={"day": "paid_on"})
    payments["payment_id"] = payments["payment_id"].fillna("")
    return payments


def _money(bookings: pd.DataFrame, items: pd.DataFrame, reporting: str) -> pd.DataFrame:
    """Return bookings without an item, each with a currency.

    Money without a currency is in that of the customer's items known by then, if they
    have one only, else in the reporting currency.
    """
    if bookings.empty:
        return empty_money()
    currency = bookings["currency"]
    if currency.isna().any():
        currency = currency.fillna(_currency_of_items(bookings, items))
    money = bookings.assign(currency=currency.fillna(reporting))
    return money[list(MONEY_COLUMNS)]


def _currency_of_items(bookings: pd.DataFrame, items: pd.DataFrame) -> pd.Series:
    """Return the currency of the customer's items, empty if they have none or several.

    Only items count that were known with the booking.
    """
    in_order = items.sort_values("known_on", kind="stable")
    firsts = in_order.drop_duplicates("customer_id").set_index("customer_id")
    first_currency = _of_ids(firsts["currency"], in_order["customer_id"])
    others = in_order[in_order["currency"] != first_currency]
    other_known_on = others.groupby("customer_id")["known_on"].min()
    customer = bookings["customer_id"]
    known_on = bookings["known_on"].to_numpy()
    has_one = firsts["known_on"].reindex(customer).to_numpy() <= known_on
    has_one &= ~(other_known_on.reindex(customer).to_numpy() <= known_on)
    return _of_ids(firsts["currency"], customer).where(has_one)
