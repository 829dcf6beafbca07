"""Reading a ledger that does not fit in memory.

The sources are read a part at a time and put on disk in buckets of customers
(`data.spooling`); each bucket is then checked as a ledger of its own. What a whole
column proves elsewhere is proved by each part here: parts that disagree are refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, tzinfo
from pathlib import Path

import pandas as pd

from obligor.data.checks import LedgerCheck, check_ledger, refusals_of_share
from obligor.data.findings import Finding
from obligor.data.ledger import Ledger
from obligor.data.left_out import LeftOut, left_out_of, summed
from obligor.data.row_ownership import is_shared
from obligor.data.row_packing import PLACE_COLUMNS
from obligor.data.spooling import Spool
from obligor.data.stored_ledger import StoredLedger
from obligor.errors import SchemaError
from obligor.reading.files import (
    RawTable,
    is_streamable,
    paths_of,
    read_parts,
    row_count,
)
from obligor.reading.mapping import LedgerMapping, TableMapping, read_mapping
from obligor.reading.sources import (
    SourceReader,
    complete_customers,
    strangers,
)

# Of sources; a ledger in memory takes ten times as much.
MOST_BYTES_IN_MEMORY = 150_000_000
BYTES_OF_BUCKET = 12_000_000
# About what a row of a query takes in a text file.
BYTES_OF_SQL_ROW = 80
FEWEST = 3
MOST_BUCKETS = 250
# Each is kept until its bucket is checked.
MOST_FINDINGS = 200_000

# Called with what is done so far, and with all; the unit is a byte of the sources.
Progress = Callable[[int, int], None]


def is_large(mapping: Path, environment: Mapping[str, str]) -> bool:
    """Return whether a ledger is read in parts, because of the size of its sources.

    Parameters
    ----------
    mapping : Path
        The TOML file of the mapping.
    environment : mapping of str to str
        The values for ``${NAME}`` in a URL.
    """
    content = read_mapping(mapping)
    mappings = [each for own in content.tables.values() for each in own]
    if not all(is_streamable(each.source) for each in mappings):
        return False
    return _n_bytes(content, environment) > MOST_BYTES_IN_MEMORY


def _n_bytes(content: LedgerMapping, environment: Mapping[str, str]) -> int:
    """Return the bytes of all sources; of a query, about as many as in a file."""
    n_bytes = 0
    for mappings in content.tables.values():
        for mapping in mappings:
            if mapping.source.url:
                n_rows = row_count(mapping.source, environment)
                n_bytes += n_rows * BYTES_OF_SQL_ROW
                continue
            for path in paths_of(mapping.source, content.folder):
                if path.exists():
                    n_bytes += path.stat().st_size
    return n_bytes


@dataclass(frozen=True)
class StreamOptions:
    """How a ledger is read.

    Attributes
    ----------
    today : date
        Nothing may have happened after this day.
    zone : tzinfo, optional
        The time zone in which a time stamp with an offset becomes a day.
    progress : callable
        Called now and then.
    environment : mapping of str to str
        The values for ``${NAME}`` in a URL.
    """

    today: date
    zone: tzinfo | None = None
    progress: Progress = lambda n_done, n_all: None
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass
class _Facts:
    """What is noticed of the whole ledger while its parts are read."""

    currencies: dict[str, None] = field(default_factory=dict)
    last_known: pd.Timestamp | None = None
    findings: dict[str, list[Finding]] = field(default_factory=dict)
    notes: dict[tuple[str, str, str], Finding] = field(default_factory=dict)
    labels: dict[str, list[str]] = field(default_factory=dict)


class LedgerStream:
    """A ledger that is read in parts.

    Parameters
    ----------
    mapping : Path
        The TOML file of the mapping.
    options : StreamOptions
        How it is read.
    folder : Path
        An empty folder on a disk with room for all rows.
    """

    def __init__(
        self,
        mapping: Path,
        options: StreamOptions,
        folder: Path,
    ) -> None:
        self.content = read_mapping(mapping)
        self._options = options
        self._n_bytes = _n_bytes(self.content, options.environment)
        n_buckets = self._n_bytes // BYTES_OF_BUCKET
        self._spool = Spool(folder, min(max(n_buckets, FEWEST), MOST_BUCKETS))
        self._facts = _Facts()
        self._shared: dict[str, pd.DataFrame] = {}
        self._clean_shared: dict[str, pd.DataFrame] = {}
        self._losses: list[LeftOut] = []

    @property
    def left_out(self) -> list[LeftOut]:
        """What was set aside of all buckets that were given so far, by table."""
        return summed(self._losses)

    @property
    def notes(self) -> list[Finding]:
        """What a person must know of whole columns and tables."""
        return list(self._facts.notes.values())

    @property
    def currencies(self) -> tuple[str, ...]:
        """The currencies in use, the reporting one first."""
        return tuple(dict.fromkeys([self.content.currency, *self._facts.currencies]))

    @property
    def observed_until(self) -> date:
        """The day of the export, or the last on which a row became known."""
        last = self._facts.last_known
        if self.content.exported_on is not None or last is None:
            return self.content.exported_on or self._options.today
        return last.date()

    def shared(self) -> Ledger:
        """Return the good rows that belong to no customer, once all are checked."""
        return self._ledger(self._clean_shared)

    def spool(self) -> None:
        """Read all sources.

        Raises
        ------
        SchemaError
            If a source cannot be read, or parts of one column differ in their format.
        """
        n_all = 2 * self._n_bytes
        n_done = 0
        for table, mappings in self.content.tables.items():
            n_rows = 0
            for mapping in mappings:
                zoned = replace(
                    mapping,
                    zone=self._options.zone,
                    currency=self.content.currency,
                    written_on=self.content.exported_on or self._options.today,
                )
                for n_read, n_bytes in self._spool_source(table, zoned, n_rows):
                    n_rows += n_read
                    n_done += n_bytes
                    self._options.progress(n_done, n_all)
        _require_one_reading(self.notes)
        n_joined = n_all // 20 // self._spool.n_buckets
        for _ in self._spool.join():
            n_done += n_joined
            self._options.progress(n_done, n_all)

    def _spool_source(
        self,
        table: str,
        mapping: TableMapping,
        n_rows: int,
    ) -> Iterator[tuple[int, int]]:
        """Put a source on disk; yield the rows and about the bytes of each part."""
        labels = self._facts.labels.setdefault(table, [])
        paths = paths_of(mapping.source, self.content.folder)
        sizes = {path.name: path.stat().st_size for path in paths}
        bytes_a_row = 0.0
        for raw in self._parts(table, mapping):
            if raw.label not in labels:
                labels.append(raw.label)
                sample = raw.frame.head(200).fillna("").astype("str")
                lengths = sample.map(len).to_numpy().sum(axis=1) + sample.shape[1]
                bytes_a_row = float(lengths.mean()) if len(lengths) else 0.0
            index = raw.frame.index + n_rows
            raw = replace(
                raw,
                frame=raw.frame.set_axis(index),
                lines=raw.lines.set_axis(index),
            )
            reader = SourceReader(mapping, raw.is_workbook)
            frame, findings = reader.read([raw])
            self._keep(findings)
            self._notice(frame)
            if len(reader.excluded):
                self._spool.exclude(reader.excluded.index)
            frame["#row"] = frame.index.to_numpy(dtype="float64")
            frame["#line"] = raw.lines.reindex(frame.index).astype("float64")
            frame["#file"] = float(labels.index(raw.label))
            self._add(table, frame)
            n_bytes = int(bytes_a_row * len(raw.frame))
            yield len(raw.frame), min(n_bytes, sizes.get(raw.label, n_bytes))

    def _parts(self, table: str, mapping: TableMapping) -> Iterator[RawTable]:
        return read_parts(
            mapping.source,
            table,
            self.content.folder,
            self._options.environment,
        )

    def _add(self, table: str, frame: pd.DataFrame) -> None:
        if not is_shared(table):
            self._spool.add(table, frame)
            return
        earlier = self._shared.get(table)
        frames = [frame] if earlier is None else [earlier, frame]
        self._shared[table] = pd.concat(frames)

    def _keep(self, findings: Sequence[Finding]) -> None:
        """Keep findings: those on rows for their bucket, one of each kind of note."""
        for finding in findings:
            if finding.level == "refuse":
                raise SchemaError(str(finding), do=_choice(finding))
            if finding.row is None:
                key = (finding.table, finding.column, finding.what.split(":")[0])
                self._facts.notes.setdefault(key, finding)
                continue
            own = self._facts.findings.setdefault(finding.table, [])
            own.append(finding)
            if len(own) > MOST_FINDINGS:
                raise SchemaError(
                    f"more than {MOST_FINDINGS:,} rows cannot be read; the last: "
                    f"{finding}",
                    do="correct the source or the mapping",
                )

    def _notice(self, frame: pd.DataFrame) -> None:
        if "currency" in frame:
            used = frame["currency"].dropna().unique()
            self._facts.currencies.update(dict.fromkeys(used))
        last = frame["known_on"].max() if "known_on" in frame else pd.NaT
        if not pd.isna(last):
            earlier = self._facts.last_known
            self._facts.last_known = last if earlier is None else max(earlier, last)

    def _ledger(self, tables: Mapping[str, pd.DataFrame]) -> Ledger:
        plain = {
            table: frame.drop(columns=list(PLACE_COLUMNS), errors="ignore")
            for table, frame in tables.items()
        }
        return Ledger(
            plain,
            self.content.currency,
            exported_on=self.content.exported_on,
            unapplied_policy=self.content.unapplied,
        )

    def checks(self, stored: StoredLedger) -> Iterator[LedgerCheck]:
        """Yield the check of each bucket of customers.

        Parameters
        ----------
        stored : StoredLedger
            The loaded ledger that the rows may refer to.

        Yields
        ------
        LedgerCheck
            Of a ledger with all rows of some customers. Whether too much was set aside
            is decided for all of them together: see `require`.
        """
        n_all = 2 * self._n_bytes
        for number, tables in enumerate(self._spool.buckets(), start=1):
            yield self._checked(tables, stored)
            share = number / self._spool.n_buckets
            n_done = int(n_all * (0.55 + 0.45 * share))
            self._options.progress(n_done, n_all)

    def _checked(
        self, tables: dict[str, pd.DataFrame], stored: StoredLedger
    ) -> LedgerCheck:
        places = {
            table: frame[[name for name in PLACE_COLUMNS if name in frame]]
            for table, frame in tables.items()
        }
        frames = dict(self._ledger(tables).tables)
        findings = self._findings_of(frames)
        findings += self._contested(frames)
        findings += strangers(frames, stored)
        findings += complete_customers(frames, findings, stored)
        ledger = self._ledger({**frames, **self._shared})
        check = check_ledger(
            ledger,
            today=self._options.today,
            unreadable=findings,
            stored=stored,
        )
        self._require_sound(check)
        for table in filter(is_shared, ledger.tables):
            self._clean_shared[table] = check.ledger[table]
        every_table = {
            table: check.quarantined.get(table, frame.iloc[:0])
            for table, frame in ledger.tables.items()
            if not is_shared(table)
        }
        self._losses += left_out_of(ledger, every_table)
        located = [self._located(finding, places) for finding in check.findings]
        return replace(check, findings=located)

    def _require_sound(self, check: LedgerCheck) -> None:
        """Refuse a bucket for what is wrong in more than single rows."""
        shares = {
            finding
            for loss in check.left_out
            for finding in refusals_of_share(loss, self.content.currency)
        }
        for finding in check.findings:
            if finding.level == "refuse" and finding not in shares:
                raise SchemaError(
                    f"the ledger is refused: {finding}", do="correct the source"
                )

    def _findings_of(self, frames: Mapping[str, pd.DataFrame]) -> list[Finding]:
        """Take the findings on the rows of some tables."""
        own = []
        for table, findings in self._facts.findings.items():
            if table not in frames or not findings:
                continue
            rows = set(frames[table].index)
            own += [finding for finding in findings if finding.row in rows]
        return own

    def _contested(self, frames: Mapping[str, pd.DataFrame]) -> Iterator[Finding]:
        """Yield a finding for each invoice whose id another customer has too."""
        ids = self._spool.contested_ids
        if not ids or "invoices" not in frames:
            return
        invoices = frames["invoices"]
        for row in invoices.index[invoices["invoice_id"].isin(ids)]:
            yield Finding(
                level="quarantine",
                table="invoices",
                column="invoice_id",
                row=int(row),
                what="the id is used by several customers",
                expected="a unique id, or a key of several columns",
            )

    def _located(self, finding: Finding, places: Mapping[str, pd.DataFrame]) -> Finding:
        """Return a finding with the line of its row."""
        rows = places.get(finding.table)
        if rows is None or finding.row is None or finding.row not in rows.index:
            return finding
        place = rows.loc[finding.row].to_dict()
        labels = self._facts.labels[finding.table]
        if not place.get("#line"):
            return finding
        line = f"line {int(place['#line'])}"
        if len(labels) > 1:
            line = f"{labels[int(place['#file'])]} {line}"
        return replace(finding, line=line)

    def require(self) -> None:
        """Refuse the ledger if too much was set aside of all buckets.

        Raises
        ------
        SchemaError
            With the shares.
        """
        texts = [
            str(finding)
            for loss in self.left_out
            for finding in refusals_of_share(loss, self.content.currency)
        ]
        if texts:
            raise SchemaError(
                "the ledger is refused: " + " | ".join(texts), do="correct the source"
            )


def _choice(finding: Finding) -> str:
    return f"state {finding.expected}" if finding.expected else "correct the source"


def _require_one_reading(notes: Sequence[Finding]) -> None:
    """Refuse columns of which parts prove different formats."""
    readings: dict[tuple[str, str], Finding] = {}
    for note in notes:
        if not note.column or "read as" not in note.what:
            continue
        earlier = readings.setdefault((note.table, note.column), note)
        if earlier is not note:
            raise SchemaError(
                f"one part of the column is {earlier.what}, another is {note.what}",
                where=f"[{note.table}] {note.column}",
                expected="one format",
                do="state date_format, or decimal and thousands",
            )
