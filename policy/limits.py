"""The credit limit: the smallest of its caps, with the binding one named."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_DOWN, Decimal

from data.money import minor_unit


@dataclass(frozen=True)
class Limit:
    """A credit limit with every cap that was considered."""

    amount: Decimal
    currency: str
    binding_cap: str
    caps: Mapping[str, Decimal]


def need(daily_sales: Decimal, terms_days: Decimal, dbt_days: Decimal) -> Decimal:
    """Return the exposure that arises from buying as usual: daily credit sales x (terms + days beyond terms).

    Examples
    --------
    >>> need(Decimal("100"), Decimal("30"), Decimal("12"))
    Decimal('4200')
    """
    return daily_sales * (terms_days + dbt_days)


def credit_limit(caps: Mapping[str, Decimal], currency: str) -> Limit:
    """Return the smallest cap, rounded down to the currency's minor unit.

    Examples
    --------
    >>> credit_limit({"need": Decimal("4200"), "economic": Decimal("3999.999")}, "EUR").binding_cap
    'economic'
    """
    unit = minor_unit(currency)
    rounded = {name: max(cap, Decimal(0)).quantize(unit, ROUND_DOWN) for name, cap in caps.items()}
    binding = min(rounded, key=rounded.__getitem__)
    return Limit(rounded[binding], currency, binding, rounded)
