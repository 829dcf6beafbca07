"""The spine of a training run on a ledger."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd

from obligor.arrays import Floats
from obligor.data.ledger import Ledger
from obligor.metrics.figures import figures, with_intervals
from obligor.metrics.statistics import Interval, Resampling
from obligor.model.baseline import Baseline, choose_baseline
from obligor.model.pd_model import PdModel
from obligor.policy.credit.decide import decide
from obligor.policy.credit.facts import Facts
from obligor.policy.rulebooks.rulebook import in_force, read_rulebooks
from obligor.training.candidates.fit import (
    Fit,
    FitSteps,
    fit_model,
    fit_plain_lightgbm,
)
from obligor.training.candidates.fit_settings import SCORECARD
from obligor.training.candidates.kept_fits import KeptFits
from obligor.training.candidates.level import at_level, fit_level
from obligor.training.candidates.tune import Tuning
from obligor.training.lifecycle.raw_rows import OLDEST_DPD_DAYS, RawRows
from obligor.training.lifecycle.registry import Registry, TrainingRun
from obligor.training.lifecycle.run_settings import RunSettings
from obligor.training.runs.fingerprints import (
    code_fingerprint,
    data_fingerprint,
    unfinished_folder,
)
from obligor.training.runs.ledger_facts import ledger_facts
from obligor.training.runs.run_metrics import with_ends
from obligor.training.samples.config import TrainingConfig
from obligor.training.samples.materiality import (
    comparison,
    material_of,
    rulebook_on,
    with_materiality,
)
from obligor.training.samples.sample import (
    Progress,
    Sample,
    Split,
    build_sample,
    gap_days,
)
from obligor.training.samples.watched import watch
from obligor.training.validation.report import card_of, write_report
from obligor.training.validation.sections import validate
from obligor.training.validation.subject import (
    PEER,
    ModelUnderTest,
    Section,
    labelled_rows,
    peers_of,
    stored_rows,
)

CUSTOMER_SEGMENTS = ("sector", "country")
FEATURE_SEGMENTS = {
    "sales of a year": "invoiced_amount_365d",
    "tenure": "days_since_first_invoice",
}
THIRDS = ("lowest third", "middle third", "top third")


@dataclass(frozen=True)
class Trained:
    """What a training run on a ledger leaves behind.

    Attributes
    ----------
    version : str
        The version in the registry.
    fit : Fit
        The fitted model with its facts and its baseline.
    split : Split
        Training rows and out-of-time test rows.
    figures, peer : dict of Interval
        Figures of the model and of plain LightGBM on the same test rows.
    sections : list of Section
        Of the validation report.
    report : Path
        The HTML report.
    materiality : str
        Whether training and rules count the same amounts, in a sentence.
    """

    version: str
    fit: Fit
    split: Split
    figures: dict[str, Interval]
    peer: dict[str, Interval]
    sections: list[Section]
    report: Path
    materiality: str = ""


def train(
    ledger: Ledger,
    config: TrainingConfig,
    settings: RunSettings,
    progress: Progress = iter,
    trials: int = 0,
) -> Trained:
    """Train a model, evaluate it out of time, report, register it as the challenger.

    Parameters
    ----------
    ledger : Ledger
        A checked ledger: steps 1 and 2 of the spine are `read_ledger` and
        `check_ledger`.
    config : TrainingConfig
        Every choice about the model, with the seed.
    settings : RunSettings
        Store, report folder, time, and people's answers in the model card.
    progress : callable
        Wraps the as-of dates so that a person can watch.
    trials : int
        Of a search for LightGBM's parameters; 0 for none. A study of the same data,
        definition and seed is continued.

    Returns
    -------
    Trained
        The version and what it was judged by.

    Raises
    ------
    AsOfError, SchemaError
        If the ledger is too short, or holds too few defaults.
    """
    config = with_materiality(config, ledger.observed_until, settings.rules)
    rulebook = rulebook_on(ledger.observed_until, settings.rules)
    materiality = comparison(config.default, rulebook)
    # 3-5. As-of grid; per date known_on, then features and labels; split out of time
    # with a gap.
    split = build_sample(ledger, config, progress)
    # 6-7. Fit and calibrate on folds grouped by customer, never on a test row. What an
    # interrupted run has fitted is kept.
    kept = _kept_fits(ledger, config, settings, trials)
    steps = FitSteps(
        tuning=_plan_search(
            ledger,
            config,
            settings,
            trials,
        ),
        kept=kept,
        watch=settings.watch,
    )
    fit = _fit(
        ledger,
        config,
        split,
        steps,
    )
    # 7b. Move the level to what the first test date knows of later dates.
    fit = leveled(fit, ledger, config, split)
    # 8. Evaluate on the test rows beside plain LightGBM and the champion; validate.
    # The store is opened only now, so that a failed fit does not leave an empty one.
    registry = Registry(settings.store, settings.name)
    rival = registry.rival(_rival_rows(ledger, config, split, registry), fit.model)
    subject = model_under_test(
        ledger,
        fit,
        split,
        config,
        peers_of(rival),
    )
    subject = replace(subject, rival=rival)
    peer = _evaluate_peer(subject)
    with settings.watch.step("validation"):
        sections = validate(subject)
    card = card_of(subject, sections)
    card["outcome"] += f" {materiality}"
    card |= settings.card
    report = write_report(
        settings.report,
        subject,
        sections,
        card,
    )
    # 9. Register the run. Promotion is a step of its own, by a named person.
    run = TrainingRun(
        model=fit.model,
        test_rows=stored_rows(fit.model, subject.test),
        report=report,
        parameters=_list_parameters(config, fit),
        metrics=_list_metrics(subject.figures, peer),
        fingerprints={
            "data_sha256": data_fingerprint(ledger),
            "code_sha256": code_fingerprint(),
            **_own_fingerprint(split),
        },
        facts=ledger_facts(fit, split, subject, config),
    )
    version = registry.log_run(run, settings.at)
    kept.clear()
    return Trained(
        version=version,
        fit=fit,
        split=split,
        figures=subject.figures,
        peer=peer,
        sections=sections,
        report=report[0],
        materiality=materiality,
    )


def _own_code(config: TrainingConfig) -> str:
    """The hash of the file of features: another content is another run."""
    file = config.features.file
    return "" if file is None else hashlib.sha256(file.read_bytes()).hexdigest()


def _own_fingerprint(split: Split) -> dict[str, str]:
    own = split.train.own
    return {} if own is None else {"own_features_sha256": own.sha256}


def raw_rows_of_ledger(
    ledger: Ledger,
    config: TrainingConfig,
    models: Sequence[PdModel],
) -> RawRows:
    """Return the rows of all as-of dates of a ledger, for models of any features.

    Parameters
    ----------
    ledger : Ledger
        A checked ledger.
    config : TrainingConfig
        The definition of default, the grid of dates, the gap.
    models : sequence of PdModel
        The models that are to score the rows, of any edition of the catalogue; what is
        material is so to the first of the latest edition.
    """
    latest = max(models, key=lambda model: len(model.features))
    raw = _raw_rows(_every_row(build_sample(ledger, config, model=latest)))
    for model in models:
        if len(model.features) < len(latest.features):
            ages = _every_row(build_sample(ledger, config, model=model))
            days = {OLDEST_DPD_DAYS: ages.rows["dpd_days"].to_numpy()}
            raw = replace(raw, frame=raw.frame.assign(**days))
    return raw


def _every_row(split: Split) -> Sample:
    return Sample(pd.concat([split.train.rows, split.test.rows]))


def _rival_rows(
    ledger: Ledger,
    config: TrainingConfig,
    split: Split,
    registry: Registry,
) -> RawRows:
    """The test rows with the features of the champion, if it counts other days."""
    champion = registry.champion()
    if champion is None:
        return _raw_rows(split.test)
    model = registry.model(champion)
    if model.encoding is not None or model.material == material_of(config):
        return _raw_rows(split.test)
    return _raw_rows(build_sample(ledger, config, model=model).test)


def _raw_rows(test: Sample) -> RawRows:
    """The test rows by the names of their features, for models of other features."""
    rows = labelled_rows(test)
    return RawRows(
        frame=test.features,
        label=rows.label,
        groups=rows.groups,
        periods=rows.periods,
    )


def _kept_fits(
    ledger: Ledger,
    config: TrainingConfig,
    settings: RunSettings,
    trials: int,
) -> KeptFits:
    choices = f"{config.model_dump_json()} {_own_code(config)}"
    content = f"{data_fingerprint(ledger)} {choices} {trials}"
    folder = unfinished_folder(settings.store, content)
    kept = KeptFits(folder, code_fingerprint())
    return kept.started(settings.is_fresh, settings.watch)


def leveled(
    fit: Fit,
    ledger: Ledger,
    config: TrainingConfig,
    split: Split,
) -> Fit:
    """Return a fit whose level is that of the latest dates, as far as they are known.

    Parameters
    ----------
    fit : Fit
        Fitted and calibrated on the training rows.
    ledger : Ledger
        What it learned after the first test date is not used.
    config : TrainingConfig
        The definition of default and the grid of dates.
    split : Split
        Training and test rows.

    Returns
    -------
    Fit
        The same fit if no later date was watched for long enough.
    """
    watched = watch(ledger, config, split)
    if watched is None:
        return fit
    history_pd = fit.model.calibration(fit.out_of_fold_margin)
    level = fit_level(fit.model, watched, history_pd)
    return replace(fit, model=at_level(fit.model, level))


def _plan_search(
    ledger: Ledger,
    config: TrainingConfig,
    settings: RunSettings,
    trials: int,
) -> Tuning | None:
    if not trials:
        return None
    # The study is named after what its rows and folds are made of.
    choices = config.model_dump_json(include={"seed", "default", "sample"})
    content = data_fingerprint(ledger) + choices + _own_code(config)
    study = hashlib.sha256(content.encode()).hexdigest()[:16]
    return Tuning(
        trials,
        settings.store,
        study,
        gap_days(config),
    )


def _fit(
    ledger: Ledger,
    config: TrainingConfig,
    split: Split,
    steps: FitSteps,
) -> Fit:
    """The fitted model, with the facts kept beside it and its baseline."""
    fit = fit_model(split.train, config, steps)
    model = replace(
        fit.model,
        about=_describe(split, fit, config),
        baseline=baseline_of(
            fit.model,
            split.train,
            config,
            ledger.currency,
        ),
    )
    return replace(fit, model=model)


def _describe(split: Split, fit: Fit, config: TrainingConfig) -> dict[str, object]:
    dates = split.train.rows["as_of"]
    candidates = fit.candidates
    fit_pd = fit.model.calibration(fit.out_of_fold_margin)
    material = material_of(config)
    # Bundles of the first edition keep the form, and so the hash, they had.
    stated = {} if material is None else {"material": material._asdict()}
    return {
        **stated,
        "default": config.default.recorded(),
        "trained_on": [dates.min().isoformat(), dates.max().isoformat()],
        "rows": len(dates),
        "defaults": int(split.train.label.sum()),
        "chosen": candidates.chosen_name,
        "because": candidates.choice.because,
        "weights": dict(candidates.weights),
        "calibration_losses": dict(candidates.chosen.losses),
        "blend_gain_log_loss": list(candidates.choice.gain),
        "seed": config.seed,
        "train_gini": figures(fit_pd, split.train.label, split.train.weight)["gini"],
        **_describe_own(split),
    }


def _describe_own(split: Split) -> dict[str, object]:
    """The features of one's own as data, and the hash of the file with their code."""
    own = split.train.own
    if own is None:
        return {}
    return {"own_features": {"sha256": own.sha256, "entries": own.fields()}}


def baseline_of(
    model: PdModel,
    train: Sample,
    config: TrainingConfig,
    currency: str,
) -> Baseline:
    """Return the baseline that the model's reasons compare a customer with.

    Parameters
    ----------
    model : PdModel
        The fitted model.
    train : Sample
        Training rows, of which some are drawn.
    config : TrainingConfig
        Its `baseline` says how many rows, and whether only approved customers count.
    currency : str
        The reporting currency.

    Returns
    -------
    Baseline
        Of the drawn customers whom the rules in force on their dates approve, or of
        all drawn customers.
    """
    n = min(config.baseline.rows, len(train.rows))
    draw = np.random.default_rng(config.seed)
    row_indices = np.sort(draw.choice(len(train.rows), n, replace=False))
    rows = train.features.to_numpy()[row_indices]
    if config.baseline.population == "all":
        return choose_baseline(rows, model.explain, None)
    rulebooks, _ = read_rulebooks()
    dates: list[date] = train.rows["as_of"].iloc[row_indices].tolist()
    pds = model.predict_pd_12m(rows).tolist()
    is_approved = []
    for row, pd_12m, as_of in zip(
        rows.tolist(),
        pds,
        dates,
        strict=True,
    ):
        # Features of one's own, behind those of the catalogue, are in no rule.
        features = dict(zip(model.features, row, strict=True))
        facts = Facts(pd_12m, currency, features, as_of)
        decision = decide(facts, in_force(rulebooks, as_of))
        is_approved.append(decision.outcome == "approve")
    return choose_baseline(rows, model.explain, np.array(is_approved))


def model_under_test(
    ledger: Ledger,
    fit: Fit,
    split: Split,
    config: TrainingConfig,
    peers: Mapping[str, Floats],
) -> ModelUnderTest:
    """Return the model on its out-of-time rows, beside other models.

    Parameters
    ----------
    ledger : Ledger
        Its customers give the segments.
    fit : Fit
        The model, and the scorecard that was fitted beside it.
    split : Split
        Training and test rows.
    config : TrainingConfig
        The seed and the number of bootstrap samples.
    peers : mapping of ndarray
        PDs of further models on the test rows, by their names.

    Returns
    -------
    ModelUnderTest
        What `validate` takes.
    """
    rows = split.test.features.to_numpy()
    plain = fit_plain_lightgbm(split.train)
    peer_pds = {PEER: plain.predict_pd(rows), **peers}
    if fit.candidates.chosen_name != SCORECARD:
        peer_pds[SCORECARD] = _scorecard_of(fit).predict_pd(rows)
    rulebooks, _ = read_rulebooks()
    return ModelUnderTest(
        name="receivables ledger",
        model=fit.model,
        fit=labelled_rows(split.train),
        fit_pd=fit.model.calibration(fit.out_of_fold_margin),
        test=labelled_rows(split.test),
        peers=peer_pds,
        segments=_segments(ledger, split.test),
        forbidden=pd.DataFrame(index=range(len(rows))),
        scale=in_force(rulebooks, max(split.test.rows["as_of"])),
        rounds=config.bootstrap_rounds,
        seed=config.seed,
    )


def _scorecard_of(fit: Fit) -> PdModel:
    scorecard = fit.candidates.by_name[SCORECARD]
    return replace(fit.model, text=scorecard.text, calibration=scorecard.calibration)


def _segments(ledger: Ledger, test: Sample) -> pd.DataFrame:
    """Sector and country if the ledger has them; thirds by sales and by tenure."""
    customers = ledger["customers"].set_index("customer_id").reindex(test.rows.index)
    segments = {}
    for name in CUSTOMER_SEGMENTS:
        if name in customers:
            segments[name] = customers[name].to_numpy()
    for name, feature in FEATURE_SEGMENTS.items():
        rank = test.rows[feature].rank(method="first")
        thirds = pd.qcut(rank, len(THIRDS), labels=list(THIRDS))
        segments[name] = thirds.astype(str).to_numpy()
    return pd.DataFrame(segments)


def _evaluate_peer(subject: ModelUnderTest) -> dict[str, Interval]:
    return with_intervals(
        subject.peers[PEER],
        subject.test.label,
        subject.resampling,
    )


def evaluate_model(
    model: PdModel, split: Split, config: TrainingConfig
) -> tuple[dict[str, Interval], dict[str, Interval]]:
    """Return the figures of a model on out-of-time rows, and of plain LightGBM.

    Parameters
    ----------
    model : PdModel
        A model of a ledger.
    split : Split
        Plain LightGBM learns from its training rows; both are evaluated on its test
        rows.
    config : TrainingConfig
        The seed and the number of bootstrap samples.

    Returns
    -------
    tuple of (dict of Interval, dict of Interval)
        Of the model, then of plain LightGBM, by the names of `figures`.
    """
    test = split.test
    rows = test.features.to_numpy()
    resampling = Resampling(
        test.customers,
        config.bootstrap_rounds,
        config.seed,
        test.weight,
    )
    intervals = []
    for candidate in (model, fit_plain_lightgbm(split.train)):
        measured = with_intervals(
            candidate.predict_pd(rows),
            test.label,
            resampling,
        )
        intervals.append(measured)
    return intervals[0], intervals[1]


def _list_parameters(config: TrainingConfig, fit: Fit) -> dict[str, object]:
    columns = fit.model.features
    return {
        **_flatten(config.model_dump()),
        "chosen": fit.candidates.chosen_name,
        "calibration": fit.model.calibration.kind,
        "target": f"default within {config.default.horizon_days} days",
        "horizon_days": config.default.horizon_days,
        "split": f"the last {config.sample.test_dates} as-of dates, after a gap of "
        f"{gap_days(config)} days",
        "n_columns": len(columns),
        "columns": ", ".join(columns),
    }


def _flatten(nested: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    """Names with dots in place of nested mappings."""
    flat = dict[str, object]()
    for name, value in nested.items():
        if isinstance(value, dict):
            flat |= _flatten(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat


def _list_metrics(
    ours: Mapping[str, Interval], peer: Mapping[str, Interval]
) -> dict[str, float]:
    return with_ends(ours) | with_ends(peer, "plain_")
