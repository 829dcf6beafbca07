"""Verification of the whole record: leaves, their places in the tree, receipts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from obligor.record import merkle
from obligor.record.merkle_log import Tree
from obligor.record.receipts import Checkpoint, receipt_text
from obligor.signing import public_key, signature_is_valid

CHUNK = 2000


@dataclass(frozen=True)
class Finding:
    """Something in the record that does not verify.

    Attributes
    ----------
    where : str
        The entry, place, checkpoint or receipt.
    what : str
        What is wrong with it.
    """

    where: str
    what: str


def verify(
    tree: Tree,
    checkpoints: Iterable[Checkpoint],
    public: bytes,
    receipts: Sequence[str] = (),
    progress: Callable[[int], None] = lambda n_entries: None,
) -> Iterator[Finding]:
    """Yield everything that does not verify.

    Parameters
    ----------
    tree : Tree
        The tree of the record.
    checkpoints : iterable of Checkpoint
        By size, from outside the database.
    public : bytes
        The public key, PEM.
    receipts : sequence of str
        Headers ``Obligor-Receipt`` that came with answers.
    progress : callable
        Called with the number of entries verified so far.

    Raises
    ------
    KeyFileError
        If the key is not an Ed25519 key.
    """
    key = public_key(public, "public key")
    by_size = dict[int, list[Checkpoint]]()
    for checkpoint in checkpoints:
        by_size.setdefault(checkpoint.size, []).append(checkpoint)
        if not signature_is_valid(key, checkpoint.signature, checkpoint.text()):
            yield Finding(f"checkpoint {checkpoint.size}", "the signature is not valid")
    # Of every entry a receipt is about, the leaf's hash once it was read.
    receipted = {receipt.split(";")[1]: b"" for receipt in receipts if ";" in receipt}
    yield from _check_placed(tree, by_size, receipted, progress)
    yield from _check_unplaced(tree, receipted)
    for receipt in receipts:
        yield from _check_receipt(receipt, receipted, key)


def _check_placed(
    tree: Tree,
    checkpoints: dict[int, list[Checkpoint]],
    receipted: dict[str, bytes],
    progress: Callable[[int], None],
) -> Iterator[Finding]:
    """Compute every leaf and every signed root again."""
    frontier = _Frontier()
    size = 0
    for leaf_index, entry, stored_hash, node_hash in tree.placed(CHUNK):
        leaf = merkle.leaf_hash(entry.leaf())
        if entry.entry_id in receipted:
            receipted[entry.entry_id] = leaf
        if leaf_index != size:
            yield Finding(f"place {size}", f"is missing: the next is {leaf_index}")
        if leaf != stored_hash or leaf != node_hash:
            yield Finding(
                f"entry {entry.entry_id} at place {leaf_index}", "was changed"
            )
        size = leaf_index + 1
        frontier.add(leaf)
        for checkpoint in checkpoints.pop(size, ()):
            if frontier.root() != checkpoint.root:
                yield Finding(
                    f"checkpoint {size} of {checkpoint.at}",
                    "the record up to there is not what was signed",
                )
        if size % CHUNK == 0:
            progress(size)
    yield from _cut_off(checkpoints, size)


def _cut_off(checkpoints: dict[int, list[Checkpoint]], size: int) -> Iterator[Finding]:
    """Yield the checkpoints that were signed for more entries than there are."""
    for lost_size in sorted(checkpoints):
        yield Finding(
            f"checkpoint {lost_size}",
            f"the record ends at {size}: entries were cut off",
        )


def _check_unplaced(tree: Tree, receipted: dict[str, bytes]) -> Iterator[Finding]:
    for entry, stored_hash in tree.unplaced():
        leaf = merkle.leaf_hash(entry.leaf())
        if entry.entry_id in receipted:
            receipted[entry.entry_id] = leaf
        if leaf != stored_hash:
            yield Finding(f"entry {entry.entry_id}", "was changed")


def _check_receipt(
    receipt: str,
    leaves: dict[str, bytes],
    key: Ed25519PublicKey,
) -> Iterator[Finding]:
    version, *fields = receipt.strip().split(";")
    if version != "v1" or len(fields) != 4:
        yield Finding("receipt", "cannot be parsed; expected v1;id;hash;key;signature")
        return
    entry_id, leaf_hex, _, signature_hex = fields
    where = f"receipt of {entry_id}"
    text = receipt_text(entry_id, bytes.fromhex(leaf_hex))
    if not signature_is_valid(key, bytes.fromhex(signature_hex), text):
        yield Finding(where, "the signature is not valid")
    elif not leaves.get(entry_id):
        yield Finding(where, "the record no longer contains the entry")
    elif leaves[entry_id].hex() != leaf_hex:
        yield Finding(where, "the entry is not the one that was answered")


class _Frontier:
    """The roots of the whole subtrees at the end of a growing tree.

    They are what a tree needs to grow by a leaf, and to give its root: one hash for
    each bit of its size.
    """

    def __init__(self) -> None:
        self._roots = list[tuple[int, bytes]]()  # height and hash, the highest first

    def add(self, leaf: bytes) -> None:
        """Add a leaf."""
        height = 0
        hash_ = leaf
        while self._roots and self._roots[-1][0] == height:
            _, left = self._roots.pop()
            hash_ = merkle.node_hash(left, hash_)
            height += 1
        self._roots.append((height, hash_))

    def root(self) -> bytes:
        """Return the root of the tree (RFC 6962, 2.1), which has one leaf at least."""
        _, hash_ = self._roots[-1]
        for _, left in reversed(self._roots[:-1]):
            hash_ = merkle.node_hash(left, hash_)
        return hash_
