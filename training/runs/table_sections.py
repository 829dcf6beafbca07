"""Sections of a report that only some tables ask for.

Costs of decisions, several origins, rows set aside, refused applicants.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pandas as pd

from obligor.features.applications import Applications
from obligor.metrics.figures import with_intervals
from obligor.metrics.statistics import Resampling, effective_rows
from obligor.model.pd_model import PdModel
from obligor.training.candidates.reject_inference import Method, acceptance_weights
from obligor.training.runs.table_model import (
    FitOptions,
    TableModel,
    fit_table,
    odds_of,
    training_rows,
)
from obligor.training.runs.table_split import TableSplit, origin_days, split_at
from obligor.training.validation.costs import expected_costs
from obligor.training.validation.reject_effects import ScoredApplicants, reject_effects
from obligor.training.validation.subject import ModelUnderTest, Section
from obligor.training.validation.windows import (
    Window,
    rolling_origins,
    validation_rows,
)

WINDOW_ROUNDS = 200  # bootstrap samples of the figures of a window
WINDOW_SEED = 0


class FurtherSections(NamedTuple):
    """Sections that a spec or a choice of the run asks for.

    Attributes
    ----------
    sections : list of Section
        In the order of the report.
    windows : tuple of Window
        Figures after each of several origins.
    """

    sections: list[Section]
    windows: tuple[Window, ...]


def further_sections(
    data: Applications,
    sides: TableSplit,
    fitted: TableModel,
    subject: ModelUnderTest,
    options: FitOptions,
) -> FurtherSections:
    """Return the sections that a spec or a choice of the run asks for.

    Parameters
    ----------
    data : Applications
        All rows.
    sides : TableSplit
        Rows learned from, tested on and set aside.
    fitted : TableModel
        The candidates.
    subject : ModelUnderTest
        The chosen one.
    options : FitOptions
        How to fit again.
    """
    sections = []
    costs = fitted.spec.costs
    if costs is not None:
        sections.append(expected_costs(subject, costs, sides.test.amount))
    windows = _measure_windows(
        data,
        sides,
        subject,
        options,
    )
    if windows:
        sections.append(rolling_origins(windows))
    if sides.valid is not None:
        window = _measure_window(
            "validation",
            sides.valid,
            fitted,
            len(sides.fit),
        )
        sections.append(validation_rows(window))
    if options.inference:
        without = fit_table(
            sides.fit,
            subject.seed,
            replace(options, inference=None),
        )
        effects = _examine_rejects(
            subject,
            fitted,
            without,
            sides,
            options.inference,
        )
        sections.append(effects)
    return FurtherSections(sections, tuple(windows))


def _measure_windows(
    data: Applications,
    sides: TableSplit,
    subject: ModelUnderTest,
    options: FitOptions,
) -> list[Window]:
    """The candidate that is promoted, fitted anew at each earlier origin."""
    if data.parts is not None or data.dates is None:
        return []
    days = origin_days(data, data.dates)
    if len(days) < 2:
        return []
    windows = []
    for start, end in pairwise(days):
        earlier = split_at(data, data.dates, start, end)
        refitted = fit_table(earlier.fit, subject.seed, options)
        first = str(np.datetime64(start, "D"))
        window = _measure_window(
            first,
            earlier.test,
            refitted,
            len(earlier.fit),
        )
        windows.append(window)
    last = Window(
        name=str(np.datetime64(days[-1], "D")),
        learned=len(sides.fit),
        measured=len(sides.test),
        figures=subject.figures,
    )
    return [*windows, last]


def _measure_window(
    name: str,
    rows: Applications,
    fitted: TableModel,
    n_learned: int,
) -> Window:
    encoding = fitted.encoding_of(fitted.candidates.chosen_name)
    pd_ = fitted.model().predict_pd(encoding.rows(rows.frame))
    resampling = Resampling(
        pd.factorize(rows.groups)[0].astype(np.int64),
        WINDOW_ROUNDS,
        WINDOW_SEED,
        rows.measured_weight,
    )
    return Window(
        name=name,
        learned=n_learned,
        measured=len(rows),
        figures=with_intervals(pd_, rows.label, resampling),
    )


def _examine_rejects(
    subject: ModelUnderTest,
    fitted: TableModel,
    without: TableModel,
    sides: TableSplit,
    inference: Method,
) -> Section:
    """What the use of refused applicants in training has changed."""
    return reject_effects(
        subject,
        _score_applicants(fitted, subject.model, sides),
        _score_applicants(without, without.model(), sides),
        _describe_inference(fitted, sides.fit, inference),
    )


def _score_applicants(
    fitted: TableModel, model: PdModel, sides: TableSplit
) -> ScoredApplicants:
    encoding = fitted.encoding_of(fitted.candidates.chosen_name)
    return ScoredApplicants(
        model,
        encoding.rows(sides.test.frame),
        encoding.rows(sides.fit.refused),
    )


def _describe_inference(
    fitted: TableModel, fit: Applications, inference: Method
) -> str:
    text = (
        f"{len(fit.refused):,} refused applicants are used in training "
        f"(method: {inference})"
    )
    if inference == "fuzzy":
        return (
            f"{text}, each with {odds_of(fit.spec):g} times the odds of default of an "
            "accepted applicant with the same PD."
        )
    rows = training_rows(fit, fitted.encoding)
    refused = fitted.encoding.rows(fit.refused)
    weight = acceptance_weights(rows, refused, fit.refused_weight)
    return (
        f"{text}. The {len(weight):,} accepted applicants then carry as much "
        f"information as {effective_rows(weight):,.0f} of equal weight."
    )
