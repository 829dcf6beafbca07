"""A key of a mapping that is not valid is refused by name; so is a wrong value."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from obligor.errors import SchemaError
from obligor.reading.conditions import Combination, Comparison, parse_condition
from obligor.reading.mapping import read_mapping

INVOICES = 'currency = "EUR"\n[invoices]\nfile = "items.csv"\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            INVOICES + "wher = 'x'",
            r"\[invoices\]: unknown key 'wher'.*did you mean 'where'",
        ),
        (INVOICES + "skip_rows = 3", r"unknown key 'skip_rows'.*'header_row'"),
        (
            INVOICES + 'columns = { amuont = "x" }',
            r"\[invoices.columns\]: unknown column 'amuont'.*did you mean 'amount'",
        ),
        (
            INVOICES + 'columns = { due_on = { colum = "x" } }',
            r"\[invoices.columns\] due_on: unknown key 'colum'.*'column'",
        ),
        (
            INVOICES + 'sign_by = { column = "S", credits = "H" }',
            r"\[invoices\] sign_by: unknown key 'credits'.*'credit'",
        ),
        (
            INVOICES + 'date_format = { due = "%Y" }',
            r"\[invoices.date_format\]: unknown column 'due'.*'due_on'",
        ),
        ('unapplied = "newest_first"', "unapplied is .*; expected one of .*oldest"),
        ("exported_on = 20260131", "exported_on is 20260131; expected a day such as"),
        ("exported_on = 2026-01-31T12:00:00", "exported_on is .*; expected a day"),
        (
            INVOICES + 'columns = { due_on = { column = "x", values = "y" } }',
            "values is 'y'; expected a table",
        ),
        (
            INVOICES
            + 'columns = { due_on = { column = "x", values = { A = "1", a = "2" } } }',
            "expected each value once",
        ),
        ('currncy = "EUR"', "unknown table 'currncy'"),
        ('[invoice]\nfile = "x"', "unknown table 'invoice'.*did you mean 'invoices'"),
        (INVOICES + "header_row = -1", "header_row is -1; expected a whole number"),
        (INVOICES + "encoding = 8", "encoding is 8; expected a text"),
        (INVOICES + "empty = [1]", "empty is .*; expected a text or a list of texts"),
        (INVOICES + 'separator = ";;"', "separator is ';;'; expected one character"),
        (INVOICES + 'decimal = ","\nthousands = ","', "expected another sign"),
        (INVOICES + 'url = "x"', "file and url are both there"),
        (INVOICES + 'sign_by = { column = "S" }', "column or credit is missing"),
        (
            INVOICES + 'id = ["a", "b"]\ncolumns = { invoice_id = "x" }',
            "id cannot be used here",
        ),
        (
            INVOICES + 'columns = { due_on = { column = "x", constant = "y" } }',
            "the rule has 2 fillers",
        ),
        ('currency = "EUR"\ninvoices = 3', "invoices is 3"),
    ],
)
def test_a_mapping_that_is_not_valid_names_the_fault(
    tmp_path: Path,
    text: str,
    message: str,
) -> None:
    mapping = tmp_path / "mapping.toml"
    mapping.write_text(text)
    with pytest.raises(SchemaError, match=message):
        read_mapping(mapping)


def test_what_holds_for_the_whole_mapping(tmp_path: Path) -> None:
    mapping = tmp_path / "mapping.toml"
    mapping.write_text('unapplied = "as_allocated"\nexported_on = 2026-01-31\n')
    content = read_mapping(mapping)
    assert (content.unapplied, content.exported_on) == (
        "as_allocated",
        date(2026, 1, 31),
    )
    mapping.write_text('exported_on = "2026-01-31"\n')
    content = read_mapping(mapping)
    assert (content.unapplied, content.exported_on) == (
        "oldest_first",
        date(2026, 1, 31),
    )


def test_and_binds_before_or() -> None:
    condition = parse_condition(
        "\"doc type\" in ('DR', 'RV') or amount >= 5 and not_paid != ''", "[invoices]"
    )
    assert condition == Combination(
        "or",
        (
            Comparison("doc type", "in", ("DR", "RV")),
            Combination(
                "and",
                (
                    Comparison("amount", ">=", (5.0,)),
                    Comparison("not_paid", "!=", ("",)),
                ),
            ),
        ),
    )


@pytest.mark.parametrize(
    "text",
    [
        "state",
        "state =",
        "state = posted",
        "= 'x'",
        "state = 'x",
        "state = 'x' and",
        "(state = 'x'",
        "state in 'x'",
        "state in ()",
        "__import__('os')",
        "state = 'x'; drop",
        "not state = 'x'",
    ],
)
def test_a_text_that_is_no_condition_is_refused(text: str) -> None:
    with pytest.raises(SchemaError, match=r"\[invoices\]: where: "):
        parse_condition(text, "[invoices]")
