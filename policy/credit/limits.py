"""The credit limit: the smallest of its caps, with the binding one and the next named."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import ROUND_DOWN, Decimal

from obligor.data.money import minor_unit
from obligor.policy.credit.credit_file import CreditFile
from obligor.policy.credit.groups import group_cap, line_of
from obligor.policy.rulebooks.decision_table import Evaluation

_NOTHING, _YEAR = Decimal(0), Decimal(365)


@dataclass(frozen=True)
class Limit:
    """A credit limit with every cap that was considered; `next_cap` would bind if the binding one went."""

    amount: Decimal
    currency: str
    binding_cap: str
    next_cap: str | None
    caps: Mapping[str, Decimal]


def need(daily_sales: Decimal, terms_days: Decimal, dbt_days: Decimal) -> Decimal:
    """Return the exposure that arises from buying as usual: daily credit sales x (terms + days beyond terms).

    Examples
    --------
    >>> need(Decimal("100"), Decimal("30"), Decimal("12"))
    Decimal('4200')
    """
    return daily_sales * (terms_days + dbt_days)


def peak_daily_sales(annual_sales: Decimal, sales_90d: Decimal) -> Decimal:
    """Return daily sales at the faster of two paces, the year's and the last 90 days': a season must fit.

    Examples
    --------
    >>> peak_daily_sales(Decimal("36500"), Decimal("18000"))
    Decimal('200')
    """
    return max(annual_sales / _YEAR, sales_90d / 90)


def secured_cap(unsecured: Decimal, secured: Decimal, share: Decimal) -> Decimal:
    """Return A + B x C: what is lent on the name alone, plus a share of what securities cover after haircuts.

    Examples
    --------
    >>> secured_cap(Decimal("50000"), Decimal("80000"), Decimal("0.9"))
    Decimal('122000.0')
    """
    return unsecured + secured * share


def exposure_caps(
    outputs: Evaluation,
    equity: Decimal | None,
    turnover: Decimal | None,
    secured: Decimal,
    secured_share: Decimal,
) -> dict[str, Decimal]:
    """Return the caps a grade sets: ceiling, A + B x C, and shares of net worth and turnover where these are known."""
    shares = {
        name: value
        for name, value in outputs.outputs.items()
        if isinstance(value, Decimal | int)
    }
    caps = {"ceiling": Decimal(shares["ceiling"])}
    caps["secured"] = secured_cap(Decimal(shares["unsecured"]), secured, secured_share)
    if equity is not None:
        caps["net_worth"] = max(equity, _NOTHING) * shares["net_worth_share"]
    if turnover is not None:
        caps["turnover"] = max(turnover, _NOTHING) * shares["turnover_share"]
    return caps


def filed_caps(
    file: CreditFile, customer_id: str, open_amount: Decimal
) -> dict[str, Decimal]:
    """Return the caps people have put on file: the room of its groups, and a limit frozen, reduced or cancelled."""
    caps = dict[str, Decimal]()
    if file.groups:
        name, room = group_cap(line_of(customer_id, file.groups))
        caps[f"group {name}"] = room
    if file.limit_event:
        amount = {
            "freeze": open_amount,
            "reduce": file.limit_event.amount,
            "cancel": _NOTHING,
        }
        caps[file.limit_event.kind] = amount[file.limit_event.kind]
    return caps


def credit_limit(caps: Mapping[str, Decimal], currency: str) -> Limit:
    """Return the smallest cap, rounded down to the currency's minor unit.

    Examples
    --------
    >>> limit = credit_limit({"need": Decimal("4200"), "economic": Decimal("3999.999")}, "EUR")
    >>> limit.amount, limit.binding_cap, limit.next_cap
    (Decimal('3999.99'), 'economic', 'need')
    """
    unit = minor_unit(currency)
    rounded = {
        name: max(cap, _NOTHING).quantize(unit, ROUND_DOWN)
        for name, cap in caps.items()
    }
    binding, *others = sorted(rounded, key=rounded.__getitem__)
    return Limit(
        rounded[binding], currency, binding, others[0] if others else None, rounded
    )


def with_temporary(limit: Limit, file: CreditFile, as_of: date) -> Limit:
    """Return the limit while a temporary one is in force: the larger of the two, but never against a person's stop.

    Examples
    --------
    >>> from policy.credit_file import TemporaryLimit
    >>> winter = date(2025, 11, 1), date(2025, 12, 31)
    >>> season = CreditFile(temporary_limit=TemporaryLimit(Decimal(9000), *winter, grace_days=7, by="M"))
    >>> limit = credit_limit({"need": Decimal("4200")}, "EUR")
    >>> with_temporary(limit, season, date(2026, 1, 7)).amount, with_temporary(limit, season, date(2026, 1, 8)).amount
    (Decimal('9000.00'), Decimal('4200.00'))
    """
    temporary = file.temporary_limit
    if (
        temporary is None
        or file.limit_event
        or not temporary.is_in_force(as_of)
        or temporary.amount <= limit.amount
    ):
        return limit
    amount = temporary.amount.quantize(minor_unit(limit.currency), ROUND_DOWN)
    return Limit(
        amount,
        limit.currency,
        "temporary",
        limit.binding_cap,
        {**limit.caps, "temporary": amount},
    )
