"""Tokens of a company's own login: OpenID Connect access tokens (RFC 9068)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from obligor.errors import AccessError

# Only signatures made with a private key: with a shared secret, everybody who can check
# a token could also sign one (RFC 8725, 3.1 and 3.2).
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
# Clocks may differ by so much.
LEEWAY_S = 30
# The issuer is asked for keys we do not have at most so often.
RETRY_S = 60.0

Claims = dict[str, Any]


@dataclass
class TokenCheck:
    """Checks tokens against the issuer's public keys.

    Parameters
    ----------
    issuer, audience : str
        What the token must name (``OBLIGOR_OIDC_ISSUER``, ``OBLIGOR_OIDC_AUDIENCE``).
    read_keys : callable
        Returns the issuer's current JWKS document (RFC 7517).
    now : callable
        Returns the time, with its zone.
    role_claim : str
        The claim that contains our role, or a list with it
        (``OBLIGOR_OIDC_ROLE_CLAIM``).
    """

    issuer: str
    audience: str
    read_keys: Callable[[], Mapping[str, Any]]
    now: Callable[[], datetime]
    role_claim: str = "obligor_role"
    _keys: KeySet | None = None
    _read_at: float = field(default=-RETRY_S)

    def claims(self, token: str) -> Claims:
        """Return the claims of a token after everything about it was checked.

        Raises
        ------
        AccessError
            If another issuer signed it, it is for another audience, or it is too old
            or not valid yet.
        """
        at = self.now().timestamp()
        registry = jwt.JWTClaimsRegistry(
            now=lambda: int(at),
            leeway=LEEWAY_S,
            iss={"essential": True, "value": self.issuer},
            aud={"essential": True, "value": self.audience},
            exp={"essential": True},
            sub={"essential": True},
        )
        try:
            claims = self._decoded(token, at)
            registry.validate(claims)
        except (JoseError, ValueError, TypeError, KeyError) as error:
            # The class only: the token is a secret.
            raise AccessError(
                f"the token is not valid ({type(error).__name__})",
                where="Authorization",
                do="log in again; issuer, audience and time must be right",
            ) from None
        return claims

    def roles(self, claims: Claims) -> tuple[str, ...]:
        """Return the roles in a token's claims."""
        value = claims.get(self.role_claim)
        if isinstance(value, list):
            return tuple(map(str, value))
        return (str(value),) if value else ()

    def _decoded(
        self,
        token: str,
        at: float,
    ) -> Claims:
        if self._keys is not None:
            try:
                return _claims(token, self._keys)
            except JoseError:
                if at - self._read_at < RETRY_S:
                    raise
        # The issuer may have changed its keys.
        keys = KeySet.import_key_set(self.read_keys())  # type: ignore[arg-type]
        self._keys = keys
        self._read_at = at
        return _claims(token, keys)


def _claims(token: str, keys: KeySet) -> Claims:
    return dict(jwt.decode(token, keys, algorithms=ALGORITHMS).claims)
