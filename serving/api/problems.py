"""Errors as problems (RFC 9457): the one place that maps them to HTTP."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from http import HTTPStatus
from math import ceil
from typing import Annotated, NotRequired

import orjson
from pydantic import Field
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from typing_extensions import TypedDict

from obligor.errors import (
    AccessError,
    AuthorityError,
    ConflictError,
    ErasedError,
    InputError,
    KeyFileError,
    ModelError,
    ObligorError,
    PolicyError,
    RateError,
    RecordError,
    UnknownCustomerError,
    UnknownDecisionError,
    UnknownModelError,
)

log = logging.getLogger("obligor")
MEDIA_TYPE = "application/problem+json"
# RFC 9110 renamed it; Python 3.11 has the name of RFC 7231.
_TITLES = {413: "Content Too Large"}
# The first class that fits gives the status.
_STATUSES: tuple[tuple[type[ObligorError], int], ...] = (
    (UnknownCustomerError, 404),
    (UnknownDecisionError, 404),
    (UnknownModelError, 404),
    (ErasedError, 410),
    (ConflictError, 409),
    (AccessError, 401),
    (AuthorityError, 403),
    (RateError, 429),
    (InputError, 422),
    (ModelError, 503),
    (RecordError, 503),
    (KeyFileError, 503),
    (PolicyError, 500),
)


OptionalText = Annotated[str | None, Field(json_schema_extra={"default": None})]


class Problem(TypedDict):
    """An error per RFC 9457."""

    type: str
    title: str
    status: int
    detail: str
    where: NotRequired[OptionalText]
    expected: NotRequired[OptionalText]
    do: NotRequired[OptionalText]


def problem_of(error: ObligorError) -> Problem:
    """Return an error as a problem.

    Examples
    --------
    >>> problem_of(RecordError("disk full", where="record"))["status"]
    503
    """
    kind = type(error).__name__.removesuffix("Error")
    status = _status(error)
    return {
        "type": f"urn:obligor:problem:{kind.lower()}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": str(error),
        "where": error.where or None,
        "expected": error.expected or None,
        "do": error.do or None,
    }


def _status(error: ObligorError) -> int:
    for kind, status in _STATUSES:
        if isinstance(error, kind):
            return status
    return 500


def plain_problem(status: int, detail: str) -> Problem:
    """Return a problem that says no more than its status and a detail.

    Examples
    --------
    >>> plain_problem(413, "too long")["title"]
    'Content Too Large'
    """
    return {
        "type": "about:blank",
        "title": _TITLES.get(status) or HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
    }


def problem_body(problem: Problem) -> bytes:
    """Return a problem as JSON."""
    return orjson.dumps(problem)


def problem_response(
    problem: Problem, headers: Mapping[str, str] | None = None
) -> Response:
    """Return a problem as a response with its status."""
    return Response(
        problem_body(problem),
        status_code=problem["status"],
        headers=headers,
        media_type=MEDIA_TYPE,
    )


async def on_error(request: Request, error: Exception) -> Response:
    """Respond to one of our own errors."""
    assert isinstance(error, ObligorError)
    problem = problem_of(error)
    log.info("%s %s %s", request.method, problem["status"], problem["type"])
    response = problem_response(problem)
    if isinstance(error, AccessError):
        response.headers["WWW-Authenticate"] = "Bearer"
    if isinstance(error, RateError):
        response.headers["Retry-After"] = str(ceil(error.retry_after_s))
    return response


async def on_http_error(request: Request, error: Exception) -> Response:
    """Respond to a request that Starlette or a handler rejects."""
    assert isinstance(error, HTTPException)
    problem = plain_problem(error.status_code, error.detail)
    return problem_response(problem, error.headers)


async def on_gone(request: Request, error: Exception) -> Response:
    """The client disconnected; no response is sent."""
    return Response(status_code=499)


async def on_bug(request: Request, error: Exception) -> Response:
    """Respond to a bug, without repeating anything that was sent."""
    log.error("bug: %s on %s", type(error).__name__, request.method)
    return problem_response(plain_problem(500, "a bug; please report"))
