"""Cases over HTTP: who may resolve one, and what happens when the money comes."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from pydantic import TypeAdapter
from starlette.testclient import TestClient

from obligor.casework.cases import CaseAnswer, CaseList
from obligor.data.store import LedgerStore
from obligor.data.synthetic import Simulation
from obligor.serving.api.routes import create_app, use_service
from obligor.serving.assembly import Service

CUSTOMER = "C0000002"
LARGE = {"amount": "90000000.00", "currency": "EUR"}
FROZEN = {"limit_event": {"kind": "freeze", "by": "F. Filer", "because": "rumours"}}


def opened(client: TestClient, **more: Any) -> str:
    """A case: a request far above any limit."""
    answer = client.post(
        "/decisions", json={"customer_id": CUSTOMER, "request": LARGE, **more}
    ).json()
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


def test_a_referred_decision_is_a_case_two_directors_resolve(
    client: TestClient,
) -> None:
    case_id = opened(client, requested_by="S. Seller", file=FROZEN)
    case = client.get(f"/cases/{case_id}").json()
    TypeAdapter(CaseAnswer).validate_python(case)
    assert (case["status"], case["outcome"], case["history"]) == ("open", "refer", [])
    assert case["authority"] == {"approver": "director", "persons": 2}
    assert case["made_by"] == ["F. Filer", "S. Seller"]
    assert case["reasons"][0]["code"] == "P24"
    for person in ("s. seller", "F. Filer"):
        assert resolve(client, case_id, by=person).status_code == 403
    refused = resolve(client, case_id, role="credit_manager")
    assert (refused.status_code, refused.json()["where"]) == (403, "role")
    first = resolve(client, case_id).json()
    assert (
        first["status"],
        first["history"][0]["outcome"],
        first["history"][0]["said"],
    ) == (
        "open",
        "pending",
        "approve",
    )
    assert resolve(client, case_id).json() == first  # the same again changes nothing
    assert resolve(client, case_id, by="a. one", outcome="decline").status_code == 403
    second = resolve(client, case_id, by="B. Two").json()
    assert (second["status"], second["outcome"], len(second["history"])) == (
        "closed",
        "approve",
        2,
    )
    assert client.get(f"/cases/{case_id}").json() == second
    assert resolve(client, case_id, by="C. Three").status_code == 409
    assert client.post(f"/cases/{case_id}/reevaluate").status_code == 409


def test_open_cases_are_listed_until_somebody_resolves_them(client: TestClient) -> None:
    ids = [opened(client) for _ in range(3)]
    listed = client.get("/cases").json()
    TypeAdapter(CaseList).validate_python(listed)
    assert [case["case_id"] for case in listed["cases"]] == ids
    assert resolve(client, ids[1], outcome="decline").json()["outcome"] == "decline"
    assert [case["case_id"] for case in client.get("/cases").json()["cases"]] == [
        ids[0],
        ids[2],
    ]
    # What was approved, and what nobody ever asked, is no case.
    fine = client.post("/decisions", json={"customer_id": CUSTOMER}).json()
    for wrong in (fine["decision_id"], "nothing"):
        assert client.get(f"/cases/{wrong}").status_code == 404
        assert resolve(client, wrong).status_code == 404


def test_a_held_order_is_a_case_with_its_blocks(client: TestClient) -> None:
    answer = client.post(
        "/orders/check", json={"customer_id": CUSTOMER, "order": LARGE}
    ).json()
    assert answer["outcome"] == "hold"
    assert answer["authority"] == {"approver": "director", "persons": 2}
    case = client.get(f"/cases/{answer['decision_id']}").json()
    assert (case["kind"], case["outcome"]) == ("order", "hold")
    assert [reason["code"] for reason in case["reasons"]] == [
        block["code"] for block in answer["blocks"]
    ]
    resolve(client, case["case_id"])
    assert resolve(client, case["case_id"], by="B. Two").json()["outcome"] == "approve"


def test_of_two_who_resolve_at_once_one_is_told(client: TestClient) -> None:
    case_id = opened(client)
    with ThreadPoolExecutor(4) as pool:
        found = list(
            pool.map(
                lambda n: resolve(client, case_id, by=f"Person {n}", outcome="decline"),
                range(4),
            )
        )
    assert sorted(response.status_code for response in found) == [200, 409, 409, 409]
    assert len(client.get(f"/cases/{case_id}").json()["history"]) == 1


@pytest.fixture
def late(
    service: Service, simulation: Simulation, tmp_path: Path
) -> tuple[TestClient, str, LedgerStore, Any]:
    """A service on a ledger of its own, and a customer who would have been approved without what is open."""
    ledger, books = LedgerStore(f"sqlite:///{tmp_path}/ledger.db"), simulation.ledger
    app = create_app()
    use_service(app, replace(service, ledger=ledger))
    client = TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False)
    ledger.write(books)
    for customer in books["customers"]["customer_id"]:
        answer = client.post("/decisions", json={"customer_id": customer}).json()
        acts = [one["act"] for one in answer.get("counterfactuals", ())]
        if (
            answer["outcome"] == "refer"
            and "pay" in acts
            and answer["features"]["dpd_days"] > 0
        ):
            return client, answer["decision_id"], ledger, answer
    raise AssertionError("the simulator has no such customer")


def test_a_case_is_decided_again_when_the_money_has_come(
    late: tuple[TestClient, str, LedgerStore, Any], simulation: Simulation
) -> None:
    client, case_id, ledger, answer = late
    same = client.post(f"/cases/{case_id}/reevaluate").json()
    assert (same["status"], same["history"][0]["outcome"]) == ("open", "refer")
    ledger.write(paid_up(simulation, answer["customer_id"]))
    after = client.post(f"/cases/{case_id}/reevaluate").json()
    again = client.get(f"/decisions/{after['history'][1]['decision_id']}").json()
    assert (after["status"], after["outcome"]) == ("closed", again["outcome"])
    assert again["outcome"] == "approve"
    assert again["features"]["dpd_days"] == 0
    assert case_id not in [
        case["case_id"] for case in client.get("/cases").json()["cases"]
    ]


def paid_up(simulation: Simulation, customer: str) -> Any:
    """The ledger after one customer paid everything on its last day."""
    books = simulation.ledger
    items = books["invoices"][books["invoices"]["customer_id"] == customer].set_index(
        "invoice_id"
    )["amount"]
    paid = (
        books["payments"]
        .groupby("invoice_id")["amount"]
        .sum()
        .reindex(items.index, fill_value=0.0)
    )
    rest = (items - paid).round(2)
    rest = rest[rest > 0]
    last = pd.Timestamp(books.observed_until).as_unit("s")
    rows = pd.DataFrame(
        {
            "payment_id": [f"NEW{n}" for n in range(len(rest))],
            "invoice_id": rest.index,
            "paid_on": last,
            "amount": rest.to_numpy(),
            "kind": "payment",
            "known_on": last,
        }
    )
    return replace(
        books,
        tables={
            **books.tables,
            "payments": pd.concat([books["payments"], rows], ignore_index=True),
        },
    )


def test_a_case_with_a_ledger_of_its_own_is_not_asked_again(client: TestClient) -> None:
    rows = {
        "currency": "EUR",
        "invoices": [
            {
                "invoice_id": "I",
                "issued_on": "2024-01-01",
                "due_on": "2024-01-31",
                "amount": "900.00",
                "currency": "EUR",
            },
        ],
    }
    answer = client.post(
        "/decisions", json={"customer_id": "NEW", "as_of": "2024-02-20", "ledger": rows}
    ).json()
    assert answer["outcome"] == "refer"
    response = client.post(f"/cases/{answer['decision_id']}/reevaluate")
    assert (response.status_code, response.json()["do"]) == (
        422,
        "send a new request with the current ledger",
    )


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ({"role": "intern"}, "role"),
        ({"by": ""}, "by"),
        ({"outcome": "maybe"}, "outcome"),
        ({"because": ""}, "because"),
        ({"extra": 1}, "extra"),
    ],
)
def test_a_bad_resolution_is_a_problem_with_its_place(
    client: TestClient, body: dict[str, Any], where: str
) -> None:
    good = {"by": "A. One", "role": "director", "outcome": "approve", "because": "x"}
    response = client.post(f"/cases/{opened(client)}/resolve", json={**good, **body})
    assert (response.status_code, response.json()["where"]) == (422, where)


@pytest.mark.parametrize(
    ("groups", "told"),
    [
        (
            [
                {"name": "A", "parent": "B"},
                {"name": "B", "parent": "A", "members": [CUSTOMER]},
            ],
            "the groups form a cycle",
        ),
        (
            [
                {"name": "A", "members": [CUSTOMER]},
                {"name": "B", "members": [CUSTOMER]},
            ],
            "is in 2 groups",
        ),
        ([{"name": "A", "members": ["OTHER"]}, {"name": "B"}], "is in no group"),
    ],
)
def test_groups_that_are_no_tree_are_the_callers_error(
    client: TestClient, groups: list[Any], told: str
) -> None:
    money = {"limit": "1000.00", "exposure_of_others": "0.00"}
    file = {"groups": [{**money, **group} for group in groups]}
    response = client.post("/decisions", json={"customer_id": CUSTOMER, "file": file})
    assert response.status_code == 422
    assert told in response.json()["detail"]
