"""A Merkle tree of the record (RFC 6962): roots, proofs that an entry is in it, proofs that it only grew."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import sha256

EMPTY = sha256(b"").digest()


def leaf_hash(leaf: bytes) -> bytes:
    """Return SHA-256(0x00 || leaf), RFC 6962 2.1.

    Examples
    --------
    >>> leaf_hash(b"").hex()[:16]
    '6e340b9cffb37a98'
    """
    return sha256(b"\0" + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return SHA-256(0x01 || left || right), RFC 6962 2.1."""
    return sha256(b"\1" + left + right).digest()


def split(size: int) -> int:
    """Return the largest power of two below a size: how many leaves go left.

    Examples
    --------
    >>> split(2), split(5), split(8), split(9)
    (1, 4, 4, 8)
    """
    return 1 << (size - 1).bit_length() - 1


Subtree = Callable[[int, int], bytes]  # start, size of a whole subtree -> its hash


def root(size: int, subtree: Subtree) -> bytes:
    """Return the root over the first leaves (RFC 6962 2.1).

    Parameters
    ----------
    subtree : callable
        Gives the hash over `size` leaves from `start` on, size a power of two and start a multiple of it.

    Examples
    --------
    >>> leaves = [leaf_hash(bytes([n])) for n in range(3)]
    >>> root(3, lambda start, size: leaves[start] if size == 1 else node_hash(*leaves[start : start + 2])) == node_hash(
    ...     node_hash(leaves[0], leaves[1]), leaves[2])
    True
    """
    if size == 0:
        return EMPTY
    return _hash(0, size, subtree)


def inclusion_proof(place: int, size: int, subtree: Subtree) -> list[bytes]:
    """Return the hashes that lead from a leaf to the root over the first `size` leaves (RFC 6962 2.1.1).

    Raises
    ------
    ValueError
        Where the leaf is not among them.
    """
    if not 0 <= place < size:
        raise ValueError(f"leaf {place} is not among the first {size}")
    return _path(place, 0, size, subtree)


def consistency_proof(old: int, new: int, subtree: Subtree) -> list[bytes]:
    """Return the hashes that show the tree of `old` leaves to be the start of that of `new` (RFC 6962 2.1.2).

    Raises
    ------
    ValueError
        Where `old` is 0 or larger than `new`.
    """
    if not 0 < old <= new:
        raise ValueError(f"{old} leaves are no start of {new}")
    return _grown(old, 0, new, True, subtree) if old < new else []


def root_of_path(
    leaf: bytes, place: int, size: int, path: Sequence[bytes]
) -> bytes | None:
    """Return the root a leaf and its path lead to, None where the path has the wrong length (RFC 9162 2.1.3.2)."""
    at, last, found = place, size - 1, leaf
    if not 0 <= place < size:
        return None
    for sibling in path:
        if last == 0:
            return None
        if at & 1 or at == last:
            found = node_hash(sibling, found)
            while at and not at & 1:
                at, last = at >> 1, last >> 1
        else:
            found = node_hash(found, sibling)
        at, last = at >> 1, last >> 1
    return found if last == 0 else None


def is_grown(
    old: int, new: int, old_root: bytes, new_root: bytes, path: Sequence[bytes]
) -> bool:
    """Whether a consistency proof holds between two roots (RFC 9162 2.1.4.2)."""
    if old == new:
        return old_root == new_root and not path
    if not 0 < old < new or not path:
        return False
    hashes = [old_root, *path] if old & (old - 1) == 0 else list(path)
    at, last = old - 1, new - 1
    while at & 1:
        at, last = at >> 1, last >> 1
    first = second = hashes[0]
    for sibling in hashes[1:]:
        if last == 0:
            return False
        if at & 1 or at == last:
            first, second = node_hash(sibling, first), node_hash(sibling, second)
            while at and not at & 1:
                at, last = at >> 1, last >> 1
        else:
            second = node_hash(second, sibling)
        at, last = at >> 1, last >> 1
    return first == old_root and second == new_root and last == 0


def _hash(start: int, size: int, subtree: Subtree) -> bytes:
    if size & (size - 1) == 0:
        return subtree(start, size)
    left = split(size)
    return node_hash(subtree(start, left), _hash(start + left, size - left, subtree))


def _path(place: int, start: int, size: int, subtree: Subtree) -> list[bytes]:
    if size == 1:
        return []
    left = split(size)
    if place < left:
        return [
            *_path(place, start, left, subtree),
            _hash(start + left, size - left, subtree),
        ]
    return [
        *_path(place - left, start + left, size - left, subtree),
        subtree(start, left),
    ]


def _grown(
    old: int, start: int, size: int, is_whole: bool, subtree: Subtree
) -> list[bytes]:
    if old == size:
        return [] if is_whole else [_hash(start, size, subtree)]
    left = split(size)
    if old <= left:
        return [
            *_grown(old, start, left, is_whole, subtree),
            _hash(start + left, size - left, subtree),
        ]
    return [
        *_grown(old - left, start + left, size - left, False, subtree),
        subtree(start, left),
    ]
