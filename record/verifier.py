"""Check the proof and the receipt of a decision yourself.

    python verifier.py --key public.pem --proof proof.json [--receipt FILE]

This file needs Python and the package `cryptography`, and nothing of Obligor.

A proof contains an entry's leaf, its place in a Merkle tree (RFC 6962), the hashes
that lead to the root, and a signed checkpoint of that root. This file computes the root
again and checks the signature. If both are right, nobody without the signing key can
have changed what the record said when the checkpoint was signed.
"""

import argparse
import json
import sys
from hashlib import sha256

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key


def root_of(
    leaf: bytes,
    leaf_index: int,
    size: int,
    path: list[bytes],
) -> bytes:
    """Return the root that a leaf leads to (RFC 9162, 2.1.3.2).

    Parameters
    ----------
    leaf : bytes
        The leaf itself, not its hash.
    leaf_index : int
        Its place in the tree, from zero.
    size : int
        How many leaves the tree has.
    path : list of bytes
        The hashes that lead to the root.

    Raises
    ------
    ValueError
        If the place is not in the tree, or the path is too long or too short.
    """
    if not 0 <= leaf_index < size:
        raise ValueError("the place is not in the tree")
    hash_ = sha256(b"\0" + leaf).digest()
    node = leaf_index
    last = size - 1
    for sibling in path:
        if last == 0:
            raise ValueError("the path is too long")
        if node % 2 == 1 or node == last:
            hash_ = sha256(b"\1" + sibling + hash_).digest()
            while node and node % 2 == 0:
                node //= 2
                last //= 2
        else:
            hash_ = sha256(b"\1" + hash_ + sibling).digest()
        node //= 2
        last //= 2
    if last != 0:
        raise ValueError("the path is too short")
    return hash_


def check_signature(
    key: bytes,
    text: bytes,
    signature: str,
) -> None:
    """Check an Ed25519 signature (RFC 8032).

    Parameters
    ----------
    key : bytes
        The public key, PEM.
    text : bytes
        What was signed.
    signature : str
        The signature, as hexadecimal digits.

    Raises
    ------
    ValueError
        If the signature is not valid, or the key is not an Ed25519 key.
    """
    public_key = load_pem_public_key(key)
    if not isinstance(public_key, Ed25519PublicKey):
        raise ValueError("the key is not an Ed25519 public key")
    try:
        public_key.verify(bytes.fromhex(signature), text)
    except InvalidSignature:
        raise ValueError("the signature is not valid") from None


def check_proof(proof: dict, key: bytes) -> str:  # type: ignore[type-arg]
    """Check a proof against its signed checkpoint, and return what it proves.

    Raises
    ------
    ValueError
        If the proof or its signature is not valid.
    """
    checkpoint = proof["checkpoint"]
    leaf_index = int(proof["place"])
    size = int(checkpoint["size"])
    root = str(checkpoint["root"])
    signed_at = checkpoint["at"]
    leaf = proof["leaf"].encode()
    path = [bytes.fromhex(hash_) for hash_ in proof["path"]]
    if root_of(leaf, leaf_index, size, path).hex() != root:
        raise ValueError("the leaf does not lead to the root of the checkpoint")
    text = f"obligor checkpoint v1\n{size}\n{root}\n{signed_at}\n".encode()
    check_signature(key, text, checkpoint["signature"])
    entry_id = json.loads(leaf)["entry_id"]
    number = f"number {leaf_index} of {size}"
    return f"entry {entry_id} is {number}, as signed at {signed_at}"


def check_receipt(
    receipt: str,
    proof: dict,  # type: ignore[type-arg]
    key: bytes,
) -> str:
    """Check a receipt, and that it is about the leaf of a proof.

    Parameters
    ----------
    receipt : str
        The text of the header ``Obligor-Receipt``.
    proof : dict
        The proof of the same decision.
    key : bytes
        The public key, PEM.

    Returns
    -------
    str
        What the receipt proves.

    Raises
    ------
    ValueError
        If the receipt is about another leaf, or its signature is not valid.
    """
    version, entry_id, leaf_hash, _, signature = receipt.strip().split(";")
    proven_hash = sha256(b"\0" + proof["leaf"].encode()).hexdigest()
    if version != "v1" or proven_hash != leaf_hash:
        raise ValueError(
            "the receipt is about another leaf: "
            "the entry was changed after the answer was given"
        )
    text = f"obligor receipt v1\n{entry_id}\n{leaf_hash}\n".encode()
    check_signature(key, text, signature)
    return f"the receipt of {entry_id} is valid"


def main() -> int:
    """Check what the command line names; return 0 if it is valid, 1 if not."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--key",
        required=True,
        help="the public key, public.pem beside the checkpoints",
    )
    parser.add_argument(
        "--proof",
        required=True,
        help="the answer of GET /v1/decisions/{id}/proof",
    )
    parser.add_argument(
        "--receipt",
        help="the text of the header Obligor-Receipt that came with the answer",
    )
    options = parser.parse_args()
    try:
        with open(options.key, "rb") as file:
            key = file.read()
        with open(options.proof, encoding="utf-8") as file:
            proof = json.load(file)
        print(check_proof(proof, key))
        if options.receipt:
            with open(options.receipt, encoding="utf-8") as file:
                print(check_receipt(file.read(), proof, key))
    except (OSError, ValueError, KeyError, TypeError) as error:
        print(f"NOT valid: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
