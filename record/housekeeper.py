"""Work behind the answers: tasks that a thread runs every half second."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from typing import NamedTuple

from obligor.errors import RecordError

log = logging.getLogger("obligor")
EVERY_S = 0.5


class Task(NamedTuple):
    """One task of the housekeeper.

    Attributes
    ----------
    name : str
        What it does, as the log names it.
    run : callable
        Does it once; called with True for the last time before the process ends.
    """

    name: str
    run: Callable[[bool], object]


class Housekeeper:
    """Runs tasks again and again, in their order, until it is stopped.

    Parameters
    ----------
    tasks : sequence of Task
        The checkpointer comes last, so that it signs for what the others recorded.
    """

    def __init__(self, tasks: Sequence[Task]) -> None:
        self._tasks = tuple(tasks)
        self._stopped = threading.Event()

    def start(self) -> None:
        """Run the tasks in a thread of their own."""
        # A daemon: a task that hangs must not keep the process from ending.
        thread = threading.Thread(target=self._run, name="housekeeper", daemon=True)
        thread.start()

    def stop(self) -> None:
        """Run every task for the last time, and no more."""
        self._stopped.set()
        self.run_once(is_last=True)

    def run_once(self, is_last: bool = False) -> None:
        """Run every task once; one that cannot read or write the record is logged."""
        for task in self._tasks:
            try:
                task.run(is_last)
            except RecordError as error:
                log.error("%s failed, and is tried again: %s", task.name, error)

    def _run(self) -> None:
        while not self._stopped.wait(EVERY_S):
            self.run_once()
