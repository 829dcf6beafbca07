"""The spine of one training run."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from obligor.data.ledger import Ledger
from obligor.features.catalogue import NAMES
from obligor.model.baseline import Baseline, choose_baseline
from obligor.model.pd_model import PdModel
from obligor.policy.credit.decide import decide
from obligor.policy.credit.facts import Facts
from obligor.policy.rulebooks.rulebook import in_force, read_rulebooks
from obligor.training.candidates.fit import Fit, fit_model, fit_plain_lightgbm
from obligor.training.candidates.fit_settings import SCORECARD
from obligor.training.candidates.tune import Tuning
from obligor.training.metrics.figures import figures, with_intervals
from obligor.training.metrics.statistics import Interval, Resampling
from obligor.training.samples.config import TrainingConfig
from obligor.training.samples.sample import (
    Progress,
    Sample,
    Split,
    build_sample,
    gap_days,
)
from obligor.training.validation.report import card_of, write_report
from obligor.training.validation.sections import validate
from obligor.training.validation.subject import (
    PEER,
    ModelUnderTest,
    Section,
    kept_rows,
    part_of,
)

SOURCES = ("data", "features", "policy", "model", "training")


@dataclass(frozen=True)
class Trained:
    """What a training run leaves behind.

    Attributes
    ----------
    figures, peer : dict of Interval
        Ours and plain LightGBM's on the same out-of-time rows.
    sections : list of Section
        Of the validation report.
    """

    version: str
    fit: Fit
    split: Split
    figures: dict[str, Interval]
    peer: dict[str, Interval]
    sections: list[Section]
    report: Path


def train(
    ledger: Ledger,
    config: TrainingConfig,
    store: Path,
    report: Path,
    *,
    at: datetime,
    progress: Progress = iter,
    card: Mapping[str, str] | None = None,
    trials: int = 0,
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
    card : mapping, optional
        What people say in the model card, by the keys of `training.report.CARD`.
    trials : int
        Of a search for LightGBM's parameters; a study of the same data, definition and seed is taken up again.
    """
    from obligor.training.lifecycle.registry import Registry

    # 3-5. As-of grid; per date known_on -> build_features; labels; split out of time with a gap.
    split = build_sample(ledger, config, progress)
    # 6-7. Fit and calibrate on folds grouped by customer, never on a test row.
    tuning = (
        Tuning(trials, store, _study(ledger, config), gap_days(config))
        if trials
        else None
    )
    fit = fit_model(split.train, config, tuning)
    baseline = baseline_of(fit.model, split.train, config, ledger.currency)
    fit = replace(
        fit,
        model=replace(fit.model, about=_about(split, fit, config), baseline=baseline),
    )
    # 8. Evaluate out of time, beside plain LightGBM and the champion on the same rows; validate and report.
    registry = Registry(store)
    case = case_of(
        ledger,
        fit,
        split,
        config,
        registry.peers(fit.model, split.test.features.to_numpy()),
    )
    ours, test = case.figures, case.test
    peer = with_intervals(
        case.peers[PEER], test.label, Resampling(test.groups, case.rounds, case.seed)
    )
    sections = validate(case)
    files = write_report(
        report, case, sections, card_of(case, sections, fit.model.about, card or {})
    )
    # 9. Keep the run and register it; promotion is a step of its own, by a named person.
    version = registry.log_run(
        fit.model,
        parameters=_flat(config.model_dump())
        | {
            "chosen": fit.candidates.chosen_name,
            "calibration": fit.model.calibration.kind,
        },
        metrics=_metrics(ours, peer),
        fingerprints={
            "data_sha256": data_fingerprint(ledger),
            "code_sha256": code_fingerprint(),
        },
        test_rows=kept_rows(fit.model, case.test),
        report=files,
        at=at,
    )
    return Trained(version, fit, split, ours, peer, sections, files[0])


def _study(ledger: Ledger, config: TrainingConfig) -> str:
    """The name of a search: what the rows and folds are made of."""
    choices = config.model_dump_json(include={"seed", "default", "sample"})
    return hashlib.sha256((data_fingerprint(ledger) + choices).encode()).hexdigest()[
        :16
    ]


def case_of(
    ledger: Ledger,
    fit: Fit,
    split: Split,
    config: TrainingConfig,
    peers: Mapping[str, NDArray[np.float64]],
) -> ModelUnderTest:
    """Return what is validated: the model on its out-of-time rows, beside plain LightGBM, the scorecard and others."""
    matrix, name = split.test.features.to_numpy(), fit.candidates.chosen_name
    others = {PEER: fit_plain_lightgbm(split.train).predict_pd(matrix), **peers}
    if name != SCORECARD:
        others[SCORECARD] = replace(
            fit.model,
            text=fit.candidates.by_name[SCORECARD].text,
            calibration=fit.candidates.by_name[SCORECARD].calibration,
        ).predict_pd(matrix)
    return ModelUnderTest(
        name="receivables ledger",
        model=fit.model,
        fit=part_of(split.train),
        fit_pd=fit.model.calibration(fit.out_of_fold_margin),
        test=part_of(split.test),
        peers=others,
        segments=_segments(ledger, split.test),
        forbidden=pd.DataFrame(index=range(len(matrix))),
        scale=in_force(read_rulebooks()[0], max(split.test.rows["as_of"])),
        rounds=config.bootstrap_rounds,
        seed=config.seed,
    )


def _segments(ledger: Ledger, test: Sample) -> pd.DataFrame:
    """Sector and country where the ledger has them, and thirds by what was sold and by how long customers are known."""
    customers = ledger["customers"].set_index("customer_id").reindex(test.rows.index)
    found = {
        name: customers[name].to_numpy()
        for name in ("sector", "country")
        if name in customers
    }
    for name, column in (
        ("sales of a year", "invoiced_amount_365d"),
        ("tenure", "days_since_first_invoice"),
    ):
        thirds = pd.qcut(
            test.rows[column].rank(method="first"),
            3,
            labels=["lowest third", "middle third", "top third"],
        )
        found[name] = thirds.astype(str).to_numpy()
    return pd.DataFrame(found)


def baseline_of(
    model: PdModel, train: Sample, config: TrainingConfig, currency: str
) -> Baseline:
    """Return the baseline that the model's reasons are given against: approved as the rules of each date decide."""
    choices, drawn = config.baseline, np.random.default_rng(config.seed)
    places = np.sort(
        drawn.choice(len(train.rows), min(choices.rows, len(train.rows)), replace=False)
    )
    rows = train.features.to_numpy()[places]
    if choices.population == "all":
        return choose_baseline(rows, model.explain, None)
    rulebooks, _ = read_rulebooks()
    dates = train.rows["as_of"].iloc[places]
    is_approved = [
        decide(
            Facts(pd_12m, currency, dict(zip(NAMES, row, strict=True)), as_of),
            in_force(rulebooks, as_of),
        ).outcome
        == "approve"
        for row, pd_12m, as_of in zip(
            rows.tolist(), model.predict_pd_12m(rows).tolist(), dates, strict=True
        )
    ]
    return choose_baseline(rows, model.explain, np.array(is_approved))


def evaluate_model(
    model: PdModel, split: Split, config: TrainingConfig
) -> tuple[dict[str, Interval], dict[str, Interval]]:
    """Return all figures of a model on the out-of-time rows, and those of plain LightGBM beside it."""
    matrix, test = split.test.features.to_numpy(), split.test
    rounds, seed = config.bootstrap_rounds, config.seed
    ours = with_intervals(
        model.predict_pd(matrix), test.label, Resampling(test.customers, rounds, seed)
    )
    peer = with_intervals(
        fit_plain_lightgbm(split.train).predict_pd(matrix),
        test.label,
        Resampling(test.customers, rounds, seed),
    )
    return ours, peer


def _metrics(
    ours: Mapping[str, Interval], peer: Mapping[str, Interval]
) -> dict[str, float]:
    metrics = dict[str, float]()
    for name, interval in ours.items():
        metrics |= {
            name: interval.value,
            f"{name}_low": interval.low,
            f"{name}_high": interval.high,
        }
    metrics |= {f"plain_{name}": interval.value for name, interval in peer.items()}
    return {name: value for name, value in metrics.items() if np.isfinite(value)}


def _about(split: Split, fit: Fit, config: TrainingConfig) -> dict[str, Any]:
    dates = split.train.rows["as_of"]
    return {
        "default": config.default.model_dump(),
        "trained_on": [dates.min().isoformat(), dates.max().isoformat()],
        "rows": len(dates),
        "defaults": int(split.train.label.sum()),
        "chosen": fit.candidates.chosen_name,
        "weights": dict(fit.candidates.weights),
        "calibration_losses": dict(
            fit.candidates.by_name[fit.candidates.chosen_name].losses
        ),
        "blend_gain_log_loss": list(fit.candidates.gain),
        "seed": config.seed,
        "train_gini": figures(
            fit.model.calibration(fit.out_of_fold_margin), split.train.label
        )["gini"],
    }


def _flat(nested: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in nested.items():
        flat |= (
            _flat(value, f"{prefix}{name}.")
            if isinstance(value, dict)
            else {prefix + name: value}
        )
    return flat


def data_fingerprint(ledger: Ledger) -> str:
    """SHA-256 over every cell of every table."""
    digest = hashlib.sha256(ledger.currency.encode())
    for table in sorted(ledger.tables):
        frame = ledger[table].sort_index(axis=1)
        digest.update(
            table.encode()
            + pd.util.hash_pandas_object(frame, index=False).to_numpy().tobytes()
        )
    return digest.hexdigest()


def code_fingerprint() -> str:
    """SHA-256 over every source that makes a model, in sub-folders too."""
    digest = hashlib.sha256()
    package = Path(__file__).parent.parent.parent
    for folder in SOURCES:
        for path in sorted((package / folder).rglob("*.py")):
            name = path.relative_to(package).as_posix()
            digest.update(name.encode() + path.read_bytes())
    return digest.hexdigest()
