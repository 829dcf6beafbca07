"""Cases: decisions that refer to a person and orders that are held, until somebody resolves them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson

from obligor.casework.case_queries import Case, CaseQueries
from obligor.casework.questions import ResolutionRequest
from obligor.decisions.engine import Engine
from obligor.errors import ConflictError
from obligor.policy.credit.authority import Authority, Resolution, resolve
from obligor.record.entry import Entry


def case_answer(case_id: str, engine: Engine) -> bytes:
    """Return a case as JSON: why it was opened, who may resolve it, and what was done about it.

    Raises
    ------
    UnknownDecisionError
        Where there is no such case.
    """
    return orjson.dumps(_view(CaseQueries(engine.record.reader).case(case_id)))


def open_cases(engine: Engine) -> bytes:
    """Return the cases nobody has resolved, oldest first."""
    queries = CaseQueries(engine.record.reader)
    cases = [_view(queries.case(case_id)) for case_id in queries.open_case_ids()]
    return orjson.dumps({"cases": cases})


def resolve_case(
    case_id: str, asked: ResolutionRequest, engine: Engine, maker: str | None = None
) -> bytes:
    """Record what a person decided about a case and return the case; the same again changes nothing.

    Raises
    ------
    UnknownDecisionError, ConflictError, AuthorityError
        Where there is no such case, it is closed, or this person may not resolve it.
    """
    case, request = (
        CaseQueries(engine.record.reader).case(case_id),
        asked.model_dump_json(),
    )
    if any(one.request == request for one in case.later):
        return orjson.dumps(_view(case))
    if case.closing:
        raise ConflictError(
            "the case is closed", where="case_id", do="ask for a new decision"
        )
    resolution = Resolution(**vars(asked))
    outcome = resolve(_authority(case), _resolutions(case), resolution)
    opening, now = orjson.loads(case.opening.body), engine.now()
    body = {
        "case_id": case_id,
        "recorded_at": now,
        "outcome": outcome,
        "resolution": resolution,
    }
    entry = Entry(
        entry_id=engine.new_id(),
        kind="resolution",
        customer_id=opening["customer_id"],
        as_of=now.date(),
        recorded_at=now,
        idempotency_key=_next_key(case_id, case),
        outcome=outcome,
        request=request,
        body=orjson.dumps(body).decode(),
        case_id=case_id,
        requested_by_key=maker,
    )
    _append(entry, engine)
    return case_answer(case_id, engine)


def reevaluate_case(case_id: str, engine: Engine, maker: str | None = None) -> bytes:
    """Ask the case's question again with what is known now, as when money has come; approved, it is closed.

    Raises
    ------
    UnknownDecisionError, ConflictError, SchemaError
        Where there is no such case, it is closed, or it came with a ledger of its own.
    """
    case = CaseQueries(engine.record.reader).case(case_id)
    if case.closing:
        raise ConflictError(
            "the case is closed", where="case_id", do="ask for a new decision"
        )
    entry = engine.again(case.opening.kind, case.opening.request)
    _append(
        replace(
            entry,
            case_id=case_id,
            requested_by_key=maker,
            idempotency_key=_next_key(case_id, case),
        ),
        engine,
    )
    return case_answer(case_id, engine)


def _append(entry: Entry, engine: Engine) -> None:
    """The key is that of the place behind what was read: of two who act at once one is told."""
    try:
        engine.record.writer.append([entry])
    except ConflictError:
        raise ConflictError(
            "somebody else acted on the case a moment ago", do="look at it again"
        ) from None


def _next_key(case_id: str, case: Case) -> str:
    return f"case\n{case_id}\n{len(case.later)}"  # a caller's key has no line feed


def _authority(case: Case) -> Authority:
    asked, answer = orjson.loads(case.opening.request), orjson.loads(case.opening.body)
    filed = [
        part for part in (asked.get("file") or {}).values() if isinstance(part, dict)
    ]
    makers = {str(part["by"]) for part in filed if part.get("by")} | {
        asked.get("requested_by")
    }
    return Authority(**answer["authority"], makers=frozenset(makers - {None}))


def _resolutions(case: Case) -> list[Resolution]:
    return [
        Resolution(**orjson.loads(one.body)["resolution"])
        for one in case.later
        if one.kind == "resolution"
    ]


def _view(case: Case) -> dict[str, Any]:
    answer, authority = orjson.loads(case.opening.body), _authority(case)
    return {
        "case_id": answer["decision_id"],
        "kind": case.opening.kind,
        "customer_id": answer["customer_id"],
        "as_of": answer["as_of"],
        "opened_at": answer["recorded_at"],
        "status": "closed" if case.closing else "open",
        "outcome": case.closing or case.opening.outcome,
        "reasons": [
            {name: reason[name] for name in ("code", "text", "text_zh")}
            for reason in answer.get("blocks", answer.get("reasons"))
        ],
        "authority": {"approver": authority.approver, "persons": authority.persons},
        "made_by": sorted(authority.makers),
        "history": [
            _event(orjson.loads(one.body), one.kind, one.outcome) for one in case.later
        ],
    }


def _event(body: dict[str, Any], kind: str, outcome: str) -> dict[str, Any]:
    """A resolution with its person, or a decision made again with its id."""
    if kind == "resolution":
        said = body["resolution"]
        return {
            "kind": kind,
            "at": body["recorded_at"],
            **said,
            "said": said["outcome"],
            "outcome": outcome,
            "decision_id": None,
        }
    return {
        "kind": "again",
        "at": body["recorded_at"],
        "outcome": outcome,
        "decision_id": body["decision_id"],
        "by": None,
        "role": None,
        "because": None,
        "said": None,
    }
