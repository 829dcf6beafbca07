"""Reading MT940 account statements with the library mt-940.

The marks of a statement line are those of SWIFT's field 61: ``C`` and ``D``, ``RC`` for
the reversal of a credit and ``RD`` for that of a debit.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

import mt940
from mt940.processors import (
    transaction_details_post_processor,
    transaction_details_post_processor_with_space,
)

from obligor.documents.camt import NO_REFERENCE
from obligor.documents.entries import (
    BankEntry,
    Direction,
    Statement,
    with_unique_ids,
)
from obligor.errors import SchemaError

# Business transaction codes of returned transfers, cheques and collections: German
# banks, DK agreement on remote data transmission, annex 3, chapter 8.
_RETURNED = ("108", "109", "159", "181", "182", "183", "184")
_LINE = re.compile(r"(?m)^:61:")
# The words of Dutch and SWIFT structures: /NAME/ACME/REMI/INVOICE 12/.
_WORD = re.compile(r"/(NAME|IBAN|EREF|REMI|CNTP|RTRN|PREF)/")


def read_mt940(content: bytes, encoding: str, where: str) -> Statement:
    """Return the entries of a file.

    Parameters
    ----------
    content : bytes
        The file.
    encoding : str
        Of the file; UTF-8 if empty.
    where : str
        The table and the file, for messages.

    Raises
    ------
    SchemaError
        If it is not an MT940 file, or a line of it cannot be read.
    """
    text = _decoded(content, encoding, where)
    if ":20:" not in text:
        raise SchemaError(
            "the file is not MT940: it has no field :20:",
            where=where,
            expected="an account statement of SWIFT",
        )
    lines = [_line_at(text, match.start()) for match in _LINE.finditer(text)]
    statements = _parsed(text, where)
    n_entries = sum(len(statement) for statement in statements)
    if n_entries != len(lines):
        # The library joins a line without a transaction type with the next.
        raise SchemaError(
            f"{len(lines)} lines :61: give {n_entries} entries",
            where=where,
            expected="a transaction type such as NTRF in each line :61:",
        )
    entries = list[BankEntry]()
    notes = list[str]()
    remaining_lines = iter(lines)
    for statement in statements:
        reader = _StatementReader(statement, where)
        entries += with_unique_ids(list(reader.entries(remaining_lines)))
        notes += reader.differences()
    return Statement(entries, notes)


def _decoded(content: bytes, encoding: str, where: str) -> str:
    try:
        text = content.decode(encoding or "utf-8-sig")
    except (UnicodeDecodeError, LookupError) as error:
        raise SchemaError(
            f"the file cannot be decoded: {error}",
            where=where,
            expected="the encoding that the mapping names",
            do='set the encoding, e.g. encoding = "cp1252"',
        ) from None
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _line_at(text: str, position: int) -> int:
    return text.count("\n", 0, position) + 1


def _read_details(
    statements: mt940.models.Transactions,
    tag: mt940.tags.Tag,
    content: dict[str, object],
    result: dict[str, object],
) -> dict[str, object]:
    """Read field :86: twice, as its lines are joined with a blank or without one.

    A payer's line may end between two words, or inside a number.
    """
    texts = (statements, tag, content)
    spaced = transaction_details_post_processor_with_space(*texts, dict(result))
    details = transaction_details_post_processor(*texts, result)
    details["spaced_purpose"] = spaced.get("purpose")
    return details


def _parsed(text: str, where: str) -> list[mt940.models.Transactions]:
    # The library logs what it cannot read, with the names of payers.
    logging.getLogger("mt940").setLevel(logging.CRITICAL)
    try:
        return mt940.parse_statements(
            text,
            processors={"post_transaction_details": [_read_details]},
            options=mt940.Options.all(),
        )
    # It raises what its parts raise about a damaged file: of many types.
    except Exception as error:
        raise SchemaError(
            f"the file is not MT940: {type(error).__name__}",
            where=where,
            expected="an account statement of SWIFT",
        ) from None


@dataclass(frozen=True)
class _StatementReader:
    """Reads one statement."""

    statement: mt940.models.Transactions
    where: str

    @property
    def statement_id(self) -> str:
        """The account and the number of the statement."""
        content = self.statement.data
        number = content.get("statement_number") or content.get("transaction_reference")
        return f"{self.account}/{number or ''}"

    @property
    def account(self) -> str:
        """The number of the account."""
        return str(self.statement.data.get("account_identification") or "").strip()

    def entries(self, lines: Iterator[int]) -> Iterator[BankEntry]:
        """Yield the entries; each takes the next of some lines."""
        for number, transaction in enumerate(self.statement, start=1):
            line = next(lines)
            yield self._entry(_Details(transaction.data), number, line)

    def differences(self) -> list[str]:
        """Return a note if the balances and the entries do not add up."""
        opening = self.statement.data.get("final_opening_balance")
        closing = self.statement.data.get("final_closing_balance")
        if opening is None or closing is None:
            return []
        booked = Decimal(0)
        for transaction in self.statement:
            booked += transaction.data["amount"].amount
        start = opening.amount.amount
        end = closing.amount.amount
        if start + booked == end:
            return []
        return [
            f"the statement {self.statement_id!r} does not add up: {start} opening and "
            f"{booked} booked are not {end} closing; entries may be missing"
        ]

    def _entry(
        self,
        details: _Details,
        number: int,
        line: int,
    ) -> BankEntry:
        amount = details.amount
        booked_on = details.day("entry_date") or details.day("date")
        if amount is None or booked_on is None:
            raise SchemaError(
                "the entry has no amount or no day", where=f"{self.where} line {line}"
            )
        return BankEntry(
            # Banks put one reference in several lines; statements are numbered
            # anew each year.
            payment_id=f"{self.statement_id}/{booked_on:%Y%m%d}/{number}",
            direction=details.direction,
            amount=amount,
            currency=details.text("currency"),
            paid_on=details.day("date") or booked_on,
            booked_on=booked_on,
            end_to_end_id=details.end_to_end_id,
            remittance=details.remittance,
            original_ids=tuple(details.original_ids()),
            payer_name=details.payer_name,
            payer_iban=details.payer_iban,
            account=self.account,
            statement=self.statement_id,
            line=line,
        )


@dataclass(frozen=True)
class _Details:
    """What the library read of one entry."""

    content: Mapping[str, object]

    def text(self, key: str) -> str:
        """Return a text, empty if there is none."""
        value = self.content.get(key)
        return str(value).strip() if value is not None else ""

    def day(self, key: str) -> date | None:
        """Return a day."""
        value = self.content.get(key)
        if not isinstance(value, date):
            return None
        return date(value.year, value.month, value.day)

    @property
    def amount(self) -> Decimal | None:
        """The amount, negative if it is debited."""
        value = getattr(self.content.get("amount"), "amount", None)
        return value if isinstance(value, Decimal) else None

    @property
    def direction(self) -> Direction:
        """What the entry is to the seller."""
        mark = self.text("status").upper()
        is_debit = mark in ("D", "RC")
        code = self.text("transaction_code")
        is_returned = code in _RETURNED or self.text("id").upper() == "NRTI"
        if mark in ("RC", "RD") or is_returned or "RTRN" in self._words():
            return "return" if is_debit else "payout returned"
        return "payout" if is_debit else "receipt"

    @property
    def end_to_end_id(self) -> str:
        """The payer's own id; empty if the payer gave none."""
        text = self.text("end_to_end_reference") or self._words().get("EREF", "")
        return "" if text.upper() in NO_REFERENCE else text

    def original_ids(self) -> Iterator[str]:
        """Yield what may identify the receipt that a return takes back."""
        texts = (
            self.end_to_end_id,
            self.text("customer_reference"),
            self.text("bank_reference"),
        )
        for text in dict.fromkeys(texts):
            if text and text.upper() not in NO_REFERENCE:
                yield text

    @property
    def remittance(self) -> str:
        """The text of the payer."""
        texts = [
            self.text("purpose"),
            self.text("spaced_purpose"),
            self.text("additional_purpose"),
            self._words().get("REMI", ""),
            "" if self._words() else self.text("transaction_details"),
            self.text("extra_details"),
        ]
        return "\n".join(text for text in texts if text)

    @property
    def payer_name(self) -> str:
        """The name of the other side."""
        words = self._words()
        return self.text("applicant_name") or words.get("NAME", "")

    @property
    def payer_iban(self) -> str:
        """The account of the other side."""
        for key in ("gvc_applicant_iban", "applicant_iban"):
            if self.text(key):
                return self.text(key)
        words = self._words()
        party = words.get("CNTP", "").split("/")
        return words.get("IBAN", "") or party[0]

    def _words(self) -> dict[str, str]:
        """Return the texts behind words such as /REMI/, by the word."""
        details = self.text("transaction_details").replace("\n", "")
        parts = _WORD.split(details)
        pairs = zip(parts[1::2], parts[2::2], strict=True)
        return {word: text.strip("/ ") for word, text in pairs}
