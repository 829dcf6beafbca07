"""The real BentoML process: HTTP from outside, restarts, its OpenAPI document."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance

from obligor.errors import ObligorError
from obligor.serving.process.launch import running_service
from obligor.training.runs.ledger_run import Trained
from tests.receivers import THIS_MACHINE, running_receiver

KEY = {"Authorization": "Bearer the-admin-key"}
QUESTION = {"customer_id": "C0000001"}
N_OPERATIONS = 24
MOST_QUESTIONS = 3000


@pytest.fixture(scope="module")
def environment(
    trained: Trained,
    store: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("record")
    return {
        **os.environ,
        "OBLIGOR_STORE": str(store),
        "OBLIGOR_RECORD_URL": f"sqlite:///{folder}/record.db",
        "OBLIGOR_ADMIN_KEY": "the-admin-key",
        "OBLIGOR_CHECKPOINTS": str(folder / "checkpoints"),
    }


@pytest.fixture(scope="module")
def url(
    environment: dict[str, str],
    ports: Iterator[int],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[str]:
    log = tmp_path_factory.mktemp("log") / "service.log"
    with running_service(environment, next(ports), log) as url:
        yield url


Serve = Callable[..., AbstractContextManager[str]]


@pytest.fixture
def serve(environment: dict[str, str], ports: Iterator[int], tmp_path: Path) -> Serve:
    """Run a service of its own, with a record of its own and further settings."""

    def serve(patience_s: float = 90, **more: str) -> AbstractContextManager[str]:
        record = {"OBLIGOR_RECORD_URL": f"sqlite:///{tmp_path}/record.db"}
        own = {**environment, **record, **more}
        log = tmp_path / "service.log"
        return running_service(
            own,
            next(ports),
            log,
            patience_s,
        )

    return serve


def ask(url: str, **headers: str) -> httpx.Response:
    """Ask for a decision."""
    return httpx.post(
        f"{url}/v1/decisions",
        json=QUESTION,
        headers={**KEY, **headers},
        timeout=20,
    )


def test_it_is_alive_and_ready(url: str) -> None:
    assert httpx.get(f"{url}/livez").status_code == 200
    assert httpx.get(f"{url}/readyz").status_code == 200


def test_it_decides_and_records(url: str) -> None:
    response = ask(url)
    assert response.status_code == 200
    answer = response.json()
    path = f"{url}/v1/decisions/{answer['decision_id']}"
    assert httpx.get(path, headers=KEY).json() == answer
    assert answer["recorded_at"].endswith("+00:00")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/decisions/none", 404),
        ("GET", "/v1/nowhere", 404),
        ("GET", "/v1/decisions/a%0Ab", 404),
        ("GET", "/nowhere", 404),
        ("GET", "/docs.json", 404),
        ("PUT", "/v1/decisions", 405),
        ("POST", "/v1/decisions", 415),
    ],
)
def test_errors_are_problems(
    url: str,
    method: str,
    path: str,
    status: int,
) -> None:
    response = httpx.request(method, f"{url}{path}", headers=KEY)
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["status"] == status


def test_it_imports_nothing_that_only_training_needs(trained: Trained) -> None:
    code = """
import sys, obligor.serving.process.service
unwanted = ("mlflow", "shap", "lightgbm", "sklearn", "matplotlib")
print([name for name in unwanted if name in sys.modules])
"""
    result = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.strip() == "[]"


def test_every_answer_is_in_the_openapi_document(url: str) -> None:
    """Send generated requests, valid and not, against the served document."""
    document = httpx.get(f"{url}/v1/openapi.json", headers=KEY).json()
    schema = schemathesis.openapi.from_dict(document)
    operations = [result.ok() for result in schema.get_all_operations()]
    assert len(operations) == N_OPERATIONS
    n_calls = 0
    for operation in operations:

        @settings(
            max_examples=12,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy())
        def send(case: schemathesis.Case) -> None:
            nonlocal n_calls
            n_calls += 1
            # A document cannot say that a due date follows its issue date: 422 is a
            # right answer to JSON of the right shape.
            case.call_and_validate(
                base_url=url,
                headers=KEY,
                excluded_checks=[positive_data_acceptance],
            )

        send()
    assert n_calls > 100


def test_the_record_outlives_the_process(serve: Serve) -> None:
    answers = []
    for _ in range(2):
        with serve() as url:
            answers.append(ask(url, **{"Idempotency-Key": "one"}).content)
    assert answers[0] == answers[1]
    assert json.loads(answers[0])["customer_id"] == QUESTION["customer_id"]


def test_without_a_champion_it_is_alive_but_not_ready(
    serve: Serve, tmp_path: Path
) -> None:
    with serve(OBLIGOR_STORE=str(tmp_path)) as url:
        assert httpx.get(f"{url}/readyz").status_code == 503
        response = ask(url)
        assert response.status_code == 503
        assert response.json()["where"] == "registry"


# --- changing the champion


@dataclass
class Champions:
    """A store whose pointer names one model as several versions."""

    store: Path

    def __post_init__(self) -> None:
        self.pointer = json.loads((self.store / "champion.json").read_text())

    def point_to(self, version: str) -> None:
        """Name a version as the champion."""
        draft = self.store / "next.json"
        draft.write_text(json.dumps({**self.pointer, "version": version}))
        draft.rename(self.store / "champion.json")


@pytest.fixture
def champions(trained: Trained, store: Path, tmp_path: Path) -> Champions:
    own_store = tmp_path / "store"
    (own_store / "keys").mkdir(parents=True)
    shutil.copytree(store / "models", own_store / "models")
    for name in ("ledger.db", "keys/release.pem", "champion.json"):
        shutil.copy(store / name, own_store / name)
    return Champions(own_store)


def versions_until(client: httpx.Client, version: str) -> Iterator[str]:
    """Ask until a version answers; yield the version of each answer."""
    for number in range(MOST_QUESTIONS):
        question = {"customer_id": f"C{number % 100:07d}"}
        response = client.post("/v1/decisions", json=question)
        assert response.status_code == 200, response.text
        answering = response.json()["model"]["version"]
        yield answering
        if answering == version:
            return


def test_no_request_fails_while_the_champion_changes(
    serve: Serve, champions: Champions, tmp_path: Path
) -> None:
    """Three versions take turns; the benchmark does it 20 times, under load."""
    versions = list[str]()
    with (
        serve(OBLIGOR_STORE=str(champions.store)) as url,
        httpx.Client(base_url=url, headers=KEY, timeout=20) as client,
    ):
        for version in ("1", "2", "3"):
            champions.point_to(version)
            versions += versions_until(client, version)
    assert list(dict.fromkeys(versions)) == ["1", "2", "3"]
    # It never goes back to an older one.
    assert versions == sorted(versions)
    # The old one answers while the new one is loaded.
    assert versions.count("1") + versions.count("2") > 3
    log = (tmp_path / "service.log").read_text()
    assert "champion is version 3" in log
    assert log.count("POST /decisions ") == len(versions)
    assert "C00000" not in log


# --- failing to start


def test_a_service_that_cannot_start_says_where_to_look(
    serve: Serve, tmp_path: Path
) -> None:
    nowhere = f"sqlite:///{tmp_path}/no/where/record.db"
    with (
        pytest.raises(ObligorError, match=r"service\.log: the service did not start"),
        serve(patience_s=12, OBLIGOR_RECORD_URL=nowhere),
    ):
        pass


def test_a_port_in_use_is_named_in_the_error(
    environment: dict[str, str], ports: Iterator[int], tmp_path: Path
) -> None:
    log = tmp_path / "service.log"
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", next(ports)))
        listener.listen()
        _, port = listener.getsockname()
        with (
            pytest.raises(ObligorError, match="Address already in use"),
            running_service(environment, port, log, patience_s=30),
        ):
            pass


# --- webhooks


def pids_of_delivery(folder: Path) -> list[int]:
    """Return the processes that deliver webhooks of a store, by their command line."""
    pids = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if b"--supervised" in words and str(folder).encode() in words:
            pids.append(int(path.parent.name))
    return pids


def test_a_process_of_the_service_delivers_webhooks(
    serve: Serve,
    environment: dict[str, str],
    store: Path,
    tmp_path: Path,
) -> None:
    """It is started by the service, started again if it is killed, and ends with it."""
    settings = {
        "OBLIGOR_RECORD_URL": f"sqlite:///{tmp_path}/record.db",
        "OBLIGOR_WEBHOOK_NETWORKS": THIS_MACHINE,
    }
    with running_receiver() as receiver:
        command = [sys.executable, "-m", "obligor", "webhooks", "add", receiver.url]
        added = subprocess.run(
            [*command, "--events", "obligor.limit.changed"],
            env={**environment, **settings},
            capture_output=True,
            text=True,
            check=True,
        )
        receiver.secret = added.stdout.split()[3]
        with serve(**settings) as url:
            answer = ask(url).json()
            receiver.wait_for(1)
            assert receiver.ids() == [f"{answer['decision_id']}-limit-changed"]
            assert receiver.deliveries[0].is_signed
            (pid,) = pids_of_delivery(store)
            os.kill(pid, signal.SIGKILL)
            question = {"customer_id": "C0000002"}
            second = httpx.post(f"{url}/v1/decisions", json=question, headers=KEY)
            receiver.wait_for_id(f"{second.json()['decision_id']}-limit-changed")
            ready = httpx.get(f"{url}/readyz").json()
            assert ready["is_ready"]
            assert set(ready["outbox"]) == {"oldest_s", "waiting", "dead"}
            metrics = httpx.get(f"{url}/v1/metrics", headers=KEY).text
            assert "obligor_webhook_endpoints 1.0" in metrics
        deadline = time.monotonic() + 30
        while pids_of_delivery(store):
            assert time.monotonic() < deadline
            time.sleep(0.1)


def test_without_endpoints_nothing_is_started(url: str, store: Path) -> None:
    ask(url)
    assert httpx.get(f"{url}/readyz").json() == {"is_ready": True, "outbox": None}
    assert pids_of_delivery(store) == []
