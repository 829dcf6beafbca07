"""Every error a person may see. A message says what is wrong, where, what was expected, what to do."""

from __future__ import annotations


class ObligorError(Exception):
    """The root of every error of ours.

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
    """

    def __init__(
        self, what: str, *, where: str = "", expected: str = "", do: str = ""
    ) -> None:
        self.what, self.where, self.expected, self.do = what, where, expected, do
        parts = [f"{where}: {what}" if where else what]
        if expected:
            parts.append(f"expected {expected}")
        if do:
            parts.append(do)
        super().__init__("; ".join(parts))


class InputError(ObligorError):
    """The caller's input cannot be used (HTTP 422)."""


class SchemaError(InputError):
    """A table, column, cell or field is not what its contract says."""


class AsOfError(InputError):
    """A date is outside what can be answered."""


class UnknownCustomerError(InputError):
    """No such customer in the ledger (HTTP 404)."""


class UnknownDecisionError(InputError):
    """No such decision in the record (HTTP 404)."""


class ConflictError(InputError):
    """An idempotency key came back with another request (HTTP 409)."""


class AccessError(InputError):
    """Nobody we know calls (HTTP 401)."""


class RateError(InputError):
    """A caller calls too often (HTTP 429); `retry_after_s` later it may again."""

    def __init__(self, what: str, retry_after_s: float) -> None:
        super().__init__(
            what, where="Authorization", do=f"try again in {retry_after_s:.1f} s"
        )
        self.retry_after_s = retry_after_s


class ErasedError(InputError):
    """What was asked for was erased on request (HTTP 410)."""


class AuthorityError(InputError):
    """A person may not do this (HTTP 403)."""


class ModelError(ObligorError):
    """No usable model (HTTP 503)."""


class PolicyError(ObligorError):
    """A rulebook is refused; at load the service keeps the last good one."""


class KeyFileError(ObligorError):
    """A key is missing, or is none."""


class RecordError(ObligorError):
    """A decision could not be made durable, so it was not given (HTTP 503)."""
