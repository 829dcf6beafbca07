"""Training runs and model versions in MLflow, and the one bundle that serves.

This is the only module that imports mlflow.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import datetime
from math import nan
from pathlib import Path
from tempfile import TemporaryDirectory

import mlflow
import pandas as pd
from mlflow.entities import Metric, Param
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from obligor.arrays import Floats
from obligor.errors import ModelError
from obligor.model.bundle import (
    CHAMPION_POINTER,
    MODEL_NAME,
    PROMOTIONS,
    SHADOW_POINTER,
    SIGNATURE,
    bundle_text,
    load_bundle,
    save_bundle,
)
from obligor.model.pd_model import PdModel
from obligor.signing import Signer
from obligor.training.lifecycle import gates
from obligor.training.validation.report import VERDICTS

CHAMPION = "champion"
CHALLENGER = "challenger"
TEST_ROWS = "test_rows.parquet"
FIGURES_SHOWN = {"gini": 4, "brier": 5, "brier_constant": 5}  # name to decimals


@dataclass(frozen=True)
class TrainingRun:
    """What a finished run hands to the registry.

    Attributes
    ----------
    model : PdModel
        The fitted, calibrated model.
    test_rows : DataFrame
        Rows that the model has not seen, from `stored_rows`. A later candidate is
        compared with this model on its own test rows.
    report : sequence of Path
        The report, its verdicts and its pictures.
    parameters : mapping
        Choices of the run, by name.
    metrics : mapping of float
        Figures on the test rows, by name; finite.
    fingerprints : mapping of str
        SHA-256 of the data and of the code, by name.
    """

    model: PdModel
    test_rows: pd.DataFrame
    report: Sequence[Path] = ()
    parameters: Mapping[str, object] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    fingerprints: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Approval:
    """Who lets a version decide or score in the shadow, why, and when.

    Attributes
    ----------
    by : str
        Name of the person.
    because : str
        The reason, in the person's words.
    at : datetime
        When it was approved.
    """

    by: str
    because: str
    at: datetime


@dataclass(frozen=True)
class Promotion:
    """Who made which version the champion, when and why; the pointer to its bundle.

    The attributes are the keys of the pointer's JSON.

    Attributes
    ----------
    version : str
        The version in the registry.
    sha256 : str
        Of its bundle.
    by, because, at : str
        From the approval; `at` in ISO 8601.
    forced : bool
        Whether it was promoted against objections.
    objections : tuple of str
        These objections.
    second : str, optional
        The second person, if it was forced.
    """

    version: str
    sha256: str
    by: str
    because: str
    at: str
    forced: bool
    objections: tuple[str, ...]
    second: str | None = None


class Registry:
    """The MLflow store in one folder: SQLite file, artefacts, exported champion.

    Parameters
    ----------
    store : Path
        Created if it does not exist. Never serve it as an MLflow server without a
        login in front.
    """

    def __init__(self, store: Path) -> None:
        self.store = store.resolve()
        self.store.mkdir(parents=True, exist_ok=True)
        self.client = mlflow.MlflowClient(f"sqlite:///{self.store}/mlflow.db")
        self.experiment_id = self._open_experiment()

    def _open_experiment(self) -> str:
        experiment = self.client.get_experiment_by_name(MODEL_NAME)
        if experiment:
            return str(experiment.experiment_id)
        artifacts = (self.store / "artifacts").as_uri()
        return str(
            self.client.create_experiment(MODEL_NAME, artifact_location=artifacts)
        )

    def log_run(self, run: TrainingRun, at: datetime) -> str:
        """Store a run with all that belongs to it; register it as the challenger.

        Parameters
        ----------
        run : TrainingRun
            The model, its test rows, its report and its figures.
        at : datetime
            The time the run is stored under.

        Returns
        -------
        str
            The version in the registry.
        """
        run_id = self._create_run(run, int(at.timestamp() * 1000))
        with TemporaryDirectory() as folder:
            sha256 = save_bundle(run.model, Path(folder) / "bundle")
            run.test_rows.to_parquet(Path(folder) / TEST_ROWS)
            self.client.log_artifacts(run_id, folder)
        for path in run.report:
            self.client.log_artifact(run_id, str(path), "report")
        self.client.set_terminated(run_id)
        version = self._register(run_id, sha256)
        self.client.set_registered_model_alias(MODEL_NAME, CHALLENGER, version)
        return version

    def _create_run(self, run: TrainingRun, at_ms: int) -> str:
        created = self.client.create_run(self.experiment_id, start_time=at_ms)
        run_id = str(created.info.run_id)
        metrics = [
            Metric(
                name,
                value,
                at_ms,
                0,
            )
            for name, value in run.metrics.items()
        ]
        parameters = {**run.parameters, **run.fingerprints}
        self.client.log_batch(
            run_id,
            metrics=metrics,
            params=[Param(name, str(value)) for name, value in parameters.items()],
        )
        return run_id

    def _register(self, run_id: str, sha256: str) -> str:
        with suppress(MlflowException):  # an earlier run has created it
            self.client.create_registered_model(MODEL_NAME)
        version = self.client.create_model_version(
            MODEL_NAME,
            self.client.get_run(run_id).info.artifact_uri + "/bundle",
            run_id=run_id,
            tags={"sha256": sha256},
        )
        return str(version.version)

    def versions(self) -> list[dict[str, str]]:
        """Return every version with its aliases and main figures, newest first."""
        versions = self.client.search_model_versions(f"name='{MODEL_NAME}'")
        rows = [self._row_of(version) for version in versions]
        return sorted(rows, key=lambda row: -int(row["version"]))

    def _row_of(self, version: ModelVersion) -> dict[str, str]:
        metrics = self.client.get_run(str(version.run_id)).data.metrics
        aliases = self.client.get_model_version(MODEL_NAME, version.version).aliases
        row = {"version": str(version.version), "aliases": ", ".join(aliases)}
        for name, decimals in FIGURES_SHOWN.items():
            row[name] = f"{metrics.get(name, nan):.{decimals}f}"
        row["promoted_by"] = version.tags.get("promoted_by", "")
        return row

    def model(self, version: str) -> PdModel:
        """Load a version's bundle; its hash is checked first."""
        entry = self._version(version)
        return load_bundle(self._artifact(entry, "bundle"), entry.tags["sha256"])

    def promote(
        self,
        version: str,
        approval: Approval,
        signer: Signer,
        *,
        force: bool = False,
        second: str | None = None,
    ) -> Promotion:
        """Make a version the champion and export its signed bundle for the service.

        Parameters
        ----------
        version : str
            A version in the registry.
        approval : Approval
            Who promotes it, why, and when.
        signer : Signer
            Holds the release key that the service trusts.
        force : bool
            Promote against objections, which are recorded with both names.
        second : str, optional
            Another person, required with `force`.

        Returns
        -------
        Promotion
            What was recorded.

        Raises
        ------
        ModelError
            If the version does not exist; if it fails a gate and `force` is not
            given; if it is forced without a second person.
        """
        entry = self._version(version)
        objections = tuple(self.objections(version))
        if objections:
            _require_force(version, objections, force)
            _require_two_persons(version, approval.by, second)
        promotion = Promotion(
            version=str(entry.version),
            sha256=entry.tags["sha256"],
            by=approval.by,
            because=approval.because,
            at=approval.at.isoformat(timespec="seconds"),
            forced=bool(objections),
            objections=objections,
            second=second if objections else None,
        )
        self._record(promotion, entry)
        self._export(promotion, signer, CHAMPION_POINTER)
        with (self.store / PROMOTIONS).open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(promotion), ensure_ascii=False) + "\n")
        self.client.set_registered_model_alias(MODEL_NAME, CHAMPION, entry.version)
        return promotion

    def _record(self, promotion: Promotion, entry: ModelVersion) -> None:
        for name in ("by", "because", "at", "forced", "second"):
            self.client.set_model_version_tag(
                MODEL_NAME,
                entry.version,
                f"promoted_{name}",
                str(getattr(promotion, name)),
            )

    def objections(self, version: str) -> list[str]:
        """Return each reason against a promotion, with its figures.

        The version is compared with the champion on the version's own test rows.
        """
        candidate = gates.PromotionCandidate(
            model=self.model(version),
            rows=self.test_rows(version),
            verdicts=self._verdicts(version),
            champion=self._champion_beside(version),
        )
        return gates.objections(candidate)

    def _champion_beside(self, version: str) -> tuple[str, PdModel] | None:
        champion = self.champion()
        if champion is None or champion == version:
            return None
        return champion, self.model(champion)

    def _verdicts(self, version: str) -> Mapping[str, object]:
        entry = self._version(version)
        try:
            path = self._artifact(entry, f"report/{VERDICTS}")
            verdicts: Mapping[str, object] = json.loads(path.read_text("utf-8"))
        except (MlflowException, OSError):
            return {}
        return verdicts

    def peers(self, model: PdModel, rows: Floats) -> dict[str, Floats]:
        """Return the champion's PDs of some rows, by its name.

        Parameters
        ----------
        model : PdModel
            The model that the champion is compared with.
        rows : ndarray, shape (n, columns)
            Rows as `model` takes them.

        Returns
        -------
        dict of ndarray
            Empty if there is no champion, or if it reads other columns.
        """
        champion = self.champion()
        old = self.model(champion) if champion else None
        if old is None or old.features != model.features:
            return {}
        return {f"champion (version {champion})": old.predict_pd(rows)}

    def test_rows(self, version: str) -> pd.DataFrame:
        """Return the rows that a version was tested on, as they were stored."""
        return pd.read_parquet(self._artifact(self._version(version), TEST_ROWS))

    def champion(self) -> str | None:
        """Return the champion's version, or None if there is no champion yet."""
        try:
            return str(
                self.client.get_model_version_by_alias(MODEL_NAME, CHAMPION).version
            )
        except MlflowException:
            return None

    def latest(self) -> str:
        """Return the newest version.

        Raises
        ------
        ModelError
            If the store holds no version.
        """
        versions = self.versions()
        if not versions:
            raise ModelError(
                "no model has been trained",
                where=str(self.store),
                do="run `obligor train` first",
            )
        return versions[0]["version"]

    def _version(self, version: str) -> ModelVersion:
        try:
            return self.client.get_model_version(MODEL_NAME, version)
        except MlflowException:
            names = [row["version"] for row in self.versions()]
            raise ModelError(
                f"version {version} does not exist",
                where=MODEL_NAME,
                expected=f"one of {names}",
            ) from None

    def _artifact(self, version: ModelVersion, name: str) -> Path:
        return Path(self.client.download_artifacts(str(version.run_id), name))

    def shadow(self, version: str, approval: Approval, signer: Signer) -> Promotion:
        """Let a version score live decisions in the shadow.

        Its bundle is exported and signed like a champion's. Its scores are recorded
        and never shown.

        Parameters
        ----------
        version : str
            A version in the registry.
        approval : Approval
            Who allows it, why, and since when.
        signer : Signer
            Holds the release key that the service trusts.

        Returns
        -------
        Promotion
            What was recorded.

        Raises
        ------
        ModelError
            If the version does not exist.
        """
        promotion = Promotion(
            version=version,
            sha256=self._version(version).tags["sha256"],
            by=approval.by,
            because=approval.because,
            at=approval.at.isoformat(timespec="seconds"),
            forced=False,
            objections=(),
        )
        self._export(promotion, signer, SHADOW_POINTER)
        return promotion

    def _export(self, promotion: Promotion, signer: Signer, name: str) -> None:
        """Write the bundle beside the old one, then switch the pointer in one step."""
        target = self.store / "models" / promotion.sha256
        save_bundle(self.model(promotion.version), target)
        # Read it back: the pointer must never lead to a bundle that cannot be loaded.
        load_bundle(target, promotion.sha256)
        signature = signer.sign(bundle_text(promotion.sha256)).hex()
        (target / SIGNATURE).write_text(signature, encoding="ascii")
        # A rename is atomic, so the service reads the old pointer or the new one.
        pointer = self.store / f".{name}.new"
        content = json.dumps(asdict(promotion), indent=1, ensure_ascii=False)
        pointer.write_text(content, encoding="utf-8")
        os.replace(pointer, self.store / name)


def _require_force(version: str, objections: Sequence[str], force: bool) -> None:
    if not force:
        raise ModelError(
            "; ".join(objections),
            where=f"version {version}",
            expected="a model that passes every gate (training/lifecycle/gates.py)",
            do="train a better one, or promote it with --force and --second and say "
            "why",
        )


def _require_two_persons(version: str, by: str, second: str | None) -> None:
    if second is None or _same_person(second, by):
        raise ModelError(
            f"the second person is {second or 'missing'}, the first is {by}",
            where=f"version {version}",
            expected="two different persons to promote against objections",
            do="name another person with --second",
        )


def _same_person(name: str, other: str) -> bool:
    return " ".join(name.split()).casefold() == " ".join(other.split()).casefold()
