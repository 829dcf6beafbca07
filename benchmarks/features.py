"""Features in batch against the same definitions as DuckDB SQL.

Also the features of one account in plain Python, and the speed of the simulator.

Run: ``python benchmarks/features.py [--json]``.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.bars import bar, report
from obligor.data.asof import known_account, known_on
from obligor.data.synthetic import simulate_ledger
from obligor.features.build import account_features, build_features
from obligor.features.catalogue import NAMES
from tests import ascii
from tests.oracle.test_features import oracle

AS_OF = date(2024, 12, 31)
MOST_SECONDS_FOR_A_MILLION = 30.0


def seconds(work: Callable[[], object]) -> float:
    """Wall-clock time of one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main() -> None:
    """Measure, interleaved, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    ledger = simulate_ledger(5000, 36, seed=1).ledger
    known = known_on(ledger, AS_OF)
    build_features(known)  # compiles once; later processes read the cache
    ours, theirs, gate = list[float](), list[float](), list[float]()
    for _ in range(5):
        gate.append(seconds(lambda: known_on(ledger, AS_OF)))
        ours.append(seconds(lambda: build_features(known)))
        theirs.append(seconds(lambda: oracle(ledger, AS_OF)))
    batch, sql = (
        statistics.median(ours) + statistics.median(gate),
        statistics.median(theirs),
    )
    print(
        f"batch, {len(ledger['invoices']):,} invoices, {len(NAMES)} features: gate "
        f"{statistics.median(gate):.2f} s and "
        f"features {statistics.median(ours):.2f} s; the same in DuckDB SQL, tables "
        f"loaded, {sql:.2f} s: "
        f"{sql / batch:.2f} times as long"
    )
    accounts = [
        known_account(ascii.account(ledger, customer), AS_OF)
        for customer in ledger["customers"]["customer_id"][:100]
    ]
    single = statistics.median(
        seconds(lambda a=a: account_features([a])) for _ in range(5) for a in accounts
    )  # type: ignore[misc]
    print(f"one account: median {single * 1000:.3f} ms")
    million = seconds(lambda: simulate_ledger(21_500, 36, seed=1))
    rows = len(simulate_ledger(21_500, 36, seed=1).ledger["invoices"])
    print(f"simulator: {rows:,} invoices in {million:.1f} s")
    report(
        [
            bar(
                "simulate_seconds_per_million_invoices",
                million / rows * 1e6,
                MOST_SECONDS_FOR_A_MILLION,
                million / rows * 1e6 < MOST_SECONDS_FOR_A_MILLION,
            ),
        ],
        options.json,
    )


if __name__ == "__main__":
    main()
