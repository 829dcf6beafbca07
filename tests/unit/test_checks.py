"""Bad ledgers: every finding is told, bad rows are set aside, the misleading is refused."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pandas as pd
import pytest

from obligor.data.asof import known_on
from obligor.data.checks import check_ledger
from obligor.data.sources import read_ledger, write_quarantine
from obligor.errors import AsOfError, InputError, SchemaError
from tests.ascii import ledger

TODAY = date(2024, 12, 31)
GOOD = [
    f"I{n} | C{n % 7} | 2024-01-0{n % 9 + 1} | 2024-02-01 | 100.00 | EUR"
    for n in range(60)
]
HEAD = "invoice_id | customer_id | issued_on | due_on | amount | currency"
MAPPING = """
currency = "EUR"
[invoices]
file = "invoices.csv"
date_format = "%Y-%m-%d"
{invoices}
[payments]
file = "payments.csv"
date_format = "%Y-%m-%d"
[payments.columns]
payment_id = {{ row_number = "P" }}
"""


def invoices(*bad: str) -> str:
    return "\n".join([HEAD, *GOOD, *bad])


def write(
    folder: Path,
    invoices: str,
    payments: str = "",
    encoding: str = "utf-8",
    extra: str = "",
) -> Path:
    (folder / "invoices.csv").write_bytes(invoices.replace(" | ", ",").encode(encoding))
    text = "\n".join(
        [
            "invoice_id | paid_on | amount",
            *[f"I{n} | 2024-02-01 | 50.00" for n in range(40)],
            payments,
        ]
    )
    (folder / "payments.csv").write_text(text.replace(" | ", ","))
    (folder / "mapping.toml").write_text(MAPPING.format(invoices=extra))
    return folder / "mapping.toml"


def findings(folder: Path, *bad: str, payments: str = "") -> list[str]:
    check = read_ledger(write(folder, invoices(*bad), payments), today=TODAY)
    assert not check.is_refused, check.findings
    assert sum(map(len, check.quarantined.values())) == len(
        {(f.table, f.row) for f in check.findings if f.level == "quarantine"}
    )
    return [str(f) for f in check.findings]


@pytest.mark.parametrize(
    ("row", "told"),
    [
        (
            "X | C1 | 2024-01-05 | 2024-02-01 | -5.00 | EUR",
            "invoices.amount row 60: is -5.0; expected an amount above 0",
        ),
        (
            "X | C1 | 2024-01-05 | 2024-02-01 | 0 | EUR",
            "invoices.amount row 60: is 0.0; expected an amount above 0",
        ),
        (
            "X | C1 | 2024-01-05 | 2024-02-01 | inf | EUR",
            "invoices.amount row 60: is inf; expected a finite number",
        ),
        (
            "X | C1 | 2024-01-05 | 2024-02-01 | five | EUR",
            "invoices.amount row 60: cannot read 'five'; expected a number",
        ),
        (
            "X | C1 | 2024-01-05 | 2024-02-01 |  | EUR",
            "invoices.amount row 60: empty; expected a value",
        ),
        (
            "X | C1 | 2024-13-05 | 2024-02-01 | 5 | EUR",
            "invoices.issued_on row 60: cannot read '2024-13-05'",
        ),
        (
            "X | C1 | 2025-01-05 | 2025-02-01 | 5 | EUR",
            "invoices.issued_on row 60: 2025-01-05 lies in the future",
        ),
        (
            "X | C1 | 2024-03-05 | 2024-02-01 | 5 | EUR",
            "invoices.due_on row 60: due before it was issued",
        ),
        (
            "X | C1 | 2024-01-05 | 2024-02-01 | 5 | EURO",
            "invoices.currency row 60: is 'EURO'; expected an ISO 4217",
        ),
        (
            "I3 | C1 | 2024-01-05 | 2024-02-01 | 5 | EUR",
            "invoices.invoice_id row 60: 'I3' again; expected an id used once",
        ),
        (
            "X |  | 2024-01-05 | 2024-02-01 | 5 | EUR",
            "invoices.customer_id row 60: empty",
        ),
    ],
)
def test_a_bad_invoice_is_told_and_set_aside(
    tmp_path: Path, row: str, told: str
) -> None:
    assert any(told in finding for finding in findings(tmp_path, row))


@pytest.mark.parametrize(
    ("row", "told"),
    [
        (
            "NOPE | 2024-02-01 | 5.00",
            "quarantine: payments.invoice_id row 40: invoice_id 'NOPE' is unknown",
        ),
        (
            "I1 | 2023-12-01 | 5.00",
            "note: payments.paid_on row 40: paid before the invoice was issued",
        ),
        (
            "I1 | 2026-02-01 | 5.00",
            "quarantine: payments.paid_on row 40: 2026-02-01 lies in the future",
        ),
    ],
)
def test_a_bad_payment_is_told(tmp_path: Path, row: str, told: str) -> None:
    assert any(told in finding for finding in findings(tmp_path, payments=row))


def test_all_findings_are_told_at_once(tmp_path: Path) -> None:
    bad = [
        "X | C1 | 2024-01-05 | 2024-02-01 | -5 | XXX",
        "Y | C1 | never | 2024-02-01 | 5 | EUR",
    ]
    told = findings(tmp_path, *bad, payments="Y | 2024-03-01 | 5.00")
    assert (
        len([f for f in told if f.startswith("quarantine")]) == 4
    )  # amount, currency, date, orphaned payment


def test_quarantine_files_hold_the_rows_and_the_reasons(tmp_path: Path) -> None:
    check = read_ledger(
        write(tmp_path, invoices("X | C1 | 2024-01-05 | 2024-02-01 | -5 | EUR")),
        today=TODAY,
    )
    (path,) = write_quarantine(check, tmp_path / "aside")
    row = pd.read_csv(path).iloc[0]
    assert (row["invoice_id"], row["row"]) == ("X", 60)
    assert "above 0" in row["findings"]
    assert len(check.require()["invoices"]) == 60


def test_too_many_bad_rows_refuse_the_ledger(tmp_path: Path) -> None:
    bad = [f"X{n} | C1 | 2024-01-05 | 2024-02-01 | -5 | EUR" for n in range(10)]
    check = read_ledger(write(tmp_path, invoices(*bad)), today=TODAY)
    assert check.is_refused
    with pytest.raises(SchemaError, match=r"10 of 70 rows are bad \(14%\)"):
        check.require()


def test_an_empty_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SchemaError, match="the file is empty"):
        read_ledger(write(tmp_path, ""), today=TODAY)


def test_a_header_alone_is_refused(tmp_path: Path) -> None:
    check = read_ledger(write(tmp_path, HEAD), today=TODAY)
    assert "the table is empty" in " ".join(map(str, check.findings))
    assert check.is_refused


def test_a_wrong_encoding_names_the_byte_and_the_remedy(tmp_path: Path) -> None:
    text = invoices("Ü1 | C1 | 2024-01-05 | 2024-02-01 | 5 | EUR")
    with pytest.raises(SchemaError, match=r"is not utf-8.*cp1252"):
        read_ledger(write(tmp_path, text, encoding="cp1252"), today=TODAY)
    check = read_ledger(
        write(tmp_path, text, encoding="cp1252", extra='encoding = "cp1252"'),
        today=TODAY,
    )
    assert "Ü1" in set(check.require()["invoices"]["invoice_id"])


def test_an_unknown_encoding_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="invoices"):
        read_ledger(
            write(tmp_path, invoices(), extra='encoding = "utf-99"'), today=TODAY
        )


def test_a_missing_column_refuses_the_ledger(tmp_path: Path) -> None:
    text = "\n".join(line.rsplit(" | ", 1)[0] for line in invoices().splitlines())
    check = read_ledger(write(tmp_path, text), today=TODAY)
    assert any(
        str(f) == "refuse: invoices.currency: no such column; expected the column"
        for f in check.findings
    )
    assert check.is_refused


def test_a_mapped_column_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SchemaError, match=r"no column 'Betrag'.*expected one of"):
        read_ledger(
            write(tmp_path, invoices(), extra='[invoices.columns]\namount = "Betrag"'),
            today=TODAY,
        )


def test_a_missing_rate_refuses_the_ledger(tmp_path: Path) -> None:
    check = read_ledger(
        write(tmp_path, invoices("X | C1 | 2024-01-05 | 2024-02-01 | 5 | USD")),
        today=TODAY,
    )
    assert any(
        "no rate from USD to EUR on or before 2024-01-05" in str(f)
        for f in check.findings
    )
    assert check.is_refused


def test_a_missing_payments_table_is_refused() -> None:
    whole = ledger(invoices=invoices())
    tables = {name: whole[name] for name in ("customers", "invoices")}
    assert check_ledger(type(whole)(tables, "EUR"), today=TODAY).is_refused


def test_as_of_before_the_first_invoice_says_from_when_on() -> None:
    with pytest.raises(
        AsOfError,
        match="no invoice was known on 2023-12-31; expected a day from 2024-01-01 on",
    ):
        known_on(ledger(invoices=invoices()), date(2023, 12, 31))


def test_a_clean_ledger_has_no_findings(simulation) -> None:  # type: ignore[no-untyped-def]
    check = check_ledger(simulation.ledger, today=date(2025, 1, 1))
    assert check.findings == []
    assert check.require()["invoices"] is simulation.ledger["invoices"]
