"""Reject inference: two ways to use refused applicants, whose outcome nobody observed.

It is used only if a run asks for it.

- Augmentation lets accepted applicants stand for refused ones who resemble them: each
  counts one over its chance of being accepted (Hsia 1978).
- Fuzzy augmentation counts each refused applicant both as a default and as none, in
  proportion to its PD under a scorecard of the accepted (Siddiqi 2006).

Neither method observes how refused applicants would have paid. If acceptance followed
the columns of the table, PDs given those columns are right without either, and both
can make a model worse (Banasik and Crook 2007). The numbers of trees, the weights of
the blend, the calibration, the choice among the candidates and every reported figure
therefore use observed outcomes only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Literal

import numpy as np

from obligor.arrays import Floats, Ints
from obligor.model.calibration import sigmoid
from obligor.training.candidates.scorecard import fit_scorecard
from obligor.training.candidates.training_rows import TrainingRows

Method = Literal["augmentation", "fuzzy"]

MOST_WEIGHT = 10.0  # the most applicants that one accepted applicant may stand for


def with_rejects(
    rows: TrainingRows,
    refused: Floats,
    method: Method,
    odds: float = 1.0,
    refused_weight: Floats | None = None,
) -> TrainingRows:
    """Return training rows in which refused applicants count.

    Parameters
    ----------
    rows : TrainingRows
        Accepted applicants with their outcomes.
    refused : ndarray of float, shape (m, columns)
        Encoded rows of the refused applicants.
    method : {"augmentation", "fuzzy"}
        How they count; see the module.
    odds : float
        Odds of a default of a refused applicant over those of an accepted one with
        the same PD, above 0; used by the fuzzy method only.
    refused_weight : ndarray of float, shape (m,), optional
        How often each refused applicant counts; 1 by default.
    """
    if method == "augmentation":
        return _augment(rows, refused, refused_weight)
    weights = np.ones(len(refused)) if refused_weight is None else refused_weight
    return _add_fuzzy(rows, refused, odds, weights)


def acceptance_weights(
    rows: TrainingRows,
    refused: Floats,
    refused_weight: Floats | None = None,
) -> Floats:
    """Return the weight of each accepted applicant: 1 / P(being accepted).

    It is multiplied by the applicant's own weight, if the rows have weights.

    Parameters
    ----------
    rows : TrainingRows
        Accepted applicants.
    refused : ndarray of float, shape (m, columns)
        Encoded rows of the refused applicants.
    refused_weight : ndarray of float, shape (m,), optional
        How often each refused applicant counts; 1 by default.

    Returns
    -------
    ndarray of float, shape (n,)
        At most `MOST_WEIGHT` before they are scaled to a mean of 1 (with weights, so
        that their sum stays the same).
    """
    everyone = np.vstack([rows.rows, refused])
    is_refused = np.repeat([0, 1], [len(rows.rows), len(refused)])
    no_directions = (0,) * len(rows.columns.names)
    columns = rows.columns._replace(directions=no_directions)
    scorecard = fit_scorecard(
        everyone,
        is_refused,
        columns,
        _weights_of_everyone(rows, refused, refused_weight),
    )
    chance_accepted = sigmoid(-scorecard.margin(rows.rows))
    factor = np.minimum(1 / chance_accepted, MOST_WEIGHT)
    factor = factor / float(np.average(factor, weights=rows.weight))
    return factor if rows.weight is None else rows.weight * factor


def _weights_of_everyone(
    rows: TrainingRows,
    refused: Floats,
    refused_weight: Floats | None,
) -> Floats | None:
    if rows.weight is None and refused_weight is None:
        return None
    parts = [
        np.ones(len(rows.rows)) if rows.weight is None else rows.weight,
        np.ones(len(refused)) if refused_weight is None else refused_weight,
    ]
    return np.concatenate(parts)


def _augment(
    rows: TrainingRows,
    refused: Floats,
    refused_weight: Floats | None,
) -> TrainingRows:
    weight = acceptance_weights(rows, refused, refused_weight)
    return replace(rows, weigh=lambda learned: weight[learned])


def _add_fuzzy(
    rows: TrainingRows,
    refused: Floats,
    odds: float,
    refused_weight: Floats,
) -> TrainingRows:
    """Append each refused applicant twice, once as a default and once as none."""
    n_refused = len(refused)
    fuzzy_label = np.repeat([1, 0], n_refused)
    return replace(
        rows,
        rows=np.vstack([rows.rows, refused, refused]),
        label=np.append(rows.label, fuzzy_label),
        weigh=_fuzzy_weights(rows, refused, odds, refused_weight),
    )


def _fuzzy_weights(
    rows: TrainingRows,
    refused: Floats,
    odds: float,
    refused_weight: Floats,
) -> Callable[[Ints], Floats]:
    """Return a function that weighs rows by their own outcomes only."""
    weights_by_fold = dict[bytes, Floats]()  # every candidate uses the same folds

    def weigh(learned: Ints) -> Floats:
        fold_key = learned.tobytes()
        if fold_key not in weights_by_fold:
            accepted = learned[learned < len(rows.label)]
            weights_by_fold[fold_key] = fit_weights(accepted)
        return weights_by_fold[fold_key]

    def fit_weights(accepted: Ints) -> Floats:
        own_weight = rows.weights_measured(accepted)
        scorecard = fit_scorecard(
            rows.rows[accepted],
            rows.label[accepted],
            rows.columns,
            own_weight,
        )
        refused_pd = sigmoid(scorecard.margin(refused) + np.log(odds))
        accepted_weight = np.ones(len(accepted)) if own_weight is None else own_weight
        as_bad = refused_weight * refused_pd
        as_good = refused_weight * (1 - refused_pd)
        return np.concatenate([accepted_weight, as_bad, as_good])

    return weigh
