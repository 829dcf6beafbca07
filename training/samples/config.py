"""The choices of one training run, read from TOML; every one has a default."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from obligor.errors import SchemaError


class Section(BaseModel):
    """A part of the configuration: immutable, and strict about names it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class DefaultDefinition(Section):
    """What counts as a default.

    Attributes
    ----------
    dpd_days : int
        An item still open this many days after its due date is in default (Basel: 90).
    materiality : float
        The open amount, in the reporting currency, from which on that counts.
    horizon_days : int
        Length of the performance window (as_of, as_of + horizon].
    anchor : {"default", "due"}
        The day that must lie in the window: the day the item reached `dpd_days`, or its due day
        ("any item due in the window that ends more than `dpd_days` late").
    cure_days : int
        A customer stays in default this long after the item was paid or written off.
    """

    dpd_days: int = Field(90, ge=1, le=365)
    materiality: float = Field(100.0, ge=0)
    horizon_days: int = Field(365, ge=30, le=1825)
    anchor: Literal["default", "due"] = "default"
    cure_days: int = Field(365, ge=0)

    @property
    def outcome_days(self) -> int:
        """Days after the as-of date on which the label is fully known."""
        return self.horizon_days + (self.dpd_days if self.anchor == "due" else 0)


class SampleChoices(Section):
    """Which customers on which dates.

    Attributes
    ----------
    grid : {"month", "week"}
        As-of dates at every month's end, or every Sunday.
    min_history_days : int
        Days of ledger before the first as-of date.
    test_dates : int
        The last as-of dates form the out-of-time test set.
    max_idle_days : int
        Customers with nothing open and no item issued for longer are left out.
    exclude_in_default : bool
        Leave out customers already in default on the date: they are no longer decided about.
    gap_days : int, optional
        Days between the last training and the first test date; the horizon where absent.
    """

    grid: Literal["month", "week"] = "month"
    min_history_days: int = Field(90, ge=1)
    test_dates: int = Field(3, ge=1)
    max_idle_days: int = Field(365, ge=1)
    exclude_in_default: bool = True
    gap_days: int | None = Field(None, ge=0)


class ModelChoices(Section):
    """LightGBM's parameters that matter; the number of trees is found on the folds."""

    learning_rate: float = Field(0.03, gt=0, le=1)
    num_leaves: int = Field(8, ge=2, le=256)
    min_rows_in_leaf: int = Field(40, ge=1)
    feature_fraction: float = Field(0.5, gt=0, le=1)
    bagging_fraction: float = Field(0.7, gt=0, le=1)
    l2: float = Field(20.0, ge=0)
    max_trees: int = Field(3000, ge=1, le=5000)
    folds: int = Field(5, ge=2, le=20)


class BaselineChoices(Section):
    """Who reasons compare a customer with.

    Attributes
    ----------
    population : {"approved", "all"}
        Customers of the training sample that the rules in force on their date approve, or all of them.
    rows : int
        Training rows drawn for it.
    """

    population: Literal["approved", "all"] = "approved"
    rows: int = Field(5000, ge=100)


class TrainingConfig(Section):
    """All choices of one run; `seed` makes it repeatable."""

    seed: int = 7
    bootstrap_rounds: int = Field(300, ge=20)
    default: DefaultDefinition = DefaultDefinition()
    sample: SampleChoices = SampleChoices()
    model: ModelChoices = ModelChoices()
    baseline: BaselineChoices = BaselineChoices()


def read_config(path: Path | None) -> TrainingConfig:
    """Read a TOML file of choices; without one, all defaults.

    Raises
    ------
    SchemaError
        Naming the field that is wrong and what was expected.
    """
    if path is None:
        return TrainingConfig()
    try:
        return TrainingConfig.model_validate(
            tomllib.loads(path.read_text(encoding="utf-8"))
        )
    except ValidationError as error:
        first = error.errors()[0]
        where = f"{path}: {'.'.join(str(part) for part in first['loc'])}"
        raise SchemaError(
            first["msg"],
            where=where,
            do="correct the configuration",
        ) from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SchemaError(
            f"cannot be read: {error}",
            where=str(path),
            expected="a TOML file",
        ) from None
