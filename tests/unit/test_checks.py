"""The check of a ledger: everything wrong is reported, bad rows are set aside."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path

import pandas as pd
import pytest

from obligor.data.asof import known_on
from obligor.data.checks import LedgerCheck, check_ledger
from obligor.data.ledger import Ledger
from obligor.data.synthetic import Simulation
from obligor.errors import AsOfError, InputError, SchemaError
from obligor.features.build import build_features
from obligor.reading.sources import read_ledger, write_quarantine
from tests.ascii import ledger

TODAY = date(2024, 12, 31)
HEADER = "invoice_id | customer_id | issued_on | due_on | amount | currency"
GOOD_INVOICES = [
    f"I{n} | C{n % 7} | 2024-01-0{n % 9 + 1} | 2024-02-01 | 100.00 | EUR"
    for n in range(60)
]
PAYMENTS = [
    "invoice_id | paid_on | amount",
    *(f"I{n} | 2024-02-01 | 50.00" for n in range(40)),
]
UNDATED = "X | C1 | never | 2024-02-01 | 5 | EUR"
MAPPING = """
currency = "EUR"
[invoices]
file = "invoices.csv"
date_format = "%Y-%m-%d"
{options}
[payments]
file = "payments.csv"
date_format = "%Y-%m-%d"
[payments.columns]
payment_id = {{ row_number = "P" }}
"""


def invoices_with(*bad_rows: str) -> str:
    """Return 60 good invoices and some others below them."""
    return "\n".join([HEADER, *GOOD_INVOICES, *bad_rows])


def write_source(
    folder: Path,
    invoices: str,
    *,
    more_payments: str = "",
    encoding: str = "utf-8",
    options: str = "",
) -> Path:
    """Write a source of two files and its mapping."""
    content = invoices.replace(" | ", ",").encode(encoding)
    (folder / "invoices.csv").write_bytes(content)
    payments = "\n".join([*PAYMENTS, more_payments])
    (folder / "payments.csv").write_text(payments.replace(" | ", ","))
    mapping = folder / "mapping.toml"
    mapping.write_text(MAPPING.format(options=options))
    return mapping


def check_of(folder: Path, *bad_invoices: str, more_payments: str = "") -> LedgerCheck:
    """Return the check of a source with some bad rows."""
    invoices = invoices_with(*bad_invoices)
    mapping = write_source(folder, invoices, more_payments=more_payments)
    return read_ledger(mapping, today=TODAY)


def findings_of(folder: Path, *bad_invoices: str, more_payments: str = "") -> list[str]:
    """Return the findings of a usable source, each bad row set aside once."""
    check = check_of(folder, *bad_invoices, more_payments=more_payments)
    assert not check.is_refused, check.findings
    bad_rows = {
        (finding.table, finding.row)
        for finding in check.findings
        if finding.level == "quarantine"
    }
    assert sum(map(len, check.quarantined.values())) == len(bad_rows)
    return [str(finding) for finding in check.findings]


@pytest.mark.parametrize(
    ("row", "finding"),
    [
        (
            "X | C1 | 2024-01-05 | 2024-02-01 | inf | EUR",
            "[invoices] line 62 amount: the value is inf; expected a finite number",
        ),
        (
            "X | C1 | 2024-01-05 | 2024-02-01 | five | EUR",
            "[invoices] line 62 amount: cannot parse 'five'; expected a number",
        ),
        (
            "X | C1 | 2024-01-05 | 2024-02-01 |  | EUR",
            "[invoices] line 62 amount: the cell is empty; expected a value",
        ),
        (
            "X | C1 | 2024-13-05 | 2024-02-01 | 5 | EUR",
            "[invoices] line 62 issued_on: cannot parse '2024-13-05'",
        ),
        (
            "X | C1 | 2025-01-05 | 2025-02-01 | 5 | EUR",
            "[invoices] line 62 issued_on: 2025-01-05 is in the future",
        ),
        (
            "X | C1 | 2024-01-05 | 2024-02-01 | 5 | EURO",
            "[invoices] line 62 currency: the value is 'EURO'; expected an ISO 4217",
        ),
        (
            "I3 | C1 | 2024-01-05 | 2024-02-01 | 5 | EUR",
            "[invoices] line 62 invoice_id: the id 'I3' is used more than once; "
            "expected a unique id",
        ),
        (
            "X |  | 2024-01-05 | 2024-02-01 | 5 | EUR",
            "[invoices] line 62 customer_id: the cell is empty",
        ),
    ],
    ids=[
        "infinite amount",
        "amount in words",
        "no amount",
        "impossible date",
        "future date",
        "unknown currency",
        "repeated id",
        "no customer",
    ],
)
def test_a_bad_invoice_is_reported_and_set_aside(
    tmp_path: Path,
    row: str,
    finding: str,
) -> None:
    assert any(finding in text for text in findings_of(tmp_path, row))


def test_an_invoice_billed_after_its_due_date_is_used(tmp_path: Path) -> None:
    """Nearly all that is open is in it: setting it aside would hide the debt."""
    row = "LATE | PRE | 2024-10-05 | 2024-09-30 | 40000.00 | EUR"
    check = check_of(tmp_path, row)
    notes = [str(finding) for finding in check.findings]
    note = (
        "note: [invoices] line 62 due_on: the invoice is due before it was issued; "
        "its due date counts; expected a day on or after issued_on"
    )
    assert notes == [note]
    features = build_features(known_on(check.require(), TODAY)).loc["PRE"]
    assert features["open_amount"] == 40000
    assert features["dpd_days"] == 92
    assert features["terms_days_mean_365d"] == 0
    day_before = known_on(check.require(), date(2024, 10, 4))
    assert "PRE" not in build_features(day_before).index


@pytest.mark.parametrize(
    ("row", "finding"),
    [
        (
            "NOPE | 2024-02-01 | 5.00",
            "quarantine: [payments] line 42 invoice_id: invoice_id 'NOPE' is unknown",
        ),
        (
            "I1 | 2023-12-01 | 5.00",
            "note: [payments] line 42 paid_on: "
            "the invoice was paid before it was issued",
        ),
        (
            "I1 | 2026-02-01 | 5.00",
            "quarantine: [payments] line 42 paid_on: 2026-02-01 is in the future",
        ),
    ],
    ids=["unknown invoice", "paid early", "future date"],
)
def test_a_bad_payment_is_reported(
    tmp_path: Path,
    row: str,
    finding: str,
) -> None:
    findings = findings_of(tmp_path, more_payments=row)
    assert any(finding in text for text in findings)


def test_all_findings_are_reported_at_once(tmp_path: Path) -> None:
    two_faults = "X | C1 | 2024-01-05 | 2024-02-01 | inf | XXX"
    bad_date = "Y | C1 | never | 2024-02-01 | 5 | EUR"
    payment_of_bad_invoice = "Y | 2024-03-01 | 5.00"
    findings = findings_of(
        tmp_path, two_faults, bad_date, more_payments=payment_of_bad_invoice
    )
    assert len([text for text in findings if text.startswith("quarantine")]) == 4


def test_quarantine_files_contain_the_rows_and_the_reasons(tmp_path: Path) -> None:
    check = check_of(tmp_path, UNDATED)
    (path,) = write_quarantine(check, tmp_path / "aside")
    row = pd.read_csv(path).iloc[0]
    assert row["invoice_id"] == "X"
    assert row["row"] == 60
    assert "cannot parse 'never'" in row["findings"]
    assert len(check.require()["invoices"]) == 60


def test_too_many_bad_rows_refuse_the_ledger(tmp_path: Path) -> None:
    bad_rows = [UNDATED.replace("X", f"X{n}") for n in range(10)]
    check = check_of(tmp_path, *bad_rows)
    assert check.is_refused
    with pytest.raises(SchemaError, match=r"10 of 70 rows are bad \(14%\)"):
        check.require()


def test_an_empty_file_is_an_error(tmp_path: Path) -> None:
    mapping = write_source(tmp_path, "")
    with pytest.raises(SchemaError, match="the file is empty"):
        read_ledger(mapping, today=TODAY)


def test_a_header_without_rows_is_refused(tmp_path: Path) -> None:
    check = read_ledger(write_source(tmp_path, HEADER), today=TODAY)
    assert "the table is empty" in " ".join(map(str, check.findings))
    assert check.is_refused


def test_a_wrong_encoding_names_the_byte_and_the_remedy(tmp_path: Path) -> None:
    invoices = invoices_with("Ü1 | C1 | 2024-01-05 | 2024-02-01 | 5 | EUR")
    mapping = write_source(tmp_path, invoices, encoding="cp1252")
    with pytest.raises(SchemaError, match=r"is not utf-8.*cp1252"):
        read_ledger(mapping, today=TODAY)


def test_the_encoding_of_the_mapping_is_used(tmp_path: Path) -> None:
    invoices = invoices_with("Ü1 | C1 | 2024-01-05 | 2024-02-01 | 5 | EUR")
    option = 'encoding = "cp1252"'
    mapping = write_source(
        tmp_path,
        invoices,
        encoding="cp1252",
        options=option,
    )
    check = read_ledger(mapping, today=TODAY)
    assert "Ü1" in set(check.require()["invoices"]["invoice_id"])


def test_an_unknown_encoding_is_an_error(tmp_path: Path) -> None:
    option = 'encoding = "utf-99"'
    mapping = write_source(tmp_path, invoices_with(), options=option)
    with pytest.raises(InputError, match="invoices"):
        read_ledger(mapping, today=TODAY)


def test_a_missing_column_refuses_the_ledger(tmp_path: Path) -> None:
    lines = invoices_with().splitlines()
    without_currency = "\n".join(line.rsplit(" | ", 1)[0] for line in lines)
    check = read_ledger(write_source(tmp_path, without_currency), today=TODAY)
    finding = (
        "refuse: [invoices] currency: the column is missing; "
        "expected it in the source or the mapping"
    )
    assert finding in [str(other) for other in check.findings]
    assert check.is_refused


def test_a_mapped_column_that_is_missing_is_an_error(tmp_path: Path) -> None:
    option = '[invoices.columns]\namount = "Betrag"'
    mapping = write_source(tmp_path, invoices_with(), options=option)
    with pytest.raises(SchemaError, match=r"no column 'Betrag'.*expected one of"):
        read_ledger(mapping, today=TODAY)


def test_a_missing_rate_refuses_the_ledger(tmp_path: Path) -> None:
    check = check_of(tmp_path, "X | C1 | 2024-01-05 | 2024-02-01 | 5 | USD")
    reason = "no rate from USD to EUR on or before 2024-01-05"
    assert any(reason in str(finding) for finding in check.findings)
    assert check.is_refused


def test_a_list_of_open_items_has_no_payments() -> None:
    whole = ledger(invoices=invoices_with())
    tables = {name: whole[name] for name in ("customers", "invoices")}
    check = check_ledger(Ledger(tables, "EUR"), today=TODAY)
    (note,) = check.findings
    assert not check.is_refused
    assert "each amount is taken as what is open" in note.what


def test_amounts_below_and_of_0_are_notes(tmp_path: Path) -> None:
    memo = "M | C1 | 2024-01-05 | 2024-02-01 | -5.00 | EUR"
    nothing = "Z | C1 | 2024-01-05 | 2024-02-01 | 0 | EUR"
    findings = findings_of(tmp_path, memo, nothing)
    assert findings == [
        "note: [invoices] amount: 1 row is below 0: credit memos, "
        "money of the customer",
        "note: [invoices] line 63 amount: the amount is 0; the row is not used",
    ]


@pytest.mark.parametrize("table", ["invoices", "payments"])
def test_a_table_with_its_signs_inverted_is_refused(tmp_path: Path, table: str) -> None:
    """Payments with a minus would undo payments that never were."""
    mapping = write_source(tmp_path, invoices_with(), options="")
    path = tmp_path / f"{table}.csv"
    path.write_text(re.sub(r"(\d+\.\d\d)", r"-\1", path.read_text()))
    check = read_ledger(mapping, today=TODAY)
    assert check.is_refused
    assert "amounts are below 0" in str(check.by_weight()[0])
    negated = mapping.read_text().replace(f"[{table}]", f"[{table}]\nnegate = true")
    mapping.write_text(negated)
    assert not read_ledger(mapping, today=TODAY).is_refused


def test_an_as_of_date_before_the_first_invoice_is_refused() -> None:
    whole = ledger(invoices=invoices_with())
    message = "no invoice was known on 2023-12-31; expected a day from 2024-01-01 on"
    with pytest.raises(AsOfError, match=message):
        known_on(whole, date(2023, 12, 31))


def test_a_clean_ledger_has_no_findings(simulation: Simulation) -> None:
    check = check_ledger(simulation.ledger, today=date(2025, 1, 1))
    assert check.findings == []
    assert check.require()["invoices"] is simulation.ledger["invoices"]
