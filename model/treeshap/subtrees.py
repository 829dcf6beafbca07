"""Subtrees for TreeSHAP: which part of a tree is one table, which a pair of tables, which is walked; filling tables."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from obligor.model.treeshap.forest import Forest
from obligor.model.treeshap.kernel import LANES

MOST_BITS = 14  # of a table
MOST_NODES = 63  # of a tree whose decisions fit one word
# Nanoseconds of a look-up, per path feature and column of it; of a pair, per path feature and term; of a walked leaf
# per edge above it (measured on one core; only their proportions matter).
LOOKUP, PER_PATH, PER_COLUMN = 32.0, 0.7, 0.9
PAIR, PER_TERM = 60.0, 4.5
PER_EDGE = 120.0
CHEAPEST = 5e-4  # nanoseconds a byte of a table costs, at least: it drives others out of the cache


@dataclass(frozen=True)
class Links:
    """Every node, then every leaf, with what leads to it.

    Attributes
    ----------
    up : array of int, shape (nodes + leaves, 3)
        Parent (-1 for a root), is_left, the parent's feature.
    share : array of float, shape (nodes + leaves,)
        The share of the parent's training rows that came this way; 0 where the parent had none.
    left, right : list of int
        A node's children.
    """

    up: NDArray[np.int64]
    share: NDArray[np.float64]
    left: list[int]
    right: list[int]


@dataclass(frozen=True)
class Subtree:
    """Leaves that are looked up together.

    Attributes
    ----------
    root : int
        A node, or a leaf (counted after all nodes).
    leaves : tuple of int
        Its first leaf and the one after its last.
    bits : int
        Splits in it.
    paths : list of int
        Features above it whose conditions the table asks for.
    columns : list of int
        Features the table adds to.
    upper : list of int
        Features above it that the second table of a pair asks for and adds to.
    chunks : int
        Quadrature nodes of a pair by `LANES`; 0 where the integral is in the one table.
    """

    root: int
    leaves: tuple[int, int]
    bits: int
    paths: list[int]
    columns: list[int]
    upper: list[int]
    chunks: int


def links_of(f: Forest) -> Links:
    """Return what leads to each node and leaf."""
    nodes, leaves = len(f.feature), len(f.leaf_value)
    up, share = (
        np.full((nodes + leaves, 3), -1, dtype=np.int64),
        np.ones(nodes + leaves),
    )
    covers = np.concatenate([f.cover, f.leaf_cover])
    sides = []
    for side, children in ((1, f.left), (0, f.right)):
        child = np.where(children >= 0, children, nodes + ~children)
        up[child, 0], up[child, 1], up[child, 2] = np.arange(nodes), side, f.feature
        share[child] = np.divide(
            covers[child], f.cover, out=np.zeros(nodes), where=f.cover > 0
        )
        sides.append(child.tolist())
    return Links(up, share, *sides)


class Cutter:
    """Cuts a forest by dynamic programming: a subtree is one look-up, or what its two children are.

    Parameters
    ----------
    f : Forest
        The trees.
    links : Links
        From `links_of`.
    """

    def __init__(self, f: Forest, links: Links) -> None:
        self.f, self.links = f, links
        n, total = len(f.feature), len(links.up)
        self.above, self.below, self.splits = [0] * total, [0] * total, [0] * total
        self.first_leaf = [0] * n + list(range(total - n))
        features = [1 << name for name in f.feature.tolist()]
        for node in range(n):
            self.above[links.left[node]] = self.above[links.right[node]] = (
                self.above[node] | features[node]
            )
        for node in range(n - 1, -1, -1):
            left, right = links.left[node], links.right[node]
            self.below[node] = features[node] | self.below[left] | self.below[right]
            self.splits[node] = 1 + self.splits[left] + self.splits[right]
            self.first_leaf[node] = self.first_leaf[left]
        self._weigh()

    def _upper(self, place: int) -> int:
        """The features above a place that a pair takes into its second table: half of its bits at most.

        None that is split on below, since its conditions are then not met or failed above alone.
        """
        free = _places(self.above[place] & ~self.below[place])
        half = (self.above[place].bit_count() + self.splits[place]) // 2
        return sum(1 << name for name in free[:half])

    def _weigh(self) -> None:
        """The time and size of each subtree as one table and as a pair."""
        paths, columns, upper = (
            np.array([bits.bit_count() for bits in found])
            for found in (
                self.above,
                [
                    above | below
                    for above, below in zip(self.above, self.below, strict=True)
                ],
                [self._upper(place) for place in range(len(self.above))],
            )
        )
        bits, lower = paths + np.array(self.splits), columns - upper
        sizes = np.diff(self.f.first_node)
        fits = (
            np.repeat(sizes <= MOST_NODES, sizes),
            np.repeat(sizes <= MOST_NODES, np.diff(self.f.first_leaf)),
        )
        in_word = np.concatenate(fits) & (columns > 0)
        self.paths, self.is_any = paths, columns > 0
        self.whole_ns = np.where(
            in_word & (bits <= MOST_BITS),
            LOOKUP + PER_PATH * paths + PER_COLUMN * columns,
            math.inf,
        )
        self.whole_size = np.exp2(np.minimum(bits, 64)) * columns
        chunks = (columns + 2 * LANES - 1) // (2 * LANES)
        is_pair = in_word & (np.maximum(bits - upper, upper) <= MOST_BITS) & (upper > 0)
        self.pair_ns = np.where(
            is_pair, PAIR + PER_PATH * paths + PER_TERM * chunks * columns, math.inf
        )
        rows = np.exp2(np.minimum(bits - upper, 64)), np.exp2(np.minimum(upper, 64))
        self.pair_size, self.chunks = (
            LANES * chunks * (rows[0] * (lower + 1) + rows[1] * (upper + 1)),
            chunks,
        )

    def cut(self, most_bytes: float) -> tuple[list[Subtree], list[int]]:
        """Return the subtrees whose tables take at most so many bytes, and the leaves that are walked."""
        price = CHEAPEST
        chosen, walked, size = self._cut_at(price)
        dear = price
        while size > most_bytes:
            dear *= 4
            chosen, walked, size = self._cut_at(dear)
        for _ in range(5 if dear > price else 0):
            middle = math.sqrt(price * dear)
            found = self._cut_at(middle)
            if found[2] > most_bytes:
                price = middle
            else:
                dear, (chosen, walked, size) = middle, found
        is_pair = (
            self.pair_ns + dear * 8 * self.pair_size
            < self.whole_ns + dear * 8 * self.whole_size
        ).tolist()
        return [self._subtree(place, is_pair[place]) for place in chosen], walked

    def _cut_at(self, price: float) -> tuple[list[int], list[int], float]:
        """Subtrees, walked leaves and bytes where a byte costs `price` nanoseconds."""
        links, n = self.links, len(self.f.feature)
        whole, pair = (
            self.whole_ns + price * 8 * self.whole_size,
            self.pair_ns + price * 8 * self.pair_size,
        )
        size = 8 * np.where(pair < whole, self.pair_size, self.whole_size)
        alone = np.minimum(whole, pair).tolist()
        cost = np.minimum(alone, np.maximum(PER_EDGE * self.paths, 1.0)).tolist()
        for node in range(n - 1, -1, -1):
            cost[node] = min(
                alone[node], cost[links.left[node]] + cost[links.right[node]]
            )
        is_open = (links.up[:, 0] < 0).tolist()
        chosen, walked = list[int](), list[int]()
        for place, is_here in enumerate(is_open):
            if (
                not is_here or not self.is_any[place]
            ):  # a tree of one leaf contributes nothing
                continue
            if alone[place] <= cost[place]:
                chosen.append(place)
            elif place < n:
                is_open[links.left[place]] = is_open[links.right[place]] = True
            else:
                walked.append(place - n)
        return chosen, walked, float(size[chosen].sum())

    def _subtree(self, place: int, is_pair: bool) -> Subtree:
        above, below = self.above[place], self.below[place]
        upper = self._upper(place) if is_pair else 0
        return Subtree(
            root=place,
            leaves=(
                self.first_leaf[place],
                self.first_leaf[place] + self.splits[place] + 1,
            ),
            bits=self.splits[place],
            paths=_places(above & ~upper),
            columns=_places((above | below) & ~upper),
            upper=_places(upper),
            chunks=int(self.chunks[place]) if is_pair else 0,
        )


def _places(bits: int) -> list[int]:
    return [place for place in range(bits.bit_length()) if bits >> place & 1]


def fill_table(
    root: Any,
    leaves: Any,
    bits: Any,
    paths: Any,
    columns: Any,
    up: Any,
    share: Any,
    values: Any,
    quadrature: Any,
    table: Any,
) -> None:
    """Fill one table, shape (patterns, nodes, 1 + columns): the leaves below its root, at each quadrature node.

    `up` and `share` have a row per node, then per leaf (after all nodes): parent, is_left, the parent's
    feature; and the share of the parent's training rows that came this way. Features that are not among
    the columns are another table's.
    """
    n_nodes = len(up) - len(values)
    feature, wanted = np.empty(64, dtype=np.int64), np.empty(64, dtype=np.int64)
    mask, place, z = (
        np.empty(64, dtype=np.int64),
        np.empty(64, dtype=np.int64),
        np.empty(64),
    )
    for leaf in range(leaves[0], leaves[1]):
        depth, child = 0, n_nodes + leaf
        while up[child, 0] >= 0:
            parent, name = up[child, 0], up[child, 2]
            column = np.searchsorted(columns, name)
            if column < len(columns) and columns[column] == name:
                found = 0
                while found < depth and feature[found] != name:
                    found += 1
                if found == depth:
                    (
                        feature[found],
                        z[found],
                        wanted[found],
                        mask[found],
                        place[found],
                    ) = name, 1.0, 0, 0, column
                    depth += 1
                z[found] *= share[child]
                bit, met = (
                    (parent - root, up[child, 1])
                    if parent >= root
                    else (bits + np.searchsorted(paths, name), 1)
                )
                mask[found] |= 1 << bit
                wanted[found] |= met << bit
            child = parent
        given = leaf_table(values[leaf], z[:depth], quadrature)
        for pattern in range(len(table)):
            met = 0
            for j in range(depth):
                met |= np.int64(((pattern ^ wanted[j]) & mask[j]) == 0) << j
            for k in range(quadrature.shape[1]):
                table[pattern, k, 0] += given[met, k, 0]
                for j in range(depth):
                    table[pattern, k, 1 + place[j]] += given[met, k, 1 + j]


def leaf_table(value: Any, z: Any, quadrature: Any) -> Any:
    """One leaf's products and contributions, shape (2**d, nodes, 1 + d), weighted.

    Bit j of the row says whether all conditions on feature j are met.
    """
    d, n = len(z), quadrature.shape[1]
    given, before = np.empty((1 << d, n, d + 1)), np.empty(d + 1)
    for met in range(1 << d):
        for k in range(n):
            t, after = quadrature[0, k], 1.0
            before[0] = quadrature[1, k] * value
            for j in range(d):
                before[j + 1] = before[j] * (((met >> j) & 1) * t + z[j] * (1.0 - t))
            given[met, k, 0] = before[d]
            for j in range(d - 1, -1, -1):
                o = (met >> j) & 1
                given[met, k, 1 + j] = (o - z[j]) * before[j] * after
                after *= o * t + z[j] * (1.0 - t)
    return given
