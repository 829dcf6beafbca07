"""How the columns of a table become numbers.

An encoding is learnt from training rows alone and kept in the bundle.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import isinf, isnan, nan
from typing import Literal, NamedTuple, NotRequired, TypedDict

import numpy as np
import pandas as pd

from obligor.arrays import Floats, Ints
from obligor.errors import SchemaError
from obligor.features.levels import MISSING, LevelLookup, cell_text, texts
from obligor.features.number_reading import (
    EARLIER,
    NATIVE,
    NEARLY_ALL,
    NumberColumn,
    NumberReading,
    ReadingFields,
    StatedReading,
    is_number_like,
    number_column,
    parse_numbers,
    unreadable_cells,
)
from obligor.features.table_spec import Spec

# A category has at most so many levels, each with so many rows; others are "another".
MOST_LEVELS = 60
FEWEST_ROWS = 10
SPECIAL = "=special"
EVIDENCE = "=evidence"
# Values that are read to decide what a column of texts contains.
MOST_VALUES_READ = 20_000
# So many distinct numbers that are all days are not numbers by chance.
FEWEST_DAYS = 3
_COMPACT_DAY = r"(19|20)\d{6}"
MOST_SHOWN = 60  # characters of a value in a message
_MONTH = "(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*"
_NUMERIC_DATE = r"\d{1,4}[-/. ]\d{1,2}[-/. ]\d{1,4}([T ][\d:.+Z-]*)?"
_DATE = rf"(?i){_NUMERIC_DATE}|(19|20)\d\d-\d\d|(\d{{1,2}}[- ])?{_MONTH}[- ]\d{{2,4}}"

Kind = Literal["number", "category"]


class Pair(NamedTuple):
    """A column computed from two encoded ones: a ratio or a difference.

    Attributes
    ----------
    sign : {"/", "-"}
        A ratio (such as the balance over the limit), or a difference.
    first, second : int
        Indices of the encoded columns.
    """

    sign: Literal["/", "-"]
    first: int
    second: int

    def name(self, names: Sequence[str]) -> str:
        """Return the name of the column, from the names of the encoded ones."""
        return f"{names[self.first]} {self.sign} {names[self.second]}"

    def values(self, rows: Floats) -> Floats:
        """Return the column, shape (n,), from encoded rows."""
        first = rows[:, self.first]
        second = rows[:, self.second]
        return first - second if self.sign == "-" else _ratio(first, second)


class Triple(NamedTuple):
    """A column computed from three encoded ones: a sum or difference over a third.

    Attributes
    ----------
    sign : {"-", "+"}
        What is done to the first two, such as (assets - debts) / sales.
    first, second, third : int
        Indices of the encoded columns.
    """

    sign: Literal["-", "+"]
    first: int
    second: int
    third: int

    def name(self, names: Sequence[str]) -> str:
        """Return the name of the column, from the names of the encoded ones."""
        above = f"{names[self.first]} {self.sign} {names[self.second]}"
        return f"({above}) / {names[self.third]}"

    def values(self, rows: Floats) -> Floats:
        """Return the column, shape (n,), from encoded rows."""
        first = rows[:, self.first]
        second = rows[:, self.second]
        above = first - second if self.sign == "-" else first + second
        return _ratio(above, rows[:, self.third])


Derived = Pair | Triple


def _ratio(above: Floats, below: Floats) -> Floats:
    """Return a ratio; one over 0 is missing."""
    missing = np.full(len(above), np.nan)
    # A value over one close to 0 may be too large for a number: it becomes infinite.
    with np.errstate(over="ignore"):
        ratio: Floats = np.divide(
            above,
            below,
            out=missing,
            where=below != 0,
        )
    return ratio


def derived(rows: Floats, pairs: Sequence[Derived]) -> Floats:
    """Return encoded rows, followed by the columns of pairs and triples.

    A ratio over 0 is missing.

    Examples
    --------
    >>> rows = np.array([[6.0, 3.0], [1.0, 0.0]])
    >>> derived(rows, [Pair("/", 0, 1), Pair("-", 0, 1)]).tolist()
    [[6.0, 3.0, 2.0, 3.0], [1.0, 0.0, nan, 1.0]]
    >>> derived(np.array([[9.0, 3.0, 2.0]]), [Triple("-", 0, 1, 2)]).tolist()
    [[9.0, 3.0, 2.0, 3.0]]
    """
    n_columns = rows.shape[1]
    with_pairs = np.empty((len(rows), n_columns + len(pairs)))
    with_pairs[:, :n_columns] = rows
    for column, pair in enumerate(pairs, start=n_columns):
        with_pairs[:, column] = pair.values(rows)
    return with_pairs


def _distinct(names: Sequence[str]) -> tuple[str, ...]:
    """Return names, each repeated one with a number: a table may have any name."""
    distinct = list[str]()
    taken = set(names)
    for index, name in enumerate(names):
        number = 2
        unique = name
        if name in names[:index]:
            while unique in taken:
                unique = f"{name} ({number})"
                number += 1
            taken.add(unique)
        distinct.append(unique)
    return tuple(distinct)


class ColumnFields(TypedDict):
    """A `Column` as JSON."""

    name: str
    kind: Kind
    levels: list[str]
    special: list[float]
    direction: int
    reading: NotRequired[ReadingFields]
    evidence: NotRequired[dict[str, float]]


class EncodingFields(TypedDict):
    """An `Encoding` as JSON, in a bundle's ``encoding.json``."""

    columns: list[ColumnFields]
    pairs: list[Derived]


@dataclass(frozen=True)
class Column:
    """How one column of a table becomes numbers.

    A number becomes itself and, if it has special codes, a second column with the index
    of its code. A category becomes the index of its level.

    Attributes
    ----------
    name : str
        The column's name in the table.
    kind : {"number", "category"}
        What it contains.
    levels : tuple of str
        The levels of a category.
    special : tuple of float
        Codes among the numbers that are not numbers.
    direction : int
        +1 if a higher value can only raise the PD, -1 if it can only lower it, 0 for
        neither.
    reading : NumberReading
        How texts are read; of a category only the words for a missing value count.
    evidence : tuple of (str, float)
        Of a category with many levels: each level and the evidence of its defaults,
        which becomes a second column. It is 0 for a level that was never seen.
    """

    name: str
    kind: Kind
    levels: tuple[str, ...] = ()
    special: tuple[float, ...] = ()
    direction: int = 0
    reading: NumberReading = NATIVE
    evidence: tuple[tuple[str, float], ...] = ()

    @property
    def encoded_names(self) -> tuple[str, ...]:
        """The names of its encoded columns."""
        if self.special:
            return self.name, self.name + SPECIAL
        if self.evidence:
            return self.name, self.name + EVIDENCE
        return (self.name,)

    def value_text(self, encoded: Sequence[float]) -> str:
        """Return what encoded values stand for: the value, and the index of its code.

        Examples
        --------
        >>> Column("x", "number", special=(-9.0,)).value_text([float("nan"), 1.0])
        '-9'
        >>> Column("x", "category", ("a",)).value_text([0.0])
        'a'
        """
        value = encoded[0]
        code = encoded[1] if self.special else 0.0
        if code > 0:
            return f"{self.special[int(code) - 1]:g}"
        if self.kind == "category":
            return "another" if isnan(value) else self.levels[int(value)] or "missing"
        return "missing" if isnan(value) else f"{value:g}"

    def require_readable(self, value: object, where: str = "") -> None:
        """Refuse a value that is not one of this column.

        Parameters
        ----------
        value : object
            Of one row.
        where : str
            What stands before the name of the column in the message.

        Raises
        ------
        SchemaError
            If a number was expected.
        """
        if self.kind == "category" or self.reading.number(value) is not None:
            return
        shown = repr(value)[:MOST_SHOWN]
        raise SchemaError(
            f"not a number: {shown}",
            where=f"{where}{self.name}",
            expected=self.reading.expected(),
        )

    def require_numbers(self, values: pd.Series) -> None:
        """Refuse a column with a cell that is not a number, counted from row 1.

        Raises
        ------
        SchemaError
            With the number of such cells and the first of them.
        """
        reading = self.reading_of(values)
        unreadable = unreadable_cells(values, reading)
        if not unreadable:
            return
        first = unreadable[0]
        shown = repr(values.iloc[first])[:MOST_SHOWN]
        raise SchemaError(
            f"{len(unreadable):,} cells are not numbers; the first is {shown}",
            where=f"row {first + 1}, column {self.name}",
            expected=reading.expected(),
        )

    def reading_of(self, values: pd.Series) -> NumberReading:
        """Return how a whole column is read: as the model's, or by what it proves.

        Another file may have other signs than the one that the model was trained on.

        Raises
        ------
        SchemaError
            If the column does not have the model's signs and proves no others.
        """
        unreadable = unreadable_cells(values, self.reading)
        cells = [str(values.iloc[position]) for position in unreadable]
        if not any(map(is_number_like, cells)):
            return self.reading
        stated = StatedReading(missing=self.reading.missing, is_number=True)
        number = require_reading(values.rename(self.name), stated)
        return replace(number.reading, is_truth=self.reading.is_truth)

    def encoded(self, values: pd.Series) -> list[Floats]:
        """Return its encoded columns, each of shape (n,)."""
        if self.kind == "category":
            level_index = _level_index(values, self.levels, self.reading.missing)
            if not self.evidence:
                return [level_index]
            return [level_index, self._evidence_of(values)]
        parsed = parse_numbers(values, self.reading_of(values))
        # A code is not on the scale of the numbers, so it becomes a column of its own.
        is_special = np.isin(parsed, self.special)
        ordinary = np.where(is_special, np.nan, parsed)
        if not self.special:
            return [ordinary]
        codes = np.where(is_special, parsed, self.special[0])
        index = np.searchsorted(self.special, codes) + 1.0
        return [ordinary, np.where(is_special, index, 0.0)]

    def encoded_value(self, value: object) -> list[float]:
        """Return one readable value as `encoded` returns a column of them."""
        if self.kind == "category":
            text = cell_text(value)
            text = MISSING if text in self.reading.missing else text
            if self.evidence:
                cell = pd.Series([text], dtype="object")
                return [float(part[0]) for part in self.encoded(cell)]
            return [self._lookup.index(text)]
        parsed = self.reading.number(value)
        number = nan if parsed is None or isinf(parsed) else parsed
        if not self.special:
            return [number]
        if number in self.special:
            return [nan, self.special.index(number) + 1.0]
        return [number, 0.0]

    @cached_property
    def _lookup(self) -> LevelLookup:
        return LevelLookup(self.levels)

    def level_texts(self, values: pd.Series) -> pd.Series:
        """Return the level of each value as a text; empty if it is missing."""
        return _level_texts(values, self.reading.missing)

    def evidence_codes(self, values: pd.Series) -> Ints:
        """Return the index of each value among the levels of `evidence`, else -1."""
        levels = [level for level, _ in self.evidence]
        index = _level_index(values, levels, self.reading.missing)
        return np.where(np.isnan(index), -1, index).astype(np.int64)

    def _evidence_of(self, values: pd.Series) -> Floats:
        by_code = np.array([*(value for _, value in self.evidence), 0.0])
        of_values: Floats = by_code[self.evidence_codes(values)]
        return of_values

    def fields(self) -> ColumnFields:
        """Return its values for JSON."""
        fields: ColumnFields = {
            "name": self.name,
            "kind": self.kind,
            "levels": list(self.levels),
            "special": list(self.special),
            "direction": self.direction,
            "reading": self.reading.fields(),
        }
        if self.evidence:
            fields["evidence"] = dict(self.evidence)
        return fields

    @classmethod
    def from_fields(cls, fields: ColumnFields) -> Column:
        """Return the column that `fields` describes."""
        reading = EARLIER
        if "reading" in fields:
            reading = NumberReading.from_fields(fields["reading"])
        return cls(
            name=fields["name"],
            kind=fields["kind"],
            levels=tuple(fields["levels"]),
            special=tuple(fields["special"]),
            direction=fields["direction"],
            reading=reading,
            evidence=tuple(fields.get("evidence", {}).items()),
        )


@dataclass(frozen=True)
class Encoding:
    """How rows of a table become rows of numbers.

    Attributes
    ----------
    columns : tuple of Column
        The columns of the table that are used.
    pairs : tuple of Pair or Triple
        Columns that are computed from two or three encoded ones.
    """

    columns: tuple[Column, ...]
    pairs: tuple[Derived, ...] = ()

    @cached_property
    def parts(self) -> tuple[tuple[Column, slice], ...]:
        """Each column and pair, with the encoded columns that belong to it."""
        names = self._base
        of_pairs = [Column(pair.name(names), "number") for pair in self.pairs]
        parts = []
        start = 0
        for column in (*self.columns, *of_pairs):
            stop = start + len(column.encoded_names)
            parts.append((column, slice(start, stop)))
            start = stop
        return tuple(parts)

    @cached_property
    def _base(self) -> tuple[str, ...]:
        """The names of the encoded columns without those of pairs."""
        names = list[str]()
        for column in self.columns:
            names.extend(column.encoded_names)
        return _distinct(names)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The names of the encoded columns, each once; those of pairs come last."""
        of_pairs = (pair.name(self._base) for pair in self.pairs)
        return _distinct([*self._base, *of_pairs])

    @cached_property
    def categorical(self) -> tuple[int, ...]:
        """The indices of encoded columns whose values are codes."""
        indices = list[int]()
        for column, part in self.parts:
            # A number has the index of its special code in a second column.
            if column.kind == "category":
                indices.append(part.start)
            else:
                indices.extend(range(part.start + 1, part.stop))
        return tuple(indices)

    @cached_property
    def directions(self) -> tuple[int, ...]:
        """The direction of each encoded column: +1, -1 or 0."""
        directions = [0] * len(self.names)
        for column, part in self.parts:
            if column.kind == "number":
                directions[part.start] = column.direction
        return tuple(directions)

    def level_texts(self) -> list[Sequence[str]]:
        """Return the names of the codes of each encoded column; none for numbers."""
        level_texts = list[Sequence[str]]()
        for column in self.columns:
            level_texts.append(column.levels)
            if column.special:
                codes = [f"{code:g}" for code in column.special]
                level_texts.append(("an ordinary number", *codes))
            elif column.evidence:
                level_texts.append(())
        return level_texts

    def rows(self, frame: pd.DataFrame) -> Floats:
        """Return the encoded rows of a table, shape (n, names).

        A level that was not seen in training is NaN.
        """
        encoded = list[Floats]()
        for column in self.columns:
            encoded.extend(column.encoded(frame[column.name]))
        base = np.column_stack(encoded) if encoded else np.empty((len(frame), 0))
        return derived(base, self.pairs)

    def checked_rows(self, frame: pd.DataFrame) -> Floats:
        """Return the encoded rows of a table that is scored, shape (n, names).

        Raises
        ------
        SchemaError
            If a column is missing, or a cell is not a number where one is expected;
            the message has the row and the column.
        """
        missing = [column.name for column in self.columns if column.name not in frame]
        if missing:
            raise SchemaError(
                f"the columns {missing[:5]} are missing",
                where="table",
                expected=f"the {len(self.columns)} columns of the model, empty cells "
                "if values are not known",
            )
        for column in self.columns:
            if column.kind == "number":
                column.require_numbers(frame[column.name])
        return self.rows(frame)

    def row(self, values: Mapping[str, object]) -> Floats:
        """Return one encoded row, shape (1, names).

        Parameters
        ----------
        values : mapping of str to object
            A value for each column of the model, None if it is not known.

        Raises
        ------
        SchemaError
            If a column is missing or unknown, or if a number was expected.
        """
        names = [column.name for column in self.columns]
        missing = sorted(set(names) - values.keys())
        unknown = sorted(values.keys() - set(names))
        if missing or unknown:
            raise SchemaError(
                f"missing {missing[:5]}, unknown {unknown[:5]}",
                where="features",
                expected=f"the {len(names)} columns of the model, null if not known",
            )
        encoded = list[float]()
        for column in self.columns:
            value = values[column.name]
            column.require_readable(value, "features.")
            encoded.extend(column.encoded_value(value))
        return derived(np.array([encoded]), self.pairs)

    def as_dict(self) -> EncodingFields:
        """Return its values for JSON."""
        return {
            "columns": [column.fields() for column in self.columns],
            "pairs": list(self.pairs),
        }

    @classmethod
    def from_dict(cls, fields: EncodingFields) -> Encoding:
        """Return the encoding that `as_dict` described."""
        columns = [Column.from_fields(column) for column in fields["columns"]]
        return cls(tuple(columns), tuple(map(derived_from, fields["pairs"])))


def derived_from(fields: Sequence[str | int]) -> Derived:
    """Return the pair or the triple that JSON describes by its fields."""
    kind = Pair if len(fields) == len(Pair._fields) else Triple
    return kind._make(fields)


def fit_encoding(frame: pd.DataFrame, spec: Spec) -> tuple[Encoding, list[str]]:
    """Learn from training rows how columns become numbers.

    Parameters
    ----------
    frame : DataFrame
        Training rows, with the columns that may become features.
    spec : Spec
        What is stated about the columns.

    Returns
    -------
    Encoding
        Of the columns that are used.
    list of str
        Why the others are left out.

    Raises
    ------
    SchemaError
        If no column can be used.
    """
    columns = list[Column]()
    findings = list[str]()
    for name in map(str, frame):
        values = frame[name]
        stated = stated_reading(spec, name)
        kind = spec.column(name).type or kind_of(values, stated)
        if values.nunique(dropna=False) < 2:
            findings.append(f"{name}: only one value, left out")
        elif kind == "number":
            columns.append(_number_column(values, spec, stated))
        elif kind == "category":
            levels = levels_of(values, stated.missing)
            reading = NumberReading(missing=stated.missing)
            columns.append(Column(name, "category", levels=levels, reading=reading))
        else:
            findings.append(f"{name}: {kind}, left out")
    if not columns:
        raise SchemaError(
            "no column can be used as a feature",
            where=spec.name,
            expected="at least one",
            do="check the roles of the columns in the spec",
        )
    return Encoding(tuple(columns)), findings


def stated_reading(spec: Spec, name: str) -> StatedReading:
    """Return what a spec states about the texts of a column."""
    column = spec.column(name)
    table = spec.table
    has_own_signs = bool(column.decimal or column.thousands)
    signs = column if has_own_signs else table
    return StatedReading(
        decimal=signs.decimal,
        thousands=signs.thousands,
        missing=(*table.missing, *column.missing),
        special=table.special if column.special is None else column.special,
        is_number=column.type == "number",
        has_direction=column.direction != 0,
    )


def _number_column(
    values: pd.Series,
    spec: Spec,
    stated: StatedReading,
) -> Column:
    """Return a column of numbers with the special codes that occur in it."""
    name = str(values.name)
    number = require_reading(values, stated)
    parsed = parse_numbers(values, number.reading)
    codes = set(stated.special) & set(np.unique(parsed).tolist())
    return Column(
        name,
        "number",
        special=tuple(sorted(codes)),
        direction=spec.column(name).direction,
        reading=number.reading,
    )


def stated_numbers(values: pd.Series, spec: Spec) -> Floats:
    """Return a named column as numbers by its spec, NaN if it is not one.

    Raises
    ------
    SchemaError
        If it can be read in two ways; the message has the choice.
    """
    stated = stated_reading(spec, str(values.name))
    return parse_numbers(values, require_reading(values, stated).reading)


def require_reading(values: pd.Series, stated: StatedReading) -> NumberColumn:
    """Return how a column of numbers is read.

    Raises
    ------
    SchemaError
        If it can be read in two ways; the message has the choice.
    """
    number = number_column(values, replace(stated, is_number=True))
    if number is None or number.refusal:
        raise SchemaError(
            number.refusal if number else "the column holds no numbers",
            where=str(values.name),
            expected="one way to read the whole column",
            do=f"state in [columns.{values.name}] or [table]: "
            f"{number.choice if number else 'another type'}",
        )
    return number


def kind_of(values: pd.Series, stated: StatedReading | None = None) -> str:
    """Return what a column contains.

    Parameters
    ----------
    values : Series, shape (n,)
        Cells of any type.
    stated : StatedReading, optional
        What the spec says about its texts.

    Returns
    -------
    str
        ``number`` or ``category``; otherwise what it is: dates, or texts.

    Examples
    --------
    >>> kind_of(pd.Series(["13.5%", "7%", None])), kind_of(pd.Series(["a", "b", "a"]))
    ('number', 'category')
    """
    if pd.api.types.is_datetime64_any_dtype(values) or _are_compact_days(values):
        return "dates"
    if number_column(values, stated) is not None:
        return "number"
    present = texts(values.iloc[:MOST_VALUES_READ])
    present = present[present != MISSING]
    n_distinct = present.nunique()
    # Twelve month ends are dates, though they are few.
    if len(present) and present.str.fullmatch(_DATE).mean() > NEARLY_ALL:
        return "dates"
    if n_distinct > 100 and n_distinct > 0.5 * len(present):
        return "texts, most of them different"
    return "category"


def _are_compact_days(values: pd.Series) -> bool:
    """Return whether a column of numbers is one of days such as 20240331."""
    cells = pd.Series(texts(values).unique(), dtype="str")
    cells = cells[cells != MISSING]
    if len(cells) < FEWEST_DAYS or not cells.str.fullmatch(_COMPACT_DAY).all():
        return False
    days = pd.to_datetime(cells, format="%Y%m%d", errors="coerce")
    return bool(days.notna().all())


def levels_of(values: pd.Series, missing: Sequence[str]) -> tuple[str, ...]:
    """Return the levels with enough rows, sorted; a missing value is one of them."""
    # In a small table the most frequent level is kept, however rare it is.
    counts = _level_texts(values, missing).value_counts()
    fewest = min(FEWEST_ROWS, counts.iloc[0])
    return tuple(sorted(counts[counts >= fewest].index[:MOST_LEVELS]))


def _level_texts(values: pd.Series, missing: Sequence[str]) -> pd.Series:
    """Return a column as texts, with further words for a missing value."""
    level_texts = texts(values)
    return level_texts.where(~level_texts.isin(missing), MISSING)


def _level_index(
    values: pd.Series,
    levels: Sequence[str],
    missing: Sequence[str],
) -> Floats:
    """Return the index of each value among the levels, NaN if it is another one.

    A value is read alike from a file and from JSON: ``1``, ``1.0`` and ``"1"`` are one
    level, as are ``true``, ``yes`` and ``1`` where there is no other.

    Parameters
    ----------
    values : Series, shape (n,)
        Cells of any type.
    levels : sequence of str
        As they were learnt.
    missing : sequence of str
        Words for a missing value, besides the usual.
    """
    lookup = LevelLookup(levels)
    level_texts = _level_texts(values, missing)
    index_by_text = {text: lookup.index(text) for text in pd.unique(level_texts)}
    return np.array([index_by_text[text] for text in level_texts], dtype=np.float64)
