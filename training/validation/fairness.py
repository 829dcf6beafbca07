"""How approvals fall on groups the model may not look at: four fifths, equal opportunity, and proxies."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from obligor.arrays import Floats, Ints
from obligor.training.metrics.figures import auc

FEWEST, PARTS = (
    50,
    4,
)  # rows of a group that is shown; parts of an attribute that is a number
FOUR_FIFTHS = 0.8
PROXY = 0.3  # |Gini| from which on a column tells an attribute
APPROVED = (0.5, 0.7, 0.9)  # shares approved at which groups are compared


def groups_of(attribute: pd.Series[Any]) -> pd.Series[str]:
    """Return the group of each row: the attribute's value, or the quarter a number lies in; small ones are left out.

    Examples
    --------
    >>> groups_of(pd.Series(["f"] * 60 + ["m"] * 60 + ["x"])).value_counts().to_dict()
    {'f': 60, 'm': 60}
    """
    if pd.api.types.is_numeric_dtype(attribute) and attribute.nunique() > 2 * PARTS:
        attribute = pd.qcut(attribute, PARTS, duplicates="drop")
    named = attribute.astype(object).where(attribute.notna(), "missing").astype(str)
    counts = named.value_counts()
    return named.where(named.isin(counts[counts >= FEWEST].index))


def approvals(
    pd_: Floats, label: Ints, groups: pd.Series[str], approved: float
) -> pd.DataFrame:
    """Return per group what is approved where a share of all rows, those with the lowest PDs, is.

    Returns
    -------
    DataFrame
        ``rows, default_rate, mean_pd``; ``approved`` (share); ``four_fifths`` (over the best group's share; below .8 is
        adverse impact, 29 CFR 1607.4 D); ``approved_good`` (share of those who did not default: equal opportunity asks
        it to be alike, Hardt, Price, Srebro 2016).

    Examples
    --------
    >>> groups = pd.Series(["a", "a", "b", "b"])
    >>> found = approvals(np.array([.1, .2, .3, .4]), np.array([0, 0, 0, 1]), groups, 0.75)
    >>> found["four_fifths"].tolist(), found["approved_good"].tolist()
    ([1.0, 0.5], [1.0, 1.0])
    """
    is_approved = pd_ <= np.quantile(pd_, approved, method="lower")
    frame = pd.DataFrame(
        {"group": groups.to_numpy(), "pd": pd_, "label": label, "approved": is_approved}
    )
    frame = frame.dropna(subset=["group"])
    of = frame.groupby("group")
    found = pd.DataFrame(
        {
            "rows": of.size(),
            "default_rate": of["label"].mean(),
            "mean_pd": of["pd"].mean(),
            "approved": of["approved"].mean(),
        }
    )
    found["four_fifths"] = found["approved"] / found["approved"].max()
    found["approved_good"] = (
        frame[frame["label"] == 0]
        .groupby("group")["approved"]
        .mean()
        .reindex(found.index)
    )
    return found


def proxies(
    rows: Floats,
    names: tuple[str, ...],
    categorical: tuple[int, ...],
    groups: pd.Series[str],
) -> pd.Series[float]:
    """Return how well each column tells the largest group from the others: ``|Gini|``, the highest first.

    Codes are taken by the share of the group that each holds.
    """
    known = groups.notna().to_numpy()
    is_largest = (
        (groups[known] == groups.value_counts().index[0]).to_numpy().astype(np.int64)
    )
    found = {}
    for place, name in enumerate(names):
        column = rows[known, place]
        if place in categorical:
            share = (
                pd.Series(is_largest)
                .groupby(np.nan_to_num(column, nan=-1.0))
                .transform("mean")
            )
            column = share.to_numpy()
        there = ~np.isnan(column)
        if 0 < is_largest[there].sum() < there.sum():
            found[name] = abs(2 * auc(column[there], is_largest[there]) - 1)
    return pd.Series(found, dtype=float).sort_values(ascending=False)
