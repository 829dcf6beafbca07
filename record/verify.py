"""Verification of the whole record: hashes, places in the log, receipts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from obligor.record import merkle
from obligor.record.merkle_log import Tree
from obligor.record.receipts import Checkpoint, checkpoint_text, receipt_text
from obligor.signing import holds, public_key

CHUNK = 2000


@dataclass(frozen=True)
class Finding:
    """Something in the record that does not hold."""

    where: str
    what: str


def verify(
    tree: Tree,
    checkpoints: Iterable[Checkpoint],
    public: bytes,
    receipts: Sequence[str] = (),
    progress: Callable[[int], None] = lambda n: None,
) -> Iterator[Finding]:
    """Give everything that does not hold: signed roots, leaves, their places, receipts.

    Parameters
    ----------
    checkpoints : iterable of Checkpoint
        By size, from outside the database.
    public : bytes
        The public key, PEM.
    receipts : sequence of str
        Headers ``Obligor-Receipt`` that came with answers.

    Raises
    ------
    KeyFileError
        Where the key is no Ed25519 key.
    """
    key, signed = public_key(public, "public key"), dict[int, list[Checkpoint]]()
    for one in checkpoints:
        signed.setdefault(one.size, []).append(one)
        if not holds(key, one.signature, checkpoint_text(one.size, one.root, one.at)):
            yield Finding(f"checkpoint {one.size}", "the signature does not hold")
    leaves = {receipt.split(";")[1]: b"" for receipt in receipts if receipt.count(";")}
    yield from _check_places(tree, signed, leaves, progress)
    for row, kept_hash in tree.unplaced():
        leaf = merkle.leaf_hash(row.leaf())
        if row.entry_id in leaves:
            leaves[row.entry_id] = leaf
        if leaf != kept_hash:
            yield Finding(f"entry {row.entry_id}", "was changed")
    yield from _check_receipts(receipts, leaves, key)


def _check_places(
    tree: Tree,
    signed: dict[int, list[Checkpoint]],
    leaves: dict[str, bytes],
    progress: Callable[[int], None],
) -> Iterator[Finding]:
    """Work out every leaf and every signed root again; note the leaves that receipts speak of."""
    frontier, size = list[tuple[int, bytes]](), 0
    for place, row, kept_hash, node_hash in tree.placed(CHUNK):
        leaf = merkle.leaf_hash(row.leaf())
        if row.entry_id in leaves:
            leaves[row.entry_id] = leaf
        if place != size:
            yield Finding(f"place {size}", f"is missing: the next is {place}")
        if leaf != kept_hash or leaf != node_hash:
            yield Finding(f"entry {row.entry_id} at place {place}", "was changed")
        size = place + 1
        _add(frontier, leaf)
        for one in signed.pop(size, ()):
            if _folded(frontier) != one.root:
                yield Finding(
                    f"checkpoint {size} of {one.at}",
                    "the record up to there is not what was signed",
                )
        if size % CHUNK == 0:
            progress(size)
    for lost in sorted(signed):
        yield Finding(
            f"checkpoint {lost}", f"the record ends at {size}: entries were cut off"
        )


def _check_receipts(
    receipts: Sequence[str], leaves: dict[str, bytes], key: Ed25519PublicKey
) -> Iterator[Finding]:
    for receipt in receipts:
        version, _, rest = receipt.strip().partition(";")
        parts = rest.split(";")
        if version != "v1" or len(parts) != 4:
            yield Finding(
                "receipt", "cannot be read; expected v1;id;hash;key;signature"
            )
            continue
        entry_id, leaf, _, signature = parts
        if not holds(
            key, bytes.fromhex(signature), receipt_text(entry_id, bytes.fromhex(leaf))
        ):
            yield Finding(f"receipt of {entry_id}", "the signature does not hold")
        elif not leaves.get(entry_id):
            yield Finding(
                f"receipt of {entry_id}", "the record has no such entry any more"
            )
        elif leaves[entry_id].hex() != leaf:
            yield Finding(
                f"receipt of {entry_id}", "the entry is not what was answered"
            )


def _add(frontier: list[tuple[int, bytes]], leaf: bytes) -> None:
    """Add a leaf to the roots of the whole subtrees so far, each with its height."""
    height, found = 0, leaf
    while frontier and frontier[-1][0] == height:
        found, height = merkle.node_hash(frontier.pop()[1], found), height + 1
    frontier.append((height, found))


def _folded(frontier: list[tuple[int, bytes]]) -> bytes:
    found = frontier[-1][1]
    for _, left in reversed(frontier[:-1]):
        found = merkle.node_hash(left, found)
    return found
