"""POST /v1/orders/check against a real ledger, model and record."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.testclient import TestClient

CUSTOMER = "C0000002"


def check(
    client: TestClient, amount: str = "100.00", key: str | None = None, **more: Any
) -> Any:
    body = {
        "customer_id": CUSTOMER,
        "order": {"amount": amount, "currency": "EUR"},
        **more,
    }
    return client.post(
        "/orders/check", json=body, headers={"Idempotency-Key": key} if key else {}
    )


def has_room(client: TestClient, customer: str) -> bool:
    answer = check(client, customer_id=customer).json()
    return answer.get("outcome") == "release" and float(answer["room"]["amount"]) > 200


def test_an_order_is_checked_against_the_decision_and_recorded(
    client: TestClient,
) -> None:
    decision = client.post("/decisions", json={"customer_id": CUSTOMER}).json()
    response = check(client, key="o-1")
    answer = response.json()
    assert response.status_code == 200
    assert (answer["kind"], answer["outcome"]) == ("order", "release")
    for part in ("pd_12m", "grade", "limit", "terms"):
        assert answer["customer"][part] == decision[part]
    exposure = decision["features"]["open_amount"] + 100
    assert float(answer["exposure"]["amount"]) == pytest.approx(exposure, abs=0.005)
    assert float(answer["price_floor"]["amount"]) > 100
    assert check(client, key="o-1").content == response.content
    assert client.get(f"/decisions/{answer['decision_id']}").content == response.content
    listed = client.get(f"/customers/{CUSTOMER}/decisions").json()["decisions"]
    assert [one["decision_id"] for one in listed] == [decision["decision_id"]]
    assert check(client, amount="101.00", key="o-1").status_code == 409


def test_an_order_too_large_says_what_would_release_it(client: TestClient) -> None:
    customer = next(
        one for one in (f"C{n:07d}" for n in range(3, 99)) if has_room(client, one)
    )
    answer = check(client, amount="90000000.00", customer_id=customer).json()
    assert answer["outcome"] == "hold"
    assert "B03" in [block["code"] for block in answer["blocks"]]
    less = next(one for one in answer["releases"] if one["act"] == "order_less")
    assert less["amount"] == answer["room"]["amount"]
    assert (
        check(client, amount=less["amount"], customer_id=customer).json()["outcome"]
        == "release"
    )
    prepaid = {"amount": "90000000.00", "currency": "EUR", "is_prepaid": True}
    assert check(client, order=prepaid).json()["outcome"] == "release"


def test_an_order_in_another_currency_counts_at_the_last_rate(
    client: TestClient,
) -> None:
    orders = [{"amount": "1000.00", "currency": code} for code in ("EUR", "USD")]
    euro, dollar = (
        float(check(client, order=one).json()["order"]["amount"]) for one in orders
    )
    assert euro == 1000
    assert 500 < dollar < 1500
    assert dollar != 1000
    both = check(client, unbilled=[orders[1]]).json()
    assert float(both["exposure"]["amount"]) - float(
        check(client).json()["exposure"]["amount"]
    ) == pytest.approx(dollar)


@pytest.mark.parametrize(
    ("more", "status", "where"),
    [
        ({"customer_id": "NOBODY"}, 404, "customer_id"),
        ({"order": {"amount": "-1.00", "currency": "EUR"}}, 422, "order.amount"),
        ({"order": {"amount": "1.00", "currency": "ABC"}}, 422, "order.currency"),
        (
            {"order": {"amount": "1.00", "currency": "KRW"}},
            422,
            None,
        ),  # no rate is known
        ({"as_of": "2030-01-01"}, 422, "as_of"),
        (
            {"unbilled": [{"amount": "0.00", "currency": "EUR"}]},
            422,
            "unbilled[0].amount",
        ),
        ({"orderr": 1}, 422, "orderr"),
    ],
)
def test_a_bad_order_is_a_problem_with_its_place(
    client: TestClient, more: Any, status: int, where: str | None
) -> None:
    response = check(client, **more)
    assert response.status_code == status
    assert where is None or response.json()["where"] == where
