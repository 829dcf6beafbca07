"""What a customer owes, and what money of the customer belongs to no item.

A ledger says what was invoiced and everything that happened to it: payments, credit
notes, write-offs, and what undoes them. Each example gives the open balance of each
item of ANNA at the end of some days, and her unapplied money. A customer is unmatched
if a row undoes something that the ledger does not have: what that customer owes is not
known. Each answer is worked out three times: from the account of one customer, from the
tables of the whole ledger, and by an accounting by hand that shares no code with them.
Unless an example says otherwise, ANNA has these invoices in EUR.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import date

from obligor.data.asof import known_on
from tests import ascii
from tests.ascii import spec
from tests.standing import Accountings

INVOICES = """
    invoice_id | customer_id | issued_on  | due_on     | amount
    A1         | ANNA        | 2024-01-01 | 2024-01-31 | 1000.00
    A2         | ANNA        | 2024-03-01 | 2024-03-31 |  500.00
"""


def require(
    expected: str,
    policy: str = "oldest_first",
    **tables: str,
) -> None:
    """Require what is open, as each of the three accountings has it.

    Parameters
    ----------
    expected : str
        A line for each day: what is open of each item, a dash if it is not one then,
        ``unapplied`` money, and whether the customer ``is_unmatched``.
    policy : str
        What is done with money without an item.
    **tables : str
        The tables of the ledger.
    """
    tables.setdefault("invoices", INVOICES)
    whole = replace(ascii.ledger(**tables), unapplied_policy=policy)
    empty_row = dict.fromkeys(ascii.columns_of(expected))
    accountings = Accountings(whole)
    by_accounting: list[list[dict[str, object]]] = [[], [], []]
    for line in ascii.parse(expected):
        as_of = date.fromisoformat(line["as_of"])
        standings = accountings.standings("ANNA", as_of)
        for rows, standing in zip(by_accounting, standings, strict=True):
            rows.append({**empty_row, "as_of": as_of, **standing.row()})
    for rows in by_accounting:
        spec(rows, expected)


# --- what undoes


def test_a_returned_payment_leaves_the_invoice_open() -> None:
    """A cheque that came back is a row of its own, with the day it came back.

    On an earlier day the invoice was paid.
    """
    payments = """
        payment_id | invoice_id | paid_on    | amount   | kind
        P1         | A1         | 2024-02-05 |  1000.00 | payment
        P2         | A1         | 2024-02-12 | -1000.00 | payment
    """
    expected = """
        as_of      | A1   | unapplied
        2024-02-04 | 1000 | 0
        2024-02-05 |    0 | 0
        2024-02-11 |    0 | 0
        2024-02-12 | 1000 | 0
    """
    require(expected, payments=payments)


def test_a_return_counts_from_the_day_it_became_known() -> None:
    """A direct debit may be returned days before the bank says so."""
    payments = """
        payment_id | invoice_id | paid_on    | amount  | kind     | known_on
        P1         | A1         | 2024-02-05 | 1000.00 | payment  | 2024-02-06
        P2         | A1         | 2024-02-12 | 1000.00 | returned | 2024-02-20
    """
    expected = """
        as_of      | A1
        2024-02-05 | 1000
        2024-02-06 |    0
        2024-02-19 |    0
        2024-02-20 | 1000
    """
    require(expected, payments=payments)


def test_the_kind_or_the_sign_says_that_money_went_back() -> None:
    """A returned payment or a refund is negative, whatever sign the source gives it."""
    expected = """
        kind     | amount   | A1
        payment  | -1000.00 | 1000
        returned |  1000.00 | 1000
        returned | -1000.00 | 1000
        refund   |  1000.00 | 1000
        refund   |  -400.00 |  400
        payment  |  1000.00 |    0
    """

    def answer(kind: str, amount: str) -> dict[str, object]:
        payments = f"""
            payment_id | invoice_id | paid_on    | amount   | kind
            P1         | A1         | 2024-02-05 | 1000.00  | payment
            P2         | A1         | 2024-02-12 | {amount} | {kind}
        """
        whole = ascii.ledger(invoices=INVOICES, payments=payments)
        by_hand, *others = Accountings(whole).standings("ANNA", date(2024, 2, 29))
        assert others == [by_hand, by_hand]
        return {"A1": by_hand.balances["A1"]}

    spec(answer, expected)


def test_a_return_that_names_a_receipt_undoes_that_one() -> None:
    """Two payments of one amount: the one that came back is the one it names.

    Without a name the latest of an equal amount is undone.
    """
    payments = """
        payment_id | invoice_id | paid_on    | amount  | kind     | reverses
        P1         | A1         | 2024-02-05 |  500.00 | payment  | -
        P2         | A1         | 2024-03-05 |  500.00 | payment  | -
        P3         | A1         | 2024-03-12 |  500.00 | returned | P1
    """
    without_name = payments.replace("| P1\n", "| -\n")
    assert left_of(without_name) == [date(2024, 2, 5)]
    assert left_of(payments) == [date(2024, 3, 5)]
    expected = """
        as_of      | A1
        2024-03-11 |   0
        2024-03-12 | 500
    """
    require(expected, payments=payments)
    require(expected, payments=without_name)


def test_a_return_never_undoes_what_was_paid_after_it() -> None:
    """The customer paid again after the first payment came back."""
    payments = """
        payment_id | invoice_id | paid_on    | amount  | kind
        P1         | A1         | 2024-02-05 | 1000.00 | payment
        P2         | A1         | 2024-02-12 | 1000.00 | returned
        P3         | A1         | 2024-02-20 | 1000.00 | payment
    """
    assert left_of(payments) == [date(2024, 2, 20)]


def left_of(payments: str) -> list[date]:
    """Return the days of the payments of A1 that nothing undid."""
    whole = ascii.ledger(invoices=INVOICES, payments=payments)
    known = known_on(whole, date(2024, 12, 31)).ledger["payments"]
    return [ascii.plain(day) for day in known["paid_on"]]


def test_a_returned_receipt_reopens_the_items_it_was_allocated_to() -> None:
    """The return names no item; the receipt it names was allocated to two."""
    payments = """
        payment_id | invoice_id | customer_id | paid_on    | amount   | reverses
        P0         | A3         | -           | 2024-04-02 |   300.00 | -
        P1         | -          | ANNA        | 2024-04-02 |  1500.00 | -
        P2         | -          | ANNA        | 2024-04-12 | -1500.00 | P1
    """
    invoices = f"""{INVOICES.rstrip()}
    A3         | ANNA        | 2024-03-05 | 2024-04-05 |  300.00
    """
    allocations = """
        payment_id | invoice_id | amount  | allocated_on
        P1         | A1         | 1000.00 | 2024-04-05
        P1         | A2         |  500.00 | 2024-04-05
    """
    expected = """
        as_of      | A1   | A2  | A3 | unapplied
        2024-04-01 | 1000 | 500 | 300 | 0
        2024-04-05 |    0 |   0 |   0 | 0
        2024-04-11 |    0 |   0 |   0 | 0
        2024-04-12 | 1000 | 500 |   0 | 0
    """
    require(
        expected,
        invoices=invoices,
        payments=payments,
        allocations=allocations,
    )


def test_a_receipt_listed_on_many_rows_is_returned_as_a_whole() -> None:
    """One transfer paid two invoices and came back as one row."""
    payments = """
        payment_id | invoice_id | paid_on    | amount  | kind     | reverses
        P1         | A1         | 2024-04-02 | 1000.00 | payment  | -
        P1         | A2         | 2024-04-02 |  500.00 | payment  | -
        P2         | -          | 2024-04-12 | 1500.00 | returned | P1
    """
    expected = """
        as_of      | A1   | A2
        2024-04-11 |    0 |   0
        2024-04-12 | 1000 | 500
    """
    require(expected, payments=payments)


def test_a_return_without_an_item_takes_unapplied_money_first() -> None:
    """It names neither an item nor a payment; what is left reopens the latest."""
    payments = """
        payment_id | invoice_id | customer_id | paid_on    | amount | kind
        P1         | A2         | -           | 2024-04-01 | 500.00 | payment
        P2         | A1         | -           | 2024-04-02 | 950.00 | payment
        P3         | -          | ANNA        | 2024-04-03 |  80.00 | payment
        P4         | -          | ANNA        | 2024-04-12 | 100.00 | returned
    """
    expected = """
        as_of      | A1 | A2 | unapplied
        2024-04-11 |  0 |  0 | 30
        2024-04-12 | 70 |  0 |  0
    """
    require(expected, payments=payments)


def test_a_return_of_a_payment_that_is_not_in_the_ledger_is_not_known() -> None:
    """Nothing was paid, so nothing can be undone: the books cannot be right."""
    payments = """
        payment_id | invoice_id | paid_on    | amount | kind
        P1         | A1         | 2024-02-12 | 400.00 | returned
    """
    expected = """
        as_of      | A1   | is_unmatched
        2024-02-11 | 1000 | no
        2024-02-12 | 1000 | yes
    """
    require(expected, payments=payments)


def test_a_chargeback_reopens_the_invoice_months_later() -> None:
    """A card payment is charged back; a part of it may be."""
    payments = """
        payment_id | invoice_id | paid_on    | amount  | kind     | reverses
        P1         | A1         | 2024-01-31 | 1000.00 | payment  | -
        P2         | A1         | 2024-06-20 |  250.00 | returned | P1
    """
    expected = """
        as_of      | A1
        2024-06-19 |   0
        2024-06-20 | 250
    """
    require(expected, payments=payments)


def test_a_refund_of_a_credit_reopens_the_item_it_was_credited_on() -> None:
    """The customer had 300 off the invoice, and then 300 in cash instead."""
    payments = """
        payment_id | invoice_id | customer_id | paid_on    | amount | kind
        N1         | A1         | -           | 2024-01-31 | 300.00 | credit_note
        P2         | -          | ANNA        | 2024-02-10 | 300.00 | refund
    """
    expected = """
        as_of      | A1   | is_unmatched
        2024-01-31 |  700 | no
        2024-02-10 | 1000 | no
    """
    require(expected, payments=payments)


def test_a_refund_of_an_overpayment_leaves_nothing() -> None:
    """The customer paid too much and got back what was too much."""
    payments = """
        payment_id | invoice_id | customer_id | paid_on    | amount  | kind
        P1         | A1         | -           | 2024-01-31 | 1200.00 | payment
        P2         | -          | ANNA        | 2024-02-10 |  200.00 | refund
    """
    expected = """
        as_of      | A1 | unapplied
        2024-01-31 |  0 | 200
        2024-02-10 |  0 |   0
    """
    require(expected, payments=payments)


def test_a_refund_pays_out_a_credit_note() -> None:
    """Goods came back after the invoice was paid; the credit is paid out."""
    payments = """
        payment_id | invoice_id | customer_id | paid_on    | amount  | kind
        P1         | A1         | -           | 2024-01-31 | 1000.00 | payment
        N1         | A1         | -           | 2024-02-10 |  300.00 | credit_note
        P2         | -          | ANNA        | 2024-02-20 |  300.00 | refund
    """
    expected = """
        as_of      | A1 | unapplied
        2024-01-31 |  0 |   0
        2024-02-10 |  0 | 300
        2024-02-20 |  0 |   0
    """
    require(expected, payments=payments)


def test_a_cancelled_credit_note_is_owed_again() -> None:
    """A credit note of a negative amount undoes an earlier one, never a payment."""
    payments = """
        payment_id | invoice_id | paid_on    | amount  | kind
        P1         | A1         | 2024-01-31 |  700.00 | payment
        N1         | A1         | 2024-02-10 |  300.00 | credit_note
        N2         | A1         | 2024-02-20 | -300.00 | credit_note
    """
    expected = """
        as_of      | A1
        2024-02-09 | 300
        2024-02-10 |   0
        2024-02-19 |   0
        2024-02-20 | 300
    """
    require(expected, payments=payments)


def test_a_reversed_write_off_is_owed_again() -> None:
    """A write-off of a negative amount undoes an earlier one."""
    write_offs = """
        invoice_id | written_off_on | amount
        A1         | 2024-05-31     | 1000.00
        A1         | 2024-06-30     | -400.00
    """
    expected = """
        as_of      | A1
        2024-05-30 | 1000
        2024-05-31 |    0
        2024-06-29 |    0
        2024-06-30 |  400
    """
    require(expected, write_offs=write_offs)


def test_a_write_off_that_never_was_cannot_be_reversed() -> None:
    """The item stays as it is, and the customer is not known."""
    write_offs = """
        invoice_id | written_off_on | amount
        A1         | 2024-05-31     |  100.00
        A1         | 2024-06-30     | -400.00
    """
    expected = """
        as_of      | A1   | is_unmatched
        2024-05-31 |  900 | no
        2024-06-30 | 1000 | yes
    """
    require(expected, write_offs=write_offs)


def test_a_cancelled_invoice_is_owed_no_more() -> None:
    """What was paid on it is money of the customer and pays what else is open."""
    payments = """
        payment_id | invoice_id | paid_on    | amount | kind
        P1         | A1         | 2024-01-31 | 600.00 | payment
        N1         | A1         | 2024-02-01 | 150.00 | credit_note
    """
    cancellations = """
        invoice_id | payment_id | cancelled_on
        A1         | -          | 2024-03-10
    """
    expected = """
        as_of      | A1  | A2  | unapplied
        2024-02-29 | 250 |   - |   0
        2024-03-09 | 250 | 500 |   0
        2024-03-10 |   - |   0 | 100
    """
    require(expected, payments=payments, cancellations=cancellations)


def test_a_cancelled_payment_was_never_made() -> None:
    """A payment that was booked by mistake is cancelled by its id, on all its rows."""
    payments = """
        payment_id | invoice_id | paid_on    | amount  | kind
        P1         | A1         | 2024-04-02 | 1000.00 | payment
        P1         | A2         | 2024-04-02 |  500.00 | payment
    """
    cancellations = """
        invoice_id | payment_id | cancelled_on
        -          | P1         | 2024-04-20
    """
    expected = """
        as_of      | A1   | A2  | unapplied
        2024-04-19 |    0 |   0 | 0
        2024-04-20 | 1000 | 500 | 0
    """
    require(expected, payments=payments, cancellations=cancellations)


def test_a_cancelled_receipt_leaves_the_items_it_was_allocated_to() -> None:
    """With the receipt its allocations go."""
    payments = """
        payment_id | invoice_id | customer_id | paid_on    | amount  | kind
        P1         | -          | ANNA        | 2024-04-02 | 1500.00 | payment
    """
    allocations = """
        payment_id | invoice_id | amount  | allocated_on
        P1         | A1         | 1000.00 | 2024-04-05
    """
    cancellations = """
        invoice_id | payment_id | cancelled_on
        -          | P1         | 2024-04-20
    """
    expected = """
        as_of      | A1   | A2  | unapplied | is_unmatched
        2024-04-19 |    0 |   0 | 0         | no
        2024-04-20 | 1000 | 500 | 0         | no
    """
    require(
        expected,
        payments=payments,
        allocations=allocations,
        cancellations=cancellations,
    )


# --- money of the customer


def test_money_on_account_pays_the_oldest_item_first() -> None:
    """A receipt without an item lowers what is owed from the day it is known."""
    payments = """
        payment_id | invoice_id | customer_id | paid_on    | amount  | kind
        P1         | -          | ANNA        | 2024-04-10 | 1200.00 | payment
    """
    expected = """
        as_of      | A1   | A2  | unapplied
        2024-04-09 | 1000 | 500 | 0
        2024-04-10 |    0 | 300 | 0
    """
    require(expected, payments=payments)


def test_as_allocated_leaves_money_unapplied() -> None:
    """A house may state that only an allocation pays an item."""
    payments = """
        payment_id | invoice_id | customer_id | paid_on    | amount  | kind
        P1         | -          | ANNA        | 2024-04-10 | 1200.00 | payment
    """
    allocations = """
        payment_id | invoice_id | amount | allocated_on
        P1         | A2         | 500.00 | 2024-04-20
    """
    expected = """
        as_of      | A1   | A2  | unapplied
        2024-04-09 | 1000 | 500 | 0
        2024-04-10 | 1000 | 500 | 1200
        2024-04-20 | 1000 |   0 | 700
    """
    require(
        expected,
        policy="as_allocated",
        payments=payments,
        allocations=allocations,
    )


def test_an_overpaid_item_pays_another() -> None:
    """One transfer for two invoices was booked on the first."""
    payments = """
        payment_id | invoice_id | paid_on    | amount  | kind
        P1         | A1         | 2024-04-10 | 1500.00 | payment
    """
    expected = """
        as_of      | A1 | A2 | unapplied
        2024-04-10 |  0 |  0 | 0
    """
    require(expected, payments=payments)


def test_a_credit_note_above_its_invoice_is_credit_of_the_customer() -> None:
    """A credit note of 1200 on an invoice of 1000 leaves 200 for the next."""
    payments = """
        payment_id | invoice_id | paid_on    | amount  | kind
        N1         | A1         | 2024-04-10 | 1200.00 | credit_note
    """
    expected = """
        as_of      | A1 | A2  | unapplied
        2024-04-10 |  0 | 300 | 0
    """
    require(expected, payments=payments)


def test_a_negative_invoice_is_a_credit_of_the_customer() -> None:
    """A credit memo that refers to no invoice comes among the invoices."""
    invoices = """
        invoice_id | customer_id | issued_on  | due_on     | amount
        A1         | ANNA        | 2024-01-01 | 2024-01-31 | 1000.00
        M1         | ANNA        | 2024-02-01 | 2024-02-01 | -700.00
        M2         | ANNA        | 2024-02-20 | 2024-02-20 | -400.00
    """
    expected = """
        as_of      | A1   | unapplied
        2024-01-31 | 1000 | 0
        2024-02-01 |  300 | 0
        2024-02-20 |    0 | 100
    """
    require(expected, invoices=invoices)


def test_a_credit_memo_pays_the_document_that_it_names() -> None:
    """It may name an invoice or a document; what is left pays the oldest item.

    Without a name it would pay A1, which is due first.
    """
    invoices = """
        invoice_id | document_id | customer_id | issued_on  | due_on     |  amount
        A1         | -           | ANNA        | 2024-01-01 | 2024-01-31 | 1000.00
        A2         | -           | ANNA        | 2024-03-01 | 2024-03-31 |  500.00
        CM1        | A2          | ANNA        | 2024-04-01 | 2024-04-01 | -300.00
        CM2        | A2          | ANNA        | 2024-05-01 | 2024-05-01 | -300.00
    """
    expected = """
        as_of      | A1   | A2  | unapplied
        2024-03-31 | 1000 | 500 | 0
        2024-04-01 | 1000 | 200 | 0
        2024-05-01 |  900 |   0 | 0
    """
    require(expected, invoices=invoices)


def test_a_memo_pays_its_document_whatever_becomes_known_later() -> None:
    """A document that is told of later neither takes the memo nor hides its own."""
    invoices = """
        invoice_id|document_id|customer_id|issued_on |due_on    | amount|known_on
        A1        |EARLY      |ANNA       |2024-01-01|2024-03-31| 700.00|2024-05-01
        A2        |-          |ANNA       |2024-01-01|2024-01-15| 300.00|2024-01-01
        A3        |OWN        |ANNA       |2024-02-01|2024-03-31| 500.00|2024-02-01
        A4        |LATE       |ANNA       |2024-02-01|2024-03-31| 600.00|2024-06-01
        CM1       |OWN        |ANNA       |2024-04-01|2024-04-01|-200.00|2024-04-01
        CM2       |LATE       |ANNA       |2024-04-01|2024-04-01|-100.00|2024-04-01
    """
    expected = """
        as_of      | A1  | A2  | A3  | A4  | unapplied
        2024-03-31 |   - | 300 | 500 |   - | 0
        2024-04-01 |   - | 200 | 300 |   - | 0
        2024-05-01 | 700 | 200 | 300 |   - | 0
        2024-06-01 | 700 | 300 | 300 | 500 | 0
    """
    require(expected, invoices=invoices)


def test_a_credit_memo_can_be_allocated_as_a_payment_is() -> None:
    """An allocation names the memo in place of a payment."""
    invoices = """
        invoice_id | customer_id | issued_on  | due_on     |  amount
        A1         | ANNA        | 2024-01-01 | 2024-01-31 | 1000.00
        A2         | ANNA        | 2024-03-01 | 2024-03-31 |  500.00
        CM1        | ANNA        | 2024-04-01 | 2024-04-01 | -300.00
    """
    allocations = """
        payment_id | invoice_id | allocated_on | amount
        CM1        | A2         | 2024-04-10   | 200.00
    """
    expected = """
        as_of      | A1   | A2  | unapplied
        2024-04-01 | 1000 | 500 | 300
        2024-04-10 | 1000 | 300 | 100
    """
    require(expected, "as_allocated", invoices=invoices, allocations=allocations)


def test_a_return_is_known_with_the_invoice_of_what_came_back() -> None:
    """P1 was booked, and came back, before its invoice A2 was entered."""
    payments = """
        payment_id | invoice_id | customer_id | paid_on    |  amount | reverses
        P1         | A2         | -           | 2024-02-05 |  500.00 | -
        P2         | -          | ANNA        | 2024-02-12 | -500.00 | P1
        P3         | -          | ANNA        | 2024-02-14 |  200.00 | -
    """
    expected = """
        as_of      | A1   | A2  | unapplied | is_unmatched
        2024-02-13 | 1000 | -   | 0         | no
        2024-02-14 |  800 | -   | 0         | no
        2024-03-01 |  800 | 500 | 0         | no
    """
    require(expected, payments=payments)


def test_a_credit_memo_that_is_paid_out_is_used_up() -> None:
    """The refund is booked on the memo, with either sign."""
    invoices = """
        invoice_id | customer_id | issued_on  | due_on     | amount
        A1         | ANNA        | 2024-01-01 | 2024-01-31 | 1000.00
        M1         | ANNA        | 2024-02-01 | 2024-02-01 | -700.00
    """
    payments = """
        payment_id | invoice_id | paid_on    | amount  | kind
        P1         | M1         | 2024-02-10 | -700.00 | payment
    """
    expected = """
        as_of      | A1   | unapplied
        2024-02-09 |  300 | 0
        2024-02-10 | 1000 | 0
    """
    require(expected, invoices=invoices, payments=payments)


def test_a_deposit_before_the_first_invoice_waits_for_it() -> None:
    """Money that came first is shown, and pays the invoice when it is known."""
    payments = """
        payment_id | invoice_id | customer_id | paid_on    | amount | kind
        P1         | -          | ANNA        | 2023-12-20 | 300.00 | payment
        P2         | -          | ANNA        | 2024-02-15 | 900.00 | payment
    """
    expected = """
        as_of      | A1  | A2  | unapplied
        2024-01-01 | 700 |   - | 0
        2024-02-14 | 700 |   - | 0
        2024-02-15 |   0 |   - | 200
        2024-03-01 |   0 | 300 | 0
    """
    require(expected, payments=payments)


def test_a_credit_memo_and_its_credits_are_cancelled_together() -> None:
    """What was paid out for the memo is owed by the customer then."""
    invoices = """
        invoice_id | customer_id | issued_on  | due_on     | amount
        A1         | ANNA        | 2024-01-01 | 2024-01-31 | 1000.00
        M1         | ANNA        | 2024-02-01 | 2024-02-01 | -700.00
    """
    cancellations = """
        invoice_id | payment_id | cancelled_on
        M1         | -          | 2024-02-20
        M1         | -          | 2024-02-21
    """
    expected = """
        as_of      | A1   | is_unmatched
        2024-02-19 |  300 | no
        2024-02-20 | 1000 | no
        2024-02-21 | 1000 | no
    """
    require(expected, invoices=invoices, cancellations=cancellations)


def test_a_net_credit_never_becomes_a_debt() -> None:
    """More was paid than is owed: nothing is open, and the rest is unapplied."""
    payments = """
        payment_id | invoice_id | paid_on    | amount  | kind
        P1         | A1         | 2024-04-10 | 9000.00 | payment
    """
    expected = """
        as_of      | A1 | A2 | unapplied
        2024-04-10 |  0 |  0 | 7500
    """
    require(expected, payments=payments)


def test_money_of_one_currency_does_not_pay_items_of_another() -> None:
    """An overpayment in USD stays unapplied beside an open item in EUR."""
    invoices = """
        invoice_id | customer_id | issued_on  | due_on     | amount  | currency
        A1         | ANNA        | 2024-01-01 | 2024-01-31 | 1000.00 | EUR
        U1         | ANNA        | 2024-01-01 | 2024-01-31 |  500.00 | USD
    """
    payments = """
        payment_id | invoice_id | paid_on    | amount | kind
        P1         | U1         | 2024-02-10 | 800.00 | payment
    """
    fx_rates = """
        currency | rate_on    | rate
        USD      | 2024-01-01 | 0.9
    """
    expected = """
        as_of      | A1   | U1 | unapplied | unapplied USD
        2024-02-10 | 1000 |  0 | 0         | 300
    """
    require(
        expected,
        invoices=invoices,
        payments=payments,
        fx_rates=fx_rates,
    )


def test_money_without_a_currency_is_in_that_of_the_items() -> None:
    """A customer who is invoiced in USD alone pays in USD.

    An item in another currency that becomes known later changes nothing.
    """
    invoices = """
        invoice_id | customer_id | issued_on  | due_on     | amount | currency
        U1         | ANNA        | 2024-01-01 | 2024-01-31 | 500.00 | USD
        A1         | ANNA        | 2024-03-01 | 2024-03-31 | 500.00 | EUR
    """
    payments = """
        payment_id | invoice_id | customer_id | paid_on    | amount
        P1         | -          | ANNA        | 2024-02-10 | 400.00
        P2         | -          | ANNA        | 2024-03-10 | 400.00
    """
    fx_rates = """
        currency | rate_on    | rate
        USD      | 2024-01-01 | 0.9
    """
    expected = """
        as_of      | U1  | A1
        2024-02-10 | 100 |   -
        2024-03-09 | 100 | 500
        2024-03-10 | 100 | 100
    """
    require(
        expected,
        invoices=invoices,
        payments=payments,
        fx_rates=fx_rates,
    )


def test_one_receipt_pays_many_items() -> None:
    """The rows of one receipt share its id; each names its item."""
    payments = """
        payment_id | invoice_id | paid_on    | amount  | kind
        P1         | A1         | 2024-04-02 | 1000.00 | payment
        P1         | A2         | 2024-04-02 |  500.00 | payment
    """
    expected = """
        as_of      | A1   | A2
        2024-04-01 | 1000 | 500
        2024-04-02 |    0 |   0
    """
    require(expected, payments=payments)


def test_an_allocation_says_what_a_receipt_pays() -> None:
    """Until it is known, the oldest item is paid; then the one that it names."""
    payments = """
        payment_id | invoice_id | customer_id | paid_on    | amount | kind
        P1         | -          | ANNA        | 2024-04-10 | 500.00 | payment
    """
    allocations = """
        payment_id | invoice_id | amount | allocated_on
        P1         | A2         | 500.00 | 2024-04-20
    """
    expected = """
        as_of      | A1   | A2  | unapplied
        2024-04-10 |  500 | 500 | 0
        2024-04-19 |  500 | 500 | 0
        2024-04-20 | 1000 |   0 | 0
    """
    require(expected, payments=payments, allocations=allocations)


def test_a_payment_in_another_currency_is_converted_at_its_day() -> None:
    """EUR 900 at 0.90 EUR for a USD are USD 1000.

    What comes back of it comes back at the same rate, named or not. A rate that is
    entered later changes no decision of the past.
    """
    invoices = """
        invoice_id | customer_id | issued_on  | due_on     | amount  | currency
        U1         | ANNA        | 2024-01-01 | 2024-01-31 | 1000.00 | USD
    """
    payments = """
        payment_id | invoice_id | paid_on    | amount | kind     | currency | reverses
        P1         | U1         | 2024-01-31 | 450.00 | payment  | EUR      | -
        P2         | U1         | 2024-01-31 | 450.00 | payment  | EUR      | -
        P3         | U1         | 2024-03-10 | 450.00 | returned | EUR      | P1
        P4         | U1         | 2024-03-20 | 450.00 | returned | EUR      | -
    """
    fx_rates = """
        currency | rate_on    | rate | known_on
        USD      | 2024-01-01 | 0.9  | 2024-01-01
        USD      | 2024-01-31 | 0.5  | 2024-02-20
        USD      | 2024-03-01 | 0.8  | 2024-03-01
    """
    expected = """
        as_of      | U1
        2024-01-30 | 1000
        2024-01-31 |    0
        2024-03-10 |  500
        2024-03-20 | 1000
    """
    require(
        expected,
        invoices=invoices,
        payments=payments,
        fx_rates=fx_rates,
    )


# --- items


def test_instalments_are_items_with_due_days_of_their_own() -> None:
    """The items of one document share its id; each is paid for itself."""
    invoices = """
        invoice_id | document_id | customer_id | issued_on  | due_on     | amount
        A1-1       | A1          | ANNA        | 2024-01-01 | 2024-01-31 | 300.00
        A1-2       | A1          | ANNA        | 2024-01-01 | 2024-02-29 | 300.00
        A1-3       | A1          | ANNA        | 2024-01-01 | 2024-03-31 | 300.00
    """
    payments = """
        payment_id | invoice_id | paid_on    | amount | kind
        P1         | A1-1       | 2024-01-31 | 300.00 | payment
        P2         | A1-2       | 2024-03-05 | 100.00 | payment
    """
    expected = """
        as_of      | A1-1 | A1-2 | A1-3
        2024-01-30 |  300 |  300 | 300
        2024-02-29 |    0 |  300 | 300
        2024-03-05 |    0 |  200 | 300
    """
    require(expected, invoices=invoices, payments=payments)


def test_money_for_a_document_pays_its_own_items_first() -> None:
    """An invoice in three parts is paid and cancelled by its own number."""
    invoices = """
        invoice_id | document_id | customer_id | issued_on  | due_on     | amount
        A0         | -           | ANNA        | 2024-01-01 | 2024-01-15 | 300.00
        A1-1       | A1          | ANNA        | 2024-01-01 | 2024-01-31 | 300.00
        A1-2       | A1          | ANNA        | 2024-01-01 | 2024-02-29 | 300.00
    """
    payments = """
        payment_id | invoice_id | paid_on    | amount | kind
        P1         | A1         | 2024-01-31 | 400.00 | payment
        N1         | A1         | 2024-02-10 |  50.00 | credit_note
    """
    cancellations = """
        invoice_id | payment_id | cancelled_on
        A1         | -          | 2024-03-10
    """
    expected = """
        as_of      | A0  | A1-1 | A1-2 | unapplied
        2024-01-31 | 300 |    0 |  200 |   0
        2024-02-10 | 300 |    0 |  150 |   0
        2024-03-10 |   0 |    - |    - | 100
    """
    require(
        expected,
        invoices=invoices,
        payments=payments,
        cancellations=cancellations,
    )


def test_retention_and_debit_notes_are_items() -> None:
    """Retained money is due later; a debit note adds to what is owed."""
    invoices = """
        invoice_id | document_id | customer_id | issued_on  | due_on     | amount
        A1         | A1          | ANNA        | 2024-01-01 | 2024-01-31 | 950.00
        A1-R       | A1          | ANNA        | 2024-01-01 | 2025-01-01 |  50.00
        D1         | -           | ANNA        | 2024-02-01 | 2024-02-01 |  25.00
    """
    payments = """
        payment_id | invoice_id | customer_id | paid_on    | amount | kind
        P1         | A1         | -           | 2024-01-31 | 950.00 | payment
        P2         | -          | ANNA        | 2024-02-05 |  30.00 | payment
    """
    expected = """
        as_of      | A1  | A1-R | D1 | unapplied
        2024-01-30 | 950 |   50 |  - | 0
        2024-02-01 |   0 |   50 | 25 | 0
        2024-02-05 |   0 |   45 |  0 | 0
    """
    require(expected, invoices=invoices, payments=payments)


def test_a_list_of_open_balances_needs_no_payments() -> None:
    """What is open is known; how the customer pays is not."""
    expected = """
        as_of      | A1   | A2  | unapplied
        2024-03-01 | 1000 | 500 | 0
    """
    require(expected)


def test_an_item_may_be_due_before_it_is_issued() -> None:
    """An invoice that was written late is owed all the same."""
    invoices = """
        invoice_id | customer_id | issued_on  | due_on     | amount
        A1         | ANNA        | 2024-02-05 | 2024-01-31 | 1000.00
    """
    expected = """
        as_of      | A1   | due_on
        2024-02-05 | 1000 | 2024-01-31
    """
    require(expected, invoices=invoices)


def test_an_extended_due_day_counts_from_the_day_it_was_agreed() -> None:
    """The day before, the item was past due; it is not corrected backwards."""
    extensions = """
        invoice_id | extended_on | due_on
        A1         | 2024-02-20  | 2024-04-30
        A1         | 2024-04-25  | 2024-05-31
    """
    invoices = """
        invoice_id | customer_id | issued_on  | due_on     | amount
        A1         | ANNA        | 2024-01-01 | 2024-01-31 | 1000.00
    """
    expected = """
        as_of      | A1   | due_on
        2024-02-19 | 1000 | 2024-01-31
        2024-02-20 | 1000 | 2024-04-30
        2024-04-24 | 1000 | 2024-04-30
        2024-04-25 | 1000 | 2024-05-31
    """
    require(expected, invoices=invoices, extensions=extensions)


def test_a_write_off_of_a_difference_closes_an_item() -> None:
    """A bank kept 5.00; what was written off is neither owed nor money."""
    payments = """
        payment_id | invoice_id | paid_on    | amount | kind
        P1         | A1         | 2024-01-31 | 995.00 | payment
    """
    write_offs = """
        invoice_id | written_off_on | amount
        A1         | 2024-02-05     | 5.00
    """
    expected = """
        as_of      | A1 | unapplied
        2024-02-04 |  5 | 0
        2024-02-05 |  0 | 0
    """
    require(expected, payments=payments, write_offs=write_offs)


def test_what_is_paid_after_a_write_off_is_a_recovery() -> None:
    """It takes the place of what was written off and is not paid twice."""
    payments = """
        payment_id | invoice_id | paid_on    | amount | kind
        P1         | A1         | 2024-08-31 | 400.00 | payment
        P2         | A1         | 2024-09-30 | 700.00 | payment
    """
    write_offs = """
        invoice_id | written_off_on | amount
        A1         | 2024-05-31     | 1000.00
    """
    invoices = """
        invoice_id | customer_id | issued_on  | due_on     | amount
        A1         | ANNA        | 2024-01-01 | 2024-01-31 | 1000.00
    """
    expected = """
        as_of      | A1 | unapplied
        2024-05-31 |  0 | 0
        2024-08-31 |  0 | 0
        2024-09-30 |  0 | 100
    """
    require(
        expected,
        invoices=invoices,
        payments=payments,
        write_offs=write_offs,
    )
