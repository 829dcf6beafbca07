"""The search for parameters: bounded, taken up again, never looking back, the same on one thread and two."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import optuna
import pandas as pd
import pytest

from obligor.errors import SchemaError
from obligor.features.applications import applications
from obligor.features.table_spec import Spec
from obligor.model.bundle import save_bundle
from obligor.training.candidates.fit import training_rows
from obligor.training.candidates.fit_settings import (
    BLEND,
    LIGHTGBM,
    MEMBERS,
    FitSettings,
)
from obligor.training.candidates.training_rows import Columns, TrainingRows
from obligor.training.candidates.tune import (
    STUDIES,
    Tuning,
    forward_folds,
    tune_members,
)
from obligor.training.runs.ledger_run import Trained
from obligor.training.runs.table_model import fit_table

DRAW = np.random.default_rng(8)
ROWS = DRAW.normal(size=(500, 4))
LABEL = (ROWS[:, 0] + ROWS[:, 1] ** 2 + DRAW.normal(size=500) > 1.5).astype(np.int64)
TABLE = TrainingRows(
    ROWS,
    LABEL,
    np.arange(500),
    Columns(tuple("abcd"), (), (0, 0, 0, 0)),
    np.arange(500),
)


def _study(store: Path, name: str = "made") -> optuna.Study:
    return optuna.load_study(study_name=name, storage=f"sqlite:///{store / STUDIES}")


def test_everything_learnt_is_older_than_everything_held_by_the_gap() -> None:
    folds = forward_folds(TABLE, gap_days=40)
    assert len(folds) == 3
    for fit, held in folds:
        assert fit.max() + 40 <= held.min()
    assert np.concatenate([held for _, held in folds]).max() == 499
    assert forward_folds(TABLE, gap_days=5000) == []


def test_folds_of_a_ledger_are_a_performance_window_apart(trained: Trained) -> None:
    table = training_rows(trained.split.train)
    for fit, held in forward_folds(table, gap_days=30):
        assert table.times is not None
        assert table.times[fit].max() + 30 <= table.times[held].min()


def test_a_search_is_bounded_and_taken_up_again(tmp_path: Path) -> None:
    tune_members(TABLE, Tuning(2, tmp_path, "made"), FitSettings(1, 2))
    assert len(_study(tmp_path).trials) == 2
    members = tune_members(TABLE, Tuning(4, tmp_path, "made"), FitSettings(1, 2))
    study = _study(tmp_path)
    assert len(study.trials) == 4
    tune_members(TABLE, Tuning(4, tmp_path, "made"), FitSettings(1, 2))
    assert len(_study(tmp_path).trials) == 4
    assert members[LIGHTGBM]["num_leaves"] == study.best_params["num_leaves"]
    assert members["pairs"] == MEMBERS["pairs"]
    first = study.trials[0]
    assert (
        first.params["num_leaves"] == MEMBERS[LIGHTGBM]["num_leaves"]
    )  # the defaults are tried first
    assert study.best_value <= first.value


def test_a_tuned_bundle_is_the_same_on_one_thread_and_two(tmp_path: Path) -> None:
    frame = pd.DataFrame(ROWS[:400], columns=list("abcd")).assign(bad=LABEL[:400])
    data, hashes = (
        applications(frame, Spec.model_validate({"target": {"column": "bad"}})),
        list[str](),
    )
    for threads in (1, 2):
        fitted = fit_table(data, 1, threads, Tuning(3, tmp_path / str(threads), "made"))
        assert fitted.candidates.weights[LIGHTGBM] > 0
        hashes.append(save_bundle(fitted.model(BLEND), tmp_path / f"bundle{threads}"))
    assert hashes[0] == hashes[1]


def test_no_trials_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SchemaError, match="0 trials"):
        tune_members(TABLE, Tuning(0, tmp_path, "made"), FitSettings(1, 1))
