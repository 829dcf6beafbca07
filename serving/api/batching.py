"""Answering together what arrives together: one read, one prediction, one commit."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from obligor.decisions.batch import Batch, Question
from obligor.decisions.recorded import RecordedAnswer

AnswerAll = Callable[[Sequence[Question]], Batch[RecordedAnswer]]


@dataclass(frozen=True)
class _Waiting:
    """The questions of one HTTP request, and the future of their answers."""

    questions: Sequence[Question]
    answers: asyncio.Future[Batch[RecordedAnswer]]


class DecisionBatcher:
    """Has the questions of one turn of the event loop answered together.

    A decision in a group of eight costs half of one alone. Threads do not help:
    deciding is computing, and a thread of its own for the disk fought with the loop for
    the interpreter over every row.

    Parameters
    ----------
    answer_all : callable
        Decides and records questions, as `Decider.answer_all`.
    """

    def __init__(self, answer_all: AnswerAll) -> None:
        self._answer_all = answer_all
        self._waiting = list[_Waiting]()

    async def answers(self, questions: Sequence[Question]) -> Batch[RecordedAnswer]:
        """Return the answers once they are durable; raises as `Decider.answer_all`."""
        loop = asyncio.get_running_loop()
        if not self._waiting:
            loop.call_soon(self._answer_waiting)
        waiting = _Waiting(questions, loop.create_future())
        self._waiting.append(waiting)
        return await waiting.answers

    def _answer_waiting(self) -> None:
        group = self._waiting
        self._waiting = []
        if _has_repeated_key(group):
            # The second is answered from the record of the first.
            for waiting in group:
                self._answer([waiting])
        else:
            self._answer(group)

    def _answer(self, group: Sequence[_Waiting]) -> None:
        questions = [question for waiting in group for question in waiting.questions]
        try:
            answers = self._answer_all(questions)
        except Exception as error:  # whatever it is, those who wait must hear of it
            for waiting in group:
                if not waiting.answers.done():
                    waiting.answers.set_exception(error)
            return
        start = 0
        for waiting in group:
            end = start + len(waiting.questions)
            # A client may have disconnected; the answer is recorded all the same.
            if not waiting.answers.done():
                waiting.answers.set_result(answers[start:end])
            start = end


def _has_repeated_key(group: Sequence[_Waiting]) -> bool:
    keys = [
        question.key
        for waiting in group
        for question in waiting.questions
        if question.key is not None
    ]
    return len(set(keys)) < len(keys)
