"""What the estimators on a raw table share: one fitted model and its encoding."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted

from obligor.arrays import Floats
from obligor.errors import SchemaError
from obligor.estimators.explanation import explain_frame
from obligor.estimators.raw_input import (
    Beside,
    ColumnChoices,
    RawRows,
    Table,
    read_columns,
    read_training_rows,
    warn_of,
)
from obligor.features.encoding import Encoding
from obligor.model.calibration import Calibration
from obligor.model.pd_model import PdModel

if TYPE_CHECKING:
    import shap


class TableEstimator(ClassifierMixin, BaseEstimator, ABC):
    """What estimators on a raw table share: one fitted model and its encoding.

    Attributes
    ----------
    model_ : PdModel
        The fitted model, as it is registered and served.
    encoding_ : Encoding
        How a row of the table becomes numbers.
    classes_ : ndarray, shape (2,)
        The two values of the target, sorted.
    default_class_ : object
        The one that is a default; its column of `predict_proba` is the PD.
    findings_ : tuple of str
        Columns that are not used, and why.
    """

    columns: ColumnChoices | None
    model_: PdModel
    encoding_: Encoding
    classes_: NDArray[np.generic]
    default_class_: object
    findings_: tuple[str, ...]

    def fit(
        self,
        X: Table,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        groups: ArrayLike | None = None,
        dates: ArrayLike | None = None,
    ) -> Self:
        """Learn from raw rows.

        Parameters
        ----------
        X : DataFrame or array-like, shape (n, columns)
            Raw columns; NaN or None if missing.
        y : array-like, shape (n,)
            Two classes. A word for a default ("bad", "default", "charged off", ...)
            is the default, else the greater value.
        sample_weight : array-like of float, shape (n,), optional
            Weight of each row; rows of weight 0 are left out.
        groups : array-like, shape (n,), optional
            Rows with equal values are never on both sides of a fold.
        dates : array-like of dates, shape (n,), optional
            The day of each row; calibrations are compared on the later rows.

        Returns
        -------
        Self
            The fitted estimator.

        Raises
        ------
        ValueError
            If the rows cannot be learnt from; the message says why.
        """
        beside = Beside(sample_weight, groups, dates)
        raw = read_training_rows(self, X, y, beside, self.columns)
        try:
            self._fit_rows(raw)
        except SchemaError as error:
            raise ValueError(str(error)) from error
        self.classes_ = raw.classes
        self.default_class_ = raw.default_class
        warn_of(self.findings_)
        return self

    @abstractmethod
    def _fit_rows(self, raw: RawRows) -> None:
        """Set `model_`, `encoding_`, `findings_` and what else was learnt."""

    def predict_proba(self, X: Table) -> Floats:
        """Return P(class) of each row, shape (n, 2), in the order of `classes_`."""
        pd_ = self.predict_pd(X)
        if self.default_class_ == self.classes_[0]:
            return np.column_stack([pd_, 1 - pd_])
        return np.column_stack([1 - pd_, pd_])

    def predict_pd(self, X: Table) -> Floats:
        """Return the PD of each row, shape (n,), in (0, 1)."""
        check_is_fitted(self)
        frame = read_columns(self, X, reset=False)
        return self.model_.predict_pd(self.encoding_.rows(frame))

    def predict(self, X: Table) -> NDArray[np.generic]:
        """Return the more probable class of each row, shape (n,)."""
        probability = self.predict_proba(X)
        return self.classes_[probability.argmax(axis=1)]

    def explain(self, X: Table) -> shap.Explanation:
        """Return exact contributions to the log-odds, a column of X each.

        Returns
        -------
        shap.Explanation
            For every plot of shap; base value plus values is the margin, which
            `calibration_` turns into the PD.
        """
        check_is_fitted(self)
        frame = read_columns(self, X, reset=False)
        return explain_frame(self.model_, self.encoding_, frame)

    @property
    def calibration_(self) -> Calibration:
        """The map from margin to PD."""
        check_is_fitted(self, "model_")
        return self.model_.calibration

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.string = True
        tags.input_tags.categorical = True
        tags.classifier_tags.multi_class = False
        return tags

    def __getstate__(self) -> dict[str, object]:
        state: dict[str, object] = super().__getstate__()
        if "model_" in state:
            # Without what is compiled from the text: it is made again when needed.
            state["model_"] = replace(self.model_)
        return state
