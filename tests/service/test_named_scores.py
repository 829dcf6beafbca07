"""Several models in one store: scored by name, recorded, replayed, in the shadow."""

from __future__ import annotations

import io
import json
import os
import shutil
import zipfile
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from starlette.testclient import TestClient

from obligor.data.store import LedgerStore
from obligor.decisions.champion import ChampionLoader
from obligor.decisions.in_force import timeline_of
from obligor.decisions.named_models import NamedModels
from obligor.decisions.score_shadow import Shadows
from obligor.decisions.scores import scored_rows
from obligor.decisions.shadow import Shadow, shadow_scores
from obligor.errors import ErasedError, SchemaError
from obligor.model.bundle import SHADOW_POINTER
from obligor.policy.rulebooks.rulebook import RULES
from obligor.record.retention import erase
from obligor.serving.assembly import Service, assemble_service
from obligor.serving.settings import Settings
from obligor.training.lifecycle.registry import Approval, Registry
from obligor.training.lifecycle.table_monitor import (
    monitor_table,
    outcomes_of,
    with_recorded,
)
from tests.conftest import NOW, SIGNER, client_of, service_on
from tests.fakes import Ids
from tests.small_models import SPEC, force, loans, model_on, register, table_of
from tests.unit.test_cli import run

LOANS = loans(300)
FEATURES = {"income": 3000.0, "debt": 900, "town": "south"}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`loans` records if it is asked to, `cards` always; neither is the default."""
    folder = tmp_path_factory.mktemp("named")
    data = table_of(LOANS)
    loan_models = Registry(folder, "loans")
    force(loan_models, register(loan_models, model_on(data), data, data))
    # The challenger reads one column more than the champion of cards.
    recorded = SPEC.model_copy(update={"record": True})
    cards = Registry(folder, "cards")
    card_data = table_of(LOANS, recorded)
    small = model_on(card_data, ("income", "town"))
    force(cards, register(cards, small, card_data, card_data))
    challenger = register(cards, model_on(card_data), card_data, card_data)
    (folder / "keys").mkdir()
    (folder / "keys" / "release.pem").write_bytes(SIGNER.public)
    before = NOW - timedelta(days=1)
    cards.shadow(challenger, Approval("one", "a test", before), SIGNER)
    return folder


@pytest.fixture
def scoring(store: Path, tmp_path: Path) -> Service:
    ledger = LedgerStore(f"sqlite:///{tmp_path}/ledger.db")
    return service_on(ledger, ChampionLoader(store), tmp_path)


@pytest.fixture
def client(scoring: Service) -> Iterator[TestClient]:
    with client_of(scoring) as client:
        yield client


def score(client: TestClient, name: str = "loans", **more: Any) -> Any:
    body = {"features": FEATURES, **more}
    return client.post(f"/scores?model={name}", json=body)


def shadows_of(service: Service) -> Shadows:
    store = service.champions.store
    decisions = Shadow(
        service.record, ChampionLoader(store, pointer=SHADOW_POINTER), service.now
    )
    return Shadows(decisions, service.record, service.models, service.now)


# --- By name


def test_a_model_is_named_in_the_query_or_in_the_body(client: TestClient) -> None:
    in_query = score(client)
    in_body = client.post("/scores", json={"features": FEATURES, "model": "loans"})
    assert in_query.json() == in_body.json()
    assert in_query.json()["model"]["name"] == "loans"
    assert "entry_id" not in in_query.json()


@pytest.mark.parametrize("path", ["/scores?model=cars", "/scores"])
def test_an_unknown_name_is_404_with_the_names_there_are(
    client: TestClient, path: str
) -> None:
    response = client.post(path, json={"features": FEATURES})
    assert response.status_code == 404
    assert response.json()["expected"] == "one of cards, loans"


def test_two_names_are_refused(client: TestClient) -> None:
    response = score(client, "loans", model="cards")
    assert response.status_code == 422
    assert "two models" in response.json()["detail"]


def test_a_name_is_never_a_path(client: TestClient) -> None:
    assert score(client, "..%2F..").status_code == 404


def test_a_store_of_named_models_only_is_ready(scoring: Service) -> None:
    assert scoring.models.is_ready()
    assert not NamedModels(ChampionLoader(Path("nowhere"))).is_ready()


# --- In the record


def test_a_score_is_recorded_if_the_request_wants_it(
    client: TestClient, scoring: Service
) -> None:
    answer = score(client, record=True, customer_id="A-1")
    entry_id = answer.json()["entry_id"]
    assert answer.headers["Obligor-Receipt"]
    assert client.get(f"/decisions/{entry_id}").text == answer.text
    scoring.checkpointer.step()
    proof = client.get(f"/decisions/{entry_id}/proof")
    assert proof.status_code == 200
    replay = client.post(f"/decisions/{entry_id}/replay").json()
    assert (replay["is_equal"], replay["differences"]) == (True, [])


def test_a_score_is_recorded_if_the_spec_says_so(client: TestClient) -> None:
    answer = score(client, "cards")
    assert answer.status_code == 200
    assert answer.json()["entry_id"]


def test_a_recorded_score_is_encrypted(
    client: TestClient, scoring: Service, tmp_path: Path
) -> None:
    score(client, record=True, customer_id="A-77777")
    scoring.record.writer.close()
    stored = b"".join(path.read_bytes() for path in tmp_path.glob("record.db*"))
    assert b"A-77777" not in stored
    assert b'"income"' not in stored


def test_a_bundle_of_evidence_proves_a_score(
    client: TestClient, scoring: Service
) -> None:
    entry_id = score(client, record=True).json()["entry_id"]
    scoring.checkpointer.step()
    content = scoring.evidence.collect(entry_id)
    names = set(zipfile.ZipFile(io.BytesIO(content)).namelist())
    assert {"decision.json", "proof.json", "model/model.txt"} <= names
    assert "decision.html" not in names


def test_a_score_has_no_notice(client: TestClient) -> None:
    entry_id = score(client, record=True).json()["entry_id"]
    response = client.get(f"/decisions/{entry_id}/notice")
    assert response.status_code == 422
    assert "a score has no notice" in response.json()["detail"]


def test_an_idempotency_key_gives_the_recorded_score(client: TestClient) -> None:
    headers = {"Idempotency-Key": "once"}
    body = {"features": FEATURES, "model": "loans", "record": True}
    answers = [client.post("/scores", json=body, headers=headers) for _ in range(2)]
    assert answers[0].text == answers[1].text
    other = {**body, "features": {**FEATURES, "debt": 901}}
    assert client.post("/scores", json=other, headers=headers).status_code == 409


def test_a_score_replays_after_another_model_took_over(
    client: TestClient, scoring: Service, store: Path
) -> None:
    entry_id = score(client, record=True).json()["entry_id"]
    registry = Registry(store, "loans")
    first = registry.champion()
    assert first is not None
    data = table_of(LOANS)
    force(registry, register(registry, model_on(data, ("income",)), data, data))
    replayed = list(scoring.replayer.replay_all())
    force(registry, first)
    assert [getattr(one, "is_equal", None) for one in replayed] == [True]
    assert client.get(f"/decisions/{entry_id}").status_code == 200


@pytest.mark.parametrize("customer_id", ["A-5", None])
def test_a_recorded_score_can_be_erased(
    client: TestClient, scoring: Service, customer_id: str | None
) -> None:
    """Without a customer, the score has a key of its own under its entry id."""
    sent = {} if customer_id is None else {"customer_id": customer_id}
    answer = score(client, record=True, **sent).json()
    owner = answer["customer_id"]
    assert owner == (customer_id or answer["entry_id"])
    erase(scoring.record, owner, "a test", NOW, "e-1")
    with pytest.raises(ErasedError):
        scoring.record.reader.entry(answer["entry_id"])
    assert list(scored_rows(scoring.record.reader)) == []


# --- In the shadow


def test_the_challenger_scores_behind_a_recorded_score(
    client: TestClient, scoring: Service, store: Path
) -> None:
    answer = score(client, "cards")
    shadows = shadows_of(scoring)
    assert (shadows.step(), shadows.step()) == (1, 0)
    challenger = scoring.models.challenger("cards")
    assert challenger is not None
    assert challenger.sha256 not in answer.text
    scores = shadow_scores(scoring.record, challenger.sha256)
    encoding = challenger.model.encoding
    assert encoding is not None
    expected = challenger.model.predict_pd_12m(encoding.row(FEATURES))
    assert scores == {answer.json()["entry_id"]: float(expected[0])}


def test_a_request_without_the_challengers_column_is_not_scored_by_it(
    client: TestClient, scoring: Service, caplog: pytest.LogCaptureFixture
) -> None:
    fewer = {"income": 3000.0, "town": "south"}
    answer = client.post("/scores?model=cards", json={"features": fewer})
    assert answer.status_code == 200
    assert shadows_of(scoring).step() == 0
    assert "the challenger of cards cannot score: requests lack debt" in caplog.text


def test_a_column_that_nobody_reads_is_refused(client: TestClient) -> None:
    response = score(client, "cards", features={**FEATURES, "shoe": 43})
    assert response.status_code == 422
    assert "shoe" in response.json()["detail"]


def test_scores_of_one_name_are_not_scored_by_the_challenger_of_another(
    client: TestClient, scoring: Service
) -> None:
    score(client, "loans", record=True)
    assert shadows_of(scoring).step() == 0


def test_a_damaged_challenger_fails_no_answer(store: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(store, tmp_path / "copy"))
    pointer = copy / "named" / "cards" / SHADOW_POINTER
    sha256 = json.loads(pointer.read_text())["sha256"]
    (copy / "models" / sha256 / "model.txt").write_text("damaged")
    ledger = LedgerStore(f"sqlite:///{tmp_path}/ledger.db")
    service = service_on(ledger, ChampionLoader(copy), tmp_path)
    fewer = {"income": 3000.0, "town": "south"}
    with client_of(service) as client:
        answer = client.post("/scores?model=cards", json={"features": fewer})
    assert answer.status_code == 200
    assert shadows_of(service).step() == 0


# --- Outcomes of recorded scores


def test_recorded_scores_meet_the_outcomes_of_their_applicants(
    client: TestClient, scoring: Service, store: Path
) -> None:
    """40 scores, 30 of whose applicants have an outcome in a later table."""
    later = loans(40, seed=5)
    for loan in later.to_dict("records"):
        features = {name: loan[name] for name in FEATURES}
        score(client, "cards", features=features, customer_id=loan["loan_no"])
    shadows_of(scoring).step()
    registry = Registry(store, "cards")
    known = registry.known_model("1")
    scores = pd.DataFrame(scored_rows(scoring.record.reader, registry.sha256("1")))
    table = later.head(30)
    watched = monitor_table(known, registry.test_rows("1"), table)
    monitoring = with_recorded(
        watched,
        scores,
        outcomes_of(known, table),
        shadow_scores(scoring.record, registry.sha256("2")),
    )
    assert "40 scores of this version are recorded; 30 of them have" in " ".join(
        monitoring.notes
    )
    counted = monitoring.challenger["matured decisions scored by both"]
    assert counted == f"30 ({int(table['bad'].sum())} defaults)"


def test_recorded_scores_are_watched_on_the_command_line(
    store: Path, tmp_path: Path
) -> None:
    """Without a table, the recorded scores are the rows."""
    copy = Path(shutil.copytree(store, tmp_path / "copy"))
    words = ("monitor", "--name", "cards", "--version", "1", "--store", copy)
    with pytest.raises(SchemaError, match="no score is recorded"):
        run(*words, "--out", tmp_path / "page.html")
    service = assemble_service(
        Settings.of({"OBLIGOR_STORE": str(copy)}),
        now=lambda: NOW,
        new_id=Ids(),
        random=os.urandom,
    )
    with client_of(service) as client:
        score(client, "cards")
    answer = json.loads(run(*words, "--out", tmp_path / "page.html", "--json").stdout)
    assert (answer["unit"], answer["count"]) == ("recorded scores", 1)


def test_the_timeline_names_the_model(store: Path) -> None:
    changes = {change.what for change in timeline_of(store, RULES)}
    assert {"model cards", "model loans"} <= changes
