"""Recorded answers: written before they leave, read again by id, key or model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from math import nan
from typing import NamedTuple

import orjson
from pydantic import BaseModel

from obligor.errors import ConflictError
from obligor.features.catalogue import NAMES
from obligor.record.entry import Entry, OpenedEntry
from obligor.record.reader import RecordReader
from obligor.record.receipts import ReceiptSigner
from obligor.record.writer import RecordWriter

# Each conflict means that another writer has recorded an answer to one of the keys, so
# the next attempt finds it. A batch can meet as many of them as it has keys.
MAX_ATTEMPTS = 10


class RecordedAnswer(NamedTuple):
    """The exact text of a recorded answer, and the signed receipt of its entry."""

    body: str
    receipt: str


@dataclass(frozen=True)
class AnswerRecord:
    """The answers in the record.

    Attributes
    ----------
    writer : RecordWriter
        Appends entries, durably.
    reader : RecordReader
        Reads entries.
    signer : ReceiptSigner
        Signs the receipt that goes out with an answer.
    """

    writer: RecordWriter
    reader: RecordReader
    signer: ReceiptSigner

    def record_all(self, entries: Sequence[Entry]) -> list[RecordedAnswer]:
        """Record entries and return their answers; raises as `RecordWriter.append`."""
        hashes = self.writer.append(entries)
        answers = list[RecordedAnswer]()
        for entry, leaf_hash in zip(entries, hashes, strict=True):
            receipt = self.signer.receipt(entry.entry_id, leaf_hash)
            answers.append(RecordedAnswer(entry.body, receipt))
        return answers

    def recorded_answer(self, entry_id: str) -> RecordedAnswer:
        """Return the answer of an entry as it was given.

        Raises
        ------
        UnknownDecisionError
            If no entry has this id.
        ErasedError
            If its customer was erased.
        """
        return self._answer(self.reader.entry(entry_id))

    def answer_for_key(
        self, request: BaseModel, key: str | None
    ) -> RecordedAnswer | None:
        """Return the recorded answer to an idempotency key, None if the key is new.

        Raises
        ------
        ConflictError
            If the key came with another request before.
        """
        if key is None:
            return None
        entry = self.reader.for_key(key, request.model_dump_json())
        return self._answer(entry) if entry else None

    def answer_once(
        self, request: BaseModel, key: str | None, new_entry: Callable[[], Entry]
    ) -> RecordedAnswer:
        """Return the recorded answer to a key, or record a new one.

        Parameters
        ----------
        request : BaseModel
            The request that the key came with.
        key : str, optional
            The idempotency key; without one every request is new.
        new_entry : callable
            Computes the entry, if there is no answer yet.

        Returns
        -------
        RecordedAnswer
            Durable when it is returned.

        Raises
        ------
        ConflictError
            If the key came with another request before.
        RecordError
            If the entry cannot be written.
        """
        for _ in range(MAX_ATTEMPTS):
            before = self.answer_for_key(request, key)
            if before is not None:
                return before
            try:
                return self.record_all([new_entry()])[0]
            except ConflictError as error:
                conflict = error
        raise conflict

    def _answer(self, entry: OpenedEntry) -> RecordedAnswer:
        receipt = self.signer.receipt(entry.entry_id, entry.leaf_hash)
        return RecordedAnswer(entry.body, receipt)


def features_of(
    answer: Mapping[str, Mapping[str, float | None]],
) -> dict[str, float]:
    """Return the features of a recorded answer in catalogue order; null becomes NaN."""
    features = answer["features"]
    values = {name: features[name] for name in NAMES if name in features}
    return {name: nan if value is None else value for name, value in values.items()}


def decided_rows(
    reader: RecordReader, model_sha256: str
) -> Iterator[dict[str, object]]:
    """Give each decision of a model with its features as they were recorded.

    Decisions about erased customers are left out.

    Parameters
    ----------
    reader : RecordReader
        The record.
    model_sha256 : str
        Hash of the model's bundle.

    Yields
    ------
    dict
        ``decision_id, customer_id, as_of, pd_12m`` and the features by name.
    """
    for entry in reader.readable_entries(["decision"]):
        answer = orjson.loads(entry.body)
        if answer["model"]["sha256"] == model_sha256:
            yield {
                "decision_id": entry.entry_id,
                "customer_id": answer["customer_id"],
                "as_of": date.fromisoformat(answer["as_of"]),
                "pd_12m": answer["pd_12m"],
                **features_of(answer),
            }
