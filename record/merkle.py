"""A Merkle tree (RFC 6962): its root, and proofs of inclusion and of growth.

A proof of inclusion shows that an entry is in the record; a proof of consistency shows
that the record only grew.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import sha256

# The root of the empty tree (RFC 6962, 2.1).
EMPTY = sha256(b"").digest()
# Start and size of a whole subtree -> its hash. The size is a power of two, the start a
# multiple of it.
Subtree = Callable[[int, int], bytes]


def leaf_hash(leaf: bytes) -> bytes:
    """Return SHA-256(0x00 || leaf), RFC 6962, 2.1.

    Examples
    --------
    >>> leaf_hash(b"").hex()[:16]
    '6e340b9cffb37a98'
    """
    return sha256(b"\0" + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return SHA-256(0x01 || left || right), RFC 6962, 2.1.

    The prefixes 0x00 and 0x01 keep a node from being passed off as a leaf.
    """
    return sha256(b"\1" + left + right).digest()


def split(size: int) -> int:
    """Return the largest power of two below a size: how many leaves go left.

    Examples
    --------
    >>> split(2), split(5), split(8), split(9)
    (1, 4, 4, 8)
    """
    return 1 << (size - 1).bit_length() - 1


def root(size: int, subtree: Subtree) -> bytes:
    """Return the root over the first leaves (RFC 6962, 2.1).

    Parameters
    ----------
    size : int
        How many leaves, zero or more.
    subtree : callable
        Gives the hash of a whole subtree, from its start and its size.

    Examples
    --------
    >>> leaves = [leaf_hash(bytes([n])) for n in range(3)]
    >>> pair = node_hash(leaves[0], leaves[1])
    >>> def subtree(start: int, size: int) -> bytes:
    ...     return leaves[start] if size == 1 else pair
    >>> root(3, subtree) == node_hash(pair, leaves[2])
    True
    """
    if size == 0:
        return EMPTY
    return _subroot(0, size, subtree)


def inclusion_proof(
    leaf_index: int,
    size: int,
    subtree: Subtree,
) -> list[bytes]:
    """Return the hashes that lead from a leaf to the root (RFC 6962, 2.1.1).

    Parameters
    ----------
    leaf_index : int
        Which leaf, from zero.
    size : int
        The tree has this many leaves.
    subtree : callable
        Gives the hash of a whole subtree, from its start and its size.

    Returns
    -------
    list of bytes
        The siblings on the way up, from the leaf's to the one below the root.

    Raises
    ------
    ValueError
        If the tree has no such leaf.
    """
    if not 0 <= leaf_index < size:
        raise ValueError(f"leaf {leaf_index} is not among the first {size}")
    return _path(leaf_index, 0, size, subtree)


def consistency_proof(
    old_size: int,
    new_size: int,
    subtree: Subtree,
) -> list[bytes]:
    """Return the hashes that show that a tree grew out of an older one.

    Parameters
    ----------
    old_size, new_size : int
        How many leaves each has, the old one at least one.
    subtree : callable
        Gives the hash of a whole subtree of the new tree, from its start and its size.

    Returns
    -------
    list of bytes
        The proof of RFC 6962, 2.1.2; empty if nothing was added.

    Raises
    ------
    ValueError
        If the old tree is empty, or larger than the new one.
    """
    if not 0 < old_size <= new_size:
        raise ValueError(
            f"a tree of {new_size} leaves cannot have grown out of one of {old_size}"
        )
    if old_size == new_size:
        return []
    old_is_whole = True
    return _growth(old_size, 0, new_size, old_is_whole, subtree)


def root_of_path(
    leaf: bytes,
    leaf_index: int,
    size: int,
    path: Sequence[bytes],
) -> bytes | None:
    """Return the root that a leaf and its path lead to (RFC 9162, 2.1.3.2).

    Parameters
    ----------
    leaf : bytes
        The leaf's hash.
    leaf_index : int
        Which leaf, from zero.
    size : int
        The tree has this many leaves.
    path : sequence of bytes
        The proof of inclusion.

    Returns
    -------
    bytes or None
        None if the path is too long or too short.
    """
    if not 0 <= leaf_index < size:
        return None
    sides = _sides(leaf_index, size - 1, len(path))
    if sides is None:
        return None
    hash_ = leaf
    for sibling, is_left in zip(path, sides, strict=True):
        if is_left:
            hash_ = node_hash(sibling, hash_)
        else:
            hash_ = node_hash(hash_, sibling)
    return hash_


def is_grown(
    old_size: int,
    new_size: int,
    old_root: bytes,
    new_root: bytes,
    path: Sequence[bytes],
) -> bool:
    """Return whether a proof of consistency holds (RFC 9162, 2.1.4.2).

    Parameters
    ----------
    old_size, new_size : int
        How many leaves each tree has.
    old_root, new_root : bytes
        Their roots.
    path : sequence of bytes
        The proof of consistency.
    """
    if old_size == new_size:
        return old_root == new_root and not path
    if not 0 < old_size < new_size or not path:
        return False
    hashes = list(path)
    # The root of a whole old tree is not sent: the reader has it.
    if old_size & (old_size - 1) == 0:
        hashes.insert(0, old_root)
    node = old_size - 1
    last = new_size - 1
    while node & 1:
        node >>= 1
        last >>= 1
    sides = _sides(node, last, len(hashes) - 1)
    if sides is None:
        return False
    old_hash = hashes[0]
    new_hash = hashes[0]
    for sibling, is_left in zip(hashes[1:], sides, strict=True):
        if is_left:
            old_hash = node_hash(sibling, old_hash)
            new_hash = node_hash(sibling, new_hash)
        else:
            new_hash = node_hash(new_hash, sibling)
    return old_hash == old_root and new_hash == new_root


def _sides(
    node: int,
    last: int,
    n_siblings: int,
) -> list[bool] | None:
    """Return on which side each sibling of a path is: True for the left.

    `node` and `last` are fn and sn of RFC 9162, 2.1.3.2 and 2.1.4.2: where the node,
    and the last node, are on their level. None if the path is too long or too short.
    """
    sides = list[bool]()
    for _ in range(n_siblings):
        if last == 0:
            return None
        is_left = node & 1 == 1 or node == last
        sides.append(is_left)
        # The last node of a level that has no sibling there moves up unchanged.
        while is_left and node and not node & 1:
            node >>= 1
            last >>= 1
        node >>= 1
        last >>= 1
    return sides if last == 0 else None


def _subroot(
    start: int,
    size: int,
    subtree: Subtree,
) -> bytes:
    if size & (size - 1) == 0:
        return subtree(start, size)
    n_left = split(size)
    left = subtree(start, n_left)
    right = _subroot(start + n_left, size - n_left, subtree)
    return node_hash(left, right)


def _path(
    leaf_index: int,
    start: int,
    size: int,
    subtree: Subtree,
) -> list[bytes]:
    """PATH of RFC 6962, 2.1.1; the leaf's index counts from `start`."""
    if size == 1:
        return []
    n_left = split(size)
    n_right = size - n_left
    if leaf_index < n_left:
        path = _path(leaf_index, start, n_left, subtree)
        sibling = _subroot(start + n_left, n_right, subtree)
    else:
        path = _path(leaf_index - n_left, start + n_left, n_right, subtree)
        sibling = subtree(start, n_left)
    return [*path, sibling]


def _growth(
    old_size: int,
    start: int,
    size: int,
    old_is_whole: bool,
    subtree: Subtree,
) -> list[bytes]:
    """SUBPROOF of RFC 6962, 2.1.2."""
    if old_size == size:
        return [] if old_is_whole else [_subroot(start, size, subtree)]
    n_left = split(size)
    n_right = size - n_left
    if old_size <= n_left:
        path = _growth(old_size, start, n_left, old_is_whole, subtree)
        sibling = _subroot(start + n_left, n_right, subtree)
    else:
        path = _growth(old_size - n_left, start + n_left, n_right, False, subtree)
        sibling = subtree(start, n_left)
    return [*path, sibling]
