"""What people send about cases, contacts and worklists."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, model_validator

from obligor.decisions.questions import Amount, Because, Body, Currency, Id, Person


class ResolutionRequest(Body):
    """What a person decides about a case."""

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
    """A contact with a customer about what is overdue, and how it ended."""

    customer_id: Id
    contacted_on: date | None = Field(None, description="Default today")
    by: Person
    channel: Literal["mail", "call", "visit", "lawyer"]
    outcome: Literal[
        "reached", "no_answer", "promise", "dispute", "refused", "handed_over"
    ]
    promise: PromiseBody | None = Field(
        None, description="With outcome `promise`, and only then"
    )
    next_contact_on: date | None = Field(None, description="Default what the rules say")
    note: Because | None = None

    @model_validator(mode="after")
    def _promises_go_together(self) -> ContactRequest:
        if (self.outcome == "promise") != (self.promise is not None):
            raise ValueError(
                "outcome `promise` and the promise go together: give both or neither"
            )
        return self


class WorklistQuery(Body):
    """How much time there is, and for which day."""

    model_config = ConfigDict(strict=False)

    as_of: date | None = None
    collectors: Annotated[int, Field(ge=1, le=1000)] = 1
    minutes: Annotated[int, Field(ge=1, le=1440)] = 420
