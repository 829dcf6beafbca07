"""The BentoML service: one process that answers, explains and records.

This is the rim: clock, ids, random bytes and the environment enter here.
"""

from __future__ import annotations

import gc
import os
import sys
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime

import bentoml
from starlette.applications import Starlette

from obligor.errors import ModelError
from obligor.record.housekeeper import Housekeeper, Task
from obligor.serving.api.routes import create_app, use_service
from obligor.serving.assembly import (
    assemble_service,
    build_gate,
    build_shadow,
    housekeeping_tasks,
)
from obligor.serving.process.connections import (
    drain_before_exit,
    draining,
    guard_connections,
)
from obligor.serving.process.delivery import DeliveryProcess
from obligor.serving.process.log import log_to_stdout
from obligor.serving.process.path_guard import PathGuard
from obligor.serving.process.workers import WorkerRegistry
from obligor.serving.settings import Settings
from obligor.serving.webhooks.outbox import Outbox, OutboxStatus
from obligor.serving.webhooks.watch import OutboxWatch

# Longer than uvicorn keeps an idle connection, which is 5 s.
DRAIN_S = "6"
# BentoML drops a request after this long.
TIMEOUT_S = 15
# The collector looks at new objects when there are this many. A decision makes
# thousands of objects, none of which is in a cycle.
YOUNGEST_GENERATION = 50_000
# A model that loads in another thread must not hold up requests; Python's own interval
# is ten times as long.
SWITCH_INTERVAL_S = 0.0005


class ServingProcess:
    """What runs in one process of the service.

    Parameters
    ----------
    app : Starlette
        The app that answers.
    environment : mapping
        The environment of the service.
    n_workers : int
        How many processes there should be.
    """

    def __init__(
        self,
        app: Starlette,
        environment: Mapping[str, str],
        n_workers: int,
    ) -> None:
        settings = Settings.of(environment)
        log_to_stdout(environment.get("OBLIGOR_LOG", "INFO"))
        self._service = assemble_service(
            settings,
            now=lambda: datetime.now(UTC),
            new_id=lambda: str(uuid.uuid4()),
            random=os.urandom,
        )
        gate = build_gate(self._service, environment)
        use_service(app, self._service, gate)
        workers = WorkerRegistry(settings.store / "workers")
        workers.join(str(os.getpid()))
        app.state.metrics.watch_workers(workers.count_alive, n_workers)
        shadow = build_shadow(self._service, settings)
        self._outbox = OutboxWatch(Outbox(self._service.record), self._service.now)
        app.state.metrics.watch_outbox(self.outbox_status)
        app.state.outbox_status = self.outbox_status
        delivery = DeliveryProcess(
            settings.store, environment, self._outbox.has_endpoints
        )
        tasks = [
            Task("reading the outbox", lambda is_last: self._outbox.turn()),
            Task("delivering webhooks", delivery.step),
            *housekeeping_tasks(self._service, gate, shadow),
        ]
        self._housekeeper = Housekeeper(tasks)
        self._housekeeper.start()
        tune_interpreter()

    def is_ready(self) -> bool:
        """Return whether a champion is loaded and the service is not shutting down."""
        if draining.is_set():
            return False
        try:
            self._service.champions.current()
        except ModelError:
            # A store may have nothing but models with names of their own.
            return self._service.models.is_ready()
        return True

    def outbox_status(self) -> OutboxStatus | None:
        """Return how the outbox of webhooks stood when it was read last."""
        return self._outbox.status

    def stop(self) -> None:
        """Record what is still in memory, and sign for the last entries."""
        self._housekeeper.stop()


def build_service(environment: Mapping[str, str]) -> object:
    """Build the service that BentoML runs.

    ``/v1`` is our app; ``/livez`` and ``/readyz`` are BentoML's.

    Parameters
    ----------
    environment : mapping
        The environment of the service.

    Returns
    -------
    bentoml.Service
        What `bentoml serve` looks for.
    """
    n_workers = int(environment.get("OBLIGOR_WORKERS", "1"))
    guard_connections()
    drain_before_exit(float(environment.get("OBLIGOR_DRAIN_S", DRAIN_S)))
    app = create_app(new_request_id=lambda: os.urandom(16).hex())

    @bentoml.service(
        name="obligor",
        workers=n_workers,
        traffic={"timeout": TIMEOUT_S},
        metrics={"enabled": False},
        tracing={"sample_rate": 0.0, "excluded_urls": ".*"},
        logging={"access": {"enabled": False}},
    )
    @bentoml.asgi_app(app, path="/v1")
    class ObligorService:
        def __init__(self) -> None:
            self.process = ServingProcess(app, environment, n_workers)

        @bentoml.on_shutdown
        def stop(self) -> None:
            self.process.stop()

        def __is_ready__(self) -> bool:
            return self.process.is_ready()

    def outbox_status() -> OutboxStatus | None:
        read_status = getattr(app.state, "outbox_status", None)
        return read_status() if read_status is not None else None

    ObligorService.add_asgi_middleware(  # type: ignore[attr-defined]
        PathGuard, outbox_status=outbox_status
    )
    return ObligorService


def tune_interpreter() -> None:
    """Keep the threads' switches and the garbage collector from delaying answers."""
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    gc.collect()
    # What is loaded now stays loaded: full collections need not look at it.
    gc.freeze()
    gc.set_threshold(YOUNGEST_GENERATION)


# BentoML finds a service by importing a module and reading a variable of it, in the
# parent and in every worker. It accepts no factory, and uvicorn chooses its protocol
# before BentoML creates the class: so this is the one place that works at import.
ObligorService = build_service(os.environ)
