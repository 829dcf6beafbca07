"""Fitted trees kept on disk, so that a run that was stopped continues where it was.

A fit is kept under the hash of everything it depends on: the rows with their labels,
weights and folds, the choices, the seed, the code. What is read back is therefore
exactly what would be fitted again. Files hold JSON and are read as data, never as code.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

import lightgbm as lgb
import numpy as np

from obligor.arrays import Floats
from obligor.training.candidates.training_rows import Folds, TrainingRows
from obligor.training.candidates.watch import Watch

SUFFIX = ".json"


class KeptTrees(TypedDict):
    """Fitted trees as JSON.

    Attributes
    ----------
    text : str
        LightGBM's model text.
    out_of_fold : str
        The margins of the rows, as base64 of little-endian doubles.
    """

    text: str
    out_of_fold: str


class KeptFit(TypedDict):
    """One step of a run as JSON.

    Attributes
    ----------
    trees : dict of str to KeptTrees
        Fitted trees by the name of the candidate.
    columns : list
        Columns computed from others that the trees read.
    """

    trees: dict[str, KeptTrees]
    columns: list[list[str | int]]


@dataclass(frozen=True)
class KeptFits:
    """The folder of the fits of one run.

    Attributes
    ----------
    folder : Path, optional
        Where fits are kept; without it nothing is.
    code : str
        Fingerprint of the code that fits.
    """

    folder: Path | None = None
    code: str = ""

    def count(self) -> int:
        """Return how many fits are kept."""
        if self.folder is None or not self.folder.is_dir():
            return 0
        return len(list(self.folder.glob(f"*{SUFFIX}")))

    def started(self, is_fresh: bool, watch: Watch) -> KeptFits:
        """Return the fits of a run that starts; it continues unless it is fresh.

        Parameters
        ----------
        is_fresh : bool
            Forget what an interrupted run has fitted.
        watch : Watch
            Is told that a run continues.
        """
        if is_fresh:
            self.clear()
        n_kept = self.count()
        if n_kept:
            watch.note(
                f"an interrupted run is continued: {n_kept} fits are kept "
                "(--fresh fits everything anew)"
            )
        return self

    def clear(self) -> None:
        """Forget every fit of the run."""
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)
            with suppress(OSError):  # other runs may keep fits beside these
                self.folder.parent.rmdir()

    def get(self, key: str, fit: Callable[[], KeptFit]) -> KeptFit:
        """Return what is kept under a key; fit and keep it if nothing is.

        Parameters
        ----------
        key : str
            From `fit_key`.
        fit : callable
            Fits the trees.
        """
        if self.folder is None:
            return fit()
        path = self.folder / f"{key}{SUFFIX}"
        kept = _read(path)
        if kept is None:
            kept = fit()
            _write(path, kept)
        return kept

    def fit_key(
        self,
        rows: TrainingRows,
        folds: Folds,
        choices: object,
    ) -> str:
        """Return the hash of everything a fit depends on.

        Parameters
        ----------
        rows : TrainingRows
            What is learned from.
        folds : list of (ndarray of int, ndarray of int)
            Indices learned from and held back.
        choices : object
            The parameters and the seed, as JSON takes them.
        """
        if self.folder is None:
            return ""
        digest = hashlib.sha256()
        versions = (self.code, lgb.__version__, np.__version__)
        digest.update(json.dumps([versions, choices], sort_keys=True).encode())
        digest.update(repr(rows.columns).encode())
        for values in (rows.rows, rows.label, rows.groups, rows.times, rows.folds):
            digest.update(_bytes_of(values))
        for levels in rows.levels:
            digest.update(f"{levels.column} {levels.n_levels}".encode())
            digest.update(_bytes_of(levels.codes))
        for learned, held in folds:
            for values in (learned, held, rows.weights_of(learned), rows.weight):
                digest.update(_bytes_of(values))
        return digest.hexdigest()


def _bytes_of(values: np.ndarray | None) -> bytes:
    if values is None:
        return b"none"
    return str(values.shape).encode() + np.ascontiguousarray(values).tobytes()


def kept_margins(margins: Floats) -> str:
    """Return margins as text that keeps every bit.

    Examples
    --------
    >>> read_margins(kept_margins(np.array([0.1, -2.0]))).tolist()
    [0.1, -2.0]
    """
    return base64.b64encode(margins.astype("<f8").tobytes()).decode("ascii")


def read_margins(text: str) -> Floats:
    """Return the margins that `kept_margins` wrote."""
    values = np.frombuffer(base64.b64decode(text), dtype="<f8")
    return values.astype(np.float64)


def _read(path: Path) -> KeptFit | None:
    """Return a kept fit; None if there is none, or if its file was damaged."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    kept: KeptFit = content["fit"]
    return kept if content["sha256"] == _digest(kept) else None


def _write(path: Path, kept: KeptFit) -> None:
    """Write a fit in one step: a run may be killed at any moment."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(f".{os.getpid()}.new")
    content = json.dumps({"fit": kept, "sha256": _digest(kept)})
    with unfinished.open("w", encoding="utf-8") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(unfinished, path)


def _digest(kept: KeptFit) -> str:
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()
