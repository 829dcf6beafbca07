"""How many processes of the service are alive: one that was killed is seen to be missing."""

from __future__ import annotations

import fcntl
from pathlib import Path
from typing import BinaryIO


class WorkerRegistry:
    """The processes that serve from a store; each holds a lock on a file for as long as it lives.

    Parameters
    ----------
    folder : Path
        Where the files lie.
    wanted : int
        How many there should be.
    """

    def __init__(self, folder: Path, wanted: int) -> None:
        self.folder, self.wanted = folder, wanted
        self._mine: BinaryIO | None = None

    def join(self, name: str) -> None:
        """Be counted, until the process ends, however it does."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._mine = (self.folder / name).open("ab")
        fcntl.flock(self._mine, fcntl.LOCK_EX)

    def alive(self) -> int:
        """Return how many live; the files of those that died are taken away."""
        found = 0
        for path in self.folder.glob("*"):
            try:
                with path.open("rb") as file:
                    fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                    path.unlink()
            except BlockingIOError:
                found += 1
            except FileNotFoundError:
                continue
        return found
