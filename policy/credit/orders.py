"""Whether an order may go out: its exposure against the limit, and the block rules."""

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

_ZERO = Decimal(0)
_MONTH = Decimal(365) / 12


@dataclass(frozen=True)
class Order:
    """An order in the reporting currency; a prepaid order adds no exposure."""

    amount: Decimal
    deliver_on: date
    is_prepaid: bool = False

    @property
    def credit(self) -> Decimal:
        """The amount delivered on credit."""
        return _ZERO if self.is_prepaid else self.amount


@dataclass(frozen=True)
class OrderBook:
    """The orders of a customer that count beside a new one.

    Attributes
    ----------
    as_of : date
        The day of the check.
    unbilled : tuple of Order
        Orders accepted before and not invoiced yet.
    idle_days : Decimal, optional
        Days since the last invoice; None if there is none.
    """

    as_of: date
    unbilled: tuple[Order, ...] = ()
    idle_days: Decimal | None = None


@dataclass(frozen=True)
class Release:
    """A step that would release the order.

    Attributes
    ----------
    act : {"order_less", "pay", "prepay"}
        The step.
    amount : Decimal
        The amount to pay, or the largest amount to order.
    text, text_zh : str
        The step in words.
    """

    act: str
    amount: Decimal
    text: str
    text_zh: str


@dataclass(frozen=True)
class OrderCheck:
    """The answer to an order.

    Attributes
    ----------
    outcome : {"release", "refer", "hold"}
        The answer.
    exposure : Decimal
        Amount the customer will owe within the horizon, this order included.
    room : Decimal
        Amount that the limit leaves for this order.
    blocks : tuple of Evaluation
        Every block rule that fired.
    releases : tuple of Release
        Steps that would release the order.
    authority : Evaluation
        Who may release it in spite of the blocks.
    """

    outcome: str
    exposure: Decimal
    room: Decimal
    blocks: tuple[Evaluation, ...]
    releases: tuple[Release, ...]
    authority: Evaluation


def exposure_until(
    open_amount: Decimal,
    unbilled: Sequence[Order],
    order: Order,
    last_day: date,
) -> Decimal:
    """Return the exposure to come: open items, unbilled orders, and a new order.

    Parameters
    ----------
    open_amount : Decimal
        Amount the customer owes now, in the reporting currency.
    unbilled : sequence of Order
        Orders accepted before and not invoiced yet.
    order : Order
        The new order.
    last_day : date
        End of the horizon; unbilled orders delivered later do not count.

    Returns
    -------
    Decimal
        Exposure at the end of the horizon, in the reporting currency.

    Examples
    --------
    >>> soon = Order(Decimal(300), date(2025, 7, 1))
    >>> late = Order(Decimal(900), date(2025, 9, 1))
    >>> order = Order(Decimal(50), date(2025, 7, 2))
    >>> exposure_until(Decimal(1000), [soon, late], order, date(2025, 7, 30))
    Decimal('1350')
    """
    credits = [other.credit for other in unbilled if other.deliver_on <= last_day]
    return open_amount + sum(credits, _ZERO) + order.credit


def check_order(
    order: Order,
    book: OrderBook,
    decision: Decision,
    rulebook: Rulebook,
) -> OrderCheck:
    """Check one order of a customer.

    Parameters
    ----------
    order : Order
        The order.
    book : OrderBook
        The orders accepted before, as of the day.
    decision : Decision
        The decision about the customer without a request: its limit and terms are what
        the order must fit.
    rulebook : Rulebook
        The rules in force.

    Returns
    -------
    OrderCheck
        Release, refer or hold, with the blocks and the steps that would lift them.

    Raises
    ------
    PolicyError
        If an amount is negative or not finite.
    """
    _check_amounts(order, book)
    # 1. Exposure: the amount to be owed, and the room the limit leaves.
    horizon = timedelta(days=int(rulebook.parameters["order_horizon_days"]))
    exposure = exposure_until(
        decision.position.used,
        book.unbilled,
        order,
        book.as_of + horizon,
    )
    room = decision.limit.amount - (exposure - order.credit)
    # 2. Blocks, and the strictest of their actions.
    blocks = _blocks(order, exposure, decision, book.idle_days, rulebook)
    outcome = _strictest(blocks)
    # 3. Steps that would release it, and who may release it without them.
    releases = list[Release]()
    if outcome != "release":
        releases = _releases(order, exposure, decision, book.idle_days, rulebook)
    authority = rulebook.tables["authority"](
        amount=exposure,
        customer_class=decision.customer_class,
        grade=decision.grade,
    )
    return OrderCheck(
        outcome=outcome,
        exposure=exposure,
        room=round_money(max(room, _ZERO), decision.limit.currency),
        blocks=tuple(blocks),
        releases=tuple(releases),
        authority=authority,
    )


def _check_amounts(order: Order, book: OrderBook) -> None:
    amounts = [("order.amount", order.amount)]
    amounts += [("unbilled.amount", unbilled.amount) for unbilled in book.unbilled]
    require_money(amounts)


def _strictest(blocks: Sequence[Evaluation]) -> str:
    actions = {block.outputs["action"] for block in blocks}
    if "hold" in actions:
        return "hold"
    return "refer" if "refer" in actions else "release"


def _blocks(
    order: Order,
    exposure: Decimal,
    decision: Decision,
    idle_days: Decimal | None,
    rulebook: Rulebook,
) -> list[Evaluation]:
    """The block rules that fire for an order at an exposure."""
    monthly_sales = decision.position.annual_sales / 365 * _MONTH
    # Without purchases there is no usual month to compare with.
    order_multiple = order.amount / monthly_sales if monthly_sales > 0 else None
    return rulebook.tables["order_blocks"].all(
        is_prepaid=order.is_prepaid,
        is_small=order.amount <= rulebook.parameters["small_order"],
        outcome=decision.outcome,
        customer_class=decision.customer_class,
        is_over_limit=exposure > decision.limit.amount,
        pays_in_advance=decision.terms.is_prepaid,
        order_multiple=order_multiple,
        idle_days=idle_days,
        is_stopped=decision.terms.is_stopped,
        **decision.position.standing(),
    )


def _releases(
    order: Order,
    exposure: Decimal,
    decision: Decision,
    idle_days: Decimal | None,
    rulebook: Rulebook,
) -> list[Release]:
    """The steps that would release an order; each is checked by the block rules."""

    def is_released(changed: Order, exposure_then: Decimal) -> bool:
        return not _blocks(changed, exposure_then, decision, idle_days, rulebook)

    limit = decision.limit.amount
    currency = decision.limit.currency
    releases = []
    # An order for the room alone, at an exposure that is just the limit.
    room = limit - (exposure - order.credit)
    if _ZERO < room < order.amount and is_released(replace(order, amount=room), limit):
        releases.append(_order_less(room, currency))
    # A payment cannot be more than what is open.
    excess = exposure - limit
    if _ZERO < excess <= decision.position.used and is_released(order, limit):
        releases.append(_pay(excess, currency))
    if not order.is_prepaid:
        prepaid = replace(order, is_prepaid=True)
        if is_released(prepaid, exposure - order.amount):
            releases.append(_prepay(order.amount, currency))
    return releases


def _order_less(room: Decimal, currency: str) -> Release:
    return Release(
        act="order_less",
        amount=room,
        text=f"Order for {room} {currency} or less",
        text_zh=f"订单不超过 {room} {currency}",
    )


def _pay(excess: Decimal, currency: str) -> Release:
    return Release(
        act="pay",
        amount=excess,
        text=f"Pay {excess} {currency} of what is open",
        text_zh=f"支付未清余额中的 {excess} {currency}",
    )


def _prepay(amount: Decimal, currency: str) -> Release:
    return Release(
        act="prepay",
        amount=amount,
        text=f"Pay the order in advance, {amount} {currency}",
        text_zh=f"预付订单金额 {amount} {currency}",
    )
