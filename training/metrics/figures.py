"""How good a PD is: discrimination, calibration, stability; each figure with its 95% interval."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from obligor.arrays import Floats, Ints
from obligor.training.metrics.statistics import Interval, resamples, weighted_logistic

SMOOTHING = (
    1e-4  # the share an empty bin is given, the only smoothing constant in the project
)

PSI_BINS = 10

ECE_BINS = 10


def auc(pd_: Floats, label: Ints, weight: Floats | None = None) -> float:
    """Return P(a random default is scored above a random other), ties half.

    Examples
    --------
    >>> auc(np.array([0.1, 0.4, 0.35, 0.8]), np.array([0, 0, 1, 1]))
    0.75
    """
    bad, good = _counts(pd_, label, weight)
    below = np.cumsum(good) - good
    pairs = bad.sum() * good.sum()
    return float((bad * (below + good / 2)).sum() / pairs) if pairs else float("nan")


def ks(pd_: Floats, label: Ints, weight: Floats | None = None) -> float:
    """Return the largest distance between the score distributions of defaults and others.

    Examples
    --------
    >>> ks(np.array([0.1, 0.2, 0.8, 0.9]), np.array([0, 0, 1, 1]))
    1.0
    """
    bad, good = _counts(pd_, label, weight)
    if not bad.sum() or not good.sum():
        return float("nan")
    return float(
        np.abs(np.cumsum(bad) / bad.sum() - np.cumsum(good) / good.sum()).max()
    )


def _counts(pd_: Floats, label: Ints, weight: Floats | None) -> tuple[Floats, Floats]:
    """Weight of the defaults and of the others at each distinct PD, lowest first."""
    w = np.ones(len(label)) if weight is None else weight
    _, place = np.unique(pd_, return_inverse=True)
    bad, good = (
        np.asarray(np.bincount(place, part), dtype=np.float64)
        for part in (w * label, w * (1 - label))
    )
    return bad, good


def calibration_line(
    pd_: Floats, label: Ints, weight: Floats | None = None
) -> tuple[float, float]:
    """Return slope and intercept of label ~ sigmoid(slope * logit(pd) + intercept) (Cox 1958).

    A calibrated PD has slope 1 and intercept 0, one that is the same for all slope 0; weights count repetitions.
    """
    w = np.ones(len(label)) if weight is None else weight
    if np.ptp(pd_) == 0:
        rate = np.clip(w @ label / w.sum(), SMOOTHING, 1 - SMOOTHING)
        return 0.0, float(np.log(rate / (1 - rate)))
    slope, intercept = weighted_logistic(np.log(pd_ / (1 - pd_))[:, None], label, w)
    return float(slope), float(intercept)


def ece(pd_: Floats, label: Ints, weight: Floats | None = None) -> float:
    """Return the expected calibration error: mean ``|PD - default rate|`` over ten equally filled bins.

    Examples
    --------
    >>> round(ece(np.full(100, 0.2), np.repeat([1, 0], [10, 90])), 6)
    0.1
    """
    w = np.ones(len(label)) if weight is None else weight
    edges = np.unique(np.quantile(pd_, np.linspace(0, 1, ECE_BINS + 1)[1:-1]))
    place = np.searchsorted(edges, pd_, side="right")
    gap = np.bincount(place, w * (pd_ - label))
    return float(np.abs(gap).sum() / w.sum())


def psi(expected: Floats, actual: Floats) -> float:
    """Return the population stability index over deciles of `expected`; NaN is a bin of its own.

    ``sum((a - e) * ln(a / e))`` over the shares of both samples per bin. Below .1 is stable, above
    .25 has shifted (Siddiqi 2006).

    Examples
    --------
    >>> psi(np.arange(100.0), np.arange(100.0))
    0.0
    >>> first = np.array([0.0] * 50 + [1.0] * 50)     # shares .5 and .5
    >>> second = np.array([0.0] * 25 + [1.0] * 75)    # shares .25 and .75
    >>> round(psi(first, second), 4)    # -.25 ln(.5) + .25 ln(1.5)
    0.2747
    """
    known = expected[~np.isnan(expected)]
    edges = (
        np.unique(np.quantile(known, np.linspace(0, 1, PSI_BINS + 1)[1:-1]))
        if len(known)
        else np.array([])
    )
    shares = []
    for values in (expected, actual):
        place = np.where(
            np.isnan(values),
            len(edges) + 1,
            np.searchsorted(edges, values, side="right"),
        )
        count = np.bincount(place, minlength=len(edges) + 2)
        shares.append(np.maximum(count / max(len(values), 1), SMOOTHING))
    return float(((shares[1] - shares[0]) * np.log(shares[1] / shares[0])).sum())


def figures(pd_: Floats, label: Ints, weight: Floats | None = None) -> dict[str, float]:
    """Return every figure of one sample; `brier_constant` is that of the sample's own default rate."""
    w = np.ones(len(label)) if weight is None else weight
    total = w.sum()
    rate = float((w * label).sum() / total)
    area = auc(pd_, label, w)
    slope, intercept = calibration_line(pd_, label, w)
    hit = np.where(label == 1, pd_, 1 - pd_)
    return {
        "auc": area,
        "gini": 2 * area - 1,
        "ks": ks(pd_, label, w),
        "brier": float((w * (pd_ - label) ** 2).sum() / total),
        "brier_constant": rate * (1 - rate),
        "log_loss": float(-(w * np.log(hit)).sum() / total),
        "calibration_slope": slope,
        "calibration_intercept": intercept,
        "ece": ece(pd_, label, w),
        "mean_pd": float((w * pd_).sum() / total),
        "default_rate": rate,
    }


def with_intervals(
    pd_: Floats,
    label: Ints,
    customers: Ints,
    rounds: int,
    seed: int,
    measure: Callable[[Floats, Ints, Floats], dict[str, float]] = figures,
) -> dict[str, Interval]:
    """Return every figure with the 2.5% and 97.5% percentiles over resampled customers."""
    point = measure(pd_, label, np.ones(len(label)))
    draws = pd.DataFrame(
        [measure(pd_, label, weight) for weight in resamples(customers, rounds, seed)]
    )
    low, high = draws.quantile(0.025), draws.quantile(0.975)
    return {
        name: Interval(value, float(low[name]), float(high[name]))
        for name, value in point.items()
    }


def difference(
    first: Floats, second: Floats, label: Ints, customers: Ints, rounds: int, seed: int
) -> dict[str, Interval]:
    """Return figures of `first` less those of `second` on the same rows, with paired intervals."""

    def measure(pd_: Floats, label: Ints, weight: Floats) -> dict[str, float]:
        one, two = _quick(pd_, label, weight), _quick(second, label, weight)
        return {name: one[name] - two[name] for name in one}

    return with_intervals(first, label, customers, rounds, seed, measure)


def _quick(pd_: Floats, label: Ints, weight: Floats) -> dict[str, float]:
    area = auc(pd_, label, weight)
    return {
        "gini": 2 * area - 1,
        "brier": float((weight * (pd_ - label) ** 2).sum() / weight.sum()),
    }
