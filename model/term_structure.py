"""When within the horizon a default comes: a discrete-time hazard over the margin splits a PD among its months."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from obligor.arrays import Floats

EDGES = (91, 182)  # days: ends of the first parts of the horizon, the last ends with it
FEWEST = 15  # defaults in each part; with fewer a constant hazard is as good a guess


@dataclass(frozen=True)
class TermStructure:
    """The hazard of each part of the horizon, given the margin.

    ``h_k = 1 / (1 + exp(-(intercept_k + slope_k * margin)))`` is P(default in part k | none before) (Singer and Willett
    1993). Only its shape is used: the PD over the horizon is the calibration's.

    Attributes
    ----------
    ends : tuple of int
        Days at which the parts end; the last is the horizon.
    """

    ends: tuple[int, ...]
    intercepts: tuple[float, ...]
    slopes: tuple[float, ...]

    def share(self, margin: Floats, days: int) -> Floats:
        """Return the cumulative hazard by a day over that by the horizon, shape (n,); beyond it the hazard is even.

        ``pd within days = 1 - (1 - pd over the horizon) ** share``, which rises with the days.

        Examples
        --------
        >>> flat = TermStructure((91, 182, 365), (-3.0, -3.0, -2.3), (1.0, 1.0, 1.0))
        >>> flat.share(np.array([0.0]), 182).round(3).tolist()
        [0.504]
        >>> flat.share(np.array([0.0]), 365).tolist(), flat.share(np.array([0.0]), 730).tolist()
        ([1.0], [2.0])
        """
        starts, hazard = (
            (0, *self.ends[:-1]),
            np.logaddexp(0, np.outer(margin, self.slopes) + self.intercepts),
        )
        reached = [
            min(max(days - start, 0) / (end - start), 1.0)
            for start, end in zip(starts, self.ends, strict=True)
        ]
        share: Floats = hazard @ np.array(reached) / hazard.sum(axis=1)
        return share * max(days / self.ends[-1], 1.0)

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "ends": list(self.ends),
            "intercepts": list(self.intercepts),
            "slopes": list(self.slopes),
        }

    @classmethod
    def from_dict(cls, found: dict[str, Any]) -> TermStructure:
        """Return what `as_dict` gave."""
        return cls(
            tuple(found["ends"]), tuple(found["intercepts"]), tuple(found["slopes"])
        )


def fit_term_structure(
    margin: Floats, days_to_default: Floats, horizon_days: int
) -> TermStructure | None:
    """Fit the hazards on margins of rows the model had not seen; None where defaults are too few to tell when.

    Parameters
    ----------
    days_to_default : ndarray, shape (n,)
        Days from the as-of date to the first default within the horizon, NaN where there is none.
    """
    from sklearn.linear_model import LogisticRegression

    ends = (*(edge for edge in EDGES if edge < horizon_days), horizon_days)
    intercepts, slopes, start = list[float](), list[float](), 0
    for end in ends:
        is_at_risk = ~(days_to_default <= start)
        comes = (days_to_default <= end)[is_at_risk]
        if not FEWEST <= comes.sum() < len(comes):
            return None
        fit = LogisticRegression(C=1.0, max_iter=1000).fit(
            margin[is_at_risk, None], comes
        )
        intercepts.append(float(fit.intercept_[0]))
        slopes.append(float(fit.coef_[0, 0]))
        start = end
    return TermStructure(ends, tuple(intercepts), tuple(slopes))
