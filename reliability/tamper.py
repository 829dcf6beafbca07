"""Tamper with a record in nine ways at 100 random places each; forge 10,000 proofs.

    python reliability/tamper.py --json

Entries are edited, deleted, swapped, inserted and cut off, with the hashes left alone
or computed again. Before the last checkpoint, the signed root detects every attack;
after it, a receipt does. An entry inserted after the last checkpoint, with the hashes
computed again, is not detected by anything: nobody has a receipt of it. There, only
places before the checkpoint are attacked.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from random import Random
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.bars import bar, report
from obligor.record import merkle
from obligor.record.merkle_log import Tree
from obligor.record.receipts import CheckpointFolder
from obligor.record.record import Record
from reliability.running import argument_parser
from tests.conftest import VAULT
from tests.records import ATTACKS, filled, findings, tamper

SIGNED = 400  # entries the last checkpoint covers
UNSIGNED = 40  # entries after it
PLACES = 100
PROOFS = 10_000


class Attack(NamedTuple):
    """One way to tamper: the statement, and whether hashes are computed again."""

    name: str
    redoes_hashes: bool


# Inserting with the hashes computed again is missing: after the last checkpoint, the
# result is a record like any other.
TRIED = (
    Attack("edit", redoes_hashes=False),
    Attack("edit", redoes_hashes=True),
    Attack("delete", redoes_hashes=False),
    Attack("delete", redoes_hashes=True),
    Attack("swap", redoes_hashes=False),
    Attack("swap", redoes_hashes=True),
    Attack("insert", redoes_hashes=False),
    Attack("truncate", redoes_hashes=False),
    Attack("truncate", redoes_hashes=True),
)


def count_detected(attack: Attack, folder: Path, random: Random) -> int:
    """Return at how many of the places an attack was detected.

    Parameters
    ----------
    attack : Attack
        What is done to the record.
    folder : Path
        An empty folder.
    random : Random
        Chooses the places.
    """
    path = folder / "record.db"
    checkpoints = CheckpointFolder([folder / "checkpoints"])
    record = Record.open(f"sqlite:///{path}", VAULT)
    _, receipts = filled(
        record,
        checkpoints,
        SIGNED,
        UNSIGNED,
    )
    record.close()
    n_entries = SIGNED + UNSIGNED
    clean = path.read_bytes()
    n_detected = 0
    for _ in range(PLACES):
        n = random.randint(1, n_entries)
        for log in folder.glob("record.db-*"):
            log.unlink()
        path.write_bytes(clean)
        statement = ATTACKS[attack.name].format(n=n, m=n % n_entries + 1, end=n_entries)
        tamper(path, statement, attack.redoes_hashes)
        touched = Record.open(f"sqlite:///{path}", VAULT)
        if findings(touched, checkpoints, receipts):
            n_detected += 1
        touched.close()
    return n_detected


class ForgedProof(NamedTuple):
    """A proof of inclusion that was tampered with."""

    leaf: bytes
    leaf_index: int
    path: list[bytes]


def forge(
    leaf_index: int,
    leaves: list[bytes],
    path: list[bytes],
    random: Random,
) -> ForgedProof:
    """Return a proof with one thing changed.

    Parameters
    ----------
    leaf_index : int
        The leaf the proof is about.
    leaves : list of bytes
        The hashes of all leaves.
    path : list of bytes
        The proof of inclusion.
    random : Random
        Chooses what is changed.
    """
    leaf = leaves[leaf_index]
    position = random.randrange(len(path))
    match random.randrange(6):
        case 0:
            leaf = leaves[(leaf_index + random.randrange(1, SIGNED)) % SIGNED]
        case 1:
            flipped = path[position][0] ^ 1 << random.randrange(8)
            path[position] = bytes([flipped]) + path[position][1:]
        case 2:
            del path[position]
        case 3:
            path.insert(position, path[position])
        case 4:
            path[position], path[position - 1] = path[position - 1], path[position]
        case 5:
            leaf_index = (leaf_index + random.randrange(1, SIGNED)) % SIGNED
    return ForgedProof(leaf, leaf_index, path)


def count_accepted(folder: Path, random: Random) -> int:
    """Return how many of the forged proofs lead to the root."""
    record = Record.open(f"sqlite:///{folder}/record.db", VAULT)
    filled(record, CheckpointFolder([folder / "checkpoints"]), SIGNED)
    tree = Tree(record.database)
    leaves = [placed.node_hash for placed in tree.placed(1000)]
    root = tree.root(SIGNED)
    n_accepted = 0
    for _ in range(PROOFS):
        leaf_index = random.randrange(SIGNED)
        path = list(tree.proof(f"d-{leaf_index}", SIGNED).path)
        forged = forge(leaf_index, leaves, path, random)
        forged_root = merkle.root_of_path(
            forged.leaf,
            forged.leaf_index,
            SIGNED,
            forged.path,
        )
        if forged_root == root:
            n_accepted += 1
    record.close()
    return n_accepted


def main() -> None:
    """Try every attack at every place, and forge proofs."""
    options = argument_parser(__doc__).parse_args()
    bars = []
    for attack in TRIED:
        random = Random(f"{attack.name} {attack.redoes_hashes}")
        with tempfile.TemporaryDirectory() as name:
            n_detected = count_detected(attack, Path(name), random)
        hashes = "computed again" if attack.redoes_hashes else "left alone"
        title = f"{attack.name}, hashes {hashes}"
        bars.append(bar(title, n_detected, PLACES, n_detected == PLACES))
        print(bars[-1], file=sys.stderr)
    with tempfile.TemporaryDirectory() as name:
        n_accepted = count_accepted(Path(name), Random(1))
    title = f"forged proofs of {PROOFS:,} that are accepted"
    bars.append(bar(title, n_accepted, 0, n_accepted == 0))
    report(bars, options.json)


if __name__ == "__main__":
    main()
