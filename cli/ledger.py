"""The commands on ledgers: simulate, check, load."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.progress import (
    BarColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from obligor.cli.arguments import (
    LedgerMapping,
    Store,
    command_context,
    console,
    error_console,
    print_left_out,
    print_losses,
    with_options,
)
from obligor.errors import SchemaError

if TYPE_CHECKING:
    from obligor.cli.arguments import Context
    from obligor.data.batch_update import Ended
    from obligor.data.checks import LedgerCheck
    from obligor.data.ledger import Ledger
    from obligor.data.loading import UpdateResult
    from obligor.data.store import LedgerStore

# What follows, if a list lacks rows that it had.
ENDED = {
    "invoices": "taken as paid on the day of the export",
    "disputes": "resolved on the day of the export",
}
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
    from obligor.reading.sources import read_ledger, write_quarantine

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


@dataclass(frozen=True)
class LoadOptions:
    """The options of `obligor load`."""

    mapping: LedgerMapping
    replace: Annotated[
        bool,
        typer.Option(
            "--replace",
            help="Load as if nothing was loaded before; the past is what the files say",
        ),
    ] = False
    snapshot: Annotated[
        bool,
        typer.Option(
            "--snapshot",
            help="The lists name everything that is open: a row they lack is over "
            "since the day of the export",
        ),
    ] = False
    store: Store = Path("store")


@with_options(LoadOptions)
def load(options: LoadOptions) -> None:
    """Check a ledger and load it for the service, or update the one that is loaded.

    An update compares each row with the stored ones. What is new or changed is known
    from today on: a question about an earlier day is answered as before.

    Example: `obligor load ledger/mapping.toml`
    """
    context = command_context()
    ledger_store = context.ledger_store(options.store)
    if options.replace or not ledger_store.customer_ids(1):
        if options.snapshot:
            raise SchemaError(
                "there is no ledger to compare the snapshot with",
                where="--snapshot",
                do="load it without --snapshot first",
            )
        exported_on = _load_first(context, options, ledger_store)
    else:
        exported_on = _update(context, options, ledger_store)
    if exported_on is None:
        error_console.print(
            "the mapping does not state exported_on: questions without a date are "
            "answered as of today",
            style="yellow",
        )


def _load_first(
    context: Context,
    options: LoadOptions,
    store: LedgerStore,
) -> date | None:
    """Load a whole ledger; return the day of its export."""
    from obligor.data.loading import arrival_of
    from obligor.reading.streaming import is_large

    if is_large(options.mapping, context.environment):
        return _load_in_parts(context, options, store)
    result = context.checked_ledger(options.mapping)
    ledger = result.require()
    print_left_out(result)
    store.write(ledger, arrival_of(result).set_aside)
    store.note_left_out(ledger.tables, result.left_out, ledger.currency)
    _print_loaded(len(ledger["customers"]), ledger.observed_until)
    return ledger.exported_on


def _print_loaded(n_customers: int, observed_until: date) -> None:
    console.print(f"loaded {n_customers:,} customers, known until {observed_until}")


def _load_in_parts(
    context: Context,
    options: LoadOptions,
    store: LedgerStore,
) -> date | None:
    """Load or update by parts of the sources, which are too large for the memory."""
    from obligor.reading.bulk_load import load_in_parts, spool_folder, update_in_parts
    from obligor.reading.streaming import LedgerStream, StreamOptions

    is_first = options.replace or not store.customer_ids(1)
    folder = context.settings(options.store).store
    with spool_folder(folder) as spool, _progress_bar("loading") as advance:
        stream = LedgerStream(
            options.mapping,
            StreamOptions(
                today=context.today(),
                zone=context.stated_zone(),
                progress=advance,
                environment=context.environment,
            ),
            spool / "rows",
        )
        if is_first:
            result = load_in_parts(store, stream, spool)
        else:
            result = update_in_parts(store, stream, context.today())
    content = stream.content
    store.note_left_out(content.tables, result.left_out, content.currency)
    for note in stream.notes:
        error_console.print(str(note), markup=False, highlight=False)
    print_losses(result.left_out, stream.content.currency)
    if is_first:
        _print_loaded(result.n_customers, stream.observed_until)
    else:
        losses = {loss.table: loss.n_rows for loss in result.left_out}
        _print_counts(result.counts.by_table, losses)
        _print_known_from(result.n_customers, context.today())
    return stream.content.exported_on


@contextmanager
def _progress_bar(description: str) -> Iterator[Callable[[int, int], None]]:
    """Show a bar with the time left; give what moves it."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=error_console, transient=True) as bar:
        task = bar.add_task(description, total=None)

        def advance(n_done: int, n_all: int) -> None:
            bar.update(task, completed=n_done, total=n_all)

        yield advance


def _update(
    context: Context,
    options: LoadOptions,
    store: LedgerStore,
) -> date | None:
    """Update the loaded ledger; return the day of the export."""
    from obligor.data.batch_update import Snapshot
    from obligor.data.loaded_ledger import LoadedLedger
    from obligor.data.loading import LedgerUpdate, arrival_of
    from obligor.reading.streaming import is_large

    is_in_parts = is_large(options.mapping, context.environment)
    if is_in_parts and not options.snapshot:
        return _load_in_parts(context, options, store)
    today = context.today()
    with store.engine.connect() as connection:
        state = store.updatable_state(connection)
        loaded = LoadedLedger(store.rows, connection, state)
        check = context.checked_ledger(options.mapping, loaded)
        ledger = check.require()
        print_left_out(check)
        arrival = arrival_of(check, loaded)
    if options.snapshot:
        exported_on = ledger.exported_on or today
        snapshot = Snapshot(frozenset(ledger.tables), exported_on, today)
        arrival = replace(arrival, snapshot=snapshot)
    with _progress_bar("updating") as advance:
        result = LedgerUpdate(store, today, advance).apply(arrival)
    store.note_left_out(ledger.tables, check.left_out, ledger.currency)
    _print_update(check, result)
    _print_known_from(len(result.touched), today)
    return ledger.exported_on


def _print_update(check: LedgerCheck, result: UpdateResult) -> None:
    tables = {*check.ledger.tables, *check.quarantined}
    n_left_out = {table: len(rows) for table, rows in check.quarantined.items()}
    _print_counts({table: result.counts(table) for table in tables}, n_left_out)
    # Nothing has ended but by a snapshot.
    _print_ended(result.ended, check.ledger)


def _print_counts(
    counts: Mapping[str, Mapping[str, int]], n_left_out: Mapping[str, int]
) -> None:
    """Print what became of the rows, table by table."""
    table = Table("table", "taken", "same", "changed", "left out")
    for name, own in sorted(counts.items()):
        numbers = [*own.values(), n_left_out.get(name, 0)]
        table.add_row(name, *(f"{number:,}" for number in numbers))
    console.print(table)


def _print_known_from(n_customers: int, today: date) -> None:
    noun = "customer" if n_customers == 1 else "customers"
    console.print(f"{n_customers:,} {noun} changed")
    console.print(f"what is new or changed is known from {today} on")


def _print_ended(ended: Ended, ledger: Ledger) -> None:
    """Print which rows a snapshot ended, and what follows from it."""
    exported_on = ledger.exported_on or "today"
    for table, count in ended.counts.items():
        effect = ENDED.get(table, "no longer true from today on")
        noun = "row" if count == 1 else "rows"
        console.print(
            f"snapshot: {count:,} {noun} of {table} not in the list any more: {effect}",
            highlight=False,
        )
    for currency, amount in ended.amounts.items():
        console.print(
            f"snapshot: {amount:,.2f} {currency} of invoices was open, and is taken as "
            f"paid on {exported_on}",
            highlight=False,
        )
