"""The ONLY gate between what happened and what was known. Nothing else in the project filters by time.

A row is known on a day when its `known_on` is that day or earlier. A fact that was learnt later
about a known row (the resolution of a dispute) is masked; an item of an invoice that was not yet
known is absent with it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date
from itertools import compress

import numpy as np
import pandas as pd

from obligor.data.account import (
    DISPUTE,
    END,
    EVENT_KNOWN,
    ITEM,
    ITEM_KNOWN,
    KIND,
    LIMIT_KNOWN,
    RATE_KNOWN,
    STATEMENT_KNOWN,
    Account,
)
from obligor.data.days import OPEN_END, day_number, day_of
from obligor.data.ledger import OF_INVOICE, Ledger, is_among
from obligor.errors import AsOfError

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
    known = {
        table: ledger[table][ledger[table]["known_on"] <= day]
        for table in ledger.tables
    }
    if known["invoices"].empty:
        raise _too_early(as_of, ledger["invoices"]["known_on"].min().date())
    for table, column in LEARNT_LATER.items():
        if table in known:
            known[table] = known[table].assign(
                **{column: known[table][column].where(known[table][column] <= day)}
            )
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
    day = day_number(as_of)
    if (
        account.learnt_until is not None
        and account.learnt_until <= day
        and not account.rates
    ):
        return KnownAccount(account, as_of)  # nothing was learnt later
    is_item_known = account.items[ITEM_KNOWN] <= day
    is_event_known = account.events[EVENT_KNOWN] <= day
    items, events, invoice_ids = account.items, account.events, account.invoice_ids
    if is_item_known.all():
        events = events[:, is_event_known]
    else:
        if not is_item_known.any():
            raise _too_early(as_of, day_of(items[ITEM_KNOWN].min()))
        events = events[:, is_event_known & is_item_known[events[ITEM]]]
        events[ITEM] = (np.cumsum(is_item_known) - 1)[events[ITEM]]
        items, invoice_ids = (
            items[:, is_item_known],
            list(compress(invoice_ids, is_item_known)),
        )
    is_learnt_later = (events[KIND] == DISPUTE) & (events[END] > day)
    events[END, is_learnt_later] = OPEN_END
    known = replace(
        account,
        invoice_ids=invoice_ids,
        registered=account.registered[:, account.registered[1] <= day],
        items=items,
        events=events,
        limits=account.limits[:, account.limits[LIMIT_KNOWN] <= day],
        statements=account.statements[:, account.statements[STATEMENT_KNOWN] <= day],
        rates={
            code: rates[:, rates[RATE_KNOWN] <= day]
            for code, rates in account.rates.items()
        },
    )
    return KnownAccount(known, as_of)


def _too_early(as_of: date, first: date) -> AsOfError:
    return AsOfError(
        f"no invoice was known on {as_of}",
        where="as_of",
        expected=f"a day from {first} on",
        do="ask for a later day",
    )
