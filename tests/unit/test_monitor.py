"""Monitoring: drift, matured outcomes, alerts that require a size, an exit code."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from obligor.cli.app import app
from obligor.data.asof import known_on
from obligor.data.synthetic import Simulation, write_ledger
from obligor.decisions.batch import Question
from obligor.decisions.questions import DecisionRequest
from obligor.decisions.recorded import decided_rows
from obligor.errors import SchemaError
from obligor.features.build import build_features
from obligor.serving.assembly import Service
from obligor.training.lifecycle.monitor import (
    LEVEL_SINCE,
    Monitoring,
    backtest,
    compared,
    drift,
    matured,
    monitor,
    write_page,
)
from obligor.training.runs.ledger_run import Trained
from obligor.training.samples.config import DefaultDefinition
from obligor.training.validation.subject import labelled_rows, stored_rows

DRAW = np.random.default_rng(2)
DEFINITION = DefaultDefinition()


def draw_decisions(n: int, shift: float = 0.0) -> pd.DataFrame:
    pd_12m = DRAW.beta(2, 30, n)
    dpd_days = DRAW.normal(shift, 1, n)
    return pd.DataFrame({"pd_12m": pd_12m, "dpd_days": dpd_days})


def draw_reference(n: int) -> pd.DataFrame:
    return draw_decisions(n).rename(columns={"pd_12m": "pd"})


@pytest.mark.parametrize("n", [60, 300, 3000, 60_000])
def test_samples_of_one_population_raise_no_alert(n: int) -> None:
    largest = []
    for _ in range(20):
        moved = drift(draw_decisions(n), draw_reference(3000))
        largest.append(moved["beyond"].max())
    assert max(largest) < 0.25


@pytest.mark.parametrize("n", [300, 60_000])
def test_a_small_shift_raises_no_alert(n: int) -> None:
    """A tenth of a deviation is significant among 60,000 and does not matter."""
    moved = drift(draw_decisions(n, shift=0.1), draw_reference(3000))
    assert moved.loc["dpd_days", "beyond"] < 0.25


@pytest.mark.parametrize("n", [300, 60_000])
def test_a_large_shift_raises_an_alert(n: int) -> None:
    moved = drift(draw_decisions(n, shift=1.0), draw_reference(3000))
    assert moved.loc["dpd_days", "beyond"] > 0.25


@pytest.fixture(scope="module")
def decisions(trained: Trained, simulation: Simulation) -> pd.DataFrame:
    """What the champion would have decided on three days, two of them matured."""
    last = simulation.ledger.observed_until
    parts = []
    for days in (430, 380, 30):
        as_of = last - timedelta(days=days)
        features = build_features(known_on(simulation.ledger, as_of))
        pd_12m = trained.fit.model.predict_pd_12m(features.to_numpy())
        parts.append(features.assign(as_of=as_of, pd_12m=pd_12m).reset_index())
    return pd.concat(parts, ignore_index=True)


def test_only_matured_decisions_are_compared_with_outcomes(
    decisions: pd.DataFrame, simulation: Simulation
) -> None:
    mature = matured(decisions, simulation.ledger, DEFINITION)
    first_two_days = sorted(set(decisions["as_of"]))[:2]
    assert set(mature["as_of"]) == set(first_two_days)
    months = backtest(mature, DEFINITION)
    assert months["defaults"].sum() == mature["label"].sum() > 0
    assert (months["low"] <= months["expected"]).all()
    assert (months["expected"] <= months["high"]).all()


@pytest.fixture(scope="module")
def with_low_pds(
    decisions: pd.DataFrame, trained: Trained, simulation: Simulation
) -> Monitoring:
    features = trained.split.test.features
    reference = features.assign(pd=trained.fit.model.predict_pd(features.to_numpy()))
    low = decisions.assign(pd_12m=decisions["pd_12m"] / 4)
    return monitor(low, reference, simulation.ledger, DEFINITION)


def test_far_too_low_pds_raise_an_alert_with_their_size(
    with_low_pds: Monitoring,
) -> None:
    values = {alert.figure: alert.value for alert in with_low_pds.alerts}
    assert values["defaults over expected"] > 2


def reference_with_days(trained: Trained) -> pd.DataFrame:
    return stored_rows(trained.fit.model, labelled_rows(trained.split.test))


@pytest.fixture(scope="module")
def partly_watched(trained: Trained, simulation: Simulation) -> pd.DataFrame:
    """What the champion would have decided half a year before the end."""
    as_of = simulation.ledger.observed_until - timedelta(days=182)
    features = build_features(known_on(simulation.ledger, as_of))
    pd_12m = trained.fit.model.predict_pd_12m(features.to_numpy())
    return features.assign(as_of=as_of, pd_12m=pd_12m).reset_index()


@pytest.mark.parametrize(("divisor", "is_low"), [(6, True), (1 / 6, False)])
def test_a_level_that_moves_raises_an_alert_before_the_horizon_has_passed(
    divisor: float,
    is_low: bool,
    partly_watched: pd.DataFrame,
    trained: Trained,
    simulation: Simulation,
) -> None:
    wrong = np.clip(partly_watched["pd_12m"] / divisor, 1e-4, 0.9)
    monitoring = monitor(
        partly_watched.assign(pd_12m=wrong),
        reference_with_days(trained),
        simulation.ledger,
        DEFINITION,
    )
    assert monitoring.backtest.empty
    values = {alert.figure: alert.value for alert in monitoring.alerts}
    assert values[LEVEL_SINCE] > 1.25 if is_low else values[LEVEL_SINCE] < 0.8
    assert "defaults so far" in monitoring.figures[LEVEL_SINCE]


def test_a_level_that_cannot_be_followed_is_said(
    partly_watched: pd.DataFrame, trained: Trained, simulation: Simulation
) -> None:
    reference = reference_with_days(trained)
    earlier = reference.drop(columns="days_to_default")
    notes = monitor(partly_watched, earlier, simulation.ledger, DEFINITION).notes
    assert any("do not say when defaults come" in note for note in notes)
    few = partly_watched.head(20)
    notes = monitor(few, reference, simulation.ledger, DEFINITION).notes
    assert any("The level cannot be followed yet" in note for note in notes)


def test_the_page_shows_each_alert_and_needs_no_network(
    with_low_pds: Monitoring, tmp_path: Path
) -> None:
    write_page(tmp_path / "page.html", with_low_pds, "version 1")
    page = (tmp_path / "page.html").read_text()
    assert with_low_pds.alerts
    assert all(str(alert) in page for alert in with_low_pds.alerts)
    assert "https://" not in page


def test_monitoring_needs_a_recorded_decision(
    trained: Trained, simulation: Simulation
) -> None:
    reference = trained.split.test.features
    with pytest.raises(SchemaError, match="no decision is recorded"):
        monitor(pd.DataFrame(), reference, simulation.ledger, DEFINITION)


def test_recorded_decisions_carry_their_features(service: Service) -> None:
    names = service.ledger.customer_ids(5)
    questions = [Question(DecisionRequest(customer_id=name)) for name in names]
    service.decider.answer_all(questions)
    champion = service.champions.current()
    rows = pd.DataFrame(decided_rows(service.record.reader, champion.sha256))
    assert rows["customer_id"].tolist() == names
    features = rows.drop(columns=["decision_id", "customer_id", "as_of", "pd_12m"])
    pds = champion.model.predict_pd_12m(features.to_numpy())
    np.testing.assert_array_equal(pds, rows["pd_12m"])


def test_another_model_has_no_recorded_decisions(service: Service) -> None:
    assert not list(decided_rows(service.record.reader, "0" * 64))


# --- the challenger in the shadow


@pytest.fixture(scope="module")
def mature() -> pd.DataFrame:
    """Matured decisions of a champion that ranks a little better than chance."""
    label = (DRAW.random(800) < 0.2).astype(np.int64)
    pd_12m = 0.2 + 0.02 * label + DRAW.normal(0, 0.05, 800)
    return pd.DataFrame(
        {
            "decision_id": [f"d{n}" for n in range(800)],
            "customer_id": [f"C{n}" for n in range(800)],
            "pd_12m": np.clip(pd_12m, 0.01, 0.9),
            "label": label,
        }
    )


def test_a_better_challenger_is_seen_on_matured_decisions(
    mature: pd.DataFrame,
) -> None:
    better = 0.1 + 0.3 * mature["label"] + DRAW.normal(0, 0.1, 800)
    pds = np.clip(better, 0.01, 0.9)
    shadow = dict(zip(mature["decision_id"], pds, strict=True))
    figures = compared(mature, shadow)
    champion_auc = float(figures["AUC of the champion"])
    challenger_auc = float(figures["AUC of the challenger"])
    assert challenger_auc > champion_auc + 0.1


@pytest.mark.parametrize("shadow", [{}, {"d1": 0.5}])
def test_too_few_shadow_scores_are_not_compared(
    mature: pd.DataFrame, shadow: dict[str, float]
) -> None:
    assert compared(mature, shadow) == {}


# --- the command line


def invoke(*words: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, [str(word) for word in words])
    return result.exit_code, " ".join(result.output.split())


@pytest.mark.usefixtures("trained")
def test_monitor_on_the_command_line(
    store: Path,
    simulation: Simulation,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write_ledger(simulation, tmp_path / "ledger")
    mapping = tmp_path / "ledger" / "mapping.toml"
    page = tmp_path / "page.html"
    monkeypatch.setenv("OBLIGOR_RECORD_URL", f"sqlite:///{tmp_path}/record.db")
    as_of = date(2024, 6, 30)
    for customer in ("C0000001", "C0000002", "C0000003"):
        code, output = invoke("decide", customer, "--as-of", as_of, "--store", store)
        assert code == 0, output
    code, output = invoke("monitor", mapping, "--store", store, "--out", page)
    assert "3 decisions" in output
    assert code in (0, 1)
    assert code == int("alert[" in output or " 0 alerts" not in output)
    assert page.exists()
