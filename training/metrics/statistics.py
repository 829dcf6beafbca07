"""Bootstrap resamples, intervals, and logistic regression by weight."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from obligor.arrays import Floats, Ints
from obligor.model.calibration import PENALTY, sigmoid


def weighted_logistic(columns: Floats, label: Ints, weight: Floats) -> Floats:
    """Return coefficients and, last, the intercept of a logistic regression, by Newton's method with halved steps.

    Parameters
    ----------
    columns : ndarray, shape (n, k)
        One or two columns; the penalty of 1e-6 only keeps what has no end finite.
    weight : ndarray, shape (n,)
        How often each row counts.

    Examples
    --------
    >>> column, label = np.array([[0.0], [0.0], [0.0], [0.0], [1.0], [1.0]]), np.array([0, 0, 0, 1, 0, 1])
    >>> weighted_logistic(column, label, np.ones(6)).round(3).tolist()     # odds 1:3 at 0, 1:1 at 1
    [1.099, -1.099]
    """
    whole = np.column_stack([columns, np.ones(len(columns))])
    rate = float(np.clip((weight * label).sum() / weight.sum(), 1e-9, 1 - 1e-9))
    beta = np.append(np.zeros(columns.shape[1]), np.log(rate / (1 - rate)))
    loss = _logistic_loss(whole, label, weight, beta)
    for _ in range(60):
        fitted = sigmoid(whole @ beta)
        gradient = whole.T @ (weight * (label - fitted)) - PENALTY * beta
        hessian = (
            whole * (weight * fitted * (1 - fitted))[:, None]
        ).T @ whole + PENALTY * np.eye(len(beta))
        step = np.linalg.solve(hessian, gradient)
        while (
            better := _logistic_loss(whole, label, weight, beta + step)
        ) > loss and np.abs(step).max() > 1e-9:
            step = step / 2
        beta, gain, loss = beta + step, loss - better, better
        if gain < 1e-12 * abs(loss):
            break
    return beta


def _logistic_loss(columns: Floats, label: Ints, weight: Floats, beta: Floats) -> float:
    margin = columns @ beta
    return float(
        (weight * (np.logaddexp(0, margin) - label * margin)).sum()
        + PENALTY / 2 * beta @ beta
    )


def log_losses(pd_: Floats, label: Ints) -> Floats:
    """Return the log loss of each row."""
    return -np.log(np.where(label == 1, pd_, 1 - pd_))


@dataclass(frozen=True)
class Interval:
    """A figure with its 95% bootstrap interval (percentiles, customers resampled)."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.4f} [{self.low:.4f}, {self.high:.4f}]"


def resamples(customers: Ints, rounds: int, seed: int) -> Iterator[Floats]:
    """Yield row weights of bootstrap samples: whole customers are drawn, with all their dates."""
    rng = np.random.default_rng(seed)
    n = int(customers.max()) + 1
    for _ in range(rounds):
        yield np.bincount(rng.integers(0, n, n), minlength=n)[customers].astype(float)
