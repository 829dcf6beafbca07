"""A LightGBM model, read from the text of ``Booster.save_model("model.txt")``."""

from __future__ import annotations

import json

from obligor.training.candidates.lightgbm_text import blend_texts
from obligor.training.outside.outside_model import (
    OutsideModel,
    require,
    require_names,
)

OBJECTIVES = ("binary", "cross_entropy", "xentropy")
CATEGORIES = "pandas_categorical:"
UNNAMED = "Column_"


def read_lightgbm(content: str) -> OutsideModel:
    """Read a binary model of trees.

    Raises
    ------
    ModelError
        If it has several outputs, another objective, or linear models in its leaves.
    """
    text = content.replace("\r\n", "\n")
    header = _header(text)
    objective, *settings = header.get("objective", "none").split()
    require(
        objective in OBJECTIVES,
        f"the objective is {objective}",
        f"a probability of default: one of {', '.join(OBJECTIVES)}",
    )
    require(
        header.get("num_tree_per_iteration") == "1",
        "the model has several outputs",
        "one: the default",
    )
    require(
        "is_linear=1" not in text,
        "the model has linear models in its leaves, for which no exact explanation "
        "exists",
        "constants in the leaves",
        "train it without linear_tree",
    )
    names = header["feature_names"].split()
    scale = _scale(settings)
    if "average_output" in header:
        scale /= text.count("\nTree=")
    is_named = not all(name.startswith(UNNAMED) for name in names)
    return OutsideModel(
        kind="LightGBM text",
        text=blend_texts([(text, scale)], 0.0, len(names)),
        columns=require_names(names) if is_named else (),
        levels=_levels(text, names, header.get("feature_infos", "").split()),
    )


def _header(text: str) -> dict[str, str]:
    head, _, _ = text.partition("\nTree=")
    fields = {}
    for line in head.split("\n"):
        name, _, value = line.partition("=")
        fields[name.strip()] = value
    require("feature_names" in fields, "the text names no columns", "feature_names=")
    return fields


def _scale(settings: list[str]) -> float:
    """Return what the raw score is multiplied by before the sigmoid."""
    for setting in settings:
        name, _, value = setting.partition(":")
        if name == "sigmoid":
            return float(value)
    return 1.0


def _levels(
    text: str,
    names: list[str],
    infos: list[str],
) -> dict[str, tuple[str, ...]]:
    """Return the levels of the categories, as pandas had them in training."""
    stated = list[list[object]]()
    for line in reversed(text.splitlines()):
        if line.startswith(CATEGORIES):
            stated = json.loads(line.removeprefix(CATEGORIES)) or []
            break
    # A category's values are listed with colons, a number's range in brackets.
    categorical = [
        name
        for name, info in zip(names, infos, strict=False)
        if info != "none" and not info.startswith("[")
    ]
    require(
        len(stated) == len(categorical),
        f"the text has the levels of {len(stated)} categories, and {len(categorical)} "
        "columns are categories",
        "the levels of each, which LightGBM writes if it is trained on a DataFrame of "
        "pandas with the type category",
        "train it on such a DataFrame",
    )
    return {
        name: tuple(str(level) for level in levels)
        for name, levels in zip(categorical, stated, strict=True)
    }
