"""How close the model comes to the truth as history grows.

Gini beside its ceiling, and calibration.

The simulator knows each customer's true PD. The Gini of that PD on the test rows is the
ceiling of any model. The same customers are tested on the same day; what grows is the
ledger before the last training date. Beside the Gini of the observed defaults stands
the expected one, with each row's true PD in place of its 0 or 1: the same figure
without the luck of who defaulted, so small differences can be seen.
Run: ``python benchmarks/history.py [--json] [--customers N] [--plot FILE]``.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.bars import bar, report
from obligor.data.ledger import OF_INVOICE, Ledger, is_among
from obligor.data.synthetic import Simulation, simulate_ledger
from obligor.metrics.figures import auc, with_intervals
from obligor.metrics.statistics import Resampling
from obligor.training.candidates.fit import fit_model
from obligor.training.samples.config import TrainingConfig
from obligor.training.samples.sample import Sample, build_sample

HISTORIES = (6, 12, 24)
CONFIG = {"bootstrap_rounds": 200, "sample": {"test_dates": 1, "min_history_days": 60}}


def measure(simulation: Simulation, months: int, seed: int) -> dict[str, Any]:
    """Train on `months` of history before the last training date, test a year later."""
    start = simulation.start + timedelta(
        days=round((max(HISTORIES) - months) * 365 / 12)
    )
    config = TrainingConfig.model_validate(CONFIG)
    split = build_sample(begun(simulation.ledger, start), config)
    fit = fit_model(split.train, config)
    # A customer whose default lies before the ledger begins has no PD any more and
    # cannot be seen: left out.
    truth_of = simulation.true_pd(split.test.rows["as_of"].iloc[0])
    test = Sample(split.test.rows[split.test.rows.index.isin(truth_of.index)])
    truth = truth_of.reindex(test.rows.index).to_numpy()
    pd_ = fit.model.predict_pd(test.features.to_numpy())
    found = with_intervals(
        pd_, test.label, Resampling(test.customers, config.bootstrap_rounds, seed)
    )
    return {
        "months": months,
        "rows": len(split.train.rows),
        "gini": found["gini"],
        "ceiling": 2 * auc(truth, test.label) - 1,
        "expected_gini": 2 * auc(pd_, truth) - 1,
        "expected_ceiling": 2 * auc(truth, truth) - 1,
        "slope": found["calibration_slope"],
        "mean_pd": float(pd_.mean()),
        "mean_true": float(truth.mean()),
        "default_rate": float(test.label.mean()),
    }


def begun(ledger: Ledger, start: date) -> Ledger:
    """A ledger whose items begin on a day, as after a change of system."""
    tables = dict(ledger.tables)
    tables["invoices"] = tables["invoices"][
        tables["invoices"]["issued_on"] >= pd.Timestamp(start)
    ]
    invoices = pd.Index(tables["invoices"]["invoice_id"])
    for name in tables.keys() & set(OF_INVOICE):
        tables[name] = tables[name][is_among(tables[name]["invoice_id"], invoices)]
    return replace(ledger, tables=tables)


def draw(results: list[dict[str, Any]], path: Path) -> None:
    """Plot Gini and its ceiling over the months of history."""
    figure = Figure(figsize=(6.4, 4.4))
    axes = figure.subplots()
    months = [r["months"] for r in results]
    error = np.array(
        [
            [r["gini"].value - r["gini"].low, r["gini"].high - r["gini"].value]
            for r in results
        ]
    ).T
    axes.plot(
        months,
        [r["ceiling"] for r in results],
        "k--",
        label="ceiling: Gini of the true PD",
    )
    axes.plot(
        months,
        [r["expected_ceiling"] for r in results],
        "k:",
        label="ceiling, expected",
    )
    axes.errorbar(
        months,
        [r["gini"].value for r in results],
        error,
        marker="o",
        capsize=4,
        label="this model, 95%",
    )
    axes.plot(
        months,
        [r["expected_gini"] for r in results],
        "s:",
        color="tab:orange",
        label="this model, expected",
    )
    axes.set_xticks(months)
    axes.set_xlabel("history before the last training date (months)")
    axes.set_ylabel("Gini, out of time (no unit)")
    axes.set_title("The gap to the truth as history grows")
    axes.set_ylim(0.3, 0.9)
    axes.legend(frameon=False)
    figure.savefig(path, dpi=110, bbox_inches="tight")


def main() -> None:
    """Measure, print, plot."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--customers", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args()
    simulation = simulate_ledger(
        options.customers, max(HISTORIES) + 24, seed=options.seed
    )
    results, bars = [], []
    for months in HISTORIES:
        results.append(found := measure(simulation, months, options.seed))
        print(
            f"{months:>2} months, {found['rows']:>7,} rows: Gini {found['gini']}, "
            f"ceiling {found['ceiling']:.4f}; "
            f"expected {found['expected_gini']:.4f}, ceiling "
            f"{found['expected_ceiling']:.4f}; slope {found['slope']}; "
            f"mean PD {found['mean_pd']:.4f}, true {found['mean_true']:.4f}, observed "
            f"{found['default_rate']:.4f}",
            flush=True,
        )
        slope = found["slope"]
        bars.append(
            bar(
                f"slope_{months}m_interval_holds_1",
                slope.value,
                1.0,
                slope.low <= 1 <= slope.high,
            )
        )
        off = abs(found["mean_pd"] / found["mean_true"] - 1)
        bars.append(bar(f"mean_pd_{months}m_off_truth", off, 0.10, off <= 0.10))
    gaps = [(r["months"], r["expected_ceiling"] - r["expected_gini"]) for r in results]
    for (_, before), (months, after) in itertools.pairwise(gaps):
        bars.append(
            bar(f"gini_gap_{months}m_below_shorter", after, before, after < before)
        )
    if options.plot:
        draw(results, options.plot)
    report(bars, options.json)


if __name__ == "__main__":
    main()
