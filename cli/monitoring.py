"""The command that watches a model: drift, outcomes, the challenger in the shadow."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from obligor.cli.arguments import (
    AsJson,
    ConfigFile,
    ModelName,
    OptionalMapping,
    Rules,
    Store,
    TableFile,
    command_context,
    console,
    with_options,
)
from obligor.cli.models import chosen_version, print_notes
from obligor.errors import ModelError, SchemaError
from obligor.policy.rulebooks.rulebook import RULES

if TYPE_CHECKING:
    import pandas as pd

    from obligor.training.lifecycle.monitor import Monitoring


@dataclass(frozen=True)
class MonitorOptions:
    """The options of `obligor monitor`."""

    mapping: OptionalMapping = None
    table: TableFile = None
    version: Annotated[
        str,
        typer.Option(help="Version that a table is scored with"),
    ] = "champion"
    config: ConfigFile = None
    store: Store = Path("store")
    name: ModelName = None
    rules: Rules = RULES
    page: Annotated[Path, typer.Option("--out", help="HTML page to write")] = Path(
        "monitor.html"
    )
    as_json: AsJson = False


@with_options(MonitorOptions)
def monitor(options: MonitorOptions) -> None:
    """Compare what a model scores now with what it was tested on, and with outcomes.

    On a ledger, the champion's recorded decisions are looked at; on a table, its rows:
    PSI and CSI of each column, the PD, and the outcomes if the table has any, beside
    the recorded scores of the same applicants. Without either, the recorded scores of a
    table's model are looked at. Exit code 1 if there is an alert.

    Example: `obligor monitor ledger/mapping.toml --out monitor.html`

    Example: `obligor monitor --table march.csv --name cards --json`

    Example: `obligor monitor --name cards`
    """
    from obligor.training.lifecycle.monitor import write_page

    if options.mapping is None:
        monitoring, version = _watch_table(options)
    else:
        monitoring, version = _watch_decisions(options, options.mapping)
    write_page(options.page, monitoring, f"version {version}")
    if options.as_json:
        answer = {
            "version": version,
            **monitoring.as_dict(),
            "page": str(options.page),
        }
        print(json.dumps(answer, default=str))
    else:
        print_notes(monitoring.notes)
        _print_monitoring(monitoring, options.page)
    raise typer.Exit(1 if monitoring.alerts else 0)


def _watch_table(options: MonitorOptions) -> tuple[Monitoring, str]:
    """Watch the rows of a table, or without one the recorded scores."""
    import pandas as pd

    from obligor.training.lifecycle.table_monitor import (
        monitor_table,
        outcomes_of,
        with_recorded,
    )

    registry = command_context().registry(options.store, options.name)
    version = chosen_version(registry, options.version)
    known = registry.known_model(version)
    scores = _recorded_scores(options.store, registry.sha256(version))
    if options.table is not None:
        frame = _read_rows(options.table)
    else:
        _require_something(len(scores))
        frame = pd.DataFrame(scores["features"].tolist())
    monitoring = monitor_table(known, registry.test_rows(version), frame)
    if options.table is None:
        return replace(monitoring, unit="recorded scores"), version
    if monitoring.figures:
        shadow = _shadow_scores(options.store, registry.name)
        outcomes = outcomes_of(known, frame)
        monitoring = with_recorded(
            monitoring,
            scores,
            outcomes,
            shadow,
        )
    return monitoring, version


def _read_rows(table: Path) -> pd.DataFrame:
    from obligor.features.table_files import read_table_file

    table_file = read_table_file(table)
    print_notes(table_file.notes)
    return table_file.frame


def _require_something(n_scores: int) -> None:
    if not n_scores:
        raise SchemaError(
            "the command was given nothing to read, and no score is recorded",
            where="arguments",
            expected="a mapping file, or --table FILE, or recorded scores",
        )


def _recorded_scores(store: Path, sha256: str) -> pd.DataFrame:
    """Return the recorded scores of one version; a store without a record has none."""
    import pandas as pd

    from obligor.decisions.scores import scored_rows

    columns = ["entry_id", "customer_id", "pd_12m", "features"]
    record = command_context().record(store)
    rows = list(scored_rows(record.reader, sha256))
    return pd.DataFrame(rows, columns=columns)


def _watch_decisions(options: MonitorOptions, mapping: Path) -> tuple[Monitoring, str]:
    import pandas as pd

    from obligor.decisions.recorded import decided_rows
    from obligor.training.lifecycle.monitor import monitor as watch_champion
    from obligor.training.samples.config import read_config, with_stored_default
    from obligor.training.samples.materiality import with_materiality

    context = command_context()
    champion = context.champions(options.store, options.name).for_customers()
    record = context.record(options.store)
    ledger = context.ledger_with_outcomes(mapping)
    stored = champion.model.about.get("default")
    config = with_materiality(
        with_stored_default(read_config(options.config), stored),
        ledger.observed_until,
        options.rules,
    )
    monitoring = watch_champion(
        pd.DataFrame(decided_rows(record.reader, champion.sha256)),
        context.registry(options.store, options.name).test_rows(champion.version),
        ledger,
        config.default,
        _shadow_scores(options.store, options.name),
    )
    return monitoring, champion.version


def _shadow_scores(store: Path, name: str | None) -> dict[str, float]:
    """Return the challenger's scores by entry; empty if there is no challenger."""
    from obligor.decisions.champion import ChampionLoader
    from obligor.decisions.shadow import shadow_scores
    from obligor.model.bundle import MODEL_NAME, SHADOW_POINTER

    context = command_context()
    settings = context.settings(store)
    loader = ChampionLoader(
        settings.store,
        settings.trusted,
        SHADOW_POINTER,
        name or MODEL_NAME,
    )
    with suppress(ModelError):
        return shadow_scores(context.record(store), loader.current().sha256)
    return {}


def _print_monitoring(monitoring: Monitoring, page: Path) -> None:
    for alert in monitoring.alerts:
        console.print(f"[red]alert[/red] {alert}", highlight=False)
    for name, value in monitoring.challenger.items():
        console.print(f"challenger: {name} {value}", highlight=False)
    for name, value in monitoring.figures.items():
        console.print(f"{name} {value}", highlight=False)
    n_matured = 0
    if len(monitoring.backtest):
        n_matured = int(monitoring.backtest["decisions"].sum())
    console.print(
        f"{monitoring.decisions:,} {monitoring.unit}, {n_matured:,} of them matured, "
        f"{len(monitoring.alerts)} alerts; page: {page}"
    )
