"""Reject inference: two ways for applicants who were refused, whose outcome nobody saw, to count. Never unless asked.

Augmentation lets those who were accepted stand for the refused who resemble them: each counts one over its chance of
being accepted (Hsia 1978). Fuzzy lets each refused one count as a default and as none, by its PD under a scorecard of
the accepted (Siddiqi 2006, "fuzzy augmentation"). Neither knows what would have happened: where acceptance followed
the columns of the table, PDs given those columns are right without either, and both can make a model worse (Banasik
and Crook 2007). Numbers of trees, weights of the blend, the calibration, the choice among rungs and every figure
are of known outcomes alone.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np

from obligor.arrays import Floats, Ints
from obligor.model.calibration import sigmoid
from obligor.training.candidates.candidates import TrainingRows
from obligor.training.candidates.scorecard import fit_scorecard

Method = Literal["augmentation", "fuzzy"]

MOST_WEIGHT = 10.0  # no accepted applicant stands for more than so many


def with_rejects(
    table: TrainingRows, refused: Floats, method: Method, odds: float = 1.0
) -> TrainingRows:
    """Return a table in which refused applicants count.

    Parameters
    ----------
    refused : array, shape (m, columns)
        Rows of applicants who were refused.
    odds : float
        The odds of a default of a refused one over those of an accepted one with the same PD; fuzzy alone uses them.
    """
    return (
        _augmented(table, refused)
        if method == "augmentation"
        else _fuzzy(table, refused, odds)
    )


def acceptance_weights(table: TrainingRows, refused: Floats) -> Floats:
    """Return one over each accepted row's chance of having been accepted, at most `MOST_WEIGHT`, 1 in the mean."""
    rows, is_refused = (
        np.vstack([table.rows, refused]),
        np.repeat([0, 1], [len(table.rows), len(refused)]),
    )
    free = [0] * len(table.names)
    card = fit_scorecard(rows, is_refused, table.names, table.categorical, free)
    weight = np.minimum(1 / sigmoid(-card.margin(table.rows)), MOST_WEIGHT)
    return weight / float(weight.mean())


def effective_rows(weight: Floats) -> float:
    """Return how many rows of equal weight would say as much: (sum w)^2 / sum w^2 (Kish 1965).

    Examples
    --------
    >>> effective_rows(np.array([1.0, 1.0, 2.0]))
    2.6666666666666665
    """
    return float(weight.sum() ** 2 / (weight**2).sum())


def _augmented(table: TrainingRows, refused: Floats) -> TrainingRows:
    weight = acceptance_weights(table, refused)
    return replace(table, weigh=lambda fit: weight[fit])


def _fuzzy(table: TrainingRows, refused: Floats, odds: float) -> TrainingRows:
    """Each refused row twice, behind the others; what it counts, the rows learnt from say, never those held."""
    n, m = len(table.label), len(refused)
    found = dict[bytes, Floats]()  # every rung learns from the same folds

    def weigh(fit: Ints) -> Floats:
        if (key := fit.tobytes()) not in found:
            found[key] = fresh(fit[fit < n])
        return found[key]

    def fresh(known: Ints) -> Floats:
        card = fit_scorecard(
            table.rows[known],
            table.label[known],
            table.names,
            table.categorical,
            table.directions,
        )
        pd_ = sigmoid(card.margin(refused) + np.log(odds))
        return np.concatenate([np.ones(len(known)), pd_, 1 - pd_])

    rows, label = (
        np.vstack([table.rows, refused, refused]),
        np.append(table.label, np.repeat([1, 0], m)),
    )
    return replace(table, rows=rows, label=label, weigh=weigh)
