"""The scorecard: bins, weights of evidence, and a logistic regression (Siddiqi 2006).

The regression cannot turn the sign of a column's evidence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log, nan
from typing import NamedTuple

import lightgbm as lgb
import numpy as np
import pandas as pd
from scipy.optimize import minimize

from obligor.arrays import Floats, Ints
from obligor.model.calibration import sigmoid
from obligor.training.candidates.lightgbm_text import (
    blend_texts,
    category_tree,
    model_text,
    number_tree,
)
from obligor.training.candidates.training_rows import Columns

MOST_BINS = 6
SMALLEST_BIN = 0.05  # share of the rows
FEWEST_ROWS_IN_BIN = 20
MOST_REPEATED = 5_000_000  # rows into which whole weights are written out
HALF_A_ROW = 0.5  # what a bin without one of the outcomes counts in the IV
PSEUDO_ROWS = 10.0  # pull a bin's rate towards the base rate: no infinite weight
RIDGE = 1.0  # on the coefficients; a full weight of evidence has coefficient 1
POINT_COLUMNS = (
    "feature",
    "bin",
    "rows",
    "default_rate",
    "woe",
    "iv",
    "shrunk_iv",
    "points",
)


@dataclass(frozen=True)
class Binning:
    """How finely columns of numbers are cut.

    Attributes
    ----------
    most_bins : int
        Most bins of a column, 2 or more; missing values have one beside them.
    smallest_share : float
        Smallest share of a column's filled rows in a bin, in [0, 0.5].
    fewest_rows : int
        Fewest rows in a bin, 1 or more.
    """

    most_bins: int = MOST_BINS
    smallest_share: float = SMALLEST_BIN
    fewest_rows: int = FEWEST_ROWS_IN_BIN


USUAL = Binning()


@dataclass(frozen=True)
class Bins:
    """The bins of one column; the last holds what is missing or was never seen.

    Attributes
    ----------
    feature : int
        Index of the column.
    thresholds : ndarray of float, optional
        Upper ends of a number's bins, all but the last; None for a category.
    goods, bads : ndarray of float, shape (bins,)
        Weight of the training rows per bin without and with a default.
    """

    feature: int
    thresholds: Floats | None
    goods: Floats
    bads: Floats

    @property
    def woe(self) -> Floats:
        """Weight of evidence per bin: ln(share of goods / share of bads).

        It is pulled towards 0 if the bin is small (`PSEUDO_ROWS`).

        Examples
        --------
        >>> goods = np.array([900.0, 100, 0])
        >>> bads = np.array([30.0, 70, 0])
        >>> Bins(0, np.array([1.0]), goods, bads).woe.round(3).tolist()
        [1.079, -1.872, 0.0]
        """
        counts = self.goods + self.bads
        rate = self.bads.sum() / (self.goods.sum() + self.bads.sum())
        pulled_rate = (self.bads + PSEUDO_ROWS * rate) / (counts + PSEUDO_ROWS)
        log_odds: Floats = np.log((1 - pulled_rate) / pulled_rate)
        return log_odds - log((1 - rate) / rate)

    @property
    def iv(self) -> float:
        """Information value: sum of (good share - bad share) * ln(good / bad share).

        The logarithm is of the shares as they are, not of `woe`, which is drawn towards
        0 (Siddiqi 2006). A bin without one of the outcomes counts half a row of it.

        Examples
        --------
        >>> goods = np.array([900.0, 100, 0])
        >>> bads = np.array([30.0, 70, 0])
        >>> round(Bins(0, np.array([1.0]), goods, bads).iv, 3)    # .6 ln 3 + .6 ln 7
        1.827
        """
        has_rows = (self.goods + self.bads) > 0
        goods = np.maximum(self.goods[has_rows], HALF_A_ROW)
        bads = np.maximum(self.bads[has_rows], HALF_A_ROW)
        good_share = goods / self.goods.sum()
        bad_share = bads / self.bads.sum()
        return float(((good_share - bad_share) * np.log(good_share / bad_share)).sum())

    @property
    def shrunk_iv(self) -> float:
        """Information value of the weights of evidence that the scorecard uses.

        Examples
        --------
        >>> goods = np.array([900.0, 100, 0])
        >>> bads = np.array([30.0, 70, 0])
        >>> round(Bins(0, np.array([1.0]), goods, bads).shrunk_iv, 3)
        1.77
        """
        shares = self.goods / self.goods.sum() - self.bads / self.bads.sum()
        return float((shares * self.woe).sum())

    def assign(self, values: Floats) -> Ints:
        """Return the index of the bin each value falls into."""
        last = len(self.goods) - 1
        if self.thresholds is None:
            is_unseen = np.isnan(values) | (values >= last)
            return np.where(is_unseen, last, values).astype(np.int64)
        return _number_bins(values, self.thresholds)


def _number_bins(values: Floats, thresholds: Floats) -> Ints:
    bins = np.searchsorted(thresholds, values, side="left")
    return np.where(np.isnan(values), len(thresholds) + 1, bins).astype(np.int64)


@dataclass(frozen=True)
class Scorecard:
    """A fitted scorecard.

    The log-odds of a default are ``intercept - sum of coefficient * woe``.

    Attributes
    ----------
    bins : tuple of Bins
        The columns it uses.
    coefficients : ndarray of float, shape (len(bins),)
        How much each column's weight of evidence counts; 0 or more.
    intercept : float
        Log-odds of a default of a row without any evidence.
    names : tuple of str
        Names of all encoded columns.
    """

    bins: tuple[Bins, ...]
    coefficients: Floats
    intercept: float
    names: tuple[str, ...]

    def woe(self, rows: Floats) -> Floats:
        """Return the weight of evidence of each used column, shape (n, bins)."""
        return _woe(self.bins, rows)

    def margin(self, rows: Floats) -> Floats:
        """Return the log-odds of a default, shape (n,)."""
        return self.intercept - self.woe(rows) @ self.coefficients

    def text(self) -> str:
        """Return the scorecard as a LightGBM model with one tree per column."""
        trees = []
        for bins, coefficient in zip(self.bins, self.coefficients, strict=True):
            if coefficient:
                trees.append(_tree_text(bins, coefficient))
        n_columns = len(self.names)
        weighted = [(model_text(trees, n_columns), 1.0)] if trees else []
        return blend_texts(weighted, self.intercept, n_columns)

    def points(
        self,
        levels: Sequence[Sequence[str]],
        base_score: float = 600,
        base_odds: float = 50,
        pdo: float = 20,
    ) -> pd.DataFrame:
        """Return the printed scorecard: a row per bin.

        The sum of an applicant's points is the score (Siddiqi 2006)::

            score = base_score + pdo / ln 2 * (ln(odds of good) - ln(base_odds))

        Parameters
        ----------
        levels : sequence of sequence of str
            Category names of each encoded column; empty for numbers.
        base_score : float
            Score of an applicant with odds `base_odds`.
        base_odds : float
            Odds of good, above 0.
        pdo : float
            Points that double the odds.

        Returns
        -------
        DataFrame
            Columns `POINT_COLUMNS`.
        """
        factor = pdo / log(2)
        used = [
            (bins, float(coefficient))
            for bins, coefficient in zip(self.bins, self.coefficients, strict=True)
            if coefficient > 0
        ]
        # The constant part of the score is spread evenly over the columns.
        constant = base_score - factor * (self.intercept + log(base_odds))
        constant_share = constant / max(len(used), 1)
        rows = []
        for bins, coefficient in used:
            points = constant_share + factor * coefficient * bins.woe
            names = bin_names(bins, levels[bins.feature])
            for index, bin_name in enumerate(names):
                figures = _bin_figures(bins, index)
                figures["feature"] = self.names[bins.feature]
                figures["bin"] = bin_name
                figures["points"] = round(float(points[index]))
                rows.append(figures)
        return pd.DataFrame(rows, columns=list(POINT_COLUMNS))


def _tree_text(bins: Bins, coefficient: float) -> str:
    """Return one column of a scorecard as a tree."""
    values = (-coefficient * bins.woe).tolist()
    # LightGBM divides by the counts: no bin may be empty.
    weights = np.rint(bins.goods + bins.bads)
    counts = np.maximum(weights, 1).astype(int).tolist()
    if bins.thresholds is None:
        return category_tree(bins.feature, values, counts)
    return number_tree(bins.feature, bins.thresholds.tolist(), values, counts)


def _bin_figures(bins: Bins, index: int) -> dict[str, object]:
    n_rows = bins.goods[index] + bins.bads[index]
    return {
        "rows": round(float(n_rows)),
        "default_rate": float(bins.bads[index] / n_rows) if n_rows else nan,
        "woe": float(bins.woe[index]),
        "iv": bins.iv,
        "shrunk_iv": bins.shrunk_iv,
    }


def bin_names(bins: Bins, levels: Sequence[str]) -> list[str]:
    """Return a name of each bin: its range, or the name of its category."""
    if bins.thresholds is None:
        n_codes = len(bins.goods) - 1
        unnamed = [str(code) for code in range(len(levels), n_codes)]
        return [*levels[:n_codes], *unnamed, "another"]
    ends = [f"{end:g}" for end in bins.thresholds]
    lower_ends = ["-inf", *ends]
    upper_ends = [*ends, "inf"]
    names = [
        f"{lower} < x <= {upper}"
        for lower, upper in zip(lower_ends, upper_ends, strict=True)
    ]
    return [*names, "missing"]


def fit_scorecard(
    rows: Floats,
    label: Ints,
    columns: Columns,
    weight: Floats | None = None,
    binning: Binning = USUAL,
) -> Scorecard:
    """Fit the bins and the coefficients of a scorecard.

    Parameters
    ----------
    rows : ndarray of float, shape (n, columns)
        Encoded rows.
    label : ndarray of int, shape (n,)
        1 for a default, else 0.
    columns : Columns
        Names of the columns, which are categories, and their directions.
    weight : ndarray of float, shape (n,), optional
        Weight of each row; 1 by default.
    binning : Binning
        How finely numbers are cut.

    Returns
    -------
    Scorecard
        Its coefficients are 0 or more: a column that would have to turn its own
        evidence is left out.

    Notes
    -----
    The bins of a number are the leaves of one LightGBM tree, each with at least 5% of
    the rows, monotone if the column has a direction.
    """
    weights = np.ones(len(label)) if weight is None else weight
    fitted_bins = []
    for index, direction in enumerate(columns.directions):
        is_category = index in columns.categorical
        column = _Column(index, rows[:, index], is_category, direction)
        fitted_bins.append(_fit_bins(column, label, weights, binning))
    # One bin beside the missing values carries no evidence.
    bins = tuple(bins for bins in fitted_bins if len(bins.goods) > 2)
    coefficients, intercept = _fit_coefficients(-_woe(bins, rows), label, weights)
    return Scorecard(bins, coefficients, intercept, tuple(columns.names))


def _woe(bins: Sequence[Bins], rows: Floats) -> Floats:
    if not bins:
        return np.empty((len(rows), 0))
    columns = []
    for column_bins in bins:
        values = rows[:, column_bins.feature]
        columns.append(column_bins.woe[column_bins.assign(values)])
    return np.column_stack(columns)


class _Column(NamedTuple):
    """One encoded column: its place, values, whether it is a category, direction."""

    feature: int
    values: Floats
    is_category: bool
    direction: int


def _fit_bins(
    column: _Column,
    label: Ints,
    weight: Floats,
    binning: Binning,
) -> Bins:
    values = column.values
    thresholds = None
    if column.is_category:
        last = int(np.nanmax(values, initial=-1)) + 1
        bin_index = np.where(np.isnan(values), last, values).astype(np.int64)
    else:
        thresholds = cut_points(values, label, weight, column.direction, binning)
        last = len(thresholds) + 1
        bin_index = _number_bins(values, thresholds)
    goods = np.bincount(bin_index, weight * (1 - label), minlength=last + 1)
    bads = np.bincount(bin_index, weight * label, minlength=last + 1)
    return Bins(
        column.feature,
        thresholds,
        np.asarray(goods, dtype=np.float64),
        np.asarray(bads, dtype=np.float64),
    )


def cut_points(
    values: Floats,
    label: Ints,
    weight: Floats,
    direction: int,
    binning: Binning = USUAL,
) -> Floats:
    """Return the thresholds between the bins of a number: the splits of one tree.

    Parameters
    ----------
    values : ndarray of float, shape (n,)
        The column; NaN if missing.
    label : ndarray of int, shape (n,)
        1 for a default, else 0.
    weight : ndarray of float, shape (n,)
        Weight of each row.
    direction : int
        +1 or -1 if the default rate may only rise or fall from bin to bin, else 0.
    binning : Binning
        How finely the column is cut.

    Returns
    -------
    ndarray of float
        Rising; at most `most_bins` - 1 of them, none if the column is constant.
    """
    is_present = ~np.isnan(values)
    present = values[is_present]
    if _is_constant(present):
        return np.empty(0)
    present_label = label[is_present]
    present_weight = weight[is_present]
    if _are_repeats(present_weight):
        # LightGBM places its cuts by rows: a weight of 2 is written out as two rows.
        repeats = present_weight.astype(np.int64)
        present = np.repeat(present, repeats)
        present_label = np.repeat(present_label, repeats)
        present_weight = np.ones(len(present))
    share_of_rows = int(binning.smallest_share * len(present))
    parameters = {
        "objective": "binary",
        "num_leaves": binning.most_bins,
        "learning_rate": 1.0,
        "min_gain_to_split": 1.0,
        "verbose": -1,
        "min_data_in_leaf": max(binning.fewest_rows, share_of_rows),
        "monotone_constraints": [direction],
        "num_threads": 1,
        "deterministic": True,
        "force_row_wise": True,
        "feature_pre_filter": False,
    }
    dataset = lgb.Dataset(
        present[:, None],
        present_label,
        weight=present_weight,
    )
    tree = lgb.train(parameters, dataset, 1)
    thresholds = ""
    for line in tree.model_to_string().split("\n"):
        if line.startswith("threshold="):
            thresholds = line.removeprefix("threshold=")
            break
    return np.unique(np.array(thresholds.split(), dtype=np.float64))


def _are_repeats(weight: Floats) -> bool:
    """Return whether weights are whole numbers of rows, and not all of them 1."""
    is_whole = bool((weight == np.rint(weight)).all())
    is_one = bool((weight == 1).all())
    return is_whole and not is_one and weight.sum() <= MOST_REPEATED


def _is_constant(values: Floats) -> bool:
    # Most columns differ within their first rows: sorting them all took longer.
    return len(np.unique(values[:1000])) < 2 and len(np.unique(values)) < 2


def _fit_coefficients(
    evidence: Floats,
    label: Ints,
    weight: Floats,
) -> tuple[Floats, float]:
    """Return coefficients of 0 or more and the intercept, by penalised likelihood."""
    n_columns = evidence.shape[1]

    def loss_and_gradient(parameters: Floats) -> tuple[float, Floats]:
        coefficients = parameters[:n_columns]
        margin = evidence @ coefficients + parameters[n_columns]
        error = weight * (sigmoid(margin) - label)
        log_loss = (weight * (np.logaddexp(0, margin) - label * margin)).sum()
        penalty = RIDGE / 2 * (coefficients**2).sum()
        slopes = evidence.T @ error + RIDGE * coefficients
        return float(log_loss + penalty), np.append(slopes, error.sum())

    bad_weight = float(weight @ label)
    base_log_odds = log(bad_weight / (weight.sum() - bad_weight))
    result = minimize(
        loss_and_gradient,
        np.append(np.full(n_columns, 1 / max(n_columns, 1)), base_log_odds),
        jac=True,
        bounds=[(0.0, None)] * n_columns + [(None, None)],
        method="L-BFGS-B",
        options={"maxiter": 500},
    )
    return result.x[:n_columns], float(result.x[n_columns])
