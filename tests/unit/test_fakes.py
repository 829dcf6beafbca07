"""The fakes follow the rules of what they stand for."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np
import orjson
import pytest

from obligor.casework.case_queries import CaseQueries
from obligor.casework.contact_queries import ContactQueries
from obligor.data.asof import known_account
from obligor.errors import ConflictError, UnknownDecisionError
from obligor.features.build import account_features
from obligor.record.entry import Entry
from obligor.record.record import Record
from tests import ascii
from tests.conftest import VAULT
from tests.fakes import FixedModel, Ids, ManualClock, MemoryRecord

NOW = datetime(2025, 1, 2, 12, 0, tzinfo=UTC)


class Parts(NamedTuple):
    """The parts of a record that casework uses."""

    writer: object
    reader: object
    cases: object
    contacts: object


@pytest.fixture(params=["memory", "database"])
def record(request: pytest.FixtureRequest, tmp_path: Path) -> Parts:
    if request.param == "memory":
        memory = MemoryRecord()
        return Parts(memory, memory, memory, memory)
    opened = Record.open(f"sqlite:///{tmp_path}/record.db", VAULT)
    reader = opened.reader
    return Parts(opened.writer, reader, CaseQueries(reader), ContactQueries(reader))


def entry(entry_id: str, **changes: object) -> Entry:
    decision = Entry(
        entry_id=entry_id,
        kind="decision",
        customer_id="ANNA",
        as_of=date(2025, 1, 1),
        recorded_at=NOW,
        idempotency_key=None,
        outcome="refer",
        request='{"customer_id":"ANNA"}',
        body=f'{{"decision_id":"{entry_id}"}}',
    )
    return replace(decision, **changes)


def contact(entry_id: str, contacted_on: date) -> Entry:
    body = {
        "customer_id": "ANNA",
        "contacted_on": contacted_on,
        "promise": {"reporting_amount": "300.00", "pay_by": "2025-01-10"},
        "next_contact_on": None,
    }
    return entry(
        entry_id,
        kind="contact",
        as_of=contacted_on,
        outcome="promise",
        body=orjson.dumps(body).decode(),
    )


def test_entries_are_read_as_they_were_written(record: Parts) -> None:
    hashes = record.writer.append([entry("d-1"), entry("d-2", customer_id="BERT")])
    opened = record.reader.entry("d-2")
    assert opened.body == '{"decision_id":"d-2"}'
    assert opened.leaf_hash == hashes[1]
    entries = record.reader.of_customer("ANNA", "decision")
    assert [opened.entry_id for opened in entries] == ["d-1"]
    with pytest.raises(UnknownDecisionError):
        record.reader.entry("d-3")


def test_a_key_is_used_once(record: Parts) -> None:
    record.writer.append([entry("d-1", idempotency_key="k")])
    with pytest.raises(ConflictError):
        record.writer.append([entry("d-2"), entry("d-3", idempotency_key="k")])
    with pytest.raises(UnknownDecisionError):
        record.reader.entry("d-2")


def test_a_key_finds_the_answer_to_its_request(record: Parts) -> None:
    record.writer.append([entry("d-1", idempotency_key="k")])
    answer = record.reader.for_key("k", '{"customer_id":"ANNA"}')
    assert answer.entry_id == "d-1"
    assert record.reader.for_key("new", "{}") is None
    with pytest.raises(ConflictError):
        record.reader.for_key("k", '{"customer_id":"BERT"}')


def test_a_case_is_open_until_an_entry_closes_it(record: Parts) -> None:
    record.writer.append([entry("d-1"), entry("d-2"), entry("d-3", outcome="approve")])
    assert record.cases.open_case_ids() == ["d-1", "d-2"]
    pending = entry("r-1", kind="resolution", case_id="d-1", outcome="pending")
    record.writer.append([pending, replace(pending, entry_id="r-2", outcome="decline")])
    assert record.cases.open_case_ids() == ["d-2"]
    case = record.cases.case("d-1")
    assert [later.entry_id for later in case.later] == ["r-1", "r-2"]
    assert case.closing == "decline"
    with pytest.raises(UnknownDecisionError):
        record.cases.case("d-3")


def test_contacts_are_read_by_day(record: Parts) -> None:
    first = date(2025, 1, 1)
    second = date(2025, 1, 2)
    record.writer.append([contact("c-1", first), contact("c-2", second)])
    contacts = record.contacts.by_customer(first, first)
    assert [call.contacted_on for call in contacts["ANNA"]] == [first]
    assert len(record.contacts.by_customer(first, second)["ANNA"]) == 2


def test_the_last_request_has_the_credit_file(record: Parts) -> None:
    security = {"kind": "pledge", "amount": "5.00", "expires_on": "2025-12-31"}
    filed = {"customer_id": "ANNA", "file": {"securities": [security]}}
    request = orjson.dumps(filed).decode()
    record.writer.append([entry("d-1", request=request, is_filed=True)])
    credit_files = record.contacts.credit_files(date(2025, 1, 1))
    assert [security.kind for security in credit_files["ANNA"].securities] == ["pledge"]
    assert record.contacts.credit_files(date(2024, 12, 31)) == {}
    record.writer.append([entry("d-2")])
    assert record.contacts.credit_files(date(2025, 1, 1)) == {}


def test_a_fixed_model_knows_its_customers() -> None:
    invoices = """
        invoice_id | customer_id | issued_on  | due_on     | amount
        A1         | ANNA        | 2025-05-10 | 2025-06-10 | 1000.00
        B1         | BERT        | 2025-04-01 | 2025-05-01 |  300.00
    """
    ledger = ascii.ledger(invoices=invoices)
    accounts = [
        known_account(ascii.account(ledger, customer_id), date(2025, 6, 30))
        for customer_id in ("ANNA", "BERT")
    ]
    model = FixedModel({"ANNA": 0.3}, accounts[:1], usual_pd=0.02)
    rows = account_features(accounts)
    assert model.predict_pd_12m(rows).tolist() == [0.3, 0.02]
    contributions, margins = model.explain(rows)
    np.testing.assert_allclose(model.base + contributions.sum(axis=1), margins)
    assert model.pds(margins)[0].tolist() == [0.3, 0.02]


def test_clock_and_ids_only_move_when_asked() -> None:
    clock = ManualClock(NOW)
    new_id = Ids("c")
    assert clock() == clock() == NOW
    clock.advance(days=1)
    assert clock().date() == date(2025, 1, 3)
    assert [new_id(), new_id()] == ["c-1", "c-2"]
