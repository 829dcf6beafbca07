"""Writing LightGBM's model text: several models as one, and a scorecard as trees.

Models whose margins add up are one list of trees. As one text they are read, served
and explained like any model: by LightGBM itself, and exactly by `model.treeshap`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

LARGEST = 1.7976931348623157e308  # every number is at most this; only NaN goes right
_NUMBER = 8  # decision type of a number whose missing values go right
_CATEGORY = 1  # decision type of a category
_WORD = 32  # bits of a word of categories


def blend_texts(
    weighted_texts: Sequence[tuple[str, float]],
    constant: float,
    n_columns: int,
) -> str:
    """Return the model whose margin is a weighted sum of margins, plus a constant.

    Parameters
    ----------
    weighted_texts : sequence of (str, float)
        Model texts and their weights; a model of weight 0 is left out.
    constant : float
        Added to the margin of every row.
    n_columns : int
        Columns of a row, the same for all models.

    Examples
    --------
    >>> text = blend_texts([(model_text([constant_tree(2.0)], 1), 0.25)], 0.0, 1)
    >>> [line for line in text.split() if line.startswith("leaf_value")]
    ['leaf_value=0.5']
    """
    trees = [
        _scaled(tree, weight)
        for text, weight in weighted_texts
        if weight
        for tree in tree_blocks(text)
    ]
    if constant or not trees:
        trees.insert(0, constant_tree(constant))
    return model_text(trees, n_columns)


def tree_blocks(text: str) -> Iterator[str]:
    """Yield the lines of each tree of a model, without its number."""
    trees, _, _ = text.partition("\nend of trees")
    for block in trees.split("\nTree=")[1:]:
        _, _, lines = block.partition("\n")
        yield lines.strip("\n")


def count_leaves(tree: str) -> int:
    """Return the number of leaves of a tree.

    Examples
    --------
    >>> count_leaves(constant_tree(0.5))
    1
    """
    first_line, _, _ = tree.partition("\n")
    return int(first_line.removeprefix("num_leaves="))


def model_text(trees: Sequence[str], n_columns: int) -> str:
    """Return the model that adds up some trees.

    Columns are numbered, not named: a name may contain a blank, which LightGBM's
    format cannot hold.
    """
    blocks = [f"Tree={number}\n{tree}\n\n\n" for number, tree in enumerate(trees)]
    names = [f"column_{index}" for index in range(n_columns)]
    sizes = [str(len(block.encode())) for block in blocks]
    head = [
        "tree",
        "version=v4",
        "num_class=1",
        "num_tree_per_iteration=1",
        "label_index=0",
        f"max_feature_idx={n_columns - 1}",
        "objective=binary sigmoid:1",
        f"feature_names={' '.join(names)}",
        f"feature_infos={' '.join(['[-inf:inf]'] * n_columns)}",
        f"tree_sizes={' '.join(sizes)}",
        "",
        "",
    ]
    tail = "end of trees\n\nparameters:\n\nend of parameters\n"
    return "\n".join(head) + "".join(blocks) + tail


def constant_tree(value: float) -> str:
    """Return a tree of one leaf: it gives every row the same value."""
    lines = [
        "num_leaves=1",
        "num_cat=0",
        "split_feature=",
        "split_gain=",
        "threshold=",
        "decision_type=",
        "left_child=",
        "right_child=",
        f"leaf_value={value!r}",
        "leaf_weight=",
        "leaf_count=",
        "internal_value=",
        "internal_weight=",
        "internal_count=",
        "is_linear=0",
        "shrinkage=1",
    ]
    return "\n".join(lines)


def number_tree(
    feature: int,
    thresholds: Sequence[float],
    values: Sequence[float],
    counts: Sequence[int],
) -> str:
    """Return a tree over one column of numbers.

    Parameters
    ----------
    feature : int
        Index of the column.
    thresholds : sequence of float
        Rising; a value falls into the first bin whose threshold it does not exceed.
    values : sequence of float, len(thresholds) + 2
        Margin of each bin, and last that of missing values.
    counts : sequence of int, len(thresholds) + 2
        Training rows of each bin, and last those with a missing value.
    """
    chain = _Chain(
        feature=feature,
        decision_type=_NUMBER,
        thresholds=[repr(float(threshold)) for threshold in (LARGEST, *thresholds)],
        values=[values[-1], *values[:-1]],
        counts=[counts[-1], *counts[:-1]],
    )
    return chain.text()


def category_tree(
    feature: int,
    values: Sequence[float],
    counts: Sequence[int],
) -> str:
    """Return a tree over one column of category codes.

    Parameters
    ----------
    feature : int
        Index of the column.
    values : sequence of float
        Margin of each code 0, 1, ..., and last that of unseen or missing codes.
    counts : sequence of int
        Training rows of each code, and last those unseen or missing.
    """
    chain = _Chain(
        feature=feature,
        decision_type=_CATEGORY,
        thresholds=[str(code) for code in range(len(values) - 1)],
        values=values,
        counts=counts,
    )
    return chain.text()


@dataclass(frozen=True)
class _Chain:
    """A tree in which each node separates one leaf, and the last node two.

    The first node of a number's chain sends missing values right, so its own leaf is
    on the right.
    """

    feature: int
    decision_type: int
    thresholds: Sequence[str]
    values: Sequence[float]
    counts: Sequence[int]

    def text(self) -> str:
        """Return the tree's lines as LightGBM writes them."""
        n_nodes = len(self.thresholds)
        left = [~node for node in range(n_nodes)]
        right = [*range(1, n_nodes), ~n_nodes]
        if self.decision_type == _NUMBER:
            left[0], right[0] = right[0], left[0]
        covers = [sum(self.counts[node:]) for node in range(n_nodes)]
        is_category = self.decision_type == _CATEGORY
        fields: dict[str, Sequence[object]] = {
            "num_leaves": [n_nodes + 1],
            "num_cat": [n_nodes if is_category else 0],
            "split_feature": [self.feature] * n_nodes,
            "split_gain": [0] * n_nodes,
            "threshold": self.thresholds,
            "decision_type": [self.decision_type] * n_nodes,
            "left_child": left,
            "right_child": right,
            "leaf_value": [repr(float(value)) for value in self.values],
            "leaf_weight": self.counts,
            "leaf_count": self.counts,
            "internal_value": [0] * n_nodes,
            "internal_weight": covers,
            "internal_count": covers,
        }
        if is_category:
            fields |= _category_sets(n_nodes)
        fields |= {"is_linear": [0], "shrinkage": [1]}
        lines = [f"{name}={_spaced(values)}" for name, values in fields.items()]
        return "\n".join(lines)


def _category_sets(n_nodes: int) -> dict[str, Sequence[object]]:
    """Return the bit sets by which node k sends category k alone to the left."""
    n_words = max(1, (n_nodes + _WORD - 1) // _WORD)
    words = []
    for code in range(n_nodes):
        code_words = [0] * n_words
        code_words[code // _WORD] = 1 << code % _WORD
        words += code_words
    boundaries = [n_words * node for node in range(n_nodes + 1)]
    return {"cat_boundaries": boundaries, "cat_threshold": words}


def _spaced(values: Sequence[object]) -> str:
    return " ".join(str(value) for value in values)


def _scaled(tree: str, weight: float) -> str:
    """Return a tree with every value multiplied by a weight."""
    if weight == 1:
        return tree
    lines = []
    for line in tree.split("\n"):
        name, _, values = line.partition("=")
        if name in ("leaf_value", "internal_value"):
            scaled = [repr(float(value) * weight) for value in values.split()]
            line = f"{name}={' '.join(scaled)}"
        lines.append(line)
    return "\n".join(lines)
