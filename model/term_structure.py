"""When within the horizon a default occurs: hazards split a PD among its months."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

import numpy as np

from obligor.arrays import Floats


class TermStructureFields(TypedDict):
    """A term structure as it stands in ``calibration.json``."""

    ends: list[int]
    intercepts: list[float]
    slopes: list[float]


@dataclass(frozen=True)
class TermStructure:
    """The hazard of each part of the horizon, given the margin.

    ``h_k = 1 / (1 + exp(-(intercept_k + slope_k * margin)))`` is the probability of a
    default in part k if there was none before (Singer and Willett 1993). Only its
    shape is used: the PD over the whole horizon is the calibration's.

    Attributes
    ----------
    ends : tuple of int
        Days at which the parts end; the last is the horizon.
    intercepts, slopes : tuple of float
        Of each part.
    """

    ends: tuple[int, ...]
    intercepts: tuple[float, ...]
    slopes: tuple[float, ...]

    def share(self, margin: Floats, days: int) -> Floats:
        """Return the cumulative hazard by a day over that by the horizon.

        ``PD within days = 1 - (1 - PD over the horizon) ** share``; it rises with the
        days. Beyond the horizon the hazard is constant.

        Parameters
        ----------
        margin : ndarray of float, shape (n,)
            Log-odds before calibration.
        days : int
            Days from the as-of date, 0 or more.

        Returns
        -------
        ndarray of float, shape (n,)
            0 on day 0, 1 at the horizon.

        Examples
        --------
        >>> flat = TermStructure((91, 182, 365), (-3.0, -3.0, -2.3), (1.0, 1.0, 1.0))
        >>> flat.share(np.array([0.0]), 182).round(3).tolist()
        [0.504]
        >>> flat.share(np.array([0.0]), 365).tolist()
        [1.0]
        >>> flat.share(np.array([0.0]), 730).tolist()
        [2.0]
        """
        starts = (0, *self.ends[:-1])
        # -ln(1 - h_k), the cumulative hazard of part k
        log_odds = np.outer(margin, self.slopes) + self.intercepts
        hazards = np.logaddexp(0, log_odds)
        elapsed_shares = []
        for start, end in zip(starts, self.ends, strict=True):
            elapsed_days = max(days - start, 0)
            elapsed_shares.append(min(elapsed_days / (end - start), 1.0))
        elapsed_hazard = hazards @ np.array(elapsed_shares)
        share: Floats = elapsed_hazard / hazards.sum(axis=1)
        return share * max(days / self.ends[-1], 1.0)

    def as_dict(self) -> TermStructureFields:
        """Return plain values for JSON."""
        return {
            "ends": list(self.ends),
            "intercepts": list(self.intercepts),
            "slopes": list(self.slopes),
        }

    @classmethod
    def from_dict(cls, fields: TermStructureFields) -> TermStructure:
        """Return the term structure that `as_dict` wrote."""
        return cls(
            tuple(fields["ends"]),
            tuple(fields["intercepts"]),
            tuple(fields["slopes"]),
        )
