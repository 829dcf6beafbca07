"""Customers on as-of dates with features and labels, split out of time with a gap."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import pandas as pd

from obligor.data.asof import known_on
from obligor.data.ledger import Ledger
from obligor.errors import AsOfError, SchemaError
from obligor.features.build import build_features
from obligor.training.samples.config import TrainingConfig
from obligor.training.samples.labels import (
    customers_in_default,
    days_to_default,
    default_events,
)

Progress = Callable[[Iterable[date]], Iterable[date]]


@dataclass(frozen=True)
class Sample:
    """Rows of (customer, as-of date): features in catalogue order and the label.

    Attributes
    ----------
    rows : DataFrame
        Index ``customer_id``; columns ``as_of``, ``label``, ``days_to_default`` and the features.
    """

    rows: pd.DataFrame

    @property
    def features(self) -> pd.DataFrame:
        """The feature columns, float64, in catalogue order."""
        return self.rows.drop(columns=["as_of", "label", "days_to_default"])

    @property
    def label(self) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        """1 where the customer defaulted within the horizon."""
        return self.rows["label"].to_numpy()

    @property
    def days_to_default(self) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        """Days to the first default within the horizon, NaN where there is none."""
        return self.rows["days_to_default"].to_numpy()

    @property
    def customers(self) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        """A whole number per customer: the group for folds and bootstrap."""
        return pd.factorize(self.rows.index)[0]

    def on(self, dates: Iterable[date]) -> Sample:
        """Return the rows of some as-of dates."""
        return Sample(self.rows[self.rows["as_of"].isin(list(dates))])


@dataclass(frozen=True)
class Split:
    """Training rows, a gap, and the out-of-time test rows."""

    train: Sample
    test: Sample


def as_of_dates(ledger: Ledger, config: TrainingConfig) -> list[date]:
    """Return the dates with enough history before and a fully observed outcome after.

    Raises
    ------
    AsOfError
        Where the ledger is too short for one training and one test date with the gap between.
    """
    first = ledger["invoices"]["known_on"].min() + pd.Timedelta(
        days=config.sample.min_history_days
    )
    last = pd.Timestamp(
        ledger.observed_until - timedelta(days=config.default.outcome_days)
    )
    grid = pd.date_range(
        first,
        last,
        freq="ME" if config.sample.grid == "month" else "W",
    )
    dates = [day.date() for day in grid]
    train, test = split_dates(dates, config)
    if not train or not test:
        days = (
            config.sample.min_history_days
            + config.default.outcome_days
            + gap_days(config)
        )
        raise AsOfError(
            f"the ledger is too short: it runs to {ledger.observed_until}",
            where="as-of grid",
            expected=f"at least about {days + 31} days of ledger",
            do="set a shorter default.horizon_days or sample.min_history_days",
        )
    return train + test


def gap_days(config: TrainingConfig) -> int:
    """Days between the last training and the first test date: no label windows overlap."""
    return (
        config.default.horizon_days
        if config.sample.gap_days is None
        else config.sample.gap_days
    )


def split_dates(
    dates: list[date], config: TrainingConfig
) -> tuple[list[date], list[date]]:
    """Return the training dates and the test dates, `gap_days` apart."""
    test = dates[-config.sample.test_dates :]
    train = [
        day
        for day in dates
        if test and day <= test[0] - timedelta(days=gap_days(config))
    ]
    return train, test


def build_sample(
    ledger: Ledger,
    config: TrainingConfig,
    progress: Progress = iter,
) -> Split:
    """Build features and labels on every as-of date and split them out of time.

    Parameters
    ----------
    ledger : Ledger
        A checked ledger.
    config : TrainingConfig
        The default definition, the grid, the gap.
    progress : callable
        Wraps the dates so that a person can watch.

    Raises
    ------
    AsOfError, SchemaError
        Where the ledger is too short, or the test rows hold nothing to compare.
    """
    events = default_events(ledger, config.default, ledger.observed_until)
    dates = as_of_dates(ledger, config)
    parts = [_rows(ledger, events, as_of, config) for as_of in progress(dates)]
    sample = Sample(pd.concat(parts))
    train, test = split_dates(dates, config)
    split = Split(sample.on(train), sample.on(test))
    if len(set(split.test.label)) < 2:
        raise SchemaError(
            f"all {len(split.test.rows)} test rows have the same outcome",
            where="test sample",
            expected="some with a default and some without",
            do="set a higher sample.test_dates, or another default definition",
        )
    return split


def _rows(
    ledger: Ledger,
    events: pd.DataFrame,
    as_of: date,
    config: TrainingConfig,
) -> pd.DataFrame:
    known = known_on(ledger, as_of)
    features = build_features(known)
    is_active = (features["open_count"] > 0) | (
        features["days_since_last_invoice"] <= config.sample.max_idle_days
    )
    features = features[is_active]
    if config.sample.exclude_in_default:
        features = features.drop(
            index=sorted(
                customers_in_default(known, config.default) & set(features.index)
            )
        )
    days = days_to_default(events, features.index, as_of, config.default)
    return features.assign(
        as_of=as_of,
        label=days.notna().astype(int),
        days_to_default=days,
    )
