"""Refused applicants: not used by default; what changes if they are."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner, Result

from obligor.arrays import Floats
from obligor.cli.app import app
from obligor.errors import SchemaError
from obligor.features.applications import Applications, applications
from obligor.features.table_spec import Spec
from obligor.metrics.statistics import effective_rows
from obligor.training.candidates.fit_settings import LIGHTGBM
from obligor.training.candidates.reject_inference import (
    MOST_WEIGHT,
    acceptance_weights,
    with_rejects,
)
from obligor.training.candidates.training_rows import (
    Columns,
    TrainingRows,
    stratified_folds,
)
from obligor.training.runs.table_model import FitOptions, TableModel, fit_table
from obligor.training.runs.table_split import split_table

SPEC = Spec.model_validate(
    {
        "target": {"column": "bad"},
        "table": {"date": "applied_on"},
        "rejects": {"column": "decision", "values": ["declined"]},
    }
)
SPEC_FILE = """
[target]
column = "bad"
[table]
date = "applied_on"
[rejects]
column = "decision"
values = ["declined"]
"""


def make_frame(n: int = 900) -> pd.DataFrame:
    """Return applications; the higher the debt, the more often they are declined.

    Declined applications have no outcome.
    """
    draw = np.random.default_rng(4)
    debt = draw.normal(size=n)
    tenure = draw.normal(size=n)
    bad = (debt - tenure + draw.logistic(size=n) > 1).astype(float)
    is_declined = debt + draw.logistic(0, 0.5, n) > 0.8
    applied_on = pd.date_range("2023-01-01", periods=n)
    return pd.DataFrame(
        {
            "debt": debt,
            "tenure": tenure,
            "bad": np.where(is_declined, np.nan, bad),
            "decision": np.where(is_declined, "declined", "accepted"),
            "applied_on": applied_on.strftime("%Y-%m-%d"),
        }
    )


@pytest.fixture(scope="module")
def data() -> Applications:
    return applications(make_frame(), SPEC)


@pytest.fixture(scope="module")
def rows(data: Applications) -> TrainingRows:
    """The accepted applicants."""
    return TrainingRows(
        rows=data.frame.to_numpy(),
        label=data.label,
        groups=np.arange(len(data)),
        columns=Columns(("debt", "tenure"), (), (0, 0)),
    )


@pytest.fixture(scope="module")
def refused(data: Applications) -> Floats:
    return data.refused.to_numpy()


# --- Who is refused


def test_declined_rows_without_an_outcome_are_refused_applicants(
    data: Applications,
) -> None:
    assert list(data.refused) == list(data.frame) == ["debt", "tenure"]
    assert len(data) + len(data.refused) == 900
    assert data.refused["debt"].mean() > data.frame["debt"].mean() + 0.5


def test_pending_rows_are_not_refused_applicants() -> None:
    pending = make_frame().assign(decision="pending")
    assert applications(pending, SPEC).refused.empty


def test_applicants_refused_in_the_test_period_are_not_used(
    data: Applications,
) -> None:
    split = split_table(data, 0)
    fit = split.fit
    test = split.test
    assert fit.refused_dates is not None
    assert test.dates is not None
    assert fit.refused_dates.max() < test.dates.min()
    assert 0 < len(fit.refused) < len(data.refused)


# --- Augmentation


def test_accepted_rows_like_refused_ones_weigh_more(
    rows: TrainingRows,
    refused: Floats,
) -> None:
    weight = acceptance_weights(rows, refused)
    correlation = np.corrcoef(weight, rows.rows[:, 0])[0, 1]
    assert weight.mean() == pytest.approx(1)
    assert weight.max() / weight.min() <= MOST_WEIGHT
    assert correlation > 0.5
    assert effective_rows(weight) < len(weight)


def test_acceptance_weights_do_not_depend_on_outcomes(
    rows: TrainingRows,
    refused: Floats,
) -> None:
    inverted = replace(rows, label=1 - rows.label)
    weight = acceptance_weights(rows, refused)
    np.testing.assert_array_equal(weight, acceptance_weights(inverted, refused))


# --- Fuzzy


def test_held_back_outcomes_do_not_reach_the_weights(
    rows: TrainingRows,
    refused: Floats,
) -> None:
    folds = stratified_folds(rows.label, rows.groups, 3, 0)
    fuzzy = with_rejects(rows, refused, "fuzzy")
    for learned, held in fuzzy.with_unobserved(folds):
        changed_label = rows.label.copy()
        changed_label[held] = 1 - changed_label[held]
        changed_rows = replace(rows, label=changed_label)
        changed = with_rejects(changed_rows, refused, "fuzzy")
        weight = fuzzy.weights_of(learned)
        assert weight is not None
        np.testing.assert_array_equal(weight, changed.weights_of(learned))


def test_refused_applicants_are_never_held_back(
    rows: TrainingRows,
    refused: Floats,
) -> None:
    folds = stratified_folds(rows.label, rows.groups, 3, 0)
    fuzzy = with_rejects(rows, refused, "fuzzy")
    for _, held in fuzzy.with_unobserved(folds):
        assert held.max() < len(rows.label)


def test_refused_applicant_weighs_one_in_all(
    rows: TrainingRows,
    refused: Floats,
) -> None:
    """It counts as a default and as none, by its PD."""
    folds = stratified_folds(rows.label, rows.groups, 3, 0)
    fuzzy = with_rejects(rows, refused, "fuzzy")
    for learned, _ in fuzzy.with_unobserved(folds):
        weight = fuzzy.weights_of(learned)
        assert weight is not None
        as_default = weight[-2 * len(refused) : -len(refused)]
        as_other = weight[-len(refused) :]
        np.testing.assert_allclose(as_default + as_other, 1)
        assert as_default.mean() > rows.label.mean()


def test_odds_multiply_the_odds_of_default(rows: TrainingRows, refused: Floats) -> None:
    n_accepted = len(rows.label)
    as_default = slice(n_accepted, n_accepted + len(refused))

    def odds_of_default(odds: float) -> Floats:
        fuzzy = with_rejects(rows, refused, "fuzzy", odds)
        weight = fuzzy.weights_of(fuzzy.all_indices)
        assert weight is not None
        pd_ = weight[as_default]
        return pd_ / (1 - pd_)

    np.testing.assert_allclose(odds_of_default(3.0), 3 * odds_of_default(1.0))


# --- Fitting


@pytest.fixture(scope="module")
def accepted_only(data: Applications) -> Applications:
    return replace(data, refused=data.refused.iloc[:0])


@pytest.fixture(scope="module")
def fitted(data: Applications) -> TableModel:
    return fit_table(data, seed=0, options=FitOptions(threads=1))


def mean_pd_of_refused(model: TableModel, data: Applications) -> float:
    rows = model.encoding.rows(data.refused)
    return float(model.model(LIGHTGBM).predict_pd(rows).mean())


def test_refused_applicants_are_not_used_by_default(
    fitted: TableModel,
    accepted_only: Applications,
) -> None:
    without = fit_table(accepted_only, seed=0, options=FitOptions(threads=1))
    assert fitted.model().text == without.model().text


def test_inference_needs_refused_applicants(accepted_only: Applications) -> None:
    with pytest.raises(SchemaError, match="no row is an applicant who was refused"):
        fit_table(
            accepted_only, seed=0, options=FitOptions(threads=1, inference="fuzzy")
        )


def test_fuzzy_inference_with_higher_odds_raises_their_pd(
    data: Applications,
    fitted: TableModel,
) -> None:
    assert SPEC.rejects is not None
    rejects = SPEC.rejects.model_copy(update={"odds": 3.0})
    with_odds = replace(data, spec=SPEC.model_copy(update={"rejects": rejects}))
    fuzzy = fit_table(
        with_odds, seed=0, options=FitOptions(threads=1, inference="fuzzy")
    )
    before = mean_pd_of_refused(fitted, data)
    assert mean_pd_of_refused(fuzzy, data) > before + 0.02
    assert len(fuzzy.candidates.by_name[LIGHTGBM].out_of_fold) == len(data)
    assert fuzzy.model().text != fitted.model().text


def test_augmentation_changes_the_model_a_little(
    data: Applications,
    fitted: TableModel,
) -> None:
    augmented = fit_table(
        data, seed=0, options=FitOptions(threads=1, inference="augmentation")
    )
    before = mean_pd_of_refused(fitted, data)
    assert abs(mean_pd_of_refused(augmented, data) - before) < 0.2
    assert len(augmented.candidates.by_name[LIGHTGBM].out_of_fold) == len(data)
    assert augmented.model().text != fitted.model().text


# --- The command and its report


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rejects")
    make_frame(500).to_csv(folder / "table.csv", index=False)
    (folder / "spec.toml").write_text(SPEC_FILE)
    return folder


@pytest.fixture(scope="module")
def outcome(folder: Path) -> Result:
    options = {
        "--table": folder / "table.csv",
        "--spec": folder / "spec.toml",
        "--store": folder / "store",
        "--report": folder / "report",
        "--rejects": "augmentation",
    }
    words = ["train"]
    for option, value in options.items():
        words += [option, str(value)]
    return CliRunner().invoke(app, words)


def test_command_prints_how_refused_applicants_are_used(outcome: Result) -> None:
    assert outcome.exit_code == 0, outcome.output
    printed = " ".join(outcome.stdout.split())
    words = "refused applicants are used in training (method: augmentation)"
    assert words in printed


def test_report_shows_the_effect(outcome: Result, folder: Path) -> None:
    """At the top, in a section of its own, and in the model card."""
    assert outcome.exit_code == 0, outcome.output
    verdicts = json.loads((folder / "report" / "validation.json").read_text())
    page = (folder / "report" / "model_report.html").read_text()
    assert "rejects" in verdicts
    assert "mean PD of the refused" in page
    words = "refused applicants are used in training (method: augmentation)"
    assert page.count(words) == 3
