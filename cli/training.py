"""The commands that train and evaluate, on a ledger or on a table of applications."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from obligor.cli import tables
from obligor.cli.arguments import (
    AsJson,
    ConfigFile,
    Fresh,
    ModelName,
    OptionalMapping,
    Quiet,
    ReportFolder,
    Rules,
    SpecFile,
    Store,
    TableFile,
    command_context,
    console,
    error_console,
    print_json,
    required_mapping,
    with_options,
)
from obligor.cli.models import chosen_version, print_frame, print_notes
from obligor.cli.watching import watched, watching
from obligor.policy.rulebooks.rulebook import RULES

if TYPE_CHECKING:
    from obligor.metrics.statistics import Interval
    from obligor.training.runs.ledger_run import Trained

FEATURES = "features by as-of date"
INTERRUPTED = 130  # what a shell reports of a command that Ctrl-C ends


@dataclass(frozen=True)
class TrainOptions:
    """The options of `obligor train`."""

    mapping: OptionalMapping = None
    table: TableFile = None
    spec: SpecFile = None
    config: ConfigFile = None
    seed: Annotated[
        int,
        typer.Option(help="Seed for a table; a ledger's is in its configuration"),
    ] = 7
    store: Store = Path("store")
    report: ReportFolder = Path("report")
    card: Annotated[
        Path | None,
        typer.Option(help="TOML file of answers in the model card: owner = '...'"),
    ] = None
    tune: Annotated[
        int,
        typer.Option(min=0, help="Trials of a parameter search; it can be resumed"),
    ] = 0
    rejects: Annotated[
        tables.Rejects,
        typer.Option(
            help="How refused applicants are used in training; "
            "the report shows the effect"
        ),
    ] = "none"
    rules: Rules = RULES
    name: ModelName = None
    fresh: Fresh = False
    quiet: Quiet = False
    as_json: AsJson = False

    @property
    def is_quiet(self) -> bool:
        """Whether to show no bar."""
        return self.quiet or self.as_json


@with_options(TrainOptions)
def train(options: TrainOptions) -> None:
    """Train, evaluate on later rows, and register the model as the challenger.

    Example: `obligor train ledger/mapping.toml
    --config data/samples/receivables_us_2019_config.toml`

    Example: `obligor train --table applications.csv --spec spec.toml`

    A run that was stopped (Ctrl-C, or killed) continues if the same command is given
    again: what was fitted is kept in the store until the run is registered.
    """
    try:
        run_training(options)
    except KeyboardInterrupt:
        error_console.print(
            "interrupted; the same command continues where it stopped",
            highlight=False,
        )
        raise typer.Exit(INTERRUPTED) from None


def run_training(options: TrainOptions) -> None:
    """Train on a table if one is named, otherwise on a ledger."""
    if options.table is None:
        _train_on_ledger(options)
    else:
        _train_on_table(options, options.table)


def _train_on_table(options: TrainOptions, table: Path) -> None:
    from obligor.model.bundle import MODEL_NAME
    from obligor.training.validation.report import read_card

    tables.train(
        tables.TableTraining(
            table=table,
            spec=options.spec,
            store=options.store,
            report=options.report,
            seed=options.seed,
            card=read_card(options.card),
            trials=options.tune,
            rejects=options.rejects,
            name=options.name or MODEL_NAME,
            is_fresh=options.fresh,
            is_quiet=options.is_quiet,
            as_json=options.as_json,
        )
    )


def _train_on_ledger(options: TrainOptions) -> None:
    from obligor.model.bundle import MODEL_NAME
    from obligor.training.lifecycle.run_settings import RunSettings
    from obligor.training.runs.ledger_run import train as train_on_ledger
    from obligor.training.samples.config import read_config
    from obligor.training.validation.report import read_card

    context = command_context()
    ledger = context.ledger_with_outcomes(required_mapping(options.mapping))
    with watching(options.is_quiet) as watch:
        settings = RunSettings(
            store=options.store,
            report=options.report,
            at=context.now(),
            card=read_card(options.card),
            rules=options.rules,
            name=options.name or MODEL_NAME,
            is_fresh=options.fresh,
            watch=watch,
        )
        trained = train_on_ledger(
            ledger,
            read_config(options.config),
            settings,
            progress=watched(FEATURES, watch),
            trials=options.tune,
        )
    if options.as_json:
        _print_ledger_json(trained)
        return
    print_figures(trained.figures, trained.peer, len(trained.split.test.rows))
    console.print(trained.materiality, markup=False)
    console.print(
        f"version [b]{trained.version}[/b], challenger; report: {trained.report}"
    )
    console.print(
        f'next: obligor promote {trained.version} --by "YOUR NAME" --because "WHY"'
    )


def _print_ledger_json(trained: Trained) -> None:
    figures = {name: vars(interval) for name, interval in trained.figures.items()}
    peer = {name: vars(interval) for name, interval in trained.peer.items()}
    print_json(
        {
            "version": trained.version,
            "chosen": trained.fit.candidates.chosen_name,
            "rows": len(trained.split.test.rows),
            "rows_learned_from": len(trained.split.train.rows),
            "figures": figures,
            "plain_lightgbm": peer,
            "sections": tables.verdicts(trained.sections),
            "materiality": trained.materiality,
            "report": str(trained.report),
        }
    )


@dataclass(frozen=True)
class EvaluateOptions:
    """The options of `obligor evaluate`."""

    mapping: OptionalMapping = None
    table: TableFile = None
    spec: SpecFile = None
    version: Annotated[
        str | None,
        typer.Option(help="Version in the registry; default the newest"),
    ] = None
    folds: Annotated[
        int,
        typer.Option(min=2, max=20, help="Folds of a table"),
    ] = 5
    repeats: Annotated[
        int,
        typer.Option(min=1, max=20, help="How often a table is split into folds"),
    ] = 1
    seed: Annotated[int, typer.Option(help="Seed of a table's folds and fits")] = 0
    config: ConfigFile = None
    store: Store = Path("store")
    rules: Rules = RULES
    name: ModelName = None
    quiet: Quiet = False
    as_json: AsJson = False


@with_options(EvaluateOptions)
def evaluate(options: EvaluateOptions) -> None:
    """Evaluate a registered model on a ledger, or all candidates on a table's folds.

    Plain LightGBM is evaluated on the same rows, for comparison.

    Example: `obligor evaluate ledger/mapping.toml --version 1 --json`

    With a table and a version, that version scores the table and nothing is trained;
    rows that it has learnt from are left out and counted.

    Example: `obligor evaluate --table applications.csv --spec spec.toml
    --folds 5 --repeats 1 --seed 0 --json`

    Example: `obligor evaluate --table later.csv --version champion --name cards`
    """
    if options.table is None:
        _evaluate_on_ledger(options)
        return
    if options.version is not None:
        _back_test(options, options.table, options.version)
        return
    tables.evaluate(
        tables.TableEvaluation(
            table=options.table,
            spec=options.spec,
            folds=options.folds,
            repeats=options.repeats,
            seed=options.seed,
            is_quiet=options.quiet or options.as_json,
            as_json=options.as_json,
        )
    )


def _back_test(
    options: EvaluateOptions,
    table: Path,
    chosen: str,
) -> None:
    from obligor.training.lifecycle.backtest import back_test

    registry = command_context().registry(options.store, options.name)
    version = chosen_version(registry, chosen)
    known = registry.known_model(version)
    data = tables.read_table_again(table, options.spec, known.model)
    result = back_test(known, data, options.seed)
    if options.as_json:
        print_json({"name": registry.name, **result.as_dict()})
        return
    print_notes(result.notes)
    shown = Table(
        "figure",
        f"version {version}",
        title=f"{result.rows:,} rows it has not learnt from, 95% intervals",
    )
    for name, interval in result.figures.items():
        shown.add_row(name, str(interval))
    console.print(shown)
    if len(result.months):
        print_frame(result.months.reset_index(), "by month of the application")


def _evaluate_on_ledger(options: EvaluateOptions) -> None:
    from obligor.training.runs.ledger_run import evaluate_model
    from obligor.training.samples.config import read_config, with_stored_default
    from obligor.training.samples.materiality import with_materiality
    from obligor.training.samples.sample import build_sample

    mapping = required_mapping(options.mapping)
    ledger = command_context().ledger_with_outcomes(mapping)
    registry = command_context().registry(options.store, options.name)
    version = chosen_version(registry, options.version or "latest")
    model = registry.model(version)
    config = with_materiality(
        with_stored_default(read_config(options.config), model.about.get("default")),
        ledger.observed_until,
        options.rules,
    )
    with watching(options.quiet or options.as_json) as watch:
        split = build_sample(ledger, config, watched(FEATURES, watch), model)
    ours, peer = evaluate_model(model, split, config)
    n_rows = len(split.test.rows)
    if not options.as_json:
        print_figures(ours, peer, n_rows)
        return
    figures = {name: vars(interval) for name, interval in ours.items()}
    print_json({"version": version, "rows": n_rows, "figures": figures})


def print_figures(
    ours: Mapping[str, Interval],
    peer: Mapping[str, Interval],
    n_rows: int,
) -> None:
    """Print a model's figures beside those of plain LightGBM.

    Parameters
    ----------
    ours : mapping of str to Interval
        The model's figures by name.
    peer : mapping of str to Interval
        Plain LightGBM's figures on the same rows.
    n_rows : int
        Number of rows they were computed on.
    """
    table = Table(
        "figure",
        "this model",
        "plain LightGBM",
        title=f"out of time, {n_rows:,} rows, 95% intervals",
    )
    for name, interval in ours.items():
        table.add_row(name, str(interval), str(peer[name]))
    console.print(table)
