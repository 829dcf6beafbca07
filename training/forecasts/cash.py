"""What will be paid when: expected cash of the open invoices, and how well that held in the weeks before."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from obligor.arrays import Floats
from obligor.data.asof import known_on
from obligor.data.ledger import Ledger
from obligor.training.candidates.fit_settings import cores
from obligor.training.forecasts.time_to_pay import (
    QUANTILES,
    WEEK,
    WEEKS,
    InvoiceSample,
    LatePayment,
    days_quantile,
    fit_late_payment,
    fit_time_to_pay,
    invoice_sample,
    open_after,
    weekly_dates,
)

DAYS_LATE, NINE_IN_TEN = 30, 1.645  # standard deviations of a 90% interval


@dataclass(frozen=True)
class Cash:
    """What is expected of the invoices open on a date.

    Attributes
    ----------
    invoices : DataFrame
        From `forecast`.
    weeks : DataFrame
        From `cash_by_week`, with ``received`` where the ledger tells it.
    coverage : DataFrame
        From `coverage`, of a model learnt a quarter of a year before, on the invoices open then.
    """

    as_of: date
    invoices: pd.DataFrame
    weeks: pd.DataFrame
    coverage: pd.DataFrame

    def interval(self) -> tuple[pd.Series[float], pd.Series[float]]:
        """Return low and high of the 90% interval of each week's cash, were invoices paid independently."""
        spread = NINE_IN_TEN * self.weeks["deviation"]
        return (self.weeks["expected"] - spread).clip(lower=0), self.weeks[
            "expected"
        ] + spread


def expected_cash(ledger: Ledger, as_of: date, weeks: int = 13, seed: int = 7) -> Cash:
    """Learn from what was known on a date, and say what the invoices open then will bring.

    Parameters
    ----------
    ledger : Ledger
        It may go on after `as_of`: what came is then put beside what was expected, and nothing else.

    Raises
    ------
    SchemaError
        Where too few invoices were paid to learn from.
    """
    # 1. How well it would have held: learnt a quarter earlier, asked about what has come since.
    before = as_of - timedelta(days=WEEK * weeks)
    known = known_on(ledger, as_of).ledger
    earlier = fit_time_to_pay(learning_sample(known, before), seed, cores())
    past = invoice_sample(known, [before], as_of)
    held = coverage(past, earlier.survival(past.features))
    # 2. Learn again from all that is known.
    late = fit_late_payment(learning_sample(known, as_of), DAYS_LATE, seed, cores())
    # 3. The invoices open now, and the weeks they are expected in.
    now = invoice_sample(ledger, [as_of], ledger.observed_until)
    survival = late.hazard.survival(now.features)
    expected = cash_by_week(now.rows["balance"].to_numpy(), survival, weeks)
    return Cash(
        as_of,
        forecast(now, survival, late),
        expected.assign(received=cash_received(now, weeks)),
        held,
    )


def learning_sample(ledger: Ledger, until: date) -> InvoiceSample:
    """Return the invoices open on the Sundays before a day, with what was known of them on that day."""
    known = known_on(ledger, until).ledger
    return invoice_sample(known, weekly_dates(known, until), until)


def coverage(sample: InvoiceSample, survival: Floats) -> pd.DataFrame:
    """Return how often payment came by each quantile, and between the outer two, beside what the model expected.

    Days are whole and payments come in lumps, so what is expected is more than the quantile's level. An invoice not
    watched as long as its quantile says nothing about it, paid early or not: counting those paid alone would flatter.

    Returns
    -------
    DataFrame
        Columns ``observed``, ``expected`` (shares) and ``invoices``; a row per quantile and one ``between``.
    """
    days, watched = sample.days_to_payment, sample.days_watched
    low, high = (
        days_quantile(survival, level) for level in (QUANTILES[0], QUANTILES[-1])
    )
    found = {}
    for level in QUANTILES:
        end = days_quantile(survival, level)
        is_known = end <= watched
        found[f"by p{level * 100:.0f}"] = _shares(
            is_known, days <= end, 1 - open_after(survival, _finite(end))
        )
    expected = open_after(survival, _finite(low) - 1) - open_after(
        survival, _finite(high)
    )
    found["between"] = _shares(
        high <= watched, (days >= low) & (days <= high), expected
    )
    return pd.DataFrame(found).T


def _finite(days: Floats) -> Floats:
    return np.nan_to_num(days, nan=float(WEEK * WEEKS))


def _shares(
    is_known: NDArray[np.bool_], happened: NDArray[np.bool_], expected: Floats
) -> dict[str, float]:
    if not is_known.any():
        return {"observed": float("nan"), "expected": float("nan"), "invoices": 0}
    return {
        "observed": float(happened[is_known].mean()),
        "expected": float(expected[is_known].mean()),
        "invoices": int(is_known.sum()),
    }


def cash_by_week(balance: Floats, survival: Floats, weeks: int) -> pd.DataFrame:
    """Return expected cash of each coming week, and the spread of it if invoices are paid independently.

    Returns
    -------
    DataFrame
        A row per week: ``expected`` and ``deviation`` (one standard deviation), in the unit of `balance`.
    """
    p_paid = -np.diff(survival[:, : WEEK * weeks + 1 : WEEK], axis=1)
    variance = (balance[:, None] ** 2 * p_paid * (1 - p_paid)).sum(axis=0)
    expected = (balance[:, None] * p_paid).sum(axis=0)
    return pd.DataFrame(
        {"expected": expected, "deviation": np.sqrt(variance)},
        index=pd.RangeIndex(1, weeks + 1),
    )


def cash_received(sample: InvoiceSample, weeks: int) -> pd.Series[float]:
    """Return the balance that was settled in each week after the as-of date; NaN for weeks not watched to the end."""
    week = np.ceil(sample.days_to_payment / WEEK)
    balance = sample.rows["balance"].to_numpy()
    last = int(sample.days_watched.min() // WEEK) if len(sample.rows) else 0
    received = [
        balance[week == n].sum() if n <= last else np.nan for n in range(1, weeks + 1)
    ]
    return pd.Series(received, index=pd.RangeIndex(1, weeks + 1), dtype=float)


def forecast(
    sample: InvoiceSample, survival: Floats, late: LatePayment
) -> pd.DataFrame:
    """Return per invoice the days to payment at each quantile (NaN beyond 26 weeks) and the chance of being paid."""
    found = sample.rows[["customer_id", "due_on", "balance"]].copy()
    found["p_paid_within_30d"] = 1 - open_after(survival, np.full(len(found), 30.0))
    found[f"p_late_{late.days_late}d"] = late.p_late(sample.features, survival)
    for level in QUANTILES:
        found[f"days_p{level * 100:.0f}"] = days_quantile(survival, level)
    return found.sort_values("balance", ascending=False)


def cash_plot(cash: Cash, currency: str) -> Figure:
    """Draw expected cash by week with its 90% interval, and what came."""
    figure = Figure(figsize=(7.2, 4.2))
    axes = figure.subplots()
    weeks, (low, high) = cash.weeks.index.to_numpy(), cash.interval()
    axes.fill_between(
        weeks,
        low,
        high,
        color="#1d5b8f",
        alpha=0.18,
        label="90% interval, invoices paid independently",
    )
    axes.plot(weeks, cash.weeks["expected"], "o-", color="#1d5b8f", label="expected")
    if cash.weeks["received"].notna().any():
        axes.plot(
            weeks, cash.weeks["received"], "s--", color="#c2410c", label="received"
        )
    axes.set_xlabel(f"week after {cash.as_of}")
    axes.set_ylabel(f"cash from invoices open on {cash.as_of} ({currency})")
    axes.set_title("Expected cash by week")
    axes.set_ylim(bottom=0)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    return figure
