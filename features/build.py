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
from obligor.data.bureau import BureauReport, bureau_facts, reports_of
from obligor.data.days import day_number, days
from obligor.data.ledger import reporting_rates
from obligor.data.money import minor_digits
from obligor.data.promises import EventColumns
from obligor.data.rates import (
    closing_rates,
    closing_rates_of,
    item_rates,
    rates_on,
    unapplied_minor_units,
)
from obligor.features import kernel
from obligor.features.catalogue import NAMES
from obligor.features.kernel import (
    ItemColumns,
    MaterialAmount,
    Standing,
    Threshold,
)

# The windows of returned payments.
_QUARTER = 90
_YEAR = 365


def build_features(
    known: KnownLedger,
    material: MaterialAmount | None = None,
) -> pd.DataFrame:
    """Return the features of every customer known on the as-of date.

    Parameters
    ----------
    known : KnownLedger
        The result of `data.asof.known_on`: it cannot contain anything later.
    material : MaterialAmount, optional
        From what amount on ``dpd_days`` counts a debt; without it the age of the oldest
        item, as in the first edition of the catalogue.

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
        _threshold(material, ledger.currency),
        _standing(known, customer_ids),
        items,
        _event_columns(events),
        first_items,
        _late(first_items),
        np.empty(kernel.WORK),
        features,
    )
    index = pd.Index(customer_ids, name="customer_id")
    return pd.DataFrame(
        features,
        index=index,
        columns=list(NAMES),
    )


def account_features(
    known: Sequence[KnownAccount],
    material: MaterialAmount | None = None,
    reports: Sequence[Sequence[BureauReport]] = (),
) -> Floats:
    """Return the features of some accounts, by one pass of the kernel.

    Parameters
    ----------
    known : sequence of KnownAccount
        Results of `data.asof.known_account`, at least one, all on one day.
    material : MaterialAmount, optional
        As in `build_features`.
    reports : sequence of sequence of BureauReport
        What bureaus had said by that day, for each account; without any no score is
        known.

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
    standing = np.array(
        [
            (*_account_standing(gated), *_bureau_scores(own_reports))
            for gated, own_reports in zip(
                known, reports or [()] * len(known), strict=True
            )
        ]
    )
    # Contiguous columns, as in `build_features`: numba compiles for each layout.
    features = np.empty((len(accounts), len(NAMES)))
    _compiled()(
        day_number(known[0].as_of),
        _threshold(material, accounts[0].currency),
        Standing._make(np.ascontiguousarray(standing.T)),
        columns,
        _event_columns(events),
        np.array(first_items),
        _late(first_items),
        np.empty(kernel.WORK),
        features,
    )
    return features


def _threshold(material: MaterialAmount | None, currency: str) -> Threshold:
    """Return what is material in minor units; below 0 if everything is."""
    units = 10.0 ** minor_digits(currency)
    if material is None:
        return Threshold(amount=-1.0, share=0.0, minor_units=units)
    return Threshold(
        amount=material.amount * units,
        share=material.share,
        minor_units=units,
    )


def _late(first_items: Sequence[int] | Ints) -> Floats:
    """Return the scratch space for the late items of any one customer."""
    most_items = int(np.diff(first_items).max(initial=0))
    return np.empty((2, most_items))


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


def _standing(known: KnownLedger, customer_ids: NDArray[np.str_]) -> Standing:
    """Return what is known of each customer besides items and events."""
    ledger = known.ledger
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
    reports = reports_of(ledger)
    scores = np.array([_bureau_scores(reports.get(name, ())) for name in customer_ids])
    scores = scores.reshape(len(customer_ids), 2)
    return Standing(
        registered=days(registered).astype(np.float64),
        limit=limit.to_numpy(dtype=np.float64),
        equity_ratio=equity_ratio.to_numpy(dtype=np.float64),
        current_ratio=current_ratio.to_numpy(dtype=np.float64),
        net_margin=net_margin.to_numpy(dtype=np.float64),
        accounting=np.full(len(customer_ids), float(ACCOUNTING)),
        unapplied=_unapplied(known, customer_ids),
        returned_90d=_returned(known, customer_ids, _QUARTER),
        returned_365d=_returned(known, customer_ids, _YEAR),
        bureau_score=scores[:, 0].copy(),
        bureau_score_mean=scores[:, 1].copy(),
    )


def _unapplied(known: KnownLedger, customer_ids: NDArray[np.str_]) -> Floats:
    """Return the money without an item in minor units, rounded for each currency."""
    money = known.money
    if money.empty:
        return np.zeros(len(customer_ids))
    amounts = money.groupby(["customer_id", "currency"], as_index=False)["amount"].sum()
    rates = closing_rates_of(known, amounts["currency"])
    units = 10.0 ** minor_digits(known.ledger.currency)
    # Sums of floats are rounded before they are converted, as those of an account are.
    own_units = _minor_units(amounts["currency"])
    exact = np.rint(amounts["amount"] * own_units) / own_units
    in_minor_units = np.rint(exact * rates * units)
    totals = in_minor_units.groupby(amounts["customer_id"]).sum()
    return _of_customers(totals, customer_ids)


def _returned(
    known: KnownLedger,
    customer_ids: NDArray[np.str_],
    window_days: int,
) -> Floats:
    """Return how many payments of each customer came back in the last days.

    Parameters
    ----------
    known : KnownLedger
        What was known on the as-of date.
    customer_ids : array of str, shape (n,)
        The customers.
    window_days : int
        The days of the window.
    """
    returned = known.returned
    if returned.empty:
        return np.zeros(len(customer_ids))
    first_day = pd.Timestamp(known.as_of) - pd.Timedelta(days=window_days)
    own = returned[returned["day"] > first_day]
    payments = own.drop_duplicates(["customer_id", "payment_id"])
    counts = payments.groupby("customer_id").size()
    return _of_customers(counts, customer_ids)


def _of_customers(
    values: pd.Series[float] | pd.Series[int],
    customer_ids: NDArray[np.str_],
) -> Floats:
    """Return the value of each customer, 0 if there is none."""
    return np.array(values.reindex(customer_ids, fill_value=0), dtype=np.float64)


def _bureau_scores(reports: Sequence[BureauReport]) -> tuple[float, float]:
    """Return the lowest and the mean last score of the sources."""
    if not reports:
        return nan, nan
    facts = bureau_facts(reports)
    return facts.score, facts.score_mean


def _account_standing(known: KnownAccount) -> tuple[float, ...]:
    """Return what is known of an account besides items and events: of a `Standing`."""
    account = known.account
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
    return (
        registered,
        limit,
        *ratios,
        float(account.accounting),
        unapplied_minor_units(known),
        *_returned_counts(known),
    )


def _returned_counts(known: KnownAccount) -> tuple[float, float]:
    """Return how many payments came back in a quarter and in a year."""
    returned_days = known.account.returned.day
    if not len(returned_days):
        return 0.0, 0.0
    ages = day_number(known.as_of) - returned_days
    return float((ages < _QUARTER).sum()), float((ages < _YEAR).sum())


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
