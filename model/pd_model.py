"""The PD model: a sum of trees with its calibration, as it scores and explains."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from obligor.arrays import Floats
from obligor.features.encoding import Encoding
from obligor.features.kernel import MaterialAmount
from obligor.model.baseline import Baseline
from obligor.model.calibration import Band, Calibration
from obligor.model.linear import LinearModel, is_linear
from obligor.model.term_structure import TermStructure
from obligor.model.treeshap.explainer import TreeShap

DAYS_12M = 365
DAYS_6M = 182
DAYS_3M = 91


class HorizonPds(NamedTuple):
    """PDs of some rows within three horizons.

    Attributes
    ----------
    pd_12m, pd_3m, pd_6m : ndarray of float, shape (n,)
        P(default within 12, 3 and 6 months).
    interval_12m : tuple of ndarray of float, shape (n,)
        Ends of the 95% interval of `pd_12m`.
    """

    pd_12m: Floats
    pd_3m: Floats
    pd_6m: Floats
    interval_12m: tuple[Floats, Floats]


@dataclass(frozen=True)
class PdModel:
    """A fitted model.

    Attributes
    ----------
    text : str
        LightGBM's model text, or that of a `LinearModel`; gives the margin (log-odds
        before calibration).
    calibration : Calibration
        From margin to PD over `horizon_days`.
    features : tuple of str
        Column names, in the order of every input row.
    horizon_days : int
        Length of the horizon the PD is for.
    about : dict
        Facts stored with the model: default definition, training dates, figures.
    baseline : Baseline, optional
        Whom reasons compare a customer with; SHAP's own base if absent.
    encoding : Encoding, optional
        How a row of a table of applications becomes numbers; None if the features
        are the catalogue's.
    band : Band, optional
        How certain the PD is at each margin.
    term : TermStructure, optional
        When within the horizon a default occurs; a constant hazard if absent.
    """

    text: str
    calibration: Calibration
    features: tuple[str, ...]
    horizon_days: int
    about: dict[str, Any]
    baseline: Baseline | None = None
    encoding: Encoding | None = None
    band: Band | None = None
    term: TermStructure | None = None

    @cached_property
    def reference(self) -> Baseline:
        """The baseline that reasons are given against."""
        return self.baseline or Baseline.of_shap(len(self.features))

    @cached_property
    def material(self) -> MaterialAmount | None:
        """From what amount on ``dpd_days`` counts a debt; None in the first edition."""
        stated = self.about.get("material")
        return None if stated is None else MaterialAmount(**stated)

    def own_columns(self, rows: Floats) -> Floats:
        """Return the model's columns of rows of every feature of the catalogue.

        Parameters
        ----------
        rows : ndarray of float, shape (n, features of the current edition)
            What `features.build` returns for the model's `material`.

        Returns
        -------
        ndarray of float, shape (n, features of the model)
            An earlier edition has the first columns of a later one.
        """
        n_features = len(self.features)
        if rows.shape[1] == n_features:
            return rows
        return np.ascontiguousarray(rows[:, :n_features])

    @cached_property
    def explainer(self) -> TreeShap | LinearModel:
        """The engine that computes margins and contributions.

        Raises
        ------
        ModelError
            If the model has several outputs, or linear models in its leaves.
        """
        if is_linear(self.text):
            return LinearModel.of_text(self.text)
        return TreeShap(self.text)

    @property
    def base(self) -> float:
        """The mean margin over the training rows, to which contributions are added."""
        return self.explainer.expected_value

    def margin(self, rows: Floats) -> Floats:
        """Return the margin of each row, shape (n,): the log-odds before calibration.

        Raises
        ------
        ModelError
            If the rows do not have `features` as columns.
        """
        return self.explainer.margin(rows)

    def explain(self, rows: Floats) -> tuple[Floats, Floats]:
        """Return exact contributions, shape (n, features), and margins, shape (n,).

        `base` plus the contributions of a row is its margin.

        Raises
        ------
        ModelError
            If the rows do not have `features` as columns.
        """
        return self.explainer.explain(rows)

    def predict_pd(self, rows: Floats) -> Floats:
        """Return P(default within `horizon_days`) of each row, shape (n,)."""
        return self.calibration(self.margin(rows))

    def predict_pd_12m(self, rows: Floats) -> Floats:
        """Return the PD of each row over 12 months, shape (n,), in (0, 1).

        Another horizon is converted at a constant hazard:
        ``pd_12m = 1 - (1 - pd) ** (365 / horizon_days)``.
        """
        return self.pd_12m(self.margin(rows))

    def pd_12m(self, margin: Floats) -> Floats:
        """Return the PD over 12 months at each margin, shape (n,)."""
        return self._to_12m(self.calibration(margin))

    def pd_within(
        self,
        margin: Floats,
        days: int,
        rows: Floats | None = None,
    ) -> Floats:
        """Return the PD within some days; at the horizon it is the calibrated PD.

        Parameters
        ----------
        margin : ndarray of float, shape (n,)
            Log-odds before calibration.
        days : int
            Days from the as-of date, 0 or more; the PD rises with them.
        rows : ndarray of float, shape (n, features), optional
            The rows that have the margins; without them the PD cannot follow the
            state of each customer, such as the days it is past due.
        """
        pd_ = self.calibration(margin)
        return self._within(pd_, margin, days, self._state_of(rows))

    def interval_12m(self, margin: Floats) -> tuple[Floats, Floats]:
        """Return the ends of the 95% interval of the PD over 12 months; see `Band`."""
        return self._interval_12m(self.calibration(margin), margin)

    def pds(self, margin: Floats, rows: Floats | None = None) -> HorizonPds:
        """Return the PDs within 12, 3 and 6 months from a single calibration.

        Parameters
        ----------
        margin : ndarray of float, shape (n,)
            Log-odds before calibration.
        rows : ndarray of float, shape (n, features), optional
            The rows that have the margins; see `pd_within`.
        """
        pd_ = self.calibration(margin)
        state = self._state_of(rows)
        return HorizonPds(
            pd_12m=self._to_12m(pd_),
            pd_3m=self._within(pd_, margin, DAYS_3M, state),
            pd_6m=self._within(pd_, margin, DAYS_6M, state),
            interval_12m=self._interval_12m(pd_, margin),
        )

    def _state_of(self, rows: Floats | None) -> Floats | None:
        """Return the values of the feature that the term structure reads."""
        if rows is None or self.term is None or self.term.state is None:
            return None
        return rows[:, self.features.index(self.term.state.feature)]

    def _within(
        self,
        pd_: Floats,
        margin: Floats,
        days: int,
        state: Floats | None,
    ) -> Floats:
        if self.term is None:
            return _compound(pd_, days / self.horizon_days)
        return _compound(pd_, self.term.share(margin, days, state))

    def _interval_12m(self, pd_: Floats, margin: Floats) -> tuple[Floats, Floats]:
        if self.band is None:
            pd_12m = self._to_12m(pd_)
            return pd_12m, pd_12m
        low, high = self.band(margin, pd_)
        return self._to_12m(low), self._to_12m(high)

    def _to_12m(self, pd_: Floats) -> Floats:
        if self.horizon_days == DAYS_12M:
            return pd_
        return 1 - (1 - pd_) ** (DAYS_12M / self.horizon_days)


def _compound(pd_: Floats, share: Floats | float) -> Floats:
    """Return ``1 - (1 - pd) ** share`` without loss of digits if the PD is small.

    Examples
    --------
    >>> _compound(np.array([0.19]), 0.5).round(6).tolist()
    [0.1]
    """
    log_survival = share * np.log1p(-pd_)
    return np.asarray(-np.expm1(log_survival))
