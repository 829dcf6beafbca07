"""For how long the record can be read.

Entries are never deleted. Every entry is encrypted under a key of its customer and of
the month in which it was recorded. Purging the record destroys the keys of the months
whose retention has ended, and erasing a customer destroys all keys of the customer.
What such a key encrypted can never be read again, and the log still verifies. The
examples record the entries of a table, act, and ask which of them can be read.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import NamedTuple

import pytest

from obligor.errors import ErasedError
from obligor.record.record import Record
from obligor.record.retention import LEGAL_PERIOD, RetentionPeriod, erase, purge
from tests.ascii import parse, spec
from tests.conftest import VAULT
from tests.records import ENTRY


class EntryState(NamedTuple):
    """Whether an entry can be read."""

    entry: str
    is_readable: bool


class Retained:
    """A record with the entries of a table."""

    def __init__(self, record: Record, entries: str) -> None:
        self.record = record
        self.entry_ids = [row["entry"] for row in parse(entries)]
        for row in parse(entries):
            recorded_on = date.fromisoformat(row["recorded_on"])
            entry = replace(
                ENTRY,
                entry_id=row["entry"],
                customer_id=row["customer"],
                recorded_at=noon(recorded_on),
                is_natural_person=row.get("is_person") == "yes",
            )
            record.writer.append([entry])

    def purge(self, on: date, period: RetentionPeriod = LEGAL_PERIOD) -> None:
        """Purge the record on a day."""
        purge(self.record, noon(on), "purge", period)

    def erase(self, customer_id: str) -> None:
        """Erase a customer."""
        erase(self.record, customer_id, "requested", noon(date(2025, 1, 1)), "erasure")

    def states(self) -> list[EntryState]:
        """Return which entries can be read."""
        return [
            EntryState(entry_id, self.is_readable(entry_id))
            for entry_id in self.entry_ids
        ]

    def is_readable(self, entry_id: str) -> bool:
        """Return whether an entry can be read."""
        try:
            return self.record.reader.entry(entry_id).body == ENTRY.body
        except ErasedError:
            return False


def noon(day: date) -> datetime:
    """Return the noon of a day."""
    return datetime.combine(day, time(12), UTC)


Retain = Callable[[str], Retained]


@pytest.fixture
def retain(tmp_path: Path) -> Retain:
    record = Record.open(f"sqlite:///{tmp_path}/record.db", VAULT)
    return lambda entries: Retained(record, entries)


def test_companies_are_kept_for_12_months_and_persons_for_25(retain: Retain) -> None:
    """By default, a purge destroys what is older than 12 months if the customer is a
    company, and than 25 months if it is a natural person (Regulation B, 12 CFR
    1002.12(b)). The record is purged on 2025-01-01."""
    entries = """
        entry | customer | is_person | recorded_on
        D1    | ACME     | no        | 2023-12-30
        D2    | ACME     | no        | 2024-01-02
        D3    | BORIS    | yes       | 2022-11-30
        D4    | BORIS    | yes       | 2022-12-02
        D5    | BORIS    | yes       | 2023-12-30
    """
    expected = """
        entry | is_readable
        D1    | no
        D2    | yes
        D3    | no
        D4    | yes
        D5    | yes
    """
    retained = retain(entries)
    retained.purge(date(2025, 1, 1))
    spec(retained.states(), expected)


def test_a_month_is_purged_as_a_whole(retain: Retain) -> None:
    """The entries of a customer in one month have one key, so all of them stay readable
    until the last one is old enough. The record is purged on 2025-01-15."""
    entries = """
        entry | customer | recorded_on
        D1    | ACME     | 2024-01-02
        D2    | ACME     | 2024-01-20
        D3    | BETA     | 2024-01-02
    """
    expected = """
        entry | is_readable
        D1    | yes
        D2    | yes
        D3    | no
    """
    retained = retain(entries)
    retained.purge(date(2025, 1, 15))
    spec(retained.states(), expected)


def test_a_customer_who_was_a_person_once_is_a_person(retain: Retain) -> None:
    """Not every entry says whether its customer is a natural person. If one does, all
    entries of the customer are kept as long as a person's. The record is purged on
    2025-01-01."""
    entries = """
        entry | customer | is_person | recorded_on
        D1    | BORIS    | no        | 2022-12-02
        D2    | BORIS    | yes       | 2023-10-31
        D3    | ACME     | no        | 2022-12-02
    """
    expected = """
        entry | is_readable
        D1    | yes
        D2    | yes
        D3    | no
    """
    retained = retain(entries)
    retained.purge(date(2025, 1, 1))
    spec(retained.states(), expected)


def test_a_house_may_keep_entries_for_longer(retain: Retain) -> None:
    """Here companies are kept for 24 months and persons for 36. The record is purged on
    2025-01-01."""
    entries = """
        entry | customer | is_person | recorded_on
        D1    | ACME     | no        | 2022-12-31
        D2    | ACME     | no        | 2023-01-02
        D3    | BORIS    | yes       | 2021-12-31
        D4    | BORIS    | yes       | 2022-01-02
    """
    expected = """
        entry | is_readable
        D1    | no
        D2    | yes
        D3    | no
        D4    | yes
    """
    retained = retain(entries)
    retained.purge(date(2025, 1, 1), RetentionPeriod(months=24, months_of_persons=36))
    spec(retained.states(), expected)


def test_erasing_takes_every_month_of_one_customer(retain: Retain) -> None:
    """Erasing a customer destroys the keys of all months at once, however young their
    entries are, and leaves the other customers alone. Here BORIS is erased."""
    entries = """
        entry | customer | recorded_on
        D1    | BORIS    | 2023-10-31
        D2    | BORIS    | 2024-12-30
        D3    | ACME     | 2024-12-30
    """
    expected = """
        entry | is_readable
        D1    | no
        D2    | no
        D3    | yes
    """
    retained = retain(entries)
    retained.erase("BORIS")
    spec(retained.states(), expected)
