"""Cut the power in the middle of commits: synced writes survive, others are gone.

    python reliability/powercut.py --json

kill -9 cannot distinguish `synchronous=FULL` from NORMAL, because the kernel keeps what
was written. So SQLite's own file layer (https://sqlite.org/vfs.html) is wrapped here:
every write goes to the file, and at each sync, what was written since goes to a shadow
of it. The shadow is what a disk contains after a power cut. It must contain every entry
whose append returned; with NORMAL it must not, or this program shows nothing.
"""

from __future__ import annotations

import ctypes
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from ctypes import CFUNCTYPE, POINTER, Structure, c_char_p, c_int, c_int64, c_void_p
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.bars import bar, report
from obligor.errors import UnknownDecisionError
from obligor.record.record import Record
from reliability.running import argument_parser
from tests.conftest import VAULT
from tests.records import ENTRY

ROUNDS = 10
MOST_ENTRIES = 1_000_000
OK = 0  # SQLITE_OK
OPEN = CFUNCTYPE(
    c_int,
    c_void_p,
    c_void_p,
    c_void_p,
    c_int,
    c_void_p,
)
DELETE = CFUNCTYPE(c_int, c_void_p, c_char_p, c_int)
WRITE = CFUNCTYPE(
    c_int,
    c_void_p,
    c_void_p,
    c_int,
    c_int64,
)
TRUNCATE = CFUNCTYPE(c_int, c_void_p, c_int64)
SYNC = CFUNCTYPE(c_int, c_void_p, c_int)


class Vfs(Structure):
    """sqlite3_vfs, version 3."""


Vfs._fields_ = [
    ("version", c_int),
    ("size", c_int),
    ("longest", c_int),
    ("next", c_void_p),
    ("name", c_char_p),
    ("data", c_void_p),
    ("open", OPEN),
    ("delete", DELETE),
    *((f"method_{number}", c_void_p) for number in range(14)),
]


class Methods(Structure):
    """sqlite3_io_methods, version 3."""


Methods._fields_ = [
    ("version", c_int),
    ("close", c_void_p),
    ("read", c_void_p),
    ("write", WRITE),
    ("truncate", TRUNCATE),
    ("sync", SYNC),
    *((f"method_{number}", c_void_p) for number in range(13)),
]


class Change(NamedTuple):
    """A write to a file that was not synced yet; without data, a truncation."""

    offset: int
    data: bytes | None


class Disk:
    """A disk that forgets what was not synced.

    It wraps SQLite's file layer, and keeps a shadow of every file.

    Parameters
    ----------
    library : CDLL
        The library that contains SQLite.
    shadow : Path
        The folder of the shadows.
    """

    def __init__(self, library: ctypes.CDLL, shadow: Path) -> None:
        self.shadow = shadow
        self._paths = dict[int, Path]()
        self._unsynced = dict[Path, list[Change]]()
        # C points to these: Python must not free them.
        self._referenced = list[object]()
        library.sqlite3_vfs_find.restype = POINTER(Vfs)
        library.sqlite3_vfs_find.argtypes = [c_char_p]
        library.sqlite3_vfs_register.argtypes = [POINTER(Vfs), c_int]
        default = library.sqlite3_vfs_find(None)
        wrapped = Vfs.from_buffer_copy(default.contents)
        wrapped.name = b"forgetful"
        wrapped.open = OPEN(self._opener(default))
        wrapped.delete = DELETE(self._deleter(default))
        self._referenced += [wrapped, default]
        is_default = 1
        library.sqlite3_vfs_register(ctypes.byref(wrapped), is_default)

    def _opener(self, default):  # type: ignore[no-untyped-def]
        default_open = default.contents.open
        address = ctypes.cast(default, c_void_p)

        def open_(
            _: int,
            name: int | None,
            file: int,
            flags: int,
            out: int,
        ) -> int:
            result = int(
                default_open(
                    address,
                    name,
                    file,
                    flags,
                    out,
                )
            )
            if result == OK and name:
                self._paths[file] = Path(ctypes.string_at(name).decode())
                self._wrap(file)
            return result

        return open_

    def _deleter(self, default):  # type: ignore[no-untyped-def]
        default_delete = default.contents.delete
        address = ctypes.cast(default, c_void_p)

        def delete(_: int, name: bytes, is_synced: int) -> int:
            (self.shadow / Path(name.decode()).name).unlink(missing_ok=True)
            return int(default_delete(address, name, is_synced))

        return delete

    def _wrap(self, file: int) -> None:
        """Wrap the methods of an open file."""
        methods = ctypes.cast(file, POINTER(POINTER(Methods)))
        default = methods.contents.contents
        wrapped = Methods.from_buffer_copy(default)

        def write(
            address: int,
            data: int,
            amount: int,
            offset: int,
        ) -> int:
            self._note(address, Change(offset, ctypes.string_at(data, amount)))
            return int(
                default.write(
                    address,
                    data,
                    amount,
                    offset,
                )
            )

        def truncate(address: int, size: int) -> int:
            self._note(address, Change(size, None))
            return int(default.truncate(address, size))

        def sync(address: int, flags: int) -> int:
            result = int(default.sync(address, flags))
            self._copy_to_shadow(self._paths[address])
            return result

        wrapped.write = WRITE(write)
        wrapped.truncate = TRUNCATE(truncate)
        wrapped.sync = SYNC(sync)
        self._referenced += [wrapped, default]
        methods[0] = ctypes.pointer(wrapped)

    def _note(self, address: int, change: Change) -> None:
        self._unsynced.setdefault(self._paths[address], []).append(change)

    def _copy_to_shadow(self, path: Path) -> None:
        shadow = self.shadow / path.name
        shadow.touch()
        with shadow.open("r+b") as file:
            for offset, data in self._unsynced.pop(path, []):
                if data is None:
                    file.truncate(offset)
                else:
                    file.seek(offset)
                    file.write(data)


def child(folder: Path, shadow: Path, synchronous: str) -> None:
    """Append until the power is cut; each line printed names an acknowledged entry.

    Parameters
    ----------
    folder : Path
        The folder of the record.
    shadow : Path
        The folder of the shadows.
    synchronous : {"FULL", "NORMAL"}
        SQLite's setting.
    """
    import _sqlite3

    import sqlalchemy as sa

    # C points into it: it must live until the process ends.
    disk = Disk(ctypes.CDLL(_sqlite3.__file__), shadow)
    record = Record.open(f"sqlite:///{folder}/record.db", VAULT)
    if synchronous == "NORMAL":
        record.close()

        def weaken(connection: sqlite3.Connection, _: object) -> None:
            connection.execute("PRAGMA synchronous=NORMAL")

        sa.event.listen(record.database.engine, "connect", weaken)
    for number in range(MOST_ENTRIES):
        entry = replace(
            ENTRY,
            entry_id=f"d-{number}",
            customer_id=f"C{number % 50}",
            body="x" * 500,
        )
        record.writer.append([entry])
        print(number, flush=True)
    del disk


class PowerCut(NamedTuple):
    """One power cut: how many entries were acknowledged, and how many of them lost."""

    n_acknowledged: int
    n_lost: int


def cut_power(synchronous: str, random: Random) -> PowerCut:
    """Let a process append, and cut its power at a random entry."""
    with tempfile.TemporaryDirectory(prefix="power") as name:
        folder = Path(name) / "disk"
        shadow = Path(name) / "shadow"
        folder.mkdir()
        shadow.mkdir()
        arguments = ["--child", str(folder), str(shadow), synchronous]
        command = [sys.executable, __file__, *arguments]
        last_acknowledged = -1
        last_before_cut = random.randrange(100, 600)
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            for line in process.stdout:
                last_acknowledged = int(line)
                if last_acknowledged == last_before_cut:
                    process.kill()
        after = Path(name) / "after"
        shutil.copytree(shadow, after)
        n_acknowledged = last_acknowledged + 1
        return PowerCut(n_acknowledged, count_lost(after, n_acknowledged))


def count_lost(folder: Path, n_acknowledged: int) -> int:
    """Return how many of the acknowledged entries a record does not contain."""
    record = Record.open(f"sqlite:///{folder}/record.db", VAULT)
    n_lost = 0
    for number in range(n_acknowledged):
        try:
            record.reader.entry(f"d-{number}")
        except UnknownDecisionError:
            n_lost += 1
    record.close()
    return n_lost


def main() -> None:
    """Cut the power several times with either setting."""
    parser = argument_parser(__doc__)
    parser.add_argument("--child", nargs=3)
    options = parser.parse_args()
    if options.child:
        folder, shadow, synchronous = options.child
        child(Path(folder), Path(shadow), synchronous)
    bars = []
    random = Random(0)
    for synchronous in ("FULL", "NORMAL"):
        cuts = [cut_power(synchronous, random) for _ in range(ROUNDS)]
        n_acknowledged = sum(cut.n_acknowledged for cut in cuts)
        n_lost = sum(cut.n_lost for cut in cuts)
        print(
            f"{synchronous}: {ROUNDS} power cuts, "
            f"{n_acknowledged:,} acknowledged, {n_lost:,} lost"
        )
        title = f"lost on {synchronous} of {n_acknowledged:,}"
        if synchronous == "FULL":
            bars.append(bar(title, n_lost, 0, n_lost == 0))
        else:
            bars.append(bar(title, n_lost, 1, n_lost > 0))
    report(bars, options.json)


if __name__ == "__main__":
    main()
