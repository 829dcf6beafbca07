"""Loss given default: by hand, on the simulator, and if too little is recorded."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from obligor.cli.app import app
from obligor.data.synthetic import Simulation, write_ledger
from obligor.forecasts.lgd import OBSERVED, STATED, lgd_table, workouts
from obligor.training.samples.config import DefaultDefinition
from tests.ascii import ledger

UNTIL = date(2025, 12, 31)
DEFINITION = DefaultDefinition()
INVOICES = """
    invoice_id | customer_id | issued_on  | due_on     | amount
    I1         | ANNA        | 2024-01-01 | 2024-01-31 | 1000
    I2         | BORIS       | 2024-01-01 | 2024-01-31 | 500
    I3         | CARL        | 2025-06-01 | 2025-07-01 | 700
"""
PAYMENTS = """
    invoice_id | paid_on    | amount
    I1         | 2024-03-01 | 200
    I1         | 2024-10-27 | 400
    I1         | 2025-12-01 | 100
"""


@pytest.fixture(scope="module")
def by_hand() -> pd.DataFrame:
    """I1 defaults on 2024-04-30 with 800 open; 400 come half a year later."""
    return workouts(
        ledger(invoices=INVOICES, payments=PAYMENTS),
        DEFINITION,
        UNTIL,
        discount_rate=0.1,
    )


def test_a_default_needs_a_year_of_recoveries(by_hand: pd.DataFrame) -> None:
    assert by_hand.index.tolist() == ["I1", "I2"]  # CARL's is too recent


def test_exposure_is_the_balance_at_default(by_hand: pd.DataFrame) -> None:
    assert by_hand["ead"].tolist() == [800.0, 500.0]


def test_recoveries_of_a_year_are_discounted(by_hand: pd.DataFrame) -> None:
    """The last 100 come too late to count."""
    recovered = 400 / 1.1 ** (180 / 365)
    assert by_hand.loc["I1", "recovered"] == pytest.approx(recovered)
    assert by_hand.loc["I1", "lgd"] == pytest.approx(1 - recovered / 800)


def test_a_recovery_that_came_back_is_none() -> None:
    payments = """
        payment_id | invoice_id | paid_on    | amount | reverses
        P1         | I1         | 2024-06-01 | 700    | -
        P2         | I1         | 2025-06-01 | -700   | P1
    """
    items = workouts(
        ledger(invoices=INVOICES, payments=payments),
        DEFINITION,
        UNTIL,
        discount_rate=0.1,
    )
    assert items["lgd"].tolist() == [1.0, 1.0]


def test_a_difference_given_up_before_the_default_is_not_lost_again() -> None:
    """Of 1,000.00 with 50.00 given up, 950.00 are in default, and all of it comes."""
    items = workouts(
        ledger(
            invoices=INVOICES,
            payments="""
                invoice_id | paid_on    | amount
                I1         | 2024-05-01 | 950
            """,
            write_offs="""
                invoice_id | written_off_on | amount
                I1         | 2024-03-01     | 50
            """,
        ),
        DEFINITION,
        UNTIL,
        discount_rate=0.0,
    )
    assert items.loc["I1", ["ead", "recovered", "lgd"]].tolist() == [950, 950, 0]


def test_a_rate_that_moves_is_no_loss() -> None:
    """USD are valued on the day of the default, what came of them too."""
    items = workouts(
        ledger(
            invoices="""
                invoice_id | customer_id | issued_on  | due_on     | amount | currency
                I1         | ANNA        | 2024-01-01 | 2024-01-31 | 1000   | USD
            """,
            payments="""
                invoice_id | paid_on    | amount
                I1         | 2024-06-01 | 1000
            """,
            fx_rates="""
                currency | rate_on    | rate
                USD      | 2024-01-01 | 0.9
                USD      | 2024-04-01 | 0.8
                USD      | 2024-05-15 | 0.4
            """,
        ),
        DEFINITION,
        UNTIL,
        discount_rate=0.0,
    )
    assert items.loc["I1", ["ead", "recovered", "lgd"]].tolist() == [800, 800, 0]


def test_a_default_without_recoveries_is_lost(by_hand: pd.DataFrame) -> None:
    assert by_hand.loc["I2", "lgd"] == 1.0


@pytest.fixture(scope="module")
def undiscounted(simulation: Simulation) -> pd.DataFrame:
    ledger = simulation.ledger
    return workouts(ledger, DEFINITION, ledger.observed_until, discount_rate=0.0)


def test_lgd_of_the_simulator_is_measured_with_its_interval(
    undiscounted: pd.DataFrame,
) -> None:
    assert len(undiscounted) > 100
    row = lgd_table(undiscounted, None, 0.45).loc["all"]
    assert row["source"] == OBSERVED
    assert row["low"] < row["lgd"] < row["high"]


def test_recoveries_equal_the_simulators_payments(
    simulation: Simulation, undiscounted: pd.DataFrame
) -> None:
    """Counted from the payments in euro in the year after each default."""
    payments = simulation.ledger["payments"].merge(
        undiscounted["default_on"], left_on="invoice_id", right_index=True
    )
    days = (payments["paid_on"] - payments["default_on"]).dt.days
    is_recovery = (days > 0) & (days <= 365) & (payments["kind"] == "payment")
    recoveries = payments[is_recovery]
    invoices = simulation.ledger["invoices"].set_index("invoice_id")
    is_euro = invoices.loc[undiscounted.index, "currency"] == "EUR"
    in_euro = undiscounted[is_euro.to_numpy()]
    of_these = recoveries["invoice_id"].isin(in_euro.index)
    expected = recoveries[of_these]["amount"].sum()
    assert in_euro["recovered"].sum() == pytest.approx(expected)


def test_few_defaults_take_the_stated_figure() -> None:
    customers = ["A"] * 5 + ["B"] * 60
    items = pd.DataFrame({"customer_id": customers, "ead": 100.0, "recovered": 30.0})
    segment = pd.Series({"A": "food", "B": "retail"})
    table = lgd_table(items, segment, 0.45)
    assert table.loc["food", ["lgd", "source"]].tolist() == [0.45, STATED]
    assert table.loc["retail", "lgd"] == pytest.approx(0.7)


def test_lgd_on_the_command_line(simulation: Simulation, tmp_path: Path) -> None:
    write_ledger(simulation, tmp_path)
    as_of = str(simulation.ledger.observed_until)
    words = ["lgd", str(tmp_path / "mapping.toml"), "--as-of", as_of]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    assert "recoveries of" in result.output
