"""The commands on rulebooks: check, show, compare, edit in Excel, release, simulate."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from obligor.cli.arguments import (
    AsJson,
    AsOf,
    LedgerMapping,
    Rules,
    Store,
    command_context,
    console,
    error_console,
    parsed_day,
    with_options,
)
from obligor.errors import PolicyError
from obligor.policy.rulebooks.files import RulebookFile
from obligor.policy.rulebooks.rulebook import (
    RELEASE,
    RULES,
    folders,
    in_force,
    read_archived_rulebook,
    read_release,
    read_rulebook,
    read_rulebooks,
    release_rulebook,
)

if TYPE_CHECKING:
    from obligor.policy.rulebooks.rulebook import Rulebook

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Rulebooks: check, show, compare, release.",
)

RulebookVersion = Annotated[
    str,
    typer.Argument(help="Version of a rulebook: the day from which it applies"),
]
JsonObject = dict[str, Any]  # the outcome of a simulation
ExcelFile = Annotated[Path, typer.Option("--xlsx", help="Excel file")]


@app.command()
def check(rules: Rules = RULES) -> None:
    """Prove every rulebook, drafts too; exit code 1 if one is doubtful.

    Example: `obligor policy check --rules policy/rules`
    """
    n_doubtful = 0
    for folder in folders(rules):
        try:
            console.print(_check_line(folder), highlight=False)
        except PolicyError as error:
            n_doubtful += 1
            console.print(
                "[red]doubtful[/red] ",
                folder.name,
                escape(str(error)),
                highlight=False,
            )
    raise typer.Exit(1 if n_doubtful else 0)


def _check_line(folder: Path) -> str:
    rulebook = read_rulebook(folder)
    state = "draft"
    if (folder / RELEASE).exists():
        state = f"released by {read_release(folder, rulebook)['released_by']}"
    sha256 = rulebook.sha256[:12]
    return f"[green]good[/green]      {folder.name}  {state}  {sha256}"


@dataclass(frozen=True)
class ShowOptions:
    """The options of `obligor policy show`."""

    version: Annotated[
        str | None,
        typer.Argument(help="Version of a rulebook; default the one in force"),
    ] = None
    table: Annotated[str | None, typer.Option(help="Show only this table")] = None
    as_of: Annotated[
        str | None,
        typer.Option(
            help="Show the rulebook in force on this day, YYYY-MM-DD; default today"
        ),
    ] = None
    rules: Rules = RULES


@app.command()
@with_options(ShowOptions)
def show(options: ShowOptions) -> None:
    """Show the parameters and tables of a rulebook.

    Example: `obligor policy show 2000-01-01 --table hard_stops`
    """
    rulebook = _chosen_rulebook(options)
    if options.table is not None and options.table not in rulebook.specs:
        raise PolicyError(
            f"there is no table {options.table!r}",
            where="--table",
            expected=f"parameters or one of {', '.join(rulebook.tables)}",
        )
    for name in rulebook.specs:
        if options.table in (None, name):
            console.print(_table_of(name, rulebook.specs[name]))
            source = rulebook.sources[name]
            console.print(f"decided by {source}\n", highlight=False, markup=False)


def _chosen_rulebook(options: ShowOptions) -> Rulebook:
    if options.version is not None:
        return read_archived_rulebook(options.rules / options.version)
    # A rulebook may be shown before it is in force, so the day may lie in the future.
    if options.as_of is not None:
        as_of = parsed_day(options.as_of)
    else:
        as_of = command_context().today()
        error_console.print(f"in force on {as_of} (today)", highlight=False)
    rulebooks, _ = read_rulebooks(options.rules)
    return in_force(rulebooks, as_of)


def _table_of(name: str, spec: RulebookFile) -> Table:
    if name == "parameters":
        table = Table("parameter", "value", "unit", "reference", title=name)
        for key, entry in spec["parameters"].items():
            table.add_row(key, str(entry["value"]), entry["unit"], entry["reference"])
        return table
    table = Table("rule", "when", "then", "because", title=f"{name} ({spec['hit']})")
    for row in spec["rules"]:
        conditions = [
            f"{column} {cell}" for column, cell in row.get("when", {}).items()
        ]
        outputs = [f"{column} {value}" for column, value in row["then"].items()]
        table.add_row(
            row["id"],
            ", ".join(conditions) or "-",
            ", ".join(outputs),
            row["because"],
        )
    return table


@dataclass(frozen=True)
class DiffOptions:
    """The options of `obligor policy diff`."""

    old: RulebookVersion
    new: RulebookVersion
    rules: Rules = RULES


@app.command()
@with_options(DiffOptions)
def diff(options: DiffOptions) -> None:
    """Print every change from one rulebook to another.

    Example: `obligor policy diff 2000-01-01 2026-01-01`
    """
    from obligor.policy.rulebooks.workbook import differences

    # One that is refused is read too: whoever mends it wants to see it.
    old = read_archived_rulebook(options.rules / options.old)
    new = read_archived_rulebook(options.rules / options.new)
    changes = list(differences(old, new))
    for change in changes:
        console.print(change, highlight=False, markup=False)
    console.print(f"{len(changes)} changes")


@dataclass(frozen=True)
class WorkbookOptions:
    """The options of `obligor policy export` and `import`."""

    version: RulebookVersion
    xlsx: ExcelFile
    rules: Rules = RULES


@app.command()
@with_options(WorkbookOptions)
def export(options: WorkbookOptions) -> None:
    """Write a rulebook to Excel.

    Example: `obligor policy export 2000-01-01 --xlsx rules.xlsx`
    """
    from obligor.policy.rulebooks.workbook import export_workbook

    # One that is refused can be mended in Excel.
    rulebook = read_archived_rulebook(options.rules / options.version)
    export_workbook(rulebook, options.xlsx)
    console.print(
        f"wrote {options.xlsx}; next: edit it, "
        f"then obligor policy import VERSION --xlsx {options.xlsx}"
    )


@app.command(name="import")
@with_options(WorkbookOptions)
def import_(options: WorkbookOptions) -> None:
    """Make a draft from Excel; doubtful cells are refused with sheet, row and column.

    Example: `obligor policy import 2026-01-01 --xlsx rules.xlsx`
    """
    from obligor.policy.rulebooks.workbook import import_workbook

    rulebook = import_workbook(options.xlsx, options.rules / options.version)
    console.print(
        f"draft {rulebook.version} is good; "
        f"next: obligor policy release {options.version} --by NAME --because WHY"
    )


@app.command(name="test")
def run_cases(version: RulebookVersion, rules: Rules = RULES) -> None:
    """Run the worked examples of every table.

    Example: `obligor policy test 2000-01-01`
    """
    # Reading a rulebook runs them all, and stops at the first that fails.
    rulebook = read_rulebook(rules / version)
    for name in rulebook.tables:
        n_cases = len(rulebook.specs[name]["cases"])
        console.print(f"{name:<17} {n_cases:>3} cases pass", highlight=False)


@dataclass(frozen=True)
class ReleaseOptions:
    """The options of `obligor policy release`."""

    version: RulebookVersion
    by: Annotated[
        str,
        typer.Option(help="Person who releases it; cannot be one who made it"),
    ]
    because: Annotated[str, typer.Option(help="Reason, recorded")]
    rules: Rules = RULES
    store: Store = Path("store")


@app.command()
@with_options(ReleaseOptions)
def release(options: ReleaseOptions) -> None:
    """Sign a rulebook and put it in force from its date on.

    A second person must release it: nobody releases a rulebook they made.

    Example: `obligor policy release 2026-01-01 --by "C. Manager" --because "board"`
    """
    context = command_context()
    rulebook = release_rulebook(
        options.rules / options.version,
        options.by,
        options.because,
        context.now(),
        context.release_signer(options.store),
    )
    makers = ", ".join(sorted(rulebook.makers))
    console.print(
        f"{options.version} applies from {rulebook.effective}, made by {makers}, "
        f"checked by {options.by}"
    )


@dataclass(frozen=True)
class SimulateOptions:
    """The options of `obligor policy simulate`."""

    mapping: LedgerMapping
    old: Annotated[str, typer.Option("--from", help="Rulebook to compare with")]
    new: Annotated[str, typer.Option("--to", help="Rulebook to try")]
    as_of: AsOf = None
    customer: Annotated[
        str | None,
        typer.Option(help="Decide only on this customer"),
    ] = None
    store: Store = Path("store")
    rules: Rules = RULES
    as_json: AsJson = False


@app.command()
@with_options(SimulateOptions)
def simulate(options: SimulateOptions) -> None:
    """Decide on every customer of a ledger under two rulebooks; nothing is recorded.

    Example: `obligor policy simulate ledger/mapping.toml --from 2000-01-01
    --to 2026-01-01 --as-of 2024-12-31`
    """
    from obligor.data.bureau import reports_of
    from obligor.data.groups import tree_on
    from obligor.portfolio.snapshot import (
        StoredGroups,
        active_on,
        ledger_accounts,
        ledger_summaries,
        portfolio_of,
    )
    from obligor.portfolio.what_if import what_if

    old = read_rulebook(options.rules / options.old)
    new = read_rulebook(options.rules / options.new)
    context = command_context()
    ledger = context.ledger(options.mapping)
    as_of = context.as_of(options.as_of, ledger.exported_on)
    accounts = ledger_accounts(ledger)
    model = context.champions(options.store).current().model
    bureau = ledger_summaries(ledger, as_of)
    customers = active_on(accounts, as_of, model, reports_of(ledger))
    groups = StoredGroups(tree_on(ledger, as_of), customers.group_limits)
    portfolio = portfolio_of(
        customers.accounts,
        customers.rows,
        model,
        bureau,
        groups,
    )
    outcome = what_if(portfolio, old, new, options.customer)
    if options.as_json:
        typer.echo(json.dumps(outcome, default=str))
    else:
        _print_simulation(outcome)


def _print_simulation(outcome: JsonObject) -> None:
    for part, rows in outcome.items():
        if part != "movers":
            console.print(_simulation_table(part, rows))
    for mover in outcome["movers"]:
        limit_before, limit_after = mover["limit"]
        outcome_before, outcome_after = mover["outcome"]
        console.print(
            f"[b]{mover['customer_id']}[/b] PD {mover['pd_12m']:.2%}: "
            f"{outcome_before}, {limit_before} -> {outcome_after}, {limit_after}"
        )
        for change in mover["because"]:
            console.print(f"  {change}", highlight=False, markup=False)


def _simulation_table(part: str, rows: JsonObject) -> Table:
    figures = (
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
        part,
        "customers",
        "changed",
        *figures,
        title=f"by {part}, before -> after",
    )
    for key, row in rows.items():
        cells = [f"{row[name][0]:,.0f} -> {row[name][1]:,.0f}" for name in figures]
        changed = f"{row['decisions_changed']}, {row['limits_changed']}"
        table.add_row(key, str(row["customers"]), changed, *cells)
    return table
