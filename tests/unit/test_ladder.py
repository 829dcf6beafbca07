"""Promises move a customer by date; groups are a tree; reviews come with events; cases need the right person."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from obligor.data.account_building import accounts_of
from obligor.data.asof import known_account
from obligor.data.open_items import settled_promises
from obligor.errors import AuthorityError, SchemaError
from obligor.policy.credit.authority import Authority, Resolution, resolve
from obligor.policy.credit.credit_file import (
    Assessment,
    CreditFile,
    LimitEvent,
    Security,
    TemporaryLimit,
)
from obligor.policy.credit.decide import Decision, decide
from obligor.policy.credit.facts import Facts
from obligor.policy.credit.groups import Group, line_of
from obligor.policy.credit.orders import Order, OrderBook, check_order
from obligor.policy.credit.promise_ladder import Promise, ladder_position
from obligor.policy.rulebooks.rulebook import RULES, read_rulebook
from tests.ascii import ledger
from tests.unit.test_policy import FACTS

RULEBOOK = read_rulebook(RULES / "2000-01-01")
TODAY = date(2025, 6, 30)
NOTHING_ON_FILE = CreditFile()


def promises(marks: str) -> tuple[Promise, ...]:
    """One promise a week up to today: ``k`` kept, ``b`` broken."""
    days = (
        date.fromordinal(TODAY.toordinal() - 7 * n) for n in reversed(range(len(marks)))
    )
    return tuple(
        Promise(day, mark == "k") for day, mark in zip(days, marks, strict=True)
    )


def decided(
    marks: str = "", file: CreditFile = NOTHING_ON_FILE, pd_12m: float = 0.01
) -> Decision:
    return decide(
        Facts(
            pd_12m,
            "EUR",
            FACTS,
            TODAY,
            credit_file=file,
            promises=promises(marks),
            customer_id="ANNA",
        ),
        RULEBOOK,
    )


@pytest.mark.parametrize(
    ("marks", "rung"),
    [
        ("", 0),
        ("kk", 0),
        ("kkk", 1),
        ("kkkkk", 1),
        ("kkkkkk", 2),
        ("kkkkkkkkk", 2),
        ("b", -1),
        ("bb", -2),
        ("bbb", -3),
        ("bbbb", -3),
        ("bkkk", 0),
        ("kkb", -1),
        ("kkbkk", -1),
        ("kkkb", 0),
    ],
)
def test_promises_move_the_rung(marks: str, rung: int) -> None:
    assert ladder_position(promises(marks), TODAY, RULEBOOK).rung == rung


def test_a_quiet_year_is_a_step_to_the_middle_and_later_promises_are_not_seen() -> None:
    broken = [Promise(date(2023, 1, 1), False), Promise(date(2023, 1, 2), False)]
    days = {
        date(2023, 1, 1): -1,
        date(2024, 1, 1): -2,
        date(2024, 1, 2): -1,
        date(2024, 12, 31): -1,
        date(2025, 1, 1): 0,
        date(2029, 1, 1): 0,
    }
    for day, rung in days.items():
        found = ladder_position(broken, day, RULEBOOK)
        assert (day, found.rung) == (day, rung)
        assert found.since is None or found.since <= day


@given(st.text("kb", max_size=30))
def test_a_broken_promise_never_raises_and_a_kept_one_never_lowers(marks: str) -> None:
    rungs = [
        ladder_position(promises(marks)[:n], TODAY, RULEBOOK).rung
        for n in range(len(marks) + 1)
    ]
    for mark, before, after in zip(marks, rungs, rungs[1:], strict=False):
        assert after >= before if mark == "k" else after == max(before - 1, -3)


@pytest.mark.parametrize(
    ("marks", "days", "deposit", "class_"),
    [
        ("", 45, "0", "general"),
        ("kkk", 52, "0", "general"),
        ("kkkkkk", 60, "0", "general"),
        ("b", 38, "0", "general"),
        ("bb", 16, "0.2", "risk"),
    ],
)
def test_the_rung_moves_terms_and_class(
    marks: str, days: int, deposit: str, class_: str
) -> None:
    found = decided(marks)
    assert (
        found.terms.terms_days,
        found.terms.deposit_share,
        found.customer_class,
    ) == (days, Decimal(deposit), class_)
    assert [one.fired for one in found.trace if one.table == "ladder_moves"] == [
        "L2"
    ] * (len(marks) // 3) * ("k" in marks) + ["L1"] * marks.count("b")


def test_kept_promises_earn_a_discount_and_three_broken_ones_stop_delivery() -> None:
    assert decided("kkkkkk").terms.discount_rate == Decimal("0.015")
    stopped = decided("bbb")
    assert (
        stopped.terms.is_stopped,
        stopped.terms.is_prepaid,
        stopped.terms.deposit_share,
    ) == (True, True, 1)
    small = Order(Decimal(100), TODAY)
    check = check_order(small, OrderBook(TODAY, (), Decimal(3)), stopped, RULEBOOK)
    assert "B09" in [block.fired for block in check.blocks]
    assert (
        check_order(
            replace(small, is_prepaid=True),
            OrderBook(TODAY, (), Decimal(3)),
            stopped,
            RULEBOOK,
        ).blocks
        == ()
    )
    assert (
        check_order(small, OrderBook(TODAY, (), Decimal(3)), decided(), RULEBOOK).blocks
        == ()
    )


def test_promises_of_a_ledger_are_settled_when_they_were() -> None:
    people = "customer_id | registered_on\n A | 2024-01-01"
    items = "invoice_id | customer_id | issued_on | due_on | amount\n I | A | 2024-01-01 | 2024-02-01 | 100"
    made = (
        "invoice_id | promised_on | pay_by | amount\n I | 2024-02-10 | 2024-02-20 | 40\n"
        " I | 2024-03-01 | 2024-03-10 | 60"
    )
    paid = (
        "payment_id | invoice_id | paid_on | amount\n P | I | 2024-02-12 | 15\n Q | I | 2024-02-15 | 25\n"
        " R | I | 2024-03-11 | 60"
    )
    book = ledger(customers=people, invoices=items, promises=made, payments=paid)
    (account,) = accounts_of(book)
    wanted = [(date(2024, 2, 15), True), (date(2024, 3, 11), False)]
    for day, n in (
        (date(2024, 2, 14), 0),
        (date(2024, 2, 15), 1),
        (date(2024, 3, 10), 1),
        (date(2024, 3, 11), 2),
    ):
        assert settled_promises(known_account(account, day)) == wanted[:n]


# --- groups

TREE = (
    Group("World", Decimal(50_000), Decimal(46_000)),
    Group(
        "Europe", Decimal(30_000), Decimal(29_000), parent="World", members=("BERT",)
    ),
    Group(
        "North",
        Decimal(9_000),
        Decimal(1_000),
        parent="Europe",
        members=("ANNA", "CARL"),
    ),
)


def test_the_parents_limit_comes_first() -> None:
    assert [group.name for group in line_of("ANNA", TREE)] == [
        "World",
        "Europe",
        "North",
    ]
    assert [group.name for group in line_of("BERT", TREE)] == ["World", "Europe"]
    found = decided(file=CreditFile(groups=TREE)).limit
    assert (found.binding_cap, found.amount) == ("group Europe", Decimal("1000.00"))
    free = (TREE[0], replace(TREE[1], exposure_of_others=Decimal(0)), TREE[2])
    assert decided(file=CreditFile(groups=free)).limit.binding_cap == "group World"


@pytest.mark.parametrize(
    ("tree", "told"),
    [
        ((replace(TREE[0], parent="North"), *TREE[1:]), "the groups form a cycle"),
        ((replace(TREE[0], parent="World"), *TREE[1:]), "the groups form a cycle"),
        (
            (TREE[0], replace(TREE[1], members=("ANNA",)), TREE[2]),
            r"ANNA is in 2 groups: \['Europe', 'North'\]",
        ),
        ((TREE[0], TREE[1]), "ANNA is in no group"),
        (TREE[1:], "no group 'World'"),
        ((*TREE, TREE[0]), "a name occurs twice"),
    ],
)
def test_a_tree_that_is_none_is_refused(tree: tuple[Group, ...], told: str) -> None:
    with pytest.raises(SchemaError, match=told):
        decided(file=CreditFile(groups=tree))


# --- reviews


def test_the_next_review_comes_by_class_by_event_and_when_something_ends() -> None:
    soon, mark = date(2025, 7, 4), (3, 3, 3, 3, "A. Analyst")
    bond = Security("insurance", Decimal(1), Decimal(0), soon)
    files = {
        CreditFile(): date(2025, 9, 29),
        CreditFile(securities=(bond,)): soon,
        CreditFile(assessment=Assessment(*mark, expires_on=soon)): soon,
        CreditFile(
            temporary_limit=TemporaryLimit(Decimal(1), TODAY, soon, 0, "C. Manager")
        ): soon,
        CreditFile(securities=(replace(bond, expires_on=date(2025, 6, 29)),)): date(
            2025, 9, 29
        ),  # ended already
        CreditFile(limit_event=LimitEvent("freeze", "C. Manager", "rumours")): date(
            2025, 7, 7
        ),
        CreditFile(payment_details_changed_on=date(2025, 5, 31)): date(2025, 7, 7),
        CreditFile(payment_details_changed_on=date(2025, 5, 30)): date(2025, 9, 29),
    }
    assert {file: decided(file=file).next_review_on for file in files} == files


# --- cases


def resolution(
    by: str = "A. One", role: str = "director", outcome: str = "approve"
) -> Resolution:
    return Resolution(by, role, outcome, "because")


ONE, TWO = (
    Authority("credit_manager", 1, frozenset({"S. Maker"})),
    Authority("director", 2),
)


def test_the_role_and_the_persons_an_authority_asks_for() -> None:
    assert resolve(ONE, [], resolution(role="credit_manager")) == "approve"
    assert (
        resolve(Authority("system", 0), [], resolution(role="credit_analyst"))
        == "approve"
    )
    assert resolve(TWO, [], resolution()) == "pending"
    assert resolve(TWO, [resolution()], resolution("B. Two")) == "approve"
    assert resolve(TWO, [], resolution(outcome="decline")) == "decline"
    assert (
        resolve(TWO, [resolution()], resolution("B. Two", outcome="decline"))
        == "decline"
    )


@pytest.mark.parametrize(
    ("authority", "earlier", "now", "told"),
    [
        (
            ONE,
            [],
            resolution(role="credit_analyst"),
            "role: a credit_analyst may not resolve this case; expected credit_manager",
        ),
        (TWO, [], resolution(role="credit_manager"), "expected director"),
        (ONE, [], resolution(by=" s.  MAKER "), "made the case"),
        (TWO, [resolution()], resolution(by="a. one"), "has already resolved it"),
    ],
)
def test_the_wrong_person_is_refused(
    authority: Authority, earlier: list[Resolution], now: Resolution, told: str
) -> None:
    with pytest.raises(AuthorityError, match=told):
        resolve(authority, earlier, now)
