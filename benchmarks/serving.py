"""The served path against hand-written FastAPI endpoints and `mlflow models serve`.

One core each, one machine.

Every server is pinned to one core and the load to the other; servers take turns,
medians of the rounds.
Run: ``python benchmarks/serving.py [--json]``.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import httpx

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
sys.path.insert(0, str(Path(__file__).parents[1]))

import lightgbm as lgb
import numpy as np

from benchmarks.bars import bar, report
from benchmarks.peers.load import ADMIN_KEY
from obligor.data.asof import known_on
from obligor.data.store import LedgerStore
from obligor.data.synthetic import Simulation, simulate_ledger
from obligor.features.build import build_features
from obligor.features.catalogue import NAMES
from obligor.model.baseline import choose_baseline
from obligor.model.bundle import SIGNATURE, bundle_text, save_bundle
from obligor.model.calibration import Calibration
from obligor.model.pd_model import PdModel
from obligor.serving.process.launch import serve_command
from obligor.signing import release_signer

ROOT = Path(__file__).parents[1]
CUSTOMERS, TREES, LEAVES = 4000, 400, 31
CONCURRENCY, ROUNDS, SECONDS, LONG_S = (1, 8, 32), 3, 2.0, 60.0
SWAPS = 20
PORTS = {
    "unfrozen": 3870,
    "ours": 3871,
    "shap": 3872,
    "pred_contrib": 3873,
    "treeshap": 3874,
    "mlflow": 3875,
}


def prepare(store: Path) -> tuple[Simulation, lgb.Booster, dict[str, list[str]]]:
    """Prepare a loaded ledger, a champion of 400 trees, and the bodies of requests."""
    simulation = simulate_ledger(CUSTOMERS, 36, seed=1)
    LedgerStore(f"sqlite:///{store}/ledger.db").write(simulation.ledger)
    frames = [
        build_features(
            known_on(simulation.ledger, date(2023 + n // 4, 3 * (n % 4) + 1, 1))
        )
        for n in range(6)
    ]
    rows = np.concatenate([frame.to_numpy() for frame in frames])
    draw = np.random.default_rng(0)
    late = np.nan_to_num(rows[:, NAMES.index("dbt_days_mean_365d")])
    label = draw.random(len(rows)) < 1 / (1 + np.exp(3 - 0.05 * late))
    choices = {
        "objective": "binary",
        "num_leaves": LEAVES,
        "learning_rate": 0.05,
        "verbose": -1,
        "seed": 0,
    }
    booster = lgb.train(
        choices, lgb.Dataset(rows, label, feature_name=list(NAMES)), TREES
    )
    model = PdModel(booster.model_to_string(), Calibration("identity"), NAMES, 365, {})
    model = replace(model, baseline=choose_baseline(rows[:5000], model.explain, None))
    sha256 = save_bundle(model, store / "new")
    (store / "models").mkdir()
    (store / "new").rename(store / "models" / sha256)
    signature = release_signer(store, None, os.urandom).sign(bundle_text(sha256)).hex()
    (store / "models" / sha256 / SIGNATURE).write_text(signature)
    (store / "champion.json").write_text(json.dumps({"version": "1", "sha256": sha256}))
    (store / "model.txt").write_text(booster.model_to_string())
    last = frames[-1].to_numpy()[:1000]
    ready = [
        {
            name: None if value != value else value
            for name, value in zip(NAMES, row.tolist(), strict=True)
        }
        for row in last
    ]
    ids = [f"C{n:07d}" for n in range(CUSTOMERS)]
    # A frame of one row with a null has no numeric type: mlflow gets 0 instead.
    bodies = {
        "decisions": [json.dumps({"customer_id": customer}) for customer in ids],
        "batch": [
            json.dumps(
                {
                    "decisions": [
                        {"customer_id": customer} for customer in ids[n : n + 1000]
                    ]
                }
            )
            for n in range(0, CUSTOMERS, 1000)
        ],
        "features": [json.dumps({"features": row}) for row in ready],
        "mlflow": [
            json.dumps(
                {
                    "dataframe_split": {
                        "columns": NAMES,
                        "data": [[value or 0.0 for value in row.values()]],
                    }
                }
            )
            for row in ready
        ],
    }
    for name, texts in bodies.items():
        (store / f"{name}.json").write_text(json.dumps(texts))
    return simulation, booster, bodies


@contextmanager
def server(
    command: list[str], environment: Mapping[str, str], url: str, log: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """A process on core 0, until the block ends."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["taskset", "-c", "0", *command],
            env=dict(environment),
            stdout=output,
            stderr=output,
            start_new_session=True,
            cwd=ROOT,
        )
        try:
            for _ in range(300):
                try:
                    httpx.get(url, timeout=2)
                    break
                except httpx.TransportError:
                    time.sleep(0.3)
            else:
                raise SystemExit(f"{url} did not start: {log.read_text()[-2000:]}")
            yield process
        finally:
            os.killpg(
                process.pid, signal.SIGTERM
            )  # BentoML's parent ends its worker; killed, it would leave it
            process.wait(20)


def load(
    port: int, path: str, bodies: Path, connections: int, seconds: float
) -> dict[str, float]:
    """Figures of one load from core 1."""
    command = [
        "taskset",
        "-c",
        "1",
        sys.executable,
        str(ROOT / "benchmarks/peers/load.py"),
    ]
    done = subprocess.run(
        [*command, str(port), path, str(bodies), str(connections), str(seconds)],
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, float] = json.loads(done.stdout)
    if found["failed"]:
        raise SystemExit(f"{path}: {found['failed']} of {found['n']} failed")
    return found


def swap(store: Path, times: int) -> int:
    """Change the champion so often under load; returns how many requests failed."""
    url, pointer = (
        f"http://127.0.0.1:{PORTS['ours']}",
        json.loads((store / "champion.json").read_text()),
    )
    command = [
        "taskset",
        "-c",
        "1",
        sys.executable,
        str(ROOT / "benchmarks/peers/load.py"),
        str(PORTS["ours"]),
    ]
    stop = store / "stop"
    failed = 0
    with httpx.Client(
        base_url=url, headers={"Authorization": f"Bearer {ADMIN_KEY}"}, timeout=30
    ) as client:
        for version in range(2, times + 2):
            (store / "next.json").write_text(
                json.dumps(pointer | {"version": str(version)})
            )
            (store / "next.json").rename(store / "champion.json")
            stop.unlink(missing_ok=True)
            arguments = [
                "/v1/decisions",
                str(store / "decisions.json"),
                "8",
                "60",
                str(stop),
            ]
            with subprocess.Popen(
                [*command, *arguments], stdout=subprocess.PIPE, text=True
            ) as running:
                while True:
                    answer = client.post(
                        "/v1/decisions", json={"customer_id": "C0000001"}
                    )
                    failed += answer.status_code != 200
                    if answer.json().get("model", {}).get("version") == str(version):
                        break
                stop.touch()
                failed += int(json.loads(running.communicate()[0])["failed"])
    return failed


def pauses(store: Path, seconds: float) -> dict[str, float]:
    """Times at concurrency 8: with `gc.freeze` and without, in turns.

    Then both processes on one record at once.
    """
    bodies, names = store / "decisions.json", ("ours", "unfrozen")
    found = dict[str, float]()
    turns: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    load(PORTS["unfrozen"], "/v1/decisions", bodies, 8, 2.0)  # loads its champion
    for _ in range(ROUNDS):
        for name in names:
            turns[name].append(
                load(PORTS[name], "/v1/decisions", bodies, 8, seconds / ROUNDS)
            )
    for name in names:
        found |= {f"{name} p99": statistics.median(turn["p99"] for turn in turns[name])}
        found |= {f"{name} slowest": max(turn["max"] for turn in turns[name])}
    with ThreadPoolExecutor(2) as both:
        together = list(
            both.map(
                lambda name: load(PORTS[name], "/v1/decisions", bodies, 8, 5.0), names
            )
        )
    found["two processes rps"] = sum(one["rps"] for one in together)
    found["two processes p99"] = max(one["p99"] for one in together)
    return found


def start_all(stack: ExitStack, store: Path, booster: lgb.Booster) -> None:
    """Start every server on core 0; those that do not serve just wait."""
    import mlflow

    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "OBLIGOR_STORE": str(store),
        "PYTHONPATH": str(ROOT),
        "OBLIGOR_ADMIN_KEY": ADMIN_KEY,
    }
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    environment["PYTHONPYCACHEPREFIX"] = str(store / "pyc")
    stack.enter_context(
        server(
            serve_command("127.0.0.1", PORTS["ours"]),
            environment,
            f"http://127.0.0.1:{PORTS['ours']}/livez",
            store / "ours.log",
        )
    )
    # The same service on the same record, but its heap is not frozen.
    (store / "unfrozen").mkdir()
    (store / "unfrozen" / "sitecustomize.py").write_text(
        "import gc\n\ngc.freeze = lambda: None\n"
    )
    unfrozen = {**environment, "PYTHONPATH": f"{store / 'unfrozen'}{os.pathsep}{ROOT}"}
    url = f"http://127.0.0.1:{PORTS['unfrozen']}/livez"
    stack.enter_context(
        server(
            serve_command("127.0.0.1", PORTS["unfrozen"]),
            unfrozen,
            url,
            store / "unfrozen.log",
        )
    )
    for engine in ("shap", "pred_contrib", "treeshap"):
        command = [
            sys.executable,
            "-m",
            "uvicorn",
            "benchmarks.peers.fastapi_peer:app",
            "--port",
            str(PORTS[engine]),
            "--no-access-log",
            "--log-level",
            "warning",
        ]
        more = {
            **environment,
            "PEER_ENGINE": engine,
            "PEER_MODEL": str(store / "model.txt"),
        }
        stack.enter_context(
            server(
                command,
                more,
                f"http://127.0.0.1:{PORTS[engine]}/",
                store / f"{engine}.log",
            )
        )
    mlflow.lightgbm.save_model(booster, str(store / "mlflow"))
    command = [
        sys.executable,
        "-m",
        "mlflow",
        "models",
        "serve",
        "-m",
        str(store / "mlflow"),
        "--env-manager",
        "local",
        "--port",
        str(PORTS["mlflow"]),
        "--workers",
        "1",
    ]
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    stack.enter_context(
        server(
            command,
            environment,
            f"http://127.0.0.1:{PORTS['mlflow']}/ping",
            store / "mlflow.log",
        )
    )


def measure(store: Path) -> dict[str, dict[int, dict[str, float]]]:
    """Medians over interleaved rounds, by server and concurrency."""
    targets = {
        "decisions": (PORTS["ours"], "/v1/decisions", "decisions"),
        "scores": (PORTS["ours"], "/v1/scores", "features"),
        **{
            f"FastAPI {name}": (PORTS[name], "/score", "features")
            for name in ("shap", "pred_contrib", "treeshap")
        },
        "mlflow": (PORTS["mlflow"], "/invocations", "mlflow"),
    }
    runs: dict[str, dict[int, list[dict[str, float]]]] = {
        name: {c: [] for c in CONCURRENCY} for name in targets
    }
    for port, path, bodies in targets.values():
        load(port, path, store / f"{bodies}.json", 1, 1.0)
    for _ in range(ROUNDS):
        for connections in CONCURRENCY:
            for name, (port, path, bodies) in targets.items():
                runs[name][connections].append(
                    load(port, path, store / f"{bodies}.json", connections, SECONDS)
                )
    return {
        name: {
            c: {key: statistics.median(run[key] for run in found) for key in found[0]}
            for c, found in by.items()
        }
        for name, by in runs.items()
    }


def main() -> None:
    """Start all, measure in turns, then the long run and the batch."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument(
        "--seconds", type=float, default=LONG_S, help="of the long run (default 60)"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        store = Path(name)
        _, booster, _ = prepare(store)
        start_all(stack, store, booster)
        found = measure(store)
        long = load(
            PORTS["ours"], "/v1/decisions", store / "decisions.json", 8, options.seconds
        )
        gc_figures = pauses(store, options.seconds / 2)
        batch = (
            load(PORTS["ours"], "/v1/decisions/batch", store / "batch.json", 1, 5.0)[
                "rps"
            ]
            * 1000
        )
        lost = swap(store, SWAPS)
    print(
        f"one core, {datetime.now(UTC):%Y-%m-%d}; requests a second (p50, p99 ms) at "
        f"concurrency {CONCURRENCY}"
    )
    for target, by in found.items():
        cells = "  ".join(
            f"{f['rps']:7.0f} ({f['p50']:.1f}, {f['p99']:.1f})" for f in by.values()
        )
        print(f"  {target:<22} {cells}")
    print(
        f"  {options.seconds:.0f} s at 8: p99 {long['p99']:.1f} ms, slowest "
        f"{long['max']:.0f} ms; batch {batch:.0f}/s"
    )

    print("  " + "; ".join(f"{name} {value:.1f}" for name, value in gc_figures.items()))

    def ratio(ours: str, theirs: str) -> float:
        return statistics.median(
            found[ours][c]["rps"] / found[theirs][c]["rps"] for c in CONCURRENCY
        )

    wanted = (
        ("decisions", "FastAPI shap", 6),
        ("decisions", "FastAPI pred_contrib", 4),
        ("decisions", "mlflow", 8),
        ("scores", "FastAPI pred_contrib", 6),
        ("scores", "mlflow", 12),
        ("decisions", "FastAPI treeshap", 0.5),
    )
    bars: list[dict[str, Any]] = [
        bar(
            f"{ours} over {theirs}",
            ratio(ours, theirs),
            limit,
            ratio(ours, theirs) >= limit,
        )
        for ours, theirs, limit in wanted
    ]
    bars.append(bar("p99 ms at 8", long["p99"], 25, long["p99"] <= 25))
    bars.append(bar("slowest ms at 8", long["max"], 250, long["max"] <= 250))
    bars.append(bar("batch decisions a second", batch, 5000, batch >= 5000))
    bars.append(bar(f"requests failed in {SWAPS} swaps", lost, 0, lost == 0))
    report(bars, options.json)


if __name__ == "__main__":
    main()
