"""Challengers of named models in the shadow of recorded scores."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from datetime import datetime

import orjson
import sqlalchemy as sa

from obligor.decisions.champion import Champion
from obligor.decisions.named_models import NamedModels
from obligor.decisions.scores import (
    SCORE,
    columns_read,
    features_sent,
    narrowed_features,
)
from obligor.decisions.scoring import feature_row
from obligor.decisions.shadow import Shadow, ShadowScore
from obligor.errors import ErasedError, SchemaError
from obligor.model.bundle import PROMOTIONS, pointer_folder
from obligor.record.record import Record
from obligor.record.tables import ENTRIES

log = logging.getLogger("obligor")


class ScoreShadow(Shadow):
    """Scores the recorded scores of one name with its challenger.

    The challenger reads the features as they were sent. A score that lacks one of its
    columns is left out, and the log says so once.

    Parameters
    ----------
    record : Record
        The record that is read, and whose database keeps the scores.
    models : NamedModels
        Loads champions and challengers.
    name : str
        The name of the model.
    now : callable
        Returns the time, with its zone.
    """

    kind = SCORE

    def __init__(
        self,
        record: Record,
        models: NamedModels,
        name: str,
        now: Callable[[], datetime],
    ) -> None:
        super().__init__(record, models.challengers(name), now)
        self._models = models
        self._name = name
        self._lacking = set[str]()

    def _challenger(self) -> Champion | None:
        return self._models.challenger(self._name)

    def _is_of_population(self) -> sa.ColumnElement[bool]:
        """Which scores the champions of this name have given, whichever they were."""
        return ENTRIES.c.model_sha256.in_(list(self._champions()))

    def _champions(self) -> Iterator[str]:
        path = pointer_folder(self._models.store, self._name) / PROMOTIONS
        if path.exists():
            for line in path.read_text(encoding="utf-8").splitlines():
                yield str(json.loads(line)["sha256"])

    def _score(self, entry_id: str, challenger: Champion) -> ShadowScore | None:
        """Score one recorded score again; None if it is erased or lacks a column."""
        try:
            entry = self._record.reader.entry(entry_id)
        except ErasedError:
            return None
        if orjson.loads(entry.body)["model"]["name"] != self._name:
            return None
        features = features_sent(entry.request)
        lacking = columns_read(challenger.model) - features.keys()
        if lacking:
            self._warn_once(sorted(lacking))
            return None
        read = narrowed_features(features, challenger.model)
        try:
            row = feature_row(read, challenger.model)
        except SchemaError:
            return None
        return {
            "entry_id": entry_id,
            "model_sha256": challenger.sha256,
            "scored_at": self._now(),
            "pd_12m": float(challenger.model.predict_pd_12m(row[None, :])[0]),
        }

    def _warn_once(self, lacking: list[str]) -> None:
        text = ", ".join(lacking[:5])
        if text not in self._lacking:
            self._lacking.add(text)
            log.warning(
                "the challenger of %s cannot score: requests lack %s", self._name, text
            )


class Shadows:
    """Every challenger of a store: of decisions, and of the scores of each name.

    Parameters
    ----------
    decisions : Shadow
        Scores recorded decisions.
    record : Record
        The record.
    models : NamedModels
        Loads the models by name.
    now : callable
        Returns the time, with its zone.
    """

    def __init__(
        self,
        decisions: Shadow,
        record: Record,
        models: NamedModels,
        now: Callable[[], datetime],
    ) -> None:
        self._decisions = decisions
        self._record = record
        self._models = models
        self._now = now
        self._by_name = dict[str, ScoreShadow]()

    def step(self) -> int:
        """Score some decisions and scores that no challenger has scored yet."""
        count = self._decisions.step()
        for name in self._models.names():
            if name not in self._by_name:
                self._by_name[name] = ScoreShadow(
                    self._record,
                    self._models,
                    name,
                    self._now,
                )
            count += self._by_name[name].step()
        return count
