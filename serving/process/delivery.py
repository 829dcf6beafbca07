"""The process that delivers webhooks: started, watched, started again if it ends.

Every process of the service watches; the one that gets the turn starts it. The lock is
inherited by the child and by nothing else, so it is free as soon as the child ends.
"""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import obligor
from obligor.serving.webhooks.turn import DeliveryTurn

log = logging.getLogger("obligor")
# The housekeeper has its turn every half second.
TURNS_BETWEEN_STARTS = 10


class DeliveryProcess:
    """Keeps one process running that delivers webhooks, if there are endpoints.

    Parameters
    ----------
    store : Path
        The store; its folder has the lock.
    environment : mapping
        The environment of the service, which the process gets, too.
    is_needed : callable
        Returns whether there are endpoints.
    """

    def __init__(
        self,
        store: Path,
        environment: Mapping[str, str],
        is_needed: Callable[[], bool],
    ) -> None:
        self._turn = DeliveryTurn(store)
        self._command = deliver_command(store)
        self._environment = deliver_environment(environment)
        self._is_needed = is_needed
        self._process: subprocess.Popen[bytes] | None = None
        self._turns_until_start = 0

    def step(self, is_last: bool) -> None:
        """Start the process if it is needed and nobody runs it; end it at last.

        A process that is told to end finishes what it is sending.
        """
        if is_last:
            if self._process is not None:
                self._process.terminate()
            return
        if self._process is not None and self._process.poll() is None:
            return
        if self._turns_until_start > 0:
            self._turns_until_start -= 1
        elif self._is_needed():
            self._turns_until_start = TURNS_BETWEEN_STARTS
            self._start()

    def _start(self) -> None:
        try:
            lock = self._turn.take()
            if lock is None:
                return
            with lock:
                self._process = subprocess.Popen(
                    self._command,
                    env=self._environment,
                    pass_fds=(lock.fileno(),),
                )
        except OSError as error:
            log.error("webhooks are not delivered: %s", type(error).__name__)


def deliver_command(store: Path) -> list[str]:
    """Return the command that delivers as long as the process that runs it lives."""
    # -P: a folder called `obligor` where the service was started must not be imported.
    command = [sys.executable, "-P", "-m", "obligor", "webhooks", "deliver"]
    return [*command, "--supervised", "--store", str(store)]


def deliver_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return an environment in which this package is the one that is imported."""
    package = str(Path(obligor.__file__).parent.parent)
    paths = [package, environment.get("PYTHONPATH", "")]
    return {**environment, "PYTHONPATH": ":".join(path for path in paths if path)}
