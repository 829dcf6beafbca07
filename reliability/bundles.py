"""Put 300 damaged model bundles into the store of a running service.

    python reliability/bundles.py --json

Bytes are changed in any file; files are cut, swapped, added, removed; others sign;
MLmodel files name code to run; the pointer contains paths. The service must go on with
the last good model. Code that runs would leave a file behind: there must be none.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

sys.path.insert(0, str(Path(__file__).parents[1]))

import httpx

from benchmarks.bars import bar, report
from obligor.model.bundle import MANIFEST, SIGNATURE, bundle_text
from obligor.signing import Signer
from reliability.running import (
    HEADERS,
    argument_parser,
    environment_of,
    prepare,
    running,
    worker_ids,
)

PORT = 24_930
BUNDLES = 300
# Requests after each bundle: the second one must not see another model either.
REQUESTS = 2
QUESTION = {"customer_id": "C0000001"}
DAMAGED_FILES = ("model.txt", "calibration.json", "catalogue.json", MANIFEST)
# What a pointer may name instead of a bundle's SHA-256.
FALSE_NAMES = ("../../../../tmp", "x" * 64, "", "f" * 64, "/etc/passwd")


@dataclass
class Damage:
    """One thing that is done to a bundle.

    Attributes
    ----------
    folder : Path
        The bundle.
    trap : Path
        The file that code in the bundle would write.
    random : Random
        Chooses what is damaged.
    """

    folder: Path
    trap: Path
    random: Random

    def apply(self) -> str:
        """Damage the bundle.

        Returns
        -------
        str
            What the pointer names as its SHA-256; empty for a name of its own.
        """
        kind = self.random.randrange(9)
        path = self.folder / self.random.choice(DAMAGED_FILES)
        if kind == 7:
            return self.sign_with_another_key()
        if kind == 8:
            return self.random.choice(FALSE_NAMES)
        if kind == 4:
            self.swap(path)
        elif kind == 5:
            self.add_code()
        elif kind == 6:
            (self.folder / SIGNATURE).unlink()
        else:
            self.damage_file(kind, path)
        manifest = self.folder / MANIFEST
        if manifest.exists() and self.random.random() < 0.5:
            return hashlib.sha256(manifest.read_bytes()).hexdigest()
        return ""

    def damage_file(self, kind: int, path: Path) -> None:
        """Change bytes of a file, cut it, or remove it."""
        if kind in (0, 1):
            content = bytearray(path.read_bytes())
            for _ in range(self.random.randrange(1, 20)):
                position = self.random.randrange(len(content))
                content[position] = self.random.randrange(256)
            path.write_bytes(bytes(content))
        elif kind == 2:
            length = self.random.randrange(1, path.stat().st_size)
            path.write_bytes(path.read_bytes()[:length])
        else:
            path.unlink()

    def swap(self, path: Path) -> None:
        """Exchange the contents of two files."""
        names = [name for name in DAMAGED_FILES if name != path.name]
        other = self.folder / self.random.choice(names)
        content = path.read_bytes()
        path.write_bytes(other.read_bytes())
        other.write_bytes(content)

    def add_code(self) -> None:
        """Add files that MLflow or pickle would run."""
        flavors = "flavors: {python_function: {loader_module: evil, code: .}}"
        code = f"import os\nopen({str(self.trap)!r}, 'w').write('ran')\n"
        command = b"cos\nsystem\n(S'touch " + str(self.trap).encode() + b"'\ntR."
        (self.folder / "MLmodel").write_text(flavors)
        (self.folder / "evil.py").write_text(code)
        (self.folder / "model.pkl").write_bytes(command)

    def sign_with_another_key(self) -> str:
        """Change the model, compute every hash again, and sign with a foreign key."""
        model = self.folder / "model.txt"
        text = model.read_text().replace("leaf_value=", "leaf_value=9", 1)
        model.write_text(text)
        manifest = self.folder / MANIFEST
        content = json.loads(manifest.read_text())
        content["files"]["model.txt"] = hashlib.sha256(text.encode()).hexdigest()
        manifest.write_text(json.dumps(content))
        sha256 = hashlib.sha256(manifest.read_bytes()).hexdigest()
        stranger = Signer(self.random.randbytes(32))
        signature = stranger.sign(bundle_text(sha256)).hex()
        (self.folder / SIGNATURE).write_text(signature)
        return sha256


@dataclass
class Attack:
    """Damaged bundles in a store, and what the service answers meanwhile."""

    store: Path
    random: Random = field(default_factory=lambda: Random(0))
    failed: int = 0
    by_another_model: int = 0

    def __post_init__(self) -> None:
        self.models = self.store / "models"
        self.pointer = json.loads((self.store / "champion.json").read_text())
        self.good = self.models / self.pointer["sha256"]
        self.trap = self.store / "trap"

    def put_bundle(self, number: int, ask: Callable[[], httpx.Response]) -> None:
        """Make a damaged bundle the champion, and ask questions."""
        draft = self.models / "draft"
        shutil.copytree(self.good, draft)
        sha256 = Damage(draft, self.trap, self.random).apply()
        name = sha256 or self.pointer["sha256"][:-4] + f"{number:04x}"
        folder = self.models / name
        aside = self.store / "aside"
        # If the manifest was not damaged, the bundle takes the good one's place.
        if folder == self.good:
            self.good.rename(aside)
        if len(name) == 64 and name.isalnum():
            draft.rename(folder)
        self.point_to(name, number)
        for _ in range(REQUESTS):
            self.count(ask())
        shutil.rmtree(draft if draft.exists() else folder)
        if aside.exists():
            aside.rename(self.good)

    def point_to(self, name: str, number: int) -> None:
        """Name a bundle as the champion."""
        pointer = {**self.pointer, "version": f"bad {number}", "sha256": name}
        draft = self.store / "next.json"
        draft.write_text(json.dumps(pointer))
        draft.rename(self.store / "champion.json")

    def count(self, response: httpx.Response) -> None:
        """Count an answer that is not the good model's."""
        if response.status_code != 200:
            self.failed += 1
        elif response.json()["model"]["version"] != self.pointer["version"]:
            self.by_another_model += 1


def main() -> None:
    """Put the bundles in, and ask after each."""
    options = argument_parser(__doc__).parse_args()
    with tempfile.TemporaryDirectory(prefix="bundles") as name:
        store = Path(name)
        prepare(store)
        attack = Attack(store)
        log = store / "log"
        url = f"http://127.0.0.1:{PORT}"
        with (
            running(environment_of(store), PORT, log) as process,
            httpx.Client(base_url=url, headers=HEADERS, timeout=20) as client,
        ):

            def ask() -> httpx.Response:
                return client.post("/v1/decisions", json=QUESTION)

            ask().raise_for_status()
            before = worker_ids(process)
            for number in range(BUNDLES):
                attack.put_bundle(number, ask)
            n_died = len(before - worker_ids(process))
        n_refused = log.read_text().count("a new champion is refused")
        has_run = attack.trap.exists()
    print(f"{BUNDLES} damaged bundles, {n_refused} refusals in the log")
    enough = BUNDLES * 0.9
    failed = attack.failed
    other = attack.by_another_model
    bars = [
        bar("answers that failed", failed, 0, failed == 0),
        bar("answers by another model", other, 0, other == 0),
        bar("workers that died", n_died, 0, n_died == 0),
        bar("bundles whose code ran", has_run, 0, not has_run),
        bar("bundles that were looked at", n_refused, enough, n_refused >= enough),
    ]
    report(bars, options.json)


if __name__ == "__main__":
    main()
