"""Models made elsewhere: read exactly, refused if in doubt, validated and served."""

from __future__ import annotations

import json
import pickle
import sys
from pathlib import Path

import lightgbm as lgb
import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from obligor.errors import ModelError
from obligor.features.applications import Applications, applications
from obligor.features.table_spec import Spec
from obligor.model.bundle import load_bundle, save_bundle
from obligor.model.calibration import sigmoid
from obligor.model.pd_model import PdModel
from obligor.sklearn import Scorecard
from obligor.training.lifecycle.registry import Registry
from obligor.training.lifecycle.run_settings import RunSettings
from obligor.training.outside import register as register_room
from obligor.training.outside.coefficients import coefficients_of
from obligor.training.outside.outside_model import OutsideModel
from obligor.training.outside.points_csv import PointScale
from obligor.training.outside.read_model import read_outside_model
from obligor.training.outside.register import encoding_of, register
from tests.conftest import NOW
from tests.unit.test_cli import run

SPEC = Spec.model_validate({"name": "later", "target": {"column": "bad"}})
NUMBERS = ["income", "owed", "years at work"]


def make_table(n_rows: int = 500) -> pd.DataFrame:
    """Numbers with gaps, a category, and who was bad."""
    rng = np.random.default_rng(2)
    income = rng.lognormal(8, 0.6, n_rows)
    owed = rng.lognormal(7, 0.9, n_rows)
    town = rng.choice(["north", "south", "west"], n_rows)
    margin = -1.5 * (np.log(income) - 8) + 0.8 * (np.log(owed) - 7) - 0.9
    margin += 0.9 * (town == "south")
    is_bad = rng.random(n_rows) < sigmoid(margin)
    return pd.DataFrame(
        {
            "income": np.where(rng.random(n_rows) < 0.1, np.nan, income.round(2)),
            "owed": owed.round(2),
            "years at work": rng.integers(0, 20, n_rows),
            "town": town,
            "bad": is_bad.astype(int),
        }
    )


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return make_table()


@pytest.fixture(scope="module")
def data(table: pd.DataFrame) -> Applications:
    return applications(table, SPEC)


def read(path: Path, content: str, scale: PointScale | None = None) -> OutsideModel:
    path.write_text(content, encoding="utf-8")
    return read_outside_model(path, scale or PointScale())


def as_model(outside: OutsideModel, data: Applications) -> PdModel:
    encoding = encoding_of(outside, data)
    return PdModel(
        text=outside.text,
        calibration=register_room.Calibration("identity"),
        features=encoding.names,
        horizon_days=365,
        about={},
        encoding=encoding,
    )


def margins(outside: OutsideModel, data: Applications) -> np.ndarray:
    model = as_model(outside, data)
    rows = model.encoding.rows(data.table)
    margin = model.margin(rows)
    contributions, _ = model.explain(rows)
    np.testing.assert_allclose(
        model.base + contributions.sum(axis=1), margin, rtol=1e-9, atol=1e-9
    )
    return margin


# --- What another tool predicts is what is read


@pytest.mark.skipif(sys.platform != "linux", reason="xgboost-cpu is for Linux")
@pytest.mark.parametrize(
    "choices", [{}, {"booster": "dart", "rate_drop": 0.3}, {"num_parallel_tree": 2}]
)
def test_xgboost(
    choices: dict[str, object], table: pd.DataFrame, data: Applications, tmp_path: Path
) -> None:
    xgboost = pytest.importorskip("xgboost")
    matrix = xgboost.DMatrix(table[NUMBERS], table["bad"])
    settings = {
        "objective": "binary:logistic",
        "max_depth": 4,
        "base_score": 0.2,
        "nthread": 1,
        **choices,
    }
    booster = xgboost.train(settings, matrix, 15)
    path = tmp_path / "model.json"
    booster.save_model(path)
    outside = read_outside_model(path, PointScale())
    expected = booster.predict(matrix, output_margin=True)
    np.testing.assert_allclose(margins(outside, data), expected, atol=2e-6)
    # Its own TreeSHAP, from its own dump.
    model = as_model(outside, data)
    contributions, _ = model.explain(model.encoding.rows(data.table))
    theirs = booster.predict(matrix, pred_contribs=True)
    np.testing.assert_allclose(contributions, theirs[:, :-1], atol=5e-6)
    assert model.base == pytest.approx(theirs[0, -1], abs=5e-6)


@pytest.mark.skipif(sys.platform != "linux", reason="xgboost-cpu is for Linux")
def test_xgboost_sends_a_value_at_its_threshold_where_xgboost_does(
    data: Applications, tmp_path: Path
) -> None:
    xgboost = pytest.importorskip("xgboost")
    rng = np.random.default_rng(0)
    values = np.float32(rng.uniform(0, 3, 300)).astype(float)
    label = (values > 1.5).astype(int) ^ (rng.random(300) < 0.1)
    matrix = xgboost.DMatrix(values[:, None], label, feature_names=["owed"])
    booster = xgboost.train({"objective": "binary:logistic"}, matrix, 8)
    booster.save_model(tmp_path / "model.json")
    outside = read_outside_model(tmp_path / "model.json", PointScale())
    conditions = json.loads((tmp_path / "model.json").read_text())["learner"][
        "gradient_booster"
    ]["model"]["trees"][0]["split_conditions"]
    # On, just below and just above every threshold, in 64 bits.
    edges = np.array(conditions, dtype=float)
    step = np.spacing(np.float32(edges)).astype(float)
    near = np.concatenate([edges, edges - step / 2, edges - step / 4, edges - step])
    near = np.concatenate([near, np.nextafter(edges, -9), np.nextafter(edges, 9)])
    model = as_model(outside, data)
    theirs = booster.predict(
        xgboost.DMatrix(near[:, None], feature_names=["owed"]), output_margin=True
    )
    np.testing.assert_allclose(model.margin(near[:, None]), theirs, atol=1e-6)


def test_lightgbm_with_categories(
    table: pd.DataFrame, data: Applications, tmp_path: Path
) -> None:
    frame = table[[*NUMBERS, "town"]].astype({"town": "category"})
    booster = lgb.train(
        {"objective": "binary", "verbose": -1, "min_data_per_group": 10},
        lgb.Dataset(frame, table["bad"]),
        20,
    )
    booster.save_model(tmp_path / "model.txt")
    outside = read_outside_model(tmp_path / "model.txt", PointScale())
    assert outside.levels == {"town": ("north", "south", "west")}
    expected = booster.predict(frame, raw_score=True)
    np.testing.assert_allclose(margins(outside, data), expected, rtol=1e-12)


def test_a_logistic_regression(
    table: pd.DataFrame, data: Applications, tmp_path: Path
) -> None:
    filled = table[NUMBERS].fillna(table[NUMBERS].mean())
    scaler = StandardScaler().fit(filled)
    fitted = LogisticRegression().fit(scaler.transform(filled), table["bad"])
    content = coefficients_of(
        NUMBERS,
        fitted.coef_[0].tolist(),
        fitted.intercept_.item(),
        {"means": scaler.mean_.tolist(), "scales": scaler.scale_.tolist()},
    )
    outside = read(tmp_path / "model.json", content)
    expected = fitted.decision_function(scaler.transform(filled))
    np.testing.assert_allclose(margins(outside, data), expected, atol=1e-9)
    as_csv = pd.DataFrame(
        {
            "feature": ["intercept", *NUMBERS],
            "coefficient": [fitted.intercept_.item(), *fitted.coef_[0]],
            "mean": [None, *scaler.mean_],
            "scale": [None, *scaler.scale_],
        }
    ).to_csv(index=False)
    of_csv = read(tmp_path / "model.csv", as_csv)
    np.testing.assert_allclose(margins(of_csv, data), expected, atol=1e-9)


def test_levels_of_a_logistic_regression(data: Applications, tmp_path: Path) -> None:
    content = json.dumps(
        {
            "intercept": -1.0,
            "categories": {"town": {"south": 0.5, "north": 0.0}},
        }
    )
    outside = read(tmp_path / "model.json", content)
    values = {"north": -1.0, "south": -0.5, "west": -0.5}
    expected = data.table["town"].map(values)
    assert margins(outside, data).tolist() == expected.tolist()
    assert "riskiest" in " ".join(outside.notes)


def test_our_own_printed_scorecard(
    table: pd.DataFrame, data: Applications, tmp_path: Path
) -> None:
    card = Scorecard().fit(table[[*NUMBERS, "town"]], table["bad"])
    content = card.scorecard_.to_csv(index=False)
    outside = read(tmp_path / "card.csv", content)
    points = card.points(table[[*NUMBERS, "town"]])
    expected = -np.log(50) - (points - 600) * np.log(2) / 20
    np.testing.assert_allclose(margins(outside, data), expected, atol=1e-9)


@pytest.mark.parametrize("form", ["(0, 5]", "0 < x <= 5"])
def test_ends_of_bins(form: str, data: Applications, tmp_path: Path) -> None:
    low, middle, high = ("(-inf, 0]", form, "(5, inf)")
    content = "feature,bin,points\n"
    for text, points in ((low, 1), (middle, 2), (high, 3), ("missing", 0)):
        content += f'owed,"{text}",{points}\n'
    outside = read(tmp_path / "card.csv", content)
    model = as_model(outside, data)
    margin = model.margin(np.array([[0.0], [0.1], [5.0], [5.1], [np.nan]]))
    assert np.round(-(margin - margin[-1]) * 20 / np.log(2), 6).tolist() == [
        1,
        2,
        2,
        3,
        0,
    ]


def test_bins_that_are_closed_on_the_left(data: Applications, tmp_path: Path) -> None:
    content = 'feature,bin,points\nowed,"[-inf,5)",1\nowed,"[5,inf)",2\n'
    outside = read(tmp_path / "card.csv", content)
    margin = as_model(outside, data).margin(np.array([[4.9], [5.0], [np.nan]]))
    assert margin[0] > margin[1]
    assert margin[2] == margin[0]
    assert "fewest points" in outside.notes[0]


# --- What is refused


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("feature,bin,points\nowed,1 < x <= 2,4\n", "run from 1 to 2"),
        (
            "feature,bin,points\nowed,-inf < x <= 2,4\nowed,3 < x <= inf,5\n",
            "leave a gap",
        ),
        (
            "feature,bin,points\nowed,-inf < x <= 3,4\nowed,2 < x <= inf,5\n",
            "overlap",
        ),
        ("feature,bin,points\nowed,-inf < x <= inf,many\n", "not numbers"),
        ("feature,coefficient\nincome,1\n", "0 rows are called intercept"),
        ("feature,coefficient\nintercept,1\nincome,nan\n", "coefficients.income"),
        ('{"intercept": 1, "slopes": {}}', "slopes"),
        ('{"intercept": 1}', "no coefficients"),
        ("{", "cannot be read"),
        ("hello", "the columns are"),
        ("tree\nversion=v4\n", "names no columns"),
    ],
)
def test_a_file_that_is_not_right_is_refused(
    content: str, message: str, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match=message):
        read(tmp_path / "model", content)


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps({"model": 1}))
    with pytest.raises(ModelError, match="never loaded"):
        read_outside_model(path, PointScale())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"objective": "regression"}, "the objective is regression"),
        ({"objective": "binary", "linear_tree": True}, "linear models"),
    ],
)
def test_lightgbm_that_is_no_probability(
    settings: dict[str, object], message: str, table: pd.DataFrame, tmp_path: Path
) -> None:
    dataset = lgb.Dataset(table[NUMBERS], table["bad"], params={"verbose": -1})
    booster = lgb.train({"verbose": -1, **settings}, dataset, 2)
    booster.save_model(tmp_path / "model.txt")
    with pytest.raises(ModelError, match=message):
        read_outside_model(tmp_path / "model.txt", PointScale())


def test_columns_that_are_missing_or_not_named(data: Applications) -> None:
    with pytest.raises(ModelError, match=r"lacks the columns \['shoe'\]"):
        encoding_of(OutsideModel("x", "", ("owed", "shoe")), data)
    with pytest.raises(ModelError, match="does not name"):
        encoding_of(OutsideModel("x", "", ()), data)
    # LightGBM has no blanks in names.
    encoding = encoding_of(OutsideModel("x", "", ("years_at_work",)), data)
    assert encoding.names == ("years at work",)


# --- From the file to an answer


def test_a_registered_model_is_validated_gated_and_served(
    table: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(register_room, "ROUNDS", 20)
    booster = lgb.train(
        {"objective": "binary", "verbose": -1, "num_leaves": 4, "learning_rate": 0.05},
        lgb.Dataset(table[NUMBERS], table["bad"]),
        25,
    )
    booster.save_model(tmp_path / "model.txt")
    later = make_table(700).iloc[500:]
    later = pd.concat([later] * 2, ignore_index=True)
    later["pd elsewhere"] = booster.predict(later[NUMBERS])
    data = applications(later, SPEC)
    outside = read_outside_model(tmp_path / "model.txt", PointScale())
    settings = RunSettings(tmp_path / "store", tmp_path / "report", NOW)
    registered = register(outside, data, settings, "pd elsewhere")
    assert registered.largest_gap is not None
    assert registered.largest_gap < 1e-12
    registry = Registry(settings.store)
    assert registry.versions()[0]["aliases"] == "challenger"
    # The gates judge it by its report and its test rows, like any other.
    reasons = registry.objections(registered.version)
    assert not [reason for reason in reasons if "report lacks" in reason]
    loaded = load_bundle(
        tmp_path / "bundle", save_bundle(registered.model, tmp_path / "bundle")
    )
    row = loaded.encoding.row({name: later[name].iloc[0].item() for name in NUMBERS})
    assert loaded.predict_pd(row)[0] == pytest.approx(later["pd elsewhere"].iloc[0])


def test_pds_that_differ_are_refused(data: Applications, tmp_path: Path) -> None:
    wrong = applications(data.table.assign(pd=0.5), SPEC)
    outside = read(
        tmp_path / "model.json", '{"intercept": 0, "coefficients": {"owed": 0.001}}'
    )
    settings = RunSettings(tmp_path / "store", tmp_path / "report", NOW)
    with pytest.raises(ModelError, match=r"row .* has the PD"):
        register(outside, wrong, settings, "pd")
    with pytest.raises(ModelError, match="no column 'chance'"):
        register(outside, wrong, settings, "chance")
    assert not settings.store.exists()


def test_the_command_names_what_is_wrong(table: pd.DataFrame, tmp_path: Path) -> None:
    table.to_csv(tmp_path / "later.csv", index=False)
    with pytest.raises(ModelError, match=r"none\.txt: the file cannot be read"):
        run(
            "register",
            "--model",
            str(tmp_path / "none.txt"),
            "--table",
            str(tmp_path / "later.csv"),
            "--store",
            str(tmp_path / "store"),
        )
