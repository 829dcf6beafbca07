"""Credit limits.

The limit is the smallest of several caps: what the customer needs, what its margin
pays for, what its grade allows, and what people set. Every cap is in the answer, with
the one that binds and the one that would bind next. Unless a table says otherwise the
customer has a PD of 1% (grade 5, class general, 45 days), bought for 120,000 in a
year, owes 4,000, pays 5 days late and has been a customer for 500 days. Every
question is asked as of 2025-06-30; amounts are in EUR.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from decimal import Decimal
from math import nan

from obligor.policy.credit.credit_file import (
    CreditFile,
    LimitEvent,
    Security,
    TemporaryLimit,
)
from obligor.policy.credit.facts import RequestedCredit
from obligor.policy.credit.groups import Group
from obligor.policy.credit.limits import Limit, credit_limit
from obligor.policy.credit.position import position_of
from obligor.policy.economics import economic_cap
from tests.ascii import EMPTY, parse, spec
from tests.customers import FACTS, FEATURES, decision_about, with_file

CapRow = Mapping[str, Decimal | None]


def test_need_covers_purchases_until_they_are_paid() -> None:
    """The need is daily purchases times the days of credit plus the days paid late.

    Daily purchases are those of the year or of the last 90 days, whichever is faster,
    so that a seasonal customer gets a limit for its season. Here the terms are 45 days.
    """
    expected = """
        bought_365d | bought_90d | dbt_days | need
              36500 |       9000 |        0 | 4500.00
              36500 |       9000 |        5 | 5000.00
              36500 |       3000 |        5 | 5000.00
              36500 |      18000 |        5 | 10000.00
                  0 |          0 |        5 | 0.00
    """

    def need(
        bought_365d: float,
        bought_90d: float,
        dbt_days: float,
    ) -> CapRow:
        decision = decision_about(
            invoiced_amount_365d=bought_365d,
            invoiced_amount_90d=bought_90d,
            dbt_days_mean_365d=dbt_days,
        )
        return {"need": decision.limit.caps["need"]}

    spec(need, expected)


def test_a_short_relation_is_scaled_up_to_a_year() -> None:
    """Purchases of less than a year count as a year's at the same pace.

    Fewer than 90 days are scaled up as if they were 90, as one large first order does
    not make a pace.
    """
    expected = """
        relation_days | bought_365d | annual_sales
                  499 |       36500 | 36500
                  364 |       36500 | 36500
                  145 |       14600 | 36500
                   89 |        9000 | 36500
                   10 |        9000 | 36500
                    - |        9000 | 0
    """

    def annual_sales(relation_days: float | None, bought_365d: float) -> CapRow:
        known_days = nan if relation_days is None else relation_days
        features = {
            **FEATURES,
            "days_since_first_invoice": known_days,
            "invoiced_amount_365d": bought_365d,
        }
        return {"annual_sales": position_of(features, "EUR").annual_sales}

    spec(annual_sales, expected)


def test_a_request_raises_the_need() -> None:
    """The need covers at least what is owed plus what is asked for."""
    expected = """
        requested | need
                - | 16438.35
             1000 | 16438.35
            20000 | 24000.00
    """

    def need(requested: Decimal | None) -> CapRow:
        request = RequestedCredit(requested) if requested else None
        decision = decision_about(facts=replace(FACTS, request=request))
        return {"need": decision.limit.caps["need"]}

    spec(need, expected)


def test_economic_cap_is_the_exposure_the_margin_pays_for() -> None:
    """At the economic cap, a year's margin equals financing, expected loss and capital.

    A secured unit costs its financing only. The margin does not grow with the limit.
    """
    expected = """
        annual_margin | cost_of_funds | risk_per_unit | secured | cap
                 1000 |          0.08 |          0.02 |       0 | 10000
                 1000 |          0.08 |          0.02 |    5000 | 11000
                 1000 |          0.08 |          0.02 |   20000 | 12500
                    0 |          0.08 |          0.02 |       0 | 0
    """

    def cap(
        annual_margin: Decimal,
        cost_of_funds: Decimal,
        risk_per_unit: Decimal,
        secured: Decimal,
    ) -> CapRow:
        return {
            "cap": economic_cap(annual_margin, cost_of_funds, risk_per_unit, secured)
        }

    spec(cap, expected)


def test_grade_sets_a_ceiling_and_shares_of_equity_and_turnover() -> None:
    """A weaker grade has a lower ceiling and lower shares of net worth and turnover.

    A statement that is not known sets no cap; negative equity sets a cap of 0.
    """
    expected = """
        pd_12m | equity | turnover | ceiling     | net_worth | turnover_cap
          0.01 |  50000 |  1000000 |  4000000.00 | 12500.00  | 40000.00
          0.15 |  50000 |  1000000 |   150000.00 |  2500.00  | 10000.00
          0.01 | -50000 |        - |  4000000.00 |     0.00  | -
          0.01 |      - |        - |  4000000.00 | -         | -
    """

    def caps(
        pd_12m: float,
        equity: float | None,
        turnover: float | None,
    ) -> CapRow:
        facts = replace(
            FACTS,
            equity=nan if equity is None else equity,
            turnover=nan if turnover is None else turnover,
        )
        caps = decision_about(pd_12m, facts).limit.caps
        return {
            "ceiling": caps["ceiling"],
            "net_worth": caps.get("net_worth"),
            "turnover_cap": caps.get("turnover"),
        }

    spec(caps, expected)


def test_securities_raise_the_unsecured_amount() -> None:
    """The secured cap is A + B x C: the unsecured amount of the grade, plus 90% of what
    securities cover after their haircut. A security counts through its last day.
    """
    expected = """
        amount | haircut | expires_on | secured
             0 |    0    | 2025-12-31 | 2000000.00
        100000 |    0    | 2025-12-31 | 2090000.00
        100000 |    0.25 | 2025-12-31 | 2067500.00
        100000 |    0.25 | 2025-06-30 | 2067500.00
        100000 |    0.25 | 2025-06-29 | 2000000.00
    """

    def secured(
        amount: Decimal,
        haircut: Decimal,
        expires_on: date,
    ) -> CapRow:
        security = Security("guarantee", amount, haircut, expires_on)
        facts = with_file(CreditFile(securities=(security,)))
        return {"secured": decision_about(facts=facts).limit.caps["secured"]}

    spec(secured, expected)


def test_the_smallest_cap_is_the_limit() -> None:
    """The limit is the smallest cap, rounded down to the cent, and never negative."""
    expected = """
        need | economic | ceiling | amount  | binding_cap | next_cap
        4200 | 3999.999 |   50000 | 3999.99 | economic    | need
        4200 |     9000 |   50000 | 4200.00 | need        | economic
        4200 |     9000 |    -100 |    0.00 | ceiling     | need
    """

    def limit(
        need: Decimal,
        economic: Decimal,
        ceiling: Decimal,
    ) -> Limit:
        caps = {
            "need": need,
            "economic": economic,
            "ceiling": ceiling,
        }
        return credit_limit(caps, "EUR")

    spec(limit, expected)


def test_a_new_customer_earns_the_limit_in_steps() -> None:
    """For three months a new customer has half of the limit, for six three quarters."""
    expected = """
        relation_days | bought_365d | amount  | binding_cap | next_cap
                   89 |        9000 | 2500.00 | step_up     | need
                  145 |       14600 | 3750.00 | step_up     | need
                  364 |       36500 | 5000.00 | need        | economic
    """

    def limit(relation_days: float, bought_365d: float) -> Limit:
        return decision_about(
            days_since_first_invoice=relation_days,
            invoiced_amount_365d=bought_365d,
        ).limit

    spec(limit, expected)


def test_a_person_can_freeze_reduce_or_cancel_a_limit() -> None:
    """A frozen limit stays at what is owed, a reduced one at the amount given."""
    expected = """
        kind   | event_amount | amount   | binding_cap
        -      |            0 | 16438.35 | need
        freeze |            0 |  4000.00 | freeze
        reduce |          700 |   700.00 | reduce
        reduce |        90000 | 16438.35 | need
        cancel |            0 |     0.00 | cancel
    """

    def limit(kind: str | None, event_amount: Decimal) -> Limit:
        if kind is None:
            return decision_about().limit
        event = LimitEvent(kind, "C. Manager", "late news", event_amount)
        return decision_about(facts=with_file(CreditFile(limit_event=event))).limit

    spec(limit, expected)


def test_a_temporary_limit_lasts_through_its_days_of_grace() -> None:
    """A limit for a season raises the limit, but never lowers it, and never undoes a
    limit that a person cut. The question is asked on 2025-06-30.
    """
    expected = """
        temporary | ends_on    | grace_days | event  | amount    | binding_cap
            90000 | 2025-06-30 |          0 | -      | 90000.00  | temporary
            90000 | 2025-06-25 |          5 | -      | 90000.00  | temporary
            90000 | 2025-06-25 |          4 | -      | 16438.35  | need
             9000 | 2025-06-30 |          0 | -      | 16438.35  | need
            90000 | 2025-06-30 |          0 | cancel |     0.00  | cancel
    """

    def limit(
        temporary: Decimal,
        ends_on: date,
        grace_days: int,
        event: str | None,
    ) -> Limit:
        season = TemporaryLimit(
            amount=temporary,
            starts_on=date(2025, 5, 1),
            ends_on=ends_on,
            grace_days=grace_days,
            by="C. Manager",
        )
        limit_event = LimitEvent(event, "C. Manager", "insolvency") if event else None
        credit_file = CreditFile(temporary_limit=season, limit_event=limit_event)
        return decision_about(facts=with_file(credit_file)).limit

    spec(limit, expected)


def test_the_limit_that_a_bureau_recommends_is_a_cap() -> None:
    """Of several sources the lowest recommendation counts; without one there is no cap.

    A recommendation never raises the limit.
    """
    expected = """
        bureau_recommended_limit | amount   | binding_cap
                               - | 16438.35 | need
                        12000.00 | 12000.00 | bureau
                        90000.00 | 16438.35 | need
                               0 |     0.00 | bureau
    """

    def limit(bureau_recommended_limit: Decimal | None) -> Limit:
        facts = replace(FACTS, bureau_recommended_limit=bureau_recommended_limit)
        return decision_about(facts=facts).limit

    spec(limit, expected)


def test_the_group_with_the_least_room_binds() -> None:
    """Every group above a customer leaves room: its limit less what the others owe.

    If two groups leave the same room, the higher one binds.
    """
    groups = """
        name   | parent | limit | exposure_of_others | members
        World  | -      | 50000 |              46000 | -
        Europe | World  | 30000 |              29000 | BERT
        North  | Europe |  9000 |               8000 | ANNA
    """
    expected = """
        customer_id | amount  | binding_cap
        ANNA        | 1000.00 | group Europe
        BERT        | 1000.00 | group Europe
    """
    tree = []
    for row in parse(groups):
        group = Group(
            name=row["name"],
            limit=Decimal(row["limit"]),
            exposure_of_others=Decimal(row["exposure_of_others"]),
            parent=None if row["parent"] == EMPTY else row["parent"],
            members=() if row["members"] == EMPTY else (row["members"],),
        )
        tree.append(group)
    credit_file = CreditFile(groups=tuple(tree))

    def limit(customer_id: str) -> Limit:
        facts = replace(with_file(credit_file), customer_id=customer_id)
        return decision_about(facts=facts).limit

    spec(limit, expected)


def test_a_declined_customer_has_no_limit() -> None:
    """The caps that would have applied stay in the answer."""
    expected = """
        pd_12m | amount   | binding_cap | next_cap
          0.01 | 16438.35 | need        | economic
          0.5  |     0.00 | decline     | secured
    """

    def limit(pd_12m: float) -> Limit:
        return decision_about(pd_12m).limit

    spec(limit, expected)
