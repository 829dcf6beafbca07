"""Whatever a file or a mapping holds, it gives a ledger, findings, or our own error."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from obligor.data.checks import LedgerCheck
from obligor.data.ledger import CONTRACTS
from obligor.errors import ObligorError
from obligor.reading.mapping import RULE_KEYS, TABLE_KEYS
from obligor.reading.sources import read_ledger

TODAY = date(2026, 1, 1)
MAPPING = 'currency = "EUR"\n[invoices]\nfile = "{name}"\n{options}'
HEADER = "invoice_id,customer_id,issued_on,due_on,amount,currency,state"
CELLS = st.sampled_from(
    [
        *(
            "",
            " ",
            "NA",
            "A",
            "1",
            "0",
            "-1",
            "1.234",
            "1,5",
            "(2)",
            "3-",
            "1e400",
            "inf",
        ),
        *("2024-01-01", "01/02/2024", "31/12/24", "20240101", "45566", "0000-00-00"),
        *("9999-12-31", "0001-01-01", "2024-01-01T00:00:00+99:99", "TOTAL", "EUR"),
        *('"', "a\nb", "\x00", "€", "上海", "999999999999999999999", "1 Oct 2024"),
    ]
)
LINES = st.lists(st.lists(CELLS, min_size=1, max_size=8).map(",".join), max_size=6).map(
    "\n".join
)
TEXTS = st.sampled_from(
    [
        *(
            "",
            "x",
            ",",
            ".",
            ";",
            "\t",
            "%d/%m/%Y",
            "%",
            "%z",
            "excel",
            "mixed",
            "utf-16",
        ),
        *("invoice_id", "amount", "issued_on", "state", "items.csv", "none.csv", "'"),
        *("state = 'A'", "amount > 1", "issued_on < '2024-01-01'", "state in (1, 'A')"),
        *("base64", "idna", "sqlite://", "select 1 as amount", "${X}", "terms"),
    ]
)
VALUES = st.recursive(
    TEXTS | st.integers(-3, 10**7) | st.booleans() | st.floats(allow_nan=False),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from([*RULE_KEYS, "credit", "x"]), inner, max_size=3
        )
    ),
    max_leaves=4,
)
OPTIONS = st.dictionaries(
    st.sampled_from([key for key in TABLE_KEYS if key != "columns"]),
    VALUES,
    max_size=4,
)
COLUMNS = st.dictionaries(
    st.sampled_from(list(CONTRACTS["invoices"].columns)), VALUES, max_size=3
)
fuzzed = settings(max_examples=40, deadline=None)


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """One folder for all examples."""
    with TemporaryDirectory() as name:
        yield Path(name)


def toml(value: object) -> str:
    """Return a value as TOML writes it in one line."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        pairs = [f"{key} = {toml(item)}" for key, item in value.items()]
        return f"{{ {', '.join(pairs)} }}"
    if isinstance(value, list):
        return f"[{', '.join(map(toml, value))}]"
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\t", "\\t")
        return f'"{escaped}"'
    return str(value)


def read(
    folder: Path,
    name: str,
    content: bytes,
    options: str = "",
) -> LedgerCheck | ObligorError:
    """Read a source; any error that is not ours fails the test."""
    (folder / name).write_bytes(content)
    mapping = folder / "mapping.toml"
    mapping.write_text(MAPPING.format(name=name, options=options), encoding="utf-8")
    try:
        return read_ledger(mapping, today=TODAY)
    except ObligorError as error:
        return error


@fuzzed
@given(
    content=st.binary(max_size=200),
    name=st.sampled_from(["items.csv", "items.xlsx", "items.parquet", "items.XLS"]),
)
def test_random_bytes(folder: Path, content: bytes, name: str) -> None:
    assert isinstance(read(folder, name, content), LedgerCheck | ObligorError)


@fuzzed
@given(lines=LINES)
def test_random_delimited_text(folder: Path, lines: str) -> None:
    content = f"{HEADER}\n{lines}".encode()
    assert isinstance(read(folder, "items.csv", content), LedgerCheck | ObligorError)


@fuzzed
@given(content=st.text(max_size=300).filter(lambda text: "\ud800" not in text))
def test_a_random_mapping(folder: Path, content: str) -> None:
    mapping = folder / "mapping.toml"
    mapping.write_bytes(content.encode("utf-8", "ignore"))
    with pytest.raises(ObligorError):
        read_ledger(mapping, today=TODAY)


@fuzzed
@given(
    options=OPTIONS,
    columns=COLUMNS,
    lines=LINES,
)
def test_random_options(
    folder: Path,
    options: dict[str, object],
    columns: dict[str, object],
    lines: str,
) -> None:
    options = {key: value for key, value in options.items() if key != "file"}
    texts = [f"{key} = {toml(value)}" for key, value in options.items()]
    texts.append(f"columns = {toml(columns)}")
    row = "A,B,2024-01-01,2024-02-01,1,EUR,A"
    content = f"{HEADER}\n{row}\n{lines}".encode()
    outcome = read(
        folder,
        "items.csv",
        content,
        "\n".join(texts),
    )
    assert isinstance(outcome, LedgerCheck | ObligorError)
