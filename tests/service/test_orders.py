"""POST /v1/orders/check, against the rules and the record."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.testclient import TestClient

CUSTOMER = "C0000002"


@pytest.fixture
def client(untrained_client: TestClient) -> TestClient:
    return untrained_client


def check(
    client: TestClient, amount: str = "100.00", key: str | None = None, **changes: Any
) -> Any:
    body = {
        "customer_id": CUSTOMER,
        "order": {"amount": amount, "currency": "EUR"},
        **changes,
    }
    headers = {"Idempotency-Key": key} if key else {}
    return client.post("/orders/check", json=body, headers=headers)


def customer_with_room(client: TestClient) -> str:
    """A customer whose limit has more than 200 EUR left."""
    for number in range(3, 99):
        customer_id = f"C{number:07d}"
        answer = check(client, customer_id=customer_id).json()
        is_released = answer.get("outcome") == "release"
        if is_released and float(answer["room"]["amount"]) > 200:
            return customer_id
    raise AssertionError("no customer has room")


def test_an_order_is_checked_against_the_decision(client: TestClient) -> None:
    decision = client.post("/decisions", json={"customer_id": CUSTOMER}).json()
    response = check(client)
    answer = response.json()
    assert response.status_code == 200
    assert (answer["kind"], answer["outcome"]) == ("order", "release")
    for part in ("pd_12m", "grade", "limit", "terms"):
        assert answer["customer"][part] == decision[part]
    exposure = decision["features"]["open_amount"] + 100
    assert float(answer["exposure"]["amount"]) == pytest.approx(exposure, abs=0.005)
    assert float(answer["price_floor"]["amount"]) > 100


def test_an_order_check_is_recorded(client: TestClient) -> None:
    response = check(client, key="o-1")
    assert check(client, key="o-1").content == response.content
    decision_id = response.json()["decision_id"]
    assert client.get(f"/decisions/{decision_id}").content == response.content
    assert check(client, amount="101.00", key="o-1").status_code == 409


def test_an_order_check_is_not_a_decision_about_the_customer(
    client: TestClient,
) -> None:
    decision = client.post("/decisions", json={"customer_id": CUSTOMER}).json()
    check(client)
    answer = client.get(f"/customers/{CUSTOMER}/decisions").json()
    decision_ids = [decision["decision_id"] for decision in answer["decisions"]]
    assert decision_ids == [decision["decision_id"]]


def test_a_held_order_names_what_would_release_it(client: TestClient) -> None:
    customer_id = customer_with_room(client)
    answer = check(client, amount="90000000.00", customer_id=customer_id).json()
    assert answer["outcome"] == "hold"
    assert "B03" in [block["code"] for block in answer["blocks"]]
    releases = {release["act"]: release for release in answer["releases"]}
    less = releases["order_less"]["amount"]
    assert less == answer["room"]["amount"]
    smaller = check(client, amount=less, customer_id=customer_id).json()
    assert smaller["outcome"] == "release"


def test_a_prepaid_order_needs_no_limit(client: TestClient) -> None:
    prepaid = {"amount": "90000000.00", "currency": "EUR", "is_prepaid": True}
    assert check(client, order=prepaid).json()["outcome"] == "release"


def test_an_order_in_another_currency_is_converted(client: TestClient) -> None:
    amounts = dict[str, float]()
    for currency in ("EUR", "USD"):
        order = {"amount": "1000.00", "currency": currency}
        answer = check(client, order=order).json()
        amounts[currency] = float(answer["order"]["amount"])
    assert amounts["EUR"] == 1000
    assert 500 < amounts["USD"] < 1500
    assert amounts["USD"] != 1000


def test_unbilled_orders_count_towards_the_exposure(client: TestClient) -> None:
    dollars = {"amount": "1000.00", "currency": "USD"}
    converted = float(check(client, order=dollars).json()["order"]["amount"])
    without = float(check(client).json()["exposure"]["amount"])
    exposure = float(check(client, unbilled=[dollars]).json()["exposure"]["amount"])
    assert exposure - without == pytest.approx(converted)


NO_RATE = {"order": {"amount": "1.00", "currency": "KRW"}}


@pytest.mark.parametrize(
    ("changes", "status", "where"),
    [
        ({"customer_id": "NOBODY"}, 404, "customer_id"),
        ({"order": {"amount": "-1.00", "currency": "EUR"}}, 422, "order.amount"),
        ({"order": {"amount": "1.00", "currency": "ABC"}}, 422, "order.currency"),
        (NO_RATE, 422, None),
        ({"as_of": "2030-01-01"}, 422, "as_of"),
        (
            {"unbilled": [{"amount": "0.00", "currency": "EUR"}]},
            422,
            "unbilled[0].amount",
        ),
        ({"orderr": 1}, 422, "orderr"),
    ],
)
def test_an_invalid_order_names_its_field(
    client: TestClient, changes: dict[str, Any], status: int, where: str | None
) -> None:
    response = check(client, **changes)
    assert response.status_code == status
    assert where is None or response.json()["where"] == where
