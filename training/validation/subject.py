"""What a validation looks at, and what each part of it says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cached_property
from typing import Any, Literal

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from obligor.arrays import Floats, Ints
from obligor.model.pd_model import PdModel
from obligor.policy.rulebooks.rulebook import Rulebook
from obligor.training.metrics.figures import with_intervals
from obligor.training.metrics.statistics import Interval, Resampling
from obligor.training.samples.sample import Sample

Verdict = Literal["good", "look", "bad", "none"]
PEER = "plain LightGBM"  # shown beside ours in every report


@dataclass(frozen=True)
class LabelledRows:
    """Rows with what happened: numbers as the model takes them, the label, who they belong to, and their period."""

    rows: Floats
    label: Ints
    groups: Ints
    periods: NDArray[np.object_]


def part_of(sample: Sample) -> LabelledRows:
    """Return a ledger's sample as it is validated: periods are its as-of dates."""
    return LabelledRows(
        sample.features.to_numpy(),
        sample.label,
        sample.customers,
        sample.rows["as_of"].to_numpy(),
    )


@dataclass(frozen=True)
class ModelUnderTest:
    """What is validated.

    Attributes
    ----------
    fit, test : Part
        Rows the model learnt from, and rows it has not seen.
    fit_pd : ndarray
        PDs of the learnt rows, each from a fit that had not seen it.
    peers : dict
        PDs of other models on the test rows.
    segments : DataFrame
        Of the test rows, a column per way to cut them.
    forbidden : DataFrame
        Of the test rows: what the model may not look at.
    scale : Rulebook
        Whose master scale gives the grades.
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

    def pd_(self) -> Floats:
        """PDs of the test rows."""
        return self.model.predict_pd(self.test.rows)

    @cached_property
    def figures(self) -> dict[str, Interval]:
        """Every figure of the model on the test rows; some hundred bootstrap samples, drawn once."""
        return with_intervals(
            self.pd_(),
            self.test.label,
            Resampling(self.test.groups, self.rounds, self.seed),
        )

    def periods(self) -> list[Any]:
        """Return the periods of the test rows in their order; none where there is one alone."""
        found = sorted(set(self.test.periods.tolist()), key=str)
        return found if len(found) > 1 else []

    def grades(self, pd_: Floats) -> Ints:
        """Return the grade of each PD over the model's horizon, taken over 12 months."""
        pd_12m = 1 - (1 - pd_) ** (365 / self.model.horizon_days)
        scale = self.scale.tables["master_scale"]
        values, place = np.unique(np.round(pd_12m, 6), return_inverse=True)
        found = np.array(
            [
                scale(pd_12m=Decimal(repr(value))).whole("grade")
                for value in values.tolist()
            ]
        )
        return found[place].astype(np.int64)


@dataclass(frozen=True)
class Section:
    """One part of the report."""

    id: str
    title: str
    verdict: Verdict
    says: str
    tables: tuple[tuple[str, pd.DataFrame], ...] = ()
    pictures: tuple[tuple[str, Figure], ...] = field(default=(), repr=False)


def kept_rows(model: PdModel, test: LabelledRows) -> pd.DataFrame:
    """Return the test rows as the registry keeps them: columns, label, customer, period, and the PD to replay."""
    found = pd.DataFrame(test.rows, columns=list(model.features))
    return found.assign(
        label=test.label,
        customer=test.groups,
        period=[str(period) for period in test.periods],
        pd=model.predict_pd(test.rows),
    )
