"""Handlers for decisions: ask, read, prove, replay, explain."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, NotRequired, cast

import orjson
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response
from typing_extensions import TypedDict

from obligor.casework.early_warnings import warnings_about
from obligor.decisions.answer import DecisionAnswer
from obligor.decisions.batch import Batch, Failed, Question, or_raise
from obligor.decisions.in_force import in_force_answer
from obligor.decisions.notice import notice
from obligor.decisions.questions import DecisionRequest, OrderRequest, ScoreRequest
from obligor.decisions.recorded import RecordedAnswer
from obligor.decisions.scores import one_name
from obligor.portfolio.what_if import SimulationRequest, what_if_answer
from obligor.serving.api.batching import DecisionBatcher
from obligor.serving.api.callers import own_entry_id, requested_by_key, service_of
from obligor.serving.api.parsing import idempotency_key, parsed_body, parsed_query
from obligor.serving.api.problems import Problem, problem_of
from obligor.serving.api.queries import (
    BatchRequest,
    InForceQuery,
    NoticeQuery,
    ScoreQuery,
)
from obligor.serving.api.responses import json_response, json_text, recorded_response
from obligor.serving.api.threads import in_thread

MAX_AT_ONCE = 100  # questions of a batch, before others have their turn
_NULL_BY_DEFAULT = Field(json_schema_extra={"default": None})


class BatchItem(TypedDict):
    """The answer to one question of a batch: a decision or a problem."""

    status: int
    decision: NotRequired[Annotated[DecisionAnswer | None, _NULL_BY_DEFAULT]]
    receipt: NotRequired[Annotated[str | None, _NULL_BY_DEFAULT]]
    problem: NotRequired[Annotated[Problem | None, _NULL_BY_DEFAULT]]


class BatchAnswer(TypedDict):
    """The answers in the order of the questions."""

    decisions: list[BatchItem]


class DecisionList(TypedDict):
    """A customer's decisions, newest first."""

    customer_id: str
    decisions: list[DecisionAnswer]


class ReplayAnswer(TypedDict):
    """A decision computed again with the model, rules and inputs of its day."""

    decision_id: str
    is_equal: bool
    differences: list[str]


async def post_decision(request: Request) -> Response:
    """Decide one question."""
    body = await parsed_body(request, DecisionRequest)
    question = Question(body, idempotency_key(request), requested_by_key(request))
    (answer,) = await _answered(request, [question])
    return recorded_response(or_raise(answer))


async def post_batch(request: Request) -> Response:
    """Decide many questions; each is answered or has a problem of its own."""
    bodies = (await parsed_body(request, BatchRequest)).decisions
    key = idempotency_key(request)
    caller = requested_by_key(request)
    questions = [
        Question(body, f"{key}/{index}" if key else None, caller)
        for index, body in enumerate(bodies)
    ]
    answers: Batch[RecordedAnswer] = []
    for start in range(0, len(questions), MAX_AT_ONCE):
        answers += await _answered(request, questions[start : start + MAX_AT_ONCE])
    items = ",".join(_batch_item(answer) for answer in answers)
    return json_text(f'{{"decisions":[{items}]}}')


async def _answered(
    request: Request, questions: Sequence[Question]
) -> Batch[RecordedAnswer]:
    if any(question.request.ledger for question in questions):
        # A ledger may have thousands of rows: others must not wait for it.
        decider = service_of(request).decider
        return await in_thread(request, decider.answer_all, questions)
    batcher = cast(DecisionBatcher, request.app.state.batcher)
    return await batcher.answers(questions)


def _batch_item(answer: RecordedAnswer | Failed) -> str:
    """Return a `BatchItem` as JSON; the body of a decision stays as it is recorded."""
    if isinstance(answer, RecordedAnswer):
        return (
            f'{{"status":200,"decision":{answer.body},'
            f'"receipt":"{answer.receipt}","problem":null}}'
        )
    problem = problem_of(answer.error)
    text = orjson.dumps(problem).decode()
    return (
        f'{{"status":{problem["status"]},"decision":null,'
        f'"receipt":null,"problem":{text}}}'
    )


async def post_score(request: Request) -> Response:
    """Score ready-made features; recorded if the request or the spec says so."""
    query = parsed_query(request, ScoreQuery)
    body = await parsed_body(request, ScoreRequest)
    name = one_name(query.model, body.model)
    question = body.model_copy(update={"model": name})
    scorer = service_of(request).scorer
    if not scorer.is_recorded(question):
        return json_response(scorer.score(question))
    answer = await in_thread(
        request,
        scorer.score_recorded,
        question,
        idempotency_key(request),
        requested_by_key(request),
    )
    return recorded_response(answer)


async def post_order(request: Request) -> Response:
    """Check an order."""
    body = await parsed_body(request, OrderRequest)
    answer = await in_thread(
        request,
        service_of(request).orders.check,
        body,
        idempotency_key(request),
        requested_by_key(request),
    )
    return recorded_response(answer)


async def get_decision(request: Request) -> Response:
    """Return a decision as it was given."""
    entry_id = await own_entry_id(request, "decision_id")
    answers = service_of(request).answers
    return recorded_response(
        await in_thread(request, answers.recorded_answer, entry_id)
    )


async def get_proof(request: Request) -> Response:
    """Return the proof that an entry is in the record."""
    entry_id = await own_entry_id(request, "decision_id")
    checkpointer = service_of(request).checkpointer
    return json_response(await in_thread(request, checkpointer.proof, entry_id))


async def get_notice(request: Request) -> Response:
    """Return the notice for the customer, as a page or as text."""
    query = parsed_query(request, NoticeQuery)
    entry_id = await own_entry_id(request, "decision_id")
    entry = await in_thread(request, service_of(request).record.reader.entry, entry_id)
    text = notice(entry, query.lang, query.kind, query.format == "html")
    media = "text/html" if query.format == "html" else "text/plain"
    return Response(text, media_type=media)


async def post_replay(request: Request) -> Response:
    """Compute a decision again."""
    entry_id = request.path_params["decision_id"]
    replay = await in_thread(request, service_of(request).replayer.replay, entry_id)
    answer: ReplayAnswer = {
        "decision_id": replay.decision_id,
        "is_equal": replay.is_equal,
        "differences": list(replay.differences),
    }
    return json_response(answer)


async def get_customer_decisions(request: Request) -> Response:
    """Return the last decisions about a customer, newest first."""
    customer_id = request.path_params["customer_id"]
    reader = service_of(request).record.reader
    entries = await in_thread(request, reader.of_customer, customer_id, "decision")
    name = orjson.dumps(customer_id).decode()
    bodies = ",".join(entry.body for entry in entries)
    return json_text(f'{{"customer_id":{name},"decisions":[{bodies}]}}')


async def get_warnings(request: Request) -> Response:
    """Return the early warnings about a customer."""
    service = service_of(request)
    customer_id = request.path_params["customer_id"]
    answer = await in_thread(
        request, warnings_about, customer_id, service.record.reader, service.rulebooks
    )
    return json_response(answer)


async def get_in_force(request: Request) -> Response:
    """Return the model and the rulebook that were in force at a time."""
    query = parsed_query(request, InForceQuery)
    service = service_of(request)
    answer = await in_thread(
        request,
        in_force_answer,
        query.at,
        service.champions.store,
        service.rulebooks.folder,
    )
    return json_response(answer)


async def post_simulation(request: Request) -> Response:
    """Compare two rulebooks on the loaded ledger; nothing is recorded."""
    body = await parsed_body(request, SimulationRequest)
    service = service_of(request)
    answer = await in_thread(
        request,
        what_if_answer,
        body,
        service.ledger,
        service.champions,
        service.rulebooks,
        service.today(),
    )
    return json_response(answer)
