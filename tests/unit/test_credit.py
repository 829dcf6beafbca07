"""Rating, limit, terms, price and authority, one rule at a time."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import NamedTuple

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
from obligor.policy.credit.decide import Decision
from obligor.policy.credit.facts import Facts, RequestedCredit
from obligor.policy.credit.groups import Group
from obligor.policy.economics import economic_cap, eva
from tests.customers import AS_OF, FACTS, FEATURES, decision_about, with_file

YESTERDAY = date(2025, 6, 29)
TOMORROW = date(2025, 7, 1)


def marks(mark: int, expires_on: date = AS_OF) -> CreditFile:
    assessment = Assessment(mark, mark, mark, mark, "A. Analyst", expires_on)
    return CreditFile(assessment=assessment)


def override(grade: int, expires_on: date = AS_OF) -> CreditFile:
    entry = Override(grade, "C. Manager", "parent guarantees", expires_on)
    return CreditFile(override=entry)


def filed(credit_file: CreditFile) -> Decision:
    return decision_about(facts=with_file(credit_file))


def requesting(amount: str) -> Facts:
    return replace(FACTS, request=RequestedCredit(Decimal(amount)))


@pytest.mark.parametrize(
    ("credit_file", "grade", "fired"),
    [
        (CreditFile(), 5, ["G5", "Q0"]),
        (marks(5), 3, ["G5", "Q5"]),
        (marks(1), 7, ["G5", "Q1"]),
        (marks(1, YESTERDAY), 5, ["G5", "Q0"]),
        (override(8), 8, ["G5", "Q0", "V3"]),
        (override(2), 2, ["G5", "Q0", "V3"]),
        (override(1), 5, ["G5", "Q0", "V2"]),  # four grades better
        (override(2, YESTERDAY), 5, ["G5", "Q0", "V1"]),
        (replace(marks(5), override=override(1).override), 1, ["G5", "Q5", "V3"]),
    ],
)
def test_analysts_and_overrides_move_a_grade_within_bounds(
    credit_file: CreditFile,
    grade: int,
    fired: list[str],
) -> None:
    decision = filed(credit_file)
    assert decision.grade == grade
    rules = [evaluation.fired for evaluation in decision.trace]
    assert rules[: len(fired)] == fired


def test_the_overlay_stays_on_the_scale() -> None:
    assert decision_about(0.0001, with_file(marks(5))).grade == 1
    assert decision_about(0.9, with_file(marks(1))).grade == 10


@pytest.mark.parametrize(
    ("pd_12m", "broken_promises", "customer_class", "terms_days", "deposit"),
    [
        (0.001, 0.0, "premium", 60, "0"),
        (0.001, 1.0, "general", 60, "0"),
        (0.001, 2.0, "risk", 30, "0.2"),
        (0.02, 0.0, "general", 30, "0"),
        (0.1, 0.0, "risk", 14, "0.3"),
        (0.2, 0.0, "risk", 0, "1"),
    ],
)
def test_class_and_grade_give_the_terms(
    pd_12m: float,
    broken_promises: float,
    customer_class: str,
    terms_days: int,
    deposit: str,
) -> None:
    decision = decision_about(pd_12m, broken_promises_365d=broken_promises)
    assert decision.customer_class == customer_class
    assert decision.terms.terms_days == terms_days
    assert decision.terms.deposit_share == Decimal(deposit)
    review_days = {
        "premium": 365,
        "general": 91,
        "risk": 30,
    }
    assert (decision.next_review_on - AS_OF).days == review_days[customer_class]


def test_a_known_statement_caps_the_limit() -> None:
    facts = replace(FACTS, equity=50_000.0, turnover=1_000_000.0)
    limit = decision_about(0.01, facts).limit
    assert limit.caps["net_worth"] == Decimal("12500.00")  # 25% at grade 5
    assert limit.caps["turnover"] == Decimal("40000.00")  # 4%
    assert limit.binding_cap == "net_worth"
    assert limit.amount == Decimal("12500.00")


def test_the_next_cap_would_bind_without_the_binding_one() -> None:
    facts = replace(FACTS, equity=50_000.0, turnover=1_000_000.0)
    limit = decision_about(0.01, facts).limit
    other_caps = {name: cap for name, cap in limit.caps.items() if name != "net_worth"}
    assert limit.next_cap == min(other_caps, key=other_caps.__getitem__)


def test_negative_equity_leaves_no_limit() -> None:
    assert decision_about(0.01, replace(FACTS, equity=-5.0)).limit.amount == 0


def test_need_uses_the_faster_quarter() -> None:
    year = {"invoiced_amount_365d": 36_500.0}
    usual = decision_about(invoiced_amount_90d=9_000.0, **year)
    peak = decision_about(invoiced_amount_90d=18_000.0, **year)
    assert peak.limit.caps["need"] == 2 * usual.limit.caps["need"]


@pytest.mark.parametrize(("days", "share"), [(89.0, 0.5), (120.0, 0.75)])
def test_a_new_customer_earns_the_limit_in_steps(days: float, share: float) -> None:
    full_limit = float(decision_about().limit.amount)
    # Purchases that are the same a year, whatever the age of the relation.
    sales = FEATURES["invoiced_amount_365d"] * max(days + 1, 90.0) / 365
    limit = decision_about(
        days_since_first_invoice=days, invoiced_amount_365d=sales
    ).limit
    assert limit.binding_cap == "step_up"
    assert float(limit.amount) == pytest.approx(full_limit * share, abs=0.02)


@pytest.mark.parametrize(
    ("exposure_of_others", "amount"), [(8000, "1000.00"), (9500, "0")]
)
def test_the_room_of_a_group_caps_the_limit(
    exposure_of_others: int, amount: str
) -> None:
    group = Group("Acme", Decimal(9000), Decimal(exposure_of_others))
    limit = filed(CreditFile(groups=(group,))).limit
    assert limit.binding_cap == "group Acme"
    assert limit.amount == Decimal(amount)


@pytest.mark.parametrize(
    ("kind", "amount"),
    [("freeze", FEATURES["open_amount"]), ("reduce", 700.0), ("cancel", 0.0)],
)
def test_an_event_on_file_caps_the_limit(kind: str, amount: float) -> None:
    event = LimitEvent(
        kind,
        "C. Manager",
        "late news",
        Decimal(700),
    )
    limit = filed(CreditFile(limit_event=event)).limit
    assert limit.binding_cap == kind
    assert float(limit.amount) == amount


SEASON = TemporaryLimit(
    amount=Decimal(900_000),
    starts_on=date(2025, 5, 1),
    ends_on=date(2025, 6, 25),
    grace_days=5,
    by="C. Manager",
)


def test_a_temporary_limit_lasts_through_its_grace() -> None:
    in_grace = CreditFile(temporary_limit=SEASON)
    over = CreditFile(temporary_limit=replace(SEASON, grace_days=4))
    assert filed(in_grace).limit.amount == 900_000
    assert filed(over).limit.amount == decision_about().limit.amount


def test_a_temporary_limit_never_undoes_a_stop() -> None:
    cancelled = LimitEvent("cancel", "C. Manager", "insolvency")
    credit_file = CreditFile(temporary_limit=SEASON, limit_event=cancelled)
    assert filed(credit_file).limit.amount == 0


def test_securities_count_less_their_haircut() -> None:
    bond = Security(
        "guarantee",
        Decimal(100_000),
        Decimal("0.25"),
        AS_OF,
    )
    plain_caps = decision_about().limit.caps
    secured_caps = filed(CreditFile(securities=(bond,))).limit.caps
    added = secured_caps["secured"] - plain_caps["secured"]
    assert added == Decimal("67500.00")  # 75,000 x .9
    assert secured_caps["economic"] > plain_caps["economic"]


def test_an_expired_security_does_not_count() -> None:
    bond = Security(
        "guarantee",
        Decimal(100_000),
        Decimal("0.25"),
        YESTERDAY,
    )
    expired_caps = filed(CreditFile(securities=(bond,))).limit.caps
    assert expired_caps == decision_about().limit.caps


def pledge(amount: str, haircut: str = "0") -> CreditFile:
    security = Security(
        "pledge",
        Decimal(amount),
        Decimal(haircut),
        AS_OF,
    )
    return CreditFile(securities=(security,))


INFINITE = TemporaryLimit(
    Decimal("Infinity"),
    AS_OF,
    AS_OF,
    0,
    "x",
)
NEGATIVE_EVENT = LimitEvent(
    "reduce",
    "x",
    "x",
    Decimal("-0.01"),
)


@pytest.mark.parametrize(
    ("credit_file", "message"),
    [
        (marks(6), "assessment.market_position: mark 6"),
        (override(11), "override.grade: grade 11"),
        (pledge("-1"), "securities.amount: -1"),
        (pledge("NaN"), "NaN is not a valid amount"),
        (pledge("1", haircut="2"), "haircut 2"),
        (CreditFile(groups=(Group("Acme", Decimal(-1), Decimal(0)),)), "groups.limit"),
        (CreditFile(limit_event=NEGATIVE_EVENT), "limit_event.amount"),
        (CreditFile(temporary_limit=INFINITE), "temporary_limit"),
    ],
)
def test_an_invalid_credit_file_is_refused(
    credit_file: CreditFile, message: str
) -> None:
    with pytest.raises(PolicyError, match=message):
        filed(credit_file)


def test_the_price_floor_is_the_sum_of_its_parts() -> None:
    floor = decision_about(0.02, requesting("5000.00")).price_floor
    assert floor is not None
    costs = floor.financing + floor.expected_loss + floor.capital_charge
    assert floor.amount == floor.cash_price + costs
    # 30 days at grade 6, 5 days beyond terms: 5000 x .082 x 35 / 365
    days = 30 + FEATURES["dbt_days_mean_365d"]
    financing = 5000 * 0.082 * days / 365
    assert float(floor.financing) == pytest.approx(financing, abs=0.005)


def test_credit_paid_in_advance_costs_nothing() -> None:
    floor = decision_about(0.2, requesting("5000.00")).price_floor
    assert floor is not None
    assert floor.amount == 5000


def test_a_decision_without_a_request_has_no_price_floor() -> None:
    assert decision_about(0.02).price_floor is None


@pytest.mark.parametrize(
    ("requested", "pd_12m", "approver", "persons", "rule"),
    [
        ("20000", 0.001, "system", 0, None),
        ("600000", 0.001, "credit_manager", 1, "A6"),
        ("300000", 0.02, "credit_manager", 1, "A3"),
        ("1200000", 0.001, "director", 2, "A1"),
    ],
)
def test_the_amount_decides_who_may_approve(
    requested: str,
    pd_12m: float,
    approver: str,
    persons: int,
    rule: str | None,
) -> None:
    decision = decision_about(
        pd_12m,
        requesting(requested),
        invoiced_amount_365d=9e7,
        invoiced_amount_90d=2e7,
    )
    assert decision.approver == approver
    assert decision.persons == persons
    reasons = [reason.fired for reason in decision.reasons]
    assert reasons == (["P26", rule] if rule else [])
    assert decision.outcome == ("refer" if rule else "approve")


MONEY = st.decimals(0, 10**9, places=2)


@settings(max_examples=300, deadline=None)
@given(
    MONEY,
    st.decimals("0.001", "1", places=4),
    st.decimals(0, 1, places=5),
    MONEY,
)
def test_the_economic_cap_is_exact_to_the_cent(
    margin: Decimal,
    funds: Decimal,
    risk: Decimal,
    secured: Decimal,
) -> None:
    exact_cap = economic_cap(margin, funds, risk, secured)
    cap = exact_cap.quantize(Decimal("0.01"), "ROUND_DOWN")
    next_cent = cap + Decimal("0.01")
    assert eva(cap, margin, funds, risk, secured) >= 0
    assert eva(next_cent, margin, funds, risk, secured) < Decimal("1e-9")


class AnyCustomer(NamedTuple):
    """A customer drawn at random, but for its PD."""

    sales: float
    open_amount: float
    days_late: float
    broken_promises: float
    equity: float
    relation_days: float
    bond: Decimal

    def features(self) -> dict[str, float]:
        return {
            "invoiced_amount_365d": self.sales,
            "invoiced_amount_90d": self.sales / 3,
            "open_amount": self.open_amount,
            "dpd_days": self.days_late,
            "dbt_days_mean_365d": self.days_late,
            "broken_promises_365d": round(self.broken_promises),
            "days_since_first_invoice": self.relation_days,
        }

    def facts(self) -> Facts:
        bond = Security(
            "insurance",
            self.bond,
            Decimal("0.1"),
            TOMORROW,
        )
        return replace(
            with_file(CreditFile(securities=(bond,))),
            equity=self.equity,
            turnover=self.equity * 3,
        )


PDS = st.floats(0.0, 1.0, allow_nan=False)
CUSTOMERS = st.builds(
    AnyCustomer,
    sales=st.floats(0, 1e8),
    open_amount=st.floats(0, 1e6),
    days_late=st.floats(0, 120),
    broken_promises=st.floats(0, 3),
    equity=st.floats(0, 1e7),
    relation_days=st.sampled_from([0.0, 45.0, 100.0, 400.0]),
    bond=st.decimals(0, 10**6, places=2),
)


@settings(max_examples=300, deadline=None)
@given(PDS, PDS, CUSTOMERS)
def test_a_higher_pd_never_raises_a_limit(
    one_pd: float,
    other_pd: float,
    customer: AnyCustomer,
) -> None:
    facts = customer.facts()
    features = customer.features()
    lower = decision_about(min(one_pd, other_pd), facts, **features)
    higher = decision_about(max(one_pd, other_pd), facts, **features)
    assert higher.limit.amount <= lower.limit.amount
    assert higher.grade >= lower.grade
    assert higher.terms.terms_days <= lower.terms.terms_days
