"""The commands of an auditor: parses, calls `serving`, prints; the clock, the environment and chance are here."""

from __future__ import annotations

import os
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.status import Status
from rich.table import Table

from data.errors import RecordError

if TYPE_CHECKING:
    from serving.scoring import Engine
    from serving.settings import Settings

app = typer.Typer(no_args_is_help=True, help="Prove, read, replay and erase what was recorded.")
out = Console()
Store = Annotated[Path, typer.Option(envvar="OBLIGOR_STORE", help="Folder of models, ledger and record")]


def _settings(store: Path) -> Settings:
    from serving.settings import Settings

    return Settings.of({**os.environ, "OBLIGOR_STORE": str(store)})


def _engine(store: Path) -> Engine:
    from serving.assembly import build_engine

    new_id = lambda: str(uuid.uuid4())  # noqa: E731
    return build_engine(_settings(store), now=lambda: datetime.now(UTC), new_id=new_id, random=os.urandom)


@app.command()
def verify(
    against: Annotated[Path | None, typer.Option(help="Folder of checkpoints kept elsewhere")] = None,
    receipt: Annotated[list[Path] | None, typer.Option(help="File with receipts, one a line")] = None,
    key: Annotated[Path | None, typer.Option(help="The public key; default the one beside the checkpoints")] = None,
    store: Store = Path("store"),
) -> None:
    """Prove the record against signed checkpoints and receipts; exit code 1 where something does not hold.

    Example: `obligor audit verify --against backup/checkpoints --receipt receipts.txt`
    """
    from serving.assembly import open_record
    from serving.audit import verify as verify_record
    from serving.seal import PUBLIC, Shelf
    from serving.tree import Tree

    settings = _settings(store)
    record, _ = open_record(settings, os.urandom)
    folders = [against] if against else list(settings.checkpoints)
    path = key or folders[0] / PUBLIC
    if not path.exists():
        raise RecordError("no public key", where=str(path), do="name one with --key, or the folder with --against")
    receipts = [line for file in receipt or () for line in file.read_text().splitlines() if line.strip()]
    tree = Tree(record)
    checkpoints = list(Shelf(folders).all())
    with Status("entries proven: 0", console=out) as status:
        found = list(verify_record(tree, checkpoints, path.read_bytes(), receipts,
                                   lambda n: status.update(f"entries proven: {n:,}")))  # fmt: skip
    for one in found:
        out.print(f"[red]does not hold[/red]  {one.where}: {one.what}", highlight=False)
    out.print(f"{tree.size():,} entries, {len(checkpoints):,} checkpoints, {len(receipts):,} receipts: "
              + (f"{len(found)} findings" if found else "[green]all hold[/green]"))  # fmt: skip
    raise typer.Exit(1 if found else 0)


@app.command()
def replay(
    decision_id: Annotated[str | None, typer.Argument(help="A decision or order check")] = None,
    every: Annotated[bool, typer.Option("--all", help="All there are")] = False,
    store: Store = Path("store"),
) -> None:
    """Make decisions again with the model, rules and inputs of their day; exit code 1 where one differs.

    Example: `obligor audit replay --all`
    """
    from serving.audit import Finding, replay_all
    from serving.audit import replay as replay_one

    if (decision_id is None) == (not every):
        raise RecordError("which decision?", where="replay", expected="its id, or --all")
    engine, equal, erased, different = _engine(store), 0, 0, 0
    found = replay_all(engine) if decision_id is None else [replay_one(decision_id, engine)]
    for one in found:
        if isinstance(one, Finding):
            erased += one.what == "erased"
            different += one.what != "erased"
            if one.what != "erased":
                out.print(f"[red]cannot be replayed[/red]  {one.where}: {one.what}", highlight=False)
        elif one.is_equal:
            equal += 1
        else:
            different += 1
            out.print(f"[red]differs[/red]  {one.decision_id}", highlight=False)
            for difference in one.differences:
                out.print(f"  {difference}", highlight=False, markup=False)
    out.print(f"{equal:,} came out bit for bit, {different:,} did not, {erased:,} are erased")
    raise typer.Exit(1 if different else 0)


@app.command()
def erase(
    customer_id: str,
    because: Annotated[str, typer.Option(help="Why, and who asked")],
    store: Store = Path("store"),
) -> None:
    """Destroy a customer's key: what was recorded about the customer cannot be read again; the log still verifies.

    Example: `obligor audit erase C0000012 --because "asked by letter of 3 March"`
    """
    from serving.assembly import open_record
    from serving.erasure import erase as erase_customer

    record, _ = open_record(_settings(store), os.urandom)
    count = erase_customer(record, customer_id, because, datetime.now(UTC))
    out.print(f"{count:,} entries cannot be read any more")


@app.command()
def rotate(
    store: Store = Path("store"),
) -> None:
    """Wrap every key under OBLIGOR_NEW_DATA_KEY; then set it as OBLIGOR_DATA_KEY and start the service again.

    Example: `OBLIGOR_NEW_DATA_KEY=$(openssl rand -hex 32) obligor audit rotate`
    """
    from data.keys import parse_key
    from serving.assembly import open_record
    from serving.erasure import rotate as rotate_keys
    from serving.vault import Vault

    if "OBLIGOR_NEW_DATA_KEY" not in os.environ:
        raise RecordError("is not set", where="OBLIGOR_NEW_DATA_KEY", expected="64 hexadecimal digits")
    new = Vault(parse_key(os.environ["OBLIGOR_NEW_DATA_KEY"], "OBLIGOR_NEW_DATA_KEY"), os.urandom)
    record, _ = open_record(_settings(store), os.urandom)
    out.print(f"{rotate_keys(record, new):,} customers' keys are wrapped anew; set OBLIGOR_DATA_KEY to the new key")


@app.command()
def timeline(
    at: Annotated[str | None, typer.Option(help="What applied at a time, ISO 8601")] = None,
    store: Store = Path("store"),
) -> None:
    """Say which models and rulebooks applied since when, who brought them in, and why.

    Example: `obligor audit timeline --at 2026-03-01T12:00:00+00:00`
    """
    from serving.timeline import in_force_at, timeline_of

    settings = _settings(store)
    events = timeline_of(settings.store, settings.rules)
    if at is not None:
        when = datetime.fromisoformat(at)
        events = list(in_force_at(events, when if when.tzinfo else when.replace(tzinfo=UTC)).values())
    table = Table("since", "what", "version", "sha256", "by", "because")
    for one in events:
        table.add_row(one.since.isoformat(), one.what, one.version, one.sha256[:12], one.by, one.because)
    out.print(table)
