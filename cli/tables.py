"""The commands on tables of applications: describe, train, evaluate."""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeVar

import typer
from rich.markup import escape
from rich.table import Table

from obligor.cli.arguments import (
    AsJson,
    command_context,
    console,
    error_console,
    print_json,
    with_options,
)
from obligor.cli.watching import watched, watching

if TYPE_CHECKING:
    from obligor.features.applications import Applications
    from obligor.model.pd_model import PdModel
    from obligor.training.runs.table_run import TrainedTable
    from obligor.training.validation.subject import Section
    from obligor.training.validation.windows import Window

app = typer.Typer(no_args_is_help=True, help="Describe a table of applications.")
Rejects = Literal["none", "augmentation", "fuzzy"]
Item = TypeVar("Item")
WITH_INTERVALS = ("auc", "brier", "log_loss", "calibration_slope")
SHOWN = ("auc", "gini", "ks", "brier", "log_loss", "ece", "calibration_slope")


@dataclass(frozen=True)
class InferOptions:
    """The options of `obligor spec infer`."""

    file: Annotated[
        Path,
        typer.Argument(help="CSV, Parquet or Excel, a row per applicant"),
    ]
    target: Annotated[
        str | None,
        typer.Option(help="Column of the outcome"),
    ] = None
    bad: Annotated[
        str | None,
        typer.Option(help="Value of that column that is a default"),
    ] = None
    path: Annotated[
        Path | None,
        typer.Option("--out", help="File for the spec; default the screen"),
    ] = None
    as_json: AsJson = False


@app.command()
@with_options(InferOptions)
def infer(options: InferOptions) -> None:
    """Write a first spec of a table.

    It warns of leaks, identifiers, codes among numbers and duplicate rows.

    Example: `obligor spec infer applications.csv --target default --out spec.toml`
    """
    from obligor.features.table_files import read_table_file
    from obligor.training.runs.infer_spec import infer_spec

    table_file = read_table_file(options.file)
    today = command_context().now().date()
    inferred = infer_spec(
        table_file.frame,
        options.target,
        options.bad,
        today,
    )
    print_warnings([*table_file.notes, *inferred.warnings])
    text = inferred.text(options.file.stem)
    if options.as_json:
        warnings = [*table_file.notes, *inferred.warnings]
        print_json({"spec": tomllib.loads(text), "warnings": warnings})
    elif options.path is None:
        typer.echo(text, nl=False)
    if options.path is None:
        return
    options.path.write_text(text, encoding="utf-8")
    error_console.print(
        f"wrote {options.path}; read it, then: "
        f"obligor train --table {options.file} --spec {options.path}"
    )


def read_table(table: Path, spec: Path | None) -> Applications:
    """Read a table under its spec, or under an inferred one, with its warnings."""
    from obligor.features.applications import applications
    from obligor.features.table_files import read_table_file
    from obligor.features.table_findings import table_findings
    from obligor.features.table_spec import Spec, read_spec
    from obligor.training.runs.infer_spec import infer_spec

    table_file = read_table_file(table)
    print_warnings(table_file.notes)
    today = command_context().now().date()
    if spec is not None:
        data = applications(table_file.frame, read_spec(spec))
        print_warnings(data.notes)
        print_warnings(finding.sentence() for finding in table_findings(data, today))
        return data
    inferred = infer_spec(table_file.frame, today=today)
    print_warnings(inferred.warnings)
    fields = tomllib.loads(inferred.text(table.stem))
    return applications(table_file.frame, Spec.model_validate(fields))


def read_table_again(
    table: Path,
    spec: Path | None,
    model: PdModel,
) -> Applications:
    """Read a table under the spec of a registered model, or under another one.

    Parameters
    ----------
    table : Path
        The file.
    spec : Path, optional
        Replaces the spec that the model was trained under.
    model : PdModel
        A model of a table.
    """
    from obligor.features.table_files import read_table_file
    from obligor.features.table_spec import read_spec
    from obligor.training.lifecycle.table_rows import read_again, spec_of

    own_spec = spec_of(model)
    if spec is None and own_spec is None:
        return read_table(table, None)
    table_file = read_table_file(table)
    print_warnings(table_file.notes)
    chosen = own_spec if spec is None else read_spec(spec)
    assert chosen is not None
    data = read_again(table_file.frame, chosen)
    print_warnings(data.notes)
    return data


def print_warnings(warnings: Iterable[str]) -> None:
    """Print each warning on a line of the error stream."""
    for warning in warnings:
        error_console.print(
            f"[yellow]warning[/yellow] {escape(warning)}",
            highlight=False,
        )


@dataclass(frozen=True)
class TableTraining:
    """What one training on a table is given.

    Attributes
    ----------
    table : Path
        Table of applications.
    spec : Path, optional
        Describes its columns; inferred if not given.
    store, report : Path
        Folder of the registry, and of the report.
    seed : int
        Seed of folds and fits.
    card : mapping of str to str
        Answers in the model card.
    trials : int
        Trials of a parameter search.
    rejects : str
        How refused applicants are used.
    name : str
        Name of the model in the store.
    is_fresh : bool
        Fit everything anew, also what an interrupted run has fitted.
    is_quiet : bool
        Show no bar.
    as_json : bool
        Print one JSON object.
    """

    table: Path
    spec: Path | None
    store: Path
    report: Path
    seed: int
    card: dict[str, str]
    trials: int
    rejects: Rejects
    name: str
    is_fresh: bool = False
    is_quiet: bool = False
    as_json: bool = False


def train(settings: TableTraining) -> None:
    """Train all candidates, print their figures on later rows, register the chosen."""
    applications = read_table(settings.table, settings.spec)
    n_refused = len(applications.refused)
    if n_refused and settings.rejects == "none":
        error_console.print(
            f"{n_refused:,} refused applicants are left out; "
            "--rejects fuzzy or --rejects augmentation includes them",
            highlight=False,
        )
    trained = _watch_training(applications, settings)
    for finding in (*trained.notes, *trained.fitted.findings):
        error_console.print(escape(finding), highlight=False)
    _write_figures(trained, settings.report)
    if settings.as_json:
        print_json(_as_document(trained, settings, applications))
        return
    _print_candidates(trained)
    if trained.windows:
        _print_windows(trained)
    _print_outcome(trained, settings)


def _watch_training(data: Applications, settings: TableTraining) -> TrainedTable:
    from obligor.training.lifecycle.run_settings import RunSettings
    from obligor.training.runs.table_run import TableChoices, train_table

    fingerprint = hashlib.sha256(settings.table.read_bytes()).hexdigest()
    choices = TableChoices(
        seed=settings.seed,
        trials=settings.trials,
        inference=None if settings.rejects == "none" else settings.rejects,
    )
    with watching(settings.is_quiet) as watch:
        run_settings = RunSettings(
            store=settings.store,
            report=settings.report,
            at=command_context().now(),
            card=settings.card,
            name=settings.name,
            is_fresh=settings.is_fresh,
            watch=watch,
        )
        return train_table(data, run_settings, choices, fingerprint)


def _as_document(
    trained: TrainedTable,
    settings: TableTraining,
    data: Applications,
) -> dict[str, object]:
    candidates = trained.fitted.candidates
    return {
        "version": trained.version,
        "name": settings.name,
        "chosen": candidates.chosen_name,
        "because": candidates.choice.because,
        "weights": dict(candidates.weights),
        "rows": trained.rows,
        "figures": _figures_by_candidate(trained),
        "origins": [_window_document(window) for window in trained.windows],
        "sections": verdicts(trained.sections),
        "notes": [*data.notes, *trained.notes, *trained.fitted.findings],
        "report": str(trained.report),
        "store": str(settings.store),
    }


def _window_document(window: Window) -> dict[str, object]:
    return {
        "from": window.name,
        "rows_learned_from": window.learned,
        "rows": window.measured,
        "figures": {name: vars(figure) for name, figure in window.figures.items()},
    }


def verdicts(sections: Iterable[Section]) -> dict[str, object]:
    """Return the verdict of each section of a report, for JSON."""
    return {
        section.id: {"verdict": section.verdict, "summary": section.summary}
        for section in sections
    }


def _print_windows(trained: TrainedTable) -> None:
    table = Table(
        "origin",
        "rows",
        *WITH_INTERVALS,
        title="each origin fitted on all earlier rows, 95% intervals",
    )
    for window in trained.windows:
        figures = [str(window.figures[figure]) for figure in WITH_INTERVALS]
        table.add_row(window.name, f"{window.measured:,}", *figures)
    console.print(table)


def _print_candidates(trained: TrainedTable) -> None:
    table = Table(
        "candidate",
        *WITH_INTERVALS,
        title=f"{trained.rows:,} rows not used in training, 95% intervals",
    )
    for name, figures in trained.figures.items():
        is_chosen = name == trained.fitted.candidates.chosen_name
        label = f"[b]{name}" if is_chosen else name
        table.add_row(label, *(str(figures[figure]) for figure in WITH_INTERVALS))
    console.print(table)


def _write_figures(trained: TrainedTable, report: Path) -> None:
    candidates = trained.fitted.candidates
    trained.fitted.points().to_csv(report / "scorecard.csv", index=False)
    summary = {
        "version": trained.version,
        "chosen": candidates.chosen_name,
        "because": candidates.choice.because,
        "weights": dict(candidates.weights),
        "rungs": _figures_by_candidate(trained),
    }
    text = json.dumps(summary, indent=1)
    (report / "figures.json").write_text(text, encoding="utf-8")


def _figures_by_candidate(trained: TrainedTable) -> dict[str, object]:
    by_candidate = dict[str, object]()
    for name, figures in trained.figures.items():
        by_candidate[name] = {
            figure: vars(interval) for figure, interval in figures.items()
        }
    return by_candidate


def _print_outcome(trained: TrainedTable, settings: TableTraining) -> None:
    candidates = trained.fitted.candidates
    console.print(candidates.choice.because, highlight=False)
    for section in trained.sections:
        if section.verdict in ("look", "bad"):
            console.print(
                f"[b]{section.verdict}[/b] {section.title}: {escape(section.summary)}",
                highlight=False,
            )
    report = settings.report
    console.print(
        f"{report}: {trained.report.name}, scorecard.csv (points), figures.json"
    )
    console.print(
        f"version [b]{trained.version}[/b], {candidates.chosen_name}, challenger"
    )
    console.print(
        f'next: obligor promote {trained.version} --by "YOUR NAME" --because "WHY" '
        f"--store {settings.store}"
    )


@dataclass(frozen=True)
class TableEvaluation:
    """What one evaluation on a table's folds is given.

    Attributes
    ----------
    table : Path
        Table of applications.
    spec : Path, optional
        Describes its columns; inferred if not given.
    folds, repeats : int
        Number of folds, and how often the table is split.
    seed : int
        Seed of folds and fits.
    is_quiet : bool
        Show no bar.
    as_json : bool
        Print one JSON object.
    """

    table: Path
    spec: Path | None
    folds: int
    repeats: int
    seed: int
    is_quiet: bool
    as_json: bool


def evaluate(settings: TableEvaluation) -> None:
    """Print the out-of-fold figures of every candidate and of the chosen one."""
    from obligor.training.runs.table_evaluation import evaluate_table

    data = read_table(settings.table, settings.spec)
    with watching(settings.is_quiet) as watch:

        def progress(folds: Iterable[Item], n_folds: int) -> Iterable[Item]:
            return watched("folds", watch, n_folds)(folds)

        evaluation = evaluate_table(
            data,
            settings.folds,
            settings.repeats,
            settings.seed,
            progress,
        )
    if settings.as_json:
        print_json(evaluation)
        return
    table = Table(
        "model",
        *SHOWN,
        title=f"out of fold, {evaluation['rows']:,} rows, {evaluation['seconds']} s",
    )
    for name, figures in evaluation["models"].items():
        table.add_row(name, *(f"{figures[figure]:.4f}" for figure in SHOWN))
    console.print(table)
    console.print(f"chosen in the folds: {evaluation['chosen']}")
