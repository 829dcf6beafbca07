"""Who calls, and what the call may touch."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import wraps
from typing import cast

from starlette.requests import Request
from starlette.responses import Response

from obligor.errors import AuthorityError, UnknownDecisionError
from obligor.serving.access.api_keys import Caller
from obligor.serving.access.denials import Denied
from obligor.serving.access.gate import Gate
from obligor.serving.api.threads import in_thread
from obligor.serving.assembly import Service

Handler = Callable[[Request], Awaitable[Response]]


def service_of(request: Request) -> Service:
    """Return the service that answers a request."""
    return cast(Service, request.app.state.service)


def caller_of(request: Request) -> Caller | None:
    """Return who calls; None if the service runs without a gate."""
    return cast("Caller | None", request.state.caller)


def requested_by_key(request: Request) -> str | None:
    """Return the name of the API key of a request, as it is kept with entries."""
    caller = caller_of(request)
    return caller.name if caller else None


def admitted(path: str, handler: Handler) -> Handler:
    """Return a handler that admits the caller before it reads the request."""

    @wraps(handler)
    async def handle(request: Request) -> Response:
        gate: Gate | None = request.app.state.gate
        request.state.caller = None
        if gate:
            authorization = request.headers.get("authorization")
            request.state.caller = gate.admit(request.method, path, authorization)
        return await handler(request)

    return handle


async def own_entry_id(request: Request, name: str) -> str:
    """Return the entry id in the path of a request.

    For an application, entries that others requested do not exist.

    Raises
    ------
    UnknownDecisionError
        If another application requested the entry.
    """
    entry_id = str(request.path_params[name])
    caller = caller_of(request)
    if caller is None or caller.role != "application":
        return entry_id
    reader = service_of(request).record.reader
    stored = await in_thread(request, reader.stored, entry_id)
    if stored.requested_by_key != caller.name:
        gate: Gate = request.app.state.gate
        route = request.scope["path"].replace(entry_id, f"{{{name}}}")
        gate.denials.count(Denied(caller.key_id, request.method, route, 404))
        raise UnknownDecisionError(f"no decision {entry_id!r}", where=name)
    return entry_id


def require_person(request: Request, by: str, role: str | None = None) -> None:
    """Reject an act in another person's name, or in a role the person does not have.

    Parameters
    ----------
    request : Request
        Its key may be bound to a person; then it speaks for that person only.
    by : str
        The person named in the body.
    role : str, optional
        The role named in the body.

    Raises
    ------
    AuthorityError
        If the key belongs to another person, or the person has another role.
    """
    caller = caller_of(request)
    if caller is None or not caller.person:
        return
    if caller.person != by:
        raise AuthorityError(
            "the key belongs to another person",
            where="by",
            expected="the person the key is bound to",
        )
    if role and caller.authority != role:
        raise AuthorityError(
            f"the person this key belongs to does not have the role {role}",
            where="role",
            expected=str(caller.authority),
        )
