"""Guessing which list a file is, and which of our columns each of its columns fills."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import pandas as pd

from obligor.connectors.headings import (
    HeadingMatch,
    Role,
    currency_in,
    folded,
    meanings,
)
from obligor.connectors.layouts import Layout
from obligor.connectors.words import NOT_VALID, kind_of
from obligor.data.column_reading import EMPTY_VALUES, text_of, texts_of
from obligor.data.money import MINOR_DIGITS
from obligor.reading.amounts import parse_amounts
from obligor.reading.dates import parse_days

DAY_ROLES = (
    Role.ISSUED,
    Role.POSTED,
    Role.ENTERED,
    Role.DUE,
    Role.BASELINE,
    Role.PAID,
    Role.REGISTERED,
)
NUMBER_ROLES = (
    Role.AMOUNT,
    Role.OPEN,
    Role.PAID_AMOUNT,
    Role.DEBIT,
    Role.CREDIT,
    Role.TERMS,
)
# Rows that are looked at to see what a column holds.
MOST_SAMPLE_ROWS = 2000
# A column is of dates or of amounts if so many of its cells are.
FEWEST_OF_TYPE = 0.8
# In lists of these languages the day stands before the month, the comma is decimal.
_SIGN = re.compile(
    r"^[\s(+-]*([^\d\s(),.+-]{1,3})\s*[-+]?\d|\d\s*([^\d\s(),.+-]{1,3})$"
)
# Signs that stand for one currency; $ and ¥ stand for several.
SIGNS = {"€": "EUR", "£": "GBP", "₹": "INR", "₩": "KRW", "₽": "RUB", "zł": "PLN"}
LANGUAGES = ("English", "German", "Chinese", "French", "Spanish")
CONTINENTAL = ("German", "French", "Spanish")


@dataclass(frozen=True)
class ColumnGuess:
    """What a column of a list holds.

    Attributes
    ----------
    heading : str
        As the list has it.
    role : Role
        What stands below it.
    reason : str
        Why, for a person.
    """

    heading: str
    role: Role
    reason: str


@dataclass(frozen=True)
class ListGuess:
    """What a list is.

    Attributes
    ----------
    layout : Layout
        The list.
    columns : dict of Role to ColumnGuess
        What its columns hold.
    unused : list of str
        The headings that are not known, or are of a role that another column has.
    language : str
        That of most headings, or the system.
    checks : list of str
        What a person must check.
    """

    layout: Layout
    columns: dict[Role, ColumnGuess]
    unused: list[str]
    language: str
    checks: list[str] = field(default_factory=list)

    def has(self, *roles: Role) -> bool:
        """Return whether the list has a column of each of some roles."""
        return all(role in self.columns for role in roles)

    def heading(self, *roles: Role) -> str:
        """Return the heading of the first of some roles that the list has."""
        for role in roles:
            if role in self.columns:
                return self.columns[role].heading
        return ""

    def cells(self, role: Role) -> pd.Series:
        """Return the texts of a column; None in empty cells."""
        column = self.layout.frame[self.columns[role].heading]
        return texts_of(column, EMPTY_VALUES)

    @property
    def is_customers(self) -> bool:
        """Whether it is a list of customers."""
        has_amount = any(role in self.columns for role in _AMOUNTS)
        return self.has_customer and not has_amount and Role.INVOICE not in self.columns

    @property
    def has_customer(self) -> bool:
        """Whether a column names the customer."""
        return Role.CUSTOMER in self.columns or Role.CUSTOMER_NAME in self.columns

    @property
    def has_due_day(self) -> bool:
        """Whether it says when items are due."""
        has_terms = Role.TERMS in self.columns
        has_start = Role.ISSUED in self.columns or Role.BASELINE in self.columns
        return Role.DUE in self.columns or (has_terms and has_start)

    @property
    def is_invoices(self) -> bool:
        """Whether it has invoices or open items."""
        has_amount = self.has(Role.AMOUNT) or self.has(Role.OPEN)
        has_amount = has_amount or self.has(Role.DEBIT)
        if not has_amount:
            return False
        is_dated = self.has_due_day or self.has_kinds("invoice")
        is_plain = self.has_customer and self.has(Role.INVOICE, Role.ISSUED)
        return is_dated or (is_plain and not self._is_named_for_payments)

    @property
    def is_of_kinds(self) -> bool:
        """Whether payments are rows of their own, told from invoices by their kind.

        If invoices have a day of clearing, that says when they were paid.
        """
        if not self.has_kinds("payment"):
            return False
        if not self.has_kinds("invoice") or Role.PAID not in self.columns:
            return True
        is_invoice = self.cells(Role.KIND).map(kind_of).eq("invoice")
        return not (is_invoice & self.cells(Role.PAID).notna()).any()

    @property
    def is_payments(self) -> bool:
        """Whether it has payments."""
        if self.is_of_kinds or self.has(Role.DEBIT, Role.CREDIT):
            return True
        if self.is_invoices:
            return Role.PAID in self.columns
        has_amount = any(role in self.columns for role in _AMOUNTS)
        has_day = any(role in self.columns for role in _PAYMENT_DAYS)
        return has_amount and has_day

    @property
    def _is_named_for_payments(self) -> bool:
        """Whether the file, the sheet or a column is named for payments."""
        is_named = bool(_PAYMENTS.search(self.layout.title.casefold()))
        own_roles = (Role.PAYMENT, Role.PAID, Role.PAID_AMOUNT)
        return is_named or any(role in self.columns for role in own_roles)

    def has_kinds(self, kind: str) -> bool:
        """Return whether a column of kinds has a word for one of them."""
        return any(kind_of(word) == kind for word in self.words(Role.KIND))

    def words(self, role: Role) -> list[str]:
        """Return the different texts of a column, in their order."""
        if role not in self.columns:
            return []
        return [str(text) for text in self.cells(role).dropna().unique()]

    def excluded_states(self) -> list[str]:
        """Return the states of rows that are drafts, or no longer valid."""
        return [word for word in self.words(Role.STATUS) if folded(word) in NOT_VALID]


_PAYMENTS = re.compile(
    "payment|receipt|cash|zahlung|eingang|收款|回款|付款|paiement|reglement|pago|cobro"
)
_PAYMENT_DAYS = (Role.PAID, Role.POSTED, Role.ISSUED)
_AMOUNTS = (Role.AMOUNT, Role.OPEN, Role.PAID_AMOUNT, Role.DEBIT, Role.CREDIT)


def guess_list(layout: Layout) -> ListGuess:
    """Return what a list is, and what its columns hold."""
    headings = [str(column) for column in layout.frame.columns]
    matches = {heading: meanings(heading) for heading in headings}
    language = _language(matches.values())
    columns: dict[Role, ColumnGuess] = {}
    checks = list[str]()
    for heading, match in _by_rank(matches, language):
        if any(guess.heading == heading for guess in columns.values()):
            continue
        if not _fits(match.role, layout.frame[heading]):
            continue
        if match.role in columns:
            first = columns[match.role].heading
            checks.append(f"{first!r} is taken for {match.role.value}, not {heading!r}")
            continue
        columns[match.role] = ColumnGuess(heading, match.role, _reason(match))
        if not match.is_exact:
            checks.append(f"{heading!r} may be something else than {match.role.value}")
    used = {guess.heading for guess in columns.values()}
    unused = [heading for heading in headings if heading not in used]
    return ListGuess(layout, columns, unused, language, checks)


def _by_rank(
    matches: dict[str, list[HeadingMatch]], language: str
) -> Iterator[tuple[str, HeadingMatch]]:
    """Yield what headings may be: certain ones first, in the language of the list."""
    pairs = [
        (heading, match) for heading, options in matches.items() for match in options
    ]

    def weight(pair: tuple[str, HeadingMatch]) -> tuple[bool, bool, int]:
        match = pair[1]
        return not match.is_exact, match.source != language, match.rank

    yield from sorted(pairs, key=weight)


def _language(matches: Iterable[Sequence[HeadingMatch]]) -> str:
    """Return the language or the system that most headings are of."""
    counts: dict[str, int] = {}
    for options in matches:
        for source in {match.source for match in options if match.is_exact}:
            counts[source] = counts.get(source, 0) + 1
    return max(counts, key=lambda source: counts[source], default="English")


def _reason(match: HeadingMatch) -> str:
    noun = "heading" if match.source in LANGUAGES else "field"
    certainty = "a known" if match.is_exact else "it ends like a known"
    return f"{certainty} {match.source} {noun}"


def _fits(role: Role, column: pd.Series) -> bool:
    """Return whether what stands in a column can be of a role."""
    sample = column.head(MOST_SAMPLE_ROWS)
    filled = sample[texts_of(sample, EMPTY_VALUES).notna()]
    if filled.empty:
        return role not in (Role.AMOUNT, Role.OPEN, Role.CUSTOMER, Role.INVOICE)
    if role in DAY_ROLES:
        return _share_of_days(filled) >= FEWEST_OF_TYPE
    if role in NUMBER_ROLES:
        return _share_of_numbers(filled) >= FEWEST_OF_TYPE
    if role is Role.CURRENCY:
        return bool(filled.astype("str").str.strip().isin(list(MINOR_DIGITS)).any())
    return True


def _share_of_days(filled: pd.Series) -> float:
    reading = parse_days(filled, is_workbook=True)
    # A column that can be read two ways is one of dates.
    if reading.refusal and "number" not in reading.refusal:
        return 1.0
    return float(reading.values.notna().mean())


def _share_of_numbers(filled: pd.Series) -> float:
    reading = parse_amounts(filled)
    if reading.refusal:
        return 1.0
    without_signs = texts_of(filled).str.replace(r"[^\d.,()+-]", "", regex=True)
    return float(parse_amounts(without_signs).values.notna().mean())


def currency_of(guesses: Sequence[ListGuess]) -> str:
    """Return the currency of the most rows, else that in a heading; empty if none."""
    cells = [
        guess.cells(Role.CURRENCY)
        for guess in guesses
        if Role.CURRENCY in guess.columns
    ]
    if cells:
        codes = pd.concat(cells)
        counts = codes[codes.isin(list(MINOR_DIGITS))].value_counts()
        if len(counts):
            return str(counts.index[0])
    for guess in guesses:
        for column in guess.columns.values():
            code = currency_in(column.heading)
            if code in MINOR_DIGITS:
                return code
    for guess in guesses:
        heading = guess.heading(*_AMOUNTS)
        sign = currency_sign(guess.layout.frame[heading]) if heading else ""
        if sign in SIGNS or sign in MINOR_DIGITS:
            return SIGNS.get(sign, sign)
    return ""


def currency_sign(column: pd.Series) -> str:
    """Return the sign of a currency that stands beside amounts; empty if none does."""
    signs: dict[str, int] = {}
    for cell in column.dropna().head(200):
        match = _SIGN.search(text_of(cell))
        sign = (match[1] or match[2]) if match else ""
        if sign:
            signs[sign] = signs.get(sign, 0) + 1
    return max(signs, key=lambda sign: signs[sign], default="")
