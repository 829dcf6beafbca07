"""`PdClassifier`: the candidates of a table behind scikit-learn's interface."""

from __future__ import annotations

import warnings
from dataclasses import replace

import lightgbm as lgb

from obligor.estimators.raw_input import ColumnChoices, RawRows
from obligor.estimators.table_estimator import TableEstimator
from obligor.features.encoding import Encoding, fit_encoding
from obligor.model.calibration import Calibration
from obligor.model.pd_model import DAYS_12M, PdModel
from obligor.training.candidates.candidates import fit_candidates
from obligor.training.candidates.fit_settings import (
    BLEND,
    LIGHTGBM,
    MEMBERS,
    MOST_TREES,
    RATIOS,
    SCORECARD,
    FitSettings,
    cores,
)
from obligor.training.candidates.scorecard import fit_scorecard
from obligor.training.candidates.training_rows import (
    FEWEST_OF_A_KIND,
    TrainingRows,
    fewer_outcomes,
)
from obligor.training.runs.table_model import TableModel, training_rows

# Checks of scikit-learn's `check_estimator` that `PdClassifier` does not pass, and why.
EXPECTED_FAILED_CHECKS = {
    "check_sample_weight_equivalence_on_dense_data": (
        "a row of weight 2 is not the same as two rows: LightGBM counts the rows of a "
        "leaf, and copies of a row would be on both sides of a fold"
    ),
}
AUTO = "auto"
CANDIDATES = (AUTO, SCORECARD, *MEMBERS, RATIOS, BLEND)
# Too few rows for folds: one small LightGBM.
FEW = {
    "objective": "binary",
    "num_leaves": 3,
    "learning_rate": 0.1,
    "min_data_in_leaf": 2,
    "min_data_in_bin": 1,
    "min_sum_hessian_in_leaf": 0.0,
    "verbose": -1,
    "num_threads": 1,
    "deterministic": True,
    "force_row_wise": True,
}
TREES_OF_FEW = 50


class PdClassifier(TableEstimator):
    """Obligor's candidates on a table: scorecard, boosted trees, their blend.

    The candidates are fitted and calibrated on folds of the training rows, and one is
    chosen, as by `obligor train --table`. Tables may hold numbers, texts, categories,
    truth values and missing values; nothing needs to be encoded.

    Parameters
    ----------
    candidate : str
        ``auto`` tries all and chooses; otherwise the candidate to use: ``scorecard``,
        ``lightgbm``, ``ratios``, ``blend``, ...
    columns : mapping, optional
        What is stated about columns by name: ``{"income": {"direction": -1},
        "code": {"type": "category"}, "score": {"special": [-9]}}``.
    max_trees : int
        Upper bound on the trees that early stopping chooses, 1 or more.
    n_folds : int, optional
        Folds of the training rows, 2 or more; by default 5, or 3 of many rows.
    random_state : int
        Seed of folds and fits.

    Attributes
    ----------
    scorecard_ : DataFrame
        The printed scorecard that was fitted beside the others: a row per bin.
    calibration_ : Calibration
        The map from margin to PD.
    candidate_ : str
        Name of the candidate in use.
    findings_ : tuple of str
        Columns that are not used, and why.

    Notes
    -----
    With fewer than 20 rows of either class no folds can be cut: one small LightGBM is
    fitted without calibration, and a warning says so.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> table = pd.DataFrame({"income": [9.0, 1, 8, 2] * 20, "town": ["a", "b"] * 40})
    >>> outcome = np.tile(["good", "bad"], 40)
    >>> model = PdClassifier(candidate="scorecard", max_trees=5).fit(table, outcome)
    >>> model.predict(table.head(2)).tolist(), model.default_class_
    (['good', 'bad'], 'bad')
    """

    def __init__(
        self,
        candidate: str = AUTO,
        columns: ColumnChoices | None = None,
        max_trees: int = MOST_TREES,
        n_folds: int | None = None,
        random_state: int = 7,
    ) -> None:
        self.candidate = candidate
        self.columns = columns
        self.max_trees = max_trees
        self.n_folds = n_folds
        self.random_state = random_state

    def _fit_rows(self, raw: RawRows) -> None:
        if self.candidate not in CANDIDATES:
            raise ValueError(
                f"candidate is {self.candidate!r}; expected one of {CANDIDATES}."
            )
        encoding, findings = fit_encoding(raw.data.frame, raw.data.spec)
        rows = training_rows(raw.data, encoding)
        rows = replace(rows, weight=raw.weight)
        self.findings_ = tuple(findings)
        if fewer_outcomes(rows.label) < FEWEST_OF_A_KIND:
            self._fit_few(rows, encoding)
            return
        settings = self._fit_settings()
        fitted = TableModel(
            encoding=encoding,
            candidates=fit_candidates(rows, settings),
            spec=raw.data.spec,
            findings=self.findings_,
        )
        is_chosen = self.candidate == AUTO
        chosen_name = fitted.candidates.chosen_name
        self.candidate_ = chosen_name if is_chosen else self.candidate
        self.encoding_ = fitted.encoding_of(self.candidate_)
        self.model_ = fitted.model(self.candidate_)
        self.scorecard_ = fitted.points()

    def _fit_settings(self) -> FitSettings:
        is_single = self.candidate in (SCORECARD, LIGHTGBM)
        members = {LIGHTGBM: MEMBERS[LIGHTGBM]} if is_single else MEMBERS
        return FitSettings(
            seed=self.random_state,
            threads=cores(),
            n_folds=self.n_folds,
            most_trees=self.max_trees,
            members=members,
            has_ratios=not is_single,
        )

    def _fit_few(self, rows: TrainingRows, encoding: Encoding) -> None:
        """Fit one small LightGBM without folds, and warn."""
        warnings.warn(
            f"The rarer class occurs in only {fewer_outcomes(rows.label)} rows; with "
            f"fewer than {FEWEST_OF_A_KIND} no folds can be cut: one small LightGBM is "
            "fitted, and its probabilities are not calibrated.",
            stacklevel=4,
        )
        weight = rows.weights_of(rows.all_indices)
        dataset = lgb.Dataset(
            rows.rows,
            rows.label,
            weight=weight,
            categorical_feature=list(encoding.categorical),
            params={"verbose": -1},
        )
        booster = lgb.train(
            {**FEW, "monotone_constraints": list(encoding.directions)},
            dataset,
            min(self.max_trees, TREES_OF_FEW),
        )
        scorecard = fit_scorecard(rows.rows, rows.label, rows.columns, weight)
        self.candidate_ = LIGHTGBM
        self.encoding_ = encoding
        self.scorecard_ = scorecard.points(encoding.level_texts())
        self.model_ = PdModel(
            text=booster.model_to_string(),
            calibration=Calibration("identity"),
            features=encoding.names,
            horizon_days=DAYS_12M,
            about={"chosen": LIGHTGBM},
            encoding=encoding,
        )
