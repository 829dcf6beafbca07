"""Reading a ledger from CSV, Parquet, Excel or SQL through a TOML mapping.

These are the only reads of source data. A mapping names, per table, where it is and
which source column fills each column of ours::

    currency = "USD"                     # the reporting currency

    [invoices]
    file = "open_items.csv"              # or .parquet, .xlsx; or a url and a query
    encoding = "utf-8"
    date_format = "%m/%d/%Y"
    [invoices.columns]
    invoice_id = "DocNo"                 # a source column, or
    currency = { constant = "USD" }      # one value for all rows, or
    issued_on = { column = "Due", plus_days = -15 }, or
    invoice_id = { row_number = "item-" }   # the row number, if there is no id

    [payments]
    file = "open_items.csv"
    where_present = "Cleared"            # only rows in which this column is filled
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
from obligor.data.ledger import (
    CONTRACTS,
    DAY_DTYPE,
    DEFAULTS,
    Ledger,
    day_columns,
    number_columns,
)
from obligor.data.money import minor_digits
from obligor.errors import InputError, SchemaError

# The part of a mapping that describes one table, as TOML gives it.
TableMapping = Mapping[str, Any]
# How one column is filled: from a source column, or as a small table says.
ColumnRule = str | Mapping[str, Any]


@dataclass(frozen=True)
class Source:
    """A parsed mapping file.

    Attributes
    ----------
    tables : mapping
        The content of the file: the currency, and a `TableMapping` per table.
    folder : Path
        Where its relative paths start.
    environment : mapping
        The values for ``${NAME}`` in a URL.
    """

    tables: Mapping[str, Any]
    folder: Path
    environment: Mapping[str, str]


def read_ledger(
    mapping: Path,
    *,
    today: date,
    environment: Mapping[str, str] | None = None,
) -> LedgerCheck:
    """Read the tables that a mapping file names, and check them.

    Parameters
    ----------
    mapping : Path
        The TOML file; its relative paths start from its own folder.
    today : date
        Nothing may have happened after this day.
    environment : mapping, optional
        The values for ``${NAME}`` in a ``url``, so that no file contains a secret.

    Returns
    -------
    LedgerCheck
        The clean ledger with all findings; `LedgerCheck.require` raises if it is
        refused.

    Raises
    ------
    SchemaError
        If the mapping or a source cannot be read at all.
    """
    source = _read_mapping(mapping, environment or {})
    currency = str(source.tables.get("currency", ""))
    minor_digits(currency)
    tables = {}
    unreadable = list[Finding]()
    for table in CONTRACTS:
        if table in source.tables:
            frame = _mapped(table, source)
            tables[table] = frame
            unreadable += _parse_columns(table, frame, source.tables[table])
            _fill_known_on(table, frame)
    if "customers" not in tables and "invoices" in tables:
        tables["customers"] = _customers_of(tables["invoices"])
    ledger = Ledger(tables, currency)
    return check_ledger(
        ledger,
        today=today,
        unreadable=unreadable,
    )


def _read_mapping(path: Path, environment: Mapping[str, str]) -> Source:
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SchemaError(
            f"the mapping cannot be read: {error}",
            where=str(path),
            expected="a TOML file",
        ) from None
    unknown = sorted(set(tables) - set(CONTRACTS) - {"currency"})
    if unknown:
        raise SchemaError(
            f"unknown table {unknown[0]!r}",
            where=str(path),
            expected=f"currency or one of {list(CONTRACTS)}",
        )
    return Source(tables, path.parent, environment)


def _read_table(table: str, source: Source) -> pd.DataFrame:
    """Return a source table as it is."""
    spec = source.tables[table]
    try:
        if "url" in spec:
            return _read_sql(spec, source.environment)
        return _read_file(spec, source.folder)
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
            expected="the encoding that the mapping names",
            do='set the encoding, e.g. encoding = "cp1252"',
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
        # Of a driver's error the class only: its message may contain the password.
        reason = str(error) if isinstance(error, OSError) else type(error).__name__
        raise InputError(
            f"the source cannot be read: {reason}",
            where=f"[{table}]",
            do="check file, url and query",
        ) from None


def _read_sql(spec: TableMapping, environment: Mapping[str, str]) -> pd.DataFrame:
    url = Template(spec["url"]).substitute(environment)
    with sqlalchemy.create_engine(url).connect() as connection:
        frame: pd.DataFrame = pd.read_sql(sqlalchemy.text(spec["query"]), connection)
    return frame


def _read_file(spec: TableMapping, folder: Path) -> pd.DataFrame:
    path = folder / spec["file"]
    if path.suffix == ".parquet":
        return pd.read_parquet(path)
    if path.suffix in (".xlsx", ".xls"):
        sheet: int | str = spec.get("sheet", 0)
        return pd.read_excel(
            path,
            sheet_name=sheet,
            dtype=object,
        )
    # As texts: pandas would guess types, and lose leading zeros of ids.
    return pd.read_csv(
        path,
        dtype=str,
        encoding=spec.get("encoding", "utf-8"),
        sep=spec.get("separator", ","),
    )


def _mapped(table: str, source: Source) -> pd.DataFrame:
    """Return our columns of a table, still in the source's own types."""
    spec = source.tables[table]
    raw = _read_table(table, source)
    present = spec.get("where_present")
    if present:
        raw = raw[_source_column(table, raw, present).notna()]
    rules = spec.get("columns", {})
    unknown = sorted(set(rules) - set(CONTRACTS[table].columns))
    if unknown:
        raise SchemaError(
            f"unknown column {unknown[0]!r}",
            where=f"[{table}.columns]",
            expected=f"one of {list(CONTRACTS[table].columns)}",
        )
    defaults = DEFAULTS.get(table, {})
    frame = pd.DataFrame(index=raw.index)
    for name, column in CONTRACTS[table].columns.items():
        if name in rules or name in raw:
            frame[name] = _filled(table, raw, rules.get(name, name))
        elif name in defaults:
            frame[name] = defaults[name]
        elif name.endswith("_id") and column.unique:
            frame[name] = [f"{table[:-1]}-{row}" for row in raw.index]
    return frame


def _filled(
    table: str,
    raw: pd.DataFrame,
    rule: ColumnRule,
) -> pd.Series:
    """Return the column that a rule of the mapping describes."""
    if isinstance(rule, str):
        return _source_column(table, raw, rule)
    if "constant" in rule:
        return pd.Series(rule["constant"], index=raw.index)
    if "row_number" in rule:
        prefix = rule["row_number"]
        return pd.Series([f"{prefix}{row}" for row in raw.index], index=raw.index)
    return _source_column(table, raw, rule["column"])


def _source_column(
    table: str,
    raw: pd.DataFrame,
    name: str,
) -> pd.Series:
    if name not in raw:
        raise SchemaError(
            f"no column {name!r}",
            where=table,
            expected=f"one of {list(raw.columns)}",
        )
    return raw[name]


def _parse_columns(
    table: str,
    frame: pd.DataFrame,
    spec: TableMapping,
) -> Iterator[Finding]:
    """Give each column our type; yield a finding for each cell that has another."""
    days = day_columns(table)
    numbers = number_columns(table)
    for column in map(str, frame.columns):
        values = frame[column]
        if column in days:
            parsed = _parsed_days(values, spec, column)
            expected = f"a date such as {spec.get('date_format', '%Y-%m-%d')}"
        elif column in numbers:
            parsed = pd.to_numeric(values, errors="coerce").astype("float64")
            expected = "a number"
        else:
            parsed = values.astype("str").where(values.notna()).str.strip()
            expected = "a text"
        frame[column] = parsed
        for row in values.index[values.notna() & parsed.isna()]:
            yield Finding(
                level="quarantine",
                table=table,
                column=column,
                row=int(row),
                what=f"cannot parse {values[row]!r}",
                expected=expected,
            )


def _fill_known_on(table: str, frame: pd.DataFrame) -> None:
    """Fill a missing `known_on`; nothing is known before it happened."""
    for column, rule in CONTRACTS[table].columns.items():
        fills = (rule.metadata or {}).get("fills")
        if not fills or fills not in frame:
            continue
        if column in frame:
            frame[column] = frame[[column, fills]].max(axis=1)
        else:
            frame[column] = frame[fills]


def _parsed_days(
    values: pd.Series,
    spec: TableMapping,
    column: str,
) -> pd.Series:
    is_date = values.dtype.kind == "M"
    date_format = None if is_date else spec.get("date_format")
    rule = spec.get("columns", {}).get(column)
    plus_days = rule.get("plus_days", 0) if isinstance(rule, dict) else 0
    days = pd.to_datetime(
        values,
        format=date_format,
        errors="coerce",
    )
    days += pd.Timedelta(days=plus_days)
    return days.dt.normalize().astype(DAY_DTYPE)


def _customers_of(invoices: pd.DataFrame) -> pd.DataFrame:
    """Return customers, each known from the first invoice on, for a source without."""
    first = invoices.groupby("customer_id")["issued_on"].min().reset_index()
    customers = first.rename(columns={"issued_on": "registered_on"})
    return customers.assign(known_on=first["issued_on"])


def write_quarantine(check: LedgerCheck, folder: Path) -> list[Path]:
    """Write the rows that were set aside, one CSV file per table.

    Parameters
    ----------
    check : LedgerCheck
        The outcome of a check.
    folder : Path
        Created if it does not exist.

    Returns
    -------
    list of Path
        The files; their column ``findings`` says what is wrong with each row.
    """
    folder.mkdir(
        parents=True,
        exist_ok=True,
    )
    paths = []
    for table, rows in check.quarantined.items():
        texts: dict[int | None, str] = {}
        for finding in check.findings:
            if finding.table == table:
                texts[finding.row] = f"{texts.get(finding.row, '')}{finding}; "
        path = folder / f"{table}.csv"
        findings = [texts.get(row, "") for row in rows.index]
        rows.assign(findings=findings).to_csv(path, index_label="row")
        paths.append(path)
    return paths
