"""Whether a calibration slope is 1: an interval and a p-value that need no draws.

A bootstrap of few samples decides by luck: with 200 of them the verdict on one model
changed in a quarter of its repetitions. The likelihood has no seed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy import optimize, stats

from obligor.arrays import Floats, Ints
from obligor.metrics.statistics import weighted_logistic
from obligor.model.calibration import sigmoid

MOST_STEPS = 50
ACCURACY = 1e-10  # of an intercept, in log-odds
MOST_DOUBLINGS = 12  # of a standard error, until an end of the interval is bracketed


class SlopeTest(NamedTuple):
    """A calibration slope with what the data say about it.

    Attributes
    ----------
    slope : float
        1 if the log-odds of the PD are right up to a constant.
    low, high : float
        Ends of its interval, 95% unless stated otherwise.
    p_value : float
        Of a slope of 1.
    """

    slope: float
    low: float
    high: float
    p_value: float

    @property
    def includes_one(self) -> bool:
        """Whether 1 lies in the interval."""
        return self.low <= 1 <= self.high

    def __str__(self) -> str:
        interval = f"[{self.low:.4f}, {self.high:.4f}]"
        return f"{self.slope:.4f} {interval}, p = {self.p_value:.3g}"


class _Line(NamedTuple):
    """Rows of a calibration line, and how often each counts."""

    log_odds: Floats
    label: Ints
    weight: Floats


class _Spread(NamedTuple):
    """Variances of a slope: rows taken as independent, and whole customers."""

    of_rows: float
    of_customers: float


def slope_test(
    pd_: Floats,
    label: Ints,
    groups: Ints,
    weight: Floats | None = None,
    confidence: float = 0.95,
) -> SlopeTest | None:
    """Return the calibration slope, its interval and the p-value of a slope of 1.

    The interval, 95% by default, is that of the profile likelihood: all slopes whose
    best fit is not worse than chance allows. Several rows of a customer are not
    independent, so the statistic is divided by how much larger the variance over
    customers is than that over rows (Chandler and Bate 2007).

    Parameters
    ----------
    pd_ : ndarray of float, shape (n,)
        PDs in (0, 1).
    label : ndarray of int, shape (n,)
        1 for a default, else 0.
    groups : ndarray of int, shape (n,)
        The customer of each row.
    weight : ndarray of float, shape (n,), optional
        How often each row counts; 1 by default.
    confidence : float
        Of the interval, in (0, 1).

    Returns
    -------
    SlopeTest or None
        None if all rows have the same outcome. A slope of 0 with a p-value of 0 if
        all PDs are the same.

    Examples
    --------
    >>> pd_ = np.repeat([0.1, 0.3], 1000)
    >>> label = np.repeat([1, 0, 1, 0], [100, 900, 300, 700])
    >>> print(slope_test(pd_, label, np.arange(2000)))
    1.0000 [0.8196, 1.1858], p = 1
    """
    if len(np.unique(label)) < 2:
        return None
    if np.ptp(pd_) == 0:
        return SlopeTest(0.0, 0.0, 0.0, 0.0)
    weights = np.ones(len(label)) if weight is None else weight
    line = _Line(np.log(pd_ / (1 - pd_)), label, weights)
    beta = weighted_logistic(line.log_odds[:, None], label, weights)
    spread = _spread(line, beta, groups)
    slope = float(beta[0])
    best = _log_likelihood(line, slope, float(beta[1]))
    scale = spread.of_rows / spread.of_customers

    def statistic(other: float) -> float:
        """How much worse a slope fits: chi-square with one degree of freedom."""
        intercept = _best_intercept(line, other, float(beta[1]))
        loss = best - _log_likelihood(line, other, intercept)
        return 2 * scale * max(loss, 0.0)

    limit = float(stats.chi2.ppf(confidence, 1))

    def excess(other: float) -> float:
        return statistic(other) - limit

    error = float(np.sqrt(spread.of_customers))
    return SlopeTest(
        slope=slope,
        low=_end(excess, slope, -error),
        high=_end(excess, slope, error),
        p_value=float(stats.chi2.sf(statistic(1.0), 1)),
    )


def _spread(line: _Line, beta: Floats, groups: Ints) -> _Spread:
    """Return the model's variance of the slope and its sandwich over customers."""
    design = np.column_stack([line.log_odds, np.ones(len(line.label))])
    fitted = sigmoid(design @ beta)
    curvature = line.weight * fitted * (1 - fitted)
    information = (design * curvature[:, None]).T @ design
    inverse = np.linalg.inv(information)
    residual = line.weight * (line.label - fitted)
    scores = design * residual[:, None]
    _, group_index = np.unique(groups, return_inverse=True)
    columns = [np.bincount(group_index, column) for column in scores.T]
    by_group = np.column_stack(columns)
    n_groups = len(by_group)
    meat = by_group.T @ by_group * n_groups / max(n_groups - 1, 1)
    sandwich = inverse @ meat @ inverse
    return _Spread(float(inverse[0, 0]), float(sandwich[0, 0]))


def _log_likelihood(line: _Line, slope: float, intercept: float) -> float:
    margin = slope * line.log_odds + intercept
    gains = line.label * margin - np.logaddexp(0, margin)
    return float((line.weight * gains).sum())


def _best_intercept(line: _Line, slope: float, start: float) -> float:
    """Return the intercept that fits best beside a fixed slope, by Newton's method."""
    offset = slope * line.log_odds
    intercept = start
    for _ in range(MOST_STEPS):
        fitted = sigmoid(offset + intercept)
        gradient = (line.weight * (line.label - fitted)).sum()
        curvature = (line.weight * fitted * (1 - fitted)).sum()
        # A step of more than 1 would overshoot where the curve is flat.
        step = float(np.clip(gradient / max(curvature, ACCURACY), -1, 1))
        intercept += step
        if abs(step) < ACCURACY:
            break
    return intercept


def _end(excess: Callable[[float], float], slope: float, error: float) -> float:
    """Return the slope on one side beyond which the excess is above 0."""
    distance = error
    for _ in range(MOST_DOUBLINGS):
        distance *= 2
        if excess(slope + distance) > 0:
            return float(optimize.brentq(excess, slope, slope + distance, xtol=1e-6))
    return slope + distance  # the data set no end: the labels are separated
