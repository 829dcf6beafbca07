"""The commands for tables of applications: parses, calls `training`, prints; clock and environment are at the rim."""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import track
from rich.table import Table

if TYPE_CHECKING:
    from obligor.features.applications import Applications
    from obligor.training.runs.infer_spec import Inferred

app = typer.Typer(no_args_is_help=True, help="Describe a table of applications.")
Rejects = Literal["none", "augmentation", "fuzzy"]
out, told = Console(), Console(stderr=True)
WITH_INTERVALS = ("auc", "brier", "log_loss", "calibration_slope")
SHOWN = ("auc", "gini", "ks", "brier", "log_loss", "ece", "calibration_slope")


@app.command()
def infer(
    file: Annotated[
        Path, typer.Argument(help="CSV, Parquet or Excel, a row per applicant")
    ],
    target: Annotated[
        str | None, typer.Option(help="The column that says what happened")
    ] = None,
    bad: Annotated[str | None, typer.Option(help="Its value that is a default")] = None,
    path: Annotated[
        Path | None,
        typer.Option("--out", help="Where the spec goes; default the screen"),
    ] = None,
) -> None:
    """Write a first spec of a table, and warn of leaks, identifiers, codes and rows that are there twice.

    Example: `obligor spec infer applications.csv --target default --out spec.toml`
    """
    from obligor.features.applications import read_frame
    from obligor.training.runs.infer_spec import infer_spec

    found = infer_spec(read_frame(file), target, bad)
    _warn(found)
    if path is None:
        typer.echo(found.text(file.stem), nl=False)
    else:
        path.write_text(found.text(file.stem), encoding="utf-8")
        told.print(
            f"{path} is written; read it, then: obligor train --table {file} --spec {path}"
        )


def read(table: Path, spec: Path | None) -> Applications:
    """Read a table under its spec, or under an inferred one, with its warnings on stderr."""
    from obligor.features.applications import applications, read_frame
    from obligor.features.table_spec import Spec, read_spec
    from obligor.training.runs.infer_spec import infer_spec

    frame = read_frame(table)
    if spec is not None:
        return applications(frame, read_spec(spec))
    found = infer_spec(frame)
    _warn(found)
    return applications(
        frame, Spec.model_validate(tomllib.loads(found.text(table.stem)))
    )


def _warn(found: Inferred) -> None:
    for warning in found.warnings:
        told.print(f"[yellow]warning[/yellow] {escape(warning)}", highlight=False)


def train(
    table: Path,
    spec: Path | None,
    store: Path,
    report: Path,
    seed: int,
    card: dict[str, str],
    trials: int,
    rejects: Rejects,
) -> None:
    """Train the ladder on a table, print the figures of every rung on later rows, register the chosen one."""
    from obligor.training.runs.table_run import train_table

    data = read(table, spec)
    if len(data.refused) and rejects == "none":
        told.print(
            f"{len(data.refused):,} refused applicants are left out; --rejects fuzzy or augmentation lets them "
            "count",
            highlight=False,
        )
    fingerprint = hashlib.sha256(table.read_bytes()).hexdigest()
    with told.status(f"training on {len(data):,} applications"):
        trained = train_table(
            data,
            store,
            report,
            at=datetime.now(UTC),
            seed=seed,
            fingerprint=fingerprint,
            card=card,
            trials=trials,
            inference=None if rejects == "none" else rejects,
        )
    for finding in trained.fitted.findings:
        told.print(escape(finding), highlight=False)
    shown = Table(
        "rung",
        *WITH_INTERVALS,
        title=f"{trained.rows:,} rows it has not seen, 95% intervals",
    )
    for name, of in trained.figures.items():
        mark = "[b]" if name == trained.fitted.ladder.chosen else ""
        shown.add_row(f"{mark}{name}", *(str(of[figure]) for figure in WITH_INTERVALS))
    out.print(shown)
    ladder = trained.fitted.ladder
    trained.fitted.points().to_csv(report / "scorecard.csv", index=False)
    rungs = {
        name: {figure: vars(interval) for figure, interval in of.items()}
        for name, of in trained.figures.items()
    }
    said = {
        "version": trained.version,
        "chosen": ladder.chosen,
        "weights": dict(ladder.weights),
        "rungs": rungs,
    }
    (report / "figures.json").write_text(json.dumps(said, indent=1), encoding="utf-8")
    gain = ladder.gain
    out.print(
        f"the blend gains {gain[0]:.5f} [{gain[1]:.5f}, {gain[2]:.5f}] in log loss over the best rung below it"
    )
    for section in trained.sections:
        if section.verdict in ("look", "bad"):
            out.print(
                f"[b]{section.verdict}[/b] {section.title}: {escape(section.says)}",
                highlight=False,
            )
    out.print(f"{report}: {trained.report.name}, scorecard.csv (points), figures.json")
    out.print(
        f"version [b]{trained.version}[/b], {trained.fitted.ladder.chosen}, challenger"
    )
    out.print(
        f'next: obligor promote {trained.version} --by "YOUR NAME" --because "WHY" --store {store}'
    )


def evaluate(
    table: Path, spec: Path | None, folds: int, repeats: int, seed: int, as_json: bool
) -> None:
    """Print the out-of-fold figures of every rung and of what would be promoted."""
    from obligor.training.runs.table_run import evaluate_table

    def progress(found: Iterable[Any], n: int) -> Iterable[Any]:
        return track(found, "folds", n, console=told, transient=True)

    found = evaluate_table(read(table, spec), folds, repeats, seed, progress)
    if as_json:
        print(json.dumps(found))
        return
    shown = Table(
        "model",
        *SHOWN,
        title=f"out of fold, {found['rows']:,} rows, {found['seconds']} s",
    )
    for name, of in found["models"].items():
        shown.add_row(name, *(f"{of[figure]:.4f}" for figure in SHOWN))
    out.print(shown)
    out.print(f"chosen in the folds: {found['chosen']}")
