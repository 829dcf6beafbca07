"""Check a decision's proof, receipt and checkpoint by yourself: one file, Python and `cryptography`, nothing of ours.

    python verifier.py --key public.pem --proof proof.json [--receipt FILE]

A proof holds an entry's leaf, its place in a Merkle tree (RFC 6962), the hashes that lead to the root, and a signed
checkpoint of that root. This file works out the root again and checks the signature: what the record said when the
checkpoint was signed can then not have been changed since, by anybody without the signing key.
"""

import argparse
import json
import sys
from hashlib import sha256

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import load_pem_public_key


def root_of(leaf: bytes, place: int, size: int, path: list[bytes]) -> bytes:
    """Return the root a leaf leads to (RFC 9162, 2.1.3.2).

    Raises
    ------
    ValueError
        Where the path has the wrong length.
    """
    found, at, last = sha256(b"\0" + leaf).digest(), place, size - 1
    if not 0 <= place < size:
        raise ValueError("the place is not in the tree")
    for sibling in path:
        if last == 0:
            raise ValueError("the path is too long")
        if at % 2 == 1 or at == last:
            found = sha256(b"\1" + sibling + found).digest()
            while at and at % 2 == 0:
                at, last = at // 2, last // 2
        else:
            found = sha256(b"\1" + found + sibling).digest()
        at, last = at // 2, last // 2
    if last != 0:
        raise ValueError("the path is too short")
    return found


def check_signature(key: bytes, text: bytes, signature: str) -> None:
    """Check an Ed25519 signature; ValueError where it does not hold."""
    try:
        load_pem_public_key(key).verify(bytes.fromhex(signature), text)  # type: ignore[union-attr, call-arg]
    except InvalidSignature:
        raise ValueError("the signature does not hold") from None


def check_proof(proof: dict, key: bytes) -> str:  # type: ignore[type-arg]
    """Check a proof against its signed checkpoint; return what it says. ValueError where anything does not hold."""
    checkpoint, leaf = proof["checkpoint"], proof["leaf"].encode()
    size, root = int(checkpoint["size"]), str(checkpoint["root"])
    path = [bytes.fromhex(hash_) for hash_ in proof["path"]]
    if root_of(leaf, int(proof["place"]), size, path).hex() != root:
        raise ValueError("the leaf does not lead to the root of the checkpoint")
    text = f"obligor checkpoint v1\n{size}\n{root}\n{checkpoint['at']}\n".encode()
    check_signature(key, text, checkpoint["signature"])
    return f"entry {json.loads(leaf)['entry_id']} is number {proof['place']} of {size}, as signed at {checkpoint['at']}"


def check_receipt(receipt: str, proof: dict, key: bytes) -> str:  # type: ignore[type-arg]
    """Check a receipt, and that it is about the proof's leaf; ValueError where anything does not hold."""
    version, entry_id, leaf_hash, _, signature = receipt.strip().split(";")
    if (
        version != "v1"
        or sha256(b"\0" + proof["leaf"].encode()).hexdigest() != leaf_hash
    ):
        raise ValueError(
            "the receipt is about another leaf: the entry was changed after the answer was given"
        )
    check_signature(
        key, f"obligor receipt v1\n{entry_id}\n{leaf_hash}\n".encode(), signature
    )
    return f"the receipt of {entry_id} holds"


def main() -> int:
    """Check what the command line names; 0 where all holds, 1 where something does not."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--key", required=True, help="the public key, public.pem beside the checkpoints"
    )
    parser.add_argument(
        "--proof", required=True, help="the answer of GET /v1/decisions/{id}/proof"
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
        print(f"does NOT hold: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
