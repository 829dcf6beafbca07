"""Payments in the currency of what they pay.

A payment is converted at the last rate on its day, of those known when it became known:
a rate that is entered or corrected later changes no decision of the past.
"""

from __future__ import annotations

from datetime import date

import numpy as np
import pandas as pd

from obligor.arrays import Floats, Ints
from obligor.data.ledger import Ledger, no_rate


def in_item_currency(
    bookings: pd.DataFrame, item_currency: pd.Series, ledger: Ledger
) -> pd.DataFrame:
    """Return bookings in the currency of their items, at the rates of their day.

    What undoes a booking is converted as that booking was.

    Parameters
    ----------
    bookings : DataFrame
        Columns ``amount``, ``currency``, ``day``, ``ends_on`` and ``rates_known_on``.
    item_currency : Series of str
        The currency of the item of each booking; empty if it has none.
    ledger : Ledger
        Where the rates are.

    Raises
    ------
    SchemaError
        If a currency has no rate on or before the day.
    """
    stated = bookings["currency"].fillna(item_currency)
    differs = item_currency.notna() & (stated != item_currency)
    if not differs.any():
        return bookings.assign(currency=stated)
    foreign = bookings[differs]
    rate = known_rates(ledger, foreign, foreign["currency"])
    item_rate = known_rates(ledger, foreign, item_currency[differs])
    amount = bookings["amount"].copy()
    amount[differs] = foreign["amount"] * rate / item_rate
    return bookings.assign(amount=amount, currency=item_currency.fillna(stated))


def known_rates(
    ledger: Ledger,
    bookings: pd.DataFrame,
    currency: pd.Series,
) -> Floats:
    """Return the rate of a currency for each booking, shape (n,).

    Parameters
    ----------
    ledger : Ledger
        Where the rates are.
    bookings : DataFrame
        Columns ``day``, ``ends_on`` and ``rates_known_on``.
    currency : Series of str, shape (n,)
        The currency of each.

    Returns
    -------
    array of float, shape (n,)
        Units of the reporting currency per unit of the currency.
    """
    days = bookings["ends_on"].fillna(bookings["day"])
    known_on = bookings["rates_known_on"]
    rates = np.ones(len(bookings))
    for code in currency.unique():
        if code == ledger.currency:
            continue
        is_own = (currency == code).to_numpy()
        book = RateBook(ledger, str(code))
        rates[is_own] = book.rates(days[is_own], known_on[is_own])
    return rates


class RateBook:
    """The rates of one currency, by day and the day on which they became known.

    Parameters
    ----------
    ledger : Ledger
        The ledger.
    currency : str
        The currency, another one than the reporting currency.
    """

    def __init__(self, ledger: Ledger, currency: str) -> None:
        self.currency = currency
        self.reporting = ledger.currency
        rows = ledger["fx_rates"]
        rows = rows[rows["currency"] == currency]
        rows = rows.sort_values(["rate_on", "known_on"], kind="stable")
        self.rate = rows["rate"].to_numpy(dtype=float)
        self.rate_on = _numbers(rows["rate_on"])
        self.known_on = _numbers(rows["known_on"])
        self.until = np.full(len(rows), np.iinfo(np.int64).max)
        if "until" in rows:
            has_end = rows["until"].notna().to_numpy()
            self.until[has_end] = _numbers(rows["until"][has_end])

    def rates(self, days: pd.Series, known_on: pd.Series) -> Floats:
        """Return the last rate on each day, of those known on another."""
        pairs = np.column_stack([_numbers(days), _numbers(known_on)])
        distinct, index = np.unique(pairs, axis=0, return_inverse=True)
        rates = [self._rate(day, known) for day, known in distinct.tolist()]
        return np.array(rates, dtype=float)[index.reshape(-1)]

    def _rate(self, day: int, known_on: int) -> float:
        """Return the last rate on a day, of those known on another.

        If none was known by then, it is the one that became known first.
        """
        n_earlier = int(np.searchsorted(self.rate_on, day, side="right"))
        if n_earlier == 0:
            on = date.fromordinal(date(1970, 1, 1).toordinal() + day)
            raise no_rate(self.currency, self.reporting, on)
        known = self.known_on[:n_earlier]
        is_true = (known <= known_on) & (known_on < self.until[:n_earlier])
        rows = np.flatnonzero(is_true)
        row = rows[-1] if len(rows) else known.argmin()
        return float(self.rate[row])


def _numbers(days: pd.Series) -> Ints:
    return days.to_numpy().astype("datetime64[D]").astype(np.int64)
