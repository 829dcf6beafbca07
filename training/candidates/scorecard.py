"""The scorecard: weight-of-evidence bins, a logistic regression that cannot turn a sign, points (Siddiqi 2006)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log

import lightgbm as lgb
import numpy as np
import pandas as pd
from scipy.optimize import minimize

from obligor.arrays import Floats, Ints
from obligor.model.calibration import sigmoid
from obligor.training.candidates.lightgbm_text import (
    blended,
    category_tree,
    number_tree,
    written,
)

MOST_BINS, SMALLEST_BIN = 6, 0.05
PSEUDO_ROWS = 10.0  # a bin's rate is drawn towards the base rate by so many rows: no bin has an infinite weight
RIDGE = 1.0  # on the coefficients; a full weight of evidence has coefficient 1


@dataclass(frozen=True)
class Bins:
    """One column's bins; the last is what is missing or was never seen.

    Attributes
    ----------
    feature : int
        The column.
    thresholds : array of float, optional
        Upper ends of the bins of a number, all but the last; None where the column is codes.
    goods, bads : array of float
        Training rows per bin, by their weight.
    """

    feature: int
    thresholds: Floats | None
    goods: Floats
    bads: Floats

    @property
    def woe(self) -> Floats:
        """ln(share of goods / share of bads) per bin, drawn towards 0 where a bin is small.

        Examples
        --------
        >>> Bins(0, np.array([1.0]), np.array([900.0, 100, 0]), np.array([30.0, 70, 0])).woe.round(3).tolist()
        [1.079, -1.872, 0.0]
        """
        rate = self.bads.sum() / (self.goods.sum() + self.bads.sum())
        drawn = (self.bads + PSEUDO_ROWS * rate) / (
            self.goods + self.bads + PSEUDO_ROWS
        )
        woe: Floats = np.log((1 - drawn) / drawn) - log((1 - rate) / rate)
        return woe

    @property
    def iv(self) -> float:
        """The information value: sum of (share of goods - share of bads) * ln(their ratio) over the bins."""
        shares = self.goods / self.goods.sum() - self.bads / self.bads.sum()
        return float((shares * self.woe).sum())

    def place(self, column: Floats) -> Ints:
        """Return the bin of each value."""
        last = len(self.goods) - 1
        if self.thresholds is None:
            codes = np.where(np.isnan(column) | (column >= last), last, column)
            return codes.astype(np.int64)
        found = np.searchsorted(self.thresholds, column, side="left")
        return np.where(np.isnan(column), last, found).astype(np.int64)


@dataclass(frozen=True)
class Scorecard:
    """Bins, and how much each column's weight of evidence counts.

    `margin` is the log-odds of a default: intercept - sum of coefficient x WoE.
    """

    bins: tuple[Bins, ...]
    coefficients: Floats
    intercept: float
    names: tuple[str, ...]

    def woe(self, rows: Floats) -> Floats:
        """Return the weight of evidence of each column, shape (n, columns of the scorecard)."""
        return _woe(self.bins, rows)

    def margin(self, rows: Floats) -> Floats:
        """Return the log-odds of a default, shape (n,)."""
        return self.intercept - self.woe(rows) @ self.coefficients

    def text(self) -> str:
        """Return the scorecard as a LightGBM model: a tree per column, so that it is served and explained like any."""
        trees = []
        for bins, coefficient in zip(self.bins, self.coefficients, strict=True):
            values = (-coefficient * bins.woe).tolist()
            counts = (
                np.maximum(np.rint(bins.goods + bins.bads), 1).astype(int).tolist()
            )  # LightGBM divides by them
            if not coefficient:
                continue
            if bins.thresholds is None:
                trees.append(category_tree(bins.feature, values, counts))
            else:
                thresholds = bins.thresholds.tolist()
                trees.append(number_tree(bins.feature, thresholds, values, counts))
        return blended(
            [(written(trees, self.names), 1.0)] if trees else [],
            self.intercept,
            self.names,
        )

    def points(
        self,
        labels: Sequence[Sequence[str]],
        base_score: float = 600,
        base_odds: float = 50,
        pdo: float = 20,
    ) -> pd.DataFrame:
        """Return the printed scorecard: a row per bin with counts, default rate, WoE and points.

        ``score = base_score + pdo / ln 2 * (ln(odds of good) - ln(base_odds))``; the sum of an applicant's points.

        Parameters
        ----------
        labels : sequence of sequence of str
            The levels of each encoded column that is codes, empty for numbers.
        """
        factor = pdo / log(2)
        used = [
            pair
            for pair in zip(self.bins, self.coefficients, strict=True)
            if pair[1] > 0
        ]
        share = (base_score - factor * (self.intercept + log(base_odds))) / max(
            len(used), 1
        )
        rows = []
        for bins, coefficient in used:
            for place, name in enumerate(_bin_names(bins, labels[bins.feature])):
                n = bins.goods[place] + bins.bads[place]
                rows.append(
                    {
                        "feature": self.names[bins.feature],
                        "bin": name,
                        "rows": round(float(n)),
                        "default_rate": float(bins.bads[place] / n)
                        if n
                        else float("nan"),
                        "woe": float(bins.woe[place]),
                        "iv": bins.iv,
                        "points": round(
                            share + factor * coefficient * float(bins.woe[place])
                        ),
                    }
                )
        return pd.DataFrame(
            rows,
            columns=["feature", "bin", "rows", "default_rate", "woe", "iv", "points"],
        )


def fit_scorecard(
    rows: Floats,
    label: Ints,
    names: Sequence[str],
    categorical: Sequence[int],
    directions: Sequence[int],
    weight: Floats | None = None,
) -> Scorecard:
    """Fit bins and coefficients.

    Parameters
    ----------
    rows : array, shape (n, columns)
        Encoded; codes from 0 in the categorical columns.
    directions : sequence of int
        +1 or -1 where more of a column may only raise or lower the risk, 0 elsewhere.
    weight : array, shape (n,), optional
        What each row counts.

    Notes
    -----
    The bins of a number are the leaves of one tree of LightGBM's, each with 5% of the rows at least, monotone where
    a direction is said. Coefficients are not negative: a column that would have to turn its own evidence is left out.
    """
    counts = np.ones(len(label)) if weight is None else weight
    found = [
        _bins_of(rows[:, n], label, counts, n, n in set(categorical), directions[n])
        for n in range(rows.shape[1])
    ]
    bins = tuple(
        one for one in found if len(one.goods) > 2
    )  # one bin and the missing say nothing
    evidence = -_woe(bins, rows)
    coefficients, intercept = _logistic(evidence, label, counts)
    return Scorecard(bins, coefficients, intercept, tuple(names))


def _woe(bins: Sequence[Bins], rows: Floats) -> Floats:
    columns = [one.woe[one.place(rows[:, one.feature])] for one in bins]
    return np.column_stack(columns) if columns else np.empty((len(rows), 0))


def _bins_of(
    column: Floats,
    label: Ints,
    weight: Floats,
    feature: int,
    is_codes: bool,
    direction: int,
) -> Bins:
    if is_codes:
        thresholds, last = None, int(np.nanmax(column, initial=-1)) + 1
        place = np.where(np.isnan(column), last, column).astype(np.int64)
    else:
        thresholds = _thresholds(column, label, weight, direction)
        last = len(thresholds) + 1
        place = np.where(
            np.isnan(column), last, np.searchsorted(thresholds, column, side="left")
        ).astype(np.int64)
    goods, bads = (
        np.bincount(place, part, minlength=last + 1)
        for part in (weight * (1 - label), weight * label)
    )
    return Bins(
        feature,
        thresholds,
        np.asarray(goods, dtype=np.float64),
        np.asarray(bads, dtype=np.float64),
    )


def _thresholds(column: Floats, label: Ints, weight: Floats, direction: int) -> Floats:
    is_there = ~np.isnan(column)
    if (
        len(np.unique(column[is_there][:1000])) < 2
        and len(np.unique(column[is_there])) < 2
    ):
        return np.empty(0)
    parameters = {
        "objective": "binary",
        "num_leaves": MOST_BINS,
        "learning_rate": 1.0,
        "min_gain_to_split": 1.0,
        "verbose": -1,
        "min_data_in_leaf": max(20, int(SMALLEST_BIN * is_there.sum())),
        "monotone_constraints": [direction],
        "num_threads": 1,
        "deterministic": True,
        "force_row_wise": True,
        "feature_pre_filter": False,
    }
    tree = lgb.train(
        parameters,
        lgb.Dataset(column[is_there, None], label[is_there], weight=weight[is_there]),
        1,
    )
    line = next(
        (
            line
            for line in tree.model_to_string().split("\n")
            if line.startswith("threshold=")
        ),
        "threshold=",
    )
    return np.unique(np.array(line.partition("=")[2].split(), dtype=np.float64))


def _logistic(evidence: Floats, label: Ints, weight: Floats) -> tuple[Floats, float]:
    """Coefficients that are not negative, and the intercept, by penalised likelihood."""
    n = evidence.shape[1]

    def loss(w: Floats) -> tuple[float, Floats]:
        margin = evidence @ w[:n] + w[n]
        error = weight * (sigmoid(margin) - label)
        value = (
            weight * (np.logaddexp(0, margin) - label * margin)
        ).sum() + RIDGE / 2 * (w[:n] ** 2).sum()
        return float(value), np.append(evidence.T @ error + RIDGE * w[:n], error.sum())

    bad = float(weight @ label)
    start = np.append(np.full(n, 1 / max(n, 1)), log(bad / (weight.sum() - bad)))
    bounds = [(0.0, None)] * n + [(None, None)]
    found = minimize(
        loss,
        start,
        jac=True,
        bounds=bounds,
        method="L-BFGS-B",
        options={"maxiter": 500},
    )
    return found.x[:n], float(found.x[n])


def _bin_names(bins: Bins, levels: Sequence[str]) -> list[str]:
    if bins.thresholds is None:
        return [
            *(
                levels[n] if n < len(levels) else str(n)
                for n in range(len(bins.goods) - 1)
            ),
            "another",
        ]
    ends = [f"{end:g}" for end in bins.thresholds]
    pairs = zip(["", *ends], [*ends, ""], strict=True)
    return [
        *(f"{low or '-inf'} < x <= {high or 'inf'}" for low, high in pairs),
        "missing",
    ]
