"""End the service under load, and kill one of its workers: nobody is failed, and the loss is seen.

    python reliability/drain.py --json

The callers are a load balancer's: they stop when `/readyz` fails, and not before.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import httpx

from benchmarks.bars import bar, report
from reliability.running import (
    CUSTOMERS,
    HEADERS,
    environment_of,
    prepare,
    running,
    workers,
)

PORT, CALLERS, ROUNDS = 24_990, 8, 3
URL = f"http://127.0.0.1:{PORT}"


class Callers:
    """Threads that ask until they are told to stop."""

    def __init__(self) -> None:
        self.answered, self.failed, self.told = 0, list[str](), threading.Event()
        self._threads = [
            threading.Thread(target=self._call, args=(n,)) for n in range(CALLERS)
        ]

    def __enter__(self) -> Callers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.told.set()
        for thread in self._threads:
            thread.join()

    def _call(self, n: int) -> None:
        with httpx.Client(base_url=URL, headers=HEADERS, timeout=20) as client:
            while not self.told.is_set():
                n = (n + CALLERS) % CUSTOMERS
                try:
                    status = client.post(
                        "/v1/decisions", json={"customer_id": f"C{n:07d}"}
                    ).status_code
                    self.failed += [str(status)] if status != 200 else []
                    self.answered += 1
                except httpx.TransportError as error:
                    self.failed.append(type(error).__name__)


def crew() -> int:
    """How many workers the metrics say are alive; -1 where nobody answers."""
    try:
        lines = httpx.get(
            f"{URL}/v1/metrics", headers=HEADERS, timeout=5
        ).text.splitlines()
    except httpx.TransportError:
        return -1
    return int(
        float(
            next(line for line in lines if line.startswith("obligor_workers ")).split()[
                1
            ]
        )
    )


def ended(store: Path) -> tuple[int, list[str]]:
    """SIGTERM under load: how many were answered, and what failed."""
    with (
        running(
            environment_of(store, OBLIGOR_DRAIN_S="6"), PORT, store / "log"
        ) as process,
        Callers() as callers,
    ):
        while callers.answered < 500:
            time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        while httpx.get(f"{URL}/readyz", timeout=10).status_code == 200:
            time.sleep(0.25)
        callers.told.set()
        process.wait(40)
    return callers.answered, callers.failed


def worker_lost(store: Path) -> tuple[bool, float]:
    """Kill one of two workers: was it seen, and how long until both are there again?"""
    with running(
        environment_of(store, OBLIGOR_WORKERS="2"), PORT, store / "log"
    ) as process:
        while crew() != 2:
            time.sleep(0.1)
        workers(process)[0].kill()
        killed, was_seen = time.monotonic(), False
        while (alive := crew()) != 2 or not was_seen:
            was_seen |= alive == 1
            time.sleep(0.05)
    return was_seen, time.monotonic() - killed


def main() -> None:
    """End it three times, kill a worker three times."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="drain") as name:
        store = Path(name)
        prepare(store)
        ends = [ended(store) for _ in range(ROUNDS)]
        losses = [worker_lost(store) for _ in range(ROUNDS)]
    failed = [one for _, failures in ends for one in failures]
    slowest = max(took for _, took in losses)
    print(
        f"{sum(answered for answered, _ in ends):,} answered in {ROUNDS} ends, {failed[:5] or 'none'} failed; "
        f"full again after {[round(took, 1) for _, took in losses]} s"
    )
    report(
        [
            bar("requests failed by SIGTERM under load", len(failed), 0, not failed),
            bar(
                "lost workers that were seen, of 3",
                sum(seen for seen, _ in losses),
                3,
                all(seen for seen, _ in losses),
            ),
            bar("seconds until full service", slowest, 15, slowest <= 15),
        ],
        options.json,
    )


if __name__ == "__main__":
    main()
