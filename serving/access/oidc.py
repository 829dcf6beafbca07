"""Callers that a company's own login names: OIDC tokens (RFC 9068), checked against the issuer's public keys."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from obligor.errors import AccessError

# Signatures by a private key alone: with a shared secret, or with none, anybody who checks could also sign.
ALGORITHMS = (
    "RS256",
    "RS384",
    "RS512",
    "PS256",
    "PS384",
    "PS512",
    "ES256",
    "ES384",
    "ES512",
    "EdDSA",
    "Ed25519",
)
LEEWAY_S = 30
RETRY_S = 60.0  # so often at most the issuer is asked for keys we do not have


@dataclass
class TokenCheck:
    """Says who a token stands for.

    Parameters
    ----------
    issuer, audience : str
        What the token must name (``OBLIGOR_OIDC_ISSUER``, ``OBLIGOR_OIDC_AUDIENCE``).
    read_keys : callable
        The issuer's JWKS document as it is now.
    now : callable
        The time, with its zone.
    role_claim : str
        The claim that names our role, or a list with one of them in it (``OBLIGOR_OIDC_ROLE_CLAIM``).
    """

    issuer: str
    audience: str
    read_keys: Callable[[], Mapping[str, Any]]
    now: Callable[[], datetime]
    role_claim: str = "obligor_role"
    _keys: KeySet | None = None
    _read_at: float = field(default=-RETRY_S)

    def claims(self, token: str) -> dict[str, Any]:
        """Return what a token says once everything about it holds.

        Raises
        ------
        AccessError
            Where it is not the issuer's, not for us, too old or not yet valid.
        """
        at = self.now().timestamp()
        named = {
            "iss": {"essential": True, "value": self.issuer},
            "aud": {"essential": True, "value": self.audience},
        }
        required = {**named, "exp": {"essential": True}, "sub": {"essential": True}}
        try:
            found = self._decoded(token, at)
            claims = jwt.JWTClaimsRegistry(
                now=lambda: int(at),
                leeway=LEEWAY_S,
                **required,  # type: ignore[arg-type]
            )
            claims.validate(found)
        except (JoseError, ValueError, TypeError, KeyError) as error:
            # The class only: the token is a secret.
            raise AccessError(
                f"the token does not hold ({type(error).__name__})",
                where="Authorization",
                do="log in again; issuer, audience and time must be right",
            ) from None
        return found

    def _decoded(self, token: str, at: float) -> dict[str, Any]:
        if self._keys is not None:
            try:
                return self._opened(token)
            except JoseError:
                if at - self._read_at < RETRY_S:
                    raise
        # The issuer may have changed its keys.
        self._keys, self._read_at = KeySet.import_key_set(self.read_keys()), at  # type: ignore[arg-type]
        return self._opened(token)

    def _opened(self, token: str) -> dict[str, Any]:
        assert self._keys is not None
        return dict(jwt.decode(token, self._keys, algorithms=ALGORITHMS).claims)

    def roles(self, claims: Mapping[str, Any]) -> tuple[str, ...]:
        """Return the roles a token names."""
        said = claims.get(self.role_claim)
        return (
            tuple(map(str, said))
            if isinstance(said, list)
            else (str(said),)
            if said
            else ()
        )
