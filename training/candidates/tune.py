"""A bounded, resumable search for LightGBM's parameters with Optuna.

Its folds never learn from rows later than those held back.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import lightgbm as lgb
import numpy as np

from obligor.arrays import Ints
from obligor.errors import SchemaError
from obligor.training.candidates.fit_settings import (
    FOLDS,
    LIGHTGBM,
    MEMBERS,
    PATIENCE,
    FitSettings,
    TreeChoices,
)
from obligor.training.candidates.training_rows import (
    Folds,
    TrainingRows,
    fewer_outcomes,
    folds_of,
)
from obligor.training.candidates.trees import lightgbm_dataset, lightgbm_parameters

if TYPE_CHECKING:
    import optuna

STUDIES = "tuning.db"  # in the store, beside MLflow's own tables
FEWEST_DEFAULTS = 10  # on each side of a fold
STARTUP_TRIALS = 5  # before the first trial may be pruned
# Small steps matter for the final fit, not for comparing parameters.
LEARNING_RATE = 0.05
MOST_TREES = 600
TUNED = (
    "num_leaves",
    "min_data_in_leaf",
    "feature_fraction",
    "bagging_fraction",
    "lambda_l2",
)


@dataclass(frozen=True)
class Tuning:
    """How long to search, and where the study is stored.

    Attributes
    ----------
    trials : int
        Number of trials, 1 or more, including those of earlier runs of this study.
    store : Path
        The folder of the model store.
    name : str
        Name of the study; runs on the same data with the same seed should share it.
    gap_days : int
        Days between the last row learned from and the first row held back: the
        performance window.
    """

    trials: int
    store: Path
    name: str
    gap_days: int = 0


def tune_members(
    rows: TrainingRows,
    tuning: Tuning,
    settings: FitSettings,
) -> dict[str, TreeChoices]:
    """Search for LightGBM's parameters, starting from the defaults.

    Parameters
    ----------
    rows : TrainingRows
        What to learn from.
    tuning : Tuning
        The number of trials and the study to resume.
    settings : FitSettings
        Seed and threads.

    Returns
    -------
    dict of str to TreeChoices
        The default members, with the best parameters in place of LightGBM's: the
        defaults themselves if no trial was better.

    Raises
    ------
    SchemaError
        If fewer than one trial is requested.
    """
    if tuning.trials < 1:
        raise SchemaError(
            f"{tuning.trials} trials requested",
            where="--tune",
            expected="at least 1",
        )
    study = _open_study(tuning, settings.seed)
    folds = list[tuple[Ints, Ints]]()
    if rows.folds is None:
        folds = forward_folds(rows, tuning.gap_days)
    if not folds:
        folds = folds_of(rows, FOLDS, settings.seed)

    def objective(trial: optuna.Trial) -> float:
        return _mean_loss(rows, folds, settings, trial)

    for n_finished in range(_count_finished(study), tuning.trials):
        if not n_finished and not _is_first_waiting(study):
            study.enqueue_trial(_default_parameters(rows))
        # A search that was stopped goes on as if it had not been: each trial has a
        # seed of its own, whatever ran before it in this process.
        study.sampler = _sampler(settings.seed + n_finished)
        study.optimize(objective, n_trials=1)
    best = {
        "learning_rate": MEMBERS[LIGHTGBM]["learning_rate"],
        **study.best_params,
    }
    return {**MEMBERS, LIGHTGBM: cast(TreeChoices, best)}


def _count_finished(study: optuna.Study) -> int:
    """Return how many trials are done; one that was killed is not."""
    return sum(trial.state.is_finished() for trial in study.trials)


def _is_first_waiting(study: optuna.Study) -> bool:
    """Return whether a run that was killed has put the defaults in the queue."""
    import optuna

    waiting = optuna.trial.TrialState.WAITING
    return any(trial.state == waiting for trial in study.trials)


def _sampler(seed: int) -> optuna.samplers.TPESampler:
    import optuna

    return optuna.samplers.TPESampler(seed=seed)


def _open_study(tuning: Tuning, seed: int) -> optuna.Study:
    import optuna  # here: only a run that tunes waits for its import

    logging.getLogger("optuna").setLevel(logging.WARNING)
    tuning.store.mkdir(parents=True, exist_ok=True)
    return optuna.create_study(
        study_name=tuning.name,
        storage=f"sqlite:///{tuning.store.resolve() / STUDIES}",
        load_if_exists=True,
        sampler=_sampler(seed),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=STARTUP_TRIALS),
    )


def forward_folds(
    rows: TrainingRows,
    gap_days: int,
    n_folds: int = 3,
) -> Folds:
    """Return folds whose rows learned from are older than the rows held back.

    The days are cut into ``n_folds + 1`` parts; fold k holds back part k + 1 and
    learns from what is older by the gap.

    Parameters
    ----------
    rows : TrainingRows
        With `times`.
    gap_days : int
        Days between the last row learned from and the first held back, 0 or more.
    n_folds : int
        Number of folds, 1 or more.

    Returns
    -------
    list of (ndarray of int, ndarray of int)
        Empty if the rows have no times, or if a side of a fold has fewer than
        `FEWEST_DEFAULTS` rows of either outcome.
    """
    if rows.times is None:
        return []
    cuts = np.linspace(0, 1, n_folds + 2)[1:-1]
    starts = np.quantile(rows.times, cuts, method="lower")
    ends = [*starts[1:], rows.times.max()]
    folds = list[tuple[Ints, Ints]]()
    for start, end in zip(starts, ends, strict=True):
        learned = np.flatnonzero(rows.times <= start - gap_days)
        held = np.flatnonzero((rows.times > start) & (rows.times <= end))
        for side in (learned, held):
            if fewer_outcomes(rows.label[side]) < FEWEST_DEFAULTS:
                return []
        folds.append((learned, held))
    return folds


def _default_parameters(rows: TrainingRows) -> dict[str, object]:
    """Return the defaults as a first trial: the result cannot be worse on the folds."""
    defaults = lightgbm_parameters(rows, MEMBERS[LIGHTGBM], threads=1)
    return {name: defaults[name] for name in TUNED}


def _mean_loss(
    rows: TrainingRows,
    folds: Folds,
    settings: FitSettings,
    trial: optuna.Trial,
) -> float:
    """Return a trial's mean loss over the folds; stop early if it is hopeless."""
    import optuna

    choices = _suggest_choices(trial)
    losses = []
    for step, (learned, held) in enumerate(folds):
        parameters = {
            **lightgbm_parameters(rows, choices, settings.threads),
            "learning_rate": LEARNING_RATE,
            "seed": settings.seed,
        }
        losses.append(_held_loss(rows, learned, held, parameters))
        trial.report(float(np.mean(losses)), step)
        if trial.should_prune():
            raise optuna.TrialPruned
    return float(np.mean(losses))


def _suggest_choices(trial: optuna.Trial) -> TreeChoices:
    return {
        "learning_rate": LEARNING_RATE,
        "num_leaves": trial.suggest_int("num_leaves", 4, 48, log=True),
        "min_data_in_leaf": trial.suggest_int("min_data_in_leaf", 10, 200, log=True),
        "feature_fraction": trial.suggest_float("feature_fraction", 0.2, 1.0),
        "bagging_fraction": trial.suggest_float("bagging_fraction", 0.5, 1.0),
        "lambda_l2": trial.suggest_float("lambda_l2", 0.1, 100.0, log=True),
    }


def _held_loss(
    rows: TrainingRows,
    learned: Ints,
    held: Ints,
    parameters: Mapping[str, object],
) -> float:
    """Return the log loss on held-back rows at the best number of trees."""
    dataset = lightgbm_dataset(rows, learned)
    booster = lgb.train(
        parameters,
        dataset,
        MOST_TREES,
        [
            dataset.create_valid(
                rows.rows[held],
                rows.label[held],
                weight=rows.weights_measured(held),
            )
        ],
        callbacks=[lgb.early_stopping(PATIENCE, verbose=False)],
    )
    return float(booster.best_score["valid_0"]["binary_logloss"])
