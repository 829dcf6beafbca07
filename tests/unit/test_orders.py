"""Orders against the limit: what counts, what blocks, what would release."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from math import nan

import pytest

from obligor.errors import PolicyError
from obligor.policy.credit.decide import Decision
from obligor.policy.credit.orders import Order, OrderBook, OrderCheck, check_order
from tests.customers import AS_OF, RULEBOOK, decision_about

USUAL = decision_about()  # a limit of 16,438.35 (need), 4,000 open, 10,000 a month


def check(
    amount: str,
    decision: Decision = USUAL,
    unbilled: Sequence[Order] = (),
    idle_days: int = 10,
    is_prepaid: bool = False,
) -> OrderCheck:
    order = Order(Decimal(amount), AS_OF, is_prepaid)
    book = OrderBook(AS_OF, tuple(unbilled), Decimal(idle_days))
    return check_order(order, book, decision, RULEBOOK)


def blocks_of(order_check: OrderCheck) -> list[str]:
    return [block.fired for block in order_check.blocks]


def test_an_order_that_fits_is_released() -> None:
    order_check = check("12438.35")
    assert order_check.outcome == "release"
    assert order_check.exposure == Decimal("16438.35")
    assert order_check.room == Decimal("12438.35")
    assert order_check.blocks == ()
    assert order_check.releases == ()


def test_a_cent_more_is_held_and_three_steps_would_release_it() -> None:
    order_check = check("12438.36")
    assert order_check.outcome == "hold"
    assert blocks_of(order_check) == ["B03"]
    assert [(step.act, step.amount) for step in order_check.releases] == [
        ("order_less", Decimal("12438.35")),
        ("pay", Decimal("0.01")),
        ("prepay", Decimal("12438.36")),
    ]


def test_unbilled_orders_count_if_they_are_delivered_within_the_horizon() -> None:
    within = Order(Decimal(12_000), AS_OF + timedelta(days=30))
    later = Order(Decimal(12_000), AS_OF + timedelta(days=31))
    prepaid = Order(Decimal(12_000), AS_OF, is_prepaid=True)
    assert check("1000", unbilled=[later, prepaid]).outcome == "release"
    order_check = check("1000", unbilled=[within])
    assert order_check.outcome == "hold"
    assert order_check.room == Decimal("438.35")


def test_a_prepaid_order_is_released_whatever_the_customer() -> None:
    weak = decision_about(0.9, dpd_days=100.0)
    assert check("50000", weak, is_prepaid=True).outcome == "release"


@pytest.mark.parametrize(
    ("amount", "decision", "outcome", "blocks", "releases"),
    [
        ("1000", decision_about(0.5), "hold", ["B01", "B03"], ["prepay"]),
        ("1000", decision_about(dpd_days=31.0), "hold", ["B04", "B06"], ["prepay"]),
        (
            "250",
            decision_about(dpd_days=20.0, broken_promises_365d=2.0),
            "hold",
            ["B05"],
            ["prepay"],
        ),
        ("250", decision_about(dpd_days=20.0), "release", [], []),
        (
            "250.01",
            decision_about(open_amount=16_400.0),
            "hold",
            ["B03"],
            ["order_less", "pay", "prepay"],
        ),
        # A small order is excluded from the check of the limit.
        ("250", decision_about(open_amount=16_400.0), "release", [], []),
        ("1000", decision_about(dpd_days=nan), "refer", ["B06", "B07"], ["prepay"]),
        ("1000", decision_about(0.2), "hold", ["B02", "B03", "B06"], ["prepay"]),
    ],
)
def test_each_block_and_its_exclusion(
    amount: str,
    decision: Decision,
    outcome: str,
    blocks: list[str],
    releases: list[str],
) -> None:
    order_check = check(amount, decision)
    assert order_check.outcome == outcome
    assert blocks_of(order_check) == blocks
    assert [step.act for step in order_check.releases] == releases


def test_a_spike_after_a_pause_is_referred() -> None:
    small_buyer = decision_about(invoiced_amount_365d=12_000.0, open_amount=0.0)
    assert check("1500", small_buyer, idle_days=91).outcome == "release"
    assert "B08" in blocks_of(check("5001", small_buyer, idle_days=91))
    assert "B08" not in blocks_of(check("5001", small_buyer, idle_days=90))


@pytest.mark.parametrize("amount", ["-1", "NaN", "Infinity"])
def test_an_invalid_amount_is_refused(amount: str) -> None:
    with pytest.raises(PolicyError, match=r"order\.amount"):
        check(amount)
    with pytest.raises(PolicyError, match=r"unbilled\.amount"):
        check("10", unbilled=[Order(Decimal(amount), AS_OF)])
