"""Adding rows to what is stored of customers, without reading all of it.

Most rows that arrive are new invoices and new payments of known invoices. They change
no stored row, so that it is enough to write them beside the others (`data.addition`).
A customer with any other row is left to `data.batch_update`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd
import sqlalchemy as sa

from obligor.arrays import Bools, Floats
from obligor.data.account import (
    ACCOUNTING,
    CREDIT_NOTE,
    EVENT_TABLES,
    PAYMENT,
    Account,
    Events,
    Items,
    select,
    unpacked,
)
from obligor.data.account_building import minor_units
from obligor.data.addition import Addition, unpacked_addition
from obligor.data.days import OPEN_END, day_number, days
from obligor.data.ledger import is_among
from obligor.data.money import minor_digits
from obligor.data.row_building import no_rows
from obligor.data.row_packing import OWNER, STATED_ON, UNTIL, packed_rows
from obligor.data.row_store import INDEXED, AddedPart, LedgerState, RowStore
from obligor.data.updating import Tables, empty_days, rows_of

# Reading an account puts them in their places, which takes 0.1 ms by then. One more,
# and the account is packed anew.
MOST_ADDED_ROWS = 40
# Of other tables nothing tells whether a row is stored, unless all are read.
APPENDABLE = ("invoices", "payments")
_PAYMENT_ORDER = list(EVENT_TABLES).index("payments")
# The number of the currency of an item.
_CURRENCY = "#currency"


@dataclass(frozen=True)
class _Stored:
    """What is stored of a customer, as far as rows that are added depend on it.

    Attributes
    ----------
    addition : Addition or None
        What was added to the account before.
    currency_of : dict of str to int
        The number of the currency of each item that a payment may be added to, by id.
    booked_on : frozenset of tuple of str and int
        The items and days on which nothing may be added: among bookings of one item
        and day, the order would depend on what the others are.
    """

    addition: Addition | None
    currency_of: dict[str, int]
    booked_on: frozenset[tuple[str, int]]


class Appender:
    """Adds rows to what is stored, within a transaction.

    Parameters
    ----------
    rows : RowStore
        Where the rows are.
    connection : Connection
        In a transaction.
    state : LedgerState
        What is true of the whole ledger.
    day : Timestamp
        The day from which on the rows are known.
    """

    def __init__(
        self,
        rows: RowStore,
        connection: sa.Connection,
        state: LedgerState,
        day: pd.Timestamp,
    ) -> None:
        self._rows = rows
        self._connection = connection
        self._state = state
        self._day = day

    def append(self, tables: Tables) -> pd.Index:
        """Add the rows of all customers whose stored rows stay as they are.

        Parameters
        ----------
        tables : mapping of str to DataFrame
            Rows that arrived, each with its customer.

        Returns
        -------
        Index
            The customers whose rows were added.
        """
        customer_ids = self._candidates(tables)
        if customer_ids.empty:
            return customer_ids
        stored = self._stored(customer_ids, tables)
        numbered = self._numbered(tables, stored)
        payments = numbered["payments"]
        strangers = payments.loc[payments[_CURRENCY] < 0, OWNER].unique()
        customer_ids = pd.Index(list(stored)).difference(pd.Index(strangers))
        if not customer_ids.empty:
            own = _of_customers(numbered, customer_ids)
            self._write(own, customer_ids, stored)
        return customer_ids

    def _candidates(self, tables: Tables) -> pd.Index:
        """Return the customers with nothing but new rows of a simple kind."""
        excluded = list[pd.Series]()
        owners = list[pd.Series]()
        for table, frame in tables.items():
            if table not in APPENDABLE:
                excluded.append(frame[OWNER])
                continue
            owners.append(frame[OWNER])
            stored = self._stored_ids(table, frame)
            ids = frame[INDEXED[table].column]
            is_stored = is_among(ids, pd.Index(stored["id"].unique()))
            is_simple = _is_simple(table, frame) & ~is_stored
            excluded.append(frame.loc[~is_simple, OWNER])
            # The row may move away from the customer that has it.
            excluded.append(stored[OWNER])
        if not owners:
            return pd.Index([])
        customer_ids = pd.Index(pd.concat(owners).unique())
        candidates: pd.Index = customer_ids.difference(pd.concat(excluded).unique())
        return candidates

    def _stored_ids(self, table: str, frame: pd.DataFrame) -> pd.DataFrame:
        """Return which ids of some rows may be stored, and of whom."""
        ids = frame[INDEXED[table].column]
        pairs = self._rows.owners(self._connection, table, ids)
        if table != "invoices":
            return pairs
        # What was booked on a document of this id is the invoice's from now on.
        documents = self._rows.owners(self._connection, "documents", ids)
        return pd.concat([pairs, documents], ignore_index=True)

    def _stored(self, customer_ids: pd.Index, tables: Tables) -> dict[str, _Stored]:
        """Return what is stored of those of some customers whose rows can be added."""
        n_arrived = pd.concat(
            [tables[table][OWNER] for table in APPENDABLE if table in tables]
        ).value_counts()
        with_invoices = set[str]()
        if "invoices" in tables:
            with_invoices.update(tables["invoices"][OWNER])
        stored = dict[str, _Stored]()
        packed = self._rows.packed_accounts(self._connection, customer_ids.tolist())
        for customer_id, own in packed.items():
            account = unpacked(own.account)
            addition = unpacked_addition(own.addition) if own.addition else None
            n_added = int(n_arrived[customer_id])
            n_added += addition.n_rows if addition else 0
            is_addable = self._is_addable(account, customer_id in with_invoices)
            if is_addable and n_added <= MOST_ADDED_ROWS:
                stored[customer_id] = _Stored(
                    addition=addition,
                    currency_of=_currencies_of_items(account, addition),
                    booked_on=_booked_on(account),
                )
        return stored

    def _is_addable(self, account: Account, has_invoices: bool) -> bool:
        """Return whether new rows change nothing that an account has by now."""
        if account.accounting != ACCOUNTING or account.set_aside:
            return False
        if account.is_plain:
            return True
        today = day_number(self._day.date())
        for table in (account.events, account.money):
            # What undoes something looks at everything that is known by then.
            if ((table.value < 0) & (table.known_on >= today)).any():
                return False
        # Money without a currency may take that of the items.
        is_settled = len(account.money.day) == 0 or len(self._state.currencies) == 1
        return is_settled or not has_invoices

    def _numbered(
        self, tables: Tables, stored: Mapping[str, _Stored]
    ) -> dict[str, pd.DataFrame]:
        """Return the rows of some customers with the number of their item's currency.

        It is -1 if a payment is of no item of the customer, or in another currency.
        """
        own = _of_customers(tables, pd.Index(list(stored)))
        codes = pd.Index(self._state.currencies)
        invoices = own["invoices"]
        invoices[_CURRENCY] = codes.get_indexer(pd.Index(invoices["currency"]))
        for customer_id, invoice_id, currency in zip(
            invoices[OWNER].tolist(),
            invoices["invoice_id"].tolist(),
            invoices[_CURRENCY].tolist(),
            strict=True,
        ):
            stored[customer_id].currency_of[invoice_id] = currency
        payments = own["payments"]
        numbers = list[int]()
        for customer_id, invoice_id, day in zip(
            payments[OWNER].tolist(),
            payments["invoice_id"].tolist(),
            days(payments["paid_on"]).tolist(),
            strict=True,
        ):
            own_stored = stored[customer_id]
            is_booked = (invoice_id, day) in own_stored.booked_on
            number = own_stored.currency_of.get(invoice_id, -1)
            numbers.append(-1 if is_booked else number)
        currency = np.array(numbers, dtype=np.int64)
        stated = codes.get_indexer(pd.Index(payments["currency"]))
        differs = payments["currency"].notna().to_numpy() & (stated != currency)
        payments[_CURRENCY] = np.where(differs, -1, currency)
        return {"invoices": invoices, "payments": payments}

    def _write(
        self,
        tables: Tables,
        customer_ids: pd.Index,
        stored: Mapping[str, _Stored],
    ) -> None:
        """Write rows, and what they add to the accounts."""
        rows = {}
        for table, frame in tables.items():
            days_known = {STATED_ON: frame["known_on"], UNTIL: empty_days(frame.index)}
            plain = frame.drop(columns=_CURRENCY)
            rows[table] = plain.assign(**days_known, known_on=self._day)
        additions = self._additions(tables, customer_ids)
        parts = (
            _part(customer_id, content, stored[customer_id], additions[customer_id])
            for customer_id, content in packed_rows(rows)
        )
        self._rows.write_parts(self._connection, parts)
        self._rows.write_ids(self._connection, rows)

    def _additions(self, tables: Tables, customer_ids: pd.Index) -> dict[str, Addition]:
        """Return what rows add to the account of each customer."""
        invoices = _ByCustomer(tables["invoices"], customer_ids)
        payments = _ByCustomer(tables["payments"], customer_ids)
        currencies = self._state.currencies
        units = np.array([10.0 ** minor_digits(code) for code in currencies])
        today = day_number(self._day.date())
        items = _items(invoices.frame, units, today)
        events = _events(payments.frame, units, today)
        invoice_ids = invoices.frame["invoice_id"].tolist()
        paid_ids = payments.frame["invoice_id"].tolist()
        additions = dict[str, Addition]()
        for index, customer_id in enumerate(customer_ids.tolist()):
            own_items = select(items, invoices.spans[index])
            last_currency = int(own_items.currency.max(initial=0))
            additions[customer_id] = Addition(
                n_parts=1,
                currencies=currencies[: last_currency + 1],
                invoice_ids=invoice_ids[invoices.spans[index]],
                items=own_items,
                paid_ids=paid_ids[payments.spans[index]],
                events=select(events, payments.spans[index]),
            )
        return additions


def _is_simple(table: str, frame: pd.DataFrame) -> Bools:
    """Return which rows are a plain invoice, or a plain payment of one, shape (n,)."""
    columns = ["document_id", "invoice_id", "reverses", "kind"]
    keys = frame.reindex(columns=columns)
    is_simple = (frame["amount"] > 0) & keys["document_id"].isna()
    if table == "payments":
        is_simple &= keys["invoice_id"].notna() & keys["reverses"].isna()
        is_simple &= keys["kind"].isin(["payment", "credit_note"])
    return is_simple.to_numpy(dtype=bool)


def _currencies_of_items(account: Account, addition: Addition | None) -> dict[str, int]:
    """Return the number of the currency of each item, by its id.

    Items are left out whose versions differ in it, or of which none is true any more.
    """
    numbers = account.items.currency.tolist()
    currency_of = dict(zip(account.invoice_ids, numbers, strict=True))
    if not account.is_plain:
        is_open = set[str]()
        differs = set[str]()
        for invoice_id, number, until in zip(
            account.invoice_ids,
            numbers,
            account.items.until.tolist(),
            strict=True,
        ):
            if until == OPEN_END:
                is_open.add(invoice_id)
            if currency_of[invoice_id] != number:
                differs.add(invoice_id)
        for invoice_id in {*currency_of} - (is_open - differs):
            del currency_of[invoice_id]
    if addition is not None:
        added = addition.items.currency.tolist()
        currency_of.update(zip(addition.invoice_ids, added, strict=True))
    return currency_of


def _booked_on(account: Account) -> frozenset[tuple[str, int]]:
    """Return the items and days with a payment that may not be one as it was sent.

    In a plain account all of them are, in the order in which they came.
    """
    if account.is_plain:
        return frozenset()
    events = account.events
    is_payment = events.order == _PAYMENT_ORDER
    item_numbers = events.item[is_payment].tolist()
    invoice_ids = [account.invoice_ids[item] for item in item_numbers]
    booked_days = events.day[is_payment].tolist()
    return frozenset(zip(invoice_ids, booked_days, strict=True))


def _of_customers(tables: Tables, customer_ids: pd.Index) -> dict[str, pd.DataFrame]:
    """Return the invoices and payments of some customers, with all columns."""
    own = {}
    for table in APPENDABLE:
        frame = tables.get(table)
        if frame is None:
            frame = no_rows(table).drop(columns=[UNTIL, STATED_ON])
        optional = {name: None for name in ("currency",) if name not in frame}
        own[table] = frame[rows_of(frame, customer_ids)].assign(**optional)
    return own


class _ByCustomer:
    """The rows of a table by customer, and which of them each customer has."""

    def __init__(self, frame: pd.DataFrame, customer_ids: pd.Index) -> None:
        customer = customer_ids.get_indexer(pd.Index(frame[OWNER]))
        order = np.argsort(customer, kind="stable")
        bounds = np.searchsorted(customer[order], np.arange(len(customer_ids) + 1))
        self.frame = frame.iloc[order]
        self.spans = [slice(first, end) for first, end in pairwise(bounds.tolist())]


def _items(invoices: pd.DataFrame, units: Floats, today: int) -> Items:
    n_rows = len(invoices)
    currency = invoices[_CURRENCY].to_numpy(dtype=np.int64)
    return Items(
        issued=days(invoices["issued_on"]),
        due=days(invoices["due_on"]),
        amount=minor_units(invoices["amount"], units[currency]),
        currency=currency,
        known_on=np.full(n_rows, today),
        until=np.full(n_rows, OPEN_END),
        document=np.zeros(n_rows, dtype=np.int64),
    )


def _events(payments: pd.DataFrame, units: Floats, today: int) -> Events:
    n_rows = len(payments)
    currency = payments[_CURRENCY].to_numpy(dtype=np.int64)
    is_credit_note = (payments["kind"] == "credit_note").to_numpy()
    return Events(
        item=np.zeros(n_rows, dtype=np.int64),
        day=days(payments["paid_on"]),
        order=np.full(n_rows, _PAYMENT_ORDER),
        kind=np.where(is_credit_note, CREDIT_NOTE, PAYMENT),
        value=minor_units(payments["amount"], units[currency]),
        end=np.full(n_rows, OPEN_END),
        known_on=np.full(n_rows, today),
        until=np.full(n_rows, OPEN_END),
    )


def _part(
    customer_id: str,
    rows: bytes,
    stored: _Stored,
    addition: Addition,
) -> AddedPart:
    """Return rows of a customer as they are written behind those added before."""
    earlier = stored.addition
    if earlier is None:
        return AddedPart(customer_id, 0, rows, addition.packed())
    total = earlier.followed_by(addition)
    return AddedPart(customer_id, earlier.n_parts, rows, total.packed())
