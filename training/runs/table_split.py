"""Which applications are learned from, and which are tested on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from obligor.arrays import Bools, Floats, Ints
from obligor.errors import SchemaError
from obligor.features.applications import Applications, Dates
from obligor.features.row_roles import TEST, TRAIN, VALID, Parts
from obligor.training.candidates.training_rows import fewer_outcomes, stratified_folds

TEST_SHARE = 0.2  # the latest fifth of the rows
ORIGINS_FROM = 0.5  # share of the rows before the first of several origins


@dataclass(frozen=True)
class TableSplit:
    """Applications to learn from and others to test on.

    Attributes
    ----------
    fit, test : Applications
        No customer is in both.
    valid : Applications, optional
        Rows that a split column sets aside for validation; only measured.
    notes : tuple of str
        How the rows were split, and which rows are not used.
    """

    fit: Applications
    test: Applications
    valid: Applications | None = None
    notes: tuple[str, ...] = ()


def split_table(data: Applications, seed: int) -> TableSplit:
    """Split a table as its spec says, otherwise at the latest fifth of its rows.

    Without dates a fifth is drawn. A group with rows that are tested on is not learned
    from at all, because its earlier rows would reveal its later ones.

    Parameters
    ----------
    data : Applications
        All rows.
    seed : int
        Of the drawing.

    Raises
    ------
    SchemaError
        If the rows learned from or tested on have one outcome only.
    """
    if data.parts is not None:
        split = _split_by_column(data, data.parts)
    elif data.dates is None:
        split = _split_at_random(data, seed)
    else:
        start = origin_days(data, data.dates)[-1]
        split = split_at(data, data.dates, start)
    for rows, purpose in ((split.fit, "learned from"), (split.test, "tested on")):
        if fewer_outcomes(rows.label) < 1:
            raise SchemaError(
                f"the {len(rows):,} rows that are {purpose} have one outcome only",
                where=data.spec.name,
                expected="defaults and other rows",
                do="split the table at another place",
            )
    return split


def origin_days(data: Applications, dates: Dates) -> list[int]:
    """Return the days from which rows are tested on; several if there are origins.

    Parameters
    ----------
    data : Applications
        The rows.
    dates : ndarray of datetime64, shape (n,)
        When each applicant applied.

    Returns
    -------
    list of int
        Days since 1970-01-01 in rising order; the last is that of the model that is
        registered.
    """
    roles = data.spec.table
    days = dates.astype(np.int64)
    if roles.test_from is not None:
        return [_day_number(roles.test_from)]
    if isinstance(roles.origins, tuple):
        return [_day_number(origin) for origin in roles.origins]
    if roles.origins is not None:
        shares = np.linspace(ORIGINS_FROM, 1, roles.origins + 1)[:-1]
        starts: Floats = np.quantile(days, shares)
        return sorted({int(np.ceil(start)) for start in starts})
    return [int(np.ceil(np.quantile(days, 1 - TEST_SHARE)))]


def _day_number(day: object) -> int:
    return int(np.datetime64(str(day), "D").astype(np.int64))


def split_at(
    data: Applications,
    dates: Dates,
    start: int,
    end: int | None = None,
) -> TableSplit:
    """Learn from the rows before a day, test on those from it on.

    Parameters
    ----------
    data : Applications
        The rows.
    dates : ndarray of datetime64, shape (n,)
        When each applicant applied.
    start : int
        First day that is tested on, in days since 1970-01-01.
    end : int, optional
        First day that is not tested on any more; all later rows are by default.
    """
    days = dates.astype(np.int64)
    is_later = days >= start
    is_tested = is_later if end is None else is_later & (days < end)
    fit, n_related = _unrelated(data, ~is_later, is_tested)
    first = np.datetime64(start, "D")
    notes = [
        f"tested on the {int(is_tested.sum()):,} rows from {first} on, learned from "
        f"{len(fit):,} earlier ones",
        *_related_note(n_related),
    ]
    return TableSplit(
        fit=data.take(fit).refused_before(start),
        test=data.take(np.flatnonzero(is_tested)),
        notes=tuple(notes),
    )


def _split_by_column(data: Applications, parts: Parts) -> TableSplit:
    is_test = parts == TEST
    fit, n_related = _unrelated(data, parts == TRAIN, parts != TRAIN)
    valid, n_related_valid = _unrelated(data, parts == VALID, is_test)
    notes = [
        f"the column {data.spec.table.split} splits the table: learned from "
        f"{len(fit):,} rows, tested on {int(is_test.sum()):,}",
        *_related_note(n_related + n_related_valid),
    ]
    if len(valid):
        notes.append(
            f"{len(valid):,} validation rows are measured beside the test rows and "
            "have no part in the fit"
        )
    return TableSplit(
        fit=data.take(fit),
        test=data.take(np.flatnonzero(is_test)),
        valid=data.take(valid) if len(valid) else None,
        notes=tuple(notes),
    )


def _split_at_random(data: Applications, seed: int) -> TableSplit:
    folds = stratified_folds(
        data.label,
        data.groups,
        round(1 / TEST_SHARE),
        seed,
    )
    fit, test = folds[0]
    note = (
        f"the table has no dates: tested on {len(test):,} rows that were drawn, "
        f"learned from {len(fit):,}"
    )
    return TableSplit(data.take(fit), data.take(test), notes=(note,))


def _unrelated(
    data: Applications,
    is_learned: Bools,
    is_tested: Bools,
) -> tuple[Ints, int]:
    """Return the rows learned from without those of groups that are tested on.

    Returns
    -------
    ndarray of int, int
        Indices of the rows, and how many are left out.
    """
    is_related = np.isin(data.groups, data.groups[is_tested])
    fit = np.flatnonzero(is_learned & ~is_related)
    return fit, int((is_learned & is_related).sum())


def _related_note(n_related: int) -> tuple[str, ...]:
    if not n_related:
        return ()
    return (
        f"{n_related:,} rows belong to customers who are also tested on and are not "
        "learned from",
    )
