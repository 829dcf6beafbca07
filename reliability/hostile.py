"""Everything a hostile client sends to the real process, and what it may cost.

    python reliability/hostile.py --json

A body of 500 MB, with its length and in pieces; 2,500 connections that never finish;
10,000 unknown paths; line feeds in paths and headers; every wrong media type on every
route; 2,500 generated requests (schemathesis, all checks); a canary in every personal
field and header, which must not be in the log.
"""

from __future__ import annotations

import http.client
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1]))

import httpx
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance

from benchmarks.bars import bar, report
from obligor.serving.api.openapi import OPERATIONS
from reliability.running import (
    HEADERS,
    KEY,
    argument_parser,
    environment_of,
    prepare,
    running,
    worker_ids,
    workers,
)

PORT = 24_960
URL = f"http://127.0.0.1:{PORT}"
ADDRESS = ("127.0.0.1", PORT)
GENERATED = 2500
SLOW_CONNECTIONS = 2500
UNKNOWN_PATHS = 10_000
PIECE_BYTES = 1_000_000
PIECES = 500
CANARY = "CANARY-7f3a"
FORGERY = "FORGED"
MEDIA_TYPES = (
    "application/x-www-form-urlencoded",
    "text/plain",
    "multipart/form-data; boundary=x",
    "multipart/form-data",
    "application/octet-stream",
    "application/vnd.bentoml+pickle",
    "",
)
# Line feeds, a line separator and an escape sequence, percent-encoded.
FORGED_TEXTS = (
    f"%0aINFO {FORGERY}",
    f"%0d%0aINFO {FORGERY}",
    f"%e2%80%a8{FORGERY}",
    f"%1b[2J{FORGERY}",
)
FORGED_HEADS = (
    b"X: a\r\n FORGED",
    b"X: a\rFORGED",
    b"X: a\nFORGED: b",
    b"FORGED\x00: x",
)
Json = dict[str, Any]
Bars = list[Json]


class Refusal(NamedTuple):
    """How a body was refused: its status, 0 for a closed connection, and how fast."""

    status: int
    seconds: float


def memory_mb(process: subprocess.Popen[bytes]) -> float:
    """Return the memory of the workers, in MB."""
    return sum(worker.memory_info().rss for worker in workers(process)) / 1e6


def send_500_mb(is_chunked: bool) -> Refusal:
    """Send a body of 500 MB until it is refused."""
    connection = http.client.HTTPConnection(*ADDRESS, timeout=60)
    connection.putrequest("POST", "/v1/decisions")
    connection.putheader("Content-Type", "application/json")
    connection.putheader("Authorization", f"Bearer {KEY}")
    if is_chunked:
        connection.putheader("Transfer-Encoding", "chunked")
    else:
        connection.putheader("Content-Length", str(PIECES * PIECE_BYTES))
    connection.endheaders()
    piece = b"x" * PIECE_BYTES
    if is_chunked:
        piece = b"%x\r\n%s\r\n" % (len(piece), piece)
    started = time.monotonic()
    try:
        for _ in range(PIECES):
            connection.send(piece)
    except (BrokenPipeError, ConnectionResetError):
        pass
    try:
        status = connection.getresponse().status
    except (ConnectionResetError, http.client.HTTPException):
        status = 0
    finally:
        connection.close()
    return Refusal(status, time.monotonic() - started)


def large_bodies(process: subprocess.Popen[bytes]) -> Bars:
    """Bodies of 500 MB are refused at once, at no cost."""
    before = memory_mb(process)
    with_length = [send_500_mb(is_chunked=False) for _ in range(3)]
    in_pieces = [send_500_mb(is_chunked=True) for _ in range(3)]
    refusals = with_length + in_pieces
    growth = memory_mb(process) - before
    n_refused = sum(refusal.status in (413, 0) for refusal in refusals)
    n_answered = sum(refusal.status == 413 for refusal in refusals)
    slowest = max(refusal.seconds for refusal in refusals)
    print(f"500 MB: {refusals}", file=sys.stderr)
    return [
        bar("500 MB bodies refused, of 6", n_refused, 6, n_refused == 6),
        bar("  of them answered with 413", n_answered, 3, n_answered >= 3),
        bar("  seconds to the slowest refusal", slowest, 1, slowest <= 1),
        bar("  memory grown, MB", growth, 20, growth <= 20),
    ]


def slow_connections() -> Bars:
    """Connections begin a head and send a byte now and then; `/livez` must answer."""
    slow = list[socket.socket]()
    n_failed = 0
    slowest = 0.0
    for number in range(1, SLOW_CONNECTIONS + 1):
        connection = socket.create_connection(ADDRESS, timeout=20)
        connection.sendall(b"GET /v1/cases HTTP/1.1\r\nHost: x\r\nX-Slow: ")
        slow.append(connection)
        if number % 250 == 0:
            for _ in range(2):
                started = time.monotonic()
                n_failed += not is_alive()
                slowest = max(slowest, time.monotonic() - started)
            send_a_byte(slow)
    for connection in slow:
        connection.close()
    title = "/livez not answered among 2,500 slow connections"
    return [
        bar(title, n_failed, 0, n_failed == 0),
        bar("  seconds to its slowest answer", slowest, 1, slowest <= 1),
    ]


def is_alive() -> bool:
    """Return whether `/livez` answers."""
    try:
        return httpx.get(f"{URL}/livez", timeout=10).status_code == 200
    except httpx.HTTPError:
        return False


def send_a_byte(connections: list[socket.socket]) -> None:
    """Send a byte on each connection that was not dropped."""
    for connection in connections:
        try:
            connection.sendall(b"x")
        except OSError:
            continue


def unknown_paths(client: httpx.Client) -> Bars:
    """However many paths there are, the metrics do not grow with them."""

    def series() -> set[str]:
        names = set()
        for line in client.get("/v1/metrics").text.splitlines():
            if line.startswith("obligor_requests_total"):
                name, _ = line.rsplit(" ", 1)
                names.add(name)
        return names

    before = series()
    for number in range(UNKNOWN_PATHS):
        is_ours = number % 2 == 1
        client.get(f"/v1/{number}/unknown" if is_ours else f"/unknown-{number}")
    n_new = len(series() - before)
    title = "metric series more after 10,000 unknown paths"
    return [bar(title, n_new, 5, n_new <= 5)]


def forged_lines(client: httpx.Client, log: Path) -> Bars:
    """Line feeds in paths, queries and headers forge no line of the log."""
    headers = {
        "User-Agent": FORGERY,
        "X-Request-Id": FORGERY,
        "Idempotency-Key": FORGERY,
    }
    for text in FORGED_TEXTS:
        client.get(f"/v1/decisions/{text}", headers=headers)
        client.get(f"/{text}", headers=headers)
        client.get(f"/v1/cases?x={text}", headers=headers)
        client.get(f"/v1/customers/{text}/decisions", headers=headers)
    for head in FORGED_HEADS:
        with socket.create_connection(ADDRESS, timeout=20) as connection:
            request = b"GET /v1/cases HTTP/1.1\r\nHost: x\r\n" + head + b"\r\n\r\n"
            connection.sendall(request)
            connection.recv(1000)
    n_forged = log.read_text().count(FORGERY)
    return [bar("forged words in the log", n_forged, 0, n_forged == 0)]


def wrong_media_types(client: httpx.Client) -> Bars:
    """Every route accepts JSON only."""
    n_sent = 0
    n_accepted = 0
    for operation in OPERATIONS:
        if operation.method != "post" or not operation.body:
            continue
        url = operation.path.replace("{case_id}", "x").replace("{decision_id}", "x")
        for media_type in MEDIA_TYPES:
            response = client.post(
                f"/v1{url}",
                content=b"{}",
                headers={"Content-Type": media_type},
            )
            n_sent += 1
            n_accepted += response.status_code != 415
    title = f"wrong media types of {n_sent} not refused"
    return [bar(title, n_accepted, 0, n_accepted == 0)]


def generated_requests(client: httpx.Client) -> Bars:
    """Send valid and invalid requests to every operation, with every check there is."""
    schema = schemathesis.openapi.from_dict(client.get("/v1/openapi.json").json())
    operations = [result.ok() for result in schema.get_all_operations()]
    n_calls = 0
    failures = list[str]()
    for number, operation in enumerate(operations, start=1):

        @settings(
            max_examples=GENERATED // len(operations) + 1,
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
                base_url=URL,
                headers=HEADERS,
                excluded_checks=[positive_data_acceptance],
            )

        try:
            while n_calls < GENERATED * number // len(operations):
                before = n_calls
                send()
                # Few calls: there are no more kinds of requests to this operation.
                if n_calls - before < 5:
                    break
        except Exception as error:
            failure = f"{operation.label}: {type(error).__name__}: {error}"
            failures.append(failure[:500])
    print(*failures, sep="\n", file=sys.stderr)
    return [
        bar("generated requests", n_calls, GENERATED, n_calls >= GENERATED),
        bar("  operations that failed a check", len(failures), 0, not failures),
    ]


def canary_requests() -> Iterator[tuple[str, Json]]:
    """Yield requests with the canary in every field that may name a person."""
    contact = {
        "customer_id": CANARY,
        "by": CANARY,
        "channel": "mail",
        "outcome": "reached",
        "note": CANARY,
    }
    resolution = {
        "by": CANARY,
        "role": CANARY,
        "outcome": "approve",
        "because": CANARY,
    }
    order = {"amount": CANARY, "currency": "EUR"}
    simulation = {"from": CANARY, "to": CANARY, "customer_id": CANARY}
    yield "/decisions", {"customer_id": CANARY}
    yield "/decisions", {"customer_id": "C0000001", "requested_by": CANARY}
    yield "/decisions", {"customer_id": "C0000001", CANARY: CANARY}
    yield "/contacts", contact
    yield "/contacts", {**contact, "customer_id": "C0000001"}
    yield "/scores", {"features": {CANARY: 1}}
    yield "/cases/x/resolve", resolution
    yield "/decisions/batch", {"decisions": [{"customer_id": CANARY}]}
    yield "/orders/check", {"customer_id": CANARY, "order": order}
    yield "/policy/simulations", simulation


def canaries(client: httpx.Client, log: Path) -> Bars:
    """No personal field and no header appears in the log."""
    for path, body in canary_requests():
        client.post(f"/v1{path}", json=body, headers={"Idempotency-Key": CANARY})
    for path in ("/decisions/", "/customers/", "/cases/"):
        client.get(
            f"/v1{path}{CANARY}?{CANARY}={CANARY}",
            headers={"Authorization": f"Bearer {CANARY}"},
        )
        client.get(
            f"/v1{path}{CANARY}/decisions",
            headers={"Cookie": CANARY, "User-Agent": CANARY},
        )
    n_seen = log.read_text().count(CANARY)
    return [bar("canaries in the log", n_seen, 0, n_seen == 0)]


def attacks(
    process: subprocess.Popen[bytes],
    client: httpx.Client,
    log: Path,
) -> Iterator[Bars]:
    """Attack one process in every way, one after the other.

    Parameters
    ----------
    process : Popen
        The service.
    client : Client
        A client of it.
    log : Path
        Its log.
    """
    # Afterwards everything is loaded, so that growth of memory means something.
    question = {"customer_id": "C0000001"}
    client.post("/v1/decisions", json=question).raise_for_status()
    yield large_bodies(process)
    yield slow_connections()
    yield unknown_paths(client)
    yield forged_lines(client, log)
    yield wrong_media_types(client)
    yield canaries(client, log)
    yield generated_requests(client)


def main() -> None:
    """Start the service and attack it."""
    options = argument_parser(__doc__).parse_args()
    bars = Bars()
    with tempfile.TemporaryDirectory(prefix="hostile") as name:
        store = Path(name)
        prepare(store)
        log = store / "log"
        environment = environment_of(store, OBLIGOR_LOG="DEBUG")
        with (
            running(environment, PORT, log) as process,
            httpx.Client(base_url=URL, headers=HEADERS, timeout=60) as client,
        ):
            before = worker_ids(process)
            for attack_bars in attacks(process, client, log):
                bars += attack_bars
                print(*attack_bars, sep="\n", file=sys.stderr)
            n_died = len(before - worker_ids(process))
        text = log.read_text()
    n_bugs = text.count("ERROR obligor bug") + text.count("Traceback")
    bars.append(bar("workers that died", n_died, 0, n_died == 0))
    bars.append(bar("bugs and tracebacks in the log", n_bugs, 0, n_bugs == 0))
    report(bars, options.json)


if __name__ == "__main__":
    main()
