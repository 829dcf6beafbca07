"""What is said about a table before a model is trained on it.

`obligor spec infer`, the start of `obligor train --table` and the section 'The table'
of the report name each finding with its rows, their share, and what to do.
"""

from __future__ import annotations

from datetime import date

import numpy as np
import pandas as pd

from obligor.features.applications import applications
from obligor.features.table_findings import TableFinding, table_findings
from obligor.features.table_spec import Spec
from tests.ascii import spec

TODAY = date(2026, 1, 1)
N_ROWS = 200


def columns() -> dict[str, object]:
    """Return a column of each strange kind, of 200 rows."""
    index = np.arange(N_ROWS)
    income = (index * 37 % 101).astype(float)
    return {
        "empty": [None] * N_ROWS,
        "same": ["x"] * N_ROWS,
        "nearly same": [1] * (N_ROWS - 1) + [2],
        "contract": [f"C{number:04d}" for number in index],
        "row number": index + 1000,
        "ratio": np.where(index < 4, np.inf, index * 53 % 89),
        "branch": [f"B{number % 90}" for number in index],
        "remark": [f"remark {number % 150}" for number in index],
        "seen on": [f"{number % 28 + 1}.12.2024" for number in index],
        "mixed": [str(number) if number % 5 else "unknown" for number in index],
        "interest": [f"{number % 9}%" if number % 2 else "3" for number in index],
        "income": income,
    }


def findings_of(**more: object) -> tuple[TableFinding, ...]:
    """Return the findings of a table of a plain column and some more."""
    index = np.arange(N_ROWS)
    plain = {"y": index % 4 == 0, "plain": index * 31 % 199}
    frame = pd.DataFrame({**plain, **more})
    table = {"date": "on"} if "on" in more else {}
    stated = {"target": {"column": "y"}, "table": table}
    return table_findings(applications(frame, Spec.model_validate(stated)), TODAY)


def shown(finding: TableFinding | None) -> dict[str, object]:
    """Return what of a finding is compared."""
    if finding is None:
        return {"finding": None, "rows": None, "share": None}
    share = f"{finding.share:.1%}"
    return {"finding": finding.kind, "rows": finding.rows, "share": share}


def test_strange_columns_are_found() -> None:
    """A column may be strange in more than one way; the first is shown here."""
    expected = """
        column      | finding          | rows | share
        empty       | all missing      | 200  | 100.0%
        same        | constant         | 200  | 100.0%
        nearly same | near-constant    | 1    | 0.5%
        contract    | identifier       | 200  | 100.0%
        row number  | identifier       | 200  | 100.0%
        ratio       | infinite values  | 4    | 2.0%
        branch      | high cardinality | 140  | 70.0%
        remark      | not a feature    | 200  | 100.0%
        seen on     | not a feature    | 200  | 100.0%
        mixed       | mixed types      | 40   | 20.0%
        interest    | mixed percent    | 100  | 50.0%
        income      | -                | -    | -
    """

    def answer(column: str) -> dict[str, object]:
        findings = findings_of(**{column: columns()[column]})
        return shown(next(iter(findings), None))

    spec(answer, expected)


def test_strange_rows_are_found() -> None:
    """Two columns with the same values, dates to come, and the same rows twice."""
    days = pd.date_range("2025-06-17", periods=N_ROWS)
    income = columns()["income"]
    kinds = [
        [finding.kind for finding in findings_of(income=income, copy=income)],
        [finding.kind for finding in findings_of(on=days)],
        [finding.rows for finding in findings_of(on=days)],
        [finding.kind for finding in findings_of(plain=np.arange(N_ROWS) // 40)],
    ]
    assert kinds == [["identical columns"], ["future dates"], [1], ["duplicate rows"]]


def test_a_direction_of_a_category_is_said() -> None:
    frame = pd.DataFrame({"y": [0, 1] * 20, "purpose": ["car", "boat"] * 20})
    stated = {"target": {"column": "y"}, "columns": {"purpose": {"direction": -1}}}
    data = applications(frame, Spec.model_validate(stated))
    assert (
        "purpose: a direction is stated, but a category has no order" in data.notes[0]
    )
