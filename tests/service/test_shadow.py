"""The challenger scores recorded decisions, is never shown and can stop nothing."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa

from obligor.decisions.batch import Question, not_failed
from obligor.decisions.champion import ChampionLoader
from obligor.decisions.questions import DecisionRequest
from obligor.decisions.recorded import decided_rows
from obligor.decisions.shadow import Shadow, shadow_scores
from obligor.model.bundle import SHADOW_POINTER
from obligor.model.calibration import Calibration
from obligor.model.pd_model import PdModel
from obligor.record.tables import SHADOW_SCORES
from obligor.serving.assembly import Service, try_shadow
from obligor.training.lifecycle.registry import Approval, Registry, TrainingRun
from obligor.training.runs.ledger_run import Trained
from obligor.training.validation.subject import labelled_rows, stored_rows
from tests.conftest import NOW, SIGNER


@pytest.fixture(scope="module")
def registry(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Registry:
    """A store of its own whose only version is the challenger."""
    store = tmp_path_factory.mktemp("challengers")
    model = challenger_model(trained)
    test_rows = stored_rows(model, labelled_rows(trained.split.test))
    challengers = Registry(store)
    challengers.log_run(TrainingRun(model, test_rows), NOW)
    (store / "keys").mkdir()
    (store / "keys" / "release.pem").write_bytes(SIGNER.public)
    return challengers


def challenger_model(trained: Trained) -> PdModel:
    return replace(
        trained.fit.model,
        calibration=Calibration("platt", (0.5, -2.0)),
        band=None,
        term=None,
    )


def challenge(registry: Registry, after: timedelta = timedelta(0)) -> ChampionLoader:
    """Name the challenger some time after now; return what loads it."""
    approval = Approval("R. Modeler", "more outcomes", NOW + after)
    registry.shadow("1", approval, SIGNER)
    return ChampionLoader(registry.store, pointer=SHADOW_POINTER)


@pytest.fixture
def challengers(registry: Registry) -> ChampionLoader:
    return challenge(registry)


@pytest.fixture
def shadow(service: Service, challengers: ChampionLoader) -> Shadow:
    return Shadow(service.record, challengers, service.now)


def decide(service: Service, count: int) -> list[str]:
    """Decide on the first customers; return the answers."""
    questions = [
        Question(DecisionRequest(customer_id=customer_id))
        for customer_id in service.ledger.customer_ids(count)
    ]
    answers = service.decider.answer_all(questions)
    return [answer.body for answer in not_failed(answers)]


def test_a_decision_is_scored_once(service: Service, shadow: Shadow) -> None:
    decide(service, 4)
    assert shadow.step() == 4
    assert shadow.step() == 0


def test_a_decision_is_scored_with_its_recorded_features(
    service: Service, shadow: Shadow, challengers: ChampionLoader, trained: Trained
) -> None:
    decide(service, 4)
    shadow.step()
    champion = service.champions.current()
    decisions = pd.DataFrame(decided_rows(service.record.reader, champion.sha256))
    others = ["decision_id", "customer_id", "as_of", "pd_12m"]
    features = decisions.drop(columns=others).to_numpy()
    scores = shadow_scores(service.record, challengers.current().sha256)
    np.testing.assert_array_equal(
        decisions["decision_id"].map(scores),
        challenger_model(trained).predict_pd_12m(features),
    )


def test_no_answer_shows_the_challenger(
    service: Service, shadow: Shadow, challengers: ChampionLoader
) -> None:
    bodies = decide(service, 4)
    shadow.step()
    sha256 = challengers.current().sha256
    scores = shadow_scores(service.record, sha256)
    recorded = [service.record.reader.entry(entry_id).body for entry_id in scores]
    assert recorded
    for body in (*bodies, *recorded):
        assert sha256 not in body


def test_decisions_before_the_challenger_are_left_alone(
    service: Service, registry: Registry
) -> None:
    challengers = challenge(registry, after=timedelta(hours=1))
    decide(service, 2)
    assert Shadow(service.record, challengers, service.now).step() == 0


def test_two_processes_keep_one_score_of_each_decision(
    service: Service, shadow: Shadow, challengers: ChampionLoader
) -> None:
    decide(service, 2)
    unscored = shadow._unscored(challengers.current())
    shadow.step()
    # This one read what is not scored before the other had saved its scores.
    late = Shadow(service.record, challengers, service.now)
    late._unscored = lambda challenger: unscored  # type: ignore[method-assign]
    late.step()
    count = sa.select(sa.func.count()).select_from(SHADOW_SCORES)
    with service.record.database.engine.connect() as connection:
        assert connection.scalar(count) == 2


def test_without_a_challenger_nothing_is_scored(
    service: Service, tmp_path: Path
) -> None:
    nobody = ChampionLoader(tmp_path, pointer=SHADOW_POINTER)
    assert Shadow(service.record, nobody, service.now).step() == 0


def test_a_damaged_challenger_scores_nothing(
    service: Service, challengers: ChampionLoader, tmp_path: Path
) -> None:
    copy = shutil.copytree(challengers.store, tmp_path / "copy")
    damaged = ChampionLoader(copy, pointer=SHADOW_POINTER)
    (model,) = (copy / "models").glob("*/model.txt")
    model.write_text(model.read_text() + " ")
    decide(service, 1)
    try_shadow(Shadow(service.record, damaged, service.now))
    assert shadow_scores(service.record, model.parent.name) == {}
