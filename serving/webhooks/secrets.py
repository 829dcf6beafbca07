"""Secrets that sign events: ``whsec_`` and base64, as Standard Webhooks writes them."""

from __future__ import annotations

import binascii
from base64 import b64decode, b64encode

from obligor.errors import SchemaError
from obligor.signing import Random

PREFIX = "whsec_"
# Standard Webhooks 1.0 asks for 24 to 64 bytes.
FEWEST_BYTES = 24
MOST_BYTES = 64
NEW_BYTES = 32


def new_secret(random: Random) -> str:
    """Return a fresh secret."""
    return as_text(random(NEW_BYTES))


def as_text(secret: bytes) -> str:
    """Return a secret as its text.

    Examples
    --------
    >>> as_text(b"0" * 24)
    'whsec_MDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAw'
    """
    return PREFIX + b64encode(secret).decode()


def parsed_secrets(text: str, where: str) -> list[str]:
    """Return the secrets in a text, separated by blanks.

    Parameters
    ----------
    text : str
        Such as the value of an environment variable.
    where : str
        What the text comes from, for the message.

    Returns
    -------
    list of str
        One or more.

    Raises
    ------
    SchemaError
        If there is none, or one is not a secret; the message does not repeat it.
    """
    secrets = text.split()
    if not secrets:
        raise SchemaError(
            "there is no secret",
            where=where,
            expected=f"{PREFIX}... (several separated by blanks)",
        )
    for secret in secrets:
        _require_secret(secret, where)
    return secrets


def _require_secret(secret: str, where: str) -> None:
    try:
        n_bytes = len(b64decode(secret.removeprefix(PREFIX), validate=True))
    except (binascii.Error, ValueError):
        n_bytes = 0
    is_long_enough = FEWEST_BYTES <= n_bytes <= MOST_BYTES
    if not (secret.startswith(PREFIX) and is_long_enough):
        raise SchemaError(
            "the text is not a secret",
            where=where,
            expected=f"{PREFIX} and {FEWEST_BYTES} to {MOST_BYTES} bytes in base64",
        )
