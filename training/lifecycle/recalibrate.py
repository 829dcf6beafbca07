"""A new calibration for a model that ranks well but whose level has moved.

The trees stay as they are; the recalibrated model is a version of its own.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta

import numpy as np
import pandas as pd

from obligor.arrays import Ints
from obligor.data.ledger import Ledger
from obligor.errors import SchemaError
from obligor.features.applications import Applications
from obligor.metrics.figures import with_intervals
from obligor.metrics.statistics import Resampling
from obligor.model.pd_model import PdModel
from obligor.policy.rulebooks.rulebook import read_rulebooks
from obligor.training.candidates.calibrate import (
    choose_calibration,
    fit_band,
    later_split,
)
from obligor.training.candidates.fit_settings import FOLDS
from obligor.training.candidates.training_rows import fewer_outcomes, stratified_folds
from obligor.training.lifecycle.learnt_rows import RowDigests, content_digests
from obligor.training.lifecycle.raw_rows import (
    KnownModel,
    RawRows,
    last_day_learnt,
    model_matrix,
    require_columns,
)
from obligor.training.lifecycle.registry import Registry, TrainingRun
from obligor.training.lifecycle.run_settings import RunSettings
from obligor.training.lifecycle.table_rows import months_of, new_rows, raw_rows_of
from obligor.training.samples.config import TrainingConfig
from obligor.training.samples.sample import Progress, Sample, build_sample, gap_days
from obligor.training.validation.report import card_of, write_report
from obligor.training.validation.sections import validate
from obligor.training.validation.subject import (
    LabelledRows,
    ModelUnderTest,
    Section,
    labelled_rows,
    stored_rows,
)

FEWEST = 20  # defaults to calibrate on, and as many to test on
ROUNDS = 100
EARLIER = 2 / 3  # share of the days to calibrate on; the later ones test


@dataclass(frozen=True)
class NewRows(LabelledRows):
    """Rows of a table that a model has not learnt from.

    Attributes
    ----------
    raw : RawRows, optional
        The same rows before any encoding.
    days : ndarray of int, shape (n,), optional
        Days from 1970-01-01 to each application; None if the table has no dates.
    notes : tuple of str
        Which rows are left out, and why.
    """

    raw: RawRows | None = None
    days: Ints | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Recalibrated:
    """What a recalibration leaves behind.

    Attributes
    ----------
    version : str
        The new version in the registry.
    kind : str
        Of its calibration.
    before, after : str
        The calibration slope on the later rows, with its 95% interval.
    sections : list of Section
        Of the validation report.
    """

    version: str
    kind: str
    before: str
    after: str
    sections: list[Section]


def recalibrate(
    version: str,
    rows: LabelledRows,
    settings: RunSettings,
    name: str,
    seed: int = 7,
) -> Recalibrated:
    """Fit a new calibration on earlier rows, test it on later rows, register it.

    Parameters
    ----------
    version : str
        The version whose trees are kept.
    rows : LabelledRows
        Rows that the model has not learned from. The calibration is fitted on the
        earlier two thirds and tested on the others.
    settings : RunSettings
        The store of `version`, the report's folder, the time, the model card.
    name : str
        Title of the report.
    seed : int
        Of the folds and the bootstrap.

    Returns
    -------
    Recalibrated
        The new version, registered as the challenger.

    Raises
    ------
    SchemaError
        If either side has too few defaults.
    """
    registry = Registry(settings.store, settings.name)
    old = registry.model(version)
    # 1. Earlier rows to calibrate on, later rows to test on.
    sides = _split(rows, seed)
    fit = _take(rows, sides.fit)
    test = _take(rows, sides.test)
    _require_defaults(fit, "calibrate on")
    _require_defaults(test, "test on")
    # 2. The kind with the least loss on rows it has not seen, fitted on all the
    # earlier ones.
    model = _calibrate(old, fit, seed, version)
    # 3. Validated beside the old one, and registered.
    old_pd = old.predict_pd(test.rows)
    subject = ModelUnderTest(
        name=name,
        model=model,
        fit=fit,
        fit_pd=model.predict_pd(fit.rows),
        test=test,
        peers={f"version {version}": old_pd},
        segments=pd.DataFrame(index=range(len(old_pd))),
        forbidden=pd.DataFrame(index=range(len(old_pd))),
        scale=read_rulebooks()[0][-1],
        rounds=ROUNDS,
        seed=seed,
    )
    sections = validate(subject)
    card = {**card_of(subject, sections), **settings.card}
    raw = _kept_rows(rows, sides, model)
    run = TrainingRun(
        model=model,
        test_rows=stored_rows(model, test),
        raw_rows=None if raw is None else raw.test.frame,
        identity=None if raw is None else raw.test.identity,
        learnt_rows=_all_learnt(registry.learnt_rows(version), raw),
        report=write_report(
            settings.report,
            subject,
            sections,
            card,
        ),
        parameters={
            "recalibrated_from": version,
            "calibration": model.calibration.kind,
        },
        metrics=_finite_figures(subject),
    )
    before = with_intervals(old_pd, test.label, subject.resampling)
    return Recalibrated(
        version=registry.log_run(run, settings.at),
        kind=model.calibration.kind,
        before=str(before["calibration_slope"]),
        after=str(subject.figures["calibration_slope"]),
        sections=sections,
    )


def _calibrate(
    old: PdModel,
    fit: LabelledRows,
    seed: int,
    version: str,
) -> PdModel:
    margin = old.margin(fit.rows)
    splits = _calibration_splits(fit, seed)
    calibration, losses = choose_calibration(
        margin,
        fit.label,
        splits,
        fit.weight,
    )
    groups = pd.factorize(fit.groups)[0].astype(np.int64)
    resampling = Resampling(
        groups,
        ROUNDS,
        seed,
        fit.weight,
    )
    about = {
        **old.about,
        "recalibrated_from": version,
        "calibration_losses": losses,
        "calibrated_on": len(fit.label),
    }
    days = _days_of(fit)
    if days is not None:
        last_day = np.datetime64(int(days.max()), "D")
        about["calibrated_until"] = str(last_day)
    return replace(
        old,
        calibration=calibration,
        band=fit_band(
            calibration.kind,
            margin,
            fit.label,
            resampling,
        ),
        about=about,
    )


def _calibration_splits(fit: LabelledRows, seed: int) -> list[tuple[Ints, Ints]]:
    """Later rows against earlier ones if there are dates, else folds by group."""
    days = _days_of(fit)
    if days is not None:
        splits = later_split(days, fit.label)
        if splits:
            return splits
    return stratified_folds(
        fit.label,
        fit.groups,
        FOLDS,
        seed,
    )


def _finite_figures(subject: ModelUnderTest) -> dict[str, float]:
    figures = dict[str, float]()
    for name, interval in subject.figures.items():
        if np.isfinite(interval.value):
            figures[name] = interval.value
    return figures


def rows_of_ledger(
    ledger: Ledger,
    config: TrainingConfig,
    model: PdModel,
    progress: Progress = iter,
) -> LabelledRows:
    """Return the rows of as-of dates that lie after those the model learned from.

    Parameters
    ----------
    ledger : Ledger
        A checked ledger that goes on longer than the one the model learned from.
    config : TrainingConfig
        The default definition, the as-of dates, the gap.
    model : PdModel
        A model of a ledger.
    progress : callable
        Wraps the as-of dates so that a person can watch.

    Returns
    -------
    LabelledRows
        Rows at least a performance window after the last training date.

    Raises
    ------
    SchemaError
        If the ledger has no such dates.
    """
    split = build_sample(ledger, config, progress, model)
    last_learnt = last_day_learnt(model)
    if last_learnt is None:
        raise SchemaError(
            "the model does not say on which dates it was trained",
            where="ledger",
            expected="a model that was trained on a ledger",
        )
    first_day = last_learnt + timedelta(days=gap_days(config))
    rows = pd.concat([split.train.rows, split.test.rows])
    later = Sample(rows[rows["as_of"] >= first_day])
    if later.rows.empty:
        raise SchemaError(
            f"the ledger has no as-of date from {first_day} on",
            where="ledger",
            expected="outcomes later than those the model learned from",
            do="use a ledger that goes on longer",
        )
    return labelled_rows(later)


def rows_of_table(data: Applications, known: KnownModel) -> NewRows:
    """Return the rows of a table that a model has not learnt from, as it takes them.

    Parameters
    ----------
    data : Applications
        A table with outcomes.
    known : KnownModel
        A model of a table, with the digests of the rows that it has learnt from.

    Raises
    ------
    SchemaError
        If the model is not the model of a table, if the table lacks one of its
        columns, or if it has learnt from every row.
    """
    fresh = new_rows(known, data)
    raw = raw_rows_of(fresh.data)
    require_columns(known, raw.frame)
    dates = fresh.data.dates
    return NewRows(
        rows=model_matrix(known.model, raw.frame),
        label=raw.label,
        groups=raw.groups,
        periods=months_of(fresh.data),
        weight=fresh.data.measured_weight,
        raw=raw,
        days=None if dates is None else dates.astype(np.int64),
        notes=fresh.notes,
    )


@dataclass(frozen=True)
class _Sides:
    """Indices of the rows to calibrate on, and of those to test on."""

    fit: Ints
    test: Ints


def _split(rows: LabelledRows, seed: int) -> _Sides:
    """Earlier and later rows; without dates a fold of three is tested on."""
    days = _days_of(rows)
    if days is not None and len(np.unique(days)) > 1:
        all_days = np.unique(days)
        first_later_day = all_days[int(len(all_days) * EARLIER)]
        is_later = days >= first_later_day
        return _Sides(np.flatnonzero(~is_later), np.flatnonzero(is_later))
    fit_rows, test_rows = stratified_folds(
        rows.label,
        rows.groups,
        3,
        seed,
    )[0]
    return _Sides(fit_rows, test_rows)


@dataclass(frozen=True)
class _KeptRows:
    """What the registry keeps of a table: raw test rows, digests of the others."""

    test: RawRows
    fit: RowDigests


def _kept_rows(
    rows: LabelledRows,
    sides: _Sides,
    model: PdModel,
) -> _KeptRows | None:
    if not isinstance(rows, NewRows) or rows.raw is None or model.encoding is None:
        return None
    content = content_digests(rows.raw.frame, model.encoding)
    return _KeptRows(
        rows.raw.take(sides.test),
        RowDigests(content, rows.raw.identity).take(sides.fit),
    )


def _all_learnt(
    before: RowDigests | None,
    kept: _KeptRows | None,
) -> RowDigests | None:
    """What the old version has learnt from, and what the calibration was fitted on.

    None if the old version does not say: then nobody knows of the new one either.
    """
    if before is None or kept is None:
        return before
    return before.joined(kept.fit)


def _require_defaults(rows: LabelledRows, purpose: str) -> None:
    n_defaults = int(rows.label.sum())
    if fewer_outcomes(rows.label) < FEWEST:
        raise SchemaError(
            f"only {n_defaults} defaults in {len(rows.label)} rows to {purpose}",
            where="recalibration",
            expected=f"at least {FEWEST} defaults and {FEWEST} others",
            do="use more rows, or rows that were observed longer",
        )


def _take(rows: LabelledRows, row_indices: Ints) -> LabelledRows:
    days = _days_of(rows)
    to_default = rows.days_to_default
    return NewRows(
        rows=rows.rows[row_indices],
        label=rows.label[row_indices],
        groups=pd.factorize(rows.groups[row_indices])[0],
        periods=rows.periods[row_indices],
        weight=None if rows.weight is None else rows.weight[row_indices],
        days=None if days is None else days[row_indices],
        days_to_default=None if to_default is None else to_default[row_indices],
    )


def _days_of(rows: LabelledRows) -> Ints | None:
    """The day of each row as a whole number, None if a period is not a day."""
    if isinstance(rows, NewRows) and rows.days is not None:
        return rows.days
    days = pd.to_datetime(pd.Series(rows.periods), errors="coerce")
    if days.isna().any():
        return None
    return days.to_numpy().astype("datetime64[D]").astype(np.int64)
