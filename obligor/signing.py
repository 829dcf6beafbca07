"""Keys of 32 bytes, the files they are kept in, and Ed25519 signatures."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)

from obligor.errors import KeyFileError

BYTES = 32
# The public half of the release key, in the store.
RELEASE_PUBLIC = "keys/release.pem"
Random = Callable[[int], bytes]


@dataclass(frozen=True)
class Signer:
    """A signing key (Ed25519, RFC 8032).

    Parameters
    ----------
    seed : bytes
        32 random bytes; whoever has them can sign.
    """

    seed: bytes = field(repr=False)

    @cached_property
    def _private(self) -> Ed25519PrivateKey:
        return Ed25519PrivateKey.from_private_bytes(self.seed)

    @cached_property
    def public(self) -> bytes:
        """The public key as PEM, with which anyone can check a signature."""
        key = self._private.public_key()
        return key.public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    @cached_property
    def key_id(self) -> str:
        """The id of the key: the first 16 digits of its public key's SHA-256."""
        return sha256(self.public).hexdigest()[:16]

    def sign(self, text: bytes) -> bytes:
        """Return the signature of a text; Ed25519 gives the same one each time."""
        return self._private.sign(text)


def public_key(pem: bytes, where: str) -> Ed25519PublicKey:
    """Return a public key from its PEM.

    Parameters
    ----------
    pem : bytes
        The text of a PEM file.
    where : str
        The name of the file, for the message.

    Raises
    ------
    KeyFileError
        If it is not an Ed25519 public key.
    """
    try:
        key = serialization.load_pem_public_key(pem)
    except ValueError:
        key = None
    if not isinstance(key, Ed25519PublicKey):
        raise KeyFileError(
            "not a valid public key", where=where, expected="an Ed25519 key as PEM"
        )
    return key


def signature_is_valid(key: Ed25519PublicKey, signature: bytes, text: bytes) -> bool:
    """Return whether a key signed a text.

    Parameters
    ----------
    key : Ed25519PublicKey
        The public key of the signer.
    signature : bytes
        64 bytes; any others are not valid.
    text : bytes
        What was signed.

    Examples
    --------
    >>> signer = Signer(bytes(32))
    >>> key = public_key(signer.public, "example")
    >>> signature = signer.sign(b"text")
    >>> signature_is_valid(key, signature, b"text")
    True
    >>> signature_is_valid(key, signature, b"test")
    False
    """
    try:
        key.verify(signature, text)
    except InvalidSignature:
        return False
    return True


def is_signed(signature: bytes, text: bytes, keys: Sequence[Ed25519PublicKey]) -> bool:
    """Return whether one of some keys signed a text.

    Parameters
    ----------
    signature : bytes
        Hexadecimal digits, as in a signature file; anything else is not valid.
    text : bytes
        What was signed.
    keys : sequence of Ed25519PublicKey
        The public keys of the signers we trust.

    Examples
    --------
    >>> signer = Signer(bytes(32))
    >>> keys = [public_key(signer.public, "example")]
    >>> is_signed(signer.sign(b"text").hex().encode(), b"text", keys)
    True
    >>> is_signed(b"not hexadecimal", b"text", keys)
    False
    """
    try:
        raw = bytes.fromhex(signature.decode("ascii"))
    except ValueError:
        return False
    return any(signature_is_valid(key, raw, text) for key in keys)


def key_file(path: Path, random: Random) -> bytes:
    """Return the key in a file, which is created if it does not exist.

    Only the owner can read a file that is created here.

    Parameters
    ----------
    path : Path
        The file; it holds 64 hexadecimal digits.
    random : callable
        Returns so many random bytes.

    Raises
    ------
    KeyFileError
        If the file does not hold a key of 32 bytes.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        # O_EXCL: of two processes that start at once, one creates the key.
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        pass
    else:
        with os.fdopen(descriptor, "wb") as file:
            file.write(random(BYTES).hex().encode())
    return parse_key(path.read_text(), path.name)


def release_signer(store: Path, key: str | None, random: Random) -> Signer:
    """Return the signer of models and rulebooks.

    Its public key is written into the store, where the service reads it, unless one is
    there: a key that the service trusts is never replaced silently.

    Parameters
    ----------
    store : Path
        The folder of the store.
    key : str, optional
        The value of ``OBLIGOR_RELEASE_KEY``; without it a key is created in the store.
    random : callable
        Returns so many random bytes.

    Raises
    ------
    KeyFileError
        If the key is not valid.
    """
    if key:
        signer = Signer(parse_key(key, "OBLIGOR_RELEASE_KEY"))
    else:
        signer = Signer(key_file(store / "keys" / "release.key", random))
    public = store / RELEASE_PUBLIC
    if not public.exists():
        public.parent.mkdir(parents=True, exist_ok=True)
        public.write_bytes(signer.public)
    return signer


def parse_key(text: str, where: str) -> bytes:
    """Return the 32 bytes that 64 hexadecimal digits stand for.

    The message of an error never contains the text.

    Parameters
    ----------
    text : str
        The digits; space around them is ignored.
    where : str
        The file or variable they come from, for the message.

    Raises
    ------
    KeyFileError
        If the text is not such a key.
    """
    try:
        key = bytes.fromhex(text.strip())
    except ValueError:
        key = b""
    if len(key) != BYTES:
        raise KeyFileError(
            "not a valid key", where=where, expected=f"{2 * BYTES} hexadecimal digits"
        )
    return key
