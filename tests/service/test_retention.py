"""What is kept for how long, and what is told about what went."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from obligor.errors import ErasedError
from obligor.record.checkpointer import Checkpointer
from obligor.record.receipts import CheckpointFolder, ReceiptSigner
from obligor.record.record import Record
from obligor.record.retention import Purge, RetentionPeriod, erase, purge
from tests.conftest import VAULT
from tests.records import ENTRY, findings

# who, recorded in, as a person
KEPT = (
    ("d-1", "COMPANY", (2023, 10, 31), False),
    ("d-2", "COMPANY", (2023, 12, 30), False),
    ("d-3", "COMPANY", (2024, 6, 1), False),
    ("d-4", "PERSON", (2022, 11, 30), True),
    (
        "d-5",
        "PERSON",
        (2022, 12, 2),
        False,
    ),  # a contact says nothing of it: who was a person once is one
    ("d-6", "PERSON", (2023, 10, 31), True),
)
NOW = datetime(2025, 1, 1, 12, tzinfo=UTC)


@pytest.fixture
def record(tmp_path: Path) -> Iterator[Record]:
    record = Record.open(f"sqlite:///{tmp_path}/record.db", VAULT)
    for entry_id, customer, day, is_person in KEPT:
        at = datetime(*day, tzinfo=UTC)
        record.writer.append(
            [
                replace(
                    ENTRY,
                    entry_id=entry_id,
                    customer_id=customer,
                    recorded_at=at,
                    idempotency_key=None,
                    is_natural_person=is_person,
                )
            ]
        )
    yield record
    record.close()


def readable(record: Record) -> list[str]:
    found = []
    for entry_id, *_ in KEPT:
        try:
            record.reader.entry(entry_id)
            found.append(entry_id)
        except ErasedError:
            pass
    return found


def test_what_is_old_enough_goes_month_by_month_and_the_log_verifies(
    record: Record, tmp_path: Path
) -> None:
    notary = Checkpointer(
        record,
        ReceiptSigner(bytes(32)),
        CheckpointFolder([tmp_path / "shelf"]),
        lambda: NOW,
    )
    notary.step()
    expected = Purge({"2022-11": 1, "2023-10": 1, "2023-12": 1}, 3)
    assert purge(record, NOW, "p-0", is_trial=True) == expected
    assert len(readable(record)) == 6
    assert purge(record, NOW, "p-1") == expected
    assert readable(record) == ["d-3", "d-5", "d-6"]
    notary.step()
    assert findings(record, notary.folder, []) == []
    assert purge(record, NOW, "p-2") == Purge({}, 0)
    said = json.loads(record.reader.entry("p-1").body)
    assert said["months"] == expected.months
    assert "12 months, 25 where it is a person" in said["because"]
    assert record.reader.ids_of_kinds(("purge",)) == [
        "p-1"
    ]  # neither a trial nor a purge of nothing is one


def test_periods_are_the_houses_own_and_what_the_service_says_of_itself_stays(
    record: Record,
) -> None:
    assert purge(record, NOW, "p-1", RetentionPeriod(120, 120)).entries == 0
    assert purge(record, NOW, "p-2", RetentionPeriod(1, 1)).entries == 6
    later = NOW.replace(year=2030)
    assert purge(record, later, "p-3", RetentionPeriod(1, 1)).entries == 0
    assert json.loads(record.reader.entry("p-2").body)["kind"] == "purge"


def test_erasing_takes_every_month_of_a_customer_and_says_so(record: Record) -> None:
    assert erase(record, "COMPANY", "asked by letter", NOW, "e-1") == 3
    assert readable(record) == ["d-4", "d-5", "d-6"]
    said = json.loads(record.reader.entry("e-1").body)
    assert (said["because"], len(said["references"])) == ("asked by letter", 3)
    assert "COMPANY" not in record.reader.entry("e-1").body


def test_a_customers_months_are_read_as_one(record: Record) -> None:
    assert len(record.reader.of_customer("COMPANY", "decision")) == 3
    assert len(record.reader.of_customer("COMPANY", "decision", limit=2)) == 2
