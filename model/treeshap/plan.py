"""Laying out a forest for the kernel: decisions, tables, pairs of tables, walks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from obligor.arrays import Floats, Ints
from obligor.model.treeshap import kernel
from obligor.model.treeshap.compiled import compiled_kernel
from obligor.model.treeshap.forest import CATEGORICAL, Forest
from obligor.model.treeshap.subtrees import MOST_NODES, Cutter, Links, Subtree, links_of

CACHE_LINE = 8  # reals


class Plan(NamedTuple):
    """What the kernel reads.

    Attributes
    ----------
    ints : ndarray of int
        The header, then its sections.
    reals : ndarray of float
        Quadratures, thresholds, leaf values, edges, tables.
    table_bytes : float
        Size of the tables.
    """

    ints: Ints
    reals: Floats
    table_bytes: float


class _Step(NamedTuple):
    """A step on the way up: parent, which side, the parent's feature, cover share."""

    parent: int
    is_left: int
    feature: int
    share: float


def make_plan(forest: Forest, most_bytes: float) -> Plan:
    """Lay out a forest.

    Parameters
    ----------
    forest : Forest
        The trees.
    most_bytes : float
        What the tables may take, 0 or more; what does not fit is walked.
    """
    links = links_of(forest)
    subtrees, walked_leaves = Cutter(forest, links).cut(most_bytes)
    tables = _TableWriter(forest, links)
    for subtree in sorted(subtrees, key=_shape):
        tables.add(subtree)
    walks = _WalkWriter(forest, links, walked_leaves)
    n_quadrature = [(depth + 1) // 2 for depth in walks.depths]
    quadratures = {}
    for n in sorted(set(n_quadrature)):
        quadratures[n] = gauss_legendre(n).reshape(-1)
    sizes = [len(quadrature) for quadrature in quadratures.values()]
    starts = np.cumsum([0, *sizes]).tolist()
    start_of = dict(zip(quadratures, starts, strict=False))
    decisions = _decisions_of(forest)
    ints: dict[int, ArrayLike] = {
        **decisions.sections,
        kernel.TABLES: tables.tables,
        kernel.PAIRS: tables.pairs,
        kernel.PATHS: tables.paths,
        kernel.COLUMNS: tables.columns,
        kernel.FIRST_EDGE: walks.first_edge,
        kernel.EDGES: walks.edges,
        kernel.QUADRATURES: [(n, start_of[n]) for n in n_quadrature],
    }
    counts = {
        kernel.N_FEATURES: forest.n_features,
        kernel.N_TREES: len(walks.depths),
        kernel.N_SLOTS: decisions.n_slots,
        kernel.N_TABLES: len(tables.tables),
        kernel.N_PAIRS: len(tables.pairs),
        kernel.N_NODES: _largest_part(forest.first_node),
        kernel.N_EDGES: _largest_part(walks.first_edge),
        kernel.N_QUADRATURE: max(n_quadrature, default=1),
    }
    reals = {
        kernel.RANKED_THRESHOLDS: decisions.ranked_thresholds,
        kernel.THRESHOLDS: forest.threshold,
        kernel.LEAF_VALUES: forest.leaf_value,
        kernel.EDGE_REALS: np.asarray(walks.edge_reals, dtype=np.float64),
    }
    packed_reals, real_starts, tables_start = _pack_reals(
        list(quadratures.values()),
        reals,
        tables.values,
    )
    packed_ints = _pack_ints(ints, counts | real_starts, tables_start)
    return Plan(packed_ints, packed_reals, 8 * tables.size)


def _largest_part(starts: ArrayLike) -> int:
    """Return the size of the largest part, given where each part begins."""
    return int(np.diff(starts).max(initial=0))


def _shape(subtree: Subtree) -> tuple[int, ...]:
    """Sort subtrees of one shape together: the processor then foresees the loops."""
    return (
        subtree.chunks,
        len(subtree.paths),
        len(subtree.columns),
        len(subtree.upper),
        subtree.root,
    )


@cache
def gauss_legendre(n: int) -> Floats:
    """Return nodes and weights on [0, 1], shape (2, n).

    They integrate polynomials of degree 2 n - 1 exactly.

    Examples
    --------
    >>> nodes, weights = gauss_legendre(2)
    >>> round(float(weights @ nodes**3), 12)    # the integral of t^3
    0.25
    """
    nodes, weights = np.polynomial.legendre.leggauss(n)
    return np.stack([(nodes + 1) / 2, weights / 2])


# --- Tables


class _TableWriter:
    """Fills the tables of a forest and writes them one after the other."""

    def __init__(self, forest: Forest, links: Links) -> None:
        self.forest = forest
        self.links = links
        self.values = list[Floats]()
        self.size = 0
        self.tables = list[tuple[int, ...]]()
        self.pairs = list[tuple[int, ...]]()
        self.paths = list[tuple[int, int]]()
        self.columns = list[int]()

    def add(self, subtree: Subtree) -> None:
        """Fill a subtree's table, or its pair of tables."""
        if subtree.chunks:
            self._add_pair(subtree)
        else:
            self._add_table(subtree)

    def _add_table(self, subtree: Subtree) -> None:
        """Add one table, in which the integral is already taken."""
        quadrature = gauss_legendre((len(subtree.columns) + 1) // 2)
        at_nodes = self._fill(subtree, quadrature)
        integral = at_nodes.sum(axis=1)[:, 1:]
        numbers = self._write(subtree, subtree.paths, subtree.columns, integral)
        self.tables.append(numbers)

    def _add_pair(self, subtree: Subtree) -> None:
        """Add the factors of the features below and above, at the quadrature nodes."""
        quadrature = gauss_legendre(subtree.chunks * kernel.LANES)
        lower = _by_chunk(self._fill(subtree, quadrature))
        upper = _by_chunk(self._fill_upper(subtree, quadrature))
        above = replace(subtree, bits=0)
        lower_numbers = self._write(subtree, subtree.paths, subtree.columns, lower)
        upper_numbers = self._write(above, subtree.upper, subtree.upper, upper)
        self.pairs.append((*lower_numbers, *upper_numbers, subtree.chunks))

    def _fill(self, subtree: Subtree, quadrature: Floats) -> Floats:
        """Return what the leaves contribute, shape (patterns, nodes, 1 + columns)."""
        n_patterns = 1 << (subtree.bits + len(subtree.paths))
        n_columns = len(subtree.columns) + 1
        table = np.zeros((n_patterns, quadrature.shape[1], n_columns))
        compiled_kernel().fill_table(
            subtree.root,
            np.array(subtree.leaves),
            subtree.bits,
            np.array(subtree.paths, dtype=np.int64),
            np.array(subtree.columns, dtype=np.int64),
            self.links.up,
            self.links.share,
            self.forest.leaf_value,
            quadrature,
            table,
        )
        return table

    def _fill_upper(self, subtree: Subtree, quadrature: Floats) -> Floats:
        """Return what the features above contribute, weights left out."""
        z = dict.fromkeys(subtree.upper, 1.0)
        for step in self._steps_up(subtree.root):
            if step.feature in z:
                z[step.feature] *= step.share
        nodes = quadrature[0]
        unweighted = np.stack([nodes, np.ones_like(nodes)])
        shares = np.array(list(z.values()))
        return compiled_kernel().leaf_table(1.0, shares, unweighted)

    def _write(
        self,
        subtree: Subtree,
        paths: list[int],
        columns: list[int],
        values: Floats,
    ) -> tuple[int, ...]:
        """Store a table and return the numbers by which the kernel reads it."""
        tree = self._tree_of(subtree.root)
        first_node = int(self.forest.first_node[tree])
        numbers = (
            subtree.root - first_node if subtree.bits else 0,
            (1 << subtree.bits) - 1,
            subtree.bits,
            len(paths),
            len(columns),
            2 * len(self.paths),
            len(self.columns),
            self.size,
            tree,
        )
        met_bits = dict.fromkeys(paths, 0)
        mask = dict.fromkeys(paths, 0)
        for step in self._steps_up(subtree.root):
            if step.feature in mask:
                bit = step.parent - first_node
                mask[step.feature] |= 1 << bit
                met_bits[step.feature] |= step.is_left << bit
        for feature in paths:
            self.paths.append((met_bits[feature], mask[feature]))
        self.columns += columns
        self.values.append(values.reshape(-1))
        self.size += values.size
        return numbers

    def _tree_of(self, vertex: int) -> int:
        n_nodes = self.forest.n_nodes
        is_node = vertex < n_nodes
        firsts = self.forest.first_node if is_node else self.forest.first_leaf + n_nodes
        return int(np.searchsorted(firsts, vertex, "right")) - 1

    def _steps_up(self, vertex: int) -> Iterator[_Step]:
        while self.links.up[vertex, 0] >= 0:
            parent, is_left, feature = self.links.up[vertex].tolist()
            share = float(self.links.share[vertex])
            yield _Step(parent, is_left, feature, share)
            vertex = parent


def _by_chunk(table: Floats) -> Floats:
    """Return (patterns, nodes, columns) as (patterns, chunks, columns, lanes)."""
    n_patterns, n_nodes, n_columns = table.shape
    n_chunks = n_nodes // kernel.LANES
    chunked = table.reshape(n_patterns, n_chunks, kernel.LANES, n_columns)
    return chunked.swapaxes(2, 3)


# --- Walks


class _Walk(NamedTuple):
    """A node to walk on from, the edge that led to it, and the conditions so far.

    Conditions: per feature, the last edge on it and the share of training rows that
    met all its conditions.
    """

    node: int
    edge: int
    conditions: dict[int, tuple[int, float]]


class _WalkWriter:
    """Writes the edges that lead to leaves outside tables, in pre-order per tree."""

    def __init__(
        self,
        forest: Forest,
        links: Links,
        leaves: Sequence[int],
    ) -> None:
        self.forest = forest
        self.links = links
        self.edges = list[tuple[int, ...]]()
        self.edge_reals = list[tuple[float, float, float]]()
        self.first_edge = [0]
        self.depths = list[int]()
        self._on_the_way = self._vertices_above(leaves)
        for root, end in pairwise(forest.first_node.tolist()):
            depth = self._walk_tree(root) if root < end else 1
            self.depths.append(depth)
            self.first_edge.append(len(self.edges))

    def _vertices_above(self, leaves: Sequence[int]) -> set[int]:
        """Return the leaves as vertices, and every vertex above them."""
        parents = self.links.up[:, 0].tolist()
        vertices = set[int]()
        for leaf in leaves:
            vertex = self.forest.n_nodes + leaf
            while vertex >= 0 and vertex not in vertices:
                vertices.add(vertex)
                vertex = parents[vertex]
        return vertices

    def _walk_tree(self, root: int) -> int:
        """Write a tree's edges; return the most distinct features on a path."""
        first_edge = len(self.edges)
        deepest = 1
        ahead = [_Walk(root, 0, {})]
        while ahead:
            walk = ahead.pop()
            feature = int(self.forest.feature[walk.node])
            sides = (
                (self.links.left[walk.node], 1),
                (self.links.right[walk.node], 0),
            )
            for child, is_left in sides:
                if child not in self._on_the_way:
                    continue
                share = self._write_edge(walk, child, is_left, root)
                edge = len(self.edges) - first_edge
                conditions = {**walk.conditions, feature: (edge, share)}
                deepest = max(deepest, len(conditions))
                if child < self.forest.n_nodes:
                    ahead.append(_Walk(child, edge, conditions))
        return deepest

    def _write_edge(
        self,
        walk: _Walk,
        child: int,
        is_left: int,
        root: int,
    ) -> float:
        """Write one edge; return the cover share of its feature's conditions."""
        feature = int(self.forest.feature[walk.node])
        edge_before, share_before = walk.conditions.get(feature, (0, 1.0))
        share = share_before * float(self.links.share[child])
        leaf = child - self.forest.n_nodes
        leaf_value = 0.0
        if leaf >= 0:
            leaf_value = float(self.forest.leaf_value[leaf])
        node_in_tree = walk.node - root
        edge = (walk.edge, edge_before, node_in_tree, is_left, feature)
        self.edges.append(edge)
        self.edge_reals.append((share_before, share, leaf_value))
        return share


# --- Decisions


class _Decisions(NamedTuple):
    """What the kernel needs to send rows down the trees.

    Attributes
    ----------
    sections : dict of int to array
        Sections of whole numbers.
    n_slots : int
        Number of slots: distinct combinations of a feature, the kind of its splits
        and where a missing value goes.
    ranked_thresholds : ndarray of float
        Thresholds by slot, then by size.
    """

    sections: dict[int, ArrayLike]
    n_slots: int
    ranked_thresholds: Floats


def _decisions_of(forest: Forest) -> _Decisions:
    slots, slot_of_node = _slots(forest)
    has_word = np.diff(forest.first_node) <= MOST_NODES
    nodes = np.arange(forest.n_nodes)
    tree_of_node = np.searchsorted(forest.first_node, nodes, "right") - 1
    is_categorical = forest.kind == CATEGORICAL
    ranked = np.flatnonzero(~is_categorical & has_word[tree_of_node])
    by_slot = np.lexsort((forest.threshold[ranked], slot_of_node[ranked]))
    ranked = ranked[by_slot]
    tree = tree_of_node[ranked]
    bits = 1 << (ranked - forest.first_node[tree])
    slot_numbers = np.arange(len(slots) + 1)
    first_rank = np.searchsorted(slot_of_node[ranked], slot_numbers)
    middle = np.zeros(len(has_word), dtype=np.int64)
    for first, last in pairwise(first_rank):
        goes_left = slice((first + last) // 2, last)
        np.bitwise_or.at(middle, tree[goes_left], bits[goes_left])
    categorical_nodes = np.flatnonzero(is_categorical)
    first_categorical = np.searchsorted(categorical_nodes, forest.first_node)
    sections: dict[int, ArrayLike] = {
        kernel.SLOTS: slots,
        kernel.FIRST_RANK: first_rank,
        kernel.RANKED: np.stack([tree, bits], axis=1),
        kernel.MIDDLE: middle,
        kernel.FIRST_NODE: forest.first_node,
        kernel.NODE_SLOTS: slot_of_node,
        kernel.CHILDREN: np.stack([forest.right, forest.left], axis=1),
        kernel.CATEGORIES: forest.categories,
        kernel.BITSETS: forest.bitsets,
        kernel.FIRST_CATEGORICAL: first_categorical,
        kernel.CATEGORICAL_NODES: categorical_nodes,
        kernel.HAS_WORD: has_word,
    }
    return _Decisions(sections, len(slots), forest.threshold[ranked])


def _slots(forest: Forest) -> tuple[Ints, Ints]:
    """Return the slots, shape (slots, 3), and the slot of each node.

    A slot is a feature, the kind of its splits, whether a missing value goes left.
    """
    is_categorical = forest.kind == CATEGORICAL
    is_default_left = np.where(is_categorical, 0, forest.is_default_left)
    compared = np.stack([forest.feature, forest.kind, is_default_left], axis=1)
    if not len(compared):
        return compared, forest.feature
    slots, slot_of_node = np.unique(compared, axis=0, return_inverse=True)
    return slots, slot_of_node.reshape(-1)


# --- Packing


def _pack_reals(
    quadratures: Sequence[Floats],
    sections: Mapping[int, Floats],
    tables: Sequence[Floats],
) -> tuple[Floats, dict[int, int], int]:
    """Join all reals.

    Returns
    -------
    ndarray of float
        Quadratures, sections, tables; the first table begins on a cache line.
    dict of int to int
        Where each section begins.
    int
        Where the tables begin.
    """
    parts = [np.zeros(0), *quadratures]
    size = sum(len(part) for part in parts)
    starts = {}
    for key, values in sections.items():
        starts[key] = size
        parts.append(values.reshape(-1))
        size += values.size
    padding = -size % CACHE_LINE
    parts.append(np.zeros(padding))
    return np.concatenate([*parts, *tables]), starts, size + padding


def _pack_ints(
    sections: Mapping[int, ArrayLike],
    header_values: Mapping[int, int],
    tables_start: int,
) -> Ints:
    """Join the header and all sections.

    What a table says of its paths, columns and values is counted from their first
    one; here it is moved to where these begin.
    """
    arrays = {
        key: np.asarray(values, dtype=np.int64).reshape(-1)
        for key, values in sections.items()
    }
    header = np.zeros(kernel.HEADER, dtype=np.int64)
    for key, value in header_values.items():
        header[key] = value
    start = kernel.HEADER
    for key, array in arrays.items():
        header[key] = start
        start += len(array)
    starts = (header[kernel.PATHS], header[kernel.COLUMNS], tables_start)
    pointers = slice(kernel.FIRST_PATH, kernel.FIRST_REAL + 1)
    tables = arrays[kernel.TABLES].reshape(-1, kernel.TABLE_WIDTH)
    tables[:, pointers] += starts
    pairs = arrays[kernel.PAIRS].reshape(-1, kernel.PAIR_WIDTH)
    pairs[:, : kernel.TABLE_WIDTH][:, pointers] += starts
    pairs[:, kernel.TABLE_WIDTH :][:, pointers] += starts
    return np.concatenate([header, *arrays.values()])
