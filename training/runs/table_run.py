"""The spine of a training run on a flat table of applications."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

import lightgbm as lgb
import numpy as np
import pandas as pd

from obligor.arrays import Floats, Ints
from obligor.features.applications import Applications
from obligor.features.table_findings import table_findings, table_of
from obligor.metrics.figures import figures, with_intervals
from obligor.metrics.statistics import Interval, Resampling
from obligor.model.baseline import Baseline, choose_baseline
from obligor.model.calibration import SMALLEST_PD, Band
from obligor.model.pd_model import PdModel
from obligor.policy.rulebooks.rulebook import read_rulebooks
from obligor.training.candidates.calibrate import fit_band
from obligor.training.candidates.fit_settings import PLAIN, SCORECARD
from obligor.training.candidates.kept_fits import KeptFits
from obligor.training.candidates.reject_inference import (
    Method,
)
from obligor.training.candidates.tune import Tuning
from obligor.training.candidates.watch import cost_of
from obligor.training.lifecycle.registry import Registry, TrainingRun
from obligor.training.lifecycle.run_settings import RunSettings
from obligor.training.lifecycle.table_rows import digests_of, months_of, raw_rows_of
from obligor.training.runs.fingerprints import code_fingerprint, unfinished_folder
from obligor.training.runs.run_metrics import with_ends
from obligor.training.runs.table_facts import table_facts, table_parameters
from obligor.training.runs.table_model import (
    FitOptions,
    TableModel,
    fit_table,
)
from obligor.training.runs.table_sections import further_sections
from obligor.training.runs.table_split import (
    TableSplit,
    split_table,
)
from obligor.training.validation.report import card_of, write_report
from obligor.training.validation.sections import validate
from obligor.training.validation.subject import (
    PEER,
    LabelledRows,
    ModelUnderTest,
    Section,
    peers_of,
    stored_rows,
    with_amount,
)
from obligor.training.validation.windows import (
    Window,
)

BASELINE_ROWS = 5000
ROUNDS = 200  # bootstrap samples of every interval
BAND_ROUNDS = 60  # and of the PD's band
FEW_VALUES = 8  # a column of so few values gives segments
MOST_SEGMENTS = 4


@dataclass(frozen=True)
class TableChoices:
    """Choices of a run on a table.

    Attributes
    ----------
    seed : int
        Of the split, the folds, LightGBM and the bootstrap.
    trials : int
        Of a search for LightGBM's parameters; 0 for none. A study of the same file and
        seed is continued.
    inference : {"augmentation", "fuzzy"}, optional
        How refused applicants are used; the report shows the effect.
    """

    seed: int = 7
    trials: int = 0
    inference: Method | None = None


@dataclass(frozen=True)
class TrainedTable:
    """What a training run on a table leaves behind.

    Attributes
    ----------
    version : str
        The version in the registry.
    fitted : TableModel
        Every candidate, and the chosen one.
    figures : mapping
        Figures of each candidate on the test rows.
    sections : list of Section
        Of the validation report.
    report : Path
        The HTML report.
    rows : int
        How many test rows.
    notes : tuple of str
        How the rows were split, and which are not used.
    windows : tuple of Window
        Figures after each of several origins.
    """

    version: str
    fitted: TableModel
    figures: Mapping[str, Mapping[str, Interval]]
    sections: list[Section]
    report: Path
    rows: int
    notes: tuple[str, ...] = ()
    windows: tuple[Window, ...] = ()


def train_table(
    data: Applications,
    settings: RunSettings,
    choices: TableChoices | None = None,
    fingerprint: str = "",
) -> TrainedTable:
    """Fit on earlier rows, evaluate on later rows, report, register the chosen model.

    Parameters
    ----------
    data : Applications
        All rows of the table, with its spec.
    settings : RunSettings
        Store, report folder, time, and people's answers in the model card.
    choices : TableChoices, optional
        Seed, search, use of refused applicants; defaults if absent.
    fingerprint : str
        SHA-256 of the file that the rows came from.

    Returns
    -------
    TrainedTable
        The version and what it was judged by.

    Raises
    ------
    SchemaError
        If the table cannot be learned from.
    """
    choices = choices or TableChoices()
    seed = choices.seed
    # 1. Rows to learn from, and later rows to test on.
    sides = split_table(data, seed)
    fit = sides.fit
    # 2. Every candidate, fitted and calibrated on folds of the training rows. What an
    # interrupted run has fitted is kept.
    options = _fit_options(data, settings, choices, fingerprint)
    fitted = fit_table(fit, seed, options)
    # 3. Every candidate on the test rows; the chosen one validated beside the others.
    pds = _predict_all(fitted, sides.test)
    model = _finish_model(
        fitted,
        fit,
        pds[fitted.candidates.chosen_name],
        sides.test,
        seed,
    )
    registry = Registry(settings.store, settings.name)
    raw = raw_rows_of(sides.test)
    rival = with_amount(registry.rival(raw, model), sides.test.amount)
    peers = _peer_pds(fitted, sides, pds) | peers_of(rival)
    subject = _model_under_test(
        fitted,
        model,
        sides,
        peers,
        seed,
    )
    subject = replace(subject, rival=rival)
    measured = _measure_all(subject, fitted, pds)
    with settings.watch.step("validation"):
        sections = [*validate(subject), _describe_table(data, settings.at.date())]
    further = further_sections(
        data,
        sides,
        fitted,
        subject,
        options,
    )
    sections += further.sections
    card = {**card_of(subject, sections), **settings.card}
    report = write_report(
        settings.report,
        subject,
        sections,
        card,
    )
    # 4. Register the run. Promotion is a step of its own, by a named person.
    run = TrainingRun(
        model=model,
        test_rows=stored_rows(model, subject.test),
        raw_rows=raw.frame,
        identity=raw.identity,
        learnt_rows=digests_of(fit, fitted.encoding),
        report=report,
        parameters={
            **table_parameters(fitted, seed),
            "rejects": choices.inference or "left out",
        },
        metrics=_list_metrics(measured, fitted.candidates.chosen_name),
        fingerprints={"data_sha256": fingerprint},
        facts=table_facts(fitted, fit, sides.test, measured, fingerprint),
    )
    version = registry.log_run(run, settings.at)
    options.kept.clear()
    return TrainedTable(
        version=version,
        fitted=fitted,
        figures=measured,
        sections=sections,
        report=report[0],
        rows=len(sides.test),
        notes=sides.notes,
        windows=further.windows,
    )


def _fit_options(
    data: Applications,
    settings: RunSettings,
    choices: TableChoices,
    fingerprint: str,
) -> FitOptions:
    spec = data.spec.model_dump_json()
    content = f"{fingerprint} {spec} {choices} {settings.name}"
    kept = KeptFits(
        unfinished_folder(settings.store, content),
        code_fingerprint(),
    )
    settings.watch.expect(cost_of("validation"))
    return FitOptions(
        tuning=_plan_search(data, settings, choices, fingerprint),
        inference=choices.inference,
        kept=kept.started(settings.is_fresh, settings.watch),
        watch=settings.watch,
    )


def _describe_table(data: Applications, today: date) -> Section:
    """What is strange about the columns and rows of the whole table."""
    findings = table_findings(data, today)
    n_findings = len(findings)
    noun = "finding" if n_findings == 1 else "findings"
    summary = f"{len(data):,} rows with an outcome, {n_findings} {noun}."
    summary += "".join(f" {note}." for note in data.notes)
    return Section(
        id="table_findings",
        title="The table",
        verdict="look" if findings else "good",
        summary=summary,
        tables=(("What is strange", table_of(findings)),) if findings else (),
    )


def _plan_search(
    data: Applications,
    settings: RunSettings,
    choices: TableChoices,
    fingerprint: str,
) -> Tuning | None:
    if not choices.trials:
        return None
    study = f"{data.spec.name} {fingerprint[:16]} {choices.seed}"
    gap_days = data.spec.target.horizon_days
    return Tuning(
        choices.trials,
        settings.store,
        study,
        gap_days,
    )


def model_rows(fitted: TableModel, data: Applications) -> Floats:
    """Return applications as the chosen model takes them, shape (n, columns)."""
    return fitted.encoding_of(fitted.candidates.chosen_name).rows(data.frame)


def _predict_all(fitted: TableModel, test: Applications) -> dict[str, Floats]:
    """PDs of every candidate on the test rows."""
    pds = {}
    for name in fitted.candidates.by_name:
        rows = fitted.encoding_of(name).rows(test.frame)
        pds[name] = fitted.model(name).predict_pd(rows)
    return pds


def _peer_pds(
    fitted: TableModel, sides: TableSplit, pds: Mapping[str, Floats]
) -> dict[str, Floats]:
    """PDs of the scorecard, unless it was chosen, and of plain LightGBM."""
    peers = {}
    if fitted.candidates.chosen_name != SCORECARD:
        peers[SCORECARD] = pds[SCORECARD]
    peers[PEER] = _predict_plainly(fitted, sides)
    return peers


def _predict_plainly(fitted: TableModel, sides: TableSplit) -> Floats:
    """PDs of LightGBM with its default parameters on the same rows."""
    encoding = fitted.encoding
    learned = lgb.Dataset(
        encoding.rows(sides.fit.frame),
        sides.fit.label,
        weight=sides.fit.weight,
        categorical_feature=list(encoding.categorical),
        params={"verbose": -1},
    )
    booster = lgb.train(PLAIN, learned)
    score = booster.predict(encoding.rows(sides.test.frame))
    pd_ = np.asarray(score, dtype=np.float64)
    pd_ = np.clip(pd_, SMALLEST_PD, 1 - SMALLEST_PD)
    population = sides.fit.population
    return pd_ if population is None else population.moved(pd_)


def _finish_model(
    fitted: TableModel,
    fit: Applications,
    test_pd: Floats,
    test: Applications,
    seed: int,
) -> PdModel:
    """The chosen model with its facts, its band, and the baseline of its reasons."""
    model = fitted.model()
    candidates = fitted.candidates
    about = {
        "spec": fitted.spec.model_dump(mode="json"),
        "rows": len(fit),
        "defaults": int(fit.label.sum()),
        "seed": seed,
        "chosen": candidates.chosen_name,
        "because": candidates.choice.because,
        "weights": dict(candidates.weights),
        "blend_gain_log_loss": list(candidates.choice.gain),
        "left_out": list(fitted.findings),
        "calibration_losses": dict(candidates.chosen.losses),
        "figures": figures(test_pd, test.label, test.measured_weight),
        **_describe_population(fit),
    }
    return replace(
        model,
        about=about,
        band=_fit_band(fitted, fit, seed),
        baseline=_draw_baseline(fitted, model, fit, seed),
    )


def _fit_band(fitted: TableModel, fit: Applications, seed: int) -> Band:
    chosen = fitted.candidates.chosen
    groups = pd.factorize(fit.groups)[0].astype(np.int64)
    resampling = Resampling(
        groups,
        BAND_ROUNDS,
        seed,
        fit.weight,
    )
    band = fit_band(
        chosen.calibration.kind,
        chosen.out_of_fold,
        fit.label,
        resampling,
    )
    if fit.population is None:
        return band
    return band.moved(fit.population.shift)


def _describe_population(fit: Applications) -> dict[str, object]:
    """How the PDs were moved to the population, as the bundle keeps it."""
    population = fit.population
    if population is None:
        return {}
    return {
        "population": {
            "bad_rate": population.bad_rate,
            "sample_bad_rate": population.sample_bad_rate,
            "log_odds_shift": population.shift,
        }
    }


def _draw_baseline(
    fitted: TableModel,
    model: PdModel,
    fit: Applications,
    seed: int,
) -> Baseline:
    frame = fit.frame.iloc[np.sort(_drawn_rows(fit, seed))]
    rows = fitted.encoding_of(fitted.candidates.chosen_name).rows(frame)
    return choose_baseline(rows, model.explain, None)


def _drawn_rows(fit: Applications, seed: int) -> Ints:
    """Rows that stand for the population; a heavy row may be drawn repeatedly."""
    draw = np.random.default_rng(seed)
    weight = fit.measured_weight
    if weight is None:
        return draw.permutation(len(fit))[:BASELINE_ROWS]
    return draw.choice(
        len(fit),
        BASELINE_ROWS,
        p=weight / weight.sum(),
    )


def _model_under_test(
    fitted: TableModel,
    model: PdModel,
    sides: TableSplit,
    peers: Mapping[str, Floats],
    seed: int,
) -> ModelUnderTest:
    """What is validated.

    Periods are months of applications; segments are the columns of few values.
    """
    fit = sides.fit
    test = sides.test
    chosen = fitted.candidates.chosen
    rulebooks, _ = read_rulebooks()
    return ModelUnderTest(
        name=fitted.spec.name,
        model=model,
        fit=LabelledRows(
            model_rows(fitted, fit),
            fit.label,
            fit.groups,
            months_of(fit),
            fit.measured_weight,
        ),
        fit_pd=model.calibration(chosen.out_of_fold),
        test=LabelledRows(
            model_rows(fitted, test),
            test.label,
            pd.factorize(test.groups)[0],
            months_of(test),
            test.measured_weight,
        ),
        peers=peers,
        segments=_segments(test),
        forbidden=test.forbidden.reset_index(drop=True),
        scale=rulebooks[-1],
        notes=(*fit.notes, *sides.notes, *fitted.findings),
        rounds=ROUNDS,
        seed=seed,
    )


def _segments(test: Applications) -> pd.DataFrame:
    names = [
        name for name in test.frame if 1 < test.frame[name].nunique() <= FEW_VALUES
    ]
    segments = test.frame[names[:MOST_SEGMENTS]]
    return segments.astype(str).reset_index(drop=True)


def _measure_all(
    subject: ModelUnderTest, fitted: TableModel, pds: Mapping[str, Floats]
) -> dict[str, dict[str, Interval]]:
    """Figures of every candidate on the test rows, with their intervals."""
    measured = {}
    for name, pd_ in pds.items():
        if name == fitted.candidates.chosen_name:
            measured[name] = subject.figures
        else:
            measured[name] = with_intervals(pd_, subject.test.label, subject.resampling)
    return measured


def _list_metrics(
    measured: Mapping[str, Mapping[str, Interval]], chosen: str
) -> dict[str, float]:
    """Figures of each candidate under its name, and the chosen one's without."""
    metrics = dict[str, float]()
    for name, intervals in measured.items():
        metrics |= with_ends(intervals, f"{name}_")
    return metrics | with_ends(measured[chosen])
