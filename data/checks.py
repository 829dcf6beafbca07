"""The check of a ledger: every finding is reported, bad rows are set aside.

A finding has one of three levels. ``refuse``: the ledger would give wrong results, or
none. ``quarantine``: the row is set aside. ``note``: the row is used as it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import NamedTuple

import pandas as pd
import pandera.errors

from obligor.data.bookkeeping import bookkeeping_findings, rows_set_aside
from obligor.data.findings import Finding, Level
from obligor.data.ledger import (
    CONTRACTS,
    DAY_DTYPE,
    REQUIRED_TABLES,
    Ledger,
    day_columns,
    is_among,
    sealed_columns,
)
from obligor.data.left_out import LeftOut, left_out_of
from obligor.data.party_checks import group_findings, with_checked_parties
from obligor.data.posting import with_documents
from obligor.data.row_ownership import owners_of_items
from obligor.data.stored_ledger import StoredLedger
from obligor.errors import SchemaError

# If bad rows are more than this share of a table's rows or money, the others no longer
# represent the customers.
MAX_QUARANTINED_SHARE = 0.05
# What may be of a document, and so of each of its items.
OF_DOCUMENT = ("payments", "allocations", "disputes", "cancellations", "extensions")
# The only dates that may be after today.
PLANNED_DATES = ("due_on", "pay_by", "ended_on")
# Findings that a refusal quotes.
MOST_REASONS = 20


@dataclass(frozen=True)
class LedgerCheck:
    """The outcome of `check_ledger`.

    Attributes
    ----------
    ledger : Ledger
        The ledger without the rows that were set aside.
    findings : list of Finding
        Everything that was found.
    quarantined : dict of str to DataFrame
        The rows that were set aside, by table.
    left_out : list of LeftOut
        What these rows hold, by table: rows, money and customers.
    """

    ledger: Ledger
    findings: list[Finding]
    quarantined: dict[str, pd.DataFrame]
    left_out: list[LeftOut]

    def by_weight(self) -> list[Finding]:
        """Return the findings: reasons for refusing, columns, rows, notes on rows."""
        return sorted(self.findings, key=Finding.weight)

    @property
    def is_refused(self) -> bool:
        """Whether the ledger would give wrong results, or none."""
        return any(finding.level == "refuse" for finding in self.findings)

    def require(self) -> Ledger:
        """Return the clean ledger.

        Raises
        ------
        SchemaError
            If the ledger is refused; the message gives the reasons.
        """
        reasons = [
            str(finding) for finding in self.findings if finding.level == "refuse"
        ]
        if reasons:
            raise SchemaError(
                "the ledger is refused: " + " | ".join(reasons[:MOST_REASONS]),
                do="correct the source",
            )
        return self.ledger


def check_ledger(
    ledger: Ledger,
    *,
    today: date,
    unreadable: Sequence[Finding] = (),
    stored: StoredLedger | None = None,
) -> LedgerCheck:
    """Check every table, set bad rows aside, and refuse a ledger that would mislead.

    Parameters
    ----------
    ledger : Ledger
        As read by `reading.sources.read_ledger`.
    today : date
        Nothing may have happened after this day.
    unreadable : sequence of Finding
        Cells the reader could not parse; their rows are set aside too.
    stored : StoredLedger, optional
        The loaded ledger, which the rows are to update and may refer to.

    Returns
    -------
    LedgerCheck
        The clean ledger with all findings; nothing stops at the first one.
    """
    ledger, party_findings = with_checked_parties(ledger, today, stored)
    findings = [*unreadable, *party_findings]
    if stored is None:
        findings += _missing_tables(ledger)
    for table in ledger.tables:
        frame = ledger[table]
        cells = {
            (cell.column, cell.row)
            for cell in unreadable
            if cell.table == table and cell.level != "note"
        }
        findings += _contract_breaches(table, frame, cells)
        findings += _future_dates(table, frame, today)
        findings += _due_before_issue(table, frame)
    findings += _contradicting_invoices(ledger, findings)
    findings += bookkeeping_findings(ledger, stored)
    # References are checked on good rows: an event of a bad invoice is no second fault.
    good, _ = _set_aside(ledger, findings)
    findings += _unknown_references(good, ledger, stored)
    findings += _early_payments(good)
    clean, quarantined = _set_aside(ledger, findings)
    left_out = left_out_of(ledger, quarantined)
    for loss in left_out:
        findings += refusals_of_share(loss, ledger.currency)
    findings += _missing_rates(clean, stored)
    findings += group_findings(clean)
    set_aside = rows_set_aside(ledger, quarantined, clean)
    return LedgerCheck(
        replace(clean, set_aside=set_aside),
        findings,
        quarantined,
        left_out,
    )


def _set_aside(
    ledger: Ledger, findings: Sequence[Finding]
) -> tuple[Ledger, dict[str, pd.DataFrame]]:
    """Return the ledger without its bad rows, and the bad rows by table."""
    bad_rows: dict[str, set[int]] = {}
    for finding in findings:
        if finding.level == "quarantine" and finding.row is not None:
            bad_rows.setdefault(finding.table, set()).add(finding.row)
    tables = dict(ledger.tables)
    quarantined = {}
    for table, rows in bad_rows.items():
        is_bad = ledger[table].index.isin(sorted(rows))
        quarantined[table] = ledger[table][is_bad]
        tables[table] = ledger[table][~is_bad]
    return replace(ledger, tables=tables), quarantined


def _missing_tables(ledger: Ledger) -> Iterator[Finding]:
    for table in REQUIRED_TABLES:
        if table not in ledger.tables:
            yield _refusal(table, "", "the table is missing", f"a table of {table}")
        elif ledger[table].empty:
            yield _refusal(table, "", "the table is empty", "at least one row")


def _refusal(
    table: str,
    column: str,
    what: str,
    expected: str,
) -> Finding:
    return Finding(
        "refuse",
        table,
        column,
        None,
        what,
        expected,
    )


class _Failure(NamedTuple):
    """A cell, column or table that breaks its contract, as pandera reports it."""

    column: str
    row: int | None
    check: str
    value: object


def _contract_breaches(
    table: str,
    frame: pd.DataFrame,
    unreadable: set[tuple[str, int | None]],
) -> Iterator[Finding]:
    """Yield a finding for each breach of a table's contract, except known cells."""
    first_uses: set[tuple[str, object]] = set()
    for failure in _failures(table, frame):
        if failure.check == "column_in_dataframe":
            column = str(failure.value)
            what = "the column is missing"
            yield _refusal(table, column, what, "it in the source or the mapping")
            continue
        use = (failure.column, failure.value)
        if failure.check == "field_uniqueness" and use not in first_uses:
            # Of rows with one id, the first is good.
            first_uses.add(use)
            continue
        cells = {(failure.column, failure.row), (failure.column, None)}
        is_reported = not cells.isdisjoint(unreadable)
        if not is_reported and not _is_filled_from_empty(table, frame, failure):
            yield _finding_of(table, failure)


def _failures(table: str, frame: pd.DataFrame) -> list[_Failure]:
    """Return every breach of a table's contract."""
    try:
        CONTRACTS[table].validate(frame, lazy=True)
    except pandera.errors.SchemaErrors as failures:
        return [
            _Failure(
                column=case.column,
                row=None if pd.isna(case.index) else int(case.index),
                check=str(case.check),
                value=case.failure_case,
            )
            for case in failures.failure_cases.itertuples(index=False)
        ]
    return []


def _is_filled_from_empty(
    table: str,
    frame: pd.DataFrame,
    failure: _Failure,
) -> bool:
    """Return whether a cell is empty because the date that fills it is."""
    rule = CONTRACTS[table].columns[failure.column]
    fills = (rule.metadata or {}).get("fills")
    if failure.row is None or fills not in frame:
        return False
    return bool(frame[fills].isna()[failure.row])


def _finding_of(table: str, failure: _Failure) -> Finding:
    if failure.check == "not_nullable":
        what = "the cell is empty"
        expected = "a value"
    elif failure.check == "field_uniqueness" and failure.row is not None:
        return _shared_id(table, failure.column, failure.row, failure.value)
    else:
        is_sealed = failure.column in sealed_columns(table)
        what = f"the value is {failure.value!r}"
        if is_sealed:
            what = "the value is not valid (it is confidential and not shown)"
        expected = failure.check
    level: Level = "refuse" if failure.row is None else "quarantine"
    return Finding(
        level,
        table,
        failure.column,
        failure.row,
        what,
        expected,
    )


def _future_dates(
    table: str,
    frame: pd.DataFrame,
    today: date,
) -> Iterator[Finding]:
    for column in day_columns(table):
        if column not in frame or column in PLANNED_DATES:
            continue
        is_future = frame[column] > pd.Timestamp(today)
        for row, day in frame.loc[is_future, column].items():
            yield Finding(
                level="quarantine",
                table=table,
                column=column,
                row=int(str(row)),
                what=f"{day:%Y-%m-%d} is in the future",
                expected=f"a day up to {today}",
            )


def _due_before_issue(table: str, frame: pd.DataFrame) -> Iterator[Finding]:
    if table != "invoices" or not {"due_on", "issued_on"} <= set(frame):
        return
    for row in frame.index[frame["due_on"] < frame["issued_on"]]:
        yield Finding(
            level="note",
            table=table,
            column="due_on",
            row=int(row),
            what="the invoice is due before it was issued; its due date counts",
            expected="a day on or after issued_on",
        )


def _contradicting_invoices(
    ledger: Ledger, findings: Sequence[Finding]
) -> Iterator[Finding]:
    """Yield a finding for the first of several invoices that share an id.

    The others are set aside by the contract. If they differ from the first, nobody
    knows which of them a payment settles: none of them is used.
    """
    invoices = ledger["invoices"]
    if "invoice_id" not in invoices:
        return
    shared = invoices[invoices["invoice_id"].duplicated(keep=False)]
    shared = shared[shared["invoice_id"].notna()]
    columns = [column for column in CONTRACTS["invoices"].columns if column in shared]
    differing = shared.drop_duplicates(columns)
    is_contradicted = differing["invoice_id"].duplicated(keep=False)
    ids = set(differing.loc[is_contradicted, "invoice_id"])
    is_reported = {
        finding.row
        for finding in findings
        if finding.table == "invoices" and finding.column == "invoice_id"
    }
    for row, invoice_id in shared["invoice_id"].items():
        if invoice_id in ids and row not in is_reported:
            yield _shared_id("invoices", "invoice_id", int(str(row)), invoice_id)


def _shared_id(
    table: str,
    column: str,
    row: int,
    value: object,
) -> Finding:
    expected = "a unique id"
    if table == "invoices":
        expected += (
            ', or a key of several columns: id = ["company", "number"]; for the parts '
            'of one invoice: id = ["number", "due date"], document_id = "number"'
        )
    return Finding(
        level="quarantine",
        table=table,
        column=column,
        row=row,
        what=f"the id {value!r} is used more than once",
        expected=expected,
    )


def _unknown_references(
    good: Ledger,
    ledger: Ledger,
    stored: StoredLedger | None,
) -> Iterator[Finding]:
    """Yield a finding for each row whose invoice or customer is not a good row.

    An id that was set aside is told apart from one that the ledger never had.
    """
    for key, home in (
        ("invoice_id", "invoices"),
        ("customer_id", "customers"),
        ("payment_id", "payments"),
    ):
        if key not in good[home]:
            continue
        own_ids = pd.Index(good[home][key].unique())
        for table in good.tables:
            frame = good[table]
            if table == home or key not in frame:
                continue
            good_ids = own_ids
            named = home
            if home == "invoices" and table in OF_DOCUMENT:
                named = "documents"
                ids = with_documents(good["invoices"])["invoice_id"]
                good_ids = pd.Index(ids.unique())
            is_unknown = frame[key].notna() & ~is_among(frame[key], good_ids)
            bad = frame.loc[is_unknown, key]
            bad = _not_stored(bad, named, stored)
            if table == "allocations":
                bad = _without_memos(bad, good, stored)
            set_aside = set(bad[bad.isin(ledger[home][key])])
            for row, value in bad.items():
                reason = "was set aside" if value in set_aside else "is unknown"
                yield Finding(
                    level="quarantine",
                    table=table,
                    column=key,
                    row=int(str(row)),
                    what=f"{key} {value!r} {reason}",
                    expected=f"an id of the table {home}",
                )


def _not_stored(
    ids: pd.Series,
    home: str,
    stored: StoredLedger | None,
) -> pd.Series:
    """Return the ids that the loaded ledger does not have.

    Parameters
    ----------
    ids : Series of str
        The ids.
    home : {"customers", "invoices", "payments", "documents"}
        What they stand for; a document or an item of the ledger if it is ``documents``.
    stored : StoredLedger, optional
        The loaded ledger.
    """
    if stored is None or ids.empty:
        return ids
    if home == "documents":
        return ids[~ids.isin(owners_of_items(stored.owners, ids).index)]
    return ids[~ids.isin(stored.owners(home, ids).index)]


def _without_memos(
    ids: pd.Series,
    good: Ledger,
    stored: StoredLedger | None,
) -> pd.Series:
    """Return ids without those of invoices: a memo is allocated as a payment is."""
    others = ids[~ids.isin(good["invoices"]["invoice_id"])]
    return _not_stored(others, "invoices", stored)


def _early_payments(ledger: Ledger) -> Iterator[Finding]:
    payments = ledger["payments"]
    invoices = ledger["invoices"]
    has_dates = {"invoice_id", "paid_on"} <= set(payments)
    has_dates = has_dates and {"invoice_id", "issued_on"} <= set(invoices)
    if not has_dates or invoices.empty:
        return
    issued_on = invoices.set_index("invoice_id")["issued_on"]
    issued_on = payments["invoice_id"].map(issued_on)
    for row in issued_on.index[payments["paid_on"] < issued_on]:
        yield Finding(
            level="note",
            table="payments",
            column="paid_on",
            row=int(row),
            what="the invoice was paid before it was issued; counted as paid early",
            expected="a day on or after issued_on",
        )


def refusals_of_share(loss: LeftOut, currency: str) -> Iterator[Finding]:
    """Yield a refusal if too many rows, or too much money, is in bad rows."""
    expected = f"at most {MAX_QUARANTINED_SHARE:.0%}"
    row_share = loss.n_rows / max(loss.n_all_rows, 1)
    if row_share > MAX_QUARANTINED_SHARE:
        what = f"{loss.n_rows} of {loss.n_all_rows} rows are bad ({row_share:.0%})"
        yield _refusal(loss.table, "", what, expected)
    if loss.money_share > MAX_QUARANTINED_SHARE:
        is_open = loss.open_amount.ratio >= loss.amount.ratio
        money = loss.open_amount if is_open else loss.amount
        what = (
            f"bad rows hold {money.part:,.2f} of {money.total:,.2f} {currency} "
            f"{'still open' if is_open else 'in all'} ({money.ratio:.0%})"
        )
        yield _refusal(loss.table, "", what, expected)


def _missing_rates(ledger: Ledger, stored: StoredLedger | None) -> Iterator[Finding]:
    first_rate = ledger["fx_rates"].groupby("currency")["rate_on"].min().to_dict()
    stored_rates = stored.first_rates() if stored else {}
    for stored_currency, first_day in stored_rates.items():
        own_day = first_rate.get(stored_currency, first_day)
        first_rate[stored_currency] = min(first_day, own_day)
    for day_column, frame in _uses_of_currencies(ledger):
        foreign = frame[frame["currency"] != ledger.currency]
        first_use = foreign.groupby("currency")[day_column].min().dropna()
        for currency, day in first_use.items():
            # A column of days that is refused has no first day: no second fault.
            if currency not in first_rate or first_rate[currency] > day:
                pair = f"{currency} to {ledger.currency}"
                what = f"no rate from {pair} on or before {day:%Y-%m-%d}"
                expected = "a rate for every currency in use"
                yield _refusal("fx_rates", "rate", what, expected)


def rows_without_rate(ledger: Ledger, stored: StoredLedger) -> Iterator[Finding]:
    """Yield a finding for each row in a currency that has no rate on its day.

    Parameters
    ----------
    ledger : Ledger
        Rows that are sent one by one, so that each is refused alone.
    stored : StoredLedger
        The loaded ledger, which has the rates.
    """
    first_rate = stored.first_rates()
    for table, frame in ledger.tables.items():
        for day_column, rows in _uses_of_currencies(
            replace(ledger, tables={table: frame})
        ):
            foreign = rows[rows["currency"].notna()]
            foreign = foreign[foreign["currency"] != ledger.currency]
            first_day = foreign["currency"].map(first_rate).astype(DAY_DTYPE)
            for row in foreign.index[~(first_day <= foreign[day_column])]:
                yield Finding(
                    level="quarantine",
                    table=table,
                    column="currency",
                    row=int(row),
                    what="the currency has no rate on or before the day of the row",
                    expected=f"{ledger.currency}, or a currency with a rate",
                )


def _uses_of_currencies(ledger: Ledger) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield rows with a currency, and the column of the day whose rate they need."""
    uses = (
        ("invoices", "issued_on"),
        ("limits", "known_on"),
        ("payments", "paid_on"),
        ("bureau", "known_on"),
    )
    for table, day_column in uses:
        frame = ledger[table]
        if {"currency", day_column} <= set(frame):
            yield day_column, frame
