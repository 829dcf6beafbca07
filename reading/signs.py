"""The sign of an amount, if a column beside it says debit or credit.

In the books of the seller an invoice is a debit of the customer and a payment a credit.
So a credit among invoices is negative (a credit note), and so is a debit among payments
(a payment that was returned).
"""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from obligor.data.column_reading import texts_of
from obligor.reading.mapping import SignColumn, TableMapping
from obligor.reading.selecting import source_column

# The usual pairs of credit and debit: English, German (SAP's Haben and Soll), Chinese.
USUAL_PAIRS = (
    ("H", "S"),
    ("C", "D"),
    ("CR", "DR"),
    ("CREDIT", "DEBIT"),
    ("HABEN", "SOLL"),
    ("贷", "借"),
)
# A row of these tables reduces what the customer owes.
CREDITS = ("payments", "write_offs")


@dataclass(frozen=True)
class SignReading:
    """Amounts with their signs.

    Attributes
    ----------
    amounts : Series
        Negative if the row undoes what its table holds; empty if its sign is not clear.
    note : str
        Which value was taken as a credit.
    unclear : Series
        What is wrong with the sign of a row; only rows with a fault.
    """

    amounts: pd.Series
    note: str
    unclear: pd.Series


def signed_amounts(
    mapping: TableMapping,
    sign_by: SignColumn,
    raw: pd.DataFrame,
    amounts: pd.Series,
) -> SignReading:
    """Return amounts with the signs that a column says.

    Parameters
    ----------
    mapping : TableMapping
        Of the table.
    sign_by : SignColumn
        The column, and its value for a credit.
    raw : DataFrame
        The source.
    amounts : Series
        As they were read. An amount that is negative already must be of the side that
        makes it negative.
    """
    texts = texts_of(source_column(mapping, raw, sign_by.column), ("",)).str.upper()
    credit, debit = _values(sign_by, texts)
    is_credit = texts.isin(credit)
    is_debit = texts.isin(debit) if debit else texts.notna() & ~is_credit
    is_negative = is_debit if mapping.table in CREDITS else is_credit
    signed = amounts.abs().where(~is_negative, -amounts.abs())
    has_no_side = ~(is_credit | is_debit)
    is_contradicted = (amounts < 0) & ~is_negative & ~has_no_side
    unclear = pd.Series("", index=amounts.index, dtype="object")
    unclear[is_contradicted] = f"the amount is negative, its {sign_by.column} is not"
    unclear[has_no_side] = f"{sign_by.column} is neither debit nor credit"
    is_unclear = has_no_side | is_contradicted
    note = f"{sign_by.column}: {', '.join(credit)} is read as a credit"
    return SignReading(
        amounts=signed.where(~is_unclear),
        note=note,
        unclear=unclear[is_unclear],
    )


def _values(
    sign_by: SignColumn, texts: pd.Series
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the values of a credit and of a debit, in capital letters."""
    if sign_by.credit:
        credit = tuple(value.strip().upper() for value in sign_by.credit)
        debit = tuple(value.strip().upper() for value in sign_by.debit)
        return credit, debit
    values = set(texts.dropna())
    matches = [pair for pair in USUAL_PAIRS if values & set(pair)]
    if not matches:
        return ("credit",), ("debit",)
    best = max(matches, key=lambda pair: int(texts.isin(pair).sum()))
    return (best[0],), (best[1],)
