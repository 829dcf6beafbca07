"""One zip with all there is about a decision, and a look at the deployment."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import zipfile
from dataclasses import replace
from datetime import timedelta
from hashlib import sha256
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from obligor.errors import ErasedError, RecordError, SchemaError
from obligor.record.retention import erase
from obligor.serving.assembly import Service
from obligor.serving.operations.doctor import Deployment, examine
from obligor.serving.settings import Settings
from obligor.signing import public_key, signature_is_valid
from tests.conftest import NOW
from tests.records import ATTACKS, tamper


@pytest.fixture
def entry_id(client: TestClient) -> str:
    large = {
        "customer_id": "C0000002",
        "request": {"amount": "90000000.00", "currency": "EUR"},
    }
    return str(client.post("/decisions", json=large).json()["decision_id"])


def test_the_evidence_holds_together_and_is_checked_without_us(
    service: Service, entry_id: str, tmp_path: Path
) -> None:
    archive = zipfile.ZipFile(io.BytesIO(service.evidence.evidence(entry_id)))
    archive.extractall(tmp_path)
    manifest = json.loads((tmp_path / "manifest.json").read_bytes())
    assert {*manifest, "manifest.json", "manifest.sig"} == set(archive.namelist())
    for name, hash_ in manifest.items():
        assert sha256((tmp_path / name).read_bytes()).hexdigest() == hash_, name
    signature = bytes.fromhex((tmp_path / "manifest.sig").read_text())
    assert signature_is_valid(
        public_key(service.signer.public, "seal"),
        signature,
        (tmp_path / "manifest.json").read_bytes(),
    )
    assert (tmp_path / "decision.json").read_text() == service.answers.recorded_answer(
        entry_id
    ).body
    assert json.loads((tmp_path / "replay.json").read_bytes())["is_equal"] is True
    command = [
        sys.executable,
        "-I",
        "verifier.py",
        "--key",
        "public.pem",
        "--proof",
        "proof.json",
        "--receipt",
        "receipt.txt",
    ]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert "the receipt of" in done.stdout
    model = json.loads((tmp_path / "decision.json").read_bytes())["model"]["sha256"]
    assert (
        sha256((tmp_path / "model" / "manifest.json").read_bytes()).hexdigest() == model
    )
    assert (
        "horizon of the PD: 365 days"
        in (tmp_path / "model" / "model_card.md").read_text()
    )
    assert (tmp_path / "rules" / "hard_stops.yaml").exists()
    page = (tmp_path / "decision.html").read_text()
    assert "<script" not in page
    for said in ("Decision", "refer", "Rules that fired", model):
        assert said in page


def test_the_same_decision_gives_the_same_evidence(
    service: Service, entry_id: str
) -> None:
    assert service.evidence.evidence(entry_id) == service.evidence.evidence(entry_id)


def test_an_order_check_has_evidence_too(client: TestClient, service: Service) -> None:
    order = {"customer_id": "C0000002", "order": {"amount": "9.00", "currency": "EUR"}}
    checked = client.post("/orders/check", json=order).json()["decision_id"]
    names = zipfile.ZipFile(io.BytesIO(service.evidence.evidence(checked))).namelist()
    assert {"decision.html", "replay.json", "proof.json"} < set(names)
    assert "notice.txt" not in names


def test_what_has_no_evidence_says_why(
    client: TestClient, service: Service, entry_id: str, tmp_path: Path
) -> None:
    service.evidence.write(entry_id, tmp_path / "e.zip")
    with pytest.raises(RecordError, match="exists already"):
        service.evidence.write(entry_id, tmp_path / "e.zip")
    contact = {
        "customer_id": "C0000002",
        "by": "C",
        "channel": "mail",
        "outcome": "reached",
    }
    with pytest.raises(SchemaError, match="a contact is not computed"):
        service.evidence.evidence(
            client.post("/contacts", json=contact).json()["contact_id"]
        )
    erase(service.record, "C0000002", "asked", NOW, "e-1")
    with pytest.raises(ErasedError):
        service.evidence.evidence(entry_id)


# --- the doctor


def deployment(
    service: Service, store: Path, tmp_path: Path, **environment: str
) -> Deployment:
    said = {
        "OBLIGOR_STORE": str(store),
        "OBLIGOR_CHECKPOINTS": str(tmp_path / "checkpoints"),
        **environment,
    }
    return Deployment(Settings.of(said), service, said, NOW)


def states(found: Deployment) -> dict[str, str]:
    worst = {"good": 0, "warning": 1, "bad": 2}
    states = dict[str, str]()
    for one in examine(found):
        states[one.name] = max(
            states.get(one.name, "good"), one.state, key=worst.__getitem__
        )
    return states


def test_a_good_deployment_is_found_good(
    service: Service, entry_id: str, store: Path, tmp_path: Path
) -> None:
    service.checkpointer.step()
    found = states(
        deployment(
            service,
            store,
            tmp_path,
            OBLIGOR_DATA_KEY="0" * 64,
            OBLIGOR_SIGNING_KEY="0" * 64,
            OBLIGOR_ADMIN_KEY="k" * 40,
        )
    )
    assert found.pop("checkpoints") in ("good", "warning")  # tests have one disk
    assert set(found.values()) == {"good"}
    assert {"record", "champion", "rules", "ledger", "replay", "keys", "disk"} < set(
        found
    )


def test_what_is_wrong_with_a_deployment_is_found(
    service: Service, entry_id: str, store: Path, tmp_path: Path
) -> None:
    service.checkpointer.step()
    bad = deployment(
        service,
        store,
        tmp_path,
        OBLIGOR_ADMIN_KEY="short",
        BENTOML_CONTAINERIZED="true",
    )
    found = states(replace(bad, now=NOW + timedelta(days=30)))
    assert {found[name] for name in ("admin key", "environment")} == {"bad"}
    assert {found[name] for name in ("OBLIGOR_DATA_KEY", "ledger")} == {"warning"}
    key = store / "keys" / "release.key"
    key.chmod(0o644)
    assert states(bad)["key file"] == "bad"
    key.chmod(0o600)
    assert states(deployment(service, store, tmp_path))["keys"] == "bad"
    assert states(replace(bad, url="http://127.0.0.1:9"))["service"] == "bad"
    service.record.close()
    tamper(tmp_path / "record.db", ATTACKS["edit"].format(n=1, m=1, end=1), True)
    assert states(bad)["checkpoints"] == "bad"


def test_no_ledger_and_no_model_are_findings_of_their_own(
    service: Service, tmp_path: Path
) -> None:
    from obligor.data.store import LedgerStore
    from obligor.decisions.champion import ChampionLoader

    empty = replace(
        service,
        ledger=LedgerStore(f"sqlite:///{tmp_path}/l.db"),
        champions=ChampionLoader(tmp_path),
    )
    found = states(deployment(empty, tmp_path, tmp_path))
    assert (found["ledger"], found["champion"], found["rules"]) == (
        "bad",
        "bad",
        "good",
    )
