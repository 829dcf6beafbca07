"""300 damaged model bundles, one after the other, into the store of a running service: it goes on with the last good.

    python reliability/bundles.py --json

Bytes changed in any file, files cut, swapped, put in, taken away, signatures of others, MLmodel files that name code to
run, paths in the pointer. What they would run leaves a file behind: there must be none.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import sys
import tempfile
from pathlib import Path
from random import Random

sys.path.insert(0, str(Path(__file__).parents[1]))

import httpx

from benchmarks.bars import bar, report
from obligor.model.bundle import MANIFEST, SIGNATURE, bundle_text
from obligor.signing import Signer
from reliability.running import HEADERS, environment_of, prepare, running, workers

PORT, BUNDLES = 24_930, 300


def damage(folder: Path, trap: Path, random: Random) -> str:
    """Do one thing to a bundle; return the SHA-256 of its manifest as the pointer names it then."""
    manifest = folder / MANIFEST
    files = [
        folder / name
        for name in ("model.txt", "calibration.json", "catalogue.json", MANIFEST)
    ]
    code = f"import os\nopen({str(trap)!r}, 'w').write('ran')\n"
    what, one = random.randrange(9), random.choice(files)
    if what in (0, 1):
        content = bytearray(one.read_bytes())
        for _ in range(random.randrange(1, 20)):
            content[random.randrange(len(content))] = random.randrange(256)
        one.write_bytes(bytes(content))
    elif what == 2:
        one.write_bytes(one.read_bytes()[: random.randrange(1, one.stat().st_size)])
    elif what == 3:
        one.unlink()
    elif what == 4:
        two = random.choice([path for path in files if path != one])
        first, second = one.read_bytes(), two.read_bytes()
        one.write_bytes(second)
        two.write_bytes(first)
    elif what == 5:
        (folder / "MLmodel").write_text(
            "flavors: {python_function: {loader_module: evil, code: .}}"
        )
        (folder / "evil.py").write_text(code)
        (folder / "model.pkl").write_bytes(
            b"cos\nsystem\n(S'touch " + str(trap).encode() + b"'\ntR."
        )
    elif what == 6:
        (folder / SIGNATURE).unlink()
    elif what == 7:  # everything redone, signed by somebody else
        text = (
            (folder / "model.txt").read_text().replace("leaf_value=", "leaf_value=9", 1)
        )
        (folder / "model.txt").write_text(text)
        said = json.loads(manifest.read_text())
        said["files"]["model.txt"] = hashlib.sha256(text.encode()).hexdigest()
        manifest.write_text(json.dumps(said))
        sha256 = hashlib.sha256(manifest.read_bytes()).hexdigest()
        (folder / SIGNATURE).write_text(
            Signer(random.randbytes(32)).sign(bundle_text(sha256)).hex()
        )
        return sha256
    else:
        return random.choice(["../../../../tmp", "x" * 64, "", "f" * 64, "/etc/passwd"])
    return (
        hashlib.sha256(manifest.read_bytes()).hexdigest()
        if manifest.exists() and random.random() < 0.5
        else ""
    )


def main() -> None:
    """Put them in, ask after each."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    random, failed, other = Random(0), 0, 0
    with tempfile.TemporaryDirectory(prefix="bundles") as name:
        store, trap = Path(name), Path(name) / "trap"
        prepare(store)
        pointer = json.loads((store / "champion.json").read_text())
        good = store / "models" / pointer["sha256"]
        with (
            running(environment_of(store), PORT, store / "log") as process,
            httpx.Client(
                base_url=f"http://127.0.0.1:{PORT}", headers=HEADERS, timeout=20
            ) as client,
        ):
            asked = {"customer_id": "C0000001"}
            client.post("/v1/decisions", json=asked).raise_for_status()
            before = {one.pid for one in workers(process)}
            for n in range(BUNDLES):
                draft = store / "models" / "draft"
                shutil.copytree(good, draft)
                named = (
                    damage(draft, trap, random) or pointer["sha256"][:-4] + f"{n:04x}"
                )
                folder, aside = store / "models" / named, store / "aside"
                if (
                    folder == good
                ):  # only files were changed: it takes the good one's place
                    good.rename(aside)
                if len(named) == 64 and named.isalnum():
                    draft.rename(folder)
                written = store / "next.json"
                written.write_text(
                    json.dumps(pointer | {"version": f"bad {n}", "sha256": named})
                )
                written.rename(store / "champion.json")
                for _ in range(2):
                    response = client.post("/v1/decisions", json=asked)
                    failed += response.status_code != 200
                    other += (
                        response.status_code == 200
                        and response.json()["model"]["version"] != pointer["version"]
                    )
                shutil.rmtree(draft if draft.exists() else folder)
                if aside.exists():
                    aside.rename(good)
            crashed = len(before - {one.pid for one in workers(process)})
        refused = (store / "log").read_text().count("a new champion is refused")
        ran = trap.exists()
    print(f"{BUNDLES} damaged bundles, {refused} refusals in the log")
    report(
        [
            bar("answers that failed", failed, 0, failed == 0),
            bar("answers by another model", other, 0, other == 0),
            bar("workers that died", crashed, 0, crashed == 0),
            bar("bundles whose code ran", ran, 0, not ran),
            bar(
                "bundles that were looked at",
                refused,
                BUNDLES * 0.9,
                refused >= BUNDLES * 0.9,
            ),
        ],
        options.json,
    )


if __name__ == "__main__":
    main()
