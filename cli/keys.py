"""The commands on API keys: create, revoke, list."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from obligor.cli.arguments import Store, command_context, console, with_options
from obligor.errors import SchemaError

if TYPE_CHECKING:
    import sqlalchemy as sa

app = typer.Typer(
    no_args_is_help=True,
    help="Keys for applications and people; only their hashes are stored.",
)
COLUMNS = {
    "key": "key_id",
    "name": "name",
    "role": "role",
    "person": "person",
    "authority": "authority",
    "a second": "per_second",
    "a day": "per_day",
    "created": "created_at",
    "revoked": "revoked_at",
}


def _database(store: Path) -> sa.Engine:
    store.mkdir(parents=True, exist_ok=True)
    return command_context().record(store).database.engine


@dataclass(frozen=True)
class CreateOptions:
    """The options of `obligor keys create`."""

    name: Annotated[
        str,
        typer.Option(
            help="Name of the calling application; "
            "keys with the same name count as one caller"
        ),
    ]
    role: Annotated[
        str,
        typer.Option(
            help="application, ledger, modeler, credit_manager, auditor or admin"
        ),
    ]
    per_second: Annotated[
        int,
        typer.Option(min=1, max=1_000_000, help="Calls allowed per second"),
    ] = 1000
    per_day: Annotated[
        int | None,
        typer.Option(min=1, help="Calls allowed per day (UTC); default no limit"),
    ] = None
    person: Annotated[
        str | None,
        typer.Option(help="Person the key speaks for, and for nobody else"),
    ] = None
    authority: Annotated[
        str | None,
        typer.Option(help="credit_analyst, credit_manager or director"),
    ] = None
    store: Store = Path("store")


@app.command()
@with_options(CreateOptions)
def create(options: CreateOptions) -> None:
    """Create a key and print it; it cannot be shown again.

    Example: `obligor keys create --name shop --role application`
    """
    from obligor.serving.access.api_keys import NewKey, create_key

    _require_role(options.role)
    _require_authority(options.person, options.authority)
    context = command_context()
    new_key = NewKey(
        name=options.name,
        role=options.role,
        per_second=options.per_second,
        per_day=options.per_day,
        person=options.person,
        authority=options.authority,
    )
    database = _database(options.store)
    key = create_key(database, new_key, context.now(), context.random)
    typer.echo(key)


def _require_role(role: str) -> None:
    from obligor.serving.access.roles import ROLES

    if role not in ROLES:
        raise SchemaError(
            f"{role!r} is not a role",
            where="--role",
            expected=f"one of {', '.join(ROLES)}",
        )


def _require_authority(person: str | None, authority: str | None) -> None:
    from obligor.policy.credit.authority import ROLES

    is_complete = (person is None) == (authority is None)
    if not is_complete or authority not in (None, *ROLES):
        raise SchemaError(
            "person and authority go together",
            where="--authority",
            expected=f"both or neither, the authority one of {', '.join(ROLES)}",
        )


@app.command()
def revoke(
    key_id: Annotated[
        str,
        typer.Argument(help="Part of the key between the underscores"),
    ],
    store: Store = Path("store"),
) -> None:
    """Revoke a key; it stops working within a few seconds.

    Example: `obligor keys revoke 3f9a1c2b4d5e`
    """
    from obligor.serving.access.api_keys import revoke_key

    revoke_key(_database(store), key_id, command_context().now())
    console.print(f"{key_id} is revoked")


@app.command(name="list")
def list_keys(store: Store = Path("store")) -> None:
    """List the keys.

    Example: `obligor keys list`
    """
    from obligor.serving.access.api_keys import list_keys as stored_keys

    table = Table(*COLUMNS)
    for row in stored_keys(_database(store)):
        values = [row[column] for column in COLUMNS.values()]
        table.add_row(*("" if value is None else str(value) for value in values))
    console.print(table)
