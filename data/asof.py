"""The ONLY gate between what happened and what was known. Nothing else in the project filters by time.

A row is known on a day when its `known_on` is that day or earlier. A fact that was learnt later
about a known row (the resolution of a dispute) is masked; an item of an invoice that was not yet
known is absent with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

import pandas as pd

from data.errors import AsOfError
from data.ledger import OF_INVOICE, Account, Ledger, is_among

LEARNT_LATER = {"disputes": "resolved_on"}


@dataclass(frozen=True)
class KnownLedger:
    """A ledger as it was known at the end of `as_of`; only `known_on` makes one."""

    ledger: Ledger
    as_of: date


@dataclass(frozen=True)
class KnownAccount:
    """An account as it was known at the end of `as_of`; only `known_account` makes one."""

    account: Account
    as_of: date


def known_on(ledger: Ledger, as_of: date) -> KnownLedger:
    """Return what of the ledger was known at the end of `as_of`.

    Parameters
    ----------
    ledger : Ledger
        The whole ledger, the future included.
    as_of : date
        The day whose knowledge is wanted.

    Raises
    ------
    AsOfError
        Where no invoice was known by then.
    """
    day = pd.Timestamp(as_of)
    known = {table: ledger[table][ledger[table]["known_on"] <= day] for table in ledger.tables}
    if known["invoices"].empty:
        raise _too_early(as_of, ledger["invoices"]["known_on"].min().date())
    for table, column in LEARNT_LATER.items():
        if table in known:
            known[table] = known[table].assign(**{column: known[table][column].where(known[table][column] <= day)})
    invoices = pd.Index(known["invoices"]["invoice_id"])
    for table in OF_INVOICE:
        if table in known and len(known[table]):
            is_there = is_among(known[table]["invoice_id"], invoices)
            known[table] = known[table] if is_there.all() else known[table][is_there]
    return KnownLedger(replace(ledger, tables=known), as_of)


def known_account(account: Account, as_of: date) -> KnownAccount:
    """Return what of one customer's account was known at the end of `as_of`: the rules of `known_on`.

    A customer without any invoice is an answer (a thin file), one whose first invoice comes after
    `as_of` is an error: the question is about a time before the story began.
    """
    rows = {
        table: [_masked(table, row, as_of) for row in account[table] if row["known_on"] <= as_of]
        for table in account.rows
    }
    if account["invoices"] and not rows["invoices"]:
        raise _too_early(as_of, min(row["known_on"] for row in account["invoices"]))
    invoices = {row["invoice_id"] for row in rows.get("invoices", ())}
    for table in OF_INVOICE:
        if table in rows:
            rows[table] = [row for row in rows[table] if row["invoice_id"] in invoices]
    return KnownAccount(replace(account, rows=rows), as_of)


def _masked(table: str, row: Mapping[str, Any], as_of: date) -> Mapping[str, Any]:
    column = LEARNT_LATER.get(table)
    if column and row[column] is not None and row[column] > as_of:
        return {**row, column: None}
    return row


def _too_early(as_of: date, first: date) -> AsOfError:
    return AsOfError(
        f"no invoice was known on {as_of}", where="as_of", expected=f"a day from {first} on", do="ask for a later day"
    )
