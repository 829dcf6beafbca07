"""From a model's margin to a probability: monotone maps, and how certain they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

import numpy as np

from obligor.arrays import Floats

KINDS = ("platt", "beta", "isotonic", "venn_abers")
STEPS_FROM = 1000  # defaults; with fewer the steps of isotonic and Venn-Abers are noise
TILT = 1e-8  # of a step from knot to knot
KNOTS = 48  # margins at which a Venn-Abers map or a band is computed
SMALLEST_PD = 1e-5  # no customer is certain to pay; it also keeps every log finite


class CalibrationFields(TypedDict):
    """A calibration as it stands in ``calibration.json``."""

    kind: str
    parameters: list[float]


class BandFields(TypedDict):
    """A band as it stands in ``calibration.json``."""

    knots: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


def sigmoid(margin: Floats) -> Floats:
    """Return 1 / (1 + exp(-margin)) without overflow.

    Examples
    --------
    >>> sigmoid(np.array([0.0, -1000.0])).tolist()
    [0.5, 0.0]
    """
    # exp of a number of at most 0 cannot overflow.
    small = np.exp(-np.abs(margin))
    numerator = np.where(margin >= 0, 1.0, small)
    return numerator / (1.0 + small)


@dataclass(frozen=True)
class Calibration:
    """A monotone map from margin to PD.

    Attributes
    ----------
    kind : {"identity", "platt", "beta", "isotonic", "venn_abers"}
        identity: sigmoid(m). platt: sigmoid(a m + b) (Platt 1999). beta: sigmoid(a ln p
        - b ln(1 - p) + c) with p = sigmoid(m) and a, b >= 0 (Kull, Silva Filho, Flach
        2017). isotonic: linear interpolation between the knots of a
        pool-adjacent-violators fit. venn_abers: p1 / (1 - p0 + p1) of an inductive
        Venn-Abers predictor at some knots, linear between them (Vovk, Petej 2014).
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
        >>> Calibration("isotonic", (-1.0, 1.0, 0.1, 0.3))(np.array([0.0])).tolist()
        [0.2]
        """
        pd_ = self._map(margin)
        # np.clip takes three times as long.
        above_smallest = np.maximum(pd_, SMALLEST_PD)
        return np.minimum(above_smallest, 1 - SMALLEST_PD)

    def moved(self, shift: float) -> Calibration:
        """Return the map that gives PDs with other log-odds: theirs plus a shift.

        Examples
        --------
        >>> even = Calibration("platt", (1.0, 0.0)).moved(-2.944439)
        >>> even(np.array([0.0])).round(6).tolist()
        [0.05]
        >>> steps = Calibration("isotonic", (-1.0, 1.0, 0.5, 0.9)).moved(-2.944439)
        >>> steps(np.array([-1.0])).round(6).tolist()
        [0.05]
        """
        if self.kind == "identity":
            return Calibration("platt", (1.0, shift))
        if self.kind in ("platt", "beta"):
            *slopes, intercept = self.parameters
            return Calibration(self.kind, (*slopes, intercept + shift))
        knots, heights = np.split(np.asarray(self.parameters), 2)
        return Calibration(self.kind, (*knots.tolist(), *_moved(heights, shift)))

    def _map(self, margin: Floats) -> Floats:
        if self.kind == "identity":
            return sigmoid(margin)
        if self.kind == "platt":
            slope, intercept = self.parameters
            return sigmoid(slope * margin + intercept)
        if self.kind == "beta":
            a, b, c = self.parameters
            # ln p and ln(1 - p), both without overflow
            log_p = -np.logaddexp(0, -margin)
            minus_log_q = np.logaddexp(0, margin)
            return sigmoid(a * log_p + b * minus_log_q + c)
        both = np.asarray(self.parameters)
        knots, heights = np.split(both, 2)
        return np.interp(margin, knots, heights)

    def as_dict(self) -> CalibrationFields:
        """Return plain values for JSON."""
        return {"kind": self.kind, "parameters": list(self.parameters)}

    @classmethod
    def from_dict(cls, fields: CalibrationFields) -> Calibration:
        """Return the calibration that `as_dict` wrote."""
        return cls(fields["kind"], tuple(fields["parameters"]))


def _moved(pds: Floats, shift: float) -> tuple[float, ...]:
    """Return PDs with a shift added to their log-odds."""
    inside = np.clip(pds, SMALLEST_PD, 1 - SMALLEST_PD)
    log_odds = np.log(inside / (1 - inside))
    moved_pds: list[float] = sigmoid(log_odds + shift).tolist()
    return tuple(moved_pds)


@dataclass(frozen=True)
class Band:
    """How certain the PD at a margin is: its 95% interval over resampled customers.

    The interval is for the default rate of customers with such a margin, not for the
    outcome of a single customer, and it takes the model that gives the margin as
    fixed.

    Attributes
    ----------
    knots : tuple of float
        Margins, rising.
    low, high : tuple of float
        Ends of the interval at each knot; linear between them.
    """

    knots: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]

    def __call__(self, margin: Floats, pd_: Floats) -> tuple[Floats, Floats]:
        """Return the ends of the interval; the PD itself is always between them.

        Parameters
        ----------
        margin : ndarray of float, shape (n,)
            Log-odds before calibration.
        pd_ : ndarray of float, shape (n,)
            The calibrated PD at each margin.

        Examples
        --------
        >>> band = Band((0.0, 1.0), (0.1, 0.3), (0.3, 0.5))
        >>> low, high = band(np.array([0.5]), np.array([0.25]))
        >>> low.round(3).tolist(), high.round(3).tolist()
        ([0.2], [0.4])
        """
        low = np.interp(margin, self.knots, self.low)
        high = np.interp(margin, self.knots, self.high)
        return np.minimum(low, pd_), np.maximum(high, pd_)

    def widened(self, calibration: Calibration, margin: float) -> Band:
        """Return a band that is also unsure of the level.

        Its distances from the PD, in log-odds, and that of the level are added as
        those of independent errors are.

        Parameters
        ----------
        calibration : Calibration
            The map that the band belongs to.
        margin : float
            Half the width of the level's 95% interval, in log-odds.

        Examples
        --------
        >>> band = Band((0.0,), (0.5,), (0.5,))    # it knew the PD exactly
        >>> wide = band.widened(Calibration("identity"), 1.0)
        >>> round(wide.low[0], 4), round(wide.high[0], 4)
        (0.2689, 0.7311)
        """
        middle = calibration(np.asarray(self.knots))
        log_odds = np.log(middle / (1 - middle))
        low = np.clip(self.low, SMALLEST_PD, 1 - SMALLEST_PD)
        high = np.clip(self.high, SMALLEST_PD, 1 - SMALLEST_PD)
        below = np.maximum(log_odds - np.log(low / (1 - low)), 0)
        above = np.maximum(np.log(high / (1 - high)) - log_odds, 0)
        wide_low: list[float] = sigmoid(log_odds - np.hypot(below, margin)).tolist()
        wide_high: list[float] = sigmoid(log_odds + np.hypot(above, margin)).tolist()
        return Band(self.knots, tuple(wide_low), tuple(wide_high))

    def moved(self, shift: float) -> Band:
        """Return the band of PDs with a shift added to their log-odds."""
        return Band(
            self.knots,
            _moved(np.asarray(self.low), shift),
            _moved(np.asarray(self.high), shift),
        )

    def as_dict(self) -> BandFields:
        """Return plain values for JSON."""
        return {
            "knots": self.knots,
            "low": self.low,
            "high": self.high,
        }

    @classmethod
    def from_dict(cls, fields: BandFields) -> Band:
        """Return the band that `as_dict` wrote."""
        return cls(
            tuple(fields["knots"]),
            tuple(fields["low"]),
            tuple(fields["high"]),
        )
