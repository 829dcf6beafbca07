"""Nine ways of tampering with a record, each at 100 random places: all must be found; 10,000 forged proofs: none holds.

    python reliability/tamper.py --json

Edit, delete, swap two entries' contents, put one in, cut off: with the hashes left or redone; each is found before the
last checkpoint by the signed root, behind it by a receipt. Put in with hashes redone, behind the last checkpoint, is
not found by anything yet (nobody holds anything of it): places before the checkpoint are used there.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from random import Random

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.bars import bar, report
from obligor.record import merkle
from obligor.record.merkle_log import Tree
from obligor.record.receipts import CheckpointFolder
from obligor.record.record import Record
from tests.conftest import VAULT
from tests.service.test_audit import ATTACKS, filled, findings, tamper

SIGNED, BEHIND, PLACES, PROOFS = 400, 40, 100, 10_000
# With the hashes redone an entry put in behind the last checkpoint is an entry like any other.
TRIED = [
    ("edit", False),
    ("edit", True),
    ("delete", False),
    ("delete", True),
    ("swap", False),
    ("swap", True),
    ("insert", False),
    ("truncate", False),
    ("truncate", True),
]


def caught(attack: str, is_redone: bool, folder: Path, random: Random) -> int:
    """How many of the places were found."""
    record, shelf = (
        Record.open(f"sqlite:///{folder}/record.db", VAULT),
        CheckpointFolder([folder / "shelf"]),
    )
    _, receipts = filled(record, shelf, SIGNED, behind=BEHIND)
    record.close()
    path, size, found = folder / "record.db", SIGNED + BEHIND, 0
    clean = path.read_bytes()
    for _ in range(PLACES):
        n = random.randint(1, size)
        for log in folder.glob("record.db-*"):
            log.unlink()
        path.write_bytes(clean)
        tamper(path, ATTACKS[attack].format(n=n, m=n % size + 1, end=size), is_redone)
        touched = Record.open(f"sqlite:///{path}", VAULT)
        found += bool(findings(touched, shelf, receipts))
        touched.close()
    return found


def forged(folder: Path, random: Random) -> int:
    """How many of the forged proofs hold: a bit turned in leaf or path, hashes left out, doubled or exchanged."""
    record = Record.open(f"sqlite:///{folder}/record.db", VAULT)
    filled(record, CheckpointFolder([folder / "shelf"]), SIGNED)
    tree = Tree(record.database)
    leaves = [hash_ for _, _, hash_, _ in tree.placed(1000)]
    root, accepted = tree.root(SIGNED), 0
    for _ in range(PROOFS):
        place = random.randrange(SIGNED)
        proof, leaf = tree.proof(f"d-{place}", SIGNED), leaves[place]
        path, at = list(proof.path), random.randrange(len(proof.path))
        match random.randrange(6):
            case 0:
                leaf = leaves[(place + random.randrange(1, SIGNED)) % SIGNED]
            case 1:
                path[at] = (
                    bytes([path[at][0] ^ 1 << random.randrange(8)]) + path[at][1:]
                )
            case 2:
                del path[at]
            case 3:
                path.insert(at, path[at])
            case 4:
                path[at], path[at - 1] = path[at - 1], path[at]
            case 5:
                place = (place + random.randrange(1, SIGNED)) % SIGNED
        accepted += merkle.root_of_path(leaf, place, SIGNED, path) == root
    record.close()
    return accepted


def main() -> None:
    """Run every attack at every place."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    bars = []
    for attack, is_redone in TRIED:
        with tempfile.TemporaryDirectory() as name:
            found = caught(
                attack, is_redone, Path(name), Random(f"{attack} {is_redone}")
            )
        bars.append(
            bar(
                f"{attack}, hashes {'redone' if is_redone else 'left'}",
                found,
                PLACES,
                found == PLACES,
            )
        )
        print(bars[-1], file=sys.stderr)
    with tempfile.TemporaryDirectory() as name:
        accepted = forged(Path(name), Random(1))
    bars.append(
        bar(f"forged proofs of {PROOFS:,} that hold", accepted, 0, accepted == 0)
    )
    report(bars, options.json)


if __name__ == "__main__":
    main()
