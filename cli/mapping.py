"""The command that writes a first mapping: map."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from obligor.cli.arguments import Context, command_context, console, with_options
from obligor.errors import SchemaError

if TYPE_CHECKING:
    from obligor.data.checks import LedgerCheck

MOST_FINDINGS = 20  # printed; the others are counted


@dataclass(frozen=True)
class MapOptions:
    """The options of `obligor map`."""

    files: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Lists of customers, invoices, open items or payments; bank statements"
        ),
    ] = None
    output: Annotated[
        Path,
        typer.Option(help="The mapping file to write"),
    ] = Path("mapping.toml")
    system: Annotated[
        str,
        typer.Option(help="Write the ready mapping of a system; `list` names them"),
    ] = ""
    currency: Annotated[
        str,
        typer.Option(help="The reporting currency; guessed if absent"),
    ] = ""
    force: Annotated[
        bool,
        typer.Option("--force", help="Overwrite the mapping file"),
    ] = False


@with_options(MapOptions)
def map_lists(options: MapOptions) -> None:
    """Guess a mapping from the headings of files, or write that of a known system.

    Prints what was guessed and why, what is not used, and what a person must check;
    then checks the ledger. Exit code 1 if it is refused.

    Example: `obligor map invoices.csv payments.xlsx --output mapping.toml`
    """
    from obligor.connectors.systems import system_names, system_text
    from obligor.data.money import minor_digits

    if options.system == "list":
        for name, title in system_names().items():
            _print_line(f"{name:<12} {title}")
        return
    if options.output.exists() and not options.force:
        raise SchemaError(
            "the file exists already",
            where=str(options.output),
            do="name another one with --output, or overwrite it with --force",
        )
    if options.currency:
        minor_digits(options.currency)
    if options.system and options.files:
        raise SchemaError(
            "files and --system are both there",
            where="arguments",
            expected="the files to map, or --system NAME",
        )
    if options.system:
        text = system_text(options.system, options.currency)
        options.output.write_text(text, encoding="utf-8")
        _print_line(f"wrote {options.output}: read its first lines")
        return
    _map(options.files or [], options)


def _map(files: Sequence[Path], options: MapOptions) -> None:
    from obligor.connectors.documents import guess_documents
    from obligor.connectors.drafting import draft_mapping
    from obligor.connectors.guessing import guess_list
    from obligor.connectors.layouts import layouts_of
    from obligor.connectors.writing import mapping_text, report_lines

    if not files:
        raise SchemaError(
            "no file is named",
            where="arguments",
            expected="the files to map, or --system NAME",
        )
    documents = guess_documents(files)
    read_paths = {path for document in documents for path in document.paths}
    guesses = [
        guess_list(layout)
        for path in files
        if path not in read_paths
        for layout in layouts_of(path)
    ]
    draft = draft_mapping(guesses, options.currency, documents)
    for line in report_lines(draft):
        _print_line(line)
    text = mapping_text(draft, options.output.parent)
    options.output.write_text(text, encoding="utf-8")
    _print_line(f"wrote {options.output}")
    _check(command_context(), options.output)


def _check(context: Context, mapping: Path) -> None:
    """Read the ledger through the mapping, and print what is missing."""
    from obligor.reading.sources import read_ledger

    try:
        result = read_ledger(
            mapping,
            today=context.today(),
            environment=context.environment,
            zone=context.stated_zone(),
        )
    except SchemaError as error:
        _print_line(f"not usable yet: {error}")
        raise typer.Exit(1) from None
    _print_findings(result)
    if result.is_refused:
        _print_line("not usable yet: change the mapping, then run obligor check")
        raise typer.Exit(1)
    _print_line(f"usable; next: obligor check {mapping}")


def _print_findings(result: LedgerCheck) -> None:
    findings = [item for item in result.by_weight() if item.level != "note"]
    for finding in findings[:MOST_FINDINGS]:
        _print_line(str(finding))
    n_more = len(findings) - MOST_FINDINGS
    if n_more > 0:
        _print_line(f"... and {n_more} more")
    for table, frame in result.ledger.tables.items():
        _print_line(f"{table:<12} {len(frame):>9,} rows")


def _print_line(text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)
