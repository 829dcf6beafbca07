"""The level of the PD: an intercept from the latest dates, of which a part is known.

A model ranks by what it learnt from dates whose horizon has passed; the level may have
moved since. The defaults seen so far on later dates say by how much, as far as they
go: a censored likelihood, with a prior that is as wide as the level moved before.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date
from typing import NamedTuple, TypedDict

import numpy as np
import pandas as pd

from obligor.arrays import Bools, Floats, Ints
from obligor.model.calibration import sigmoid
from obligor.model.pd_model import PdModel
from obligor.model.term_structure import STATE, STATE_EDGES, state_buckets
from obligor.training.samples.watched import Watch, WatchedSample

# Standard deviation of the level from horizon to horizon, in log-odds. Mean PDs of
# ledgers that were tested out of time were 1.1 to 2.3 times the rates.
USUAL_MOVE = 0.5
BLOCKS_OF_PRIOR = 4  # how many horizons of history `USUAL_MOVE` is worth
POOLED = 20  # defaults of all states that a state's own timing is mixed with
Z_95 = 1.96
MOST_STEPS = 50
ACCURACY = 1e-9
LARGEST_STEP = 1.0
WEAK = 1e-3  # curvature of the prior if only the data are to speak


class CohortFields(TypedDict):
    """The defaults of one date, seen and expected."""

    date: str
    rows: int
    days: int
    defaults: int
    expected: float
    expected_after: float


class LevelFields(TypedDict):
    """A level as it stands in a bundle's facts."""

    as_of: str
    shift: float
    low: float
    high: float
    by_data_alone: float
    prior: float
    cohorts: list[CohortFields]


@dataclass(frozen=True)
class Level:
    """How far the log-odds of every PD are moved.

    Attributes
    ----------
    as_of : str
        The day whose knowledge was used, in ISO 8601.
    shift : float
        Added to the log-odds.
    low, high : float
        Ends of its 95% interval.
    by_data_alone : float
        What the shift would be without the prior.
    prior : float
        Standard deviation of the prior, whose mean is 0.
    cohorts : tuple of CohortFields
        Defaults seen and expected, by date.
    """

    as_of: str
    shift: float
    low: float
    high: float
    by_data_alone: float
    prior: float
    cohorts: tuple[CohortFields, ...]

    def recorded(self) -> LevelFields:
        """Return plain values for a bundle's facts."""
        return {
            "as_of": self.as_of,
            "shift": self.shift,
            "low": self.low,
            "high": self.high,
            "by_data_alone": self.by_data_alone,
            "prior": self.prior,
            "cohorts": list(self.cohorts),
        }


class PartlyWatched(NamedTuple):
    """Rows whose horizon has passed in part.

    Attributes
    ----------
    pd : ndarray of float, shape (n,)
        PDs over the horizon, in (0, 1).
    is_default : ndarray of bool, shape (n,)
        Whether a default was seen.
    share : ndarray of float, shape (n,)
        Share of the defaults within the horizon that come within the days watched.
    groups : ndarray of int, shape (n,)
        The customer of each row.
    """

    pd: Floats
    is_default: Bools
    share: Floats
    groups: Ints


class Estimate(NamedTuple):
    """A shift in log-odds with its standard error."""

    shift: float
    error: float


def fit_level(model: PdModel, watched: Watch, history_pd: Floats) -> Level:
    """Return the level of a model on the day of a watch.

    Parameters
    ----------
    model : PdModel
        Fitted and calibrated on the rows of `watched.history`.
    watched : Watch
        What the day knows of these rows, and of later dates.
    history_pd : ndarray of float, shape (n,)
        PDs of the history's rows, each from a fit that had not seen its customer.

    Returns
    -------
    Level
        With the interval that follows from both the data and the prior.
    """
    timing = fit_timing(_outcomes_of(watched.history), model.horizon_days)
    rows = watched.latest.sample.features.to_numpy()
    latest = _partly_watched(model.predict_pd(rows), watched.latest, timing)
    prior = prior_of(
        _partly_watched(history_pd, watched.history, timing),
        _blocks(watched.history, model.horizon_days),
    )
    alone = estimate_shift(latest, None)
    posterior = estimate_shift(latest, prior)
    margin = Z_95 * posterior.error
    return Level(
        as_of=watched.as_of.isoformat(),
        shift=posterior.shift,
        low=posterior.shift - margin,
        high=posterior.shift + margin,
        by_data_alone=alone.shift,
        prior=prior,
        cohorts=_cohorts(watched.latest, latest, posterior.shift),
    )


def at_level(model: PdModel, level: Level) -> PdModel:
    """Return a model with its level moved, its interval widened, and both recorded."""
    band = model.band
    if band is not None:
        margin = (level.high - level.low) / 2
        band = band.widened(model.calibration, margin).moved(level.shift)
    return replace(
        model,
        calibration=model.calibration.moved(level.shift),
        band=band,
        about={**model.about, "level": level.recorded()},
    )


def _log_odds(probability: Floats) -> Floats:
    odds: Floats = probability / (1 - probability)
    return np.log(odds)


class Outcomes(NamedTuple):
    """What is known of when defaults came.

    Attributes
    ----------
    days : ndarray of float, shape (n,)
        Days from the as-of date to the default; NaN if none was seen.
    watched : ndarray of int, shape (n,)
        Days of the horizon that were watched.
    state : ndarray of float, shape (n,)
        Days past due on the as-of date.
    """

    days: Floats
    watched: Ints
    state: Floats


class Timing(NamedTuple):
    """When defaults come, by state: shares within each day of the horizon.

    Attributes
    ----------
    shares : ndarray of float, shape (states, horizon + 1)
        Of the defaults within the horizon, by the day; 0 on day 0 and 1 at the end.
    """

    shares: Floats

    def share(self, outcomes: Outcomes) -> Floats:
        """Return the share of its defaults that each row has shown by now."""
        buckets = state_buckets(outcomes.state, STATE_EDGES)
        return np.asarray(self.shares[buckets, outcomes.watched])


def fit_timing(history: Outcomes, horizon_days: int) -> Timing:
    """Return when defaults came in the past, by days past due on the as-of date.

    Rows whose horizon has not passed count for as long as they were watched (Kaplan
    and Meier 1958). The shares of a state are mixed with those of all states.

    Parameters
    ----------
    history : Outcomes
        Of past rows.
    horizon_days : int
        Length of the horizon.
    """
    buckets = state_buckets(history.state, STATE_EDGES)
    pooled = _shares_by_day(history, horizon_days)
    shares = []
    for bucket in range(len(STATE_EDGES) + 1):
        is_inside = buckets == bucket
        of_state = Outcomes(*(column[is_inside] for column in history))
        n_defaults = int((~np.isnan(of_state.days)).sum())
        weight = n_defaults / (n_defaults + POOLED)
        own = _shares_by_day(of_state, horizon_days) if n_defaults else pooled
        shares.append(weight * own + (1 - weight) * pooled)
    return Timing(np.array(shares))


def _shares_by_day(history: Outcomes, horizon_days: int) -> Floats:
    """Return the shares of defaults within each day, shape (horizon + 1,)."""
    is_default = ~np.isnan(history.days)
    if not is_default.any():
        return np.linspace(0, 1, horizon_days + 1)
    left_on = np.where(is_default, history.days, history.watched).astype(np.int64)
    default_on = left_on[is_default]
    n_days = horizon_days + 1
    defaults = np.bincount(default_on, minlength=n_days)
    left = np.bincount(left_on, minlength=n_days)
    at_risk = len(left_on) - np.append(0, np.cumsum(left)[:-1])
    hazard = defaults / np.maximum(at_risk, 1)
    # Of days that nobody was watched for, the hazard is the mean of the others.
    hazard[at_risk <= 0] = hazard[at_risk > 0].mean()
    cumulative = 1 - np.cumprod(1 - hazard)
    return np.asarray(cumulative / cumulative[-1])


def _outcomes_of(watched: WatchedSample) -> Outcomes:
    sample = watched.sample
    return Outcomes(
        sample.days_to_default,
        watched.days,
        sample.features[STATE].to_numpy(),
    )


def _partly_watched(
    pd_: Floats, watched: WatchedSample, timing: Timing
) -> PartlyWatched:
    return PartlyWatched(
        pd=pd_,
        is_default=watched.sample.label == 1,
        share=timing.share(_outcomes_of(watched)),
        groups=watched.sample.customers,
    )


def estimate_shift(rows: PartlyWatched, prior: float | None) -> Estimate:
    """Return the shift in log-odds that explains the defaults seen so far.

    The likelihood of a row is ``q`` if a default was seen and ``1 - q * share`` if
    none was, with ``q`` the shifted PD. Rows of a customer share an outcome, so the
    likelihood is divided by how much more the sums over customers vary than those over
    rows (Chandler and Bate 2007).

    Parameters
    ----------
    rows : PartlyWatched
        What is known so far.
    prior : float, optional
        Standard deviation of a normal prior around 0; without it only the data speak.

    Returns
    -------
    Estimate
        The mode, and its standard error by the curvature there.

    Examples
    --------
    >>> pd_ = np.full(1000, 0.2)
    >>> is_default = np.arange(1000) < 50
    >>> half_watched = np.full(1000, 0.5)    # 100 defaults were expected by now
    >>> rows = PartlyWatched(pd_, is_default, half_watched, np.arange(1000))
    >>> estimate = estimate_shift(rows, None)
    >>> round(float(sigmoid(np.log(0.25) + estimate.shift)), 3)    # 50 of 1,000 by half
    0.1
    """
    alone = _mode(rows, WEAK, 1.0)
    gradient, curvature = _derivatives(rows, alone)
    _, group_index = np.unique(rows.groups, return_inverse=True)
    spread = (np.bincount(group_index, gradient) ** 2).sum()
    scale = min(curvature.sum() / max(spread, ACCURACY), 1.0)
    precision = WEAK if prior is None else 1 / prior**2
    shift = _mode(rows, precision, scale)
    _, curvature = _derivatives(rows, shift)
    information = scale * max(curvature.sum(), 0.0) + precision
    return Estimate(shift, float(1 / np.sqrt(information)))


def _mode(rows: PartlyWatched, precision: float, scale: float) -> float:
    """Return the most likely shift by Newton's method."""
    shift = 0.0
    for _ in range(MOST_STEPS):
        gradient, curvature = _derivatives(rows, shift)
        slope = scale * gradient.sum() - precision * shift
        bend = scale * max(curvature.sum(), 0.0) + precision
        step = float(np.clip(slope / bend, -LARGEST_STEP, LARGEST_STEP))
        shift += step
        if abs(step) < ACCURACY:
            break
    return shift


def _derivatives(rows: PartlyWatched, shift: float) -> tuple[Floats, Floats]:
    """Return the first and minus the second derivative of each row's likelihood."""
    q = sigmoid(_log_odds(rows.pd) + shift)
    moved = q * (1 - q)
    left = 1 - rows.share * q
    gradient = np.where(rows.is_default, 1 - q, -rows.share * moved / left)
    bend = moved * (1 - 2 * q) * left + rows.share * moved**2
    curvature = np.where(rows.is_default, moved, rows.share * bend / left**2)
    return gradient, curvature


def prior_of(history: PartlyWatched, blocks: Ints) -> float:
    """Return how far the level usually moves from one horizon to the next.

    It is the spread of the shifts of past blocks beyond their own errors, mixed with
    `USUAL_MOVE`, which counts as `BLOCKS_OF_PRIOR` blocks: the longer the history, the
    more it decides.

    Parameters
    ----------
    history : PartlyWatched
        Past rows.
    blocks : ndarray of int, shape (n,)
        The block of each row, a horizon apart; -1 for a row of none.
    """
    total = BLOCKS_OF_PRIOR * USUAL_MOVE**2
    n_blocks = int(blocks.max()) + 1
    for block in range(n_blocks):
        is_inside = blocks == block
        rows = PartlyWatched(*(column[is_inside] for column in history))
        shift, error = estimate_shift(rows, None)
        total += max(shift**2 - error**2, 0.0)
    return float(np.sqrt(total / (BLOCKS_OF_PRIOR + n_blocks)))


def _blocks(history: WatchedSample, horizon_days: int) -> Ints:
    """Return the block of each row: single dates whose horizons do not overlap."""
    dates = history.sample.rows["as_of"]
    block_of_date = dict[date, int]()
    next_date: date | None = None
    for day in sorted(set(dates), reverse=True):
        if next_date is None or (next_date - day).days >= horizon_days:
            block_of_date[day] = len(block_of_date)
            next_date = day
    return np.array([block_of_date.get(day, -1) for day in dates], dtype=np.int64)


def _cohorts(
    watched: WatchedSample,
    rows: PartlyWatched,
    shift: float,
) -> tuple[CohortFields, ...]:
    after = sigmoid(_log_odds(rows.pd) + shift)
    frame = pd.DataFrame(
        {
            "date": [day.isoformat() for day in watched.sample.rows["as_of"]],
            "days": watched.days,
            "defaults": rows.is_default,
            "expected": rows.pd * rows.share,
            "after": after * rows.share,
        }
    )
    cohorts = []
    for day, cohort in frame.groupby("date"):
        fields: CohortFields = {
            "date": str(day),
            "rows": len(cohort),
            "days": int(cohort["days"].iloc[0]),
            "defaults": int(cohort["defaults"].sum()),
            "expected": float(cohort["expected"].sum()),
            "expected_after": float(cohort["after"].sum()),
        }
        cohorts.append(fields)
    return tuple(cohorts)
