"""The features of a whole ledger, or of some accounts, in catalogue order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from inspect import isfunction
from math import nan
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from obligor.arrays import Floats, Ints
from obligor.data import promises
from obligor.data.account import ACCOUNTING, Account, Events, Items
from obligor.data.account_building import events_of, minor_units
from obligor.data.asof import KnownAccount, KnownLedger
from obligor.data.days import day_number, days
from obligor.data.ledger import Ledger, reporting_rates
from obligor.data.money import minor_digits
from obligor.data.promises import EventColumns
from obligor.data.rates import closing_rates, closing_rates_of, item_rates, rates_on
from obligor.features import kernel
from obligor.features.catalogue import NAMES
from obligor.features.kernel import ItemColumns, Standing


def build_features(known: KnownLedger) -> pd.DataFrame:
    """Return the features of every customer known on the as-of date.

    Parameters
    ----------
    known : KnownLedger
        The result of `data.asof.known_on`: it cannot contain anything later.

    Returns
    -------
    DataFrame
        Index ``customer_id``; one float64 column per catalogue entry, NaN if not known.

    Raises
    ------
    SchemaError
        If a currency has no rate on or before the day of an item or a limit.
    """
    ledger = known.ledger
    customer_ids = ledger["customers"]["customer_id"].sort_values().to_numpy()
    invoices = ledger["invoices"]
    customer = pd.Index(customer_ids).get_indexer(pd.Index(invoices["customer_id"]))
    invoices = invoices.assign(customer=customer)
    invoices = invoices.sort_values(["customer", "invoice_id"], ignore_index=True)
    units = _minor_units(invoices["currency"])
    events = events_of(ledger, pd.Index(invoices["invoice_id"]), units)
    rate = reporting_rates(ledger, invoices["currency"], invoices["issued_on"])
    closing_rate = closing_rates_of(known, invoices["currency"])
    items = ItemColumns(
        issued=days(invoices["issued_on"]),
        due=days(invoices["due_on"]),
        amount=minor_units(invoices["amount"], units),
        rate=rate / units,
        closing_rate=closing_rate / units,
        first_event=_first_events(events, len(invoices)),
    )
    first_items = np.searchsorted(
        invoices["customer"].to_numpy(), np.arange(len(customer_ids) + 1)
    )
    features = np.empty((len(customer_ids), len(NAMES)))
    _compiled()(
        day_number(known.as_of),
        _standing(ledger, customer_ids),
        items,
        _event_columns(events),
        first_items,
        np.empty(kernel.WORK),
        features,
    )
    index = pd.Index(customer_ids, name="customer_id")
    return pd.DataFrame(
        features,
        index=index,
        columns=list(NAMES),
    )


def account_features(known: Sequence[KnownAccount]) -> Floats:
    """Return the features of some accounts, by one pass of the kernel.

    Parameters
    ----------
    known : sequence of KnownAccount
        Results of `data.asof.known_account`, at least one, all on one day.

    Returns
    -------
    array of float, shape (accounts, features)
        In catalogue order, NaN if not known.

    Raises
    ------
    SchemaError
        If a currency has no rate on or before the day of an item or a limit.
    """
    accounts = [gated.account for gated in known]
    first_items = [0]
    for account in accounts:
        first_items.append(first_items[-1] + len(account.items.due))
    items = accounts[0].items
    events = accounts[0].events
    # One account is not copied: an online decision takes this path.
    if len(accounts) > 1:
        items = _joined_items(accounts)
        events = _joined_events(accounts, first_items)
    rates = _joined_rates(known, first_items)
    columns = ItemColumns(
        issued=items.issued,
        due=items.due,
        amount=items.amount,
        rate=rates.of_issue,
        closing_rate=rates.closing,
        first_event=_first_events(events, first_items[-1]),
    )
    standing = np.array([_account_standing(account) for account in accounts])
    # Contiguous columns, as in `build_features`: numba compiles for each layout.
    features = np.empty((len(accounts), len(NAMES)))
    _compiled()(
        day_number(known[0].as_of),
        Standing._make(np.ascontiguousarray(standing.T)),
        columns,
        _event_columns(events),
        np.array(first_items),
        np.empty(kernel.WORK),
        features,
    )
    return features


def _first_events(events: Events, n_items: int) -> Ints:
    """Return where the events of each item start, and where the last ones end."""
    return np.searchsorted(events.item, np.arange(n_items + 1))


def _joined_items(accounts: Sequence[Account]) -> Items:
    """Return the items of accounts, one account after the other."""
    tables = [account.items for account in accounts]
    return Items._make(map(np.concatenate, zip(*tables, strict=True)))


class _Rates(NamedTuple):
    """What a minor unit of each item was worth when issued, and is worth now."""

    of_issue: Floats
    closing: Floats


def _joined_rates(known: Sequence[KnownAccount], first_items: Sequence[int]) -> _Rates:
    """Return the rates of the items of accounts, one account after the other."""
    # Most accounts have items in the reporting currency only: those are filled at once.
    reporting = known[0].account.currency
    of_issue = np.full(first_items[-1], 1 / 10.0 ** minor_digits(reporting))
    closing = of_issue
    for gated, first, stop in zip(
        known,
        first_items[:-1],
        first_items[1:],
        strict=True,
    ):
        if gated.account.currencies == (reporting,):
            continue
        if closing is of_issue:
            closing = of_issue.copy()
        of_issue[first:stop] = item_rates(gated.account)
        closing[first:stop] = closing_rates(gated)
    return _Rates(of_issue, closing)


def _joined_events(accounts: Sequence[Account], first_items: Sequence[int]) -> Events:
    """Return the events of accounts, their items counted through all accounts."""
    tables = [account.events for account in accounts]
    events = Events._make(map(np.concatenate, zip(*tables, strict=True)))
    counts = [len(table.item) for table in tables]
    first_item = np.repeat(first_items[:-1], counts)
    return events._replace(item=events.item + first_item)


def _event_columns(events: Events) -> EventColumns:
    return EventColumns(
        kind=events.kind,
        day=events.day,
        value=events.value,
        end=events.end,
    )


@cache
def _compiled() -> Callable[..., None]:
    """Return the kernel compiled by numba, which keeps the code on disk."""
    import numba  # here, since it takes a second

    for module in (promises, kernel):
        for name in dir(module):
            function = getattr(module, name)
            if isfunction(function):
                numba.extending.register_jitable(function)
    return numba.njit(cache=True)(kernel.all_customers)  # type: ignore[no-any-return]


def _minor_units(currency: pd.Series[str]) -> Floats:
    """Return the minor units per major unit of each row's currency."""
    codes, names = pd.factorize(currency)
    return np.array([10.0 ** minor_digits(name) for name in names])[codes]


def _standing(ledger: Ledger, customer_ids: NDArray[np.str_]) -> Standing:
    """Return what is known of each customer besides items and events."""
    customers = ledger["customers"].set_index("customer_id")
    registered = customers["registered_on"].reindex(customer_ids)
    limits = ledger["limits"]
    rates = reporting_rates(ledger, limits["currency"], limits["known_on"])
    limits = limits.assign(value=limits["amount"] * rates)
    limits = limits.sort_values("known_on", kind="stable")
    limit = limits.groupby("customer_id")["value"].last().reindex(customer_ids)
    statements = ledger["financials"]
    statements = statements.sort_values(["period_end", "known_on"], kind="stable")
    last = statements.groupby("customer_id").tail(1).set_index("customer_id")
    last = last.reindex(customer_ids)
    liabilities = last["current_liabilities"]
    turnover = last["turnover"]
    current_ratio = last["current_assets"] / liabilities.where(liabilities > 0)
    net_margin = last["net_income"] / turnover.where(turnover > 0)
    equity_ratio = last["equity"] / last["total_assets"]
    return Standing(
        registered=days(registered).astype(np.float64),
        limit=limit.to_numpy(dtype=np.float64),
        equity_ratio=equity_ratio.to_numpy(dtype=np.float64),
        current_ratio=current_ratio.to_numpy(dtype=np.float64),
        net_margin=net_margin.to_numpy(dtype=np.float64),
        accounting=np.full(len(customer_ids), float(ACCOUNTING)),
    )


def _account_standing(account: Account) -> tuple[float, ...]:
    """Return what is known of an account besides items and events: a `Standing`."""
    registered = nan
    limit = nan
    ratios = (nan, nan, nan)
    statements = account.statements
    if len(account.registered.day):
        registered = float(account.registered.day[0])
    if len(account.limits.amount):
        limit = _last_limit(account)
    if len(statements.equity_ratio):
        ratios = (
            statements.equity_ratio.item(-1),
            statements.current_ratio.item(-1),
            statements.net_margin.item(-1),
        )
    return registered, limit, *ratios, float(account.accounting)


def _last_limit(account: Account) -> float:
    """Return the last credit limit in the reporting currency."""
    limits = account.limits
    amount = limits.amount.item(-1)
    currency = account.currencies[int(limits.currency[-1])]
    if currency == account.currency:
        return amount
    known_on = limits.known_on[-1:].astype(np.int64)
    # At the rate of the day the limit became known, as in `build_features`.
    return amount * rates_on(account, currency, known_on).item()
