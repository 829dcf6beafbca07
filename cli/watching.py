"""Watching a long run: a bar with the time left, or a line for each step."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from rich.progress import (
    BarColumn,
    Progress,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from obligor.cli.arguments import error_console
from obligor.training.candidates.watch import Watch, cost_of

Item = TypeVar("Item")
SPEED_FROM_S = 24 * 3600.0  # all steps of a run tell how fast it is


class LineWatch(Watch):
    """Prints a line for each step that is done; for logs."""

    def note(self, sentence: str) -> None:
        """Print something a person should know."""
        _print(sentence)

    def finish(self, step: str, cost: float | None = None) -> None:
        """Print that a step is done."""
        _print(f"done: {step}")


class QuietWatch(Watch):
    """Prints nothing but what a person should know."""

    def note(self, sentence: str) -> None:
        """Print something a person should know."""
        _print(sentence)


class BarWatch(Watch):
    """Shows a bar with the step at work and the time left.

    Parameters
    ----------
    progress : Progress
        The bar.
    """

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.task: TaskID = progress.add_task("starting", total=0.0)
        self.total = 0.0
        # The first sample of the speed is taken now, not when the first step is done.
        progress.advance(self.task, 0.0)

    def expect(self, cost: float) -> None:
        """Lengthen the bar by work to come."""
        self.total += cost
        self.progress.update(self.task, total=self.total)

    def note(self, sentence: str) -> None:
        """Print something a person should know above the bar."""
        self.progress.console.print(sentence, markup=False, highlight=False)

    def begin(self, step: str) -> None:
        """Name the step at work."""
        self.progress.update(self.task, description=step)

    def tick(self, cost: float) -> None:
        """Move the bar on by a part of a step."""
        self.progress.advance(self.task, cost)

    def finish(self, step: str, cost: float | None = None) -> None:
        """Move the bar on."""
        self.progress.advance(self.task, cost_of(step) if cost is None else cost)


def _print(sentence: str) -> None:
    error_console.print(
        sentence,
        markup=False,
        highlight=False,
        soft_wrap=True,
    )


@contextmanager
def watching(is_quiet: bool) -> Iterator[Watch]:
    """Watch a run: by a bar on a terminal, else by a line a step, or not at all."""
    if is_quiet:
        yield QuietWatch()
    elif not error_console.is_terminal:
        yield LineWatch()
    else:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
        )
        with Progress(
            *columns,
            console=error_console,
            transient=True,
            speed_estimate_period=SPEED_FROM_S,
        ) as progress:
            yield BarWatch(progress)


def watched(
    step: str,
    watch: Watch,
    n_items: int | None = None,
) -> Callable[[Iterable[Item]], Iterator[Item]]:
    """Return a function that passes items on while it watches them.

    Parameters
    ----------
    step : str
        What is done with each item.
    watch : Watch
        Is told of each item.
    n_items : int, optional
        How many there will be, if they come one by one.
    """

    def pass_on(items: Iterable[Item]) -> Iterator[Item]:
        if n_items is None:
            items = list(items)
            count = len(items)
        else:
            count = n_items
        cost = cost_of(step) / max(count, 1)
        watch.expect(cost_of(step))
        watch.begin(step)
        for item in items:
            yield item
            watch.tick(cost)
        watch.finish(step, 0.0)

    return pass_on
