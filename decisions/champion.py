"""The model that serves now, and the change to another without a restart."""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np

from obligor.decisions.trial import try_bundle
from obligor.errors import ModelError
from obligor.model.bundle import (
    CHAMPION_POINTER,
    MODEL_NAME,
    load_bundle,
    pointer_folder,
    require_signature,
    verify_bundle,
)
from obligor.model.calibration import CalibrationFields
from obligor.model.pd_model import PdModel
from obligor.signing import RELEASE_PUBLIC

log = logging.getLogger("obligor")


@dataclass(frozen=True)
class Champion:
    """A model that serves, with its version, the hash of its bundle, and its name."""

    model: PdModel
    version: str
    sha256: str
    name: str = MODEL_NAME

    @cached_property
    def calibration(self) -> CalibrationFields:
        """How the margin becomes the PD."""
        return self.model.calibration.as_dict()


class _Named(NamedTuple):
    """The model that a pointer names."""

    version: str
    sha256: str


class ChampionLoader:
    """Loads the champion of a store and follows its pointer.

    A new model is loaded beside the old one, in a thread of its own, after a trial in a
    process of its own. Requests go on with the old model until the new one is ready,
    and change over between two decisions.

    If a new model is damaged, the last good one stays.

    Parameters
    ----------
    store : Path
        The folder in which `obligor promote` writes ``champion.json`` and the bundles.
    trusted : sequence of Path, optional
        Public keys, one of which must have signed a bundle before anything in it is
        read; by default the store's own.
    pointer : str, optional
        The file that names the model: the champion's, or the challenger's.
    name : str, optional
        The model's name; each name has pointers of its own.
    """

    def __init__(
        self,
        store: Path,
        trusted: Sequence[Path] | None = None,
        pointer: str = CHAMPION_POINTER,
        name: str = MODEL_NAME,
    ) -> None:
        self.store = store
        self.trusted = [store / RELEASE_PUBLIC] if trusted is None else trusted
        # A text: `os.stat` of a Path takes ten times as long.
        self._pointer = str(pointer_folder(store, name) / pointer)
        self.name = name
        role = Path(pointer).stem
        self._role = role if name == MODEL_NAME else f"{role} of {name}"
        self._champion: Champion | None = None
        self._lock = threading.Lock()
        self._tried_ns = -1  # the pointer's time of change when it was last tried
        self._loading: threading.Thread | None = None
        self._earlier = dict[_Named, Champion]()

    def current(self) -> Champion:
        """Return the champion; if a new one is damaged, the last good one stays.

        Raises
        ------
        ModelError
            If there is none.
        """
        try:
            changed_ns = os.stat(self._pointer).st_mtime_ns
        except OSError:
            changed_ns = -1
        if changed_ns not in (-1, self._tried_ns):
            if self._champion is None:
                # Requests that arrive during the first load wait for it.
                with self._lock:
                    self._follow(changed_ns, is_first=True)
            elif self._loading is None or not self._loading.is_alive():
                self._loading = threading.Thread(
                    target=self._follow, args=(changed_ns, False), daemon=True
                )
                self._loading.start()
        if self._champion is None:
            raise ModelError(
                "no champion model",
                where="registry",
                do="run `obligor train` and `obligor promote`",
            )
        return self._champion

    def has_pointer(self) -> bool:
        """Return whether a model is named at all."""
        return os.path.exists(self._pointer)

    def since(self) -> datetime:
        """Return when a person last changed the pointer."""
        pointer = json.loads(Path(self._pointer).read_text(encoding="utf-8"))
        return datetime.fromisoformat(pointer["at"])

    def for_customers(self) -> Champion:
        """Return the champion, if it scores customers of a ledger.

        Raises
        ------
        ModelError
            If there is none, or it scores tables of applications.
        """
        champion = self.current()
        own = champion.model.about.get("own_features")
        if own:
            raise ModelError(
                "the champion reads features of a file (SHA-256 "
                f"{own['sha256'][:12]}...), which is code and is not run here",
                where="registry",
                do="POST /v1/scores with all features by name, or promote a model of "
                "the catalogue's features",
            )
        if champion.model.encoding:
            raise ModelError(
                "the champion scores applications, not customers of a ledger",
                where="registry",
                do="POST /v1/scores with its columns, or promote a model of the ledger",
            )
        return champion

    def of(self, sha256: str, version: str) -> Champion:
        """Return a model of the store as it was when it was champion.

        Parameters
        ----------
        sha256 : str
            Hash of the bundle.
        version : str
            Version of the model in the registry.

        Returns
        -------
        Champion
            Loaded once, then kept in memory.

        Raises
        ------
        ModelError
            If the store no longer has it, or it was changed.
        """
        named = _Named(version, sha256)
        champion = self._champion
        if champion and (champion.version, champion.sha256) == named:
            return champion
        if named not in self._earlier:
            model = load_bundle(self._verified(sha256), sha256)
            self._earlier[named] = Champion(
                model,
                version,
                sha256,
                self.name,
            )
        return self._earlier[named]

    def settle(self) -> None:
        """Wait until a new model that is being loaded is ready, or refused."""
        if self._loading:
            self._loading.join()

    def _verified(self, sha256: str) -> Path:
        # The hash names a folder: nothing else may get into the path.
        if not (len(sha256) == 64 and sha256.isalnum()):
            raise ModelError(
                "the pointer does not contain a SHA-256",
                where=Path(self._pointer).name,
                do="run `obligor promote` again",
            )
        folder = self.store / "models" / sha256
        require_signature(folder, sha256, self.trusted)
        verify_bundle(folder, sha256)
        return folder

    def _follow(self, changed_ns: int, is_first: bool) -> None:
        if changed_ns == self._tried_ns:
            return
        try:
            self._champion = self._load(is_first)
            log.info(
                "%s is version %s, %s",
                self._role,
                self._champion.version,
                self._champion.sha256,
            )
        except ModelError as error:
            log.error(
                "a new %s is refused, the last good one stays: %s", self._role, error
            )
        self._tried_ns = changed_ns

    def _load(self, is_first: bool) -> Champion:
        version, sha256 = self._named()
        folder = self._verified(sha256)
        if not is_first:
            try_bundle(folder, sha256)
        model = load_bundle(folder, sha256)
        # The first row fills the model's tables, before any request waits for it.
        model.explain(np.full((1, len(model.features)), np.nan))
        return Champion(
            model,
            version,
            sha256,
            self.name,
        )

    def _named(self) -> _Named:
        path = Path(self._pointer)
        try:
            pointer = json.loads(path.read_text(encoding="utf-8"))
            return _Named(str(pointer["version"]), str(pointer["sha256"]))
        except (OSError, ValueError, KeyError, TypeError):
            raise ModelError(
                "the pointer cannot be read",
                where=path.name,
                do="run `obligor promote` again",
            ) from None
