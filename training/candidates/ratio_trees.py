"""Boosted trees that also read ratios and differences of two columns."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations, permutations
from typing import NamedTuple

import lightgbm as lgb
import numpy as np

from obligor.arrays import Floats, Ints
from obligor.features.encoding import Pair, derived
from obligor.training.candidates.fit_settings import (
    LIGHTGBM,
    MEMBERS,
    MOST_TREES,
    PATIENCE,
    RATIOS,
    FitSettings,
)
from obligor.training.candidates.kept_fits import KeptFit
from obligor.training.candidates.training_rows import Folds, TrainingRows
from obligor.training.candidates.trees import (
    FittedTrees,
    fit_bagged_trees,
    lightgbm_dataset,
    lightgbm_parameters,
    packed,
    unpacked,
)

MOST_PAIRS = 40
MOST_FREE_COLUMNS = 30  # 30 columns make 1,305 pairs to screen
SCREENING_TREES = 150


class RatioTrees(NamedTuple):
    """Trees on columns and pairs of columns.

    Attributes
    ----------
    pairs : tuple of Pair
        The derived columns, in the order in which they follow the others.
    text : str
        LightGBM's model text.
    out_of_fold : ndarray of float, shape (observed rows,)
        Margin of each row, from a fit that had not seen its group.
    """

    pairs: tuple[Pair, ...]
    text: str
    out_of_fold: Floats


class _FoldFit(NamedTuple):
    booster: lgb.Booster
    held_values: Floats


def fit_ratio_trees(
    rows: TrainingRows,
    folds: Folds,
    settings: FitSettings,
) -> RatioTrees:
    """Fit LightGBM with derived columns; every fold selects its own on its own rows.

    Parameters
    ----------
    rows : TrainingRows
        What to learn from.
    folds : list of (ndarray of int, ndarray of int)
        Indices learned from and held back.
    settings : FitSettings
        Seed, threads and bags.
    """
    parameters = lightgbm_parameters(rows, MEMBERS[LIGHTGBM], settings.threads)
    parameters["seed"] = settings.seed
    with settings.watch.step(RATIOS):
        return _keep_ratio_trees(rows, folds, parameters, settings)


def _keep_ratio_trees(
    rows: TrainingRows,
    folds: Folds,
    parameters: Mapping[str, object],
    settings: FitSettings,
) -> RatioTrees:
    if settings.kept.folder is None:
        return _fit_ratio_trees(rows, folds, parameters, settings)
    choices = {"ratios": True, **settings.described(parameters)}
    key = settings.kept.fit_key(rows, folds, choices)

    def fit_and_pack() -> KeptFit:
        fitted = _fit_ratio_trees(rows, folds, parameters, settings)
        trees = FittedTrees(fitted.text, fitted.out_of_fold)
        columns: list[list[str | int]] = [list(pair) for pair in fitted.pairs]
        return {"trees": {RATIOS: packed(trees)}, "columns": columns}

    kept = settings.kept.get(key, fit_and_pack)
    trees = unpacked(kept["trees"][RATIOS])
    pairs = tuple(Pair._make(column) for column in kept["columns"])
    return RatioTrees(pairs, trees.text, trees.out_of_fold)


def _fit_ratio_trees(
    rows: TrainingRows,
    folds: Folds,
    parameters: Mapping[str, object],
    settings: FitSettings,
) -> RatioTrees:
    fits = [_fit_fold(rows, learned, held, parameters) for learned, held in folds]
    best_numbers = [fit.booster.best_iteration for fit in fits]
    n_trees = max(int(np.median(best_numbers)), 1)
    out_of_fold = np.empty(rows.n_observed)
    for fit, (_, held) in zip(fits, folds, strict=True):
        out_of_fold[held] = fit.booster.predict(
            fit.held_values,
            raw_score=True,
            num_iteration=n_trees,
            num_threads=settings.threads,
        )
    pairs = _screen_pairs(rows, rows.all_indices, parameters)
    values = derived(rows.rows, pairs)
    text = fit_bagged_trees(
        lightgbm_dataset(rows, rows.all_indices, values),
        values.shape[1],
        _with_free_pairs(parameters, rows, values),
        n_trees,
        settings.seeds_for(len(rows.label)),
    )
    return RatioTrees(pairs, text, out_of_fold)


def _fit_fold(
    rows: TrainingRows,
    learned: Ints,
    held: Ints,
    parameters: Mapping[str, object],
) -> _FoldFit:
    """Select pairs on the rows learned from, then boost until the held loss rises."""
    values = derived(rows.rows, _screen_pairs(rows, learned, parameters))
    dataset = lightgbm_dataset(rows, learned, values[learned])
    booster = lgb.train(
        _with_free_pairs(parameters, rows, values),
        dataset,
        MOST_TREES,
        [
            dataset.create_valid(
                values[held],
                rows.label[held],
                weight=rows.weights_measured(held),
            )
        ],
        callbacks=[lgb.early_stopping(PATIENCE, verbose=False)],
    )
    return _FoldFit(booster, values[held])


def _screen_pairs(
    rows: TrainingRows,
    learned: Ints,
    parameters: Mapping[str, object],
) -> tuple[Pair, ...]:
    """Select the pairs from which a quick fit gains most."""
    pairs = _possible_pairs(rows)
    if not pairs:
        return ()
    values = derived(rows.rows[learned], pairs)
    quick = {
        **_with_free_pairs(parameters, rows, values),
        "feature_fraction": 0.2,
        "learning_rate": 0.05,
    }
    dataset = lightgbm_dataset(rows, learned, values)
    screen = lgb.train(quick, dataset, SCREENING_TREES)
    gain = screen.feature_importance("gain")[len(rows.columns.names) :]
    best_first = np.argsort(-gain, kind="stable")[:MOST_PAIRS]
    return tuple(pairs[index] for index in best_first if gain[index] > 0)


def _possible_pairs(rows: TrainingRows) -> list[Pair]:
    """List the pairs of numbers without a direction: a ratio would not keep it."""
    free = [
        index
        for index, direction in enumerate(rows.columns.directions)
        if index not in rows.columns.categorical and not direction
    ]
    free = free[:MOST_FREE_COLUMNS]
    ratios = [Pair("/", first, second) for first, second in permutations(free, 2)]
    gaps = [Pair("-", first, second) for first, second in combinations(free, 2)]
    return ratios + gaps


def _with_free_pairs(
    parameters: Mapping[str, object],
    rows: TrainingRows,
    values: Floats,
) -> dict[str, object]:
    """Return the parameters with no direction set for the derived columns."""
    directions = list(rows.columns.directions)
    n_pairs = values.shape[1] - len(directions)
    return {**parameters, "monotone_constraints": directions + [0] * n_pairs}
