"""The entries in the order of the tree, read onward from any leaf.

A reader that keeps the number of the next leaf misses no entry and reads none twice:
every committed entry gets exactly one leaf, and no leaf is ever put between two others.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

import sqlalchemy as sa

from obligor.record.database import DatabaseRow, RecordDatabase
from obligor.record.entry import in_utc
from obligor.record.tables import CUSTOMER, CUSTOMERS, ENTRIES, ENTRY, NODE, NODES

_LEAVES = ENTRIES.join(NODES, sa.and_(NODE.seq == ENTRY.seq, NODE.level == 0))
# Only leaves have the number of an entry.
_OF_CUSTOMER = ENTRIES.join(NODES, NODE.seq == ENTRY.seq).join(
    CUSTOMERS, CUSTOMER.customer_ref == ENTRY.customer_ref
)
_COLUMNS = (
    NODE.place.label("leaf_index"),
    ENTRY.entry_id,
    ENTRY.kind,
    ENTRY.about.label("case_id"),
    ENTRY.outcome,
    ENTRY.customer_ref,
    ENTRY.limit_minor,
    ENTRY.currency,
    ENTRY.recorded_at,
)


class FeedEntry(NamedTuple):
    """What the feed shows of an entry: nothing that is encrypted.

    Attributes
    ----------
    leaf_index : int
        Its leaf in the tree, from zero.
    case_id : str, optional
        The case it is about.
    limit_minor : int, optional
        The limit in minor units, for a computed answer.
    """

    leaf_index: int
    entry_id: str
    kind: str
    case_id: str | None
    outcome: str
    customer_ref: str
    limit_minor: int | None
    currency: str | None
    recorded_at: datetime


class RecordFeed:
    """Reads entries in the order of the tree.

    Parameters
    ----------
    database : RecordDatabase
        The record's database.
    """

    def __init__(self, database: RecordDatabase) -> None:
        self._database = database

    def entries(self, first_leaf: int, limit: int) -> list[FeedEntry]:
        """Return the entries from a leaf on, in the order of their leaves.

        Parameters
        ----------
        first_leaf : int
            The first leaf that is read, from zero.
        limit : int
            How many entries at most.

        Returns
        -------
        list of FeedEntry
            Empty if there are no more.

        Raises
        ------
        RecordError
            If the database cannot be read.
        """
        query = (
            sa.select(*_COLUMNS)
            .select_from(_LEAVES)
            .where(NODE.level == 0, NODE.place >= first_leaf)
            .order_by(NODE.place)
            .limit(limit)
        )
        return _entries(self._database.rows(query))

    def earlier(self, entry: FeedEntry, kind: str, limit: int) -> list[FeedEntry]:
        """Return the last entries of a kind about the same customer, newest first.

        Parameters
        ----------
        entry : FeedEntry
            Only entries with an earlier leaf are returned.
        kind : str
            Such as ``decision``.
        limit : int
            How many at most.

        Returns
        -------
        list of FeedEntry
            Empty if the customer was erased.
        """
        values = {
            "customer_ref": entry.customer_ref,
            "kind": kind,
            "leaf_index": entry.leaf_index,
            "most": limit,
        }
        return _entries(self._database.rows(_EARLIER, values))

    def kind_of(self, entry_id: str) -> str | None:
        """Return the kind of an entry; None if there is no such entry."""
        query = sa.select(ENTRY.kind).where(ENTRY.entry_id == entry_id)
        rows = self._database.rows(query)
        return str(rows[0].kind) if rows else None


def _entries(rows: Sequence[DatabaseRow]) -> list[FeedEntry]:
    entries = list[FeedEntry]()
    for row in rows:
        entry = FeedEntry(*row)
        entries.append(entry._replace(recorded_at=in_utc(entry.recorded_at)))
    return entries


def _earlier_entries() -> sa.Select[*tuple[object, ...]]:
    """Return the query of the last entries before a leaf about the same customer."""
    references = CUSTOMERS.alias()
    lookup = (
        sa.select(references.c.lookup)
        .where(references.c.customer_ref == sa.bindparam("customer_ref"))
        .scalar_subquery()
    )
    # Expressions, so that no database reads the whole tree, or every entry of the kind,
    # by an index to find the few entries of one customer.
    leaf_index = NODE.place + 0
    kind = ENTRY.kind.concat("")
    return (
        sa.select(*_COLUMNS)
        .select_from(_OF_CUSTOMER)
        .where(
            CUSTOMER.lookup == lookup,
            kind == sa.bindparam("kind"),
            leaf_index < sa.bindparam("leaf_index"),
        )
        .order_by(leaf_index.desc())
        .limit(sa.bindparam("most"))
    )


_EARLIER = _earlier_entries()
