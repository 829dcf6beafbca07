"""API keys: created, listed, revoked and found by their hash."""

from __future__ import annotations

import hmac
from datetime import datetime
from hashlib import sha256
from typing import NamedTuple

import sqlalchemy as sa

from obligor.errors import RecordError
from obligor.record.tables import API_KEYS
from obligor.signing import Random

_PREFIX = "obl"


class Caller(NamedTuple):
    """Who calls: a key, its name and role, and the person it is bound to, with the authority that person has.

    An application may have several keys of one name; what one of them asked for is the others' too.
    """

    key_id: str
    name: str
    role: str
    per_second: int
    person: str | None = None
    authority: str | None = None
    per_day: int | None = None


def create_key(
    engine: sa.Engine,
    name: str,
    role: str,
    at: datetime,
    random: Random,
    *,
    per_second: int = 1000,
    per_day: int | None = None,
    person: str | None = None,
    authority: str | None = None,
) -> str:
    """Make a key and return it: it is shown this once, and only its hash is kept."""
    key_id, secret = random(6).hex(), random(32).hex()
    row = {
        "key_id": key_id,
        "name": name,
        "role": role,
        "secret_sha256": sha256(secret.encode()).hexdigest(),
        "per_second": per_second,
        "per_day": per_day,
        "person": person,
        "authority": authority,
        "created_at": at,
    }
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
        if (
            connection.execute(
                API_KEYS.update().where(meant).values(revoked_at=at)
            ).rowcount
            != 1
        ):
            raise RecordError(
                f"no key {key_id!r}", where="keys", do="`obligor keys list` shows them"
            )


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
        query = sa.select(API_KEYS).where(
            API_KEYS.c.key_id == key_id, API_KEYS.c.revoked_at.is_(None)
        )
        row = connection.execute(query).first()
    given = sha256(secret.encode()).hexdigest()
    if row is None or not hmac.compare_digest(given, row.secret_sha256):
        return None
    return Caller(
        row.key_id,
        row.name,
        row.role,
        row.per_second,
        row.person,
        row.authority,
        row.per_day,
    )
