"""Which overdue account to work on first."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from data.money import round_money
from policy.rulebook import Rulebook


@dataclass(frozen=True)
class CollectionPriority:
    """The expected value of a contact per minute of work, and the stage the account is in."""

    stage: str
    value_per_minute: Decimal
    currency: str
    because: str


def contact_value(
    overdue: Decimal, p_loss: Decimal, contact_effect: Decimal, cost_of_funds: Decimal, days_saved: Decimal
) -> Decimal:
    """Return the money one contact is expected to save: loss avoided and financing saved.

    Examples
    --------
    >>> contact_value(Decimal("10000"), Decimal("0.10"), Decimal("0.15"), Decimal("0.0730"), Decimal("10"))
    Decimal('170.0000')
    """
    loss_avoided = overdue * p_loss * contact_effect
    financing_saved = overdue * cost_of_funds * days_saved / Decimal(365)
    return loss_avoided + financing_saved


def collection_priority(
    overdue: Decimal, dpd_days: Decimal, pd_12m: Decimal, currency: str, rulebook: Rulebook
) -> CollectionPriority | None:
    """Return the priority of an overdue account, None where nothing is past due."""
    if overdue <= 0:
        return None
    p = rulebook.parameters
    value = contact_value(overdue, pd_12m * p["lgd"], p["contact_effect"], p["cost_of_funds"], p["contact_days_saved"])
    per_minute = round_money(value / p["contact_minutes"], currency)
    stage = str(rulebook.tables["collection_stage"](dpd_days=dpd_days).outputs["stage"])
    because = (
        f"{round_money(overdue, currency)} {currency} is past due, the oldest item {dpd_days} days; "
        f"a contact of {p['contact_minutes']} minutes is worth {round_money(value, currency)} {currency}"
    )
    return CollectionPriority(stage, per_minute, currency, because)
