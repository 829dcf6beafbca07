"""What a validation examines, and the section that each examination writes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import cached_property
from typing import Literal

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from obligor.arrays import Bools, Floats, Ints
from obligor.metrics.figures import with_intervals
from obligor.metrics.slope import SlopeTest, slope_test
from obligor.metrics.statistics import Interval, Resampling
from obligor.model.pd_model import PdModel
from obligor.policy.rulebooks.rulebook import Rulebook
from obligor.training.samples.sample import Sample

Verdict = Literal["good", "look", "bad", "none"]
DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
DAYS_TO_DEFAULT = "days_to_default"  # a column of the stored test rows
# Of the interval of a slope that decides whether a model may be promoted. At 95% a
# right model would be refused once in twenty times.
SLOPE_CONFIDENCE = 0.99
# Columns of the stored test rows beside the features.
ROW_WEIGHT = "row weight"  # another; old stores have a feature named weight
BESIDE_FEATURES = ("label", "customer", "period", "pd", DAYS_TO_DEFAULT, ROW_WEIGHT)
PEER = "plain LightGBM"  # shown beside our model in every report


@dataclass(frozen=True)
class LabelledRows:
    """Rows whose outcome is known.

    Attributes
    ----------
    rows : ndarray, shape (n, columns)
        Numbers as the model takes them.
    label : ndarray of int, shape (n,)
        1 for a default, else 0.
    groups : ndarray of int, shape (n,)
        The customer or applicant of each row.
    periods : ndarray of object, shape (n,)
        The as-of date or the month of each row; "all" if there are no dates.
    weight : ndarray of float, shape (n,), optional
        How often each row counts; 1 by default.
    days_to_default : ndarray of float, shape (n,), optional
        Days from the as-of date to the first default within the horizon, NaN if there
        is none; not known of a table.
    """

    rows: Floats
    label: Ints
    groups: Ints
    periods: NDArray[np.object_]
    weight: Floats | None = None
    days_to_default: Floats | None = None


def labelled_rows(sample: Sample) -> LabelledRows:
    """Return a ledger's sample as it is validated; periods are its as-of dates."""
    return LabelledRows(
        sample.features.to_numpy(),
        sample.label,
        sample.customers,
        sample.rows["as_of"].to_numpy(),
        weight=sample.weight,
        days_to_default=sample.days_to_default,
    )


def month_of(period: object) -> str:
    """Return the month of a period that is a day; other periods are their own names.

    Examples
    --------
    >>> month_of("2024-06-30"), month_of("2024-06"), month_of("all")
    ('2024-06', '2024-06', 'all')
    """
    text = str(period)
    return text[:7] if DAY.match(text) else text


@dataclass(frozen=True)
class Rival:
    """The champion of the same population, on the rows that a model is tested on.

    Attributes
    ----------
    version : str
        Its version in the registry.
    name : str
        Such as "champion (version 1)".
    pd : ndarray of float, shape (n,), optional
        Its PDs over the horizon of the tested model; None if it cannot be compared.
    is_unseen : ndarray of bool, shape (n,)
        Whether it has not learnt from each row.
    notes : tuple of str
        Sentences on what stands in the way of the comparison.
    amount : ndarray of float, shape (n,), optional
        Money that each row stands for.
    """

    version: str
    name: str
    pd: Floats | None
    is_unseen: Bools
    notes: tuple[str, ...] = ()
    amount: Floats | None = None


def with_amount(rival: Rival | None, amount: Floats | None) -> Rival | None:
    """Return the champion with the money that each test row stands for."""
    return None if rival is None else replace(rival, amount=amount)


def peers_of(rival: Rival | None) -> dict[str, Floats]:
    """Return the champion's PDs by its name, if they are fair on all test rows."""
    if rival is None or rival.pd is None or not rival.is_unseen.all():
        return {}
    return {rival.name: rival.pd}


@dataclass(frozen=True)
class ModelUnderTest:
    """A model with all that its validation looks at.

    Attributes
    ----------
    name : str
        Title of the report.
    model : PdModel
        The model.
    fit, test : LabelledRows
        Training rows, and rows the model has not seen.
    fit_pd : ndarray, shape (n,)
        PDs of the training rows, each from a fit that had not seen the row.
    peers : mapping of ndarray
        PDs of other models on the test rows, by their names.
    segments : DataFrame
        Of the test rows: a column for each way to divide them.
    forbidden : DataFrame
        Of the test rows: attributes the model must not use.
    scale : Rulebook
        Its master scale gives the grades.
    notes : tuple of str
        Findings about the columns, for the section on data quality.
    rounds : int
        Bootstrap samples of every interval.
    seed : int
        Of the bootstrap and of all drawings.
    rival : Rival, optional
        The champion on the test rows; None if there is none.
    """

    name: str
    model: PdModel
    fit: LabelledRows
    fit_pd: Floats
    test: LabelledRows
    peers: Mapping[str, Floats]
    segments: pd.DataFrame
    forbidden: pd.DataFrame
    scale: Rulebook
    notes: tuple[str, ...] = ()
    rounds: int = 200
    seed: int = 7
    rival: Rival | None = None

    @cached_property
    def test_pd(self) -> Floats:
        """PDs of the test rows, shape (n,)."""
        return self.model.predict_pd(self.test.rows)

    @property
    def resampling(self) -> Resampling:
        """Bootstrap samples of the test rows; whole groups are drawn."""
        return Resampling(
            self.test.groups,
            self.rounds,
            self.seed,
            self.test.weight,
        )

    @cached_property
    def figures(self) -> dict[str, Interval]:
        """Every figure on the test rows; computed once, as it takes seconds."""
        return with_intervals(self.test_pd, self.test.label, self.resampling)

    @cached_property
    def slope(self) -> SlopeTest | None:
        """The calibration slope with its `SLOPE_CONFIDENCE` interval."""
        return slope_test(
            self.test_pd,
            self.test.label,
            self.test.groups,
            self.test.weight,
            SLOPE_CONFIDENCE,
        )

    @cached_property
    def months(self) -> NDArray[np.object_]:
        """The month of each test row, shape (n,); see `month_of`.

        If no month has two as-of dates, the months are called by these dates.
        """
        periods = [str(period) for period in self.test.periods.tolist()]
        months = [month_of(period) for period in periods]
        if len(set(months)) == len(set(periods)):
            months = periods
        return np.array(months, dtype=object)

    @cached_property
    def vintages(self) -> list[str]:
        """Months of the test rows in their order; empty if there is only one."""
        months = sorted(set(self.months.tolist()))
        return months if len(months) > 1 else []

    def grades(self, pd_: Floats) -> Ints:
        """Return the grade of each PD; PDs of another horizon are taken to 12 months.

        Parameters
        ----------
        pd_ : ndarray, shape (n,)
            PDs over the model's horizon, in (0, 1).

        Returns
        -------
        ndarray of int, shape (n,)
            Grades of the master scale, 1 the safest.
        """
        pd_12m = 1 - (1 - pd_) ** (365 / self.model.horizon_days)
        scale = self.scale.tables["master_scale"]
        values, value_of_row = np.unique(np.round(pd_12m, 6), return_inverse=True)
        grades = []
        for value in values.tolist():
            row = scale(pd_12m=Decimal(repr(value)))
            grades.append(row.whole("grade"))
        return np.array(grades)[value_of_row].astype(np.int64)


@dataclass(frozen=True)
class Section:
    """One part of the report.

    Attributes
    ----------
    id : str
        Name of the section in the page and in the verdicts.
    title : str
        Its heading.
    verdict : {"good", "look", "bad", "none"}
        Nothing found; a person should look; the model fails; cannot be assessed.
    summary : str
        The verdict in sentences.
    tables : tuple of (str, DataFrame)
        Each with its caption.
    pictures : tuple of (str, Figure)
        Each with its title.
    """

    id: str
    title: str
    verdict: Verdict
    summary: str
    tables: tuple[tuple[str, pd.DataFrame], ...] = ()
    pictures: tuple[tuple[str, Figure], ...] = field(default=(), repr=False)


def stored_names(features: Sequence[str]) -> list[str]:
    """Return the columns of stored test rows that hold the features of a model.

    A feature that has the name of another stored column is stored under a longer one.

    Examples
    --------
    >>> stored_names(["income", "label", "label (feature)"])
    ['income', 'label (feature) (feature)', 'label (feature)']
    """
    names = list[str]()
    for feature in features:
        name = feature
        while name in BESIDE_FEATURES or (name != feature and name in features):
            name += " (feature)"
        names.append(name)
    return names


def stored_rows(model: PdModel, test: LabelledRows) -> pd.DataFrame:
    """Return the test rows as the registry stores them, with the PDs to reproduce.

    Returns
    -------
    DataFrame
        The model's columns by `stored_names`, ``label, customer, period`` and ``pd``;
        `DAYS_TO_DEFAULT` if it is known, `ROW_WEIGHT` if rows do not count alike.
    """
    features = pd.DataFrame(test.rows, columns=stored_names(model.features))
    rows = features.assign(
        label=test.label,
        customer=test.groups,
        period=[str(period) for period in test.periods],
        pd=model.predict_pd(test.rows),
    )
    if test.days_to_default is not None:
        rows[DAYS_TO_DEFAULT] = test.days_to_default
    if test.weight is not None:
        rows[ROW_WEIGHT] = test.weight
    return rows


def feature_matrix(stored: pd.DataFrame) -> Floats:
    """Return stored test rows as their model takes them, shape (n, columns)."""
    features = stored.drop(columns=list(BESIDE_FEATURES), errors="ignore")
    return features.to_numpy(dtype=np.float64)
