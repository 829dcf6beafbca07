"""The command on one customer: who it is, and what others say of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from obligor.cli.arguments import (
    AsJson,
    AsOf,
    Store,
    command_context,
    console,
    with_options,
)

if TYPE_CHECKING:
    from obligor.casework.customers import CustomerAnswer


@dataclass(frozen=True)
class CustomerOptions:
    """The options of `obligor customer`."""

    customer_id: Annotated[str, typer.Argument(help="Customer of the loaded ledger")]
    as_of: AsOf = None
    is_json: AsJson = False
    store: Store = Path("store")


@with_options(CustomerOptions)
def customer(options: CustomerOptions) -> None:
    """Show who a customer is: name, ids, contacts, reports, group, and what it owes.

    Example: `obligor customer C0000012`
    """
    import orjson

    from obligor.casework.customers import CustomerDesk

    context = command_context()
    ledger = context.ledger_store(options.store)
    desk = CustomerDesk(
        ledger=ledger,
        now=context.now,
        zone=context.settings(options.store).time_zone,
    )
    as_of = context.as_of(options.as_of, ledger.exported_on())
    answer = desk.customer(options.customer_id, as_of)
    if options.is_json:
        typer.echo(orjson.dumps(answer).decode())
    else:
        _print_customer(answer)


def _print_customer(answer: CustomerAnswer) -> None:
    owed = answer["owed"]
    lines = {
        "customer": answer["customer_id"],
        "as of": str(answer["as_of"]),
        "owes": f"{owed['amount']} {owed['currency']}",
        "country": answer["country"],
        "sector": answer["sector"],
    }
    profile = answer["profile"].items()
    lines |= {name: value for name, value in profile if isinstance(value, str)}
    group = answer["group"]
    if group is not None:
        lines["group"] = " > ".join(group["line"])
        lines["members"] = ", ".join(group["members"])
    for name, text in lines.items():
        if text:
            console.print(f"{name:<16} {text}", markup=False, highlight=False)
    _print_rows("contacts", answer["profile"]["contacts"])
    _print_rows("reports", answer["reports"])


def _print_rows(title: str, rows: Sequence[Mapping[str, object]]) -> None:
    """Print the rows of a table, if there are any."""
    if not rows:
        return
    table = Table(*rows[0], title=title)
    for row in rows:
        texts = ["" if value is None else str(value) for value in row.values()]
        table.add_row(*map(escape, texts))
    console.print(table)
