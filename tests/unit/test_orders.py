"""Orders against the limit: what counts, what blocks, what would release."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest

from obligor.errors import PolicyError
from obligor.policy.credit.decide import decide
from obligor.policy.credit.facts import Facts
from obligor.policy.credit.orders import Order, OrderBook, OrderCheck, check_order
from obligor.policy.rulebooks.rulebook import RULES, read_rulebook
from tests.unit.test_policy import FACTS

RULEBOOK = read_rulebook(RULES / "2000-01-01")
TODAY = date(2025, 6, 30)


def checked(
    amount: str,
    unbilled: tuple[Order, ...] = (),
    idle: str | None = "10",
    pd_12m: float = 0.01,
    prepaid: bool = False,
    **facts: Any,
) -> OrderCheck:
    """Limit 16,438.35 (need), 4,000 open, 10,000 a month."""
    decision = decide(Facts(pd_12m, "EUR", {**FACTS, **facts}, TODAY), RULEBOOK)
    order = Order(Decimal(amount), TODAY, prepaid)
    book = OrderBook(TODAY, unbilled, Decimal(idle) if idle else None)
    return check_order(order, book, decision, RULEBOOK)


def fired(check: OrderCheck) -> list[str]:
    return [block.fired for block in check.blocks]


def test_an_order_that_fits_is_released() -> None:
    found = checked("12438.35")
    assert (found.outcome, found.exposure, found.room) == (
        "release",
        Decimal("16438.35"),
        Decimal("12438.35"),
    )
    assert (found.blocks, found.releases) == ((), ())


def test_a_cent_more_is_held_and_three_things_would_release_it() -> None:
    found = checked("12438.36")
    assert (found.outcome, fired(found)) == ("hold", ["B03"])
    assert [(one.act, one.amount) for one in found.releases] == [
        ("order_less", Decimal("12438.35")),
        ("pay", Decimal("0.01")),
        ("prepay", Decimal("12438.36")),
    ]


def test_unbilled_orders_count_where_they_are_delivered_in_the_horizon() -> None:
    soon, late = (
        Order(Decimal(12_000), TODAY + timedelta(days=days)) for days in (30, 31)
    )
    paid = Order(Decimal(12_000), TODAY, is_prepaid=True)
    assert checked("1000", (late, paid)).outcome == "release"
    found = checked("1000", (soon,))
    assert (found.outcome, found.room) == ("hold", Decimal("438.35"))


def test_a_prepaid_order_passes_whatever_the_customer() -> None:
    assert (
        checked("50000", prepaid=True, pd_12m=0.9, dpd_days=100.0).outcome == "release"
    )


@pytest.mark.parametrize(
    ("amount", "facts", "outcome", "blocks", "releases"),
    [
        ("1000", {"pd_12m": 0.5}, "hold", ["B01", "B03"], ["prepay"]),
        ("1000", {"dpd_days": 31.0}, "hold", ["B04", "B06"], ["prepay"]),
        (
            "250",
            {"dpd_days": 20.0, "broken_promises_365d": 2.0},
            "hold",
            ["B05"],
            ["prepay"],
        ),
        ("250", {"dpd_days": 20.0}, "release", [], []),
        (
            "250.01",
            {"open_amount": 16_400.0},
            "hold",
            ["B03"],
            ["order_less", "pay", "prepay"],
        ),
        ("250", {"open_amount": 16_400.0}, "release", [], []),  # small: excluded
        ("1000", {"dpd_days": float("nan")}, "refer", ["B06", "B07"], ["prepay"]),
        ("1000", {"pd_12m": 0.2}, "hold", ["B02", "B03", "B06"], ["prepay"]),
    ],
)
def test_each_block_and_its_exclusion(
    amount: str,
    facts: dict[str, Any],
    outcome: str,
    blocks: list[str],
    releases: list[str],
) -> None:
    found = checked(amount, **facts)
    assert (found.outcome, fired(found)) == (outcome, blocks)
    assert [one.act for one in found.releases] == releases


def test_a_spike_after_a_pause_is_referred() -> None:
    small_buyer = {"invoiced_amount_365d": 12_000.0, "open_amount": 0.0}
    usual = checked("1500", idle="91", **small_buyer)
    assert usual.outcome == "release"
    assert "B08" in fired(checked("5001", idle="91", **small_buyer))
    assert "B08" not in fired(checked("5001", idle="90", **small_buyer))


@pytest.mark.parametrize("amount", ["-1", "NaN", "Infinity"])
def test_an_amount_that_is_none_is_refused(amount: str) -> None:
    with pytest.raises(PolicyError, match=r"order\.amount"):
        checked(amount)
    with pytest.raises(PolicyError, match=r"unbilled\.amount"):
        checked("10", (Order(Decimal(amount), TODAY),))
