"""The ladder on a table: every rung is exactly explained, the blend adds up, the figures are out of fold."""

from __future__ import annotations

import json
from pathlib import Path

import lightgbm as lgb
import numpy as np
import pandas as pd
import pytest
from starlette.testclient import TestClient

from obligor.decisions.engine import Engine
from obligor.errors import SchemaError
from obligor.features.applications import Applications, applications, read_frame
from obligor.features.table_spec import Spec, read_spec
from obligor.model.bundle import load_bundle, save_bundle
from obligor.serving.api.routes import create_app, use_engine
from obligor.training.candidates.fit_settings import BLEND, LIGHTGBM, RATIOS, SCORECARD
from obligor.training.candidates.scorecard import Bins, fit_scorecard
from obligor.training.candidates.training_rows import Columns
from obligor.training.lifecycle.registry import Registry
from obligor.training.runs import table_run as spine
from obligor.training.runs.ledger_run import Trained
from obligor.training.runs.table_run import (
    TableModel,
    evaluate_table,
    fit_table,
    split,
    train_table,
)
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


def made(n: int = 700, seed: int = 0) -> pd.DataFrame:
    """A table whose risk falls with income, rises with owed / limit, and differs by town."""
    rng = np.random.default_rng(seed)
    income, owed, limit = (
        rng.lognormal(8, 0.5, n),
        rng.lognormal(7, 1, n),
        rng.lognormal(7.5, 0.7, n),
    )
    town, sex = (
        rng.choice(["north", "south", "west", "east"], n, p=[0.4, 0.3, 0.28, 0.02]),
        rng.choice(["f", "m"], n),
    )
    is_special = rng.random(n) < 0.1
    margin = (
        1.5 * is_special
        - 1.2
        - 1.2 * (np.log(income) - 8)
        + 1.0 * np.log(owed / limit)
        + 0.8 * (town == "south")
    )
    bad = rng.random(n) < 1 / (1 + np.exp(-margin))
    income = np.where(is_special, -9, income)
    noise = {f"noise_{k}": rng.normal(size=n) for k in range(3)}
    return pd.DataFrame(
        {
            "income": income,
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
    return applications(made(), SPEC)


@pytest.fixture(scope="module")
def fitted(data: Applications) -> TableModel:
    return fit_table(data, seed=0, threads=1)


def test_every_rung_is_one_lightgbm_model_exactly_explained(
    fitted: TableModel, data: Applications
) -> None:
    for name in fitted.candidates.by_name:
        model, rows = (
            fitted.model(name),
            fitted.encoding_of(name).rows(data.frame.head(50)),
        )
        booster = lgb.Booster(model_str=model.text)
        contributions, margins = model.explain(rows)
        np.testing.assert_allclose(
            margins, booster.predict(rows, raw_score=True), rtol=0, atol=1e-12
        )
        np.testing.assert_allclose(
            contributions.sum(axis=1) + model.base, margins, rtol=0, atol=1e-9
        )
        np.testing.assert_allclose(
            contributions,
            booster.predict(rows, pred_contrib=True)[:, :-1],
            rtol=0,
            atol=1e-9,
            err_msg=name,
        )


def test_a_blend_is_the_weighted_sum_of_its_members(
    fitted: TableModel, data: Applications
) -> None:
    rows = fitted.encoding_of(BLEND).rows(data.frame)
    base = len(fitted.encoding.names)
    weights, margin = fitted.candidates.weights, np.zeros(len(rows))
    for name, weight in weights.items():
        margin += weight * fitted.model(name).margin(
            rows if name == RATIOS else rows[:, :base]
        )
    constant = fitted.model(BLEND).margin(rows) - margin
    assert np.ptp(constant) < 1e-9
    assert min(weights.values()) >= 0


def test_the_scorecards_trees_say_what_its_formula_says(
    fitted: TableModel, data: Applications
) -> None:
    rows, card = fitted.encoding.rows(data.frame), fitted.candidates.scorecard
    unseen = rows[:1].copy()
    unseen[:, -1] = np.nan
    for some in (rows, np.full_like(unseen, np.nan), unseen):
        np.testing.assert_allclose(
            fitted.model(SCORECARD).margin(some), card.margin(some), atol=1e-12
        )
    assert (card.coefficients >= 0).all()
    points = fitted.points()
    assert {"an ordinary number", "-9"} <= set(
        points.loc[points["feature"] == "income=special", "bin"]
    )
    assert {"north", "south", "another"} <= set(
        points.loc[points["feature"] == "town", "bin"]
    )
    score = 600 + 20 / np.log(2) * (-card.margin(rows[:1])[0] - np.log(50))
    total = sum(
        of["points"].iloc[int(bins.assign(rows[:1, bins.feature])[0])]
        for bins in card.bins
        for name, of in points.groupby("feature")
        if name == card.names[bins.feature]
    )
    assert total == pytest.approx(score, abs=len(card.bins))  # each is rounded


def test_directions_hold_over_the_whole_grid(
    fitted: TableModel, data: Applications
) -> None:
    frame = pd.concat([data.frame.head(40)] * 50, ignore_index=True)
    frame["income"] = np.repeat(np.linspace(1, 20_000, 50), 40)
    for name in fitted.candidates.by_name:
        pds = (
            fitted.model(name)
            .predict_pd(fitted.encoding_of(name).rows(frame))
            .reshape(50, 40)
        )
        assert (np.diff(pds, axis=0) <= 1e-12).all(), name


def test_what_is_forbidden_or_special_is_no_ordinary_number(fitted: TableModel) -> None:
    assert "sex" not in fitted.encoding.names
    assert "income=special" in fitted.encoding.names
    pairs = fitted.encoding_of(RATIOS).names[len(fitted.encoding.names) :]
    assert pairs
    assert not any("income" in name.split() for name in pairs)  # it keeps its direction


def test_the_bundle_is_the_same_on_one_thread_and_two_and_loads_without_code(
    data: Applications, fitted: TableModel, tmp_path: Path
) -> None:
    again = fit_table(data, seed=0, threads=2)
    hashes = [
        save_bundle(one.model(BLEND), tmp_path / str(n))
        for n, one in enumerate((fitted, again))
    ]
    assert hashes[0] == hashes[1]
    loaded = load_bundle(tmp_path / "0", hashes[0])
    rows = fitted.encoding_of(BLEND).rows(data.frame)
    assert loaded.encoding == fitted.encoding_of(BLEND)
    np.testing.assert_array_equal(
        loaded.predict_pd(rows), fitted.model(BLEND).predict_pd(rows)
    )


def test_figures_are_out_of_fold_and_an_honest_ladder_finds_nothing_in_noise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    frame = made(500)
    frame["bad"] = np.random.default_rng(1).integers(0, 2, 500)
    found = evaluate_table(applications(frame, SPEC), folds=3, seed=1)
    assert set(found["models"]) == {
        SCORECARD,
        LIGHTGBM,
        "extra_trees",
        "pairs",
        RATIOS,
        BLEND,
        "promoted",
    }
    for name, of in found["models"].items():
        assert 0.35 < of["auc"] < 0.62, name
    assert found["promoted"] == found["models"]["promoted"]
    assert sum(found["chosen"].values()) == 3


def test_later_rows_are_the_test_where_there_are_dates() -> None:
    frame = made(400)
    frame["on"] = pd.date_range("2023-01-01", periods=400).astype(str)
    frame["who"] = np.arange(400) % 350
    spec = SPEC.model_copy(
        update={"table": SPEC.table.model_copy(update={"date": "on", "group": "who"})}
    )
    fit, test = split(applications(frame, spec), seed=0)
    assert fit.dates is not None
    assert test.dates is not None
    assert fit.dates.max() < test.dates.min()
    assert not set(fit.groups) & set(test.groups)


def test_too_few_of_one_kind_is_an_error() -> None:
    frame = made(300)
    frame["bad"] = 0
    frame.loc[:12, "bad"] = 1
    with pytest.raises(SchemaError, match=r"occurs in only 1\d rows"):
        fit_table(applications(frame, SPEC), seed=0, threads=1)


def test_the_information_value_by_hand() -> None:
    bins = Bins(0, np.array([1.0]), np.array([800, 200, 0]), np.array([50, 50, 0]))
    # shares of goods .8, .2; of bads .5, .5; WoE ln(1.6) and ln(.4), nearly: small bins are drawn a little
    assert bins.iv == pytest.approx(0.3 * np.log(1.6) + 0.3 * np.log(2.5), rel=0.05)


def test_columns_that_say_nothing_leave_a_constant() -> None:
    rows, label = np.ones((200, 1)), np.repeat([0, 1], 100)
    card = fit_scorecard(rows, label, Columns(("same",), (), (0,)))
    assert card.margin(rows)[0] == pytest.approx(0.0, abs=1e-6)
    assert lgb.Booster(model_str=card.text()).predict(rows)[0] == pytest.approx(0.5)


# --- served


@pytest.fixture(scope="module")
def table_store(
    tmp_path_factory: pytest.TempPathFactory, data: Applications, fitted: TableModel
) -> Path:
    """A store whose champion scores the table; the ladder is the one above, not fitted anew."""
    store = tmp_path_factory.mktemp("table_store")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spine, "fit_table", lambda *_: fitted)
        patch.setattr(
            spine, "split", lambda *_: (data, data.take(np.arange(0, len(data), 3)))
        )
        trained = train_table(
            data, store, store / "report", at=NOW, fingerprint="f" * 64
        )
    Registry(store).promote(
        trained.version,
        by="tests",
        because="first",
        at=NOW,
        signer=SIGNER,
        force=True,
        second="others",
    )
    (store / "keys").mkdir(exist_ok=True)
    (store / "keys" / "release.pem").write_bytes(SIGNER.public)
    return store


@pytest.fixture
def scoring(engine: Engine, table_store: Path) -> TestClient:
    from dataclasses import replace

    from obligor.decisions.champion import ChampionLoader

    app = create_app()
    use_engine(app, replace(engine, champions=ChampionLoader(table_store)))
    return TestClient(app, raise_server_exceptions=False)


def payload(data: Applications, n: int) -> dict[str, object]:
    row = data.frame.iloc[n]
    return {
        name: None
        if pd.isna(row[name])
        else row[name]
        if isinstance(row[name], str)
        else float(row[name])
        for name in data.frame
    }


def test_a_served_table_model_scores_its_columns(
    scoring: TestClient, data: Applications, fitted: TableModel
) -> None:
    model = fitted.model()
    rows = fitted.encoding_of(fitted.candidates.chosen_name).rows(data.frame)
    for n in range(5):
        answer = scoring.post("/scores", json={"features": payload(data, n)}).json()
        assert answer["pd_12m"] == model.predict_pd(rows[n : n + 1])[0]
        explained = answer["explanation"]
        assert explained["base"] + sum(
            explained["contributions"].values()
        ) == pytest.approx(explained["margin"])
        for reason in answer["reasons"]:
            assert reason["contribution"] > 0
            assert reason["feature"] in reason["text"]
            assert "通常为" in reason["text_zh"]


def test_what_a_table_model_cannot_answer_is_said(
    scoring: TestClient, data: Applications
) -> None:
    good = payload(data, 0)
    for wrong, told in (
        ({**good, "income": "much"}, "features.income"),
        (
            {name: value for name, value in good.items() if name != "town"},
            "missing ['town']",
        ),
        ({**good, "sex": "f"}, "unknown ['sex']"),
    ):
        response = scoring.post("/scores", json={"features": wrong})
        assert response.status_code == 422
        assert told in response.json()["detail"]
    response = scoring.post("/decisions", json={"customer_id": "C0000002"})
    assert response.status_code == 503
    assert "scores applications" in response.json()["detail"]
    unseen = scoring.post(
        "/scores", json={"features": {**good, "town": "atlantis", "income": -9}}
    )
    assert unseen.status_code == 200


def test_a_table_model_is_compared_only_with_its_like(
    table_store: Path, data: Applications, fitted: TableModel, trained: Trained
) -> None:
    """A champion with other columns cannot score the newcomer's test rows: somebody has to say that it may go."""
    registry = Registry(table_store)
    assert not any("columns" in one for one in registry.objections("1"))
    rows = trained.split.test.features.assign(
        label=trained.split.test.label, customer=trained.split.test.customers
    )
    version = registry.log_run(trained.fit.model, {}, {}, {}, rows, [], NOW)
    assert any("has other columns" in one for one in registry.objections(version))


# --- the command line


def test_a_table_goes_from_a_file_to_a_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, spec, store = (
        tmp_path / "made.csv",
        tmp_path / "spec.toml",
        tmp_path / "store",
    )
    frame = made(500).assign(decision="accepted")
    frame.loc[:30, ["bad", "decision"]] = None, "declined"
    frame.to_csv(file, index=False)
    shown = run("spec", "infer", file, "--target", "bad", "--out", spec)
    assert shown.exit_code == 0
    assert "forbidden" in shown.output
    with spec.open("a") as text:
        text.write('\n[rejects]\ncolumn = "decision"\nvalues = ["declined"]\n')
    trained = run(
        "train",
        "--table",
        file,
        "--spec",
        spec,
        "--store",
        store,
        "--report",
        tmp_path / "report",
    )
    assert trained.exit_code == 0, trained.output
    assert "blend" in trained.stdout
    assert "version 1" in trained.stdout
    assert "31 refused applicants are left out" in trained.output
    assert (
        (tmp_path / "report" / "scorecard.csv")
        .read_text()
        .startswith("feature,bin,rows,default_rate,woe,iv,points")
    )
    figures = json.loads((tmp_path / "report" / "figures.json").read_text())
    assert (
        figures["rungs"]["blend"]["auc"]["low"]
        < figures["rungs"]["blend"]["auc"]["high"]
    )
    found = json.loads(
        run(
            "evaluate", "--table", file, "--spec", spec, "--folds", "2", "--json"
        ).stdout
    )
    assert {
        "auc",
        "gini",
        "ks",
        "brier",
        "brier_constant",
        "log_loss",
        "ece",
        "calibration_slope",
    } <= set(found["promoted"])
    assert found["seconds"] > 0
    with pytest.raises(SchemaError, match="nothing to read"):
        run("train")


@pytest.mark.parametrize("name", ["german_credit", "heloc", "uci_credit_card"])
def test_the_specs_that_ship_fit_the_tables_they_are_of(name: str) -> None:
    spec = read_spec(
        Path(__file__).parents[2] / "data" / "samples" / "specs" / f"{name}.toml"
    )
    data = applications(read_frame(shared(f"{name}.csv")), spec)
    assert 0.2 < data.label.mean() < 0.55
    assert data.frame.shape[1] >= 18
