"""Runs and versions of one named model in MLflow's own form, in one folder.

This is the only module that imports mlflow. What it writes is read by people with
MLflow's own tools, so a version is a real MLflow model: an ``MLmodel`` beside the
bundle, with a signature and an example, loaded by `obligor.model.mlflow_loader`.
"""

from __future__ import annotations

import json
import sqlite3
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version as version_of
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit
from urllib.request import url2pathname

import mlflow
import pandas as pd
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.models import Model, ModelSignature
from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema
from mlflow.types.schema import AnyType

from obligor.errors import ModelError
from obligor.model.mlflow_loader import CONTRIBUTIONS, LOADER, OUTPUT
from obligor.training.lifecycle.run_facts import CandidateFacts, LoggedData, RunFacts

DATABASE = "mlflow.db"
ARTIFACTS = "artifacts"
BUNDLE = "bundle"  # artifact of a run
MODEL = "model"  # artifact of a run with MLflow's own form of it
PARENT_RUN = "mlflow.parentRunId"
DATA_CONTEXT = "mlflow.data.context"
LONGEST_PARAMETER = 6000  # MLflow refuses a longer text
# Columns of MLflow's tables that hold the address of the artifacts.
ADDRESSES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
    ("logged_models", "artifact_location"),
)


@dataclass(frozen=True)
class StoredVersion:
    """One version of a model as MLflow keeps it.

    Attributes
    ----------
    version : str
        A whole number.
    run_id : str
        The run that made it.
    tags : mapping of str
        What was written on it.
    aliases : tuple of str
        Such as ``champion``.
    """

    version: str
    run_id: str
    tags: Mapping[str, str]
    aliases: tuple[str, ...]


@dataclass(frozen=True)
class RunContent:
    """What is stored of one run.

    Attributes
    ----------
    facts : RunFacts
        Name, kind, data, candidates.
    parameters : mapping
        Choices, by name.
    metrics : mapping of float
        Figures, by name; finite.
    folder : Path
        Its files become artifacts; its sub-folder `BUNDLE` is the model.
    report : sequence of Path
        Files for the artifact folder ``report``.
    columns : tuple of str
        What the model reads, by name.
    example : DataFrame, optional
        A few raw rows with these columns.
    """

    facts: RunFacts
    parameters: Mapping[str, object]
    metrics: Mapping[str, float]
    folder: Path
    report: Sequence[Path]
    columns: tuple[str, ...]
    example: pd.DataFrame | None


class MlflowStore:
    """The MLflow store in one folder: a SQLite file and the artifacts beside it.

    Parameters
    ----------
    store : Path
        The folder, which exists. If it was moved since it was last opened, the
        addresses in the file are corrected.
    name : str
        Of the model and of the experiment.

    Raises
    ------
    ModelError
        If the store cannot be opened.
    """

    def __init__(self, store: Path, name: str) -> None:
        self.store = store
        self.name = name
        correct_addresses(store)
        with _told_plainly(store):
            self.client = mlflow.MlflowClient(tracking_uri(store))
            self.experiment_id = self._open_experiment()

    def _open_experiment(self) -> str:
        experiment = self.client.get_experiment_by_name(self.name)
        if experiment:
            return str(experiment.experiment_id)
        location = (self.store / ARTIFACTS).as_uri()
        return str(self.client.create_experiment(self.name, artifact_location=location))

    def log(self, content: RunContent, at: datetime) -> str:
        """Store a run, its nested runs and its artifacts.

        Parameters
        ----------
        content : RunContent
            What is stored.
        at : datetime
            The time it is stored under.

        Returns
        -------
        str
            The id of the run. A run that could not be stored whole is marked as failed.
        """
        tags = {"kind": content.facts.kind, "data": content.facts.data}
        created = self.client.create_run(
            self.experiment_id,
            start_time=_milliseconds(at),
            tags={**tags, **content.facts.tags},
            run_name=content.facts.run_name(at),
        )
        run_id = str(created.info.run_id)
        try:
            self._log_figures(run_id, content.parameters, content.metrics, at)
            self._log_data(run_id, content.facts.datasets)
            self._log_artifacts(run_id, content)
            for nested in (*content.facts.candidates, *content.facts.steps):
                self._log_nested(run_id, nested, at)
        except BaseException:
            self.client.set_terminated(run_id, "FAILED")
            raise
        self.client.set_terminated(run_id)
        return run_id

    def _log_figures(
        self,
        run_id: str,
        parameters: Mapping[str, object],
        metrics: Mapping[str, float],
        at: datetime,
    ) -> None:
        self.client.log_batch(
            run_id,
            metrics=[
                Metric(name, value, _milliseconds(at), 0)
                for name, value in metrics.items()
            ],
            params=[
                Param(name, _shortened(str(value)))
                for name, value in parameters.items()
            ],
        )

    def _log_data(self, run_id: str, datasets: Sequence[LoggedData]) -> None:
        if datasets:
            inputs = [_dataset_input(data) for data in datasets]
            self.client.log_inputs(run_id, inputs)

    def _log_artifacts(self, run_id: str, content: RunContent) -> None:
        self.client.log_artifacts(run_id, str(content.folder))
        for path in content.report:
            self.client.log_artifact(run_id, str(path), "report")
        for name, text in content.facts.texts.items():
            self.client.log_text(run_id, text, name)
        with TemporaryDirectory() as folder:
            model_folder = Path(folder) / MODEL
            _save_mlflow_model(content, model_folder, run_id)
            self.client.log_artifacts(run_id, str(model_folder), MODEL)

    def _log_nested(
        self,
        parent_id: str,
        facts: CandidateFacts,
        at: datetime,
    ) -> None:
        nested = self.client.create_run(
            self.experiment_id,
            start_time=_milliseconds(at),
            tags={PARENT_RUN: parent_id},
            run_name=facts.name,
        )
        run_id = str(nested.info.run_id)
        self._log_figures(run_id, facts.parameters, facts.metrics, at)
        self.client.set_terminated(run_id)

    def register(self, run_id: str, tags: Mapping[str, str]) -> str:
        """Make a run's model the newest version and return its number."""
        with suppress(MlflowException):  # an earlier run has created it
            self.client.create_registered_model(self.name)
        run = self.client.get_run(run_id)
        version = self.client.create_model_version(
            self.name,
            f"{run.info.artifact_uri}/{MODEL}",
            run_id=run_id,
            tags=dict(tags),
        )
        return str(version.version)

    def versions(self) -> list[StoredVersion]:
        """Return every version, the newest first."""
        stored = self.client.search_model_versions(f"name='{self.name}'")
        numbers = sorted((int(entry.version) for entry in stored), reverse=True)
        # The search leaves out the aliases.
        return [self.version(str(number)) for number in numbers]

    def version(self, version: str) -> StoredVersion:
        """Return one version.

        Raises
        ------
        ModelError
            If it does not exist.
        """
        try:
            entry = self.client.get_model_version(self.name, version)
        except MlflowException:
            names = [stored.version for stored in self.versions()]
            raise ModelError(
                f"version {version} does not exist",
                where=self.name,
                expected=f"one of {names}",
            ) from None
        return _stored_version(entry)

    def aliased(self, alias: str) -> str | None:
        """Return the version with an alias, or None if there is none."""
        try:
            version = self.client.get_model_version_by_alias(self.name, alias)
        except MlflowException:
            return None
        return str(version.version)

    def set_alias(self, alias: str, version: str) -> None:
        """Give an alias to a version; it leaves the version that had it."""
        self.client.set_registered_model_alias(self.name, alias, version)

    def delete_alias(self, alias: str) -> None:
        """Take an alias from the version that has it."""
        self.client.delete_registered_model_alias(self.name, alias)

    def tag(self, version: str, tags: Mapping[str, str]) -> None:
        """Write tags on a version."""
        for name, value in tags.items():
            self.client.set_model_version_tag(self.name, version, name, value)

    def metrics(self, run_id: str) -> dict[str, float]:
        """Return the figures of a run."""
        return dict(self.client.get_run(run_id).data.metrics)

    def artifact(self, run_id: str, name: str) -> Path:
        """Return the path of an artifact of a run.

        Raises
        ------
        ModelError
            If it does not exist.
        """
        path = self._artifacts_of(run_id) / name
        if not path.exists():
            raise ModelError(
                f"the file {name} of run {run_id} is missing",
                where=str(self.store),
                expected=f"the folder {ARTIFACTS} beside {DATABASE}",
                do="copy it back, or train again",
            )
        return path

    def has_artifact(self, run_id: str, name: str) -> bool:
        """Return whether a run has an artifact of that name."""
        return (self._artifacts_of(run_id) / name).exists()

    def _artifacts_of(self, run_id: str) -> Path:
        # Read where they are: MLflow would copy them to a temporary folder.
        address = urlsplit(self.client.get_run(run_id).info.artifact_uri)
        return Path(url2pathname(address.path))

    def model_names(self) -> list[str]:
        """Return the names of all models of the store, sorted."""
        return sorted(model.name for model in self.client.search_registered_models())


def tracking_uri(store: Path) -> str:
    """Return the address under which MLflow's tools open a store."""
    return f"sqlite:///{store.resolve()}/{DATABASE}"


def require_store(store: Path) -> None:
    """Require that a folder holds runs, and correct its addresses if it was moved.

    Raises
    ------
    ModelError
        If nothing was trained there, or its addresses cannot be corrected.
    """
    if not (store / DATABASE).exists():
        raise ModelError(
            "the store holds no runs",
            where=str(store),
            expected=f"the file {DATABASE}, which training writes",
            do="run `obligor train` first, or name another folder with --store",
        )
    correct_addresses(store.resolve())


@contextmanager
def _told_plainly(store: Path) -> Iterator[None]:
    try:
        yield
    except MlflowException as error:
        raise ModelError(
            f"MLflow cannot open the store: {error.message.splitlines()[0]}",
            where=str(store / DATABASE),
            do=f"if MLflow was updated, run `mlflow db upgrade {tracking_uri(store)}`",
        ) from None


def correct_addresses(store: Path) -> None:
    """Point a store that was moved or copied to the artifacts beside it.

    MLflow keeps absolute addresses. All of them are corrected in one transaction when
    the folder is opened at another place than the last time.

    Raises
    ------
    ModelError
        If the artifacts are not beside the file, or the file cannot be written.
    """
    path = store / DATABASE
    if not path.exists():
        return
    location = (store / ARTIFACTS).as_uri()
    try:
        with closing(sqlite3.connect(path)) as database, database:
            for old_location in _other_locations(database, location):
                _require_artifacts(store, old_location)
                _replace_addresses(database, old_location, location)
    except sqlite3.Error as error:
        raise ModelError(
            f"the addresses of the artifacts cannot be read or corrected: {error}",
            where=str(path),
            expected="a file of MLflow, which may be written if it was moved",
            do="make the folder writable, or move it back to where it was",
        ) from None


def _other_locations(database: sqlite3.Connection, location: str) -> list[str]:
    tables = database.execute(
        "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'experiments'"
    )
    if not tables.fetchall():
        return []
    rows = database.execute(
        "SELECT DISTINCT artifact_location FROM experiments "
        "WHERE artifact_location LIKE ? AND artifact_location <> ?",
        (f"file://%/{ARTIFACTS}", location),
    )
    return [str(row[0]) for row in rows]


def _require_artifacts(store: Path, old_location: str) -> None:
    if (store / ARTIFACTS).is_dir():
        return
    raise ModelError(
        f"the store was moved from {old_location} without its artifacts",
        where=str(store),
        expected=f"the folder {ARTIFACTS} beside {DATABASE}",
        do="move the whole folder",
    )


def _replace_addresses(
    database: sqlite3.Connection,
    old_location: str,
    location: str,
) -> None:
    for table, column in ADDRESSES:
        names = database.execute(f"PRAGMA table_info({table})").fetchall()
        if column not in [row[1] for row in names]:
            continue
        length = len(old_location)
        database.execute(
            f"UPDATE {table} SET {column} = ? || substr({column}, ?) "
            f"WHERE substr({column}, 1, ?) = ?",
            (location, length + 1, length, old_location),
        )


def _stored_version(entry: ModelVersion) -> StoredVersion:
    return StoredVersion(
        version=str(entry.version),
        run_id=str(entry.run_id),
        tags=dict(entry.tags),
        aliases=tuple(entry.aliases),
    )


def _milliseconds(at: datetime) -> int:
    return int(at.timestamp() * 1000)


def _shortened(text: str) -> str:
    if len(text) <= LONGEST_PARAMETER:
        return text
    return text[: LONGEST_PARAMETER - 3] + "..."


def _dataset_input(data: LoggedData) -> DatasetInput:
    columns = [{"name": name, "type": kind} for name, kind in data.columns.items()]
    profile = {"num_rows": data.rows, "num_defaults": data.defaults}
    dataset = Dataset(
        name=data.name,
        digest=data.digest,
        source_type="code",
        source=json.dumps({"tags": {"sha256": data.source}}),
        schema=json.dumps({"mlflow_colspec": columns}),
        profile=json.dumps(profile),
    )
    return DatasetInput(dataset, [InputTag(DATA_CONTEXT, data.role)])


def _save_mlflow_model(content: RunContent, folder: Path, run_id: str) -> None:
    """Write the bundle as an MLflow model; nothing in it is code."""
    # A number may come as a whole number, a text or a truth value, as in a file: the
    # bundle says how it is read, so the signature names the columns and no more.
    inputs = [ColSpec(AnyType(), name) for name in content.columns]
    outputs = [ColSpec(DataType.double, name) for name in OUTPUT]
    signature = ModelSignature(
        inputs=Schema(inputs),
        outputs=Schema(outputs),
        params=ParamSchema([ParamSpec(CONTRIBUTIONS, DataType.boolean, False)]),
    )
    with warnings.catch_warnings():
        # MLflow warns of its own type hints, and that it does not check values.
        warnings.simplefilter("ignore", UserWarning)
        mlflow.pyfunc.save_model(
            path=str(folder),
            loader_module=LOADER,
            data_path=str(content.folder / BUNDLE),
            mlflow_model=Model(artifact_path=MODEL, run_id=run_id),
            signature=signature,
            input_example=_json_rows(content.example),
            pip_requirements=[f"obligor=={version_of('obligor')}"],
        )


def _json_rows(frame: pd.DataFrame | None) -> pd.DataFrame | None:
    """Return rows whose missing values are null in JSON, and dates texts."""
    if frame is None:
        return None
    plain = frame.astype(object)
    for name in frame.select_dtypes(include=["datetime", "datetimetz"]):
        plain[name] = frame[name].astype(str).astype(object)
    return plain.where(frame.notna(), None)
