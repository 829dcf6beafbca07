"""The credit limit: the smallest of its caps, with the binding one and the next."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import ROUND_DOWN, Decimal
from typing import NamedTuple

from obligor.data.money import minor_unit
from obligor.policy.credit.credit_file import NOTHING_ON_FILE, CreditFile
from obligor.policy.credit.facts import Customer
from obligor.policy.credit.groups import group_cap, line_of
from obligor.policy.credit.position import Position, decimal_of
from obligor.policy.credit.terms import GradeCaps, Terms
from obligor.policy.economics import economic_cap, risk_cost
from obligor.policy.rulebooks.rulebook import Rulebook

_ZERO = Decimal(0)
_YEAR = Decimal(365)


@dataclass(frozen=True)
class Limit:
    """A credit limit with every cap that was considered.

    Attributes
    ----------
    amount : Decimal
        The limit, in `currency`, rounded down to its minor unit.
    binding_cap : str
        The cap that sets the limit.
    next_cap : str, optional
        The cap that would bind if the binding one were lifted.
    caps : mapping of str to Decimal
        Every cap.
    """

    amount: Decimal
    currency: str
    binding_cap: str
    next_cap: str | None
    caps: Mapping[str, Decimal]


def need(
    daily_sales: Decimal,
    terms_days: Decimal,
    dbt_days: Decimal,
) -> Decimal:
    """Return the exposure that arises if the customer goes on buying as usual.

    Parameters
    ----------
    daily_sales : Decimal
        Credit sales a day, in the reporting currency.
    terms_days : Decimal
        Days of credit.
    dbt_days : Decimal
        Days the customer pays beyond terms.

    Returns
    -------
    Decimal
        Daily sales x (terms + days beyond terms).

    Examples
    --------
    >>> need(Decimal("100"), Decimal("30"), Decimal("12"))
    Decimal('4200')
    """
    return daily_sales * (terms_days + dbt_days)


def peak_daily_sales(annual_sales: Decimal, sales_90d: Decimal) -> Decimal:
    """Return daily sales at the faster pace of the year and of the last 90 days.

    A seasonal customer therefore gets a limit that covers its season.

    Examples
    --------
    >>> peak_daily_sales(Decimal("36500"), Decimal("18000"))
    Decimal('200')
    """
    return max(annual_sales / _YEAR, sales_90d / 90)


def secured_cap(
    unsecured: Decimal,
    secured: Decimal,
    share: Decimal,
) -> Decimal:
    """Return A + B x C: the unsecured amount, plus a share of the securities.

    Parameters
    ----------
    unsecured : Decimal
        Amount lent on the customer's name alone, in the reporting currency.
    secured : Decimal
        Value of the securities after haircuts.
    share : Decimal
        Share of the securities that counts, 0 to 1.

    Returns
    -------
    Decimal
        The cap, in the reporting currency.

    Examples
    --------
    >>> secured_cap(Decimal("50000"), Decimal("80000"), Decimal("0.9"))
    Decimal('122000.0')
    """
    return unsecured + secured * share


class CapBasis(NamedTuple):
    """The amounts that the caps of a grade apply to, in the reporting currency.

    Attributes
    ----------
    equity, turnover : Decimal, optional
        Of the last statement; None if not known.
    secured : Decimal
        Value of the securities after haircuts.
    """

    equity: Decimal | None
    turnover: Decimal | None
    secured: Decimal


def exposure_caps(
    grade_caps: GradeCaps,
    basis: CapBasis,
    secured_share: Decimal,
) -> dict[str, Decimal]:
    """Return the caps that a grade sets.

    Parameters
    ----------
    grade_caps : GradeCaps
        Ceiling, unsecured amount and shares of the grade.
    basis : CapBasis
        Equity, turnover and securities of the customer.
    secured_share : Decimal
        Share of the securities that counts, 0 to 1.

    Returns
    -------
    dict of str to Decimal
        A ceiling, A + B x C, and shares of net worth and turnover if these are known.
    """
    secured = secured_cap(grade_caps.unsecured, basis.secured, secured_share)
    caps = {"ceiling": grade_caps.ceiling, "secured": secured}
    if basis.equity is not None:
        # Negative equity gives a cap of 0.
        caps["net_worth"] = max(basis.equity, _ZERO) * grade_caps.net_worth_share
    if basis.turnover is not None:
        caps["turnover"] = max(basis.turnover, _ZERO) * grade_caps.turnover_share
    return caps


def filed_caps(
    credit_file: CreditFile,
    customer_id: str,
    open_amount: Decimal,
) -> dict[str, Decimal]:
    """Return the caps that people set: the room of a group, or a limit set by hand.

    Parameters
    ----------
    credit_file : CreditFile
        The groups of the customer, and the limit event.
    customer_id : str
        The customer, to find its group.
    open_amount : Decimal
        Amount the customer owes, at which a frozen limit stays.

    Returns
    -------
    dict of str to Decimal
        The caps, in the reporting currency.

    Raises
    ------
    SchemaError
        If the groups are not a tree, or the customer is not in exactly one.
    """
    caps = dict[str, Decimal]()
    if credit_file.groups:
        name, room = group_cap(line_of(customer_id, credit_file.groups))
        caps[f"group {name}"] = room
    event = credit_file.limit_event
    if event:
        amounts = {
            "freeze": open_amount,
            "reduce": event.amount,
            "cancel": _ZERO,
        }
        caps[event.kind] = amounts[event.kind]
    return caps


def limit_caps(
    customer: Customer,
    terms: Terms,
    grade_caps: GradeCaps,
    rulebook: Rulebook,
) -> dict[str, Decimal]:
    """Return every cap on a customer's limit but the step-up of a new customer.

    Parameters
    ----------
    customer : Customer
        Facts, position, pricing and requested exposure.
    terms : Terms
        The terms offered; their days make the need.
    grade_caps : GradeCaps
        The caps of the customer's grade.
    rulebook : Rulebook
        The rules in force.

    Returns
    -------
    dict of str to Decimal
        Caps by name, in the reporting currency, not rounded.
    """
    facts = customer.facts
    credit_file = facts.credit_file
    position = customer.position
    secured = _ZERO
    if credit_file.securities:
        secured = credit_file.secured(facts.as_of)
    basis = CapBasis(decimal_of(facts.equity), decimal_of(facts.turnover), secured)
    secured_share = rulebook.parameters["secured_share"]
    caps = {
        "need": _need(customer, terms),
        "economic": _economic(customer, secured, rulebook),
        **exposure_caps(grade_caps, basis, secured_share),
    }
    if facts.bureau_recommended_limit is not None:
        caps["bureau"] = facts.bureau_recommended_limit
    # Most customers have no file, and this runs for every decision.
    if credit_file is not NOTHING_ON_FILE:
        caps |= filed_caps(credit_file, facts.customer_id, position.used)
    return caps


def _need(customer: Customer, terms: Terms) -> Decimal:
    """The exposure of buying as usual, or the one asked for if that is more."""
    position = customer.position
    daily_sales = peak_daily_sales(position.annual_sales, position.sales_90d)
    dbt_days = position.dbt_days or _ZERO
    usual = need(daily_sales, Decimal(terms.terms_days), dbt_days)
    if customer.requested_exposure is None:
        return usual
    return max(usual, customer.requested_exposure)


def _economic(
    customer: Customer,
    secured: Decimal,
    rulebook: Rulebook,
) -> Decimal:
    """The largest exposure that the customer's margin pays for."""
    pricing = customer.pricing
    margin = customer.position.annual_sales * rulebook.parameters["credit_margin"]
    risk_per_unit = risk_cost(
        pricing.pd_12m, pricing.lgd, pricing.hurdle_rate, pricing.capital
    )
    return economic_cap(margin, pricing.cost_of_funds, risk_per_unit, secured)


def with_step_up(caps: Mapping[str, Decimal], share: Decimal) -> Mapping[str, Decimal]:
    """Return the caps with that of a new customer: a share of the smallest cap.

    Examples
    --------
    >>> caps = {"need": Decimal(4000), "ceiling": Decimal(9000)}
    >>> with_step_up(caps, Decimal("0.5"))["step_up"]
    Decimal('2000.0')
    """
    if share >= 1:
        return caps
    return {**caps, "step_up": min(caps.values()) * share}


def credit_limit(caps: Mapping[str, Decimal], currency: str) -> Limit:
    """Return the smallest cap as the limit, rounded down to the minor unit.

    Examples
    --------
    >>> caps = {"need": Decimal("4200"), "economic": Decimal("3999.999")}
    >>> limit = credit_limit(caps, "EUR")
    >>> limit.amount, limit.binding_cap, limit.next_cap
    (Decimal('3999.99'), 'economic', 'need')
    """
    unit = minor_unit(currency)
    rounded = {
        name: max(cap, _ZERO).quantize(unit, ROUND_DOWN) for name, cap in caps.items()
    }
    # The sort is stable: of two equal caps the one named first binds.
    binding_cap, *other_caps = sorted(rounded, key=rounded.__getitem__)
    return Limit(
        amount=rounded[binding_cap],
        currency=currency,
        binding_cap=binding_cap,
        next_cap=other_caps[0] if other_caps else None,
        caps=rounded,
    )


def with_temporary(
    limit: Limit,
    credit_file: CreditFile,
    as_of: date,
) -> Limit:
    """Return the limit raised by a temporary one in force, unless a person cut it.

    Parameters
    ----------
    limit : Limit
        The limit by its caps.
    credit_file : CreditFile
        Holds the temporary limit, and the event that outranks it.
    as_of : date
        The day.

    Returns
    -------
    Limit
        The larger of the two limits.

    Examples
    --------
    >>> from obligor.policy.credit.credit_file import TemporaryLimit
    >>> season = TemporaryLimit(
    ...     Decimal(9000), date(2025, 11, 1), date(2025, 12, 31), grace_days=7, by="M"
    ... )
    >>> credit_file = CreditFile(temporary_limit=season)
    >>> limit = credit_limit({"need": Decimal("4200")}, "EUR")
    >>> with_temporary(limit, credit_file, date(2026, 1, 7)).amount
    Decimal('9000.00')
    >>> with_temporary(limit, credit_file, date(2026, 1, 8)).amount
    Decimal('4200.00')
    """
    temporary = credit_file.temporary_limit
    # A limit that a person froze, reduced or cancelled stays as it is.
    if temporary is None or credit_file.limit_event:
        return limit
    if not temporary.is_in_force(as_of) or temporary.amount <= limit.amount:
        return limit
    amount = temporary.amount.quantize(minor_unit(limit.currency), ROUND_DOWN)
    return Limit(
        amount=amount,
        currency=limit.currency,
        binding_cap="temporary",
        next_cap=limit.binding_cap,
        caps={**limit.caps, "temporary": amount},
    )


def declined(limit: Limit) -> Limit:
    """Return the limit of a declined customer: 0, with the caps it had."""
    return credit_limit({"decline": _ZERO, **limit.caps}, limit.currency)


def exposure_at_default(limit: Limit, position: Position) -> Decimal:
    """Return the exposure a loss is expected on: the limit, or what is owed if more."""
    return max(limit.amount, position.used)
