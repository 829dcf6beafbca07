"""Tables of applications, one row per applicant: what each column is.

A spec says what a table is. Only the target is needed; the rest has defaults::

    name = "heloc"
    [target]
    column = "RiskPerformance"
    bad = ["Bad"]                      # the values that are a default
    horizon_days = 730                 # over which it is observed
    [table]
    id = ["ApplicationNo"]             # never a feature
    date = "applied_on"                # for tests on later applications
    group = "customer_no"              # a split never separates rows of one group
    leaks = ["recovered_amount"]       # known only after the outcome: never a feature
    forbidden = ["sex"]                # kept for fairness figures: never a feature
    special = [-7, -8, -9]             # codes among the numbers that are not numbers
    [columns.ExternalRiskEstimate]
    type = "number"                    # or "category"; inferred if it is left out
    direction = -1                     # more of it means less risk: +1, -1, or 0
    special = [-9]
    [rejects]                          # refused applicants: rows without an outcome
    column = "decision"
    values = ["declined"]
    odds = 1.5                         # of a default, against an accepted one
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import isfinite
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from obligor.arrays import Bools, Ints
from obligor.errors import SchemaError
from obligor.features.table_spec import Spec

Dates = NDArray[np.datetime64]


def read_frame(path: Path) -> pd.DataFrame:
    """Read a table from CSV (comma, semicolon or tab), Parquet or Excel.

    Raises
    ------
    SchemaError
        If it cannot be read, or has no rows.
    """
    try:
        frame = _read(path)
    except (OSError, ValueError, ImportError) as error:
        raise SchemaError(
            f"the table cannot be read ({error})",
            where=str(path),
            expected="CSV, Parquet or Excel",
        ) from None
    if frame.empty:
        raise SchemaError(
            "the table has no rows",
            where=str(path),
            expected="a row per applicant below a row of names",
        )
    return frame.rename(columns=str)


def _read(path: Path) -> pd.DataFrame:
    suffix = path.suffix.lower()
    if suffix in (".parquet", ".pq"):
        return pd.read_parquet(path)
    if suffix in (".xlsx", ".xls"):
        return pd.read_excel(path)
    with path.open(encoding="utf-8-sig") as file:
        header = file.readline()
    separator = max(",;\t", key=header.count)
    return pd.read_csv(
        path,
        sep=separator,
        low_memory=False,
        encoding="utf-8-sig",
    )


@dataclass(frozen=True)
class Applications:
    """A table with its target, ready to be split and encoded.

    Attributes
    ----------
    spec : Spec
        What the table is.
    frame : DataFrame
        The columns that may become features, as they were read.
    label : array of int, shape (n,)
        1 for a default, 0 otherwise.
    groups : array of int, shape (n,)
        Rows with the same number belong together.
    dates : array of datetime64, shape (n,), optional
        When each applicant applied.
    forbidden : DataFrame
        The columns kept for fairness figures.
    refused : DataFrame
        The columns of `frame` for refused applicants, whose outcome is unknown.
    refused_dates : array of datetime64, optional
        When they applied.
    """

    spec: Spec
    frame: pd.DataFrame
    label: Ints
    groups: Ints
    dates: Dates | None
    forbidden: pd.DataFrame
    refused: pd.DataFrame
    refused_dates: Dates | None

    def __len__(self) -> int:
        return len(self.label)

    def take(self, rows: Ints) -> Applications:
        """Return some of the rows, by index; all refused applicants stay."""
        return replace(
            self,
            frame=self.frame.iloc[rows],
            label=self.label[rows],
            groups=self.groups[rows],
            dates=None if self.dates is None else self.dates[rows],
            forbidden=self.forbidden.iloc[rows],
        )

    def refused_before(self, day: float) -> Applications:
        """Return the table without applicants refused on a day or later.

        Parameters
        ----------
        day : float
            Days since 1970-01-01.
        """
        if self.refused_dates is None:
            return self
        is_earlier = self.refused_dates.astype(np.int64) < day
        return replace(
            self,
            refused=self.refused[is_earlier],
            refused_dates=self.refused_dates[is_earlier],
        )


def applications(frame: pd.DataFrame, spec: Spec) -> Applications:
    """Return a table as its spec describes it.

    Rows without a target are left out; those of refused applicants are kept apart.

    Parameters
    ----------
    frame : DataFrame
        The whole table.
    spec : Spec
        What its columns are.

    Raises
    ------
    SchemaError
        If a column is missing, or if all rows of the target are of one kind.
    """
    not_features = _columns_with_a_role(spec)
    _require_columns(frame, spec, [*not_features, *spec.columns])
    target = spec.target.column
    with_outcome = frame[frame[target].notna()].reset_index(drop=True)
    label = is_bad(with_outcome[target], spec.target.bad)
    _require_both_kinds(with_outcome, label, spec)
    features = [str(name) for name in with_outcome if name not in not_features]
    refused = frame[_is_refused(frame, spec)].reset_index(drop=True)
    if spec.table.group is None:
        groups = np.arange(len(with_outcome))
    else:
        codes, _ = pd.factorize(with_outcome[spec.table.group])
        groups = codes.astype(np.int64)
    return Applications(
        spec=spec,
        frame=with_outcome[features],
        label=label,
        groups=groups,
        dates=_dates(with_outcome, spec),
        forbidden=with_outcome[list(spec.table.forbidden)],
        refused=refused[features],
        refused_dates=_dates(refused, spec),
    )


def _columns_with_a_role(spec: Spec) -> list[str]:
    """Return the columns that are never features."""
    roles = spec.table
    decided = spec.rejects.column if spec.rejects else None
    single = (spec.target.column, roles.date, roles.group, decided)
    names = [name for name in single if name is not None]
    return [*names, *roles.id, *roles.forbidden, *roles.leaks]


def _require_columns(
    frame: pd.DataFrame,
    spec: Spec,
    names: Sequence[str],
) -> None:
    repeated = sorted(set(frame.columns[frame.columns.duplicated()]))
    if repeated:
        raise SchemaError(
            f"the columns {repeated[:5]} occur more than once",
            where=spec.name,
            expected="a name for each column",
        )
    missing = [name for name in names if name not in frame]
    if missing:
        raise SchemaError(
            f"the columns {missing[:5]} are missing",
            where=spec.name,
            expected=f"some of {list(frame)[:30]}",
            do="correct the spec",
        )


def _require_both_kinds(
    frame: pd.DataFrame,
    label: Ints,
    spec: Spec,
) -> None:
    if 0 < label.sum() < len(label):
        return
    target = frame[spec.target.column]
    most_frequent = target.astype(str).value_counts().head(5).to_dict()
    raise SchemaError(
        f"{int(label.sum())} of {len(label)} rows are bad",
        where=spec.target.column,
        expected=f"both kinds; it contains {most_frequent}",
        do="name the bad ones in [target] bad",
    )


def _is_refused(frame: pd.DataFrame, spec: Spec) -> Bools:
    if spec.rejects is None:
        return np.zeros(len(frame), dtype=bool)
    is_named = is_bad(frame[spec.rejects.column], spec.rejects.values).astype(bool)
    has_no_outcome = frame[spec.target.column].isna().to_numpy(dtype=bool)
    return is_named & has_no_outcome


def is_bad(target: pd.Series, bad: Sequence[str | float]) -> Ints:
    """Return 1 for each target that is one of the bad values, otherwise 0.

    Numbers are compared as numbers.

    Examples
    --------
    >>> is_bad(pd.Series(["Bad", "Good"]), ("Bad",)).tolist()
    [1, 0]
    >>> is_bad(pd.Series([0.0, 1.0]), ("1",)).tolist()
    [0, 1]
    """
    if pd.api.types.is_numeric_dtype(target):
        bad_numbers = {
            float(value)
            for value in bad
            if isinstance(value, float | int) or is_number(value)
        }
        is_one_of = target.astype(float).isin(bad_numbers)
    else:
        bad_texts = {str(value) for value in bad}
        is_one_of = target.astype(str).str.strip().isin(bad_texts)
    return is_one_of.to_numpy().astype(np.int64)


def is_number(text: str) -> bool:
    """Return whether a text is a finite number."""
    try:
        return isfinite(float(text))
    except ValueError:
        return False


def _dates(frame: pd.DataFrame, spec: Spec) -> Dates | None:
    """Return when each applicant applied, None if the table does not say."""
    name = spec.table.date
    if name is None:
        return None
    dates = pd.to_datetime(
        frame[name],
        errors="coerce",
        format="mixed",
    )
    n_bad = int(dates.isna().sum())
    if n_bad:
        raise SchemaError(
            f"{n_bad} rows have no valid date", where=name, expected="2024-03-31"
        )
    return dates.to_numpy().astype("datetime64[D]")
