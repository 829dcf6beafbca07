"""Loading a ledger, updating it from files, and over HTTP.

Run: ``python benchmarks/loading.py [--json] [--invoices 1000000] [--rows 100000]``.

The update is a third new invoices, a third new payments and a third changed invoices,
drawn from all customers, so that most accounts are built anew. Over HTTP, requests of
10,000 payments are sent to the app in this process.
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
REQUESTS = 5
ROWS_IN_REQUEST = 10_000


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


def rows_a_second(store: LedgerStore, ledger: Ledger, folder: Path) -> float:
    """Return how many rows a second are taken, checked and recorded, with the JSON."""
    record = Record.open(f"sqlite:///{folder}/record.db", Vault(bytes(32), bytes))
    answers = AnswerRecord(record.writer, record.reader, ReceiptSigner(bytes(32)))
    numbers = iter(range(10**6))
    desk = LedgerDesk(
        ledger=store,
        answers=answers,
        stamp=lambda: Stamp(f"u-{next(numbers)}", datetime.now(UTC)),
        today=lambda: TODAY,
    )
    random = np.random.default_rng(1)
    invoice_ids = ledger["invoices"]["invoice_id"].to_numpy()
    bodies = []
    for request in range(REQUESTS):
        drawn = random.choice(invoice_ids, size=ROWS_IN_REQUEST, replace=False)
        rows: list[dict[str, object]] = [
            {
                "payment_id": f"H{request}-{row}",
                "invoice_id": invoice_id,
                "paid_on": "2025-05-31",
                "amount": "1.00",
            }
            for row, invoice_id in enumerate(drawn)
        ]
        bodies.append(LedgerRows.model_validate({"rows": rows}).model_dump_json())
    start = time.perf_counter()
    for number, body in enumerate(bodies):
        desk.update("payments", LedgerRows.model_validate_json(body), f"k{number}")
    seconds = time.perf_counter() - start
    record.close()
    return REQUESTS * ROWS_IN_REQUEST / seconds


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
        speed = rows_a_second(store, ledger, folder)
        size_mb = (folder / "ledger.db").stat().st_size / 1e6
    peak_gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(
        f"{len(ledger['invoices']):,} invoices of {n_customers:,} customers: loaded in "
        f"{loading_s:.1f} s; {size_mb:,.0f} MB; an update of {options.rows:,} rows, "
        f"which touched {len(result.touched):,} customers, took {update_s:.1f} s; "
        f"{speed:,.0f} rows a second over HTTP; {peak_gb:.2f} GB at most"
    )
    bars = [
        bar(
            f"seconds for an update of {options.rows:,} rows",
            update_s,
            MOST_SECONDS,
            update_s <= MOST_SECONDS,
        ),
        bar(
            "rows a second over HTTP",
            speed,
            FEWEST_ROWS_A_SECOND,
            speed >= FEWEST_ROWS_A_SECOND,
        ),
    ]
    report(bars, options.json)


if __name__ == "__main__":
    main()
