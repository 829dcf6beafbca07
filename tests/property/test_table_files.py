"""Any file is read or refused with a message; nothing ends in a traceback."""

from __future__ import annotations

import io
import tempfile
import tomllib
from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path

import numpy as np
import orjson
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from obligor.errors import SchemaError
from obligor.features.applications import applications
from obligor.features.encoding import fit_encoding
from obligor.features.table_files import read_table_file
from obligor.features.table_findings import table_findings
from obligor.features.table_spec import Spec
from obligor.training.runs.infer_spec import infer_spec

TODAY = date(2026, 1, 1)
NAMES = st.sampled_from(
    ["y", "a", "", "b c", "pd", 'q"', "l\nn", "[t]", "数", "a=special"]
)
TEXTS = st.sampled_from(
    [
        "1",
        "12,5",
        "1.234",
        "€ 5",
        "13%",
        "yes",
        "no",
        "?",
        "NA",
        "x;y",
        '"',
        "2024-01-02",
    ]
)
PLAIN = (
    st.none()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.booleans()
    | TEXTS
    | st.text(max_size=4)
)
CELLS = (
    PLAIN
    | st.just(Decimal("1.50"))
    | st.just(date(2024, 1, 2))
    | st.just(datetime(2024, 1, 2, 3))
    | st.just(b"x")
    | st.lists(st.integers(), max_size=2)
)


def try_frame(frame: pd.DataFrame) -> None:
    """Go the way of `obligor train` up to the first fit."""
    try:
        inferred = infer_spec(frame, today=TODAY)
        spec = Spec.model_validate(tomllib.loads(inferred.text("made")))
        data = applications(frame, spec)
        assert all(finding.sentence() for finding in table_findings(data, TODAY))
        encoding, _ = fit_encoding(data.frame, data.spec)
        rows = encoding.rows(data.frame)
    except SchemaError:
        return
    assert rows.shape == (len(data), len(encoding.names))
    assert not np.isinf(rows).any()


def try_file(content: bytes, suffix: str) -> None:
    """Read a file of some bytes, and go on with what it holds."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"made{suffix}"
        file.write_bytes(content)
        try:
            frame = read_table_file(file).frame
        except SchemaError:
            return
        try_frame(frame)


@st.composite
def records(draw: DrawFn, *, is_writable: bool = False) -> Sequence[dict[str, object]]:
    """Draw rows of a small table, down to none, and up to more columns than rows."""
    names = draw(st.lists(NAMES, min_size=1, max_size=6, unique=True))
    kinds = [TEXTS, st.integers(0, 2)]
    cells = draw(st.sampled_from(kinds if is_writable else [PLAIN, CELLS, *kinds]))
    row = st.fixed_dictionaries({name: cells for name in names})
    return draw(st.lists(row, max_size=12))


@settings(deadline=None, max_examples=60)
@given(records())
def test_any_frame_is_read_or_refused(rows: Sequence[dict[str, object]]) -> None:
    try_frame(pd.DataFrame(rows))


@settings(deadline=None, max_examples=40)
@given(records(), st.sampled_from([",", ";", "\t", "|"]), st.integers(0, 400))
def test_any_text_file_is_read_or_refused(
    rows: Sequence[dict[str, object]], separator: str, end: int
) -> None:
    text = pd.DataFrame(rows).to_csv(index=False, sep=separator)
    try_file(text.encode("utf-8", "replace")[:end], ".csv")


@settings(deadline=None, max_examples=40)
@given(
    st.binary(max_size=60) | st.text(",;\n\"'ay1", max_size=60).map(str.encode),
    st.sampled_from([".csv", ".parquet", ".xlsx", ".xls", ".jsonl"]),
)
def test_any_bytes_are_read_or_refused(content: bytes, suffix: str) -> None:
    try_file(content, suffix)


@settings(deadline=None, max_examples=20)
@given(records())
def test_any_json_lines_are_read_or_refused(rows: Sequence[dict[str, object]]) -> None:
    lines = [
        orjson.dumps(row, default=str, option=orjson.OPT_NON_STR_KEYS) for row in rows
    ]
    try_file(b"\n".join(lines), ".jsonl")


@settings(deadline=None, max_examples=20)
@given(records(is_writable=True), st.integers(0, 4000))
def test_any_damaged_workbook_or_parquet_file_is_refused(
    rows: Sequence[dict[str, object]], start: int
) -> None:
    frame = pd.DataFrame(rows)
    for suffix in (".xlsx", ".parquet"):
        stream = io.BytesIO()
        if suffix == ".xlsx":
            frame.to_excel(stream, index=False)
        else:
            frame.to_parquet(stream)
        content = stream.getvalue()
        damaged = content[: start % len(content)] + content[start % len(content) + 7 :]
        try_file(damaged, suffix)
        try_file(content, suffix)
