"""The specification of a table of applications, read from TOML."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from obligor.errors import SchemaError


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Target(_Part):
    """Which column says what happened, and which of its values are a default."""

    column: str
    bad: tuple[str | float, ...] = (1.0,)
    horizon_days: int = Field(365, ge=1, le=3650)


class Roles(_Part):
    """Columns that are no features, and codes that are no numbers."""

    id: tuple[str, ...] = ()
    date: str | None = None
    group: str | None = None
    leaks: tuple[str, ...] = ()
    forbidden: tuple[str, ...] = ()
    special: tuple[float, ...] = ()


class ColumnSpec(_Part):
    """What is said about one column."""

    type: Literal["number", "category"] | None = None
    direction: Literal[-1, 0, 1] = 0
    special: tuple[float, ...] | None = None


class Rejects(_Part):
    """Which rows are applicants who were refused, and how much worse they are than accepted ones that look alike."""

    column: str
    values: tuple[str | float, ...]
    odds: float = Field(1.0, ge=0.1, le=100)


class Spec(_Part):
    """What a table is."""

    name: str = "applications"
    target: Target
    table: Roles = Roles()
    columns: dict[str, ColumnSpec] = {}
    rejects: Rejects | None = None


def read_spec(path: Path) -> Spec:
    """Read a spec.

    Raises
    ------
    SchemaError
        Naming the part that is wrong and what was expected.
    """
    try:
        return Spec.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        first = error.errors()[0]
        where = f"{path}: {'.'.join(map(str, first['loc']))}"
        raise SchemaError(
            first["msg"],
            where=where,
            do="correct it; `obligor spec infer FILE` writes one",
        ) from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SchemaError(
            f"cannot be read: {error}", where=str(path), expected="a TOML file"
        ) from None
