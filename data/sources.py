"""Reading a ledger from CSV, Parquet, Excel or SQL through a TOML mapping: the only reads of source data.

A mapping names, per table, where it is and which source column fills each of ours::

    currency = "USD"                     # the reporting currency

    [invoices]
    file = "open_items.csv"              # or .parquet, .xlsx; or query = "select ..." with a url
    encoding = "utf-8"
    date_format = "%m/%d/%Y"
    [invoices.columns]
    invoice_id = "DocNo"                 # a source column, or
    currency = { constant = "USD" }      # one value for all rows, or
    issued_on = { column = "Due", plus_days = -15 }
    invoice_id = { row_number = "item-" }   # where the source has no id: its row number

    [payments]
    file = "open_items.csv"
    where_present = "Cleared"            # only rows in which this source column is filled
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from string import Template
from typing import Any
from zipfile import BadZipFile

import pandas as pd
import sqlalchemy

from obligor.data.checks import Finding, LedgerCheck, check_ledger
from obligor.data.ledger import CONTRACTS, DEFAULTS, Ledger, day_columns, number_columns
from obligor.data.money import minor_digits
from obligor.errors import InputError, SchemaError


@dataclass(frozen=True)
class Source:
    """A parsed mapping file and the folder its relative paths start from."""

    spec: dict[str, Any]
    folder: Path
    environment: Mapping[str, str]


def read_ledger(
    mapping: Path, *, today: date, environment: Mapping[str, str] | None = None
) -> LedgerCheck:
    """Read the tables a mapping file names and check them.

    Parameters
    ----------
    mapping : Path
        The TOML file; its relative paths start from its own folder.
    today : date
        Passed on to `check_ledger`.
    environment : mapping, optional
        Values for `${NAME}` in a `url`, so that no secret stands in a file.

    Returns
    -------
    LedgerCheck
        The clean ledger with all findings; `.require()` raises where it is refused.

    Raises
    ------
    SchemaError
        Where the mapping or a source cannot be read at all.
    """
    source = _mapping(mapping, environment or {})
    currency = str(source.spec.get("currency", ""))
    minor_digits(currency)
    tables, findings = {}, list[Finding]()
    for table in CONTRACTS:
        if table in source.spec:
            tables[table], found = _typed(
                table, _mapped(table, source), source.spec[table]
            )
            findings += found
    if "customers" not in tables and "invoices" in tables:
        tables["customers"] = _customers_of(tables["invoices"])
    return check_ledger(Ledger(tables, currency), today=today, found=findings)


def _mapping(path: Path, environment: Mapping[str, str]) -> Source:
    try:
        spec = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SchemaError(
            f"cannot be read: {error}", where=str(path), expected="a TOML mapping file"
        ) from None
    unknown = set(spec) - set(CONTRACTS) - {"currency"}
    if unknown:
        raise SchemaError(
            f"unknown table {sorted(unknown)[0]!r}",
            where=str(path),
            expected=f"currency or one of {list(CONTRACTS)}",
        )
    return Source(spec, path.parent, environment)


def _raw(table: str, source: Source) -> pd.DataFrame:
    """The source table as it stands; every read of source data in the project is here."""
    spec = source.spec[table]
    try:
        if "url" in spec:
            url = Template(spec["url"]).substitute(source.environment)
            with sqlalchemy.create_engine(url).connect() as connection:
                frame: pd.DataFrame = pd.read_sql(
                    sqlalchemy.text(spec["query"]), connection
                )
                return frame
        path = source.folder / spec["file"]
        if path.suffix == ".parquet":
            return pd.read_parquet(path)
        if path.suffix in (".xlsx", ".xls"):
            sheet: int | str = spec.get("sheet", 0)
            return pd.read_excel(path, sheet_name=sheet, dtype=object)
        return pd.read_csv(
            path,
            dtype=str,
            encoding=spec.get("encoding", "utf-8"),
            sep=spec.get("separator", ","),
        )
    except pd.errors.EmptyDataError:
        raise SchemaError(
            "the file is empty",
            where=f"{table}: {spec['file']}",
            expected="a header and rows",
        ) from None
    except UnicodeDecodeError as error:
        raise SchemaError(
            f"byte {error.start} is not {error.encoding}",
            where=f"{table}: {spec['file']}",
            expected="the encoding the mapping names",
            do='set e.g. encoding = "cp1252"',
        ) from None
    except KeyError as error:
        raise SchemaError(
            f"{error} is missing", where=f"[{table}]", expected="file, or url and query"
        ) from None
    except (
        OSError,
        ValueError,
        LookupError,
        BadZipFile,
        sqlalchemy.exc.SQLAlchemyError,
    ) as error:
        # The class only: a driver's message may hold the URL with its password.
        reason = str(error) if isinstance(error, OSError) else type(error).__name__
        raise InputError(
            f"cannot be read: {reason}", where=f"[{table}]", do="check file, url, query"
        ) from None


def _mapped(table: str, source: Source) -> pd.DataFrame:
    """Our columns, still in the source's own types."""
    spec, raw = source.spec[table], _raw(table, source)
    if present := spec.get("where_present"):
        raw = raw[_source_column(table, raw, present).notna()]
    columns = spec.get("columns", {})
    unknown = set(columns) - set(CONTRACTS[table].columns)
    if unknown:
        raise SchemaError(
            f"unknown column {sorted(unknown)[0]!r}",
            where=f"[{table}.columns]",
            expected=f"one of {list(CONTRACTS[table].columns)}",
        )
    frame = pd.DataFrame(index=raw.index)
    for name, column in CONTRACTS[table].columns.items():
        if name in columns or name in raw:
            frame[name] = _filled(table, raw, columns.get(name, name))
        elif name in DEFAULTS.get(table, {}):
            frame[name] = DEFAULTS[table][name]
        elif name.endswith("_id") and column.unique:
            frame[name] = [f"{table[:-1]}-{row}" for row in raw.index]
    return frame


def _filled(
    table: str, raw: pd.DataFrame, rule: str | dict[str, Any]
) -> pd.Series[Any]:
    if isinstance(rule, str):
        return _source_column(table, raw, rule)
    if "constant" in rule:
        return pd.Series(rule["constant"], index=raw.index)
    if "row_number" in rule:
        return pd.Series(
            [f"{rule['row_number']}{row}" for row in raw.index], index=raw.index
        )
    return _source_column(table, raw, rule["column"])


def _source_column(table: str, raw: pd.DataFrame, name: str) -> pd.Series[Any]:
    if name not in raw:
        raise SchemaError(
            f"no column {name!r}",
            where=f"{table}",
            expected=f"one of {list(raw.columns)}",
        )
    return raw[name]


def _typed(
    table: str, frame: pd.DataFrame, spec: Mapping[str, Any]
) -> tuple[pd.DataFrame, list[Finding]]:
    """Our columns in our types, and a finding for each cell that could not be read."""
    findings = list[Finding]()
    days, numbers = day_columns(table), number_columns(table)
    for name in frame:
        column = str(name)
        if column in days:
            typed = _days(frame[column], spec, column)
            expected = f"a date as {spec.get('date_format', '%Y-%m-%d')}"
        elif column in numbers:
            typed, expected = (
                pd.to_numeric(frame[column], errors="coerce").astype("float64"),
                "a number",
            )
        else:
            typed, expected = (
                frame[column].astype("str").where(frame[column].notna()).str.strip(),
                "a text",
            )
        findings += _unread(table, column, frame[column], typed, expected)
        frame[column] = typed
    for column, rule in CONTRACTS[table].columns.items():
        fills = (rule.metadata or {}).get("fills")
        if fills and fills in frame:  # nothing is known before it happened
            frame[column] = (
                frame[[column, fills]].max(axis=1) if column in frame else frame[fills]
            )
    return frame, findings


def _days(
    values: pd.Series[Any], spec: Mapping[str, Any], column: str
) -> pd.Series[Any]:
    form = (
        None
        if values.dtype.kind == "M" or "date_format" not in spec
        else spec["date_format"]
    )
    rule = spec.get("columns", {}).get(column)
    plus = rule.get("plus_days", 0) if isinstance(rule, dict) else 0
    days = pd.to_datetime(values, format=form, errors="coerce") + pd.Timedelta(
        days=plus
    )
    normalized: pd.Series[Any] = days.dt.normalize().astype("datetime64[s]")
    return normalized


def _unread(
    table: str,
    column: str,
    source: pd.Series[Any],
    typed: pd.Series[Any],
    expected: str,
) -> Iterator[Finding]:
    for row in source.index[source.notna() & typed.isna()]:
        yield Finding(
            "quarantine",
            table,
            column,
            int(row),
            f"cannot read {source[row]!r}",
            expected,
        )


def _customers_of(invoices: pd.DataFrame) -> pd.DataFrame:
    """A source without a customer table: each customer is known from the first invoice on."""
    first = invoices.groupby("customer_id")["issued_on"].min().reset_index()
    return first.rename(columns={"issued_on": "registered_on"}).assign(
        known_on=first["issued_on"]
    )


def write_quarantine(check: LedgerCheck, folder: Path) -> list[Path]:
    """Write the rows that were set aside, a CSV per table with the findings of each row."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for table, rows in check.quarantined.items():
        told: dict[int | None, str] = {}
        for finding in check.findings:
            if finding.table == table:
                told[finding.row] = f"{told.get(finding.row, '')}{finding}; "
        paths.append(folder / f"{table}.csv")
        rows.assign(findings=[told.get(row, "") for row in rows.index]).to_csv(
            paths[-1], index_label="row"
        )
    return paths
