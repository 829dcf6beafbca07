"""What a customer owes, over HTTP: shown, replayed, and not asked for twice."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from starlette.testclient import TestClient

from obligor.data.ledger import Ledger
from obligor.data.store import LedgerStore
from tests import ascii
from tests.conftest import client_of, service_on
from tests.fakes import FixedChampion, FixedModel
from tests.spec.test_unapplied import FX_RATES, INVOICES, PAYMENTS

OLD = """
    OLD1       | OLD         | 2023-10-01 | 2023-10-31 |   105.00 | EUR
    OLD2       | OLD         | 2023-12-01 | 2024-12-31 |  9000.00 | EUR
    RICH1      | RICH        | 2023-10-01 | 2023-10-31 | 90000.00 | EUR
    RICH2      | RICH        | 2024-10-01 | 2024-10-31 | 90000.00 | EUR
"""
RICH = """
    RICH1      | RICH        | 2023-10-31 |  90000.00 | -        | payment
    -          | RICH        | 2024-10-31 |  90000.00 | EUR      | payment
"""
SET_ASIDE = pd.DataFrame(
    {"customer_id": ["MORE"], "table": ["invoices"], "key": ["M2"]},
    dtype="object",
)


def book(policy: str) -> Ledger:
    """The customers with unapplied money."""
    ledger = ascii.ledger(
        invoices=INVOICES.rstrip() + OLD,
        payments=PAYMENTS.rstrip() + RICH,
        fx_rates=FX_RATES,
    )
    return replace(ledger, unapplied_policy=policy)


@pytest.fixture(params=["oldest_first", "as_allocated"])
def client(request: pytest.FixtureRequest, tmp_path: Path) -> TestClient:
    store = LedgerStore(f"sqlite:///{tmp_path}/ledger.db")
    store.write(book(request.param), SET_ASIDE)
    return client_of(service_on(store, FixedChampion(FixedModel()), tmp_path))


def asked(client: TestClient, path: str, **question: Any) -> Any:
    body = {"as_of": "2024-12-31", **question}
    response = client.post(path, json=body)
    assert response.status_code == 200, response.text
    return response.json()


def require_replay(client: TestClient, answer: Any) -> None:
    path = f"/decisions/{answer['decision_id']}/replay"
    assert client.post(path).json()["differences"] == []


@pytest.mark.parametrize(
    ("customer_id", "owed"),
    [
        ("ACCT", "0.00"),
        ("PART", "15000.00"),
        ("OVER", "0.00"),
        ("CRED", "4000.00"),
        ("NEGV", "0.00"),
        ("USCO", "0.00"),
        ("BNCE", "15000.00"),
    ],
)
def test_a_decision_shows_what_is_owed_and_replays(
    client: TestClient, customer_id: str, owed: str
) -> None:
    answer = asked(client, "/decisions", customer_id=customer_id)
    assert answer["position"]["owed"] == owed
    assert answer["position"]["currency"] == "EUR"
    require_replay(client, answer)


def test_an_order_uses_what_is_owed_and_replays(client: TestClient) -> None:
    order = {"amount": "100.00", "currency": "EUR"}
    answer = asked(client, "/orders/check", customer_id="ACCT", order=order)
    assert answer["exposure"]["amount"] == "100.00"
    assert answer["position"]["owed"] == "0.00"
    require_replay(client, answer)


def test_an_incomplete_ledger_refers_and_holds_orders(client: TestClient) -> None:
    answer = asked(client, "/decisions", customer_id="MORE")
    assert answer["position"]["is_incomplete"]
    assert answer["outcome"] == "refer"
    assert answer["reasons"][0]["code"] == "P11"
    text = "the ledger of this customer is incomplete"
    assert answer["reasons"][0]["text"] == text
    require_replay(client, answer)
    order = {"amount": "10.00", "currency": "EUR"}
    check = asked(client, "/orders/check", customer_id="MORE", order=order)
    assert check["outcome"] == "refer"
    assert "B10" in [block["code"] for block in check["blocks"]]


def test_the_largest_request_is_net_of_unapplied_money(client: TestClient) -> None:
    request = {"amount": "90000.00", "currency": "EUR"}
    answer = asked(client, "/decisions", customer_id="RICH", request=request)
    assert answer["outcome"] == "refer"
    assert answer["position"]["owed"] == "0.00"
    (act,) = answer["counterfactuals"]
    limit = answer["limit"]["amount"]
    assert float(limit) < 90_000
    assert act["text"] == f"Ask for {limit} EUR or less"


def test_the_rulebook_of_the_day_decides_what_is_material(client: TestClient) -> None:
    """105.00 are 61 days late on 2023-12-31, and more than 1% of 9,105.00."""
    before = asked(client, "/decisions", customer_id="OLD", as_of="2023-12-30")
    assert before["policy"]["version"] == "2000-01-01"
    assert "position" not in before
    after = asked(client, "/decisions", customer_id="OLD", as_of="2023-12-31")
    assert after["policy"]["version"] == "2023-12-31"
    assert after["position"]["material_dpd_days"] == 61
    assert after["outcome"] == "decline"
    for answer in (before, after):
        require_replay(client, answer)


def test_nobody_is_called_about_money_that_is_here(client: TestClient) -> None:
    query = {"as_of": "2024-12-31", "collectors": 9, "minutes": 480}
    worklist = client.get("/worklist", params=query).json()
    lines = {line["customer_id"]: line["amount"] for line in worklist["lines"]}
    called = {customer_id: money["amount"] for customer_id, money in lines.items()}
    assert called == {
        "PART": "5000.00",
        "CRED": "4000.00",
        "BNCE": "15000.00",
    }
    assert worklist["resting"]["unapplied"] >= 1
    assert worklist["resting"]["not_worth_it"] == 1  # 105.00 of OLD
