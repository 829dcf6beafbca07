"""What is strange about the columns and rows of a table, before anything is learnt.

Each finding has a name, a count and a share of the rows, and says what to do. None of
them changes the table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from typing import Literal

import numpy as np
import pandas as pd

from obligor.data.column_reading import is_missing
from obligor.features.applications import Applications
from obligor.features.encoding import MOST_LEVELS, kind_of, levels_of, stated_reading
from obligor.features.levels import MISSING, texts
from obligor.features.number_reading import is_number_like, numbers, without_unit

NEARLY_CONSTANT = 0.99  # the share of the most frequent value
FEWEST_FOR_IDS = 50  # rows; in a smaller table values differ by chance
MUCH_LOST = 0.01  # the share of rows whose level is not learnt
FEWEST_OF_EACH = 0.005  # the share of cells of each type in a mixed column
MOST_TEXTS_READ = 2000  # distinct texts of a column
NAMED = 5  # columns or values in a message

FindingKind = Literal[
    "identifier",
    "all missing",
    "constant",
    "near-constant",
    "high cardinality",
    "not a feature",
    "infinite values",
    "mixed types",
    "mixed percent",
    "identical columns",
    "duplicate rows",
    "future dates",
    "more columns than rows",
]


@dataclass(frozen=True)
class TableFinding:
    """What is strange about a column, or about the rows.

    Attributes
    ----------
    column : str
        Its name; empty if it is about the rows.
    kind : str
        What was found.
    rows : int
        How many rows it is about.
    share : float
        Of all rows with an outcome.
    text : str
        The finding in words.
    action : str
        What a person can do.
    """

    column: str
    kind: FindingKind
    rows: int
    share: float
    text: str
    action: str

    def sentence(self) -> str:
        """Return everything in one line.

        Examples
        --------
        >>> TableFinding("x", "constant", 9, 1.0, "one value", "drop it").sentence()
        'x: one value (9 rows, 100.0%); drop it'
        """
        subject = f"{self.column}: " if self.column else ""
        return (
            f"{subject}{self.text} ({self.rows:,} rows, {self.share:.1%}); "
            f"{self.action}"
        )


def table_findings(
    data: Applications,
    today: date | None = None,
) -> tuple[TableFinding, ...]:
    """Return what is strange about a table.

    Parameters
    ----------
    data : Applications
        The table under its spec.
    today : date, optional
        Later dates of applications are in the future.
    """
    findings = list[TableFinding]()
    for name in data.frame:
        column = _Column(str(name), data.frame[name], data)
        for check in _CHECKS:
            finding = check(column)
            if finding is None:
                continue
            findings.append(finding)
            if finding.kind in _SAYS_ALL:
                break
    findings.extend(_identical_columns(data))
    findings.extend(_rows_as_a_whole(data, today))
    return tuple(findings)


class _Column:
    """A column that may become a feature, with what the checks ask about it."""

    def __init__(self, name: str, values: pd.Series, data: Applications) -> None:
        self.name = name
        self.values = values
        self.stated = stated_reading(data.spec, name)
        self.kind = data.spec.column(name).type or kind_of(values, self.stated)
        self.is_typed = pd.api.types.is_numeric_dtype(values)
        # Texts of many different numbers take long to make, and say no more.
        self.cells = values if self.is_typed else texts(values)
        self.counts = self.cells.value_counts(dropna=False)

    def finding(
        self,
        kind: FindingKind,
        rows: int,
        text: str,
        action: str,
    ) -> TableFinding:
        """Return a finding about this column.

        Parameters
        ----------
        kind : str
            What was found.
        rows : int
            How many rows it is about.
        text, action : str
            The finding in words, and what to do.
        """
        n_rows = len(self.values)
        return TableFinding(
            column=self.name,
            kind=kind,
            rows=rows,
            share=rows / n_rows if n_rows else 0.0,
            text=text,
            action=action,
        )


def _all_missing(column: _Column) -> TableFinding | None:
    if len(column.counts) > 1 or not _is_missing(column.counts.index[0]):
        return None
    return column.finding(
        "all missing",
        len(column.values),
        "the column is empty, and is left out",
        "check the export",
    )


def _constant(column: _Column) -> TableFinding | None:
    most = int(column.counts.iloc[0])
    n_rows = len(column.values)
    value = _shown(column.counts.index[0])
    if most == n_rows:
        return column.finding(
            "constant",
            n_rows,
            f"only the value {value}, left out",
            "nothing, or check the export",
        )
    if most < NEARLY_CONSTANT * n_rows:
        return None
    return column.finding(
        "near-constant",
        n_rows - most,
        f"nearly always {value}; few rows differ",
        "name it in [table] drop unless these rows matter",
    )


def _unused(column: _Column) -> TableFinding | None:
    if column.kind in ("number", "category"):
        return None
    action = "name it in [table] date if applications are tested in its order"
    if column.kind != "dates":
        action = "group the texts, or name the column in [table] drop"
    return column.finding(
        "not a feature",
        len(column.values),
        f"{column.kind}, left out",
        action,
    )


def _identifier(column: _Column) -> TableFinding | None:
    n_rows = len(column.values)
    is_number = column.kind == "number"
    if n_rows < FEWEST_FOR_IDS or len(column.counts) < n_rows:
        return None
    if is_number and not _are_whole(column.values):
        return None
    use = "it is a feature" if is_number else "it is left out"
    return column.finding(
        "identifier",
        n_rows,
        f"another value in each row, so that it may be an identifier; {use}",
        "name it in [table] id if it is one",
    )


def _are_whole(values: pd.Series) -> bool:
    parsed = numbers(values)
    return bool(np.all(parsed == np.floor(parsed)))


def _infinite(column: _Column) -> TableFinding | None:
    if not pd.api.types.is_float_dtype(column.values):
        return None
    n_infinite = int(np.isinf(column.values.to_numpy(np.float64, na_value=0)).sum())
    if not n_infinite:
        return None
    return column.finding(
        "infinite values",
        n_infinite,
        "infinite numbers, which count as missing",
        "look for divisions by 0 in the export",
    )


def _many_levels(column: _Column) -> TableFinding | None:
    if column.kind != "category":
        return None
    levels = levels_of(column.values, column.stated.missing)
    n_lost = int((~texts(column.values).isin(levels)).sum())
    n_different = len(column.counts)
    if n_different <= MOST_LEVELS and n_lost <= MUCH_LOST * len(column.values):
        return None
    return column.finding(
        "high cardinality",
        n_lost,
        f"{len(levels)} of {n_different:,} levels are learnt, the others become "
        "'another'",
        "group rare levels in the export if they matter",
    )


def _mixed_types(column: _Column) -> TableFinding | None:
    if column.kind == "number" or column.is_typed:
        return None
    filled = _filled_counts(column)
    is_number = np.array([is_number_like(str(text)) for text in filled.index])
    n_numbers = int(filled[is_number].sum()) if len(filled) else 0
    n_texts = int(filled.sum()) - n_numbers
    if min(n_numbers, n_texts) <= FEWEST_OF_EACH * len(column.values):
        return None
    examples = ", ".join(repr(str(text)) for text in filled[~is_number].index[:NAMED])
    return column.finding(
        "mixed types",
        n_texts,
        f"{n_numbers:,} cells are numbers, the others texts ({examples}): read as "
        f"{column.kind}",
        f"name the words in [columns.{column.name}] missing and state "
        'type = "number", or state type = "category"',
    )


def _mixed_percent(column: _Column) -> TableFinding | None:
    if column.kind != "number" or column.is_typed:
        return None
    filled = _filled_counts(column)
    is_percent = np.array([without_unit(str(text))[1] == "%" for text in filled.index])
    n_percent = int(filled[is_percent].sum()) if len(filled) else 0
    n_plain = int(filled.sum()) - n_percent
    if not n_percent or not n_plain:
        return None
    return column.finding(
        "mixed percent",
        min(n_percent, n_plain),
        "some cells have a sign of percent, others do not; 13% is read as 13",
        "write all of them alike",
    )


def _shown(cell: object) -> str:
    return "missing" if _is_missing(cell) else repr(str(cell)[:40])


def _is_missing(cell: object) -> bool:
    return is_missing(cell) or cell == MISSING


def _filled_counts(column: _Column) -> pd.Series:
    """Return how often each of the most frequent texts of a column occurs."""
    filled = column.counts.drop(MISSING, errors="ignore")
    return filled.head(MOST_TEXTS_READ)


_SAYS_ALL = ("all missing", "constant", "identifier")
_CHECKS: tuple[Callable[[_Column], TableFinding | None], ...] = (
    _all_missing,
    _constant,
    _identifier,
    _mixed_types,
    _unused,
    _infinite,
    _many_levels,
    _mixed_percent,
)


def _identical_columns(data: Applications) -> Iterator[TableFinding]:
    first_by_content = dict[bytes, str]()
    n_rows = len(data)
    for name in map(str, data.frame):
        values = data.frame[name]
        if values.nunique() < 2:
            continue
        content = _content(values)
        first = first_by_content.setdefault(content, name)
        if first != name:
            yield TableFinding(
                column=name,
                kind="identical columns",
                rows=n_rows,
                share=1.0,
                text=f"the same values as {first}",
                action="name one of the two in [table] drop",
            )


def _content(values: pd.Series) -> bytes:
    """Return bytes that two columns share if all their values are equal."""
    if pd.api.types.is_numeric_dtype(values):
        return values.to_numpy(np.float64, na_value=np.nan).tobytes()
    hashes = pd.util.hash_pandas_object(texts(values), index=False)
    return hashes.to_numpy().tobytes()


def _rows_as_a_whole(
    data: Applications,
    today: date | None,
) -> Iterator[TableFinding]:
    n_rows = len(data)
    rows = data.frame.assign(**{_label_name(data.frame): data.label})
    n_repeated = int(rows.duplicated().sum())
    if n_repeated:
        yield TableFinding(
            column="",
            kind="duplicate rows",
            rows=n_repeated,
            share=n_repeated / n_rows,
            text="rows are duplicates of others",
            action="remove them, or name a [table] group, or the same row is on both "
            "sides of a fold",
        )
    if len(data.frame.columns) > n_rows:
        yield TableFinding(
            column="",
            kind="more columns than rows",
            rows=n_rows,
            share=1.0,
            text=f"{len(data.frame.columns):,} columns and fewer rows",
            action="leave columns out that cannot matter",
        )
    if today is None or data.dates is None:
        return
    n_future = int((data.dates > np.datetime64(today)).sum())
    if n_future:
        yield TableFinding(
            column=str(data.spec.table.date),
            kind="future dates",
            rows=n_future,
            share=n_future / n_rows,
            text=f"dates after {today}",
            action="correct them: later rows are the test",
        )


def _label_name(frame: pd.DataFrame) -> str:
    name = "label"
    while name in frame:
        name += "_"
    return name


def table_of(findings: tuple[TableFinding, ...]) -> pd.DataFrame:
    """Return findings as a table for a report: what, where, how many, what to do."""
    return pd.DataFrame(
        {
            "column": [finding.column or "(rows)" for finding in findings],
            "finding": [finding.kind for finding in findings],
            "rows": [finding.rows for finding in findings],
            "share": [f"{finding.share:.1%}" for finding in findings],
            "text": [finding.text for finding in findings],
            "what to do": [finding.action for finding in findings],
        }
    )
