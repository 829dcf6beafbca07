"""What must hold of a model whatever its figures: monotone, faithfully explained, without what is forbidden."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from obligor.arrays import Floats
from obligor.features import catalogue
from obligor.model.pd_model import PdModel

ROWS, GRID = 200, 40  # rows that are moved along each column's grid
TOP, DRAWS = 3, 20  # features a reason names; as many others are drawn to compare with
FAITHFUL = 0.95


class Violation(NamedTuple):
    """Where a margin moves against its column's direction, and by how much at most."""

    feature: str
    rows: float
    worst: float


def directions_of(model: PdModel) -> tuple[int, ...]:
    """Return +1, -1 or 0 of each of the model's columns."""
    if model.encoding:
        return model.encoding.directions
    return tuple(catalogue.by_name(name).direction for name in model.features)


def monotone_violations(model: PdModel, rows: Floats) -> list[Violation]:
    """Move rows along the whole grid of each column that has a direction; return what goes the other way.

    Parameters
    ----------
    rows : ndarray, shape (n, columns)
        Of which some are moved, through quantiles of all, the lowest and the highest.
    """
    found, some = (
        list[Violation](),
        rows[np.linspace(0, len(rows) - 1, min(ROWS, len(rows))).astype(int)],
    )
    for place, direction in enumerate(directions_of(model)):
        there = rows[~np.isnan(rows[:, place]), place]
        grid = (
            np.unique(np.quantile(there, np.linspace(0, 1, GRID)))
            if direction and len(there)
            else np.empty(0)
        )
        if len(grid) < 2:
            continue
        moved = np.repeat(some, len(grid), axis=0)
        moved[:, place] = np.tile(grid, len(some))
        against = -direction * np.diff(
            model.margin(moved).reshape(len(some), len(grid)), axis=1
        )
        if (against > 1e-9).any():
            found.append(
                Violation(
                    model.features[place],
                    float((against > 1e-9).any(axis=1).mean()),
                    float(against.max()),
                )
            )
    return found


def additive_error(model: PdModel, rows: Floats) -> float:
    """Return the largest gap between base + contributions and the margin, over the margins' size."""
    contributions, margins = model.explain(rows)
    size = np.abs(contributions).sum(axis=1) + np.abs(margins) + 1e-12
    return float(
        (np.abs(model.base + contributions.sum(axis=1) - margins) / size).max()
    )


def faithful_share(model: PdModel, rows: Floats, seed: int) -> float:
    """Return the share of rows whose PD falls more by resetting the features named than by resetting as many others.

    The features that push a row most above the baseline are set to the baseline's medians (the rows' where it has
    none), beside the mean of `DRAWS` draws of as many others.
    """
    draw, contributions = (
        np.random.default_rng(seed),
        model.explain(rows)[0] - model.reference.contributions,
    )
    own = np.array(
        [
            np.median(column[~np.isnan(column)])
            if (~np.isnan(column)).any()
            else np.nan
            for column in rows.T
        ]
    )
    typical = np.where(np.isnan(model.reference.values), own, model.reference.values)
    order = np.argsort(-contributions, axis=1)
    named, before = order[:, :TOP], model.margin(rows)
    fall = before - model.margin(_reset(rows, named, typical))
    others = np.zeros(len(rows))
    for _ in range(DRAWS):
        drawn = np.array([draw.permutation(row[TOP:])[:TOP] for row in order])
        others += (before - model.margin(_reset(rows, drawn, typical))) / DRAWS
    return float((fall >= others).mean())


def _reset(rows: Floats, places: NDArray[np.int64], values: Floats) -> Floats:
    moved = rows.copy()
    np.put_along_axis(moved, places, values[places], axis=1)
    return moved


def riskiest(model: PdModel, rows: Floats, n: int = ROWS) -> Floats:
    """Return the rows with the highest PDs: those whose reasons are read."""
    return rows[np.argsort(-model.margin(rows), kind="stable")[:n]]


def forbidden_used(model: PdModel, forbidden: Sequence[str]) -> list[str]:
    """Return the forbidden columns that the model reads, alone or in a pair."""
    names = (
        {one.name for one in model.encoding.columns}
        if model.encoding
        else set(model.features)
    )
    return sorted(names & set(forbidden))


def partial_dependence(model: PdModel, rows: Floats, place: int) -> pd.Series[float]:
    """Return the mean PD with one column set to each point of its grid (Friedman 2001).

    The index is the points; of a column of codes what they stand for.
    """
    some = rows[np.linspace(0, len(rows) - 1, min(ROWS, len(rows))).astype(int)]
    there = rows[~np.isnan(rows[:, place]), place]
    is_codes = model.encoding is not None and place in model.encoding.categorical
    points = (
        there
        if is_codes or not len(there)
        else np.quantile(there, np.linspace(0.01, 0.99, GRID))
    )
    grid = np.unique(points)
    moved = np.repeat(some, len(grid), axis=0)
    moved[:, place] = np.tile(grid, len(some))
    pds = (
        model.predict_pd(moved).reshape(len(some), len(grid))
        if len(grid)
        else np.empty((len(some), 0))
    )
    index = [_said(model, place, code) for code in grid.tolist()] if is_codes else grid
    return pd.Series(pds.mean(axis=0), index=index, dtype=float)


def _said(model: PdModel, place: int, code: float) -> str:
    """What a code of a column stands for."""
    parts = model.encoding.parts if model.encoding else ()
    for column, places in parts:
        if place == places.start:
            return column.said([code])
        if places.start < place < places.stop:
            return f"{column.special[int(code) - 1]:g}" if code > 0 else "ordinary"
    return f"{code:g}"
