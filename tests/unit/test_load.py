"""`obligor load`: the first time, again, and with what changed."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import date
from pathlib import Path

import pytest
from typer.testing import Result

from obligor.data.asof import known_account
from obligor.data.open_items import open_balances
from obligor.data.store import LedgerStore
from obligor.errors import SchemaError
from obligor.reading import streaming
from tests.unit.test_cli import run

MAPPING = """
currency = "EUR"
exported_on = 2024-05-30
[invoices]
file = "invoices.csv"
[payments]
file = "payments.csv"
"""
INVOICES = """invoice_id,customer_id,issued_on,due_on,amount,currency
R1,ANNA,2024-01-10,2024-02-10,100,EUR
R2,ANNA,2024-02-10,2024-03-10,50,EUR
S1,BERT,2024-01-15,2024-02-15,70,EUR
"""
PAYMENTS = """payment_id,invoice_id,paid_on,amount
P1,R1,2024-02-09,40
"""


class Case:
    """A folder of source files, and the store they are loaded into."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = folder / "store"
        folder.mkdir(exist_ok=True)
        (folder / "mapping.toml").write_text(MAPPING, encoding="utf-8")
        (folder / "invoices.csv").write_text(INVOICES, encoding="utf-8")
        (folder / "payments.csv").write_text(PAYMENTS, encoding="utf-8")

    def load(self, *options: str, **files: str) -> Result:
        """Load, with other files first."""
        for name, text in files.items():
            (self.folder / f"{name}.csv").write_text(text, encoding="utf-8")
        mapping = str(self.folder / "mapping.toml")
        return run("load", mapping, "--store", str(self.store), *options)

    def ledger(self) -> LedgerStore:
        """Open the store."""
        return LedgerStore(f"sqlite:///{self.store}/ledger.db")


@pytest.fixture
def case(tmp_path: Path) -> Case:
    case = Case(tmp_path)
    assert case.load().exit_code == 0
    return case


def counts(result: Result, table: str) -> list[str]:
    """Return what is printed of a table: taken, same, changed, left out."""
    (line,) = [line for line in result.output.splitlines() if f"│ {table} " in line]
    return [cell.strip() for cell in line.split("│")[2:-1]]


def test_loading_again_changes_nothing(case: Case) -> None:
    again = case.load()
    assert again.exit_code == 0, again.output
    assert counts(again, "invoices") == ["0", "3", "0", "0"]
    assert counts(again, "payments") == ["0", "1", "0", "0"]
    assert "0 customers changed" in again.output


def test_an_update_counts_what_it_took(case: Case) -> None:
    result = case.load(
        invoices=INVOICES.replace(",70,", ",75,")
        + "S2,BERT,2024-03-15,2024-04-15,10,EUR\n",
        payments=PAYMENTS + "P2,S1,2024-03-01,20\n",
    )
    assert counts(result, "invoices") == ["1", "2", "1", "0"]
    assert counts(result, "payments") == ["1", "1", "0", "0"]
    assert "1 customer changed" in result.output
    assert "what is new or changed is known from" in result.output


def test_payments_alone_find_the_stored_invoices(case: Case) -> None:
    mapping = MAPPING.replace('[invoices]\nfile = "invoices.csv"\n', "")
    (case.folder / "mapping.toml").write_text(mapping, encoding="utf-8")
    good = "".join(f"P{row},R2,2024-03-01,1\n" for row in range(2, 32))
    result = case.load(payments=PAYMENTS + good + "P99,NOBODY,2024-03-01,0.7\n")
    assert result.exit_code == 0, result.output
    assert counts(result, "payments") == ["30", "1", "0", "1"]
    assert "left out of payments: 1 of 32 rows, 0.70 EUR" in result.output
    # Decisions repeat it until the table is loaded without a loss.
    assert list(case.ledger().left_out()) == ["payments"]
    case.load(payments=PAYMENTS + good)
    assert case.ledger().left_out() == {}


def test_rows_set_aside_are_remembered_until_they_are_right(case: Case) -> None:
    mapping = MAPPING.replace('[invoices]\nfile = "invoices.csv"\n', "")
    (case.folder / "mapping.toml").write_text(mapping, encoding="utf-8")
    good = "".join(f"P{row},R2,2024-03-01,1\n" for row in range(2, 32))
    case.load(payments=PAYMENTS + good + "P99,R2,2024-03-xx,0.10\n")
    assert case.ledger().account("ANNA").set_aside == 1
    assert case.ledger().account("BERT").set_aside == 0
    case.load(payments=PAYMENTS + good + "P99,R2,2024-03-01,0.10\n")
    assert case.ledger().account("ANNA").set_aside == 0


def test_replace_forgets_what_was_loaded(case: Case) -> None:
    without = "\n".join(INVOICES.splitlines()[:-1]) + "\n"
    result = case.load("--replace", invoices=without)
    assert "loaded 1 customers" in result.output
    assert case.ledger().customer_ids() == ["ANNA"]


def test_a_snapshot_names_what_it_ends(case: Case) -> None:
    without = "\n".join(INVOICES.splitlines()[:-1]) + "\n"
    result = case.load("--snapshot", invoices=without)
    assert "1 row of invoices not in the list any more: taken as paid" in result.output
    assert "70.00 EUR of invoices was open" in result.output


def test_a_snapshot_needs_a_ledger(tmp_path: Path) -> None:
    with pytest.raises(SchemaError, match="no ledger to compare the snapshot with"):
        Case(tmp_path).load("--snapshot")


def test_the_store_of_an_earlier_version_is_not_updated(case: Case) -> None:
    """It has accounts, but not the rows that they were built from."""
    with closing(sqlite3.connect(case.store / "ledger.db")) as database:
        database.execute("DELETE FROM facts")
        database.execute("DELETE FROM ledger_rows")
        database.commit()
    before = case.ledger().account("ANNA").packed()
    with pytest.raises(SchemaError, match="once with `obligor load --replace`"):
        case.load()
    assert case.ledger().account("ANNA").packed() == before
    assert case.load("--replace").exit_code == 0
    assert case.load().exit_code == 0


PARTS = """invoice_id,document_id,customer_id,issued_on,due_on,amount,currency
R1/1,R1,ANNA,2024-01-10,2024-02-10,60,EUR
R1/2,R1,ANNA,2024-01-10,2024-03-10,40,EUR
S1,,BERT,2024-01-15,2024-02-15,70,EUR
"""
ONLY_PAYMENTS = MAPPING.replace('[invoices]\nfile = "invoices.csv"\n', "")


@pytest.mark.parametrize("is_streamed", [False, True])
def test_an_update_finds_a_stored_document_as_a_first_load_does(
    is_streamed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if is_streamed:
        monkeypatch.setattr(streaming, "MOST_BYTES_IN_MEMORY", 0)
    at_once = Case(tmp_path)
    at_once.load(invoices=PARTS, payments=PAYMENTS + "P2,R1,2024-03-01,25\n")
    later = Case(tmp_path / "later")
    later.load(invoices=PARTS, payments=PAYMENTS)
    (later.folder / "mapping.toml").write_text(ONLY_PAYMENTS, encoding="utf-8")
    result = later.load(payments=PAYMENTS + "P2,R1,2024-03-01,25\n")
    assert counts(result, "payments") == ["1", "1", "0", "0"]
    for case in (at_once, later):
        account = case.ledger().account("ANNA")
        known = known_account(account, date.today()).account
        assert known.invoice_ids == ["R1/1", "R1/2"]
        assert open_balances(known).tolist() == [0, 3500]
