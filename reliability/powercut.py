"""Cut the power in the midst of commits: what was synced is there, what was only written is gone.

    python reliability/powercut.py --json

kill -9 cannot tell `synchronous=FULL` from NORMAL: the kernel keeps what was written. So SQLite's own file layer is
put aside here: every write goes to the file, and at each sync what was written since goes to a shadow of it. The shadow
is what a disk holds when the power goes. It must hold every entry whose append returned; with NORMAL it must not, or
this test shows nothing.
"""

from __future__ import annotations

import argparse
import ctypes
import shutil
import subprocess
import sys
import tempfile
from ctypes import CFUNCTYPE, POINTER, Structure, c_char_p, c_int, c_int64, c_void_p
from dataclasses import replace
from pathlib import Path
from random import Random

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.bars import bar, report
from obligor.errors import UnknownDecisionError
from obligor.record.record import Record
from tests.conftest import VAULT
from tests.service.test_record import ENTRY

ROUNDS = 10
OPEN = CFUNCTYPE(c_int, c_void_p, c_void_p, c_void_p, c_int, c_void_p)
DELETE = CFUNCTYPE(c_int, c_void_p, c_char_p, c_int)
WRITE = CFUNCTYPE(c_int, c_void_p, c_void_p, c_int, c_int64)
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
    *((f"rest_{n}", c_void_p) for n in range(14)),
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
    *((f"rest_{n}", c_void_p) for n in range(13)),
]


class Disk:
    """A disk that forgets what was not synced: SQLite's file layer with a shadow of every file."""

    def __init__(self, library: ctypes.CDLL, shadow: Path) -> None:
        self.shadow = shadow
        self._paths, self._unsynced = (
            dict[int, Path](),
            dict[Path, list[tuple[int, bytes | None]]](),
        )
        self._kept = list[object]()  # what C points to must not go
        library.sqlite3_vfs_find.restype = POINTER(Vfs)
        library.sqlite3_vfs_find.argtypes = [c_char_p]
        library.sqlite3_vfs_register.argtypes = [POINTER(Vfs), c_int]
        real = library.sqlite3_vfs_find(None)
        mine = Vfs.from_buffer_copy(real.contents)
        mine.name, mine.open, mine.delete = (
            b"forgetful",
            OPEN(self._opener(real)),
            DELETE(self._deleter(real)),
        )
        self._kept += [mine, real]
        library.sqlite3_vfs_register(ctypes.byref(mine), 1)

    def _opener(self, real):  # type: ignore[no-untyped-def]
        real_open, place = real.contents.open, ctypes.cast(real, c_void_p)

        def opened(_: int, name: int | None, file: int, flags: int, out: int) -> int:
            done = int(real_open(place, name, file, flags, out))
            if done == 0 and name:
                self._paths[file] = Path(ctypes.string_at(name).decode())
                self._wrap(file)
            return done

        return opened

    def _deleter(self, real):  # type: ignore[no-untyped-def]
        real_delete, place = real.contents.delete, ctypes.cast(real, c_void_p)

        def deleted(_: int, name: bytes, is_synced: int) -> int:
            (self.shadow / Path(name.decode()).name).unlink(missing_ok=True)
            return int(real_delete(place, name, is_synced))

        return deleted

    def _wrap(self, file: int) -> None:
        held = ctypes.cast(file, POINTER(POINTER(Methods)))
        real = held.contents.contents
        mine = Methods.from_buffer_copy(real)

        def write(f: int, data: int, amount: int, offset: int) -> int:
            self._unsynced.setdefault(self._paths[f], []).append(
                (offset, ctypes.string_at(data, amount))
            )
            return int(real.write(f, data, amount, offset))

        def truncate(f: int, size: int) -> int:
            self._unsynced.setdefault(self._paths[f], []).append((size, None))
            return int(real.truncate(f, size))

        def sync(f: int, flags: int) -> int:
            done = int(real.sync(f, flags))
            self._keep(self._paths[f])
            return done

        mine.write, mine.truncate, mine.sync = (
            WRITE(write),
            TRUNCATE(truncate),
            SYNC(sync),
        )
        self._kept += [mine, real]
        held[0] = ctypes.pointer(mine)

    def _keep(self, path: Path) -> None:
        target = self.shadow / path.name
        target.touch()
        with target.open("r+b") as file:
            for offset, data in self._unsynced.pop(path, []):
                if data is None:
                    file.truncate(offset)
                else:
                    file.seek(offset)
                    file.write(data)


def child(folder: Path, shadow: Path, mode: str) -> None:
    """Append until the power goes; each line says what was acknowledged."""
    import _sqlite3

    import sqlalchemy as sa

    disk = Disk(
        ctypes.CDLL(_sqlite3.__file__), shadow
    )  # C points into it: it must live as long as we do
    record = Record.open(f"sqlite:///{folder}/record.db", VAULT)
    if mode == "NORMAL":
        record.close()
        sa.event.listen(
            record.database.engine,
            "connect",
            lambda raw, _: raw.execute("PRAGMA synchronous=NORMAL"),
        )
    for n in range(1_000_000 if disk else 0):
        record.writer.append(
            [
                replace(
                    ENTRY,
                    entry_id=f"d-{n}",
                    customer_id=f"C{n % 50}",
                    body="x" * 500,
                )
            ]
        )
        print(n, flush=True)


def lost(mode: str, random: Random) -> tuple[int, int]:
    """One power cut: how many were acknowledged, and how many of them are gone."""
    with tempfile.TemporaryDirectory(prefix="power") as name:
        folder, shadow = Path(name) / "disk", Path(name) / "shadow"
        folder.mkdir()
        shadow.mkdir()
        command = [sys.executable, __file__, "--child", str(folder), str(shadow), mode]
        acked, wanted = -1, random.randrange(100, 600)
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            for line in process.stdout:
                acked = int(line)
                if acked == wanted:
                    process.kill()
        after = Path(name) / "after"
        shutil.copytree(shadow, after)
        record = Record.open(f"sqlite:///{after}/record.db", VAULT)
        gone = 0
        for n in range(acked + 1):
            try:
                record.reader.entry(f"d-{n}")
            except UnknownDecisionError:
                gone += 1
        record.close()
    return acked + 1, gone


def main() -> None:
    """Cut the power so many times with either setting."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--child", nargs=3)
    options = parser.parse_args()
    if options.child:
        child(Path(options.child[0]), Path(options.child[1]), options.child[2])
    bars, random = [], Random(0)
    for mode in ("FULL", "NORMAL"):
        found = [lost(mode, random) for _ in range(ROUNDS)]
        acked, gone = (sum(column) for column in zip(*found, strict=True))
        print(f"{mode}: {ROUNDS} power cuts, {acked:,} acknowledged, {gone:,} lost")
        holds = gone == 0 if mode == "FULL" else gone > 0
        bars.append(
            bar(f"lost on {mode} of {acked:,}", gone, 0 if mode == "FULL" else 1, holds)
        )
    report(bars, options.json)


if __name__ == "__main__":
    main()
