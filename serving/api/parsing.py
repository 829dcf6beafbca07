"""Reading what a request brings: its body, its query, its idempotency key."""

from __future__ import annotations

import json
from typing import TypeVar

import orjson
from pydantic import BaseModel, ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request

from obligor.errors import SchemaError
from obligor.serving.api.callers import caller_of

LONGEST_KEY = 200
_EXPECTED = "a body as in /v1/openapi.json"
Model = TypeVar("Model", bound=BaseModel)


async def parsed_body(request: Request, model: type[Model]) -> Model:
    """Return the JSON body of a request as a model.

    Raises
    ------
    HTTPException
        415, if the body is not JSON by its content type.
    SchemaError
        If the body is invalid.
    """
    media = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if media != "application/json":
        raise HTTPException(
            415, f"content type {media or 'none'!r}; expected application/json"
        )
    return _parsed(model, await request.body())


def parsed_query(request: Request, model: type[Model]) -> Model:
    """Return the query of a request as a model; `SchemaError` if it is invalid."""
    return _parsed(model, orjson.dumps(dict(request.query_params)))


def idempotency_key(request: Request) -> str | None:
    """Return the idempotency key of a request; keys of two callers are two keys.

    Raises
    ------
    SchemaError
        If the key is too long or not printable.
    """
    key = request.headers.get("idempotency-key")
    if key is None:
        return None
    is_printable = key.isascii() and key.isprintable()
    if not (0 < len(key) <= LONGEST_KEY and is_printable):
        raise SchemaError(
            "the key cannot be used",
            where="Idempotency-Key",
            expected=f"1 to {LONGEST_KEY} printable ASCII characters",
        )
    caller = caller_of(request)
    return f"{caller.name} {key}" if caller else key


def _parsed(model: type[Model], body: bytes) -> Model:
    """Parse JSON; the error names the field and never repeats its value."""
    _require_plain(body)
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(
            include_url=False, include_context=False, include_input=False
        )[0]
        raise SchemaError(
            first["msg"],
            where=_place(first["loc"]) or "body",
            expected=_EXPECTED,
            do="correct the field",
        ) from None


def _place(location: tuple[int | str, ...]) -> str:
    """Return a field's place as it is written in code.

    Examples
    --------
    >>> _place(("decisions", 3, "customer_id"))
    'decisions[3].customer_id'
    """
    parts = list[str]()
    for part in location:
        parts.append(f"[{part}]" if isinstance(part, int) else f".{part}")
    return "".join(parts).lstrip(".")


def _require_plain(body: bytes) -> None:
    """Reject JSON that parsers read differently, or that is nested too deeply.

    Of a name given twice, some parsers take the first value and some the last.
    """
    try:
        json.loads(body, object_pairs_hook=_require_unique, parse_constant=_not_finite)
    except RecursionError:
        raise SchemaError(
            "the body is nested too deeply", where="body", expected=_EXPECTED
        ) from None
    except SchemaError:
        raise
    except ValueError:
        # Not JSON, or a number of thousands of digits: the parser behind reports where.
        return


def _require_unique(pairs: list[tuple[str, object]]) -> None:
    names = {name for name, _ in pairs}
    if len(names) < len(pairs):
        raise SchemaError(
            "a name is given twice",
            where="body",
            expected="each name once in an object",
        )


def _not_finite(name: str) -> None:
    raise SchemaError(
        f"{name} is not a number in JSON",
        where="body",
        expected="a finite number or null",
    )
