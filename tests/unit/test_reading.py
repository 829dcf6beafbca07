"""Files as people have them: encodings, layouts, keys, signs, and their faults."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import openpyxl
import pandas as pd
import pytest
from openpyxl.utils.datetime import CALENDAR_MAC_1904

from obligor.data.checks import LedgerCheck
from obligor.errors import InputError, SchemaError
from obligor.reading.sources import read_ledger

TODAY = date(2026, 1, 1)
HEADER = "invoice_id,customer_id,issued_on,due_on,amount,currency"
ITEM = "G0,Q1,2024-10-01,2024-11-01,100.00,EUR"
ITEMS = "\n".join([HEADER, *(ITEM.replace("G0", f"G{number}") for number in range(5))])
MAPPING = """
currency = "EUR"
[invoices]
file = "invoices.csv"
{invoices}
[payments]
file = "payments.csv"
{payments}
"""


def read(
    folder: Path,
    invoices: str | bytes = ITEMS,
    payments: str = "invoice_id,paid_on,amount",
    *,
    options: str = "",
    payment_options: str = "",
) -> LedgerCheck:
    """Read a ledger of two files."""
    content = invoices.encode() if isinstance(invoices, str) else invoices
    (folder / "invoices.csv").write_bytes(content)
    (folder / "payments.csv").write_text(payments)
    mapping = folder / "mapping.toml"
    mapping.write_text(MAPPING.format(invoices=options, payments=payment_options))
    return read_ledger(mapping, today=TODAY)


def texts(check: LedgerCheck) -> str:
    return "\n".join(map(str, check.by_weight()))


@pytest.mark.parametrize(
    ("encoding", "options"),
    [
        ("utf-8-sig", ""),
        ("utf-16", ""),
        ("gbk", 'encoding = "gbk"'),
        ("utf-16-le", 'encoding = "utf-16-le"'),
    ],
)
def test_encodings_are_read(
    tmp_path: Path,
    encoding: str,
    options: str,
) -> None:
    content = ITEMS.replace("Q1", "上海").encode(encoding)
    ledger = read(tmp_path, content, options=options).require()
    assert set(ledger["invoices"]["customer_id"]) == {"上海"}


def test_a_wrong_encoding_names_the_line(tmp_path: Path) -> None:
    content = ITEMS.replace("G3,Q1", "G3,Ü").encode("cp1252")
    with pytest.raises(SchemaError, match=r"\[invoices\] invoices.csv line 5: byte"):
        read(tmp_path, content)


@pytest.mark.parametrize(
    ("invoices", "message"),
    [
        (
            f'"ACME Ltd"\n"as of 31 Dec"\n\n{ITEMS}',
            r"\[invoices\] invoices.csv line 4: 6 fields, 1 expected; "
            r"skip lines with header_row = 4",
        ),
        (
            f"{ITEMS}\nG9,Smith, Jones & Co,2024-10-01,2024-11-01,100.00,EUR",
            r"\[invoices\] invoices.csv line 7: 7 fields, 6 expected; quote the field",
        ),
        (ITEMS.replace(",", ";"), "the header is one field.*separator = ';'"),
        ("", "the file is empty"),
        (
            f"ACME Ltd,,,,,\n,,,,,\n{ITEMS}",
            "line 1: 5 of 6 names are empty.*header_row = 3",
        ),
        (f'{ITEMS}\n"G9,Q1,2024-10-01,2024-11-01,1,EUR', "line 7: a quotation mark"),
        (f'{HEADER}\n"{ITEM}\n{ITEM}\n', "line 2: a quotation mark is not closed"),
        ("\x00".join(ITEMS), "bytes of 0.*utf-16-le"),
    ],
    ids=[
        "preamble",
        "unquoted comma",
        "semicolons",
        "empty",
        "padded preamble",
        "open quote at the end",
        "open quote",
        "utf-16 without a mark",
    ],
)
def test_an_error_names_table_file_and_line(
    tmp_path: Path,
    invoices: str,
    message: str,
) -> None:
    with pytest.raises(SchemaError, match=message):
        read(tmp_path, invoices)


@pytest.mark.parametrize(
    "text",
    [
        "sep=;\n" + ITEMS.replace(",", ";"),
        ITEMS.replace("\n", "\r"),
        ITEMS.replace("\n", ",\r\n") + ",\r\n\r\n",
    ],
    ids=["separator line", "line ends of a Macintosh", "a comma behind each line"],
)
def test_other_layouts_are_read(tmp_path: Path, text: str) -> None:
    bad = ITEM.replace("100.00", "x").replace(",", ";" if "sep" in text else ",")
    check = read(tmp_path, f"{text.rstrip()}\n{bad}")
    line = 8 if "sep" in text else 7
    assert f"[invoices] line {line} amount: cannot parse 'x'" in texts(check)
    assert len(check.ledger["invoices"]) == 4


def test_header_row_and_skip_footer_leave_lines_out(tmp_path: Path) -> None:
    text = f"ACME, Ltd\n\n\n{ITEMS}\nend of report,1,2,3,4,5\n"
    check = read(tmp_path, text, options="header_row = 4\nskip_footer = 1")
    assert len(check.require()["invoices"]) == 5


def test_a_finding_names_the_line_as_an_editor_counts(tmp_path: Path) -> None:
    quoted = '"G\n8",Q1,2024-10-01,2024-11-01,100.00,EUR'
    bad = ITEM.replace("G0", "G9").replace("100.00", "x")
    check = read(tmp_path, f"{ITEMS}\n\n{quoted}\n{bad}")
    assert "[invoices] line 10 amount: cannot parse 'x'" in texts(check)


def test_a_text_na_is_an_id(tmp_path: Path) -> None:
    ledger = read(tmp_path, ITEMS.replace("Q1", "NA")).require()
    assert set(ledger["customers"]["customer_id"]) == {"NA"}


@pytest.mark.parametrize(
    "footer",
    [
        "TOTAL,,,,500.00,",
        ",,,,500.00,",
        "Summe,,,,,",
        ",,Total:,,500.00,",
        ",End of report,,,,",
    ],
)
def test_a_footer_is_skipped_and_noted(tmp_path: Path, footer: str) -> None:
    check = read(tmp_path, f"{ITEMS}\n{footer}")
    assert len(check.require()["invoices"]) == 5
    assert "note: [invoices] line 7: the row has no customer" in texts(check)


def test_a_row_without_customer_and_dates_among_others_is_set_aside(
    tmp_path: Path,
) -> None:
    items = [ITEM.replace("G0", f"G{number}") for number in range(100)]
    items.insert(50, "X,,,,1.00,")
    check = read(tmp_path, "\n".join([HEADER, *items]))
    assert len(check.quarantined["invoices"]) == 1


def test_what_stands_for_nothing_can_be_stated(tmp_path: Path) -> None:
    payments = "invoice_id,paid_on,amount\nG0,2024-10-20,100.00\nG1,0000-00-00,100.00"
    check = read(tmp_path, payments=payments)
    assert "state empty = ['0000-00-00']" in texts(check)
    options = 'empty = ["0000-00-00"]\nwhere_present = "paid_on"'
    check = read(tmp_path, payments=payments, payment_options=options)
    assert len(check.require()["payments"]) == 1


def test_an_upper_case_workbook_is_read(tmp_path: Path) -> None:
    rows = [line.split(",") for line in ITEMS.splitlines()]
    frame = pd.DataFrame(rows[1:], columns=rows[0])
    frame["issued_on"] = 45566
    frame["due_on"] = pd.Timestamp(2024, 11, 1)
    frame.to_excel(tmp_path / "items.xlsx", index=False)
    (tmp_path / "items.xlsx").rename(tmp_path / "EXPORT.XLSX")
    mapping = 'currency = "EUR"\n[invoices]\nfile = "EXPORT.XLSX"\n'
    (tmp_path / "mapping.toml").write_text(mapping)
    check = read_ledger(tmp_path / "mapping.toml", today=TODAY)
    assert "Excel's day numbers: 45566 is 2024-10-01" in texts(check)
    assert set(check.ledger["invoices"]["issued_on"].astype("str")) == {"2024-10-01"}


def test_where_selects_rows_by_value(tmp_path: Path) -> None:
    rows = [HEADER + ",state", *(f"{ITEM},{state}" for state in ("posted", "draft"))]
    text = "\n".join(rows)
    check = read(tmp_path, text, options="where = \"state = 'posted'\"")
    assert len(check.require()["invoices"]) == 1
    assert "note: [invoices]: where takes 1 of 2 rows" in texts(check)
    with pytest.raises(SchemaError, match=r"\[invoices\]: no column 'status'"):
        read(tmp_path, text, options="where = \"status = 'posted'\"")


def test_several_files_make_one_table(tmp_path: Path) -> None:
    (tmp_path / "more.csv").write_text(f"{HEADER}\nH1,Q2,2024-10-01,2024-11-01,x,EUR")
    check = read(
        tmp_path,
        payment_options="",
        options='files = ["more.csv"]',
    )
    assert "[invoices] more.csv line 2 amount" in texts(check)
    assert len(check.ledger["invoices"]) == 5


def test_sources_of_two_layouts_make_one_table(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(ITEMS)
    (tmp_path / "b.csv").write_text("No;Due\nH1;02.11.2024\nH2;31.12.2024\n")
    (tmp_path / "p.csv").write_text("invoice_id,paid_on,amount\n")
    (tmp_path / "mapping.toml").write_text(
        """
        currency = "EUR"
        [[invoices]]
        file = "a.csv"
        [[invoices]]
        file = "b.csv"
        separator = ";"
        [invoices.columns]
        invoice_id = "No"
        customer_id = { constant = "Q2" }
        issued_on = { column = "Due", plus_days = -30 }
        due_on = "Due"
        amount = { constant = 5 }
        currency = { constant = "EUR" }
        [payments]
        file = "p.csv"
        """
    )
    check = read_ledger(tmp_path / "mapping.toml", today=TODAY)
    assert len(check.require()["invoices"]) == 7
    assert "due_on: read as day/month/year: '31.12.2024' proves it" in texts(check)


KEYED = """number,year,customer,issued_on,due_on,amount,currency
1,2023,A,2023-03-01,2023-03-31,5000.00,EUR
1,2024,A,2024-03-01,2024-03-31,9000.00,EUR
1,2024,B,2024-03-01,2024-03-31,700.00,EUR
"""


def test_a_key_of_several_columns_finds_its_own_item(tmp_path: Path) -> None:
    payments = "number,year,customer,paid_on,amount\n1,2023,A,2023-03-31,5000.00\n"
    key = 'id = ["customer", "year", "number"]'
    check = read(
        tmp_path,
        KEYED,
        payments,
        options=f'{key}\ncolumns = {{ customer_id = "customer" }}',
        payment_options=key,
    )
    ledger = check.require()
    assert ledger["invoices"]["invoice_id"].tolist() == [
        "A/2023/1",
        "A/2024/1",
        "B/2024/1",
    ]
    assert ledger["payments"]["invoice_id"].tolist() == ["A/2023/1"]


@pytest.mark.parametrize(
    ("options", "level"),
    [
        ("", "refuse"),
        ('columns = { amount = "net" }', "note"),
        ("columns = { amount = \"net\" }\nwhere = 'amount > 5'", "refuse"),
        ('columns = { amount = "amount.1" }', "note"),
    ],
    ids=["read", "not read", "compared", "the second"],
)
@pytest.mark.parametrize("suffix", ["csv", "xlsx"])
def test_a_name_that_two_columns_share_is_not_read(
    tmp_path: Path,
    options: str,
    level: str,
    suffix: str,
) -> None:
    rows = [f"{HEADER},amount,net", f"{ITEM},90.00,80.00"]
    workbook = openpyxl.Workbook()
    for row in rows:
        workbook.active.append(row.split(","))
    workbook.save(tmp_path / "items.xlsx")
    (tmp_path / "items.csv").write_text("\n".join(rows))
    (tmp_path / "payments.csv").write_text("invoice_id,paid_on,amount\n")
    text = MAPPING.replace("invoices.csv", f"items.{suffix}")
    (tmp_path / "mapping.toml").write_text(text.format(invoices=options, payments=""))
    check = read_ledger(tmp_path / "mapping.toml", today=TODAY)
    finding = f"{level}: [invoices]: the header has 'amount' more than once"
    assert finding in texts(check)
    assert check.is_refused == (level == "refuse")


@pytest.mark.parametrize("currency", ["EUR", "USD"])
def test_a_refused_column_is_the_only_cause_that_is_reported(
    tmp_path: Path, currency: str
) -> None:
    text = ITEMS.replace("2024-10-01", "31/12/24").replace("EUR", currency)
    payments = "invoice_id,paid_on,amount\nG0,2024-10-20,5.00\n"
    (tmp_path / "rates.csv").write_text("currency,rate_on,rate\nUSD,01/02/2024,0.9\n")
    rates = '[fx_rates]\nfile = "rates.csv"' if currency == "USD" else ""
    check = read(tmp_path, text, payments, payment_options=rates)
    lines = [line for line in texts(check).splitlines() if "fx_rates" not in line]
    assert lines == [
        "refuse: [invoices] issued_on: '31/12/24' can be day/month/year or "
        'year/month/day; expected date_format = "%d/%m/%y" or "%y/%m/%d"',
        "refuse: [customers] registered_on: 1 customer has no day: "
        "[invoices] issued_on is refused",
    ]
    assert not check.quarantined
    assert "no rate" not in texts(check)


def test_payments_of_excluded_invoices_are_a_note(tmp_path: Path) -> None:
    """Drafts and their payments are left out on purpose: they are no bad rows."""
    drafts = [f"{ITEM},draft".replace("G0", f"D{number}") for number in range(3)]
    text = "\n".join([f"{HEADER},state", f"{ITEM},posted", *drafts])
    text = text.replace("EUR,draft", "USD,draft", 1)
    payments = [
        "invoice_id,paid_on,amount",
        "G0,2024-10-20,40.00",
        "D0,2024-10-20,1000.00",
        "D1,2024-10-20,20.00",
        "D2,2024-10-20,30.00",
        "D2,2024-13-20,30.00",
    ]
    check = read(
        tmp_path,
        text,
        "\n".join(payments),
        options="where = \"state = 'posted'\"",
    )
    note = "4 rows are of excluded invoices (80.00 EUR, 1,000.00 USD); not used"
    assert f"note: [payments]: {note}" in texts(check)
    assert check.require()["payments"]["invoice_id"].tolist() == ["G0"]
    assert not check.quarantined


def test_a_payment_of_an_invoice_that_is_also_read_is_kept(tmp_path: Path) -> None:
    rows = [f"{HEADER},state", f"{ITEM},posted", f"{ITEM},draft"]
    payments = "invoice_id,paid_on,amount\nG0,2024-10-20,40.00\n"
    condition = "where = \"state = 'posted'\""
    check = read(tmp_path, "\n".join(rows), payments, options=condition)
    assert len(check.require()["payments"]) == 1
    assert "excluded" not in texts(check)


def test_keys_of_different_parts_are_different(tmp_path: Path) -> None:
    text = KEYED.replace("1,2023", "1/2,3").replace("1,2024,A", "1,2/3,A")
    key = 'id = ["number", "year"]\ncolumns = { customer_id = "customer" }'
    ids = read(tmp_path, text, options=key).ledger["invoices"]["invoice_id"]
    assert ids.is_unique


def test_a_payment_never_settles_the_item_of_another_customer(tmp_path: Path) -> None:
    payments = "invoice_id,customer_id,paid_on,amount\nG0,Q2,2024-10-20,100.00"
    check = read(tmp_path, payments=payments)
    assert "the invoice is of 'Q1', the row of 'Q2'" in texts(check)
    assert check.ledger["payments"].empty


@pytest.mark.parametrize(
    ("option", "credit"),
    [
        ('sign_by = "S/H"', "H"),
        ('sign_by = { column = "S/H", credit = "K", debit = "X" }', "K"),
    ],
)
def test_the_sign_column_says_which_amounts_are_credits(
    tmp_path: Path,
    option: str,
    credit: str,
) -> None:
    debit = "S" if credit == "H" else "X"
    rows = [
        f"{ITEM.replace('G0', 'G1')},{debit}",
        f"{ITEM.replace('G0', 'G2')},{credit}",
        f"{ITEM.replace('G0', 'G3')},?",
    ]
    text = "\n".join([f"{HEADER},S/H", *rows])
    check = read(tmp_path, text, options=option)
    assert f"S/H: {credit} is read as a credit" in texts(check)
    assert check.ledger["invoices"]["amount"].tolist() == [100.0, -100.0]
    assert "line 4 amount: S/H is neither debit nor credit" in texts(check)


def test_terms_in_days_give_the_due_date(tmp_path: Path) -> None:
    text = f"invoice_id,customer_id,issued_on,terms,amount,currency\n{ITEM}"
    text = text.replace("2024-11-01", "30")
    rule = 'columns = { due_on = { column = "issued_on", plus_days = "terms" } }'
    ledger = read(tmp_path, text, options=rule).require()
    assert str(ledger["invoices"]["due_on"].iloc[0].date()) == "2024-10-31"


def test_formats_can_differ_by_column(tmp_path: Path) -> None:
    text = f"{HEADER}\n{ITEM}".replace("2024-10-01", "01/10/24")
    text = text.replace("2024-11-01", "11-01-2024").replace("100.00", '"1.100,00 €"')
    options = """
    currency_sign = "€"
    date_format = { issued_on = "%d/%m/%y", due_on = "%m-%d-%Y" }
    columns = { amount = { column = "amount", decimal = "," } }
    """
    invoices = read(tmp_path, text, options=options).require()["invoices"]
    assert invoices["amount"].tolist() == [1100.0]
    days = invoices[["issued_on", "due_on"]].astype("str").iloc[0].tolist()
    assert days == ["2024-10-01", "2024-11-01"]


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ('sheet = "Open"', "no sheet 'Open'.*Sheet1"),
        ("header_row = 9", "the sheet is empty"),
    ],
)
def test_a_workbook_without_the_sheet_or_header_is_an_error(
    tmp_path: Path,
    option: str,
    message: str,
) -> None:
    pd.DataFrame({"a": [1]}).to_excel(tmp_path / "a.xlsx", index=False)
    mapping = tmp_path / "mapping.toml"
    mapping.write_text(f'currency = "EUR"\n[invoices]\nfile = "a.xlsx"\n{option}')
    with pytest.raises(InputError, match=message):
        read_ledger(mapping, today=TODAY)


def test_a_workbook_names_the_row_of_its_sheet(tmp_path: Path) -> None:
    rows = [line.split(",") for line in ITEMS.replace("100.00", "9 EUR").splitlines()]
    title = ["ACME Ltd", *[None] * 5]
    grid = pd.DataFrame([title, [None] * 6, *rows])
    grid.to_excel(tmp_path / "a.xlsx", index=False, header=False)
    mapping = tmp_path / "mapping.toml"
    text = 'currency = "EUR"\n[invoices]\nfile = "a.xlsx"\n'
    mapping.write_text(text)
    message = r"\[invoices\] a.xlsx line 1: 5 of 6 names are empty.*header_row = 3"
    with pytest.raises(SchemaError, match=message):
        read_ledger(mapping, today=TODAY)
    mapping.write_text(f"{text}header_row = 3\n")
    finding = (
        "[invoices] line 4 amount: cannot parse '9 EUR'; "
        "expected a number; state currency_sign = 'EUR'"
    )
    assert finding in texts(read_ledger(mapping, today=TODAY))


def test_text_under_the_name_of_a_workbook_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.xlsx").write_text(ITEMS)
    mapping = tmp_path / "mapping.toml"
    mapping.write_text('currency = "EUR"\n[invoices]\nfile = "a.xlsx"\n')
    with pytest.raises(SchemaError, match=r"not a workbook.*ending \.csv"):
        read_ledger(mapping, today=TODAY)


def test_notes_on_columns_come_before_findings_on_rows(tmp_path: Path) -> None:
    items = [ITEM.replace("G0", f"G{number}") for number in range(60)]
    items[3] = items[3].replace("100.00", "x")
    text = "\n".join([HEADER, *items]).replace("2024-11-01", "31/12/2024")
    lines = texts(read(tmp_path, text)).splitlines()
    assert lines[0].startswith("note: [invoices] due_on: read as day/month/year")
    assert lines[1].startswith("quarantine: [invoices] line 5 amount")


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ("currency = 5", "where: currency cannot be compared: 'EUR'"),
        ("currency > 'EUR'", "where: 'EUR' is not a date"),
    ],
)
def test_a_column_of_another_type_is_not_compared(
    tmp_path: Path,
    condition: str,
    message: str,
) -> None:
    with pytest.raises(SchemaError, match=rf"\[invoices\]: {message}"):
        read(tmp_path, options=f'where = "{condition}"')


def test_numbers_and_dates_are_compared_as_such(tmp_path: Path) -> None:
    later = ITEM.replace("G0", "H0").replace("2024-10", "2024-09")
    text = f"{ITEMS}\n{later}\n{ITEM.replace('100.00', '9')}"
    condition = "where = \"issued_on >= '2024-10-01' and amount > 10.5\""
    ledger = read(tmp_path, text, options=condition).require()
    assert len(ledger["invoices"]) == 5


def test_day_numbers_of_a_workbook_from_1904_are_not_guessed(tmp_path: Path) -> None:
    rows = [line.split(",") for line in ITEMS.splitlines()]
    workbook = openpyxl.Workbook()
    workbook.epoch = CALENDAR_MAC_1904
    for row in rows:
        workbook.active.append(
            [44104 if cell == "2024-10-01" else cell for cell in row]
        )
    workbook.save(tmp_path / "a.xlsx")
    mapping = tmp_path / "mapping.toml"
    text = 'currency = "EUR"\n[invoices]\nfile = "a.xlsx"\n'
    mapping.write_text(text)
    assert "44104 is a number" in texts(read_ledger(mapping, today=TODAY))
    mapping.write_text(f'{text}date_format = {{ issued_on = "excel-1904" }}\n')
    invoices = read_ledger(mapping, today=TODAY).ledger["invoices"]
    assert set(invoices["issued_on"].astype("str")) == {"2024-10-01"}


def test_a_side_behind_an_amount_is_no_currency(tmp_path: Path) -> None:
    check = read(tmp_path, ITEMS.replace("100.00", "100.00 CR"))
    assert "put debit or credit in a column of its own" in texts(check)
    (loss,) = check.left_out
    assert "5 without an amount that can be read" in loss.sentence("EUR")
