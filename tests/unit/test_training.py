"""Fit, bundle, report, registry: on the trained store that the other tests share."""

from __future__ import annotations

import hashlib
import json
import shutil
from datetime import date
from pathlib import Path

import lightgbm as lgb
import numpy as np
import pytest

from obligor.data.asof import known_on
from obligor.data.synthetic import Simulation, simulate_ledger
from obligor.errors import ModelError, SchemaError
from obligor.features.build import build_features
from obligor.features.catalogue import CATALOGUE
from obligor.model.bundle import load_bundle, save_bundle
from obligor.model.calibration import Calibration
from obligor.model.pd_model import PdModel
from obligor.training.candidates.calibrate import fit_calibration
from obligor.training.candidates.fit import fit_model
from obligor.training.lifecycle.registry import Approval, Registry, TrainingRun
from obligor.training.runs.ledger_run import (
    SOURCES,
    Trained,
    code_fingerprint,
    data_fingerprint,
    evaluate_model,
)
from obligor.training.samples.config import TrainingConfig, read_config
from obligor.training.samples.sample import build_sample
from obligor.training.validation.report import CARD
from tests.conftest import NOW, SIGNER

APPROVAL = Approval(by="a", because="b", at=NOW)


@pytest.fixture(scope="module")
def rows(simulation: Simulation) -> np.ndarray:
    return build_features(known_on(simulation.ledger, date(2024, 12, 31))).to_numpy()


def test_contributions_sum_to_the_margin(trained: Trained, rows: np.ndarray) -> None:
    model = trained.fit.model
    contributions, margins = model.explain(rows)
    np.testing.assert_allclose(
        model.base + contributions.sum(axis=1), margins, atol=1e-9
    )
    np.testing.assert_array_equal(
        margins, lgb.Booster(model_str=model.text).predict(rows, raw_score=True)
    )
    np.testing.assert_array_equal(margins, model.margin(rows))
    np.testing.assert_array_equal(
        model.calibration(model.margin(rows)), model.predict_pd(rows)
    )


def test_the_pd_moves_only_in_the_catalogues_direction(
    trained: Trained, rows: np.ndarray
) -> None:
    for place, feature in enumerate(CATALOGUE):
        if feature.direction == 0:
            continue
        known = rows[:200][~np.isnan(rows[:200, place])]
        for step in (0.5, 5.0, 500.0):
            moved = known.copy()
            moved[:, place] += step
            change = trained.fit.model.predict_pd(moved) - trained.fit.model.predict_pd(
                known
            )
            assert (feature.direction * change >= -1e-12).all(), feature.name


def test_the_model_is_better_than_no_model(trained: Trained) -> None:
    assert trained.figures["brier"].value < trained.figures["brier_constant"].value
    assert trained.figures["gini"].low > 0


def test_the_same_data_and_seed_give_the_same_bundle(
    trained: Trained, quick: TrainingConfig, tmp_path: Path
) -> None:
    again = fit_model(trained.split.train, quick)
    assert again.model.text == trained.fit.model.text
    assert again.model.calibration == trained.fit.model.calibration


def test_too_few_defaults_say_so(trained: Trained, quick: TrainingConfig) -> None:
    rows = trained.split.train.rows
    few = type(trained.split.train)(rows.assign(label=0))
    with pytest.raises(SchemaError, match="only 0 customers with a default"):
        fit_model(few, quick)
    with pytest.raises(SchemaError, match="only 0 customers without a default"):
        fit_model(type(few)(rows.assign(label=1)), quick)


def test_test_rows_without_a_default_say_so() -> None:
    never = simulate_ledger(100, 30, seed=1)
    kind = TrainingConfig.model_validate(
        {"default": {"materiality": 1e12, "horizon_days": 180}}
    )
    tables = {
        name: never.ledger[name]
        for name in ("customers", "invoices", "payments", "fx_rates")
    }
    with pytest.raises(SchemaError, match="test rows have the same outcome"):
        build_sample(type(never.ledger)(tables, "EUR"), kind)


def test_pd_of_another_horizon_is_converted_at_a_constant_hazard(
    trained: Trained, rows: np.ndarray
) -> None:
    from dataclasses import replace

    model = replace(trained.fit.model, horizon_days=73)
    pd_ = model.predict_pd(rows)
    np.testing.assert_allclose(model.predict_pd_12m(rows), 1 - (1 - pd_) ** 5)


# --- the bundle


@pytest.fixture
def bundle(trained: Trained, tmp_path: Path) -> tuple[Path, str]:
    folder = tmp_path / "bundle"
    return folder, save_bundle(trained.fit.model, folder)


def test_a_bundle_loads_to_the_same_model(
    trained: Trained, bundle: tuple[Path, str], rows: np.ndarray
) -> None:
    loaded = load_bundle(*bundle)
    np.testing.assert_array_equal(
        loaded.predict_pd(rows), trained.fit.model.predict_pd(rows)
    )
    assert loaded.about == trained.fit.model.about


@pytest.mark.parametrize(
    "name", ["model.txt", "calibration.json", "catalogue.json", "manifest.json"]
)
def test_a_changed_file_is_refused_before_it_is_parsed(
    bundle: tuple[Path, str], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, sha256 = bundle
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(bytes(content))

    def parse(*_: object, **__: object) -> None:
        raise AssertionError("parsed before it was checked")

    monkeypatch.setattr(lgb, "Booster", parse)
    with pytest.raises(ModelError, match=f"{name}: file was changed"):
        load_bundle(folder, sha256)


def test_a_missing_file_is_refused(bundle: tuple[Path, str]) -> None:
    (bundle[0] / "model.txt").unlink()
    with pytest.raises(ModelError, match=r"model\.txt: file is missing"):
        load_bundle(*bundle)


def test_a_bundle_from_before_baselines_still_loads(bundle: tuple[Path, str]) -> None:
    folder, _ = bundle
    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest["files"]["baseline.json"]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (folder / "baseline.json").unlink()
    model = load_bundle(
        folder, hashlib.sha256((folder / "manifest.json").read_bytes()).hexdigest()
    )
    assert model.baseline is None
    assert model.reference.population == "all training rows"


def test_a_model_of_other_features_is_refused(
    bundle: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("obligor.features.catalogue.fingerprint", lambda: "0" * 64)
    with pytest.raises(ModelError, match="features of the bundle mean something else"):
        load_bundle(*bundle)


# --- report and registry


def test_the_report_is_self_contained(trained: Trained) -> None:
    html = trained.report.read_text()
    assert html.count("data:image/png;base64,") == 7
    assert "http://" not in html
    assert "https://" not in html
    for name in (
        "gini",
        "calibration_slope",
        "brier_constant",
        "plain LightGBM",
        "By vintage",
        "upper_pluto_tasche",
    ):
        assert name in html
    for section in trained.sections:
        assert f'id="{section.id}"' in html
        assert section.summary
    for _, title in CARD:
        assert f"<th>{title}</th>" in html
    assert "not recorded" in html  # nobody said who owns it


def test_a_run_keeps_parameters_figures_fingerprints_and_files(
    trained: Trained, store: Path, simulation: Simulation
) -> None:
    registry = Registry(store)
    run = registry.client.get_run(
        str(registry.client.get_model_version("obligor-pd", trained.version).run_id)
    )
    assert run.data.params["default.dpd_days"] == "90"
    assert run.data.params["data_sha256"] == data_fingerprint(simulation.ledger)
    assert (
        run.data.metrics["gini_low"]
        < run.data.metrics["gini"]
        < run.data.metrics["gini_high"]
    )
    assert "plain_brier" in run.data.metrics
    files = {
        item.path for item in registry.client.list_artifacts(run.info.run_id, "report")
    }
    assert {
        "report/model_report.html",
        "report/roc_curve.png",
        "report/validation.json",
    } <= files


def test_a_promotion_records_who_when_and_why(trained: Trained, store: Path) -> None:
    registry = Registry(store)
    assert registry.champion() == trained.version == registry.latest()
    pointer = json.loads((store / "champion.json").read_text())
    assert (pointer["by"], pointer["because"], pointer["at"]) == (
        "tests",
        "first model",
        NOW.isoformat(),
    )
    row = registry.versions()[0]
    assert "champion" in row["aliases"]
    assert row["promoted_by"] == "tests"
    load_bundle(store / "models" / pointer["sha256"], pointer["sha256"])


def test_a_worse_model_is_refused_unless_forced(
    trained: Trained, quick: TrainingConfig, store: Path, tmp_path: Path
) -> None:
    mine = tmp_path / "store"
    shutil.copytree(store, mine)
    for name in mine.glob("mlflow.db*"):
        name.unlink()
    registry = Registry(mine)
    test_rows = trained.split.test.features.assign(
        label=trained.split.test.label, customer=trained.split.test.customers
    )
    from dataclasses import replace

    from obligor.model.calibration import Calibration

    good = trained.fit.model
    noise = replace(good, calibration=Calibration("platt", (0.0, 0.0)))  # everybody 50%
    figures = {"gini": 0.1, "brier": 0.2, "brier_constant": 0.03}
    report = [trained.report, trained.report.parent / "validation.json"]
    one, two = (
        registry.log_run(TrainingRun(model, test_rows, report, metrics=figures), NOW)
        for model in (good, noise)
    )
    registry.promote(one, APPROVAL, SIGNER)
    with pytest.raises(
        ModelError,
        match=r"Brier .* is not below the constant rate.*Gini .* does not rank",
    ):
        registry.promote(two, APPROVAL, SIGNER)
    assert registry.champion() == one
    assert any(
        "champion's (version 1)" in objection for objection in registry.objections(two)
    )
    for second in (None, " A "):
        with pytest.raises(ModelError, match="expected two different persons"):
            registry.promote(two, APPROVAL, SIGNER, force=True, second=second)
    forced = registry.promote(two, APPROVAL, SIGNER, force=True, second="B")
    assert (forced.forced, forced.second) == (True, "B")
    assert registry.champion() == two
    assert json.loads((mine / "champion.json").read_text())["objections"]


def test_an_unknown_version_is_named(store: Path, trained: Trained) -> None:
    with pytest.raises(ModelError, match="version 99 does not exist"):
        Registry(store).promote("99", APPROVAL, SIGNER)


def test_an_empty_store_says_what_to_run(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "new")
    assert registry.champion() is None
    with pytest.raises(ModelError, match="obligor train"):
        registry.latest()


def test_evaluate_puts_plain_lightgbm_beside(
    trained: Trained, quick: TrainingConfig
) -> None:
    ours, peer = evaluate_model(trained.fit.model, trained.split, quick)
    assert ours["gini"] == trained.figures["gini"]
    assert peer["brier"].value == trained.peer["brier"].value


def test_data_fingerprint_sees_one_cell(simulation: Simulation) -> None:
    from dataclasses import replace

    tables = dict(simulation.ledger.tables)
    payments = tables["payments"].copy()
    payments.loc[5, "amount"] += 0.01
    assert data_fingerprint(simulation.ledger) != data_fingerprint(
        replace(simulation.ledger, tables={**tables, "payments": payments})
    )


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[default]\ndpd_days = 0", "default.dpd_days"),
        ("[default]\ndpd = 30", "default.dpd"),
        ("[model]\nlearning_rate = 'fast'", "model.learning_rate"),
        ("[", "cannot be read"),
    ],
)
def test_a_wrong_configuration_names_the_field(
    tmp_path: Path, text: str, told: str
) -> None:
    (tmp_path / "c.toml").write_text(text)
    with pytest.raises(SchemaError, match=told):
        read_config(tmp_path / "c.toml")


def test_a_configuration_is_read(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text("seed = 3\n[default]\ndpd_days = 30")
    assert read_config(tmp_path / "c.toml").default.dpd_days == 30
    assert read_config(None) == TrainingConfig()


def test_vintages_and_stability_cover_the_test_dates(trained: Trained) -> None:
    dates = {str(day) for day in trained.split.test.rows["as_of"]}
    found = {section.id: dict(section.tables) for section in trained.sections}
    vintages = found["vintages"]["By vintage"]
    assert set(vintages) == dates
    assert {"gini", "ks", "brier", "log_loss", "calibration_slope", "ece"} <= set(
        vintages.index
    )
    moved = found["stability"]["PSI against the training rows"]
    assert set(moved) == {"all", *dates}
    assert moved.index[0] == "the PD"
    assert np.isfinite(moved.to_numpy()).all()


def unusable_model(label: np.ndarray, choices: dict[str, object]) -> PdModel:
    """A model of a kind that training never makes."""
    rows = np.random.default_rng(0).normal(size=(len(label), 3))
    booster = lgb.train({"verbose": -1, **choices}, lgb.Dataset(rows, label), 3)
    return PdModel(
        text=booster.model_to_string(),
        calibration=Calibration("identity"),
        features=("a", "b", "c"),
        horizon_days=365,
        about={},
    )


def test_model_with_several_outputs_is_rejected() -> None:
    """It gives no PD: a PD model has one output."""
    label = np.arange(500) % 3
    model = unusable_model(label, {"objective": "multiclass", "num_class": 3})
    with pytest.raises(ModelError, match=r"several outputs.*expected one: a binary"):
        model.explain(np.zeros((9, 3)))


def test_model_with_linear_trees_is_rejected() -> None:
    """No exact explanation of it exists; LightGBM has none either."""
    label = np.arange(500) % 2
    model = unusable_model(label, {"objective": "binary", "linear_tree": True})
    with pytest.raises(ModelError, match=r"linear models in its leaves"):
        model.explain(np.zeros((9, 3)))


@pytest.mark.parametrize("kind", ["platt", "beta"])
def test_a_margin_that_says_nothing_or_the_contrary_gives_everybody_the_base_rate(
    kind: str,
) -> None:
    """The intercept of a fit with a falling line is not the base rate."""
    margin, label = (
        np.linspace(-4, 4, 2000),
        (np.linspace(0, 1, 2000) < 0.02).astype(np.int64),
    )
    pds = fit_calibration(kind, margin, label)(margin)
    np.testing.assert_allclose(pds, label.mean(), rtol=1e-6)


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
