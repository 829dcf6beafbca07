"""Who gets in: every role on every route, keys that are never kept, rates, people's keys, and the guard in front."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.testclient import TestClient

from obligor.errors import RecordError
from obligor.serving.access.api_keys import (
    NewKey,
    create_key,
    find_key,
    list_keys,
    revoke_key,
)
from obligor.serving.access.gate import Gate
from obligor.serving.access.roles import ALLOWED, ROLES
from obligor.serving.api.openapi import OPERATIONS
from obligor.serving.api.routes import create_app, use_service
from obligor.serving.assembly import Service
from obligor.serving.process.path_guard import MOST_BYTES, PathGuard
from tests.conftest import NOW, VAULT

PATHS = {"{decision_id}": "none", "{case_id}": "none", "{customer_id}": "C0000002"}


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
    app = create_app()
    use_service(
        app,
        service,
        Gate(service.record.database.engine, lambda: NOW, "the-admin-key", clock),
    )
    with TestClient(
        app, base_url="http://127.0.0.1", raise_server_exceptions=False
    ) as client:
        yield client


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def made(
    service: Service, role: str, name: str = "tests", **more: Any
) -> dict[str, str]:
    return bearer(
        create_key(
            service.record.database.engine,
            NewKey(name, role, **more),
            NOW,
            VAULT.random,
        )
    )


def test_every_role_on_every_route(gated: TestClient, service: Service) -> None:
    """The table of roles and routes, cell by cell; a call that is let in may fail for what it sends."""
    routes = {
        (operation.method.upper(), operation.path) for operation in OPERATIONS
    } | {
        ("GET", "/metrics"),
        ("GET", "/openapi.json"),
    }
    assert set(ALLOWED) == routes
    keys = {role: made(service, role) for role in ROLES}
    for method, path in sorted(ALLOWED):
        for name, value in PATHS.items():
            asked = (
                path.replace(name, value)
                if name in path
                else (path if "{" not in path else None)
            )
            if asked is None or "{" in asked:
                continue
            for role in ROLES:
                status = gated.request(
                    method, asked, headers=keys[role], content=b""
                ).status_code
                is_let_in = status not in (401, 403)
                assert is_let_in == (role in ALLOWED[method, path]), (
                    method,
                    path,
                    role,
                    status,
                )
            assert gated.request(method, asked).status_code == 401


STRANGE = (
    None,
    "",
    "Bearer",
    "Bearer ",
    "Basic the-admin-key",
    "Bearer obl_1_2",
    "Bearer obl__",
    "Bearer x" * 99,
)


@pytest.mark.parametrize("authorization", STRANGE)
def test_nobody_gets_in_without_a_good_key(
    gated: TestClient, authorization: str | None
) -> None:
    response = gated.get(
        "/cases",
        headers={"Authorization": authorization} if authorization is not None else {},
    )
    assert response.status_code == 401
    assert response.headers["www-authenticate"] == "Bearer"
    assert response.json()["where"] == "Authorization"


def test_a_key_is_kept_as_a_hash_and_ends_when_revoked(
    gated: TestClient, service: Service, clock: Clock
) -> None:
    key = create_key(
        service.record.database.engine,
        NewKey("shop", "credit_manager"),
        NOW,
        VAULT.random,
    )
    _, key_id, secret = key.split("_")
    with service.record.database.engine.connect() as connection:
        kept = str(connection.exec_driver_sql("SELECT * FROM api_keys").all())
    assert secret not in kept
    assert key_id in kept
    assert "secret" not in str(list_keys(service.record.database.engine))
    assert (
        find_key(
            service.record.database.engine, key[:-1] + ("0" if key[-1] != "0" else "1")
        )
        is None
    )
    assert gated.get("/cases", headers=bearer(key)).status_code == 200
    revoke_key(service.record.database.engine, key_id, NOW + timedelta(days=1))
    clock.now += 6
    assert gated.get("/cases", headers=bearer(key)).status_code == 401
    assert list_keys(service.record.database.engine)[0]["revoked_at"] is not None
    with pytest.raises(RecordError, match="no valid key"):
        revoke_key(service.record.database.engine, key_id, NOW)


def test_a_key_may_call_so_often_and_is_told_when_again(
    gated: TestClient, service: Service, clock: Clock
) -> None:
    slow, other = made(service, "auditor", per_second=3), made(service, "auditor")
    assert [gated.get("/cases", headers=slow).status_code for _ in range(4)] == [
        200,
        200,
        200,
        429,
    ]
    refused = gated.get("/cases", headers=slow)
    assert refused.headers["retry-after"] == "1"
    assert gated.get("/cases", headers=other).status_code == 200
    clock.now += 0.4
    assert [gated.get("/cases", headers=slow).status_code for _ in range(2)] == [
        200,
        429,
    ]


def test_two_callers_may_use_one_idempotency_key(
    gated: TestClient, service: Service
) -> None:
    bodies = []
    for name in ("shop", "other"):
        headers = made(service, "application", name) | {"Idempotency-Key": "k"}
        answers = [
            gated.post("/decisions", json={"customer_id": "C0000002"}, headers=headers)
            for _ in range(2)
        ]
        assert answers[0].content == answers[1].content
        bodies.append(answers[0].json()["decision_id"])
    assert bodies[0] != bodies[1]


def test_a_persons_key_speaks_for_that_person_only(
    gated: TestClient, service: Service
) -> None:
    mine = made(service, "credit_manager", person="A. One", authority="credit_manager")
    large = {
        "customer_id": "C0000002",
        "request": {"amount": "90000000.00", "currency": "EUR"},
    }
    case_id = gated.post("/decisions", json=large, headers=mine).json()["decision_id"]
    for by, role, where in (
        ("B. Two", "director", "by"),
        ("A. One", "director", "role"),
    ):
        body = {"by": by, "role": role, "outcome": "decline", "because": "x"}
        response = gated.post(f"/cases/{case_id}/resolve", json=body, headers=mine)
        assert (response.status_code, response.json()["where"]) == (403, where)
    contact = {
        "customer_id": "C0000002",
        "by": "B. Two",
        "channel": "mail",
        "outcome": "reached",
    }
    assert gated.post("/contacts", json=contact, headers=mine).status_code == 403
    assert (
        gated.post(
            "/contacts", json=contact | {"by": "A. One"}, headers=mine
        ).status_code
        == 200
    )


def test_what_is_refused_is_logged_without_the_key(
    gated: TestClient, service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="obligor"):
        headers = made(service, "modeler")
        gated.get("/cases", headers=headers)
    assert "GET 403 urn:obligor:problem:authority" in caplog.text
    assert headers["Authorization"][-20:] not in caplog.text


# --- what is sent


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b'{"customer_id": "A", "customer_id": "B"}', "a name is given twice"),
        (
            b'{"customer_id": "A", "request": {"amount": 1, "amount": 2, "currency": "EUR"}}',
            "a name is given twice",
        ),
        (
            b'{"customer_id": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
            "nested too deeply",
        ),
        (
            b'{"customer_id": "A", "request": {"amount": NaN, "currency": "EUR"}}',
            "is not a number",
        ),
        (
            b'{"customer_id": "A", "request": {"amount": '
            + b"9" * 5000
            + b', "currency": "EUR"}}',
            "number out of range",
        ),
        (
            b'{"customer_id": "A", "request": {"amount": 1e400, "currency": "EUR"}}',
            "request.amount",
        ),
        (b'{"customer_id": "A"', "body"),
        (b"\xff\xfe", "body"),
        (b"", "body"),
    ],
    ids=[
        "twice",
        "twice within",
        "deep",
        "NaN",
        "digits",
        "1e400",
        "cut",
        "no text",
        "nothing",
    ],
)
def test_hostile_json_is_the_callers_error(
    client: TestClient, body: bytes, told: str
) -> None:
    response = client.post(
        "/decisions", content=body, headers={"Content-Type": "application/json"}
    )
    assert response.status_code == 422
    assert told in response.json()["detail"]


async def reading(request: Request) -> Response:
    return Response(str(len(await request.body())))


@pytest.fixture
def guarded() -> TestClient:
    routes = [
        Route("/v1/decisions", reading, methods=["POST"]),
        Route("/v1/decisions/batch", reading, methods=["POST"]),
    ]
    return TestClient(
        PathGuard(Starlette(routes=routes)), raise_server_exceptions=False
    )


def in_pieces(total: int) -> Iterator[bytes]:
    for _ in range(total // 65_536 + 1):
        yield b"x" * 65_536


def test_no_body_goes_beyond_its_cap_also_in_pieces(guarded: TestClient) -> None:
    assert guarded.post("/v1/decisions", content=b"x" * MOST_BYTES).text == str(
        MOST_BYTES
    )
    for content in (b"x" * (MOST_BYTES + 1), in_pieces(2 * MOST_BYTES)):
        response = guarded.post("/v1/decisions", content=content)
        assert response.status_code == 413
        assert json.loads(response.text)["detail"].startswith(
            "the body is larger than 1,000,000 bytes"
        )
    assert (
        guarded.post(
            "/v1/decisions/batch", content=in_pieces(2 * MOST_BYTES)
        ).status_code
        == 200
    )
    assert (
        guarded.post("/v1/decisions/batch", content=b"x" * 16_000_001).status_code
        == 413
    )


def test_the_guard_answers_what_is_not_ours_and_sets_its_headers(
    guarded: TestClient,
) -> None:
    page = guarded.get("/")
    assert page.status_code == 200
    assert "<script" not in page.text
    for path in ("/docs.json", "/metrics", "/v1", "/v1x", "/v1/a%0Ab", "/static/x"):
        assert guarded.get(path).status_code == 404
    for response in (
        page,
        guarded.get("/nowhere"),
        guarded.post("/v1/decisions", content=b"x"),
    ):
        assert response.headers["x-content-type-options"] == "nosniff"
        assert response.headers["cache-control"] == "no-store"
        assert "default-src 'none'" in response.headers["content-security-policy"]


MEDIA = (
    "application/x-www-form-urlencoded",
    "text/plain",
    "multipart/form-data; boundary=x",
    "application/octet-stream",
    "application/vnd.bentoml+pickle",
    "",
)


@pytest.mark.parametrize("media", MEDIA)
def test_only_json_is_taken_on_every_route(client: TestClient, media: str) -> None:
    for operation in OPERATIONS:
        path = operation.path
        if operation.method == "post" and operation.body:
            asked = path.replace("{case_id}", "none").replace("{decision_id}", "none")
            response = client.post(
                asked, content=b"{}", headers={"Content-Type": media}
            )
            assert response.status_code == 415, path
