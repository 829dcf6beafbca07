"""Exchange rates of an account on a day."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from obligor.data.account import CURRENCY, ISSUED, RATE, RATE_ON, Account
from obligor.data.days import day_of
from obligor.data.ledger import no_rate
from obligor.data.money import minor_digits


def item_rates(account: Account) -> NDArray[np.float64]:
    """Return units of the reporting currency per minor unit of each item, at the last rate on its day."""
    currency = account.items[CURRENCY]
    if len(account.currencies) == 1:
        return np.full(len(currency), 1 / 10.0 ** minor_digits(account.currency))
    found = np.empty(len(currency))
    for code in np.unique(currency).tolist():
        name, mine = account.currencies[code], currency == code
        found[mine] = rates_on(
            account, name, account.items[ISSUED, mine]
        ) / 10.0 ** minor_digits(name)
    return found


def rates_on(
    account: Account, currency: str, on: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return the last rate into the reporting currency on each day; `SchemaError` where there is none."""
    if currency == account.currency:
        return np.ones(len(on))
    rates = account.rates.get(currency, np.empty((3, 0)))
    place = np.searchsorted(rates[RATE_ON], on, side="right") - 1
    if (place < 0).any():
        raise no_rate(currency, account.currency, day_of(on[place < 0][0]))
    return rates[RATE, place]  # type: ignore[no-any-return]
