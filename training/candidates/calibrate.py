"""Fitting calibrations, and choosing among them on later rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from obligor.arrays import Floats, Ints
from obligor.model.calibration import KINDS, KNOTS, STEPS_FROM, TILT, Band, Calibration
from obligor.training.metrics.statistics import log_losses, weighted_logistic


def fit_calibration(
    kind: str, margin: Floats, label: Ints, weight: Floats | None = None
) -> Calibration:
    """Fit one kind of calibration.

    Parameters
    ----------
    kind : str
        One of `KINDS`.
    margin : ndarray, shape (n,)
        Margins of rows the model was not fitted on.
    label : ndarray, shape (n,)
        0 or 1.
    weight : ndarray, shape (n,), optional
        How often each row counts.
    """
    w = np.ones(len(label)) if weight is None else weight
    if kind == "identity":
        return Calibration("identity")
    if kind == "platt":
        slope, intercept = weighted_logistic(margin[:, None], label, w).tolist()
        if (
            slope <= 0
        ):  # the margin says nothing: everybody has the base rate, which the fitted intercept is not
            rate = float((w * label).sum() / w.sum())
            return Calibration("platt", (0.0, float(np.log(rate / (1 - rate)))))
        return Calibration("platt", (slope, intercept))
    if kind == "beta":
        columns = np.column_stack([-np.logaddexp(0, -margin), np.logaddexp(0, margin)])
        a, b, c = weighted_logistic(columns, label, w).tolist()
        if min(a, b) < 0:  # not monotone: Platt is beta with a = b
            return fit_calibration("platt", margin, label, weight)
        return Calibration("beta", (a, b, c))
    if kind == "venn_abers":
        return _venn_abers(margin, label, w)
    from sklearn.isotonic import IsotonicRegression

    iso = IsotonicRegression(out_of_bounds="clip").fit(margin, label, w)
    return Calibration(
        "isotonic", (*iso.X_thresholds_.tolist(), *_rising(iso.y_thresholds_))
    )


def choose_calibration(
    margin: Floats, label: Ints, splits: Sequence[tuple[Ints, Ints]]
) -> tuple[Calibration, dict[str, float]]:
    """Fit every kind on one side of each split, keep the kind with the best log loss on the other.

    Parameters
    ----------
    margin, label : ndarray, shape (n,)
        Out-of-fold margins and labels.
    splits : sequence of (fit, held)
        Places of rows; later rows are held where there are dates (`later_split`), folds where there are none.

    Returns
    -------
    Calibration, dict
        The chosen kind fitted on all rows, and the log loss of each kind.
    """
    losses = {}
    for kind in KINDS if label.sum() >= STEPS_FROM else ("platt", "beta"):
        found = [
            log_losses(
                fit_calibration(kind, margin[fit], label[fit])(margin[held]),
                label[held],
            )
            for fit, held in splits
        ]
        losses[kind] = float(np.concatenate(found).mean())
    return fit_calibration(min(losses, key=losses.__getitem__), margin, label), losses


def later_split(times: Ints, label: Ints) -> list[tuple[Ints, Ints]]:
    """Return the earlier two thirds of the rows against the later third; nothing where a side has one kind alone."""
    is_later = times > np.quantile(times, 2 / 3, method="lower")
    fit, held = np.flatnonzero(~is_later), np.flatnonzero(is_later)
    both = all(0 < label[side].sum() < len(side) for side in (fit, held))
    return [(fit, held)] if both else []


def fit_band(kind: str, margin: Floats, label: Ints, weights: Iterable[Floats]) -> Band:
    """Return the band of a kind of calibration.

    Parameters
    ----------
    weights : iterable of ndarray, shape (n,)
        How often each row is in each bootstrap sample, whole customers drawn (`training.evaluate.resamples`).
    """
    knots, found = _knots(margin), list[Floats]()
    for weight in weights:
        if 0 < (weight * label).sum() < weight.sum():
            found.append(fit_calibration(kind, margin, label, weight)(knots))
    low, high = np.quantile(found, (0.025, 0.975), axis=0)
    return Band(tuple(knots.tolist()), tuple(low.tolist()), tuple(high.tolist()))


def _knots(margin: Floats) -> Floats:
    return np.unique(np.quantile(margin, np.linspace(0, 1, KNOTS)))


def _venn_abers(margin: Floats, label: Ints, weight: Floats) -> Calibration:
    """The probability between those of two isotonic fits: with the asked row counted as a default, and as none."""
    from sklearn.isotonic import IsotonicRegression

    heights, knots = [], _knots(margin)
    for knot in knots:
        p0, p1 = (
            float(
                IsotonicRegression(out_of_bounds="clip")
                .fit(
                    np.append(margin, knot),
                    np.append(label, as_),
                    np.append(weight, 1.0),
                )
                .predict([knot])[0]
            )
            for as_ in (0, 1)
        )
        heights.append(p1 / (1 - p0 + p1))
    return Calibration(
        "venn_abers", (*knots.tolist(), *_rising(np.maximum.accumulate(heights)))
    )


def _rising(heights: Floats) -> list[float]:
    """Heights that never stand still: a step must not take the ranking of the margin away."""
    tilted: Floats = heights + TILT * np.arange(len(heights))
    return tilted.tolist()
