"""The worklist of a day, contacts that fix the next one, and rulebooks compared, over HTTP."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from pydantic import TypeAdapter
from starlette.testclient import TestClient

from obligor.casework.contacts import ContactAnswer
from obligor.casework.worklist import WorklistAnswer
from obligor.data.asof import known_account, known_on
from obligor.data.days import day_number
from obligor.data.synthetic import Simulation
from obligor.features.build import build_features
from obligor.portfolio.what_if import SimulationAnswer
from obligor.serving.assembly import Service

DAY = date(2024, 12, 30)  # a Monday; the ledger's last full week


def listed(client: TestClient, **asked: Any) -> Any:
    response = client.get("/worklist", params={"as_of": DAY.isoformat(), **asked})
    assert response.status_code == 200, response.text
    TypeAdapter(WorklistAnswer).validate_python(response.json())
    return response.json()


def contact(client: TestClient, customer: str, **more: Any) -> Any:
    body = {
        "customer_id": customer,
        "contacted_on": DAY.isoformat(),
        "by": "C. Collector",
        "channel": "call",
        "outcome": "no_answer",
        **more,
    }
    response = client.post("/contacts", json=body)
    assert response.status_code == 200, response.text
    TypeAdapter(ContactAnswer).validate_python(response.json())
    return response.json()


def customers(found: Any) -> list[str]:
    return [line["customer_id"] for line in found["lines"]]


def test_the_worklist_is_the_best_value_within_the_time(client: TestClient) -> None:
    found = listed(client, collectors=2, minutes=120)
    assert (found["as_of"], found["is_quiet"]) == ("2024-12-30", False)
    worth = [
        float(line["value"]["amount"]) / line["minutes"] for line in found["lines"]
    ]
    assert worth == sorted(worth, reverse=True)
    for place in (1, 2):
        assert (
            100
            < sum(
                line["minutes"] for line in found["lines"] if line["collector"] == place
            )
            <= 120
        )
    assert [line["rank"] for line in found["lines"]] == list(
        range(1, len(found["lines"]) + 1)
    )
    assert all(line["because"] and line["because_zh"] for line in found["lines"])
    assert found["left_out"]["n"] > 0
    more = listed(client, collectors=20, minutes=480)
    assert customers(more)[:4] == customers(found)[:4]
    assert sum(more["resting"].values()) > 0


def test_its_amounts_are_those_of_the_features(
    client: TestClient, service: Service, simulation: Simulation
) -> None:
    features = build_features(known_on(simulation.ledger, DAY))
    overdue = features[features["dpd_days"] > 0]
    debts = {debt.customer_id: debt for debt in service.worklists.debts(DAY)}
    assert sorted(debts) == sorted(overdue.index)
    for name, debt in debts.items():
        assert float(debt.overdue) == pytest.approx(
            overdue.loc[name, "overdue_amount"], abs=0.006
        )
        assert debt.dpd_days == overdue.loc[name, "dpd_days"]
        assert 0 <= debt.disputed <= debt.overdue
        assert debt.amount_days <= debt.overdue * debt.dpd_days + 1
        assert debt.country in ("DE", "US")
    assert any(debt.disputed for debt in debts.values())
    assert any(debt.promised for debt in debts.values())
    account = service.ledger.account(
        next(name for name, debt in debts.items() if debt.promised)
    )
    ends = known_account(account, DAY).account.events.end
    assert (ends >= day_number(DAY)).any()


def test_a_weekend_is_quiet(client: TestClient) -> None:
    found = listed(client, as_of="2024-12-28")
    assert (found["is_quiet"], found["lines"], found["value"]) == (True, [], None)
    assert found["left_out"]["n"] > 0


def test_a_contact_fixes_the_next_and_takes_the_customer_off_the_list(
    client: TestClient,
) -> None:
    lines = listed(client, collectors=9, minutes=480)["lines"]
    one_call = next(
        line
        for line in lines
        if line["channel"] == "call" and line["calls_left_today"] == 1
    )
    more_calls = next(line for line in lines if line["calls_left_today"] >= 2)
    promised = next(line for line in lines if line not in (one_call, more_calls))
    first = contact(client, one_call["customer_id"])
    assert first["next_contact_on"] > DAY.isoformat()
    again = contact(client, more_calls["customer_id"])
    assert (again["next_contact_on"], again["contacts_today"]) == (DAY.isoformat(), 1)
    promise = {
        "amount": promised["amount"]["amount"],
        "currency": "EUR",
        "pay_by": "2025-01-10",
    }
    told = contact(client, promised["customer_id"], outcome="promise", promise=promise)
    assert told["next_contact_on"] == "2025-01-13"  # the Monday after
    after = listed(client, collectors=9, minutes=480)
    assert {one_call["customer_id"], promised["customer_id"]}.isdisjoint(
        customers(after)
    )
    left = next(
        line
        for line in after["lines"]
        if line["customer_id"] == more_calls["customer_id"]
    )
    assert left["calls_left_today"] == more_calls["calls_left_today"] - 1
    assert after["resting"]["promised"] >= 1


def test_a_promise_that_was_broken_is_said(client: TestClient) -> None:
    line = listed(client)["lines"][0]
    promise = {"amount": "100000.00", "currency": "EUR", "pay_by": "2024-12-29"}
    contact(
        client,
        line["customer_id"],
        contacted_on="2024-12-23",
        outcome="promise",
        promise=promise,
    )
    found = next(
        one
        for one in listed(client)["lines"]
        if one["customer_id"] == line["customer_id"]
    )
    assert found["promise_broken_on"] == "2024-12-30"
    assert "a promise was broken on 2024-12-30" in found["because"]


def test_a_day_sees_no_contact_of_a_later_one(client: TestClient) -> None:
    before = listed(client, collectors=3)
    contact(client, customers(before)[0], contacted_on="2024-12-31")
    assert listed(client, collectors=3) == before


def test_a_repeated_contact_is_one(client: TestClient) -> None:
    body = {
        "customer_id": "C0000002",
        "by": "C. Collector",
        "channel": "mail",
        "outcome": "reached",
    }
    first, second = (
        client.post("/contacts", json=body, headers={"Idempotency-Key": "k"})
        for _ in range(2)
    )
    assert first.content == second.content
    assert first.json()["contacted_on"] == "2025-01-02"
    other = client.post(
        "/contacts", json={**body, "channel": "call"}, headers={"Idempotency-Key": "k"}
    )
    assert other.status_code == 409


@pytest.mark.parametrize(
    ("more", "status", "where"),
    [
        ({"customer_id": "NOBODY"}, 404, "customer_id"),
        ({"contacted_on": "2030-01-01"}, 422, "contacted_on"),
        ({"next_contact_on": "2024-12-29"}, 422, "next_contact_on"),
        ({"outcome": "promise"}, 422, "body"),
        (
            {"promise": {"amount": "1.00", "currency": "EUR", "pay_by": "2025-01-10"}},
            422,
            "body",
        ),
        (
            {
                "outcome": "promise",
                "promise": {
                    "amount": "1.00",
                    "currency": "EUR",
                    "pay_by": "2024-01-10",
                },
            },
            422,
            "promise.pay_by",
        ),
        (
            {
                "outcome": "promise",
                "promise": {
                    "amount": "1.00",
                    "currency": "KRW",
                    "pay_by": "2025-01-10",
                },
            },
            422,
            None,
        ),
        ({"channel": "pigeon"}, 422, "channel"),
        ({"by": ""}, 422, "by"),
    ],
)
def test_a_bad_contact_is_a_problem_with_its_place(
    client: TestClient, more: Any, status: int, where: str | None
) -> None:
    body = {
        "customer_id": "C0000002",
        "contacted_on": DAY.isoformat(),
        "by": "C",
        "channel": "call",
        "outcome": "no_answer",
        **more,
    }
    response = client.post("/contacts", json=body)
    assert response.status_code == status
    assert where is None or response.json()["where"] == where


@pytest.mark.parametrize(
    ("asked", "where"),
    [
        ({"collectors": 0}, "collectors"),
        ({"minutes": 0}, "minutes"),
        ({"as_of": "2030-01-01"}, "as_of"),
        ({"as_of": "1999-01-01"}, "as_of"),
        ({"as_of": "soon"}, "as_of"),
        ({"minute": 5}, "minute"),
    ],
)
def test_a_worklist_without_time_or_day_is_a_problem(
    client: TestClient, asked: Any, where: str
) -> None:
    response = client.get("/worklist", params=asked)
    assert (response.status_code, response.json()["where"]) == (422, where)


# --- rulebooks compared


def simulated(client: TestClient, **asked: Any) -> Any:
    return client.post(
        "/policy/simulations", json={"from": "2000-01-01", "to": "2000-01-01", **asked}
    )


def test_a_simulation_on_the_loaded_ledger(
    client: TestClient, simulation: Simulation
) -> None:
    response = simulated(client)
    assert response.status_code == 200, response.text
    answer = response.json()
    TypeAdapter(SimulationAnswer).validate_python(answer)
    assert answer["as_of"] == "2024-12-31"
    everyone = answer["by"]["all"]["all"]
    assert everyone["decisions_changed"] == 0
    assert everyone["customers"] > 1000
    assert set(answer["by"]) == {"all", "grade", "customer_class", "sector", "country"}
    one = simulated(client, customer_id="C0000002").json()["movers"]
    decision = client.post("/decisions", json={"customer_id": "C0000002"}).json()
    assert one[0]["outcome"] == [decision["outcome"]] * 2
    assert Decimal(one[0]["limit"][0]) == Decimal(decision["limit"]["amount"])


@pytest.mark.parametrize(
    ("asked", "status", "where"),
    [
        ({"to": "2001-01-01"}, 422, "to"),
        ({"from": "../../etc"}, 422, "from"),
        ({"as_of": "2030-01-01"}, 422, "as_of"),
        ({"as_of": "1999-01-01"}, 422, "as_of"),
        ({"customer_id": "NOBODY"}, 404, "customer_id"),
    ],
)
def test_a_bad_simulation_is_a_problem(
    client: TestClient, asked: Any, status: int, where: str
) -> None:
    response = simulated(client, **asked)
    assert (response.status_code, response.json()["where"]) == (status, where)
