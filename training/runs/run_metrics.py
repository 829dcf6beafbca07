"""Figures of candidates as MLflow lists them: value, low and high, by name."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from obligor.metrics.statistics import Interval


def with_ends(figures: Mapping[str, Interval], prefix: str = "") -> dict[str, float]:
    """Return figures and the ends of their intervals; only what is finite.

    Parameters
    ----------
    figures : mapping of Interval
        By name.
    prefix : str
        Put before every name.

    Examples
    --------
    >>> with_ends({"gini": Interval(0.5, 0.4, 0.6)})
    {'gini': 0.5, 'gini_low': 0.4, 'gini_high': 0.6}
    """
    metrics = dict[str, float]()
    for name, interval in figures.items():
        metrics[f"{prefix}{name}"] = interval.value
        metrics[f"{prefix}{name}_low"] = interval.low
        metrics[f"{prefix}{name}_high"] = interval.high
    return {name: value for name, value in metrics.items() if np.isfinite(value)}
