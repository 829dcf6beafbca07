"""Webhooks.

An event is derived from an entry of the record: a limit that differs from that of the
customer's decision before, an order that is held or released by the rules or by a
person, a case that is opened or resolved, and an early warning that the decision before
did not raise. An entry may give several events, or none. Amounts are in minor units.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import orjson
import pytest

from obligor.decisions.rulebooks import Rulebooks
from obligor.policy.rulebooks.rulebook import RULES, read_rulebooks
from obligor.record.feed import RecordFeed
from obligor.record.merkle_log import Tree
from obligor.record.record import Record
from obligor.serving.webhooks.events import (
    EVENT_TYPES,
    WARNING_RAISED,
    Event,
    EventReader,
)
from tests.ascii import parse, spec
from tests.conftest import NOW, VAULT
from tests.records import ENTRY


@pytest.fixture
def record(tmp_path: Path) -> Iterator[Record]:
    record = Record.open(f"sqlite:///{tmp_path}/record.db", VAULT)
    yield record
    record.close()


def append(record: Record, entries: str) -> None:
    """Append the entries of a table; a dash is nothing."""
    for row in parse(entries):
        limit = None if row.get("limit", "-") == "-" else int(row["limit"])
        case_id = None if row.get("case", "-") == "-" else row["case"]
        customer = row.get("customer", "ANNA")
        entry = replace(
            ENTRY,
            entry_id=row["entry"],
            kind=row["kind"],
            outcome=row["outcome"],
            limit_minor=limit,
            currency=row.get("currency", "EUR"),
            case_id=case_id,
            customer_id=customer,
            body=orjson.dumps({"customer_id": customer}).decode(),
        )
        record.writer.append([entry])
    Tree(record.database).advance()


def events_of(record: Record) -> list[Event]:
    """Return the events of every entry; warnings have tests of their own."""
    released, _ = read_rulebooks(RULES)
    reader = EventReader(record, Rulebooks(released, RULES, RULES))
    types = set(EVENT_TYPES) - {WARNING_RAISED}
    events = list[Event]()
    for entry in RecordFeed(record.database).entries(0, 100):
        events += reader.events(entry, types)
    return events


def shown(events: list[Event]) -> list[dict[str, object]]:
    """Return each event with its entry, its case, and the decision before."""
    rows = list[dict[str, object]]()
    for event in events:
        rows.append(
            {
                "entry": event.entry.entry_id,
                "event": event.type.removeprefix("obligor."),
                "case": event.details.get("case_id"),
                "previous": event.details.get("previous_entry_id"),
            }
        )
    return rows


def test_a_limit_is_compared_with_the_decision_before(record: Record) -> None:
    """The first decision about a customer changes the limit, too: there was none. An
    order check repeats a limit and never changes it.
    """
    append(
        record,
        """
        entry | kind     | outcome | customer | limit | currency
        D1    | decision | approve | ANNA     | 500   | EUR
        D2    | decision | approve | BOB      | 900   | EUR
        O1    | order    | release | ANNA     | 700   | EUR
        D3    | decision | approve | ANNA     | 500   | EUR
        D4    | decision | approve | ANNA     | 600   | EUR
        D5    | decision | decline | BOB      | 0     | EUR
        D6    | decision | approve | ANNA     | 600   | USD
        """,
    )
    expected = """
        entry | event          | previous
        D1    | limit.changed  | -
        D2    | limit.changed  | -
        O1    | order.released | -
        D4    | limit.changed  | D3
        D5    | limit.changed  | D2
        D6    | limit.changed  | D4
    """
    spec(shown(events_of(record)), expected)


def test_a_case_is_opened_once_and_resolved_once(record: Record) -> None:
    """A first of two persons resolves nothing; a question asked again opens nothing."""
    append(
        record,
        """
        entry | kind       | outcome | case | limit
        D1    | decision   | refer   | -    | 500
        R1    | resolution | pending | D1   | -
        D2    | decision   | refer   | D1   | 500
        R2    | resolution | approve | D1   | -
        D3    | decision   | refer   | -    | 500
        D4    | decision   | approve | D3   | 500
        """,
    )
    expected = """
        entry | event         | case
        D1    | limit.changed | -
        D1    | case.opened   | D1
        R2    | case.resolved | D1
        D3    | case.opened   | D3
        D4    | case.resolved | D3
    """
    spec(shown(events_of(record)), expected)


def test_an_order_is_held_and_released(record: Record) -> None:
    """A person who approves a held order releases it, and one who declines does not.
    An order that is referred waits in a case, and is not held.
    """
    append(
        record,
        """
        entry | kind       | outcome | case | limit
        O1    | order      | release | -    | 500
        O2    | order      | hold    | -    | 500
        R1    | resolution | approve | O2   | -
        O3    | order      | hold    | -    | 500
        R2    | resolution | decline | O3   | -
        O4    | order      | refer   | -    | 500
        O5    | order      | release | O4   | 500
        """,
    )
    expected = """
        entry | event          | case
        O1    | order.released | -
        O2    | order.held     | O2
        O2    | case.opened    | O2
        R1    | order.released | O2
        R1    | case.resolved  | O2
        O3    | order.held     | O3
        O3    | case.opened    | O3
        R2    | case.resolved  | O3
        O4    | case.opened    | O4
        O5    | order.released | O4
        O5    | case.resolved  | O4
    """
    spec(shown(events_of(record)), expected)


def test_other_entries_give_no_events(record: Record) -> None:
    """Contacts and the service's own entries concern nobody else."""
    append(
        record,
        """
        entry | kind    | outcome | limit
        C1    | contact | reached | -
        S1    | denied  | denied  | -
        """,
    )
    assert events_of(record) == []


def test_an_event_has_one_id_however_often_it_is_derived(record: Record) -> None:
    """The id is made of entry and type, without a full stop: that separates the parts
    of what is signed.
    """
    append(
        record,
        """
        entry | kind  | outcome | limit
        O2    | order | hold    | 500
        """,
    )
    ids = [event.event_id for event in events_of(record)]
    assert ids == ["O2-order-held", "O2-case-opened"]
    assert ids == [event.event_id for event in events_of(record)]


def test_months_of_a_customer_are_one_customer(record: Record) -> None:
    """A customer has a key for each month; the limit is compared across them."""
    for number, month in enumerate((1, 2, 3)):
        entry = replace(
            ENTRY,
            entry_id=f"D{number}",
            limit_minor=500,
            recorded_at=NOW.replace(month=month),
        )
        record.writer.append([entry])
    Tree(record.database).advance()
    expected = """
        entry | event
        D0    | limit.changed
    """
    spec(shown(events_of(record)), expected)
