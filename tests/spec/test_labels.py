"""Who defaulted, and when.

An invoice is in default from the day it is 90 days past due with an open amount of at
least 100 in the reporting currency, or from its write-off if that is earlier. A row of
training data is a customer on an as-of date, and its label is whether one of the
customer's invoices goes into default in the performance window after that date. Days
past due, materiality, the length of the window and the day that must lie in it are
configured; the examples use the standard configuration unless they say otherwise.
Unless an example lists other invoices, ANNA has this one.
"""

from __future__ import annotations

from datetime import date

import pandas as pd

from obligor.data.asof import known_on
from obligor.training.samples.config import DefaultDefinition
from obligor.training.samples.labels import (
    customers_in_default,
    days_to_default,
    item_default_events,
)
from tests import ascii
from tests.ascii import spec

DEFAULT_DEFINITION = DefaultDefinition()
END = date(2024, 12, 31)
INVOICES = """
    invoice_id | customer_id | issued_on  | due_on     | amount
    A1         | ANNA        | 2024-01-01 | 2024-01-31 | 1000.00
"""


def defaults(
    definition: DefaultDefinition = DEFAULT_DEFINITION,
    until: date = END,
    **tables: str,
) -> pd.DataFrame:
    """Return the invoices in default, with their ids."""
    tables.setdefault("invoices", INVOICES)
    known = known_on(ascii.ledger(**tables), until)
    return item_default_events(known, definition, with_items=True)


def in_default(
    as_of: date,
    definition: DefaultDefinition = DEFAULT_DEFINITION,
    **tables: str,
) -> list[str]:
    """Return the customers in default on a date, by what was known on it."""
    tables.setdefault("invoices", INVOICES)
    known = known_on(ascii.ledger(**tables), as_of)
    return sorted(customers_in_default(known, definition))


def label(
    as_of: date,
    definition: DefaultDefinition = DEFAULT_DEFINITION,
    **tables: str,
) -> dict[str, object]:
    """Return ANNA's label on a date and the days to her first default."""
    events = defaults(definition, **tables)
    customers = pd.Index(["ANNA"])
    days = days_to_default(events, customers, as_of, definition)["ANNA"]
    return {"label": int(pd.notna(days)), "days_to_default": days}


def test_default_90_days_past_due() -> None:
    """An invoice due on 31 January is 90 days past due on 30 April.

    Payment on that day prevents the default, payment on the next day cures it.
    """
    invoices = """
        invoice_id | customer_id | issued_on  | due_on     | amount
        A1         | ANNA        | 2024-01-01 | 2024-01-31 | 1000.00
        B1         | BORIS       | 2024-01-01 | 2024-01-31 | 1000.00
        C1         | CLARA       | 2024-01-01 | 2024-01-31 | 1000.00
    """
    payments = """
        invoice_id | paid_on    | amount
        A1         | 2024-04-30 | 1000.00
        B1         | 2024-05-01 | 1000.00
    """
    expected = """
        invoice_id | customer_id | due_on     | default_on | cured_on
        B1         | BORIS       | 2024-01-31 | 2024-04-30 | 2024-05-01
        C1         | CLARA       | 2024-01-31 | 2024-04-30 | -
    """
    spec(defaults(invoices=invoices, payments=payments), expected)


def test_default_of_an_invoice_billed_after_its_due_date() -> None:
    """It is 90 days past due by its due date, but never before it was issued."""
    invoices = """
        invoice_id | customer_id | issued_on  | due_on     | amount
        A1         | ANNA        | 2024-02-10 | 2024-01-31 | 1000.00
        B1         | BORIS       | 2024-06-15 | 2024-01-31 | 1000.00
        C1         | CLARA       | 2024-06-15 | 2024-01-31 | 1000.00
    """
    payments = """
        invoice_id | paid_on    | amount
        C1         | 2024-06-15 | 1000.00
    """
    expected = """
        invoice_id | customer_id | due_on     | default_on | cured_on
        A1         | ANNA        | 2024-01-31 | 2024-04-30 | -
        B1         | BORIS       | 2024-01-31 | 2024-06-15 | -
    """
    spec(defaults(invoices=invoices, payments=payments), expected)


def test_balance_below_materiality_is_not_a_default() -> None:
    """What counts is the amount that is open on the day; 100 is material, 99 is not."""
    invoices = """
        invoice_id | customer_id | issued_on  | due_on     | amount
        A1         | ANNA        | 2024-01-01 | 2024-01-31 | 1000.00
        B1         | BORIS       | 2024-01-01 | 2024-01-31 | 1000.00
    """
    payments = """
        invoice_id | paid_on    | amount
        A1         | 2024-03-01 | 901.00
        B1         | 2024-03-01 | 900.00
    """
    expected = """
        invoice_id | default_on
        B1         | 2024-04-30
    """
    spec(defaults(invoices=invoices, payments=payments), expected)


def test_lower_materiality_finds_more_defaults() -> None:
    """With a materiality of 50, an open amount of 50 is a default."""
    definition = DefaultDefinition(materiality=50.0)
    payments = """
        invoice_id | paid_on    | amount
        A1         | 2024-03-01 | 950.00
    """
    expected = """
        invoice_id | default_on
        A1         | 2024-04-30
    """
    spec(defaults(definition, payments=payments), expected)


def test_materiality_is_in_the_reporting_currency() -> None:
    """What is open is converted at the rate of day 90, not at that of the invoice.

    Day 90 of ANNA's invoice is 30 April, that of BORIS's is 10 May; on the days of
    their invoices both amounts were material.
    """
    invoices = """
        invoice_id | customer_id | issued_on  | due_on     | amount | currency
        A1         | ANNA        | 2024-01-01 | 2024-01-31 |    120 | USD
        B1         | BORIS       | 2024-01-01 | 2024-02-10 |    120 | USD
    """
    fx_rates = """
        currency | rate_on    | rate
        USD      | 2024-01-01 | 0.90
        USD      | 2024-05-05 | 0.80
    """
    expected = """
        invoice_id | default_on
        A1         | 2024-04-30
    """
    spec(defaults(invoices=invoices, fx_rates=fx_rates), expected)


def test_write_off_is_a_default_on_its_day() -> None:
    """A write-off before day 90 is a default at once, and also ends it."""
    write_offs = """
        invoice_id | written_off_on | amount
        A1         | 2024-03-10     | 1000.00
    """
    expected = """
        invoice_id | default_on | cured_on
        A1         | 2024-03-10 | 2024-03-10
    """
    spec(defaults(write_offs=write_offs), expected)


def test_a_small_difference_that_is_written_off_is_not_a_default() -> None:
    """Bank charges of 5.00 are given up: the invoice is paid, as if they had come.

    BORIS's write-off of 50.00 leaves 110.00 to pay, CLARA's leaves 90.00.
    """
    invoices = """
        invoice_id | customer_id | issued_on  | due_on     | amount
        A1         | ANNA        | 2024-01-01 | 2024-01-31 | 1000.00
        B1         | BORIS       | 2024-01-01 | 2024-01-31 | 1000.00
        C1         | CLARA       | 2024-01-01 | 2024-01-31 | 1000.00
    """
    payments = """
        invoice_id | paid_on    | amount
        A1         | 2024-02-02 | 995.00
        B1         | 2024-02-02 | 840.00
        C1         | 2024-02-02 | 860.00
    """
    write_offs = """
        invoice_id | written_off_on | amount
        A1         | 2024-02-05     |  5.00
        B1         | 2024-02-05     | 50.00
        C1         | 2024-02-05     | 50.00
    """
    expected = """
        invoice_id | default_on | cured_on
        B1         | 2024-04-30 | -
    """
    events = defaults(
        invoices=invoices,
        payments=payments,
        write_offs=write_offs,
    )
    spec(events, expected)


def test_small_write_offs_of_a_customer_within_a_year_count_together() -> None:
    """The second write-off of 60.00 within 365 days makes 120.00; BORIS's is later."""
    invoices = """
        invoice_id | customer_id | issued_on  | due_on     | amount
        A1         | ANNA        | 2023-01-01 | 2024-12-30 | 60.00
        A2         | ANNA        | 2023-01-01 | 2024-12-30 | 60.00
        B1         | BORIS       | 2023-01-01 | 2024-12-30 | 60.00
        B2         | BORIS       | 2023-01-01 | 2024-12-30 | 60.00
    """
    write_offs = """
        invoice_id | written_off_on | amount
        A1         | 2023-02-01     | 60.00
        A2         | 2024-01-31     | 60.00
        B1         | 2023-02-01     | 60.00
        B2         | 2024-02-01     | 60.00
    """
    expected = """
        invoice_id | default_on
        A2         | 2024-01-31
    """
    spec(defaults(invoices=invoices, write_offs=write_offs), expected)


def test_default_is_cured_when_the_balance_falls_below_materiality() -> None:
    """The last cents need not be paid: the first day below materiality is the cure."""
    payments = """
        invoice_id | paid_on    | amount
        A1         | 2024-05-01 | 500.00
        A1         | 2024-05-20 | 450.00
        A1         | 2024-06-10 |  50.00
    """
    expected = """
        invoice_id | default_on | cured_on
        A1         | 2024-04-30 | 2024-05-20
    """
    spec(defaults(payments=payments), expected)


def test_days_that_have_not_come_yet_are_not_defaults() -> None:
    """A ledger that ends on day 89 shows no default; no row is needed on day 90."""
    expected = """
        until      | defaults
        2024-04-29 | -
        2024-04-30 | A1
    """

    def answer(until: date) -> list[str]:
        return defaults(until=until)["invoice_id"].tolist()

    spec(answer, expected)


def test_customer_is_in_default_by_what_was_known() -> None:
    """A default counts from its own day on, never before it."""
    invoices = """
        invoice_id | customer_id | issued_on  | due_on     | amount
        B1         | BORIS       | 2024-01-01 | 2024-01-31 | 1000.00
        D1         | DORA        | 2024-01-01 | 2024-01-31 | 1000.00
    """
    write_offs = """
        invoice_id | written_off_on | amount
        D1         | 2024-03-10     | 1000.00
    """
    expected = """
        as_of      | in_default
        2024-03-09 | -
        2024-03-10 | DORA
        2024-04-29 | DORA
        2024-04-30 | BORIS, DORA
    """

    def answer(as_of: date) -> list[str]:
        return in_default(as_of, invoices=invoices, write_offs=write_offs)

    spec(answer, expected)


def test_customer_stays_in_default_for_the_cure_period() -> None:
    """With 30 days of cure, a default paid on 1 May ends after 31 May."""
    definition = DefaultDefinition(cure_days=30)
    payments = """
        invoice_id | paid_on    | amount
        A1         | 2024-05-01 | 1000.00
    """
    expected = """
        as_of      | in_default
        2024-05-01 | ANNA
        2024-05-31 | ANNA
        2024-06-01 | -
    """

    def answer(as_of: date) -> list[str]:
        return in_default(as_of, definition, payments=payments)

    spec(answer, expected)


def test_without_a_cure_period_a_default_ends_when_it_is_paid() -> None:
    """With no days of cure, the day after the payment is free of default."""
    definition = DefaultDefinition(cure_days=0)
    payments = """
        invoice_id | paid_on    | amount
        A1         | 2024-05-01 | 1000.00
    """
    expected = """
        as_of      | in_default
        2024-05-01 | ANNA
        2024-05-02 | -
    """

    def answer(as_of: date) -> list[str]:
        return in_default(as_of, definition, payments=payments)

    spec(answer, expected)


def test_performance_window_is_open_at_its_start_and_closed_at_its_end() -> None:
    """With a horizon of 30 days, a default on 30 April labels 31 March to 29 April.

    A default on the as-of date itself is not in the window.
    """
    definition = DefaultDefinition(horizon_days=30)
    expected = """
        as_of      | label | days_to_default
        2024-03-30 | 0     | -
        2024-03-31 | 1     | 30
        2024-04-29 | 1     | 1
        2024-04-30 | 0     | -
    """

    def answer(as_of: date) -> dict[str, object]:
        return label(as_of, definition)

    spec(answer, expected)


def test_write_off_in_the_window_is_a_label() -> None:
    """A write-off on 10 March labels the dates of the 30 days before it."""
    definition = DefaultDefinition(horizon_days=30)
    write_offs = """
        invoice_id | written_off_on | amount
        A1         | 2024-03-10     | 1000.00
    """
    expected = """
        as_of      | label | days_to_default
        2024-02-08 | 0     | -
        2024-02-15 | 1     | 24
        2024-03-10 | 0     | -
    """

    def answer(as_of: date) -> dict[str, object]:
        return label(as_of, definition, write_offs=write_offs)

    spec(answer, expected)


def test_first_default_in_the_window_counts() -> None:
    """Of two defaults in the window, the earlier one gives the days."""
    invoices = """
        invoice_id | customer_id | issued_on  | due_on     | amount
        A1         | ANNA        | 2024-01-01 | 2024-01-31 | 1000.00
        A2         | ANNA        | 2024-02-01 | 2024-03-02 | 1000.00
    """
    expected = """
        as_of      | label | days_to_default
        2024-03-31 | 1     | 30
        2024-04-30 | 1     | 31
    """

    def answer(as_of: date) -> dict[str, object]:
        return label(as_of, invoices=invoices)

    spec(answer, expected)


def test_due_anchor_asks_about_invoices_due_in_the_window() -> None:
    """With the anchor ``due``, the due day of a later default lies in the window."""
    definition = DefaultDefinition(dpd_days=30, horizon_days=90, anchor="due")
    expected = """
        as_of      | label | days_to_default
        2023-11-01 | 0     | -
        2023-11-02 | 1     | 90
        2024-01-30 | 1     | 1
        2024-01-31 | 0     | -
    """

    def answer(as_of: date) -> dict[str, object]:
        return label(as_of, definition)

    spec(answer, expected)


def test_due_anchor_of_an_invoice_billed_late_is_its_day_of_issue() -> None:
    """Until 10 February nobody could have paid what was due on 31 January."""
    definition = DefaultDefinition(dpd_days=30, horizon_days=90, anchor="due")
    invoices = """
        invoice_id | customer_id | issued_on  | due_on     | amount
        A1         | ANNA        | 2024-02-10 | 2024-01-31 | 1000.00
    """
    expected = """
        as_of      | label | days_to_default
        2024-01-30 | 1     | 11
        2024-01-31 | 1     | 10
        2024-02-09 | 1     | 1
        2024-02-10 | 0     | -
    """

    def answer(as_of: date) -> dict[str, object]:
        return label(as_of, definition, invoices=invoices)

    spec(answer, expected)


def test_a_payment_that_came_back_is_no_payment() -> None:
    """The cheque of February bounced in June: the invoice was never paid.

    In May nobody could know, and ANNA was not yet in default.
    """
    payments = """
        payment_id | invoice_id | paid_on    | amount   | reverses
        P1         | A1         | 2024-02-10 | 1000.00  | -
        P2         | A1         | 2024-06-03 | -1000.00 | P1
    """
    expected = """
        invoice_id | default_on | cured_on
        A1         | 2024-04-30 | -
    """
    expected_by_day = """
        as_of      | in_default
        2024-05-31 | -
        2024-06-03 | ANNA
    """

    def answer(as_of: date) -> list[str]:
        return in_default(as_of, payments=payments)

    spec(defaults(payments=payments), expected)
    spec(answer, expected_by_day)


def test_a_cancelled_invoice_is_no_default() -> None:
    """It was open on 31 May; from its cancellation on it never was a debt."""
    cancellations = """
        invoice_id | cancelled_on
        A1         | 2024-06-01
    """
    invoices = f"""{INVOICES}
        B1         | BORIS       | 2024-01-01 | 2024-01-31 | 1000.00
    """.replace("\n\n", "\n")
    expected = """
        until      | defaults
        2024-05-31 | A1, B1
        2024-06-01 | B1
    """

    def answer(until: date) -> list[str]:
        events = defaults(
            until=until,
            invoices=invoices,
            cancellations=cancellations,
        )
        return sorted(events["invoice_id"])

    spec(answer, expected)


def test_an_extended_due_date_is_the_due_date() -> None:
    """With two months more to pay, day 90 is 29 June instead of 30 April."""
    extensions = """
        invoice_id | extended_on | due_on
        A1         | 2024-02-15  | 2024-03-31
    """
    expected = """
        invoice_id | due_on     | default_on
        A1         | 2024-03-31 | 2024-06-29
    """
    spec(defaults(extensions=extensions), expected)


def test_what_was_paid_too_much_for_one_invoice_pays_another() -> None:
    """1,650.00 for A1 leave 50.00 of A2, which is less than 100.00: no default.

    BORIS paid 950.00 without naming an invoice; CLARA paid 1,500.00 too little.
    """
    invoices = """
        invoice_id | customer_id | issued_on  | due_on     | amount
        A1         | ANNA        | 2024-01-01 | 2024-01-31 | 1000.00
        A2         | ANNA        | 2024-01-01 | 2024-02-10 |  700.00
        B1         | BORIS       | 2024-01-01 | 2024-01-31 | 1000.00
        C1         | CLARA       | 2024-01-01 | 2024-01-31 | 1000.00
        C2         | CLARA       | 2024-01-01 | 2024-02-10 | 1000.00
    """
    payments = """
        invoice_id | customer_id | paid_on    | amount
        A1         | ANNA        | 2024-02-01 | 1650.00
        -          | BORIS       | 2024-02-01 |  950.00
        C1         | CLARA       | 2024-02-01 |  500.00
    """
    expected = """
        invoice_id | default_on
        C1         | 2024-04-30
        C2         | 2024-05-10
    """
    spec(defaults(invoices=invoices, payments=payments), expected)
