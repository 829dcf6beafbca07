"""How a customer stands with us: the features the rules look at, as exact numbers."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from functools import lru_cache
from math import isnan
from typing import NamedTuple

from obligor.data.money import round_money

SHORTEST_YEAR = Decimal(90)  # days of purchases that may stand for a year's
_YEAR, _NOTHING = Decimal(365), Decimal(0)


class Position(NamedTuple):
    """How a customer stands with us, in exact numbers; None where not known."""

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

    @property
    def used(self) -> Decimal:
        """What is open, 0 where that is not known: a hard stop refers such a customer."""
        return self.open_amount or _NOTHING


def position_of(features: Mapping[str, float], currency: str) -> Position:
    """Return the position that features speak of: money in minor units, a year's purchases scaled up from 90 days."""
    days = number(features["days_since_first_invoice"])
    sales = _money(features["invoiced_amount_365d"], currency)
    annual = _NOTHING
    if sales is not None and days is not None:
        annual = sales * 365 / min(max(days + 1, SHORTEST_YEAR), _YEAR)
    return Position(
        _money(features["open_amount"], currency),
        _money(features["overdue_amount"], currency),
        number(features["dpd_days"]),
        number(features["dbt_days_mean_365d"]),
        number(features["written_off_amount_365d"]),
        number(features["disputed_share"]),
        days,
        number(features["broken_promises_365d"]),
        annual,
        _money(features["invoiced_amount_90d"], currency) or _NOTHING,
    )


@lru_cache(
    maxsize=100_000
)  # days, counts and shares come again and again; made anew one takes ten times as long
def number(value: float) -> Decimal | None:
    """Return the number a float shows, None for NaN.

    Examples
    --------
    >>> number(0.1), number(float("nan"))
    (Decimal('0.1'), None)
    """
    return None if isnan(value) else Decimal(str(value))


def _money(value: float, currency: str) -> Decimal | None:
    return None if isnan(value) else round_money(Decimal(str(value)), currency)
