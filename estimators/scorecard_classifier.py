"""`Scorecard`: bins, weights of evidence and points behind scikit-learn's interface."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from sklearn.utils.validation import check_is_fitted

from obligor.arrays import Floats, Ints
from obligor.estimators.binning_table import (
    Scale,
    binning_table,
    plot_bins,
    plot_points,
    points_of_bins,
)
from obligor.estimators.raw_input import (
    ColumnChoices,
    RawRows,
    Table,
    read_columns,
)
from obligor.estimators.table_estimator import TableEstimator
from obligor.features.encoding import fit_encoding
from obligor.model.calibration import Calibration
from obligor.model.pd_model import DAYS_12M, PdModel
from obligor.training.candidates.fit_settings import SCORECARD
from obligor.training.candidates.scorecard import (
    FEWEST_ROWS_IN_BIN,
    MOST_BINS,
    SMALLEST_BIN,
    Binning,
    fit_scorecard,
)
from obligor.training.runs.table_model import training_rows

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SCALE = (600.0, 50.0, 20.0)  # what `Scale` has
BINS_OF_FEW_ROWS = 5  # a small table is still cut into so many


class Scorecard(TableEstimator):
    """A scorecard: bins, weights of evidence, a logistic regression, points.

    The regression cannot turn the sign of a column's evidence; a column that would
    have to is left out (Siddiqi 2006).

    Parameters
    ----------
    columns : mapping, optional
        What is stated about columns by name: ``{"income": {"direction": -1},
        "code": {"type": "category"}, "score": {"special": [-9]}}``. The default rate
        may only rise with a column of direction 1, and only fall with -1.
    max_bins : int
        Most bins of a column of numbers, 2 or more; missing values have one beside
        them.
    min_bin_share : float
        Smallest share of a column's filled rows in a bin, in [0, 0.5].
    min_bin_rows : int
        Fewest rows in a bin, 1 or more; fewer in a table of fewer than five times as
        many rows, of which a warning says so.
    scale : tuple of float
        Score at the base odds, these odds of good, and the points that double them.

    Attributes
    ----------
    scorecard_ : DataFrame
        The printed scorecard: a row per bin of each column in use.
    binning_table_ : DataFrame
        Every bin of every column: counts, default rate, weight of evidence, IV and
        points, with a row of totals for each column.
    calibration_ : Calibration
        The identity: the log-odds of the regression are those of the PD.

    Notes
    -----
    `groups` and `dates` of `fit` are checked and not used: nothing is cut into folds.

    Examples
    --------
    >>> table = pd.DataFrame({"income": [9.0, 1, 8, 2] * 50})
    >>> card = Scorecard().fit(table, [0, 1] * 100)
    >>> card.binning_table_[["bin", "count", "event_rate", "points"]]
                 bin  count  event_rate  points
    0  -inf < x <= 5    100         1.0     321
    1   5 < x <= inf    100         0.0     654
    2        missing      0         NaN     487
    3         totals    200         0.5    <NA>
    >>> card.points(table.head(2)).tolist()
    [654, 321]
    """

    def __init__(
        self,
        columns: ColumnChoices | None = None,
        max_bins: int = MOST_BINS,
        min_bin_share: float = SMALLEST_BIN,
        min_bin_rows: int = FEWEST_ROWS_IN_BIN,
        scale: tuple[float, float, float] = SCALE,
    ) -> None:
        self.columns = columns
        self.max_bins = max_bins
        self.min_bin_share = min_bin_share
        self.min_bin_rows = min_bin_rows
        self.scale = scale

    def _fit_rows(self, raw: RawRows) -> None:
        encoding, findings = fit_encoding(raw.data.frame, raw.data.spec)
        rows = training_rows(raw.data, encoding)
        self.findings_ = tuple(findings)
        self.encoding_ = encoding
        self.fitted_ = fit_scorecard(
            rows.rows,
            rows.label,
            rows.columns,
            raw.weight,
            self._binning(_n_rows(raw.weight)),
        )
        scale = Scale(*self.scale)
        level_texts = encoding.level_texts()
        self.scorecard_ = self.fitted_.points(level_texts, *scale)
        self.binning_table_ = binning_table(self.fitted_, level_texts, scale)
        self.model_ = PdModel(
            text=self.fitted_.text(),
            calibration=Calibration("identity"),
            features=encoding.names,
            horizon_days=DAYS_12M,
            about={"chosen": SCORECARD},
            encoding=encoding,
        )

    def _binning(self, n_rows: int) -> Binning:
        fewest = min(self.min_bin_rows, max(1, n_rows // BINS_OF_FEW_ROWS))
        if fewest < self.min_bin_rows:
            warnings.warn(
                f"The table has only {n_rows} rows: a bin may hold {fewest} of them "
                f"rather than {self.min_bin_rows}.",
                stacklevel=5,
            )
        return Binning(self.max_bins, self.min_bin_share, fewest)

    def points(self, X: Table) -> Ints:
        """Return the score of each row, shape (n,): the sum of its printed points."""
        check_is_fitted(self)
        rows = self.encoding_.rows(read_columns(self, X, reset=False))
        score = np.zeros(len(rows), dtype=np.int64)
        for bins, points in points_of_bins(self.fitted_, Scale(*self.scale)):
            score += points[bins.assign(rows[:, bins.feature])]
        return score

    def plot(self, feature: str) -> Figure:
        """Return a picture of one column's bins: counts, default rate and evidence.

        Raises
        ------
        ValueError
            If the scorecard has no bins of such a column.
        """
        return plot_bins(self._table_of(feature), feature)

    def plot_points(self, feature: str) -> Figure:
        """Return a picture of the points of one column's bins.

        Raises
        ------
        ValueError
            If the scorecard has no bins of such a column.
        """
        return plot_points(self._table_of(feature), feature)

    def _table_of(self, feature: str) -> pd.DataFrame:
        check_is_fitted(self)
        table = self.binning_table_
        names = table["feature"].unique().tolist()
        if feature not in names:
            raise ValueError(f"{feature!r} has no bins; expected one of {names}.")
        return table[table["feature"] == feature]


def _n_rows(weight: Floats) -> int:
    """Return how many rows weights stand for: a weight of 2 is two rows."""
    is_whole = np.array_equal(weight, np.rint(weight))
    return int(weight.sum()) if is_whole else len(weight)
