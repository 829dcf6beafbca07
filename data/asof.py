"""The ONLY gate between what happened and what was known.

Nothing else in the project filters by time. A row is known on a day if its ``known_on``
is that day or earlier. A fact that was learnt later about a known row (the resolution
of a dispute) is masked. The events of an invoice are never known before the invoice.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date
from itertools import compress

import numpy as np
import pandas as pd

from obligor.data.account import DISPUTE, Account, Table, select
from obligor.data.days import OPEN_END, day_number, day_of
from obligor.data.ledger import OF_INVOICE, Ledger, is_among
from obligor.errors import AsOfError

# Facts about a known row that may be learnt after it, by table.
LEARNT_LATER = {"disputes": "resolved_on"}


@dataclass(frozen=True)
class KnownLedger:
    """A ledger as it was known at the end of `as_of`; only `known_on` makes one."""

    ledger: Ledger
    as_of: date


@dataclass(frozen=True)
class KnownAccount:
    """An account as it was known at the end of `as_of`; `known_account` makes it."""

    account: Account
    as_of: date


def known_on(ledger: Ledger, as_of: date) -> KnownLedger:
    """Return what was known of a ledger at the end of a day.

    Parameters
    ----------
    ledger : Ledger
        The whole ledger, the future included.
    as_of : date
        The day at whose end the answer holds.

    Returns
    -------
    KnownLedger
        The known rows; a table keeps its index.

    Raises
    ------
    AsOfError
        If no invoice was known by then.
    """
    day = pd.Timestamp(as_of)
    tables = {}
    for name in ledger.tables:
        rows = ledger[name]
        tables[name] = rows[rows["known_on"] <= day]
    if tables["invoices"].empty:
        raise _too_early(as_of, ledger["invoices"]["known_on"].min().date())
    for name, column in LEARNT_LATER.items():
        if name in tables:
            values = tables[name][column]
            masked = values.where(values <= day)
            tables[name] = tables[name].assign(**{column: masked})
    invoice_ids = pd.Index(tables["invoices"]["invoice_id"])
    for name in OF_INVOICE:
        if name in tables and len(tables[name]):
            has_invoice = is_among(tables[name]["invoice_id"], invoice_ids)
            if not has_invoice.all():
                tables[name] = tables[name][has_invoice]
    exported_on = ledger.exported_on and min(ledger.exported_on, as_of)
    known_ledger = replace(ledger, tables=tables, exported_on=exported_on)
    return KnownLedger(known_ledger, as_of)


def known_account(account: Account, as_of: date) -> KnownAccount:
    """Return what was known of one customer's account at the end of a day.

    The rules are those of `known_on`. A customer without any invoice is answered as a
    thin file. A customer whose first invoice became known after `as_of` is an error:
    the question is about a time before the ledger of this customer begins.

    Parameters
    ----------
    account : Account
        The whole account, the future included.
    as_of : date
        The day at whose end the answer holds.

    Raises
    ------
    AsOfError
        If the account has invoices, but none was known by then.
    """
    day = day_number(as_of)
    was_all_learnt = account.learnt_until is not None and account.learnt_until <= day
    if was_all_learnt and not account.rates:
        return KnownAccount(account, as_of)
    items = account.items
    invoice_ids = account.invoice_ids
    is_item_known = items.known_on <= day
    is_event_known = account.events.known_on <= day
    if is_item_known.all():
        events = select(account.events, is_event_known)
    else:
        if not is_item_known.any():
            raise _too_early(as_of, day_of(items.known_on.min()))
        has_known_item = is_item_known[account.events.item]
        events = select(account.events, is_event_known & has_known_item)
        new_index = np.cumsum(is_item_known) - 1
        events = events._replace(item=new_index[events.item])
        items = select(items, is_item_known)
        invoice_ids = list(compress(invoice_ids, is_item_known))
    # `select` copied the column; a dispute resolved later is still open.
    events.end[(events.kind == DISPUTE) & (events.end > day)] = OPEN_END
    gated = replace(
        account,
        invoice_ids=invoice_ids,
        registered=_known(account.registered, day),
        items=items,
        events=events,
        limits=_known(account.limits, day),
        statements=_known(account.statements, day),
        rates={code: _known(rates, day) for code, rates in account.rates.items()},
    )
    return KnownAccount(gated, as_of)


def _known(table: Table, day: int) -> Table:
    """Return the rows known on a day."""
    return select(table, table.known_on <= day)


def _too_early(as_of: date, first: date) -> AsOfError:
    return AsOfError(
        f"no invoice was known on {as_of}",
        where="as_of",
        expected=f"a day from {first} on",
        do="ask for a later day",
    )
