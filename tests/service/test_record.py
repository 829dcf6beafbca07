"""The record: append-only, durable settings, one entry per key, and no answer when the disk is full."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
import sqlalchemy as sa

from obligor.errors import ConflictError, RecordError, UnknownDecisionError
from obligor.record.entry import LEAF_COLUMNS, Entry
from obligor.record.record import Record
from obligor.record.tables import ENTRIES
from tests.conftest import NOW, VAULT

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


@pytest.fixture
def record(tmp_path: Path) -> Iterator[Record]:
    record = Record.open(f"sqlite:///{tmp_path}/record.db", VAULT)
    yield record
    record.close()


def test_what_was_appended_is_read_back_exactly(record: Record) -> None:
    record.writer.append([ENTRY])
    assert record.reader.entry("d-1").body == ENTRY.body
    with record.database.engine.connect() as connection:
        row = connection.execute(
            sa.text("select limit_minor, currency, pd_12m from entries")
        ).one()
    assert tuple(row) == (2**60 + 1, "EUR", 0.01)  # cents past 2**53 are kept


def test_every_field_has_its_column_in_the_same_place() -> None:
    """The insert is written by place: SQLAlchemy gives columns in the table's order."""
    assert list(ENTRIES.c.keys()) == ["seq", "xid", *LEAF_COLUMNS, "leaf_hash"]


def test_an_unknown_decision_is_an_error(record: Record) -> None:
    with pytest.raises(UnknownDecisionError, match="no decision 'd-9'"):
        record.reader.entry("d-9")


def test_a_customers_decisions_come_newest_first(record: Record) -> None:
    entries = [replace(ENTRY, entry_id=f"d-{n}", body=str(n)) for n in range(5)]
    record.writer.append(entries)
    assert [
        entry.body for entry in record.reader.of_customer("ANNA", "decision", limit=3)
    ] == ["4", "3", "2"]
    assert record.reader.of_customer("BORIS", "decision") == []


@pytest.mark.parametrize(
    "statement", ["update entries set outcome = 'decline'", "delete from entries"]
)
def test_the_record_is_append_only(record: Record, statement: str) -> None:
    record.writer.append([ENTRY])
    with (
        pytest.raises(sa.exc.IntegrityError, match="append-only"),
        record.database.engine.begin() as connection,
    ):
        connection.execute(sa.text(statement))
    assert record.reader.entry("d-1").body == ENTRY.body


def test_sqlite_survives_a_power_cut_by_its_settings(record: Record) -> None:
    with record.database.engine.connect() as connection:
        assert connection.exec_driver_sql("pragma journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("pragma synchronous").scalar() == 2  # FULL


def test_a_batch_is_kept_whole_or_not_at_all(record: Record) -> None:
    twice = [replace(ENTRY, entry_id="d-2"), replace(ENTRY, entry_id="d-2")]
    with pytest.raises(ConflictError):
        record.writer.append([ENTRY, *twice])
    with pytest.raises(UnknownDecisionError):
        record.reader.entry("d-1")


def test_a_key_gives_the_stored_answer_and_refuses_another_request(
    record: Record,
) -> None:
    record.writer.append([replace(ENTRY, idempotency_key="k")])
    assert record.reader.for_key("k", ENTRY.request).body == ENTRY.body
    assert record.reader.for_key("other", ENTRY.request) is None
    with pytest.raises(ConflictError, match="used with another request"):
        record.reader.for_key("k", "{} ")


def test_one_key_is_kept_once_under_a_race(record: Record) -> None:
    results: list[str] = []

    def append(n: int) -> None:
        try:
            record.writer.append(
                [replace(ENTRY, entry_id=f"d-{n}", idempotency_key="k")]
            )
            results.append("kept")
        except ConflictError:
            results.append("conflict")

    threads = [threading.Thread(target=append, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == ["conflict"] * 7 + ["kept"]


def test_a_full_disk_is_a_record_error_and_keeps_what_was_there(record: Record) -> None:
    record.writer.append([ENTRY])
    fill_up(record)
    big = replace(ENTRY, entry_id="d-2", body="x" * 1_000_000)
    with pytest.raises(
        RecordError,
        match=r"could not be recorded, so it is not given \(OperationalError\)",
    ):
        record.writer.append([big])
    assert record.reader.entry("d-1").body == ENTRY.body
    with pytest.raises(UnknownDecisionError):
        record.reader.entry("d-2")


def fill_up(record: Record) -> None:
    """SQLite's own limit on its file: the same SQLITE_FULL a full disk gives."""

    @sa.event.listens_for(record.database.engine, "connect")
    def no_more_pages(connection: sqlite3.Connection, _: object) -> None:
        (pages,) = connection.execute("pragma page_count").fetchone()
        connection.execute(f"pragma max_page_count = {pages}")

    record.close()


def test_a_record_that_cannot_be_opened_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="could not be recorded"):
        Record.open(f"sqlite:///{tmp_path}/nowhere/record.db", VAULT)


def test_a_record_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    record = Record.open(f"sqlite:///{tmp_path}/record.db", VAULT)
    record.close()
    (tmp_path / "record.db").write_bytes(b"not a database" * 1000)
    for wal in tmp_path.glob("record.db-*"):
        wal.unlink()
    with pytest.raises(RecordError, match="cannot be read"):
        record.reader.entry("d-1")


def test_a_record_of_an_earlier_version_is_refused_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "record.db"
    with sqlite3.connect(path) as old:
        old.execute(
            "CREATE TABLE decisions (seq INTEGER PRIMARY KEY, decision_id TEXT)"
        )
    with pytest.raises(RecordError, match="written by an earlier version"):
        Record.open(f"sqlite:///{path}", VAULT)
    assert path.exists()
