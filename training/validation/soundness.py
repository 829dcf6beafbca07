"""What must be true of a model whatever its figures are.

It is monotone where it must be, its explanations are faithful, and it does not read
what is forbidden.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from obligor.arrays import Floats, Ints
from obligor.features import catalogue
from obligor.model.pd_model import PdModel

ROWS = 200  # rows that are moved along each column's grid
GRID = 40  # points of a grid
TOP = 3  # features that reasons name
DRAWS = 20  # of as many other features, to compare with
FAITHFUL = 0.95  # share of the riskiest rows whose reasons must be faithful
SMALLEST_SIZE = 1e-12  # of a margin, so that nothing is divided by zero
ROUNDING = 1e-9  # of the margin, in log-odds


class Violation(NamedTuple):
    """A column that moves the margin against its direction.

    Attributes
    ----------
    feature : str
        Name of the column.
    rows : float
        Share of the rows in which it does so, in (0, 1].
    worst : float
        The largest move between two neighbouring grid points, in log-odds.
    """

    feature: str
    rows: float
    worst: float


def directions_of(model: PdModel) -> tuple[int, ...]:
    """Return +1, -1 or 0 for each of the model's columns."""
    if model.encoding:
        return model.encoding.directions
    return tuple(catalogue.by_name(name).direction for name in model.features)


def monotone_violations(model: PdModel, rows: Floats) -> list[Violation]:
    """Move rows along the grid of each column with a direction; return violations.

    Parameters
    ----------
    model : PdModel
        The model.
    rows : ndarray, shape (n, columns)
        Some of them are moved, through quantiles of all rows, lowest and highest
        value included.

    Returns
    -------
    list of Violation
        A row per column whose margin goes against its direction anywhere.
    """
    violations = []
    for index, direction in enumerate(directions_of(model)):
        if not direction:
            continue
        against = -direction * _margin_steps(model, rows, index)
        is_against = against > ROUNDING
        if is_against.any():
            violation = Violation(
                feature=model.features[index],
                rows=float(is_against.any(axis=1).mean()),
                worst=float(against.max()),
            )
            violations.append(violation)
    return violations


def _margin_steps(model: PdModel, rows: Floats, index: int) -> Floats:
    """How the margins of some rows change from each point of a grid to the next.

    Returns
    -------
    ndarray, shape (rows moved, points - 1)
    """
    some = _spread_rows(rows)
    filled = _filled(rows[:, index])
    if not len(filled):
        return np.empty((len(some), 0))
    shares = np.linspace(0, 1, GRID)
    grid = np.unique(np.quantile(filled, shares))
    margin = model.margin(_moved(some, index, grid))
    return np.diff(margin.reshape(len(some), len(grid)), axis=1)


def _spread_rows(rows: Floats) -> Floats:
    """At most `ROWS` rows, evenly spread over all."""
    n = min(ROWS, len(rows))
    indices: Ints = np.linspace(0, len(rows) - 1, n).astype(np.int64)
    return rows[indices]


def _filled(column: Floats) -> Floats:
    return column[~np.isnan(column)]


def _moved(rows: Floats, index: int, grid: Floats) -> Floats:
    """Each row once per point of the grid, with one column set to the point."""
    moved = np.repeat(rows, len(grid), axis=0)
    moved[:, index] = np.tile(grid, len(rows))
    return moved


def additive_error(model: PdModel, rows: Floats) -> float:
    """Return the largest gap between base + contributions and margin, relative."""
    contributions, margins = model.explain(rows)
    total = contributions.sum(axis=1)
    gap = np.abs(model.base + total - margins)
    size = np.abs(contributions).sum(axis=1) + np.abs(margins)
    return float((gap / (size + SMALLEST_SIZE)).max())


def faithful_share(model: PdModel, rows: Floats, seed: int) -> float:
    """Return the share of rows whose reasons name the features that matter.

    The `TOP` features that push a row most above the baseline are set to the
    baseline's medians (the rows' own if it has none). Reasons are faithful if the
    margin then falls at least as much as on average when as many other features, drawn
    `DRAWS` times, are set instead.

    Parameters
    ----------
    model : PdModel
        The model with the baseline that its reasons compare with.
    rows : ndarray, shape (n, columns)
        Rows whose reasons are examined.
    seed : int
        Of the drawings.

    Returns
    -------
    float
        In [0, 1].
    """
    draw = np.random.default_rng(seed)
    before = model.margin(rows)
    contributions, _ = model.explain(rows)
    push = contributions - model.reference.contributions
    order = np.argsort(-push, axis=1)
    typical = _typical_values(model, rows)
    after = model.margin(_reset(rows, order[:, :TOP], typical))
    fall_of_others = np.zeros(len(rows))
    for _ in range(DRAWS):
        drawn = [draw.permutation(columns[TOP:])[:TOP] for columns in order]
        after_others = model.margin(_reset(rows, np.array(drawn), typical))
        fall_of_others += (before - after_others) / DRAWS
    is_faithful = before - after >= fall_of_others
    return float(is_faithful.mean())


def _typical_values(model: PdModel, rows: Floats) -> Floats:
    baseline = np.asarray(model.reference.values, dtype=np.float64)
    return np.where(np.isnan(baseline), medians(rows), baseline)


def medians(rows: Floats) -> Floats:
    """Return the median of each column; NaN for a column that is empty.

    Examples
    --------
    >>> medians(np.array([[1.0, np.nan], [3.0, np.nan], [np.nan, np.nan]])).tolist()
    [2.0, nan]
    """
    middles = []
    for column in rows.T:
        filled = _filled(column)
        middles.append(float(np.median(filled)) if len(filled) else float("nan"))
    return np.array(middles)


def _reset(rows: Floats, columns: Ints, values: Floats) -> Floats:
    moved = rows.copy()
    np.put_along_axis(
        moved,
        columns,
        values[columns],
        axis=1,
    )
    return moved


def riskiest(model: PdModel, rows: Floats, n: int = ROWS) -> Floats:
    """Return the rows with the highest PDs: those whose reasons are read.

    Parameters
    ----------
    model : PdModel
        The model.
    rows : ndarray, shape (m, columns)
        Rows as the model takes them.
    n : int
        How many are returned at most.

    Returns
    -------
    ndarray, shape (min(n, m), columns)
        The riskiest first.
    """
    order = np.argsort(-model.margin(rows), kind="stable")
    return rows[order[:n]]


def forbidden_used(model: PdModel, forbidden: Sequence[str]) -> list[str]:
    """Return the forbidden columns that the model reads, alone or in a pair."""
    names = set(model.features)
    if model.encoding:
        names = {column.name for column in model.encoding.columns}
    return sorted(names & set(forbidden))


def partial_dependence(model: PdModel, rows: Floats, index: int) -> pd.Series[float]:
    """Return the mean PD with one column set to each point of its grid.

    Parameters
    ----------
    model : PdModel
        The model.
    rows : ndarray, shape (n, columns)
        Some of them are moved (Friedman 2001).
    index : int
        Of the column.

    Returns
    -------
    Series
        Mean PDs; the index holds the points, or the levels of a column of codes.
    """
    points = _filled(rows[:, index])
    if not len(points):
        return pd.Series(dtype=float)
    is_codes = model.encoding is not None and index in model.encoding.categorical
    if not is_codes:
        # The outermost hundredths would stretch the picture.
        points = np.quantile(points, np.linspace(0.01, 0.99, GRID))
    grid = np.unique(points)
    some = _spread_rows(rows)
    pds = model.predict_pd(_moved(some, index, grid))
    mean_pd = pds.reshape(len(some), len(grid)).mean(axis=0)
    labels: Floats | list[str] = grid
    if is_codes:
        labels = [_level_of(model, index, code) for code in grid.tolist()]
    return pd.Series(mean_pd, index=labels, dtype=float)


def _level_of(model: PdModel, index: int, code: float) -> str:
    """The value that a code of a column stands for."""
    parts = model.encoding.parts if model.encoding else ()
    for column, columns in parts:
        if index == columns.start:
            return column.value_text([code])
        if columns.start < index < columns.stop:
            if code <= 0:
                return "ordinary"
            return f"{column.special[int(code) - 1]:g}"
    return f"{code:g}"
