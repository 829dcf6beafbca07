"""A first spec of a table nobody has described yet, and what looks wrong about it: leaks before all."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from obligor.arrays import Ints
from obligor.errors import SchemaError
from obligor.features.applications import is_bad
from obligor.features.encoding import kind_of, numbers, texts
from obligor.training.metrics.figures import auc

TOO_GOOD = 0.9  # no single honest column ranks this well
_TARGETS = (
    "default.payment.next.month",
    "default_payment_next_month",
    "seriousdlqin2yrs",
    "riskperformance",
    "creditability",
    "loan_status",
    "default",
    "is_default",
    "defaulted",
    "target",
    "bad",
    "bad_flag",
    "label",
    "class",
    "outcome",
    "status",
    "y",
)
_BAD = (
    "bad",
    "default",
    "defaulted",
    "charged off",
    "chargeoff",
    "late",
    "yes",
    "y",
    "true",
    "1",
    "1.0",
    "2",
)
_GOOD = re.compile(
    r"(^|_)(good|(re|fully_)?paid|creditworth\w*|creditability|non_?default|performing)($|_)"
)
_ID = re.compile(r"(^|_)(id|no|nr|number|key|uuid|index)$|^unnamed: 0$|^id")
_DATE = re.compile(r"date|_on$|_at$|month$|_d$|time")
_AFTER = re.compile(
    r"recover|charge_?off|collection|settle|last_(pymnt|payment)|total_(pymnt|rec)|outcome|write_?off"
    r"|closed|days_(late|overdue)|paid_(on|at)|cleared|days_?to_?(settle|pay)|out_prncp"
)
_FORBIDDEN = re.compile(
    r"(^|_)(sex|gender|race|ethnic\w*|religion|nationality|foreign_worker|disab\w*)($|_)"
)
_CODES = (-7.0, -8.0, -9.0, -99.0, -999.0, -9999.0, 999.0, 9999.0, 99999.0, 999999.0)


@dataclass
class Inferred:
    """A spec as text, and warnings for whoever reads it.

    Attributes
    ----------
    warnings : list of str
        Each is also a comment in the text.
    """

    target: str
    bad: list[str | float]
    id: list[str] = field(default_factory=list)
    date: str | None = None
    leaks: list[str] = field(default_factory=list)
    forbidden: list[str] = field(default_factory=list)
    special: list[float] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def text(self, name: str) -> str:
        """Return the TOML, to be read and corrected by a person."""
        lines = [
            "# Inferred: read every line. What is not said here has the defaults of features/application.py."
        ]
        lines += [f"# warning: {warning}" for warning in self.warnings]
        lines += [
            f"name = {json.dumps(name)}",
            "[target]",
            f"column = {json.dumps(self.target)}",
            f"bad = {json.dumps(self.bad, ensure_ascii=False)}",
            "[table]",
        ]
        for part in ("id", "leaks", "forbidden", "special"):
            if found := getattr(self, part):
                lines.append(f"{part} = {json.dumps(found, ensure_ascii=False)}")
        if self.date:
            lines.append(f"date = {json.dumps(self.date)}")
        return "\n".join(lines) + "\n"


def infer_spec(
    frame: pd.DataFrame, target: str | None = None, bad: str | None = None
) -> Inferred:
    """Return a first spec of a table.

    Parameters
    ----------
    target, bad : str, optional
        The target column and its bad value, where known.

    Raises
    ------
    SchemaError
        Where no column looks like a target of two kinds.
    """
    column = target or _target(frame)
    if column not in frame:
        raise SchemaError(
            f"no column {column!r}",
            where="--target",
            expected=f"one of {list(frame)[:30]}",
        )
    found = Inferred(
        column, [_number_or_text(bad)] if bad else _bad_values(frame[column])
    )
    known = frame[frame[column].notna()]
    label = is_bad(known[column], found.bad)
    if not 0 < label.sum() < len(label):
        raise SchemaError(
            f"{found.bad} are {int(label.sum())} of {len(label)} rows",
            where=column,
            expected="a value that some rows have",
            do="name it with --bad",
        )
    if not (target and bad):
        found.warnings.append(
            f"{column} was taken for the target, {found.bad} for a default "
            f"({label.mean():.1%} of the rows): is that right?"
        )
    for name in (name for name in known if name != column):
        _look(str(name), known[name], label, found)
    _look_for_codes(known, found)
    twice = int(known.drop(columns=found.id).duplicated().sum())
    if twice:
        found.warnings.append(
            f"{twice:,} rows are there twice: name a [table] group, or they are on both sides of folds"
        )
    return found


def _look(name: str, values: pd.Series[Any], label: Ints, found: Inferred) -> None:
    """Put a column where it belongs, and say what is strange about it."""
    lower, kind = name.lower(), kind_of(values)
    is_unique = values.nunique() == len(values)
    if is_unique and (_ID.search(lower) or kind.startswith("texts")):
        found.id.append(name)
        return
    if kind == "dates":
        if found.date is None and _DATE.search(lower) and values.notna().all():
            found.date = name
        return
    if _FORBIDDEN.search(lower):
        found.forbidden.append(name)
        found.warnings.append(
            f"{name} may not decide about people in many places: forbidden as a feature"
        )
        return
    alone, gaps = (
        _auc_alone(values, kind, label),
        auc(values.isna().to_numpy().astype(np.float64), label),
    )
    if alone > TOO_GOOD:
        found.leaks.append(name)
        found.warnings.append(
            f"{name} alone has AUC {alone:.3f}: known only after the outcome? left out"
        )
    elif max(gaps, 1 - gaps) > TOO_GOOD:
        found.leaks.append(name)
        found.warnings.append(
            f"whether {name} is filled has AUC {max(gaps, 1 - gaps):.3f}: left out"
        )
    elif _AFTER.search(lower):
        found.leaks.append(name)
        found.warnings.append(
            f"{name} sounds as if known only after the outcome: left out"
        )
    elif is_unique and kind == "number" and (np.diff(numbers(values)) > 0).all():
        found.id.append(name)
        found.warnings.append(f"{name} only counts the rows: left out")


def _auc_alone(values: pd.Series[Any], kind: str, label: Ints) -> float:
    """How well one column ranks: a number either way, a category by its own default rates of other rows."""
    if kind == "number":
        column = numbers(values)
        found = auc(
            np.nan_to_num(
                column, nan=np.nanmedian(column) if np.isfinite(column).any() else 0.0
            ),
            label,
        )
        return max(found, 1 - found)
    codes = pd.factorize(texts(values))[0]
    counts, bads = np.bincount(codes), np.bincount(codes, label)
    others = np.maximum(counts[codes] - 1, 1)
    return auc((bads[codes] - label + label.mean()) / (others + 1), label)


def _look_for_codes(frame: pd.DataFrame, found: Inferred) -> None:
    """Codes among numbers: values far from all others, in many rows."""
    aside = {found.target, *found.id, *found.leaks, *found.forbidden, found.date}
    columns = [
        numbers(frame[name])
        for name in frame
        if name not in aside and kind_of(frame[name]) == "number"
    ]
    for code in _CODES:
        if any(_is_code(column, code) for column in columns):
            found.special.append(code)
    if found.special:
        found.warnings.append(
            f"{found.special} look like codes, not numbers: taken for special values"
        )


def _is_code(column: NDArray[np.float64], code: float) -> bool:
    rest = column[~np.isnan(column) & ~np.isin(column, _CODES)]
    share = float((column == code).mean())
    if share < 0.002 or len(rest) < 10:
        return False
    return bool(rest.min() >= 0) if code < 0 else bool(rest.max() * 5 < code)


def _target(frame: pd.DataFrame) -> str:
    by_name = {str(name).lower(): str(name) for name in frame}
    for name in _TARGETS:
        if name in by_name and 2 <= frame[by_name[name]].nunique() <= 12:
            return by_name[name]
    two = [str(name) for name in frame if frame[name].nunique() == 2]
    ends: Sequence[str] = [
        name for name in (str(frame.columns[-1]), str(frame.columns[0])) if name in two
    ]
    if not (ends or two):
        raise SchemaError(
            "no column looks like a target", where="table", do="name it with --target"
        )
    return (ends or two)[0]


def _bad_values(target: pd.Series[Any]) -> list[str | float]:
    there = target.dropna()
    if _GOOD.search(str(target.name).lower()) and there.nunique() == 2:
        return [_plain(there.min())]  # 0 of 1, no of yes, bad of good
    for value in _values(there):
        if str(value).strip().lower() in _BAD[:-1]:
            return [value]
    rare = there.value_counts().index[-1]
    return [_plain(rare)]


def _values(target: pd.Series[Any]) -> Iterator[str | float]:
    for word in _BAD:  # the plainest word first
        yield from (
            _plain(value)
            for value in target.unique()
            if str(value).strip().lower() == word
        )


def _plain(value: Any) -> str | float:
    return str(value).strip() if isinstance(value, str) else float(value)


def _number_or_text(text: str) -> str | float:
    try:
        return float(text)
    except ValueError:
        return text
