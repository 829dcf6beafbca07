"""Payment terms and prices.

Grade and class give the terms: days of credit, a deposit, and a discount for paying
early. The promise ladder moves them, and a customer may ask for fewer days. What credit
costs is added to the cash price.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

from obligor.policy.credit.facts import RequestedCredit
from obligor.policy.credit.pricing import (
    PriceFloor,
    Pricing,
    discount_per_year,
    price_floor,
)
from obligor.policy.credit.promise_ladder import Promise
from obligor.policy.credit.terms import CustomerGrade, Terms, grade_policy
from tests.ascii import spec
from tests.customers import AS_OF, FACTS, RULEBOOK, decision_about


def test_grade_and_class_give_the_terms() -> None:
    """The better the grade, the longer the terms; the weakest customers pay first.

    A customer of class risk pays a deposit and gets no discount.
    """
    expected = """
        grade | customer_class | terms_days | is_prepaid | deposit_share | discount_rate
            1 | premium        |         60 | no         | 0             | 0.01
            3 | general        |         60 | no         | 0             | 0.01
            4 | premium        |         45 | no         | 0             | 0.01
            5 | general        |         45 | no         | 0             | 0.01
            6 | general        |         30 | no         | 0             | 0.01
            7 | general        |         30 | no         | 0             | 0.01
            7 | risk           |         30 | no         | 0.2           | 0
            8 | risk           |         14 | no         | 0.3           | 0
            9 | risk           |          0 | yes        | 1             | 0
           10 | risk           |          0 | yes        | 1             | 0
    """

    def terms(grade: int, customer_class: str) -> Terms:
        customer = CustomerGrade(grade, customer_class, rung=0)
        return grade_policy(customer, RULEBOOK).terms

    spec(terms, expected)


def test_the_promise_ladder_moves_the_terms() -> None:
    """Kept promises add days and discount; broken ones take days and ask for a deposit.

    After three broken promises nothing is delivered unpaid. The customer has grade 5
    and class general.
    """
    expected = """
        rung | terms_days | deposit_share | discount_rate | is_prepaid | is_stopped
           2 |         60 | 0             | 0.015         | no         | no
           1 |         52 | 0             | 0.01          | no         | no
           0 |         45 | 0             | 0.01          | no         | no
          -1 |         38 | 0             | 0.01          | no         | no
          -2 |         31 | 0.2           | 0.01          | no         | no
          -3 |          0 | 1             | 0.01          | yes        | yes
    """

    def terms(rung: int) -> Terms:
        return grade_policy(CustomerGrade(5, "general", rung), RULEBOOK).terms

    spec(terms, expected)


def test_a_customer_that_pays_in_advance_stays_on_prepayment() -> None:
    """Kept promises never turn prepayment into credit."""
    expected = """
        rung | terms_days | is_prepaid | discount_rate
           2 |          0 | yes        | 0
           0 |          0 | yes        | 0
    """

    def terms(rung: int) -> Terms:
        return grade_policy(CustomerGrade(9, "risk", rung), RULEBOOK).terms

    spec(terms, expected)


def test_fewer_days_are_granted_on_request_and_more_are_not() -> None:
    """A customer with terms of 45 days asks for other days."""
    expected = """
        requested_days | terms_days
                     - | 45
                    10 | 10
                    45 | 45
                    90 | 45
    """

    def terms(requested_days: int | None) -> Terms:
        request = RequestedCredit(Decimal(100), requested_days)
        return decision_about(facts=replace(FACTS, request=request)).terms

    spec(terms, expected)


def test_a_broken_promise_is_seen_in_the_next_decision() -> None:
    """The same customer, decided with the promises of the last days."""
    expected = """
        n_broken | terms_days | customer_class
               0 |         45 | general
               1 |         38 | general
               2 |         16 | risk
    """

    def decision(n_broken: int) -> dict[str, object]:
        promises = tuple(
            Promise(AS_OF - timedelta(days=day), is_kept=False)
            for day in range(n_broken)
        )
        decision = decision_about(facts=replace(FACTS, promises=promises))
        return {
            "terms_days": decision.terms.terms_days,
            "customer_class": decision.customer_class,
        }

    spec(decision, expected)


def test_a_discount_for_paying_early_is_worth_a_yearly_rate() -> None:
    """The rate a customer earns by paying early: (1 / (1 - d)) ** (365 / days) - 1.

    2% for paying 20 days earlier is the textbook's 44.6%.
    """
    expected = """
        discount_rate | days_earlier | per_year
                 0.02 |           20 | 0.4459
                 0.01 |           35 | 0.1105
                 0    |           35 | 0.0000
    """

    def per_year(discount_rate: Decimal, days_earlier: int) -> dict[str, object]:
        rate = discount_per_year(discount_rate, days_earlier)
        return {"per_year": round(rate, 4)}

    spec(per_year, expected)


def test_the_price_floor_pays_for_the_credit() -> None:
    """To the cash price are added financing, expected loss and the return on capital.

    The cash price is 10,000; PD 4.75%, LGD 45%, capital 10%, cost of funds 8.2%, hurdle
    rate 12%. A deposit costs nothing, and neither does prepayment.
    """
    expected = """
        days | deposit_share | financing | expected_loss | capital_charge | amount
          73 |           0   |    164.00 |         43.59 |          24.00 | 10231.59
          73 |           0.5 |     82.00 |         21.79 |          12.00 | 10115.79
           0 |           0   |      0.00 |          0.00 |           0.00 | 10000.00
    """

    def floor(days: Decimal, deposit_share: Decimal) -> PriceFloor:
        pricing = Pricing(
            pd_12m=Decimal("0.0475"),
            lgd=Decimal("0.45"),
            capital=Decimal("0.10"),
            cost_of_funds=Decimal("0.082"),
            hurdle_rate=Decimal("0.12"),
        )
        cash_price = Decimal("10000.00")
        return price_floor(cash_price, days, deposit_share, pricing, "EUR")

    spec(floor, expected)
