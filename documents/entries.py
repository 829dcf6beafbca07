"""What a bank statement says, in the same columns whatever its format is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from datetime import date
from decimal import Decimal
from typing import Literal

import pandas as pd

# A receipt is credited; a return takes a receipt back; a payout is debited; the
# reversal of a payout comes back and is no receipt.
Direction = Literal["receipt", "return", "payout", "payout returned"]


@dataclass(frozen=True)
class BankEntry:
    """One transaction of a bank statement.

    Attributes
    ----------
    payment_id : str
        The bank's reference of it, or its position in the statement.
    direction : str
        What it is to the seller.
    amount : Decimal
        Negative if it is debited.
    currency : str
        Of the amount.
    paid_on, booked_on : date
        The value date and the booking date.
    references : tuple of str
        References of the creditor and of documents, in fields of their own.
    end_to_end_id : str
        The payer's own id; empty if the payer gave none.
    remittance : str
        The text; parts on lines of their own.
    original_ids : tuple of str
        What a return says about the receipt that it takes back.
    payer_name, payer_iban : str
        The other side.
    account : str
        The own account.
    statement : str
        The id of the statement.
    batch : str
        The bank's reference of the booking that the transaction is a part of.
    line : int
        The line of the file.
    """

    payment_id: str
    direction: Direction
    amount: Decimal
    currency: str
    paid_on: date
    booked_on: date
    references: tuple[str, ...] = ()
    end_to_end_id: str = ""
    remittance: str = ""
    original_ids: tuple[str, ...] = ()
    payer_name: str = ""
    payer_iban: str = ""
    account: str = ""
    statement: str = ""
    batch: str = ""
    line: int = 0


@dataclass(frozen=True)
class Statement:
    """The entries of a file, and what a person must know of it.

    Attributes
    ----------
    entries : sequence of BankEntry
        All that are booked.
    notes : sequence of str
        What was left out, and what does not add up.
    """

    entries: Sequence[BankEntry]
    notes: Sequence[str] = ()


def with_unique_ids(entries: list[BankEntry]) -> list[BankEntry]:
    """Return entries whose ids differ: a return may have the id of its receipt."""
    counts: dict[str, int] = {}
    unique = list[BankEntry]()
    for entry in entries:
        count = counts.get(entry.payment_id, 0) + 1
        counts[entry.payment_id] = count
        if count > 1:
            entry = replace(entry, payment_id=f"{entry.payment_id}/{count}")
        unique.append(entry)
    return unique


def entries_frame(entries: Sequence[BankEntry]) -> pd.DataFrame:
    """Return entries as the rows of a source, under the names of their fields.

    `known_on` is the booking date; amounts are texts, so that they stay exact.
    """
    columns: dict[str, list[object]] = {}
    for field in fields(BankEntry):
        columns[field.name] = [getattr(entry, field.name) for entry in entries]
    columns["amount"] = [str(entry.amount) for entry in entries]
    for name in ("references", "original_ids"):
        columns[name] = ["\n".join(getattr(entry, name)) for entry in entries]
    for name in ("paid_on", "booked_on"):
        columns[name] = [getattr(entry, name).isoformat() for entry in entries]
    columns["known_on"] = columns["booked_on"]
    frame = pd.DataFrame(columns, dtype="object").drop(columns="line")
    return frame.astype("str")
