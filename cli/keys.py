"""The commands on API keys: parses, calls `serving.access`, prints; the clock and chance are here."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from obligor.errors import SchemaError

if TYPE_CHECKING:
    import sqlalchemy as sa

app = typer.Typer(
    no_args_is_help=True,
    help="Keys for applications and people; only their hashes are kept.",
)
out = Console()
Store = Annotated[
    Path,
    typer.Option(envvar="OBLIGOR_STORE", help="Folder of models, ledger and record"),
]


def _database(store: Path) -> sa.Engine:
    from obligor.serving.assembly import open_record
    from obligor.serving.settings import Settings

    store.mkdir(parents=True, exist_ok=True)
    return open_record(
        Settings.of({**os.environ, "OBLIGOR_STORE": str(store)}), os.urandom
    )[0].engine


@app.command()
def create(
    name: Annotated[
        str, typer.Option(help="Whose it is; keys of one name are one caller's")
    ],
    role: Annotated[
        str, typer.Option(help="application, modeler, credit_manager, auditor or admin")
    ],
    per_second: Annotated[
        int, typer.Option(min=1, max=1_000_000, help="Calls a second it may make")
    ] = 1000,
    per_day: Annotated[
        int | None,
        typer.Option(min=1, help="Calls a day (UTC) it may make; no limit without"),
    ] = None,
    person: Annotated[
        str | None, typer.Option(help="The person it speaks for, and only for")
    ] = None,
    authority: Annotated[
        str | None, typer.Option(help="credit_analyst, credit_manager or director")
    ] = None,
    store: Store = Path("store"),
) -> None:
    """Make a key and print it, this once.

    Example: `obligor keys create --name shop --role application`
    """
    from obligor.policy.credit.authority import ROLES as AUTHORITIES
    from obligor.serving.access.api_keys import create_key
    from obligor.serving.access.roles import ROLES

    if role not in ROLES:
        raise SchemaError(
            f"no role {role!r}", where="--role", expected=f"one of {', '.join(ROLES)}"
        )
    if (person is None) != (authority is None) or authority not in (None, *AUTHORITIES):
        expected = f"both or neither, the authority one of {', '.join(AUTHORITIES)}"
        raise SchemaError(
            "person and authority go together", where="--authority", expected=expected
        )
    key = create_key(
        _database(store),
        name,
        role,
        datetime.now(UTC),
        os.urandom,
        per_second=per_second,
        per_day=per_day,
        person=person,
        authority=authority,
    )
    typer.echo(key)


@app.command()
def revoke(
    key_id: Annotated[
        str, typer.Argument(help="The part of the key between the underscores")
    ],
    store: Store = Path("store"),
) -> None:
    """Revoke a key: a few seconds later nobody gets in with it.

    Example: `obligor keys revoke 3f9a1c2b4d5e`
    """
    from obligor.serving.access.api_keys import revoke_key

    revoke_key(_database(store), key_id, datetime.now(UTC))
    out.print(f"{key_id} is revoked")


@app.command(name="list")
def list_(store: Store = Path("store")) -> None:
    """List the keys.

    Example: `obligor keys list`
    """
    from obligor.serving.access.api_keys import list_keys

    table = Table(
        "key",
        "name",
        "role",
        "person",
        "authority",
        "a second",
        "a day",
        "created",
        "revoked",
    )
    for row in list_keys(_database(store)):
        names = (
            "key_id",
            "name",
            "role",
            "person",
            "authority",
            "per_second",
            "per_day",
            "created_at",
            "revoked_at",
        )
        table.add_row(*("" if row[name] is None else str(row[name]) for name in names))
    out.print(table)
