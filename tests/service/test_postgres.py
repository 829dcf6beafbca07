"""The record on a real PostgreSQL: migrations, order of commits, append-only."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from obligor.errors import ConflictError, UnknownDecisionError
from obligor.record.checkpointer import Checkpointer
from obligor.record.merkle_log import Tree
from obligor.record.receipts import CheckpointFolder
from obligor.record.record import Record
from obligor.record.retention import erase
from obligor.record.tables import METADATA, migrate
from tests.conftest import NOW, VAULT
from tests.records import ENTRY, SIGNER, findings

N_WRITERS = 4
ENTRIES_EACH = 60


@pytest.fixture
def record(postgres: str) -> Iterator[Record]:
    record = Record.open(postgres, VAULT)
    yield record
    record.close()


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/record.db"
    return str(request.getfixturevalue("postgres"))


# --- migrations


def table_names(engine: sa.Engine) -> set[str]:
    """Return the names of the tables, without Alembic's own."""
    with engine.connect() as connection:
        names = sa.inspect(connection).get_table_names()
    return set(names) - {"alembic_version"}


def test_migrations_go_up_down_and_up_again(url: str) -> None:
    engine = sa.create_engine(url)
    every_table = set(METADATA.tables)
    for version, expected in (
        ("head", every_table),
        ("base", set[str]()),
        ("head", every_table),
    ):
        with engine.begin() as connection:
            migrate(connection, version)
        assert table_names(engine) == expected
    with engine.connect() as connection:
        context = MigrationContext.configure(connection)
        assert compare_metadata(context, METADATA) == []
    engine.dispose()
    record = Record.open(url, VAULT)
    record.writer.append([ENTRY])
    assert record.reader.entry("d-1").body == ENTRY.body
    record.close()


def test_entries_from_before_a_migration_still_verify(url: str, tmp_path: Path) -> None:
    folder = CheckpointFolder([tmp_path / "checkpoints"])
    record = Record.open(url, VAULT)
    for number in range(5):
        entry = replace(ENTRY, entry_id=f"d-{number}", customer_id=f"C{number}")
        record.writer.append([entry])
    Checkpointer(
        record,
        SIGNER,
        folder,
        lambda: NOW,
    ).step()
    for version in ("0002", "head"):
        with record.database.writing() as connection:
            migrate(connection, version)
    record.close()
    migrated = Record.open(url, VAULT)
    assert findings(migrated, folder, []) == []
    # From now on the customer has a key for each month.
    migrated.writer.append([replace(ENTRY, entry_id="new", customer_id="C1")])
    assert len(migrated.reader.of_customer("C1", "decision")) == 2
    migrated.close()


# --- entries


def test_an_entry_is_read_back_exactly(record: Record) -> None:
    record.writer.append([replace(ENTRY, idempotency_key="k", inputs=b"\0\1")])
    assert record.reader.entry("d-1").body == ENTRY.body
    assert record.reader.inputs_of("d-1") == b"\0\1"
    columns = record.reader.stored("d-1").columns
    assert columns["limit_minor"] == 2**60 + 1
    assert columns["pd_12m"] == 0.01
    assert columns["recorded_at"] == NOW


def test_a_key_is_used_once(record: Record) -> None:
    record.writer.append([replace(ENTRY, idempotency_key="k")])
    entry = record.reader.for_key("k", ENTRY.request)
    assert entry is not None
    assert entry.body == ENTRY.body
    with pytest.raises(ConflictError):
        record.writer.append([replace(ENTRY, entry_id="d-2", idempotency_key="k")])
    with pytest.raises(UnknownDecisionError):
        record.reader.entry("d-2")


@pytest.mark.parametrize(
    "statement",
    ["update entries set outcome = 'x'", "delete from entries", "truncate entries"],
)
def test_the_record_is_append_only(record: Record, statement: str) -> None:
    record.writer.append([ENTRY])
    with (
        pytest.raises(sa.exc.IntegrityError, match="append-only"),
        record.database.engine.begin() as connection,
    ):
        connection.execute(sa.text(statement))
    assert record.reader.entry("d-1").body == ENTRY.body


# --- several writers


def numbers_after(record: Record, last: int) -> list[int]:
    """Return the numbers of the entries after one: how others read a log."""
    query = sa.text("SELECT seq FROM entries WHERE seq > :last")
    with record.database.engine.connect() as connection:
        return list(connection.scalars(query, {"last": last}))


def test_no_entry_is_missed_when_commits_are_out_of_order(record: Record) -> None:
    """A writer that commits late has a lower number than those who commit before it."""
    late = record.database.engine.raw_connection()
    record.writer._insert(late.cursor(), [replace(ENTRY, entry_id="late")])
    for number in range(5):
        entry = replace(ENTRY, entry_id=f"d-{number}", customer_id="BORIS")
        record.writer.append([entry])
    tree = Tree(record.database)
    # Nothing is placed while an entry with a lower number can still be committed.
    assert tree.advance() == 0
    numbers = numbers_after(record, 0)
    assert len(numbers) == 5
    late.commit()
    late.close()
    assert tree.advance() == 6
    # Reading on from the last number would never see the late entry.
    assert numbers_after(record, max(numbers)) == []


def test_many_writers_lose_and_double_nothing(postgres: str, tmp_path: Path) -> None:
    records = [Record.open(postgres, VAULT) for _ in range(N_WRITERS)]
    folder = CheckpointFolder([tmp_path])
    checkpointers = [
        Checkpointer(
            record,
            SIGNER,
            folder,
            lambda: NOW,
        )
        for record in records[:2]
    ]

    def write(writer: int) -> None:
        for number in range(ENTRIES_EACH):
            entry = replace(
                ENTRY,
                entry_id=f"d-{writer}-{number}",
                customer_id=f"C{number % 9}",
            )
            records[writer].writer.append([entry])
            if writer < len(checkpointers) and number % 10 == 9:
                checkpointers[writer].step()

    with ThreadPoolExecutor(N_WRITERS) as pool:
        list(pool.map(write, range(N_WRITERS)))
    checkpoint = checkpointers[0].step()
    n_entries = N_WRITERS * ENTRIES_EACH
    assert checkpoint is not None
    assert checkpoint.size == n_entries
    assert findings(records[0], folder, []) == []
    entry_ids = records[0].reader.ids_of_kinds(["decision"])
    assert len(set(entry_ids)) == n_entries
    assert (
        erase(
            records[0],
            "C3",
            "asked",
            NOW,
            "e-1",
        )
        > 0
    )
    assert findings(records[0], folder, []) == []
    for record in records:
        record.close()
