"""An account from the rows of a request, checked as `data.checks` checks a table."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any

from obligor.data.account import Account
from obligor.data.account_building import account_of_rows
from obligor.data.bureau import BureauReport
from obligor.data.ledger import OF_INVOICE
from obligor.decisions.questions import Body, InlineLedger
from obligor.errors import SchemaError

# The day on which a row of a table happened; it is never known before.
_DAY_COLUMNS = {
    "customers": "registered_on",
    "invoices": "issued_on",
    "payments": "paid_on",
    "promises": "promised_on",
    "disputes": "opened_on",
    "write_offs": "written_off_on",
    "limits": "known_on",
    "financials": "known_on",
    "fx_rates": "rate_on",
    "bureau": "as_of",
}

Row = dict[str, Any]


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
        Its `observed_until` is None.

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
    _require_unique(rows["invoices"], "invoices", "invoice_id")
    _require_unique(rows["payments"], "payments", "payment_id")
    _require_invoices(rows)
    for index, row in enumerate(rows["invoices"]):
        if row["due_on"] < row["issued_on"]:
            raise _error(
                _place("invoices", index, "due_on"),
                "the invoice is due before it was issued",
                "a day on or after issued_on",
            )
    return account_of_rows(customer_id, ledger.currency, rows)


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


def _require_invoices(rows: dict[str, list[Row]]) -> None:
    """Reject a row about an invoice that was not sent."""
    invoice_ids = {row["invoice_id"] for row in rows["invoices"]}
    for table in OF_INVOICE:
        for index, row in enumerate(rows.get(table, ())):
            if row["invoice_id"] not in invoice_ids:
                raise _error(
                    _place(table, index, "invoice_id"),
                    f"{row['invoice_id']!r} is unknown",
                    "the id of an invoice in the same request",
                )


def _require_unique(rows: Sequence[Row], table: str, key: str) -> None:
    """Reject an id that is used twice; a row may have none."""
    seen = set[str]()
    for index, row in enumerate(rows):
        if row[key] is None:
            continue
        if row[key] in seen:
            raise _error(
                _place(table, index, key),
                f"{row[key]!r} is used twice",
                "an id used once",
            )
        seen.add(row[key])


def _place(table: str, index: int, field: str) -> str:
    return f"ledger.{table}[{index}].{field}"


def _error(where: str, what: str, expected: str) -> SchemaError:
    return SchemaError(what, where=where, expected=expected, do="correct the row")
