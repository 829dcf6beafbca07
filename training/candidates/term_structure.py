"""Fitting when within the horizon a default occurs: a discrete-time hazard."""

from __future__ import annotations

from obligor.arrays import Floats
from obligor.model.term_structure import TermStructure

EDGES = (91, 182)  # days; ends of the first parts of the horizon, the last ends with it
FEWEST_DEFAULTS = 15  # per part; with fewer a constant hazard is as good a guess


def fit_term_structure(
    margin: Floats,
    days_to_default: Floats,
    horizon_days: int,
) -> TermStructure | None:
    """Fit a hazard per part of the horizon on out-of-fold margins.

    Parameters
    ----------
    margin : ndarray of float, shape (n,)
        Margins of rows the model had not seen.
    days_to_default : ndarray of float, shape (n,)
        Days from the as-of date to the first default within the horizon; NaN if none.
    horizon_days : int
        Length of the horizon, 30 or more.

    Returns
    -------
    TermStructure or None
        None if a part of the horizon has fewer than `FEWEST_DEFAULTS` defaults.
    """
    from sklearn.linear_model import LogisticRegression

    ends = (*(edge for edge in EDGES if edge < horizon_days), horizon_days)
    intercepts = list[float]()
    slopes = list[float]()
    start = 0
    for end in ends:
        is_at_risk = ~(days_to_default <= start)
        defaults_here = (days_to_default <= end)[is_at_risk]
        if not FEWEST_DEFAULTS <= defaults_here.sum() < len(defaults_here):
            return None
        hazard = LogisticRegression(C=1.0, max_iter=1000)
        hazard.fit(margin[is_at_risk, None], defaults_here)
        intercepts.append(float(hazard.intercept_[0]))
        slopes.append(float(hazard.coef_[0, 0]))
        start = end
    return TermStructure(ends, tuple(intercepts), tuple(slopes))
