"""Scores of all rows of a table of applications at once; nothing is recorded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from obligor.arrays import Floats
from obligor.decisions.champion import Champion
from obligor.errors import SchemaError
from obligor.model.pd_model import PdModel

ROWS_AT_ONCE = 10_000


@dataclass(frozen=True)
class TableScores:
    """The scores of a table, and which of its columns had no part in them.

    Attributes
    ----------
    scores : DataFrame
        A row per row: its number from 1, ``pd_12m`` with its 95% interval, ``pd_3m``,
        ``pd_6m``, and the margin.
    unused : tuple of str
        Columns of the table that the model does not read.
    """

    scores: pd.DataFrame
    unused: tuple[str, ...]


def score_table(frame: pd.DataFrame, champion: Champion) -> TableScores:
    """Score every row of a table as `POST /v1/scores` scores it alone.

    Parameters
    ----------
    frame : DataFrame
        The columns that the model reads, and others.
    champion : Champion
        The model of a table of applications.

    Raises
    ------
    SchemaError
        If the model is one of a ledger, a column is missing, or a cell is not a number
        where one is expected; the message has the row and the column.
    """
    encoding = champion.model.encoding
    if encoding is None:
        raise SchemaError(
            "the model scores customers of a ledger, not applications",
            where="table",
            expected="the champion of a table",
            do="name the model with --name",
        )
    rows = encoding.checked_rows(frame)
    names = {column.name for column in encoding.columns}
    parts = list(_scores_by_part(champion.model, rows))
    scores = pd.concat(parts, ignore_index=True)
    scores.insert(0, "row", np.arange(1, len(scores) + 1))
    unused = tuple(str(name) for name in frame if name not in names)
    return TableScores(scores, unused)


def _scores_by_part(model: PdModel, rows: Floats) -> Iterator[pd.DataFrame]:
    """Score some rows at a time: their contributions need room."""
    for start in range(0, len(rows), ROWS_AT_ONCE):
        part = rows[start : start + ROWS_AT_ONCE]
        _, margin = model.explain(part)
        pds = model.pds(margin, part)
        low, high = pds.interval_12m
        yield pd.DataFrame(
            {
                "pd_12m": pds.pd_12m,
                "low_12m": low,
                "high_12m": high,
                "pd_6m": pds.pd_6m,
                "pd_3m": pds.pd_3m,
                "margin": margin,
            }
        )
