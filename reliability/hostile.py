"""Everything a hostile caller sends to the real process, and what it may cost.

    python reliability/hostile.py --json

A body of 500 MB, with its length and in pieces; 2,500 connections that never finish; 10,000 unknown paths; line feeds
in paths and headers; every wrong media type on every route; 2,500 generated requests (schemathesis, all checks); a
canary in every personal field and header, which must not be in the log.
"""

from __future__ import annotations

import argparse
import http.client
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import httpx
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance

from benchmarks.bars import bar, report
from obligor.serving.api.openapi import OPERATIONS
from reliability.running import HEADERS, KEY, environment_of, prepare, running, workers

PORT, CASES, CANARY = 24_960, 2500, "CANARY-7f3a"
URL = f"http://127.0.0.1:{PORT}"
MEDIA = (
    "application/x-www-form-urlencoded",
    "text/plain",
    "multipart/form-data; boundary=x",
    "multipart/form-data",
    "application/octet-stream",
    "application/vnd.bentoml+pickle",
    "",
)
Bars = list[dict[str, Any]]


def memory(process: subprocess.Popen[bytes]) -> float:
    """What the workers hold, MB."""
    return sum(one.memory_info().rss for one in workers(process)) / 1e6


def send_500_mb(is_chunked: bool) -> tuple[int, float]:
    """Send until refused: the status, and the seconds to it."""
    connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=60)
    connection.putrequest("POST", "/v1/decisions")
    connection.putheader("Content-Type", "application/json")
    connection.putheader("Authorization", f"Bearer {KEY}")
    connection.putheader(
        *(
            ("Transfer-Encoding", "chunked")
            if is_chunked
            else ("Content-Length", "500000000")
        )
    )
    connection.endheaders()
    piece, started = b"x" * 1_000_000, time.monotonic()
    try:
        for _ in range(500):
            connection.send(
                b"%x\r\n%s\r\n" % (len(piece), piece) if is_chunked else piece
            )
    except (BrokenPipeError, ConnectionResetError):
        pass
    try:
        return connection.getresponse().status, time.monotonic() - started
    except (ConnectionResetError, http.client.HTTPException):
        return 0, time.monotonic() - started
    finally:
        connection.close()


def large_bodies(process: subprocess.Popen[bytes]) -> Bars:
    """Refused at once, at no cost."""
    before, found = (
        memory(process),
        [send_500_mb(is_chunked) for is_chunked in (False, True) for _ in range(3)],
    )
    grown = memory(process) - before
    refused = sum(status in (413, 0) for status, _ in found)
    print(f"500 MB: {found}", file=sys.stderr)
    return [
        bar("500 MB bodies refused, of 6", refused, 6, refused == 6),
        bar(
            "  of them answered with 413",
            sum(status == 413 for status, _ in found),
            3,
            sum(status == 413 for status, _ in found) >= 3,
        ),
        bar(
            "  seconds to the slowest refusal",
            max(took for _, took in found),
            1,
            max(took for _, took in found) <= 1,
        ),
        bar("  memory grown, MB", grown, 20, grown <= 20),
    ]


def slow_connections() -> Bars:
    """2,500 that begin a head and send a byte a second; `/livez` must be answered all the while."""
    slow, failed, slowest = list[socket.socket](), 0, 0.0
    for n in range(2500):
        one = socket.create_connection(("127.0.0.1", PORT), timeout=20)
        one.sendall(b"GET /v1/cases HTTP/1.1\r\nHost: x\r\nX-Slow: ")
        slow.append(one)
        if n % 250 == 249:
            for _ in range(2):
                started = time.monotonic()
                try:
                    failed += httpx.get(f"{URL}/livez", timeout=10).status_code != 200
                except httpx.HTTPError:
                    failed += 1
                slowest = max(slowest, time.monotonic() - started)
            for other in slow:
                try:
                    other.sendall(b"x")
                except OSError:
                    continue  # it was dropped
    for one in slow:
        one.close()
    return [
        bar("/livez not answered among 2,500 slow connections", failed, 0, failed == 0),
        bar("  seconds to its slowest answer", slowest, 1, slowest <= 1),
    ]


def unknown_paths(client: httpx.Client) -> Bars:
    """However many paths there are, the metrics do not grow with them."""

    def series() -> set[str]:
        lines = client.get("/v1/metrics").text.splitlines()
        return {
            line.rsplit(" ", 1)[0]
            for line in lines
            if line.startswith("obligor_requests_total")
        }

    before = series()
    for n in range(10_000):
        client.get(f"/v1/{n}/unknown" if n % 2 else f"/unknown-{n}")
    more = len(series() - before)
    return [bar("metric series more after 10,000 unknown paths", more, 5, more <= 5)]


def forged_lines(client: httpx.Client, log: Path) -> Bars:
    """Line feeds in paths, queries and headers."""
    for text in (
        "%0aINFO FORGED",
        "%0d%0aINFO FORGED",
        "%e2%80%a8FORGED",
        "%1b[2JFORGED",
    ):
        for path in (
            f"/v1/decisions/{text}",
            f"/{text}",
            f"/v1/cases?x={text}",
            f"/v1/customers/{text}/decisions",
        ):
            client.get(
                path,
                headers={
                    "User-Agent": "FORGED",
                    "X-Request-Id": "FORGED",
                    "Idempotency-Key": "FORGED",
                },
            )
    for head in (
        b"X: a\r\n FORGED",
        b"X: a\rFORGED",
        b"X: a\nFORGED: b",
        b"FORGED\x00: x",
    ):
        with socket.create_connection(("127.0.0.1", PORT), timeout=20) as raw:
            raw.sendall(b"GET /v1/cases HTTP/1.1\r\nHost: x\r\n" + head + b"\r\n\r\n")
            raw.recv(1000)
    forged = log.read_text().count("FORGED")
    return [bar("forged words in the log", forged, 0, forged == 0)]


def wrong_media(client: httpx.Client) -> Bars:
    """Only JSON is taken, on every route."""
    asked = [
        (operation.path, media)
        for operation in OPERATIONS
        if operation.method == "post" and operation.body
        for media in MEDIA
    ]
    status = [
        client.post(
            f"/v1{path.replace('{case_id}', 'x').replace('{decision_id}', 'x')}",
            content=b"{}",
            headers={"Content-Type": media},
        ).status_code
        for path, media in asked
    ]
    wrong = sum(one != 415 for one in status)
    return [bar(f"wrong media types of {len(asked)} not refused", wrong, 0, wrong == 0)]


def generated(client: httpx.Client) -> Bars:
    """schemathesis: valid and invalid requests to every operation, with every check there is."""
    schema = schemathesis.openapi.from_dict(client.get("/v1/openapi.json").json())
    operations = [result.ok() for result in schema.get_all_operations()]
    calls, failures = 0, list[str]()
    for operation in operations:

        @settings(
            max_examples=CASES // len(operations) + 1,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy())
        def send(case: schemathesis.Case) -> None:
            nonlocal calls
            calls += 1
            # A document cannot say that a due date follows its issue: 422 is a right answer to JSON of the right shape.
            case.call_and_validate(
                base_url=URL,
                headers=HEADERS,
                excluded_checks=[positive_data_acceptance],
            )

        try:
            while calls < CASES * (operations.index(operation) + 1) // len(operations):
                before = calls
                send()
                if calls - before < 5:
                    break  # there are no more kinds of requests to this one
        except Exception as error:
            failures.append(f"{operation.label}: {type(error).__name__}: {error}"[:500])
    print(*failures, sep="\n", file=sys.stderr)
    return [
        bar("generated requests", calls, CASES, calls >= CASES),
        bar("  operations that failed a check", len(failures), 0, not failures),
    ]


def canary(client: httpx.Client, log: Path) -> Bars:
    """A word in every field a person may be named in."""
    note = {
        "customer_id": CANARY,
        "by": CANARY,
        "channel": "mail",
        "outcome": "reached",
        "note": CANARY,
    }
    bodies: tuple[tuple[str, dict[str, Any]], ...] = (
        ("/decisions", {"customer_id": CANARY}),
        ("/decisions", {"customer_id": "C0000001", "requested_by": CANARY}),
        ("/decisions", {"customer_id": "C0000001", CANARY: CANARY}),
        ("/contacts", note),
        ("/contacts", note | {"customer_id": "C0000001"}),
        ("/scores", {"features": {CANARY: 1}}),
        (
            "/cases/x/resolve",
            {"by": CANARY, "role": CANARY, "outcome": "approve", "because": CANARY},
        ),
        ("/decisions/batch", {"decisions": [{"customer_id": CANARY}]}),
        (
            "/orders/check",
            {"customer_id": CANARY, "order": {"amount": CANARY, "currency": "EUR"}},
        ),
        ("/policy/simulations", {"from": CANARY, "to": CANARY, "customer_id": CANARY}),
    )
    for path, body in bodies:
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
    found = log.read_text().count(CANARY)
    return [bar("canaries in the log", found, 0, found == 0)]


def steps(
    process: subprocess.Popen[bytes], client: httpx.Client, log: Path
) -> Iterator[Bars]:
    """One after the other, on one process."""
    client.post(
        "/v1/decisions", json={"customer_id": "C0000001"}
    ).raise_for_status()  # everything is loaded now
    yield large_bodies(process)
    yield slow_connections()
    yield unknown_paths(client)
    yield forged_lines(client, log)
    yield wrong_media(client)
    yield canary(client, log)
    yield generated(client)


def main() -> None:
    """Start the service and be hostile to it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="hostile") as name:
        store, bars = Path(name), Bars()
        prepare(store)
        log = store / "log"
        with (
            running(environment_of(store, OBLIGOR_LOG="DEBUG"), PORT, log) as process,
            httpx.Client(base_url=URL, headers=HEADERS, timeout=60) as client,
        ):
            before = {one.pid for one in workers(process)}
            for found in steps(process, client, log):
                bars += found
                print(*found, sep="\n", file=sys.stderr)
            died = len(before - {one.pid for one in workers(process)})
        bars.append(bar("workers that died", died, 0, died == 0))
        bugs = log.read_text().count("ERROR obligor bug") + log.read_text().count(
            "Traceback"
        )
        bars.append(bar("bugs and tracebacks in the log", bugs, 0, bugs == 0))
    report(bars, options.json)


if __name__ == "__main__":
    main()
