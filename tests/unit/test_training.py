"""Fit, report, registry: on the trained store that the other tests share."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from mlflow.entities import Run

from obligor.data.ledger import Ledger
from obligor.data.synthetic import Simulation, simulate_ledger
from obligor.errors import ModelError, SchemaError
from obligor.model.bundle import load_bundle
from obligor.model.calibration import Calibration
from obligor.training.candidates.calibrate import fit_calibration
from obligor.training.candidates.fit import fit_model, training_rows
from obligor.training.lifecycle.registry import Approval, Registry, TrainingRun
from obligor.training.runs.fingerprints import (
    SOURCES,
    code_fingerprint,
    data_fingerprint,
)
from obligor.training.runs.ledger_run import Trained, evaluate_model, leveled
from obligor.training.samples.config import TrainingConfig, read_config
from obligor.training.samples.sample import Sample, build_sample
from obligor.training.validation.report import CARD
from obligor.training.validation.subject import labelled_rows
from tests.conftest import NOW, SIGNER

APPROVAL = Approval(by="a", because="b", at=NOW)


# --- Fitting


def test_model_is_better_than_no_model(trained: Trained) -> None:
    assert trained.figures["brier"].value < trained.figures["brier_constant"].value
    assert trained.figures["gini"].low > 0


def test_same_data_and_seed_give_the_same_model(
    trained: Trained,
    quick: TrainingConfig,
    simulation: Simulation,
) -> None:
    second_fit = fit_model(trained.split.train, quick)
    assert second_fit.model.text == trained.fit.model.text
    first = trained.fit.candidates.chosen
    assert second_fit.model.calibration == first.calibration
    second = leveled(second_fit, simulation.ledger, quick, trained.split)
    assert second.model.calibration == trained.fit.model.calibration
    assert second.model.calibration != first.calibration


@pytest.mark.parametrize(
    ("outcome", "message"),
    [
        (0, "only 0 customers with a default"),
        (1, "only 0 customers without a default"),
    ],
)
def test_sample_with_one_outcome_is_rejected(
    trained: Trained,
    quick: TrainingConfig,
    outcome: int,
    message: str,
) -> None:
    rows = trained.split.train.rows
    sample = Sample(rows.assign(label=outcome))
    with pytest.raises(SchemaError, match=message):
        fit_model(sample, quick)


def test_test_rows_without_a_default_are_rejected() -> None:
    simulation = simulate_ledger(100, 30, seed=1)
    config = TrainingConfig.model_validate(
        {"default": {"materiality": 1e12, "horizon_days": 180}}
    )
    names = ("customers", "invoices", "payments", "fx_rates")
    tables = {name: simulation.ledger[name] for name in names}
    ledger = Ledger(tables, "EUR")
    with pytest.raises(SchemaError, match="test rows have the same outcome"):
        build_sample(ledger, config)


@pytest.mark.parametrize("kind", ["platt", "beta"])
def test_margin_that_ranks_the_wrong_way_gives_the_base_rate(kind: str) -> None:
    """The intercept of a fit with a falling line is not the base rate."""
    margin = np.linspace(-4, 4, 2000)
    label = (np.linspace(0, 1, 2000) < 0.02).astype(np.int64)
    pds = fit_calibration(kind, margin, label)(margin)
    np.testing.assert_allclose(pds, label.mean(), rtol=1e-6)


def test_plain_lightgbm_is_evaluated_beside_the_model(
    trained: Trained,
    quick: TrainingConfig,
) -> None:
    figures, peer_figures = evaluate_model(trained.fit.model, trained.split, quick)
    assert figures["gini"] == trained.figures["gini"]
    assert peer_figures["brier"].value == trained.peer["brier"].value


# --- The report


@pytest.fixture(scope="module")
def report_page(trained: Trained) -> str:
    return trained.report.read_text()


def test_report_loads_nothing(report_page: str) -> None:
    assert report_page.count("data:image/png;base64,") == 9
    assert "http://" not in report_page
    assert "https://" not in report_page


@pytest.mark.parametrize(
    "name",
    [
        "gini",
        "calibration_slope",
        "brier_constant",
        "plain LightGBM",
        "By vintage",
        "upper_pluto_tasche",
        "The materiality is that of the rulebook of 2023-12-31",
    ],
)
def test_report_names_a_figure(report_page: str, name: str) -> None:
    assert name in report_page


def test_report_has_every_section(report_page: str, trained: Trained) -> None:
    for section in trained.sections:
        assert f'id="{section.id}"' in report_page
        assert section.summary


def test_report_has_the_model_card(report_page: str) -> None:
    for _, title in CARD:
        assert f"<th>{title}</th>" in report_page
    assert "not recorded" in report_page  # the run named no owner


@pytest.fixture(scope="module")
def section_tables(trained: Trained) -> dict[str, dict[str, pd.DataFrame]]:
    """Tables of each section of the report, by title."""
    return {section.id: dict(section.tables) for section in trained.sections}


@pytest.fixture(scope="module")
def test_dates(trained: Trained) -> set[str]:
    return {str(day) for day in trained.split.test.rows["as_of"]}


def test_vintages_cover_the_test_dates(
    section_tables: dict[str, dict[str, pd.DataFrame]],
    test_dates: set[str],
) -> None:
    vintages = section_tables["vintages"]["By vintage"]
    figures = {"gini", "ks", "brier", "log_loss", "calibration_slope", "ece"}
    assert set(vintages) == test_dates
    assert figures <= set(vintages.index)


def test_stability_covers_the_test_dates(
    section_tables: dict[str, dict[str, pd.DataFrame]],
    test_dates: set[str],
) -> None:
    stability = section_tables["stability"]["PSI against the training rows"]
    assert set(stability) == {"all", *test_dates}
    assert stability.index[0] == "the PD"
    assert np.isfinite(stability.to_numpy()).all()


# --- The registry


@pytest.fixture
def run(trained: Trained, store: Path) -> Run:
    client = Registry(store).runs.client
    version = client.get_model_version("obligor-pd", trained.version)
    return client.get_run(str(version.run_id))


def test_run_has_parameters_and_fingerprints(run: Run, simulation: Simulation) -> None:
    assert run.data.params["default.dpd_days"] == "90"
    assert run.data.params["data_sha256"] == data_fingerprint(simulation.ledger)


def test_run_has_figures_with_intervals(run: Run) -> None:
    metrics = run.data.metrics
    assert metrics["gini_low"] < metrics["gini"] < metrics["gini_high"]
    assert "plain_brier" in metrics


def test_run_has_the_report(run: Run, store: Path) -> None:
    artifacts = Registry(store).runs.client.list_artifacts(run.info.run_id, "report")
    paths = {artifact.path for artifact in artifacts}
    assert "report/model_report.html" in paths
    assert "report/roc_curve.png" in paths
    assert "report/validation.json" in paths


def test_promotion_sets_the_champion(trained: Trained, store: Path) -> None:
    registry = Registry(store)
    assert registry.champion() == trained.version == registry.latest()
    assert "champion" in registry.versions()[0]["aliases"]
    assert registry.versions()[0]["promoted_by"] == "tests"


def test_promotion_records_who_when_and_why(trained: Trained, store: Path) -> None:
    pointer = json.loads((store / "champion.json").read_text())
    assert pointer["by"] == "tests"
    assert pointer["because"] == "first model"
    assert pointer["at"] == NOW.isoformat()
    load_bundle(store / "models" / pointer["sha256"], pointer["sha256"])


@dataclass(frozen=True)
class TwoVersions:
    """A store of its own with a good champion and a model that gives everyone 50%."""

    registry: Registry
    good: str
    bad: str


@pytest.fixture(scope="module")
def two_versions(
    trained: Trained,
    store: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> TwoVersions:
    copy = tmp_path_factory.mktemp("two") / "store"
    shutil.copytree(store, copy)
    for path in copy.glob("mlflow.db*"):
        path.unlink()
    registry = Registry(copy)
    good_model = trained.fit.model
    bad_model = replace(good_model, calibration=Calibration("platt", (0.0, 0.0)))
    test = trained.split.test
    test_rows = test.features.assign(label=test.label, customer=test.customers)
    figures = {"gini": 0.1, "brier": 0.2, "brier_constant": 0.03}
    report = [trained.report, trained.report.parent / "validation.json"]
    good, bad = (
        registry.log_run(TrainingRun(model, test_rows, report, metrics=figures), NOW)
        for model in (good_model, bad_model)
    )
    registry.promote(good, APPROVAL, SIGNER)
    return TwoVersions(registry, good, bad)


def test_worse_model_is_not_promoted(two_versions: TwoVersions) -> None:
    registry = two_versions.registry
    message = r"Brier .* is not below the constant rate.*Gini .* does not rank"
    with pytest.raises(ModelError, match=message):
        registry.promote(two_versions.bad, APPROVAL, SIGNER)
    assert registry.champion() == two_versions.good


def test_objections_compare_with_the_champion(two_versions: TwoVersions) -> None:
    objections = two_versions.registry.objections(two_versions.bad)
    assert any("champion's (version 1)" in objection for objection in objections)


@pytest.mark.parametrize("second", [None, " A "])
def test_forced_promotion_needs_a_second_person(
    two_versions: TwoVersions,
    second: str | None,
) -> None:
    with pytest.raises(ModelError, match="expected two different persons"):
        two_versions.registry.promote(
            two_versions.bad,
            APPROVAL,
            SIGNER,
            force=True,
            second=second,
        )
    assert two_versions.registry.champion() == two_versions.good


def test_forced_promotion_records_the_objections(two_versions: TwoVersions) -> None:
    registry = two_versions.registry
    promotion = registry.promote(
        two_versions.bad,
        APPROVAL,
        SIGNER,
        force=True,
        second="B",
    )
    pointer = json.loads((registry.store / "champion.json").read_text())
    assert (promotion.forced, promotion.second) == (True, "B")
    assert registry.champion() == two_versions.bad
    assert pointer["objections"]
    registry.promote(two_versions.good, APPROVAL, SIGNER)


def test_unknown_version_is_named(store: Path, trained: Trained) -> None:
    with pytest.raises(ModelError, match="version 99 does not exist"):
        Registry(store).promote("99", APPROVAL, SIGNER)


def test_empty_store_says_what_to_run(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "new")
    assert registry.champion() is None
    with pytest.raises(ModelError, match="obligor train"):
        registry.latest()


# --- The configuration


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[default]\ndpd_days = 0", "default.dpd_days"),
        ("[default]\ndpd = 30", "default.dpd"),
        ("[model]\nlearning_rate = 'fast'", "model.learning_rate"),
        ("[", "cannot be read"),
    ],
)
def test_wrong_configuration_names_the_field(
    tmp_path: Path,
    text: str,
    message: str,
) -> None:
    path = tmp_path / "choices.toml"
    path.write_text(text)
    with pytest.raises(SchemaError, match=message):
        read_config(path)


def test_configuration_is_read(tmp_path: Path) -> None:
    path = tmp_path / "choices.toml"
    path.write_text("seed = 3\n[default]\ndpd_days = 30")
    assert read_config(path).default.dpd_days == 30


def test_configuration_without_a_file_is_the_default() -> None:
    assert read_config(None) == TrainingConfig()


# --- Fingerprints


def test_customers_may_count_alike_on_however_many_dates(trained: Trained) -> None:
    by_customer = replace(trained.split.train, weigh="customers")
    weight = training_rows(by_customer).weight
    assert weight is not None
    totals = np.bincount(by_customer.customers, weight)
    assert totals == pytest.approx(totals[0])
    assert weight.mean() == pytest.approx(1)
    assert labelled_rows(by_customer).weight is not None
    assert training_rows(trained.split.train).weight is None


def test_data_fingerprint_sees_one_cell(simulation: Simulation) -> None:
    payments = simulation.ledger["payments"].copy()
    payments.loc[5, "amount"] += 0.01
    tables = {**simulation.ledger.tables, "payments": payments}
    changed = replace(simulation.ledger, tables=tables)
    assert data_fingerprint(simulation.ledger) != data_fingerprint(changed)


def make_package(folder: Path) -> Path:
    """A package with code and rules in a sub-folder of each room that makes a model."""
    for room in SOURCES:
        deep = folder / room / "first" / "second"
        deep.mkdir(parents=True)
        (deep / "source.py").write_text("VALUE = 1\n")
        (deep / "rules.yaml").write_text("value: 1\n")
        (deep / "sample.csv").write_text("value\n1\n")
    return folder


@pytest.mark.parametrize("file", ["source.py", "rules.yaml"])
@pytest.mark.parametrize("room", SOURCES)
def test_code_fingerprint_sees_a_change_in_a_sub_folder(
    room: str, file: str, tmp_path: Path
) -> None:
    package = make_package(tmp_path)
    before = code_fingerprint(package)
    (package / room / "first" / "second" / file).write_text("changed\n")
    assert code_fingerprint(package) != before


def test_code_fingerprint_does_not_see_data(tmp_path: Path) -> None:
    package = make_package(tmp_path)
    before = code_fingerprint(package)
    (package / "data" / "first" / "second" / "sample.csv").write_text("changed\n")
    assert code_fingerprint(package) == before


def test_code_fingerprint_covers_the_rooms_that_make_a_model() -> None:
    rooms = {"data", "features", "policy", "model", "metrics", "training"}
    assert set(SOURCES) == rooms


def test_code_fingerprint_reads_our_own_sources(tmp_path: Path) -> None:
    assert code_fingerprint() == code_fingerprint()
    assert code_fingerprint() != code_fingerprint(tmp_path)
