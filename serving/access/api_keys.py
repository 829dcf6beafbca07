"""API keys: created, listed, revoked, and looked up by their hash."""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import NamedTuple

import sqlalchemy as sa

from obligor.errors import RecordError
from obligor.record.tables import API_KEYS
from obligor.signing import Random

_PREFIX = "obl"


class Caller(NamedTuple):
    """Who calls: a key, or a person who logged in elsewhere.

    Attributes
    ----------
    key_id : str
        The key's public part.
    name : str
        The calling application. It may have several keys: what one of them requested,
        the others may read.
    role : str
        One of `obligor.serving.access.roles.ROLES`.
    per_second : int
        How many calls it may make in a second.
    person : str, optional
        The person the key speaks for, and for nobody else.
    authority : str, optional
        The authority of that person, which limits what they may resolve.
    per_day : int, optional
        How many calls it may make in a day (UTC).
    """

    key_id: str
    name: str
    role: str
    per_second: int
    person: str | None = None
    authority: str | None = None
    per_day: int | None = None


@dataclass(frozen=True)
class NewKey:
    """What a key will be; the attributes are those of `Caller`."""

    name: str
    role: str
    per_second: int = 1000
    per_day: int | None = None
    person: str | None = None
    authority: str | None = None


def create_key(
    engine: sa.Engine,
    new_key: NewKey,
    at: datetime,
    random: Random,
) -> str:
    """Create a key.

    Parameters
    ----------
    engine : Engine
        Of the database that stores the keys.
    new_key : NewKey
        Its name, role and limits.
    at : datetime
        The time, with its zone.
    random : callable
        Returns as many unpredictable bytes as it is asked for.

    Returns
    -------
    str
        The key. It cannot be shown again: only the hash of its secret is stored.
    """
    key_id = random(6).hex()
    secret = random(32).hex()
    row = {
        "key_id": key_id,
        "secret_sha256": _secret_hash(secret),
        "created_at": at,
        **vars(new_key),
    }
    with engine.begin() as connection:
        connection.execute(API_KEYS.insert().values(row))
    return f"{_PREFIX}_{key_id}_{secret}"


def revoke_key(
    engine: sa.Engine,
    key_id: str,
    at: datetime,
) -> None:
    """Revoke a key; running services accept it for a few seconds more.

    Parameters
    ----------
    engine : Engine
        Of the database that stores the keys.
    key_id : str
        The key's public part, between the underscores.
    at : datetime
        The time, with its zone.

    Raises
    ------
    RecordError
        If there is no such key, or it is revoked already.
    """
    is_valid = (API_KEYS.c.key_id == key_id) & API_KEYS.c.revoked_at.is_(None)
    with engine.begin() as connection:
        update = API_KEYS.update().where(is_valid).values(revoked_at=at)
        if connection.execute(update).rowcount != 1:
            raise RecordError(
                f"no valid key has the id {key_id!r}",
                where="keys",
                do="`obligor keys list` shows them",
            )


def list_keys(engine: sa.Engine) -> list[dict[str, object]]:
    """Return every key without the hash of its secret, the oldest first."""
    columns = [column for column in API_KEYS.c if column.name != "secret_sha256"]
    query = sa.select(*columns).order_by(API_KEYS.c.created_at)
    with engine.connect() as connection:
        return [dict(row._mapping) for row in connection.execute(query)]


def find_key(engine: sa.Engine, token: str) -> Caller | None:
    """Return the caller a token belongs to; None if it is not a valid key."""
    prefix, _, key_id_and_secret = token.partition("_")
    key_id, _, secret = key_id_and_secret.partition("_")
    if prefix != _PREFIX or not secret:
        return None
    query = sa.select(API_KEYS).where(
        API_KEYS.c.key_id == key_id,
        API_KEYS.c.revoked_at.is_(None),
    )
    with engine.connect() as connection:
        row = connection.execute(query).first()
    if row is None:
        return None
    # In constant time: the time it takes must not tell how much of a guess was right.
    if not hmac.compare_digest(_secret_hash(secret), row.secret_sha256):
        return None
    return Caller(
        key_id=row.key_id,
        name=row.name,
        role=row.role,
        per_second=row.per_second,
        person=row.person,
        authority=row.authority,
        per_day=row.per_day,
    )


def _secret_hash(secret: str) -> str:
    """Return the hash a secret is stored as.

    The secret is 32 random bytes, so a fast hash without salt is enough: it can be
    neither guessed nor looked up.
    """
    return sha256(secret.encode()).hexdigest()
