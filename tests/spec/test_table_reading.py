"""Reading the columns of a table of applications.

A column is read as a whole, in training, in an evaluation and in a request alike. What
the spec states is used. Without it, a cell that can be read in one way only decides
for the others; if no cell decides, the table is refused and the choice is named.
"""

from __future__ import annotations

import pandas as pd

from obligor.errors import SchemaError
from obligor.features.encoding import kind_of, require_reading, stated_reading
from obligor.features.number_reading import NumberReading, StatedReading, numbers
from obligor.features.settled_spec import settle_spec
from obligor.features.table_spec import Spec
from tests.ascii import spec


def cells(column: str) -> pd.Series:
    """Return the cells of a column that is written in one line."""
    return pd.Series(column.split("; "), dtype="str", name="x")


def read(column: str, **stated: str) -> str:
    """Return the numbers that training reads, or why there are none."""
    frame = cells(column).to_frame()
    column_spec = {name: value for name, value in stated.items() if value}
    columns = {"x": {"type": "number", **column_spec}}
    table_spec = Spec.model_validate({"target": {"column": "y"}, "columns": columns})
    try:
        settled = settle_spec(frame, table_spec, ["x"]).spec
    except SchemaError:
        return "refused"
    return "; ".join(
        f"{x:g}" for x in numbers(frame["x"], stated_reading(settled, "x"))
    )


def test_numbers_are_read_by_what_their_column_proves() -> None:
    """Signs of percent and of one currency are left out: 13.5% is 13.5. Brackets and a
    minus behind are negative. Amounts in two currencies are refused.
    """
    expected = """
        column                    | numbers
        12,5; 980                 | 12.5; 980
        1.234,56; 12.500          | 1234.56; 12500
        1,234; 1,234,567          | 1234; 1.23457e+06
        1,234; 980                | refused
        12.500; 25.000            | refused
        12,5; 12.5                | refused
        1 234; 980                | 1234; 980
        1'234.50; 980             | 1234.5; 980
        13.5%; 7 %                | 13.5; 7
        € 1.234,50; 12,00 €       | 1234.5; 12
        EUR 1 000; EUR 2 000      | 1000; 2000
        $100; €100                | refused
        (500.00); 500.00-; ($1.5) | -500; -500; -1.5
        1; NA; null; 2            | 1; nan; nan; 2
        1; ?; 2                   | 1; nan; 2
        yes; no; NA               | 1; 0; nan
        J; N                      | 1; 0
        t; f; true                | 1; 0; 1
    """

    def answer(column: str) -> dict[str, object]:
        return {"numbers": read(column)}

    spec(answer, expected)


def test_stated_signs_of_a_table_are_used() -> None:
    """`decimal` and `thousands` stand in `[table]`, or in `[columns.NAME]` for one."""
    expected = """
        column         | decimal | thousands | numbers
        12.500; 25.000 | ,       | -         | 12500; 25000
        12.500; 25.000 | .       | -         | 12.5; 25
        12.500; 25.000 | -       | .         | 12500; 25000
        1,234; 980     | .       | -         | 1234; 980
        0.5; 12.500    | ,       | -         | refused
    """

    def answer(
        column: str, decimal: str | None, thousands: str | None
    ) -> dict[str, object]:
        return {
            "numbers": read(column, decimal=decimal or "", thousands=thousands or "")
        }

    spec(answer, expected)


def test_what_a_column_holds_is_inferred() -> None:
    """If more than 95 of 100 cells are numbers, so is the column. Words for truth
    values are a category, unless the spec states a direction or `type = "number"`.
    """
    expected = """
        column                                   | kind
        1; 2; NA                                 | number
        12,5; 7                                  | number
        1; 2; x                                  | category
        yes; no                                  | category
        A1; A2                                   | category
        20240331; 20240401; 20240402             | dates
        Jan-2023; Feb-2023                       | dates
        31/12/2023; 01/10/2023                   | dates
    """

    def answer(column: str) -> dict[str, object]:
        return {"kind": kind_of(cells(column))}

    spec(answer, expected)


def test_a_request_is_read_as_its_column() -> None:
    """A text that has one meaning is read. One that has two is refused, unless the
    column of the table has shown its decimal sign.
    """
    expected = """
        column        | text     | number
        12.5; 7       | 1,234    | 1234
        12,5; 7       | 1,234    | 1.234
        12,5; 7       | 1.234    | 1234
        12,5; 7       | 0.5      | refused
        12; 7         | 1,234    | refused
        12; 7         | 1.234    | 1.234
        12; 7         | 1,234.50 | 1234.5
        12; 7         | 12%      | refused
        12%; 7%       | 12 %     | 12
        €12,5; €7     | $7       | refused
        12; 7         | NA       | nan
        12; 7         | much     | refused
        yes; no       | true     | 1
        yes; no       | J        | 1
        yes; no       | perhaps  | refused
    """

    def answer(column: str, text: str) -> dict[str, object]:
        number = reading_of(column).number(text)
        return {"number": "refused" if number is None else f"{number:g}"}

    spec(answer, expected)


def reading_of(column: str) -> NumberReading:
    """Return how a model reads texts of a column that it was trained on."""

    return require_reading(cells(column), StatedReading(is_number=True)).reading
