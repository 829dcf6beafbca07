"""The tree over the record: entries get their places in it behind the answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import sqlalchemy as sa

from obligor.errors import RecordError, UnknownDecisionError
from obligor.record import merkle
from obligor.record.database import RecordDatabase
from obligor.record.entry import StoredEntry
from obligor.record.reader import STORED_COLUMNS
from obligor.record.tables import ENTRIES, NODES

WIDTH = 256  # leaves of a block, whose root is kept
MOST_AT_ONCE = 256  # entries given their place in one transaction: answers wait for it
_TREE_LOCK = 0x0B11605


class Proof(NamedTuple):
    """That an entry's leaf is in the tree of a size: its place, and the hashes that lead to the root."""

    place: int
    size: int
    path: list[bytes]
    root: bytes


class Tree:
    """The Merkle tree over the entries of a record, in the order of their commits.

    Parameters
    ----------
    database : RecordDatabase
        The record's database, which also contains the tree.
    """

    def __init__(self, database: RecordDatabase) -> None:
        self.database = database
        self.engine = database.engine
        self._block = lru_cache(maxsize=4096)(self._read_whole_block)
        # The size of the tree last asked about, and the blocks at its end.
        self._growing: tuple[int, dict[tuple[int, int], list[bytes]]] = 0, {}

    def advance(self) -> int:
        """Give places to the entries that have none yet; return the size of the tree.

        On PostgreSQL the order of `seq` is not that of the commits: only entries of transactions older than
        every open one are taken, by transaction and `seq`, so none can come in before one that has its place.

        Raises
        ------
        RecordError
            Where the database cannot write.
        """
        try:
            while self._advance_once() == MOST_AT_ONCE:
                pass
            return self.size()
        except sa.exc.SQLAlchemyError as error:
            raise RecordError(
                f"the tree cannot grow ({type(error).__name__})",
                do="check the database",
            ) from None

    def _advance_once(self) -> int:
        with self.database.writing() as connection:
            if not self.database.is_sqlite:
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_TREE_LOCK)))
            last = connection.execute(
                sa.select(NODES.c.place, NODES.c.xid, NODES.c.seq)
                .where(NODES.c.level == 0)
                .order_by(NODES.c.place.desc())
                .limit(1)
            ).first()
            size, xid, seq = (
                (last.place + 1, last.xid, last.seq) if last else (0, -1, -1)
            )
            order = sa.tuple_(ENTRIES.c.xid, ENTRIES.c.seq)
            query = sa.select(ENTRIES.c.xid, ENTRIES.c.seq, ENTRIES.c.leaf_hash).where(
                order > sa.tuple_(xid, seq)
            )
            if not self.database.is_sqlite:
                query = query.where(
                    ENTRIES.c.xid
                    < sa.text("pg_snapshot_xmin(pg_current_snapshot())::text::bigint")
                )
            rows = connection.execute(
                query.order_by(ENTRIES.c.xid, ENTRIES.c.seq).limit(MOST_AT_ONCE)
            ).all()
            if rows:
                connection.execute(NODES.insert(), _leaves(size, rows))
                self._close_blocks(connection, size, size + len(rows))
        return len(rows)

    def place_rest(self, connection: sa.Connection) -> None:
        """Give a place to entries that have none, in a database nobody else writes to: one that is being restored."""
        query = (
            sa.select(ENTRIES.c.xid, ENTRIES.c.seq, ENTRIES.c.leaf_hash)
            .where(_has_no_place())
            .order_by(ENTRIES.c.seq)
        )
        size = (
            connection.scalar(sa.select(sa.func.count()).where(NODES.c.level == 0)) or 0
        )
        rows = connection.execute(query.order_by(ENTRIES.c.seq)).all()
        if rows:
            connection.execute(NODES.insert(), _leaves(size, rows))
            self._close_blocks(connection, size, size + len(rows))

    def _close_blocks(self, connection: sa.Connection, old: int, new: int) -> None:
        """Keep the roots of the blocks that became whole, level by level."""
        level = 0
        while new // WIDTH:
            level, first, last = level + 1, old // WIDTH, new // WIDTH
            nodes = []
            for place in range(first, last):
                hashes = _hashes(connection, level - 1, place * WIDTH, WIDTH)
                nodes.append(
                    {
                        "level": level,
                        "place": place,
                        "hash": _folded(hashes),
                        "seq": None,
                        "xid": None,
                    }
                )
            if nodes:
                connection.execute(NODES.insert(), nodes)
            old, new = first, last

    def size(self) -> int:
        """Return how many entries have their place."""
        query = (
            sa.select(NODES.c.place)
            .where(NODES.c.level == 0)
            .order_by(NODES.c.place.desc())
            .limit(1)
        )
        with self.engine.connect() as connection:
            last = connection.scalar(query)
        return 0 if last is None else last + 1

    def root(self, size: int) -> bytes:
        """Return the root over the first entries."""
        with self.engine.connect() as connection:
            return merkle.root(size, self._subtrees(connection, size))

    def proof(self, entry_id: str, size: int | None = None) -> Proof:
        """Return the proof that an entry is among the first `size`, all by default.

        Raises
        ------
        UnknownDecisionError
            Where there is no such entry, or it has no place among them yet.
        """
        query = sa.select(NODES.c.place).join(ENTRIES, ENTRIES.c.seq == NODES.c.seq)
        with self.engine.connect() as connection:
            place = connection.scalar(
                query.where(ENTRIES.c.entry_id == entry_id, NODES.c.level == 0)
            )
            size = self.size() if size is None else size
            if place is None or place >= size:
                do = "ask again in a second: entries get their place behind the answers"
                raise UnknownDecisionError(
                    f"{entry_id!r} has no place in the tree", where="decision_id", do=do
                )
            subtree = self._subtrees(connection, size)
            path = merkle.inclusion_proof(place, size, subtree)
            found = merkle.root_of_path(subtree(place, 1), place, size, path)
        if found is None:
            raise RecordError(
                "the tree is damaged", where="nodes", do="run `obligor audit verify`"
            )
        return Proof(place, size, path, found)

    def consistency(self, old: int, new: int) -> list[bytes]:
        """Return the proof that the tree of `new` entries begins with that of `old`."""
        with self.engine.connect() as connection:
            return merkle.consistency_proof(old, new, self._subtrees(connection, new))

    def placed(self, chunk: int) -> Iterator[tuple[int, StoredEntry, bytes, bytes]]:
        """Give every entry that has a place: place, row, the hash kept with it, the hash in the tree."""
        node = [NODES.c.place, NODES.c.hash]
        query = (
            sa.select(*STORED_COLUMNS, *node)
            .join(NODES, NODES.c.seq == ENTRIES.c.seq)
            .where(NODES.c.level == 0)
        )
        last = -1
        while rows := self.database.rows(
            query.where(NODES.c.place > last).order_by(NODES.c.place).limit(chunk)
        ):
            for row in rows:
                yield (
                    row.place,
                    StoredEntry(row._asdict()),
                    bytes(row.leaf_hash),
                    bytes(row.hash),
                )
            last = rows[-1].place

    def unplaced(self) -> Iterator[tuple[StoredEntry, bytes]]:
        """Give the entries that have no place yet, or not any more, with the hash kept with each."""
        query = (
            sa.select(*STORED_COLUMNS).where(_has_no_place()).order_by(ENTRIES.c.seq)
        )
        for row in self.database.rows(query):
            yield StoredEntry(row._asdict()), bytes(row.leaf_hash)

    def _subtrees(self, connection: sa.Connection, size: int) -> merkle.Subtree:
        """The hash over a whole subtree among the first `size` leaves, from the kept hashes of the level below it."""
        if self._growing[0] != size:
            self._growing = size, {}
        growing = self._growing[1]

        def subtree(start: int, count: int) -> bytes:
            level = (count.bit_length() - 1) // 8
            block, offset = divmod(start // WIDTH**level, WIDTH)
            if (block + 1) * WIDTH ** (level + 1) <= size:
                found = self._block(level, block)
            elif (level, block) in growing:
                found = growing[level, block]
            else:
                found = growing[level, block] = _hashes(
                    connection, level, block * WIDTH, WIDTH
                )
            return _folded(found[offset : offset + count // WIDTH**level])

        return subtree

    def _read_whole_block(self, level: int, block: int) -> list[bytes]:
        with self.engine.connect() as connection:
            return _hashes(connection, level, block * WIDTH, WIDTH)


def _has_no_place() -> sa.ColumnElement[bool]:
    return ~sa.exists().where(NODES.c.seq == ENTRIES.c.seq)


def _leaves(size: int, rows: Sequence[Any]) -> list[dict[str, Any]]:
    return [
        {
            "level": 0,
            "place": size + n,
            "hash": row.leaf_hash,
            "seq": row.seq,
            "xid": row.xid,
        }
        for n, row in enumerate(rows)
    ]


def _hashes(
    connection: sa.Connection, level: int, first: int, count: int
) -> list[bytes]:
    query = sa.select(NODES.c.hash).where(
        NODES.c.level == level, NODES.c.place >= first, NODES.c.place < first + count
    )
    return [bytes(hash_) for hash_ in connection.scalars(query.order_by(NODES.c.place))]


def _folded(hashes: Sequence[bytes]) -> bytes:
    """The root over a power of two of hashes."""
    while len(hashes) > 1:
        hashes = [
            merkle.node_hash(*hashes[n : n + 2]) for n in range(0, len(hashes), 2)
        ]
    return hashes[0]
