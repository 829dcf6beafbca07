"""Provisions for expected losses on what is open."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pandas as pd

from obligor.data.money import round_money
from obligor.policy.collecting.provision import provision
from obligor.policy.rulebooks.rulebook import Rulebook
from obligor.portfolio.month import Month


def provisions(month: Month, rulebook: Rulebook) -> pd.DataFrame:
    """Return every open invoice with its age bucket and both provisions (Decimal), largest expected loss first."""
    currency, rows = month.portfolio.currency, list[dict[str, Any]]()
    for item in month.items.to_dict("records"):
        amount = round_money(Decimal(str(item["open_amount"])), currency)
        found = provision(
            amount,
            int(item["dpd_days"]),
            Decimal(str(item["pd_12m"])),
            currency,
            rulebook,
        )
        rows.append(
            {
                **{str(name): value for name, value in item.items()},
                "open_amount": amount,
                "currency": currency,
                **vars(found),
            }
        )
    frame = pd.DataFrame(rows)
    return frame.sort_values(
        "expected_loss", ascending=False, kind="stable", ignore_index=True
    )
