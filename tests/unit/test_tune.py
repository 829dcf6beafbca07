"""The search for parameters: bounded, resumable, never learning from later rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import optuna
import pandas as pd
import pytest

from obligor.errors import SchemaError
from obligor.features.applications import Applications, applications
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
from obligor.training.runs.table_model import FitOptions, fit_table

GENERATOR = np.random.default_rng(8)
VALUES = GENERATOR.normal(size=(500, 4))
NOISE = GENERATOR.normal(size=500)
LABEL = (VALUES[:, 0] + VALUES[:, 1] ** 2 + NOISE > 1.5).astype(np.int64)
ROWS = TrainingRows(
    rows=VALUES,
    label=LABEL,
    groups=np.arange(500),
    columns=Columns(("a", "b", "c", "d"), (), (0, 0, 0, 0)),
    times=np.arange(500),
)
SETTINGS = FitSettings(seed=1, threads=2)


def load_study(store: Path) -> optuna.Study:
    storage = f"sqlite:///{store / STUDIES}"
    return optuna.load_study(study_name="study", storage=storage)


# --- Folds


def test_forward_folds_learn_only_from_rows_older_by_the_gap() -> None:
    folds = forward_folds(ROWS, gap_days=40)
    assert len(folds) == 3
    for learned, held in folds:
        assert learned.max() + 40 <= held.min()


def test_forward_folds_hold_back_the_last_row() -> None:
    folds = forward_folds(ROWS, gap_days=40)
    _, last_held = folds[-1]
    assert last_held.max() == 499


def test_forward_folds_need_rows_before_the_gap() -> None:
    assert forward_folds(ROWS, gap_days=5000) == []


def test_forward_folds_of_a_ledger_are_apart_by_the_gap(trained: Trained) -> None:
    rows = training_rows(trained.split.train)
    assert rows.times is not None
    for learned, held in forward_folds(rows, gap_days=30):
        assert rows.times[learned].max() + 30 <= rows.times[held].min()


# --- The search


@pytest.fixture(scope="module")
def study_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store in which a search of two trials was resumed for two more."""
    folder = tmp_path_factory.mktemp("study")
    tune_members(ROWS, Tuning(2, folder, "study"), SETTINGS)
    assert len(load_study(folder).trials) == 2
    tune_members(ROWS, Tuning(4, folder, "study"), SETTINGS)
    return folder


def test_search_is_resumed_up_to_its_trials(study_store: Path) -> None:
    assert len(load_study(study_store).trials) == 4


def test_a_resumed_search_tries_what_an_unbroken_one_does(
    study_store: Path, tmp_path: Path
) -> None:
    tune_members(ROWS, Tuning(4, tmp_path, "study"), SETTINGS)
    unbroken = [trial.params for trial in load_study(tmp_path).trials]
    assert [trial.params for trial in load_study(study_store).trials] == unbroken


def test_a_search_that_was_killed_still_tries_the_defaults(tmp_path: Path) -> None:
    storage = f"sqlite:///{tmp_path / STUDIES}"
    study = optuna.create_study(study_name="study", storage=storage)
    study.ask()  # a trial that never ends
    tune_members(ROWS, Tuning(1, tmp_path, "study"), SETTINGS)
    last = load_study(tmp_path).trials[-1]
    assert last.params["num_leaves"] == MEMBERS[LIGHTGBM]["num_leaves"]


def test_finished_search_is_not_continued(study_store: Path) -> None:
    members = tune_members(ROWS, Tuning(4, study_store, "study"), SETTINGS)
    study = load_study(study_store)
    assert len(study.trials) == 4
    assert members[LIGHTGBM]["num_leaves"] == study.best_params["num_leaves"]
    assert members["extra_trees"] == MEMBERS["extra_trees"]


def test_search_starts_with_the_defaults_and_is_never_worse(study_store: Path) -> None:
    study = load_study(study_store)
    first = study.trials[0]
    assert first.params["num_leaves"] == MEMBERS[LIGHTGBM]["num_leaves"]
    assert first.value is not None
    assert study.best_value <= first.value


def test_search_without_trials_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(SchemaError, match="0 trials"):
        tune_members(ROWS, Tuning(0, tmp_path, "study"), SETTINGS)


@pytest.fixture(scope="module")
def data() -> Applications:
    frame = pd.DataFrame(VALUES[:400], columns=list("abcd"))
    spec = Spec.model_validate({"target": {"column": "bad"}})
    return applications(frame.assign(bad=LABEL[:400]), spec)


def test_tuned_bundle_does_not_depend_on_the_threads(
    data: Applications,
    tmp_path: Path,
) -> None:
    hashes: dict[str, set[str]] = {LIGHTGBM: set(), BLEND: set()}
    for threads in (1, 2):
        folder = tmp_path / str(threads)
        tuning = Tuning(3, folder, "study")
        fitted = fit_table(data, 1, FitOptions(threads=threads, tuning=tuning))
        # The blend of so few rows has no part of the member that is tuned.
        for name in (LIGHTGBM, BLEND):
            hashes[name].add(save_bundle(fitted.model(name), folder / name))
    assert len(hashes[LIGHTGBM]) == 1
    assert len(hashes[BLEND]) == 1
