"""An XGBoost model, read from its JSON and written as LightGBM's text, exactly.

XGBoost compares 32-bit floats and sends a value to the left if it is *below* the
threshold; LightGBM compares 64-bit floats and sends it to the left if it is *at most*
the threshold. Each threshold becomes the largest 64-bit number that XGBoost would still
round to a 32-bit number below its own. Covers are the sums of hessians, so that
contributions are those of XGBoost's own TreeSHAP.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from math import isfinite, log
from typing import TypedDict

import numpy as np

from obligor.arrays import Floats, Ints
from obligor.training.candidates.lightgbm_text import constant_tree, model_text
from obligor.training.outside.outside_model import (
    OutsideModel,
    require,
    require_names,
)

OBJECTIVES = ("binary:logistic", "binary:logitraw", "reg:logistic")
NAN_GOES_RIGHT = 8  # LightGBM's decision type: missing values are NaN
NAN_GOES_LEFT = 10
WHOLE_COVER = 1_000_000_000  # LightGBM's counts are whole: shares of so many rows


class TreeFields(TypedDict):
    """One tree of XGBoost's JSON; a leaf's value is its split condition."""

    left_children: list[int]
    right_children: list[int]
    split_indices: list[int]
    split_conditions: list[float]
    default_left: list[int]
    sum_hessian: list[float]
    split_type: list[int]


def read_xgboost(content: str) -> OutsideModel:
    """Read a model from the JSON of ``Booster.save_model("model.json")``.

    Raises
    ------
    ModelError
        If it is not a binary model of trees, or splits on categories.
    """
    learner = json.loads(content)["learner"]
    objective = learner["objective"]["name"]
    require(
        objective in OBJECTIVES,
        f"the objective is {objective}",
        f"a probability of default: one of {', '.join(OBJECTIVES)}",
    )
    booster = learner["gradient_booster"]
    require(
        booster["name"] in ("gbtree", "dart"),
        f"the booster is {booster['name']}",
        "trees: gbtree or dart",
        "register a linear model as coefficients",
    )
    parts = (
        booster["gbtree"]["model"] if booster["name"] == "dart" else booster["model"]
    )
    require(
        not any(parts["tree_info"]),
        "the model has several outputs",
        "one: the default",
    )
    trees: list[TreeFields] = parts["trees"]
    weights = booster.get("weight_drop") or [1.0] * len(trees)
    used, notes = _used_trees(learner.get("attributes", {}), parts, len(trees))
    texts = [constant_tree(_base_margin(learner["learner_model_param"]))]
    for tree, weight in zip(trees[:used], weights, strict=False):
        texts.append(_tree_text(tree, float(weight)))
    n_columns = int(learner["learner_model_param"]["num_feature"])
    return OutsideModel(
        kind="XGBoost JSON",
        text=model_text(texts, n_columns),
        columns=require_names(learner.get("feature_names", ())),
        notes=notes,
    )


def _used_trees(
    attributes: Mapping[str, str],
    parts: Mapping[str, Mapping[str, str]],
    n_trees: int,
) -> tuple[int, tuple[str, ...]]:
    """Return how many trees count: up to the best iteration, as XGBClassifier does."""
    if "best_iteration" not in attributes:
        return n_trees, ()
    parallel = int(parts["gbtree_model_param"].get("num_parallel_tree", "1"))
    used = min(n_trees, (int(attributes["best_iteration"]) + 1) * max(parallel, 1))
    note = (
        f"early stopping chose {used} of {n_trees} trees: the others are left out, as "
        "XGBClassifier does"
    )
    return used, (note,)


def _base_margin(parameters: Mapping[str, str]) -> float:
    """Return the log-odds that the trees are added to.

    Examples
    --------
    >>> _base_margin({"base_score": "5E-1"}), _base_margin({"base_score": "[5E-1]"})
    (0.0, 0.0)
    """
    base = float(parameters["base_score"].strip("[]").split(",")[0])
    require(
        0 < base < 1 and isfinite(base),
        f"the base score is {base}",
        "a probability between 0 and 1",
    )
    return log(base / (1 - base))


def _tree_text(tree: TreeFields, weight: float) -> str:
    left = np.array(tree["left_children"], dtype=np.int64)
    nodes = np.flatnonzero(left >= 0)
    leaves = np.flatnonzero(left < 0)
    values = np.array(tree["split_conditions"], dtype=np.float64) * weight
    if not len(nodes):
        return constant_tree(float(values[0]))
    kinds = np.array(tree.get("split_type", [0]))
    require(
        not kinds.any(),
        "the model splits on categories",
        "numbers: one column for each level of a category",
        "train it on one-hot columns, or without enable_categorical",
    )
    right = np.array(tree["right_children"], dtype=np.int64)
    is_left = np.array(tree["default_left"], dtype=bool)
    covers = _covers(np.array(tree["sum_hessian"], dtype=np.float64), left, right)
    place = np.empty(len(left), dtype=np.int64)
    place[nodes] = np.arange(len(nodes))
    place[leaves] = ~np.arange(len(leaves))
    thresholds = [_threshold(value) for value in values[nodes] / weight]
    features = np.array(tree["split_indices"], dtype=np.int64)
    decision = np.where(is_left[nodes], NAN_GOES_LEFT, NAN_GOES_RIGHT)
    fields: dict[str, Sequence[object]] = {
        "num_leaves": [len(leaves)],
        "num_cat": [0],
        "split_feature": features[nodes].tolist(),
        "split_gain": [0] * len(nodes),
        "threshold": [repr(threshold) for threshold in thresholds],
        "decision_type": decision.tolist(),
        "left_child": place[left[nodes]].tolist(),
        "right_child": place[right[nodes]].tolist(),
        "leaf_value": [repr(value) for value in values[leaves].tolist()],
        "leaf_weight": covers[leaves].tolist(),
        "leaf_count": covers[leaves].tolist(),
        "internal_value": [0] * len(nodes),
        "internal_weight": covers[nodes].tolist(),
        "internal_count": covers[nodes].tolist(),
        "is_linear": [0],
        "shrinkage": [1],
    }
    return "\n".join(
        f"{name}={' '.join(map(str, entries))}" for name, entries in fields.items()
    )


def _covers(
    hessian: Floats,
    left: Ints,
    right: Ints,
) -> Ints:
    """Return whole numbers in proportion to the hessians, added up from the leaves."""
    largest = max(float(hessian[0]), 1e-300)
    covers = np.maximum(np.rint(hessian / largest * WHOLE_COVER), 1).astype(np.int64)
    # Children stand behind their parents.
    for node in np.flatnonzero(left >= 0)[::-1]:
        covers[node] = covers[left[node]] + covers[right[node]]
    return covers


def _threshold(value: float) -> float:
    """Return the largest number that XGBoost sends to the left of a threshold.

    Examples
    --------
    >>> largest = _threshold(1.0)
    >>> bool(np.float32(largest) < 1), bool(np.float32(np.nextafter(largest, 2)) < 1)
    (True, False)
    """
    above = np.float32(value)
    below = np.nextafter(above, np.float32(-np.inf))
    middle = (float(above) + float(below)) / 2
    # A number in the middle is rounded to the neighbour whose last bit is 0.
    if np.float32(middle) < above:
        return middle
    return float(np.nextafter(middle, -np.inf))
