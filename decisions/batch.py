"""A batch of questions on its way through the steps of a decision.

A question that fails does not stop the others: the failure is a value, which every
later step passes on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol, TypeVar

from obligor.decisions.questions import DecisionRequest
from obligor.errors import ObligorError


class Question(NamedTuple):
    """A question as it was asked.

    Attributes
    ----------
    request : DecisionRequest
        The body of the request.
    key : str, optional
        Its idempotency key.
    requested_by_key : str, optional
        The name of the API key that requested it; kept with the entry.
    """

    request: DecisionRequest
    key: str | None = None
    requested_by_key: str | None = None


class Failed(NamedTuple):
    """A question that could not be answered, and why."""

    question: Question
    error: ObligorError


class HasQuestion(Protocol):
    """What a step has found out about a question."""

    @property
    def question(self) -> Question:
        """The question it belongs to."""


Item = TypeVar("Item")
Before = TypeVar("Before", bound=HasQuestion)
After = TypeVar("After")

# One item per question, in the order of the questions.
Batch = list[Item | Failed]


def for_each(
    batch: Sequence[Before | Failed], step: Callable[[Before], After]
) -> Batch[After]:
    """Return the batch after a step that takes one item at a time."""
    results: Batch[After] = []
    for item in batch:
        if isinstance(item, Failed):
            results.append(item)
            continue
        try:
            results.append(step(item))
        except ObligorError as error:
            results.append(Failed(item.question, error))
    return results


def not_failed(batch: Sequence[Item | Failed]) -> list[Item]:
    """Return the items that have not failed, in order."""
    return [item for item in batch if not isinstance(item, Failed)]


def or_raise(item: Item | Failed) -> Item:
    """Return an item, or raise the error it failed with."""
    if isinstance(item, Failed):
        raise item.error
    return item
