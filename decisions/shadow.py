"""The challenger in the shadow: it scores what was decided, behind the answers; nothing of it is ever shown."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime
from typing import Any

import numpy as np
import orjson
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from obligor.decisions.champion import Champion, ChampionLoader
from obligor.decisions.recorded import features_of
from obligor.errors import ErasedError, ModelError
from obligor.record.record import Record
from obligor.record.tables import ENTRIES, SHADOW_SCORES

log = logging.getLogger("obligor")
AT_ONCE = 50  # decisions at a step: answers must not wait for the interpreter
LATE = 20  # entries that others may still commit behind the last one seen


class Shadow:
    """Scores recorded decisions with the challenger and keeps its PDs in a table of their own.

    A decision is scored with the features it was made from, after its answer has left: a challenger that is slow,
    damaged or gone stops no answer and changes none.

    Parameters
    ----------
    challengers : ChampionLoader
        Of the pointer that `obligor shadow` writes.
    """

    def __init__(
        self, record: Record, challengers: ChampionLoader, now: Callable[[], datetime]
    ) -> None:
        self.record, self.challengers, self.now = record, challengers, now
        self._looked = (
            "",
            0,
        )  # the challenger, and up to where in the record its decisions were looked at

    def step(self, is_last: bool = False) -> int:
        """Score what the challenger has not scored yet, some at a time; return how many. Nothing without one."""
        try:
            challenger = self.challengers.of_ledger()
        except ModelError:
            return 0
        before = self._looked
        rows = [
            row
            for entry_id in self._unscored(challenger)
            if (row := self._scored(entry_id, challenger))
        ]
        if rows:
            insert = (sqlite if self.record.database.is_sqlite else postgresql).insert(
                SHADOW_SCORES
            )
            try:
                with (
                    self.record.database.writing() as connection
                ):  # another process may have been first
                    connection.execute(insert.on_conflict_do_nothing(), rows)
            except sa.exc.SQLAlchemyError:
                self._looked = before
                raise
        return len(rows)

    def _unscored(self, challenger: Champion) -> list[str]:
        """Decisions since the challenger began that it has not scored, oldest first; looked at once, or nearly."""
        sha256, looked = self._looked
        looked = looked if sha256 == challenger.sha256 else 0
        mine = sa.exists().where(
            SHADOW_SCORES.c.entry_id == ENTRIES.c.entry_id,
            SHADOW_SCORES.c.model_sha256 == challenger.sha256,
        )
        wanted = sa.select(ENTRIES.c.entry_id, ENTRIES.c.seq).where(
            ENTRIES.c.kind == "decision",
            ENTRIES.c.recorded_at >= self.challengers.since(),
            ENTRIES.c.seq > looked - LATE,
            ~mine,
        )
        with self.record.database.engine.connect() as connection:
            found = connection.execute(
                wanted.order_by(ENTRIES.c.seq).limit(AT_ONCE)
            ).all()
        self._looked = (challenger.sha256, max([looked, *(row.seq for row in found)]))
        return [str(row.entry_id) for row in found]

    def _scored(self, entry_id: str, challenger: Champion) -> dict[str, Any] | None:
        try:
            row = np.array(
                [features_of(orjson.loads(self.record.reader.entry(entry_id).body))]
            )
        except ErasedError:
            return None
        return {
            "entry_id": entry_id,
            "model_sha256": challenger.sha256,
            "scored_at": self.now(),
            "pd_12m": float(challenger.model.predict_pd_12m(row)[0]),
        }


def shadow_scores(record: Record, model_sha256: str) -> dict[str, float]:
    """Return a challenger's PDs over 12 months by the decisions they are of."""
    query = sa.select(SHADOW_SCORES.c.entry_id, SHADOW_SCORES.c.pd_12m)
    with record.database.engine.connect() as connection:
        found = connection.execute(
            query.where(SHADOW_SCORES.c.model_sha256 == model_sha256)
        )
        return {str(row.entry_id): float(row.pd_12m) for row in found}
