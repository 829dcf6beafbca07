"""Rows that are sent with a question give what they give when they are loaded.

The rows are written to files, read, checked, and stored; then they are sent as JSON.
Both accounts must have the same features bit for bit, the same open balances and the
same money of the customer, on any day.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, get_args

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from obligor.data.account import Account
from obligor.data.asof import known_account
from obligor.data.ledger import OF_INVOICE
from obligor.data.open_items import open_balances
from obligor.data.store import LedgerStore
from obligor.decisions.inline_ledger import account_of
from obligor.decisions.questions import InlineLedger
from obligor.errors import ObligorError
from obligor.features.build import account_features
from obligor.reading.sources import read_ledger
from tests.oracle.accounting import Row
from tests.property.test_accounting import (
    AS_OF_DAYS,
    CUSTOMERS,
    FIRST_DAY,
    LAST_DAY,
    stories,
)

TODAY = LAST_DAY + timedelta(days=1)
SLOW = settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
SHARED_TABLES = ("fx_rates",)
Rows = list[dict[str, object]]
Tables = dict[str, Rows]


def own_rows(tables: dict[str, list[Row]], customer_id: str) -> Tables:
    """Return the rows of one customer: its invoices, and what names what it has."""
    invoices = [row for row in tables["invoices"] if row["customer_id"] == customer_id]
    names = {row["invoice_id"] for row in invoices}
    names |= {row.get("document_id") for row in invoices} - {"", None}
    own: Tables = {"invoices": [dict(row) for row in invoices]}
    own["fx_rates"] = [dict(row) for row in tables.get("fx_rates", ())]
    payments = [row for row in tables.get("payments", ()) if is_own(row, names)]
    payments += [
        row
        for row in tables.get("payments", ())
        if not row["invoice_id"] and row["customer_id"] == customer_id
    ]
    payment_ids = {row["payment_id"] for row in payments}
    own["payments"] = [dict(row) for row in payments]
    for table in OF_INVOICE:
        if table != "payments":
            own[table] = [
                dict(row)
                for row in tables.get(table, ())
                if is_own(row, names) or is_of_payment(row, payment_ids)
            ]
    return own


def is_own(row: Row, names: set[object]) -> bool:
    return bool(row["invoice_id"]) and row["invoice_id"] in names


def is_of_payment(row: Row, payment_ids: set[object]) -> bool:
    return not row["invoice_id"] and row.get("payment_id") in payment_ids


def loaded(own: Tables, customer_id: str, policy: str, folder: Path) -> Account:
    """Return the account of rows that were written to files and loaded."""
    customer = {"customer_id": customer_id, "registered_on": FIRST_DAY}
    lines = [
        'currency = "EUR"',
        f"exported_on = {LAST_DAY}",
        f'unapplied = "{policy}"',
    ]
    for table, rows in {**own, "customers": [customer]}.items():
        if rows:
            write_csv(folder / f"{table}.csv", rows)
            lines += [f"[{table}]", f'file = "{table}.csv"']
            lines += ['date_format = "%Y-%m-%d"']
    (folder / "mapping.toml").write_text("\n".join(lines))
    check = read_ledger(folder / "mapping.toml", today=TODAY, environment={})
    store = LedgerStore(f"sqlite:///{folder}/ledger.db")
    store.write(check.require())
    return store.account(customer_id, [])


def write_csv(path: Path, rows: Rows) -> None:
    names = list(dict.fromkeys(name for row in rows for name in row))
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(rows)


def sent(own: Tables, customer_id: str, policy: str) -> Account:
    """Return the account of rows that were sent as JSON."""
    tables: dict[str, object] = {"currency": "EUR", "unapplied": policy}
    tables["customers"] = [{"registered_on": str(FIRST_DAY)}]
    for table, rows in own.items():
        fields = field_names(table)
        tables[table] = [
            {
                name: plain(cell)
                for name, cell in row.items()
                if name in fields and cell not in ("", None)
            }
            for row in rows
        ]
    text = json.dumps(tables)
    return account_of(customer_id, InlineLedger.model_validate_json(text), TODAY)


def field_names(table: str) -> set[str]:
    """Return the fields of a row of a table, as a request may have them."""
    (row_type,) = get_args(InlineLedger.model_fields[table].annotation)
    return set(row_type.model_fields)


def plain(cell: object) -> object:
    return str(cell) if isinstance(cell, date | Decimal) else cell


def shown(account: Account, as_of: date) -> dict[str, object]:
    """Return what is known of an account on a day; an error is its text."""
    try:
        known = known_account(account, as_of)
    except ObligorError as error:
        return {"error": str(error)}
    own = known.account
    codes = [own.currencies[code] for code in own.money.currency.tolist()]
    money = zip(
        own.money.day.tolist(),
        own.money.kind.tolist(),
        own.money.value.tolist(),
        codes,
        strict=True,
    )
    balances = open_balances(own).tolist()
    return {
        "features": account_features([known])[0].tobytes(),
        "balances": dict(zip(own.invoice_ids, balances, strict=True)),
        "due": own.items.due.tolist(),
        "money": sorted(money),
        "is_incomplete": own.is_incomplete,
    }


def compare(own: Tables, days: Sequence[date], policy: str) -> None:
    with TemporaryDirectory() as folder:
        stored = loaded(own, "C0", policy, Path(folder))
    account = sent(own, "C0", policy)
    for as_of in days:
        assert shown(account, as_of) == shown(stored, as_of)


POLICIES = st.sampled_from(["oldest_first", "as_allocated"])


@SLOW
@given(tables=stories(), days=AS_OF_DAYS, policy=POLICIES)
def test_rows_that_are_sent_are_rows_that_are_loaded(
    tables: dict[str, list[Row]], days: list[date], policy: str
) -> None:
    for customer_id in CUSTOMERS:
        own = own_rows(tables, customer_id)
        for table in ("invoices", "payments"):
            for row in own[table]:
                row["customer_id"] = "C0"
        if own["invoices"]:
            compare(own, days, policy)


@st.composite
def documents(draw: st.DrawFn) -> Tables:
    """Rows of one customer, some of them of documents that several items share."""
    days = st.dates(FIRST_DAY, date(2024, 4, 1))
    amounts = st.integers(1, 6).map(lambda n: Decimal(50 * n))
    tables: Tables = {table: [] for table in ("invoices", *OF_INVOICE)}
    for number in range(draw(st.integers(1, 4))):
        tables["invoices"].append(
            {
                "invoice_id": f"I{number}",
                "customer_id": "C0",
                "document_id": draw(st.sampled_from(["", "D0", "D1"])),
                "issued_on": draw(days),
                # Now and then before it was issued: late billing.
                "due_on": draw(days),
                "amount": draw(amounts),
                "currency": "EUR",
            }
        )
    names = {str(row["invoice_id"]) for row in tables["invoices"]}
    names |= {str(row["document_id"]) for row in tables["invoices"]} - {""}
    of_document = st.sampled_from(sorted(names))
    of_item = st.sampled_from([str(row["invoice_id"]) for row in tables["invoices"]])
    for number in range(draw(st.integers(0, 4))):
        tables["payments"].append(
            {
                "payment_id": f"P{number}",
                "invoice_id": draw(of_document | st.just("")),
                "customer_id": "C0",
                "paid_on": draw(days),
                "amount": draw(amounts),
                "kind": draw(st.sampled_from(["payment", "credit_note"])),
            }
        )
    for _ in range(draw(st.integers(0, 2))):
        name = draw(of_document)
        row: dict[str, Any] = {"invoice_id": name, "opened_on": draw(days)}
        row["resolved_on"] = draw(days | st.just(""))
        tables["disputes"].append({**row, "amount": draw(amounts | st.just(""))})
    for _ in range(draw(st.integers(0, 2))):
        row = {"invoice_id": draw(of_document), "extended_on": draw(days)}
        tables["extensions"].append({**row, "due_on": draw(days)})
    for _ in range(draw(st.integers(0, 1))):
        row = {"invoice_id": draw(of_item), "promised_on": draw(days)}
        row |= {"pay_by": date(2024, 4, 2), "amount": draw(amounts)}
        tables["promises"].append(row)
    return tables


@SLOW
@given(own=documents(), days=AS_OF_DAYS, policy=POLICIES)
def test_rows_of_documents_are_those_of_their_items(
    own: Tables, days: list[date], policy: str
) -> None:
    compare(own, days, policy)
