"""Whatever an update brings, what was known on an earlier day stays, bit for bit.

Random rows of every table arrive, new and changed, on days that never go back; some of
them move invoices between customers, or bring a currency that was not in use. A
thousand updates are made by ``UPDATES=1000 pytest tests/property/test_updates.py``.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from random import Random

import pandas as pd
import pytest

from obligor.data.asof import known_account
from obligor.data.ledger import Ledger
from obligor.data.loading import Arrival, LedgerUpdate
from obligor.data.row_building import nothing_set_aside
from obligor.data.store import LedgerStore
from obligor.data.synthetic import simulate_ledger
from obligor.errors import AsOfError

UPDATES = int(os.environ.get("UPDATES", "25"))
CUSTOMERS = 12
KEYS = {"invoices": "invoice_id", "payments": "payment_id", "customers": "customer_id"}


@dataclass
class Source:
    """A ledger that changes at random."""

    tables: dict[str, pd.DataFrame]
    random: Random
    n_new: int = 0
    today: date = date(2025, 1, 1)

    def update(self) -> dict[str, pd.DataFrame]:
        """Return some rows of some tables, most of them changed."""
        names = self.random.sample(sorted(self.tables), self.random.randint(1, 4))
        return {name: self.rows(name) for name in names}

    def rows(self, name: str) -> pd.DataFrame:
        """Return some rows of a table, each with one change."""
        frame = self.tables[name]
        n_rows = min(len(frame), self.random.randint(1, 4))
        rows = frame.sample(n_rows, random_state=self.random.randint(0, 10**6))
        if "amount" in rows and self.random.random() < 0.6:
            rows = rows.assign(amount=rows["amount"] + self.random.randint(1, 500))
        change = getattr(self, f"_{name}", None)
        changed = rows if change is None else change(rows)
        key = KEYS.get(name)
        return changed.drop_duplicates(key) if key else changed

    def _new_id(self) -> str:
        self.n_new += 1
        return f"N{self.n_new}-"

    def _invoices(self, rows: pd.DataFrame) -> pd.DataFrame:
        choice = self.random.random()
        if choice < 0.3:
            return rows.assign(invoice_id=self._new_id() + rows["invoice_id"])
        if choice < 0.5:
            return rows.assign(due_on=rows["due_on"] + pd.Timedelta(days=9))
        if choice < 0.7:
            customers = sorted(self.tables["customers"]["customer_id"])
            return rows.assign(customer_id=self.random.choice(customers))
        return rows.assign(currency=self.random.choice(["EUR", "USD"]))

    def _payments(self, rows: pd.DataFrame) -> pd.DataFrame:
        choice = self.random.random()
        if choice < 0.4:
            return rows.assign(payment_id=self._new_id() + rows["payment_id"])
        if choice < 0.6:
            return rows.assign(amount=-rows["amount"])
        return rows.assign(paid_on=rows["paid_on"] - pd.Timedelta(days=9))

    def _customers(self, rows: pd.DataFrame) -> pd.DataFrame:
        if self.random.random() < 0.5:
            return rows.assign(sector=self.random.choice(["food", "retail"]))
        earlier = rows["registered_on"] - pd.Timedelta(days=100)
        return rows.assign(registered_on=earlier)

    def _disputes(self, rows: pd.DataFrame) -> pd.DataFrame:
        return rows.assign(resolved_on=pd.Timestamp(self.today).as_unit("s"))

    def _fx_rates(self, rows: pd.DataFrame) -> pd.DataFrame:
        return rows.assign(rate=rows["rate"] * 1.1)

    def _financials(self, rows: pd.DataFrame) -> pd.DataFrame:
        return rows.assign(turnover=rows["turnover"] * 1.1)


def images(store: LedgerStore, day: date) -> Iterator[tuple[str, bytes]]:
    """Yield every customer with what is known of it on a day."""
    for customer_id in store.customer_ids():
        try:
            known = known_account(store.account(customer_id), day)
        except AsOfError as error:
            yield customer_id, str(error).encode()
        else:
            yield customer_id, known.account.packed()


@pytest.mark.parametrize("seed", [1, 2])
def test_earlier_days_stay_as_they_were(seed: int, tmp_path: Path) -> None:
    ledger = simulate_ledger(CUSTOMERS, 18, seed=seed).ledger
    store = LedgerStore(f"sqlite:///{tmp_path}/ledger.db")
    store.write(ledger)
    source = Source(dict(ledger.tables), Random(seed))
    end = ledger.observed_until
    n_changed = 0
    for _ in range(UPDATES):
        source.today += timedelta(days=source.random.randint(0, 3))
        days = (
            source.today - timedelta(days=1),
            source.today - timedelta(days=source.random.randint(2, 60)),
            end - timedelta(days=source.random.randint(1, 300)),
        )
        before = [dict(images(store, day)) for day in days]
        arrival = Arrival(Ledger(source.update(), "EUR"), nothing_set_aside())
        result = LedgerUpdate(store, source.today).apply(arrival)
        assert [dict(images(store, day)) for day in days] == before
        n_changed += len(result.touched)
    assert n_changed > UPDATES
