"""Records for tests: an entry, a filled record, and attacks on it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import NamedTuple

import sqlalchemy as sa

from obligor.record import merkle
from obligor.record.checkpointer import Checkpointer
from obligor.record.entry import Entry
from obligor.record.merkle_log import Tree
from obligor.record.receipts import CheckpointFolder, ReceiptSigner
from obligor.record.record import Record
from obligor.record.verify import verify
from tests.conftest import NOW, VAULT

SIGNER = ReceiptSigner(bytes(32))
ENTRY = Entry(
    entry_id="d-1",
    kind="decision",
    customer_id="ANNA",
    as_of=date(2024, 12, 31),
    recorded_at=NOW,
    idempotency_key=None,
    outcome="approve",
    pd_12m=0.01,
    grade=5,
    limit_minor=2**60 + 1,
    currency="EUR",
    model_sha256="1" * 64,
    policy_sha256="2" * 64,
    request="{}",
    body='{"decision_id":"d-1"}',
)
# What somebody with the database file can do, by the name of the attack. The numbers of
# the entries are {n} and {m}, the last one is {end}.
ATTACKS = {
    "edit": """
        UPDATE entries SET outcome = 'decline', grade = 9 WHERE seq = {n}
    """,
    # The byte is changed whatever it was.
    "edit encrypted": """
        UPDATE entries SET body = CAST(
            substr(body, 1, 20)
            || CASE substr(body, 21, 1) WHEN x'00' THEN x'01' ELSE x'00' END
            || substr(body, 22) AS BLOB
        ) WHERE seq = {n}
    """,
    "delete": """
        DELETE FROM entries WHERE seq = {n}
    """,
    "swap": """
        CREATE TEMP TABLE two AS
            SELECT seq, outcome, body, leaf_hash FROM entries WHERE seq IN ({n}, {m});
        UPDATE entries SET (outcome, body, leaf_hash) = (
            SELECT outcome, body, leaf_hash FROM two WHERE two.seq <> entries.seq
        ) WHERE seq IN ({n}, {m})
    """,
    "reorder": """
        UPDATE entries SET seq = CASE seq WHEN {n} THEN -1 WHEN {m} THEN {n} END
            WHERE seq IN ({n}, {m});
        UPDATE entries SET seq = {m} WHERE seq = -1
    """,
    "insert": """
        INSERT INTO entries
            SELECT {end} + 1, xid, 'forged', kind, about, customer_ref, as_of,
            recorded_at, NULL, request_ref, outcome, pd_12m, grade, limit_minor,
            currency, model_sha256, policy_sha256, is_filed, request, body, inputs,
            leaf_hash, made_by FROM entries WHERE seq = {n}
    """,
    "truncate": """
        DELETE FROM entries WHERE seq >= {n}
    """,
}


class Filled(NamedTuple):
    """What is needed to verify a filled record."""

    checkpointer: Checkpointer
    receipts: list[str]


def opened(folder: Path) -> Iterator[Record]:
    """Yield a record in a folder, and close it: the body of a fixture."""
    record = Record.open(f"sqlite:///{folder}/record.db", VAULT)
    yield record
    record.close()


def filled(
    record: Record,
    folder: CheckpointFolder,
    n_signed: int,
    n_unsigned: int = 0,
) -> Filled:
    """Fill a record with entries of seven customers.

    Parameters
    ----------
    record : Record
        An empty record.
    folder : CheckpointFolder
        Where the checkpoints go: one for each hundred entries.
    n_signed : int
        How many entries the last checkpoint covers.
    n_unsigned : int
        How many entries come after it.
    """
    checkpointer = Checkpointer(
        record,
        SIGNER,
        folder,
        lambda: NOW,
    )
    receipts = []
    for number in range(n_signed + n_unsigned):
        entry = replace(
            ENTRY,
            entry_id=f"d-{number}",
            customer_id=f"C{number % 7}",
        )
        (leaf_hash,) = record.writer.append([entry])
        receipts.append(SIGNER.receipt(entry.entry_id, leaf_hash))
        is_hundredth = number % 100 == 99
        if number < n_signed and (is_hundredth or number == n_signed - 1):
            checkpointer.step()
    return Filled(checkpointer, receipts)


def findings(
    record: Record,
    folder: CheckpointFolder,
    receipts: list[str],
) -> list[str]:
    """Return what does not verify.

    Parameters
    ----------
    record : Record
        The record.
    folder : CheckpointFolder
        Where the checkpoints are.
    receipts : list of str
        Receipts of its entries.
    """
    tree = Tree(record.database)
    found = verify(
        tree,
        folder.all(),
        SIGNER.public,
        receipts,
    )
    return [f"{finding.where}: {finding.what}" for finding in found]


def tamper(path: Path, statements: str, redoes_hashes: bool) -> None:
    """Change a record behind its back.

    Parameters
    ----------
    path : Path
        The SQLite file.
    statements : str
        The SQL that changes it; triggers do not hinder it.
    redoes_hashes : bool
        Whether every hash in the database is computed again.
    """
    with closing(sqlite3.connect(path)) as connection:
        query = "SELECT name FROM sqlite_master WHERE type = 'trigger'"
        for (name,) in connection.execute(query).fetchall():
            connection.execute(f"DROP TRIGGER {name}")
        connection.executescript(statements)
        connection.commit()
    if redoes_hashes:
        redo_hashes(path)


def redo_hashes(path: Path) -> None:
    """Compute every leaf's hash again, and number the leaves in their order."""
    record = Record.open(f"sqlite:///{path}", VAULT)
    tree = Tree(record.database)
    entries = [placed.entry for placed in tree.placed(1000)]
    entries += [unplaced.entry for unplaced in tree.unplaced()]
    hashes = [(merkle.leaf_hash(entry.leaf()), entry.entry_id) for entry in entries]
    record.close()
    with closing(sqlite3.connect(path)) as connection:
        update = "UPDATE entries SET leaf_hash = ? WHERE entry_id = ?"
        connection.executemany(update, hashes)
        connection.execute("DELETE FROM nodes")
        query = "SELECT seq, xid, leaf_hash FROM entries ORDER BY seq"
        leaves = []
        for place, (seq, xid, leaf) in enumerate(connection.execute(query).fetchall()):
            leaves.append((place, leaf, seq, xid))
        connection.executemany("INSERT INTO nodes VALUES (0, ?, ?, ?, ?)", leaves)
        connection.commit()


def fill_disk(record: Record) -> None:
    """Let SQLite's file grow no more: it fails as on a full disk, with SQLITE_FULL."""

    @sa.event.listens_for(record.database.engine, "connect")
    def no_more_pages(connection: sqlite3.Connection, _: object) -> None:
        (pages,) = connection.execute("pragma page_count").fetchone()
        connection.execute(f"pragma max_page_count = {pages}")

    record.close()
