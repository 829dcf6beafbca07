"""What one decision costs over HTTP: a real service process, a stored customer, a durable record.

Run: ``python tests/benchmarks/bench_decision.py [--json]``.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import httpx

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
os.environ.setdefault("MLFLOW_CONFIGURE_LOGGING", "false")
sys.path.insert(0, str(Path(__file__).parents[2]))

from data.simulate import simulate_ledger
from data.store import LedgerStore
from serving.process import running_service
from tests.benchmarks.bars import bar, report
from training.config import TrainingConfig
from training.registry import Registry
from training.run import train

CALLS = 1000
MOST_MS = 50.0


def main() -> None:
    """Train, serve, ask many different customers one after the other, then a batch."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    simulation = simulate_ledger(2000, 36, seed=1)
    with tempfile.TemporaryDirectory() as name:
        store = Path(name)
        trained = train(
            simulation.ledger, TrainingConfig(bootstrap_rounds=20), store, store / "report", at=datetime.now(UTC)
        )
        Registry(store).promote(trained.version, by="bench", because="bench", at=datetime.now(UTC), force=True)
        LedgerStore(f"sqlite:///{store}/ledger.db").write(simulation.ledger)
        environment = {**os.environ, "OBLIGOR_STORE": str(store)}
        with running_service(environment, 3877, store / "log") as url, httpx.Client(base_url=url, timeout=60) as client:
            times = []
            for n in range(CALLS + 50):
                start = time.perf_counter()
                client.post("/v1/decisions", json={"customer_id": f"C{n % 2000:07d}"}).raise_for_status()
                times.append((time.perf_counter() - start) * 1000)
            asked = {"decisions": [{"customer_id": f"C{n:07d}"} for n in range(1000)]}
            start = time.perf_counter()
            client.post("/v1/decisions/batch", json=asked).raise_for_status()
            batch = 1000 / (time.perf_counter() - start)
    p50, p99 = statistics.median(times[50:]), statistics.quantiles(times[50:], n=100)[98]
    print(f"one decision over HTTP, {CALLS} customers in turn: p50 {p50:.1f} ms, p99 {p99:.1f} ms; batch {batch:.0f}/s")
    report([bar("decision_p99_ms", p99, MOST_MS, p99 < MOST_MS)], options.json)


if __name__ == "__main__":
    main()
