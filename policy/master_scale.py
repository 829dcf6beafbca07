"""From a PD to a grade and a score."""

from __future__ import annotations

import math
from decimal import Decimal

from policy.rulebook import Rulebook
from policy.tables import Evaluation


def grade_of(pd_12m: Decimal, rulebook: Rulebook) -> Evaluation:
    """Return the master scale's answer: grade 1 (safest) to 10."""
    return rulebook.tables["master_scale"](pd_12m=pd_12m)


def score_of(pd_12m: float, base_score: float, base_odds: float, points_to_double_odds: float) -> int:
    """Return points, higher = safer: base + pdo / ln 2 * ln(odds / base odds) (Siddiqi 2006), 0 to 1000.

    Examples
    --------
    >>> score_of(1 / 51, 600, 50, 20)       # odds 50:1
    600
    >>> score_of(1 / 101, 600, 50, 20)      # odds doubled
    620
    """
    odds = (1 - pd_12m) / pd_12m
    points = base_score + points_to_double_odds / math.log(2) * math.log(odds / base_odds)
    return min(max(round(points), 0), 1000)
