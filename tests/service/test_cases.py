"""Cases over HTTP; `tests/spec/test_cases.py` specifies who may resolve one."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from pydantic import TypeAdapter
from starlette.testclient import TestClient

from obligor.casework.cases import CaseAnswer, CaseList
from obligor.data.ledger import Ledger
from obligor.data.store import LedgerStore
from obligor.serving.assembly import Service
from tests.ascii import ledger as ascii_ledger
from tests.ascii import table
from tests.conftest import client_of

CUSTOMER = "C0000002"
LARGE = {"amount": "90000000.00", "currency": "EUR"}
FROZEN = {"limit_event": {"kind": "freeze", "by": "F. Filer", "because": "rumours"}}


@pytest.fixture
def client(untrained_client: TestClient) -> TestClient:
    return untrained_client


def open_case(client: TestClient, **changes: Any) -> str:
    """Ask for far more than any limit; return the id of the case."""
    body = {"customer_id": CUSTOMER, "request": LARGE, **changes}
    answer = client.post("/decisions", json=body).json()
    assert answer["outcome"] == "refer", answer
    return str(answer["decision_id"])


def resolve(
    client: TestClient,
    case_id: str,
    by: str = "A. One",
    outcome: str = "approve",
    role: str = "director",
) -> Any:
    body = {
        "by": by,
        "role": role,
        "outcome": outcome,
        "because": "the parent guarantees",
    }
    return client.post(f"/cases/{case_id}/resolve", json=body)


def open_case_ids(client: TestClient) -> list[str]:
    answer = client.get("/cases").json()
    TypeAdapter(CaseList).validate_python(answer)
    return [case["case_id"] for case in answer["cases"]]


@pytest.fixture
def case_id(client: TestClient) -> str:
    """A case that S. Seller asked for and F. Filer filed something for."""
    return open_case(client, requested_by="S. Seller", file=FROZEN)


def test_a_referred_decision_opens_a_case(client: TestClient, case_id: str) -> None:
    case = client.get(f"/cases/{case_id}").json()
    TypeAdapter(CaseAnswer).validate_python(case)
    assert (case["status"], case["outcome"], case["history"]) == ("open", "refer", [])
    assert case["authority"] == {"approver": "director", "persons": 2}
    assert case["made_by"] == ["F. Filer", "S. Seller"]
    assert case["reasons"][0]["code"] == "P24"


@pytest.mark.parametrize("person", ["s. seller", "F. Filer"])
def test_who_made_a_case_may_not_resolve_it(
    client: TestClient, case_id: str, person: str
) -> None:
    assert resolve(client, case_id, by=person).status_code == 403


def test_a_role_below_the_authority_is_refused(
    client: TestClient, case_id: str
) -> None:
    response = resolve(client, case_id, role="credit_manager")
    assert (response.status_code, response.json()["where"]) == (403, "role")


def test_the_first_of_two_directors_leaves_a_case_open(
    client: TestClient, case_id: str
) -> None:
    case = resolve(client, case_id).json()
    assert case["status"] == "open"
    assert case["history"][0]["outcome"] == "pending"
    assert case["history"][0]["said"] == "approve"
    # The same resolution again changes nothing.
    assert resolve(client, case_id).json() == case
    assert resolve(client, case_id, by="a. one", outcome="decline").status_code == 403


def test_the_second_director_closes_a_case(client: TestClient, case_id: str) -> None:
    resolve(client, case_id)
    case = resolve(client, case_id, by="B. Two").json()
    assert case["status"] == "closed"
    assert case["outcome"] == "approve"
    assert len(case["history"]) == 2
    assert client.get(f"/cases/{case_id}").json() == case
    assert resolve(client, case_id, by="C. Three").status_code == 409
    assert client.post(f"/cases/{case_id}/reevaluate").status_code == 409


def test_open_cases_are_listed_until_somebody_resolves_them(client: TestClient) -> None:
    case_ids = [open_case(client) for _ in range(3)]
    assert open_case_ids(client) == case_ids
    declined = resolve(client, case_ids[1], outcome="decline").json()
    assert declined["outcome"] == "decline"
    assert open_case_ids(client) == [case_ids[0], case_ids[2]]


def test_an_approval_is_not_a_case(client: TestClient) -> None:
    approved = client.post("/decisions", json={"customer_id": CUSTOMER}).json()
    assert approved["outcome"] == "approve"
    for entry_id in (approved["decision_id"], "nothing"):
        assert client.get(f"/cases/{entry_id}").status_code == 404
        assert resolve(client, entry_id).status_code == 404


def test_a_held_order_is_a_case_with_its_blocks(client: TestClient) -> None:
    order = {"customer_id": CUSTOMER, "order": LARGE}
    answer = client.post("/orders/check", json=order).json()
    assert answer["outcome"] == "hold"
    assert answer["authority"] == {"approver": "director", "persons": 2}
    case = client.get(f"/cases/{answer['decision_id']}").json()
    assert (case["kind"], case["outcome"]) == ("order", "hold")
    reason_codes = [reason["code"] for reason in case["reasons"]]
    assert reason_codes == [block["code"] for block in answer["blocks"]]
    resolve(client, case["case_id"])
    assert resolve(client, case["case_id"], by="B. Two").json()["outcome"] == "approve"


def test_of_two_who_resolve_at_once_one_is_refused(client: TestClient) -> None:
    case_id = open_case(client)

    def decline(number: int) -> int:
        response = resolve(client, case_id, by=f"Person {number}", outcome="decline")
        return int(response.status_code)

    with ThreadPoolExecutor(4) as pool:
        statuses = list(pool.map(decline, range(4)))
    assert sorted(statuses) == [200, 409, 409, 409]
    assert len(client.get(f"/cases/{case_id}").json()["history"]) == 1


# --- asking again

INVOICES = """
    invoice_id | customer_id | issued_on  | due_on     | amount
    A1         | ANNA        | 2023-01-01 | 2023-01-31 | 1000.00
    A2         | ANNA        | 2024-01-01 | 2024-01-31 | 9000.00
    A3         | ANNA        | 2024-10-15 | 2024-11-15 | 9000.00
    A4         | ANNA        | 2024-11-20 | 2024-12-20 |  500.00
    A5         | ANNA        | 2024-12-31 | 2025-01-31 |  100.00
"""
PAYMENTS = """
    invoice_id | paid_on    | amount
    A1         | 2023-01-31 | 1000.00
    A2         | 2024-01-31 | 9000.00
"""
LAST_PAYMENT = """
    invoice_id | paid_on    | amount
    A3         | 2024-12-31 | 9000.00
    A4         | 2024-12-31 |  500.00
"""


def overdue_ledger() -> Ledger:
    """A customer who is six weeks late."""
    return ascii_ledger(invoices=INVOICES, payments=PAYMENTS)


def paid_up(ledger: Ledger) -> Ledger:
    """The ledger after the customer has paid everything on its last day."""
    last = table("payments", LAST_PAYMENT)
    last["payment_id"] = ["NEW1", "NEW2"]
    payments = pd.concat([ledger["payments"], last], ignore_index=True)
    return replace(ledger, tables={**ledger.tables, "payments": payments})


@pytest.fixture
def own_ledger(tmp_path: Path) -> LedgerStore:
    store = LedgerStore(f"sqlite:///{tmp_path}/own.db")
    store.write(overdue_ledger())
    return store


@pytest.fixture
def own_client(
    untrained_service: Service, own_ledger: LedgerStore
) -> Iterator[TestClient]:
    with client_of(replace(untrained_service, ledger=own_ledger)) as client:
        yield client


def test_a_case_is_decided_again_when_the_customer_has_paid(
    own_client: TestClient, own_ledger: LedgerStore
) -> None:
    answer = own_client.post("/decisions", json={"customer_id": "ANNA"}).json()
    assert answer["outcome"] == "refer"
    assert answer["features"]["dpd_days"] > 0
    assert "pay" in [act["act"] for act in answer["counterfactuals"]]
    case_id = answer["decision_id"]
    own_ledger.write(paid_up(overdue_ledger()))
    case = own_client.post(f"/cases/{case_id}/reevaluate").json()
    decision_id = case["history"][0]["decision_id"]
    decision = own_client.get(f"/decisions/{decision_id}").json()
    assert (case["status"], case["outcome"]) == ("closed", decision["outcome"])
    assert decision["outcome"] == "approve"
    assert decision["features"]["dpd_days"] == 0


def test_a_case_stays_open_if_nothing_has_changed(own_client: TestClient) -> None:
    answer = own_client.post("/decisions", json={"customer_id": "ANNA"}).json()
    case_id = answer["decision_id"]
    case = own_client.post(f"/cases/{case_id}/reevaluate").json()
    assert (case["status"], case["history"][0]["outcome"]) == ("open", "refer")
    assert open_case_ids(own_client) == [case_id]


def test_a_reevaluated_case_is_no_longer_listed(
    own_client: TestClient, own_ledger: LedgerStore
) -> None:
    answer = own_client.post("/decisions", json={"customer_id": "ANNA"}).json()
    own_ledger.write(paid_up(overdue_ledger()))
    own_client.post(f"/cases/{answer['decision_id']}/reevaluate")
    assert open_case_ids(own_client) == []


def test_a_case_with_its_own_ledger_is_not_asked_again(client: TestClient) -> None:
    invoice = {
        "invoice_id": "I",
        "issued_on": "2024-01-01",
        "due_on": "2024-01-31",
        "amount": "900.00",
        "currency": "EUR",
    }
    body = {
        "customer_id": "NEW",
        "as_of": "2024-02-20",
        "request": LARGE,
        "ledger": {"currency": "EUR", "invoices": [invoice]},
    }
    answer = client.post("/decisions", json=body).json()
    assert answer["outcome"] == "refer"
    response = client.post(f"/cases/{answer['decision_id']}/reevaluate")
    assert response.status_code == 422
    assert response.json()["do"] == "send a new request with the current ledger"


# --- what is rejected


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"role": "intern"}, "role"),
        ({"by": ""}, "by"),
        ({"outcome": "maybe"}, "outcome"),
        ({"because": ""}, "because"),
        ({"extra": 1}, "extra"),
    ],
)
def test_an_invalid_resolution_names_its_field(
    client: TestClient, changes: dict[str, Any], where: str
) -> None:
    valid = {"by": "A. One", "role": "director", "outcome": "approve", "because": "x"}
    case_id = open_case(client)
    response = client.post(f"/cases/{case_id}/resolve", json={**valid, **changes})
    assert (response.status_code, response.json()["where"]) == (422, where)


CYCLE = [
    {"name": "A", "parent": "B"},
    {"name": "B", "parent": "A", "members": [CUSTOMER]},
]
TWICE = [
    {"name": "A", "members": [CUSTOMER]},
    {"name": "B", "members": [CUSTOMER]},
]
ELSEWHERE = [{"name": "A", "members": ["OTHER"]}, {"name": "B"}]


@pytest.mark.parametrize(
    ("groups", "detail"),
    [
        (CYCLE, "the groups form a cycle"),
        (TWICE, "is in 2 groups"),
        (ELSEWHERE, "is in no group"),
    ],
)
def test_groups_that_are_not_a_tree_are_rejected(
    client: TestClient, groups: list[dict[str, Any]], detail: str
) -> None:
    money = {"limit": "1000.00", "exposure_of_others": "0.00"}
    credit_file = {"groups": [{**money, **group} for group in groups]}
    body = {"customer_id": CUSTOMER, "file": credit_file}
    response = client.post("/decisions", json=body)
    assert response.status_code == 422
    assert detail in response.json()["detail"]
