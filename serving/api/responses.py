"""Responses: JSON, a recorded answer with its receipt."""

from __future__ import annotations

from collections.abc import Mapping

import orjson
from starlette.responses import Response

from obligor.decisions.recorded import RecordedAnswer

RECEIPT = "Obligor-Receipt"


def json_response(answer: Mapping[str, object]) -> Response:
    """Return an answer as JSON."""
    # Decimals are written as text and lose no digit.
    return json_text(orjson.dumps(answer, default=str))


def json_text(text: str | bytes) -> Response:
    """Return JSON that is written already, as it is recorded."""
    return Response(text, media_type="application/json")


def recorded_response(answer: RecordedAnswer) -> Response:
    """Return a recorded answer as it is, with its receipt in a header."""
    response = json_text(answer.body)
    response.headers[RECEIPT] = answer.receipt
    return response
