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
from obligor.features.encoding import Derived
from obligor.metrics.statistics import Resampling, log_losses
from obligor.model.calibration import Calibration
from obligor.model.treeshap.explainer import explaining_ns
from obligor.training.candidates.blend import Blend, fit_blend
from obligor.training.candidates.calibrate import choose_calibration, later_split
from obligor.training.candidates.choice import Choice, choose_candidate
from obligor.training.candidates.derived_trees import fit_derived_trees
from obligor.training.candidates.fit_settings import (
    BLEND,
    DEEP_MEMBERS,
    DEEP_TREES,
    RATIOS,
    SCORECARD,
    FitSettings,
)
from obligor.training.candidates.fold_members import (
    FoldMembers,
    first_fold_losses,
    fit_fold_members,
)
from obligor.training.candidates.level_evidence import fit_evidence
from obligor.training.candidates.lightgbm_text import (
    blend_texts,
    count_leaves,
    tree_blocks,
)
from obligor.training.candidates.scorecard import Scorecard, fit_scorecard
from obligor.training.candidates.training_rows import (
    Folds,
    TrainingRows,
    fewer_outcomes,
    folds_of,
    require_both_outcomes,
)
from obligor.training.candidates.trees import (
    FittedTrees,
    TreeFits,
    fit_trees,
    keep_fits,
)

BOOTSTRAP_ROUNDS = 200
# One row is to be explained within 0.3 ms. A blend of few leaves always is; the time of
# another is estimated from its trees, and was up to 1.35 times the estimate.
MOST_EXPLAINING_NS = 220_000.0
FEW_LEAVES = 20_000


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
        Weights of the blend's members. A candidate without one was left out, so that
        a row is explained in time.
    derived : tuple of Pair or Triple
        The columns computed from others that some candidates read behind the rest.
    derived_names : frozenset of str
        Names of these candidates.
    evidence : tuple of ndarray of float
        Per category with many levels the evidence of each level.
    """

    by_name: Mapping[str, Candidate]
    choice: Choice
    scorecard: Scorecard
    weights: Mapping[str, float]
    derived: tuple[Derived, ...] = ()
    derived_names: frozenset[str] = frozenset()
    evidence: tuple[Floats, ...] = ()

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
    derived : tuple of Pair or Triple
        The columns computed from others.
    derived_names : frozenset of str
        The members that read them.
    """

    texts: dict[str, str]
    margins: dict[str, Floats]
    scorecard: Scorecard
    derived: tuple[Derived, ...]
    derived_names: frozenset[str]


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
    # 1. The members: a scorecard, trees of several kinds, trees on derived columns.
    members = _fit_members(rows, rows.with_unobserved(folds), settings)
    # 2. Their blend.
    blend, blend_text = _blend(rows, members, folds)
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
    choice = _with_left_out(choice, set(members.texts) - set(blend.weights))
    return CandidateSet(
        by_name=by_name,
        choice=choice,
        scorecard=members.scorecard,
        weights=blend.weights,
        derived=members.derived,
        derived_names=members.derived_names | {BLEND},
        evidence=tuple(
            fit_evidence(rows, levels, rows.all_indices) for levels in rows.levels
        ),
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
    trees = {
        name: fit_trees(rows, folds, choices, settings)
        for name, choices in settings.members.items()
    }
    # What follows is given up after the first fold if it falls behind there.
    shallow = [scorecard_margin, *(fitted.out_of_fold for fitted in trees.values())]
    best_loss = min(first_fold_losses(shallow, rows, folds))
    if settings.has_deep:
        with settings.watch.step(DEEP_TREES):
            trees |= _fit_deep_trees(rows, folds, settings, best_loss)
    on_derived = TreeFits({})
    if settings.has_ratios:
        with settings.watch.step(RATIOS):
            on_derived = fit_derived_trees(rows, folds, settings, best_loss)
    trees |= on_derived.members
    for name, fitted in trees.items():
        texts[name] = fitted.text
        margins[name] = fitted.out_of_fold
    derived_names = frozenset(on_derived.members)
    return _Members(texts, margins, scorecard, on_derived.columns, derived_names)


def _fit_deep_trees(
    rows: TrainingRows,
    folds: Folds,
    settings: FitSettings,
    best_loss: float,
) -> dict[str, FittedTrees]:
    """Fit deep trees if the data have much to give; those that keep up are returned."""
    if not settings.has_much_to_learn(len(rows.label), fewer_outcomes(rows.label)):
        return {}
    choices = settings.affordable(DEEP_MEMBERS, len(rows.label))
    members = FoldMembers(choices, lambda _: rows.rows)

    def fit() -> TreeFits:
        return TreeFits(fit_fold_members(rows, folds, members, settings, best_loss))

    described = {"deep": choices, "best_loss": best_loss}
    return keep_fits(rows, folds, described, settings, fit).members


def _blend(
    rows: TrainingRows,
    members: _Members,
    folds: Folds,
) -> tuple[Blend, str]:
    """Blend the members, without the costliest for their weights if all take too long.

    A member that is left out has no weight.
    """
    n_columns = len(rows.columns.names) + len(members.derived)
    margins = dict(members.margins)
    n_leaves = {name: _count_leaves(text) for name, text in members.texts.items()}
    while True:
        blend = fit_blend(margins, rows.observed_label, folds, rows.weight)
        text = _blend_text(blend, members.texts, n_columns)
        n_weighted = sum(weight > 0 for weight in blend.weights.values())
        if n_weighted <= 1 or _is_quick(text):
            return blend, text
        # A member of weight 0 has no tree in the text.
        weight_of_leaf = {
            name: weight / n_leaves[name]
            for name, weight in blend.weights.items()
            if weight > 0
        }
        del margins[min(weight_of_leaf, key=weight_of_leaf.__getitem__)]


def _with_left_out(choice: Choice, left_out: set[str]) -> Choice:
    """Return the choice; its reason names the members that the blend had to leave."""
    if not left_out:
        return choice
    names = ", ".join(sorted(left_out))
    because = (
        f"{choice.because} Left out of the blend, so that a row is explained within "
        f"0.3 ms: {names}."
    )
    return choice._replace(because=because)


def _is_quick(text: str) -> bool:
    if _count_leaves(text) <= FEW_LEAVES:
        return True
    return explaining_ns(text) <= MOST_EXPLAINING_NS


def _count_leaves(text: str) -> int:
    return sum(map(count_leaves, tree_blocks(text)))


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
