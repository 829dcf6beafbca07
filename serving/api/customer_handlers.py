"""Handlers for customers: who they are, and their erasure."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response
from typing_extensions import TypedDict

from obligor.serving.api.callers import service_of
from obligor.serving.api.parsing import parsed_body, parsed_query
from obligor.serving.api.queries import CustomerQuery, ErasureRequest
from obligor.serving.api.responses import json_response
from obligor.serving.api.threads import in_thread


class ErasureAnswer(TypedDict):
    """What was erased."""

    entries: Annotated[
        int, Field(description="Entries of the record that cannot be read any more")
    ]
    ledger_rows: Annotated[
        int, Field(description="Rows deleted in the ledger store; none can be restored")
    ]


async def get_customer(request: Request) -> Response:
    """Return who a customer is, and what others say of it."""
    query = parsed_query(request, CustomerQuery)
    answer = await in_thread(
        request,
        service_of(request).customers.customer,
        request.path_params["customer_id"],
        query.as_of,
    )
    return json_response(answer)


async def post_erasure(request: Request) -> Response:
    """Erase a customer from the ledger store and the record."""
    body = await parsed_body(request, ErasureRequest)
    erased = await in_thread(
        request,
        service_of(request).eraser.erase,
        request.path_params["customer_id"],
        body.because,
    )
    answer: ErasureAnswer = {
        "entries": erased.entries,
        "ledger_rows": erased.ledger_rows,
    }
    return json_response(answer)
