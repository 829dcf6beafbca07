"""What share of a default is lost.

Measured from the recoveries that the ledger records; the figure stated in the rules is
taken if there are too few.
"""

from __future__ import annotations

from datetime import date

import numpy as np
import pandas as pd

from obligor.data.asof import KnownLedger
from obligor.data.ledger import Ledger, reporting_rates
from obligor.metrics.statistics import Resampling
from obligor.training.samples.config import DefaultDefinition
from obligor.training.samples.labels import item_default_events
from obligor.training.samples.outcomes import known_outcomes

WORKOUT_DAYS = 365  # after the default, in which recoveries count
FEWEST = 30  # defaulted items from which an LGD is measured
ROUNDS = 300
SEED = 0
OBSERVED = "recoveries of this ledger"
STATED = "stated in the rules"


def workouts(
    ledger: Ledger,
    definition: DefaultDefinition,
    until: date,
    discount_rate: float,
) -> pd.DataFrame:
    """Return every defaulted item whose recovery has had a year, and its loss.

    Parameters
    ----------
    ledger : Ledger
        A checked ledger with its payments and write-offs.
    definition : DefaultDefinition
        What counts as a default of an item.
    until : date
        The last day whose knowledge counts.
    discount_rate : float
        Per year; recoveries are worth less the later they come (Basel CRE36.76:
        economic loss).

    Returns
    -------
    DataFrame
        Index ``invoice_id``; ``customer_id, default_on, ead`` (balance at default,
        reporting currency), ``recovered`` (discounted cash of the year after it),
        ``lgd = 1 - recovered / ead``, in [0, 1]. An item written off at once has a
        year too: cash may still come.
    """
    known_then = known_outcomes(ledger, until)
    events = _events_with_a_year(known_then, definition)
    items = known_then.ledger["invoices"].set_index("invoice_id").reindex(events.index)
    # What was open is valued on the day of the default, and so is what came of it: an
    # exchange rate that moved since is no loss of the customer's making.
    rates = reporting_rates(known_then.ledger, items["currency"], events["default_on"])
    rate = pd.Series(rates, index=items.index)
    cash = known_then.ledger["payments"].join(
        events["default_on"], on="invoice_id", how="inner"
    )
    # A join without any payment leaves the id as the index too, where it is ambiguous.
    cash = cash.reset_index(drop=True)
    cash["days"] = (cash["paid_on"] - cash["default_on"]).dt.days
    balance = items["amount"] - _paid_before(cash, events.index)
    balance -= _written_off_before(known_then.ledger, events)
    recovered = _recovered(cash, events.index, discount_rate)
    table = pd.DataFrame(
        {
            "customer_id": events["customer_id"],
            "default_on": events["default_on"],
            "ead": balance * rate,
            "recovered": recovered * rate,
        }
    )
    table = table[table["ead"] > 0]
    lost = 1 - table["recovered"] / table["ead"]
    return table.assign(lgd=lost.clip(0, 1))


def _events_with_a_year(
    known: KnownLedger, definition: DefaultDefinition
) -> pd.DataFrame:
    events = item_default_events(known, definition, with_items=True)
    events = events.set_index("invoice_id")
    last_day = pd.Timestamp(known.as_of) - pd.Timedelta(days=WORKOUT_DAYS)
    return events[events["default_on"] <= last_day]


def _paid_before(cash: pd.DataFrame, items: pd.Index) -> pd.Series[float]:
    """What was settled of each item up to its default."""
    before = cash[cash["days"] <= 0]
    by_item = before.groupby("invoice_id")["amount"].sum()
    return by_item.reindex(items, fill_value=0.0)


def _written_off_before(ledger: Ledger, events: pd.DataFrame) -> pd.Series[float]:
    """What was given up of each item before its default: small differences."""
    rows = ledger["write_offs"].join(events["default_on"], on="invoice_id", how="inner")
    rows = rows.reset_index(drop=True)
    before = rows[rows["written_off_on"] < rows["default_on"]]
    by_item = before.groupby("invoice_id")["amount"].sum()
    return by_item.reindex(events.index, fill_value=0.0)


def _recovered(
    cash: pd.DataFrame, items: pd.Index, discount_rate: float
) -> pd.Series[float]:
    """Discounted payments of each item in the year after its default."""
    is_inside = (cash["days"] > 0) & (cash["days"] <= WORKOUT_DAYS)
    after = cash[is_inside & (cash["kind"] == "payment")]
    discount = (1 + discount_rate) ** (after["days"] / 365)
    worth = after["amount"] / discount
    by_item = worth.groupby(after["invoice_id"]).sum()
    return by_item.reindex(items, fill_value=0.0)


def lgd_table(
    items: pd.DataFrame, segment: pd.Series[str] | None, stated: float
) -> pd.DataFrame:
    """Return the LGD, weighted by exposure, in all and by segment.

    Its 95% interval is over resampled customers.

    Parameters
    ----------
    items : DataFrame
        From `workouts`: ``customer_id, ead, recovered``.
    segment : Series, optional
        The segment of each customer, by ``customer_id``.
    stated : float
        Taken if fewer than 30 defaulted items have had their year, in [0, 1].

    Returns
    -------
    DataFrame
        A row "all" and one per segment: ``items, lgd, low, high, source``.

    Examples
    --------
    >>> none = pd.DataFrame({"customer_id": [], "ead": [], "recovered": []})
    >>> lgd_table(none, None, 0.45)["lgd"].tolist()
    [0.45]
    """
    rows = {"all": _lgd_row(items, stated)}
    if segment is not None:
        segment_of_item = items["customer_id"].map(segment)
        for name in sorted(segment_of_item.dropna().unique()):
            rows[str(name)] = _lgd_row(items[segment_of_item == name], stated)
    return pd.DataFrame(rows).T


def _lgd_row(items: pd.DataFrame, stated: float) -> dict[str, object]:
    if len(items) < FEWEST:
        return {
            "items": len(items),
            "lgd": stated,
            "low": np.nan,
            "high": np.nan,
            "source": STATED,
        }
    ead = items["ead"].to_numpy(float)
    recovered = items["recovered"].to_numpy(float)
    codes, _ = pd.factorize(items["customer_id"])
    draws = [
        1 - (weight * recovered).sum() / (weight * ead).sum()
        for weight in Resampling(codes.astype(np.int64), ROUNDS, SEED)
    ]
    lgd = 1 - recovered.sum() / ead.sum()
    low, high = np.quantile(draws, (0.025, 0.975))
    return {
        "items": len(items),
        "lgd": float(np.clip(lgd, 0, 1)),
        "low": float(np.clip(low, 0, 1)),
        "high": float(np.clip(high, 0, 1)),
        "source": OBSERVED,
    }
