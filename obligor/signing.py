"""Keys of 32 bytes, where they lie, and signatures (Ed25519) made with them."""

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
        32 bytes nobody can guess.
    """

    seed: bytes = field(repr=False)

    @cached_property
    def _private(self) -> Ed25519PrivateKey:
        return Ed25519PrivateKey.from_private_bytes(self.seed)

    @cached_property
    def public(self) -> bytes:
        """The public key as PEM: what those who check need."""
        kind = serialization.PublicFormat.SubjectPublicKeyInfo
        return self._private.public_key().public_bytes(serialization.Encoding.PEM, kind)

    @cached_property
    def key_id(self) -> str:
        """What names the key: the start of the public key's hash."""
        return sha256(self.public).hexdigest()[:16]

    def sign(self, text: bytes) -> bytes:
        """Return the signature over a text, the same each time it is asked for."""
        return self._private.sign(text)


def public_key(pem: bytes, where: str) -> Ed25519PublicKey:
    """Return a public key from its PEM.

    Raises
    ------
    KeyFileError
        Where it holds none of Ed25519.
    """
    try:
        key = serialization.load_pem_public_key(pem)
    except ValueError:
        key = None
    if not isinstance(key, Ed25519PublicKey):
        raise KeyFileError(
            "is no public key", where=where, expected="an Ed25519 key as PEM"
        )
    return key


def holds(key: Ed25519PublicKey, signature: bytes, text: bytes) -> bool:
    """Return whether a signature is that of a key over a text.

    Examples
    --------
    >>> signer = Signer(bytes(32))
    >>> key = public_key(signer.public, "example")
    >>> holds(key, signer.sign(b"text"), b"text"), holds(key, signer.sign(b"text"), b"test")
    (True, False)
    """
    try:
        key.verify(signature, text)
    except InvalidSignature:
        return False
    return True


def is_signed(signature: bytes, text: bytes, keys: Sequence[Ed25519PublicKey]) -> bool:
    """Return whether a signature, in hexadecimal digits as it lies in a file, is that of one of the keys.

    Examples
    --------
    >>> signer = Signer(bytes(32))
    >>> keys = [public_key(signer.public, "example")]
    >>> [is_signed(one, b"text", keys) for one in (signer.sign(b"text").hex().encode(), b"no digits", b"")]
    [True, False, False]
    """
    try:
        found = bytes.fromhex(signature.decode("ascii"))
    except ValueError:
        return False
    return any(holds(key, found, text) for key in keys)


def key_file(path: Path, random: Random) -> bytes:
    """Return the key in a file, made where there is none, readable by its owner only.

    Raises
    ------
    KeyFileError
        Where the file holds no key of 32 bytes.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        written = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(written, "wb") as file:
            file.write(random(BYTES).hex().encode())
    except FileExistsError:
        pass
    return parse_key(path.read_text(), path.name)


def release_signer(store: Path, given: str | None, random: Random) -> Signer:
    """Return the key that signs models and rulebooks, with its public half in the store for the service.

    Parameters
    ----------
    given : str, optional
        ``OBLIGOR_RELEASE_KEY``; without it a key is made once, in the store.

    Raises
    ------
    KeyFileError
        Where either is no key.
    """
    private, public = store / "keys" / "release.key", store / RELEASE_PUBLIC
    signer = Signer(
        parse_key(given, "OBLIGOR_RELEASE_KEY") if given else key_file(private, random)
    )
    if (
        not public.exists()
    ):  # what is there already is what the service trusts: it is not put aside silently
        public.parent.mkdir(parents=True, exist_ok=True)
        public.write_bytes(signer.public)
    return signer


def parse_key(text: str, where: str) -> bytes:
    """Return the 32 bytes a text of 64 hexadecimal digits stands for; the error never repeats the text.

    Raises
    ------
    KeyFileError
        Where it stands for none.
    """
    try:
        key = bytes.fromhex(text.strip())
    except ValueError:
        key = b""
    if len(key) != BYTES:
        raise KeyFileError(
            "is no key", where=where, expected=f"{2 * BYTES} hexadecimal digits"
        )
    return key
