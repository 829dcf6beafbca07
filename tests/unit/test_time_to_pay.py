"""When an invoice is paid, and when a default comes: hazards, what they know, and how sure they are."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from obligor.cli.app import app
from obligor.data.asof import known_on
from obligor.data.ledger import Ledger
from obligor.data.synthetic import Simulation, simulate_ledger, write_ledger
from obligor.errors import SchemaError
from obligor.features.build import build_features
from obligor.features.invoices import NAMES, items_of, open_invoices
from obligor.model.calibration import Calibration
from obligor.training.candidates.calibrate import fit_band, fit_calibration, later_split
from obligor.training.candidates.term_structure import fit_term_structure
from obligor.training.forecasts import time_to_pay
from obligor.training.forecasts.cash import (
    Cash,
    cash_received,
    coverage,
    expected_cash,
    learning_sample,
)
from obligor.training.forecasts.time_to_pay import (
    InvoiceSample,
    days_quantile,
    fit_time_to_pay,
    open_after,
)
from obligor.training.metrics.statistics import Resampling
from obligor.training.runs.ledger_run import Trained

AS_OF = date(2022, 11, 30)


@pytest.fixture(scope="module", autouse=True)
def few_dates() -> Iterator[None]:
    """A dozen Sundays to learn from: what is tested here is not how good the model is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time_to_pay, "MOST_DATES", 12)
        yield


@pytest.fixture(scope="module")
def simulated() -> Simulation:
    return simulate_ledger(110, 14, seed=5)


@pytest.fixture(scope="module")
def cash(simulated: Simulation) -> Cash:
    return expected_cash(simulated.ledger, AS_OF, weeks=6)


def _invoices(days: np.ndarray, watched: int) -> InvoiceSample:
    """Invoices written one a day, all alike, paid after so many days where that was watched."""
    until, n = date(2024, 12, 31), len(days)
    as_of = pd.Timestamp(until) - pd.to_timedelta(np.arange(n) % watched + 7, unit="D")
    settled = as_of + pd.to_timedelta(days, unit="D")
    rows = pd.DataFrame(
        np.nan, index=pd.Index([f"I{i}" for i in range(n)]), columns=list(NAMES)
    )
    rows = rows.assign(
        days_to_due=30.0, due_weekday=0.0, as_of=as_of, customer_id="C", balance=1.0
    )
    seen = settled.where(settled <= pd.Timestamp(until))
    return InvoiceSample(
        rows.assign(due_on=as_of + pd.Timedelta(days=30), settled_on=seen), until
    )


def test_invoices_still_open_count_for_the_weeks_they_were_open() -> None:
    days = np.ceil(np.random.default_rng(0).exponential(40.0, 6000))
    sample = _invoices(days, watched=60)
    survival = fit_time_to_pay(sample, seed=0).survival(sample.features)
    assert sample.rows["settled_on"].isna().mean() > 0.4
    for week in (1, 2, 4, 6):
        assert abs(survival[:, 7 * week].mean() - np.exp(-7 * week / 40.0)) < 0.03
    paid = sample.days_to_payment[~np.isnan(sample.days_to_payment)]
    assert (paid <= 14).mean() > 1 - np.exp(
        -14 / 40.0
    ) + 0.15  # those paid alone would say much sooner


def test_survival_falls_and_quantiles_rise(simulated: Simulation, cash: Cash) -> None:
    found = cash.invoices
    known = found.dropna(subset=["days_p10", "days_p50", "days_p90"])
    assert len(known) > 50
    assert (known["days_p10"] <= known["days_p50"]).all()
    assert (known["days_p50"] <= known["days_p90"]).all()
    assert found["p_paid_within_30d"].between(0, 1).all()
    assert found["p_late_30d"].between(0, 1).all()
    late = (pd.Timestamp(AS_OF) - found["due_on"]).dt.days
    assert (
        found.loc[late > 20, "p_late_30d"].mean()
        > found.loc[late < 0, "p_late_30d"].mean()
    )


def test_nothing_after_the_day_moves_a_forecast(
    simulated: Simulation, cash: Cash
) -> None:
    """The ledger goes on for a quarter of a year; cut off on the day it must say the same."""
    cut = known_on(simulated.ledger, AS_OF).ledger
    again = expected_cash(cut, AS_OF, weeks=6)
    pd.testing.assert_frame_equal(again.invoices, cash.invoices)
    pd.testing.assert_frame_equal(
        again.weeks[["expected", "deviation"]], cash.weeks[["expected", "deviation"]]
    )
    pd.testing.assert_frame_equal(again.coverage, cash.coverage)
    assert again.weeks["received"].isna().all()


def test_what_came_is_what_the_ledger_says(simulated: Simulation, cash: Cash) -> None:
    known = known_on(simulated.ledger, AS_OF)
    rows = open_invoices(known, build_features(known))
    later = items_of(known_on(simulated.ledger, AS_OF + timedelta(days=7)))[
        "settled_on"
    ].reindex(rows.index)
    assert cash.weeks["received"].iloc[0] == pytest.approx(
        rows.loc[later.notna(), "balance"].sum()
    )
    assert cash.weeks["received"].iloc[0] > 0
    total, spread = (
        cash.weeks["expected"].sum(),
        np.sqrt((cash.weeks["deviation"] ** 2).sum()),
    )
    assert abs(cash.weeks["received"].sum() - total) < 6 * spread


def test_payments_come_between_their_quantiles_as_often_as_expected(cash: Cash) -> None:
    held = cash.coverage.loc["between"]
    assert held["invoices"] > 50
    assert (
        abs(held["observed"] - held["expected"]) < 0.15
    )  # of a model that learnt from 2,000 invoices


def test_an_invoice_not_watched_long_enough_says_nothing_about_its_quantile() -> None:
    sample = _invoices(np.full(40, 100.0), watched=5)
    survival = np.tile(np.linspace(1, 0, 7 * 26 + 1), (40, 1))
    assert coverage(sample, survival).loc["by p90", "invoices"] == 0
    assert np.isnan(cash_received(sample, 4).to_numpy()).tolist() == [
        False,
        True,
        True,
        True,
    ]


def test_features_of_an_invoice(simulated: Simulation) -> None:
    known = known_on(simulated.ledger, AS_OF)
    rows = open_invoices(known, build_features(known))
    assert list(rows.columns[3:]) == list(NAMES)
    assert (rows["open_share"] > 0).all()
    assert (rows["age_days"] >= 0).all()
    np.testing.assert_array_equal(
        rows["age_days"] + rows["days_to_due"], rows["terms_days"]
    )
    assert rows.groupby("customer_id")["oldest_open_days_late"].nunique().max() == 1


def test_too_few_payments_say_so() -> None:
    with pytest.raises(SchemaError, match="only 0 payments of open invoices"):
        fit_time_to_pay(_invoices(np.full(50, 500.0), watched=60), seed=0)


def test_days_between_and_beyond() -> None:
    survival = np.array([[1.0, 0.9, 0.4, 0.4], [1.0, 1.0, 1.0, 1.0]])
    np.testing.assert_array_equal(days_quantile(survival, 0.1), [1, np.nan])
    assert open_after(survival, np.array([2.0, 99.0])).tolist() == [0.4, 1.0]
    assert open_after(survival, np.array([-5.0, 0.0])).tolist() == [1.0, 1.0]


def test_cash_writes_tables_and_a_picture(
    simulated: Simulation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time_to_pay, "MOST_DATES", 6)
    write_ledger(simulated, tmp_path / "ledger")
    words = [
        "cash",
        str(tmp_path / "ledger" / "mapping.toml"),
        "--as-of",
        str(AS_OF),
        "--weeks",
        "6",
        "--out",
    ]
    result = CliRunner().invoke(app, [*words, str(tmp_path / "cash")])
    assert result.exit_code == 0, result.output
    assert "payment came between its 10% and 90% day" in " ".join(result.output.split())
    assert {path.name for path in (tmp_path / "cash").iterdir()} == {
        "invoices.csv",
        "weeks.csv",
        "coverage.csv",
        "cash.png",
    }
    assert len(pd.read_csv(tmp_path / "cash" / "weeks.csv")) == 6


# --- the PD's term structure and how sure it is


def test_pds_rise_with_the_horizon_and_meet_the_calibrated_one(
    trained: Trained,
) -> None:
    model = trained.fit.model
    assert model.term is not None
    margin = model.margin(trained.split.test.features.to_numpy())
    curve = [model.pd_within(margin, days) for days in (30, 91, 182, 300, 365, 500)]
    for sooner, later in pairwise(curve):
        assert (sooner < later).all()
    np.testing.assert_allclose(curve[4], model.pd_12m(margin), rtol=1e-12)


def test_the_term_structure_says_how_many_default_by_when(trained: Trained) -> None:
    """On the rows it was fitted on, in sum: a customer already overdue defaults sooner than a constant hazard says."""
    model, sample, margin = (
        trained.fit.model,
        trained.split.train,
        trained.fit.out_of_fold_margin,
    )
    for days in (91, 182):
        observed = (sample.days_to_default <= days).mean()
        assert abs(model.pd_within(margin, days).mean() / observed - 1) < 0.25
    flat = 1 - (1 - model.calibration(margin)) ** (91 / 365)
    observed = (sample.days_to_default <= 91).mean()
    assert abs(model.pd_within(margin, 91).mean() - observed) < abs(
        flat.mean() - observed
    )


def test_too_few_defaults_give_no_term_structure() -> None:
    days = np.full(1000, np.nan)
    days[:20] = 30.0
    assert fit_term_structure(np.linspace(-3, 3, 1000), days, 365) is None


def test_the_band_holds_the_default_rate_at_a_margin() -> None:
    """Over many draws of a world whose truth is known, nine in ten bands at least hold it (nominal: 95%)."""
    held = []
    for seed in range(30):
        draw = np.random.default_rng(seed)
        margin = draw.normal(-2, 1, 1500)
        label = (draw.random(1500) < 1 / (1 + np.exp(-0.8 * margin))).astype(np.int64)
        band = fit_band("platt", margin, label, Resampling(np.arange(1500), 60, seed))
        asked = np.array([-3.0, -2.0, -1.0])
        pd_ = fit_calibration("platt", margin, label)(asked)
        low, high = band(asked, pd_)
        assert (low <= pd_).all()
        assert (pd_ <= high).all()
        truth = 1 / (1 + np.exp(-0.8 * asked))
        held.append((low <= truth) & (truth <= high))
    assert np.mean(held) > 0.88


def test_the_interval_holds_the_true_pd_of_the_simulator(
    trained: Trained, simulation: Simulation
) -> None:
    """Where the truth is known: the mean true PD of customers alike lies within the mean interval, a little widened."""
    test, model = trained.split.test, trained.fit.model
    as_of = max(test.rows["as_of"])
    rows = test.on([as_of])
    margin = model.margin(rows.features.to_numpy())
    low, high = model.interval_12m(margin)
    pd_ = model.pd_12m(margin)
    assert ((low <= pd_) & (pd_ <= high)).all()
    assert (high - low).mean() < 2 * pd_.mean()
    truth = simulation.true_pd(as_of).reindex(rows.rows.index).to_numpy()
    known = ~np.isnan(truth)
    assert low[known].mean() - 0.02 < truth[known].mean() < high[known].mean() + 0.02


@pytest.mark.parametrize("kind", ["isotonic", "venn_abers"])
def test_step_calibrations_never_fall_and_are_right_on_average(kind: str) -> None:
    draw = np.random.default_rng(1)
    margin = draw.normal(-1, 1.2, 4000)
    label = (draw.random(4000) < 1 / (1 + np.exp(-(margin**3) / 2))).astype(np.int64)
    found = fit_calibration(kind, margin, label)
    pds = found(np.linspace(-6, 4, 200))
    assert (np.diff(pds) >= 0).all()
    assert abs(found(margin).mean() - label.mean()) < 0.01
    assert (
        Calibration(found.kind, found.parameters)(margin).tolist()
        == found(margin).tolist()
    )


def test_calibrations_are_compared_on_later_rows() -> None:
    label = np.tile([0, 1], 50)
    ((fit, held),) = later_split(np.arange(100), label)
    assert fit.max() < held.min()
    assert abs(len(held) - 33) <= 1
    assert later_split(np.arange(100), np.zeros(100, dtype=np.int64)) == []


def test_ledgers_are_cut_at_the_day(simulated: Simulation) -> None:
    sample = learning_sample(simulated.ledger, AS_OF)
    assert (sample.rows["as_of"] <= pd.Timestamp(AS_OF - timedelta(days=7))).all()
    assert not (sample.rows["settled_on"] > pd.Timestamp(AS_OF)).any()
    assert isinstance(simulated.ledger, Ledger)
