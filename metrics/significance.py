"""Whether a difference is more than chance: AUCs, default rates against PDs, grades.

A row counts in a figure as often as its weight says. Intervals and tests take it as one
observation, however heavy it is: weights make them no narrower than the rows allow.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from obligor.arrays import Floats, Ints
from obligor.metrics.figures import auc
from obligor.metrics.statistics import Interval, effective_rows, quantiles

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


class PairedRows(NamedTuple):
    """Two PDs of the same rows, and the customers that the rows belong to.

    Attributes
    ----------
    first, second : ndarray of float, shape (n,)
        PDs in (0, 1).
    label : ndarray of int, shape (n,)
        1 for a default, else 0; both must occur.
    groups : ndarray of int, shape (n,)
        The customer of each row.
    weight : ndarray of float, shape (n,)
        How often each row counts.
    """

    first: Floats
    second: Floats
    label: Ints
    groups: Ints
    weight: Floats


class _Placements(NamedTuple):
    """Per default, the share of others below it; per other, of defaults above it."""

    of_bad: Floats
    of_good: Floats


class _Pair(NamedTuple):
    """What two AUCs differ by among the rows of one outcome.

    Attributes
    ----------
    gap : float
        Mean of the first placements less that of the second.
    variance : float
        Of that difference.
    """

    gap: float
    variance: float


def delong(
    first: Floats,
    second: Floats,
    label: Ints,
    weight: Floats | None = None,
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
    weight : ndarray of float, shape (n,), optional
        How often each row counts; 1 by default.

    Examples
    --------
    >>> label = np.array([0, 0, 0, 1, 1, 1])
    >>> good = np.array([1.0, 2, 4, 3, 5, 6])    # ranks 8 of 9 pairs correctly
    >>> poor = np.array([1.0, 5, 6, 2, 3, 4])    # 3 of 9
    >>> round(delong(good, poor, label).difference, 3)
    0.556
    """
    weights = np.ones(len(label)) if weight is None else weight
    first_placements = _placements(first, label, weights)
    second_placements = _placements(second, label, weights)
    of_bad = _pair(
        first_placements.of_bad,
        second_placements.of_bad,
        weights[label == 1],
    )
    of_good = _pair(
        first_placements.of_good,
        second_placements.of_good,
        weights[label == 0],
    )
    # An AUC is the mean of the placements of the defaults.
    gap = of_bad.gap
    error = np.sqrt(of_bad.variance + of_good.variance)
    p_value = 1.0
    if error > 0:
        one_sided = float(stats.norm.sf(abs(gap) / error))
        p_value = 2 * one_sided
    margin = Z_95 * error
    return AucTest(gap, gap - margin, gap + margin, p_value)


def _placements(
    score: Floats,
    label: Ints,
    weight: Floats,
) -> _Placements:
    _, score_index = np.unique(score, return_inverse=True)
    bad = np.bincount(score_index, weight * label)
    good = np.bincount(score_index, weight * (1 - label))
    # Rows of the same score count half.
    bad_below = np.cumsum(bad) - bad / 2
    good_below = np.cumsum(good) - good / 2
    of_bad = good_below[score_index[label == 1]] / good.sum()
    of_good = 1 - bad_below[score_index[label == 0]] / bad.sum()
    return _Placements(of_bad, of_good)


def _pair(
    first: Floats,
    second: Floats,
    weight: Floats,
) -> _Pair:
    """Return the mean difference of placements, and its variance over rows."""
    share = weight / weight.sum()
    gap = share @ first - share @ second
    squared = (share * (first - second - gap)) ** 2
    n_rows = len(weight)
    variance = squared.sum() * n_rows / max(n_rows - 1, 1)
    return _Pair(float(gap), float(variance))


def paired_difference(rows: PairedRows) -> dict[str, Interval]:
    """Return the first PD's Gini and Brier score less the second's, without any draw.

    The intervals are those that a bootstrap over customers approaches with many draws:
    a figure's variance is the sum over customers of the squared sums of what their
    rows add to it (the infinitesimal jackknife; for an AUC: Obuchowski 1997). They
    have no seed, so a decision based on them cannot change from run to run.

    Parameters
    ----------
    rows : PairedRows
        Both PDs with labels, customers and weights.

    Returns
    -------
    dict of str to Interval
        ``gini`` and ``brier``.

    Examples
    --------
    >>> label = np.array([0, 0, 0, 1, 1, 1])
    >>> good = np.array([0.1, 0.2, 0.4, 0.3, 0.5, 0.6])
    >>> poor = np.array([0.1, 0.5, 0.6, 0.2, 0.3, 0.4])
    >>> rows = PairedRows(good, poor, label, np.arange(6), np.ones(6))
    >>> print(paired_difference(rows)["gini"])    # (8 - 3) / 9 of the pairs, doubled
    1.1111 [0.0092, 2.2130]
    """
    gini = {}
    for name, pd_ in (("first", rows.first), ("second", rows.second)):
        gini[name] = _auc_with_influence(pd_, rows.label, rows.weight)
    auc_gap = gini["first"].value - gini["second"].value
    auc_influence = gini["first"].influence - gini["second"].influence
    share = rows.weight / rows.weight.sum()
    squared_error_gap = (rows.first - rows.label) ** 2 - (rows.second - rows.label) ** 2
    brier_gap = float((share * squared_error_gap).sum())
    brier_influence = share * (squared_error_gap - brier_gap)
    return {
        "gini": _clustered_interval(2 * auc_gap, 2 * auc_influence, rows.groups),
        "brier": _clustered_interval(brier_gap, brier_influence, rows.groups),
    }


class _Influence(NamedTuple):
    """A figure, and how much each row adds to its error."""

    value: float
    influence: Floats


def _auc_with_influence(score: Floats, label: Ints, weight: Floats) -> _Influence:
    _, index = np.unique(score, return_inverse=True)
    bad = weight * label
    good = weight - bad
    bad_at = np.bincount(index, bad)
    good_at = np.bincount(index, good)
    good_below = (np.cumsum(good_at) - good_at / 2) / good.sum()
    bad_above = 1 - (np.cumsum(bad_at) - bad_at / 2) / bad.sum()
    value = float((bad_at * good_below).sum() / bad.sum())
    of_bad = bad / bad.sum() * (good_below[index] - value)
    of_good = good / good.sum() * (bad_above[index] - value)
    return _Influence(value, of_bad + of_good)


def _clustered_interval(value: float, influence: Floats, groups: Ints) -> Interval:
    _, group_index = np.unique(groups, return_inverse=True)
    of_group = np.bincount(group_index, influence)
    n_groups = len(of_group)
    variance = (of_group**2).sum() * n_groups / max(n_groups - 1, 1)
    margin = Z_95 * float(np.sqrt(variance))
    return Interval(value, value - margin, value + margin)


def area(
    score: Floats,
    label: Ints,
    weight: Floats | None = None,
) -> Interval:
    """Return the AUC with DeLong's 95% interval.

    The interval is that of its difference from a score that is the same for all rows.

    Parameters
    ----------
    score : ndarray of float, shape (n,)
        Rises with the risk.
    label : ndarray of int, shape (n,)
        1 for a default, else 0.
    weight : ndarray of float, shape (n,), optional
        How often each row counts; 1 by default.

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
        return Interval(auc(score, label, weight), 0.0, 1.0)
    constant_score = np.zeros(len(score))
    test = delong(
        score,
        constant_score,
        label,
        weight,
    )
    low = max(test.low + 0.5, 0.0)
    high = min(test.high + 0.5, 1.0)
    return Interval(test.difference + 0.5, low, high)


def rate(defaults: float, n: float) -> Interval:
    """Return a default rate with Jeffreys' 95% interval (Brown, Cai, DasGupta 2001).

    Parameters
    ----------
    defaults : float
        From 0 to `n`.
    n : float
        Number of rows, 1 or more; the effective number if they have weights.

    Examples
    --------
    >>> print(rate(3, 100))
    0.0300 [0.0085, 0.0779]
    """
    others = n - defaults
    ends = stats.beta.ppf(INTERVAL, defaults + 0.5, others + 0.5)
    low, high = ends.tolist()
    return Interval(defaults / n, low, high)


def hosmer_lemeshow(
    pd_: Floats,
    label: Ints,
    weight: Floats | None = None,
) -> tuple[float, float]:
    """Compare defaults with expected defaults in ten equally filled bins.

    The test is for rows the model has not seen, so it has as many degrees of freedom
    as there are bins (Hosmer and Lemeshow 1980).

    Parameters
    ----------
    pd_ : ndarray of float, shape (n,)
        PDs in (0, 1).
    label : ndarray of int, shape (n,)
        1 for a default, else 0.
    weight : ndarray of float, shape (n,), optional
        How often each row counts; 1 by default. The variance of a bin is then larger
        by sum w^2 / sum w (Kish 1965).

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
    weights = np.ones(len(label)) if weight is None else weight
    bin_index = _risk_bins(pd_, weight)
    rows = np.bincount(bin_index, weights)
    is_used = rows > 0
    rows = rows[is_used]
    bads = np.bincount(bin_index, weights * label)[is_used]
    expected = np.bincount(bin_index, weights * pd_)[is_used]
    spread = np.bincount(bin_index, weights**2)[is_used] / rows
    variance = spread * expected * (1 - expected / rows)
    squared_gaps = (bads - expected) ** 2
    statistic = round(float((squared_gaps / variance).sum()), 9)
    p_value = stats.chi2.sf(statistic, len(rows))
    return statistic, float(p_value)


def _risk_bins(pd_: Floats, weight: Floats | None) -> Ints:
    shares = np.linspace(0, 1, BINS + 1)
    edges = np.unique(quantiles(pd_, shares[1:-1], weight))
    return np.searchsorted(edges, pd_, side="left")


def risk_bins(pd_: Floats, weight: Floats | None = None) -> int:
    """Return the number of bins of a Hosmer-Lemeshow test, its degrees of freedom.

    Examples
    --------
    >>> risk_bins(np.linspace(0.01, 0.5, 100)), risk_bins(np.full(100, 0.1))
    (10, 1)
    """
    return len(np.unique(_risk_bins(pd_, weight)))


def by_grade(
    grade: Ints,
    pd_: Floats,
    label: Ints,
    weight: Floats | None = None,
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
    weight : ndarray of float, shape (n,), optional
        How often each row counts; 1 by default. Shares and rates are weighted; the
        tests and bounds take the effective number of rows of a grade.

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
    n = table["rows"].to_numpy(dtype=np.float64)
    d = table["defaults"].to_numpy(dtype=np.float64)
    table["p_value"] = stats.binom.sf(d - 1, n, table["mean_pd"])
    if weight is not None:
        n, d = _weigh_grades(table, frame.assign(weight=weight))
    table["upper_jeffreys"] = stats.beta.ppf(0.95, d + 0.5, n - d + 0.5)
    n_and_worse = _with_worse_grades(n)
    d_and_worse = _with_worse_grades(d)
    others = np.maximum(n_and_worse - d_and_worse, 1e-9)
    bound = stats.beta.ppf(PRUDENCE, d_and_worse + 1, others)
    table["upper_pluto_tasche"] = np.maximum.accumulate(bound)
    return table


def _weigh_grades(table: pd.DataFrame, frame: pd.DataFrame) -> tuple[Floats, Floats]:
    """Weigh shares, rates and tests; return the effective rows and defaults."""
    for name in ("pd", "label"):
        frame[f"weighted_{name}"] = frame["weight"] * frame[name]
    rows = frame.groupby("grade")
    total = rows["weight"].sum()
    table["share"] = total / total.sum()
    table["mean_pd"] = rows["weighted_pd"].sum() / total
    table["default_rate"] = rows["weighted_label"].sum() / total
    sizes = [effective_rows(weight.to_numpy()) for _, weight in rows["weight"]]
    n = np.array(sizes)
    d = n * table["default_rate"].to_numpy()
    # The binomial tail for numbers that are not whole.
    is_any = d > 0
    tail = stats.beta.cdf(
        table["mean_pd"],
        np.maximum(d, 1e-9),
        n - d + 1,
    )
    table["p_value"] = np.where(is_any, tail, 1.0)
    return n, d


def _with_worse_grades(counts: Floats) -> Floats:
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
