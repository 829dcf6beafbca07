"""The specification of a table of applications, read from TOML."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from obligor.errors import SchemaError


class _Section(BaseModel):
    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
    )


class Target(_Section):
    """The outcome: its column, the values that are a default, and the horizon.

    ``undecided`` are values of which nobody knows yet how they end.
    """

    column: str
    bad: tuple[str | float, ...] = (1.0,)
    undecided: tuple[str | float, ...] = ()
    horizon_days: int = Field(
        365,
        ge=1,
        le=3650,
    )


class Roles(_Section):
    """Columns that are not features, and codes that are not numbers."""

    id: tuple[str, ...] = ()
    date: str | None = None
    group: str | None = None
    leaks: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    date_format: str = ""
    forbidden: tuple[str, ...] = ()
    special: tuple[float, ...] = ()


class ColumnSpec(_Section):
    """What is stated about one column."""

    type: Literal["number", "category"] | None = None
    direction: Literal[-1, 0, 1] = 0
    special: tuple[float, ...] | None = None


class Rejects(_Section):
    """Which rows are refused applicants, and how much riskier they are.

    ``odds`` are the odds of a default over those of an accepted applicant with the same
    PD.
    """

    column: str
    values: tuple[str | float, ...]
    odds: float = Field(
        1.0,
        ge=0.1,
        le=100,
    )


class Spec(_Section):
    """What a table of applications is; see `features.applications`."""

    name: str = "applications"
    target: Target
    table: Roles = Roles()
    columns: dict[str, ColumnSpec] = {}
    rejects: Rejects | None = None


def read_spec(path: Path) -> Spec:
    """Read a spec from a TOML file.

    Raises
    ------
    SchemaError
        If it cannot be read; the message names the wrong part and what was expected.
    """
    try:
        return Spec.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        raise SchemaError(
            first["msg"],
            where=f"{path}: {field}",
            do="correct it; `obligor spec infer FILE` writes one",
        ) from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SchemaError(
            f"the spec cannot be read: {error}",
            where=str(path),
            expected="a TOML file",
        ) from None
