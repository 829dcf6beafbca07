"""The trees of a LightGBM model, read from its text as plain arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from obligor.arrays import Bools, Floats, Ints
from obligor.errors import ModelError

# The kind of a split is LightGBM's missing type, 0 none, 1 zero or 2 NaN, or this.
CATEGORICAL = 3

# Bits of LightGBM's decision_type; the missing type is in the two bits above.
_IS_CATEGORICAL = 1
_IS_DEFAULT_LEFT = 2


@dataclass(frozen=True)
class Forest:
    """Every tree of a model, one after the other; nodes and leaves in pre-order.

    Attributes
    ----------
    n_features : int
        Columns of an input row.
    first_node, first_leaf : ndarray of int, shape (trees + 1,)
        Where the nodes and leaves of each tree begin.
    feature, kind, is_default_left : ndarray of int, shape (nodes,)
        What a node splits on; its missing type, or `CATEGORICAL`; whether a missing
        value goes left.
    threshold : ndarray of float, shape (nodes,)
        A row goes left if its value is at most this; NaN for a categorical split.
    left, right : ndarray of int, shape (nodes,)
        A node, or the complement ``~leaf`` of a leaf.
    categories : ndarray of int, shape (nodes, 2)
        For a categorical split, where its 32-bit words of categories that go left
        begin and end in `bitsets`.
    bitsets : ndarray of int
        Words of categories.
    cover : ndarray of float, shape (nodes,)
        Training rows that reached a node.
    leaf_cover, leaf_value : ndarray of float, shape (leaves,)
        Training rows that reached a leaf, and what it adds to the margin.
    """

    n_features: int
    first_node: Ints
    first_leaf: Ints
    feature: Ints
    kind: Ints
    is_default_left: Ints
    threshold: Floats
    left: Ints
    right: Ints
    categories: Ints
    bitsets: Ints
    cover: Floats
    leaf_cover: Floats
    leaf_value: Floats

    @property
    def n_nodes(self) -> int:
        """Number of nodes of all trees."""
        return len(self.feature)

    @property
    def n_leaves(self) -> int:
        """Number of leaves of all trees."""
        return len(self.leaf_value)


class _Tree(NamedTuple):
    """The arrays of one tree; fields as in `Forest`."""

    feature: Ints
    kind: Ints
    is_default_left: Ints
    threshold: Floats
    left: Ints
    right: Ints
    categories: Ints
    bitsets: Ints
    cover: Floats
    leaf_cover: Floats
    leaf_value: Floats


class _Offsets(NamedTuple):
    """How many nodes, leaves and words of categories come before a tree."""

    nodes: int
    leaves: int
    words: int


def read_forest(model_text: str) -> Forest:
    """Read the trees of a model with one output.

    Parameters
    ----------
    model_text : str
        From ``Booster.model_to_string()``.

    Raises
    ------
    ModelError
        If the model has several outputs, no tree, or linear models in its leaves.
    """
    text_of_trees, _, _ = model_text.partition("\nend of trees")
    head, *blocks = text_of_trees.split("\nTree=")
    header = _fields(head)
    if header.get("num_tree_per_iteration") != "1":
        raise ModelError(
            "the model has several outputs",
            where="model",
            expected="one: a binary model",
        )
    fields_by_tree = [_fields(block) for block in blocks]
    if any(fields.get("is_linear") == "1" for fields in fields_by_tree):
        raise ModelError(
            "the model has linear models in its leaves, for which no exact "
            "explanation exists",
            where="model",
            expected="constants",
            do="train without linear_tree",
        )
    if not fields_by_tree:
        raise ModelError(
            "the model has no tree",
            where="model",
            expected="at least one",
        )
    trees = _read_trees(fields_by_tree)
    arrays: dict[str, Any] = {
        name: np.concatenate([getattr(tree, name) for tree in trees])
        for name in _Tree._fields
    }
    node_counts = [len(tree.feature) for tree in trees]
    leaf_counts = [len(tree.leaf_value) for tree in trees]
    return Forest(
        n_features=int(header["max_feature_idx"]) + 1,
        first_node=np.cumsum([0, *node_counts]),
        first_leaf=np.cumsum([0, *leaf_counts]),
        **arrays,
    )


def _read_trees(fields_by_tree: Sequence[dict[str, str]]) -> list[_Tree]:
    trees = []
    before = _Offsets(0, 0, 0)
    for fields in fields_by_tree:
        tree = _read_tree(fields, before)
        trees.append(tree)
        before = _Offsets(
            before.nodes + len(tree.feature),
            before.leaves + len(tree.leaf_value),
            before.words + len(tree.bitsets),
        )
    return trees


def _fields(block: str) -> dict[str, str]:
    fields = {}
    for line in block.split("\n"):
        name, _, value = line.partition("=")
        fields[name] = value
    return fields


def _ints(fields: dict[str, str], name: str) -> Ints:
    words = fields.get(name, "").split()
    return np.array(words, dtype=np.int64)


def _floats(fields: dict[str, str], name: str) -> Floats:
    words = fields.get(name, "").split()
    return np.array(words, dtype=np.float64)


def _read_tree(fields: dict[str, str], before: _Offsets) -> _Tree:
    """Read one tree and number its nodes and leaves in pre-order."""
    leaf_value = _floats(fields, "leaf_value")
    n_nodes = len(leaf_value) - 1
    left = _ints(fields, "left_child")[:n_nodes]
    right = _ints(fields, "right_child")[:n_nodes]
    nodes, leaves = _pre_order(left.tolist(), right.tolist())
    node_numbers = np.empty(n_nodes, dtype=np.int64)
    node_numbers[nodes] = np.arange(n_nodes) + before.nodes
    leaf_numbers = np.empty(n_nodes + 1, dtype=np.int64)
    leaf_numbers[leaves] = np.arange(n_nodes + 1) + before.leaves

    def renumber(children: Ints) -> Ints:
        if not n_nodes:
            return children
        as_nodes = node_numbers[np.maximum(children, 0)]
        as_leaves = ~leaf_numbers[~np.minimum(children, -1)]
        return np.where(children >= 0, as_nodes, as_leaves)

    decision = _ints(fields, "decision_type")[nodes]
    threshold = _floats(fields, "threshold")[nodes]
    is_categorical = decision & _IS_CATEGORICAL != 0
    word_spans = _word_spans(fields, threshold, is_categorical) + before.words
    return _Tree(
        feature=_ints(fields, "split_feature")[nodes],
        kind=np.where(is_categorical, CATEGORICAL, (decision >> 2) & 3),
        is_default_left=(decision & _IS_DEFAULT_LEFT) >> 1,
        threshold=np.where(is_categorical, np.nan, threshold),
        left=renumber(left[nodes]),
        right=renumber(right[nodes]),
        categories=np.where(is_categorical[:, None], word_spans, 0),
        bitsets=_ints(fields, "cat_threshold"),
        cover=_floats(fields, "internal_count")[:n_nodes][nodes],
        leaf_cover=_floats(fields, "leaf_count")[leaves] if n_nodes else np.ones(1),
        leaf_value=leaf_value[leaves],
    )


def _word_spans(
    fields: dict[str, str],
    threshold: Floats,
    is_categorical: Bools,
) -> Ints:
    """Return where each node's words begin and end, shape (nodes, 2).

    The threshold of a categorical split is the number of its set of categories.
    """
    boundaries = _ints(fields, "cat_boundaries")
    if not len(boundaries):
        return np.zeros((len(threshold), 2), dtype=np.int64)
    set_number = np.where(is_categorical, threshold, 0).astype(np.int64)
    begin = boundaries[set_number]
    end = boundaries[set_number + 1]
    return np.stack([begin, end], axis=1)


def _pre_order(
    left: Sequence[int], right: Sequence[int]
) -> tuple[list[int], list[int]]:
    """Return nodes and leaves in the order of a walk that goes left first."""
    nodes = list[int]()
    leaves = list[int]()
    ahead = [0 if left else -1]
    while ahead:
        child = ahead.pop()
        if child < 0:
            leaves.append(~child)
        else:
            nodes.append(child)
            ahead += [right[child], left[child]]
    return nodes, leaves
