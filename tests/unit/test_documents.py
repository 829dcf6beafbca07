"""Electronic invoices as a source, and files that are damaged or hostile."""

from __future__ import annotations

import io
import zlib
from datetime import date
from pathlib import Path

import pypdf
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pypdf.generic import NameObject

from obligor.data.asof import known_account
from obligor.data.checks import LedgerCheck
from obligor.data.days import day_of
from obligor.data.open_items import open_balances
from obligor.data.store import LedgerStore
from obligor.documents.camt import read_camt
from obligor.documents.invoices import read_invoice
from obligor.documents.mt940 import read_mt940
from obligor.errors import InputError, SchemaError
from obligor.reading.sources import read_ledger
from tests.ascii import spec
from tests.document_samples import Movement, camt, cii, mt940, pdf, ubl
from tests.unit.test_cli import run

TODAY = date(2024, 6, 1)
MAPPING = """
currency = "EUR"
[invoices]
files = ["*.xml", "*.pdf"]
format = "e-invoice"
"""


def read(folder: Path, text: str = MAPPING, **documents: bytes) -> LedgerCheck:
    """Return the ledger of some documents; ``a_xml`` is the file ``a.xml``."""
    for name, content in documents.items():
        (folder / name.replace("_", ".")).write_bytes(content)
    mapping = folder / "mapping.toml"
    mapping.write_text(text)
    return read_ledger(mapping, today=TODAY)


def test_invoices_are_read_from_ubl_and_pdf_files(tmp_path: Path) -> None:
    check = read(
        tmp_path,
        a_xml=ubl("R1", "1190.00"),
        b_pdf=pdf(cii("R2", "2380.50")),
        c_xml=cii("R3", "100"),
    )
    spec(
        check.ledger["invoices"],
        """
        invoice_id | customer_id | issued_on  | due_on     | amount  | currency
        R1         | C1          | 2024-01-15 | 2024-02-14 | 1190    | EUR
        R3         | C2          | 2024-01-15 | 2024-02-14 | 100     | EUR
        R2         | C2          | 2024-01-15 | 2024-02-14 | 2380.50 | EUR
        """,
    )


def test_every_customer_is_named_by_the_same_identifier(tmp_path: Path) -> None:
    """One invoice without the id of its buyer would make a second customer of it."""
    check = read(
        tmp_path,
        MAPPING.replace(', "*.pdf"', ""),
        a_xml=ubl("R1", "1190.00"),
        b_xml=ubl("R2", "50.00", buyer_id=""),
    )
    assert set(check.ledger["invoices"]["customer_id"]) == {"DE123456789"}
    notes = [item.what for item in check.findings if "customer_id" in item.what]
    assert notes == [
        "customer_id is buyer_vat; map another column if it is to be another"
    ]


def test_another_identifier_can_be_mapped(tmp_path: Path) -> None:
    text = MAPPING.replace(', "*.pdf"', "")
    text += '[invoices.columns]\ncustomer_id = "buyer_name"\n'
    check = read(tmp_path, text, a_xml=ubl("R1", "1190.00"))
    assert set(check.ledger["invoices"]["customer_id"]) == {"Anna GmbH"}


def test_a_credit_note_reduces_the_invoice_that_it_names(tmp_path: Path) -> None:
    check = read(
        tmp_path,
        MAPPING.replace(', "*.pdf"', ""),
        a_xml=ubl("R1", "1190.00"),
        b_xml=ubl("G1", "190.00", corrects="R1"),
        c_xml=ubl("G2", "40.00", corrects="R9"),
    )
    spec(
        check.ledger["payments"],
        """
        payment_id | invoice_id | kind        | paid_on    | amount
        G1         | R1         | credit_note | 2024-01-15 | 190
        """,
    )
    spec(
        check.ledger["invoices"],
        """
        invoice_id | amount
        R1         | 1190
        G2         | -40
        """,
    )


def test_instalments_are_items_of_one_document(tmp_path: Path) -> None:
    terms = "".join(
        f"<PaymentTerms><Amount>{amount}</Amount>"
        f"<InstallmentDueDate>{day}</InstallmentDueDate></PaymentTerms>"
        for amount, day in (("700", "2024-02-01"), ("490", "2024-03-01"))
    )
    content = ubl("R1", "1190").replace(
        b"<LegalMonetaryTotal>", f"{terms}<LegalMonetaryTotal>".encode()
    )
    check = read(tmp_path, MAPPING.replace(', "*.pdf"', ""), a_xml=content)
    spec(
        check.ledger["invoices"],
        """
        invoice_id | document_id | due_on     | amount
        R1/1       | R1          | 2024-02-01 | 700
        R1/2       | R1          | 2024-03-01 | 490
        """,
    )


BOMB = b"""<?xml version="1.0"?>
<!DOCTYPE lolz [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]>
<Invoice>&b;</Invoice>"""
FETCH = b"""<?xml version="1.0"?>
<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><Invoice><ID>&e;</ID></Invoice>"""
FETCHED_TYPE = b"""<!DOCTYPE x SYSTEM "http://127.0.0.1:9/x.dtd"><Invoice/>"""


@pytest.mark.parametrize("document", [BOMB, FETCH, FETCHED_TYPE])
@pytest.mark.parametrize("container", ["xml", "pdf"])
def test_an_invoice_with_a_document_type_is_refused(
    document: bytes, container: str
) -> None:
    content = pdf(document) if container == "pdf" else document
    with pytest.raises(SchemaError, match=r"line \d: the file has a document type"):
        read_invoice(content, "[invoices] a")


@pytest.mark.parametrize("document", [BOMB, FETCH, FETCHED_TYPE])
def test_a_statement_with_a_document_type_is_refused(document: bytes) -> None:
    with pytest.raises(SchemaError, match=r"line \d: the file has a document type"):
        read_camt(document, "camt.053", "[payments] a.xml")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "line 1: the file is not an XML document: no element"),
        (b"hello", "line 1: the file is not an XML document: syntax error"),
        (ubl("R1", "1")[:-20], r"the file is not an XML document"),
        (b"<html/>", "the file is not an electronic invoice: its root is 'html'"),
        (ubl("R1", "many"), "line 2: PayableAmount is 'many'; expected a number"),
        (ubl("R1", "1").replace(b"<ID>R1</ID>", b""), "the invoice has no ID"),
        (ubl("R1", "1").replace(b"IssueDate", b"Issue"), "no IssueDate"),
        (cii("R1", "1").replace(b"20240115", b"20241315"), "is '20241315'; expected"),
        (b"<a>" * 5000, "nested more than 100 deep"),
        (pdf(None), "the PDF file holds no electronic invoice; it holds"),
        (pdf(cii("R1", "1"), "photo.xml"), "it holds .'photo.xml'."),
        (b"%PDF-1.7\ngarbage", "the PDF file cannot be read: "),
        (pdf(cii("R1", "1"))[:600], "the PDF file cannot be read: "),
    ],
)
def test_a_damaged_invoice_is_one_error(content: bytes, message: str) -> None:
    with pytest.raises(SchemaError, match=r"\[invoices\] a.*" + message):
        read_invoice(content, "[invoices] a")


STATEMENT = camt(Movement("10.00", "R1"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (STATEMENT.replace(b"10.00", b"1O.00"), r"line \d+: the amount '1O.00'"),
        (STATEMENT.replace(b"10.00", b"-10"), r"line \d+: the amount '-10'"),
        (STATEMENT.replace(b"CRDT", b"CREDIT"), "has the indicator 'CREDIT'"),
        (STATEMENT.replace(b"2024-03-05", b"05.03.2024"), "BookgDt is '05.03.2024'"),
        (STATEMENT.replace(b"gDt", b"g").replace(b"ValDt", b"Val"), "has no date"),
        (ubl("R1", "1"), "the file is not camt.053: it is Invoice"),
        (
            STATEMENT.replace(b"BkToCstmrStmt", b"BkToCstmrAcctRpt").replace(
                b"Stmt>", b"Rpt>"
            ),
            'it is camt.052; .*state format = "camt.052"',
        ),
    ],
)
def test_a_damaged_statement_is_one_error(content: bytes, message: str) -> None:
    with pytest.raises(SchemaError, match=r"\[payments\] a.*" + message):
        read_camt(content, "camt.053", "[payments] a")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is not MT940: it has no field :20:"),
        (b"date,amount\n2024-01-01,5\n", "it has no field :20:"),
        (mt940(":61:24130503C1,00NTRFX", ":86:x"), "the file is not MT940: "),
        (mt940(":61:nonsense"), "the file is not MT940: "),
        (mt940(":61:2403050305C1,00", ":61:2403050305C2,00"), "2 lines :61: give"),
        ("Müller".encode("cp1252"), "cannot be decoded.*set the encoding"),
    ],
)
def test_a_damaged_mt940_file_is_one_error(content: bytes, message: str) -> None:
    with pytest.raises(SchemaError, match=r"\[payments\] a.*" + message):
        read_mt940(content, "", "[payments] a")


SAMPLES = [ubl("R1", "1"), cii("R1", "1"), STATEMENT, mt940(":61:240305C1,00NTRFX")]


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(SAMPLES),
    st.integers(0, 2000),
    st.integers(0, 300),
    st.binary(max_size=20),
)
def test_whatever_is_cut_or_put_in_there_is_no_traceback(
    sample: bytes,
    start: int,
    length: int,
    insertion: bytes,
) -> None:
    content = sample[:start] + insertion + sample[start + length :]
    for read_document in (
        lambda: read_invoice(content, "a"),
        lambda: read_camt(content, "camt.053", "a"),
        lambda: read_mt940(content, "", "a"),
    ):
        try:
            read_document()
        except SchemaError:
            continue


def test_a_pdf_file_cannot_grow_without_bound() -> None:
    """The attachment of a few hundred kilobytes would be 200 MB."""
    writer = pypdf.PdfWriter()
    attachment = writer.add_attachment("factur-x.xml", b"")
    packed = zlib.compress(b" " * 200_000_000, 9)
    stream = pypdf.generic.StreamObject()
    stream.set_data(packed)
    stream[NameObject("/Filter")] = NameObject("/FlateDecode")
    attachment.pdf_object["/EF"][NameObject("/F")] = writer._add_object(stream)
    content = io.BytesIO()
    writer.write(content)
    with pytest.raises(SchemaError, match="cannot be read: LimitReachedError"):
        read_invoice(content.getvalue(), "[invoices] a")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no file matches '\*\.xml'"):
        read(tmp_path)
    text = MAPPING.replace('files = ["*.xml", "*.pdf"]', 'file = "gone.xml"')
    with pytest.raises(InputError, match=r"\[invoices\] gone.xml: the source cannot"):
        read(tmp_path, text)


LIST = """invoice_id,customer_id,issued_on,due_on,amount,currency
RE-1,ANNA,2024-01-10,2024-02-10,1000,EUR
RE-2,ANNA,2024-02-10,2024-03-10,500,EUR
CM-1,ANNA,2024-02-12,,-100,EUR
"""
STATEMENTS = """
currency = "EUR"
[payments]
file = "statement.xml"
format = "camt.053"
"""


def test_a_statement_alone_updates_the_loaded_ledger(tmp_path: Path) -> None:
    """An entry may name an invoice that was loaded before."""
    store = str(tmp_path / "store")
    (tmp_path / "invoices.csv").write_text(LIST)
    mapping = tmp_path / "mapping.toml"
    mapping.write_text('currency = "EUR"\n[invoices]\nfile = "invoices.csv"\n')
    assert run("load", str(mapping), "--store", store).exit_code == 0
    content = camt(Movement("900", "invoice RE-1"), Movement("20", "lunch"))
    (tmp_path / "statement.xml").write_bytes(content)
    mapping.write_text(STATEMENTS)
    with pytest.raises(SchemaError, match="1 of 2 rows are bad"):
        run("load", str(mapping), "--store", store)
    mapping.write_text(STATEMENTS + "where = \"remittance != 'lunch'\"\n")
    result = run("load", str(mapping), "--store", store)
    assert result.exit_code == 0, result.output
    account = LedgerStore(f"sqlite:///{store}/ledger.db").account("ANNA")
    # What arrives later is known from the day on which it is loaded.
    known = known_account(account, date(2100, 1, 1)).account
    balances = (open_balances(known) / 100).tolist()
    # 1,000 - 900 - 100 of the credit memo; 500 are open.
    assert dict(zip(known.invoice_ids, balances, strict=True)) == {
        "RE-1": 0.0,
        "RE-2": 500.0,
    }


@pytest.mark.parametrize(
    ("amount", "text", "parts"),
    [
        ("900", "RE-1 less credit note CM-1", [("RE-1", 900)]),
        ("1400", "RE-1 RE-2 CM-1", [("RE-1", 1000), ("RE-2", 400)]),
        ("70", "credit note CM-1", [(None, 70)]),
    ],
)
def test_a_credit_memo_that_is_named_reduces_what_is_to_be_paid(
    tmp_path: Path,
    amount: str,
    text: str,
    parts: list[tuple[str | None, float]],
) -> None:
    (tmp_path / "invoices.csv").write_text(LIST)
    (tmp_path / "statement.xml").write_bytes(camt(Movement(amount, text)))
    mapping = STATEMENTS + '[invoices]\nfile = "invoices.csv"\n'
    payments = read(tmp_path, mapping).ledger["payments"]
    items = [item if isinstance(item, str) else None for item in payments["invoice_id"]]
    assert list(zip(items, payments["amount"], strict=True)) == parts


def batch(*amounts: str, total: str = "300") -> bytes:
    """Return a statement with one entry over several transactions."""
    content = camt(Movement(total, "RE-1"))
    start = content.index(b"<NtryDtls>")
    end = content.index(b"</NtryDtls>")
    details = "".join(
        f"<TxDtls><Amt Ccy='EUR'>{amount}</Amt><RltdPties><Dbtr><Nm>P{number}</Nm>"
        f"</Dbtr></RltdPties><RmtInf><Ustrd>RE-{number}</Ustrd></RmtInf></TxDtls>"
        for number, amount in enumerate(amounts, start=1)
    )
    return content[:start] + b"<NtryDtls>" + details.encode() + content[end:]


def entries_of(content: bytes, message: str = "camt.053") -> list[tuple[str, str, str]]:
    statement = read_camt(content, message, "[payments] a.xml")
    return [
        (entry.payment_id, f"{entry.amount} {entry.currency}", entry.remittance)
        for entry in statement.entries
    ]


def test_a_batch_is_read_as_its_transactions() -> None:
    assert entries_of(batch("100", "200")) == [
        ("S1/1/1", "100 EUR", "RE-1"),
        ("S1/1/2", "200 EUR", "RE-2"),
    ]


def test_transactions_that_do_not_add_up_are_one_entry() -> None:
    """A part of the money would be lost, or counted twice."""
    content = batch("100", "150")
    assert entries_of(content) == [("S1/1", "300 EUR", "RE-1\nRE-2")]
    (note,) = read_camt(content, "camt.053", "a").notes
    assert "the 2 transactions of the entry do not add up to its amount" in note


def test_a_batch_without_details_is_said() -> None:
    content = batch("300").replace(
        b"<NtryDtls>", b"<NtryDtls><Btch><NbOfTxs>7</NbOfTxs></Btch><X>"
    )
    content = content.replace(b"</NtryDtls>", b"</X></NtryDtls>")
    assert entries_of(content) == [("S1/1", "300 EUR", "")]
    (note,) = read_camt(content, "camt.053", "a").notes
    assert "a batch of 7 transactions without details; camt.054 may have them" in note


@pytest.mark.parametrize(
    ("message", "elements"),
    [
        ("camt.052", ("BkToCstmrAcctRpt", "Rpt")),
        ("camt.054", ("BkToCstmrDbtCdtNtfctn", "Ntfctn")),
    ],
)
def test_reports_and_notifications_are_read_too(
    message: str, elements: tuple[str, str]
) -> None:
    content = camt(Movement("10", "RE-1", bank_id="B7"))
    content = content.replace(b"BkToCstmrStmt", elements[0].encode())
    content = content.replace(b"Stmt>", elements[1].encode() + b">")
    assert entries_of(content, message) == [("B7", "10 EUR", "RE-1")]


def test_the_return_of_a_receipt_has_an_id_of_its_own() -> None:
    """Banks give it the reference of what it takes back."""
    content = camt(
        Movement("10", "RE-1", bank_id="B7"),
        Movement("10", "RE-1", bank_id="B7", is_debit=True, is_reversal=True),
    )
    assert [entry[:2] for entry in entries_of(content)] == [
        ("B7", "10 EUR"),
        ("B7/2", "-10 EUR"),
    ]


def test_an_invoice_in_an_envelope_is_read() -> None:
    """Peppol wraps documents in a StandardBusinessDocument."""
    inner = ubl("R1", "10").partition(b"?>")[2]
    content = b"<StandardBusinessDocument xmlns='urn:sbdh'>" + inner
    (item,) = read_invoice(content + b"</StandardBusinessDocument>", "a")
    assert (item.invoice_id, item.amount) == ("R1", "10")


@pytest.mark.parametrize(
    ("content", "amount"),
    [
        (cii("R1", "10", type_code="381"), "-10"),
        (cii("R1", "-10", type_code="384"), "-10"),
        (ubl("R1", "10", corrects="R0"), "-10"),
    ],
)
def test_a_document_that_credits_the_buyer_is_negative(
    content: bytes, amount: str
) -> None:
    (item,) = read_invoice(content, "a")
    assert item.amount == amount


def test_an_invoice_without_a_due_date_says_what_to_state(tmp_path: Path) -> None:
    content = ubl("R1", "10", due_on="")
    text = MAPPING.replace(', "*.pdf"', "")
    check = read(tmp_path, text, a_xml=content)
    (finding,) = [item for item in check.findings if item.level == "quarantine"]
    assert str(finding).startswith("quarantine: [invoices] line 2 due_on: the cell is")
    text += "[invoices.columns]\n"
    text += 'due_on = { column = "issued_on", plus_days = 30 }\n'
    check = read(tmp_path, text, a_xml=content)
    assert f"{check.ledger['invoices']['due_on'][0]:%Y-%m-%d}" == "2024-02-14"


def paid(folder: Path, *statements: bytes, formats: str = "camt.053") -> list[float]:
    """Return the amounts of the payments of some statements."""
    (folder / "invoices.csv").write_text(LIST)
    text = 'currency = "EUR"\n[invoices]\nfile = "invoices.csv"\n'
    for number, content in enumerate(statements):
        (folder / f"s{number}.xml").write_bytes(content)
        is_notification = b"Ntfctn" in content
        name = "camt.054" if is_notification else formats
        text += f'[[payments]]\nfile = "s{number}.xml"\nformat = "{name}"\n'
    return read(folder, text).ledger["payments"]["amount"].tolist()


def test_entries_of_statements_that_overlap_are_read_once(tmp_path: Path) -> None:
    """Without an id of the bank, what is equal in two statements is the same entry;
    two equal ones in one statement are two.
    """
    twice = (Movement("10", "RE-1"), Movement("10", "RE-1"))
    january = camt(*twice)
    longer = camt(*twice, Movement("30", "RE-1")).replace(b"<Id>S1", b"<Id>S2")
    assert paid(tmp_path, january, longer) == [10, 10, 30]


def test_a_batch_and_its_transactions_are_counted_once(tmp_path: Path) -> None:
    """The statement has the sum, the notification what it consists of."""
    whole = camt(Movement("300", "", bank_id="B9"))
    parts = batch("100", "200").replace(
        b"<NtryDtls>", b"<AcctSvcrRef>B9</AcctSvcrRef><NtryDtls>"
    )
    for name, other in ((b"BkToCstmrStmt", b"BkToCstmrDbtCdtNtfctn"),):
        parts = parts.replace(name, other)
    parts = parts.replace(b"Stmt>", b"Ntfctn>").replace(b"<Id>S1", b"<Id>N1")
    assert paid(tmp_path, whole, parts) == [100, 200]


@pytest.mark.parametrize(
    ("end_to_end_id", "invoice_id"),
    [("RE-2", "RE-2"), ("2", None), ("12", None), ("NOTPROVIDED", None)],
)
def test_a_short_number_of_the_payer_s_own_names_no_invoice(
    tmp_path: Path, end_to_end_id: str, invoice_id: str | None
) -> None:
    rows = "2,ANNA,2024-01-10,2024-02-10,10,EUR\n12,ANNA,2024-01-10,2024-02-10,10,EUR\n"
    (tmp_path / "invoices.csv").write_text(LIST + rows)
    content = camt(Movement("10", "thanks", end_to_end_id=end_to_end_id))
    (tmp_path / "statement.xml").write_bytes(content)
    mapping = STATEMENTS + '[invoices]\nfile = "invoices.csv"\n'
    payments = read(tmp_path, mapping).ledger["payments"]
    assert payments["invoice_id"].tolist() == ([invoice_id] if invoice_id else [])


def test_an_update_leaves_the_day_of_stored_customers(tmp_path: Path) -> None:
    """The list of customers has no day, and the update only the latest invoice."""
    store = str(tmp_path / "store")
    mapping = tmp_path / "mapping.toml"
    mapping.write_text(
        'currency = "EUR"\n[customers]\nfile = "customers.csv"\n'
        '[invoices]\nfile = "invoices.csv"\n'
    )
    (tmp_path / "customers.csv").write_text("customer_id,name\nANNA,Anna\n")
    (tmp_path / "invoices.csv").write_text(LIST)
    assert run("load", str(mapping), "--store", store).exit_code == 0
    header = LIST.splitlines()[0]
    later = "RE-9,ANNA,2024-05-01,2024-06-01,5,EUR"
    (tmp_path / "invoices.csv").write_text(f"{header}\n{later}\n")
    result = run("load", str(mapping), "--store", store)
    assert result.exit_code == 0, result.output
    account = LedgerStore(f"sqlite:///{store}/ledger.db").account("ANNA")
    known = known_account(account, date(2100, 1, 1)).account
    assert [day_of(int(day)) for day in known.registered.day] == [date(2024, 1, 10)]
