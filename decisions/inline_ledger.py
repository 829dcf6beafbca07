"""An account from the rows of a request, checked as `data.checks` checks a table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any

import pandas as pd

from obligor.data.account import OLDEST_FIRST, Account
from obligor.data.account_building import (
    account_of_rows,
    frame_of,
    posted_accounts,
    rates_of,
)
from obligor.data.bookkeeping import bookkeeping_findings
from obligor.data.bureau import BureauReport
from obligor.data.checks import OF_DOCUMENT
from obligor.data.findings import Finding
from obligor.data.ledger import CONTRACTS, OF_INVOICE, Ledger, empty_table
from obligor.data.posting import UNDOING_KINDS, posted
from obligor.data.row_reading import Cell, read_rows
from obligor.decisions.questions import Body, InlineLedger
from obligor.errors import SchemaError

# The day on which a row of a table happened; it is never known before.
_DAY_COLUMNS = {
    "customers": "registered_on",
    "invoices": "issued_on",
    "payments": "paid_on",
    "allocations": "allocated_on",
    "cancellations": "cancelled_on",
    "extensions": "extended_on",
    "promises": "promised_on",
    "disputes": "opened_on",
    "write_offs": "written_off_on",
    "limits": "known_on",
    "financials": "known_on",
    "fx_rates": "rate_on",
    "bureau": "as_of",
}

Row = dict[str, Any]
Rows = Mapping[str, list[Row]]


def account_of(customer_id: str, ledger: InlineLedger, today: date) -> Account:
    """Return the account that was sent with a request.

    Parameters
    ----------
    customer_id : str
        The customer.
    ledger : InlineLedger
        The rows of the customer's ledger.
    today : date
        The current day; rows cannot lie in the future.

    Returns
    -------
    Account
        That of the same rows in a loaded ledger; its `observed_until` is None.

    Raises
    ------
    SchemaError
        If a row is invalid; it names table, row and field.
    """
    rows = {
        table: _rows(table, getattr(ledger, table), today)
        for table in _DAY_COLUMNS
        if table != "bureau"
    }
    _require_unique(rows["invoices"], "invoices", ("invoice_id",))
    _require_unique(rows["payments"], "payments", ("payment_id", "invoice_id"))
    _require_references(rows)
    if _is_plain(rows):
        # 0.2 ms for twenty invoices, where tables take 50.
        account = account_of_rows(customer_id, ledger.currency, rows)
    else:
        account = _account_of_tables(customer_id, ledger, rows, today)
    return replace(account, unapplied_policy=ledger.unapplied or OLDEST_FIRST)


def reports_of(ledger: InlineLedger, today: date) -> tuple[BureauReport, ...]:
    """Return the reports that were sent with a request.

    Raises
    ------
    SchemaError
        If a report lies in the future.
    """
    reports = []
    for row in _rows("bureau", ledger.bureau, today):
        row["currency"] = row["currency"] or ""
        reports.append(BureauReport(**row))
    return tuple(reports)


def _rows(table: str, bodies: Sequence[Body], today: date) -> list[Row]:
    """Return the rows of a table, each with the day it became known."""
    day_column = _DAY_COLUMNS[table]
    rows = list[Row]()
    for index, body in enumerate(bodies):
        row = body.model_dump()
        happened_on = row[day_column]
        row["known_on"] = max(row["known_on"] or happened_on, happened_on)
        for name in (day_column, "known_on", "resolved_on"):
            day = row.get(name)
            if day is not None and day > today:
                raise _error(
                    _place(table, index, name),
                    f"{day} lies in the future",
                    f"a day up to {today}",
                )
        rows.append(row)
    return rows


def _require_references(rows: Rows) -> None:
    """Reject a row about an invoice or a payment that was not sent."""
    invoice_ids = {row["invoice_id"] for row in rows["invoices"]}
    document_ids = {row.get("document_id") for row in rows["invoices"]}
    payment_ids = {row["payment_id"] for row in rows["payments"]}
    for table in OF_INVOICE:
        ids = invoice_ids | document_ids if table in OF_DOCUMENT else invoice_ids
        _require_known(rows[table], table, "invoice_id", ids)
    for table in ("allocations", "cancellations"):
        _require_known(rows[table], table, "payment_id", payment_ids)


def _require_known(
    rows: Sequence[Row], table: str, key: str, ids: set[str | None]
) -> None:
    noun = "an invoice" if key == "invoice_id" else "a payment"
    for index, row in enumerate(rows):
        if row[key] is not None and row[key] not in ids:
            raise _error(
                _place(table, index, key),
                f"{row[key]!r} is unknown",
                f"the id of {noun} in the same request",
            )


def _require_unique(rows: Sequence[Row], table: str, key: tuple[str, ...]) -> None:
    """Reject a key that is used twice; a row may have none."""
    seen = set[tuple[str, ...]]()
    for index, row in enumerate(rows):
        value = tuple(row[name] for name in key)
        if value[0] is None:
            continue
        if value in seen:
            raise _error(
                _place(table, index, key[0]),
                f"{value[0]!r} is used twice",
                f"an id used once{' for each invoice' if len(key) > 1 else ''}",
            )
        seen.add(value)


def _is_plain(rows: Rows) -> bool:
    """Return whether each row is an invoice, an event of one, or not about items."""
    if rows["allocations"] or rows["cancellations"]:
        return False
    for row in rows["invoices"]:
        if row["amount"] < 0 or row.get("document_id") is not None:
            return False
    for row in rows["payments"]:
        is_plain = row["amount"] > 0 and row["kind"] not in UNDOING_KINDS
        has_extras = {"currency", "reverses"} & set(row)
        if not is_plain or has_extras or row["invoice_id"] is None:
            return False
    return True


def _account_of_tables(
    customer_id: str, ledger: InlineLedger, rows: Rows, today: date
) -> Account:
    """Return the account of rows that do more than pay an item of their own."""
    registered = account_of_rows(
        customer_id, ledger.currency, {"customers": rows["customers"]}
    ).registered
    # The table of customers says whose accounts are built, registered or not.
    customer: Row = {"registered_on": today, "known_on": today}
    payments = _with_payment_ids(rows["payments"])
    frames = {table: empty_table(table) for table in ("invoices", "payments")}
    sent_rows = {**rows, "customers": [customer], "payments": payments}
    for table, own_rows in sent_rows.items():
        if own_rows:
            frames[table] = _frame(table, own_rows, customer_id)
    whole = Ledger(frames, ledger.currency)
    _require_good(bookkeeping_findings(whole))
    posting = posted(whole)
    (account,) = posted_accounts(posting, frame_of(posting, today))
    return replace(
        account,
        registered=registered,
        rates=rates_of(whole),
        observed_until=None,
    )


def _with_payment_ids(payments: Sequence[Row]) -> list[Row]:
    """Return payments that all have an id; one that has none gets one of its own."""
    used = {row["payment_id"] for row in payments}
    named = list[Row]()
    for index, row in enumerate(payments):
        payment_id = row["payment_id"]
        if payment_id is None:
            payment_id = f"payment {index}"
            while payment_id in used:
                payment_id += "'"
        named.append({**row, "payment_id": payment_id})
    return named


def _frame(table: str, rows: Sequence[Row], customer_id: str) -> pd.DataFrame:
    """Return rows as a table of a loaded ledger; raises as `account_of`."""
    _require_trimmed(table, rows)
    sent = read_rows(table, [_cells(table, row, customer_id) for row in rows])
    _require_good(sent.findings)
    frame = sent.frame
    for key in ("invoice_id", "payment_id"):
        # As in files, a key that no row states is an empty column.
        if key in CONTRACTS[table].columns and key not in frame:
            frame = frame.assign(**{key: pd.Series(dtype="str")})
    return frame


def _require_trimmed(table: str, rows: Sequence[Row]) -> None:
    """Reject an id with blanks around it: two ids must not become one."""
    for index, row in enumerate(rows):
        for name, value in row.items():
            is_id = name.endswith("_id") or name == "reverses"
            if is_id and value is not None and value != value.strip():
                raise _error(
                    _place(table, index, name),
                    f"{value!r} begins or ends with a blank",
                    "an id without blanks around it",
                )


def _cells(table: str, row: Row, customer_id: str) -> dict[str, Cell]:
    """Return a row as it would be sent to a loaded ledger."""
    cells: dict[str, Cell] = {}
    for name, value in row.items():
        if isinstance(value, date):
            value = value.isoformat()
        elif isinstance(value, Decimal):
            value = float(value)
        cells[name] = value
    if "customer_id" in CONTRACTS[table].columns:
        cells["customer_id"] = customer_id
    return cells


def _require_good(findings: Iterable[Finding]) -> None:
    """Reject rows that a loaded ledger would refuse or set aside."""
    for finding in findings:
        if finding.level == "note":
            continue
        if finding.row is not None:
            where = _place(finding.table, finding.row, finding.column)
            raise _error(where, finding.what, finding.expected)
        # What follows in the text is about mapping files.
        expected = finding.expected.split(";")[0]
        raise _error(f"ledger.{finding.table}", finding.what, expected)


def _place(table: str, index: int, field: str) -> str:
    return f"ledger.{table}[{index}].{field}"


def _error(where: str, what: str, expected: str) -> SchemaError:
    return SchemaError(what, where=where, expected=expected, do="correct the row")
