"""A small store and the real service on it, which every program here starts with."""

from __future__ import annotations

import argparse
import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import psutil

from obligor.data.store import LedgerStore
from obligor.data.synthetic import simulate_ledger
from obligor.serving.process.launch import serve_command, serve_environment, stop, wait
from obligor.signing import release_signer
from obligor.training.lifecycle.registry import Approval, Registry
from obligor.training.lifecycle.run_settings import RunSettings
from obligor.training.runs.ledger_run import train
from obligor.training.samples.config import TrainingConfig

ROOT = Path(__file__).parents[1]
KEY = "reliability-admin-key-of-some-length"
HEADERS = {"Authorization": f"Bearer {KEY}"}
CUSTOMERS = 800  # with fewer, too few rows to train on are in default
MONTHS = 30
PATIENCE_S = 120


def argument_parser(docstring: str | None) -> argparse.ArgumentParser:
    """Return a parser with the option that every program has."""
    parser = argparse.ArgumentParser(
        description=docstring,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", action="store_true", help="print the bars as JSON")
    return parser


def prepare(store: Path) -> None:
    """Train a small model, promote it, and load its ledger."""
    simulation = simulate_ledger(CUSTOMERS, MONTHS, seed=5)
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


def environment_of(store: Path, **settings: str) -> dict[str, str]:
    """Return the environment of a service on a store, with further settings."""
    return {
        **os.environ,
        "OBLIGOR_STORE": str(store),
        "OBLIGOR_ADMIN_KEY": KEY,
        "OBLIGOR_LOG": "WARNING",
        "OBLIGOR_DRAIN_S": "0",
        **settings,
    }


def start(
    environment: Mapping[str, str],
    port: int,
    log: Path,
) -> subprocess.Popen[bytes]:
    """Start the service in a process group of its own.

    Parameters
    ----------
    environment : mapping
        The whole environment of the process.
    port : int
        The port, on 127.0.0.1.
    log : Path
        The file its output is appended to.
    """
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
    """Return a process and its descendants.

    BentoML's workers are in process groups of their own.
    """
    parent = psutil.Process(process.pid)
    return [parent, *parent.children(recursive=True)]


def workers(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """Return the processes that answer."""
    answering = []
    for member in family(process):
        # It may have been killed a moment ago.
        with suppress(psutil.Error):
            if "_bentoml_impl.worker.service" in " ".join(member.cmdline()):
                answering.append(member)
    return answering


def worker_ids(process: subprocess.Popen[bytes]) -> set[int]:
    """Return the process ids of the workers."""
    return {worker.pid for worker in workers(process)}


@contextmanager
def running(
    environment: Mapping[str, str],
    port: int,
    log: Path,
) -> Iterator[subprocess.Popen[bytes]]:
    """Run the service until the block ends.

    Parameters
    ----------
    environment : mapping
        The whole environment of the process.
    port : int
        The port, on 127.0.0.1.
    log : Path
        The file its output is appended to.
    """
    process = start(environment, port, log)
    try:
        wait(f"http://127.0.0.1:{port}", process, log, PATIENCE_S)
        yield process
    finally:
        stop(process)
