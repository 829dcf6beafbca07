"""Signatures (Ed25519, RFC 8032): a receipt of each answer, checkpoints of the tree.

Checkpoints are kept outside the database, so that the database alone cannot be
rewritten unnoticed.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from obligor.errors import RecordError
from obligor.signing import Signer

PUBLIC = "public.pem"


@dataclass(frozen=True)
class Checkpoint:
    """A signed statement of the tree's size and root at a time.

    Attributes
    ----------
    size : int
        How many entries the tree had.
    root : bytes
        Its root (RFC 6962, 2.1).
    at : str
        The time, in ISO 8601.
    key_id : str
        The name of the signing key.
    signature : bytes
        The signature over `text`.
    """

    size: int
    root: bytes
    at: str
    key_id: str
    signature: bytes

    def text(self) -> bytes:
        """Return the text that is signed."""
        return checkpoint_text(self.size, self.root, self.at)

    def as_json(self) -> str:
        """Return the checkpoint as one line of JSON."""
        return json.dumps(
            {
                "size": self.size,
                "root": self.root.hex(),
                "at": self.at,
                "key_id": self.key_id,
                "signature": self.signature.hex(),
            }
        )

    @classmethod
    def of(
        cls,
        line: str,
        where: str,
    ) -> Checkpoint:
        """Return the checkpoint in a line of JSON.

        Raises
        ------
        RecordError
            If the line does not contain one; the error names `where` it is.
        """
        try:
            values = json.loads(line)
            return cls(
                size=int(values["size"]),
                root=bytes.fromhex(values["root"]),
                at=str(values["at"]),
                key_id=str(values["key_id"]),
                signature=bytes.fromhex(values["signature"]),
            )
        except (ValueError, KeyError, TypeError):
            raise RecordError(
                "the file does not contain a checkpoint",
                where=where,
                expected="size, root, at, key_id, signature",
            ) from None


def checkpoint_text(
    size: int,
    root: bytes,
    at: str,
) -> bytes:
    """Return the text that a checkpoint's signature is over.

    Parameters
    ----------
    size : int
        How many entries the tree has.
    root : bytes
        Its root, 32 bytes.
    at : str
        The time, in ISO 8601.

    Examples
    --------
    >>> checkpoint_text(2, b"12", "2025-01-02")
    b'obligor checkpoint v1\\n2\\n3132\\n2025-01-02\\n'
    """
    return f"obligor checkpoint v1\n{size}\n{root.hex()}\n{at}\n".encode()


def receipt_text(entry_id: str, leaf_hash: bytes) -> bytes:
    """Return the text that a receipt's signature is over.

    Examples
    --------
    >>> receipt_text("d-1", b"12")
    b'obligor receipt v1\\nd-1\\n3132\\n'
    """
    return f"obligor receipt v1\n{entry_id}\n{leaf_hash.hex()}\n".encode()


class ReceiptSigner(Signer):
    """The service's signing key, from ``OBLIGOR_SIGNING_KEY``."""

    def receipt(
        self,
        entry_id: str,
        leaf_hash: bytes,
    ) -> str:
        """Return the receipt of an entry: id, leaf hash, key and signature.

        Ed25519 is deterministic: the same entry always gets the same receipt.
        """
        signature = self.sign(receipt_text(entry_id, leaf_hash))
        return f"v1;{entry_id};{leaf_hash.hex()};{self.key_id};{signature.hex()}"

    def checkpoint(
        self,
        size: int,
        root: bytes,
        at: datetime,
    ) -> Checkpoint:
        """Return a signed checkpoint.

        Parameters
        ----------
        size : int
            How many entries the tree has.
        root : bytes
            Its root.
        at : datetime
            The time, with its zone.
        """
        iso_time = at.isoformat()
        signature = self.sign(checkpoint_text(size, root, iso_time))
        return Checkpoint(size, root, iso_time, self.key_id, signature)


@dataclass(frozen=True)
class CheckpointFolder:
    """Folders outside the database that keep the checkpoints, one file each.

    Attributes
    ----------
    folders : sequence of Path
        Each keeps every checkpoint; a mount of another machine is best.
    """

    folders: Sequence[Path]

    def put(
        self,
        checkpoint: Checkpoint,
        public: bytes,
    ) -> None:
        """Write a checkpoint to every folder, and the public key (PEM) beside it.

        Raises
        ------
        RecordError
            If a folder cannot be written.
        """
        for folder in self.folders:
            day_folder = folder / checkpoint.at[:10]
            try:
                day_folder.mkdir(parents=True, exist_ok=True)
                if not (folder / PUBLIC).exists():
                    _write_whole(folder / PUBLIC, public)
                path = day_folder / f"{checkpoint.size:012d}.json"
                _write_whole(path, checkpoint.as_json().encode())
            except OSError as error:
                raise RecordError(
                    f"a checkpoint cannot be written ({type(error).__name__})",
                    where=str(folder),
                    do="check that the folder is mounted and has space",
                ) from None

    def all(self) -> Iterator[Checkpoint]:
        """Yield every checkpoint of every folder, by size."""
        checkpoints = list[Checkpoint]()
        for folder in self.folders:
            for path in folder.glob("*/*.json"):
                checkpoints.append(Checkpoint.of(path.read_text(), str(path)))
        yield from sorted(checkpoints, key=_size_and_time)


def _size_and_time(checkpoint: Checkpoint) -> tuple[int, str]:
    return checkpoint.size, checkpoint.at


def _write_whole(path: Path, content: bytes) -> None:
    """Write a file whole or not at all: a reader never sees a part of it."""
    writer = f"{os.getpid()}.{threading.get_ident()}"
    draft = path.with_name(f".{path.name}.{writer}")
    # Synced before it gets its name: a power cut leaves no empty checkpoint.
    with draft.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
