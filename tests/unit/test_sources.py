"""Reading the same ledger from CSV, Parquet, Excel and SQL; and mappings that are wrong."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pandas as pd
import pytest
import sqlalchemy

from obligor.data.sources import read_ledger
from obligor.errors import InputError, SchemaError
from tests.conftest import shared

TODAY = date(2026, 1, 1)
ITEMS = pd.DataFrame(
    {
        "Doc": ["1", "2", "3"],
        "Cust": ["A", "A", "B"],
        "Due": pd.to_datetime(["2024-02-10", "2024-03-10", "2024-03-15"]),
        "Paid": pd.to_datetime(["2024-02-12", None, "2024-03-01"]),
        "Amount": [10.5, 20.25, 30.0],
    }
)
MAPPING = """
currency = "EUR"
[invoices]
{source}
[invoices.columns]
invoice_id = "Doc"
customer_id = "Cust"
issued_on = {{ column = "Due", plus_days = -30 }}
due_on = "Due"
amount = "Amount"
currency = {{ constant = "EUR" }}
[payments]
{source}
where_present = "Paid"
[payments.columns]
invoice_id = "Doc"
paid_on = "Paid"
amount = "Amount"
"""


def sources(folder: Path) -> dict[str, str]:
    ITEMS.to_csv(folder / "items.csv", index=False)
    ITEMS.to_parquet(folder / "items.parquet")
    ITEMS.to_excel(folder / "items.xlsx", index=False, sheet_name="open items")
    engine = sqlalchemy.create_engine(f"sqlite:///{folder}/erp.db")
    ITEMS.to_sql("items", engine)
    engine.dispose()
    return {
        "csv": 'file = "items.csv"',
        "parquet": 'file = "items.parquet"',
        "excel": 'file = "items.xlsx"\nsheet = "open items"',
        "sql": 'url = "${ERP}"\nquery = "select * from items"',
    }


@pytest.mark.parametrize("kind", ["csv", "parquet", "excel", "sql"])
def test_every_kind_of_source_gives_the_same_ledger(tmp_path: Path, kind: str) -> None:
    mapping = tmp_path / "mapping.toml"
    mapping.write_text(MAPPING.format(source=sources(tmp_path)[kind]))
    ledger = read_ledger(
        mapping, today=TODAY, environment={"ERP": f"sqlite:///{tmp_path}/erp.db"}
    ).require()
    assert ledger["invoices"]["invoice_id"].tolist() == ["1", "2", "3"]
    assert ledger["invoices"]["issued_on"].dt.date.tolist() == [
        date(2024, 1, 11),
        date(2024, 2, 9),
        date(2024, 2, 14),
    ]
    assert ledger["payments"]["paid_on"].dt.date.tolist() == [
        date(2024, 2, 12),
        date(2024, 3, 1),
    ]
    assert ledger["payments"]["amount"].tolist() == [10.5, 30.0]
    assert ledger["customers"]["registered_on"].dt.date.tolist() == [
        date(2024, 1, 11),
        date(2024, 2, 14),
    ]


def test_known_on_is_never_before_the_event(tmp_path: Path) -> None:
    frame = ITEMS.assign(Known=pd.to_datetime("2024-02-01"))
    frame.to_csv(tmp_path / "items.csv", index=False)
    text = MAPPING.format(source='file = "items.csv"').replace(
        'paid_on = "Paid"', 'paid_on = "Paid"\nknown_on = "Known"'
    )
    (tmp_path / "mapping.toml").write_text(text)
    payments = read_ledger(tmp_path / "mapping.toml", today=TODAY).require()["payments"]
    assert payments["known_on"].tolist() == payments["paid_on"].tolist()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("currency = ", "cannot be read"),
        ('currency = "EURO"', "unknown currency 'EURO'"),
        ('currency = "EUR"\n[invoicez]\nfile = "x"', "unknown table 'invoicez'"),
        (
            'currency = "EUR"\n[invoices]\nfile = "items.csv"\n[invoices.columns]\nvalue = "Amount"',
            "unknown column 'value'",
        ),
        ('currency = "EUR"\n[invoices]\nsheet = 3', "'file' is missing"),
        ('currency = "EUR"\n[invoices]\nfile = "nowhere.csv"', "cannot be read"),
        ('currency = "EUR"\n[invoices]\nfile = "mapping.xlsx"', "cannot be read"),
        (
            'currency = "EUR"\n[invoices]\nurl = "sqlite:///x.db"\nquery = "select * from nothing"',
            "OperationalError",
        ),
    ],
)
def test_a_wrong_mapping_says_what_and_where(
    tmp_path: Path, text: str, told: str
) -> None:
    sources(tmp_path)
    (tmp_path / "mapping.xlsx").write_text("no workbook")
    (tmp_path / "mapping.toml").write_text(
        text.replace("sqlite:///", f"sqlite:///{tmp_path}/")
    )
    with pytest.raises(InputError, match=told):
        read_ledger(tmp_path / "mapping.toml", today=TODAY)


def test_a_missing_mapping_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SchemaError, match="cannot be read"):
        read_ledger(tmp_path / "none.toml", today=TODAY)


def test_an_error_of_the_driver_never_shows_the_url(tmp_path: Path) -> None:
    (tmp_path / "mapping.toml").write_text(
        'currency = "EUR"\n[invoices]\nurl = "sqlite:////nowhere/${P}/x"\nquery = "select 1"'
    )
    with pytest.raises(InputError) as told:
        read_ledger(tmp_path / "mapping.toml", today=TODAY, environment={"P": "s3cret"})
    assert "s3cret" not in str(told.value)


@pytest.mark.parametrize(
    ("name", "rows", "customers"), [("us_2019", 24741, 908), ("ibm_sample", 2466, 100)]
)
def test_the_shipped_mappings_read_the_real_files(
    name: str, rows: int, customers: int
) -> None:
    shared(f"receivables_{name}.csv")
    mapping = (
        Path(__file__).parents[2] / "data" / "samples" / f"receivables_{name}.toml"
    )
    ledger = read_ledger(mapping, today=TODAY).require()
    assert (len(ledger["invoices"]), len(ledger["customers"])) == (rows, customers)
