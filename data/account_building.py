"""Building accounts, from a ledger or from the plain rows of a request."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from operator import itemgetter
from typing import Any

import numpy as np
import pandas as pd

from obligor.arrays import Floats, Ints
from obligor.data.account import (
    CREDIT_NOTE,
    EVENT_TABLES,
    PAYMENT,
    RATIOS,
    Account,
    Events,
    Items,
    Limits,
    Money,
    Rates,
    Registration,
    Returned,
    Statements,
    currencies_in_use,
    select,
)
from obligor.data.days import OPEN_END, day_number, days
from obligor.data.ledger import Ledger, documents_of
from obligor.data.money import minor_digits
from obligor.data.posting import PostedLedger, posted
from obligor.data.settling import rough_items

# A row as it was sent: a cell is a text, a number or a date.
Row = Mapping[str, Any]


@dataclass(frozen=True)
class LedgerFrame:
    """What is true of a whole ledger, if accounts of a part of it are built.

    Attributes
    ----------
    currencies : tuple of str
        Every currency in use, in the order in which accounts number them.
    observed_until : date
        The last day that the ledger covers.
    """

    currencies: tuple[str, ...]
    observed_until: date


def accounts_of(ledger: Ledger, whole: LedgerFrame | None = None) -> Iterator[Account]:
    """Yield every customer's account, by id, without rates.

    Parameters
    ----------
    ledger : Ledger
        A checked ledger.
    whole : LedgerFrame, optional
        Of the ledger that these customers are a part of.
    """
    posting = posted(ledger)
    if whole is None:
        # Of the ledger, not of what is posted: a memo or a receipt may be its last row.
        whole = frame_of(posting, ledger.observed_until)
    yield from posted_accounts(posting, whole)


def frame_of(posting: PostedLedger, observed_until: date) -> LedgerFrame:
    """Return what is true of a whole ledger."""
    currencies = _currencies(posting.ledger, posting.money)
    return LedgerFrame(tuple(currencies), observed_until)


def posted_accounts(posting: PostedLedger, whole: LedgerFrame) -> Iterator[Account]:
    """Yield every customer's account, by id, without rates.

    Parameters
    ----------
    posting : PostedLedger
        A ledger of which each row says what it does.
    whole : LedgerFrame
        Of the ledger that these customers are a part of.
    """
    ledger = posting.ledger
    customers = ledger["customers"].sort_values("customer_id", ignore_index=True)
    columns = _LedgerColumns.of(
        posting, pd.Index(customers["customer_id"]), pd.Index(whole.currencies)
    )
    registered = Registration(
        days(customers["registered_on"]), days(customers["known_on"])
    )
    sectors = _texts(customers, "sector")
    countries = _texts(customers, "country")
    group_limits = _group_limits(customers)
    for index, customer_id in enumerate(customers["customer_id"].tolist()):
        own = columns.of_customer(index)
        n_currencies = currencies_in_use(own.items, own.limits, own.money)
        yield Account(
            customer_id=customer_id,
            currency=ledger.currency,
            currencies=columns.currencies[:n_currencies],
            invoice_ids=own.invoice_ids,
            registered=select(registered, slice(index, index + 1)),
            items=own.items,
            events=own.events,
            limits=own.limits,
            statements=own.statements,
            observed_until=whole.observed_until,
            sector=sectors[index],
            country=countries[index],
            money=own.money,
            unapplied_policy=ledger.unapplied_policy,
            set_aside=ledger.set_aside.get(customer_id, 0),
            is_plain=own.is_plain,
            returned=own.returned,
            group_limit=group_limits[index],
        )


@dataclass(frozen=True)
class _CustomerColumns:
    """One customer's share of `_LedgerColumns`."""

    invoice_ids: list[str]
    items: Items
    events: Events
    limits: Limits
    statements: Statements
    money: Money
    returned: Returned
    is_plain: bool


@dataclass(frozen=True)
class _LedgerColumns:
    """A ledger's columns sorted by customer, and where each customer's rows start.

    The rows of customer n are ``starts[n] .. starts[n + 1]``, for each table.
    """

    currencies: tuple[str, ...]
    invoice_ids: list[str]
    items: Items
    events: Events
    limits: Limits
    statements: Statements
    money: Money
    returned: Returned
    n_rough_before: list[int]
    item_starts: list[int]
    event_starts: list[int]
    limit_starts: list[int]
    statement_starts: list[int]
    money_starts: list[int]
    returned_starts: list[int]

    @classmethod
    def of(
        cls,
        posting: PostedLedger,
        customer_ids: pd.Index,
        currencies: pd.Index,
    ) -> _LedgerColumns:
        """Return the columns of a ledger whose customers are in this order."""
        ledger = posting.ledger
        invoices = _by_customer(
            ledger["invoices"], customer_ids, ["invoice_id", "known_on"]
        )
        units = np.array([10.0 ** minor_digits(code) for code in currencies])
        items = _items(invoices, currencies, units)
        invoice_ids = pd.Index(invoices["invoice_id"])
        events = events_of(ledger, invoice_ids, units[items.currency])
        limits = _by_customer(ledger["limits"], customer_ids, ["known_on"])
        statements = _by_customer(
            ledger["financials"], customer_ids, ["period_end", "known_on"]
        )
        money = _by_customer(posting.money, customer_ids, ["day", "kind", "known_on"])
        returned = _by_customer(
            posting.returned, customer_ids, ["day", "payment_id", "known_on"]
        )
        is_rough = rough_items(items, events, invoice_ids.duplicated(keep=False))
        customers = np.arange(len(customer_ids) + 1)
        item_starts = np.searchsorted(invoices["customer"], customers)
        return cls(
            currencies=tuple(currencies),
            invoice_ids=invoice_ids.tolist(),
            items=items,
            events=events,
            limits=_limits(limits, currencies),
            statements=_statements(statements),
            money=_money(money, currencies, units, _money_documents(money, invoices)),
            returned=_returned(returned),
            n_rough_before=np.concatenate([[0], is_rough.cumsum()]).tolist(),
            item_starts=item_starts.tolist(),
            event_starts=np.searchsorted(events.item, item_starts).tolist(),
            limit_starts=np.searchsorted(limits["customer"], customers).tolist(),
            statement_starts=np.searchsorted(
                statements["customer"], customers
            ).tolist(),
            money_starts=np.searchsorted(money["customer"], customers).tolist(),
            returned_starts=np.searchsorted(returned["customer"], customers).tolist(),
        )

    def of_customer(self, index: int) -> _CustomerColumns:
        """Return the columns of one customer; events count items from its first."""
        item_rows = _span(self.item_starts, index)
        money_rows = _span(self.money_starts, index)
        events = select(self.events, _span(self.event_starts, index))
        items = select(self.items, item_rows)
        money = select(self.money, money_rows)
        has_document = money.document >= 0
        n_rough_before = self.n_rough_before[item_rows.start]
        n_rough = self.n_rough_before[item_rows.stop] - n_rough_before
        return _CustomerColumns(
            invoice_ids=self.invoice_ids[item_rows],
            items=items._replace(document=items.document - item_rows.start),
            events=events._replace(item=events.item - item_rows.start),
            limits=select(self.limits, _span(self.limit_starts, index)),
            statements=select(self.statements, _span(self.statement_starts, index)),
            money=money._replace(
                document=money.document - has_document * item_rows.start
            ),
            returned=select(self.returned, _span(self.returned_starts, index)),
            is_plain=n_rough == 0 and money_rows.start == money_rows.stop,
        )


def _span(starts: list[int], index: int) -> slice:
    return slice(starts[index], starts[index + 1])


def _by_customer(
    frame: pd.DataFrame,
    customer_ids: pd.Index,
    columns: list[str],
) -> pd.DataFrame:
    """Return a table with each row's customer as a number, sorted by it and columns."""
    customer = customer_ids.get_indexer(pd.Index(frame["customer_id"]))
    frame = frame.assign(customer=customer)
    return frame.sort_values(
        ["customer", *columns],
        kind="stable",
        ignore_index=True,
    )


def currencies_of(ledger: Ledger) -> tuple[str, ...]:
    """Return the currencies of a ledger in order of use, the reporting one first."""
    return tuple(_currencies(ledger, posted(ledger).money))


def _currencies(ledger: Ledger, money: pd.DataFrame) -> pd.Index:
    """Return the currencies of a ledger in order of use, the reporting one first."""
    # The order is stored with each account, so it must not change.
    currencies = pd.Index([ledger.currency])
    for frame in (ledger["invoices"], ledger["limits"], money):
        used = pd.Index(frame["currency"].unique())
        currencies = currencies.append(used)
    return currencies.drop_duplicates()


def _items(invoices: pd.DataFrame, currencies: pd.Index, units: Floats) -> Items:
    currency = currencies.get_indexer(pd.Index(invoices["currency"]))
    return Items(
        issued=days(invoices["issued_on"]),
        due=days(invoices["due_on"]),
        amount=minor_units(invoices["amount"], units[currency]),
        currency=currency,
        known_on=days(invoices["known_on"]),
        until=_ends(invoices, "until"),
        document=_documents(invoices),
    )


def _documents(invoices: pd.DataFrame) -> Ints:
    """Return the number of each item's document: that of its first item."""
    n_items = len(invoices)
    if "document_id" not in invoices or invoices["document_id"].isna().all():
        return np.arange(n_items)
    numbers, _ = pd.factorize(_document_keys(invoices))
    first_item = np.full(n_items, n_items)
    np.minimum.at(first_item, numbers, np.arange(n_items))
    return first_item[numbers]


def _document_keys(invoices: pd.DataFrame) -> pd.MultiIndex:
    keys = [invoices["customer"], documents_of(invoices)]
    return pd.MultiIndex.from_arrays(keys)


def _money_documents(money: pd.DataFrame, invoices: pd.DataFrame) -> Ints:
    """Return the number of the document that money is for, -1 if there is none."""
    # Credit memos may be all there is of a document.
    if money["document_id"].isna().all() or invoices.empty:
        return np.full(len(money), -1)
    documents = _document_keys(invoices)
    is_first = ~documents.duplicated()
    keys = pd.MultiIndex.from_arrays([money["customer"], money["document_id"]])
    index = documents[is_first].get_indexer(keys)
    return np.where(index < 0, -1, np.flatnonzero(is_first)[index])


def _money(
    money: pd.DataFrame,
    currencies: pd.Index,
    units: Floats,
    documents: Ints,
) -> Money:
    currency = currencies.get_indexer(pd.Index(money["currency"]))
    is_credit_note = (money["kind"] == "credit_note").to_numpy()
    return Money(
        day=days(money["day"]),
        kind=np.where(is_credit_note, CREDIT_NOTE, PAYMENT),
        value=minor_units(money["amount"], units[currency]),
        currency=currency,
        end=_ends(money, "ends_on"),
        known_on=days(money["known_on"]),
        until=_ends(money, "until"),
        document=documents,
    )


def _returned(rows: pd.DataFrame) -> Returned:
    """Return the payments that came back, numbered for each customer by itself."""
    number = np.zeros(len(rows), dtype=np.int64)
    if len(rows):
        ids = rows.groupby("customer")["payment_id"]
        number = ids.transform(lambda own: pd.factorize(own)[0]).to_numpy(np.int64)
    return Returned(
        day=days(rows["day"]),
        number=number,
        known_on=days(rows["known_on"]),
        until=_ends(rows, "until"),
    )


def _ends(frame: pd.DataFrame, column: str) -> Ints:
    """Return a column of days, `OPEN_END` if a row has none."""
    ends = np.full(len(frame), OPEN_END)
    if column in frame:
        has_end = frame[column].notna().to_numpy()
        ends[has_end] = days(frame[column][has_end])
    return ends


def _texts(customers: pd.DataFrame, name: str) -> list[str]:
    if name not in customers:
        return [""] * len(customers)
    return customers[name].astype("object").fillna("").tolist()


def _group_limits(customers: pd.DataFrame) -> list[float | None]:
    """Return the limit of each customer's group, None if none is stated."""
    if "group_limit" not in customers:
        return [None] * len(customers)
    limits = customers["group_limit"].tolist()
    return [None if np.isnan(limit) else float(limit) for limit in limits]


def rates_of(ledger: Ledger) -> dict[str, Rates]:
    """Return the rates of each foreign currency, as `Account.rates` holds them."""
    frame = ledger["fx_rates"].sort_values(["currency", "rate_on"], kind="stable")
    rates = {}
    for code, rows in frame.groupby("currency"):
        rates[str(code)] = Rates(
            day=days(rows["rate_on"]).astype(np.float64),
            rate=rows["rate"].to_numpy(dtype=np.float64),
            known_on=days(rows["known_on"]).astype(np.float64),
        )
    return rates


def minor_units(amount: pd.Series[float], units: Floats) -> Ints:
    """Return amounts in whole minor units; `units` is how many make up a major one."""
    return np.rint(amount.to_numpy() * units).astype("int64")


def events_of(
    ledger: Ledger,
    invoice_ids: pd.Index,
    units: Floats,
) -> Events:
    """Return every event of a ledger, by item, day and order.

    Parameters
    ----------
    ledger : Ledger
        A ledger whose events refer to invoices it holds.
    invoice_ids : Index
        The items, in the order by which events number them.
    units : array of float, shape (items,)
        Minor units per major unit of each item's currency.
    """
    parts = [
        _events_of_table(ledger, table, invoice_ids, units) for table in EVENT_TABLES
    ]
    columns = map(np.concatenate, zip(*parts, strict=True))
    return in_order(Events._make(column.astype(np.int64) for column in columns))


def in_order(events: Events) -> Events:
    """Return events sorted by item, day and order."""
    order = np.lexsort((events.order, events.day, events.item))
    return select(events, order)


def _events_of_table(
    ledger: Ledger,
    table: str,
    invoice_ids: pd.Index,
    units: Floats,
) -> Events:
    kind, day_column, end_column = EVENT_TABLES[table]
    rows = ledger[table]
    item = _item_numbers(rows["invoice_id"], invoice_ids)
    value = np.zeros(len(rows), dtype=np.int64)
    if "amount" in rows:
        # A dispute without an amount is about the whole item: 0.
        value = minor_units(rows["amount"].fillna(0.0), units[item])
    kinds = np.full(len(rows), kind)
    if table == "payments":
        is_credit_note = (rows["kind"] == "credit_note").to_numpy()
        kinds[is_credit_note] = CREDIT_NOTE
        end_column = "ends_on"
    return Events(
        item=item,
        day=days(rows[day_column]),
        order=np.full(len(rows), list(EVENT_TABLES).index(table)),
        kind=kinds,
        value=value,
        end=_ends(rows, end_column or ""),
        known_on=days(rows["known_on"]),
        until=_ends(rows, "until"),
    )


def _item_numbers(values: pd.Series[str], invoice_ids: pd.Index) -> Ints:
    """Return the number of each item by its id, of its first version if it has some."""
    if invoice_ids.is_unique:
        return invoice_ids.get_indexer(pd.Index(values))
    is_first = ~invoice_ids.duplicated()
    index = invoice_ids[is_first].get_indexer(pd.Index(values))
    return np.flatnonzero(is_first)[index]


def _limits(rows: pd.DataFrame, currencies: pd.Index) -> Limits:
    currency = currencies.get_indexer(pd.Index(rows["currency"]))
    return Limits(
        known_on=days(rows["known_on"]).astype(np.float64),
        amount=rows["amount"].to_numpy(dtype=np.float64),
        currency=currency.astype(np.float64),
    )


def _statements(rows: pd.DataFrame) -> Statements:
    # A ratio over nothing, or over a negative figure, has no meaning.
    ratios = {
        name: rows[part] / rows[whole].where(rows[whole] > 0)
        for name, (part, whole) in RATIOS.items()
    }
    return Statements(
        period_end=days(rows["period_end"]).astype(np.float64),
        known_on=days(rows["known_on"]).astype(np.float64),
        equity_ratio=ratios["equity_ratio"].to_numpy(dtype=np.float64),
        current_ratio=ratios["current_ratio"].to_numpy(dtype=np.float64),
        net_margin=ratios["net_margin"].to_numpy(dtype=np.float64),
        equity=rows["equity"].to_numpy(dtype=np.float64),
        turnover=rows["turnover"].to_numpy(dtype=np.float64),
    )


def account_of_rows(
    customer_id: str,
    currency: str,
    rows: Mapping[str, Sequence[Row]],
    observed_until: date | None = None,
) -> Account:
    """Return the account of plain rows, with dates and amounts as they were sent.

    Parameters
    ----------
    customer_id : str
        The customer to whom every row belongs.
    currency : str
        The reporting currency.
    rows : mapping of str to sequence of mapping
        Rows per table of the ledger, each with its ``known_on``; events refer only to
        invoices among them.
    observed_until : date, optional
        The last day the source knows of.

    Raises
    ------
    SchemaError
        If a currency is not an ISO 4217 code.
    """
    # In a ledger's order: sums of floats depend on it, and features of equal rows must
    # be equal bit for bit.
    invoices = _sorted_rows(rows, "invoices", "invoice_id")
    limits = _sorted_rows(rows, "limits", "known_on")
    used = [row["currency"] for row in (*invoices, *limits)]
    currencies = tuple(dict.fromkeys([currency, *used]))
    return Account(
        customer_id=customer_id,
        currency=currency,
        currencies=currencies,
        invoice_ids=[row["invoice_id"] for row in invoices],
        registered=_registered_of_rows(rows.get("customers", ())),
        items=_items_of_rows(invoices, currencies),
        events=_events_of_rows(rows, invoices),
        limits=_limits_of_rows(limits, currencies),
        statements=_statements_of_rows(rows),
        rates=_rates_of_rows(rows),
        observed_until=observed_until,
    )


def _sorted_rows(
    rows: Mapping[str, Sequence[Row]],
    table: str,
    *columns: str,
) -> list[Row]:
    return sorted(rows.get(table, ()), key=itemgetter(*columns))


def _day_column(rows: Sequence[Row], name: str) -> Ints:
    return np.array([day_number(row[name]) for row in rows], dtype=np.int64)


def _float_column(rows: Sequence[Row], name: str) -> Floats:
    return np.array([float(row[name]) for row in rows], dtype=np.float64)


def _registered_of_rows(customers: Sequence[Row]) -> Registration:
    return Registration(
        day=_day_column(customers, "registered_on"),
        known_on=_day_column(customers, "known_on"),
    )


def _items_of_rows(invoices: Sequence[Row], currencies: Sequence[str]) -> Items:
    amounts = [_minor_units(row["amount"], row["currency"]) for row in invoices]
    codes = [currencies.index(row["currency"]) for row in invoices]
    return Items(
        issued=_day_column(invoices, "issued_on"),
        due=_day_column(invoices, "due_on"),
        amount=np.array(amounts, dtype=np.int64),
        currency=np.array(codes, dtype=np.int64),
        known_on=_day_column(invoices, "known_on"),
        until=np.full(len(invoices), OPEN_END),
        document=np.arange(len(invoices)),
    )


def _events_of_rows(
    rows: Mapping[str, Sequence[Row]], invoices: Sequence[Row]
) -> Events:
    item_of = {row["invoice_id"]: item for item, row in enumerate(invoices)}
    events = []
    for order, table in enumerate(EVENT_TABLES):
        for row in rows.get(table, ()):
            item = item_of[row["invoice_id"]]
            currency = invoices[item]["currency"]
            events.append((item, *_event(row, table, order, currency)))
    events.sort(key=lambda event: event[:3])
    matrix = np.array(events, dtype=np.int64).reshape(-1, len(Events._fields))
    return Events._make(np.ascontiguousarray(matrix.T))


def _event(
    row: Row,
    table: str,
    order: int,
    currency: str,
) -> tuple[int, ...]:
    """Return an event's columns after the item."""
    kind, day_column, end_column = EVENT_TABLES[table]
    if row.get("kind") == "credit_note":
        kind = CREDIT_NOTE
    value = _minor_units(row.get("amount") or 0.0, currency)
    end = OPEN_END
    if end_column and row[end_column] is not None:
        end = day_number(row[end_column])
    day = day_number(row[day_column])
    return day, order, kind, value, end, day_number(row["known_on"]), OPEN_END


def _minor_units(amount: float, currency: str) -> int:
    return round(float(amount) * float(10 ** minor_digits(currency)))


def _limits_of_rows(limits: Sequence[Row], currencies: Sequence[str]) -> Limits:
    codes = [currencies.index(row["currency"]) for row in limits]
    return Limits(
        known_on=_day_column(limits, "known_on").astype(np.float64),
        amount=_float_column(limits, "amount"),
        currency=np.array(codes, dtype=np.float64),
    )


def _statements_of_rows(all_rows: Mapping[str, Sequence[Row]]) -> Statements:
    rows = _sorted_rows(all_rows, "financials", "period_end", "known_on")
    return Statements(
        period_end=_day_column(rows, "period_end").astype(np.float64),
        known_on=_day_column(rows, "known_on").astype(np.float64),
        equity_ratio=_ratio_of_rows(rows, "equity_ratio"),
        current_ratio=_ratio_of_rows(rows, "current_ratio"),
        net_margin=_ratio_of_rows(rows, "net_margin"),
        equity=_amount_of_rows(rows, "equity"),
        turnover=_amount_of_rows(rows, "turnover"),
    )


def _amount_of_rows(rows: Sequence[Row], name: str) -> Floats:
    amounts = []
    for row in rows:
        amount = row.get(name)
        amounts.append(np.nan if amount is None else float(amount))
    return np.array(amounts, dtype=np.float64)


def _ratio_of_rows(rows: Sequence[Row], name: str) -> Floats:
    part, whole = RATIOS[name]
    numerator = _amount_of_rows(rows, part)
    denominator = _amount_of_rows(rows, whole)
    return numerator / np.where(denominator > 0, denominator, np.nan)


def _rates_of_rows(rows: Mapping[str, Sequence[Row]]) -> dict[str, Rates]:
    by_currency: dict[str, list[Row]] = {}
    for row in _sorted_rows(rows, "fx_rates", "rate_on"):
        by_currency.setdefault(row["currency"], []).append(row)
    rates = {}
    for code, own in by_currency.items():
        rates[code] = Rates(
            day=_day_column(own, "rate_on").astype(np.float64),
            rate=_float_column(own, "rate"),
            known_on=_day_column(own, "known_on").astype(np.float64),
        )
    return rates
