"""Training runs and model versions in MLflow, and the one bundle that serves.

This is the only module that imports mlflow.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from math import nan
from pathlib import Path
from tempfile import TemporaryDirectory

import mlflow
import numpy as np
import pandas as pd
from mlflow.entities import Metric, Param
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from obligor.errors import ModelError
from obligor.model.bundle import (
    CHAMPION_POINTER,
    MODEL_NAME,
    PROMOTIONS,
    SHADOW_POINTER,
    SIGNATURE,
    bundle_text,
    load_bundle,
    pointer_folder,
    save_bundle,
)
from obligor.model.pd_model import PdModel
from obligor.signing import Signer
from obligor.training.lifecycle import gates
from obligor.training.lifecycle.learnt_rows import (
    Digests,
    RowDigests,
    load_digests,
    save_digests,
)
from obligor.training.lifecycle.raw_rows import (
    KnownModel,
    RawRows,
    load_raw_rows,
    rival_of,
    save_raw_rows,
)
from obligor.training.validation.report import VERDICTS
from obligor.training.validation.subject import BESIDE_FEATURES, Rival

CHAMPION = "champion"
CHALLENGER = "challenger"
TEST_ROWS = "test_rows.parquet"
RAW_ROWS = "raw_test_rows.json.gz"
LEARNT_ROWS = "learnt_rows.parquet"
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
    raw_rows : DataFrame, optional
        The same rows of a table before any encoding, so that models of other columns
        and kinds can be compared on them.
    identity : ndarray of uint64, shape (n,), optional
        A digest of the identifiers and the date of each of these rows.
    learnt_rows : RowDigests, optional
        Of the rows of a table that the model has learnt from.
    """

    model: PdModel
    test_rows: pd.DataFrame
    report: Sequence[Path] = ()
    parameters: Mapping[str, object] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    fingerprints: Mapping[str, str] = field(default_factory=dict)
    raw_rows: pd.DataFrame | None = None
    identity: Digests | None = None
    learnt_rows: RowDigests | None = None


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
    name : str
        The model's name. Versions, aliases, champion and challenger belong to a name,
        so models of several populations live in one store.
    """

    def __init__(self, store: Path, name: str = MODEL_NAME) -> None:
        self.store = store.resolve()
        self.name = name
        self.folder = pointer_folder(self.store, name)
        self.store.mkdir(parents=True, exist_ok=True)
        self.client = mlflow.MlflowClient(f"sqlite:///{self.store}/mlflow.db")
        self.experiment_id = self._open_experiment()

    def _open_experiment(self) -> str:
        experiment = self.client.get_experiment_by_name(self.name)
        if experiment:
            return str(experiment.experiment_id)
        artifacts = (self.store / "artifacts").as_uri()
        return str(
            self.client.create_experiment(self.name, artifact_location=artifacts)
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
            _save_rows(run, Path(folder))
            self.client.log_artifacts(run_id, folder)
        for path in run.report:
            self.client.log_artifact(run_id, str(path), "report")
        self.client.set_terminated(run_id)
        version = self._register(run_id, sha256)
        self.client.set_registered_model_alias(self.name, CHALLENGER, version)
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
            self.client.create_registered_model(self.name)
        version = self.client.create_model_version(
            self.name,
            self.client.get_run(run_id).info.artifact_uri + "/bundle",
            run_id=run_id,
            tags={"sha256": sha256},
        )
        return str(version.version)

    def versions(self) -> list[dict[str, str]]:
        """Return every version with its aliases and main figures, newest first."""
        versions = self.client.search_model_versions(f"name='{self.name}'")
        rows = [self._row_of(version) for version in versions]
        return sorted(rows, key=lambda row: -int(row["version"]))

    def _row_of(self, version: ModelVersion) -> dict[str, str]:
        metrics = self.client.get_run(str(version.run_id)).data.metrics
        aliases = self.client.get_model_version(self.name, version.version).aliases
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
        with (self.folder / PROMOTIONS).open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(promotion), ensure_ascii=False) + "\n")
        self._move_champion(promotion)
        return promotion

    def _move_champion(self, promotion: Promotion) -> None:
        """Move the alias; a champion is not its own challenger."""
        self.client.set_registered_model_alias(self.name, CHAMPION, promotion.version)
        if self.challenger() == promotion.version:
            self.client.delete_registered_model_alias(self.name, CHALLENGER)
        pointer = self.folder / SHADOW_POINTER
        if pointer.exists():
            in_shadow = json.loads(pointer.read_text(encoding="utf-8"))
            if in_shadow["sha256"] == promotion.sha256:
                pointer.unlink()

    def _record(self, promotion: Promotion, entry: ModelVersion) -> None:
        for name in ("by", "because", "at", "forced", "second"):
            self.client.set_model_version_tag(
                self.name,
                entry.version,
                f"promoted_{name}",
                str(getattr(promotion, name)),
            )

    def objections(self, version: str) -> list[str]:
        """Return each reason against a promotion, with its figures.

        The version is compared with the champion on the version's own test rows, before
        any encoding, if the champion has not learnt from them.
        """
        champion = self.champion()
        rival = None
        if champion not in (None, version):
            model = self.model(version)
            rival = self.rival(self.raw_rows(version), model)
        candidate = gates.PromotionCandidate(
            model=self.model(version),
            rows=self.test_rows(version),
            verdicts=self._verdicts(version),
            rival=rival,
        )
        return gates.objections(candidate)

    def _verdicts(self, version: str) -> Mapping[str, object]:
        entry = self._version(version)
        try:
            path = self._artifact(entry, f"report/{VERDICTS}")
            verdicts: Mapping[str, object] = json.loads(path.read_text("utf-8"))
        except (MlflowException, OSError):
            return {}
        return verdicts

    def rival(self, raw: RawRows, model: PdModel) -> Rival | None:
        """Return the champion on the rows that another model is tested on.

        Parameters
        ----------
        raw : RawRows
            The test rows, before any encoding.
        model : PdModel
            The other model, whose horizon the outcomes have.

        Returns
        -------
        Rival
            None if there is no champion; without PDs if it cannot be compared.
        """
        champion = self.champion()
        if champion is None:
            return None
        known = self.known_model(champion)
        named = replace(known, name=f"champion (version {champion})")
        return rival_of(named, raw, model.horizon_days)

    def known_model(self, version: str) -> KnownModel:
        """Return a version with the digests of the rows that it has learnt from."""
        return KnownModel(
            version=version,
            name=f"model of version {version}",
            model=self.model(version),
            learnt_rows=self.learnt_rows(version),
        )

    def learnt_rows(self, version: str) -> RowDigests | None:
        """Return digests of the rows of a table that a version has learnt from.

        None for a model of a ledger, and for versions from before they were stored.
        """
        path = self._optional_artifact(version, LEARNT_ROWS)
        return None if path is None else load_digests(path)

    def raw_rows(self, version: str) -> RawRows:
        """Return the test rows of a version before any encoding.

        Of a version that was stored without them, the encoded columns are returned: a
        model that reads the same columns as numbers can still be compared.
        """
        stored = self.test_rows(version)
        path = self._optional_artifact(version, RAW_ROWS)
        if path is None:
            frame = stored.drop(columns=list(BESIDE_FEATURES), errors="ignore")
            identity = None
        else:
            frame, identity = load_raw_rows(path)
        n_rows = len(stored)
        periods = stored["period"] if "period" in stored else ["all"] * n_rows
        return RawRows(
            frame=frame,
            label=stored["label"].to_numpy(),
            groups=stored["customer"].to_numpy(),
            periods=np.array(periods, dtype=object),
            identity=identity,
        )

    def _optional_artifact(self, version: str, name: str) -> Path | None:
        entry = self._version(version)
        stored = self.client.list_artifacts(str(entry.run_id))
        if name not in [artifact.path for artifact in stored]:
            return None
        return self._artifact(entry, name)

    def test_rows(self, version: str) -> pd.DataFrame:
        """Return the rows that a version was tested on, as they were stored."""
        return pd.read_parquet(self._artifact(self._version(version), TEST_ROWS))

    def champion(self) -> str | None:
        """Return the champion's version, or None if there is no champion yet."""
        return self._aliased(CHAMPION)

    def challenger(self) -> str | None:
        """Return the challenger's version, or None if there is no challenger."""
        return self._aliased(CHALLENGER)

    def _aliased(self, alias: str) -> str | None:
        try:
            version = self.client.get_model_version_by_alias(self.name, alias)
        except MlflowException:
            return None
        return str(version.version)

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
            return self.client.get_model_version(self.name, version)
        except MlflowException:
            names = [row["version"] for row in self.versions()]
            raise ModelError(
                f"version {version} does not exist",
                where=self.name,
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
            If the version does not exist, or is the champion itself.
        """
        entry = self._version(version)
        if self.champion() == str(entry.version):
            raise ModelError(
                f"version {version} is the champion",
                where=self.name,
                expected="another version to score beside it",
            )
        promotion = Promotion(
            version=str(entry.version),
            sha256=entry.tags["sha256"],
            by=approval.by,
            because=approval.because,
            at=approval.at.isoformat(timespec="seconds"),
            forced=False,
            objections=(),
        )
        self._export(promotion, signer, SHADOW_POINTER)
        self.client.set_registered_model_alias(self.name, CHALLENGER, promotion.version)
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
        self.folder.mkdir(parents=True, exist_ok=True)
        pointer = self.folder / f".{name}.new"
        content = json.dumps(asdict(promotion), indent=1, ensure_ascii=False)
        pointer.write_text(content, encoding="utf-8")
        os.replace(pointer, self.folder / name)


def _save_rows(run: TrainingRun, folder: Path) -> None:
    """Write the test rows, encoded and raw, and the digests of the learnt ones."""
    run.test_rows.to_parquet(folder / TEST_ROWS)
    if run.raw_rows is not None:
        save_raw_rows(run.raw_rows, run.identity, folder / RAW_ROWS)
    if run.learnt_rows is not None:
        save_digests(run.learnt_rows, folder / LEARNT_ROWS)


def names_in(store: Path) -> list[str]:
    """Return the names of all models that a store has versions of, sorted."""
    registry = Registry(store)
    return sorted(model.name for model in registry.client.search_registered_models())


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
