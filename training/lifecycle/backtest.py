"""A registered version on a new table: how good its PDs were; nothing is trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from obligor.arrays import Floats
from obligor.features.applications import Applications
from obligor.metrics.figures import with_intervals
from obligor.metrics.significance import rate
from obligor.metrics.statistics import Interval, Resampling
from obligor.training.lifecycle.raw_rows import KnownModel, model_matrix, rival_of
from obligor.training.lifecycle.table_rows import new_rows, raw_rows_of

ROUNDS = 200


class ScoredApplications(NamedTuple):
    """Applications with outcomes, and a model's PDs over their horizon."""

    data: Applications
    pd: Floats


@dataclass(frozen=True)
class BackTest:
    """A version on rows that it has not learnt from.

    Attributes
    ----------
    version : str
        The version in the registry.
    rows, defaults, learnt : int
        How many rows were scored, how many of them defaulted, and how many are left
        out because the model has learnt from them.
    figures : mapping of Interval
        Every figure by name; empty if all rows have one outcome.
    months : DataFrame
        A row per month: ``rows, defaults, expected, default_rate``; empty without
        dates.
    notes : tuple of str
        Sentences on what is left out or missing.
    scored : ScoredApplications
        The rows with their PDs.
    """

    version: str
    rows: int
    defaults: int
    learnt: int
    figures: Mapping[str, Interval]
    months: pd.DataFrame
    notes: tuple[str, ...]
    scored: ScoredApplications

    def as_dict(self) -> dict[str, object]:
        """Return everything as JSON values."""
        figures = {name: vars(interval) for name, interval in self.figures.items()}
        return {
            "version": self.version,
            "rows": self.rows,
            "defaults": self.defaults,
            "learnt_rows_left_out": self.learnt,
            "figures": figures,
            "months": self.months.reset_index().to_dict("records"),
            "notes": list(self.notes),
        }


def back_test(known: KnownModel, data: Applications, seed: int = 0) -> BackTest:
    """Score a table with a registered version, and compare with what has happened.

    Parameters
    ----------
    known : KnownModel
        The version, with the digests of the rows that it has learnt from.
    data : Applications
        A table with outcomes.
    seed : int
        Of the bootstrap.

    Raises
    ------
    SchemaError
        If the model is one of a ledger, or has learnt from every row.
    """
    fresh = new_rows(known, data)
    raw = raw_rows_of(fresh.data)
    scores = rival_of(known, raw, known.model.horizon_days)
    pd_ = known.model.predict_pd(model_matrix(known.model, raw.frame))
    figures: Mapping[str, Interval] = {}
    notes = [*fresh.notes]
    notes += [note for note in scores.notes if note not in notes]
    if 0 < raw.label.sum() < len(raw.label):
        resampling = Resampling(
            raw.groups,
            ROUNDS,
            seed,
            fresh.data.measured_weight,
        )
        figures = with_intervals(pd_, raw.label, resampling)
    else:
        notes.append("All rows have the same outcome, so there are no figures.")
    return BackTest(
        version=known.version,
        rows=len(raw.label),
        defaults=int(raw.label.sum()),
        learnt=fresh.learnt,
        figures=figures,
        months=outcomes_by_month(fresh.data, pd_),
        notes=tuple(notes),
        scored=ScoredApplications(fresh.data, pd_),
    )


def outcomes_by_month(data: Applications, pd_: Floats) -> pd.DataFrame:
    """Return expected and observed defaults by the month of the application.

    Parameters
    ----------
    data : Applications
        Rows with outcomes.
    pd_ : ndarray of float, shape (n,)
        PDs over the horizon of the outcomes.
    """
    if data.dates is None:
        return pd.DataFrame()
    months = data.dates.astype("datetime64[M]").astype(str)
    rows = pd.DataFrame({"month": months, "pd": pd_, "label": data.label})
    by_month = rows.groupby("month")
    table = pd.DataFrame(
        {
            "rows": by_month.size(),
            "defaults": by_month["label"].sum(),
            "expected": np.round(by_month["pd"].sum(), 2),
        }
    )
    table["default_rate"] = [
        str(rate(n_defaults, n))
        for n_defaults, n in zip(
            table["defaults"].tolist(),
            table["rows"].tolist(),
            strict=True,
        )
    ]
    return table
