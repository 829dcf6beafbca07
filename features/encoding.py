"""How the columns of a table become numbers: learnt from training rows alone, kept in the bundle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from math import isnan
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd

from obligor.arrays import Floats
from obligor.errors import SchemaError
from obligor.features.applications import is_number
from obligor.features.table_spec import ColumnSpec, Spec

MOST_LEVELS, FEWEST_ROWS = 60, 10  # of a category; rarer ones are "another"
MISSING = ""
SPECIAL = "=special"
LOOKED_AT = 20_000  # values, to tell what a column of texts is
_MONTH = "(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*"
_DATE = rf"(?i)\d{{1,4}}[-/. ]\d{{1,2}}[-/. ]\d{{1,4}}([T ][\d:.+Z-]*)?|(\d{{1,2}}[- ])?{_MONTH}[- ]\d{{2,4}}"
_PLAIN = str.maketrans("", "", "%$€,")


class Pair(NamedTuple):
    """A column made of two: one over another (what is owed over the limit), or one less another."""

    sign: Literal["/", "-"]
    first: int
    second: int

    def name(self, names: Sequence[str]) -> str:
        """Return how people call it."""
        return f"{names[self.first]} {self.sign} {names[self.second]}"


def derived(rows: Floats, pairs: Sequence[Pair]) -> Floats:
    """Return encoded rows with the columns of pairs behind them; what cannot be divided is missing.

    Examples
    --------
    >>> derived(np.array([[6.0, 3.0], [1.0, 0.0]]), [Pair("/", 0, 1), Pair("-", 0, 1)]).tolist()
    [[6.0, 3.0, 2.0, 3.0], [1.0, 0.0, nan, 1.0]]
    """
    found = np.empty((len(rows), rows.shape[1] + len(pairs)))
    found[:, : rows.shape[1]] = rows
    for place, (sign, first, second) in enumerate(pairs, start=rows.shape[1]):
        one, two = rows[:, first], rows[:, second]
        if sign == "-":
            found[:, place] = one - two
        else:
            found[:, place] = np.divide(
                one, two, out=np.full(len(rows), np.nan), where=two != 0
            )
    return found


@dataclass(frozen=True)
class Column:
    """How one column becomes numbers: itself and a code of its specials, or a code of its category."""

    name: str
    kind: Literal["number", "category"]
    levels: tuple[str, ...] = ()
    special: tuple[float, ...] = ()
    direction: int = 0

    def said(self, encoded: Sequence[float]) -> str:
        """Return what an encoded value, and the code of its special behind it, stand for.

        Examples
        --------
        >>> Column("x", "number", special=(-9.0,)).said([float("nan"), 1.0])
        '-9'
        >>> Column("x", "category", ("a",)).said([0.0])
        'a'
        """
        value, code = encoded[0], encoded[1] if len(encoded) > 1 else 0.0
        if code > 0:
            return f"{self.special[int(code) - 1]:g}"
        if self.kind == "category":
            return "another" if isnan(value) else self.levels[int(value)] or "missing"
        return "missing" if isnan(value) else f"{value:g}"


@dataclass(frozen=True)
class Encoding:
    """How rows of a table become rows of numbers; learnt from training rows alone, kept in the bundle."""

    columns: tuple[Column, ...]
    pairs: tuple[Pair, ...] = ()

    @cached_property
    def parts(self) -> tuple[tuple[Column, slice], ...]:
        """Each column, and each pair as a column of numbers, with its places among the encoded ones."""
        found, place = list[tuple[Column, slice]](), 0
        for one in (
            *self.columns,
            *(Column(pair.name(self._base), "number") for pair in self.pairs),
        ):
            found.append((one, slice(place, place + 1 + bool(one.special))))
            place = found[-1][1].stop
        return tuple(found)

    @cached_property
    def _base(self) -> tuple[str, ...]:
        return tuple(
            name
            for one in self.columns
            for name in (one.name, one.name + SPECIAL)[: 1 + bool(one.special)]
        )

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The encoded columns; that of a column's special codes is named for it, pairs come last."""
        return (*self._base, *(pair.name(self._base) for pair in self.pairs))

    @cached_property
    def categorical(self) -> tuple[int, ...]:
        """The places of encoded columns that are codes."""
        kinds = {one.name: one.kind for one in self.columns}
        return tuple(
            n
            for n, name in enumerate(self._base)
            if kinds.get(name, "category") == "category"
        )

    @cached_property
    def directions(self) -> tuple[int, ...]:
        """+1, -1 or 0 of each encoded column."""
        said = {one.name: one.direction for one in self.columns if one.kind == "number"}
        return tuple(said.get(name, 0) for name in self.names)

    def rows(self, frame: pd.DataFrame) -> Floats:
        """Return the encoded rows, shape (n, names); what was never seen in training is NaN."""
        parts = list[Floats]()
        for one in self.columns:
            if one.kind == "category":
                parts.append(_codes(frame[one.name], one.levels))
            else:
                values = numbers(frame[one.name])
                is_special = np.isin(values, one.special)
                parts.append(np.where(is_special, np.nan, values))
                if one.special:
                    places = np.searchsorted(
                        one.special, np.where(is_special, values, one.special[0])
                    )
                    parts.append(np.where(is_special, places + 1.0, 0.0))
        return derived(
            np.column_stack(parts) if parts else np.empty((len(frame), 0)), self.pairs
        )

    def row(self, given: Mapping[str, Any]) -> Floats:
        """Return one encoded row, shape (1, names), from a value for each column, None where not known.

        Raises
        ------
        SchemaError
            Where a column is missing or unknown, or a number was expected.
        """
        wanted = [one.name for one in self.columns]
        if given.keys() != set(wanted):
            missing, unknown = (
                sorted(set(wanted) - given.keys())[:5],
                sorted(given.keys() - set(wanted))[:5],
            )
            raise SchemaError(
                f"missing {missing}, unknown {unknown}",
                where="features",
                expected=f"the {len(wanted)} columns of the model, null where not known",
            )
        for one in self.columns:
            value = given[one.name]
            if (
                one.kind == "number"
                and isinstance(value, str)
                and not is_number(value.translate(_PLAIN).strip())
            ):
                raise SchemaError(
                    "is no number",
                    where=f"features.{one.name}",
                    expected="a number, or null",
                )
        return self.rows(
            pd.DataFrame({name: [given[name]] for name in wanted}, dtype=object)
        )

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "columns": [asdict(one) for one in self.columns],
            "pairs": [list(pair) for pair in self.pairs],
        }

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> Encoding:
        """Return what `as_dict` gave."""
        columns = tuple(
            Column(
                **{
                    **one,
                    "levels": tuple(one["levels"]),
                    "special": tuple(one["special"]),
                }
            )
            for one in found["columns"]
        )
        return cls(columns, tuple(Pair(*pair) for pair in found["pairs"]))


def fit_encoding(frame: pd.DataFrame, spec: Spec) -> tuple[Encoding, list[str]]:
    """Learn how columns become numbers from training rows; say of each that is left out why.

    Raises
    ------
    SchemaError
        Where no column is left.
    """
    columns, findings = list[Column](), list[str]()
    for name in map(str, frame):
        said, values = spec.columns.get(name, ColumnSpec()), frame[name]
        kind = said.type or kind_of(values)
        if values.nunique(dropna=False) < 2:
            findings.append(f"{name}: one value alone, left out")
        elif kind == "number":
            special = spec.table.special if said.special is None else said.special
            there = tuple(
                sorted(set(special) & set(np.unique(numbers(values)).tolist()))
            )
            columns.append(
                Column(name, "number", special=there, direction=said.direction)
            )
        elif kind == "category":
            columns.append(Column(name, "category", levels=_levels(values)))
        else:
            findings.append(f"{name}: {kind}, left out")
    if not columns:
        raise SchemaError(
            "no column is left as a feature",
            where=spec.name,
            expected="one at least",
            do="see the spec",
        )
    return Encoding(tuple(columns)), findings


def kind_of(values: pd.Series[Any]) -> str:
    """Return ``number``, ``category``, or what a column is that is neither: dates, texts.

    Examples
    --------
    >>> kind_of(pd.Series(["13.5%", "7%", None])), kind_of(pd.Series(["a", "b", "a"]))
    ('number', 'category')
    """
    if pd.api.types.is_bool_dtype(values) or pd.api.types.is_numeric_dtype(values):
        return "number"
    if pd.api.types.is_datetime64_any_dtype(values):
        return "dates"
    there = values.dropna().iloc[:LOOKED_AT].astype(str).str.strip()
    if (
        len(there)
        and pd.to_numeric(_plain(there), errors="coerce").notna().mean() > 0.95
    ):
        return "number"
    distinct = there.nunique()
    if distinct > MOST_LEVELS and there.str.fullmatch(_DATE).mean() > 0.95:
        return "dates"
    return (
        "texts, nearly each its own"
        if distinct > 100 and distinct > 0.5 * len(there)
        else "category"
    )


def numbers(values: pd.Series[Any]) -> Floats:
    """Return a column as numbers; percent signs, currency signs and thousands' commas are left out."""
    if not pd.api.types.is_numeric_dtype(values):
        is_text = values.map(lambda value: isinstance(value, str))
        values = values.where(~is_text, _plain(values.astype(str)))
        values = pd.to_numeric(values, errors="coerce")
    found = np.array(values, dtype=np.float64, copy=True)
    found[~np.isfinite(found)] = np.nan
    return found


def _plain(texts: pd.Series[Any]) -> pd.Series[Any]:
    return texts.str.translate(_PLAIN).str.strip()


def _levels(values: pd.Series[Any]) -> tuple[str, ...]:
    """The levels with enough rows, in the order of their names; a missing value is one of them."""
    counts = texts(values).value_counts()
    return tuple(
        sorted(counts[counts >= min(FEWEST_ROWS, counts.iloc[0])].index[:MOST_LEVELS])
    )


def _codes(values: pd.Series[Any], levels: Sequence[str]) -> Floats:
    codes = pd.Index(list(levels), dtype=object).get_indexer(
        pd.Index(texts(values), dtype=object)
    )
    return np.where(codes < 0, np.nan, codes)


def texts(values: pd.Series[Any]) -> pd.Series[Any]:
    """Return a column as texts; what is missing is the empty one."""
    return values.astype(object).where(values.notna(), MISSING).astype(str).str.strip()
