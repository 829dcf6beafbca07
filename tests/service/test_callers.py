"""Who calls: tokens of a company's login, whose decisions are whose, quotas."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet, OctKey, RSAKey
from starlette.testclient import TestClient

from obligor.decisions.champion import ChampionLoader
from obligor.decisions.shadow import Shadow
from obligor.errors import RateError
from obligor.record.housekeeper import Housekeeper
from obligor.serving.access.api_keys import NewKey
from obligor.serving.access.denials import MOST, Denials, Denied
from obligor.serving.access.gate import Gate
from obligor.serving.access.quota import Quota
from obligor.serving.api.routes import create_app, use_service
from obligor.serving.assembly import Service, build_gate, housekeeping_tasks
from tests.callers import (
    Headers,
    bearer,
    create,
    gated_client,
    headers_of,
    key_id_of,
)
from tests.conftest import NOW

ISSUER = "urn:test:login"
AUDIENCE = "obligor"
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
SigningKey = ECKey | RSAKey | OctKey
Claim = str | int | list[str] | None
DENIED = Denied("k", "GET", "/cases", 403)


@dataclass
class Login:
    """A company's login: it signs tokens, and publishes its public keys in a file."""

    path: Path
    at: datetime = NOW

    def publish(self, *keys: SigningKey) -> None:
        document = KeySet(list(keys)).as_dict(private=False)
        self.path.write_text(json.dumps(document))

    def token(
        self,
        key: SigningKey = KEY,
        algorithm: str = "ES256",
        **claims: Claim,
    ) -> Headers:
        """Return the headers with a token; a claim that is None is left out."""
        payload = dict[str, Claim]()
        for name, value in {**CLAIMS, **claims}.items():
            if value is not None:
                payload[name] = value
        is_shared_secret = algorithm.startswith("HS")
        kid = "one" if is_shared_secret else key.as_dict(private=False).get("kid")
        header = {"alg": algorithm, "kid": kid}
        return bearer(
            jwt.encode(
                header,
                payload,
                key,
                algorithms=[algorithm],
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
    return build_gate(replace(service, now=lambda: login.at), environment)


@pytest.fixture
def gated(service: Service, gate: Gate) -> Iterator[TestClient]:
    yield from gated_client(service, gate)


# --- tokens


@pytest.mark.parametrize(
    ("path", "role", "status"),
    [
        ("/cases", "credit_manager", 200),
        ("/metrics", "credit_manager", 403),
        ("/metrics", ["other", "admin"], 200),
        ("/cases", "king", 403),
        ("/cases", None, 403),
    ],
)
def test_a_token_has_the_rights_of_its_role(
    gated: TestClient,
    login: Login,
    path: str,
    role: Claim,
    status: int,
) -> None:
    headers = login.token(obligor_role=role)
    assert gated.get(path, headers=headers).status_code == status


@pytest.mark.parametrize(("by", "status"), [("B. Two", 403), ("A. One", 200)])
def test_a_token_speaks_for_its_person_only(
    gated: TestClient,
    login: Login,
    by: str,
    status: int,
) -> None:
    contact = {
        "customer_id": "C0000002",
        "by": by,
        "channel": "mail",
        "outcome": "reached",
    }
    response = gated.post("/contacts", json=contact, headers=login.token())
    assert response.status_code == status


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
def test_a_token_for_others_or_another_time_is_rejected(
    gated: TestClient, login: Login, claims: dict[str, Claim]
) -> None:
    response = gated.get("/cases", headers=login.token(**claims))
    assert response.status_code == 401
    assert "the token is not valid" in response.json()["detail"]


@pytest.mark.filterwarnings("ignore::joserfc.errors.SecurityWarning")
def test_a_forged_token_is_rejected(gated: TestClient, login: Login) -> None:
    other_key = ECKey.generate_key("P-256", {"kid": "one"}, private=True)
    public_key = json.dumps(KEY.as_dict(private=False)).encode()
    # The public key, used as a shared secret.
    shared_secret = OctKey.import_key(public_key)
    valid = login.token()["Authorization"].removeprefix("Bearer ")
    head, body, signature = valid.split(".")
    unsigned = jwt.encode(
        {"alg": "none"},
        CLAIMS,
        OctKey.generate_key(),
        algorithms=["none"],
    )
    forged = [
        login.token(other_key)["Authorization"],
        login.token(shared_secret, "HS256")["Authorization"],
        f"Bearer {unsigned}",
        f"Bearer {head}.{body}.",
        f"Bearer {head}.{body}.{signature[:-8]}AAAAAAAA",
        "Bearer ..",
        "Bearer a.b.c",
        f"Bearer {valid}x.y",
    ]
    for authorization in forged:
        response = gated.get("/cases", headers={"Authorization": authorization})
        assert response.status_code == 401, authorization


def test_changed_keys_are_read_again_once_a_minute(
    gated: TestClient, login: Login
) -> None:
    """Otherwise every forger could make us ask the issuer."""
    assert gated.get("/cases", headers=login.token()).status_code == 200
    new_key = RSAKey.generate_key(2048, {"kid": "two"}, private=True)
    login.publish(new_key)
    with_new_key = login.token(new_key, "RS256")
    assert gated.get("/cases", headers=with_new_key).status_code == 401
    login.at += timedelta(seconds=61)
    assert gated.get("/cases", headers=with_new_key).status_code == 200
    assert gated.get("/cases", headers=login.token()).status_code == 401


def test_without_a_configured_login_tokens_are_rejected(
    service: Service, login: Login
) -> None:
    app = create_app()
    gate = build_gate(service, {"OBLIGOR_OIDC_ISSUER": ISSUER})
    use_service(app, service, gate)
    response = TestClient(app).get("/cases", headers=login.token())
    assert response.status_code == 401


# --- whose decisions


class Callers(NamedTuple):
    """Two keys of one application, a key of another, and an auditor's."""

    shop: Headers
    same_shop: Headers
    other: Headers
    auditor: Headers


@pytest.fixture
def callers(service: Service) -> Callers:
    return Callers(
        shop=headers_of(service, "application", "shop"),
        same_shop=headers_of(service, "application", "shop"),
        other=headers_of(service, "application", "other"),
        auditor=headers_of(service, "auditor"),
    )


@pytest.fixture
def shops_case(gated: TestClient, callers: Callers) -> str:
    request = {"amount": "90000000.00", "currency": "EUR"}
    question = {"customer_id": "C0000002", "request": request}
    response = gated.post("/decisions", json=question, headers=callers.shop)
    return str(response.json()["decision_id"])


def statuses(client: TestClient, path: str, *headers: Headers) -> list[int]:
    """Return the status that each caller gets."""
    return [client.get(path, headers=caller).status_code for caller in headers]


@pytest.mark.parametrize(
    "path",
    [
        "/decisions/{id}",
        "/decisions/{id}/proof",
        "/cases/{id}",
        "/decisions/{id}/notice?lang=en&kind=reasons&format=text",
    ],
)
def test_an_application_sees_its_own_decisions_only(
    gated: TestClient,
    callers: Callers,
    shops_case: str,
    path: str,
) -> None:
    url = path.replace("{id}", shops_case)
    assert statuses(gated, url, *callers) == [200, 200, 404, 200]


def test_a_foreign_decision_looks_like_an_unknown_one(
    gated: TestClient, callers: Callers, shops_case: str
) -> None:
    unknown = gated.get("/decisions/none", headers=callers.other).json()["detail"]
    foreign = gated.get(f"/decisions/{shops_case}", headers=callers.other).json()
    assert foreign["detail"] == unknown.replace("none", shops_case)


def test_order_checks_and_batches_have_an_owner_too(
    gated: TestClient, callers: Callers
) -> None:
    order = {"amount": "9.00", "currency": "EUR"}
    question = {"customer_id": "C0000002", "order": order}
    check = gated.post("/orders/check", json=question, headers=callers.shop).json()
    batch = {"decisions": [{"customer_id": "C0000003"}, {"customer_id": "C0000004"}]}
    answers = gated.post("/decisions/batch", json=batch, headers=callers.shop).json()
    _, second = answers["decisions"]
    for entry_id in (check["decision_id"], second["decision"]["decision_id"]):
        url = f"/decisions/{entry_id}"
        assert statuses(
            gated,
            url,
            callers.same_shop,
            callers.other,
        ) == [200, 404]


# --- quotas


@dataclass
class QuotaTest:
    """Quotas of several processes on one record, and a clock set by hand."""

    service: Service
    at: datetime = field(default=NOW)

    def quota(self) -> Quota:
        """Return the quota of another process."""
        return Quota(self.service.record.database.engine, lambda: self.at)


@pytest.fixture
def quotas(service: Service) -> QuotaTest:
    return QuotaTest(service)


def use_up(quotas: QuotaTest) -> tuple[Quota, Quota]:
    """Take four calls in two processes, and return their quotas."""
    first = quotas.quota()
    second = quotas.quota()
    for quota in (first, second, first):
        quota.take("k", 4)
        quota.flush()
    # It had nothing new to save: it reads what others took after its next call.
    second.flush()
    second.take("k", 4)
    second.flush()
    return first, second


def test_a_quota_counts_over_processes(quotas: QuotaTest) -> None:
    _, second = use_up(quotas)
    started_later = quotas.quota()
    for quota in (second, started_later):
        with pytest.raises(RateError, match="limit of 4 calls a day") as refused:
            quota.take("k", 4)
        assert refused.value.retry_after_s == 12 * 3600


def test_a_quota_is_one_keys(quotas: QuotaTest) -> None:
    _, second = use_up(quotas)
    for quota in (second, quotas.quota()):
        quota.take("other", 4)
        quota.take("free", None)


def test_a_quota_ends_at_midnight(quotas: QuotaTest) -> None:
    first, _ = use_up(quotas)
    quotas.at += timedelta(hours=12)
    first.take("k", 4)


def test_a_used_up_quota_says_when_the_next_day_begins(
    gated: TestClient, service: Service
) -> None:
    headers = bearer(create(service, NewKey("tests", "auditor", per_day=2)))
    assert statuses(
        gated,
        "/cases",
        headers,
        headers,
        headers,
    ) == [200, 200, 429]
    refused = gated.get("/cases", headers=headers)
    assert refused.headers["retry-after"] == str(12 * 3600)


# --- denied calls


def test_denied_calls_are_recorded_with_key_route_and_count(
    gated: TestClient,
    service: Service,
    gate: Gate,
    tmp_path: Path,
) -> None:
    modeler = headers_of(service, "modeler")
    other = headers_of(service, "application", "other")
    admin = bearer("the-admin-key")
    for _ in range(3):
        gated.get("/cases", headers=modeler)
        gated.get("/cases", headers=bearer("obl_1_secret"))
    question = {"customer_id": "C0000002"}
    decision = gated.post("/decisions", json=question, headers=admin)
    entry_id = decision.json()["decision_id"]
    gated.get(f"/decisions/{entry_id}", headers=other)
    shadow = Shadow(service.record, ChampionLoader(tmp_path), service.now)
    Housekeeper(housekeeping_tasks(service, gate, shadow)).stop()
    (recorded_id,) = service.record.reader.ids_of_kinds(("denied",))
    body = service.record.reader.entry(recorded_id).body
    counts = {
        (calls["key_id"], calls["route"], calls["status"]): calls["calls"]
        for calls in json.loads(body)["calls"]
    }
    assert counts == {
        (key_id_of(modeler), "/cases", 403): 3,
        ("", "/cases", 401): 3,
        (key_id_of(other), "/decisions/{decision_id}", 404): 1,
    }
    assert "secret" not in body
    assert entry_id not in body


def test_a_flood_of_denied_calls_is_one_short_entry() -> None:
    denials = Denials()
    assert denials.entry(NOW, "e-0") is None
    for number in range(5 * MOST):
        denials.count(DENIED._replace(key_id=f"k-{number}"))
    entry = denials.entry(NOW, "e-1")
    assert entry is not None
    calls = json.loads(entry.body)["calls"]
    assert len(calls) == MOST + 1
    assert sum(counted["calls"] for counted in calls) == 5 * MOST


def test_denied_calls_are_recorded_once_a_minute() -> None:
    denials = Denials()
    denials.count(DENIED)
    assert denials.entry(NOW, "e-1") is not None
    denials.count(DENIED)
    assert denials.entry(NOW + timedelta(seconds=59), "e-2") is None
    assert denials.entry(NOW + timedelta(seconds=59), "e-3", is_last=True) is not None
    denials.count(DENIED)
    assert denials.entry(NOW + timedelta(seconds=119), "e-4") is not None
