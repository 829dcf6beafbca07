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

import numpy as np

from obligor.decisions.trial import try_bundle
from obligor.errors import ModelError
from obligor.model.bundle import (
    CHAMPION_POINTER,
    load_bundle,
    require_signature,
    verify_bundle,
)
from obligor.model.calibration import CalibrationFields
from obligor.model.pd_model import PdModel
from obligor.signing import RELEASE_PUBLIC

log = logging.getLogger("obligor")


@dataclass(frozen=True)
class Champion:
    """The model that serves now."""

    model: PdModel
    version: str
    sha256: str

    @cached_property
    def calibration(self) -> CalibrationFields:
        """How the margin becomes the PD."""
        return self.model.calibration.as_dict()


class ChampionLoader:
    """The champion of a store; it follows the pointer, and keeps the last good model.

    A newcomer is loaded beside the old one, in a thread of its own and first of all on trial in a process of
    its own; requests go on with the old model until the new one is ready, and change over between two decisions.

    Parameters
    ----------
    store : Path
        Where `obligor promote` writes ``champion.json`` and the bundles.
    trusted : sequence of Path, optional
        Public keys, one of which must have signed a bundle before anything in it is read; default the store's own.
    pointer : str
        The file that names the model: the champion's, or the challenger's.
    """

    def __init__(
        self,
        store: Path,
        trusted: Sequence[Path] | None = None,
        pointer: str = CHAMPION_POINTER,
    ) -> None:
        self.store, self._pointer, self._role = (
            store,
            str(store / pointer),
            Path(pointer).stem,
        )
        self.trusted = [store / RELEASE_PUBLIC] if trusted is None else trusted
        self._champion: Champion | None = None
        self._lock = threading.Lock()
        self._seen = -1  # the pointer's time of change when it was last tried
        self._loading: threading.Thread | None = None
        self._earlier = dict[tuple[str, str], Champion]()

    def current(self) -> Champion:
        """Return the champion; a damaged newcomer is refused and told, the last good one stays.

        Raises
        ------
        ModelError
            Where there is none.
        """
        try:
            changed = os.stat(
                self._pointer
            ).st_mtime_ns  # a Path takes ten times as long
        except OSError:
            changed = -1
        if changed not in (-1, self._seen):
            if self._champion is None:
                with (
                    self._lock
                ):  # requests that arrive during the first load wait for it
                    self._follow(changed, is_first=True)
            elif self._loading is None or not self._loading.is_alive():
                self._loading = threading.Thread(
                    target=self._follow, args=(changed, False), daemon=True
                )
                self._loading.start()
        if self._champion is None:
            raise ModelError(
                "no champion model",
                where="registry",
                do="run `obligor train` and `obligor promote`",
            )
        return self._champion

    def since(self) -> datetime:
        """Return when the pointer was last changed by a person."""
        return datetime.fromisoformat(
            json.loads(Path(self._pointer).read_text(encoding="utf-8"))["at"]
        )

    def of_ledger(self) -> Champion:
        """Return the champion where it is one of ledgers: it knows a customer's features.

        Raises
        ------
        ModelError
            Where there is none, or it scores tables of applications.
        """
        champion = self.current()
        if champion.model.encoding:
            raise ModelError(
                "the champion scores applications, not customers of a ledger",
                where="registry",
                do="POST /v1/scores with its columns, or promote a model of the ledger",
            )
        return champion

    def of(self, sha256: str, version: str) -> Champion:
        """Return a model of the store by its hash, as it was when it was champion.

        Raises
        ------
        ModelError
            Where the store does not have it any more, or it was changed.
        """
        if (
            self._champion
            and self._champion.sha256 == sha256
            and self._champion.version == version
        ):
            return self._champion
        if (sha256, version) not in self._earlier:
            self._earlier[sha256, version] = Champion(
                load_bundle(self._verified(sha256), sha256), version, sha256
            )
        return self._earlier[sha256, version]

    def _verified(self, sha256: str) -> Path:
        if not (
            len(sha256) == 64 and sha256.isalnum()
        ):  # it names a folder: nothing else may get through
            raise ModelError(
                "holds no SHA-256",
                where=Path(self._pointer).name,
                do="run `obligor promote` again",
            )
        require_signature(self.store / "models" / sha256, sha256, self.trusted)
        verify_bundle(self.store / "models" / sha256, sha256)
        return self.store / "models" / sha256

    def settle(self) -> None:
        """Wait until a newcomer that is being loaded is there, or refused."""
        if self._loading:
            self._loading.join()

    def _follow(self, changed: int, is_first: bool) -> None:
        if changed == self._seen:
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
        self._seen = changed

    def _load(self, is_first: bool) -> Champion:
        try:
            pointer = json.loads(Path(self._pointer).read_text(encoding="utf-8"))
            version, sha256 = str(pointer["version"]), str(pointer["sha256"])
        except (OSError, ValueError, KeyError, TypeError):
            raise ModelError(
                "cannot be read",
                where=Path(self._pointer).name,
                do="run `obligor promote` again",
            ) from None
        folder = self._verified(sha256)
        if not is_first:
            try_bundle(folder, sha256)
        model = load_bundle(folder, sha256)
        model.explain(
            np.full((1, len(model.features)), np.nan)
        )  # fills its tables before it is asked
        return Champion(model, version, sha256)
