"""The Merkle tree over the record: entries get their place in it behind the answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

import sqlalchemy as sa

from obligor.errors import RecordError, UnknownDecisionError
from obligor.record import merkle
from obligor.record.database import DatabaseRow, RecordDatabase
from obligor.record.entry import StoredEntry
from obligor.record.reader import STORED_COLUMNS
from obligor.record.tables import ENTRIES, ENTRY, NODE, NODES

# Roots are stored of blocks of this many nodes, on every level.
WIDTH = 256
BITS_PER_LEVEL = 8  # 2**8 = WIDTH
# Entries placed in one transaction: answers wait until it is committed.
MOST_AT_ONCE = 256
CACHED_BLOCKS = 4096
_TREE_LOCK = 0x0B11605
_HAS_NO_PLACE = ~sa.exists().where(NODE.seq == ENTRY.seq)


class Proof(NamedTuple):
    """A proof that an entry's leaf is in the tree of a size (RFC 6962, 2.1.1).

    Attributes
    ----------
    leaf_index : int
        The leaf's index, from zero.
    size : int
        The tree has this many leaves.
    path : list of bytes
        The hashes that lead from the leaf to the root.
    root : bytes
        The root.
    """

    leaf_index: int
    size: int
    path: list[bytes]
    root: bytes


class PlacedEntry(NamedTuple):
    """An entry with its place in the tree, and both hashes stored of its leaf."""

    leaf_index: int
    entry: StoredEntry
    stored_hash: bytes
    node_hash: bytes


class UnplacedEntry(NamedTuple):
    """An entry without a place in the tree, and the hash stored of its leaf."""

    entry: StoredEntry
    stored_hash: bytes


class Tree:
    """The Merkle tree over the entries of a record, in the order of their commits.

    Parameters
    ----------
    database : RecordDatabase
        The record's database, which also contains the tree.
    """

    def __init__(self, database: RecordDatabase) -> None:
        self._database = database
        self.engine = database.engine
        self._whole_block = lru_cache(maxsize=CACHED_BLOCKS)(self._read_whole_block)
        self._growing = _GrowingBlocks(size=0, hashes={})

    def advance(self) -> int:
        """Place the entries that have no place yet, and return the size of the tree.

        On PostgreSQL the order of `seq` is not the order of the commits: only entries
        of transactions older than every open one are placed, by transaction and `seq`,
        so that no entry can appear before one that has its place.

        Raises
        ------
        RecordError
            If the database cannot be written.
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
        with self._database.writing() as connection:
            if not self._database.is_sqlite:
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_TREE_LOCK)))
            last = connection.execute(
                sa.select(NODE.place, NODE.xid, NODE.seq)
                .where(NODE.level == 0)
                .order_by(NODE.place.desc())
                .limit(1)
            ).first()
            size = 0 if last is None else last.place + 1
            entries = connection.execute(self._entries_after(last)).all()
            _add_leaves(connection, size, entries)
        return len(entries)

    def _entries_after(self, last: DatabaseRow | None) -> sa.Executable:
        """Return the query of the next entries, in the order of their commits."""
        query = (
            sa.select(ENTRY.xid, ENTRY.seq, ENTRY.leaf_hash)
            .order_by(ENTRY.xid, ENTRY.seq)
            .limit(MOST_AT_ONCE)
        )
        if last is not None:
            order = sa.tuple_(ENTRY.xid, ENTRY.seq)
            query = query.where(order > sa.tuple_(last.xid, last.seq))
        if not self._database.is_sqlite:
            oldest_open = sa.text(
                "pg_snapshot_xmin(pg_current_snapshot())::text::bigint"
            )
            # Its entries, and those of later transactions, may not be visible yet.
            query = query.where(ENTRY.xid < oldest_open)
        return query

    def place_unplaced(self, connection: sa.Connection) -> None:
        """Place the entries that have no place, in a database that is being restored.

        Nobody else may write to it meanwhile.
        """
        query = (
            sa.select(ENTRY.xid, ENTRY.seq, ENTRY.leaf_hash)
            .where(_HAS_NO_PLACE)
            .order_by(ENTRY.seq)
        )
        count = sa.select(sa.func.count()).where(NODE.level == 0)
        size = connection.scalar(count) or 0
        _add_leaves(connection, size, connection.execute(query).all())

    def size(self) -> int:
        """Return how many entries have their place."""
        query = (
            sa.select(NODE.place)
            .where(NODE.level == 0)
            .order_by(NODE.place.desc())
            .limit(1)
        )
        with self.engine.connect() as connection:
            last = connection.scalar(query)
        return 0 if last is None else last + 1

    def root(self, size: int) -> bytes:
        """Return the root over the first entries."""
        with self.engine.connect() as connection:
            return merkle.root(size, self._subtrees(connection, size))

    def proof(
        self,
        entry_id: str,
        size: int | None = None,
    ) -> Proof:
        """Return the proof that an entry is among the first `size`, by default all.

        Raises
        ------
        UnknownDecisionError
            If there is no such entry, or it has no place among them yet.
        RecordError
            If the tree is damaged.
        """
        query = (
            sa.select(NODE.place)
            .join(ENTRIES, ENTRY.seq == NODE.seq)
            .where(ENTRY.entry_id == entry_id, NODE.level == 0)
        )
        with self.engine.connect() as connection:
            leaf_index = connection.scalar(query)
            size = self.size() if size is None else size
            if leaf_index is None or leaf_index >= size:
                raise UnknownDecisionError(
                    f"{entry_id!r} has no place in the tree",
                    where="decision_id",
                    do="ask again in a second: an entry gets its place after its "
                    "answer was given",
                )
            subtree = self._subtrees(connection, size)
            path = merkle.inclusion_proof(leaf_index, size, subtree)
            leaf = subtree(leaf_index, 1)
        root = merkle.root_of_path(leaf, leaf_index, size, path)
        if root is None:
            raise RecordError(
                "the tree is damaged", where="nodes", do="run `obligor audit verify`"
            )
        return Proof(leaf_index, size, path, root)

    def consistency(
        self,
        old_size: int,
        new_size: int,
    ) -> list[bytes]:
        """Return the proof that the tree of one size grew out of that of another."""
        with self.engine.connect() as connection:
            subtree = self._subtrees(connection, new_size)
            return merkle.consistency_proof(old_size, new_size, subtree)

    def placed(self, chunk: int) -> Iterator[PlacedEntry]:
        """Yield every placed entry in the tree's order, reading `chunk` at a time."""
        query = (
            sa.select(*STORED_COLUMNS, NODE.place, NODE.hash)
            .join(NODES, NODE.seq == ENTRY.seq)
            .where(NODE.level == 0)
            .order_by(NODE.place)
            .limit(chunk)
        )
        last = -1
        while rows := self._database.rows(query.where(NODE.place > last)):
            for row in rows:
                yield PlacedEntry(
                    leaf_index=row.place,
                    entry=StoredEntry(row._asdict()),
                    stored_hash=bytes(row.leaf_hash),
                    node_hash=bytes(row.hash),
                )
            last = rows[-1].place

    def unplaced(self) -> Iterator[UnplacedEntry]:
        """Yield the entries that have no place yet, or have lost it."""
        query = sa.select(*STORED_COLUMNS).where(_HAS_NO_PLACE).order_by(ENTRY.seq)
        for row in self._database.rows(query):
            yield UnplacedEntry(StoredEntry(row._asdict()), bytes(row.leaf_hash))

    def _subtrees(
        self,
        connection: sa.Connection,
        size: int,
    ) -> merkle.Subtree:
        """Return what gives the hash of a whole subtree among the first leaves.

        It is folded from the stored hashes of the level below it. Blocks that are
        whole never change, and are cached; the others are cached for one size.
        """
        if self._growing.size != size:
            self._growing = _GrowingBlocks(size=size, hashes={})
        growing = self._growing.hashes

        def subtree(start: int, count: int) -> bytes:
            level = (count.bit_length() - 1) // BITS_PER_LEVEL
            leaves_per_node = WIDTH**level
            block, offset = divmod(start // leaves_per_node, WIDTH)
            end_of_block = (block + 1) * WIDTH * leaves_per_node
            if end_of_block <= size:
                hashes = self._whole_block(level, block)
            elif (level, block) in growing:
                hashes = growing[level, block]
            else:
                hashes = _hashes(connection, level, block)
                growing[level, block] = hashes
            return _folded(hashes[offset : offset + count // leaves_per_node])

        return subtree

    def _read_whole_block(
        self,
        level: int,
        block: int,
    ) -> list[bytes]:
        with self.engine.connect() as connection:
            return _hashes(connection, level, block)


class _GrowingBlocks(NamedTuple):
    """The hashes of the blocks at the end of a tree of one size, by level and block."""

    size: int
    hashes: dict[tuple[int, int], list[bytes]]


def _add_leaves(
    connection: sa.Connection,
    size: int,
    entries: Sequence[DatabaseRow],
) -> None:
    """Append leaves to a tree of a size, and store the roots of what became whole."""
    if not entries:
        return
    leaves = list[dict[str, object]]()
    for leaf_index, entry in enumerate(entries, start=size):
        leaves.append(
            {
                "level": 0,
                "place": leaf_index,
                "hash": entry.leaf_hash,
                "seq": entry.seq,
                "xid": entry.xid,
            }
        )
    connection.execute(NODES.insert(), leaves)
    _close_blocks(connection, size, size + len(entries))


def _close_blocks(
    connection: sa.Connection,
    old_size: int,
    new_size: int,
) -> None:
    """Store the roots of the blocks that became whole, level by level."""
    level = 0
    while new_size // WIDTH:
        first = old_size // WIDTH
        last = new_size // WIDTH
        roots = list[dict[str, object]]()
        for block in range(first, last):
            roots.append(
                {
                    "level": level + 1,
                    "place": block,
                    "hash": _folded(_hashes(connection, level, block)),
                    "seq": None,
                    "xid": None,
                }
            )
        if roots:
            connection.execute(NODES.insert(), roots)
        level += 1
        old_size = first
        new_size = last


def _hashes(
    connection: sa.Connection,
    level: int,
    block: int,
) -> list[bytes]:
    """Return the stored hashes of a block, in their order."""
    first = block * WIDTH
    query = (
        sa.select(NODE.hash)
        .where(
            NODE.level == level,
            NODE.place >= first,
            NODE.place < first + WIDTH,
        )
        .order_by(NODE.place)
    )
    return [bytes(hash_) for hash_ in connection.scalars(query)]


def _folded(hashes: Sequence[bytes]) -> bytes:
    """Return the root over as many hashes as a power of two."""
    while len(hashes) > 1:
        pairs = zip(hashes[::2], hashes[1::2], strict=True)
        hashes = [merkle.node_hash(left, right) for left, right in pairs]
    return hashes[0]
