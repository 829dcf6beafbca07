"""What a ledger leaves open, for comparison with books kept by hand."""

from __future__ import annotations

from datetime import date

from obligor.data.account_building import accounts_of
from obligor.data.asof import known_account
from obligor.data.ledger import Ledger
from obligor.data.open_items import open_balances
from obligor.data.settling import unapplied
from obligor.errors import AsOfError


def open_amounts(ledger: Ledger, day: date) -> dict[str, float]:
    """Return what is open of each item on a day, the open ones only.

    A customer who was not known yet has none. What is left of a customer's money
    without an item is under its own id, negative.
    """
    amounts: dict[str, float] = {}
    for account in accounts_of(ledger):
        try:
            known = known_account(account, day).account
        except AsOfError:
            continue
        balances = (open_balances(known) / 100).tolist()
        pairs = zip(known.invoice_ids, balances, strict=True)
        amounts |= {invoice_id: balance for invoice_id, balance in pairs if balance}
        money = float(unapplied(known).sum()) / 100
        if money:
            amounts[known.customer_id] = -money
    return dict(sorted(amounts.items()))
