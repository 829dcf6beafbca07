"""The challenger in the shadow: it scores what was decided, is never shown, and can stop nothing."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa

from obligor.decisions.batch import Question
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
    model = _model(trained)
    test_rows = stored_rows(model, labelled_rows(trained.split.test))
    challengers = Registry(store)
    challengers.log_run(TrainingRun(model, test_rows), NOW)
    (store / "keys").mkdir()
    (store / "keys" / "release.pem").write_bytes(SIGNER.public)
    return challengers


def _model(trained: Trained) -> PdModel:
    return replace(
        trained.fit.model,
        calibration=Calibration("platt", (0.5, -2.0)),
        band=None,
        term=None,
    )


def _shadowed(registry: Registry, at: timedelta = timedelta(0)) -> ChampionLoader:
    approval = Approval("R. Modeler", "more outcomes", NOW + at)
    registry.shadow("1", approval, SIGNER)
    return ChampionLoader(registry.store, pointer=SHADOW_POINTER)


def _decide(service: Service, n: int) -> list[str]:
    questions = [
        Question(DecisionRequest(customer_id=customer_id))
        for customer_id in service.ledger.customer_ids(n)
    ]
    return [
        answer.body
        for answer in service.decider.answer_all(questions)
        if hasattr(answer, "body")
    ]


def test_it_scores_what_was_decided_once_and_nothing_of_it_is_shown(
    service: Service, registry: Registry, trained: Trained
) -> None:
    keeper = _shadowed(registry)
    shadow = Shadow(service.record, keeper, service.now)
    bodies = _decide(service, 4)
    assert (shadow.step(), shadow.step()) == (4, 0)
    sha256 = keeper.current().sha256
    found = pd.DataFrame(
        decided_rows(service.record.reader, service.champions.current().sha256)
    )
    features = found.drop(
        columns=["decision_id", "customer_id", "as_of", "pd_12m"]
    ).to_numpy()
    scores = shadow_scores(service.record, sha256)
    np.testing.assert_array_equal(
        found["decision_id"].map(scores), _model(trained).predict_pd_12m(features)
    )
    assert not any(sha256 in body for body in bodies)
    assert all(
        sha256 not in service.record.reader.entry(entry_id).body for entry_id in scores
    )


def test_what_was_decided_before_it_began_is_left_alone(
    service: Service, registry: Registry
) -> None:
    keeper = _shadowed(registry, at=timedelta(hours=1))
    _decide(service, 2)
    assert Shadow(service.record, keeper, service.now).step() == 0


def test_two_processes_keep_one_score_of_each(
    service: Service, registry: Registry
) -> None:
    keeper = _shadowed(registry)
    one = Shadow(service.record, keeper, service.now)
    _decide(service, 2)
    before = one._unscored(keeper.current())
    one.step()
    late = Shadow(service.record, keeper, service.now)
    late._unscored = lambda _: before  # type: ignore[method-assign]  # it looked before the other was done
    late.step()
    with service.record.database.engine.connect() as connection:
        assert (
            connection.execute(
                sa.select(sa.func.count()).select_from(SHADOW_SCORES)
            ).scalar()
            == 2
        )


def test_without_a_challenger_or_with_a_damaged_one_nothing_happens(
    service: Service, registry: Registry, tmp_path: Path
) -> None:
    assert (
        Shadow(
            service.record,
            ChampionLoader(tmp_path, pointer=SHADOW_POINTER),
            service.now,
        ).step()
        == 0
    )
    _shadowed(registry)
    copy = shutil.copytree(registry.store, tmp_path / "copy")
    keeper = ChampionLoader(copy, pointer=SHADOW_POINTER)
    (model,) = (copy / "models").glob("*/model.txt")
    model.write_text(model.read_text() + " ")
    _decide(service, 1)
    try_shadow(Shadow(service.record, keeper, service.now))
    assert shadow_scores(service.record, model.parent.name) == {}
