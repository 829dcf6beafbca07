"""The commands on registered models: list, compare, promote, recalibrate, shadow."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from obligor.cli.arguments import (
    AsJson,
    ConfigFile,
    ModelName,
    ModelVersion,
    OptionalMapping,
    ReportFolder,
    Rules,
    SpecFile,
    Store,
    TableFile,
    command_context,
    console,
    error_console,
    progress_bar,
    required_mapping,
    with_options,
)
from obligor.cli.tables import read_table_again
from obligor.errors import ModelError
from obligor.policy.rulebooks.rulebook import RULES

if TYPE_CHECKING:
    import pandas as pd

    from obligor.data.ledger import Ledger
    from obligor.model.pd_model import PdModel
    from obligor.training.lifecycle.compare import ComparedRows, Comparison
    from obligor.training.lifecycle.raw_rows import KnownModel
    from obligor.training.lifecycle.registry import Registry
    from obligor.training.samples.config import TrainingConfig
    from obligor.training.validation.subject import LabelledRows


Approve = Annotated[
    float,
    typer.Option(min=0.01, max=0.99, help="Share that both versions approve"),
]
CutOff = Annotated[
    float | None,
    typer.Option(
        min=0,
        max=1,
        help="Highest PD that both versions approve; default the one at which the "
        "other version approves that share",
    ),
]
AmountColumn = Annotated[
    str | None,
    typer.Option(help="Column of the money that each row stands for"),
]


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
    approve: Approve = 0.8
    cut_off: CutOff = None
    amount: AmountColumn = None
    store: Store = Path("store")
    name: ModelName = None
    as_json: AsJson = False


@with_options(PromoteOptions)
def promote(options: PromoteOptions) -> None:
    """Make a version the champion.

    A version that fails a gate is refused; each failed gate is named with its figures.

    The version is shown beside the champion, on rows that neither has learnt from.

    Example: `obligor promote 1 --by "R. Modeler" --because "first model"`

    Example: `obligor promote latest --name cards --by "R. Modeler" --because "again"`
    """
    run_promotion(options)


def run_promotion(options: PromoteOptions) -> None:
    """Promote a version and print who did, and against which objections."""
    from obligor.training.lifecycle.registry import Approval

    context = command_context()
    registry = context.registry(options.store, options.name)
    version = chosen_version(registry, options.version)
    comparison = _beside_champion(registry, version, options)
    if comparison is not None and not options.as_json:
        print_comparison(comparison)
    promotion = registry.promote(
        version,
        Approval(options.by, options.because, context.now()),
        context.release_signer(options.store),
        force=options.force,
        second=options.second,
    )
    if options.as_json:
        compared = None if comparison is None else comparison.as_dict()
        answer = {
            "name": registry.name,
            **asdict(promotion),
            "beside_champion": compared,
        }
        print(json.dumps(answer, ensure_ascii=False))
        return
    line = (
        f"version {promotion.version} is the champion, "
        f"by {promotion.by}: {promotion.because}"
    )
    if promotion.forced:
        objections = "; ".join(promotion.objections)
        line += f", forced with {promotion.second} against: {objections}"
    console.print(line)


def _beside_champion(
    registry: Registry,
    version: str,
    options: PromoteOptions,
) -> Comparison | None:
    from obligor.training.lifecycle.compare import ComparedRows, compare
    from obligor.training.validation.side_by_side import ApprovalRule

    champion = registry.champion()
    if champion is None or champion == version:
        return None
    rows = ComparedRows(registry.raw_rows(version))
    if options.amount is not None:
        rows = rows.with_amount(options.amount)
    return compare(
        registry.known_model(version),
        registry.known_model(champion),
        rows,
        ApprovalRule(options.approve, options.cut_off),
    )


def print_comparison(comparison: Comparison) -> None:
    """Print two versions side by side, with who only one of them would approve."""
    for note in comparison.notes:
        error_console.print(note, markup=False, highlight=False)
    result = comparison.result
    if result is None:
        return
    ours = f"version {comparison.version}"
    other = f"version {comparison.other}"
    title = (
        f"{result.rows:,} rows with {result.defaults:,} defaults, 95% intervals; "
        f"DeLong p = {result.auc_test.p_value:.3g}"
    )
    print_frame(result.table(ours, other).reset_index(names="figure"), title)
    for swap in result.swaps:
        print_frame(swap.table().reset_index(), f"swap-set: {swap.rule}")


def print_frame(frame: pd.DataFrame, title: str) -> None:
    """Print a table with a title."""
    table = Table(*map(str, frame), title=title)
    for row in frame.itertuples(index=False):
        table.add_row(*map(str, row))
    console.print(table)


@dataclass(frozen=True)
class CompareOptions:
    """The options of `obligor compare`."""

    version: ModelVersion
    mapping: OptionalMapping = None
    other: Annotated[
        str,
        typer.Option("--with", help="Version to compare with"),
    ] = "champion"
    table: TableFile = None
    spec: SpecFile = None
    config: ConfigFile = None
    approve: Approve = 0.8
    cut_off: CutOff = None
    amount: AmountColumn = None
    store: Store = Path("store")
    name: ModelName = None
    rules: Rules = RULES
    as_json: AsJson = False


@with_options(CompareOptions)
def compare(options: CompareOptions) -> None:
    """Compare two versions on the same rows, whatever columns each of them reads.

    AUC, Brier score, log loss, slope and ECE side by side, with intervals of their
    differences; and the swap-set: who would be approved by one version and not by the
    other. Without a table or a ledger, the test rows of the version are taken. Rows
    that one of them has learnt from are left out and counted.

    Example: `obligor compare 2 --with 1 --approve 0.7 --cut-off 0.1`

    Example: `obligor compare 2 --with champion --table later.csv --amount loan --json`
    """
    from obligor.training.lifecycle.compare import compare as compare_models
    from obligor.training.validation.side_by_side import ApprovalRule

    registry = command_context().registry(options.store, options.name)
    ours = registry.known_model(chosen_version(registry, options.version))
    other = registry.known_model(chosen_version(registry, options.other))
    comparison = compare_models(
        ours,
        other,
        _compared_rows(options, registry, ours, other),
        ApprovalRule(options.approve, options.cut_off),
    )
    if options.as_json:
        print(json.dumps({"name": registry.name, **comparison.as_dict()}))
        return
    print_comparison(comparison)


def _compared_rows(
    options: CompareOptions,
    registry: Registry,
    ours: KnownModel,
    other: KnownModel,
) -> ComparedRows:
    from obligor.training.lifecycle.compare import ComparedRows
    from obligor.training.lifecycle.table_rows import raw_rows_of
    from obligor.training.runs.ledger_run import raw_rows_of_ledger

    if options.table is not None:
        data = read_table_again(options.table, options.spec, ours.model)
        rows = ComparedRows(raw_rows_of(data), data.amount, data.measured_weight)
    elif options.mapping is not None:
        ledger, config = _ledger_and_config(options, ours.model)
        models = (ours.model, other.model)
        rows = ComparedRows(raw_rows_of_ledger(ledger, config, models))
    else:
        rows = ComparedRows(registry.raw_rows(ours.version))
    if options.amount is None:
        return rows
    return rows.with_amount(options.amount)


@dataclass(frozen=True)
class ModelsOptions:
    """The options of `obligor models`."""

    store: Store = Path("store")
    name: ModelName = None
    as_json: AsJson = False


@with_options(ModelsOptions)
def models(options: ModelsOptions) -> None:
    """List the models of a store: every name with its versions, newest first.

    Example: `obligor models --store store --json`
    """
    from obligor.training.lifecycle.registry import names_in

    context = command_context()
    names = names_in(options.store) if options.name is None else [options.name]
    versions = {}
    for name in names:
        versions[name] = context.registry(options.store, name).versions()
    if options.as_json:
        print(json.dumps(versions))
        return
    table = Table("name", "version", "aliases", "gini", "brier", "promoted by")
    for name, rows in versions.items():
        for row in rows:
            table.add_row(
                name,
                row["version"],
                row["aliases"],
                row["gini"],
                row["brier"],
                row["promoted_by"],
            )
    console.print(table)


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
    name: ModelName = None
    as_json: AsJson = False


@with_options(RecalibrateOptions)
def recalibrate(options: RecalibrateOptions) -> None:
    """Fit a new calibration on rows the model has not learnt from, without a refit.

    Rows that it has learnt from are left out and counted. The result is registered as
    a challenger.

    Example: `obligor recalibrate 1 ledger/mapping.toml`

    Example: `obligor recalibrate champion --table later_applications.csv --name cards`
    """
    from obligor.training.lifecycle.recalibrate import recalibrate as fit_again
    from obligor.training.lifecycle.run_settings import RunSettings

    context = command_context()
    registry = context.registry(options.store, options.name)
    version = chosen_version(registry, options.version)
    rows, notes = _later_rows(options, registry.known_model(version))
    print_notes(notes)
    recalibration = fit_again(
        version,
        rows,
        RunSettings(
            options.store,
            options.report,
            context.now(),
            name=registry.name,
        ),
        name=f"version {version}, recalibrated",
    )
    if options.as_json:
        answer = {
            "name": registry.name,
            "version": recalibration.version,
            "recalibrated_from": version,
            "rows": len(rows.label),
            "calibration": recalibration.kind,
            "slope_before": recalibration.before,
            "slope_after": recalibration.after,
            "notes": list(notes),
            "report": str(options.report / "model_report.html"),
        }
        print(json.dumps(answer))
        return
    console.print(
        f"{recalibration.kind}: calibration slope {recalibration.before} before, "
        f"{recalibration.after} after, on later rows"
    )
    console.print(
        f"version [b]{recalibration.version}[/b], challenger; "
        f"report: {options.report}/model_report.html"
    )


def print_notes(notes: Iterable[str]) -> None:
    """Print what a person must know of the rows, beside the output."""
    for note in notes:
        error_console.print(note, markup=False, highlight=False)


def _later_rows(
    options: RecalibrateOptions, known: KnownModel
) -> tuple[LabelledRows, tuple[str, ...]]:
    """Return the rows to calibrate on, and what was left out of them."""
    from obligor.training.lifecycle.recalibrate import rows_of_ledger, rows_of_table

    if options.table is not None:
        data = read_table_again(options.table, options.spec, known.model)
        rows = rows_of_table(data, known)
        return rows, rows.notes
    ledger, config = _ledger_and_config(options, known.model)
    later = rows_of_ledger(
        ledger,
        config,
        known.model,
        progress_bar("features by as-of date"),
    )
    return later, ()


def _ledger_and_config(
    options: RecalibrateOptions | CompareOptions,
    model: PdModel,
) -> tuple[Ledger, TrainingConfig]:
    """Read a ledger with outcomes, and the choices with the default of a model."""
    from obligor.training.samples.config import read_config, with_stored_default
    from obligor.training.samples.materiality import with_materiality

    mapping = required_mapping(options.mapping)
    ledger = command_context().ledger_with_outcomes(mapping)
    config = with_materiality(
        with_stored_default(read_config(options.config), model.about.get("default")),
        ledger.observed_until,
        options.rules,
    )
    return ledger, config


@dataclass(frozen=True)
class ShadowOptions:
    """The options of `obligor shadow`."""

    version: ModelVersion
    by: Annotated[str, typer.Option(help="Person who allows it (recorded)")]
    because: Annotated[str, typer.Option(help="Reason, recorded")]
    store: Store = Path("store")
    name: ModelName = None
    as_json: AsJson = False


@with_options(ShadowOptions)
def shadow(options: ShadowOptions) -> None:
    """Let a version score live decisions in the shadow: recorded, never shown.

    `obligor monitor` compares its scores with the champion's.

    Example: `obligor shadow latest --by "R. Modeler" --because "until outcomes known"`
    """
    from obligor.training.lifecycle.registry import Approval

    context = command_context()
    registry = context.registry(options.store, options.name)
    challenger = registry.shadow(
        chosen_version(registry, options.version),
        Approval(options.by, options.because, context.now()),
        context.release_signer(options.store),
    )
    if options.as_json:
        answer = {"name": registry.name, **asdict(challenger)}
        print(json.dumps(answer, ensure_ascii=False))
        return
    console.print(
        f"version {challenger.version} scores in the shadow, "
        f"by {challenger.by}: {challenger.because}"
    )


def chosen_version(registry: Registry, version: str) -> str:
    """Return the number of a version that may be named by its role.

    Parameters
    ----------
    registry : Registry
        The models of one name.
    version : str
        A number, or ``latest``, ``champion`` or ``challenger``.

    Raises
    ------
    ModelError
        If no version has this role.
    """
    if version == "latest":
        return registry.latest()
    roles = {"champion": registry.champion, "challenger": registry.challenger}
    if version not in roles:
        return version
    number = roles[version]()
    if number is None:
        raise ModelError(
            f"there is no {version}",
            where=registry.name,
            do="name a version by its number; `obligor models` lists them",
        )
    return number
