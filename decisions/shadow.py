"""The challenger in the shadow: it scores recorded decisions behind the answers.

Its scores are kept in a table of their own and are never shown in an answer.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import date, datetime
from typing import Any, NamedTuple

import numpy as np
import orjson
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from typing_extensions import TypedDict

from obligor.arrays import Floats
from obligor.decisions.champion import Champion, ChampionLoader
from obligor.decisions.facts import known_of
from obligor.decisions.questions import DecisionRequest
from obligor.decisions.recorded import features_of
from obligor.decisions.scoring import features_alone
from obligor.errors import ErasedError, ModelError
from obligor.features.catalogue import EDITIONS
from obligor.record.entry import OpenedEntry
from obligor.record.record import Record
from obligor.record.tables import ENTRIES, SHADOW_SCORES

log = logging.getLogger("obligor")
AT_ONCE = 50  # decisions in a step: answers must not wait for the interpreter
LATE = 20  # entries that others may still commit before the last one read


class _Progress(NamedTuple):
    """Up to which entry the decisions of a challenger were read."""

    model_sha256: str
    seq: int


class ShadowScore(TypedDict):
    """A challenger's PD of one entry."""

    entry_id: str
    model_sha256: str
    scored_at: datetime
    pd_12m: float


class Shadow:
    """Scores recorded decisions with the challenger.

    A decision is scored with the features it was made from, after its answer has left:
    a challenger that is slow, damaged or missing delays no answer and changes none.

    Parameters
    ----------
    record : Record
        The record that is read, and whose database keeps the scores.
    challengers : ChampionLoader
        Loads the model that `obligor shadow` names.
    now : callable
        Returns the time, with its zone.
    """

    def __init__(
        self, record: Record, challengers: ChampionLoader, now: Callable[[], datetime]
    ) -> None:
        self._record = record
        self._challengers = challengers
        self._now = now
        self._progress = _Progress("", 0)

    kind = "decision"

    def step(self) -> int:
        """Score some decisions that the challenger has not scored yet.

        Returns
        -------
        int
            How many; 0 without a challenger.
        """
        challenger = self._challenger()
        if challenger is None:
            return 0
        with self._progress_kept_on_error():
            scores = list[ShadowScore]()
            for entry_id in self._unscored(challenger):
                score = self._score(entry_id, challenger)
                if score is not None:
                    scores.append(score)
            if scores:
                self._save(scores)
        return len(scores)

    def _challenger(self) -> Champion | None:
        # A pointer that was withdrawn leaves the loaded model behind.
        if not self._challengers.has_pointer():
            return None
        try:
            return self._challengers.for_customers()
        except ModelError:
            return None

    def _is_of_population(self) -> sa.ColumnElement[bool]:
        """Which entries of the kind the challenger may score: all of them."""
        return sa.true()

    def _save(self, scores: list[ShadowScore]) -> None:
        is_sqlite = self._record.database.is_sqlite
        insert = (sqlite if is_sqlite else postgresql).insert(SHADOW_SCORES)
        with self._record.database.writing() as connection:
            # Another process may have scored them first.
            connection.execute(insert.on_conflict_do_nothing(), scores)

    @contextmanager
    def _progress_kept_on_error(self) -> Iterator[None]:
        """Read the same decisions again if their scores could not be saved."""
        before = self._progress
        try:
            yield
        except sa.exc.SQLAlchemyError:
            self._progress = before
            raise

    def _unscored(self, challenger: Champion) -> list[str]:
        """Return decisions since the challenger began that it has not scored.

        The oldest come first; entries before the last one read are not read again, but
        for the few that others may have committed late.
        """
        model_sha256, seq = self._progress
        if model_sha256 != challenger.sha256:
            seq = 0
        is_scored = sa.exists().where(
            SHADOW_SCORES.c.entry_id == ENTRIES.c.entry_id,
            SHADOW_SCORES.c.model_sha256 == challenger.sha256,
        )
        query = (
            sa.select(ENTRIES.c.entry_id, ENTRIES.c.seq)
            .where(
                ENTRIES.c.kind == self.kind,
                self._is_of_population(),
                ENTRIES.c.recorded_at >= self._challengers.since(),
                ENTRIES.c.seq > seq - LATE,
                ~is_scored,
            )
            .order_by(ENTRIES.c.seq)
            .limit(AT_ONCE)
        )
        with self._record.database.engine.connect() as connection:
            rows = connection.execute(query).all()
        last_seq = max([seq, *(row.seq for row in rows)])
        self._progress = _Progress(challenger.sha256, last_seq)
        return [str(row.entry_id) for row in rows]

    def _score(self, entry_id: str, challenger: Champion) -> ShadowScore | None:
        """Score one decision; None if its customer was erased."""
        try:
            entry = self._record.reader.entry(entry_id)
        except ErasedError:
            return None
        answer = orjson.loads(entry.body)
        row = self._row(entry, answer, challenger)
        return {
            "entry_id": entry_id,
            "model_sha256": challenger.sha256,
            "scored_at": self._now(),
            "pd_12m": float(challenger.model.predict_pd_12m(row)[0]),
        }

    def _row(
        self,
        entry: OpenedEntry,
        answer: Mapping[str, Any],
        challenger: Champion,
    ) -> Floats:
        """Return the challenger's features of a recorded decision, one row.

        Of the first edition of the catalogue they are those that were recorded; later
        ones depend on the model, and are computed from what was known then.
        """
        model = challenger.model
        recorded = features_of(answer)
        first = EDITIONS[1].names
        if model.features == first and tuple(recorded) == first:
            return np.array([list(recorded.values())])
        question = DecisionRequest.model_validate_json(entry.request)
        as_of = date.fromisoformat(answer["as_of"])
        inputs = self._record.reader.inputs_of(entry.entry_id)
        alone = features_alone(known_of(question, as_of, inputs), model)
        return model.own_columns(alone.values[np.newaxis])


def shadow_scores(record: Record, model_sha256: str) -> dict[str, float]:
    """Return a challenger's PD over 12 months for each decision it scored."""
    query = sa.select(SHADOW_SCORES.c.entry_id, SHADOW_SCORES.c.pd_12m).where(
        SHADOW_SCORES.c.model_sha256 == model_sha256
    )
    with record.database.engine.connect() as connection:
        rows = connection.execute(query).all()
    return {str(row.entry_id): float(row.pd_12m) for row in rows}
