"""How a file is laid out: its encoding, its separator, its sheet and its header."""

from __future__ import annotations

import csv
import io
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd

from obligor.connectors.headings import meanings
from obligor.errors import InputError, ObligorError
from obligor.reading.files import WORKBOOKS, read_source
from obligor.reading.mapping import SourceSpec

# The header is looked for in the first rows.
MOST_ROWS = 40
SEPARATORS = (",", ";", "\t", "|")
# Tried in this order: the first under which the text can be read.
ENCODINGS = ("utf-8", "gb18030", "cp1252")
MOST_BYTES = 1_000_000
# A header has as many known names, or it is the first full row.
FEWEST_KNOWN = 2


@dataclass(frozen=True)
class Layout:
    """One table in a file.

    Attributes
    ----------
    path : Path
        The file.
    spec : SourceSpec
        How it is read; its path is that of the file.
    frame : DataFrame
        Its rows, as they are.
    remarks : list of str
        What was guessed, for a person.
    """

    path: Path
    spec: SourceSpec
    frame: pd.DataFrame
    remarks: list[str] = field(default_factory=list)

    @property
    def title(self) -> str:
        """The name of the file, and of the sheet if it has several."""
        sheet = self.spec.sheet
        return f"{self.path.name} [{sheet}]" if sheet else self.path.name


@dataclass(frozen=True)
class _Header:
    """A row that may be the header.

    Attributes
    ----------
    row : int
        Its number, from 1.
    n_known : int
        How many of its cells are known names.
    n_texts : int
        How many of its cells hold a text.
    """

    row: int
    n_known: int
    n_texts: int

    def weight(self) -> tuple[int, int, int]:
        """Return a key that is larger for a better header."""
        return self.n_known, self.n_texts, -self.row


def layouts_of(path: Path) -> list[Layout]:
    """Return the tables in a file: one, or those of the sheets of a workbook.

    Raises
    ------
    InputError
        If the file cannot be read, or has no table.
    """
    suffix = path.suffix.lower()
    try:
        if suffix in WORKBOOKS:
            layouts = list(_layouts_of_workbook(path))
        elif suffix == ".parquet":
            layouts = [_read(path, SourceSpec((str(path),)), [])]
        else:
            layouts = [_layout_of_text(path)]
    except ObligorError:
        raise
    # Whatever a library raises about a damaged file.
    except Exception as error:
        is_plain = isinstance(error, OSError)
        reason = str(error) if is_plain else type(error).__name__
        raise InputError(
            f"the file cannot be read: {reason}", where=path.name, do="check the file"
        ) from None
    if not layouts:
        raise InputError(
            "the workbook has no sheet with a table",
            where=path.name,
            do="check the file",
        )
    return layouts


def _read(path: Path, spec: SourceSpec, remarks: list[str]) -> Layout:
    absolute = replace(spec, files=(str(path.resolve()),))
    (raw,) = read_source(absolute, "list", path.parent, {})
    return Layout(path, spec, raw.frame, remarks)


def _layout_of_text(path: Path) -> Layout:
    with path.open("rb") as stream:
        content = stream.read(MOST_BYTES)
    remarks = list[str]()
    encoding = _encoding(content, is_whole=len(content) < MOST_BYTES)
    text = content.decode(encoding or "utf-8-sig", errors="replace")
    separator, header = _separator(text)
    if encoding not in ("", "utf-16"):
        remarks.append(f"the text is read as {encoding}")
    if separator != ",":
        remarks.append(f"the separator is {separator!r}")
    if header.row > 1:
        remarks.append(f"the header is line {header.row}")
    spec = SourceSpec(
        files=(str(path),),
        encoding="" if encoding == "utf-16" else encoding,
        separator="" if separator == "," else separator,
        header_row=header.row if header.row > 1 else 0,
    )
    return _read(path, spec, remarks)


def _encoding(content: bytes, *, is_whole: bool) -> str:
    """Return the encoding of a text; empty if it is UTF-8."""
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "utf-16"
    # The last characters may be cut.
    sample = content if is_whole else content[: content.rfind(b"\n") + 1]
    for encoding in ENCODINGS:
        try:
            text = sample.decode(encoding)
        except UnicodeDecodeError:
            continue
        if encoding == "gb18030" and not _is_chinese(text):
            continue
        return "" if encoding == "utf-8" else encoding
    return "cp1252"


def _is_chinese(text: str) -> bool:
    """Return whether most letters beyond ASCII are common Chinese ones."""
    letters = [sign for sign in text if ord(sign) > 127 and sign.isalpha()]
    common = [sign for sign in letters if "\u4e00" <= sign <= "\u9fff"]
    # Two umlauts in a row make one rare Chinese letter; words of them make known names.
    has_known_name = any(
        meanings(cell.strip())
        for line in text.splitlines()[:MOST_ROWS]
        if any(ord(sign) > 127 for sign in line)
        for cell in line.replace(";", ",").replace("\t", ",").split(",")
        if any("\u4e00" <= sign <= "\u9fff" for sign in cell)
    )
    return has_known_name and len(common) * 2 > len(letters)


def _separator(text: str) -> tuple[str, _Header]:
    """Return the separator under which the text has the best header."""
    lines = text.splitlines()[:MOST_ROWS]
    stated = lines[0][4:5] if lines and lines[0].lower().startswith("sep=") else ""
    best: tuple[tuple[int, int, int], str, _Header] | None = None
    for separator in (stated,) if stated else SEPARATORS:
        header = _header(list(_grid_of(lines, separator)))
        if best is None or header.weight() > best[0]:
            best = header.weight(), separator, header
    if best is None:
        return ",", _Header(1, 0, 0)
    return best[1], best[2]


def _grid_of(lines: Sequence[str], separator: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows of a text with the line that each begins on."""
    reader = csv.reader(io.StringIO("\n".join(lines)), delimiter=separator)
    line = 1
    try:
        for record in reader:
            yield line, record
            line = reader.line_num + 1
    except csv.Error:
        return


def _header(grid: Sequence[tuple[int, Sequence[object]]]) -> _Header:
    """Return the row with the most known names, else the first of the fullest."""
    headers = []
    for line, cells in grid:
        texts = [
            cell.strip() for cell in cells if isinstance(cell, str) and cell.strip()
        ]
        words = [text for text in texts if not _is_value(text)]
        n_known = sum(bool(meanings(text)) for text in words)
        # Ages such as 1-30 may stand between names.
        has_names = n_known >= FEWEST_KNOWN and len(words) * 2 > len(texts)
        if words and (has_names or len(words) == len(texts)):
            headers.append(_Header(line, n_known, len(words)))
    return max(headers, key=_Header.weight, default=_Header(1, 0, 0))


def _is_value(text: str) -> bool:
    """Return whether a text is an amount or a date, not a name."""
    signs = sum(sign.isdigit() for sign in text)
    return signs * 2 > len(text)


def _layouts_of_workbook(path: Path) -> Iterator[Layout]:
    """Yield the sheets that have a table."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        grids = pd.read_excel(
            path,
            sheet_name=None,
            header=None,
            dtype=object,
            nrows=MOST_ROWS,
            keep_default_na=False,
            na_values=[""],
        )
    for position, (name, grid) in enumerate(grids.items()):
        rows = [
            (line, list(cells))
            for line, cells in enumerate(grid.itertuples(index=False, name=None), 1)
        ]
        header = _header(rows)
        if header.n_texts < FEWEST_KNOWN or len(rows) <= header.row:
            continue
        remarks = [f"the header is line {header.row}"] if header.row > 1 else []
        spec = SourceSpec(
            files=(str(path),),
            sheet=str(name) if len(grids) > 1 or position else 0,
            header_row=header.row if header.row > 1 else 0,
        )
        yield _read(path, spec, remarks)
