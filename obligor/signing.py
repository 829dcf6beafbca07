"""Keys of 32 bytes, the files they are in, and signatures (Ed25519, RFC 8032)."""

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
RELEASE_PUBLIC = "keys/release.pem"  # in the store
Random = Callable[[int], bytes]


@dataclass(frozen=True)
class Signer:
    """A signing key.

    Parameters
    ----------
    seed : bytes
        32 unpredictable bytes.
    """

    seed: bytes = field(repr=False)

    @cached_property
    def _private(self) -> Ed25519PrivateKey:
        return Ed25519PrivateKey.from_private_bytes(self.seed)

    @cached_property
    def public(self) -> bytes:
        """The public key as PEM: what signatures are checked with."""
        return self._private.public_key().public_bytes(
            serialization.Encoding.PEM,
            serialization.PublicFormat.SubjectPublicKeyInfo,
        )

    @cached_property
    def key_id(self) -> str:
        """A name of the key: the start of the public key's hash."""
        return sha256(self.public).hexdigest()[:16]

    def sign(self, text: bytes) -> bytes:
        """Return the signature over a text; the same text always gets the same one."""
        return self._private.sign(text)


def public_key(pem: bytes, where: str) -> Ed25519PublicKey:
    """Return a public key from its PEM.

    Raises
    ------
    KeyFileError
        If the PEM does not contain an Ed25519 key; the error names `where` it is.
    """
    try:
        key = serialization.load_pem_public_key(pem)
    except ValueError:
        key = None
    if not isinstance(key, Ed25519PublicKey):
        raise KeyFileError(
            "not a valid public key",
            where=where,
            expected="an Ed25519 key as PEM",
        )
    return key


def signature_is_valid(key: Ed25519PublicKey, signature: bytes, text: bytes) -> bool:
    """Return whether a signature over a text was made with a key.

    Parameters
    ----------
    key : Ed25519PublicKey
        The public key.
    signature : bytes
        64 bytes.
    text : bytes
        The text that was signed.

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
    """Return whether a text was signed with one of some keys.

    Parameters
    ----------
    signature : bytes
        The signature as hexadecimal digits in ASCII, as a file contains it.
    text : bytes
        The text that was signed.
    keys : sequence of Ed25519PublicKey
        The public keys that are trusted.

    Examples
    --------
    >>> signer = Signer(bytes(32))
    >>> keys = [public_key(signer.public, "example")]
    >>> digits = signer.sign(b"text").hex().encode()
    >>> is_signed(digits, b"text", keys)
    True
    >>> is_signed(b"no digits", b"text", keys)
    False
    >>> is_signed(b"", b"text", keys)
    False
    """
    try:
        signature_bytes = bytes.fromhex(signature.decode("ascii"))
    except ValueError:
        return False
    return any(signature_is_valid(key, signature_bytes, text) for key in keys)


def key_file(path: Path, random: Random) -> bytes:
    """Return the key in a file; a missing file is created, readable by its owner only.

    Raises
    ------
    KeyFileError
        If the file does not contain a key of 32 bytes.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(random(BYTES).hex().encode())
    except FileExistsError:
        pass
    return parse_key(path.read_text(), path.name)


def release_signer(store: Path, key: str | None, random: Random) -> Signer:
    """Return the key that signs models and rulebooks.

    Its public half is written to the store, for the service.

    Parameters
    ----------
    store : Path
        The store.
    key : str, optional
        ``OBLIGOR_RELEASE_KEY``; without it, a key is created once, in the store.
    random : callable
        Returns as many unpredictable bytes as it is asked for.

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
    # The service trusts the key that is there: it is never replaced silently.
    if not public.exists():
        public.parent.mkdir(parents=True, exist_ok=True)
        public.write_bytes(signer.public)
    return signer


def parse_key(text: str, where: str) -> bytes:
    """Return the 32 bytes that 64 hexadecimal digits stand for.

    Raises
    ------
    KeyFileError
        If the text is not such a key. The error never repeats the text.
    """
    try:
        key = bytes.fromhex(text.strip())
    except ValueError:
        key = b""
    if len(key) != BYTES:
        raise KeyFileError(
            "not a valid key",
            where=where,
            expected=f"{2 * BYTES} hexadecimal digits",
        )
    return key
