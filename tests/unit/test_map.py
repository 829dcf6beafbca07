"""`obligor map`: what is guessed from headings, and what the ledger then holds.

Every list is one that a program exports; balances are worked out by hand.
"""

from __future__ import annotations

import tomllib
from datetime import date
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from obligor.cli.app import app
from obligor.connectors.headings import NAMES, meanings
from obligor.data.ledger import Ledger
from obligor.reading.sources import read_ledger
from tests.books import open_amounts
from tests.document_samples import Movement, camt, cii, mt940, pdf, ubl

TODAY = date(2024, 12, 31)
RUNNER = CliRunner()


def run(*arguments: str | Path) -> tuple[int, str]:
    """Run `obligor map`; return its exit code, and its output on one line."""
    result = RUNNER.invoke(app, ["map", *map(str, arguments)])
    error = f"{result.exception}" if result.exception else ""
    return result.exit_code, " ".join((result.output + error).split())


def mapped(folder: Path, *names: str, currency: str = "") -> tuple[Ledger, str]:
    """Map some files of a folder; return the ledger, and what was printed."""
    mapping = folder / "mapping.toml"
    options = ["--currency", currency] if currency else []
    files = [folder / name for name in names]
    code, output = run(*files, "--output", mapping, *options)
    assert code == 0, output
    return read_ledger(mapping, today=TODAY).require(), output


GERMAN = """Offene-Posten-Liste
Mandant: 4711;Stand 31.12.2024

Kundennummer;Name;Rechnungsnummer;Rechnungsdatum;Fälligkeit;Betrag;Offen;Währung
10001;Müller GmbH;R-100;01.10.2024;31.10.2024;1.190,00;1.190,00;EUR
10001;Müller GmbH;R-101;05.11.2024;05.12.2024;2.380,00;1.000,00;EUR
10002;Groß & Co;R-102;07.11.2024;07.12.2024;595,50;595,50;EUR
Summe;;;;;4.165,50;2.785,50;
"""


def test_a_german_list_of_open_items(tmp_path: Path) -> None:
    """Of what is open no payment says when the rest was paid."""
    (tmp_path / "op.csv").write_bytes(GERMAN.encode("cp1252"))
    ledger, output = mapped(tmp_path, "op.csv")
    assert open_amounts(ledger, TODAY) == {"R-100": 1190, "R-101": 1000, "R-102": 595.5}
    for text in (
        "the text is read as cp1252",
        "the separator is ';'",
        "the header is line 4",
        'invoices.amount = "Offen": a known German heading',
        "not used: Name",
        "'1.190,00' proves it",
        "'01.10.2024' can be day/month/year or month/day/year; %d.%m.%Y is guessed",
        "a list of open items is enough for exposure and ageing, not for training",
        "exported_on: state the day on which the files were written",
    ):
        assert text in output


CHINESE = """客户编号,客户名称,发票号,开票日期,到期日,价税合计,币种,收款日期,收款金额
C001,北京甲公司,FP1001,2024/10/01,2024/10/31,"11,300.00",CNY,2024/11/05,"11,300.00"
C001,北京甲公司,FP1002,2024/10/05,2024/11/04,5650.00,CNY,,
"""


def test_a_chinese_list_of_paid_and_open_items(tmp_path: Path) -> None:
    (tmp_path / "items.csv").write_bytes(CHINESE.encode("gbk"))
    ledger, output = mapped(tmp_path, "items.csv")
    assert open_amounts(ledger, date(2024, 11, 4)) == {"FP1001": 11300, "FP1002": 5650}
    assert open_amounts(ledger, date(2024, 11, 5)) == {"FP1002": 5650}
    assert "the text is read as gb18030" in output
    assert "an item with a 收款日期 is taken to be paid on that day" in output


FBL5N = """\
Customer;Document Number;Document Type;Document Date;Net due date;\
Debit/Credit Ind.;Amount in doc. curr.;Document currency;Clearing date
100045;1800000001;RV;15.01.2024;14.02.2024;S;1.190,00;EUR;20.02.2024
100045;1800000002;RV;25.01.2024;24.02.2024;S;500,00;EUR;
100045;1400000009;DZ;01.03.2024;01.03.2024;H;300,00-;EUR;
100045;1600000003;DG;02.02.2024;02.02.2024;H;100,00-;EUR;20.02.2024
"""


def test_a_list_of_cleared_and_open_items_of_sap(tmp_path: Path) -> None:
    """The clearing of the debit has the credit in it; an open credit is money."""
    (tmp_path / "fbl5n.csv").write_text(FBL5N)
    ledger, _ = mapped(tmp_path, "fbl5n.csv")
    day_before = open_amounts(ledger, date(2024, 2, 19))
    assert day_before == {"1800000001": 1190, "1800000002": 500}
    assert open_amounts(ledger, date(2024, 2, 29)) == {"1800000002": 500}
    assert open_amounts(ledger, TODAY) == {"1800000002": 200}


QUICKBOOKS = """Date,Transaction Type,Num,Customer,Due Date,Amount
01/15/2024,Invoice,1001,Amy's Bird Sanctuary,02/14/2024,"1,200.00"
02/20/2024,Payment,,Amy's Bird Sanctuary,,"-1,000.00"
02/01/2024,Invoice,1002,Cool Cars,03/02/2024,500.00
02/11/2024,Credit Memo,CM1,Cool Cars,,-100.00
"""


def test_a_list_of_transactions_of_quickbooks(tmp_path: Path) -> None:
    """Payments have the other sign, and no column says which invoice they pay."""
    (tmp_path / "list.csv").write_text(QUICKBOOKS)
    ledger, output = mapped(tmp_path, "list.csv", currency="USD")
    assert open_amounts(ledger, TODAY) == {"1001": 200, "1002": 400}
    assert set(ledger["payments"]["kind"]) == {"payment", "credit_note"}
    assert "no column says which invoice they pay" in output


XERO = """\
ContactName,InvoiceNumber,InvoiceDate,DueDate,Total,AmountPaid,Currency,Status,\
FullyPaidOnDate
Basket Case,INV-001,15 Jan 2024,14 Feb 2024,1000.00,1000.00,GBP,PAID,20 Feb 2024
City Limousines,INV-002,15 Jan 2024,14 Feb 2024,250.00,50.00,GBP,AUTHORISED,
City Limousines,INV-003,15 Jan 2024,14 Feb 2024,250.00,0.00,GBP,VOIDED,
"""


def test_a_list_of_xero(tmp_path: Path) -> None:
    """A part that is paid without a day is said; rows that are void are left out."""
    (tmp_path / "xero.csv").write_text(XERO)
    ledger, output = mapped(tmp_path, "xero.csv")
    assert open_amounts(ledger, TODAY) == {"INV-002": 250}
    assert "1 items are paid in part, without a day" in output
    assert "only a name is there; is it unique?" in output
    assert "Status not in ('VOIDED')" in output


DATEV = """\
Konto;Kontobezeichnung;Rechnungsnr.;Rechnungsdatum;Fälligkeit;Soll;Haben;Saldo
10001;Anna GmbH;4711;15.01.2024;14.02.2024;1.000,00 €;;1.000,00 €
10001;Anna GmbH;4711;20.02.2024;;;400,00 €;600,00 €
10002;Bruno KG;4712;15.03.2024;14.04.2024;250,00 €;;250,00 €
"""


def test_a_list_with_debits_and_credits_in_columns(tmp_path: Path) -> None:
    """The credits have the numbers of the invoices; the balance runs on."""
    (tmp_path / "list.csv").write_text(DATEV, encoding="utf-8")
    ledger, output = mapped(tmp_path, "list.csv")
    assert open_amounts(ledger, date(2024, 2, 19)) == {"4711": 1000}
    assert open_amounts(ledger, TODAY) == {"4711": 600, "4712": 250}
    assert ledger["payments"]["invoice_id"].tolist() == ["4711"]
    assert (ledger.currency, "'€' is taken for a currency sign" in output) == (
        "EUR",
        True,
    )


AGED = """ACME Ltd
Aged Debtors as of 31 Dec 2024

Customer,Current,1-30,31-60,Over 60,Total
Anna,100.00,0.00,50.00,0.00,150.00
TOTAL,100.00,0.00,50.00,0.00,150.00
"""


def test_a_list_of_ages_is_not_a_list_of_items(tmp_path: Path) -> None:
    (tmp_path / "aged.csv").write_text(AGED)
    code, output = run(tmp_path / "aged.csv", "--output", tmp_path / "mapping.toml")
    assert code == 1
    assert "aged.csv: not used; it looks like no list of ours" in output
    assert "no list has amounts with a due date" in output


def write_workbook(path: Path) -> None:
    sheets = {
        "Invoices": [
            ["Report", None, None, None, None, None],
            [None] * 6,
            ["Customer ID", "Invoice No", "Year", "Invoice Date", "Due Date", "Amount"],
            ["A", "1", 2023, date(2023, 1, 5), date(2023, 2, 5), 70],
            ["A", "1", 2024, date(2024, 1, 5), date(2024, 2, 5), 100.5],
            ["B", "2", 2024, date(2024, 1, 6), date(2024, 2, 6), 200],
        ],
        "Cash": [
            ["Receipt No", "Invoice No", "Year", "Payment Date", "Received", "Type"],
            ["P1", "1", 2024, date(2024, 2, 15), 100.5, "Payment"],
            ["P2", "2", 2024, date(2024, 2, 15), 200, "Payment"],
            ["P3", "2", 2024, date(2024, 2, 18), 200, "Chargeback"],
        ],
        "Customers": [
            ["Customer ID", "Customer name", "Country", "Industry"],
            ["A", "Anna", "DE", "Retail"],
            ["B", "Bruno", "FR", "Steel"],
        ],
        "Empty": [],
    }
    with pd.ExcelWriter(path) as writer:
        for name, rows in sheets.items():
            frame = pd.DataFrame(rows)
            frame.to_excel(writer, sheet_name=name, header=False, index=False)


def test_a_workbook_with_several_sheets(tmp_path: Path) -> None:
    """Numbers start again each year: the key is year and number, in both sheets."""
    write_workbook(tmp_path / "book.xlsx")
    ledger, output = mapped(tmp_path, "book.xlsx", currency="USD")
    assert open_amounts(ledger, TODAY) == {"2023/1": 70, "2024/2": 200}
    assert ledger["customers"]["name"].tolist() == ["Anna", "Bruno"]
    assert '"Chargeback" = "returned"' in output
    assert "book.xlsx [Customers]: customers" in output


def test_what_a_heading_proves_nothing_about_is_not_stated(tmp_path: Path) -> None:
    """English headings say neither the order of dates nor the decimal sign."""
    (tmp_path / "list.csv").write_text(
        "Customer,Invoice No,Invoice Date,Due Date,Amount,Currency,Colour\n"
        "A,1,01/10/2024,01/11/2024,12.500,EUR,red\n"
    )
    code, output = run(tmp_path / "list.csv", "--output", tmp_path / "mapping.toml")
    assert code == 1
    for text in (
        "issued_on: '01/10/2024' can be day/month/year or month/day/year; state",
        "amount: '12.500' can be 12.500 or 12500; state",
        "not used: Colour",
        "not usable yet: change the mapping, then run obligor check",
    ):
        assert text in output


def test_what_a_list_lacks_is_said(tmp_path: Path) -> None:
    """The mapping is written all the same, so that a person can complete it."""
    (tmp_path / "list.csv").write_text("Customer,Invoice No,Amount\nA,1,10\n")
    code, output = run(tmp_path / "list.csv", "--output", tmp_path / "mapping.toml")
    assert code == 1
    assert "currency: no list says it" in output
    assert "list.csv: not used; it looks like no list of ours" in output
    assert tomllib.loads((tmp_path / "mapping.toml").read_text())["currency"] == ""


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"\x00\x01\x02", "error|the file"),
        (b'a,b\n"1,2\n', "quotation mark is not closed"),
    ],
)
def test_a_damaged_list_is_one_error(
    tmp_path: Path, content: bytes, message: str
) -> None:
    path = tmp_path / "list.csv"
    path.write_bytes(content)
    code, output = run(path, "--output", tmp_path / "mapping.toml")
    assert code != 0
    assert any(part in output for part in message.split("|"))
    assert "Traceback" not in output


def test_a_mapping_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_bytes(CHINESE.encode())
    mapping = tmp_path / "mapping.toml"
    mapping.write_text("mine")
    code, output = run(tmp_path / "list.csv", "--output", mapping)
    assert "the file exists already" in output
    assert (code, mapping.read_text()) == (1, "mine")
    code, _ = run(tmp_path / "list.csv", "--output", mapping, "--force")
    assert (code, mapping.read_text() != "mine") == (0, True)


def test_a_heading_with_signs_survives_the_mapping(tmp_path: Path) -> None:
    """Quotation marks and backslashes are escaped in the file."""
    (tmp_path / "list.csv").write_text(
        '"Due ""date""","Customer\\ID",Amount,Paid on\n'
        "2024-02-01,A,10,\n2024-02-01,A,30,2024-02-03\n"
    )
    ledger, _ = mapped(tmp_path, "list.csv", currency="EUR")
    assert open_amounts(ledger, TODAY) == {"item-0": 10}


@pytest.mark.parametrize(
    ("heading", "role"),
    [
        ("KUNNR", "CUSTOMER"),
        ("Kd.-Nr.", "CUSTOMER"),
        ("Invoice Date (UTC)", "ISSUED"),
        ("date_maturity", "DUE"),
        ("Échéance", "DUE"),
        ("Fecha de vencimiento", "DUE"),
        ("应收余额（元）", "OPEN"),
        ("SETTLEAMOUNTCUR", "PAID_AMOUNT"),
        ("AUGDT", "PAID"),
        ("outstanding_amount", "OPEN"),
        ("Net Invoice Number", "INVOICE"),
        ("Umsatzsteuer-ID", ""),
        ("Days late", ""),
    ],
)
def test_a_heading_has_a_meaning(heading: str, role: str) -> None:
    names = [match.role.name for match in meanings(heading)]
    assert (names[0] if names else "") == role


def test_every_name_is_written_as_it_is_compared() -> None:
    assert all(name and name == name.casefold() for name in NAMES)


def test_bank_statements_and_electronic_invoices_are_recognised(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_bytes(ubl("RE-1", "1000"))
    (tmp_path / "b.pdf").write_bytes(pdf(cii("RE-2", "500")))
    (tmp_path / "c.xml").write_bytes(camt(Movement("400", "invoice RE-2")))
    lines = (":61:240305C300,00NTRFX", ":86:RE-1 Müller")
    (tmp_path / "d.sta").write_bytes(mt940(*lines).decode().encode("cp1252"))
    ledger, output = mapped(tmp_path, "a.xml", "b.pdf", "c.xml", "d.sta")
    assert open_amounts(ledger, TODAY) == {"RE-1": 700, "RE-2": 100}
    for text in (
        "a.xml, b.pdf: invoices, read as e-invoice",
        "c.xml: payments, read as camt.053",
        "d.sta: payments, read as mt940",
        "payers: a file with customer_id, iban and name",
    ):
        assert text in output


def test_a_list_with_our_own_names_needs_no_columns(tmp_path: Path) -> None:
    """Rates and write-offs have no headings that programs share."""
    (tmp_path / "list.csv").write_text(
        "Customer,Invoice No,Invoice Date,Due Date,Amount,Currency\n"
        "A,1,2024-01-13,2024-02-12,100,USD\nA,2,2024-01-13,2024-02-12,50,EUR\n"
        "A,3,2024-01-13,2024-02-12,70,EUR\n"
    )
    rates = "currency,rate_on,rate\nUSD,2024-01-01,0.5\n"
    (tmp_path / "rates.csv").write_text(rates)
    write_offs = "invoice_id,written_off_on,amount\n2,2024-06-01,20\n"
    (tmp_path / "write_offs.csv").write_text(write_offs)
    ledger, output = mapped(tmp_path, "list.csv", "rates.csv", "write_offs.csv")
    assert open_amounts(ledger, TODAY) == {"1": 100, "2": 30, "3": 70}
    assert ledger["fx_rates"]["rate"].tolist() == [0.5]
    assert "rates.csv: fx_rates write_offs.csv: write_offs" in output


def test_the_tables_of_the_sample_are_mapped_as_they_are(tmp_path: Path) -> None:
    small = Path(__file__).parents[2] / "data" / "samples" / "small"
    lists = sorted(small.glob("*.csv"))
    mapping = tmp_path / "mapping.toml"
    code, output = run(*lists, "--output", mapping)
    assert code == 0, output
    tables = tomllib.loads(mapping.read_text(encoding="utf-8"))
    assert {path.stem for path in lists} == set(tables) - {"currency"}
