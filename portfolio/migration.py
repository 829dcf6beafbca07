"""Migration between grades, and roll rates between buckets of days past due."""

from __future__ import annotations

import numpy as np
import pandas as pd

from obligor.arrays import Floats
from obligor.portfolio.month import IN_DEFAULT, Month

BUCKETS = ("not_due", "1-15", "16-30", "31-60", "61-90", "90+")
SETTLED = "settled"
*_TRANSIENT, _WORST = BUCKETS
GRADES = tuple(str(grade) for grade in range(1, 11))
_LAST_DAYS = np.array([0, 15, 30, 60, 90])  # of each bucket but the last


def no_moves() -> pd.DataFrame:
    """Return the table of `migration` in which there was no customer."""
    rows = [*GRADES, IN_DEFAULT]
    return pd.DataFrame(0, index=rows, columns=[*rows, "gone"])


def migration(before: Month, after: Month) -> pd.DataFrame:
    """Return the customers of each grade (rows) by their grade a month later.

    The last columns are ``default`` and ``gone``, for customers without an invoice.
    """
    grade_after = after.grade.reindex(before.grade.index)
    counts = pd.crosstab(before.grade, grade_after.fillna("gone"))
    every_grade = no_moves()
    return counts.reindex(
        index=every_grade.index,
        columns=every_grade.columns,
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
            SETTLED: open_amount - still_open,
        }
    )
    pairs = moves.groupby(["from", "to"])["still_open"].sum()
    table = pairs.unstack("to") if len(pairs) else pd.DataFrame()
    rolls = table.reindex(index=BUCKETS, columns=BUCKETS).fillna(0.0)
    settled = moves.groupby("from")[SETTLED].sum()
    rolls[SETTLED] = settled.reindex(BUCKETS).fillna(0.0)
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


def no_rolls() -> pd.DataFrame:
    """Return the table of `roll_rates` in which nothing was open."""
    return pd.DataFrame(
        0.0,
        index=pd.Index(BUCKETS, name="from"),
        columns=[*BUCKETS, SETTLED],
    )


def implied_loss_rates(rolls: pd.DataFrame, lgd: float) -> dict[str, float | None]:
    """Return the loss rate of each bucket that roll rates imply.

    It is the probability that an amount ends beyond 90 days past due, times LGD; None
    for the buckets of `unknown_loss_rates`.

    Notes
    -----
    The months are a Markov chain in which ``90+`` and ``settled`` are never left: with
    Q the moves among the other buckets and r those into ``90+``, the probabilities P
    solve ``(I - Q) P = r`` (Cyert, Davidson and Thompson 1962). An amount that stays in
    its bucket changes no probability, so the shares are those of what left it.

    Examples
    --------
    Half of what is 61 to 90 days late goes beyond 90, and a tenth of what is 31 to 60
    days late becomes 61 to 90 days late; nothing was open in the other buckets:

    >>> moves = no_rolls()
    >>> moves.loc["61-90", ["90+", "settled"]] = 50.0
    >>> moves.loc["31-60", ["61-90", "settled"]] = [10.0, 90.0]
    >>> rates = implied_loss_rates(moves, 0.4)
    >>> rates["61-90"], rates["31-60"], rates["90+"], rates["1-15"]
    (0.2, 0.02, 0.4, None)
    """
    unknown = unknown_loss_rates(rolls)
    rates: dict[str, float | None] = dict.fromkeys(BUCKETS)
    rates[_WORST] = lgd
    solved = [bucket for bucket in _TRANSIENT if bucket not in unknown]
    leaving = _leaving(rolls).loc[solved, [*solved, _WORST, SETTLED]].to_numpy()
    for index, bucket in enumerate(solved):
        p_worst = _p_worst(leaving, index)
        # The last digits are those of the arithmetic, not of the amounts.
        rates[bucket] = round(p_worst * lgd, 12)
    return rates


def _p_worst(leaving: Floats, start: int) -> float:
    """Return the probability that an amount in a bucket ends beyond 90 days past due.

    The other buckets are taken out of the chain one by one, each time sharing what
    goes into a bucket among those it goes to next. No step subtracts, so cents that
    circle among billions lose no digits (Grassmann, Taksar and Heyman 1985); solving
    the linear system gave probabilities above 1, or found it singular.
    """
    moves = leaving / leaving.sum(axis=1, keepdims=True)
    for state in range(len(moves)):
        if state == start:
            continue
        onward = moves[state].copy()
        onward[state] = 0.0
        onward /= onward.sum()
        arriving = moves[:, state].copy()
        moves[:, state] = 0.0
        moves += np.outer(arriving, onward)
    worst, settled = moves[start, -2:]
    return float(worst / (worst + settled))


def unknown_loss_rates(rolls: pd.DataFrame) -> dict[str, str]:
    """Return why roll rates imply no loss rate, for each bucket that this is true of.

    The end of an amount is known if all it can become was seen to leave its bucket.

    Examples
    --------
    What is not due stays so. A part of what was 1 to 15 days late was paid, the other
    part became 16 to 30 days late in the last month:

    >>> moves = no_rolls()
    >>> moves.loc["not_due", "not_due"] = 100.0
    >>> moves.loc["1-15", ["16-30", "settled"]] = [20.0, 80.0]
    >>> for bucket, reason in unknown_loss_rates(moves).items():
    ...     print(f"{bucket}: {reason}")
    not_due: no amount left this bucket
    1-15: amounts went to 16-30, of which no end is known
    16-30: no amount was in this bucket
    31-60: no amount was in this bucket
    61-90: no amount was in this bucket
    """
    leaving = _leaving(rolls)
    reasons = dict[str, str]()
    for bucket in _TRANSIENT:
        if reason := _why_no_end(bucket, rolls, leaving):
            reasons[bucket] = reason
    # What is known of a bucket depends on every bucket its amounts went to, and on
    # those after it; each round goes one step further back.
    for _ in _TRANSIENT:
        for bucket in _TRANSIENT:
            unknown = [to for to in _targets(bucket, leaving) if to in reasons]
            if unknown:
                reason = f"amounts went to {unknown[0]}, of which no end is known"
                reasons.setdefault(bucket, reason)
    return {bucket: reasons[bucket] for bucket in _TRANSIENT if bucket in reasons}


def _why_no_end(bucket: str, rolls: pd.DataFrame, leaving: pd.DataFrame) -> str:
    """Why no amount of a bucket was seen to end; empty if one was."""
    if not rolls.loc[bucket].sum() > 0:
        return "no amount was in this bucket"
    if not leaving.loc[bucket].sum() > 0:
        return "no amount left this bucket"
    if not _reaches_an_end(bucket, leaving):
        return "no amount was settled or went beyond 90 days"
    return ""


def _leaving(rolls: pd.DataFrame) -> pd.DataFrame:
    """The amounts that left each bucket but the worst."""
    leaving = rolls.loc[list(_TRANSIENT)].astype(float)
    for bucket in _TRANSIENT:
        leaving.loc[bucket, bucket] = 0.0
    return leaving


def _targets(bucket: str, leaving: pd.DataFrame) -> list[str]:
    """Where amounts of a bucket went when they left it."""
    amounts = leaving.loc[bucket].to_dict()
    return [str(to) for to, amount in amounts.items() if amount > 0]


def _reaches_an_end(bucket: str, leaving: pd.DataFrame) -> bool:
    """Whether amounts of a bucket were settled or became the worst, in some steps."""
    reached = {bucket}
    to_visit = [bucket]
    while to_visit:
        for to in _targets(to_visit.pop(), leaving):
            if to in (_WORST, SETTLED):
                return True
            if to not in reached:
                reached.add(to)
                to_visit.append(to)
    return False
