"""An entry of the record: as it is written, as it is stored, as it is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from hashlib import sha256
from operator import attrgetter, itemgetter
from typing import Any, NamedTuple

import rfc8785

from obligor.record.tables import ENTRIES

# Texts about a customer: encrypted under the customer's key of the month.
ENCRYPTED = ("request", "body", "inputs")
# Keyed hashes and references in place of what they stand for.
REFERENCES = ("customer_ref", "key_ref", "request_ref")
# The leaf covers every column but the database's own and the leaf's own hash.
LEAF_COLUMNS = tuple(
    column.name
    for column in ENTRIES.columns
    if column.name not in ("seq", "xid", "leaf_hash")
)
# The columns of these fields are older than the fields' names.
_FIELD_OF_COLUMN = {"about": "case_id", "made_by": "requested_by_key"}
# What is stored as it is written: neither encrypted nor replaced by a reference.
_PLAIN_COLUMNS = tuple(
    name for name in LEAF_COLUMNS if name not in (*ENCRYPTED, *REFERENCES)
)
_plain_values = attrgetter(
    *(_FIELD_OF_COLUMN.get(name, name) for name in _PLAIN_COLUMNS)
)
_leaf_values = itemgetter(*LEAF_COLUMNS)
# The service's own entries are encrypted like a customer's, under a key of this owner.
# The line feed keeps it apart from every customer: no customer's id may contain one.
_SERVICE = "\nthe service"


@dataclass(frozen=True)
class Entry:
    """One entry as it is written.

    Attributes
    ----------
    entry_id : str
        The id of the decision, order check, resolution, contact or event.
    kind : str
        What the entry is: ``decision``, ``order``, ``resolution``, ``contact``, or one
        of the service's own, ``denied``, ``erasure``, ``purge``.
    customer_id : str, optional
        The customer it is about; None for the service's own entries.
    body : str
        The exact text of the answer.
    case_id : str, optional
        The case that a resolution, or a decision made again, belongs to.
    inputs : bytes, optional
        What the answer was computed from.
    requested_by_key : str, optional
        The name of the API key that requested it.
    """

    entry_id: str
    kind: str
    customer_id: str | None
    as_of: date
    recorded_at: datetime
    idempotency_key: str | None
    outcome: str
    request: str
    body: str
    case_id: str | None = None
    pd_12m: float | None = None
    grade: int | None = None
    limit_minor: int | None = None
    currency: str | None = None
    model_sha256: str | None = None
    policy_sha256: str | None = None
    is_filed: bool = False
    inputs: bytes | None = None
    requested_by_key: str | None = None
    is_natural_person: bool = False

    def plain_columns(self) -> dict[str, object]:
        """Return the columns that are stored as they are written, by name."""
        return dict(zip(_PLAIN_COLUMNS, _plain_values(self), strict=True))


def key_owner(customer_id: str | None) -> str:
    """Return whose key encrypts an entry: the customer's, or the service's own.

    Stored rows name the owner by a keyed hash of this text, so it can never change.
    """
    return _SERVICE if customer_id is None else customer_id


def service_entry(
    kind: str,
    details: Mapping[str, object],
    at: datetime,
    entry_id: str,
) -> Entry:
    """Return an entry about the service itself: calls denied, data erased or purged.

    Parameters
    ----------
    kind : {"denied", "erasure", "purge"}
        What happened.
    details : mapping
        What the entry says about it, JSON values by name.
    at : datetime
        When it happened, with its zone.
    entry_id : str
        A fresh id.

    Returns
    -------
    Entry
        Without a customer; its body is canonical JSON (RFC 8785).
    """
    content: dict[str, Any] = {
        "entry_id": entry_id,
        "kind": kind,
        "recorded_at": at.isoformat(),
        **details,
    }
    return Entry(
        entry_id=entry_id,
        kind=kind,
        customer_id=None,
        as_of=at.date(),
        recorded_at=at,
        idempotency_key=None,
        outcome=kind,
        request="",
        body=rfc8785.dumps(content).decode(),
    )


@dataclass(frozen=True)
class StoredEntry:
    """An entry as its table holds it; the texts about the customer are encrypted.

    Attributes
    ----------
    columns : mapping
        At least the `LEAF_COLUMNS`, by name.
    """

    columns: Mapping[str, Any]

    @property
    def entry_id(self) -> str:
        """The entry's id."""
        return str(self.columns["entry_id"])

    @property
    def requested_by_key(self) -> str | None:
        """The name of the API key that requested the entry."""
        name: str | None = self.columns["made_by"]
        return name

    def leaf(self) -> bytes:
        """Return the entry's leaf: canonical JSON (RFC 8785).

        It contains the SHA-256 of each encrypted text, so that a leaf proves an entry
        without showing it, and stays valid when the customer's key is destroyed.
        """
        columns = self.columns
        leaf = dict(zip(LEAF_COLUMNS, _leaf_values(columns), strict=True))
        leaf["as_of"] = columns["as_of"].isoformat()
        leaf["recorded_at"] = in_utc(columns["recorded_at"]).isoformat()
        for name in ENCRYPTED:
            leaf[name] = _sha256_or_none(columns[name])
        # Entries from before the column existed keep their leaves.
        if columns["made_by"] is None:
            del leaf["made_by"]
        # A JSON number is exact up to 2**53 only (RFC 8785, section 3.2.2.3).
        if columns["limit_minor"] is not None:
            leaf["limit_minor"] = str(columns["limit_minor"])
        return rfc8785.dumps(leaf)


class OpenedEntry(NamedTuple):
    """An entry as it is read, its texts decrypted."""

    entry_id: str
    kind: str
    case_id: str | None
    outcome: str
    request: str
    body: str
    leaf_hash: bytes
    requested_by_key: str | None


def in_utc(at: datetime) -> datetime:
    """Return a time in UTC; SQLite returns times without their zone."""
    if at.tzinfo is None:
        return at.replace(tzinfo=UTC)
    return at.astimezone(UTC)


def _sha256_or_none(ciphertext: bytes | None) -> str | None:
    if ciphertext is None:
        return None
    return sha256(ciphertext).hexdigest()
