"""Boosted trees: their number chosen on folds, then averaged over several seeds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import lightgbm as lgb
import numpy as np

from obligor.arrays import Floats, Ints
from obligor.features.encoding import Derived, derived_from
from obligor.training.candidates.fit_settings import (
    MANY_ROWS,
    PATIENCE,
    FitSettings,
    TreeChoices,
)
from obligor.training.candidates.kept_fits import (
    KeptFit,
    KeptTrees,
    kept_margins,
    read_margins,
)
from obligor.training.candidates.lightgbm_text import blend_texts
from obligor.training.candidates.training_rows import Folds, TrainingRows

_ALONE = "trees"  # what one kind is called that is fitted and kept by itself


class FittedTrees(NamedTuple):
    """A tree model fitted on all rows, with its out-of-fold margins.

    Attributes
    ----------
    text : str
        LightGBM's model text.
    out_of_fold : ndarray of float, shape (observed rows,)
        Margin of each row, from a fit that had not seen its group.
    """

    text: str
    out_of_fold: Floats


class TreeFits(NamedTuple):
    """Kinds of trees that were fitted together.

    Attributes
    ----------
    members : dict of str to FittedTrees
        Those that were not given up, by name.
    columns : tuple of Pair or Triple
        The columns computed from others that they read behind the rest.
    """

    members: dict[str, FittedTrees]
    columns: tuple[Derived, ...] = ()


def fit_trees(
    rows: TrainingRows,
    folds: Folds,
    choices: TreeChoices,
    settings: FitSettings,
) -> FittedTrees:
    """Fit one kind of trees; their number is chosen on the folds.

    Parameters
    ----------
    rows : TrainingRows
        What to learn from.
    folds : list of (ndarray of int, ndarray of int)
        Indices learned from and held back.
    choices : TreeChoices
        LightGBM's parameters of this kind.
    settings : FitSettings
        Seed, threads, bags and the largest number of trees.

    Returns
    -------
    FittedTrees
        The fit on all rows, and the out-of-fold margins at the same number of trees.
    """
    parameters = lightgbm_parameters(rows, choices, settings.threads)

    def fit() -> TreeFits:
        return TreeFits({_ALONE: _fit_trees(rows, folds, parameters, settings)})

    with settings.watch.step(settings.name_of(choices)):
        return keep_fits(rows, folds, parameters, settings, fit).members[_ALONE]


def keep_fits(
    rows: TrainingRows,
    folds: Folds,
    choices: Mapping[str, object],
    settings: FitSettings,
    fit: Callable[[], TreeFits],
) -> TreeFits:
    """Return members that an interrupted run has fitted; fit and keep them otherwise.

    Parameters
    ----------
    rows : TrainingRows
        What is learned from.
    folds : list of (ndarray of int, ndarray of int)
        Indices learned from and held back.
    choices : mapping of str to object
        What the fits depend on beside the rows and the settings, as JSON takes it.
    settings : FitSettings
        Says where fits are kept.
    fit : callable
        Fits the members.
    """
    if settings.kept.folder is None:
        return fit()
    key = settings.kept.fit_key(rows, folds, settings.described(choices))
    return _unpacked(settings.kept.get(key, lambda: _packed(fit())))


def _packed(fits: TreeFits) -> KeptFit:
    trees: dict[str, KeptTrees] = {}
    for name, fitted in fits.members.items():
        margins = kept_margins(fitted.out_of_fold)
        trees[name] = {"text": fitted.text, "out_of_fold": margins}
    columns: list[list[str | int]] = [list(column) for column in fits.columns]
    return {"trees": trees, "columns": columns}


def _unpacked(kept: KeptFit) -> TreeFits:
    members = {}
    for name, trees in kept["trees"].items():
        members[name] = FittedTrees(trees["text"], read_margins(trees["out_of_fold"]))
    return TreeFits(members, tuple(map(derived_from, kept["columns"])))


def _fit_trees(
    rows: TrainingRows,
    folds: Folds,
    parameters: Mapping[str, object],
    settings: FitSettings,
) -> FittedTrees:
    dataset = lightgbm_dataset(rows, rows.all_indices)
    boosters, n_trees = _cross_validate(rows, dataset, folds, parameters, settings)
    held_values = (rows.rows[held] for _, held in folds)
    on_folds = zip(boosters, held_values, strict=True)
    margins = out_of_fold_margins(rows, folds, on_folds, n_trees, settings.threads)
    n_columns = len(rows.columns.names)
    seeds = settings.seeds_for(len(rows.label))
    text = fit_bagged_trees(dataset, n_columns, parameters, n_trees, seeds)
    return FittedTrees(text, margins)


def out_of_fold_margins(
    rows: TrainingRows,
    folds: Folds,
    fits: Iterable[tuple[lgb.Booster, Floats]],
    n_trees: int,
    threads: int,
) -> Floats:
    """Return the margin of each observed row by the fit that had not seen it.

    Parameters
    ----------
    rows : TrainingRows
        The rows.
    folds : list of (ndarray of int, ndarray of int)
        Indices learned from and held back.
    fits : iterable of (lightgbm.Booster, ndarray of float)
        The fit of each fold, and the values of the rows held back from it.
    n_trees : int
        How many of its trees count.
    threads : int
        Threads of LightGBM; they change no result.
    """
    margins = np.empty(rows.n_observed)
    for (booster, values), (_, held) in zip(fits, folds, strict=True):
        margins[held] = booster.predict(
            values,
            raw_score=True,
            num_iteration=n_trees,
            num_threads=threads,
        )
    return margins


def _cross_validate(
    rows: TrainingRows,
    dataset: lgb.Dataset,
    folds: Folds,
    parameters: Mapping[str, object],
    settings: FitSettings,
) -> tuple[list[lgb.Booster], int]:
    """Boost all folds together until their mean loss stops falling.

    Returns
    -------
    list of lightgbm.Booster, int
        A booster per fold, and the number of trees with the least loss.
    """
    remaining_folds = iter(folds)

    def set_weights(
        learned: lgb.Dataset,
        held: lgb.Dataset,
        choices: dict[str, object],
    ) -> tuple[lgb.Dataset, lgb.Dataset, dict[str, object]]:
        # LightGBM calls this once per fold, in the order of the folds.
        fit_indices, held_indices = next(remaining_folds)
        weighted = learned.construct().set_weight(rows.weights_of(fit_indices))
        if rows.weight is not None:
            held = held.construct().set_weight(rows.weights_measured(held_indices))
        return weighted, held, choices

    results = lgb.cv(
        {**parameters, "seed": settings.seed},
        dataset,
        num_boost_round=settings.most_trees,
        folds=folds,
        return_cvbooster=True,
        fpreproc=set_weights if rows.weigh else None,
        callbacks=[lgb.early_stopping(PATIENCE, verbose=False)],
    )
    n_trees = max(len(results["valid binary_logloss-mean"]), 1)
    return results["cvbooster"].boosters, n_trees


def fit_bagged_trees(
    dataset: lgb.Dataset,
    n_columns: int,
    parameters: Mapping[str, object],
    n_trees: int,
    seeds: Sequence[int],
) -> str:
    """Fit the same trees once per seed and average their margins.

    Parameters
    ----------
    dataset : lightgbm.Dataset
        The rows to learn from.
    n_columns : int
        Number of columns of a row.
    parameters : mapping
        LightGBM's parameters; the seed is replaced.
    n_trees : int
        Trees per fit, 1 or more.
    seeds : sequence of int
        One fit is made with each.

    Returns
    -------
    str
        One model text that holds the trees of every fit.
    """
    weight = 1 / len(seeds)
    fits = []
    for seed in seeds:
        booster = lgb.train({**parameters, "seed": seed}, dataset, n_trees)
        fits.append((booster.model_to_string(), weight))
    return blend_texts(fits, 0.0, n_columns)


def lightgbm_dataset(
    rows: TrainingRows,
    indices: Ints,
    values: Floats | None = None,
) -> lgb.Dataset:
    """Return some rows in LightGBM's own form, with their labels and weights.

    Parameters
    ----------
    rows : TrainingRows
        Where the rows come from.
    indices : ndarray of int, shape (k,)
        Which rows.
    values : ndarray of float, shape (k, columns), optional
        Values to use in place of the rows' own, e.g. with derived columns.
    """
    chosen = rows.rows[indices] if values is None else values
    return lgb.Dataset(
        chosen,
        rows.label[indices],
        weight=rows.weights_of(indices),
        categorical_feature=list(rows.columns.categorical),
        free_raw_data=False,
        params={"verbose": -1},
    )


def lightgbm_parameters(
    rows: TrainingRows,
    choices: TreeChoices,
    threads: int,
) -> dict[str, object]:
    """Return the parameters of one kind of trees, completed by those all kinds share.

    Leaves grow with the number of rows, and the steps double if rows are many.

    Parameters
    ----------
    rows : TrainingRows
        What will be learned from.
    choices : TreeChoices
        What sets this kind apart; overrides the shared parameters.
    threads : int
        Threads LightGBM may use, 1 or more.
    """
    n_rows = len(rows.label)
    pace = 1 if n_rows < MANY_ROWS else 2
    return {
        "objective": "binary",
        "metric": "binary_logloss",
        "min_data_in_leaf": int(np.clip(n_rows // 200, 10, 100)),
        "bagging_fraction": 0.7,
        "bagging_freq": 1,
        "max_cat_to_onehot": 8,
        "cat_smooth": 20.0,
        "cat_l2": 20.0,
        "monotone_constraints": list(rows.columns.directions),
        "monotone_constraints_method": "intermediate",
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": threads,
        "verbose": -1,
        **choices,
        "learning_rate": pace * choices["learning_rate"],
    }
