"""A value is read alike from a file and from the JSON of a request."""

from __future__ import annotations

import json
from collections.abc import Mapping

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from obligor.decisions.questions import ScoreRequest
from obligor.errors import SchemaError
from obligor.features.encoding import Encoding, fit_encoding
from obligor.features.table_spec import Spec

WHOLE_NUMBERS = st.integers(-3, 12)
DECIMALS = st.sampled_from([0.0, 0.5, 1.0, 1.25, 7.0])
TEXTS = st.sampled_from(["a", "B ", "1", "01", "1.0", "2.50", "true", "no", "A1"])
TRUTHS = st.booleans()
CELLS = {
    "whole": WHOLE_NUMBERS,
    "whole with gaps": WHOLE_NUMBERS,
    "decimal with gaps": DECIMALS,
    "text with gaps": TEXTS,
    "truth": TRUTHS,
    "truth with gaps": TRUTHS,
}


@st.composite
def tables(draw: DrawFn) -> pd.DataFrame:
    """Draw a table of a column of each kind, with at least two values in each."""
    n_rows = draw(st.integers(20, 40))
    columns = {}
    for name, cells in CELLS.items():
        with_gaps = st.none() | cells if name.endswith("gaps") else cells
        values = draw(st.lists(with_gaps, min_size=n_rows, max_size=n_rows))
        # Ten rows of a value make a level, so that one is learnt.
        values[:10] = [draw(cells)] * 10
        columns[name] = pd.Series(values)
    return pd.DataFrame(columns)


def fitted(frame: pd.DataFrame) -> Encoding:
    """Return an encoding in which each column is of codes."""
    columns = {name: {"type": "category"} for name in frame}
    spec = Spec.model_validate({"target": {"column": "y"}, "columns": columns})
    other = pd.DataFrame({"other": np.arange(len(frame))})
    encoding, _ = fit_encoding(pd.concat([frame, other], axis=1), spec)
    return encoding


def sent(values: Mapping[str, object]) -> Mapping[str, object]:
    """Return a row as a service reads it from JSON."""
    body = json.dumps({"features": values})
    return ScoreRequest.model_validate_json(body).features


def cell(value: object) -> object:
    """Return a cell as JSON has it."""
    if (
        value is None
        or value is pd.NA
        or (isinstance(value, float) and np.isnan(value))
    ):
        return None
    return value.item() if isinstance(value, np.generic) else value


@settings(deadline=None, max_examples=60)
@given(tables())
def test_a_row_of_a_file_is_the_row_of_its_json(frame: pd.DataFrame) -> None:
    encoding = fitted(frame)
    with_other = frame.assign(other=1.0)
    names = [column.name for column in encoding.columns]
    from_file = encoding.rows(with_other)
    for index in range(len(frame)):
        values = {name: cell(with_other[name].iloc[index]) for name in names}
        np.testing.assert_array_equal(encoding.row(sent(values))[0], from_file[index])


@pytest.mark.parametrize(
    ("levels", "value", "expected"),
    [
        ([1, 2], 1, 0),
        ([1, 2], 2.0, 1),
        ([1, 2], "1", 0),
        ([1, 2], " 2 ", 1),
        ([1, 2], True, 0),
        ([1, 2, None], "1", 1),
        ([1, 2, None], 1.0, 1),
        ([1, 2, None], None, 0),
        ([True, False], True, 1),
        ([True, False], "false", 0),
        ([True, False], 1, 1),
        (["01", "1"], "01", 0),
        (["01", "1"], 1, 1),
        (["01", "02"], 1, 0),
        (["a", "b"], "A", None),
        (["a", "b"], 1, None),
        ([9007199254740993, 2], "9007199254740992", None),
    ],
)
def test_a_level_is_one_value_however_it_is_written(
    levels: list[object], value: object, expected: int | None
) -> None:
    frame = pd.DataFrame({"code": pd.Series(levels * 10)})
    encoding = fitted(frame)
    columns = [column.name for column in encoding.columns]
    values = {name: value if name == "code" else 1 for name in columns}
    code = encoding.row(sent(values))[0][0]
    if expected is None:
        assert np.isnan(code)
    else:
        assert code == expected


@pytest.mark.parametrize(
    ("learnt", "file", "expected"),
    [
        ([1.5, 2.5], ["1,5", "2.000,5"], [1.5, 2000.5]),
        ([1.5, 2.5], ["1.5", "1,234.5"], [1.5, 1234.5]),
        (["1,5", "2,5"], ["1.5", "2.25"], [1.5, 2.25]),
        (["1,5", "2,5"], ["1.500", "?"], [1500.0, np.nan]),
    ],
)
def test_another_file_is_read_by_what_it_proves(
    learnt: list[object], file: list[object], expected: list[float]
) -> None:
    spec = Spec.model_validate({"target": {"column": "y"}})
    encoding, _ = fit_encoding(pd.DataFrame({"x": learnt * 10}), spec)
    rows = encoding.rows(pd.DataFrame({"x": file}))
    np.testing.assert_array_equal(rows[:, 0], expected)


def test_another_file_that_proves_nothing_is_refused() -> None:
    spec = Spec.model_validate({"target": {"column": "y"}})
    encoding, _ = fit_encoding(pd.DataFrame({"x": [1, 2] * 10}), spec)
    with pytest.raises(SchemaError, match=r"'1,234' can be 1234 or 1\.234"):
        encoding.rows(pd.DataFrame({"x": ["1,234", "2,345"]}))
