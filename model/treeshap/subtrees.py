"""Subtrees for TreeSHAP: which part of a tree is one table, a pair, or walked."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from obligor.arrays import Bools, Floats, Ints
from obligor.model.treeshap.forest import Forest
from obligor.model.treeshap.kernel import LANES

MOST_BITS = 14  # of a table's pattern
MOST_NODES = 63  # of a tree whose decisions fit one word
# Nanoseconds of a look-up, per path feature and per column of it; of a pair, per path
# feature and per term; of a walked leaf, per edge above it. Measured on one core; only
# their proportions matter.
LOOKUP_NS = 32.0
PATH_NS = 0.7
COLUMN_NS = 0.9
PAIR_NS = 60.0
TERM_NS = 4.5
EDGE_NS = 120.0
# What a byte of a table costs at least: it drives other data out of the cache.
CHEAPEST_BYTE_NS = 5e-4
BISECTIONS = 5


@dataclass(frozen=True)
class Links:
    """The way up from each vertex; vertices are all nodes, then all leaves.

    Attributes
    ----------
    up : ndarray of int, shape (vertices, 3)
        Parent (-1 for a root), is_left, the parent's feature.
    share : ndarray of float, shape (vertices,)
        Share of the parent's training rows that came this way; 0 if there were none.
    left, right : list of int, length nodes
        The children of each node.
    """

    up: Ints
    share: Floats
    left: list[int]
    right: list[int]


@dataclass(frozen=True)
class Subtree:
    """Leaves that are looked up together.

    Attributes
    ----------
    root : int
        A vertex.
    leaves : tuple of int
        The first leaf and the one after the last.
    bits : int
        Number of splits in it.
    paths : list of int
        Features above the root whose conditions the table distinguishes.
    columns : list of int
        Features the table adds to.
    upper : list of int
        Features above the root that the second table of a pair distinguishes and adds
        to.
    chunks : int
        Number of chunks of `LANES` quadrature nodes of a pair; 0 if it is one table,
        in which the integral is already taken.
    """

    root: int
    leaves: tuple[int, int]
    bits: int
    paths: list[int]
    columns: list[int]
    upper: list[int]
    chunks: int


class _Cut(NamedTuple):
    """Roots of subtrees, leaves that are walked, and the bytes of the tables."""

    roots: list[int]
    walked: list[int]
    size: float


def links_of(forest: Forest) -> Links:
    """Return the way up from each node and leaf."""
    n_nodes = forest.n_nodes
    n_vertices = n_nodes + forest.n_leaves
    up = np.full((n_vertices, 3), -1, dtype=np.int64)
    share = np.ones(n_vertices)
    covers = np.concatenate([forest.cover, forest.leaf_cover])
    sides = []
    for is_left, children in ((1, forest.left), (0, forest.right)):
        child = np.where(children >= 0, children, n_nodes + ~children)
        up[child, 0] = np.arange(n_nodes)
        up[child, 1] = is_left
        up[child, 2] = forest.feature
        share[child] = np.divide(
            covers[child],
            forest.cover,
            out=np.zeros(n_nodes),
            where=forest.cover > 0,
        )
        sides.append(child.tolist())
    return Links(up, share, *sides)


class Cutter:
    """Cuts a forest by dynamic programming.

    Below each node, either all leaves are one look-up, or both children are cut.

    Parameters
    ----------
    forest : Forest
        The trees.
    links : Links
        From `links_of`.
    """

    def __init__(self, forest: Forest, links: Links) -> None:
        self.forest = forest
        self.links = links
        self._collect_features()
        self._estimate_costs()

    def _collect_features(self) -> None:
        """Per vertex: features above and below as bit sets, splits, the first leaf."""
        n_nodes = self.forest.n_nodes
        n_vertices = len(self.links.up)
        left = self.links.left
        right = self.links.right
        feature_of_node = self.forest.feature.tolist()
        features = [1 << feature for feature in feature_of_node]
        self.above = [0] * n_vertices
        for node in range(n_nodes):
            above_children = self.above[node] | features[node]
            self.above[left[node]] = above_children
            self.above[right[node]] = above_children
        self.below = [0] * n_vertices
        self.splits = [0] * n_vertices
        self.first_leaf = [0] * n_nodes + list(range(n_vertices - n_nodes))
        for node in range(n_nodes - 1, -1, -1):
            left_child = left[node]
            right_child = right[node]
            below_children = self.below[left_child] | self.below[right_child]
            self.below[node] = features[node] | below_children
            splits_below = self.splits[left_child] + self.splits[right_child]
            self.splits[node] = 1 + splits_below
            self.first_leaf[node] = self.first_leaf[left_child]

    def _upper(self, vertex: int) -> int:
        """Return the features above a vertex that go into a pair's second table.

        They are at most half of the pair's bits. None of them is split on below: its
        conditions would not be decided above alone.
        """
        above = self.above[vertex]
        only_above = _members(above & ~self.below[vertex])
        half = (above.bit_count() + self.splits[vertex]) // 2
        return sum(1 << feature for feature in only_above[:half])

    def _estimate_costs(self) -> None:
        """Estimate time and size of each subtree as one table and as a pair."""
        n_vertices = len(self.links.up)
        paths = _bit_counts(self.above)
        involved = [
            above | below for above, below in zip(self.above, self.below, strict=True)
        ]
        columns = _bit_counts(involved)
        upper_sets = [self._upper(vertex) for vertex in range(n_vertices)]
        upper = _bit_counts(upper_sets)
        lower = columns - upper
        bits = paths + np.array(self.splits)
        lower_bits = bits - upper
        self.paths = paths
        self.is_split = columns > 0
        in_word = self._fits_in_word() & self.is_split
        # One table, in which the integral is already taken.
        table_ns = LOOKUP_NS + PATH_NS * paths + COLUMN_NS * columns
        can_be_table = in_word & (bits <= MOST_BITS)
        self.table_ns = np.where(can_be_table, table_ns, math.inf)
        self.table_size = _patterns(bits) * columns
        # A pair of tables, multiplied at each quadrature node.
        self.chunks = (columns + 2 * LANES - 1) // (2 * LANES)
        most_bits = np.maximum(lower_bits, upper)
        can_be_pair = in_word & (most_bits <= MOST_BITS) & (upper > 0)
        pair_ns = PAIR_NS + PATH_NS * paths + TERM_NS * self.chunks * columns
        self.pair_ns = np.where(can_be_pair, pair_ns, math.inf)
        lower_size = _patterns(lower_bits) * (lower + 1)
        upper_size = _patterns(upper) * (upper + 1)
        self.pair_size = LANES * self.chunks * (lower_size + upper_size)

    def _fits_in_word(self) -> Bools:
        """Return whether the decisions of each vertex's tree fit one word."""
        nodes_per_tree = np.diff(self.forest.first_node)
        leaves_per_tree = np.diff(self.forest.first_leaf)
        fits = nodes_per_tree <= MOST_NODES
        of_nodes = np.repeat(fits, nodes_per_tree)
        of_leaves = np.repeat(fits, leaves_per_tree)
        return np.concatenate([of_nodes, of_leaves])

    def cut(self, most_bytes: float) -> tuple[list[Subtree], list[int]]:
        """Choose the subtrees, and raise the price of a byte until their tables fit.

        Parameters
        ----------
        most_bytes : float
            What the tables may take, 0 or more.

        Returns
        -------
        list of Subtree, list of int
            The subtrees, and the leaves that are walked.
        """
        low = CHEAPEST_BYTE_NS
        high = low
        cut = self._cut_at(low)
        while cut.size > most_bytes:
            high *= 4
            cut = self._cut_at(high)
        if high > low:
            for _ in range(BISECTIONS):
                middle = math.sqrt(low * high)
                middle_cut = self._cut_at(middle)
                if middle_cut.size > most_bytes:
                    low = middle
                else:
                    high = middle
                    cut = middle_cut
        is_pair = self._pair_cost(high) < self._table_cost(high)
        subtrees = [self._subtree(root, bool(is_pair[root])) for root in cut.roots]
        return subtrees, cut.walked

    def nanoseconds(self, subtrees: Sequence[Subtree], walked: Sequence[int]) -> float:
        """Estimate the time in which one row is explained.

        Parameters
        ----------
        subtrees : sequence of Subtree
            What is looked up.
        walked : sequence of int
            The leaves that are walked.
        """
        total = 0.0
        for subtree in subtrees:
            is_pair = subtree.chunks > 0
            of_root = self.pair_ns if is_pair else self.table_ns
            total += float(of_root[subtree.root])
        n_nodes = self.forest.n_nodes
        edges = sum(int(self.paths[n_nodes + leaf]) for leaf in walked)
        return total + EDGE_NS * edges

    def _table_cost(self, byte_ns: float) -> Floats:
        return self.table_ns + byte_ns * 8 * self.table_size

    def _pair_cost(self, byte_ns: float) -> Floats:
        return self.pair_ns + byte_ns * 8 * self.pair_size

    def _cut_at(self, byte_ns: float) -> _Cut:
        """Choose the cheapest cut if a byte costs so many nanoseconds."""
        left = self.links.left
        right = self.links.right
        n_nodes = self.forest.n_nodes
        table_cost = self._table_cost(byte_ns)
        pair_cost = self._pair_cost(byte_ns)
        is_pair = pair_cost < table_cost
        size = 8 * np.where(is_pair, self.pair_size, self.table_size)
        as_one = np.minimum(table_cost, pair_cost)
        walking_ns = np.maximum(EDGE_NS * self.paths, 1.0)
        lookup_cost = as_one.tolist()
        cost = np.minimum(as_one, walking_ns).tolist()
        for node in range(n_nodes - 1, -1, -1):
            cut_cost = cost[left[node]] + cost[right[node]]
            cost[node] = min(lookup_cost[node], cut_cost)
        roots, walked = self._collect(lookup_cost, cost)
        total_size = float(size[roots].sum())
        return _Cut(roots, walked, total_size)

    def _collect(
        self, lookup_cost: list[float], cost: list[float]
    ) -> tuple[list[int], list[int]]:
        """Return the roots of look-ups and the walked leaves, from the top down."""
        left = self.links.left
        right = self.links.right
        n_nodes = self.forest.n_nodes
        is_open = (self.links.up[:, 0] < 0).tolist()
        roots = list[int]()
        walked = list[int]()
        for vertex, is_vertex_open in enumerate(is_open):
            # A tree of one leaf contributes nothing: it splits on no feature.
            if not is_vertex_open or not self.is_split[vertex]:
                continue
            if lookup_cost[vertex] <= cost[vertex]:
                roots.append(vertex)
            elif vertex < n_nodes:
                is_open[left[vertex]] = True
                is_open[right[vertex]] = True
            else:
                walked.append(vertex - n_nodes)
        return roots, walked

    def _subtree(self, root: int, is_pair: bool) -> Subtree:
        above = self.above[root]
        involved = above | self.below[root]
        upper = self._upper(root) if is_pair else 0
        first_leaf = self.first_leaf[root]
        return Subtree(
            root=root,
            leaves=(first_leaf, first_leaf + self.splits[root] + 1),
            bits=self.splits[root],
            paths=_members(above & ~upper),
            columns=_members(involved & ~upper),
            upper=_members(upper),
            chunks=int(self.chunks[root]) if is_pair else 0,
        )


def _members(bit_set: int) -> list[int]:
    """Return the members of a bit set, lowest first."""
    return [index for index in range(bit_set.bit_length()) if bit_set >> index & 1]


def _bit_counts(bit_sets: list[int]) -> Ints:
    return np.array([bit_set.bit_count() for bit_set in bit_sets])


def _patterns(bits: Ints) -> Floats:
    """Return the number of patterns of some bits, as a float that cannot overflow."""
    return np.exp2(np.minimum(bits, 64))
