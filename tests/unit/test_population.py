"""PDs and figures are those of the population, not of the table."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from obligor.features.applications import Applications, applications
from obligor.features.population import Population
from obligor.features.table_spec import Spec
from obligor.metrics.figures import auc, figures
from obligor.model.calibration import KINDS, Band
from obligor.training.candidates.calibrate import fit_calibration
from obligor.training.candidates.fit_settings import SCORECARD
from obligor.training.runs.table_model import FitOptions, TableModel, fit_table

BAD_RATE = 0.05
N_ROWS = 300


def make_frame(n: int, seed: int) -> pd.DataFrame:
    """Return a table in which every second row is a default."""
    draw = np.random.default_rng(seed)
    bad = np.arange(n) % 2
    return pd.DataFrame({"debt": draw.normal(size=n) + bad, "bad": bad})


@pytest.fixture(scope="module")
def data() -> Applications:
    target = {"column": "bad", "population_bad_rate": BAD_RATE}
    return applications(make_frame(N_ROWS, 0), Spec.model_validate({"target": target}))


@pytest.fixture(scope="module")
def fitted(data: Applications) -> TableModel:
    return fit_table(data, seed=0, options=FitOptions(threads=1))


def test_pds_are_those_of_the_population(
    data: Applications, fitted: TableModel
) -> None:
    model = fitted.model(SCORECARD)
    pd_ = model.predict_pd(fitted.encoding_of(SCORECARD).rows(data.frame))
    weight = data.measured_weight
    assert weight is not None
    in_population = figures(pd_, data.label, weight)
    assert in_population["default_rate"] == pytest.approx(BAD_RATE)
    assert in_population["mean_pd"] == pytest.approx(BAD_RATE, rel=0.2)
    unmoved = model.calibration.moved(-Population(BAD_RATE, 0.5).shift)
    raw = unmoved(model.margin(fitted.encoding_of(SCORECARD).rows(data.frame)))
    assert raw.mean() == pytest.approx(0.5, abs=0.02)
    assert auc(raw, data.label) == auc(pd_, data.label)


def test_the_population_is_said(data: Applications) -> None:
    assert data.notes == (
        "PDs are moved to a population with 0.05 defaults per row (the table holds "
        "0.5): -2.9444 is added to their log-odds, and figures count rows as the "
        "population holds them",
    )


def test_the_points_are_those_of_the_population(fitted: TableModel) -> None:
    points = fitted.points()
    unmoved = replace(fitted, population=None).points()
    gap = points["points"] - unmoved["points"]
    # 20 points double the odds; odds of good are 19 times as high.
    expected = 20 * np.log2(19) / points["feature"].nunique()
    assert gap.to_numpy() == pytest.approx(expected, abs=1)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_calibration_can_be_moved(kind: str) -> None:
    draw = np.random.default_rng(1)
    margin = draw.normal(size=200)
    label = (margin + draw.logistic(size=200) > 0).astype(np.int64)
    calibration = fit_calibration(kind, margin, label)
    moved = calibration.moved(-1.5)
    if kind in ("isotonic", "venn_abers"):
        margin = np.asarray(moved.parameters[: len(moved.parameters) // 2])
    before = calibration(margin)
    after = moved(margin)
    is_inside = (before > 0.001) & (before < 0.999)
    shift = np.log(after / (1 - after)) - np.log(before / (1 - before))
    assert shift[is_inside] == pytest.approx(-1.5, abs=1e-6)


def test_a_band_moves_with_its_pds() -> None:
    band = Band((0.0, 1.0), (0.4, 0.5), (0.5, 0.6)).moved(-2.944439)
    assert band.low[1] == pytest.approx(0.05, abs=1e-6)
    assert band.high[0] == pytest.approx(0.05, abs=1e-6)
