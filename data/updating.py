"""Comparing rows that arrive with the rows that are stored.

A row is new, the same as a stored one, or it changes one. A change corrects nothing in
the past: the stored row is true until the day of the update, the new one from that day
on. A new row too is known from the day of the update, whatever day its source states:
a decision as of an earlier day is the same before and after. Only the first load of a
store takes the days of the source.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd

from obligor.arrays import Bools, Ints
from obligor.data.ledger import CONTRACTS, DAY_DTYPE
from obligor.data.row_packing import OWNER, SET_ASIDE, STATED_ON, UNTIL

# The columns by which a row is recognized when it comes again. Tables without an id
# have a natural key: the day of an event belongs to it, its amount does not.
KEYS: dict[str, tuple[str, ...]] = {
    "customers": ("customer_id",),
    "invoices": ("invoice_id",),
    "payments": ("payment_id", "invoice_id"),
    "allocations": ("payment_id", "invoice_id", "allocated_on"),
    "cancellations": ("invoice_id", "payment_id"),
    "extensions": ("invoice_id", "extended_on"),
    "promises": ("invoice_id", "promised_on", "pay_by"),
    "disputes": ("invoice_id", "opened_on"),
    "write_offs": ("invoice_id", "written_off_on"),
    "limits": (OWNER, STATED_ON),
    "financials": (OWNER, "period_end", STATED_ON),
    "fx_rates": ("currency", "rate_on"),
    "contacts": (OWNER, "name"),
    "bureau": (OWNER, "source", "as_of"),
    "groups": ("child_id", "relationship"),
    SET_ASIDE: (OWNER, "table", "key"),
}
Tables = Mapping[str, pd.DataFrame]

# Not compared: when a row became known says nothing about what it is.
_TIME_COLUMNS = ("known_on", STATED_ON, UNTIL)

TAKEN = 0
SAME = 1
CHANGED = 2
VERDICTS: Final = ("taken", "same", "changed")


@dataclass(frozen=True)
class Merge:
    """A table after an update, and what became of each row that arrived.

    Attributes
    ----------
    frame : DataFrame
        The stored rows in their order, then the new ones.
    verdicts : array of int, shape (arrived,)
        `TAKEN`, `SAME` or `CHANGED` for each row, in the order of arrival.
    touched : Index
        The customers whose rows are no longer what they were.
    missing : Index
        The open rows of `frame` that no row that arrived is like.
    """

    frame: pd.DataFrame
    verdicts: Ints
    touched: pd.Index
    missing: pd.Index


def key_columns(table: str, frame: pd.DataFrame) -> list[str]:
    """Return the columns of a table's key; all of its own if it has no key."""
    names = KEYS.get(table)
    if names is None:
        names = tuple(CONTRACTS[table].columns) if table in CONTRACTS else ()
    return [name for name in names if name in frame and name not in ("known_on", UNTIL)]


def merge(
    table: str,
    stored: pd.DataFrame,
    arrived: pd.DataFrame,
    day: pd.Timestamp,
    has_ids: bool = True,
) -> Merge:
    """Return a table with rows that arrived on a day.

    Parameters
    ----------
    table : str
        The table's name.
    stored : DataFrame
        The stored rows of at least the customers that the keys lead to, with
        ``known_on``, ``until`` and ``stated_on``.
    arrived : DataFrame
        Rows of the same customers, each key at most once if the table has an id. It
        has ``known_on``, as its source states it.
    day : Timestamp
        The day of the update.
    has_ids : bool
        Whether the source has ids; if we made them up, equal rows are one.

    Returns
    -------
    Merge
        The rows after the update.
    """
    arrived = arrived.reset_index(drop=True)
    arrived = arrived.assign(**{STATED_ON: arrived["known_on"]})
    stored = stored.reset_index(drop=True)
    open_rows = _comparable(stored[stored[UNTIL].isna()])
    keys = key_columns(table, arrived)
    if not has_ids:
        keys = [name for name in keys if name != "payment_id"]
    pairing = _paired(keys, open_rows, arrived, has_ids)
    replaced = open_rows.index[pairing.replaced]
    arrived = _completed(arrived, open_rows, pairing)
    new_rows = arrived[pairing.verdicts != SAME].assign(known_on=day.as_unit("s"))
    new_rows[UNTIL] = empty_days(new_rows.index)
    remaining = closed(stored, replaced, day)
    touched = pd.Index(new_rows[OWNER]).union(pd.Index(stored.loc[replaced, OWNER]))
    frame = joined(remaining, new_rows)
    is_missing = ~open_rows.index.isin(open_rows.index[pairing.paired])
    return Merge(
        frame=frame,
        verdicts=pairing.verdicts,
        touched=touched.unique(),
        missing=open_rows.index[is_missing],
    )


def nothing_arrived(table: str, stored: pd.DataFrame) -> pd.DataFrame:
    """Return a table of arrived rows without any, like the stored ones."""
    columns = [name for name in stored.columns if name not in (UNTIL, STATED_ON)]
    return stored.iloc[:0][columns]


def first_rows(arrived: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the first load, which are known since their source says so."""
    no_day = empty_days(arrived.index)
    return arrived.assign(**{UNTIL: no_day, STATED_ON: no_day})


def empty_days(index: pd.Index) -> pd.Series:
    """Return a column of days in which every cell is empty."""
    return pd.Series(pd.NaT, index=index, dtype=DAY_DTYPE)


def closed(
    stored: pd.DataFrame,
    rows: pd.Index,
    day: pd.Timestamp,
) -> pd.DataFrame:
    """Return stored rows of which some are no longer true from a day on.

    Parameters
    ----------
    stored : DataFrame
        Rows with ``known_on`` and ``until``.
    rows : Index
        The rows that end.
    day : Timestamp
        The first day on which they are no longer true.

    Returns
    -------
    DataFrame
        Without the rows that became known on that very day: nobody saw them.
    """
    if not len(rows):
        return stored
    stored = stored.copy()
    stored.loc[rows, UNTIL] = day.as_unit("s")
    is_unseen = stored[UNTIL].notna() & (stored["known_on"] >= stored[UNTIL])
    return stored[~is_unseen]


def joined(stored: pd.DataFrame, new_rows: pd.DataFrame) -> pd.DataFrame:
    """Return stored rows, with their labels, and the new ones behind them."""
    if new_rows.empty:
        return stored
    first_label = int(stored.index.max()) + 1 if len(stored) else 0
    labels = pd.RangeIndex(first_label, first_label + len(new_rows))
    new_rows = new_rows.set_axis(labels)
    return new_rows if stored.empty else pd.concat([stored, new_rows])


def _comparable(stored: pd.DataFrame) -> pd.DataFrame:
    """Return stored rows with the day that their source stated."""
    stated_on = stored[STATED_ON].fillna(stored["known_on"])
    return stored.assign(**{STATED_ON: stated_on})


@dataclass(frozen=True)
class _Pairing:
    """What became of each row that arrived.

    The stored row number n of `replaced` is changed by the row number n of `changed`;
    `paired` are all stored rows that an arrived one is like.
    """

    verdicts: Ints
    replaced: Ints
    changed: Ints
    paired: Ints


def _paired(
    keys: Sequence[str],
    stored: pd.DataFrame,
    arrived: pd.DataFrame,
    has_key: bool,
) -> _Pairing:
    """Pair rows that arrived with open stored rows.

    Equal rows are paired first, so that of two write-offs of one day each finds its
    own. What is left is paired by key: such a row changes the stored one.

    Parameters
    ----------
    keys : sequence of str
        The columns by which a row is recognized.
    stored : DataFrame
        The open rows.
    arrived : DataFrame
        The rows that arrived.
    has_key : bool
        Whether a row with an equal key, and other cells, is a change.
    """
    verdicts = np.full(len(arrived), TAKEN)
    nothing = np.empty(0, dtype=np.int64)
    if stored.empty or not keys:
        return _Pairing(verdicts, nothing, nothing, nothing)
    # Few of the stored rows are compared: only those that share a part of the key.
    candidates = np.flatnonzero(stored[keys[0]].isin(arrived[keys[0]].unique()))
    open_rows = stored.iloc[candidates]
    same = _matches(open_rows, arrived, _contents(keys, has_key, open_rows, arrived))
    verdicts[same.arrived] = SAME
    same_rows = candidates[same.stored]
    if not has_key:
        return _Pairing(verdicts, nothing, nothing, same_rows)
    is_left = np.ones(len(open_rows), dtype=bool)
    is_left[same.stored] = False
    is_new = verdicts == TAKEN
    pairs = _matches(open_rows[is_left], arrived[is_new], keys)
    changed = np.flatnonzero(is_new)[pairs.arrived]
    verdicts[changed] = CHANGED
    replaced = candidates[np.flatnonzero(is_left)[pairs.stored]]
    paired = np.concatenate([same_rows, replaced])
    return _Pairing(verdicts, replaced, changed, paired)


def _completed(
    arrived: pd.DataFrame,
    stored: pd.DataFrame,
    pairing: _Pairing,
) -> pd.DataFrame:
    """Return arrived rows with the columns that their source does not have.

    A row that changes another keeps the other's cells there.
    """
    missing = [name for name in stored.columns if name not in arrived]
    if not missing or not len(pairing.changed):
        return arrived
    earlier = stored[missing].iloc[pairing.replaced].set_axis(pairing.changed)
    return arrived.join(earlier)


def has_made_up_ids(payments: pd.DataFrame) -> bool:
    """Return whether the payments were numbered by us, because their source has no id.

    Such a number is another one in the next file, so it says nothing about a row. It is
    the label of the row; a source that has such ids itself begins elsewhere.
    """
    if "payment_id" not in payments or payments.empty:
        return False
    numbers = "payment-" + payments.index.astype("str")
    return bool((payments["payment_id"].to_numpy() == numbers.to_numpy()).all())


def _contents(
    keys: Sequence[str],
    has_key: bool,
    stored: pd.DataFrame,
    arrived: pd.DataFrame,
) -> list[str]:
    """Return the columns that say whether two rows are the same."""
    ignored = {*keys, *_TIME_COLUMNS}
    if not has_key:
        ignored.add("payment_id")
    names = map(str, arrived.columns)
    others = [name for name in names if name not in ignored and name in stored]
    return [*keys, *others]


@dataclass(frozen=True)
class _Matches:
    """Positions of rows that belong together: the first with the first, and so on."""

    stored: Ints
    arrived: Ints


def _matches(
    stored: pd.DataFrame,
    arrived: pd.DataFrame,
    columns: Sequence[str],
) -> _Matches:
    """Return pairs of rows with equal cells; each row is in one pair at most."""
    n_stored = len(stored)
    both = pd.concat([stored[list(columns)], arrived[list(columns)]], ignore_index=True)
    group = _groups(both)
    side = np.arange(len(both)) >= n_stored
    occurrence = pd.Series(group).groupby([group, side]).cumcount().to_numpy()
    left = pd.DataFrame(
        {"group": group, "nth": occurrence, "row": np.arange(len(both))}
    )
    pairs = left[~side].merge(left[side], on=["group", "nth"])
    return _Matches(
        stored=pairs["row_x"].to_numpy(),
        arrived=pairs["row_y"].to_numpy() - n_stored,
    )


def _groups(rows: pd.DataFrame) -> Ints:
    """Return a number for each row, equal for rows with equal cells."""
    group = np.zeros(len(rows), dtype=np.int64)
    for name in rows.columns:
        codes, uniques = pd.factorize(rows[name], use_na_sentinel=False)
        group, _ = pd.factorize(group * max(1, len(uniques)) + codes)
    return group


def moved(
    events: pd.DataFrame,
    invoices: pd.DataFrame,
    day: pd.Timestamp,
) -> pd.DataFrame:
    """Return events of which those of an invoice that changed its customer follow it.

    Parameters
    ----------
    events : DataFrame
        Stored rows with ``invoice_id``.
    invoices : DataFrame
        Stored rows after the update.
    day : Timestamp
        The day of the update.

    Returns
    -------
    DataFrame
        With a new row for each event that moved, known from the day on.
    """
    owners = _owners_of_open(invoices[invoices[UNTIL].isna()])
    owner = events["invoice_id"].map(owners)
    is_open = events[UNTIL].isna()
    follows = is_open & owner.notna() & (owner != events[OWNER])
    if not follows.any():
        return events
    followers = events[follows].assign(known_on=day.as_unit("s"))
    followers[OWNER] = owner[follows]
    return joined(closed(events, events.index[follows], day), followers)


def _owners_of_open(invoices: pd.DataFrame) -> pd.Series:
    """Return the customer of each invoice and document, by id.

    An invoice is meant rather than a document of the same id; a document of several
    customers is nobody's.
    """
    owners: pd.Series = invoices.set_index("invoice_id")[OWNER]
    if "document_id" not in invoices or invoices["document_id"].isna().all():
        return owners
    stated = invoices[["document_id", OWNER]].dropna().drop_duplicates()
    stated = stated[~stated["document_id"].duplicated(keep=False)]
    documents = stated.set_index("document_id")[OWNER]
    others = documents.drop(owners.index, errors="ignore")
    both: pd.Series = pd.concat([owners, others])
    return both


def cleared(marks: pd.DataFrame, arrived: Tables, day: pd.Timestamp) -> Merge:
    """Return the rows that were set aside, without those that arrived in order.

    One of which another row of the same key is set aside now is not in order.

    Parameters
    ----------
    marks : DataFrame
        Stored rows of the table `SET_ASIDE`.
    arrived : mapping of str to DataFrame
        The good rows, and those that are set aside now.
    day : Timestamp
        The day on which they arrived.
    """
    is_in_order = pd.Series(False, index=marks.index)
    for table, frame in arrived.items():
        is_of_table = (marks["table"] == table) & marks[UNTIL].isna()
        if table != SET_ASIDE and is_of_table.any():
            is_in_order |= is_of_table & marks["key"].isin(key_texts(table, frame))
    if SET_ASIDE in arrived:
        keys = [OWNER, "table", "key"]
        again = pd.MultiIndex.from_frame(arrived[SET_ASIDE][keys])
        is_in_order &= ~pd.MultiIndex.from_frame(marks[keys]).isin(again)
    rows = marks.index[is_in_order]
    return Merge(
        frame=closed(marks, rows, day),
        verdicts=np.empty(0, dtype=np.int64),
        touched=pd.Index(marks.loc[rows, OWNER].unique()),
        missing=marks.index[:0],
    )


def key_texts(table: str, frame: pd.DataFrame) -> pd.Series:
    """Return the key of each row as a text, by which it is recognized once in order."""
    names = [name for name in key_columns(table, frame) if name != STATED_ON]
    text = pd.Series("", index=frame.index, dtype="str")
    for name in names:
        cells = frame[name].astype("str").fillna("")
        text = text + cells + "/"
    return text


def rows_of(frame: pd.DataFrame, customer_ids: pd.Index) -> Bools:
    """Return which rows are of some customers, shape (n,)."""
    is_own: Bools = customer_ids.get_indexer(pd.Index(frame[OWNER])) >= 0
    return is_own
