"""Customers on as-of dates with features and labels, split out of time with a gap."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd

from obligor.arrays import Floats, Ints
from obligor.data.account import OLDEST_FIRST
from obligor.data.asof import known_on
from obligor.data.ledger import Ledger
from obligor.errors import AsOfError, SchemaError
from obligor.features.build import build_features
from obligor.features.catalogue import EDITIONS, NAMES
from obligor.features.kernel import MaterialAmount
from obligor.features.own import OwnFeatures, read_own_features
from obligor.model.pd_model import PdModel
from obligor.training.samples.config import TrainingConfig
from obligor.training.samples.labels import (
    customers_in_default,
    days_to_default,
    default_events,
)
from obligor.training.samples.materiality import material_of
from obligor.training.samples.outcomes import known_outcomes
from obligor.training.samples.own_columns import with_own_columns

Progress = Callable[[Iterable[date]], Iterable[date]]

MONTH_OF_DAYS = 31


@dataclass(frozen=True)
class Sample:
    """Rows of (customer, as-of date): features in catalogue order and the label.

    Attributes
    ----------
    rows : DataFrame
        Index ``customer_id``; columns ``as_of``, ``label``, ``days_to_default`` and the
        features.
    weigh : {"rows", "customers"}
        Whether each row counts alike, or each customer.
    own : OwnFeatures, optional
        Features of one's own, whose columns stand behind the catalogue's.
    """

    rows: pd.DataFrame
    weigh: Literal["rows", "customers"] = "rows"
    own: OwnFeatures | None = None

    @property
    def weight(self) -> Floats | None:
        """How often each row counts, with a mean of 1; None if all count alike.

        Examples
        --------
        >>> rows = pd.DataFrame(index=["A", "A", "A", "B"])
        >>> Sample(rows, "customers").weight.round(3).tolist()
        [0.667, 0.667, 0.667, 2.0]
        """
        if self.weigh == "rows":
            return None
        numbers = self.customers
        n_dates = np.bincount(numbers)
        n_customers = len(n_dates)
        return len(numbers) / (n_customers * n_dates[numbers])

    @property
    def features(self) -> pd.DataFrame:
        """The feature columns, float64, in catalogue order."""
        return self.rows.drop(columns=["as_of", "label", "days_to_default"])

    @property
    def label(self) -> Ints:
        """1 if the customer defaulted within the horizon, else 0."""
        return self.rows["label"].to_numpy()

    @property
    def days_to_default(self) -> Floats:
        """Days to the first default within the horizon; NaN if there is none."""
        return self.rows["days_to_default"].to_numpy()

    @property
    def customers(self) -> Ints:
        """A whole number per customer: the group for folds and bootstrap."""
        numbers, _ = pd.factorize(self.rows.index)
        return numbers

    def on(self, dates: Iterable[date]) -> Sample:
        """Return the rows of some as-of dates."""
        return replace(self, rows=self.rows[self.rows["as_of"].isin(list(dates))])


@dataclass(frozen=True)
class Split:
    """Training rows, a gap, and the out-of-time test rows.

    Attributes
    ----------
    train : Sample
        Rows of the earlier dates.
    test : Sample
        Rows of the last dates.
    """

    train: Sample
    test: Sample


def as_of_dates(ledger: Ledger, config: TrainingConfig) -> list[date]:
    """Return the dates with enough history before and a fully observed outcome after.

    Raises
    ------
    AsOfError
        If the ledger is too short for one training date and one test date with the
        gap between them.
    """
    history = pd.Timedelta(days=config.sample.min_history_days)
    first = ledger["invoices"]["known_on"].min() + history
    outcome = timedelta(days=config.default.outcome_days)
    last = pd.Timestamp(ledger.observed_until - outcome)
    frequency = "ME" if config.sample.grid == "month" else "W"
    dates = [day.date() for day in pd.date_range(first, last, freq=frequency)]
    train, test = split_dates(dates, config)
    if not train or not test:
        needed_days = (
            config.sample.min_history_days
            + config.default.outcome_days
            + gap_days(config)
            + MONTH_OF_DAYS
        )
        raise AsOfError(
            f"the ledger is too short: it ends on {ledger.observed_until}",
            where="as-of grid",
            expected=f"at least about {needed_days} days of ledger",
            do="set a shorter default.horizon_days or sample.min_history_days",
        )
    return train + test


def gap_days(config: TrainingConfig) -> int:
    """Return the days between the last training date and the first test date.

    By default it is the horizon: no label windows overlap.
    """
    if config.sample.gap_days is None:
        return config.default.horizon_days
    return config.sample.gap_days


def split_dates(
    dates: list[date], config: TrainingConfig
) -> tuple[list[date], list[date]]:
    """Return the training dates and the test dates, `gap_days` apart.

    Examples
    --------
    >>> days = [date(2024, month, 1) for month in range(1, 7)]
    >>> sample = {"test_dates": 2, "gap_days": 60}
    >>> config = TrainingConfig.model_validate({"sample": sample})
    >>> train, test = split_dates(days, config)
    >>> [day.month for day in train], [day.month for day in test]
    ([1, 2, 3], [5, 6])
    """
    test = dates[-config.sample.test_dates :]
    if not test:
        return [], []
    last_train = test[0] - timedelta(days=gap_days(config))
    train = [day for day in dates if day <= last_train]
    return train, test


def build_sample(
    ledger: Ledger,
    config: TrainingConfig,
    progress: Progress = iter,
    model: PdModel | None = None,
) -> Split:
    """Build features and labels on every as-of date and split them out of time.

    Parameters
    ----------
    ledger : Ledger
        A checked ledger.
    config : TrainingConfig
        The definition of default, the grid of dates, the gap.
    progress : callable
        Wraps the dates, so that a person can watch them pass.
    model : PdModel, optional
        A model that is to be looked at: the features are its own. Without it they are
        those of the configuration.

    Returns
    -------
    Split
        Training and test rows.

    Raises
    ------
    AsOfError
        If the ledger is too short.
    SchemaError
        If all test rows have the same outcome.
    """
    # Through the gate: a payment that came back does not count as paid.
    outcomes = known_outcomes(ledger, ledger.observed_until)
    events = default_events(outcomes, config.default)
    dates = as_of_dates(ledger, config)
    takes = features_taken(config, model)
    rows = [rows_on(ledger, events, as_of, config, takes) for as_of in progress(dates)]
    every_row = Sample(pd.concat(rows), config.sample.weigh)
    sample = _with_own(every_row, ledger, config)
    train, test = split_dates(dates, config)
    split = Split(sample.on(train), sample.on(test))
    if len(set(split.test.label)) < 2:
        raise SchemaError(
            f"all {len(split.test.rows)} test rows have the same outcome",
            where="test sample",
            expected="some with a default and some without",
            do="set a higher sample.test_dates, or another definition of default",
        )
    return split


class FeaturesTaken(NamedTuple):
    """The features that a model takes, and what is material to them."""

    names: tuple[str, ...]
    material: MaterialAmount | None


def features_taken(config: TrainingConfig, model: PdModel | None) -> FeaturesTaken:
    """Return what a model takes, or what one of a configuration will take."""
    if model is not None:
        # Features of one's own stand behind them, computed by the configured file.
        names = [name for name in model.features if name in NAMES]
        return FeaturesTaken(tuple(names), model.material)
    return FeaturesTaken(EDITIONS[config.catalogue].names, material_of(config))


def _with_own(
    sample: Sample,
    ledger: Ledger,
    config: TrainingConfig,
) -> Sample:
    """Return a sample with the configured features of one's own, if there are any."""
    if config.features.file is None:
        return sample
    own = read_own_features(config.features.file)
    rows = with_own_columns(own, ledger, sample.rows)
    return replace(sample, rows=rows, own=own)


def rows_on(
    ledger: Ledger,
    events: pd.DataFrame,
    as_of: date,
    config: TrainingConfig,
    takes: FeaturesTaken,
) -> pd.DataFrame:
    """Return the features and labels of the customers that are decided about.

    Parameters
    ----------
    ledger : Ledger
        A checked ledger.
    events : DataFrame
        From `default_events`, as known on the day whose knowledge counts.
    as_of : date
        The date of the rows.
    config : TrainingConfig
        The definition of default, and which customers are decided about.
    takes : FeaturesTaken
        Which features, and what is material to them.

    Returns
    -------
    DataFrame
        As in `Sample.rows`.
    """
    known = known_on(ledger, as_of)
    features = build_features(known, takes.material)[list(takes.names)]
    has_open_item = features["open_count"] > 0
    idle_days = features["days_since_last_invoice"]
    is_recent = idle_days <= config.sample.max_idle_days
    features = features[has_open_item | is_recent]
    if config.sample.exclude_in_default:
        outcomes = known
        if ledger.unapplied_policy != OLDEST_FIRST:
            outcomes = known_outcomes(ledger, as_of)
        in_default = customers_in_default(outcomes, config.default)
        features = features.drop(index=sorted(in_default & set(features.index)))
    days = days_to_default(events, features.index, as_of, config.default)
    label = days.notna().astype(int)
    return features.assign(as_of=as_of, label=label, days_to_default=days)
