"""A ledger that is loaded in parts is the ledger that is loaded as a whole."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from obligor.data.store import LedgerStore
from obligor.data.synthetic import simulate_ledger, write_ledger
from obligor.errors import InputError, SchemaError
from obligor.reading import files, streaming
from obligor.reading.mapping import read_mapping
from tests.unit.test_cli import run

CUSTOMERS = 60


@pytest.fixture(autouse=True)
def small_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have every file be too large, and its parts be small."""
    monkeypatch.setattr(streaming, "MOST_BYTES_IN_MEMORY", 0)
    monkeypatch.setattr(files, "ROWS_AT_ONCE", 500)


def images(store: Path) -> dict[str, bytes]:
    """Return every account of a store, bit for bit."""
    ledger = LedgerStore(f"sqlite:///{store}/ledger.db")
    return {
        customer_id: ledger.account(customer_id).packed()
        for customer_id in ledger.customer_ids(10_000)
    }


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A folder of source files, with one bad payment and one of a stranger."""
    simulation = simulate_ledger(CUSTOMERS, 24, seed=2)
    ledger = simulation.ledger
    payments = ledger["payments"].copy()
    payments.loc[payments.index[3], "invoice_id"] = "NOBODY"
    tables = {**ledger.tables, "payments": payments}
    folder = tmp_path / "source"
    write_ledger(replace(simulation, ledger=replace(ledger, tables=tables)), folder)
    return folder


def load(mapping: Path, store: Path, *options: str) -> str:
    result = run("load", str(mapping), "--store", str(store), *options)
    assert result.exit_code == 0, result.output
    return result.output


def test_parts_give_the_same_accounts(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mapping = source / "mapping.toml"
    in_parts = load(mapping, tmp_path / "parts")
    assert f"loaded {CUSTOMERS} customers" in in_parts
    assert "left out of payments: 1 of " in in_parts
    assert list((tmp_path / "parts").glob("loading-*")) == []
    monkeypatch.setattr(streaming, "MOST_BYTES_IN_MEMORY", 10**9)
    whole = load(mapping, tmp_path / "whole")
    assert "left out of payments: 1 of " in whole
    assert images(tmp_path / "parts") == images(tmp_path / "whole")
    # The rows were stored, too: nothing has changed.
    assert "0 customers changed" in load(mapping, tmp_path / "parts")


def test_an_update_in_parts_is_an_update(source: Path, tmp_path: Path) -> None:
    mapping = source / "mapping.toml"
    load(mapping, tmp_path / "store")
    assert "0 customers changed" in load(mapping, tmp_path / "store")
    invoices = pd.read_csv(source / "invoices.csv")
    invoices.loc[invoices.index[::100], "amount"] += 1
    invoices.to_csv(source / "invoices.csv", index=False)
    output = load(mapping, tmp_path / "store")
    (line,) = [line for line in output.splitlines() if "│ invoices " in line]
    n_changed = len(invoices.index[::100])
    assert [cell.strip() for cell in line.split("│")[2:-1]] == [
        "0",
        f"{len(invoices) - n_changed:,}",
        str(n_changed),
        "0",
    ]


def test_a_refused_ledger_leaves_the_stored_one(source: Path, tmp_path: Path) -> None:
    mapping = source / "mapping.toml"
    load(mapping, tmp_path / "store")
    before = images(tmp_path / "store")
    payments = pd.read_csv(source / "payments.csv")
    payments.loc[payments.index[::5], "invoice_id"] = "NOBODY"
    payments.to_csv(source / "payments.csv", index=False)
    with pytest.raises(SchemaError, match=r"rows are bad \(20%\)"):
        load(mapping, tmp_path / "store", "--replace")
    assert images(tmp_path / "store") == before
    assert list((tmp_path / "store").glob("loading-*")) == []


def test_an_id_of_two_customers_is_nobodys(source: Path, tmp_path: Path) -> None:
    invoices = pd.read_csv(source / "invoices.csv")
    last = invoices.index[-1]
    first_id = invoices.loc[0, "invoice_id"]
    assert invoices.loc[last, "customer_id"] != invoices.loc[0, "customer_id"]
    invoices.loc[last, "invoice_id"] = first_id
    invoices.to_csv(source / "invoices.csv", index=False)
    output = load(source / "mapping.toml", tmp_path / "store")
    assert "left out of invoices: 2 of " in output


def test_parts_that_are_read_differently_are_refused(
    source: Path, tmp_path: Path
) -> None:
    mapping = source / "mapping.toml"
    text = mapping.read_text(encoding="utf-8")
    plain = text.replace('date_format = "%Y-%m-%d"\n', "")
    mapping.write_text(plain, encoding="utf-8")
    payments = pd.read_csv(source / "payments.csv")
    days = pd.to_datetime(payments["paid_on"])
    is_late = payments.index >= len(payments) // 2
    payments["paid_on"] = days.dt.strftime("%d/%m/%Y").where(
        ~is_late, days.dt.strftime("%m/%d/%Y")
    )
    payments.drop(columns="known_on").to_csv(source / "payments.csv", index=False)
    with pytest.raises(SchemaError, match=r"\[payments\] paid_on"):
        load(mapping, tmp_path / "store")


def test_queries_are_read_in_parts(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (source / "mapping.toml").read_text(encoding="utf-8")
    with closing(sqlite3.connect(tmp_path / "erp.db")) as database:
        for path in source.glob("*.csv"):
            pd.read_csv(path, dtype="str").to_sql(path.stem, database, index=False)
            old = f'file = "{path.name}"'
            assert old in text
            query = f'url = "${{ERP}}"\nquery = "SELECT * FROM {path.stem};"'
            text = text.replace(old, query)
    mapping = tmp_path / "mapping.toml"
    mapping.write_text(text, encoding="utf-8")
    monkeypatch.setenv("ERP", f"sqlite:///{tmp_path}/erp.db")
    # As large as 2,000 rows and more, of which each counts as 80 bytes.
    monkeypatch.setattr(streaming, "MOST_BYTES_IN_MEMORY", 160_000)
    n_parts = len(list(read_parts_of(mapping, tmp_path)))
    assert n_parts > 1
    in_parts = load(mapping, tmp_path / "parts")
    assert "left out of payments: 1 of " in in_parts
    load(source / "mapping.toml", tmp_path / "files")
    assert images(tmp_path / "parts") == images(tmp_path / "files")
    assert "0 customers changed" in load(mapping, tmp_path / "parts")


def read_parts_of(mapping: Path, folder: Path) -> Iterator[files.RawTable]:
    """Read the payments of a mapping in parts."""
    (payments,) = read_mapping(mapping).tables["payments"]
    environment = {"ERP": f"sqlite:///{folder}/erp.db"}
    assert streaming.is_large(mapping, environment)
    return files.read_parts(payments.source, "payments", folder, environment)


def test_a_query_that_cannot_be_counted_is_named(tmp_path: Path) -> None:
    mapping = tmp_path / "mapping.toml"
    source = 'url = "sqlite://"\nquery = "SELECT nothing FROM nowhere"'
    mapping.write_text(f'currency = "EUR"\n[invoices]\n{source}\n', encoding="utf-8")
    with pytest.raises(InputError, match=r"\[invoices\]: the source cannot be read"):
        load(mapping, tmp_path / "store")
