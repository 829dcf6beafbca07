"""Scores of ready-made features: by a named model, recorded if somebody asks for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

import orjson

from obligor.decisions.answer import ScoreAnswer, ScoreBody, Stamp
from obligor.decisions.champion import Champion
from obligor.decisions.named_models import NamedModels
from obligor.decisions.questions import ScoreRequest
from obligor.decisions.recorded import AnswerRecord, RecordedAnswer
from obligor.decisions.scoring import score_features
from obligor.errors import SchemaError
from obligor.model.pd_model import PdModel
from obligor.record.entry import Entry
from obligor.record.reader import RecordReader

SCORE = "score"  # kind of the entry
FeatureValue = bool | int | float | str | None


@dataclass(frozen=True)
class Scorer:
    """Scores ready-made features.

    Attributes
    ----------
    models : NamedModels
        The champions by name.
    answers : AnswerRecord
        Where scores are recorded.
    stamp : callable
        Returns the id and the time of a new entry.
    """

    models: NamedModels
    answers: AnswerRecord
    stamp: Callable[[], Stamp]

    def is_recorded(self, request: ScoreRequest) -> bool:
        """Return whether the request, or the spec of the model, wants a record."""
        if request.record:
            return True
        return wants_record(self.models.champion(request.model).model)

    def score(self, request: ScoreRequest) -> ScoreBody:
        """Return a score that is not recorded.

        Raises
        ------
        SchemaError
            If a feature is missing, unknown or not a number.
        UnknownModelError
            If no model has the name.
        """
        champion = self.models.champion(request.model)
        return score_features(self._as_read(request, champion), champion)

    def score_recorded(
        self, request: ScoreRequest, key: str | None, requested_by: str | None
    ) -> RecordedAnswer:
        """Score and record; no answer leaves before it is durable.

        Parameters
        ----------
        request : ScoreRequest
            The features.
        key : str, optional
            The idempotency key.
        requested_by : str, optional
            The name of the API key of the caller.

        Raises
        ------
        SchemaError
            If a feature is missing, unknown or not a number.
        ConflictError
            If the key came with another request before.
        RecordError
            If the entry cannot be written.
        """

        def new_entry() -> Entry:
            champion = self.models.champion(request.model)
            entry = score_entry(
                request,
                self._as_read(request, champion),
                champion,
                self.stamp(),
            )
            return replace(entry, idempotency_key=key, requested_by_key=requested_by)

        return self.answers.answer_once(request, key, new_entry)

    def _as_read(self, request: ScoreRequest, champion: Champion) -> ScoreRequest:
        """Leave out columns that the challenger reads and the champion does not.

        Any other unknown column stays, so that the request is refused.
        """
        more = request.features.keys() - columns_read(champion.model)
        challenger = self.models.challenger(champion.name) if more else None
        if challenger is None or more - columns_read(challenger.model):
            return request
        return narrowed(request, champion.model)


def columns_read(model: PdModel) -> set[str]:
    """Return the names that a model reads: columns of a table, or the catalogue's."""
    if model.encoding is None:
        return set(model.features)
    return {column.name for column in model.encoding.columns}


def narrowed(request: ScoreRequest, model: PdModel) -> ScoreRequest:
    """Return the request with nothing but the columns that a model reads."""
    features = narrowed_features(request.features, model)
    return request.model_copy(update={"features": features})


def narrowed_features(
    features: Mapping[str, FeatureValue], model: PdModel
) -> dict[str, FeatureValue]:
    """Return the features that a model reads."""
    known = columns_read(model)
    return {name: value for name, value in features.items() if name in known}


def wants_record(model: PdModel) -> bool:
    """Return whether the spec of a table's model says that scores are recorded."""
    spec = model.about.get("spec") or {}
    return bool(spec.get("record", False))


def score_entry(
    request: ScoreRequest,
    as_read: ScoreRequest,
    champion: Champion,
    stamp: Stamp,
) -> Entry:
    """Return the entry of a score.

    Parameters
    ----------
    request : ScoreRequest
        The features as they were sent, and whom they are about. Without a customer the
        entry has a key of its own, so that it can be erased by its id.
    as_read : ScoreRequest
        The features that the champion reads.
    champion : Champion
        The model that scores.
    stamp : Stamp
        Id and time of the entry.

    Raises
    ------
    SchemaError
        If a feature is missing, unknown or not a number.
    """
    score = score_features(as_read, champion)
    customer_id = request.customer_id or stamp.entry_id
    answer: ScoreAnswer = {
        "entry_id": stamp.entry_id,
        "customer_id": customer_id,
        "recorded_at": stamp.recorded_at,
        **score,
    }
    return Entry(
        entry_id=stamp.entry_id,
        kind=SCORE,
        customer_id=customer_id,
        as_of=stamp.recorded_at.date(),
        recorded_at=stamp.recorded_at,
        idempotency_key=None,
        outcome="scored",
        request=request.model_dump_json(),
        body=orjson.dumps(answer, default=str).decode(),
        pd_12m=score["pd_12m"],
        model_sha256=champion.sha256,
        is_natural_person=request.is_natural_person,
    )


def score_again(request: str, champion: Champion, stamp: Stamp) -> Entry:
    """Return the entry of a recorded score, computed again.

    Parameters
    ----------
    request : str
        The recorded request.
    champion : Champion
        The model that scored.
    stamp : Stamp
        Id and time of the recorded entry.
    """
    parsed = ScoreRequest.model_validate_json(request)
    return score_entry(
        parsed,
        narrowed(parsed, champion.model),
        champion,
        stamp,
    )


def scored_rows(
    reader: RecordReader, model_sha256: str | None = None
) -> Iterator[dict[str, object]]:
    """Give each recorded score with the features it was made from.

    Scores of erased customers are left out.

    Parameters
    ----------
    reader : RecordReader
        The record.
    model_sha256 : str, optional
        Hash of the bundle of one model; by default scores of all models.

    Yields
    ------
    dict
        ``entry_id, customer_id, recorded_at, name, pd_12m`` and ``features``, a
        mapping by name.
    """
    for entry in reader.readable_entries([SCORE]):
        answer = orjson.loads(entry.body)
        if model_sha256 not in (None, answer["model"]["sha256"]):
            continue
        yield {
            "entry_id": entry.entry_id,
            "customer_id": answer["customer_id"],
            "recorded_at": datetime.fromisoformat(answer["recorded_at"]),
            "name": answer["model"]["name"],
            "pd_12m": answer["pd_12m"],
            "features": features_sent(entry.request),
        }


def features_sent(request: str) -> Mapping[str, FeatureValue]:
    """Return the features of a recorded request, as they were sent."""
    return ScoreRequest.model_validate_json(request).features


def one_name(in_query: str | None, in_body: str | None) -> str | None:
    """Return the name of the model, which may be given in two places.

    Raises
    ------
    SchemaError
        If they differ.
    """
    if in_query is not None and in_body is not None and in_query != in_body:
        raise SchemaError(
            "the query and the body name two models",
            where="model",
            expected="one name",
        )
    return in_query if in_query is not None else in_body
