"""Cases.

A decision that is referred, or an order that is held, opens a case. Its id is that of
the decision. The authority of the decision names the role that must resolve the case,
and how many persons must agree; a person who asked for the decision, or put something
on file for it, may not resolve it. A case is closed by the resolution that decides it,
or when its question is asked again and approved. Everything that is done about a case
is an entry of the record. In the examples a case needs two directors, unless a table
says otherwise.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime

import orjson
import pytest

from obligor.casework.cases import CaseDesk
from obligor.casework.questions import ResolutionRequest
from obligor.decisions.answer import Stamp
from obligor.errors import AuthorityError, ConflictError, ObligorError
from obligor.record.entry import Entry
from tests.ascii import parse, spec
from tests.fakes import Ids, ManualClock, MemoryRecord

CLOCK = ManualClock(datetime(2025, 1, 2, 12, 0, tzinfo=UTC))
CASE_ID = "CASE"


def decision(
    outcome: str = "refer",
    entry_id: str = CASE_ID,
    approver: str = "director",
    persons: int = 2,
) -> Entry:
    """Return a recorded decision, requested by SALLY, with an override by FRED."""
    request = {
        "customer_id": "ANNA",
        "requested_by": "SALLY",
        "file": {"override": {"by": "FRED"}, "securities": []},
    }
    answer = {
        "decision_id": entry_id,
        "customer_id": "ANNA",
        "as_of": "2024-12-31",
        "recorded_at": "2025-01-02T12:00:00+00:00",
        "outcome": outcome,
        "reasons": [{"code": "P24", "text": "too large", "text_zh": "超额"}],
        "authority": {"approver": approver, "persons": persons},
    }
    return Entry(
        entry_id=entry_id,
        kind="decision",
        customer_id="ANNA",
        as_of=date(2024, 12, 31),
        recorded_at=CLOCK(),
        idempotency_key=None,
        outcome=outcome,
        request=orjson.dumps(request).decode(),
        body=orjson.dumps(answer).decode(),
    )


def desk_for(*entries: Entry, outcome_now: str = "refer") -> CaseDesk:
    """Return a desk on a record with some entries.

    A question that is asked again today has the outcome `outcome_now`.
    """
    record = MemoryRecord()
    record.append(entries)
    new_id = Ids()

    def reevaluate(kind: str, request: str) -> Entry:
        return replace(decision(outcome_now, new_id()), kind=kind, request=request)

    return CaseDesk(
        queries=record,
        writer=record,
        reevaluate=reevaluate,
        stamp=lambda: Stamp(new_id(), CLOCK()),
    )


def resolution(by: str, role: str, decides: str) -> ResolutionRequest:
    """Return what a person decides about the case."""
    return ResolutionRequest.model_validate(
        {"by": by, "role": role, "outcome": decides, "because": "looked at it"}
    )


def resolved(desk: CaseDesk, acts: str) -> list[dict[str, object]]:
    """Let persons resolve the case one after the other; return how it went."""
    rows = []
    for act in parse(acts):
        row: dict[str, object] = {"by": act["by"], "refused": None}
        try:
            desk.resolve(CASE_ID, resolution(**act))
        except (AuthorityError, ConflictError) as error:
            row["refused"] = error.where
        case = desk.case(CASE_ID)
        rows.append({**row, "status": case["status"], "outcome": case["outcome"]})
    return rows


def test_what_was_referred_or_held_is_a_case() -> None:
    """A referred decision and a held order are cases; others are not."""
    expected = """
        kind     | outcome | is_case
        decision | refer   | yes
        decision | approve | no
        decision | decline | no
        order    | hold    | yes
        order    | release | no
    """

    def is_case(kind: str, outcome: str) -> bool:
        desk = desk_for(replace(decision(outcome), kind=kind))
        return bool(desk.open_cases()["cases"])

    spec(is_case, expected)


def test_approving_takes_the_persons_of_the_authority() -> None:
    """To approve, as many persons must agree as the authority says.

    Until then the case stays open; after that nobody can resolve it again.
    """
    acts = """
        by   | role     | decides
        ALEX | director | approve
        BETH | director | approve
        CARL | director | decline
    """
    expected = """
        by   | refused | status | outcome
        ALEX | -       | open   | refer
        BETH | -       | closed | approve
        CARL | case_id | closed | approve
    """
    spec(resolved(desk_for(decision()), acts), expected)


def test_one_person_can_decline() -> None:
    """One person is enough to decline, also after another one approved."""
    acts = """
        by   | role     | decides
        ALEX | director | approve
        BETH | director | decline
    """
    expected = """
        by   | refused | status | outcome
        ALEX | -       | open   | refer
        BETH | -       | closed | decline
    """
    spec(resolved(desk_for(decision()), acts), expected)


def test_the_role_must_suffice() -> None:
    """A role below that of the authority is refused; a higher one may resolve."""
    expected = """
        approver       | role           | refused | status
        credit_analyst | credit_analyst | -       | closed
        credit_manager | credit_analyst | role    | open
        credit_manager | credit_manager | -       | closed
        credit_manager | director       | -       | closed
        director       | credit_manager | role    | open
    """

    def resolve(approver: str, role: str) -> dict[str, object]:
        desk = desk_for(decision(approver=approver, persons=1))
        acts = f"by | role | decides\nALEX | {role} | approve"
        return resolved(desk, acts)[0]

    spec(resolve, expected)


def test_who_made_the_case_may_not_resolve_it() -> None:
    """Whoever asked for the decision or filed for it is refused, as is a second try.

    Persons are compared without regard to case and spaces.
    """
    acts = """
        by      | role     | decides
        SALLY   | director | approve
        Fred    | director | approve
        ALEX    | director | approve
        alex    | director | decline
    """
    expected = """
        by    | refused | status | outcome
        SALLY | by      | open   | refer
        Fred  | by      | open   | refer
        ALEX  | -       | open   | refer
        alex  | by      | open   | refer
    """
    spec(resolved(desk_for(decision()), acts), expected)


def test_the_same_resolution_twice_is_one() -> None:
    """A resolution that is sent twice is recorded once."""
    desk = desk_for(decision())
    first = desk.resolve(CASE_ID, resolution("ALEX", "director", "approve"))
    assert desk.resolve(CASE_ID, resolution("ALEX", "director", "approve")) == first
    assert len(first["history"]) == 1


def test_the_history_says_who_decided_what() -> None:
    """The history shows each person's decision and its effect."""
    expected = """
        kind       | by   | role     | said    | outcome
        resolution | ALEX | director | approve | pending
        resolution | BETH | director | approve | approve
    """
    desk = desk_for(decision())
    desk.resolve(CASE_ID, resolution("ALEX", "director", "approve"))
    desk.resolve(CASE_ID, resolution("BETH", "director", "approve"))
    spec(desk.case(CASE_ID)["history"], expected)


def test_asking_again_closes_a_case_only_with_an_approval_or_a_decline() -> None:
    """The question of an open case can be asked again with what is known today.

    The new decision belongs to the case and opens none of its own.
    """
    expected = """
        outcome_now | status | outcome | open_cases
        refer       | open   | refer   | CASE
        approve     | closed | approve | -
        decline     | closed | decline | -
    """

    def ask_again(outcome_now: str) -> dict[str, object]:
        desk = desk_for(decision(), outcome_now=outcome_now)
        case = desk.ask_again(CASE_ID)
        open_cases = [case["case_id"] for case in desk.open_cases()["cases"]]
        return {**case, "open_cases": open_cases}

    spec(ask_again, expected)


def test_open_cases_are_listed_with_the_oldest_first() -> None:
    """A case leaves the list when it is closed."""
    expected = """
        case_id
        CASE-1
        CASE-3
    """
    desk = desk_for(*(decision(entry_id=f"CASE-{number}") for number in (1, 2, 3)))
    desk.resolve("CASE-2", resolution("ALEX", "director", "decline"))
    spec(desk.open_cases()["cases"], expected)


def test_of_two_who_act_at_once_one_is_refused() -> None:
    """Two persons who read the same state of a case cannot both act on it."""
    desk = desk_for(decision())
    reread = desk.queries.case(CASE_ID)
    desk.resolve(CASE_ID, resolution("ALEX", "director", "approve"))
    late_desk = replace(desk, queries=_Stale(reread))
    with pytest.raises(ConflictError, match="somebody else acted on the case"):
        late_desk.resolve(CASE_ID, resolution("BETH", "director", "approve"))


def test_a_closed_or_unknown_case_cannot_be_asked_again() -> None:
    """There is nothing to ask about a closed case, nor about what is not a case."""
    expected = """
        case_id | refused
        CASE    | case_id
        NOTHING | case_id
    """
    desk = desk_for(decision())
    desk.resolve(CASE_ID, resolution("ALEX", "director", "decline"))

    def refused(case_id: str) -> str | None:
        try:
            desk.ask_again(case_id)
        except ObligorError as error:
            return error.where
        return None

    spec(refused, expected)


class _Stale:
    """Queries that still see an earlier state of the case."""

    def __init__(self, case: object) -> None:
        self._case = case

    def case(self, case_id: str) -> object:
        """Return the case as it was."""
        return self._case
