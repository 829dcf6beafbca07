"""End the service under load, and kill one of its workers.

    python reliability/drain.py --json

No request may fail, and the loss of a worker must be seen. The callers behave as if
behind a load balancer: they stop when `/readyz` fails, and not before.
"""

from __future__ import annotations

import signal
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1]))

import httpx

from benchmarks.bars import bar, report
from reliability.running import (
    CUSTOMERS,
    HEADERS,
    argument_parser,
    environment_of,
    prepare,
    running,
    workers,
)

PORT = 24_990
URL = f"http://127.0.0.1:{PORT}"
CALLERS = 8
ROUNDS = 3
LEAST_ANSWERS = 500
MOST_SECONDS = 15


class Callers:
    """Threads that send requests until they are stopped."""

    def __init__(self) -> None:
        self.n_answered = 0
        self.failures = list[str]()
        self.stopped = threading.Event()
        self._threads = [
            threading.Thread(target=self._call, args=(number,))
            for number in range(CALLERS)
        ]

    def __enter__(self) -> Callers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopped.set()
        for thread in self._threads:
            thread.join()

    def _call(self, number: int) -> None:
        with httpx.Client(base_url=URL, headers=HEADERS, timeout=20) as client:
            while not self.stopped.is_set():
                number = (number + CALLERS) % CUSTOMERS
                question = {"customer_id": f"C{number:07d}"}
                try:
                    status = client.post("/v1/decisions", json=question).status_code
                except httpx.TransportError as error:
                    self.failures.append(type(error).__name__)
                    continue
                if status != 200:
                    self.failures.append(str(status))
                self.n_answered += 1


class End(NamedTuple):
    """One end of the service under load."""

    n_answered: int
    failures: list[str]


class Loss(NamedTuple):
    """One loss of a worker."""

    was_seen: bool
    seconds: float  # until every worker was there again


def count_workers() -> int:
    """Return how many workers are alive by the metrics; -1 if nobody answers."""
    try:
        response = httpx.get(f"{URL}/v1/metrics", headers=HEADERS, timeout=5)
    except httpx.TransportError:
        return -1
    for line in response.text.splitlines():
        if line.startswith("obligor_workers "):
            _, value = line.split()
            return int(float(value))
    raise AssertionError("the metrics do not count the workers")


def end_under_load(store: Path) -> End:
    """Send SIGTERM under load."""
    environment = environment_of(store, OBLIGOR_DRAIN_S="6")
    with (
        running(environment, PORT, store / "log") as process,
        Callers() as callers,
    ):
        while callers.n_answered < LEAST_ANSWERS:
            time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        while httpx.get(f"{URL}/readyz", timeout=10).status_code == 200:
            time.sleep(0.25)
        callers.stopped.set()
        process.wait(40)
    return End(callers.n_answered, callers.failures)


def lose_worker(store: Path) -> Loss:
    """Kill one of two workers."""
    environment = environment_of(store, OBLIGOR_WORKERS="2")
    with running(environment, PORT, store / "log") as process:
        while count_workers() != 2:
            time.sleep(0.1)
        workers(process)[0].kill()
        killed_at = time.monotonic()
        was_seen = False
        while (n_alive := count_workers()) != 2 or not was_seen:
            was_seen |= n_alive == 1
            time.sleep(0.05)
        seconds = time.monotonic() - killed_at
    return Loss(was_seen, seconds)


def main() -> None:
    """End the service three times, and kill a worker three times."""
    options = argument_parser(__doc__).parse_args()
    with tempfile.TemporaryDirectory(prefix="drain") as name:
        store = Path(name)
        prepare(store)
        ends = [end_under_load(store) for _ in range(ROUNDS)]
        losses = [lose_worker(store) for _ in range(ROUNDS)]
    n_answered = sum(end.n_answered for end in ends)
    failures = [failure for end in ends for failure in end.failures]
    n_failed = len(failures)
    n_seen = sum(loss.was_seen for loss in losses)
    slowest = max(loss.seconds for loss in losses)
    print(
        f"{n_answered:,} answered in {ROUNDS} ends, {failures[:5] or 'none'} failed; "
        f"full again after {[round(loss.seconds, 1) for loss in losses]} s"
    )
    is_fast = slowest <= MOST_SECONDS
    bars = [
        bar("requests failed by SIGTERM under load", n_failed, 0, n_failed == 0),
        bar("lost workers that were seen, of 3", n_seen, ROUNDS, n_seen == ROUNDS),
        bar("seconds until full service", slowest, MOST_SECONDS, is_fast),
    ]
    report(bars, options.json)


if __name__ == "__main__":
    main()
