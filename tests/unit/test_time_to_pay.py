"""When an invoice is paid, when a default comes, and how sure both are."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from obligor.arrays import Bools, Floats
from obligor.cli.app import app
from obligor.data.asof import known_on
from obligor.data.synthetic import Simulation, simulate_ledger, write_ledger
from obligor.errors import SchemaError
from obligor.features.build import build_features
from obligor.features.invoices import NAMES, items_of, open_invoices
from obligor.forecasts import time_to_pay
from obligor.forecasts.cash import (
    Cash,
    cash_received,
    coverage,
    expected_cash,
    learning_sample,
)
from obligor.forecasts.time_to_pay import (
    InvoiceSample,
    days_quantile,
    fit_time_to_pay,
    open_after,
)
from obligor.metrics.statistics import Resampling
from obligor.model.calibration import Calibration
from obligor.training.candidates.calibrate import fit_band, fit_calibration, later_split
from obligor.training.candidates.term_structure import fit_term_structure
from obligor.training.runs.ledger_run import Trained

AS_OF = date(2022, 11, 30)


@pytest.fixture(scope="module", autouse=True)
def few_dates() -> Iterator[None]:
    """Learn from a dozen Sundays: the tests do not ask how good the model is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time_to_pay, "MOST_DATES", 12)
        yield


@pytest.fixture(scope="module")
def simulated() -> Simulation:
    return simulate_ledger(110, 14, seed=5)


@pytest.fixture(scope="module")
def cash(simulated: Simulation) -> Cash:
    return expected_cash(simulated.ledger, AS_OF, weeks=6)


@pytest.fixture(scope="module")
def open_rows(simulated: Simulation) -> pd.DataFrame:
    as_known = known_on(simulated.ledger, AS_OF)
    return open_invoices(as_known, build_features(as_known))


def invoices_paid_after(days: Floats, watched: int) -> InvoiceSample:
    """Invoices written one a day, all alike, paid after so many days if watched."""
    until = date(2024, 12, 31)
    n = len(days)
    age = np.arange(n) % watched + 7
    as_of = pd.Timestamp(until) - pd.to_timedelta(age, unit="D")
    settled_on = as_of + pd.to_timedelta(days, unit="D")
    index = pd.Index([f"I{row}" for row in range(n)])
    rows = pd.DataFrame(np.nan, index=index, columns=list(NAMES))
    rows = rows.assign(
        days_to_due=30.0,
        due_weekday=0.0,
        as_of=as_of,
        customer_id="C",
        balance=1.0,
        due_on=as_of + pd.Timedelta(days=30),
        settled_on=settled_on.where(settled_on <= pd.Timestamp(until)),
    )
    return InvoiceSample(rows, until)


# --- time to payment


@pytest.fixture(scope="module")
def exponential() -> InvoiceSample:
    """Invoices paid after 40 days on average, watched for at most 66."""
    days = np.ceil(np.random.default_rng(0).exponential(40.0, 6000))
    return invoices_paid_after(days, watched=60)


def test_open_invoices_count_for_the_weeks_they_were_open(
    exponential: InvoiceSample,
) -> None:
    hazard = fit_time_to_pay(exponential, seed=0)
    survival = hazard.survival(exponential.features)
    assert exponential.rows["settled_on"].isna().mean() > 0.4
    for week in (1, 2, 4, 6):
        expected = np.exp(-7 * week / 40.0)
        assert abs(survival[:, 7 * week].mean() - expected) < 0.03


def test_paid_invoices_alone_would_suggest_earlier_payment(
    exponential: InvoiceSample,
) -> None:
    days = exponential.days_to_payment
    paid = days[~np.isnan(days)]
    share_in_two_weeks = 1 - np.exp(-14 / 40.0)
    assert (paid <= 14).mean() > share_in_two_weeks + 0.15


def test_quantiles_of_days_to_payment_rise(cash: Cash) -> None:
    columns = ["days_p10", "days_p50", "days_p90"]
    days = cash.invoices.dropna(subset=columns)
    assert len(days) > 50
    assert (days["days_p10"] <= days["days_p50"]).all()
    assert (days["days_p50"] <= days["days_p90"]).all()


def test_forecast_probabilities_are_probabilities(cash: Cash) -> None:
    assert cash.invoices["p_paid_within_30d"].between(0, 1).all()
    assert cash.invoices["p_late_30d"].between(0, 1).all()


def test_overdue_invoices_are_more_likely_to_be_late(cash: Cash) -> None:
    days_late = (pd.Timestamp(AS_OF) - cash.invoices["due_on"]).dt.days
    p_late = cash.invoices["p_late_30d"]
    assert p_late[days_late > 20].mean() > p_late[days_late < 0].mean()


def test_nothing_after_the_day_changes_a_forecast(
    simulated: Simulation, cash: Cash
) -> None:
    """The ledger goes on for a quarter; cut off on the day it gives the same."""
    cut = known_on(simulated.ledger, AS_OF).ledger
    from_cut = expected_cash(cut, AS_OF, weeks=6)
    columns = ["expected", "deviation"]
    pd.testing.assert_frame_equal(from_cut.invoices, cash.invoices)
    pd.testing.assert_frame_equal(from_cut.weeks[columns], cash.weeks[columns])
    pd.testing.assert_frame_equal(from_cut.coverage, cash.coverage)
    assert from_cut.weeks["received"].isna().all()


def test_cash_received_equals_the_balance_settled(
    simulated: Simulation, cash: Cash, open_rows: pd.DataFrame
) -> None:
    week_later = known_on(simulated.ledger, AS_OF + timedelta(days=7))
    settled_on = items_of(week_later)["settled_on"].reindex(open_rows.index)
    expected = open_rows.loc[settled_on.notna(), "balance"].sum()
    assert cash.weeks["received"].iloc[0] == pytest.approx(expected)
    assert cash.weeks["received"].iloc[0] > 0


def test_cash_received_is_near_the_cash_expected(cash: Cash) -> None:
    deviation = np.sqrt((cash.weeks["deviation"] ** 2).sum())
    gap = cash.weeks["received"].sum() - cash.weeks["expected"].sum()
    assert abs(gap) < 6 * deviation


def test_payments_come_between_their_quantiles_as_often_as_expected(cash: Cash) -> None:
    between = cash.coverage.loc["between"]
    assert between["invoices"] > 50
    # The model has learned from 2,000 invoices only.
    assert abs(between["observed"] - between["expected"]) < 0.15


def test_an_invoice_not_watched_until_its_quantile_is_left_out() -> None:
    sample = invoices_paid_after(np.full(40, 100.0), watched=5)
    survival = np.tile(np.linspace(1, 0, 7 * 26 + 1), (40, 1))
    assert coverage(sample, survival).loc["by p90", "invoices"] == 0


def test_cash_received_is_missing_for_weeks_not_watched() -> None:
    sample = invoices_paid_after(np.full(40, 100.0), watched=5)
    is_missing = np.isnan(cash_received(sample, 4).to_numpy())
    assert is_missing.tolist() == [False, True, True, True]


def test_features_of_open_invoices(open_rows: pd.DataFrame) -> None:
    age_and_days = open_rows["age_days"] + open_rows["days_to_due"]
    by_customer = open_rows.groupby("customer_id")["oldest_open_days_late"]
    assert list(open_rows.columns[3:]) == list(NAMES)
    assert (open_rows["open_share"] > 0).all()
    assert (open_rows["age_days"] >= 0).all()
    np.testing.assert_array_equal(age_and_days, open_rows["terms_days"])
    assert by_customer.nunique().max() == 1


def test_too_few_payments_are_an_error() -> None:
    sample = invoices_paid_after(np.full(50, 500.0), watched=60)
    with pytest.raises(SchemaError, match="only 0 payments of open invoices"):
        fit_time_to_pay(sample, seed=0)


def test_days_quantile_is_missing_beyond_the_days_modelled() -> None:
    survival = np.array([[1.0, 0.9, 0.4, 0.4], [1.0, 1.0, 1.0, 1.0]])
    np.testing.assert_array_equal(days_quantile(survival, 0.1), [1, np.nan])


def test_open_after_takes_the_first_and_last_day_for_days_outside() -> None:
    survival = np.array([[1.0, 0.9, 0.4, 0.4], [1.0, 1.0, 1.0, 1.0]])
    assert open_after(survival, np.array([2.0, 99.0])).tolist() == [0.4, 1.0]
    assert open_after(survival, np.array([-5.0, 0.0])).tolist() == [1.0, 1.0]


def test_learning_uses_only_what_was_known_on_the_day(simulated: Simulation) -> None:
    sample = learning_sample(simulated.ledger, AS_OF)
    last_sunday = pd.Timestamp(AS_OF - timedelta(days=7))
    assert (sample.rows["as_of"] <= last_sunday).all()
    assert not (sample.rows["settled_on"] > pd.Timestamp(AS_OF)).any()


def test_cash_writes_tables_and_a_picture(
    simulated: Simulation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time_to_pay, "MOST_DATES", 6)
    write_ledger(simulated, tmp_path / "ledger")
    folder = tmp_path / "cash"
    words = ["cash", str(tmp_path / "ledger" / "mapping.toml")]
    words += ["--as-of", str(AS_OF), "--weeks", "6", "--out", str(folder)]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    output = " ".join(result.output.split())
    assert "payment came between its 10% and 90% day" in output
    files = {path.name for path in folder.iterdir()}
    assert files == {"invoices.csv", "weeks.csv", "coverage.csv", "cash.png"}
    assert len(pd.read_csv(folder / "weeks.csv")) == 6


# --- the PD's term structure and its interval


def test_pds_rise_with_the_horizon(trained: Trained) -> None:
    model = trained.fit.model
    assert model.term is not None
    margin = model.margin(trained.split.test.features.to_numpy())
    horizons = (30, 91, 182, 300, 365, 500)
    curve = [model.pd_within(margin, days) for days in horizons]
    for sooner, later in pairwise(curve):
        assert (sooner < later).all()
    np.testing.assert_allclose(curve[4], model.pd_12m(margin), rtol=1e-12)


def observed_rate(trained: Trained, days: int) -> float:
    return float((trained.split.train.days_to_default <= days).mean())


@pytest.mark.parametrize("days", [91, 182])
def test_the_term_structure_gives_the_default_rate_by_a_day(
    trained: Trained, days: int
) -> None:
    pd_ = trained.fit.model.pd_within(trained.fit.out_of_fold_margin, days)
    assert abs(pd_.mean() / observed_rate(trained, days) - 1) < 0.25


def test_the_term_structure_is_nearer_than_a_constant_hazard(trained: Trained) -> None:
    """A customer already overdue defaults sooner than a constant hazard says."""
    model = trained.fit.model
    margin = trained.fit.out_of_fold_margin
    constant = 1 - (1 - model.calibration(margin)) ** (91 / 365)
    observed = observed_rate(trained, 91)
    gap = abs(model.pd_within(margin, 91).mean() - observed)
    assert gap < abs(constant.mean() - observed)


def test_too_few_defaults_give_no_term_structure() -> None:
    days = np.full(1000, np.nan)
    days[:20] = 30.0
    assert fit_term_structure(np.linspace(-3, 3, 1000), days, 365) is None


def band_covers_the_truth(seed: int) -> Bools:
    """Draw a world whose truth is known; tell at which margins the band includes it."""
    draw = np.random.default_rng(seed)
    margin = draw.normal(-2, 1, 1500)
    true_pd = 1 / (1 + np.exp(-0.8 * margin))
    label = (draw.random(1500) < true_pd).astype(np.int64)
    band = fit_band("platt", margin, label, Resampling(np.arange(1500), 60, seed))
    points = np.array([-3.0, -2.0, -1.0])
    pd_ = fit_calibration("platt", margin, label)(points)
    low, high = band(points, pd_)
    assert (low <= pd_).all()
    assert (pd_ <= high).all()
    truth = 1 / (1 + np.exp(-0.8 * points))
    return (low <= truth) & (truth <= high)


def test_the_band_covers_the_default_rate_at_a_margin() -> None:
    """At least nine in ten bands cover it (nominal: 95%)."""
    covered = [band_covers_the_truth(seed) for seed in range(30)]
    assert np.mean(covered) > 0.88


@pytest.fixture(scope="module")
def latest_margin(trained: Trained) -> pd.Series:
    test = trained.split.test
    rows = test.on([max(test.rows["as_of"])])
    margin = trained.fit.model.margin(rows.features.to_numpy())
    return pd.Series(margin, index=rows.rows.index)


def test_the_interval_includes_the_pd(
    trained: Trained, latest_margin: pd.Series
) -> None:
    model = trained.fit.model
    margin = latest_margin.to_numpy()
    low, high = model.interval_12m(margin)
    pd_ = model.pd_12m(margin)
    assert ((low <= pd_) & (pd_ <= high)).all()
    assert (high - low).mean() < 2 * pd_.mean()


def test_the_interval_includes_the_true_pd_of_the_simulator(
    trained: Trained, simulation: Simulation, latest_margin: pd.Series
) -> None:
    """The mean true PD lies within the mean interval, widened a little."""
    as_of = max(trained.split.test.rows["as_of"])
    low, high = trained.fit.model.interval_12m(latest_margin.to_numpy())
    truth = simulation.true_pd(as_of).reindex(latest_margin.index).to_numpy()
    has_truth = ~np.isnan(truth)
    lowest = low[has_truth].mean() - 0.02
    highest = high[has_truth].mean() + 0.02
    assert lowest < truth[has_truth].mean() < highest


@pytest.fixture(scope="module", params=["isotonic", "venn_abers"])
def step_calibration(request: pytest.FixtureRequest) -> tuple[Calibration, Floats]:
    """A calibration, and its margins with a mean label of a steep curve."""
    draw = np.random.default_rng(1)
    margin = draw.normal(-1, 1.2, 4000)
    true_pd = 1 / (1 + np.exp(-(margin**3) / 2))
    label = (draw.random(4000) < true_pd).astype(np.int64)
    calibration = fit_calibration(request.param, margin, label)
    assert abs(calibration(margin).mean() - label.mean()) < 0.01
    return calibration, margin


def test_step_calibrations_never_fall(
    step_calibration: tuple[Calibration, Floats],
) -> None:
    calibration, _ = step_calibration
    pds = calibration(np.linspace(-6, 4, 200))
    assert (np.diff(pds) >= 0).all()


def test_step_calibrations_are_their_parameters(
    step_calibration: tuple[Calibration, Floats],
) -> None:
    calibration, margin = step_calibration
    copy = Calibration(calibration.kind, calibration.parameters)
    assert copy(margin).tolist() == calibration(margin).tolist()


def test_calibrations_are_compared_on_later_rows() -> None:
    label = np.tile([0, 1], 50)
    ((fit, held),) = later_split(np.arange(100), label)
    assert fit.max() < held.min()
    assert abs(len(held) - 33) <= 1


def test_later_rows_of_one_kind_are_not_compared() -> None:
    no_defaults = np.zeros(100, dtype=np.int64)
    assert later_split(np.arange(100), no_defaults) == []
