"""Intervals that decide: without draws, and as many draws would give them."""

from __future__ import annotations

import numpy as np
import pytest

from obligor.arrays import Floats, Ints
from obligor.metrics.draws import drawn_aucs, drawn_means, drawn_slopes
from obligor.metrics.figures import auc, calibration_line, difference
from obligor.metrics.significance import PairedRows, paired_difference
from obligor.metrics.slope import slope_test
from obligor.metrics.statistics import Interval, Resampling, weighted_logistic
from obligor.model.calibration import sigmoid

WITHIN = 0.02  # of the width of an interval


def draw_sample(n: int, slope: float, seed: int) -> tuple[Floats, Ints]:
    """Return PDs and outcomes whose log-odds are `slope` times those of the PDs."""
    draw = np.random.default_rng(seed)
    margin = draw.normal(-2, 1.2, n)
    label = (draw.random(n) < sigmoid(slope * margin)).astype(np.int64)
    return sigmoid(margin), label


def wald_interval(pd_: Floats, label: Ints) -> tuple[float, float]:
    """Return the slope plus and minus 1.96 of its standard error."""
    log_odds = np.log(pd_ / (1 - pd_))
    slope, intercept = weighted_logistic(log_odds[:, None], label, np.ones(len(label)))
    fitted = sigmoid(slope * log_odds + intercept)
    design = np.column_stack([log_odds, np.ones(len(label))])
    information = (design * (fitted * (1 - fitted))[:, None]).T @ design
    error = np.sqrt(np.linalg.inv(information)[0, 0])
    return float(slope - 1.96 * error), float(slope + 1.96 * error)


def assert_alike(first: tuple[float, float], second: tuple[float, float]) -> None:
    width = second[1] - second[0]
    assert first == pytest.approx(second, abs=WITHIN * width)


def test_wald_profile_and_bootstrap_intervals_agree_on_a_large_sample() -> None:
    pd_, label = draw_sample(24_000, 0.97, seed=3)
    groups = np.arange(len(label))
    profile = slope_test(pd_, label, groups)
    assert profile is not None
    wald = wald_interval(pd_, label)
    slopes = drawn_slopes(pd_, label, Resampling(groups, 2000, 1))
    low, high = np.quantile(slopes, (0.025, 0.975)).tolist()
    assert_alike((profile.low, profile.high), wald)
    assert high - low == pytest.approx(wald[1] - wald[0], rel=0.06)  # 2,000 draws
    assert np.std(slopes) * 3.92 == pytest.approx(wald[1] - wald[0], rel=0.04)


def test_the_p_value_says_what_the_interval_says() -> None:
    for slope in (0.6, 0.85, 1.0, 1.2):
        pd_, label = draw_sample(2000, slope, seed=8)
        test = slope_test(pd_, label, np.arange(2000))
        assert test is not None
        assert test.includes_one == (test.p_value > 0.05)


def rejects(n_rows_of_customer: int, *, is_told: bool) -> float:
    """Return how often a slope of 1 is rejected when rows of a customer are copies."""
    is_rejected = []
    for seed in range(120):
        pd_, label = draw_sample(250, 1.0, seed)
        rows = np.repeat(np.arange(250), n_rows_of_customer)
        groups = rows if is_told else np.arange(len(rows))
        test = slope_test(pd_[rows], label[rows], groups)
        assert test is not None
        is_rejected.append(not test.includes_one)
    return float(np.mean(is_rejected))


def test_a_true_slope_is_rejected_as_often_as_its_level_says() -> None:
    assert 0.02 <= rejects(3, is_told=True) <= 0.1
    assert rejects(3, is_told=False) > 0.15


def test_a_slope_of_one_outcome_or_one_pd_is_not_estimated() -> None:
    pd_, label = draw_sample(100, 1.0, seed=0)
    groups = np.arange(100)
    assert slope_test(pd_, np.zeros(100, dtype=np.int64), groups) is None
    constant = slope_test(np.full(100, 0.2), label, groups)
    assert constant is not None
    assert not constant.includes_one


def test_separated_outcomes_have_a_finite_interval() -> None:
    pd_ = np.repeat([0.1, 0.4], 50)
    label = np.repeat([0, 1], 50)
    test = slope_test(pd_, label, np.arange(100))
    assert test is not None
    assert np.isfinite([test.slope, test.low, test.high, test.p_value]).all()


@pytest.fixture(scope="module")
def clustered() -> tuple[Floats, Ints, Resampling]:
    """Return 300 rows of 100 customers, with ties and weights."""
    pd_, label = draw_sample(300, 1.0, seed=5)
    weight = np.tile([1.0, 2.0, 0.5], 100)
    resampling = Resampling(np.repeat(np.arange(100), 3), 30, 7, weight)
    return np.round(pd_, 2) + 0.005, label, resampling


def test_figures_of_all_samples_at_once_are_those_of_each(
    clustered: tuple[Floats, Ints, Resampling],
) -> None:
    pd_, label, resampling = clustered
    areas = []
    slopes = []
    means = []
    for weight in resampling:
        areas.append(auc(pd_, label, weight))
        slopes.append(calibration_line(pd_, label, weight)[0])
        means.append((weight * pd_).sum() / weight.sum())
    assert drawn_aucs(pd_, label, resampling) == pytest.approx(areas, abs=1e-12)
    assert drawn_means(pd_, resampling) == pytest.approx(means, abs=1e-12)
    assert drawn_slopes(pd_, label, resampling) == pytest.approx(slopes, abs=1e-3)


def test_a_difference_without_draws_is_that_of_many_draws() -> None:
    pd_, label = draw_sample(1500, 1.0, seed=2)
    noise = np.random.default_rng(0).normal(0, 0.6, 1500)
    other = sigmoid(np.log(pd_ / (1 - pd_)) + noise)
    groups = np.repeat(np.arange(500), 3)
    rows = PairedRows(pd_, other, label, groups, np.ones(1500))
    exact = paired_difference(rows)
    drawn = difference(pd_, other, label, Resampling(groups, 2000, 0))
    for name in ("gini", "brier"):
        assert exact[name].value == pytest.approx(drawn[name].value)
        assert width(exact[name]) == pytest.approx(width(drawn[name]), rel=0.08)


def width(interval: Interval) -> float:
    return interval.high - interval.low
