"""The baseline that reasons are given against: who the customer is compared with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import nan
from typing import Any

import numpy as np

from obligor.arrays import Bools, Floats
from obligor.errors import ModelError


@dataclass(frozen=True)
class Baseline:
    """A population, its typical values and its mean contributions.

    A contribution less its baseline says how much a feature moved the customer away from that population;
    summed over the features that is the margin less the population's mean margin.

    Attributes
    ----------
    population : str
        Who is in it, in words.
    n : int
        How many rows.
    values : tuple of float
        Median of each feature; NaN where most have none.
    contributions : tuple of float
        Mean SHAP contribution of each feature, log-odds.
    """

    population: str
    n: int
    values: tuple[float, ...]
    contributions: tuple[float, ...]

    @classmethod
    def of(cls, population: str, rows: Floats, contributions: Floats) -> Baseline:
        """Return the baseline of some rows, shape (n, features), and their contributions.

        Examples
        --------
        >>> rows = np.array([[1.0, np.nan], [3.0, np.nan], [8.0, 5.0]])
        >>> Baseline.of("three", rows, np.full((3, 2), 0.25))
        Baseline(population='three', n=3, values=(3.0, nan), contributions=(0.25, 0.25))
        """
        is_known = ~np.isnan(rows)
        medians = [
            float(np.median(column[known])) if known.mean() >= 0.5 else nan
            for column, known in zip(rows.T, is_known.T, strict=True)
        ]
        return cls(
            population,
            len(rows),
            tuple(medians),
            tuple(contributions.mean(axis=0).tolist()),
        )

    @classmethod
    def none(cls, n_features: int) -> Baseline:
        """Return the baseline of SHAP itself: the mean over the training rows, typical values not kept."""
        return cls("all training rows", 0, (nan,) * n_features, (0.0,) * n_features)

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON; NaN becomes null."""
        values = [None if value != value else value for value in self.values]
        return {
            "population": self.population,
            "n": self.n,
            "values": values,
            "contributions": self.contributions,
        }

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> Baseline:
        """Return what `as_dict` gave."""
        values = tuple(
            nan if value is None else float(value) for value in found["values"]
        )
        return cls(
            found["population"], found["n"], values, tuple(found["contributions"])
        )


def choose_baseline(
    rows: Floats,
    explain: Callable[[Floats], tuple[Floats, Floats]],
    is_approved: Bools | None,
) -> Baseline:
    """Return the baseline of the approved rows, or of all where `is_approved` is None or nobody is.

    Parameters
    ----------
    rows : array, shape (n, features)
        Training rows; some thousand are sharp enough.
    explain : callable
        `PdModel.explain`.

    Raises
    ------
    ModelError
        Where there are no rows.
    """
    if not len(rows):
        raise ModelError(
            "no rows to compare with", where="baseline", expected="the training rows"
        )
    population = "all customers of the training sample"
    if is_approved is not None and is_approved.any():
        rows, population = (
            rows[is_approved],
            "approved customers of the training sample",
        )
    return Baseline.of(population, rows, explain(rows)[0])
