"""Which overdue account to work on first, how, and when again: the best value within the collectors' time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal

from obligor.data.money import round_money
from obligor.policy.rulebooks.decision_table import Evaluation
from obligor.policy.rulebooks.rulebook import Rulebook

DEFAULT_DPD_DAYS = 90  # from then on a loss is certain, but for what is recovered

URGENT_DAYS = 7  # before an insurer's deadline

_NOTHING, _YEAR = Decimal(0), Decimal(365)


@dataclass(frozen=True)
class Plan:
    """What the rules say about an account of some stage and class."""

    stage: str
    channel: str
    calls_per_day: int
    minutes: int
    rest_days: int
    contact_effect: Decimal
    days_saved: int
    trace: tuple[Evaluation, ...]


@dataclass(frozen=True)
class CollectionPriority:
    """The expected value of a contact per minute of work, and the stage and channel the account is in."""

    stage: str
    channel: str
    value_per_minute: Decimal
    currency: str
    because: str
    because_zh: str


def plan_of(dpd_days: Decimal, customer_class: str, rulebook: Rulebook) -> Plan:
    """Return stage, channel and pace of an account."""
    stage = rulebook.tables["collection_stage"](dpd_days=dpd_days)
    strategy = rulebook.tables["collection_strategy"](
        stage=stage.outputs["stage"], customer_class=customer_class
    )
    return Plan(
        stage=str(stage.outputs["stage"]),
        channel=str(strategy.outputs["channel"]),
        calls_per_day=strategy.whole("calls_per_day"),
        minutes=strategy.whole("minutes"),
        rest_days=strategy.whole("rest_days"),
        contact_effect=Decimal(str(strategy.outputs["contact_effect"])),
        days_saved=strategy.whole("days_saved"),
        trace=(stage, strategy),
    )


def p_loss(pd_12m: Decimal, dpd_days: Decimal, lgd: Decimal) -> Decimal:
    """Return the share of an overdue amount that is lost where nobody acts: PD x LGD, LGD once in default.

    Examples
    --------
    >>> p_loss(Decimal("0.2"), Decimal(30), Decimal("0.5")), p_loss(Decimal("0.2"), Decimal(91), Decimal("0.5"))
    (Decimal('0.10'), Decimal('0.5'))
    """
    return lgd if dpd_days > DEFAULT_DPD_DAYS else pd_12m * lgd


def contact_value(
    amount: Decimal,
    p_loss: Decimal,
    contact_effect: Decimal,
    cost_of_funds: Decimal,
    days_saved: Decimal,
) -> Decimal:
    """Return the money one contact is expected to save: loss avoided and financing saved.

    Examples
    --------
    >>> contact_value(Decimal("10000"), Decimal("0.10"), Decimal("0.15"), Decimal("0.0730"), Decimal("10"))
    Decimal('170.0000')
    """
    return (
        amount * p_loss * contact_effect + amount * cost_of_funds * days_saved / _YEAR
    )


def collection_priority(
    amount: Decimal,
    dpd_days: Decimal,
    pd_12m: Decimal,
    plan: Plan,
    currency: str,
    rulebook: Rulebook,
) -> tuple[Decimal, CollectionPriority]:
    """Return what a contact is worth, and that per minute with the reason in words."""
    p = rulebook.parameters
    loss = p_loss(pd_12m, dpd_days, p["lgd"])
    value = contact_value(
        amount, loss, plan.contact_effect, p["cost_of_funds"], Decimal(plan.days_saved)
    )
    asked, saved, lost = (
        round_money(one, currency) for one in (amount, value, amount * loss)
    )
    per_minute = round_money(value / plan.minutes, currency)
    because = (
        f"{asked} {currency} is past due, the oldest item {dpd_days:.0f} days, expected loss {lost}; a {plan.channel} "
        f"of {plan.minutes} minutes avoids {plan.contact_effect:.0%} of it and brings the money {plan.days_saved} days "
        f"earlier: worth {saved} {currency}"
    )
    because_zh = (
        f"逾期 {asked} {currency}，最早一笔逾期 {dpd_days:.0f} 天，预期损失 {lost}；一次 {plan.minutes} 分钟的"
        f"{_CHANNELS_ZH[plan.channel]}可避免其中 {plan.contact_effect:.0%}，"
        f"并提前 {plan.days_saved} 天回款：价值 {saved} {currency}"
    )
    return value, CollectionPriority(
        plan.stage, plan.channel, per_minute, currency, because, because_zh
    )


_CHANNELS_ZH = {"mail": "邮件", "call": "电话", "visit": "拜访", "lawyer": "律师跟进"}


def is_quiet(day: date, rulebook: Rulebook) -> bool:
    """Whether nobody is contacted on a day."""
    return bool(
        rulebook.tables["quiet_days"](weekday=day.isoweekday()).outputs["is_quiet"]
    )


def next_contact_on(
    contacted_on: date,
    contacts_today: int,
    is_reached: bool,
    plan: Plan,
    rulebook: Rulebook,
) -> date:
    """Return the next contact's day: the same day while calls are left and nobody was reached, else after the rest.

    Examples
    --------
    >>> from policy.rulebook import RULES, read_rulebook
    >>> rules = read_rulebook(RULES / "2000-01-01")
    >>> plan = plan_of(Decimal(45), "risk", rules)                      # three calls a day, two days of rest
    >>> friday = date(2025, 6, 27)
    >>> next_contact_on(friday, 2, False, plan, rules) == friday
    True
    >>> next_contact_on(friday, 3, False, plan, rules)                  # not on Sunday
    datetime.date(2025, 6, 30)
    """
    if not is_reached and contacts_today < plan.calls_per_day:
        return contacted_on
    return working_day(contacted_on + timedelta(days=max(plan.rest_days, 1)), rulebook)


def working_day(day: date, rulebook: Rulebook) -> date:
    """Return the day, or the first of the week after it that is not quiet."""
    week = (day + timedelta(days=n) for n in range(7))
    return next((one for one in week if not is_quiet(one, rulebook)), day)
