"""Exchange rates of an account on a day."""

from __future__ import annotations

from functools import cache

import numpy as np
import pandas as pd

from obligor.arrays import Floats, Ints
from obligor.data.account import FIRST_ACCOUNTING, Account, Rates
from obligor.data.asof import KnownAccount, KnownLedger
from obligor.data.days import day_number, day_of
from obligor.data.ledger import no_rate, reporting_rates
from obligor.data.money import minor_digits
from obligor.data.settling import unapplied

_NO_RATES = Rates(
    day=np.empty(0),
    rate=np.empty(0),
    known_on=np.empty(0),
)


def item_rates(account: Account) -> Floats:
    """Return what a minor unit of each item is worth in the reporting currency.

    The rate is the last one on the day the item was issued.

    Raises
    ------
    SchemaError
        If a currency has no rate on or before that day.
    """
    currency = account.items.currency
    # The common case: without a foreign currency no rate is looked up.
    if len(account.currencies) == 1:
        return np.full(len(currency), 1 / _minor_units(account.currency))
    item_rate = np.empty(len(currency))
    for code in np.unique(currency).tolist():
        name = account.currencies[code]
        has_code = currency == code
        rate = rates_on(account, name, account.items.issued[has_code])
        item_rate[has_code] = rate / _minor_units(name)
    return item_rate


@cache
def _minor_units(currency: str) -> float:
    """Return the minor units of one major unit."""
    return 10.0 ** minor_digits(currency)


def closing_rates(known_account: KnownAccount) -> Floats:
    """Return what an open minor unit of each item is worth in the reporting currency.

    The rate is the last one known on the as-of date (IAS 21.23). By the first version
    of accounting it is that of the day the item was issued, as in `item_rates`.

    Raises
    ------
    SchemaError
        If a currency has no rate on or before the as-of date.
    """
    account = known_account.account
    if account.accounting == FIRST_ACCOUNTING or len(account.currencies) == 1:
        return item_rates(account)
    today = np.array([day_number(known_account.as_of)])
    rates = np.empty(len(account.items.currency))
    for code in np.unique(account.items.currency).tolist():
        name = account.currencies[code]
        rate = rates_on(account, name, today).item()
        rates[account.items.currency == code] = rate / _minor_units(name)
    return rates


def unapplied_minor_units(known_account: KnownAccount) -> float:
    """Return the customer's money without an item, at the last rates known.

    It is in whole minor units of the reporting currency, rounded for each currency.

    Raises
    ------
    SchemaError
        If a currency of the money has no rate on or before the as-of date.
    """
    account = known_account.account
    if not len(account.money.value):
        return 0.0
    day = np.array([day_number(known_account.as_of)])
    reporting_units = 10 ** minor_digits(account.currency)
    total = 0.0
    for currency, amount in zip(
        account.currencies,
        unapplied(account).tolist(),
        strict=True,
    ):
        # A currency without money may have no rate either.
        if amount:
            rate = float(rates_on(account, currency, day)[0])
            major_units = amount / 10 ** minor_digits(currency)
            total += float(np.rint(major_units * rate * reporting_units))
    return total


def closing_rates_of(known_ledger: KnownLedger, currency: pd.Series[str]) -> Floats:
    """Return the last rate into the reporting currency known on the as-of date.

    Parameters
    ----------
    known_ledger : KnownLedger
        The result of `data.asof.known_on`.
    currency : Series of str, shape (n,)
        The currency of each row.

    Returns
    -------
    array of float, shape (n,)
        Units of the reporting currency per unit of the row's currency.

    Raises
    ------
    SchemaError
        If a currency has no rate on or before the as-of date.
    """
    # In the unit of the rates' days: pandas merges equal units only.
    dtype = known_ledger.ledger["fx_rates"]["rate_on"].dtype
    today = pd.Series(pd.Timestamp(known_ledger.as_of), index=currency.index)
    return reporting_rates(known_ledger.ledger, currency, today.astype(dtype))


def rates_on(
    account: Account,
    currency: str,
    on: Ints,
) -> Floats:
    """Return the last rate into the reporting currency on each day.

    Parameters
    ----------
    account : Account
        The account whose rates are used.
    currency : str
        The currency to convert from.
    on : array of int, shape (n,)
        Days, counted from 1970-01-01.

    Returns
    -------
    array of float, shape (n,)
        Units of the reporting currency per unit of the currency.

    Raises
    ------
    SchemaError
        If there is no rate on or before one of the days.
    """
    if currency == account.currency:
        return np.ones(len(on))
    rates = account.rates.get(currency, _NO_RATES)
    row_index = np.searchsorted(rates.day, on, side="right") - 1
    if (row_index < 0).any():
        raise no_rate(currency, account.currency, day_of(on[row_index < 0][0]))
    return rates.rate[row_index]
