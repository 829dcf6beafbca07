"""Drafting a mapping from guesses: tables, columns, options, and what to check."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import pandas as pd

from obligor.connectors.documents import DocumentGuess
from obligor.connectors.guessing import (
    CONTINENTAL,
    FEWEST_OF_TYPE,
    ListGuess,
    currency_of,
    currency_sign,
)
from obligor.connectors.headings import Role
from obligor.connectors.layouts import Layout
from obligor.connectors.words import kind_of
from obligor.data.ledger import CONTRACTS
from obligor.reading.amounts import parse_amounts
from obligor.reading.dates import parse_days
from obligor.reading.files import WORKBOOKS
from obligor.reading.mapping import NumberFormat, SourceSpec, columns_of

# A value of the mapping file, as TOML has it.
Value = str | int | bool | list[str] | dict[str, "Value"]

_DAY_COLUMNS = {
    "invoices": (
        ("issued_on", (Role.ISSUED, Role.POSTED)),
        ("due_on", (Role.DUE,)),
        ("known_on", (Role.ENTERED,)),
    ),
    "payments": (
        ("paid_on", (Role.PAID, Role.POSTED, Role.ISSUED)),
        ("known_on", (Role.ENTERED,)),
    ),
    "customers": (("registered_on", (Role.REGISTERED, Role.ENTERED)),),
}
_MAPPED_TABLES = ("customers", "invoices", "payments")
_KEY_PARTS = (Role.COMPANY, Role.YEAR, Role.LINE)
_DEBIT_WORDS = ("S", "D", "DR", "DEBIT", "SOLL", "借")


@dataclass(frozen=True)
class Rule:
    """What fills one of our columns, and why."""

    value: Value
    reason: str


@dataclass
class DraftSource:
    """One source of a table.

    Attributes
    ----------
    table : str
        Our table.
    layout : Layout
        The list.
    rules : dict of str to Rule
        By our column.
    options : dict of str to Value
        The other keys, such as ``decimal``.
    checks : list of str
        What a person must check.
    """

    table: str
    layout: Layout
    rules: dict[str, Rule] = field(default_factory=dict)
    options: dict[str, Value] = field(default_factory=dict)
    checks: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Draft:
    """A mapping as it was guessed.

    Attributes
    ----------
    currency : str
        The reporting currency; empty if nothing says it.
    guesses : list of ListGuess
        The lists.
    sources : list of DraftSource
        What they fill.
    checks : list of str
        What a person must check of the whole.
    """

    currency: str
    guesses: list[ListGuess]
    sources: list[DraftSource]
    checks: list[str]


def draft_mapping(
    guesses: Sequence[ListGuess],
    currency: str = "",
    documents: Sequence[DocumentGuess] = (),
) -> Draft:
    """Return a mapping of some lists and documents.

    Parameters
    ----------
    guesses : sequence of ListGuess
        What the lists are.
    currency : str
        The reporting currency; empty if the lists say it.
    documents : sequence of DocumentGuess
        Bank statements and electronic invoices.
    """
    lists = [
        guess for guess in guesses if not _table_with_our_names(guess.layout.frame)
    ]
    stated = [document.currency for document in documents if document.currency]
    reporting = currency or currency_of(lists) or next(iter(stated), "")
    context = _Context(
        currency=reporting,
        has_payments=any(guess.is_payments for guess in guesses)
        or any(document.table == "payments" for document in documents),
        key=_common_key(guesses),
    )
    sources = [_document_source(document) for document in documents]
    for guess in guesses:
        drafter = _Drafter(guess, context)
        sources += drafter.sources()
    checks = list(_common_checks(guesses, sources, reporting, is_stated=bool(currency)))
    order = list(CONTRACTS)
    sources.sort(key=lambda source: order.index(source.table))
    return Draft(reporting, list(guesses), sources, checks)


def _document_source(document: DocumentGuess) -> DraftSource:
    """Return the source of documents; their columns have our names."""
    paths = [str(path) for path in document.paths]
    spec = SourceSpec(
        files=tuple(paths),
        encoding=document.encoding,
        format=document.format,
    )
    layout = Layout(document.paths[0], spec, pd.DataFrame())
    source = DraftSource(document.table, layout)
    if document.table == "payments":
        source.checks.append(
            "payers: a file with customer_id, iban and name says whose money it is if "
            "an entry names no invoice"
        )
    return source


def _common_checks(
    guesses: Sequence[ListGuess],
    sources: Sequence[DraftSource],
    currency: str,
    *,
    is_stated: bool,
) -> Iterator[str]:
    tables = {source.table for source in sources}
    if not currency:
        yield "currency: no list says it; state the reporting currency (--currency)"
    elif not is_stated:
        yield f"currency: is {currency}, the most frequent, the reporting currency?"
    if "invoices" not in tables:
        yield "invoices: no list has amounts with a due date; name the list of invoices"
    elif "payments" not in tables:
        yield (
            "payments: no list has payments; a list of open items is enough for "
            "exposure and ageing, not for training"
        )
    yield "exported_on: state the day on which the files were written"
    for guess in guesses:
        if not any(source.layout is guess.layout for source in sources):
            yield f"{guess.layout.title}: not used; it looks like no list of ours"


@dataclass(frozen=True)
class _Context:
    """What the lists say together.

    Attributes
    ----------
    currency : str
        The reporting currency; empty if nothing says it.
    has_payments : bool
        Whether any list has payments.
    key : tuple of Role
        The columns that identify an invoice.
    """

    currency: str
    has_payments: bool
    key: tuple[Role, ...]


def _common_key(guesses: Sequence[ListGuess]) -> tuple[Role, ...]:
    """Return the fewest columns whose values differ from invoice to invoice."""
    lists = [guess for guess in guesses if guess.is_invoices]
    lists = [guess for guess in lists if Role.INVOICE in guess.columns]
    if not lists:
        return (Role.INVOICE,)
    parts = [
        role for role in _KEY_PARTS if all(role in guess.columns for guess in lists)
    ]
    candidates: list[tuple[Role, ...]] = [(Role.INVOICE,)]
    candidates += [(role, Role.INVOICE) for role in parts]
    candidates += [(*parts[:count], Role.INVOICE) for count in (2, 3)]
    for candidate in candidates:
        if all(_is_key(guess, candidate) for guess in lists):
            return candidate
    return (Role.INVOICE,)


def _is_key(guess: ListGuess, roles: Sequence[Role]) -> bool:
    frame = guess.layout.frame
    if guess.is_of_kinds:
        is_invoice = guess.cells(Role.KIND).map(kind_of).eq("invoice")
        frame = frame[is_invoice.to_numpy()]
    names = [guess.heading(role) for role in roles]
    return not frame[names].dropna().duplicated().any()


def _table_with_our_names(frame: pd.DataFrame) -> str:
    """Return the table whose columns, and no others, a list has under our names.

    Customers, invoices and payments are told by what their columns mean.
    """
    names = set(map(str, frame.columns))
    for table, contract in CONTRACTS.items():
        if table in _MAPPED_TABLES:
            continue
        needed = {
            name
            for name, column in contract.columns.items()
            if column.required and not (column.metadata or {}).get("fills")
        }
        if needed and needed <= names <= set(columns_of(table)):
            return table
    return ""


class _Drafter:
    """Drafts the sources that one list gives."""

    def __init__(self, guess: ListGuess, context: _Context) -> None:
        self.guess = guess
        self.currency = context.currency
        self.has_payments = context.has_payments
        self.key = context.key

    def sources(self) -> Iterator[DraftSource]:
        """Yield a source for each table that the list fills."""
        own_table = _table_with_our_names(self.guess.layout.frame)
        if own_table:
            yield self._new(own_table)
            return
        if self.guess.is_customers:
            yield self._customers()
            return
        if not self.guess.has_customer and not self.guess.is_payments:
            return
        if self.guess.is_invoices and self.guess.has_customer:
            yield self._invoices()
        if self.guess.is_payments:
            yield self._payments()

    # --- tables

    def _customers(self) -> DraftSource:
        source = self._new("customers")
        self._add_customer(source)
        self._add(source, "name", Role.CUSTOMER_NAME)
        self._add(source, "country", Role.COUNTRY)
        self._add(source, "sector", Role.SECTOR)
        self._add_days(source)
        if "registered_on" not in source.rules:
            source.checks.append("registered_on: the day of the first invoice is taken")
        return source

    def _invoices(self) -> DraftSource:
        source = self._new("invoices")
        self._add_customer(source)
        self._add_key(source)
        self._add_days(source)
        self._add_terms(source)
        self._add_currency(source)
        self._select_invoices(source)
        is_open_list = not self.has_payments and self.guess.has(Role.OPEN)
        if self._has_sides:
            self._add_amount(source, Role.DEBIT)
        elif is_open_list:
            self._add_amount(source, Role.OPEN, Role.AMOUNT)
        else:
            self._add_amount(source, *_INVOICED)
        if is_open_list:
            source.checks.append("amount: the open amount is taken, as nothing is paid")
        self._add_sign(source)
        return source

    def _payments(self) -> DraftSource:
        source = self._new("payments")
        is_same_list = self.guess.is_invoices
        if not is_same_list:
            self._add(source, "payment_id", Role.PAYMENT)
        self._add_key(source)
        if self.guess.has_customer:
            self._add_customer(source)
        self._add_days(source)
        self._add_currency(source)
        self._select_payments(source)
        if is_same_list and self._has_sides:
            self._add_amount(source, Role.CREDIT)
        else:
            self._add_amount(source, Role.PAID_AMOUNT, *_INVOICED)
        self._add_kind(source)
        self._add_sign(source)
        return source

    @property
    def _has_sides(self) -> bool:
        """Whether debits and credits stand in columns beside each other."""
        return self.guess.has(Role.DEBIT, Role.CREDIT)

    @property
    def _is_two_sided(self) -> bool:
        """Whether the column of its amount tells an invoice from a payment."""
        return self._has_sides and not self.guess.is_of_kinds

    # --- columns

    def _new(self, table: str) -> DraftSource:
        return DraftSource(table, self.guess.layout)

    def _add(
        self,
        source: DraftSource,
        column: str,
        *roles: Role,
    ) -> None:
        """Add a column that the first of some roles fills, if there is one."""
        for role in roles:
            guess = self.guess.columns.get(role)
            if guess is not None:
                source.rules[column] = Rule(guess.heading, guess.reason)
                return

    def _add_customer(self, source: DraftSource) -> None:
        self._add(source, "customer_id", Role.CUSTOMER, Role.CUSTOMER_NAME)
        if Role.CUSTOMER not in self.guess.columns:
            source.checks.append("customer_id: only a name is there; is it unique?")

    def _add_currency(self, source: DraftSource) -> None:
        self._add(source, "currency", Role.CURRENCY)
        is_needed = source.table == "invoices" and "currency" not in source.rules
        if is_needed and self.currency:
            constant: Value = {"constant": self.currency}
            source.rules["currency"] = Rule(constant, "no column says it")
            source.checks.append(f"currency: all rows are taken to be {self.currency}")

    def _add_key(self, source: DraftSource) -> None:
        """Add what identifies an invoice: one column, or as many as it takes."""
        number = self.guess.columns.get(Role.INVOICE)
        if number is None:
            if source.table == "invoices":
                row_number: Value = {"row_number": "item-"}
                source.rules["invoice_id"] = Rule(row_number, "no column says it")
                source.checks.append("invoice_id: the number of the row is taken")
            elif self.guess.is_invoices:
                row_number = {"row_number": "item-"}
                source.rules["invoice_id"] = Rule(row_number, "as of the invoices")
            return
        missing = [role.value for role in self.key if role not in self.guess.columns]
        if len(self.key) == 1 or missing:
            source.rules["invoice_id"] = Rule(number.heading, number.reason)
            if missing:
                source.checks.append(
                    f"invoice_id: the invoices need {' and '.join(missing)} too, which "
                    "this list lacks"
                )
            return
        names = [self.guess.heading(role) for role in self.key]
        reason = f"{number.reason}; alone it is not unique"
        source.rules["invoice_id"] = Rule(names, reason)
        source.checks.append(f"invoice_id: is a row identified by {', '.join(names)}?")
        if source.table == "invoices" and Role.LINE in self.key:
            source.rules["document_id"] = Rule(number.heading, number.reason)

    def _add_terms(self, source: DraftSource) -> None:
        if "due_on" in source.rules:
            return
        start = self.guess.heading(Role.BASELINE, Role.ISSUED, Role.POSTED)
        terms = self.guess.columns.get(Role.TERMS)
        if start and terms is not None:
            value: Value = {"column": start, "plus_days": terms.heading}
            source.rules["due_on"] = Rule(value, f"{start} and {terms.heading} days")
            source.checks.append("due_on: is it net, as many days after that date?")

    # --- days and amounts

    def _add_days(self, source: DraftSource) -> None:
        formats: dict[str, Value] = {}
        for column, roles in _DAY_COLUMNS[source.table]:
            self._add(source, column, *roles)
            if column in source.rules:
                heading = str(source.rules[column].value)
                stated = self._day_format(source, column, heading)
                if stated:
                    formats[column] = stated
        if formats:
            source.options["date_format"] = formats

    def _day_format(
        self,
        source: DraftSource,
        column: str,
        heading: str,
    ) -> str:
        """Return the format to state for a column of days; empty if it needs none."""
        reading = self._read_days(heading)
        if not reading.refusal:
            if reading.note:
                source.checks.append(f"{column}: {reading.note}")
            return ""
        formats = re.findall(r'"([^"]+)"', reading.choice)
        order = self._proven_order() or (
            "%d" if self.guess.language in CONTINENTAL else ""
        )
        fitting = [str(text) for text in formats if order and text.startswith(order)]
        if not fitting:
            source.checks.append(f"{column}: {reading.refusal}; state {reading.choice}")
            return ""
        reason = f"{reading.refusal}; {fitting[0]} is guessed from the rest of the list"
        source.checks.append(f"{column}: {reason}")
        return fitting[0]

    def _read_days(self, heading: str) -> _Reading:
        is_workbook = self.guess.layout.path.suffix.lower() in WORKBOOKS
        column = self.guess.layout.frame[heading]
        reading = parse_days(column, is_workbook=is_workbook)
        return _Reading(reading.note, reading.refusal, reading.choice)

    def _proven_order(self) -> str:
        """Return with what the dates of another column begin, if they prove it."""
        for _, roles in _DAY_COLUMNS["invoices"] + _DAY_COLUMNS["payments"]:
            for role in roles:
                if role in self.guess.columns:
                    note = self._read_days(self.guess.heading(role)).note
                    if "day/month" in note:
                        return "%d"
                    if "month/day" in note:
                        return "%m"
        return ""

    def _add_amount(self, source: DraftSource, *roles: Role) -> None:
        self._add(source, "amount", *roles)
        if "amount" not in source.rules:
            source.checks.append("amount: no column has it")
            return
        heading = str(source.rules["amount"].value)
        column = self._rows_of(source)[heading]
        sign = currency_sign(column)
        if sign:
            source.options["currency_sign"] = sign
            source.checks.append(f"amount: {sign!r} is taken for a currency sign")
        reading = parse_amounts(column, NumberFormat(currency_sign=sign))
        if reading.note:
            source.checks.append(f"amount: {reading.note}")
        if reading.refusal:
            self._add_decimal(source, reading.refusal, reading.choice)
        elif column.notna().any() and (reading.values.dropna() < 0).all():
            source.options["negate"] = True
            source.checks.append("amount: all are negative, so their sign is turned")
        elif (reading.values < 0).any() and "where_present" not in source.options:
            source.checks.append(f"amount: {_meaning_of_negative(source.table)}")

    def _rows_of(self, source: DraftSource) -> pd.DataFrame:
        """Return the rows that a source reads, if kinds of rows tell."""
        frame = self.guess.layout.frame
        if not self.guess.is_invoices or not self.guess.is_of_kinds:
            return frame
        kinds = _KINDS if source.table == "payments" else ("invoice",)
        words = [word for kind in kinds for word in self._words(kind)]
        return frame[self.guess.cells(Role.KIND).isin(words)]

    def _add_decimal(
        self,
        source: DraftSource,
        refusal: str,
        choice: str,
    ) -> None:
        decimal = {"Chinese": "."}.get(self.guess.language, "")
        if self.guess.language in CONTINENTAL:
            decimal = ","
        if decimal:
            source.options["decimal"] = decimal
            source.options["thousands"] = {",": ".", ".": ","}[decimal]
            source.checks.append(
                f"amount: {refusal}; {decimal!r} is guessed to be the decimal sign, as "
                f"the headings are {self.guess.language}"
            )
        else:
            source.checks.append(f"amount: {refusal}; state {choice}")

    # --- rows

    def _select_invoices(self, source: DraftSource) -> None:
        conditions = self._states()
        if self.guess.is_of_kinds:
            words = self._words("invoice")
            conditions.append(_is_in(self.guess.heading(Role.KIND), words))
            source.checks.append(f"where: {words} are taken for invoices")
        elif self._is_two_sided:
            conditions.append(f"{_name(self.guess.heading(Role.DEBIT))} > 0")
        elif Role.PAID in self.guess.columns:
            conditions += self._without_cleared_credits()
        _set_where(source, conditions)

    def _select_payments(self, source: DraftSource) -> None:
        conditions = self._states()
        if not self.guess.is_invoices:
            _set_where(source, conditions)
            return
        if self.guess.is_of_kinds:
            words = [word for kind in _KINDS for word in self._words(kind)]
            conditions.append(_is_in(self.guess.heading(Role.KIND), words))
            self._check_references(source, self.guess.cells(Role.KIND).isin(words))
        elif self._is_two_sided:
            heading = self.guess.heading(Role.CREDIT)
            conditions.append(f"{_name(heading)} > 0")
            self._check_references(source, self._amounts(heading) > 0)
        else:
            source.options["where_present"] = self.guess.heading(Role.PAID)
            conditions += self._debits()
            source.checks.append(
                f"payments: an item with a {self.guess.heading(Role.PAID)} is taken to "
                "be paid on that day"
            )
            self._check_undated(source)
        _set_where(source, conditions)

    def _amounts(self, heading: str) -> pd.Series:
        """Return the amounts of a column, without the sign of a currency."""
        column = self.guess.layout.frame[heading]
        numbers = NumberFormat(currency_sign=currency_sign(column))
        return parse_amounts(column, numbers).values

    def _check_references(self, source: DraftSource, is_payment: pd.Series) -> None:
        """Take the number of a payment for its own, unless invoices have it too."""
        if Role.INVOICE in self.guess.columns:
            numbers = self.guess.cells(Role.INVOICE)
            of_payments = numbers[is_payment].dropna()
            is_reference = of_payments.isin(numbers[~is_payment])
            if len(of_payments) and is_reference.mean() >= FEWEST_OF_TYPE:
                return
        source.rules.pop("invoice_id", None)
        source.checks.append(
            "payments: no column says which invoice they pay, so they are money of the "
            "customer; map invoice_id if one does"
        )

    def _check_undated(self, source: DraftSource) -> None:
        """Add a check if items are paid in part, on a day that the list lacks."""
        if Role.PAID_AMOUNT not in self.guess.columns:
            return
        is_paid = self._amounts(self.guess.heading(Role.PAID_AMOUNT)) > 0
        n_undated = int((is_paid & self.guess.cells(Role.PAID).isna()).sum())
        if n_undated:
            source.checks.append(
                f"payments: {n_undated:,} items are paid in part, without a day; they "
                "count as open until you add a list of payments"
            )

    def _without_cleared_credits(self) -> list[str]:
        """Leave out credits that were cleared: the clearing of the debits has them."""
        debits = self._debits()
        paid = _name(self.guess.heading(Role.PAID))
        return [f"({debits[0]} or {paid} = '')"] if debits else []

    def _debits(self) -> list[str]:
        """Return the condition of a debit, if the list has credits too."""
        if Role.SIDE in self.guess.columns:
            words = self.guess.words(Role.SIDE)
            debits = [word for word in words if word.upper() in _DEBIT_WORDS]
            return [_is_in(self.guess.heading(Role.SIDE), debits)] if debits else []
        heading = self.guess.heading(Role.AMOUNT)
        if not heading:
            return []
        amounts = self._amounts(heading)
        has_both = (amounts < 0).any() and (amounts > 0).any()
        return [f"{_name(heading)} > 0"] if has_both else []

    def _states(self) -> list[str]:
        words = self.guess.excluded_states()
        if not words:
            return []
        texts = ", ".join(_text(word) for word in words)
        return [f"{_name(self.guess.heading(Role.STATUS))} not in ({texts})"]

    def _words(self, kind: str) -> list[str]:
        return [word for word in self.guess.words(Role.KIND) if kind_of(word) == kind]

    # --- words and signs

    def _add_kind(self, source: DraftSource) -> None:
        """Add the kinds of payments, if a column has words for them."""
        if Role.KIND not in self.guess.columns:
            return
        if self.guess.is_invoices and not self.guess.is_of_kinds:
            return
        values: dict[str, Value] = {}
        for word in self.guess.words(Role.KIND):
            kind = kind_of(word)
            if kind and kind != "invoice":
                values[word] = kind
            elif not self.guess.is_invoices:
                source.checks.append(f"kind: what is {word!r}? State it in values")
        if values:
            heading = self.guess.heading(Role.KIND)
            rule: Value = {"column": heading, "values": values}
            source.rules["kind"] = Rule(rule, self.guess.columns[Role.KIND].reason)
            source.checks.append("kind: are the values right?")

    def _add_sign(self, source: DraftSource) -> None:
        # A debit that was cleared is a payment as it stands.
        is_cleared_item = "where_present" in source.options
        is_turned = "negate" in source.options or is_cleared_item
        if Role.SIDE in self.guess.columns and not is_turned:
            heading = self.guess.heading(Role.SIDE)
            source.options["sign_by"] = heading
            source.checks.append(f"amount: {heading} says which are credits")


_KINDS = ("payment", "credit_note", "returned", "refund")
_INVOICED = (Role.AMOUNT, Role.OPEN, Role.DEBIT)


@dataclass(frozen=True)
class _Reading:
    """What the reading of a column of days proves."""

    note: str
    refusal: str
    choice: str


def _meaning_of_negative(table: str) -> str:
    if table == "invoices":
        return "some are negative and taken for credit notes of the customer"
    return "some are negative and take back earlier payments"


def _set_where(source: DraftSource, conditions: Iterable[str]) -> None:
    text = " and ".join(conditions)
    if text:
        source.options["where"] = text


def _is_in(heading: str, words: Sequence[str]) -> str:
    texts = ", ".join(_text(word) for word in words)
    return f"{_name(heading)} in ({texts})"


def _name(heading: str) -> str:
    """Return a heading as a condition names it."""
    if re.fullmatch(r"[A-Za-z_]\w*", heading) and heading.lower() not in _RESERVED:
        return heading
    doubled = heading.replace('"', '""')
    return f'"{doubled}"'


_RESERVED = ("and", "or", "in", "not")


def _text(word: str) -> str:
    doubled = word.replace("'", "''")
    return f"'{doubled}'"
