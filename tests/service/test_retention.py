"""Retention: what a purge and an erasure record; tests/spec has what stays readable."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import pytest

from obligor.errors import ErasedError
from obligor.record.checkpointer import Checkpointer
from obligor.record.receipts import CheckpointFolder
from obligor.record.record import Record
from obligor.record.retention import Purge, RetentionPeriod, erase, purge
from tests.records import ENTRY, SIGNER, findings, opened


class Recorded(NamedTuple):
    """An entry, whom it is about, and when it was recorded."""

    entry_id: str
    customer_id: str
    day: tuple[int, int, int]
    is_person: bool


ENTRIES = (
    Recorded(
        "d-1",
        "COMPANY",
        (2023, 10, 31),
        is_person=False,
    ),
    Recorded(
        "d-2",
        "COMPANY",
        (2023, 12, 30),
        is_person=False,
    ),
    Recorded(
        "d-3",
        "COMPANY",
        (2024, 6, 1),
        is_person=False,
    ),
    Recorded(
        "d-4",
        "PERSON",
        (2022, 11, 30),
        is_person=True,
    ),
    # As a contact, which does not say it: who was a person once is a person.
    Recorded(
        "d-5",
        "PERSON",
        (2022, 12, 2),
        is_person=False,
    ),
    Recorded(
        "d-6",
        "PERSON",
        (2023, 10, 31),
        is_person=True,
    ),
)
NOW = datetime(
    2025,
    1,
    1,
    12,
    tzinfo=UTC,
)
ALL_AT_ONCE = RetentionPeriod(months=1, months_of_persons=1)
EXPIRED = Purge({"2022-11": 1, "2023-10": 1, "2023-12": 1}, entries=3)


@pytest.fixture
def record(tmp_path: Path) -> Iterator[Record]:
    for record in opened(tmp_path):
        for recorded in ENTRIES:
            entry = replace(
                ENTRY,
                entry_id=recorded.entry_id,
                customer_id=recorded.customer_id,
                recorded_at=datetime(*recorded.day, tzinfo=UTC),
                idempotency_key=None,
                is_natural_person=recorded.is_person,
            )
            record.writer.append([entry])
        yield record


def readable(record: Record) -> list[str]:
    """Return the ids of the entries that can be read."""
    entry_ids = []
    for recorded in ENTRIES:
        try:
            record.reader.entry(recorded.entry_id)
            entry_ids.append(recorded.entry_id)
        except ErasedError:
            pass
    return entry_ids


def body_of(record: Record, entry_id: str) -> str:
    return record.reader.entry(entry_id).body


def test_a_trial_reports_and_purges_nothing(record: Record) -> None:
    assert (
        purge(
            record,
            NOW,
            "p-0",
            is_trial=True,
        )
        == EXPIRED
    )
    assert len(readable(record)) == 6


def test_a_purge_destroys_the_keys_of_expired_months(record: Record) -> None:
    assert purge(record, NOW, "p-1") == EXPIRED
    assert readable(record) == ["d-3", "d-5", "d-6"]


def test_the_log_verifies_after_a_purge(record: Record, tmp_path: Path) -> None:
    folder = CheckpointFolder([tmp_path / "checkpoints"])
    checkpointer = Checkpointer(
        record,
        SIGNER,
        folder,
        lambda: NOW,
    )
    checkpointer.step()
    purge(record, NOW, "p-1")
    checkpointer.step()
    assert findings(record, folder, []) == []


def test_a_purge_is_recorded_with_its_months(record: Record) -> None:
    purge(record, NOW, "p-1")
    details = json.loads(body_of(record, "p-1"))
    assert details["months"] == EXPIRED.months
    assert "12 months, 25 where it is a person" in details["because"]


def test_neither_a_trial_nor_an_empty_purge_is_recorded(record: Record) -> None:
    purge(record, NOW, "p-0", is_trial=True)
    purge(record, NOW, "p-1")
    assert purge(record, NOW, "p-2") == Purge({}, 0)
    assert record.reader.ids_of_kinds(("purge",)) == ["p-1"]


def test_a_house_chooses_its_own_periods(record: Record) -> None:
    ten_years = RetentionPeriod(months=120, months_of_persons=120)
    assert (
        purge(
            record,
            NOW,
            "p-1",
            ten_years,
        ).entries
        == 0
    )
    assert (
        purge(
            record,
            NOW,
            "p-2",
            ALL_AT_ONCE,
        ).entries
        == 6
    )


def test_entries_about_the_service_are_never_purged(record: Record) -> None:
    purge(record, NOW, "p-1", ALL_AT_ONCE)
    later = NOW.replace(year=2030)
    assert (
        purge(
            record,
            later,
            "p-2",
            ALL_AT_ONCE,
        ).entries
        == 0
    )
    assert json.loads(body_of(record, "p-1"))["kind"] == "purge"


def test_an_erasure_takes_every_month_of_a_customer(record: Record) -> None:
    assert (
        erase(
            record,
            "COMPANY",
            "asked by letter",
            NOW,
            "e-1",
        )
        == 3
    )
    assert readable(record) == ["d-4", "d-5", "d-6"]


def test_an_erasure_is_recorded_without_the_customer(record: Record) -> None:
    erase(record, "COMPANY", "asked by letter", NOW, "e-1")
    details = json.loads(body_of(record, "e-1"))
    assert details["because"] == "asked by letter"
    assert len(details["references"]) == 3
    assert "COMPANY" not in body_of(record, "e-1")


def test_the_months_of_a_customer_are_read_as_one(record: Record) -> None:
    reader = record.reader
    assert len(reader.of_customer("COMPANY", "decision")) == 3
    assert len(reader.of_customer("COMPANY", "decision", limit=2)) == 2
