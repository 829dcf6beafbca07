"""Which overdue account to work on first, how, and when again: the best value within the collectors' time."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal

from obligor.data.money import round_money
from obligor.errors import PolicyError
from obligor.policy.rulebook import Rulebook
from obligor.policy.tables import Evaluation

DEFAULT_DPD_DAYS = 90  # from then on a loss is certain, but for what is recovered
URGENT_DAYS = 7  # before an insurer's deadline
_NOTHING, _YEAR = Decimal(0), Decimal(365)
EU = frozenset(
    (
        "AT",
        "BE",
        "BG",
        "CY",
        "CZ",
        "DE",
        "DK",
        "EE",
        "ES",
        "FI",
        "FR",
        "GR",
        "HR",
        "HU",
        "IE",
        "IT",
        "LT",
        "LU",
        "LV",
        "MT",
        "NL",
        "PL",
        "PT",
        "RO",
        "SE",
        "SI",
        "SK",
    )
)
_LAWS = {"CN": "cn", "GB": "gb"}


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


@dataclass(frozen=True)
class Debt:
    """What a customer owes past its day, as collectors see it, in the reporting currency.

    Attributes
    ----------
    disputed, promised : Decimal
        Of the overdue amount: in dispute, and promised by a day that has not passed.
    amount_days : Decimal
        The sum over items of open amount x days past due.
    n_items : int
        Items past due.
    last_broken_on : date, optional
        When the last promise a collector took was broken.
    contacts_today : int
        Contacts made on the as-of date.
    next_contact_on : date, optional
        What the last contact fixed.
    """

    customer_id: str
    currency: str
    overdue: Decimal
    dpd_days: Decimal
    pd_12m: Decimal
    customer_class: str
    disputed: Decimal = _NOTHING
    promised: Decimal = _NOTHING
    amount_days: Decimal = _NOTHING
    n_items: int = 1
    country: str = ""
    is_insured: bool = False
    last_broken_on: date | None = None
    contacts_today: int = 0
    next_contact_on: date | None = None

    @property
    def workable(self) -> Decimal:
        """What there is to ask for: neither disputed nor promised."""
        return max(self.overdue - self.disputed - self.promised, _NOTHING)


@dataclass(frozen=True)
class LateInterest:
    """What the law of the customer's country adds: interest so far, and a fee in that law's currency."""

    amount: Decimal
    fee: Decimal
    fee_currency: str
    because: str


@dataclass(frozen=True)
class Task:
    """A line of a worklist."""

    debt: Debt
    plan: Plan
    value: Decimal
    priority: CollectionPriority
    late_interest: LateInterest
    deadline: date | None
    is_urgent: bool


@dataclass(frozen=True)
class Rest:
    """An account that is not worked on this day, and why."""

    customer_id: str
    code: str
    because: str


@dataclass(frozen=True)
class Worklist:
    """Tasks in order of their worth with the collector of each; `left_out` had no time."""

    lines: tuple[tuple[int, Task], ...]
    left_out: tuple[Task, ...]

    @property
    def value(self) -> Decimal:
        """What the contacts are expected to save."""
        return sum((task.value for _, task in self.lines), _NOTHING)


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


def late_interest(debt: Debt, rulebook: Rulebook) -> LateInterest:
    """Return amount x rate x days / 365 by the law of the customer's country, and its fee per item.

    Examples
    --------
    >>> from policy.rulebook import RULES, read_rulebook
    >>> debt = Debt("C", "EUR", Decimal(1000), Decimal(73), Decimal("0.1"), "general", country="CN",
    ...             amount_days=Decimal(73000))
    >>> late_interest(debt, read_rulebook(RULES / "2000-01-01")).amount         # 1000 x .0005 x 73
    Decimal('36.50')
    """
    law = "eu" if debt.country in EU else _LAWS.get(debt.country, "other")
    found = rulebook.tables["late_interest"](country=law)
    rate, fee = (
        Decimal(str(found.outputs[name])) for name in ("rate_per_year", "fee_per_item")
    )
    amount = round_money(debt.amount_days * rate / _YEAR, debt.currency)
    return LateInterest(
        amount, fee * debt.n_items, str(found.outputs["fee_currency"]), found.because
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


def task_of(debt: Debt, as_of: date, rulebook: Rulebook) -> Task | Rest:
    """Return what to do about a debt on a day, or why it rests.

    Disputes stop the ladder, promises are waited for, a day of rest is kept: but an insurer's deadline is not moved.
    """
    plan, p = plan_of(debt.dpd_days, debt.customer_class, rulebook), rulebook.parameters
    deadline = None
    if debt.is_insured:
        left = p["insurer_extension_days"] + p["insurer_handover_days"] - debt.dpd_days
        deadline = as_of + timedelta(days=int(left))
    is_urgent = (
        deadline is not None
        and (deadline - as_of).days <= URGENT_DAYS
        and debt.workable > 0
    )
    resting = _rest(debt, plan, as_of)
    if resting and not is_urgent:
        return resting
    value, priority = collection_priority(
        debt.workable, debt.dpd_days, debt.pd_12m, plan, debt.currency, rulebook
    )
    if priority.value_per_minute < p["collector_cost"] and not is_urgent:
        return Rest(
            debt.customer_id,
            "not_worth_it",
            f"a contact is worth {priority.value_per_minute} a minute, less "
            f"than a collector costs ({p['collector_cost']})",
        )
    return Task(
        debt, plan, value, priority, late_interest(debt, rulebook), deadline, is_urgent
    )


def _rest(debt: Debt, plan: Plan, as_of: date) -> Rest | None:
    name = debt.customer_id
    if debt.workable <= 0 and debt.disputed >= debt.promised:
        return Rest(
            name,
            "disputed",
            f"{debt.disputed} {debt.currency} is disputed: settle that first",
        )
    if debt.workable <= 0:
        return Rest(
            name,
            "promised",
            f"{debt.promised} {debt.currency} is promised: wait for the day",
        )
    if debt.next_contact_on and debt.next_contact_on > as_of:
        return Rest(
            name, "fixed_later", f"the next contact is fixed for {debt.next_contact_on}"
        )
    if debt.contacts_today >= plan.calls_per_day:
        return Rest(
            name,
            "enough_today",
            f"{debt.contacts_today} contacts today; {plan.calls_per_day} is the most",
        )
    return None


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


def worklist(tasks: Sequence[Task], collectors: int, minutes: int) -> Worklist:
    """Return the best value within capacity: by worth per minute, urgent ones first, as long as time is left.

    Each task goes to the collector with the most time left. Taking by worth per minute falls short of the best
    possible by less than one task per collector (Dantzig 1957).

    Raises
    ------
    PolicyError
        Where there is no capacity at all.
    """
    if collectors < 1 or minutes < 1:
        raise PolicyError(
            f"{collectors} collectors with {minutes} minutes",
            where="capacity",
            expected="at least 1 of each",
        )
    free = [(-minutes, place) for place in range(1, collectors + 1)]
    lines, left_out = list[tuple[int, Task]](), list[Task]()
    for task in sorted(
        tasks,
        key=lambda one: (
            not one.is_urgent,
            -one.value / one.plan.minutes,
            one.debt.customer_id,
        ),
    ):
        left, place = free[0]
        if -left < task.plan.minutes:
            left_out.append(task)
        else:
            heapq.heapreplace(free, (left + task.plan.minutes, place))
            lines.append((place, task))
    return Worklist(tuple(lines), tuple(left_out))
