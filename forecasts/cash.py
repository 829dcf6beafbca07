"""What will be paid and when: expected cash of the open invoices.

Beside it stands how well the same forecast did in the weeks before.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from obligor.arrays import Bools, Floats
from obligor.data.ledger import Ledger
from obligor.errors import AsOfError, SchemaError
from obligor.forecasts.time_to_pay import (
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
    require_dates,
    weekly_dates,
    without_cancelled,
)
from obligor.metrics.picture import Picture
from obligor.training.candidates.fit_settings import cores
from obligor.training.validation.plots import OURS, PEER

DAYS_LATE = 30  # after the due date, from which on a payment counts as late
# Standard deviations of a 90% interval; a sum of many payments is nearly normal.
NINE_IN_TEN = 1.645


@dataclass(frozen=True)
class Cash:
    """What is expected of the invoices open on a date.

    Attributes
    ----------
    as_of : date
        The date.
    invoices : DataFrame
        A row per open invoice, from `forecast`.
    weeks : DataFrame
        From `cash_by_week`, with ``received``: the cash of each week that the ledger
        reaches, else NaN.
    coverage : DataFrame
        From `coverage`: of a model that learned only from what was known `weeks`
        weeks earlier, on the invoices open then. Empty if that is not known.
    why_no_coverage : str
        Why it is not known; empty if it is.
    """

    as_of: date
    invoices: pd.DataFrame
    weeks: pd.DataFrame
    coverage: pd.DataFrame
    why_no_coverage: str = ""

    def interval(self) -> tuple[pd.Series[float], pd.Series[float]]:
        """Return both ends of the 90% interval of each week's cash.

        It holds if invoices are paid independently of each other.
        """
        expected = self.weeks["expected"]
        spread = NINE_IN_TEN * self.weeks["deviation"]
        low = (expected - spread).clip(lower=0)
        return low, expected + spread


def expected_cash(
    ledger: Ledger,
    as_of: date,
    weeks: int = 13,
    seed: int = 7,
) -> Cash:
    """Learn from what was known on a date; forecast the cash of the invoices open then.

    Parameters
    ----------
    ledger : Ledger
        If it goes on after `as_of`, what was received is put beside what was expected,
        and used for nothing else.
    as_of : date
        The last day whose knowledge counts.
    weeks : int
        How many weeks ahead, 1 to 26.
    seed : int
        Of LightGBM and of all drawings.

    Returns
    -------
    Cash
        By invoice, by week, and how well it would have held before.

    Raises
    ------
    SchemaError
        If too few invoices were paid to learn from.
    """
    # 1. How well it would have held: learned earlier, compared with payments since.
    earlier = as_of - timedelta(days=WEEK * weeks)
    backtest = no_coverage()
    why_no_coverage = ""
    try:
        backtest = _backtest(ledger, earlier, as_of, seed)
    except (AsOfError, SchemaError) as error:
        # A ledger may be long enough to learn from, and too young to look back.
        why_no_coverage = str(error)
    # 2. Learn again from all that is known.
    late = fit_late_payment(
        learning_sample(ledger, as_of),
        DAYS_LATE,
        seed,
        cores(),
    )
    # 3. The invoices open now, and the weeks in which they are expected.
    open_now = invoice_sample(ledger, [as_of], ledger.observed_until)
    survival = late.hazard.survival(open_now.features)
    expected = cash_by_week(open_now.rows["balance"].to_numpy(), survival, weeks)
    return Cash(
        as_of=as_of,
        invoices=forecast(open_now, survival, late),
        weeks=expected.assign(received=cash_received(open_now, weeks)),
        coverage=backtest,
        why_no_coverage=why_no_coverage,
    )


def _backtest(
    ledger: Ledger,
    earlier: date,
    as_of: date,
    seed: int,
) -> pd.DataFrame:
    """Coverage of the hazard learned on an earlier day, by what is known on a date."""
    hazard = fit_time_to_pay(learning_sample(ledger, earlier), seed, cores())
    open_then = without_cancelled(invoice_sample(ledger, [earlier], as_of))
    return coverage(open_then, hazard.survival(open_then.features))


def learning_sample(ledger: Ledger, until: date) -> InvoiceSample:
    """Return the invoices open on the Sundays before a day, as known on that day."""
    # The ledger as it is: one gated on `until` would show the Sundays before it with
    # hindsight, without a payment that came back later.
    dates = weekly_dates(ledger, until)
    require_dates(dates, until)
    return without_cancelled(invoice_sample(ledger, dates, until))


def coverage(sample: InvoiceSample, survival: Floats) -> pd.DataFrame:
    """Return how often payment came by each quantile, beside what was expected.

    Days are whole and payments come in lumps, so more than the quantile's level is
    expected. An invoice that was not watched until its quantile is left out whether or
    not it was paid early: to count only the paid ones would flatter the model.

    Parameters
    ----------
    sample : InvoiceSample
        Open invoices with their payments.
    survival : ndarray, shape (n, days)
        Of a hazard that had not seen these payments.

    Returns
    -------
    DataFrame
        Columns ``observed, expected`` (shares) and ``invoices``; a row per quantile
        ("by p10") and one for the days between the outer two ("between").
    """
    days = sample.days_to_payment
    watched = sample.days_watched
    rows = {}
    for level in QUANTILES:
        end = days_quantile(survival, level)
        expected = 1 - open_after(survival, _or_last_day(end))
        rows[f"by p{level * 100:.0f}"] = _compare(
            is_watched=end <= watched, is_paid=days <= end, expected=expected
        )
    low = days_quantile(survival, QUANTILES[0])
    high = days_quantile(survival, QUANTILES[-1])
    open_before = open_after(survival, _or_last_day(low) - 1)
    open_at_end = open_after(survival, _or_last_day(high))
    rows["between"] = _compare(
        is_watched=high <= watched,
        is_paid=(days >= low) & (days <= high),
        expected=open_before - open_at_end,
    )
    return pd.DataFrame(rows).T


def no_coverage() -> pd.DataFrame:
    """Return the table of `coverage` without a row."""
    return pd.DataFrame(columns=["observed", "expected", "invoices"])


def _or_last_day(days: Floats) -> Floats:
    return np.nan_to_num(days, nan=float(WEEK * WEEKS))


def _compare(is_watched: Bools, is_paid: Bools, expected: Floats) -> dict[str, float]:
    if not is_watched.any():
        return {"observed": float("nan"), "expected": float("nan"), "invoices": 0}
    return {
        "observed": float(is_paid[is_watched].mean()),
        "expected": float(expected[is_watched].mean()),
        "invoices": int(is_watched.sum()),
    }


def cash_by_week(balance: Floats, survival: Floats, weeks: int) -> pd.DataFrame:
    """Return the expected cash of each coming week, and its standard deviation.

    The sum of ``balance * p`` over the invoices, p the chance of payment in the week;
    the variance is that of independent payments, ``balance**2 * p * (1 - p)``.

    Parameters
    ----------
    balance : ndarray, shape (n,)
        Open balance of each invoice, in the reporting currency.
    survival : ndarray, shape (n, days)
        From `TimeToPay.survival`.
    weeks : int
        How many weeks ahead, at most those of `survival`.

    Returns
    -------
    DataFrame
        A row per week: ``expected`` and ``deviation``, in the unit of `balance`.

    Examples
    --------
    >>> survival = np.array([[1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.5]])
    >>> cash_by_week(np.array([100.0]), survival, 1).loc[1].tolist()
    [50.0, 50.0]
    """
    at_week_ends = survival[:, : WEEK * weeks + 1 : WEEK]
    p_paid = -np.diff(at_week_ends, axis=1)
    amount = balance[:, None]
    expected = (amount * p_paid).sum(axis=0)
    variance = (amount**2 * p_paid * (1 - p_paid)).sum(axis=0)
    return pd.DataFrame(
        {"expected": expected, "deviation": np.sqrt(variance)},
        index=pd.RangeIndex(1, weeks + 1),
    )


def cash_received(sample: InvoiceSample, weeks: int) -> pd.Series[float]:
    """Return the balance settled in each week; NaN for weeks not watched to the end."""
    week_of_payment = np.ceil(sample.days_to_payment / WEEK)
    balance = sample.rows["balance"].to_numpy()
    last_week = 0
    if len(sample.rows):
        last_week = int(sample.days_watched.min() // WEEK)
    received = pd.Series(np.nan, index=pd.RangeIndex(1, weeks + 1))
    for week in range(1, min(weeks, last_week) + 1):
        is_settled = week_of_payment == week
        received[week] = balance[is_settled].sum()
    return received


def forecast(
    sample: InvoiceSample, survival: Floats, late: LatePayment
) -> pd.DataFrame:
    """Return when each open invoice will be paid.

    Parameters
    ----------
    sample : InvoiceSample
        Open invoices.
    survival : ndarray, shape (n, days)
        From the hazard of `late`.
    late : LatePayment
        Gives the chance of late payment.

    Returns
    -------
    DataFrame
        ``customer_id, due_on, balance``; ``p_paid_within_30d`` and ``p_late_30d``
        (probabilities); ``days_p10, days_p50, days_p90`` (days to payment, NaN beyond
        26 weeks); the largest balance first.
    """
    invoices = sample.rows[["customer_id", "due_on", "balance"]].copy()
    in_30_days = np.full(len(invoices), 30.0)
    invoices["p_paid_within_30d"] = 1 - open_after(survival, in_30_days)
    invoices[f"p_late_{late.days_late}d"] = late.p_late(sample.features, survival)
    for level in QUANTILES:
        invoices[f"days_p{level * 100:.0f}"] = days_quantile(survival, level)
    return invoices.sort_values("balance", ascending=False)


def cash_plot(cash: Cash, currency: str) -> Figure:
    """Draw expected cash by week with its 90% interval, and the cash received."""
    figure = Picture(figsize=(7.2, 4.2))
    axes = figure.subplots()
    weeks = cash.weeks.index.to_numpy()
    low, high = cash.interval()
    axes.fill_between(
        weeks,
        low,
        high,
        color=OURS,
        alpha=0.18,
        label="90% interval, invoices paid independently",
    )
    axes.plot(
        weeks,
        cash.weeks["expected"],
        "o-",
        color=OURS,
        label="expected",
    )
    if cash.weeks["received"].notna().any():
        axes.plot(
            weeks,
            cash.weeks["received"],
            "s--",
            color=PEER,
            label="received",
        )
    axes.set_xlabel(f"week after {cash.as_of}")
    axes.set_ylabel(f"cash from invoices open on {cash.as_of} ({currency})")
    axes.set_title("Expected cash by week")
    axes.set_ylim(bottom=0)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    return figure
