"""Auditing the record: is anything changed, lost or put in; does a decision come out again; what applied when."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import orjson

from obligor.decisions.answer import entry_of
from obligor.decisions.engine import Engine
from obligor.decisions.facts import known_of
from obligor.decisions.questions import DecisionRequest, OrderRequest
from obligor.errors import ErasedError, ObligorError, SchemaError
from obligor.record.entry import OpenedEntry
from obligor.record.verify import Finding


@dataclass(frozen=True)
class Replay:
    """A decision made again from its kept inputs, model and rules: every difference from what was answered."""

    decision_id: str
    differences: tuple[str, ...]

    @property
    def is_equal(self) -> bool:
        """Whether the answer came out bit for bit."""
        return not self.differences


def computed(entry_id: str, engine: Engine) -> OpenedEntry:
    """Return a decision or an order check; what a person did is no such thing.

    Raises
    ------
    UnknownDecisionError, ErasedError
        Where there is no such entry, or its customer was erased.
    SchemaError
        Where the entry is nothing that was computed.
    """
    kept = engine.record.reader.entry(entry_id)
    if kept.kind not in ("decision", "order"):
        raise SchemaError(
            f"a {kept.kind} is not computed",
            where="decision_id",
            expected="a decision or order check",
        )
    return kept


def replay(entry_id: str, engine: Engine) -> Replay:
    """Make a decision or order check again with the model, rules and inputs of its day.

    Raises
    ------
    ModelError, PolicyError
        Where model or rules of that day are not in the store any more; otherwise as `computed`.
    """
    kept = computed(entry_id, engine)
    again = _made_again(kept, engine)
    if again == kept.body:
        return Replay(entry_id, ())
    return Replay(
        entry_id,
        tuple(differences(orjson.loads(kept.body), orjson.loads(again)))
        or ("the text",),
    )


def _made_again(kept: OpenedEntry, engine: Engine) -> str:
    answer = orjson.loads(kept.body)
    champion = engine.champions.of(
        answer["model"]["sha256"], answer["model"]["version"]
    )
    rulebook = engine.rulebook(answer["policy"]["sha256"])
    as_of, at = (
        date.fromisoformat(answer["as_of"]),
        datetime.fromisoformat(answer["recorded_at"]),
    )
    inputs = engine.record.reader.inputs_of(kept.entry_id)
    if kept.kind == "decision":
        request = DecisionRequest.model_validate_json(kept.request)
        one = engine.decided_again(
            known_of(request, as_of, inputs), champion.model, rulebook
        )
        (acts,) = engine.acts([one], champion.model)
        return entry_of(one, acts, champion, kept.entry_id, at).body
    asked = OrderRequest.model_validate_json(kept.request)
    one = engine.decided_again(
        known_of(asked.question(), as_of, inputs), champion.model, rulebook
    )
    return engine.order_entry(one, asked, champion, kept.entry_id, at).body


def differences(was: Any, now: Any, where: str = "") -> Iterator[str]:
    """Give every place where two answers differ, with both values."""
    if isinstance(was, dict) and isinstance(now, dict):
        for name in [*was, *(name for name in now if name not in was)]:
            yield from differences(
                was.get(name), now.get(name), f"{where}.{name}".lstrip(".")
            )
    elif isinstance(was, list) and isinstance(now, list) and len(was) == len(now):
        for place, pair in enumerate(zip(was, now, strict=True)):
            yield from differences(*pair, f"{where}[{place}]")
    elif was != now:
        yield f"{where}: {was!r} -> {now!r}"


def replay_all(
    engine: Engine, progress: Callable[[int], None] = lambda n: None
) -> Iterator[Replay | Finding]:
    """Replay every decision and order check; what cannot be replayed is a finding, what was erased says so."""
    for n, entry_id in enumerate(
        engine.record.reader.ids_of_kinds(("decision", "order")), start=1
    ):
        try:
            yield replay(entry_id, engine)
        except ErasedError:
            yield Finding(entry_id, "erased")
        except ObligorError as error:
            yield Finding(entry_id, str(error))
        progress(n)
