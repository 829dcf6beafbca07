"""Members that are fitted fold by fold: deep trees, and trees on derived columns.

They are tried if the data have much to give, and given up after the first fold if they
fall behind there, so that their time is bounded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import lightgbm as lgb
import numpy as np

from obligor.arrays import Floats, Ints
from obligor.metrics.statistics import log_losses
from obligor.model.calibration import sigmoid
from obligor.training.candidates.fit_settings import (
    PATIENCE,
    FitSettings,
    TreeChoices,
)
from obligor.training.candidates.training_rows import Folds, TrainingRows
from obligor.training.candidates.trees import (
    FittedTrees,
    fit_bagged_trees,
    lightgbm_dataset,
    lightgbm_parameters,
    out_of_fold_margins,
)

# A member whose log loss on the first fold is more than this share above the best one's
# had no weight in a blend that mattered, on any of six tables.
MOST_BEHIND = 0.005


class FoldMembers(NamedTuple):
    """What to fit fold by fold.

    Attributes
    ----------
    choices : mapping of str to TreeChoices
        LightGBM's parameters of each member.
    values_of : callable
        Maps the indices of the rows learned from to the values of all rows, shape
        (n, columns); with them columns may be learned too. The first columns are those
        of the rows.
    always : str
        Name of the member that is never given up; empty for none.
    """

    choices: Mapping[str, TreeChoices]
    values_of: Callable[[Ints], Floats]
    always: str = ""


class _Fold(NamedTuple):
    """A fold: the values of all rows, which are learned from, which are held back."""

    rows: TrainingRows
    values: Floats
    learned: Ints
    held: Ints


class _FoldFit(NamedTuple):
    """A member on one fold: its fit, and the values and log loss of the rows held."""

    booster: lgb.Booster
    held_values: Floats
    loss: float


def first_fold_losses(
    margins: Iterable[Floats],
    rows: TrainingRows,
    folds: Folds,
) -> list[float]:
    """Return the mean log loss on the first fold's held-back rows, per margin.

    Parameters
    ----------
    margins : iterable of ndarray of float, shape (observed rows,)
        Out-of-fold margins of members.
    rows : TrainingRows
        Their outcomes.
    folds : list of (ndarray of int, ndarray of int)
        Indices learned from and held back.
    """
    _, held = folds[0]
    return [_mean_loss(margin[held], rows, held) for margin in margins]


def _mean_loss(margin: Floats, rows: TrainingRows, held: Ints) -> float:
    losses = log_losses(sigmoid(margin), rows.label[held])
    return float(np.average(losses, weights=rows.weights_measured(held)))


def fit_fold_members(
    rows: TrainingRows,
    folds: Folds,
    members: FoldMembers,
    settings: FitSettings,
    best_loss: float,
) -> dict[str, FittedTrees]:
    """Fit members fold by fold, and those that keep up on all rows.

    Parameters
    ----------
    rows : TrainingRows
        What to learn from.
    folds : list of (ndarray of int, ndarray of int)
        Indices learned from and held back.
    members : FoldMembers
        What to fit.
    settings : FitSettings
        Seed, threads, bags and the largest number of trees.
    best_loss : float
        The least log loss of the other members on the first fold.

    Returns
    -------
    dict of str to FittedTrees
        The members that were not given up.
    """
    fits = _fit_folds(rows, folds, members, settings, best_loss)
    if not fits:
        return {}
    values = members.values_of(rows.all_indices)
    seeds = settings.seeds_for(len(rows.label))
    fitted = {}
    for name, of_folds in fits.items():
        choices = members.choices[name]
        out_of_fold, n_trees = _out_of_fold(rows, folds, of_folds, settings)
        text = fit_bagged_trees(
            lightgbm_dataset(rows, rows.all_indices, values),
            values.shape[1],
            _parameters(rows, values, choices, settings),
            n_trees,
            # The others are many already: a second fit would cost more than it gives.
            seeds if name == members.always else seeds[:1],
        )
        fitted[name] = FittedTrees(text, out_of_fold)
    return fitted


def _fit_folds(
    rows: TrainingRows,
    folds: Folds,
    members: FoldMembers,
    settings: FitSettings,
    best_loss: float,
) -> dict[str, list[_FoldFit]]:
    """Fit on each fold the members that keep up on the first one."""
    fits = {name: list[_FoldFit]() for name in members.choices}
    for learned, held in folds:
        fold = _Fold(rows, members.values_of(learned), learned, held)
        for name, of_folds in fits.items():
            of_folds.append(_fit_fold(fold, members.choices[name], settings))
        fits = _keeping_up(fits, members.always, best_loss)
        if not fits:
            break
    return fits


def _keeping_up(
    fits: Mapping[str, list[_FoldFit]],
    always: str,
    best_loss: float,
) -> dict[str, list[_FoldFit]]:
    """Leave out the members that fall behind on the first fold."""
    first_losses = {name: of_folds[0].loss for name, of_folds in fits.items()}
    most = (1 + MOST_BEHIND) * min(best_loss, *first_losses.values())
    return {
        name: of_folds
        for name, of_folds in fits.items()
        if name == always or first_losses[name] <= most
    }


def _fit_fold(
    fold: _Fold,
    choices: TreeChoices,
    settings: FitSettings,
) -> _FoldFit:
    """Boost on the rows learned from until the loss of those held back rises."""
    rows = fold.rows
    held = fold.held
    held_values = fold.values[held]
    dataset = lightgbm_dataset(rows, fold.learned, fold.values[fold.learned])
    held_dataset = dataset.create_valid(
        held_values,
        rows.label[held],
        weight=rows.weights_measured(held),
    )
    booster = lgb.train(
        _parameters(rows, fold.values, choices, settings),
        dataset,
        settings.most_trees,
        [held_dataset],
        callbacks=[lgb.early_stopping(PATIENCE, verbose=False)],
    )
    loss = float(booster.best_score["valid_0"]["binary_logloss"])
    return _FoldFit(booster, held_values, loss)


def _out_of_fold(
    rows: TrainingRows,
    folds: Folds,
    fits: Sequence[_FoldFit],
    settings: FitSettings,
) -> tuple[Floats, int]:
    """Return the out-of-fold margins, and the number of trees that gives them."""
    best_numbers = [fit.booster.best_iteration for fit in fits]
    n_trees = max(int(np.median(best_numbers)), 1)
    on_folds = [(fit.booster, fit.held_values) for fit in fits]
    margins = out_of_fold_margins(rows, folds, on_folds, n_trees, settings.threads)
    return margins, n_trees


def _parameters(
    rows: TrainingRows,
    values: Floats,
    choices: TreeChoices,
    settings: FitSettings,
) -> dict[str, object]:
    """Return LightGBM's parameters, with no direction set for derived columns."""
    directions = list(rows.columns.directions)
    n_derived = values.shape[1] - len(directions)
    return {
        **lightgbm_parameters(rows, choices, settings.threads),
        "monotone_constraints": directions + [0] * n_derived,
        "seed": settings.seed,
    }
