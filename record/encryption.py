"""Keys: each customer's texts are encrypted under a key of the customer's own.

The customers' keys are stored encrypted (wrapped) under one data key from the
environment. Destroying a customer's key erases everything recorded about the customer;
the log of hashes still verifies.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from hashlib import sha256

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from obligor.errors import RecordError
from obligor.signing import BYTES, Random

# 96 bits, as NIST SP 800-38D (5.2.1.1) recommends for AES-GCM.
NONCE_BYTES = 12


@dataclass(frozen=True)
class Vault:
    """Wraps and unwraps keys under the data key.

    Parameters
    ----------
    data_key : bytes
        32 bytes, from ``OBLIGOR_DATA_KEY``.
    random : callable
        Returns as many unpredictable bytes as it is asked for.
    """

    data_key: bytes
    random: Random

    def __post_init__(self) -> None:
        if len(self.data_key) != BYTES:
            raise RecordError(
                f"the key has {len(self.data_key)} bytes",
                where="data key",
                expected=f"{BYTES} bytes",
            )

    @property
    def key_id(self) -> str:
        """A name of the data key that does not reveal it."""
        return sha256(b"obligor data key" + self.data_key).hexdigest()[:16]

    def new_key(self) -> bytes:
        """Return a fresh key of 32 bytes."""
        return self.random(BYTES)

    def wrap(
        self,
        key: bytes,
        owner: str,
    ) -> bytes:
        """Return a key encrypted under the data key, for one owner."""
        return encrypt(self.data_key, key, _context_of(owner), self.random)

    def unwrap(
        self,
        wrapped: bytes,
        owner: str,
    ) -> bytes:
        """Return the key that was wrapped for an owner.

        Raises
        ------
        RecordError
            If it was wrapped under another data key, or was changed.
        """
        return decrypt(self.data_key, wrapped, _context_of(owner))


def encrypt(
    key: bytes,
    plaintext: bytes,
    context: str,
    random: Random,
) -> bytes:
    """Return a text encrypted and authenticated with AES-GCM (NIST SP 800-38D).

    Parameters
    ----------
    key : bytes
        32 bytes: AES-256.
    plaintext : bytes
        The text.
    context : str
        What the text is, such as ``body of d-1``. It is authenticated with the text, so
        that a ciphertext moved to another row or column cannot be decrypted.
    random : callable
        Gives the nonce.

    Returns
    -------
    bytes
        The nonce, followed by the ciphertext with its tag.
    """
    nonce = random(NONCE_BYTES)
    return nonce + AESGCM(key).encrypt(nonce, plaintext, context.encode())


def decrypt(
    key: bytes,
    ciphertext: bytes,
    context: str,
) -> bytes:
    """Return the text that was encrypted for a context.

    Parameters
    ----------
    key : bytes
        The key it was encrypted under.
    ciphertext : bytes
        As `encrypt` returns it.
    context : str
        The context it was encrypted for.

    Raises
    ------
    RecordError
        If the key or the context is a different one, or a bit was changed.
    """
    nonce = ciphertext[:NONCE_BYTES]
    try:
        return AESGCM(key).decrypt(nonce, ciphertext[NONCE_BYTES:], context.encode())
    except InvalidTag:
        raise RecordError(
            "the text cannot be decrypted",
            where=context,
            do="set the data key it was written under; if the key is right, the record "
            "was changed",
        ) from None


def pseudonym(index_key: bytes, text: str) -> str:
    """Return a keyed hash (HMAC-SHA-256, RFC 2104) that stands for a text.

    The text can be looked up by it, and cannot be guessed without the key.
    """
    return hmac.new(index_key, text.encode(), sha256).hexdigest()


def _context_of(owner: str) -> str:
    return f"key of {owner}"
