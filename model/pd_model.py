"""The PD model: a LightGBM booster with a calibration, kept as a bundle that needs no unpickling."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import lightgbm as lgb
import numpy as np

from obligor.arrays import Floats
from obligor.errors import ModelError
from obligor.features.encoding import Encoding
from obligor.model.baseline import Baseline
from obligor.model.calibration import Band, Calibration
from obligor.model.term_structure import TermStructure
from obligor.model.treeshap.explainer import TreeShap
from obligor.model.treeshap.lightgbm_fallback import LightGbmShap

log = logging.getLogger("obligor")


@dataclass(frozen=True)
class PdModel:
    """A fitted model.

    Attributes
    ----------
    text : str
        LightGBM's model as text; gives the margin (log-odds before calibration).
    calibration : Calibration
        From margin to PD over `horizon_days`.
    features : tuple of str
        Column names, in the order of every input row.
    horizon_days : int
        The window the PD speaks of.
    about : dict
        Facts kept with the model: default definition, training dates, figures.
    baseline : Baseline, optional
        Who reasons compare a customer with; SHAP's own base where absent.
    encoding : Encoding, optional
        How a row of a table of applications becomes numbers; None where the features are the catalogue's.
    band : Band, optional
        How sure the PD is at each margin.
    term : TermStructure, optional
        When within the horizon a default comes; a constant hazard where absent.
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
        return self.baseline or Baseline.none(len(self.features))

    @cached_property
    def explainer(self) -> TreeShap | LightGbmShap:
        """What gives margins and contributions: our engine, or LightGBM where it cannot take the model."""
        try:
            return TreeShap(self.text)
        except ModelError as reason:
            log.warning(
                "LightGBM explains this model itself, some 60 times slower: %s", reason
            )
            return LightGbmShap(self.booster)

    @cached_property
    def booster(self) -> lgb.Booster:
        """LightGBM's own form of the model; scoring does without (its import takes seconds)."""
        import lightgbm as lgb

        return lgb.Booster(model_str=self.text)

    def margin(self, rows: Floats) -> Floats:
        """Return the margin of each row, shape (n,)."""
        return self.explainer.margin(rows)

    def predict_pd(self, rows: Floats) -> Floats:
        """Return P(default within `horizon_days`) of each row, shape (n,), in (0, 1)."""
        return self.calibration(self.margin(rows))

    def predict_pd_12m(self, rows: Floats) -> Floats:
        """Return the PD over 12 months; another horizon is converted at a constant hazard.

        ``pd_12m = 1 - (1 - pd) ** (365 / horizon_days)``.
        """
        return self.pd_12m(self.margin(rows))

    def pd_12m(self, margin: Floats) -> Floats:
        """Return what `predict_pd_12m` does, from margins that are there already."""
        return self._year(self.calibration(margin))

    def pd_within(self, margin: Floats, days: int) -> Floats:
        """Return the PD within some days; it rises with them, and is the calibrated PD at the horizon."""
        return self._within(self.calibration(margin), margin, days)

    def interval_12m(self, margin: Floats) -> tuple[Floats, Floats]:
        """Return low and high of the 95% interval of the PD over 12 months; see `Band` for what it covers."""
        return self._interval(self.calibration(margin), margin)

    def pds(
        self, margin: Floats
    ) -> tuple[Floats, Floats, Floats, tuple[Floats, Floats]]:
        """Return the PD over 12, 3 and 6 months and the interval of the first, from one calibration of the margins."""
        pd_ = self.calibration(margin)
        sooner = (self._within(pd_, margin, days) for days in (91, 182))
        return self._year(pd_), *sooner, self._interval(pd_, margin)  # type: ignore[return-value]

    def _within(self, pd_: Floats, margin: Floats, days: int) -> Floats:
        share = (
            days / self.horizon_days
            if self.term is None
            else self.term.share(margin, days)
        )
        return _compounded(pd_, share)

    def _interval(self, pd_: Floats, margin: Floats) -> tuple[Floats, Floats]:
        low, high = self.band(margin, pd_) if self.band else (pd_, pd_)
        return self._year(low), self._year(high)

    def _year(self, pd_: Floats) -> Floats:
        return (
            pd_
            if self.horizon_days == 365
            else 1 - (1 - pd_) ** (365 / self.horizon_days)
        )

    def explain(self, rows: Floats) -> tuple[Floats, Floats]:
        """Return exact SHAP contributions, shape (n, features), and margins, shape (n,).

        `base` plus the contributions of a row is its margin.
        """
        return self.explainer.explain(rows)

    @property
    def base(self) -> float:
        """What every row's contributions start from: the mean margin over the training rows."""
        return self.explainer.expected_value


def _compounded(pd_: Floats, share: Floats | float) -> Floats:
    """Return ``1 - (1 - pd) ** share`` without loss where the PD is small."""
    return np.asarray(-np.expm1(share * np.log1p(-pd_)))
