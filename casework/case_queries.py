"""The cases in the record: decisions and orders that are referred to a person."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from obligor.errors import UnknownDecisionError
from obligor.record.entry import OpenedEntry
from obligor.record.reader import IS_READABLE, RecordReader
from obligor.record.tables import ENTRIES

# A decision or order check with an opening outcome is a case, until an entry about it
# has a closing one.
OPENING_OUTCOMES = ("refer", "hold")
CLOSING_OUTCOMES = ("approve", "release", "decline")
# A decision made again about a case belongs to that case: it opens none of its own.
_IS_CASE = sa.and_(
    ENTRIES.c.kind.in_(("decision", "order")),
    ENTRIES.c.outcome.in_(OPENING_OUTCOMES),
    ENTRIES.c.about.is_(None),
)


@dataclass(frozen=True)
class Case:
    """A case: the entry that opened it, and the entries about it, oldest first."""

    opening: OpenedEntry
    later: tuple[OpenedEntry, ...]

    @property
    def closing(self) -> str | None:
        """The outcome that closed the case; None while it is open."""
        for entry in self.later:
            if entry.outcome in CLOSING_OUTCOMES:
                return entry.outcome
        return None


class CaseQueries:
    """Reads cases from the record.

    Parameters
    ----------
    reader : RecordReader
        The record.
    """

    def __init__(self, reader: RecordReader) -> None:
        self._reader = reader

    def case(self, case_id: str) -> Case:
        """Return a case.

        Raises
        ------
        UnknownDecisionError
            If no entry has this id, or the entry is not a case.
        ErasedError
            If its customer was erased.
        """
        is_opening = sa.and_(ENTRIES.c.entry_id == case_id, _IS_CASE)
        is_about_it = ENTRIES.c.about == case_id
        entries = self._reader.matching(sa.or_(is_opening, is_about_it))
        if not entries or entries[0].entry_id != case_id:
            raise UnknownDecisionError(
                f"no case {case_id!r}",
                where="case_id",
                do="GET /v1/cases lists the open ones",
            )
        opening, *later = entries
        return Case(opening, tuple(later))

    def open_case_ids(self, limit: int = 200) -> list[str]:
        """Return the ids of the cases that nobody has closed, oldest first."""
        later = ENTRIES.alias()
        is_closed = sa.exists().where(
            later.c.about == ENTRIES.c.entry_id,
            later.c.outcome.in_(CLOSING_OUTCOMES),
        )
        return self._reader.ids_matching(
            _IS_CASE,
            ~is_closed,
            IS_READABLE,
            limit=limit,
        )
