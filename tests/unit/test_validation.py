"""What a validator asks: tests of significance against oracles, gates that close, sections that see what is wrong."""

from __future__ import annotations

import json
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

from obligor.cli.app import app
from obligor.data.synthetic import Simulation, write_ledger
from obligor.errors import SchemaError
from obligor.model.calibration import Calibration
from obligor.model.pd_model import PdModel
from obligor.policy.rulebooks.rulebook import read_rulebooks
from obligor.training.lifecycle.gates import PromotionCandidate, objections
from obligor.training.lifecycle.recalibrate import recalibrate
from obligor.training.lifecycle.registry import Registry
from obligor.training.metrics.significance import by_grade, delong, hosmer_lemeshow
from obligor.training.runs.ledger_run import Trained, case_of
from obligor.training.samples.config import TrainingConfig
from obligor.training.validation import behaviour, performance
from obligor.training.validation.fairness import approvals, groups_of, proxies
from obligor.training.validation.report import CARD, read_card
from obligor.training.validation.sections import IDS, validate
from obligor.training.validation.soundness import (
    additive_error,
    faithful_share,
    monotone_violations,
    partial_dependence,
    riskiest,
)
from obligor.training.validation.subject import LabelledRows, ModelUnderTest, kept_rows
from tests.conftest import NOW

DRAW = np.random.default_rng(4)
LABEL = (DRAW.random(600) < 0.3).astype(np.int64)
GOOD, POOR = LABEL + DRAW.normal(0, 1.0, 600), LABEL + DRAW.normal(0, 3.0, 600)


@pytest.fixture(scope="module")
def case(
    trained: Trained, simulation: Simulation, quick: TrainingConfig
) -> ModelUnderTest:
    return case_of(simulation.ledger, trained.fit, trained.split, quick, {})


# --- significance


def test_delongs_interval_is_that_of_the_bootstrap() -> None:
    found = delong(GOOD, POOR, LABEL)
    assert found.difference == pytest.approx(
        roc_auc_score(LABEL, GOOD) - roc_auc_score(LABEL, POOR)
    )
    draws = []
    for _ in range(400):
        rows = DRAW.integers(0, 600, 600)
        draws.append(
            roc_auc_score(LABEL[rows], GOOD[rows])
            - roc_auc_score(LABEL[rows], POOR[rows])
        )
    low, high = np.quantile(draws, (0.025, 0.975))
    assert found.low == pytest.approx(low, abs=0.02)
    assert found.high == pytest.approx(high, abs=0.02)
    assert found.p_value < 1e-4
    assert delong(GOOD, GOOD, LABEL) == (0.0, 0.0, 0.0, 1.0)


def test_delong_finds_no_difference_as_often_as_it_should() -> None:
    """Of two scores equally good one in twenty differs at 5%."""
    found = []
    for _ in range(300):
        label = (DRAW.random(300) < 0.3).astype(np.int64)
        found.append(
            delong(
                label + DRAW.normal(0, 1, 300), label + DRAW.normal(0, 1, 300), label
            ).p_value
            < 0.05
        )
    assert 0.02 < np.mean(found) < 0.09


def test_hosmer_lemeshow_is_uniform_where_pds_are_right_and_small_where_not() -> None:
    p_values = []
    for _ in range(200):
        pd_ = DRAW.uniform(0.02, 0.4, 2000)
        p_values.append(
            hosmer_lemeshow(pd_, (DRAW.random(2000) < pd_).astype(np.int64))[1]
        )
    assert stats.kstest(p_values, "uniform").pvalue > 0.001
    pd_ = DRAW.uniform(0.02, 0.4, 2000)
    assert (
        hosmer_lemeshow(pd_ / 2, (DRAW.random(2000) < pd_).astype(np.int64))[1] < 1e-6
    )


def test_pluto_tasche_equals_the_published_example() -> None:
    """Pluto, Tasche 2005, table 1: 100, 400, 300 obligors, no default, confidence 75%: 0.17%, 0.20%, 0.46%."""
    grade, label = np.repeat([1, 2, 3], [100, 400, 300]), np.zeros(800, dtype=np.int64)
    found = by_grade(grade, np.full(800, 0.001), label)["upper_pluto_tasche"]
    np.testing.assert_allclose(found, [0.0017, 0.0020, 0.0046], atol=5e-5)


def test_the_binomial_test_of_a_grade_is_scipys() -> None:
    grade, pd_ = np.ones(200, dtype=np.int64), np.full(200, 0.02)
    label = np.repeat([1, 0], [9, 191])
    row = by_grade(grade, pd_, label).loc[1]
    assert row["p_value"] == pytest.approx(
        stats.binomtest(9, 200, 0.02, "greater").pvalue
    )
    assert row["upper_jeffreys"] > 9 / 200


# --- fairness


def test_a_group_approved_less_often_is_seen_and_small_groups_are_left_out() -> None:
    groups = groups_of(pd.Series(["a"] * 500 + ["b"] * 500 + ["c"] * 5))
    pd_ = np.concatenate(
        [np.linspace(0, 0.5, 500), np.linspace(0.3, 0.8, 500), np.ones(5)]
    )
    found = approvals(pd_, (pd_ > 0.6).astype(np.int64), groups, 0.5)
    assert list(found.index) == ["a", "b"]
    assert found.loc["b", "four_fifths"] < 0.8 < found.loc["a", "four_fifths"]
    assert groups_of(pd.Series(np.arange(400.0))).nunique() == 4


def test_a_column_that_tells_the_group_is_a_proxy() -> None:
    sex = pd.Series(np.where(DRAW.random(1000) < 0.5, "f", "m"))
    rows = np.column_stack(
        [
            (sex == "f") + DRAW.normal(0, 0.3, 1000),
            DRAW.normal(size=1000),
            (sex == "m") * 2.0,
        ]
    )
    found = proxies(rows, ("told", "noise", "code"), (2,), groups_of(sex))
    assert found["code"] == pytest.approx(1.0)
    assert found["told"] > 0.8
    assert found["noise"] < 0.15


# --- soundness


def _fitted(rows: np.ndarray, label: np.ndarray, **choices: object) -> PdModel:
    parameters = {
        "objective": "binary",
        "verbose": -1,
        "num_leaves": 8,
        "seed": 0,
        **choices,
    }
    booster = lgb.train(parameters, lgb.Dataset(rows, label), 40)
    return PdModel(
        booster.model_to_string(),
        Calibration("identity"),
        ("dpd_days", "tenure_days"),
        365,
        {},
    )


def test_a_model_that_falls_where_it_must_rise_is_caught() -> None:
    rows = DRAW.normal(size=(2000, 2))
    label = (rows[:, 0] + DRAW.normal(size=2000) < 0).astype(
        np.int64
    )  # more days past due, fewer defaults
    (found,) = monotone_violations(_fitted(rows, label), rows)
    assert (found.feature, found.rows) == ("dpd_days", 1.0)
    assert found.worst > 0.1
    assert (
        monotone_violations(_fitted(rows, label, monotone_constraints=[1, 0]), rows)
        == []
    )
    curve = partial_dependence(_fitted(rows, label), rows, 0)
    assert curve.iloc[0] > curve.iloc[-1]


def test_contributions_add_up_and_name_what_matters(trained: Trained) -> None:
    model, rows = trained.fit.model, trained.split.test.features.to_numpy()
    assert additive_error(model, rows[:200]) < 1e-12
    top = riskiest(model, rows)
    assert model.predict_pd(top).min() >= np.quantile(model.predict_pd(rows), 0.5)
    assert faithful_share(model, top, 0) > 0.9
    turned = replace(
        model.reference,
        contributions=tuple(100.0 * n for n in range(len(model.features))),
    )
    assert (
        faithful_share(replace(model, baseline=turned), top, 0) < 0.9
    )  # reasons that are not the model's


# --- gates


@pytest.fixture
def candidate(trained: Trained, case: ModelUnderTest) -> PromotionCandidate:
    verdicts = json.loads((trained.report.parent / "validation.json").read_text())
    return PromotionCandidate(
        trained.fit.model, kept_rows(trained.fit.model, case.test), verdicts, None
    )


def _told(candidate: PromotionCandidate) -> str:
    return "\n".join(objections(candidate))


def test_a_sound_model_passes_every_gate(candidate: PromotionCandidate) -> None:
    assert objections(candidate) == []


def test_pds_that_do_not_come_out_again_are_refused(
    candidate: PromotionCandidate,
) -> None:
    rows = candidate.rows.assign(pd=candidate.rows["pd"] * (1 + 1e-15))
    rows.loc[0, "pd"] += 1e-9
    assert "do not come out again" in _told(replace(candidate, rows=rows))


def test_a_slope_without_one_is_refused_with_its_interval(
    candidate: PromotionCandidate,
) -> None:
    model = replace(candidate.model, calibration=Calibration("platt", (4.0, 6.0)))
    told = _told(
        replace(candidate, model=model, rows=candidate.rows.drop(columns="pd"))
    )
    assert "the calibration slope is 0." in told
    assert "obligor recalibrate" in told


def test_a_report_without_a_section_is_refused(candidate: PromotionCandidate) -> None:
    few = {name: of for name, of in candidate.verdicts.items() if name != "fairness"}
    assert f"the report lacks 1 of {len(IDS)} sections: fairness" in _told(
        replace(candidate, verdicts=few)
    )
    assert f"lacks {len(IDS)} of {len(IDS)}" in _told(replace(candidate, verdicts={}))


def test_a_forbidden_column_is_refused(candidate: PromotionCandidate) -> None:
    about = {
        **candidate.model.about,
        "spec": {"table": {"forbidden": ["tenure_days", "sex"]}},
    }
    told = _told(replace(candidate, model=replace(candidate.model, about=about)))
    assert "it reads tenure_days, which the spec forbids" in told


def test_a_model_against_its_directions_is_refused(
    candidate: PromotionCandidate,
) -> None:
    """The champion's trees turned over: it ranks the wrong way, and against every direction."""
    turned = candidate.model.text.split("\n")
    turned = [
        _negated(line) if line.startswith("leaf_value=") else line for line in turned
    ]
    model = replace(candidate.model, text="\n".join(turned))
    told = _told(
        replace(candidate, model=model, rows=candidate.rows.drop(columns="pd"))
    )
    assert "moves the margin against its direction" in told
    assert "does not rank at all" in told


def _negated(line: str) -> str:
    return "leaf_value=" + " ".join(
        repr(-float(value)) for value in line.removeprefix("leaf_value=").split()
    )


# --- sections


def test_every_section_says_something(case: ModelUnderTest) -> None:
    found = validate(case)
    assert tuple(section.id for section in found) == IDS
    assert all(len(section.says) > 20 for section in found)
    assert {section.verdict for section in found} <= {"good", "look", "bad", "none"}


def test_a_leak_is_found(case: ModelUnderTest) -> None:
    rows = case.fit.rows.copy()
    rows[:, 3] = np.where(case.fit.label == 1, 5.0, DRAW.normal(size=len(rows)))
    found = behaviour.leakage(
        replace(case, fit=replace(case.fit, rows=rows)), case.pd_()
    )
    assert found.verdict == "bad"
    assert case.model.features[3] in found.says


def test_gaps_that_tell_the_outcome_are_a_leak(case: ModelUnderTest) -> None:
    rows = case.fit.rows.copy()
    rows[:, 2] = np.where(case.fit.label == 1, np.nan, 1.0)
    assert (
        behaviour.leakage(
            replace(case, fit=replace(case.fit, rows=rows)), case.pd_()
        ).verdict
        == "bad"
    )


def test_a_shift_is_found(case: ModelUnderTest) -> None:
    rows = case.test.rows + 1000.0
    found = performance.stability(
        replace(case, test=replace(case.test, rows=rows)), case.pd_() * 3 % 1
    )
    assert found.verdict == "bad"


def test_pds_too_low_by_grade_and_segment_are_found(case: ModelUnderTest) -> None:
    pd_ = case.pd_() / 5
    assert (
        "shows more defaults than its PD allows" in performance.grades(case, pd_).says
    )
    found = performance.segments(case, pd_)
    assert found.verdict == "look"
    assert performance.calibration(case, pd_).verdict in ("good", "bad")
    table = found.tables[0][1]
    assert (
        table["AUC"].str.fullmatch(r"[\d.]+ \[[\d.]+, [\d.]+\]").all()
    )  # each with its interval
    assert table["default rate"].str.contains("[", regex=False).all()


def test_a_better_peer_is_named(case: ModelUnderTest) -> None:
    oracle = np.clip(case.test.label * 0.8 + 0.1, 0.01, 0.99)
    found = performance.benchmark(
        replace(case, peers={"the truth": oracle}), case.pd_()
    )
    assert (found.verdict, found.says) == (
        "look",
        "Worse than the truth by more than chance.",
    )


def test_a_pd_that_is_the_same_for_all_can_be_reported(case: ModelUnderTest) -> None:
    same = np.full(len(case.test.label), 0.1)
    for section in (
        performance.discrimination,
        performance.benchmark,
        performance.calibration,
        performance.grades,
        performance.stability,
        performance.segments,
        performance.vintages,
    ):
        assert section(case, same).says


def test_fairness_says_why_it_says_nothing_or_what_it_saw(case: ModelUnderTest) -> None:
    assert behaviour.fairness(case, case.pd_()).verdict == "none"
    sex = pd.DataFrame({"sex": np.where(case.pd_() > np.median(case.pd_()), "f", "m")})
    found = behaviour.fairness(replace(case, forbidden=sex), case.pd_())
    assert found.verdict == "look"
    assert "Four fifths are missed for sex" in found.says
    rare = pd.DataFrame(
        {"sex": ["f", "m"] * 20 + ["x"] * (len(sex) - 40)}
    )  # one group alone is large enough
    found = behaviour.fairness(replace(case, forbidden=rare), case.pd_())
    assert found.verdict == "look"
    assert "Nothing can be said about sex" in found.says


def test_grades_are_the_rulebooks(case: ModelUnderTest) -> None:
    scale = read_rulebooks()[0][-1].tables["master_scale"]
    pds = np.array([0.0005, 0.02, 0.5])
    expected = [
        scale(pd_12m=Decimal(repr(value))).whole("grade") for value in pds.tolist()
    ]
    assert case.grades(pds).tolist() == expected


# --- the card, and recalibration


def test_the_card_takes_a_persons_answers(tmp_path: Path) -> None:
    (tmp_path / "card.toml").write_text('owner = "A. Owner, credit risk"')
    assert read_card(tmp_path / "card.toml") == {"owner": "A. Owner, credit risk"}
    assert read_card(None) == {}
    (tmp_path / "card.toml").write_text('boss = "B"')
    with pytest.raises(SchemaError, match=r"answers \['boss'\]"):
        read_card(tmp_path / "card.toml")
    assert len({key for key, _ in CARD}) == len(CARD)


def test_a_distorted_model_is_recalibrated_without_a_refit(
    trained: Trained, case: ModelUnderTest, tmp_path: Path
) -> None:
    registry = Registry(tmp_path / "store")
    wrong = replace(trained.fit.model, calibration=Calibration("platt", (3.0, 4.0)))
    files = [trained.report, trained.report.parent / "validation.json"]
    version = registry.log_run(
        wrong, {}, {}, {}, kept_rows(wrong, case.test), files, NOW
    )
    assert any("calibration slope" in one for one in registry.objections(version))
    found = recalibrate(
        version, case.test, "again", tmp_path / "store", tmp_path / "report", at=NOW
    )
    assert not any(
        "calibration slope" in one for one in registry.objections(found.version)
    )
    again = registry.model(found.version)
    assert again.text == wrong.text
    assert again.about["recalibrated_from"] == version
    assert again.calibration != wrong.calibration
    assert (tmp_path / "report" / "model_report.html").exists()


def test_too_few_outcomes_to_recalibrate_say_so(
    trained: Trained, case: ModelUnderTest, tmp_path: Path
) -> None:
    registry = Registry(tmp_path / "store")
    version = registry.log_run(
        trained.fit.model, {}, {}, {}, kept_rows(trained.fit.model, case.test), [], NOW
    )
    few = LabelledRows(
        case.test.rows[:60], case.test.label[:60], np.arange(60), case.test.periods[:60]
    )
    with pytest.raises(SchemaError, match=r"defaults in .* rows to"):
        recalibrate(
            version, few, "few", tmp_path / "store", tmp_path / "report", at=NOW
        )


def test_recalibrate_on_the_command_line(
    trained: Trained,
    store: Path,
    simulation: Simulation,
    case: ModelUnderTest,
    tmp_path: Path,
) -> None:
    write_ledger(simulation, tmp_path / "ledger")
    mine = tmp_path / "store"
    registry = Registry(mine)
    registry.log_run(
        trained.fit.model, {}, {}, {}, kept_rows(trained.fit.model, case.test), [], NOW
    )
    words = [
        "recalibrate",
        "latest",
        str(tmp_path / "ledger" / "mapping.toml"),
        "--store",
        str(mine),
    ]
    result = CliRunner().invoke(app, [*words, "--report", str(tmp_path / "report")])
    assert result.exit_code == 0, result.output
    assert "calibration slope" in result.output
    assert registry.latest() == "2"
