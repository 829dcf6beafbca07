"""Rows that are added beside an account make the account that all rows together make.

Random rows of all kinds arrive, new, stored and changed ones, most of them invoices and
payments. One store adds those that only add something, the other reads and packs every
touched account anew.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from obligor.data import appending
from obligor.data.ledger import Ledger
from obligor.data.ledger_tables import ADDITIONS
from obligor.data.loading import Arrival, LedgerUpdate, UpdateResult
from obligor.data.row_building import nothing_set_aside
from obligor.data.store import LedgerStore
from tests.property.test_stability import (
    KINDS,
    LOADED_ON,
    N_CUSTOMERS,
    Source,
    first_ledger,
    ledger_of,
)

N_UPDATES = 10
Kind = Callable[[Source], tuple[str, dict[str, object]]]


def invoice(source: Source) -> tuple[str, dict[str, object]]:
    """An invoice whose id is anywhere among those of its customer."""
    table, row = source.invoice()
    row["invoice_id"] = f"{source.random.randrange(100)}-{row['invoice_id']}"
    return table, row


def payment(source: Source) -> tuple[str, dict[str, object]]:
    """A payment or credit note of an item, which undoes nothing."""
    table, row = source.payment()
    invoice = source.any_of("invoices")
    row["invoice_id"] = invoice["invoice_id"]
    row["customer_id"] = row["reverses"] = ""
    row["amount"] = abs(source.amount())
    row["kind"] = source.random.choice(["payment", "credit_note"])
    row["currency"] = source.random.choice(["", "", invoice["currency"]])
    return table, row


def arriving(source: Source, number: int) -> Ledger:
    """Return rows: every third time of any kind, else invoices and payments."""
    simple: list[Kind] = [payment, payment, payment, invoice]
    kinds: Sequence[Kind] = KINDS if number % 3 == 0 else simple
    n_rows = source.random.randint(3, 15)
    return ledger_of([source.random.choice(kinds)(source) for _ in range(n_rows)])


def update(store: LedgerStore, ledger: Ledger, source: Source) -> UpdateResult:
    arrival = Arrival(ledger, nothing_set_aside(), has_ids=True)
    return LedgerUpdate(store, source.today).apply(arrival)


def images(store: LedgerStore) -> dict[str, bytes]:
    return {
        customer_id: store.account(customer_id).packed()
        for customer_id in store.customer_ids()
    }


def added_to(store: LedgerStore) -> set[str]:
    """Return the customers with rows beside their account."""
    with store.engine.connect() as connection:
        return set(connection.scalars(sa.select(ADDITIONS.c.customer_id)))


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
    ever_added = set[str]()
    ever_rough = set[str]()
    for number in range(N_UPDATES):
        source.today = LOADED_ON + timedelta(days=number)
        arrived = arriving(source, number)
        monkeypatch.setattr(appending, "MOST_ADDED_ROWS", 5 if number % 4 else 40)
        added = update(stores["added"], arrived, source)
        ever_added |= added_to(stores["added"])
        monkeypatch.setattr(appending, "MOST_ADDED_ROWS", 0)
        whole = update(stores["whole"], arrived, source)
        for table in arrived.tables:
            assert added.counts(table) == whole.counts(table)
        assert added.touched == whole.touched
        expected = images(stores["whole"])
        assert images(stores["added"]) == expected
        every = {account.customer_id: account for account in stores["added"].every()}
        assert {key: every[key].packed() for key in every} == expected
        ever_rough |= {key for key in every if not every[key].is_plain}
    assert len(ever_added & ever_rough) > N_CUSTOMERS // 2
    assert not added_to(stores["whole"])
