"""The promise ladder, groups of customers, next reviews, and who may resolve a case."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
from obligor.policy.credit.decide import Decision
from obligor.policy.credit.groups import Group, line_of
from obligor.policy.credit.orders import Order, OrderBook, OrderCheck, check_order
from obligor.policy.credit.promise_ladder import (
    LadderPosition,
    Promise,
    ladder_position,
)
from tests import ascii
from tests.customers import AS_OF, FACTS, RULEBOOK, decision_about, with_file


def promises(marks: str) -> tuple[Promise, ...]:
    """One promise a week up to the day: ``k`` kept, ``b`` broken."""
    settled = []
    for weeks_ago, mark in enumerate(reversed(marks)):
        day = AS_OF - timedelta(weeks=weeks_ago)
        settled.append(Promise(day, mark == "k"))
    return tuple(reversed(settled))


def position(marks: str) -> LadderPosition:
    return ladder_position(promises(marks), AS_OF, RULEBOOK)


def decision_after(marks: str) -> Decision:
    return decision_about(facts=replace(FACTS, promises=promises(marks)))


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
    assert position(marks).rung == rung


@pytest.mark.parametrize(
    ("as_of", "rung"),
    [
        (date(2023, 1, 1), -1),
        (date(2024, 1, 1), -2),
        (date(2024, 1, 2), -1),
        (date(2024, 12, 31), -1),
        (date(2025, 1, 1), 0),
        (date(2029, 1, 1), 0),
    ],
)
def test_a_quiet_year_is_a_step_to_the_middle(as_of: date, rung: int) -> None:
    broken = [Promise(date(2023, 1, 1), False), Promise(date(2023, 1, 2), False)]
    ladder = ladder_position(broken, as_of, RULEBOOK)
    assert ladder.rung == rung
    assert ladder.since is None or ladder.since <= as_of


@given(st.text("kb", max_size=30))
def test_a_broken_promise_never_raises_and_a_kept_one_never_lowers(marks: str) -> None:
    settled = promises(marks)
    rungs = [
        ladder_position(settled[:n], AS_OF, RULEBOOK).rung
        for n in range(len(marks) + 1)
    ]
    for mark, before, after in zip(
        marks,
        rungs,
        rungs[1:],
        strict=False,
    ):
        assert after >= before if mark == "k" else after == max(before - 1, -3)


@pytest.mark.parametrize(
    ("marks", "terms_days", "deposit", "customer_class"),
    [
        ("", 45, "0", "general"),
        ("kkk", 52, "0", "general"),
        ("kkkkkk", 60, "0", "general"),
        ("b", 38, "0", "general"),
        ("bb", 16, "0.2", "risk"),
    ],
)
def test_the_rung_moves_terms_and_class(
    marks: str,
    terms_days: int,
    deposit: str,
    customer_class: str,
) -> None:
    decision = decision_after(marks)
    assert decision.terms.terms_days == terms_days
    assert decision.terms.deposit_share == Decimal(deposit)
    assert decision.customer_class == customer_class


@pytest.mark.parametrize(
    ("marks", "rules"),
    [
        ("", []),
        ("kkk", ["L2"]),
        ("kkkkkk", ["L2", "L2"]),
        ("b", ["L1"]),
        ("bb", ["L1", "L1"]),
    ],
)
def test_the_trace_holds_every_step_of_the_ladder(marks: str, rules: list[str]) -> None:
    trace = decision_after(marks).trace
    steps = [step.fired for step in trace if step.table == "ladder_moves"]
    assert steps == rules


def test_six_kept_promises_earn_a_discount() -> None:
    assert decision_after("kkkkkk").terms.discount_rate == Decimal("0.015")


def test_three_broken_promises_stop_delivery() -> None:
    terms = decision_after("bbb").terms
    assert terms.is_stopped is True
    assert terms.is_prepaid is True
    assert terms.deposit_share == 1


def test_a_stopped_customer_gets_prepaid_orders_only() -> None:
    order = Order(Decimal(100), AS_OF)
    prepaid = replace(order, is_prepaid=True)

    def check(order: Order, decision: Decision) -> OrderCheck:
        book = OrderBook(AS_OF, idle_days=Decimal(3))
        return check_order(order, book, decision, RULEBOOK)

    stopped = decision_after("bbb")
    assert "B09" in [block.fired for block in check(order, stopped).blocks]
    assert check(prepaid, stopped).blocks == ()
    assert check(order, decision_about()).blocks == ()


@pytest.mark.parametrize(
    ("as_of", "n_settled"),
    [
        (date(2024, 2, 14), 0),
        (date(2024, 2, 15), 1),
        (date(2024, 3, 10), 1),
        (date(2024, 3, 11), 2),
    ],
)
def test_a_promise_is_known_as_settled_from_its_day(
    as_of: date, n_settled: int
) -> None:
    invoices = """
        invoice_id | customer_id | issued_on  | due_on     | amount
        I          | A           | 2024-01-01 | 2024-02-01 | 100
    """
    made = """
        invoice_id | promised_on | pay_by     | amount
        I          | 2024-02-10  | 2024-02-20 | 40
        I          | 2024-03-01  | 2024-03-10 | 60
    """
    payments = """
        payment_id | invoice_id | paid_on    | amount
        P          | I          | 2024-02-12 | 15
        Q          | I          | 2024-02-15 | 25
        R          | I          | 2024-03-11 | 60
    """
    settled = [(date(2024, 2, 15), True), (date(2024, 3, 11), False)]
    book = ascii.ledger(
        invoices=invoices,
        promises=made,
        payments=payments,
    )
    account = ascii.account(book, "A")
    known = known_account(account, as_of)
    assert settled_promises(known) == settled[:n_settled]


# --- groups

WORLD = Group("World", Decimal(50_000), Decimal(46_000))
EUROPE = Group(
    name="Europe",
    limit=Decimal(30_000),
    exposure_of_others=Decimal(29_000),
    parent="World",
    members=("BERT",),
)
NORTH = Group(
    name="North",
    limit=Decimal(9_000),
    exposure_of_others=Decimal(1_000),
    parent="Europe",
    members=("ANNA", "CARL"),
)
TREE = (WORLD, EUROPE, NORTH)


def decision_in(tree: tuple[Group, ...]) -> Decision:
    return decision_about(facts=with_file(CreditFile(groups=tree)))


def test_the_line_of_a_customer_begins_at_the_top() -> None:
    anna = [group.name for group in line_of("ANNA", TREE)]
    bert = [group.name for group in line_of("BERT", TREE)]
    assert anna == ["World", "Europe", "North"]
    assert bert == ["World", "Europe"]


def test_the_group_with_the_least_room_binds() -> None:
    limit = decision_in(TREE).limit
    assert limit.binding_cap == "group Europe"
    assert limit.amount == Decimal("1000.00")


def test_the_parents_limit_binds_the_groups_below() -> None:
    free_europe = replace(EUROPE, exposure_of_others=Decimal(0))
    limit = decision_in((WORLD, free_europe, NORTH)).limit
    assert limit.binding_cap == "group World"


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ((replace(WORLD, parent="North"), EUROPE, NORTH), "the groups form a cycle"),
        ((replace(WORLD, parent="World"), EUROPE, NORTH), "the groups form a cycle"),
        (
            (WORLD, replace(EUROPE, members=("ANNA",)), NORTH),
            r"ANNA is in 2 groups: \['Europe', 'North'\]",
        ),
        ((WORLD, EUROPE), "ANNA is in no group"),
        ((EUROPE, NORTH), "no group 'World'"),
        ((*TREE, WORLD), "a name occurs twice"),
    ],
)
def test_groups_that_are_not_a_tree_are_refused(
    tree: tuple[Group, ...], message: str
) -> None:
    with pytest.raises(SchemaError, match=message):
        decision_in(tree)


# --- reviews

SOON = date(2025, 7, 4)
IN_A_WEEK = date(2025, 7, 7)
IN_A_QUARTER = date(2025, 9, 29)
BOND = Security(
    "insurance",
    Decimal(1),
    Decimal(0),
    SOON,
)
MARKS = Assessment(3, 3, 3, 3, "A. Analyst", SOON)
SEASON = TemporaryLimit(
    Decimal(1),
    AS_OF,
    SOON,
    0,
    "C. Manager",
)
FREEZE = LimitEvent("freeze", "C. Manager", "rumours")


@pytest.mark.parametrize(
    ("credit_file", "next_review_on"),
    [
        (CreditFile(), IN_A_QUARTER),
        (CreditFile(securities=(BOND,)), SOON),
        (CreditFile(assessment=MARKS), SOON),
        (CreditFile(temporary_limit=SEASON), SOON),
        # A security that has ended already.
        (
            CreditFile(securities=(replace(BOND, expires_on=date(2025, 6, 29)),)),
            IN_A_QUARTER,
        ),
        (CreditFile(limit_event=FREEZE), IN_A_WEEK),
        (CreditFile(payment_details_changed_on=date(2025, 5, 31)), IN_A_WEEK),
        (CreditFile(payment_details_changed_on=date(2025, 5, 30)), IN_A_QUARTER),
    ],
)
def test_the_next_review_comes_by_class_event_or_expiry(
    credit_file: CreditFile, next_review_on: date
) -> None:
    decision = decision_about(facts=with_file(credit_file))
    assert decision.next_review_on == next_review_on


# --- cases


def resolution(
    by: str = "A. One",
    role: str = "director",
    outcome: str = "approve",
) -> Resolution:
    return Resolution(by, role, outcome, "because")


ONE_PERSON = Authority("credit_manager", 1, frozenset({"S. Maker"}))
TWO_PERSONS = Authority("director", 2)


def test_one_person_approves_within_its_authority() -> None:
    system = Authority("system", 0)
    assert resolve(ONE_PERSON, [], resolution(role="credit_manager")) == "approve"
    assert resolve(system, [], resolution(role="credit_analyst")) == "approve"


def test_an_approval_by_two_waits_for_the_second_person() -> None:
    first = resolution()
    assert resolve(TWO_PERSONS, [], first) == "pending"
    assert resolve(TWO_PERSONS, [first], resolution("B. Two")) == "approve"


def test_one_person_may_decline() -> None:
    decline = resolution("B. Two", outcome="decline")
    assert resolve(TWO_PERSONS, [], resolution(outcome="decline")) == "decline"
    assert resolve(TWO_PERSONS, [resolution()], decline) == "decline"


@pytest.mark.parametrize(
    ("authority", "earlier", "now", "message"),
    [
        (
            ONE_PERSON,
            [],
            resolution(role="credit_analyst"),
            "role: a credit_analyst may not resolve this case; expected credit_manager",
        ),
        (TWO_PERSONS, [], resolution(role="credit_manager"), "expected director"),
        (ONE_PERSON, [], resolution(by=" s.  MAKER "), "made the case"),
        (
            TWO_PERSONS,
            [resolution()],
            resolution(by="a. one"),
            "has already resolved it",
        ),
    ],
)
def test_a_person_without_authority_is_refused(
    authority: Authority,
    earlier: list[Resolution],
    now: Resolution,
    message: str,
) -> None:
    with pytest.raises(AuthorityError, match=message):
        resolve(authority, earlier, now)
