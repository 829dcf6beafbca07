"""Backups: the record's tables and the files that replays need.

A backup is restored into an empty database, SQLite or PostgreSQL.
"""

from __future__ import annotations

import gzip
import json
import shutil
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, TypedDict

import orjson
import sqlalchemy as sa

from obligor.data.store import LedgerStore
from obligor.errors import RecordError
from obligor.model.bundle import CHAMPION_POINTER, NAMED, PROMOTIONS
from obligor.record.database import DatabaseRow, RecordDatabase
from obligor.record.merkle_log import Tree
from obligor.record.record import Record
from obligor.record.tables import (
    API_KEYS,
    API_USAGE,
    CUSTOMERS,
    ENTRIES,
    NODES,
    SECRETS,
    WEBHOOK_COUNTERS,
    WEBHOOK_ENDPOINTS,
    WEBHOOK_OUTBOX,
    WEBHOOK_SECRETS,
)
from obligor.serving.operations.ledger_backup import (
    dump_ledger,
    load_ledger,
    require_empty_ledger,
)
from obligor.serving.operations.snapshot import snapshot

# Read in one snapshot: the outbox and the entries it was derived from fit together.
_WEBHOOKS = (WEBHOOK_ENDPOINTS, WEBHOOK_SECRETS, WEBHOOK_COUNTERS, WEBHOOK_OUTBOX)
TABLES = (SECRETS, API_KEYS, API_USAGE, CUSTOMERS, ENTRIES, NODES, *_WEBHOOKS)
# A fresh record has an index key of its own, which the backup's replaces.
_REPLACED = (SECRETS, API_KEYS, API_USAGE, CUSTOMERS, *_WEBHOOKS)
_NUMBERED = (ENTRIES, WEBHOOK_OUTBOX)
STORE_FILES = (CHAMPION_POINTER, PROMOTIONS)
STORE_FOLDERS = ("models", "rulebooks", NAMED)
CHECKPOINTS = "checkpoints"
MANIFEST = "manifest.json"
FORMAT = 1
CHUNK = 500  # rows in memory at a time
_HASH_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class StoreFolders:
    """What a backup copies besides the database of the record.

    Attributes
    ----------
    store : Path
        The store: models, rulebooks, and which model is the champion.
    checkpoints : Path
        The first folder of checkpoints.
    ledger : LedgerStore, optional
        The loaded ledger; it is left out if it is not named.
    """

    store: Path
    checkpoints: Path
    ledger: LedgerStore | None = None


class Manifest(TypedDict):
    """What a backup contains: rows of each table, and the SHA-256 of each file."""

    format: int
    at: str
    rows: dict[str, int]
    sha256: dict[str, str]


def back_up(
    record: Record,
    source: StoreFolders,
    folder: Path,
    at: datetime,
    progress: Callable[[int], None] = lambda n_rows: None,
) -> dict[str, int]:
    """Write a backup into a new folder while the service runs.

    Texts stay encrypted and keys wrapped, and the ledger is encrypted under the data
    key: restoring needs the same one. The backup contains neither the data key nor the
    signing key. What is erased later can still be read from an older backup: destroy
    older backups, or rotate the data key.

    Parameters
    ----------
    record : Record
        The record.
    source : StoreFolders
        Where the files are.
    folder : Path
        The backup; it must not exist, or be empty.
    at : datetime
        The time, with its zone.
    progress : callable
        Called now and then with the rows copied so far.

    Returns
    -------
    dict of str to int
        The rows of each table.

    Raises
    ------
    RecordError
        If the folder is not empty.
    """
    if folder.exists() and any(folder.iterdir()):
        raise RecordError(
            "the folder is not empty",
            where=str(folder),
            expected="a new folder for each backup",
        )
    folder.mkdir(parents=True, exist_ok=True)
    rows = dict[str, int]()
    if source.ledger is not None:
        # Before the record, which then has the keys of all that is sealed in it.
        rows |= dump_ledger(source.ledger, record.database.vault, folder, progress)
    rows |= _dump_tables(record.database.engine, folder, progress)
    _copy_files(source.store, folder)
    for name in STORE_FOLDERS:
        _copy_folder(source.store / name, folder / name)
    _copy_folder(source.checkpoints, folder / CHECKPOINTS)
    manifest: Manifest = {
        "format": FORMAT,
        "at": at.isoformat(),
        "rows": rows,
        "sha256": _hashes_of(folder),
    }
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")
    return rows


def restore(record: Record, target: StoreFolders, folder: Path) -> dict[str, int]:
    """Restore a backup into an empty record and store.

    Parameters
    ----------
    record : Record
        A fresh one, in which nothing was recorded yet. Open it again afterwards.
    target : StoreFolders
        Where the files go.
    folder : Path
        The backup.

    Returns
    -------
    dict of str to int
        The rows of each table.

    Raises
    ------
    RecordError
        If the backup is damaged, was made with another data key, or the record or the
        ledger store is not empty; then nothing is changed.
    """
    manifest = check_backup(folder)
    _require_data_key(record.database, folder)
    if target.ledger is not None:
        require_empty_ledger(target.ledger)
    _restore_record(record, manifest, folder)
    if target.ledger is not None:
        load_ledger(target.ledger, record.database.vault, folder)
    _copy_files(folder, target.store)
    for name in STORE_FOLDERS:
        _copy_folder(folder / name, target.store / name)
    _copy_folder(folder / CHECKPOINTS, target.checkpoints)
    return manifest["rows"]


def _restore_record(
    record: Record,
    manifest: Manifest,
    folder: Path,
) -> None:
    """Load the tables of the record, in one transaction."""
    with record.database.writing() as connection:
        _require_empty(connection)
        for table in _REPLACED:
            connection.execute(table.delete())
        for table in TABLES:
            # A backup of an earlier version does not have the newest tables.
            if table.name in manifest["rows"]:
                _load_table(connection, table, folder)
        if not record.database.is_sqlite:
            for table in _NUMBERED:
                _continue_sequence(connection, table)
        Tree(record.database).place_unplaced(connection)


def check_backup(folder: Path) -> Manifest:
    """Return the manifest of a backup after the hash of every file was checked.

    Raises
    ------
    RecordError
        If it is not a backup, or a file is missing or was changed.
    """
    try:
        text = (folder / MANIFEST).read_text(encoding="utf-8")
        manifest: Manifest = json.loads(text)
        changed = []
        for name, hash_ in manifest["sha256"].items():
            if _sha256(folder / name) != hash_:
                changed.append(name)
        is_format_known = manifest["format"] == FORMAT
    except (OSError, ValueError, KeyError) as error:
        raise RecordError(
            f"the folder is not a complete backup ({type(error).__name__})",
            where=str(folder),
            do="restore another backup",
        ) from None
    if changed or not is_format_known:
        raise RecordError(
            f"the backup was changed: {changed[:3] or 'format'}",
            where=str(folder),
            do="restore another backup",
        )
    return manifest


def _require_data_key(database: RecordDatabase, folder: Path) -> None:
    """Refuse another data key than the backup was made with, before any change."""
    for secret in _rows_of(SECRETS, folder):
        database.vault.unwrap(secret["wrapped"], secret["name"])


def _require_empty(connection: sa.Connection) -> None:
    if connection.scalar(sa.select(sa.func.count()).select_from(ENTRIES)):
        raise RecordError(
            "the record is not empty",
            where="record",
            do="name a new database in OBLIGOR_RECORD_URL",
        )


def _continue_sequence(connection: sa.Connection, table: sa.Table) -> None:
    """Let PostgreSQL number new rows after the restored ones."""
    last = sa.select(sa.func.max(table.c.seq)).scalar_subquery()
    following = sa.func.coalesce(last, 0) + 1
    sequence = sa.func.pg_get_serial_sequence(table.name, "seq")
    # False: the number is the next one, not one that was used.
    connection.execute(sa.select(sa.func.setval(sequence, following, False)))


def _dump_tables(
    engine: sa.Engine, folder: Path, progress: Callable[[int], None]
) -> dict[str, int]:
    counts = dict[str, int]()
    with snapshot(engine) as connection:
        for table in TABLES:
            query = sa.select(table).order_by(*table.primary_key.columns)
            chunks = connection.execute(query).partitions(CHUNK)
            counts[table.name] = _dump(chunks, _table_file(table, folder), progress)
    return counts


def _dump(
    chunks: Iterator[Sequence[DatabaseRow]],
    path: Path,
    progress: Callable[[int], None],
) -> int:
    """Write rows as lines of JSON, compressed; return how many."""
    count = 0
    with gzip.open(path, "wb", compresslevel=1) as file:
        for chunk in chunks:
            for row in chunk:
                # The names of the columns are of a subclass of str.
                line = orjson.dumps(
                    row._asdict(),
                    default=_base64,
                    option=orjson.OPT_NON_STR_KEYS,
                )
                file.write(line + b"\n")
            count += len(chunk)
            progress(count)
    return count


def _base64(value: bytes) -> str:
    return b64encode(value).decode()


def _load_table(connection: sa.Connection, table: sa.Table, folder: Path) -> None:
    chunk = list[dict[str, object]]()
    for row in _rows_of(table, folder):
        chunk.append(row)
        if len(chunk) == CHUNK:
            connection.execute(table.insert(), chunk)
            chunk.clear()
    if chunk:
        connection.execute(table.insert(), chunk)


def _rows_of(table: sa.Table, folder: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of a table as the database takes them."""
    with gzip.open(_table_file(table, folder), "rb") as file:
        for line in file:
            row = dict[str, Any]()
            for name, value in orjson.loads(line).items():
                row[name] = _database_value(value, table.c[name])
            # A transaction of the old database means nothing in the new one.
            if row.get("xid") is not None:
                row["xid"] = 0
            yield row


def _database_value(value: object, column: sa.Column[object]) -> object:
    if not isinstance(value, str):
        return value
    if isinstance(column.type, sa.LargeBinary):
        return b64decode(value)
    if isinstance(column.type, sa.DateTime):
        return datetime.fromisoformat(value)
    if isinstance(column.type, sa.Date):
        return date.fromisoformat(value)
    return value


def _table_file(table: sa.Table, folder: Path) -> Path:
    return folder / f"{table.name}.jsonl.gz"


def _copy_files(source: Path, target: Path) -> None:
    for name in STORE_FILES:
        if (source / name).exists():
            shutil.copy(source / name, target / name)


def _copy_folder(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, dirs_exist_ok=True)


def _hashes_of(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file by its path in the folder."""
    hashes = dict[str, str]()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            hashes[str(path.relative_to(folder))] = _sha256(path)
    return hashes


def _sha256(path: Path) -> str:
    digest = sha256()
    with path.open("rb") as file:
        while part := file.read(_HASH_CHUNK_BYTES):
            digest.update(part)
    return digest.hexdigest()
