"""The commands on registered models: promotion, recalibration; clock and environment are here."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import track

from obligor.cli import tables
from obligor.errors import ModelError, SchemaError

out = Console()
MaybeMapping = Annotated[
    Path | None, typer.Argument(help="TOML file that maps your columns; or --table")
]
TableFile = Annotated[
    Path | None,
    typer.Option("--table", help="A table of applications: CSV, Parquet or Excel"),
]
SpecFile = Annotated[
    Path | None,
    typer.Option(
        help="TOML file that says what its columns are; inferred where absent"
    ),
]
Store = Annotated[
    Path,
    typer.Option(envvar="OBLIGOR_STORE", help="Folder of models, ledger and record"),
]
Config = Annotated[
    Path | None, typer.Option(help="TOML file of training choices; all have defaults")
]


def required(mapping: Path | None) -> Path:
    """Return the mapping file, or say that something to read must be named."""
    if mapping is None:
        raise SchemaError(
            "nothing to read",
            where="arguments",
            expected="a mapping file, or --table FILE",
        )
    return mapping


def watch(dates: Iterable[date]) -> Iterator[date]:
    """Show how far the as-of dates are."""
    return iter(
        track(
            list(dates),
            description="features by as-of date",
            console=out,
            transient=True,
        )
    )


def promote(
    version: Annotated[
        str, typer.Argument(help="Version in the registry, or `latest`")
    ],
    by: Annotated[str, typer.Option(help="Who promotes")],
    because: Annotated[str, typer.Option(help="Why")],
    force: Annotated[
        bool, typer.Option(help="Promote against objections; recorded")
    ] = False,
    second: Annotated[
        str | None, typer.Option(help="A second person, without whom nothing is forced")
    ] = None,
    store: Store = Path("store"),
) -> None:
    """Make a version the champion; refused where it misses a gate, each named with its figures.

    Example: `obligor promote 1 --by "R. Modeler" --because "first model"`
    """
    from obligor.signing import release_signer
    from obligor.training.lifecycle.registry import Registry

    registry = Registry(store)
    chosen = registry.latest() if version == "latest" else version
    signer = release_signer(store, os.environ.get("OBLIGOR_RELEASE_KEY"), os.urandom)
    promotion = registry.promote(
        chosen,
        by=by,
        because=because,
        at=datetime.now(UTC),
        signer=signer,
        force=force,
        second=second,
    )
    forced = (
        f", forced with {promotion.second} against: {'; '.join(promotion.objections)}"
        if promotion.forced
        else ""
    )
    out.print(
        f"version {promotion.version} is the champion, by {promotion.by}: {promotion.because}{forced}"
    )


def recalibrate(
    version: Annotated[
        str, typer.Argument(help="Version in the registry, or `latest`")
    ],
    mapping: MaybeMapping = None,
    table: TableFile = None,
    spec: SpecFile = None,
    config: Config = None,
    store: Store = Path("store"),
    report: Annotated[
        Path, typer.Option(help="Folder for the HTML report and its plots")
    ] = Path("report"),
) -> None:
    """Give a version a new calibration from rows it has not learnt from, without a refit; registered as a challenger.

    Example: `obligor recalibrate 1 ledger/mapping.toml`
    """
    from obligor.data.sources import read_ledger
    from obligor.training.lifecycle.recalibrate import recalibrate as run
    from obligor.training.lifecycle.recalibrate import rows_of_ledger, rows_of_table
    from obligor.training.lifecycle.registry import Registry
    from obligor.training.samples.config import read_config

    chosen = Registry(store).latest() if version == "latest" else version
    model = Registry(store).model(chosen)
    if table is not None:
        rows = rows_of_table(tables.read(table, spec), model)
    else:
        ledger = read_ledger(
            required(mapping), today=datetime.now(UTC).date(), environment=os.environ
        ).require()
        rows = rows_of_ledger(ledger, read_config(config), model, watch)
    found = run(
        chosen,
        rows,
        f"version {chosen}, recalibrated",
        store,
        report,
        at=datetime.now(UTC),
    )
    out.print(
        f"{found.kind}: calibration slope {found.before} before, {found.after} after, on later rows"
    )
    out.print(
        f"version [b]{found.version}[/b], challenger; report: {report}/model_report.html"
    )


def monitor(
    mapping: Annotated[
        Path, typer.Argument(help="TOML file that maps the ledger as it is known now")
    ],
    config: Config = None,
    store: Store = Path("store"),
    page: Annotated[Path, typer.Option("--out", help="The HTML page")] = Path(
        "monitor.html"
    ),
) -> None:
    """Watch the champion: drift of its decisions, PDs against matured outcomes; exit code 1 where there is an alert.

    Example: `obligor monitor ledger/mapping.toml --out monitor.html`
    """
    import pandas as pd

    from obligor.data.sources import read_ledger
    from obligor.decisions.champion import ChampionLoader
    from obligor.decisions.recorded import decided_rows
    from obligor.decisions.shadow import shadow_scores
    from obligor.model.bundle import SHADOW_POINTER
    from obligor.serving.assembly import open_record
    from obligor.serving.settings import Settings
    from obligor.training.lifecycle.monitor import monitor as look
    from obligor.training.lifecycle.monitor import write_page
    from obligor.training.lifecycle.registry import Registry
    from obligor.training.samples.config import read_config

    settings = Settings.of({**os.environ, "OBLIGOR_STORE": str(store)})
    champion = ChampionLoader(settings.store, settings.trusted).of_ledger()
    record, _ = open_record(settings, os.urandom)
    ledger = read_ledger(
        mapping, today=datetime.now(UTC).date(), environment=os.environ
    ).require()
    shadow = {}
    with suppress(ModelError):  # there need be none
        challenger = ChampionLoader(
            settings.store, settings.trusted, SHADOW_POINTER
        ).of_ledger()
        shadow = shadow_scores(record, challenger.sha256)
    found = look(
        pd.DataFrame(decided_rows(record, champion.sha256)),
        Registry(store).test_rows(champion.version),
        ledger,
        read_config(config).default,
        shadow,
    )
    write_page(page, found, f"version {champion.version}")
    for alert in found.alerts:
        out.print(f"[red]alert[/red] {alert}", highlight=False)
    matured = int(found.backtest["decisions"].sum()) if len(found.backtest) else 0
    for name, value in found.challenger.items():
        out.print(f"challenger: {name} {value}", highlight=False)
    out.print(
        f"{found.decisions:,} decisions, {matured:,} of them matured, {len(found.alerts)} alerts; page: {page}"
    )
    raise typer.Exit(1 if found.alerts else 0)


def shadow(
    version: Annotated[
        str, typer.Argument(help="Version in the registry, or `latest`")
    ],
    by: Annotated[str, typer.Option(help="Who lets it")],
    because: Annotated[str, typer.Option(help="Why")],
    store: Store = Path("store"),
) -> None:
    """Let a version score live decisions in the shadow, recorded and never shown; `obligor monitor` compares it.

    Example: `obligor shadow latest --by "R. Modeler" --because "two more months of outcomes"`
    """
    from obligor.signing import release_signer
    from obligor.training.lifecycle.registry import Registry

    registry = Registry(store)
    chosen = registry.latest() if version == "latest" else version
    signer = release_signer(store, os.environ.get("OBLIGOR_RELEASE_KEY"), os.urandom)
    named = registry.shadow(
        chosen, by=by, because=because, at=datetime.now(UTC), signer=signer
    )
    out.print(
        f"version {named.version} scores in the shadow, by {named.by}: {named.because}"
    )
