"""What is lost of a default: recoveries where the ledger records them, a stated figure where it does not."""

from __future__ import annotations

from datetime import date

import numpy as np
import pandas as pd

from obligor.data.asof import known_on
from obligor.data.ledger import Ledger, reporting_rates
from obligor.training.metrics.statistics import Resampling
from obligor.training.samples.config import DefaultDefinition
from obligor.training.samples.labels import default_events

WORKOUT_DAYS, FEWEST, ROUNDS, SEED = 365, 30, 300, 0
OBSERVED, STATED = "recoveries of this ledger", "stated in the rules"


def workouts(
    ledger: Ledger, definition: DefaultDefinition, until: date, discount_rate: float
) -> pd.DataFrame:
    """Return every defaulted item whose recovery has had a year, with what came of it.

    Parameters
    ----------
    until : date
        The last day whose knowledge counts.
    discount_rate : float
        Per year; recoveries are worth less the later they come (Basel CRE36.76: economic loss).

    Returns
    -------
    DataFrame
        ``customer_id, default_on, ead`` (balance at default, reporting currency), ``recovered`` (discounted cash of the
        year after it), ``lgd = 1 - recovered / ead``, in [0, 1]. An item written off at once has a year too: its cash
        may still come.
    """
    known = known_on(ledger, until).ledger
    events = default_events(known, definition, until, with_items=True).set_index(
        "invoice_id"
    )
    events = events[
        events["default_on"] <= pd.Timestamp(until) - pd.Timedelta(days=WORKOUT_DAYS)
    ]
    items = known["invoices"].set_index("invoice_id").reindex(events.index)
    rate = pd.Series(
        reporting_rates(known, items["currency"], items["issued_on"]), index=items.index
    )
    cash = known["payments"].join(events["default_on"], on="invoice_id", how="inner")
    days = (cash["paid_on"] - cash["default_on"]).dt.days
    before = (
        cash[days <= 0]
        .groupby("invoice_id")["amount"]
        .sum()
        .reindex(events.index, fill_value=0.0)
    )
    after = cash[(days > 0) & (days <= WORKOUT_DAYS) & (cash["kind"] == "payment")]
    worth = after["amount"] / (1 + discount_rate) ** (days[after.index] / 365)
    recovered = (
        worth.groupby(after["invoice_id"]).sum().reindex(events.index, fill_value=0.0)
    )
    found = pd.DataFrame(
        {
            "customer_id": events["customer_id"],
            "default_on": events["default_on"],
            "ead": (items["amount"] - before) * rate,
            "recovered": recovered * rate,
        }
    )
    found = found[found["ead"] > 0]
    return found.assign(lgd=(1 - found["recovered"] / found["ead"]).clip(0, 1))


def lgd_table(
    found: pd.DataFrame, segment: pd.Series[str] | None, stated: float
) -> pd.DataFrame:
    """Return the LGD, weighted by exposure, with its 95% interval over resampled customers; in all and by segment.

    Parameters
    ----------
    found : DataFrame
        From `workouts`.
    segment : Series, optional
        Of each customer.
    stated : float
        What is taken where fewer than 30 defaulted items have had their year.

    Examples
    --------
    >>> lgd_table(pd.DataFrame({"customer_id": [], "ead": [], "recovered": []}), None, 0.45)["lgd"].tolist()
    [0.45]
    """
    rows = {"all": _row(found, stated)}
    if segment is not None:
        of = found["customer_id"].map(segment)
        rows |= {
            str(value): _row(found[of == value], stated)
            for value in sorted(of.dropna().unique())
        }
    return pd.DataFrame(rows).T


def _row(found: pd.DataFrame, stated: float) -> dict[str, object]:
    if len(found) < FEWEST:
        return {
            "items": len(found),
            "lgd": stated,
            "low": np.nan,
            "high": np.nan,
            "source": STATED,
        }
    ead, recovered = found["ead"].to_numpy(float), found["recovered"].to_numpy(float)
    customers = pd.factorize(found["customer_id"])[0].astype(np.int64)
    draws = [
        1 - (weight * recovered).sum() / (weight * ead).sum()
        for weight in Resampling(customers, ROUNDS, SEED)
    ]
    low, high = np.clip(np.quantile(draws, (0.025, 0.975)), 0, 1)
    value = float(np.clip(1 - recovered.sum() / ead.sum(), 0, 1))
    return {
        "items": len(found),
        "lgd": value,
        "low": float(low),
        "high": float(high),
        "source": OBSERVED,
    }
