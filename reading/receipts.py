"""Giving the entries of bank statements to invoices and customers.

An entry pays the invoice whose number it names. Several numbers of one customer are
paid if the money is enough for all of them. What is not clear is money of the customer
without an invoice; the customer is the one whose invoices are named, or whose account
or name the payer has. An entry without a customer is set aside.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

import pandas as pd

from obligor.data.column_reading import is_missing
from obligor.data.findings import Finding
from obligor.data.posting import UNDOING_KINDS
from obligor.data.row_ownership import owners_of_items
from obligor.data.stored_ledger import StoredLedger
from obligor.documents.payers import Payers
from obligor.documents.references import Reference, ReferenceIndex

# What is needed of an invoice.
INVOICE_COLUMNS = ("invoice_id", "customer_id", "amount", "currency")
_WORD = re.compile(r"[^\s,;:()]+")
_REMEDY = (
    "a file of payers with customer_id, iban and name (payers = ...); if it is not of "
    "a customer, leave it out with where"
)


@dataclass(frozen=True)
class _Entry:
    """An entry of a bank statement, as it is matched."""

    row: int
    payment_id: str
    direction: str
    amount: Decimal
    currency: str
    paid_on: str
    references: tuple[str, ...]
    end_to_end_id: str
    remittance: str
    original_ids: frozenset[str]
    payer_name: str
    payer_iban: str
    account: str
    statement: str
    batch: str
    file: str

    @property
    def has_own_id(self) -> bool:
        """Whether its id is the bank's, not its position in the statement."""
        return not self.payment_id.startswith(f"{self.statement}/")


@dataclass(frozen=True)
class _Part:
    """A part of an entry: for an invoice, or for a customer without one."""

    customer_id: str
    amount: Decimal
    invoice_id: str | None = None


@dataclass(frozen=True)
class _Match:
    """What became of an entry.

    Attributes
    ----------
    entry : _Entry
        The entry.
    parts : tuple of _Part
        Empty if it is of no customer.
    reason : str
        Why it is of no invoice, or of no customer; empty if it pays invoices.
    reverses : str
        The receipt that a return takes back; empty if it is not known.
    """

    entry: _Entry
    parts: tuple[_Part, ...]
    reason: str = ""
    reverses: str = ""

    @property
    def is_of_nobody(self) -> bool:
        """Whether it is a payout, or one that came back, and of no customer."""
        return not self.parts and self.entry.direction not in ("receipt", "return")


class _Balances:
    """What is open of each invoice while entries are matched, in their order."""

    def __init__(
        self, invoices: pd.DataFrame, settlements: Iterable[pd.DataFrame]
    ) -> None:
        unique = invoices.drop_duplicates("invoice_id")
        self.invoices = unique.set_index("invoice_id")
        settled = pd.Series(dtype="float64")
        for frame in settlements:
            if {"invoice_id", "amount"} <= set(frame):
                sums = _signed(frame).groupby(frame["invoice_id"]).sum()
                settled = settled.add(sums, fill_value=0.0)
        self.settled = {str(key): _decimal(value) for key, value in settled.items()}

    def customer(self, invoice_id: str) -> str | None:
        """Return the customer of an invoice."""
        customer_id = self.invoices["customer_id"][invoice_id]
        return customer_id if isinstance(customer_id, str) else None

    def is_in_currency(self, invoice_id: str, currency: str) -> bool:
        """Return whether an invoice is in a currency, as far as it is known."""
        cell = self.invoices["currency"][invoice_id]
        return is_missing(cell) or cell == currency

    def open_amount(self, invoice_id: str) -> Decimal:
        """Return what is open of an invoice, never below 0; a credit memo is below 0.

        Of an invoice of the loaded ledger only its customer is known here: nothing is
        enough for it.
        """
        cell = self.invoices["amount"][invoice_id]
        if is_missing(cell):
            return Decimal("Infinity")
        amount = _decimal(cell)
        if amount < 0:
            return amount
        return max(Decimal(0), amount - self.settled.get(invoice_id, Decimal(0)))

    def by_due_day(self, invoice_ids: Iterable[str]) -> list[str]:
        """Return invoices, the oldest due first."""
        if "due_on" not in self.invoices:
            return sorted(invoice_ids)
        due_on = self.invoices["due_on"]
        return sorted(
            invoice_ids, key=lambda invoice_id: (str(due_on[invoice_id]), invoice_id)
        )

    def settle(self, parts: Iterable[_Part]) -> None:
        """Take parts from what is open."""
        for part in parts:
            if part.invoice_id is not None:
                settled = self.settled.get(part.invoice_id, Decimal(0))
                self.settled[part.invoice_id] = settled + part.amount


def _signed(settlements: pd.DataFrame) -> pd.Series:
    """Return amounts with the sign of what they do."""
    amounts = settlements["amount"]
    if "kind" not in settlements:
        return amounts
    is_undoing = settlements["kind"].isin(UNDOING_KINDS)
    return amounts.where(~is_undoing, -amounts.abs())


def _decimal(value: object) -> Decimal:
    return Decimal(0) if is_missing(value) else round(Decimal(str(value)), 4)


class ReceiptMatcher:
    """Matches the entries of bank statements, one after the other.

    Parameters
    ----------
    invoices : DataFrame
        Columns `INVOICE_COLUMNS`.
    settlements : iterable of DataFrame
        Other payments, and write-offs.
    payers : Payers
        The accounts and names of customers.
    """

    def __init__(
        self,
        invoices: pd.DataFrame,
        settlements: Iterable[pd.DataFrame],
        payers: Payers,
    ) -> None:
        self.index = ReferenceIndex(invoices)
        self.balances = _Balances(invoices, settlements)
        self.payers = payers
        self.receipts = list[_Match]()
        self.returned = set[str]()

    def match(self, entry: _Entry) -> _Match:
        """Return what becomes of an entry, and remember it for the next ones."""
        if entry.direction == "receipt":
            match = self._receipt(entry)
            self.receipts.append(match)
        elif entry.direction == "return":
            match = self._return(entry)
        else:
            match = self._payout(entry)
        self.balances.settle(match.parts)
        return match

    def _receipt(self, entry: _Entry) -> _Match:
        references = self._references(entry)
        payer = self.payers.customer(entry.payer_iban, entry.payer_name)
        customers = self._customers(references)
        if payer is not None and customers and payer not in customers:
            reason = "it names an invoice of another customer than its payer"
            return _of_customer(entry, payer, reason)
        customer_id = payer or (customers.pop() if len(customers) == 1 else None)
        if customer_id is None:
            is_several = len(customers) > 1
            reason = (
                "it names invoices of several customers"
                if is_several
                else "it names no invoice, and its payer is not known"
            )
            return _Match(entry, (), reason)
        named = [self._of_customer(reference, customer_id) for reference in references]
        return self._allocated(entry, customer_id, [ids for ids in named if ids])

    def _references(self, entry: _Entry) -> list[Reference]:
        """Return the invoices that an entry names, by the best of its fields."""
        structured = [self.index.of_reference(text) for text in entry.references]
        exact = [reference for reference in structured if reference is not None]
        if exact:
            return exact
        text = "\n\n".join((*entry.references, entry.remittance))
        references = self.index.in_text(text)
        if references or not entry.end_to_end_id:
            return references
        # It may be a number of the payer's own: a short one names no invoice.
        own_id = None
        if entry.end_to_end_id.upper().startswith("RF"):
            own_id = self.index.of_reference(entry.end_to_end_id)
        return [own_id] if own_id else self.index.in_text(entry.end_to_end_id)

    def _customers(self, references: Iterable[Reference]) -> set[str]:
        customers = set()
        for reference in references:
            for invoice_id in reference.invoice_ids:
                customer_id = self.balances.customer(invoice_id)
                if customer_id is not None:
                    customers.add(customer_id)
        return customers

    def _of_customer(self, reference: Reference, customer_id: str) -> list[str]:
        own = [
            invoice_id
            for invoice_id in reference.invoice_ids
            if self.balances.customer(invoice_id) == customer_id
        ]
        return self.balances.by_due_day(own)

    def _allocated(
        self,
        entry: _Entry,
        customer_id: str,
        named: Sequence[Sequence[str]],
    ) -> _Match:
        """Return an entry as payments of the invoices that it names.

        Each element of `named` is the items of one document.
        """
        items = list(dict.fromkeys(item for items in named for item in items))
        if all(self.balances.open_amount(item) < 0 for item in items):
            return _of_customer(entry, customer_id, "it names no invoice")
        if len(items) == 1:
            part = _Part(customer_id, entry.amount, items[0])
            return _Match(entry, (part,))
        if not all(
            self.balances.is_in_currency(item, entry.currency) for item in items
        ):
            reason = "it names invoices in another currency"
            return _of_customer(entry, customer_id, reason)
        total = sum((self.balances.open_amount(item) for item in items), Decimal(0))
        if len(named) > 1 and entry.amount < total:
            reason = f"it names {len(named)} invoices and is not enough for them"
            return _of_customer(entry, customer_id, reason)
        equal = [
            item for item in items if self.balances.open_amount(item) == entry.amount
        ]
        if len(named) == 1 and equal:
            items = equal[:1]
        return _Match(entry, tuple(self._filled(entry, customer_id, items)))

    def _filled(
        self,
        entry: _Entry,
        customer_id: str,
        items: Sequence[str],
    ) -> Iterator[_Part]:
        """Yield what pays each item in turn; what is left is the customer's."""
        remainder = entry.amount
        for item in items:
            amount = min(remainder, self.balances.open_amount(item))
            if amount > 0:
                remainder -= amount
                yield _Part(customer_id, amount, item)
        if remainder > 0:
            yield _Part(customer_id, remainder)

    def _return(self, entry: _Entry) -> _Match:
        """Return a returned receipt as the negative of what it was given to."""
        original = self._original(entry)
        if original is not None:
            self.returned.add(original.entry.payment_id)
            parts = [
                replace(part, amount=-part.amount)
                for part in _taken_back(original.parts, -entry.amount)
            ]
            charges = -entry.amount - original.entry.amount
            return _Match(
                entry,
                tuple(parts),
                f"{charges} of it are charges of the bank" if charges > 0 else "",
                original.entry.payment_id,
            )
        references = self._references(entry)
        customers = self._customers(references)
        payer = self.payers.customer(entry.payer_iban, entry.payer_name)
        customer_id = customers.pop() if len(customers) == 1 else payer
        if customer_id is None:
            reason = "its receipt is not found, and its payer is not known"
            return _Match(entry, (), reason)
        items = list[str]()
        for reference in references:
            items += self._of_customer(reference, customer_id)
        item = items[0] if len(items) == 1 else None
        return _Match(entry, (_Part(customer_id, entry.amount, item),))

    def _original(self, entry: _Entry) -> _Match | None:
        """Return the receipt that a return takes back, if it is certain."""
        earlier = [
            receipt
            for receipt in self.receipts
            if receipt.parts
            and receipt.entry.payment_id not in self.returned
            and receipt.entry.original_ids & entry.original_ids
            and receipt.entry.amount <= -entry.amount
        ]
        equal = [match for match in earlier if match.entry.amount == -entry.amount]
        candidates = equal or earlier
        return candidates[0] if len(candidates) == 1 else None

    def _payout(self, entry: _Entry) -> _Match:
        """Return a payout to a customer, or one that came back, as money of it."""
        customer_id = self.payers.customer(entry.payer_iban, entry.payer_name)
        if customer_id is None:
            return _Match(entry, (), "it is not of a customer")
        return _Match(entry, (_Part(customer_id, entry.amount),))


def _of_customer(
    entry: _Entry,
    customer_id: str,
    reason: str,
) -> _Match:
    return _Match(entry, (_Part(customer_id, entry.amount),), reason)


def _taken_back(parts: Sequence[_Part], amount: Decimal) -> Iterator[_Part]:
    """Yield parts of a receipt up to an amount; what is more is charges of the bank."""
    remainder = amount
    for part in parts:
        share = min(remainder, part.amount)
        if share > 0:
            remainder -= share
            yield replace(part, amount=share)


def with_stored_invoices(
    invoices: pd.DataFrame,
    entries: pd.DataFrame,
    stored: StoredLedger | None,
) -> pd.DataFrame:
    """Return invoices with those of the loaded ledger that entries name.

    Parameters
    ----------
    invoices : DataFrame
        Columns `INVOICE_COLUMNS`.
    entries : DataFrame
        Of bank statements.
    stored : StoredLedger or None
        The loaded ledger.

    Returns
    -------
    DataFrame
        Of an invoice of the loaded ledger, or of a document with several items, only
        the id and the customer are known.
    """
    if stored is None:
        return invoices
    words = set[str]()
    for column in ("references", "end_to_end_id", "remittance"):
        for text in entries[column].dropna():
            words.update(word.strip(".-/") for word in _WORD.findall(text))
    owners = owners_of_items(stored.owners, pd.Series(sorted(words), dtype="str"))
    owners = owners[~owners.index.isin(invoices["invoice_id"])]
    rows = pd.DataFrame(
        {
            "invoice_id": owners.index,
            "customer_id": owners.to_numpy(),
        }
    )
    return pd.concat([invoices, rows], ignore_index=True) if len(rows) else invoices


def assign_entries(
    frames: dict[str, pd.DataFrame],
    entries: pd.DataFrame,
    invoices: pd.DataFrame,
    payers: Payers,
) -> Iterator[Finding]:
    """Give the entries among the payments to invoices and customers.

    Parameters
    ----------
    frames : dict of str to DataFrame
        The tables; the payments are changed.
    entries : DataFrame
        The entries as `documents.entries` gives them, by the row of the payment.
    invoices : DataFrame
        Columns `INVOICE_COLUMNS`: what an entry may name.
    payers : Payers
        The accounts and names of customers.

    Yields
    ------
    Finding
        What was set aside, with the reason, and how many entries became what.
    """
    payments = frames["payments"]
    present = entries[entries.index.isin(payments.index)]
    others = payments.drop(index=present.index)
    ordered = sorted(_entries(present), key=_order)
    unique, n_repeated = _without_repeated(ordered)
    if n_repeated:
        noun = "entry is" if n_repeated == 1 else "entries are"
        yield _note(f"{n_repeated:,} {noun} in two statements; read once")
    settlements = [others]
    if "write_offs" in frames:
        settlements.append(frames["write_offs"])
    matcher = ReceiptMatcher(invoices, settlements, payers)
    matches = [matcher.match(entry) for entry in unique]
    foreign = [match for match in matches if match.is_of_nobody]
    used = [match for match in matches if not match.is_of_nobody]
    frames["payments"] = pd.concat([others, _rows_of(payments, used)])
    yield from _foreign_payouts(foreign)
    yield _summary(used)
    for match in used:
        yield from _finding_of(match)


def _order(entry: _Entry) -> tuple[str, bool, str]:
    """Order entries by day, on one day a receipt before its return."""
    return entry.paid_on, entry.amount < 0, entry.payment_id


def _entries(frame: pd.DataFrame) -> Iterator[_Entry]:
    for row, cells in zip(frame.index, frame.to_dict("records"), strict=True):
        texts = {
            str(name): "" if is_missing(cell) else str(cell)
            for name, cell in cells.items()
        }
        yield _Entry(
            row=int(row),
            payment_id=texts["payment_id"],
            direction=texts["direction"],
            amount=Decimal(texts["amount"]),
            currency=texts["currency"],
            paid_on=texts["paid_on"],
            references=tuple(texts["references"].splitlines()),
            end_to_end_id=texts["end_to_end_id"],
            remittance=texts["remittance"],
            original_ids=frozenset(texts["original_ids"].splitlines()),
            payer_name=texts["payer_name"],
            payer_iban=texts["payer_iban"],
            account=texts["account"],
            statement=texts["statement"],
            batch=texts["batch"],
            file=texts["file"],
        )


def _without_repeated(entries: Iterable[_Entry]) -> tuple[list[_Entry], int]:
    """Return each entry once, under an id of its own, and how many were repeated.

    Without an id of the bank, entries of equal content in two statements are the same;
    in one statement they are not.
    """
    by_content: dict[_Entry, dict[tuple[str, str], list[_Entry]]] = {}
    n_entries = 0
    for entry in entries:
        payment_id = entry.payment_id if entry.has_own_id else ""
        content = replace(
            entry,
            row=0,
            statement="",
            file="",
            payment_id=payment_id,
        )
        statements = by_content.setdefault(content, {})
        statements.setdefault((entry.file, entry.statement), []).append(entry)
        n_entries += 1
    unique = [
        entry
        for statements in by_content.values()
        for entry in max(statements.values(), key=len)
    ]
    without_batches = _without_batches(unique)
    ids = set[str]()
    renamed = list[_Entry]()
    for entry in sorted(without_batches, key=_order):
        if entry.payment_id in ids:
            entry = replace(entry, payment_id=f"{entry.payment_id}/{entry.paid_on}")
        ids.add(entry.payment_id)
        renamed.append(entry)
    return renamed, n_entries - len(renamed)


def _without_batches(entries: Sequence[_Entry]) -> list[_Entry]:
    """Leave out the sum of a batch if another statement has its transactions."""
    by_batch: dict[tuple[str, str], list[_Entry]] = {}
    for entry in entries:
        if entry.batch:
            by_batch.setdefault((entry.account, entry.batch), []).append(entry)
    sums = set[_Entry]()
    for batch in by_batch.values():
        for entry in batch:
            own = (entry.file, entry.statement)
            parts = [part for part in batch if (part.file, part.statement) != own]
            total = sum((part.amount for part in parts), Decimal(0))
            is_alone = len(parts) == len(batch) - 1
            if parts and is_alone and total == entry.amount and not sums & set(batch):
                sums.add(entry)
    return [entry for entry in entries if entry not in sums]


def _rows_of(payments: pd.DataFrame, matches: Sequence[_Match]) -> pd.DataFrame:
    """Return one row for each part of each match, and for each without a part."""
    next_row = int(payments.index.max()) + 1 if len(payments) else 0
    rows = list[int]()
    numbers = list[int]()
    cells: dict[str, list[object]] = {
        "payment_id": [],
        "invoice_id": [],
        "customer_id": [],
        "amount": [],
        "reverses": [],
    }
    for match in matches:
        parts = match.parts or (_Part("", match.entry.amount),)
        for position, part in enumerate(parts):
            rows.append(match.entry.row)
            numbers.append(next_row if position else match.entry.row)
            next_row += position > 0
            cells["payment_id"].append(match.entry.payment_id)
            cells["invoice_id"].append(part.invoice_id)
            cells["customer_id"].append(part.customer_id or None)
            cells["amount"].append(float(part.amount))
            cells["reverses"].append(match.reverses or None)
    frame = payments.loc[rows].set_axis(pd.Index(numbers, dtype="int64"))
    for column, values in cells.items():
        dtype = "float64" if column == "amount" else "str"
        frame[column] = pd.Series(values, index=frame.index, dtype=dtype)
    return frame


def _note(what: str, row: int | None = None) -> Finding:
    return Finding(
        level="note",
        table="payments",
        column="",
        row=row,
        what=what,
        expected="",
    )


def _foreign_payouts(matches: Sequence[_Match]) -> Iterator[Finding]:
    """Yield a note on payouts that are of no customer: to suppliers and others."""
    if not matches:
        return
    sums: dict[str, Decimal] = {}
    for match in matches:
        currency = match.entry.currency
        sums[currency] = sums.get(currency, Decimal(0)) + match.entry.amount
    money = ", ".join(f"{amount:,.2f} {currency}" for currency, amount in sums.items())
    noun = "entry is a payout" if len(matches) == 1 else "entries are payouts"
    yield _note(f"{len(matches):,} {noun} to others than customers ({money}); not used")


def _summary(matches: Sequence[_Match]) -> Finding:
    """Return how many entries pay invoices, and what became of the others."""
    n_paying = 0
    n_unapplied = 0
    for match in matches:
        if match.parts:
            has_item = any(part.invoice_id is not None for part in match.parts)
            n_paying += has_item
            n_unapplied += not has_item
    n_set_aside = len(matches) - n_paying - n_unapplied
    return _note(
        f"of {len(matches):,} entries of bank statements {n_paying:,} are of invoices, "
        f"{n_unapplied:,} are money of a customer without an invoice, "
        f"{n_set_aside:,} are of no customer"
    )


def _finding_of(match: _Match) -> Iterator[Finding]:
    """Yield what a person must know about an entry."""
    row = match.entry.row
    if match.parts:
        is_unapplied = all(part.invoice_id is None for part in match.parts)
        money = "; it is money of the customer" if is_unapplied else ""
        if match.reason:
            yield _note(f"{match.reason}{money}", row)
        return
    payer = match.entry.payer_name or match.entry.payer_iban or "a payer without a name"
    finding = Finding(
        level="quarantine",
        table="payments",
        column="customer_id",
        row=row,
        what=f"{match.entry.direction} of {payer}: {match.reason}",
        expected=_REMEDY,
    )
    yield finding
    if match.entry.direction == "return":
        # A receipt that may be undone must not stand as if it were not.
        yield replace(finding, level="refuse", row=None)
