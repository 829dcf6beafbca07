"""The evidence about a decision in one zip, and the doctor's checks of a deployment."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import zipfile
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from obligor.data.store import LedgerStore
from obligor.decisions.champion import ChampionLoader
from obligor.errors import ErasedError, RecordError, SchemaError
from obligor.record.retention import erase
from obligor.serving.assembly import Service
from obligor.serving.operations.doctor import Check, Deployment, examine
from obligor.serving.settings import Settings
from obligor.signing import public_key, signature_is_valid
from tests.conftest import NOW
from tests.service.test_audit import ATTACKS, tamper


@pytest.fixture
def entry_id(client: TestClient) -> str:
    body = {
        "customer_id": "C0000002",
        "request": {"amount": "90000000.00", "currency": "EUR"},
    }
    return str(client.post("/decisions", json=body).json()["decision_id"])


# --- the zip


@pytest.fixture
def unpacked(service: Service, entry_id: str, tmp_path: Path) -> Path:
    """The folder of an unpacked zip of evidence."""
    folder = tmp_path / "evidence"
    content = io.BytesIO(service.evidence.collect(entry_id))
    zipfile.ZipFile(content).extractall(folder)
    return folder


def read_json(path: Path) -> Any:
    return json.loads(path.read_bytes())


def test_the_manifest_covers_every_file(unpacked: Path) -> None:
    manifest = read_json(unpacked / "manifest.json")
    paths = [path for path in unpacked.rglob("*") if path.is_file()]
    names = {path.relative_to(unpacked).as_posix() for path in paths}
    assert {*manifest, "manifest.json", "manifest.sig"} == names
    for name, hash_ in manifest.items():
        assert sha256((unpacked / name).read_bytes()).hexdigest() == hash_, name


def test_the_manifest_is_signed(service: Service, unpacked: Path) -> None:
    key = public_key(service.signer.public, "the service's key")
    signature = bytes.fromhex((unpacked / "manifest.sig").read_text())
    manifest = (unpacked / "manifest.json").read_bytes()
    assert signature_is_valid(key, signature, manifest)


def test_the_evidence_holds_the_answer_and_its_replay(
    service: Service, entry_id: str, unpacked: Path
) -> None:
    answer = service.answers.recorded_answer(entry_id)
    assert (unpacked / "decision.json").read_text() == answer.body
    assert read_json(unpacked / "replay.json")["is_equal"] is True


def test_the_proof_is_checked_without_our_code(unpacked: Path) -> None:
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
    process = subprocess.run(
        command, cwd=unpacked, capture_output=True, text=True, check=True
    )
    assert "the receipt of" in process.stdout


def test_the_evidence_holds_model_and_rules(unpacked: Path) -> None:
    model_sha256 = read_json(unpacked / "decision.json")["model"]["sha256"]
    manifest = (unpacked / "model" / "manifest.json").read_bytes()
    assert sha256(manifest).hexdigest() == model_sha256
    model_card = (unpacked / "model" / "model_card.md").read_text()
    assert "horizon of the PD: 365 days" in model_card
    assert (unpacked / "rules" / "hard_stops.yaml").exists()


def test_the_page_shows_the_decision(unpacked: Path) -> None:
    page = (unpacked / "decision.html").read_text()
    model_sha256 = read_json(unpacked / "decision.json")["model"]["sha256"]
    assert "<script" not in page
    for text in ("Decision", "refer", "Rules that fired", model_sha256):
        assert text in page


def test_the_same_decision_gives_the_same_evidence(
    service: Service, entry_id: str
) -> None:
    evidence = service.evidence.collect(entry_id)
    assert service.evidence.collect(entry_id) == evidence


def test_an_order_check_has_evidence_too(client: TestClient, service: Service) -> None:
    order = {"customer_id": "C0000002", "order": {"amount": "9.00", "currency": "EUR"}}
    entry_id = client.post("/orders/check", json=order).json()["decision_id"]
    content = io.BytesIO(service.evidence.collect(entry_id))
    names = zipfile.ZipFile(content).namelist()
    assert {"decision.html", "replay.json", "proof.json"} < set(names)
    assert "notice.txt" not in names


def test_evidence_never_replaces_a_file(
    service: Service, entry_id: str, tmp_path: Path
) -> None:
    service.evidence.write(entry_id, tmp_path / "e.zip")
    with pytest.raises(RecordError, match="exists already"):
        service.evidence.write(entry_id, tmp_path / "e.zip")


def test_a_contact_has_no_evidence(client: TestClient, service: Service) -> None:
    contact = {
        "customer_id": "C0000002",
        "by": "C",
        "channel": "mail",
        "outcome": "reached",
    }
    contact_id = client.post("/contacts", json=contact).json()["contact_id"]
    with pytest.raises(SchemaError, match="a contact is not computed"):
        service.evidence.collect(contact_id)


def test_an_erased_customer_has_no_evidence(service: Service, entry_id: str) -> None:
    erase(service.record, "C0000002", "asked", NOW, "e-1")
    with pytest.raises(ErasedError):
        service.evidence.collect(entry_id)


# --- the doctor


def deployment(
    service: Service, store: Path, tmp_path: Path, **environment: str
) -> Deployment:
    variables = {
        "OBLIGOR_STORE": str(store),
        "OBLIGOR_CHECKPOINTS": str(tmp_path / "checkpoints"),
        **environment,
    }
    return Deployment(Settings.of(variables), service, variables, NOW)


def states(deployment: Deployment) -> dict[str, str]:
    """The worst state of each check."""
    severity = {"good": 0, "warning": 1, "bad": 2}
    states = dict[str, str]()
    for check in examine(deployment):
        both = (states.get(check.name, "good"), check.state)
        states[check.name] = max(both, key=severity.__getitem__)
    return states


def test_a_good_deployment_is_found_good(
    service: Service, entry_id: str, store: Path, tmp_path: Path
) -> None:
    service.checkpointer.step()
    good = deployment(
        service,
        store,
        tmp_path,
        OBLIGOR_DATA_KEY="0" * 64,
        OBLIGOR_SIGNING_KEY="0" * 64,
        OBLIGOR_ADMIN_KEY="k" * 40,
    )
    checks = states(good)
    # The base rate of Austria is on file up to two days before.
    assert checks.pop("reference rates") == "warning"
    # Here store and checkpoints are on one disk.
    assert checks.pop("checkpoints") in ("good", "warning")
    assert set(checks.values()) == {"good"}
    expected = {"record", "champion", "rules", "ledger", "replay", "keys", "disk"}
    assert expected < set(checks)


@pytest.fixture
def bad_deployment(
    service: Service, entry_id: str, store: Path, tmp_path: Path
) -> Deployment:
    service.checkpointer.step()
    return deployment(
        service,
        store,
        tmp_path,
        OBLIGOR_ADMIN_KEY="short",
        BENTOML_CONTAINERIZED="true",
    )


def test_a_dangerous_environment_is_found(bad_deployment: Deployment) -> None:
    checks = states(bad_deployment)
    assert checks["admin key"] == "bad"
    assert checks["environment"] == "bad"


def test_keys_in_the_store_and_an_old_ledger_are_warnings(
    bad_deployment: Deployment,
) -> None:
    later = replace(bad_deployment, now=NOW + timedelta(days=30))
    checks = states(later)
    assert checks["OBLIGOR_DATA_KEY"] == "warning"
    assert checks["ledger"] == "warning"


@pytest.mark.parametrize(
    ("now", "ended"),
    [
        (datetime(2024, 12, 31, 12, tzinfo=UTC), []),
        (datetime(2026, 11, 26, 12, tzinfo=UTC), ["oenb", "lpr_1y"]),
        (
            datetime(2027, 1, 1, 12, tzinfo=UTC),
            ["oenb", "lpr_1y", "ecb", "bundesbank", "boe"],
        ),
    ],
)
def test_reference_rates_that_are_older_than_half_a_year_are_found(
    untrained_service: Service, tmp_path: Path, now: datetime, ended: list[str]
) -> None:
    checks = rate_checks(deployment(untrained_service, tmp_path, tmp_path), now)
    if not ended:
        assert [check.state for check in checks] == ["good"]
    warned = [check.detail.split(" ")[0] for check in checks if check.do]
    assert sorted(warned) == sorted(ended)


def test_a_rulebook_without_rates_by_half_year_is_found(
    untrained_service: Service, tmp_path: Path
) -> None:
    old = datetime(2023, 12, 30, 12, tzinfo=UTC)
    (check,) = rate_checks(deployment(untrained_service, tmp_path, tmp_path), old)
    assert check.state == "warning"
    assert "2000-01-01 has no rates by half-year" in check.detail


def rate_checks(deployment: Deployment, now: datetime) -> list[Check]:
    """What the doctor says of reference rates at a time."""
    checks = examine(replace(deployment, now=now))
    return [check for check in checks if check.name == "reference rates"]


def test_a_key_that_others_can_read_is_found(
    bad_deployment: Deployment, store: Path
) -> None:
    key = store / "keys" / "release.key"
    key.chmod(0o644)
    assert states(bad_deployment)["key file"] == "bad"
    key.chmod(0o600)


def test_a_service_without_keys_or_answer_is_found(
    bad_deployment: Deployment, service: Service, store: Path, tmp_path: Path
) -> None:
    assert states(deployment(service, store, tmp_path))["keys"] == "bad"
    unreachable = replace(bad_deployment, url="http://127.0.0.1:9")
    assert states(unreachable)["service"] == "bad"


def test_a_changed_record_is_found(
    bad_deployment: Deployment, service: Service, tmp_path: Path
) -> None:
    service.record.close()
    tamper(tmp_path / "record.db", ATTACKS["edit"].format(n=1, m=1, end=1), True)
    assert states(bad_deployment)["checkpoints"] == "bad"


def test_a_missing_ledger_and_a_missing_model_are_found(
    service: Service, tmp_path: Path
) -> None:
    empty = replace(
        service,
        ledger=LedgerStore(f"sqlite:///{tmp_path}/l.db"),
        champions=ChampionLoader(tmp_path),
    )
    checks = states(deployment(empty, tmp_path, tmp_path))
    assert checks["ledger"] == "bad"
    assert checks["champion"] == "bad"
    assert checks["rules"] == "good"
