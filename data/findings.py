"""What the check of a ledger says about its rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["refuse", "quarantine", "note"]


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong in a source.

    Attributes
    ----------
    level : {"refuse", "quarantine", "note"}
        What follows from it.
    table, column : str
        Where it is; the column is empty if the whole table is meant.
    row : int, optional
        The row, counted from 0; None if the whole column or table is meant.
    what : str
        What is wrong.
    expected : str
        What would have been right.
    line : str
        Where the row is in its file, as an editor counts: ``line 62``. Empty if the
        source has no lines.
    """

    level: Level
    table: str
    column: str
    row: int | None
    what: str
    expected: str
    line: str = ""

    def weight(self) -> int:
        """Return 0 for a refusal, 1 for a note on a whole column, more for rows."""
        if self.level == "refuse":
            return 0
        if self.row is None:
            return 1
        return 2 if self.level == "quarantine" else 3

    def __str__(self) -> str:
        where = f"[{self.table}]"
        if self.row is not None:
            where += f" {self.line or f'row {self.row}'}"
        if self.column:
            where += f" {self.column}"
        sentence = f"{self.level}: {where}: {self.what}"
        return f"{sentence}; expected {self.expected}" if self.expected else sentence
