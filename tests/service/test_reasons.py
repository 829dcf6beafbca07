"""Reasons that are true and counterfactuals that hold: measured on every customer of a simulated ledger."""

from __future__ import annotations

import json
import math
import random
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

from obligor.data.account import CREDIT_NOTE, PAYMENT, WRITE_OFF, select
from obligor.data.asof import known_account
from obligor.data.ledger import Ledger
from obligor.data.open_items import open_items
from obligor.data.store import LedgerStore
from obligor.data.synthetic import Simulation
from obligor.decisions.acts import with_payments
from obligor.decisions.batch import Failed, Question
from obligor.decisions.facts import promises_of
from obligor.decisions.questions import CreditRequest, DecisionRequest
from obligor.decisions.reasons import principal_reasons
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


@pytest.fixture(scope="module")
def answers(
    trained: Trained,
    store: Path,
    simulation: Simulation,
    tmp_path_factory: pytest.TempPathFactory,
) -> list[dict[str, Any]]:
    """The answer about every customer who had an invoice, on two days."""
    service = service_of(store, tmp_path_factory.mktemp("answers"))
    return [
        orjson.loads(answer.body)
        for as_of in DAYS
        for answer in answered(service, asked(simulation, as_of))
        if isinstance(answer, RecordedAnswer)
    ]


def answered(
    service: Service, requests: list[DecisionRequest]
) -> list[RecordedAnswer | Failed]:
    return service.decider.answer_all([Question(request) for request in requests])


def asked(simulation: Simulation, as_of: date = DAYS[0]) -> list[DecisionRequest]:
    return [
        DecisionRequest(customer_id=one, as_of=as_of)
        for one in simulation.ledger["customers"]["customer_id"]
    ]


def row_of(answer: dict[str, Any]) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.array(
        [
            math.nan if answer["features"][name] is None else answer["features"][name]
            for name in NAMES
        ]
    )


def test_resetting_the_named_features_lowers_the_pd_most(
    service: Service, answers: list[dict[str, Any]]
) -> None:
    """On at least 95% of the declined: more than each of 40 draws of as many other features."""
    model, draw, won = (
        service.champions.current().model,
        np.random.default_rng(0),
        list[bool](),
    )
    typical = np.array(model.reference.values)
    for answer in answers:
        named = [
            NAMES.index(name)
            for reason in answer["reasons"]
            for name in reason["features"]
        ]
        if answer["outcome"] != "decline" or not named:
            continue
        others = [place for place in range(len(NAMES)) if place not in named]
        rows = np.repeat(row_of(answer)[None], 41, axis=0)
        rows[0, named] = typical[named]
        for row in rows[1:]:
            drawn = draw.choice(others, min(len(named), len(others)), replace=False)
            row[drawn] = typical[drawn]
        pd_12m = model.predict_pd_12m(rows)
        won.append(bool(pd_12m[0] < pd_12m[1:].min()))
    print(f"faithful on {np.mean(won):.1%} of {len(won)} declined")
    assert len(won) > 100
    assert np.mean(won) >= 0.95


def test_a_reason_names_only_what_raised_the_pd_and_is_used(
    service: Service, answers: list[dict[str, Any]], trained: Trained
) -> None:
    reference = service.champions.current().model.reference
    typical = dict(zip(NAMES, reference.contributions, strict=True))
    used = {
        name
        for name, n in zip(
            NAMES,
            lgb.Booster(model_str=trained.fit.model.text).feature_importance("split"),
            strict=True,
        )
        if n
    }
    families = {feature.name: feature.family for feature in CATALOGUE}
    for answer in answers:
        given = answer["explanation"]["contributions"]
        mine = [reason for reason in answer["reasons"] if reason["feature"]]
        assert len({reason["family"] for reason in mine}) == len(mine)
        for reason in mine:
            assert reason["feature"] in reason["features"]
            for name in reason["features"]:
                assert name in used
                assert given[name] > typical[name]
                assert families[name] == reason["family"]
            family = [name for name in NAMES if families[name] == reason["family"]]
            assert reason["contribution"] == pytest.approx(
                sum(given[name] - typical[name] for name in family)
            )
            assert reason["value"] == answer["features"][reason["feature"]]


def test_rules_that_decided_come_first_in_both_languages(
    answers: list[dict[str, Any]],
) -> None:
    refused = [answer for answer in answers if answer["outcome"] != "approve"]
    assert len(refused) > 100
    for answer in refused:
        first = answer["reasons"][0]
        assert first["code"].startswith("P")
        for reason in answer["reasons"]:
            assert any("\u4e00" <= letter <= "\u9fff" for letter in reason["text_zh"])
            assert not any("\u4e00" <= letter <= "\u9fff" for letter in reason["text"])
    money = [
        r
        for a in answers
        for r in a["reasons"]
        if r["unit"] == "EUR" and r["value"] is not None
    ]
    assert money
    assert all(
        "EUR" in reason["text"] and "EUR" in reason["text_zh"] for reason in money
    )


def test_reasons_do_not_depend_on_order_batch_size_or_threads(
    service: Service, simulation: Simulation
) -> None:
    requests = asked(simulation)[:300]

    def said(answers: list[Any], of: list[DecisionRequest]) -> dict[str, Any]:
        parts = (
            "pd_12m",
            "outcome",
            "reasons",
            "counterfactuals",
            "explanation",
            "rules",
        )
        found = dict[str, Any]()
        for request, answer in zip(of, answers, strict=True):
            body = (
                orjson.loads(answer.body) if isinstance(answer, RecordedAnswer) else {}
            )
            found[request.customer_id] = (
                {part: body.get(part) for part in parts} if body else str(answer.error)
            )
        return found

    together = said(answered(service, requests), requests)
    assert said(answered(service, requests), requests) == together  # asked again
    shuffled = random.Random(0).sample(requests, 300)
    assert said(answered(service, shuffled), shuffled) == together
    for size in (1, 7):
        parts = [answered(service, requests[n : n + size]) for n in range(0, 300, size)]
        assert said([answer for part in parts for answer in part], requests) == together
    with ThreadPoolExecutor(4) as threads:
        alone = list(
            threads.map(lambda request: answered(service, [request])[0], requests)
        )
    assert said(alone, requests) == together


def test_a_baseline_is_kept_in_the_bundle(
    service: Service, answers: list[dict[str, Any]], store: Path
) -> None:
    champion = service.champions.current()
    kept = json.loads(
        (store / "models" / champion.sha256 / "baseline.json").read_text()
    )
    assert kept["population"] == "approved customers of the training sample"
    assert 100 < kept["n"] <= 5000
    assert answers[0]["explanation"]["baseline"] == {
        "population": kept["population"],
        "n": kept["n"],
    }
    assert (
        Baseline.from_dict(kept).contributions == champion.model.reference.contributions
    )


def test_a_baseline_of_all_or_of_the_approved(trained: Trained) -> None:
    model, train = trained.fit.model, trained.split.train
    everyone = TrainingConfig.model_validate(
        {"baseline": {"population": "all", "rows": 200}}
    )
    found = baseline_of(model, train, everyone, "EUR")
    assert (found.population, found.n) == ("all customers of the training sample", 200)
    approved = baseline_of(model, train, TrainingConfig(), "EUR")
    assert sum(approved.contributions) < sum(
        found.contributions
    )  # the approved are the safer ones
    rows = train.features.to_numpy()[:50]
    nobody = choose_baseline(rows, model.explain, np.zeros(50, dtype=bool))
    assert nobody.population == "all customers of the training sample"


def test_without_contributions_above_the_baseline_there_are_no_reasons() -> None:
    values, given = [1.0] * len(NAMES), [0.5] * len(NAMES)
    baseline = Baseline("x", 1, tuple(values), (0.5,) * len(NAMES))
    assert principal_reasons((), values, given, baseline) == []
    given[NAMES.index("dpd_days")] = 0.75
    (only,) = principal_reasons((), values, given, baseline)
    assert (only["feature"], only["contribution"], only["unit"]) == (
        "dpd_days",
        0.25,
        "days",
    )


def test_paying_what_a_counterfactual_says_makes_it_an_approval(
    service: Service,
    answers: list[dict[str, Any]],
    simulation: Simulation,
    tmp_path: Path,
) -> None:
    """The payments are put into a ledger, the ledger into a store, and the question is asked again."""
    chosen = [
        a
        for a in answers
        if a["as_of"] == "2024-12-31"
        and any(act["act"] == "pay" for act in a["counterfactuals"])
    ][:12]
    assert len(chosen) > 5
    for place, answer in enumerate(chosen):
        (act,) = (act for act in answer["counterfactuals"] if act["act"] == "pay")
        counts = next(
            change for change in act["changes"] if change["feature"] == "open_count"
        )
        paid_on = pd.Timestamp(2024, 12, 31)
        payments = [
            {
                "payment_id": f"x-{place}-{invoice_id}",
                "invoice_id": invoice_id,
                "amount": balance,
                "kind": "payment",
                "paid_on": paid_on,
                "known_on": paid_on,
            }
            for invoice_id, balance in oldest_items(service, answer)[
                : int(counts["from"] - counts["to"])
            ]
        ]
        again = ask_again(
            service,
            simulation.ledger,
            payments,
            answer["customer_id"],
            tmp_path / f"{place}.db",
        )
        assert (again["outcome"], again["pd_12m"]) == ("approve", act["pd_12m"])


def oldest_items(service: Service, answer: dict[str, Any]) -> list[tuple[str, float]]:
    account = known_account(
        service.ledger.account(answer["customer_id"]), date(2024, 12, 31)
    ).account
    balance = {place: 0 for place in open_items(account)}
    for place in balance:
        events = select(account.events, account.events.item == place)
        is_settling = np.isin(events.kind, (PAYMENT, CREDIT_NOTE, WRITE_OFF))
        settled = events.value[is_settling].sum()
        balance[place] = account.items.amount[place] - settled
    return [
        (account.invoice_ids[place], cents / 100) for place, cents in balance.items()
    ]


def ask_again(
    service: Service,
    ledger: Ledger,
    payments: list[dict[str, Any]],
    customer: str,
    at: Path,
) -> Any:
    more = pd.concat([ledger["payments"], pd.DataFrame(payments)], ignore_index=True)
    invoices = ledger["invoices"][ledger["invoices"]["customer_id"] == customer]
    tables = {table: ledger[table] for table in ledger.tables} | {"payments": more}
    for table, frame in tables.items():
        if "invoice_id" in frame and table != "invoices":
            tables[table] = frame[frame["invoice_id"].isin(invoices["invoice_id"])]
    tables |= {
        "invoices": invoices,
        "customers": ledger["customers"][
            ledger["customers"]["customer_id"] == customer
        ],
    }
    for table in ("limits", "financials"):
        tables[table] = ledger[table][ledger[table]["customer_id"] == customer]
    store = LedgerStore(f"sqlite:///{at}")
    store.write(replace(ledger, tables=tables))
    return orjson.loads(
        replace(service, ledger=store)
        .decider.answer(Question(DecisionRequest(customer_id=customer, as_of=DAYS[0])))
        .body
    )


def test_a_counterfactual_is_the_smallest_of_its_kind(
    service: Service, answers: list[dict[str, Any]]
) -> None:
    model, tried = service.champions.current().model, 0
    for answer in answers:
        for act in answer["counterfactuals"]:
            assert act["outcome"] == "approve"
            assert act["changes"]
            assert all(change["feature"] in CHANGEABLE for change in act["changes"])
            if act["act"] != "pay":
                continue
            counts = next(c for c in act["changes"] if c["feature"] == "open_count")
            known = known_account(
                service.ledger.account(answer["customer_id"]),
                date.fromisoformat(answer["as_of"]),
            )
            fewer = with_payments(
                known,
                open_items(known.account)[: int(counts["from"] - counts["to"]) - 1],
            )
            row = account_features([fewer])
            features = dict(zip(NAMES, row[0].tolist(), strict=True))
            equity, turnover = known.account.last_statement()
            facts = Facts(
                float(model.predict_pd_12m(row)[0]),
                "EUR",
                features,
                known.as_of,
                None,
                NOTHING_ON_FILE,
                equity,
                turnover,
                promises_of(fewer),
            )
            assert decide(facts, service.rulebooks.released[0]).outcome != "approve"
            tried += 1
    assert tried > 20


def test_nothing_is_offered_where_nothing_would_do(
    answers: list[dict[str, Any]],
) -> None:
    written_off = [
        answer
        for answer in answers
        if answer["reasons"] and answer["reasons"][0]["code"] == "P04"
    ]
    approved = [answer for answer in answers if answer["outcome"] == "approve"]
    assert written_off
    assert approved
    assert not any(answer["counterfactuals"] for answer in written_off + approved)
    assert all(len(answer["counterfactuals"]) <= 3 for answer in answers)


def test_a_request_too_large_is_offered_the_amount_that_fits(
    service: Service, answers: list[dict[str, Any]]
) -> None:
    asked_more = 0
    for answer in answers[:40]:
        room = float(answer["limit"]["amount"]) - answer["features"]["open_amount"]
        if answer["outcome"] != "approve" or room < 1:
            continue
        more = CreditRequest(amount=Decimal("50000000.00"), currency="EUR")
        question = DecisionRequest(
            customer_id=answer["customer_id"], as_of=DAYS[0], request=more
        )
        again = orjson.loads(service.decider.answer(Question(question)).body)
        if again["reasons"][0]["code"] != "P24":
            continue
        less = next(act for act in again["counterfactuals"] if act["act"] == "ask_less")
        to = Decimal(f"{less['changes'][0]['to']:.2f}")
        fits = question.model_copy(
            update={"request": CreditRequest(amount=to, currency="EUR")}
        )
        assert (
            orjson.loads(service.decider.answer(Question(fits)).body)["outcome"]
            == "approve"
        )
        asked_more += 1
    assert asked_more > 3
