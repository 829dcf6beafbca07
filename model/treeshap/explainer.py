"""Exact TreeSHAP of a LightGBM model at the price of a prediction.

For a leaf of value v let j run over the DISTINCT features on its path, z_j be the share of training
rows that met the conditions on j (the product over j's splits), o_j 1 where the row meets them all, else 0.
Path-dependent TreeSHAP (Lundberg et al. 2018) then gives

``phi_i += v (o_i - z_i) * integral over t in [0, 1] of the product over j != i of (o_j t + z_j (1 - t))``

The integrand is a polynomial of degree d - 1, so Gauss-Legendre with ceil(d / 2) nodes is exact.

Each tree is cut into subtrees (`training.subtrees`). What all leaves below a node contribute depends only
on one bit per feature above it (were all its conditions met?) and one bit per split below it: a table over
these bits holds the sums, filled once, and a row needs one look-up. Where there are many features above, the
product splits in two: a pair of tables holds each factor at the quadrature's nodes. A tree of more than 64
leaves, or a path longer than a pair can hold, is walked: the integral is taken down and up its edges.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise
from typing import Any, Protocol

import numpy as np

from obligor.arrays import Floats, Ints
from obligor.errors import ModelError
from obligor.model.treeshap import kernel
from obligor.model.treeshap.forest import CATEGORICAL, Forest, read_forest
from obligor.model.treeshap.subtrees import (
    MOST_NODES,
    Cutter,
    Links,
    Subtree,
    fill_table,
    leaf_table,
    links_of,
)


class HasModelText(Protocol):
    """A LightGBM booster."""

    def model_to_string(self) -> str:
        """Return the model as text."""


LANES_OF_ROWS = 4  # rows the compiled loops take together
FEWEST = 8  # rows from which on a block is faster than row by row


class TreeShap:
    """Exact contributions and margins of a LightGBM model with one output, as `shap.TreeExplainer` gives them.

    Parameters
    ----------
    model : Booster or str
        The model, or what its ``model_to_string()`` returns.
    memory_mb : float
        The most its tables may take.

    Attributes
    ----------
    expected_value : float
        What margin and contributions start from.
    n_features : int
        Columns of an input row.
    n_tables, n_pairs, n_walked : int
        Tables, pairs of tables, and edges that are walked.
    table_bytes, build_s : float
        What the tables take, and how long they took to fill.

    Raises
    ------
    ModelError
        Where the model has several outputs, or linear models in its leaves.
    """

    def __init__(self, model: HasModelText | str, memory_mb: float = 64) -> None:
        started = time.perf_counter()
        forest = read_forest(
            model if isinstance(model, str) else model.model_to_string()
        )
        plan = _planned(forest, memory_mb * 1e6)
        self.expected_value, self.n_features = (
            _expected_value(forest),
            forest.n_features,
        )
        self._plan, self._reals, self.table_bytes = plan
        self.n_tables, self.n_pairs = (
            int(self._plan[kernel.N_TABLES]),
            int(self._plan[kernel.N_PAIRS]),
        )
        self.n_walked = int(
            self._plan[self._plan[kernel.FIRST_EDGE] + self._plan[kernel.N_TREES]]
        )
        self.build_s = time.perf_counter() - started

    def explain(self, rows: Floats) -> tuple[Floats, Floats]:
        """Return contributions, shape (n, features), and margins, shape (n,).

        A margin is LightGBM's raw score bit for bit, and a row's answer does not depend on the rows beside it.
        """
        out = self._explained(rows, True)
        return out[:, :-1], out[:, -1]

    def shap_values(self, rows: Floats) -> Floats:
        """Return the contributions of each row, shape (n, features); with `expected_value` they sum to the margin."""
        return self._explained(rows, False)[:, :-1]

    def margin(self, rows: Floats) -> Floats:
        """Return the margin of each row, shape (n,): LightGBM's raw score, bit for bit."""
        rows, n = self._checked(rows), len(rows)
        rows = _padded(rows)
        out: Floats = np.empty((1, len(rows)))
        _compiled().score_rows(self._plan, self._reals, rows, out)
        return out.reshape(-1)[:n]

    def _checked(self, rows: Floats) -> Floats:
        if rows.ndim != 2 or rows.shape[1] != self.n_features:
            raise ModelError(
                f"rows have shape {rows.shape}",
                where="TreeShap",
                expected=f"(n, {self.n_features})",
            )
        return np.ascontiguousarray(rows, dtype=np.float64)

    def _explained(self, rows: Floats, has_margin: bool) -> Floats:
        rows, n = self._checked(rows), len(rows)
        if n < FEWEST:
            out = np.empty((n, self.n_features + 1))
            one = np.empty((self.n_features + 1, 1))
            for place, row in enumerate(rows):
                _compiled().explain_row(self._plan, self._reals, row, has_margin, one)
                out[place] = one[:, 0]
            return out
        rows = _padded(rows)
        out = np.empty((len(rows), self.n_features + 1))
        _compiled().explain_rows(self._plan, self._reals, rows, has_margin, out)
        return out[:n]

    def __call__(self, rows: Floats, feature_names: Sequence[str] | None = None) -> Any:
        """Return a `shap.Explanation`, which shap's plots take."""
        import shap  # here: a serving process never needs it

        values = self.shap_values(rows)
        base = np.full(len(values), self.expected_value)
        return shap.Explanation(
            values, base, np.asarray(rows), feature_names=feature_names
        )


def _padded(rows: Floats) -> Floats:
    """Rows up to a multiple of `LANES_OF_ROWS`: those beyond one are taken one by one, and took three times as long."""
    missing = -len(rows) % LANES_OF_ROWS
    return (
        np.concatenate([rows, rows[-1:].repeat(missing, axis=0)]) if missing else rows
    )


@dataclass(frozen=True)
class _Compiled:
    explain_row: Callable[..., None]
    explain_rows: Callable[..., None]
    score_rows: Callable[..., None]
    fill_table: Callable[..., None]
    leaf_table: Callable[..., Floats]


@cache
def _compiled() -> _Compiled:
    """The loops, compiled (and kept on disk) by numba; inlined, since a call with arrays costs 50 ns there."""
    import numba

    numba.config.SLP_VECTORIZE = 1  # several lanes at once: `product`
    mains = {"explain_row", "explain_rows", "score_rows", "fetch_ahead"}
    for name, function in vars(kernel).items():
        if getattr(function, "__module__", "") == kernel.__name__ and name not in mains:
            options = (
                {} if name == "add_walks" else {"_nrt": False}
            )  # no counting of references
            numba.extending.register_jitable(
                forceinline=True, error_model="numpy", **options
            )(function)
    numba.extending.register_jitable(forceinline=True, error_model="numpy")(leaf_table)
    _overload_fetch()
    functions = (
        kernel.explain_row,
        kernel.explain_rows,
        kernel.score_rows,
        fill_table,
        leaf_table,
    )
    return _Compiled(
        *(
            numba.njit(cache=True, error_model="numpy")(function)
            for function in functions
        )
    )


def _overload_fetch() -> None:
    """Compile `fetch_ahead` to the processor's prefetch: 1.3 times as fast for one row, whose tables are not cached."""
    import numba
    from llvmlite import ir
    from numba.core import cgutils

    @numba.extending.intrinsic  # type: ignore[untyped-decorator]
    def prefetch(_: Any, array: Any, index: Any) -> Any:
        def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            data = context.make_array(signature.args[0])(
                context, builder, arguments[0]
            ).data
            whole = ir.IntType(32)
            place = builder.bitcast(
                builder.gep(data, [arguments[1]]), ir.PointerType(ir.IntType(8))
            )
            kind = ir.FunctionType(ir.VoidType(), [place.type, whole, whole, whole])
            function = cgutils.get_or_insert_function(
                builder.module, kind, "llvm.prefetch.p0i8"
            )
            builder.call(
                function, [place, whole(0), whole(3), whole(1)]
            )  # to read, keep in every cache, data
            return context.get_dummy_value()

        return numba.types.void(array, index), code

    overload = numba.extending.overload(
        kernel.fetch_ahead, jit_options={"forceinline": True, "_nrt": False}
    )
    overload(lambda reals, at: lambda reals, at: prefetch(reals, at))


def _expected_value(f: Forest) -> float:
    """The mean of the leaves over the training rows, tree by tree."""
    total = 0.0
    for first, last in zip(f.first_leaf[:-1], f.first_leaf[1:], strict=True):
        covers, values = f.leaf_cover[first:last], f.leaf_value[first:last]
        total += float(covers @ values / covers.sum()) if covers.sum() > 0 else 0.0
    return total


class _Tables:
    """The tables of a forest, one after the other, and where each begins."""

    def __init__(self, f: Forest, links: Links) -> None:
        self.f, self.links, self.values, self.size = f, links, list[Floats](), 0
        self.tables, self.pairs = list[tuple[int, ...]](), list[tuple[int, ...]]()
        self.paths, self.columns = list[tuple[int, int]](), list[int]()

    def add(self, subtree: Subtree) -> None:
        """Fill the table of a subtree, in which the integral is taken already, or its pair of tables."""
        features = len(subtree.columns) + len(subtree.upper)
        if not subtree.chunks:
            filled = self._filled(subtree, _gauss_legendre((features + 1) // 2)).sum(
                axis=1
            )[:, 1:]
            self.tables.append(
                self._row(subtree, subtree.paths, subtree.columns, filled)
            )
            return
        quadrature = _gauss_legendre(subtree.chunks * kernel.LANES)
        z = dict.fromkeys(subtree.upper, 1.0)
        for _, _, name, share in self._above(subtree.root):
            if name in z:
                z[name] *= share
        nodes = np.stack([quadrature[0], np.ones_like(quadrature[0])])
        upper = _compiled().leaf_table(1.0, np.array(list(z.values())), nodes)
        lower = _by_chunk(self._filled(subtree, quadrature))
        above = replace(subtree, bits=0)
        self.pairs.append(
            (
                *self._row(subtree, subtree.paths, subtree.columns, lower),
                *self._row(above, subtree.upper, subtree.upper, _by_chunk(upper)),
                subtree.chunks,
            )
        )

    def _filled(self, subtree: Subtree, quadrature: Floats) -> Floats:
        shape = (
            1 << (subtree.bits + len(subtree.paths)),
            quadrature.shape[1],
            len(subtree.columns) + 1,
        )
        filled = np.zeros(shape)
        _compiled().fill_table(
            subtree.root,
            np.array(subtree.leaves),
            subtree.bits,
            np.array(subtree.paths, dtype=np.int64),
            np.array(subtree.columns, dtype=np.int64),
            self.links.up,
            self.links.share,
            self.f.leaf_value,
            quadrature,
            filled,
        )
        return filled

    def _row(
        self, subtree: Subtree, paths: list[int], columns: list[int], values: Floats
    ) -> tuple[int, ...]:
        """Keep a table; returns what the kernel needs to look it up."""
        tree = self._tree(subtree.root)
        first = int(self.f.first_node[tree])
        start = 2 * len(self.paths), len(self.columns), self.size
        wanted, mask = dict.fromkeys(paths, 0), dict.fromkeys(paths, 0)
        for parent, is_left, name, _ in self._above(subtree.root):
            if name in mask:
                mask[name] |= 1 << (parent - first)
                wanted[name] |= is_left << (parent - first)
        self.paths += [(wanted[name], mask[name]) for name in paths]
        self.columns += columns
        self.values.append(values.reshape(-1))
        self.size += values.size
        shift = subtree.root - first if subtree.bits else 0
        return (
            shift,
            (1 << subtree.bits) - 1,
            subtree.bits,
            len(paths),
            len(columns),
            *start,
            tree,
        )

    def _tree(self, place: int) -> int:
        n = len(self.f.feature)
        firsts = self.f.first_node if place < n else self.f.first_leaf + n
        return int(np.searchsorted(firsts, place, "right")) - 1

    def _above(self, place: int) -> Iterator[tuple[int, int, int, float]]:
        """Parent, is_left, feature and cover share of each step up from a place."""
        while self.links.up[place, 0] >= 0:
            yield *map(int, self.links.up[place]), float(self.links.share[place])  # type: ignore[misc]
            place = self.links.up[place, 0]


class _Walks:
    """The edges that lead to leaves outside tables, tree by tree in pre-order."""

    def __init__(self, f: Forest, links: Links, leaves: Sequence[int]) -> None:
        n, up = len(f.feature), links.up[:, 0].tolist()
        self.edges, self.reals = list[tuple[int, ...]](), list[tuple[float, ...]]()
        wanted = set[int]()
        for leaf in leaves:
            place = n + leaf
            while place >= 0 and place not in wanted:
                wanted.add(place)
                place = up[place]
        values = f.leaf_value.tolist()
        self.first, self.depths = [0], list[int]()
        for root, last in zip(
            f.first_node[:-1].tolist(), f.first_node[1:].tolist(), strict=True
        ):
            base, deepest = len(self.edges), 1
            ahead: list[tuple[int, int, dict[int, tuple[int, float]]]] = (
                [(root, 0, {})] if root < last else []
            )
            while ahead:
                node, edge, state = ahead.pop()
                name = int(f.feature[node])
                before, before_share = state.get(name, (0, 1.0))
                for child, is_left in ((links.left[node], 1), (links.right[node], 0)):
                    if child not in wanted:
                        continue
                    share = before_share * float(links.share[child])
                    self.edges.append((edge, before, node - root, is_left, name))
                    self.reals.append(
                        (before_share, share, values[child - n] if child >= n else 0.0)
                    )
                    here = len(self.edges) - base
                    below = {**state, name: (here, share)}
                    deepest = max(deepest, len(below))
                    if child < n:
                        ahead.append((child, here, below))
            self.first.append(len(self.edges))
            self.depths.append(deepest)


def _planned(f: Forest, most_bytes: float) -> tuple[Ints, Floats, float]:
    """The two arrays the kernel reads, and the size of the tables."""
    links = links_of(f)
    subtrees, walked = Cutter(f, links).cut(most_bytes)
    # Neighbours of one shape: the processor foresees how often each loop turns.
    subtrees.sort(
        key=lambda s: (s.chunks, len(s.paths), len(s.columns), len(s.upper), s.root)
    )
    tables, walks = _Tables(f, links), _Walks(f, links, walked)
    for subtree in subtrees:
        tables.add(subtree)
    nodes = [(depth + 1) // 2 for depth in walks.depths]
    quadratures = {n: _gauss_legendre(n).reshape(-1) for n in sorted(set(nodes))}
    nodes_at = dict(
        zip(
            quadratures,
            np.cumsum([0, *map(len, quadratures.values())]).tolist(),
            strict=False,
        )
    )
    ints, reals = _decisions(f)
    ints |= {
        kernel.TABLES: tables.tables,
        kernel.PAIRS: tables.pairs,
        kernel.PATHS: tables.paths,
        kernel.COLUMNS: tables.columns,
        kernel.FIRST_EDGE: walks.first,
        kernel.EDGES: walks.edges,
        kernel.QUADRATURES: [(n, nodes_at[n]) for n in nodes],
    }
    counts = {
        kernel.N_FEATURES: f.n_features,
        kernel.N_TREES: len(nodes),
        kernel.N_SLOTS: len(ints[kernel.SLOTS]),
        kernel.N_TABLES: len(tables.tables),
        kernel.N_PAIRS: len(tables.pairs),
        kernel.N_NODES: int(np.diff(f.first_node).max(initial=0)),
        kernel.N_EDGES: int(np.diff(walks.first).max(initial=0)),
        kernel.N_QUADRATURE: max(nodes, default=1),
    }
    reals[kernel.EDGE_REALS] = walks.reals
    return *_packed(
        ints, reals, counts, [*quadratures.values()], tables
    ), 8 * tables.size


def _packed(
    ints: Mapping[int, Any],
    reals: Mapping[int, Any],
    counts: Mapping[int, int],
    first: list[Floats],
    tables: _Tables,
) -> tuple[Ints, Floats]:
    """One array of whole numbers, one of reals; what points into them is moved to where its section begins."""
    header = np.zeros(kernel.HEADER, dtype=np.int64)
    sections = {
        key: np.asarray(values, dtype=np.int64).reshape(-1)
        for key, values in ints.items()
    }
    parts = [np.zeros(0), *first]
    for key, values in reals.items():
        header[key] = sum(map(len, parts))
        parts.append(np.asarray(values, dtype=np.float64).reshape(-1))
    parts.append(np.zeros(-sum(map(len, parts)) % 8))  # tables begin on a cache line
    header[list(counts)] = list(counts.values())
    header[list(sections)] = (
        kernel.HEADER + np.cumsum([0, *map(len, sections.values())])[:-1]
    )
    moved = header[kernel.PATHS], header[kernel.COLUMNS], sum(map(len, parts))
    for key, width, tables_at in (
        (kernel.TABLES, kernel.TABLE_WIDTH, (0,)),
        (kernel.PAIRS, kernel.PAIR_WIDTH, (0, kernel.TABLE_WIDTH)),
    ):
        for at in tables_at:
            sections[key].reshape(-1, width)[:, at + 5 : at + 8] += moved
    return np.concatenate([header, *sections.values()]), np.concatenate(
        [*parts, *tables.values]
    )


def _decisions(f: Forest) -> tuple[dict[int, Any], dict[int, Any]]:
    """What the kernel needs to send rows down the trees."""
    is_categorical = f.kind == CATEGORICAL
    keys = np.stack(
        [f.feature, f.kind, np.where(is_categorical, 0, f.is_default_left)], axis=1
    )
    slots, node_slots = (
        np.unique(keys, axis=0, return_inverse=True) if len(keys) else (keys, f.feature)
    )
    node_slots = node_slots.reshape(-1)
    tree = np.searchsorted(f.first_node, np.arange(len(f.feature)), "right") - 1
    has_word = np.diff(f.first_node) <= MOST_NODES
    ranked = (
        np.flatnonzero(~is_categorical & has_word[tree])
        if len(tree)
        else np.zeros(0, dtype=np.int64)
    )
    ranked = ranked[np.lexsort((f.threshold[ranked], node_slots[ranked]))]
    bits = 1 << (ranked - f.first_node[tree[ranked]]) if len(ranked) else ranked
    first_rank = np.searchsorted(node_slots[ranked], np.arange(len(slots) + 1))
    middle = np.zeros(len(has_word), dtype=np.int64)
    for first, last in pairwise(first_rank):
        goes_left = slice((first + last) // 2, last)
        np.bitwise_or.at(middle, tree[ranked[goes_left]], bits[goes_left])
    categorical = np.flatnonzero(is_categorical)
    ints = {
        kernel.SLOTS: slots,
        kernel.FIRST_RANK: first_rank,
        kernel.RANKED: np.stack([tree[ranked], bits], axis=1),
        kernel.MIDDLE: middle,
        kernel.FIRST_NODE: f.first_node,
        kernel.NODE_SLOTS: node_slots,
        kernel.CHILDREN: np.stack([f.right, f.left], axis=1),
        kernel.CATEGORIES: f.categories,
        kernel.BITSETS: f.bitsets,
        kernel.FIRST_CATEGORICAL: np.searchsorted(categorical, f.first_node),
        kernel.CATEGORICAL_NODES: categorical,
        kernel.HAS_WORD: has_word,
    }
    reals = {
        kernel.RANKED_THRESHOLDS: f.threshold[ranked],
        kernel.THRESHOLDS: f.threshold,
        kernel.LEAF_VALUES: f.leaf_value,
    }
    return ints, reals


def _by_chunk(table: Floats) -> Floats:
    """Shape (patterns, nodes, columns) as (patterns, chunks, columns, lanes)."""
    patterns, nodes, columns = table.shape
    return table.reshape(
        patterns, nodes // kernel.LANES, kernel.LANES, columns
    ).swapaxes(2, 3)


@cache
def _gauss_legendre(n: int) -> Floats:
    """Nodes and weights on [0, 1], shape (2, n): exact for polynomials of degree 2 n - 1."""
    nodes, weights = np.polynomial.legendre.leggauss(n)
    return np.stack([(nodes + 1) / 2, weights / 2])
