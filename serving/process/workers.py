"""How many processes of the service are alive: a killed one is noticed."""

from __future__ import annotations

import fcntl
from pathlib import Path
from typing import BinaryIO


class WorkerRegistry:
    """The processes that serve from one store.

    Each holds a lock on a file of its own for as long as it lives; the operating system
    releases the lock however the process ends.

    Parameters
    ----------
    folder : Path
        The folder of the files.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._own_file: BinaryIO | None = None

    def join(self, name: str) -> None:
        """Be counted from now on, until the process ends."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._own_file = (self._folder / name).open("ab")
        fcntl.flock(self._own_file, fcntl.LOCK_EX)

    def count_alive(self) -> int:
        """Return how many processes are alive; the files of dead ones are removed."""
        n_alive = 0
        for path in self._folder.glob("*"):
            try:
                with path.open("rb") as file:
                    # Succeeds if nobody holds the lock: then the process has ended.
                    fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                    path.unlink()
            except BlockingIOError:
                n_alive += 1
            except FileNotFoundError:
                continue
        return n_alive
