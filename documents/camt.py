"""Reading ISO 20022 account statements: camt.053, and camt.052 and camt.054.

The paths are those of the message definitions camt.053.001.02 to .13; versions differ
in where a name stands (``Dbtr/Nm`` or ``Dbtr/Pty/Nm``), so both are looked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal, InvalidOperation

from obligor.documents.entries import (
    BankEntry,
    Direction,
    Statement,
    with_unique_ids,
)
from obligor.documents.xml import Element, parse_xml
from obligor.errors import SchemaError

# The element that holds one statement, by format.
STATEMENTS = {
    "camt.052": "BkToCstmrAcctRpt/Rpt",
    "camt.053": "BkToCstmrStmt/Stmt",
    "camt.054": "BkToCstmrDbtCdtNtfctn/Ntfctn",
}
# Bank transaction codes of a transfer or collection that came back: external code set
# of ISO 20022, sub-family.
_RETURNED = ("RRTN", "UPDD", "UPCT", "UPCQ", "PRDD", "ARET", "CQRV", "RVSL")
# What a bank writes if the payer gave no reference.
NO_REFERENCE = ("NOTPROVIDED", "NOT PROVIDED", "NONREF", "NONE")
# What identifies a transaction, also in the entry that takes it back.
_IDS = ("Refs/EndToEndId", "Refs/AcctSvcrRef", "Refs/TxId", "Refs/InstrId")
_CREDIT = "CRDT"
_DEBIT = "DBIT"


def read_camt(content: bytes, message: str, where: str) -> Statement:
    """Return the booked entries of a file.

    Parameters
    ----------
    content : bytes
        The file.
    message : str
        ``camt.052``, ``camt.053`` or ``camt.054``.
    where : str
        The table and the file, for messages.

    Raises
    ------
    SchemaError
        If it is another kind of file, or an entry lacks what it must have.
    """
    root = parse_xml(content, where)
    path = STATEMENTS[message]
    statements = list(root.each(path))
    if root.name != "Document" or not statements:
        actual = [name for name, other in STATEMENTS.items() if root.first(other)]
        raise SchemaError(
            f"the file is not {message}: it is {actual[0] if actual else root.name}",
            where=where,
            expected=f"a document with {path}",
            do=f'state format = "{actual[0]}"' if actual else "",
        )
    entries = list[BankEntry]()
    notes = list[str]()
    for element in statements:
        reader = _StatementReader(element, where)
        entries += reader.entries()
        notes += reader.notes
    return Statement(entries, notes)


@dataclass
class _StatementReader:
    """Reads one statement."""

    element: Element
    where: str
    notes: list[str] = field(default_factory=list)

    def entries(self) -> list[BankEntry]:
        """Return the booked entries; note the others, and a sum that differs."""
        entries = list[BankEntry]()
        booked = Decimal(0)
        n_pending = 0
        for number, element in enumerate(self.element.each("Ntry"), start=1):
            status = element.text_at("Sts/Cd", "Sts")
            if status and status != "BOOK":
                n_pending += 1
                continue
            entry = _EntryReader(self, element, number)
            booked += entry.signed_amount()
            entries += entry.transactions()
        if n_pending:
            noun = "entry is" if n_pending == 1 else "entries are"
            self.notes.append(f"{n_pending} {noun} not booked yet; not read")
        self._compare_balances(booked)
        return with_unique_ids(entries)

    @property
    def statement_id(self) -> str:
        """The bank's id of the statement."""
        return self.element.text_at("Id")

    @property
    def account(self) -> str:
        """The number of the account, an IBAN if it has one."""
        return self.element.text_at("Acct/Id/IBAN", "Acct/Id/Othr/Id")

    def _compare_balances(self, booked: Decimal) -> None:
        opening = self._balance("OPBD", "PRCD")
        closing = self._balance("CLBD")
        if opening is None or closing is None or opening + booked == closing:
            return
        self.notes.append(
            f"the statement {self.statement_id!r} does not add up: {opening} opening "
            f"and {booked} booked are not {closing} closing; entries may be missing"
        )

    def _balance(self, *codes: str) -> Decimal | None:
        for balance in self.element.each("Bal"):
            code = balance.text_at("Tp/CdOrPrtry/Cd")
            if code in codes:
                amount = self.amount_of(balance)
                is_debit = balance.text_at("CdtDbtInd") == _DEBIT
                return -amount if is_debit else amount
        return None

    def amount_of(self, element: Element, path: str = "Amt") -> Decimal:
        """Return the amount at a path."""
        text = element.text_at(path)
        try:
            amount = Decimal(text)
        except InvalidOperation:
            amount = Decimal("NaN")
        if not amount.is_finite() or amount < 0:
            raise self.wrong(element, f"the amount {text!r} is not valid", "a number")
        return amount

    def wrong(
        self,
        element: Element,
        what: str,
        expected: str,
    ) -> SchemaError:
        """Return the error of an element."""
        where = f"{self.where} line {element.line}"
        return SchemaError(what, where=where, expected=expected)


@dataclass(frozen=True)
class _EntryReader:
    """Reads one entry: one transaction, or the several of a batch."""

    statement: _StatementReader
    element: Element
    number: int

    def signed_amount(self) -> Decimal:
        """Return the amount of the entry, negative if it is a debit."""
        amount = self.statement.amount_of(self.element)
        return -amount if self._is_debit(self.element) else amount

    def transactions(self) -> Iterator[BankEntry]:
        """Yield the transactions of the entry."""
        details = list(self.element.each("NtryDtls/TxDtls"))
        batch_size = self.element.text_at("NtryDtls/Btch/NbOfTxs")
        if not details and batch_size not in ("", "1"):
            self.statement.notes.append(
                f"line {self.element.line}: the entry is a batch of {batch_size} "
                "transactions without details; camt.054 may have them"
            )
        if len(details) > 1 and not self._add_up(details):
            self.statement.notes.append(
                f"line {self.element.line}: the {len(details)} transactions of the "
                "entry do not add up to its amount; it is read as one"
            )
            yield self._entry(details, self.statement.amount_of(self.element), "")
        elif len(details) > 1:
            for position, detail in enumerate(details, start=1):
                amount = self._amount_of_detail(detail) or Decimal(0)
                yield self._entry([detail], amount, f"/{position}")
        else:
            yield self._entry(details, self.statement.amount_of(self.element), "")

    def _add_up(self, details: list[Element]) -> bool:
        total = Decimal(0)
        for detail in details:
            amount = self._amount_of_detail(detail)
            if amount is None:
                return False
            total += -amount if self._is_debit(detail) else amount
        return total == self.signed_amount()

    def _amount_of_detail(self, detail: Element) -> Decimal | None:
        for path in ("Amt", "AmtDtls/TxAmt/Amt"):
            if detail.text_at(path):
                return self.statement.amount_of(detail, path)
        return None

    def _is_debit(self, element: Element) -> bool:
        own = self.element.text_at("CdtDbtInd")
        indicator = element.text_at("CdtDbtInd") or own
        if indicator not in (_CREDIT, _DEBIT):
            expected = f"{_CREDIT} or {_DEBIT}"
            raise self.statement.wrong(
                self.element,
                f"the entry has the indicator {indicator!r}",
                expected,
            )
        return indicator == _DEBIT

    def _entry(
        self,
        details: list[Element],
        amount: Decimal,
        suffix: str,
    ) -> BankEntry:
        """Return one transaction from its details, or without any."""
        is_debit = self._is_debit(details[0] if details else self.element)
        payer_name, payer_iban = self._payer(details, is_debit=is_debit)
        booked_on = self._day("BookgDt") or self._day("ValDt")
        if booked_on is None:
            expected = "BookgDt or ValDt"
            raise self.statement.wrong(self.element, "the entry has no date", expected)
        return BankEntry(
            payment_id=self._id(details, suffix),
            direction=self._direction(details, is_debit=is_debit),
            amount=-amount if is_debit else amount,
            currency=self._currency(),
            paid_on=self._day("ValDt") or booked_on,
            booked_on=booked_on,
            references=tuple(_references(details)),
            end_to_end_id=next(_texts(details, "Refs/EndToEndId"), ""),
            remittance=self._remittance(details),
            original_ids=tuple(_texts(details, *_IDS)),
            payer_name=payer_name,
            payer_iban=payer_iban,
            account=self.statement.account,
            statement=self.statement.statement_id,
            batch=self.element.text_at("AcctSvcrRef", "NtryRef"),
            line=(details[0] if details else self.element).line,
        )

    def _payer(self, details: list[Element], *, is_debit: bool) -> tuple[str, str]:
        """Return the name and the account of the other side."""
        parties = details[0] if details else self.element
        is_payout = is_debit and not self._is_return(details)
        for side in ("Cdtr",) if is_payout else ("Dbtr", "Cdtr"):
            related = f"RltdPties/{side}"
            name = parties.text_at(f"{related}/Nm", f"{related}/Pty/Nm")
            account = f"{related}Acct/Id"
            iban = parties.text_at(f"{account}/IBAN", f"{account}/Othr/Id")
            # Banks put the parties of a return in either order.
            if (name or iban) and iban != self.statement.account:
                return name, iban
        return "", ""

    def _currency(self) -> str:
        for amount in self.element.each("Amt"):
            return amount.attributes.get("Ccy", "")
        return ""

    def _id(self, details: list[Element], suffix: str) -> str:
        """Return the bank's reference of a transaction, or its position."""
        own = details[0].text_at("Refs/AcctSvcrRef") if details else ""
        of_entry = self.element.text_at("AcctSvcrRef", "NtryRef")
        if own and (not suffix or own != of_entry):
            return own
        position = f"{self.statement.statement_id}/{self.number}"
        return f"{of_entry or position}{suffix}"

    def _day(self, path: str) -> date | None:
        text = self.element.text_at(f"{path}/Dt", f"{path}/DtTm")
        if not text:
            return None
        try:
            return date.fromisoformat(text[:10])
        except ValueError:
            raise self.statement.wrong(
                self.element, f"{path} is {text!r}", "a day such as 2026-01-31"
            ) from None

    def _is_return(self, details: list[Element]) -> bool:
        """Return whether the entry takes back an earlier one."""
        if self.element.text_at("RvslInd") in ("true", "1"):
            return True
        for element in (self.element, *details):
            code = element.text_at("BkTxCd/Domn/Fmly/SubFmlyCd")
            if code in _RETURNED or element.first("RtrInf"):
                return True
        return False

    def _direction(self, details: list[Element], *, is_debit: bool) -> Direction:
        if self._is_return(details):
            return "return" if is_debit else "payout returned"
        return "payout" if is_debit else "receipt"

    def _remittance(self, details: list[Element]) -> str:
        texts = [text for item in details for text in item.texts_at("RmtInf/Ustrd")]
        for item in details:
            texts += item.texts_at("RmtInf/Strd/AddtlRmtInf", "AddtlTxInf")
        if not texts:
            texts = self.element.texts_at("AddtlNtryInf")
        return "\n".join(texts)


def _references(details: list[Element]) -> Iterator[str]:
    """Yield the references of the creditor and of documents."""
    yield from _texts(
        details,
        "RmtInf/Strd/CdtrRefInf/Ref",
        "RmtInf/Strd/RfrdDocInf/Nb",
    )


def _texts(details: list[Element], *paths: str) -> Iterator[str]:
    for detail in details:
        for text in detail.texts_at(*paths):
            if text.upper() not in NO_REFERENCE:
                yield text
