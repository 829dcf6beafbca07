"""Debts and contacts.

A collector works on overdue debt as it was known on the day: what customers owe past
due, less what is disputed or promised. Contacts are entries of the record. A promise
that a collector took counts like one in the ledger as long as it runs, and is broken if
less than its amount was paid by its day. Each contact also sets the day of the next: as
agreed with the customer, after a promise, or by the pace of the stage. In the examples
ANNA owes 1,000 EUR since 2025-06-10 and 500 EUR from 2025-07-15 on; the day is Monday,
2025-06-30.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

import numpy as np
import orjson
import pytest

from obligor.casework.contact_queries import RecordedContact, RecordedPromise
from obligor.casework.contacts import ContactDesk
from obligor.casework.debts import ScoredCustomers, overdue_debts
from obligor.casework.questions import ContactRequest
from obligor.data.asof import known_account
from obligor.decisions.batch import Question
from obligor.decisions.facts import DecidedQuestion, KnownQuestion, ScoredQuestion
from obligor.decisions.recorded import AnswerRecord
from obligor.decisions.scoring import score_rows
from obligor.features.build import account_features
from obligor.policy.collecting.debt import Debt
from obligor.policy.credit.credit_file import CreditFile, Security
from obligor.policy.credit.decide import decide
from obligor.record.receipts import ReceiptSigner
from tests import ascii
from tests.ascii import parse, spec
from tests.customers import AS_OF, RULEBOOK
from tests.fakes import FixedModel, Ids, ManualClock, MemoryRecord

INVOICES = """
    invoice_id | customer_id | issued_on  | due_on     | amount
    A1         | ANNA        | 2025-05-10 | 2025-06-10 | 1000.00
    A2         | ANNA        | 2025-06-15 | 2025-07-15 |  500.00
"""


def debts(
    contacts: str = "contacted_on | promised | pay_by | next_contact_on",
    credit_file: CreditFile | None = None,
    pds: dict[str, float] | None = None,
    **tables: str,
) -> list[Debt]:
    """Return the debts on the day, after some contacts with ANNA."""
    tables.setdefault("invoices", INVOICES)
    ledger = ascii.ledger(**tables)
    customer_ids = sorted(set(ledger["invoices"]["customer_id"]))
    accounts = [
        known_account(ascii.account(ledger, customer_id), AS_OF)
        for customer_id in customer_ids
    ]
    rows = account_features(accounts)
    model = FixedModel(pds, accounts if pds else ())
    return overdue_debts(
        ScoredCustomers(accounts, rows, model.predict_pd_12m(rows)),
        {"ANNA": credit_file} if credit_file else {},
        {"ANNA": [contact(row) for row in parse(contacts)]},
        RULEBOOK,
    )


def contact(row: dict[str, str]) -> RecordedContact:
    """Return a contact from a line of a table."""
    promise = None
    if row["promised"] != "-":
        pay_by = date.fromisoformat(row["pay_by"])
        promise = RecordedPromise(Decimal(row["promised"]), pay_by)
    fixed = row["next_contact_on"]
    return RecordedContact(
        contacted_on=date.fromisoformat(row["contacted_on"]),
        promise=promise,
        next_contact_on=None if fixed == "-" else date.fromisoformat(fixed),
    )


def test_a_debt_is_what_is_past_due() -> None:
    """Items that are not past due are not part of a debt."""
    invoices = """
        invoice_id | customer_id | issued_on  | due_on     | amount
        A1         | ANNA        | 2025-05-10 | 2025-06-10 | 1000.00
        A2         | ANNA        | 2025-06-15 | 2025-07-15 |  500.00
        B1         | BERT        | 2025-04-01 | 2025-05-01 |  300.00
        B2         | BERT        | 2025-05-01 | 2025-06-01 |  200.00
        C1         | CORA        | 2025-06-01 | 2025-06-30 |  900.00
    """
    payments = """
        invoice_id | paid_on    | amount
        B1         | 2025-06-20 | 100.00
    """
    expected = """
        customer_id | overdue | dpd_days | n_items | amount_days
        ANNA        |    1000 |       20 |       1 |       20000
        BERT        |     400 |       60 |       2 |       17800
    """
    spec(debts(invoices=invoices, payments=payments), expected)


def test_the_class_follows_the_pd() -> None:
    """The customer class comes from the rating, as in a decision."""
    expected = """
        pd_12m | customer_class
        0.05   | general
        0.6    | risk
    """

    def debt(pd_12m: float) -> Debt:
        return debts(pds={"ANNA": pd_12m})[0]

    spec(debt, expected)


def test_disputed_and_promised_amounts_are_not_worked_on() -> None:
    """A dispute or a promise of the ledger takes its amount out of the debt."""
    disputes = """
        invoice_id | opened_on
        A1         | 2025-06-20
    """
    promises = """
        invoice_id | promised_on | pay_by     | amount
        A1         | 2025-06-20  | 2025-07-05 | 400.00
    """
    expected = """
        overdue | disputed | promised | workable
           1000 |        0 |        0 |     1000
           1000 |     1000 |        0 |        0
           1000 |        0 |      400 |      600
    """
    rows = [*debts(), *debts(disputes=disputes), *debts(promises=promises)]
    spec(rows, expected)


def test_a_dispute_of_a_part_leaves_the_other_part_to_ask_for() -> None:
    """300.00 of 1,000.00 are disputed; of 250.00 that are open, no more is disputed.

    A promise is waited for up to the part that is not disputed.
    """
    expected = """
        disputed | paid | promised | overdue | disputed_now | promised_now | workable
             300 |    - |        - |    1000 |          300 |            0 |      700
               - |    - |        - |    1000 |         1000 |            0 |        0
             300 |  750 |        - |     250 |          250 |            0 |        0
             300 |    - |      900 |    1000 |          300 |          700 |        0
             300 |    - |      100 |    1000 |          300 |          100 |      600
    """

    def answer(
        disputed: str | None, paid: str | None, promised: str | None
    ) -> dict[str, object]:
        disputes = f"""
            invoice_id | opened_on  | amount
            A1         | 2025-06-20 | {disputed or "-"}
        """
        payments = "invoice_id | paid_on | amount"
        promises = "invoice_id | promised_on | pay_by | amount"
        if paid:
            payments += f"\nA1 | 2025-06-15 | {paid}"
        if promised:
            promises += f"\nA1 | 2025-06-20 | 2025-07-05 | {promised}"
        (debt,) = debts(
            disputes=disputes,
            payments=payments,
            promises=promises,
        )
        return {
            "overdue": debt.overdue,
            "disputed_now": debt.disputed,
            "promised_now": debt.promised,
            "workable": debt.workable,
        }

    spec(answer, expected)


def test_what_is_overdue_is_at_the_closing_rate() -> None:
    """3,000,000 ARS were 7,500.00 EUR when invoiced, and are 2,829.00 EUR."""
    invoices = """
        invoice_id | customer_id | issued_on  | due_on     | amount  | currency
        A1         | ANNA        | 2025-05-10 | 2025-06-10 | 3000000 | ARS
    """
    fx_rates = """
        currency | rate_on    | rate
        ARS      | 2025-05-01 | 0.0025
        ARS      | 2025-06-15 | 0.000943
    """
    disputes = """
        invoice_id | opened_on  | amount
        A1         | 2025-06-20 | 1000000
    """
    expected = """
        overdue | disputed | workable
        2829.00 |   943.00 |  1886.00
    """
    rows = debts(
        invoices=invoices,
        fx_rates=fx_rates,
        disputes=disputes,
    )
    spec(rows, expected)


def test_what_was_paid_of_a_promise_is_no_longer_promised() -> None:
    """200.00 of 400.00 came; what is waited for is the rest, not the whole promise."""
    promises = """
        invoice_id | promised_on | pay_by     | amount
        A1         | 2025-06-20  | 2025-07-05 | 400.00
    """
    payments = """
        invoice_id | paid_on    | amount
        A1         | 2025-06-25 | 200.00
    """
    expected = """
        overdue | promised | workable
            800 |      200 |      600
    """
    spec(debts(promises=promises, payments=payments), expected)


def test_money_counts_once_for_the_promises_made_in_contacts() -> None:
    """Two instalments of 300.00: 300.00 paid keep the first, the second runs.

    With nothing paid both are waited for, until the first is broken.
    """
    expected = """
        first_by   | second_by  | paid | promised_of_debt | broken_on
        2025-07-01 | 2025-07-04 |    - |              600 | -
        2025-07-01 | 2025-07-04 |  300 |              300 | -
        2025-07-01 | 2025-07-04 |  450 |              150 | -
        2025-06-27 | 2025-07-04 |    - |              300 | 2025-06-28
        2025-06-27 | 2025-07-04 |  300 |              300 | -
        2025-06-27 | 2025-06-28 |  300 |                0 | 2025-06-29
        2025-06-27 | 2025-06-28 |  600 |                0 | -
    """

    def answer(first_by: date, second_by: date, paid: str | None) -> dict[str, object]:
        payments = "invoice_id | paid_on | amount"
        if paid:
            payments += f"\nA2 | 2025-06-25 | {paid}"
        invoices = """
            invoice_id | customer_id | issued_on  | due_on     | amount
            A1         | ANNA        | 2025-05-10 | 2025-06-10 | 1000.00
            A2         | ANNA        | 2025-06-15 | 2025-07-15 | 1000.00
        """
        contacts = f"""
            contacted_on | promised | pay_by      | next_contact_on
            2025-06-23   | 300      | {first_by}  | -
            2025-06-23   | 300      | {second_by} | -
        """
        (debt,) = debts(contacts, invoices=invoices, payments=payments)
        return {"promised_of_debt": debt.promised, "broken_on": debt.last_broken_on}

    spec(answer, expected)


def test_a_later_promise_replaces_the_one_that_still_runs() -> None:
    """A promise in a contact is about all that is owed, so it is not added to another.

    1,000.00 are overdue. What was promised on 23 June is agreed anew on 27 June: the
    first promise is then neither waited for nor broken. One that had run out before is
    broken, and what was paid before the new promise is not paid for it.
    """
    expected = """
        first_by   | second_by  | paid_on    | promised_of_debt | broken_on
        2025-06-30 | 2025-07-10 | -          |              300 | -
        2025-07-04 | 2025-07-10 | -          |              300 | -
        2025-06-27 | 2025-07-10 | -          |              300 | -
        2025-06-26 | 2025-07-10 | -          |              300 | 2025-06-27
        2025-06-26 | 2025-07-10 | 2025-06-25 |              300 | -
        2025-07-04 | 2025-07-10 | 2025-06-25 |              300 | -
        2025-07-04 | 2025-07-10 | 2025-06-28 |              100 | -
        2025-07-04 | 2025-06-29 | -          |                0 | 2025-06-30
    """

    def answer(
        first_by: date,
        second_by: date,
        paid_on: date | None,
    ) -> dict[str, object]:
        payments = "invoice_id | paid_on | amount"
        if paid_on:
            payments += f"\nA2 | {paid_on} | 200"
        contacts = f"""
            contacted_on | promised | pay_by      | next_contact_on
            2025-06-23   | 200      | {first_by}  | -
            2025-06-27   | 300      | {second_by} | -
        """
        (debt,) = debts(contacts, payments=payments)
        return {"promised_of_debt": debt.promised, "broken_on": debt.last_broken_on}

    spec(answer, expected)


def test_insurance_counts_until_it_expires() -> None:
    """A debt is insured if the credit file holds an insurance that has not expired."""
    expected = """
        kind      | expires_on | is_insured
        insurance | 2025-06-30 | yes
        insurance | 2025-06-29 | no
        guarantee | 2025-12-31 | no
    """

    def is_insured(kind: str, expires_on: date) -> bool:
        security = Security(kind, Decimal(1000), Decimal(0), expires_on)
        return debts(credit_file=CreditFile(securities=(security,)))[0].is_insured

    spec(is_insured, expected)


def test_a_promise_to_a_collector_counts_while_it_runs() -> None:
    """A promise whose day has not passed takes its amount, less what was paid on it.

    It never takes more than is overdue.
    """
    expected = """
        promised | pay_by     | paid | promised_of_debt | broken_on
            300  | 2025-06-30 |    - |              300 | -
            300  | 2025-07-04 |  100 |              200 | -
            300  | 2025-07-04 |  300 |                0 | -
           5000  | 2025-07-04 |    - |             1000 | -
    """
    spec(after_promise, expected)


def test_a_promise_is_broken_on_the_day_after_it_ran_out() -> None:
    """A promise is broken if less than its amount was paid by its day."""
    expected = """
        promised | pay_by     | paid | promised_of_debt | broken_on
            300  | 2025-06-29 |    - |                0 | 2025-06-30
            300  | 2025-06-27 |  299 |                0 | 2025-06-28
            300  | 2025-06-27 |  300 |                0 | -
    """
    spec(after_promise, expected)


def after_promise(promised: str, pay_by: date, paid: str | None) -> dict[str, object]:
    """Return the debt after a promise of 2025-06-23 and a payment two days later."""
    payments = "invoice_id | paid_on | amount"
    if paid:
        # Of another item, so that the overdue amount stays the same.
        payments += f"\nA2 | 2025-06-25 | {paid}"
    contacts = f"""
        contacted_on | promised   | pay_by   | next_contact_on
        2025-06-23   | {promised} | {pay_by} | -
    """
    (debt,) = debts(contacts, payments=payments)
    return {"promised_of_debt": debt.promised, "broken_on": debt.last_broken_on}


def test_the_last_contact_sets_the_next_day() -> None:
    """The contacts of the day are counted, and the last one says when to call again."""
    contacts = """
        contacted_on | promised | pay_by | next_contact_on
        2025-06-24   | -        | -      | 2025-06-27
        2025-06-30   | -        | -      | 2025-07-01
        2025-06-30   | -        | -      | 2025-07-03
    """
    expected = """
        contacts_today | next_contact_on
                     2 | 2025-07-03
    """
    spec(debts(contacts), expected)


# --- recording a contact


def desk() -> ContactDesk:
    """Return a desk on an empty record; ANNA is decided with a PD of 2%."""
    record = MemoryRecord()
    ledger = ascii.ledger(invoices=INVOICES)
    account = ascii.account(ledger, "ANNA")

    def decide_on(question: Question, currencies: object = ()) -> DecidedQuestion:
        as_of = question.request.as_of or AS_OF
        known_question = KnownQuestion(
            question, known_account(account, as_of), "store", AS_OF
        )
        row = account_features([known_question.account])
        (scored,) = score_rows(FixedModel(), np.array(row))
        facts = ScoredQuestion(known_question, scored).facts()
        decision = decide(facts, RULEBOOK)
        return DecidedQuestion(known_question, scored, facts, decision, RULEBOOK)

    return ContactDesk(
        queries=record,
        answers=AnswerRecord(record, record, ReceiptSigner(bytes(32))),
        decide=decide_on,
        now=ManualClock(datetime(2025, 6, 30, 9, 0, tzinfo=UTC)),
        new_id=Ids("c"),
    )


def request(**changes: object) -> ContactRequest:
    """Return a call to ANNA that nobody answered, with some changes."""
    body = {
        "customer_id": "ANNA",
        "by": "CARL",
        "channel": "call",
        "outcome": "no_answer",
        **changes,
    }
    return ContactRequest.model_validate_json(orjson.dumps(body))


def test_a_contact_sets_the_day_of_the_next() -> None:
    """A day agreed with the customer stands; a promise is checked after its day.

    Otherwise the pace of the stage decides: here one call a day, and five days of rest,
    which end on a Saturday, so that the next call is on Monday.
    """
    expected = """
        outcome   | promised_by | agreed_on  | stage | next_contact_on
        reached   | -           | 2025-07-02 | call  | 2025-07-02
        promise   | 2025-07-04  | -          | call  | 2025-07-07
        promise   | 2025-07-09  | -          | call  | 2025-07-10
        reached   | -           | -          | call  | 2025-07-07
        no_answer | -           | -          | call  | 2025-07-07
    """

    def contact(
        outcome: str, promised_by: str | None, agreed_on: str | None
    ) -> dict[str, object]:
        changes: dict[str, object] = {"outcome": outcome, "next_contact_on": agreed_on}
        if promised_by:
            changes["promise"] = {
                "amount": "300.00",
                "currency": "EUR",
                "pay_by": promised_by,
            }
        answer = orjson.loads(desk().record(request(**changes)).body)
        return {
            "stage": answer["stage"],
            "next_contact_on": answer["next_contact_on"],
        }

    spec(contact, expected)


def test_a_contact_is_of_the_house_s_day() -> None:
    """It is 22:30 in UTC on June 30; without a day, a contact is made today."""
    expected = """
        zone          | contacted_on
        UTC           | 2025-06-30
        Europe/Berlin | 2025-07-01
    """

    def contacted_on(zone: str) -> str:
        late_desk = replace(
            desk(),
            now=ManualClock(datetime(2025, 6, 30, 22, 30, tzinfo=UTC)),
            zone=ZoneInfo(zone),
        )
        answer = orjson.loads(late_desk.record(request()).body)
        return str(answer["contacted_on"])

    spec(contacted_on, expected)


def test_contacts_of_a_day_are_counted() -> None:
    """Every contact is recorded, and each says how many there were on its day."""
    expected = """
        contact_id | contacts_today
        c-1        | 1
        c-2        | 2
    """
    contact_desk = desk()
    answers = [contact_desk.record(request()), contact_desk.record(request())]
    spec([orjson.loads(answer.body) for answer in answers], expected)


def test_a_repeated_key_gets_the_first_answer() -> None:
    """A contact that is sent twice with one key is recorded once."""
    contact_desk = desk()
    first = contact_desk.record(request(), key="k")
    assert contact_desk.record(request(), key="k") == first
    assert contact_desk.queries.by_customer(AS_OF, AS_OF)["ANNA"] == [
        RecordedContact(AS_OF, None, date(2025, 7, 7))
    ]


@pytest.mark.parametrize("last_day", [date(2025, 6, 29), date(2025, 6, 30)])
def test_a_day_sees_no_contact_of_a_later_day(last_day: date) -> None:
    """A worklist of an earlier day is not changed by contacts that came later."""
    contact_desk = desk()
    contact_desk.record(request())
    contacts = contact_desk.queries.by_customer(date(2025, 6, 1), last_day)
    assert bool(contacts) == (last_day == AS_OF)


def test_without_a_contact_nothing_is_agreed() -> None:
    """Without a contact nothing is promised and no next day is set."""
    expected = """
        promised | last_broken_on | contacts_today | next_contact_on
               0 | -              |              0 | -
    """
    spec(debts(), expected)
