"""The record: append-only, durable, one entry per key, no answer on a full disk."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from obligor.errors import ConflictError, RecordError, UnknownDecisionError
from obligor.record.entry import LEAF_COLUMNS
from obligor.record.record import Record
from obligor.record.tables import ENTRIES
from tests.conftest import VAULT
from tests.records import ENTRY, fill_disk, opened


@pytest.fixture
def record(tmp_path: Path) -> Iterator[Record]:
    yield from opened(tmp_path)


def test_an_entry_is_read_back_exactly(record: Record) -> None:
    record.writer.append([ENTRY])
    assert record.reader.entry("d-1").body == ENTRY.body
    query = "select limit_minor, currency, pd_12m from entries"
    with record.database.engine.connect() as connection:
        row = connection.execute(sa.text(query)).one()
    # Cents past 2**53 are stored exactly.
    assert tuple(row) == (2**60 + 1, "EUR", 0.01)


def test_leaf_columns_are_in_the_order_of_the_table() -> None:
    """The insert is by position: SQLAlchemy gives columns in the table's order."""
    assert list(ENTRIES.c.keys()) == ["seq", "xid", *LEAF_COLUMNS, "leaf_hash"]


def test_unknown_decision_is_an_error(record: Record) -> None:
    with pytest.raises(UnknownDecisionError, match="no decision 'd-9'"):
        record.reader.entry("d-9")


def test_decisions_of_a_customer_come_newest_first(record: Record) -> None:
    entries = []
    for number in range(5):
        entry = replace(ENTRY, entry_id=f"d-{number}", body=str(number))
        entries.append(entry)
    record.writer.append(entries)
    newest = record.reader.of_customer("ANNA", "decision", limit=3)
    assert [entry.body for entry in newest] == ["4", "3", "2"]
    assert record.reader.of_customer("BORIS", "decision") == []


@pytest.mark.parametrize(
    "statement",
    ["update entries set outcome = 'decline'", "delete from entries"],
)
def test_the_record_is_append_only(record: Record, statement: str) -> None:
    record.writer.append([ENTRY])
    with (
        pytest.raises(sa.exc.IntegrityError, match="append-only"),
        record.database.engine.begin() as connection,
    ):
        connection.execute(sa.text(statement))
    assert record.reader.entry("d-1").body == ENTRY.body


def test_sqlite_is_set_to_survive_a_power_cut(record: Record) -> None:
    with record.database.engine.connect() as connection:
        assert connection.exec_driver_sql("pragma journal_mode").scalar() == "wal"
        # 2 is FULL.
        assert connection.exec_driver_sql("pragma synchronous").scalar() == 2


def test_a_batch_is_recorded_whole_or_not_at_all(record: Record) -> None:
    second = replace(ENTRY, entry_id="d-2")
    with pytest.raises(ConflictError):
        record.writer.append([ENTRY, second, second])
    with pytest.raises(UnknownDecisionError):
        record.reader.entry("d-1")


def test_a_key_returns_the_stored_answer(record: Record) -> None:
    record.writer.append([replace(ENTRY, idempotency_key="k")])
    entry = record.reader.for_key("k", ENTRY.request)
    assert entry is not None
    assert entry.body == ENTRY.body
    assert record.reader.for_key("other", ENTRY.request) is None


def test_a_key_is_refused_with_another_request(record: Record) -> None:
    record.writer.append([replace(ENTRY, idempotency_key="k")])
    with pytest.raises(ConflictError, match="used with another request"):
        record.reader.for_key("k", "{} ")


def test_one_key_is_recorded_once_in_a_race(record: Record) -> None:
    results: list[str] = []

    def append(number: int) -> None:
        entry = replace(ENTRY, entry_id=f"d-{number}", idempotency_key="k")
        try:
            record.writer.append([entry])
            results.append("recorded")
        except ConflictError:
            results.append("conflict")

    threads = [threading.Thread(target=append, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == ["conflict"] * 7 + ["recorded"]


def test_a_full_disk_is_an_error_and_loses_nothing(record: Record) -> None:
    record.writer.append([ENTRY])
    fill_disk(record)
    large = replace(ENTRY, entry_id="d-2", body="x" * 1_000_000)
    message = r"could not be recorded, so it is not given \(OperationalError\)"
    with pytest.raises(RecordError, match=message):
        record.writer.append([large])
    assert record.reader.entry("d-1").body == ENTRY.body
    with pytest.raises(UnknownDecisionError):
        record.reader.entry("d-2")


def test_a_record_that_cannot_be_opened_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="could not be recorded"):
        Record.open(f"sqlite:///{tmp_path}/nowhere/record.db", VAULT)


def test_a_record_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    record = Record.open(f"sqlite:///{tmp_path}/record.db", VAULT)
    record.close()
    (tmp_path / "record.db").write_bytes(b"not a database" * 1000)
    for log in tmp_path.glob("record.db-*"):
        log.unlink()
    with pytest.raises(RecordError, match="cannot be read"):
        record.reader.entry("d-1")


def test_a_record_of_the_first_layout_is_refused_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "record.db"
    with sqlite3.connect(path) as old:
        old.execute(
            "CREATE TABLE decisions (seq INTEGER PRIMARY KEY, decision_id TEXT)"
        )
    with pytest.raises(RecordError, match="written by an earlier version"):
        Record.open(f"sqlite:///{path}", VAULT)
    assert path.exists()
