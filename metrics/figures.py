"""How good a PD is: discrimination, calibration, stability, with 95% intervals."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from obligor.arrays import Floats, Ints
from obligor.metrics.draws import drawn_aucs, drawn_means
from obligor.metrics.statistics import (
    Interval,
    Resampling,
    quantiles,
    weighted_logistic,
)

SMOOTHING = 1e-4  # share of an empty bin; the only smoothing constant in the project
PSI_BINS = 10
ECE_BINS = 10
# A column of so many distinct values or fewer has a bin for each of them.
MOST_DISTINCT = 20
INTERVAL = (0.025, 0.975)

Measure = Callable[[Floats, Ints, Floats], dict[str, float]]


def auc(
    pd_: Floats,
    label: Ints,
    weight: Floats | None = None,
) -> float:
    """Return P(a random default has a higher PD than a random other), ties count half.

    Parameters
    ----------
    pd_ : ndarray of float, shape (n,)
        PDs, or any score that rises with the risk.
    label : ndarray of int, shape (n,)
        1 for a default, else 0.
    weight : ndarray of float, shape (n,), optional
        How often each row counts; 1 by default.

    Returns
    -------
    float
        In [0, 1]; NaN if only one outcome occurs.

    Examples
    --------
    >>> auc(np.array([0.1, 0.4, 0.35, 0.8]), np.array([0, 0, 1, 1]))
    0.75
    """
    bad, good = _weight_by_pd(pd_, label, weight)
    good_below = np.cumsum(good) - good
    n_pairs = bad.sum() * good.sum()
    if not n_pairs:
        return float("nan")
    # A default beats every other below it, and half of the others at its own PD.
    n_beaten = (bad * (good_below + good / 2)).sum()
    return float(n_beaten / n_pairs)


def ks(
    pd_: Floats,
    label: Ints,
    weight: Floats | None = None,
) -> float:
    """Return the largest distance between the PD distributions of defaults and others.

    Parameters
    ----------
    pd_ : ndarray of float, shape (n,)
        PDs, or any score that rises with the risk.
    label : ndarray of int, shape (n,)
        1 for a default, else 0.
    weight : ndarray of float, shape (n,), optional
        How often each row counts; 1 by default.

    Returns
    -------
    float
        In [0, 1]; NaN if only one outcome occurs.

    Examples
    --------
    >>> ks(np.array([0.1, 0.2, 0.8, 0.9]), np.array([0, 0, 1, 1]))
    1.0
    """
    bad, good = _weight_by_pd(pd_, label, weight)
    if not bad.sum() or not good.sum():
        return float("nan")
    bad_share = np.cumsum(bad) / bad.sum()
    good_share = np.cumsum(good) / good.sum()
    return float(np.abs(bad_share - good_share).max())


def _weight_by_pd(
    pd_: Floats,
    label: Ints,
    weight: Floats | None,
) -> tuple[Floats, Floats]:
    """Return the weight of defaults and of others at each distinct PD, lowest first."""
    weights = _or_ones(weight, len(label))
    _, pd_index = np.unique(pd_, return_inverse=True)
    bad = np.bincount(pd_index, weights * label)
    good = np.bincount(pd_index, weights * (1 - label))
    return bad.astype(np.float64), good.astype(np.float64)


def _or_ones(weight: Floats | None, n_rows: int) -> Floats:
    return np.ones(n_rows) if weight is None else weight


def calibration_line(
    pd_: Floats,
    label: Ints,
    weight: Floats | None = None,
) -> tuple[float, float]:
    """Fit P(default) = sigmoid(slope * logit(PD) + intercept) (Cox 1958).

    Parameters
    ----------
    pd_ : ndarray of float, shape (n,)
        PDs in (0, 1).
    label : ndarray of int, shape (n,)
        1 for a default, else 0.
    weight : ndarray of float, shape (n,), optional
        How often each row counts; 1 by default.

    Returns
    -------
    float, float
        Slope and intercept: 1 and 0 for a calibrated PD; a slope of 0 if all PDs are
        the same.

    Examples
    --------
    >>> pd_ = np.repeat([0.2, 0.5], 10)
    >>> label = np.repeat([1, 0, 1, 0], [2, 8, 5, 5])
    >>> [round(value, 3) + 0 for value in calibration_line(pd_, label)]
    [1.0, 0.0]
    """
    weights = _or_ones(weight, len(label))
    if np.ptp(pd_) == 0:
        default_rate = weights @ label / weights.sum()
        smoothed_rate = np.clip(default_rate, SMOOTHING, 1 - SMOOTHING)
        return 0.0, _logit(smoothed_rate)
    log_odds = np.log(pd_ / (1 - pd_))
    slope, intercept = weighted_logistic(log_odds[:, None], label, weights)
    return float(slope), float(intercept)


def ece(
    pd_: Floats,
    label: Ints,
    weight: Floats | None = None,
) -> float:
    """Return the expected calibration error over ten equally filled bins.

    It is the mean over the rows of ``|mean PD - default rate|`` of their bin. A PD that
    many rows share has a bin of its own, as has each of a few distinct PDs.

    Parameters
    ----------
    pd_ : ndarray of float, shape (n,)
        PDs in [0, 1].
    label : ndarray of int, shape (n,)
        1 for a default, else 0.
    weight : ndarray of float, shape (n,), optional
        How often each row counts; 1 by default.

    Examples
    --------
    >>> round(ece(np.full(100, 0.2), np.repeat([1, 0], [10, 90])), 6)
    0.1
    >>> pd_ = np.repeat([0.02, 0.62], [950, 50])
    >>> round(ece(pd_, np.repeat([1, 0], [50, 950])), 3)    # .95 * .0326 + .05 * .62
    0.062
    """
    weights = _or_ones(weight, len(label))
    edges = bin_edges(pd_, ECE_BINS, weight=weight)
    bin_index = np.searchsorted(edges, pd_, side="right")
    gap_of_bin = np.bincount(bin_index, weights * (pd_ - label))
    total_gap = np.abs(gap_of_bin).sum()
    return float(total_gap / weights.sum())


def _logit(probability: float) -> float:
    return float(np.log(probability / (1 - probability)))


def bin_edges(
    values: Floats,
    n_bins: int = PSI_BINS,
    *,
    is_category: bool = False,
    weight: Floats | None = None,
) -> Floats:
    """Return the edges of bins: a value belongs to the bin of the last edge below it.

    A few distinct values have a bin each, with one below and one above them for what
    was never seen. Otherwise the bins are equally filled, and a value that fills more
    than one of them has a bin of its own: a flag that is 0 in nine rows of ten, or an
    amount that mostly is, can move only if 0 and all others are kept apart.

    Parameters
    ----------
    values : ndarray of float, shape (n,)
        The values from which the bins are made, without NaN.
    n_bins : int
        The number of equally filled bins.
    is_category : bool
        Whether the values are codes of levels, which have a bin each, however many.
    weight : ndarray of float, shape (n,), optional
        How often each value counts; 1 by default.

    Returns
    -------
    ndarray of float
        In rising order; ``np.searchsorted(edges, value, side="right")`` is the bin.

    Examples
    --------
    >>> bin_edges(np.array([0.0, 0.0, 1.0])).round(6).tolist()
    [0.0, 1.0, 1.0]
    """
    distinct = np.unique(values)
    if is_category or len(distinct) <= MOST_DISTINCT:
        return np.append(distinct, _just_above(distinct[-1:]))
    shares = np.linspace(0, 1, n_bins + 1)
    ends = quantiles(values, shares, weight)
    edges, n_repeats = np.unique(ends, return_counts=True)
    heavy_values = edges[n_repeats > 1]
    inner_edges = np.unique(ends[1:-1])
    parts = [inner_edges, heavy_values, _just_above(heavy_values)]
    return np.unique(np.concatenate(parts))


def _just_above(values: Floats) -> Floats:
    above: Floats = np.nextafter(values, np.inf)
    return above


def psi(
    expected: Floats,
    actual: Floats,
    *,
    is_category: bool = False,
    expected_weight: Floats | None = None,
    actual_weight: Floats | None = None,
) -> float:
    """Return the population stability index over the bins of `expected`.

    It is ``sum((a - e) * ln(a / e))`` over the shares of both samples per bin; NaN is
    a bin of its own. Below 0.1 is stable, above 0.25 has shifted (Siddiqi 2006). The
    bins are those of `bin_edges`.

    Parameters
    ----------
    expected : ndarray of float, shape (n,)
        The earlier sample, from which the bins are made.
    actual : ndarray of float, shape (m,)
        The later sample.
    is_category : bool
        Whether the values are codes of levels.
    expected_weight, actual_weight : ndarray of float, optional
        How often each value counts, of the shape of the sample; 1 by default.

    Examples
    --------
    >>> psi(np.arange(100.0), np.arange(100.0))
    0.0
    >>> first = np.array([0.0] * 50 + [1.0] * 50)     # shares .5 and .5
    >>> second = np.array([0.0] * 25 + [1.0] * 75)    # shares .25 and .75
    >>> round(psi(first, second), 4)    # -.25 ln(.5) + .25 ln(1.5)
    0.2747
    >>> rare = np.array([0.0] * 96 + [1.0] * 4)
    >>> common = np.array([0.0] * 49 + [1.0] * 51)
    >>> round(psi(rare, common), 4)    # .47 ln(.51 / .04) - .47 ln(.49 / .96)
    1.5125
    >>> weight = np.array([1.0, 3.0])    # shares .25 and .75 again
    >>> flag = np.array([0.0, 1.0])
    >>> round(psi(flag, flag, actual_weight=weight), 4)
    0.2747
    """
    edges = _present_edges(
        expected,
        is_category=is_category,
        weight=expected_weight,
    )
    expected_share = _shares(expected, edges, expected_weight)
    actual_share = _shares(actual, edges, actual_weight)
    log_ratio = np.log(actual_share / expected_share)
    return float(((actual_share - expected_share) * log_ratio).sum())


def psi_bins(expected: Floats, *, is_category: bool = False) -> int:
    """Return over how many bins with any row of `expected` a PSI is worked out.

    Parameters
    ----------
    expected : ndarray of float, shape (n,)
        The earlier sample.
    is_category : bool
        Whether the values are codes of levels.
    """
    edges = _present_edges(expected, is_category=is_category)
    return int((_counts(expected, edges) > 0).sum())


def _present_edges(
    values: Floats,
    *,
    is_category: bool,
    weight: Floats | None = None,
) -> Floats:
    """Return the edges of the bins of the values that are not NaN."""
    is_present = ~np.isnan(values)
    present = values[is_present]
    if not len(present):
        return np.array([])
    present_weight = None if weight is None else weight[is_present]
    return bin_edges(
        present,
        is_category=is_category,
        weight=present_weight,
    )


def _shares(
    values: Floats,
    edges: Floats,
    weight: Floats | None = None,
) -> Floats:
    """Return the share of the values in each bin; the last bin holds NaN."""
    counts = _counts(values, edges, weight)
    total = max(len(values), 1) if weight is None else counts.sum()
    return np.maximum(counts / total, SMOOTHING)


def _counts(
    values: Floats,
    edges: Floats,
    weight: Floats | None = None,
) -> Floats:
    bin_index = np.searchsorted(edges, values, side="right")
    nan_bin = len(edges) + 1
    with_nan = np.where(np.isnan(values), nan_bin, bin_index)
    counts = np.bincount(
        with_nan,
        weight,
        minlength=nan_bin + 1,
    )
    return counts.astype(np.float64)


def figures(
    pd_: Floats,
    label: Ints,
    weight: Floats | None = None,
) -> dict[str, float]:
    """Return every figure of one sample.

    Parameters
    ----------
    pd_ : ndarray of float, shape (n,)
        PDs in (0, 1).
    label : ndarray of int, shape (n,)
        1 for a default, else 0.
    weight : ndarray of float, shape (n,), optional
        How often each row counts; 1 by default.

    Returns
    -------
    dict of str to float
        By name; `brier_constant` is the Brier score of the sample's own default rate.
    """
    weights = _or_ones(weight, len(label))
    total = weights.sum()
    default_rate = float((weights * label).sum() / total)
    area = auc(pd_, label, weights)
    slope, intercept = calibration_line(pd_, label, weights)
    probability_of_outcome = np.where(label == 1, pd_, 1 - pd_)
    log_likelihood = (weights * np.log(probability_of_outcome)).sum()
    mean_pd = (weights * pd_).sum() / total
    return {
        "auc": area,
        "gini": 2 * area - 1,
        "ks": ks(pd_, label, weights),
        "brier": _brier(pd_, label, weights),
        "brier_constant": default_rate * (1 - default_rate),
        "log_loss": float(-log_likelihood / total),
        "calibration_slope": slope,
        "calibration_intercept": intercept,
        "ece": ece(pd_, label, weights),
        "mean_pd": float(mean_pd),
        "default_rate": default_rate,
    }


def _brier(
    pd_: Floats,
    label: Ints,
    weight: Floats,
) -> float:
    squared_error = (pd_ - label) ** 2
    return float((weight * squared_error).sum() / weight.sum())


def with_intervals(
    pd_: Floats,
    label: Ints,
    resampling: Resampling,
    measure: Measure = figures,
) -> dict[str, Interval]:
    """Return figures with their 95% intervals over resampled customers.

    Parameters
    ----------
    pd_ : ndarray of float, shape (n,)
        PDs in (0, 1).
    label : ndarray of int, shape (n,)
        1 for a default, else 0.
    resampling : Resampling
        Bootstrap samples of these rows; its weights, if it has any, count in the
        figures too.
    measure : callable
        Maps PDs, labels and weights to figures by name.
    """
    figures_of_sample = measure(pd_, label, resampling.row_weight)
    draws = [measure(pd_, label, weight) for weight in resampling]
    low, high = pd.DataFrame(draws).quantile(INTERVAL).to_dict("records")
    intervals = {}
    for name, value in figures_of_sample.items():
        intervals[name] = Interval(value, low[name], high[name])
    return intervals


def difference(
    first: Floats,
    second: Floats,
    label: Ints,
    resampling: Resampling,
) -> dict[str, Interval]:
    """Return figures of one PD less those of another on the same rows.

    The intervals are paired: both PDs are measured on the same bootstrap samples.

    Parameters
    ----------
    first, second : ndarray of float, shape (n,)
        PDs in (0, 1).
    label : ndarray of int, shape (n,)
        1 for a default, else 0.
    resampling : Resampling
        Bootstrap samples of these rows.

    Returns
    -------
    dict of str to Interval
        ``gini`` and ``brier``.
    """

    first_areas = drawn_aucs(first, label, resampling)
    second_areas = drawn_aucs(second, label, resampling)
    squared_error_gap = (first - label) ** 2 - (second - label) ** 2
    weight = resampling.row_weight
    auc_gap = auc(first, label, weight) - auc(second, label, weight)
    brier_gap = float((weight * squared_error_gap).sum() / weight.sum())
    return {
        "gini": _interval(2 * auc_gap, 2 * (first_areas - second_areas)),
        "brier": _interval(brier_gap, drawn_means(squared_error_gap, resampling)),
    }


def _interval(value: float, draws: Floats) -> Interval:
    low, high = np.nanquantile(draws, INTERVAL).tolist()
    return Interval(value, low, high)
