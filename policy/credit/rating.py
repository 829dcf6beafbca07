"""From a PD to a grade, a score and a class: the model's grade, moved by analysts and overrides within bounds."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from obligor.policy.credit.credit_file import CreditFile
from obligor.policy.rulebooks.decision_table import Evaluation
from obligor.policy.rulebooks.rulebook import Rulebook


@dataclass(frozen=True)
class Rating:
    """The grade, 1 (safest) to 10, and the class, each with the rules that gave it."""

    grade: int
    customer_class: str
    trace: tuple[Evaluation, ...]


def rate(
    pd_12m: Decimal,
    dpd_days: Decimal | None,
    broken_promises: Decimal | None,
    rung: int,
    file: CreditFile,
    as_of: date,
    rulebook: Rulebook,
) -> Rating:
    """Return grade and class: master scale, then the overlay's notches, then an override that still applies."""
    tables, assessment, override = rulebook.tables, file.assessment, file.override
    scale = tables["master_scale"](pd_12m=pd_12m)
    is_valid = assessment is not None and as_of <= assessment.expires_on
    overlay = tables["overlay"](
        assessment_mean=assessment.mean if assessment and is_valid else None
    )
    grade = min(max(scale.whole("grade") + overlay.whole("notches"), 1), 10)
    trace = [scale, overlay]
    if override is not None:
        applied = tables["override"](
            has_override=True,
            is_expired=as_of > override.expires_on,
            notches_better=grade - override.grade,
        )
        grade = override.grade if applied.outputs["applies"] else grade
        trace.append(applied)
    chosen = tables["customer_class"](
        grade=grade, dpd_days=dpd_days, broken_promises=broken_promises, rung=rung
    )
    return Rating(grade, str(chosen.outputs["customer_class"]), (*trace, chosen))


def score_of(
    pd_12m: float, base_score: float, base_odds: float, points_to_double_odds: float
) -> int:
    """Return points, higher = safer: base + pdo / ln 2 * ln(odds / base odds) (Siddiqi 2006), 0 to 1000.

    Examples
    --------
    >>> score_of(1 / 51, 600, 50, 20)       # odds 50:1
    600
    >>> score_of(1 / 101, 600, 50, 20)      # odds doubled
    620
    """
    odds = (1 - pd_12m) / pd_12m
    points = base_score + points_to_double_odds / math.log(2) * math.log(
        odds / base_odds
    )
    return min(max(round(points), 0), 1000)
