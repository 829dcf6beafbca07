"""Reading dates and amounts.

A column is read as a whole. What the mapping states is used. Without it, a cell that
can be read in one way only decides for the others; if there is no such cell, or two
that disagree, the ledger is refused and the choice is named. Nothing is guessed.
"""

from __future__ import annotations

import pandas as pd

from obligor.data.column_reading import ColumnReading
from obligor.reading.amounts import parse_amounts
from obligor.reading.dates import parse_days
from obligor.reading.mapping import NumberFormat
from tests.ascii import spec


def cells(column: str) -> pd.Series:
    """Return the cells of a column that is written in one line."""
    return pd.Series(column.split("; "), dtype="str")


def days_of(reading: ColumnReading) -> dict[str, object]:
    """Return the days that were read, or that the column is refused."""
    days = reading.values.dt.strftime("%Y-%m-%d").fillna("?")
    return {"days": "refused" if reading.refusal else "; ".join(days)}


def amounts_of(reading: ColumnReading) -> dict[str, object]:
    """Return the amounts that were read, or that the column is refused."""
    amounts = [f"{amount:.2f}" for amount in reading.values]
    return {"amounts": "refused" if reading.refusal else "; ".join(amounts)}


def test_a_column_of_dates_is_read_by_what_it_proves() -> None:
    """A month has no day 33 and a year no month 13. A time and its zone are left out:
    the day is the one that is written. A cell that can be no date is set aside.
    """
    expected = """
        column                                      | days
        2024-10-01; 2024-12-31                      | 2024-10-01; 2024-12-31
        01/10/2024; 31/12/2024                      | 2024-10-01; 2024-12-31
        10/01/2024; 12/31/2024                      | 2024-10-01; 2024-12-31
        01/10/2024; 01/12/2024                      | refused
        31/12/2024; 12/31/2024                      | refused
        01/01/2024; 02/02/2024                      | 2024-01-01; 2024-02-02
        01.10.2024; 33.12.2024; 31.12.2024          | 2024-10-01; ?; 2024-12-31
        01/10/24; 31/12/24                          | refused
        1 Oct 2024; 31 December 2024                | 2024-10-01; 2024-12-31
        2024-10-01T23:30:00-02:00; 2024-10-02 00:00 | 2024-10-01; 2024-10-02
        2024-10-01; 0000-00-00; never               | 2024-10-01; ?; ?
    """

    def answer(column: str) -> dict[str, object]:
        return days_of(parse_days(cells(column)))

    spec(answer, expected)


def test_a_number_is_a_date_only_if_it_can_be_nothing_else() -> None:
    """Eight digits that are a day of our time are year, month and day. Excel's day
    numbers are read in a workbook; elsewhere only if the mapping states ``excel``.
    """
    expected = """
        column               | is_workbook | date_format | days
        20241001; 20241231.0 | no          | -           | 2024-10-01; 2024-12-31
        20241001; 00000000   | no          | -           | 2024-10-01; ?
        45566; 45597         | yes         | -           | 2024-10-01; 2024-11-01
        45566; 45597         | no          | -           | refused
        45566; 45597.75      | no          | excel       | 2024-10-01; 2024-11-01
        44104                | no          | excel-1904  | 2024-10-01
        1727740800           | yes         | -           | refused
        5; 17                | yes         | -           | refused
        20241001             | no          | %Y%m%d      | 2024-10-01
    """

    def answer(
        column: str, is_workbook: bool, date_format: str | None
    ) -> dict[str, object]:
        reading = parse_days(
            cells(column),
            date_format or "",
            is_workbook=is_workbook,
        )
        return days_of(reading)

    spec(answer, expected)


def test_a_stated_format_is_used() -> None:
    """What does not match the format is set aside, even if it could be read."""
    expected = """
        column                 | date_format | days
        01/10/2024; 02/12/2024 | %d/%m/%Y    | 2024-10-01; 2024-12-02
        01/10/2024; 02/12/2024 | %m/%d/%Y    | 2024-01-10; 2024-02-12
        01/10/2024; 2024-12-02 | %d/%m/%Y    | 2024-10-01; ?
    """

    def answer(column: str, date_format: str) -> dict[str, object]:
        return days_of(parse_days(cells(column), date_format))

    spec(answer, expected)


def test_a_column_of_amounts_is_read_by_what_it_proves() -> None:
    """A group of thousands has three digits and does not start with 0. Brackets and a
    minus behind are negative. A sign of a currency is not read unless it is stated.
    """
    expected = """
        column                      | amounts
        1234.56; 980                | 1234.56; 980.00
        1.234,56; 12.500            | 1234.56; 12500.00
        1,234.56; 12,500            | 1234.56; 12500.00
        12.500; 980.10              | 12.50; 980.10
        12.500; 980,10              | 12500.00; 980.10
        12.500; 25.000              | refused
        12,500                      | refused
        980,10; 980.10              | refused
        1.234.567; 12.500           | 1234567.00; 12500.00
        0.500; 12.500               | 0.50; 12.50
        1,00,000.00                 | 100000.00
        1 234,56; 1'234,00          | 1234.56; 1234.00
        (500.00); 500.00-; -500.00  | -500.00; -500.00; -500.00
        € 500.00; 12                | nan; 12.00
    """

    def answer(column: str) -> dict[str, object]:
        return amounts_of(parse_amounts(cells(column)))

    spec(answer, expected)


def test_stated_signs_are_used() -> None:
    """One sign is enough: the other is the dot or the comma that is left."""
    expected = """
        column           | decimal | thousands | currency_sign | amounts
        12.500; 25.000   | ,       | -         | -             | 12500.00; 25000.00
        12.500; 25.000   | .       | -         | -             | 12.50; 25.00
        12.500; 25.000   | -       | .         | -             | 12500.00; 25000.00
        1.234,56; 1,234  | ,       | .         | -             | 1234.56; 1.23
        12'500.00; 1.5   | .       | '         | -             | 12500.00; 1.50
        € 500.00; 1.00 € | .       | ,         | €             | 500.00; 1.00
    """

    def answer(
        column: str,
        decimal: str | None,
        thousands: str | None,
        currency_sign: str | None,
    ) -> dict[str, object]:
        numbers = NumberFormat(decimal or "", thousands or "", currency_sign or "")
        return amounts_of(parse_amounts(cells(column), numbers))

    spec(answer, expected)
