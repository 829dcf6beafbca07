"""Who calls: tokens of a company's own login, whose decisions are whose, calls a day, and what was denied."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet, OctKey, RSAKey
from starlette.testclient import TestClient

from obligor.decisions.champion import ChampionLoader
from obligor.decisions.shadow import Shadow
from obligor.errors import RateError
from obligor.record.housekeeper import Housekeeper
from obligor.serving.access.denials import MOST, Denials, Denied
from obligor.serving.access.gate import Gate
from obligor.serving.access.quota import Quota
from obligor.serving.api.routes import create_app, use_service
from obligor.serving.assembly import Service, build_gate, housekeeping_tasks
from tests.conftest import NOW
from tests.service.test_access import bearer, made

ISSUER, AUDIENCE = "urn:test:login", "obligor"
CLAIMS = {
    "iss": ISSUER,
    "aud": AUDIENCE,
    "sub": "u-1",
    "name": "A. One",
    "obligor_role": "credit_manager",
    "obligor_authority": "credit_manager",
    "exp": int(NOW.timestamp()) + 600,
}
KEY = ECKey.generate_key("P-256", {"kid": "one", "use": "sig"}, private=True)


@dataclass
class Login:
    """A company's login: it signs tokens, and publishes its public keys in a file."""

    path: Path
    at: list[datetime] = field(default_factory=lambda: [NOW])

    def publish(self, *keys: Any) -> None:
        self.path.write_text(json.dumps(KeySet(keys).as_dict(private=False)))

    def token(
        self, key: Any = KEY, algorithm: str = "ES256", **claims: Any
    ) -> dict[str, str]:
        said = {
            name: value
            for name, value in {**CLAIMS, **claims}.items()
            if value is not None
        }
        kid = key.as_dict(private=False).get("kid") if algorithm[:2] != "HS" else "one"
        return bearer(
            jwt.encode(
                {"alg": algorithm, "kid": kid}, said, key, algorithms=[algorithm]
            )
        )


@pytest.fixture
def login(tmp_path: Path) -> Login:
    login = Login(tmp_path / "jwks.json")
    login.publish(KEY)
    return login


@pytest.fixture
def gate(service: Service, login: Login) -> Gate:
    environment = {
        "OBLIGOR_ADMIN_KEY": "the-admin-key",
        "OBLIGOR_OIDC_ISSUER": ISSUER,
        "OBLIGOR_OIDC_AUDIENCE": AUDIENCE,
        "OBLIGOR_OIDC_JWKS": str(login.path),
    }
    return build_gate(replace(service, now=lambda: login.at[0]), environment)


@pytest.fixture
def gated(service: Service, gate: Gate) -> Iterator[TestClient]:
    app = create_app()
    use_service(app, service, gate)
    with TestClient(
        app, base_url="http://127.0.0.1", raise_server_exceptions=False
    ) as client:
        yield client


# --- tokens


def test_a_token_of_our_login_lets_in_with_its_role(
    gated: TestClient, login: Login
) -> None:
    assert gated.get("/cases", headers=login.token()).status_code == 200
    assert gated.get("/metrics", headers=login.token()).status_code == 403
    assert (
        gated.get(
            "/metrics", headers=login.token(obligor_role=["other", "admin"])
        ).status_code
        == 200
    )
    assert (
        gated.get("/cases", headers=login.token(obligor_role="king")).status_code == 403
    )
    assert (
        gated.get("/cases", headers=login.token(obligor_role=None)).status_code == 403
    )


def test_a_token_speaks_for_its_person_only(gated: TestClient, login: Login) -> None:
    contact = {"customer_id": "C0000002", "channel": "mail", "outcome": "reached"}
    assert (
        gated.post(
            "/contacts", json=contact | {"by": "B. Two"}, headers=login.token()
        ).status_code
        == 403
    )
    assert (
        gated.post(
            "/contacts", json=contact | {"by": "A. One"}, headers=login.token()
        ).status_code
        == 200
    )


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "urn:other"},
        {"iss": None},
        {"aud": "other"},
        {"aud": None},
        {"sub": None},
        {"exp": None},
        {"exp": int(NOW.timestamp()) - 60},
        {"nbf": int(NOW.timestamp()) + 60},
        {"exp": "soon"},
    ],
    ids=str,
)
def test_a_token_that_is_not_for_us_or_not_now_is_nobody(
    gated: TestClient, login: Login, claims: dict[str, Any]
) -> None:
    response = gated.get("/cases", headers=login.token(**claims))
    assert response.status_code == 401
    assert "the token is not valid" in response.json()["detail"]


@pytest.mark.filterwarnings("ignore::joserfc.errors.SecurityWarning")
def test_a_forged_token_is_nobody(gated: TestClient, login: Login) -> None:
    other = ECKey.generate_key("P-256", {"kid": "one"}, private=True)
    public = json.dumps(KEY.as_dict(private=False)).encode()
    good = login.token()["Authorization"].removeprefix("Bearer ")
    head, body, signature = good.split(".")
    unsigned = jwt.encode(
        {"alg": "none"}, CLAIMS, OctKey.generate_key(), algorithms=["none"]
    )
    forged = [
        login.token(other)["Authorization"],
        login.token(OctKey.import_key(public), "HS256")[
            "Authorization"
        ],  # the public key as a shared secret
        f"Bearer {unsigned}",
        f"Bearer {head}.{body}.",
        f"Bearer {head}.{body}.{signature[:-8]}AAAAAAAA",
        "Bearer ..",
        "Bearer a.b.c",
        f"Bearer {good}x.y",
    ]
    for one in forged:
        assert gated.get("/cases", headers={"Authorization": one}).status_code == 401, (
            one
        )


def test_keys_that_changed_are_fetched_anew_but_not_for_every_forger(
    gated: TestClient, login: Login
) -> None:
    assert gated.get("/cases", headers=login.token()).status_code == 200
    fresh = RSAKey.generate_key(2048, {"kid": "two"}, private=True)
    login.publish(fresh)
    assert (
        gated.get("/cases", headers=login.token(fresh, "RS256")).status_code == 401
    )  # asked a moment ago
    login.at[0] += timedelta(seconds=61)
    assert gated.get("/cases", headers=login.token(fresh, "RS256")).status_code == 200
    assert gated.get("/cases", headers=login.token()).status_code == 401


def test_without_a_named_login_no_token_is_taken(
    service: Service, login: Login
) -> None:
    app = create_app()
    use_service(app, service, build_gate(service, {"OBLIGOR_OIDC_ISSUER": ISSUER}))
    assert TestClient(app).get("/cases", headers=login.token()).status_code == 401


# --- whose


def test_an_application_sees_what_it_asked_for_and_nothing_else(
    gated: TestClient, service: Service
) -> None:
    shop, second, other = (
        made(service, "application", name) for name in ("shop", "shop", "other")
    )
    auditor = made(service, "auditor")
    large = {
        "customer_id": "C0000002",
        "request": {"amount": "90000000.00", "currency": "EUR"},
    }
    entry_id = gated.post("/decisions", json=large, headers=shop).json()["decision_id"]
    paths = [
        f"/decisions/{entry_id}",
        f"/decisions/{entry_id}/proof",
        f"/cases/{entry_id}",
        f"/decisions/{entry_id}/notice?lang=en&kind=reasons&format=text",
    ]
    for path in paths:
        assert [
            gated.get(path, headers=one).status_code
            for one in (shop, second, other, auditor)
        ] == [
            200,
            200,
            404,
            200,
        ], path
    unknown = gated.get("/decisions/none", headers=other).json()["detail"]
    assert gated.get(paths[0], headers=other).json()["detail"] == unknown.replace(
        "none", entry_id
    )
    order = {"customer_id": "C0000002", "order": {"amount": "9.00", "currency": "EUR"}}
    checked = gated.post("/orders/check", json=order, headers=shop).json()[
        "decision_id"
    ]
    batch = {"decisions": [{"customer_id": "C0000003"}, {"customer_id": "C0000004"}]}
    answers = gated.post("/decisions/batch", json=batch, headers=shop).json()[
        "decisions"
    ]
    for mine in (checked, answers[1]["decision"]["decision_id"]):
        assert [
            gated.get(f"/decisions/{mine}", headers=one).status_code
            for one in (second, other)
        ] == [200, 404]


# --- how often


def test_a_quota_counts_over_processes_and_ends_at_midnight(service: Service) -> None:
    at = [NOW]
    one, two = (Quota(service.record.database.engine, lambda: at[0]) for _ in range(2))
    for quota in (one, two, one):
        quota.take("k", 4)
        quota.flush()
    two.flush()  # had nothing new: it hears of the others with its next call
    two.take("k", 4)
    two.flush()
    for quota in (two, Quota(service.record.database.engine, lambda: at[0])):
        with pytest.raises(RateError, match="limit of 4 calls a day") as refused:
            quota.take("k", 4)
        assert refused.value.retry_after_s == 12 * 3600
        quota.take("other", 4)
        quota.take("free", None)
    at[0] += timedelta(hours=12)
    one.take("k", 4)


def test_who_used_up_the_day_is_told_when_the_next_begins(
    gated: TestClient, service: Service
) -> None:
    few = made(service, "auditor", per_day=2)
    assert [gated.get("/cases", headers=few).status_code for _ in range(3)] == [
        200,
        200,
        429,
    ]
    assert gated.get("/cases", headers=few).headers["retry-after"] == str(12 * 3600)


# --- what was denied


def test_denied_calls_are_recorded_with_key_route_and_count(
    gated: TestClient, service: Service, tmp_path: Path
) -> None:
    modeler, other = made(service, "modeler"), made(service, "application", "other")
    key_id = modeler["Authorization"].split("_")[1]
    for _ in range(3):
        gated.get("/cases", headers=modeler)
        gated.get("/cases", headers=bearer("obl_1_secret"))
    entry_id = gated.post(
        "/decisions", json={"customer_id": "C0000002"}, headers=bearer("the-admin-key")
    ).json()["decision_id"]
    gated.get(f"/decisions/{entry_id}", headers=other)
    gate = gated.app.state.gate  # type: ignore[attr-defined]
    shadow = Shadow(service.record, ChampionLoader(tmp_path), service.now)
    Housekeeper(housekeeping_tasks(service, gate, shadow)).stop()
    (recorded,) = service.record.reader.ids_of_kinds(("denied",))
    body = service.record.reader.entry(recorded).body
    found = {
        (one["key_id"], one["route"], one["status"]): one["calls"]
        for one in json.loads(body)["calls"]
    }
    assert found == {
        (key_id, "/cases", 403): 3,
        ("", "/cases", 401): 3,
        (other["Authorization"].split("_")[1], "/decisions/{decision_id}", 404): 1,
    }
    assert "secret" not in body
    assert entry_id not in body


def test_a_flood_of_denied_calls_is_one_short_entry_a_minute() -> None:
    denials = Denials()
    assert denials.entry(NOW, "e-0") is None
    for n in range(5 * MOST):
        denials.count(Denied(f"k-{n}", "GET", "/cases", 403))
    first = denials.entry(NOW, "e-1")
    assert first is not None
    calls = json.loads(first.body)["calls"]
    assert len(calls) == MOST + 1
    assert sum(one["calls"] for one in calls) == 5 * MOST
    denials.count(Denied("k", "GET", "/cases", 403))
    assert denials.entry(NOW + timedelta(seconds=59), "e-2") is None
    assert denials.entry(NOW + timedelta(seconds=59), "e-3", is_last=True) is not None
    denials.count(Denied("k", "GET", "/cases", 403))
    assert denials.entry(NOW + timedelta(seconds=119), "e-4") is not None
