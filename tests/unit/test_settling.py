"""What undone payments, money without an item and changed days leave open."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import numpy as np
import pytest

from obligor.data.account import Account
from obligor.data.account_building import accounts_of, rates_of
from obligor.data.asof import KnownAccount, known_account, known_on
from obligor.data.checks import check_ledger
from obligor.data.ledger import Ledger
from obligor.data.open_items import open_balances
from obligor.data.settling import unapplied
from obligor.errors import AsOfError
from obligor.features.build import account_features, build_features
from tests.ascii import ledger

DAY = date(2024, 12, 31)
ONE_INVOICE = """
invoice_id | customer_id | issued_on  | due_on     | amount
A1         | ANNA        | 2024-10-01 | 2024-11-05 | 15000
"""
TWO_INVOICES = """
invoice_id | customer_id | issued_on  | due_on     | amount
A1         | ANNA        | 2024-10-01 | 2024-11-05 | 5000
A2         | ANNA        | 2024-10-02 | 2024-12-01 | 4000
"""


def only_account(whole: Ledger) -> Account:
    (account,) = accounts_of(whole)
    return account


def known(whole: Ledger, day: date = DAY) -> KnownAccount:
    return known_account(only_account(whole), day)


def balances(whole: Ledger, day: date = DAY) -> dict[str, float]:
    """Return what is open of each item, by both gates."""
    account = known(whole, day).account
    by_account = dict(
        zip(account.invoice_ids, (open_balances(account) / 100).tolist(), strict=True)
    )
    frames = known_on(whole, day)
    features = build_features(frames).iloc[0]
    assert features["open_amount"] == pytest.approx(sum(by_account.values()))
    assert account_features([known(whole, day)])[0] == pytest.approx(
        features.to_numpy(), nan_ok=True
    )
    money = unapplied(account).sum() / 100
    assert frames.money["amount"].sum() == pytest.approx(money)
    return by_account


def test_a_returned_payment_leaves_the_invoice_open() -> None:
    whole = ledger(
        invoices=ONE_INVOICE,
        payments="""
            payment_id | invoice_id | paid_on    | amount
            P1         | A1         | 2024-11-05 | 15000
            P2         | A1         | 2024-11-12 | -15000
        """,
    )
    assert balances(whole) == {"A1": 15000}
    assert balances(whole, date(2024, 11, 11)) == {"A1": 0}
    assert build_features(known_on(whole, DAY)).iloc[0]["dpd_days"] == 56


@pytest.mark.parametrize("kind", ["returned", "refund"])
def test_a_return_finds_its_payment_by_its_id(kind: str) -> None:
    whole = ledger(
        invoices=TWO_INVOICES,
        payments=f"""
            payment_id | invoice_id | paid_on    | amount | kind     | reverses
            P1         | A1         | 2024-11-05 | 5000   | payment  | -
            P2         | A2         | 2024-11-06 | 4000   | payment  | -
            P3         | -          | 2024-11-12 | 5000   | {kind}   | P1
        """,
    )
    assert balances(whole) == {"A1": 5000, "A2": 0}


def test_money_without_an_item_pays_the_oldest() -> None:
    whole = ledger(
        invoices=TWO_INVOICES,
        payments="""
            payment_id | invoice_id | customer_id | paid_on    | amount
            P1         | -          | ANNA        | 2024-11-10 | 6000
        """,
    )
    assert balances(whole) == {"A1": 0, "A2": 3000}


def test_money_stays_as_allocated_if_the_ledger_says_so() -> None:
    whole = ledger(
        invoices=TWO_INVOICES,
        payments="""
            payment_id | invoice_id | customer_id | paid_on    | amount
            P1         | -          | ANNA        | 2024-11-10 | 6000
        """,
        allocations="""
            payment_id | invoice_id | allocated_on | amount
            P1         | A2         | 2024-11-20   | 4000
        """,
    )
    as_allocated = Ledger(whole.tables, "EUR", unapplied_policy="as_allocated")
    assert balances(as_allocated) == {"A1": 5000, "A2": 0}
    assert unapplied(known(as_allocated).account).tolist() == [200000]
    assert balances(as_allocated, date(2024, 11, 19)) == {"A1": 5000, "A2": 4000}
    assert balances(whole) == {"A1": 3000, "A2": 0}


def test_an_overpayment_pays_the_next_item() -> None:
    whole = ledger(
        invoices=TWO_INVOICES,
        payments="""
            payment_id | invoice_id | paid_on    | amount
            P1         | A1         | 2024-11-05 | 9500
        """,
    )
    assert balances(whole) == {"A1": 0, "A2": 0}
    assert unapplied(known(whole).account).tolist() == [50000]


def test_a_credit_memo_is_money_of_the_customer() -> None:
    whole = ledger(
        invoices="""
            invoice_id | customer_id | issued_on  | due_on     | amount
            D1         | ANNA        | 2024-10-01 | 2024-11-05 | 8000
            D2         | ANNA        | 2024-11-01 | 2024-11-01 | -8000
        """,
    )
    assert balances(whole) == {"D1": 0}


def test_a_cancelled_invoice_leaves_its_payment_to_the_customer() -> None:
    whole = ledger(
        invoices=TWO_INVOICES,
        payments="""
            payment_id | invoice_id | paid_on    | amount
            P1         | A1         | 2024-11-05 | 5000
        """,
        cancellations="""
            invoice_id | cancelled_on
            A1         | 2024-11-20
        """,
    )
    assert balances(whole, date(2024, 11, 19)) == {"A1": 0, "A2": 4000}
    assert balances(whole) == {"A2": 0}


def test_an_extended_due_date_holds_from_the_day_it_was_agreed() -> None:
    whole = ledger(
        invoices=ONE_INVOICE,
        extensions="""
            invoice_id | extended_on | due_on
            A1         | 2024-11-20  | 2024-12-24
        """,
    )
    before = build_features(known_on(whole, date(2024, 11, 19))).iloc[0]
    after = build_features(known_on(whole, DAY)).iloc[0]
    assert before["dpd_days"] == 14
    assert after["dpd_days"] == 7


def test_a_return_without_anything_to_undo_makes_the_customer_unknown() -> None:
    whole = ledger(
        invoices=ONE_INVOICE,
        payments="""
            payment_id | invoice_id | customer_id | paid_on    | amount
            P1         | -          | ANNA        | 2024-11-05 | -100
        """,
    )
    assert known(whole).account.is_incomplete
    assert balances(whole) == {"A1": 15000}


def test_a_payment_in_another_currency_counts_at_the_rate_of_its_day() -> None:
    whole = ledger(
        invoices="""
            invoice_id | customer_id | issued_on  | due_on     | amount | currency
            U1         | USCO        | 2024-10-01 | 2024-10-31 | 10000  | USD
        """,
        payments="""
            payment_id | invoice_id | paid_on    | amount | currency
            P1         | U1         | 2024-10-31 | 9000   | EUR
        """,
        fx_rates="""
            currency | rate_on    | rate
            USD      | 2024-10-01 | 0.90
        """,
    )
    account = known_account(only_account(whole), DAY).account
    assert open_balances(account).tolist() == [0]


def test_a_payment_of_a_document_pays_its_oldest_item() -> None:
    whole = ledger(
        invoices="""
            invoice_id | document_id | customer_id | issued_on  | due_on     | amount
            R1/1       | R1          | ANNA        | 2024-10-01 | 2024-11-01 | 100
            R1/2       | R1          | ANNA        | 2024-10-01 | 2024-12-01 | 100
            R1/3       | R1          | ANNA        | 2024-10-01 | 2025-01-01 | 100
            Q          | -           | ANNA        | 2024-09-01 | 2024-09-15 | 70
        """,
        payments="""
            payment_id | invoice_id | paid_on    | amount
            P1         | R1         | 2024-11-05 | 150
        """,
    )
    assert balances(whole) == {"Q": 70, "R1/1": 0, "R1/2": 50, "R1/3": 100}


def test_a_returned_payment_of_a_document_opens_its_items_again() -> None:
    whole = ledger(
        invoices="""
            invoice_id | document_id | customer_id | issued_on  | due_on     | amount
            R1/1       | R1          | ANNA        | 2024-10-01 | 2024-11-01 | 100
            R1/2       | R1          | ANNA        | 2024-10-01 | 2024-12-01 | 100
        """,
        payments="""
            payment_id | invoice_id | paid_on    | amount | kind
            P1         | R1         | 2024-11-05 | 200    | payment
            P2         | R1         | 2024-11-15 | 200    | returned
        """,
    )
    assert balances(whole) == {"R1/1": 100, "R1/2": 100}
    assert balances(whole, date(2024, 11, 14)) == {"R1/1": 0, "R1/2": 0}


def test_a_later_invoice_does_not_change_the_currency_of_earlier_money() -> None:
    """Money without a currency is in dollars, as the only invoice of its time."""
    whole = ledger(
        invoices="""
            invoice_id | customer_id | issued_on  | due_on     | amount | currency
            A1         | ANNA        | 2024-03-01 | 2024-04-01 | 500    | USD
            A2         | ANNA        | 2024-08-01 | 2024-09-01 | 100    | EUR
        """,
        payments="""
            payment_id | invoice_id | customer_id | paid_on    | amount
            P1         | -          | ANNA        | 2024-04-05 | 300
        """,
        fx_rates="""
            currency | rate_on    | rate
            USD      | 2024-01-01 | 0.5
        """,
    )
    rates = rates_of(whole)
    account = replace(only_account(whole), rates=rates)
    for day in (date(2024, 7, 31), date(2024, 8, 1)):
        gated = known_account(account, day).account
        assert open_balances(gated)[0] == 200_00
        known = known_on(whole, day)
        assert known.ledger["payments"]["amount"].tolist() == [300]
        features = build_features(known).to_numpy()
        expected = account_features([known_account(account, day)])
        np.testing.assert_array_equal(features, expected)


@pytest.mark.parametrize(
    ("amount", "expected"),
    [("-", 900), ("350", 350), ("300", 300), ("2000", 900)],
)
def test_a_dispute_of_a_part_of_a_document_counts_once(
    amount: str, expected: float
) -> None:
    """An invoice in three parts of 300 has 350 in dispute, not 350 for each part."""
    whole = ledger(
        invoices="""
            invoice_id | document_id | customer_id | issued_on  | due_on     | amount
            A1         | A           | ANNA        | 2024-10-01 | 2024-11-05 | 300
            A2         | A           | ANNA        | 2024-10-01 | 2024-12-05 | 300
            A3         | A           | ANNA        | 2024-10-01 | 2025-01-05 | 300
        """,
        disputes=f"""
            invoice_id | opened_on  | amount
            A          | 2024-10-20 | {amount}
        """,
    )
    features = build_features(known_on(whole, DAY)).iloc[0]
    assert features["disputed_share"] * 900 == pytest.approx(expected)
    account = known(whole)
    np.testing.assert_array_equal(account_features([account])[0], features.to_numpy())


def test_a_deposit_is_known_before_the_first_invoice() -> None:
    whole = ledger(
        invoices=ONE_INVOICE,
        payments="""
            payment_id | invoice_id | customer_id | paid_on    | amount
            P1         | -          | ANNA        | 2024-09-10 | 6000
        """,
    )
    account = known(whole, date(2024, 9, 30)).account
    assert account.invoice_ids == []
    assert unapplied(account).tolist() == [600_000]
    with pytest.raises(AsOfError, match="no invoice was known on 2024-09-09"):
        known(whole, date(2024, 9, 9))


def test_a_return_undoes_no_payment_of_another_customer() -> None:
    whole = ledger(
        invoices="""
            invoice_id | customer_id | issued_on  | due_on     | amount
            A1         | ANNA        | 2024-10-01 | 2024-11-05 | 500
            B1         | BERT        | 2024-10-01 | 2024-11-05 | 500
        """,
        payments="""
            payment_id | invoice_id | paid_on    | amount | kind     | reverses
            P1         | A1         | 2024-11-05 | 500    | payment  | -
            P2         | B1         | 2024-11-06 | 500    | payment  | -
            P3         | B1         | 2024-11-12 | 500    | returned | P1
        """,
    )
    anna, bert = (known_account(account, DAY).account for account in accounts_of(whole))
    assert open_balances(anna).tolist() == [0]
    assert open_balances(bert).tolist() == [50000]
    check = check_ledger(whole, today=DAY)
    assert any("of another customer" in finding.what for finding in check.findings)
