"""Validation: tests against oracles, sections that see what is wrong, gates."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import lightgbm as lgb
import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score
from typer.testing import CliRunner

from obligor.arrays import Floats, Ints
from obligor.cli.app import app
from obligor.data.synthetic import Simulation, write_ledger
from obligor.errors import SchemaError
from obligor.metrics.significance import by_grade, delong, hosmer_lemeshow
from obligor.model.calibration import Calibration
from obligor.model.pd_model import PdModel
from obligor.policy.rulebooks.rulebook import read_rulebooks
from obligor.training.lifecycle.gates import PromotionCandidate, objections
from obligor.training.lifecycle.recalibrate import Recalibrated, recalibrate
from obligor.training.lifecycle.registry import Registry, TrainingRun
from obligor.training.lifecycle.run_settings import RunSettings
from obligor.training.runs.ledger_run import Trained, model_under_test
from obligor.training.samples.config import TrainingConfig
from obligor.training.validation import behaviour, performance
from obligor.training.validation.fairness import approvals, groups_of, proxies
from obligor.training.validation.report import CARD, read_card
from obligor.training.validation.sections import IDS
from obligor.training.validation.soundness import (
    additive_error,
    faithful_share,
    monotone_violations,
    partial_dependence,
    riskiest,
)
from obligor.training.validation.subject import (
    LabelledRows,
    ModelUnderTest,
    Section,
    stored_rows,
)
from tests.conftest import NOW

DRAW = np.random.default_rng(4)
LABEL = (DRAW.random(600) < 0.3).astype(np.int64)
GOOD_SCORE = LABEL + DRAW.normal(0, 1.0, 600)
POOR_SCORE = LABEL + DRAW.normal(0, 3.0, 600)


@pytest.fixture(scope="module")
def subject(
    trained: Trained, simulation: Simulation, quick: TrainingConfig
) -> ModelUnderTest:
    return model_under_test(
        simulation.ledger, trained.fit, trained.split, quick, peers={}
    )


def with_calibration(
    subject: ModelUnderTest, slope: float, intercept: float
) -> ModelUnderTest:
    """The same model with other PDs: sigmoid(slope * margin + intercept)."""
    calibration = Calibration("platt", (slope, intercept))
    return replace(subject, model=replace(subject.model, calibration=calibration))


# --- significance


def test_delong_interval_equals_the_bootstrap_interval() -> None:
    test = delong(GOOD_SCORE, POOR_SCORE, LABEL)
    good_auc = roc_auc_score(LABEL, GOOD_SCORE)
    poor_auc = roc_auc_score(LABEL, POOR_SCORE)
    assert test.difference == pytest.approx(good_auc - poor_auc)
    differences = []
    for _ in range(400):
        drawn = DRAW.integers(0, 600, 600)
        good_auc = roc_auc_score(LABEL[drawn], GOOD_SCORE[drawn])
        poor_auc = roc_auc_score(LABEL[drawn], POOR_SCORE[drawn])
        differences.append(good_auc - poor_auc)
    low, high = np.quantile(differences, (0.025, 0.975))
    assert test.low == pytest.approx(low, abs=0.02)
    assert test.high == pytest.approx(high, abs=0.02)
    assert test.p_value < 1e-4


def test_delong_finds_no_difference_of_a_score_from_itself() -> None:
    assert delong(GOOD_SCORE, GOOD_SCORE, LABEL) == (0.0, 0.0, 0.0, 1.0)


def test_delong_rejects_equal_scores_as_often_as_its_level_says() -> None:
    """Of two equally good scores one pair in twenty differs at 5%."""
    is_rejected = []
    for _ in range(300):
        label = (DRAW.random(300) < 0.3).astype(np.int64)
        first = label + DRAW.normal(0, 1, 300)
        second = label + DRAW.normal(0, 1, 300)
        is_rejected.append(delong(first, second, label).p_value < 0.05)
    assert 0.02 < np.mean(is_rejected) < 0.09


def draw_outcomes(pd_: Floats) -> Ints:
    return (DRAW.random(len(pd_)) < pd_).astype(np.int64)


def test_hosmer_lemeshow_is_uniform_if_pds_are_right() -> None:
    p_values = []
    for _ in range(200):
        pd_ = DRAW.uniform(0.02, 0.4, 2000)
        _, p_value = hosmer_lemeshow(pd_, draw_outcomes(pd_))
        p_values.append(p_value)
    assert stats.kstest(p_values, "uniform").pvalue > 0.001


def test_hosmer_lemeshow_is_small_if_pds_are_half_as_high_as_they_should_be() -> None:
    pd_ = DRAW.uniform(0.02, 0.4, 2000)
    _, p_value = hosmer_lemeshow(pd_ / 2, draw_outcomes(pd_))
    assert p_value < 1e-6


def test_pluto_tasche_bound_equals_the_published_example() -> None:
    """Pluto, Tasche 2005, table 1: 100, 400, 300 obligors, no default, 75%."""
    grade = np.repeat([1, 2, 3], [100, 400, 300])
    label = np.zeros(800, dtype=np.int64)
    bounds = by_grade(grade, np.full(800, 0.001), label)["upper_pluto_tasche"]
    np.testing.assert_allclose(bounds, [0.0017, 0.0020, 0.0046], atol=5e-5)


def test_binomial_test_of_a_grade_equals_scipy() -> None:
    grade = np.ones(200, dtype=np.int64)
    label = np.repeat([1, 0], [9, 191])
    row = by_grade(grade, np.full(200, 0.02), label).loc[1]
    expected = stats.binomtest(9, 200, 0.02, "greater").pvalue
    assert row["p_value"] == pytest.approx(expected)
    assert row["upper_jeffreys"] > 9 / 200


# --- fairness


def test_four_fifths_is_missed_by_a_group_that_is_approved_less_often() -> None:
    groups = groups_of(pd.Series(["a"] * 500 + ["b"] * 500 + ["c"] * 5))
    pd_of_a = np.linspace(0, 0.5, 500)
    pd_of_b = np.linspace(0.3, 0.8, 500)
    pd_ = np.concatenate([pd_of_a, pd_of_b, np.ones(5)])
    table = approvals(pd_, (pd_ > 0.6).astype(np.int64), groups, 0.5)
    assert list(table.index) == ["a", "b"]  # c is too small
    assert table.loc["b", "four_fifths"] < 0.8 < table.loc["a", "four_fifths"]


def test_a_number_is_grouped_by_its_quarters() -> None:
    assert groups_of(pd.Series(np.arange(400.0))).nunique() == 4


def test_proxies_are_columns_that_separate_the_groups() -> None:
    sex = pd.Series(np.where(DRAW.random(1000) < 0.5, "f", "m"))
    near = (sex == "f") + DRAW.normal(0, 0.3, 1000)
    noise = DRAW.normal(size=1000)
    code = (sex == "m") * 2.0
    rows = np.column_stack([near, noise, code])
    gini = proxies(rows, ("near", "noise", "code"), (2,), groups_of(sex))
    assert gini["code"] == pytest.approx(1.0)
    assert gini["near"] > 0.8
    assert gini["noise"] < 0.15


# --- soundness


def fit_on_two_columns(rows: Floats, label: Ints, **choices: object) -> PdModel:
    parameters = {
        "objective": "binary",
        "verbose": -1,
        "num_leaves": 8,
        "seed": 0,
        **choices,
    }
    booster = lgb.train(parameters, lgb.Dataset(rows, label), 40)
    return PdModel(
        text=booster.model_to_string(),
        calibration=Calibration("identity"),
        features=("dpd_days", "tenure_days"),
        horizon_days=365,
        about={},
    )


@pytest.fixture(scope="module")
def inverted() -> tuple[Floats, Ints]:
    """Rows in which more days past due mean fewer defaults."""
    rows = DRAW.normal(size=(2000, 2))
    label = rows[:, 0] + DRAW.normal(size=2000) < 0
    return rows, label.astype(np.int64)


def test_a_model_that_falls_where_it_must_rise_is_a_violation(
    inverted: tuple[Floats, Ints],
) -> None:
    rows, label = inverted
    (violation,) = monotone_violations(fit_on_two_columns(rows, label), rows)
    assert (violation.feature, violation.rows) == ("dpd_days", 1.0)
    assert violation.worst > 0.1


def test_a_constrained_model_has_no_violation(inverted: tuple[Floats, Ints]) -> None:
    rows, label = inverted
    model = fit_on_two_columns(rows, label, monotone_constraints=[1, 0])
    assert monotone_violations(model, rows) == []


def test_partial_dependence_follows_the_model(inverted: tuple[Floats, Ints]) -> None:
    rows, label = inverted
    curve = partial_dependence(fit_on_two_columns(rows, label), rows, 0)
    assert curve.iloc[0] > curve.iloc[-1]


def test_contributions_add_up_and_name_what_matters(trained: Trained) -> None:
    model = trained.fit.model
    rows = trained.split.test.features.to_numpy()
    assert additive_error(model, rows[:200]) < 1e-12
    top = riskiest(model, rows)
    median_pd = np.quantile(model.predict_pd(rows), 0.5)
    assert model.predict_pd(top).min() >= median_pd
    assert faithful_share(model, top, 0) > 0.9


def test_reasons_of_another_model_are_not_faithful(trained: Trained) -> None:
    model = trained.fit.model
    top = riskiest(model, trained.split.test.features.to_numpy())
    wrong = tuple(100.0 * index for index in range(len(model.features)))
    baseline = replace(model.reference, contributions=wrong)
    assert faithful_share(replace(model, baseline=baseline), top, 0) < 0.9


# --- gates


@pytest.fixture
def candidate(trained: Trained, subject: ModelUnderTest) -> PromotionCandidate:
    model = trained.fit.model
    verdicts = json.loads((trained.report.parent / "validation.json").read_text())
    return PromotionCandidate(
        model=model,
        rows=stored_rows(model, subject.test),
        verdicts=verdicts,
    )


def objection_text(candidate: PromotionCandidate) -> str:
    return "\n".join(objections(candidate))


def without_stored_pds(
    candidate: PromotionCandidate, model: PdModel
) -> PromotionCandidate:
    return replace(candidate, model=model, rows=candidate.rows.drop(columns="pd"))


def test_a_sound_model_passes_every_gate(candidate: PromotionCandidate) -> None:
    assert objections(candidate) == []


def test_gate_rejects_pds_that_cannot_be_reproduced(
    candidate: PromotionCandidate,
) -> None:
    rows = candidate.rows.assign(pd=candidate.rows["pd"] * (1 + 1e-15))
    rows.loc[0, "pd"] += 1e-9
    text = objection_text(replace(candidate, rows=rows))
    assert "cannot be reproduced" in text


def test_gate_rejects_a_slope_whose_interval_does_not_include_one(
    candidate: PromotionCandidate,
) -> None:
    model = replace(candidate.model, calibration=Calibration("platt", (4.0, 6.0)))
    text = objection_text(without_stored_pds(candidate, model))
    assert "the calibration slope is 0." in text
    assert "obligor recalibrate" in text


def test_gate_rejects_a_report_without_a_section(
    candidate: PromotionCandidate,
) -> None:
    verdicts = {**candidate.verdicts}
    del verdicts["fairness"]
    text = objection_text(replace(candidate, verdicts=verdicts))
    assert f"the report lacks 1 of {len(IDS)} sections: fairness" in text


def test_gate_rejects_a_model_without_a_report(candidate: PromotionCandidate) -> None:
    text = objection_text(replace(candidate, verdicts={}))
    assert f"lacks {len(IDS)} of {len(IDS)}" in text


def test_gate_rejects_a_forbidden_column(candidate: PromotionCandidate) -> None:
    spec = {"table": {"forbidden": ["tenure_days", "sex"]}}
    about = {**candidate.model.about, "spec": spec}
    model = replace(candidate.model, about=about)
    text = objection_text(replace(candidate, model=model))
    assert "the model reads tenure_days, which the spec forbids" in text


def test_gate_rejects_a_model_against_its_directions(
    candidate: PromotionCandidate,
) -> None:
    """With every leaf negated the model ranks the wrong way, in every direction."""
    lines = [negate_leaves(line) for line in candidate.model.text.split("\n")]
    model = replace(candidate.model, text="\n".join(lines))
    text = objection_text(without_stored_pds(candidate, model))
    assert "moves the margin against its direction" in text
    assert "does not rank better than chance" in text


def negate_leaves(line: str) -> str:
    name, _, values = line.partition("=")
    if name != "leaf_value":
        return line
    negated = [repr(-float(value)) for value in values.split()]
    return f"leaf_value={' '.join(negated)}"


# --- sections


@pytest.fixture(scope="module")
def sections(trained: Trained) -> list[Section]:
    return trained.sections


def test_every_section_has_a_verdict_and_a_summary(sections: list[Section]) -> None:
    assert tuple(section.id for section in sections) == IDS
    assert all(len(section.summary) > 20 for section in sections)
    assert {section.verdict for section in sections} <= {"good", "look", "bad", "none"}


def with_column(subject: ModelUnderTest, index: int, values: Floats) -> ModelUnderTest:
    rows = subject.fit.rows.copy()
    rows[:, index] = values
    return replace(subject, fit=replace(subject.fit, rows=rows))


def test_leakage_names_a_column_that_tells_the_outcome(
    subject: ModelUnderTest,
) -> None:
    label = subject.fit.label
    leak = np.where(label == 1, 5.0, DRAW.normal(size=len(label)))
    section = behaviour.leakage(with_column(subject, 3, leak))
    assert section.verdict == "bad"
    assert subject.model.features[3] in section.summary


def test_leakage_sees_gaps_that_tell_the_outcome(subject: ModelUnderTest) -> None:
    gaps = np.where(subject.fit.label == 1, np.nan, 1.0)
    section = behaviour.leakage(with_column(subject, 2, gaps))
    assert section.verdict == "bad"


def test_stability_sees_a_shift(subject: ModelUnderTest) -> None:
    moved = replace(subject.test, rows=subject.test.rows + 1000.0)
    section = performance.stability(replace(subject, test=moved))
    assert section.verdict == "bad"


@pytest.fixture(scope="module")
def too_low(subject: ModelUnderTest) -> ModelUnderTest:
    """The same ranking with PDs of about a fifth."""
    return with_calibration(subject, 1.0, -np.log(5))


def test_grades_see_pds_that_are_too_low(too_low: ModelUnderTest) -> None:
    section = performance.grades(too_low)
    assert "Defaults exceed what the PD allows in grade" in section.summary


def test_segments_see_pds_that_are_too_low(too_low: ModelUnderTest) -> None:
    section = performance.segments(too_low)
    assert section.verdict == "look"
    assert performance.calibration(too_low).verdict in ("good", "bad")
    _, table = section.tables[0]
    with_interval = r"[\d.]+ \[[\d.]+, [\d.]+\]"
    assert table["AUC"].str.fullmatch(with_interval).all()
    assert table["default rate"].str.contains("[", regex=False).all()


def test_benchmark_names_a_better_peer(subject: ModelUnderTest) -> None:
    oracle = np.clip(subject.test.label * 0.8 + 0.1, 0.01, 0.99)
    section = performance.benchmark(replace(subject, peers={"the truth": oracle}))
    assert section.verdict == "look"
    assert section.summary == (
        "This model ranks worse than the truth by more than chance."
    )


@pytest.mark.parametrize(
    "examine",
    [
        performance.discrimination,
        performance.benchmark,
        performance.calibration,
        performance.grades,
        performance.stability,
        performance.segments,
        performance.vintages,
    ],
)
def test_a_constant_pd_can_be_reported(
    subject: ModelUnderTest, examine: Callable[[ModelUnderTest], Section]
) -> None:
    constant = with_calibration(subject, 0.0, np.log(0.1 / 0.9))
    assert np.ptp(constant.test_pd) == 0
    assert examine(constant).summary


def test_fairness_cannot_be_assessed_without_attributes(
    subject: ModelUnderTest,
) -> None:
    assert behaviour.fairness(subject).verdict == "none"


def test_fairness_sees_that_four_fifths_is_missed(subject: ModelUnderTest) -> None:
    is_risky = subject.test_pd > np.median(subject.test_pd)
    sex = pd.DataFrame({"sex": np.where(is_risky, "f", "m")})
    section = behaviour.fairness(replace(subject, forbidden=sex))
    assert section.verdict == "look"
    assert "The four-fifths rule is missed for sex" in section.summary


def test_fairness_needs_two_large_groups(subject: ModelUnderTest) -> None:
    n_others = len(subject.test.label) - 40
    sex = pd.DataFrame({"sex": ["f", "m"] * 20 + ["x"] * n_others})
    section = behaviour.fairness(replace(subject, forbidden=sex))
    assert section.verdict == "look"
    assert "Fairness cannot be assessed for sex" in section.summary


def test_grades_are_those_of_the_rulebook(subject: ModelUnderTest) -> None:
    rulebooks, _ = read_rulebooks()
    scale = rulebooks[-1].tables["master_scale"]
    pds = np.array([0.0005, 0.02, 0.5])
    expected = [
        scale(pd_12m=Decimal(repr(value))).whole("grade") for value in pds.tolist()
    ]
    assert subject.grades(pds).tolist() == expected


# --- model card


def test_the_card_takes_a_persons_answers(tmp_path: Path) -> None:
    card = tmp_path / "card.toml"
    card.write_text('owner = "A. Owner, credit risk"')
    assert read_card(card) == {"owner": "A. Owner, credit risk"}
    assert read_card(None) == {}


def test_the_card_rejects_an_entry_it_does_not_have(tmp_path: Path) -> None:
    card = tmp_path / "card.toml"
    card.write_text('boss = "B"')
    with pytest.raises(SchemaError, match=r"no entry \['boss'\]"):
        read_card(card)


def test_the_cards_keys_are_unique() -> None:
    assert len({key for key, _ in CARD}) == len(CARD)


# --- recalibration


@pytest.fixture(scope="module")
def distorted_store(
    trained: Trained,
    subject: ModelUnderTest,
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Registry, PdModel]:
    """A store whose only version has a wrong calibration."""
    registry = Registry(tmp_path_factory.mktemp("distorted"))
    model = replace(trained.fit.model, calibration=Calibration("platt", (3.0, 4.0)))
    run = TrainingRun(
        model=model,
        test_rows=stored_rows(model, subject.test),
        report=[trained.report, trained.report.parent / "validation.json"],
    )
    registry.log_run(run, NOW)
    return registry, model


@pytest.fixture(scope="module")
def recalibrated(
    distorted_store: tuple[Registry, PdModel], subject: ModelUnderTest
) -> Recalibrated:
    registry, _ = distorted_store
    settings = RunSettings(registry.store, registry.store / "report", NOW)
    return recalibrate("1", subject.test, settings, name="again")


def test_recalibration_corrects_the_slope(
    distorted_store: tuple[Registry, PdModel], recalibrated: Recalibrated
) -> None:
    registry, _ = distorted_store
    before = "\n".join(registry.objections("1"))
    after = "\n".join(registry.objections(recalibrated.version))
    assert "calibration slope" in before
    assert "calibration slope" not in after


def test_recalibration_keeps_the_trees(
    distorted_store: tuple[Registry, PdModel], recalibrated: Recalibrated
) -> None:
    registry, distorted = distorted_store
    model = registry.model(recalibrated.version)
    assert model.text == distorted.text
    assert model.about["recalibrated_from"] == "1"
    assert model.calibration != distorted.calibration
    assert (registry.store / "report" / "model_report.html").exists()


def test_recalibration_needs_enough_defaults(
    distorted_store: tuple[Registry, PdModel], subject: ModelUnderTest, tmp_path: Path
) -> None:
    registry, _ = distorted_store
    few = LabelledRows(
        subject.test.rows[:60],
        subject.test.label[:60],
        np.arange(60),
        subject.test.periods[:60],
    )
    settings = RunSettings(registry.store, tmp_path / "report", NOW)
    with pytest.raises(SchemaError, match=r"defaults in .* rows to"):
        recalibrate("1", few, settings, name="few")


def test_recalibrate_on_the_command_line(
    trained: Trained, simulation: Simulation, subject: ModelUnderTest, tmp_path: Path
) -> None:
    write_ledger(simulation, tmp_path / "ledger")
    registry = Registry(tmp_path / "store")
    model = trained.fit.model
    registry.log_run(TrainingRun(model, stored_rows(model, subject.test)), NOW)
    words = [
        "recalibrate",
        "latest",
        str(tmp_path / "ledger" / "mapping.toml"),
        "--store",
        str(tmp_path / "store"),
        "--report",
        str(tmp_path / "report"),
    ]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    assert "calibration slope" in result.output
    assert registry.latest() == "2"
