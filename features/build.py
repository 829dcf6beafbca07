"""The kernel over a whole ledger, or over accounts: features in catalogue order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from math import nan
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from obligor.data.account import (
    AMOUNT,
    DAY,
    DISPUTE,
    DUE,
    END,
    EQUITY_RATIO,
    ISSUED,
    ITEM,
    KIND,
    NET_MARGIN,
    VALUE,
    Account,
)
from obligor.data.account_building import events_of, minor
from obligor.data.asof import KnownAccount, KnownLedger
from obligor.data.days import OPEN_END, day_number, days
from obligor.data.ledger import Ledger, reporting_rates
from obligor.data.money import minor_digits
from obligor.data.rates import item_rates, rates_on
from obligor.features import kernel
from obligor.features.catalogue import NAMES


def build_features(known: KnownLedger) -> pd.DataFrame:
    """Return the features of every customer known on the as-of date.

    Parameters
    ----------
    known : KnownLedger
        From `data.asof.known_on`: nothing later can be in it.

    Returns
    -------
    DataFrame
        Index ``customer_id``, one float64 column per catalogue entry, NaN where not known.
    """
    ledger, as_of = known.ledger, day_number(known.as_of)
    customers = ledger["customers"]["customer_id"].sort_values().to_numpy()
    invoices = ledger["invoices"].assign(
        customer=lambda f: pd.Index(customers).get_indexer(f["customer_id"])
    )
    invoices = invoices.sort_values(["customer", "invoice_id"], ignore_index=True)
    firsts = np.searchsorted(
        invoices["customer"].to_numpy(), np.arange(len(customers) + 1)
    )
    units = _units(invoices["currency"])
    found = events_of(ledger, pd.Index(invoices["invoice_id"]), units)
    items = (
        days(invoices["issued_on"]),
        days(invoices["due_on"]),
        minor(invoices["amount"], units),
        reporting_rates(ledger, invoices["currency"], invoices["issued_on"]) / units,
        np.searchsorted(found[ITEM], np.arange(len(invoices) + 1)),
    )
    out = np.empty((len(customers), len(NAMES)))
    _compiled()(
        as_of,
        _standing(ledger, customers),
        items,
        _events(found),
        firsts,
        np.empty(kernel.WORK),
        out,
    )
    return pd.DataFrame(
        out, index=pd.Index(customers, name="customer_id"), columns=list(NAMES)
    )


def account_features(known: Sequence[KnownAccount]) -> NDArray[np.float64]:
    """Return the features of some accounts, shape (n, features), in catalogue order, by one pass of the kernel.

    Parameters
    ----------
    known : sequence of KnownAccount
        From `data.asof.known_account`, all on one day.

    Raises
    ------
    SchemaError
        Where a currency has no rate yet.
    """
    accounts = [one.account for one in known]
    items, events = accounts[0].items, accounts[0].events
    if len(accounts) > 1:
        items = np.concatenate([account.items for account in accounts], axis=1)
        events = np.concatenate([account.events for account in accounts], axis=1)
    firsts = np.cumsum([0, *(account.items.shape[1] for account in accounts)])
    shifts = np.repeat(firsts[:-1], [account.events.shape[1] for account in accounts])
    columns = (
        items[ISSUED],
        items[DUE],
        items[AMOUNT],
        np.concatenate([item_rates(account) for account in accounts]),
        np.searchsorted(events[ITEM] + shifts, np.arange(items.shape[1] + 1)),
    )
    standing = np.array([_account_standing(account) for account in accounts])
    out = np.empty((len(accounts), len(NAMES)))
    as_of = day_number(known[0].as_of)
    _compiled()(
        as_of, standing, columns, _events(events), firsts, np.empty(kernel.WORK), out
    )
    return out


@cache
def _compiled() -> Callable[..., None]:
    """The kernel and the loop over customers, compiled (and kept on disk) by numba."""
    import numba  # here, since it takes a second

    for name in kernel.customer_features.__globals__:
        function = getattr(kernel, name)
        if (
            callable(function)
            and getattr(function, "__module__", "") == kernel.__name__
        ):
            numba.extending.register_jitable(function)
    return numba.njit(cache=True)(kernel.all_customers)  # type: ignore[no-any-return]


def _units(currency: pd.Series[str]) -> NDArray[np.float64]:
    """Minor units per major unit of each row's currency."""
    codes, names = pd.factorize(currency)
    return np.array([10.0 ** minor_digits(name) for name in names])[codes]


def _events(events: NDArray[np.int64]) -> tuple[NDArray[np.int64], ...]:
    """Kind, day, amount and end of each event as the kernel takes them: a dispute counts 1 while it is open."""
    value = np.where(events[KIND] == DISPUTE, events[END] == OPEN_END, events[VALUE])
    return events[KIND], events[DAY], value, events[END]


def _standing(ledger: Ledger, customers: NDArray[Any]) -> NDArray[np.float64]:
    """Registration day, limit and financial ratios per customer; NaN where not known."""
    registered = (
        ledger["customers"].set_index("customer_id")["registered_on"].reindex(customers)
    )
    limits = ledger["limits"]
    limits = limits.assign(
        value=limits["amount"]
        * reporting_rates(ledger, limits["currency"], limits["known_on"])
    )
    limit = (
        limits.sort_values("known_on", kind="stable")
        .groupby("customer_id")["value"]
        .last()
        .reindex(customers)
    )
    last = ledger["financials"].sort_values(["period_end", "known_on"], kind="stable")
    last = (
        last.groupby("customer_id").tail(1).set_index("customer_id").reindex(customers)
    )
    columns: list[Any] = [
        days(registered).astype(float),
        limit,
        last["equity"] / last["total_assets"],
        last["current_assets"]
        / last["current_liabilities"].where(last["current_liabilities"] > 0),
        last["net_income"] / last["turnover"].where(last["turnover"] > 0),
    ]
    return np.column_stack([np.asarray(column, dtype=np.float64) for column in columns])


def _account_standing(account: Account) -> list[float]:
    limit, statement = nan, [nan, nan, nan]
    if account.limits.shape[1]:
        known, amount, code = account.limits[:, -1].tolist()
        rate = rates_on(account, account.currencies[int(code)], np.array([int(known)]))
        limit = amount * float(rate[0])
    if account.statements.shape[1]:
        statement = account.statements[EQUITY_RATIO : NET_MARGIN + 1, -1].tolist()
    registered = float(account.registered[0, 0]) if account.registered.shape[1] else nan
    return [registered, limit, *statement]
