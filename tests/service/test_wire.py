"""The real process against callers that are slow, loud or no callers at all, and how it ends."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from obligor.serving.process.connections import (
    HEAD_S,
    MOST_CONNECTIONS,
    MOST_HEAD_BYTES,
)
from obligor.serving.process.launch import stop, wait
from obligor.serving.process.workers import WorkerRegistry
from obligor.training.runs.ledger_run import Trained

KEY = {"Authorization": "Bearer the-admin-key"}


@dataclass
class Running:
    """A service with two workers that drains for two seconds."""

    port: int
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def sent(self, data: bytes) -> socket.socket:
        """A connection on which something was sent."""
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=20)
        connection.sendall(data)
        return connection

    def answer(self, data: bytes) -> bytes:
        """All that comes back until the service closes."""
        with closing(self.sent(data)) as connection:
            found = b""
            while part := connection.recv(65_536):
                found += part
            return found

    def metrics(self) -> str:
        return httpx.get(f"{self.url}/v1/metrics", headers=KEY, timeout=20).text


@pytest.fixture(scope="module")
def running(
    trained: Trained,
    store: Path,
    ports: Iterator[int],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Running]:
    folder, port = tmp_path_factory.mktemp("wire"), next(ports)
    log = folder / "service.log"
    environment = {
        **os.environ,
        "OBLIGOR_STORE": str(store),
        "OBLIGOR_RECORD_URL": f"sqlite:///{folder}/record.db",
        "OBLIGOR_CHECKPOINTS": str(folder / "checkpoints"),
        "OBLIGOR_ADMIN_KEY": "the-admin-key",
        "OBLIGOR_WORKERS": "2",
        "OBLIGOR_DRAIN_S": "2",
    }
    with log.open("wb") as output:
        command = [
            sys.executable,
            "-m",
            "obligor",
            "serve",
            "--port",
            str(port),
            "--store",
            store,
        ]
        process = subprocess.Popen(
            command,
            env=environment,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    running = Running(port, process, log)
    try:
        wait(running.url, process, log, 90)
        yield running
    finally:
        stop(process)


def test_who_does_not_finish_a_request_in_time_is_dropped(running: Running) -> None:
    beginnings = (
        b"",
        b"GET /livez HT",
        b"\r\n",
        b"GET /livez HTTP/1.1\r\nHost: x\r\nX-Slow: ",
    )
    with ExitStack() as stack:
        slow = [stack.enter_context(closing(running.sent(data))) for data in beginnings]
        for connection in slow:
            with suppress(ConnectionResetError):
                assert connection.recv(100) == b""  # after 20 s this would be a timeout


def test_drops_that_keep_coming_do_not_keep_a_connection(running: Running) -> None:
    """A line feed now and then, between requests, is not a request."""
    with closing(running.sent(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")) as connection:
        assert connection.recv(65_536).startswith(b"HTTP/1.1 200")
        with suppress(BrokenPipeError, ConnectionResetError):
            for _ in range(int(4 * HEAD_S / 0.5)):
                connection.sendall(b"\r\n")
                time.sleep(0.5)
            raise AssertionError("it was kept")


def test_more_connections_than_there_may_be_push_out_the_slowest(
    running: Running,
) -> None:
    with ExitStack() as stack:
        for _ in range(2 * MOST_CONNECTIONS + 200):  # two workers
            stack.enter_context(closing(running.sent(b"GET /livez HTTP/1.1\r\n")))
        for _ in range(10):
            assert httpx.get(f"{running.url}/livez", timeout=5).status_code == 200


def test_what_is_no_http_or_too_much_of_it_is_a_problem(running: Running) -> None:
    for data, status in (
        (b"hello\r\n\r\n", b"400"),
        (b"GET /livez HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nX-Long: " + b"x" * (MOST_HEAD_BYTES + 1000), b"431"),
        (b"GET /" + b"x" * (MOST_HEAD_BYTES + 1000), b"431"),
    ):
        answer = running.answer(data)
        assert answer.startswith(b"HTTP/1.1 " + status), answer[:200]
        assert b"application/problem+json" in answer
        assert b"server:" not in answer.lower()


def test_a_body_above_its_cap_is_refused_while_it_comes(running: Running) -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(200):
            yield b"x" * 65_536

    headers = {**KEY, "Content-Type": "application/json"}
    response = httpx.post(
        f"{running.url}/v1/decisions", content=endless(), headers=headers, timeout=20
    )
    assert response.status_code == 413


def test_forged_lines_and_unknown_paths_leave_no_trace(running: Running) -> None:
    before = running.metrics()
    for n in range(50):
        httpx.get(f"{running.url}/v1/nowhere-{n}", headers=KEY)
        httpx.get(f"{running.url}/v1/decisions/x%0d%0aINFO%20forged-{n}", headers=KEY)
        httpx.get(
            f"{running.url}/forged-{n}%0aINFO", headers={**KEY, "User-Agent": "forged"}
        )
    assert (
        len(running.metrics().splitlines()) - len(before.splitlines()) < 40
    )  # of one series with its buckets
    log = running.log.read_text()
    assert "forged" not in log
    assert "nowhere" not in log


def test_a_lost_worker_is_seen_and_replaced(running: Running) -> None:
    def alive() -> str:
        return next(
            line
            for line in running.metrics().splitlines()
            if line.startswith("obligor_workers ")
        )

    def until(expected: str) -> None:
        for _ in range(300):
            if alive() == expected:
                return
            time.sleep(0.1)
        raise AssertionError(alive())

    until("obligor_workers 2.0")
    assert "obligor_workers_wanted 2.0" in running.metrics()
    import psutil

    one, *_ = (
        child
        for child in psutil.Process(running.process.pid).children(recursive=True)
        if "--worker-id" in child.cmdline()
        or "service-name" in " ".join(child.cmdline())
    )
    one.kill()
    until("obligor_workers 1.0")
    until("obligor_workers 2.0")


def test_told_to_end_it_is_unready_first_and_fails_nobody(running: Running) -> None:
    """Callers that stop when `/readyz` fails, as a load balancer does, lose nothing."""
    failed, answered, told = list[object](), [0], threading.Event()

    def call(n: int) -> None:
        with httpx.Client(base_url=running.url, headers=KEY, timeout=20) as client:
            while not told.is_set():
                try:
                    response = client.post(
                        "/v1/decisions", json={"customer_id": f"C{n:07d}"}
                    )
                except httpx.TransportError as error:
                    failed.append(error)
                    return
                failed.extend([response.text] if response.status_code != 200 else [])
                answered[0] += 1

    def balance() -> None:
        while httpx.get(f"{running.url}/readyz", timeout=20).status_code == 200:
            time.sleep(0.1)
        told.set()

    callers = [threading.Thread(target=call, args=(n,)) for n in range(1, 5)]
    balancer = threading.Thread(target=balance)
    for thread in (*callers, balancer):
        thread.start()
    time.sleep(1)
    running.process.send_signal(signal.SIGTERM)
    for thread in (*callers, balancer):
        thread.join(30)
    assert told.is_set()
    assert failed == []
    assert answered[0] >= len(callers)
    assert running.process.wait(30) == 0


def test_who_died_is_not_counted(tmp_path: Path) -> None:
    crew = WorkerRegistry(tmp_path / "crew")
    assert crew.count_alive() == 0
    (tmp_path / "crew").mkdir()
    (tmp_path / "crew" / "1234").touch()  # left by a process that was killed
    crew.join("5678")
    assert crew.count_alive() == 1
    assert [path.name for path in (tmp_path / "crew").iterdir()] == ["5678"]
