"""The fitted model: margins, contributions, PDs by horizon, and its bundle."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

import lightgbm as lgb
import numpy as np
import pytest

from obligor.arrays import Floats, Ints
from obligor.data.asof import known_on
from obligor.data.synthetic import Simulation
from obligor.errors import ModelError
from obligor.features import catalogue
from obligor.features.build import build_features
from obligor.features.catalogue import CATALOGUE, NAMES
from obligor.features.kernel import MaterialAmount
from obligor.model.bundle import load_bundle, save_bundle
from obligor.model.calibration import Calibration
from obligor.model.pd_model import PdModel
from obligor.training.runs.ledger_run import Trained


@pytest.fixture(scope="module")
def model(trained: Trained) -> PdModel:
    return trained.fit.model


@pytest.fixture(scope="module")
def rows(simulation: Simulation) -> Floats:
    return build_features(known_on(simulation.ledger, date(2024, 12, 31))).to_numpy()


def test_contributions_sum_to_the_margin(model: PdModel, rows: Floats) -> None:
    contributions, margins = model.explain(rows)
    total = model.base + contributions.sum(axis=1)
    np.testing.assert_allclose(total, margins, atol=1e-9)


def test_margins_equal_lightgbm_bit_for_bit(model: PdModel, rows: Floats) -> None:
    _, margins = model.explain(rows)
    booster = lgb.Booster(model_str=model.text)
    np.testing.assert_array_equal(margins, booster.predict(rows, raw_score=True))
    np.testing.assert_array_equal(margins, model.margin(rows))


def test_pd_is_the_calibrated_margin(model: PdModel, rows: Floats) -> None:
    calibrated = model.calibration(model.margin(rows))
    np.testing.assert_array_equal(calibrated, model.predict_pd(rows))


@pytest.mark.parametrize("step", [0.5, 5.0, 500.0])
def test_pd_moves_only_in_the_direction_of_the_catalogue(
    model: PdModel,
    rows: Floats,
    step: float,
) -> None:
    for index, feature in enumerate(CATALOGUE):
        if feature.direction == 0:
            continue
        has_value = ~np.isnan(rows[:200, index])
        before = rows[:200][has_value]
        after = before.copy()
        after[:, index] += step
        change = model.predict_pd(after) - model.predict_pd(before)
        assert (feature.direction * change >= -1e-12).all(), feature.name


def test_pd_of_another_horizon_is_converted_at_a_constant_hazard(
    model: PdModel,
    rows: Floats,
) -> None:
    fifth_of_a_year = replace(model, horizon_days=73)
    pd_ = fifth_of_a_year.predict_pd(rows)
    expected = 1 - (1 - pd_) ** 5
    np.testing.assert_allclose(fifth_of_a_year.predict_pd_12m(rows), expected)


# --- Models that are not PD models


def unusable_model(label: Ints, choices: dict[str, object]) -> PdModel:
    """Return a model of a kind that training never makes."""
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


# --- The bundle


@dataclass(frozen=True)
class Bundle:
    """A saved model."""

    folder: Path
    sha256: str

    def load(self) -> PdModel:
        return load_bundle(self.folder, self.sha256)


@pytest.fixture
def bundle(model: PdModel, tmp_path: Path) -> Bundle:
    folder = tmp_path / "bundle"
    return Bundle(folder, save_bundle(model, folder))


def test_bundle_loads_to_the_same_model(
    model: PdModel,
    bundle: Bundle,
    rows: Floats,
) -> None:
    loaded = bundle.load()
    np.testing.assert_array_equal(loaded.predict_pd(rows), model.predict_pd(rows))
    assert loaded.about == model.about


@pytest.mark.parametrize(
    "name",
    ["model.txt", "calibration.json", "catalogue.json", "manifest.json"],
)
def test_changed_file_is_refused_before_it_is_parsed(
    bundle: Bundle,
    name: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    content = bytearray((bundle.folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    changed = bytes(content)
    (bundle.folder / name).write_bytes(changed)
    monkeypatch.setattr(json, "loads", refuse(changed, json.loads))
    monkeypatch.setattr(lgb, "Booster", refuse(changed.decode("latin-1"), lgb.Booster))
    with pytest.raises(ModelError, match=f"{name}: file was changed"):
        bundle.load()


def refuse(
    changed: bytes | str,
    parse: Callable[..., object],
) -> Callable[..., object]:
    """Return a parser that fails the test if it is given changed content."""

    def parse_unchanged(*arguments: object, **options: object) -> object:
        is_changed = changed in (*arguments, *options.values())
        assert not is_changed, "parsed before it was verified"
        return parse(*arguments, **options)

    return parse_unchanged


def test_missing_file_is_refused(bundle: Bundle) -> None:
    (bundle.folder / "model.txt").unlink()
    with pytest.raises(ModelError, match=r"model\.txt: file is missing"):
        bundle.load()


def test_unexpected_file_is_refused(bundle: Bundle) -> None:
    (bundle.folder / "model.pkl").write_bytes(b"")
    with pytest.raises(ModelError, match=r"other files: \['model\.pkl'\]"):
        bundle.load()


def test_bundle_without_a_baseline_still_loads(bundle: Bundle) -> None:
    """The first bundles had none."""
    manifest_path = bundle.folder / "manifest.json"
    manifest = json.loads(manifest_path.read_text())
    del manifest["files"]["baseline.json"]
    manifest_path.write_text(json.dumps(manifest))
    (bundle.folder / "baseline.json").unlink()
    sha256 = hashlib.sha256(manifest_path.read_bytes()).hexdigest()
    model = load_bundle(bundle.folder, sha256)
    assert model.baseline is None
    assert model.reference.population == "all training rows"


# What bundles of the first edition state, also those of versions before this one.
FIRST_EDITION = "225c60f0ed38b5771a36a1bd3df0df53c962f08222b93265c74cfcb1dceff5a1"


def test_a_bundle_of_the_first_edition_takes_the_columns_it_knows(
    tmp_path: Path,
) -> None:
    """It is loaded and scores as it did, beside features that it has never seen."""
    first = catalogue.EDITIONS[1]
    assert first.fingerprint() == FIRST_EDITION
    names = first.names
    rows = np.random.default_rng(0).normal(size=(500, len(NAMES)))
    label = (rows[:, NAMES.index("dpd_days")] > 0).astype(float)
    own_rows = rows[:, : len(names)]
    booster = lgb.train(
        {"verbose": -1, "objective": "binary"},
        lgb.Dataset(own_rows, label),
        5,
    )
    model = PdModel(
        text=booster.model_to_string(),
        calibration=Calibration("identity"),
        features=names,
        horizon_days=365,
        about={},
    )
    sha256 = save_bundle(model, tmp_path / "first")
    loaded = load_bundle(tmp_path / "first", sha256)
    assert loaded.material is None
    assert catalogue.edition_of(loaded.features) is first
    np.testing.assert_array_equal(loaded.own_columns(rows), own_rows)
    expected = booster.predict(own_rows, raw_score=True)
    np.testing.assert_array_equal(loaded.margin(loaded.own_columns(rows)), expected)


def test_features_of_no_edition_are_refused() -> None:
    with pytest.raises(ModelError, match="those of no edition"):
        catalogue.edition_of(NAMES[:-1])


def test_what_is_material_is_kept_in_the_bundle(model: PdModel) -> None:
    """The feature dpd_days counts the amounts of the default the model learnt."""
    assert model.about["default"]["counts"] == "customer"
    assert model.material == MaterialAmount(100.0, 0.01)
    assert model.features == NAMES


def test_bundle_of_another_catalogue_is_refused(
    bundle: Bundle,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(catalogue.Edition, "fingerprint", lambda edition: "0" * 64)
    with pytest.raises(ModelError, match="features of the bundle mean something else"):
        bundle.load()
