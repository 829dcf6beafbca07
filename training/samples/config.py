"""The choices of one training run, read from TOML; each has a default."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from obligor.features.settings_file import read_settings
from obligor.features.table_spec import Preference


class Section(BaseModel):
    """A section of the configuration: immutable; unknown names are rejected."""

    model_config = ConfigDict(frozen=True, extra="forbid")


# What a configuration states about materiality.
_OF_MATERIALITY = {"counts", "materiality", "materiality_share"}


class DefaultDefinition(Section):
    """What counts as a default.

    Attributes
    ----------
    dpd_days : int
        An item still open this many days after its due date is in default (Basel: 90).
    counts : {"item", "customer"}
        Whether each item is in default by itself, or a customer with all that is so
        long past due together.
    materiality : float
        In the reporting currency. Of an item, the smallest amount that counts, open or
        written off; of a customer, the amount that what is past due must exceed.
    materiality_share : float
        Of a customer, the share of what is owed that it must exceed too.
    materiality_from : {"config", "rulebook"}, optional
        ``rulebook`` takes amount and share from the rulebook in force on the last day
        of the ledger, and counts customers, as its rules do. By default it is
        ``config`` if anything about it is stated there (`counts`, `materiality`,
        `materiality_share`, or `anchor` = "due"), or if the rulebook states no
        materiality; else ``rulebook``.
    horizon_days : int
        Length of the performance window (as_of, as_of + horizon].
    anchor : {"default", "due"}
        The day that must lie in the window: the day the item reached `dpd_days`, or its
        due day ("any item due in the window that ends more than `dpd_days` late"); the
        day of issue if that is later than the due day.
    cure_days : int
        Days a customer stays in default after the item was paid or written off.
    """

    dpd_days: int = Field(90, ge=1, le=365)
    counts: Literal["item", "customer"] = "item"
    materiality: float = Field(100.0, ge=0)
    materiality_share: float = Field(0.0, ge=0, le=1)
    materiality_from: Literal["config", "rulebook"] | None = None
    horizon_days: int = Field(365, ge=30, le=1825)
    anchor: Literal["default", "due"] = "default"
    cure_days: int = Field(365, ge=0)

    @model_validator(mode="after")
    def _is_of_one_kind(self) -> DefaultDefinition:
        """Refuse choices about items beside choices about customers."""
        is_rulebook = self.materiality_from == "rulebook"
        is_of_customer = self.counts == "customer" or is_rulebook
        if is_of_customer and self.anchor == "due":
            raise ValueError(
                "anchor = 'due' asks about items due in the window; "
                "it needs counts = 'item' and materiality_from = 'config'"
            )
        if self.materiality_share and not is_of_customer:
            raise ValueError(
                "materiality_share is a share of what a customer owes; "
                "it needs counts = 'customer'"
            )
        stated = self.model_fields_set & _OF_MATERIALITY
        if is_rulebook and stated:
            raise ValueError(
                f"materiality_from = 'rulebook' beside {', '.join(sorted(stated))}: "
                "the rulebook states it"
            )
        return self

    @property
    def is_of_rulebook(self) -> bool:
        """Whether the rulebook is to say what is material, if it can."""
        if self.materiality_from is not None:
            return self.materiality_from == "rulebook"
        return self.anchor == "default" and not self.model_fields_set & _OF_MATERIALITY

    def recorded(self) -> dict[str, object]:
        """Return what a bundle keeps of it."""
        fields = self.model_dump(exclude={"materiality_from"})
        if self.counts == "item":
            # Bundles of such a definition keep the form, and so the hash, they had.
            del fields["counts"]
            del fields["materiality_share"]
        return fields

    @property
    def outcome_days(self) -> int:
        """Days after the as-of date until the label is fully known."""
        if self.anchor == "due":
            return self.horizon_days + self.dpd_days
        return self.horizon_days


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
        Customers with no open item and no invoice for longer than this are left out.
    exclude_in_default : bool
        Leave out customers already in default on the date: no decision is due on them.
    gap_days : int, optional
        Days between the last training and the first test date; the horizon if absent.
    weigh : {"rows", "customers"}
        Whether each row counts alike, or each customer, on however many dates it is in
        the sample. Days to default within the horizon are not weighted.
    """

    grid: Literal["month", "week"] = "month"
    min_history_days: int = Field(90, ge=1)
    test_dates: int = Field(3, ge=1)
    max_idle_days: int = Field(365, ge=1)
    exclude_in_default: bool = True
    gap_days: int | None = Field(None, ge=0)
    weigh: Literal["rows", "customers"] = "rows"


class ModelChoices(Section):
    """LightGBM's parameters that matter; the folds choose the number of trees.

    Attributes
    ----------
    learning_rate : float
        Step of each tree.
    num_leaves : int
        Most leaves of a tree.
    min_rows_in_leaf : int
        Fewest training rows in a leaf.
    feature_fraction, bagging_fraction : float
        Shares of the columns and rows each tree sees.
    l2 : float
        Penalty on leaf values.
    max_trees : int
        Upper bound on the number of trees.
    folds : int
        Number of folds, grouped by customer.
    prefer : {"best", "single", "scorecard"}
        Which candidate is to become the challenger: the blend unless it loses, the best
        single candidate, or the scorecard.
    """

    learning_rate: float = Field(0.03, gt=0, le=1)
    num_leaves: int = Field(8, ge=2, le=256)
    min_rows_in_leaf: int = Field(40, ge=1)
    feature_fraction: float = Field(0.5, gt=0, le=1)
    bagging_fraction: float = Field(0.7, gt=0, le=1)
    l2: float = Field(20.0, ge=0)
    max_trees: int = Field(3000, ge=1, le=5000)
    folds: int = Field(5, ge=2, le=20)
    prefer: Preference = "best"


class BaselineChoices(Section):
    """Whom reasons compare a customer with.

    Attributes
    ----------
    population : {"approved", "all"}
        Customers of the training sample whom the rules in force on their date would
        have approved, or all of them.
    rows : int
        Training rows drawn for it.
    """

    population: Literal["approved", "all"] = "approved"
    rows: int = Field(5000, ge=100)


class FeatureChoices(Section):
    """Features beside the catalogue's.

    Attributes
    ----------
    file : Path, optional
        Python file of features of one's own (`features.own`), beside the configuration.
        It is run in training.
    """

    file: Path | None = None


class TrainingConfig(Section):
    """All choices of one run.

    Attributes
    ----------
    seed : int
        Makes the run repeatable.
    bootstrap_rounds : int
        Bootstrap samples behind each interval.
    catalogue : {1, 2}
        The edition of the feature catalogue. The first takes the age of the oldest item
        for ``dpd_days``, however small it is; the second what is material to the
        default, and has what came back, unapplied money and bureau scores besides.
    default, sample, model, baseline, features
        Sections.
    """

    seed: int = 7
    catalogue: Literal[1, 2] = 2
    bootstrap_rounds: int = Field(300, ge=20)
    default: DefaultDefinition = DefaultDefinition()
    sample: SampleChoices = SampleChoices()
    model: ModelChoices = ModelChoices()
    baseline: BaselineChoices = BaselineChoices()
    features: FeatureChoices = FeatureChoices()


def with_stored_default(
    config: TrainingConfig,
    stored: Mapping[str, object] | None,
) -> TrainingConfig:
    """Return a configuration with the default that a model was trained on.

    Parameters
    ----------
    config : TrainingConfig
        What was read for this command; a default that it states stays.
    stored : mapping, optional
        The definition in the model's bundle (`DefaultDefinition.recorded`).

    Examples
    --------
    >>> stored = {"dpd_days": 90, "materiality": 100.0, "horizon_days": 180}
    >>> with_stored_default(TrainingConfig(), stored).default.horizon_days
    180
    """
    if stored is None or "default" in config.model_fields_set:
        return config
    definition = DefaultDefinition.model_validate(stored)
    return config.model_copy(update={"default": definition})


def read_config(path: Path | None) -> TrainingConfig:
    """Read a TOML file of choices; without a path, return the defaults.

    Raises
    ------
    SchemaError
        If the file cannot be read, or a field is wrong; the message names it.
    """
    if path is None:
        return TrainingConfig()
    config = read_settings(
        path,
        TrainingConfig,
        noun="file",
        do="correct the configuration",
    )
    if config.features.file is None:
        return config
    # The file of features is named as it lies beside the configuration.
    file = path.parent / config.features.file
    return config.model_copy(update={"features": FeatureChoices(file=file)})
