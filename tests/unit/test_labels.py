"""The grid of as-of dates, the split out of time, and who is in the sample.

What a default is, is specified in tests/spec/test_labels.py.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest

from obligor.data.asof import known_on
from obligor.data.synthetic import Simulation
from obligor.errors import AsOfError
from obligor.training.samples.config import DefaultDefinition, TrainingConfig
from obligor.training.samples.labels import customers_in_default, default_events
from obligor.training.samples.outcomes import known_outcomes
from obligor.training.samples.sample import (
    Split,
    as_of_dates,
    build_sample,
    split_dates,
)
from tests.ascii import ledger

INVOICES = """
    invoice_id | customer_id | issued_on  | due_on     | amount
    A1         | ANNA        | 2024-01-01 | 2024-01-31 | 1000.00
    B1         | BORIS       | 2024-01-01 | 2024-01-31 | 1000.00
    C1         | CLARA       | 2024-01-01 | 2024-01-31 | 1000.00
    D1         | DORA        | 2024-01-01 | 2024-01-31 | 1000.00
"""
CONFIG = TrainingConfig()


@pytest.fixture(scope="module")
def split(simulation: Simulation) -> Split:
    return build_sample(simulation.ledger, CONFIG)


def test_default_without_any_row_on_its_day() -> None:
    """Nothing is known after the invoices were issued; the days pass all the same."""
    whole = ledger(invoices=INVOICES)
    before = known_on(whole, date(2024, 4, 29))
    on_the_day = known_on(whole, date(2024, 4, 30))
    everyone = {"ANNA", "BORIS", "CLARA", "DORA"}
    assert customers_in_default(before, DefaultDefinition()) == set()
    assert customers_in_default(on_the_day, DefaultDefinition()) == everyone


def test_money_that_was_not_allocated_prevents_a_default() -> None:
    """The ledger leaves money as it was allocated; ANNA's covers her invoice."""
    payments = """
        invoice_id | customer_id | paid_on    | amount
        -          | ANNA        | 2024-02-01 | 1000.00
        -          | BORIS       | 2024-02-01 |  500.00
    """
    whole = replace(
        ledger(invoices=INVOICES, payments=payments),
        unapplied_policy="as_allocated",
    )
    outcomes = known_outcomes(whole, date(2024, 12, 31))
    events = default_events(outcomes, DefaultDefinition())
    assert sorted(events["customer_id"]) == ["BORIS", "CLARA", "DORA"]
    assert customers_in_default(outcomes, DefaultDefinition()) == {
        "BORIS",
        "CLARA",
        "DORA",
    }


def test_test_dates_are_a_performance_window_after_training(
    simulation: Simulation,
) -> None:
    dates = as_of_dates(simulation.ledger, CONFIG)
    train, test = split_dates(dates, CONFIG)
    assert (test[0] - train[-1]).days >= 365
    assert (simulation.ledger.observed_until - test[-1]).days >= 365
    assert len(test) == 3


def test_short_ledger_is_rejected_with_the_days_it_needs() -> None:
    with pytest.raises(AsOfError, match=r"too short.*expected at least about"):
        as_of_dates(ledger(invoices=INVOICES), TrainingConfig())


def test_customers_in_default_are_not_in_the_sample(
    simulation: Simulation,
    split: Split,
) -> None:
    for as_of, rows in split.test.rows.groupby("as_of"):
        assert isinstance(as_of, date)
        known = known_on(simulation.ledger, as_of)
        in_default = customers_in_default(known, CONFIG.default)
        assert not in_default & set(rows.index)


def test_labels_equal_the_simulated_defaults(
    simulation: Simulation,
    split: Split,
) -> None:
    default_days = simulation.hazard["defaults_on"].to_numpy()
    for as_of, rows in split.test.rows.groupby("as_of"):
        assert isinstance(as_of, date)
        start = (as_of - simulation.start).days
        expected = []
        for customer_id in rows.index:
            default_day = default_days[int(customer_id[1:])]
            expected.append(int(start < default_day <= start + 365))
        assert rows["label"].tolist() == expected
