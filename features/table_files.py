"""Reading a table of applications from a file: text, Parquet or Excel."""

from __future__ import annotations

import csv
import warnings
import zipfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from obligor.errors import ObligorError, SchemaError
from obligor.features.applications import require_plain_cells
from obligor.features.levels import MISSING_WORDS
from obligor.reading.amounts import is_unsure

SEPARATORS = ",;\t|"
WORKBOOKS = (".xlsx", ".xlsm", ".xls")
# Lines that are read to find the header and the separator.
MOST_PREAMBLE_LINES = 30
_NUMBER = r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?"
_WHOLE = r"[+-]?\d+"
DIGITS_OF_INTEGERS = 18
DIGITS_OF_FLOATS = 15
# What the readers of other libraries raise about a damaged file.
_DAMAGED = (
    OSError,
    ValueError,
    ImportError,
    KeyError,
    EOFError,
    csv.Error,
    zipfile.BadZipFile,
)


@dataclass(frozen=True)
class TableFile:
    """A table as it is in its file.

    Attributes
    ----------
    frame : DataFrame
        Its rows.
    notes : tuple of str
        What was taken for the table, if there was a choice.
    """

    frame: pd.DataFrame
    notes: tuple[str, ...] = ()


def read_frame(path: Path) -> pd.DataFrame:
    """Return the rows of `read_table_file`."""
    return read_table_file(path).frame


def read_table_file(path: Path) -> TableFile:
    """Read a table from CSV (comma, semicolon, tab or bar), Parquet or Excel.

    Lines above the header are skipped; of several sheets the largest is read. Either is
    a note.

    Raises
    ------
    SchemaError
        If it cannot be read, has no rows, has a name more than once, or has lists in
        its cells.
    """
    try:
        table = _read(path)
    except ObligorError:
        raise
    except _DAMAGED as error:
        raise SchemaError(
            f"the table cannot be read ({error})",
            where=str(path),
            expected="CSV, Parquet or Excel",
        ) from None
    if table.frame.empty:
        raise SchemaError(
            "the table has no rows",
            where=str(path),
            expected="a row per applicant below a row of names",
        )
    frame = table.frame.rename(columns=str)
    require_plain_cells(frame, str(path))
    return TableFile(frame, table.notes)


def _read(path: Path) -> TableFile:
    suffix = path.suffix.lower()
    if suffix in (".parquet", ".pq"):
        frame = pd.read_parquet(path)
        _require_unique([str(name) for name in frame.columns], path)
        return TableFile(frame)
    if suffix in WORKBOOKS:
        return _read_workbook(path)
    return _read_text(path)


def _read_text(path: Path) -> TableFile:
    with path.open(encoding="utf-8-sig", newline="") as stream:
        first_lines = [line for line, _ in zip(stream, range(50), strict=False)]
    if not first_lines:
        raise SchemaError("the table has no rows", where=str(path))
    separator = max(SEPARATORS, key=lambda sign: _n_fields(first_lines, sign))
    records = list(csv.reader(first_lines, delimiter=separator))
    header_row = _header_row(records)
    _require_unique([name.strip() for name in records[header_row]], path)
    frame = pd.read_csv(
        path,
        sep=separator,
        dtype="str",
        keep_default_na=False,
        na_values=sorted(MISSING_WORDS),
        encoding="utf-8-sig",
        skiprows=header_row,
    )
    return TableFile(frame.apply(_typed), _header_notes(header_row))


def _typed(values: pd.Series) -> pd.Series:
    """Return a column of texts as numbers or truth values if it can be nothing else.

    A column with a text such as `12.500` stays one of texts, unless another cell shows
    that dots are decimal signs: see `features.number_reading`.
    """
    filled = values.dropna()
    if filled.empty:
        return values.astype("float64")
    if filled.isin(("True", "False", "TRUE", "FALSE", "true", "false")).all():
        truths = values.str.lower().map({"true": True, "false": False})
        return truths.astype("bool" if len(filled) == len(values) else "object")
    if not filled.str.fullmatch(_NUMBER).all():
        return values
    if filled.str.fullmatch(_WHOLE).all():
        is_whole = len(filled) == len(values)
        most_digits = DIGITS_OF_INTEGERS if is_whole else DIGITS_OF_FLOATS
        # More digits than the type holds are a code, and stay a text.
        if filled.str.len().max() > most_digits:
            return values
        return values.astype("int64" if is_whole else "float64")
    decimals = filled[filled.str.contains(".", regex=False)]
    distinct = pd.unique(decimals)
    is_proven = not len(distinct) or not all(map(is_unsure, distinct))
    return values.astype("float64") if is_proven else values


def _n_fields(lines: Sequence[str], separator: str) -> int:
    """Return how many fields a separator gives most lines, if more than one."""
    counts = Counter(line.count(separator) for line in lines if line.strip())
    counts.pop(0, None)
    if not counts:
        return 0
    n_separators, n_lines = counts.most_common(1)[0]
    return n_separators * n_lines


def _header_row(records: Sequence[Sequence[object]]) -> int:
    """Return the index of the header: the first row that is as wide as most."""
    widths = [sum(map(_is_filled, record)) for record in records]
    most = Counter(width for width in widths if width).most_common(1)
    if not most:
        return 0
    usual = most[0][0]
    for index, width in enumerate(widths[:MOST_PREAMBLE_LINES]):
        if width >= usual:
            return index
    return 0


def _is_filled(cell: object) -> bool:
    return cell is not None and cell == cell and str(cell).strip() != ""


def _header_notes(header_row: int) -> tuple[str, ...]:
    if header_row == 0:
        return ()
    noun = "line is" if header_row == 1 else "lines are"
    return (f"the first {header_row} {noun} above the header, and skipped",)


def _read_workbook(path: Path) -> TableFile:
    with warnings.catch_warnings():
        # Of styles and extensions that hold no data.
        warnings.simplefilter("ignore", UserWarning)
        sheets = pd.read_excel(path, sheet_name=None, header=None)
    filled = {str(name): sheet for name, sheet in sheets.items() if not sheet.empty}
    if not filled:
        return TableFile(pd.DataFrame())
    name = max(filled, key=lambda sheet: filled[sheet].notna().to_numpy().sum())
    cells = filled[name].to_numpy(dtype=object).tolist()
    header_row = _header_row(cells)
    names = [str(cell).strip() for cell in cells[header_row] if _is_filled(cell)]
    _require_unique(names, path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        frame = pd.read_excel(path, sheet_name=name, header=header_row)
    notes = _header_notes(header_row)
    if len(filled) > 1:
        notes = (f"the sheet {name!r} is read, of {sorted(filled)}", *notes)
    return TableFile(frame, notes)


def _require_unique(names: Sequence[str], path: Path) -> None:
    counts = Counter(name for name in names if name)
    repeated = sorted(name for name, count in counts.items() if count > 1)
    if repeated:
        raise SchemaError(
            f"the columns {repeated[:5]} occur more than once",
            where=str(path),
            expected="a name of its own for each column",
            do="rename or remove one of them",
        )
