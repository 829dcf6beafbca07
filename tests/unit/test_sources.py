"""Reading the same ledger from CSV, Parquet, Excel and SQL; wrong mappings."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pandas as pd
import pytest
import sqlalchemy

from obligor.errors import InputError, SchemaError
from obligor.reading.sources import read_ledger
from tests.ascii import spec
from tests.books import open_amounts
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


def write_sources(folder: Path) -> dict[str, str]:
    """Write the same items in each kind of source; return the lines of a mapping."""
    ITEMS.to_csv(folder / "items.csv", index=False)
    ITEMS.to_parquet(folder / "items.parquet")
    ITEMS.to_excel(
        folder / "items.xlsx",
        index=False,
        sheet_name="open items",
    )
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
    mapping.write_text(MAPPING.format(source=write_sources(tmp_path)[kind]))
    environment = {"ERP": f"sqlite:///{tmp_path}/erp.db"}
    check = read_ledger(
        mapping,
        today=TODAY,
        environment=environment,
    )
    ledger = check.require()
    spec(
        ledger["invoices"],
        """
        invoice_id | issued_on
        1          | 2024-01-11
        2          | 2024-02-09
        3          | 2024-02-14
        """,
    )
    spec(
        ledger["payments"],
        """
        paid_on    | amount
        2024-02-12 | 10.5
        2024-03-01 | 30.0
        """,
    )
    spec(
        ledger["customers"],
        """
        registered_on
        2024-01-11
        2024-02-14
        """,
    )


def test_known_on_is_never_before_the_event(tmp_path: Path) -> None:
    frame = ITEMS.assign(Known=pd.to_datetime("2024-02-01"))
    frame.to_csv(tmp_path / "items.csv", index=False)
    text = MAPPING.format(source='file = "items.csv"')
    text = text.replace('paid_on = "Paid"', 'paid_on = "Paid"\nknown_on = "Known"')
    mapping = tmp_path / "mapping.toml"
    mapping.write_text(text)
    payments = read_ledger(mapping, today=TODAY).require()["payments"]
    assert payments["known_on"].tolist() == payments["paid_on"].tolist()


INVOICES = 'currency = "EUR"\n[invoices]\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("currency = ", "the mapping cannot be read"),
        ('currency = "EURO"', "unknown currency 'EURO'"),
        ('currency = "EUR"\n[invoicez]\nfile = "x"', "unknown table 'invoicez'"),
        (
            INVOICES + 'file = "items.csv"\n[invoices.columns]\nvalue = "Amount"',
            "unknown column 'value'",
        ),
        (INVOICES + "sheet = 3", "'file' is missing"),
        (INVOICES + 'file = "nowhere.csv"', "the source cannot be read"),
        (INVOICES + 'file = "mapping.xlsx"', "the source cannot be read"),
        (
            INVOICES + 'url = "sqlite:///x.db"\nquery = "select * from nothing"',
            "OperationalError",
        ),
    ],
    ids=[
        "not TOML",
        "unknown currency",
        "unknown table",
        "unknown column",
        "neither file nor url",
        "missing file",
        "not a workbook",
        "failed query",
    ],
)
def test_the_error_of_a_wrong_mapping_names_the_fault(
    tmp_path: Path,
    text: str,
    message: str,
) -> None:
    write_sources(tmp_path)
    (tmp_path / "mapping.xlsx").write_text("not a workbook")
    mapping = tmp_path / "mapping.toml"
    mapping.write_text(text.replace("sqlite:///", f"sqlite:///{tmp_path}/"))
    with pytest.raises(InputError, match=message):
        read_ledger(mapping, today=TODAY)


def test_a_missing_mapping_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SchemaError, match="the mapping cannot be read"):
        read_ledger(tmp_path / "none.toml", today=TODAY)


def test_an_error_of_the_driver_never_contains_the_url(tmp_path: Path) -> None:
    mapping = tmp_path / "mapping.toml"
    url = 'url = "sqlite:////nowhere/${P}/x"\nquery = "select 1"'
    mapping.write_text(INVOICES + url)
    with pytest.raises(InputError) as error:
        read_ledger(
            mapping,
            today=TODAY,
            environment={"P": "s3cret"},
        )
    assert "s3cret" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "n_invoices", "n_customers"),
    [("us_2019", 24741, 908), ("ibm_sample", 2466, 100)],
)
def test_the_shipped_mappings_read_the_real_files(
    name: str,
    n_invoices: int,
    n_customers: int,
) -> None:
    shared(f"receivables_{name}.csv")
    samples = Path(__file__).parents[2] / "data" / "samples"
    mapping = samples / f"receivables_{name}.toml"
    ledger = read_ledger(mapping, today=TODAY).require()
    assert len(ledger["invoices"]) == n_invoices
    assert len(ledger["customers"]) == n_customers


PAYMENT_KINDS = """
currency = "EUR"
[invoices]
file = "invoices.csv"
[payments]
file = "payments.csv"
[payments.columns.kind]
column = "Art"
"""
KIND_VALUES = 'values = { Zahlung = "payment", "Gutschrift " = "credit_note" }'


def kinds_of(folder: Path, kinds: str, values: str = "") -> dict[str, object]:
    """Return our kinds of the payments that are used, one for each source kind."""
    lines = ["invoice_id,customer_id,issued_on,due_on,amount,currency"]
    payments = ["payment_id,invoice_id,paid_on,amount,Art"]
    for number, kind in enumerate(kinds.split("; ")):
        lines.append(f"{number},A,2024-01-01,2024-02-01,100,EUR")
        payments.append(f"P{number},{number},2024-02-01,100,{kind}")
    (folder / "invoices.csv").write_text("\n".join(lines), encoding="utf-8")
    (folder / "payments.csv").write_text("\n".join(payments), encoding="utf-8")
    mapping = folder / "mapping.toml"
    mapping.write_text(PAYMENT_KINDS + values, encoding="utf-8")
    check = read_ledger(mapping, today=TODAY)
    return {"ours": "; ".join(check.ledger["payments"]["kind"]) or None}


def test_the_kind_of_a_payment_is_read_by_its_value(tmp_path: Path) -> None:
    expected = """
        kinds               | values | ours
        zahlung; GUTSCHRIFT | yes    | payment; credit_note
        Payment; Zahlung    | yes    | payment; payment
        Credit Note         | -      | credit_note
        Zahlung; Storno     | yes    | payment
        Zahlung             | -      | -
    """

    def answer(kinds: str, values: bool | None) -> dict[str, object]:
        return kinds_of(tmp_path, kinds, KIND_VALUES if values else "")

    spec(answer, expected)


def test_a_kind_without_a_meaning_names_the_choices(tmp_path: Path) -> None:
    kinds_of(tmp_path, "Storno")
    check = read_ledger(tmp_path / "mapping.toml", today=TODAY)
    (finding,) = [item for item in check.findings if item.column == "kind"]
    assert (finding.level, finding.line) == ("quarantine", "line 2")
    assert "payment, credit_note, returned, refund" in finding.expected


@pytest.mark.parametrize("policy", ["oldest_first", "as_allocated"])
def test_the_policy_for_unapplied_money_is_read(tmp_path: Path, policy: str) -> None:
    """By it, 30 on account pay the invoice or stay the customer's."""
    (tmp_path / "invoices.csv").write_text(
        "invoice_id,customer_id,issued_on,due_on,amount,currency\n"
        "1,A,2024-01-01,2024-02-01,100,EUR\n"
    )
    (tmp_path / "payments.csv").write_text(
        "payment_id,customer_id,paid_on,amount\n1,A,2024-01-05,30\n"
    )
    mapping = tmp_path / "mapping.toml"
    mapping.write_text(
        f'currency = "EUR"\nunapplied = "{policy}"\n'
        '[invoices]\nfile = "invoices.csv"\n[payments]\nfile = "payments.csv"\n'
    )
    ledger = read_ledger(mapping, today=TODAY).require()
    expected = {"1": 70} if policy == "oldest_first" else {"1": 100, "A": -30}
    assert open_amounts(ledger, TODAY) == expected


def test_a_customer_without_a_day_is_known_from_the_first_invoice(
    tmp_path: Path,
) -> None:
    """One without an invoice is known from the last day of the list on."""
    (tmp_path / "invoices.csv").write_text(
        "invoice_id,customer_id,issued_on,due_on,amount,currency\n"
        "1,A,2024-01-01,2024-02-01,100,EUR\n2,A,2024-03-01,2024-04-01,100,EUR\n"
    )
    (tmp_path / "customers.csv").write_text("customer_id,name\nA,Anna\nB,Bruno\n")
    mapping = tmp_path / "mapping.toml"
    mapping.write_text(
        'currency = "EUR"\n[customers]\nfile = "customers.csv"\n'
        '[invoices]\nfile = "invoices.csv"\n'
    )
    ledger = read_ledger(mapping, today=TODAY).require()
    spec(
        ledger["customers"],
        """
        customer_id | name  | registered_on | known_on
        A           | Anna  | 2024-01-01    | 2024-01-01
        B           | Bruno | 2024-03-01    | 2024-03-01
        """,
    )


def test_the_first_of_several_terms_counts(tmp_path: Path) -> None:
    (tmp_path / "invoices.csv").write_text(
        "invoice_id,customer_id,issued_on,amount,currency,net,second,first\n"
        "1,A,2024-01-01,100,EUR,60,30,14\n2,A,2024-01-01,100,EUR,0,30,14\n"
        "3,A,2024-01-01,100,EUR,,,14\n4,A,2024-01-01,100,EUR,0,0,0\n"
    )
    mapping = tmp_path / "mapping.toml"
    rule = '{ column = "issued_on", plus_days = ["net", "second", "first"] }'
    mapping.write_text(
        'currency = "EUR"\n[invoices]\nfile = "invoices.csv"\n'
        f"[invoices.columns]\ndue_on = {rule}\n"
    )
    ledger = read_ledger(mapping, today=TODAY).require()
    spec(
        ledger["invoices"],
        """
        invoice_id | due_on
        1          | 2024-03-01
        2          | 2024-01-31
        3          | 2024-01-15
        4          | 2024-01-01
        """,
    )
