"""The level of the PD: fitted to what the latest dates have shown, and no more."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from math import log

import mlflow
import numpy as np
import pandas as pd
import pytest

from obligor.arrays import Floats
from obligor.data.ledger import Ledger
from obligor.data.synthetic import Simulation
from obligor.model.calibration import Band, Calibration, sigmoid
from obligor.training.candidates.level import (
    USUAL_MOVE,
    Level,
    Outcomes,
    PartlyWatched,
    at_level,
    estimate_shift,
    fit_level,
    fit_timing,
    prior_of,
)
from obligor.training.runs.ledger_run import Trained
from obligor.training.samples.config import DefaultDefinition, TrainingConfig
from obligor.training.samples.watched import unseen_days, watch
from tests.conftest import NOW

N = 6000


def draw_rows(shift: float, seed: int = 1) -> PartlyWatched:
    """Return rows of which half of the horizon has passed, at a shifted level."""
    draw = np.random.default_rng(seed)
    margin = draw.normal(-2.5, 1, N)
    share = draw.uniform(0.1, 0.9, N)
    is_default = draw.random(N) < sigmoid(margin + shift) * share
    return PartlyWatched(sigmoid(margin), is_default, share, np.arange(N))


@pytest.mark.parametrize("shift", [-0.7, 0.0, 0.7])
def test_the_shift_of_partly_watched_rows_is_found(shift: float) -> None:
    estimate = estimate_shift(draw_rows(shift), None)
    assert abs(estimate.shift - shift) < 2.5 * estimate.error
    assert estimate.error < 0.1


def test_a_prior_pulls_towards_no_shift_as_far_as_the_data_are_few() -> None:
    rows = draw_rows(0.7)
    few = PartlyWatched(*(column[:300] for column in rows))
    alone = estimate_shift(few, None).shift
    assert 0 < estimate_shift(few, 0.1).shift < 0.5 * alone
    assert (
        estimate_shift(rows, USUAL_MOVE).shift > 0.9 * estimate_shift(rows, None).shift
    )


def test_rows_of_one_customer_do_not_count_as_many() -> None:
    rows = draw_rows(0.3)
    four_times = PartlyWatched(*(np.tile(column, 4) for column in rows))
    once = estimate_shift(rows, None)
    copied = estimate_shift(four_times, None)
    assert copied.shift == pytest.approx(once.shift, abs=1e-6)
    assert copied.error == pytest.approx(once.error, rel=0.05)


def test_a_history_without_moves_gives_a_narrow_prior() -> None:
    quiet = draw_rows(0.0)
    blocks = np.arange(N) % 12
    assert prior_of(quiet, blocks) < 0.75 * USUAL_MOVE
    moved = PartlyWatched(
        sigmoid(np.log(quiet.pd / (1 - quiet.pd)) + np.where(blocks % 2, 1.0, -1.0)),
        *quiet[1:],
    )
    assert prior_of(moved, blocks) > 1.5 * USUAL_MOVE


def test_the_timing_of_defaults_is_that_of_each_state() -> None:
    """Overdue rows default on day 10, the others on day 80 of 90; few are watched."""
    state = np.repeat([40.0, 0.0], 2000)
    days = np.where(state > 0, 10.0, 80.0)
    days[::2] = np.nan
    watched = np.full(4000, 90)
    timing = fit_timing(Outcomes(days, watched, state), 90)
    assert timing.shares[2][9] == pytest.approx(0, abs=0.02)
    assert timing.shares[2][10] > 0.95
    assert timing.shares[0][79] < 0.05
    assert timing.shares[0][90] == 1
    # Rows that were watched for 50 days only do not make late defaults rarer.
    half = watched.copy()
    half[2000:3000] = 50
    days[2000:3000] = np.nan
    censored = fit_timing(Outcomes(days, half, state), 90)
    assert censored.shares[0][79] < 0.05


def test_a_due_day_shows_its_default_later() -> None:
    due = DefaultDefinition(dpd_days=30, anchor="due")
    assert unseen_days(due) == 30
    assert unseen_days(DefaultDefinition()) == 0


def cut(ledger: Ledger, last: date) -> Ledger:
    """Return a ledger in which nothing that was known later than a day exists."""
    tables = {}
    for name, whole in ledger.tables.items():
        table = whole
        if "known_on" in table:
            table = table[table["known_on"] <= pd.Timestamp(last)]
        tables[name] = table
    return replace(ledger, tables=tables)


@pytest.fixture(scope="module")
def level(trained: Trained) -> Level:
    """Return the level that the model of the fixture was given."""
    recorded = trained.fit.model.about["level"]
    return Level(**{**recorded, "cohorts": tuple(recorded["cohorts"])})


def before_level(trained: Trained, level: Level) -> tuple[Calibration, Floats]:
    calibration = trained.fit.candidates.chosen.calibration
    assert calibration.moved(level.shift) == trained.fit.model.calibration
    return calibration, calibration(trained.fit.out_of_fold_margin)


def test_the_future_cannot_move_the_level(
    trained: Trained,
    level: Level,
    simulation: Simulation,
    quick: TrainingConfig,
) -> None:
    as_of = min(trained.split.test.rows["as_of"])
    assert level.as_of == as_of.isoformat()
    calibration, history_pd = before_level(trained, level)
    model = replace(trained.fit.model, calibration=calibration)
    past = watch(cut(simulation.ledger, as_of), quick, trained.split)
    assert past is not None
    assert fit_level(model, past, history_pd).recorded() == level.recorded()
    earlier = watch(
        cut(simulation.ledger, as_of - timedelta(days=60)), quick, trained.split
    )
    assert earlier is not None
    assert fit_level(model, earlier, history_pd).shift != level.shift


def test_the_dates_of_the_level_lie_between_training_and_test(
    trained: Trained, level: Level
) -> None:
    dates = [date.fromisoformat(cohort["date"]) for cohort in level.cohorts]
    assert 1 <= len(dates) <= 4
    assert max(trained.split.train.rows["as_of"]) < min(dates)
    assert max(dates) < min(trained.split.test.rows["as_of"])
    for cohort in level.cohorts:
        assert 0 <= cohort["defaults"] <= cohort["rows"]


def test_a_model_at_a_level_has_other_odds_and_a_wider_interval(
    trained: Trained,
) -> None:
    model = replace(
        trained.fit.model,
        calibration=Calibration("platt", (1.0, 0.0)),
        band=Band((-3.0, 0.0, 3.0), (0.04, 0.4, 0.94), (0.06, 0.6, 0.96)),
    )
    level = Level("2024-06-30", log(2), log(1.5), log(2.7), log(2), 0.3, ())
    moved = at_level(model, level)
    margin = np.array([-3.0, 0.0, 3.0])
    odds = moved.calibration(margin) / (1 - moved.calibration(margin))
    assert odds == pytest.approx(2 * np.exp(margin))
    assert moved.about["level"]["shift"] == log(2)
    low, high = moved.interval_12m(margin)
    pd_ = moved.calibration(margin)
    assert (low < pd_).all()
    assert (high > pd_).all()
    assert moved.text == model.text


def test_the_level_is_a_run_of_its_own_inside_the_training_run(
    trained: Trained, level: Level
) -> None:
    store = trained.report.parent.parent
    client = mlflow.MlflowClient(f"sqlite:///{store}/mlflow.db")
    version = client.get_model_version("obligor-pd", trained.version)
    parent = client.get_run(str(version.run_id))
    steps = client.search_runs(
        [parent.info.experiment_id],
        f"tags.`mlflow.parentRunId` = '{version.run_id}'",
    )
    (step,) = [run for run in steps if run.info.run_name == "level"]
    assert step.data.metrics["level_shift"] == pytest.approx(level.shift)
    assert step.data.params["as_of"] == level.as_of
    assert step.info.status == "FINISHED"
    assert step.info.start_time == int(NOW.timestamp() * 1000)


def test_the_report_shows_the_level(trained: Trained, level: Level) -> None:
    (section,) = [section for section in trained.sections if section.id == "level"]
    assert level.as_of in section.summary
    ((_, table),) = section.tables
    assert len(table) == len(level.cohorts)
    ((_, figure),) = section.pictures
    assert figure.axes[0].get_ylabel() == "defaults (count)"
