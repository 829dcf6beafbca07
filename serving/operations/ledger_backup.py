"""The ledger store in a backup: its tables, encrypted under the data key.

Updates over HTTP make the store the only copy of what they brought, so it is kept with
the record. Accounts are not encrypted where they are stored; a backup leaves the house.
"""

from __future__ import annotations

import gzip
import zlib
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import orjson
import sqlalchemy as sa

from obligor.data import ledger_tables, party_store
from obligor.data.store import LedgerStore
from obligor.errors import RecordError
from obligor.record.encryption import Vault, decrypt, encrypt
from obligor.serving.operations.snapshot import snapshot

FOLDER = "ledger"
CHUNK = 500  # rows in memory at a time
_IN_CHUNKS = {"yield_per": CHUNK}


def ledger_tables_of_store() -> list[sa.Table]:
    """Return every table of the ledger store."""
    tables = ledger_tables.METADATA.sorted_tables
    return [*tables, *party_store.METADATA.sorted_tables]


def dump_ledger(
    ledger: LedgerStore,
    vault: Vault,
    folder: Path,
    progress: Callable[[int], None],
) -> dict[str, int]:
    """Write the tables of a ledger store, encrypted.

    Parameters
    ----------
    ledger : LedgerStore
        The store.
    vault : Vault
        Has the data key.
    folder : Path
        The backup; the tables go into a folder of it.
    progress : callable
        Called now and then with the rows of a table copied so far.

    Returns
    -------
    dict of str to int
        The rows of each table, by ``ledger`` and its name.
    """
    target = folder / FOLDER
    target.mkdir(parents=True)
    counts = dict[str, int]()
    with snapshot(ledger.engine) as connection:
        for table in ledger_tables_of_store():
            query = sa.select(table).order_by(*table.primary_key.columns)
            result = connection.execute(query, execution_options=_IN_CHUNKS)
            chunks = result.partitions()
            writer = _Writer(vault, table.name, target)
            counts[f"ledger {table.name}"] = writer.write(chunks, progress)
    return counts


class _Writer:
    """Writes one table, a line for each chunk of rows."""

    def __init__(
        self,
        vault: Vault,
        table: str,
        folder: Path,
    ) -> None:
        self._vault = vault
        self._table = table
        self._folder = folder

    def write(
        self,
        chunks: Iterator[Sequence[sa.Row[tuple[object, ...]]]],
        progress: Callable[[int], None],
    ) -> int:
        count = 0
        path = _path(self._table, self._folder)
        with gzip.open(path, "wb", compresslevel=1) as file:
            for number, chunk in enumerate(chunks):
                rows = [row._asdict() for row in chunk]
                # The names of the columns are of a subclass of str.
                text = orjson.dumps(
                    rows,
                    default=_base64,
                    option=orjson.OPT_NON_STR_KEYS,
                )
                file.write(self._sealed(text, number) + b"\n")
                count += len(chunk)
                progress(count)
        return count

    def _sealed(self, text: bytes, number: int) -> bytes:
        sealed = encrypt(
            self._vault.data_key,
            zlib.compress(text, level=1),
            _context(self._table, number),
            self._vault.random,
        )
        return b64encode(sealed)


def load_ledger(ledger: LedgerStore, vault: Vault, folder: Path) -> None:
    """Load the tables of a backup into an empty ledger store, if the backup has them.

    Parameters
    ----------
    ledger : LedgerStore
        An empty store.
    vault : Vault
        Has the data key that the backup was made with.
    folder : Path
        The backup; one of an earlier version has no ledger.

    Raises
    ------
    RecordError
        If a part of it cannot be decrypted.
    """
    source = folder / FOLDER
    if not source.is_dir():
        return
    with ledger.engine.begin() as connection:
        for table in ledger_tables_of_store():
            connection.execute(table.delete())
            for rows in _chunks_of(table, vault, source):
                connection.execute(table.insert(), rows)


def require_empty_ledger(ledger: LedgerStore) -> None:
    """Refuse a ledger store that has customers.

    Raises
    ------
    RecordError
        If it has.
    """
    if ledger.customer_ids(1):
        raise RecordError(
            "the ledger store is not empty",
            where="ledger store",
            do="name a new database in OBLIGOR_LEDGER_URL",
        )


def _chunks_of(
    table: sa.Table, vault: Vault, folder: Path
) -> Iterator[list[dict[str, object]]]:
    """Yield the rows of a table as the database takes them, chunk by chunk."""
    path = _path(table.name, folder)
    # A backup of an earlier version does not have the newest tables.
    if not path.exists():
        return
    with gzip.open(path, "rb") as file:
        for number, line in enumerate(file):
            context = _context(table.name, number)
            sealed = decrypt(vault.data_key, b64decode(line), context)
            rows = orjson.loads(zlib.decompress(sealed))
            for row in rows:
                for name, value in row.items():
                    row[name] = _database_value(value, table.c[name])
            yield rows


def _database_value(value: object, column: sa.Column[object]) -> object:
    is_binary = isinstance(column.type, sa.LargeBinary)
    return b64decode(value) if is_binary and isinstance(value, str) else value


def _base64(value: bytes) -> str:
    return b64encode(value).decode()


def _context(table: str, number: int) -> str:
    return f"backup of {table}, chunk {number}"


def _path(table: str, folder: Path) -> Path:
    return folder / f"{table}.jsonl.gz"
