"""How good the ladder is on three public tables, out of fold, beside LightGBM as it comes on the same folds.

    python tests/benchmarks/models.py [--only german_credit] [--repeats 1] [--json]

Everything is learnt in the folds: encoding, bins, pairs of columns, number of trees, blend, calibration, and the choice
of what would be promoted. Tables are read from ../shared/data, which is not part of the project.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

import lightgbm as lgb
import numpy as np

from features.application import Applications, applications, read_frame, read_spec
from features.encoding import fit_encoding
from tests.benchmarks.bars import bar, report
from training.evaluate import figures
from training.ladder import folds_of
from training.table import FIGURES, PROMOTED, evaluate_table

ROOT = Path(__file__).parents[2]
DATA, SPECS = ROOT.parent / "shared" / "data", ROOT / "data" / "samples" / "specs"
WANTED = {"german_credit": 0.793, "heloc": 0.801, "uci_credit_card": 0.786}


def plain(data: Applications, folds: int, repeats: int, seed: int) -> dict[str, float]:
    """LightGBM with its defaults on the same folds, categories as it takes them."""
    found = []
    for repeat in range(repeats):
        pd_ = np.empty(len(data))
        for fit, held in folds_of(data.label, data.groups, folds, seed + repeat):
            encoding, _ = fit_encoding(data.frame.iloc[fit], data.spec)
            rows, later = encoding.rows(data.frame.iloc[fit]), encoding.rows(data.frame.iloc[held])
            learnt = lgb.Dataset(rows, data.label[fit], categorical_feature=list(encoding.categorical),
                                 params={"verbose": -1})  # fmt: skip
            booster = lgb.train({"objective": "binary", "verbose": -1, "seed": 0, "deterministic": True,
                                 "force_row_wise": True}, learnt)  # fmt: skip
            pd_[held] = booster.predict(later)
        found.append(figures(pd_, data.label))
    return {name: float(np.mean([one[name] for one in found])) for name in FIGURES}


def bars_of(name: str, repeats: int) -> list[dict[str, Any]]:
    """Evaluate one table, print every rung, return its bars."""
    data = applications(read_frame(DATA / f"{name}.csv"), read_spec(SPECS / f"{name}.toml"))
    found = evaluate_table(data, folds=5, repeats=repeats, seed=0)
    models = {"plain LightGBM": plain(data, 5, repeats, 0), **found["models"]}
    print(f"\n{name}: {found['rows']:,} rows, {found['default_rate']:.1%} bad, {found['seconds']} s, {found['chosen']}")
    for model, of in models.items():
        print(f"  {model:<16}" + "  ".join(f"{figure} {of[figure]:.4f}" for figure in FIGURES))
    ours, peer = models[PROMOTED], models["plain LightGBM"]
    slope = ours["calibration_slope"]
    return [
        bar(f"{name}: AUC", ours["auc"], WANTED[name], ours["auc"] >= WANTED[name]),
        bar(f"{name}: AUC over plain LightGBM", ours["auc"] - peer["auc"], 0, ours["auc"] > peer["auc"]),
        bar(f"{name}: Brier over the constant rate", ours["brier"] / ours["brier_constant"], 1,
            ours["brier"] < ours["brier_constant"]),
        bar(f"{name}: calibration slope", slope, 1, 0.95 <= slope <= 1.05),
        bar(f"{name}: ECE", ours["ece"], 0.02, ours["ece"] <= 0.02),
    ]  # fmt: skip


def main() -> None:
    """Evaluate every table that is there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--only", choices=WANTED)
    parser.add_argument("--repeats", type=int, default=1)
    options = parser.parse_args()
    names = [name for name in WANTED if (DATA / f"{name}.csv").exists() and options.only in (None, name)]
    report([one for name in names for one in bars_of(name, options.repeats)], options.json)


if __name__ == "__main__":
    main()
