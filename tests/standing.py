"""What a customer owes on a day, as each of the accountings has it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import Decimal

import pandas as pd

from obligor.data.account import Account
from obligor.data.account_building import accounts_of
from obligor.data.asof import KnownLedger, known_account, known_on
from obligor.data.days import day_of
from obligor.data.ledger import Ledger
from obligor.data.money import minor_unit
from obligor.data.open_items import open_balances
from obligor.data.settling import unapplied
from tests import ascii
from tests.oracle.accounting import Tables, keep_books


@dataclass(frozen=True)
class Standing:
    """What a customer owes on a day, and what money belongs to no item.

    Attributes
    ----------
    balances : dict of str to Decimal
        What is open of each known item.
    due_on : dict of str to date
        When each of them is due.
    unapplied : dict of str to Decimal
        Money without an item by currency, without zeros.
    is_unmatched : bool
        Whether something was undone that the ledger does not have.
    """

    balances: dict[str, Decimal]
    due_on: dict[str, date]
    unapplied: dict[str, Decimal]
    is_unmatched: bool

    def row(self) -> dict[str, object]:
        """Return the standing as a row with a column for each item."""
        return {
            **self.balances,
            "due_on": list(self.due_on.values()),
            "unapplied": self.unapplied.get("EUR", Decimal(0)),
            "unapplied USD": self.unapplied.get("USD", Decimal(0)),
            "is_unmatched": self.is_unmatched,
        }


class Accountings:
    """A ledger as it is accounted for by hand, behind each gate: three times.

    Parameters
    ----------
    whole : Ledger
        The ledger, the future included.
    """

    def __init__(self, whole: Ledger) -> None:
        self.whole = whole
        self.tables = plain_tables(whole)
        self.accounts = {account.customer_id: account for account in accounts_of(whole)}
        self.known_ledgers: dict[date, KnownLedger] = {}

    def standings(self, customer_id: str, as_of: date) -> list[Standing]:
        """Return the standing of a customer on a day, by each of the accountings."""
        return [
            self.by_hand(customer_id, as_of),
            self.by_account(customer_id, as_of),
            self.by_frames(customer_id, as_of),
        ]

    def by_hand(self, customer_id: str, as_of: date) -> Standing:
        """Return what an accountant works out."""
        books = keep_books(
            self.tables,
            customer_id,
            as_of,
            self.whole.unapplied_policy,
            self.whole.currency,
        )
        sheets = sorted(books.sheets.items())
        return Standing(
            balances={name: sheet.balance() for name, sheet in sheets},
            due_on={name: sheet.due_on for name, sheet in sheets},
            unapplied=books.unapplied(),
            is_unmatched=books.is_unmatched,
        )

    def by_account(self, customer_id: str, as_of: date) -> Standing:
        """Return what the gate of an account gives."""
        known = known_account(self.accounts[customer_id], as_of)
        return standing_of(known.account)

    def by_frames(self, customer_id: str, as_of: date) -> Standing:
        """Return what the gate of whole tables gives."""
        known = self.known_ledger(as_of)
        invoices = known.ledger["invoices"]
        own = invoices[invoices["customer_id"] == customer_id]
        own = own.sort_values("invoice_id").set_index("invoice_id")
        settled = [
            known.ledger[table].groupby("invoice_id")["amount"].sum()
            for table in ("payments", "write_offs")
        ]
        total = pd.concat(settled).groupby(level=0).sum()
        balances = {}
        for name, amount in own["amount"].items():
            balance = max(amount - total.get(name, 0.0), 0)
            balances[str(name)] = decimal(balance, own.loc[name, "currency"])
        money = {}
        is_own = known.money["customer_id"] == customer_id
        for code, rows in known.money[is_own].groupby("currency"):
            money[str(code)] = decimal(rows["amount"].sum(), code)
        return Standing(
            balances=balances,
            due_on={str(name): day.date() for name, day in own["due_on"].items()},
            unapplied=money,
            # The tables do not show it.
            is_unmatched=self.by_account(customer_id, as_of).is_unmatched,
        )

    def known_ledger(self, as_of: date) -> KnownLedger:
        """Return what was known of the ledger on a day."""
        if as_of not in self.known_ledgers:
            self.known_ledgers[as_of] = known_on(self.whole, as_of)
        return self.known_ledgers[as_of]


def plain_tables(whole: Ledger) -> Tables:
    """Return the tables of a ledger as rows of plain Python."""
    tables = {}
    for name in whole.tables:
        rows = whole[name].to_dict("records")
        tables[name] = [
            {str(key): ascii.plain(value) for key, value in row.items()} for row in rows
        ]
    return tables


def standing_of(account: Account) -> Standing:
    """Return the standing that a known account shows."""
    balances = {}
    due_on = {}
    for index, balance in enumerate(open_balances(account).tolist()):
        name = account.invoice_ids[index]
        currency = account.currencies[account.items.currency[index]]
        balances[name] = balance * minor_unit(currency)
        due_on[name] = day_of(account.items.due[index])
    money = {}
    for code, amount in zip(account.currencies, unapplied(account), strict=True):
        if amount:
            money[code] = int(amount) * minor_unit(code)
    return Standing(balances, due_on, money, account.has_unmatched)


def decimal(amount: float, currency: object) -> Decimal:
    """Return an amount in whole minor units of its currency."""
    return Decimal(str(amount)).quantize(minor_unit(str(currency)))
