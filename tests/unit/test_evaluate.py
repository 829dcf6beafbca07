"""Figures against scikit-learn's and against figures worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss, log_loss, roc_auc_score, roc_curve

from obligor.metrics.figures import (
    auc,
    calibration_line,
    difference,
    ece,
    figures,
    ks,
    psi,
    with_intervals,
)
from obligor.metrics.statistics import Resampling
from obligor.model.calibration import KINDS, SMALLEST_PD
from obligor.training.candidates.calibrate import choose_calibration, fit_calibration

RNG = np.random.default_rng(0)
N = 4000
MARGIN = RNG.normal(-2, 1.2, N)
LABEL = (RNG.random(N) < 1 / (1 + np.exp(-MARGIN))).astype(int)
PD = 1 / (1 + np.exp(-MARGIN))
WEIGHT = RNG.integers(0, 4, N).astype(float)
ROUNDED_PD = PD.round(2).clip(0.01, 0.99)  # with ties
ROWS = np.arange(N)


# --- Figures


def test_auc_and_gini_equal_scikit_learn() -> None:
    expected = roc_auc_score(LABEL, ROUNDED_PD, sample_weight=WEIGHT)
    result = figures(ROUNDED_PD, LABEL, WEIGHT)
    assert auc(ROUNDED_PD, LABEL, WEIGHT) == pytest.approx(expected)
    assert result["gini"] == pytest.approx(2 * result["auc"] - 1)


def test_brier_and_log_loss_equal_scikit_learn() -> None:
    brier = brier_score_loss(LABEL, ROUNDED_PD, sample_weight=WEIGHT)
    loss = log_loss(LABEL, ROUNDED_PD, sample_weight=WEIGHT)
    result = figures(ROUNDED_PD, LABEL, WEIGHT)
    assert result["brier"] == pytest.approx(brier)
    assert result["log_loss"] == pytest.approx(loss)


def test_ks_equals_scikit_learn() -> None:
    false, true, _ = roc_curve(LABEL, ROUNDED_PD, sample_weight=WEIGHT)
    assert ks(ROUNDED_PD, LABEL, WEIGHT) == pytest.approx(np.max(true - false))


def test_one_outcome_has_no_auc_and_no_ks() -> None:
    no_defaults = np.zeros(N, dtype=int)
    assert np.isnan(auc(PD, no_defaults))
    assert np.isnan(ks(PD, no_defaults))


def test_calibration_line_equals_a_logistic_regression() -> None:
    wrong_pd = 1 / (1 + np.exp(-(0.5 * MARGIN + 1)))
    log_odds = np.log(wrong_pd / (1 - wrong_pd))
    fit = LogisticRegression(C=np.inf, tol=1e-10)
    fit.fit(log_odds[:, None], LABEL, WEIGHT)
    slope, intercept = calibration_line(wrong_pd, LABEL, WEIGHT)
    assert slope == pytest.approx(fit.coef_[0, 0], rel=1e-4)
    assert intercept == pytest.approx(fit.intercept_[0], rel=1e-3)
    assert slope == pytest.approx(2, abs=0.2)


def test_constant_pd_has_slope_0() -> None:
    slope, intercept = calibration_line(np.full(N, 0.3), LABEL)
    assert slope == 0
    assert 1 / (1 + np.exp(-intercept)) == pytest.approx(LABEL.mean())


def test_calibration_line_of_a_perfect_pd_is_finite() -> None:
    perfect_pd = np.clip(LABEL * 0.98, 1e-5, 0.99)
    assert np.isfinite(calibration_line(perfect_pd, LABEL)).all()


def test_calibration_line_of_a_random_pd_is_flat() -> None:
    random_pd = np.where(RNG.random(N) < 0.5, 1e-5, 1 - 1e-5)
    slope, _ = calibration_line(random_pd, LABEL)
    assert abs(slope) < 0.1


def test_psi_of_the_same_distribution_is_stable() -> None:
    first = RNG.normal(size=5000)
    assert psi(first, RNG.normal(size=5000)) < 0.01


def test_psi_grows_with_a_shift() -> None:
    first = RNG.normal(size=5000)
    assert psi(first, first + 1) > 0.25


def test_psi_grows_with_missing_values() -> None:
    first = RNG.normal(size=5000)
    is_missing = RNG.random(5000) < 0.3
    assert psi(first, np.where(is_missing, np.nan, first)) > 0.25


def test_psi_without_any_value_is_0() -> None:
    assert psi(np.full(10, np.nan), np.full(10, np.nan)) == 0


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        # .47 ln(.51 / .04) - .47 ln(.49 / .96), by hand
        ([0] * 96 + [1] * 4, [0] * 49 + [1] * 51, 1.5125),
        # a value that was never seen: .5 ln(.5 / .0001) - .5 ln(.5), by hand
        ([0] * 10, [0] * 5 + [1] * 5, 4.6043),
        ([1] * 10, [0] * 5 + [1] * 5, 4.6043),
    ],
)
def test_a_flag_can_drift(before: list[int], now: list[int], expected: float) -> None:
    """With deciles as edges 0 and 1 were one bin, and the index was 0."""
    value = psi(np.array(before, dtype=float), np.array(now, dtype=float))
    assert value == pytest.approx(expected, abs=1e-4)


def test_an_amount_that_is_mostly_0_can_drift() -> None:
    amounts = RNG.exponential(100, size=1000)
    before = np.where(np.arange(1000) < 950, 0.0, amounts)
    now = np.where(np.arange(1000) < 290, 0.0, amounts)
    # The share above 0 goes from .05 to .71.
    by_hand = 0.66 * np.log(0.71 / 0.05) - 0.66 * np.log(0.29 / 0.95)
    assert psi(before, now) >= by_hand - 1e-9


def test_levels_are_compared_one_by_one() -> None:
    """Two levels that swap their shares are one bin of neighbours."""
    before = np.repeat(np.arange(30.0), 100)
    now = np.concatenate([before[before != 7], np.full(100, 8.0)])
    by_hand = (1 / 30) * np.log((1 / 30) / 1e-4) + (1 / 30) * np.log(2)
    assert psi(before, now, is_category=True) == pytest.approx(by_hand, rel=0.01)


def test_the_calibration_error_of_two_pds_is_worked_out_for_each() -> None:
    pd_ = np.repeat([0.02, 0.62], [950, 50])
    label = np.repeat([1, 0], [50, 950])
    by_hand = 0.95 * (50 / 950 - 0.02) + 0.05 * 0.62
    assert ece(pd_, label) == pytest.approx(by_hand)


# --- Intervals


def test_interval_contains_the_figure() -> None:
    resampling = Resampling(np.arange(500), 200, 1)
    gini = with_intervals(PD[:500], LABEL[:500], resampling)["gini"]
    assert gini.low < gini.value < gini.high


def test_interval_narrows_with_more_rows() -> None:
    few = Resampling(np.arange(500), 200, 1)
    many = Resampling(ROWS, 200, 1)
    gini_of_few = with_intervals(PD[:500], LABEL[:500], few)["gini"]
    gini_of_many = with_intervals(PD, LABEL, many)["gini"]
    width_of_few = gini_of_few.high - gini_of_few.low
    assert gini_of_many.high - gini_of_many.low < width_of_few


def test_interval_widens_with_rows_per_customer() -> None:
    """Eight rows of one customer carry little more information than one."""
    customers = np.tile(np.arange(500), 8)
    pd_ = PD[customers]
    label = LABEL[customers]
    by_row = with_intervals(pd_, label, Resampling(ROWS, 100, 1))["gini"]
    by_customer = with_intervals(pd_, label, Resampling(customers, 100, 1))["gini"]
    assert by_customer.high - by_customer.low > 2 * (by_row.high - by_row.low)


def test_paired_difference_detects_a_small_loss() -> None:
    noisy_pd = np.clip(PD + RNG.normal(0, 0.05, N), 1e-5, 1 - 1e-5)
    gap = difference(noisy_pd, PD, LABEL, Resampling(ROWS, 200, 0))
    assert gap["gini"].high < 0
    assert gap["brier"].low > 0


# --- Calibrations


@pytest.mark.parametrize("kind", KINDS)
def test_calibration_is_monotone_and_bounded(kind: str) -> None:
    calibration = fit_calibration(kind, MARGIN, LABEL)
    pd_ = calibration(np.linspace(-60, 60, 500))
    assert (np.diff(pd_) >= 0).all()
    assert pd_.min() >= SMALLEST_PD
    assert pd_.max() <= 1 - SMALLEST_PD


@pytest.mark.parametrize("kind", ["platt", "beta"])
def test_inverted_margin_is_not_calibrated_upside_down(kind: str) -> None:
    calibration = fit_calibration(kind, -MARGIN, LABEL)
    pd_ = calibration(np.linspace(-5, 5, 50))
    assert (np.diff(pd_) >= -1e-12).all()


def test_calibration_with_the_least_held_loss_is_chosen() -> None:
    label = np.tile(LABEL, 4)  # enough defaults for kinds with steps
    margin = np.tile(3 * MARGIN + 2, 4)
    rows = np.arange(len(label))
    halves = [(rows[:8000], rows[8000:])]
    chosen, losses = choose_calibration(margin, label, halves)
    identity = fit_calibration("identity", margin, label)
    assert set(losses) == set(KINDS)
    assert losses[chosen.kind] == min(losses.values())
    assert losses[chosen.kind] < log_loss(label, identity(margin))


def test_chosen_calibration_repairs_a_distorted_margin() -> None:
    label = np.tile(LABEL, 4)
    margin = np.tile(3 * MARGIN + 2, 4)
    rows = np.arange(len(label))
    chosen, _ = choose_calibration(margin, label, [(rows[:8000], rows[8000:])])
    slope, intercept = calibration_line(chosen(3 * MARGIN + 2), LABEL)
    assert slope == pytest.approx(1, abs=0.1)
    assert intercept == pytest.approx(0, abs=0.2)


def test_few_defaults_choose_among_smooth_calibrations() -> None:
    margin = 3 * MARGIN[:500] + 2
    halves = [(ROWS[:250], ROWS[250:500])]
    _, losses = choose_calibration(margin, LABEL[:500], halves)
    assert set(losses) == {"platt", "beta"}
