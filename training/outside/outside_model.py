"""A model that was made elsewhere, as trees or as a sum of functions of one column."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from obligor.errors import ModelError


@dataclass(frozen=True)
class OutsideModel:
    """What was read from a file of another tool.

    Attributes
    ----------
    kind : str
        What the file is, such as ``XGBoost JSON``.
    text : str
        LightGBM's model text, or that of `model.linear`: the margin of a default.
    columns : tuple of str
        Names of the columns, in the order of a row; empty if the file has none.
    levels : mapping of tuple of str
        The levels of each category, by the name of its column; codes are their places.
    notes : tuple of str
        What a person must know of how it was read.
    """

    kind: str
    text: str
    columns: tuple[str, ...]
    levels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def require(
    condition: bool,
    what: str,
    expected: str,
    do: str = "",
) -> None:
    """Refuse a file unless a condition holds.

    Parameters
    ----------
    condition : bool
        What must be so.
    what : str
        What is wrong if it is not.
    expected : str
        What would have been right.
    do : str
        The next step for the reader.

    Raises
    ------
    ModelError
        If the condition does not hold.
    """
    if not condition:
        raise ModelError(
            what,
            where="--model",
            expected=expected,
            do=do,
        )


def require_names(columns: Sequence[str]) -> tuple[str, ...]:
    """Return the names of a model's columns; each must occur once.

    Raises
    ------
    ModelError
        If a name occurs more than once.
    """
    names = tuple(str(name) for name in columns)
    repeated = sorted({name for name in names if names.count(name) > 1})
    require(
        not repeated,
        f"the columns {repeated[:5]} occur more than once",
        "a name for each column",
    )
    return names
