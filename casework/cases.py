"""Cases: decisions that are referred and orders that are held, until a person acts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, tzinfo
from typing import Annotated

import orjson
from pydantic import Field
from typing_extensions import TypedDict

from obligor.casework.case_queries import Case, CaseQueries
from obligor.casework.questions import ResolutionRequest
from obligor.data.time_zone import day_at
from obligor.decisions.answer import Stamp
from obligor.decisions.answer_parts import Authority as AuthorityAnswer
from obligor.decisions.json_values import DateText, TimeText, one_of
from obligor.errors import ConflictError
from obligor.policy.credit.authority import Authority, Resolution, resolve
from obligor.record.entry import Entry, OpenedEntry
from obligor.record.writer import RecordWriter


class CaseReason(TypedDict):
    """A reason why a case was opened."""

    code: str
    text: str
    text_zh: str


class CaseEvent(TypedDict):
    """An event in a case: a person's resolution, or the question asked again."""

    kind: Annotated[str, one_of("resolution", "again")]
    at: TimeText
    outcome: Annotated[
        str, one_of("approve", "release", "refer", "hold", "decline", "pending")
    ]
    by: str | None
    role: str | None
    because: str | None
    said: Annotated[
        Annotated[str, one_of("approve", "decline")] | None,
        Field(description="The decision of this person"),
    ]
    decision_id: Annotated[
        str | None,
        Field(description="The decision that was made again"),
    ]


class CaseAnswer(TypedDict):
    """A referred decision or a held order, and what became of it."""

    case_id: str
    kind: Annotated[str, one_of("decision", "order")]
    customer_id: str
    as_of: DateText
    opened_at: TimeText
    status: Annotated[str, one_of("open", "closed")]
    outcome: Annotated[str, one_of("approve", "release", "refer", "hold", "decline")]
    reasons: list[CaseReason]
    authority: AuthorityAnswer
    made_by: list[str]
    history: list[CaseEvent]


class CaseList(TypedDict):
    """The open cases, oldest first."""

    cases: list[CaseAnswer]


@dataclass(frozen=True)
class CaseDesk:
    """Shows cases, and records what people do about them.

    Attributes
    ----------
    queries : CaseQueries
        Reads cases from the record.
    writer : RecordWriter
        Appends what was done.
    reevaluate : callable
        Takes kind and request (JSON) of an entry; returns the entry that answers it
        with what is known today.
    stamp : callable
        Returns the id and the time of a new entry.
    zone : tzinfo
        The time zone of the house.
    """

    queries: CaseQueries
    writer: RecordWriter
    reevaluate: Callable[[str, str], Entry]
    stamp: Callable[[], Stamp]
    zone: tzinfo = UTC

    def case(self, case_id: str) -> CaseAnswer:
        """Return a case: why it was opened, who may resolve it, and what was done.

        Raises
        ------
        UnknownDecisionError
            If no case has this id.
        """
        return _case_answer(self.queries.case(case_id))

    def open_cases(self) -> CaseList:
        """Return the cases that nobody has resolved, oldest first."""
        case_ids = self.queries.open_case_ids()
        return {"cases": [self.case(case_id) for case_id in case_ids]}

    def resolve(
        self,
        case_id: str,
        request: ResolutionRequest,
        requested_by_key: str | None = None,
    ) -> CaseAnswer:
        """Record a person's decision about a case; recording it twice changes nothing.

        Parameters
        ----------
        case_id : str
            The id of the decision or order check that opened the case.
        request : ResolutionRequest
            Who decided what, in which role, and why.
        requested_by_key : str, optional
            The name of the API key that requested it; kept with the entry.

        Returns
        -------
        CaseAnswer
            The case after it.

        Raises
        ------
        UnknownDecisionError
            If no case has this id.
        ConflictError
            If the case is closed, or somebody else acted on it at the same time.
        AuthorityError
            If this person may not resolve it.
        """
        case = self.queries.case(case_id)
        text = request.model_dump_json()
        if any(entry.request == text for entry in case.later):
            return _case_answer(case)
        _require_open(case)
        resolution = Resolution(**vars(request))
        outcome = resolve(_authority(case), _resolutions(case), resolution)
        stamp = self.stamp()
        body = {
            "case_id": case_id,
            "recorded_at": stamp.recorded_at,
            "outcome": outcome,
            "resolution": resolution,
        }
        entry = Entry(
            entry_id=stamp.entry_id,
            kind="resolution",
            customer_id=orjson.loads(case.opening.body)["customer_id"],
            as_of=day_at(stamp.recorded_at, self.zone),
            recorded_at=stamp.recorded_at,
            idempotency_key=_next_key(case_id, case),
            outcome=outcome,
            request=text,
            body=orjson.dumps(body).decode(),
            case_id=case_id,
            requested_by_key=requested_by_key,
        )
        self._append(entry)
        return self.case(case_id)

    def ask_again(
        self, case_id: str, requested_by_key: str | None = None
    ) -> CaseAnswer:
        """Ask the question of a case again with what is known now.

        An approval closes the case, as when money has come in.

        Parameters
        ----------
        case_id : str
            The id of the decision or order check that opened the case.
        requested_by_key : str, optional
            The name of the API key that requested it; kept with the entry.

        Returns
        -------
        CaseAnswer
            The case after it.

        Raises
        ------
        UnknownDecisionError
            If no case has this id.
        ConflictError
            If the case is closed, or somebody else acted on it at the same time.
        SchemaError
            If the question came with its own ledger.
        """
        case = self.queries.case(case_id)
        _require_open(case)
        entry = self.reevaluate(case.opening.kind, case.opening.request)
        of_case = replace(
            entry,
            case_id=case_id,
            requested_by_key=requested_by_key,
            idempotency_key=_next_key(case_id, case),
        )
        self._append(of_case)
        return self.case(case_id)

    def _append(self, entry: Entry) -> None:
        """Append an act; if two people act at once, the second is refused.

        Both acts have the key of the same place in the case's history.
        """
        try:
            self.writer.append([entry])
        except ConflictError:
            raise ConflictError(
                "somebody else acted on the case a moment ago", do="look at it again"
            ) from None


def _require_open(case: Case) -> None:
    if case.closing:
        raise ConflictError(
            "the case is closed", where="case_id", do="ask for a new decision"
        )


def _next_key(case_id: str, case: Case) -> str:
    """Return the key of the next act; a caller's key cannot contain a line feed."""
    return f"case\n{case_id}\n{len(case.later)}"


def _authority(case: Case) -> Authority:
    """Return who must resolve a case; those who made it may not."""
    request = orjson.loads(case.opening.request)
    makers = set[str]()
    if request.get("requested_by"):
        makers.add(request["requested_by"])
    for part in (request.get("file") or {}).values():
        if isinstance(part, dict) and part.get("by"):
            makers.add(str(part["by"]))
    authority = orjson.loads(case.opening.body)["authority"]
    return Authority(**authority, makers=frozenset(makers))


def _resolutions(case: Case) -> list[Resolution]:
    resolutions = list[Resolution]()
    for entry in case.later:
        if entry.kind == "resolution":
            resolutions.append(Resolution(**orjson.loads(entry.body)["resolution"]))
    return resolutions


def _case_answer(case: Case) -> CaseAnswer:
    answer = orjson.loads(case.opening.body)
    authority = _authority(case)
    # An order check has blocks in place of reasons.
    reasons = answer["blocks"] if "blocks" in answer else answer["reasons"]
    return {
        "case_id": answer["decision_id"],
        "kind": case.opening.kind,
        "customer_id": answer["customer_id"],
        "as_of": answer["as_of"],
        "opened_at": answer["recorded_at"],
        "status": "closed" if case.closing else "open",
        "outcome": case.closing or case.opening.outcome,
        "reasons": [
            {
                "code": reason["code"],
                "text": reason["text"],
                "text_zh": reason["text_zh"],
            }
            for reason in reasons
        ],
        "authority": {"approver": authority.approver, "persons": authority.persons},
        "made_by": sorted(authority.makers),
        "history": [_event(entry) for entry in case.later],
    }


def _event(entry: OpenedEntry) -> CaseEvent:
    """Return a resolution with its person, or a decision made again with its id."""
    body = orjson.loads(entry.body)
    if entry.kind == "resolution":
        resolution = body["resolution"]
        return {
            "kind": "resolution",
            "at": body["recorded_at"],
            "by": resolution["by"],
            "role": resolution["role"],
            "outcome": entry.outcome,
            "because": resolution["because"],
            "said": resolution["outcome"],
            "decision_id": None,
        }
    return {
        "kind": "again",
        "at": body["recorded_at"],
        "outcome": entry.outcome,
        "decision_id": body["decision_id"],
        "by": None,
        "role": None,
        "because": None,
        "said": None,
    }
