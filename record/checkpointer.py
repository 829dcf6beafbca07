"""The notary: lets the tree grow behind the answers, and signs a checkpoint whenever it has."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from datetime import datetime
from typing import Any

from obligor.errors import RecordError, UnknownDecisionError
from obligor.record.merkle_log import Tree
from obligor.record.receipts import Checkpoint, CheckpointFolder, ReceiptSigner
from obligor.record.record import Record

log = logging.getLogger("obligor")
EVERY_S = 0.5


class Checkpointer:
    """Gives entries their place and keeps signed checkpoints outside the database.

    Parameters
    ----------
    now : callable
        The time, with its zone.
    """

    def __init__(
        self,
        record: Record,
        seal: ReceiptSigner,
        shelf: CheckpointFolder,
        now: Callable[[], datetime],
    ) -> None:
        self.record, self.tree, self.seal, self.shelf, self.now = (
            record,
            Tree(record),
            seal,
            shelf,
            now,
        )
        self.last: Checkpoint | None = None
        self.errands: list[
            Callable[[bool], None]
        ] = []  # what else is done at each step; True for the last time
        self._stop, self._lock = threading.Event(), threading.Lock()

    def step(self) -> Checkpoint | None:
        """Let the tree grow; sign and keep a checkpoint where it did. Return the last one, None while it is empty.

        Raises
        ------
        RecordError
            Where database or folder cannot be written to.
        """
        with self._lock:
            size = self.tree.advance()
            if size and (self.last is None or size > self.last.size):
                signed = self.seal.checkpoint(size, self.tree.root(size), self.now())
                self.shelf.put(signed, self.seal.public)
                self.last = signed
            return self.last

    def run(self) -> None:
        """Step until `stop`; what fails is told and tried again."""
        while not self._stop.wait(EVERY_S):
            try:
                self._do_errands(is_last=False)
                self.step()
            except RecordError as error:
                log.error("no checkpoint: %s", error)

    def start(self) -> None:
        """Run in a thread of its own."""
        threading.Thread(target=self.run, name="notary", daemon=True).start()

    def stop(self) -> None:
        """Do the errands a last time, sign for the last entries, and stop."""
        self._stop.set()
        try:
            self._do_errands(is_last=True)
            self.step()
        except RecordError as error:
            log.error("no last checkpoint: %s", error)

    def _do_errands(self, is_last: bool) -> None:
        for errand in self.errands:
            errand(is_last)

    def proof(self, entry_id: str) -> dict[str, Any]:
        """Return the proof that an entry is in the record, as `serving/verifier.py` checks it.

        Raises
        ------
        UnknownDecisionError
            Where there is no such entry.
        """
        row = self.record.row(entry_id)
        checkpoint = self.step()
        if checkpoint is None:
            raise UnknownDecisionError(f"no decision {entry_id!r}", where="decision_id")
        found = self.tree.proof(entry_id, checkpoint.size)
        return {
            "entry_id": entry_id,
            "leaf": row.leaf().decode(),
            "place": found.place,
            "path": [hash_.hex() for hash_ in found.path],
            "checkpoint": {
                "size": checkpoint.size,
                "root": checkpoint.root.hex(),
                "at": checkpoint.at,
                "key_id": checkpoint.key_id,
                "signature": checkpoint.signature.hex(),
            },
        }
