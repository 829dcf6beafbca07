"""The outbox: one row for each event and endpoint, until it is delivered or dead.

A row moves from ``waiting`` to ``delivered``, ``dead`` (the receiver did not take it
for so many days) or ``withdrawn`` (the customer was erased, or the endpoint removed).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

import orjson
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from obligor.record.database import DatabaseRow
from obligor.record.entry import in_utc
from obligor.record.record import Record
from obligor.record.tables import (
    CUSTOMER,
    CUSTOMERS,
    ENTRIES,
    ENTRY,
    NODE,
    NODES,
    WEBHOOK_COUNTERS,
    WEBHOOK_ENDPOINTS,
    WEBHOOK_OUTBOX,
)
from obligor.serving.webhooks.events import Event

WAITING = "waiting"
DELIVERED = "delivered"
DEAD = "dead"
WITHDRAWN = "withdrawn"
STATES = (WAITING, DELIVERED, DEAD, WITHDRAWN)
# Rows that are finished are deleted after so long.
KEPT_FOR = timedelta(days=90)
ROW = WEBHOOK_OUTBOX.c
COUNTER = WEBHOOK_COUNTERS.c
_NEXT_LEAF = "next leaf"
_N_DELIVERED = "delivered"


class OutboxRow(NamedTuple):
    """A row of the outbox.

    Attributes
    ----------
    seq : int
        Its number: rows are delivered in this order.
    details : str
        What the event says beyond its entry, a JSON object.
    attempts : int
        How often it was tried.
    next_at : datetime
        When it is tried next, if it is waiting.
    gives_up_at : datetime
        After which a failed attempt was the last.
    last_status, last_error : int, str, optional
        How the last attempt went.
    """

    seq: int
    endpoint_id: str
    event_id: str
    type: str
    entry_id: str
    customer_ref: str
    details: str
    occurred_at: datetime
    state: str
    attempts: int
    next_at: datetime
    gives_up_at: datetime
    finished_at: datetime | None
    last_status: int | None
    last_error: str | None


class Addressed(NamedTuple):
    """An event for one endpoint."""

    event: Event
    endpoint_id: str


class Lifetime(NamedTuple):
    """When a new row is tried first, and after which time it is given up."""

    at: datetime
    gives_up_at: datetime


class Change(NamedTuple):
    """What becomes of a row after an attempt."""

    seq: int
    state: str
    attempts: int
    next_at: datetime
    finished_at: datetime | None
    last_status: int | None
    last_error: str | None


class OutboxStatus(NamedTuple):
    """How the outbox stands.

    Attributes
    ----------
    n_endpoints : int
        Endpoints there are.
    waiting, dead : int
        Rows in these states.
    delivered : int
        How many were delivered since the first endpoint was added.
    oldest_s : float
        Seconds since the oldest entry was recorded whose events are not delivered, be
        they waiting or not yet derived; 0 if there is none.
    """

    n_endpoints: int
    waiting: int
    dead: int
    delivered: int
    oldest_s: float


class Outbox:
    """Keeps events until they are delivered.

    Parameters
    ----------
    record : Record
        Its database keeps the outbox.
    """

    def __init__(self, record: Record) -> None:
        self._database = record.database

    def next_leaf(self) -> int:
        """Return the first leaf of the record whose entry was not read for events."""
        return self._counter(_NEXT_LEAF)

    def add(
        self,
        addressed: Sequence[Addressed],
        leaves: tuple[int, int],
        lifetime: Lifetime,
    ) -> bool:
        """Add rows, and move the next leaf in the same transaction.

        Parameters
        ----------
        addressed : sequence of Addressed
            Events with their endpoints, in the order of their entries.
        leaves : tuple of int
            The next leaf as it was read, and as it will be.
        lifetime : Lifetime
            When the rows are tried first, and when they are given up.

        Returns
        -------
        bool
            False, with nothing added, if somebody else has moved the next leaf.
        """
        before, after = leaves
        rows = [_new_row(event, lifetime) for event in addressed]
        dialect = sqlite if self._database.is_sqlite else postgresql
        with self._database.writing_derived() as connection:
            if not _move_counter(connection, before, after):
                return False
            if rows:
                # A row that was restored from a backup is there already.
                insert = dialect.insert(WEBHOOK_OUTBOX).on_conflict_do_nothing()
                connection.execute(insert, rows)
        return True

    def due(self, endpoint_id: str, at: datetime, limit: int) -> list[OutboxRow]:
        """Return the rows to try now: at most one for each customer, its first.

        Parameters
        ----------
        endpoint_id : str
            The endpoint.
        at : datetime
            The time, in UTC.
        limit : int
            How many at most.

        Returns
        -------
        list of OutboxRow
            In their order.
        """
        first = WEBHOOK_OUTBOX.alias()
        reference = CUSTOMERS.alias()
        # Two months of a customer have two references and one lookup.
        of_same_customer = (
            sa.select(reference.c.customer_ref)
            .where(reference.c.lookup == CUSTOMER.lookup)
            .correlate(CUSTOMERS)
        )
        waits_for_another = sa.exists().where(
            first.c.customer_ref.in_(of_same_customer),
            first.c.endpoint_id == ROW.endpoint_id,
            first.c.state == WAITING,
            # An expression, so that a database reads the customer's rows, not every
            # earlier row: 0.8 s instead of 23 s if 100,000 rows wait for a receiver
            # that is down.
            first.c.seq + 0 < ROW.seq,
        )
        query = (
            sa.select(WEBHOOK_OUTBOX)
            .join(CUSTOMERS, CUSTOMER.customer_ref == ROW.customer_ref)
            .where(
                ROW.state == WAITING,
                ROW.endpoint_id == endpoint_id,
                ROW.next_at <= at,
                ~waits_for_another,
            )
            .order_by(ROW.seq)
            .limit(limit)
        )
        return [_row(row) for row in self._database.rows(query)]

    def change(self, changes: Sequence[Change]) -> None:
        """Store what became of rows, and count those that were delivered."""
        if not changes:
            return
        update = (
            WEBHOOK_OUTBOX.update()
            .where(ROW.seq == sa.bindparam("of_seq"))
            .values({name: sa.bindparam(name) for name in Change._fields[1:]})
        )
        values = list[dict[str, object]]()
        for change in changes:
            row = change._asdict()
            row["of_seq"] = row.pop("seq")
            values.append(row)
        n_delivered = sum(change.state == DELIVERED for change in changes)
        with self._database.writing_derived() as connection:
            connection.execute(update, values)
            if n_delivered:
                _add_to_counter(connection, _N_DELIVERED, n_delivered)

    def withdraw(self, endpoint_id: str, at: datetime) -> int:
        """Withdraw what waits for a removed endpoint; return how many rows."""
        update = (
            WEBHOOK_OUTBOX.update()
            .where(ROW.endpoint_id == endpoint_id, ROW.state == WAITING)
            .values(
                state=WITHDRAWN,
                finished_at=at,
                last_error="the endpoint was removed",
            )
        )
        with self._database.writing() as connection:
            return connection.execute(update).rowcount

    def retry(self, lifetime: Lifetime, event_id: str | None = None) -> int:
        """Let dead rows wait again, to be tried at once.

        Parameters
        ----------
        lifetime : Lifetime
            When they are tried first, and when they are given up.
        event_id : str, optional
            Only this event; by default every dead row of an endpoint that is there.

        Returns
        -------
        int
            How many rows.
        """
        is_active = ROW.endpoint_id.in_(
            sa.select(WEBHOOK_ENDPOINTS.c.endpoint_id).where(
                WEBHOOK_ENDPOINTS.c.removed_at.is_(None)
            )
        )
        update = WEBHOOK_OUTBOX.update().where(ROW.state == DEAD, is_active)
        if event_id is not None:
            update = update.where(ROW.event_id == event_id)
        update = update.values(
            state=WAITING,
            next_at=lifetime.at,
            gives_up_at=lifetime.gives_up_at,
            finished_at=None,
        )
        with self._database.writing() as connection:
            return connection.execute(update).rowcount

    def rows(self, state: str | None, limit: int) -> list[OutboxRow]:
        """Return the last rows, in one state or in any, newest first."""
        query = sa.select(WEBHOOK_OUTBOX).order_by(ROW.seq.desc()).limit(limit)
        if state is not None:
            query = query.where(ROW.state == state)
        return [_row(row) for row in self._database.rows(query)]

    def prune(self, at: datetime) -> int:
        """Delete rows that have been finished for `KEPT_FOR`; return how many."""
        is_old = ROW.finished_at < at - KEPT_FOR
        with self._database.writing_derived() as connection:
            return connection.execute(WEBHOOK_OUTBOX.delete().where(is_old)).rowcount

    def status(self, at: datetime) -> OutboxStatus:
        """Return how the outbox stands at a time."""
        count = sa.func.count()
        (endpoints,) = self._database.rows(
            sa.select(count, sa.func.min(WEBHOOK_ENDPOINTS.c.from_leaf)).where(
                WEBHOOK_ENDPOINTS.c.removed_at.is_(None)
            )
        )
        n_endpoints, from_leaf = endpoints
        counts = dict[str, int]()
        is_unfinished = ROW.state.in_((WAITING, DEAD))
        for state, n_rows in self._database.rows(
            sa.select(ROW.state, count).where(is_unfinished).group_by(ROW.state)
        ):
            counts[state] = n_rows
        oldest = self._oldest_waiting(from_leaf)
        return OutboxStatus(
            n_endpoints=n_endpoints,
            waiting=counts.get(WAITING, 0),
            dead=counts.get(DEAD, 0),
            delivered=self._counter(_N_DELIVERED),
            oldest_s=0.0 if oldest is None else (at - oldest).total_seconds(),
        )

    def _oldest_waiting(self, from_leaf: int | None) -> datetime | None:
        """Return when the oldest entry was recorded whose events are on their way."""
        is_waiting = ROW.state == WAITING
        oldest = sa.select(sa.func.min(ROW.occurred_at)).where(is_waiting)
        queries: list[sa.Executable] = [oldest]
        if from_leaf is not None:
            first_unread = max(self.next_leaf(), from_leaf)
            unread = (
                sa.select(ENTRY.recorded_at)
                .select_from(ENTRIES.join(NODES, NODE.seq == ENTRY.seq))
                .where(NODE.level == 0, NODE.place >= first_unread)
                .order_by(NODE.place)
                .limit(1)
            )
            queries.append(unread)
        times = list[datetime]()
        for query in queries:
            for (time,) in self._database.rows(query):
                if time is not None:
                    times.append(in_utc(time))
        return min(times, default=None)

    def _counter(self, name: str) -> int:
        rows = self._database.rows(sa.select(COUNTER.value).where(COUNTER.name == name))
        return int(rows[0].value) if rows else 0


def _move_counter(connection: sa.Connection, before: int, after: int) -> bool:
    """Move the next leaf on, if it still is what was read; say whether it was."""
    is_ours = COUNTER.name == _NEXT_LEAF
    current = connection.scalar(
        sa.select(COUNTER.value).where(is_ours).with_for_update()
    )
    if (current or 0) != before:
        return False
    if current is None:
        row = {"name": _NEXT_LEAF, "value": after}
        connection.execute(WEBHOOK_COUNTERS.insert().values(row))
    else:
        connection.execute(WEBHOOK_COUNTERS.update().where(is_ours).values(value=after))
    return True


def _add_to_counter(connection: sa.Connection, name: str, number: int) -> None:
    is_ours = COUNTER.name == name
    added = {"value": COUNTER.value + number}
    update = WEBHOOK_COUNTERS.update().where(is_ours).values(added)
    if connection.execute(update).rowcount == 0:
        row = {"name": name, "value": number}
        connection.execute(WEBHOOK_COUNTERS.insert().values(row))


def _new_row(addressed: Addressed, lifetime: Lifetime) -> dict[str, object]:
    event = addressed.event
    return {
        "endpoint_id": addressed.endpoint_id,
        "event_id": event.event_id,
        "type": event.type,
        "entry_id": event.entry.entry_id,
        "customer_ref": event.entry.customer_ref,
        "details": orjson.dumps(event.details).decode(),
        "occurred_at": event.entry.recorded_at,
        "state": WAITING,
        "attempts": 0,
        "next_at": lifetime.at,
        "gives_up_at": lifetime.gives_up_at,
    }


def _row(row: DatabaseRow) -> OutboxRow:
    columns = row._asdict()
    for name in ("occurred_at", "next_at", "gives_up_at", "finished_at"):
        if columns[name] is not None:
            columns[name] = in_utc(columns[name])
    return OutboxRow(**columns)
