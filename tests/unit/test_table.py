"""The candidates on a table: exactly explained, blended, evaluated out of fold."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import lightgbm as lgb
import numpy as np
import pandas as pd
import pytest
from starlette.testclient import TestClient

from obligor.arrays import Floats
from obligor.decisions.champion import ChampionLoader
from obligor.errors import SchemaError
from obligor.features.applications import Applications, applications
from obligor.features.table_files import read_frame
from obligor.features.table_spec import Spec, read_spec
from obligor.model.bundle import load_bundle, save_bundle
from obligor.serving.api.routes import create_app, use_service
from obligor.serving.assembly import Service
from obligor.training.candidates.fit_settings import BLEND, LIGHTGBM, RATIOS, SCORECARD
from obligor.training.candidates.scorecard import Bins, fit_scorecard
from obligor.training.candidates.training_rows import Columns
from obligor.training.lifecycle.registry import Approval, Registry, TrainingRun
from obligor.training.lifecycle.run_settings import RunSettings
from obligor.training.runs import table_run
from obligor.training.runs.ledger_run import Trained
from obligor.training.runs.table_evaluation import (
    PROMOTED,
    TableFigures,
    evaluate_table,
)
from obligor.training.runs.table_model import FitOptions, TableModel, fit_table
from obligor.training.runs.table_run import train_table
from obligor.training.runs.table_split import TableSplit, split_table
from tests.conftest import NOW, SIGNER, shared
from tests.unit.test_cli import run

SPEC = Spec.model_validate(
    {
        "name": "made",
        "target": {"column": "bad", "horizon_days": 365},
        "table": {"special": [-9], "forbidden": ["sex"]},
        "columns": {"income": {"direction": -1}},
    }
)
CANDIDATES = (SCORECARD, LIGHTGBM, "extra_trees", RATIOS, BLEND)
FIGURES_SHOWN = {
    "auc",
    "gini",
    "ks",
    "brier",
    "brier_constant",
    "log_loss",
    "ece",
    "calibration_slope",
}
SPECS = Path(__file__).parents[2] / "data" / "samples" / "specs"


def make_frame(n: int = 700, seed: int = 0) -> pd.DataFrame:
    """Risk falls with income, rises with owed / limit, and differs by town."""
    rng = np.random.default_rng(seed)
    income = rng.lognormal(8, 0.5, n)
    owed = rng.lognormal(7, 1, n)
    limit = rng.lognormal(7.5, 0.7, n)
    towns = ["north", "south", "west", "east"]
    town = rng.choice(towns, n, p=[0.4, 0.3, 0.28, 0.02])
    sex = rng.choice(["f", "m"], n)
    is_special = rng.random(n) < 0.1
    margin = (
        1.5 * is_special
        - 1.2
        - 1.2 * (np.log(income) - 8)
        + 1.0 * np.log(owed / limit)
        + 0.8 * (town == "south")
    )
    bad = rng.random(n) < 1 / (1 + np.exp(-margin))
    noise = {f"noise_{k}": rng.normal(size=n) for k in range(3)}
    return pd.DataFrame(
        {
            "income": np.where(is_special, -9, income),
            "owed": owed,
            "limit": limit,
            "town": town,
            **noise,
            "sex": sex,
            "bad": bad.astype(int),
        }
    )


@pytest.fixture(scope="module")
def data() -> Applications:
    return applications(make_frame(), SPEC)


@pytest.fixture(scope="module")
def fitted(data: Applications) -> TableModel:
    return fit_table(data, seed=0, options=FitOptions(threads=1))


def rows_for(fitted: TableModel, name: str, frame: pd.DataFrame) -> Floats:
    return fitted.encoding_of(name).rows(frame)


# --- candidates


@pytest.mark.parametrize("name", CANDIDATES)
def test_every_candidate_is_one_lightgbm_model(
    fitted: TableModel, data: Applications, name: str
) -> None:
    model = fitted.model(name)
    rows = rows_for(fitted, name, data.frame.head(50))
    expected = lgb.Booster(model_str=model.text).predict(rows, raw_score=True)
    np.testing.assert_allclose(model.margin(rows), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", CANDIDATES)
def test_every_candidate_is_exactly_explained(
    fitted: TableModel, data: Applications, name: str
) -> None:
    model = fitted.model(name)
    rows = rows_for(fitted, name, data.frame.head(50))
    booster = lgb.Booster(model_str=model.text)
    contributions, margins = model.explain(rows)
    expected_margin = booster.predict(rows, raw_score=True)
    expected = booster.predict(rows, pred_contrib=True)[:, :-1]
    total = contributions.sum(axis=1) + model.base
    np.testing.assert_allclose(margins, expected_margin, rtol=0, atol=1e-12)
    np.testing.assert_allclose(total, margins, rtol=0, atol=1e-9)
    np.testing.assert_allclose(contributions, expected, rtol=0, atol=1e-9)


def test_all_candidates_are_fitted(fitted: TableModel) -> None:
    assert set(fitted.candidates.by_name) == set(CANDIDATES)


def test_a_blend_is_the_weighted_sum_of_its_members(
    fitted: TableModel, data: Applications
) -> None:
    rows = rows_for(fitted, BLEND, data.frame)
    n_columns = len(fitted.encoding.names)
    weights = fitted.candidates.weights
    margin = np.zeros(len(rows))
    for name, weight in weights.items():
        member_rows = rows if name == RATIOS else rows[:, :n_columns]
        margin += weight * fitted.model(name).margin(member_rows)
    constant = fitted.model(BLEND).margin(rows) - margin
    assert np.ptp(constant) < 1e-9
    assert min(weights.values()) >= 0


def test_the_scorecards_trees_equal_its_formula(
    fitted: TableModel, data: Applications
) -> None:
    scorecard = fitted.candidates.scorecard
    model = fitted.model(SCORECARD)
    rows = rows_for(fitted, SCORECARD, data.frame)
    unseen_level = rows[:1].copy()
    unseen_level[:, -1] = np.nan
    all_missing = np.full_like(unseen_level, np.nan)
    for some_rows in (rows, all_missing, unseen_level):
        expected = scorecard.margin(some_rows)
        np.testing.assert_allclose(model.margin(some_rows), expected, atol=1e-12)
    assert (scorecard.coefficients >= 0).all()


def bins_named(points: pd.DataFrame, feature: str) -> set[str]:
    return set(points.loc[points["feature"] == feature, "bin"])


def test_the_printed_scorecard_names_its_bins(fitted: TableModel) -> None:
    points = fitted.points()
    assert {"an ordinary number", "-9"} <= bins_named(points, "income=special")
    assert {"north", "south", "another"} <= bins_named(points, "town")


def test_the_printed_points_add_up_to_the_score(
    fitted: TableModel, data: Applications
) -> None:
    scorecard = fitted.candidates.scorecard
    rows = rows_for(fitted, SCORECARD, data.frame)[:1]
    score = 600 + 20 / np.log(2) * (-scorecard.margin(rows)[0] - np.log(50))
    by_feature = dict(list(fitted.points().groupby("feature")))
    total = 0.0
    for bins in scorecard.bins:
        bin_index = int(bins.assign(rows[:, bins.feature])[0])
        table = by_feature[scorecard.names[bins.feature]]
        total += table["points"].iloc[bin_index]
    # Each bin's points are rounded.
    assert total == pytest.approx(score, abs=len(scorecard.bins))


@pytest.mark.parametrize("name", CANDIDATES)
def test_directions_hold_over_the_whole_grid(
    fitted: TableModel, data: Applications, name: str
) -> None:
    frame = pd.concat([data.frame.head(40)] * 50, ignore_index=True)
    frame["income"] = np.repeat(np.linspace(1, 20_000, 50), 40)
    pds = fitted.model(name).predict_pd(rows_for(fitted, name, frame))
    assert (np.diff(pds.reshape(50, 40), axis=0) <= 1e-12).all()


def test_forbidden_columns_and_special_values_are_not_ordinary_numbers(
    fitted: TableModel,
) -> None:
    assert "sex" not in fitted.encoding.names
    assert "income=special" in fitted.encoding.names


def test_a_column_with_a_direction_is_in_no_pair(fitted: TableModel) -> None:
    n_columns = len(fitted.encoding.names)
    pairs = fitted.encoding_of(RATIOS).names[n_columns:]
    assert pairs
    assert not any("income" in name.split() for name in pairs)


def test_the_bundle_is_the_same_on_one_thread_and_two(
    data: Applications, fitted: TableModel, tmp_path: Path
) -> None:
    on_two_threads = fit_table(data, seed=0, options=FitOptions(threads=2))
    first = save_bundle(fitted.model(BLEND), tmp_path / "one")
    second = save_bundle(on_two_threads.model(BLEND), tmp_path / "two")
    assert first == second


def test_a_loaded_bundle_scores_the_same(
    data: Applications, fitted: TableModel, tmp_path: Path
) -> None:
    model = fitted.model(BLEND)
    sha256 = save_bundle(model, tmp_path / "bundle")
    loaded = load_bundle(tmp_path / "bundle", sha256)
    rows = rows_for(fitted, BLEND, data.frame)
    assert loaded.encoding == fitted.encoding_of(BLEND)
    np.testing.assert_array_equal(loaded.predict_pd(rows), model.predict_pd(rows))


def test_too_few_of_one_kind_is_an_error() -> None:
    frame = make_frame(300)
    frame["bad"] = 0
    frame.loc[:12, "bad"] = 1
    with pytest.raises(SchemaError, match=r"occurs in only 1\d rows"):
        fit_table(applications(frame, SPEC), seed=0, options=FitOptions(threads=1))


def test_information_value_by_hand() -> None:
    bins = Bins(0, np.array([1.0]), np.array([800, 200, 0]), np.array([50, 50, 0]))
    # Shares of goods .8 and .2, of bads .5 and .5: the weights of evidence are ln(1.6)
    # and ln(.4). Those of a scorecard are shrunk a little in small bins.
    expected = 0.3 * np.log(1.6) + 0.3 * np.log(2.5)
    assert bins.iv == pytest.approx(expected)
    assert expected * 0.95 < bins.shrunk_iv < expected


def test_columns_without_information_leave_a_constant() -> None:
    rows = np.ones((200, 1))
    label = np.repeat([0, 1], 100)
    scorecard = fit_scorecard(rows, label, Columns(("same",), (), (0,)))
    booster = lgb.Booster(model_str=scorecard.text())
    assert scorecard.margin(rows)[0] == pytest.approx(0.0, abs=1e-6)
    assert booster.predict(rows)[0] == pytest.approx(0.5)


# --- evaluation


@pytest.fixture(scope="module")
def figures_of_noise() -> TableFigures:
    frame = make_frame(500)
    frame["bad"] = np.random.default_rng(1).integers(0, 2, 500)
    return evaluate_table(applications(frame, SPEC), folds=3, seed=1)


def test_out_of_fold_figures_find_nothing_in_noise(
    figures_of_noise: TableFigures,
) -> None:
    for name, figures in figures_of_noise["models"].items():
        assert 0.35 < figures["auc"] < 0.62, name


def test_every_candidate_and_the_promoted_one_are_evaluated(
    figures_of_noise: TableFigures,
) -> None:
    models = figures_of_noise["models"]
    assert set(models) == {*CANDIDATES, PROMOTED}
    assert figures_of_noise["promoted"] == models["promoted"]
    assert sum(figures_of_noise["chosen"].values()) == 3


def test_later_rows_are_the_test_rows_if_there_are_dates() -> None:
    frame = make_frame(400)
    frame["on"] = pd.date_range("2023-01-01", periods=400).astype(str)
    frame["who"] = np.arange(400) % 350
    table = SPEC.table.model_copy(update={"date": "on", "group": "who"})
    spec = SPEC.model_copy(update={"table": table})
    sides = split_table(applications(frame, spec), seed=0)
    fit = sides.fit
    test = sides.test
    assert fit.dates is not None
    assert test.dates is not None
    assert fit.dates.max() < test.dates.min()
    assert not set(fit.groups) & set(test.groups)


# --- served


@pytest.fixture(scope="module")
def table_store(
    tmp_path_factory: pytest.TempPathFactory, data: Applications, fitted: TableModel
) -> Path:
    """A store whose champion scores the table; `fitted` is not fitted anew."""
    store = tmp_path_factory.mktemp("table_store")
    third = data.take(np.arange(0, len(data), 3))
    settings = RunSettings(store, store / "report", NOW)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(table_run, "fit_table", lambda *_: fitted)
        patch.setattr(table_run, "split_table", lambda *_: TableSplit(data, third))
        trained = train_table(data, settings, fingerprint="f" * 64)
    approval = Approval("tests", "first", NOW)
    Registry(store).promote(
        trained.version, approval, SIGNER, force=True, second="others"
    )
    (store / "keys").mkdir(exist_ok=True)
    (store / "keys" / "release.pem").write_bytes(SIGNER.public)
    return store


@pytest.fixture
def scoring(service: Service, table_store: Path) -> TestClient:
    app = create_app()
    use_service(app, replace(service, champions=ChampionLoader(table_store)))
    return TestClient(app, raise_server_exceptions=False)


def payload(data: Applications, row_index: int) -> dict[str, object]:
    values: dict[str, object] = {}
    for name, value in data.frame.iloc[row_index].items():
        if isinstance(value, str):
            values[str(name)] = value
        else:
            values[str(name)] = None if pd.isna(value) else float(value)
    return values


@pytest.mark.parametrize("row_index", range(5))
def test_a_served_table_model_scores_its_columns(
    scoring: TestClient, data: Applications, fitted: TableModel, row_index: int
) -> None:
    rows = rows_for(fitted, fitted.candidates.chosen_name, data.frame)
    pds = fitted.model().predict_pd(rows[row_index : row_index + 1])
    response = scoring.post("/scores", json={"features": payload(data, row_index)})
    answer = response.json()
    explanation = answer["explanation"]
    total = explanation["base"] + sum(explanation["contributions"].values())
    assert answer["pd_12m"] == pds[0]
    assert total == pytest.approx(explanation["margin"])


@pytest.mark.parametrize("row_index", range(5))
def test_a_served_table_model_gives_its_reasons(
    scoring: TestClient, data: Applications, row_index: int
) -> None:
    response = scoring.post("/scores", json={"features": payload(data, row_index)})
    for reason in response.json()["reasons"]:
        assert reason["contribution"] > 0
        assert reason["feature"] in reason["text"]
        assert "通常为" in reason["text_zh"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"income": "much"}, "features.income"),
        ({"town": None}, "missing ['town']"),
        ({"sex": "f"}, "unknown ['sex']"),
    ],
)
def test_a_row_that_does_not_fit_the_spec_is_rejected(
    scoring: TestClient,
    data: Applications,
    changes: dict[str, object],
    message: str,
) -> None:
    features = {**payload(data, 0), **changes}
    if features["town"] is None:
        del features["town"]
    response = scoring.post("/scores", json={"features": features})
    assert response.status_code == 422
    assert message in response.json()["detail"]


def test_a_table_model_does_not_decide_about_customers(scoring: TestClient) -> None:
    response = scoring.post("/decisions", json={"customer_id": "C0000002"})
    assert response.status_code == 503
    assert "scores applications" in response.json()["detail"]


def test_an_unseen_level_and_a_special_value_are_scored(
    scoring: TestClient, data: Applications
) -> None:
    features = {**payload(data, 0), "town": "atlantis", "income": -9}
    response = scoring.post("/scores", json={"features": features})
    assert response.status_code == 200


def test_a_model_with_other_columns_is_not_compared_with_the_champion(
    table_store: Path, trained: Trained
) -> None:
    """The champion cannot score the challenger's test rows, so a person must decide."""
    registry = Registry(table_store)
    assert not any("columns" in objection for objection in registry.objections("1"))
    test = trained.split.test
    rows = test.features.assign(label=test.label, customer=test.customers)
    version = registry.log_run(TrainingRun(trained.fit.model, rows), NOW)
    objections = registry.objections(version)
    assert any("has other columns" in objection for objection in objections)


@pytest.fixture(scope="module")
def scored_files(
    tmp_path_factory: pytest.TempPathFactory, data: Applications
) -> dict[str, Path]:
    """The same twenty rows in each kind of file."""
    folder = tmp_path_factory.mktemp("scored")
    frame = data.frame.head(20).assign(remark="seen")
    files = {kind: folder / f"made.{kind}" for kind in ("csv", "parquet", "jsonl")}
    frame.to_csv(files["csv"], index=False)
    frame.to_parquet(files["parquet"])
    rows = [json.dumps(row) for row in frame.to_dict("records")]
    files["jsonl"].write_text("\n".join(rows))
    return files


@pytest.mark.parametrize("kind", ["csv", "parquet", "jsonl"])
def test_a_file_is_scored_as_its_rows_are(
    scoring: TestClient,
    data: Applications,
    table_store: Path,
    scored_files: dict[str, Path],
    kind: str,
) -> None:
    ran = run("score", scored_files[kind], "--store", table_store, "--json")
    answer = json.loads(ran.stdout)
    assert answer["unused"] == ["remark"]
    assert "1 columns are not read by the model: 'remark'" in ran.output
    for row_index in range(3):
        body = {"features": payload(data, row_index)}
        served = scoring.post("/scores", json=body).json()
        assert answer["scores"][row_index]["row"] == row_index + 1
        for name in ("pd_12m", "pd_6m", "pd_3m"):
            assert answer["scores"][row_index][name] == served[name]


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ("income", r"row 3, column income: 2 cells are not numbers; the first is 'x'"),
        (None, r"the columns \['income'\] are missing"),
    ],
)
def test_a_file_that_does_not_fit_the_model_is_refused(
    data: Applications,
    table_store: Path,
    tmp_path: Path,
    column: str | None,
    message: str,
) -> None:
    frame = data.frame.head(9).astype({"income": object})
    if column is None:
        frame = frame.drop(columns="income")
    else:
        frame.loc[[2, 5], column] = "x"
    frame.to_csv(tmp_path / "made.csv", index=False)
    with pytest.raises(SchemaError, match=message):
        run("score", tmp_path / "made.csv", "--store", table_store)


# --- the command line


@pytest.fixture(scope="module")
def table_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    frame = make_frame(500).assign(decision="accepted")
    frame.loc[:30, "bad"] = None
    frame.loc[:30, "decision"] = "declined"
    file = tmp_path_factory.mktemp("table") / "made.csv"
    frame.to_csv(file, index=False)
    return file


@pytest.fixture(scope="module")
def spec_file(table_file: Path) -> Path:
    """An inferred spec, to which a person added the refused applicants."""
    spec = table_file.parent / "spec.toml"
    inferred = run("spec", "infer", table_file, "--target", "bad", "--out", spec)
    assert inferred.exit_code == 0
    assert "forbidden" in inferred.output
    with spec.open("a") as text:
        text.write('\n[rejects]\ncolumn = "decision"\nvalues = ["declined"]\n')
    return spec


def test_a_table_is_trained_on_the_command_line(
    table_file: Path, spec_file: Path, tmp_path: Path
) -> None:
    words = ["train", "--table", table_file, "--spec", spec_file]
    words += ["--store", tmp_path / "store", "--report", tmp_path / "report"]
    trained = run(*words)
    assert trained.exit_code == 0, trained.output
    assert "blend" in trained.stdout
    assert "version 1" in trained.stdout
    assert "31 refused applicants are left out" in trained.output
    assert "done: lightgbm" in trained.stderr
    assert not (tmp_path / "store" / "unfinished").exists()
    scorecard = (tmp_path / "report" / "scorecard.csv").read_text()
    assert scorecard.startswith("feature,bin,rows,default_rate,woe,iv,shrunk_iv,points")
    figures = json.loads((tmp_path / "report" / "figures.json").read_text())
    auc = figures["rungs"]["blend"]["auc"]
    assert auc["low"] < auc["high"]


def test_a_table_is_evaluated_on_the_command_line(
    table_file: Path, spec_file: Path
) -> None:
    words = ["evaluate", "--table", table_file, "--spec", spec_file]
    evaluated = run(*words, "--folds", "2", "--json")
    figures = json.loads(evaluated.stdout)
    assert set(figures["promoted"]) >= FIGURES_SHOWN
    assert figures["seconds"] > 0


def test_training_needs_something_to_read() -> None:
    with pytest.raises(SchemaError, match="nothing to read"):
        run("train")


@pytest.mark.parametrize("name", ["german_credit", "heloc", "uci_credit_card"])
def test_the_shipped_specs_fit_their_tables(name: str) -> None:
    spec = read_spec(SPECS / f"{name}.toml")
    data = applications(read_frame(shared(f"{name}.csv")), spec)
    assert 0.2 < data.label.mean() < 0.55
    assert data.frame.shape[1] >= 18
