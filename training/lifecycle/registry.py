"""Runs and versions of models in MLflow, and the one bundle that serves: the only module that knows mlflow."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from math import nan
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from mlflow.entities import Metric, Param
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from numpy.typing import NDArray

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
from obligor.training.lifecycle.gates import PromotionCandidate, objections
from obligor.training.validation.report import VERDICTS

CHAMPION, CHALLENGER = "champion", "challenger"
TEST_ROWS = "test_rows.parquet"


@dataclass(frozen=True)
class Promotion:
    """Who made which version the champion, when and why."""

    version: str
    sha256: str
    by: str
    because: str
    at: str
    forced: bool
    objections: tuple[str, ...]
    second: str | None = None


class Registry:
    """The MLflow store in one folder: an SQLite file, the artefacts, the exported champion.

    Parameters
    ----------
    store : Path
        Created where absent. Never serve it as an MLflow server without a login in front.
    """

    def __init__(self, store: Path) -> None:
        self.store = store.resolve()
        self.store.mkdir(parents=True, exist_ok=True)
        self.client = mlflow.MlflowClient(f"sqlite:///{self.store}/mlflow.db")
        found = self.client.get_experiment_by_name(MODEL_NAME)
        self.experiment_id = (
            found.experiment_id
            if found
            else self.client.create_experiment(
                MODEL_NAME, artifact_location=(self.store / "artifacts").as_uri()
            )
        )

    def log_run(
        self,
        model: PdModel,
        parameters: Mapping[str, Any],
        metrics: Mapping[str, float],
        fingerprints: Mapping[str, str],
        test_rows: pd.DataFrame,
        report: Sequence[Path],
        at: datetime,
    ) -> str:
        """Keep a run with all that belongs to it and register it as the challenger.

        Parameters
        ----------
        report : sequence of Path
            The report and its plots.
        test_rows : DataFrame
            Features, label and customer of the out-of-time rows; a later candidate is compared on its own.

        Returns
        -------
        str
            The version in the registry.
        """
        at_ms = int(at.timestamp() * 1000)
        run_id = self.client.create_run(
            self.experiment_id, start_time=at_ms
        ).info.run_id
        self.client.log_batch(
            run_id,
            metrics=[Metric(name, value, at_ms, 0) for name, value in metrics.items()],
            params=[
                Param(name, str(value))
                for name, value in (*parameters.items(), *fingerprints.items())
            ],
        )
        with TemporaryDirectory() as folder:
            sha256 = save_bundle(model, Path(folder) / "bundle")
            test_rows.to_parquet(Path(folder) / TEST_ROWS)
            self.client.log_artifacts(run_id, folder)
        for path in report:
            self.client.log_artifact(run_id, str(path), "report")
        self.client.set_terminated(run_id)
        version = self._register(run_id, sha256)
        self.client.set_registered_model_alias(MODEL_NAME, CHALLENGER, version)
        return version

    def _register(self, run_id: str, sha256: str) -> str:
        with suppress(MlflowException):  # it is there from an earlier run
            self.client.create_registered_model(MODEL_NAME)
        source = self.client.get_run(run_id).info.artifact_uri + "/bundle"
        version = self.client.create_model_version(
            MODEL_NAME, source, run_id=run_id, tags={"sha256": sha256}
        )
        return str(version.version)

    def versions(self) -> list[dict[str, str]]:
        """Return every version with its aliases and main figures, newest first."""
        rows = []
        for version in self.client.search_model_versions(f"name='{MODEL_NAME}'"):
            metrics = self.client.get_run(str(version.run_id)).data.metrics
            rows.append(
                {
                    "version": str(version.version),
                    "aliases": ", ".join(
                        self.client.get_model_version(
                            MODEL_NAME, version.version
                        ).aliases
                    ),
                    "gini": f"{metrics.get('gini', nan):.4f}",
                    "brier": f"{metrics.get('brier', nan):.5f}",
                    "brier_constant": f"{metrics.get('brier_constant', nan):.5f}",
                    "promoted_by": version.tags.get("promoted_by", ""),
                }
            )
        return sorted(rows, key=lambda row: -int(row["version"]))

    def model(self, version: str) -> PdModel:
        """Load a version's bundle, its hash checked first."""
        found = self._version(version)
        return load_bundle(self._artifact(found, "bundle"), found.tags["sha256"])

    def promote(
        self,
        version: str,
        *,
        by: str,
        because: str,
        at: datetime,
        signer: Signer,
        force: bool = False,
        second: str | None = None,
    ) -> Promotion:
        """Make a version the champion and export its bundle for the service, signed.

        Parameters
        ----------
        force : bool
            Against objections, which are recorded with both names.
        second : str, optional
            Another person, without whom nothing is forced.

        Raises
        ------
        ModelError
            Where a gate is missed and `force` is not given, or not by two persons.
        """
        found = self._version(version)
        objections = tuple(self.objections(version))
        if objections and not force:
            raise ModelError(
                "; ".join(objections),
                where=f"version {version}",
                expected="a model that passes every gate (training/gates.py)",
                do="train a better one, or promote with --force and --second and say why",
            )
        if objections and (second is None or _same_person(second, by)):
            raise ModelError(
                f"{second or 'nobody'} is no second person beside {by}",
                where=f"version {version}",
                expected="two persons to promote against objections",
                do="name another one with --second",
            )
        promotion = Promotion(
            version=str(found.version),
            sha256=found.tags["sha256"],
            by=by,
            because=because,
            at=at.isoformat(timespec="seconds"),
            forced=bool(objections),
            objections=objections,
            second=second if objections else None,
        )
        for name in ("by", "because", "at", "forced", "second"):
            self.client.set_model_version_tag(
                MODEL_NAME,
                found.version,
                f"promoted_{name}",
                str(getattr(promotion, name)),
            )
        self._export(promotion, signer, CHAMPION_POINTER)
        with (self.store / PROMOTIONS).open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(promotion), ensure_ascii=False) + "\n")
        self.client.set_registered_model_alias(MODEL_NAME, CHAMPION, found.version)
        return promotion

    def objections(self, version: str) -> list[str]:
        """Say each reason against a promotion, with figures; compared on the version's own test rows."""
        found, champion = self._version(version), self.champion()
        try:
            verdicts = json.loads(
                self._artifact(found, f"report/{VERDICTS}").read_text(encoding="utf-8")
            )
        except (MlflowException, OSError):
            verdicts = {}
        return objections(
            PromotionCandidate(
                model=self.model(version),
                rows=self.test_rows(version),
                verdicts=verdicts,
                champion=(champion, self.model(champion))
                if champion and champion != version
                else None,
            )
        )

    def peers(
        self, model: PdModel, rows: NDArray[np.float64]
    ) -> dict[str, NDArray[np.float64]]:
        """Return the champion's PDs of some rows by its name; nothing where there is none with the same columns."""
        champion = self.champion()
        old = self.model(champion) if champion else None
        if old is None or old.features != model.features:
            return {}
        return {f"champion (version {champion})": old.predict_pd(rows)}

    def test_rows(self, version: str) -> pd.DataFrame:
        """Return the rows a version was tested on, as they were kept."""
        return pd.read_parquet(self._artifact(self._version(version), TEST_ROWS))

    def champion(self) -> str | None:
        """Return the champion's version, None where there is none yet."""
        try:
            return str(
                self.client.get_model_version_by_alias(MODEL_NAME, CHAMPION).version
            )
        except MlflowException:
            return None

    def latest(self) -> str:
        """Return the newest version."""
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
            known = [row["version"] for row in self.versions()]
            raise ModelError(
                f"no version {version}", where=MODEL_NAME, expected=f"one of {known}"
            ) from None

    def _artifact(self, version: ModelVersion, name: str) -> Path:
        return Path(self.client.download_artifacts(str(version.run_id), name))

    def shadow(
        self, version: str, *, by: str, because: str, at: datetime, signer: Signer
    ) -> Promotion:
        """Let a version score live decisions in the shadow: exported and signed like a champion, and never shown.

        Raises
        ------
        ModelError
            Where there is no such version.
        """
        found = self._version(version)
        named = Promotion(
            version,
            found.tags["sha256"],
            by,
            because,
            at.isoformat(timespec="seconds"),
            False,
            (),
        )
        self._export(named, signer, SHADOW_POINTER)
        return named

    def _export(self, promotion: Promotion, signer: Signer, name: str) -> None:
        """Write the bundle beside the old one, then switch the pointer in one step."""
        target = self.store / "models" / promotion.sha256
        save_bundle(self.model(promotion.version), target)
        load_bundle(target, promotion.sha256)
        (target / SIGNATURE).write_text(
            signer.sign(bundle_text(promotion.sha256)).hex(), encoding="ascii"
        )
        pointer = self.store / f".{name}.new"
        pointer.write_text(
            json.dumps(asdict(promotion), indent=1, ensure_ascii=False),
            encoding="utf-8",
        )
        os.replace(pointer, self.store / name)


def _same_person(one: str, other: str) -> bool:
    return " ".join(one.split()).casefold() == " ".join(other.split()).casefold()
