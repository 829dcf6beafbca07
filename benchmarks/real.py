"""The two real ledgers, out of time.

Ours beside plain LightGBM on the same rows and the constant rate.

Run: ``python benchmarks/real.py [--json]``; a file that is not beside the project is
skipped.
"""

from __future__ import annotations

import argparse
import sys
from datetime import date
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.bars import bar, report
from obligor.metrics.figures import difference
from obligor.metrics.statistics import Resampling
from obligor.reading.sources import read_ledger
from obligor.training.candidates.fit import fit_model, fit_plain_lightgbm
from obligor.training.runs.ledger_run import evaluate_model
from obligor.training.samples.config import read_config
from obligor.training.samples.sample import build_sample

SAMPLES = Path(__file__).parents[1] / "data" / "samples"
TODAY = date(2026, 1, 1)


def main() -> None:
    """Train on each ledger and print its figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    bars = []
    for name in ("receivables_us_2019", "receivables_ibm_sample"):
        if not (SAMPLES / f"../../../shared/data/{name}.csv").exists():
            print(f"{name}: skipped, the file is not beside the project")
            continue
        config = read_config(SAMPLES / f"{name}_config.toml")
        split = build_sample(
            read_ledger(SAMPLES / f"{name}.toml", today=TODAY).require(), config
        )
        model = fit_model(split.train, config).model
        ours, plain = evaluate_model(model, split, config)
        train, test = split.train, split.test
        print(
            f"{name}: {len(train.rows)} training rows ({train.label.sum()} bad), "
            f"{len(test.rows)} test rows "
            f"({test.label.sum()} bad)"
        )
        for figure, value in ours.items():
            print(f"  {figure:<22} {value!s:<28} plain LightGBM {plain[figure]}")
        matrix = test.features.to_numpy()
        pds = (model.predict_pd(matrix), fit_plain_lightgbm(train).predict_pd(matrix))
        gap = difference(
            *pds,
            test.label,
            Resampling(test.customers, config.bootstrap_rounds, config.seed),
        )
        print(f"  ours less plain: Gini {gap['gini']}, Brier {gap['brier']}")
        brier, constant = ours["brier"].value, ours["brier_constant"].value
        bars.append(
            bar(f"{name}_brier_below_constant", brier, constant, brier < constant)
        )
        bars.append(
            bar(
                f"{name}_brier_below_plain",
                brier,
                plain["brier"].value,
                brier < plain["brier"].value,
            )
        )
        lost = gap["gini"].high < 0
        bars.append(
            bar(
                f"{name}_auc_not_lost_to_plain",
                ours["auc"].value,
                plain["auc"].value,
                not lost,
            )
        )
    report(bars, options.json)


if __name__ == "__main__":
    main()
