"""The shape of a mapping file, checked key by key before a source is opened.

A mapping names, per table, where it is and which source column fills each column of
ours::

    currency = "USD"                     # the reporting currency
    exported_on = 2026-01-31             # the day on which the files were written
    unapplied = "oldest_first"           # what money without an invoice pays

    [invoices]
    file = "open_items.csv"              # or files = [...]; or a url and a query
    encoding = "utf-8"
    date_format = "%m/%d/%Y"
    [invoices.columns]
    invoice_id = "DocNo"                 # a source column, or
    invoice_id = ["Company", "DocNo"]    # a key of several columns, or
    currency = { constant = "USD" }      # one value for all rows, or
    issued_on = { column = "Due", plus_days = -15 }, or
    invoice_id = { row_number = "item-" }   # the row number, if there is no id

    [payments]
    file = "open_items.csv"
    where_present = "Cleared"            # only rows in which this column is filled
    [payments.columns]
    kind = { column = "Type", values = { ZP = "payment", GS = "credit_note" } }

`[[invoices]]`, twice or more, reads one table from sources of several layouts. Files
that are documents have a `format`::

    [payments]
    files = ["statements/*.xml"]
    format = "camt.053"                  # or "mt940"; of invoices "e-invoice"
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, tzinfo
from difflib import get_close_matches
from pathlib import Path

from obligor.data.ledger import CONTRACTS, OF_INVOICE
from obligor.errors import SchemaError
from obligor.reading.conditions import Condition, parse_condition

MOST_DAYS = 36_525
# What money of a customer that belongs to no invoice pays.
UNAPPLIED_POLICIES = ("oldest_first", "as_allocated")
HEAD_KEYS = ("currency", "exported_on", "unapplied")
SOURCE_KEYS = (
    "file",
    "files",
    "url",
    "query",
    "sheet",
    "encoding",
    "separator",
    "header_row",
    "skip_footer",
    "format",
    "payers",
)
# Keys of tables, which documents have no use for.
LAYOUT_KEYS = ("url", "query", "sheet", "separator", "header_row", "skip_footer")
# The formats of documents, by the table that they fill.
FORMATS = {
    "invoices": ("e-invoice", "ubl", "cii", "factur-x", "zugferd", "xrechnung"),
    "payments": ("camt.053", "camt.052", "camt.054", "mt940"),
}
ROW_KEYS = ("where", "where_present", "empty", "id", "columns")
VALUE_KEYS = (
    "date_format",
    "decimal",
    "thousands",
    "currency_sign",
    "sign_by",
    "negate",
)
TABLE_KEYS = (*SOURCE_KEYS, *ROW_KEYS, *VALUE_KEYS)
RULE_KEYS = (
    "column",
    "constant",
    "row_number",
    "plus_days",
    "date_format",
    "decimal",
    "thousands",
    "values",
)
SIGN_KEYS = ("column", "credit", "debit")


@dataclass(frozen=True)
class SourceSpec:
    """Where the rows of a table are.

    Attributes
    ----------
    files : tuple of str
        Paths relative to the mapping; empty if the rows come from a query.
    url, query : str
        A database and what to ask it.
    sheet : str or int
        The sheet of a workbook, by name or counted from 0.
    encoding, separator : str
        Of text files; empty if the mapping does not state them.
    header_row : int
        The line of the header, counted from 1; 0 for the first line with content.
    skip_footer : int
        How many lines to leave out at the end.
    format : str
        Of documents, such as ``camt.053``; empty if the files are tables.
    payers : str
        A file that says which customer an account or a name of a payer is of.
    """

    files: tuple[str, ...] = ()
    url: str = ""
    query: str = ""
    sheet: str | int = 0
    encoding: str = ""
    separator: str = ""
    header_row: int = 0
    skip_footer: int = 0
    format: str = ""
    payers: str = ""


@dataclass(frozen=True)
class NumberFormat:
    """The signs in an amount, each empty if the mapping does not state it."""

    decimal: str = ""
    thousands: str = ""
    currency_sign: str = ""

    def example(self) -> str:
        """Return a number in the stated signs, for a message; nothing if unstated."""
        if not (self.decimal or self.thousands):
            return ""
        decimal = self.decimal or ("," if self.thousands == "." else ".")
        thousands = self.thousands or ("." if decimal == "," else ",")
        return f" such as 1{thousands}234{decimal}56"


@dataclass(frozen=True)
class SignColumn:
    """A column that says whether an amount is a debit or a credit.

    Attributes
    ----------
    column : str
        The source column.
    credit, debit : tuple of str
        Its values; empty if they are to be one of the usual pairs.
    """

    column: str
    credit: tuple[str, ...] = ()
    debit: tuple[str, ...] = ()


@dataclass(frozen=True)
class ColumnRule:
    """What fills one column of ours.

    Attributes
    ----------
    columns : tuple of str
        The source column; several are joined to one key.
    constant : object
        One value for all rows; None if there is none.
    row_number : str, optional
        A prefix of the row number; None if another rule fills the column.
    plus_days : int or tuple of str
        Days to add to a date, or the source columns that hold them: the first that has
        more than 0.
    date_format : str
        The format of the dates; empty if the mapping does not state it.
    numbers : NumberFormat
        The signs in the amounts.
    values : mapping of str to str
        Ours for each value of the source; empty if the source has ours already.
    """

    columns: tuple[str, ...] = ()
    constant: object = None
    row_number: str | None = None
    plus_days: int | tuple[str, ...] = 0
    date_format: str = ""
    numbers: NumberFormat = NumberFormat()
    values: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class TableMapping:
    """How one table, or one of several sources of it, is read.

    Attributes
    ----------
    table : str
        Our table.
    source : SourceSpec
        Where its rows are.
    rules : mapping of str to ColumnRule
        What fills our columns; a column that is absent is filled by its own name.
    where : Condition, optional
        Only rows that meet it are read.
    where_present : str
        Only rows in which this source column is filled; empty for all rows.
    empty : tuple of str
        Texts that stand for nothing.
    date_formats : mapping of str to str
        By our column; the key ``*`` holds for all.
    numbers : NumberFormat
        The signs in the amounts.
    sign_by : SignColumn, optional
        The column that holds the sign of the amounts.
    zone : tzinfo, optional
        The time zone in which a time stamp with an offset becomes a day; without it,
        the day is the written one.
    is_negated : bool
        Whether the source writes its amounts with the other sign.
    currency : str
        The currency of invoices of a source without a column of it.
    written_on : date, optional
        The day of the export, or today: what is in the source had been issued by then.
    """

    table: str
    source: SourceSpec
    rules: Mapping[str, ColumnRule]
    where: Condition | None = None
    where_present: str = ""
    empty: tuple[str, ...] = ()
    date_formats: Mapping[str, str] = field(default_factory=dict)
    numbers: NumberFormat = NumberFormat()
    sign_by: SignColumn | None = None
    zone: tzinfo | None = None
    is_negated: bool = False
    currency: str = ""
    written_on: date | None = None

    def rule(self, column: str) -> ColumnRule:
        """Return what fills a column."""
        return self.rules.get(column, ColumnRule((column,)))

    def date_format(self, column: str) -> str:
        """Return the stated format of a column of dates, or nothing."""
        whole_table = self.date_formats.get("*", "")
        by_column = self.date_formats.get(column, whole_table)
        return self.rule(column).date_format or by_column

    def number_format(self, column: str) -> NumberFormat:
        """Return the stated signs of a column of amounts."""
        own = self.rule(column).numbers
        return NumberFormat(
            decimal=own.decimal or self.numbers.decimal,
            thousands=own.thousands or self.numbers.thousands,
            currency_sign=self.numbers.currency_sign,
        )


@dataclass(frozen=True)
class LedgerMapping:
    """A mapping file.

    Attributes
    ----------
    currency : str
        The reporting currency.
    tables : mapping of str to tuple of TableMapping
        By table, one value for each source.
    folder : Path
        Where relative paths start.
    unapplied : {"oldest_first", "as_allocated"}
        Whether money without an invoice pays the oldest open ones, or none.
    exported_on : date, optional
        The day on which the sources were written; None if it is not stated.
    """

    currency: str
    tables: Mapping[str, tuple[TableMapping, ...]]
    folder: Path
    unapplied: str = UNAPPLIED_POLICIES[0]
    exported_on: date | None = None


def read_mapping(path: Path) -> LedgerMapping:
    """Read a mapping file and check every key in it.

    Raises
    ------
    SchemaError
        If it cannot be read, or has a key that is not valid.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise SchemaError(
            f"the mapping cannot be read: {error}",
            where=str(path),
            expected="a TOML file",
        ) from None
    for key in content:
        if key not in HEAD_KEYS and key not in CONTRACTS:
            raise SchemaError(
                f"unknown table {key!r}",
                where=str(path),
                expected=f"one of {[*HEAD_KEYS, *CONTRACTS]}",
                do=_suggestion(key, (*HEAD_KEYS, *CONTRACTS)),
            )
    tables = {
        table: _parse_sources(table, content[table])
        for table in CONTRACTS
        if table in content
    }
    return LedgerMapping(
        currency=_text(content, "currency", str(path)),
        tables=tables,
        folder=path.parent,
        unapplied=_parse_policy(content, str(path)),
        exported_on=_parse_export_day(content, str(path)),
    )


def _parse_policy(content: Mapping[str, object], where: str) -> str:
    policy = content.get("unapplied", UNAPPLIED_POLICIES[0])
    if not isinstance(policy, str) or policy not in UNAPPLIED_POLICIES:
        expected = f"one of {list(UNAPPLIED_POLICIES)}"
        raise _wrong("unapplied", policy, where, expected)
    return policy


def _parse_export_day(content: Mapping[str, object], where: str) -> date | None:
    day = content.get("exported_on")
    if isinstance(day, str):
        try:
            day = date.fromisoformat(day)
        except ValueError:
            day = content["exported_on"]
    is_day = isinstance(day, date) and not isinstance(day, datetime)
    if day is not None and not is_day:
        raise _wrong("exported_on", day, where, "a day such as 2026-01-31")
    return day if isinstance(day, date) else None


def _suggestion(key: str, keys: Iterable[str]) -> str:
    matches = get_close_matches(key, list(keys), n=1)
    return f"did you mean {matches[0]!r}?" if matches else ""


def _require_keys(
    content: Mapping[str, object],
    keys: Iterable[str],
    where: str,
    noun: str = "key",
) -> None:
    allowed = list(keys)
    for key in content:
        if key not in allowed:
            raise SchemaError(
                f"unknown {noun} {key!r}",
                where=where,
                expected=f"one of {allowed}",
                do=_suggestion(key, allowed),
            )


def _wrong(
    key: str,
    value: object,
    where: str,
    expected: str,
) -> SchemaError:
    return SchemaError(
        f"{key} is {value!r}",
        where=where,
        expected=expected,
    )


def _flag(content: Mapping[str, object], key: str, where: str) -> bool:
    value = content.get(key, False)
    if not isinstance(value, bool):
        raise _wrong(key, value, where, "true or false")
    return value


def _text(content: Mapping[str, object], key: str, where: str) -> str:
    value = content.get(key, "")
    if not isinstance(value, str):
        raise _wrong(key, value, where, "a text")
    return value


def _texts(content: Mapping[str, object], key: str, where: str) -> tuple[str, ...]:
    """Return a list of texts; one text is a list of one."""
    value = content.get(key, [])
    if isinstance(value, str):
        return (value,)
    if isinstance(value, list):
        texts = [item for item in value if isinstance(item, str)]
        if len(texts) == len(value):
            return tuple(texts)
    raise _wrong(key, value, where, "a text or a list of texts")


def _count(content: Mapping[str, object], key: str, where: str) -> int:
    value = content.get(key, 0)
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    if not is_whole or not 0 <= int(str(value)) < 1_000_000:
        raise _wrong(key, value, where, "a whole number of 0 or more")
    return int(str(value))


def _parse_sources(table: str, content: object) -> tuple[TableMapping, ...]:
    sources = content if isinstance(content, list) else [content]
    if not sources:
        raise SchemaError(
            "no source", where=f"[{table}]", expected="a file, or url and query"
        )
    mappings = []
    for source in sources:
        if not isinstance(source, dict):
            raise _wrong(table, source, "the mapping", f"a table [{table}]")
        mappings.append(_parse_table(table, source))
    return tuple(mappings)


def _parse_table(table: str, content: Mapping[str, object]) -> TableMapping:
    where = f"[{table}]"
    _require_keys(content, TABLE_KEYS, where)
    condition = _text(content, "where", where)
    return TableMapping(
        table=table,
        source=_parse_source(content, table, where),
        rules=_parse_rules(table, content),
        where=parse_condition(condition, where) if condition else None,
        where_present=_text(content, "where_present", where),
        empty=_texts(content, "empty", where),
        date_formats=_parse_date_formats(table, content),
        numbers=_parse_numbers(content, where),
        sign_by=_parse_sign(content, where),
        is_negated=_flag(content, "negate", where),
    )


def _parse_source(
    content: Mapping[str, object],
    table: str,
    where: str,
) -> SourceSpec:
    files = (*_texts(content, "file", where), *_texts(content, "files", where))
    url = _text(content, "url", where)
    query = _text(content, "query", where)
    if files and url:
        raise SchemaError(
            "file and url are both there", where=where, expected="one of them"
        )
    missing = "query" if url else "file"
    if not files and not (url and query):
        raise SchemaError(
            f"{missing!r} is missing",
            where=where,
            expected="file, or url and query",
        )
    sheet = content.get("sheet", 0)
    if isinstance(sheet, bool) or not isinstance(sheet, str | int):
        raise _wrong("sheet", sheet, where, "a name, or a number from 0")
    separator = _text(content, "separator", where)
    if len(separator) > 1 or separator in ("\n", "\r", '"'):
        raise _wrong("separator", separator, where, 'one character, e.g. ";" or "\\t"')
    return SourceSpec(
        files=files,
        url=url,
        query=query,
        sheet=sheet,
        encoding=_text(content, "encoding", where),
        separator=separator,
        header_row=_count(content, "header_row", where),
        skip_footer=_count(content, "skip_footer", where),
        format=_parse_format(content, table, where),
        payers=_text(content, "payers", where),
    )


def _parse_format(
    content: Mapping[str, object],
    table: str,
    where: str,
) -> str:
    document_format = _text(content, "format", where).lower()
    formats = FORMATS.get(table, ())
    if document_format and document_format not in formats:
        expected = f"one of {list(formats)}" if formats else "no format in this table"
        raise _wrong("format", document_format, where, expected)
    is_statement = bool(document_format) and table == "payments"
    if "payers" in content and not is_statement:
        raise _wrong("payers", content["payers"], where, "payers beside a format")
    for key in LAYOUT_KEYS:
        if document_format and key in content:
            raise _wrong(key, content[key], where, f"no {key} beside a format")
    return document_format


def columns_of(table: str) -> list[str]:
    """Return our columns that a mapping may fill.

    What happens to an invoice may name the customer too; it is compared with the
    customer of the invoice.
    """
    columns = list(CONTRACTS[table].columns)
    if table in OF_INVOICE and "customer_id" not in columns:
        columns.append("customer_id")
    return columns


def _parse_rules(table: str, content: Mapping[str, object]) -> dict[str, ColumnRule]:
    where = f"[{table}.columns]"
    columns = content.get("columns", {})
    if not isinstance(columns, dict):
        raise _wrong("columns", columns, f"[{table}]", f"a table {where}")
    _require_keys(columns, columns_of(table), where, "column")
    rules = {
        column: _parse_rule(rule, where, column) for column, rule in columns.items()
    }
    key = _texts(content, "id", f"[{table}]")
    if key:
        if "invoice_id" not in CONTRACTS[table].columns or "invoice_id" in rules:
            raise SchemaError(
                "id cannot be used here",
                where=f"[{table}]",
                expected="id in a table with invoices, in place of invoice_id",
            )
        rules["invoice_id"] = ColumnRule(key)
    return rules


def _parse_rule(rule: object, where: str, column: str) -> ColumnRule:
    if isinstance(rule, str | list) and rule:
        return ColumnRule(_texts({column: rule}, column, where))
    if not isinstance(rule, dict):
        raise _wrong(column, rule, where, "a source column, or a table of its rule")
    inside = f"{where} {column}"
    _require_keys(rule, RULE_KEYS, inside)
    fillers = [key for key in ("column", "constant", "row_number") if key in rule]
    if len(fillers) != 1:
        raise SchemaError(
            f"the rule has {len(fillers)} fillers",
            where=inside,
            expected="one of column, constant, row_number",
        )
    constant = rule.get("constant")
    if not isinstance(constant, str | int | float | date | None):
        raise _wrong("constant", constant, inside, "a text, a number or a date")
    row_number = _text(rule, "row_number", inside) if "row_number" in rule else None
    return ColumnRule(
        columns=_texts(rule, "column", inside),
        constant=constant,
        row_number=row_number,
        plus_days=_parse_days_to_add(rule, inside),
        date_format=_text(rule, "date_format", inside),
        numbers=_parse_numbers(rule, inside),
        values=_parse_values(rule, inside, column),
    )


def _parse_values(
    rule: Mapping[str, object],
    where: str,
    column: str,
) -> dict[str, str]:
    """Return our value for each of the source's, by its text in lower case."""
    values = rule.get("values", {})
    expected = f'a table such as {{ "Zahlung" = "{_example_of(column)}" }}'
    if not isinstance(values, dict):
        raise _wrong("values", values, where, expected)
    for ours in values.values():
        if not isinstance(ours, str):
            raise _wrong("values", values, where, expected)
    folded = {value.strip().casefold(): ours for value, ours in values.items()}
    if len(folded) < len(values):
        raise _wrong("values", list(values), where, "each value once")
    return folded


def _example_of(column: str) -> str:
    return "payment" if column == "kind" else "text"


def _parse_days_to_add(rule: Mapping[str, object], where: str) -> int | tuple[str, ...]:
    value = rule.get("plus_days", 0)
    if isinstance(value, str | list) and value:
        return _texts(rule, "plus_days", where)
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    if is_whole and abs(int(str(value))) <= MOST_DAYS:
        return int(str(value))
    expected = f"days up to {MOST_DAYS}, or the columns that hold them"
    raise _wrong("plus_days", value, where, expected)


def _parse_date_formats(table: str, content: Mapping[str, object]) -> dict[str, str]:
    where = f"[{table}]"
    value = content.get("date_format", "")
    if not isinstance(value, dict):
        text = _text(content, "date_format", where)
        return {"*": text} if text else {}
    inside = f"[{table}.date_format]"
    _require_keys(value, columns_of(table), inside, "column")
    return {column: _text(value, column, inside) for column in value}


def _parse_numbers(content: Mapping[str, object], where: str) -> NumberFormat:
    decimal = _text(content, "decimal", where)
    thousands = _text(content, "thousands", where)
    for key, sign in (("decimal", decimal), ("thousands", thousands)):
        if len(sign) > 1 or sign.isalnum() or sign in ("-", "+", "(", ")"):
            raise _wrong(key, sign, where, 'one sign, e.g. "," or "."')
    if decimal and decimal == thousands:
        raise _wrong("thousands", thousands, where, "another sign than decimal")
    return NumberFormat(
        decimal,
        thousands,
        _text(content, "currency_sign", where),
    )


def _parse_sign(content: Mapping[str, object], where: str) -> SignColumn | None:
    value = content.get("sign_by", "")
    if isinstance(value, str):
        return SignColumn(value) if value else None
    if not isinstance(value, dict):
        raise _wrong("sign_by", value, where, "a source column, or a table")
    inside = f"{where} sign_by"
    _require_keys(value, SIGN_KEYS, inside)
    column = _text(value, "column", inside)
    credit = _texts(value, "credit", inside)
    debit = _texts(value, "debit", inside)
    if not column or not credit:
        raise SchemaError(
            "column or credit is missing",
            where=inside,
            expected='column and credit, e.g. { column = "S/H", credit = "H" }',
        )
    return SignColumn(column, credit, debit)
