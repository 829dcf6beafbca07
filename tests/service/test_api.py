"""The HTTP interface on a real model, ledger and record."""

from __future__ import annotations

import json
import logging
import math
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from typing import Any

import pytest
from pydantic import TypeAdapter
from starlette.testclient import TestClient

from obligor.data.synthetic import Simulation
from obligor.decisions.answer import DecisionAnswer
from obligor.decisions.questions import DecisionRequest
from obligor.features.catalogue import CATALOGUE, NAMES
from obligor.serving.api.openapi import openapi
from obligor.serving.api.routes import ROUTES
from tests import ascii

INLINE: dict[str, Any] = {
    "currency": "EUR",
    "customers": [{"registered_on": "2023-01-01"}],
    "invoices": [
        {
            "invoice_id": f"I{n}",
            "issued_on": str(date(2024, 1, 5) + timedelta(days=20 * n)),
            "due_on": str(date(2024, 2, 4) + timedelta(days=20 * n)),
            "amount": "1000.00",
            "currency": "EUR",
        }
        for n in range(17)
    ],
    "payments": [
        {
            "invoice_id": f"I{n}",
            "paid_on": str(date(2024, 2, 10) + timedelta(days=20 * n)),
            "amount": 1000,
        }
        for n in range(15)
    ],
}


def post(
    client: TestClient, body: Any = None, key: str | None = None, **more: Any
) -> Any:
    headers = {"Idempotency-Key": key} if key else {}
    return client.post(
        "/decisions",
        json={"customer_id": "C0000001", **more} if body is None else body,
        headers=headers,
    )


def inline(**changes: Any) -> dict[str, Any]:
    return {
        "customer_id": "NEW",
        "as_of": "2024-12-31",
        "ledger": {**INLINE, **changes},
    }


REQUEST = {"amount": "2500.00", "currency": "EUR", "terms_days": 30}


def test_a_decision_is_complete(client: TestClient) -> None:
    response = post(client, request=REQUEST)
    assert response.status_code == 200, response.text
    answer = response.json()
    TypeAdapter(DecisionAnswer).validate_python(answer)
    assert (answer["customer_id"], answer["as_of"]) == ("C0000001", "2024-12-31")
    assert 0 < answer["pd_12m"] < 1
    assert answer["model"]["version"] == "1"
    assert len(answer["model"]["sha256"]) == len(answer["policy"]["sha256"]) == 64
    assert answer["ledger"] == {"source": "store", "observed_until": "2024-12-31"}


def test_the_contributions_of_a_decision_add_up(client: TestClient) -> None:
    answer = post(client, request=REQUEST).json()
    explanation = answer["explanation"]
    total = explanation["base"] + sum(explanation["contributions"].values())
    assert math.isclose(total, explanation["margin"], abs_tol=1e-9)
    assert list(explanation["contributions"]) == list(NAMES)
    assert list(answer["features"]) == list(NAMES)


def test_the_limit_is_the_cap_that_binds(client: TestClient) -> None:
    limit = post(client, request=REQUEST).json()["limit"]
    assert set(limit["caps"]) >= {"need", "economic"}
    assert limit["amount"] == limit["caps"][limit["binding_cap"]]


def test_every_rule_that_decided_is_traced(client: TestClient) -> None:
    answer = post(client, request=REQUEST).json()
    assert [rule["table"] for rule in answer["rules"]] == [
        "master_scale",
        "overlay",
        "customer_class",
        "hard_stops",
        "terms",
        "ladder",
        "exposure_caps",
        "step_up",
        "authority",
        "outcome",
        "review",
    ]


@pytest.fixture
def some_answers(client: TestClient, simulation: Simulation) -> list[Any]:
    """Decisions about the customers among the first forty who have an invoice."""
    responses = [
        post(client, customer_id=customer_id)
        for customer_id in simulation.ledger["customers"]["customer_id"][:40]
    ]
    return [response.json() for response in responses if response.status_code == 200]


def feature_reasons(answer: Any) -> list[Any]:
    return [reason for reason in answer["reasons"] if reason["feature"]]


def test_rules_come_before_features_among_at_most_four_reasons(
    some_answers: list[Any],
) -> None:
    for answer in some_answers:
        kinds = [reason["code"][0] for reason in answer["reasons"]]
        assert len(kinds) <= 4
        assert kinds == sorted(kinds, reverse=True)  # P before F
        assert (answer["outcome"] == "approve") == ("P" not in kinds)


def test_features_are_ordered_by_what_they_add(some_answers: list[Any]) -> None:
    for answer in some_answers:
        contributions = [reason["contribution"] for reason in feature_reasons(answer)]
        assert contributions == sorted(contributions, reverse=True)
        assert all(contribution > 0 for contribution in contributions)


def test_a_family_is_named_once_with_the_value_of_its_feature(
    some_answers: list[Any],
) -> None:
    family_of = {feature.name: feature.family for feature in CATALOGUE}
    n_reasons = 0
    for answer in some_answers:
        reasons = feature_reasons(answer)
        families = [family_of[reason["feature"]] for reason in reasons]
        assert len(families) == len(set(families))
        for reason in reasons:
            assert reason["value"] == answer["features"][reason["feature"]]
        n_reasons += len(reasons)
    assert n_reasons > 30


def test_the_stored_answer_equals_the_one_given(client: TestClient) -> None:
    response = post(client)
    stored = client.get(f"/decisions/{response.json()['decision_id']}")
    assert stored.content == response.content
    listed = client.get("/customers/C0000001/decisions").json()
    assert listed["decisions"] == [response.json()]


def test_a_repeated_key_returns_the_stored_answer(client: TestClient) -> None:
    first = post(client, key="k1")
    repeated = post(client, key="k1")
    other = post(client, key="k2")
    assert first.content == repeated.content
    assert other.json()["decision_id"] != first.json()["decision_id"]
    # The same request, written in another way.
    text = '{ "as_of": null, "customer_id": "C0000001" }'
    reordered = client.post(
        "/decisions",
        content=text,
        headers={"Content-Type": "application/json", "Idempotency-Key": "k1"},
    )
    assert reordered.content == first.content


def test_a_key_with_another_body_is_409(client: TestClient) -> None:
    post(client, key="k1")
    response = post(client, key="k1", customer_id="C0000002")
    assert response.status_code == 409
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["where"] == "Idempotency-Key"


def test_an_inline_ledger_needs_no_stored_customer(client: TestClient) -> None:
    answer = post(client, inline()).json()
    assert answer["ledger"] == {"source": "request", "observed_until": None}
    assert answer["features"]["invoice_count_365d"] == 17
    assert answer["features"]["dbt_days_mean_365d"] == 6
    assert answer["features"]["open_amount"] == 2000


def test_an_inline_ledger_gives_the_answer_of_the_stored_one(
    client: TestClient, simulation: Simulation
) -> None:
    customer_id = "C0000003"
    tables = {
        table: [sent_row(table, row) for row in rows]
        for table, rows in ascii.rows(simulation.ledger, customer_id).items()
    }
    body = {
        "customer_id": customer_id,
        "as_of": "2024-06-30",
        "ledger": {"currency": "EUR", **tables},
    }
    sent = post(client, body).json()
    stored = post(client, customer_id=customer_id, as_of="2024-06-30").json()
    for part in ("features", "pd_12m", "explanation", "limit", "outcome", "rules"):
        assert sent[part] == stored[part], part


def sent_row(table: str, row: dict[str, Any]) -> dict[str, Any]:
    """A row of a ledger as a request sends it."""
    left_out = {"customer_id", "sector", "country"}
    if table != "payments":
        left_out.add("payment_id")
    return {
        name: str(value) if isinstance(value, date) else value
        for name, value in row.items()
        if name not in left_out
    }


# --- what accountants write, sent with the question


def test_late_billing_is_used_and_noted(client: TestClient) -> None:
    answer = post(client, changed("invoices", 16, due_on="2024-01-01")).json()
    assert answer["ledger"]["notes"][0]["text"] == (
        "1 invoice was due before issue; the due dates count"
    )
    assert answer["features"]["dpd_days"] > 300
    replay = client.post(f"/decisions/{answer['decision_id']}/replay").json()
    assert replay["is_equal"], replay["differences"]
    assert "notes" not in post(client, inline()).json()["ledger"]


def test_a_payment_that_came_back_leaves_its_invoice_open(client: TestClient) -> None:
    returned = {
        "invoice_id": "I0",
        "paid_on": "2024-03-01",
        "amount": "1000.00",
        "kind": "returned",
    }
    payments = [*INLINE["payments"], returned]
    answer = post(client, inline(payments=payments)).json()
    assert answer["features"]["open_amount"] == 3000
    negative = {**returned, "amount": "-1000.00", "kind": "payment"}
    payments = [*INLINE["payments"], negative]
    assert (
        post(client, inline(payments=payments)).json()["features"]
        == (answer["features"])
    )


def test_money_without_an_item_is_the_customers(client: TestClient) -> None:
    receipt = {"paid_on": "2024-12-01", "amount": "500.00"}
    payments = [*INLINE["payments"], receipt]
    oldest_first = post(client, inline(payments=payments)).json()
    assert oldest_first["features"]["open_amount"] == 1500
    as_allocated = post(client, inline(payments=payments, unapplied="as_allocated"))
    assert as_allocated.json()["features"]["open_amount"] == 2000
    assert as_allocated.json()["position"]["unapplied_amount"] == "500.00"


def test_a_receipt_is_allocated_and_a_memo_is_money(client: TestClient) -> None:
    receipt = {"payment_id": "R", "paid_on": "2024-12-01", "amount": "500.00"}
    memo = {**INLINE["invoices"][0], "invoice_id": "M", "amount": "-200.00"}
    allocation = {
        "payment_id": "R",
        "invoice_id": "I16",
        "allocated_on": "2024-12-02",
        "amount": "500.00",
    }
    body = inline(
        invoices=[*INLINE["invoices"], memo],
        payments=[*INLINE["payments"], receipt],
        allocations=[allocation],
        unapplied="as_allocated",
    )
    answer = post(client, body).json()
    assert answer["features"]["open_amount"] == 1500
    assert answer["position"]["unapplied_amount"] == "200.00"
    replay = client.post(f"/decisions/{answer['decision_id']}/replay").json()
    assert replay["is_equal"], replay["differences"]


def test_a_request_without_the_new_fields_is_recorded_as_before() -> None:
    """A request that was recorded by an earlier version must compare equal."""
    text = DecisionRequest.model_validate_json(json.dumps(inline())).model_dump_json()
    recorded = json.loads(text)["ledger"]
    assert set(recorded) == {
        "currency",
        "customers",
        "invoices",
        "payments",
        "promises",
        "disputes",
        "write_offs",
        "limits",
        "financials",
        "fx_rates",
    }
    assert set(recorded["invoices"][0]) == {
        "invoice_id",
        "issued_on",
        "due_on",
        "amount",
        "currency",
        "known_on",
    }
    assert set(recorded["payments"][0]) == {
        "invoice_id",
        "paid_on",
        "amount",
        "kind",
        "payment_id",
        "known_on",
    }


def test_the_past_is_answered_as_it_was_known(client: TestClient) -> None:
    today = post(client, inline()).json()
    earlier = post(client, {**inline(), "as_of": "2024-03-01"}).json()
    assert earlier["features"]["invoice_count_365d"] == 3
    assert earlier["features"]["open_amount"] == 1000  # I1 was paid on that day
    assert today["features"] != earlier["features"]


def test_a_thin_file_is_referred_and_says_so(client: TestClient) -> None:
    answer = post(client, inline(invoices=[], payments=[])).json()
    assert answer["outcome"] == "refer"
    assert answer["reasons"][0]["code"] == "P01"
    assert "thin file" in answer["reasons"][0]["text"]


def test_ten_thousand_invoices_of_one_customer(client: TestClient) -> None:
    many = [
        {
            **INLINE["invoices"][0],
            "invoice_id": f"I{n}",
            "issued_on": str(date(2024, 1, 2) + timedelta(days=n % 300)),
            "due_on": str(date(2024, 12, 1)),
        }
        for n in range(10_000)
    ]
    answer = post(client, inline(invoices=many, payments=[])).json()
    assert answer["features"]["invoice_count_365d"] == 10_000
    assert answer["features"]["overdue_amount"] == 10_000_000


def test_an_overdue_customer_gets_a_collection_priority(client: TestClient) -> None:
    answer = post(client, {**inline(), "as_of": "2024-12-05"}).json()
    assert answer["features"]["overdue_amount"] == 1000
    assert answer["collection"]["stage"] == "reminder"


def test_a_request_in_another_currency_is_converted(client: TestClient) -> None:
    rate = [{"currency": "USD", "rate_on": "2024-01-01", "rate": 0.9}]
    body = {
        **inline(fx_rates=rate),
        "request": {"amount": "100000.00", "currency": "USD"},
    }
    # need = open 2,000 + 100,000 x 0.9
    assert post(client, body).json()["limit"]["caps"]["need"] == "92000.00"
    missing = post(
        client, {**inline(), "request": {"amount": "1.00", "currency": "USD"}}
    )
    assert (missing.status_code, missing.json()["where"]) == (422, "fx_rates")


def changed(table: str, row: int = 0, **fields: Any) -> dict[str, Any]:
    rows = [dict(r) for r in INLINE[table]]
    rows[row] |= fields
    return inline(**{table: rows})


DAY = "2024-12-01"
ALLOCATED = {"invoice_id": "I0", "allocated_on": DAY, "amount": 1}


def added(table: str, **fields: Any) -> dict[str, Any]:
    """The usual ledger with a row in another table."""
    return inline(**{table: [fields]})


@pytest.mark.parametrize(
    ("body", "where", "detail"),
    [
        ({}, "customer_id", "required"),
        ({"customer_id": ""}, "customer_id", "at least 1 character"),
        ({"customer_id": 5}, "customer_id", "valid string"),
        ({"customer_id": "C", "as_off": "2024-01-01"}, "as_off", "not permitted"),
        ({"customer_id": "C", "as_of": "31.12.2024"}, "as_of", "valid date"),
        (
            {"customer_id": "C0000001", "as_of": "2030-01-01"},
            "as_of",
            "lies in the future",
        ),
        (
            {"customer_id": "C0000001", "as_of": "2015-01-01"},
            "as_of",
            "no invoice was known on 2015-01-01",
        ),
        (
            {"customer_id": "C", "request": {"amount": "-5", "currency": "EUR"}},
            "request.amount",
            "greater than 0",
        ),
        (
            {"customer_id": "C", "request": {"amount": "NaN", "currency": "EUR"}},
            "request.amount",
            "finite",
        ),
        (
            {"customer_id": "C", "request": {"amount": True, "currency": "EUR"}},
            "request.amount",
            "ecimal",
        ),
        (
            {"customer_id": "C", "request": {"amount": 5, "currency": "XXZ"}},
            "request.currency",
            "unknown currency",
        ),
        (
            {
                "customer_id": "C",
                "request": {"amount": 5, "currency": "EUR", "terms_days": 1.5},
            },
            "request.terms_days",
            "integer",
        ),
        (changed("invoices", amount="0"), "ledger.invoices[0].amount", "is 0"),
        (changed("payments", amount=0), "ledger.payments[0].amount", "is 0"),
        (
            changed("invoices", currency="EURO"),
            "ledger.invoices[0].currency",
            "at most 3 characters",
        ),
        (
            changed("invoices", issued_on="2025-06-01", due_on="2025-07-01"),
            "ledger.invoices[0].issued_on",
            "future",
        ),
        (
            changed("invoices", 1, invoice_id="I0"),
            "ledger.invoices[1].invoice_id",
            "'I0' is used twice",
        ),
        (changed("invoices", currency="USD"), "fx_rates", "no rate from USD to EUR"),
        (
            changed("payments", invoice_id="I99"),
            "ledger.payments[0].invoice_id",
            "'I99' is unknown",
        ),
        (
            changed("payments", paid_on="2025-02-02"),
            "ledger.payments[0].paid_on",
            "lies in the future",
        ),
        (changed("payments", kind="gift"), "ledger.payments[0].kind", "payment"),
        (
            added("allocations", payment_id="P9", **ALLOCATED),
            "ledger.allocations[0].payment_id",
            "'P9' is unknown",
        ),
        (
            added("cancellations", cancelled_on="2024-12-01"),
            "ledger.cancellations[0].invoice_id",
            "names 0 of invoice_id and payment_id",
        ),
        (
            added("extensions", invoice_id="I0", extended_on="2025-02-02", due_on=DAY),
            "ledger.extensions[0].extended_on",
            "lies in the future",
        ),
        (
            added("promises", invoice_id="D", promised_on=DAY, pay_by=DAY, amount=1),
            "ledger.promises[0].invoice_id",
            "'D' is unknown",
        ),
        (
            {**inline(), "ledger": {**INLINE, "unapplied": "newest_first"}},
            "ledger.unapplied",
            "oldest_first",
        ),
        (
            changed("payments", payment_id="P") | {"as_of": "2023-01-01"},
            "as_of",
            "no invoice was known",
        ),
        ([], "body", "an object"),
    ],
)
def test_invalid_input_names_its_field(
    client: TestClient, body: Any, where: str, detail: str
) -> None:
    response = post(client, body)
    problem = response.json()
    assert response.status_code == 422, problem
    assert response.headers["content-type"] == "application/problem+json"
    assert problem["where"] == where
    assert detail in problem["detail"]
    assert "Traceback" not in response.text


def test_a_payment_before_its_invoice_is_an_early_payment(client: TestClient) -> None:
    answer = post(client, changed("payments", paid_on="2024-01-01"))
    assert answer.status_code == 200


def test_an_unknown_customer_is_404(client: TestClient) -> None:
    response = post(client, customer_id="NOBODY")
    assert response.status_code == 404
    assert "no customer 'NOBODY'" in response.json()["detail"]


def test_an_unknown_decision_or_route_is_404(client: TestClient) -> None:
    assert client.get("/decisions/nothing").status_code == 404
    assert client.get("/nowhere").json()["status"] == 404
    assert client.get("/customers/NOBODY/decisions").json() == {
        "customer_id": "NOBODY",
        "decisions": [],
    }
    assert client.put("/decisions").status_code == 405


@pytest.mark.parametrize(
    "media", ["text/plain", "application/x-www-form-urlencoded", None]
)
def test_only_json_is_taken(client: TestClient, media: str | None) -> None:
    headers = {"Content-Type": media} if media else {}
    assert client.post("/decisions", content=b"{}", headers=headers).status_code == 415


@pytest.mark.parametrize(
    "content", [b"", b"{", b"\xff\xfe", b'{"customer_id": NaN}', b"[" * 100_000]
)
def test_broken_json_is_422(client: TestClient, content: bytes) -> None:
    response = client.post(
        "/decisions", content=content, headers={"Content-Type": "application/json"}
    )
    assert response.status_code == 422


@pytest.mark.parametrize("key", ["", "k" * 201, "k\u00e9".encode()])
def test_an_unusable_key_is_422(client: TestClient, key: str | bytes) -> None:
    response = client.post(
        "/decisions", json={"customer_id": "C0000001"}, headers={"Idempotency-Key": key}
    )
    assert response.status_code == 422


BATCH = [{"customer_id": "C0000001"}, {"customer_id": "NOBODY"}, inline()]


def post_batch(client: TestClient, decisions: list[Any], key: str | None = None) -> Any:
    headers = {"Idempotency-Key": key} if key else {}
    body = {"decisions": decisions}
    return client.post("/decisions/batch", json=body, headers=headers)


def test_a_question_of_a_batch_may_fail_alone(client: TestClient) -> None:
    items = post_batch(client, BATCH).json()["decisions"]
    assert [item["status"] for item in items] == [200, 404, 200]
    assert items[1]["problem"]["where"] == "customer_id"


def test_a_batch_decides_as_single_questions_do(client: TestClient) -> None:
    first = post_batch(client, BATCH).json()["decisions"][0]["decision"]
    single = post(client).json()
    for part in ("features", "pd_12m", "explanation", "reasons", "limit", "rules"):
        assert first[part] == single[part]
    assert client.get(f"/decisions/{first['decision_id']}").json() == first


def test_a_batch_with_a_repeated_key_gets_the_stored_answers(
    client: TestClient,
) -> None:
    answer = post_batch(client, BATCH, key="b").json()
    assert post_batch(client, BATCH, key="b").json() == answer


def test_a_batch_takes_a_thousand_and_no_more(client: TestClient) -> None:
    questions = [
        {"customer_id": f"C{number % 700:07d}", "as_of": "2024-12-31"}
        for number in range(1001)
    ]
    assert post_batch(client, questions).status_code == 422
    assert post_batch(client, []).status_code == 422
    items = post_batch(client, questions[:1000]).json()["decisions"]
    assert sum(item["status"] == 200 for item in items) > 950


def test_requests_with_one_key_at_one_time_get_one_answer(client: TestClient) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: post(client, key="race"), range(16)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.content for answer in answers}) == 1
    assert len(client.get("/customers/C0000001/decisions").json()["decisions"]) == 1


def test_the_openapi_document_is_served_and_names_every_route(
    client: TestClient,
) -> None:
    served = client.get("/openapi.json").json()
    assert served == json.loads(json.dumps(openapi()))
    paths = {f"/v1{path}" for _, path, _ in ROUTES if path != "/openapi.json"}
    assert paths | {"/livez", "/readyz"} == set(served["paths"])


def test_ready_made_features_get_the_score_of_the_decision(client: TestClient) -> None:
    decision = post(client, customer_id="C0000005").json()
    response = client.post("/scores", json={"features": decision["features"]})
    assert response.status_code == 200, response.text
    answer = response.json()
    for part in ("pd_12m", "explanation", "model"):
        assert answer[part] == decision[part], part
    assert [reason["code"] for reason in answer["reasons"]]
    assert all(reason["code"].startswith("F") for reason in answer["reasons"])
    # A score is not recorded.
    answer = client.get("/customers/C0000005/decisions").json()
    assert answer["decisions"] == [decision]


def test_a_score_needs_every_feature_and_no_other(client: TestClient) -> None:
    features = post(client, customer_id="C0000005").json()["features"]
    too_many = {**features, "moon_phase": 1.0}
    too_few = dict(features)
    del too_few["dpd_days"]
    for sent in (too_many, too_few):
        response = client.post("/scores", json={"features": sent})
        assert response.status_code == 422
        assert ("moon_phase" in response.text) == ("moon_phase" in sent)
        assert ("dpd_days" in response.text) == ("dpd_days" not in sent)


def test_metrics_have_one_series_per_route_whatever_is_sent(client: TestClient) -> None:
    post(client, customer_id="C0000005")
    for n in range(20):
        client.get(f"/decisions/unknown-{n}")
        client.get(f"/nowhere/{n}")
        client.request(f"VERB{n}", "/scores")
    text = client.get("/metrics").text
    series = {
        line for line in text.splitlines() if line.startswith("obligor_requests_total")
    }
    labels = 'method="POST",route="/decisions",status="200"'
    assert f"obligor_requests_total{{{labels}}} 1.0" in series
    labels = 'method="GET",route="/decisions/{decision_id}",status="404"'
    assert f"obligor_requests_total{{{labels}}} 20.0" in series
    assert "unknown-1" not in text
    assert "VERB" not in text
    assert len(series) < 8


def test_the_access_log_holds_ids_and_no_customer(
    client: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="obligor.access"):
        response = client.get("/customers/C0000005/decisions")
    line = caplog.records[-1].getMessage()
    assert response.headers["x-request-id"] in line
    assert "GET /customers/{customer_id}/decisions" in line
    assert line.endswith(" 200")
    assert "C0000005" not in caplog.text


OVERRIDE = {
    "grade": 9,
    "by": "C. Manager",
    "because": "insolvency rumours",
    "expires_on": "2025-12-31",
}
GROUP = {"name": "Acme", "limit": "5000.00", "exposure_of_others": "4999.00"}


def test_the_credit_file_moves_the_decision(client: TestClient) -> None:
    without = post(client, customer_id="C0000002").json()
    credit_file = {"override": OVERRIDE, "groups": [GROUP]}
    answer = post(client, customer_id="C0000002", file=credit_file).json()
    assert (answer["grade"], answer["pd_12m"]) == (9, without["pd_12m"])
    assert answer["limit"]["caps"]["group Acme"] == "1.00"
    assert answer["authority"]["approver"] in ("system", "credit_analyst")
    fired = {rule["table"]: rule["fired"] for rule in answer["rules"]}
    assert fired["override"] == "V3"


def test_an_invalid_credit_file_names_its_field(client: TestClient) -> None:
    credit_file = {"override": {**OVERRIDE, "grade": 11}}
    response = post(client, customer_id="C0000002", file=credit_file)
    assert response.status_code == 422
    assert response.json()["where"] == "file.override.grade"
