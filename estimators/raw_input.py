"""What people hand to an estimator, checked and turned into training rows.

The checks are scikit-learn's own, so that its users meet the messages they know.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias, runtime_checkable

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from pydantic import ValidationError
from sklearn.base import BaseEstimator
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import (
    _check_sample_weight,
    assert_all_finite,
    check_consistent_length,
    column_or_1d,
    validate_data,
)

from obligor.arrays import Floats, Ints
from obligor.features.applications import Applications
from obligor.features.table_spec import Spec

TARGET = "y"
# Words for a default, in lower case; of two texts the one among them is the default.
WORDS_FOR_DEFAULT = frozenset(
    {
        "bad",
        "charged off",
        "default",
        "defaulted",
        "late",
        "loss",
        "true",
        "y",
        "yes",
    }
)

Table: TypeAlias = "pd.DataFrame | ArrayLike"
ColumnChoices: TypeAlias = Mapping[str, Mapping[str, object]]


@dataclass(frozen=True)
class Beside:
    """What is known of training rows beside their columns and outcomes.

    Attributes
    ----------
    sample_weight : array-like of float, shape (n,), optional
        Weight of each row, 0 or more.
    groups : array-like, shape (n,), optional
        Rows with equal values are never on both sides of a fold.
    dates : array-like of dates, shape (n,), optional
        The day of each row; calibrations are then compared on the later rows.
    """

    sample_weight: ArrayLike | None = None
    groups: ArrayLike | None = None
    dates: ArrayLike | None = None


@dataclass(frozen=True)
class RawRows:
    """Training rows as an estimator was given them, checked.

    Attributes
    ----------
    data : Applications
        The columns, the outcomes (1 for a default), the groups and the dates.
    weight : ndarray of float, shape (n,)
        Weight of each row, above 0.
    classes : ndarray, shape (2,)
        The two values of the target, sorted.
    default_class : object
        The one that is a default.
    """

    data: Applications
    weight: Floats
    classes: NDArray[np.generic]
    default_class: object


@runtime_checkable
class HasPandas(Protocol):
    """A table of another library that becomes one of pandas."""

    def to_pandas(self) -> pd.DataFrame:
        """Return it as a DataFrame."""
        ...


def read_columns(
    estimator: BaseEstimator,
    table: Table,
    *,
    reset: bool,
) -> pd.DataFrame:
    """Return a table as a DataFrame with names, of the columns the estimator knows.

    Parameters
    ----------
    estimator : BaseEstimator
        Takes the names and the number of columns if `reset`; otherwise has them.
    table : DataFrame or array-like, shape (n, columns)
        Numbers, texts, categories, truth values; missing values may be NaN or None.
    reset : bool
        Whether this is the table that is learnt from.

    Returns
    -------
    DataFrame
        The same values; columns without a name are ``x0``, ``x1``, ...

    Raises
    ------
    ValueError
        If it is no table, or has other columns than in training.
    """
    if isinstance(table, pd.DataFrame):
        return _named_frame(estimator, table, reset)
    # A table of another library, such as polars'.
    if isinstance(table, HasPandas):
        return _named_frame(estimator, table.to_pandas(), reset)
    matrix = validate_data(
        estimator,
        table,
        reset=reset,
        dtype=None,
        ensure_all_finite="allow-nan",
    )
    names = [f"x{index}" for index in range(matrix.shape[1])]
    named = getattr(estimator, "feature_names_in_", None)
    if named is not None:
        names = [str(name) for name in named]
    return pd.DataFrame(matrix, columns=names).infer_objects()


def _named_frame(
    estimator: BaseEstimator, frame: pd.DataFrame, reset: bool
) -> pd.DataFrame:
    if not frame.size:
        raise ValueError(
            f"Found array with 0 sample(s) or 0 feature(s) (shape={frame.shape}) while "
            "a minimum of 1 is required."
        )
    validate_data(estimator, frame, reset=reset, skip_check_array=True)
    repeated = frame.columns[frame.columns.duplicated()]
    if len(repeated):
        raise ValueError(f"The columns {sorted(set(repeated))} occur more than once.")
    named = frame.rename(columns=str)
    infinite = [
        str(name)
        for name in named.select_dtypes("number")
        if np.isinf(named[name].to_numpy(dtype=np.float64, na_value=np.nan)).any()
    ]
    if infinite:
        warnings.warn(
            f"Infinite values of {infinite} are read as missing.",
            stacklevel=4,
        )
    return named


def read_training_rows(
    estimator: BaseEstimator,
    table: Table,
    target: ArrayLike | None,
    beside: Beside,
    columns: ColumnChoices | None,
) -> RawRows:
    """Check what `fit` was given and return it as rows to learn from.

    Parameters
    ----------
    estimator : BaseEstimator
        Takes the names and the number of the columns.
    table : DataFrame or array-like, shape (n, columns)
        See `read_columns`.
    target : array-like, shape (n,)
        Two different values; which is a default see `default_class_of`.
    beside : Beside
        Weights, groups and dates; rows of weight 0 are left out.
    columns : mapping, optional
        What is stated about columns, by name: ``{"income": {"direction": -1}}``. The
        keys of one are ``type``, ``direction`` and ``special``, as in a spec.

    Returns
    -------
    RawRows
        The rows.

    Raises
    ------
    ValueError
        If a part is missing, has another length, or does not hold what it must.
    """
    frame = read_columns(estimator, table, reset=True)
    labels = _read_target(target)
    check_consistent_length(frame, labels, beside.groups, beside.dates)
    # Columns of a weight matrix or negative weights are refused by scikit-learn.
    weight = _check_sample_weight(
        beside.sample_weight,
        np.empty((len(frame), 1)),
        ensure_non_negative=True,
    )
    counted = np.flatnonzero(weight > 0)
    classes = np.unique(labels[counted])
    if len(classes) != 2:
        raise ValueError(
            f"The target has {len(classes)} class(es) among the rows of weight above "
            "0; expected two: a default and another."
        )
    default_class = default_class_of(classes)
    data = Applications(
        spec=_spec_of(frame, columns),
        frame=frame,
        label=(labels == default_class).astype(np.int64),
        groups=_group_numbers(beside.groups, len(frame)),
        dates=_read_dates(beside.dates),
        forbidden=pd.DataFrame(index=frame.index),
        refused=frame.iloc[:0],
        refused_dates=None,
        table=frame,
    )
    return RawRows(
        data=data.take(counted),
        weight=weight[counted],
        classes=classes,
        default_class=default_class,
    )


def _read_target(target: ArrayLike | None) -> NDArray[np.generic]:
    if target is None:
        raise ValueError(
            "This estimator requires y to be passed, but the target y is None."
        )
    labels = column_or_1d(target, warn=True)
    assert_all_finite(labels, input_name="y")
    check_classification_targets(labels)
    kind = type_of_target(labels, input_name="y")
    if kind != "binary":
        raise ValueError(
            "Only binary classification is supported. The type of the target is "
            f"{kind}."
        )
    return np.asarray(labels)


def default_class_of(classes: NDArray[np.generic]) -> object:
    """Return which of two values of a target is a default.

    A word for a default is one, if the other value is none; else the greater value: 1
    of 0 and 1, 2 of 1 and 2, True of False and True.

    Examples
    --------
    >>> default_class_of(np.array(["Bad", "Good"]))
    'Bad'
    >>> default_class_of(np.array([1, 2]))
    2
    """
    is_word = [str(value).strip().lower() in WORDS_FOR_DEFAULT for value in classes]
    chosen = classes[0] if is_word[0] and not is_word[1] else classes[1]
    return chosen.item() if isinstance(chosen, np.generic) else chosen


def _spec_of(frame: pd.DataFrame, columns: ColumnChoices | None) -> Spec:
    stated = dict(columns or {})
    unknown = sorted(set(stated) - set(frame.columns))
    if unknown:
        raise ValueError(
            f"columns names {unknown}, which the table does not have; expected some of "
            f"{list(frame.columns)[:20]}."
        )
    fields = {"name": "estimator", "target": {"column": TARGET}, "columns": stated}
    try:
        return Spec.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ValueError(f"{where}: {first['msg']}") from None


def _group_numbers(groups: ArrayLike | None, n_rows: int) -> Ints:
    if groups is None:
        return np.arange(n_rows)
    numbers, _ = pd.factorize(np.asarray(groups))
    if (numbers < 0).any():
        raise ValueError("Some groups are missing; expected a value for each row.")
    return numbers.astype(np.int64)


def _read_dates(dates: ArrayLike | None) -> NDArray[np.datetime64] | None:
    if dates is None:
        return None
    read = pd.to_datetime(pd.Series(np.asarray(dates)), errors="coerce")
    n_missing = int(read.isna().sum())
    if n_missing:
        raise ValueError(f"{n_missing} dates are missing or are not dates.")
    return read.to_numpy().astype("datetime64[D]")


def warn_of(findings: Sequence[str]) -> None:
    """Warn of columns that are not used, with the reasons."""
    if findings:
        warnings.warn("; ".join(findings), stacklevel=3)
