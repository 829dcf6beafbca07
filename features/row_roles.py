"""What columns with a role say of each row: its weight, its part, its fold, its amount.

None of these columns is ever a feature.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from obligor.arrays import Bools, Floats, Ints
from obligor.errors import SchemaError
from obligor.features.encoding import stated_numbers
from obligor.features.levels import texts
from obligor.features.table_spec import Spec

Parts = NDArray[np.str_]
TRAIN = "train"
VALID = "valid"
TEST = "test"
# What a split column may say, in lower case and without anything but letters.
PARTS = {
    "train": TRAIN,
    "training": TRAIN,
    "dev": TRAIN,
    "development": TRAIN,
    "valid": VALID,
    "validation": VALID,
    "val": VALID,
    "test": TEST,
    "testing": TEST,
    "oot": TEST,
    "outoftime": TEST,
    "oos": TEST,
    "outofsample": TEST,
    "holdout": TEST,
}
FIRST_ROWS = 5  # named in a message
FEWEST_FOLDS = 2
MOST_FOLDS = 20


class Weights(NamedTuple):
    """How often rows count.

    Attributes
    ----------
    decided : ndarray of float, shape (n,), optional
        Of the rows with an outcome; None if each counts once.
    refused : ndarray of float, shape (m,), optional
        Of refused applicants.
    notes : tuple of str
        What a person must know of them.
    """

    decided: Floats | None
    refused: Floats | None
    notes: tuple[str, ...]


def has_weight(frame: pd.DataFrame, spec: Spec) -> Bools:
    """Return which rows count at all: those whose weight is not 0.

    A missing weight counts until `weights_of` refuses it.
    """
    if spec.table.weight is None:
        return np.ones(len(frame), dtype=bool)
    has_any: Bools = stated_numbers(frame[spec.table.weight], spec) != 0
    return has_any


def weights_of(
    frame: pd.DataFrame,
    refused: pd.DataFrame,
    spec: Spec,
) -> Weights:
    """Return how often each row counts.

    Parameters
    ----------
    frame, refused : DataFrame
        Rows with an outcome, and refused applicants, with all columns; none has the
        weight 0.
    spec : Spec
        Names the column of weights, if there is one.

    Returns
    -------
    Weights
        No weights if they are all equal: they change nothing then.

    Raises
    ------
    SchemaError
        If a weight is missing, not a number, infinite or negative.
    """
    name = spec.table.weight
    if name is None:
        return Weights(None, None, ())
    decided_weight = _valid_weights(frame[name], spec)
    refused_weight = _valid_weights(refused[name], spec)
    distinct = np.unique(np.append(decided_weight, refused_weight))
    if len(distinct) == 1:
        note = f"every weight in {name} is {distinct[0]:g}: rows count alike"
        return Weights(None, None, (note,))
    if spec.table.weight_is == "relative":
        mean = decided_weight.mean()
        decided_weight = decided_weight / mean
        refused_weight = refused_weight / mean
        note = f"the weights in {name} are scaled to a mean of 1"
    else:
        note = (
            f"{len(frame):,} rows count as {decided_weight.sum():,.6g} by the weights "
            f'in {name}; weight_is = "relative" would scale them to a mean of 1'
        )
    return Weights(decided_weight, refused_weight, (note,))


def _valid_weights(values: pd.Series, spec: Spec) -> Floats:
    name = str(values.name)
    weight = stated_numbers(values, spec)
    _refuse_rows(np.isnan(weight), name, "no weight that is a finite number")
    _refuse_rows(weight < 0, name, "a negative weight")
    return weight


def _refuse_rows(is_wrong: Bools, name: str, fault: str) -> None:
    """Refuse rows, with the first of them numbered as a person counts them."""
    if not is_wrong.any():
        return
    first = [int(index) + 1 for index in np.flatnonzero(is_wrong)[:FIRST_ROWS]]
    raise SchemaError(
        f"{int(is_wrong.sum()):,} rows have {fault}; the first among the rows used "
        f"are {first}",
        where=name,
        expected="a number of 0 or more in each row",
        do="correct the rows, or leave the column out of the spec",
    )


def is_learned_from(frame: pd.DataFrame, spec: Spec) -> Bools:
    """Return which refused applicants the split column does not set aside."""
    name = spec.table.split
    if name is None:
        return np.ones(len(frame), dtype=bool)
    is_learned: Bools = (_part_keys(frame[name]).map(PARTS) == TRAIN).to_numpy()
    return is_learned


def _part_keys(values: pd.Series) -> pd.Series[str]:
    keys = texts(values).str.lower()
    return keys.str.replace(r"[^a-z]", "", regex=True)


def parts_of(frame: pd.DataFrame, spec: Spec) -> Parts | None:
    """Return which part each row belongs to, None if no column says it.

    Parameters
    ----------
    frame : DataFrame
        All columns of the rows.
    spec : Spec
        Names the split column, if there is one.

    Returns
    -------
    ndarray of str, shape (n,), or None
        `TRAIN`, `VALID` or `TEST`. If no row is a test row, validation rows are.

    Raises
    ------
    SchemaError
        If a value is none of `PARTS`, or if there are no rows to learn from or to test
        on.
    """
    name = spec.table.split
    if name is None:
        return None
    cells = texts(frame[name])
    keys = _part_keys(frame[name])
    unknown = cells[~keys.isin(list(PARTS))]
    if len(unknown):
        counts = unknown.value_counts().head(FIRST_ROWS).to_dict()
        raise SchemaError(
            f"{len(unknown):,} rows belong to no known part: {counts}",
            where=name,
            expected="train and test, train, valid and test, or dev and oot",
            do="rename the values",
        )
    parts: Parts = keys.map(PARTS).to_numpy().astype(np.str_)
    if not (parts == TEST).any():
        parts = np.where(parts == VALID, TEST, parts)
    for part in (TRAIN, TEST):
        if not (parts == part).any():
            raise SchemaError(
                f"no row belongs to the part {part}",
                where=name,
                expected="rows to learn from and rows to test on",
            )
    return parts


def folds_of(frame: pd.DataFrame, spec: Spec) -> Ints | None:
    """Return the number of each row's fold, None if no column says it.

    Raises
    ------
    SchemaError
        If a row has no fold, or if there are too few or too many of them.
    """
    name = spec.table.folds
    if name is None:
        return None
    cells = texts(frame[name])
    _refuse_rows((cells == "").to_numpy(dtype=bool), name, "no fold")
    codes, labels = pd.factorize(cells, sort=True)
    if not FEWEST_FOLDS <= len(labels) <= MOST_FOLDS:
        raise SchemaError(
            f"the column holds {len(labels)} folds",
            where=name,
            expected=f"{FEWEST_FOLDS} to {MOST_FOLDS}",
        )
    return codes.astype(np.int64)


def amounts_of(frame: pd.DataFrame, spec: Spec) -> Floats | None:
    """Return the amount that costs are shares of, None if no column is named.

    Raises
    ------
    SchemaError
        If an amount is missing, not a number, infinite or negative.
    """
    if spec.costs is None or spec.costs.amount is None:
        return None
    name = spec.costs.amount
    amount = stated_numbers(frame[name], spec)
    _refuse_rows(np.isnan(amount), name, "no amount that is a finite number")
    _refuse_rows(amount < 0, name, "a negative amount")
    return amount
