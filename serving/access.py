"""Who may call what: API keys with a role, kept as hashes, and the table of roles and routes."""

from __future__ import annotations

import hmac
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from typing import NamedTuple

import sqlalchemy as sa

from data.errors import AccessError, AuthorityError, RateError, RecordError
from data.keys import Random
from serving.record_tables import API_KEYS

ROLES = ("application", "modeler", "credit_manager", "auditor", "admin")
_PEOPLE = frozenset({"credit_manager", "auditor", "admin"})
_MANAGE = frozenset({"credit_manager", "admin"})
# Who may call what; what is not here nobody may.
ALLOWED: dict[tuple[str, str], frozenset[str]] = {
    ("POST", "/decisions"): frozenset({"application", "credit_manager", "admin"}),
    ("POST", "/decisions/batch"): frozenset({"application", "credit_manager", "admin"}),
    ("POST", "/orders/check"): frozenset({"application", "credit_manager", "admin"}),
    ("POST", "/scores"): frozenset({"application", "modeler", "credit_manager", "admin"}),
    ("GET", "/decisions/{decision_id}"): frozenset({"application", *_PEOPLE}),
    ("GET", "/decisions/{decision_id}/proof"): frozenset({"application", *_PEOPLE}),
    ("GET", "/decisions/{decision_id}/notice"): frozenset({"application", *_PEOPLE}),
    ("POST", "/decisions/{decision_id}/replay"): frozenset({"modeler", *_PEOPLE}),
    ("GET", "/customers/{customer_id}/decisions"): _PEOPLE,
    ("GET", "/customers/{customer_id}/warnings"): _PEOPLE,
    ("GET", "/cases"): _PEOPLE,
    ("GET", "/cases/{case_id}"): frozenset({"application", *_PEOPLE}),
    ("POST", "/cases/{case_id}/resolve"): _MANAGE,
    ("POST", "/cases/{case_id}/reevaluate"): _MANAGE,
    ("GET", "/worklist"): _MANAGE,
    ("POST", "/contacts"): _MANAGE,
    ("POST", "/policy/simulations"): _MANAGE,
    ("GET", "/audit/in-force"): frozenset({"modeler", *_PEOPLE}),
    ("GET", "/metrics"): frozenset({"admin"}),
    ("GET", "/openapi.json"): frozenset(ROLES),
}
_PREFIX = "obl"
_FRESH_S = 5.0  # so long a revoked key may still be let in


class Caller(NamedTuple):
    """Who calls: a key, its role, and the person it is bound to, with the authority that person has."""

    key_id: str
    role: str
    per_second: int
    person: str | None = None
    authority: str | None = None


@dataclass
class _Bucket:
    tokens: float
    at: float


@dataclass
class Gate:
    """Lets callers in by their keys, and no faster than each may.

    Parameters
    ----------
    engine : Engine
        Of the database that holds the record; the keys lie beside it.
    admin_key : str, optional
        A key from ``OBLIGOR_ADMIN_KEY`` that is always an admin's.
    """

    engine: sa.Engine
    admin_key: str | None = None
    clock: Callable[[], float] = time.monotonic
    _known: dict[str, tuple[float, Caller | None]] = field(default_factory=dict)
    _buckets: dict[str, _Bucket] = field(default_factory=dict)

    def admit(self, method: str, path: str, authorization: str | None) -> Caller:
        """Return who calls.

        Raises
        ------
        AccessError
            Where there is no key, or none that is known.
        AuthorityError
            Where the key's role may not call this route.
        RateError
            Where the key has called too often.
        """
        caller = self._caller(authorization)
        if caller.role not in ALLOWED.get((method, path), frozenset()):
            expected = f"one of {sorted(ALLOWED.get((method, path), ()))}"
            raise AuthorityError(f"a key of role {caller.role} may not call it", where=path, expected=expected)
        self._take(caller)
        return caller

    def _caller(self, authorization: str | None) -> Caller:
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            do = "send the header Authorization: Bearer KEY; `obligor keys create` makes one"
            raise AccessError("no key", where="Authorization", do=do)
        if self.admin_key and hmac.compare_digest(token.encode(), self.admin_key.encode()):
            return Caller("environment", "admin", 1_000_000)
        digest, now = sha256(token.encode()).hexdigest(), self.clock()
        seen = self._known.get(digest)
        if seen is None or now - seen[0] > _FRESH_S:
            if len(self._known) > 10_000:
                self._known.clear()
            self._known[digest] = seen = (now, find_key(self.engine, token))
        if seen[1] is None:
            raise AccessError("the key is not known, or was revoked", where="Authorization", do="ask for a new one")
        return seen[1]

    def _take(self, caller: Caller) -> None:
        """Take one of the tokens that come in at the key's rate; as many as come in a second may be saved."""
        now, rate = self.clock(), float(caller.per_second)
        bucket = self._buckets.setdefault(caller.key_id, _Bucket(rate, now))
        bucket.tokens = min(rate, bucket.tokens + (now - bucket.at) * rate)
        bucket.at = now
        if bucket.tokens < 1:
            raise RateError(f"more than {caller.per_second} calls a second", (1 - bucket.tokens) / rate)
        bucket.tokens -= 1


def create_key(
    engine: sa.Engine, name: str, role: str, at: datetime, random: Random, *, per_second: int = 1000,
    person: str | None = None, authority: str | None = None,
) -> str:  # fmt: skip
    """Make a key and return it: it is shown this once, and only its hash is kept."""
    key_id, secret = random(6).hex(), random(32).hex()
    row = {"key_id": key_id, "name": name, "role": role, "secret_sha256": sha256(secret.encode()).hexdigest(),
           "per_second": per_second, "person": person, "authority": authority, "created_at": at}  # fmt: skip
    with engine.begin() as connection:
        connection.execute(API_KEYS.insert().values(row))
    return f"{_PREFIX}_{key_id}_{secret}"


def revoke_key(engine: sa.Engine, key_id: str, at: datetime) -> None:
    """Revoke a key; services let it in for a few seconds more.

    Raises
    ------
    RecordError
        Where there is no such key.
    """
    with engine.begin() as connection:
        meant = (API_KEYS.c.key_id == key_id) & API_KEYS.c.revoked_at.is_(None)
        if connection.execute(API_KEYS.update().where(meant).values(revoked_at=at)).rowcount != 1:
            raise RecordError(f"no key {key_id!r}", where="keys", do="`obligor keys list` shows them")


def list_keys(engine: sa.Engine) -> list[dict[str, object]]:
    """Return every key without its secret's hash."""
    columns = [column for column in API_KEYS.c if column.name != "secret_sha256"]
    with engine.connect() as connection:
        rows = connection.execute(sa.select(*columns).order_by(API_KEYS.c.created_at))
        return [dict(row._mapping) for row in rows]


def find_key(engine: sa.Engine, token: str) -> Caller | None:
    """Return whose key a token is, None where nobody's; the secret is compared in constant time."""
    prefix, _, rest = token.partition("_")
    key_id, _, secret = rest.partition("_")
    if prefix != _PREFIX or not secret:
        return None
    with engine.connect() as connection:
        query = sa.select(API_KEYS).where(API_KEYS.c.key_id == key_id, API_KEYS.c.revoked_at.is_(None))
        row = connection.execute(query).first()
    given = sha256(secret.encode()).hexdigest()
    if row is None or not hmac.compare_digest(given, row.secret_sha256):
        return None
    return Caller(row.key_id, row.role, row.per_second, row.person, row.authority)
