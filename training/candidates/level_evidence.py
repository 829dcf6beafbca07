"""The evidence of each level of a category with many levels, without a leak.

Its weight of evidence is that of a scorecard's bin: ln(odds of a default in the level /
odds of all), drawn towards 0 if the level is small. A row that was learned from would
find its own outcome in it, so each such row is given the evidence of the other folds
(Micci-Barreca 2001; Pargent et al. 2022 compare such encodings).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from obligor.arrays import Floats, Ints
from obligor.features.encoding import Encoding
from obligor.training.candidates.training_rows import (
    Levels,
    TrainingRows,
    stratified_folds,
)

MANY_LEVELS = 12  # a category with more of them is worth a column of evidence
FEWEST_ROWS = 2  # of a level that has evidence of its own
MOST_LEVELS = 5000
PSEUDO_ROWS = 10.0  # pull the rate of a small level towards the rate of all
FOLDS = 5


def with_evidence_columns(encoding: Encoding, frame: pd.DataFrame) -> Encoding:
    """Return the encoding with an empty column of evidence per many-level category.

    Parameters
    ----------
    encoding : Encoding
        From `fit_encoding`.
    frame : DataFrame
        The training rows.
    """
    columns = []
    for column in encoding.columns:
        if column.kind == "category":
            levels = _frequent_levels(column.level_texts(frame[column.name]))
            if len(levels) > MANY_LEVELS:
                evidence = tuple((level, 0.0) for level in levels)
                column = replace(column, evidence=evidence)
        columns.append(column)
    return replace(encoding, columns=tuple(columns))


def _frequent_levels(texts: pd.Series) -> list[str]:
    counts = texts.value_counts()
    frequent = counts[counts >= FEWEST_ROWS].index[:MOST_LEVELS]
    return sorted(map(str, frequent))


def levels_of(encoding: Encoding, frame: pd.DataFrame) -> tuple[Levels, ...]:
    """Return the level of each row in each category that has a column of evidence."""
    levels = []
    for column, part in encoding.parts:
        if column.evidence:
            codes = column.evidence_codes(frame[column.name])
            levels.append(Levels(part.stop - 1, codes, len(column.evidence)))
    return tuple(levels)


def with_evidence(encoding: Encoding, evidence: Sequence[Floats]) -> Encoding:
    """Return the encoding with the evidence that was learned.

    Parameters
    ----------
    encoding : Encoding
        With columns of evidence.
    evidence : sequence of ndarray of float
        Per column of evidence that of each of its levels.
    """
    remaining = iter(evidence)
    columns = []
    for column in encoding.columns:
        if column.evidence:
            levels = [level for level, _ in column.evidence]
            of_levels = zip(levels, next(remaining).tolist(), strict=True)
            column = replace(column, evidence=tuple(of_levels))
        columns.append(column)
    return replace(encoding, columns=tuple(columns))


def fit_evidence(rows: TrainingRows, levels: Levels, learned: Ints) -> Floats:
    """Return the evidence of each level for a default, shape (n_levels,).

    Parameters
    ----------
    rows : TrainingRows
        Where the outcomes come from; refused applicants have none.
    levels : Levels
        The level of each row.
    learned : ndarray of int, shape (k,)
        Indices of the rows learned from.

    Examples
    --------
    >>> from obligor.training.candidates.training_rows import Columns
    >>> label = np.repeat([1, 0, 1, 0], [30, 70, 10, 290])
    >>> columns = Columns(("town",), (), (0,))
    >>> rows = TrainingRows(np.zeros((400, 1)), label, np.arange(400), columns)
    >>> levels = Levels(0, np.repeat([0, 1], [100, 300]), 2)
    >>> fit_evidence(rows, levels, np.arange(400)).round(3).tolist()
    [1.262, -1.105]
    """
    observed = learned[learned < rows.n_observed]
    observed = observed[levels.codes[observed] >= 0]
    weight = rows.weights_measured(observed)
    weights = np.ones(len(observed)) if weight is None else weight
    codes = levels.codes[observed]
    label = rows.label[observed]
    counts = np.bincount(codes, weights, levels.n_levels)
    bads = np.bincount(codes, weights * label, levels.n_levels)
    rate = np.clip(np.average(label, weights=weights), 1e-6, 1 - 1e-6)
    pulled_rate = (bads + PSEUDO_ROWS * rate) / (counts + PSEUDO_ROWS)
    log_odds_of_all = np.log(rate / (1 - rate))
    evidence: Floats = np.log(pulled_rate / (1 - pulled_rate)) - log_odds_of_all
    return evidence


def rows_with_evidence(rows: TrainingRows, learned: Ints, seed: int) -> Floats:
    """Return the encoded rows with evidence learned from some of them.

    Parameters
    ----------
    rows : TrainingRows
        What to learn from.
    learned : ndarray of int, shape (k,)
        Indices of the rows learned from: each is given the evidence of the folds it
        is not in. All other rows are given the evidence of all of these.
    seed : int
        Of the folds.

    Returns
    -------
    ndarray of float, shape (n, columns)
        The index of the level itself is missing: beside its evidence it would only
        repeat it.
    """
    values = rows.rows.copy()
    observed = learned[learned < rows.n_observed]
    folds = stratified_folds(
        rows.label[observed],
        rows.groups[observed],
        FOLDS,
        seed,
    )
    for levels in rows.levels:
        values[:, levels.column - 1] = np.nan
        evidence = fit_evidence(rows, levels, learned)
        values[:, levels.column] = _look_up(evidence, levels.codes)
        for others, held in folds:
            fold_evidence = fit_evidence(rows, levels, observed[others])
            held_rows = observed[held]
            of_held = _look_up(fold_evidence, levels.codes[held_rows])
            values[held_rows, levels.column] = of_held
    return values


def _look_up(evidence: Floats, codes: Ints) -> Floats:
    """Return the evidence of each code; 0 for code -1, a level that was never seen."""
    by_code: Floats = np.append(evidence, 0.0)
    return by_code[codes]
