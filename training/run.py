"""The spine of one training run."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from data.ledger import Ledger
from features.catalogue import NAMES
from policy.decide import Facts, decide
from policy.rulebook import in_force, read_rulebooks
from training.baseline import Baseline, choose_baseline
from training.config import TrainingConfig
from training.evaluate import Interval, figures, with_intervals
from training.fit import Fit, fit_model, plain_lightgbm
from training.pd_model import PdModel
from training.report import Evaluation, stability, write_report
from training.sample import Progress, Sample, Split, build_sample

SOURCES = ("data", "features", "training")


@dataclass(frozen=True)
class Trained:
    """What a training run leaves behind."""

    version: str
    fit: Fit
    split: Split
    result: Evaluation
    report: Path


def train(
    ledger: Ledger, config: TrainingConfig, store: Path, report: Path, *, at: datetime, progress: Progress = iter
) -> Trained:
    """Train, evaluate out of time, report, and register one model as the challenger.

    Parameters
    ----------
    ledger : Ledger
        A checked ledger (steps 1 and 2 of the spine: `read_ledger`, `check_ledger`).
    store : Path
        The MLflow store.
    report : Path
        Folder for the HTML report and its plots.
    at : datetime
        The time the run is filed under.
    """
    from training.registry import Registry  # here: mlflow takes seconds to import

    # 3-5. As-of grid; per date known_on -> build_features; labels; split out of time with a gap.
    split = build_sample(ledger, config, progress)
    # 6-7. Fit and calibrate on folds grouped by customer, never on a test row.
    fit = fit_model(split.train, config)
    baseline = baseline_of(fit.model, split.train, config, ledger.currency)
    fit = replace(fit, model=replace(fit.model, about=_about(split, fit, config), baseline=baseline))
    # 8. Evaluate out of time, beside plain LightGBM on the same rows.
    result = evaluate(fit, split, config)
    files = write_report(report, fit, split, result, config)
    # 9. Keep the run and register it; promotion is a step of its own, by a named person.
    version = Registry(store).log_run(
        fit.model,
        parameters=_flat(config.model_dump())
        | {"chosen": fit.ladder.chosen, "calibration": fit.model.calibration.kind},
        metrics=_metrics(result),
        fingerprints={"data_sha256": data_fingerprint(ledger), "code_sha256": code_fingerprint()},
        test_rows=split.test.features.assign(label=split.test.label, customer=split.test.customers),
        report=files,
        at=at,
    )
    return Trained(version, fit, split, result, files[0])


def baseline_of(model: PdModel, train: Sample, config: TrainingConfig, currency: str) -> Baseline:
    """Return the baseline that the model's reasons are given against: approved as the rules of each date decide."""
    choices, drawn = config.baseline, np.random.default_rng(config.seed)
    places = np.sort(drawn.choice(len(train.rows), min(choices.rows, len(train.rows)), replace=False))
    rows = train.features.to_numpy()[places]
    if choices.population == "all":
        return choose_baseline(rows, model.explain, None)
    rulebooks, _ = read_rulebooks()
    dates = train.rows["as_of"].iloc[places]
    is_approved = [
        decide(Facts(pd_12m, currency, dict(zip(NAMES, row, strict=True)), as_of), in_force(rulebooks, as_of)).outcome
        == "approve"
        for row, pd_12m, as_of in zip(rows.tolist(), model.predict_pd_12m(rows).tolist(), dates, strict=True)
    ]
    return choose_baseline(rows, model.explain, np.array(is_approved))


def evaluate_model(
    model: PdModel, split: Split, config: TrainingConfig
) -> tuple[dict[str, Interval], dict[str, Interval]]:
    """Return all figures of a model on the out-of-time rows, and those of plain LightGBM beside it."""
    matrix, test = split.test.features.to_numpy(), split.test
    rounds, seed = config.bootstrap_rounds, config.seed
    ours = with_intervals(model.predict_pd(matrix), test.label, test.customers, rounds, seed)
    peer = with_intervals(plain_lightgbm(split.train).predict_pd(matrix), test.label, test.customers, rounds, seed)
    return ours, peer


def evaluate(fit: Fit, split: Split, config: TrainingConfig) -> Evaluation:
    """Evaluate a fresh fit: all figures with intervals, stability, and both by vintage."""
    test_pd = fit.model.predict_pd(split.test.features.to_numpy())
    train_pd = fit.model.calibration(fit.out_of_fold_margin)
    ours, peer = evaluate_model(fit.model, split, config)
    return Evaluation(
        figures=ours,
        peer=peer,
        by_vintage=_by_vintage(split.test, test_pd, config),
        psi=stability(split, train_pd, test_pd),
        test_pd=test_pd,
    )


def _by_vintage(test: Sample, pd_: NDArray[np.float64], config: TrainingConfig) -> pd.DataFrame:
    """A column per as-of date, a row per figure; a date without any default has no figures."""
    columns = {}
    for as_of in sorted(set(test.rows["as_of"])):
        is_in = (test.rows["as_of"] == as_of).to_numpy()
        if test.label[is_in].any():
            rows = np.arange(is_in.sum())
            found = with_intervals(pd_[is_in], test.label[is_in], rows, config.bootstrap_rounds, config.seed)
            columns[as_of] = {"rows": str(is_in.sum())} | {name: str(interval) for name, interval in found.items()}
    return pd.DataFrame(columns)


def _metrics(result: Evaluation) -> dict[str, float]:
    metrics = {f"psi_{name}": float(value) for name, value in result.psi["all"].items()}
    for name, interval in result.figures.items():
        metrics |= {name: interval.value, f"{name}_low": interval.low, f"{name}_high": interval.high}
    metrics |= {f"plain_{name}": interval.value for name, interval in result.peer.items()}
    return {name: value for name, value in metrics.items() if np.isfinite(value)}


def _about(split: Split, fit: Fit, config: TrainingConfig) -> dict[str, Any]:
    dates = split.train.rows["as_of"]
    return {
        "default": config.default.model_dump(),
        "trained_on": [dates.min().isoformat(), dates.max().isoformat()],
        "rows": len(dates),
        "defaults": int(split.train.label.sum()),
        "chosen": fit.ladder.chosen,
        "weights": dict(fit.ladder.weights),
        "blend_gain_log_loss": list(fit.ladder.gain),
        "seed": config.seed,
        "train_gini": figures(fit.model.calibration(fit.out_of_fold_margin), split.train.label)["gini"],
    }


def _flat(nested: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in nested.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return flat


def data_fingerprint(ledger: Ledger) -> str:
    """SHA-256 over every cell of every table."""
    digest = hashlib.sha256(ledger.currency.encode())
    for table in sorted(ledger.tables):
        frame = ledger[table].sort_index(axis=1)
        digest.update(table.encode() + pd.util.hash_pandas_object(frame, index=False).to_numpy().tobytes())
    return digest.hexdigest()


def code_fingerprint() -> str:
    """SHA-256 over the sources that make a model."""
    digest = hashlib.sha256()
    root = Path(__file__).parent.parent
    for path in sorted(path for folder in SOURCES for path in (root / folder).glob("*.py")):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()
