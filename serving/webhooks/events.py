"""The events that an entry of the record gives.

Every event is derived from entries that are durable already. A decision is made without
knowing of webhooks, and an event that was not written yet is derived again.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from obligor.casework.case_queries import CLOSING_OUTCOMES, OPENING_OUTCOMES
from obligor.casework.early_warnings import EarlyWarning, warnings_between
from obligor.decisions.rulebooks import Rulebooks
from obligor.record.entry import OpenedEntry
from obligor.record.feed import FeedEntry, RecordFeed
from obligor.record.record import Record
from obligor.record.tables import ENTRY

log = logging.getLogger("obligor")
LIMIT_CHANGED = "obligor.limit.changed"
ORDER_HELD = "obligor.order.held"
ORDER_RELEASED = "obligor.order.released"
CASE_OPENED = "obligor.case.opened"
CASE_RESOLVED = "obligor.case.resolved"
WARNING_RAISED = "obligor.warning.raised"
EVENT_TYPES = (
    LIMIT_CHANGED,
    ORDER_HELD,
    ORDER_RELEASED,
    CASE_OPENED,
    CASE_RESOLVED,
    WARNING_RAISED,
)
# `obligor webhooks test` sends it; no entry gives it.
TEST = "obligor.webhook.test"
_TYPE_OF_ORDER = {"hold": ORDER_HELD, "release": ORDER_RELEASED}
_COMPUTED = ("decision", "order")
_PREFIX = "obligor."


@dataclass(frozen=True)
class Event:
    """An event: what happened, and the entry that says so.

    Attributes
    ----------
    type : str
        One of `EVENT_TYPES`.
    entry : FeedEntry
        The entry that gives it.
    details : mapping
        What the event says beyond its entry: ids and codes only.
    """

    type: str
    entry: FeedEntry
    details: Mapping[str, object] = field(default_factory=dict)

    @property
    def event_id(self) -> str:
        """The id of the event, the same however often it is derived or sent.

        Without a full stop, which separates the parts of what is signed.
        """
        what = self.type.removeprefix(_PREFIX).replace(".", "-")
        return f"{self.entry.entry_id}-{what}"


class EventReader:
    """Derives events from entries.

    Parameters
    ----------
    record : Record
        The record.
    rulebooks : Rulebooks
        The rules that say what an early warning is.
    """

    def __init__(self, record: Record, rulebooks: Rulebooks) -> None:
        self._feed = RecordFeed(record.database)
        self._reader = record.reader
        self._rulebooks = rulebooks

    def events(self, entry: FeedEntry, types: Collection[str]) -> list[Event]:
        """Return the events of an entry that are of some types.

        Raises
        ------
        RecordError
            If the record cannot be read.
        """
        events = list[Event]()
        if entry.kind == "decision":
            events += self._decision_events(entry, types)
        events += self._order_events(entry)
        events += _case_events(entry)
        return [event for event in events if event.type in types]

    def _decision_events(self, entry: FeedEntry, types: Collection[str]) -> list[Event]:
        if not {LIMIT_CHANGED, WARNING_RAISED} & set(types):
            return []
        earlier = self._feed.earlier(entry, "decision", limit=2)
        events = _limit_events(entry, earlier)
        if WARNING_RAISED in types:
            events += self._warning_events(entry, earlier)
        return events

    def _order_events(self, entry: FeedEntry) -> list[Event]:
        """Return whether an order is held or released, by the rules or by a person."""
        event_type = None
        if entry.kind == "order":
            event_type = _TYPE_OF_ORDER.get(entry.outcome)
        elif entry.kind == "resolution" and entry.outcome == "approve":
            is_of_order = self._feed.kind_of(entry.case_id or "") == "order"
            event_type = ORDER_RELEASED if is_of_order else None
        if event_type is None:
            return []
        return [Event(event_type, entry, _case(entry))]

    def _warning_events(
        self, entry: FeedEntry, earlier: Sequence[FeedEntry]
    ) -> list[Event]:
        """Return the warnings that the decision before did not raise.

        An entry whose warnings cannot be told must not hold up all events after it.
        """
        try:
            raised = self._new_warnings(entry, earlier)
        except Exception as error:
            log.error(
                "the warnings of %s are not sent: %s",
                entry.entry_id,
                type(error).__name__,
            )
            return []
        if not raised:
            return []
        codes = [{"code": row["code"], "severity": row["severity"]} for row in raised]
        return [Event(WARNING_RAISED, entry, {"warnings": codes})]

    def _new_warnings(
        self, entry: FeedEntry, earlier: Sequence[FeedEntry]
    ) -> list[EarlyWarning]:
        now, before = self._opened(entry, *earlier[:1])
        raised = warnings_between(now, before, self._rulebooks)
        if before is None or not raised:
            return raised
        before, long_before = self._opened(*earlier)
        earlier_codes = set[str]()
        for warning in warnings_between(before, long_before, self._rulebooks):
            earlier_codes.add(warning["code"])
        return [warning for warning in raised if warning["code"] not in earlier_codes]

    def _opened(
        self, last: FeedEntry, before: FeedEntry | None = None
    ) -> tuple[OpenedEntry, OpenedEntry | None]:
        """Return a decision and the one before it, read at once."""
        entry_ids = [row.entry_id for row in (last, before) if row is not None]
        opened = dict[str, OpenedEntry]()
        for entry in self._reader.matching(ENTRY.entry_id.in_(entry_ids)):
            opened[entry.entry_id] = entry
        earlier = None if before is None else opened[before.entry_id]
        return opened[last.entry_id], earlier


def _limit_events(entry: FeedEntry, earlier: Sequence[FeedEntry]) -> list[Event]:
    """Return whether a decision gives another limit than the one before it."""
    if not earlier:
        return [Event(LIMIT_CHANGED, entry, {"previous_entry_id": None})]
    before = earlier[0]
    limit = (entry.limit_minor, entry.currency)
    if limit == (before.limit_minor, before.currency):
        return []
    return [Event(LIMIT_CHANGED, entry, {"previous_entry_id": before.entry_id})]


def _case_events(entry: FeedEntry) -> list[Event]:
    is_opening = entry.kind in _COMPUTED and entry.outcome in OPENING_OUTCOMES
    if entry.case_id is None:
        details = {"case_id": entry.entry_id}
        return [Event(CASE_OPENED, entry, details)] if is_opening else []
    if entry.outcome in CLOSING_OUTCOMES:
        return [Event(CASE_RESOLVED, entry, _case(entry))]
    return []


def _case(entry: FeedEntry) -> dict[str, object]:
    """Return the case that an order check opens or belongs to, if there is one."""
    if entry.case_id is not None:
        return {"case_id": entry.case_id}
    is_opening = entry.outcome in OPENING_OUTCOMES
    return {"case_id": entry.entry_id} if is_opening else {}
