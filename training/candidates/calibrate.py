"""Fitting calibrations, and choosing among them on held-back rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from obligor.arrays import Floats, Ints
from obligor.metrics.statistics import log_losses, weighted_logistic
from obligor.model.calibration import KINDS, KNOTS, STEPS_FROM, TILT, Band, Calibration

BAND_QUANTILES = (0.025, 0.975)
LATER_FROM = 2 / 3  # quantile of the days from which rows are held back


def fit_calibration(
    kind: str,
    margin: Floats,
    label: Ints,
    weight: Floats | None = None,
) -> Calibration:
    """Fit one kind of calibration.

    Parameters
    ----------
    kind : {"identity", "platt", "beta", "isotonic", "venn_abers"}
        See `Calibration`; "beta" falls back to "platt" if it would not be monotone.
    margin : ndarray of float, shape (n,)
        Margins of rows the model was not fitted on.
    label : ndarray of int, shape (n,)
        1 for a default, else 0; both must occur.
    weight : ndarray of float, shape (n,), optional
        How often each row counts; 1 by default.
    """
    weights = np.ones(len(label)) if weight is None else weight
    if kind == "identity":
        return Calibration("identity")
    if kind == "platt":
        return _fit_platt(margin, label, weights)
    if kind == "beta":
        return _fit_beta(margin, label, weights)
    if kind == "venn_abers":
        return _fit_venn_abers(margin, label, weights)
    return _fit_isotonic(margin, label, weights)


def _fit_platt(
    margin: Floats,
    label: Ints,
    weight: Floats,
) -> Calibration:
    slope, intercept = weighted_logistic(margin[:, None], label, weight).tolist()
    if slope > 0:
        return Calibration("platt", (slope, intercept))
    # The margin carries no information: everyone gets the base rate, which is not the
    # fitted intercept.
    base_rate = float((weight * label).sum() / weight.sum())
    return Calibration("platt", (0.0, float(np.log(base_rate / (1 - base_rate)))))


def _fit_beta(
    margin: Floats,
    label: Ints,
    weight: Floats,
) -> Calibration:
    # The columns are ln p and -ln(1 - p) of p = sigmoid(margin).
    columns = np.column_stack([-np.logaddexp(0, -margin), np.logaddexp(0, margin)])
    a, b, c = weighted_logistic(columns, label, weight).tolist()
    if min(a, b) < 0:  # not monotone; Platt is beta with a = b
        return _fit_platt(margin, label, weight)
    return Calibration("beta", (a, b, c))


def _fit_isotonic(
    margin: Floats,
    label: Ints,
    weight: Floats,
) -> Calibration:
    from sklearn.isotonic import IsotonicRegression

    fit = IsotonicRegression(out_of_bounds="clip").fit(margin, label, weight)
    knots = fit.X_thresholds_.tolist()
    return Calibration("isotonic", (*knots, *_strictly_rising(fit.y_thresholds_)))


def _fit_venn_abers(
    margin: Floats,
    label: Ints,
    weight: Floats,
) -> Calibration:
    """Fit isotonic regressions with one more row at each knot: a default, then none."""
    knots = _knots(margin)
    heights = []
    for knot in knots:
        p0 = _isotonic_with(knot, 0, margin, label, weight)
        p1 = _isotonic_with(knot, 1, margin, label, weight)
        heights.append(p1 / (1 - p0 + p1))
    rising = _strictly_rising(np.maximum.accumulate(heights))
    return Calibration("venn_abers", (*knots.tolist(), *rising))


def _isotonic_with(
    knot: float,
    outcome: int,
    margin: Floats,
    label: Ints,
    weight: Floats,
) -> float:
    """Return the fitted probability at a knot, with a row of that outcome added."""
    from sklearn.isotonic import IsotonicRegression

    fit = IsotonicRegression(out_of_bounds="clip").fit(
        np.append(margin, knot),
        np.append(label, outcome),
        np.append(weight, 1.0),
    )
    return float(fit.predict([knot])[0])


def choose_calibration(
    margin: Floats,
    label: Ints,
    splits: Sequence[tuple[Ints, Ints]],
    weight: Floats | None = None,
) -> tuple[Calibration, dict[str, float]]:
    """Choose the kind of calibration with the least log loss on held-back rows.

    Parameters
    ----------
    margin : ndarray of float, shape (n,)
        Out-of-fold margins.
    label : ndarray of int, shape (n,)
        1 for a default, else 0.
    splits : sequence of (ndarray of int, ndarray of int)
        Indices to fit on and to hold back: the later rows if there are dates
        (`later_split`), else folds.
    weight : ndarray of float, shape (n,), optional
        How often each row counts; 1 by default.

    Returns
    -------
    Calibration, dict of str to float
        The chosen kind fitted on all rows, and the log loss of each kind.
    """
    has_enough_defaults = label.sum() >= STEPS_FROM
    kinds = KINDS if has_enough_defaults else ("platt", "beta")
    weights = np.ones(len(label)) if weight is None else weight
    losses = {}
    for kind in kinds:
        held_losses = []
        held_weights = []
        for fit_rows, held in splits:
            calibration = fit_calibration(
                kind,
                margin[fit_rows],
                label[fit_rows],
                weights[fit_rows],
            )
            held_losses.append(log_losses(calibration(margin[held]), label[held]))
            held_weights.append(weights[held])
        losses[kind] = _mean(held_losses, held_weights)
    best_kind = min(losses, key=losses.__getitem__)
    return fit_calibration(best_kind, margin, label, weights), losses


def _mean(losses: Sequence[Floats], weights: Sequence[Floats]) -> float:
    weight = np.concatenate(weights)
    total = (np.concatenate(losses) * weight).sum()
    return float(total / weight.sum())


def later_split(times: Ints, label: Ints) -> list[tuple[Ints, Ints]]:
    """Hold back the later third of the rows.

    Parameters
    ----------
    times : ndarray of int, shape (n,)
        The day of each row.
    label : ndarray of int, shape (n,)
        1 for a default, else 0.

    Returns
    -------
    list of (ndarray of int, ndarray of int)
        One split; none if either side has only one outcome.

    Examples
    --------
    >>> later_split(np.arange(6), np.array([0, 1, 0, 1, 0, 1]))
    [(array([0, 1, 2, 3]), array([4, 5]))]
    """
    is_later = times > np.quantile(times, LATER_FROM, method="lower")
    earlier = np.flatnonzero(~is_later)
    later = np.flatnonzero(is_later)
    for side in (earlier, later):
        if not 0 < label[side].sum() < len(side):
            return []
    return [(earlier, later)]


def fit_band(
    kind: str,
    margin: Floats,
    label: Ints,
    weights: Iterable[Floats],
) -> Band:
    """Return the 95% interval of a calibrated PD over bootstrap samples.

    Parameters
    ----------
    kind : str
        Kind of calibration, one of `KINDS`.
    margin : ndarray of float, shape (n,)
        Out-of-fold margins.
    label : ndarray of int, shape (n,)
        1 for a default, else 0.
    weights : iterable of ndarray of float, shape (n,)
        How often each row is in each bootstrap sample (`Resampling`); samples with
        one outcome only are left out.
    """
    knots = _knots(margin)
    resampled_pds = list[Floats]()
    for weight in weights:
        if 0 < (weight * label).sum() < weight.sum():
            calibration = fit_calibration(kind, margin, label, weight)
            resampled_pds.append(calibration(knots))
    low, high = np.quantile(resampled_pds, BAND_QUANTILES, axis=0)
    return Band(tuple(knots.tolist()), tuple(low.tolist()), tuple(high.tolist()))


def _knots(margin: Floats) -> Floats:
    return np.unique(np.quantile(margin, np.linspace(0, 1, KNOTS)))


def _strictly_rising(heights: Floats) -> list[float]:
    """Tilt steps slightly: a flat step would lose the ranking of the margin."""
    tilted: Floats = heights + TILT * np.arange(len(heights))
    return tilted.tolist()
