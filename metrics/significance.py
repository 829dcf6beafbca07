"""Whether a difference is more than chance: AUCs, default rates against PDs, grades."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from obligor.arrays import Floats, Ints
from obligor.metrics.figures import auc
from obligor.metrics.statistics import Interval

BINS = 10
Z_95 = 1.96
INTERVAL = (0.025, 0.975)
# Confidence of the Pluto-Tasche bound: three in four portfolios of that PD would show
# more defaults.
PRUDENCE = 0.75


class AucTest(NamedTuple):
    """The difference of two AUCs.

    Attributes
    ----------
    difference : float
        First less second, in [-1, 1].
    low, high : float
        Ends of its 95% interval.
    p_value : float
        Two-sided, of no difference.
    """

    difference: float
    low: float
    high: float
    p_value: float


class _Placements(NamedTuple):
    """Per default, the share of others below it; per other, of defaults above it."""

    of_bad: Floats
    of_good: Floats


def delong(
    first: Floats,
    second: Floats,
    label: Ints,
) -> AucTest:
    """Compare the AUCs of two scores on the same rows.

    The test is that of DeLong, DeLong and Clarke-Pearson (1988), by ranks (Sun and Xu
    2014). Rows are taken as independent: with several rows per customer its interval
    is too narrow, and the paired bootstrap over customers is the one to trust.

    Parameters
    ----------
    first, second : ndarray of float, shape (n,)
        Scores that rise with the risk.
    label : ndarray of int, shape (n,)
        1 for a default, else 0; both must occur.

    Examples
    --------
    >>> label = np.array([0, 0, 0, 1, 1, 1])
    >>> good = np.array([1.0, 2, 4, 3, 5, 6])    # ranks 8 of 9 pairs correctly
    >>> poor = np.array([1.0, 5, 6, 2, 3, 4])    # 3 of 9
    >>> round(delong(good, poor, label).difference, 3)
    0.556
    """
    first_placements = _placements(first, label)
    second_placements = _placements(second, label)
    of_bad = [first_placements.of_bad, second_placements.of_bad]
    of_good = [first_placements.of_good, second_placements.of_good]
    n_bad = len(of_bad[0])
    n_good = len(of_good[0])
    covariance = np.cov(of_bad) / n_bad + np.cov(of_good) / n_good
    variances = covariance[0, 0] + covariance[1, 1]
    variance = float(variances - 2 * covariance[0, 1])
    # An AUC is the mean of the placements of the defaults.
    gap = float(of_bad[0].mean() - of_bad[1].mean())
    error = np.sqrt(max(variance, 0.0))
    p_value = 1.0
    if error > 0:
        one_sided = float(stats.norm.sf(abs(gap) / error))
        p_value = 2 * one_sided
    margin = Z_95 * error
    return AucTest(gap, gap - margin, gap + margin, p_value)


def _placements(score: Floats, label: Ints) -> _Placements:
    bad = label == 1
    good = label == 0
    ranks = stats.rankdata(score)
    ranks_among_bad = stats.rankdata(score[bad])
    ranks_among_good = stats.rankdata(score[good])
    n_bad = int(bad.sum())
    n_good = int(good.sum())
    of_bad = (ranks[bad] - ranks_among_bad) / n_good
    of_good = 1 - (ranks[good] - ranks_among_good) / n_bad
    return _Placements(of_bad, of_good)


def area(score: Floats, label: Ints) -> Interval:
    """Return the AUC with DeLong's 95% interval.

    The interval is that of its difference from a score that is the same for all rows.

    Parameters
    ----------
    score : ndarray of float, shape (n,)
        Rises with the risk.
    label : ndarray of int, shape (n,)
        1 for a default, else 0.

    Returns
    -------
    Interval
        [0, 1] if either outcome occurs fewer than twice.

    Examples
    --------
    >>> print(area(np.array([1.0, 2, 4, 3, 5, 6]), np.array([0, 0, 0, 1, 1, 1])))
    0.8889 [0.5809, 1.0000]
    """
    n_bad = label.sum()
    n_good = len(label) - n_bad
    if min(n_bad, n_good) < 2:
        return Interval(auc(score, label), 0.0, 1.0)
    constant_score = np.zeros(len(score))
    test = delong(score, constant_score, label)
    low = max(test.low + 0.5, 0.0)
    high = min(test.high + 0.5, 1.0)
    return Interval(test.difference + 0.5, low, high)


def rate(defaults: int, n: int) -> Interval:
    """Return a default rate with Jeffreys' 95% interval (Brown, Cai, DasGupta 2001).

    Parameters
    ----------
    defaults : int
        From 0 to `n`.
    n : int
        Number of rows, 1 or more.

    Examples
    --------
    >>> print(rate(3, 100))
    0.0300 [0.0085, 0.0779]
    """
    others = n - defaults
    ends = stats.beta.ppf(INTERVAL, defaults + 0.5, others + 0.5)
    low, high = ends.tolist()
    return Interval(defaults / n, low, high)


def hosmer_lemeshow(pd_: Floats, label: Ints) -> tuple[float, float]:
    """Compare defaults with expected defaults in ten equally filled bins.

    The test is for rows the model has not seen, so it has as many degrees of freedom
    as there are bins (Hosmer and Lemeshow 1980).

    Parameters
    ----------
    pd_ : ndarray of float, shape (n,)
        PDs in (0, 1).
    label : ndarray of int, shape (n,)
        1 for a default, else 0.

    Returns
    -------
    float, float
        The statistic and its p-value.

    Examples
    --------
    >>> pd_ = np.repeat([0.1, 0.3], 1000)
    >>> label = np.repeat([1, 0, 1, 0], [100, 900, 300, 700])
    >>> hosmer_lemeshow(pd_, label)     # as many defaults as expected
    (0.0, 1.0)
    """
    shares = np.linspace(0, 1, BINS + 1)
    edges = np.unique(np.quantile(pd_, shares[1:-1]))
    bin_index = np.searchsorted(edges, pd_, side="left")
    rows = np.bincount(bin_index)
    is_used = rows > 0
    rows = rows[is_used]
    bads = np.bincount(bin_index, label)[is_used]
    expected = np.bincount(bin_index, pd_)[is_used]
    variance = expected * (1 - expected / rows)
    squared_gaps = (bads - expected) ** 2
    statistic = round(float((squared_gaps / variance).sum()), 9)
    p_value = stats.chi2.sf(statistic, len(rows))
    return statistic, float(p_value)


def by_grade(
    grade: Ints,
    pd_: Floats,
    label: Ints,
) -> pd.DataFrame:
    """Return each grade's mean PD beside its defaults.

    Parameters
    ----------
    grade : ndarray of int, shape (n,)
        1 is the best.
    pd_ : ndarray of float, shape (n,)
        PDs in (0, 1).
    label : ndarray of int, shape (n,)
        1 for a default, else 0.

    Returns
    -------
    DataFrame
        Index grade; ``rows, share, mean_pd, defaults, default_rate``; ``p_value`` of
        as many defaults or more at that PD (binomial; below 0.05 the PD is too low);
        ``upper_jeffreys`` (95%, Beta(d + 1/2, n - d + 1/2)); ``upper_pluto_tasche``,
        the most prudent estimate at `PRUDENCE` from all rows of this grade and worse
        ones (Pluto and Tasche 2005). That bound rises with the grade and exists for
        grades without any default.

    Examples
    --------
    >>> grade = np.repeat([1, 2], [100, 50])
    >>> label = np.repeat([0, 1], [147, 3])
    >>> table = by_grade(grade, np.full(150, 0.02), label)
    >>> table["upper_pluto_tasche"].round(3).tolist()     # 3 of 150, then 3 of 50
    [0.034, 0.1]
    """
    frame = pd.DataFrame({"grade": grade, "pd": pd_, "label": label})
    rows = frame.groupby("grade")
    table = pd.DataFrame(
        {
            "rows": rows.size(),
            "share": rows.size() / len(label),
            "mean_pd": rows["pd"].mean(),
            "defaults": rows["label"].sum(),
            "default_rate": rows["label"].mean(),
        }
    )
    n = table["rows"].to_numpy()
    d = table["defaults"].to_numpy()
    table["p_value"] = stats.binom.sf(d - 1, n, table["mean_pd"])
    table["upper_jeffreys"] = stats.beta.ppf(0.95, d + 0.5, n - d + 0.5)
    n_and_worse = _with_worse_grades(n)
    d_and_worse = _with_worse_grades(d)
    others = np.maximum(n_and_worse - d_and_worse, 1e-9)
    bound = stats.beta.ppf(PRUDENCE, d_and_worse + 1, others)
    table["upper_pluto_tasche"] = np.maximum.accumulate(bound)
    return table


def _with_worse_grades(counts: Ints) -> Ints:
    """Return for each grade the sum over it and all worse grades."""
    worst_first = counts[::-1]
    return worst_first.cumsum()[::-1]


def concentration(share: Floats) -> float:
    """Return the Herfindahl index: the sum of squared shares.

    It is 1 / (number of grades) if all are equally frequent and 1 if one holds all.

    Examples
    --------
    >>> concentration(np.array([0.5, 0.5]))
    0.5
    """
    return float((share**2).sum())
