"""The ONLY gate between what happened and what was known.

Nothing else in the project filters by time. A row is known on a day if its ``known_on``
is that day or earlier, and if it was not replaced or withdrawn by then (``until``). A
fact that was learnt later about a known row (the resolution of a dispute) is masked.
The events of an invoice are never known before the invoice. What is known is settled:
`data.settling` works out what undone payments and money without an item leave open.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from itertools import compress
from typing import Protocol, TypeVar

import numpy as np
import pandas as pd

from obligor.arrays import Bools
from obligor.data.account import (
    DISPUTE,
    FIRST_ACCOUNTING,
    Account,
    Events,
    Items,
    Money,
    Registration,
    Returned,
    Table,
    currencies_in_use,
    select,
)
from obligor.data.coverage import observed_on
from obligor.data.days import OPEN_END, day_number, day_of
from obligor.data.ledger import OF_INVOICE, Ledger, is_among, referable_ids
from obligor.data.posting import empty_money, none_returned
from obligor.data.settled_ledger import settled_ledger
from obligor.data.settling import rough_items, settled
from obligor.errors import AsOfError

Versioned = TypeVar("Versioned", Items, Events, Money)

# Facts about a known row that may be learnt after it, by table.
LEARNT_LATER = {"disputes": "resolved_on"}


@dataclass(frozen=True)
class KnownLedger:
    """A ledger as it was known at the end of `as_of`; only `known_on` makes one.

    Attributes
    ----------
    ledger : Ledger
        What was known, settled: see `data.settling`.
    as_of : date
        The day.
    money : DataFrame
        The money of customers without an item: ``customer_id, day, kind, amount,
        currency, known_on``.
    returned : DataFrame
        The payments that came back: ``customer_id, day, payment_id``, a row for each
        part of one.
    """

    ledger: Ledger
    as_of: date
    money: pd.DataFrame = field(default_factory=empty_money)
    returned: pd.DataFrame = field(default_factory=none_returned)


@dataclass(frozen=True)
class KnownAccount:
    """An account as it was known at the end of `as_of`; `known_account` makes it."""

    account: Account
    as_of: date


def known_on(ledger: Ledger, as_of: date) -> KnownLedger:
    """Return what was known of a ledger at the end of a day.

    Parameters
    ----------
    ledger : Ledger
        The whole ledger, the future included.
    as_of : date
        The day at whose end the answer holds.

    Returns
    -------
    KnownLedger
        The known rows; a table keeps its index.

    Raises
    ------
    AsOfError
        If no invoice was known by then.
    """
    day = pd.Timestamp(as_of)
    tables = {name: _known_rows(ledger[name], day) for name in ledger.tables}
    if tables["invoices"].empty:
        raise _too_early(as_of, ledger["invoices"]["known_on"].min().date())
    for name, column in LEARNT_LATER.items():
        if name in tables:
            values = tables[name][column]
            masked = values.where(values <= day)
            tables[name] = tables[name].assign(**{column: masked})
    invoice_ids = referable_ids(tables["invoices"])
    for name in OF_INVOICE:
        if name not in tables:
            continue
        rows = _with_known_invoice(tables[name], invoice_ids)
        if name == "payments":
            rows = _without_hidden_receipts(rows, tables[name])
        tables[name] = rows
    exported_on = ledger.exported_on and min(ledger.exported_on, as_of)
    known = settled_ledger(replace(ledger, tables=tables, exported_on=exported_on))
    return KnownLedger(known.ledger, as_of, known.money, known.returned)


def _known_rows(rows: pd.DataFrame, day: pd.Timestamp) -> pd.DataFrame:
    """Return the rows known on a day, and not yet replaced or withdrawn."""
    is_known = rows["known_on"] <= day
    if "until" in rows:
        is_known &= ~(rows["until"] <= day)
    return rows[is_known]


def _with_known_invoice(rows: pd.DataFrame, invoice_ids: pd.Index) -> pd.DataFrame:
    """Return the rows whose invoice is known, and those that have none."""
    if rows.empty:
        return rows
    has_invoice = is_among(rows["invoice_id"], invoice_ids)
    is_known = has_invoice | rows["invoice_id"].isna().to_numpy()
    # Without a copy, if all of them are.
    return rows if is_known.all() else rows[is_known]


def _without_hidden_receipts(
    payments: pd.DataFrame,
    every_payment: pd.DataFrame,
) -> pd.DataFrame:
    """Return payments without those that undo one whose invoice is not known yet.

    Parameters
    ----------
    payments : DataFrame
        Those with a known invoice, or without any.
    every_payment : DataFrame
        The payments known on the day, whatever their invoice.
    """
    if "reverses" not in payments or len(payments) == len(every_payment):
        return payments
    hidden = every_payment.loc[~every_payment.index.isin(payments.index), "payment_id"]
    hidden_ids = pd.Index(hidden).difference(pd.Index(payments["payment_id"]))
    undoes_hidden = is_among(payments["reverses"], hidden_ids)
    return payments[~(undoes_hidden & payments["invoice_id"].isna().to_numpy())]


def known_account(account: Account, as_of: date) -> KnownAccount:
    """Return what was known of one customer's account at the end of a day.

    The rules are those of `known_on`. A customer without any invoice is answered as a
    thin file. If neither an invoice nor money of a customer was known by `as_of`, but
    later, that is an error: the question is about a time before its ledger begins.

    Parameters
    ----------
    account : Account
        The whole account, the future included.
    as_of : date
        The day at whose end the answer holds.

    Raises
    ------
    AsOfError
        If the account has invoices, but neither they nor money were known by then.
    """
    day = day_number(as_of)
    account = _with_master_of(account, as_of, day)
    is_plain = is_plain_account(account)
    was_all_learnt = account.learnt_until is not None and account.learnt_until <= day
    if was_all_learnt and is_plain and not account.rates:
        return KnownAccount(account, as_of)
    if _begins_later(account, day):
        raise _too_early(as_of, day_of(account.items.known_on.min()))
    known_rows = _known_plain if is_plain else _known_rough
    items, events, invoice_ids = known_rows(account, day)
    # `select` copied the column; a dispute resolved later is still open.
    events.end[(events.kind == DISPUTE) & (events.end > day)] = OPEN_END
    gated = replace(
        account,
        invoice_ids=invoice_ids,
        registered=_known(account.registered, day),
        items=items,
        events=events,
        limits=_known(account.limits, day),
        statements=_known(account.statements, day),
        rates={code: _known(rates, day) for code, rates in account.rates.items()},
        money=_known_money(account, items, day),
        returned=_known_returned(account.returned, day),
    )
    gated = _without_later_currencies(gated)
    return KnownAccount(gated if is_plain else _settled_if_rough(gated), as_of)


def _begins_later(account: Account, day: int) -> bool:
    """Return whether the ledger of a customer begins after a day.

    If the customer was in the ledger on that day, and the first invoice came with a
    later update, the ledger had begun: there was nothing in it.
    """
    first_days = account.items.known_on
    has_item = (first_days <= day).any()
    has_money = (account.money.known_on <= day).any()
    if not len(first_days) or has_item or has_money:
        return False
    is_registered = bool((account.registered.known_on <= day).any())
    updates = account.coverage[1:]
    if not updates or not is_registered:
        return True
    return int(first_days.min()) < day_number(updates[0].known_on)


def master_on(account: Account, as_of: date) -> Account:
    """Return an account with what was true of its customer on a day, and its rows.

    The limit of a group is known from the day the customer is.
    """
    day = day_number(as_of)
    account = _with_master_of(account, as_of, day)
    if (account.registered.known_on <= day).any():
        return account
    return replace(account, group_limit=None)


def _with_master_of(account: Account, as_of: date, day: int) -> Account:
    """Return an account with what was true of its customer on a day."""
    if account.coverage:
        observed_until = observed_on(account.coverage, as_of)
        if observed_until != account.observed_until:
            account = replace(account, observed_until=observed_until)
    if not account.earlier:
        return account
    for master in account.earlier:
        if day < master.until:
            registered = Registration(
                np.array([master.registered_on], dtype=np.int64),
                np.array([master.known_on], dtype=np.int64),
            )
            return replace(
                account,
                registered=registered,
                sector=master.sector,
                country=master.country,
                set_aside=master.set_aside,
                group_limit=master.group_limit,
                earlier=(),
            )
    return replace(account, earlier=())


def _settled_if_rough(account: Account) -> Account:
    """Return a known account settled; as it is, if what is rough became known later.

    Settling puts rows of one day in an order of its own.
    """
    if is_plain_account(replace(account, is_plain=None)):
        return replace(account, is_plain=True)
    return settled(account)


def _without_later_currencies(account: Account) -> Account:
    """Return an account without the currencies that came into use later."""
    if len(account.currencies) == 1 or account.accounting == FIRST_ACCOUNTING:
        return account
    n_used = currencies_in_use(account.items, account.limits, account.money)
    return replace(account, currencies=account.currencies[:n_used])


def _as_if_for_ever(table: Versioned) -> Versioned:
    """Return known rows without the days on which they will end: nobody knows yet."""
    if (table.until == OPEN_END).all():
        return table
    for_ever = np.full(len(table.until), OPEN_END)
    return table._replace(until=for_ever)


def is_plain_account(account: Account) -> bool:
    """Return whether an account has nothing to settle on any day."""
    if account.is_plain is not None:
        return account.is_plain
    if account.accounting == FIRST_ACCOUNTING:
        return True
    has_versions = pd.Index(account.invoice_ids).duplicated(keep=False)
    is_rough = rough_items(account.items, account.events, has_versions)
    return not len(account.money.day) and not is_rough.any()


def _known_plain(account: Account, day: int) -> tuple[Items, Events, Sequence[str]]:
    """Return the known items and events of an account whose rows are true for ever."""
    items = account.items
    is_item_known = items.known_on <= day
    is_event_known = account.events.known_on <= day
    if is_item_known.all():
        events = select(account.events, is_event_known)
        return items, events, account.invoice_ids
    has_known_item = is_item_known[account.events.item]
    events = select(account.events, is_event_known & has_known_item)
    new_index = np.cumsum(is_item_known) - 1
    events = events._replace(item=new_index[events.item])
    invoice_ids = list(compress(account.invoice_ids, is_item_known))
    return _known_items(items, is_item_known), events, invoice_ids


def _known_rough(account: Account, day: int) -> tuple[Items, Events, Sequence[str]]:
    """Return the known items and events, one version of each."""
    items = account.items
    events = account.events
    is_item_known = (items.known_on <= day) & (day < items.until)
    is_event_known = (events.known_on <= day) & (day < events.until)
    invoice_ids = np.asarray(account.invoice_ids, dtype=object)
    # Events refer to the first version of an item: they follow the one that is known.
    codes, _ = pd.factorize(invoice_ids)
    new_index = np.full(len(codes), -1)
    new_index[codes[is_item_known]] = np.arange(is_item_known.sum())
    item = new_index[codes[events.item]]
    is_event_known &= item >= 0
    known_events = select(events._replace(item=item), is_event_known)
    known_ids = invoice_ids[is_item_known].tolist()
    known_items = _known_items(items, is_item_known)
    return _as_if_for_ever(known_items), _as_if_for_ever(known_events), known_ids


def _known_items(items: Items, is_known: Bools) -> Items:
    """Return the known items, their documents numbered by the first known item."""
    known_items = select(items, is_known)
    n_items = len(known_items.document)
    if (items.document == np.arange(len(items.document))).all():
        return known_items._replace(document=np.arange(n_items))
    _, first_items, numbers = np.unique(
        known_items.document, return_index=True, return_inverse=True
    )
    return known_items._replace(document=first_items[numbers])


def _known(table: Table, day: int) -> Table:
    """Return the rows known on a day."""
    return select(table, table.known_on <= day)


def _known_money(account: Account, known_items: Items, day: int) -> Money:
    """Return the money known on a day, and not yet replaced or withdrawn.

    Money for a document of which no item is known yet is for no document. Documents are
    numbered as those of the known items.
    """
    money = account.money
    if not len(money.day):
        return money
    is_known = (money.known_on <= day) & (day < money.until)
    known_money = _as_if_for_ever(select(money, is_known))
    if (known_money.document < 0).all():
        return known_money
    items = account.items
    is_item_known = (items.known_on <= day) & (day < items.until)
    # The last one is that of no document, -1.
    new_numbers = np.full(len(items.document) + 1, -1)
    new_numbers[items.document[is_item_known]] = known_items.document
    return known_money._replace(document=new_numbers[known_money.document])


def _known_returned(returned: Returned, day: int) -> Returned:
    """Return the payments that had come back by a day, a row for each payment."""
    if not len(returned.day):
        return returned
    is_known = (returned.known_on <= day) & (day < returned.until)
    parts = select(returned, is_known)
    _, first_parts = np.unique(parts.number, return_index=True)
    payments = select(parts, np.sort(first_parts))
    n_payments = len(payments.day)
    return payments._replace(
        number=np.arange(n_payments),
        until=np.full(n_payments, OPEN_END),
    )


class Dated(Protocol):
    """A row that became known on a day, and may be no longer true from another on."""

    @property
    def known_on(self) -> date:
        """The day on which it became known."""

    @property
    def until(self) -> date | None:
        """The first day on which it is no longer true; None if it still is."""


DatedRow = TypeVar("DatedRow", bound=Dated)


def known_rows(rows: Iterable[DatedRow], as_of: date) -> list[DatedRow]:
    """Return the rows that were known at the end of a day, in their order.

    Parameters
    ----------
    rows : iterable of Dated
        Reports about a customer, or links of a group.
    as_of : date
        The day.
    """
    return [
        row
        for row in rows
        if row.known_on <= as_of and (row.until is None or as_of < row.until)
    ]


def _too_early(as_of: date, first: date) -> AsOfError:
    return AsOfError(
        f"no invoice was known on {as_of}",
        where="as_of",
        expected=f"a day from {first} on",
        do="ask for a later day",
    )
