"""Migration between grades, and roll rates between buckets of days past due."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from obligor.portfolio.month import Month

BUCKETS = ("not_due", "1-15", "16-30", "31-60", "61-90", "90+")

GRADES = tuple(str(grade) for grade in range(1, 11))

_LAST_DAYS = np.array([0, 15, 30, 60, 90])  # of each bucket but the last


def migration(before: Month, after: Month) -> pd.DataFrame:
    """Return how many customers of each grade (rows) went to which grade, into default, or are gone."""
    now = after.grade.reindex(before.grade.index).fillna("gone")
    rows, columns = [*GRADES, "default"], [*GRADES, "default", "gone"]
    return pd.crosstab(before.grade, now).reindex(
        index=rows, columns=columns, fill_value=0
    )


def roll_rates(before: Month, after: Month) -> pd.DataFrame:
    """Return the amount open in each age bucket (rows) by where it is a month later: a bucket, or settled.

    Settled is what was paid, credited or written off.
    """
    then, now = (month.items.set_index("invoice_id") for month in (before, after))
    left = (
        now["open_amount"]
        .reindex(then.index)
        .fillna(0.0)
        .clip(upper=then["open_amount"])
    )
    moved = pd.DataFrame(
        {
            "from": bucket_of(then["dpd_days"]),
            "to": bucket_of(now["dpd_days"].reindex(then.index).fillna(0)),
            "left": left,
            "settled": then["open_amount"] - left,
        }
    )
    table = moved.pivot_table(
        index="from", columns="to", values="left", aggfunc="sum", observed=False
    )
    settled = moved.groupby("from", observed=False)["settled"].sum()
    return (
        table.reindex(index=BUCKETS, columns=BUCKETS)
        .fillna(0.0)
        .assign(settled=settled.reindex(BUCKETS).fillna(0.0))
    )


def bucket_of(dpd_days: pd.Series[Any]) -> pd.Series[Any]:
    """Return the age bucket of some days past due."""
    places = np.searchsorted(_LAST_DAYS, dpd_days.to_numpy())
    return pd.Series(np.array(BUCKETS)[places], index=dpd_days.index)


def implied_loss_rates(rolls: pd.DataFrame, lgd: float) -> dict[str, float]:
    """Return the loss rate of each bucket that roll rates imply: P(it ends beyond 90 days) x LGD.

    Notes
    -----
    The months are a Markov chain in which ``90+`` and ``settled`` are never left: with Q the moves among the other
    buckets and r those into ``90+``, P solves ``(I - Q) P = r`` (Cyert, Davidson and Thompson 1962).

    Examples
    --------
    Half of what is 61 to 90 days late goes beyond 90, a tenth of what is 31 to 60 days late becomes that:

    >>> moves = pd.DataFrame(0.0, index=BUCKETS, columns=[*BUCKETS, "settled"])
    >>> moves.loc["61-90", ["90+", "settled"]] = 50.0
    >>> moves.loc["31-60", ["61-90", "settled"]] = [10.0, 90.0]
    >>> found = implied_loss_rates(moves, 0.4)
    >>> found["61-90"], found["31-60"], found["90+"]
    (0.2, 0.02, 0.4)
    """
    shares = rolls.div(rolls.sum(axis=1).replace(0.0, 1.0), axis=0)
    open_ = list(BUCKETS[:-1])
    inside = shares.loc[open_, open_].to_numpy()
    worst = np.linalg.solve(
        np.eye(len(open_)) - inside, shares.loc[open_, "90+"].to_numpy()
    )
    return {
        **dict(zip(open_, (worst * lgd).round(12).tolist(), strict=True)),
        "90+": lgd,
    }
