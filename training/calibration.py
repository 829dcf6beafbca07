"""From a model's margin to a probability: a monotone map chosen on rows the model never saw."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
KINDS = ("platt", "beta", "isotonic", "venn_abers")
STEPS_FROM = 1000  # defaults; with fewer the steps of isotonic and Venn-Abers are noise
PENALTY = 1e-6
TILT = 1e-8  # of a step from knot to knot
KNOTS = 48  # margins at which a Venn-Abers map, or a band, is worked out; between them a line
SMALLEST_PD = 1e-5  # no customer is certain to pay; also keeps every log finite


def sigmoid(margin: Floats) -> Floats:
    """Return 1 / (1 + exp(-margin)) without overflow.

    Examples
    --------
    >>> sigmoid(np.array([0.0, -1000.0])).tolist()
    [0.5, 0.0]
    """
    small = np.exp(-np.abs(margin))
    return np.where(margin >= 0, 1.0, small) / (1.0 + small)


@dataclass(frozen=True)
class Calibration:
    """A monotone map from margin to PD.

    Attributes
    ----------
    kind : {"identity", "platt", "beta", "isotonic", "venn_abers"}
        identity: sigmoid(m). platt: sigmoid(a m + b) (Platt 1999). beta: sigmoid(a ln p - b ln(1-p)
        + c) with p = sigmoid(m) and a, b >= 0 (Kull, Silva Filho, Flach 2017). isotonic: linear
        interpolation between the knots of a pool-adjacent-violators fit. venn_abers: p1 / (1 - p0 + p1)
        of an inductive Venn-Abers predictor at some knots, linear between them (Vovk, Petej 2014).
    parameters : tuple of float
        a, b; or a, b, c; or knots followed by their heights.
    """

    kind: str
    parameters: tuple[float, ...] = ()

    def __call__(self, margin: Floats) -> Floats:
        """Return the calibrated PD, in [SMALLEST_PD, 1 - SMALLEST_PD].

        Examples
        --------
        >>> Calibration("platt", (1.0, 0.0))(np.array([0.0])).tolist()
        [0.5]
        """
        p = self.parameters
        if self.kind == "identity":
            pd_ = sigmoid(margin)
        elif self.kind == "platt":
            pd_ = sigmoid(p[0] * margin + p[1])
        elif self.kind == "beta":
            # ln p = -ln(1+e^-m) and ln(1-p) = -ln(1+e^m), both without overflow
            pd_ = sigmoid(
                -p[0] * np.logaddexp(0, -margin) + p[1] * np.logaddexp(0, margin) + p[2]
            )
        else:
            knots, heights = np.split(np.asarray(p), 2)
            pd_ = np.interp(margin, knots, heights)
        return np.minimum(
            np.maximum(pd_, SMALLEST_PD), 1 - SMALLEST_PD
        )  # np.clip takes three times as long

    def as_dict(self) -> dict[str, Any]:
        """Return what `calibration.json` holds."""
        return {"kind": self.kind, "parameters": list(self.parameters)}


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


def log_losses(pd_: Floats, label: Ints) -> Floats:
    """Return the log loss of each row."""
    return -np.log(np.where(label == 1, pd_, 1 - pd_))


def later_split(times: Ints, label: Ints) -> list[tuple[Ints, Ints]]:
    """Return the earlier two thirds of the rows against the later third; nothing where a side has one kind alone."""
    is_later = times > np.quantile(times, 2 / 3, method="lower")
    fit, held = np.flatnonzero(~is_later), np.flatnonzero(is_later)
    both = all(0 < label[side].sum() < len(side) for side in (fit, held))
    return [(fit, held)] if both else []


@dataclass(frozen=True)
class Band:
    """How sure the PD at a margin is: the 95% interval of the calibrated PD over resampled customers.

    It speaks of the default rate among customers with such a margin, not of one customer's own luck, and the model
    that gives the margin is taken as it is.
    """

    knots: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]

    def __call__(self, margin: Floats, pd_: Floats) -> tuple[Floats, Floats]:
        """Return low and high at each margin; the PD itself is always between them."""
        low, high = (
            np.interp(margin, self.knots, heights) for heights in (self.low, self.high)
        )
        return np.minimum(low, pd_), np.maximum(high, pd_)


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
