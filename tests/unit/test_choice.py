"""The challenger: the blend unless it loses, or what a modeler prefers."""

from __future__ import annotations

import numpy as np
import pytest

from obligor.features.table_spec import Preference
from obligor.metrics.statistics import Resampling
from obligor.training.candidates.choice import choose_candidate
from obligor.training.candidates.fit_settings import BLEND, LIGHTGBM, SCORECARD

N_ROWS = 40
EACH_ROW = Resampling(np.arange(N_ROWS), rounds=20, seed=0)
# Mean log losses of the scorecard, LightGBM, extra trees and the blend.
BLEND_WINS = (0.40, 0.38, 0.37, 0.36)
BLEND_LOSES = (0.40, 0.38, 0.37, 0.375)


@pytest.mark.parametrize(
    ("mean_losses", "prefer", "chosen"),
    [
        (BLEND_WINS, "best", BLEND),
        (BLEND_LOSES, "best", "extra_trees"),
        (BLEND_WINS, "single", "extra_trees"),
        (BLEND_WINS, "scorecard", SCORECARD),
    ],
)
def test_the_blend_is_chosen_unless_it_loses_or_another_is_preferred(
    mean_losses: tuple[float, ...], prefer: Preference, chosen: str
) -> None:
    names = (SCORECARD, LIGHTGBM, "extra_trees", BLEND)
    losses = {
        name: np.full(N_ROWS, loss)
        for name, loss in zip(names, mean_losses, strict=True)
    }
    choice = choose_candidate(losses, EACH_ROW, prefer)
    assert choice.name == chosen
    assert choice.gain == pytest.approx((0.37 - mean_losses[-1],) * 3)
    assert choice.because.startswith(f"The challenger is {chosen}: ")
    assert "over extra_trees, the best single candidate" in choice.because


def test_a_gain_within_its_interval_still_chooses_the_blend() -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, N_ROWS)
    losses = {SCORECARD: 0.4 + noise - noise.mean(), BLEND: np.full(N_ROWS, 0.399)}
    choice = choose_candidate(losses, EACH_ROW, "best")
    gain, low, high = choice.gain
    assert low < 0 < gain < high
    assert choice.name == BLEND


def test_weights_decide_which_candidate_is_best() -> None:
    half = N_ROWS // 2
    losses = {
        SCORECARD: np.repeat([0.2, 0.6], half),
        LIGHTGBM: np.repeat([0.6, 0.2], half),
        BLEND: np.full(N_ROWS, 0.5),
    }
    for heavy, chosen in (([9.0, 1.0], SCORECARD), ([1.0, 9.0], LIGHTGBM)):
        weight = np.repeat(heavy, half)
        resampling = Resampling(np.arange(N_ROWS), 20, 0, weight)
        assert choose_candidate(losses, resampling, "best").name == chosen
