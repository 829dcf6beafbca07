"""The baseline that reasons are given against: whom a customer is compared with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import isnan, nan
from typing import TypedDict

import numpy as np

from obligor.arrays import Bools, Floats
from obligor.errors import ModelError

Explain = Callable[[Floats], tuple[Floats, Floats]]


class BaselineFields(TypedDict):
    """A baseline as it stands in ``baseline.json``; null if a value is missing."""

    population: str
    n: int
    values: list[float | None]
    contributions: tuple[float, ...]


@dataclass(frozen=True)
class Baseline:
    """A population, its typical values and its mean contributions.

    A contribution less its baseline tells how far a feature moved the customer away
    from that population. Summed over the features, that is the margin less the
    population's mean margin.

    Attributes
    ----------
    population : str
        Description of the population.
    n : int
        Number of rows.
    values : tuple of float
        Median of each feature; NaN if most rows have no value.
    contributions : tuple of float
        Mean SHAP contribution of each feature, in log-odds.
    """

    population: str
    n: int
    values: tuple[float, ...]
    contributions: tuple[float, ...]

    @classmethod
    def of(
        cls,
        population: str,
        rows: Floats,
        contributions: Floats,
    ) -> Baseline:
        """Return the baseline of some rows.

        Parameters
        ----------
        population : str
            Description of the population.
        rows : ndarray of float, shape (n, features)
            NaN if missing.
        contributions : ndarray of float, shape (n, features)
            SHAP contributions of the rows, in log-odds.

        Examples
        --------
        >>> rows = np.array([[1.0, np.nan], [3.0, np.nan], [8.0, 5.0]])
        >>> baseline = Baseline.of("three", rows, np.full((3, 2), 0.25))
        >>> baseline.values, baseline.contributions
        ((3.0, nan), (0.25, 0.25))
        """
        return cls(
            population,
            len(rows),
            tuple(_median(column) for column in rows.T),
            tuple(contributions.mean(axis=0).tolist()),
        )

    @classmethod
    def of_shap(cls, n_features: int) -> Baseline:
        """Return SHAP's own baseline: the mean over the training rows, no values."""
        no_values = (nan,) * n_features
        no_contributions = (0.0,) * n_features
        return cls("all training rows", 0, no_values, no_contributions)

    def as_dict(self) -> BaselineFields:
        """Return plain values for JSON; NaN becomes null."""
        return {
            "population": self.population,
            "n": self.n,
            "values": [None if isnan(value) else value for value in self.values],
            "contributions": self.contributions,
        }

    @classmethod
    def from_dict(cls, fields: BaselineFields) -> Baseline:
        """Return the baseline that `as_dict` wrote."""
        values = [nan if value is None else float(value) for value in fields["values"]]
        return cls(
            fields["population"],
            fields["n"],
            tuple(values),
            tuple(fields["contributions"]),
        )


def _median(column: Floats) -> float:
    is_present = ~np.isnan(column)
    if is_present.mean() < 0.5:
        return nan
    return float(np.median(column[is_present]))


def choose_baseline(
    rows: Floats,
    explain: Explain,
    is_approved: Bools | None,
) -> Baseline:
    """Return the baseline of the approved rows, or of all rows if none is approved.

    Parameters
    ----------
    rows : ndarray of float, shape (n, features)
        Training rows; a few thousand are precise enough.
    explain : callable
        Returns contributions and margins of rows: `PdModel.explain`.
    is_approved : ndarray of bool, shape (n,), optional
        Which rows the rules would have approved; None to use all.

    Raises
    ------
    ModelError
        If there are no rows.
    """
    if not len(rows):
        raise ModelError(
            "there are no rows to compare with",
            where="baseline",
            expected="the training rows",
        )
    if is_approved is None or not is_approved.any():
        population = "all customers of the training sample"
        contributions, _ = explain(rows)
        return Baseline.of(population, rows, contributions)
    population = "approved customers of the training sample"
    approved_rows = rows[is_approved]
    contributions, _ = explain(approved_rows)
    return Baseline.of(population, approved_rows, contributions)
