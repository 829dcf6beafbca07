"""Whether an order may go out: exposure in the horizon against the limit, and the block rules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from decimal import Decimal

from obligor.data.money import round_money
from obligor.policy.credit.credit_file import require_money
from obligor.policy.credit.decide import Decision
from obligor.policy.rulebooks.decision_table import Evaluation
from obligor.policy.rulebooks.rulebook import Rulebook

_NOTHING, _MONTH = Decimal(0), Decimal(365) / 12


@dataclass(frozen=True)
class Order:
    """An order in the reporting currency; what is prepaid is no exposure."""

    amount: Decimal
    deliver_on: date
    is_prepaid: bool = False


@dataclass(frozen=True)
class Release:
    """Something that would release the order; `amount` is to be paid, or what the order may be."""

    act: str
    amount: Decimal
    text: str
    text_zh: str


@dataclass(frozen=True)
class OrderCheck:
    """The answer to an order, with every block that fired, and who may release it against them."""

    outcome: str
    exposure: Decimal
    room: Decimal
    blocks: tuple[Evaluation, ...]
    releases: tuple[Release, ...]
    authority: Evaluation


def exposure_until(
    open_amount: Decimal, unbilled: Sequence[Order], order: Order, last: date
) -> Decimal:
    """Return what will be owed: open items, unbilled orders delivered by a day, and the order itself.

    Examples
    --------
    >>> soon, late = Order(Decimal(300), date(2025, 7, 1)), Order(Decimal(900), date(2025, 9, 1))
    >>> exposure_until(Decimal(1000), [soon, late], Order(Decimal(50), date(2025, 7, 2)), date(2025, 7, 30))
    Decimal('1350')
    """
    due = [
        one.amount for one in unbilled if one.deliver_on <= last and not one.is_prepaid
    ]
    return (
        open_amount
        + sum(due, _NOTHING)
        + (_NOTHING if order.is_prepaid else order.amount)
    )


def check_order(
    order: Order,
    unbilled: Sequence[Order],
    decision: Decision,
    idle_days: Decimal | None,
    as_of: date,
    rulebook: Rulebook,
) -> OrderCheck:
    """Check one order of a customer who has been decided about.

    Parameters
    ----------
    order, unbilled : Order
        The order, and orders accepted before that are not invoiced yet.
    decision : Decision
        The customer's decision without a request: its limit and terms are what the order must fit.
    idle_days : Decimal, optional
        Days since the last invoice.

    Raises
    ------
    PolicyError
        Where an amount is negative or no number.
    """
    require_money(
        [
            ("order.amount", order.amount),
            *(("unbilled.amount", one.amount) for one in unbilled),
        ]
    )
    last = as_of + timedelta(days=int(rulebook.parameters["order_horizon_days"]))
    exposure = exposure_until(decision.position.used, unbilled, order, last)
    room = decision.limit.amount - (
        exposure - (_NOTHING if order.is_prepaid else order.amount)
    )
    blocks = _blocks(order, exposure, decision, idle_days, rulebook)
    actions = {str(block.outputs["action"]) for block in blocks}
    outcome = (
        "hold" if "hold" in actions else "refer" if "refer" in actions else "release"
    )
    releases = (
        ()
        if outcome == "release"
        else _releases(order, exposure, room, decision, idle_days, rulebook)
    )
    fits = round_money(max(room, _NOTHING), decision.limit.currency)
    authority = rulebook.tables["authority"](
        amount=exposure, customer_class=decision.customer_class, grade=decision.grade
    )
    return OrderCheck(outcome, exposure, fits, tuple(blocks), releases, authority)


def _blocks(
    order: Order,
    exposure: Decimal,
    decision: Decision,
    idle_days: Decimal | None,
    rulebook: Rulebook,
) -> list[Evaluation]:
    monthly = decision.position.annual_sales / 365 * _MONTH
    return rulebook.tables["order_blocks"].all(
        is_prepaid=order.is_prepaid,
        is_small=order.amount <= rulebook.parameters["small_order"],
        outcome=decision.outcome,
        customer_class=decision.customer_class,
        is_over_limit=exposure > decision.limit.amount,
        pays_in_advance=decision.terms.is_prepaid,
        dpd_days=decision.position.dpd_days,
        order_multiple=order.amount / monthly if monthly > 0 else None,
        idle_days=idle_days,
        is_stopped=decision.terms.is_stopped,
    )


def _releases(
    order: Order,
    exposure: Decimal,
    room: Decimal,
    decision: Decision,
    idle_days: Decimal | None,
    rulebook: Rulebook,
) -> tuple[Release, ...]:
    """What would release it; each is put to the block rules again, and only what passes is offered."""
    currency, found = decision.limit.currency, list[Release]()
    less = replace(order, amount=room)
    if _NOTHING < room < order.amount and not _blocks(
        less, decision.limit.amount, decision, idle_days, rulebook
    ):
        found.append(
            Release(
                "order_less",
                room,
                f"Order for {room} {currency} or less",
                f"订单不超过 {room} {currency}",
            )
        )
    over = exposure - decision.limit.amount
    if _NOTHING < over <= decision.position.used and not _blocks(
        order, decision.limit.amount, decision, idle_days, rulebook
    ):
        found.append(
            Release(
                "pay",
                over,
                f"Pay {over} {currency} of what is open",
                f"支付未清余额中的 {over} {currency}",
            )
        )
    if not order.is_prepaid:
        prepaid = replace(order, is_prepaid=True)
        if not _blocks(prepaid, exposure - order.amount, decision, idle_days, rulebook):
            text = (
                f"Pay the order in advance, {order.amount} {currency}",
                f"预付订单金额 {order.amount} {currency}",
            )
            found.append(Release("prepay", order.amount, *text))
    return tuple(found)
