"""The simulator: repeatable, and its true PDs are true."""

from __future__ import annotations

from datetime import date

import numpy as np
import pandas as pd

from obligor.data.synthetic import Simulation, simulate_ledger
from obligor.metrics.figures import calibration_line, with_intervals
from obligor.metrics.statistics import Resampling
from obligor.training.samples.config import DefaultDefinition
from obligor.training.samples.labels import default_events


def test_the_same_seed_gives_the_same_ledger() -> None:
    one, two, other = (simulate_ledger(100, 12, seed=seed) for seed in (1, 1, 2))
    for table in one.ledger.tables:
        pd.testing.assert_frame_equal(one.ledger[table], two.ledger[table])
    assert not one.ledger["invoices"].equals(other.ledger["invoices"])


def test_the_label_finds_exactly_the_simulated_defaults(simulation: Simulation) -> None:
    events = default_events(
        simulation.ledger, DefaultDefinition(), simulation.ledger.observed_until
    )
    first = events.groupby("customer_id")["default_on"].min()
    days = (simulation.ledger.observed_until - simulation.start).days
    truth = simulation.hazard["defaults_on"]
    defaulted = truth[truth <= days]
    assert set(first.index) == {f"C{i:07d}" for i in defaulted.index}
    found = (first - pd.Timestamp(simulation.start)).dt.days
    assert found.to_list() == [truth[int(name[1:])] for name in found.index]


def test_true_pds_are_calibrated() -> None:
    simulation = simulate_ledger(20_000, 30, seed=5)
    as_of = date(2023, 3, 31)
    truth = simulation.true_pd(as_of)
    day = (as_of - simulation.start).days
    defaults = simulation.hazard["defaults_on"].to_numpy()[
        [int(name[1:]) for name in truth.index]
    ]
    label = (defaults <= day + 365).astype(int)
    is_open = truth.between(1e-6, 1 - 1e-6).to_numpy()
    sure = truth.to_numpy()[~is_open].round()
    np.testing.assert_array_equal(label[~is_open], sure)  # 0 and 1 are certain

    def line(pd_, label, weight):  # type: ignore[no-untyped-def]
        slope, intercept = calibration_line(pd_, label, weight)
        return {"slope": slope, "intercept": intercept}

    found = with_intervals(
        truth.to_numpy()[is_open],
        label[is_open],
        Resampling(np.arange(is_open.sum()), 200, 0),
        line,
    )
    assert found["slope"].low < 1 < found["slope"].high
    assert found["intercept"].low < 0 < found["intercept"].high
    assert abs(truth.mean() - label.mean()) < 3 * np.sqrt(label.mean() / len(label))


def test_the_ledger_holds_everything_a_ledger_can_hold(simulation: Simulation) -> None:
    ledger = simulation.ledger
    assert set(ledger["payments"]["kind"]) == {"payment", "credit_note"}
    assert set(ledger["invoices"]["currency"]) == {"EUR", "USD"}
    paid = ledger["payments"].groupby("invoice_id")["amount"].agg(["sum", "count"])
    assert (paid["count"] > 1).mean() > 0.05  # partial payments
    for table in (
        "promises",
        "disputes",
        "write_offs",
        "limits",
        "financials",
        "fx_rates",
    ):
        assert len(ledger[table]) > 0, table
    owed = ledger["invoices"].set_index("invoice_id")["amount"].reindex(paid.index)
    assert (paid["sum"] <= owed + 0.005).all()
