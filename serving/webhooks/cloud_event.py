"""An event as it is sent: a CloudEvent 1.0 in JSON, with ids and links only."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple
from urllib.parse import quote

import orjson
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent

from obligor.record.entry import OpenedEntry
from obligor.record.reader import RecordReader
from obligor.serving.webhooks.events import TEST, WARNING_RAISED

# Structured mode: attributes and data are one JSON object (CloudEvents 1.0, HTTP 3.2).
MEDIA_TYPE = "application/cloudevents+json"


class EventHead(NamedTuple):
    """What names an event.

    Attributes
    ----------
    event_id : str
        Its id, which is also the ``webhook-id``.
    type : str
        Its type.
    occurred_at : datetime
        When its entry was recorded, with its zone.
    """

    event_id: str
    type: str
    occurred_at: datetime


class EventWriter:
    """Writes events from entries of the record.

    Parameters
    ----------
    reader : RecordReader
        The record.
    source : str
        The attribute ``source``: a URI that names this installation.
    """

    def __init__(self, reader: RecordReader, source: str) -> None:
        self._reader = reader
        self._source = source

    def body(self, head: EventHead, entry_id: str, details: str) -> str:
        """Return an event as JSON, the same text each time.

        Parameters
        ----------
        head : EventHead
            Its id, type and time.
        entry_id : str
            The entry that gives it.
        details : str
            What it says beyond its entry, a JSON object.

        Returns
        -------
        str
            A CloudEvent 1.0; its subject is the customer's id.

        Raises
        ------
        ErasedError
            If the customer was erased.
        """
        entry = self._reader.entry(entry_id)
        customer_id = self._customer_id(entry)
        data = {
            "entry_id": entry_id,
            "kind": entry.kind,
            "outcome": entry.outcome,
            "customer_id": customer_id,
            **orjson.loads(details),
        }
        data["links"] = _links(head.type, data)
        return self._text(head, data, subject=customer_id)

    def body_of_test(self, head: EventHead) -> str:
        """Return the event that `obligor webhooks test` sends."""
        return self._text(head, {"links": {}})

    def _customer_id(self, entry: OpenedEntry) -> str:
        # A resolution names its case, and the case names the customer.
        if entry.kind == "resolution" and entry.case_id is not None:
            entry = self._reader.entry(entry.case_id)
        return str(orjson.loads(entry.body)["customer_id"])

    def _text(
        self, head: EventHead, data: dict[str, object], subject: str | None = None
    ) -> str:
        attributes: dict[str, object] = {
            "specversion": "1.0",
            "id": head.event_id,
            "source": self._source,
            "type": head.type,
            "time": head.occurred_at,
            "datacontenttype": "application/json",
        }
        if subject is not None:
            attributes["subject"] = subject
        return JSONFormat().write(CloudEvent(attributes, data)).decode()


def head_of_test(event_id: str, at: datetime) -> EventHead:
    """Return the head of a test event."""
    return EventHead(event_id, TEST, at)


def _links(event_type: str, data: dict[str, object]) -> dict[str, str]:
    """Return the paths of the API at which the receiver can read more."""
    links = dict[str, str]()
    if data["kind"] in ("decision", "order"):
        links["entry"] = f"/v1/decisions/{data['entry_id']}"
    if data.get("case_id"):
        links["case"] = f"/v1/cases/{data['case_id']}"
    if data.get("previous_entry_id"):
        links["previous"] = f"/v1/decisions/{data['previous_entry_id']}"
    if event_type == WARNING_RAISED:
        customer = quote(str(data["customer_id"]), safe="")
        links["warnings"] = f"/v1/customers/{customer}/warnings"
    return links
