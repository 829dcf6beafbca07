"""The PD within 3, 6 and 12 months, by days past due: fitted, shown, gated."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from obligor.arrays import Floats
from obligor.data.synthetic import Simulation
from obligor.metrics.statistics import Interval
from obligor.model.bundle import load_bundle, save_bundle
from obligor.model.term_structure import STATE_NAMES, TermStructure
from obligor.training.candidates.term_structure import fit_term_structure
from obligor.training.lifecycle.gates import PromotionCandidate, objections
from obligor.training.runs.ledger_run import Trained, model_under_test
from obligor.training.samples.config import TrainingConfig
from obligor.training.validation import behaviour, performance
from obligor.training.validation.horizons import (
    WatchedRows,
    check_horizons,
    horizons,
)
from obligor.training.validation.pages import as_html
from obligor.training.validation.sections import IDS
from obligor.training.validation.subject import (
    LabelledRows,
    ModelUnderTest,
    month_of,
    stored_rows,
)

N = 4000


@pytest.fixture(scope="module")
def subject(
    trained: Trained, simulation: Simulation, quick: TrainingConfig
) -> ModelUnderTest:
    return model_under_test(
        simulation.ledger, trained.fit, trained.split, quick, peers={}
    )


@pytest.fixture(scope="module")
def early_and_late() -> tuple[Floats, Floats, Floats]:
    """Return margins, days to default and days past due.

    Half of the customers are overdue and default in the first quarter, if at all; the
    others default only after half a year.
    """
    draw = np.random.default_rng(3)
    margin = draw.normal(-1.5, 1, N)
    days_past_due = np.where(np.arange(N) % 2, 20.0, 0.0)
    is_default = draw.random(N) < 1 / (1 + np.exp(-margin))
    early = draw.integers(1, 92, N)
    late = draw.integers(183, 366, N)
    day = np.where(days_past_due > 0, early, late).astype(np.float64)
    # A few at other times, without which a part has no default of a state.
    day = np.where(draw.random(N) < 0.1, draw.integers(1, 366, N), day)
    return margin, np.where(is_default, day, np.nan), days_past_due


def mean_pd_within_91_days(
    term: TermStructure, margin: Floats, state: Floats | None
) -> Floats:
    """Return the mean PD of those who are overdue and of the others."""
    pd_ = 1 / (1 + np.exp(-margin))
    within = 1 - (1 - pd_) ** term.share(margin, 91, state)
    is_overdue = np.arange(N) % 2 == 1
    return np.array([within[is_overdue].mean(), within[~is_overdue].mean()])


def test_the_hazard_takes_the_state_where_the_margin_alone_misses_it(
    early_and_late: tuple[Floats, Floats, Floats],
) -> None:
    margin, days, state = early_and_late
    term = fit_term_structure(margin, days, 365, state)
    assert term is not None
    is_overdue = state > 0
    observed = np.array(
        [(days[is_overdue] <= 91).mean(), (days[~is_overdue] <= 91).mean()]
    )
    with_state = mean_pd_within_91_days(term, margin, state)
    alone = mean_pd_within_91_days(term, margin, None)
    assert with_state[0] == pytest.approx(observed[0], rel=0.15)
    assert with_state[1] == pytest.approx(observed[1], abs=0.003)
    assert alone[0] < 0.7 * observed[0]
    assert alone[1] > 3 * observed[1]


def test_without_a_state_the_hazards_are_those_of_the_margin(
    early_and_late: tuple[Floats, Floats, Floats],
) -> None:
    margin, days, state = early_and_late
    with_state = fit_term_structure(margin, days, 365, state)
    without = fit_term_structure(margin, days, 365)
    assert with_state is not None
    assert without is not None
    assert without.state is None
    assert "state" not in without.as_dict()
    assert replace(with_state, state=None) == without


def test_a_bundle_keeps_the_hazards_by_state(trained: Trained, tmp_path: Path) -> None:
    model = trained.fit.model
    assert model.term is not None
    assert model.term.state is not None
    folder = tmp_path / "bundle"
    loaded = load_bundle(folder, save_bundle(model, folder))
    assert loaded.term == model.term
    rows = trained.split.test.features.to_numpy()[:50]
    pds = model.pds(model.margin(rows), rows)
    again = loaded.pds(loaded.margin(rows), rows)
    assert pds.pd_3m.tolist() == again.pd_3m.tolist()
    assert (pds.pd_3m != model.pds(model.margin(rows)).pd_3m).any()


def watched_of(subject: ModelUnderTest) -> WatchedRows:
    days = subject.test.days_to_default
    assert days is not None
    return WatchedRows(subject.test.rows, subject.test.groups, days)


def test_each_horizon_is_checked_overall_and_by_days_past_due(
    subject: ModelUnderTest,
) -> None:
    checks = check_horizons(subject.model, watched_of(subject))
    assert [check.days for check in checks if check.bucket == "all"] == [91, 182, 365]
    of_quarter = [check for check in checks if check.days == 91]
    assert {check.bucket for check in of_quarter} <= {"all", *STATE_NAMES}
    everyone, *buckets = of_quarter
    assert sum(check.rows for check in buckets) == everyone.rows
    assert sum(check.defaults for check in buckets) == everyone.defaults
    days = watched_of(subject).days_to_default
    assert everyone.defaults == (days <= 91).sum()


def too_early(subject: ModelUnderTest) -> ModelUnderTest:
    """The same PDs over 12 months, all of them within the first quarter."""
    term = TermStructure((91, 365), (5.0, -5.0), (0.0, 0.0))
    return replace(subject, model=replace(subject.model, term=term))


def test_the_report_shows_each_horizon(subject: ModelUnderTest) -> None:
    section = horizons(subject)
    ((caption, table),) = section.tables
    assert "99%" in caption
    assert {"mean PD", "default rate", "slope"} <= set(table.columns)
    ((_, figure),) = section.pictures
    labels = [axes.get_xlabel() for axes in figure.axes]
    assert labels == ["days past due on the as-of date"] * 3
    assert "probability" in figure.axes[0].get_ylabel()
    wrong = horizons(too_early(subject))
    assert wrong.verdict == "bad"
    assert "within 91 days (all)" in wrong.summary


def test_a_table_cannot_say_when_a_default_occurred(subject: ModelUnderTest) -> None:
    test = replace(subject.test, days_to_default=None)
    assert horizons(replace(subject, test=test)).verdict == "none"


def objections_to(subject: ModelUnderTest) -> list[str]:
    candidate = PromotionCandidate(
        model=subject.model,
        rows=stored_rows(subject.model, subject.test),
        verdicts=dict.fromkeys(IDS, ""),
    )
    return objections(candidate)


def test_a_model_whose_pds_come_too_early_is_refused(subject: ModelUnderTest) -> None:
    assert not any("within 91" in reason for reason in objections_to(subject))
    refused = objections_to(too_early(subject))
    assert any("mean PD within 91 days (all)" in reason for reason in refused)


# --- vintages


def test_a_period_that_is_a_day_belongs_to_its_month() -> None:
    days = np.array(["2024-01-03", "2024-01-31", "2024-02-01"], dtype=object)
    assert [month_of(day) for day in days] == ["2024-01", "2024-01", "2024-02"]


def test_vintages_are_months_if_the_rows_have_days(subject: ModelUnderTest) -> None:
    """Rows of a recalibration have a day each; a report must not show one for each."""
    n = len(subject.test.label)
    days = pd_days(n)
    test = LabelledRows(
        subject.test.rows, subject.test.label, subject.test.groups, days
    )
    daily = replace(subject, test=test)
    section = performance.vintages(daily)
    ((_, table),) = section.tables
    assert list(table.columns) == ["2024-01", "2024-02", "2024-03"]
    _, stability = performance.stability(daily).tables[0]
    assert list(stability.columns) == ["all", "2024-01", "2024-02", "2024-03"]


def pd_days(n: int) -> np.ndarray[tuple[int], np.dtype[np.object_]]:
    days = np.datetime64("2024-01-01") + np.arange(n) % 90
    return days.astype(str).astype(object)


# --- figures that cannot be worked out


def test_a_figure_that_cannot_be_worked_out_is_said_in_words() -> None:
    nothing = float("nan")
    assert str(Interval(nothing, nothing, nothing)) == "cannot be estimated"
    assert str(Interval(0.5, nothing, nothing)) == "0.5000, no interval"
    table = pd.DataFrame({"lowest": [1.23456, nothing, float("inf")]})
    html = as_html(table)
    assert "1.235" in html
    assert html.count("not known") == 2
    assert "nan" not in html.lower()
    assert "inf" not in html


def test_a_learning_curve_of_few_defaults_says_what_it_lacks(
    subject: ModelUnderTest,
) -> None:
    label = np.where(subject.fit.groups == subject.fit.groups[0], 1, 0)
    few = replace(subject, fit=replace(subject.fit, label=label))
    section = behaviour.overfitting(few)
    n_points = len(section.tables[0][1])
    assert n_points < 4
    assert f"It lacks {4 - n_points} of 4 points" in section.summary


def test_the_ranges_of_an_empty_column_are_not_infinite(
    subject: ModelUnderTest,
) -> None:
    rows = subject.fit.rows.copy()
    rows[:, 0] = np.nan
    empty = replace(subject, fit=replace(subject.fit, rows=rows))
    _, table = behaviour.limits_of_use(empty).tables[0]
    assert not np.isinf(table.to_numpy()).any()
