"""Provisions for expected losses on open invoices."""

from __future__ import annotations

from collections.abc import Hashable
from decimal import Decimal

import pandas as pd

from obligor.data.money import round_money
from obligor.policy.collecting.provision import provision
from obligor.policy.rulebooks.rulebook import Rulebook
from obligor.portfolio.month import Month


def provisions(month: Month, rulebook: Rulebook) -> pd.DataFrame:
    """Return every open invoice with its age bucket and both provisions.

    The columns are those of `Month.items`, then ``currency``, ``bucket``, ``matrix``
    and ``expected_loss``; amounts are Decimal, the largest expected loss comes first.
    """
    currency = month.portfolio.currency
    rows = []
    for item in month.items.to_dict("records"):
        open_amount = round_money(Decimal(str(item["open_amount"])), currency)
        item_provision = provision(
            open_amount,
            int(item["dpd_days"]),
            Decimal(str(item["pd_12m"])),
            currency,
            rulebook,
        )
        row: dict[Hashable, object] = {**item}
        row["open_amount"] = open_amount
        row["currency"] = currency
        row["bucket"] = item_provision.bucket
        row["matrix"] = item_provision.matrix
        row["expected_loss"] = item_provision.expected_loss
        rows.append(row)
    columns = [*month.items, "currency", "bucket", "matrix", "expected_loss"]
    return pd.DataFrame(rows, columns=columns).sort_values(
        "expected_loss",
        ascending=False,
        kind="stable",
        ignore_index=True,
    )
