"""The scorecard's bins beside those of optbinning, on the same folds.

optbinning solves for optimal bins exactly.

    pip install optbinning && python benchmarks/binning.py [--json]

Both give weights of evidence to the same logistic regression; only who cuts the numbers
differs. Categories are ours in both. Tables are read from ../shared/data. optbinning is
no dependency (it brings solvers): without it ours are shown alone.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import time
import warnings
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np

from benchmarks.bars import bar, report
from obligor.arrays import Floats, Ints
from obligor.features.applications import Applications, applications
from obligor.features.encoding import fit_encoding
from obligor.features.table_files import read_frame
from obligor.features.table_spec import read_spec
from obligor.metrics.figures import figures
from obligor.model.calibration import sigmoid
from obligor.training.candidates import scorecard
from obligor.training.candidates.training_rows import Columns, stratified_folds

ROOT = Path(__file__).parents[1]
DATA, SPECS = ROOT.parent / "shared" / "data", ROOT / "data" / "samples" / "specs"
TABLES = ("german_credit", "heloc", "uci_credit_card")
OURS = scorecard.cut_points


def theirs(
    column: Floats,
    label: Ints,
    weight: Floats,
    direction: int,
    _: scorecard.Binning = scorecard.USUAL,
) -> Floats:
    """Cut one column as optbinning does.

    The number of bins and their least size are ours; a column with a direction is cut
    monotonically.
    """
    from optbinning import OptimalBinning

    there = ~np.isnan(column)
    if len(np.unique(column[there])) < 2:
        return np.empty(0)
    trend = {1: "ascending", -1: "descending"}.get(direction, "auto_asc_desc")
    binning = OptimalBinning(
        monotonic_trend=trend,
        max_n_bins=scorecard.MOST_BINS,
        min_bin_size=scorecard.SMALLEST_BIN,
    )
    found = binning.fit(column[there], label[there]).splits
    return np.nextafter(
        np.asarray(found, dtype=np.float64), -np.inf
    )  # theirs are closed on the left, ours on the right


def out_of_fold(data: Applications, cut: Any) -> tuple[dict[str, float], float]:
    """Figures of the scorecard with one way to cut, and the seconds it took."""
    pd_, started = np.empty(len(data)), time.perf_counter()
    scorecard.cut_points = cut
    for fit, held in stratified_folds(data.label, data.groups, 5, 0):
        encoding, _ = fit_encoding(data.frame.iloc[fit], data.spec)
        card = scorecard.fit_scorecard(
            encoding.rows(data.frame.iloc[fit]),
            data.label[fit],
            Columns(encoding.names, encoding.categorical, encoding.directions),
        )
        pd_[held] = sigmoid(card.margin(encoding.rows(data.frame.iloc[held])))
    scorecard.cut_points = OURS
    return figures(pd_, data.label), time.perf_counter() - started


def main() -> None:
    """Compare both on every table that is there."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true")
    options, bars = parser.parse_args(), []
    warnings.filterwarnings("ignore")
    ways = {"ours": OURS} | (
        {"optbinning": theirs} if importlib.util.find_spec("optbinning") else {}
    )
    for name in TABLES:
        if not (DATA / f"{name}.csv").exists():
            continue
        data = applications(
            read_frame(DATA / f"{name}.csv"), read_spec(SPECS / f"{name}.toml")
        )
        areas = dict[str, float]()
        for who, cut in ways.items():
            of, took = out_of_fold(data, cut)
            shown = "  ".join(
                f"{figure} {of[figure]:.4f}"
                for figure in ("auc", "brier", "log_loss", "ece")
            )
            print(f"{name:<16} {who:<11} {shown}  {took:.1f} s")
            areas[who] = of["auc"]
        if gap := [areas["ours"] - areas[who] for who in areas if who != "ours"]:
            bars.append(
                bar(
                    f"{name}: scorecard's AUC less that with optbinning's bins",
                    gap[0],
                    0,
                    gap[0] >= -0.0005,
                )
            )
    report(bars, options.json)


if __name__ == "__main__":
    main()
