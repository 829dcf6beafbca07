"""The synthetic ledger: repeatable, and its true PDs are true."""

from __future__ import annotations

from datetime import date
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest

from obligor.arrays import Floats
from obligor.data.asof import known_on
from obligor.data.synthetic import Simulation, simulate_ledger
from obligor.metrics.figures import calibration_line, with_intervals
from obligor.metrics.statistics import Resampling
from obligor.training.samples.config import DefaultDefinition
from obligor.training.samples.labels import default_events

OPTIONAL_TABLES = (
    "promises",
    "disputes",
    "write_offs",
    "limits",
    "financials",
    "fx_rates",
)


def test_the_same_seed_gives_the_same_ledger() -> None:
    first = simulate_ledger(100, 12, seed=1).ledger
    second = simulate_ledger(100, 12, seed=1).ledger
    for table in first.tables:
        pd.testing.assert_frame_equal(first[table], second[table])


def test_another_seed_gives_another_ledger() -> None:
    first = simulate_ledger(100, 12, seed=1).ledger
    other = simulate_ledger(100, 12, seed=2).ledger
    assert not first["invoices"].equals(other["invoices"])


def customer_index(customer_ids: pd.Index) -> list[int]:
    """Return the rows of customers in `Simulation.hazard`."""
    return [int(customer_id[1:]) for customer_id in customer_ids]


def test_the_label_finds_exactly_the_simulated_defaults(simulation: Simulation) -> None:
    ledger = simulation.ledger
    known = known_on(ledger, ledger.observed_until)
    events = default_events(known, DefaultDefinition())
    first = events.groupby("customer_id")["default_on"].min()
    n_days = (ledger.observed_until - simulation.start).days
    truth = simulation.hazard["defaults_on"]
    defaulted = truth[truth <= n_days]
    assert set(customer_index(first.index)) == set(defaulted.index)
    default_day = (first - pd.Timestamp(simulation.start)).dt.days
    true_day = truth[customer_index(first.index)]
    assert default_day.to_list() == true_day.to_list()


class Drawn(NamedTuple):
    """True PDs of many customers on a date, and who defaulted within a year."""

    pd_12m: np.ndarray
    label: np.ndarray

    def is_certain(self) -> np.ndarray:
        """Whether the outcome was certain on the date."""
        return (self.pd_12m < 1e-6) | (self.pd_12m > 1 - 1e-6)


@pytest.fixture(scope="module")
def drawn() -> Drawn:
    simulation = simulate_ledger(20_000, 30, seed=5)
    as_of = date(2023, 3, 31)
    truth = simulation.true_pd(as_of)
    last_day = (as_of - simulation.start).days + 365
    defaults_on = simulation.hazard["defaults_on"].to_numpy()
    label = defaults_on[customer_index(truth.index)] <= last_day
    return Drawn(truth.to_numpy(), label.astype(int))


def test_a_true_pd_of_0_or_1_is_certain(drawn: Drawn) -> None:
    is_certain = drawn.is_certain()
    outcome = drawn.pd_12m[is_certain].round()
    np.testing.assert_array_equal(drawn.label[is_certain], outcome)


def test_true_pds_are_calibrated(drawn: Drawn) -> None:
    is_open = ~drawn.is_certain()

    def line(
        pd_12m: Floats,
        label: Floats,
        weight: Floats,
    ) -> dict[str, float]:
        slope, intercept = calibration_line(pd_12m, label, weight)
        return {"slope": slope, "intercept": intercept}

    figures = with_intervals(
        drawn.pd_12m[is_open],
        drawn.label[is_open],
        Resampling(np.arange(is_open.sum()), 200, 0),
        line,
    )
    assert figures["slope"].low < 1 < figures["slope"].high
    assert figures["intercept"].low < 0 < figures["intercept"].high


def test_the_mean_true_pd_is_the_default_rate(drawn: Drawn) -> None:
    rate = drawn.label.mean()
    standard_error = np.sqrt(rate / len(drawn.label))
    assert abs(drawn.pd_12m.mean() - rate) < 3 * standard_error


@pytest.mark.parametrize("table", OPTIONAL_TABLES)
def test_every_optional_table_has_rows(simulation: Simulation, table: str) -> None:
    assert len(simulation.ledger[table]) > 0


def test_payments_are_of_every_kind_and_currency(simulation: Simulation) -> None:
    ledger = simulation.ledger
    assert set(ledger["payments"]["kind"]) == {"payment", "credit_note"}
    assert set(ledger["invoices"]["currency"]) == {"EUR", "USD"}


def test_some_invoices_are_paid_in_parts_and_none_too_much(
    simulation: Simulation,
) -> None:
    ledger = simulation.ledger
    paid = ledger["payments"].groupby("invoice_id")["amount"].agg(["sum", "count"])
    assert (paid["count"] > 1).mean() > 0.05
    owed = ledger["invoices"].set_index("invoice_id")["amount"].reindex(paid.index)
    assert (paid["sum"] <= owed + 0.005).all()
