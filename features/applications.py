"""Tables of applications, one row per applicant: what each column is.

A spec says what a table is. Only the target is needed; the rest has defaults::

    name = "heloc"
    record = true                      # the service records every score of the model
    [target]
    column = "RiskPerformance"
    bad = ["Bad"]                      # the values that are a default
    undecided = ["Current"]            # the outcome is not known yet: left out
    horizon_days = 730                 # over which it is observed
    [table]
    id = ["ApplicationNo"]             # never a feature
    date = "applied_on"                # for tests on later applications
    group = "customer_no"              # a split never separates rows of one group
    weight = "sampling_weight"         # how often each row counts
    weight_is = "relative"             # or "count": as so many rows
    test_from = 2024-01-01             # or split = "part", or origins = 4
    folds = "fold"                     # rows of one value are held back together
    leaks = ["recovered_amount"]       # known only after the outcome: never a feature
    drop = ["remark"]                  # never a feature
    date_format = "%d/%m/%Y"           # if the column of dates does not prove it
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

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from obligor.arrays import Bools, Floats, Ints
from obligor.errors import SchemaError
from obligor.features.levels import MISSING, level_key, synonyms_of, texts
from obligor.features.population import Population, population_notes, population_of
from obligor.features.row_roles import (
    Parts,
    amounts_of,
    folds_of,
    has_weight,
    is_learned_from,
    parts_of,
    weights_of,
)
from obligor.features.settled_spec import settle_spec
from obligor.features.table_spec import Spec
from obligor.reading.dates import parse_days

Dates = NDArray[np.datetime64]
# Cells with more than one value.
CONTAINERS = (list, dict, set, frozenset, tuple, np.ndarray)
# Months and years, each as a date of its first day.
_PARTS_OF_DATES = {
    r"[a-z]{3}[- ]\d{4}": "mixed",
    r"(19|20)\d\d-\d\d": "%Y-%m",
    r"\d\d/(19|20)\d\d": "%m/%Y",
    r"(19|20)\d\d": "%Y",
}


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
    weight, refused_weight : array of float, shape (n,), optional
        How often each row counts; None if each counts once.
    parts : array of str, shape (n,), optional
        What the split column says of each row, one of `PARTS`.
    folds : array of int, shape (n,), optional
        Rows with the same number are held back together.
    amount : array of float, shape (n,), optional
        The amount that the costs are shares of.
    population : Population, optional
        How common defaults are, if the table holds them in other proportions.
    notes : tuple of str
        What a person must know of the rows.
    table : DataFrame
        Every column of the same rows as it was read, whatever its role.
    """

    spec: Spec
    frame: pd.DataFrame
    label: Ints
    groups: Ints
    dates: Dates | None
    forbidden: pd.DataFrame
    refused: pd.DataFrame
    refused_dates: Dates | None
    table: pd.DataFrame
    weight: Floats | None = None
    refused_weight: Floats | None = None
    parts: Parts | None = None
    folds: Ints | None = None
    amount: Floats | None = None
    population: Population | None = None
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.label)

    @property
    def measured_weight(self) -> Floats | None:
        """How often each row counts in a figure; None if each counts once.

        It is the row's weight, times how often the population holds such an outcome.
        """
        if self.population is None:
            return self.weight
        in_population = self.population.weights(self.label)
        return in_population if self.weight is None else self.weight * in_population

    def take(self, rows: Ints) -> Applications:
        """Return some of the rows, by index; all refused applicants stay."""
        return replace(
            self,
            frame=self.frame.iloc[rows],
            label=self.label[rows],
            groups=self.groups[rows],
            dates=None if self.dates is None else self.dates[rows],
            forbidden=self.forbidden.iloc[rows],
            weight=_taken(self.weight, rows),
            parts=None if self.parts is None else self.parts[rows],
            folds=None if self.folds is None else self.folds[rows],
            amount=_taken(self.amount, rows),
            table=self.table.iloc[rows],
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
            refused_weight=_taken(self.refused_weight, np.flatnonzero(is_earlier)),
        )


def _taken(values: Floats | None, rows: Ints) -> Floats | None:
    return None if values is None else values[rows]


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
    frame = frame.rename(columns=str)
    not_features = _columns_with_a_role(spec)
    amount = spec.costs.amount if spec.costs else None
    named = [*not_features, *spec.columns, *([amount] if amount else [])]
    require_table(frame, spec.name)
    _require_columns(frame, spec, named)
    features = [str(name) for name in frame if name not in not_features]
    settled = settle_spec(frame, spec, features)
    target = spec.target.column
    is_undecided = is_among_values(frame[target], spec.target.undecided)
    has_outcome = _is_filled(frame[target]) & ~is_undecided
    counts = has_weight(frame, spec)
    with_outcome = frame[has_outcome & counts].reset_index(drop=True)
    label = is_bad(with_outcome[target], spec.target.bad)
    _require_both_kinds(with_outcome, label, spec)
    may_be_used = counts & is_learned_from(frame, spec)
    refused = frame[_is_refused(frame, spec) & may_be_used].reset_index(drop=True)
    weights = weights_of(with_outcome, refused, spec)
    population = population_of(label, weights.decided, spec)
    return Applications(
        spec=settled.spec,
        frame=with_outcome[features],
        label=label,
        groups=_groups(with_outcome, spec),
        dates=_dates(with_outcome, spec),
        forbidden=with_outcome[list(spec.table.forbidden)],
        refused=refused[features],
        refused_dates=_dates(refused, spec),
        weight=weights.decided,
        refused_weight=weights.refused,
        parts=parts_of(with_outcome, spec),
        folds=folds_of(with_outcome, spec),
        amount=amounts_of(with_outcome, spec),
        population=population,
        notes=(
            *_notes(frame[target], is_undecided),
            *_weightless_rows(has_outcome & ~counts),
            *weights.notes,
            *population_notes(population),
            *settled.notes,
        ),
        table=with_outcome,
    )


def _groups(frame: pd.DataFrame, spec: Spec) -> Ints:
    """Return the group of each row; a row that names none is a group of its own."""
    if spec.table.group is None:
        return np.arange(len(frame))
    codes, groups = pd.factorize(frame[spec.table.group])
    alone = len(groups) + np.arange(len(frame))
    return np.where(codes < 0, alone, codes).astype(np.int64)


def _is_filled(target: pd.Series) -> Bools:
    """Return whether each cell of a target says something."""
    is_filled: Bools = (texts(target) != MISSING).to_numpy(dtype=bool)
    return is_filled


def require_table(frame: pd.DataFrame, where: str) -> None:
    """Refuse a table with a name more than once, or with containers in its cells.

    Parameters
    ----------
    frame : DataFrame
        The whole table.
    where : str
        The table, for the message.

    Raises
    ------
    SchemaError
        If a name occurs twice, or a cell holds more than one value.
    """
    repeated = sorted(set(frame.columns[frame.columns.duplicated()]))
    if repeated:
        raise SchemaError(
            f"the columns {repeated[:5]} occur more than once",
            where=where,
            expected="a name of its own for each column",
            do="rename or remove one of them",
        )
    for name, values in frame.items():
        if values.dtype.kind != "O" or values.dtype == "str":
            continue
        for cell_type in set(map(type, values.tolist())):
            if issubclass(cell_type, CONTAINERS):
                raise SchemaError(
                    f"the column {name!r} holds {cell_type.__name__}s",
                    where=where,
                    expected="one value in each cell",
                    do="write a column for each part, or leave the column out",
                )


def _notes(target: pd.Series, is_undecided: Bools) -> tuple[str, ...]:
    """Return how many rows are left out because their outcome is not known."""
    notes = []
    n_undecided = int(is_undecided.sum())
    if n_undecided:
        counts = target[is_undecided].astype(str).value_counts().to_dict()
        notes.append(f"{n_undecided:,} rows are undecided and left out: {counts}")
    n_empty = int((~_is_filled(target)).sum())
    if n_empty:
        notes.append(f"{n_empty:,} rows have no outcome and are left out")
    return tuple(notes)


def _weightless_rows(is_weightless: Bools) -> tuple[str, ...]:
    n_weightless = int(is_weightless.sum())
    if not n_weightless:
        return ()
    return (f"{n_weightless:,} rows have a weight of 0 and are left out",)


def _columns_with_a_role(spec: Spec) -> list[str]:
    """Return the columns that are never features."""
    roles = spec.table
    decided = spec.rejects.column if spec.rejects else None
    single = (
        spec.target.column,
        roles.date,
        roles.group,
        roles.weight,
        roles.split,
        roles.folds,
        decided,
    )
    names = [name for name in single if name is not None]
    return [*names, *roles.id, *roles.forbidden, *roles.leaks, *roles.drop]


def _require_columns(
    frame: pd.DataFrame,
    spec: Spec,
    names: Sequence[str],
) -> None:
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
    has_no_outcome = ~_is_filled(frame[spec.target.column])
    return is_named & has_no_outcome


def is_bad(target: pd.Series, bad: Sequence[str | float]) -> Ints:
    """Return 1 for each target that is one of the bad values, otherwise 0.

    Values are compared by what they stand for: `1`, `1.0` and `"1"` are one, as are
    `True` and `"True"`.

    Examples
    --------
    >>> is_bad(pd.Series(["Bad", "Good"]), ("Bad",)).tolist()
    [1, 0]
    >>> is_bad(pd.Series([0.0, 1.0]), ("1",)).tolist()
    [0, 1]
    >>> is_bad(pd.Series(["0", "1", "?"]), (1.0,)).tolist()
    [0, 1, 0]
    >>> is_bad(pd.Series([True, False]), ("True",)).tolist()
    [1, 0]
    """
    return is_among_values(target, bad).astype(np.int64)


def is_among_values(column: pd.Series, values: Sequence[str | float]) -> Bools:
    """Return whether each cell is one of some values, however it is written.

    Parameters
    ----------
    column : Series, shape (n,)
        Cells of any type.
    values : sequence of str or float
        As a spec states them.
    """
    keys = {level_key(text) for text in texts(pd.Series(list(values), dtype=object))}
    cell_keys = texts(column).map(level_key)
    present = set(cell_keys)
    # A column of truth values is asked for 1 and 0 too, and the other way round.
    if not keys & present:
        other_names = synonyms_of(present)
        keys = {other_names.get(key.casefold(), key) for key in keys}
    is_among: Bools = cell_keys.isin(sorted(keys)).to_numpy(dtype=bool)
    return is_among & column.notna().to_numpy(dtype=bool)


def _dates(frame: pd.DataFrame, spec: Spec) -> Dates | None:
    """Return when each applicant applied, None if the table does not say.

    One format holds for the whole column: the stated one, or the one it proves.
    """
    name = spec.table.date
    if name is None:
        return None
    dates = parse_dates(frame[name], name, spec.table.date_format)
    n_bad = int(dates.isna().sum())
    if n_bad:
        raise SchemaError(
            f"{n_bad} rows have no valid date",
            where=name,
            expected="a date such as 2024-03-31 in each row",
            do="state date_format in [table], or correct the rows",
        )
    return dates.to_numpy().astype("datetime64[D]")


def parse_dates(values: pd.Series, name: str, date_format: str = "") -> pd.Series:
    """Return a column of days; a month is its first day, a year its first day.

    Parameters
    ----------
    values : Series
        Texts, numbers such as 20240331, or dates.
    name : str
        The column, for the message.
    date_format : str
        As `strptime` takes it; empty if the column is to prove it.

    Raises
    ------
    SchemaError
        If the column can be read in two ways.

    Examples
    --------
    >>> parse_dates(pd.Series(["13/04/2024", "03/04/2024"]), "on").dt.day.tolist()
    [13, 3]
    >>> parse_dates(pd.Series(["Jan-2023", "Dec-2022"]), "on").dt.month.tolist()
    [1, 12]
    >>> parse_dates(pd.Series([20240331, 20240401]), "on").dt.day.tolist()
    [31, 1]
    """
    if date_format:
        return parse_days(values, date_format).values
    cells = texts(values)
    for pattern, month_format in _PARTS_OF_DATES.items():
        is_part = cells.str.fullmatch(pattern, case=False)
        if is_part.any() and (is_part | (cells == "")).all():
            return pd.to_datetime(
                cells.where(is_part),
                format=month_format,
                errors="coerce",
            )
    reading = parse_days(values)
    if reading.refusal:
        raise SchemaError(
            reading.refusal,
            where=name,
            expected="one format for the whole column",
            do='state date_format in [table], e.g. date_format = "%d/%m/%Y"',
        )
    return reading.values
