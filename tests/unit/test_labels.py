"""Who defaulted when: hand-made ledgers."""

from __future__ import annotations

from datetime import date

import numpy as np
import pandas as pd
import pytest

from obligor.data.asof import known_on
from obligor.errors import AsOfError
from obligor.training.samples.config import DefaultDefinition, TrainingConfig
from obligor.training.samples.labels import (
    customers_in_default,
    days_to_default,
    default_events,
)
from obligor.training.samples.sample import as_of_dates, build_sample, split_dates
from tests.ascii import ledger

ITEMS = """
    invoice_id | customer_id | issued_on  | due_on     | amount
    A1         | ANNA        | 2024-01-01 | 2024-01-31 | 1000.00
    B1         | BORIS       | 2024-01-01 | 2024-01-31 | 1000.00
    C1         | CLARA       | 2024-01-01 | 2024-01-31 | 1000.00
    D1         | DORA        | 2024-01-01 | 2024-01-31 | 1000.00
    E1         | EMIL        | 2024-12-01 | 2025-12-31 | 1000.00
"""
PAYMENTS = """
    invoice_id | paid_on    | amount
    A1         | 2024-04-30 | 1000.00
    B1         | 2024-05-01 | 1000.00
    C1         | 2024-03-01 |  950.00
    E1         | 2025-01-05 |    1.00
"""
WRITE_OFFS = "invoice_id | written_off_on | amount\n D1 | 2024-03-10 | 1000.00"
WHOLE = ledger(invoices=ITEMS, payments=PAYMENTS, write_offs=WRITE_OFFS)
RULE = DefaultDefinition()
END = WHOLE.observed_until


def events() -> pd.DataFrame:
    return default_events(WHOLE, RULE, END).set_index("customer_id")


def test_paid_on_day_90_is_no_default_on_day_91_it_is() -> None:
    assert "ANNA" not in events().index
    assert events().loc["BORIS", "default_on"] == pd.Timestamp("2024-04-30")


def test_a_balance_below_materiality_is_no_default() -> None:
    assert "CLARA" not in events().index  # 50 open
    strict = default_events(WHOLE, DefaultDefinition(materiality=50.0), END)
    assert "CLARA" in set(strict["customer_id"])


def test_a_write_off_is_a_default_on_its_day() -> None:
    assert events().loc["DORA", "default_on"] == pd.Timestamp("2024-03-10")


def test_a_default_is_cured_by_payment() -> None:
    assert events().loc["BORIS", "cured_on"] == pd.Timestamp("2024-05-01")


def test_in_default_uses_only_what_was_known() -> None:
    assert customers_in_default(known_on(WHOLE, date(2024, 4, 29)), RULE) == {"DORA"}
    assert customers_in_default(known_on(WHOLE, date(2024, 4, 30)), RULE) == {
        "BORIS",
        "DORA",
    }
    soon = DefaultDefinition(cure_days=0)
    assert customers_in_default(known_on(WHOLE, date(2024, 6, 1)), soon) == set()


def test_the_performance_window_is_open_at_its_start() -> None:
    people = pd.Index(["ANNA", "BORIS", "DORA"])
    short = DefaultDefinition(horizon_days=30)
    events, no = default_events(WHOLE, short, END), np.nan

    def days(as_of: date) -> list[float]:
        return days_to_default(events, people, as_of, short).tolist()

    np.testing.assert_array_equal(days(date(2024, 4, 30)), [no, no, no])
    np.testing.assert_array_equal(days(date(2024, 4, 29)), [no, 1, no])
    np.testing.assert_array_equal(
        days(date(2024, 3, 31)), [no, 30, no]
    )  # day 30 counts
    assert np.isnan(days(date(2024, 2, 15))).tolist() == [True, True, False]


def test_the_due_anchor_asks_about_items_due_in_the_window() -> None:
    rule = DefaultDefinition(dpd_days=30, horizon_days=90, anchor="due", materiality=0)
    events = default_events(WHOLE, rule, END)
    assert (
        days_to_default(events, pd.Index(["ANNA", "BORIS"]), date(2024, 1, 1), rule)
        .notna()
        .all()
    )
    assert (
        days_to_default(events, pd.Index(["ANNA"]), date(2024, 1, 31), rule)
        .isna()
        .all()
    )


def test_a_due_day_may_pass_without_any_row_to_show_it() -> None:
    silent = ledger(
        invoices="\n".join(ITEMS.strip().splitlines()[:-1])
    )  # nothing is known after the issue
    assert customers_in_default(known_on(silent, date(2024, 4, 29)), RULE) == set()
    assert customers_in_default(known_on(silent, date(2024, 4, 30)), RULE) == {
        "ANNA",
        "BORIS",
        "CLARA",
        "DORA",
    }


def test_days_not_reached_yet_are_no_defaults() -> None:
    assert "EMIL" not in events().index


def test_test_dates_come_a_whole_window_after_training(simulation) -> None:  # type: ignore[no-untyped-def]
    config = TrainingConfig()
    dates = as_of_dates(simulation.ledger, config)
    train, test = split_dates(dates, config)
    assert (test[0] - train[-1]).days >= 365
    assert (simulation.ledger.observed_until - test[-1]).days >= 365
    assert len(test) == 3


def test_a_ledger_too_short_says_what_it_needs() -> None:
    with pytest.raises(AsOfError, match=r"too short.*expected at least about"):
        as_of_dates(WHOLE, TrainingConfig())


def test_the_sample_leaves_out_who_is_in_default(simulation) -> None:  # type: ignore[no-untyped-def]
    config = TrainingConfig()
    split = build_sample(simulation.ledger, config)
    for as_of, rows in split.test.rows.groupby("as_of"):
        out = customers_in_default(known_on(simulation.ledger, as_of), config.default)  # type: ignore[arg-type]
        assert not out & set(rows.index)
        truth = simulation.hazard["defaults_on"].to_numpy()
        start = (as_of - simulation.start).days  # type: ignore[operator]
        wanted = [start < truth[int(name[1:])] <= start + 365 for name in rows.index]
        assert rows["label"].tolist() == [int(w) for w in wanted]
