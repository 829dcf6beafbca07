"""What was known on a date.

Every decision, feature and training row is made from the rows that were known at the
end of its as-of date. A row is known on a date if its ``known_on`` is that date or
earlier; without such a column it is known from the day of the event. Nothing in a
ledger is overwritten: a correction is another row, known later. The examples ask what
was known of the customer ANNA. Each answer is checked twice, for the tables of the
whole ledger and for the account of one customer, as an online decision reads it. Unless
an example says otherwise, ANNA has these invoices.
"""

from __future__ import annotations

from datetime import date

import numpy as np
import pandas as pd
import pytest

from obligor.data.account import Account
from obligor.data.asof import known_account, known_on
from obligor.data.rates import rates_on
from obligor.errors import AsOfError
from obligor.features.build import account_features
from obligor.features.catalogue import NAMES
from tests import ascii
from tests.ascii import spec

INVOICES = """
    invoice_id | customer_id | issued_on  | due_on     | amount
    A1         | ANNA        | 2024-01-01 | 2024-01-31 | 1000.00
    A2         | ANNA        | 2024-03-01 | 2024-03-31 |  500.00
"""


def known_table(table: str, as_of: date, **tables: str) -> pd.DataFrame:
    """Return what was known of a table, and check the account's gate against it."""
    tables.setdefault("invoices", INVOICES)
    whole = ascii.ledger(**tables)
    known_ledger = known_on(whole, as_of).ledger
    from_known_rows = ascii.account(known_ledger, "ANNA")
    gated = known_account(ascii.account(whole, "ANNA"), as_of).account
    assert_equal_tables(gated, from_known_rows)
    return known_ledger[table]


def assert_equal_tables(account: Account, other: Account) -> None:
    """Assert that two accounts hold the same rows."""
    assert list(account.invoice_ids) == list(other.invoice_ids)
    for name in ("registered", "items", "events", "limits", "statements"):
        columns = getattr(account, name)
        np.testing.assert_array_equal(columns, getattr(other, name), err_msg=name)
    for currency, rates in other.rates.items():
        np.testing.assert_array_equal(account.rates[currency], rates)


def feature(name: str, as_of: date, **tables: str) -> float:
    """Return a feature of the account as it was known."""
    tables.setdefault("invoices", INVOICES)
    account = ascii.account(ascii.ledger(**tables), "ANNA")
    row = account_features([known_account(account, as_of)])[0]
    return float(row[NAMES.index(name)])


def test_an_invoice_is_known_from_the_day_it_was_issued() -> None:
    """A table without ``known_on`` is known from the day of the event itself."""
    invoices = """
        invoice_id | customer_id | issued_on  | due_on     | amount
        A1         | ANNA        | 2024-01-01 | 2024-01-31 | 1000.00
        A2         | ANNA        | 2024-03-01 | 2024-03-31 |  500.00
    """
    expected = """
        as_of      | invoices
        2024-02-29 | A1
        2024-03-01 | A1, A2
    """

    def answer(as_of: date) -> list[str]:
        rows = known_table("invoices", as_of, invoices=invoices)
        return rows["invoice_id"].tolist()

    spec(answer, expected)


def test_a_question_about_a_day_before_the_first_invoice_is_refused() -> None:
    """There is nothing to decide from before the first invoice was known."""
    as_of = date(2023, 12, 31)
    message = "no invoice was known on 2023-12-31; expected a day from 2024-01-01 on"
    with pytest.raises(AsOfError, match=message):
        known_on(ascii.ledger(invoices=INVOICES), as_of)
    account = ascii.account(ascii.ledger(invoices=INVOICES), "ANNA")
    with pytest.raises(AsOfError, match=message):
        known_account(account, as_of)


def test_a_payment_is_known_from_the_day_it_was_booked() -> None:
    """What counts is the day the payment was booked, not the day the money came."""
    payments = """
        payment_id | invoice_id | paid_on    | amount | known_on
        P1         | A1         | 2024-02-10 | 400.00 | 2024-02-10
        P2         | A1         | 2024-02-28 | 600.00 | 2024-03-04
    """
    expected = """
        as_of      | payments
        2024-02-09 | -
        2024-02-10 | P1
        2024-03-03 | P1
        2024-03-04 | P1, P2
    """

    def answer(as_of: date) -> list[str]:
        rows = known_table("payments", as_of, payments=payments)
        return rows["payment_id"].tolist()

    spec(answer, expected)


def test_a_credit_note_is_known_like_a_payment() -> None:
    """A credit note lowers the open amount from the day it became known."""
    payments = """
        payment_id | invoice_id | paid_on    | amount | kind        | known_on
        N1         | A1         | 2024-02-10 | 250.00 | credit_note | 2024-02-20
    """
    expected = """
        as_of      | payments | open_amount
        2024-02-19 | -        | 1000
        2024-02-20 | N1       | 750
    """

    def answer(as_of: date) -> dict[str, object]:
        rows = known_table("payments", as_of, payments=payments)
        open_amount = feature("open_amount", as_of, payments=payments)
        return {"payments": rows["payment_id"].tolist(), "open_amount": open_amount}

    spec(answer, expected)


def test_a_write_off_is_known_from_the_day_it_was_booked() -> None:
    """Until the write-off was booked, the invoice was open and overdue."""
    write_offs = """
        invoice_id | written_off_on | amount  | known_on
        A1         | 2024-05-31     | 1000.00 | 2024-06-15
    """
    expected = """
        as_of      | written_off | overdue_amount
        2024-06-14 | -           | 1500
        2024-06-15 | A1          |  500
    """

    def answer(as_of: date) -> dict[str, object]:
        rows = known_table("write_offs", as_of, write_offs=write_offs)
        overdue = feature("overdue_amount", as_of, write_offs=write_offs)
        return {"written_off": rows["invoice_id"].tolist(), "overdue_amount": overdue}

    spec(answer, expected)


def test_the_resolution_of_a_dispute_is_learnt_later() -> None:
    """The dispute is known from its first day; its end only from the last day on."""
    disputes = """
        invoice_id | opened_on  | resolved_on
        A1         | 2024-01-20 | 2024-02-20
    """
    expected = """
        as_of      | disputed | resolved_on
        2024-01-19 | -        | -
        2024-01-20 | A1       | -
        2024-02-19 | A1       | -
        2024-02-20 | A1       | 2024-02-20
    """

    def answer(as_of: date) -> dict[str, object]:
        rows = known_table("disputes", as_of, disputes=disputes)
        resolved_on = rows["resolved_on"].tolist()
        return {
            "disputed": rows["invoice_id"].tolist(),
            "resolved_on": ascii.plain(resolved_on[0]) if resolved_on else None,
        }

    spec(answer, expected)


def test_a_promise_is_known_from_the_day_it_was_made() -> None:
    """Its last day lies in the future then, and is known all the same."""
    promises = """
        invoice_id | promised_on | pay_by     | amount
        A1         | 2024-02-05  | 2024-02-25 | 1000.00
    """
    expected = """
        as_of      | promised | pay_by
        2024-02-04 | -        | -
        2024-02-05 | A1       | 2024-02-25
    """

    def answer(as_of: date) -> dict[str, object]:
        rows = known_table("promises", as_of, promises=promises)
        pay_by = rows["pay_by"].tolist()
        return {
            "promised": rows["invoice_id"].tolist(),
            "pay_by": ascii.plain(pay_by[0]) if pay_by else None,
        }

    spec(answer, expected)


def test_events_of_an_unknown_invoice_are_unknown() -> None:
    """A prepayment booked before its invoice is known together with the invoice."""
    payments = """
        payment_id | invoice_id | paid_on    | amount
        P1         | A1         | 2024-02-10 | 400.00
        P2         | A2         | 2024-02-15 | 500.00
    """
    expected = """
        as_of      | payments
        2024-02-29 | P1
        2024-03-01 | P1, P2
    """

    def answer(as_of: date) -> list[str]:
        rows = known_table("payments", as_of, payments=payments)
        return rows["payment_id"].tolist()

    spec(answer, expected)


def test_limits_are_a_history() -> None:
    """The limit on a date is the last one known by then."""
    limits = """
        customer_id | amount | currency | known_on
        ANNA        |   2000 | EUR      | 2024-01-01
        ANNA        |   5000 | EUR      | 2024-02-15
    """
    expected = """
        as_of      | limits | utilisation
        2024-02-14 | 2000   | 1000/2000
        2024-02-15 | 5000   | 1000/5000
    """

    def answer(as_of: date) -> dict[str, object]:
        rows = known_table("limits", as_of, limits=limits)
        utilisation = feature("utilisation", as_of, limits=limits)
        return {"limits": rows["amount"].iloc[-1], "utilisation": utilisation}

    spec(answer, expected)


def test_a_statement_is_known_from_its_publication() -> None:
    """The statement of a year that has ended is not known until it is published."""
    financials = """
        customer_id | period_end | total_assets | equity | known_on
        ANNA        | 2022-12-31 | 800          | 400    | 2023-04-01
        ANNA        | 2023-12-31 | 800          | 200    | 2024-04-15
    """
    expected = """
        as_of      | last_period | equity_ratio
        2024-04-14 | 2022-12-31  | 400/800
        2024-04-15 | 2023-12-31  | 200/800
    """

    def answer(as_of: date) -> dict[str, object]:
        rows = known_table("financials", as_of, financials=financials)
        return {
            "last_period": rows["period_end"].iloc[-1],
            "equity_ratio": feature("equity_ratio", as_of, financials=financials),
        }

    spec(answer, expected)


def test_a_corrected_statement_changes_nothing_before_the_correction() -> None:
    """A correction is a second row of the same period, known later.

    A decision of May that is replayed in July uses the figures of May.
    """
    financials = """
        customer_id | period_end | total_assets | equity | known_on
        ANNA        | 2023-12-31 | 800          | 400    | 2024-04-15
        ANNA        | 2023-12-31 | 800          | 100    | 2024-06-30
    """
    expected = """
        as_of      | rows | equity_ratio
        2024-05-31 | 1    | 400/800
        2024-06-29 | 1    | 400/800
        2024-06-30 | 2    | 100/800
    """

    def answer(as_of: date) -> dict[str, object]:
        rows = known_table("financials", as_of, financials=financials)
        equity_ratio = feature("equity_ratio", as_of, financials=financials)
        return {"rows": len(rows), "equity_ratio": equity_ratio}

    spec(answer, expected)


def test_rows_that_arrive_later_change_no_earlier_answer() -> None:
    """A payment booked in March does not change an answer of February.

    The open amount of each day is asked before and after the row arrived.
    """
    payments = """
        payment_id | invoice_id | paid_on    | amount | known_on
        P1         | A1         | 2024-02-10 | 400.00 | 2024-02-10
    """
    payments_in_march = """
        payment_id | invoice_id | paid_on    | amount | known_on
        P1         | A1         | 2024-02-10 | 400.00 | 2024-02-10
        P2         | A1         | 2024-01-25 | 600.00 | 2024-03-15
    """
    expected = """
        as_of      | before | after
        2024-02-15 |  600   |  600
        2024-03-14 | 1100   | 1100
        2024-03-15 | 1100   |  500
    """

    def answer(as_of: date) -> dict[str, object]:
        return {
            "before": feature("open_amount", as_of, payments=payments),
            "after": feature("open_amount", as_of, payments=payments_in_march),
        }

    spec(answer, expected)


def test_exchange_rates_have_a_day_they_became_known() -> None:
    """A rate published late is not used for what was decided before."""
    fx_rates = """
        currency | rate_on    | rate | known_on
        USD      | 2024-01-01 | 0.90 | 2024-01-01
        USD      | 2024-02-01 | 0.80 | 2024-02-05
    """
    expected = """
        as_of      | rate_of_today
        2024-02-04 | 0.90
        2024-02-05 | 0.80
    """

    def answer(as_of: date) -> float:
        rows = known_table("fx_rates", as_of, fx_rates=fx_rates)
        whole = ascii.ledger(invoices=INVOICES, fx_rates=fx_rates)
        account = known_account(ascii.account(whole, "ANNA"), as_of).account
        today = np.array([(as_of - date(1970, 1, 1)).days])
        rate = float(rates_on(account, "USD", today)[0])
        assert rate == rows["rate"].iloc[-1]
        return rate

    spec(answer, expected)
