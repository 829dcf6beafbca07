"""Customers of the dates after training, as far as a day knows what became of them.

A model learns from dates whose outcome is fully known. Since then more has happened:
of later dates a part of the horizon has passed. Nothing here looks past the day.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import pandas as pd

from obligor.arrays import Ints
from obligor.data.ledger import Ledger
from obligor.training.samples.config import DefaultDefinition, TrainingConfig
from obligor.training.samples.labels import days_to_default, default_events
from obligor.training.samples.outcomes import known_outcomes
from obligor.training.samples.sample import (
    Sample,
    Split,
    features_taken,
    rows_on,
)

MOST_DATES = 4  # later dates share most of what they have seen
FEWEST_DAYS = 7
PARTS = 12  # a date counts once a twelfth of its horizon has passed


@dataclass(frozen=True)
class WatchedSample:
    """Rows with the defaults that were known on a day.

    Attributes
    ----------
    sample : Sample
        The rows; `days_to_default` is NaN if no default was known.
    days : ndarray of int, shape (n,)
        How many days of each row's horizon had passed and were known, 0 or more.
    """

    sample: Sample
    days: Ints


@dataclass(frozen=True)
class Watch:
    """What a day knows of the training rows and of later dates.

    Attributes
    ----------
    as_of : date
        The day: the first date of the test rows.
    history : WatchedSample
        The training rows, in their order.
    latest : WatchedSample
        Rows of later dates, before the day.
    """

    as_of: date
    history: WatchedSample
    latest: WatchedSample


def watch(ledger: Ledger, config: TrainingConfig, split: Split) -> Watch | None:
    """Return what the first test date knows of earlier dates.

    Parameters
    ----------
    ledger : Ledger
        A checked ledger. What it learned after the first test date is not used.
    config : TrainingConfig
        The definition of default and the grid of dates.
    split : Split
        Training and test rows.

    Returns
    -------
    Watch or None
        None if no date lies between the training and the test dates that has been
        watched for long enough.
    """
    as_of: date = min(split.test.rows["as_of"])
    last_learnt: date = max(split.train.rows["as_of"])
    dates = _latest_dates(last_learnt, as_of, config)
    if not dates:
        return None
    outcomes = known_outcomes(ledger, as_of)
    events = default_events(outcomes, config.default)
    takes = features_taken(config, None)
    rows = [rows_on(ledger, events, day, config, takes) for day in dates]
    latest = pd.concat(rows)
    return Watch(
        as_of=as_of,
        history=_as_known(split.train.rows, events, as_of, config.default),
        latest=_as_known(latest, events, as_of, config.default),
    )


def _latest_dates(last_learnt: date, as_of: date, config: TrainingConfig) -> list[date]:
    """Return at most `MOST_DATES` dates of the grid, evenly spread."""
    fewest = max(config.default.horizon_days // PARTS, FEWEST_DAYS)
    first = last_learnt + timedelta(days=1)
    last = as_of - timedelta(days=fewest + unseen_days(config.default))
    frequency = "ME" if config.sample.grid == "month" else "W"
    dates = [day.date() for day in pd.date_range(first, last, freq=frequency)]
    if len(dates) <= MOST_DATES:
        return dates
    places = np.linspace(0, len(dates) - 1, MOST_DATES).round().astype(int)
    return [dates[index] for index in places.tolist()]


def unseen_days(definition: DefaultDefinition) -> int:
    """Return how long it takes until a day of the horizon shows its defaults.

    An item that is due on a day of the horizon is seen to be late `dpd_days` later.
    """
    return definition.dpd_days if definition.anchor == "due" else 0


def _as_known(
    rows: pd.DataFrame,
    events: pd.DataFrame,
    as_of: date,
    definition: DefaultDefinition,
) -> WatchedSample:
    """Return rows with the defaults among the events, up to what the day has seen."""
    last_seen = as_of - timedelta(days=unseen_days(definition))
    parts = []
    watched = list[int]()
    for day in _in_order(rows["as_of"].tolist()):
        of_day = rows[rows["as_of"] == day]
        n_days = min(max((last_seen - day).days, 0), definition.horizon_days)
        days = days_to_default(events, of_day.index, day, definition)
        seen = days.where(days <= n_days).to_numpy()
        label = (~np.isnan(seen)).astype(int)
        parts.append(of_day.assign(days_to_default=seen, label=label))
        watched += [n_days] * len(of_day)
    return WatchedSample(Sample(pd.concat(parts)), np.array(watched, dtype=np.int64))


def _in_order(days: Sequence[date]) -> list[date]:
    return list(dict.fromkeys(days))
