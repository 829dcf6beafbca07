"""Which candidate becomes the challenger: the blend, unless it loses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from obligor.arrays import Floats
from obligor.features.table_spec import Preference
from obligor.metrics.statistics import Resampling
from obligor.training.candidates.fit_settings import BLEND, SCORECARD

# The 95% interval of the blend's gain. It is compared with the best of several single
# candidates, which is lucky to be the best: on 1,000 rows the blend fell below an 80%
# interval in three folds of five, and was the better one on the rows held back.
GAIN_INTERVAL = (0.025, 0.975)


class Choice(NamedTuple):
    """Which candidate is to become the challenger, and why.

    Attributes
    ----------
    name : str
        The chosen candidate.
    because : str
        A sentence for the report.
    gain : tuple of float
        How much lower the blend's log loss is than that of the best single candidate,
        and the ends of the 95% interval of that gain.
    """

    name: str
    because: str
    gain: tuple[float, float, float]


def choose_candidate(
    losses: Mapping[str, Floats],
    resampling: Resampling,
    prefer: Preference,
) -> Choice:
    """Choose the blend unless it loses, or what a modeler prefers.

    Parameters
    ----------
    losses : mapping of str to ndarray of float, shape (n,)
        Log loss of each row out of fold, per candidate.
    resampling : Resampling
        Bootstrap samples of the rows, and how often each row counts.
    prefer : {"scorecard", "single", "best"}
        What the spec or the configuration states.
    """
    mean_losses = {
        name: float(np.average(of_rows, weights=resampling.weight))
        for name, of_rows in losses.items()
    }
    singles = [name for name in losses if name != BLEND]
    best_single = min(singles, key=mean_losses.__getitem__)
    gain = _gain(losses[best_single] - losses[BLEND], resampling)
    compared = (
        f"The blend gains {gain[0]:.5f} [{gain[1]:.5f}, {gain[2]:.5f}] in log loss "
        f"out of fold (95%) over {best_single}, the best single candidate."
    )
    if prefer == "scorecard":
        name = SCORECARD
        because = "the spec or the configuration prefers a scorecard"
    elif prefer == "single":
        name = best_single
        because = "the spec or the configuration prefers a single candidate"
    elif gain[2] < 0:
        name = best_single
        because = "the blend loses by more than chance"
    else:
        name = BLEND
        because = "the blend does not lose by more than chance"
    return Choice(name, f"The challenger is {name}: {because}. {compared}", gain)


def _gain(gains: Floats, resampling: Resampling) -> tuple[float, float, float]:
    """Return the mean gain and the ends of its 95% interval."""
    draws = [float((weight * gains).sum() / weight.sum()) for weight in resampling]
    low, high = np.quantile(draws, GAIN_INTERVAL).tolist()
    return float(np.average(gains, weights=resampling.weight)), low, high
