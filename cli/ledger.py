"""The commands on ledgers: simulate, check, load."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from obligor.cli.arguments import (
    LedgerMapping,
    Store,
    command_context,
    console,
    error_console,
    with_options,
)

if TYPE_CHECKING:
    from obligor.data.checks import LedgerCheck

MOST_FINDINGS = 50  # printed; the others are counted


@dataclass(frozen=True)
class SimulateOptions:
    """The options of `obligor simulate`."""

    folder: Annotated[
        Path,
        typer.Argument(help="Folder for the CSV files and mapping.toml"),
    ]
    customers: Annotated[
        int,
        typer.Option(min=10, max=5_000_000, help="Number of customers"),
    ] = 2000
    months: Annotated[
        int,
        typer.Option(min=6, max=240, help="Months of history"),
    ] = 36
    seed: Annotated[int, typer.Option(help="Seed of the simulation")] = 7


@with_options(SimulateOptions)
def simulate(options: SimulateOptions) -> None:
    """Simulate a ledger whose true PDs are known.

    Example: `obligor simulate ledger/ --customers 2000 --months 36 --seed 7`
    """
    write_simulated_ledger(options)


def write_simulated_ledger(options: SimulateOptions) -> None:
    """Simulate a ledger, write it, and print its size."""
    from obligor.data.synthetic import simulate_ledger, write_ledger

    simulation = simulate_ledger(options.customers, options.months, seed=options.seed)
    write_ledger(simulation, options.folder)
    n_invoices = len(simulation.ledger["invoices"])
    console.print(
        f"{n_invoices:,} invoices of {options.customers:,} customers "
        f"in [b]{escape(str(options.folder))}[/b]"
    )
    next_step = f"next: obligor check {options.folder}/mapping.toml"
    console.print(next_step, markup=False)


def check(
    mapping: LedgerMapping,
    quarantine: Annotated[
        Path | None,
        typer.Option(help="Folder for the rows that are set aside"),
    ] = None,
) -> None:
    """Check a ledger and print every finding; exit code 1 if it is refused.

    Example: `obligor check data/samples/small/mapping.toml`
    """
    from obligor.data.sources import read_ledger, write_quarantine

    context = command_context()
    result = read_ledger(
        mapping,
        today=context.today(),
        environment=context.environment,
        zone=context.stated_zone(),
    )
    _print_findings(result)
    if quarantine is not None:
        for path in write_quarantine(result, quarantine):
            console.print(f"set aside: {path}", markup=False)
    for table, frame in result.ledger.tables.items():
        console.print(f"{table:<12} {len(frame):>9,} rows")
    for loss in result.left_out:
        console.print(
            loss.sentence(result.ledger.currency),
            markup=False,
            highlight=False,
        )
    if result.is_refused:
        console.print("[red]refused[/red]")
        raise typer.Exit(1)
    console.print("[green]usable[/green]")


def _print_findings(result: LedgerCheck) -> None:
    """Print all findings on tables and columns, then those on rows up to a limit."""
    n_columns = sum(finding.weight() <= 1 for finding in result.findings)
    n_printed = max(MOST_FINDINGS, n_columns)
    for finding in result.by_weight()[:n_printed]:
        console.print(str(finding), markup=False, highlight=False)
    n_more = len(result.findings) - n_printed
    if n_more > 0:
        console.print(f"... and {n_more} more")


def load(mapping: LedgerMapping, store: Store = Path("store")) -> None:
    """Check a ledger and load it for the service; it replaces the one loaded before.

    Example: `obligor load ledger/mapping.toml`
    """
    context = command_context()
    ledger = context.ledger(mapping)
    context.ledger_store(store).write(ledger)
    n_customers = len(ledger["customers"])
    console.print(
        f"loaded {n_customers:,} customers, known until {ledger.observed_until}"
    )
    if ledger.exported_on is None:
        error_console.print(
            "the mapping does not state exported_on: questions without a date are "
            "answered as of today",
            style="yellow",
        )
