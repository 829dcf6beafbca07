"""Rows that are added beside an account make the account that all rows together make.

Random invoices and payments arrive, new, stored and changed ones. One store adds those
that only add something, the other reads and packs every touched account anew.
"""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from random import Random

import pytest
import sqlalchemy as sa

from obligor.data import appending
from obligor.data.ledger import Ledger
from obligor.data.ledger_tables import ADDITIONS
from obligor.data.loading import Arrival, LedgerUpdate, UpdateResult
from obligor.data.row_building import nothing_set_aside
from obligor.data.store import LedgerStore
from tests.property.test_accounting import frame_of
from tests.property.test_kernel import rate_row

Row = dict[str, object]
N_CUSTOMERS = 12
N_UPDATES = 10
# Of these rows change and undo others, so that their accounts are packed anew.
N_ODD_CUSTOMERS = 4
ODD_CUSTOMERS = [f"C{number}" for number in range(N_ODD_CUSTOMERS)]
FIRST_DAY = date(2024, 1, 1)


class Source:
    """A source in which little else happens than invoices and payments."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.today = FIRST_DAY
        self.invoices: list[Row] = []
        self.payments: list[Row] = []

    def invoice(self) -> tuple[str, Row]:
        issued_on = self.today - timedelta(days=self.random.randrange(30))
        customer = self.random.randrange(N_CUSTOMERS)
        is_odd = customer < N_ODD_CUSTOMERS and self.random.random() < 0.2
        row: Row = {
            # In any order of ids, so that it stands before stored ones too.
            "invoice_id": f"I{self.random.randrange(10**6)}-{len(self.invoices)}",
            "document_id": self.random.choice(["", "D1"]) if is_odd else "",
            "customer_id": f"C{customer}",
            "issued_on": issued_on,
            "due_on": issued_on + timedelta(days=self.random.randint(-5, 60)),
            "amount": self.random.choice([100.0, 950.55, -40.0 if is_odd else 7e3]),
            "currency": self.random.choice(["EUR", "EUR", "USD", "JPY"]),
            "known_on": self.today,
        }
        self.invoices.append(row)
        return "invoices", row

    def payment(self) -> tuple[str, Row]:
        invoice = self.random.choice(self.invoices)
        is_odd = invoice["customer_id"] in ODD_CUSTOMERS and self.random.random() < 0.2
        row: Row = {
            "payment_id": f"P{len(self.payments)}",
            "invoice_id": invoice["invoice_id"],
            "customer_id": "",
            "paid_on": self.today - timedelta(days=self.random.randrange(9)),
            "amount": self.random.choice([10.0, 0.015, 100.0, -5.0 if is_odd else 3.0]),
            "currency": self.random.choice(["", "", invoice["currency"]]),
            "kind": self.random.choice(["payment", "payment", "credit_note"]),
            "reverses": "",
            "known_on": self.today,
        }
        if is_odd:
            other = {"currency": "USD", "reverses": "P0", "kind": "returned"}
            name = self.random.choice(sorted(other))
            row[name] = other[name]
        self.payments.append(row)
        return "payments", row

    def repeated(self) -> tuple[str, Row]:
        """A stored row, that of an odd customer with another amount."""
        rows = self.payments if len(self.payments) % 3 else self.invoices
        row = self.random.choice(rows)
        if row["customer_id"] in ODD_CUSTOMERS:
            row["amount"] = self.random.choice([9.0, 20.0])
        return "payments" if rows is self.payments else "invoices", row

    def rows(self, n_rows: int) -> Ledger:
        kinds = [self.payment] * 6 + [self.invoice] * 3 + [self.repeated]
        tables: dict[str, dict[object, Row]] = {}
        for _ in range(n_rows):
            table, row = self.random.choice(kinds)()
            tables.setdefault(table, {})[row[f"{table[:-1]}_id"]] = row
        frames = {
            table: frame_of(table, [*rows.values()]) for table, rows in tables.items()
        }
        return Ledger(frames, "EUR")


def first_ledger(source: Source) -> Ledger:
    for _ in range(3 * N_CUSTOMERS):
        source.invoice()
    customers: list[Row] = []
    for number in range(N_CUSTOMERS):
        registered_on = date(2020, 1, 1)
        row: Row = {"customer_id": f"C{number}", "registered_on": registered_on}
        customers.append(row | {"known_on": registered_on})
    rates = [
        rate_row(currency, rate) | {"rate_on": date(2020, 1, 1)}
        for currency, rate in (("USD", 0.9), ("JPY", 0.0062))
    ]
    tables = {"customers": customers, "invoices": source.invoices, "fx_rates": rates}
    frames = {table: frame_of(table, rows) for table, rows in tables.items()}
    return Ledger(frames, "EUR")


def update(store: LedgerStore, ledger: Ledger, today: date) -> UpdateResult:
    return LedgerUpdate(store, today).apply(Arrival(ledger, nothing_set_aside()))


def images(store: LedgerStore) -> dict[str, bytes]:
    return {
        customer_id: store.account(customer_id).packed()
        for customer_id in store.customer_ids()
    }


def n_additions(store: LedgerStore) -> int:
    with store.engine.connect() as connection:
        query = sa.select(sa.func.count()).select_from(ADDITIONS)
        return connection.scalar(query) or 0


@pytest.mark.parametrize("seed", [1, 2])
def test_added_rows_make_the_account_of_all_rows(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = Source(seed)
    ledger = first_ledger(source)
    stores = {}
    for name in ("added", "whole"):
        stores[name] = LedgerStore(f"sqlite:///{tmp_path}/{name}.db")
        stores[name].write(ledger)
    n_most = 0
    for number in range(N_UPDATES):
        source.today += timedelta(days=source.random.randint(0, 2))
        arrived = source.rows(source.random.randint(2, 20))
        monkeypatch.setattr(appending, "MOST_ADDED_ROWS", 6 if number % 2 else 40)
        added = update(stores["added"], arrived, source.today)
        n_most = max(n_most, n_additions(stores["added"]))
        monkeypatch.setattr(appending, "MOST_ADDED_ROWS", 0)
        whole = update(stores["whole"], arrived, source.today)
        for table in arrived.tables:
            assert added.counts(table) == whole.counts(table)
        assert added.touched == whole.touched
        assert images(stores["added"]) == images(stores["whole"])
        every = {account.customer_id: account for account in stores["added"].every()}
        assert {key: every[key].packed() for key in every} == images(stores["whole"])
    assert n_most > N_CUSTOMERS // 2
    assert n_additions(stores["whole"]) == 0
