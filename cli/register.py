"""The command that registers a model which was made elsewhere."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from obligor.cli.arguments import (
    ModelName,
    ReportFolder,
    SpecFile,
    Store,
    command_context,
    console,
    error_console,
    with_options,
)
from obligor.cli.tables import read_table
from obligor.model.bundle import MODEL_NAME

if TYPE_CHECKING:
    from obligor.training.outside.register import Registered


@dataclass(frozen=True)
class RegisterOptions:
    """The options of `obligor register`."""

    model: Annotated[
        Path,
        typer.Option(
            help="LightGBM text, XGBoost JSON, coefficients as JSON or CSV, or a "
            "scorecard as CSV"
        ),
    ]
    table: Annotated[
        Path,
        typer.Option(help="Table with outcomes that the model has not learnt from"),
    ]
    spec: SpecFile = None
    predictions: Annotated[
        str | None,
        typer.Option(help="Column with the PDs that the model gave elsewhere"),
    ] = None
    columns: Annotated[
        str | None,
        typer.Option(help="Its columns in their order, if the file names none: a,b,c"),
    ] = None
    base_score: Annotated[
        float, typer.Option(help="Of a scorecard: points at the base odds")
    ] = 600
    base_odds: Annotated[
        float, typer.Option(min=1e-6, help="Of a scorecard: odds of good there")
    ] = 50
    pdo: Annotated[
        float, typer.Option(help="Of a scorecard: points that double the odds")
    ] = 20
    name: ModelName = None
    store: Store = Path("store")
    report: ReportFolder = Path("report")


@with_options(RegisterOptions)
def register(options: RegisterOptions) -> None:
    """Register a model that was made elsewhere, as a challenger.

    Its columns and its PDs are checked, it is validated on the table like a model of
    ours, and explained and served exactly. Nothing in the file is run.

    Example: `obligor register --model model.json --table later.csv --spec spec.toml
    --predictions pd`
    """
    from obligor.training.lifecycle.run_settings import RunSettings
    from obligor.training.outside.points_csv import PointScale
    from obligor.training.outside.read_model import read_outside_model
    from obligor.training.outside.register import register as register_model

    scale = PointScale(options.base_score, options.base_odds, options.pdo)
    outside = read_outside_model(options.model, scale)
    if options.columns is not None:
        names = tuple(name.strip() for name in options.columns.split(","))
        outside = replace(outside, columns=names)
    settings = RunSettings(
        store=options.store,
        report=options.report,
        at=command_context().now(),
        name=options.name or MODEL_NAME,
    )
    registered = register_model(
        outside,
        read_table(options.table, options.spec),
        settings,
        options.predictions,
        {
            "model_sha256": _sha256(options.model),
            "data_sha256": _sha256(options.table),
        },
    )
    console.print(f"{outside.kind}, {len(outside.columns)} columns")
    _print_registered(registered, options)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _print_registered(registered: Registered, options: RegisterOptions) -> None:
    for note in registered.notes:
        error_console.print(escape(note), highlight=False)
    if registered.largest_gap is None:
        error_console.print(
            "its PDs were not compared with those it gave elsewhere: --predictions "
            "names their column",
            highlight=False,
        )
    else:
        console.print(
            f"its PDs are those of {options.predictions}, up to "
            f"{registered.largest_gap:.1e}",
            highlight=False,
        )
    for name in ("auc", "brier", "log_loss", "calibration_slope"):
        console.print(f"{name} {registered.figures[name]}", highlight=False)
    console.print(
        f"version [b]{registered.version}[/b], challenger, on {registered.rows:,} test "
        f"rows; report: {registered.report}"
    )
    console.print(
        f'next: obligor promote {registered.version} --by "YOUR NAME" --because "WHY" '
        f"--store {options.store}"
    )
