"""Materiality.

A rulebook says from what amount on a debt counts: `materiality_amount`, here 100 EUR,
and `materiality_share`, here 1% of what the customer owes. Both have to be exceeded. A
bank charge, a rounding difference or a small discount then neither stops a customer nor
makes its other debts older than they are. The customers have a PD of 1%; every question
is asked as of 2024-12-31.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import cast

from obligor.casework.debts import ScoredCustomers, overdue_debts
from obligor.data.asof import KnownAccount, known_account
from obligor.data.ledger import Ledger
from obligor.decisions.ageing import ageing_of
from obligor.features.build import account_features
from obligor.features.catalogue import NAMES
from obligor.model.pd_model import PdModel
from obligor.policy.collecting.worklist import Pause, Task, task_of
from obligor.policy.credit.ageing import Ageing, OverdueItem
from obligor.policy.credit.decide import Decision, decide
from obligor.policy.credit.facts import Facts
from obligor.policy.credit.orders import Order, OrderBook, check_order
from obligor.policy.rulebooks.rulebook import Materiality, Rulebook
from obligor.portfolio.month import IN_DEFAULT, month_of
from obligor.portfolio.snapshot import ledger_accounts
from tests import ascii
from tests.ascii import spec
from tests.customers import FACTS, NEW_RULEBOOK, RULEBOOK
from tests.fakes import FixedModel

AS_OF = date(2024, 12, 31)

INVOICES = """
    invoice_id | customer_id | issued_on  | due_on     | amount
    F1         | FEE         | 2024-05-15 | 2024-06-14 | 10000.00
    F2         | FEE         | 2024-11-28 | 2024-12-28 | 20000.00
    R1         | ROUND       | 2024-05-15 | 2024-06-14 | 10000.00
    S1         | SKON        | 2024-05-15 | 2024-06-14 |  5000.00
    M1         | MANY        | 2024-05-15 | 2024-06-14 |  1000.00
    M2         | MANY        | 2024-06-15 | 2024-07-14 |  1000.00
    M3         | MANY        | 2024-07-15 | 2024-08-14 |  1000.00
    L1         | LATE        | 2024-09-01 | 2024-10-01 |   100.01
    W1         | WOFF        | 2024-05-15 | 2024-06-14 |  1000.00
"""
PAYMENTS = """
    invoice_id | paid_on    | amount
    F1         | 2024-06-14 | 9995.00
    R1         | 2024-06-14 | 9999.98
    S1         | 2024-05-24 | 4900.00
    M1         | 2024-06-14 |  960.00
    M2         | 2024-07-14 |  960.00
    M3         | 2024-08-14 |  960.00
    W1         | 2024-06-14 |  899.99
"""
WRITE_OFFS = """
    invoice_id | written_off_on | amount
    R1         | 2024-07-31     |   0.02
    W1         | 2024-07-31     | 100.01
"""


def books() -> Ledger:
    """The ledger of the examples."""
    return ascii.ledger(invoices=INVOICES, payments=PAYMENTS, write_offs=WRITE_OFFS)


def customer(customer_id: str, ledger: Ledger | None = None) -> KnownAccount:
    """Return a customer of a ledger as it was known on the day."""
    account = ascii.account(ledger or books(), customer_id)
    return known_account(account, AS_OF)


def facts_of(known: KnownAccount) -> Facts:
    """Return the facts about a customer with a PD of 1%."""
    (row,) = account_features([known])
    return Facts(
        pd_12m=0.01,
        currency="EUR",
        features=dict(zip(NAMES, row.tolist(), strict=True)),
        as_of=AS_OF,
        ageing=ageing_of(known),
    )


def decided(customer_id: str, rulebook: Rulebook = NEW_RULEBOOK) -> Decision:
    """Decide on a customer of the ledger."""
    return decide(facts_of(customer(customer_id)), rulebook)


def test_what_is_past_due_counts_from_a_material_amount_on() -> None:
    """The days are the largest number for which all that is past due so long or longer
    is material together; they are 0 if there is none.

    Of the customer's 20,000 some are past due in two items. Money that belongs to no
    item counts against the oldest item first, and reduces what is owed.
    """
    expected = """
         old | old_days | young | young_days | unapplied | material_dpd_days
        5    |      200 | 15000 |          3 |         0 |   3
         100 |      200 |     0 |          3 |         0 |   0
         150 |      200 |     0 |          3 |         0 |   0
         200 |      200 |     0 |          3 |         0 |   0
      200.01 |      200 |     0 |          3 |         0 | 200
         150 |      200 |    50 |        120 |         0 |   0
         150 |      200 | 50.01 |        120 |         0 | 120
         300 |      200 |   300 |        120 |        50 | 200
         300 |      200 |   300 |        120 |       150 | 120
         300 |      200 |   300 |        120 |     20000 |   0
    """
    materiality = Materiality(Decimal(100), Decimal("0.01"))

    def days(
        old: Decimal,
        old_days: int,
        young: Decimal,
        young_days: int,
        unapplied: Decimal,
    ) -> int:
        items = (OverdueItem(old_days, old), OverdueItem(young_days, young))
        ageing = Ageing(Decimal(20_000), items, unapplied)
        return ageing.material_dpd_days(materiality)

    spec(days, expected)


def test_a_few_euros_stop_nobody() -> None:
    """FEE has 5.00 of a bank charge open for 200 days, and 20,000.00 for 3. ROUND had
    0.02 written off. SKON took a discount of 100.00 that nobody booked.

    The remainders of MANY are 40.00 each and material together since the third fell
    due. LATE owes a cent more than 100.00, and as much was written off for WOFF.
    """
    expected = """
        customer_id | dpd_days | material_dpd_days | outcome | reasons
        FEE         |      200 |                 3 | approve | -
        ROUND       |        0 |                 0 | approve | -
        SKON        |      200 |                 0 | approve | -
        MANY        |      200 |               139 | decline | P05
        LATE        |       91 |                91 | decline | P05
        WOFF        |        0 |                 0 | decline | P04
    """

    def decision(customer_id: str) -> dict[str, object]:
        decision = decided(customer_id)
        return {
            "dpd_days": decision.position.dpd_days,
            "material_dpd_days": decision.position.material_dpd_days,
            "outcome": decision.outcome,
            "reasons": [reason.fired for reason in decision.reasons],
        }

    spec(decision, expected)


def test_a_rulebook_without_a_materiality_decides_as_before() -> None:
    """Under the rulebook of 2000-01-01 the oldest item counts, however small it is."""
    expected = """
        customer_id | material_dpd_days | outcome | reasons
        FEE         |               200 | decline | P05
        ROUND       |                 0 | decline | P04
        SKON        |               200 | decline | P05
    """

    def decision(customer_id: str) -> dict[str, object]:
        decision = decided(customer_id, RULEBOOK)
        return {
            "material_dpd_days": decision.position.material_dpd_days,
            "outcome": decision.outcome,
            "reasons": [reason.fired for reason in decision.reasons],
        }

    spec(decision, expected)


def test_orders_are_held_for_material_amounts_only() -> None:
    """SKON's order is as large as the limit allows."""
    expected = """
        customer_id | amount | outcome | blocks
        FEE         |    300 | hold    | B03
        SKON        |    300 | release | -
        MANY        |    300 | hold    | B01, B03, B04
    """

    def answer(customer_id: str, amount: Decimal) -> dict[str, object]:
        decision = decided(customer_id)
        book = OrderBook(AS_OF)
        order = Order(amount, AS_OF)
        order_check = check_order(order, book, decision, NEW_RULEBOOK)
        return {
            "outcome": order_check.outcome,
            "blocks": [block.fired for block in order_check.blocks],
        }

    spec(answer, expected)


def planned(customer_id: str, rulebook: Rulebook) -> Task | Pause:
    """Return what the collectors do about a customer on the day."""
    accounts = [customer(customer_id)]
    rows = account_features(accounts)
    pds = FixedModel({customer_id: 0.02}, accounts).predict_pd_12m(rows)
    (debt,) = overdue_debts(ScoredCustomers(accounts, rows, pds), {}, {}, rulebook)
    return task_of(debt, AS_OF, rulebook)


def test_the_stage_goes_by_the_material_amount_and_the_loss_by_each_item() -> None:
    """FEE owes 20,000.00 for 3 days and 5.00 for 200: a reminder. The expected loss is
    45% x (2% x 20,000.00 + 5.00) = 182.25. The older rulebook took all of it as lost
    with 45%. SKON owes nothing material, so nobody calls.
    """
    expected = """
        customer_id | rulebook   | stage    | expected_loss
        FEE         | 2023-12-31 | reminder |  182.25
        FEE         | 2000-01-01 | recovery | 9002.25
        SKON        | 2023-12-31 | -        | -
    """
    rulebooks = {"2023-12-31": NEW_RULEBOOK, "2000-01-01": RULEBOOK}

    def plan(customer_id: str, rulebook: str) -> dict[str, object]:
        chosen = rulebooks[rulebook]
        task = planned(customer_id, chosen)
        if isinstance(task, Pause):
            assert task.code == "not_material"
            return {"stage": None, "expected_loss": None}
        losses = [
            part.amount * part.loss_share
            for part in task.debt.arrears.parts(chosen.parameters["lgd"])
        ]
        return {"stage": task.plan.stage, "expected_loss": sum(losses)}

    spec(plan, expected)


def test_a_review_counts_material_defaults_only() -> None:
    """In a review a customer is in default if a material amount is more than 90 days
    past due.
    """
    expected = """
        customer_id | rulebook   | is_in_default
        FEE         | 2023-12-31 | no
        FEE         | 2000-01-01 | yes
        SKON        | 2023-12-31 | no
        MANY        | 2023-12-31 | yes
        LATE        | 2023-12-31 | yes
    """
    rulebooks = {"2023-12-31": NEW_RULEBOOK, "2000-01-01": RULEBOOK}
    accounts = list(ledger_accounts(books()))
    model = cast(PdModel, FixedModel())

    def is_in_default(customer_id: str, rulebook: str) -> bool:
        in_force = replace(rulebooks[rulebook], effective=date(2000, 1, 1))
        month = month_of(accounts, AS_OF, model, [in_force])
        return bool(month.grade[customer_id] == IN_DEFAULT)

    spec(is_in_default, expected)


def test_an_amount_in_another_currency_counts_at_the_closing_rate() -> None:
    """On the day 110 USD are 99 EUR and not material, and 112 USD are 100.80 EUR. When
    they were invoiced they were worth more.
    """
    expected = """
        usd | material_dpd_days
        110 |   0
        112 | 200
    """

    def days(usd: Decimal) -> dict[str, object]:
        ledger = ascii.ledger(
            invoices=f"""
                invoice_id | customer_id | issued_on  | due_on     | amount | currency
                U1         | USCO        | 2024-05-15 | 2024-06-14 | {usd}  | USD
            """,
            fx_rates="""
                currency | rate_on    | rate
                USD      | 2024-05-01 | 1.2
                USD      | 2024-12-01 | 0.9
            """,
        )
        decision = decide(facts_of(customer("USCO", ledger)), NEW_RULEBOOK)
        return {"material_dpd_days": decision.position.material_dpd_days}

    spec(days, expected)


def test_a_customer_whose_ledger_is_incomplete_is_never_approved() -> None:
    """What is missing can be a debt. What is known still declines: the customer is 61
    days past due with 5,000 EUR, or only 3 days. A rulebook that does not ask about
    completeness cannot approve either, and an order is referred.
    """
    expected = """
        rulebook   | dpd_days | is_incomplete | outcome | reasons | order
        2023-12-31 |        3 | no            | approve | -       | release
        2023-12-31 |        3 | yes           | refer   | P11     | refer
        2023-12-31 |       61 | yes           | decline | P05     | hold
        2000-01-01 |        3 | no            | approve | -       | release
        2000-01-01 |        3 | yes           | refer   | P11     | refer
        2000-01-01 |       61 | yes           | decline | P05     | hold
    """
    rulebooks = {"2023-12-31": NEW_RULEBOOK, "2000-01-01": RULEBOOK}
    text = "the ledger of this customer is incomplete"

    def answer(
        rulebook: str,
        dpd_days: int,
        is_incomplete: bool,
    ) -> dict[str, object]:
        chosen = rulebooks[rulebook]
        late = {"dpd_days": float(dpd_days), "overdue_amount": 5_000.0}
        facts = replace(FACTS, features={**FACTS.features, **late})
        decision = decide(replace(facts, is_incomplete=is_incomplete), chosen)
        for reason in decision.reasons:
            assert reason.fired != "P11" or reason.because == text
        order = Order(Decimal(1000), AS_OF)
        checked = check_order(order, OrderBook(AS_OF), decision, chosen)
        return {
            "outcome": decision.outcome,
            "reasons": [reason.fired for reason in decision.reasons],
            "order": checked.outcome,
        }

    spec(answer, expected)


def test_an_insolvency_declines() -> None:
    """A bureau that reports an insolvency stops a customer who pays on time."""
    expected = """
        bureau_insolvency | outcome | reasons
        no                | approve | -
        yes               | decline | P12
    """

    def decision(bureau_insolvency: bool) -> dict[str, object]:
        facts = replace(FACTS, bureau_insolvency=bureau_insolvency)
        decision = decide(facts, NEW_RULEBOOK)
        return {
            "outcome": decision.outcome,
            "reasons": [reason.fired for reason in decision.reasons],
        }

    spec(decision, expected)
