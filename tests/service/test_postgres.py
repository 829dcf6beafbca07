"""The same record on a real PostgreSQL: migrations, durability of order, append-only, proofs."""

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
from obligor.record.receipts import CheckpointFolder, ReceiptSigner
from obligor.record.record import Record
from obligor.record.retention import erase
from obligor.record.tables import METADATA, migrate
from obligor.record.verify import verify
from tests.conftest import NOW, VAULT
from tests.records import ENTRY

SEAL = ReceiptSigner(bytes(32))


@pytest.fixture
def record(postgres: str) -> Iterator[Record]:
    record = Record.open(postgres, VAULT)
    yield record
    record.close()


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_migrations_go_up_down_and_up_again(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url = (
        f"sqlite:///{tmp_path}/record.db"
        if kind == "sqlite"
        else request.getfixturevalue("postgres")
    )
    engine = sa.create_engine(url)
    for to, tables in (("head", True), ("base", False), ("head", True)):
        with engine.begin() as connection:
            migrate(connection, to)
        with engine.connect() as connection:
            names = set(sa.inspect(connection).get_table_names()) - {"alembic_version"}
            assert names == (set(METADATA.tables) if tables else set())
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), METADATA) == []
    engine.dispose()
    record = Record.open(url, VAULT)
    record.writer.append([ENTRY])
    assert record.reader.entry("d-1").body == ENTRY.body
    record.close()


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_what_was_recorded_before_a_migration_still_verifies(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url = (
        f"sqlite:///{tmp_path}/record.db"
        if kind == "sqlite"
        else request.getfixturevalue("postgres")
    )
    record, shelf = Record.open(url, VAULT), CheckpointFolder([tmp_path / "shelf"])
    record.writer.append(
        [replace(ENTRY, entry_id=f"d-{n}", customer_id=f"C{n}") for n in range(5)]
    )
    Checkpointer(record, SEAL, shelf, lambda: NOW).step()
    for to in ("0002", "head"):
        with record.database.writing() as connection:
            migrate(connection, to)
    record.close()
    again = Record.open(url, VAULT)
    assert list(verify(Tree(again.database), shelf.all(), SEAL.public)) == []
    again.writer.append(
        [replace(ENTRY, entry_id="new", customer_id="C1")]
    )  # a month of its own from now on
    assert len(again.reader.of_customer("C1", "decision")) == 2
    again.close()


def test_what_was_appended_is_read_back_exactly(record: Record) -> None:
    record.writer.append([replace(ENTRY, idempotency_key="k", inputs=b"\0\1")])
    assert record.reader.entry("d-1").body == ENTRY.body
    assert record.reader.inputs_of("d-1") == b"\0\1"
    columns = record.reader.stored("d-1").columns
    assert columns["limit_minor"] == 2**60 + 1
    assert columns["pd_12m"] == 0.01
    assert columns["recorded_at"] == NOW
    assert record.reader.for_key("k", ENTRY.request).body == ENTRY.body  # type: ignore[union-attr]
    with pytest.raises(ConflictError):
        record.writer.append([replace(ENTRY, entry_id="d-2", idempotency_key="k")])
    with pytest.raises(UnknownDecisionError):
        record.reader.entry("d-2")


@pytest.mark.parametrize(
    "statement",
    ["update entries set outcome = 'x'", "delete from entries", "truncate entries"],
)
def test_it_is_append_only(record: Record, statement: str) -> None:
    record.writer.append([ENTRY])
    with (
        pytest.raises(sa.exc.IntegrityError, match="append-only"),
        record.database.engine.begin() as connection,
    ):
        connection.execute(sa.text(statement))
    assert record.reader.entry("d-1").body == ENTRY.body


def test_no_entry_is_missed_when_commits_come_out_of_order(
    record: Record, tmp_path: Path
) -> None:
    """A writer that holds back its commit has a lower number than those who commit before it."""
    late = record.database.engine.raw_connection()
    cursor = late.cursor()
    record.writer._insert(cursor, [replace(ENTRY, entry_id="late")])
    tree, others = (
        Tree(record.database),
        [replace(ENTRY, entry_id=f"d-{n}", customer_id="BORIS") for n in range(5)],
    )
    record.writer.append(others)
    assert (
        tree.advance() == 0
    )  # nothing may have its place while a lower number can still come
    naive = newer_than(record, 0)
    assert len(naive) == 5
    late.commit()
    late.close()
    assert tree.advance() == 6
    assert (
        newer_than(record, max(naive)) == []
    )  # "id > last" would never see the late one


def newer_than(record: Record, last: int) -> list[int]:
    with record.database.engine.connect() as connection:
        return list(
            connection.scalars(
                sa.text("SELECT seq FROM entries WHERE seq > :last"), {"last": last}
            )
        )


def test_many_writers_lose_and_double_nothing(postgres: str, tmp_path: Path) -> None:
    records = [Record.open(postgres, VAULT) for _ in range(4)]
    shelf = CheckpointFolder([tmp_path])
    notaries = [Checkpointer(one, SEAL, shelf, lambda: NOW) for one in records[:2]]

    def write(writer: int) -> None:
        for n in range(60):
            records[writer].writer.append(
                [replace(ENTRY, entry_id=f"d-{writer}-{n}", customer_id=f"C{n % 9}")]
            )
            if writer < 2 and n % 10 == 9:
                notaries[writer].step()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    last = notaries[0].step()
    assert last is not None
    assert last.size == 240
    assert list(verify(Tree(records[0].database), shelf.all(), SEAL.public)) == []
    assert len(set(records[0].reader.ids_of_kinds(["decision"]))) == 240
    assert erase(records[0], "C3", "asked", NOW, "e-1") > 0
    assert list(verify(Tree(records[0].database), shelf.all(), SEAL.public)) == []
    for one in records:
        one.close()
