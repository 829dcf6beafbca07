"""Replay: does a recorded decision come out again, bit for bit?"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import date, datetime

import orjson

from obligor.decisions.answer import Stamp, decision_entry
from obligor.decisions.batch import or_raise
from obligor.decisions.champion import ChampionLoader
from obligor.decisions.facts import known_of
from obligor.decisions.orders import checked_entry
from obligor.decisions.questions import DecisionRequest, OrderRequest
from obligor.decisions.rulebooks import Rulebooks
from obligor.decisions.scores import SCORE, score_again
from obligor.decisions.scoring import with_counterfactuals
from obligor.decisions.spine import decide_with
from obligor.errors import ErasedError, ObligorError, SchemaError
from obligor.record.entry import Entry, OpenedEntry
from obligor.record.reader import RecordReader
from obligor.record.verify import Finding

COMPUTED = ("decision", "order", SCORE)


@dataclass(frozen=True)
class Replay:
    """A decision computed again, with every difference from the recorded answer."""

    decision_id: str
    differences: tuple[str, ...]

    @property
    def is_equal(self) -> bool:
        """Whether the answer came out bit for bit."""
        return not self.differences


@dataclass(frozen=True)
class Replayer:
    """Computes recorded decisions again, with the model, rules and inputs of their day.

    Attributes
    ----------
    reader : RecordReader
        The record.
    champions : ChampionLoader
        Loads the models that scored.
    rulebooks : Rulebooks
        The rulebooks that decided.
    """

    reader: RecordReader
    champions: ChampionLoader
    rulebooks: Rulebooks

    def computed(self, entry_id: str) -> OpenedEntry:
        """Return the entry of a decision, an order check or a score.

        Raises
        ------
        UnknownDecisionError
            If no entry has this id.
        ErasedError
            If its customer was erased.
        SchemaError
            If the entry was not computed: what a person did cannot be replayed.
        """
        entry = self.reader.entry(entry_id)
        if entry.kind not in COMPUTED:
            raise SchemaError(
                f"a {entry.kind} is not computed",
                where="decision_id",
                expected="a decision, an order check or a score",
            )
        return entry

    def replay(self, entry_id: str) -> Replay:
        """Compute a decision or order check again.

        Raises
        ------
        ModelError, PolicyError
            If the store no longer has the model or the rules; otherwise as `computed`.
        """
        entry = self.computed(entry_id)
        body = self._recomputed(entry).body
        if body == entry.body:
            return Replay(entry_id, ())
        changes = tuple(differences(orjson.loads(entry.body), orjson.loads(body)))
        return Replay(entry_id, changes or ("the text",))

    def replay_all(
        self, progress: Callable[[int], None] = lambda count: None
    ) -> Iterator[Replay | Finding]:
        """Replay every decision, order check and score.

        Parameters
        ----------
        progress : callable, optional
            Called with the count so far.

        Yields
        ------
        Replay or Finding
            A finding for each entry that cannot be replayed, or that is erased.
        """
        entry_ids = self.reader.ids_of_kinds(COMPUTED)
        for count, entry_id in enumerate(entry_ids, start=1):
            try:
                yield self.replay(entry_id)
            except ErasedError:
                yield Finding(entry_id, "erased")
            except ObligorError as error:
                yield Finding(entry_id, str(error))
            progress(count)

    def _recomputed(self, entry: OpenedEntry) -> Entry:
        answer = orjson.loads(entry.body)
        model = answer["model"]
        champion = self.champions.of(model["sha256"], model["version"])
        recorded_at = datetime.fromisoformat(answer["recorded_at"])
        stamp = Stamp(entry.entry_id, recorded_at)
        if entry.kind == SCORE:
            named = replace(champion, name=model["name"])
            return score_again(entry.request, named, stamp)
        rulebook = self.rulebooks.by_hash(answer["policy"]["sha256"])
        inputs = self.reader.inputs_of(entry.entry_id)
        as_of = date.fromisoformat(answer["as_of"])
        if entry.kind == "decision":
            question = DecisionRequest.model_validate_json(entry.request)
            known_question = known_of(question, as_of, inputs)
            decided = decide_with(known_question, champion.model, rulebook)
            offered = with_counterfactuals([decided], champion.model)[0]
            return decision_entry(or_raise(offered), champion, stamp)
        order = OrderRequest.model_validate_json(entry.request)
        known_question = known_of(order.question(), as_of, inputs)
        decided = decide_with(known_question, champion.model, rulebook)
        return checked_entry(decided, order, champion, stamp)


def differences(was: object, now: object, where: str = "") -> Iterator[str]:
    """Give every place in which two answers differ, with both values.

    Parameters
    ----------
    was, now : object
        JSON values.
    where : str, optional
        The place of both in their answers.

    Yields
    ------
    str
        Place, recorded value and recomputed value.

    Examples
    --------
    >>> list(differences({"grade": 3, "caps": [1, 2]}, {"grade": 4, "caps": [1, 2]}))
    ['grade: 3 -> 4']
    """
    if isinstance(was, dict) and isinstance(now, dict):
        names = [*was, *(name for name in now if name not in was)]
        for name in names:
            place = f"{where}.{name}".lstrip(".")
            yield from differences(was.get(name), now.get(name), place)
    elif isinstance(was, list) and isinstance(now, list) and len(was) == len(now):
        for index, (before, after) in enumerate(zip(was, now, strict=True)):
            yield from differences(before, after, f"{where}[{index}]")
    elif was != now:
        yield f"{where}: {was!r} -> {now!r}"
