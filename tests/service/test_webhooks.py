"""Webhooks end to end: real records, real receivers, processes that are killed."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
import sqlalchemy as sa
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
from starlette.testclient import TestClient
from typer.testing import CliRunner

from obligor.casework.early_warnings import warnings_about
from obligor.cli.app import app
from obligor.cli.arguments import console
from obligor.decisions.rulebooks import Rulebooks
from obligor.errors import ObligorError, RecordError, SchemaError
from obligor.policy.rulebooks.rulebook import RULES, read_rulebooks
from obligor.record.encryption import Vault
from obligor.record.entry import Entry
from obligor.record.feed import RecordFeed
from obligor.record.merkle_log import Tree
from obligor.record.record import Record
from obligor.record.retention import erase, rotate
from obligor.record.tables import WEBHOOK_OUTBOX
from obligor.serving.api.metrics import Metrics
from obligor.serving.assembly import Service
from obligor.serving.operations.backup import StoreFolders, back_up, restore
from obligor.serving.operations.doctor import Check, Deployment, examine
from obligor.serving.settings import Settings
from obligor.serving.webhooks.address_guard import AddressGuard, parsed_networks
from obligor.serving.webhooks.backoff import LONGEST
from obligor.serving.webhooks.cloud_event import EventWriter
from obligor.serving.webhooks.deliverer import Deliverer, Webhooks
from obligor.serving.webhooks.endpoints import Endpoint, Endpoints, NewEndpoint
from obligor.serving.webhooks.events import EVENT_TYPES, EventReader
from obligor.serving.webhooks.outbox import (
    DEAD,
    DELIVERED,
    KEPT_FOR,
    WAITING,
    WITHDRAWN,
    Outbox,
)
from obligor.serving.webhooks.sender import Sender
from obligor.serving.webhooks.turn import DatabaseTurn, DeliveryTurn
from obligor.serving.webhooks.watch import OutboxWatch
from tests.conftest import VAULT
from tests.fakes import ManualClock
from tests.receivers import THIS_MACHINE, Receiver, running_receiver
from tests.records import ENTRY

NOW = datetime.now(UTC)
PATIENCE = timedelta(days=3)


@dataclass
class Site:
    """A record with webhooks on it, a clock, and a receiver that knows the secret."""

    record: Record
    webhooks: Webhooks
    clock: ManualClock
    receiver: Receiver
    endpoint: Endpoint
    folder: Path

    def append(self, entry_id: str, customer_id: str = "ANNA", **more: object) -> None:
        """Append a decision and let the tree grow, as the housekeeper does."""
        self.record.writer.append([entry_of(entry_id, customer_id, **more)])
        Tree(self.record.database).advance()

    def step(self, chance: float = 0.5) -> None:
        """Derive, and try once what is due."""
        Deliverer(self.webhooks, self.clock, lambda: chance).step()

    def states(self) -> dict[str, str]:
        """Return the state of each delivery by its event."""
        rows = self.webhooks.outbox.rows(None, 1000)
        return {row.event_id: row.state for row in reversed(rows)}


def entry_of(entry_id: str, customer_id: str = "ANNA", **more: object) -> Entry:
    body = {"customer_id": customer_id}
    entry = replace(
        ENTRY,
        entry_id=entry_id,
        customer_id=customer_id,
        recorded_at=NOW,
        limit_minor=500,
        body=orjson.dumps(body).decode(),
    )
    return replace(entry, **more)  # type: ignore[arg-type]


def webhooks_on(record: Record, environment: dict[str, str] | None = None) -> Webhooks:
    released, _ = read_rulebooks(RULES)
    return Webhooks(
        record=record,
        endpoints=Endpoints(record, environment or {}),
        outbox=Outbox(record),
        reader=EventReader(record, Rulebooks(released, RULES, RULES)),
        writer=EventWriter(record.reader, "urn:test"),
        sender=Sender(AddressGuard(parsed_networks(THIS_MACHINE))),
        patience=PATIENCE,
    )


def site_on(record: Record, receiver: Receiver, folder: Path) -> Site:
    webhooks = webhooks_on(record)
    types = [name for name in EVENT_TYPES if name != "obligor.warning.raised"]
    new = NewEndpoint(receiver.url, types)
    endpoint, secret = webhooks.endpoints.add(new, NOW)
    assert secret is not None
    receiver.secret = secret
    clock = ManualClock(NOW)
    return Site(record, webhooks, clock, receiver, endpoint, folder)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with running_receiver() as receiver:
        yield receiver


@pytest.fixture(params=["sqlite", "postgres"])
def site(
    request: pytest.FixtureRequest, receiver: Receiver, tmp_path: Path
) -> Iterator[Site]:
    url = f"sqlite:///{tmp_path}/record.db"
    if request.param == "postgres":
        url = str(request.getfixturevalue("postgres"))
    record = Record.open(url, VAULT)
    yield site_on(record, receiver, tmp_path)
    record.close()


@pytest.fixture
def local(receiver: Receiver, tmp_path: Path) -> Iterator[Site]:
    """A site on SQLite."""
    record = Record.open(f"sqlite:///{tmp_path}/record.db", VAULT)
    yield site_on(record, receiver, tmp_path)
    record.close()


# --- what is delivered


def test_an_event_is_a_signed_cloud_event(site: Site) -> None:
    site.append("d-1", "Müller & Söhne", outcome="refer")
    site.step()
    site.step()
    assert site.receiver.ids() == ["d-1-limit-changed", "d-1-case-opened"]
    assert all(delivery.is_signed for delivery in site.receiver.deliveries)
    event = JSONFormat().read(CloudEvent, site.receiver.deliveries[1].body)
    assert event.get_specversion() == "1.0"
    assert event.get_id() == "d-1-case-opened"
    assert event.get_source() == "urn:test"
    assert event.get_type() == "obligor.case.opened"
    assert event.get_subject() == "Müller & Söhne"
    assert event.get_time() == NOW
    assert event.get_data() == {
        "entry_id": "d-1",
        "kind": "decision",
        "outcome": "refer",
        "customer_id": "Müller & Söhne",
        "case_id": "d-1",
        "links": {"entry": "/v1/decisions/d-1", "case": "/v1/cases/d-1"},
    }


def test_a_resolution_names_the_customer_of_its_case(site: Site) -> None:
    site.append("O1", outcome="hold", kind="order")
    site.append(
        "R1",
        outcome="approve",
        kind="resolution",
        case_id="O1",
        body='{"case_id":"O1"}',
    )
    for _ in range(4):
        site.step()
    event = JSONFormat().read(CloudEvent, site.receiver.deliveries[-1].body)
    assert event.get_type() == "obligor.case.resolved"
    assert event.get_subject() == "ANNA"
    data = event.get_data()
    assert isinstance(data, dict)
    assert data["links"] == {"case": "/v1/cases/O1"}


def test_nothing_is_delivered_twice_without_need(site: Site) -> None:
    site.append("d-1")
    for _ in range(3):
        site.step()
    assert site.receiver.ids() == ["d-1-limit-changed"]
    status = site.webhooks.outbox.status(site.clock())
    assert (status.waiting, status.dead, status.delivered) == (0, 0, 1)
    assert status.oldest_s == 0


def test_an_endpoint_gets_only_the_types_it_asked_for(site: Site) -> None:
    with running_receiver() as other:
        new = NewEndpoint(other.url, ["obligor.case.opened"])
        site.webhooks.endpoints.add(new, NOW)
        site.append("d-1", outcome="refer")
        site.step()
        site.step()
        assert other.ids() == ["d-1-case-opened"]
        assert len(site.receiver.ids()) == 2


def test_an_endpoint_gets_nothing_from_before_it_was_there(site: Site) -> None:
    site.append("d-1")
    with running_receiver() as late:
        new = NewEndpoint(late.url, EVENT_TYPES[:1])
        site.webhooks.endpoints.add(new, NOW)
        site.append("d-2", limit_minor=600)
        site.step()
        site.step()
        assert late.ids() == ["d-2-limit-changed"]
    assert site.receiver.ids() == ["d-1-limit-changed", "d-2-limit-changed"]


def test_earlier_decisions_are_read_by_their_customer(local: Site) -> None:
    """A walk down the tree would read the whole record for a new customer."""
    plan = list[str]()

    def explain(
        connection: sa.Connection, cursor: Any, text: str, values: Any, *_: Any
    ) -> None:
        if text.startswith("SELECT nodes.place"):
            cursor.execute(f"EXPLAIN QUERY PLAN {text}", values)
            plan.extend(row[-1] for row in cursor.fetchall())

    local.append("d-1")
    (entry,) = RecordFeed(local.record.database).entries(0, 1)
    sa.event.listen(local.record.database.engine, "before_cursor_execute", explain)
    RecordFeed(local.record.database).earlier(entry, "decision", 2)
    assert plan[0].startswith("SEARCH customers USING INDEX")
    assert not [step for step in plan if "SCAN" in step or "place<" in step]


def test_a_backlog_of_many_entries_is_derived_whole(local: Site) -> None:
    entries = [entry_of(f"d-{number}", f"C{number}") for number in range(450)]
    local.record.writer.append(entries)
    Tree(local.record.database).advance()
    assert Deliverer(local.webhooks, local.clock, lambda: 0.5).derive() == 450
    assert len(local.states()) == 450


# --- order, retries, death


def test_events_of_a_customer_wait_for_the_first_and_others_do_not(site: Site) -> None:
    site.append("a-1")
    site.append("a-2", limit_minor=600)
    site.append("b-1", "BOB")
    site.receiver.refused = {"a-1-limit-changed"}
    for _ in range(3):
        site.step(chance=0.0)
    assert site.receiver.ids().count("a-1-limit-changed") == 3
    assert "b-1-limit-changed" in site.receiver.ids()
    assert "a-2-limit-changed" not in site.receiver.ids()
    site.receiver.refused = set()
    site.step()
    site.step()
    assert site.receiver.ids()[-2:] == ["a-1-limit-changed", "a-2-limit-changed"]


def test_the_order_of_a_customer_holds_over_months(site: Site) -> None:
    """A customer has another key, and so another reference, in each month."""
    later = NOW + timedelta(days=40)
    site.append("a-1")
    site.append("a-2", limit_minor=600, recorded_at=later)
    site.receiver.refused = {"a-1-limit-changed"}
    site.step()
    assert site.receiver.ids() == ["a-1-limit-changed"]


def test_a_retry_waits_and_has_the_same_id_and_body(site: Site) -> None:
    site.append("d-1")
    site.receiver.statuses = [500]
    site.step(chance=0.5)
    (row,) = site.webhooks.outbox.rows(None, 10)
    assert (row.state, row.attempts, row.last_status) == (WAITING, 1, 500)
    assert row.next_at == NOW + timedelta(seconds=2.5)
    site.step()
    assert len(site.receiver.ids()) == 1
    site.clock.advance(seconds=3)
    site.step()
    first, second = site.receiver.deliveries
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert first.body == second.body
    assert second.is_signed
    assert site.states() == {"d-1-limit-changed": DELIVERED}


def test_a_receiver_that_asks_for_time_gets_it_up_to_the_cap(local: Site) -> None:
    local.append("d-1")
    local.receiver.statuses = [503, 503]
    local.receiver.retry_after = "90"
    local.step(chance=0.0)
    (row,) = local.webhooks.outbox.rows(None, 10)
    assert row.next_at == NOW + timedelta(seconds=90)
    local.clock.advance(seconds=90)
    local.receiver.retry_after = "9999999"
    local.step(chance=0.0)
    (row,) = local.webhooks.outbox.rows(None, 10)
    assert row.next_at == local.clock() + LONGEST


def test_a_delivery_is_dead_after_days_and_can_be_retried(site: Site) -> None:
    site.append("d-1")
    site.receiver.refused = {"d-1-limit-changed"}
    site.step()
    site.clock.advance(days=PATIENCE.days)
    site.step()
    assert site.states() == {"d-1-limit-changed": DEAD}
    assert site.webhooks.outbox.status(site.clock()).dead == 1
    # Dead, it holds up nobody.
    site.append("d-2", limit_minor=600)
    site.step()
    assert site.receiver.ids()[-1] == "d-2-limit-changed"
    site.receiver.refused = set()
    assert site.webhooks.outbox.retry(site.webhooks.lifetime(site.clock())) == 1
    site.step()
    assert site.receiver.ids()[-1] == "d-1-limit-changed"
    assert set(site.states().values()) == {DELIVERED}
    assert site.webhooks.outbox.status(site.clock()).dead == 0


def test_a_receiver_that_was_down_long_is_tried_at_least_once(site: Site) -> None:
    """What waited while nothing delivered is not dead before it was tried."""
    site.append("d-1")
    Deliverer(site.webhooks, site.clock, lambda: 0.5).derive()
    site.clock.advance(days=30)
    site.step()
    assert site.states() == {"d-1-limit-changed": DELIVERED}


def test_the_age_of_the_outbox_is_that_of_the_oldest_entry(site: Site) -> None:
    site.append("d-1")
    site.clock.advance(seconds=90)
    # Not yet derived, and derived but not delivered: both are late.
    assert site.webhooks.outbox.status(site.clock()).oldest_s == pytest.approx(90)
    site.receiver.refused = {"d-1-limit-changed"}
    site.step()
    assert site.webhooks.outbox.status(site.clock()).oldest_s == pytest.approx(90)


# --- erasure, removal, retention


def test_an_erased_customer_is_not_sent_any_more(site: Site) -> None:
    site.append("d-1")
    site.append("b-1", "BOB")
    site.receiver.statuses = [500, 500]
    site.step(chance=0.0)
    erase(site.record, "ANNA", "asked by letter", NOW, "erasure-1")
    site.step()
    assert site.receiver.ids()[2:] == ["b-1-limit-changed"]
    assert site.states()["d-1-limit-changed"] == WITHDRAWN
    assert site.states()["b-1-limit-changed"] == DELIVERED


def test_the_outbox_holds_no_customer(site: Site) -> None:
    site.append("d-1", "ANNA-AND-SONS", outcome="refer")
    site.step()
    with site.record.database.engine.connect() as connection:
        rows = connection.execute(sa.select(WEBHOOK_OUTBOX)).all()
    assert rows
    assert "ANNA" not in repr(rows)


def test_a_removed_endpoint_gets_nothing_more(site: Site) -> None:
    site.append("d-1")
    site.receiver.statuses = [500]
    site.step(chance=0.0)
    site.webhooks.endpoints.remove(site.endpoint.endpoint_id, NOW)
    assert site.webhooks.outbox.withdraw(site.endpoint.endpoint_id, NOW) == 1
    site.append("d-2", limit_minor=600)
    site.step()
    assert len(site.receiver.ids()) == 1
    with pytest.raises(RecordError, match="no endpoint has the id"):
        site.webhooks.endpoints.endpoint(site.endpoint.endpoint_id)
    # What is withdrawn cannot be retried.
    assert site.webhooks.outbox.retry(site.webhooks.lifetime(NOW)) == 0


def test_finished_deliveries_are_deleted_and_still_counted(site: Site) -> None:
    site.append("d-1")
    site.step()
    assert site.webhooks.outbox.prune(NOW + KEPT_FOR) == 0
    assert site.webhooks.outbox.prune(NOW + KEPT_FOR + timedelta(seconds=1)) == 1
    assert site.webhooks.outbox.status(NOW).delivered == 1


# --- secrets


def test_a_rotated_secret_signs_beside_the_old_one_for_a_while(site: Site) -> None:
    old = site.receiver.secret
    new = site.webhooks.endpoints.rotate(
        site.endpoint.endpoint_id, NOW, timedelta(hours=1)
    )
    for number, (hours, secret, is_signed) in enumerate(
        [(0, old, True), (0, new, True), (1, old, False), (1, new, True)]
    ):
        site.receiver.secret = secret
        site.append(f"d-{number}", f"C{number}")
        # The receiver's own clock checks the time stamp: only the secrets move on.
        secrets = site.webhooks.endpoints.secrets(
            site.endpoint, NOW + timedelta(hours=hours)
        )
        assert (secret in secrets) == is_signed
    site.receiver.secret = old
    site.step()
    assert all(delivery.is_signed for delivery in site.receiver.deliveries)


def test_secrets_can_come_from_the_environment(local: Site) -> None:
    environment = {"HOOK_SECRET": local.receiver.secret}
    webhooks = webhooks_on(local.record, environment)
    new = NewEndpoint(local.receiver.url, EVENT_TYPES, "HOOK_SECRET")
    endpoint, secret = webhooks.endpoints.add(new, NOW)
    assert secret is None
    assert webhooks.endpoints.secrets(endpoint, NOW) == [local.receiver.secret]
    with pytest.raises(SchemaError, match="come from the environment"):
        webhooks.endpoints.rotate(endpoint.endpoint_id, NOW)
    with pytest.raises(SchemaError, match="NO_SECRET: there is no secret"):
        webhooks.endpoints.add(replace(new, secret_from="NO_SECRET"), NOW)


def test_a_secret_that_is_missing_delays_and_loses_nothing(local: Site) -> None:
    environment = {"HOOK_SECRET": local.receiver.secret}
    webhooks = webhooks_on(local.record, environment)
    webhooks.endpoints.remove(local.endpoint.endpoint_id, NOW)
    new = NewEndpoint(local.receiver.url, EVENT_TYPES[:1], "HOOK_SECRET")
    webhooks.endpoints.add(new, NOW)
    local.append("d-1")
    del environment["HOOK_SECRET"]
    Deliverer(webhooks, local.clock, lambda: 0.0).step()
    (row,) = webhooks.outbox.rows(None, 10)
    assert (row.state, row.last_error) == (
        WAITING,
        "HOOK_SECRET: there is no secret; expected whsec_... (several separated by "
        "blanks)",
    )
    environment["HOOK_SECRET"] = local.receiver.secret
    Deliverer(webhooks, local.clock, lambda: 0.0).step()
    assert local.receiver.ids() == ["d-1-limit-changed"]


def test_secrets_are_sealed_and_move_to_another_data_key(local: Site) -> None:
    raw = (local.folder / "record.db").read_bytes()
    assert local.receiver.secret.encode() not in raw
    other = Vault(bytes(range(1, 33)), os.urandom)
    rotate(local.record.database, other)
    record = Record.open(f"sqlite:///{local.folder}/record.db", other)
    endpoints = Endpoints(record, {})
    assert endpoints.secrets(local.endpoint, NOW) == [local.receiver.secret]
    record.close()


@pytest.mark.parametrize("types", [[], ["obligor.limit"], ["obligor.webhook.test"]])
def test_a_type_that_does_not_exist_is_refused(local: Site, types: list[str]) -> None:
    with pytest.raises(SchemaError, match="is not a type of event"):
        local.webhooks.endpoints.add(NewEndpoint("https://x.example", types), NOW)


# --- crashes


CHILD = """
import os, sys
from obligor.record.record import Record
from obligor.serving.webhooks.watch import OutboxWatch
from tests.conftest import VAULT
from tests.service.test_webhooks import entry_of

record = Record.open(sys.argv[1], VAULT)
for number in range(20):
    record.writer.append([entry_of(f"d-{number}", f"C{number}")])
os.kill(os.getpid(), 9)
"""


def test_what_was_committed_before_a_kill_is_delivered(local: Site) -> None:
    """The process dies after its commits, before anybody has derived an event."""
    url = f"sqlite:///{local.folder}/record.db"
    killed = subprocess.run([sys.executable, "-c", CHILD, url], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert local.states() == {}
    Tree(local.record.database).advance()
    local.step()
    assert sorted(local.receiver.ids()) == sorted(
        f"d-{number}-limit-changed" for number in range(20)
    )


def deliver_process(folder: Path) -> subprocess.Popen[bytes]:
    """Start `obligor webhooks deliver` on the record of a folder."""
    environment = {
        **os.environ,
        "OBLIGOR_RECORD_URL": f"sqlite:///{folder}/record.db",
        "OBLIGOR_DATA_KEY": VAULT.data_key.hex(),
        "OBLIGOR_WEBHOOK_NETWORKS": THIS_MACHINE,
    }
    command = [sys.executable, "-m", "obligor", "webhooks", "deliver"]
    return subprocess.Popen(
        [*command, "--store", str(folder)],
        env=environment,
        stdout=subprocess.DEVNULL,
    )


def test_a_worker_that_is_killed_loses_nothing(local: Site) -> None:
    """It dies while the receiver has the event and has not answered: the event comes
    again, with the same id, and the one after it once.
    """
    local.append("a-1")
    local.append("a-2", limit_minor=600)
    local.receiver.hangs_s = 60
    worker = deliver_process(local.folder)
    local.receiver.wait_for(1)
    worker.kill()
    worker.wait()
    local.receiver.hangs_s = 0
    worker = deliver_process(local.folder)
    local.receiver.wait_for(3)
    worker.terminate()
    assert worker.wait(30) == 0
    first, *again = local.receiver.ids()
    assert first == "a-1-limit-changed"
    assert again == ["a-1-limit-changed", "a-2-limit-changed"]
    assert all(delivery.is_signed for delivery in local.receiver.deliveries)
    assert set(local.states().values()) == {DELIVERED}


def test_a_receiver_that_hangs_holds_up_no_other(local: Site) -> None:
    with running_receiver() as other:
        new = NewEndpoint(other.url, EVENT_TYPES[:1])
        local.webhooks.endpoints.add(new, NOW)
        local.receiver.hangs_s = 30
        for number in range(3):
            local.append(f"d-{number}", limit_minor=number)
        worker = deliver_process(local.folder)
        other.wait_for(3, patience_s=9)
        worker.kill()
        worker.wait()
        assert len(set(local.receiver.ids())) == 1


def test_two_workers_cannot_deliver_at_once(local: Site) -> None:
    turn = DeliveryTurn(local.folder)
    lock = turn.take()
    assert lock is not None
    assert DeliveryTurn(local.folder).take() is None
    second = deliver_process(local.folder)
    assert second.wait(60) == 2
    lock.close()
    again = DeliveryTurn(local.folder).take()
    assert again is not None
    again.close()


def test_two_machines_cannot_deliver_at_once(postgres: str) -> None:
    records = [Record.open(postgres, VAULT) for _ in range(2)]
    first, second = (DatabaseTurn(record.database) for record in records)
    assert first.take()
    assert not second.take()
    first.release()
    records[0].close()
    assert second.take()
    second.release()
    records[1].close()


def test_a_cursor_that_somebody_moved_adds_nothing(site: Site) -> None:
    """Were two workers to derive at once, an event would still be added once."""
    site.append("d-1")
    outbox = site.webhooks.outbox
    lifetime = site.webhooks.lifetime(NOW)
    assert outbox.add([], (0, 1), lifetime)
    assert not outbox.add([], (0, 1), lifetime)
    assert outbox.next_leaf() == 1


def test_a_backup_has_endpoints_and_outbox(local: Site, tmp_path: Path) -> None:
    local.append("d-1")
    local.receiver.statuses = [500]
    local.step(chance=0.0)
    folders = StoreFolders(local.folder, local.folder / "checkpoints")
    back_up(local.record, folders, tmp_path / "backup", NOW)
    target = tmp_path / "target"
    target.mkdir()
    record = Record.open(f"sqlite:///{target}/record.db", VAULT)
    restore(record, StoreFolders(target, target / "checkpoints"), tmp_path / "backup")
    webhooks = webhooks_on(record)
    assert webhooks.endpoints.active() == local.webhooks.endpoints.active()
    Deliverer(webhooks, local.clock, lambda: 0.0).step()
    assert local.receiver.ids() == ["d-1-limit-changed"] * 2
    assert local.receiver.deliveries[1].is_signed
    record.close()


# --- what the guide shows


def snippets() -> dict[str, Any]:
    """Return the names that the Python blocks of the guide define."""
    guide = Path(__file__).parents[2] / "docs" / "how-to" / "webhooks.md"
    blocks = re.findall(r"```python\n(.*?)```", guide.read_text(), re.DOTALL)
    assert len(blocks) == 2
    names = dict[str, Any]()
    for code in blocks:
        exec(code, names)
    return names


def test_the_receiver_of_the_guide_verifies(
    local: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    names = snippets()
    local.append("d-1")
    local.step()
    (delivery,) = local.receiver.deliveries
    body = delivery.body.encode()
    secret = local.receiver.secret
    seen = set[str]()
    assert names["take"](body, delivery.headers, secret, seen) == 204
    assert names["take"](body, delivery.headers, secret, seen) == 204
    assert seen == {"d-1-limit-changed"}
    assert capsys.readouterr().out.count("obligor.limit.changed") == 1
    assert names["is_genuine"](body, delivery.headers, secret)
    forged = body.replace(b"d-1", b"d-2")
    assert names["take"](forged, delivery.headers, secret, seen) == 401
    assert not names["is_genuine"](forged, delivery.headers, secret)
    stale = {**delivery.headers, "webhook-timestamp": "1600000000"}
    assert names["take"](body, stale, secret, seen) == 401
    assert not names["is_genuine"](body, stale, secret)


# --- with real decisions


def test_a_warning_is_sent_when_it_is_new(
    untrained_service: Service, untrained_client: TestClient, receiver: Receiver
) -> None:
    record = untrained_service.record
    webhooks = webhooks_on(record)
    new = NewEndpoint(receiver.url, ["obligor.warning.raised"])
    webhooks.endpoints.add(new, NOW)
    expires_on = untrained_service.now().date() + timedelta(days=10)
    bond = {
        "kind": "insurance",
        "amount": "1000.00",
        "expires_on": str(expires_on),
    }
    question = {"customer_id": "C0000002", "file": {"securities": [bond]}}
    for _ in range(2):
        answer = untrained_client.post("/decisions", json=question)
        assert answer.status_code == 200, answer.text
    Tree(record.database).advance()
    Deliverer(webhooks, ManualClock(NOW), lambda: 0.5).step()
    shown = warnings_about("C0000002", record.reader, untrained_service.rulebooks)
    codes = [warning["code"] for warning in shown["warnings"]]
    assert codes
    (delivery,) = receiver.deliveries
    event = orjson.loads(delivery.body)
    assert [row["code"] for row in event["data"]["warnings"]] == codes
    assert event["data"]["links"]["warnings"] == "/v1/customers/C0000002/warnings"
    assert event["data"]["entry_id"] != shown["decision_id"]


def test_the_longest_wait_is_shorter_than_the_patience() -> None:
    assert LONGEST < PATIENCE


# --- the commands, and what watches


@dataclass
class Shell:
    """Runs `obligor webhooks` on the store of a site."""

    folder: Path

    def __call__(self, *words: str, exit_code: int = 0) -> str:
        """Run a command; return what it prints, on one line."""
        command = ["webhooks", *words, "--store", str(self.folder)]
        result = CliRunner().invoke(app, command)
        if isinstance(result.exception, ObligorError):
            assert exit_code == 2
            return str(result.exception)
        assert result.exit_code == exit_code, result.output
        return " ".join(result.output.split())


@pytest.fixture
def shell(local: Site, monkeypatch: pytest.MonkeyPatch) -> Shell:
    monkeypatch.setenv("OBLIGOR_RECORD_URL", f"sqlite:///{local.folder}/record.db")
    monkeypatch.setenv("OBLIGOR_DATA_KEY", VAULT.data_key.hex())
    monkeypatch.setenv("OBLIGOR_WEBHOOK_NETWORKS", THIS_MACHINE)
    # Rich asks for COLUMNS once, when the console is made.
    monkeypatch.setattr(console, "width", 250)
    return Shell(local.folder)


def test_an_endpoint_is_added_tested_and_removed(local: Site, shell: Shell) -> None:
    printed = shell("add", local.receiver.url, "--events", "obligor.order.held")
    endpoint_id, secret = printed.split()[1], printed.split()[3]
    listed = shell("list")
    assert endpoint_id in listed
    assert secret not in listed
    local.receiver.secret = secret
    assert "took the test event (status 204)" in shell("test", endpoint_id)
    assert local.receiver.deliveries[-1].is_signed
    event = orjson.loads(local.receiver.deliveries[-1].body)
    assert event["type"] == "obligor.webhook.test"
    local.receiver.statuses = [503]
    assert "was not taken (status 503)" in shell("test", endpoint_id, exit_code=2)
    assert "is removed" in shell("remove", endpoint_id)
    assert "no endpoint has the id" in shell("remove", endpoint_id, exit_code=2)


def test_a_secret_is_rotated(local: Site, shell: Shell) -> None:
    endpoint_id = local.endpoint.endpoint_id
    printed = shell("rotate", endpoint_id, "--overlap-hours", "1")
    new = printed.split()[1]
    secrets = local.webhooks.endpoints.secrets(local.endpoint, datetime.now(UTC))
    assert secrets == [new, local.receiver.secret]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["add", "https://10.0.0.1/hook", "--events", "limit"],
            "'limit' is not",
        ),
        (["add", "http://example.com/hook"], "the URL is not encrypted"),
        (["add", "https://x.example", "--secret-from", "NO"], "NO: there is no"),
        (["deliveries", "--state", "lost"], "'lost' is not a state"),
        (["retry", "d-9"], "no dead delivery has the event 'd-9'"),
    ],
)
def test_a_wrong_command_says_what_is_wrong(
    shell: Shell, words: list[str], message: str
) -> None:
    assert message in shell(*words, exit_code=2)


def test_deliveries_are_listed_and_retried(local: Site, shell: Shell) -> None:
    local.append("d-1")
    local.receiver.statuses = [500]
    local.step()
    assert "500 the receiver refused it" in shell("deliveries", "--state", "waiting")
    assert "d-1-limit-changed" not in shell("deliveries", "--state", "dead")
    local.clock.advance(days=4)
    local.receiver.statuses = [500]
    local.step()
    assert "d-1-limit-changed" in shell("deliveries", "--state", "dead")
    assert "that wait again: 1" in shell("retry", "d-1-limit-changed")
    local.clock.time = datetime.now(UTC)
    local.step()
    assert "1 delivered" in shell("list")


def doctor(
    local: Site, service: Service, at: datetime, networks: str = THIS_MACHINE
) -> list[Check]:
    """Return what the doctor says of the webhooks of a site's store."""
    settings = Settings.of(
        {
            "OBLIGOR_STORE": str(local.folder),
            "OBLIGOR_WEBHOOK_NETWORKS": networks,
        }
    )
    on_site = replace(service, record=local.record)
    deployment = Deployment(settings, on_site, {}, at)
    return [check for check in examine(deployment) if check.name == "webhooks"]


def test_the_doctor_sees_what_is_late_or_dead(
    local: Site, untrained_service: Service
) -> None:
    (check,) = doctor(local, untrained_service, NOW)
    assert check.state == "good"
    local.append("R1", kind="resolution", outcome="approve", case_id="O1")
    local.step()
    (late,) = doctor(local, untrained_service, NOW + timedelta(minutes=6))
    assert (late.state, late.detail) == (
        "warning",
        "1 waiting, 0 dead, 0 delivered; the oldest has waited for 360 s",
    )
    local.clock.advance(days=4)
    local.step()
    (dead,) = doctor(local, untrained_service, local.clock())
    assert (dead.state, dead.detail) == (
        "warning",
        "0 waiting, 1 dead, 0 delivered; the oldest has waited for 0 s",
    )


def test_the_doctor_sees_an_endpoint_that_cannot_be_sent_to(
    local: Site, untrained_service: Service
) -> None:
    bad, _ = doctor(local, untrained_service, NOW, networks="")
    assert bad.state == "bad"
    assert "the URL is not encrypted" in bad.detail
    environment = {"HOOK_SECRET": local.receiver.secret}
    endpoints = Endpoints(local.record, environment)
    new = NewEndpoint(local.receiver.url, EVENT_TYPES, "HOOK_SECRET")
    endpoints.add(new, NOW)
    # The environment that the doctor sees lacks it.
    bad, _ = doctor(local, untrained_service, NOW)
    assert "HOOK_SECRET: there is no secret" in bad.detail


def test_the_doctor_says_that_there_are_no_endpoints(
    local: Site, untrained_service: Service
) -> None:
    local.webhooks.endpoints.remove(local.endpoint.endpoint_id, NOW)
    (check,) = doctor(local, untrained_service, NOW)
    assert (check.state, check.detail) == ("good", "there are no endpoints")


def test_metrics_show_the_outbox(local: Site) -> None:
    watch = OutboxWatch(local.webhooks.outbox, local.clock)
    metrics = Metrics()
    metrics.watch_outbox(lambda: watch.status)
    assert b"obligor_webhooks_waiting 0.0" in metrics.text()
    assert not watch.has_endpoints()
    local.append("d-1")
    local.receiver.statuses = [500]
    local.step()
    local.clock.advance(seconds=30)
    watch.turn()
    assert watch.has_endpoints()
    text = metrics.text().decode()
    assert "obligor_webhooks_waiting 1.0" in text
    assert "obligor_webhooks_oldest_seconds 30.0" in text
    assert "obligor_webhooks_delivered 0.0" in text
    # The status is read in every tenth turn.
    local.step()
    for _ in range(9):
        watch.turn()
        assert "obligor_webhooks_waiting 1.0" in metrics.text().decode()
    watch.turn()
    text = metrics.text().decode()
    assert "obligor_webhooks_waiting 0.0" in text
    assert "obligor_webhooks_delivered 1.0" in text
