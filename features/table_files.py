"""Reading a table of applications: text, Parquet, Excel or JSON lines."""

from __future__ import annotations

import csv
import itertools
import math
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson
import pandas as pd

from obligor.errors import ObligorError, SchemaError
from obligor.features.applications import require_table
from obligor.features.levels import MISSING_WORDS
from obligor.reading.amounts import is_unsure

SEPARATORS = ",;\t|"
PARQUETS = (".parquet", ".pq")
WORKBOOKS = (".xlsx", ".xlsm", ".xls")
JSON_LINES = (".jsonl", ".ndjson")
# Lines that are read to find the header and the separator.
MOST_PREAMBLE_LINES = 30
FIRST_LINES = 50
# A line is the header if at least this share of the usual fields has a name: the
# index that pandas writes has none.
NAMED_SHARE = 2 / 3
NAMED = 5  # columns or lines in a message
_NUMBER = r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?"
_WHOLE = r"[+-]?\d+"
DIGITS_OF_INTEGERS = 18
DIGITS_OF_FLOATS = 15
EXPECTED = "CSV, Parquet, Excel or JSON lines"
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")


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
    """Read a table from CSV, Parquet, Excel or JSON lines.

    The separator of a CSV file is a comma, semicolon, tab or bar. Lines above the
    header are skipped; of several sheets the largest is read. Either is a note.

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
    except UnicodeError:
        raise SchemaError(
            "the text is not UTF-8",
            where=str(path),
            expected=EXPECTED,
            do="save it as UTF-8",
        ) from None
    # The readers of other libraries raise what they like about a damaged file.
    except Exception as error:
        raise SchemaError(
            f"the table cannot be read ({_reason(error)})",
            where=str(path),
            expected=EXPECTED,
        ) from None
    if table.frame.empty:
        raise SchemaError(
            "the table has no rows",
            where=str(path),
            expected="a row per applicant below a row of names",
        )
    frame = table.frame.rename(columns=str)
    require_table(frame, str(path))
    return TableFile(frame, (*table.notes, *_unnamed(frame)))


def _reason(error: Exception) -> str:
    """Return the first line of an error of another library, or its class."""
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__


def _unnamed(frame: pd.DataFrame) -> tuple[str, ...]:
    names = [name for name in frame if str(name).startswith("Unnamed: ")]
    if not names:
        return ()
    return (f"columns without a name are called {names[:NAMED]}",)


def _read(path: Path) -> TableFile:
    suffix = path.suffix.lower()
    if suffix in PARQUETS:
        frame = pd.read_parquet(path)
        _require_unique([str(name) for name in frame.columns], path)
        return TableFile(frame.reset_index(drop=True))
    if suffix in WORKBOOKS:
        return _read_workbook(path)
    if suffix in JSON_LINES:
        return _read_json_lines(path)
    return _read_text(path)


def _read_json_lines(path: Path) -> TableFile:
    rows = []
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        if not line.strip():
            continue
        row = orjson.loads(line)
        if not isinstance(row, dict):
            raise SchemaError(
                f"line {number} is not an object",
                where=str(path),
                expected='an object in each line, such as {"income": 1200}',
            )
        rows.append(row)
    return TableFile(pd.DataFrame(rows))


def _read_text(path: Path) -> TableFile:
    encoding = _encoding(path)
    with path.open(encoding=encoding, newline="") as stream:
        first_lines = list(itertools.islice(stream, FIRST_LINES))
    if not any(line.strip() for line in first_lines):
        return TableFile(pd.DataFrame())
    separator = max(SEPARATORS, key=lambda sign: _regularity(first_lines, sign))
    records = list(csv.reader(first_lines, delimiter=separator))
    header_row = _header_row(records)
    names = [name.strip() for name in records[header_row]]
    _require_unique(names, path)
    widths = _odd_widths(path, encoding, separator, len(names))
    widths = {line: widths[line] for line in widths if line > header_row}
    _require_narrow(widths, len(names), path)
    frame = pd.read_csv(
        path,
        sep=separator,
        dtype="str",
        keep_default_na=False,
        na_values=sorted(MISSING_WORDS),
        encoding=encoding,
        skiprows=header_row,
        index_col=False,
        usecols=range(len(names)),
    )
    notes = (*_header_notes(header_row), *_width_notes(widths, len(names)))
    return TableFile(frame.apply(_typed), notes)


def _encoding(path: Path) -> str:
    with path.open("rb") as stream:
        return "utf-16" if stream.read(2) in _UTF_16 else "utf-8-sig"


def _regularity(lines: Sequence[str], separator: str) -> tuple[float, int]:
    """Return the share of lines that a separator parts into equally many fields.

    Decimal commas part lines too, but seldom the header.
    """
    widths = [len(record) for record in csv.reader(lines, delimiter=separator)]
    counts = Counter(width for width in widths if width > 1)
    if not counts:
        return 0.0, 0
    usual, n_lines = counts.most_common(1)[0]
    return n_lines / len(widths), usual


def _odd_widths(
    path: Path,
    encoding: str,
    separator: str,
    n_names: int,
) -> dict[int, int]:
    """Return the number of fields by line, of lines with more or fewer than names.

    Parameters
    ----------
    path : Path
        The file.
    encoding, separator : str
        Of its text.
    n_names : int
        Fields of the header.
    """
    widths = dict[int, int]()
    with path.open(encoding=encoding, newline="") as stream:
        reader = csv.reader(stream, delimiter=separator)
        for record in reader:
            # A separator behind the last field is not a field.
            width = len(record) - (len(record) > n_names and record[-1] == "")
            if record and width != n_names:
                widths[reader.line_num] = width
    return widths


def _require_narrow(widths: Mapping[int, int], n_names: int, path: Path) -> None:
    wide = [line for line, width in widths.items() if width > n_names]
    if wide:
        raise SchemaError(
            f"{len(wide):,} lines have more fields than the header; the first are "
            f"{wide[:NAMED]}",
            where=str(path),
            expected=f"{n_names} fields in each line",
            do="put texts with a separator in quotation marks",
        )


def _width_notes(widths: Mapping[int, int], n_names: int) -> tuple[str, ...]:
    short = [line for line, width in widths.items() if width < n_names]
    if not short:
        return ()
    return (
        f"{len(short):,} lines have fewer than {n_names} fields (the first are "
        f"{short[:NAMED]}): those that lack are missing values",
    )


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


def _header_row(records: Sequence[Sequence[object]]) -> int:
    """Return the index of the header: the first row that is nearly as wide as most."""
    widths = [sum(map(_is_filled, record)) for record in records]
    most = Counter(width for width in widths if width).most_common(1)
    if not most:
        return 0
    fewest = math.ceil(most[0][0] * NAMED_SHARE)
    for index, width in enumerate(widths[:MOST_PREAMBLE_LINES]):
        if width >= fewest:
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
        # As objects: a text such as `12.500` would become a number without a word.
        frame = pd.read_excel(
            path,
            sheet_name=name,
            header=header_row,
            dtype="object",
        )
    frame = frame.apply(_typed_cells)
    notes = _header_notes(header_row)
    if len(filled) > 1:
        notes = (f"the sheet {name!r} is read, of {sorted(filled)}", *notes)
    return TableFile(frame, notes)


def _typed_cells(cells: pd.Series) -> pd.Series:
    """Return a column of a workbook with the type that all of its cells have."""
    types = set(map(type, cells.dropna().tolist()))
    return _typed(cells.astype("str")) if types == {str} else cells.infer_objects()


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
