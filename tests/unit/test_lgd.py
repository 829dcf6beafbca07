"""What is lost of a default: by hand, on the simulator, and where nothing is recorded."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from obligor.cli.app import app
from obligor.data.synthetic import Simulation, write_ledger
from obligor.training.forecasts.lgd import OBSERVED, STATED, lgd_table, workouts
from obligor.training.samples.config import DefaultDefinition
from tests.ascii import ledger

UNTIL = date(2025, 12, 31)
ITEMS = """
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


def test_recoveries_of_a_year_are_discounted_and_set_against_the_balance_at_default() -> (
    None
):
    """I1 is in default on 2024-04-30 with 800 open; 400 come half a year later, 100 too late to count."""
    found = workouts(
        ledger(invoices=ITEMS, payments=PAYMENTS),
        DefaultDefinition(),
        UNTIL,
        discount_rate=0.1,
    )
    assert found.index.tolist() == ["I1", "I2"]  # CARL's default has not had its year
    assert found["ead"].tolist() == [800.0, 500.0]
    assert found.loc["I1", "recovered"] == pytest.approx(400 / 1.1 ** (180 / 365))
    assert found.loc["I2", "lgd"] == 1.0
    assert found.loc["I1", "lgd"] == pytest.approx(1 - 400 / 1.1 ** (180 / 365) / 800)


def test_the_simulators_recoveries_come_out(simulation: Simulation) -> None:
    """What the simulator pays back, counted from its own payments after the default, undiscounted."""
    found = workouts(
        simulation.ledger,
        DefaultDefinition(),
        simulation.ledger.observed_until,
        discount_rate=0.0,
    )
    assert len(found) > 100
    row = lgd_table(found, None, 0.45).loc["all"]
    assert row["source"] == OBSERVED
    assert row["low"] < row["lgd"] < row["high"]
    paid = simulation.ledger["payments"].merge(
        found["default_on"], left_on="invoice_id", right_index=True
    )
    days = (paid["paid_on"] - paid["default_on"]).dt.days
    back = paid[(days > 0) & (days <= 365) & (paid["kind"] == "payment")]
    is_euro = (
        simulation.ledger["invoices"]
        .set_index("invoice_id")
        .loc[found.index, "currency"]
        == "EUR"
    )
    mine = found[is_euro.to_numpy()]
    assert mine["recovered"].sum() == pytest.approx(
        back[back["invoice_id"].isin(mine.index)]["amount"].sum()
    )


def test_few_defaults_take_the_stated_figure_and_say_so() -> None:
    found = pd.DataFrame(
        {"customer_id": ["A"] * 5 + ["B"] * 60, "ead": 100.0, "recovered": 30.0}
    )
    table = lgd_table(found, pd.Series({"A": "food", "B": "retail"}), 0.45)
    assert table.loc["food", ["lgd", "source"]].tolist() == [0.45, STATED]
    assert table.loc["retail", "lgd"] == pytest.approx(0.7)


def test_on_the_command_line(simulation: Simulation, tmp_path: Path) -> None:
    write_ledger(simulation, tmp_path)
    words = [
        "lgd",
        str(tmp_path / "mapping.toml"),
        "--as-of",
        str(simulation.ledger.observed_until),
    ]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    assert "recoveries of" in result.output
