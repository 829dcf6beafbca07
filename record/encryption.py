"""Keys: each customer's text is sealed under a key of its own, and that key under one from the environment.

Destroying a customer's key erases all that was ever recorded about the customer; the log of hashes still verifies.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from hashlib import sha256

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from obligor.errors import RecordError
from obligor.signing import BYTES, Random

NONCE = 12


@dataclass(frozen=True)
class Vault:
    """Wraps keys under the data key; `random` gives bytes nobody can guess.

    Parameters
    ----------
    data_key : bytes
        32 bytes, from ``OBLIGOR_DATA_KEY``.
    """

    data_key: bytes
    random: Random

    def __post_init__(self) -> None:
        if len(self.data_key) != BYTES:
            raise RecordError(
                f"{len(self.data_key)} bytes",
                where="data key",
                expected=f"{BYTES} bytes",
            )

    @property
    def key_id(self) -> str:
        """What names the data key without giving it away."""
        return sha256(b"obligor data key" + self.data_key).hexdigest()[:16]

    def new_key(self) -> bytes:
        """Return a fresh key."""
        return self.random(BYTES)

    def wrap(self, key: bytes, owner: str) -> bytes:
        """Return a key sealed under the data key, for one owner."""
        return seal(self.data_key, key, f"key of {owner}", self.random)

    def unwrap(self, wrapped: bytes, owner: str) -> bytes:
        """Return the key that was wrapped for an owner.

        Raises
        ------
        RecordError
            Where it was wrapped under another data key, or was changed.
        """
        return unseal(self.data_key, wrapped, f"key of {owner}")


def seal(key: bytes, text: bytes, place: str, random: Random) -> bytes:
    """Return AES-GCM ciphertext with its nonce in front, bound to its place: moved elsewhere it does not open."""
    nonce = random(NONCE)
    return nonce + AESGCM(key).encrypt(nonce, text, place.encode())


def unseal(key: bytes, sealed: bytes, place: str) -> bytes:
    """Return what was sealed for a place.

    Raises
    ------
    RecordError
        Where key or place are others, or a bit was changed.
    """
    try:
        return AESGCM(key).decrypt(sealed[:NONCE], sealed[NONCE:], place.encode())
    except InvalidTag:
        do = "give the data key it was written under; if that is right, the record was changed"
        raise RecordError("cannot be opened", where=place, do=do) from None


def pseudonym(index_key: bytes, text: str) -> str:
    """Return a keyed hash by which a text is found again, and cannot be guessed without the key."""
    return hmac.new(index_key, text.encode(), sha256).hexdigest()
