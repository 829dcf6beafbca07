"""Finding the numbers of invoices in what a payer writes.

A number is found if it stands there as a whole: never a part of a longer number, a date
or an amount. A payer may leave out or change the signs between its parts if it has a
letter, such as RE 2024 17 for RE-2024-17.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import pandas as pd
from stdnum import iso11649
from stdnum.be import ogm_vcs
from stdnum.ch import esr

# More parts than an invoice number has.
MOST_PARTS = 8
# A number of digits only that is shorter than this could be anything.
SHORTEST_NUMBER = 4
SHORTEST_WITHOUT_ZEROS = 5
_TOKEN = re.compile(r"[^\W_]+")
_YEAR = re.compile(r"(19|20)\d\d")
# What stands before the number of an invoice.
_INTRODUCTIONS = {
    "INVOICE",
    "INV",
    "NO",
    "NR",
    "NUMBER",
    "REF",
    "BILL",
    "DOCUMENT",
    "DOC",
    "RECHNUNG",
    "RECHNUNGSNR",
    "RG",
    "RNR",
    "RE",
    "RNG",
    "BELEG",
    "FACTURE",
    "FACT",
    "FAC",
    "FACTURA",
    "FATTURA",
    "FT",
    "FACTUUR",
    "FAKTURA",
    "FV",
    "发票",
    "发票号",
    "票号",
}


@dataclass(frozen=True)
class Reference:
    """A number in a text, and the invoices that have it.

    Attributes
    ----------
    text : str
        As the payer wrote it.
    invoice_ids : tuple of str
        The invoices.
    """

    text: str
    invoice_ids: tuple[str, ...]


@dataclass(frozen=True)
class _Token:
    text: str
    start: int
    end: int


@dataclass(frozen=True)
class _Run:
    """Tokens of a text that stand one after the other."""

    text: str
    tokens: tuple[_Token, ...]
    before: tuple[_Token, ...]

    @property
    def start(self) -> int:
        return self.tokens[0].start

    @property
    def end(self) -> int:
        return self.tokens[-1].end

    @property
    def key(self) -> str:
        return "".join(token.text for token in self.tokens)

    def is_number(self, number: str) -> bool:
        """Return whether the run is a number of an invoice, written as a whole."""
        if not self.key.isdigit():
            return len(self.key) > 2 or self._is_introduced()
        return self._has_parts_of(number) and not self._is_part_of_number()

    def _has_parts_of(self, number: str) -> bool:
        """Return whether a number of digits has the parts it should have."""
        parts = [token.text for token in self.tokens]
        own_parts = _TOKEN.findall(number.upper())
        if len(own_parts) > 1:
            return parts == own_parts
        if len(parts) > 1:
            # A long number that the end of a line parts.
            between = self.text[self.tokens[0].end : self.tokens[1].start]
            return len(parts) == 2 and between == "\n" and len(self.key) > 5
        is_short = len(self.key) < SHORTEST_NUMBER or _YEAR.fullmatch(self.key)
        return not is_short or self._is_introduced()

    def _is_part_of_number(self) -> bool:
        """Return whether digits go on behind a sign, as in a date or an amount.

        A comma between two long numbers parts them.
        """
        before = re.search(r"(\d+)([-/.,:])$", self.text[: self.start])
        after = re.match(r"([-/.,:])(\d+)", self.text[self.end :])
        goes_on_before = before and not _is_list(before[2], before[1])
        goes_on_after = after and not _is_list(after[1], after[2])
        return bool(goes_on_before or goes_on_after)

    def _is_introduced(self) -> bool:
        words = [token.text for token in self.before[-2:]]
        return any(word in _INTRODUCTIONS for word in words)


def _is_list(sign: str, digits: str) -> bool:
    return sign == "," and len(digits) >= SHORTEST_NUMBER


@dataclass(frozen=True)
class _Number:
    """A number as the seller writes it, and the invoice that has it."""

    text: str
    invoice_id: str


class ReferenceIndex:
    """The invoices by their numbers: their ids, and the ids of their documents.

    Parameters
    ----------
    invoices : DataFrame
        With ``invoice_id`` and, if there is one, ``document_id``.
    """

    def __init__(self, invoices: pd.DataFrame) -> None:
        self.numbers: dict[str, list[_Number]] = {}
        for column in ("invoice_id", "document_id"):
            if column in invoices:
                self._add(invoices[column], invoices["invoice_id"])

    def _add(self, numbers: pd.Series, invoice_ids: pd.Series) -> None:
        pairs = zip(numbers.tolist(), invoice_ids.tolist(), strict=True)
        for number, invoice_id in pairs:
            if isinstance(number, str) and isinstance(invoice_id, str):
                for key in _keys(_number_key(number)):
                    self.numbers.setdefault(key, []).append(_Number(number, invoice_id))

    def of_reference(self, reference: str) -> Reference | None:
        """Return the invoices that a structured reference names as a whole."""
        key = _number_key(reference)
        for candidate in (*_keys(key), *_without_check_digits(key)):
            numbers = self.numbers.get(candidate)
            if numbers:
                return Reference(reference, _ids(numbers))
        return None

    def in_text(self, text: str) -> list[Reference]:
        """Return the numbers in a text, each once; of two that overlap, the longer."""
        upper = text.upper()
        tokens = tuple(
            _Token(match.group(), match.start(), match.end())
            for match in _TOKEN.finditer(upper)
        )
        references: dict[tuple[str, ...], Reference] = {}
        position = 0
        while position < len(tokens):
            n_tokens = 1
            for count in range(min(MOST_PARTS, len(tokens) - position), 0, -1):
                end = position + count
                run = _Run(upper, tokens[position:end], tokens[:position])
                invoice_ids = self._named(run)
                if invoice_ids:
                    number = text[run.start : run.end]
                    references[invoice_ids] = Reference(number, invoice_ids)
                    n_tokens = count
                    break
            position += n_tokens
        return list(references.values())

    def _named(self, run: _Run) -> tuple[str, ...]:
        for key in _keys(run.key):
            numbers = self.numbers.get(key, [])
            whole = [number for number in numbers if run.is_number(number.text)]
            if whole:
                return _ids(whole)
        return ()


def _ids(numbers: Iterable[_Number]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(number.invoice_id for number in numbers))


def _number_key(number: str) -> str:
    return "".join(_TOKEN.findall(number.upper()))


def _keys(key: str) -> list[str]:
    """Return a number, and without leading zeros if that leaves a long one."""
    if not key:
        return []
    short = key.lstrip("0")
    is_long = key.isdigit() and len(short) >= SHORTEST_WITHOUT_ZEROS
    return [key, short] if is_long and short != key else [key]


def _without_check_digits(key: str) -> Iterator[str]:
    """Yield what a structured reference is made of, if its check digits are right.

    ISO 11649 (RF, two digits, reference), the Swiss reference of 27 digits and the
    Belgian one of 12.

    Examples
    --------
    >>> list(_without_check_digits("RF18539007547034"))
    ['539007547034']
    >>> list(_without_check_digits("210000000003139471430009017"))
    ['21000000000313947143000901']
    >>> list(_without_check_digits("090933755493"))
    ['909337554']
    """
    if iso11649.is_valid(key):
        yield key[4:].lstrip("0")
    if len(key) == 27 and esr.is_valid(key):
        yield key[:-1].lstrip("0")
    if ogm_vcs.is_valid(key):
        yield key[:10].lstrip("0")
