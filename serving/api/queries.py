"""The queries and bodies that belong to the HTTP interface alone."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from obligor.decisions.questions import Body, DecisionRequest

MAX_IN_BATCH = 1000


class NoticeQuery(Body):
    """The language, kind and format of a notice."""

    lang: Literal["en", "zh"] = "en"
    kind: Literal["adverse", "reasons"] = "adverse"
    format: Literal["text", "html"] = "html"


class InForceQuery(Body):
    """The time that a question about models and rules refers to."""

    at: Annotated[
        str,
        Field(
            min_length=10,
            max_length=40,
            description="ISO 8601; UTC if it names no zone",
        ),
    ]


class BatchRequest(Body):
    """Up to 1,000 questions, answered in order; each may fail alone."""

    decisions: Annotated[
        list[DecisionRequest], Field(min_length=1, max_length=MAX_IN_BATCH)
    ]
