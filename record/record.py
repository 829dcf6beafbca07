"""The record as one opens it: what writes to it, what reads from it, its database."""

from __future__ import annotations

from typing import NamedTuple

from obligor.record.database import RecordDatabase, open_database
from obligor.record.encryption import Vault
from obligor.record.reader import RecordReader
from obligor.record.writer import RecordWriter


class Record(NamedTuple):
    """An opened record; hand on only the part that is needed."""

    database: RecordDatabase
    writer: RecordWriter
    reader: RecordReader

    @classmethod
    def open(
        cls,
        url: str,
        vault: Vault,
    ) -> Record:
        """Open a record by its SQLAlchemy URL; raises as `open_database`."""
        database = open_database(url, vault)
        return cls(database, RecordWriter(database), RecordReader(database))

    def close(self) -> None:
        """Close every connection; the next call opens new ones."""
        self.writer.close()
        self.database.close()
