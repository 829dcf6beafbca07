"""When an open invoice will be paid: a discrete-time hazard, week by week, learnt from invoices still open too.

An invoice open on an as-of date gives a row per week it was watched: whether it was paid in that week, given that it
was still open. An invoice still open at the end of what is known gives its weeks so far and no more (Singer and Willett
1993), so nobody waits for outcomes, and the weeks before today teach as well as those long ago.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import Any

import lightgbm as lgb
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from obligor.arrays import Floats
from obligor.data.asof import known_on
from obligor.data.ledger import Ledger
from obligor.errors import SchemaError
from obligor.features import catalogue
from obligor.features.build import build_features
from obligor.features.invoices import NAMES, OWN, items_of, open_invoices
from obligor.model.calibration import SMALLEST_PD, sigmoid
from obligor.training.candidates.fit_settings import FOLDS, MEMBERS, FitSettings
from obligor.training.candidates.training_rows import (
    Columns,
    TrainingRows,
    stratified_folds,
)
from obligor.training.candidates.trees import fit_bagged_trees, fit_trees

WEEK, WEEKS, SPAN = 7, 26, 35
TIMES = (
    "week",
    "days_late_at_week_end",
)  # what a row of a week has beside the invoice's features
QUANTILES = (0.1, 0.5, 0.9)
BAGS, MOST_TREES, PATIENCE, LAST_DAYS = 2, 2000, 50, 28
MOST_ROWS, MOST_ASKED = (
    300_000,
    20_000,
)  # of weeks, and of whole outcomes; of more, invoices are drawn
MOST_DATES = 52  # how people paid longer ago teaches little
FEWEST_PAID, FEWEST_LATE = 100, 50


@dataclass(frozen=True)
class InvoiceSample:
    """Open invoices on as-of dates, and what was known of their payment on a later day.

    Attributes
    ----------
    rows : DataFrame
        Index ``invoice_id``; ``as_of, customer_id, due_on, balance, settled_on`` (NaT: still open on `until`) and the
        features of `features.invoice`.
    until : date
        The day of that knowledge.
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
        return np.asarray(
            (self.rows["settled_on"] - self.rows["as_of"]).dt.days, dtype=np.float64
        )

    @property
    def days_watched(self) -> Floats:
        """Days from the as-of date to `until`."""
        return np.asarray(
            (pd.Timestamp(self.until) - self.rows["as_of"]).dt.days, dtype=np.float64
        )

    def days_late(self, days: int) -> NDArray[np.int64]:
        """Return 1 where an invoice was paid more than so many days after its due date, or not at all."""
        late = (
            self.rows["settled_on"].fillna(pd.Timestamp.max.floor("s"))
            - self.rows["due_on"]
        )
        return np.asarray(late.dt.days > days, dtype=np.int64)

    def where(self, which: NDArray[np.bool_] | pd.Series[bool]) -> InvoiceSample:
        """Return some of the rows."""
        return InvoiceSample(self.rows[np.asarray(which)], self.until)


def invoice_sample(
    ledger: Ledger, dates: Iterable[date], until: date, *, only_new: bool = False
) -> InvoiceSample:
    """Return the invoices open on each date with their features then, and their settlement as known on `until`.

    Parameters
    ----------
    only_new : bool
        Keep those issued on the as-of date alone: each invoice once, as it was when it was written.
    """
    parts = []
    for as_of in dates:
        known = known_on(ledger, as_of)
        found = open_invoices(known, build_features(known))
        found = found[found["age_days"] == 0] if only_new else found
        parts.append(found.assign(as_of=pd.Timestamp(as_of)))
    rows = pd.concat(parts)
    settled = items_of(known_on(ledger, until))["settled_on"]
    return InvoiceSample(rows.assign(settled_on=settled.reindex(rows.index)), until)


def weekly_dates(ledger: Ledger, until: date) -> list[date]:
    """Return the Sundays of the last year of which a week of what follows is known by `until`."""
    first = ledger["invoices"]["known_on"].min() + pd.Timedelta(days=30)
    days = pd.date_range(first, pd.Timestamp(until) - pd.Timedelta(days=WEEK), freq="W")
    return [day.date() for day in days[-MOST_DATES:]]


@dataclass(frozen=True)
class TimeToPay:
    """A fitted hazard.

    Attributes
    ----------
    text : str
        LightGBM's model as text, over the features and `TIMES`; gives the log-odds of payment in a week.
    by_lateness, by_weekday : array
        On which days within a week payments fall: how many came on each day from `SPAN` before the due date to `SPAN`
        after it, and on each day of the week, Monday first.
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
        """Return P(still open at the end of each day), shape (n, 7 * WEEKS + 1), falling from 1."""
        still = np.ones((len(features), WEEK * WEEKS + 1))
        for week in range(WEEKS):
            start = WEEK * week
            p_paid = still[:, start] * np.asarray(
                self.booster.predict(_timed(features, week))
            )
            by_day = np.cumsum(self._days_of(features, start), axis=1)
            still[:, start + 1 : start + WEEK + 1] = (
                still[:, [start]] - p_paid[:, None] * by_day
            )
        return still

    def _days_of(self, features: Floats, start: int) -> Floats:
        """The share of a week's payments that each of its days has, shape (n, 7)."""
        days_late = (
            start + np.arange(1, WEEK + 1) - features[:, [NAMES.index("days_to_due")]]
        )
        weekday = (features[:, [NAMES.index("due_weekday")]] + days_late) % WEEK
        place = np.clip(days_late, -SPAN, SPAN).astype(np.int64) + SPAN
        share: Floats = (
            self.by_lateness[place] * self.by_weekday[weekday.astype(np.int64)]
        )

        return np.asarray(share / share.sum(axis=1, keepdims=True), dtype=np.float64)


def open_after(survival: Floats, days: Floats) -> Floats:
    """Return the survival of each row at the end of a day of its own, the last one modelled at most.

    Examples
    --------
    >>> open_after(np.array([[1.0, 0.25, 0.2]]), np.array([1.0])).tolist()
    [0.25]
    """
    day = np.clip(days, 0, survival.shape[1] - 1).astype(np.int64)
    return np.asarray(survival[np.arange(len(survival)), day])


def days_quantile(survival: Floats, level: float) -> Floats:
    """Return the day by whose end an invoice is paid with probability `level`; NaN beyond those modelled.

    Examples
    --------
    >>> days_quantile(np.array([[1.0, 0.9, 0.4, 0.1], [1.0, 0.9, 0.8, 0.7]]), 0.5).tolist()
    [2.0, nan]
    """
    is_past = survival <= 1 - level
    return np.asarray(
        np.where(is_past.any(axis=1), is_past.argmax(axis=1), np.nan), dtype=np.float64
    )


def fit_time_to_pay(sample: InvoiceSample, seed: int, threads: int = 2) -> TimeToPay:
    """Fit the hazard; the number of trees is chosen on the last four weeks that are known.

    Raises
    ------
    SchemaError
        Where too few invoices were paid to learn from.
    """
    n_paid = int(np.isfinite(sample.days_to_payment).sum())
    if n_paid < FEWEST_PAID:
        raise SchemaError(
            f"only {n_paid} payments of open invoices",
            where="time to pay",
            expected=f"{FEWEST_PAID} at least",
            do="use a longer ledger, or a later as-of date",
        )
    rows, is_paid, ends = _weeks_of(_drawn(sample, seed))
    is_last = ends > pd.Timestamp(sample.until).to_numpy() - np.timedelta64(
        LAST_DAYS, "D"
    )
    parameters = {
        "objective": "binary",
        "learning_rate": 0.08,
        "num_leaves": 31,
        "min_data_in_leaf": 40,
        "lambda_l2": 10.0,
        "feature_fraction": 0.3,
        "bagging_fraction": 0.7,
        "bagging_freq": 1,
        "seed": seed,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": threads,
        "verbose": -1,
    }
    n_trees = _trees(parameters, rows, is_paid, is_last)
    learnt = lgb.Dataset(rows, is_paid, free_raw_data=False, params={"verbose": -1})
    text = fit_bagged_trees(
        learnt,
        len(NAMES) + len(TIMES),
        parameters,
        n_trees,
        range(seed, seed + BAGS),
    )
    return TimeToPay(text, n_trees, *_days_paid(sample))


def _days_paid(sample: InvoiceSample) -> tuple[Floats, Floats]:
    """How many invoices were paid on each day around their due date, and on each weekday; one is added everywhere."""
    paid = sample.rows[sample.rows["settled_on"].notna()]
    paid = paid[~paid.index.duplicated()]
    late = np.asarray((paid["settled_on"] - paid["due_on"]).dt.days)
    around_due = np.bincount(np.clip(late, -SPAN, SPAN) + SPAN, minlength=2 * SPAN + 1)
    weekdays = np.bincount(
        np.asarray(paid["settled_on"].dt.day_of_week), minlength=WEEK
    )
    return np.asarray(around_due + 1.0, dtype=np.float64), np.asarray(
        weekdays + 1.0, dtype=np.float64
    )


def _trees(
    parameters: dict[str, Any],
    rows: Floats,
    is_paid: NDArray[np.int64],
    is_last: NDArray[np.bool_],
) -> int:
    earlier = lgb.Dataset(rows[~is_last], is_paid[~is_last], params={"verbose": -1})
    later = earlier.create_valid(rows[is_last], is_paid[is_last])
    stopper = lgb.early_stopping(PATIENCE, verbose=False)
    return max(
        int(
            lgb.train(
                parameters, earlier, MOST_TREES, [later], callbacks=[stopper]
            ).best_iteration
        ),
        20,
    )


def _weeks_of(
    sample: InvoiceSample,
) -> tuple[Floats, NDArray[np.int64], NDArray[np.datetime64]]:
    """A row per invoice and week it was open in and watched to the end, or paid in; whether paid; the week's end."""
    days, watched, features = (
        sample.days_to_payment,
        sample.days_watched,
        sample.features,
    )
    as_of = sample.rows["as_of"].to_numpy().astype("datetime64[D]")
    rows, is_paid, ends = (
        list[Floats](),
        list[NDArray[np.int64]](),
        list[NDArray[np.datetime64]](),
    )
    for week in range(WEEKS):
        start, end = WEEK * week, WEEK * (week + 1)
        paid = (days > start) & (days <= end)
        seen = paid | (~(days <= end) & (watched >= end))
        rows.append(_timed(features[seen], week))
        is_paid.append(paid[seen].astype(np.int64))
        ends.append(
            np.asarray(as_of[seen] + np.timedelta64(end, "D"), dtype="datetime64[D]")
        )
    return np.concatenate(rows), np.concatenate(is_paid), np.concatenate(ends)


def _timed(features: Floats, week: int) -> Floats:
    days_late = WEEK * (week + 1) - features[:, NAMES.index("days_to_due")]
    return np.column_stack([features, np.full(len(features), float(week)), days_late])


def _drawn(sample: InvoiceSample, seed: int) -> InvoiceSample:
    days = np.fmin(sample.days_to_payment, sample.days_watched)
    weeks = np.minimum(np.ceil(days / WEEK), WEEKS)
    return _thinned(sample, MOST_ROWS / max(weeks.sum(), 1), seed)


def _thinned(sample: InvoiceSample, share: float, seed: int) -> InvoiceSample:
    return (
        sample
        if share >= 1
        else sample.where(np.random.default_rng(seed).random(len(sample.rows)) < share)
    )


# --- paid late


@dataclass(frozen=True)
class LatePayment:
    """P(an invoice is paid more than some days late): a hazard and trees that saw whole outcomes alone, half each.

    The hazard knows the last weeks, whose invoices have no outcome yet; the trees ask the question itself. Where too
    few invoices were late the hazard is alone.
    """

    hazard: TimeToPay
    direct: str | None
    days_late: int

    def p_late(self, features: Floats, survival: Floats) -> Floats:
        """Return the probability that each open invoice is paid later than that, shape (n,), given its survival."""
        until = features[:, NAMES.index("days_to_due")] + self.days_late
        by_hazard = np.clip(open_after(survival, until), SMALLEST_PD, 1 - SMALLEST_PD)
        if self.direct is None:
            return by_hazard
        by_trees = np.asarray(
            lgb.Booster(model_str=self.direct).predict(features, raw_score=True)
        )
        return sigmoid((np.log(by_hazard / (1 - by_hazard)) + by_trees) / 2)


def fit_late_payment(
    sample: InvoiceSample, days_late: int, seed: int, threads: int
) -> LatePayment:
    """Fit both halves on what was known on `sample.until`; the trees on invoices whose outcome was known by then.

    Raises
    ------
    SchemaError
        Where too few invoices were paid to learn from.
    """
    due = sample.rows["due_on"] + pd.Timedelta(days=days_late)
    known = sample.where(due < pd.Timestamp(sample.until))
    known = _thinned(known, MOST_ASKED / max(len(known.rows), 1), seed)
    hazard = fit_time_to_pay(sample, seed, threads)
    label, groups = (
        known.days_late(days_late),
        pd.factorize(known.rows["customer_id"])[0].astype(np.int64),
    )
    if label.sum() < FEWEST_LATE:
        return LatePayment(hazard, None, days_late)
    directions = tuple(
        [0] * len(OWN) + [feature.direction for feature in catalogue.CATALOGUE]
    )
    table = TrainingRows(known.features, label, groups, Columns(NAMES, (), directions))
    folds = stratified_folds(label, groups, FOLDS, seed)
    settings = FitSettings(seed, threads, bags=BAGS, most_trees=MOST_TREES)
    direct = fit_trees(table, folds, MEMBERS["extra_trees"], settings)
    return LatePayment(hazard, direct.text, days_late)
