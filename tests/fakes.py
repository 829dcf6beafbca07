"""Real implementations in memory, for tests that are not about a trained model.

A fake follows the same rules as what it stands for; `tests/unit/test_fakes.py` runs the
same acts on `MemoryRecord` and on the record in a database.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from hashlib import sha256
from itertools import count
from pathlib import Path

import numpy as np
import orjson

from obligor.arrays import Floats
from obligor.casework.case_queries import (
    CLOSING_OUTCOMES,
    OPENING_OUTCOMES,
    Case,
)
from obligor.casework.contact_queries import (
    RecordedContact,
    contact_of,
    credit_file_of,
)
from obligor.data.asof import KnownAccount
from obligor.decisions.champion import Champion
from obligor.errors import ConflictError, UnknownDecisionError
from obligor.features.build import account_features
from obligor.features.catalogue import NAMES
from obligor.model.baseline import Baseline
from obligor.model.calibration import Calibration
from obligor.policy.credit.credit_file import CreditFile
from obligor.record.entry import Entry, OpenedEntry

DPD_DAYS = NAMES.index("dpd_days")


@dataclass
class ManualClock:
    """A clock that stands still until it is moved."""

    time: datetime

    def __call__(self) -> datetime:
        """Return the time."""
        return self.time

    def advance(self, **duration: float) -> None:
        """Move the clock, as by ``advance(days=1)``."""
        self.time += timedelta(**duration)


class Ids:
    """Ids that are counted: ``d-1``, ``d-2``, and so on."""

    def __init__(self, prefix: str = "d") -> None:
        self._prefix = prefix
        self._numbers = count(1)

    def __call__(self) -> str:
        """Return the next id."""
        return f"{self._prefix}-{next(self._numbers)}"


class FixedModel:
    """A model that gives each customer a PD that is known beforehand.

    It recognizes a customer by the features of the account; whoever it does not know
    has the usual PD. The whole margin is the contribution of ``dpd_days``.

    Parameters
    ----------
    pds : mapping of str to float, optional
        The PD over 12 months of some customers.
    accounts : iterable of KnownAccount, optional
        The accounts of these customers, all on one day.
    usual_pd : float, optional
        The PD of everyone else.
    """

    features = NAMES
    horizon_days = 365
    base = 0.0
    encoding = None
    material = None
    calibration = Calibration("identity")
    reference = Baseline("everyone", 1, (0.0,) * len(NAMES), (0.0,) * len(NAMES))

    def __init__(
        self,
        pds: Mapping[str, float] | None = None,
        accounts: Iterable[KnownAccount] = (),
        usual_pd: float = 0.02,
    ) -> None:
        self._usual_pd = usual_pd
        self._pd_of_row = dict[bytes, float]()
        for known_account in accounts:
            customer_id = known_account.account.customer_id
            row = account_features([known_account])[0]
            self._pd_of_row[row.tobytes()] = (pds or {})[customer_id]

    def own_columns(self, rows: Floats) -> Floats:
        """Return the rows: the model has every feature of the catalogue."""
        return rows

    def predict_pd_12m(self, rows: Floats) -> Floats:
        """Return the PD of each row."""
        pds = [self._pd_of_row.get(row.tobytes(), self._usual_pd) for row in rows]
        return np.array(pds)

    def explain(self, rows: Floats) -> tuple[Floats, Floats]:
        """Return the contributions and the margin of each row."""
        pds = self.predict_pd_12m(rows)
        margins = np.log(pds / (1 - pds))
        contributions = np.zeros(rows.shape)
        contributions[:, DPD_DAYS] = margins
        return contributions, margins

    def pds(
        self, margins: Floats, rows: Floats | None = None
    ) -> tuple[Floats, Floats, Floats, tuple[Floats, Floats]]:
        """Return the PD over 12, 3 and 6 months, and the interval of the first.

        The rows are not looked at: the PD of a customer is fixed.
        """
        # Rounded, so that 0.02 comes back as 0.02.
        pd_12m = np.round(1 / (1 + np.exp(-margins)), 12)
        return pd_12m, pd_12m / 4, pd_12m / 2, (pd_12m, pd_12m)


@dataclass
class FixedChampion:
    """Loads the same champion for ever."""

    model: FixedModel
    store: Path = Path("store")

    def for_customers(self) -> Champion:
        """Return the champion."""
        return Champion(self.model, "1", "0" * 64)  # type: ignore[arg-type]

    current = for_customers

    def of(self, sha256: str, version: str) -> Champion:
        """Return the champion, which is the only model there is."""
        return self.for_customers()


@dataclass
class MemoryRecord:
    """A record in memory: what is appended can be read, nothing can be changed.

    It is writer, reader and the queries of cases and contacts in one.
    """

    entries: list[Entry] = field(default_factory=list)

    def append(self, entries: Sequence[Entry]) -> list[bytes]:
        """Append all entries, or none if a key is taken; return their hashes."""
        keys = [entry.idempotency_key for entry in (*self.entries, *entries)]
        used = [key for key in keys if key is not None]
        if len(set(used)) < len(used):
            raise ConflictError("the idempotency key was used a moment ago")
        self.entries.extend(entries)
        return [_leaf_hash(entry) for entry in entries]

    def entry(self, entry_id: str) -> OpenedEntry:
        """Return an entry; `UnknownDecisionError` if no entry has this id."""
        for entry in self.entries:
            if entry.entry_id == entry_id:
                return _opened(entry)
        raise UnknownDecisionError(f"no decision {entry_id!r}", where="decision_id")

    def for_key(self, idempotency_key: str, request: str) -> OpenedEntry | None:
        """Return the entry that answered a key, None if the key is new."""
        for entry in self.entries:
            if entry.idempotency_key == idempotency_key:
                if entry.request != request:
                    raise ConflictError("the key was used with another request")
                return _opened(entry)
        return None

    def of_customer(
        self, customer_id: str, kind: str, limit: int = 100
    ) -> list[OpenedEntry]:
        """Return the last entries of one kind about a customer, newest first."""
        matching = [
            _opened(entry)
            for entry in reversed(self.entries)
            if entry.customer_id == customer_id and entry.kind == kind
        ]
        return matching[:limit]

    def case(self, case_id: str) -> Case:
        """Return a case; `UnknownDecisionError` if no case has this id."""
        later = list[OpenedEntry]()
        opening = None
        for entry in self.entries:
            if entry.entry_id == case_id and _is_case(entry):
                opening = _opened(entry)
            elif entry.case_id == case_id:
                later.append(_opened(entry))
        if opening is None:
            raise UnknownDecisionError(f"no case {case_id!r}", where="case_id")
        return Case(opening, tuple(later))

    def open_case_ids(self, limit: int = 200) -> list[str]:
        """Return the ids of the cases that nobody has closed, oldest first."""
        closed = {
            entry.case_id for entry in self.entries if entry.outcome in CLOSING_OUTCOMES
        }
        case_ids = [entry.entry_id for entry in self.entries if _is_case(entry)]
        return [case_id for case_id in case_ids if case_id not in closed][:limit]

    def by_customer(self, first: date, last: date) -> dict[str, list[RecordedContact]]:
        """Return the contacts from the first day through the last, by customer."""
        contacts = dict[str, list[RecordedContact]]()
        for entry in self.entries:
            if entry.kind == "contact" and first <= entry.as_of <= last:
                assert entry.customer_id is not None
                contact = contact_of(orjson.loads(entry.body))
                contacts.setdefault(entry.customer_id, []).append(contact)
        return contacts

    def credit_files(self, as_of: date) -> dict[str, CreditFile]:
        """Return each customer's credit file, if the last request had one."""
        last_request = dict[str, str]()
        for entry in self.entries:
            if entry.kind == "decision" and entry.as_of <= as_of:
                assert entry.customer_id is not None
                last_request[entry.customer_id] = entry.request
        credit_files = dict[str, CreditFile]()
        for customer_id, request in last_request.items():
            credit_file = credit_file_of(request)
            if credit_file is not None:
                credit_files[customer_id] = credit_file
        return credit_files


def _is_case(entry: Entry) -> bool:
    is_computed = entry.kind in ("decision", "order")
    return is_computed and entry.outcome in OPENING_OUTCOMES and entry.case_id is None


def _leaf_hash(entry: Entry) -> bytes:
    return sha256(f"{entry.entry_id}\n{entry.body}".encode()).digest()


def _opened(entry: Entry) -> OpenedEntry:
    return OpenedEntry(
        entry_id=entry.entry_id,
        kind=entry.kind,
        case_id=entry.case_id,
        outcome=entry.outcome,
        request=entry.request,
        body=entry.body,
        leaf_hash=_leaf_hash(entry),
        requested_by_key=entry.requested_by_key,
    )
