"""The commands of an auditor: verify, replay, read, erase, back up, restore, doctor."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.status import Status
from rich.table import Table

from obligor.cli.arguments import Store, command_context, console, with_options
from obligor.errors import RecordError

if TYPE_CHECKING:
    from obligor.decisions.replay import Replay
    from obligor.record.verify import Finding

app = typer.Typer(
    no_args_is_help=True,
    help="Prove, read, replay and erase what was recorded.",
)
NEW_DATA_KEY = "OBLIGOR_NEW_DATA_KEY"
SERVICE_EVENTS = ("denied", "erasure", "purge")
COLORS = {"good": "green", "warning": "yellow", "bad": "red"}


@dataclass(frozen=True)
class VerifyOptions:
    """The options of `obligor audit verify`."""

    against: Annotated[
        Path | None,
        typer.Option(help="Folder of checkpoints kept elsewhere"),
    ] = None
    receipt: Annotated[
        list[Path] | None,
        typer.Option(help="File with receipts, one on a line"),
    ] = None
    key: Annotated[
        Path | None,
        typer.Option(help="Public key; default the one beside the checkpoints"),
    ] = None
    store: Store = Path("store")


@app.command()
@with_options(VerifyOptions)
def verify(options: VerifyOptions) -> None:
    """Prove the record against signed checkpoints and receipts.

    Exit code 1 if something does not hold.

    Example: `obligor audit verify --against backup/checkpoints --receipt receipts.txt`
    """
    n_findings = _verified(options)
    raise typer.Exit(1 if n_findings else 0)


def _verified(options: VerifyOptions) -> int:
    """Verify the record, print what does not hold, and return how many that are."""
    from obligor.record.merkle_log import Tree
    from obligor.record.receipts import CheckpointFolder
    from obligor.record.verify import verify as verify_record

    context = command_context()
    folders = list(context.settings(options.store).checkpoints)
    if options.against is not None:
        folders = [options.against]
    public_key = _public_key(options.key, folders[0])
    receipts = _receipts(options.receipt or [])
    checkpoints = list(CheckpointFolder(folders).all())
    tree = Tree(context.record(options.store).database)
    with Status("entries proven: 0", console=console) as status:
        findings = list(
            verify_record(
                tree,
                checkpoints,
                public_key,
                receipts,
                lambda count: status.update(f"entries proven: {count:,}"),
            )
        )
    for finding in findings:
        console.print(
            f"[red]does not hold[/red]  {finding.where}: {finding.what}",
            highlight=False,
        )
    summary = f"{len(findings)} findings" if findings else "[green]all hold[/green]"
    console.print(
        f"{tree.size():,} entries, {len(checkpoints):,} checkpoints, "
        f"{len(receipts):,} receipts: {summary}"
    )
    return len(findings)


def _public_key(key: Path | None, checkpoints: Path) -> bytes:
    from obligor.record.receipts import PUBLIC

    path = key or checkpoints / PUBLIC
    if not path.exists():
        raise RecordError(
            "the public key is missing",
            where=str(path),
            do="name one with --key, or the folder with --against",
        )
    return path.read_bytes()


def _receipts(files: list[Path]) -> list[str]:
    receipts = []
    for file in files:
        lines = file.read_text().splitlines()
        receipts += [line for line in lines if line.strip()]
    return receipts


@dataclass(frozen=True)
class ReplayOptions:
    """The options of `obligor audit replay`."""

    decision_id: Annotated[
        str | None,
        typer.Argument(help="Id of a decision or order check"),
    ] = None
    is_all: Annotated[
        bool,
        typer.Option("--all", help="Replay all there are"),
    ] = False
    store: Store = Path("store")


@app.command()
@with_options(ReplayOptions)
def replay(options: ReplayOptions) -> None:
    """Make decisions again with the model, rules and inputs of their day.

    Exit code 1 if one differs.

    Example: `obligor audit replay --all`
    """
    decision_id = options.decision_id
    if (decision_id is None) != options.is_all:
        raise RecordError(
            "replay needs to know which decision",
            where="replay",
            expected="its id, or --all",
        )
    replayer = command_context().service(options.store).replayer
    replays: Iterable[Replay | Finding] = replayer.replay_all()
    if decision_id is not None:
        replays = [replayer.replay(decision_id)]
    counts = {"equal": 0, "different": 0, "erased": 0}
    for outcome in replays:
        counts[_replay_verdict(outcome)] += 1
    console.print(
        f"{counts['equal']:,} came out bit for bit, {counts['different']:,} did not, "
        f"{counts['erased']:,} are erased"
    )
    raise typer.Exit(1 if counts["different"] else 0)


def _replay_verdict(outcome: Replay | Finding) -> str:
    """Print what differs, and return whether it is equal, different or erased."""
    from obligor.record.verify import Finding

    if isinstance(outcome, Finding):
        if outcome.what == "erased":
            return "erased"
        console.print(
            f"[red]cannot be replayed[/red]  {outcome.where}: {outcome.what}",
            highlight=False,
        )
        return "different"
    if outcome.is_equal:
        return "equal"
    console.print(f"[red]differs[/red]  {outcome.decision_id}", highlight=False)
    for difference in outcome.differences:
        console.print(f"  {difference}", highlight=False, markup=False)
    return "different"


@dataclass(frozen=True)
class EraseOptions:
    """The options of `obligor audit erase`."""

    customer_id: str
    because: Annotated[str, typer.Option(help="Reason, and who requested it")]
    store: Store = Path("store")


@app.command()
@with_options(EraseOptions)
def erase(options: EraseOptions) -> None:
    """Erase a customer: delete it from the ledger store, and destroy its keys.

    Its entries in the record cannot be read again; the log still verifies. A ledger
    that is loaded later brings the customer back: remove it from the source too.

    Example: `obligor audit erase C0000012 --because "request of 3 March, by letter"`
    """
    from obligor.casework.erasure import Eraser

    context = command_context()
    eraser = Eraser(
        record=context.record(options.store),
        ledger=context.ledger_store(options.store),
        now=context.now,
        new_id=context.new_id,
    )
    erased = eraser.erase(options.customer_id, options.because)
    console.print(
        f"{erased.entries:,} entries cannot be read any more, "
        f"{erased.ledger_rows:,} rows of the ledger are deleted"
    )


@dataclass(frozen=True)
class PurgeOptions:
    """The options of `obligor audit purge`."""

    months: Annotated[
        int,
        typer.Option(min=1, help="Months to keep entries about companies"),
    ] = 12
    months_of_persons: Annotated[
        int,
        typer.Option(min=1, help="Months to keep entries about natural persons"),
    ] = 25
    is_trial: Annotated[
        bool,
        typer.Option("--trial", help="Only report what would be purged"),
    ] = False
    store: Store = Path("store")


@app.command()
@with_options(PurgeOptions)
def purge(options: PurgeOptions) -> None:
    """Destroy the keys of entries whose retention has ended, month by month.

    The log still verifies; the purge is recorded.

    Example: `obligor audit purge --trial`
    """
    from obligor.record.retention import RetentionPeriod
    from obligor.record.retention import purge as purge_record

    context = command_context()
    purged = purge_record(
        context.record(options.store),
        context.now(),
        context.new_id(),
        RetentionPeriod(options.months, options.months_of_persons),
        options.is_trial,
    )
    table = Table("month", "customers", title="retention has ended")
    for month, n_customers in purged.months.items():
        table.add_row(month or "before months were recorded", f"{n_customers:,}")
    console.print(table)
    effect = "would go" if options.is_trial else "cannot be read any more"
    console.print(f"{purged.entries:,} entries {effect}")


@app.command()
def events(
    kind: Annotated[
        str | None,
        typer.Option(help="denied, erasure or purge; default all"),
    ] = None,
    store: Store = Path("store"),
) -> None:
    """Print what is recorded about the service itself: denials, erasures, purges.

    Example: `obligor audit events --kind denied`
    """
    record = command_context().record(store)
    kinds = SERVICE_EVENTS if kind is None else (kind,)
    for entry_id in record.reader.ids_of_kinds(kinds):
        typer.echo(record.reader.entry(entry_id).body)


@dataclass(frozen=True)
class BundleOptions:
    """The options of `obligor audit bundle`."""

    decision_id: Annotated[str, typer.Argument(help="Id of a decision or order check")]
    path: Annotated[
        Path | None,
        typer.Option("--out", help="Zip file; default evidence-ID.zip"),
    ] = None
    store: Store = Path("store")


@app.command()
@with_options(BundleOptions)
def bundle(options: BundleOptions) -> None:
    """Write all the evidence about a decision into one zip file.

    It holds answer, page, proof, replay, model, rules and a verifier.

    Example: `obligor audit bundle 5f0c6a52-0f4b-4f0e-9d5e-3f3a1b2c4d5e --out e.zip`
    """
    decision_id = options.decision_id
    target = options.path or Path(f"evidence-{decision_id}.zip")
    collector = command_context().service(options.store).evidence
    n_bytes = collector.write(decision_id, target)
    console.print(f"{target}: {n_bytes:,} bytes; its README.txt explains how to check")


@app.command()
def backup(
    folder: Annotated[Path, typer.Argument(help="New folder")],
    store: Store = Path("store"),
) -> None:
    """Copy record, ledger, models, rulebooks and checkpoints while the service runs.

    The backup contains no keys; the ledger in it is encrypted under the data key.

    Example: `obligor audit backup backups/2026-11-22`
    """
    from obligor.serving.operations.backup import StoreFolders, back_up

    context = command_context()
    settings = context.settings(store)
    with Status("rows copied: 0", console=console) as status:
        rows = back_up(
            context.record(store),
            StoreFolders(
                settings.store,
                settings.checkpoints[0],
                context.ledger_store(store),
            ),
            folder,
            context.now(),
            lambda count: status.update(f"rows copied: {count:,}"),
        )
    console.print(f"{folder}: {_row_counts(rows)}; keep the data key elsewhere")


@app.command()
def restore(
    folder: Annotated[Path, typer.Argument(help="Folder of a backup")],
    store: Store = Path("store"),
) -> None:
    """Restore a backup into an empty record and ledger store, and verify it.

    Both may be SQLite or PostgreSQL.

    It needs the data key that the backup was made with.

    Example: `OBLIGOR_RECORD_URL=sqlite:///new/record.db
    obligor audit restore backups/2026-11-22 --store new`
    """
    from obligor.serving.operations.backup import StoreFolders
    from obligor.serving.operations.backup import restore as restore_backup

    context = command_context()
    settings = context.settings(store)
    settings.store.mkdir(parents=True, exist_ok=True)
    record = context.record(store)
    target = StoreFolders(
        settings.store,
        settings.checkpoints[0],
        context.ledger_store(store),
    )
    rows = restore_backup(record, target, folder)
    record.close()
    console.print(f"restored {_row_counts(rows)}")
    n_findings = _verified(VerifyOptions(store=store))
    raise typer.Exit(1 if n_findings else 0)


def _row_counts(rows: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in rows.items())


@app.command()
def rotate(store: Store = Path("store")) -> None:
    """Wrap every customer key under the data key in OBLIGOR_NEW_DATA_KEY.

    Afterwards set it as OBLIGOR_DATA_KEY and start the service again.

    Example: `OBLIGOR_NEW_DATA_KEY=$(openssl rand -hex 32) obligor audit rotate`
    """
    from obligor.record.encryption import Vault
    from obligor.record.retention import rotate as rotate_keys
    from obligor.signing import parse_key

    context = command_context()
    if NEW_DATA_KEY not in context.environment:
        raise RecordError(
            "the new data key is not set",
            where=NEW_DATA_KEY,
            expected="64 hexadecimal digits",
        )
    new_key = parse_key(context.environment[NEW_DATA_KEY], NEW_DATA_KEY)
    n_keys = rotate_keys(context.record(store).database, Vault(new_key, context.random))
    console.print(
        f"{n_keys:,} customers' keys are wrapped again; "
        "set OBLIGOR_DATA_KEY to the new key"
    )


@app.command()
def timeline(
    at: Annotated[
        str | None,
        typer.Option(help="Show what applied at this time, ISO 8601"),
    ] = None,
    store: Store = Path("store"),
) -> None:
    """Show which models and rulebooks applied since when, by whom, and why.

    Example: `obligor audit timeline --at 2026-03-01T12:00:00+00:00`
    """
    from obligor.decisions.in_force import in_force_at, timeline_of

    settings = command_context().settings(store)
    changes = timeline_of(settings.store, settings.rules)
    if at is not None:
        changes = list(in_force_at(changes, _parsed_time(at)).values())
    table = Table("since", "what", "version", "sha256", "by", "because")
    for change in changes:
        table.add_row(
            change.since.isoformat(),
            change.what,
            change.version,
            change.sha256[:12],
            change.by,
            change.because,
        )
    console.print(table)


def _parsed_time(text: str) -> datetime:
    """Return the time that a text names, in UTC if it names no zone."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise RecordError(
            f"{text!r} is not a time",
            where="--at",
            expected="ISO 8601, such as 2026-03-01T12:00:00+00:00",
        ) from None
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def doctor(
    url: Annotated[
        str | None,
        typer.Option(help="Address of the running service, to check it too"),
    ] = None,
    store: Store = Path("store"),
) -> None:
    """Check a deployment: keys, record, checkpoints, champion, rules, ledger, access.

    Exit code 1 if one of them is bad.

    Example: `obligor doctor --url http://127.0.0.1:3000`
    """
    from obligor.serving.operations.doctor import Deployment, examine

    context = command_context()
    deployment = Deployment(
        context.settings(store),
        context.service(store),
        context.environment,
        context.now(),
        url,
    )
    table = Table("what", "state", "found", "do")
    is_bad = False
    for result in examine(deployment):
        is_bad = is_bad or result.state == "bad"
        state = f"[{COLORS[result.state]}]{result.state}[/]"
        table.add_row(result.name, state, result.detail, result.do)
    console.print(table)
    raise typer.Exit(1 if is_bad else 0)
