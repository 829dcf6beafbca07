"""What is written beside a run on a ledger: data, candidates, files."""

from __future__ import annotations

from dataclasses import replace
from math import isfinite

from obligor.metrics.figures import figures
from obligor.model.pd_model import PdModel
from obligor.training.candidates.fit import Fit
from obligor.training.candidates.level import LevelFields
from obligor.training.lifecycle.run_facts import (
    CandidateFacts,
    RunFacts,
    logged_data,
)
from obligor.training.runs.run_metrics import with_ends
from obligor.training.samples.config import TrainingConfig
from obligor.training.samples.sample import Split
from obligor.training.validation.subject import ModelUnderTest

LEDGER = "receivables"


def ledger_facts(
    fit: Fit,
    split: Split,
    subject: ModelUnderTest,
    config: TrainingConfig,
) -> RunFacts:
    """Return what tells a run on a ledger from others.

    Parameters
    ----------
    fit : Fit
        The fitted candidates.
    split : Split
        Training rows and out-of-time test rows.
    subject : ModelUnderTest
        The chosen model with its figures.
    config : TrainingConfig
        Every choice of the run.
    """
    train = split.train
    test = split.test
    candidates = fit.candidates
    no_levels = [()] * len(train.features.columns)
    return RunFacts(
        data=LEDGER,
        kind="ledger",
        chosen=candidates.chosen_name,
        datasets=(
            logged_data(LEDGER, "training", train.features, train.label),
            logged_data(LEDGER, "test", test.features, test.label),
        ),
        candidates=tuple(_candidate(fit, name, subject) for name in candidates.by_name),
        steps=_level_step(fit.model),
        texts={
            "config.json": config.model_dump_json(indent=1),
            "scorecard.csv": candidates.scorecard.points(no_levels).to_csv(index=False),
        },
        tags={"model": candidates.chosen_name},
    )


def _candidate(fit: Fit, name: str, subject: ModelUnderTest) -> CandidateFacts:
    candidates = fit.candidates
    candidate = candidates.by_name[name]
    if name == candidates.chosen_name:
        metrics = with_ends(subject.figures)
    else:
        # Without intervals: those of every candidate would take as long as the fit.
        model = replace(
            fit.model,
            text=candidate.text,
            calibration=candidate.calibration,
        )
        pd_ = model.predict_pd(subject.test.rows)
        metrics = {
            figure: value
            for figure, value in figures(pd_, subject.test.label).items()
            if isfinite(value)
        }
    return CandidateFacts(
        name,
        {
            "calibration": candidate.calibration.kind,
            "weight_in_blend": candidates.weights.get(name, 0.0),
            "is_chosen": name == candidates.chosen_name,
        },
        metrics,
    )


def _level_step(model: PdModel) -> tuple[CandidateFacts, ...]:
    """Return the level step of a run; none if no later date was watched."""
    level: LevelFields | None = model.about.get("level")
    if level is None:
        return ()
    cohorts = level["cohorts"]
    parameters = {
        "as_of": level["as_of"],
        "dates": ", ".join(cohort["date"] for cohort in cohorts),
    }
    metrics = {
        "level_shift": level["shift"],
        "level_low": level["low"],
        "level_high": level["high"],
        "level_by_data_alone": level["by_data_alone"],
        "level_prior": level["prior"],
        "level_defaults": float(sum(cohort["defaults"] for cohort in cohorts)),
        "level_expected": float(sum(cohort["expected"] for cohort in cohorts)),
    }
    return (CandidateFacts("level", parameters, metrics),)
