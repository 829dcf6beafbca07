"""The command that scores a file of applications."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from obligor.cli.arguments import (
    AsJson,
    ModelName,
    Store,
    command_context,
    error_console,
    with_options,
)
from obligor.cli.tables import print_warnings

NAMED = 10  # columns in a note


@dataclass(frozen=True)
class ScoreOptions:
    """The options of `obligor score`."""

    file: Annotated[
        Path,
        typer.Argument(help="CSV, Parquet, Excel or JSON lines, a row per applicant"),
    ]
    name: ModelName = None
    store: Store = Path("store")
    path: Annotated[
        Path | None,
        typer.Option("--out", help="CSV file for the scores; default the screen"),
    ] = None
    as_json: AsJson = False


@with_options(ScoreOptions)
def score(options: ScoreOptions) -> None:
    """Score every row of a file with the champion of a table; nothing is recorded.

    Cells are read as in training, and each PD is the one that `POST /v1/scores` gives
    for that row. A wrong cell is an error that names its row and column.

    Example: `obligor score applicants.csv --name cards --out scores.csv`
    """
    from obligor.decisions.table_scores import score_table
    from obligor.features.table_files import read_table_file

    table_file = read_table_file(options.file)
    print_warnings(table_file.notes)
    champion = command_context().champions(options.store, options.name).current()
    scored = score_table(table_file.frame, champion)
    if scored.unused:
        print_warnings([_unused_columns(scored.unused)])
    if options.as_json:
        answer = {
            "version": champion.version,
            "unused": list(scored.unused),
            "scores": scored.scores.to_dict("records"),
        }
        typer.echo(json.dumps(answer))
        return
    text = scored.scores.to_csv(index=False)
    if options.path is None:
        typer.echo(text, nl=False)
        return
    options.path.write_text(text, encoding="utf-8")
    error_console.print(
        f"{len(scored.scores):,} rows are scored by version {champion.version}: "
        f"{options.path}",
        highlight=False,
    )


def _unused_columns(names: tuple[str, ...]) -> str:
    shown = ", ".join(repr(name) for name in names[:NAMED])
    more = ", ..." if len(names) > NAMED else ""
    return f"{len(names)} columns are not read by the model: {shown}{more}"
