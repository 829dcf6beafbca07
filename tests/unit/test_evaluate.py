"""Figures against scikit-learn's and against hand-worked numbers."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss, log_loss, roc_auc_score, roc_curve

from obligor.metrics.figures import (
    auc,
    calibration_line,
    difference,
    figures,
    ks,
    psi,
    with_intervals,
)
from obligor.metrics.statistics import Resampling
from obligor.model.calibration import KINDS, SMALLEST_PD
from obligor.training.candidates.calibrate import choose_calibration, fit_calibration

RNG = np.random.default_rng(0)
MARGIN = RNG.normal(-2, 1.2, 4000)
LABEL = (RNG.random(4000) < 1 / (1 + np.exp(-MARGIN))).astype(int)
PD = 1 / (1 + np.exp(-MARGIN))
WEIGHT = RNG.integers(0, 4, 4000).astype(float)


def test_figures_equal_scikit_learn() -> None:
    rounded = PD.round(2).clip(0.01, 0.99)  # with ties
    assert auc(rounded, LABEL, WEIGHT) == pytest.approx(
        roc_auc_score(LABEL, rounded, sample_weight=WEIGHT)
    )
    found = figures(rounded, LABEL, WEIGHT)
    assert found["gini"] == pytest.approx(2 * found["auc"] - 1)
    assert found["brier"] == pytest.approx(
        brier_score_loss(LABEL, rounded, sample_weight=WEIGHT)
    )
    assert found["log_loss"] == pytest.approx(
        log_loss(LABEL, rounded, sample_weight=WEIGHT)
    )
    false, true, _ = roc_curve(LABEL, rounded, sample_weight=WEIGHT)
    assert ks(rounded, LABEL, WEIGHT) == pytest.approx(np.max(true - false))


def test_calibration_line_equals_a_logistic_regression() -> None:
    wrong = 1 / (1 + np.exp(-(0.5 * MARGIN + 1)))
    fit = LogisticRegression(C=np.inf, tol=1e-10).fit(
        np.log(wrong / (1 - wrong))[:, None], LABEL, WEIGHT
    )
    slope, intercept = calibration_line(wrong, LABEL, WEIGHT)
    assert slope == pytest.approx(fit.coef_[0, 0], rel=1e-4)
    assert intercept == pytest.approx(fit.intercept_[0], rel=1e-3)
    assert slope == pytest.approx(2, abs=0.2)


def test_a_pd_that_is_the_same_for_all_has_slope_0() -> None:
    slope, intercept = calibration_line(np.full(len(LABEL), 0.3), LABEL)
    assert slope == 0
    assert 1 / (1 + np.exp(-intercept)) == pytest.approx(LABEL.mean())


def test_calibration_line_survives_a_hopeless_pd() -> None:
    slope, intercept = calibration_line(np.clip(LABEL * 0.98, 1e-5, 0.99), LABEL)
    assert np.isfinite([slope, intercept]).all()
    slope, _ = calibration_line(np.where(RNG.random(4000) < 0.5, 1e-5, 1 - 1e-5), LABEL)
    assert abs(slope) < 0.1


def test_one_class_has_no_auc() -> None:
    assert np.isnan(auc(PD, np.zeros(4000, dtype=int)))
    assert np.isnan(ks(PD, np.zeros(4000, dtype=int)))


def test_intervals_hold_the_figure_and_narrow_with_rows() -> None:
    few = with_intervals(PD[:500], LABEL[:500], Resampling(np.arange(500), 200, 1))[
        "gini"
    ]
    many = with_intervals(PD, LABEL, Resampling(np.arange(4000), 200, 1))["gini"]
    assert few.low < few.value < few.high
    assert many.high - many.low < few.high - few.low


def test_customers_with_many_rows_widen_the_interval() -> None:
    rows = np.tile(np.arange(500), 8)
    single = with_intervals(PD[rows], LABEL[rows], Resampling(np.arange(4000), 100, 1))[
        "gini"
    ]
    grouped = with_intervals(PD[rows], LABEL[rows], Resampling(rows, 100, 1))["gini"]
    assert grouped.high - grouped.low > 2 * (single.high - single.low)


def test_a_paired_difference_sees_what_two_intervals_cannot() -> None:
    worse = np.clip(PD + RNG.normal(0, 0.05, 4000), 1e-5, 1 - 1e-5)
    gap = difference(worse, PD, LABEL, Resampling(np.arange(4000), 200, 0))
    assert gap["gini"].high < 0
    assert gap["brier"].low > 0


def test_psi_grows_with_the_shift_and_counts_missing() -> None:
    first = RNG.normal(size=5000)
    assert psi(first, RNG.normal(size=5000)) < 0.01
    assert psi(first, first + 1) > 0.25
    assert psi(first, np.where(RNG.random(5000) < 0.3, np.nan, first)) > 0.25
    assert psi(np.full(10, np.nan), np.full(10, np.nan)) == 0


@pytest.mark.parametrize("kind", KINDS)
def test_every_calibration_is_monotone_and_inside(kind: str) -> None:
    fitted = fit_calibration(kind, MARGIN, LABEL)
    pd_ = fitted(np.linspace(-60, 60, 500))
    assert (np.diff(pd_) >= 0).all()
    assert pd_.min() >= SMALLEST_PD
    assert pd_.max() <= 1 - SMALLEST_PD


def test_an_inverted_margin_is_never_calibrated_upside_down() -> None:
    for kind in ("platt", "beta"):
        pd_ = fit_calibration(kind, -MARGIN, LABEL)(np.linspace(-5, 5, 50))
        assert (np.diff(pd_) >= -1e-12).all()


def test_the_calibration_chosen_mends_a_distorted_margin() -> None:
    label, rows = np.tile(LABEL, 4), np.arange(16000)
    margin = np.tile(3 * MARGIN + 2, 4)
    chosen, losses = choose_calibration(margin, label, [(rows[:8000], rows[8000:])])
    assert set(losses) == set(KINDS)  # steps too, where there are enough defaults
    assert (
        losses[chosen.kind]
        == min(losses.values())
        < log_loss(label, fit_calibration("identity", margin, label)(margin))
    )
    assert set(
        choose_calibration(margin[:500], label[:500], [(rows[:250], rows[250:500])])[1]
    ) == {"platt", "beta"}
    slope, intercept = calibration_line(chosen(3 * MARGIN + 2), LABEL)
    assert slope == pytest.approx(1, abs=0.1)
    assert intercept == pytest.approx(0, abs=0.2)
