"""Callers for tests: their keys, and a client of an app with a gate."""

from __future__ import annotations

from collections.abc import Iterator

from starlette.testclient import TestClient

from obligor.serving.access.api_keys import NewKey, create_key
from obligor.serving.access.gate import Gate
from obligor.serving.api.routes import create_app, use_service
from obligor.serving.assembly import Service
from tests.conftest import NOW, VAULT

Headers = dict[str, str]


def bearer(key: str) -> Headers:
    """Return the headers that send a key."""
    return {"Authorization": f"Bearer {key}"}


def create(service: Service, new_key: NewKey) -> str:
    """Return a new key of a service."""
    return create_key(
        service.record.database.engine,
        new_key,
        NOW,
        VAULT.random,
    )


def headers_of(service: Service, role: str, name: str = "tests") -> Headers:
    """Return the headers of a new key with a role."""
    return bearer(create(service, NewKey(name, role)))


def key_id_of(headers: Headers) -> str:
    """Return the public part of the key in headers."""
    _, key_id, _ = headers["Authorization"].split("_")
    return key_id


def gated_client(service: Service, gate: Gate) -> Iterator[TestClient]:
    """Yield a client of a service behind a gate: the body of a fixture."""
    app = create_app()
    use_service(app, service, gate)
    with TestClient(
        app,
        base_url="http://127.0.0.1",
        raise_server_exceptions=False,
    ) as client:
        yield client
