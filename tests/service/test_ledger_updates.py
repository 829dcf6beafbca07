"""`POST /v1/ledger/{table}`: rows that are sent while the service runs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from starlette.testclient import TestClient

from obligor.data import row_store
from obligor.data.asof import known_account
from obligor.data.ledger import CONTRACTS
from obligor.data.ledger_tables import ACCOUNTS, ADDITIONS, IDS, ROW_PARTS, ROWS
from obligor.data.open_items import open_balances
from obligor.data.store import LedgerStore
from obligor.serving.access.gate import Gate
from obligor.serving.api.openapi import openapi
from obligor.serving.assembly import Service
from tests.ascii import ledger
from tests.callers import gated_client, headers_of
from tests.conftest import NOW, client_of, service_on
from tests.fakes import FixedChampion, FixedModel

TODAY = NOW.date()
INVOICES = """
    invoice_id | customer_id | issued_on  | due_on     | amount
    R1         | ANNA        | 2024-10-10 | 2024-11-10 | 100
    S1         | BERT        | 2024-10-15 | 2024-11-15 | 70
"""
PAYMENT = {"payment_id": "P1", "invoice_id": "R1", "paid_on": "2025-01-02"}


@pytest.fixture(params=["sqlite", "postgres"])
def service(request: pytest.FixtureRequest, tmp_path: Path) -> Service:
    url = f"sqlite:///{tmp_path}/ledger.db"
    if request.param == "postgres":
        url = str(request.getfixturevalue("postgres"))
    store = LedgerStore(url)
    store.write(ledger(invoices=INVOICES))
    return service_on(store, FixedChampion(FixedModel()), tmp_path)


@pytest.fixture
def client(service: Service) -> Iterator[TestClient]:
    with client_of(service) as client:
        yield client


def send(
    client: TestClient, table: str, *rows: dict[str, Any], key: str | None = None
) -> Any:
    """Send rows of a table."""
    headers = {"Idempotency-Key": key} if key else {}
    return client.post(f"/ledger/{table}", json={"rows": rows}, headers=headers)


def statuses(response: Any) -> list[str]:
    assert response.status_code == 200, response.text
    return [row["status"] for row in response.json()["rows"]]


def open_today(service: Service, customer_id: str) -> dict[str, float]:
    account = known_account(service.ledger.account(customer_id), TODAY).account
    balances = open_balances(account) / 100
    return dict(zip(account.invoice_ids, balances.tolist(), strict=True))


def overdue(client: TestClient, as_of: date | None = None) -> Any:
    question = {"customer_id": "ANNA", "as_of": as_of and as_of.isoformat()}
    response = client.post("/decisions", json=question)
    assert response.status_code == 200, response.text
    return response.json()["features"]["overdue_amount"]


def test_the_next_decision_sees_a_payment(client: TestClient, service: Service) -> None:
    yesterday = date(2025, 1, 1)
    assert overdue(client) == 100
    before = client.post(
        "/decisions", json={"customer_id": "ANNA", "as_of": "2025-01-01"}
    ).json()
    response = send(client, "payments", {**PAYMENT, "amount": "100.00"})
    assert statuses(response) == ["taken"]
    assert open_today(service, "ANNA") == {"R1": 0}
    assert overdue(client) == 0
    assert overdue(client, yesterday) == 100
    after = client.post(
        "/decisions", json={"customer_id": "ANNA", "as_of": "2025-01-01"}
    ).json()
    for answer in (before, after):
        for name in ("decision_id", "recorded_at", "decided_at"):
            answer.pop(name, None)
    assert after == before


def test_each_row_has_its_answer(client: TestClient, service: Service) -> None:
    first = {**PAYMENT, "amount": 40}
    response = send(
        client,
        "payments",
        first,
        {**PAYMENT, "payment_id": "P2", "invoice_id": "NONE", "amount": 1},
        {**PAYMENT, "payment_id": "P3", "amount": "12,50"},
        {**PAYMENT, "payment_id": "P4", "amount": 1, "paid_on": "2025-13-01"},
        {**PAYMENT, "payment_id": "P5", "amount": 1, "colour": "red"},
        {**PAYMENT, "payment_id": "P6", "amount": 1, "paid_on": "2025-01-03"},
        {**PAYMENT, "payment_id": "P7", "amount": 0},
        {**PAYMENT, "payment_id": "P8"},
    )
    answer = response.json()
    assert statuses(response) == ["taken", *["refused"] * 7]
    fields = [row.get("field") for row in answer["rows"]]
    assert fields == [
        None,
        "invoice_id",
        "amount",
        "paid_on",
        "colour",
        "paid_on",
        "amount",
        "amount",
    ]
    assert (answer["taken"], answer["refused"]) == (1, 7)
    assert answer["known_on"] == "2025-01-02"
    again = send(client, "payments", first, {**first, "payment_id": "P9"})
    assert statuses(again) == ["same", "taken"]
    changed = send(client, "payments", {**first, "amount": 30})
    assert statuses(changed) == ["changed"]
    assert open_today(service, "ANNA") == {"R1": 30}
    # What was refused may be a debt, or a payment: nobody knows until it comes right.
    assert service.ledger.account("ANNA").is_incomplete


def test_a_repeated_key_gets_the_same_answer(
    client: TestClient, service: Service
) -> None:
    row = {**PAYMENT, "amount": 40}
    first = send(client, "payments", row, key="k")
    again = send(client, "payments", row, key="k")
    assert (again.text, again.headers["obligor-receipt"]) == (
        first.text,
        first.headers["obligor-receipt"],
    )
    other = send(client, "payments", {**row, "amount": 41}, key="k")
    assert other.status_code == 409
    assert open_today(service, "ANNA") == {"R1": 60}


def test_an_update_is_an_entry_of_the_record(
    client: TestClient, service: Service
) -> None:
    answer = send(client, "payments", {**PAYMENT, "amount": 40}).json()
    reader = service.record.reader
    assert reader.ids_of_kinds(["ledger"]) == [answer["update_id"]]
    entry = reader.entry(answer["update_id"])
    assert '"taken":1' in entry.body
    # What was sent is not kept a second time.
    assert "R1" not in entry.request + entry.body


@pytest.mark.parametrize(
    ("table", "body", "where"),
    [
        ("nothing", {"rows": [{"a": 1}]}, "table"),
        ("payments", {"rows": []}, "rows"),
        ("payments", {"rows": [{"a": [1]}]}, "rows[0].a"),
        ("payments", {"rows": [{}] * 10_001}, "rows"),
        ("payments", {"lines": [{}]}, "rows"),
    ],
)
def test_a_wrong_body_is_refused_as_a_whole(
    client: TestClient, table: str, body: Any, where: str
) -> None:
    response = client.post(f"/ledger/{table}", json=body)
    assert response.status_code == 422
    assert response.json()["where"].startswith(where)


HOSTILE = (
    None,
    "",
    " ",
    "\u202e\x00",
    True,
    -1,
    0,
    1e308,
    10**30,
    "NaN",
    "1e999",
    "x" * 10_000,
    "9999-12-31",
    "0000-00-00",
)


@pytest.mark.parametrize(
    "table",
    [
        "customers",
        "invoices",
        "payments",
        "allocations",
        "cancellations",
        "extensions",
        "fx_rates",
        "limits",
        "promises",
        "disputes",
        "write_offs",
        "financials",
        "contacts",
        "bureau",
        "groups",
    ],
)
def test_no_row_is_answered_with_an_error_of_ours(
    untrained_service: Service, tmp_path: Path, table: str
) -> None:
    store = LedgerStore(f"sqlite:///{tmp_path}/hostile.db")
    store.write(ledger(invoices=INVOICES))
    names = openapi()["components"]["schemas"]["LedgerRows"]["properties"]["rows"]
    assert table in names["description"]
    columns = CONTRACTS[table].columns
    with client_of(replace(untrained_service, ledger=store)) as client:
        rows: list[dict[str, Any]] = [{}]
        for value in HOSTILE:
            rows.append(dict.fromkeys(columns, value))
            rows += [{**FILLED, name: value} for name in columns]
        response = send(client, table, *rows)
        assert response.status_code in (200, 422), response.text
        answer = client.post("/decisions", json={"customer_id": "ANNA"})
        assert answer.status_code == 200


FILLED = {
    "customer_id": "ANNA",
    "invoice_id": "R1",
    "payment_id": "P1",
    "amount": 1,
    "currency": "EUR",
    "issued_on": "2024-12-01",
    "due_on": "2024-12-31",
    "paid_on": "2024-12-01",
    "known_on": "2024-12-01",
}


def test_a_currency_without_a_rate_is_refused_alone(
    client: TestClient, service: Service
) -> None:
    invoice = {
        "invoice_id": "R2",
        "customer_id": "ANNA",
        "issued_on": "2024-12-01",
        "due_on": "2024-12-31",
        "amount": 5,
        "currency": "USD",
    }
    both = send(client, "invoices", invoice, {**invoice, "invoice_id": "R3"})
    assert statuses(both) == ["refused", "refused"]
    assert both.json()["rows"][0]["field"] == "currency"
    rate = {"currency": "USD", "rate_on": "2024-11-30", "rate": 0.9}
    assert statuses(send(client, "fx_rates", rate)) == ["taken"]
    assert statuses(send(client, "invoices", invoice)) == ["taken"]
    assert open_today(service, "ANNA") == {"R1": 100, "R2": 5}


def test_only_the_role_ledger_may_send_rows(service: Service) -> None:
    gate = Gate(service.record.database.engine, lambda: NOW, "the-admin-key")
    for gated in gated_client(service, gate):
        for role, status in (("ledger", 200), ("application", 403), ("auditor", 403)):
            response = gated.post(
                "/ledger/payments",
                json={"rows": [{**PAYMENT, "amount": 1}]},
                headers=headers_of(service, role),
            )
            assert response.status_code == status
        question = {"customer_id": "ANNA"}
        headers = headers_of(service, "ledger")
        assert (
            gated.post("/decisions", json=question, headers=headers).status_code == 403
        )


def test_without_a_ledger_there_is_nothing_to_update(
    untrained_service: Service, tmp_path: Path
) -> None:
    empty = LedgerStore(f"sqlite:///{tmp_path}/empty.db")
    with client_of(replace(untrained_service, ledger=empty)) as client:
        response = send(client, "payments", {**PAYMENT, "amount": 1})
    assert response.status_code == 422
    assert response.json()["detail"].startswith("ledger store: no ledger is loaded")


def test_rows_without_any_column_of_ours_are_refused(client: TestClient) -> None:
    """Generated by a fuzz: the share of no rows at all was divided by 0."""
    rows = [{}, {"": -4.2e16}, {"\n": None, "metrics": 1.0}]
    response = send(client, "contacts", *rows)
    assert set(statuses(response)) == {"refused"}


def part(invoice_id: str, document_id: str, **cells: str) -> dict[str, Any]:
    """Return an item of a document."""
    row: dict[str, Any] = {
        "invoice_id": invoice_id,
        "document_id": document_id,
        "customer_id": "ANNA",
        "issued_on": "2024-10-01",
        "due_on": "2024-11-01",
        "amount": 100,
        "currency": "EUR",
    }
    return {**row, **cells}


def test_a_stored_document_is_named_instead_of_its_items(
    client: TestClient, service: Service
) -> None:
    parts = send(
        client,
        "invoices",
        part("D1/2", "D1", due_on="2024-12-01"),
        part("D1/1", "D1"),
        part("D2/1", "D2"),
        part("D2/2", "D2", customer_id="BERT"),
    )
    assert statuses(parts) == ["taken"] * 4
    payments = send(
        client,
        "payments",
        {**PAYMENT, "invoice_id": "D1", "amount": 130},
        {**PAYMENT, "invoice_id": "D2", "payment_id": "P2", "amount": 1},
        {**PAYMENT, "invoice_id": "D3", "payment_id": "P3", "amount": 1},
    )
    # Nobody knows which of two customers paid a document of both.
    assert statuses(payments) == ["taken", "refused", "refused"]
    assert [row.get("field") for row in payments.json()["rows"]] == [
        None,
        "invoice_id",
        "invoice_id",
    ]
    dispute = {"invoice_id": "D1", "opened_on": "2025-01-01"}
    assert statuses(send(client, "disputes", dispute)) == ["taken"]
    promise = {"invoice_id": "D1", "promised_on": "2025-01-01", "amount": 1}
    promised = send(client, "promises", {**promise, "pay_by": "2025-02-01"})
    assert statuses(promised) == ["refused"]
    # The part due first is paid first.
    balances = open_today(service, "ANNA")
    assert balances == {"D1/1": 0, "D1/2": 70, "D2/1": 100, "R1": 100}
    returned = {**PAYMENT, "payment_id": "P4", "invoice_id": "", "reverses": "P1"}
    response = send(client, "payments", {**returned, "amount": -130})
    assert statuses(response) == ["taken"]
    assert open_today(service, "ANNA")["D1/1"] == 100


def test_an_invoice_with_the_id_of_a_document_is_meant_first(
    client: TestClient, service: Service
) -> None:
    send(client, "invoices", part("D1/1", "D1"), part("D1/2", "D1"))
    send(client, "invoices", part("D1", "", amount="50"))
    send(client, "payments", {**PAYMENT, "invoice_id": "D1", "amount": 20})
    balances = open_today(service, "ANNA")
    assert balances == {"D1": 30, "D1/1": 100, "D1/2": 100, "R1": 100}


def test_real_ids_like_ours_are_ids(client: TestClient, service: Service) -> None:
    """The reader of files numbers payments `payment-0` if their source has no ids."""
    row = {**PAYMENT, "payment_id": "payment-1", "amount": 40}
    assert statuses(send(client, "payments", row)) == ["taken"]
    assert statuses(send(client, "payments", row)) == ["same"]
    assert statuses(send(client, "payments", {**row, "amount": 30})) == ["changed"]
    assert open_today(service, "ANNA") == {"R1": 70}


def test_of_rows_with_one_key_the_first_is_taken(
    client: TestClient, service: Service
) -> None:
    row = {**PAYMENT, "amount": 40}
    # A receipt may pay several items, but each of them once.
    other_item = {**row, "invoice_id": "S1"}
    response = send(client, "payments", row, row, {**row, "amount": 41}, other_item)
    assert statuses(response) == ["taken", "refused", "refused", "taken"]
    assert response.json()["rows"][1]["field"] == "payment_id"
    assert open_today(service, "ANNA") == {"R1": 60}
    assert open_today(service, "BERT") == {"S1": 30}
    # The one that differs may be right: nobody knows until it is sent alone.
    assert service.ledger.account("ANNA").is_incomplete
    assert statuses(send(client, "payments", {**row, "amount": 41})) == ["changed"]
    assert not service.ledger.account("ANNA").is_incomplete


def test_nothing_that_was_added_outlives_its_customer(
    client: TestClient, service: Service
) -> None:
    added = {**PAYMENT, "payment_id": "SECRET-7", "amount": 40}
    assert statuses(send(client, "payments", added)) == ["taken"]
    with service.ledger.engine.connect() as connection:
        assert connection.scalar(sa.select(ROW_PARTS.c.customer_id)) == "ANNA"
    assert service.ledger.erase("ANNA", "somebody") > 0
    with service.ledger.engine.connect() as connection:
        for table in (ROW_PARTS, ADDITIONS, ROWS, ACCOUNTS, IDS):
            is_own = table.c.customer_id == "ANNA"
            assert (
                connection.scalar(sa.select(table.c.customer_id).where(is_own)) is None
            )
    invoice = part("R9", "")
    answers = send(client, "invoices", invoice).json()["rows"]
    assert [row["field"] for row in answers] == ["customer_id"]
    assert statuses(send(client, "payments", added)) == ["refused"]


def test_rows_wait_for_a_load_and_say_so_if_it_takes_too_long(
    client: TestClient, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(row_store, "WAIT_MS", 50)
    with service.ledger.rows.writing():
        busy = send(client, "payments", {**PAYMENT, "amount": 1}, key="k")
    assert busy.status_code == 503, busy.text
    assert "the ledger is being loaded" in busy.json()["detail"]
    again = send(client, "payments", {**PAYMENT, "amount": 1}, key="k")
    assert statuses(again) == ["taken"]
