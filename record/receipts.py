"""Signatures (Ed25519): a receipt for each answer, and checkpoints of the tree that lie outside the database."""

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
    """What was signed about the tree: its size and root at a time."""

    size: int
    root: bytes
    at: str
    key_id: str
    signature: bytes

    def text(self) -> bytes:
        """Return what the signature is over."""
        return checkpoint_text(self.size, self.root, self.at)

    def as_json(self) -> str:
        """Return it as one line of JSON."""
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
    def of(cls, line: str, where: str) -> Checkpoint:
        """Return the checkpoint a line of JSON says.

        Raises
        ------
        RecordError
            Where it says none.
        """
        try:
            found = json.loads(line)
            return cls(
                int(found["size"]),
                bytes.fromhex(found["root"]),
                str(found["at"]),
                str(found["key_id"]),
                bytes.fromhex(found["signature"]),
            )
        except (ValueError, KeyError, TypeError):
            raise RecordError(
                "is no checkpoint",
                where=where,
                expected="size, root, at, key_id, signature",
            ) from None


def checkpoint_text(size: int, root: bytes, at: str) -> bytes:
    """Return what a checkpoint's signature is over."""
    return f"obligor checkpoint v1\n{size}\n{root.hex()}\n{at}\n".encode()


def receipt_text(entry_id: str, leaf_hash: bytes) -> bytes:
    """Return what a receipt's signature is over."""
    return f"obligor receipt v1\n{entry_id}\n{leaf_hash.hex()}\n".encode()


class ReceiptSigner(Signer):
    """The service's signing key, from ``OBLIGOR_SIGNING_KEY``."""

    def receipt(self, entry_id: str, leaf_hash: bytes) -> str:
        """Return the receipt of an entry: id, leaf hash, key and signature, the same each time it is asked for."""
        signature = self.sign(receipt_text(entry_id, leaf_hash))
        return f"v1;{entry_id};{leaf_hash.hex()};{self.key_id};{signature.hex()}"

    def checkpoint(self, size: int, root: bytes, at: datetime) -> Checkpoint:
        """Return a signed checkpoint."""
        when = at.isoformat()
        return Checkpoint(
            size, root, when, self.key_id, self.sign(checkpoint_text(size, root, when))
        )


@dataclass(frozen=True)
class CheckpointFolder:
    """Directories outside the database that keep the checkpoints, a file each; any mount will do."""

    folders: Sequence[Path]

    def put(self, checkpoint: Checkpoint, public: bytes) -> None:
        """Write a checkpoint to every folder, whole or not at all, and the public key beside it.

        Raises
        ------
        RecordError
            Where a folder cannot be written to.
        """
        for folder in self.folders:
            day = folder / checkpoint.at[:10]
            try:
                day.mkdir(parents=True, exist_ok=True)
                if not (folder / PUBLIC).exists():
                    _write(folder / PUBLIC, public)
                _write(
                    day / f"{checkpoint.size:012d}.json", checkpoint.as_json().encode()
                )
            except OSError as error:
                raise RecordError(
                    f"cannot keep a checkpoint ({type(error).__name__})",
                    where=str(folder),
                ) from None

    def all(self) -> Iterator[Checkpoint]:
        """Give every checkpoint of every folder, by size."""
        found = (
            Checkpoint.of(path.read_text(), str(path))
            for folder in self.folders
            for path in folder.glob("*/*.json")
        )
        yield from sorted(found, key=lambda one: (one.size, one.at))


def _write(path: Path, content: bytes) -> None:
    draft = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    with draft.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
