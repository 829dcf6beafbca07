"""The real BentoML server process: HTTP from outside, a restart, and the OpenAPI document by schemathesis."""

from __future__ import annotations

import json
import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance

from obligor.errors import ObligorError
from obligor.serving.process.launch import running_service
from obligor.training.runs.ledger_run import Trained

KEY = {"Authorization": "Bearer the-admin-key"}


@pytest.fixture(scope="module")
def environment(
    trained: Trained, store: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str]:
    record = tmp_path_factory.mktemp("record")
    url = f"sqlite:///{record}/record.db"
    return {
        **os.environ,
        "OBLIGOR_STORE": str(store),
        "OBLIGOR_RECORD_URL": url,
        "OBLIGOR_ADMIN_KEY": "the-admin-key",
        "OBLIGOR_CHECKPOINTS": str(record / "checkpoints"),
    }


@pytest.fixture(scope="module")
def url(
    environment: dict[str, str],
    ports: Iterator[int],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[str]:
    with running_service(
        environment, next(ports), tmp_path_factory.mktemp("log") / "service.log"
    ) as url:
        yield url


def test_it_lives_is_ready_and_decides(url: str) -> None:
    assert httpx.get(f"{url}/livez").status_code == 200
    assert httpx.get(f"{url}/readyz").status_code == 200
    response = httpx.post(
        f"{url}/v1/decisions", json={"customer_id": "C0000001"}, headers=KEY, timeout=20
    )
    assert response.status_code == 200
    answer = response.json()
    assert (
        httpx.get(f"{url}/v1/decisions/{answer['decision_id']}", headers=KEY).json()
        == answer
    )
    assert answer["recorded_at"].endswith("+00:00")


def test_errors_are_problems_over_the_wire_too(url: str) -> None:
    for method, path, status in (
        ("GET", "/v1/decisions/none", 404),
        ("GET", "/v1/nowhere", 404),
        ("GET", "/v1/decisions/a%0Ab", 404),
        ("GET", "/nowhere", 404),
        ("GET", "/docs.json", 404),
        ("PUT", "/v1/decisions", 405),
        ("POST", "/v1/decisions", 415),
    ):
        response = httpx.request(method, f"{url}{path}", headers=KEY)
        assert response.status_code == status
        assert response.headers["content-type"] == "application/problem+json"
        assert response.json()["status"] == status


def test_the_process_imports_nothing_that_only_training_needs(trained: Trained) -> None:
    import subprocess
    import sys

    unwanted = ("mlflow", "shap", "lightgbm", "sklearn", "matplotlib")
    code = f"import sys, obligor.serving.process.service; print([m for m in {unwanted} if m in sys.modules])"
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == "[]"


def test_every_answer_is_one_the_document_names(url: str) -> None:
    """schemathesis: generated requests, valid and not, against the served document."""
    schema = schemathesis.openapi.from_dict(
        httpx.get(f"{url}/v1/openapi.json", headers=KEY).json()
    )
    operations = [result.ok() for result in schema.get_all_operations()]
    assert len(operations) == 21
    calls = 0
    for operation in operations:

        @settings(
            max_examples=12,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy())
        def send(case: schemathesis.Case) -> None:
            nonlocal calls
            calls += 1
            # A document cannot say that an item's due date follows its issue: 422 is a right answer to valid JSON.
            case.call_and_validate(
                base_url=url, headers=KEY, excluded_checks=[positive_data_acceptance]
            )

        send()
    assert calls > 100


def test_the_record_outlives_the_process(
    environment: dict[str, str], ports: Iterator[int], tmp_path: Path
) -> None:
    record = {"OBLIGOR_RECORD_URL": f"sqlite:///{tmp_path}/record.db"}
    bodies = []
    for n in range(2):
        with running_service(
            {**environment, **record}, next(ports), tmp_path / f"{n}.log"
        ) as url:
            headers = {"Idempotency-Key": "one", **KEY}
            asked = {"customer_id": "C0000002"}
            bodies.append(
                httpx.post(
                    f"{url}/v1/decisions", json=asked, headers=headers, timeout=20
                ).content
            )
    assert bodies[0] == bodies[1]
    assert json.loads(bodies[0])["customer_id"] == "C0000002"


def test_without_a_champion_it_lives_but_is_not_ready(
    environment: dict[str, str], ports: Iterator[int], tmp_path: Path
) -> None:
    empty = {
        "OBLIGOR_STORE": str(tmp_path),
        "OBLIGOR_RECORD_URL": f"sqlite:///{tmp_path}/record.db",
    }
    with running_service(
        {**environment, **empty}, next(ports), tmp_path / "log"
    ) as url:
        assert httpx.get(f"{url}/readyz").status_code == 503
        response = httpx.post(
            f"{url}/v1/decisions",
            json={"customer_id": "C0000001"},
            headers=KEY,
            timeout=20,
        )
        assert response.status_code == 503
        assert response.json()["where"] == "registry"


def test_no_request_fails_while_the_model_is_swapped(
    environment: dict[str, str], store: Path, ports: Iterator[int], tmp_path: Path
) -> None:
    """Two versions of one model take turns under load; the benchmark does it 20 times."""
    mine = tmp_path / "store"
    shutil.copytree(store / "models", mine / "models")
    shutil.copy(store / "ledger.db", mine / "ledger.db")
    (mine / "keys").mkdir()
    shutil.copy(store / "keys" / "release.pem", mine / "keys" / "release.pem")
    pointer = json.loads((store / "champion.json").read_text())
    (mine / "champion.json").write_text(json.dumps(pointer))
    settings = {
        "OBLIGOR_STORE": str(mine),
        "OBLIGOR_RECORD_URL": f"sqlite:///{tmp_path}/record.db",
    }
    with (
        running_service(
            {**environment, **settings}, next(ports), tmp_path / "log"
        ) as url,
        httpx.Client(base_url=url, headers=KEY, timeout=20) as client,
    ):
        given = list[str]()
        for version in ("1", "2", "3"):
            written = mine / "next.json"
            written.write_text(json.dumps(pointer | {"version": version}))
            written.rename(mine / "champion.json")
            for n in range(3000):
                response = client.post(
                    "/v1/decisions", json={"customer_id": f"C{n % 100:07d}"}
                )
                assert response.status_code == 200, response.text
                given.append(response.json()["model"]["version"])
                if given[-1] == version:
                    break
        assert list(dict.fromkeys(given)) == ["1", "2", "3"]
        assert given == sorted(given)  # never back to an older one
        assert (
            given.count("1") + given.count("2") > 3
        )  # the old one answered while the new one was loaded
    log = (tmp_path / "log").read_text()
    assert "champion is version 3" in log
    assert log.count("POST /decisions ") == len(given)
    assert "C00000" not in log


def test_a_service_that_cannot_start_says_where_to_look(
    environment: dict[str, str], ports: Iterator[int], tmp_path: Path
) -> None:
    broken = {
        **environment,
        "OBLIGOR_RECORD_URL": f"sqlite:///{tmp_path}/no/where/record.db",
    }
    with (
        pytest.raises(ObligorError, match=r"service\.log: the service did not start"),
        running_service(broken, next(ports), tmp_path / "service.log", patience_s=12),
    ):
        pass


def test_a_port_in_use_is_the_last_word(
    environment: dict[str, str], ports: Iterator[int], tmp_path: Path
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", next(ports)))
        taken.listen()
        port = taken.getsockname()[1]
        with (
            pytest.raises(ObligorError, match="Address already in use"),
            running_service(environment, port, tmp_path / "service.log", patience_s=30),
        ):
            pass
