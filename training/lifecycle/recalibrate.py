"""A new calibration for a model that ranks well but whose level has moved: no refit, a version of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd

from obligor.arrays import Ints
from obligor.data.ledger import Ledger
from obligor.errors import SchemaError
from obligor.features.applications import Applications
from obligor.model.pd_model import PdModel
from obligor.policy.rulebooks.rulebook import read_rulebooks
from obligor.training.candidates.calibrate import (
    choose_calibration,
    fit_band,
    later_split,
)
from obligor.training.candidates.fit_settings import FOLDS
from obligor.training.candidates.training_rows import stratified_folds
from obligor.training.metrics.figures import with_intervals
from obligor.training.metrics.statistics import Resampling
from obligor.training.samples.config import TrainingConfig
from obligor.training.samples.sample import Progress, Sample, build_sample, gap_days
from obligor.training.validation.report import card_of, write_report
from obligor.training.validation.sections import validate
from obligor.training.validation.subject import (
    LabelledRows,
    ModelUnderTest,
    Section,
    kept_rows,
    part_of,
)

FEWEST, ROUNDS = 20, 100  # defaults to calibrate on, and as few to test on


@dataclass(frozen=True)
class Recalibrated:
    """The new version, its calibration's kind, and the calibration slope before and after on later rows."""

    version: str
    kind: str
    before: str
    after: str
    sections: list[Section]


def recalibrate(
    version: str,
    rows: LabelledRows,
    name: str,
    store: Path,
    report: Path,
    *,
    at: datetime,
    seed: int = 7,
    card: Mapping[str, str] | None = None,
) -> Recalibrated:
    """Fit a new calibration on the earlier two thirds of the rows, test it on the later, register it as a challenger.

    Parameters
    ----------
    rows : LabelledRows
        Rows the model has not learnt from.

    Raises
    ------
    SchemaError
        Where either side has too few defaults.
    """
    from obligor.training.lifecycle.registry import Registry

    registry = Registry(store)
    old = registry.model(version)
    # 1. Earlier rows to calibrate on, later ones to test on.
    fit, test = _sides(rows, seed)
    # 2. The kind with the least loss on rows it has not seen, fitted on all of the earlier ones.
    margin = old.margin(fit.rows)
    days = _days(fit)
    splits = (
        later_split(days, fit.label) if days is not None else []
    ) or stratified_folds(fit.label, fit.groups, FOLDS, seed)
    calibration, losses = choose_calibration(margin, fit.label, splits)
    groups = pd.factorize(fit.groups)[0].astype(np.int64)
    band = fit_band(
        calibration.kind, margin, fit.label, Resampling(groups, ROUNDS, seed)
    )
    about = {
        **old.about,
        "recalibrated_from": version,
        "calibration_losses": losses,
        "calibrated_on": len(fit.label),
    }
    model = replace(old, calibration=calibration, band=band, about=about)
    # 3. Validated beside the old one, kept and registered.
    before = old.predict_pd(test.rows)
    case = ModelUnderTest(
        name=name,
        model=model,
        fit=fit,
        fit_pd=calibration(margin),
        test=test,
        peers={f"version {version}": before},
        segments=pd.DataFrame(index=range(len(before))),
        forbidden=pd.DataFrame(index=range(len(before))),
        scale=read_rulebooks()[0][-1],
        rounds=ROUNDS,
        seed=seed,
    )
    sections = validate(case)
    files = write_report(
        report, case, sections, card_of(case, sections, about, card or {})
    )
    was = with_intervals(before, test.label, Resampling(test.groups, ROUNDS, seed))
    metrics = {
        name: of.value for name, of in case.figures.items() if np.isfinite(of.value)
    }
    chosen = {"recalibrated_from": version, "calibration": calibration.kind}
    made = registry.log_run(
        model, chosen, metrics, {}, kept_rows(model, test), files, at
    )
    said = [str(of["calibration_slope"]) for of in (was, case.figures)]
    return Recalibrated(made, calibration.kind, said[0], said[1], sections)


def rows_of_ledger(
    ledger: Ledger, config: TrainingConfig, model: PdModel, progress: Progress = iter
) -> LabelledRows:
    """Return the rows of as-of dates after those the model learnt from, a performance window later.

    Raises
    ------
    SchemaError
        Where the ledger has no such dates.
    """
    split = build_sample(ledger, config, progress)
    last = date.fromisoformat(model.about["trained_on"][1]) + timedelta(
        days=gap_days(config)
    )
    rows = pd.concat([split.train.rows, split.test.rows])
    later = Sample(rows[rows["as_of"] >= last])
    if later.rows.empty:
        raise SchemaError(
            f"no as-of date after {last}",
            where="ledger",
            expected="outcomes later than those learnt",
            do="use a ledger that goes on longer",
        )
    return part_of(later)


def rows_of_table(data: Applications, model: PdModel) -> LabelledRows:
    """Return a table's rows as the model takes them.

    Raises
    ------
    SchemaError
        Where the model is not one of a table.
    """
    if model.encoding is None:
        raise SchemaError(
            "the model is of a ledger", where="--table", expected="a mapping file"
        )
    periods = (
        np.full(len(data), "all", dtype=object)
        if data.dates is None
        else data.dates.astype(str).astype(object)
    )
    return LabelledRows(
        model.encoding.rows(data.frame), data.label, data.groups, periods
    )


def _sides(rows: LabelledRows, seed: int) -> tuple[LabelledRows, LabelledRows]:
    days = _days(rows)
    if days is not None and len(np.unique(days)) > 1:
        is_later = days >= np.unique(days)[int(len(np.unique(days)) * 2 / 3)]
        sides = np.flatnonzero(~is_later), np.flatnonzero(is_later)
    else:
        sides = stratified_folds(rows.label, rows.groups, 3, seed)[0]
    found = tuple(_taken(rows, places) for places in sides)
    for side, name in zip(found, ("calibrate on", "test on"), strict=True):
        if min(side.label.sum(), len(side.label) - side.label.sum()) < FEWEST:
            raise SchemaError(
                f"only {int(side.label.sum())} defaults in {len(side.label)} rows to {name}",
                where="recalibration",
                expected=f"{FEWEST} at least, and as many others",
                do="use more, or longer observed, rows",
            )
    return found[0], found[1]


def _taken(rows: LabelledRows, places: Ints) -> LabelledRows:
    groups = pd.factorize(rows.groups[places])[0]
    return LabelledRows(
        rows.rows[places], rows.label[places], groups, rows.periods[places]
    )


def _days(rows: LabelledRows) -> Ints | None:
    days = pd.to_datetime(pd.Series(rows.periods), errors="coerce")
    return (
        None
        if days.isna().any()
        else days.to_numpy().astype("datetime64[D]").astype(np.int64)
    )
