"""Updating a loaded ledger: what is new, the same, or changed, and since when."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path

import pandas as pd
import pytest

from obligor.data.account import Account
from obligor.data.asof import known_account
from obligor.data.batch_update import Ended, Snapshot
from obligor.data.ledger import Ledger
from obligor.data.loading import Arrival, LedgerUpdate, UpdateResult
from obligor.data.open_items import has_open_dispute, open_balances
from obligor.data.row_building import nothing_set_aside
from obligor.data.row_packing import OWNER, packed_rows, unpacked_rows
from obligor.data.store import LedgerStore
from obligor.data.updating import first_rows
from obligor.errors import SchemaError
from tests.ascii import ledger, table

FIRST = """
    invoice_id | customer_id | issued_on  | due_on     | amount
    R1         | ANNA        | 2024-01-10 | 2024-02-10 | 100
    R2         | ANNA        | 2024-02-10 | 2024-03-10 | 50
    S1         | BERT        | 2024-01-15 | 2024-02-15 | 70
"""
PAYMENTS = """
    payment_id | invoice_id | paid_on    | amount
    P1         | R1         | 2024-02-09 | 40
"""
TODAY = date(2024, 6, 1)


@pytest.fixture(params=["sqlite", "postgres"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[LedgerStore]:
    url = f"sqlite:///{tmp_path}/ledger.db"
    if request.param == "postgres":
        url = str(request.getfixturevalue("postgres"))
    loaded = LedgerStore(url)
    loaded.write(ledger(invoices=FIRST, payments=PAYMENTS))
    yield loaded
    loaded.engine.dispose()


def rows_of(**texts: str) -> Ledger:
    """Return a ledger of some tables only."""
    return Ledger({name: table(name, text) for name, text in texts.items()}, "EUR")


def updated(store: LedgerStore, today: date = TODAY, **texts: str) -> UpdateResult:
    """Update the store on a day."""
    arrival = Arrival(rows_of(**texts), nothing_set_aside())
    return LedgerUpdate(store, today).apply(arrival)


def open_on(store: LedgerStore, customer_id: str, day: date) -> dict[str, float]:
    """Return what is open of each invoice, as it was known on a day."""
    account = known_account(store.account(customer_id), day).account
    balances = open_balances(account) / 100
    return dict(zip(account.invoice_ids, balances.tolist(), strict=True))


def image(store: LedgerStore, day: date) -> dict[str, bytes]:
    """Return every account as it was known on a day, bit for bit."""
    return {
        customer_id: known_account(store.account(customer_id), day).account.packed()
        for customer_id in store.customer_ids()
    }


def test_the_same_rows_change_nothing(store: LedgerStore) -> None:
    before = image(store, TODAY)
    result = updated(store, invoices=FIRST, payments=PAYMENTS)
    assert result.counts("invoices") == {"taken": 0, "same": 3, "changed": 0}
    assert result.counts("payments") == {"taken": 0, "same": 1, "changed": 0}
    assert result.touched == set()
    observed = replace(store.account("BERT"), observed_until=None).packed()
    assert before["BERT"] != b""
    assert b"2024-06-01" not in observed


def test_a_new_row_is_known_from_the_day_of_the_update(store: LedgerStore) -> None:
    result = updated(
        store,
        invoices="""
            invoice_id | customer_id | issued_on  | due_on     | amount
            R3         | ANNA        | 2024-03-10 | 2024-04-10 | 30
        """,
        payments="""
            payment_id | invoice_id | paid_on    | amount
            P2         | R2         | 2024-03-01 | 20
        """,
    )
    assert result.counts("invoices") == {"taken": 1, "same": 0, "changed": 0}
    assert open_on(store, "ANNA", date(2024, 5, 31)) == {"R1": 60, "R2": 50}
    assert open_on(store, "ANNA", TODAY) == {"R1": 60, "R2": 30, "R3": 30}


def test_a_changed_row_leaves_the_past_as_it_was(store: LedgerStore) -> None:
    yesterday = date(2024, 5, 31)
    before = image(store, yesterday)
    result = updated(
        store,
        invoices=FIRST.replace("| 100", "| 90"),
        payments=PAYMENTS.replace("| 40", "| 45"),
    )
    assert result.counts("invoices") == {"taken": 0, "same": 2, "changed": 1}
    assert result.touched == {"ANNA"}
    assert image(store, yesterday) == before
    assert open_on(store, "ANNA", TODAY) == {"R1": 45, "R2": 50}


def test_changes_of_one_day_leave_one_version(store: LedgerStore) -> None:
    for amount in ("90", "80", "70"):
        updated(store, invoices=FIRST.replace("| 100", f"| {amount}"))
    account = store.account("ANNA")
    assert account.items.amount.tolist() == [10_000, 7_000, 5_000]
    assert open_on(store, "ANNA", TODAY) == {"R1": 30, "R2": 50}


def test_an_invoice_takes_its_payments_to_another_customer(store: LedgerStore) -> None:
    yesterday = date(2024, 5, 31)
    before = image(store, yesterday)
    moved = FIRST.replace("R1         | ANNA", "R1         | BERT")
    result = updated(store, invoices=moved)
    assert result.counts("invoices") == {"taken": 0, "same": 2, "changed": 1}
    assert image(store, yesterday) == before
    assert open_on(store, "ANNA", TODAY) == {"R2": 50}
    assert open_on(store, "BERT", TODAY) == {"R1": 60, "S1": 70}
    # From now on a payment of it is one of its new customer.
    later = date(2024, 6, 2)
    updated(
        store,
        later,
        payments="""
            payment_id | invoice_id | paid_on    | amount
            P3         | R1         | 2024-06-02 | 60
        """,
    )
    assert open_on(store, "BERT", later) == {"R1": 0, "S1": 70}
    assert open_on(store, "BERT", TODAY) == {"R1": 60, "S1": 70}


def test_two_equal_rows_are_two(store: LedgerStore) -> None:
    text = """
        invoice_id | written_off_on | amount
        R1         | 2024-05-01     | 5
        R1         | 2024-05-01     | 5
    """
    first = updated(store, write_offs=text)
    again = updated(store, date(2024, 6, 2), write_offs=text)
    assert first.counts("write_offs") == {"taken": 2, "same": 0, "changed": 0}
    assert again.counts("write_offs") == {"taken": 0, "same": 2, "changed": 0}
    assert open_on(store, "ANNA", TODAY)["R1"] == 50


def test_payments_without_ids_are_recognized_by_what_they_say(
    store: LedgerStore,
) -> None:
    """Their numbers are ours: in the next file they are others."""
    text = """
        payment_id | invoice_id | paid_on    | amount
        payment-0  | R2         | 2024-05-01 | 5
        payment-1  | R2         | 2024-05-02 | 6
    """
    updated(store, payments=text)
    result = updated(
        store,
        date(2024, 6, 2),
        payments="""
            payment_id | invoice_id | paid_on    | amount
            payment-0  | R2         | 2024-05-02 | 6
            payment-1  | R2         | 2024-05-03 | 7
        """,
    )
    assert result.counts("payments") == {"taken": 1, "same": 1, "changed": 0}
    assert open_on(store, "ANNA", date(2024, 6, 2))["R2"] == 32


def test_a_missing_column_leaves_what_is_stored(store: LedgerStore) -> None:
    customers = """
        customer_id | registered_on | sector
        ANNA        | 2020-01-01    | food
    """
    updated(store, customers=customers)
    without = "\n".join(line.rsplit("|", 1)[0] for line in customers.split("\n"))
    result = updated(store, date(2024, 6, 2), customers=without)
    assert result.counts("customers")["same"] == 1
    later = date(2024, 6, 3)
    updated(store, later, customers=without.replace("2020-01-01", "2019-01-01"))
    assert store.account("ANNA").sector == "food"


def test_a_customer_is_on_each_day_as_it_was_then(store: LedgerStore) -> None:
    text = """
        customer_id | registered_on | sector
        ANNA        | 2020-01-01    | food
    """
    updated(store, customers=text)
    updated(store, date(2024, 6, 5), customers=text.replace("food", "retail"))

    def sector_on(day: date) -> Account:
        return known_account(store.account("ANNA"), day).account

    assert sector_on(date(2024, 5, 31)).sector == ""
    assert sector_on(TODAY).sector == "food"
    assert sector_on(date(2024, 6, 5)).sector == "retail"


def test_a_row_set_aside_counts_until_it_arrives_in_order(store: LedgerStore) -> None:
    mark = pd.DataFrame({OWNER: ["ANNA"], "table": ["payments"], "key": ["P9/R2/"]})
    update = LedgerUpdate(store, TODAY)
    before = image(store, date(2024, 5, 31))
    update.apply(Arrival(rows_of(), mark))
    update.apply(Arrival(rows_of(), mark))
    assert store.account("ANNA").is_incomplete
    assert store.account("ANNA").set_aside == 1
    assert image(store, date(2024, 5, 31)) == before
    later = date(2024, 6, 2)
    updated(
        store,
        later,
        payments="""
            payment_id | invoice_id | paid_on    | amount
            P9         | R2         | 2024-05-02 | 6
        """,
    )
    assert not store.account("ANNA").is_incomplete
    assert known_account(store.account("ANNA"), TODAY).account.set_aside == 1


def test_another_reporting_currency_is_refused(store: LedgerStore) -> None:
    arrival = Arrival(replace(rows_of(), currency="USD"), nothing_set_aside())
    with pytest.raises(SchemaError, match="the loaded ledger is in EUR"):
        LedgerUpdate(store, TODAY).apply(arrival)


def test_an_empty_store_cannot_be_updated(tmp_path: Path) -> None:
    empty = LedgerStore(f"sqlite:///{tmp_path}/empty.db")
    with pytest.raises(SchemaError, match="no ledger is loaded"):
        updated(empty, invoices=FIRST)


def test_rows_come_back_as_they_were_packed() -> None:
    invoices = first_rows(table("invoices", FIRST))
    customers = first_rows(
        table(
            "customers",
            """
            customer_id | registered_on | sector
            ANNA        | 2020-01-01    | -
            BERT        | 2021-01-01    | food
            """,
        )
    )
    packed = list(packed_rows({"invoices": invoices, "customers": customers}))
    assert [customer_id for customer_id, _ in packed] == ["ANNA", "BERT"]
    tables = unpacked_rows(packed)
    for name, frame in (("invoices", invoices), ("customers", customers)):
        columns = list(frame.columns)
        unpacked = tables[name]
        assert unpacked[columns].astype("object").equals(frame.astype("object"))


# --- snapshots


def snapped(store: LedgerStore, today: date, **texts: str) -> UpdateResult:
    """Update the store with lists that name everything there is."""
    arrived = rows_of(**texts)
    snapshot = Snapshot(frozenset(arrived.tables), date(2024, 5, 30), today)
    arrival = Arrival(arrived, nothing_set_aside(), snapshot)
    return LedgerUpdate(store, today).apply(arrival)


OPEN_ITEMS = """
    invoice_id | customer_id | issued_on  | due_on     | amount
    R2         | ANNA        | 2024-02-10 | 2024-03-10 | 50
"""


def test_what_a_list_of_open_items_lacks_is_paid(store: LedgerStore) -> None:
    """Of BERT it names nothing at all."""
    before = image(store, date(2024, 5, 31))
    result = snapped(store, TODAY, invoices=OPEN_ITEMS)
    assert result.ended == Ended({"invoices": 2}, {"EUR": 130.0})
    assert open_on(store, "ANNA", TODAY) == {"R1": 0, "R2": 50}
    assert open_on(store, "BERT", TODAY) == {"S1": 0}
    assert image(store, date(2024, 5, 31)) == before
    again = snapped(store, date(2024, 6, 2), invoices=OPEN_ITEMS)
    assert again.ended == Ended()


def test_an_item_that_comes_back_is_open_again(store: LedgerStore) -> None:
    snapped(store, TODAY, invoices=OPEN_ITEMS)
    later = date(2024, 6, 9)
    snapped(store, later, invoices=FIRST)
    assert open_on(store, "BERT", later) == {"S1": 70}
    assert open_on(store, "BERT", TODAY) == {"S1": 0}
    assert open_on(store, "ANNA", later) == {"R1": 60, "R2": 50}


def test_a_dispute_that_is_not_listed_is_resolved(store: LedgerStore) -> None:
    text = """
        invoice_id | opened_on  | resolved_on
        R1         | 2024-03-01 | -
        S1         | 2024-03-01 | -
    """
    updated(store, disputes=text)
    later = date(2024, 6, 2)
    result = snapped(store, later, disputes="\n".join(text.split("\n")[:3]))
    assert result.ended.counts == {"disputes": 1}
    assert has_open_dispute(known_account(store.account("ANNA"), later).account)
    assert not has_open_dispute(known_account(store.account("BERT"), later).account)
    assert has_open_dispute(known_account(store.account("BERT"), TODAY).account)


def test_a_payment_that_is_not_listed_never_was(store: LedgerStore) -> None:
    result = snapped(
        store,
        TODAY,
        payments="""
            payment_id | invoice_id | paid_on    | amount
            P7         | R2         | 2024-02-09 | 1
        """,
    )
    assert result.ended.counts == {"payments": 1}
    assert open_on(store, "ANNA", TODAY) == {"R1": 100, "R2": 49}


def test_a_late_word_on_an_earlier_limit_is_not_the_last(store: LedgerStore) -> None:
    text = """
        customer_id | amount | currency | known_on
        ANNA        | 500    | EUR      | 2024-01-01
        ANNA        | 900    | EUR      | 2024-03-01
    """
    store.write(ledger(invoices=FIRST, limits=text))
    updated(store, limits=text.replace("| 500", "| 400"))
    limits = known_account(store.account("ANNA"), TODAY).account.limits
    assert limits.amount.tolist()[-1] == 900
    updated(store, date(2024, 6, 2), limits=text.replace("| 900", "| 800"))
    limits = known_account(store.account("ANNA"), date(2024, 6, 2)).account.limits
    assert limits.amount.tolist()[-1] == 800


def test_an_invoice_moves_from_a_customer_who_only_gets_new_rows(
    store: LedgerStore,
) -> None:
    """ANNA's new invoice alone would be added beside what is stored of her."""
    arrived = """
        invoice_id | customer_id | issued_on  | due_on     | amount
        R2         | BERT        | 2024-02-10 | 2024-03-10 | 50
        R3         | ANNA        | 2024-05-10 | 2024-06-10 | 30
    """
    updated(store, invoices=arrived)
    assert open_on(store, "ANNA", TODAY) == {"R1": 60, "R3": 30}
    assert open_on(store, "BERT", TODAY) == {"S1": 70, "R2": 50}
    assert open_on(store, "ANNA", date(2024, 5, 31)) == {"R1": 60, "R2": 50}


def test_a_moved_invoice_and_its_neighbour_are_both_found(store: LedgerStore) -> None:
    """Whoever is read because of the moved one has other invoices, too."""
    updated(store, invoices=FIRST.replace("R1         | ANNA", "R1         | BERT"))
    later = date(2024, 6, 2)
    result = updated(
        store,
        later,
        payments="""
            payment_id | invoice_id | paid_on    | amount
            P3         | R1         | 2024-06-02 | 10
            P4         | R2         | 2024-06-02 | 20
            P5         | S1         | 2024-06-02 | 30
        """,
    )
    assert result.counts("payments")["taken"] == 3
    assert open_on(store, "ANNA", later) == {"R2": 30}
    assert open_on(store, "BERT", later) == {"R1": 50, "S1": 40}
