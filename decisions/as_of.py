"""The day a question is about."""

from __future__ import annotations

from datetime import date
from typing import NamedTuple

from obligor.data.store import LedgerStore
from obligor.errors import AsOfError


class AsOfDay(NamedTuple):
    """The day a question is about, and why it is that day.

    Attributes
    ----------
    day : date
        A day up to today.
    because : str
        The reason, such as ``the day of the export``.
    """

    day: date
    because: str


def require_past(day: date, today: date, where: str) -> None:
    """Reject a day in the future.

    Parameters
    ----------
    day : date
        The day to check; today is allowed.
    today : date
        The current day.
    where : str
        The field of the request, for the message.

    Raises
    ------
    AsOfError
        If the day is after today.
    """
    if day > today:
        raise AsOfError(
            f"{day} lies in the future", where=where, expected=f"a day up to {today}"
        )


def as_of_day(
    as_of: date | None,
    exported_on: date | None,
    today: date,
) -> AsOfDay:
    """Return the as-of date of a question, and why it is that day.

    Never the last posting: a ledger in which nothing happens is not known to end.

    Parameters
    ----------
    as_of : date, optional
        The requested date.
    exported_on : date, optional
        The day on which the source of the ledger was written.
    today : date
        The current day.

    Returns
    -------
    AsOfDay
        The requested date, otherwise the day of the export, otherwise today.

    Raises
    ------
    AsOfError
        If the requested date lies in the future.

    Examples
    --------
    >>> as_of_day(None, date(2024, 12, 31), date(2025, 1, 15))
    AsOfDay(day=datetime.date(2024, 12, 31), because='the day of the export')
    >>> as_of_day(None, None, date(2025, 1, 15)).because
    'today, as the ledger does not state the day of its export'
    """
    if as_of is not None:
        require_past(as_of, today, "as_of")
        return AsOfDay(as_of, "as requested")
    if exported_on is None:
        return AsOfDay(
            today, "today, as the ledger does not state the day of its export"
        )
    # A service in another time zone may have loaded it before it is that day here.
    return AsOfDay(min(exported_on, today), "the day of the export")


def last_posting(ledger: LedgerStore) -> date | None:
    """Return the last day on which a row of the loaded ledger became known.

    Raises
    ------
    SchemaError
        If no ledger is loaded.
    """
    first_ids = ledger.customer_ids(1)
    if not first_ids:
        raise ledger.unknown("")
    return ledger.account(first_ids[0]).observed_until


def as_of_or_default(as_of: date | None, ledger: LedgerStore, today: date) -> date:
    """Return the as-of date of a question about the whole ledger.

    Parameters
    ----------
    as_of : date, optional
        The requested date; by default the day of the ledger's export, or today.
    ledger : LedgerStore
        The loaded ledger.
    today : date
        The current day.

    Returns
    -------
    date
        A day up to today.

    Raises
    ------
    AsOfError
        If the requested date lies in the future.
    SchemaError
        If no ledger is loaded.
    """
    if not ledger.customer_ids(1):
        raise ledger.unknown("")
    return as_of_day(as_of, ledger.exported_on(), today).day
