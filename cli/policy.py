"""The commands on rulebooks: parses, calls `policy`, prints; the clock is here."""

from __future__ import annotations

import json
import os
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from obligor.errors import PolicyError
from obligor.policy.rulebooks.rulebook import (
    RELEASE,
    RULES,
    TABLES,
    folders,
    in_force,
    read_release,
    read_rulebook,
    read_rulebooks,
    release_rulebook,
)
from obligor.signing import release_signer

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Rulebooks: check, show, compare, release.",
)
out = Console()

Rules = Annotated[
    Path, typer.Option(envvar="OBLIGOR_RULES", help="Folder of dated rulebooks")
]
Version = Annotated[
    str, typer.Argument(help="A rulebook's version: the day from which it applies")
]
Xlsx = Annotated[Path, typer.Option("--xlsx", help="The Excel file")]


@app.command()
def check(rules: Rules = RULES) -> None:
    """Prove every rulebook, drafts too; exit code 1 where one is doubtful.

    Example: `obligor policy check --rules policy/rules`
    """
    doubtful = 0
    for folder in folders(rules):
        try:
            rulebook = read_rulebook(folder)
            released = (
                read_release(folder, rulebook) if (folder / RELEASE).exists() else None
            )
            state = f"released by {released['released_by']}" if released else "draft"
            out.print(
                f"[green]good[/green]      {folder.name}  {state}  {rulebook.sha256[:12]}",
                highlight=False,
            )
        except PolicyError as error:
            doubtful += 1
            out.print("[red]doubtful[/red] ", folder.name, str(error), highlight=False)
    raise typer.Exit(1 if doubtful else 0)


@app.command()
def show(
    version: Annotated[
        str | None,
        typer.Argument(help="A rulebook's version; default the one in force"),
    ] = None,
    table: Annotated[str | None, typer.Option(help="Only this table")] = None,
    as_of: Annotated[str | None, typer.Option(help="The one in force on a day")] = None,
    rules: Rules = RULES,
) -> None:
    """Show the parameters and tables of a rulebook.

    Example: `obligor policy show 2000-01-01 --table hard_stops`
    """
    if version is None:
        day = day_of(as_of) if as_of else datetime.now(UTC).date()
        rulebook = in_force(read_rulebooks(rules)[0], day)
    else:
        rulebook = read_rulebook(rules / version)
    if table not in (None, "parameters", *TABLES):
        raise PolicyError(
            f"no table {table!r}",
            where="--table",
            expected=f"parameters or one of {', '.join(TABLES)}",
        )
    for name in ("parameters", *TABLES):
        if table in (None, name):
            out.print(_shown(name, rulebook.specs[name]))
            out.print(
                f"decided by {rulebook.sources[name]}\n", highlight=False, markup=False
            )


@app.command()
def diff(old: Version, new: Version, rules: Rules = RULES) -> None:
    """Say every change from one rulebook to another.

    Example: `obligor policy diff 2000-01-01 2026-01-01`
    """
    from obligor.policy.rulebooks.workbook import differences

    changes = list(differences(read_rulebook(rules / old), read_rulebook(rules / new)))
    for change in changes:
        out.print(change, highlight=False, markup=False)
    out.print(f"{len(changes)} changes")


@app.command()
def export(version: Version, xlsx: Xlsx, rules: Rules = RULES) -> None:
    """Write a rulebook to Excel.

    Example: `obligor policy export 2000-01-01 --xlsx rules.xlsx`
    """
    from obligor.policy.rulebooks.workbook import export_workbook

    export_workbook(read_rulebook(rules / version), xlsx)
    out.print(
        f"wrote {xlsx}; next: edit it, then obligor policy import VERSION --xlsx {xlsx}"
    )


@app.command(name="import")
def import_(version: Version, xlsx: Xlsx, rules: Rules = RULES) -> None:
    """Make a draft from Excel; what is doubtful is refused with sheet, row and column.

    Example: `obligor policy import 2026-01-01 --xlsx rules.xlsx`
    """
    from obligor.policy.rulebooks.workbook import import_workbook

    rulebook = import_workbook(xlsx, rules / version)
    out.print(
        f"draft {rulebook.version} is good; next: obligor policy release {version} --by NAME --because WHY"
    )


@app.command(name="test")
def run_cases(version: Version, rules: Rules = RULES) -> None:
    """Run the cases of every table.

    Example: `obligor policy test 2000-01-01`
    """
    rulebook = read_rulebook(
        rules / version
    )  # runs them all, and stops at the first that fails
    for name in TABLES:
        out.print(
            f"{name:<17} {len(rulebook.specs[name]['cases']):>3} cases pass",
            highlight=False,
        )


@app.command()
def release(
    version: Version,
    by: Annotated[str, typer.Option(help="Who releases it: not who made it")],
    because: Annotated[str, typer.Option(help="Why")],
    rules: Rules = RULES,
    store: Annotated[
        Path, typer.Option(envvar="OBLIGOR_STORE", help="Folder of the key that signs")
    ] = Path("store"),
) -> None:
    """Sign a rulebook and put it in force from its date on; a second person does.

    Example: `obligor policy release 2026-01-01 --by "C. Manager" --because "board decision of December"`
    """
    signer = release_signer(store, os.environ.get("OBLIGOR_RELEASE_KEY"), os.urandom)
    rulebook = release_rulebook(rules / version, by, because, datetime.now(UTC), signer)
    out.print(
        f"{version} applies from {rulebook.effective}, made by {', '.join(sorted(rulebook.makers))}, checked by {by}"
    )


@app.command()
def simulate(
    mapping: Annotated[
        Path, typer.Argument(help="TOML file that maps your ledger's columns")
    ],
    old: Annotated[str, typer.Option("--from", help="The rulebook to compare with")],
    new: Annotated[str, typer.Option("--to", help="The rulebook to try")],
    as_of: Annotated[str, typer.Option(help="The day whose knowledge counts")],
    customer: Annotated[
        str | None, typer.Option(help="Only this customer: what if")
    ] = None,
    store: Annotated[
        Path, typer.Option(envvar="OBLIGOR_STORE", help="Folder with the champion")
    ] = Path("store"),
    rules: Rules = RULES,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object")] = False,
) -> None:
    """Decide on every customer of a ledger under two rulebooks; nothing is recorded.

    Example: `obligor policy simulate ledger/mapping.toml --from 2000-01-01 --to 2026-01-01 --as-of 2024-12-31`
    """
    from obligor.data.sources import read_ledger
    from obligor.decisions.champion import ChampionLoader
    from obligor.portfolio.snapshot import active_on, ledger_accounts, portfolio_of
    from obligor.portfolio.what_if import simulation
    from obligor.serving.settings import Settings

    books = read_rulebook(rules / old), read_rulebook(rules / new)
    ledger = read_ledger(
        mapping, today=datetime.now(UTC).date(), environment=os.environ
    ).require()
    settings = Settings.of({**os.environ, "OBLIGOR_STORE": str(store)})
    model = ChampionLoader(settings.store, settings.trusted).current().model
    portfolio = portfolio_of(*active_on(ledger_accounts(ledger), day_of(as_of)), model)
    found = simulation(portfolio, *books, customer)
    if as_json:
        typer.echo(json.dumps(found, default=str))
    else:
        _print_simulation(found)


def _print_simulation(found: dict[str, Any]) -> None:
    for part, rows in found.items():
        if part == "movers":
            continue
        names = (
            "approve",
            "refer",
            "decline",
            "limit",
            "expected_loss",
            "eva",
            "is_held",
            "to_a_person",
        )
        table = Table(
            part, "customers", "changed", *names, title=f"by {part}, before -> after"
        )
        for key, row in rows.items():
            cells = [f"{row[name][0]:,.0f} -> {row[name][1]:,.0f}" for name in names]
            table.add_row(
                key,
                str(row["customers"]),
                f"{row['decisions_changed']}, {row['limits_changed']}",
                *cells,
            )
        out.print(table)
    for one in found["movers"]:
        (was, now), (before, after) = one["limit"], one["outcome"]
        out.print(
            f"[b]{one['customer_id']}[/b] PD {one['pd_12m']:.2%}: {before}, {was} -> {after}, {now}"
        )
        for change in one["because"]:
            out.print(f"  {change}", highlight=False, markup=False)


def day_of(text: str) -> date:
    """Return the day a text says; `PolicyError` for any other."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise PolicyError(
            f"{text!r} is no date", where="--as-of", expected="such as 2026-01-31"
        ) from None


def _shown(name: str, spec: dict[str, Any]) -> Table:
    if name == "parameters":
        table = Table("parameter", "value", "unit", "reference", title=name)
        for key, entry in spec["parameters"].items():
            table.add_row(key, str(entry["value"]), entry["unit"], entry["reference"])
        return table
    table = Table("rule", "when", "then", "because", title=f"{name} ({spec['hit']})")
    for row in spec["rules"]:
        when = (
            ", ".join(
                f"{column} {cell}" for column, cell in row.get("when", {}).items()
            )
            or "-"
        )
        then = ", ".join(f"{column} {value}" for column, value in row["then"].items())
        table.add_row(row["id"], when, then, row["because"])
    return table
