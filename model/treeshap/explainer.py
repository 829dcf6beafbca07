"""Exact TreeSHAP of a LightGBM model at the price of a prediction.

For a leaf of value v let j run over the DISTINCT features on its path, z_j be the
share of training rows that met the conditions on j (the product over j's splits), and
o_j be 1 if the row meets them all, else 0. Path-dependent TreeSHAP (Lundberg et al.
2018) then gives

``phi_i += v (o_i - z_i) * integral over t in [0, 1] of the product over j != i of
(o_j t + z_j (1 - t))``

The integrand is a polynomial of degree d - 1, so Gauss-Legendre quadrature with
ceil(d / 2) nodes is exact.

Each tree is cut into subtrees (`model.treeshap.subtrees`). What all leaves below a
node contribute depends only on one bit per feature above it (were all its conditions
met?) and one bit per split below it. A table over these bits holds the sums; it is
filled once, and a row needs one look-up. If there are many features above, the
product splits in two: a pair of tables holds each factor at the quadrature nodes. A
tree of more than 64 leaves, or a path longer than a pair can hold, is walked: the
integral is taken down and up its edges.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

from obligor.arrays import Floats
from obligor.errors import ModelError
from obligor.model.treeshap import kernel
from obligor.model.treeshap.compiled import compiled_kernel
from obligor.model.treeshap.forest import Forest, read_forest
from obligor.model.treeshap.plan import make_plan
from obligor.model.treeshap.subtrees import Cutter, links_of

if TYPE_CHECKING:
    import shap

MOST_MEMORY_MB = 64.0  # what the tables of a model may take
LANES_OF_ROWS = 4  # rows the compiled loops take together
FEWEST_IN_BLOCK = 8  # rows from which on a block is faster than row by row


def explaining_ns(text: str, memory_mb: float = MOST_MEMORY_MB) -> float:
    """Estimate the nanoseconds in which one row is explained, from the trees alone.

    Parameters
    ----------
    text : str
        A model's text.
    memory_mb : float
        The most the tables may take, 0 or more.
    """
    forest = read_forest(text)
    cutter = Cutter(forest, links_of(forest))
    return cutter.nanoseconds(*cutter.cut(memory_mb * 1e6))


class HasModelText(Protocol):
    """A LightGBM booster."""

    def model_to_string(self) -> str:
        """Return the model as text."""


class TreeShap:
    """Exact contributions and margins of a LightGBM model with one output.

    The contributions are those of `shap.TreeExplainer` and of LightGBM's
    ``pred_contrib``.

    Parameters
    ----------
    model : Booster or str
        The model, or its text from ``model_to_string()``.
    memory_mb : float
        The most its tables may take, 0 or more.

    Attributes
    ----------
    expected_value : float
        What contributions are added to: the mean margin over the training rows.
    n_features : int
        Columns of an input row.
    plan : Plan
        What the kernel reads.
    build_s : float
        Seconds it took to fill the tables.

    Raises
    ------
    ModelError
        If the model has several outputs, or linear models in its leaves.
    """

    def __init__(
        self, model: HasModelText | str, memory_mb: float = MOST_MEMORY_MB
    ) -> None:
        started = time.perf_counter()
        text = model if isinstance(model, str) else model.model_to_string()
        forest = read_forest(text)
        self.expected_value = _expected_value(forest)
        self.n_features = forest.n_features
        self.plan = make_plan(forest, memory_mb * 1e6)
        self.build_s = time.perf_counter() - started

    @property
    def n_tables(self) -> int:
        """Number of tables."""
        return int(self.plan.ints[kernel.N_TABLES])

    @property
    def n_pairs(self) -> int:
        """Number of pairs of tables."""
        return int(self.plan.ints[kernel.N_PAIRS])

    @property
    def n_walked(self) -> int:
        """Number of edges that are walked."""
        first_edge = self.plan.ints[kernel.FIRST_EDGE]
        n_trees = self.plan.ints[kernel.N_TREES]
        return int(self.plan.ints[first_edge + n_trees])

    @property
    def table_bytes(self) -> float:
        """Size of the tables."""
        return self.plan.table_bytes

    def explain(self, rows: Floats) -> tuple[Floats, Floats]:
        """Return contributions, shape (n, features), and margins, shape (n,).

        A margin is LightGBM's raw score bit for bit, and the result for a row does
        not depend on the rows beside it.

        Raises
        ------
        ModelError
            If the rows do not have `n_features` columns.
        """
        explained = self._explain(rows, has_margin=True)
        return explained[:, :-1], explained[:, -1]

    def shap_values(self, rows: Floats) -> Floats:
        """Return the contributions of each row, shape (n, features).

        With `expected_value` they sum to the margin.
        """
        return self._explain(rows, has_margin=False)[:, :-1]

    def margin(self, rows: Floats) -> Floats:
        """Return the margin of each row, shape (n,): LightGBM's raw score, exactly."""
        checked = _padded(self._checked(rows))
        out: Floats = np.empty((1, len(checked)))
        compiled_kernel().score_rows(self.plan.ints, self.plan.reals, checked, out)
        return out.reshape(-1)[: len(rows)]

    def __call__(
        self, rows: Floats, feature_names: Sequence[str] | None = None
    ) -> shap.Explanation:
        """Return a `shap.Explanation`, which every plot of shap takes."""
        import shap  # here: a serving process never needs it

        values = self.shap_values(rows)
        base = np.full(len(values), self.expected_value)
        return shap.Explanation(
            values,
            base,
            np.asarray(rows),
            feature_names=feature_names,
        )

    def _checked(self, rows: Floats) -> Floats:
        if rows.ndim != 2 or rows.shape[1] != self.n_features:
            raise ModelError(
                f"the rows have shape {rows.shape}",
                where="TreeShap",
                expected=f"(n, {self.n_features})",
            )
        return np.ascontiguousarray(rows, dtype=np.float64)

    def _explain(self, rows: Floats, has_margin: bool) -> Floats:
        """Return contributions and, in the last column, the margins if requested."""
        checked = self._checked(rows)
        if len(rows) < FEWEST_IN_BLOCK:
            return self._explain_one_by_one(checked, has_margin)
        checked = _padded(checked)
        out = np.empty((len(checked), self.n_features + 1))
        compiled_kernel().explain_rows(
            self.plan.ints,
            self.plan.reals,
            checked,
            has_margin,
            out,
        )
        return out[: len(rows)]

    def _explain_one_by_one(self, rows: Floats, has_margin: bool) -> Floats:
        ints, reals, _ = self.plan
        out = np.empty((len(rows), self.n_features + 1))
        explained = np.empty((self.n_features + 1, 1))
        explain_row = compiled_kernel().explain_row
        for row_index, row in enumerate(rows):
            explain_row(ints, reals, row, has_margin, explained)
            out[row_index] = explained[:, 0]
        return out


def _padded(rows: Floats) -> Floats:
    """Repeat the last row up to a multiple of `LANES_OF_ROWS`.

    Rows beyond a multiple are taken one by one, and took three times as long.
    """
    missing = -len(rows) % LANES_OF_ROWS
    if not missing:
        return rows
    return np.concatenate([rows, rows[-1:].repeat(missing, axis=0)])


def _expected_value(forest: Forest) -> float:
    """Return the mean of the leaves over the training rows, tree by tree."""
    total = 0.0
    ends = zip(forest.first_leaf[:-1], forest.first_leaf[1:], strict=True)
    for first, last in ends:
        covers = forest.leaf_cover[first:last]
        values = forest.leaf_value[first:last]
        if covers.sum() > 0:
            total += float(covers @ values / covers.sum())
    return total
