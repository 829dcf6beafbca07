"""Who may call what: roles and routes, keys, rates, people's keys, hostile bodies."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from datetime import timedelta

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.testclient import TestClient

from obligor.errors import RecordError
from obligor.serving.access.api_keys import NewKey, find_key, list_keys, revoke_key
from obligor.serving.access.gate import Gate
from obligor.serving.access.roles import ALLOWED, ROLES
from obligor.serving.api.openapi import OPERATIONS
from obligor.serving.assembly import Service
from obligor.serving.process.path_guard import MOST_BYTES, PathGuard
from tests.callers import Headers, bearer, create, gated_client, headers_of
from tests.conftest import NOW

PATH_VALUES = {
    "{decision_id}": "none",
    "{case_id}": "none",
    "{customer_id}": "C0000002",
    "{table}": "none",
}
QUESTION = {"customer_id": "C0000002"}


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def gated(service: Service, clock: Clock) -> Iterator[TestClient]:
    database = service.record.database.engine
    gate = Gate(
        database,
        lambda: NOW,
        "the-admin-key",
        clock,
    )
    yield from gated_client(service, gate)


def statuses(
    client: TestClient,
    path: str,
    headers: Headers,
    n_calls: int,
) -> list[int]:
    """Return the statuses of some calls, one after the other."""
    return [client.get(path, headers=headers).status_code for _ in range(n_calls)]


def url_of(path: str) -> str:
    """Return a route's path with values for its parameters."""
    for name, value in PATH_VALUES.items():
        path = path.replace(name, value)
    return path


# --- roles and routes


def test_every_route_has_its_roles() -> None:
    routes = {(operation.method.upper(), operation.path) for operation in OPERATIONS}
    routes |= {("GET", "/metrics"), ("GET", "/openapi.json")}
    assert set(ALLOWED) == routes


def test_every_role_on_every_route(gated: TestClient, service: Service) -> None:
    """A call that is admitted may still fail for what it sends."""
    keys = {role: headers_of(service, role) for role in ROLES}
    for (method, path), allowed_roles in sorted(ALLOWED.items()):
        url = url_of(path)
        for role in ROLES:
            response = gated.request(
                method,
                url,
                headers=keys[role],
                content=b"",
            )
            is_admitted = response.status_code not in (401, 403)
            is_allowed = role in allowed_roles
            assert is_admitted == is_allowed, (method, path, role, response)
        assert gated.request(method, url).status_code == 401


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Basic the-admin-key",
        "Bearer obl_1_2",
        "Bearer obl__",
        "Bearer x" * 99,
    ],
)
def test_a_call_without_a_valid_key_is_rejected(
    gated: TestClient, authorization: str | None
) -> None:
    headers = {} if authorization is None else {"Authorization": authorization}
    response = gated.get("/cases", headers=headers)
    assert response.status_code == 401
    assert response.headers["www-authenticate"] == "Bearer"
    assert response.json()["where"] == "Authorization"


def test_a_refusal_is_logged_without_the_key(
    gated: TestClient, service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="obligor"):
        headers = headers_of(service, "modeler")
        gated.get("/cases", headers=headers)
    assert "GET 403 urn:obligor:problem:authority" in caplog.text
    assert headers["Authorization"][-20:] not in caplog.text


# --- keys


@pytest.fixture
def key(service: Service) -> str:
    return create(service, NewKey("shop", "credit_manager"))


def test_a_key_is_stored_as_a_hash(service: Service, key: str) -> None:
    _, key_id, secret = key.split("_")
    database = service.record.database.engine
    with database.connect() as connection:
        query = "SELECT * FROM api_keys"
        stored = str(connection.exec_driver_sql(query).all())
    assert secret not in stored
    assert key_id in stored
    assert "secret" not in str(list_keys(database))


def test_a_key_with_another_last_letter_is_not_valid(
    service: Service, key: str
) -> None:
    last_letter = "0" if key[-1] != "0" else "1"
    assert find_key(service.record.database.engine, key[:-1] + last_letter) is None


def test_a_revoked_key_stops_working(
    gated: TestClient,
    service: Service,
    clock: Clock,
    key: str,
) -> None:
    database = service.record.database.engine
    _, key_id, _ = key.split("_")
    assert gated.get("/cases", headers=bearer(key)).status_code == 200
    revoke_key(database, key_id, NOW + timedelta(days=1))
    clock.now += 6
    assert gated.get("/cases", headers=bearer(key)).status_code == 401
    assert list_keys(database)[0]["revoked_at"] is not None
    with pytest.raises(RecordError, match="no valid key"):
        revoke_key(database, key_id, NOW)


def test_a_key_has_a_limit_per_second(
    gated: TestClient, service: Service, clock: Clock
) -> None:
    slow = bearer(create(service, NewKey("tests", "auditor", per_second=3)))
    other = headers_of(service, "auditor")
    assert statuses(
        gated,
        "/cases",
        slow,
        4,
    ) == [200, 200, 200, 429]
    refused = gated.get("/cases", headers=slow)
    assert refused.headers["retry-after"] == "1"
    assert gated.get("/cases", headers=other).status_code == 200
    clock.now += 0.4
    assert statuses(
        gated,
        "/cases",
        slow,
        2,
    ) == [200, 429]


def test_two_callers_may_use_one_idempotency_key(
    gated: TestClient, service: Service
) -> None:
    decision_ids = []
    for name in ("shop", "other"):
        key = headers_of(service, "application", name)
        headers = {**key, "Idempotency-Key": "k"}
        first = gated.post("/decisions", json=QUESTION, headers=headers)
        second = gated.post("/decisions", json=QUESTION, headers=headers)
        assert first.content == second.content
        decision_ids.append(first.json()["decision_id"])
    assert decision_ids[0] != decision_ids[1]


# --- keys of people


@pytest.fixture
def persons_key(service: Service) -> Headers:
    new_key = NewKey(
        "tests",
        "credit_manager",
        person="A. One",
        authority="credit_manager",
    )
    return bearer(create(service, new_key))


@pytest.mark.parametrize(
    ("by", "role", "where"),
    [("B. Two", "director", "by"), ("A. One", "director", "role")],
)
def test_a_persons_key_resolves_as_that_person_only(
    gated: TestClient,
    persons_key: Headers,
    by: str,
    role: str,
    where: str,
) -> None:
    request = {"amount": "90000000.00", "currency": "EUR"}
    question = {**QUESTION, "request": request}
    decision = gated.post("/decisions", json=question, headers=persons_key)
    case_id = decision.json()["decision_id"]
    resolution = {"by": by, "role": role, "outcome": "decline", "because": "x"}
    response = gated.post(
        f"/cases/{case_id}/resolve",
        json=resolution,
        headers=persons_key,
    )
    assert response.status_code == 403
    assert response.json()["where"] == where


@pytest.mark.parametrize(("by", "status"), [("B. Two", 403), ("A. One", 200)])
def test_a_persons_key_records_contacts_of_that_person_only(
    gated: TestClient,
    persons_key: Headers,
    by: str,
    status: int,
) -> None:
    contact = {**QUESTION, "by": by, "channel": "mail", "outcome": "reached"}
    response = gated.post("/contacts", json=contact, headers=persons_key)
    assert response.status_code == status


# --- bodies


def credit_request(amount: bytes) -> bytes:
    """Return a question with an amount as it is written in JSON."""
    request = b'{"amount": ' + amount + b', "currency": "EUR"}'
    return b'{"customer_id": "A", "request": ' + request + b"}"


HOSTILE_BODIES = {
    "twice": (b'{"customer_id": "A", "customer_id": "B"}', "a name is given twice"),
    "twice within": (credit_request(b'1, "amount": 2'), "a name is given twice"),
    "deep": (
        b'{"customer_id": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        "nested too deeply",
    ),
    "NaN": (credit_request(b"NaN"), "is not a number"),
    "digits": (credit_request(b"9" * 5000), "number out of range"),
    "1e400": (credit_request(b"1e400"), "request.amount"),
    "cut": (b'{"customer_id": "A"', "body"),
    "no text": (b"\xff\xfe", "body"),
    "nothing": (b"", "body"),
}


@pytest.mark.parametrize(
    ("body", "detail"), HOSTILE_BODIES.values(), ids=HOSTILE_BODIES.keys()
)
def test_hostile_json_is_the_callers_error(
    client: TestClient, body: bytes, detail: str
) -> None:
    headers = {"Content-Type": "application/json"}
    response = client.post("/decisions", content=body, headers=headers)
    assert response.status_code == 422
    assert detail in response.json()["detail"]


@pytest.mark.parametrize(
    "media_type",
    [
        "application/x-www-form-urlencoded",
        "text/plain",
        "multipart/form-data; boundary=x",
        "application/octet-stream",
        "application/vnd.bentoml+pickle",
        "",
    ],
)
def test_every_route_accepts_json_only(client: TestClient, media_type: str) -> None:
    headers = {"Content-Type": media_type}
    for operation in OPERATIONS:
        if operation.method == "post" and operation.body:
            url = url_of(operation.path)
            response = client.post(url, content=b"{}", headers=headers)
            assert response.status_code == 415, operation.path


# --- the guard in front


async def body_length(request: Request) -> Response:
    return Response(str(len(await request.body())))


@pytest.fixture
def guarded() -> TestClient:
    routes = [
        Route("/v1/decisions", body_length, methods=["POST"]),
        Route("/v1/decisions/batch", body_length, methods=["POST"]),
    ]
    app = PathGuard(Starlette(routes=routes))
    return TestClient(app, raise_server_exceptions=False)


def in_pieces(total: int) -> Iterator[bytes]:
    """Yield a body of some bytes at least, without announcing its length."""
    for _ in range(total // 65_536 + 1):
        yield b"x" * 65_536


def test_a_body_up_to_the_cap_is_passed_on(guarded: TestClient) -> None:
    response = guarded.post("/v1/decisions", content=b"x" * MOST_BYTES)
    assert response.text == str(MOST_BYTES)


@pytest.mark.parametrize("is_announced", [True, False])
def test_a_body_above_the_cap_is_refused(
    guarded: TestClient, is_announced: bool
) -> None:
    body = b"x" * (MOST_BYTES + 1) if is_announced else in_pieces(2 * MOST_BYTES)
    response = guarded.post("/v1/decisions", content=body)
    assert response.status_code == 413
    detail = json.loads(response.text)["detail"]
    assert detail.startswith("the body is larger than 1,000,000 bytes")


def test_a_batch_has_a_cap_of_its_own(guarded: TestClient) -> None:
    batch = guarded.post("/v1/decisions/batch", content=in_pieces(2 * MOST_BYTES))
    too_large = guarded.post("/v1/decisions/batch", content=b"x" * 16_000_001)
    assert batch.status_code == 200
    assert too_large.status_code == 413


def test_the_first_page_runs_no_script(guarded: TestClient) -> None:
    page = guarded.get("/")
    assert page.status_code == 200
    assert "<script" not in page.text


@pytest.mark.parametrize(
    "path",
    ["/docs.json", "/metrics", "/v1", "/v1x", "/v1/a%0Ab", "/static/x"],
)
def test_a_path_that_is_not_ours_does_not_exist(guarded: TestClient, path: str) -> None:
    assert guarded.get(path).status_code == 404


def test_every_answer_has_our_headers(guarded: TestClient) -> None:
    page = guarded.get("/")
    missing = guarded.get("/nowhere")
    answer = guarded.post("/v1/decisions", content=b"x")
    for response in (page, missing, answer):
        assert response.headers["x-content-type-options"] == "nosniff"
        assert response.headers["cache-control"] == "no-store"
        assert "default-src 'none'" in response.headers["content-security-policy"]
