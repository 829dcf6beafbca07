"""Loading a ledger that does not fit in memory, into the ledger store."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from obligor.data.coverage import Coverage
from obligor.data.first_load import FirstLoad
from obligor.data.left_out import LeftOut
from obligor.data.loaded_ledger import LoadedLedger
from obligor.data.loading import LedgerUpdate, UpdateCounts, arrival_of
from obligor.data.row_store import LedgerState
from obligor.data.store import LedgerStore, write_export_day
from obligor.data.stored_ledger import NothingStored
from obligor.errors import SchemaError
from obligor.reading.streaming import LedgerStream

_FOLDER = "loading-"


@dataclass
class BulkResult:
    """What a load in parts came to.

    Attributes
    ----------
    n_customers : int
        The customers that were loaded, or changed.
    left_out : list of LeftOut
        What was set aside, by table.
    counts : UpdateCounts
        Of an update: the rows that were taken, the same, and changed.
    """

    n_customers: int = 0
    left_out: list[LeftOut] = field(default_factory=list)
    counts: UpdateCounts = field(default_factory=UpdateCounts)


@contextmanager
def spool_folder(store: Path) -> Iterator[Path]:
    """Give an empty folder beside the store, and delete it in the end.

    Those that killed processes left are deleted too.
    """
    for path in store.glob(f"{_FOLDER}*"):
        if not _is_alive(path.name.removeprefix(_FOLDER)):
            shutil.rmtree(path, ignore_errors=True)
    folder = store / f"{_FOLDER}{os.getpid()}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, mode=0o700)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _is_alive(process_id: str) -> bool:
    try:
        os.kill(int(process_id), 0)
    except (ValueError, ProcessLookupError):
        return False
    except PermissionError:
        return True
    return True


def load_in_parts(store: LedgerStore, stream: LedgerStream, folder: Path) -> BulkResult:
    """Replace the stored ledger in one transaction, customers by customers.

    Parameters
    ----------
    store : LedgerStore
        Where the ledger is loaded.
    stream : LedgerStream
        The ledger.
    folder : Path
        An empty folder.

    Returns
    -------
    BulkResult
        How many customers there are.

    Raises
    ------
    SchemaError
        If the ledger is refused; then the stored one is as it was.
    """
    if "invoices" not in stream.content.tables:
        raise SchemaError("the table is missing", where="[invoices]")
    stream.spool()
    state = LedgerState(
        currency=stream.content.currency,
        currencies=stream.currencies,
        unapplied_policy=stream.content.unapplied,
        coverage=(Coverage(date.min, stream.observed_until),),
        tables=frozenset({*stream.content.tables, "customers"}),
    )
    result = BulkResult()
    with store.rows.writing() as connection:
        store.rows.clear(connection)
        store.parties.clear(connection)
        load = FirstLoad(
            store.rows,
            store.parties,
            connection,
            state,
            folder / "ids",
        )
        for check in stream.checks(NothingStored()):
            load.add(check.ledger, arrival_of(check).set_aside)
            result.n_customers += len(check.ledger["customers"])
        stream.require()
        load.finish(stream.shared())
        write_export_day(connection, stream.content.exported_on)
    result.left_out = stream.left_out
    return result


def update_in_parts(
    store: LedgerStore,
    stream: LedgerStream,
    today: date,
) -> BulkResult:
    """Update the stored ledger, one transaction for each batch of customers.

    Parameters
    ----------
    store : LedgerStore
        Where the ledger is loaded.
    stream : LedgerStream
        The rows.
    today : date
        The day from which on they are known.

    Returns
    -------
    BulkResult
        What became of the rows.

    Raises
    ------
    SchemaError
        If no ledger is loaded that can be updated, or the rows are refused. What is
        stored by then stays.
    """
    with store.engine.connect() as connection:
        store.updatable_state(connection)
    stream.spool()
    result = BulkResult()
    with store.engine.connect() as connection:
        state = store.updatable_state(connection)
        loaded = LoadedLedger(store.rows, connection, state)
        for check in stream.checks(loaded):
            arrival = arrival_of(check, loaded)
            # Its snapshot ends, so that the next bucket sees what this one wrote.
            connection.rollback()
            update = LedgerUpdate(store, today).apply(arrival)
            result.n_customers += len(update.touched)
            result.counts.add(update)
    stream.require()
    result.left_out = stream.left_out
    return result
