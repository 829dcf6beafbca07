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
7. Pay the open items with the customer's money, the oldest due first.

The books balance on every day: what is open, less the unapplied money, more what was
undone without a trace, is what was invoiced less received, credited and written off.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal

from obligor.data.money import round_money

Row = Mapping[str, object]
Tables = Mapping[str, Sequence[Row]]

PAYMENT = "payment"
CREDIT_NOTE = "credit_note"
WRITE_OFF = "write_off"
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
    """

    kind: str
    day: date
    amount: Decimal
    receipt_id: str = ""
    undoes: str = ""
    undone_day: date | None = None

    def part(self, amount: Decimal) -> Line:
        """Return the same line with another amount."""
        return Line(
            self.kind,
            self.day,
            amount,
            self.receipt_id,
            self.undoes,
            self.undone_day,
        )


@dataclass
class Sheet:
    """The sheet of an item."""

    invoice_id: str
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

    # step 1

    def open_sheets(self, books: Books) -> None:
        """Open a sheet for each item; a negative one is a credit of the customer."""
        cancelled = self.cancelled("invoice_id")
        for row in self.invoices():
            invoice_id = text(row, "invoice_id")
            currency = text(row, "currency")
            amount = money(row)
            if amount > 0:
                sheet = Sheet(invoice_id, currency, self.due_on(row), amount)
                books.sheets[invoice_id] = sheet
            elif invoice_id not in cancelled:
                credit = Line(CREDIT_NOTE, day(row, "issued_on"), -amount)
                books.add_money(currency, credit)

    def due_on(self, invoice: Row) -> date:
        """Return the day on which an item is due after the last extension."""
        own = of_item(self.rows("extensions"), text(invoice, "invoice_id"))
        latest_last = sorted(
            own, key=lambda row: (day(row, "extended_on"), day(row, "known_on"))
        )
        last = latest_last[-1] if latest_last else invoice
        return day(last, "due_on")

    # step 2

    def enter_rows(self, books: Books) -> None:
        """Enter payments, allocations and write-offs."""
        currencies = {
            text(row, "invoice_id"): text(row, "currency") for row in self.invoices()
        }
        for row in self.valid("payments"):
            if not names_a_receipt(row):
                self.enter_payment(books, row, currencies)
        for row in self.valid("allocations"):
            self.enter_allocation(books, row, currencies)
        # A returned receipt is looked for where it was booked, so it comes last.
        for row in self.valid("payments"):
            if names_a_receipt(row):
                self.enter_payment(books, row, currencies)
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
                self.enter_money(books, row, line)
        elif invoice_id in currencies:
            currency = currencies[invoice_id]
            paid_in = text(row, "currency") or currency
            converted = self.converted(line.amount, (paid_in, currency), line.day)
            is_void = invoice_id in self.cancelled("invoice_id")
            if not (is_void and line.kind == CREDIT_NOTE):
                enter(books, invoice_id, currency, line.part(converted))

    def enter_money(
        self,
        books: Books,
        row: Row,
        line: Line,
    ) -> None:
        """Enter money without an item, or what undoes it.

        Parameters
        ----------
        books : Books
            Where it is entered.
        row : mapping
            A row of the payments without an item.
        line : Line
            The line it makes.
        """
        currency = text(row, "currency") or self.reporting
        left = line.amount
        if line.amount < 0 and line.undoes:
            left = -take_back(books, currency, line)
        books.add_money(currency, line.part(left))

    def line_of(self, row: Row) -> Line:
        """Return the line that a row of the payments makes."""
        kind = text(row, "kind") or PAYMENT
        amount = money(row)
        if kind in WENT_BACK:
            kind = PAYMENT
            amount = -abs(amount)
        undoes = text(row, "reverses")
        return Line(
            kind,
            day(row, "paid_on"),
            amount,
            text(row, "payment_id"),
            undoes,
            self.day_of_payment(undoes),
        )

    def day_of_payment(self, payment_id: str) -> date | None:
        """Return the day of a payment, None if there is no such payment."""
        for row in self.rows("payments"):
            if payment_id and text(row, "payment_id") == payment_id:
                return day(row, "paid_on")
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
        if received_on is None:
            return
        part = Line(PAYMENT, received_on, money(row), receipt_id)
        out = Line(
            PAYMENT,
            day(row, "allocated_on"),
            -money(row),
            "",
            receipt_id,
            received_on,
        )
        enter(books, invoice_id, currency, part)
        books.add_money(currency, out)

    def converted(
        self,
        amount: Decimal,
        currencies: tuple[str, str],
        on: date,
    ) -> Decimal:
        """Return an amount in another currency at the rates of a day.

        Parameters
        ----------
        amount : Decimal
            In the first currency.
        currencies : tuple of str
            The currency to convert from, and the one to convert to.
        on : date
            The day of the rates.
        """
        source, target = currencies
        if source == target:
            return amount
        value = amount * self.rate(source, on) / self.rate(target, on)
        return round_money(value, target)

    def rate(self, currency: str, on: date) -> Decimal:
        """Return the last rate of a currency on a day."""
        if currency == self.reporting:
            return Decimal(1)
        rows = [row for row in self.rows("fx_rates") if row["currency"] == currency]
        earlier = [row for row in rows if day(row, "rate_on") <= on]
        last = max(earlier, key=lambda row: day(row, "rate_on"))
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
        for invoice_id in self.cancelled("invoice_id"):
            sheet = books.sheets.pop(invoice_id, None)
            if sheet is None:
                continue
            for line in sheet.lines:
                if line.kind == PAYMENT:
                    books.add_money(sheet.currency, line)


def names_a_receipt(row: Row) -> bool:
    """Return whether a payment without an item says which one it undoes."""
    return not text(row, "invoice_id") and text(row, "reverses") != ""


def take_back(
    books: Books,
    currency: str,
    line: Line,
) -> Decimal:
    """Enter what comes back of a receipt on the sheets on which it was booked.

    What of the receipt is on no sheet comes back first.

    Parameters
    ----------
    books : Books
        Where it is entered.
    currency : str
        The currency of the money.
    line : Line
        The negative line, which names the receipt.

    Returns
    -------
    Decimal
        What comes back of the customer's money.
    """
    unallocated = ZERO
    for other in books.money.get(currency, ()):
        if line.undoes in (other.receipt_id, other.undoes):
            unallocated += other.amount
    from_money = min(-line.amount, max(unallocated, ZERO))
    left = -line.amount - from_money
    for sheet in reversed(by_due_day(books, currency)):
        booked = [
            other.amount
            for other in sheet.lines
            if line.undoes in (other.receipt_id, other.undoes)
        ]
        taken = min(left, max(sum(booked, ZERO), ZERO))
        if taken:
            sheet.lines.append(line.part(-taken))
            left -= taken
    return from_money + left


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
    """Enter a line on the sheet of its item; on a credit memo it is money.

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
        sheet.lines.append(line)


# step 4


def undo_on_sheets(books: Books) -> None:
    """Undo on each sheet; what is not on the sheet is asked of the customer's money."""
    for sheet in books.sheets.values():
        undoing = [line for line in sheet.lines if line.amount < 0]
        sheet.lines = [line for line in sheet.lines if line.amount > 0]
        for line in in_order(undoing):
            same_kind = [other for other in sheet.lines if other.kind == line.kind]
            left = undo(line, same_kind)
            if not left:
                continue
            if line.kind == WRITE_OFF:
                books.is_unmatched = True
            else:
                books.add_money(sheet.currency, line.part(-left))


def in_order(lines: Iterable[Line]) -> list[Line]:
    """Return lines by day."""
    return sorted(lines, key=lambda line: line.day)


def undo(undoing: Line, lines: Sequence[Line]) -> Decimal:
    """Take a negative line away from others and return what is left of it.

    It takes first what it names, then an equal amount, then the latest; of what was
    booked by its own day if there is any.

    Parameters
    ----------
    undoing : Line
        The negative line.
    lines : sequence of Line
        The lines that it may undo, the later ones last; their amounts are lowered.
    """
    left = -undoing.amount
    while left:
        candidates = [line for line in lines if line.amount > 0]
        if not candidates:
            break
        best = candidates[-1]
        for line in reversed(candidates):
            if closeness(line, undoing, left) > closeness(best, undoing, left):
                best = line
        amount = min(left, best.amount)
        best.amount -= amount
        left -= amount
    return left


def closeness(
    line: Line,
    undoing: Line,
    left: Decimal,
) -> tuple[bool, bool, bool, bool, date]:
    """Return how likely a line is the one to be undone; the greatest is undone first.

    Parameters
    ----------
    line : Line
        A line that may be undone.
    undoing : Line
        The line that undoes.
    left : Decimal
        What is left to undo.
    """
    return (
        undoing.undoes != "" and line.receipt_id == undoing.undoes,
        line.day == undoing.undone_day,
        line.day <= undoing.day,
        line.amount == left,
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
    """Undo in the customer's money, its own kind first, then on the items.

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
    same_kind = [other for other in money_lines if other.kind == line.kind]
    other_kind = [other for other in money_lines if other.kind != line.kind]
    left = line
    for candidates in (same_kind, other_kind, paid_lines(books, currency)):
        left = left.part(-undo(left, candidates))
    return -left.amount


def paid_lines(books: Books, currency: str) -> list[Line]:
    """Return the payments on the items of a currency, the latest last.

    Of one day, the item due last comes last, as it was the last to be paid.
    """
    payments = []
    for sheet in by_due_day(books, currency):
        payments += [line for line in sheet.lines if line.kind == PAYMENT]
    return in_order(payments)


# step 7


def pay_oldest_first(books: Books) -> None:
    """Pay the open items with the customer's money, the oldest due first."""
    for currency, lines in books.money.items():
        lines.sort(key=lambda line: (line.day, line.kind == CREDIT_NOTE))
        for sheet in by_due_day(books, currency):
            for line in lines:
                amount = min(line.amount, sheet.balance())
                if amount > 0:
                    line.amount -= amount
                    sheet.lines.append(line.part(amount))


# --- cells


def of_item(rows: Iterable[Row], invoice_id: str) -> list[Row]:
    """Return the rows of one item."""
    return [row for row in rows if row["invoice_id"] == invoice_id]


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
