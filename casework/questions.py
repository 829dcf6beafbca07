"""The requests about cases, contacts and worklists."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, model_validator

from obligor.decisions.questions import Amount, Because, Body, Currency, Id, Person


class ResolutionRequest(Body):
    """A person's decision about a case."""

    by: Person
    role: Literal["credit_analyst", "credit_manager", "director"]
    outcome: Literal["approve", "decline"]
    because: Because


class PromiseBody(Body):
    """A promise to pay an amount by a day."""

    amount: Amount
    currency: Currency
    pay_by: date


class ContactRequest(Body):
    """A contact with a customer about overdue debt, and how it ended."""

    customer_id: Id
    contacted_on: date | None = Field(None, description="By default today")
    by: Person
    channel: Literal["mail", "call", "visit", "lawyer"]
    outcome: Literal[
        "reached", "no_answer", "promise", "dispute", "refused", "handed_over"
    ]
    promise: PromiseBody | None = Field(
        None, description="Required for the outcome `promise`, else forbidden"
    )
    next_contact_on: date | None = Field(
        None, description="By default as the rules set it"
    )
    note: Because | None = None

    @model_validator(mode="after")
    def _promises_go_together(self) -> ContactRequest:
        if (self.outcome == "promise") != (self.promise is not None):
            raise ValueError(
                "outcome `promise` and the promise go together: give both or neither"
            )
        return self


class WorklistQuery(Body):
    """The day of a worklist, and the time that collectors have."""

    model_config = ConfigDict(strict=False)

    as_of: date | None = None
    collectors: Annotated[int, Field(ge=1, le=1000)] = 1
    minutes: Annotated[int, Field(ge=1, le=1440)] = 420
