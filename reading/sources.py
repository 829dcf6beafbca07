"""Reading a ledger from CSV, Parquet, Excel or SQL through a TOML mapping.

These are the only reads of source data: a source is read as it is (`reading.files`),
its rows are selected (`reading.selecting`), each of our columns is filled and parsed as
a whole (`reading.dates`, `reading.amounts`), and the tables are checked
(`data.checks`). The shape of a mapping is described in `reading.mapping`.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, tzinfo
from pathlib import Path

import pandas as pd

from obligor.data.checks import LedgerCheck, check_ledger
from obligor.data.column_reading import (
    EMPTY_TEXTS,
    EMPTY_VALUES,
    ColumnReading,
    by_distinct_value,
    text_of,
    texts_of,
)
from obligor.data.findings import Finding, Level
from obligor.data.ledger import (
    CONTRACTS,
    DAY_DTYPE,
    DEFAULTS,
    OF_INVOICE,
    PAYMENT_KINDS,
    Ledger,
    day_columns,
    number_columns,
    sealed_columns,
)
from obligor.data.money import minor_digits
from obligor.data.posting import with_documents
from obligor.data.row_ownership import owners_of_items
from obligor.data.stored_ledger import StoredLedger
from obligor.errors import SchemaError
from obligor.reading.amounts import parse_amounts
from obligor.reading.dates import parse_days
from obligor.reading.document_sources import (
    DocumentRows,
    assign_documents,
    read_documents,
    read_payers,
)
from obligor.reading.excluded import currencies_by_invoice, drop_events_of_excluded
from obligor.reading.files import RawTable, read_source
from obligor.reading.mapping import (
    MOST_DAYS,
    ColumnRule,
    LedgerMapping,
    SignColumn,
    SourceSpec,
    TableMapping,
    columns_of,
    read_mapping,
)
from obligor.reading.selecting import (
    footer_rows,
    selected_rows,
    source_column,
    source_names,
)
from obligor.reading.signs import signed_amounts

# A source without ids of its own is given these, by row.
OWN_IDS = {
    "customers": "customer_id",
    "invoices": "invoice_id",
    "payments": "payment_id",
}
# Behind an amount, these say which side of the books it is on.
SIDES = ("CR", "DR", "C", "D", "H", "S")


@dataclass(frozen=True)
class Lines:
    """Where the rows of a table are in its files.

    Attributes
    ----------
    parts : list of tuple of str and Series
        For each file its name, and the line of each row by the number of the row; rows
        are numbered on through all files.
    """

    parts: list[tuple[str, pd.Series]]

    def text(self, row: int) -> str:
        """Return where a row is, such as ``line 62``; nothing if it has no line."""
        for label, lines in self.parts:
            if row in lines.index and lines[row]:
                line = f"line {lines[row]}"
                return line if len(self.parts) == 1 else f"{label} {line}"
        return ""


@dataclass
class _Table:
    """A table as it is put together: our columns, and what was noticed."""

    frame: pd.DataFrame
    lines: Lines
    findings: list[Finding]
    excluded: pd.Series
    documents: pd.DataFrame


def read_ledger(
    mapping: Path,
    *,
    today: date,
    environment: Mapping[str, str] | None = None,
    zone: tzinfo | None = None,
    stored: StoredLedger | None = None,
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
    zone : tzinfo, optional
        The time zone in which a time stamp with an offset becomes a day; without it,
        the day is the written one.
    stored : StoredLedger, optional
        The loaded ledger, which the tables are to update and may refer to.

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
    content = read_mapping(mapping)
    _require_written(content, today, str(mapping))
    minor_digits(content.currency)
    tables = {}
    for table, mappings in content.tables.items():
        reader = _TableReader(table, content.folder, environment or {})
        in_zone = [
            replace(
                table_mapping,
                zone=zone,
                currency=content.currency,
                written_on=content.exported_on or today,
            )
            for table_mapping in mappings
        ]
        tables[table] = reader.read(in_zone)
    frames = {table: parts.frame for table, parts in tables.items()}
    findings = [finding for parts in tables.values() for finding in parts.findings]
    if "invoices" in tables:
        excluded = tables["invoices"].excluded
        findings += drop_events_of_excluded(frames, excluded, content.currency)
        findings = [finding for finding in findings if _is_in(frames, finding)]
    payers = read_payers(
        content.tables.get("payments", ()), content.folder, environment or {}
    )
    documents = _document_rows(tables)
    findings += assign_documents(frames, documents, payers, stored)
    findings += strangers(frames, stored)
    findings += complete_customers(frames, findings, stored)
    check = check_ledger(
        _ledger_of(content, frames),
        today=today,
        unreadable=findings,
        stored=stored,
    )
    lines = {table: parts.lines for table, parts in tables.items()}
    findings = [_located(finding, lines) for finding in check.findings]
    findings += _after_export(check.ledger)
    return replace(check, findings=findings)


def complete_customers(
    frames: dict[str, pd.DataFrame],
    findings: Sequence[Finding],
    stored: StoredLedger | None,
) -> Iterable[Finding]:
    """Take from invoices what no table of customers says.

    Parameters
    ----------
    frames : dict of str to DataFrame
        The tables; ``customers`` is filled, or made from the invoices.
    findings : sequence of Finding
        What was noticed so far.
    stored : StoredLedger, optional
        The ledger that these rows update.

    Returns
    -------
    iterable of Finding
        What was filled, and which customers have no day.
    """
    if not {"customer_id", "issued_on"} <= set(frames.get("invoices", ())):
        return ()
    if "customers" in frames:
        return _fill_registration(frames, stored)
    frames["customers"] = _customers_of(frames["invoices"], stored)
    return _undated_customers(frames["customers"], findings)


def _ledger_of(content: LedgerMapping, frames: dict[str, pd.DataFrame]) -> Ledger:
    return Ledger(
        frames,
        content.currency,
        exported_on=content.exported_on,
        unapplied_policy=content.unapplied,
    )


def _require_written(
    content: LedgerMapping,
    today: date,
    where: str,
) -> None:
    """Refuse a source that was written in the future."""
    exported_on = content.exported_on
    if exported_on is not None and exported_on > today:
        raise SchemaError(
            f"exported_on is {exported_on}, which lies in the future",
            where=where,
            expected=f"a day up to {today}",
            do="state the day on which the files were written",
        )


def _after_export(ledger: Ledger) -> Iterator[Finding]:
    """Report the rows that a question as of the day of the export does not see."""
    if ledger.exported_on is None:
        return
    for table, frame in ledger.tables.items():
        is_later = frame["known_on"] > pd.Timestamp(ledger.exported_on)
        if is_later.any():
            yield Finding(
                level="note",
                table=table,
                column="known_on",
                row=None,
                what=f"{is_later.sum():,} rows became known after the export of "
                f"{ledger.exported_on}; by default no question sees them",
                expected="rows known by that day",
            )


def _document_rows(tables: Mapping[str, _Table]) -> DocumentRows:
    rows = {
        table: tables[table].documents if table in tables else pd.DataFrame()
        for table in ("payments", "invoices")
    }
    return DocumentRows(rows["payments"], rows["invoices"])


def _is_in(frames: Mapping[str, pd.DataFrame], finding: Finding) -> bool:
    """Return whether a row that is to be set aside is still in its table."""
    is_about_row = finding.level == "quarantine" and finding.row is not None
    return not is_about_row or finding.row in frames[finding.table].index


def _located(finding: Finding, lines: Mapping[str, Lines]) -> Finding:
    """Return a finding with the line of its row."""
    if finding.row is None or finding.table not in lines:
        return finding
    return replace(finding, line=lines[finding.table].text(finding.row))


@dataclass(frozen=True)
class _TableReader:
    """Reads one table from its sources."""

    table: str
    folder: Path
    environment: Mapping[str, str]

    def read(self, mappings: Sequence[TableMapping]) -> _Table:
        """Read the sources one after the other; rows are numbered on through all."""
        parts = []
        excluded = []
        documents = []
        lines = list[tuple[str, pd.Series]]()
        n_rows = 0
        for mapping in mappings:
            raws = self._read_source(mapping.source)
            raws, n_rows = _renumbered(raws, n_rows)
            lines += [(raw.label, raw.lines) for raw in raws]
            reader = SourceReader(mapping, raws[0].is_workbook)
            parts.append(reader.read(raws))
            excluded.append(reader.excluded)
            documents.append(reader.documents)
        frames = [frame for frame, _ in parts]
        return _Table(
            frame=frames[0] if len(frames) == 1 else pd.concat(frames),
            lines=Lines(lines),
            findings=[finding for _, findings in parts for finding in findings],
            excluded=pd.concat(excluded),
            documents=pd.concat(documents),
        )

    def _read_source(self, spec: SourceSpec) -> list[RawTable]:
        if spec.format:
            return read_documents(spec, self.table, self.folder)
        return read_source(spec, self.table, self.folder, self.environment)


def _renumbered(raws: Sequence[RawTable], n_rows: int) -> tuple[list[RawTable], int]:
    """Return sources whose rows are numbered from `n_rows` on, and the next number."""
    numbered = []
    for raw in raws:
        index = raw.frame.index + n_rows
        n_rows = int(index.max()) + 1 if len(index) else n_rows
        frame = raw.frame.set_axis(index)
        numbered.append(replace(raw, frame=frame, lines=raw.lines.set_axis(index)))
    return numbered, n_rows


@dataclass
class SourceReader:
    """Fills our columns of one table from sources of one layout."""

    mapping: TableMapping
    is_workbook: bool
    findings: list[Finding] = field(default_factory=list)
    # The currency of each invoice that `where` leaves out.
    excluded: pd.Series = field(default_factory=lambda: pd.Series(dtype="object"))
    # The rows of documents in their own columns; none if the files are tables.
    documents: pd.DataFrame = field(default_factory=pd.DataFrame)

    def read(self, raws: Sequence[RawTable]) -> tuple[pd.DataFrame, list[Finding]]:
        """Return our columns, parsed, and what was noticed."""
        frames = [raw.frame for raw in raws]
        raw = frames[0] if len(frames) == 1 else pd.concat(frames)
        self._report_repeated_names(raws)
        for note in dict.fromkeys(note for source in raws for note in source.notes):
            self._report("note", "", note)
        every_row = raw
        raw, notes = selected_rows(self.mapping, every_row)
        if self.mapping.table == "invoices" and len(raw) < len(every_row):
            others = _mapped(self.mapping, every_row.drop(index=raw.index))
            self.excluded = currencies_by_invoice(others, self.mapping.empty)
        for note in notes:
            self._report("note", "", note)
        frame = _mapped(self.mapping, raw)
        footers = list(footer_rows(self.mapping.table, frame, raw))
        self.findings += footers
        frame = frame.drop(index=[footer.row for footer in footers])
        raw = raw.loc[frame.index]
        if self.mapping.source.format:
            self.documents = raw
        for column in map(str, frame.columns):
            frame[column] = self._parsed(column, frame[column], raw)
        self._fill(frame)
        _fill_known_on(self.mapping.table, frame)
        return frame, self.findings

    def _fill(self, frame: pd.DataFrame) -> None:
        """Fill the columns that a list may leave out, and say with what."""
        if self.mapping.table == "invoices":
            # A list of balances may be in the reporting currency without a word.
            if "issued_on" not in frame:
                self._fill_currency(frame)
            self._fill_issue(frame)
        elif self.mapping.table == "disputes":
            self._fill_resolution(frame)

    def _fill_issue(self, frame: pd.DataFrame) -> None:
        """Take the due day of a list that does not say when items were issued."""
        if "issued_on" not in frame and "due_on" in frame:
            frame["issued_on"] = frame["due_on"]
            what = "it is not stated; due_on is taken"
            written_on = self.mapping.written_on
            if written_on is not None:
                # An item that is due later had been issued when the list was written.
                last_day = pd.Timestamp(written_on)
                is_later = frame["due_on"] > last_day
                frame["issued_on"] = frame["due_on"].mask(is_later, last_day)
                what += f", or {written_on} if that is earlier"
            self._report("note", "issued_on", what)
        if {"issued_on", "due_on", "amount"} <= set(frame):
            # A credit memo is not due: programs leave the cell empty.
            is_memo = frame["due_on"].isna() & (frame["amount"] < 0)
            frame["due_on"] = frame["due_on"].where(~is_memo, frame["issued_on"])

    def _fill_currency(self, frame: pd.DataFrame) -> None:
        """Take the reporting currency for a list of open balances that states none."""
        currency = self.mapping.currency
        if currency and "currency" not in frame:
            frame["currency"] = pd.Series(currency, frame.index, dtype="str")
            self._report("note", "currency", f"it is not stated; {currency} is taken")

    def _fill_resolution(self, frame: pd.DataFrame) -> None:
        """Take the disputes of a list without days of resolution as open."""
        if "resolved_on" not in frame:
            frame["resolved_on"] = pd.Series(pd.NaT, frame.index, dtype=DAY_DTYPE)
            what = "it is not stated; every dispute is taken as open"
            self._report("note", "resolved_on", what)

    def _report_repeated_names(self, raws: Sequence[RawTable]) -> None:
        """Refuse a name that is read and that a header has more than once."""
        names = source_names(self.mapping)
        repeated_names = [name for raw in raws for name in raw.repeated_names]
        for name in dict.fromkeys(repeated_names):
            what = f"the header has {name!r} more than once"
            if name.strip() in names:
                expected = "a name of its own for each column that is read"
                self._report("refuse", "", what, expected)
            else:
                self._report("note", "", f"{what}; it is not read")

    def _report(
        self,
        level: Level,
        column: str,
        what: str,
        expected: str = "",
    ) -> None:
        """Add a finding about a whole column, or the whole table."""
        self.findings.append(
            Finding(
                level=level,
                table=self.mapping.table,
                column=column,
                row=None,
                what=what,
                expected=expected,
            )
        )

    def _parsed(
        self,
        column: str,
        values: pd.Series,
        raw: pd.DataFrame,
    ) -> pd.Series:
        """Return a column of our type, and report what could not be read."""
        if self.mapping.empty:
            is_empty = texts_of(values).isin(
                [text.strip() for text in self.mapping.empty]
            )
            values = values.where(~is_empty)
        if column in day_columns(self.mapping.table):
            reading = self._days(column, values, raw)
            date_format = self.mapping.date_format(column) or "%Y-%m-%d"
            expected = f"a date such as {date_format}"
        elif column in number_columns(self.mapping.table):
            numbers = self.mapping.number_format(column)
            reading = parse_amounts(values, numbers)
            expected = f"a number{numbers.example()}"
        else:
            return self._texts(column, values)
        if reading.note:
            self._report("note", column, reading.note)
        if reading.refusal:
            self._report("refuse", column, reading.refusal, reading.choice)
            return reading.values
        self._report_cells(column, values, reading, expected)
        if column == "amount" and self.mapping.sign_by is not None:
            return self._signed(reading.values, self.mapping.sign_by, raw)
        if column == "amount" and self.mapping.is_negated:
            return -reading.values
        return reading.values

    def _texts(self, column: str, values: pd.Series) -> pd.Series:
        """Return a column of texts, in our words if it is one of a few words."""
        texts = texts_of(values, EMPTY_TEXTS)
        translations = self.mapping.rule(column).values
        own_words = _words_of(self.mapping.table, column)
        if not translations and not own_words:
            return texts
        words = by_distinct_value(
            texts.fillna(""),
            lambda text: _translated(str(text), translations, own_words),
        ).astype("str")
        choices = f": {', '.join(own_words)}" if own_words else ""
        for row, text in texts[words.isna() & texts.notna()].items():
            expected = f"{text!r} in values of the rule of {column}{choices}"
            what = f"the value {text!r} has no meaning"
            self._report_row(column, row, what, expected)
        return words

    def _report_cells(
        self,
        column: str,
        values: pd.Series,
        reading: ColumnReading,
        expected: str,
    ) -> None:
        """Report each cell that holds something, of which nothing could be read."""
        is_sealed = column in sealed_columns(self.mapping.table)
        suspects = values[values.notna() & reading.values.isna()]
        for row, cell in suspects.items():
            if text_of(cell) not in EMPTY_VALUES:
                what = f"cannot parse {cell!r}"
                if is_sealed:
                    what = "cannot parse the cell (it is confidential and not shown)"
                hint = "" if is_sealed else _hint(cell)
                self._report_row(column, row, what, expected + hint)

    def _report_row(
        self,
        column: str,
        row: Hashable,
        what: str,
        expected: str,
    ) -> None:
        self.findings.append(
            Finding(
                level="quarantine",
                table=self.mapping.table,
                column=column,
                row=int(str(row)),
                what=what,
                expected=expected,
            )
        )

    def _days(
        self,
        column: str,
        values: pd.Series,
        raw: pd.DataFrame,
    ) -> ColumnReading:
        """Return a column of dates, with the days added that the mapping states."""
        date_format = self.mapping.date_format(column)
        try:
            reading = parse_days(
                values,
                date_format,
                is_workbook=self.is_workbook,
                zone=self.mapping.zone,
            )
        except (ValueError, LookupError, ArithmeticError, re.error) as error:
            raise SchemaError(
                f"date_format {date_format!r} cannot be used: {error}",
                where=f"[{self.mapping.table}] {column}",
                expected='a format such as "%d.%m.%Y"',
            ) from None
        plus_days = self.mapping.rule(column).plus_days
        if isinstance(plus_days, int):
            days_to_add = pd.Series(plus_days, index=values.index)
        else:
            days_to_add = self._terms(column, plus_days, raw)
        is_plausible = days_to_add.abs() <= MOST_DAYS
        added = pd.to_timedelta(days_to_add.where(is_plausible), unit="D")
        days = (reading.values + added).dt.normalize().astype(DAY_DTYPE)
        return replace(reading, values=days)

    def _terms(
        self,
        column: str,
        names: Sequence[str],
        raw: pd.DataFrame,
    ) -> pd.Series:
        """Return the terms in days; of several columns the first that has any."""
        terms = pd.Series(float("nan"), index=raw.index)
        for name in names:
            days = parse_amounts(source_column(self.mapping, raw, name)).values
            terms = terms.where(terms > 0, terms.fillna(days).where(~(days > 0), days))
        for row in terms.index[~(terms.abs() <= MOST_DAYS)]:
            what = f"the column {' or '.join(map(repr, names))} has no number of days"
            expected = f"days from 0 to {MOST_DAYS}"
            self._report_row(column, row, what, expected)
        return terms

    def _signed(
        self,
        amounts: pd.Series,
        sign_by: SignColumn,
        raw: pd.DataFrame,
    ) -> pd.Series:
        signs = signed_amounts(self.mapping, sign_by, raw, amounts)
        self._report("note", "amount", signs.note)
        for row, what in signs.unclear.items():
            self._report_row("amount", row, what, "a debit or a credit")
        return signs.amounts


def _words_of(table: str, column: str) -> tuple[str, ...]:
    """Return the words that a column of ours may have; none if it has any text."""
    return PAYMENT_KINDS if (table, column) == ("payments", "kind") else ()


def _translated(
    text: str,
    translations: Mapping[str, str],
    own_words: Sequence[str],
) -> str | None:
    """Return our word for a text; None if there is none.

    Examples
    --------
    >>> _translated("Gutschrift", {"gutschrift": "credit_note"}, PAYMENT_KINDS)
    'credit_note'
    >>> _translated("Credit Note", {}, PAYMENT_KINDS)
    'credit_note'
    """
    folded = text.casefold()
    if folded in translations:
        return translations[folded]
    word = re.sub(r"[\s-]+", "_", folded)
    return word if word in own_words else None


def _hint(cell: object) -> str:
    """Return which option would have read a cell, if there is one.

    Examples
    --------
    >>> _hint("0000-00-00")
    "; if it stands for nothing, state empty = ['0000-00-00']"
    >>> _hint("500.00 EUR")
    "; state currency_sign = 'EUR'"
    """
    text = text_of(cell)
    if not any(character.isalnum() for character in text.replace("0", "")):
        return f"; if it stands for nothing, state empty = [{text!r}]"
    amount = re.fullmatch(r"([^\d\s(),.+-]{1,4})?\s*[(+-]?\d[\d.,\s]*(\D{1,4})?", text)
    sign = (amount[1] or amount[2] or "").strip() if amount else ""
    if sign.upper() in SIDES:
        return "; put debit or credit in a column of its own, for sign_by"
    return f"; state currency_sign = {sign!r}" if sign else ""


def _mapped(mapping: TableMapping, raw: pd.DataFrame) -> pd.DataFrame:
    """Return our columns of a table, still in the source's own types."""
    table = mapping.table
    defaults = DEFAULTS.get(table, {})
    frame = pd.DataFrame(index=raw.index)
    for name in columns_of(table):
        if name in mapping.rules or name in raw:
            frame[name] = _filled(mapping, raw, mapping.rule(name))
        elif name in defaults:
            frame[name] = defaults[name]
        elif name == OWN_IDS.get(table):
            frame[name] = [f"{table[:-1]}-{row}" for row in raw.index]
        elif (table, name) == ("payments", "invoice_id"):
            # All of them are money of their customers.
            frame[name] = None
    return frame


def _filled(
    mapping: TableMapping,
    raw: pd.DataFrame,
    rule: ColumnRule,
) -> pd.Series:
    """Return the column that a rule of the mapping describes."""
    if rule.constant is not None:
        return pd.Series(rule.constant, index=raw.index)
    if rule.row_number is not None:
        ids = [f"{rule.row_number}{row}" for row in raw.index]
        return pd.Series(ids, index=raw.index, dtype="str")
    columns = [source_column(mapping, raw, name) for name in rule.columns]
    return columns[0] if len(columns) == 1 else _joined_key(mapping, columns)


def _joined_key(mapping: TableMapping, columns: Sequence[pd.Series]) -> pd.Series:
    """Return one text for each row, different for different values; empty if one is."""
    parts = []
    for column in columns:
        texts = texts_of(column, (*EMPTY_TEXTS, *mapping.empty))
        # A slash inside a part is not the one between parts.
        escaped = texts.str.replace("\\", "\\\\", regex=False)
        parts.append(escaped.str.replace("/", "\\/", regex=False))
    key = parts[0]
    for part in parts[1:]:
        key = key.str.cat(part, sep="/")
    return key


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


def strangers(
    frames: dict[str, pd.DataFrame], stored: StoredLedger | None
) -> Iterator[Finding]:
    """Yield a finding for each row whose invoice is another customer's.

    The customer of such a row is needed for this only, except for payments without an
    invoice; it is dropped from the other tables.
    """
    invoices = frames.get("invoices", pd.DataFrame())
    has_owners = {"invoice_id", "customer_id"} <= set(invoices)
    if stored is not None and not has_owners:
        invoices = pd.DataFrame(columns=["invoice_id", "customer_id"], dtype="str")
        has_owners = True
    for table in OF_INVOICE:
        if table not in frames or "customer_id" not in frames[table]:
            continue
        customers = frames[table]["customer_id"]
        if "customer_id" not in CONTRACTS[table].columns:
            frames[table] = frames[table].drop(columns="customer_id")
        if not has_owners or "invoice_id" not in frames[table]:
            continue
        owners = with_documents(invoices).drop_duplicates("invoice_id")
        owners = owners.set_index("invoice_id")
        owner = frames[table]["invoice_id"].map(owners["customer_id"]).astype("str")
        if stored is not None and owner.isna().any():
            others = frames[table].loc[owner.isna(), "invoice_id"]
            stored_owners = owners_of_items(stored.owners, others)
            owner = owner.fillna(others.map(stored_owners))
        is_stranger = owner.notna() & customers.notna() & (owner != customers)
        for row in customers.index[is_stranger]:
            yield Finding(
                level="quarantine",
                table=table,
                column="invoice_id",
                row=int(row),
                what=f"the invoice is of {owner[row]!r}, the row of {customers[row]!r}",
                expected="the row and its invoice to be of one customer",
            )


def _customers_of(invoices: pd.DataFrame, stored: StoredLedger | None) -> pd.DataFrame:
    """Return customers, each known from the first invoice on, for a source without.

    Those that are stored stay as they are.
    """
    if stored is not None:
        known_ids = stored.owners("customers", invoices["customer_id"]).index
        invoices = invoices[~invoices["customer_id"].isin(known_ids)]
    first = invoices.groupby("customer_id")["issued_on"].min().reset_index()
    customers = first.rename(columns={"issued_on": "registered_on"})
    return customers.assign(known_on=first["issued_on"])


def _fill_registration(
    frames: dict[str, pd.DataFrame], stored: StoredLedger | None
) -> Iterator[Finding]:
    """Take the first invoice of customers of a list without `registered_on`.

    One without an invoice is known from the last invoice of the ledger on. Those that
    are stored stay as they are: an update has only their latest invoices.
    """
    customers = frames["customers"]
    if "registered_on" in customers or "customer_id" not in customers:
        return
    what = "it is not stated; the day of the first invoice is taken"
    if stored is not None:
        stored_ids = stored.owners("customers", customers["customer_id"]).index
        is_stored = customers["customer_id"].isin(stored_ids)
        customers = customers[~is_stored]
        what += f"; {is_stored.sum():,} customers are stored and stay as they are"
    issued_on = frames["invoices"].groupby("customer_id")["issued_on"].min()
    first_day = customers["customer_id"].map(issued_on)
    last_day = frames["invoices"]["issued_on"].max()
    registered_on = first_day.fillna(last_day).astype(DAY_DTYPE)
    frames["customers"] = customers.assign(registered_on=registered_on)
    if "known_on" not in customers:
        frames["customers"]["known_on"] = registered_on
    yield Finding(
        level="note",
        table="customers",
        column="registered_on",
        row=None,
        what=what,
        expected="",
    )


def _undated_customers(
    customers: pd.DataFrame, findings: Sequence[Finding]
) -> list[Finding]:
    """Return one finding for all customers that have no day for lack of `issued_on`.

    Without it each of them, and each of their invoices, would be reported.
    """
    for finding in findings:
        is_refused = finding.level == "refuse" and finding.column == "issued_on"
        if is_refused and finding.table == "invoices":
            n_undated = int(customers["registered_on"].isna().sum())
            noun = "customer has" if n_undated == 1 else "customers have"
            what = f"{n_undated:,} {noun} no day: [invoices] issued_on is refused"
            return [
                Finding(
                    level="refuse",
                    table="customers",
                    column="registered_on",
                    row=None,
                    what=what,
                    expected="",
                )
            ]
    return []


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
