"""The binning table of a scorecard, its points, and their pictures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import log
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from obligor.arrays import Floats, Ints
from obligor.training.candidates.scorecard import (
    HALF_A_ROW,
    Bins,
    Scorecard,
    bin_names,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TOTALS = "totals"
COLUMNS = (
    "feature",
    "bin",
    "count",
    "count_share",
    "non_event",
    "event",
    "event_rate",
    "woe",
    "iv",
    "points",
)


class Scale(NamedTuple):
    """How log-odds become points (Siddiqi 2006).

    Attributes
    ----------
    base_score : float
        Score of an applicant with the odds `base_odds`.
    base_odds : float
        Odds of good, above 0.
    pdo : float
        Points that double the odds.
    """

    base_score: float = 600
    base_odds: float = 50
    pdo: float = 20


def points_of_bins(card: Scorecard, scale: Scale) -> Iterator[tuple[Bins, Ints]]:
    """Yield the columns that a scorecard uses, with the points of their bins."""
    factor = scale.pdo / log(2)
    used = [
        (bins, float(coefficient))
        for bins, coefficient in zip(card.bins, card.coefficients, strict=True)
        if coefficient > 0
    ]
    # The constant part of the score is spread evenly over the columns.
    constant = scale.base_score - factor * (card.intercept + log(scale.base_odds))
    share = constant / max(len(used), 1)
    for bins, coefficient in used:
        points = np.rint(share + factor * coefficient * bins.woe)
        yield bins, points.astype(np.int64)


def binning_table(
    card: Scorecard,
    level_texts: Sequence[Sequence[str]],
    scale: Scale,
) -> pd.DataFrame:
    """Return every bin of every column, with a row of totals for each column.

    Parameters
    ----------
    card : Scorecard
        The fitted bins and coefficients.
    level_texts : sequence of sequence of str
        Category names of each encoded column; empty for numbers.
    scale : Scale
        How log-odds become points.

    Returns
    -------
    DataFrame
        Columns `COLUMNS`. `woe` is ln(share of goods / share of bads) as counted, and
        `iv` a bin's part of the information value; `points` are missing if the
        scorecard does not use the column.
    """
    points_by_feature = {
        bins.feature: points for bins, points in points_of_bins(card, scale)
    }
    tables = []
    for bins in card.bins:
        table = _table_of_bins(bins)
        table["feature"] = card.names[bins.feature]
        names = bin_names(bins, level_texts[bins.feature])
        table["bin"] = [*names, TOTALS]
        points = points_by_feature.get(bins.feature)
        missing = [pd.NA] * (len(table) - 1)
        shown = missing if points is None else points.tolist()
        table["points"] = pd.array([*shown, pd.NA], dtype="Int64")
        tables.append(table[list(COLUMNS)])
    if not tables:
        return pd.DataFrame(columns=list(COLUMNS))
    return pd.concat(tables, ignore_index=True)


def _table_of_bins(bins: Bins) -> pd.DataFrame:
    """Return the figures of a column's bins and, last, their totals."""
    counts = bins.goods + bins.bads
    with np.errstate(invalid="ignore", divide="ignore"):
        event_rate = bins.bads / counts
    evidence = _evidence(bins)
    total = counts.sum()
    return pd.DataFrame(
        {
            "count": _whole([*counts, total]),
            "count_share": [*(counts / total), 1.0],
            "non_event": _whole([*bins.goods, bins.goods.sum()]),
            "event": _whole([*bins.bads, bins.bads.sum()]),
            "event_rate": [*event_rate, bins.bads.sum() / total],
            "woe": [*evidence, np.nan],
            "iv": [*_iv_parts(bins), bins.iv],
        }
    )


def _evidence(bins: Bins) -> Floats:
    """Return ln(share of goods / share of bads) of each bin, NaN if it is empty.

    A bin without one of the outcomes counts half a row of it.
    """
    goods = np.maximum(bins.goods, HALF_A_ROW) / bins.goods.sum()
    bads = np.maximum(bins.bads, HALF_A_ROW) / bins.bads.sum()
    is_empty = (bins.goods + bins.bads) == 0
    return np.where(is_empty, np.nan, np.log(goods / bads))


def _iv_parts(bins: Bins) -> Floats:
    goods = np.maximum(bins.goods, HALF_A_ROW) / bins.goods.sum()
    bads = np.maximum(bins.bads, HALF_A_ROW) / bins.bads.sum()
    is_empty = (bins.goods + bins.bads) == 0
    return np.where(is_empty, 0.0, (goods - bads) * np.log(goods / bads))


def _whole(counts: Sequence[float]) -> Ints | Floats:
    """Return counts as whole numbers, unless rows have weights that are not whole."""
    values = np.asarray(counts, dtype=np.float64)
    rounded = np.rint(values)
    return rounded.astype(np.int64) if np.array_equal(values, rounded) else values


def plot_bins(table: pd.DataFrame, feature: str) -> Figure:
    """Return a picture of a column's bins: counts and default rate, and evidence.

    Parameters
    ----------
    table : DataFrame
        Rows of a binning table, of one column.
    feature : str
        Its name.
    """
    from obligor.metrics.picture import Picture
    from obligor.training.validation.plots import OURS

    bins = table[table["bin"] != TOTALS]
    places = np.arange(len(bins))
    figure = Picture(figsize=(11, 4.5), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.bar(places, bins["non_event"], color="#9db8cf", label="no default")
    left.bar(
        places,
        bins["event"],
        bottom=bins["non_event"],
        color="#b4430f",
        label="default",
    )
    left.set_ylabel("rows")
    rates = left.twinx()
    rates.plot(places, bins["event_rate"], "o-", color="#222222")
    rates.set_ylabel("default rate (line)")
    rates.set_ylim(bottom=0)
    figure.legend(loc="outside lower left", ncols=2)
    left.set_title(f"{feature}: rows and default rate")
    right.bar(places, bins["woe"], color=OURS)
    right.axhline(0, color="#222222", linewidth=0.8)
    right.set_ylabel("weight of evidence, ln(% good / % bad)")
    information_value = table["iv"].iloc[-1]
    right.set_title(f"{feature}: weight of evidence (IV {information_value:.3f})")
    for axes in (left, right):
        _name_bins(axes, bins["bin"].tolist(), feature)
    return figure


def plot_points(table: pd.DataFrame, feature: str) -> Figure:
    """Return a picture of the points of a column's bins.

    Parameters
    ----------
    table : DataFrame
        Rows of a binning table, of one column.
    feature : str
        Its name.
    """
    from obligor.metrics.picture import Picture
    from obligor.training.validation.plots import OURS

    bins = table[table["bin"] != TOTALS]
    figure = Picture(figsize=(6.5, 4.5), layout="constrained")
    axes = figure.subplots()
    points = bins["points"].astype(float).fillna(0.0)
    axes.bar(np.arange(len(bins)), points, color=OURS)
    axes.set_ylabel("points (more is safer)")
    axes.set_title(f"{feature}: points of the scorecard")
    _name_bins(axes, bins["bin"].tolist(), feature)
    return figure


def _name_bins(axes: Axes, names: Sequence[str], feature: str) -> None:
    axes.set_xticks(range(len(names)), names, rotation=30, ha="right")
    axes.set_xlabel(f"bin of {feature}")
