"""What an entry of the record is: as it is written, as it is kept, as it is opened."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from hashlib import sha256
from typing import Any, NamedTuple

import rfc8785
import sqlalchemy as sa

from obligor.record.tables import ENTRIES

# A decision or order with one of these opens a case; an entry about it with one of those closes it.
SERVICE = "\nthe service"  # stands for a customer in entries about the service itself; no customer's id looks so
OPENING, CLOSING = ("refer", "hold"), ("approve", "release", "decline")


@dataclass(frozen=True)
class Entry:
    """One entry as it is written; `body` is the exact text of the answer, `inputs` what it was made from.

    Attributes
    ----------
    kind : {"decision", "order", "resolution", "contact", "denied", "erasure", "purge"}
        A decision that refers, or an order that is held, is a case; its id is the decision's. The last three are
        the service's own (`SERVICE`).
    about : str, optional
        The case a resolution, or a decision made again, is about.
    made_by : str, optional
        Whose key asked for it.
    """

    decision_id: str
    kind: str
    customer_id: str
    as_of: date
    recorded_at: datetime
    idempotency_key: str | None
    outcome: str
    request: str
    body: str
    about: str | None = None
    pd_12m: float | None = None
    grade: int | None = None
    limit_minor: int | None = None
    currency: str | None = None
    model_sha256: str | None = None
    policy_sha256: str | None = None
    is_filed: bool = False
    inputs: bytes | None = None
    made_by: str | None = None
    is_natural_person: bool = False


def service_entry(
    kind: str, said: Mapping[str, Any], at: datetime, entry_id: str
) -> Entry:
    """Return an entry about the service itself: what was denied, erased or purged."""
    body = rfc8785.dumps(
        {"entry_id": entry_id, "kind": kind, "recorded_at": at.isoformat(), **said}
    ).decode()
    return Entry(
        decision_id=entry_id,
        kind=kind,
        customer_id=SERVICE,
        as_of=at.date(),
        recorded_at=at,
        idempotency_key=None,
        outcome=kind,
        request="",
        body=body,
    )


class Row(NamedTuple):
    """An entry as it is kept; all that is said about the customer is sealed."""

    entry_id: str
    kind: str
    about: str | None
    customer_ref: str
    as_of: date
    recorded_at: datetime
    key_ref: str | None
    request_ref: str
    outcome: str
    pd_12m: float | None
    grade: int | None
    limit_minor: int | None
    currency: str | None
    model_sha256: str | None
    policy_sha256: str | None
    is_filed: bool
    request: bytes
    body: bytes
    inputs: bytes | None
    made_by: str | None

    def leaf(self) -> bytes:
        """Return the entry's leaf: canonical JSON (RFC 8785) with the hashes of what is sealed."""
        said: dict[str, Any] = self._asdict()
        said |= {
            "as_of": self.as_of.isoformat(),
            "recorded_at": self.recorded_at.astimezone(UTC).isoformat(),
        }
        said |= {name: _hash(said[name]) for name in ("request", "body", "inputs")}
        if self.made_by is None:
            del said["made_by"]  # entries from before it was noted keep their leaves
        said["limit_minor"] = (
            None if self.limit_minor is None else str(self.limit_minor)
        )  # JSON's numbers end at 2**53
        return rfc8785.dumps(said)


class OpenedEntry(NamedTuple):
    """What the record says of an entry."""

    entry_id: str
    kind: str
    outcome: str
    request: str
    body: str
    leaf_hash: bytes
    made_by: str | None


@dataclass(frozen=True)
class Case:
    """A case: the entry that opened it, and those about it."""

    opening: OpenedEntry
    later: tuple[OpenedEntry, ...]

    @property
    def closing(self) -> str | None:
        """The outcome with which it was resolved, or approved when decided again; None while it is open."""
        return next((one.outcome for one in self.later if one.outcome in CLOSING), None)


COLUMNS = [ENTRIES.c[name] for name in (*Row._fields, "leaf_hash")]


def row_of(found: sa.Row[Any]) -> Row:
    """Return the row of a query that selects `COLUMNS`."""
    said = {name: getattr(found, name) for name in Row._fields}
    at: datetime = said["recorded_at"]
    return Row(**said | {"recorded_at": at if at.tzinfo else at.replace(tzinfo=UTC)})


class Statement:
    """A statement as text for the driver itself, with its values in the driver's order."""

    def __init__(
        self, statement: Any, dialect: sa.Dialect, names: Iterable[str]
    ) -> None:
        keys = list(names) if isinstance(statement, sa.sql.dml.Insert) else None
        compiled = statement.compile(dialect=dialect, column_keys=keys)
        self.text, self._order = str(compiled), compiled.positiontup

    def values(self, named: Mapping[str, Any], is_sqlite: bool) -> Any:
        """Return the values as the driver takes them; days as SQLAlchemy keeps them in SQLite."""
        if not is_sqlite:
            return dict(named)
        return tuple(_plain(named[name]) for name in self._order or ())


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC).replace(tzinfo=None).isoformat(" ", "microseconds")
    return value.isoformat() if isinstance(value, date) else value


def _hash(sealed: bytes | None) -> str | None:
    return None if sealed is None else sha256(sealed).hexdigest()
