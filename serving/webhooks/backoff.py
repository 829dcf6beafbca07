"""When a delivery that failed is tried again."""

from __future__ import annotations

from datetime import timedelta

FIRST = timedelta(seconds=5)
LONGEST = timedelta(hours=6)
# By then the longest wait is reached, whatever more the exponent would give.
_MOST_DOUBLINGS = 20


def wait_before(attempts: int, chance: float) -> timedelta:
    """Return how long to wait after so many failed attempts: full jitter, capped.

    The wait lies anywhere between nothing and a bound that doubles with each attempt,
    so that receivers that come back are not met by all events at once (M. Brooker,
    "Exponential Backoff And Jitter", AWS Architecture Blog, 2015).

    Parameters
    ----------
    attempts : int
        Failed attempts so far, one or more.
    chance : float
        A random number from 0 up to, but not including, 1.

    Returns
    -------
    timedelta
        Less than `LONGEST`.

    Examples
    --------
    >>> [wait_before(n, 0.5).total_seconds() for n in (1, 2, 3, 30)]
    [2.5, 5.0, 10.0, 10800.0]
    """
    doublings = min(attempts - 1, _MOST_DOUBLINGS)
    bound = min(FIRST * (1 << doublings), LONGEST)
    return bound * chance
