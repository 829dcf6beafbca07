"""Rating, limit, terms, price and authority, one rule at a time."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from obligor.errors import PolicyError
from obligor.policy.credit.credit_file import (
    Assessment,
    CreditFile,
    LimitEvent,
    Override,
    Security,
    TemporaryLimit,
)
from obligor.policy.credit.decide import Decision, decide
from obligor.policy.credit.facts import Facts, RequestedCredit
from obligor.policy.credit.groups import Group
from obligor.policy.economics import economic_cap, eva
from obligor.policy.rulebooks.rulebook import RULES, read_rulebook
from tests.unit.test_policy import FACTS

RULEBOOK = read_rulebook(RULES / "2000-01-01")
TODAY = date(2025, 6, 30)
TOMORROW = date(2025, 7, 1)
NOTHING_ON_FILE = CreditFile()


def decided(
    pd_12m: float = 0.01,
    file: CreditFile = NOTHING_ON_FILE,
    asked: str | None = None,
    **facts: Any,
) -> Decision:
    more = {name: facts.pop(name) for name in ("equity", "turnover") if name in facts}
    request = RequestedCredit(Decimal(asked)) if asked else None
    return decide(
        Facts(pd_12m, "EUR", {**FACTS, **facts}, TODAY, request, file, **more), RULEBOOK
    )


def marks(mark: int, expires_on: date = TODAY) -> CreditFile:
    return CreditFile(
        assessment=Assessment(mark, mark, mark, mark, "A. Analyst", expires_on)
    )


def override(grade: int, expires_on: date = TODAY) -> CreditFile:
    return CreditFile(
        override=Override(grade, "C. Manager", "parent guarantees", expires_on)
    )


@pytest.mark.parametrize(
    ("file", "grade", "fired"),
    [
        (CreditFile(), 5, ["G5", "Q0"]),
        (marks(5), 3, ["G5", "Q5"]),
        (marks(1), 7, ["G5", "Q1"]),
        (marks(1, date(2025, 6, 29)), 5, ["G5", "Q0"]),  # expired the day before
        (override(8), 8, ["G5", "Q0", "V3"]),
        (override(2), 2, ["G5", "Q0", "V3"]),
        (override(1), 5, ["G5", "Q0", "V2"]),  # four grades better
        (override(2, date(2025, 6, 29)), 5, ["G5", "Q0", "V1"]),
        (replace(marks(5), override=override(1).override), 1, ["G5", "Q5", "V3"]),
    ],
)
def test_analysts_and_overrides_move_a_grade_within_bounds(
    file: CreditFile, grade: int, fired: list[str]
) -> None:
    found = decided(0.01, file)
    assert found.grade == grade
    assert [one.fired for one in found.trace][: len(fired)] == fired


def test_the_overlay_stays_on_the_scale() -> None:
    assert decided(0.0001, marks(5)).grade == 1
    assert decided(0.9, marks(1)).grade == 10


@pytest.mark.parametrize(
    ("pd_12m", "facts", "customer_class", "terms_days", "deposit"),
    [
        (0.001, {}, "premium", 60, "0"),
        (0.001, {"broken_promises_365d": 1.0}, "general", 60, "0"),
        (0.001, {"broken_promises_365d": 2.0}, "risk", 30, "0.2"),
        (0.02, {}, "general", 30, "0"),
        (0.1, {}, "risk", 14, "0.3"),
        (0.2, {}, "risk", 0, "1"),
    ],
)
def test_class_and_grade_give_the_terms(
    pd_12m: float,
    facts: dict[str, float],
    customer_class: str,
    terms_days: int,
    deposit: str,
) -> None:
    found = decided(pd_12m, **facts)
    assert (found.customer_class, found.terms.terms_days) == (
        customer_class,
        terms_days,
    )
    assert found.terms.deposit_share == Decimal(deposit)
    assert (found.next_review_on - TODAY).days == {
        "premium": 365,
        "general": 91,
        "risk": 30,
    }[customer_class]


def test_the_next_cap_would_bind_if_the_first_went() -> None:
    found = decided(0.01, equity=50_000.0, turnover=1_000_000.0)
    assert found.limit.caps["net_worth"] == Decimal("12500.00")  # 25% at grade 5
    assert found.limit.caps["turnover"] == Decimal("40000.00")  # 4%
    assert (found.limit.binding_cap, found.limit.amount) == (
        "net_worth",
        Decimal("12500.00"),
    )
    assert found.limit.next_cap == min(
        (c for c in found.limit.caps if c != "net_worth"),
        key=found.limit.caps.__getitem__,
    )
    assert decided(0.01, equity=-5.0).limit.amount == 0


def test_the_season_must_fit() -> None:
    usual = decided(
        0.01, invoiced_amount_365d=36_500.0, invoiced_amount_90d=9_000.0
    ).limit.caps["need"]
    peak = decided(
        0.01, invoiced_amount_365d=36_500.0, invoiced_amount_90d=18_000.0
    ).limit.caps["need"]
    assert peak == 2 * usual


def test_a_new_customer_earns_the_limit_in_steps() -> None:
    full = decided(0.01)
    for days, share in ((89.0, "0.5"), (120.0, "0.75")):
        # the same year's sales, whatever the age of the relation
        sales = FACTS["invoiced_amount_365d"] * max(days + 1, 90.0) / 365
        found = decided(0.01, days_since_first_invoice=days, invoiced_amount_365d=sales)
        assert found.limit.binding_cap == "step_up"
        assert float(found.limit.amount) == pytest.approx(
            float(full.limit.amount) * float(share), abs=0.02
        )


def test_what_people_put_on_file_caps_the_limit() -> None:
    group = CreditFile(groups=(Group("Acme", Decimal(9000), Decimal(8000)),))
    assert (
        decided(file=group).limit.binding_cap,
        decided(file=group).limit.amount,
    ) == (
        "group Acme",
        Decimal("1000.00"),
    )
    full = CreditFile(groups=(Group("Acme", Decimal(9000), Decimal(9500)),))
    assert decided(file=full).limit.amount == 0
    for kind, amount in (
        ("freeze", FACTS["open_amount"]),
        ("reduce", 700.0),
        ("cancel", 0.0),
    ):
        found = decided(
            file=CreditFile(
                limit_event=LimitEvent(kind, "C. Manager", "late news", Decimal(700))
            )
        )
        assert (found.limit.binding_cap, float(found.limit.amount)) == (kind, amount)


def test_a_temporary_limit_lasts_through_its_grace_and_never_undoes_a_stop() -> None:
    season = TemporaryLimit(
        Decimal(900_000), date(2025, 5, 1), date(2025, 6, 25), 5, "C. Manager"
    )
    assert decided(file=CreditFile(temporary_limit=season)).limit.amount == 900_000
    over = replace(season, grace_days=4)
    assert (
        decided(file=CreditFile(temporary_limit=over)).limit.amount
        == decided().limit.amount
    )
    frozen = CreditFile(
        temporary_limit=season,
        limit_event=LimitEvent("cancel", "C. Manager", "insolvency"),
    )
    assert decided(file=frozen).limit.amount == 0


def test_securities_count_less_their_haircut_until_they_expire() -> None:
    bond = Security("guarantee", Decimal(100_000), Decimal("0.25"), TODAY)
    plain, secured = (
        decided().limit.caps,
        decided(file=CreditFile(securities=(bond,))).limit.caps,
    )
    assert secured["secured"] - plain["secured"] == Decimal("67500.00")  # 75,000 x .9
    assert secured["economic"] > plain["economic"]
    gone = replace(bond, expires_on=date(2025, 6, 29))
    assert decided(file=CreditFile(securities=(gone,))).limit.caps == plain


@pytest.mark.parametrize(
    ("file", "told"),
    [
        (marks(6), "assessment.market_position: mark 6"),
        (override(11), "override.grade: grade 11"),
        (
            CreditFile(
                securities=(Security("pledge", Decimal(-1), Decimal(0), TODAY),)
            ),
            "securities.amount: -1",
        ),
        (
            CreditFile(
                securities=(Security("pledge", Decimal("NaN"), Decimal(0), TODAY),)
            ),
            "NaN is not a valid amount",
        ),
        (
            CreditFile(securities=(Security("pledge", Decimal(1), Decimal(2), TODAY),)),
            "haircut 2",
        ),
        (CreditFile(groups=(Group("Acme", Decimal(-1), Decimal(0)),)), "groups.limit"),
        (
            CreditFile(limit_event=LimitEvent("reduce", "x", "x", Decimal("-0.01"))),
            "limit_event.amount",
        ),
        (
            CreditFile(
                temporary_limit=TemporaryLimit(
                    Decimal("Infinity"), TODAY, TODAY, 0, "x"
                )
            ),
            "temporary_limit",
        ),
    ],
)
def test_a_file_that_makes_no_sense_is_refused(file: CreditFile, told: str) -> None:
    with pytest.raises(PolicyError, match=told):
        decided(file=file)


def test_a_request_gets_a_price_floor_of_its_parts() -> None:
    floor = decided(0.02, asked="5000.00").price_floor
    assert floor is not None
    assert (
        floor.amount
        == floor.cash_price
        + floor.financing
        + floor.expected_loss
        + floor.capital_charge
    )
    # 30 days at grade 6, 5 days beyond terms: 5000 x .082 x 35 / 365
    days = 30 + FACTS["dbt_days_mean_365d"]
    assert float(floor.financing) == pytest.approx(5000 * 0.082 * days / 365, abs=0.005)
    assert decided(0.2, asked="5000.00").price_floor.amount == 5000  # type: ignore[union-attr]  # paid in advance
    assert decided(0.02).price_floor is None


@pytest.mark.parametrize(
    ("asked", "pd_12m", "approver", "persons", "rule"),
    [
        ("20000", 0.001, "system", 0, None),
        ("600000", 0.001, "credit_manager", 1, "A6"),
        ("300000", 0.02, "credit_manager", 1, "A3"),
        ("1200000", 0.001, "director", 2, "A1"),
    ],
)
def test_the_amount_decides_who_may_approve(
    asked: str, pd_12m: float, approver: str, persons: int, rule: str | None
) -> None:
    rich = {"invoiced_amount_365d": 9e7, "invoiced_amount_90d": 2e7}
    found = decided(pd_12m, asked=asked, **rich)
    assert (found.approver, found.persons) == (approver, persons)
    fired = [one.fired for one in found.reasons]
    assert fired == (["P26", rule] if rule else [])
    assert found.outcome == ("refer" if rule else "approve")


MONEY = st.decimals(0, 10**9, places=2)


@settings(max_examples=300, deadline=None)
@given(MONEY, st.decimals("0.001", "1", places=4), st.decimals(0, 1, places=5), MONEY)
def test_the_economic_cap_is_exact_to_the_cent(
    margin: Decimal, funds: Decimal, risk: Decimal, secured: Decimal
) -> None:
    cap = economic_cap(margin, funds, risk, secured).quantize(
        Decimal("0.01"), "ROUND_DOWN"
    )
    assert eva(cap, margin, funds, risk, secured) >= 0
    assert eva(cap + Decimal("0.01"), margin, funds, risk, secured) < Decimal("1e-9")


PDS = st.floats(0.0, 1.0, allow_nan=False)


@settings(max_examples=300, deadline=None)
@given(
    PDS,
    PDS,
    st.floats(0, 1e8),
    st.floats(0, 1e6),
    st.floats(0, 120),
    st.floats(0, 3),
    st.floats(0, 1e7),
    st.sampled_from([0.0, 45.0, 100.0, 400.0]),
    st.decimals(0, 10**6, places=2),
)
def test_a_higher_pd_never_raises_a_limit(
    a: float,
    b: float,
    sales: float,
    open_: float,
    late: float,
    broken: float,
    equity: float,
    age: float,
    bond: Decimal,
) -> None:
    facts = {
        "invoiced_amount_365d": sales,
        "invoiced_amount_90d": sales / 3,
        "open_amount": open_,
        "dpd_days": late,
        "dbt_days_mean_365d": late,
        "broken_promises_365d": round(broken),
        "days_since_first_invoice": age,
    }
    file = CreditFile(
        securities=(Security("insurance", bond, Decimal("0.1"), TOMORROW),)
    )
    low = decided(min(a, b), file, equity=equity, turnover=equity * 3, **facts)
    high = decided(max(a, b), file, equity=equity, turnover=equity * 3, **facts)
    assert high.limit.amount <= low.limit.amount
    assert high.grade >= low.grade
    assert high.terms.terms_days <= low.terms.terms_days
