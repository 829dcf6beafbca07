"""From a model's margin to a probability: a monotone map chosen on rows the model never saw."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from obligor.arrays import Floats

KINDS = ("platt", "beta", "isotonic", "venn_abers")

STEPS_FROM = 1000  # defaults; with fewer the steps of isotonic and Venn-Abers are noise

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
