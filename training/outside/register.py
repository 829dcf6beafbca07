"""The spine of registering a model that was made elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import lightgbm as lgb
import numpy as np
import pandas as pd

from obligor.arrays import Floats
from obligor.errors import ModelError
from obligor.features.applications import Applications
from obligor.features.encoding import Column, Encoding, fit_encoding
from obligor.features.table_spec import ColumnSpec
from obligor.metrics.figures import figures
from obligor.metrics.statistics import Interval, Resampling
from obligor.model.baseline import choose_baseline
from obligor.model.calibration import SMALLEST_PD, Calibration
from obligor.model.pd_model import PdModel
from obligor.policy.rulebooks.rulebook import read_rulebooks
from obligor.training.candidates.calibrate import fit_band
from obligor.training.candidates.fit_settings import PLAIN
from obligor.training.lifecycle.registry import Registry, TrainingRun
from obligor.training.lifecycle.run_facts import RunFacts, logged_data
from obligor.training.lifecycle.run_settings import RunSettings
from obligor.training.lifecycle.table_rows import months_of, raw_rows_of
from obligor.training.outside.outside_model import OutsideModel
from obligor.training.runs.run_metrics import with_ends
from obligor.training.runs.table_split import TableSplit, split_table
from obligor.training.validation.report import card_of, write_report
from obligor.training.validation.sections import validate
from obligor.training.validation.subject import (
    PEER,
    LabelledRows,
    ModelUnderTest,
    peers_of,
    stored_rows,
    with_amount,
)

CLOSE = 1e-5  # XGBoost adds up 32-bit floats
BASELINE_ROWS = 5000
BAND_ROUNDS = 60
ROUNDS = 200
SEED = 7


@dataclass(frozen=True)
class Registered:
    """What registering a model leaves behind.

    Attributes
    ----------
    version : str
        The version in the registry.
    model : PdModel
        The model as it is served.
    figures : mapping of Interval
        On the test rows.
    report : Path
        The HTML report.
    rows : int
        How many test rows.
    largest_gap : float, optional
        By how much its PDs differ from the stated ones; None if none were stated.
    notes : tuple of str
        What a person must know of how it was read.
    """

    version: str
    model: PdModel
    figures: Mapping[str, Interval]
    report: Path
    rows: int
    largest_gap: float | None
    notes: tuple[str, ...]


def register(
    outside: OutsideModel,
    data: Applications,
    settings: RunSettings,
    predictions: str | None = None,
    fingerprints: Mapping[str, str] | None = None,
) -> Registered:
    """Check a model on a table, validate it like one of ours, register it.

    Parameters
    ----------
    outside : OutsideModel
        The model as it was read.
    data : Applications
        Rows with outcomes that it has not learnt from.
    settings : RunSettings
        Store, report folder, time, and people's answers in the model card.
    predictions : str, optional
        Column of the table with the PDs that the model gave where it was made.
    fingerprints : mapping of str, optional
        SHA-256 of the model's file and of the table's, by name.

    Returns
    -------
    Registered
        The version, a challenger, and what it was judged by.

    Raises
    ------
    ModelError
        If a column is missing, a PD is not finite, or PDs differ from the stated ones.
    """
    # 1. The columns it reads, as this table has them.
    encoding = encoding_of(outside, data)
    model = PdModel(
        text=outside.text,
        calibration=Calibration("identity"),
        features=encoding.names,
        horizon_days=data.spec.target.horizon_days,
        about={},
        encoding=encoding,
    )
    # 2. Its PDs: finite, and those it gave where it was made.
    largest_gap = _check_pds(model, data, predictions)
    # 3. Validated on later rows, beside plain LightGBM and the champion.
    sides = split_table(data, SEED)
    model = _finished(model, outside, sides)
    registry = Registry(settings.store, settings.name)
    subject = _under_test(model, outside, sides, registry)
    sections = validate(subject)
    card = {**card_of(subject, sections), **settings.card}
    report = write_report(settings.report, subject, sections, card)
    # 4. Registered. Promotion is a step of its own, behind the gates.
    raw = raw_rows_of(sides.test)
    run = TrainingRun(
        model=model,
        test_rows=stored_rows(model, subject.test),
        raw_rows=raw.frame,
        identity=raw.identity,
        report=report,
        parameters=_parameters(outside, data),
        metrics=with_ends(subject.figures),
        fingerprints=fingerprints or {},
        facts=_facts(outside, sides),
    )
    return Registered(
        version=registry.log_run(run, settings.at),
        model=model,
        figures=subject.figures,
        report=report[0],
        rows=len(sides.test),
        largest_gap=largest_gap,
        notes=(*outside.notes, *sides.notes),
    )


def encoding_of(outside: OutsideModel, data: Applications) -> Encoding:
    """Return how rows of a table become the numbers that a model reads.

    Parameters
    ----------
    outside : OutsideModel
        Its columns and their levels.
    data : Applications
        The table, of which any column may be read.

    Raises
    ------
    ModelError
        If the model names no columns, or the table lacks one.
    """
    if not outside.columns:
        raise ModelError(
            "the file does not name the columns of the model",
            where="--model",
            expected="names, as a model has that was trained on a DataFrame",
            do="name them in their order with --columns a,b,c",
        )
    names = _named_as_in_table(outside, [str(name) for name in data.table])
    numbers = [name for name in names if name not in outside.levels]
    stated = {name: ColumnSpec(type="number") for name in numbers}
    spec = data.spec.model_copy(update={"columns": {**data.spec.columns, **stated}})
    by_name = dict[str, Column]()
    if numbers:
        fitted, _ = fit_encoding(data.table[numbers], spec)
        by_name = {column.name: column for column in fitted.columns}
    columns = []
    for name in names:
        levels = outside.levels.get(name)
        if levels is not None:
            columns.append(Column(name, "category", levels=levels))
        else:
            # The model has learnt special codes as the numbers that they are.
            number = by_name.get(name, Column(name, "number"))
            columns.append(replace(number, special=(), direction=0))
    return Encoding(tuple(columns))


def _named_as_in_table(outside: OutsideModel, table: list[str]) -> list[str]:
    """Return the columns by the table's names: LightGBM writes _ for a blank."""
    by_written_name = {"_".join(name.split()): name for name in table}
    names = []
    missing = []
    for column in outside.columns:
        name = column if column in table else by_written_name.get(column)
        if name is None:
            missing.append(column)
        else:
            names.append(name)
    if missing:
        raise ModelError(
            f"the table lacks the columns {missing[:5]} of the model",
            where="--table",
            expected=f"all of its {len(outside.columns)} columns; it has {table[:20]}",
            do="name the table's columns as the model does",
        )
    return names


def _check_pds(
    model: PdModel,
    data: Applications,
    predictions: str | None,
) -> float | None:
    """Return by how much PDs differ from the stated ones; refuse if they do."""
    assert model.encoding is not None
    rows = model.encoding.rows(data.table)
    margin = model.margin(rows)
    n_wrong = int((~np.isfinite(margin)).sum())
    if n_wrong:
        raise ModelError(
            f"the PD of {n_wrong:,} rows is not finite",
            where="--model",
            expected="a number for every row, also if a value is missing",
        )
    if predictions is None:
        return None
    if predictions not in data.table:
        raise ModelError(
            f"the table has no column {predictions!r}",
            where="--predictions",
            expected=f"one of {list(data.table)[:20]}",
        )
    stated = pd.to_numeric(data.table[predictions], errors="coerce").to_numpy()
    stated = np.clip(stated, SMALLEST_PD, 1 - SMALLEST_PD)
    gap = np.abs(model.calibration(margin) - stated)
    worst = int(np.nanargmax(np.where(np.isnan(gap), np.inf, gap)))
    if not gap[worst] <= CLOSE:
        raise ModelError(
            f"row {worst + 1} has the PD {model.calibration(margin)[worst]:.6f} and "
            f"{data.table[predictions].iloc[worst]} in {predictions}",
            where="--predictions",
            expected=f"equal PDs, up to {CLOSE:g}",
            do="check the order and the encoding of the columns, and that the column "
            "is the probability of a default",
        )
    return float(gap[worst])


def _finished(
    model: PdModel,
    outside: OutsideModel,
    sides: TableSplit,
) -> PdModel:
    """The model with its facts, its band, and the baseline of its reasons."""
    assert model.encoding is not None
    fit = sides.fit
    rows = model.encoding.rows(fit.table)
    groups = pd.factorize(fit.groups)[0].astype(np.int64)
    # Of the default rate at a margin: the PD itself has nothing that is fitted here.
    band = fit_band(
        "platt",
        model.margin(rows),
        fit.label,
        Resampling(groups, BAND_ROUNDS, SEED, fit.weight),
    )
    drawn = np.random.default_rng(SEED).permutation(len(rows))[:BASELINE_ROWS]
    test_rows = model.encoding.rows(sides.test.table)
    about = {
        "spec": fit.spec.model_dump(mode="json"),
        "chosen": outside.kind,
        "made_elsewhere": outside.kind,
        "notes": list(outside.notes),
        "figures": figures(
            model.predict_pd(test_rows),
            sides.test.label,
            sides.test.measured_weight,
        ),
    }
    return replace(
        model,
        about=about,
        band=band,
        baseline=choose_baseline(rows[np.sort(drawn)], model.explain, None),
    )


def _under_test(
    model: PdModel,
    outside: OutsideModel,
    sides: TableSplit,
    registry: Registry,
) -> ModelUnderTest:
    fit = sides.fit
    test = sides.test
    fit_rows = _labelled_rows(model, fit)
    test_rows = _labelled_rows(model, test)
    rival = with_amount(registry.rival(raw_rows_of(test), model), test.amount)
    rulebooks, _ = read_rulebooks()
    return ModelUnderTest(
        name=f"{fit.spec.name} ({outside.kind})",
        model=model,
        fit=fit_rows,
        fit_pd=model.predict_pd(fit_rows.rows),
        test=test_rows,
        peers={
            PEER: _predict_plainly(model, fit_rows, test_rows),
            **peers_of(rival),
        },
        segments=pd.DataFrame(index=range(len(test))),
        forbidden=test.forbidden.reset_index(drop=True),
        scale=rulebooks[-1],
        notes=(*outside.notes, *sides.notes),
        rounds=ROUNDS,
        seed=SEED,
        rival=rival,
    )


def _labelled_rows(model: PdModel, data: Applications) -> LabelledRows:
    assert model.encoding is not None
    return LabelledRows(
        model.encoding.rows(data.table),
        data.label,
        pd.factorize(data.groups)[0].astype(np.int64),
        months_of(data),
        data.measured_weight,
    )


def _predict_plainly(
    model: PdModel,
    fit: LabelledRows,
    test: LabelledRows,
) -> Floats:
    """PDs of LightGBM with its default parameters on the same columns."""
    assert model.encoding is not None
    learned = lgb.Dataset(
        fit.rows,
        fit.label,
        weight=fit.weight,
        categorical_feature=list(model.encoding.categorical),
        params={"verbose": -1},
    )
    booster = lgb.train(dict(PLAIN), learned)
    pd_ = np.asarray(booster.predict(test.rows), dtype=np.float64)
    return np.clip(pd_, SMALLEST_PD, 1 - SMALLEST_PD)


def _parameters(outside: OutsideModel, data: Applications) -> dict[str, object]:
    return {
        "made_elsewhere": outside.kind,
        "spec": data.spec.name,
        "target": data.spec.target.column,
        "horizon_days": data.spec.target.horizon_days,
        "calibration": "identity",
        "n_columns": len(outside.columns),
        "columns": ", ".join(outside.columns),
    }


def _facts(outside: OutsideModel, sides: TableSplit) -> RunFacts:
    name = sides.fit.spec.name
    return RunFacts(
        data=name,
        kind="registered",
        chosen=outside.kind,
        datasets=(logged_data(name, "test", sides.test.frame, sides.test.label),),
        tags={"made_elsewhere": outside.kind},
    )
