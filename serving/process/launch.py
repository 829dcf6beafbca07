"""Starting the service as a process of its own, and waiting until it is ready."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx

from obligor.errors import ObligorError

SERVICE = "obligor.serving.process.service:ObligorService"


def serve_command(host: str, port: int) -> list[str]:
    """Return the command that runs the service in the foreground."""
    return [
        sys.executable,
        "-m",
        "bentoml",
        "serve",
        SERVICE,
        "--host",
        host,
        "--port",
        str(port),
    ]


@contextmanager
def running_service(
    environment: Mapping[str, str], port: int, log: Path, patience_s: float = 90
) -> Iterator[str]:
    """Run the service until the block ends; gives its base URL once it answers /livez.

    Parameters
    ----------
    environment : mapping
        The whole environment of the process.
    log : Path
        Where its output goes.

    Raises
    ------
    ObligorError
        Where it does not answer in time; the log says why.
    """
    url = f"http://127.0.0.1:{port}"
    with log.open("wb") as output:
        process = subprocess.Popen(
            serve_command("127.0.0.1", port),
            env={"OBLIGOR_DRAIN_S": "0", **environment},  # nobody balances a load here
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        try:
            wait(url, process, log, patience_s)
            yield url
        finally:
            stop(process)


def stop(process: subprocess.Popen[bytes]) -> None:
    """End the process and its workers; one that has ended by itself is fine."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError, subprocess.TimeoutExpired):
            os.killpg(process.pid, sign)
            process.wait(15)
            return


def wait(
    url: str, process: subprocess.Popen[bytes], log: Path, patience_s: float
) -> None:
    """Wait until the process answers; raises as `running_service`."""
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if httpx.get(f"{url}/livez", timeout=2).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.2)
    lines = log.read_text(errors="replace").split("\n")
    last = next((line.strip() for line in reversed(lines) if line.strip()), "nothing")
    raise ObligorError(
        f"the service did not start; its last word: {last}",
        where=str(log),
        do="read the log",
    )
