"""The commands on webhooks: endpoints, their secrets, and what was delivered."""

from __future__ import annotations

import os
import signal
import threading
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from obligor.cli.arguments import Store, command_context, console, with_options
from obligor.errors import ObligorError, RecordError, SchemaError

if TYPE_CHECKING:
    from collections.abc import Callable

    from obligor.serving.webhooks.deliverer import Deliverer, Webhooks

app = typer.Typer(
    no_args_is_help=True,
    help="Events for other systems: changed limits, orders, cases, warnings.",
)
ALL = "all"
FLOAT_BITS = 53
NICENESS = 10
EndpointId = Annotated[
    str, typer.Argument(help="Id of the endpoint, as `list` shows it")
]


def _webhooks(store: Path) -> Webhooks:
    from obligor.serving.assembly import build_webhooks

    context = command_context()
    service = context.service(store)
    return build_webhooks(service, context.settings(store), context.environment)


@dataclass(frozen=True)
class AddOptions:
    """The options of `obligor webhooks add`."""

    url: Annotated[str, typer.Argument(help="https URL that takes events by POST")]
    events: Annotated[
        str,
        typer.Option(
            help="Types of events, separated by commas, such as "
            "obligor.limit.changed,obligor.order.held; or all there are now"
        ),
    ] = ALL
    secret_from: Annotated[
        str | None,
        typer.Option(
            help="Environment variable with the secrets (whsec_..., several separated "
            "by blanks); by default a secret is made, sealed and printed once"
        ),
    ] = None
    store: Store = Path("store")


@app.command()
@with_options(AddOptions)
def add(options: AddOptions) -> None:
    """Add an endpoint; it gets the events of what is recorded from now on.

    Example: `obligor webhooks add https://erp.example.com/hooks --events
    obligor.limit.changed,obligor.order.held`
    """
    from obligor.serving.webhooks.endpoints import NewEndpoint
    from obligor.serving.webhooks.events import EVENT_TYPES

    webhooks = _webhooks(options.store)
    webhooks.sender.guard.url(options.url)
    types = EVENT_TYPES if options.events == ALL else _names(options.events)
    new = NewEndpoint(options.url, types, options.secret_from)
    endpoint, secret = webhooks.endpoints.add(new, command_context().now())
    typer.echo(f"endpoint {endpoint.endpoint_id}")
    if secret is not None:
        typer.echo(f"secret   {secret}")
        typer.echo("The secret cannot be shown again: give it to the receiver.")


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


@app.command(name="list")
def list_endpoints(store: Store = Path("store")) -> None:
    """List the endpoints, and how the outbox stands.

    Example: `obligor webhooks list`
    """
    webhooks = _webhooks(store)
    table = Table("endpoint", "URL", "events", "secret", "since")
    for endpoint in webhooks.endpoints.active():
        table.add_row(
            endpoint.endpoint_id,
            endpoint.url,
            "\n".join(endpoint.types),
            endpoint.secret_from or "sealed",
            f"{endpoint.created_at:%Y-%m-%d %H:%M}",
        )
    console.print(table)
    status = webhooks.outbox.status(command_context().now())
    console.print(
        f"Deliveries: {status.waiting:,} waiting, {status.dead:,} dead, "
        f"{status.delivered:,} delivered. The oldest entry whose events are not "
        f"delivered is {status.oldest_s:,.0f} s old.",
        highlight=False,
    )


@app.command()
def remove(endpoint_id: EndpointId, store: Store = Path("store")) -> None:
    """Remove an endpoint; what waits for it is withdrawn, its secrets are deleted.

    Example: `obligor webhooks remove 3f9a1c2b4d5e`
    """
    webhooks = _webhooks(store)
    now = command_context().now()
    webhooks.endpoints.remove(endpoint_id, now)
    n_rows = webhooks.outbox.withdraw(endpoint_id, now)
    console.print(f"{endpoint_id} is removed; deliveries withdrawn: {n_rows:,}")


@dataclass(frozen=True)
class RotateOptions:
    """The options of `obligor webhooks rotate`."""

    endpoint_id: EndpointId
    overlap_hours: Annotated[
        float,
        typer.Option(min=0, max=720, help="Hours for which the old secret signs, too"),
    ] = 24
    store: Store = Path("store")


@app.command()
@with_options(RotateOptions)
def rotate(options: RotateOptions) -> None:
    """Make a new secret and print it; the old one signs beside it for a day.

    Example: `obligor webhooks rotate 3f9a1c2b4d5e --overlap-hours 48`
    """
    webhooks = _webhooks(options.store)
    secret = webhooks.endpoints.rotate(
        options.endpoint_id,
        command_context().now(),
        timedelta(hours=options.overlap_hours),
    )
    typer.echo(f"secret   {secret}")
    typer.echo("The secret cannot be shown again: give it to the receiver.")


@app.command(name="test")
def send_test(endpoint_id: EndpointId, store: Store = Path("store")) -> None:
    """Send a test event to an endpoint at once, and say how it went.

    Example: `obligor webhooks test 3f9a1c2b4d5e`
    """
    context = command_context()
    webhooks = _webhooks(store)
    endpoint = webhooks.endpoints.endpoint(endpoint_id)
    attempt = webhooks.send_test(endpoint, f"test-{context.new_id()}", context.now())
    status = "no status" if attempt.status is None else f"status {attempt.status}"
    if not attempt.is_delivered:
        raise ObligorError(
            f"the test event was not taken ({status}): {attempt.error}",
            where=endpoint.url,
        )
    console.print(f"{endpoint.url} took the test event ({status})", highlight=False)


@dataclass(frozen=True)
class DeliveriesOptions:
    """The options of `obligor webhooks deliveries`."""

    state: Annotated[
        str | None,
        typer.Option(help="waiting, delivered, dead or withdrawn; default all"),
    ] = None
    limit: Annotated[int, typer.Option(min=1, help="How many, newest first")] = 50
    store: Store = Path("store")


@app.command()
@with_options(DeliveriesOptions)
def deliveries(options: DeliveriesOptions) -> None:
    """List deliveries: state, attempts, and how the last attempt went.

    Example: `obligor webhooks deliveries --state dead`
    """
    from obligor.serving.webhooks.outbox import STATES

    if options.state not in (None, *STATES):
        raise SchemaError(
            f"{options.state!r} is not a state",
            where="--state",
            expected=f"one of {', '.join(STATES)}",
        )
    table = Table("event", "endpoint", "state", "attempts", "last", "next or end")
    for row in _webhooks(options.store).outbox.rows(options.state, options.limit):
        at = row.finished_at or row.next_at
        last = "" if row.last_status is None else f"{row.last_status} "
        table.add_row(
            row.event_id,
            row.endpoint_id,
            row.state,
            str(row.attempts),
            f"{last}{row.last_error or ''}",
            f"{at:%Y-%m-%d %H:%M:%S}",
        )
    console.print(table)


@app.command()
def retry(
    event_id: Annotated[
        str | None,
        typer.Argument(help="Id of a dead event; by default all that are dead"),
    ] = None,
    store: Store = Path("store"),
) -> None:
    """Let dead deliveries wait again; they are tried at once.

    Example: `obligor webhooks retry`
    """
    webhooks = _webhooks(store)
    lifetime = webhooks.lifetime(command_context().now())
    n_rows = webhooks.outbox.retry(lifetime, event_id)
    if event_id is not None and n_rows == 0:
        raise RecordError(
            f"no dead delivery has the event {event_id!r}",
            where="webhooks",
            do="`obligor webhooks deliveries --state dead` shows them",
        )
    console.print(f"deliveries that wait again: {n_rows:,}")


@app.command()
def deliver(
    store: Store = Path("store"),
    supervised: Annotated[bool, typer.Option(hidden=True)] = False,
) -> None:
    """Deliver events in the foreground; a running service does it by itself.

    Example: `obligor webhooks deliver`
    """
    from obligor.serving.process.log import log_to_stdout
    from obligor.serving.webhooks.turn import DeliveryTurn

    context = command_context()
    log_to_stdout(context.environment.get("OBLIGOR_LOG", "INFO"))
    is_stopped = _stop_condition(ends_with_parent=supervised)
    # Whoever answers on this machine comes first.
    os.nice(NICENESS)
    # A supervised process has inherited the lock.
    lock = None if supervised else DeliveryTurn(store.resolve()).take()
    if lock is None and not supervised:
        raise RecordError(
            "another process delivers already",
            where=str(store),
            do="a running service delivers by itself",
        )
    _deliver(_webhooks(store), is_stopped)


def _stop_condition(ends_with_parent: bool) -> Callable[[], bool]:
    """Return what says whether to stop: after a signal, or without the parent."""
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    parent = os.getppid()

    def is_stopped() -> bool:
        is_orphan = ends_with_parent and os.getppid() != parent
        return stopped.is_set() or is_orphan

    return is_stopped


def _deliver(webhooks: Webhooks, is_stopped: Callable[[], bool]) -> None:
    """Deliver once it is this process's turn on the database, too."""
    from obligor.serving.webhooks.turn import DatabaseTurn

    turn = DatabaseTurn(webhooks.record.database)
    while not is_stopped():
        if turn.take():
            _deliverer(webhooks).run(is_stopped)
        else:
            threading.Event().wait(1)
    turn.release()


def _deliverer(webhooks: Webhooks) -> Deliverer:
    from obligor.serving.webhooks.deliverer import Deliverer

    context = command_context()

    def chance() -> float:
        # As many bits as a float holds.
        number = int.from_bytes(context.random(8)) >> (64 - FLOAT_BITS)
        return float(number / 2**FLOAT_BITS)

    return Deliverer(webhooks, context.now, chance)
