"""Every error a person may see.

A message says what is wrong, where, what was expected, and what to do next. A decline
is an answer, never an error. `serving.api.problems` gives each class its HTTP status.
"""

from __future__ import annotations


class ObligorError(Exception):
    """Anything this service refuses or cannot do.

    Parameters
    ----------
    what : str
        What is wrong, in one clause.
    where : str, optional
        The file, table, column, row or field it was found in.
    expected : str, optional
        What would have been right.
    do : str, optional
        The next step for the reader.

    Examples
    --------
    >>> str(ObligorError("the file is empty", where="items.csv", do="add a header"))
    'items.csv: the file is empty; add a header'
    """

    def __init__(
        self,
        what: str,
        *,
        where: str = "",
        expected: str = "",
        do: str = "",
    ) -> None:
        self.what = what
        self.where = where
        self.expected = expected
        self.do = do
        parts = [f"{where}: {what}" if where else what]
        if expected:
            parts.append(f"expected {expected}")
        if do:
            parts.append(do)
        super().__init__("; ".join(parts))


class InputError(ObligorError):
    """What was sent or read cannot be used (HTTP 422)."""


class SchemaError(InputError):
    """A table, column, cell or field breaks its contract (HTTP 422)."""


class AsOfError(InputError):
    """The as-of date is before anything was known, or after today (HTTP 422)."""


class UnknownCustomerError(InputError):
    """The ledger has no customer with this id (HTTP 404)."""


class UnknownDecisionError(InputError):
    """The record has no decision, case or contact with this id (HTTP 404)."""


class UnknownModelError(InputError):
    """The store has no champion of this name (HTTP 404)."""


class ErasedError(InputError):
    """The entry existed, but its customer's data was erased or expired (HTTP 410)."""


class ConflictError(InputError):
    """An idempotency key was used before with another request (HTTP 409)."""


class AccessError(InputError):
    """The caller's key or token is missing, unknown or expired (HTTP 401)."""


class RateError(InputError):
    """The caller has used up its quota (HTTP 429).

    Parameters
    ----------
    what : str
        Which quota was used up.
    retry_after_s : float
        Seconds until the caller may try again.
    """

    def __init__(self, what: str, retry_after_s: float) -> None:
        next_step = f"try again in {retry_after_s:.1f} s"
        super().__init__(
            what,
            where="Authorization",
            do=next_step,
        )
        self.retry_after_s = retry_after_s


class AuthorityError(ObligorError):
    """The caller is known, but its role or limit does not allow this (HTTP 403)."""


class ModelError(ObligorError):
    """There is no usable model (HTTP 503)."""


class PolicyError(ObligorError):
    """A rulebook is refused (HTTP 500).

    A service that is running keeps the last good rulebook.
    """


class KeyFileError(ObligorError):
    """A key is missing or not valid (HTTP 503)."""


class RecordError(ObligorError):
    """An entry could not be made durable, so no decision was given (HTTP 503)."""
