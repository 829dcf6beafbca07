"""Rating and outcome.

A decision is to approve, to refer to a person, or to decline. Hard stops come first,
then the grade, the credit asked for, and the authority for its amount. A missing
value can never lead to an approval. Unless a table says otherwise the customer has a
PD of 1% and nothing overdue; every question is asked as of 2025-06-30.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from datetime import date
from decimal import Decimal
from math import nan

from obligor.policy.credit.credit_file import (
    Assessment,
    CreditFile,
    LimitEvent,
    Override,
    Security,
)
from obligor.policy.credit.decide import Decision, decide
from obligor.policy.credit.facts import RequestedCredit
from obligor.policy.rulebooks.contracts import CONTRACTS
from obligor.policy.rulebooks.decision_table import compile_table
from obligor.policy.rulebooks.rulebook import Rulebook
from tests.ascii import spec
from tests.customers import FACTS, FEATURES, RULEBOOK, decision_about, with_file


def outcome_of(decision: Decision) -> dict[str, object]:
    """Return the outcome with the codes of the rules that prevented an approval."""
    codes = [reason.fired for reason in decision.reasons]
    return {"outcome": decision.outcome, "reasons": codes}


def test_the_pd_gives_grade_and_score() -> None:
    """Grades follow a master scale; 20 points of the score double the odds of paying.

    A PD on the edge of two grades belongs to the weaker one.
    """
    expected = """
        pd_12m | grade | score
        0.0004 |     1 | 713
        0.0005 |     2 | 706
        0.0075 |     5 | 628
        0.01   |     5 | 620
        0.015  |     6 | 608
        0.25   |    10 | 519
        1      |    10 | 0
    """

    def decision(pd_12m: float) -> Decision:
        return decision_about(pd_12m)

    spec(decision, expected)


def test_a_house_can_stop_on_the_amount_past_due() -> None:
    """A small remainder need not decline a good customer, however old it is.

    The tables of stops, order blocks and collection stages may look at
    `overdue_amount`, the sum of open items past due. Here a house declines beyond 60
    days only if more than 100 EUR are past due.
    """
    expected = """
        dpd_days | overdue_amount | outcome
              61 |         100.01 | decline
              61 |         100    | approve
             200 |           5    | approve
              60 |       20000    | refer
    """
    rulebook = stopping_above("100")

    def decision(dpd_days: float, overdue_amount: float) -> Decision:
        features = {**FEATURES, "dpd_days": dpd_days, "overdue_amount": overdue_amount}
        return decide(replace(FACTS, features=features), rulebook)

    spec(decision, expected)


def stopping_above(amount: str) -> Rulebook:
    """The rulebook that ships, with P05 only above an amount past due."""
    stops = deepcopy(RULEBOOK.specs["hard_stops"])
    stops["inputs"]["overdue_amount"] = {
        "type": "number",
        "unit": "reporting currency",
        "low": 0,
        "nullable": True,
    }
    for rule in stops["rules"]:
        if rule["id"] == "P05":
            rule["when"]["overdue_amount"] = f"> {amount}"
    for case in stops["cases"]:
        case["in"]["overdue_amount"] = 500
    table = compile_table(stops, CONTRACTS["hard_stops"])
    return replace(RULEBOOK, tables={**RULEBOOK.tables, "hard_stops": table}, memo={})


def test_an_analyst_moves_the_grade_by_at_most_two_notches() -> None:
    """Four marks from 1 (worst) to 5 (best) move the grade while they are valid.

    The model alone gives grade 5.
    """
    expected = """
        mark | expires_on | grade
           5 | 2025-06-30 | 3
           4 | 2025-06-30 | 4
           3 | 2025-06-30 | 5
           2 | 2025-06-30 | 6
           1 | 2025-06-30 | 7
           1 | 2025-06-29 | 5
    """

    def decision(mark: int, expires_on: date) -> Decision:
        assessment = Assessment(mark, mark, mark, mark, "A. Analyst", expires_on)
        return decision_about(facts=with_file(CreditFile(assessment=assessment)))

    spec(decision, expected)


def test_an_override_sets_the_grade_within_bounds() -> None:
    """A person may set any weaker grade, but none more than three grades better."""
    expected = """
        override | expires_on | grade
               8 | 2025-06-30 | 8
               2 | 2025-06-30 | 2
               1 | 2025-06-30 | 5
               2 | 2025-06-29 | 5
    """

    def decision(override: int, expires_on: date) -> Decision:
        entry = Override(override, "C. Manager", "parent guarantees", expires_on)
        return decision_about(facts=with_file(CreditFile(override=entry)))

    spec(decision, expected)


def test_grade_and_conduct_give_the_class() -> None:
    """A good grade is premium only if nothing is late and no promise was broken."""
    expected = """
        pd_12m | dpd_days | broken_promises | customer_class
         0.001 |        0 |               0 | premium
         0.001 |        5 |               0 | premium
         0.001 |        6 |               0 | general
         0.001 |        0 |               1 | general
         0.001 |        0 |               2 | risk
         0.001 |       31 |               0 | risk
         0.02  |        0 |               0 | general
         0.1   |        0 |               0 | risk
    """

    def decision(
        pd_12m: float,
        dpd_days: float,
        broken_promises: float,
    ) -> Decision:
        return decision_about(
            pd_12m, dpd_days=dpd_days, broken_promises_365d=broken_promises
        )

    spec(decision, expected)


def test_hard_stops_apply_whatever_the_score() -> None:
    """The customer of these examples has the best grade."""
    expected = """
        dpd_days | written_off | disputed_share | outcome | reasons
               0 |           0 |            0   | approve | -
              30 |           0 |            0   | approve | -
              31 |           0 |            0   | refer   | P06
              61 |           0 |            0   | decline | P05
               0 |           1 |            0   | decline | P04
               0 |           0 |            0.5 | approve | -
               0 |           0 |            0.6 | refer   | P09
    """

    def decision(
        dpd_days: float,
        written_off: float,
        disputed_share: float,
    ) -> dict[str, object]:
        return outcome_of(
            decision_about(
                0.0001,
                dpd_days=dpd_days,
                written_off_amount_365d=written_off,
                disputed_share=disputed_share,
            )
        )

    spec(decision, expected)


def test_a_missing_value_never_leads_to_an_approval() -> None:
    """If a feature that a hard stop needs is not known, a person decides."""
    expected = """
        missing                  | outcome | reasons
        days_since_first_invoice | refer   | P01
        dpd_days                 | refer   | P02
        written_off_amount_365d  | refer   | P03
        open_amount              | refer   | P07
        disputed_share           | refer   | P08
    """

    def decision(missing: str) -> dict[str, object]:
        facts = replace(FACTS, features={**FEATURES, missing: nan})
        return outcome_of(decision_about(0.0001, facts))

    spec(decision, expected)


def test_the_weakest_grades_are_referred_or_declined() -> None:
    """Grade 9 goes to a person, grade 10 is declined; a hard stop is named as well."""
    expected = """
        pd_12m | dpd_days | outcome | reasons
          0.1  |        0 | approve | -
          0.2  |        0 | refer   | P23
          0.5  |        0 | decline | P21
          0.5  |       31 | decline | P21, P06
          0.5  |       61 | decline | P05
    """

    def decision(pd_12m: float, dpd_days: float) -> dict[str, object]:
        return outcome_of(decision_about(pd_12m, dpd_days=dpd_days))

    spec(decision, expected)


def test_a_request_must_fit_the_limit_with_what_is_owed() -> None:
    """The customer owes 4,000. A request raises the need, but not the other caps: its
    margin of 2,400 pays for 2,400 / (0.082 + 0.0045 + 0.12 x 0.05862) = 25,658.91.
    """
    expected = """
        requested | limit    | outcome | reasons
                - | 16438.35 | approve | -
            10000 | 16438.35 | approve | -
            13000 | 17000.00 | approve | -
            30000 | 25658.91 | refer   | P24
    """

    def decision(requested: Decimal | None) -> dict[str, object]:
        request = RequestedCredit(requested) if requested else None
        decision = decision_about(facts=replace(FACTS, request=request))
        return {**outcome_of(decision), "limit": decision.limit.amount}

    spec(decision, expected)


def test_the_amount_decides_who_may_approve() -> None:
    """Beyond the authority of the system a person must approve; beyond a million, two.

    The customer bought for 90 million in a year and 20 million in the last 90 days.
    """
    expected = """
        pd_12m | requested | approver       | persons | outcome | reasons
         0.001 |     20000 | system         |       0 | approve | -
         0.001 |    600000 | credit_manager |       1 | refer   | P26, A6
         0.001 |   1200000 | director       |       2 | refer   | P26, A1
         0.02  |    200000 | system         |       0 | approve | -
         0.02  |    300000 | credit_manager |       1 | refer   | P26, A3
    """

    def decision(pd_12m: float, requested: Decimal) -> dict[str, object]:
        features = {
            **FEATURES,
            "invoiced_amount_365d": 9e7,
            "invoiced_amount_90d": 2e7,
        }
        request = RequestedCredit(requested)
        facts = replace(FACTS, features=features, request=request)
        decision = decision_about(pd_12m, facts)
        authority = {"approver": decision.approver, "persons": decision.persons}
        return {**outcome_of(decision), **authority}

    spec(decision, expected)


def test_class_and_events_give_the_next_review() -> None:
    """Premium customers are reviewed yearly, general ones quarterly, risk monthly.

    After a limit was set by hand the review is a week away, and it is never later than
    the day on which a security ends.
    """
    expected = """
        pd_12m | event  | security_until | next_review_on
         0.001 | -      | -              | 2026-06-30
         0.01  | -      | -              | 2025-09-29
         0.1   | -      | -              | 2025-07-30
         0.01  | freeze | -              | 2025-07-07
         0.01  | -      | 2025-07-04     | 2025-07-04
         0.01  | -      | 2025-06-29     | 2025-09-29
    """

    def decision(
        pd_12m: float,
        event: str | None,
        security_until: date | None,
    ) -> Decision:
        limit_event = LimitEvent(event, "C. Manager", "rumours") if event else None
        securities = ()
        if security_until:
            amount = Decimal(1)
            securities = (
                Security(
                    "pledge",
                    amount,
                    Decimal(0),
                    security_until,
                ),
            )
        credit_file = CreditFile(limit_event=limit_event, securities=securities)
        return decision_about(pd_12m, with_file(credit_file))

    spec(decision, expected)
