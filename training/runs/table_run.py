"""The spine of a training run on a flat table of applications, and its honest figures."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from obligor.arrays import Floats
from obligor.errors import SchemaError
from obligor.features.applications import Applications
from obligor.features.encoding import Encoding, fit_encoding
from obligor.features.table_spec import Spec
from obligor.model.baseline import choose_baseline
from obligor.model.calibration import SMALLEST_PD
from obligor.model.pd_model import PdModel
from obligor.policy.rulebooks.rulebook import read_rulebooks
from obligor.training.candidates.calibrate import fit_band
from obligor.training.candidates.candidates import CandidateSet, fit_candidates
from obligor.training.candidates.fit_settings import (
    BLEND,
    MEMBERS,
    PLAIN,
    RATIOS,
    SCORECARD,
    FitSettings,
    cores,
)
from obligor.training.candidates.reject_inference import (
    Method,
    acceptance_weights,
    effective_rows,
    with_rejects,
)
from obligor.training.candidates.training_rows import (
    Columns,
    TrainingRows,
    stratified_folds,
)
from obligor.training.candidates.tune import Tuning, tune_members
from obligor.training.metrics.figures import figures, with_intervals
from obligor.training.metrics.statistics import Interval, Resampling
from obligor.training.validation.reject_effects import rejects
from obligor.training.validation.report import card_of, write_report
from obligor.training.validation.sections import validate
from obligor.training.validation.subject import (
    PEER,
    LabelledRows,
    ModelUnderTest,
    Section,
    kept_rows,
)

Fold = tuple[
    dict[str, NDArray[np.float64]], str
]  # the PDs of every rung on the rows held back, and the choice
Progress = Callable[
    [Iterable[Fold], int], Iterable[Fold]
]  # watches folds go by, and how many there will be
FIGURES = (
    "auc",
    "gini",
    "ks",
    "brier",
    "brier_constant",
    "log_loss",
    "ece",
    "calibration_slope",
)
TEST_SHARE, BASELINE_ROWS, ROUNDS, BAND_ROUNDS = 0.2, 5000, 200, 60
FEW_VALUES, MOST_SEGMENTS = 8, 4
PROMOTED = "promoted"


@dataclass(frozen=True)
class TableModel:
    """Fitted candidates with the encoding of their rows.

    Attributes
    ----------
    findings : tuple of str
        Columns that were left out, and why.
    """

    encoding: Encoding
    candidates: CandidateSet
    spec: Spec
    findings: tuple[str, ...]

    def model(self, name: str | None = None) -> PdModel:
        """Return a rung as a model; by default the one that was chosen."""
        name = name or self.candidates.chosen_name
        rung, horizon = self.candidates.by_name[name], self.spec.target.horizon_days
        encoding = self.encoding_of(name)
        return PdModel(
            rung.text, rung.calibration, encoding.names, horizon, {}, encoding=encoding
        )

    def points(self) -> pd.DataFrame:
        """Return the printed scorecard, a row per bin; see `Scorecard.points`."""
        labels = list[Sequence[str]]()
        for one, _ in self.encoding.parts:
            labels.append(one.levels)
            if one.special:
                labels.append(
                    ("an ordinary number", *(f"{code:g}" for code in one.special))
                )
        return self.candidates.scorecard.points(labels)

    def encoding_of(self, name: str) -> Encoding:
        """Return how rows become numbers for a rung: two of them read pairs of columns too."""
        return (
            replace(self.encoding, pairs=self.candidates.pairs)
            if name in (RATIOS, BLEND)
            else self.encoding
        )


def fit_table(
    data: Applications,
    seed: int,
    threads: int | None = None,
    tuning: Tuning | None = None,
    inference: Method | None = None,
) -> TableModel:
    """Learn the encoding and every rung of the ladder from all rows given; perhaps search for parameters first.

    Parameters
    ----------
    inference : str, optional
        How applicants who were refused count; see `training.rejects`. They do not by default.

    Raises
    ------
    SchemaError
        Where no column is left, or one kind of row is too rare.
    """
    encoding, findings = fit_encoding(data.frame, data.spec)
    table = _table(data, encoding)
    settings = FitSettings(seed, threads or cores())
    members = tune_members(table, tuning, settings) if tuning else MEMBERS
    if inference:
        table = with_rejects(
            table,
            encoding.rows(_require_refused(data).refused),
            inference,
            _odds(data.spec),
        )
    candidates = fit_candidates(table, replace(settings, members=members))
    return TableModel(encoding, candidates, data.spec, tuple(findings))


def _table(data: Applications, encoding: Encoding) -> TrainingRows:
    return TrainingRows(
        encoding.rows(data.frame),
        data.label,
        data.groups,
        Columns(encoding.names, encoding.categorical, encoding.directions),
        None if data.dates is None else data.dates.astype(np.int64),
    )


def _odds(spec: Spec) -> float:
    return spec.rejects.odds if spec.rejects else 1.0


def _require_refused(data: Applications) -> Applications:
    if data.refused.empty:
        raise SchemaError(
            "no row is an applicant who was refused",
            where=data.spec.name,
            expected="rows without an outcome that [rejects] of the spec names by column and values",
            do="name them there, or train without --rejects",
        )
    return data


def split(data: Applications, seed: int) -> tuple[Applications, Applications]:
    """Return rows to learn from and rows to test on: the latest fifth, or a drawn one where there are no dates."""
    if data.dates is None:
        fit, test = stratified_folds(
            data.label, data.groups, round(1 / TEST_SHARE), seed
        )[0]
        return data.take(fit), data.take(test)
    start = np.quantile(data.dates.astype(np.int64), 1 - TEST_SHARE)
    is_later = data.dates.astype(np.int64) >= start
    is_known = np.isin(
        data.groups, data.groups[is_later]
    )  # a group's earlier rows would give its later ones away
    fit, test = np.flatnonzero(~is_later & ~is_known), np.flatnonzero(is_later)
    return data.take(fit).refused_before(start), data.take(test)


# --- evaluation


def evaluate_table(
    data: Applications,
    folds: int = 5,
    repeats: int = 1,
    seed: int = 0,
    progress: Progress = lambda folds, n: folds,
) -> dict[str, Any]:
    """Return the out-of-fold figures of every rung, and of what would be promoted.

    Everything is learnt anew in each fold, the encoding, the number of trees, the blend, the calibration and the
    choice among the rungs; the rows that are measured had no part in any of it.

    Returns
    -------
    dict
        ``models``: per rung and for ``promoted`` the mean over the repeats of each of `FIGURES`; ``seconds`` of all.
    """
    started = time.perf_counter()
    splits = [
        (repeat, fit, held)
        for repeat in range(repeats)
        for fit, held in stratified_folds(data.label, data.groups, folds, seed + repeat)
    ]
    jobs = [
        (data.take(fit), data.take(held), seed + repeat) for repeat, fit, held in splits
    ]
    with ProcessPoolExecutor(
        min(len(jobs), cores()), mp_context=get_context("spawn")
    ) as pool:
        found = list(progress(pool.map(_fold, jobs), len(jobs)))
    predicted = {
        (repeat, name): np.empty(len(data))
        for repeat in range(repeats)
        for name in found[0][0]
    }
    for (pds, _), (repeat, _, held) in zip(found, splits, strict=True):
        for name, pd_ in pds.items():
            predicted[repeat, name][held] = pd_
    of_each = {place: _figures(pd_, data.label) for place, pd_ in predicted.items()}
    models = {
        name: {
            figure: float(
                np.mean([of_each[repeat, name][figure] for repeat in range(repeats)])
            )
            for figure in FIGURES
        }
        for name in found[0][0]
    }
    return {
        "name": data.spec.name,
        "rows": len(data),
        "default_rate": float(data.label.mean()),
        "folds": folds,
        "repeats": repeats,
        "seed": seed,
        "models": models,
        PROMOTED: models[PROMOTED],
        "chosen": dict(Counter(choice for _, choice in found)),
        "seconds": round(time.perf_counter() - started, 1),
    }


def _fold(job: tuple[Applications, Applications, int]) -> Fold:
    """One fold, in a process of its own: the PDs of every rung on rows it has not seen."""
    fit, held, seed = job
    fitted = fit_table(fit, seed, threads=1)
    pds = {
        name: fitted.model(name).predict_pd(fitted.encoding_of(name).rows(held.frame))
        for name in fitted.candidates.by_name
    }
    return {
        **pds,
        PROMOTED: pds[fitted.candidates.chosen_name],
    }, fitted.candidates.chosen_name


def _figures(pd_: Floats, label: NDArray[np.int64]) -> dict[str, float]:
    found = figures(pd_, label)
    return {name: found[name] for name in FIGURES}


# --- training


@dataclass(frozen=True)
class TrainedTable:
    """What a training run on a table leaves behind."""

    version: str
    fitted: TableModel
    figures: Mapping[str, Mapping[str, Interval]]
    sections: list[Section]
    report: Path
    rows: int


def train_table(
    data: Applications,
    store: Path,
    report: Path,
    *,
    at: datetime,
    seed: int = 7,
    fingerprint: str = "",
    card: Mapping[str, str] | None = None,
    trials: int = 0,
    inference: Method | None = None,
) -> TrainedTable:
    """Fit on the earlier rows, evaluate on the later ones, report, register the chosen rung as the challenger.

    Parameters
    ----------
    report : Path
        Folder for the HTML report and its plots.
    fingerprint : str
        SHA-256 of the file the rows came from.
    card : mapping, optional
        What people say in the model card, by the keys of `training.report.CARD`.
    trials : int
        Of a search for LightGBM's parameters; a study of the same file and seed is taken up again.
    inference : str, optional
        How applicants who were refused count; the report then says what that changes.
    """
    from obligor.training.lifecycle.registry import Registry

    # 1-2. Rows to learn from and later ones to test on; every rung of the ladder.
    fit, test = split(data, seed)
    study = f"{data.spec.name} {fingerprint[:16]} {seed}"
    tuning = (
        Tuning(trials, store, study, data.spec.target.horizon_days) if trials else None
    )
    fitted = fit_table(fit, seed, None, tuning, inference)
    rows = {
        name: fitted.encoding_of(name).rows(test.frame)
        for name in fitted.candidates.by_name
    }
    pds = {
        name: fitted.model(name).predict_pd(rows[name])
        for name in fitted.candidates.by_name
    }
    # 3. The chosen one, validated beside the others and the champion.
    chosen = fitted.candidates.chosen_name
    model = _finished(fitted, fit, figures(pds[chosen], test.label), seed)
    registry = Registry(store)
    peers = {SCORECARD: pds[SCORECARD]} if chosen != SCORECARD else {}
    peers |= {PEER: _plain(fitted, fit, test), **registry.peers(model, rows[chosen])}
    case = _case(fitted, model, fit, test, rows[chosen], peers, seed)
    found = {
        name: case.figures
        if name == chosen
        else with_intervals(pd_, test.label, Resampling(case.test.groups, ROUNDS, seed))
        for name, pd_ in pds.items()
    }
    sections = validate(case)
    if inference:
        sections.append(
            _rejects(
                case, fitted, fit_table(fit, seed, None, tuning), fit, test, inference
            )
        )
    files = write_report(
        report, case, sections, card_of(case, sections, model.about, card or {})
    )
    # 4. Kept and registered.
    metrics = {
        f"{name}_{figure}": interval.value
        for name, of in found.items()
        for figure, interval in of.items()
    }
    metrics |= {figure: interval.value for figure, interval in found[chosen].items()}
    version = registry.log_run(
        model,
        parameters={
            "seed": seed,
            "spec": data.spec.name,
            "chosen": chosen,
            "rejects": inference or "left out",
        },
        metrics={name: value for name, value in metrics.items() if np.isfinite(value)},
        fingerprints={"data_sha256": fingerprint},
        test_rows=kept_rows(model, case.test),
        report=files,
        at=at,
    )
    return TrainedTable(version, fitted, found, sections, files[0], len(test))


def _rejects(
    case: ModelUnderTest,
    fitted: TableModel,
    without: TableModel,
    fit: Applications,
    test: Applications,
    inference: Method,
) -> Section:
    """What letting the refused count has changed."""
    mine, theirs = (
        one.encoding_of(one.candidates.chosen_name) for one in (fitted, without)
    )
    says = f"{len(fit.refused):,} refused applicants count by {inference}"
    if inference == "augmentation":
        weight = acceptance_weights(
            _table(fit, fitted.encoding), fitted.encoding.rows(fit.refused)
        )
        says += f": {len(weight):,} accepted ones then say as much as {effective_rows(weight):,.0f} alike."
    else:
        says += f", with {_odds(fit.spec):g} times the odds of accepted ones with the same PD."
    return rejects(
        case,
        without.model(),
        theirs.rows(test.frame),
        (mine.rows(fit.refused), theirs.rows(fit.refused)),
        says,
    )


def _plain(fitted: TableModel, fit: Applications, test: Applications) -> Floats:
    """LightGBM as it comes, on the same rows."""
    encoding = fitted.encoding
    learnt = lgb.Dataset(
        encoding.rows(fit.frame),
        fit.label,
        categorical_feature=list(encoding.categorical),
        params={"verbose": -1},
    )
    booster = lgb.train(PLAIN, learnt)
    pd_ = np.asarray(booster.predict(encoding.rows(test.frame)), dtype=np.float64)
    return np.clip(pd_, SMALLEST_PD, 1 - SMALLEST_PD)


def _case(
    fitted: TableModel,
    model: PdModel,
    fit: Applications,
    test: Applications,
    rows: Floats,
    peers: Mapping[str, Floats],
    seed: int,
) -> ModelUnderTest:
    """What is validated; periods are months of applications, segments the columns of few values."""
    candidates, encoding = (
        fitted.candidates,
        fitted.encoding_of(fitted.candidates.chosen_name),
    )
    few = [name for name in test.frame if 1 < test.frame[name].nunique() <= FEW_VALUES][
        :MOST_SEGMENTS
    ]
    rulebooks, _ = read_rulebooks()
    return ModelUnderTest(
        name=fitted.spec.name,
        model=model,
        fit=LabelledRows(encoding.rows(fit.frame), fit.label, fit.groups, _months(fit)),
        fit_pd=model.calibration(candidates.chosen.out_of_fold),
        test=LabelledRows(
            rows, test.label, pd.factorize(test.groups)[0], _months(test)
        ),
        peers=peers,
        segments=test.frame[few].astype(str).reset_index(drop=True),
        forbidden=test.forbidden.reset_index(drop=True),
        scale=rulebooks[-1],
        notes=fitted.findings,
        rounds=ROUNDS,
        seed=seed,
    )


def _months(data: Applications) -> NDArray[np.object_]:
    if data.dates is None:
        return np.full(len(data), "all", dtype=object)
    return np.asarray(data.dates.astype("datetime64[M]").astype(str), dtype=object)


def _finished(
    fitted: TableModel, fit: Applications, found: Mapping[str, float], seed: int
) -> PdModel:
    """The chosen model with its facts, how sure its PDs are, and the baseline its reasons are given against."""
    model, candidates = fitted.model(), fitted.candidates
    rung, drawn = (
        candidates.chosen,
        np.random.default_rng(seed).permutation(len(fit))[:BASELINE_ROWS],
    )
    about = {
        "spec": fitted.spec.model_dump(mode="json"),
        "rows": len(fit),
        "defaults": int(fit.label.sum()),
        "seed": seed,
        "chosen": candidates.chosen_name,
        "weights": dict(candidates.weights),
        "blend_gain_log_loss": list(candidates.gain),
        "left_out": list(fitted.findings),
        "calibration_losses": dict(rung.losses),
        "figures": dict(found),
    }
    groups = pd.factorize(fit.groups)[0].astype(np.int64)
    band = fit_band(
        rung.calibration.kind,
        rung.out_of_fold,
        fit.label,
        Resampling(groups, BAND_ROUNDS, seed),
    )
    return replace(
        model,
        about=about,
        band=band,
        baseline=choose_baseline(
            fitted.encoding_of(candidates.chosen_name).rows(
                fit.frame.iloc[np.sort(drawn)]
            ),
            model.explain,
            None,
        ),
    )
