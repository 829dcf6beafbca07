"""The level of the PD since training, from decisions whose horizon has passed in part.

A default takes a year to be counted among matured decisions; it is seen long before.
"""

from __future__ import annotations

from datetime import timedelta
from math import exp
from typing import NamedTuple

import numpy as np
import pandas as pd

from obligor.arrays import Ints
from obligor.data.ledger import Ledger
from obligor.model.term_structure import STATE
from obligor.training.candidates.level import (
    USUAL_MOVE,
    Outcomes,
    PartlyWatched,
    estimate_shift,
    fit_timing,
)
from obligor.training.samples.config import DefaultDefinition
from obligor.training.samples.labels import days_to_default, default_events
from obligor.training.samples.outcomes import known_outcomes
from obligor.training.samples.watched import unseen_days
from obligor.training.validation.subject import DAYS_TO_DEFAULT

FEWEST = 10  # defaults, seen or expected so far
Z_95 = 1.96


class LevelSince(NamedTuple):
    """How the odds of a default compare with those of the PDs.

    Attributes
    ----------
    factor : float
        Odds of the defaults seen over those expected.
    low, high : float
        Ends of its 95% interval.
    defaults : int
        Defaults seen so far.
    expected : float
        Defaults that the PDs expected so far.
    """

    factor: float
    low: float
    high: float
    defaults: int
    expected: float

    def __str__(self) -> str:
        return (
            f"{self.factor:.3f} [{self.low:.3f}, {self.high:.3f}], {self.defaults:,} "
            f"defaults so far, {self.expected:,.1f} expected"
        )


def level_since(
    decisions: pd.DataFrame,
    reference: pd.DataFrame,
    ledger: Ledger,
    definition: DefaultDefinition,
) -> LevelSince | str:
    """Return the level of the PD over decisions that are watched in part or in full.

    Parameters
    ----------
    decisions : DataFrame
        A row per recorded decision: ``customer_id, as_of, pd_12m`` and the features.
    reference : DataFrame
        The model's test rows with the features and the days to each default, which
        tell when defaults come.
    ledger : Ledger
        With the outcomes known by now.
    definition : DefaultDefinition
        What counts as a default, and within how many days.

    Returns
    -------
    LevelSince or str
        A sentence that says why the level cannot be estimated.
    """
    if DAYS_TO_DEFAULT not in reference or STATE not in reference:
        return (
            "The level cannot be followed from decisions that are not matured yet: the "
            "model's test rows do not say when defaults come (they were stored by an "
            "earlier version)"
        )
    horizon = definition.horizon_days
    watched = _last_of_month(decisions)
    days_watched = _days_watched(watched, ledger, definition)
    watched = watched[days_watched > 0].reset_index(drop=True)
    days_watched = days_watched[days_watched > 0]
    outcomes = _outcomes(watched, days_watched, ledger, definition)
    past = Outcomes(
        reference[DAYS_TO_DEFAULT].to_numpy(dtype=np.float64),
        np.full(len(reference), horizon),
        reference[STATE].to_numpy(dtype=np.float64),
    )
    pd_12m = watched["pd_12m"].to_numpy(dtype=np.float64)
    rows = PartlyWatched(
        pd=1 - (1 - pd_12m) ** (horizon / 365),
        is_default=~np.isnan(outcomes.days),
        share=fit_timing(past, horizon).share(outcomes),
        groups=pd.factorize(watched["customer_id"])[0].astype(np.int64),
    )
    return _estimate(rows)


def _estimate(rows: PartlyWatched) -> LevelSince | str:
    n_defaults = int(rows.is_default.sum())
    expected = float((rows.pd * rows.share).sum())
    if max(n_defaults, expected) < FEWEST:
        return (
            f"The level cannot be followed yet: {n_defaults} defaults are seen so far "
            f"and {expected:.1f} were expected, of which {FEWEST} are needed"
        )
    shift, error = estimate_shift(rows, USUAL_MOVE)
    margin = Z_95 * error
    return LevelSince(
        factor=exp(shift),
        low=exp(shift - margin),
        high=exp(shift + margin),
        defaults=n_defaults,
        expected=expected,
    )


def _last_of_month(decisions: pd.DataFrame) -> pd.DataFrame:
    """Return the last decision of each customer in each month."""
    as_of = pd.to_datetime(decisions["as_of"])
    dated = decisions.assign(as_of=as_of, month=as_of.dt.strftime("%Y-%m"))
    dated = dated.sort_values("as_of", kind="stable")
    dated = dated.drop_duplicates(["customer_id", "month"], keep="last")
    return dated.reset_index(drop=True)


def _days_watched(
    decisions: pd.DataFrame, ledger: Ledger, definition: DefaultDefinition
) -> Ints:
    unseen = timedelta(days=unseen_days(definition))
    last_seen = pd.Timestamp(ledger.observed_until - unseen)
    days = (last_seen - decisions["as_of"]).dt.days.to_numpy()
    clipped: Ints = np.clip(days, 0, definition.horizon_days).astype(np.int64)
    return clipped


def _outcomes(
    decisions: pd.DataFrame,
    days_watched: Ints,
    ledger: Ledger,
    definition: DefaultDefinition,
) -> Outcomes:
    events = default_events(
        known_outcomes(ledger, ledger.observed_until),
        definition,
    )
    days = np.full(len(decisions), np.nan)
    for as_of, row_indices in decisions.groupby("as_of").indices.items():
        customers = pd.Index(decisions["customer_id"].iloc[row_indices])
        to_default = days_to_default(
            events,
            customers,
            pd.Timestamp(str(as_of)).date(),
            definition,
        )
        days[row_indices] = to_default.to_numpy()
    seen = np.where(days <= days_watched, days, np.nan)
    state = decisions[STATE].to_numpy(dtype=np.float64)
    return Outcomes(seen, days_watched, state)
