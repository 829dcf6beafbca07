"""What was known on a day stays what it was, whatever arrives later.

A ledger is loaded, and then rows of all kinds arrive at random: new ones, stored ones,
changed ones, some that undo others, and some that could not be read. Each account must
be the same as of each earlier day, bit for bit.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from datetime import date, timedelta
from pathlib import Path
from random import Random, randrange

import pandas as pd
import pytest

from obligor.data.account import Account
from obligor.data.asof import known_account
from obligor.data.ledger import Ledger
from obligor.data.loading import Arrival, LedgerUpdate
from obligor.data.row_building import nothing_set_aside
from obligor.data.row_packing import OWNER
from obligor.data.store import LedgerStore
from obligor.data.updating import KEYS
from obligor.errors import AsOfError
from tests.property.test_accounting import frame_of
from tests.property.test_kernel import rate_row

N_CUSTOMERS = 25
FIRST_DAY = date(2024, 1, 1)
LOADED_ON = date(2024, 7, 1)
N_UPDATES = 20
ROWS_OF_AN_UPDATE = 50
# One more seed, new each time, in `make explore`.
IS_EXPLORING = os.environ.get("HYPOTHESIS_PROFILE") == "explore"
NEW_SEED = pytest.param(randrange(10**6), id="new")
SEEDS = (1, 5, NEW_SEED) if IS_EXPLORING else (1, 5)
CURRENCIES = ("EUR", "EUR", "EUR", "USD", "JPY")
Row = dict[str, object]
Rows = dict[str, list[Row]]


class Source:
    """A source of rows in which things happen and are corrected at random."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.tables: Rows = {}
        self.today = FIRST_DAY
        for number in range(N_CUSTOMERS):
            self.customer(f"C{number}")
        for currency, rate in (("USD", 0.9), ("JPY", 0.0062)):
            self.add("fx_rates", rate_row(currency, rate))
        self.invoice()

    def add(self, table: str, row: Row) -> tuple[str, Row]:
        """Add a row that is known from the day of today."""
        row.setdefault("known_on", self.today)
        self.tables.setdefault(table, []).append(row)
        return table, row

    def customer(self, customer_id: str) -> tuple[str, Row]:
        row: Row = {"customer_id": customer_id, "registered_on": date(2020, 1, 1)}
        row["sector"] = self.random.choice(["food", "retail"])
        return self.add("customers", row | {"known_on": date(2020, 1, 1)})

    def any_customer(self) -> str:
        return f"C{self.random.randrange(N_CUSTOMERS)}"

    def any_of(self, table: str) -> Row:
        """Return a row of a table; an invoice if it has none."""
        return self.random.choice(self.tables.get(table) or self.tables["invoices"])

    def day(self) -> date:
        """Return a day in the last two months."""
        return self.today - timedelta(days=self.random.randrange(60))

    def amount(self) -> float:
        return self.random.choice([100.0, 200.0, float(self.random.randint(1, 50_000))])

    def number(self, table: str) -> int:
        return len(self.tables.get(table, ()))

    # --- what arrives

    def invoice(self) -> tuple[str, Row]:
        customer_id = self.any_customer()
        currency = self.random.choice(CURRENCIES)
        issued_on = self.day()
        has_document = self.random.random() < 0.2
        is_memo = self.random.random() < 0.1
        return self.add(
            "invoices",
            {
                "invoice_id": f"I{self.number('invoices')}",
                "document_id": f"D-{customer_id}-{currency}" if has_document else "",
                "customer_id": customer_id,
                "issued_on": issued_on,
                "due_on": issued_on + timedelta(days=self.random.randint(-5, 60)),
                "amount": -self.amount() if is_memo else self.amount(),
                "currency": currency,
            },
        )

    def payment(self) -> tuple[str, Row]:
        """A payment, a credit note or what undoes one, with or without an item."""
        has_item = self.random.random() < 0.7
        invoice = self.any_of("invoices")
        kinds = ["payment", "payment", "payment", "credit_note", "returned", "refund"]
        sign = self.random.choice([1, 1, 1, -1])
        payments = self.tables.get("payments", [])
        names_receipt = payments and self.random.random() < 0.3
        return self.add(
            "payments",
            {
                "payment_id": f"P{self.number('payments')}",
                "invoice_id": invoice["invoice_id"] if has_item else "",
                "customer_id": "" if has_item else invoice["customer_id"],
                "paid_on": self.day(),
                "amount": sign * self.amount(),
                "currency": self.random.choice(["", "", *CURRENCIES]),
                "kind": self.random.choice(kinds),
                "reverses": self.receipt_of(invoice) if names_receipt else "",
            },
        )

    def receipt_of(self, invoice: Row) -> object:
        """Return the id of a payment of the customer of an invoice, if there is one."""
        customer_id = invoice["customer_id"]
        own = {
            row["invoice_id"]
            for row in self.tables["invoices"]
            if row["customer_id"] == customer_id
        }
        ids = [
            row["payment_id"]
            for row in self.tables["payments"]
            if row["invoice_id"] in own or row["customer_id"] == customer_id
        ]
        return self.random.choice(ids) if ids else ""

    def allocation(self) -> tuple[str, Row]:
        receipts = [r for r in self.tables.get("payments", ()) if not r["invoice_id"]]
        if not receipts:
            return self.payment()
        receipt = self.random.choice(receipts)
        own = [
            row
            for row in self.tables["invoices"]
            if row["customer_id"] == receipt["customer_id"]
        ]
        if not own:
            return self.payment()
        return self.add(
            "allocations",
            {
                "payment_id": receipt["payment_id"],
                "invoice_id": self.random.choice(own)["invoice_id"],
                "allocated_on": self.day(),
                "amount": self.amount(),
            },
        )

    def of_invoice(self, table: str, **cells: object) -> tuple[str, Row]:
        invoice = self.any_of("invoices")
        return self.add(table, {"invoice_id": invoice["invoice_id"], **cells})

    def write_off(self) -> tuple[str, Row]:
        amount = self.random.choice([1, -1]) * self.amount()
        return self.of_invoice("write_offs", written_off_on=self.day(), amount=amount)

    def cancellation(self) -> tuple[str, Row]:
        if self.random.random() < 0.5:
            return self.of_invoice(
                "cancellations", payment_id="", cancelled_on=self.day()
            )
        if not self.tables.get("payments"):
            return self.payment()
        return self.add(
            "cancellations",
            {
                "invoice_id": "",
                "payment_id": self.any_of("payments")["payment_id"],
                "cancelled_on": self.day(),
            },
        )

    def extension(self) -> tuple[str, Row]:
        due_on = self.day() + timedelta(days=60)
        return self.of_invoice("extensions", extended_on=self.day(), due_on=due_on)

    def dispute(self) -> tuple[str, Row]:
        opened_on = self.day()
        resolved_on = self.random.choice([None, opened_on + timedelta(days=20)])
        amount = self.random.choice([None, self.amount()])
        return self.of_invoice(
            "disputes",
            opened_on=opened_on,
            resolved_on=resolved_on,
            amount=amount,
        )

    def promise(self) -> tuple[str, Row]:
        promised_on = self.day()
        return self.of_invoice(
            "promises",
            promised_on=promised_on,
            pay_by=promised_on + timedelta(days=14),
            amount=self.amount(),
        )

    def rate(self) -> tuple[str, Row]:
        row = rate_row(
            self.random.choice(["USD", "JPY"]), self.random.uniform(0.001, 1)
        )
        return self.add(
            "fx_rates", row | {"rate_on": self.day(), "known_on": self.today}
        )

    def correction(self) -> tuple[str, Row]:
        """A row that is there comes again, with another amount, day or customer."""
        table = self.random.choice(sorted(self.tables))
        row = self.random.choice(self.tables[table])
        if "amount" in row and self.random.random() < 0.6:
            row["amount"] = self.amount()
        if table == "invoices":
            row["due_on"] = self.day() + timedelta(days=self.random.randrange(90))
            if self.random.random() < 0.2 and not row["document_id"]:
                row["customer_id"] = self.any_customer()
        if table == "customers":
            row["sector"] = self.random.choice(["food", "retail", "steel"])
        if table == "payments":
            row["paid_on"] = self.day()
        if table == "fx_rates":
            row["rate"] = self.random.uniform(0.001, 1)
        return table, row | {"known_on": self.today}


KINDS: tuple[Callable[[Source], tuple[str, Row]], ...] = (
    *[Source.invoice] * 4,
    *[Source.payment] * 6,
    *[Source.correction] * 6,
    *[Source.allocation] * 2,
    Source.write_off,
    Source.cancellation,
    Source.extension,
    Source.dispute,
    Source.promise,
    Source.rate,
)


def ledger_of(rows: Iterable[tuple[str, Row]]) -> Ledger:
    """Return rows as a ledger; of several of one key, the last."""
    tables: dict[str, dict[object, Row]] = {}
    for table, row in rows:
        tables.setdefault(table, {})[key_of(table, row)] = row
    frames = {
        name: frame_of(name, [*by_key.values()]) for name, by_key in tables.items()
    }
    return Ledger(frames, "EUR")


def key_of(table: str, row: Row) -> tuple[object, ...]:
    names = KEYS[table]
    return tuple(row[name] for name in names if name in row)


def first_ledger(source: Source) -> Ledger:
    """Let half a year pass, and return what the source has then."""
    for number in range(600):
        source.today = FIRST_DAY + timedelta(days=number * 181 // 600)
        source.random.choice(KINDS)(source)
    rows = [(table, row) for table in source.tables for row in source.tables[table]]
    return ledger_of(rows)


def arrival(source: Source) -> Arrival:
    """Return what arrives on a day: rows, and a mark of one that could not be read."""
    rows = [source.random.choice(KINDS)(source) for _ in range(ROWS_OF_AN_UPDATE)]
    mark = pd.DataFrame(
        {
            OWNER: [source.any_customer()],
            "table": ["payments"],
            "key": [f"X{source.random.random()}/"],
        }
    )
    has_mark = source.random.random() < 0.5
    return Arrival(ledger_of(rows), mark if has_mark else nothing_set_aside())


def image(store: LedgerStore, days: Iterable[date]) -> dict[tuple[str, date], object]:
    """Return every account as it was known on some days, bit for bit."""
    images = {}
    for customer_id in store.customer_ids():
        account = store.account(customer_id)
        for day in days:
            images[customer_id, day] = known_bytes(account, day)
    return images


def known_bytes(account: Account, day: date) -> object:
    """Return what was known of an account and of its rates, or that nothing was."""
    try:
        known = known_account(account, day).account
    except AsOfError as error:
        return str(error)
    rates = {}
    for code in known.currencies[1:]:
        rates[code] = [column.tobytes() for column in known.rates[code]]
    return known.packed(), rates


@pytest.mark.parametrize("seed", SEEDS)
def test_no_update_changes_an_earlier_day(seed: int, tmp_path: Path) -> None:
    """1,000 rows arrive, 50 on each of 20 days."""
    source = Source(seed)
    store = LedgerStore(f"sqlite:///{tmp_path}/ledger.db")
    store.write(first_ledger(source))
    days = [date(2024, 3, 31), date(2024, 6, 15)]
    n_changed = 0
    before = image(store, days)
    for number in range(N_UPDATES):
        source.today = LOADED_ON + timedelta(days=3 * number)
        yesterday = source.today - timedelta(days=1)
        days.append(yesterday)
        before |= image(store, [yesterday])
        result = LedgerUpdate(store, source.today).apply(arrival(source))
        n_changed += len(result.touched)
        after = image(store, days)
        differing = [key for key in before if after[key] != before[key]]
        assert differing == []
        before = after
    assert n_changed > N_UPDATES
