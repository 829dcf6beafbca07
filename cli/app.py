"""The command line: the list of commands, and what happens to an error."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from obligor.cli import (
    audit,
    cases,
    customers,
    decide,
    demo,
    forecasts,
    keys,
    ledger,
    mapping,
    mlflow_ui,
    models,
    monitoring,
    policy,
    portfolio,
    register,
    scoring,
    tables,
    training,
    webhooks,
)
from obligor.cli.arguments import Store, command_context, error_console, with_options
from obligor.errors import ObligorError

QUIET = {
    "BENTOML_DO_NOT_TRACK": "True",
    # LightGBM's idle threads must not burn the time of the others.
    "OMP_WAIT_POLICY": "PASSIVE",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_CONFIGURE_LOGGING": "false",
    # Pictures are files: no window system is asked for.
    "MPLBACKEND": "Agg",
}

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)


@app.callback()
def configure() -> None:
    """Credit risk for companies that sell on credit.

    From a receivables ledger to a recorded decision.
    """
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)


@dataclass(frozen=True)
class ServeOptions:
    """The options of `obligor serve`."""

    host: Annotated[str, typer.Option(help="Address to listen on")] = "127.0.0.1"
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port")] = 3000
    store: Store = Path("store")


@with_options(ServeOptions)
def serve(options: ServeOptions) -> None:
    """Run the service in the foreground.

    Example: `obligor serve --port 3000`
    """
    from obligor.serving.process.launch import serve_command, serve_environment

    command = serve_command(options.host, options.port)
    context = command_context()
    # A setting that is not valid is an error here, not a traceback in every worker.
    context.settings(options.store)
    environment = context.environment
    # BentoML takes the place of this process, so that whoever started it (systemd, a
    # container as process 1) signals BentoML itself.
    os.execve(
        command[0],
        command,
        serve_environment(
            {**environment, "OBLIGOR_STORE": str(options.store.resolve())}
        ),
    )


app.command()(ledger.simulate)
app.command("map")(mapping.map_lists)
app.command()(ledger.check)
app.command()(ledger.load)
app.command()(training.train)
app.command()(training.evaluate)
app.command()(models.promote)
app.command()(models.recalibrate)
app.command()(monitoring.monitor)
app.command()(models.shadow)
app.command()(models.compare)
app.command()(models.models)
app.command()(register.register)
app.command()(scoring.score)
app.command()(mlflow_ui.mlflow)
app.command()(serve)
app.command()(decide.decide)
app.command()(demo.demo)
app.command()(portfolio.review)
app.command()(forecasts.cash)
app.command()(forecasts.lgd)
app.command()(cases.cases)
app.command()(customers.customer)
app.command()(audit.doctor)
app.add_typer(policy.app, name="policy")
app.add_typer(audit.app, name="audit")
app.add_typer(keys.app, name="keys")
app.add_typer(webhooks.app, name="webhooks")
app.add_typer(tables.app, name="spec")


def main() -> None:
    """Run a command; an error of ours, or of a file, is one line and exit code 2."""
    try:
        app()
    except (ObligorError, OSError) as error:
        error_console.print(f"[red]error:[/red] {escape(str(error))}", highlight=False)
        sys.exit(2)
