"""The ready mappings of known systems, on small exports made by hand.

The expected balances are worked out on paper from the rows in `tests/systems`.
"""

from __future__ import annotations

import re
import shutil
from datetime import date
from pathlib import Path

import pandas as pd
import pytest
import sqlalchemy
from typer.testing import CliRunner

from obligor.cli.app import app
from obligor.connectors.systems import system_names, system_text
from obligor.data.ledger import Ledger
from obligor.errors import SchemaError
from obligor.reading.mapping import read_mapping
from obligor.reading.sources import read_ledger
from tests.books import open_amounts

SAMPLES = Path(__file__).parents[1] / "systems"
TODAY = date(2024, 12, 31)
BALANCES = {
    # 2024/0090000003 is paid in part by a payment that names it, 50 of 70 are credited.
    "sap": {
        "1000/2024/0090000002/001": 500,
        "1000/2024/0090000003/001": 500,
        "1000/2024/0090000004/001": 20,
    },
    # The open payment of 300 is on account; 190 + 1,000 cleared 1,190.
    "sap-fbl5n": {"1000/2024/90000002/1": 200},
    # Of 1,500 are 1,200 settled; the other 300 pay the oldest item. A credit of 80.
    "dynamics": {"5002": 200, "5005": 120},
    # 500 - 250 - 100 (credit memo) - 30 (unapplied); 90 - 25 (credit memo).
    "quickbooks": {"131": 120, "132": 65},
    # 250 - 20 - 100 (credit note); 60 - 10 - 15.
    "xero": {"a2": 130, "a5": 35},
}


def read_sample(name: str, folder: Path) -> Ledger:
    """Return the ledger of a sample through the mapping of its system."""
    shutil.copytree(SAMPLES / name, folder, dirs_exist_ok=True)
    mapping = folder / "mapping.toml"
    mapping.write_text(system_text(name), encoding="utf-8")
    return read_ledger(mapping, today=TODAY).require()


@pytest.mark.parametrize("name", sorted(BALANCES))
def test_the_balances_are_those_of_the_books(tmp_path: Path, name: str) -> None:
    assert open_amounts(read_sample(name, tmp_path), TODAY) == BALANCES[name]


def test_an_item_of_sap_is_due_after_its_net_terms(tmp_path: Path) -> None:
    """ZBD2T counts before ZBD1T, which is the discount then; it is known on CPUDT."""
    invoices = read_sample("sap", tmp_path)["invoices"].set_index("invoice_id")
    rows = invoices.loc[["1000/2024/0090000002/001", "1000/2024/0090000003/001"]]
    assert [f"{day:%m-%d}" for day in rows["due_on"]] == ["02-24", "03-02"]
    assert [f"{day:%m-%d}" for day in rows["known_on"]] == ["01-26", "02-01"]
    assert rows["document_id"].tolist()[0] == "1000/2024/0090000002"


def test_the_day_before_the_clearing_the_item_of_sap_is_open(tmp_path: Path) -> None:
    """The same number of the year before is another item, paid long ago."""
    ledger = read_sample("sap", tmp_path)
    assert open_amounts(ledger, date(2024, 2, 19))["1000/2024/0090000001/001"] == 1190
    assert "1000/2024/0090000001/001" not in open_amounts(ledger, date(2024, 2, 20))
    assert open_amounts(ledger, date(2023, 2, 1)) == {"1000/2023/0090000002/001": 600}


# --- systems that are read by queries: here from SQLite


def mapping_at(url: str, name: str, folder: Path) -> Path:
    """Write the mapping of a system, with the URL of a database in place of its own."""
    text = re.sub(r'(?m)^url = ".*"$', f'url = "{url}"', system_text(name))
    mapping = folder / "mapping.toml"
    mapping.write_text(text, encoding="utf-8")
    return mapping


def write_database(url: str, name: str) -> None:
    """Write the tables of a sample, with columns of dates and of time stamps."""
    engine = sqlalchemy.create_engine(url)
    for file in sorted((SAMPLES / name).glob("*.csv")):
        frame = pd.read_csv(file)
        for column in frame:
            if "date" in column or column == "creation":
                frame[column] = pd.to_datetime(frame[column])
        frame.to_sql(file.stem, engine, index=False)
    engine.dispose()


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/erp.db"
    return str(request.getfixturevalue("postgres"))


def test_odoo(url: str, tmp_path: Path) -> None:
    """An invoice in two parts, 700 and 490. Of 750 are 700 on the first; 50 are on
    account and pay the other one, of which 90 are credited.
    """
    write_database(url, "odoo")
    mapping = mapping_at(url, "odoo", tmp_path)
    ledger = read_ledger(mapping, today=TODAY).require()
    assert open_amounts(ledger, date(2024, 2, 20)) == {"100": 610, "101": 490}
    assert open_amounts(ledger, date(2024, 2, 21)) == {"101": 350}
    assert open_amounts(ledger, TODAY) == {"101": 350}
    assert ledger["customers"]["customer_id"].tolist() == ["7"]
    assert set(ledger["invoices"]["document_id"]) == {"INV/2024/00001"}


def test_erpnext(tmp_path: Path) -> None:
    """200 of the 900 came back by a journal entry; 30 on account pay the oldest.

    SQLite takes the names in the quotation marks of MariaDB.
    """
    url = f"sqlite:///{tmp_path}/erp.db"
    write_database(url, "erpnext")
    mapping = mapping_at(url, "erpnext", tmp_path)
    ledger = read_ledger(mapping, today=TODAY).require()
    first = "Sales Invoice/SINV-1"
    second = "Sales Invoice/SINV-2"
    assert open_amounts(ledger, date(2024, 2, 20)) == {first: 100, second: 400}
    assert open_amounts(ledger, date(2024, 2, 25)) == {first: 70, second: 250}
    assert open_amounts(ledger, TODAY) == {first: 270, second: 250}


def test_the_driver_of_erpnext_is_the_extra(tmp_path: Path) -> None:
    """SQLAlchemy makes an engine of the URL: the driver that it names is installed."""
    engine = sqlalchemy.create_engine("mysql+pymysql://reader@localhost/erpnext")
    assert engine.dialect.driver == "pymysql"


# --- the command


def test_the_mapping_of_a_system_is_written(tmp_path: Path) -> None:
    output = tmp_path / "mapping.toml"
    result = CliRunner().invoke(
        app, ["map", "--system", "odoo", "--output", str(output)]
    )
    assert result.exit_code == 0
    assert output.read_text(encoding="utf-8") == system_text("odoo")


def test_the_mapping_of_a_system_takes_the_currency(tmp_path: Path) -> None:
    output = tmp_path / "mapping.toml"
    command = ["map", "--system", "xero", "--currency", "NZD", "--output", str(output)]
    assert CliRunner().invoke(app, command).exit_code == 0
    assert read_mapping(output).currency == "NZD"


def test_files_and_a_system_are_refused(tmp_path: Path) -> None:
    command = ["map", "list.csv", "--system", "xero", "--output", str(tmp_path / "m")]
    result = CliRunner().invoke(app, command)
    assert "files and --system are both there" in str(result.exception)
    assert not (tmp_path / "m").exists()


def test_the_systems_are_listed() -> None:
    result = CliRunner().invoke(app, ["map", "--system", "list"])
    assert [line.split()[0] for line in result.output.splitlines() if line.strip()] == [
        *system_names()
    ]
    assert set(system_names()) == {*BALANCES, "odoo", "erpnext"}


def test_an_unknown_system_names_the_known_ones() -> None:
    with pytest.raises(SchemaError, match="no mapping for 'sage'; expected one of"):
        system_text("sage")
