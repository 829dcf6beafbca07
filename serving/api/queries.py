"""The queries and bodies that belong to the HTTP interface alone."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal

from pydantic import Field

from obligor.decisions.questions import Because, Body, DecisionRequest

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


class ScoreQuery(Body):
    """The model that scores."""

    model: Annotated[
        str | None,
        Field(
            min_length=1,
            max_length=128,
            description="Its name; by default the champion without a name of its own",
        ),
    ] = None


class CustomerQuery(Body):
    """The day that a question about a customer refers to."""

    as_of: Annotated[
        date | None,
        Field(description="By default the day of the ledger's export, or today"),
    ] = None


class ErasureRequest(Body):
    """Why a customer is erased."""

    because: Annotated[
        Because, Field(description="Who requested it, when and how; it is recorded")
    ]


class BatchRequest(Body):
    """Up to 1,000 questions, answered in order; each may fail alone."""

    decisions: Annotated[
        list[DecisionRequest], Field(min_length=1, max_length=MAX_IN_BATCH)
    ]
