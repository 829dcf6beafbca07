"""Whether the PD holds within each horizon that it is used for, by days past due.

A PD over 12 months may be right while the PD over 3 months that comes from it is wrong:
far too high for customers who owe nothing today, too low for those who are overdue.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from obligor.arrays import Bools, Floats, Ints
from obligor.metrics.slope import SlopeTest, slope_test
from obligor.metrics.statistics import Interval
from obligor.model.pd_model import DAYS_3M, DAYS_6M, PdModel
from obligor.model.term_structure import (
    STATE,
    STATE_EDGES,
    STATE_NAMES,
    state_buckets,
)
from obligor.training.validation import plots
from obligor.training.validation.subject import ModelUnderTest, Section, Verdict

EVERYONE = "all"
LEVEL = 0.15  # most that a mean PD may be off the default rate, relative
SLOPES = (0.9, 1.1)  # of the calibration line
FEWEST = 20  # defaults, or expected defaults, of a figure that can be judged
CONFIDENCE = 0.99  # that a limit is missed; a model has a dozen figures to miss
Z_99 = 2.576
Z_95 = 1.96
TOO_FEW = "too few defaults"


class WatchedRows(NamedTuple):
    """Rows of which it is known when a default occurred.

    Attributes
    ----------
    rows : ndarray of float, shape (n, features)
        Numbers as the model takes them.
    groups : ndarray of int, shape (n,)
        The customer of each row.
    days_to_default : ndarray of float, shape (n,)
        Days from the as-of date to the first default within the horizon; NaN if none.
    """

    rows: Floats
    groups: Ints
    days_to_default: Floats


@dataclass(frozen=True)
class HorizonCheck:
    """The PD within some days against the defaults within them.

    Attributes
    ----------
    days : int
        Length of the horizon.
    bucket : str
        The range of days past due on the as-of date, or all rows.
    rows, defaults : int
        How many there are.
    expected : float
        The sum of the PDs.
    error : float
        Standard error of the number of defaults, over customers.
    slope : SlopeTest, optional
        The calibration slope, with a 99% interval; None if there are too few defaults
        or too few others.
    """

    days: int
    bucket: str
    rows: int
    defaults: int
    expected: float
    error: float
    slope: SlopeTest | None

    @property
    def is_judged(self) -> bool:
        """Whether there are enough defaults, seen or expected, to say anything."""
        return max(self.defaults, self.expected) >= FEWEST

    @property
    def is_off(self) -> bool:
        """Whether mean PD or slope is outside its limits, by chance or not."""
        if not self.is_judged:
            return False
        level = abs(self.expected - self.defaults) > LEVEL * self.defaults
        slope = self.slope is not None and not (
            SLOPES[0] <= self.slope.slope <= SLOPES[1]
        )
        return level or slope

    @property
    def rate(self) -> Interval:
        """The default rate with its 95% interval over customers."""
        rate = self.defaults / self.rows
        margin = Z_95 * self.error / self.rows
        return Interval(rate, max(rate - margin, 0.0), min(rate + margin, 1.0))

    def misses(self) -> Iterator[str]:
        """Yield each limit that is missed beyond chance, in words."""
        if not self.is_judged:
            return
        least = self.defaults - Z_99 * self.error
        most = self.defaults + Z_99 * self.error
        of = f"within {self.days} days ({self.bucket})"
        mean_pd = self.expected / self.rows
        if self.expected > (1 + LEVEL) * most or self.expected < (1 - LEVEL) * least:
            yield (
                f"the mean PD {of} is {mean_pd:.4f}, the default rate {self.rate}: "
                f"more than {LEVEL:.0%} apart"
            )
        slope = self.slope
        if slope and (slope.high < SLOPES[0] or slope.low > SLOPES[1]):
            yield (
                f"the calibration slope {of} is {slope.slope:.2f} "
                f"[{slope.low:.2f}, {slope.high:.2f}], outside "
                f"{SLOPES[0]:g} to {SLOPES[1]:g}"
            )


def check_horizons(model: PdModel, watched: WatchedRows) -> list[HorizonCheck]:
    """Compare the PD within each horizon with the defaults within it.

    Parameters
    ----------
    model : PdModel
        A model of a ledger.
    watched : WatchedRows
        Rows that the model has not seen.

    Returns
    -------
    list of HorizonCheck
        Of 3 and 6 months and the model's own horizon, as far as it reaches: over all
        rows, then by days past due.
    """
    margin = model.margin(watched.rows)
    checks = []
    for days in horizons_of(model):
        pd_ = model.pd_within(margin, days, watched.rows)
        label = (watched.days_to_default <= days).astype(np.int64)
        for bucket, is_inside in _buckets(model, watched.rows).items():
            if is_inside.any():
                check = _check(
                    (days, bucket),
                    pd_[is_inside],
                    label[is_inside],
                    watched.groups[is_inside],
                )
                checks.append(check)
    return checks


def horizons_of(model: PdModel) -> list[int]:
    """Return the horizons in days at which a model's PD can be checked."""
    shorter = [days for days in (DAYS_3M, DAYS_6M) if days < model.horizon_days]
    return [*shorter, model.horizon_days]


def _buckets(model: PdModel, rows: Floats) -> dict[str, Bools]:
    buckets = {EVERYONE: np.ones(len(rows), dtype=bool)}
    if model.encoding is None and STATE in model.features:
        state = rows[:, model.features.index(STATE)]
        bucket_of_row = state_buckets(state, STATE_EDGES)
        for index, name in enumerate(STATE_NAMES):
            buckets[name] = bucket_of_row == index
    return buckets


def _check(
    name: tuple[int, str],
    pd_: Floats,
    label: Ints,
    groups: Ints,
) -> HorizonCheck:
    days, bucket = name
    n_defaults = int(label.sum())
    _, group_index = np.unique(groups, return_inverse=True)
    # The customers' own sums: their rows share an outcome.
    gap_of_group = np.bincount(group_index, label - pd_)
    slope = None
    if min(n_defaults, len(label) - n_defaults) >= FEWEST:
        slope = slope_test(pd_, label, groups, confidence=CONFIDENCE)
    return HorizonCheck(
        days=days,
        bucket=bucket,
        rows=len(label),
        defaults=n_defaults,
        expected=float(pd_.sum()),
        error=float(np.sqrt((gap_of_group**2).sum())),
        slope=slope,
    )


def horizons(subject: ModelUnderTest) -> Section:
    """Show whether the PDs within 3, 6 and 12 months hold, by days past due."""
    days_to_default = subject.test.days_to_default
    if days_to_default is None:
        return Section(
            id="horizons",
            title="PD by horizon",
            verdict="none",
            summary="The rows do not say on which day a default occurred, so the PD "
            "can be checked over the whole horizon only.",
        )
    watched = WatchedRows(subject.test.rows, subject.test.groups, days_to_default)
    checks = check_horizons(subject.model, watched)
    misses = [miss for check in checks for miss in check.misses()]
    is_off = any(check.is_off for check in checks)
    verdict: Verdict = "good"
    if is_off:
        verdict = "look"
    if misses:
        verdict = "bad"
    caption = (
        "PD and default rate within each horizon, on later rows; 95% intervals of the "
        "rate and 99% intervals of the slope, over customers"
    )
    return Section(
        id="horizons",
        title="PD by horizon",
        verdict=verdict,
        summary=_describe(subject.model, checks, misses),
        tables=((caption, _table(checks)),),
        pictures=(("PD by horizon", plots.horizons(_drawn(checks))),),
    )


def _describe(
    model: PdModel, checks: Sequence[HorizonCheck], misses: Sequence[str]
) -> str:
    days = ", ".join(str(days) for days in horizons_of(model))
    limits = (
        f"Limits: a mean PD within {LEVEL:.0%} of the default rate and a slope from "
        f"{SLOPES[0]:g} to {SLOPES[1]:g}, missed if chance cannot explain it "
        f"({CONFIDENCE:.0%})."
    )
    by_state = "the margin alone"
    if model.term is None:
        by_state = "a constant hazard"
    elif model.term.state is not None:
        by_state = "the margin and the days past due"
    basis = f"The PD is shared out over time by {by_state}."
    if misses:
        listed = "; ".join(misses[:5])
        return f"{len(misses)} limits are missed: {listed}. {limits} {basis}"
    off = [f"{check.days} days ({check.bucket})" for check in checks if check.is_off]
    text = f"No limit is missed within {days} days, overall or by days past due."
    if off:
        text += f" Outside the limits, but not beyond chance: {', '.join(off)}."
    return f"{text} {limits} {basis}"


def _table(checks: Sequence[HorizonCheck]) -> pd.DataFrame:
    rows = [_row(check) for check in checks]
    return pd.DataFrame(rows).set_index(["within, days", "on the as-of date"])


def _row(check: HorizonCheck) -> dict[str, object]:
    return {
        "within, days": check.days,
        "on the as-of date": check.bucket,
        "rows": check.rows,
        "defaults": check.defaults,
        "mean PD": round(check.expected / check.rows, 4),
        "default rate": str(check.rate),
        "mean PD over default rate": _ratio(check),
        "slope": _slope(check),
    }


def _ratio(check: HorizonCheck) -> str:
    if not check.is_judged:
        return TOO_FEW
    if not check.defaults:
        return "no default"
    return f"{check.expected / check.defaults:.2f}"


def _slope(check: HorizonCheck) -> str:
    if check.slope is None:
        return TOO_FEW
    slope = check.slope
    return f"{slope.slope:.2f} [{slope.low:.2f}, {slope.high:.2f}]"


def _drawn(checks: Sequence[HorizonCheck]) -> pd.DataFrame:
    rows = []
    for check in checks:
        row = {
            "days": check.days,
            "bucket": check.bucket,
            "mean_pd": check.expected / check.rows,
            "rate": check.rate.value,
            "low": check.rate.low,
            "high": check.rate.high,
        }
        rows.append(row)
    return pd.DataFrame(rows)
