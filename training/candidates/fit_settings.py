"""How candidate models are fitted: seed, threads, folds and LightGBM's parameters."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Required, TypedDict

from obligor.features.table_spec import Preference
from obligor.training.candidates.kept_fits import KeptFits
from obligor.training.candidates.watch import Watch, cost_of

SCORECARD = "scorecard"
LIGHTGBM = "lightgbm"
RATIOS = "ratios"
DEEP_TREES = "deep trees"  # the step in which both kinds are fitted
RATIOS_EXTRA_TREES = "ratios_extra_trees"
DEEP = "deep"
DEEP_EXTRA_TREES = "deep_extra_trees"
BLEND = "blend"

FOLDS = 5
FOLDS_OF_MANY = 3
MANY_ROWS = 50_000  # from here on fewer folds suffice, and larger steps
FEW_ROWS = 10_000  # up to here the mean of three fits is worth its time
MOST_TREES = 3000
PATIENCE = 60  # trees without a gain before early stopping
# From so many rows, and defaults or others, on deep trees and ratios of three pay.
MUCH_DATA = 3000
MANY_OUTCOMES = 150


class TreeChoices(TypedDict, total=False):
    """LightGBM's parameters that differ between the candidates, by LightGBM's names."""

    learning_rate: Required[float]
    num_leaves: int
    min_data_in_leaf: int
    feature_fraction: float
    feature_fraction_bynode: float
    bagging_fraction: float
    lambda_l2: float
    extra_trees: bool


# The members differ in kind, so that their errors differ: small trees, random cuts.
MEMBERS: Mapping[str, TreeChoices] = {
    LIGHTGBM: {
        "learning_rate": 0.03,
        "num_leaves": 8,
        "feature_fraction": 0.5,
        "lambda_l2": 20.0,
    },
    "extra_trees": {
        "learning_rate": 0.05,
        "num_leaves": 16,
        "feature_fraction_bynode": 0.5,
        "lambda_l2": 10.0,
        "extra_trees": True,
    },
}

# Deep trees find interactions of many columns, if the data have much to give. 63 and
# 127 leaves gained nothing over 31 on five tables, or 127 over 63 with random cuts; a
# tree of more than 64 is not explained by tables.
DEEP_MEMBERS: Mapping[str, TreeChoices] = {
    DEEP: {
        "learning_rate": 0.05,
        "num_leaves": 31,
        "feature_fraction": 0.5,
        "lambda_l2": 20.0,
        "min_data_in_leaf": 30,
    },
    DEEP_EXTRA_TREES: {
        "learning_rate": 0.05,
        "num_leaves": 63,
        "feature_fraction_bynode": 0.5,
        "lambda_l2": 10.0,
        "min_data_in_leaf": 20,
        "extra_trees": True,
    },
}
# On columns computed from others; those but the first only if the data have much to
# give.
DERIVED_MEMBERS: Mapping[str, TreeChoices] = {
    RATIOS: MEMBERS[LIGHTGBM],
    RATIOS_EXTRA_TREES: MEMBERS["extra_trees"],
    "ratios_deep": DEEP_MEMBERS[DEEP_EXTRA_TREES],
}
# On many rows these would take a third of the time, and others are close to them.
NOT_ON_MANY_ROWS = (DEEP_EXTRA_TREES, RATIOS_EXTRA_TREES)

# LightGBM with its default parameters: the peer that every report shows beside ours.
PLAIN: Mapping[str, object] = {
    "objective": "binary",
    "verbose": -1,
    "seed": 0,
    "deterministic": True,
    "force_row_wise": True,
}


def cores() -> int:
    """Return how many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@dataclass(frozen=True)
class FitSettings:
    """How to fit candidate models.

    Attributes
    ----------
    seed : int
        Seed of the folds and of every fit; makes the fit repeatable.
    threads : int
        Threads LightGBM may use, 1 or more; the result does not depend on it.
    bags : int, optional
        Each tree model is the mean of so many fits; by default 1 to 3, more if there
        are fewer rows.
    n_folds : int, optional
        Number of folds; by default fewer if there are many rows.
    most_trees : int
        Upper bound on the number of trees that early stopping chooses.
    members : mapping of str to TreeChoices
        The tree models to fit beside the scorecard, by name.
    has_deep : bool
        Whether to try deep trees if the data have much to give.
    has_ratios : bool
        Whether to try columns computed from others; pointless if the columns are ratios
        already.
    prefer : {"best", "single", "scorecard"}
        Which candidate is to become the challenger.
    kept : KeptFits
        Where fits are kept in case the run is stopped; nowhere by default.
    watch : Watch
        Is told of each step; nobody watches by default.
    """

    seed: int
    threads: int
    bags: int | None = None
    n_folds: int | None = None
    most_trees: int = MOST_TREES
    members: Mapping[str, TreeChoices] = field(default_factory=lambda: MEMBERS)
    has_deep: bool = True
    has_ratios: bool = True
    prefer: Preference = "best"
    kept: KeptFits = field(default_factory=KeptFits)
    watch: Watch = field(default_factory=Watch)

    def described(self, parameters: Mapping[str, object]) -> dict[str, object]:
        """Return what a fit depends on beside its rows, as JSON takes it.

        Parameters
        ----------
        parameters : mapping of str to object
            LightGBM's parameters; the number of threads changes no result.
        """
        that_matter = {**parameters, "num_threads": 0}
        return {
            "parameters": that_matter,
            "seed": self.seed,
            "bags": self.bags,
            "most_trees": self.most_trees,
        }

    def cost(self) -> float:
        """Return how long the steps of a fit take, in the unit of `watch.COSTS`."""
        names = [SCORECARD, *self.members]
        if self.has_deep:
            names.append(DEEP_TREES)
        if self.has_ratios:
            names.append(RATIOS)
        return sum(cost_of(name) for name in names)

    def name_of(self, choices: TreeChoices) -> str:
        """Return the name of a kind of trees, for whoever watches."""
        for name, of_member in self.members.items():
            if of_member is choices:
                return name
        return "trees"

    def seeds_for(self, n_rows: int) -> range:
        """Return the seeds whose fits of a tree model are averaged.

        Examples
        --------
        >>> settings = FitSettings(seed=7, threads=1)
        >>> list(settings.seeds_for(900)), list(settings.seeds_for(60_000))
        ([7, 8, 9], [7])
        """
        if self.bags:
            bags = self.bags
        elif n_rows < FEW_ROWS:
            bags = 3
        elif n_rows < MANY_ROWS:
            bags = 2
        else:
            bags = 1
        return range(self.seed, self.seed + bags)

    def has_much_to_learn(self, n_rows: int, n_rarer: int) -> bool:
        """Return whether deep trees and ratios of three columns may pay.

        Parameters
        ----------
        n_rows : int
            Rows to learn from.
        n_rarer : int
            Defaults among them, or others if those are fewer.
        """
        return n_rows >= MUCH_DATA and n_rarer >= MANY_OUTCOMES

    def affordable(
        self, members: Mapping[str, TreeChoices], n_rows: int
    ) -> dict[str, TreeChoices]:
        """Return the members that are fitted on so many rows.

        Parameters
        ----------
        members : mapping of str to TreeChoices
            Deep trees, or those on derived columns.
        n_rows : int
            Rows to learn from.

        Examples
        --------
        >>> settings = FitSettings(seed=7, threads=1)
        >>> list(settings.affordable(DEEP_MEMBERS, 60_000))
        ['deep']
        """
        return {
            name: choices
            for name, choices in members.items()
            if n_rows < MANY_ROWS or name not in NOT_ON_MANY_ROWS
        }

    def folds_for(self, n_rows: int) -> int:
        """Return the number of folds."""
        if self.n_folds:
            return self.n_folds
        return FOLDS if n_rows < MANY_ROWS else FOLDS_OF_MANY
