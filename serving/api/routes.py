"""The HTTP routes under /v1 as one ASGI app, and the OpenAPI document that is true to them."""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable, Sequence
from functools import wraps
from itertools import count
from typing import Any, TypeVar

import anyio
import anyio.to_thread
import orjson
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel, ValidationError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Match, Route

from obligor.casework.cases import (
    case_answer,
    open_cases,
    reevaluate_case,
    resolve_case,
)
from obligor.casework.contacts import record_contact
from obligor.casework.early_warnings import warnings_about
from obligor.casework.questions import ContactRequest, ResolutionRequest, WorklistQuery
from obligor.casework.worklist import worklist_answer
from obligor.decisions import questions
from obligor.decisions.engine import Answer as Recorded
from obligor.decisions.engine import Engine
from obligor.decisions.in_force import in_force_answer
from obligor.decisions.notice import notice
from obligor.decisions.replay import replay
from obligor.errors import (
    AuthorityError,
    ObligorError,
    SchemaError,
    UnknownDecisionError,
)
from obligor.portfolio.what_if import SimulationRequest, what_if_answer
from obligor.serving.access.api_keys import Caller
from obligor.serving.access.denials import Denied
from obligor.serving.access.gate import Gate
from obligor.serving.api.batching import DecisionBatcher
from obligor.serving.api.metrics import Metrics, RequestMetrics
from obligor.serving.api.openapi import LONGEST_KEY, openapi
from obligor.serving.api.problems import (
    on_bug,
    on_error,
    on_gone,
    on_http_error,
    problem_of,
)
from obligor.serving.api.queries import BatchRequest, InForceQuery, NoticeQuery

log = logging.getLogger("obligor")
RECEIPT = "Obligor-Receipt"
THREADS = 2
MOST_AT_ONCE = 100  # of a batch, before others have their turn
Shape = TypeVar("Shape", bound=BaseModel)
Answer = TypeVar("Answer")


def create_app(new_request_id: Callable[[], str] | None = None) -> Starlette:
    """Return the app; whoever runs it calls `use_engine`. Request ids are counted where none are given."""
    routes = [
        _route("/decisions", _post_decision, methods=["POST"]),
        _route("/decisions/batch", _post_batch, methods=["POST"]),
        _route("/scores", _post_score, methods=["POST"]),
        _route("/orders/check", _post_order, methods=["POST"]),
        _route("/decisions/{decision_id}", _get_decision, methods=["GET"]),
        _route("/decisions/{decision_id}/proof", _get_proof, methods=["GET"]),
        _route("/decisions/{decision_id}/notice", _get_notice, methods=["GET"]),
        _route("/decisions/{decision_id}/replay", _post_replay, methods=["POST"]),
        _route(
            "/customers/{customer_id}/decisions",
            _get_customer_decisions,
            methods=["GET"],
        ),
        _route("/customers/{customer_id}/warnings", _get_warnings, methods=["GET"]),
        _route("/cases", _get_cases, methods=["GET"]),
        _route("/cases/{case_id}", _get_case, methods=["GET"]),
        _route("/cases/{case_id}/resolve", _post_resolution, methods=["POST"]),
        _route("/cases/{case_id}/reevaluate", _post_reevaluation, methods=["POST"]),
        _route("/worklist", _get_worklist, methods=["GET"]),
        _route("/contacts", _post_contact, methods=["POST"]),
        _route("/audit/in-force", _get_in_force, methods=["GET"]),
        _route("/policy/simulations", _post_simulation, methods=["POST"]),
        _route("/openapi.json", _get_openapi, methods=["GET"]),
        _route("/metrics", _get_metrics, methods=["GET"]),
        Route(
            "/{path:path}",
            _nowhere,
            methods=["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"],
        ),
    ]
    app = Starlette(
        routes=routes,
        exception_handlers={
            ObligorError: on_error,
            HTTPException: on_http_error,
            ClientDisconnect: on_gone,
            Exception: on_bug,
        },
    )
    app.state.limiter, app.state.metrics = anyio.CapacityLimiter(THREADS), Metrics()
    new_id = new_request_id or map(str, count(1)).__next__
    app.add_middleware(
        RequestMetrics, routes=routes, metrics=app.state.metrics, new_id=new_id
    )
    return app


def use_engine(app: Starlette, engine: Engine, gate: Gate | None = None) -> None:
    """Have the app answer with an engine; without a gate everybody is let in."""
    app.state.engine, app.state.desk, app.state.gate = (
        engine,
        DecisionBatcher(engine),
        gate,
    )


def _route(
    path: str,
    endpoint: Callable[[Request], Awaitable[Response]],
    methods: Sequence[str],
) -> Route:
    """A route that lets in only those who may call it, before it looks at what they send."""

    @wraps(endpoint)
    async def admitted(request: Request) -> Response:
        gate: Gate | None = request.app.state.gate
        request.state.caller = None
        if gate:
            request.state.caller = gate.admit(
                request.method, path, request.headers.get("authorization")
            )
        return await endpoint(request)

    return Route(path, admitted, methods=methods)


async def _in_thread(
    request: Request, work: Callable[..., Answer], *arguments: Any
) -> Answer:
    """Run what waits for the disk, or computes for long."""
    return await anyio.to_thread.run_sync(
        work, *arguments, limiter=request.app.state.limiter
    )


async def _post_decision(request: Request) -> Response:
    asked = _parsed(questions.DecisionRequest, await _json_body(request))
    answer = (await _decided(request, [asked], [_key(request)]))[0]
    if isinstance(answer, ObligorError):
        raise answer
    return _recorded(answer)


async def _post_batch(request: Request) -> Response:
    asked = _parsed(BatchRequest, await _json_body(request)).decisions
    key = _key(request)
    keys = [f"{key}/{place}" if key else None for place in range(len(asked))]
    answers = list[Recorded | ObligorError]()
    for start in range(0, len(asked), MOST_AT_ONCE):
        answers += await _decided(
            request,
            asked[start : start + MOST_AT_ONCE],
            keys[start : start + MOST_AT_ONCE],
        )
    return _json(
        f'{{"decisions":[{",".join(_batch_item(answer) for answer in answers)}]}}'
    )


async def _post_score(request: Request) -> Response:
    return _json(
        _engine(request).score(
            _parsed(questions.ScoreRequest, await _json_body(request))
        )
    )


async def _post_order(request: Request) -> Response:
    asked = _parsed(questions.OrderRequest, await _json_body(request))
    return _recorded(
        await _in_thread(
            request, _engine(request).check_order, asked, _key(request), _maker(request)
        )
    )


async def _decided(
    request: Request,
    asked: Sequence[questions.DecisionRequest],
    keys: Sequence[str | None],
) -> list[Recorded | ObligorError]:
    if any(
        question.ledger for question in asked
    ):  # may have thousands of rows: others must not wait for it
        return await _in_thread(
            request,
            _engine(request).decide_all,
            asked,
            keys,
            [_maker(request)] * len(keys),
        )
    desk: DecisionBatcher = request.app.state.desk
    return await desk.answers(asked, keys, _maker(request))


def _batch_item(answer: Recorded | ObligorError) -> str:
    if isinstance(answer, Recorded):
        return f'{{"status":200,"decision":{answer.body},"receipt":"{answer.receipt}","problem":null}}'
    problem = problem_of(answer)
    said = orjson.dumps(problem).decode()
    return f'{{"status":{problem["status"]},"decision":null,"receipt":null,"problem":{said}}}'


async def _get_decision(request: Request) -> Response:
    return _recorded(
        await _in_thread(
            request, _engine(request).stored, await _own(request, "decision_id")
        )
    )


async def _get_proof(request: Request) -> Response:
    proof = await _in_thread(
        request, _engine(request).notary.proof, await _own(request, "decision_id")
    )
    return _json(orjson.dumps(proof))


async def _get_notice(request: Request) -> Response:
    asked = _parsed(NoticeQuery, orjson.dumps(dict(request.query_params)))
    kept = await _in_thread(
        request,
        _engine(request).record.reader.entry,
        await _own(request, "decision_id"),
    )
    said = notice(kept, asked.lang, asked.kind, asked.format == "html")
    return _json(said, media="text/html" if asked.format == "html" else "text/plain")


async def _post_replay(request: Request) -> Response:
    found = await _in_thread(
        request, replay, request.path_params["decision_id"], _engine(request)
    )
    return _json(
        orjson.dumps(
            {
                "decision_id": found.decision_id,
                "is_equal": found.is_equal,
                "differences": found.differences,
            }
        )
    )


async def _get_in_force(request: Request) -> Response:
    asked, engine = (
        _parsed(InForceQuery, orjson.dumps(dict(request.query_params))),
        _engine(request),
    )
    return _json(
        await _in_thread(
            request, in_force_answer, asked.at, engine.champions.store, engine.rules
        )
    )


async def _get_customer_decisions(request: Request) -> Response:
    customer_id = request.path_params["customer_id"]
    reader = _engine(request).record.reader
    entries = await _in_thread(request, reader.of_customer, customer_id, "decision")
    bodies = [entry.body for entry in entries]
    return _json(
        f'{{"customer_id":{orjson.dumps(customer_id).decode()},"decisions":[{",".join(bodies)}]}}'
    )


async def _get_warnings(request: Request) -> Response:
    engine, customer_id = _engine(request), request.path_params["customer_id"]
    return _json(
        await _in_thread(
            request, warnings_about, customer_id, engine.record.reader, engine.rulebooks
        )
    )


async def _get_cases(request: Request) -> Response:
    return _json(await _in_thread(request, open_cases, _engine(request)))


async def _get_case(request: Request) -> Response:
    return _json(
        await _in_thread(
            request, case_answer, await _own(request, "case_id"), _engine(request)
        )
    )


async def _post_resolution(request: Request) -> Response:
    asked, case_id = (
        _parsed(ResolutionRequest, await _json_body(request)),
        request.path_params["case_id"],
    )
    _require_person(request, asked.by, asked.role)
    return _json(
        await _in_thread(
            request, resolve_case, case_id, asked, _engine(request), _maker(request)
        )
    )


async def _post_reevaluation(request: Request) -> Response:
    case_id = request.path_params["case_id"]
    return _json(
        await _in_thread(
            request, reevaluate_case, case_id, _engine(request), _maker(request)
        )
    )


async def _get_worklist(request: Request) -> Response:
    asked = _parsed(WorklistQuery, orjson.dumps(dict(request.query_params)))
    return _json(await _in_thread(request, worklist_answer, asked, _engine(request)))


async def _post_contact(request: Request) -> Response:
    asked = _parsed(ContactRequest, await _json_body(request))
    _require_person(request, asked.by)
    return _recorded(
        await _in_thread(
            request,
            record_contact,
            asked,
            _key(request),
            _engine(request),
            _maker(request),
        )
    )


async def _post_simulation(request: Request) -> Response:
    asked = _parsed(SimulationRequest, await _json_body(request))
    return _json(await _in_thread(request, what_if_answer, asked, _engine(request)))


async def _get_openapi(request: Request) -> Response:
    return _json(orjson.dumps(openapi()))


async def _get_metrics(request: Request) -> Response:
    return _json(request.app.state.metrics.text(), media=CONTENT_TYPE_LATEST)


async def _nowhere(request: Request) -> Response:
    """BentoML would answer an unknown path with plain text: a problem is ours to give."""
    for route in request.app.routes:
        if (
            isinstance(route, Route)
            and route.matches(request.scope)[0] == Match.PARTIAL
        ):
            allowed = ", ".join(sorted(route.methods or ()))
            raise HTTPException(
                405,
                f"{request.method} is not allowed; expected {allowed}",
                {"Allow": allowed},
            )
    raise HTTPException(404, "no such path; /v1/openapi.json lists them")


def _engine(request: Request) -> Engine:
    engine: Engine = request.app.state.engine
    return engine


async def _json_body(request: Request) -> bytes:
    media = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if media != "application/json":
        raise HTTPException(
            415, f"content type {media or 'none'!r}; expected application/json"
        )
    return await request.body()


def _parsed(shape: type[Shape], body: bytes) -> Shape:
    """Parse a body; the error names the field and never repeats its value."""
    _require_plain(body)
    try:
        return shape.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(
            include_url=False, include_context=False, include_input=False
        )[0]
        where = "".join(
            f"[{part}]" if isinstance(part, int) else f".{part}"
            for part in first["loc"]
        ).lstrip(".")
        raise SchemaError(
            first["msg"],
            where=where or "body",
            expected="what /v1/openapi.json says",
            do="correct the field",
        ) from None


def _require_plain(body: bytes) -> None:
    """Refuse a name given twice, of which others would take the last, and what is nested or long beyond sense."""
    try:
        json.loads(body, object_pairs_hook=_unique, parse_constant=_no_number)
    except RecursionError:
        raise SchemaError(
            "is nested too deeply", where="body", expected="what /v1/openapi.json says"
        ) from None
    except SchemaError:
        raise
    except ValueError:
        return  # no JSON, or a number of thousands of digits: the parser behind says where


def _unique(pairs: list[tuple[str, Any]]) -> None:
    if len({name for name, _ in pairs}) < len(pairs):
        raise SchemaError(
            "a name is given twice",
            where="body",
            expected="each name once in an object",
        )


def _no_number(name: str) -> None:
    raise SchemaError(
        "is no number in JSON", where="body", expected="a finite number or null"
    )


def _key(request: Request) -> str | None:
    key = request.headers.get("idempotency-key")
    if key is not None and not (
        0 < len(key) <= LONGEST_KEY and key.isascii() and key.isprintable()
    ):
        raise SchemaError(
            "unusable key",
            where="Idempotency-Key",
            expected=f"1 to {LONGEST_KEY} printable ASCII characters",
        )
    caller: Caller | None = request.state.caller
    return (
        f"{caller.name} {key}" if caller and key else key
    )  # keys of two callers are two keys


def _maker(request: Request) -> str | None:
    caller: Caller | None = request.state.caller
    return caller.name if caller else None


async def _own(request: Request, name: str) -> str:
    """The id in the path; for an application, what others asked for does not exist."""
    caller: Caller | None = request.state.caller
    entry_id = str(request.path_params[name])
    if caller and caller.role == "application":
        row = await _in_thread(request, _engine(request).record.reader.stored, entry_id)
        if row.requested_by_key != caller.name:
            route = request.scope["path"].replace(entry_id, f"{{{name}}}")
            request.app.state.gate.denials.count(
                Denied(caller.key_id, request.method, route, 404)
            )
            raise UnknownDecisionError(f"no decision {entry_id!r}", where=name)
    return entry_id


def _require_person(request: Request, by: str, role: str | None = None) -> None:
    """A key that is bound to a person speaks for that person only, with that person's authority."""
    caller: Caller | None = request.state.caller
    if caller and caller.person and caller.person != by:
        raise AuthorityError(
            "the key is another person's",
            where="by",
            expected="the person the key is bound to",
        )
    if caller and caller.person and role and caller.authority != role:
        raise AuthorityError(
            f"the key's person is no {role}",
            where="role",
            expected=str(caller.authority),
        )


def _json(
    body: str | bytes, status: int = 200, media: str = "application/json"
) -> Response:
    return Response(body, status_code=status, media_type=media)


def _recorded(answer: Recorded) -> Response:
    response = _json(answer.body)
    response.headers[RECEIPT] = answer.receipt
    return response
