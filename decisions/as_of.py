"""The day a question is about."""

from __future__ import annotations

from datetime import date

from obligor.data.store import LedgerStore
from obligor.errors import AsOfError


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


def last_day(ledger: LedgerStore, today: date) -> date:
    """Return the last day that the loaded ledger covers, or today if that is earlier.

    Raises
    ------
    SchemaError
        If no ledger is loaded.
    """
    first_ids = ledger.customer_ids(1)
    if not first_ids:
        raise ledger.unknown("")
    observed_until = ledger.account(first_ids[0]).observed_until
    return min(observed_until, today) if observed_until else today


def as_of_or_default(as_of: date | None, ledger: LedgerStore, today: date) -> date:
    """Return the as-of date of a question about the whole ledger.

    Parameters
    ----------
    as_of : date, optional
        The requested date; by default the last day of the ledger.
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
    day = as_of or last_day(ledger, today)
    require_past(day, today, "as_of")
    return day
