"""A killed update loses nothing and doubles nothing: run again, it goes on.

`reliability/loading.py` kills the command at random moments, 20 times.
"""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from obligor.data.store import LedgerStore
from obligor.data.synthetic import simulate_ledger
from reliability.running import ROOT

# Updates a store in batches of 5 customers, and kills itself in one of them.
PROGRAM = """
import os, signal, sys
from dataclasses import replace
from datetime import date
from obligor.data import loading
from obligor.data.ledger import Ledger
from obligor.data.row_building import nothing_set_aside
from obligor.data.row_store import RowStore
from obligor.data.store import LedgerStore
from obligor.data.synthetic import simulate_ledger

folder, moment, batch = sys.argv[1], sys.argv[2], int(sys.argv[3])
loading.CUSTOMERS_AT_ONCE = 5
tables = dict(simulate_ledger(30, 24, seed=1).ledger.tables)
invoices = tables["invoices"]
tables["invoices"] = invoices.assign(amount=invoices["amount"] + 1)
payments = tables["payments"].iloc[::3]
tables["payments"] = payments.assign(payment_id="new-" + payments["payment_id"])
n_written = 0
write = RowStore.write

def write_and_die(self, connection, rows, accounts):
    global n_written
    write(self, connection, rows, accounts)
    n_written += 1
    if moment == "within" and n_written == batch:
        os.kill(os.getpid(), signal.SIGKILL)

RowStore.write = write_and_die
n_done = 0

def die_between(n_rows, n_all):
    global n_done
    n_done += 1
    if moment == "between" and n_done == batch:
        os.kill(os.getpid(), signal.SIGKILL)

arrival = loading.Arrival(Ledger(tables, "EUR"), nothing_set_aside())
store = LedgerStore(f"sqlite:///{folder}/ledger.db")
loading.LedgerUpdate(store, date(2025, 1, 2), die_between).apply(arrival)
"""


def update(folder: Path, moment: str, batch: int) -> int:
    """Update the store of a folder in a process of its own; return its exit code."""
    words = [sys.executable, "-c", PROGRAM, str(folder), moment, str(batch)]
    return subprocess.run(words, cwd=ROOT, check=False).returncode


def images(folder: Path) -> dict[str, bytes]:
    """Return every account as it is stored."""
    with closing(sqlite3.connect(folder / "ledger.db")) as database:
        return dict(database.execute("SELECT customer_id, account FROM accounts"))


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Two stores with the same ledger."""
    ledger = simulate_ledger(30, 24, seed=1).ledger
    for name in ("calm", "killed"):
        (tmp_path / name).mkdir()
        LedgerStore(f"sqlite:///{tmp_path}/{name}/ledger.db").write(ledger)
    return tmp_path / "calm", tmp_path / "killed"


def test_a_killed_update_goes_on(folders: tuple[Path, Path]) -> None:
    calm, killed = folders
    before = images(killed)
    assert update(calm, "never", 0) == 0
    for moment, batch in (("within", 1), ("between", 1), ("within", 3), ("within", 2)):
        assert update(killed, moment, batch) == -signal.SIGKILL
    # Some customers were updated, others not, and each of them as a whole.
    partly = images(killed)
    after = images(calm)
    assert before != partly != after
    for customer_id, image in partly.items():
        assert image in (before[customer_id], after[customer_id])
    assert update(killed, "never", 0) == 0
    assert images(killed) == after
    assert update(killed, "never", 0) == 0
    assert images(killed) == after
