"""Unapplied money and what undoes.

Money of a customer that belongs to no item reduces what the customer owes, what an
order may use of the limit, and what a collector asks for. By default it pays the oldest
items (`oldest_first`); a house may leave items as they were allocated (`as_allocated`),
and then it counts against them all the same. The customers have a PD of 1%; every
question is asked as of 2024-12-31.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import cast

from obligor.casework.debts import ScoredCustomers, overdue_debts
from obligor.data.asof import KnownAccount, known_account
from obligor.decisions.ageing import ageing_of
from obligor.features.build import account_features
from obligor.features.catalogue import NAMES
from obligor.model.pd_model import PdModel
from obligor.policy.collecting.worklist import Pause, task_of
from obligor.policy.credit.decide import Decision, decide
from obligor.policy.credit.facts import Facts
from obligor.policy.credit.orders import Order, OrderBook, check_order
from obligor.portfolio.month import month_of
from obligor.portfolio.snapshot import ledger_accounts
from tests import ascii
from tests.ascii import spec
from tests.customers import NEW_RULEBOOK
from tests.fakes import FixedModel

AS_OF = date(2024, 12, 31)

INVOICES = """
    invoice_id | customer_id | issued_on  | due_on     | amount   | currency
    A1         | ACCT        | 2024-10-17 | 2024-11-16 | 20000.00 | EUR
    P1         | PART        | 2024-10-17 | 2024-11-16 | 20000.00 | EUR
    P2         | PART        | 2024-12-17 | 2025-01-16 | 10000.00 | EUR
    E1         | OVER        | 2024-11-05 | 2024-12-05 |  5000.00 | EUR
    E2         | OVER        | 2024-11-05 | 2024-12-05 |  4000.00 | EUR
    C1         | CRED        | 2024-11-05 | 2024-12-05 |  2000.00 | EUR
    C2         | CRED        | 2024-11-05 | 2024-12-05 |  5000.00 | EUR
    D1         | NEGV        | 2024-11-01 | 2024-12-01 |  8000.00 | EUR
    D2         | NEGV        | 2024-11-01 | 2024-12-01 | -8000.00 | EUR
    U1         | USCO        | 2024-10-17 | 2024-11-16 |  9000.00 | EUR
    B1         | BNCE        | 2024-10-06 | 2024-11-05 | 15000.00 | EUR
    M1         | MORE        | 2024-10-17 | 2024-11-16 |  1000.00 | EUR
"""
PAYMENTS = """
    invoice_id | customer_id | paid_on    | amount    | currency | kind
    -          | ACCT        | 2024-11-10 |  20000.00 | EUR      | payment
    -          | PART        | 2024-11-10 |  15000.00 | EUR      | payment
    E1         | OVER        | 2024-12-04 |   9000.00 | -        | payment
    C1         | CRED        | 2024-12-04 |   3000.00 | -        | credit_note
    -          | USCO        | 2024-11-10 |  10000.00 | USD      | payment
    B1         | BNCE        | 2024-11-05 |  15000.00 | -        | payment
    B1         | BNCE        | 2024-11-12 | -15000.00 | -        | returned
    -          | MORE        | 2024-11-10 |   1500.00 | EUR      | payment
"""
FX_RATES = """
    currency | rate_on    | rate
    USD      | 2024-10-01 | 0.9
"""


def customer(customer_id: str, policy: str = "oldest_first") -> KnownAccount:
    """Return a customer of the ledger as it was known on the day."""
    ledger = ascii.ledger(invoices=INVOICES, payments=PAYMENTS, fx_rates=FX_RATES)
    ledger = replace(ledger, unapplied_policy=policy)
    accounts = {account.customer_id: account for account in ledger_accounts(ledger)}
    return known_account(accounts[customer_id], AS_OF)


def decided(known: KnownAccount) -> Decision:
    """Decide on a customer with a PD of 1%."""
    (row,) = account_features([known])
    facts = Facts(
        pd_12m=0.01,
        currency="EUR",
        features=dict(zip(NAMES, row.tolist(), strict=True)),
        as_of=AS_OF,
        ageing=ageing_of(known),
        is_incomplete=known.account.is_incomplete,
    )
    return decide(facts, NEW_RULEBOOK)


def position_of(known: KnownAccount) -> dict[str, object]:
    """Return what a customer owes, with the outcome."""
    decision = decided(known)
    position = decision.position
    return {
        "unapplied": position.unapplied_amount,
        "owed": position.used,
        "overdue": position.overdue_amount,
        "material_dpd_days": position.material_dpd_days,
        "outcome": decision.outcome,
    }


def test_money_without_an_item_pays_the_oldest_items() -> None:
    """ACCT paid 20,000 that were never allocated. OVER paid two invoices in one sum,
    booked on the first. CRED's credit note is larger than its invoice. D2 of NEGV is a
    credit memo. What MORE paid too much stays unapplied, and is never a debt of ours
    that another customer could use.

    USCO paid in dollars, which are not taken for euros; they count at their rate. The
    cheque of BNCE came back.
    """
    expected = """
        customer_id | unapplied | owed  | overdue | material_dpd_days | outcome
        ACCT        |         0 |     0 |       0 |                 0 | approve
        PART        |         0 | 15000 |    5000 |                45 | refer
        OVER        |         0 |     0 |       0 |                 0 | approve
        CRED        |         0 |  4000 |    4000 |                26 | approve
        NEGV        |         0 |     0 |       0 |                 0 | approve
        USCO        |      9000 |     0 |       0 |                 0 | approve
        BNCE        |         0 | 15000 |   15000 |                56 | refer
        MORE        |       500 |     0 |       0 |                 0 | approve
    """

    def position(customer_id: str) -> dict[str, object]:
        return position_of(customer(customer_id))

    spec(position, expected)


def test_money_that_stays_as_allocated_counts_all_the_same() -> None:
    """The items stay open, and the customer owes the same."""
    expected = """
        customer_id | unapplied | owed  | overdue | material_dpd_days | outcome
        ACCT        |     20000 |     0 |       0 |                 0 | approve
        PART        |     15000 | 15000 |    5000 |                45 | refer
        OVER        |      4000 |     0 |       0 |                 0 | approve
        CRED        |      1000 |  4000 |    4000 |                26 | approve
        NEGV        |      8000 |     0 |       0 |                 0 | approve
        USCO        |      9000 |     0 |       0 |                 0 | approve
        MORE        |      1500 |     0 |       0 |                 0 | approve
    """

    def position(customer_id: str) -> dict[str, object]:
        return position_of(customer(customer_id, "as_allocated"))

    spec(position, expected)


def test_an_order_uses_the_limit_net_of_unapplied_money() -> None:
    """Without its money on account ACCT would owe 20,000 more than its limit."""
    expected = """
        customer_id | policy       | amount | exposure | outcome
        ACCT        | as_allocated |    400 |      400 | release
        ACCT        | oldest_first |    400 |      400 | release
        PART        | as_allocated |    400 |    15400 | hold
        BNCE        | oldest_first |    400 |    15400 | hold
    """

    def answer(customer_id: str, policy: str, amount: Decimal) -> dict[str, object]:
        decision = decided(customer(customer_id, policy))
        order = Order(amount, AS_OF)
        order_check = check_order(order, OrderBook(AS_OF), decision, NEW_RULEBOOK)
        return {"exposure": order_check.exposure, "outcome": order_check.outcome}

    spec(answer, expected)


def test_nobody_is_asked_for_money_that_is_here() -> None:
    """A customer whose money covers what is past due is left alone."""
    expected = """
        customer_id | policy       | asked_for | pause
        ACCT        | oldest_first |         - | -
        ACCT        | as_allocated |         - | unapplied
        PART        | as_allocated |      5000 | -
        CRED        | oldest_first |      4000 | -
        CRED        | as_allocated |      4000 | -
        NEGV        | as_allocated |         - | unapplied
        USCO        | oldest_first |         - | unapplied
        BNCE        | oldest_first |     15000 | -
    """

    def asked(customer_id: str, policy: str) -> dict[str, object]:
        accounts = [customer(customer_id, policy)]
        rows = account_features(accounts)
        pds = FixedModel().predict_pd_12m(rows)
        customers = ScoredCustomers(accounts, rows, pds)
        for debt in overdue_debts(customers, {}, {}, NEW_RULEBOOK):
            task = task_of(debt, AS_OF, NEW_RULEBOOK)
            if isinstance(task, Pause):
                return {"asked_for": None, "pause": task.code}
            return {"asked_for": task.debt.workable, "pause": None}
        return {"asked_for": None, "pause": None}

    spec(asked, expected)


def test_a_provision_is_made_for_what_is_owed() -> None:
    """The money of PART pays most of its oldest invoice, whether it was applied or not.
    ACCT owes nothing.
    """
    expected = """
        customer_id | policy       | invoice_id | open_amount | dpd_days
        PART        | oldest_first | P1         |        5000 |  45
        PART        | as_allocated | P1         |        5000 |  45
        CRED        | as_allocated | C2         |        4000 |  26
        ACCT        | as_allocated | -          |           - | -
        USCO        | oldest_first | -          |           - | -
    """

    def oldest(customer_id: str, policy: str) -> dict[str, object]:
        ledger = ascii.ledger(invoices=INVOICES, payments=PAYMENTS, fx_rates=FX_RATES)
        accounts = ledger_accounts(replace(ledger, unapplied_policy=policy))
        model = cast(PdModel, FixedModel())
        month = month_of(accounts, AS_OF, model, [NEW_RULEBOOK])
        items = month.items[month.items["customer_id"] == customer_id]
        if items.empty:
            return dict.fromkeys(["invoice_id", "open_amount", "dpd_days"])
        oldest_first = items.sort_values("dpd_days", ascending=False)
        return dict(oldest_first.iloc[0])

    spec(oldest, expected)
