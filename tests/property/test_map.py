"""Whatever the lists are, `obligor map` writes a mapping file, or one error."""

from __future__ import annotations

import csv
import tomllib
from contextlib import suppress
from datetime import date
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from obligor.connectors.drafting import draft_mapping
from obligor.connectors.guessing import guess_list
from obligor.connectors.layouts import layouts_of
from obligor.connectors.writing import mapping_text, report_lines
from obligor.errors import ObligorError
from obligor.reading.sources import read_ledger

HEADINGS = st.sampled_from(
    [
        "Customer",
        "Kunde",
        "Name",
        "Invoice No",
        "发票号",
        "Date",
        "Due Date",
        "Terms",
        "Amount",
        "Betrag",
        "Open",
        "Soll",
        "Haben",
        "S/H",
        "Type",
        "Status",
        "Paid on",
        "Amount paid",
        "Currency",
        "Year",
        "",
        'x"y',
        "back\\slash",
        "it's",
    ]
)
CELLS = st.sampled_from(
    [
        "",
        "A",
        "1",
        "30",
        "2024-01-01",
        "01/02/2024",
        "31.12.2024",
        "0000-00-00",
        "45000",
        "12.500",
        "1.234,56",
        "-5",
        "(3)",
        "€ 5",
        "S",
        "H",
        "EUR",
        "invoice",
        "payment",
        "DZ",
        "draft",
        "x'y",
        'q"t',
        "\\",
        "TOTAL",
    ]
)
SLOW = (HealthCheck.function_scoped_fixture, HealthCheck.too_slow)


@settings(max_examples=60, deadline=None, suppress_health_check=SLOW)
@given(
    headings=st.lists(HEADINGS, min_size=1, max_size=9),
    cells=st.lists(CELLS, max_size=45),
    separator=st.sampled_from([",", ";", "\t"]),
    encoding=st.sampled_from(["utf-8", "utf-16", "gb18030"]),
    currency=st.sampled_from(["", "EUR"]),
)
def test_a_mapping_is_written_or_refused(
    tmp_path: Path,
    headings: list[str],
    cells: list[str],
    separator: str,
    encoding: str,
    currency: str,
) -> None:
    path = tmp_path / "list.csv"
    width = len(headings)
    rows = [cells[start : start + width] for start in range(0, len(cells), width)]
    with path.open("w", newline="", encoding=encoding) as stream:
        csv.writer(stream, delimiter=separator).writerows([headings, *rows])
    try:
        guesses = [guess_list(layout) for layout in layouts_of(path)]
    except ObligorError:
        return
    draft = draft_mapping(guesses, currency)
    text = mapping_text(draft, tmp_path)
    assert tomllib.loads(text)["currency"] == draft.currency
    assert any(line.startswith("to check") for line in report_lines(draft))
    mapping = tmp_path / "mapping.toml"
    mapping.write_text(text, encoding="utf-8")
    # A ledger that cannot be read is one error of ours; nothing else may be raised.
    with suppress(ObligorError):
        read_ledger(mapping, today=date(2026, 1, 1))


@pytest.mark.parametrize("name", ["list.csv", "list.xlsx", "list.parquet"])
def test_random_bytes_are_one_error(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(bytes(range(256)) * 40)
    with pytest.raises(ObligorError):
        [guess_list(layout) for layout in layouts_of(path)]
