"""Reasons that are true and counterfactuals that hold.

Both are measured on every customer of a simulated ledger.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np
import orjson
import pandas as pd
import pytest

from obligor.arrays import Floats
from obligor.data.account import CREDIT_NOTE, PAYMENT, WRITE_OFF, select
from obligor.data.asof import known_account
from obligor.data.ledger import Ledger
from obligor.data.open_items import open_items
from obligor.data.store import LedgerStore
from obligor.data.synthetic import Simulation
from obligor.decisions.acts import with_payments
from obligor.decisions.ageing import ageing_of
from obligor.decisions.batch import Failed, Question, not_failed
from obligor.decisions.facts import promises_of
from obligor.decisions.questions import CreditRequest, DecisionRequest
from obligor.decisions.reasons import ExplainedRow, principal_reasons
from obligor.decisions.recorded import RecordedAnswer
from obligor.features.build import account_features
from obligor.features.catalogue import CATALOGUE, CHANGEABLE, NAMES
from obligor.model.baseline import Baseline, choose_baseline
from obligor.policy.credit.credit_file import NOTHING_ON_FILE
from obligor.policy.credit.decide import decide
from obligor.policy.credit.facts import Facts
from obligor.serving.assembly import Service
from obligor.training.runs.ledger_run import Trained, baseline_of
from obligor.training.samples.config import TrainingConfig
from tests.conftest import service_of

DAYS = (date(2024, 12, 31), date(2024, 6, 30))
FAMILY_OF = {feature.name: feature.family for feature in CATALOGUE}

Answer = dict[str, Any]


@pytest.fixture(scope="module")
def answers(
    trained: Trained,
    store: Path,
    simulation: Simulation,
    tmp_path_factory: pytest.TempPathFactory,
) -> list[Answer]:
    """The answer about every customer who had an invoice, on two days."""
    service = service_of(store, tmp_path_factory.mktemp("answers"))
    answers = list[Answer]()
    for as_of in DAYS:
        batch = answer_all(service, requests_of(simulation, as_of))
        answers.extend(orjson.loads(answer.body) for answer in not_failed(batch))
    return answers


def answer_all(
    service: Service, requests: Sequence[DecisionRequest]
) -> list[RecordedAnswer | Failed]:
    return service.decider.answer_all([Question(request) for request in requests])


def answer_one(service: Service, request: DecisionRequest) -> Answer:
    answer: Answer = orjson.loads(service.decider.answer(Question(request)).body)
    return answer


def requests_of(simulation: Simulation, as_of: date = DAYS[0]) -> list[DecisionRequest]:
    return [
        DecisionRequest(customer_id=customer_id, as_of=as_of)
        for customer_id in simulation.ledger["customers"]["customer_id"]
    ]


def row_of(answer: Answer) -> Floats:
    features = answer["features"]
    values = [features[name] for name in NAMES]
    return np.array([math.nan if value is None else value for value in values])


def feature_reasons(answer: Answer) -> list[Any]:
    return [reason for reason in answer["reasons"] if reason["feature"]]


# --- reasons


def test_resetting_the_named_features_lowers_the_pd_most(
    service: Service, answers: list[Answer]
) -> None:
    """The features that the reasons name matter most.

    On at least 95% of the declined, resetting them to their typical values lowers the
    PD more than each of 40 draws of as many other features.
    """
    model = service.champions.current().model
    draw = np.random.default_rng(0)
    typical = np.array(model.reference.values)
    is_faithful = list[bool]()
    for answer in answers:
        named = [
            NAMES.index(name)
            for reason in answer["reasons"]
            for name in reason["features"]
        ]
        if answer["outcome"] != "decline" or not named:
            continue
        others = [index for index in range(len(NAMES)) if index not in named]
        rows = np.repeat(row_of(answer)[None], 41, axis=0)
        rows[0, named] = typical[named]
        for row in rows[1:]:
            drawn = draw.choice(others, min(len(named), len(others)), replace=False)
            row[drawn] = typical[drawn]
        pd_12m = model.predict_pd_12m(rows)
        is_faithful.append(bool(pd_12m[0] < pd_12m[1:].min()))
    print(f"faithful on {np.mean(is_faithful):.1%} of {len(is_faithful)} declined")
    assert len(is_faithful) > 100
    assert np.mean(is_faithful) >= 0.95


def test_a_reason_names_a_family_once(answers: list[Answer]) -> None:
    for answer in answers:
        families = [reason["family"] for reason in feature_reasons(answer)]
        assert len(set(families)) == len(families)


def test_a_reason_names_only_what_raised_the_pd(
    service: Service, answers: list[Answer]
) -> None:
    reference = service.champions.current().model.reference
    typical = dict(zip(NAMES, reference.contributions, strict=True))
    for answer in answers:
        contributions = answer["explanation"]["contributions"]
        for reason in feature_reasons(answer):
            assert reason["feature"] in reason["features"]
            for name in reason["features"]:
                assert contributions[name] > typical[name]
                assert FAMILY_OF[name] == reason["family"]


def test_a_reason_names_only_features_that_the_model_uses(
    answers: list[Answer], trained: Trained
) -> None:
    booster = lgb.Booster(model_str=trained.fit.model.text)
    n_splits = dict(zip(NAMES, booster.feature_importance("split"), strict=True))
    for answer in answers:
        for reason in feature_reasons(answer):
            for name in reason["features"]:
                assert n_splits[name] > 0


def test_a_reason_gives_the_push_of_its_family(
    service: Service, answers: list[Answer]
) -> None:
    reference = service.champions.current().model.reference
    typical = dict(zip(NAMES, reference.contributions, strict=True))
    for answer in answers:
        contributions = answer["explanation"]["contributions"]
        for reason in feature_reasons(answer):
            push = sum(
                contributions[name] - typical[name]
                for name in NAMES
                if FAMILY_OF[name] == reason["family"]
            )
            assert reason["contribution"] == pytest.approx(push)
            assert reason["value"] == answer["features"][reason["feature"]]


def test_rules_that_decided_come_first(answers: list[Answer]) -> None:
    refused = [answer for answer in answers if answer["outcome"] != "approve"]
    assert len(refused) > 100
    for answer in refused:
        assert answer["reasons"][0]["code"].startswith("P")


def is_chinese(text: str) -> bool:
    return any("\u4e00" <= letter <= "\u9fff" for letter in text)


def test_reasons_are_in_both_languages(answers: list[Answer]) -> None:
    for answer in answers:
        if answer["outcome"] != "approve":
            for reason in answer["reasons"]:
                assert is_chinese(reason["text_zh"])
                assert not is_chinese(reason["text"])


def test_amounts_are_given_with_their_currency(answers: list[Answer]) -> None:
    amounts = [
        reason
        for answer in answers
        for reason in answer["reasons"]
        if reason["unit"] == "EUR" and reason["value"] is not None
    ]
    assert amounts
    for reason in amounts:
        assert "EUR" in reason["text"]
        assert "EUR" in reason["text_zh"]


# --- reasons do not depend on how questions are asked

COMPARED = (
    "pd_12m",
    "outcome",
    "reasons",
    "counterfactuals",
    "explanation",
    "rules",
)


def by_customer(
    requests: Sequence[DecisionRequest], answers: Sequence[RecordedAnswer | Failed]
) -> dict[str, object]:
    """What is compared of each answer, or why there is none."""
    parts = dict[str, object]()
    for request, answer in zip(requests, answers, strict=True):
        if isinstance(answer, RecordedAnswer):
            body = orjson.loads(answer.body)
            compared = {name: body.get(name) for name in COMPARED}
            parts[request.customer_id] = compared
        else:
            parts[request.customer_id] = str(answer.error)
    return parts


@pytest.fixture(scope="module")
def requests(simulation: Simulation) -> list[DecisionRequest]:
    return requests_of(simulation)[:300]


@pytest.fixture(scope="module")
def together(
    requests: list[DecisionRequest],
    trained: Trained,
    store: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, object]:
    """The answers to all questions in one batch."""
    service = service_of(store, tmp_path_factory.mktemp("together"))
    return by_customer(requests, answer_all(service, requests))


def test_reasons_do_not_depend_on_the_order(
    service: Service, requests: list[DecisionRequest], together: dict[str, object]
) -> None:
    assert by_customer(requests, answer_all(service, requests)) == together
    shuffled = random.Random(0).sample(requests, 300)
    assert by_customer(shuffled, answer_all(service, shuffled)) == together


@pytest.mark.parametrize("size", [1, 7])
def test_reasons_do_not_depend_on_the_batch_size(
    service: Service,
    requests: list[DecisionRequest],
    together: dict[str, object],
    size: int,
) -> None:
    answers = list[RecordedAnswer | Failed]()
    for start in range(0, 300, size):
        answers += answer_all(service, requests[start : start + size])
    assert by_customer(requests, answers) == together


def test_reasons_do_not_depend_on_threads(
    service: Service, requests: list[DecisionRequest], together: dict[str, object]
) -> None:
    with ThreadPoolExecutor(4) as threads:
        answers = list(
            threads.map(lambda request: answer_all(service, [request])[0], requests)
        )
    assert by_customer(requests, answers) == together


# --- the baseline


def test_the_bundle_holds_the_baseline(
    service: Service, answers: list[Answer], store: Path
) -> None:
    champion = service.champions.current()
    path = store / "models" / champion.sha256 / "baseline.json"
    baseline = json.loads(path.read_text())
    assert baseline["population"] == "approved customers of the training sample"
    assert 100 < baseline["n"] <= 5000
    assert answers[0]["explanation"]["baseline"] == {
        "population": baseline["population"],
        "n": baseline["n"],
    }
    read = Baseline.from_dict(baseline)
    assert read.contributions == champion.model.reference.contributions


def test_approved_customers_are_a_safer_baseline_than_all(trained: Trained) -> None:
    model = trained.fit.model
    train = trained.split.train
    of_all = TrainingConfig.model_validate(
        {"baseline": {"population": "all", "rows": 200}}
    )
    everyone = baseline_of(model, train, of_all, "EUR")
    assert everyone.population == "all customers of the training sample"
    assert everyone.n == 200
    approved = baseline_of(model, train, TrainingConfig(), "EUR")
    assert sum(approved.contributions) < sum(everyone.contributions)


def test_if_nobody_is_approved_the_baseline_is_of_all(trained: Trained) -> None:
    rows = trained.split.train.features.to_numpy()[:50]
    is_approved = np.zeros(50, dtype=bool)
    baseline = choose_baseline(rows, trained.fit.model.explain, is_approved)
    assert baseline.population == "all customers of the training sample"


def test_without_contributions_above_the_baseline_there_are_no_reasons() -> None:
    values = [1.0] * len(NAMES)
    contributions = [0.5] * len(NAMES)
    baseline = Baseline("x", 1, tuple(values), tuple(contributions))
    row = ExplainedRow(NAMES, values, contributions)
    assert principal_reasons((), row, baseline) == []
    contributions[NAMES.index("dpd_days")] = 0.75
    (reason,) = principal_reasons((), row, baseline)
    assert reason["feature"] == "dpd_days"
    assert reason["contribution"] == 0.25
    assert reason["unit"] == "days"


# --- counterfactuals


def items_to_pay(counterfactual: Any) -> int:
    """How many of the oldest items a counterfactual pays."""
    changes = {change["feature"]: change for change in counterfactual["changes"]}
    return int(changes["open_count"]["from"] - changes["open_count"]["to"])


def acts_of(answers: list[Answer], act: str) -> Iterator[tuple[Answer, Any]]:
    """The counterfactuals of one kind, with their answers."""
    for answer in answers:
        for counterfactual in answer["counterfactuals"]:
            if counterfactual["act"] == act:
                yield answer, counterfactual


def test_paying_as_a_counterfactual_says_leads_to_an_approval(
    service: Service,
    answers: list[Answer],
    simulation: Simulation,
    tmp_path: Path,
) -> None:
    """The payments are written to a ledger, and the question is asked again."""
    of_last_day = [answer for answer in answers if answer["as_of"] == "2024-12-31"]
    chosen = list(acts_of(of_last_day, "pay"))[:12]
    assert len(chosen) > 5
    for number, (answer, counterfactual) in enumerate(chosen):
        customer_id = answer["customer_id"]
        items = oldest_items(service, customer_id)[: items_to_pay(counterfactual)]
        ledger = ledger_of(simulation.ledger, customer_id)
        store = LedgerStore(f"sqlite:///{tmp_path}/{number}.db")
        store.write(paid(ledger, items))
        request = DecisionRequest(customer_id=customer_id, as_of=DAYS[0])
        decision = answer_one(replace(service, ledger=store), request)
        assert decision["outcome"] == "approve"
        assert decision["pd_12m"] == counterfactual["pd_12m"]


def oldest_items(service: Service, customer_id: str) -> list[tuple[str, float]]:
    """The open items of a customer and their balances, the oldest first."""
    stored = service.ledger.account(customer_id)
    account = known_account(stored, DAYS[0]).account
    items = list[tuple[str, float]]()
    for index in open_items(account):
        events = select(account.events, account.events.item == index)
        is_settling = np.isin(events.kind, (PAYMENT, CREDIT_NOTE, WRITE_OFF))
        settled = events.value[is_settling].sum()
        cents = account.items.amount[index] - settled
        items.append((account.invoice_ids[index], cents / 100))
    return items


def ledger_of(ledger: Ledger, customer_id: str) -> Ledger:
    """The rows of one customer."""
    invoices = ledger["invoices"]
    invoices = invoices[invoices["customer_id"] == customer_id]
    tables = {}
    for name in ledger.tables:
        frame = ledger[name]
        if "customer_id" in frame:
            frame = frame[frame["customer_id"] == customer_id]
        elif "invoice_id" in frame:
            frame = frame[frame["invoice_id"].isin(invoices["invoice_id"])]
        tables[name] = frame
    return replace(ledger, tables=tables)


def paid(ledger: Ledger, items: list[tuple[str, float]]) -> Ledger:
    """The ledger after some items were paid on its last day."""
    paid_on = pd.Timestamp(DAYS[0])
    payments = [
        {
            "payment_id": f"x-{invoice_id}",
            "invoice_id": invoice_id,
            "amount": balance,
            "kind": "payment",
            "paid_on": paid_on,
            "known_on": paid_on,
        }
        for invoice_id, balance in items
    ]
    frames = [ledger["payments"], pd.DataFrame(payments)]
    all_payments = pd.concat(frames, ignore_index=True)
    return replace(ledger, tables={**ledger.tables, "payments": all_payments})


def test_a_counterfactual_names_only_what_can_change(answers: list[Answer]) -> None:
    for answer in answers:
        for counterfactual in answer["counterfactuals"]:
            assert counterfactual["outcome"] == "approve"
            assert counterfactual["changes"]
            for change in counterfactual["changes"]:
                assert change["feature"] in CHANGEABLE


def test_paying_one_item_less_would_not_be_enough(
    service: Service, answers: list[Answer]
) -> None:
    model = service.champions.current().model
    n_tried = 0
    for answer, counterfactual in acts_of(answers, "pay"):
        account = known_account(
            service.ledger.account(answer["customer_id"]),
            date.fromisoformat(answer["as_of"]),
        )
        due = open_items(account.account)
        fewer = with_payments(account, due[: items_to_pay(counterfactual) - 1])
        row = account_features([fewer])
        equity, turnover = account.account.last_statement()
        facts = Facts(
            pd_12m=float(model.predict_pd_12m(row)[0]),
            currency="EUR",
            features=dict(zip(NAMES, row[0].tolist(), strict=True)),
            as_of=account.as_of,
            request=None,
            credit_file=NOTHING_ON_FILE,
            equity=equity,
            turnover=turnover,
            promises=promises_of(fewer),
            ageing=ageing_of(fewer),
        )
        rulebook = service.rulebooks.in_force(account.as_of)
        assert decide(facts, rulebook).outcome != "approve"
        n_tried += 1
    assert n_tried > 20


def test_nothing_is_offered_if_nothing_would_help(answers: list[Answer]) -> None:
    written_off = [
        answer
        for answer in answers
        if answer["reasons"] and answer["reasons"][0]["code"] == "P04"
    ]
    approved = [answer for answer in answers if answer["outcome"] == "approve"]
    assert written_off
    assert approved
    for answer in (*written_off, *approved):
        assert not answer["counterfactuals"]


def test_at_most_three_acts_are_offered(answers: list[Answer]) -> None:
    for answer in answers:
        assert len(answer["counterfactuals"]) <= 3


def test_a_request_too_large_is_offered_the_amount_that_fits(
    service: Service, answers: list[Answer]
) -> None:
    n_offered = 0
    for answer in answers[:40]:
        room = float(answer["limit"]["amount"]) - answer["features"]["open_amount"]
        if answer["outcome"] != "approve" or room < 1:
            continue
        customer_id = answer["customer_id"]
        refused = answer_one(service, request_for(customer_id, "50000000.00"))
        if refused["reasons"][0]["code"] != "P24":
            continue
        acts = {act["act"]: act for act in refused["counterfactuals"]}
        amount = f"{acts['ask_less']['changes'][0]['to']:.2f}"
        smaller = answer_one(service, request_for(customer_id, amount))
        assert smaller["outcome"] == "approve"
        n_offered += 1
    assert n_offered > 3


def request_for(customer_id: str, amount: str) -> DecisionRequest:
    return DecisionRequest(
        customer_id=customer_id,
        as_of=DAYS[0],
        request=CreditRequest(amount=Decimal(amount), currency="EUR"),
    )
