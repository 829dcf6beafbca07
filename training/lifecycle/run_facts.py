"""What is written beside a run: its name, its data, its candidates."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

import pandas as pd

from obligor.arrays import Ints

OUTCOME = "is default"
DIGEST_LENGTH = 32  # MLflow takes at most 36 characters

Role = Literal["training", "test"]
Kind = Literal["table", "ledger", "recalibrated", "registered", "model"]


@dataclass(frozen=True)
class LoggedData:
    """Rows that a run has used, as MLflow lists them among its datasets.

    Attributes
    ----------
    name : str
        Name of the data, such as that of the table.
    role : {"training", "test"}
        What they were used for.
    digest : str
        Of their content; equal rows have equal digests.
    source : str
        Where they came from: the SHA-256 of the file or of the ledger, or "".
    columns : mapping of str
        Type of each column, by its name.
    rows, defaults : int
        How many, and how many of them with a default.
    """

    name: str
    role: Role
    digest: str
    source: str
    columns: Mapping[str, str]
    rows: int
    defaults: int


@dataclass(frozen=True)
class CandidateFacts:
    """One candidate or one step of a run; it becomes a nested run.

    Attributes
    ----------
    name : str
        Of the candidate or the step.
    parameters : mapping
        Such as its kind of calibration and its weight in the blend.
    metrics : mapping of float
        Its figures on the test rows; finite.
    """

    name: str
    parameters: Mapping[str, object]
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class RunFacts:
    """What tells one run from another.

    Attributes
    ----------
    data : str
        Name of the data.
    kind : str
        What the run was about.
    chosen : str
        Name of the candidate that was chosen.
    datasets : tuple of LoggedData
        The rows that were used.
    candidates : tuple of CandidateFacts
        What was tried.
    steps : tuple of CandidateFacts
        What was done after the choice, such as the level.
    texts : mapping of str
        Small files to keep beside the model, by name: the spec, the scorecard.
    tags : mapping of str
        To search runs by.
    """

    data: str = ""
    kind: Kind = "model"
    chosen: str = ""
    datasets: tuple[LoggedData, ...] = ()
    candidates: tuple[CandidateFacts, ...] = ()
    steps: tuple[CandidateFacts, ...] = ()
    texts: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)

    def run_name(self, at: datetime) -> str:
        """Return the name of the run: data, day, kind and the chosen candidate.

        Examples
        --------
        >>> facts = RunFacts("german_credit", "table", "blend")
        >>> facts.run_name(datetime(2026, 1, 5, 9, 30))
        'german_credit 2026-01-05 table blend'
        """
        parts = (self.data, f"{at:%Y-%m-%d}", self.kind, self.chosen)
        return " ".join(part for part in parts if part)


def logged_data(
    name: str,
    role: Role,
    frame: pd.DataFrame,
    label: Ints,
    source: str = "",
) -> LoggedData:
    """Return facts about rows: their columns, their number, their digest.

    Parameters
    ----------
    name : str
        Name of the data.
    role : {"training", "test"}
        What they were used for.
    frame : DataFrame
        The rows, without the outcome.
    label : ndarray of int, shape (n,)
        1 for a default, else 0.
    source : str
        SHA-256 of what they came from, or "".
    """
    rows = frame.astype(str).assign(**{OUTCOME: label})
    cells = pd.util.hash_pandas_object(rows, index=False).to_numpy()
    names = "\n".join(map(str, rows.columns))
    digest = hashlib.sha256(names.encode() + cells.tobytes()).hexdigest()
    return LoggedData(
        name=name,
        role=role,
        digest=digest[:DIGEST_LENGTH],
        source=source,
        columns={str(column): str(frame[column].dtype) for column in frame},
        rows=len(frame),
        defaults=int(label.sum()),
    )


NO_FACTS = RunFacts()
