"""The ladder of models on rows of numbers: a scorecard, LightGBM, and a blend where it wins by more than chance.

Every rung is a sum of trees over single columns or many, so each is one LightGBM text: saved, served, and explained
exactly by the same engine. A blend's contributions are the weighted sum of its members'.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import lightgbm as lgb
import numpy as np
from scipy.optimize import minimize
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from obligor.arrays import Floats, Ints
from obligor.errors import SchemaError
from obligor.features.encoding import Pair, derived
from obligor.model.calibration import Calibration, sigmoid
from obligor.training.candidates.calibrate import choose_calibration, later_split
from obligor.training.candidates.lightgbm_text import blended
from obligor.training.candidates.scorecard import Scorecard, fit_scorecard
from obligor.training.metrics.statistics import log_losses, resamples

Folds = list[tuple[Ints, Ints]]
Weigh = Callable[[Ints], Floats]  # what each of the rows learnt from counts
FEWEST = 20  # rows of each kind
FOLDS, PATIENCE, MOST_TREES = 5, 60, 3000
MANY, FOLDS_OF_MANY = 50_000, 3  # so many rows need fewer folds, and no small steps
SCORECARD, LIGHTGBM, RATIOS, BLEND = "scorecard", "lightgbm", "ratios", "blend"
MOST_PAIRS, MOST_FREE, SCREEN_TREES = 40, 30, 150
# Beside the scorecard. Their ways differ, so that their errors do: small trees, random cuts, pairs of columns.
MEMBERS: dict[str, dict[str, Any]] = {
    LIGHTGBM: {
        "learning_rate": 0.03,
        "num_leaves": 8,
        "feature_fraction": 0.5,
        "lambda_l2": 20.0,
    },
    "extra_trees": {
        "learning_rate": 0.05,
        "num_leaves": 16,
        "feature_fraction_bynode": 0.5,
        "lambda_l2": 10.0,
        "extra_trees": True,
    },
    "pairs": {
        "learning_rate": 0.05,
        "num_leaves": 3,
        "feature_fraction": 0.3,
        "lambda_l2": 5.0,
    },
}
# LightGBM as it comes: the peer every report shows beside ours.
PLAIN = {
    "objective": "binary",
    "verbose": -1,
    "seed": 0,
    "deterministic": True,
    "force_row_wise": True,
}
DRAW = 0.001  # how hard a blend's weights are drawn to equal ones, per row
ROUNDS, INTERVAL = 200, [0.1, 0.9]  # a blend must win in nine of ten bootstrap samples


@dataclass(frozen=True)
class TrainingRows:
    """Encoded rows to learn from.

    Attributes
    ----------
    rows : array, shape (n, columns)
        Numbers and codes.
    groups : array of int, shape (known,)
        Rows of one group are never on both sides of a split. Rows behind the last of these have no outcome of their
        own: they are learnt from, and never held or measured.
    times : array of int, shape (known,), optional
        The day of each row: calibrations are then compared on the later ones.
    weigh : callable, optional
        Gives the weight of each row learnt from, given their places; what is held says nothing to it.
    """

    rows: Floats
    label: Ints
    groups: Ints
    names: tuple[str, ...]
    categorical: tuple[int, ...]
    directions: tuple[int, ...]
    times: Ints | None = None
    weigh: Weigh | None = None

    def names_with(self, pairs: Sequence[Pair]) -> tuple[str, ...]:
        """Return the columns' names with those of pairs behind them."""
        return (*self.names, *(pair.name(self.names) for pair in pairs))

    @property
    def n_known(self) -> int:
        """How many rows have an outcome of their own."""
        return len(self.groups)

    def folds(self, known: Folds) -> Folds:
        """Return folds of the rows with an outcome with the others learnt from in each."""
        others = np.arange(self.n_known, len(self.label))
        return [(np.append(fit, others), held) for fit, held in known]

    def weight(self, fit: Ints) -> Floats | None:
        """Return the weight of each row learnt from; None where all count the same."""
        return None if self.weigh is None else self.weigh(fit)


@dataclass(frozen=True)
class Candidate:
    """One model: its text, its calibration, its margins on rows it had not seen, and what each calibration loses."""

    text: str
    calibration: Calibration
    out_of_fold: Floats
    losses: Mapping[str, float]


@dataclass(frozen=True)
class CandidateSet:
    """All rungs, and the one to be promoted.

    Attributes
    ----------
    weights : dict
        Of the blend's members.
    gain : tuple of float
        What the blend gains in log loss over the best rung below it, with its 80% interval.
    pairs : tuple of Pair
        The columns of two that `ratios` and the blend read behind the others.
    """

    rungs: Mapping[str, Candidate]
    chosen: str
    scorecard: Scorecard
    weights: Mapping[str, float]
    gain: tuple[float, float, float]
    pairs: tuple[Pair, ...]


def fit_ladder(
    table: TrainingRows,
    seed: int,
    threads: int,
    *,
    bags: int | None = None,
    members: Mapping[str, Mapping[str, Any]] = MEMBERS,
    ratios: bool = True,
    n_folds: int | None = None,
    most_trees: int = MOST_TREES,
) -> CandidateSet:
    """Fit every rung and choose one, on folds alone.

    Parameters
    ----------
    bags : int, optional
        Fits of each tree model over as many seeds; more where rows are few.
    members : mapping
        LightGBM's parameters of each tree model beside the scorecard.
    ratios : bool
        Whether columns of two are tried; not where the columns are ratios already.
    n_folds : int, optional
        Fewer where rows are many.
    most_trees : int
        Where early stopping stops at last.

    Raises
    ------
    SchemaError
        Where there are too few rows of one kind.
    """
    label = table.label[: table.n_known]
    _require_both(label)
    n_folds = n_folds or (FOLDS if len(table.label) < MANY else FOLDS_OF_MANY)
    known = folds_of(label, table.groups, n_folds, seed)
    folds = table.folds(known)
    card, card_margin = _fit_card(table, folds)
    texts, margins = {SCORECARD: card.text()}, {SCORECARD: card_margin}
    bags = bags or (
        3 if len(table.label) < 10_000 else 2 if len(table.label) < MANY else 1
    )
    for name in members:
        texts[name], margins[name] = fit_trees(
            table, folds, members[name], seed, threads, bags, most_trees
        )
    pairs: tuple[Pair, ...] = ()
    if ratios:
        pairs, texts[RATIOS], margins[RATIOS] = _fit_ratios(
            table, folds, seed, threads, bags
        )
    weights, constant, blend_margin = _blend(margins, label, known)
    texts[BLEND] = blended(
        [(texts[name], weight) for name, weight in weights.items()],
        constant,
        table.names_with(pairs),
    )
    margins[BLEND] = blend_margin
    splits = (
        later_split(table.times, label) if table.times is not None else []
    ) or known
    rungs = {name: _rung(texts[name], margins[name], label, splits) for name in texts}
    chosen, gain = _choose(rungs, label, table.groups, seed)
    return CandidateSet(rungs, chosen, card, weights, gain, pairs)


def folds_of(label: Ints, groups: Ints, n: int, seed: int) -> Folds:
    """Return stratified folds; rows of one group lie in one of them."""
    if len(np.unique(groups)) == len(groups):
        return list(
            StratifiedKFold(n, shuffle=True, random_state=seed).split(label, label)
        )
    return list(
        StratifiedGroupKFold(n, shuffle=True, random_state=seed).split(
            label, label, groups
        )
    )


def _require_both(label: Ints) -> None:
    fewest = int(min(label.sum(), len(label) - label.sum()))
    if fewest < FEWEST:
        raise SchemaError(
            f"only {fewest} rows of one kind",
            where="training rows",
            expected=f"{FEWEST} at least of defaults and of others",
            do="use more rows",
        )


def _fit_card(table: TrainingRows, folds: Folds) -> tuple[Scorecard, Floats]:
    def card_of(fit: Ints) -> Scorecard:
        return fit_scorecard(
            table.rows[fit],
            table.label[fit],
            table.names,
            table.categorical,
            table.directions,
            table.weight(fit),
        )

    margin = np.empty(table.n_known)
    for fit, held in folds:
        margin[held] = card_of(fit).margin(table.rows[held])
    return card_of(np.arange(len(table.label))), margin


def fit_trees(
    table: TrainingRows,
    folds: Folds,
    choices: Mapping[str, Any],
    seed: int,
    threads: int,
    bags: int,
    most_trees: int = MOST_TREES,
) -> tuple[str, Floats]:
    """Return one kind of trees, their number chosen on the folds, fitted on all rows with several seeds."""
    parameters = parameters_of(table, choices, threads)
    rows, sides = rows_of(table, np.arange(len(table.label))), iter(folds)

    def weighed(
        learnt: lgb.Dataset, held: lgb.Dataset, choices: Any
    ) -> tuple[lgb.Dataset, lgb.Dataset, Any]:
        fit, _ = next(sides)  # LightGBM goes through the folds in their order
        return learnt.construct().set_weight(table.weight(fit)), held, choices

    tuned: dict[str, Any] = lgb.cv(
        parameters | {"seed": seed},
        rows,
        num_boost_round=most_trees,
        folds=folds,
        return_cvbooster=True,
        fpreproc=weighed if table.weigh else None,
        callbacks=[lgb.early_stopping(PATIENCE, verbose=False)],
    )
    n_trees = max(len(tuned["valid binary_logloss-mean"]), 1)
    margin = np.empty(table.n_known)
    for booster, (_, held) in zip(tuned["cvbooster"].boosters, folds, strict=True):
        margin[held] = booster.predict(
            table.rows[held], raw_score=True, num_iteration=n_trees, num_threads=threads
        )
    return bagged(parameters, rows, n_trees, seed, bags, table.names), margin


def _fit_ratios(
    table: TrainingRows, folds: Folds, seed: int, threads: int, bags: int
) -> tuple[tuple[Pair, ...], str, Floats]:
    """LightGBM with columns of two beside the others; which, each fold finds out on its own rows."""
    parameters = parameters_of(table, MEMBERS[LIGHTGBM], threads) | {"seed": seed}
    boosters, best, found = list[lgb.Booster](), list[int](), list[Floats]()
    for fit, held in folds:
        rows = derived(table.rows, _screened(table, fit, parameters))
        parameters["monotone_constraints"] = _padded(table, rows)
        learnt = rows_of(table, fit, rows[fit])
        booster = lgb.train(
            parameters,
            learnt,
            MOST_TREES,
            [learnt.create_valid(rows[held], table.label[held])],
            callbacks=[lgb.early_stopping(PATIENCE, verbose=False)],
        )
        boosters.append(booster)
        best.append(booster.best_iteration)
        found.append(rows[held])
    n_trees, margin = max(int(np.median(best)), 1), np.empty(table.n_known)
    for booster, rows, (_, held) in zip(boosters, found, folds, strict=True):
        margin[held] = booster.predict(
            rows, raw_score=True, num_iteration=n_trees, num_threads=threads
        )
    everything = np.arange(len(table.label))
    pairs = _screened(table, everything, parameters)
    rows = derived(table.rows, pairs)
    parameters["monotone_constraints"] = _padded(table, rows)
    learnt = rows_of(table, everything, rows)
    return (
        pairs,
        bagged(parameters, learnt, n_trees, seed, bags, table.names_with(pairs)),
        margin,
    )


def _screened(
    table: TrainingRows, fit: Ints, parameters: Mapping[str, Any]
) -> tuple[Pair, ...]:
    """The pairs that trees gain most from; columns with a direction keep it, so they are in none."""
    free = [
        n
        for n in range(len(table.names))
        if n not in table.categorical and not table.directions[n]
    ]
    free = free[:MOST_FREE]
    pairs = [Pair("/", one, two) for one in free for two in free if one != two]
    pairs += [Pair("-", one, two) for one, two in combinations(free, 2)]
    if not pairs:
        return ()
    rows = derived(table.rows[fit], pairs)
    quick = {
        **parameters,
        "feature_fraction": 0.2,
        "learning_rate": 0.05,
        "monotone_constraints": _padded(table, rows),
    }
    screen = lgb.train(quick, rows_of(table, fit, rows), SCREEN_TREES)
    gain = screen.feature_importance("gain")[len(table.names) :]
    return tuple(
        pairs[n] for n in np.argsort(-gain, kind="stable")[:MOST_PAIRS] if gain[n] > 0
    )


def rows_of(table: TrainingRows, fit: Ints, rows: Floats | None = None) -> lgb.Dataset:
    """Return some of a table's rows as LightGBM learns from them, or others that stand for them."""
    chosen = table.rows[fit] if rows is None else rows
    return lgb.Dataset(
        chosen,
        table.label[fit],
        weight=table.weight(fit),
        categorical_feature=list(table.categorical),
        free_raw_data=False,
        params={"verbose": -1},
    )


def _padded(table: TrainingRows, rows: Floats) -> list[int]:
    return [*table.directions, *[0] * (rows.shape[1] - len(table.directions))]


def bagged(
    parameters: Mapping[str, Any],
    rows: lgb.Dataset,
    n_trees: int,
    seed: int,
    bags: int,
    names: Sequence[str],
) -> str:
    """Return the mean of fits over as many seeds, as one text."""
    fits = [
        lgb.train({**parameters, "seed": seed + bag}, rows, n_trees).model_to_string()
        for bag in range(bags)
    ]
    return blended([(text, 1 / bags) for text in fits], 0.0, names)


def parameters_of(
    table: TrainingRows, choices: Mapping[str, Any], threads: int
) -> dict[str, Any]:
    """Return one kind's parameters and what all share; leaves grow with the rows, and with many so do the steps."""
    pace = 1 if len(table.label) < MANY else 2
    return {
        "objective": "binary",
        "metric": "binary_logloss",
        "min_data_in_leaf": int(np.clip(len(table.label) // 200, 10, 100)),
        "bagging_fraction": 0.7,
        "bagging_freq": 1,
        "max_cat_to_onehot": 8,
        "cat_smooth": 20.0,
        "cat_l2": 20.0,
        "monotone_constraints": list(table.directions),
        "monotone_constraints_method": "intermediate",
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": threads,
        "verbose": -1,
        **choices,
        "learning_rate": pace * choices["learning_rate"],
    }


def _blend(
    margins: Mapping[str, Floats], label: Ints, folds: Folds
) -> tuple[dict[str, float], float, Floats]:
    """Weights of the members, and the blend's margins on rows whose fold did not choose them."""
    names, columns = list(margins), np.column_stack(list(margins.values()))
    held_margin = np.empty(len(label))
    for fit, held in folds:
        found = _weights(columns[fit], label[fit])
        held_margin[held] = columns[held] @ found[1:] + found[0]
    found = _weights(columns, label)
    return (
        dict(zip(names, found[1:].tolist(), strict=True)),
        float(found[0]),
        held_margin,
    )


def _weights(columns: Floats, label: Ints) -> Floats:
    """Intercept and weights that are not negative, by likelihood, drawn to equal weights."""
    n = columns.shape[1]
    even, pull = np.full(n, 1 / n), DRAW * len(label)

    def loss(w: Floats) -> tuple[float, Floats]:
        margin = columns @ w[1:] + w[0]
        error, off = sigmoid(margin) - label, w[1:] - even
        value = (np.logaddexp(0, margin) - label * margin).sum() + pull / 2 * (
            off**2
        ).sum()
        return float(value), np.append(error.sum(), columns.T @ error + pull * off)

    bounds: Sequence[tuple[float | None, None]] = [(None, None)] + [(0.0, None)] * n
    found: Floats = minimize(
        loss, np.append(0.0, even), jac=True, bounds=bounds, method="L-BFGS-B"
    ).x
    return found


def _rung(text: str, margin: Floats, label: Ints, splits: Folds) -> Candidate:
    """Calibrate on margins of rows not seen, with the kind that does best on rows it has not seen either."""
    calibration, losses = choose_calibration(margin, label, splits)
    return Candidate(text, calibration, margin, losses)


def _choose(
    rungs: Mapping[str, Candidate], label: Ints, groups: Ints, seed: int
) -> tuple[str, tuple[float, float, float]]:
    """LightGBM, or the scorecard where it is no worse, or the blend where its gain over both is more than chance."""
    losses = {
        name: log_losses(rung.calibration(rung.out_of_fold), label)
        for name, rung in rungs.items()
    }
    best = min((SCORECARD, LIGHTGBM), key=lambda name: losses[name].mean())
    gains = losses[best] - losses[BLEND]
    draws = [
        float((weight * gains).sum() / weight.sum())
        for weight in resamples(groups, ROUNDS, seed)
    ]
    low, high = np.quantile(draws, INTERVAL).tolist()
    return BLEND if low > 0 else best, (float(gains.mean()), low, high)


def cores() -> int:
    """Return how many processors this process may use."""
    return (
        len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count() or 1
    )
