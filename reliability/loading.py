"""Kill `obligor load` again and again while it updates a store.

    python reliability/loading.py --json

A store is loaded, and updated 20 times. Each update is killed at a random moment and
then run again until it ends. Every second update only adds rows, which are written
beside the others. Next to it, a store takes the same updates in peace. In the end both
must hold the same accounts, as they are known on each day, byte for byte: "lost" is an
account that lacks something, "doubled" one that has something more.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from random import Random

sys.path.insert(0, str(Path(__file__).parents[1]))

import pandas as pd

from benchmarks.bars import bar, report
from obligor.data.account import Account
from obligor.data.asof import known_account
from obligor.data.store import LedgerStore
from obligor.data.synthetic import Simulation, simulate_ledger, write_ledger
from obligor.errors import AsOfError
from reliability.running import ROOT, argument_parser

KILLS = 20
CUSTOMERS = 9_000  # three batches
MONTHS = 6
LONGEST_S = 600


def load(mapping: Path, store: Path) -> subprocess.Popen[bytes]:
    """Start `obligor load`."""
    return subprocess.Popen(
        [sys.executable, "-m", "obligor", "load", str(mapping), "--store", str(store)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def finish(mapping: Path, store: Path) -> float:
    """Load to the end; return the seconds it took."""
    start = time.monotonic()
    process = load(mapping, store)
    if process.wait(LONGEST_S) != 0:
        raise RuntimeError(f"obligor load ended with {process.returncode}")
    return time.monotonic() - start


def update_of(simulation: Simulation, number: int) -> Simulation:
    """Return an update: an even one with rows that are new, changed and the same.

    Parameters
    ----------
    simulation : Simulation
        What is loaded.
    number : int
        Of the update; an odd one has new rows only.

    Returns
    -------
    Simulation
        With the rows of the update only.
    """
    random = Random(number)
    ledger = simulation.ledger
    invoices = ledger["invoices"].sample(frac=0.2, random_state=number)
    changed = invoices.assign(amount=invoices["amount"] + random.randint(1, 9))
    paid = ledger["invoices"].sample(frac=0.2, random_state=1000 + number)
    day = pd.Timestamp(ledger.observed_until).as_unit("s")
    payments = pd.DataFrame(
        {
            "invoice_id": paid["invoice_id"],
            "amount": 1.0,
            "kind": "payment",
            "payment_id": f"U{number}-" + paid["invoice_id"],
            "paid_on": day,
            "known_on": day,
        }
    )
    same = ledger["payments"].sample(frac=0.2, random_state=number)
    tables = {"invoices": changed, "payments": pd.concat([payments, same])}
    if number % 2:
        new = invoices.assign(invoice_id=f"U{number}-" + invoices["invoice_id"])
        tables = {"invoices": new, "payments": payments}
    return replace(simulation, ledger=replace(ledger, tables=tables))


def images(store: Path, days: list[date]) -> Iterator[tuple[str, bytes]]:
    """Yield each customer with the account as it is known on some days."""
    ledger = LedgerStore(f"sqlite:///{store}/ledger.db")
    for customer_id in ledger.customer_ids(10**6):
        account = ledger.account(customer_id)
        yield customer_id, b"".join(known_image(account, day) for day in days)


def known_image(account: Account, day: date) -> bytes:
    """Return an account as it is known on a day, nothing before it begins."""
    try:
        return known_account(account, day).account.packed()
    except AsOfError:
        return b""


def run(folder: Path, n_kills: int, n_customers: int) -> list[dict[str, object]]:
    """Update and kill.

    Parameters
    ----------
    folder : Path
        An empty folder.
    n_kills : int
        How many updates are killed.
    n_customers : int
        Of the ledger.

    Returns
    -------
    list of dict
        The bars.
    """
    random = Random(0)
    simulation = simulate_ledger(n_customers, MONTHS, seed=4)
    write_ledger(simulation, folder / "first")
    killed = folder / "killed"
    calm = folder / "calm"
    finish(folder / "first" / "mapping.toml", calm)
    shutil.copytree(calm, killed)
    n_hit = 0
    longest_s = 0.0
    for number in range(n_kills):
        write_ledger(update_of(simulation, number), folder / "update")
        mapping = folder / "update" / "mapping.toml"
        calm_s = finish(mapping, calm)
        longest_s = max(longest_s, calm_s)
        process = load(mapping, killed)
        # Not of the longest: one slow update would let all later ones end in time.
        time.sleep(random.uniform(0.1, 0.8) * calm_s)
        n_hit += process.poll() is None
        process.kill()
        process.wait()
        finish(mapping, killed)
    last = simulation.ledger.observed_until
    today = date.today()
    days = [last - timedelta(days=60), last, today]
    expected = dict(images(calm, days))
    actual = dict(images(killed, days))
    n_lost = len(expected.keys() - actual.keys())
    n_other = sum(actual.get(key) != image for key, image in expected.items())
    print(
        f"{n_hit} of {n_kills} updates were killed; the longest took {longest_s:.1f} s"
    )
    return [
        bar("updates killed", n_hit, n_kills // 2, n_hit >= n_kills // 2),
        bar("customers lost", n_lost, 0, n_lost == 0),
        bar("accounts that differ", n_other, 0, n_other == 0),
    ]


def main() -> None:
    """Kill, then compare the store with one that was left in peace."""
    parser: argparse.ArgumentParser = argument_parser(__doc__)
    parser.add_argument("--kills", type=int, default=KILLS)
    parser.add_argument("--customers", type=int, default=CUSTOMERS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="loading") as name:
        bars = run(Path(name), options.kills, options.customers)
        report(bars, options.json)


if __name__ == "__main__":
    main()
