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

from obligor.errors import RecordError

if TYPE_CHECKING:
    from obligor.decisions.engine import Engine
    from obligor.serving.settings import Settings

app = typer.Typer(
    no_args_is_help=True, help="Prove, read, replay and erase what was recorded."
)
out = Console()
Store = Annotated[
    Path,
    typer.Option(envvar="OBLIGOR_STORE", help="Folder of models, ledger and record"),
]


def _settings(store: Path) -> Settings:
    from obligor.serving.settings import Settings

    return Settings.of({**os.environ, "OBLIGOR_STORE": str(store)})


def _engine(store: Path) -> Engine:
    from obligor.serving.assembly import build_engine

    new_id = lambda: str(uuid.uuid4())  # noqa: E731
    return build_engine(
        _settings(store),
        now=lambda: datetime.now(UTC),
        new_id=new_id,
        random=os.urandom,
    )


@app.command()
def verify(
    against: Annotated[
        Path | None, typer.Option(help="Folder of checkpoints kept elsewhere")
    ] = None,
    receipt: Annotated[
        list[Path] | None, typer.Option(help="File with receipts, one a line")
    ] = None,
    key: Annotated[
        Path | None,
        typer.Option(help="The public key; default the one beside the checkpoints"),
    ] = None,
    store: Store = Path("store"),
) -> None:
    """Prove the record against signed checkpoints and receipts; exit code 1 where something does not hold.

    Example: `obligor audit verify --against backup/checkpoints --receipt receipts.txt`
    """
    from obligor.record.merkle_log import Tree
    from obligor.record.receipts import PUBLIC, CheckpointFolder
    from obligor.record.verify import verify as verify_record
    from obligor.serving.assembly import open_record

    settings = _settings(store)
    record, _ = open_record(settings, os.urandom)
    folders = [against] if against else list(settings.checkpoints)
    path = key or folders[0] / PUBLIC
    if not path.exists():
        raise RecordError(
            "no public key",
            where=str(path),
            do="name one with --key, or the folder with --against",
        )
    receipts = [
        line
        for file in receipt or ()
        for line in file.read_text().splitlines()
        if line.strip()
    ]
    tree = Tree(record)
    checkpoints = list(CheckpointFolder(folders).all())
    with Status("entries proven: 0", console=out) as status:
        found = list(
            verify_record(
                tree,
                checkpoints,
                path.read_bytes(),
                receipts,
                lambda n: status.update(f"entries proven: {n:,}"),
            )
        )
    for one in found:
        out.print(f"[red]does not hold[/red]  {one.where}: {one.what}", highlight=False)
    out.print(
        f"{tree.size():,} entries, {len(checkpoints):,} checkpoints, {len(receipts):,} receipts: "
        + (f"{len(found)} findings" if found else "[green]all hold[/green]")
    )
    raise typer.Exit(1 if found else 0)


@app.command()
def replay(
    decision_id: Annotated[
        str | None, typer.Argument(help="A decision or order check")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="All there are")] = False,
    store: Store = Path("store"),
) -> None:
    """Make decisions again with the model, rules and inputs of their day; exit code 1 where one differs.

    Example: `obligor audit replay --all`
    """
    from obligor.decisions.replay import replay as replay_one
    from obligor.decisions.replay import replay_all
    from obligor.record.verify import Finding

    if (decision_id is None) == (not every):
        raise RecordError(
            "which decision?", where="replay", expected="its id, or --all"
        )
    engine, equal, erased, different = _engine(store), 0, 0, 0
    found = (
        replay_all(engine) if decision_id is None else [replay_one(decision_id, engine)]
    )
    for one in found:
        if isinstance(one, Finding):
            erased += one.what == "erased"
            different += one.what != "erased"
            if one.what != "erased":
                out.print(
                    f"[red]cannot be replayed[/red]  {one.where}: {one.what}",
                    highlight=False,
                )
        elif one.is_equal:
            equal += 1
        else:
            different += 1
            out.print(f"[red]differs[/red]  {one.decision_id}", highlight=False)
            for difference in one.differences:
                out.print(f"  {difference}", highlight=False, markup=False)
    out.print(
        f"{equal:,} came out bit for bit, {different:,} did not, {erased:,} are erased"
    )
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
    from obligor.record.retention import erase as erase_customer
    from obligor.serving.assembly import open_record

    record, _ = open_record(_settings(store), os.urandom)
    count = erase_customer(
        record, customer_id, because, datetime.now(UTC), str(uuid.uuid4())
    )
    out.print(f"{count:,} entries cannot be read any more")


@app.command()
def purge(
    months: Annotated[
        int, typer.Option(min=1, help="Retention where the customer is a company")
    ] = 12,
    months_of_persons: Annotated[
        int, typer.Option(min=1, help="Retention where it is a person")
    ] = 25,
    is_trial: Annotated[
        bool, typer.Option("--trial", help="Only report what would go")
    ] = False,
    store: Store = Path("store"),
) -> None:
    """Destroy the keys of what was kept for long enough, month by month, and report it; the log still verifies.

    Example: `obligor audit purge --trial`
    """
    from obligor.record.retention import purge as purge_record
    from obligor.serving.assembly import open_record

    record, _ = open_record(_settings(store), os.urandom)
    found = purge_record(
        record,
        datetime.now(UTC),
        str(uuid.uuid4()),
        months,
        months_of_persons,
        is_trial,
    )
    table = Table("month", "customers", title="kept for long enough")
    for month, customers in found.months.items():
        table.add_row(month or "before months were kept", f"{customers:,}")
    out.print(table)
    out.print(
        f"{found.entries:,} entries {'would go' if is_trial else 'cannot be read any more'}"
    )


@app.command()
def events(
    kind: Annotated[
        str | None, typer.Option(help="denied, erasure or purge; default all")
    ] = None,
    store: Store = Path("store"),
) -> None:
    """Print what is recorded about the service itself: calls that were denied, erasures, purges.

    Example: `obligor audit events --kind denied`
    """
    from obligor.serving.assembly import open_record

    record, _ = open_record(_settings(store), os.urandom)
    for entry_id in record.ids((kind,) if kind else ("denied", "erasure", "purge")):
        typer.echo(record.body_of(entry_id))


@app.command()
def bundle(
    decision_id: Annotated[str, typer.Argument(help="A decision or order check")],
    path: Annotated[
        Path | None, typer.Option("--out", help="The zip; default evidence-ID.zip")
    ] = None,
    store: Store = Path("store"),
) -> None:
    """Write all the evidence about a decision into one zip: answer, page, proof, replay, model, rules, verifier.

    Example: `obligor audit bundle 5f0c6a52-0f4b-4f0e-9d5e-3f3a1b2c4d5e --out evidence.zip`
    """
    from obligor.decisions.evidence import write_evidence

    target = path or Path(f"evidence-{decision_id}.zip")
    size = write_evidence(decision_id, _engine(store), target)
    out.print(f"{target}: {size:,} bytes; README.txt in it says how to check it")


@app.command()
def backup(
    folder: Annotated[Path, typer.Argument(help="A new folder")],
    store: Store = Path("store"),
) -> None:
    """Copy the record, models, rulebooks and checkpoints while the service runs; keys are not in it.

    Example: `obligor audit backup backups/2026-11-22`
    """
    from obligor.serving.assembly import open_record
    from obligor.serving.operations.backup import back_up

    settings = _settings(store)
    record, _ = open_record(settings, os.urandom)
    with Status("rows copied: 0", console=out) as status:
        rows = back_up(
            record,
            settings.store,
            settings.checkpoints[0],
            folder,
            datetime.now(UTC),
            lambda n: status.update(f"rows copied: {n:,}"),
        )
    out.print(
        f"{folder}: {', '.join(f'{count:,} {name}' for name, count in rows.items())}; keep the data key elsewhere"
    )


@app.command()
def restore(
    folder: Annotated[Path, typer.Argument(help="A backup")],
    store: Store = Path("store"),
) -> None:
    """Bring a backup into an empty record, SQLite or PostgreSQL, under the data key it was made with; then prove it.

    Example: `OBLIGOR_RECORD_URL=sqlite:///new/record.db obligor audit restore backups/2026-11-22 --store new`
    """
    from obligor.serving.assembly import open_record
    from obligor.serving.operations.backup import restore as restore_backup

    settings = _settings(store)
    settings.store.mkdir(parents=True, exist_ok=True)
    record, _ = open_record(settings, os.urandom)
    rows = restore_backup(record, settings.store, settings.checkpoints[0], folder)
    record.close()
    out.print(
        f"restored {', '.join(f'{count:,} {name}' for name, count in rows.items())}"
    )
    verify(store=store, receipt=None, against=None, key=None)


@app.command()
def rotate(
    store: Store = Path("store"),
) -> None:
    """Wrap every key under OBLIGOR_NEW_DATA_KEY; then set it as OBLIGOR_DATA_KEY and start the service again.

    Example: `OBLIGOR_NEW_DATA_KEY=$(openssl rand -hex 32) obligor audit rotate`
    """
    from obligor.record.encryption import Vault
    from obligor.record.retention import rotate as rotate_keys
    from obligor.serving.assembly import open_record
    from obligor.signing import parse_key

    if "OBLIGOR_NEW_DATA_KEY" not in os.environ:
        raise RecordError(
            "is not set", where="OBLIGOR_NEW_DATA_KEY", expected="64 hexadecimal digits"
        )
    new = Vault(
        parse_key(os.environ["OBLIGOR_NEW_DATA_KEY"], "OBLIGOR_NEW_DATA_KEY"),
        os.urandom,
    )
    record, _ = open_record(_settings(store), os.urandom)
    out.print(
        f"{rotate_keys(record, new):,} customers' keys are wrapped anew; set OBLIGOR_DATA_KEY to the new key"
    )


@app.command()
def timeline(
    at: Annotated[
        str | None, typer.Option(help="What applied at a time, ISO 8601")
    ] = None,
    store: Store = Path("store"),
) -> None:
    """Say which models and rulebooks applied since when, who brought them in, and why.

    Example: `obligor audit timeline --at 2026-03-01T12:00:00+00:00`
    """
    from obligor.decisions.in_force import in_force_at, timeline_of

    settings = _settings(store)
    events = timeline_of(settings.store, settings.rules)
    if at is not None:
        when = datetime.fromisoformat(at)
        events = list(
            in_force_at(
                events, when if when.tzinfo else when.replace(tzinfo=UTC)
            ).values()
        )
    table = Table("since", "what", "version", "sha256", "by", "because")
    for one in events:
        table.add_row(
            one.since.isoformat(),
            one.what,
            one.version,
            one.sha256[:12],
            one.by,
            one.because,
        )
    out.print(table)


def doctor(
    url: Annotated[
        str | None, typer.Option(help="Where the service answers, to look at it too")
    ] = None,
    store: Store = Path("store"),
) -> None:
    """Look at a deployment: keys, record, checkpoints, champion, rules, ledger, access; exit code 1 where one is bad.

    Example: `obligor doctor --url http://127.0.0.1:3000`
    """
    from obligor.serving.operations.doctor import Deployment, examine

    deployment = Deployment(
        _settings(store), _engine(store), os.environ, datetime.now(UTC), url
    )
    table, colors, bad = (
        Table("what", "state", "found", "do"),
        {"good": "green", "warning": "yellow", "bad": "red"},
        0,
    )
    for one in examine(deployment):
        bad += one.state == "bad"
        table.add_row(
            one.name, f"[{colors[one.state]}]{one.state}[/]", one.said, one.do
        )
    out.print(table)
    raise typer.Exit(1 if bad else 0)
