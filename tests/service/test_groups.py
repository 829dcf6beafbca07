"""Groups of customers: what the others owe is added up from the ledger."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import httpx
import pandas as pd
import pytest
from starlette.testclient import TestClient

from obligor.data.store import LedgerStore
from obligor.policy.credit.decide import decide
from obligor.portfolio.decide_many import decide_many
from obligor.portfolio.snapshot import StoredGroups, active_on, portfolio_of
from obligor.serving.assembly import Service
from tests.ascii import ledger
from tests.conftest import client_of, service_on
from tests.fakes import FixedChampion, FixedModel

# Three subsidiaries of a holding that is no customer itself.
INVOICES = """
    invoice_id | customer_id | issued_on  | due_on     | amount
    SUBA-1     | SUBA        | 2024-12-01 | 2025-01-31 | 40000.00
    SUBB-1     | SUBB        | 2024-12-01 | 2025-01-31 | 40000.00
    SUBC-1     | SUBC        | 2024-12-01 | 2025-01-31 | 40000.00
    SUBC-2     | SUBC        | 2025-01-01 | 2025-01-31 | 5000.00
    KEEP-1     | KEEP        | 2024-12-01 | 2025-01-31 | 10.00
"""
CUSTOMERS = """
    customer_id | registered_on | parent_id
    SUBA        | 2020-01-01    | EAST
    EAST        | 2020-01-01    | HOLD
    SUBB        | 2020-01-01    | HOLD
    SUBC        | 2020-01-01    | HOLD
    KEEP        | 2020-01-01    | NOBODY
"""
NAMED = {"name": "Holding", "members": ["SUBA", "SUBB", "SUBC"]}
LINKED = {"name": "Holding"}


@pytest.fixture
def service(tmp_path: Path) -> Service:
    store = LedgerStore(f"sqlite:///{tmp_path}/ledger.db")
    store.write(ledger(invoices=INVOICES, customers=CUSTOMERS))
    return service_on(store, FixedChampion(FixedModel()), tmp_path)


@pytest.fixture
def client(service: Service) -> TestClient:
    return client_of(service)


def ask(client: TestClient, group: dict[str, object], **body: object) -> httpx.Response:
    """Ask about SUBA under one group with a limit of 100,000.00."""
    question = {
        "customer_id": "SUBA",
        "as_of": "2024-12-31",
        "file": {"groups": [{"limit": "100000.00", **group}]},
        **body,
    }
    return client.post("/decisions", json=question)


@pytest.mark.parametrize(
    ("group", "others", "room"),
    [
        # What the caller states is too low: the ledger counts.
        (NAMED | {"exposure_of_others": "0"}, "80000.00", "20000.00"),
        (NAMED, "80000.00", "20000.00"),
        # The file names nobody: the ledger knows who belongs to whom.
        (LINKED, "80000.00", "20000.00"),
        # EAST has no other member that owes anything.
        ({"name": "EAST"}, "0.00", "100000.00"),
        # Members may owe what is not in the ledger.
        (NAMED | {"exposure_of_others": "90000.00"}, "90000.00", "10000.00"),
    ],
)
def test_the_others_of_a_group_leave_room(
    client: TestClient, group: dict[str, object], others: str, room: str
) -> None:
    answer = ask(client, group).json()
    (exposure,) = answer["ledger"]["groups"]
    assert exposure["exposure_of_others"]["amount"] == others
    assert exposure["room"]["amount"] == room
    assert answer["limit"]["caps"][f"group {exposure['name']}"] == room


def test_what_is_stated_counts_if_the_ledger_has_nobody_else(
    client: TestClient,
) -> None:
    group = {"name": "Other", "members": ["SUBA", "GONE"], "exposure_of_others": "1"}
    answer = ask(client, group).json()
    assert "groups" not in answer["ledger"]
    assert answer["limit"]["caps"]["group Other"] == "99999.00"


def test_members_who_are_not_in_the_ledger_are_counted(client: TestClient) -> None:
    group = {"name": "Holding", "members": ["SUBA", "SUBB", "GONE", "LOST"]}
    (exposure,) = ask(client, group).json()["ledger"]["groups"]
    assert (exposure["in_ledger"], exposure["not_in_ledger"]) == (1, 2)


def test_the_ledger_says_to_which_of_several_groups_a_customer_belongs(
    service: Service, client: TestClient
) -> None:
    """SUBA belongs to EAST, and EAST to HOLD; the file gives a limit to each."""
    groups = [
        {"name": "HOLD", "limit": "100000.00"},
        {"name": "EAST", "limit": "9000.00", "parent": "HOLD"},
    ]
    question = {
        "customer_id": "SUBA",
        "as_of": "2024-12-31",
        "file": {"groups": groups},
    }
    answer = client.post("/decisions", json=question).json()
    assert answer["limit"]["caps"]["group EAST"] == "9000.00"
    replay = client.post(f"/decisions/{answer['decision_id']}/replay").json()
    assert replay["is_equal"]


def test_a_group_without_others_leaves_its_whole_limit(client: TestClient) -> None:
    """NOBODY is above KEEP, whom it has as its only member."""
    question = {
        "customer_id": "KEEP",
        "as_of": "2024-12-31",
        "file": {"groups": [{"name": "Alone", "limit": "5000.00"}]},
    }
    answer = client.post("/decisions", json=question).json()
    (exposure,) = answer["ledger"]["groups"]
    assert exposure["room"]["amount"] == "5000.00"


def test_members_with_an_incomplete_ledger_are_counted(tmp_path: Path) -> None:
    store = LedgerStore(f"sqlite:///{tmp_path}/incomplete.db")
    book = ledger(invoices=INVOICES, customers=CUSTOMERS)
    lost = {"customer_id": ["SUBB"], "table": ["payments"], "key": ["P1"]}
    store.write(book, set_aside=pd.DataFrame(lost, dtype="str"))
    client = client_of(service_on(store, FixedChampion(FixedModel()), tmp_path))
    (exposure,) = ask(client, LINKED).json()["ledger"]["groups"]
    assert exposure["incomplete"] == 1


def test_what_is_not_known_yet_does_not_count(client: TestClient) -> None:
    """On 2025-01-02 SUBC owes 5,000.00 more; as of the day before, it does not."""
    amounts = [
        ask(client, LINKED, as_of=day).json()["ledger"]["groups"][0]
        for day in ("2024-12-31", "2025-01-02")
    ]
    rooms = [exposure["room"]["amount"] for exposure in amounts]
    assert rooms == ["20000.00", "15000.00"]


def test_a_group_of_which_nothing_is_known_is_refused(client: TestClient) -> None:
    group = {"name": "Other", "members": ["SUBA", "GONE"]}
    response = ask(client, group)
    assert response.status_code == 422
    assert response.json()["where"] == "file.groups.exposure_of_others"


def test_a_group_over_its_limit_leaves_nothing(client: TestClient) -> None:
    answer = ask(client, LINKED | {"limit": "70000.00"}).json()
    (exposure,) = answer["ledger"]["groups"]
    assert exposure["room"]["amount"] == "-10000.00"
    assert answer["limit"]["amount"] == "0.00"


def test_a_decision_replays_after_the_group_has_paid(
    service: Service, client: TestClient
) -> None:
    """The sum is recorded with the inputs; the ledger of today is not asked."""
    decision = ask(client, LINKED).json()
    order = {
        "customer_id": "SUBA",
        "as_of": "2024-12-31",
        "order": {"amount": "100.00", "currency": "EUR"},
        "file": {"groups": [{"limit": "100000.00", **LINKED}]},
    }
    check = client.post("/orders/check", json=order).json()
    without_others = "\n".join(INVOICES.splitlines()[:3])
    service.ledger.write(ledger(invoices=without_others))
    for entry_id in (decision["decision_id"], check["decision_id"]):
        replay = client.post(f"/decisions/{entry_id}/replay").json()
        assert replay["is_equal"]


# The ledger states what the holding and all below it may owe, and what EAST may.
WITH_LIMITS = """
    customer_id | registered_on | parent_id | group_limit
    SUBA        | 2020-01-01    | EAST      | -
    EAST        | 2020-01-01    | HOLD      | 30000.00
    SUBB        | 2020-01-01    | HOLD      | -
    SUBC        | 2020-01-01    | HOLD      | -
    HOLD        | 2020-01-01    | -         | 100000.00
    KEEP        | 2020-01-01    | NOBODY    | -
"""


@pytest.fixture
def limited(tmp_path: Path) -> Service:
    store = LedgerStore(f"sqlite:///{tmp_path}/limited.db")
    store.write(ledger(invoices=INVOICES, customers=WITH_LIMITS))
    return service_on(store, FixedChampion(FixedModel()), tmp_path)


def test_a_group_that_the_ledger_limits_needs_no_credit_file(limited: Service) -> None:
    """Every question about a member adds up what the others owe, and replays."""
    client = client_of(limited)
    expected = {
        "SUBA": {"EAST": ("0.00", "30000.00"), "HOLD": ("80000.00", "20000.00")},
        "SUBB": {"HOLD": ("80000.00", "20000.00")},
        "HOLD": {"HOLD": ("120000.00", "-20000.00")},
        "KEEP": {},
    }
    questions = [
        {"customer_id": customer_id, "as_of": "2024-12-31"} for customer_id in expected
    ]
    batch = client.post("/decisions/batch", json={"decisions": questions}).json()
    for question, item in zip(questions, batch["decisions"], strict=True):
        groups = item["decision"]["ledger"].get("groups", [])
        rooms = {
            group["name"]: (
                group["exposure_of_others"]["amount"],
                group["room"]["amount"],
            )
            for group in groups
        }
        assert rooms == expected[question["customer_id"]]
    answer = client.post("/decisions", json=questions[0]).json()
    assert answer["limit"]["caps"]["group HOLD"] == "20000.00"
    replay = client.post(f"/decisions/{answer['decision_id']}/replay").json()
    assert replay["is_equal"], replay


def test_groups_on_file_count_in_place_of_those_of_the_ledger(limited: Service) -> None:
    answer = ask(client_of(limited), NAMED).json()
    (exposure,) = answer["ledger"]["groups"]
    assert (exposure["name"], exposure["room"]["amount"]) == ("Holding", "20000.00")


def test_the_night_counts_the_groups_of_the_ledger(limited: Service) -> None:
    """As a decision does, customer by customer."""
    day = date(2024, 12, 31)
    customers = active_on(limited.ledger.every(), day)
    groups = StoredGroups(limited.ledger.parties.tree_on(day), customers.group_limits)
    model = FixedModel()
    portfolio = portfolio_of(
        customers.accounts,
        customers.rows,
        model,
        group_limits=groups,
    )
    rulebook = limited.rulebooks.in_force(day)
    limits = decide_many(portfolio, rulebook).limit
    client = client_of(limited)
    for row, customer_id in enumerate(portfolio.customer_ids):
        decision = decide(portfolio.facts(row), rulebook)
        question = {"customer_id": customer_id, "as_of": str(day)}
        answer = client.post("/decisions", json=question).json()
        caps = {name: str(cap) for name, cap in decision.limit.caps.items()}
        assert caps == answer["limit"]["caps"]
        assert abs(float(decision.limit.amount) - limits[row]) < 0.011
    is_limited = [row in portfolio.group_lines for row in range(len(portfolio))]
    assert sum(is_limited) == 3
