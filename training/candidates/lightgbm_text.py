"""LightGBM's model text, written: trees of several models as one, and a scorecard as trees.

A sum of models whose margins add is one list of trees. As one text it is read, served and explained like any model: by
LightGBM itself, and exactly by `training.treeshap`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

HUGE = 1.7976931348623157e308  # every number is at most this: only a missing value goes right
_NUMBER, _CATEGORY = (
    8,
    1,
)  # decision types: a number whose missing values (NaN) go right; a category


def blended(
    parts: Sequence[tuple[str, float]], constant: float, names: Sequence[str]
) -> str:
    """Return the model whose margin is the weighted sum of the parts' margins, plus a constant.

    Parameters
    ----------
    parts : sequence of (str, float)
        Model texts and weights; parts without weight are left out.
    names : sequence of str
        The columns, the same for all parts.
    """
    trees = [
        _scaled(tree, weight)
        for text, weight in parts
        if weight
        for tree in trees_of(text)
    ]
    return written(
        [leaf_alone(constant), *trees] if constant or not trees else trees, names
    )


def trees_of(text: str) -> Iterator[str]:
    """Give the lines of each tree of a model, without its number."""
    for block in text.partition("\nend of trees")[0].split("\nTree=")[1:]:
        yield block.partition("\n")[2].strip("\n")


def written(trees: Sequence[str], names: Sequence[str]) -> str:
    """Return the model text of some trees."""
    blocks = [f"Tree={n}\n{tree}\n\n\n" for n, tree in enumerate(trees)]
    head = [
        "tree",
        "version=v4",
        "num_class=1",
        "num_tree_per_iteration=1",
        "label_index=0",
        f"max_feature_idx={len(names) - 1}",
        "objective=binary sigmoid:1",
        f"feature_names={' '.join(f'column_{n}' for n in range(len(names)))}",  # a name may hold a blank
        f"feature_infos={' '.join('[-inf:inf]' for _ in names)}",
        f"tree_sizes={' '.join(str(len(block.encode())) for block in blocks)}",
        "",
        "",
    ]
    return (
        "\n".join(head)
        + "".join(blocks)
        + "end of trees\n\nparameters:\n\nend of parameters\n"
    )


def leaf_alone(value: float) -> str:
    """Return a tree that gives every row the same."""
    return (
        f"num_leaves=1\nnum_cat=0\nsplit_feature=\nsplit_gain=\nthreshold=\ndecision_type=\nleft_child=\n"
        f"right_child=\nleaf_value={value!r}\nleaf_weight=\nleaf_count=\ninternal_value=\ninternal_weight=\n"
        f"internal_count=\nis_linear=0\nshrinkage=1"
    )


def number_tree(
    feature: int,
    thresholds: Sequence[float],
    values: Sequence[float],
    counts: Sequence[int],
) -> str:
    """Return a tree over one column of numbers.

    Parameters
    ----------
    thresholds : sequence of float
        Rising; a value goes into the first bin whose threshold it does not exceed.
    values, counts : sequence, len(thresholds) + 2
        Of each bin, and last of what is missing.
    """
    return _chain(
        feature,
        [repr(float(t)) for t in (HUGE, *thresholds)],
        _NUMBER,
        [values[-1], *values[:-1]],
        [counts[-1], *counts[:-1]],
        is_first_right=True,
    )


def category_tree(feature: int, values: Sequence[float], counts: Sequence[int]) -> str:
    """Return a tree over one column of codes 0, 1, ...; last is what was never seen, or is missing."""
    return _chain(
        feature,
        [str(n) for n in range(len(values) - 1)],
        _CATEGORY,
        values,
        counts,
        is_first_right=False,
    )


def _chain(
    feature: int,
    thresholds: Sequence[str],
    kind: int,
    values: Sequence[float],
    counts: Sequence[int],
    is_first_right: bool,
) -> str:
    """Node after node: each sends one leaf aside, the last two; the first node's leaf is on the right if so asked."""
    n = len(thresholds)
    left, right = [~k for k in range(n)], [*range(1, n), ~n]
    if is_first_right:
        left[0], right[0] = right[0], left[0]
    covers = [sum(counts[k:]) for k in range(n)]
    words = max(1, (n + 31) // 32)
    lines = {
        "num_leaves": [n + 1],
        "num_cat": [n if kind == _CATEGORY else 0],
        "split_feature": [feature] * n,
        "split_gain": [0] * n,
        "threshold": thresholds,
        "decision_type": [kind] * n,
        "left_child": left,
        "right_child": right,
        "leaf_value": [repr(float(value)) for value in values],
        "leaf_weight": counts,
        "leaf_count": counts,
        "internal_value": [0] * n,
        "internal_weight": covers,
        "internal_count": covers,
    }
    if kind == _CATEGORY:
        bits = [
            1 << k % 32 if k // 32 == word else 0
            for k in range(n)
            for word in range(words)
        ]
        lines |= {
            "cat_boundaries": [words * k for k in range(n + 1)],
            "cat_threshold": bits,
        }
    lines |= {"is_linear": [0], "shrinkage": [1]}
    return "\n".join(
        f"{name}={' '.join(map(str, values))}" for name, values in lines.items()
    )


def _scaled(tree: str, weight: float) -> str:
    if weight == 1:
        return tree
    lines = []
    for line in tree.split("\n"):
        name, _, values = line.partition("=")
        if name in ("leaf_value", "internal_value"):
            line = f"{name}={' '.join(repr(float(value) * weight) for value in values.split())}"
        lines.append(line)
    return "\n".join(lines)
