"""Open invoices as the forecasts see them: balances, settlement, and no hindsight."""

from __future__ import annotations

from datetime import date

import pandas as pd
import pytest

from obligor.data.asof import known_on
from obligor.data.ledger import Ledger
from obligor.features.build import build_features
from obligor.features.invoices import items_of, open_invoices
from obligor.forecasts.time_to_pay import invoice_sample, without_cancelled
from obligor.training.samples.config import DefaultDefinition
from obligor.training.samples.labels import default_events
from tests.ascii import ledger, spec

DAY = date(2024, 6, 30)
INVOICES = """
    invoice_id | customer_id | issued_on  | due_on     | amount
    A1         | ANNA        | 2024-03-01 | 2024-03-31 | 1000.00
    A2         | ANNA        | 2024-03-01 | 2024-04-30 | 1000.00
    A3         | ANNA        | 2024-03-01 | 2024-05-31 | 1000.00
    A4         | ANNA        | 2024-05-01 | 2024-06-30 | 1000.00
"""


def items(day: date = DAY, **tables: str) -> pd.DataFrame:
    tables.setdefault("invoices", INVOICES)
    return items_of(known_on(ledger(**tables), day))


def open_on(book: Ledger, day: date = DAY) -> pd.DataFrame:
    known = known_on(book, day)
    return open_invoices(known, build_features(known))


def test_an_item_is_settled_by_what_was_paid_not_by_what_was_given_up() -> None:
    """50.00 given up of 1,000.00 are bank charges, 60.00 are a loss.

    A part that was written off leaves the other part open.
    """
    payments = """
        invoice_id | paid_on    | amount
        A1         | 2024-04-02 | 950.00
        A2         | 2024-04-02 | 940.00
        A3         | 2024-04-02 | 200.00
    """
    write_offs = """
        invoice_id | written_off_on | amount
        A1         | 2024-06-01     |  50.00
        A2         | 2024-06-01     |  60.00
        A3         | 2024-06-01     | 300.00
    """
    expected = """
        invoice_id | balance | open_share | settled_on
        A1         |       0 | 0          | 2024-04-02
        A2         |       0 | 0          | -
        A3         |     500 | 0.5        | -
        A4         |    1000 | 1          | -
    """
    spec(items(payments=payments, write_offs=write_offs), expected)


def test_a_recovery_of_what_was_written_off_settles_the_item() -> None:
    payments = """
        invoice_id | paid_on    | amount
        A1         | 2024-06-20 | 1000.00
    """
    write_offs = """
        invoice_id | written_off_on | amount
        A1         | 2024-06-01     | 1000.00
    """
    settled_on = items(payments=payments, write_offs=write_offs)["settled_on"]
    assert settled_on["A1"] == pd.Timestamp("2024-06-20")


def test_a_payment_that_came_back_settles_nothing() -> None:
    payments = """
        payment_id | invoice_id | paid_on    | amount   | reverses
        P1         | A1         | 2024-04-02 | 1000.00  | -
        P2         | A1         | 2024-04-20 | -1000.00 | P1
    """
    before = items(date(2024, 4, 19), payments=payments).loc["A1"]
    after = items(payments=payments).loc["A1"]
    assert before["settled_on"] == pd.Timestamp("2024-04-02")
    assert pd.isna(after["settled_on"])
    assert after["balance"] == 1000


def test_a_balance_is_at_the_closing_rate_and_an_amount_at_that_of_its_day() -> None:
    """400.00 of 1,000.00 USD were paid; the dollar fell from 0.90 to 0.50."""
    invoices = """
        invoice_id | customer_id | issued_on  | due_on     | amount  | currency
        A1         | ANNA        | 2024-03-01 | 2024-03-31 | 1000.00 | USD
    """
    fx_rates = """
        currency | rate_on    | rate
        USD      | 2024-01-01 | 0.90
        USD      | 2024-06-01 | 0.50
    """
    payments = """
        invoice_id | paid_on    | amount
        A1         | 2024-04-02 | 400.00
    """
    expected = """
        invoice_id | amount | balance | open_share
        A1         | 900    | 300     | 0.6
    """
    rows = items(
        invoices=invoices,
        fx_rates=fx_rates,
        payments=payments,
    )
    spec(rows, expected)


def test_a_list_of_open_balances_without_payments_has_open_invoices() -> None:
    expected = """
        invoice_id | balance | days_to_due | settled_count
        A1         | 1000    | -91         | 0
        A2         | 1000    | -61         | 0
        A3         | 1000    | -30         | 0
        A4         | 1000    |   0         | 0
    """
    spec(open_on(ledger(invoices=INVOICES)), expected)


@pytest.fixture
def undone() -> Ledger:
    """A1 was paid on 2 April and the payment came back in June; A2 was cancelled."""
    return ledger(
        invoices=INVOICES,
        payments="""
            payment_id | invoice_id | paid_on    | amount   | reverses
            P1         | A1         | 2024-04-02 | 1000.00  | -
            P2         | A1         | 2024-06-20 | -1000.00 | P1
        """,
        cancellations="""
            invoice_id | cancelled_on
            A2         | 2024-06-10
        """,
    )


def test_a_sample_sees_each_day_without_hindsight(undone: Ledger) -> None:
    """On 1 May A1 counts as paid on time, as anybody would have said then."""
    sample = invoice_sample(undone, [date(2024, 5, 1)], DAY)
    expected = """
        invoice_id | settled_count | is_cancelled | settled_on
        A2         | 1             | yes          | -
        A3         | 1             | no           | -
        A4         | 1             | no           | -
    """
    spec(sample.rows, expected)


def test_cancelled_invoices_teach_nothing(undone: Ledger) -> None:
    """One that was open on 1 May was neither paid nor left unpaid."""
    sample = without_cancelled(invoice_sample(undone, [date(2024, 5, 1)], DAY))
    assert sample.rows.index.tolist() == ["A3", "A4"]


def test_a_ledger_whose_invoices_are_all_cancelled_has_no_defaults() -> None:
    known = known_on(
        ledger(
            invoices="""
                invoice_id | customer_id | issued_on  | due_on     | amount
                A1         | ANNA        | 2024-01-01 | 2024-01-31 | 1000.00
            """,
            cancellations="""
                invoice_id | cancelled_on
                A1         | 2024-06-01
            """,
        ),
        DAY,
    )
    by_customer = DefaultDefinition(counts="customer")
    assert default_events(known, DefaultDefinition()).empty
    assert default_events(known, by_customer).empty
    assert open_invoices(known, build_features(known)).empty
