"""Who watches a long run: nobody by default."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

SEARCH = "search for parameters"


class Watch:
    """Is told how long a run will take and which of its steps is done.

    The command line shows a bar with the time left, or a line for each step.
    """

    def expect(self, cost: float) -> None:
        """Take note of work to come, in `COSTS`' unit."""

    def note(self, sentence: str) -> None:
        """Take note of something a person should know."""

    def begin(self, step: str) -> None:
        """Take note that a step begins."""

    def tick(self, cost: float) -> None:
        """Take note that a part of a step is done."""

    def finish(self, step: str, cost: float | None = None) -> None:
        """Take note that a step is done.

        Parameters
        ----------
        step : str
            Its name.
        cost : float, optional
            What is not yet ticked off; by default what the step costs.
        """

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Watch one step of a run."""
        self.begin(name)
        yield
        self.finish(name)


# How long the steps of a run take beside each other: roughly the seconds of a processor
# on 100,000 rows of 40 columns. A step that is not listed counts 1.
COSTS = {
    "scorecard": 20.0,
    "lightgbm": 15.0,
    "extra_trees": 15.0,
    "deep trees": 15.0,
    "ratios": 55.0,
    SEARCH: 60.0,
    "validation": 30.0,
    "features by as-of date": 30.0,
    "folds": 30.0,
}


def cost_of(step: str) -> float:
    """Return how long a step takes beside the others."""
    return COSTS.get(step, 1.0)
