"""The command on open cases: list them, and decide them again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from obligor.cli.arguments import Store, command_context, console
from obligor.errors import ObligorError

if TYPE_CHECKING:
    from obligor.casework.cases import CaseDesk


def cases(
    reevaluate: Annotated[
        bool,
        typer.Option(help="Decide each open case again with what is known now"),
    ] = False,
    store: Store = Path("store"),
) -> None:
    """List the open cases.

    After a new ledger was loaded, `--reevaluate` decides them again: a case whose
    customer has paid meanwhile is closed.

    Example: `obligor cases --reevaluate`
    """
    desk = command_context().service(store).cases
    table = Table("case", "customer", "opened", "was", "why", "may resolve", "now")
    for case in desk.open_cases()["cases"]:
        status = _reevaluated(case["case_id"], desk) if reevaluate else "open"
        authority = case["authority"]
        n_persons = max(authority["persons"], 1)
        table.add_row(
            case["case_id"],
            case["customer_id"],
            case["opened_at"][:10],
            case["outcome"],
            ", ".join(reason["code"] for reason in case["reasons"]),
            f"{authority['approver']} x {n_persons}",
            status,
        )
    console.print(table)


def _reevaluated(case_id: str, desk: CaseDesk) -> str:
    """Return the status of a case after it was decided again, or why it cannot be."""
    try:
        return desk.ask_again(case_id)["status"]
    except ObligorError as error:
        return error.what
