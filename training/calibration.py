"""From a model's margin to a probability: a monotone map chosen on rows the model never saw."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:  # scikit-learn is imported where something is fitted: applying a calibration does without
    from sklearn.linear_model import LogisticRegression

Floats = NDArray[np.float64]
KINDS = ("identity", "platt", "beta", "isotonic")
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
    kind : {"identity", "platt", "beta", "isotonic"}
        identity: sigmoid(m). platt: sigmoid(a m + b) (Platt 1999). beta: sigmoid(a ln p - b ln(1-p)
        + c) with p = sigmoid(m) and a, b >= 0 (Kull, Silva Filho, Flach 2017). isotonic: linear
        interpolation between the knots of a pool-adjacent-violators fit.
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
            pd_ = sigmoid(-p[0] * np.logaddexp(0, -margin) + p[1] * np.logaddexp(0, margin) + p[2])
        else:
            knots, heights = np.split(np.asarray(p), 2)
            pd_ = np.interp(margin, knots, heights)
        return np.minimum(np.maximum(pd_, SMALLEST_PD), 1 - SMALLEST_PD)  # np.clip takes three times as long

    def as_dict(self) -> dict[str, Any]:
        """Return what `calibration.json` holds."""
        return {"kind": self.kind, "parameters": list(self.parameters)}


def fit_calibration(kind: str, margin: Floats, label: NDArray[np.int64]) -> Calibration:
    """Fit one kind of calibration.

    Parameters
    ----------
    kind : str
        One of `KINDS`.
    margin : ndarray, shape (n,)
        Margins of rows the model was not fitted on.
    label : ndarray, shape (n,)
        0 or 1.
    """
    if kind == "identity":
        return Calibration("identity")
    if kind == "platt":
        fit = _logistic(margin[:, None], label)
        slope = float(fit.coef_[0, 0])
        if slope <= 0:  # the margin says nothing: everybody has the base rate, which the fitted intercept is not
            return Calibration("platt", (0.0, float(np.log(label.mean() / (1 - label.mean())))))
        return Calibration("platt", (slope, float(fit.intercept_[0])))
    if kind == "beta":
        columns = np.column_stack([-np.logaddexp(0, -margin), np.logaddexp(0, margin)])
        fit = _logistic(columns, label)
        a, b = (float(c) for c in fit.coef_[0])
        if min(a, b) < 0:  # not monotone: Platt is beta with a = b
            return fit_calibration("platt", margin, label)
        return Calibration("beta", (a, b, float(fit.intercept_[0])))
    from sklearn.isotonic import IsotonicRegression

    iso = IsotonicRegression(out_of_bounds="clip").fit(margin, label)
    return Calibration("isotonic", (*iso.X_thresholds_.tolist(), *iso.y_thresholds_.tolist()))


def _logistic(columns: Floats, label: NDArray[np.int64]) -> LogisticRegression:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=1e6, max_iter=1000).fit(columns, label)


def choose_calibration(
    margin: Floats, label: NDArray[np.int64], groups: NDArray[np.int64], folds: int = 5
) -> tuple[Calibration, dict[str, float]]:
    """Fit every kind on part of the customers, keep the kind with the best log loss on the others.

    Parameters
    ----------
    margin, label : ndarray, shape (n,)
        Out-of-fold margins and labels.
    groups : ndarray, shape (n,)
        The customer of each row; a customer is never on both sides.

    Returns
    -------
    Calibration, dict
        The chosen kind fitted on all rows, and the log loss of each kind.
    """
    from sklearn.metrics import log_loss
    from sklearn.model_selection import GroupKFold

    losses = {}
    for kind in KINDS:
        pd_ = np.empty_like(margin)
        for fit_rows, held in GroupKFold(folds).split(margin, label, groups):
            pd_[held] = fit_calibration(kind, margin[fit_rows], label[fit_rows])(margin[held])
        losses[kind] = float(log_loss(label, pd_))
    return fit_calibration(min(losses, key=losses.__getitem__), margin, label), losses
