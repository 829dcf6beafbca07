"""What each customer owes, worked out a second time, as an accountant does by hand.

It reads the rows of a ledger's tables and knows neither accounts nor arrays nor the
code that settles them. There is a sheet for each item and one for the money of the
customer that belongs to no item. The steps are those of `keep_books`:

1. Open a sheet for each item that is known, due on the last day agreed.
2. Enter every row that is known: on its item's sheet or as money of the customer.
3. Close the sheets of cancelled items; what was paid on them is the customer's money.
4. Undo on each sheet what came back.
5. Move what is paid beyond the amount of an item to the customer's money.
6. Undo what came back without an item.
7. Pay the items of each document with the money for it, then all open items, the
   oldest due first.

The books balance on every day: what is open, less the unapplied money, more what was
undone without a trace, is what was invoiced less received, credited and written off.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal

from obligor.data.money import round_money

Row = Mapping[str, object]
Tables = Mapping[str, Sequence[Row]]

PAYMENT = "payment"
CREDIT_NOTE = "credit_note"
WRITE_OFF = "write_off"
# Of one day, in this order.
ORDER = {PAYMENT: 0, CREDIT_NOTE: 1, WRITE_OFF: 2}
ZERO = Decimal(0)
# Ways in which a source says that money went back.
WENT_BACK = ("returned", "refund")


@dataclass
class Line:
    """A line of a sheet; a negative amount undoes an earlier line of its kind.

    Attributes
    ----------
    kind : str
        ``payment``, ``credit_note`` or ``write_off``.
    day : date
        The day on which it happened.
    amount : Decimal
        In the currency of the sheet.
    receipt_id : str
        The payment it comes from; empty if the source has none.
    undoes : str
        The id of the payment that a negative line undoes; empty if it names none.
    undone_day : date, optional
        The day of that payment.
    document : str
        The document that it is for: that of its item; empty if it is for none.
    """

    kind: str
    day: date
    amount: Decimal
    receipt_id: str = ""
    undoes: str = ""
    undone_day: date | None = None
    document: str = ""

    def part(self, amount: Decimal) -> Line:
        """Return the same line with another amount."""
        return replace(self, amount=amount)

    def of(self, document: str) -> Line:
        """Return the same line for a document."""
        return replace(self, document=document)


@dataclass
class Sheet:
    """The sheet of an item."""

    invoice_id: str
    document: str
    currency: str
    due_on: date
    amount: Decimal
    lines: list[Line] = field(default_factory=list)

    def total(self, *kinds: str) -> Decimal:
        """Return the sum of the lines of some kinds."""
        amounts = [line.amount for line in self.lines if line.kind in kinds]
        return sum(amounts, ZERO)

    def unpaid(self) -> Decimal:
        """Return what is neither paid nor credited."""
        return self.amount - self.total(PAYMENT, CREDIT_NOTE)

    def written_off(self) -> Decimal:
        """Return what is written off of what is not paid."""
        return min(self.total(WRITE_OFF), self.unpaid())

    def balance(self) -> Decimal:
        """Return what is open."""
        return self.unpaid() - self.written_off()


@dataclass
class Books:
    """The books of one customer on a day.

    Attributes
    ----------
    sheets : dict of str to Sheet
        By invoice.
    money : dict of str to list of Line
        Money of the customer that belongs to no item, by currency.
    untraced : dict of str to Decimal
        By currency, what was undone and is not in the books.
    is_unmatched : bool
        Whether anything that was undone is not in the books.
    """

    sheets: dict[str, Sheet] = field(default_factory=dict)
    money: dict[str, list[Line]] = field(default_factory=dict)
    untraced: dict[str, Decimal] = field(default_factory=dict)
    is_unmatched: bool = False

    def add_money(self, currency: str, line: Line) -> None:
        """Enter a line on the sheet of the customer's money."""
        if line.amount:
            self.money.setdefault(currency, []).append(line)

    def balances(self) -> dict[str, Decimal]:
        """Return what is open of each item."""
        return {name: sheet.balance() for name, sheet in self.sheets.items()}

    def unapplied(self) -> dict[str, Decimal]:
        """Return the money that belongs to no item, by currency, without zeros."""
        sums = {}
        for currency, lines in self.money.items():
            amount = sum([line.amount for line in lines], ZERO)
            if amount:
                sums[currency] = amount
        return sums

    def written_off(self, currency: str) -> Decimal:
        """Return what is written off of what is not paid, in one currency."""
        total = ZERO
        for sheet in self.sheets.values():
            if sheet.currency == currency:
                total += sheet.written_off()
        return total


# --- the seven steps


def keep_books(
    tables: Tables,
    customer_id: str,
    as_of: date,
    policy: str = "oldest_first",
    reporting: str = "EUR",
) -> Books:
    """Return the books of one customer at the end of a day.

    Parameters
    ----------
    tables : mapping of str to sequence of mapping
        The rows of every table of the ledger.
    customer_id : str
        Whose books.
    as_of : date
        The day; what became known later is not looked at.
    policy : str
        ``oldest_first`` pays open items with the customer's money; ``as_allocated``
        leaves it unapplied.
    reporting : str
        The currency of money whose row names none.
    """
    desk = Desk(known_rows(tables, as_of), customer_id, reporting)
    books = Books()
    desk.open_sheets(books)
    desk.enter_rows(books)
    desk.cancel_items(books)
    undo_on_sheets(books)
    move_excess(books)
    undo_money(books)
    pay_documents(books)
    if policy == "oldest_first":
        pay_oldest_first(books)
    return books


def known_rows(tables: Tables, as_of: date) -> dict[str, list[Row]]:
    """Return the rows that were known at the end of a day and are still true then."""
    known: dict[str, list[Row]] = {}
    for name, rows in tables.items():
        known[name] = [row for row in rows if is_known(row, as_of)]
    return known


def is_known(row: Row, as_of: date) -> bool:
    """Return whether a row was known at the end of a day and still true."""
    known_on = row["known_on"]
    until = row.get("until")
    assert isinstance(known_on, date)
    return known_on <= as_of and not (isinstance(until, date) and until <= as_of)


@dataclass(frozen=True)
class Desk:
    """Where the rows of one customer are sorted and entered."""

    tables: Mapping[str, Sequence[Row]]
    customer_id: str
    reporting: str

    def rows(self, table: str) -> Sequence[Row]:
        """Return the known rows of a table."""
        return self.tables.get(table, ())

    def invoices(self) -> list[Row]:
        """Return the known invoices of the customer."""
        rows = self.rows("invoices")
        return [row for row in rows if row["customer_id"] == self.customer_id]

    def names_of(self, invoice: Row) -> set[str]:
        """Return by what names rows refer to an item: its own, or its document's.

        If an invoice has the name of a document, it is the invoice that is meant.
        """
        document = text(invoice, "document_id")
        invoices = self.rows("invoices")
        is_invoice = any(row["invoice_id"] == document for row in invoices)
        return {text(invoice, "invoice_id"), "" if is_invoice else document} - {""}

    def document(self, name: str) -> str:
        """Return the document of that name, empty if it is the name of an invoice."""
        is_invoice = any(row["invoice_id"] == name for row in self.invoices())
        return "" if is_invoice else name

    def currencies(self) -> dict[str, str]:
        """Return the currency of each item and document of the customer."""
        currencies: dict[str, str] = {}
        for row in self.invoices():
            for name in self.names_of(row):
                currencies.setdefault(name, text(row, "currency"))
        return currencies

    # step 1

    def open_sheets(self, books: Books) -> None:
        """Open a sheet for each item; a negative one is a credit of the customer."""
        cancelled = self.cancelled("invoice_id")
        for row in self.invoices():
            invoice_id = text(row, "invoice_id")
            currency = text(row, "currency")
            amount = money(row)
            if amount > 0:
                books.sheets[invoice_id] = Sheet(
                    invoice_id,
                    text(row, "document_id") or invoice_id,
                    currency,
                    self.due_on(row),
                    amount,
                )
            elif not self.names_of(row) & cancelled:
                credit = Line(
                    CREDIT_NOTE,
                    day(row, "issued_on"),
                    -amount,
                    document=text(row, "document_id"),
                )
                books.add_money(currency, credit)

    def due_on(self, invoice: Row) -> date:
        """Return the day on which an item is due after the last extension."""
        ids = self.names_of(invoice)
        rows = self.rows("extensions")
        own = [row for row in rows if text(row, "invoice_id") in ids]
        latest_last = sorted(
            own, key=lambda row: (day(row, "extended_on"), day(row, "known_on"))
        )
        last = latest_last[-1] if latest_last else invoice
        return day(last, "due_on")

    # step 2

    def enter_rows(self, books: Books) -> None:
        """Enter payments, allocations and write-offs."""
        currencies = self.currencies()
        for row in self.valid("payments"):
            if not names_a_receipt(row):
                self.enter_payment(books, row, currencies)
        for row in self.valid("allocations"):
            self.enter_allocation(books, row, currencies)
        for row in self.valid("payments"):
            if names_a_receipt(row):
                for part in self.parts(row):
                    self.enter_payment(books, part, currencies)
        for row in self.rows("write_offs"):
            sheet = books.sheets.get(text(row, "invoice_id"))
            if sheet is not None:
                line = Line(WRITE_OFF, day(row, "written_off_on"), money(row))
                sheet.lines.append(line)

    def enter_payment(
        self,
        books: Books,
        row: Row,
        currencies: Mapping[str, str],
    ) -> None:
        """Enter a payment or a credit note, or what undoes one.

        Parameters
        ----------
        books : Books
            Where it is entered.
        row : mapping
            A row of the payments.
        currencies : mapping of str to str
            The currency of each known item of the customer.
        """
        line = self.line_of(row)
        invoice_id = text(row, "invoice_id")
        if not invoice_id:
            if text(row, "customer_id") == self.customer_id:
                currency = text(row, "currency") or self.usual_currency(row)
                books.add_money(currency, line)
        elif invoice_id in currencies:
            currency = currencies[invoice_id]
            known_on = self.known_of_payment(line.undoes) or day(row, "known_on")
            known_on = max(known_on, self.first_known(invoice_id))
            paid_in = text(row, "currency") or currency
            converted = self.converted(line, (paid_in, currency), known_on)
            is_void = invoice_id in self.cancelled("invoice_id")
            if not (is_void and line.kind == CREDIT_NOTE):
                own_line = line.part(converted).of(self.document(invoice_id))
                enter(books, invoice_id, currency, own_line)

    def parts(self, returned: Row) -> list[Row]:
        """Return what comes back of a receipt as rows of where it was booked."""
        card: dict[str, Decimal] = {}
        receipt_id = text(returned, "reverses")
        for row in self.history(receipt_id):
            if "allocated_on" in row:
                put(card, text(row, "invoice_id"), money(row))
                put(card, "", -money(row))
            elif not names_a_receipt(row) or row["payment_id"] == receipt_id:
                put(card, text(row, "invoice_id"), self.line_of(row).amount)
            else:
                line = self.line_of(row)
                taken = take_back(card, -line.amount)
                if row is returned:
                    return [part_of(row, line.kind, *part) for part in taken]
        raise AssertionError("the row is in its own history")

    def history(self, receipt_id: str) -> list[Row]:
        """Return the rows about a receipt as they became known, the returns last."""
        rows = [
            row
            for row in self.valid("payments")
            if receipt_id in (text(row, "payment_id"), text(row, "reverses"))
        ]
        moved = self.valid("allocations")
        rows += [row for row in moved if text(row, "payment_id") == receipt_id]
        return sorted(rows, key=order_of_learning)

    def line_of(self, row: Row) -> Line:
        """Return the line that a row of the payments makes."""
        kind = text(row, "kind") or PAYMENT
        amount = money(row)
        if kind in WENT_BACK:
            kind = PAYMENT
            amount = -abs(amount)
        undoes = text(row, "reverses")
        if amount < 0 and not undoes:
            undoes = self.equal_payment(row, kind, -amount)
        return Line(
            kind,
            day(row, "paid_on"),
            amount,
            text(row, "payment_id"),
            undoes,
            self.day_of_payment(undoes),
        )

    def equal_payment(
        self,
        row: Row,
        kind: str,
        amount: Decimal,
    ) -> str:
        """Return the payment that a row in another currency undoes without naming it.

        It is the last of an equal amount in that currency: only so does the row come
        back at the rates at which it was paid.

        Parameters
        ----------
        row : mapping
            The row that undoes.
        kind : str
            What it undoes.
        amount : Decimal
            How much it undoes.
        """
        names = ("invoice_id", "currency")
        if not all(text(row, name) for name in names):
            return ""
        equal = [
            other
            for other in self.rows("payments")
            if all(text(other, name) == text(row, name) for name in names)
            and (text(other, "kind"), money(other)) == (kind, amount)
            and day(other, "paid_on") <= day(row, "paid_on")
            and day(other, "known_on") <= day(row, "known_on")
        ]
        equal.sort(key=lambda other: day(other, "paid_on"))
        return text(equal[-1], "payment_id") if equal else ""

    def day_of_payment(self, payment_id: str) -> date | None:
        """Return the day of a payment, None if there is no such payment."""
        for row in self.rows("payments"):
            if payment_id and text(row, "payment_id") == payment_id:
                return day(row, "paid_on")
        return None

    def day_of_memo(self, invoice_id: str) -> date | None:
        """Return the day of a credit memo of the customer, None if there is none."""
        for row in self.invoices():
            if text(row, "invoice_id") == invoice_id and money(row) < 0:
                return day(row, "issued_on")
        return None

    def known_of_payment(self, payment_id: str) -> date | None:
        """Return the day on which a payment became known, None if there is none."""
        for row in self.rows("payments"):
            if payment_id and text(row, "payment_id") == payment_id:
                return day(row, "known_on")
        return None

    def enter_allocation(
        self,
        books: Books,
        row: Row,
        currencies: Mapping[str, str],
    ) -> None:
        """Move a part of a receipt to an item.

        Parameters
        ----------
        books : Books
            Where it is entered.
        row : mapping
            A row of the allocations.
        currencies : mapping of str to str
            The currency of each known item of the customer.
        """
        invoice_id = text(row, "invoice_id")
        if invoice_id not in currencies:
            return
        currency = currencies[invoice_id]
        receipt_id = text(row, "payment_id")
        received_on = self.day_of_payment(receipt_id)
        kind = PAYMENT
        if received_on is None:
            received_on = self.day_of_memo(receipt_id)
            kind = CREDIT_NOTE
        if received_on is None:
            return
        part = Line(
            kind,
            received_on,
            money(row),
            receipt_id,
            document=self.document(invoice_id),
        )
        out = Line(
            kind,
            day(row, "allocated_on"),
            -money(row),
            "",
            receipt_id,
            received_on,
        )
        enter(books, invoice_id, currency, part)
        books.add_money(currency, out)

    def first_known(self, name: str) -> date:
        """Return the day on which an item or a document became known."""
        rows = [row for row in self.invoices() if name in self.names_of(row)]
        return min(day(row, "known_on") for row in rows)

    def usual_currency(self, row: Row) -> str:
        """Return the currency of money that states none.

        It is that of the customer's items known then, if they have one only.
        """
        known_on = day(row, "known_on")
        items = [item for item in self.invoices() if money(item) > 0]
        currencies = {
            text(item, "currency")
            for item in items
            if day(item, "known_on") <= known_on
        }
        return currencies.pop() if len(currencies) == 1 else self.reporting

    def converted(
        self,
        line: Line,
        currencies: tuple[str, str],
        known_on: date,
    ) -> Decimal:
        """Return the amount of a line in another currency.

        The rates are those of its day, or of the day of what it undoes.

        Parameters
        ----------
        line : Line
            Its amount is in the first currency.
        currencies : tuple of str
            The currency to convert from, and the one to convert to.
        known_on : date
            The day on which it became known; rates learnt later are not used.
        """
        source, target = currencies
        if source == target:
            return line.amount
        on = line.undone_day or line.day
        value = line.amount * self.rate(source, on, known_on)
        value /= self.rate(target, on, known_on)
        return round_money(value, target)

    def rate(
        self,
        currency: str,
        on: date,
        known_on: date,
    ) -> Decimal:
        """Return the last rate of a currency on a day, of those known on another.

        Parameters
        ----------
        currency : str
            The currency.
        on : date
            The day of the rate.
        known_on : date
            The day on which the rate must have been known.
        """
        if currency == self.reporting:
            return Decimal(1)
        rows = [row for row in self.rows("fx_rates") if row["currency"] == currency]
        rows = [row for row in rows if day(row, "rate_on") <= on]
        earlier = [row for row in rows if day(row, "known_on") <= known_on]
        last = max(earlier, key=lambda row: (row["rate_on"], row["known_on"]))
        return Decimal(str(last["rate"]))

    def valid(self, table: str) -> list[Row]:
        """Return the rows of payments or allocations that were not cancelled."""
        cancelled = self.cancelled("payment_id")
        rows = self.rows(table)
        return [row for row in rows if text(row, "payment_id") not in cancelled]

    # step 3

    def cancelled(self, column: str) -> set[str]:
        """Return the invoices or the payments that were cancelled."""
        return {text(row, column) for row in self.rows("cancellations")} - {""}

    def cancel_items(self, books: Books) -> None:
        """Close the sheets of cancelled items; what was paid is the customer's."""
        cancelled = self.cancelled("invoice_id")
        for invoice in self.invoices():
            sheet = books.sheets.get(text(invoice, "invoice_id"))
            if sheet is None or not self.names_of(invoice) & cancelled:
                continue
            del books.sheets[sheet.invoice_id]
            for line in sheet.lines:
                if line.kind == PAYMENT:
                    books.add_money(sheet.currency, line)


def names_a_receipt(row: Row) -> bool:
    """Return whether a payment without an item says which one it undoes."""
    return not text(row, "invoice_id") and text(row, "reverses") != ""


def order_of_learning(row: Row) -> tuple[date, bool, date]:
    """Return by what rows about a receipt are sorted: a return comes last of a day."""
    is_return = names_a_receipt(row)
    happened_on = day(row, "paid_on") if is_return else date.min
    return day(row, "known_on"), is_return, happened_on


def put(card: dict[str, Decimal], place: str, amount: Decimal) -> None:
    """Add to what of a receipt is on an item; without an item the place is empty."""
    card[place] = card.get(place, ZERO) + amount


def take_back(card: dict[str, Decimal], amount: Decimal) -> list[tuple[str, Decimal]]:
    """Take an amount from where a receipt is; what is on no item comes back first.

    Then comes what is on its items, the last id first. What is not on the card is money
    of the customer.
    """
    left = amount
    taken = []
    for place in ["", *sorted(card, reverse=True)]:
        part = min(left, max(card.get(place, ZERO), ZERO))
        if part:
            put(card, place, -part)
            taken.append((place, part))
            left -= part
    if left:
        put(card, "", -left)
        taken.append(("", left))
    return taken


def part_of(
    returned: Row,
    kind: str,
    place: str,
    amount: Decimal,
) -> Row:
    """Return a part of a return as a row of its own.

    Parameters
    ----------
    returned : mapping
        The row.
    kind : str
        What it undoes: a payment or a credit note.
    place : str
        The item, empty if it comes back of the customer's money.
    amount : Decimal
        How much comes back.
    """
    return {**returned, "invoice_id": place, "kind": kind, "amount": -amount}


def by_due_day(books: Books, currency: str) -> list[Sheet]:
    """Return the sheets of a currency, the oldest due first."""
    sheets = [sheet for sheet in books.sheets.values() if sheet.currency == currency]
    return sorted(sheets, key=lambda sheet: (sheet.due_on, sheet.invoice_id))


def enter(
    books: Books,
    invoice_id: str,
    currency: str,
    line: Line,
) -> None:
    """Enter a line on the sheet of its item; of a memo or a document it is money.

    Parameters
    ----------
    books : Books
        Where it is entered.
    invoice_id : str
        The item.
    currency : str
        The currency of the item.
    line : Line
        What is entered.
    """
    sheet = books.sheets.get(invoice_id)
    if sheet is None:
        books.add_money(currency, line)
    else:
        sheet.lines.append(line.of(sheet.document))


# step 4


def undo_on_sheets(books: Books) -> None:
    """Undo on each sheet; what is not on the sheet is asked of the customer's money."""
    for sheet in books.sheets.values():
        undoing = [line for line in sheet.lines if line.amount < 0]
        sheet.lines = [line for line in sheet.lines if line.amount > 0]
        for line in in_order(undoing):
            same_kind = [o for o in in_order(sheet.lines) if o.kind == line.kind]
            left = undo(line, same_kind)
            if not left:
                continue
            if line.kind == WRITE_OFF:
                books.is_unmatched = True
            else:
                books.add_money(sheet.currency, line.part(-left))


def in_order(lines: Iterable[Line]) -> list[Line]:
    """Return lines by day, payments before credit notes, the greatest amount last."""
    return sorted(lines, key=lambda line: (line.day, ORDER[line.kind], line.amount))


def undo(undoing: Line, lines: Sequence[Line]) -> Decimal:
    """Take a negative line away from others and return what is left of it.

    Parameters
    ----------
    undoing : Line
        The negative line.
    lines : sequence of Line
        The lines that it may undo; their amounts are lowered. Of equally likely ones it
        takes the last.
    """
    left = -undoing.amount
    likeliest_last = sorted(lines, key=lambda line: likeness(line, undoing))
    for line in reversed(likeliest_last):
        amount = min(left, line.amount)
        line.amount -= amount
        left -= amount
    return left


def likeness(line: Line, undoing: Line) -> tuple[bool, bool, bool, bool, date]:
    """Return how likely a line is the one that is undone, the likeliest is greatest.

    It is one of the same document; or that of the day which the negative line names; or
    one that was booked by its own day, as nothing comes back before it came; or one of
    an equal amount; or the latest.
    """
    return (
        line.document == undoing.document,
        line.day == undoing.undone_day,
        line.day <= undoing.day,
        line.amount == -undoing.amount,
        line.day,
    )


# step 5


def move_excess(books: Books) -> None:
    """Move what is paid beyond the amount of an item to the customer's money."""
    for sheet in books.sheets.values():
        excess = -sheet.unpaid()
        settling = [line for line in sheet.lines if line.kind != WRITE_OFF]
        for line in reversed(in_order(settling)):
            if excess <= 0:
                break
            moved = min(excess, line.amount)
            line.amount -= moved
            excess -= moved
            books.add_money(sheet.currency, line.part(moved))


# step 6


def undo_money(books: Books) -> None:
    """Undo what came back without an item: of money, then of what is paid on items."""
    for currency, lines in books.money.items():
        undoing = [line for line in lines if line.amount < 0]
        positive = in_order(line for line in lines if line.amount > 0)
        books.money[currency] = positive
        for line in in_order(undoing):
            left = undo_everywhere(line, positive, books, currency)
            if left:
                books.is_unmatched = True
                untraced = books.untraced.get(currency, ZERO)
                books.untraced[currency] = untraced + left


def undo_everywhere(
    line: Line,
    money_lines: Sequence[Line],
    books: Books,
    currency: str,
) -> Decimal:
    """Undo in the customer's money, then on the items, each time its own kind first.

    Parameters
    ----------
    line : Line
        The negative line.
    money_lines : sequence of Line
        The customer's money of the currency.
    books : Books
        The sheets of the items.
    currency : str
        The currency.

    Returns
    -------
    Decimal
        What is left to undo.
    """
    left = line
    for lines in (money_lines, settling_lines(books, currency)):
        same_kind = [other for other in lines if other.kind == line.kind]
        left = left.part(-undo(left, same_kind))
        left = left.part(-undo(left, lines))
    return -left.amount


def settling_lines(books: Books, currency: str) -> list[Line]:
    """Return what is paid and credited on items, the last due last."""
    lines = []
    for sheet in by_due_day(books, currency):
        own = [line for line in sheet.lines if line.kind != WRITE_OFF]
        lines += in_order(own)
    return lines


# step 7


def pay_documents(books: Books) -> None:
    """Pay the items of each document with the money that is for it."""
    for currency, lines in books.money.items():
        sheets = by_due_day(books, currency)
        for document in {line.document for line in lines} - {""}:
            pay(
                [sheet for sheet in sheets if sheet.document == document],
                [line for line in lines if line.document == document],
            )


def pay_oldest_first(books: Books) -> None:
    """Pay the open items with the customer's money, the oldest due first."""
    for currency, lines in books.money.items():
        pay(by_due_day(books, currency), lines)


def pay(sheets: Sequence[Sheet], lines: Sequence[Line]) -> None:
    """Pay items one after the other with money in the order in which it came."""
    for sheet in sheets:
        for line in in_order(lines):
            amount = min(line.amount, sheet.balance())
            if amount > 0:
                line.amount -= amount
                sheet.lines.append(line.part(amount))


# --- cells


def text(row: Row, column: str) -> str:
    """Return a text, empty if the row has none."""
    value = row.get(column)
    return value if isinstance(value, str) else ""


def day(row: Row, column: str) -> date:
    """Return a day."""
    value = row[column]
    assert isinstance(value, date)
    return value


def money(row: Row) -> Decimal:
    """Return the amount of a row."""
    return Decimal(str(row["amount"]))
