"""Who may call what: API keys with a role, kept as hashes, and the table of roles and routes."""

from __future__ import annotations

import hmac
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from hashlib import sha256

import sqlalchemy as sa

from obligor.errors import AccessError, AuthorityError, RateError, RecordError
from obligor.serving.access.api_keys import Caller, find_key
from obligor.serving.access.denials import Denials, Denied
from obligor.serving.access.oidc import TokenCheck
from obligor.serving.access.quota import Quota
from obligor.serving.access.roles import ALLOWED, ROLES

_FRESH_S = 5.0  # so long a revoked key may still be let in


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
    now : callable
        The time, with its zone.
    admin_key : str, optional
        A key from ``OBLIGOR_ADMIN_KEY`` that is always an admin's.
    tokens : TokenCheck, optional
        Takes tokens of a company's own login beside our keys.
    """

    engine: sa.Engine
    now: Callable[[], datetime]
    admin_key: str | None = None
    clock: Callable[[], float] = time.monotonic
    tokens: TokenCheck | None = None
    denials: Denials = field(default_factory=Denials)
    _known: dict[str, tuple[float, Caller | None]] = field(default_factory=dict)
    _buckets: dict[str, _Bucket] = field(default_factory=dict)

    @cached_property
    def quota(self) -> Quota:
        """How often each key called today."""
        return Quota(self.engine, self.now)

    def admit(self, method: str, path: str, authorization: str | None) -> Caller:
        """Return who calls; who is denied is counted.

        Raises
        ------
        AccessError
            Where there is no key, or none that is known.
        AuthorityError
            Where the key's role may not call this route.
        RateError
            Where the key has called too often.
        """
        caller = None
        try:
            caller = self._caller(authorization)
            self._require_role(caller, method, path)
            self._take(caller)
            self.quota.take(caller.key_id, caller.per_day)
        except (AccessError, AuthorityError, RateError) as error:
            status = (
                401
                if isinstance(error, AccessError)
                else 403
                if isinstance(error, AuthorityError)
                else 429
            )
            self.denials.note(
                Denied(caller.key_id if caller else "", method, path, status)
            )
            raise
        except sa.exc.SQLAlchemyError as error:
            raise RecordError(
                f"keys cannot be read ({type(error).__name__})", do="check the database"
            ) from None
        return caller

    def _require_role(self, caller: Caller, method: str, path: str) -> None:
        if caller.role not in ALLOWED.get((method, path), frozenset()):
            expected = f"one of {sorted(ALLOWED.get((method, path), ()))}"
            raise AuthorityError(
                f"a key of role {caller.role} may not call it",
                where=path,
                expected=expected,
            )

    def _caller(self, authorization: str | None) -> Caller:
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            do = "send the header Authorization: Bearer KEY; `obligor keys create` makes one"
            raise AccessError("no key", where="Authorization", do=do)
        if self.admin_key and hmac.compare_digest(
            token.encode(), self.admin_key.encode()
        ):
            return Caller("environment", "environment", "admin", 1_000_000)
        if self.tokens and token.count(".") == 2:
            return self._of_token(self.tokens, token)
        digest, now = sha256(token.encode()).hexdigest(), self.clock()
        seen = self._known.get(digest)
        if seen is None or now - seen[0] > _FRESH_S:
            if len(self._known) > 10_000:
                self._known.clear()
            self._known[digest] = seen = (now, find_key(self.engine, token))
        if seen[1] is None:
            raise AccessError(
                "the key is not known, or was revoked",
                where="Authorization",
                do="ask for a new one",
            )
        return seen[1]

    def _of_token(self, tokens: TokenCheck, token: str) -> Caller:
        """A person who logged in elsewhere; speaks for that person alone."""
        claims = tokens.claims(token)
        roles = [role for role in ROLES if role in tokens.roles(claims)]
        if not roles:
            raise AuthorityError(
                "the token names no role of ours",
                where=tokens.role_claim,
                expected=str(ROLES),
            )
        subject = str(claims["sub"])
        person = (
            None if roles[-1] == "application" else str(claims.get("name") or subject)
        )
        return Caller(
            f"oidc {subject}"[:64],
            subject[:128],
            roles[-1],
            1000,
            person,
            claims.get("obligor_authority"),
        )

    def _take(self, caller: Caller) -> None:
        """Take one of the tokens that come in at the key's rate; as many as come in a second may be saved."""
        now, rate = self.clock(), float(caller.per_second)
        bucket = self._buckets.setdefault(caller.key_id, _Bucket(rate, now))
        bucket.tokens = min(rate, bucket.tokens + (now - bucket.at) * rate)
        bucket.at = now
        if bucket.tokens < 1:
            raise RateError(
                f"more than {caller.per_second} calls a second",
                (1 - bucket.tokens) / rate,
            )
        bucket.tokens -= 1
