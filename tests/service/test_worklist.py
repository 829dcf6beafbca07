"""Worklist, contacts and policy simulations over HTTP.

`tests/spec/test_worklist.py` specifies the planning, `tests/spec/test_debts.py` the
debts and the contacts.
"""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import pandas as pd
import pytest
from pydantic import TypeAdapter
from starlette.testclient import TestClient

from obligor.casework.contacts import ContactAnswer
from obligor.casework.worklist import WorklistAnswer
from obligor.data.asof import known_account, known_on
from obligor.data.days import day_number
from obligor.data.synthetic import Simulation
from obligor.features.build import build_features
from obligor.policy.collecting.debt import Debt
from obligor.portfolio.what_if import SimulationAnswer
from obligor.serving.assembly import Service

DAY = date(2024, 12, 30)  # a Monday; the last full week of the ledger


@pytest.fixture
def client(untrained_client: TestClient) -> TestClient:
    return untrained_client


def worklist(client: TestClient, **query: Any) -> Any:
    response = client.get("/worklist", params={"as_of": DAY.isoformat(), **query})
    assert response.status_code == 200, response.text
    TypeAdapter(WorklistAnswer).validate_python(response.json())
    return response.json()


def contact(client: TestClient, customer_id: str, **changes: Any) -> Any:
    body = {
        "customer_id": customer_id,
        "contacted_on": DAY.isoformat(),
        "by": "C. Collector",
        "channel": "call",
        "outcome": "no_answer",
        **changes,
    }
    response = client.post("/contacts", json=body)
    assert response.status_code == 200, response.text
    TypeAdapter(ContactAnswer).validate_python(response.json())
    return response.json()


def customer_ids(answer: Any) -> list[str]:
    return [line["customer_id"] for line in answer["lines"]]


def line_of(answer: Any, customer_id: str) -> Any:
    lines = {line["customer_id"]: line for line in answer["lines"]}
    return lines[customer_id]


# --- the worklist


def test_the_best_value_per_minute_comes_first(client: TestClient) -> None:
    answer = worklist(client, collectors=2, minutes=120)
    assert (answer["as_of"], answer["is_quiet"]) == ("2024-12-30", False)
    values = [
        float(line["value"]["amount"]) / line["minutes"] for line in answer["lines"]
    ]
    assert values == sorted(values, reverse=True)
    ranks = [line["rank"] for line in answer["lines"]]
    assert ranks == list(range(1, len(ranks) + 1))


def test_every_line_has_its_reason(client: TestClient) -> None:
    for line in worklist(client, collectors=2, minutes=120)["lines"]:
        assert line["because"]
        assert line["because_zh"]


@pytest.mark.parametrize("collector", [1, 2])
def test_a_collector_is_busy_but_not_overbooked(
    client: TestClient, collector: int
) -> None:
    answer = worklist(client, collectors=2, minutes=120)
    minutes = [
        line["minutes"] for line in answer["lines"] if line["collector"] == collector
    ]
    assert 100 < sum(minutes) <= 120


def test_more_time_adds_lines_at_the_end(client: TestClient) -> None:
    little = worklist(client, collectors=2, minutes=120)
    much = worklist(client, collectors=20, minutes=480)
    assert little["left_out"]["n"] > 0
    assert customer_ids(much)[:4] == customer_ids(little)[:4]
    assert sum(much["resting"].values()) > 0


def test_a_weekend_is_quiet(client: TestClient) -> None:
    answer = worklist(client, as_of="2024-12-28")
    assert answer["is_quiet"] is True
    assert answer["lines"] == []
    assert answer["value"] is None
    assert answer["left_out"]["n"] > 0


@pytest.mark.parametrize(
    ("query", "where"),
    [
        ({"collectors": 0}, "collectors"),
        ({"minutes": 0}, "minutes"),
        ({"as_of": "2030-01-01"}, "as_of"),
        ({"as_of": "1999-01-01"}, "as_of"),
        ({"as_of": "soon"}, "as_of"),
        ({"minute": 5}, "minute"),
    ],
)
def test_an_invalid_worklist_query_names_its_field(
    client: TestClient, query: dict[str, Any], where: str
) -> None:
    response = client.get("/worklist", params=query)
    assert (response.status_code, response.json()["where"]) == (422, where)


# --- debts


@pytest.fixture
def debts(untrained_service: Service) -> dict[str, Debt]:
    debts = untrained_service.worklists.debts(DAY)
    return {debt.customer_id: debt for debt in debts}


@pytest.fixture(scope="module")
def overdue(simulation: Simulation) -> pd.DataFrame:
    """The features of the customers who are past due."""
    features = build_features(known_on(simulation.ledger, DAY))
    return features[features["dpd_days"] > 0]


def test_debts_equal_the_features(
    debts: dict[str, Debt], overdue: pd.DataFrame
) -> None:
    assert sorted(debts) == sorted(overdue.index)
    for customer_id, debt in debts.items():
        amount = overdue.loc[customer_id, "overdue_amount"]
        assert float(debt.overdue) == pytest.approx(amount, abs=0.006)
        assert debt.oldest_dpd_days == overdue.loc[customer_id, "dpd_days"]
        assert debt.dpd_days <= debt.oldest_dpd_days


def test_parts_of_a_debt_do_not_exceed_it(debts: dict[str, Debt]) -> None:
    for debt in debts.values():
        assert 0 <= debt.disputed <= debt.overdue
        assert debt.amount_days <= debt.overdue * debt.dpd_days + 1
        assert debt.country in ("DE", "US")


def test_some_debts_are_disputed_or_promised(
    debts: dict[str, Debt], untrained_service: Service
) -> None:
    assert any(debt.disputed for debt in debts.values())
    promised = [customer_id for customer_id, debt in debts.items() if debt.promised]
    assert promised
    account = untrained_service.ledger.account(promised[0])
    ends = known_account(account, DAY).account.events.end
    assert (ends >= day_number(DAY)).any()


# --- contacts


def test_a_contact_takes_the_customer_off_the_list(client: TestClient) -> None:
    lines = worklist(client, collectors=9, minutes=480)["lines"]
    customer_id = next(
        line["customer_id"]
        for line in lines
        if line["channel"] == "call" and line["calls_left_today"] == 1
    )
    assert contact(client, customer_id)["next_contact_on"] > DAY.isoformat()
    after = worklist(client, collectors=9, minutes=480)
    assert customer_id not in customer_ids(after)


def test_a_customer_with_calls_left_stays_on_the_list(client: TestClient) -> None:
    lines = worklist(client, collectors=9, minutes=480)["lines"]
    before = next(line for line in lines if line["calls_left_today"] >= 2)
    customer_id = before["customer_id"]
    answer = contact(client, customer_id)
    assert answer["next_contact_on"] == DAY.isoformat()
    assert answer["contacts_today"] == 1
    after = line_of(worklist(client, collectors=9, minutes=480), customer_id)
    assert after["calls_left_today"] == before["calls_left_today"] - 1


def test_a_promise_is_waited_for(client: TestClient) -> None:
    line = worklist(client, collectors=9, minutes=480)["lines"][0]
    promise = {
        "amount": line["amount"]["amount"],
        "currency": "EUR",
        "pay_by": "2025-01-10",
    }
    customer_id = line["customer_id"]
    answer = contact(client, customer_id, outcome="promise", promise=promise)
    assert answer["next_contact_on"] == "2025-01-13"  # the Monday after
    after = worklist(client, collectors=9, minutes=480)
    assert customer_id not in customer_ids(after)
    assert after["resting"]["promised"] >= 1


def test_a_broken_promise_is_a_reason_to_call(client: TestClient) -> None:
    # December 27 is a Friday: a promise for the Sunday would run until Monday.
    customer_id = customer_ids(worklist(client))[0]
    promise = {"amount": "100000.00", "currency": "EUR", "pay_by": "2024-12-27"}
    contact(
        client,
        customer_id,
        contacted_on="2024-12-23",
        outcome="promise",
        promise=promise,
    )
    line = line_of(worklist(client), customer_id)
    assert line["promise_broken_on"] == "2024-12-28"
    assert "a promise was broken on 2024-12-28" in line["because"]


def test_a_day_sees_no_contact_of_a_later_day(client: TestClient) -> None:
    before = worklist(client, collectors=3)
    contact(client, customer_ids(before)[0], contacted_on="2024-12-31")
    assert worklist(client, collectors=3) == before


def test_a_contact_with_a_repeated_key_is_recorded_once(client: TestClient) -> None:
    body = {
        "customer_id": "C0000002",
        "by": "C. Collector",
        "channel": "mail",
        "outcome": "reached",
    }
    headers = {"Idempotency-Key": "k"}
    first = client.post("/contacts", json=body, headers=headers)
    second = client.post("/contacts", json=body, headers=headers)
    assert first.content == second.content
    assert first.json()["contacted_on"] == "2025-01-02"
    other = client.post("/contacts", json={**body, "channel": "call"}, headers=headers)
    assert other.status_code == 409


def promise(currency: str = "EUR", pay_by: str = "2025-01-10") -> dict[str, Any]:
    return {"amount": "1.00", "currency": currency, "pay_by": pay_by}


@pytest.mark.parametrize(
    ("changes", "status", "where"),
    [
        ({"customer_id": "NOBODY"}, 404, "customer_id"),
        ({"contacted_on": "2030-01-01"}, 422, "contacted_on"),
        ({"next_contact_on": "2024-12-29"}, 422, "next_contact_on"),
        ({"outcome": "promise"}, 422, "body"),
        ({"promise": promise()}, 422, "body"),
        (
            {"outcome": "promise", "promise": promise(pay_by="2024-01-10")},
            422,
            "promise.pay_by",
        ),
        ({"outcome": "promise", "promise": promise(currency="KRW")}, 422, None),
        ({"channel": "pigeon"}, 422, "channel"),
        ({"by": ""}, 422, "by"),
    ],
)
def test_an_invalid_contact_names_its_field(
    client: TestClient, changes: dict[str, Any], status: int, where: str | None
) -> None:
    body = {
        "customer_id": "C0000002",
        "contacted_on": DAY.isoformat(),
        "by": "C",
        "channel": "call",
        "outcome": "no_answer",
        **changes,
    }
    response = client.post("/contacts", json=body)
    assert response.status_code == status
    assert where is None or response.json()["where"] == where


# --- rulebooks compared


def simulate(client: TestClient, **changes: Any) -> Any:
    body = {"from": "2000-01-01", "to": "2000-01-01", **changes}
    return client.post("/policy/simulations", json=body)


def test_a_rulebook_compared_with_itself_changes_nothing(client: TestClient) -> None:
    response = simulate(client)
    assert response.status_code == 200, response.text
    answer = response.json()
    TypeAdapter(SimulationAnswer).validate_python(answer)
    assert answer["as_of"] == "2024-12-31"
    everyone = answer["by"]["all"]["all"]
    assert everyone["decisions_changed"] == 0
    assert everyone["customers"] > 1000
    assert set(answer["by"]) == {"all", "grade", "customer_class", "sector", "country"}


def test_a_simulated_decision_equals_the_served_one(client: TestClient) -> None:
    in_force = {"from": "2023-12-31", "to": "2023-12-31"}
    compared = simulate(client, customer_id="C0000002", **in_force).json()
    (mover,) = compared["movers"]
    decision = client.post("/decisions", json={"customer_id": "C0000002"}).json()
    assert mover["outcome"] == [decision["outcome"]] * 2
    assert Decimal(mover["limit"][0]) == Decimal(decision["limit"]["amount"])


@pytest.mark.parametrize(
    ("changes", "status", "where"),
    [
        ({"to": "2001-01-01"}, 422, "to"),
        ({"from": "../../etc"}, 422, "from"),
        ({"as_of": "2030-01-01"}, 422, "as_of"),
        ({"as_of": "1999-01-01"}, 422, "as_of"),
        ({"customer_id": "NOBODY"}, 404, "customer_id"),
    ],
)
def test_an_invalid_simulation_names_its_field(
    client: TestClient, changes: dict[str, Any], status: int, where: str
) -> None:
    response = simulate(client, **changes)
    assert (response.status_code, response.json()["where"]) == (status, where)
