"""The commands on registered models: promote, recalibrate, monitor, shadow."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from obligor.cli.arguments import (
    ConfigFile,
    LedgerMapping,
    ModelVersion,
    OptionalMapping,
    ReportFolder,
    Rules,
    SpecFile,
    Store,
    TableFile,
    command_context,
    console,
    progress_bar,
    required_mapping,
    with_options,
)
from obligor.cli.tables import read_table
from obligor.errors import ModelError
from obligor.policy.rulebooks.rulebook import RULES

if TYPE_CHECKING:
    from obligor.model.pd_model import PdModel
    from obligor.training.lifecycle.monitor import Monitoring
    from obligor.training.lifecycle.registry import Registry
    from obligor.training.validation.subject import LabelledRows


@dataclass(frozen=True)
class PromoteOptions:
    """The options of `obligor promote`."""

    version: ModelVersion
    by: Annotated[str, typer.Option(help="Person who promotes the model")]
    because: Annotated[str, typer.Option(help="Reason, recorded")]
    force: Annotated[
        bool,
        typer.Option(help="Promote in spite of objections, which are recorded"),
    ] = False
    second: Annotated[
        str | None,
        typer.Option(help="Second person, required with --force"),
    ] = None
    store: Store = Path("store")


@with_options(PromoteOptions)
def promote(options: PromoteOptions) -> None:
    """Make a version the champion.

    A version that fails a gate is refused; each failed gate is named with its figures.

    Example: `obligor promote 1 --by "R. Modeler" --because "first model"`
    """
    run_promotion(options)


def run_promotion(options: PromoteOptions) -> None:
    """Promote a version and print who did, and against which objections."""
    from obligor.training.lifecycle.registry import Approval, Registry

    context = command_context()
    registry = Registry(options.store)
    promotion = registry.promote(
        _chosen_version(registry, options.version),
        Approval(options.by, options.because, context.now()),
        context.release_signer(options.store),
        force=options.force,
        second=options.second,
    )
    line = (
        f"version {promotion.version} is the champion, "
        f"by {promotion.by}: {promotion.because}"
    )
    if promotion.forced:
        objections = "; ".join(promotion.objections)
        line += f", forced with {promotion.second} against: {objections}"
    console.print(line)


@dataclass(frozen=True)
class RecalibrateOptions:
    """The options of `obligor recalibrate`."""

    version: ModelVersion
    mapping: OptionalMapping = None
    table: TableFile = None
    spec: SpecFile = None
    config: ConfigFile = None
    store: Store = Path("store")
    report: ReportFolder = Path("report")
    rules: Rules = RULES


@with_options(RecalibrateOptions)
def recalibrate(options: RecalibrateOptions) -> None:
    """Fit a new calibration on rows the model has not learnt from, without a refit.

    The result is registered as a challenger.

    Example: `obligor recalibrate 1 ledger/mapping.toml`
    """
    from obligor.training.lifecycle.recalibrate import recalibrate as fit_again
    from obligor.training.lifecycle.registry import Registry
    from obligor.training.lifecycle.run_settings import RunSettings

    registry = Registry(options.store)
    version = _chosen_version(registry, options.version)
    model = registry.model(version)
    recalibration = fit_again(
        version,
        _later_rows(options, model),
        RunSettings(options.store, options.report, command_context().now()),
        name=f"version {version}, recalibrated",
    )
    console.print(
        f"{recalibration.kind}: calibration slope {recalibration.before} before, "
        f"{recalibration.after} after, on later rows"
    )
    console.print(
        f"version [b]{recalibration.version}[/b], challenger; "
        f"report: {options.report}/model_report.html"
    )


def _later_rows(options: RecalibrateOptions, model: PdModel) -> LabelledRows:
    from obligor.training.lifecycle.recalibrate import rows_of_ledger, rows_of_table
    from obligor.training.samples.config import read_config
    from obligor.training.samples.materiality import with_materiality

    if options.table is not None:
        return rows_of_table(read_table(options.table, options.spec), model)
    mapping = required_mapping(options.mapping)
    ledger = command_context().ledger_with_outcomes(mapping)
    config = with_materiality(
        read_config(options.config),
        ledger.observed_until,
        options.rules,
    )
    return rows_of_ledger(
        ledger,
        config,
        model,
        progress_bar("features by as-of date"),
    )


@dataclass(frozen=True)
class MonitorOptions:
    """The options of `obligor monitor`."""

    mapping: LedgerMapping
    config: ConfigFile = None
    store: Store = Path("store")
    rules: Rules = RULES
    page: Annotated[Path, typer.Option("--out", help="HTML page to write")] = Path(
        "monitor.html"
    )


@with_options(MonitorOptions)
def monitor(options: MonitorOptions) -> None:
    """Compare the champion's decisions with what it was tested on and with outcomes.

    Exit code 1 if there is an alert.

    Example: `obligor monitor ledger/mapping.toml --out monitor.html`
    """
    import pandas as pd

    from obligor.decisions.recorded import decided_rows
    from obligor.training.lifecycle.monitor import monitor as watch_champion
    from obligor.training.lifecycle.monitor import write_page
    from obligor.training.lifecycle.registry import Registry
    from obligor.training.samples.config import read_config
    from obligor.training.samples.materiality import with_materiality

    context = command_context()
    champion = context.champions(options.store).for_customers()
    record = context.record(options.store)
    ledger = context.ledger_with_outcomes(options.mapping)
    config = with_materiality(
        read_config(options.config),
        ledger.observed_until,
        options.rules,
    )
    monitoring = watch_champion(
        pd.DataFrame(decided_rows(record.reader, champion.sha256)),
        Registry(options.store).test_rows(champion.version),
        ledger,
        config.default,
        _shadow_scores(options.store),
    )
    write_page(options.page, monitoring, f"version {champion.version}")
    _print_monitoring(monitoring, options.page)
    raise typer.Exit(1 if monitoring.alerts else 0)


def _shadow_scores(store: Path) -> dict[str, float]:
    """Return the challenger's scores by decision; empty if there is no challenger."""
    from obligor.decisions.champion import ChampionLoader
    from obligor.decisions.shadow import shadow_scores
    from obligor.model.bundle import SHADOW_POINTER

    context = command_context()
    settings = context.settings(store)
    loader = ChampionLoader(settings.store, settings.trusted, SHADOW_POINTER)
    with suppress(ModelError):
        return shadow_scores(context.record(store), loader.for_customers().sha256)
    return {}


def _print_monitoring(monitoring: Monitoring, page: Path) -> None:
    for alert in monitoring.alerts:
        console.print(f"[red]alert[/red] {alert}", highlight=False)
    for name, value in monitoring.challenger.items():
        console.print(f"challenger: {name} {value}", highlight=False)
    n_matured = 0
    if len(monitoring.backtest):
        n_matured = int(monitoring.backtest["decisions"].sum())
    console.print(
        f"{monitoring.decisions:,} decisions, {n_matured:,} of them matured, "
        f"{len(monitoring.alerts)} alerts; page: {page}"
    )


@dataclass(frozen=True)
class ShadowOptions:
    """The options of `obligor shadow`."""

    version: ModelVersion
    by: Annotated[str, typer.Option(help="Person who allows it (recorded)")]
    because: Annotated[str, typer.Option(help="Reason, recorded")]
    store: Store = Path("store")


@with_options(ShadowOptions)
def shadow(options: ShadowOptions) -> None:
    """Let a version score live decisions in the shadow: recorded, never shown.

    `obligor monitor` compares its scores with the champion's.

    Example: `obligor shadow latest --by "R. Modeler" --because "until outcomes known"`
    """
    from obligor.training.lifecycle.registry import Approval, Registry

    context = command_context()
    registry = Registry(options.store)
    challenger = registry.shadow(
        _chosen_version(registry, options.version),
        Approval(options.by, options.because, context.now()),
        context.release_signer(options.store),
    )
    console.print(
        f"version {challenger.version} scores in the shadow, "
        f"by {challenger.by}: {challenger.because}"
    )


def _chosen_version(registry: Registry, version: str) -> str:
    return registry.latest() if version == "latest" else version
