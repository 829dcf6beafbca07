"""Reports of bureaus and registers: behind the gate, in the rules, in the notice."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any, cast

import pytest
from starlette.testclient import TestClient

from obligor.cli.decide import print_decision
from obligor.data.ledger import Ledger
from obligor.data.store import LedgerStore
from obligor.decisions.batch import Question
from obligor.decisions.bureau_reports import bureau_summaries
from obligor.decisions.questions import DecisionRequest
from obligor.model.pd_model import PdModel
from obligor.portfolio.decide_many import OUTCOMES, decide_many
from obligor.portfolio.snapshot import active_on, ledger_summaries, portfolio_of
from obligor.record.record import Record
from obligor.record.seals import CustomerSeals
from obligor.serving.assembly import Service
from tests.ascii import ledger
from tests.conftest import client_of, service_on
from tests.fakes import FixedChampion, FixedModel
from tests.records import opened

# ANNA and BERT buy for 9,000.00 each month and pay at once.
DAYS = [f"{year}-{month:02}-01" for year in (2023, 2024) for month in range(1, 13)]
INVOICES = "invoice_id | customer_id | issued_on | due_on | amount\n" + "\n".join(
    f"{customer}-{day} | {customer} | {day} | {day} | 9000.00"
    for customer in ("ANNA", "BERT")
    for day in DAYS
)
PAYMENTS = "invoice_id | paid_on | amount\n" + "\n".join(
    f"{customer}-{day} | {day} | 9000.00"
    for customer in ("ANNA", "BERT")
    for day in DAYS
)
# What is said in February is known in March; an insolvency ends in August.
REPORTS = """
    source   | as_of      | known_on   | score | scale   | recommended_limit | event
    Agency   | 2024-02-01 | 2024-03-01 | 40    | 0-100   | 300.00            | -
    Index    | 2024-02-10 | 2024-03-01 | 200   | 600-100 | 900.00            | -
    Register | 2024-06-01 | 2024-06-01 | -     | -       | -                 | bankrupt
    Agency   | 2024-06-15 | 2024-06-15 | 10    | 0-100   | -                 | -
    Register | 2024-08-01 | 2024-08-01 | -     | -       | -                 | closed
"""
RATES = """
    currency | rate_on    | rate
    USD      | 2020-01-01 | 0.5
    USD      | 2024-05-01 | 0.25
"""


@pytest.fixture
def record(tmp_path: Path) -> Iterator[Record]:
    folder = tmp_path / "seals"
    folder.mkdir()
    yield from opened(folder)


def book() -> Ledger:
    """The ledger of the tests."""
    without_names = ledger(
        invoices=INVOICES,
        payments=PAYMENTS,
        bureau=REPORTS,
        fx_rates=RATES,
    )
    currencies = [None, "USD", None, None, None]
    bureau = without_names["bureau"]
    reports = bureau.assign(
        customer_id="ANNA",
        currency=currencies,
        event=bureau["event"].replace("closed", "insolvency ended"),
    )
    return replace(without_names, tables={**without_names.tables, "bureau": reports})


@pytest.fixture
def service(record: Record, tmp_path: Path) -> Service:
    store = LedgerStore(
        f"sqlite:///{tmp_path}/ledger.db", lambda: CustomerSeals(record.database)
    )
    store.write(book())
    return service_on(store, FixedChampion(FixedModel()), tmp_path)


@pytest.fixture
def client(service: Service) -> TestClient:
    return client_of(service)


def ask(
    client: TestClient,
    as_of: str,
    customer_id: str = "ANNA",
) -> dict[str, Any]:
    """Ask for 100.00; the answer is an approval if nothing is known of the customer."""
    request = {"amount": "100.00", "currency": "EUR"}
    question = {"customer_id": customer_id, "as_of": as_of, "request": request}
    response = client.post("/decisions", json=question)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


@pytest.mark.parametrize(
    ("as_of", "outcome", "cap", "score"),
    [
        # The last words of both sources: 0.40 of one scale, 0.80 of the other.
        ("2024-04-30", "approve", "300.00", 0.4),
        # At the rate of the day 900 USD are 225 EUR.
        ("2024-05-31", "approve", "225.00", 0.4),
        ("2024-06-30", "decline", "225.00", 0.1),
        ("2024-08-01", "approve", "225.00", 0.1),
    ],
)
def test_the_last_word_of_each_source_counts(
    client: TestClient, as_of: str, outcome: str, cap: str, score: float
) -> None:
    answer = ask(client, as_of)
    bureau = answer["ledger"]["bureau"]
    assert answer["outcome"] == outcome
    assert answer["limit"]["caps"]["bureau"] == cap
    assert bureau["recommended_limit"]["amount"] == cap
    assert bureau["score"] == pytest.approx(score)


def test_a_report_is_not_known_before_it_was_received(client: TestClient) -> None:
    answer = ask(client, "2024-02-29")
    assert "bureau" not in answer["ledger"]
    assert "bureau" not in answer["limit"]["caps"]


def test_a_reason_names_the_sources_it_rests_on(client: TestClient) -> None:
    (reason, *others) = ask(client, "2024-06-30")["reasons"]
    assert reason["code"] == "P12"
    assert reason["sources"] == ["Agency", "Index", "Register"]
    assert not any("sources" in other for other in others)


def test_a_cap_that_is_too_low_names_its_sources(client: TestClient) -> None:
    request = {"amount": "1000.00", "currency": "EUR"}
    question = {"customer_id": "ANNA", "as_of": "2024-05-31", "request": request}
    answer = client.post("/decisions", json=question).json()
    assert answer["limit"]["binding_cap"] == "bureau"
    (reason, *_) = answer["reasons"]
    assert reason["sources"] == ["Agency", "Index"]


def test_a_notice_names_its_sources(client: TestClient) -> None:
    notices = []
    for as_of, customer_id in (("2024-06-30", "ANNA"), ("2024-06-30", "BERT")):
        decision_id = ask(client, as_of, customer_id)["decision_id"]
        path = f"/decisions/{decision_id}/notice?kind=reasons"
        notices.append(client.get(path).text)
    with_reports, without = notices
    assert "Agency (of 2024-06-15), Index (of 2024-02-10)" in with_reports
    assert "reported by Agency, Index, Register" in with_reports
    assert "We bought no data" not in with_reports
    assert "We bought no data" in without


def test_a_chinese_notice_names_its_sources(client: TestClient) -> None:
    decision_id = ask(client, "2024-06-30")["decision_id"]
    path = f"/decisions/{decision_id}/notice?kind=reasons&lang=zh"
    text = client.get(path).text
    assert "Agency（2024-06-15）" in text
    assert "报告机构：Agency, Index, Register" in text
    assert "未购买外部数据" not in text


def test_a_printed_decision_names_what_is_known_from_outside(
    client: TestClient, capsys: pytest.CaptureFixture[str]
) -> None:
    print_decision(ask(client, "2024-06-30"))
    printed = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "bureaus" in printed
    assert "insolvent; score 10% of its scale" in printed
    assert "reported by Agency, Index, Register" in printed


def test_a_decision_replays_from_its_own_reports(
    service: Service, client: TestClient
) -> None:
    answers = [ask(client, day) for day in ("2024-05-31", "2024-06-30", "2024-02-29")]
    service.ledger.write(ledger(invoices=INVOICES, payments=PAYMENTS))
    for answer in answers:
        replay = client.post(f"/decisions/{answer['decision_id']}/replay").json()
        assert replay["is_equal"], replay
    assert ask(client, "2024-06-30")["outcome"] == "approve"


def test_reports_may_come_with_the_request(client: TestClient) -> None:
    own_ledger = {
        "currency": "EUR",
        "customers": [{"registered_on": "2020-01-01"}],
        "invoices": [
            {
                "invoice_id": "A1",
                "issued_on": "2024-01-01",
                "due_on": "2024-12-31",
                "amount": "100.00",
                "currency": "EUR",
            }
        ],
        "bureau": [
            {"source": "Register", "as_of": "2024-06-01", "event": "bankruptcy"}
        ],
    }
    question = {"customer_id": "X", "as_of": "2024-06-30", "ledger": own_ledger}
    answer = client.post("/decisions", json=question).json()
    assert answer["outcome"] == "decline"
    assert answer["ledger"]["bureau"]["insolvency"]


def test_reports_come_back_from_the_store_as_they_were(service: Service) -> None:
    reports = service.ledger.reports("ANNA")
    assert len(reports) == 5
    assert reports[1].recommended_limit == 900.0
    assert reports[1].known_on == date(2024, 3, 1)
    assert service.ledger.reports("BERT") == ()


@pytest.mark.parametrize("as_of", ["2024-02-29", "2024-05-31", "2024-06-30"])
def test_a_portfolio_is_decided_with_the_reports_of_the_day(
    service: Service, as_of: str
) -> None:
    """One by one, from the store and from the rows of a ledger, the facts are equal."""
    day = date.fromisoformat(as_of)
    reports = service.ledger.parties.every_report()
    assert list(reports) == ["ANNA"]
    stored = bureau_summaries(reports, service.ledger.account, day)
    assert stored == ledger_summaries(book(), day)
    customers = active_on(service.ledger.every(), day)
    model = cast(PdModel, FixedModel())
    portfolio = portfolio_of(customers.accounts, customers.rows, model, stored)
    decisions = decide_many(portfolio, service.rulebooks.in_force(day))
    for row, customer_id in enumerate(portfolio.customer_ids):
        question = Question(DecisionRequest(customer_id=customer_id, as_of=day))
        decided = service.decider.decide_unrecorded(question)
        assert OUTCOMES[decisions.outcome[row]] == decided.decision.outcome
        assert decisions.limit[row] == float(decided.decision.limit.amount)
        one_by_one = portfolio.facts(row)
        limit = decided.facts.bureau_recommended_limit
        assert one_by_one.bureau_recommended_limit == limit


def test_a_simulation_counts_insolvencies(client: TestClient) -> None:
    body = {"from": "2000-01-01", "to": "2023-12-31", "as_of": "2024-06-30"}
    everyone = client.post("/policy/simulations", json=body).json()["by"]["all"]["all"]
    assert everyone["decline"] == [0, 1]
