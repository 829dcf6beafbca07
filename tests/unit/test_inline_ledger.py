"""Rows that are sent with a question: what is refused, and how it is said."""

from __future__ import annotations

import json
from datetime import date
from typing import Any

import pytest

from obligor.data.account import Account
from obligor.data.asof import known_account
from obligor.decisions.inline_ledger import account_of
from obligor.decisions.questions import InlineLedger
from obligor.errors import SchemaError

TODAY = date(2025, 1, 1)
INVOICE = {
    "invoice_id": "I0",
    "issued_on": "2024-01-01",
    "due_on": "2024-02-01",
    "amount": "100.00",
    "currency": "EUR",
}
PAYMENT = {"invoice_id": "I0", "paid_on": "2024-01-02", "amount": "5.00"}
RECEIPT = {"paid_on": "2024-01-02", "amount": "5.00"}


def sent(**tables: Any) -> Account:
    """Return the account of an invoice and some other rows."""
    text = json.dumps({"currency": "EUR", "invoices": [INVOICE], **tables})
    return account_of("ANNA", InlineLedger.model_validate_json(text), TODAY)


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        (
            {"payments": [{**PAYMENT, "currency": "USD"}]},
            "fx_rates: no rate from USD to EUR on or before 2024-01-02",
        ),
        (
            {"cancellations": [{"cancelled_on": "2024-02-02"}]},
            "ledger.cancellations[0].invoice_id: the row names 0 of",
        ),
        (
            {"payments": [{**PAYMENT, "payment_id": "P"}] * 2},
            "ledger.payments[1].payment_id: 'P' is used twice",
        ),
        (
            {"payments": [{**PAYMENT, "amount": "-5.00"}] * 12},
            "ledger.payments: 12 of 12 amounts are below 0; expected payments above 0, "
            "and below 0 only what undoes them; correct the row",
        ),
        (
            {"payments": [{**RECEIPT, "payment_id": "P\u200b"}]},
            "ledger.payments[0].payment_id: the value cannot be read; expected a "
            "printable text",
        ),
        (
            # With the invoice I0 there would be two of one id.
            {
                "invoices": [INVOICE, {**INVOICE, "invoice_id": "I0 "}],
                "payments": [RECEIPT],
            },
            "ledger.invoices[1].invoice_id: 'I0 ' begins or ends with a blank",
        ),
        (
            {"write_offs": [{"invoice_id": "D", "written_off_on": "2024-03-01"}]},
            "amount",
        ),
    ],
)
def test_a_row_that_cannot_be_used_is_named(
    tables: dict[str, Any], message: str
) -> None:
    with pytest.raises((SchemaError, ValueError)) as caught:
        sent(**tables)
    assert message in str(caught.value)


def test_a_receipt_may_pay_several_items() -> None:
    other = {**INVOICE, "invoice_id": "I1"}
    parts = [
        {**PAYMENT, "payment_id": "P"},
        {**PAYMENT, "payment_id": "P", "invoice_id": "I1"},
        {**RECEIPT, "payment_id": "P"},
    ]
    account = sent(invoices=[INVOICE, other], payments=parts)
    assert account.events.value.tolist() == [500, 500]
    assert account.money.value.tolist() == [500]


def test_money_of_a_customer_without_invoices_is_kept() -> None:
    account = sent(invoices=[], payments=[RECEIPT])
    assert account.money.value.tolist() == [500]
    assert known_account(account, TODAY).account.money.value.tolist() == [500]


def test_a_payment_without_an_id_gets_one_of_its_own() -> None:
    """It must not be the payment that another row undoes or names."""
    payments = [
        RECEIPT,
        {**RECEIPT, "payment_id": "payment 0", "amount": "7.00"},
        {**RECEIPT, "amount": "-7.00", "reverses": "payment 0"},
    ]
    account = sent(payments=payments, unapplied="as_allocated")
    known = known_account(account, TODAY).account
    assert known.money.value.tolist() == [500]
    assert not known.is_incomplete


def test_a_customer_may_be_registered_or_not() -> None:
    registered = [{"registered_on": "2020-01-01"}]
    account = sent(payments=[RECEIPT], customers=registered)
    assert len(account.registered.day) == 1
    assert len(sent(payments=[RECEIPT]).registered.day) == 0
    assert account.observed_until is None
