"""Figures of many bootstrap samples at once.

A sample is a count of draws per customer, so figures that are sums over rows are one
product of matrices, and an AUC is a cumulative sum over rows that are sorted once.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from obligor.arrays import Floats, Ints
from obligor.metrics.statistics import Resampling, weighted_logistic
from obligor.model.calibration import sigmoid

CELLS = 2_000_000  # of a block of samples: 16 MB
# Newton steps on the rows of each sample. Few rows need several; with more than
# `ROWS_OF_STEPS` the first step alone misses the solution by less than 1e-4.
MOST_STEPS = 4
ROWS_OF_STEPS = 20_000
SMALLEST_DETERMINANT = 1e-12  # that of a sample with one outcome only is 0


def drawn_means(values: Floats, resampling: Resampling) -> Floats:
    """Return the weighted mean of a quantity in each bootstrap sample.

    Parameters
    ----------
    values : ndarray of float, shape (n,)
        One for each row.
    resampling : Resampling
        Bootstrap samples of these rows.

    Returns
    -------
    ndarray of float, shape (rounds,)

    Examples
    --------
    >>> resampling = Resampling(np.array([0, 0, 1]), rounds=2, seed=5)
    >>> drawn_means(np.array([0.0, 1.0, 5.0]), resampling).tolist()
    [5.0, 2.0]
    """
    weight = resampling.row_weight
    sums = np.bincount(resampling.customers, weight * values)
    counts = np.bincount(resampling.customers, weight)
    blocks = resampling.blocks(_block_size(len(sums)))
    means = [(drawn @ sums) / (drawn @ counts) for drawn in blocks]
    return np.concatenate(means)


def drawn_aucs(score: Floats, label: Ints, resampling: Resampling) -> Floats:
    """Return the AUC of a score in each bootstrap sample; ties count half.

    Parameters
    ----------
    score : ndarray of float, shape (n,)
        Rises with the risk.
    label : ndarray of int, shape (n,)
        1 for a default, else 0.
    resampling : Resampling
        Bootstrap samples of these rows.

    Returns
    -------
    ndarray of float, shape (rounds,)
        NaN for a sample that holds one outcome only.
    """
    order = np.argsort(score, kind="stable")
    is_first = np.append(True, np.diff(score[order]) > 0)
    starts = np.flatnonzero(is_first)
    weight = resampling.row_weight[order]
    bad = weight * label[order]
    good = weight - bad
    areas = []
    for drawn in _drawn_rows(resampling, order):
        bad_at = np.add.reduceat(drawn * bad, starts, axis=1)
        good_at = np.add.reduceat(drawn * good, starts, axis=1)
        good_below = np.cumsum(good_at, axis=1) - good_at
        n_beaten = (bad_at * (good_below + good_at / 2)).sum(axis=1)
        n_pairs = bad_at.sum(axis=1) * good_at.sum(axis=1)
        unknown = np.full(len(n_pairs), np.nan)
        areas.append(np.divide(n_beaten, n_pairs, out=unknown, where=n_pairs > 0))
    return np.concatenate(areas)


def drawn_slopes(pd_: Floats, label: Ints, resampling: Resampling) -> Floats:
    """Return the calibration slope in each bootstrap sample.

    Newton's method starts at the slope of all rows: one step, whose sums over each
    customer are the same for all samples, and further ones on the rows themselves.

    Parameters
    ----------
    pd_ : ndarray of float, shape (n,)
        PDs in (0, 1), of which two differ.
    label : ndarray of int, shape (n,)
        1 for a default, else 0; both must occur.
    resampling : Resampling
        Bootstrap samples of these rows.

    Returns
    -------
    ndarray of float, shape (rounds,)
    """
    log_odds = np.log(pd_ / (1 - pd_))
    weight = resampling.row_weight
    beta = weighted_logistic(log_odds[:, None], label, weight)
    n_steps = min(ROWS_OF_STEPS // len(label), MOST_STEPS)
    slopes = []
    sums_of_customers = _sums_by_customer(log_odds, label, beta, resampling)
    for drawn in resampling.blocks(_block_size(len(label))):
        betas = beta + _newton_steps(drawn @ sums_of_customers)
        for _ in range(n_steps):
            row_weights = drawn[:, resampling.customers] * weight
            betas += _newton_steps(_sums_of_rows(log_odds, label, betas, row_weights))
        slopes.append(betas[:, 0])
    return np.concatenate(slopes)


def _sums_by_customer(
    log_odds: Floats,
    label: Ints,
    beta: Floats,
    resampling: Resampling,
) -> Floats:
    """Return what a Newton step sums up, for each customer, shape (customers, 5)."""
    weight = resampling.row_weight
    fitted = sigmoid(log_odds * beta[0] + beta[1])
    residual = weight * (label - fitted)
    curvature = weight * fitted * (1 - fitted)
    terms = (
        residual * log_odds,
        residual,
        curvature * log_odds**2,
        curvature * log_odds,
        curvature,
    )
    sums = [np.bincount(resampling.customers, term) for term in terms]
    return np.column_stack(sums)


def _sums_of_rows(
    log_odds: Floats,
    label: Ints,
    betas: Floats,
    row_weights: Floats,
) -> Floats:
    """Return what a Newton step sums up, for each sample, shape (samples, 5)."""
    fitted = sigmoid(np.outer(betas[:, 0], log_odds) + betas[:, 1:])
    residual = row_weights * (label - fitted)
    curvature = row_weights * fitted * (1 - fitted)
    sums = [
        residual @ log_odds,
        residual.sum(axis=1),
        curvature @ log_odds**2,
        curvature @ log_odds,
        curvature.sum(axis=1),
    ]
    return np.column_stack(sums)


def _newton_steps(sums: Floats) -> Floats:
    """Solve the two equations of each sample, shape (samples, 2)."""
    slope_gradient, intercept_gradient, aa, ab, bb = sums.T
    determinant = np.maximum(aa * bb - ab**2, SMALLEST_DETERMINANT)
    slope_step = (bb * slope_gradient - ab * intercept_gradient) / determinant
    intercept_step = (aa * intercept_gradient - ab * slope_gradient) / determinant
    return np.column_stack([slope_step, intercept_step])


def _block_size(n_columns: int) -> int:
    return max(CELLS // max(n_columns, 1), 1)


def _drawn_rows(resampling: Resampling, order: Ints) -> Iterator[Floats]:
    """Yield how often each row is drawn, in blocks of samples; rows in an order."""
    customers = resampling.customers[order]
    for drawn in resampling.blocks(_block_size(len(order))):
        yield drawn[:, customers]
