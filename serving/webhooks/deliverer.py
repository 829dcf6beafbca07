"""The worker behind webhooks: reads the record for events, and delivers them.

It runs in a process of its own (`obligor webhooks deliver`), one at a time: nothing of
it is done by the process that answers, so a decision does not wait for it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

import sqlalchemy as sa

from obligor.errors import ErasedError, ObligorError, RecordError
from obligor.record.feed import RecordFeed
from obligor.record.record import Record
from obligor.serving.webhooks.backoff import LONGEST, wait_before
from obligor.serving.webhooks.cloud_event import EventHead, EventWriter, head_of_test
from obligor.serving.webhooks.endpoints import Endpoint, Endpoints
from obligor.serving.webhooks.events import EventReader
from obligor.serving.webhooks.outbox import (
    DEAD,
    DELIVERED,
    WAITING,
    WITHDRAWN,
    Addressed,
    Change,
    Lifetime,
    Outbox,
    OutboxRow,
)
from obligor.serving.webhooks.sender import (
    LONGEST_ERROR,
    Attempt,
    Message,
    Sender,
)

log = logging.getLogger("obligor")
EVERY_S = 0.5
PRUNE_EVERY_S = 3600.0
# Entries read for events at a time, and rows tried at a time for one endpoint. What was
# sent is stored after each round: so many events a crash can send twice.
ENTRIES_AT_ONCE = 200
ROWS_AT_ONCE = 32
CONNECTIONS_PER_ENDPOINT = 8
# A receiver that takes nothing is left alone for so long before it is tried again.
PAUSE_S = 5.0


@dataclass(frozen=True)
class Webhooks:
    """The parts of webhooks.

    Attributes
    ----------
    record : Record
        The record that is read, and whose database keeps outbox and endpoints.
    endpoints : Endpoints
        Where events go.
    outbox : Outbox
        What waits to be delivered.
    reader : EventReader
        Derives events from entries.
    writer : EventWriter
        Writes them as they are sent.
    sender : Sender
        Sends them.
    patience : timedelta
        How long a delivery is tried before it is dead.
    """

    record: Record
    endpoints: Endpoints
    outbox: Outbox
    reader: EventReader
    writer: EventWriter
    sender: Sender
    patience: timedelta

    def lifetime(self, at: datetime) -> Lifetime:
        """Return the lifetime of a row that is tried from a time on."""
        return Lifetime(at, at + self.patience)

    def send_test(self, endpoint: Endpoint, event_id: str, at: datetime) -> Attempt:
        """Send a test event to an endpoint at once, and keep nothing of it.

        Parameters
        ----------
        endpoint : Endpoint
            The endpoint.
        event_id : str
            A fresh id.
        at : datetime
            The time, in UTC.

        Returns
        -------
        Attempt
            How it went.

        Raises
        ------
        ObligorError
            If the endpoint's secrets cannot be read.
        """
        body = self.writer.body_of_test(head_of_test(event_id, at))
        secrets = self.endpoints.secrets(endpoint, at)
        return self.sender.send(endpoint.url, Message(event_id, body, secrets), at)


class Round(NamedTuple):
    """How a round of deliveries to one endpoint went."""

    n_tried: int
    n_delivered: int


class Deliverer:
    """Derives events and delivers them.

    Only one may run at a time: `DeliveryTurn` sees to it.

    Parameters
    ----------
    webhooks : Webhooks
        The parts.
    now : callable
        Returns the time, in UTC.
    chance : callable
        Returns a random number from 0 up to, but not including, 1.
    """

    def __init__(
        self,
        webhooks: Webhooks,
        now: Callable[[], datetime],
        chance: Callable[[], float],
    ) -> None:
        self._webhooks = webhooks
        self._feed = RecordFeed(webhooks.record.database)
        self._now = now
        self._chance = chance
        # Endpoints that took nothing in their last round.
        self._down = set[str]()

    def run(self, is_stopped: Callable[[], bool]) -> None:
        """Derive and deliver until it is stopped.

        Each endpoint is served by a thread of its own, so that a receiver that hangs
        holds up nobody else.
        """
        rounds = dict[str, Future[None]]()
        wake = threading.Event()
        since_prune_s = PRUNE_EVERY_S
        with ThreadPoolExecutor(thread_name_prefix="webhook") as pool:
            while not is_stopped():
                endpoints = self._derived()
                for endpoint in endpoints:
                    running = rounds.get(endpoint.endpoint_id)
                    if running is None or running.done():
                        rounds[endpoint.endpoint_id] = pool.submit(
                            self._serve, endpoint, is_stopped
                        )
                if since_prune_s >= PRUNE_EVERY_S:
                    _tried("deleting old deliveries", self._prune)
                    since_prune_s = 0.0
                wake.wait(EVERY_S)
                since_prune_s += EVERY_S

    def step(self) -> None:
        """Derive once, and try once what is due at each endpoint."""
        self.derive()
        for endpoint in self._webhooks.endpoints.active():
            self.deliver(endpoint)

    def derive(self) -> int:
        """Write the events of the entries that were not read yet into the outbox.

        Returns
        -------
        int
            How many rows were added.

        Raises
        ------
        RecordError
            If the record cannot be read or written.
        """
        endpoints = self._webhooks.endpoints.active()
        if not endpoints:
            return 0
        n_rows = 0
        while True:
            n_entries, n_added = self._derive_once(endpoints)
            n_rows += n_added
            if n_entries < ENTRIES_AT_ONCE:
                return n_rows

    def deliver(self, endpoint: Endpoint) -> Round:
        """Try once what is due at an endpoint.

        Raises
        ------
        RecordError
            If the record cannot be read or written.
        """
        outbox = self._webhooks.outbox
        rows = outbox.due(endpoint.endpoint_id, self._now(), ROWS_AT_ONCE)
        if not rows:
            return Round(0, 0)
        n_threads = min(CONNECTIONS_PER_ENDPOINT, len(rows))
        with ThreadPoolExecutor(n_threads) as pool:
            changes = list(pool.map(lambda row: self._attempt(endpoint, row), rows))
        outbox.change(changes)
        n_delivered = sum(change.state == DELIVERED for change in changes)
        return Round(len(rows), n_delivered)

    def _derived(self) -> Sequence[Endpoint]:
        """Derive, and return the endpoints; nothing if the record cannot be read."""
        try:
            self.derive()
            return self._webhooks.endpoints.active()
        except (RecordError, sa.exc.SQLAlchemyError) as error:
            _log_failure("deriving events", error)
            return ()

    def _derive_once(self, endpoints: Sequence[Endpoint]) -> tuple[int, int]:
        """Return how many entries were read, and how many rows they gave."""
        outbox = self._webhooks.outbox
        before = outbox.next_leaf()
        first_leaf = max(before, min(row.from_leaf for row in endpoints))
        entries = self._feed.entries(first_leaf, ENTRIES_AT_ONCE)
        if not entries:
            return 0, 0
        types = {name for endpoint in endpoints for name in endpoint.types}
        addressed = list[Addressed]()
        for entry in entries:
            for event in self._webhooks.reader.events(entry, types):
                for endpoint in endpoints:
                    is_for_it = event.type in endpoint.types
                    if is_for_it and entry.leaf_index >= endpoint.from_leaf:
                        addressed.append(Addressed(event, endpoint.endpoint_id))
        after = entries[-1].leaf_index + 1
        lifetime = self._webhooks.lifetime(self._now())
        outbox.add(addressed, (before, after), lifetime)
        return len(entries), len(addressed)

    def _serve(self, endpoint: Endpoint, is_stopped: Callable[[], bool]) -> None:
        """Deliver to an endpoint until nothing is due, or it takes nothing."""
        while not is_stopped():
            try:
                result = self.deliver(endpoint)
            except (RecordError, sa.exc.SQLAlchemyError) as error:
                _log_failure("delivering events", error)
                return
            if result.n_delivered:
                self._down.discard(endpoint.endpoint_id)
                continue
            if result.n_tried:
                self._down.add(endpoint.endpoint_id)
            if endpoint.endpoint_id in self._down:
                self._pause(is_stopped)
            return

    def _pause(self, is_stopped: Callable[[], bool]) -> None:
        wake = threading.Event()
        for _ in range(int(PAUSE_S / EVERY_S)):
            if is_stopped() or wake.wait(EVERY_S):
                return

    def _attempt(self, endpoint: Endpoint, row: OutboxRow) -> Change:
        """Try to deliver a row, and return what becomes of it."""
        at = self._now()
        try:
            head = EventHead(row.event_id, row.type, row.occurred_at)
            body = self._webhooks.writer.body(head, row.entry_id, row.details)
            secrets = self._webhooks.endpoints.secrets(endpoint, at)
            message = Message(row.event_id, body, secrets)
        except ErasedError:
            return _finished(
                row, at, WITHDRAWN, Attempt(None, "the customer was erased")
            )
        except ObligorError as error:
            return self._after(row, at, Attempt(None, str(error)[:LONGEST_ERROR]))
        attempt = self._webhooks.sender.send(endpoint.url, message, at)
        return self._after(row, at, attempt)

    def _after(self, row: OutboxRow, at: datetime, attempt: Attempt) -> Change:
        if attempt.is_delivered:
            return _finished(row, at, DELIVERED, attempt)
        ended_at = self._now()
        if ended_at >= row.gives_up_at:
            log.error("webhook %s is dead: %s", row.event_id, attempt.error)
            return _finished(row, at, DEAD, attempt)
        attempts = row.attempts + 1
        asked_wait = min(timedelta(seconds=attempt.retry_after_s), LONGEST)
        wait = max(wait_before(attempts, self._chance()), asked_wait)
        return Change(
            seq=row.seq,
            state=WAITING,
            attempts=attempts,
            next_at=ended_at + wait,
            finished_at=None,
            last_status=attempt.status,
            last_error=attempt.error,
        )

    def _prune(self) -> None:
        self._webhooks.outbox.prune(self._now())


def _finished(row: OutboxRow, at: datetime, state: str, attempt: Attempt) -> Change:
    return Change(
        seq=row.seq,
        state=state,
        attempts=row.attempts + 1,
        next_at=row.next_at,
        finished_at=at,
        last_status=attempt.status,
        last_error=attempt.error or None,
    )


def _tried(what: str, act: Callable[[], None]) -> None:
    try:
        act()
    except (RecordError, sa.exc.SQLAlchemyError) as error:
        _log_failure(what, error)


def _log_failure(what: str, error: Exception) -> None:
    # The class only: the statement holds customer data.
    log.error("%s failed, and is tried again: %s", what, type(error).__name__)
