"""Any sequence of events gives the balances of an accounting done by hand.

Invoices, money with and without an item, and all that undoes them are drawn at random,
each with the day on which it became known. The two gates, of one account and of whole
tables, must both give what `tests.oracle.accounting` works out from the same rows, and
the books must balance on every day.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal

import pandas as pd
from hypothesis import HealthCheck, assume, given, note, settings
from hypothesis import strategies as st

from obligor.data.ledger import DAY_DTYPE, Ledger, day_columns, number_columns
from tests.oracle.accounting import ZERO, Books, Row, is_known, keep_books, money
from tests.standing import Accountings

FIRST_DAY = date(2024, 1, 1)
N_DAYS = 120
CUSTOMERS = ("C0", "C1")
CURRENCIES = ("EUR", "USD", "JPY")
# Most rows are of one customer and one currency, so that they meet on one sheet.
A_CUSTOMER = st.sampled_from(("C0", "C0", "C0", "C1"))
A_CURRENCY = st.sampled_from(("EUR", "EUR", "EUR", "EUR", "USD", "JPY"))
# Exact in binary, so that a half cent is one in floats as well.
RATES = {"USD": 0.5, "JPY": 1 / 128}
# More were run when it was written: about 3,500 by account, 400 by frames.
SLOW = settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)

AMOUNTS = st.one_of(
    # Few different amounts, so that several payments are of an equal amount.
    st.integers(1, 5).map(lambda n: Decimal(100 * n)),
    st.integers(1, 600).map(Decimal),
)
DAYS = st.integers(0, N_DAYS).map(lambda n: FIRST_DAY + timedelta(days=n))
DELAYS = st.one_of(st.just(0), st.integers(0, 20)).map(lambda n: timedelta(days=n))
GAPS = st.integers(0, 40).map(lambda n: timedelta(days=n))
LAST_DAY = FIRST_DAY + timedelta(days=3 * N_DAYS)
AS_OF_DAYS = st.lists(
    st.integers(0, 2 * N_DAYS).map(lambda n: FIRST_DAY + timedelta(days=n)),
    min_size=1,
    max_size=3,
).map(lambda days: [*days, LAST_DAY])


@dataclass
class Story:
    """What happened to the customers, as rows of the tables of a ledger."""

    draw: st.DrawFn
    has_foreign_payments: bool
    no_currency: str
    tables: dict[str, list[Row]] = field(default_factory=dict)

    def add(self, table: str, **cells: object) -> dict[str, object]:
        """Add a row to a table and return it."""
        row = dict(cells)
        self.tables.setdefault(table, []).append(row)
        return row

    def rows(self, table: str) -> list[Row]:
        return self.tables.get(table, [])

    def one_of(self, rows: Iterable[Row]) -> Row | None:
        """Return one of some rows, None if there is none."""
        rows = list(rows)
        return self.draw(st.sampled_from(rows)) if rows else None

    def later(self, day: object) -> date:
        """Return a day on or after another."""
        assert isinstance(day, date)
        return day + self.draw(GAPS)

    def amount_up_to(self, amount: object) -> Decimal:
        """Return an amount: most often the whole of another, or another one."""
        assert isinstance(amount, Decimal)
        return self.draw(st.one_of(st.just(abs(amount)), AMOUNTS))

    # --- what happens

    def invoice(self) -> None:
        issued_on = self.draw(DAYS)
        number = len(self.rows("invoices"))
        is_memo = self.draw(st.integers(0, 9)) == 0
        has_document = self.draw(st.integers(0, 3)) == 0
        amount = self.draw(AMOUNTS)
        customer_id = self.draw(A_CUSTOMER)
        currency = self.draw(A_CURRENCY)
        self.add(
            "invoices",
            invoice_id=f"I{number}",
            document_id=f"D-{customer_id}-{currency}" if has_document else "",
            customer_id=customer_id,
            issued_on=issued_on,
            due_on=self.later(issued_on),
            amount=-amount if is_memo else amount,
            currency=currency,
            known_on=issued_on + self.draw(DELAYS),
        )

    def name_of(self, invoice: Row) -> object:
        """Return the name by which a row refers to an item: its own or a document's."""
        names = [invoice["invoice_id"], invoice["document_id"]]
        return self.draw(st.sampled_from([name for name in names if name]))

    def payment(self) -> None:
        """A payment or a credit note of an item, now and then in another currency."""
        invoice = self.one_of(self.rows("invoices"))
        assert invoice is not None
        currency = ""
        if self.has_foreign_payments:
            currency = self.draw(st.sampled_from(["", "", "", *CURRENCIES]))
        paid_on = self.later(invoice["issued_on"])
        self.money_row(
            invoice_id=self.name_of(invoice),
            customer_id="",
            paid_on=paid_on,
            amount=self.amount_up_to(invoice["amount"]),
            kind=self.draw(st.sampled_from(["payment", "payment", "credit_note"])),
            currency=currency,
            reverses="",
            known_on=paid_on + self.draw(DELAYS),
        )

    def money_row(self, **cells: object) -> None:
        """Add a payment with an id of its own."""
        number = len(self.rows("payments"))
        self.add("payments", payment_id=f"P{number}", **cells)

    def receipt(self) -> None:
        """Money of a customer, or a credit note, without an item."""
        paid_on = self.draw(DAYS)
        self.money_row(
            invoice_id="",
            customer_id=self.draw(A_CUSTOMER),
            paid_on=paid_on,
            amount=self.draw(AMOUNTS),
            kind=self.draw(st.sampled_from(["payment", "payment", "credit_note"])),
            currency=self.draw(st.one_of(A_CURRENCY, st.just(self.no_currency))),
            reverses="",
            known_on=paid_on + self.draw(DELAYS),
        )

    def allocation(self) -> None:
        """A part of a receipt is moved to an item of its customer and currency."""
        receipt = self.one_of(
            row
            for row in self.rows("payments")
            if not row["invoice_id"] and row["kind"] == "payment" and is_positive(row)
        )
        if receipt is None:
            return
        same = ("customer_id", "currency")
        invoice = self.one_of(
            row
            for row in self.rows("invoices")
            if all(row[name] == receipt[name] for name in same)
        )
        if invoice is None:
            return
        allocated_on = self.later(receipt["known_on"])
        self.add(
            "allocations",
            payment_id=receipt["payment_id"],
            invoice_id=self.name_of(invoice),
            amount=self.amount_up_to(receipt["amount"]),
            allocated_on=allocated_on,
            known_on=allocated_on + self.draw(DELAYS),
        )

    def undone_money(self) -> None:
        """A payment comes back or is refunded, or a credit note is cancelled.

        The row may name its item, the payment it undoes, both, or neither.
        """
        cancelled = [row["payment_id"] for row in self.rows("cancellations")]
        undone = self.one_of(
            row
            for row in self.rows("payments")
            if is_positive(row) and row["payment_id"] not in cancelled
        )
        if undone is None:
            return
        names_item = self.draw(st.booleans())
        names_payment = self.draw(st.booleans())
        kinds = ["credit_note"]
        if undone["kind"] == "payment":
            kinds = ["payment", "returned", "refund"]
        kind = self.draw(st.sampled_from(kinds))
        amount = self.amount_up_to(undone["amount"])
        is_signed = kind in ("payment", "credit_note")
        day = self.later(undone["known_on"])
        currency = undone["currency"]
        if not names_item and not currency and undone["invoice_id"]:
            currency = self.invoice_of(undone)["currency"]
        self.money_row(
            invoice_id=undone["invoice_id"] if names_item else "",
            customer_id=self.customer_of(undone),
            paid_on=day,
            amount=-amount if is_signed else amount,
            kind=kind,
            currency=currency,
            reverses=undone["payment_id"] if names_payment else "",
            known_on=day + self.draw(DELAYS),
        )

    def invoice_of(self, row: Row) -> Row:
        """Return the invoice of a row."""
        for invoice in self.rows("invoices"):
            if row["invoice_id"] in (invoice["invoice_id"], invoice["document_id"]):
                return invoice
        raise KeyError(row["invoice_id"])

    def customer_of(self, payment: Row) -> object:
        """Return the customer of a payment."""
        if payment["invoice_id"]:
            return self.invoice_of(payment)["customer_id"]
        return payment["customer_id"]

    def write_off(self) -> None:
        """A part of an item is written off, or the write-off is reversed."""
        invoice = self.one_of(filter(is_positive, self.rows("invoices")))
        if invoice is None:
            return
        day = self.later(invoice["issued_on"])
        amount = self.amount_up_to(invoice["amount"])
        is_reversal = self.draw(st.booleans())
        self.add(
            "write_offs",
            invoice_id=invoice["invoice_id"],
            written_off_on=day,
            amount=-amount if is_reversal else amount,
            known_on=day + self.draw(DELAYS),
        )

    def cancellation(self) -> None:
        """An invoice or a payment is cancelled."""
        is_payment = self.draw(st.booleans())
        table = "payments" if is_payment else "invoices"
        row = self.one_of(r for r in self.rows(table) if not self.is_undone(r))
        if row is None:
            return
        day = self.later(row["known_on"])
        self.add(
            "cancellations",
            invoice_id="" if is_payment else self.name_of(row),
            payment_id=row["payment_id"] if is_payment else "",
            cancelled_on=day,
            known_on=day + self.draw(DELAYS),
        )

    def is_undone(self, row: Row) -> bool:
        """Return whether a payment undoes another, or is undone or cancelled."""
        payment_id = row.get("payment_id")
        if payment_id is None:
            return False
        undone = [other["reverses"] for other in self.rows("payments")]
        undone += [other["payment_id"] for other in self.rows("cancellations")]
        return payment_id in undone or row["reverses"] != ""

    def extension(self) -> None:
        """A later due date is agreed."""
        invoice = self.one_of(filter(is_positive, self.rows("invoices")))
        if invoice is None:
            return
        day = self.later(invoice["issued_on"])
        self.add(
            "extensions",
            invoice_id=self.name_of(invoice),
            extended_on=day,
            due_on=self.later(invoice["due_on"]),
            known_on=day + self.draw(DELAYS),
        )

    def rate(self) -> None:
        """A rate is entered, now and then late."""
        rate_on = self.draw(DAYS)
        self.add(
            "fx_rates",
            currency=self.draw(st.sampled_from(list(RATES))),
            rate_on=rate_on,
            rate=self.draw(st.sampled_from([0.25, 0.5, 1 / 64])),
            known_on=rate_on + self.draw(DELAYS),
        )

    def dispute(self) -> None:
        """An item is disputed, or a part of it."""
        invoice = self.one_of(filter(is_positive, self.rows("invoices")))
        if invoice is None:
            return
        day = self.later(invoice["issued_on"])
        self.add(
            "disputes",
            invoice_id=invoice["invoice_id"],
            opened_on=day,
            resolved_on=self.draw(st.sampled_from([None, self.later(day)])),
            amount=self.draw(st.one_of(st.none(), AMOUNTS)),
            known_on=day,
        )


EVENTS = (
    Story.invoice,
    Story.payment,
    Story.payment,
    Story.receipt,
    Story.allocation,
    Story.undone_money,
    Story.undone_money,
    Story.write_off,
    Story.cancellation,
    Story.extension,
    Story.dispute,
    Story.rate,
)


def is_positive(row: Row) -> bool:
    amount = row["amount"]
    assert isinstance(amount, Decimal)
    return amount > 0


@st.composite
def stories(draw: st.DrawFn, has_foreign_payments: bool = True) -> dict[str, list[Row]]:
    """The rows of a ledger, in the order in which they were thought of."""
    no_currency = "" if has_foreign_payments else "EUR"
    story = Story(draw, has_foreign_payments, no_currency)
    for _ in range(draw(st.integers(1, 3))):
        story.invoice()
    for event in draw(st.lists(st.sampled_from(EVENTS), min_size=2, max_size=16)):
        event(story)
    for currency, rate in RATES.items():
        first = FIRST_DAY - timedelta(days=1)
        story.add(
            "fx_rates",
            currency=currency,
            rate_on=first,
            rate=rate,
            known_on=first,
        )
    return story.tables


def ledger_of(tables: dict[str, list[Row]]) -> Ledger:
    """Return rows as a ledger, as it is after its check."""
    frames = {name: frame_of(name, rows) for name, rows in tables.items()}
    frames["customers"] = frame_of("customers", [*map(customer_row, CUSTOMERS)])
    return Ledger(frames, "EUR")


def customer_row(customer_id: str) -> Row:
    return {
        "customer_id": customer_id,
        "registered_on": FIRST_DAY,
        "known_on": FIRST_DAY,
    }


def frame_of(name: str, rows: list[Row]) -> pd.DataFrame:
    """Return rows as a table of the ledger; an empty text is a missing one."""
    frame = pd.DataFrame(rows)
    for column in map(str, frame.columns):
        if column in day_columns(name):
            frame[column] = pd.to_datetime(frame[column]).astype(DAY_DTYPE)
        elif column in number_columns(name):
            frame[column] = frame[column].astype("float64")
        else:
            frame[column] = frame[column].where(frame[column] != "").astype("str")
    return frame


@SLOW
@given(stories(), AS_OF_DAYS)
def test_both_gates_give_the_balances_of_the_accounting(
    tables: dict[str, list[Row]], days: list[date]
) -> None:
    note(as_text(tables))
    accountings = Accountings(ledger_of(tables))
    for customer_id in CUSTOMERS:
        for as_of in days:
            if has_items(tables, customer_id, as_of):
                by_hand, *others = accountings.standings(customer_id, as_of)
                assert others == [by_hand, by_hand]


def as_text(tables: dict[str, list[Row]]) -> str:
    """Return rows as a text, to be read if the accountings differ."""
    lines = []
    for name, rows in tables.items():
        for row in rows:
            cells = [f"{column}={value}" for column, value in row.items() if value]
            lines.append(f"{name}: {', '.join(cells)}")
    return "\n".join(lines)


def has_items(
    tables: dict[str, list[Row]],
    customer_id: str,
    as_of: date,
) -> bool:
    """Return whether an item of a customer is known: else the gates refuse the day."""
    for row in tables["invoices"]:
        is_own = row["customer_id"] == customer_id and is_positive(row)
        if is_own and is_known(row, as_of):
            return True
    return False


@dataclass(frozen=True)
class PlainSums:
    """What a customer was invoiced and what was taken off it, in one currency.

    It adds up the rows that are known on a day and asks no more of them.
    """

    tables: dict[str, list[Row]]
    customer_id: str
    currency: str
    as_of: date

    def rows(self, table: str) -> list[Row]:
        """Return the known rows of a table."""
        rows = self.tables.get(table, [])
        return [row for row in rows if is_known(row, self.as_of)]

    def invoices(self) -> dict[object, Row]:
        """Return the customer's invoices, by id and by document."""
        own = {}
        for row in self.rows("invoices"):
            if row["customer_id"] == self.customer_id:
                own[row["invoice_id"]] = row
                own[row["document_id"]] = row
        return own

    def cancelled(self) -> set[object]:
        """Return the invoices and payments that were cancelled."""
        cancelled = set()
        for row in self.rows("cancellations"):
            cancelled |= {row["invoice_id"], row["payment_id"]}
        return cancelled - {""}

    def billed(self) -> Decimal:
        """Return the amounts of the invoices, those of credit memos as negative."""
        total = ZERO
        for invoice_id, row in self.invoices().items():
            names = {row["invoice_id"], row["document_id"]}
            is_own = invoice_id == row["invoice_id"]
            is_own &= row["currency"] == self.currency
            if is_own and not names & self.cancelled():
                total += money(row)
        return total

    def taken_off(self) -> Decimal:
        """Return the payments and credit notes less what undoes them."""
        total = ZERO
        invoices = self.invoices()
        for row in self.rows("payments"):
            invoice = invoices.get(row["invoice_id"] or None)
            is_money = not row["invoice_id"] and row["customer_id"] == self.customer_id
            if row["payment_id"] in self.cancelled() or not (invoice or is_money):
                continue
            is_void = row["invoice_id"] in self.cancelled()
            if invoice and row["invoice_id"] == invoice["invoice_id"]:
                is_void |= invoice["document_id"] in self.cancelled()
            if is_void and row["kind"] == "credit_note":
                continue
            booked_in = invoice["currency"] if invoice else row["currency"]
            if booked_in == self.currency:
                total += signed(row)
        return total


def signed(row: Row) -> Decimal:
    """Return the amount of a payment, below 0 if it went back."""
    amount = money(row)
    return -abs(amount) if row["kind"] in ("returned", "refund") else amount


@SLOW
@given(stories(has_foreign_payments=False), AS_OF_DAYS)
def test_the_books_of_the_accounting_balance(
    tables: dict[str, list[Row]], days: list[date]
) -> None:
    """Open, less unapplied, is invoiced less received, credited and written off."""
    assume(not undoes_a_void_credit(tables))
    for customer_id in CUSTOMERS:
        for as_of in days:
            books = keep_books(tables, customer_id, as_of)
            for currency in CURRENCIES:
                sums = PlainSums(tables, customer_id, currency, as_of)
                expected = sums.billed() - sums.taken_off()
                expected -= books.written_off(currency)
                assert net_position(books, currency) == expected


def undoes_a_void_credit(tables: dict[str, list[Row]]) -> bool:
    """Return whether a row without an item undoes a credit note of a cancelled item.

    Whether it is void as well depends on how much of the note is left; a sum of rows
    cannot tell.
    """
    cancelled = {row["invoice_id"] for row in tables.get("cancellations", [])}
    for invoice in tables["invoices"]:
        if {invoice["invoice_id"], invoice["document_id"]} & cancelled:
            cancelled |= {invoice["invoice_id"], invoice["document_id"]}
    void_ids = set()
    for row in tables.get("payments", []):
        if row["kind"] == "credit_note" and row["invoice_id"] in cancelled - {""}:
            void_ids.add(row["payment_id"])
    return any(row["reverses"] in void_ids for row in tables.get("payments", []))


def net_position(books: Books, currency: str) -> Decimal:
    """Return what is open, and what was undone without a trace, less money."""
    total = books.untraced.get(currency, ZERO) - books.unapplied().get(currency, ZERO)
    for sheet in books.sheets.values():
        if sheet.currency == currency:
            total += sheet.balance()
    return total
