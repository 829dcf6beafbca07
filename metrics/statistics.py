"""Bootstrap samples, intervals, and weighted logistic regression."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from obligor.arrays import Floats, Ints
from obligor.model.calibration import sigmoid

PENALTY = 1e-6  # keeps coefficients finite if the columns separate the labels
MOST_STEPS = 60


@dataclass(frozen=True)
class Interval:
    """A figure with its 95% bootstrap interval.

    Attributes
    ----------
    value : float
        The figure on the sample itself.
    low, high : float
        2.5% and 97.5% percentiles over resampled customers.
    """

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        if not np.isfinite(self.value):
            return "cannot be estimated"
        if not np.isfinite([self.low, self.high]).all():
            return f"{self.value:.4f}, no interval"
        return f"{self.value:.4f} [{self.low:.4f}, {self.high:.4f}]"


@dataclass(frozen=True)
class Resampling:
    """Bootstrap samples of rows; whole customers are drawn, with all their dates.

    Iterating yields, per sample, how often each row counts in it.

    Attributes
    ----------
    customers : ndarray of int, shape (n,)
        The customer of each row, numbered from 0.
    rounds : int
        Number of samples, 1 or more.
    seed : int
        Seed of the draws: the same customers are drawn on every iteration.
    weight : ndarray of float, shape (n,), optional
        How often each row counts before anything is drawn; 1 by default.

    Examples
    --------
    >>> for weight in Resampling(np.array([0, 0, 1]), rounds=2, seed=5):
    ...     print(weight.tolist())
    [0.0, 0.0, 2.0]
    [1.0, 1.0, 1.0]
    """

    customers: Ints
    rounds: int
    seed: int
    weight: Floats | None = None

    @property
    def row_weight(self) -> Floats:
        """How often each row counts before anything is drawn, shape (n,)."""
        if self.weight is None:
            return np.ones(len(self.customers))
        return self.weight

    def __iter__(self) -> Iterator[Floats]:
        for drawn in self.blocks(1):
            yield drawn[0][self.customers] * self.row_weight

    def blocks(self, size: int) -> Iterator[Floats]:
        """Yield the same samples in blocks: how often each customer is drawn.

        Parameters
        ----------
        size : int
            Samples of a block, 1 or more.

        Yields
        ------
        ndarray of float, shape (samples, customers)
            At most `size` samples.
        """
        rng = np.random.default_rng(self.seed)
        n_customers = int(self.customers.max()) + 1
        for first in range(0, self.rounds, size):
            n_samples = min(size, self.rounds - first)
            block = np.empty((n_samples, n_customers))
            for times_drawn in block:
                drawn = rng.integers(0, n_customers, n_customers)
                times_drawn[:] = np.bincount(drawn, minlength=n_customers)
            yield block


def log_losses(pd_: Floats, label: Ints) -> Floats:
    """Return the log loss of each row: -ln of the probability of what happened.

    Examples
    --------
    >>> log_losses(np.array([0.5, 0.1]), np.array([1, 0])).round(4).tolist()
    [0.6931, 0.1054]
    """
    probability_of_outcome = np.where(label == 1, pd_, 1 - pd_)
    return -np.log(probability_of_outcome)


def effective_rows(weight: Floats) -> float:
    """Return the effective sample size: (sum w)^2 / sum w^2 (Kish 1965).

    Examples
    --------
    >>> effective_rows(np.array([1.0, 1.0, 2.0]))
    2.6666666666666665
    """
    return float(weight.sum() ** 2 / (weight**2).sum())


def quantiles(
    values: Floats,
    shares: Floats,
    weight: Floats | None = None,
) -> Floats:
    """Return quantiles of weighted values, linear between them.

    Those of whole weights are the quantiles of the values written out as often as
    their weights say.

    Parameters
    ----------
    values : ndarray of float, shape (n,)
        The values, without NaN.
    shares : ndarray of float, shape (k,)
        In [0, 1].
    weight : ndarray of float, shape (n,), optional
        How often each value counts, above 0; 1 by default.

    Examples
    --------
    >>> half = np.array([0.5])
    >>> quantiles(np.array([1.0, 2.0]), half, np.array([3.0, 1.0])).tolist()
    [1.0]
    >>> np.quantile([1.0, 1.0, 1.0, 2.0], half).tolist()
    [1.0]
    """
    if weight is None:
        return np.asarray(np.quantile(values, shares), dtype=np.float64)
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    ends = np.cumsum(weight[order])
    position = shares * max(float(ends[-1]) - 1, 0.0)
    before = np.floor(position)
    below = ordered[_row_at(before, ends)]
    above = ordered[_row_at(before + 1, ends)]
    share = position - before
    # As numpy does it, so that both agree to the last bit.
    from_below = below + (above - below) * share
    from_above = above - (above - below) * (1 - share)
    return np.where(share >= 0.5, from_above, from_below)


def lower_quantile(
    values: Floats,
    share: float,
    weight: Floats,
) -> float:
    """Return the quantile of weighted values that is one of them: the lower one.

    Parameters
    ----------
    values : ndarray of float, shape (n,)
        The values, without NaN.
    share : float
        In [0, 1].
    weight : ndarray of float, shape (n,)
        How often each value counts, above 0.

    Examples
    --------
    >>> lower_quantile(np.array([1.0, 2.0, 3.0]), 0.75, np.ones(3))
    2.0
    """
    order = np.argsort(values, kind="stable")
    ends = np.cumsum(weight[order])
    position = np.array([share * max(float(ends[-1]) - 1, 0.0)])
    return float(values[order][_row_at(np.floor(position), ends)][0])


def _row_at(position: Floats, ends: Floats) -> Ints:
    """Return the row at a position among rows that are written out."""
    rows = np.searchsorted(ends, position, side="right")
    return np.minimum(rows, len(ends) - 1).astype(np.int64)


def weighted_logistic(
    columns: Floats,
    label: Ints,
    weight: Floats,
) -> Floats:
    """Fit a logistic regression by Newton's method with halved steps.

    Parameters
    ----------
    columns : ndarray of float, shape (n, k)
        One or two columns.
    label : ndarray of int, shape (n,)
        0 or 1.
    weight : ndarray of float, shape (n,)
        How often each row counts.

    Returns
    -------
    ndarray of float, shape (k + 1,)
        Coefficients and, last, the intercept.

    Examples
    --------
    >>> column = np.array([[0.0], [0.0], [0.0], [0.0], [1.0], [1.0]])
    >>> label = np.array([0, 0, 0, 1, 0, 1])    # odds 1:3 at 0, 1:1 at 1
    >>> weighted_logistic(column, label, np.ones(6)).round(3).tolist()
    [1.099, -1.099]
    """
    n_rows, n_columns = columns.shape
    design = np.column_stack([columns, np.ones(n_rows)])
    rate = (weight * label).sum() / weight.sum()
    clipped_rate = float(np.clip(rate, 1e-9, 1 - 1e-9))
    base_log_odds = np.log(clipped_rate / (1 - clipped_rate))
    beta = np.append(np.zeros(n_columns), base_log_odds)
    loss = _logistic_loss(design, label, weight, beta)
    for _ in range(MOST_STEPS):
        step = _newton_step(design, label, weight, beta)
        next_loss = _logistic_loss(design, label, weight, beta + step)
        while next_loss > loss and np.abs(step).max() > 1e-9:
            step = step / 2
            next_loss = _logistic_loss(design, label, weight, beta + step)
        beta = beta + step
        gain = loss - next_loss
        loss = next_loss
        if gain < 1e-12 * abs(loss):
            break
    return beta


def _newton_step(
    design: Floats,
    label: Ints,
    weight: Floats,
    beta: Floats,
) -> Floats:
    fitted = sigmoid(design @ beta)
    residual = weight * (label - fitted)
    gradient = design.T @ residual - PENALTY * beta
    curvature = weight * fitted * (1 - fitted)
    weighted_design = design * curvature[:, None]
    ridge = PENALTY * np.eye(len(beta))
    hessian = weighted_design.T @ design + ridge
    step = np.linalg.solve(hessian, gradient)
    return np.asarray(step, dtype=np.float64)


def _logistic_loss(
    design: Floats,
    label: Ints,
    weight: Floats,
    beta: Floats,
) -> float:
    margin = design @ beta
    losses = np.logaddexp(0, margin) - label * margin
    log_loss = (weight * losses).sum()
    return float(log_loss + PENALTY / 2 * beta @ beta)
