"""The check of a real ledger: every finding told, bad rows set aside, the misleading refused."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Literal

import pandas as pd
import pandera.errors

from obligor.data.ledger import (
    CONTRACTS,
    REQUIRED_TABLES,
    Ledger,
    day_columns,
    is_among,
)
from obligor.errors import SchemaError

Level = Literal["refuse", "quarantine", "note"]
# More bad rows than this in one table and what is left no longer speaks for the customers.
MAX_QUARANTINED_SHARE = 0.05
PLANNED_DATES = ("due_on", "pay_by")  # the only dates that may lie after today
EXPECTED = {"not_nullable": "a value", "field_uniqueness": "an id used once"}


@dataclass(frozen=True)
class Finding:
    """One thing wrong in a source: table, column, row (0-based), what, expected, and its level."""

    level: Level
    table: str
    column: str
    row: int | None
    what: str
    expected: str

    def __str__(self) -> str:
        place = f"{self.table}.{self.column}" if self.column else self.table
        row = "" if self.row is None else f" row {self.row}"
        return f"{self.level}: {place}{row}: {self.what}; expected {self.expected}"


@dataclass(frozen=True)
class LedgerCheck:
    """The outcome of `check_ledger`: the clean ledger, all findings, the rows set aside."""

    ledger: Ledger
    findings: list[Finding]
    quarantined: dict[str, pd.DataFrame]

    @property
    def is_refused(self) -> bool:
        """Whether the ledger would give a wrong result or none."""
        return any(finding.level == "refuse" for finding in self.findings)

    def require(self) -> Ledger:
        """Return the clean ledger, or raise `SchemaError` with the reasons it is refused."""
        reasons = [
            str(finding) for finding in self.findings if finding.level == "refuse"
        ]
        if reasons:
            raise SchemaError(
                "the ledger is refused: " + " | ".join(reasons[:20]),
                do="mend the source",
            )
        return self.ledger


def check_ledger(
    ledger: Ledger, *, today: date, found: Sequence[Finding] = ()
) -> LedgerCheck:
    """Check every table and return ALL findings; set bad rows aside; refuse what would mislead.

    Parameters
    ----------
    ledger : Ledger
        As read by `data.sources.read_ledger`.
    today : date
        Nothing may have happened after this day.
    found : sequence of Finding
        Cells the reader could not parse; their rows are set aside too.

    Returns
    -------
    LedgerCheck
        `refuse` findings make the ledger unusable, `quarantine` findings set a row aside,
        `note` findings are kept as they are and told.
    """
    findings = [*found, *_missing_tables(ledger)]
    for table in ledger.tables:
        findings += _contract(
            table, ledger[table], {(f.column, f.row) for f in found if f.table == table}
        )
        findings += _impossible_dates(table, ledger[table], today)
    # References are checked on rows that stand: an item of a bad invoice is no second fault.
    clean, _ = _set_aside(ledger, findings)
    findings += _references(clean)
    clean, quarantined = _set_aside(ledger, findings)
    findings += _too_many_set_aside(ledger, quarantined)
    findings += _missing_rates(clean)
    return LedgerCheck(clean, findings, quarantined)


def _set_aside(
    ledger: Ledger, findings: Sequence[Finding]
) -> tuple[Ledger, dict[str, pd.DataFrame]]:
    bad: dict[str, set[int]] = {}
    for finding in findings:
        if finding.level == "quarantine" and finding.row is not None:
            bad.setdefault(finding.table, set()).add(finding.row)
    tables, quarantined = dict(ledger.tables), {}
    for table, rows in bad.items():
        is_bad = ledger[table].index.isin(sorted(rows))
        quarantined[table] = ledger[table][is_bad]
        tables[table] = ledger[table][~is_bad]
    return replace(ledger, tables=tables), quarantined


def _missing_tables(ledger: Ledger) -> Iterator[Finding]:
    for table in REQUIRED_TABLES:
        if table not in ledger.tables:
            yield Finding(
                "refuse", table, "", None, "no such table", f"a table of {table}"
            )
        elif table != "payments" and ledger[table].empty:
            yield Finding(
                "refuse", table, "", None, "the table is empty", "at least one row"
            )


def _contract(
    table: str, frame: pd.DataFrame, told: set[tuple[str, int | None]]
) -> Iterator[Finding]:
    """The pandera contract of a table, each failure as a finding; cells already told are skipped."""
    try:
        CONTRACTS[table].validate(frame, lazy=True)
    except pandera.errors.SchemaErrors as failures:
        seen: set[tuple[str, object]] = set()
        for case in failures.failure_cases.itertuples(index=False):
            if case.check == "column_in_dataframe":
                yield Finding(
                    "refuse",
                    table,
                    str(case.failure_case),
                    None,
                    "no such column",
                    "the column",
                )
                continue
            row = None if pd.isna(case.index) else int(case.index)
            if (
                case.check == "field_uniqueness"
                and (case.column, case.failure_case) not in seen
            ):
                seen.add(
                    (case.column, case.failure_case)
                )  # the first of the duplicates stands
                continue
            if (case.column, row) not in told and not _is_filled_from_empty(
                table, frame, case.column, row
            ):
                yield _failure(
                    table, case.column, row, str(case.check), case.failure_case
                )


def _is_filled_from_empty(
    table: str, frame: pd.DataFrame, column: str, row: int | None
) -> bool:
    """Whether a cell is empty only because the date it is filled from is: one fault, told once."""
    fills = (CONTRACTS[table].columns[column].metadata or {}).get("fills")
    return row is not None and fills in frame and bool(frame[fills].isna()[row])


def _failure(
    table: str, column: str, row: int | None, check: str, value: object
) -> Finding:
    what = {"not_nullable": "empty", "field_uniqueness": f"{value!r} again"}.get(
        check, f"is {value!r}"
    )
    expected = EXPECTED.get(check, check)
    return Finding(
        "refuse" if row is None else "quarantine", table, column, row, what, expected
    )


def _impossible_dates(
    table: str, frame: pd.DataFrame, today: date
) -> Iterator[Finding]:
    for column in day_columns(table):
        if column not in frame or column in PLANNED_DATES:
            continue
        for row, day in frame.loc[frame[column] > pd.Timestamp(today), column].items():
            what = f"{day:%Y-%m-%d} lies in the future"
            yield Finding(
                "quarantine", table, column, int(str(row)), what, f"a day up to {today}"
            )
    if table == "invoices" and {"due_on", "issued_on"} <= set(frame):
        for row in frame.index[frame["due_on"] < frame["issued_on"]]:
            yield Finding(
                "quarantine",
                table,
                "due_on",
                int(row),
                "due before it was issued",
                "a later day",
            )


def _references(ledger: Ledger) -> Iterator[Finding]:
    customers, invoices = ledger["customers"], ledger["invoices"]
    for table in ledger.tables:
        for key, home in (("invoice_id", invoices), ("customer_id", customers)):
            frame = ledger[table]
            if frame is home or key not in frame or key not in home:
                continue
            for row in frame.index[~is_among(frame[key], pd.Index(home[key].unique()))]:
                what = f"{key} {frame.at[row, key]!r} is unknown"
                yield Finding(
                    "quarantine",
                    table,
                    key,
                    int(row),
                    what,
                    "one that the ledger holds",
                )
    has_dates = {"invoice_id", "paid_on"} <= set(ledger["payments"]) and {
        "invoice_id",
        "issued_on",
    } <= set(invoices)
    if has_dates and len(invoices):
        issued = ledger["payments"]["invoice_id"].map(
            invoices.set_index("invoice_id")["issued_on"]
        )
        for row in issued.index[ledger["payments"]["paid_on"] < issued]:
            what = "paid before the invoice was issued; kept as an early payment"
            yield Finding(
                "note",
                "payments",
                "paid_on",
                int(row),
                what,
                "a day on or after issued_on",
            )


def _too_many_set_aside(
    ledger: Ledger, quarantined: dict[str, pd.DataFrame]
) -> Iterator[Finding]:
    for table, rows in quarantined.items():
        share = len(rows) / len(ledger[table])
        if share > MAX_QUARANTINED_SHARE:
            what = f"{len(rows)} of {len(ledger[table])} rows are bad ({share:.0%})"
            yield Finding(
                "refuse", table, "", None, what, f"at most {MAX_QUARANTINED_SHARE:.0%}"
            )


def _missing_rates(ledger: Ledger) -> Iterator[Finding]:
    rates = ledger["fx_rates"]
    first_rate = rates.groupby("currency")["rate_on"].min()
    for table, day in (("invoices", "issued_on"), ("limits", "known_on")):
        frame = ledger[table]
        if not {"currency", day} <= set(frame):
            continue
        foreign = frame[frame["currency"] != ledger.currency]
        for currency, days in foreign.groupby("currency")[day]:
            has_rate = currency in first_rate and first_rate[currency] <= days.min()
            if not has_rate:
                what = f"no rate from {currency} to {ledger.currency} on or before {days.min():%Y-%m-%d}"
                yield Finding(
                    "refuse",
                    "fx_rates",
                    "rate",
                    None,
                    what,
                    "a rate for every currency in use",
                )
