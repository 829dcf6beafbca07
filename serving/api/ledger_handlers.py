"""The handler for rows of the ledger that are sent while the service runs."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from obligor.casework.ledger_updates import LedgerRows
from obligor.serving.api.callers import requested_by_key, service_of
from obligor.serving.api.parsing import idempotency_key, parsed_body
from obligor.serving.api.responses import recorded_response
from obligor.serving.api.threads import in_thread


async def post_rows(request: Request) -> Response:
    """Take rows of one table into the loaded ledger."""
    body = await parsed_body(request, LedgerRows)
    answer = await in_thread(
        request,
        service_of(request).ledger_desk.update,
        request.path_params["table"],
        body,
        idempotency_key(request),
        requested_by_key(request),
    )
    return recorded_response(answer)
