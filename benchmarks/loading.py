"""Loading a ledger, updating it from files, and over HTTP.

Run: ``python benchmarks/loading.py [--json] [--invoices 1000000] [--rows 100000]``.

The update is a third new invoices, a third new payments and a third changed invoices,
drawn from all customers, so that most accounts are built anew. Over HTTP, requests of
10,000 rows are sent to the desk in this process, one kind after the other: new payments
of many customers, new payments of 250, new invoices, and the payments of before again.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from statistics import median
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
import pandas as pd

from benchmarks.bars import bar, report
from obligor.casework.ledger_updates import LedgerDesk, LedgerRows
from obligor.data.ledger import Ledger
from obligor.data.loaded_ledger import LoadedLedger
from obligor.data.loading import LedgerUpdate, UpdateResult, arrival_of
from obligor.data.store import LedgerStore
from obligor.data.synthetic import simulate_ledger, write_ledger
from obligor.decisions.answer import Stamp
from obligor.decisions.recorded import AnswerRecord
from obligor.reading.sources import read_ledger
from obligor.record.encryption import Vault
from obligor.record.receipts import ReceiptSigner
from obligor.record.record import Record

INVOICES_PER_CUSTOMER = 41.6  # of the simulator, in 36 months
TODAY = date(2025, 6, 1)
MOST_SECONDS = 20.0
FEWEST_ROWS_A_SECOND = 5_000
REQUESTS = 5  # of each kind
ROWS_IN_REQUEST = 10_000
FEW_CUSTOMERS = 250
Row = dict[str, object]


def update_of(ledger: Ledger, n_rows: int) -> Ledger:
    """Return rows that are new or changed, drawn from all customers."""
    random = np.random.default_rng(0)
    n_part = n_rows // 3
    invoices = ledger["invoices"]
    drawn = random.choice(len(invoices), size=3 * n_part, replace=False)
    new, changed, paid = (invoices.iloc[part] for part in np.split(drawn, 3))
    new = new.assign(invoice_id="N" + new["invoice_id"])
    changed = changed.assign(amount=changed["amount"] + 1.0)
    day = pd.Timestamp(TODAY).as_unit("s")
    payments = pd.DataFrame(
        {
            "invoice_id": paid["invoice_id"],
            "amount": 1.0,
            "kind": "payment",
            "payment_id": "N" + paid["invoice_id"],
            "paid_on": day,
            "known_on": day,
        }
    )
    tables = {"invoices": pd.concat([new, changed]), "payments": payments}
    return Ledger(tables, ledger.currency, exported_on=TODAY)


def update_from_files(store: LedgerStore, mapping: Path) -> UpdateResult:
    """Update the store as `obligor load` does."""
    with store.engine.connect() as connection:
        state = store.updatable_state(connection)
        loaded = LoadedLedger(store.rows, connection, state)
        check = read_ledger(mapping, today=TODAY, stored=loaded)
        check.require()
        arrival = arrival_of(check, loaded)
    return LedgerUpdate(store, TODAY).apply(arrival)


class Speed(NamedTuple):
    """Rows a second of a request."""

    by_the_clock: float
    by_the_processor: float


class Sender:
    """Makes the requests of each kind.

    Parameters
    ----------
    ledger : Ledger
        What is loaded.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._random = np.random.default_rng(1)
        self._invoices = ledger["invoices"]
        self._customer_ids = self._invoices["customer_id"].unique()
        self._n_requests = 0
        self._last_rows: list[Row] = []

    def payments_of_many(self) -> list[Row]:
        """Return payments of invoices of any customers."""
        self._last_rows = self._payments(self._invoices)
        return self._last_rows

    def payments_of_few(self) -> list[Row]:
        """Return payments of invoices of some customers."""
        few = self._random.choice(self._customer_ids, FEW_CUSTOMERS, replace=False)
        return self._payments(self._invoices[self._invoices["customer_id"].isin(few)])

    def invoices_of_many(self) -> list[Row]:
        """Return invoices of any customers."""
        self._n_requests += 1
        drawn = self._random.choice(self._customer_ids, ROWS_IN_REQUEST)
        return [
            {
                "invoice_id": f"I{self._n_requests}-{row}",
                "customer_id": customer_id,
                "issued_on": "2025-05-30",
                "due_on": "2025-06-30",
                "amount": "100.00",
                "currency": "EUR",
            }
            for row, customer_id in enumerate(drawn)
        ]

    def payments_again(self) -> list[Row]:
        """Return the payments of many customers that were sent before."""
        return self._last_rows

    def _payments(self, invoices: pd.DataFrame) -> list[Row]:
        self._n_requests += 1
        is_repeated = len(invoices) < ROWS_IN_REQUEST
        drawn = self._random.choice(
            invoices["invoice_id"].to_numpy(),
            ROWS_IN_REQUEST,
            replace=is_repeated,
        )
        return [
            {
                "payment_id": f"P{self._n_requests}-{row}",
                "invoice_id": invoice_id,
                "paid_on": "2025-05-31",
                "amount": "1.00",
            }
            for row, invoice_id in enumerate(drawn)
        ]


def rows_a_second(
    store: LedgerStore, ledger: Ledger, folder: Path
) -> dict[str, list[Speed]]:
    """Return how many rows a second are taken, checked and recorded, with the JSON.

    Parameters
    ----------
    store : LedgerStore
        Where the ledger is loaded.
    ledger : Ledger
        What is loaded.
    folder : Path
        Where the record is.

    Returns
    -------
    dict of str to list of Speed
        The speed of each request, by its kind.
    """
    record = Record.open(f"sqlite:///{folder}/record.db", Vault(bytes(32), bytes))
    answers = AnswerRecord(record.writer, record.reader, ReceiptSigner(bytes(32)))
    numbers = iter(range(10**6))
    desk = LedgerDesk(
        ledger=store,
        answers=answers,
        stamp=lambda: Stamp(f"u-{next(numbers)}", datetime.now(UTC)),
        today=lambda: TODAY,
    )
    sender = Sender(ledger)
    kinds = {
        "payments of many": ("payments", sender.payments_of_many),
        "payments of few": ("payments", sender.payments_of_few),
        "invoices of many": ("invoices", sender.invoices_of_many),
        "payments again": ("payments", sender.payments_again),
    }
    speeds: dict[str, list[Speed]] = {kind: [] for kind in kinds}
    for number in range(REQUESTS):
        for kind, (table, make_rows) in kinds.items():
            body = LedgerRows.model_validate({"rows": make_rows()}).model_dump_json()
            start = time.perf_counter()
            start_of_processor = time.process_time()
            desk.update(table, LedgerRows.model_validate_json(body), f"{kind} {number}")
            speed = Speed(
                by_the_clock=ROWS_IN_REQUEST / (time.perf_counter() - start),
                by_the_processor=ROWS_IN_REQUEST
                / (time.process_time() - start_of_processor),
            )
            speeds[kind].append(speed)
    record.close()
    return speeds


def main() -> None:
    """Load, update, send; print the bars."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--invoices", type=int, default=1_000_000)
    parser.add_argument("--rows", type=int, default=100_000)
    options = parser.parse_args()
    n_customers = round(options.invoices / INVOICES_PER_CUSTOMER)
    simulation = simulate_ledger(n_customers, 36, seed=1)
    ledger = simulation.ledger
    with tempfile.TemporaryDirectory(prefix="loading") as name:
        folder = Path(name)
        store = LedgerStore(f"sqlite:///{folder}/ledger.db")
        start = time.perf_counter()
        store.write(ledger)
        loading_s = time.perf_counter() - start
        update = update_of(ledger, options.rows)
        write_ledger(replace(simulation, ledger=update), folder / "update")
        start = time.perf_counter()
        result = update_from_files(store, folder / "update" / "mapping.toml")
        update_s = time.perf_counter() - start
        speeds = rows_a_second(store, ledger, folder)
        size_mb = (folder / "ledger.db").stat().st_size / 1e6
    peak_gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    speed = {
        kind: median(each.by_the_clock for each in every)
        for kind, every in speeds.items()
    }
    texts = list[str]()
    for kind, every in speeds.items():
        of_processor = median(each.by_the_processor for each in every)
        texts.append(f"{kind} {speed[kind]:,.0f} ({of_processor:,.0f})")
    print(
        f"{len(ledger['invoices']):,} invoices of {n_customers:,} customers: loaded in "
        f"{loading_s:.1f} s; {size_mb:,.0f} MB; an update of {options.rows:,} rows, "
        f"which touched {len(result.touched):,} customers, took {update_s:.1f} s; "
        f"rows a second over HTTP, by the clock (and by the time of the processor): "
        f"{', '.join(texts)}; {peak_gb:.2f} GB at most"
    )
    bars = [
        bar(
            f"seconds for an update of {options.rows:,} rows",
            update_s,
            MOST_SECONDS,
            update_s <= MOST_SECONDS,
        ),
        *[
            bar(
                f"rows a second over HTTP: {kind}",
                speed[kind],
                FEWEST_ROWS_A_SECOND,
                speed[kind] >= FEWEST_ROWS_A_SECOND,
            )
            for kind in speed
        ],
    ]
    report(bars, options.json)


if __name__ == "__main__":
    main()
