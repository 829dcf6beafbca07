"""Reviews of small and healthy portfolios: every figure is given, or not known.

The model is fixed, so that a portfolio of any size can be reviewed.
"""

from __future__ import annotations

import json
from datetime import date, timedelta
from pathlib import Path
from typing import cast

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from obligor.cli import portfolio as command
from obligor.data.ledger import Ledger
from obligor.model.pd_model import PdModel
from obligor.policy.rulebooks.rulebook import RULES, read_rulebooks
from obligor.portfolio.migration import (
    BUCKETS,
    implied_loss_rates,
    no_rolls,
    unknown_loss_rates,
)
from obligor.portfolio.month import month_ends, month_of
from obligor.portfolio.review import Review, review
from obligor.portfolio.snapshot import days_with_invoices, ledger_accounts
from tests.ascii import ledger
from tests.fakes import FixedModel

RULEBOOKS, _ = read_rulebooks(RULES)
AS_OF = date(2024, 12, 31)
LGD = 0.45

HEALTHY = """
    invoice_id | customer_id | issued_on  | due_on     | amount
    LONG       | LENA        | 2024-09-15 | 2025-09-15 | 20000
    OCT        | KURT        | 2024-10-01 | 2024-10-28 | 1000
    NOV        | KURT        | 2024-11-01 | 2024-11-28 | 1000
"""
ON_TIME = """
    invoice_id | paid_on    | amount
    OCT        | 2024-10-28 | 1000
    NOV        | 2024-11-28 | 1000
"""
ALL_PAID = """
    invoice_id | customer_id | issued_on  | due_on     | amount
    OCT        | KURT        | 2024-10-01 | 2024-10-28 | 1000
    NOV        | KURT        | 2024-11-01 | 2024-11-28 | 1000
"""


def reviewed(book: Ledger, n_months: int) -> Review:
    accounts = list(ledger_accounts(book))
    days = days_with_invoices(accounts, month_ends(AS_OF, n_months))
    model = cast(PdModel, FixedModel())
    months = [month_of(accounts, day, model, RULEBOOKS) for day in days]
    return review(accounts, months, RULEBOOKS[-1])


def printed(portfolio_review: Review, capsys: pytest.CaptureFixture[str]) -> str:
    command.print_review(portfolio_review)
    return capsys.readouterr().out


def test_a_bucket_from_which_nothing_leaves_has_a_provision_and_no_loss_rate() -> None:
    outcome = reviewed(ledger(invoices=HEALTHY, payments=ON_TIME), 3)
    (row,) = outcome.provisions.to_dict("records")
    assert (row["invoice_id"], row["bucket"]) == ("LONG", "not_due")
    assert str(row["matrix"]) == "100.00"  # 20,000.00 x 0.005
    assert outcome.implied_loss_rates["not_due"] is None
    assert outcome.unknown_loss_rates["not_due"] == "no amount left this bucket"
    assert outcome.unknown_loss_rates["1-15"] == "no amount was in this bucket"


def test_the_reason_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    outcome = reviewed(ledger(invoices=HEALTHY, payments=ON_TIME), 3)
    words = printed(outcome, capsys).split()
    assert {"100.00", "known:"} <= set(words)
    assert "nan" not in words


def test_a_portfolio_that_owes_nothing_has_no_provisions(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    outcome = reviewed(ledger(invoices=ALL_PAID, payments=ON_TIME), 2)
    assert outcome.provisions.empty
    assert list(outcome.provisions)[-3:] == ["bucket", "matrix", "expected_loss"]
    assert "provisions, EUR" in printed(outcome, capsys)
    # Every unpaid share is 0 or not known yet.
    command.write_files(outcome, tmp_path)
    assert (tmp_path / "vintages.png").stat().st_size > 10_000


def test_a_ledger_younger_than_the_months_asked_for_is_reviewed() -> None:
    book = ledger(invoices=HEALTHY, payments=ON_TIME)
    outcome = reviewed(book, 12)
    pd.testing.assert_frame_equal(outcome.roll_rates, reviewed(book, 3).roll_rates)


def test_nothing_has_moved_in_a_ledger_of_a_single_month(
    capsys: pytest.CaptureFixture[str],
) -> None:
    invoices = """
        invoice_id | customer_id | issued_on  | due_on     | amount
        DEC        | KURT        | 2024-12-10 | 2025-01-10 | 500
    """
    outcome = reviewed(ledger(invoices=invoices), 12)
    assert outcome.migration.to_numpy().sum() == 0
    assert "nothing was there a month before" in printed(outcome, capsys)


def test_amounts_that_circle_for_ever_have_no_known_end() -> None:
    rolls = no_rolls()
    rolls.loc["1-15", "not_due"] = 100.0
    rolls.loc["not_due", "1-15"] = 100.0
    rates = implied_loss_rates(rolls, LGD)
    assert rates["1-15"] is rates["not_due"] is None
    reason = "no amount was settled or went beyond 90 days"
    assert unknown_loss_rates(rolls)["1-15"] == reason


def test_cents_that_circle_among_billions_end_beyond_90_days_for_sure() -> None:
    """Solving the linear system gave a probability above 1 here."""
    rolls = no_rolls()
    rolls.loc["not_due", "61-90"] = 250.0
    rolls.loc["1-15", "not_due"] = 250.0
    rolls.loc["31-60", ["not_due", "1-15", "90+"]] = [1e9, 1e9, 250.0]
    rolls.loc["61-90", "31-60"] = 0.01
    rates = implied_loss_rates(rolls, LGD)
    assert rates["not_due"] == rates["1-15"] == rates["31-60"] == rates["61-90"] == LGD


amounts = st.sampled_from([0.0, 0.0, 0.01, 1.0, 250.0, 1e9])
tables_of_rolls = st.lists(
    st.lists(amounts, min_size=7, max_size=7), min_size=6, max_size=6
)


@given(tables_of_rolls)
@settings(deadline=None, max_examples=100)
def test_every_loss_rate_is_given_or_has_a_reason(cells: list[list[float]]) -> None:
    rolls = pd.DataFrame(cells, index=no_rolls().index, columns=no_rolls().columns)
    rates = implied_loss_rates(rolls, LGD)
    reasons = unknown_loss_rates(rolls)
    assert list(rates) == list(BUCKETS)
    for bucket, rate in rates.items():
        assert (rate is None) == (bucket in reasons)
        assert rate is None or 0 <= rate <= LGD


@st.composite
def small_ledgers(draw: st.DrawFn) -> Ledger:
    """A few invoices of a few customers, paid or not, early or late."""
    invoices = ["invoice_id | customer_id | issued_on | due_on | amount"]
    payments = ["invoice_id | paid_on | amount"]
    for number in range(draw(st.integers(1, 5))):
        issued_on = AS_OF - timedelta(draw(st.integers(0, 200)))
        due_on = issued_on + timedelta(draw(st.sampled_from([0, 14, 60, 400])))
        customer = draw(st.sampled_from("AB"))
        cells = [f"I{number}", customer, str(issued_on), str(due_on), "100"]
        invoices.append(" | ".join(cells))
        days_to_pay = draw(st.sampled_from([None, 0, 14, 45, 120]))
        if days_to_pay is not None:
            paid_on = issued_on + timedelta(days_to_pay)
            amount = draw(st.sampled_from(["100", "40"]))
            payments.append(f"I{number} | {paid_on} | {amount}")
    return ledger(invoices="\n".join(invoices), payments="\n".join(payments))


@given(small_ledgers(), st.integers(1, 4))
@settings(
    deadline=None,
    max_examples=25,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_no_small_portfolio_breaks_the_review(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    book: Ledger,
    n_months: int,
) -> None:
    outcome = reviewed(book, n_months)
    assert "nan" not in printed(outcome, capsys).lower().split()
    figures = command.known_figures(command.figures_of(outcome))
    json.dumps(figures, default=str, allow_nan=False)
    command.write_files(outcome, tmp_path)
