"""The real process against slow, loud and broken clients, and how it ends."""

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
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil
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
N_WORKERS = 2
N_CALLERS = 4


@dataclass
class Running:
    """A service with two workers that drains for two seconds."""

    port: int
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def send(self, data: bytes) -> socket.socket:
        """Return a connection on which data was sent."""
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=20)
        connection.sendall(data)
        return connection

    def answer(self, data: bytes) -> bytes:
        """Return everything the service answers until it closes."""
        answer = b""
        with closing(self.send(data)) as connection:
            while part := connection.recv(65_536):
                answer += part
        return answer

    def metrics(self) -> list[str]:
        """Return the lines of the metrics."""
        response = httpx.get(f"{self.url}/v1/metrics", headers=KEY, timeout=20)
        return response.text.splitlines()

    def workers_metric(self) -> str:
        """Return the line of the metrics that counts workers."""
        (line,) = [
            line for line in self.metrics() if line.startswith("obligor_workers ")
        ]
        return line

    def wait_for_workers(self, count: int) -> None:
        """Wait until the metrics count so many workers."""
        expected = f"obligor_workers {float(count)}"
        for _ in range(300):
            if self.workers_metric() == expected:
                return
            time.sleep(0.1)
        raise AssertionError(self.workers_metric())

    def workers(self) -> list[psutil.Process]:
        """Return the processes of the workers."""
        workers = []
        for child in psutil.Process(self.process.pid).children(recursive=True):
            command = child.cmdline()
            if "--worker-id" in command or "service-name" in " ".join(command):
                workers.append(child)
        return workers


@pytest.fixture(scope="module")
def running(
    trained: Trained,
    store: Path,
    ports: Iterator[int],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("wire")
    port = next(ports)
    log = folder / "service.log"
    environment = {
        **os.environ,
        "OBLIGOR_STORE": str(store),
        "OBLIGOR_RECORD_URL": f"sqlite:///{folder}/record.db",
        "OBLIGOR_CHECKPOINTS": str(folder / "checkpoints"),
        "OBLIGOR_ADMIN_KEY": "the-admin-key",
        "OBLIGOR_WORKERS": str(N_WORKERS),
        "OBLIGOR_DRAIN_S": "2",
    }
    options = ["--port", str(port), "--store", str(store)]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "obligor", "serve", *options],
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


def test_unfinished_requests_are_dropped_in_time(running: Running) -> None:
    beginnings = (
        b"",
        b"GET /livez HT",
        b"\r\n",
        b"GET /livez HTTP/1.1\r\nHost: x\r\nX-Slow: ",
    )
    with ExitStack() as stack:
        connections = [
            stack.enter_context(closing(running.send(beginning)))
            for beginning in beginnings
        ]
        for connection in connections:
            with suppress(ConnectionResetError):
                # Not dropped, this would be a timeout after 20 s.
                assert connection.recv(100) == b""


def test_a_trickle_of_bytes_does_not_keep_a_connection(running: Running) -> None:
    """A line feed now and then, between requests, is not a request."""
    request = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"
    with closing(running.send(request)) as connection:
        assert connection.recv(65_536).startswith(b"HTTP/1.1 200")
        with suppress(BrokenPipeError, ConnectionResetError):
            for _ in range(int(4 * HEAD_S / 0.5)):
                connection.sendall(b"\r\n")
                time.sleep(0.5)
            raise AssertionError("the connection was kept")


def test_too_many_connections_push_out_the_slowest(running: Running) -> None:
    beginning = b"GET /livez HTTP/1.1\r\n"
    with ExitStack() as stack:
        for _ in range(N_WORKERS * MOST_CONNECTIONS + 200):
            stack.enter_context(closing(running.send(beginning)))
        for _ in range(10):
            assert httpx.get(f"{running.url}/livez", timeout=5).status_code == 200


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"hello\r\n\r\n", b"400"),
        (b"GET /livez HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nX-Long: " + b"x" * (MOST_HEAD_BYTES + 1000), b"431"),
        (b"GET /" + b"x" * (MOST_HEAD_BYTES + 1000), b"431"),
    ],
    ids=["no HTTP", "no length", "long header", "long path"],
)
def test_broken_http_is_answered_with_a_problem(
    running: Running, data: bytes, status: bytes
) -> None:
    answer = running.answer(data)
    assert answer.startswith(b"HTTP/1.1 " + status), answer[:200]
    assert b"application/problem+json" in answer
    assert b"server:" not in answer.lower()


def test_a_body_above_its_cap_is_refused_while_it_arrives(running: Running) -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(200):
            yield b"x" * 65_536

    response = httpx.post(
        f"{running.url}/v1/decisions",
        content=endless(),
        headers={**KEY, "Content-Type": "application/json"},
        timeout=20,
    )
    assert response.status_code == 413


def test_forged_lines_and_unknown_paths_leave_no_trace(running: Running) -> None:
    n_before = len(running.metrics())
    forger = {**KEY, "User-Agent": "forged"}
    for number in range(50):
        forged = f"x%0d%0aINFO%20forged-{number}"
        httpx.get(f"{running.url}/v1/nowhere-{number}", headers=KEY)
        httpx.get(f"{running.url}/v1/decisions/{forged}", headers=KEY)
        httpx.get(f"{running.url}/forged-{number}%0aINFO", headers=forger)
    # One series with its buckets, and not one for each path.
    assert len(running.metrics()) - n_before < 40
    log = running.log.read_text()
    assert "forged" not in log
    assert "nowhere" not in log


def test_a_lost_worker_is_seen_and_replaced(running: Running) -> None:
    running.wait_for_workers(2)
    assert "obligor_workers_wanted 2.0" in running.metrics()
    first, *_ = running.workers()
    first.kill()
    running.wait_for_workers(1)
    running.wait_for_workers(2)


@dataclass
class LoadBalancer:
    """Callers of a service, which stop when `/readyz` fails."""

    url: str
    failures: list[str] = field(default_factory=list)
    n_answered: int = 0
    not_ready: threading.Event = field(default_factory=threading.Event)

    def threads(self) -> list[threading.Thread]:
        """Return the threads: one for each caller, and one that watches."""
        callers = [
            threading.Thread(target=self.call, args=(number,))
            for number in range(1, N_CALLERS + 1)
        ]
        return [*callers, threading.Thread(target=self.watch)]

    def call(self, number: int) -> None:
        """Ask the same question again and again."""
        question = {"customer_id": f"C{number:07d}"}
        with httpx.Client(base_url=self.url, headers=KEY, timeout=20) as client:
            while not self.not_ready.is_set():
                try:
                    response = client.post("/v1/decisions", json=question)
                except httpx.TransportError as error:
                    self.failures.append(repr(error))
                    return
                if response.status_code != 200:
                    self.failures.append(response.text)
                self.n_answered += 1

    def watch(self) -> None:
        """Wait until the service is not ready."""
        while httpx.get(f"{self.url}/readyz", timeout=20).status_code == 200:
            time.sleep(0.1)
        self.not_ready.set()


def test_sigterm_makes_it_unready_first_and_fails_no_request(running: Running) -> None:
    """Callers behind a load balancer lose nothing; this test ends the service."""
    balancer = LoadBalancer(running.url)
    threads = balancer.threads()
    for thread in threads:
        thread.start()
    time.sleep(1)
    running.process.send_signal(signal.SIGTERM)
    for thread in threads:
        thread.join(30)
    assert balancer.not_ready.is_set()
    assert balancer.failures == []
    assert balancer.n_answered >= N_CALLERS
    assert running.process.wait(30) == 0


def test_dead_workers_are_not_counted(tmp_path: Path) -> None:
    folder = tmp_path / "workers"
    registry = WorkerRegistry(folder)
    assert registry.count_alive() == 0
    folder.mkdir()
    (folder / "1234").touch()  # left by a process that was killed
    registry.join("5678")
    assert registry.count_alive() == 1
    assert [path.name for path in folder.iterdir()] == ["5678"]
