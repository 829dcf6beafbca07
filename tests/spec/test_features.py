"""What the features mean, as small ledgers anyone can check by hand."""

from __future__ import annotations

from datetime import date
from math import isnan

from obligor.data.asof import known_on
from obligor.features.build import build_features
from tests.ascii import ledger


def features(as_of: str, customer: str = "ANNA", **tables: str) -> dict[str, float]:
    frame = build_features(known_on(ledger(**tables), date.fromisoformat(as_of)))
    return {str(name): float(value) for name, value in frame.loc[customer].items()}


ITEMS = """
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


def test_days_beyond_terms_are_weighted_by_amount_and_early_counts_as_0() -> None:
    found = features("2024-05-15", invoices=ITEMS, payments=PAYMENTS)
    assert found["dbt_days_mean_365d"] == (400 * 10 + 600 * 30 + 500 * 0) / 1500
    assert found["dbt_days_max_365d"] == 30
    assert found["share_late_365d"] == 1000 / 1500


def test_a_window_is_open_at_its_start_and_closed_at_its_end() -> None:
    found = features("2024-03-30", invoices=ITEMS, payments=PAYMENTS)
    assert found["invoice_count_30d"] == 1  # A2 is 29 days old
    assert (
        features("2024-03-31", invoices=ITEMS, payments=PAYMENTS)["invoice_count_30d"]
        == 0
    )  # 30 days old
    assert (
        features("2024-03-01", invoices=ITEMS, payments=PAYMENTS)["invoice_count_30d"]
        == 1
    )  # today counts


def test_an_item_is_past_due_from_the_day_after_its_due_date() -> None:
    assert features("2024-05-31", invoices=ITEMS, payments=PAYMENTS)["dpd_days"] == 0
    found = features("2024-06-01", invoices=ITEMS, payments=PAYMENTS)
    assert (
        found["dpd_days"],
        found["overdue_amount"],
        found["overdue_1_30_amount"],
    ) == (1, 300, 300)
    assert (
        features("2024-09-15", invoices=ITEMS, payments=PAYMENTS)[
            "overdue_over_90_amount"
        ]
        == 300
    )


def test_a_payment_learnt_later_does_not_exist_yet() -> None:
    late = "invoice_id | paid_on | amount | known_on\n A1 | 2024-02-10 | 1000.00 | 2024-04-01"
    assert features("2024-03-15", invoices=ITEMS, payments=late)["open_amount"] == 1500
    assert features("2024-04-01", invoices=ITEMS, payments=late)["open_amount"] == 500


def test_a_credit_note_closes_an_item_but_is_no_payment() -> None:
    notes = (
        "invoice_id | paid_on | amount | kind\n A1 | 2024-02-10 | 1000.00 | credit_note"
    )
    found = features("2024-02-20", invoices=ITEMS, payments=notes)
    assert (
        found["open_amount"],
        found["paid_amount_365d"],
        found["credit_note_share_365d"],
    ) == (0, 0, 1)
    assert isnan(found["dbt_days_mean_365d"])


def test_a_promise_is_broken_when_less_came_in_time() -> None:
    promises = """
        invoice_id | promised_on | pay_by     | amount
        A1         | 2024-02-05  | 2024-02-15 | 1000.00
        A2         | 2024-03-20  | 2024-03-31 |  500.00
    """
    on = {"invoices": ITEMS, "payments": PAYMENTS, "promises": promises}
    assert (
        features("2024-02-15", **on)["broken_promises_365d"] == 0
    )  # its day is not over
    assert features("2024-02-16", **on)["broken_promises_365d"] == 1  # 400 of 1000 came
    assert features("2024-05-01", **on)["broken_promises_365d"] == 1  # A2 was kept


def test_a_dispute_counts_while_it_is_open_and_its_end_is_learnt_later() -> None:
    disputes = "invoice_id | opened_on | resolved_on\n A3 | 2024-05-05 | 2024-05-20"
    on = {"invoices": ITEMS, "payments": PAYMENTS, "disputes": disputes}
    assert features("2024-05-19", **on)["disputed_share"] == 1
    assert features("2024-05-20", **on)["disputed_share"] == 0
    assert features("2024-05-20", **on)["disputes_365d"] == 1


def test_utilisation_takes_the_limit_known_on_the_day() -> None:
    limits = "customer_id | amount | currency | known_on\n ANNA | 1000 | EUR | 2024-01-01\n ANNA | 6000 | EUR | 2024-03-10"
    on = {"invoices": ITEMS, "payments": PAYMENTS, "limits": limits}
    assert features("2024-03-05", **on)["utilisation"] == 0.5
    assert features("2024-03-20", **on)["utilisation"] == 500 / 6000


def test_currencies_are_converted_at_the_last_rate_before_the_issue() -> None:
    invoices = """
        invoice_id | customer_id | issued_on  | due_on     | amount  | currency
        A1         | ANNA        | 2024-01-10 | 2024-02-10 | 1000.00 | USD
        A2         | ANNA        | 2024-01-10 | 2024-02-10 |    1000 | JPY
    """
    rates = """
        currency | rate_on    | rate
        USD      | 2024-01-01 | 0.90
        USD      | 2024-01-11 | 0.50
        JPY      | 2023-12-31 | 0.006
    """
    found = features("2024-01-20", invoices=invoices, fx_rates=rates)
    assert round(found["open_amount"], 9) == 906.0


def test_ratios_come_from_the_last_statement_known() -> None:
    statements = """
        customer_id|period_end|turnover|net_income|total_assets|equity|current_assets|current_liabilities|known_on
        ANNA       |2022-12-31|1000    |50        |800         |400   |300           |200                |2023-04-01
        ANNA       |2023-12-31|1000    |-10       |800         |200   |-             |200                |2024-04-01
    """
    on = {"invoices": ITEMS, "financials": statements}
    assert features("2024-03-31", **on)["equity_ratio"] == 0.5
    found = features("2024-04-01", **on)
    assert (found["equity_ratio"], found["net_margin"]) == (0.25, -0.01)
    assert isnan(found["current_ratio"])


def test_a_customer_without_items_has_counts_of_0_and_nothing_else() -> None:
    people = "customer_id | registered_on\n ANNA | 2023-01-01\n BORIS | 2024-01-01"
    found = features("2024-02-01", "BORIS", customers=people, invoices=ITEMS)
    assert (
        found["invoice_count_365d"],
        found["open_amount"],
        found["tenure_days"],
    ) == (0, 0, 31)
    assert isnan(found["days_since_first_invoice"])
    assert isnan(found["dbt_days_mean_365d"])
