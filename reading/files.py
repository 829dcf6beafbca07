"""Reading the rows of a source as they are: text files, Parquet, Excel, SQL.

Each row keeps the line it was read from, as an editor or a spreadsheet counts, so that
a message can name it. The readers of other libraries raise what they like about a
damaged file; each such error becomes an `InputError` with the table and the file.
"""

from __future__ import annotations

import codecs
import csv
import itertools
import re
import warnings
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from string import Template
from typing import TextIO
from zipfile import BadZipFile

import pandas as pd
import sqlalchemy
from openpyxl.utils.datetime import CALENDAR_WINDOWS_1900
from pyarrow import parquet

from obligor.data.column_reading import is_missing
from obligor.errors import InputError, ObligorError, SchemaError
from obligor.reading.gleif import is_relationship_file, read_relationships
from obligor.reading.mapping import SourceSpec

WORKBOOKS = (".xlsx", ".xlsm", ".xls")
ROWS_AT_ONCE = 100_000
# A header that is further down than this must be stated.
MOST_PREAMBLE_ROWS = 30
MOST_LINES_OF_A_RECORD = 100
_BYTE_ORDER_MARKS = (b"\xff\xfe", b"\xfe\xff")
_OTHER_SEPARATORS = (";", "\t", "|")
# Excel writes and reads this line above the header.
_SEPARATOR_LINE = re.compile(r"sep=([^\w\s\"]|\t)\s*", re.IGNORECASE)

Row = Sequence[object]


@dataclass(frozen=True)
class RawTable:
    """The rows of one source.

    Attributes
    ----------
    frame : DataFrame
        The source's own columns; the index is the number of the row, from 0.
    lines : Series
        The line of each row in its file; 0 if the source has no lines.
    label : str
        The name of the file; empty for a query.
    is_workbook : bool
        Whether it is an Excel file that counts days from 1900.
    repeated_names : tuple of str
        The names that the header has more than once.
    notes : tuple of str
        What a person must know of the source.
    """

    frame: pd.DataFrame
    lines: pd.Series
    label: str = ""
    is_workbook: bool = False
    repeated_names: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def paths_of(spec: SourceSpec, folder: Path) -> list[Path]:
    """Return the files of a source; a name with ``*`` stands for all that match.

    Raises
    ------
    InputError
        If nothing matches such a name.
    """
    paths = list[Path]()
    for name in spec.files:
        path = folder / name
        is_pattern = any(sign in path.name for sign in "*?") and not path.exists()
        matches = sorted(path.parent.glob(path.name)) if is_pattern else [path]
        if not matches:
            raise InputError(
                f"no file matches {name!r}", where=str(folder), do="check files"
            )
        paths += matches
    return paths


def read_source(
    spec: SourceSpec,
    table: str,
    folder: Path,
    environment: Mapping[str, str],
) -> list[RawTable]:
    """Read a source as it is.

    Parameters
    ----------
    spec : SourceSpec
        Where the rows are.
    table : str
        Our table, for messages.
    folder : Path
        Where relative paths start.
    environment : mapping of str to str
        The values for ``${NAME}`` in a URL.

    Returns
    -------
    list of RawTable
        One for each file.

    Raises
    ------
    InputError
        If a source cannot be read; SchemaError if its layout is not that of a table.
    """
    if spec.url:
        return [_guarded(table, "", lambda: _read_sql(spec, environment))]
    tables = []
    for path in paths_of(spec, folder):
        reader = _FileReader(spec, table, path)
        tables.append(_guarded(table, path.name, reader.read))
    return tables


def is_streamable(spec: SourceSpec) -> bool:
    """Return whether the rows of a source can be read a part at a time."""
    if spec.url:
        return True
    suffixes = {Path(name).suffix.lower() for name in spec.files}
    is_text = suffixes.isdisjoint(WORKBOOKS) and not spec.format
    return bool(spec.files) and is_text and not spec.skip_footer


def read_parts(
    spec: SourceSpec,
    table: str,
    folder: Path,
    environment: Mapping[str, str],
) -> Iterator[RawTable]:
    """Read a source that `is_streamable`, a part at a time.

    Parameters
    ----------
    spec : SourceSpec
        Where the rows are.
    table : str
        Our table, for messages.
    folder : Path
        Where relative paths start.
    environment : mapping of str to str
        The values for ``${NAME}`` in a URL.

    Yields
    ------
    RawTable
        Rows of one file, numbered from 0 in each file, or of a query.

    Raises
    ------
    InputError
        If a source cannot be read; SchemaError if its layout is not that of a table.
    """
    if spec.url:
        yield from _guarded_parts(table, "", _sql_parts(spec, environment))
        return
    for path in paths_of(spec, folder):
        parts = _FileReader(spec, table, path).parts()
        yield from _guarded_parts(table, path.name, parts)


def _guarded_parts(
    table: str,
    name: str,
    parts: Iterator[RawTable],
) -> Iterator[RawTable]:
    while True:
        part = _guarded_part(table, name, parts)
        if part is None:
            break
        yield part


def _guarded_part(table: str, name: str, parts: Iterator[RawTable]) -> RawTable | None:
    """Return the next part, None after the last; errors are those of `_guarded`."""
    following = list[RawTable]()

    def read() -> RawTable:
        part = next(parts, None)
        if part is not None:
            following.append(part)
        return part or RawTable(pd.DataFrame(), pd.Series(dtype="int64"))

    _guarded(table, name, read)
    return following[0] if following else None


def _guarded(table: str, name: str, read: Callable[[], RawTable]) -> RawTable:
    where = f"[{table}] {name}".strip()
    try:
        return read()
    except ObligorError:
        raise
    except UnicodeError as error:
        raise SchemaError(
            f"the file is not {getattr(error, 'encoding', 'in its encoding')}",
            where=where,
            expected="the encoding that the mapping names",
            do='set the encoding, e.g. encoding = "cp1252"',
        ) from None
    # Whatever a library raises about a damaged file. Of a driver's error the class
    # only: its message may contain the password.
    except Exception as error:
        is_plain = isinstance(error, OSError | ImportError)
        reason = str(error) if is_plain else type(error).__name__
        raise InputError(
            f"the source cannot be read: {reason}",
            where=where,
            do="check file, url and query",
        ) from None


def _read_sql(spec: SourceSpec, environment: Mapping[str, str]) -> RawTable:
    with _engine_of(spec, environment).connect() as connection:
        frame: pd.DataFrame = pd.read_sql(sqlalchemy.text(spec.query), connection)
    return _without_lines(frame)


def _sql_parts(spec: SourceSpec, environment: Mapping[str, str]) -> Iterator[RawTable]:
    """Yield the rows of a query a part at a time, from a cursor of the server's."""
    n_rows = 0
    with _engine_of(spec, environment).connect() as connection:
        streaming = connection.execution_options(stream_results=True)
        query = sqlalchemy.text(spec.query)
        for frame in pd.read_sql(query, streaming, chunksize=ROWS_AT_ONCE):
            part = _without_lines(frame)
            yield _numbered_from(part, n_rows)
            n_rows += len(part.frame)


def row_count(spec: SourceSpec, environment: Mapping[str, str]) -> int:
    """Return how many rows a query gives; 0 if the database cannot count them.

    Parameters
    ----------
    spec : SourceSpec
        A source with a URL.
    environment : mapping of str to str
        The values for ``${NAME}`` in the URL.
    """
    query = spec.query.strip().rstrip(";")
    counting = sqlalchemy.text(f"SELECT count(*) FROM ({query}\n) AS counted")
    try:
        with _engine_of(spec, environment).connect() as connection:
            return int(connection.execute(counting).scalar_one())
    except (sqlalchemy.exc.SQLAlchemyError, ImportError):
        # It is read as a whole then, which gives the error its words.
        return 0


def _numbered_from(part: RawTable, first: int) -> RawTable:
    """Return a part whose rows are numbered from a number on."""
    index = part.frame.index + first
    return replace(
        part,
        frame=part.frame.set_axis(index),
        lines=part.lines.set_axis(index),
    )


def _engine_of(spec: SourceSpec, environment: Mapping[str, str]) -> sqlalchemy.Engine:
    try:
        url = Template(spec.url).substitute(environment)
    except KeyError as error:
        raise SchemaError(
            f"the environment has no variable {error}",
            where="url",
            do="set it, or correct the url",
        ) from None
    return sqlalchemy.create_engine(url)


def _without_lines(frame: pd.DataFrame, label: str = "") -> RawTable:
    plain = frame.reset_index(drop=True)
    texts = [str(column) for column in plain.columns]
    plain.columns = pd.Index(_unique_names(texts))
    for column in plain.columns:
        if plain[column].dtype.kind == "O":
            plain[column] = plain[column].map(_scalar)
    lines = pd.Series(0, index=plain.index)
    return RawTable(plain, lines, label, repeated_names=_repeated(texts))


def _scalar(value: object) -> object:
    """Return a cell that can be compared: a list or an array becomes a text."""
    return value if isinstance(value, Hashable) else str(value)


@dataclass(frozen=True)
class _FileReader:
    """Reads one file of a source."""

    spec: SourceSpec
    table: str
    path: Path

    def read(self) -> RawTable:
        suffix = self.path.suffix.lower()
        if self.table == "groups" and is_relationship_file(self.path):
            return _without_lines(read_relationships(self.path), self.path.name)
        if suffix == ".parquet":
            return _without_lines(pd.read_parquet(self.path), self.path.name)
        if suffix in WORKBOOKS:
            with warnings.catch_warnings():
                # Of styles and extensions that hold no data.
                warnings.simplefilter("ignore", UserWarning)
                return self._read_workbook()
        encoding = self._encoding()
        try:
            with self.path.open(encoding=encoding, newline="") as stream:
                return self._read_text(stream)
        except UnicodeDecodeError as error:
            raise self._undecodable(error.encoding, encoding) from None
        except csv.Error as error:
            raise self._wrong(f"the file is not delimited text: {error}") from None

    def parts(self) -> Iterator[RawTable]:
        """Yield the rows of a text file or a Parquet file, a part at a time."""
        if self.path.suffix.lower() == ".parquet":
            yield from self._parquet_parts()
            return
        encoding = self._encoding()
        try:
            with self.path.open(encoding=encoding, newline="") as stream:
                yield from self._text_parts(stream)
        except UnicodeDecodeError as error:
            raise self._undecodable(error.encoding, encoding) from None
        except csv.Error as error:
            raise self._wrong(f"the file is not delimited text: {error}") from None

    def _parquet_parts(self) -> Iterator[RawTable]:
        n_rows = 0
        with self.path.open("rb") as file:
            batches = parquet.ParquetFile(file).iter_batches(ROWS_AT_ONCE)
            for batch in batches:
                part = _without_lines(batch.to_pandas(), self.path.name)
                yield _numbered_from(part, n_rows)
                n_rows += len(part.frame)

    def _text_parts(self, stream: TextIO) -> Iterator[RawTable]:
        records = _records(stream, self.spec)
        header = next(records, None)
        if header is None:
            raise self._wrong("the file is empty", expected="a header and rows")
        first_records = list(itertools.islice(records, MOST_PREAMBLE_ROWS))
        self._require_header(header[0], header[1], first_records)
        texts = self._header_texts(header[1], header[0])
        names = _unique_names(texts)
        numbered = itertools.chain(first_records, records)
        n_rows = 0
        while part := list(itertools.islice(numbered, ROWS_AT_ONCE)):
            cells = list[Row]()
            for line, record in part:
                cells.append(self._fitted(record, line, names))
            index = pd.RangeIndex(n_rows, n_rows + len(part))
            n_rows += len(part)
            yield RawTable(
                frame=_text_frame(cells, names).set_axis(index),
                lines=pd.Series([line for line, _ in part], index=index),
                label=self.path.name,
                repeated_names=_repeated(texts),
            )

    def _wrong(
        self,
        what: str,
        line: int = 0,
        *,
        expected: str = "",
        do: str = "",
    ) -> SchemaError:
        where = f"[{self.table}] {self.path.name}"
        return SchemaError(
            what,
            where=f"{where} line {line}" if line else where,
            expected=expected,
            do=do,
        )

    # --- text files

    def _encoding(self) -> str:
        with self.path.open("rb") as stream:
            first_bytes = stream.read(2)
        if first_bytes in _BYTE_ORDER_MARKS and not self.spec.encoding:
            return "utf-16"
        encoding = self.spec.encoding or "utf-8"
        try:
            codecs.lookup(encoding)
        except (LookupError, ValueError):
            raise self._wrong(f"unknown encoding {encoding!r}") from None
        is_utf8 = encoding.lower().replace("_", "-") in ("utf-8", "utf8")
        return "utf-8-sig" if is_utf8 else encoding

    def _undecodable(self, codec: str, encoding: str) -> SchemaError:
        """Return the error that names the byte and the line that cannot be read."""
        content = self.path.read_bytes()
        position = 0
        try:
            content.decode(encoding)
        except UnicodeDecodeError as error:
            position = error.start
        line = content[:position].count(b"\n") + 1
        return self._wrong(
            f"byte {position} is not {codec}",
            line,
            expected="the encoding that the mapping names",
            do='set the encoding, e.g. encoding = "cp1252", "gbk" or "utf-16"',
        )

    def _read_text(self, stream: TextIO) -> RawTable:
        records = _records(stream, self.spec)
        header = next(records, None)
        if header is None:
            raise self._wrong("the file is empty", expected="a header and rows")
        first_records = list(itertools.islice(records, MOST_PREAMBLE_ROWS))
        self._require_header(header[0], header[1], first_records)
        texts = self._header_texts(header[1], header[0])
        names = _unique_names(texts)
        chunks = []
        lines = list[int]()
        cells = list[Row]()
        for line, record in itertools.chain(first_records, records):
            cells.append(self._fitted(record, line, names))
            lines.append(line)
            if len(cells) == ROWS_AT_ONCE:
                chunks.append(_text_frame(cells, names))
                cells = []
        chunks.append(_text_frame(cells, names))
        frame = pd.concat(chunks, ignore_index=True)
        raw = self._raw(frame, lines, is_workbook=False)
        return replace(raw, repeated_names=_repeated(texts))

    def _fitted(
        self,
        record: list[str],
        line: int,
        names: list[str],
    ) -> list[str]:
        """Return a record with as many fields as the header."""
        surplus = len(record) - len(names)
        if surplus <= 0:
            return record + [""] * -surplus
        if not any(field.strip() for field in record[len(names) :]):
            return record[: len(names)]
        is_preamble = len(names) <= len(record) // 2
        separator = self.spec.separator or ","
        remedy = (
            f"skip lines with header_row = {line}, if that is the header"
            if is_preamble
            else f"quote the field that contains {separator!r}, "
            "or skip lines with header_row"
        )
        raise self._wrong(
            f"{len(record)} fields, {len(names)} expected",
            line,
            do=remedy,
        )

    def _require_header(
        self,
        line: int,
        header: Row,
        rows: Sequence[tuple[int, Row]],
    ) -> None:
        """Refuse a title in place of the header, if a fuller row of words follows."""
        texts = [_header_text(cell) for cell in header]
        if any("\x00" in text for text in texts):
            do = 'set the encoding, e.g. encoding = "utf-16-le"'
            raise self._wrong("the file has bytes of 0", line, do=do)
        n_named = sum(bool(text) for text in texts)
        if self.spec.header_row or n_named * 2 > len(texts):
            return
        for row_line, row in rows:
            words = [cell for cell in row if isinstance(cell, str) and cell.strip()]
            if len(words) > n_named and len(words) * 2 > len(texts):
                raise self._wrong(
                    f"{len(texts) - n_named} of {len(texts)} names are empty",
                    line,
                    expected="a header",
                    do=f"skip lines with header_row = {row_line}",
                )

    def _header_texts(self, header: Row, line: int) -> list[str]:
        """Return the names of the columns as they are written."""
        texts = [_header_text(cell) for cell in header]
        is_alone = len(texts) == 1 and not self.spec.separator
        for separator in _OTHER_SEPARATORS:
            if is_alone and separator in texts[0]:
                raise self._wrong(
                    f"the header is one field: {texts[0][:60]!r}",
                    line,
                    do=f"state the separator, e.g. separator = {separator!r}",
                )
        return texts

    # --- workbooks

    def _open_workbook(self) -> pd.ExcelFile:
        try:
            return pd.ExcelFile(self.path)
        except (ValueError, BadZipFile):
            # Some programs write text, or a web page, under the name of a workbook.
            raise self._wrong(
                "the source cannot be read: the file is not a workbook",
                do="if it is text, give it the ending .csv and state the separator",
            ) from None

    def _read_workbook(self) -> RawTable:
        with self._open_workbook() as workbook:
            epoch = getattr(workbook.book, "epoch", None)
            sheet = self.spec.sheet
            sheets = workbook.sheet_names
            is_there = (
                sheet in sheets if isinstance(sheet, str) else sheet < len(sheets)
            )
            if not is_there:
                raise self._wrong(f"no sheet {sheet!r}", expected=f"one of {sheets}")
            grid = pd.read_excel(
                workbook,
                sheet_name=sheet,
                header=None,
                dtype=object,
                keep_default_na=False,
                na_values=[""],
            )
        rows = [
            (line, row)
            for line, row in enumerate(grid.itertuples(index=False, name=None), start=1)
            if line >= self.spec.header_row and any(map(_is_filled, row))
        ]
        if not rows:
            raise self._wrong("the sheet is empty", expected="a header and rows")
        header_line, header = rows[0]
        self._require_header(header_line, header, rows[1 : MOST_PREAMBLE_ROWS + 1])
        texts = self._header_texts(header, header_line)
        names = _unique_names(texts)
        body = rows[1:]
        lines = [line for line, _ in body]
        frame = pd.DataFrame(
            [row for _, row in body],
            columns=names,
            dtype=object,
        )
        # Empty rows between others count, as they always did.
        frame.index = pd.Index(
            [line - header_line - 1 for line in lines], dtype="int64"
        )
        raw = self._raw(frame, lines, is_workbook=epoch == CALENDAR_WINDOWS_1900)
        return replace(raw, repeated_names=_repeated(texts))

    def _raw(
        self,
        frame: pd.DataFrame,
        lines: list[int],
        *,
        is_workbook: bool,
    ) -> RawTable:
        n_rows = max(0, len(frame) - self.spec.skip_footer)
        return RawTable(
            frame.iloc[:n_rows],
            pd.Series(lines[:n_rows], index=frame.index[:n_rows], dtype="int64"),
            self.path.name,
            is_workbook,
        )


def _unique_names(texts: Sequence[str]) -> list[str]:
    """Return the names of columns, each once, as pandas makes them.

    Examples
    --------
    >>> _unique_names(["amount", "amount", ""])
    ['amount', 'amount.1', 'Unnamed: 2']
    """
    names = list[str]()
    counts: dict[str, int] = {}
    for position, text in enumerate(texts):
        name = text or f"Unnamed: {position}"
        count = counts.get(name, 0)
        unique_name = f"{name}.{count}" if count else name
        while unique_name in counts:
            count += 1
            unique_name = f"{name}.{count}"
        counts[name] = count + 1
        counts.setdefault(unique_name, 1)
        names.append(unique_name)
    return names


def _repeated(texts: Sequence[str]) -> tuple[str, ...]:
    """Return the names that a header has more than once."""
    names = _unique_names(texts)
    pairs = zip(texts, names, strict=True)
    changed = [text for text, name in pairs if text and text != name]
    return tuple(dict.fromkeys(changed))


def _header_text(cell: object) -> str:
    return str(cell).strip() if _is_filled(cell) else ""


def _is_filled(cell: object) -> bool:
    return not is_missing(cell) and str(cell).strip() != ""


def _records(stream: TextIO, spec: SourceSpec) -> Iterator[tuple[int, list[str]]]:
    """Yield each record that is not blank, with the line it starts on."""
    first_line = stream.readline()
    statement = _SEPARATOR_LINE.fullmatch(first_line)
    stated = statement[1] if statement else ","
    separator = spec.separator or stated
    is_skipped = statement is not None or spec.header_row > 1
    n_skipped = int(is_skipped)
    for _ in range(spec.header_row - 1 - n_skipped):
        if stream.readline():
            n_skipped += 1
    lines = stream if is_skipped else itertools.chain([first_line], stream)
    pending = list[str]()
    reader = csv.reader(_watched(lines, pending), delimiter=separator)
    line = n_skipped + 1
    for record in reader:
        # A mark that is not closed would swallow the records below it.
        if len(pending) > 1 or pending[0].count('"') % 2:
            _require_closed(pending, separator, line)
        pending.clear()
        is_blank = not record or (len(record) == 1 and not record[0].strip())
        if not is_blank:
            yield line, record
        line = n_skipped + reader.line_num + 1


def _watched(lines: Iterable[str], pending: list[str]) -> Iterator[str]:
    """Yield the lines of a file, and collect those of the record that is read."""
    for text in lines:
        pending.append(text)
        yield text


def _require_closed(
    lines: list[str],
    separator: str,
    line: int,
) -> None:
    """Refuse a record whose quotation mark is closed nowhere, or far below."""
    try:
        list(csv.reader(lines, delimiter=separator, strict=True))
    except csv.Error as error:
        if "end of data" in str(error):
            raise csv.Error(f"line {line}: a quotation mark is not closed") from None
    if len(lines) > MOST_LINES_OF_A_RECORD:
        raise csv.Error(f"line {line}: a quotation mark is not closed nearby")


def _text_frame(cells: list[Row], names: list[str]) -> pd.DataFrame:
    columns = zip(*cells, strict=True) if cells else [()] * len(names)
    frame = pd.DataFrame(
        {
            position: pd.Series(list(column), dtype="str")
            for position, column in enumerate(columns)
        }
    )
    frame.columns = pd.Index(names)
    return frame.where(frame != "")
