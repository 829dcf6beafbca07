"""Values as answers show them: amounts, figures, and the schemas of both."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated

from pydantic import GetCoreSchemaHandler, WithJsonSchema
from pydantic_core.core_schema import CoreSchema, literal_schema
from typing_extensions import TypedDict

# Texts that a recorded answer holds; they are not parsed only to be written again.
DateText = Annotated[str, WithJsonSchema({"type": "string", "format": "date"})]
TimeText = Annotated[str, WithJsonSchema({"type": "string", "format": "date-time"})]


class Money(TypedDict):
    """An amount as a decimal text, with its currency."""

    amount: str
    currency: str


def money(amount: Decimal, currency: str) -> Money:
    """Return an amount as text: it is read by people and must not lose a digit.

    Examples
    --------
    >>> money(Decimal("1200.50"), "EUR")
    {'amount': '1200.50', 'currency': 'EUR'}
    """
    return {"amount": str(amount), "currency": currency}


def value_or_none(value: float) -> float | None:
    """Return a figure, or None for NaN, which JSON does not have.

    Examples
    --------
    >>> value_or_none(1.5), value_or_none(float("nan"))
    (1.5, None)
    """
    return None if value != value else value


@dataclass(frozen=True)
class OneOf:
    """Marks a text as one of a few, as `Literal` does, where the rules set it."""

    texts: tuple[str, ...]

    def __get_pydantic_core_schema__(
        self, source: object, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """Return the schema that `Literal` has."""
        return literal_schema(list(self.texts))


def one_of(*texts: str) -> OneOf:
    """Return what marks a text as one of these."""
    return OneOf(texts)
