"""Boosted trees that also read columns computed from others.

These are ratios and differences of two columns, ratios of three, and the evidence of
the levels of a category with many. All of them are selected or learned from the rows
learned from alone, in each fold anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, permutations

import lightgbm as lgb
import numpy as np

from obligor.arrays import Floats, Ints
from obligor.features.encoding import Derived, Pair, Triple, derived
from obligor.training.candidates.fit_settings import (
    DERIVED_MEMBERS,
    LIGHTGBM,
    MEMBERS,
    RATIOS,
    FitSettings,
)
from obligor.training.candidates.fold_members import (
    FoldMembers,
    fit_fold_members,
)
from obligor.training.candidates.level_evidence import rows_with_evidence
from obligor.training.candidates.training_rows import (
    Folds,
    TrainingRows,
    fewer_outcomes,
)
from obligor.training.candidates.trees import (
    TreeFits,
    keep_fits,
    lightgbm_parameters,
)

MOST_SELECTED = 40  # pairs, and as many triples
MOST_PAIRED_COLUMNS = 30  # they make 1,305 pairs to screen
MOST_TRIPLED_COLUMNS = 10  # they make 720 triples to screen
MOST_SCREENED_ROWS = 15_000
SCREENING_TREES = 150


def fit_derived_trees(
    rows: TrainingRows,
    folds: Folds,
    settings: FitSettings,
    best_loss: float,
) -> TreeFits:
    """Fit trees with derived columns; every fold selects its own on its own rows.

    Parameters
    ----------
    rows : TrainingRows
        What to learn from.
    folds : list of (ndarray of int, ndarray of int)
        Indices learned from and held back.
    settings : FitSettings
        Seed, threads and bags.
    best_loss : float
        The least log loss of the other members on the first fold.

    Returns
    -------
    TreeFits
        Without members if no column can be derived.
    """
    if len(_free_columns(rows)) < 2 and not rows.levels:
        return TreeFits({})
    choices = settings.affordable(DERIVED_MEMBERS, len(rows.label))
    has_much = settings.has_much_to_learn(len(rows.label), fewer_outcomes(rows.label))
    if not has_much and not rows.levels:
        choices = {RATIOS: choices[RATIOS]}
    selected = dict[bytes, tuple[Derived, ...]]()

    def values_of(learned: Ints) -> Floats:
        values = rows_with_evidence(rows, learned, settings.seed)
        screening = _Screening(rows, values, learned, settings)
        columns = screening.pairs()
        if has_much:
            columns += screening.triples(columns)
        selected[learned.tobytes()] = columns
        return derived(values, columns)

    def fit() -> TreeFits:
        members = FoldMembers(choices, values_of, RATIOS)
        fitted = fit_fold_members(rows, folds, members, settings, best_loss)
        return TreeFits(fitted, selected[rows.all_indices.tobytes()])

    described = {"derived": choices, "has_much": has_much, "best_loss": best_loss}
    return keep_fits(rows, folds, described, settings, fit)


def _free_columns(rows: TrainingRows) -> list[int]:
    """List the numbers without a direction: a ratio would not keep it."""
    evidence = {levels.column for levels in rows.levels}
    return [
        index
        for index, direction in enumerate(rows.columns.directions)
        if index not in rows.columns.categorical
        and index not in evidence
        and not direction
    ]


class _Screening:
    """Selects derived columns from the gains of quick fits.

    Parameters
    ----------
    rows : TrainingRows
        Outcomes and columns.
    values : ndarray of float, shape (n, columns)
        Values of the rows.
    learned : ndarray of int, shape (k,)
        Rows to learn from; at most `MOST_SCREENED_ROWS` of them are.
    settings : FitSettings
        Seed and threads.
    """

    def __init__(
        self,
        rows: TrainingRows,
        values: Floats,
        learned: Ints,
        settings: FitSettings,
    ) -> None:
        self.rows = rows
        step = -(-len(learned) // MOST_SCREENED_ROWS)
        sample = learned[::step]
        weight = rows.weights_of(learned)
        self.weight = None if weight is None else weight[::step]
        self.label = rows.label[sample]
        self.values = values[sample]
        self.n_columns = values.shape[1]
        self.free = _free_columns(rows)
        parameters = lightgbm_parameters(rows, MEMBERS[LIGHTGBM], settings.threads)
        del parameters["monotone_constraints"]
        del parameters["monotone_constraints_method"]
        self.parameters = {
            **parameters,
            "seed": settings.seed,
            "feature_fraction": 0.2,
            "learning_rate": 0.05,
        }

    def pairs(self) -> tuple[Derived, ...]:
        """Return the ratios and differences of two columns that gain most."""
        columns = self.free
        if len(columns) > MOST_PAIRED_COLUMNS:
            gains = self._gains(())
            columns = _best(columns, gains, MOST_PAIRED_COLUMNS)
        ratios = [Pair("/", *two) for two in permutations(columns, 2)]
        gaps = [Pair("-", *two) for two in combinations(columns, 2)]
        return self._select([*ratios, *gaps])

    def triples(self, pairs: Sequence[Derived]) -> tuple[Derived, ...]:
        """Return the ratios of three columns that gain most.

        Parameters
        ----------
        pairs : sequence of Pair
            Those selected; columns that are used in them come first.
        """
        gains = self._gains(pairs)
        used = gains[: self.n_columns].copy()
        of_pairs = gains[self.n_columns :]
        for pair, gain in zip(pairs, of_pairs, strict=True):
            used[[pair.first, pair.second]] += gain
        columns = _best(self.free, used, MOST_TRIPLED_COLUMNS)
        triples = list[Derived]()
        for first, second in combinations(columns, 2):
            for third in columns:
                if third not in (first, second):
                    triples.append(Triple("-", first, second, third))
                    triples.append(Triple("+", first, second, third))
        return self._select(triples)

    def _select(self, candidates: Sequence[Derived]) -> tuple[Derived, ...]:
        if not candidates:
            return ()
        gains = self._gains(candidates)[self.n_columns :]
        best_first = np.argsort(-gains, kind="stable")[:MOST_SELECTED]
        return tuple(candidates[index] for index in best_first if gains[index] > 0)

    def _gains(self, candidates: Sequence[Derived]) -> Floats:
        """Return the gain of each column and each candidate in a quick fit."""
        dataset = lgb.Dataset(
            derived(self.values, candidates),
            self.label,
            weight=self.weight,
            categorical_feature=list(self.rows.columns.categorical),
            params={"verbose": -1},
        )
        booster = lgb.train(self.parameters, dataset, SCREENING_TREES)
        gains: Floats = booster.feature_importance("gain")
        return gains


def _best(columns: Sequence[int], gains: Floats, most: int) -> list[int]:
    """Return the columns with the largest gains, in their own order."""
    by_gain = sorted(columns, key=lambda column: -gains[column])
    return sorted(by_gain[:most])
