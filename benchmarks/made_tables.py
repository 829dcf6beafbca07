"""Tables of shapes that the public ones lack, made from a seed.

Deep interactions, ratios of three columns, and categories with many levels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd

from obligor.arrays import Floats
from obligor.features.applications import Applications, applications
from obligor.features.table_spec import Spec


def _labelled(
    name: str,
    frame: pd.DataFrame,
    margin: Floats,
    draw: np.random.Generator,
) -> Applications:
    """Draw the outcomes, and return the table with its spec."""
    chance = 1 / (1 + np.exp(-margin))
    bad = (draw.random(len(frame)) < chance).astype(int)
    spec = Spec.model_validate({"name": name, "target": {"column": "bad"}})
    return applications(frame.assign(bad=bad), spec)


def deep_interactions() -> Applications:
    """20,000 rows of 14 columns; 60 terms depend on five of them at once."""
    draw = np.random.default_rng(11)
    columns = draw.normal(size=(20_000, 14))
    margin = np.zeros(len(columns))
    for _ in range(60):
        involved = draw.choice(14, 5, replace=False)
        cuts = draw.normal(size=5) * 0.6
        cell = (columns[:, involved] > cuts) @ (1 << np.arange(5))
        margin += draw.normal(size=32)[cell] * 0.28
    margin += 0.3 * columns[:, 0] - 0.3 * columns[:, 1] - 1.6
    names = [f"x{index}" for index in range(14)]
    frame = pd.DataFrame(columns, columns=names).round(4)
    return _labelled("deep interactions", frame, margin, draw)


def ratios_of_three() -> Applications:
    """6,000 firms of any size; risk follows (a - b) / c, (a + b) / c and a / b."""
    draw = np.random.default_rng(12)
    size = np.exp(draw.normal(10, 1.2, size=6_000))
    share = np.exp(draw.normal(-1.2, 0.7, size=(6_000, 16)))
    item = size[:, None] * share
    ratios = (
        (item[:, 0] - item[:, 1]) / item[:, 2],
        (item[:, 3] + item[:, 4]) / item[:, 5],
        (item[:, 6] - item[:, 7]) / item[:, 8],
        item[:, 9] / item[:, 10],
    )
    margin = np.full(len(item), -2.6)
    for ratio in ratios:
        rank = pd.Series(ratio).rank(pct=True).to_numpy()
        margin += 1.8 * np.tanh(3 * (rank - 0.5))
    names = [f"item{index}" for index in range(16)]
    frame = pd.DataFrame(item, columns=names).round(2)
    return _labelled("ratios of three", frame, margin, draw)


def many_levels() -> Applications:
    """12,000 rows with categories of about 360, 140 and 25 levels."""
    draw = np.random.default_rng(13)
    categories = {}
    margin = np.full(12_000, -2.0)
    for name, n_levels, spread in (
        ("dealer", 400, 1.0),
        ("zip", 150, 0.6),
        ("job", 25, 0.4),
    ):
        frequency = draw.dirichlet(np.full(n_levels, 0.6))
        level = draw.choice(n_levels, len(margin), p=frequency)
        margin += draw.normal(0, spread, n_levels)[level]
        categories[name] = [f"{name}{code:04d}" for code in level]
    numbers = draw.normal(size=(len(margin), 6))
    margin += 0.6 * numbers[:, 0] - 0.5 * numbers[:, 1]
    margin += 0.3 * numbers[:, 2] * numbers[:, 3] - 0.2 * np.abs(numbers[:, 4])
    names = [f"x{index}" for index in range(6)]
    frame = pd.DataFrame(numbers, columns=names).round(4).assign(**categories)
    return _labelled("many levels", frame, margin, draw)


MADE: Mapping[str, Callable[[], Applications]] = {
    "deep_interactions": deep_interactions,
    "ratios_of_three": ratios_of_three,
    "many_levels": many_levels,
}
