"""Fitting when within the horizon a default occurs: a discrete-time hazard."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from obligor.arrays import Bools, Floats
from obligor.model.term_structure import (
    STATE,
    STATE_EDGES,
    StateHazards,
    TermStructure,
    state_buckets,
)

EDGES = (91, 182)  # days; ends of the first parts of the horizon, the last ends with it
FEWEST_DEFAULTS = 15  # per part; with fewer a constant hazard is as good a guess


def fit_term_structure(
    margin: Floats,
    days_to_default: Floats,
    horizon_days: int,
    state: Floats | None = None,
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
    state : ndarray of float, shape (n,), optional
        The days past due on the as-of date (`STATE`). The hazards then depend on their
        bucket (`STATE_EDGES`) too.

    Returns
    -------
    TermStructure or None
        None if a part of the horizon has fewer than `FEWEST_DEFAULTS` defaults.
    """
    ends = (*(edge for edge in EDGES if edge < horizon_days), horizon_days)
    if not _has_enough_defaults(days_to_default, ends):
        return None
    alone = _fit_parts(margin[:, None], days_to_default, ends)
    return TermStructure(
        ends=ends,
        intercepts=tuple(float(part[-1]) for part in alone),
        slopes=tuple(float(part[0]) for part in alone),
        state=_fit_state(margin, days_to_default, ends, state),
    )


def _has_enough_defaults(days_to_default: Floats, ends: Sequence[int]) -> bool:
    start = 0
    for end in ends:
        is_at_risk, defaults_here = _part(days_to_default, start, end)
        n_defaults = int(defaults_here.sum())
        if not FEWEST_DEFAULTS <= n_defaults < int(is_at_risk.sum()):
            return False
        start = end
    return True


def _part(days_to_default: Floats, start: int, end: int) -> tuple[Bools, Bools]:
    """Return which rows are at risk in a part, and which of these default in it."""
    is_at_risk = ~(days_to_default <= start)
    return is_at_risk, (days_to_default <= end)[is_at_risk]


def _fit_parts(
    columns: Floats,
    days_to_default: Floats,
    ends: Sequence[int],
) -> list[Floats]:
    """Return the coefficients of each part's hazard and, last, its intercept."""
    from sklearn.linear_model import LogisticRegression

    parts = []
    start = 0
    for end in ends:
        is_at_risk, defaults_here = _part(days_to_default, start, end)
        hazard = LogisticRegression(C=1.0, max_iter=1000)
        hazard.fit(columns[is_at_risk], defaults_here)
        parts.append(np.append(hazard.coef_[0], hazard.intercept_[0]))
        start = end
    return parts


def _fit_state(
    margin: Floats,
    days_to_default: Floats,
    ends: Sequence[int],
    state: Floats | None,
) -> StateHazards | None:
    if state is None:
        return None
    buckets = state_buckets(state, STATE_EDGES)
    # The first bucket is the base; the ridge keeps a bucket of few defaults near it.
    is_in_bucket = [buckets == bucket for bucket in range(1, len(STATE_EDGES) + 1)]
    offsets = np.column_stack(is_in_bucket).astype(np.float64)
    columns = np.column_stack([margin, offsets, offsets * margin[:, None]])
    intercepts = []
    slopes = []
    for part in _fit_parts(columns, days_to_default, ends):
        base_slope = part[0]
        base = part[-1]
        offset_of, slope_of = np.split(part[1:-1], 2)
        intercepts.append((float(base), *(base + offset_of).tolist()))
        slopes.append((float(base_slope), *(base_slope + slope_of).tolist()))
    return StateHazards(STATE, STATE_EDGES, tuple(intercepts), tuple(slopes))
