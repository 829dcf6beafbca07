"""Exact contributions.

Ours against LightGBM's pred_contrib and shap, thread CPU time, engines interleaved.

Run: ``python benchmarks/treeshap.py [--json]``.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any

from obligor.arrays import Floats

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parents[1]))

import lightgbm as lgb
import numpy as np
import shap

from benchmarks.bars import bar, report
from benchmarks.made_tables import many_levels
from obligor.model.treeshap.explainer import TreeShap
from obligor.training.candidates.fit_settings import BLEND
from obligor.training.runs.table_model import FitOptions, fit_table

MODELS = ((150, 15), (400, 31))
ROOT = Path(__file__).parents[1]
FEATURES, ROWS, ROUNDS = 40, 20_000, 7
BARS = {"one row": 15, "1,000 rows": 40, "10,000 rows": 60}
START = """
import sys, time
start = time.perf_counter()
import numpy as np
base = time.perf_counter()
from obligor.model.treeshap.explainer import TreeShap
explainer = TreeShap(open(sys.argv[1]).read())
explainer.explain(np.zeros((1, 40))); explainer.explain(np.zeros((2, 40)))
print(time.perf_counter() - base, explainer.build_s)
"""


def fitted(trees: int, leaves: int) -> tuple[lgb.Booster, Floats]:
    """Fit a model of skewed, correlated columns with counts, flags and gaps."""
    draw = np.random.default_rng(trees)
    common = draw.normal(size=(ROWS, 10)) @ draw.normal(size=(10, FEATURES))
    rows = np.exp(0.5 * (common + draw.normal(size=(ROWS, FEATURES))))
    rows[:, ::5], rows[:, 1::8] = np.floor(rows[:, ::5]), rows[:, 1::8] > 1
    rows[draw.random(rows.shape) < 0.05] = np.nan
    weights = np.sort(draw.exponential(size=FEATURES))[::-1] * draw.choice(
        [-1, 1], FEATURES
    )
    margin = np.log1p(np.nan_to_num(rows)) @ weights * 0.4
    label = draw.random(ROWS) < 1 / (1 + np.exp(-(margin - margin.mean() - 2)))
    choices = {
        "objective": "binary",
        "num_leaves": leaves,
        "learning_rate": 0.05,
        "verbose": -1,
        "num_threads": 2,
    }
    return lgb.train(choices, lgb.Dataset(rows, label), trees), rows


def seconds(work: Callable[[], Any], times: int) -> float:
    """Thread CPU time of one piece of work, repeated."""
    start = time.thread_time()
    for _ in range(times):
        work()
    return (time.thread_time() - start) / times


def compare(
    booster: lgb.Booster, rows: Floats
) -> tuple[TreeShap, dict[str, dict[str, float]]]:
    """Microseconds per row of each engine and size, medians of interleaved rounds."""
    ours, theirs = TreeShap(booster), shap.TreeExplainer(booster)
    singles = [rows[n : n + 1].copy() for n in range(1000)]

    def one_by_one(explain: Callable[[Floats], Any], n: int) -> Callable[[], None]:
        turn = cycle(singles)

        def work() -> None:
            for _ in range(n):
                explain(next(turn))

        return work

    def lightgbm(part: Floats) -> Any:
        return booster.predict(part, pred_contrib=True, num_threads=1)

    engines: dict[str, Callable[[Floats], Any]] = {
        "ours": ours.shap_values,
        "LightGBM": lightgbm,
    }
    engines["shap"] = theirs.shap_values
    taken: dict[str, dict[str, list[float]]] = {
        size: {name: [] for name in engines} for size in BARS
    }
    ours.shap_values(rows[:10])
    for _ in range(ROUNDS):
        for name, explain in engines.items():
            n = 1000 if name == "ours" else 60
            taken["one row"][name].append(seconds(one_by_one(explain, n), 1) / n)
            part = rows[: 1000 if name == "ours" else 150]
            taken["1,000 rows"][name].append(
                seconds(partial(explain, part), 1) / len(part)
            )
            part = rows[: 10_000 if name == "ours" else 150]
            taken["10,000 rows"][name].append(
                seconds(partial(explain, part), 1) / len(part)
            )
    return ours, {
        size: {name: 1e6 * statistics.median(times) for name, times in found.items()}
        for size, found in taken.items()
    }


def start(text: str) -> tuple[float, float, float]:
    """Seconds a process needs more until it has explained a row: cold, warm.

    And to build.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.txt"
        path.write_text(text)
        kept = {
            "NUMBA_CACHE_DIR": folder,
            "PYTHONPYCACHEPREFIX": folder,
            "PYTHONPATH": str(ROOT),
        }
        environment = {**os.environ, **kept}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        runs = []
        for _ in range(4):
            command = [sys.executable, "-c", START, str(path)]
            done = subprocess.run(
                command, env=environment, capture_output=True, text=True, check=True
            )
            runs.append([float(word) for word in done.stdout.split()])
        return (
            runs[0][0],
            statistics.median(run[0] for run in runs[1:]),
            statistics.median(run[1] for run in runs[1:]),
        )


def blend_bars() -> list[dict[str, Any]]:
    """Explain single rows by the blend of a table with many levels."""
    data = many_levels()
    table = fit_table(data, seed=0, options=FitOptions(threads=1))
    rows = table.encoding_of(BLEND).rows(data.frame)
    ours = TreeShap(table.candidates.by_name[BLEND].text)
    singles = [rows[n : n + 1].copy() for n in range(1000)]
    for row in singles[:50]:
        ours.explain(row)
    times = [seconds(partial(ours.explain, row), 1) for row in singles]
    milliseconds = 1e3 * statistics.median(times)
    megabytes = ours.table_bytes / 1e6
    weights = table.candidates.weights
    left_out = sorted(set(table.candidates.by_name) - set(weights) - {BLEND})
    print(
        f"blend of {len(weights)} members: {ours.plan.ints.nbytes / 1e6:.1f} MB of "
        f"plan, {megabytes:.1f} MB of tables; left out of it: {left_out or 'none'}"
    )
    return [
        bar("blend, one row, ms", milliseconds, 0.3, milliseconds <= 0.3),
        bar("blend, table MB", megabytes, 64, megabytes <= 64),
    ]


def main() -> None:
    """Compare on both models, then the start of a process, then a blend."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    options, bars = parser.parse_args(), list[dict[str, Any]]()
    for trees, leaves in MODELS:
        booster, rows = fitted(trees, leaves)
        ours, taken = compare(booster, rows)
        wanted = np.asarray(booster.predict(rows[:2000], pred_contrib=True))
        error = (
            np.abs(ours.shap_values(rows[:2000]) - wanted[:, :-1]).max()
            / np.abs(wanted).sum(axis=1).max()
        )
        print(
            f"{trees} trees x {leaves} leaves x {FEATURES} features: {ours.n_tables} "
            f"tables, {ours.n_pairs} pairs,"
        )
        print(
            f"  {ours.n_walked} edges walked, {ours.table_bytes / 1e6:.1f} MB; "
            f"largest relative error {error:.1e}"
        )
        for size, found in taken.items():
            ratios = ", ".join(
                f"{found[name] / found['ours']:.1f} x {name}"
                for name in ("LightGBM", "shap")
            )
            print(f"  {size}: {found['ours']:.1f} us a row; {ratios}")
            ratio = found["LightGBM"] / found["ours"]
            bars.append(
                bar(
                    f"{trees}x{leaves} {size} over pred_contrib",
                    ratio,
                    BARS[size],
                    ratio >= BARS[size],
                )
            )
        bars.append(
            bar(f"{trees}x{leaves} relative error", error, 1e-12, error <= 1e-12)
        )
        cold, warm, build = start(booster.model_to_string())
        print(
            f"  start: {cold:.1f} s with everything to compile, {warm:.2f} s compiled "
            f"before (build {build:.2f} s)"
        )
        bars.append(bar(f"{trees}x{leaves} warm start s", warm, 1.5, warm <= 1.5))
        bars.append(
            bar(
                f"{trees}x{leaves} table MB",
                ours.table_bytes / 1e6,
                64,
                ours.table_bytes <= 64e6,
            )
        )
    bars += blend_bars()
    report(bars, options.json)


if __name__ == "__main__":
    main()
