"""Starting the service as a process, and waiting until it answers."""

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

import obligor
from obligor.errors import ObligorError

SERVICE = "obligor.serving.process.service:ObligorService"
# Libraries read these when they are loaded: they must be set before the process runs.
_DEFAULTS = {
    "BENTOML_DO_NOT_TRACK": "True",
    # One row on many threads took 7.7 ms under load, on one thread 0.06 ms.
    "OMP_NUM_THREADS": "1",
}


def serve_command(host: str, port: int) -> list[str]:
    """Return the command that runs the service in the foreground."""
    # BentoML imports from its working directory first. That must be where the package
    # is, not where the user is: a checkout without links has no rooms in `obligor/`.
    package = Path(obligor.__file__).parent
    options = ["--host", host, "--port", str(port), "--working-dir"]
    command = [sys.executable, "-m", "bentoml", "serve", SERVICE]
    return [*command, *options, str(package.parent)]


def serve_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment to run the service in: a given one, with our defaults."""
    return {**_DEFAULTS, **environment}


@contextmanager
def running_service(
    environment: Mapping[str, str],
    port: int,
    log: Path,
    patience_s: float = 90,
) -> Iterator[str]:
    """Run the service until the block ends.

    Parameters
    ----------
    environment : mapping
        The whole environment of the process.
    port : int
        The port, on 127.0.0.1.
    log : Path
        The file its output goes to.
    patience_s : float
        How many seconds it may take to start.

    Yields
    ------
    str
        Its base URL, once it answers ``/livez``.

    Raises
    ------
    ObligorError
        If it does not answer in time; the log says why.
    """
    url = f"http://127.0.0.1:{port}"
    # No load balancer has to notice the end: the service need not wait for one.
    defaults = {"OBLIGOR_DRAIN_S": "0"}
    with log.open("wb") as output:
        process = subprocess.Popen(
            serve_command("127.0.0.1", port),
            env=serve_environment({**defaults, **environment}),
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
    """End a process and its workers; it may have ended by itself."""
    for signal_number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError, subprocess.TimeoutExpired):
            os.killpg(process.pid, signal_number)
            process.wait(15)
            return


def wait(
    url: str,
    process: subprocess.Popen[bytes],
    log: Path,
    patience_s: float,
) -> None:
    """Wait until the service answers ``/livez``.

    Parameters
    ----------
    url : str
        Its base URL.
    process : Popen
        Its process.
    log : Path
        The file its output goes to.
    patience_s : float
        How many seconds it may take.

    Raises
    ------
    ObligorError
        If it ends, or does not answer in time.
    """
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if httpx.get(f"{url}/livez", timeout=2).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.2)
    raise ObligorError(
        f"the service did not start; its last output was: {_last_line(log)}",
        where=str(log),
        do="read the log",
    )


def _last_line(log: Path) -> str:
    for line in reversed(log.read_text(errors="replace").split("\n")):
        if line.strip():
            return line.strip()
    return "nothing"
