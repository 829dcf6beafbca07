"""Migration between grades, and roll rates between buckets of days past due."""

from __future__ import annotations

import numpy as np
import pandas as pd

from obligor.portfolio.month import IN_DEFAULT, Month

BUCKETS = ("not_due", "1-15", "16-30", "31-60", "61-90", "90+")
GRADES = tuple(str(grade) for grade in range(1, 11))
_LAST_DAYS = np.array([0, 15, 30, 60, 90])  # of each bucket but the last


def migration(before: Month, after: Month) -> pd.DataFrame:
    """Return the customers of each grade (rows) by their grade a month later.

    The last columns are ``default`` and ``gone``, for customers without an invoice.
    """
    grade_after = after.grade.reindex(before.grade.index)
    counts = pd.crosstab(before.grade, grade_after.fillna("gone"))
    rows = [*GRADES, IN_DEFAULT]
    columns = [*rows, "gone"]
    return counts.reindex(
        index=rows,
        columns=columns,
        fill_value=0,
    )


def roll_rates(before: Month, after: Month) -> pd.DataFrame:
    """Return the open amount of each age bucket (rows) by its bucket a month later.

    The last column, ``settled``, is what was paid, credited or written off.
    """
    items = before.items.set_index("invoice_id")
    later = after.items.set_index("invoice_id")
    open_amount = items["open_amount"]
    # An item that is missing a month later was settled.
    amount_later = later["open_amount"].reindex(items.index)
    dpd_days_later = later["dpd_days"].reindex(items.index)
    still_open = amount_later.fillna(0.0).clip(upper=open_amount)
    moves = pd.DataFrame(
        {
            "from": bucket_of(items["dpd_days"]),
            "to": bucket_of(dpd_days_later.fillna(0)),
            "still_open": still_open,
            "settled": open_amount - still_open,
        }
    )
    table = moves.pivot_table(
        index="from",
        columns="to",
        values="still_open",
        aggfunc="sum",
        observed=False,
    )
    rolls = table.reindex(index=BUCKETS, columns=BUCKETS).fillna(0.0)
    settled = moves.groupby("from", observed=False)["settled"].sum()
    rolls["settled"] = settled.reindex(BUCKETS).fillna(0.0)
    return rolls


def bucket_of(dpd_days: pd.Series[int]) -> pd.Series[str]:
    """Return the age bucket of some days past due.

    Examples
    --------
    >>> bucket_of(pd.Series([-3, 15, 91])).tolist()
    ['not_due', '1-15', '90+']
    """
    indices = np.searchsorted(_LAST_DAYS, dpd_days.to_numpy())
    return pd.Series(np.array(BUCKETS)[indices], index=dpd_days.index)


def implied_loss_rates(rolls: pd.DataFrame, lgd: float) -> dict[str, float]:
    """Return the loss rate of each bucket that roll rates imply.

    It is the probability that an amount ends beyond 90 days past due, times LGD.

    Notes
    -----
    The months are a Markov chain in which ``90+`` and ``settled`` are never left: with
    Q the moves among the other buckets and r those into ``90+``, the probabilities P
    solve ``(I - Q) P = r`` (Cyert, Davidson and Thompson 1962).

    Examples
    --------
    Half of what is 61 to 90 days late goes beyond 90, and a tenth of what is 31 to 60
    days late becomes 61 to 90 days late:

    >>> moves = pd.DataFrame(0.0, index=BUCKETS, columns=[*BUCKETS, "settled"])
    >>> moves.loc["61-90", ["90+", "settled"]] = 50.0
    >>> moves.loc["31-60", ["61-90", "settled"]] = [10.0, 90.0]
    >>> rates = implied_loss_rates(moves, 0.4)
    >>> rates["61-90"], rates["31-60"], rates["90+"]
    (0.2, 0.02, 0.4)
    """
    totals = rolls.sum(axis=1)
    # A bucket without an amount has no moves; its shares are 0, not 0 / 0.
    shares = rolls.div(totals.replace(0.0, 1.0), axis=0)
    *transient, worst = BUCKETS
    among_transient = shares.loc[transient, transient].to_numpy()
    into_worst = shares.loc[transient, worst].to_numpy()
    identity = np.eye(len(transient))
    p_worst = np.linalg.solve(identity - among_transient, into_worst)
    # The solver leaves an error in the last digits, which rounding removes.
    rates = (p_worst * lgd).round(12)
    by_bucket = dict(zip(transient, rates.tolist(), strict=True))
    by_bucket[worst] = lgd
    return by_bucket
