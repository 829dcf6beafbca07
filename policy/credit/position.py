"""A customer's position with us: the features the rules look at, as exact numbers."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from functools import lru_cache
from math import isnan
from typing import NamedTuple

from obligor.data.money import round_money

SHORTEST_YEAR = Decimal(90)  # fewest days of purchases that are scaled up to a year
_YEAR = Decimal(365)
_ZERO = Decimal(0)


class Position(NamedTuple):
    """A customer's position in exact numbers; None if not known.

    Attributes
    ----------
    open_amount, overdue_amount, written_off_amount_365d : Decimal, optional
        In the reporting currency.
    dpd_days : Decimal, optional
        Days past due of the oldest material open item.
    dbt_days : Decimal, optional
        Days beyond terms of paid items, weighted by amount, of the last year.
    disputed_share : Decimal, optional
        Share of the open amount in dispute, 0 to 1.
    relation_days : Decimal, optional
        Days since the first invoice.
    broken_promises : Decimal, optional
        Number of promises to pay broken in the last year.
    annual_sales, sales_90d : Decimal
        Purchases of a year and of the last 90 days; 0 if not known.
    currency : str
        The reporting currency.
    """

    open_amount: Decimal | None
    overdue_amount: Decimal | None
    dpd_days: Decimal | None
    dbt_days: Decimal | None
    written_off_amount_365d: Decimal | None
    disputed_share: Decimal | None
    relation_days: Decimal | None
    broken_promises: Decimal | None
    annual_sales: Decimal
    sales_90d: Decimal
    currency: str

    @property
    def used(self) -> Decimal:
        """The open amount; 0 if not known, as a hard stop then refers the customer."""
        return self.open_amount or _ZERO


def position_of(features: Mapping[str, float], currency: str) -> Position:
    """Return the position that features describe, money rounded to minor units.

    Purchases of less than a year are scaled up to a year, from at least 90 days.
    """
    relation_days = decimal_of(features["days_since_first_invoice"])
    sales = _money(features["invoiced_amount_365d"], currency)
    annual_sales = _ZERO
    # The day of the first invoice counts, hence the 1 below.
    if sales is not None and relation_days is not None:
        days = min(max(relation_days + 1, SHORTEST_YEAR), _YEAR)
        annual_sales = sales * 365 / days
    return Position(
        _money(features["open_amount"], currency),
        _money(features["overdue_amount"], currency),
        decimal_of(features["dpd_days"]),
        decimal_of(features["dbt_days_mean_365d"]),
        decimal_of(features["written_off_amount_365d"]),
        decimal_of(features["disputed_share"]),
        relation_days,
        decimal_of(features["broken_promises_365d"]),
        annual_sales,
        _money(features["invoiced_amount_90d"], currency) or _ZERO,
        currency,
    )


# Days, counts and shares recur; to build one anew takes ten times as long.
@lru_cache(maxsize=100_000)
def decimal_of(value: float) -> Decimal | None:
    """Return the number that a float displays, None for NaN.

    Examples
    --------
    >>> decimal_of(0.1), decimal_of(float("nan"))
    (Decimal('0.1'), None)
    """
    return None if isnan(value) else Decimal(str(value))


def _money(value: float, currency: str) -> Decimal | None:
    return None if isnan(value) else round_money(Decimal(str(value)), currency)
