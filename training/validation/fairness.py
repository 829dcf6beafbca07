"""How approvals fall on groups that the model must not look at.

Four-fifths rule, equal opportunity, and columns that stand in for an attribute.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from obligor.arrays import Floats, Ints
from obligor.metrics.figures import auc
from obligor.metrics.statistics import lower_quantile

FEWEST = 50  # rows of a group that is shown
PARTS = 4  # quarters of an attribute that is a number
FOUR_FIFTHS = 0.8  # of the best group's share of approvals, 29 CFR 1607.4 D
PROXY = 0.3  # |Gini| above which a column is a proxy of an attribute
APPROVED = (0.5, 0.7, 0.9)  # shares approved at which groups are compared


def groups_of(attribute: pd.Series) -> pd.Series[str]:
    """Return the group of each row; rows of small groups are missing (NaN).

    The group is the attribute's value, or the quarter that a number lies in.

    Examples
    --------
    >>> sex = pd.Series(["f"] * 60 + ["m"] * 60 + ["x"])
    >>> groups_of(sex).value_counts().to_dict()
    {'f': 60, 'm': 60}
    """
    if pd.api.types.is_numeric_dtype(attribute) and attribute.nunique() > 2 * PARTS:
        attribute = pd.qcut(attribute, PARTS, duplicates="drop")
    names = attribute.astype(object).where(attribute.notna(), "missing").astype(str)
    counts = names.value_counts()
    large = counts[counts >= FEWEST].index
    return names.where(names.isin(large))


def approvals(
    pd_: Floats,
    label: Ints,
    groups: pd.Series[str],
    approved: float,
    weight: Floats | None = None,
) -> pd.DataFrame:
    """Return what is approved of each group if the rows with the lowest PDs are.

    Parameters
    ----------
    pd_ : ndarray, shape (n,)
        PDs, in (0, 1).
    label : ndarray of int, shape (n,)
        1 for a default, else 0.
    groups : Series, shape (n,)
        From `groups_of`; rows without a group are left out.
    approved : float
        The share of all rows that is approved, in (0, 1).
    weight : ndarray of float, shape (n,), optional
        How often each row counts; 1 by default.

    Returns
    -------
    DataFrame
        A row per group: ``rows, default_rate, mean_pd``; ``approved`` (share);
        ``four_fifths`` (the share over the best group's; below 0.8 is adverse
        impact, 29 CFR 1607.4 D); ``approved_good`` (share of those who did not
        default; equal opportunity requires it to be alike: Hardt, Price, Srebro
        2016).

    Examples
    --------
    >>> groups = pd.Series(["a", "a", "b", "b"])
    >>> pd_ = np.array([0.1, 0.2, 0.3, 0.4])
    >>> table = approvals(pd_, np.array([0, 0, 0, 1]), groups, 0.75)
    >>> table["four_fifths"].tolist()
    [1.0, 0.5]
    >>> table["approved_good"].tolist()
    [1.0, 1.0]
    """
    weights = np.ones(len(label)) if weight is None else weight
    limit = lower_quantile(pd_, approved, weights)
    frame = pd.DataFrame(
        {
            "group": groups.to_numpy(),
            "pd": pd_,
            "label": label,
            "approved": pd_ <= limit,
            "weight": weights,
        }
    )
    frame = frame.dropna(subset=["group"])
    table = pd.DataFrame(
        {
            "rows": frame.groupby("group").size(),
            "default_rate": _means(frame, "label"),
            "mean_pd": _means(frame, "pd"),
            "approved": _means(frame, "approved"),
        }
    )
    table["four_fifths"] = table["approved"] / table["approved"].max()
    good = _means(frame[frame["label"] == 0], "approved")
    table["approved_good"] = good.reindex(table.index)
    return table


def _means(frame: pd.DataFrame, column: str) -> pd.Series[float]:
    """Weighted means of a column by group."""
    weighted = frame["weight"] * frame[column]
    totals = weighted.groupby(frame["group"]).sum()
    return totals / frame.groupby("group")["weight"].sum()


def proxies(
    rows: Floats,
    names: Sequence[str],
    categorical: Sequence[int],
    groups: pd.Series[str],
) -> pd.Series[float]:
    """Return how well each column separates the largest group from the others.

    Parameters
    ----------
    rows : ndarray, shape (n, columns)
        Numbers and codes as the model takes them.
    names : sequence of str
        Of the columns.
    categorical : sequence of int
        Columns of codes; a code stands for the share of the group that it holds.
    groups : Series, shape (n,)
        From `groups_of`; rows without a group are left out.

    Returns
    -------
    Series
        ``|Gini|`` of each column, in [0, 1], the highest first.

    Examples
    --------
    >>> rows = np.array([[1.0, 5.0], [2.0, 5.0], [8.0, 5.0], [9.0, 5.0]])
    >>> proxies(rows, ["owed", "same"], [], pd.Series(["f", "f", "m", "m"])).to_dict()
    {'owed': 1.0, 'same': 0.0}
    """
    has_group = groups.notna().to_numpy()
    largest = groups.value_counts().index[0]
    is_largest = (groups[has_group] == largest).to_numpy().astype(np.int64)
    gini = {}
    for index, name in enumerate(names):
        column = rows[has_group, index]
        if index in categorical:
            column = _share_by_code(column, is_largest)
        is_filled = ~np.isnan(column)
        label = is_largest[is_filled]
        if 0 < label.sum() < len(label):
            gini[name] = abs(2 * auc(column[is_filled], label) - 1)
    return pd.Series(gini, dtype=float).sort_values(ascending=False)


def _share_by_code(codes: Floats, is_largest: Ints) -> Floats:
    by_code = pd.Series(is_largest).groupby(np.nan_to_num(codes, nan=-1.0))
    return np.asarray(by_code.transform("mean"), dtype=np.float64)
