"""How far a ledger reaches, as it was known on each day."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import NamedTuple


class Coverage(NamedTuple):
    """From `known_on` on, the ledger reached until `observed_until`."""

    known_on: date
    observed_until: date


def observed_on(coverage: Sequence[Coverage], as_of: date) -> date:
    """Return the last day that a ledger covered, as it was known on a day.

    The first load counts for all days before it too.

    Examples
    --------
    >>> first = Coverage(date(2025, 2, 3), date(2025, 1, 31))
    >>> second = Coverage(date(2025, 3, 3), date(2025, 2, 28))
    >>> observed_on([first, second], date(2025, 3, 2))
    datetime.date(2025, 1, 31)
    """
    observed_until = coverage[0].observed_until
    for row in coverage[1:]:
        if row.known_on <= as_of:
            observed_until = row.observed_until
    return observed_until
