"""How common defaults are in the population, if a table holds them otherwise.

A table may hold every default and few of the others. Its PDs are then moved to the
population, and a figure counts its rows as the population holds them.
"""

from __future__ import annotations

from math import log
from typing import NamedTuple

import numpy as np

from obligor.arrays import Floats, Ints
from obligor.features.table_spec import Spec


class Population(NamedTuple):
    """The share of defaults in the population and in the table.

    Attributes
    ----------
    bad_rate : float
        In the population, in (0, 1).
    sample_bad_rate : float
        Among all rows of the table with an outcome, in (0, 1).
    """

    bad_rate: float
    sample_bad_rate: float

    @property
    def shift(self) -> float:
        """What is added to the log-odds of a PD: the prior correction.

        With r the rate in the population and s that in the table it is
        ``ln(r / (1 - r)) - ln(s / (1 - s))`` (King and Zeng 2001, equation 7): the
        odds of the population replace those of the table, and the slopes stay.

        Examples
        --------
        >>> shift = Population(bad_rate=0.05, sample_bad_rate=0.5).shift
        >>> round(shift, 6)    # ln(1 / 19)
        -2.944439
        >>> log_odds = log(0.5 / 0.5) + shift
        >>> round(float(1 / (1 + np.exp(-log_odds))), 6)    # 1:1 becomes 1:19
        0.05
        """
        return _log_odds(self.bad_rate) - _log_odds(self.sample_bad_rate)

    def moved(self, pd_: Floats) -> Floats:
        """Return PDs at the odds of the population, shape (n,)."""
        log_odds = np.log(pd_ / (1 - pd_)) + self.shift
        return 1 / (1 + np.exp(-log_odds))

    def weights(self, label: Ints) -> Floats:
        """Return how often each row counts in the population, shape (n,).

        A default counts r / s and another row (1 - r) / (1 - s) (Manski and Lerman
        1977).

        Examples
        --------
        >>> Population(0.05, 0.5).weights(np.array([1, 0])).round(3).tolist()
        [0.1, 1.9]
        """
        of_bad = self.bad_rate / self.sample_bad_rate
        of_good = (1 - self.bad_rate) / (1 - self.sample_bad_rate)
        return np.where(label == 1, of_bad, of_good)


def _log_odds(rate: float) -> float:
    return log(rate / (1 - rate))


def population_notes(population: Population | None) -> tuple[str, ...]:
    """Return how PDs and figures are moved to a population, in a sentence."""
    if population is None:
        return ()
    return (
        f"PDs are moved to a population with {population.bad_rate:.4g} defaults per "
        f"row (the table holds {population.sample_bad_rate:.4g}): "
        f"{population.shift:+.4f} is added to their log-odds, and figures count rows "
        "as the population holds them",
    )


def population_of(
    label: Ints,
    weight: Floats | None,
    spec: Spec,
) -> Population | None:
    """Return the population that a spec states, None if the table shows it.

    Parameters
    ----------
    label : ndarray of int, shape (n,)
        1 for a default, else 0; of every row of the table.
    weight : ndarray of float, shape (n,), optional
        How often each row counts; 1 by default.
    spec : Spec
        May state the odds or the rate of the population.
    """
    bad_rate = spec.target.bad_rate
    if bad_rate is None:
        return None
    return Population(bad_rate, float(np.average(label, weights=weight)))
