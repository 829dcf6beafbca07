"""From a PD to a grade, a score and a class.

The model's grade is moved by analysts and overrides, within bounds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import NamedTuple

from obligor.policy.credit.credit_file import CreditFile
from obligor.policy.credit.position import Position
from obligor.policy.rulebooks.decision_table import Evaluation
from obligor.policy.rulebooks.rulebook import Rulebook, ScoreScale


class Conduct(NamedTuple):
    """How likely a customer is to default, and how it has paid, on a date.

    Attributes
    ----------
    as_of : date
        The date as of which it is known.
    pd_12m : Decimal
        Probability of default within 12 months, 0 to 1.
    position : Position
        What the customer owes, and what is known of it besides.
    rung : int
        Rung of the promise ladder.
    """

    as_of: date
    pd_12m: Decimal
    position: Position
    rung: int


@dataclass(frozen=True)
class Rating:
    """The grade, 1 (safest) to 10, and the class, each with the rules that set it."""

    grade: int
    customer_class: str
    trace: tuple[Evaluation, ...]


def rate(
    conduct: Conduct,
    credit_file: CreditFile,
    rulebook: Rulebook,
) -> Rating:
    """Return grade and class: master scale, notches of the overlay, then an override.

    Parameters
    ----------
    conduct : Conduct
        PD and payment behaviour.
    credit_file : CreditFile
        Holds the analyst's marks and the override; expired ones do not count.
    rulebook : Rulebook
        The rules in force.

    Returns
    -------
    Rating
        Grade and class with the evaluations behind them.
    """
    tables = rulebook.tables
    scale = tables["master_scale"](pd_12m=conduct.pd_12m)
    overlay = tables["overlay"](assessment_mean=_valid_mean(conduct.as_of, credit_file))
    # Notches never leave the scale.
    grade = min(max(scale.whole("grade") + overlay.whole("notches"), 1), 10)
    trace = [scale, overlay]
    override = credit_file.override
    if override is not None:
        evaluation = tables["override"](
            has_override=True,
            is_expired=conduct.as_of > override.expires_on,
            # Negative if the override is the weaker grade.
            notches_better=grade - override.grade,
        )
        if evaluation.outputs["applies"]:
            grade = override.grade
        trace.append(evaluation)
    classified = tables["customer_class"](
        grade=grade,
        rung=conduct.rung,
        **conduct.position.standing(),
    )
    trace.append(classified)
    return Rating(grade, str(classified.outputs["customer_class"]), tuple(trace))


def _valid_mean(as_of: date, credit_file: CreditFile) -> Decimal | None:
    """The mean of the analyst's marks, while they are valid."""
    assessment = credit_file.assessment
    if assessment is None or as_of > assessment.expires_on:
        return None
    return assessment.mean


def score_of(pd_12m: float, scale: ScoreScale) -> int:
    """Return the score in points, 0 to 1000; a higher score is safer.

    It is base + pdo / ln 2 * ln(odds / base odds) (Siddiqi 2006).

    Examples
    --------
    >>> scale = ScoreScale(base_score=600, base_odds=50, points_to_double_odds=20)
    >>> score_of(1 / 51, scale)  # odds 50:1
    600
    >>> score_of(1 / 101, scale)  # odds doubled
    620
    """
    odds = (1 - pd_12m) / pd_12m
    points_per_ln = scale.points_to_double_odds / math.log(2)
    points = scale.base_score + points_per_ln * math.log(odds / scale.base_odds)
    return min(max(round(points), 0), 1000)
