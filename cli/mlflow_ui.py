"""The command that opens MLflow's pages on a store."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from obligor.cli.arguments import Store, command_context, console, with_options

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True)
class MlflowOptions:
    """The options of `obligor mlflow`."""

    port: Annotated[int, typer.Option(min=1, max=65535, help="Port")] = 5000
    store: Store = Path("store")


@with_options(MlflowOptions)
def mlflow(options: MlflowOptions) -> None:
    """Open MLflow's pages on the runs and versions of a store, on this machine only.

    Example: `obligor mlflow --port 5000`
    """
    from obligor.training.lifecycle.mlflow_store import require_store, tracking_uri

    require_store(options.store)
    uri = tracking_uri(options.store)
    # MLflow has no login of its own: it listens to this machine and to no other.
    address = f"http://{LOOPBACK}:{options.port}"
    console.print(f"MLflow on {options.store}: {address} (Ctrl-C ends it)")
    console.print(f'in Python: mlflow.set_tracking_uri("{uri}")', soft_wrap=True)
    command = [
        sys.executable,
        *("-m", "mlflow", "server"),
        *("--backend-store-uri", uri),
        *("--host", LOOPBACK),
        *("--port", str(options.port)),
        *("--workers", "1"),
    ]
    environment = dict(command_context().environment)
    # MLflow starts the server by its name, which is beside this Python.
    folders = [str(Path(sys.executable).parent), environment.get("PATH", "")]
    environment["PATH"] = os.pathsep.join(folders)
    sys.stdout.flush()
    os.execve(command[0], command, environment)
