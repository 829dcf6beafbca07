"""The specification of a table of applications, read from TOML."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from obligor.features.settings_file import read_settings

MOST_ORIGINS = 20

Decimal = Literal["", ".", ","]
Thousands = Literal["", ".", ",", " ", "'"]
# The candidate that is to become the challenger: the blend unless it loses, the best
# single candidate, or the scorecard.
Preference = Literal["best", "single", "scorecard"]


class _Section(BaseModel):
    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
    )


class Target(_Section):
    """The outcome: its column, the values that are a default, and the horizon.

    ``undecided`` are values of which nobody knows yet how they end. One of
    ``population_odds`` (goods per bad) and ``population_bad_rate`` states how common
    defaults are in the population, if the table holds them in other proportions.
    """

    column: str
    bad: tuple[str | float, ...] = (1.0,)
    undecided: tuple[str | float, ...] = ()
    horizon_days: int = Field(
        365,
        ge=1,
        le=3650,
    )
    population_odds: float | None = Field(None, gt=0)
    population_bad_rate: float | None = Field(
        None,
        gt=0,
        lt=1,
    )

    @model_validator(mode="after")
    def _states_one_prior(self) -> Target:
        """Refuse two statements of how common defaults are."""
        if self.population_odds is not None and self.population_bad_rate is not None:
            raise ValueError(
                "population_odds and population_bad_rate state the same thing: "
                "keep one of them"
            )
        return self

    @property
    def bad_rate(self) -> float | None:
        """The share of defaults in the population; None if the table shows it.

        Examples
        --------
        >>> Target(column="bad", population_odds=19).bad_rate
        0.05
        """
        if self.population_odds is not None:
            return 1 / (1 + self.population_odds)
        return self.population_bad_rate


class Roles(_Section):
    """Columns that are not features, codes that are not numbers, and signs of numbers.

    ``weight`` is the column of how often each row counts: as so many rows, or, if
    ``weight_is`` is ``relative``, in proportion, scaled to a mean of 1. One of
    ``test_from``, ``split`` and ``origins`` says which rows are tested on, and
    ``folds`` which rows are held back together.

    ``decimal`` and ``thousands`` are the signs in texts of numbers; ``missing`` are
    words that stand for a missing value.
    """

    id: tuple[str, ...] = ()
    date: str | None = None
    group: str | None = None
    weight: str | None = None
    weight_is: Literal["count", "relative"] = "count"
    test_from: datetime.date | None = None
    split: str | None = None
    folds: str | None = None
    origins: int | tuple[datetime.date, ...] | None = None
    leaks: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    date_format: str = ""
    forbidden: tuple[str, ...] = ()
    special: tuple[float, ...] = ()
    decimal: Decimal = ""
    thousands: Thousands = ""
    missing: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _signs_differ(self) -> Self:
        _require_two_signs(self.decimal, self.thousands)
        return self

    @model_validator(mode="after")
    def _splits_one_way(self) -> Roles:
        """Refuse two ways to choose the test rows, and origins that are not valid."""
        ways = ("test_from", "split", "origins")
        stated = [name for name in ways if getattr(self, name) is not None]
        if len(stated) > 1:
            raise ValueError(
                f"{' and '.join(stated)} both say which rows are tested on: "
                "keep one of them"
            )
        for name in ("test_from", "origins"):
            if name in stated and self.date is None:
                raise ValueError(f"{name} needs the column of dates: state date")
        if self.weight is None and "weight_is" in self.model_fields_set:
            raise ValueError("weight_is needs the column of weights: state weight")
        _require_origins(self.origins)
        return self


def _require_origins(origins: int | tuple[datetime.date, ...] | None) -> None:
    if isinstance(origins, int):
        if not 2 <= origins <= MOST_ORIGINS:
            raise ValueError(f"origins is a number from 2 to {MOST_ORIGINS}, or dates")
    elif origins is not None:
        is_rising = list(origins) == sorted(set(origins))
        if not 2 <= len(origins) <= MOST_ORIGINS or not is_rising:
            raise ValueError(
                f"origins are 2 to {MOST_ORIGINS} dates in rising order, or their "
                "number"
            )


class ColumnSpec(_Section):
    """What is stated about one column; see `Roles` for the signs of its numbers."""

    type: Literal["number", "category"] | None = None
    direction: Literal[-1, 0, 1] = 0
    special: tuple[float, ...] | None = None
    decimal: Decimal = ""
    thousands: Thousands = ""
    missing: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _signs_differ(self) -> Self:
        _require_two_signs(self.decimal, self.thousands)
        return self

    @model_validator(mode="after")
    def _has_an_order(self) -> Self:
        if self.type == "category" and self.direction:
            raise ValueError(
                "a category has no order, so it cannot have a direction: leave one out"
            )
        return self


def _require_two_signs(decimal: str, thousands: str) -> None:
    if decimal and decimal == thousands:
        raise ValueError("decimal and thousands are the same sign: leave one out")


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


class Costs(_Section):
    """What a wrong decision costs, per applicant, in ``unit``.

    Either ``bad_accepted`` and ``good_rejected`` are costs, or ``bad_loss`` is the loss
    of an accepted bad applicant and ``good_profit`` the profit of an accepted good one.
    With ``amount``, the column of the amounts, they are shares of it.
    """

    bad_accepted: float | None = Field(None, ge=0)
    good_rejected: float | None = Field(None, ge=0)
    bad_loss: float | None = Field(None, ge=0)
    good_profit: float | None = Field(None, ge=0)
    amount: str | None = None
    unit: str = "units of cost"

    @model_validator(mode="after")
    def _states_one_pair(self) -> Costs:
        """Refuse anything but one pair that is not all zero."""
        as_costs = (self.bad_accepted, self.good_rejected)
        as_profit = (self.bad_loss, self.good_profit)
        has_costs = None not in as_costs
        has_profit = None not in as_profit
        n_stated = sum(part is not None for part in (*as_costs, *as_profit))
        if has_costs == has_profit or n_stated > 2:
            raise ValueError(
                "state bad_accepted and good_rejected, or bad_loss and good_profit"
            )
        if 0 in (self.of_bad, self.of_good):
            raise ValueError(
                "a cost of 0 makes one decision right for everybody: state costs "
                "above 0"
            )
        return self

    @property
    def of_bad(self) -> float:
        """What an accepted bad applicant costs."""
        return self.bad_accepted or self.bad_loss or 0.0

    @property
    def of_good(self) -> float:
        """What a rejected good applicant costs: the profit that is missed."""
        return self.good_rejected or self.good_profit or 0.0


class Spec(_Section):
    """What a table of applications is; see `features.applications`.

    ``prefer`` states which candidate is to become the challenger.

    With ``record`` the service records every score of the model.
    """

    name: str = "applications"
    record: bool = False
    prefer: Preference = "best"
    target: Target
    table: Roles = Roles()
    columns: dict[str, ColumnSpec] = {}
    rejects: Rejects | None = None
    costs: Costs | None = None

    def column(self, name: str) -> ColumnSpec:
        """Return what is stated about a column; nothing if it is not named."""
        return self.columns.get(name, ColumnSpec())


def read_spec(path: Path) -> Spec:
    """Read a spec from a TOML file.

    Raises
    ------
    SchemaError
        If it cannot be read; the message names the wrong part and what was expected.
    """
    return read_settings(
        path,
        Spec,
        noun="spec",
        do="correct it; `obligor spec infer FILE` writes one",
    )
