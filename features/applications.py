"""Flat application tables, one row per applicant: what each column is, and how it becomes numbers.

A spec says what a table is; only the target is needed, the rest has defaults::

    name = "heloc"
    [target]
    column = "RiskPerformance"
    bad = ["Bad"]                      # the values that are a default
    horizon_days = 730                 # over which it is observed
    [table]
    id = ["ApplicationNo"]             # never a feature
    date = "applied_on"                # for tests on later applications
    group = "customer_no"              # rows of one group are never on both sides of a split
    leaks = ["recovered_amount"]       # known only after the outcome: never a feature
    forbidden = ["sex"]                # kept for fairness figures: never a feature
    special = [-7, -8, -9]             # codes among the numbers that are no numbers
    [columns.ExternalRiskEstimate]
    type = "number"                    # or "category"; found out where it is not said
    direction = -1                     # more of it means less risk: +1, -1, or 0 where nobody knows
    special = [-9]
    [rejects]                          # applicants who were refused: rows without an outcome, left out unless asked
    column = "decision"
    values = ["declined"]
    odds = 1.5                         # of a default, over those of an accepted one with the same PD
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from obligor.arrays import Ints
from obligor.errors import SchemaError
from obligor.features.table_spec import Spec


def read_frame(path: Path) -> pd.DataFrame:
    """Read a table from CSV (comma, semicolon or tab), Parquet or Excel.

    Raises
    ------
    SchemaError
        Where it cannot be read, or has no rows.
    """
    try:
        if path.suffix.lower() in (".parquet", ".pq"):
            frame = pd.read_parquet(path)
        elif path.suffix.lower() in (".xlsx", ".xls"):
            frame = pd.read_excel(path)
        else:
            with path.open(encoding="utf-8-sig") as file:
                head = file.readline()
            separator = max(",;\t", key=head.count)
            frame = pd.read_csv(
                path, sep=separator, low_memory=False, encoding="utf-8-sig"
            )
    except (OSError, ValueError, ImportError) as error:
        raise SchemaError(
            f"cannot be read ({error})",
            where=str(path),
            expected="CSV, Parquet or Excel",
        ) from None
    if frame.empty:
        raise SchemaError(
            "has no rows",
            where=str(path),
            expected="a row per applicant under a row of names",
        )
    return frame.rename(columns=str)


@dataclass(frozen=True)
class Applications:
    """A table with its target, ready to be split and encoded.

    Attributes
    ----------
    frame : DataFrame
        The columns that may become features, as they were read.
    label : array of int, shape (n,)
        1 where it is a default.
    groups : array of int, shape (n,)
        Rows of one number belong together.
    dates : array of datetime64, shape (n,), optional
        When each was applied for.
    forbidden : DataFrame
        Kept for fairness figures.
    refused : DataFrame
        The same columns of applicants who were refused, whose outcome nobody knows.
    refused_dates : array of datetime64, optional
        When they applied.
    """

    spec: Spec
    frame: pd.DataFrame
    label: Ints
    groups: Ints
    dates: NDArray[np.datetime64] | None
    forbidden: pd.DataFrame
    refused: pd.DataFrame
    refused_dates: NDArray[np.datetime64] | None

    def __len__(self) -> int:
        return len(self.label)

    def take(self, places: Ints) -> Applications:
        """Return some of the rows."""
        dates = None if self.dates is None else self.dates[places]
        return Applications(
            self.spec,
            self.frame.iloc[places],
            self.label[places],
            self.groups[places],
            dates,
            self.forbidden.iloc[places],
            self.refused,
            self.refused_dates,
        )

    def refused_before(self, day: float) -> Applications:
        """Return the same without those refused on a day or later, in days since 1970."""
        if self.refused_dates is None:
            return self
        earlier = self.refused_dates.astype(np.int64) < day
        return replace(
            self,
            refused=self.refused[earlier],
            refused_dates=self.refused_dates[earlier],
        )


def applications(frame: pd.DataFrame, spec: Spec) -> Applications:
    """Return a table under its spec; rows whose target is not known are left out.

    Raises
    ------
    SchemaError
        Where a column is missing, or the target has only one kind of row.
    """
    roles = spec.table
    if twice := sorted(set(frame.columns[frame.columns.duplicated()])):
        raise SchemaError(
            f"has {twice[:5]} twice", where=spec.name, expected="a name for each column"
        )
    decided = spec.rejects.column if spec.rejects else None
    named = [
        spec.target.column,
        *roles.id,
        *roles.forbidden,
        *roles.leaks,
        *spec.columns,
        roles.date,
        roles.group,
        decided,
    ]
    missing = [name for name in named if name is not None and name not in frame]
    if missing:
        raise SchemaError(
            f"lacks {missing[:5]}",
            where=spec.name,
            expected=f"some of {list(frame)[:30]}",
            do="correct the spec",
        )
    whole, frame = (
        frame,
        frame[frame[spec.target.column].notna()].reset_index(drop=True),
    )
    label = is_bad(frame[spec.target.column], spec.target.bad)
    if not 0 < label.sum() < len(label):
        seen = frame[spec.target.column].astype(str).value_counts().head(5).to_dict()
        raise SchemaError(
            f"{int(label.sum())} of {len(label)} rows are bad",
            where=spec.target.column,
            expected=f"both kinds; it holds {seen}",
            do="name the bad ones in [target] bad",
        )
    aside = {
        spec.target.column,
        *roles.id,
        *roles.forbidden,
        *roles.leaks,
        roles.date,
        roles.group,
        decided,
    }
    groups = (
        np.arange(len(frame))
        if roles.group is None
        else pd.factorize(frame[roles.group])[0]
    )
    dates = None if roles.date is None else _dates(frame[roles.date])
    features = frame[[name for name in frame if name not in aside]]
    refused = whole[_is_refused(whole, spec)].reset_index(drop=True)
    refused_dates = None if roles.date is None else _dates(refused[roles.date])
    return Applications(
        spec,
        features,
        label,
        groups.astype(np.int64),
        dates,
        frame[list(roles.forbidden)],
        refused[list(features)],
        refused_dates,
    )


def _is_refused(frame: pd.DataFrame, spec: Spec) -> NDArray[np.bool_]:
    if spec.rejects is None:
        return np.zeros(len(frame), dtype=bool)
    is_named = is_bad(frame[spec.rejects.column], spec.rejects.values).astype(bool)
    return is_named & frame[spec.target.column].isna().to_numpy(dtype=bool)


def is_bad(target: pd.Series[Any], bad: Sequence[str | float]) -> Ints:
    """Return 1 where a target is one of the bad values; numbers are compared as numbers.

    Examples
    --------
    >>> is_bad(pd.Series(["Bad", "Good"]), ("Bad",)).tolist(), is_bad(pd.Series([0.0, 1.0]), ("1",)).tolist()
    ([1, 0], [0, 1])
    """
    if pd.api.types.is_numeric_dtype(target):
        values = {
            float(value)
            for value in bad
            if isinstance(value, float | int) or is_number(value)
        }
        return target.astype(float).isin(values).to_numpy().astype(np.int64)
    return (
        target.astype(str)
        .str.strip()
        .isin({str(value) for value in bad})
        .to_numpy()
        .astype(np.int64)
    )


def is_number(text: str) -> bool:
    """Return whether a text is a finite number."""
    try:
        return isfinite(float(text))
    except ValueError:
        return False


def _dates(column: pd.Series[Any]) -> NDArray[np.datetime64]:
    found = pd.to_datetime(column, errors="coerce", format="mixed")
    if found.isna().any():
        raise SchemaError(
            f"{int(found.isna().sum())} rows hold no date",
            where=str(column.name),
            expected="2024-03-31",
        )
    return found.to_numpy().astype("datetime64[D]")
