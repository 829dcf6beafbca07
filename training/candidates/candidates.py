"""The candidate models: a scorecard, boosted trees, and their blend.

Every candidate is a sum of trees over one column or several, so each is one LightGBM
text: saved, served and explained exactly by the same engine. The contributions of a
blend are the weighted sums of its members' contributions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from obligor.arrays import Floats, Ints
from obligor.features.encoding import Pair
from obligor.metrics.statistics import Resampling, log_losses
from obligor.model.calibration import Calibration
from obligor.training.candidates.blend import Blend, fit_blend
from obligor.training.candidates.calibrate import choose_calibration, later_split
from obligor.training.candidates.choice import Choice, choose_candidate
from obligor.training.candidates.fit_settings import (
    BLEND,
    RATIOS,
    SCORECARD,
    FitSettings,
)
from obligor.training.candidates.lightgbm_text import blend_texts
from obligor.training.candidates.ratio_trees import fit_ratio_trees
from obligor.training.candidates.scorecard import Scorecard, fit_scorecard
from obligor.training.candidates.training_rows import (
    Folds,
    TrainingRows,
    folds_of,
    require_both_outcomes,
)
from obligor.training.candidates.trees import fit_trees

BOOTSTRAP_ROUNDS = 200


@dataclass(frozen=True)
class Candidate:
    """One fitted model.

    Attributes
    ----------
    text : str
        LightGBM's model text; gives the margin (log-odds before calibration).
    calibration : Calibration
        From margin to PD.
    out_of_fold : ndarray of float, shape (observed rows,)
        Margin of each training row, from a fit that had not seen its group.
    losses : mapping of str to float
        Log loss of each kind of calibration on held-back rows.
    """

    text: str
    calibration: Calibration
    out_of_fold: Floats
    losses: Mapping[str, float]


@dataclass(frozen=True)
class CandidateSet:
    """Every candidate, and which of them is to become the challenger.

    Attributes
    ----------
    by_name : mapping of str to Candidate
        All candidates.
    choice : Choice
        The chosen one, and why.
    scorecard : Scorecard
        The scorecard behind the candidate of that name.
    weights : mapping of str to float
        Weights of the blend's members.
    pairs : tuple of Pair
        The derived columns that `RATIOS` and `BLEND` read behind the others.
    """

    by_name: Mapping[str, Candidate]
    choice: Choice
    scorecard: Scorecard
    weights: Mapping[str, float]
    pairs: tuple[Pair, ...]

    @property
    def chosen_name(self) -> str:
        """Name of the candidate that is to become the challenger."""
        return self.choice.name

    @property
    def chosen(self) -> Candidate:
        """The candidate that is to become the challenger."""
        return self.by_name[self.chosen_name]


class _Members(NamedTuple):
    """The members of the blend.

    Attributes
    ----------
    texts : dict of str to str
        LightGBM's model text of each.
    margins : dict of str to ndarray of float, shape (observed rows,)
        Out-of-fold margins of each.
    scorecard : Scorecard
        The one behind the member of that name.
    pairs : tuple of Pair
        The derived columns that `RATIOS` reads.
    """

    texts: dict[str, str]
    margins: dict[str, Floats]
    scorecard: Scorecard
    pairs: tuple[Pair, ...]


def fit_candidates(rows: TrainingRows, settings: FitSettings) -> CandidateSet:
    """Fit every candidate and choose one, using nothing but folds of these rows.

    Parameters
    ----------
    rows : TrainingRows
        What to learn from.
    settings : FitSettings
        Seed, threads, folds, and which trees to fit.

    Returns
    -------
    CandidateSet
        The candidates; the blend is chosen unless it loses, or a single candidate is
        preferred.

    Raises
    ------
    SchemaError
        If there are too few defaults, or too few others.
    """
    label = rows.observed_label
    require_both_outcomes(label)
    n_folds = settings.folds_for(len(rows.label))
    folds = folds_of(rows, n_folds, settings.seed)
    # 1. The members: a scorecard, trees of several kinds, trees on pairs of columns.
    members = _fit_members(rows, rows.with_unobserved(folds), settings)
    # 2. Their blend.
    blend = fit_blend(members.margins, label, folds, rows.weight)
    n_columns = len(rows.columns.names) + len(members.pairs)
    blend_text = _blend_text(blend, members.texts, n_columns)
    texts = {**members.texts, BLEND: blend_text}
    margins = {**members.margins, BLEND: blend.out_of_fold}
    # 3. Each calibrated, one chosen.
    splits = _calibration_splits(rows, folds)
    by_name = {
        name: _calibrate(text, margins[name], rows, splits)
        for name, text in texts.items()
    }
    resampling = Resampling(
        rows.groups,
        BOOTSTRAP_ROUNDS,
        settings.seed,
        rows.weight,
    )
    losses = {
        name: log_losses(candidate.calibration(candidate.out_of_fold), label)
        for name, candidate in by_name.items()
    }
    choice = choose_candidate(losses, resampling, settings.prefer)
    return CandidateSet(
        by_name=by_name,
        choice=choice,
        scorecard=members.scorecard,
        weights=blend.weights,
        pairs=members.pairs,
    )


def _fit_members(
    rows: TrainingRows,
    folds: Folds,
    settings: FitSettings,
) -> _Members:
    with settings.watch.step(SCORECARD):
        scorecard, scorecard_margin = _fit_scorecard(rows, folds)
    texts = {SCORECARD: scorecard.text()}
    margins = {SCORECARD: scorecard_margin}
    for name, choices in settings.members.items():
        trees = fit_trees(rows, folds, choices, settings)
        texts[name] = trees.text
        margins[name] = trees.out_of_fold
    pairs: tuple[Pair, ...] = ()
    if settings.has_ratios:
        ratios = fit_ratio_trees(rows, folds, settings)
        texts[RATIOS] = ratios.text
        margins[RATIOS] = ratios.out_of_fold
        pairs = ratios.pairs
    return _Members(texts, margins, scorecard, pairs)


def _fit_scorecard(rows: TrainingRows, folds: Folds) -> tuple[Scorecard, Floats]:
    """Return the scorecard fitted on all rows, and its out-of-fold margins."""
    out_of_fold = np.empty(rows.n_observed)
    for learned, held in folds:
        scorecard = _fit_scorecard_on(rows, learned)
        out_of_fold[held] = scorecard.margin(rows.rows[held])
    return _fit_scorecard_on(rows, rows.all_indices), out_of_fold


def _fit_scorecard_on(rows: TrainingRows, learned: Ints) -> Scorecard:
    return fit_scorecard(
        rows.rows[learned],
        rows.label[learned],
        rows.columns,
        rows.weights_of(learned),
    )


def _blend_text(
    blend: Blend,
    texts: Mapping[str, str],
    n_columns: int,
) -> str:
    weighted = [(texts[name], weight) for name, weight in blend.weights.items()]
    return blend_texts(weighted, blend.constant, n_columns)


def _calibration_splits(rows: TrainingRows, folds: Folds) -> Folds:
    """Hold back the later rows if there are dates, else the folds."""
    if rows.times is None:
        return folds
    return later_split(rows.times, rows.observed_label) or folds


def _calibrate(
    text: str,
    margin: Floats,
    rows: TrainingRows,
    splits: Folds,
) -> Candidate:
    """Calibrate on out-of-fold margins, with the kind that loses least held back."""
    calibration, losses = choose_calibration(
        margin,
        rows.observed_label,
        splits,
        rows.weight,
    )
    return Candidate(text, calibration, margin, losses)
