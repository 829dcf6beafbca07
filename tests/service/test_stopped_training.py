"""A run that was killed continues where it stopped, to the same bit."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from obligor.training.candidates.candidates import CandidateSet, fit_candidates
from obligor.training.candidates.fit_settings import LIGHTGBM, FitSettings
from obligor.training.candidates.kept_fits import KeptFits
from obligor.training.candidates.training_rows import Columns, Levels, TrainingRows
from obligor.training.candidates.watch import Watch

N_ROWS = 300
SLOWEST_START_S = 120
CHILD = """
import sys
from pathlib import Path
from tests.service.test_stopped_training import Stalled, fit
fit(Path(sys.argv[1]), watch=Stalled())
"""


class Stalled(Watch):
    """Stands still once the first trees are fitted, so that it can be killed there."""

    def finish(self, step: str, cost: float | None = None) -> None:
        """Stand still after LightGBM."""
        if step == LIGHTGBM:
            time.sleep(SLOWEST_START_S)


class Notes(Watch):
    """Keeps what a person is told."""

    def __init__(self) -> None:
        self.sentences = list[str]()

    def note(self, sentence: str) -> None:
        """Keep the sentence."""
        self.sentences.append(sentence)


def make_rows() -> TrainingRows:
    draw = np.random.default_rng(6)
    values = draw.normal(size=(N_ROWS, 3))
    noise = draw.logistic(size=N_ROWS)
    return TrainingRows(
        rows=values,
        label=(values[:, 0] + noise > 1).astype(np.int64),
        groups=np.arange(N_ROWS),
        columns=Columns(("a", "b", "c"), (), (0, 0, 0)),
    )


def fit(
    folder: Path | None,
    seed: int = 1,
    watch: Watch | None = None,
) -> CandidateSet:
    settings = FitSettings(
        seed=seed,
        threads=1,
        most_trees=60,
        n_folds=2,
        kept=KeptFits(folder, "code"),
        watch=watch or Watch(),
    )
    return fit_candidates(make_rows(), settings)


@pytest.fixture(scope="module")
def unbroken() -> CandidateSet:
    return fit(None)


def are_equal(first: CandidateSet, second: CandidateSet) -> bool:
    for name, candidate in first.by_name.items():
        other = second.by_name[name]
        if candidate.text != other.text or candidate.calibration != other.calibration:
            return False
        if candidate.out_of_fold.tobytes() != other.out_of_fold.tobytes():
            return False
    return first.chosen_name == second.chosen_name and first.weights == second.weights


def test_a_killed_run_continues_to_the_same_bit(
    tmp_path: Path, unbroken: CandidateSet
) -> None:
    folder = tmp_path / "unfinished"
    with subprocess.Popen([sys.executable, "-c", CHILD, str(folder)]) as child:
        give_up = time.monotonic() + SLOWEST_START_S
        while not KeptFits(folder).count() and time.monotonic() < give_up:
            time.sleep(0.05)
        os.kill(child.pid, signal.SIGKILL)
        assert child.wait() == -signal.SIGKILL
    n_kept = KeptFits(folder).count()
    kept = {path.name: path.stat().st_mtime_ns for path in folder.glob("*.json")}
    resumed = fit(folder)
    assert n_kept == 1
    assert KeptFits(folder).count() > n_kept
    for name, written_at in kept.items():
        assert (folder / name).stat().st_mtime_ns == written_at
    assert are_equal(resumed, unbroken)


def test_a_finished_fit_is_read_and_not_fitted_again(
    tmp_path: Path, unbroken: CandidateSet
) -> None:
    first = fit(tmp_path)
    again = fit(tmp_path)
    assert are_equal(first, again)
    assert are_equal(again, unbroken)


def test_a_damaged_fit_is_fitted_again(tmp_path: Path, unbroken: CandidateSet) -> None:
    fit(tmp_path)
    damaged, cut_off, *_ = sorted(tmp_path.glob("*.json"))
    content = json.loads(damaged.read_text())
    name = next(iter(content["fit"]["trees"]))
    content["fit"]["trees"][name]["text"] = "not a model"
    damaged.write_text(json.dumps(content))
    cut_off.write_text(cut_off.read_text()[:100])
    assert are_equal(fit(tmp_path), unbroken)


def test_another_seed_does_not_read_the_fits_of_this_one(tmp_path: Path) -> None:
    fit(tmp_path)
    n_kept = KeptFits(tmp_path).count()
    fit(tmp_path, seed=2)
    assert KeptFits(tmp_path).count() == 2 * n_kept


def test_a_fresh_run_forgets_what_was_fitted(tmp_path: Path) -> None:
    folder = tmp_path / "unfinished"
    folder.mkdir()
    (folder / "one.json").write_text("{}")
    notes = Notes()
    KeptFits(folder).started(is_fresh=False, watch=notes)
    assert "1 fits are kept" in notes.sentences[0]
    KeptFits(folder).started(is_fresh=True, watch=notes)
    assert KeptFits(folder).count() == 0
    assert len(notes.sentences) == 1


def test_whatever_a_fit_depends_on_is_in_its_key() -> None:
    rows = make_rows()
    folds = [(np.arange(200), np.arange(200, N_ROWS))]
    kept = KeptFits(Path("unfinished"), "code")
    weight = np.arange(1.0, N_ROWS + 1)
    levels = (Levels(1, np.zeros(N_ROWS, dtype=np.int64), 3),)
    changed_rows = [
        rows,
        replace(rows, rows=rows.rows + 1),
        replace(rows, label=1 - rows.label),
        replace(rows, groups=rows.groups[::-1].copy()),
        replace(rows, columns=rows.columns._replace(directions=(1, 0, 0))),
        replace(rows, times=np.arange(N_ROWS)),
        replace(rows, weight=weight),
        replace(rows, weigh=lambda learned: weight[learned]),
        replace(rows, folds=np.arange(N_ROWS) % 2),
        replace(rows, levels=levels),
        replace(rows, levels=(levels[0]._replace(codes=np.arange(N_ROWS)),)),
    ]
    keys = {kept.fit_key(changed, folds, {"seed": 1}) for changed in changed_rows}
    keys.add(kept.fit_key(rows, folds, {"seed": 2}))
    keys.add(kept.fit_key(rows, folds[::-1] + folds, {"seed": 1}))
    keys.add(replace(kept, code="other").fit_key(rows, folds, {"seed": 1}))
    assert len(keys) == len(changed_rows) + 3
