"""What is left out is given by rows, money and customers, and can refuse a ledger."""

from __future__ import annotations

import sys
from datetime import date
from pathlib import Path

import pytest

from obligor.cli.app import main
from obligor.data.checks import LedgerCheck, check_ledger
from tests.ascii import ledger

TODAY = date(2024, 12, 31)
HEADER = "invoice_id | customer_id | issued_on | due_on | amount | currency"
GOOD_INVOICES = [
    f"K{n} | KEEP | 2024-01-01 | 2024-02-01 | 1000 | EUR" for n in range(60)
]
GOOD_PAYMENTS = [f"K{n} | 2024-02-01 | 1000" for n in range(60)]


def check(*invoices: str, payments: tuple[str, ...] = ()) -> LedgerCheck:
    """Check 60 paid invoices, and some others."""
    tables = ledger(
        invoices="\n".join([HEADER, *GOOD_INVOICES, *invoices]),
        payments="\n".join(
            ["invoice_id | paid_on | amount", *GOOD_PAYMENTS, *payments]
        ),
    )
    return check_ledger(tables, today=TODAY)


def test_one_row_that_holds_all_that_is_open_refuses_the_ledger() -> None:
    late = "L1 | LATE | 2025-10-05 | 2025-11-05 | 2000 | EUR"
    result = check(late)
    assert result.is_refused
    reason = "bad rows hold 2,000.00 of 2,000.00 EUR still open (100%)"
    assert reason in str(result.by_weight()[0])
    (loss,) = result.left_out
    assert loss.sentence("EUR") == (
        "left out of invoices: 1 of 61 rows, "
        "2,000.00 EUR of the amount (3.2%), "
        "2,000.00 EUR of the open amount (100.0%), 1 customer"
    )


def test_a_paid_row_that_is_set_aside_is_left_out_but_refuses_nothing() -> None:
    late = "L1 | LATE | 2025-10-05 | 2025-11-05 | 2000 | EUR"
    result = check(late, payments=("L1 | 2024-11-01 | 2000",))
    assert not result.is_refused, result.findings
    assert [loss.customers for loss in result.left_out] == [("LATE",), ("LATE",)]


def test_invoices_that_share_an_id_and_differ_are_set_aside_with_their_payments() -> (
    None
):
    result = check(
        "1001 | CUSA | 2024-09-01 | 2024-10-01 | 50 | EUR",
        "1001 | CUSB | 2024-09-01 | 2024-10-01 | 90 | EUR",
        payments=("1001 | 2024-11-30 | 90",),
    )
    assert result.quarantined["invoices"]["customer_id"].tolist() == ["CUSA", "CUSB"]
    assert result.quarantined["payments"]["amount"].tolist() == [90]
    texts = " ".join(map(str, result.findings))
    assert "invoice_id '1001' was set aside" in texts
    assert 'id = ["company", "number"]' in texts


def test_of_equal_invoices_the_first_is_used() -> None:
    row = "1001 | CUSA | 2024-09-01 | 2024-10-01 | 50 | EUR"
    result = check(row, row, payments=("1001 | 2024-11-30 | 50",))
    assert len(result.quarantined["invoices"]) == 1
    assert "payments" not in result.quarantined


def test_an_allocation_to_an_item_of_another_customer_is_left_out_of_both() -> None:
    """The money stays with whom it came from; neither ledger is complete."""
    receipt = "R1 | - | PAYER | 2024-11-30 | 100"
    tables = ledger(
        invoices="\n".join(
            [
                HEADER,
                *GOOD_INVOICES,
                "L1 | LATE | 2024-10-05 | 2024-11-05 | 100 | EUR",
                "P1 | PAYER | 2024-10-05 | 2024-11-05 | 4000 | EUR",
            ]
        ),
        payments="\n".join(
            [
                "payment_id | invoice_id | customer_id | paid_on | amount",
                receipt,
                "R2 | - | PAYER | 2024-11-30 | 4000",
            ]
        ),
        allocations="\n".join(
            [
                "payment_id | invoice_id | allocated_on | amount",
                "R1 | L1 | 2024-12-01 | 100",
                "R2 | P1 | 2024-12-01 | 4000",
            ]
        ),
    )
    result = check_ledger(tables, today=TODAY)
    (finding,) = [one for one in result.findings if one.level == "quarantine"]
    assert str(finding) == (
        "quarantine: [allocations] row 0 payment_id: 'R1' is a payment of customer "
        "PAYER, 'L1' an invoice of customer LATE; expected a payment and an invoice of "
        "one customer; book what one pays for another as a payment of that invoice"
    )
    (loss,) = result.left_out
    assert loss.customers == ("LATE", "PAYER")
    assert loss.amount.part == 100
    assert result.ledger.set_aside == {"LATE": 1, "PAYER": 1}


def test_an_error_names_a_table_in_brackets_on_the_console(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    mapping = tmp_path / "mapping.toml"
    mapping.write_text('currency = "EUR"\n[invoices]\nfile = "nowhere.csv"\n')
    monkeypatch.setattr(sys, "argv", ["obligor", "check", str(mapping)])
    with pytest.raises(SystemExit):
        main()
    assert "error: [invoices]" in capsys.readouterr().err


def test_the_reasons_for_refusing_are_printed_before_other_findings(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    rows = [f"B{n},BAD,2024-10-01,2024-11-01,x,EUR" for n in range(60)]
    lines = [HEADER.replace(" | ", ","), *rows]
    (tmp_path / "invoices.csv").write_text("\n".join(lines))
    (tmp_path / "payments.csv").write_text("invoice_id,paid_on,amount")
    mapping = tmp_path / "mapping.toml"
    mapping.write_text(
        'currency = "EUR"\n'
        '[invoices]\nfile = "invoices.csv"\n'
        '[payments]\nfile = "payments.csv"\n'
    )
    monkeypatch.setattr(sys, "argv", ["obligor", "check", str(mapping)])
    with pytest.raises(SystemExit):
        main()
    printed = capsys.readouterr().out
    assert "60 of 60 rows are bad (100%)" in " ".join(printed.split())
    assert "more" in printed
