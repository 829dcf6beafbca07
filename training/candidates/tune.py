"""LightGBM's parameters by a bounded search that can be taken up again: Optuna, on folds that never look back."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np

from obligor.arrays import Ints
from obligor.errors import SchemaError
from obligor.training.candidates.candidates import (
    FOLDS,
    LIGHTGBM,
    MEMBERS,
    PATIENCE,
    Folds,
    TrainingRows,
    folds_of,
    parameters_of,
    rows_of,
)

STUDIES = "tuning.db"  # in the store, beside MLflow's own tables
FEWEST, STARTUP = (
    10,
    5,
)  # defaults on each side of a fold; trials before the first may be pruned
MOST_TREES = (
    600  # small steps matter for the last fit, not for telling parameters apart
)


@dataclass(frozen=True)
class Tuning:
    """How long to search, and where the study is kept.

    Attributes
    ----------
    trials : int
        In all, those of earlier runs of the same study included.
    store : Path
        The folder of the store.
    name : str
        Of the study; the same data and seed should have the same.
    gap_days : int
        Between the last row learnt and the first held in a fold: the performance window.
    """

    trials: int
    store: Path
    name: str
    gap_days: int = 0


def tuned_members(
    table: TrainingRows, tuning: Tuning, seed: int, threads: int
) -> dict[str, Mapping[str, Any]]:
    """Return the ladder's members with LightGBM's parameters from the study, the defaults where they are no better.

    Raises
    ------
    SchemaError
        Where no trial is asked for.
    """
    import optuna  # here: only who tunes waits for it

    if tuning.trials < 1:
        raise SchemaError(
            f"{tuning.trials} trials", where="--tune", expected="1 at least"
        )
    logging.getLogger("optuna").setLevel(logging.WARNING)
    tuning.store.mkdir(parents=True, exist_ok=True)
    study = optuna.create_study(
        study_name=tuning.name,
        storage=f"sqlite:///{tuning.store.resolve() / STUDIES}",
        load_if_exists=True,
        sampler=optuna.samplers.TPESampler(seed=seed),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=STARTUP),
    )
    if not study.trials:
        study.enqueue_trial(_asked(MEMBERS[LIGHTGBM], table))
    folds = forward_folds(table, tuning.gap_days) or folds_of(
        table.label, table.groups, FOLDS, seed
    )

    def loss(trial: optuna.Trial) -> float:
        choices, losses = _suggested(trial), []
        for step, (fit, held) in enumerate(folds):
            losses.append(_loss(table, choices, fit, held, seed, threads))
            trial.report(float(np.mean(losses)), step)
            if trial.should_prune():
                raise optuna.TrialPruned
        return float(np.mean(losses))

    done = sum(trial.state.is_finished() for trial in study.trials)
    study.optimize(loss, n_trials=max(tuning.trials - done, 0))
    return {
        **MEMBERS,
        LIGHTGBM: {
            "learning_rate": MEMBERS[LIGHTGBM]["learning_rate"],
            **study.best_params,
        },
    }


def forward_folds(table: TrainingRows, gap_days: int, n: int = 3) -> Folds:
    """Return folds in which everything learnt is older than everything held, by the gap; none where that leaves few.

    The days are cut into n + 1 parts; fold k holds part k + 1 and learns from what lies before it.
    """
    if table.times is None:
        return []
    edges, folds = (
        np.quantile(table.times, np.linspace(0, 1, n + 2)[1:-1], method="lower"),
        list[tuple[Ints, Ints]](),
    )
    for start, end in zip(edges, [*edges[1:], table.times.max()], strict=True):
        fit = np.flatnonzero(table.times <= start - gap_days)
        held = np.flatnonzero((table.times > start) & (table.times <= end))
        for side in (fit, held):
            if (
                min(table.label[side].sum(), len(side) - table.label[side].sum())
                < FEWEST
            ):
                return []
        folds.append((fit, held))
    return folds


def _suggested(trial: Any) -> dict[str, Any]:
    return {
        "learning_rate": 0.05,
        "num_leaves": trial.suggest_int("num_leaves", 4, 48, log=True),
        "min_data_in_leaf": trial.suggest_int("min_data_in_leaf", 10, 200, log=True),
        "feature_fraction": trial.suggest_float("feature_fraction", 0.2, 1.0),
        "bagging_fraction": trial.suggest_float("bagging_fraction", 0.5, 1.0),
        "lambda_l2": trial.suggest_float("lambda_l2", 0.1, 100.0, log=True),
    }


def _asked(choices: Mapping[str, Any], table: TrainingRows) -> dict[str, Any]:
    """The defaults as a first trial: what is found is no worse on the folds."""
    shared = parameters_of(table, choices, 1)
    names = (
        "num_leaves",
        "min_data_in_leaf",
        "feature_fraction",
        "bagging_fraction",
        "lambda_l2",
    )
    return {name: shared[name] for name in names}


def _loss(
    table: TrainingRows,
    choices: Mapping[str, Any],
    fit: Ints,
    held: Ints,
    seed: int,
    threads: int,
) -> float:
    learnt = rows_of(table, fit)
    booster = lgb.train(
        {**parameters_of(table, choices, threads), "learning_rate": 0.05, "seed": seed},
        learnt,
        MOST_TREES,
        [learnt.create_valid(table.rows[held], table.label[held])],
        callbacks=[lgb.early_stopping(PATIENCE, verbose=False)],
    )
    return float(booster.best_score["valid_0"]["binary_logloss"])
