"""Reading bank statements.

An entry of a statement pays the invoice whose number it names as a whole. What is not
clear is money of the customer without an invoice. An entry that is of no customer is
set aside, and the finding says so; nothing is left out in silence.
"""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from obligor.data.checks import LedgerCheck
from obligor.reading.sources import read_ledger
from tests.ascii import spec
from tests.document_samples import Movement, camt, mt940

TODAY = date(2024, 6, 1)
INVOICES = """invoice_id,customer_id,document_id,issued_on,due_on,amount,currency
RE-24-12,ANNA,RE-24-12,2024-01-15,2024-02-14,1000,EUR
RE-24-13,ANNA,RE-24-13,2024-01-20,2024-02-19,500,EUR
10017/1,BEN,10017,2024-01-15,2024-02-14,300,EUR
10017/2,BEN,10017,2024-01-15,2024-03-14,300,EUR
10018,CLEO,10018,2024-01-15,2024-02-14,250,EUR
"""
PAYERS = """customer_id,iban,name
ANNA,DE02 5001 0517 5407 3249 31,
BEN,,Böhm & Söhne KG
"""
ANNA = "DE02500105175407324931"
MAPPING = """
currency = "EUR"
[invoices]
file = "invoices.csv"
[payments]
file = "statement.*"
format = "{format}"
payers = "payers.csv"
"""


def read(folder: Path, statement: bytes, document_format: str) -> LedgerCheck:
    """Return the ledger of the invoices above and a statement."""
    (folder / "invoices.csv").write_text(INVOICES)
    (folder / "payers.csv").write_text(PAYERS, encoding="utf-8")
    (folder / "statement.txt").write_bytes(statement)
    mapping = folder / "mapping.toml"
    mapping.write_text(MAPPING.format(format=document_format))
    return read_ledger(mapping, today=TODAY)


def parts_of(check: LedgerCheck) -> list[str]:
    """Return what was paid: the amount, and the invoice or else the customer."""
    parts = []
    for row in check.ledger["payments"].to_dict("records"):
        has_item = isinstance(row["invoice_id"], str)
        target = row["invoice_id"] if has_item else f"of {row['customer_id']}"
        parts.append(f"{row['amount']:.0f} {target}")
    return parts


def test_an_entry_pays_the_invoice_that_it_names(tmp_path: Path) -> None:
    """Signs between the parts of a number may differ if it has a letter. A part of a
    longer number, of a date or of an amount is no number of an invoice. A number that
    stands for an invoice in two parts pays the part of that amount, else the oldest.
    """
    expected = """
        amount | text                  | paid
        1000   | Rechnung RE-24-12     | 1000 RE-24-12
        995    | re 24/12 less charges | 995 RE-24-12
        1500   | RE-24-12, RE-24-13    | 1000 RE-24-12; 500 RE-24-13
        1600   | RE-24-12 RE-24-13     | 1000 RE-24-12; 500 RE-24-13; 100 of ANNA
        1400   | RE-24-12 and RE-24-13 | 1400 of ANNA
        600    | Invoice 10017         | 300 10017/1; 300 10017/2
        300    | 10017/2               | 300 10017/2
        400    | 10017 part payment    | 300 10017/1; 100 10017/2
        250    | 10018 10017           | -
        250    | for 210018            | -
        250    | 10018,50 less         | -
        250    | lunch                 | -
    """

    def answer(amount: str, text: str) -> dict[str, object]:
        statement = camt(Movement(amount, text))
        parts = parts_of(read(tmp_path, statement, "camt.053"))
        return {"paid": "; ".join(parts) or None}

    spec(answer, expected)


def test_a_payer_is_known_by_its_account_or_its_name(tmp_path: Path) -> None:
    """The invoice must then be of the payer: a payment never finds a stranger's."""
    expected = """
        text     | iban                   | name                  | paid
        -        | DE02500105175407324931 | -                     | 100 of ANNA
        -        | -                      | BOEHM UND SOEHNE      | -
        -        | -                      | Boehm &amp; Soehne KG | 100 of BEN
        RE-24-13 | DE02500105175407324931 | -                     | 100 RE-24-13
        10018    | DE02500105175407324931 | -                     | 100 of ANNA
        10018    | -                      | Somebody else         | 100 10018
    """

    def answer(
        text: str | None, iban: str | None, name: str | None
    ) -> dict[str, object]:
        movement = Movement("100", text or "", iban=iban or "", name=name or "")
        parts = parts_of(read(tmp_path, camt(movement), "camt.053"))
        return {"paid": "; ".join(parts) or None}

    spec(answer, expected)


def test_a_structured_reference_counts_before_the_text(tmp_path: Path) -> None:
    """RF references (ISO 11649), Swiss and Belgian ones hold the number between check
    digits. With wrong check digits they are no reference.
    """
    expected = """
        reference                   | text                  | paid
        10018                       | Invoice RE-24-13  | 100 10018
        RF5110018                   | -                     | 100 10018
        RF5210018                   | -                     | -
        000000000000000000000100182 | -                     | 100 10018
        000000000000000000000100183 | -                     | -
        -                           | Invoice RE-24-13  | 100 RE-24-13
    """

    def answer(reference: str | None, text: str | None) -> dict[str, object]:
        movement = Movement("100", text or "", reference=reference or "")
        parts = parts_of(read(tmp_path, camt(movement), "camt.053"))
        return {"paid": "; ".join(parts) or None}

    spec(answer, expected)


def test_a_return_takes_back_what_its_receipt_paid(tmp_path: Path) -> None:
    """It has the end-to-end id of the receipt. Charges of the bank are no debt of an
    invoice.
    """
    receipt = Movement("500", "RE-24-13", day="2024-03-05", end_to_end_id="E7")
    expected = """
        amount | end_to_end_id | text     | is_reversal | return_code | returned
        500    | E7            | -        | yes         | -           | -500 RE-24-13
        503    | E7            | -        | -           | MD06        | -500 RE-24-13
        500    | -             | RE-24-13 | -           | AC04        | -500 RE-24-13
    """

    def answer(
        amount: str,
        end_to_end_id: str | None,
        text: str | None,
        is_reversal: bool | None,
        return_code: str | None,
    ) -> dict[str, object]:
        movement = Movement(
            amount,
            text or "",
            day="2024-03-20",
            is_debit=True,
            is_reversal=bool(is_reversal),
            end_to_end_id=end_to_end_id or "NOTPROVIDED",
            return_code=return_code or "",
        )
        check = read(tmp_path, camt(receipt, movement), "camt.053")
        paid, returned = parts_of(check)
        assert paid == "500 RE-24-13"
        return {"returned": returned}

    spec(answer, expected)


def test_a_return_of_nobody_refuses_the_ledger(tmp_path: Path) -> None:
    """A receipt that may be undone must not stand as if it were not."""
    movement = Movement("500", "unknown", is_debit=True, is_reversal=True)
    check = read(tmp_path, camt(movement), "camt.053")
    (refusal,) = [item for item in check.findings if item.level == "refuse"][:1]
    assert refusal.what.startswith("return of a payer without a name: its receipt is")


def test_every_entry_that_is_not_a_receipt_is_told(tmp_path: Path) -> None:
    """Payouts to customers are money of theirs; other payouts are counted."""
    statement = camt(
        Movement("1000", "RE-24-12"),
        Movement("80", "refund", is_debit=True, iban=ANNA),
        Movement("400", "supplier", is_debit=True, name="Paper Ltd"),
        Movement("70", "RE-24-13", status="PDNG"),
        opening="0",
        closing="600",
    )
    check = read(tmp_path, statement, "camt.053")
    assert parts_of(check) == ["1000 RE-24-12", "-80 of ANNA"]
    notes = [item.what for item in check.findings if item.table == "payments"]
    assert notes[:4] == [
        "statement.txt: 1 entry is not booked yet; not read",
        "statement.txt: the statement 'S1' does not add up: 0 opening and 520 booked "
        "are not 600 closing; entries may be missing",
        "1 entry is a payout to others than customers (-400.00 EUR); not used",
        "of 2 entries of bank statements 1 are of invoices, 1 are money of a customer "
        "without an invoice, 0 are of no customer",
    ]


def test_the_same_entry_in_two_statements_is_read_once(tmp_path: Path) -> None:
    """A bank sends a statement twice, or an account is exported over two periods."""
    statement = camt(Movement("1000", "RE-24-12", bank_id="B1"))
    (tmp_path / "statement.xml").write_bytes(statement)
    check = read(tmp_path, statement, "camt.053")
    assert parts_of(check) == ["1000 RE-24-12"]
    assert "1 entry is in two statements; read once" in [
        item.what for item in check.findings
    ]


MT940_ENTRIES = {
    "SEPA": (":61:2403050305C1000,00NTRFX", ":86:166?00X?20SVWZ+RE-24-?2112?32Anna"),
    "free": (":61:2403050305C500,NTRFNONREF", ":86:Payment of invoice RE-24-13"),
    "words": (
        ":61:240305C500,00NTRFNONREF",
        ":86:/NAME/CLEO/REMI/Invoice 10018/EREF/E1",
    ),
    "mark": (":61:2403050305RC500,00NTRFX", ":86:Return RE-24-13"),
    "code": (":61:2403050305D500,00NRTIX", ":86:109?00X?20SVWZ+RE-24-13"),
    "payout": (":61:2403050305D500,00NTRFX", ":86:020?00X?20RE-24-13?32Paper Ltd"),
}


def test_mt940_is_read_like_camt(tmp_path: Path) -> None:
    """``RC`` takes back a credit; German banks write a return as a debit with the
    business transaction code 109. A number may go on in the next line.
    """
    expected = """
        entry  | paid
        SEPA   | 1000 RE-24-12
        free   | 500 RE-24-13
        words  | 500 10018
        mark   | -500 RE-24-13
        code   | -500 RE-24-13
        payout | -
    """

    def answer(entry: str) -> dict[str, object]:
        check = read(tmp_path, mt940(*MT940_ENTRIES[entry]), "mt940")
        return {"paid": "; ".join(parts_of(check)) or None}

    spec(answer, expected)


@pytest.mark.parametrize("document_format", ["camt.053", "mt940"])
def test_the_bank_may_know_of_a_payment_after_it_counts(
    tmp_path: Path, document_format: str
) -> None:
    """The value date says when it was paid, the booking date when it was known."""
    content = camt(Movement("1000", "RE-24-12")).replace(
        b"<BookgDt><Dt>2024-03-05", b"<BookgDt><Dt>2024-03-08"
    )
    if document_format == "mt940":
        content = mt940(":61:2403050308C1000,00NTRFX", ":86:RE-24-12")
    check = read(tmp_path, content, document_format)
    spec(
        check.ledger["payments"],
        """
        paid_on    | known_on   | amount | currency
        2024-03-05 | 2024-03-08 | 1000   | EUR
        """,
    )
