"""When an open invoice will be paid: a discrete-time hazard, week by week.

An invoice that is open on an as-of date gives a row per week it was watched: whether
it was paid in that week, given that it was still open. An invoice still open at the
end of what is known contributes its weeks so far and no more (Singer and Willett
1993). So no outcome has to be awaited, and the weeks just before today teach as much
as those long ago.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property

import lightgbm as lgb
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from obligor.arrays import Bools, Floats, Ints
from obligor.data.asof import known_on
from obligor.data.ledger import Ledger
from obligor.errors import SchemaError
from obligor.features.build import build_features
from obligor.features.invoices import (
    NAMES,
    OF_CUSTOMER,
    OWN,
    items_of,
    open_invoices,
)
from obligor.model.calibration import SMALLEST_PD, sigmoid
from obligor.training.candidates.fit_settings import FOLDS, MEMBERS, FitSettings
from obligor.training.candidates.training_rows import (
    Columns,
    TrainingRows,
    stratified_folds,
)
from obligor.training.candidates.trees import fit_bagged_trees, fit_trees

WEEK = 7
WEEKS = 26  # modelled ahead
SPAN = 35  # days before and after the due date whose share of payments is counted
DAYS_TO_DUE = NAMES.index("days_to_due")
DUE_WEEKDAY = NAMES.index("due_weekday")
TIMES = ("week", "days_late_at_week_end")  # of a row, behind the invoice's features
QUANTILES = (0.1, 0.5, 0.9)
BAGS = 2
MOST_TREES = 2000
FEWEST_TREES = 20
PATIENCE = 50  # trees without a gain before early stopping
LAST_DAYS = 28  # on which the number of trees is chosen
MOST_WEEKS = 300_000  # rows of a week; beyond that, invoices are drawn
MOST_OUTCOMES = 20_000  # whole outcomes; beyond that, invoices are drawn
MOST_DATES = 52  # how people paid longer ago teaches little
FEWEST_PAID = 100
FEWEST_LATE = 50
FIRST_DAYS = 30  # of a ledger, which hold too little history
PARAMETERS: Mapping[str, object] = {
    "objective": "binary",
    "learning_rate": 0.08,
    "num_leaves": 31,
    "min_data_in_leaf": 40,
    "lambda_l2": 10.0,
    "feature_fraction": 0.3,
    "bagging_fraction": 0.7,
    "bagging_freq": 1,
    "deterministic": True,
    "force_row_wise": True,
    "verbose": -1,
}


@dataclass(frozen=True)
class InvoiceSample:
    """Open invoices on as-of dates, and what was known of their payment later.

    Attributes
    ----------
    rows : DataFrame
        Index ``invoice_id``; ``as_of, customer_id, due_on, balance, settled_on`` (NaT
        if still open on `until`), ``is_cancelled`` (whether it was by then) and the
        features of `features.invoices`.
    until : date
        The day on which the payments are known.
    """

    rows: pd.DataFrame
    until: date

    @property
    def features(self) -> Floats:
        """The features, shape (n, len(NAMES))."""
        return self.rows[list(NAMES)].to_numpy(dtype=np.float64)

    @property
    def days_to_payment(self) -> Floats:
        """Days from the as-of date to settlement; NaN while the invoice is open."""
        return _days_between(self.rows["as_of"], self.rows["settled_on"])

    @property
    def days_watched(self) -> Floats:
        """Days from the as-of date to `until`."""
        return _days_between(self.rows["as_of"], pd.Timestamp(self.until))

    def days_late(self, days: int) -> Ints:
        """Return 1 for an invoice paid more than so many days late, or not at all."""
        never = pd.Timestamp.max.floor("s")
        paid_on = self.rows["settled_on"].fillna(never)
        is_late = _days_between(self.rows["due_on"], paid_on) > days
        return is_late.astype(np.int64)

    def where(self, is_chosen: Bools | pd.Series[bool]) -> InvoiceSample:
        """Return some of the rows."""
        return InvoiceSample(self.rows[np.asarray(is_chosen)], self.until)


def _days_between(start: pd.Series, end: pd.Series | pd.Timestamp) -> Floats:
    return np.asarray((end - start).dt.days, dtype=np.float64)


def invoice_sample(
    ledger: Ledger,
    dates: Iterable[date],
    until: date,
    *,
    only_new: bool = False,
) -> InvoiceSample:
    """Return the invoices open on each date, and their settlement as known later.

    Parameters
    ----------
    ledger : Ledger
        A checked ledger that goes on to `until` at least.
    dates : iterable of date
        The as-of dates; features are those of these days.
    until : date
        The day on which the payments are known.
    only_new : bool
        Keep only invoices issued on the as-of date: each invoice once, as it was when
        it was written.

    Returns
    -------
    InvoiceSample
        A row per open invoice and date.
    """
    parts = []
    for as_of in dates:
        known_then = known_on(ledger, as_of)
        invoices = open_invoices(known_then, build_features(known_then))
        if only_new:
            invoices = invoices[invoices["age_days"] == 0]
        parts.append(invoices.assign(as_of=pd.Timestamp(as_of)))
    rows = pd.concat(parts)
    items = items_of(known_on(ledger, until))
    rows["settled_on"] = items["settled_on"].reindex(rows.index)
    rows["is_cancelled"] = ~rows.index.isin(items.index)
    return InvoiceSample(rows, until)


def without_cancelled(sample: InvoiceSample) -> InvoiceSample:
    """Return the invoices that were not cancelled: the others teach nothing of paying.

    They are no part of what is learnt; a forecast keeps them, since on its day nobody
    knew.
    """
    is_cancelled = sample.rows["is_cancelled"]
    return sample.where(~is_cancelled)


def weekly_dates(ledger: Ledger, until: date) -> list[date]:
    """Return the Sundays of the year before a day, whose next week is known by then."""
    first_known = ledger["invoices"]["known_on"].min()
    first = first_known + pd.Timedelta(days=FIRST_DAYS)
    last = pd.Timestamp(until) - pd.Timedelta(days=WEEK)
    days = pd.date_range(first, last, freq="W")
    return [day.date() for day in days[-MOST_DATES:]]


def require_dates(dates: Sequence[date], until: date) -> None:
    """Refuse to learn from a ledger that is too young for a single as-of date.

    Raises
    ------
    SchemaError
        If there is no date.
    """
    if not dates:
        raise _too_short(
            f"the first invoice is too near to {until} to learn from",
            f"at least {FIRST_DAYS + WEEK} days",
        )


@dataclass(frozen=True)
class TimeToPay:
    """A fitted hazard.

    Attributes
    ----------
    text : str
        LightGBM's model as text, over the features and `TIMES`; gives the log-odds of
        payment in a week.
    n_trees : int
        Of each of its fits.
    by_lateness : ndarray, shape (2 * SPAN + 1,)
        How many payments came on each day from `SPAN` before the due date to `SPAN`
        after it.
    by_weekday : ndarray, shape (7,)
        How many payments came on each day of the week, Monday first.
    """

    text: str
    n_trees: int
    by_lateness: Floats
    by_weekday: Floats

    @cached_property
    def booster(self) -> lgb.Booster:
        """LightGBM's own form of the model."""
        return lgb.Booster(model_str=self.text)

    def survival(self, features: Floats) -> Floats:
        """Return P(still open at the end of each day).

        Within a week payments are spread as they fell around due dates and weekdays.

        Parameters
        ----------
        features : ndarray, shape (n, len(NAMES))
            Of open invoices.

        Returns
        -------
        ndarray, shape (n, 7 * WEEKS + 1)
            Falls from 1 on day 0.
        """
        is_open = np.ones((len(features), WEEK * WEEKS + 1))
        for week in range(WEEKS):
            start = WEEK * week
            rows = _with_times(features, week)
            hazard = np.asarray(self.booster.predict(rows))
            open_before = is_open[:, [start]]
            p_paid = open_before * hazard[:, None]
            share_paid = np.cumsum(self._day_shares(features, start), axis=1)
            days = slice(start + 1, start + WEEK + 1)
            is_open[:, days] = open_before - p_paid * share_paid
        return is_open

    def _day_shares(self, features: Floats, start: int) -> Floats:
        """The share of a week's payments that each of its days has, shape (n, 7)."""
        days = start + np.arange(1, WEEK + 1)
        days_late = days - features[:, [DAYS_TO_DUE]]
        weekday = (features[:, [DUE_WEEKDAY]] + days_late) % WEEK
        lateness = np.clip(days_late, -SPAN, SPAN) + SPAN
        of_lateness = self.by_lateness[lateness.astype(np.int64)]
        of_weekday = self.by_weekday[weekday.astype(np.int64)]
        payments = of_lateness * of_weekday
        total = payments.sum(axis=1, keepdims=True)
        return np.asarray(payments / total, dtype=np.float64)


def open_after(survival: Floats, days: Floats) -> Floats:
    """Return the survival of each row at the end of a day of its own.

    Days beyond the last one modelled count as the last one, days before the first as
    the first.

    Examples
    --------
    >>> open_after(np.array([[1.0, 0.25, 0.2]]), np.array([1.0])).tolist()
    [0.25]
    """
    last_day = survival.shape[1] - 1
    day = np.clip(days, 0, last_day).astype(np.int64)
    rows = np.arange(len(survival))
    return np.asarray(survival[rows, day])


def days_quantile(survival: Floats, level: float) -> Floats:
    """Return the day by whose end an invoice is paid with probability `level`.

    NaN if that is beyond the days modelled.

    Examples
    --------
    >>> survival = np.array([[1.0, 0.9, 0.4, 0.1], [1.0, 0.9, 0.8, 0.7]])
    >>> days_quantile(survival, 0.5).tolist()
    [2.0, nan]
    """
    is_paid = survival <= 1 - level
    first_day: Floats = is_paid.argmax(axis=1).astype(np.float64)
    first_day[~is_paid.any(axis=1)] = np.nan
    return first_day


def fit_time_to_pay(sample: InvoiceSample, seed: int, threads: int = 2) -> TimeToPay:
    """Fit the hazard; the number of trees is chosen on the last four weeks known.

    Parameters
    ----------
    sample : InvoiceSample
        Open invoices to learn from.
    seed : int
        Of LightGBM and of the drawing, if there are too many rows.
    threads : int
        For LightGBM; the hazard does not depend on it.

    Returns
    -------
    TimeToPay
        The fitted hazard.

    Raises
    ------
    SchemaError
        If too few invoices were paid.
    """
    _require_payments(sample)
    weeks = _weeks_of(_draw_for_weeks(sample, seed))
    parameters = {**PARAMETERS, "seed": seed, "num_threads": threads}
    n_trees = _choose_trees(parameters, weeks, sample.until)
    dataset = lgb.Dataset(
        weeks.rows, weeks.is_paid, free_raw_data=False, params={"verbose": -1}
    )
    text = fit_bagged_trees(
        dataset,
        len(NAMES) + len(TIMES),
        parameters,
        n_trees,
        range(seed, seed + BAGS),
    )
    by_lateness, by_weekday = _count_payment_days(sample)
    return TimeToPay(text, n_trees, by_lateness, by_weekday)


def _require_payments(sample: InvoiceSample) -> None:
    n_paid = int(np.isfinite(sample.days_to_payment).sum())
    if n_paid < FEWEST_PAID:
        raise _too_short(
            f"only {n_paid} payments of open invoices are known",
            f"at least {FEWEST_PAID}",
        )


def _too_short(message: str, expected: str) -> SchemaError:
    return SchemaError(
        message,
        where="time to pay",
        expected=expected,
        do="use a longer ledger, or a later as-of date",
    )


def _count_payment_days(sample: InvoiceSample) -> tuple[Floats, Floats]:
    """How many invoices were paid on each day around their due date and each weekday.

    One is added everywhere, so that no day has a share of 0.
    """
    paid = sample.rows[sample.rows["settled_on"].notna()]
    paid = paid[~paid.index.duplicated()]
    days_late = _days_between(paid["due_on"], paid["settled_on"])
    lateness = np.clip(days_late, -SPAN, SPAN).astype(np.int64) + SPAN
    weekday = np.asarray(paid["settled_on"].dt.day_of_week)
    by_lateness = np.bincount(lateness, minlength=2 * SPAN + 1) + 1
    by_weekday = np.bincount(weekday, minlength=WEEK) + 1
    return by_lateness.astype(np.float64), by_weekday.astype(np.float64)


@dataclass(frozen=True)
class _InvoiceWeeks:
    """A row per invoice and week: it was paid in the week, or open through its end.

    `is_paid` is 1 if it was paid in the week, `ends` is the week's last day.
    """

    rows: Floats
    is_paid: Ints
    ends: NDArray[np.datetime64]


def _weeks_of(sample: InvoiceSample) -> _InvoiceWeeks:
    days = sample.days_to_payment
    watched = sample.days_watched
    features = sample.features
    as_of = sample.rows["as_of"].to_numpy().astype("datetime64[D]")
    rows = list[Floats]()
    is_paid = list[Ints]()
    ends = list[NDArray[np.datetime64]]()
    for week in range(WEEKS):
        start = WEEK * week
        end = start + WEEK
        paid_in_week = (days > start) & (days <= end)
        still_open = ~(days <= end) & (watched >= end)
        seen = paid_in_week | still_open
        rows.append(_with_times(features[seen], week))
        is_paid.append(paid_in_week[seen].astype(np.int64))
        last_day = as_of[seen] + np.timedelta64(end, "D")
        ends.append(np.asarray(last_day, dtype="datetime64[D]"))
    return _InvoiceWeeks(
        rows=np.concatenate(rows),
        is_paid=np.concatenate(is_paid),
        ends=np.concatenate(ends),
    )


def _choose_trees(
    parameters: Mapping[str, object], weeks: _InvoiceWeeks, until: date
) -> int:
    """The number of trees with the least loss on the last weeks."""
    last_weeks = np.timedelta64(LAST_DAYS, "D")
    last_day = pd.Timestamp(until).to_numpy()
    # If nothing was open of late, the last weeks are those in which something was.
    if not (weeks.ends > last_day - last_weeks).any():
        last_day = weeks.ends.max()
    is_last = weeks.ends > last_day - last_weeks
    if is_last.all():
        raise _too_short(
            f"invoices were open in {LAST_DAYS} days only",
            f"more than {LAST_DAYS} days",
        )
    earlier = lgb.Dataset(
        weeks.rows[~is_last], weeks.is_paid[~is_last], params={"verbose": -1}
    )
    later = earlier.create_valid(weeks.rows[is_last], weeks.is_paid[is_last])
    stopper = lgb.early_stopping(PATIENCE, verbose=False)
    booster = lgb.train(
        parameters,
        earlier,
        MOST_TREES,
        [later],
        callbacks=[stopper],
    )
    return max(int(booster.best_iteration), FEWEST_TREES)


def _with_times(features: Floats, week: int) -> Floats:
    """Features with `TIMES` behind them."""
    days_late = WEEK * (week + 1) - features[:, DAYS_TO_DUE]
    weeks = np.full(len(features), float(week))
    return np.column_stack([features, weeks, days_late])


def _draw_for_weeks(sample: InvoiceSample, seed: int) -> InvoiceSample:
    days = np.fmin(sample.days_to_payment, sample.days_watched)
    weeks = np.minimum(np.ceil(days / WEEK), WEEKS)
    share = MOST_WEEKS / max(weeks.sum(), 1)
    return _draw(sample, share, seed)


def _draw(sample: InvoiceSample, share: float, seed: int) -> InvoiceSample:
    if share >= 1:
        return sample
    draw = np.random.default_rng(seed)
    return sample.where(draw.random(len(sample.rows)) < share)


# --- late payment


@dataclass(frozen=True)
class LatePayment:
    """P(an invoice is paid more than some days late), the mean of two models' log-odds.

    The hazard knows the last weeks, whose invoices have no outcome yet; the trees
    answer the question itself, from whole outcomes only.

    Attributes
    ----------
    hazard : TimeToPay
        The hazard.
    direct : str, optional
        LightGBM's text of the trees; None if too few invoices were late, and the
        hazard is used alone.
    days_late : int
        After the due date.
    """

    hazard: TimeToPay
    direct: str | None
    days_late: int

    def p_late(self, features: Floats, survival: Floats) -> Floats:
        """Return the probability that each open invoice is paid later than that.

        Parameters
        ----------
        features : ndarray, shape (n, len(NAMES))
            Of open invoices.
        survival : ndarray, shape (n, days)
            From the hazard.

        Returns
        -------
        ndarray, shape (n,)
            In (0, 1).
        """
        last_day = features[:, DAYS_TO_DUE] + self.days_late
        still_open = open_after(survival, last_day)
        by_hazard = np.clip(still_open, SMALLEST_PD, 1 - SMALLEST_PD)
        if self.direct is None:
            return by_hazard
        trees = lgb.Booster(model_str=self.direct)
        by_trees = np.asarray(trees.predict(features, raw_score=True))
        log_odds = np.log(by_hazard / (1 - by_hazard))
        return sigmoid((log_odds + by_trees) / 2)


def fit_late_payment(
    sample: InvoiceSample,
    days_late: int,
    seed: int,
    threads: int,
) -> LatePayment:
    """Fit the hazard, and the trees on invoices whose outcome was known by then.

    Parameters
    ----------
    sample : InvoiceSample
        Open invoices to learn from, and what was known on `sample.until`.
    days_late : int
        After the due date, from which on a payment counts as late.
    seed : int
        Of LightGBM, the folds and the drawing.
    threads : int
        For LightGBM; the result does not depend on it.

    Returns
    -------
    LatePayment
        Both models, or the hazard alone if too few invoices were late.

    Raises
    ------
    SchemaError
        If too few invoices were paid.
    """
    hazard = fit_time_to_pay(sample, seed, threads)
    whole = _whole_outcomes(sample, days_late, seed)
    label = whole.days_late(days_late)
    if label.sum() < FEWEST_LATE:
        return LatePayment(hazard, None, days_late)
    codes, _ = pd.factorize(whole.rows["customer_id"])
    groups = codes.astype(np.int64)
    own_directions = [0] * len(OWN)
    directions = [feature.direction for feature in OF_CUSTOMER.features]
    columns = Columns(NAMES, (), (*own_directions, *directions))
    rows = TrainingRows(
        whole.features,
        label,
        groups,
        columns,
    )
    folds = stratified_folds(label, groups, FOLDS, seed)
    settings = FitSettings(
        seed,
        threads,
        bags=BAGS,
        most_trees=MOST_TREES,
    )
    trees = fit_trees(
        rows,
        folds,
        MEMBERS["extra_trees"],
        settings,
    )
    return LatePayment(hazard, trees.text, days_late)


def _whole_outcomes(sample: InvoiceSample, days_late: int, seed: int) -> InvoiceSample:
    """Invoices of which it is known whether they were paid so late."""
    last_day = sample.rows["due_on"] + pd.Timedelta(days=days_late)
    whole = sample.where(last_day < pd.Timestamp(sample.until))
    share = MOST_OUTCOMES / max(len(whole.rows), 1)
    return _draw(whole, share, seed)
