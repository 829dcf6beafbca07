"""Handlers for what people do: cases, the worklist, contacts."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from obligor.casework.questions import ContactRequest, ResolutionRequest, WorklistQuery
from obligor.serving.api.callers import (
    own_entry_id,
    requested_by_key,
    require_person,
    service_of,
)
from obligor.serving.api.parsing import idempotency_key, parsed_body, parsed_query
from obligor.serving.api.responses import json_response, recorded_response
from obligor.serving.api.threads import in_thread


async def get_cases(request: Request) -> Response:
    """Return the open cases, oldest first."""
    return json_response(await in_thread(request, service_of(request).cases.open_cases))


async def get_case(request: Request) -> Response:
    """Return a case with its history."""
    case_id = await own_entry_id(request, "case_id")
    return json_response(
        await in_thread(request, service_of(request).cases.case, case_id)
    )


async def post_resolution(request: Request) -> Response:
    """Record a person's decision about a case."""
    body = await parsed_body(request, ResolutionRequest)
    require_person(request, body.by, body.role)
    answer = await in_thread(
        request,
        service_of(request).cases.resolve,
        request.path_params["case_id"],
        body,
        requested_by_key(request),
    )
    return json_response(answer)


async def post_reevaluation(request: Request) -> Response:
    """Ask the question of a case again."""
    answer = await in_thread(
        request,
        service_of(request).cases.ask_again,
        request.path_params["case_id"],
        requested_by_key(request),
    )
    return json_response(answer)


async def get_worklist(request: Request) -> Response:
    """Return the worklist of a day."""
    query = parsed_query(request, WorklistQuery)
    return json_response(
        await in_thread(request, service_of(request).worklists.plan, query)
    )


async def post_contact(request: Request) -> Response:
    """Record a contact with a customer."""
    body = await parsed_body(request, ContactRequest)
    require_person(request, body.by)
    answer = await in_thread(
        request,
        service_of(request).contacts.record,
        body,
        idempotency_key(request),
        requested_by_key(request),
    )
    return recorded_response(answer)
