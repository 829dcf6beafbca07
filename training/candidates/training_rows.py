"""Encoded rows to learn from, and the folds that measure what was learned."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from obligor.arrays import Floats, Ints
from obligor.errors import SchemaError

Folds = list[tuple[Ints, Ints]]  # row indices: learned from, held back

FEWEST_OF_A_KIND = 20  # defaults, and as many others


class Columns(NamedTuple):
    """The encoded columns of training rows.

    Attributes
    ----------
    names : tuple of str
        One name per column.
    categorical : tuple of int
        Indices of the columns that hold category codes 0, 1, ...
    directions : tuple of int
        Per column +1 or -1 if a higher value may only raise or lower the risk, else 0.
    """

    names: tuple[str, ...]
    categorical: tuple[int, ...]
    directions: tuple[int, ...]


class Levels(NamedTuple):
    """The level of each row in a category with many levels.

    Attributes
    ----------
    column : int
        Index of the encoded column that is to hold the evidence of the level. The one
        before it holds the index of the level, if it is among the most frequent ones.
    codes : ndarray of int, shape (n,)
        The level of each row; -1 for a level that was never seen.
    n_levels : int
        Number of levels.
    """

    column: int
    codes: Ints
    n_levels: int


@dataclass(frozen=True)
class TrainingRows:
    """Encoded rows with their outcomes.

    Rows of refused applicants may stand behind those with an observed outcome: they
    are learned from, but never held back and never measured.

    Attributes
    ----------
    rows : ndarray of float, shape (n, columns)
        Numbers and category codes; NaN if missing.
    label : ndarray of int, shape (n,)
        1 for a default, else 0.
    groups : ndarray of int, shape (observed rows,)
        Rows of one group are never on both sides of a split.
    columns : Columns
        What the columns are.
    times : ndarray of int, shape (observed rows,), optional
        The day of each row; with it, calibrations are compared on the later rows.
    weigh : callable, optional
        Maps the indices of the rows learned from to their weights, those of `weight`
        included. It is given no other row, so held-back outcomes cannot leak into a
        weight.
    weight : ndarray of float, shape (observed rows,), optional
        How often each row counts, above 0; 1 by default.
    folds : ndarray of int, shape (observed rows,), optional
        Rows with the same number are held back together; drawn by default.
    levels : tuple of Levels
        Of each category with many levels; the columns of evidence are 0 in `rows`.
    """

    rows: Floats
    label: Ints
    groups: Ints
    columns: Columns
    times: Ints | None = None
    weigh: Callable[[Ints], Floats] | None = None
    weight: Floats | None = None
    folds: Ints | None = None
    levels: tuple[Levels, ...] = ()

    @property
    def n_observed(self) -> int:
        """Number of rows whose outcome was observed."""
        return len(self.groups)

    @property
    def observed_label(self) -> Ints:
        """Labels of the rows whose outcome was observed."""
        return self.label[: self.n_observed]

    @property
    def all_indices(self) -> Ints:
        """Indices of every row, refused applicants included."""
        return np.arange(len(self.label))

    def with_unobserved(self, folds: Folds) -> Folds:
        """Return the folds with every refused applicant added to the learning side."""
        unobserved = np.arange(self.n_observed, len(self.label))
        return [(np.append(learned, unobserved), held) for learned, held in folds]

    def weights_of(self, learned: Ints) -> Floats | None:
        """Return the weight of each row learned from; None if all weigh the same."""
        if self.weigh is not None:
            return self.weigh(learned)
        return self.weights_measured(learned)

    def weights_measured(self, held: Ints) -> Floats | None:
        """Return how often each measured row counts; None if each counts once.

        Parameters
        ----------
        held : ndarray of int, shape (k,)
            Indices of rows whose outcome was observed.
        """
        return None if self.weight is None else self.weight[held]


def folds_of(
    rows: TrainingRows,
    n_folds: int,
    seed: int,
) -> Folds:
    """Return the folds that a person stated, or drawn ones.

    Parameters
    ----------
    rows : TrainingRows
        The rows, with or without stated folds.
    n_folds : int
        Number of folds that are drawn, 2 or more.
    seed : int
        Seed of the drawing.

    Raises
    ------
    SchemaError
        If nothing can be learned outside a stated fold.
    """
    if rows.folds is None:
        return stratified_folds(
            rows.observed_label,
            rows.groups,
            n_folds,
            seed,
        )
    folds = stated_folds(rows.folds, rows.groups)
    for _, held in folds:
        _require_defaults_outside(rows, held)
    return folds


def stated_folds(fold_of_row: Ints, groups: Ints) -> Folds:
    """Return the folds that a column states; a group is never on both sides of one.

    Rows of a group that is held back are not learned from, even if they belong to
    another fold.

    Parameters
    ----------
    fold_of_row : ndarray of int, shape (n,)
        Rows with the same number are held back together.
    groups : ndarray of int, shape (n,)
        Rows with the same number belong together.

    Examples
    --------
    >>> folds = stated_folds(np.array([0, 0, 1, 1]), np.array([0, 1, 1, 2]))
    >>> [(learned.tolist(), held.tolist()) for learned, held in folds]
    [([3], [0, 1]), ([0], [2, 3])]
    """
    folds = list[tuple[Ints, Ints]]()
    for number in np.unique(fold_of_row):
        is_held = fold_of_row == number
        is_related = np.isin(groups, groups[is_held])
        folds.append((np.flatnonzero(~is_related), np.flatnonzero(is_held)))
    return folds


def _require_defaults_outside(rows: TrainingRows, held: Ints) -> None:
    is_related = np.isin(rows.groups, rows.groups[held])
    if fewer_outcomes(rows.observed_label[~is_related]) < 1:
        raise SchemaError(
            f"the rows outside a stated fold of {len(held)} rows have one outcome only",
            where="folds",
            expected="defaults and other rows outside each fold",
            do="state other folds, or leave the column of folds out of the spec",
        )


def stratified_folds(
    label: Ints,
    groups: Ints,
    n_folds: int,
    seed: int,
) -> Folds:
    """Cut rows into folds with similar default rates, keeping each group together.

    Parameters
    ----------
    label : ndarray of int, shape (n,)
        1 for a default, else 0.
    groups : ndarray of int, shape (n,)
        Rows with the same value are held back together.
    n_folds : int
        Number of folds, 2 or more.
    seed : int
        Seed of the shuffle.

    Returns
    -------
    list of (ndarray of int, ndarray of int)
        Per fold, the indices learned from and those held back.

    Examples
    --------
    >>> folds = stratified_folds(np.array([0, 1, 0, 1]), np.arange(4), 2, seed=0)
    >>> [held.tolist() for _, held in folds]
    [[1, 2], [0, 3]]
    """
    if len(np.unique(groups)) == len(groups):
        by_row = StratifiedKFold(n_folds, shuffle=True, random_state=seed)
        return list(by_row.split(label, label))
    by_group = StratifiedGroupKFold(n_folds, shuffle=True, random_state=seed)
    return list(by_group.split(label, label, groups))


def fewer_outcomes(label: Ints) -> int:
    """Return the number of defaults or of others, whichever is smaller.

    Examples
    --------
    >>> fewer_outcomes(np.array([0, 1, 0, 0]))
    1
    """
    n_defaults = int(label.sum())
    return min(n_defaults, len(label) - n_defaults)


def require_both_outcomes(label: Ints) -> None:
    """Check that there are enough defaults and enough others to learn from.

    Raises
    ------
    SchemaError
        If there are fewer than `FEWEST_OF_A_KIND` rows of either kind.
    """
    fewest = fewer_outcomes(label)
    if fewest < FEWEST_OF_A_KIND:
        raise SchemaError(
            f"the rarer outcome occurs in only {fewest} rows",
            where="training rows",
            expected=f"at least {FEWEST_OF_A_KIND} defaults and as many others",
            do="use more rows",
        )
