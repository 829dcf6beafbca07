"""The trees of a LightGBM model, read from its text: what its predict does, as plain arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from obligor.errors import ModelError

CATEGORICAL = 3  # after LightGBM's missing types: 0 none, 1 zero, 2 NaN


@dataclass(frozen=True)
class Forest:
    """Every tree of a model, nodes and leaves numbered in pre-order, trees one after the other.

    Attributes
    ----------
    n_features : int
        Columns of an input row.
    first_node, first_leaf : array of int, shape (trees + 1,)
        Where each tree's nodes and leaves begin.
    feature, kind, is_default_left : array of int, shape (nodes,)
        What a node splits on, its missing type (or `CATEGORICAL`), where a missing value goes.
    threshold : array of float, shape (nodes,)
        Left where the value is at most this; NaN for a categorical split.
    left, right : array of int, shape (nodes,)
        A node, or the complement ``~leaf`` of a leaf.
    categories : array of int, shape (nodes, 2)
        For a categorical split, where its 32-bit words of categories that go left begin and end in `bitsets`.
    cover, leaf_cover, leaf_value : array of float
        Training rows that came by, and what a leaf adds to the margin.
    """

    n_features: int
    first_node: NDArray[np.int64]
    first_leaf: NDArray[np.int64]
    feature: NDArray[np.int64]
    kind: NDArray[np.int64]
    is_default_left: NDArray[np.int64]
    threshold: NDArray[np.float64]
    left: NDArray[np.int64]
    right: NDArray[np.int64]
    categories: NDArray[np.int64]
    bitsets: NDArray[np.int64]
    cover: NDArray[np.float64]
    leaf_cover: NDArray[np.float64]
    leaf_value: NDArray[np.float64]


def read_forest(model_text: str) -> Forest:
    """Read the trees of a model with one output.

    Parameters
    ----------
    model_text : str
        From ``Booster.model_to_string()``.

    Raises
    ------
    ModelError
        Where the model has several outputs, no tree, or leaves that hold linear models.
    """
    head, *blocks = model_text.partition("\nend of trees")[0].split("\nTree=")
    about = _fields(head)
    if about.get("num_tree_per_iteration") != "1":
        raise ModelError(
            "has several outputs", where="model", expected="one: a binary model"
        )
    trees = [_fields(block) for block in blocks]
    if any(tree.get("is_linear") == "1" for tree in trees):
        raise ModelError(
            "has linear models in its leaves", where="model", expected="constants"
        )
    if not trees:
        raise ModelError("has no tree", where="model", expected="at least one")
    parts: dict[str, Any] = {
        name: [] for name in Forest.__dataclass_fields__ if name not in _OF_MODEL
    }
    nodes = leaves = words = 0
    for tree in trees:
        for name, values in _tree(tree, nodes, leaves, words).items():
            parts[name].append(values)
        nodes, leaves = (
            nodes + len(parts["feature"][-1]),
            leaves + len(parts["leaf_value"][-1]),
        )
        words += len(parts["bitsets"][-1])
    sizes = (
        [0, *(len(part) for part in parts[name])] for name in ("feature", "leaf_value")
    )
    first_node, first_leaf = (np.cumsum(size) for size in sizes)
    return Forest(
        n_features=int(about["max_feature_idx"]) + 1,
        first_node=first_node,
        first_leaf=first_leaf,
        **{name: np.concatenate(part) for name, part in parts.items()},
    )


_OF_MODEL = ("n_features", "first_node", "first_leaf")


def _fields(block: str) -> dict[str, str]:
    return {
        name: value
        for name, _, value in (line.partition("=") for line in block.split("\n"))
    }


def _tree(
    tree: dict[str, str], nodes: int, leaves: int, words: int
) -> dict[str, NDArray[Any]]:
    """One tree's arrays; `nodes`, `leaves` and `words` of other trees come before."""

    def ints(name: str) -> NDArray[np.int64]:
        return np.array(tree.get(name, "").split(), dtype=np.int64)

    def reals(name: str) -> NDArray[np.float64]:
        return np.array(tree.get(name, "").split(), dtype=np.float64)

    leaf_value = reals("leaf_value")
    n = len(leaf_value) - 1
    left, right = ints("left_child")[:n], ints("right_child")[:n]
    order, leaf_order = _pre_order(left.tolist(), right.tolist())
    place, leaf_place = np.empty(n, dtype=np.int64), np.empty(n + 1, dtype=np.int64)
    place[order], leaf_place[leaf_order] = (
        np.arange(n) + nodes,
        np.arange(n + 1) + leaves,
    )

    def children(old: NDArray[np.int64]) -> NDArray[np.int64]:
        return (
            np.where(
                old >= 0, place[np.maximum(old, 0)], ~leaf_place[~np.minimum(old, -1)]
            )
            if n
            else old
        )

    decision, threshold = ints("decision_type")[order], reals("threshold")[order]
    is_categorical = (decision & 1) == 1
    bounds = ints("cat_boundaries")
    which = np.where(is_categorical, threshold, 0).astype(np.int64)
    spans = (
        np.stack([bounds[which], bounds[which + 1]], axis=1)
        if len(bounds)
        else np.zeros((n, 2), dtype=np.int64)
    )
    return {
        "feature": ints("split_feature")[order],
        "kind": np.where(is_categorical, CATEGORICAL, (decision >> 2) & 3),
        "is_default_left": (decision >> 1) & 1,
        "threshold": np.where(is_categorical, np.nan, threshold),
        "left": children(left[order]),
        "right": children(right[order]),
        "categories": np.where(is_categorical[:, None], spans + words, 0),
        "bitsets": ints("cat_threshold"),
        "cover": reals("internal_count")[:n][order],
        "leaf_cover": reals("leaf_count")[leaf_order] if n else np.ones(1),
        "leaf_value": leaf_value[leaf_order],
    }


def _pre_order(
    left: Sequence[int], right: Sequence[int]
) -> tuple[list[int], list[int]]:
    """Nodes and leaves in the order of a walk that goes left first."""
    nodes, leaves, ahead = list[int](), list[int](), [0 if left else -1]
    while ahead:
        place = ahead.pop()
        if place < 0:
            leaves.append(~place)
        else:
            nodes.append(place)
            ahead += [right[place], left[place]]
    return nodes, leaves
