"""Backups of the record: every table and what replays need, restored into an empty database of either kind."""

from __future__ import annotations

import gzip
import json
import shutil
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import date, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import orjson
import sqlalchemy as sa

from obligor.errors import RecordError
from obligor.model.bundle import CHAMPION_POINTER, PROMOTIONS
from obligor.record.merkle_log import Tree
from obligor.record.record import Record
from obligor.record.tables import (
    API_KEYS,
    API_USAGE,
    CUSTOMERS,
    ENTRIES,
    NODES,
    SECRETS,
)

TABLES = (SECRETS, API_KEYS, API_USAGE, CUSTOMERS, ENTRIES, NODES)
FOLDERS = ("models", "rulebooks")
MANIFEST, FORMAT, CHUNK = "manifest.json", 1, 500


def back_up(
    record: Record,
    store: Path,
    checkpoints: Path,
    folder: Path,
    at: datetime,
    progress: Callable[[int], None] = lambda n: None,
) -> dict[str, int]:
    """Write a backup into a new folder while the service runs; return the rows of each table.

    Texts stay sealed and keys wrapped: it needs the same data key. Neither that nor the signing key is in it. What is
    erased later can still be read from an older backup: destroy those, or rotate the data key.

    Raises
    ------
    RecordError
        Where the folder is not empty, or the database cannot be read.
    """
    if folder.exists() and any(folder.iterdir()):
        raise RecordError(
            "is not empty", where=str(folder), expected="a new folder for each backup"
        )
    folder.mkdir(parents=True, exist_ok=True)
    rows = dict[str, int]()
    with _as_of_now(record.database.engine) as connection:
        for table in TABLES:
            query = sa.select(table).order_by(*table.primary_key.columns)
            rows[table.name] = _dump(
                connection.execute(query).yield_per(CHUNK),
                folder / _name(table),
                progress,
            )
    for name in (CHAMPION_POINTER, PROMOTIONS):
        if (store / name).exists():
            shutil.copy(store / name, folder / name)
    for name in FOLDERS:
        if (store / name).is_dir():
            shutil.copytree(store / name, folder / name)
    if checkpoints.is_dir():
        shutil.copytree(checkpoints, folder / "checkpoints")
    hashes = {
        str(path.relative_to(folder)): _sha256(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    manifest = {"format": FORMAT, "at": at.isoformat(), "rows": rows, "sha256": hashes}
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")
    return rows


def restore(
    record: Record, store: Path, checkpoints: Path, folder: Path
) -> dict[str, int]:
    """Bring a backup into an empty record and store; return the rows of each table.

    Parameters
    ----------
    record : Record
        Fresh: nothing was recorded yet. Open it anew afterwards.

    Raises
    ------
    RecordError
        Where the backup is damaged or the record is not empty; nothing is changed then.
    """
    manifest = check_backup(folder)
    with gzip.open(folder / _name(SECRETS), "rb") as file:
        for (
            line
        ) in file:  # before anything is changed: is it the data key it was made with?
            secret = _typed(orjson.loads(line), SECRETS)
            record.database.vault.unwrap(secret["wrapped"], secret["name"])
    with record.database.writing() as connection:
        if connection.scalar(sa.select(sa.func.count()).select_from(ENTRIES)):
            raise RecordError(
                "is not empty",
                where="record",
                do="name a new database in OBLIGOR_RECORD_URL",
            )
        for table in TABLES:
            if table not in (ENTRIES, NODES):  # a fresh record has made its own secret
                connection.execute(table.delete())
            _load(connection, table, folder / _name(table))
        if record.database.engine.dialect.name != "sqlite":
            last = (
                sa.func.coalesce(
                    sa.select(sa.func.max(ENTRIES.c.seq)).scalar_subquery(), 0
                )
                + 1
            )
            connection.execute(
                sa.select(
                    sa.func.setval(
                        sa.func.pg_get_serial_sequence("entries", "seq"), last, False
                    )
                )
            )
        Tree(record.database).place_unplaced(connection)
    for name in (CHAMPION_POINTER, PROMOTIONS):
        if (folder / name).exists():
            shutil.copy(folder / name, store / name)
    for name, target in (
        *((name, store / name) for name in FOLDERS),
        ("checkpoints", checkpoints),
    ):
        if (folder / name).is_dir():
            shutil.copytree(folder / name, target, dirs_exist_ok=True)
    return dict(manifest["rows"])


def check_backup(folder: Path) -> dict[str, Any]:
    """Return the manifest of a backup, every file's hash checked.

    Raises
    ------
    RecordError
        Where a file is missing or was changed.
    """
    try:
        manifest: dict[str, Any] = json.loads(
            (folder / MANIFEST).read_text(encoding="utf-8")
        )
        wrong = [
            name
            for name, hash_ in manifest["sha256"].items()
            if _sha256(folder / name) != hash_
        ]
    except (OSError, ValueError, KeyError) as error:
        raise RecordError(
            f"is no backup ({type(error).__name__})", where=str(folder)
        ) from None
    if wrong or manifest.get("format") != FORMAT:
        raise RecordError(
            f"was changed: {wrong[:3] or 'format'}",
            where=str(folder),
            do="take another backup",
        )
    return manifest


@contextmanager
def _as_of_now(engine: sa.Engine) -> Iterator[sa.Connection]:
    """One view of the whole database, whatever is written meanwhile."""
    with engine.connect() as connection:
        if engine.dialect.name == "sqlite":
            connection.exec_driver_sql("BEGIN")
        else:
            connection = connection.execution_options(
                isolation_level="REPEATABLE READ", stream_results=True
            )
        yield connection
        connection.rollback()


def _dump(
    rows: sa.CursorResult[Any], path: Path, progress: Callable[[int], None]
) -> int:
    count = 0
    with gzip.open(path, "wb", compresslevel=1) as file:
        for row in rows:
            file.write(
                orjson.dumps(row._asdict(), _text, orjson.OPT_NON_STR_KEYS) + b"\n"
            )
            count += 1
            if count % CHUNK == 0:
                progress(count)
    return count


def _text(value: bytes) -> str:
    return b64encode(value).decode()


def _load(connection: sa.Connection, table: sa.Table, path: Path) -> None:
    with gzip.open(path, "rb") as file:
        rows = list[dict[str, Any]]()
        for line in file:
            rows.append(_typed(orjson.loads(line), table))
            if len(rows) == CHUNK:
                connection.execute(table.insert(), rows)
                rows.clear()
        if rows:
            connection.execute(table.insert(), rows)


def _typed(row: Mapping[str, Any], table: sa.Table) -> dict[str, Any]:
    """A row of JSON as its table takes it; transactions of the old database mean nothing in the new one."""
    found = {name: _value(value, table.c[name].type) for name, value in row.items()}
    if row.get("xid") is not None:
        found["xid"] = 0
    return found


def _value(value: Any, kind: sa.types.TypeEngine[Any]) -> Any:
    if value is None:
        return None
    if isinstance(kind, sa.LargeBinary):
        return b64decode(value)
    if isinstance(kind, sa.DateTime):
        return datetime.fromisoformat(value)
    return date.fromisoformat(value) if isinstance(kind, sa.Date) else value


def _name(table: sa.Table) -> str:
    return f"{table.name}.jsonl.gz"


def _sha256(path: Path) -> str:
    digest = sha256()
    with path.open("rb") as file:
        while part := file.read(1 << 20):
            digest.update(part)
    return digest.hexdigest()
