"""The gate in front of every route: authentication, roles, rate limits."""

from __future__ import annotations

import hmac
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from hashlib import sha256
from typing import NamedTuple

import sqlalchemy as sa

from obligor.errors import AccessError, AuthorityError, RateError, RecordError
from obligor.serving.access.api_keys import Caller, find_key
from obligor.serving.access.denials import Denials, Denied
from obligor.serving.access.oidc import TokenCheck
from obligor.serving.access.quota import Quota
from obligor.serving.access.roles import ALLOWED, ROLES

# For so long a revoked key may still be accepted.
_FRESH_S = 5.0
_MOST_CACHED = 10_000
_ADMIN_FROM_ENVIRONMENT = Caller(
    key_id="environment",
    name="environment",
    role="admin",
    per_second=1_000_000,
)


@dataclass
class _Bucket:
    """A token bucket: calls a key may make at once, and when it was last filled."""

    tokens: float
    filled_at: float


class _Looked(NamedTuple):
    """The result of looking up a key, and when that was; None for an unknown key."""

    at: float
    caller: Caller | None


@dataclass
class Gate:
    """Authenticates callers and enforces their rate limits.

    Parameters
    ----------
    engine : Engine
        Of the record's database, which also stores the keys.
    now : callable
        Returns the time, with its zone.
    admin_key : str, optional
        A key from ``OBLIGOR_ADMIN_KEY`` that always has the role admin.
    clock : callable
        Returns seconds that never go back.
    tokens : TokenCheck, optional
        Accepts tokens of a company's own login besides our keys.
    denials : Denials
        Counts the calls that were denied.
    """

    engine: sa.Engine
    now: Callable[[], datetime]
    admin_key: str | None = None
    clock: Callable[[], float] = time.monotonic
    tokens: TokenCheck | None = None
    denials: Denials = field(default_factory=Denials)
    _cache: dict[str, _Looked] = field(default_factory=dict)
    _buckets: dict[str, _Bucket] = field(default_factory=dict)

    @cached_property
    def quota(self) -> Quota:
        """How often each key called today."""
        return Quota(self.engine, self.now)

    def admit(
        self,
        method: str,
        path: str,
        authorization: str | None,
    ) -> Caller:
        """Return who calls; a denied call is counted.

        Parameters
        ----------
        method : str
            Such as ``GET``.
        path : str
            The route's path with its parameters in braces.
        authorization : str, optional
            The header of that name.

        Raises
        ------
        AccessError
            If there is no key, or it is not valid.
        AuthorityError
            If the key's role may not call this route.
        RateError
            If the key has called too often.
        RecordError
            If the keys cannot be read.
        """
        key_id = ""
        try:
            caller = self._authenticated(authorization)
            key_id = caller.key_id
            _require_role(caller, method, path)
            self._take_token(caller)
            self.quota.take(caller.key_id, caller.per_day)
        except AccessError:
            self.denials.count(Denied(key_id, method, path, 401))
            raise
        except AuthorityError:
            self.denials.count(Denied(key_id, method, path, 403))
            raise
        except RateError:
            self.denials.count(Denied(key_id, method, path, 429))
            raise
        except sa.exc.SQLAlchemyError as error:
            raise RecordError(
                f"the API keys cannot be read ({type(error).__name__})",
                do="check the database",
            ) from None
        return caller

    def _authenticated(self, authorization: str | None) -> Caller:
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise AccessError(
                "the request has no API key",
                where="Authorization",
                do="send the header Authorization: Bearer KEY; "
                "`obligor keys create` makes a key",
            )
        if self.admin_key is not None and _is_equal(token, self.admin_key):
            return _ADMIN_FROM_ENVIRONMENT
        # A JSON web token has three parts (RFC 7515, 3.1).
        if self.tokens is not None and token.count(".") == 2:
            return _caller_of_token(self.tokens, token)
        caller = self._caller_of_key(token)
        if caller is None:
            raise AccessError(
                "the key is not valid, or was revoked",
                where="Authorization",
                do="request a new one",
            )
        return caller

    def _caller_of_key(self, key: str) -> Caller | None:
        digest = sha256(key.encode()).hexdigest()
        now = self.clock()
        looked = self._cache.get(digest)
        if looked is None or now - looked.at > _FRESH_S:
            if len(self._cache) > _MOST_CACHED:
                self._cache.clear()
            looked = _Looked(at=now, caller=find_key(self.engine, key))
            self._cache[digest] = looked
        return looked.caller

    def _take_token(self, caller: Caller) -> None:
        """Take a token from the key's bucket, which fills at the key's rate.

        As many calls as are allowed in a second may be saved up.
        """
        now = self.clock()
        rate = float(caller.per_second)
        bucket = self._buckets.setdefault(caller.key_id, _Bucket(rate, now))
        earned = (now - bucket.filled_at) * rate
        bucket.tokens = min(rate, bucket.tokens + earned)
        bucket.filled_at = now
        if bucket.tokens < 1:
            raise RateError(
                f"the key's limit of {caller.per_second:,} calls a second is reached",
                retry_after_s=(1 - bucket.tokens) / rate,
            )
        bucket.tokens -= 1


def _require_role(
    caller: Caller,
    method: str,
    path: str,
) -> None:
    allowed = ALLOWED.get((method, path), frozenset())
    if caller.role not in allowed:
        raise AuthorityError(
            f"a key with the role {caller.role} may not call this route",
            where=path,
            expected=f"one of {sorted(allowed)}",
        )


def _caller_of_token(tokens: TokenCheck, token: str) -> Caller:
    """Return a person who logged in elsewhere; the caller speaks for that person."""
    claims = tokens.claims(token)
    token_roles = tokens.roles(claims)
    roles = [role for role in ROLES if role in token_roles]
    if not roles:
        raise AuthorityError(
            "the token's role claim contains no Obligor role",
            where=tokens.role_claim,
            expected=f"one of {', '.join(ROLES)}",
        )
    # Of several roles, the one that stands last in `ROLES`.
    role = roles[-1]
    subject = str(claims["sub"])
    person = None
    if role != "application":
        person = str(claims.get("name") or subject)
    return Caller(
        key_id=f"oidc {subject}"[:64],
        name=subject[:128],
        role=role,
        per_second=1000,
        person=person,
        authority=claims.get("obligor_authority"),
    )


def _is_equal(text: str, secret: str) -> bool:
    """Return whether two texts are equal, in constant time."""
    return hmac.compare_digest(text.encode(), secret.encode())
