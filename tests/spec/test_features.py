"""What the features mean.

Each feature has an entry in the catalogue with its definition; these ledgers are small
enough to check the definitions by hand. A window of n days is open at its start and
closed at its end: (as_of - n, as_of]. Unless an example says otherwise, the customer
ANNA has these invoices and payments. A dash is a feature without a value.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import numpy as np

from obligor.data.account_building import accounts_of, rates_of
from obligor.data.asof import known_account, known_on, known_rows
from obligor.data.bureau import reports_of
from obligor.features.build import account_features, build_features
from obligor.features.catalogue import NAMES
from obligor.features.kernel import MaterialAmount
from tests import ascii
from tests.ascii import spec

INVOICES = """
    invoice_id | customer_id | issued_on  | due_on     | amount
    A1         | ANNA        | 2024-01-01 | 2024-01-31 | 1000.00
    A2         | ANNA        | 2024-03-01 | 2024-03-31 |  500.00
    A3         | ANNA        | 2024-05-01 | 2024-05-31 |  300.00
"""

PAYMENTS = """
    invoice_id | paid_on    | amount
    A1         | 2024-02-10 | 400.00
    A1         | 2024-03-01 | 600.00
    A2         | 2024-03-25 | 500.00
"""


def features(
    as_of: date,
    customer: str = "ANNA",
    material: MaterialAmount | None = None,
    unapplied: str = "oldest_first",
    **tables: str,
) -> dict[str, float]:
    """Return a customer's features, from the ledger and from its account alike."""
    whole = replace(ascii.ledger(**tables), unapplied_policy=unapplied)
    frame = build_features(known_on(whole, as_of), material)
    row = frame.loc[customer].to_numpy()
    accounts = {account.customer_id: account for account in accounts_of(whole)}
    stored = replace(accounts[customer], rates=rates_of(whole))
    account = known_account(stored, as_of)
    reports = known_rows(reports_of(whole).get(customer, ()), as_of)
    own_row = account_features([account], material, [reports])[0]
    np.testing.assert_array_equal(own_row, row)
    return dict(zip(NAMES, row.tolist(), strict=True))


def test_days_beyond_terms_are_weighted_by_amount() -> None:
    """Each payment counts with its amount; an early one is 0 days beyond terms.

    Of 1,500.00 paid, 400.00 came 10 days late, 600.00 came 30 days late, and 500.00
    came early.
    """
    expected = """
        as_of      | dbt_days_mean_365d | dbt_days_max_365d | share_late_365d
        2024-05-15 | 22000/1500         | 30                | 1000/1500
    """

    def answer(as_of: date) -> dict[str, float]:
        return features(as_of, invoices=INVOICES, payments=PAYMENTS)

    spec(answer, expected)


def test_a_window_is_open_at_its_start_and_closed_at_its_end() -> None:
    """A2 of March 1 counts in a window of 30 days from that day on, for 30 days."""
    expected = """
        as_of      | invoice_count_30d
        2024-02-29 | 0
        2024-03-01 | 1
        2024-03-30 | 1
        2024-03-31 | 0
    """

    def answer(as_of: date) -> dict[str, float]:
        return features(as_of, invoices=INVOICES, payments=PAYMENTS)

    spec(answer, expected)


def test_an_item_is_past_due_from_the_day_after_its_due_date() -> None:
    """Days past due are those of the oldest open item; its age decides the bucket."""
    expected = """
        as_of      | dpd_days | overdue_amount | overdue_1_30_amount
        2024-05-31 |   0      |   0            |   0
        2024-06-01 |   1      | 300            | 300
        2024-06-30 |  30      | 300            | 300
        2024-07-01 |  31      | 300            |   0
    """
    expected_90_days_later = """
        as_of      | dpd_days | overdue_61_90_amount | overdue_over_90_amount
        2024-08-29 |  90      | 300                  |   0
        2024-08-30 |  91      |   0                  | 300
        2024-09-15 | 107      |   0                  | 300
    """

    def answer(as_of: date) -> dict[str, float]:
        return features(as_of, invoices=INVOICES, payments=PAYMENTS)

    spec(answer, expected)
    spec(answer, expected_90_days_later)


def test_days_past_due_are_those_of_a_material_amount() -> None:
    """A model has the amount and the share that its default was defined with.

    What is past due so long or longer must exceed both together. Without them, as in
    the first edition of the catalogue, the oldest item counts, however small it is.
    Here 5.00 of A1 are open since January, 60.00 of A2 since April, and 300.00 of A3.
    """
    payments = """
        invoice_id | paid_on    | amount
        A1         | 2024-01-31 | 995.00
        A2         | 2024-03-25 | 440.00
    """
    expected = """
        as_of      | amount | share | dpd_days
        2024-05-31 |  -     | -     | 121
        2024-05-31 |   0    | 0     | 121
        2024-05-31 |   4.99 | 0     | 121
        2024-05-31 |   5    | 0     |  61
        2024-05-31 |  64.99 | 0     |  61
        2024-05-31 |  65    | 0     |   0
        2024-06-30 | 100    | 0.01  |  30
        2024-06-30 |   4    | 0.01  | 151
        2024-06-30 |   4    | 0.02  |  91
    """

    def answer(
        as_of: date,
        amount: float | None,
        share: float | None,
    ) -> dict[str, float]:
        material = None
        if amount is not None and share is not None:
            material = MaterialAmount(amount, share)
        return features(as_of, material=material, invoices=INVOICES, payments=payments)

    spec(answer, expected)


def test_money_of_no_item_is_a_feature_and_counts_against_the_oldest_items() -> None:
    """If it stays as it was allocated, 300.00 of ANNA's belong to no item.

    They cover all that is past due by June 1, though A3 itself is open.
    """
    payments = """
        payment_id | invoice_id | customer_id | paid_on    | amount
        P1         | A1         | -           | 2024-01-31 | 1000.00
        P2         | A2         | -           | 2024-03-25 |  500.00
        P3         | -          | ANNA        | 2024-05-20 |  300.00
    """
    expected = """
        unapplied    | as_of      | unapplied_amount | open_amount | dpd_days
        as_allocated | 2024-05-19 |   0              | 300         | 0
        as_allocated | 2024-06-01 | 300              | 300         | 0
        oldest_first | 2024-06-01 |   0              |   0         | 0
    """

    def answer(unapplied: str, as_of: date) -> dict[str, float]:
        return features(
            as_of,
            material=MaterialAmount(0.0, 0.0),
            unapplied=unapplied,
            invoices=INVOICES,
            payments=payments,
        )

    spec(answer, expected)


def test_payments_that_came_back_are_counted_from_the_day_they_did() -> None:
    """Returned payments count once, also if they were of several invoices.

    P2 paid A2 and A3 and came back for both in June. P4 is a refund, which the house
    paid out: it is no returned payment. The share is of all payments of a year: what
    came back over these and what stands.
    """
    payments = """
        payment_id | invoice_id | paid_on    | amount  | kind     | known_on
        P1         | A1         | 2024-01-31 | 1000.00 | payment  | 2024-01-31
        P2         | A2         | 2024-05-25 |  500.00 | payment  | 2024-05-25
        P2         | A3         | 2024-05-25 |  300.00 | payment  | 2024-05-25
        P3         | A2         | 2024-06-03 |  500.00 | returned | 2024-06-05
        P3         | A3         | 2024-06-03 |  300.00 | returned | 2024-06-05
        P4         | A1         | 2024-06-10 |   10.00 | refund   | 2024-06-10
    """
    expected = """
        as_of      | returned_payments_90d | returned_payment_share_365d
        2024-06-04 | 0                     | 0
        2024-06-05 | 1                     | 1/2
        2024-08-31 | 1                     | 1/2
        2024-09-01 | 0                     | 1/2
    """

    def answer(as_of: date) -> dict[str, float]:
        return features(as_of, invoices=INVOICES, payments=payments)

    spec(answer, expected)


def test_bureau_scores_are_shares_of_their_scales() -> None:
    """Each source has its last score; the features are the lowest and their mean.

    AGENCY scores from 0 to 100, BUREAU from 600 (worst) to 100.
    """
    bureau = """
        customer_id | source | as_of      | known_on   | score | scale
        ANNA        | AGENCY | 2024-02-01 | 2024-02-05 |  90   | 0-100
        ANNA        | AGENCY | 2024-05-01 | 2024-05-05 |  40   | 0-100
        ANNA        | BUREAU | 2024-03-01 | 2024-03-01 | 200   | 600-100
    """
    expected = """
        as_of      | bureau_score | bureau_score_mean
        2024-02-04 | -            | -
        2024-02-05 | 0.9          | 0.9
        2024-03-01 | 0.8          | 0.85
        2024-05-04 | 0.8          | 0.85
        2024-05-05 | 0.4          | 0.6
    """

    def answer(as_of: date) -> dict[str, float]:
        return features(as_of, invoices=INVOICES, bureau=bureau)

    spec(answer, expected)


def test_a_payment_booked_later_is_missing_until_then() -> None:
    """Money that came in February and was booked in April was open in March."""
    payments = """
        invoice_id | paid_on    | amount  | known_on
        A1         | 2024-02-10 | 1000.00 | 2024-04-01
    """
    expected = """
        as_of      | open_amount
        2024-03-15 | 1500
        2024-04-01 |  500
    """

    def answer(as_of: date) -> dict[str, float]:
        return features(as_of, invoices=INVOICES, payments=payments)

    spec(answer, expected)


def test_a_credit_note_closes_an_item_and_is_not_a_payment() -> None:
    """It lowers the balance, but is neither cash received nor late."""
    payments = """
        invoice_id | paid_on    | amount  | kind
        A1         | 2024-02-10 | 1000.00 | credit_note
    """
    expected = """
        as_of      | open_amount | paid_amount_365d | credit_note_share_365d
        2024-02-20 | 0           | 0                | 1
    """
    expected_lateness = """
        as_of      | dbt_days_mean_365d | share_late_365d
        2024-02-20 | -                  | -
    """

    def answer(as_of: date) -> dict[str, float]:
        return features(as_of, invoices=INVOICES, payments=payments)

    spec(answer, expected)
    spec(answer, expected_lateness)


def test_a_promise_is_broken_if_less_was_paid_in_time() -> None:
    """On February 15 the promise for A1 can still be kept; 400.00 of 1,000.00 came.

    The promise for A2 was kept.
    """
    promises = """
        invoice_id | promised_on | pay_by     | amount
        A1         | 2024-02-05  | 2024-02-15 | 1000.00
        A2         | 2024-03-20  | 2024-03-31 |  500.00
    """
    expected = """
        as_of      | broken_promises_365d
        2024-02-15 | 0
        2024-02-16 | 1
        2024-05-01 | 1
    """

    def answer(as_of: date) -> dict[str, float]:
        tables = {"payments": PAYMENTS, "promises": promises}
        return features(as_of, invoices=INVOICES, **tables)

    spec(answer, expected)


def test_what_is_paid_counts_once_for_the_promises_of_an_item() -> None:
    """A plan of three instalments: 300.00 keep the first, and nothing keeps the others.

    The 300.00 that come on 5 July are for the instalment of June, which is broken.
    """
    invoices = """
        invoice_id | customer_id | issued_on  | due_on     | amount
        A1         | ANNA        | 2024-04-01 | 2024-05-01 | 900.00
    """
    payments = """
        invoice_id | paid_on    | amount
        A1         | 2024-05-30 | 300.00
        A1         | 2024-07-05 | 300.00
    """
    promises = """
        invoice_id | promised_on | pay_by     | amount
        A1         | 2024-05-06  | 2024-06-30 | 300.00
        A1         | 2024-05-06  | 2024-05-31 | 300.00
        A1         | 2024-05-06  | 2024-07-31 | 300.00
    """
    expected = """
        as_of      | broken_promises_365d
        2024-06-30 | 0
        2024-07-01 | 1
        2024-07-31 | 1
        2024-08-01 | 2
    """

    def answer(as_of: date) -> dict[str, float]:
        tables = {"payments": payments, "promises": promises}
        return features(as_of, invoices=invoices, **tables)

    spec(answer, expected)


def test_a_dispute_counts_while_it_is_open() -> None:
    """The disputed share falls on the day of the resolution; the count stays."""
    disputes = """
        invoice_id | opened_on  | resolved_on
        A3         | 2024-05-05 | 2024-05-20
    """
    expected = """
        as_of      | disputed_share | disputes_365d
        2024-05-04 | 0              | 0
        2024-05-05 | 1              | 1
        2024-05-19 | 1              | 1
        2024-05-20 | 0              | 1
    """

    def answer(as_of: date) -> dict[str, float]:
        tables = {"payments": PAYMENTS, "disputes": disputes}
        return features(as_of, invoices=INVOICES, **tables)

    spec(answer, expected)


def test_a_dispute_of_a_part_counts_with_its_amount() -> None:
    """First 100.00 of 300.00 are disputed, then 20.00 more for some days.

    No more than is open counts: 60.00 are left to pay at the end."""
    disputes = """
        invoice_id | opened_on  | resolved_on | amount
        A3         | 2024-05-05 | -           | 100.00
        A3         | 2024-05-06 | 2024-05-20  |  20.00
    """
    payments = """
        invoice_id | paid_on    | amount
        A1         | 2024-02-10 | 1000.00
        A2         | 2024-03-25 |  500.00
        A3         | 2024-05-25 |  240.00
    """
    expected = """
        as_of      | disputed_share | disputes_365d
        2024-05-05 | 100/300        | 1
        2024-05-06 | 120/300        | 2
        2024-05-20 | 100/300        | 2
        2024-05-25 | 1              | 2
    """

    def answer(as_of: date) -> dict[str, float]:
        tables = {"payments": payments, "disputes": disputes}
        return features(as_of, invoices=INVOICES, **tables)

    spec(answer, expected)


def test_a_write_off_is_a_loss_of_what_was_open() -> None:
    """It closes the item; the loss is at most the balance that was left."""
    payments = """
        invoice_id | paid_on    | amount
        A1         | 2024-02-10 | 400.00
    """
    write_offs = """
        invoice_id | written_off_on | amount
        A1         | 2024-04-30     | 1000.00
    """
    expected = """
        as_of      | open_amount | written_off_amount_365d
        2024-04-29 | 1100        |   0
        2024-04-30 |  500        | 600
    """

    def answer(as_of: date) -> dict[str, float]:
        tables = {"payments": payments, "write_offs": write_offs}
        return features(as_of, invoices=INVOICES, **tables)

    spec(answer, expected)


def test_utilisation_uses_the_limit_known_on_the_day() -> None:
    """It is the open balance over the last limit known; without one it has no value."""
    limits = """
        customer_id | amount | currency | known_on
        ANNA        | 1000   | EUR      | 2024-01-15
        ANNA        | 6000   | EUR      | 2024-03-10
    """
    expected = """
        as_of      | open_amount | utilisation
        2024-01-14 | 1000        | -
        2024-03-05 |  500        | 500/1000
        2024-03-20 |  500        | 500/6000
    """

    def answer(as_of: date) -> dict[str, float]:
        tables = {"payments": PAYMENTS, "limits": limits}
        return features(as_of, invoices=INVOICES, **tables)

    spec(answer, expected)


def test_open_items_are_at_the_closing_rate_and_sales_at_the_rate_of_their_day() -> (
    None
):
    """Of 1,000.00 USD and 1,000 JPY, 400.00 USD are paid on the day the rate falls.

    Invoiced are 906.00 EUR and paid 360.00 EUR, at the rates of 10 January; the
    600.00 USD that are open are worth 540.00, then 300.00 EUR. A rate that becomes
    known later, and the rate of a later day, are not used.
    """
    invoices = """
        invoice_id | customer_id | issued_on  | due_on     | amount  | currency
        A1         | ANNA        | 2024-01-10 | 2024-02-10 | 1000.00 | USD
        A2         | ANNA        | 2024-01-10 | 2024-02-10 |    1000 | JPY
    """
    payments = """
        invoice_id | paid_on    | amount
        A1         | 2024-01-20 | 400.00
    """
    fx_rates = """
        currency | rate_on    | rate  | known_on
        USD      | 2024-01-01 | 0.90  | 2024-01-01
        USD      | 2024-01-20 | 0.50  | 2024-01-21
        USD      | 2024-01-30 | 0.10  | 2024-01-25
        JPY      | 2023-12-31 | 0.006 | 2023-12-31
    """
    expected = """
        as_of      | open_amount | invoiced_amount_30d | paid_amount_30d
        2024-01-19 | 906         | 906                 |   0
        2024-01-20 | 546         | 906                 | 360
        2024-01-21 | 306         | 906                 | 360
        2024-01-29 | 306         | 906                 | 360
        2024-01-30 |  66         | 906                 | 360
    """

    def answer(as_of: date) -> dict[str, float]:
        tables = {"payments": payments, "fx_rates": fx_rates}
        return features(as_of, invoices=invoices, **tables)

    spec(answer, expected)


def test_ratios_come_from_the_last_statement_known() -> None:
    """An older statement is not used once a newer one is known."""
    financials = """
        period_end | turnover | net_income | total_assets | equity | known_on
        2022-12-31 | 1000     |  50        | 800          | 400    | 2023-04-01
        2023-12-31 | 1000     | -10        | 800          | 200    | 2024-04-01
    """
    expected = """
        as_of      | equity_ratio | net_margin | current_ratio
        2024-03-31 | 0.5          |  0.05      | -
        2024-04-01 | 0.25         | -0.01      | -
    """

    def answer(as_of: date) -> dict[str, float]:
        return features(as_of, invoices=INVOICES, financials=financials)

    spec(answer, expected)


def test_a_current_ratio_needs_both_of_its_figures() -> None:
    """The statement of 2023 lacks a figure; that of 2022 does not stand in for it."""
    financials = """
        period_end | current_assets | current_liabilities | known_on
        2022-12-31 | 300            | 200                 | 2023-04-01
        2023-12-31 | -              | 200                 | 2024-04-01
    """
    expected = """
        as_of      | current_ratio
        2024-03-31 | 300/200
        2024-04-01 | -
    """

    def answer(as_of: date) -> dict[str, float]:
        return features(as_of, invoices=INVOICES, financials=financials)

    spec(answer, expected)


def test_a_customer_without_invoices_has_counts_of_0_and_no_habits() -> None:
    """What cannot be known of BORIS has no value; counts and sums are 0."""
    customers = """
        customer_id | registered_on
        ANNA        | 2023-01-01
        BORIS       | 2024-01-01
    """
    expected = """
        as_of      | invoice_count_365d | open_amount | tenure_days
        2024-02-01 | 0                  | 0           | 31
    """
    expected_habits = """
        as_of      | days_since_first_invoice | dbt_days_mean_365d
        2024-02-01 | -                        | -
    """

    def answer(as_of: date) -> dict[str, float]:
        return features(as_of, "BORIS", customers=customers, invoices=INVOICES)

    spec(answer, expected)
    spec(answer, expected_habits)
