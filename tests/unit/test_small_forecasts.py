"""Forecasts of small, young and fully paid ledgers: a figure, or why there is none."""

from __future__ import annotations

from datetime import date, timedelta

import pandas as pd
import pytest

from obligor.cli import forecasts as command
from obligor.data.ledger import Ledger
from obligor.errors import SchemaError
from obligor.forecasts.cash import expected_cash
from obligor.forecasts.lgd import STATED, lgd_table, workouts
from obligor.training.samples.config import DefaultDefinition
from tests.ascii import ledger

UNPAID = """
    invoice_id | customer_id | issued_on  | due_on     | amount
    OLD        | LENA        | 2022-09-15 | 2022-10-15 | 20000
    NEW        | KURT        | 2024-12-01 | 2024-12-28 | 1000
"""


def regular_ledger(n_invoices: int) -> Ledger:
    """Four invoices a day from 2024-06-01 on, paid 20 to 44 days later."""
    invoices = ["invoice_id | customer_id | issued_on | due_on | amount"]
    payments = ["invoice_id | paid_on | amount"]
    for number in range(n_invoices):
        issued_on = date(2024, 6, 1) + timedelta(number // 4)
        due_on = issued_on + timedelta(30)
        paid_on = issued_on + timedelta(20 + 7 * number % 25)
        invoices.append(f"I{number} | C{number % 7} | {issued_on} | {due_on} | 100")
        payments.append(f"I{number} | {paid_on} | 100")
    return ledger(invoices="\n".join(invoices), payments="\n".join(payments))


@pytest.fixture(scope="module")
def regular() -> Ledger:
    return regular_ledger(400)  # the last one of 2024-09-08


def test_without_any_payment_the_stated_loss_is_taken() -> None:
    items = workouts(
        ledger(invoices=UNPAID),
        DefaultDefinition(),
        date(2024, 12, 31),
        0.08,
    )
    assert items["lgd"].tolist() == [1.0]
    segment = pd.Series({"LENA": "food"})
    table = lgd_table(items, segment, 0.45)
    assert table["lgd"].tolist() == [0.45, 0.45]
    assert set(table["source"]) == {STATED}


@pytest.mark.parametrize(
    ("as_of", "message"),
    [
        (date(2024, 6, 20), "the first invoice is too near to 2024-06-20"),
        (date(2024, 7, 14), "payments of open invoices are known"),
        (date(2024, 8, 1), "invoices were open in 28 days only"),
    ],
)
def test_a_ledger_that_is_too_young_is_refused(
    regular: Ledger,
    as_of: date,
    message: str,
) -> None:
    with pytest.raises(SchemaError, match=message):
        expected_cash(regular, as_of)


def test_a_ledger_too_young_to_look_back_is_forecast(
    regular: Ledger, capsys: pytest.CaptureFixture[str]
) -> None:
    forecast = expected_cash(regular, date(2024, 9, 1))
    assert forecast.weeks["expected"].iloc[0] > 0
    assert "too near to 2024-06-02" in forecast.why_no_coverage
    assert forecast.coverage.empty
    command.print_coverage(forecast, 13)
    assert "not known" in " ".join(capsys.readouterr().out.split())


def test_a_ledger_in_which_nothing_is_open_is_forecast(
    regular: Ledger, capsys: pytest.CaptureFixture[str]
) -> None:
    forecast = expected_cash(regular, date(2024, 12, 31), weeks=26)
    assert forecast.invoices.empty
    assert forecast.weeks["expected"].sum() == 0
    command.print_coverage(forecast, 26)
    assert "nan" not in capsys.readouterr().out
