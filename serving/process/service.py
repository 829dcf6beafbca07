"""The BentoML service: one process that answers, explains and records (the rim: clock, ids, environment)."""

from __future__ import annotations

import gc
import logging
import os
import sys
import uuid
from datetime import UTC, datetime

os.environ.setdefault("BENTOML_DO_NOT_TRACK", "True")
os.environ.setdefault(
    "OMP_NUM_THREADS", "1"
)  # one row on many threads took 7.7 ms under load instead of 0.06

import bentoml

from obligor.errors import ModelError
from obligor.record.housekeeper import Housekeeper
from obligor.serving.api.routes import create_app, use_engine
from obligor.serving.assembly import (
    build_engine,
    build_gate,
    build_shadow,
    housekeeping_tasks,
)
from obligor.serving.process.connections import (
    drain_before_exit,
    draining,
    guard_connections,
)
from obligor.serving.process.path_guard import PathGuard
from obligor.serving.process.workers import WorkerRegistry
from obligor.serving.settings import Settings

WORKERS = int(os.environ.get("OBLIGOR_WORKERS", "1"))
DRAIN_S = float(
    os.environ.get("OBLIGOR_DRAIN_S", "6")
)  # longer than uvicorn keeps an idle connection
guard_connections()
drain_before_exit(DRAIN_S)
YOUNGEST = 50_000  # objects that may be made before the collector looks at them


def log_to_stdout(level: str) -> None:
    """Write our own lines, the access log among them; BentoML shows warnings only."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s")
    )
    ours = logging.getLogger("obligor")
    ours.handlers, ours.propagate = [handler], False
    ours.setLevel(level)


app = create_app(new_request_id=lambda: os.urandom(16).hex())


@bentoml.service(
    name="obligor",
    workers=WORKERS,
    traffic={"timeout": 15},
    metrics={"enabled": False},
    tracing={"sample_rate": 0.0, "excluded_urls": ".*"},
    logging={"access": {"enabled": False}},
)
@bentoml.asgi_app(app, path="/v1")
class ObligorService:
    """One BentoML service; `/v1` is the app of `serving.api`, `/livez` and `/readyz` are BentoML's."""

    def __init__(self) -> None:
        settings = Settings.of(os.environ)
        log_to_stdout(os.environ.get("OBLIGOR_LOG", "INFO"))
        self.engine = build_engine(
            settings,
            now=lambda: datetime.now(UTC),
            new_id=lambda: str(uuid.uuid4()),
            random=os.urandom,
        )
        gate = build_gate(self.engine, os.environ)
        use_engine(app, self.engine, gate)
        crew = WorkerRegistry(settings.store / "workers", WORKERS)
        crew.join(str(os.getpid()))
        app.state.metrics.watch_workers(crew.alive, crew.wanted)
        shadow = build_shadow(self.engine, settings)
        self.housekeeper = Housekeeper(housekeeping_tasks(self.engine, gate, shadow))
        self.housekeeper.start()
        sys.setswitchinterval(
            0.0005
        )  # a model that loads in a thread of its own must not hold up requests
        gc.collect()
        gc.freeze()  # what is loaded now stays: full collections need not walk it
        gc.set_threshold(
            YOUNGEST
        )  # a decision makes thousands of objects, of which none is in a cycle

    @bentoml.on_shutdown
    def last_checkpoint(self) -> None:
        """Give the last entries their place and sign for them before the process ends."""
        self.housekeeper.stop()

    def __is_ready__(self) -> bool:
        """Ready once a champion is loaded, until the service is told to end."""
        if draining.is_set():
            return False
        try:
            self.engine.champions.current()
        except ModelError:
            return False
        return True


ObligorService.add_asgi_middleware(PathGuard)  # type: ignore[attr-defined]
