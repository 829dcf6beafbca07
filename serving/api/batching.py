"""Answering together what arrives together: one read, one prediction and one commit for all of it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from obligor.decisions.engine import Answer, Engine
from obligor.decisions.questions import DecisionRequest
from obligor.errors import ObligorError

Answers = list[Answer | ObligorError]


@dataclass(frozen=True)
class _Waiting:
    """The questions of one HTTP request, and who waits for the answers."""

    requests: Sequence[DecisionRequest]
    keys: Sequence[str | None]
    maker: str | None
    done: asyncio.Future[Answers]


class DecisionBatcher:
    """Gathers the questions that are there when the event loop comes round, and has them decided together.

    A decision in a group of eight costs half of one alone. Threads do not help: deciding is computing, and a
    thread of its own for the disk fought with the loop for the interpreter over every row.

    Parameters
    ----------
    engine : Engine
        What decides and records.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._waiting = list[_Waiting]()

    async def answers(
        self,
        requests: Sequence[DecisionRequest],
        keys: Sequence[str | None],
        maker: str | None = None,
    ) -> Answers:
        """Return the answers once they are durable.

        Raises
        ------
        ModelError, RecordError
            As `Engine.decide_all`.
        """
        loop = asyncio.get_running_loop()
        if not self._waiting:
            loop.call_soon(self._answer_waiting)
        self._waiting.append(_Waiting(requests, keys, maker, loop.create_future()))
        return await self._waiting[-1].done

    def _answer_waiting(self) -> None:
        group, self._waiting = self._waiting, []
        keys = [key for one in group for key in one.keys if key is not None]
        if len(set(keys)) < len(
            keys
        ):  # the same key twice: the second is answered from the record of the first
            for one in group:
                self._answer([one])
        else:
            self._answer(group)

    def _answer(self, group: Sequence[_Waiting]) -> None:
        try:
            answers = self.engine.decide_all(
                [request for one in group for request in one.requests],
                [key for one in group for key in one.keys],
                [one.maker for one in group for _ in one.keys],
            )
        except Exception as error:  # whatever it is, those who wait must hear of it
            for one in group:
                if not one.done.done():
                    one.done.set_exception(error)
            return
        start = 0
        for one in group:
            if (
                not one.done.done()
            ):  # else the caller has gone; the answer is recorded all the same
                one.done.set_result(answers[start : start + len(one.requests)])
            start += len(one.requests)
