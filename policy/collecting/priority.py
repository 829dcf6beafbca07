"""Which overdue account to contact first, how, and when again.

A contact is worth the loss it avoids plus the financing it saves, per minute of work.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import NamedTuple

from obligor.data.money import round_money
from obligor.policy.collecting.working_days import WorkingDays
from obligor.policy.rulebooks.decision_table import Evaluation
from obligor.policy.rulebooks.rulebook import Rulebook

DEFAULT_DPD_DAYS = 90  # beyond these the customer is in default (Basel CRE36.69)
_YEAR = Decimal(365)
_ZERO = Decimal(0)
_CHANNELS_ZH = {
    "mail": "邮件",
    "call": "电话",
    "visit": "拜访",
    "lawyer": "律师跟进",
}


class LossPart(NamedTuple):
    """An amount, and the share of it that is lost if nobody acts."""

    amount: Decimal
    loss_share: Decimal


class Arrears(NamedTuple):
    """An overdue amount, and how likely it is to be lost.

    Attributes
    ----------
    amount : Decimal
        Overdue amount in `currency`.
    dpd_days : Decimal
        Days past due of the oldest item, or of a material amount.
    pd_12m : Decimal
        Probability of default within 12 months, 0 to 1.
    currency : str
        The reporting currency.
    in_default : Decimal, optional
        What of the amount is more than 90 days past due; None if the age is taken to be
        `dpd_days` for all of it.
    """

    amount: Decimal
    dpd_days: Decimal
    pd_12m: Decimal
    currency: str
    in_default: Decimal | None = None

    def parts(self, lgd: Decimal) -> tuple[LossPart, ...]:
        """Return the amounts that are lost with different probabilities.

        Examples
        --------
        Of 20,005 only 5 are in default:

        >>> days, pd_12m, lgd = Decimal(3), Decimal("0.02"), Decimal("0.45")
        >>> arrears = Arrears(Decimal(20_005), days, pd_12m, "EUR", Decimal(5))
        >>> for part in arrears.parts(lgd):
        ...     print(part.amount, part.loss_share)
        5 0.45
        20000 0.0090
        """
        if self.in_default is None:
            share = p_loss(self.pd_12m, self.dpd_days, lgd)
            return (LossPart(self.amount, share),)
        others = self.amount - self.in_default
        return (
            LossPart(self.in_default, lgd),
            LossPart(others, self.pd_12m * lgd),
        )


@dataclass(frozen=True)
class Plan:
    """How the rules treat an account of a stage and class.

    Attributes
    ----------
    stage, channel : str
        Stage of collection, and the means of contact.
    calls_per_day, minutes : int
        Most contacts a day, and the minutes one takes.
    rest_days : int
        Days without a contact after one that reached the customer.
    contact_effect : Decimal
        Share of the expected loss that a contact avoids, 0 to 1.
    days_saved : int
        Days by which a contact brings the money earlier.
    trace : tuple of Evaluation
        The rules.
    """

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
    """The value of a contact per minute of work, with stage, channel and reason."""

    stage: str
    channel: str
    value_per_minute: Decimal
    currency: str
    because: str
    because_zh: str


class AccountAge(NamedTuple):
    """How much of an account is past due, and for how long.

    Attributes
    ----------
    dpd_days : Decimal
        Days past due of the oldest item.
    overdue_amount : Decimal
        The sum of its open items past due, less the unapplied money, in the reporting
        currency.
    material_dpd_days : Decimal, optional
        Days for which a material amount has been past due; those of the oldest item
        under rules that do not say what is material.
    unapplied_amount : Decimal
        Money of the customer that belongs to no item.
    """

    dpd_days: Decimal
    overdue_amount: Decimal
    material_dpd_days: Decimal | None = None
    unapplied_amount: Decimal = _ZERO


def plan_of(
    age: AccountAge,
    customer_class: str,
    rulebook: Rulebook,
) -> Plan:
    """Return stage, channel and pace of an account.

    Parameters
    ----------
    age : AccountAge
        What is past due, and for how long.
    customer_class : {"premium", "general", "risk"}
        Class of the customer.
    rulebook : Rulebook
        The rules in force.

    Returns
    -------
    Plan
        From the tables ``collection_stage`` and ``collection_strategy``.
    """
    material_dpd_days = age.material_dpd_days
    if material_dpd_days is None:
        material_dpd_days = age.dpd_days
    stage = rulebook.tables["collection_stage"](
        dpd_days=age.dpd_days,
        material_dpd_days=material_dpd_days,
        overdue_amount=age.overdue_amount,
        unapplied_amount=age.unapplied_amount,
    )
    strategy = rulebook.tables["collection_strategy"](
        stage=stage.outputs["stage"], customer_class=customer_class
    )
    return Plan(
        stage=str(stage.outputs["stage"]),
        channel=str(strategy.outputs["channel"]),
        calls_per_day=strategy.whole("calls_per_day"),
        minutes=strategy.whole("minutes"),
        rest_days=strategy.whole("rest_days"),
        contact_effect=strategy.number("contact_effect"),
        days_saved=strategy.whole("days_saved"),
        trace=(stage, strategy),
    )


def p_loss(
    pd_12m: Decimal,
    dpd_days: Decimal,
    lgd: Decimal,
) -> Decimal:
    """Return the share of an overdue amount that is lost if nobody acts.

    Parameters
    ----------
    pd_12m : Decimal
        Probability of default within 12 months, 0 to 1.
    dpd_days : Decimal
        Days past due of the oldest item.
    lgd : Decimal
        Loss given default, 0 to 1.

    Returns
    -------
    Decimal
        PD x LGD; LGD once the customer is in default.

    Examples
    --------
    >>> p_loss(Decimal("0.2"), Decimal(30), Decimal("0.5"))
    Decimal('0.10')
    >>> p_loss(Decimal("0.2"), Decimal(91), Decimal("0.5"))
    Decimal('0.5')
    """
    return lgd if dpd_days > DEFAULT_DPD_DAYS else pd_12m * lgd


def contact_value(
    amount: Decimal,
    p_loss: Decimal,
    contact_effect: Decimal,
    cost_of_funds: Decimal,
    days_saved: Decimal,
) -> Decimal:
    """Return the money one contact is expected to save: loss avoided, financing saved.

    Parameters
    ----------
    amount : Decimal
        Overdue amount, in the reporting currency.
    p_loss : Decimal
        Share of it that is lost if nobody acts, 0 to 1.
    contact_effect : Decimal
        Share of that loss a contact avoids, 0 to 1.
    cost_of_funds : Decimal
        Interest rate at which receivables are financed, per year.
    days_saved : Decimal
        Days by which a contact brings the money earlier.

    Returns
    -------
    Decimal
        In the reporting currency, not rounded.

    Examples
    --------
    10,000 x 10% x 15% avoided, and 10 days at 7.3% a year saved:

    >>> effect, funds = Decimal("0.15"), Decimal("0.0730")
    >>> contact_value(Decimal("10000"), Decimal("0.10"), effect, funds, Decimal("10"))
    Decimal('170.0000')
    """
    loss_avoided = amount * p_loss * contact_effect
    financing_saved = amount * cost_of_funds * days_saved / _YEAR
    return loss_avoided + financing_saved


def value_of_contact(
    arrears: Arrears,
    plan: Plan,
    rulebook: Rulebook,
) -> Decimal:
    """Return the value of a contact about some arrears under a plan.

    Parameters
    ----------
    arrears : Arrears
        The overdue amount, its age, and the PD.
    plan : Plan
        How the account is treated.
    rulebook : Rulebook
        Gives LGD and the cost of funds.

    Returns
    -------
    Decimal
        `contact_value` in the reporting currency, not rounded.
    """
    parameters = rulebook.parameters
    value = _ZERO
    for part in arrears.parts(parameters["lgd"]):
        value += contact_value(
            part.amount,
            part.loss_share,
            plan.contact_effect,
            parameters["cost_of_funds"],
            Decimal(plan.days_saved),
        )
    return value


def collection_priority(
    arrears: Arrears,
    plan: Plan,
    rulebook: Rulebook,
) -> CollectionPriority:
    """Return the value of a contact per minute, with the reason in words.

    Parameters
    ----------
    arrears : Arrears
        The overdue amount, its age, and the PD.
    plan : Plan
        How the account is treated.
    rulebook : Rulebook
        Gives LGD and the cost of funds.

    Returns
    -------
    CollectionPriority
        Stage, channel, value per minute and reason.
    """
    currency = arrears.currency
    value = value_of_contact(arrears, plan, rulebook)
    loss = _ZERO
    for part in arrears.parts(rulebook.parameters["lgd"]):
        loss += part.amount * part.loss_share
    amount = round_money(arrears.amount, currency)
    loss = round_money(loss, currency)
    saved = round_money(value, currency)
    age, age_zh = _age_texts(arrears)
    because = (
        f"{amount} {currency} is past due, {age}, "
        f"expected loss {loss}; a {plan.channel} of {plan.minutes} minutes avoids "
        f"{plan.contact_effect:.0%} of it and brings the money {plan.days_saved} days "
        f"earlier: worth {saved} {currency}"
    )
    because_zh = (
        f"逾期 {amount} {currency}，{age_zh}，"
        f"预期损失 {loss}；一次 {plan.minutes} 分钟的"
        f"{_CHANNELS_ZH[plan.channel]}可避免其中 {plan.contact_effect:.0%}，"
        f"并提前 {plan.days_saved} 天回款：价值 {saved} {currency}"
    )
    return CollectionPriority(
        stage=plan.stage,
        channel=plan.channel,
        value_per_minute=round_money(value / plan.minutes, currency),
        currency=currency,
        because=because,
        because_zh=because_zh,
    )


def _age_texts(arrears: Arrears) -> tuple[str, str]:
    """How old the arrears are, in English and in Chinese."""
    days = f"{arrears.dpd_days:.0f}"
    # Recorded answers have these words, so under rules of that time they stay.
    if arrears.in_default is None:
        return f"the oldest item {days} days", f"最早一笔逾期 {days} 天"
    return f"a material part of it for {days} days", f"其中重大部分逾期 {days} 天"


def is_quiet(day: date, rulebook: Rulebook) -> bool:
    """Whether no customer is contacted on a day, wherever they are."""
    evaluation = rulebook.tables["quiet_days"](
        weekday=day.isoweekday(),
        is_day_off=False,
    )
    return bool(evaluation.outputs["is_quiet"])


def next_contact_on(
    contacted_on: date,
    contacts_today: int,
    is_reached: bool,
    plan: Plan,
    working_days: WorkingDays,
) -> date:
    """Return the day of the next contact.

    It is the same day as long as calls are left and the customer was not reached, and
    otherwise the first working day after the days of rest.

    Parameters
    ----------
    contacted_on : date
        Day of the last contact.
    contacts_today : int
        Contacts on that day so far.
    is_reached : bool
        Whether the customer was reached.
    plan : Plan
        Calls a day, and days of rest.
    working_days : WorkingDays
        The days on which this customer is contacted.

    Returns
    -------
    date
        The day.

    Examples
    --------
    A customer of class risk, 45 days past due: three calls a day, two days of rest,
    and none on Sunday.

    >>> from obligor.policy.rulebooks.rulebook import RULES, read_rulebook
    >>> rules = read_rulebook(RULES / "2000-01-01")
    >>> age = AccountAge(Decimal(45), Decimal(10000))
    >>> plan = plan_of(age, "risk", rules)
    >>> friday = date(2025, 6, 27)
    >>> days = WorkingDays(rules)
    >>> next_contact_on(friday, 2, False, plan, days) == friday
    True
    >>> next_contact_on(friday, 3, False, plan, days)
    datetime.date(2025, 6, 30)
    """
    if not is_reached and contacts_today < plan.calls_per_day:
        return contacted_on
    # At least a day, else a plan without rest would never move on.
    rest = timedelta(days=max(plan.rest_days, 1))
    return working_days.first_from(contacted_on + rest)
