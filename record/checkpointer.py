"""Signed checkpoints: the tree grows behind the answers, and its root is signed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime
from typing import Annotated

from pydantic import Field
from typing_extensions import TypedDict

from obligor.errors import UnknownDecisionError
from obligor.record.merkle_log import Tree
from obligor.record.receipts import Checkpoint, CheckpointFolder, ReceiptSigner
from obligor.record.record import Record


class CheckpointAnswer(TypedDict):
    """What was signed about the record: its size and root at a time."""

    size: int
    root: str
    at: Annotated[str, Field(json_schema_extra={"format": "date-time"})]
    key_id: str
    signature: str


class ProofAnswer(TypedDict):
    """The proof that an entry is in the record.

    `record/verifier.py` checks it: the hashes of the path lead from the leaf to the
    signed root (RFC 6962, 2.1.1); all hashes are hexadecimal digits.
    """

    entry_id: str
    leaf: Annotated[str, Field(description="Canonical JSON (RFC 8785)")]
    place: int
    path: list[str]
    checkpoint: CheckpointAnswer


class Checkpointer:
    """Gives entries their place in the tree, and keeps signed checkpoints of it.

    Parameters
    ----------
    record : Record
        The record.
    signer : ReceiptSigner
        Signs the checkpoints.
    folder : CheckpointFolder
        Where the checkpoints are kept, outside the database.
    now : callable
        Returns the time, with its zone.
    """

    def __init__(
        self,
        record: Record,
        signer: ReceiptSigner,
        folder: CheckpointFolder,
        now: Callable[[], datetime],
    ) -> None:
        self.tree = Tree(record.database)
        self.folder = folder
        self._reader = record.reader
        self._signer = signer
        self._now = now
        self._last: Checkpoint | None = None
        self._lock = threading.Lock()

    def step(self) -> Checkpoint | None:
        """Let the tree grow, and sign a checkpoint if it did.

        Returns
        -------
        Checkpoint or None
            The last checkpoint; None while the record is empty.

        Raises
        ------
        RecordError
            If the database or a folder cannot be written.
        """
        with self._lock:
            size = self.tree.advance()
            has_grown = self._last is None or size > self._last.size
            if size and has_grown:
                root = self.tree.root(size)
                checkpoint = self._signer.checkpoint(size, root, self._now())
                self.folder.put(checkpoint, self._signer.public)
                self._last = checkpoint
            return self._last

    def proof(self, entry_id: str) -> ProofAnswer:
        """Return the proof that an entry is in the record.

        Raises
        ------
        UnknownDecisionError
            If no entry has this id.
        """
        entry = self._reader.stored(entry_id)
        checkpoint = self.step()
        if checkpoint is None:
            raise UnknownDecisionError(f"no decision {entry_id!r}", where="decision_id")
        proof = self.tree.proof(entry_id, checkpoint.size)
        return {
            "entry_id": entry_id,
            "leaf": entry.leaf().decode(),
            "place": proof.leaf_index,
            "path": [hash_.hex() for hash_ in proof.path],
            "checkpoint": {
                "size": checkpoint.size,
                "root": checkpoint.root.hex(),
                "at": checkpoint.at,
                "key_id": checkpoint.key_id,
                "signature": checkpoint.signature.hex(),
            },
        }
