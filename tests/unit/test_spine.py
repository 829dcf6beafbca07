"""The spine of a decision: batches with failures, and retries that end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pytest

from obligor.decisions.batch import Failed, Question, for_each, not_failed, or_raise
from obligor.decisions.questions import DecisionRequest
from obligor.decisions.recorded import MAX_ATTEMPTS, AnswerRecord, RecordedAnswer
from obligor.decisions.spine import Decider
from obligor.errors import ConflictError, RecordError, UnknownCustomerError
from obligor.record.entry import Entry
from obligor.record.receipts import ReceiptSigner
from obligor.serving.assembly import Service
from tests.fakes import MemoryRecord

SIGNER = ReceiptSigner(bytes(32))


def ask(customer_id: str, key: str | None = None) -> Question:
    return Question(DecisionRequest(customer_id=customer_id), key)


@dataclass
class CrowdedRecord(MemoryRecord):
    """A record in which another writer takes the key just before an append."""

    conflicts: int = 1
    attempts: int = field(default=0)

    def append(self, entries: Sequence[Entry]) -> list[bytes]:
        if not entries:
            return []
        self.attempts += 1
        if self.attempts <= self.conflicts:
            if self.attempts == 1:
                winner = replace(entries[0], entry_id="winner", body='{"winner":1}')
                super().append([winner])
            raise ConflictError("the idempotency key was used a moment ago")
        return super().append(entries)


class FullRecord(MemoryRecord):
    """A record that cannot write."""

    def append(self, entries: Sequence[Entry]) -> list[bytes]:
        raise RecordError("disk full")


def decider_on(service: Service, record: MemoryRecord) -> Decider:
    answers = AnswerRecord(record, record, SIGNER)  # type: ignore[arg-type]
    return replace(service.decider, answers=answers)


def test_a_failed_question_does_not_stop_the_others(untrained_service: Service) -> None:
    record = MemoryRecord()
    questions = [ask("C0000001"), ask("NOBODY"), ask("C0000002")]
    answers = decider_on(untrained_service, record).answer_all(questions)
    assert isinstance(answers[0], RecordedAnswer)
    assert isinstance(answers[1], Failed)
    assert isinstance(answers[1].error, UnknownCustomerError)
    assert isinstance(answers[2], RecordedAnswer)
    customer_ids = [entry.customer_id for entry in record.entries]
    assert customer_ids == ["C0000001", "C0000002"]


def test_later_steps_pass_a_failure_on() -> None:
    failure = Failed(ask("ANNA"), RecordError("first"))
    batch = for_each([failure, ask_with_key("k")], fail_without_key)
    assert batch == [failure, "k"]
    assert not_failed(batch) == ["k"]
    with pytest.raises(RecordError, match="first"):
        or_raise(batch[0])


@dataclass(frozen=True)
class Asked:
    """An item of a batch."""

    question: Question


def ask_with_key(key: str | None) -> Asked:
    return Asked(ask("ANNA", key))


def fail_without_key(item: Asked) -> str:
    if item.question.key is None:
        raise RecordError("no key")
    return item.question.key


def test_a_step_that_raises_makes_its_question_fail() -> None:
    item = ask_with_key(None)
    (failure,) = for_each([item], fail_without_key)
    assert isinstance(failure, Failed)
    assert failure.question is item.question
    assert failure.error.what == "no key"


def test_if_another_writer_was_first_its_answer_is_returned(
    untrained_service: Service,
) -> None:
    record = CrowdedRecord()
    decider = decider_on(untrained_service, record)
    assert decider.answer(ask("C0000001", "k")).body == '{"winner":1}'
    assert record.attempts == 1
    assert len(record.entries) == 1


def test_retries_after_a_conflict_are_bounded(untrained_service: Service) -> None:
    record = CrowdedRecord(conflicts=1000)
    # Without a key no earlier answer is ever found.
    with pytest.raises(ConflictError):
        decider_on(untrained_service, record).answer(ask("C0000001"))
    assert record.attempts == MAX_ATTEMPTS


def test_a_key_with_another_request_is_refused(untrained_service: Service) -> None:
    decider = decider_on(untrained_service, MemoryRecord())
    decider.answer(ask("C0000001", "k"))
    with pytest.raises(ConflictError, match="used with another request"):
        decider.answer(ask("C0000002", "k"))


def test_without_a_record_no_answer_leaves(untrained_service: Service) -> None:
    decider = decider_on(untrained_service, FullRecord())
    with pytest.raises(RecordError, match="disk full"):
        decider.answer(ask("C0000001"))


def test_an_unrecorded_decision_leaves_no_trace(untrained_service: Service) -> None:
    record = MemoryRecord()
    decided = decider_on(untrained_service, record).decide_unrecorded(ask("C0000001"))
    assert decided.decision.outcome == "approve"
    assert decided.scored.pd_12m == 0.02
    assert record.entries == []
