"""A small store, and the real service over it: what every reliability test begins with."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import psutil

from obligor.data.store import LedgerStore
from obligor.data.synthetic import simulate_ledger
from obligor.decisions.trial import ROOT
from obligor.serving.process.launch import serve_command, serve_environment, stop, wait
from obligor.signing import release_signer
from obligor.training.lifecycle.registry import Approval, Registry
from obligor.training.lifecycle.run_settings import RunSettings
from obligor.training.runs.ledger_run import train
from obligor.training.samples.config import TrainingConfig

KEY = "reliability-admin-key-of-some-length"
HEADERS = {"Authorization": f"Bearer {KEY}"}
CUSTOMERS = 600


def prepare(store: Path) -> None:
    """A small model and ledger."""
    simulation = simulate_ledger(CUSTOMERS, 30, seed=5)
    config = TrainingConfig.model_validate(
        {"bootstrap_rounds": 20, "model": {"max_trees": 60}}
    )
    now = datetime.now(UTC)
    settings = RunSettings(store, store / "report", now)
    trained = train(simulation.ledger, config, settings)
    Registry(store).promote(
        trained.version,
        Approval("reliability", "test", now),
        release_signer(store, None, os.urandom),
        force=True,
        second="others",
    )
    LedgerStore(f"sqlite:///{store}/ledger.db").write(simulation.ledger)


def environment_of(store: Path, **more: str) -> dict[str, str]:
    """The environment of a service over a store."""
    return {
        **os.environ,
        "OBLIGOR_STORE": str(store),
        "OBLIGOR_ADMIN_KEY": KEY,
        "OBLIGOR_LOG": "WARNING",
        "OBLIGOR_DRAIN_S": "0",
        **more,
    }


def start(environment: dict[str, str], port: int, log: Path) -> subprocess.Popen[bytes]:
    """The service in a process group of its own."""
    with log.open("ab") as output:
        return subprocess.Popen(
            serve_command("127.0.0.1", port),
            env=serve_environment(environment),
            cwd=ROOT,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


def family(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """The parent and all that came from it: BentoML's workers are in process groups of their own."""
    parent = psutil.Process(process.pid)
    return [parent, *parent.children(recursive=True)]


def workers(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """The processes that answer."""
    found = []
    for one in family(process):
        with suppress(psutil.Error):  # one that was killed a moment ago
            found += (
                [one]
                if "_bentoml_impl.worker.service" in " ".join(one.cmdline())
                else []
            )
    return found


@contextmanager
def running(
    environment: dict[str, str], port: int, log: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """The service until the block ends."""
    process = start(environment, port, log)
    try:
        wait(f"http://127.0.0.1:{port}", process, log, 120)
        yield process
    finally:
        stop(process)
