"""A first spec of a table that nobody has described yet, with warnings.

Above all it warns of leaks: columns known only after the outcome.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date

import numpy as np
import pandas as pd

from obligor.arrays import Floats, Ints
from obligor.errors import SchemaError
from obligor.features.applications import (
    applications,
    is_among_values,
    is_bad,
    require_table,
)
from obligor.features.encoding import kind_of
from obligor.features.levels import level_key, texts
from obligor.features.number_reading import number_column, numbers
from obligor.features.table_findings import table_findings
from obligor.features.table_spec import Spec
from obligor.metrics.figures import auc

TOO_GOOD = 0.9  # AUC that no single honest column reaches
MOST_TARGET_VALUES = 12
FEWEST_SHARE = 0.002  # of the rows, for a value to be a code
FEWEST_OTHERS = 10  # other values, to tell a code from a number
FAR_ABOVE = 5  # times the highest other value
NAMED = 30  # columns named in a message
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
# Words for a default: all values with one of them are bad, unless they deny it.
_BAD = re.compile(
    r"\b(bad|default(ed)?|charged?[ -]?off|written[ -]off|late|delinquent|bankrupt(cy)?"
    r"|loss|unpaid|not paid|non-?performing|npl|foreclos\w+|repossess\w+|ausgefallen)\b"
    r"|坏"
)
_DENIAL = re.compile(r"\b(no|not|non|never|without)[ -](?!paid|performing)")
# Answers to whether it defaulted; the first pair that occurs is meant.
_YES = ("yes", "y", "true", "1")
# Nobody knows yet how these end.
_UNDECIDED = (
    "current",
    "issued",
    "in grace period",
    "open",
    "active",
    "pending",
    "ongoing",
    "unknown",
    "undecided",
    "indeterminate",
    "n/a",
    "?",
)
_GOOD = re.compile(
    r"(^|_)(good|(re|fully_)?paid|creditworth\w*|creditability|non_?default"
    r"|performing)($|_)"
)
_ID = re.compile(r"(^|_)(id|no|nr|number|key|uuid|index)$|^unnamed: 0$|^id")
_DATE = re.compile(r"date|_on$|_at$|month$|_d$|time")
_AFTER = re.compile(
    r"recover|charge_?off|collection|settle|last_(pymnt|payment)|total_(pymnt|rec)"
    r"|outcome|write_?off|closed|days_(late|overdue)|paid_(on|at)|cleared"
    r"|days_?to_?(settle|pay)|out_prncp"
)
_FORBIDDEN = re.compile(
    r"(^|_)(sex|gender|race|ethnic\w*|religion|nationality|foreign_worker"
    r"|disab\w*)($|_)"
)
_CODES = (
    -7.0,
    -8.0,
    -9.0,
    -99.0,
    -999.0,
    -9999.0,
    999.0,
    9999.0,
    99999.0,
    999999.0,
)


@dataclass
class Inferred:
    """A spec in the making.

    Attributes
    ----------
    target : str
        The column that says what happened.
    bad : list
        Its values that are a default.
    id : list of str
        Columns that identify a row.
    date : str, optional
        The column of the application's date.
    undecided : list
        Values of the target whose outcome is not known yet.
    leaks : list of str
        Columns that seem to be known only after the outcome. They stay features, until
        a person has looked: the best honest predictor looks like a leak.
    forbidden : list of str
        Columns that must not be features.
    special : dict of str to list of float
        Numbers that are codes, by column.
    unclear : dict of str to str
        What can be stated about columns of numbers that can be read in two ways.
    warnings : list of str
        For the person who reads the spec; each is also a comment in its text.
    """

    target: str
    bad: list[str | float]
    undecided: list[str | float] = field(default_factory=list)
    id: list[str] = field(default_factory=list)
    date: str | None = None
    leaks: list[str] = field(default_factory=list)
    forbidden: list[str] = field(default_factory=list)
    special: dict[str, list[float]] = field(default_factory=dict)
    unclear: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def text(self, name: str) -> str:
        """Return the spec as TOML, to be read and corrected by a person."""
        lines = [
            "# Inferred: check every line. Whatever is not set here has the defaults "
            "of features/table_spec.py."
        ]
        lines += [f"# warning: {_in_one_line(text)}" for text in self.warnings]
        lines += [
            f"name = {_toml(name)}",
            "[target]",
            f"column = {_toml(self.target)}",
            f"bad = {_toml(self.bad)}",
        ]
        if self.undecided:
            lines.append(f"undecided = {_toml(self.undecided)}")
        lines.append("[table]")
        for part in ("id", "forbidden"):
            values = getattr(self, part)
            if values:
                lines.append(f"{part} = {_toml(values)}")
        if self.leaks:
            lines.append(
                f"# If these are known only afterwards: leaks = {_toml(self.leaks)}"
            )
        if self.date:
            lines.append(f"date = {_toml(self.date)}")
        for name, codes in self.special.items():
            lines.append(f"[columns.{_toml(name)}]")
            lines.append(f"special = {_toml(codes)}")
        for name, choice in self.unclear.items():
            lines.append(f"# [columns.{_toml(name)}]: state {_in_one_line(choice)}")
        return "\n".join(lines) + "\n"

    def suspect(self, name: str, reason: str) -> None:
        """Warn of a column that may be known only after the outcome."""
        self.leaks.append(name)
        self.warnings.append(
            f"{reason}: it stays a feature; if it is, name it in [table] leaks"
        )


def _in_one_line(text: str) -> str:
    """Return a text as one line of a comment; TOML refuses control characters."""
    return "".join(character if character.isprintable() else " " for character in text)


def _toml(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def infer_spec(
    frame: pd.DataFrame,
    target: str | None = None,
    bad: str | None = None,
    today: date | None = None,
) -> Inferred:
    """Return a first spec of a table.

    Parameters
    ----------
    frame : DataFrame
        A row per applicant.
    target : str, optional
        The column that says what happened, if it is known.
    bad : str, optional
        Its value that is a default, if it is known.
    today : date, optional
        Later dates of applications are in the future.

    Returns
    -------
    Inferred
        The spec with its warnings.

    Raises
    ------
    SchemaError
        If no column looks like a target, or no row or every row is a default.
    """
    frame = frame.rename(columns=str)
    require_table(frame, "table")
    column = _find_target(frame) if target is None else target
    if column not in frame:
        raise SchemaError(
            f"the table has no column {column!r}",
            where="--target",
            expected=f"one of {list(frame)[:NAMED]}",
        )
    bad_values = [_number_or_text(bad)] if bad else _bad_values(frame[column])
    undecided = _undecided(frame[column], bad_values)
    spec = Inferred(column, bad_values, undecided)
    is_undecided = is_among_values(frame[column], undecided)
    labelled = frame[frame[column].notna() & ~is_undecided]
    label = _label_of(labelled, spec)
    if undecided:
        n_rows = int(is_undecided.sum())
        spec.warnings.append(
            f"{undecided} of {column} is taken as not decided yet: {n_rows:,} rows are "
            "left out"
        )
    if not (target and bad):
        good_values = _good_values(labelled[column], label)
        spec.warnings.append(
            f"{column} was taken for the target, {spec.bad} for a default "
            f"({label.mean():.1%} of the rows) and {good_values} for none: check this"
        )
    for name in labelled:
        if name != column:
            _classify(
                str(name),
                labelled[name],
                label,
                spec,
            )
    _find_codes(labelled, spec)
    _warn_of_findings(frame, spec, today)
    return spec


def _label_of(labelled: pd.DataFrame, spec: Inferred) -> Ints:
    label = is_bad(labelled[spec.target], spec.bad)
    if not 0 < label.sum() < len(label):
        raise SchemaError(
            f"{spec.bad} is the value of {int(label.sum())} of {len(label)} rows",
            where=spec.target,
            expected="a value that some rows have and others do not",
            do="name it with --bad",
        )
    return label


def _classify(
    name: str,
    values: pd.Series,
    label: Ints,
    spec: Inferred,
) -> None:
    """Put a column where it belongs, and warn of what is strange about it."""
    lower = name.lower()
    kind = kind_of(values)
    _warn_of_signs(name, values, kind, spec)
    is_unique = values.nunique() == len(values)
    if is_unique and (_ID.search(lower) or kind.startswith("texts")):
        spec.id.append(name)
        spec.warnings.append(
            f"{name} has another value in each of {len(values):,} rows: it is taken "
            "for an identifier and left out"
        )
    elif kind == "dates":
        if spec.date is None and _DATE.search(lower) and values.notna().all():
            spec.date = name
    elif _FORBIDDEN.search(lower):
        spec.forbidden.append(name)
        spec.warnings.append(
            f"{name} may not be used to decide about people in many countries: "
            "forbidden as a feature"
        )
    elif reason := _leak_reason(
        name,
        values,
        kind,
        label,
    ):
        spec.suspect(name, reason)
    elif is_unique and kind == "number" and (np.diff(numbers(values)) > 0).all():
        spec.id.append(name)
        spec.warnings.append(f"{name} only numbers the rows: it is left out")


def _warn_of_signs(
    name: str,
    values: pd.Series,
    kind: str,
    spec: Inferred,
) -> None:
    """Warn of a column of numbers that can be read in two ways."""
    number = number_column(values) if kind == "number" else None
    if number is not None and number.refusal:
        spec.unclear[name] = number.choice
        spec.warnings.append(
            f"{name}: {number.refusal}: training refuses it until [columns.{name}] or "
            f"[table] states {number.choice}"
        )


def _leak_reason(
    name: str,
    values: pd.Series,
    kind: str,
    label: Ints,
) -> str | None:
    """Why a column seems to be known only after the outcome; None if it does not."""
    alone = _auc_alone(values, kind, label)
    if alone > TOO_GOOD:
        return f"{name} alone has AUC {alone:.3f}, so it may be known only afterwards"
    is_missing = values.isna().to_numpy().astype(np.float64)
    gaps = _either_way(auc(is_missing, label))
    if gaps > TOO_GOOD:
        return f"whether {name} is filled has AUC {gaps:.3f}"
    if _AFTER.search(name.lower()):
        return f"the name {name} suggests that it is known only after the outcome"
    return None


def _auc_alone(values: pd.Series, kind: str, label: Ints) -> float:
    """How well one column ranks.

    A number counts either way; a category counts by the default rates of its other
    rows.
    """
    if kind == "number":
        column = numbers(values)
        middle = np.nanmedian(column) if np.isfinite(column).any() else 0.0
        return _either_way(auc(np.nan_to_num(column, nan=middle), label))
    codes = pd.factorize(texts(values))[0]
    counts = np.bincount(codes)
    bads = np.bincount(codes, label)
    n_others = np.maximum(counts[codes] - 1, 1)
    rate_of_others = (bads[codes] - label + label.mean()) / (n_others + 1)
    return auc(rate_of_others, label)


def _either_way(area: float) -> float:
    return max(area, 1 - area)


def _find_codes(frame: pd.DataFrame, spec: Inferred) -> None:
    """Find codes among the numbers of a column: values far from all others of it."""
    used = {spec.target, *spec.id, *spec.forbidden, spec.date}
    for name in map(str, frame):
        if name in used or kind_of(frame[name]) != "number":
            continue
        column = numbers(frame[name])
        codes = [code for code in _CODES if _is_code(column, code)]
        if codes:
            spec.special[name] = codes
            spec.warnings.append(
                f"{codes} of {name} look like codes, not numbers: they are taken for "
                "special values"
            )


def _is_code(column: Floats, code: float) -> bool:
    ordinary = column[~np.isnan(column) & ~np.isin(column, _CODES)]
    share = float((column == code).mean())
    if share < FEWEST_SHARE or len(ordinary) < FEWEST_OTHERS:
        return False
    if code < 0:
        return bool(ordinary.min() >= 0)
    return bool(ordinary.max() * FAR_ABOVE < code)


def _warn_of_findings(
    frame: pd.DataFrame,
    inferred: Inferred,
    today: date | None,
) -> None:
    """Warn of what is strange about the columns, and of what training refuses."""
    fields = tomllib.loads(inferred.text("table"))
    # Columns that can be read in two ways are warned of already.
    readable = frame.drop(columns=list(inferred.unclear))
    try:
        data = applications(readable, Spec.model_validate(fields))
    except SchemaError as error:
        inferred.warnings.append(f"training refuses the table as it is: {error}")
        return
    inferred.warnings.extend(data.notes)
    inferred.warnings.extend(
        finding.sentence() for finding in table_findings(data, today)
    )


def _require_two_values(frame: pd.DataFrame, by_name: Mapping[str, str]) -> None:
    """Refuse a table whose target has one value: no other column takes its place."""
    for name in _TARGETS:
        column = by_name.get(name)
        if column is not None and frame[column].nunique() == 1:
            raise SchemaError(
                f"{column} looks like the target, but has one value in all rows",
                where="table",
                expected="rows that defaulted and rows that did not",
                do="add the others, or name another column with --target",
            )


def _find_target(frame: pd.DataFrame) -> str:
    by_name = {str(name).lower(): str(name) for name in frame}
    for name in _TARGETS:
        if name in by_name:
            column = by_name[name]
            if 2 <= frame[column].nunique() <= MOST_TARGET_VALUES:
                return column
    _require_two_values(frame, by_name)
    of_two_values = [str(name) for name in frame if frame[name].nunique() == 2]
    if not of_two_values:
        raise SchemaError(
            "no column looks like a target", where="table", do="name it with --target"
        )
    for name in (str(frame.columns[-1]), str(frame.columns[0])):
        if name in of_two_values:
            return name
    return of_two_values[0]


def _bad_values(target: pd.Series) -> list[str | float]:
    filled = target.dropna()
    values = [_as_number_or_text(value) for value in pd.unique(filled)]
    is_named_good = _GOOD.search(str(target.name).lower()) is not None
    if is_named_good and len(values) == 2:
        return [_as_number_or_text(filled.min())]  # 0 of 1, no of yes, bad of good
    bad_words = [value for value in values if _is_bad_word(_word(value))]
    if 0 < len(bad_words) < len(values):
        return bad_words
    # Statlog and SAS write 1 for good and 2 for bad.
    if {_word(value) for value in values} == {"1", "2"}:
        return [value for value in values if _word(value) == "2"]
    for word in _YES:
        for value in values:
            if _word(value) == word:
                return [value]
    rarest = filled.value_counts().index[-1]
    return [_as_number_or_text(rarest)]


def _is_bad_word(word: str) -> bool:
    """Return whether a value says that it defaulted.

    Examples
    --------
    >>> [_is_bad_word(word) for word in ("late (31-120 days)", "no default", "paid")]
    [True, False, False]
    """
    return bool(_BAD.search(word)) and not _DENIAL.search(word)


def _undecided(target: pd.Series, bad: Sequence[str | float]) -> list[str | float]:
    """Return the values of which nobody knows how they end."""
    values = [_as_number_or_text(value) for value in pd.unique(target.dropna())]
    if len(values) < 3:
        return []
    return [
        value for value in values if _word(value) in _UNDECIDED and value not in bad
    ]


def _good_values(target: pd.Series, label: Ints) -> list[str]:
    return [str(value) for value in pd.unique(target[label == 0])[:NAMED]]


def _word(value: str | float) -> str:
    return level_key(str(value).strip()).lower()


def _as_number_or_text(value: object) -> str | float:
    if isinstance(value, int | float | np.number) and not isinstance(value, bool):
        return float(value)
    return str(value).strip()


def _number_or_text(text: str) -> str | float:
    try:
        return float(text)
    except ValueError:
        return text
