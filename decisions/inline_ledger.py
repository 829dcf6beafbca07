"""An account out of a request: the rows of an inline ledger, checked as `data.checks` checks a table."""

from __future__ import annotations

from datetime import date
from typing import Any

from obligor.data.account import Account
from obligor.data.account_building import account_of_rows
from obligor.data.ledger import OF_INVOICE
from obligor.decisions.questions import InlineLedger
from obligor.errors import SchemaError

# table -> the day a row happened; a row is never known before it
_HAPPENED = {
    "customers": "registered_on",
    "invoices": "issued_on",
    "payments": "paid_on",
    "promises": "promised_on",
    "disputes": "opened_on",
    "write_offs": "written_off_on",
    "limits": "known_on",
    "financials": "known_on",
    "fx_rates": "rate_on",
}


def account_of(customer_id: str, ledger: InlineLedger, today: date) -> Account:
    """Return the account that came with a request.

    Raises
    ------
    SchemaError
        Naming table, row and field of the first thing that would change the result.
    """
    rows = {
        table: [
            _row(table, place, row.model_dump(), today)
            for place, row in enumerate(getattr(ledger, table))
        ]
        for table in _HAPPENED
    }
    _require_unique(rows["invoices"], "invoices", "invoice_id")
    _require_unique(
        [row for row in rows["payments"] if row["payment_id"]], "payments", "payment_id"
    )
    known = {row["invoice_id"] for row in rows["invoices"]}
    for table in OF_INVOICE:
        for place, row in enumerate(rows[table]):
            if row["invoice_id"] not in known:
                raise _error(
                    table,
                    place,
                    "invoice_id",
                    f"{row['invoice_id']!r} is unknown",
                    "an invoice sent along",
                )
    for place, row in enumerate(rows["invoices"]):
        if row["due_on"] < row["issued_on"]:
            raise _error(
                "invoices",
                place,
                "due_on",
                "due before it was issued",
                "a day on or after issued_on",
            )
    return account_of_rows(customer_id, ledger.currency, rows)


def _row(table: str, place: int, row: dict[str, Any], today: date) -> dict[str, Any]:
    happened = row[_HAPPENED[table]]
    row["known_on"] = max(row["known_on"] or happened, happened)
    for name in (_HAPPENED[table], "known_on", "resolved_on"):
        if row.get(name) is not None and row[name] > today:
            raise _error(
                table,
                place,
                name,
                f"{row[name]} lies in the future",
                f"a day up to {today}",
            )
    return row


def _require_unique(rows: list[dict[str, Any]], table: str, key: str) -> None:
    seen = set[str]()
    for place, row in enumerate(rows):
        if row[key] in seen:
            raise _error(table, place, key, f"{row[key]!r} again", "an id used once")
        seen.add(row[key])


def _error(table: str, row: int, field: str, what: str, expected: str) -> SchemaError:
    return SchemaError(
        what,
        where=f"ledger.{table}[{row}].{field}",
        expected=expected,
        do="correct the row",
    )
