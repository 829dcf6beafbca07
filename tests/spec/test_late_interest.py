"""Late interest.

The law of the customer's country adds interest to an overdue debt between businesses,
and a fixed sum for each item. The laws, the reference rates by day and the fixed sums
are tables of the rulebook 2023-12-31, with their sources. Interest is simple: from the
day after the due day, on what was open on each day, actual days over 365, rounded once.
The first tests are of the rulebook 2000-01-01, in which the law is one table without
days.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from obligor.casework.calendar import CALENDAR
from obligor.casework.late_items import late_items
from obligor.data.asof import known_account
from obligor.data.open_items import OverdueItems
from obligor.policy.collecting.debt import Debt
from obligor.policy.collecting.late_interest import (
    LateInterest,
    late_interest,
    outdated_rates,
)
from obligor.policy.rulebooks.rulebook import RULES, read_rulebook
from obligor.portfolio.snapshot import ledger_accounts
from tests import ascii
from tests.ascii import spec
from tests.customers import AS_OF, NEW_RULEBOOK, RULEBOOK


def debt(
    amount: Decimal,
    days: int,
    country: str | None,
    n_items: int = 1,
) -> Debt:
    """Return a debt of items that are all equally late."""
    return Debt(
        customer_id="ANNA",
        currency="EUR",
        overdue=amount,
        dpd_days=Decimal(days),
        pd_12m=Decimal("0.05"),
        customer_class="general",
        amount_days=amount * days,
        n_items=n_items,
        country=country or "",
    )


def test_the_law_of_the_country_sets_rate_and_fee() -> None:
    """10.15% a year in the EU, 0.05% a day in China, 12% a year in Great Britain.

    In other countries only what was agreed applies. 10,000 EUR are 20 days late.
    """
    expected = """
        country | amount | fee | fee_currency
        DE      |  55.62 |  40 | EUR
        CN      | 100.00 |   0 | none
        GB      |  65.75 |  40 | GBP
        US      |   0.00 |   0 | none
        -       |   0.00 |   0 | none
    """

    def interest(country: str | None) -> LateInterest:
        return late_interest(debt(Decimal(10_000), 20, country), RULEBOOK, AS_OF)

    spec(interest, expected)


def test_interest_grows_with_amount_and_days() -> None:
    """Interest is amount x rate x days / 365, rounded to the cent."""
    expected = """
        overdue | days | amount
           1000 |    0 |   0.00
           1000 |   73 |  20.30
           1000 |  365 | 101.50
           2000 |   73 |  40.60
    """

    def interest(overdue: Decimal, days: int) -> LateInterest:
        return late_interest(debt(overdue, days, "DE"), RULEBOOK, AS_OF)

    spec(interest, expected)


def test_every_item_has_its_fee() -> None:
    """A customer in Germany has so many items past due."""
    expected = """
        n_items | fee
              1 |  40
              3 | 120
    """

    def interest(n_items: int) -> LateInterest:
        return late_interest(
            debt(
                Decimal(10_000),
                20,
                "DE",
                n_items,
            ),
            RULEBOOK,
            AS_OF,
        )

    spec(interest, expected)


# --- day by day, under the rulebook 2023-12-31

INVOICE = """
    invoice_id | customer_id | issued_on  | due_on     | amount
    A1         | ANNA        | 2025-05-20 | 2025-06-20 | {amount}
"""


def interest_of(
    country: str | None,
    as_of: date,
    policy: str = "oldest_first",
    **tables: str,
) -> LateInterest:
    """Return the interest on ANNA's items as they were known on a day."""
    ledger = replace(ascii.ledger(**tables), unapplied_policy=policy)
    (account,) = ledger_accounts(ledger)
    known = known_account(account, as_of)
    overdue = OverdueItems.of(known)
    anna = Debt(
        customer_id="ANNA",
        currency="EUR",
        overdue=Decimal(str(overdue.balance.sum())),
        dpd_days=Decimal(20),
        pd_12m=Decimal("0.05"),
        customer_class="general",
        country=country or "",
        late_items=late_items(known, overdue),
    )
    return late_interest(anna, NEW_RULEBOOK, as_of, CALENDAR)


def test_each_country_has_its_rate_and_margin() -> None:
    """10,000 EUR are due on 2025-06-20; on 2025-07-10 they are 20 days late.

    The rates changed on July 1: in Germany from 2.27% to 1.27%, plus 9 points; in
    France from 3.15% to 2.15%, plus 10; in the Netherlands plus 8. In Great Britain the
    rate of the day on which the delay began holds to the end: 4.75% plus 8; in China
    1.3 times 3.00%. In Austria and Sweden no rate is on file, so there is no sum. In
    the United States, and if the country is not known, what was agreed applies.
    """
    expected = """
        country | amount | fee | fee_currency
        DE      |  59.01 |  40 | EUR
        FR      |  69.32 |  40 | EUR
        NL      |  58.36 |  40 | EUR
        GB      |  69.86 |  40 | GBP
        CN      |  21.37 |   0 | none
        AT      |   0.00 |  40 | EUR
        SE      |   0.00 |  40 | EUR
        US      |   0.00 |   0 | none
        -       |   0.00 |   0 | none
    """
    invoices = INVOICE.format(amount=10_000)

    def interest(country: str | None) -> LateInterest:
        return interest_of(country, date(2025, 7, 10), invoices=invoices)

    spec(interest, expected)


def test_a_missing_rate_is_named_and_nothing_is_estimated() -> None:
    """Austria's base rate is on file for the second half of 2024, and not after it."""
    invoices = """
        invoice_id | customer_id | issued_on  | due_on     | amount
        A1         | ANNA        | 2024-06-10 | 2024-07-10 | 10000
    """
    on_file = interest_of("AT", date(2024, 7, 31), invoices=invoices)
    assert on_file.amount == Decimal("75.25")  # 10,000 x 13.08% x 21 / 365
    assert on_file.missing == ""
    beyond = interest_of("AT", date(2025, 1, 1), invoices=invoices)
    assert beyond.amount == 0
    assert beyond.missing.startswith("no interest was worked out from 2025-01-01 on")
    assert beyond.missing in beyond.because


def test_interest_counts_what_was_open_on_each_day() -> None:
    """1,000 EUR are due in Germany on 2025-06-20. 400 come in on June 30, and a credit
    note of 100 on July 5: each bears interest up to its day.
    """
    expected = """
        as_of      | amount | fee
        2025-06-21 |   0.31 |  40
        2025-06-30 |   3.09 |  40
        2025-07-05 |   3.93 |  40
        2025-07-10 |   4.64 |  40
    """
    payments = """
        invoice_id | paid_on    | amount | kind
        A1         | 2025-06-30 |    400 | payment
        A1         | 2025-07-05 |    100 | credit_note
    """

    def interest(as_of: date) -> LateInterest:
        return interest_of(
            "DE",
            as_of,
            invoices=INVOICE.format(amount=1000),
            payments=payments,
        )

    spec(interest, expected)


def test_a_payment_that_came_back_never_was() -> None:
    """600 of 1,000 EUR come in on June 25 and are returned on July 2.

    On June 30 nobody knew: 1,000 for 5 days and 400 for 5. On July 5 it is 1,000 for
    all 15 days.
    """
    expected = """
        as_of      | amount
        2025-06-30 |   2.16
        2025-07-05 |   4.49
    """
    payments = """
        payment_id | invoice_id | paid_on    | amount | kind     | reverses
        P1         | A1         | 2025-06-25 |    600 | payment  | -
        P2         | A1         | 2025-07-02 |   -600 | payment  | P1
    """

    def interest(as_of: date) -> LateInterest:
        return interest_of(
            "DE",
            as_of,
            invoices=INVOICE.format(amount=1000),
            payments=payments,
        )

    spec(interest, expected)


@pytest.mark.parametrize("policy", ["oldest_first", "as_allocated"])
def test_money_on_account_stops_interest_on_its_day(policy: str) -> None:
    """500 EUR without an invoice come in on June 25; the oldest item is paid first.

    A house that leaves money as it was allocated has it all the same.
    """
    payments = """
        payment_id | invoice_id | customer_id | paid_on    | amount
        P1         | -          | ANNA        | 2025-06-25 |    500
    """
    interest = interest_of(
        "DE",
        date(2025, 6, 30),
        policy=policy,
        invoices=INVOICE.format(amount=1000),
        payments=payments,
    )
    # (1,000 x 5 + 500 x 5) x 11.27% / 365
    assert interest.amount == Decimal("2.32")


def test_a_due_day_off_moves_on_where_the_law_says_so() -> None:
    """The first day with interest, for 36,500 EUR.

    Germany: Saturdays, Sundays and holidays move on, Italy: Sundays and holidays (June
    2 is one), China: the whole golden week. France has no such rule for a debt.
    """
    expected = """
        country | due_on     | first_day
        DE      | 2025-06-20 | 2025-06-21
        DE      | 2025-05-31 | 2025-06-03
        DE      | 2025-12-25 | 2025-12-30
        IT      | 2025-05-31 | 2025-06-01
        IT      | 2025-06-01 | 2025-06-04
        CN      | 2025-10-01 | 2025-10-10
        FR      | 2025-12-25 | 2025-12-26
    """

    def first_day(country: str, due_on: date) -> date:
        invoices = f"""
            invoice_id | customer_id | issued_on  | due_on   | amount
            A1         | ANNA        | 2025-01-02 | {due_on} |  36500
        """
        for days in range(1, 20):
            as_of = due_on + timedelta(days=days)
            if interest_of(country, as_of, invoices=invoices).amount > 0:
                return as_of
        raise AssertionError("no interest within 20 days")

    spec(first_day, expected)


def test_compensation_goes_by_what_was_open_when_the_delay_began() -> None:
    """Great Britain: 40 below 1,000 GBP, 70 below 10,000, 100 from there on.

    A payment before the due day counts, one after it does not.
    """
    expected = """
        amount   | paid | paid_on    | fee
          999.99 |    0 | -          |  40
         1000.00 |    0 | -          |  70
         9999.99 |    0 | -          |  70
        10000.00 |    0 | -          | 100
        10000.00 | 9500 | 2025-06-25 | 100
        10000.00 | 9500 | 2025-06-10 |  40
    """

    def fee(amount: Decimal, paid: Decimal, paid_on: date | None) -> Decimal:
        rows = f"A1 | {paid_on} | {paid}" if paid_on else ""
        interest = interest_of(
            "GB",
            date(2025, 6, 30),
            invoices=f"""
                invoice_id | customer_id | issued_on  | due_on     | amount   | currency
                A1         | ANNA        | 2025-05-20 | 2025-06-20 | {amount} | GBP
            """,
            payments=f"invoice_id | paid_on | amount\n{rows}",
            fx_rates="""
                currency | rate_on    | rate
                GBP      | 2025-01-01 | 1.2
            """,
        )
        assert interest.fee_currency == "GBP"
        return interest.fee

    spec(fee, expected)


@pytest.mark.parametrize(
    ("disputes", "amount", "fee"),
    [
        ("A1 | 2025-06-22 | - | -", "0.00", "0"),
        ("A1 | 2025-06-22 | - | 300", "2.16", "40"),
        ("A1 | 2025-06-22 | 2025-06-28 | -", "3.09", "40"),
    ],
)
def test_what_is_in_dispute_bears_no_interest_while_it_is_open(
    disputes: str, amount: str, fee: str
) -> None:
    """1,000 EUR, 10 days late: all in dispute, 300 in dispute, and settled for us."""
    interest = interest_of(
        "DE",
        date(2025, 6, 30),
        invoices=INVOICE.format(amount=1000),
        disputes=f"invoice_id | opened_on | resolved_on | amount\n{disputes}",
    )
    assert interest.amount == Decimal(amount)
    assert interest.fee == Decimal(fee)


def test_nobody_is_late_with_a_bill_that_was_not_written() -> None:
    """An invoice of June 10 that was due on June 1 bears interest from June 11 on."""
    interest = interest_of(
        "DE",
        date(2025, 6, 20),
        invoices="""
            invoice_id | customer_id | issued_on  | due_on     | amount
            A1         | ANNA        | 2025-06-10 | 2025-06-01 |   1000
        """,
    )
    # 1,000 x 11.27% x 10 / 365
    assert interest.amount == Decimal("3.09")


def test_a_cancelled_invoice_bears_no_interest() -> None:
    """It is cancelled on June 28; on June 27 nobody knew."""
    expected = """
        as_of      | amount | fee
        2025-06-27 |   2.16 |  40
        2025-06-28 |   0.00 |   0
    """
    cancellations = """
        invoice_id | cancelled_on
        A1         | 2025-06-28
    """

    def interest(as_of: date) -> LateInterest:
        return interest_of(
            "DE",
            as_of,
            invoices=INVOICE.format(amount=1000),
            cancellations=cancellations,
        )

    spec(interest, expected)


def test_an_extension_moves_the_first_day() -> None:
    """On June 15 the due day was moved to June 25: five days are left of ten."""
    interest = interest_of(
        "DE",
        date(2025, 6, 30),
        invoices=INVOICE.format(amount=1000),
        extensions="""
            invoice_id | extended_on | due_on
            A1         | 2025-06-15  | 2025-06-25
        """,
    )
    assert interest.amount == Decimal("1.54")  # 1,000 x 11.27% x 5 / 365


def test_a_rate_is_outdated_if_it_ends_or_is_old_without_an_end(
    tmp_path: Path,
) -> None:
    """The rate of the ECB is of 2026-07-01; a house closes its row, or leaves it open.

    Those of Austria and China end before.
    """
    expected = """
        is_closed | day        | outdated
        yes       | 2026-12-31 | -
        yes       | 2027-01-01 | ends on 2026-12-31
        no        | 2026-12-31 | -
        no        | 2027-01-01 | -
        no        | 2027-01-02 | is of 2026-07-01 and has no end
    """
    folder = tmp_path / "open" / "2023-12-31"
    shutil.copytree(RULES / "2023-12-31", folder)
    path = folder / "reference_rates.yaml"
    replaced = ("id: E09", "id: E99", "ecb, day: 20270101")
    lines = [
        line
        for line in path.read_text(encoding="utf-8").splitlines()
        if not any(text in line for text in replaced)
    ]
    text = "\n".join(lines)
    row = '  - {id: E09, when: {reference: ecb, day: ">= 20260701"}, then: '
    row += "{is_known: true, rate: 0.024}, because: the rate of the half-year}"
    path.write_text(text.replace("  - {id: D00", f"{row}\n  - {{id: D00"))
    without_end = read_rulebook(folder)

    def outdated(is_closed: bool, day: date) -> str | None:
        rulebook = NEW_RULEBOOK if is_closed else without_end
        rates = {rate.reference: rate.what for rate in outdated_rates(rulebook, day)}
        return rates.get("ecb")

    spec(outdated, expected)


def test_the_reason_names_the_law_and_the_rates() -> None:
    interest = interest_of(
        "DE", date(2025, 7, 10), invoices=INVOICE.format(amount=1000)
    )
    assert "BGB 288" in interest.because
    assert "11.27% from 2025-06-21; 10.27% from 2025-07-01" in interest.because
