"""Whether a difference is more than chance: two AUCs on the same rows, default rates against PDs, grades."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from obligor.arrays import Floats, Ints
from obligor.training.metrics.figures import auc
from obligor.training.metrics.statistics import Interval

BINS = 10
PRUDENCE = 0.75  # of the Pluto-Tasche bound: with it three in four portfolios of that PD show more defaults


class AucTest(NamedTuple):
    """The difference of two AUCs with its 95% interval and the p-value of no difference."""

    difference: float
    low: float
    high: float
    p_value: float


def delong(first: Floats, second: Floats, label: Ints) -> AucTest:
    """Compare the AUCs of two scores on the same rows (DeLong, DeLong, Clarke-Pearson 1988; Sun, Xu 2014 for ranks).

    Rows are taken as independent: with several rows per customer its interval is too narrow, and the paired bootstrap
    over customers beside it is the one to trust.

    Examples
    --------
    >>> label = np.array([0, 0, 0, 1, 1, 1])
    >>> good, poor = np.array([1., 2, 4, 3, 5, 6]), np.array([1., 5, 6, 2, 3, 4])
    >>> round(delong(good, poor, label).difference, 3)     # 8 of 9 pairs against 3 of 9
    0.556
    """
    bad, good = label == 1, label == 0
    m, n = int(bad.sum()), int(good.sum())
    areas, of_bad, of_good = [], [], []
    for score in (first, second):
        together, inside_bad, inside_good = (
            stats.rankdata(part) for part in (score, score[bad], score[good])
        )
        of_bad.append((together[bad] - inside_bad) / n)
        of_good.append(1 - (together[good] - inside_good) / m)
        areas.append(of_bad[-1].mean())
    spread = np.cov(of_bad) / m + np.cov(of_good) / n
    variance = float(spread[0, 0] + spread[1, 1] - 2 * spread[0, 1])
    gap = float(areas[0] - areas[1])
    error = np.sqrt(max(variance, 0.0))
    p_value = 2 * float(stats.norm.sf(abs(gap) / error)) if error > 0 else 1.0
    return AucTest(gap, gap - 1.96 * error, gap + 1.96 * error, p_value)


def area(score: Floats, label: Ints) -> Interval:
    """Return the AUC with DeLong's 95% interval: its difference from that of a score that is the same for all.

    Examples
    --------
    >>> print(area(np.array([1.0, 2, 4, 3, 5, 6]), np.array([0, 0, 0, 1, 1, 1])))
    0.8889 [0.5809, 1.0000]
    """
    if min(label.sum(), len(label) - label.sum()) < 2:
        return Interval(auc(score, label), 0.0, 1.0)
    test = delong(score, np.zeros(len(score)), label)
    return Interval(
        test.difference + 0.5, max(test.low + 0.5, 0.0), min(test.high + 0.5, 1.0)
    )


def rate(defaults: int, n: int) -> Interval:
    """Return a default rate with the 95% interval of Jeffreys (Brown, Cai, DasGupta 2001).

    Examples
    --------
    >>> print(rate(3, 100))
    0.0300 [0.0085, 0.0779]
    """
    low, high = stats.beta.ppf(
        [0.025, 0.975], defaults + 0.5, n - defaults + 0.5
    ).tolist()
    return Interval(defaults / n, low, high)


def hosmer_lemeshow(pd_: Floats, label: Ints) -> tuple[float, float]:
    """Return the statistic over ten equally filled bins and its p-value, on rows the model has not seen (ten degrees).

    Examples
    --------
    >>> pd_ = np.repeat([0.1, 0.3], 1000)
    >>> label = np.concatenate([np.repeat([1, 0], [100, 900]), np.repeat([1, 0], [300, 700])])
    >>> hosmer_lemeshow(pd_, label)     # as many defaults as expected
    (0.0, 1.0)
    """
    edges = np.unique(np.quantile(pd_, np.linspace(0, 1, BINS + 1)[1:-1]))
    place = np.searchsorted(edges, pd_, side="left")
    n, bads, expected = (
        np.bincount(place, weight) for weight in (np.ones(len(pd_)), label, pd_)
    )
    used = n > 0
    n, bads, expected = n[used], bads[used], expected[used]
    statistic = float(((bads - expected) ** 2 / (expected * (1 - expected / n))).sum())
    return round(statistic, 9), float(stats.chi2.sf(round(statistic, 9), len(n)))


def by_grade(grade: Ints, pd_: Floats, label: Ints) -> pd.DataFrame:
    """Return each grade's mean PD beside its defaults, with the binomial test and prudent upper bounds.

    Returns
    -------
    DataFrame
        Index grade; ``rows, share, mean_pd, defaults, default_rate``; ``p_value`` of as many defaults or more at that
        PD (binomial; below .05 the PD is too low); ``upper_jeffreys`` (95%, Beta(d + 1/2, n - d + 1/2)) and
        ``upper_pluto_tasche`` (most prudent estimate at `PRUDENCE`, of all rows of this grade and worse ones, which
        makes bounds rise with the grade and gives grades without any default one).

    Examples
    --------
    >>> found = by_grade(np.array([1] * 100 + [2] * 50), np.full(150, 0.02), np.array([0] * 147 + [1] * 3))
    >>> found["upper_pluto_tasche"].round(3).tolist()     # 3 of 150, then 3 of 50
    [0.034, 0.1]
    """
    frame = pd.DataFrame({"grade": grade, "pd": pd_, "label": label}).groupby("grade")
    found = pd.DataFrame(
        {
            "rows": frame.size(),
            "share": frame.size() / len(label),
            "mean_pd": frame["pd"].mean(),
            "defaults": frame["label"].sum(),
            "default_rate": frame["label"].mean(),
        }
    )
    n, d = found["rows"].to_numpy(), found["defaults"].to_numpy()
    worse_n, worse_d = n[::-1].cumsum()[::-1], d[::-1].cumsum()[::-1]
    found["p_value"] = stats.binom.sf(d - 1, n, found["mean_pd"])
    found["upper_jeffreys"] = stats.beta.ppf(0.95, d + 0.5, n - d + 0.5)
    bound = stats.beta.ppf(PRUDENCE, worse_d + 1, np.maximum(worse_n - worse_d, 1e-9))
    found["upper_pluto_tasche"] = np.maximum.accumulate(bound)
    return found


def concentration(share: Floats) -> float:
    """Return the Herfindahl index of shares: 1 / number of grades where all are alike, 1 where one holds all.

    Examples
    --------
    >>> concentration(np.array([0.5, 0.5]))
    0.5
    """
    return float((share**2).sum())
