"""Training runs and model versions, and the one bundle that serves.

How they are stored is `training.lifecycle.mlflow_store`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from math import nan
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd

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
from obligor.model.mlflow_loader import RawScorer
from obligor.model.pd_model import PdModel
from obligor.signing import Signer
from obligor.training.lifecycle import gates
from obligor.training.lifecycle.learnt_rows import (
    Digests,
    RowDigests,
    load_digests,
    save_digests,
)
from obligor.training.lifecycle.mlflow_store import (
    BUNDLE,
    MlflowStore,
    RunContent,
    StoredVersion,
)
from obligor.training.lifecycle.raw_rows import (
    KnownModel,
    RawRows,
    decoded_rows,
    load_raw_rows,
    rival_of,
    save_raw_rows,
)
from obligor.training.lifecycle.run_facts import NO_FACTS, RunFacts
from obligor.training.validation.report import VERDICTS
from obligor.training.validation.subject import Rival, feature_matrix

CHAMPION = "champion"
CHALLENGER = "challenger"
TEST_ROWS = "test_rows.parquet"
RAW_ROWS = "raw_test_rows.json.gz"
LEARNT_ROWS = "learnt_rows.parquet"
EXAMPLE_ROWS = 3
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
    facts : RunFacts
        What tells the run from others: data, kind, candidates.
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
    facts: RunFacts = NO_FACTS
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
        self.runs = MlflowStore(self.store, name)

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
        with TemporaryDirectory() as folder:
            sha256 = save_bundle(run.model, Path(folder) / BUNDLE)
            _save_rows(run, Path(folder))
            run_id = self.runs.log(_content(run, Path(folder)), at)
        version = self.runs.register(run_id, {"sha256": sha256})
        self.runs.set_alias(CHALLENGER, version)
        return version

    def versions(self) -> list[dict[str, str]]:
        """Return every version with its aliases and main figures, newest first."""
        return [self._row_of(version) for version in self.runs.versions()]

    def _row_of(self, version: StoredVersion) -> dict[str, str]:
        metrics = self.runs.metrics(version.run_id)
        row = {"version": version.version, "aliases": ", ".join(version.aliases)}
        for name, decimals in FIGURES_SHOWN.items():
            row[name] = f"{metrics.get(name, nan):.{decimals}f}"
        row["promoted_by"] = version.tags.get("promoted_by", "")
        return row

    def sha256(self, version: str) -> str:
        """Return the hash of a version's bundle."""
        return self.runs.version(version).tags["sha256"]

    def model(self, version: str) -> PdModel:
        """Load a version's bundle; its hash is checked first."""
        entry = self.runs.version(version)
        bundle = self.runs.artifact(entry.run_id, BUNDLE)
        return load_bundle(bundle, entry.tags["sha256"])

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
        entry = self.runs.version(version)
        objections = tuple(self.objections(version))
        if objections:
            _require_force(version, objections, force)
            _require_two_persons(version, approval.by, second)
        promotion = Promotion(
            version=entry.version,
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
        self.runs.set_alias(CHAMPION, promotion.version)
        if self.challenger() == promotion.version:
            self.runs.delete_alias(CHALLENGER)
        pointer = self.folder / SHADOW_POINTER
        if pointer.exists():
            in_shadow = json.loads(pointer.read_text(encoding="utf-8"))
            if in_shadow["sha256"] == promotion.sha256:
                pointer.unlink()

    def _record(self, promotion: Promotion, entry: StoredVersion) -> None:
        tags = {
            f"promoted_{name}": str(getattr(promotion, name))
            for name in ("by", "because", "at", "forced", "second")
        }
        self.runs.tag(entry.version, tags)

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
        entry = self.runs.version(version)
        try:
            path = self.runs.artifact(entry.run_id, f"report/{VERDICTS}")
            verdicts: Mapping[str, object] = json.loads(path.read_text("utf-8"))
        except (ModelError, OSError):
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

        Those of a version that was stored without them are what its encoded rows stand
        for.
        """
        stored = self.test_rows(version)
        path = self._optional_artifact(version, RAW_ROWS)
        if path is None:
            frame = decoded_rows(self.model(version), feature_matrix(stored))
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
        run_id = self.runs.version(version).run_id
        if not self.runs.has_artifact(run_id, name):
            return None
        return self.runs.artifact(run_id, name)

    def test_rows(self, version: str) -> pd.DataFrame:
        """Return the rows that a version was tested on, as they were stored."""
        run_id = self.runs.version(version).run_id
        return pd.read_parquet(self.runs.artifact(run_id, TEST_ROWS))

    def champion(self) -> str | None:
        """Return the champion's version, or None if there is no champion yet."""
        return self.runs.aliased(CHAMPION)

    def challenger(self) -> str | None:
        """Return the challenger's version, or None if there is no challenger."""
        return self.runs.aliased(CHALLENGER)

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
        entry = self.runs.version(version)
        if self.champion() == entry.version:
            raise ModelError(
                f"version {version} is the champion",
                where=self.name,
                expected="another version to score beside it",
            )
        promotion = Promotion(
            version=entry.version,
            sha256=entry.tags["sha256"],
            by=approval.by,
            because=approval.because,
            at=approval.at.isoformat(timespec="seconds"),
            forced=False,
            objections=(),
        )
        self._export(promotion, signer, SHADOW_POINTER)
        self.runs.set_alias(CHALLENGER, promotion.version)
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


def _content(run: TrainingRun, folder: Path) -> RunContent:
    """Return a run as it is stored, its bundle and its rows in a folder."""
    columns = RawScorer(run.model).columns
    frame = run.raw_rows
    if frame is None and run.model.encoding is None:
        frame = run.test_rows
    example = None
    if frame is not None and set(columns) <= set(frame):
        example = frame[list(columns)].head(EXAMPLE_ROWS)
    return RunContent(
        facts=run.facts,
        parameters={**run.parameters, **run.fingerprints},
        metrics=run.metrics,
        folder=folder,
        report=run.report,
        columns=columns,
        example=example,
    )


def _save_rows(run: TrainingRun, folder: Path) -> None:
    """Write the test rows, encoded and raw, and the digests of the learnt ones."""
    run.test_rows.to_parquet(folder / TEST_ROWS)
    if run.raw_rows is not None:
        save_raw_rows(run.raw_rows, run.identity, folder / RAW_ROWS)
    if run.learnt_rows is not None:
        save_digests(run.learnt_rows, folder / LEARNT_ROWS)


def names_in(store: Path) -> list[str]:
    """Return the names of all models that a store has versions of, sorted."""
    return Registry(store).runs.model_names()


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
