"""The store in the hands of MLflow: loaded by alias, served, moved, searched."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow.entities import Run
from mlflow.pyfunc import PyFuncModel
from mlflow.pyfunc.scoring_server import init
from starlette.testclient import TestClient

from obligor.errors import ModelError
from obligor.features.applications import applications
from obligor.model.mlflow_loader import OUTPUT, RawScorer, _load_pyfunc
from obligor.training.candidates import fit_settings
from obligor.training.candidates.fit_settings import LIGHTGBM
from obligor.training.lifecycle.registry import Approval, Registry
from obligor.training.lifecycle.run_settings import RunSettings
from obligor.training.runs import table_run
from obligor.training.runs.ledger_run import Trained
from obligor.training.runs.table_run import TrainedTable, train_table
from tests.conftest import NOW, SIGNER
from tests.unit.test_table import SPEC, make_frame

SECONDS_TO_START = 120
CHAMPION = "models:/obligor-pd@champion"


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return make_frame(400)


@pytest.fixture(scope="module")
def table_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("table")


@pytest.fixture(scope="module")
def table(frame: pd.DataFrame, table_store: Path) -> Iterator[TrainedTable]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(table_run, "ROUNDS", 20)
        only = {LIGHTGBM: fit_settings.MEMBERS[LIGHTGBM]}
        patch.setattr(fit_settings, "MEMBERS", only)
        trained = train_table(
            applications(frame, SPEC),
            RunSettings(table_store, table_store / "report", NOW),
            fingerprint="ab" * 32,
        )
    Registry(table_store).promote(
        trained.version,
        Approval("tests", "first model", NOW),
        SIGNER,
        force=True,
        second="another",
    )
    return trained


def loaded(store: Path) -> PyFuncModel:
    """Return the champion of a store as MLflow's users load it."""
    mlflow.set_tracking_uri(f"sqlite:///{store}/mlflow.db")
    return mlflow.pyfunc.load_model(CHAMPION)


def test_a_model_of_a_table_takes_its_raw_columns(
    table: TrainedTable, table_store: Path, frame: pd.DataFrame
) -> None:
    champion = loaded(table_store)
    scores = champion.predict(frame.drop(columns=["bad", "sex"]))
    assert tuple(scores) == OUTPUT
    model = Registry(table_store).model(table.version)
    expected = model.predict_pd(model.encoding.rows(frame))
    assert np.array_equal(scores["pd"], expected)
    names = champion.metadata.get_input_schema().input_names()
    assert names == [column.name for column in model.encoding.columns]
    example = champion.input_example
    assert list(example) == names
    raw = Registry(table_store).raw_rows(table.version).frame.head(len(example))
    of_example = champion.predict(example)["pd"]
    assert np.array_equal(of_example, model.predict_pd(model.encoding.rows(raw)))


def test_whole_numbers_texts_and_missing_values_are_read_alike(
    table: TrainedTable, table_store: Path, frame: pd.DataFrame
) -> None:
    champion = loaded(table_store)
    rows = frame.drop(columns=["bad", "sex"]).head(4)
    whole = rows.assign(income=[1000, 2000, 3000, -9])
    as_texts = whole.assign(income=["1000", "2000", "3000", "-9"])
    assert np.array_equal(
        champion.predict(whole)["pd"], champion.predict(as_texts)["pd"]
    )
    with_gaps = rows.assign(town=None, owed=np.nan)
    assert np.isfinite(champion.predict(with_gaps)["pd"]).all()


def test_contributions_are_a_parameter(
    table: TrainedTable, table_store: Path, frame: pd.DataFrame
) -> None:
    rows = frame.drop(columns=["bad", "sex"]).head(5)
    scores = loaded(table_store).predict(rows, params={"contributions": True})
    parts = scores.filter(like="contribution: ")
    total = scores["base"] + parts.sum(axis=1)
    np.testing.assert_allclose(total, scores["margin"], rtol=1e-12)


def test_a_model_of_a_ledger_takes_features_by_name(
    trained: Trained, store: Path
) -> None:
    features = trained.split.test.features.head(50)
    shuffled = features[features.columns[::-1]]
    scores = loaded(store).predict(shuffled)
    expected = trained.fit.model.pds(trained.fit.model.margin(features.to_numpy()))
    assert np.array_equal(scores["pd_12m"], expected.pd_12m)
    assert np.array_equal(scores["pd_3m"], expected.pd_3m)


def test_what_is_missing_is_named(trained: Trained, store: Path) -> None:
    bundle = Registry(store).runs.artifact(
        Registry(store).runs.version(trained.version).run_id, "bundle"
    )
    scorer = _load_pyfunc(str(bundle))
    assert isinstance(scorer, RawScorer)
    with pytest.raises(Exception, match="dpd_days"):
        scorer.predict(trained.split.test.features.drop(columns="dpd_days"))
    with pytest.raises(Exception, match="not a number"):
        scorer.predict(trained.split.test.features.assign(dpd_days="many"))


@pytest.mark.parametrize("kind", ["table", "ledger"])
def test_the_scoring_server_answers_with_the_same_pds(
    kind: str, request: pytest.FixtureRequest
) -> None:
    names = {"table": ("table", "table_store"), "ledger": ("trained", "store")}
    trained, store = (request.getfixturevalue(name) for name in names[kind])
    champion = loaded(store)
    client = TestClient(init(champion))
    run_id = Registry(store).runs.version(trained.version).run_id
    path = Registry(store).runs.artifact(run_id, "model/serving_input_example.json")
    answer = client.post("/invocations", json=json.loads(path.read_text()))
    served = [row["pd"] for row in answer.json()["predictions"]]
    assert served == champion.predict(champion.input_example)["pd"].tolist()


def test_mlflow_models_serve(trained: Trained, store: Path) -> None:
    """The command itself, in a process of its own, on the champion by its alias."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folders = [str(Path(sys.executable).parent), os.environ.get("PATH", "")]
    command = [sys.executable, "-m", "mlflow", "models", "serve"]
    command += ["-m", CHAMPION, "--env-manager", "local", "--port", str(port)]
    process = subprocess.Popen(
        command,
        env={
            **os.environ,
            "PATH": os.pathsep.join(folders),
            "MLFLOW_TRACKING_URI": f"sqlite:///{store}/mlflow.db",
        },
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        address = f"http://127.0.0.1:{port}"
        wait_for(f"{address}/ping", process)
        row = trained.split.test.features.head(1).astype(object)
        record = row.where(row.notna(), None).to_dict("records")
        answer = httpx.post(
            f"{address}/invocations", json={"dataframe_records": record}, timeout=60
        )
        served = answer.json()["predictions"][0]["pd"]
        model = trained.fit.model
        features = trained.split.test.features.head(1).to_numpy()
        assert served == model.predict_pd(features)[0]
    finally:
        os.killpg(process.pid, 15)
        process.wait(30)


def wait_for(url: str, process: subprocess.Popen) -> None:
    """Wait until a server answers."""
    for _ in range(SECONDS_TO_START * 10):
        assert process.poll() is None
        try:
            httpx.get(url)
        except httpx.TransportError:
            time.sleep(0.1)
        else:
            return
    pytest.fail("the server did not start")


# --- What the pages of MLflow show


def runs_of(store: Path) -> dict[str, Run]:
    mlflow.set_tracking_uri(f"sqlite:///{store}/mlflow.db")
    runs = mlflow.search_runs(experiment_names=["obligor-pd"], output_format="list")
    return {run.info.run_name: run for run in runs}


def test_a_run_on_a_table_tells_what_it_was(
    table: TrainedTable, table_store: Path
) -> None:
    runs = runs_of(table_store)
    chosen = table.fitted.candidates.chosen_name
    run = runs.pop(f"made 2025-01-02 table {chosen}")
    assert run.info.status == "FINISHED"
    parameters = run.data.params
    assert parameters["target"] == "bad"
    assert parameters["horizon_days"] == "365"
    assert parameters["split"] == "20%, drawn"
    assert parameters["columns"].startswith("income, owed")
    assert parameters["calibration"] == table.fitted.candidates.chosen.calibration.kind
    metrics = run.data.metrics
    assert metrics["gini_low"] < metrics["gini"] < metrics["gini_high"]
    # A nested run for each candidate.
    assert set(runs) == set(table.fitted.candidates.by_name)
    parents = {nested.data.tags["mlflow.parentRunId"] for nested in runs.values()}
    assert parents == {run.info.run_id}
    assert "auc_low" in runs["scorecard"].data.metrics


def test_a_run_lists_its_data_with_digests(
    table: TrainedTable, table_store: Path
) -> None:
    chosen = table.fitted.candidates.chosen_name
    run = runs_of(table_store)[f"made 2025-01-02 table {chosen}"]
    inputs = {used.tags[0].value: used.dataset for used in run.inputs.dataset_inputs}
    assert set(inputs) == {"training", "test"}
    assert len({data.digest for data in inputs.values()}) == 2
    rows = [json.loads(data.profile)["num_rows"] for data in inputs.values()]
    assert sum(rows) == 400
    assert "ab" * 32 in inputs["training"].source


def test_a_run_keeps_its_files(table: TrainedTable, table_store: Path) -> None:
    store = Registry(table_store).runs
    run_id = store.version(table.version).run_id
    spec = json.loads(store.artifact(run_id, "spec.json").read_text())
    assert spec["target"]["column"] == "bad"
    assert "points" in store.artifact(run_id, "scorecard.csv").read_text()
    assert store.artifact(run_id, "report/model_report.html").exists()
    assert store.artifact(run_id, "figures.json").exists()
    text = (store.artifact(run_id, "model") / "MLmodel").read_text()
    assert "loader_module: obligor.model.mlflow_loader" in text
    files = [path.name for path in store.artifact(run_id, "model").rglob("*")]
    assert not [name for name in files if name.endswith((".pkl", ".py"))]


def test_a_run_on_a_ledger_has_nested_runs_and_data(
    trained: Trained, store: Path
) -> None:
    runs = runs_of(store)
    chosen = trained.fit.candidates.chosen_name
    run = runs[f"receivables 2025-01-02 ledger {chosen}"]
    assert run.data.params["n_columns"] == str(len(trained.fit.model.features))
    assert len(run.inputs.dataset_inputs) == 2
    assert set(trained.fit.candidates.by_name) <= set(runs)


# --- A store that was moved


def test_a_moved_store_works(
    table: TrainedTable, table_store: Path, frame: pd.DataFrame, tmp_path: Path
) -> None:
    moved = tmp_path / "moved here"
    shutil.copytree(table_store, moved)
    registry = Registry(moved)
    run_id = registry.runs.version(table.version).run_id
    assert registry.runs.artifact(run_id, "bundle").is_relative_to(moved)
    registry.promote(
        table.version,
        Approval("tests", "after the move", NOW),
        SIGNER,
        force=True,
        second="another",
    )
    rows = frame.drop(columns=["bad", "sex"])
    first = loaded(table_store).predict(rows)
    pd.testing.assert_frame_equal(loaded(moved).predict(rows), first)


def test_a_store_moved_without_its_artifacts_says_so(
    table: TrainedTable, table_store: Path, tmp_path: Path
) -> None:
    shutil.copy(table_store / "mlflow.db", tmp_path)
    with pytest.raises(ModelError, match="without its artifacts"):
        Registry(tmp_path)


def test_a_missing_artifact_is_named(
    table: TrainedTable, table_store: Path, tmp_path: Path
) -> None:
    shutil.copytree(table_store, tmp_path / "store")
    registry = Registry(tmp_path / "store")
    run_id = registry.runs.version(table.version).run_id
    shutil.rmtree(registry.runs.artifact(run_id, "bundle"))
    with pytest.raises(ModelError, match="the file bundle of run"):
        registry.model(table.version)


def test_a_file_that_is_not_of_mlflow_is_named(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_text("nothing of MLflow's" * 100)
    with pytest.raises(ModelError, match=str(tmp_path)):
        Registry(tmp_path)
