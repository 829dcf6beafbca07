"""What became of the decisions: alerts that ask for a size, outcomes that have matured, an exit code for schedulers."""

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
from obligor.decisions.engine import Engine
from obligor.decisions.questions import DecisionRequest
from obligor.decisions.recorded import decided_rows
from obligor.errors import SchemaError
from obligor.features.build import build_features
from obligor.training.lifecycle.monitor import (
    backtest,
    drift,
    matured,
    monitor,
    write_page,
)
from obligor.training.runs.ledger_run import Trained
from obligor.training.samples.config import DefaultDefinition

DRAW = np.random.default_rng(2)


def _rows(n: int, shift: float = 0.0) -> pd.DataFrame:
    return pd.DataFrame(
        {"pd_12m": DRAW.beta(2, 30, n), "dpd_days": DRAW.normal(shift, 1, n)}
    )


def _reference(n: int) -> pd.DataFrame:
    return _rows(n).rename(columns={"pd_12m": "pd"})


@pytest.mark.parametrize("n", [60, 300, 3000, 60_000])
def test_samples_alike_raise_no_alert_however_few_or_many(n: int) -> None:
    worst = max(drift(_rows(n), _reference(3000))["beyond"].max() for _ in range(20))
    assert worst < 0.25


@pytest.mark.parametrize("n", [300, 60_000])
def test_a_small_shift_is_no_alert_and_a_large_one_is_at_every_size(n: int) -> None:
    """A tenth of a deviation is significant among 60,000 and matters to nobody."""
    assert drift(_rows(n, 0.1), _reference(3000)).loc["dpd_days", "beyond"] < 0.25
    assert drift(_rows(n, 1.0), _reference(3000)).loc["dpd_days", "beyond"] > 0.25


@pytest.fixture(scope="module")
def decisions(trained: Trained, simulation: Simulation) -> pd.DataFrame:
    """What the champion would have decided at three month's ends, two of them matured."""
    last = simulation.ledger.observed_until
    parts = []
    for as_of in (
        last - timedelta(days=430),
        last - timedelta(days=380),
        last - timedelta(days=30),
    ):
        features = build_features(known_on(simulation.ledger, as_of))
        pd_12m = trained.fit.model.predict_pd_12m(features.to_numpy())
        parts.append(features.assign(as_of=as_of, pd_12m=pd_12m).reset_index())
    return pd.concat(parts, ignore_index=True)


def test_only_matured_decisions_are_held_against_outcomes(
    decisions: pd.DataFrame, simulation: Simulation
) -> None:
    found = matured(decisions, simulation.ledger, DefaultDefinition())
    assert set(found["as_of"]) == set(sorted(set(decisions["as_of"]))[:2])
    months = backtest(found, DefaultDefinition())
    assert months["defaults"].sum() == found["label"].sum() > 0
    assert (months["low"] <= months["expected"]).all()
    assert (months["expected"] <= months["high"]).all()


def test_pds_far_too_low_are_an_alert_with_their_size(
    decisions: pd.DataFrame, trained: Trained, simulation: Simulation, tmp_path: Path
) -> None:
    reference = trained.split.test.features.assign(
        pd=trained.fit.model.predict_pd(trained.split.test.features.to_numpy())
    )
    low = decisions.assign(pd_12m=decisions["pd_12m"] / 4)
    found = monitor(low, reference, simulation.ledger, DefaultDefinition())
    (alert,) = (one for one in found.alerts if one.what == "defaults over expected")
    assert alert.value > 2
    write_page(tmp_path / "page.html", found, "version 1")
    page = (tmp_path / "page.html").read_text()
    assert str(alert) in page
    assert "https://" not in page


def test_nothing_recorded_says_so(trained: Trained, simulation: Simulation) -> None:
    with pytest.raises(SchemaError, match="no decision is recorded"):
        monitor(
            pd.DataFrame(),
            trained.split.test.features,
            simulation.ledger,
            DefaultDefinition(),
        )


def test_decisions_come_from_the_record_with_their_features(engine: Engine) -> None:
    names = engine.ledger.customer_ids(5)
    engine.decide_all([DecisionRequest(customer_id=name) for name in names], [None] * 5)
    sha256 = engine.champions.current().sha256
    found = pd.DataFrame(decided_rows(engine.record, sha256))
    assert found["customer_id"].tolist() == names
    rows = found.drop(
        columns=["decision_id", "customer_id", "as_of", "pd_12m"]
    ).to_numpy()
    np.testing.assert_array_equal(
        engine.champions.current().model.predict_pd_12m(rows), found["pd_12m"]
    )
    assert not list(decided_rows(engine.record, "0" * 64))


def test_monitor_on_the_command_line(
    trained: Trained,
    store: Path,
    simulation: Simulation,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write_ledger(simulation, tmp_path / "ledger")
    monkeypatch.setenv("OBLIGOR_RECORD_URL", f"sqlite:///{tmp_path}/record.db")
    words = [str(tmp_path / "ledger" / "mapping.toml"), "--store", str(store)]
    run = CliRunner().invoke
    for customer in ("C0000001", "C0000002", "C0000003"):
        answer = run(
            app,
            [
                "decide",
                customer,
                "--as-of",
                str(date(2024, 6, 30)),
                "--store",
                str(store),
            ],
        )
        assert answer.exit_code == 0, answer.output
    result = run(app, ["monitor", *words, "--out", str(tmp_path / "page.html")])
    assert "3 decisions" in " ".join(result.output.split())
    assert result.exit_code in (0, 1)
    assert result.exit_code == int(
        "alert[" in result.output or " 0 alerts" not in " ".join(result.output.split())
    )
    assert (tmp_path / "page.html").exists()
