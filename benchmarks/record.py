"""The record.

Proofs out of a million entries, and appends by two processes' worth of writers on one
SQLite file.

The peer of a proof is working the whole tree out from its leaves, in the same run.
Run: ``python benchmarks/record.py [--json] [--entries N]``.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from random import Random

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.bars import bar, report
from obligor.record import merkle
from obligor.record.checkpointer import Checkpointer
from obligor.record.encryption import Vault
from obligor.record.entry import Entry
from obligor.record.merkle_log import WIDTH, Tree
from obligor.record.receipts import CheckpointFolder, ReceiptSigner
from obligor.record.record import Record
from obligor.record.tables import NODES

NOW = datetime(2026, 1, 1, tzinfo=UTC)
VAULT, SEAL = Vault(bytes(32), os.urandom), ReceiptSigner(bytes(32))
ENTRY = Entry(
    "d",
    "decision",
    "C",
    date(2025, 1, 1),
    NOW,
    None,
    "approve",
    "{}" * 150,
    "x" * 9000,
    inputs=b"y" * 7000,
)
WRITERS, SECONDS = 16, 10.0  # clients of each of two processes


def large_tree(folder: Path, entries: int) -> tuple[Tree, list[bytes]]:
    """A record with a few entries and a tree of as many leaves as asked for.

    A proof reads the tree alone.
    """
    record = Record.open(f"sqlite:///{folder}/large.db", VAULT)
    record.writer.append([replace(ENTRY, entry_id="first")])
    tree = Tree(record.database)
    tree.advance()
    leaves = [
        *(hash_ for _, _, hash_, _ in tree.placed(10)),
        *(os.urandom(32) for _ in range(entries - 1)),
    ]
    level, hashes = 0, leaves
    with record.database.engine.begin() as connection:
        rows = [
            {"level": 0, "place": n, "hash": hash_, "seq": n + 1, "xid": 0}
            for n, hash_ in enumerate(leaves)
        ][1:]
        connection.execute(NODES.insert(), rows)
        while len(hashes) >= WIDTH:
            level += 1
            hashes = [
                merkle.root(WIDTH, _plain(hashes[n : n + WIDTH]))
                for n in range(0, len(hashes) - WIDTH + 1, WIDTH)
            ]
            connection.execute(
                NODES.insert(),
                [
                    {
                        "level": level,
                        "place": n,
                        "hash": hash_,
                        "seq": None,
                        "xid": None,
                    }
                    for n, hash_ in enumerate(hashes)
                ],
            )
    return tree, leaves


def _plain(leaves: list[bytes]) -> merkle.Subtree:
    def subtree(start: int, size: int) -> bytes:
        found = leaves[start : start + size]
        while len(found) > 1:
            found = [
                merkle.node_hash(*found[n : n + 2]) for n in range(0, len(found), 2)
            ]
        return found[0]

    return subtree


def proofs(tree: Tree, leaves: list[bytes]) -> tuple[float, float, int]:
    """Return ms of a proof by the tree and of one from the leaves, and path bytes."""
    draw, ours, largest, size = Random(0), list[float](), 0, len(leaves)
    with tree.engine.connect() as connection:
        for place in (draw.randrange(size) for _ in range(200)):
            start = time.perf_counter()
            subtree = tree._subtrees(connection, size)
            path = merkle.inclusion_proof(place, size, subtree)
            root = merkle.root_of_path(subtree(place, 1), place, size, path)
            ours.append((time.perf_counter() - start) * 1000)
            assert subtree(place, 1) == leaves[place]
            largest = max(largest, sum(map(len, path)))
    start = time.perf_counter()
    assert merkle.root(size, _plain(leaves)) == root
    return statistics.median(ours), (time.perf_counter() - start) * 1000, largest


# type: ignore[type-arg]
def write(url: str, worker: int, times: multiprocessing.Queue) -> None:
    """Append for some seconds as the service does.

    What is there when the loop comes round shares one commit.
    """
    record, found, wrong = Record.open(url, VAULT), list[float](), list[str]()
    waiting = list[tuple[Entry, asyncio.Future[None]]]()

    def commit() -> None:
        group, waiting[:] = list(waiting), []
        try:
            record.writer.append([entry for entry, _ in group])
        except Exception as error:
            wrong.append(str(error))
        for _, done in group:
            done.set_result(None)

    async def client(number: int) -> None:
        loop, n, end = asyncio.get_running_loop(), 0, time.perf_counter() + SECONDS
        while time.perf_counter() < end:
            start, done = time.perf_counter(), loop.create_future()
            if not waiting:
                loop.call_soon(commit)
            waiting.append(
                (
                    replace(
                        ENTRY,
                        entry_id=f"{worker}-{number}-{n}",
                        customer_id=f"C{n % 500}",
                    ),
                    done,
                )
            )
            await done
            found.append((time.perf_counter() - start) * 1000)
            n += 1
            await asyncio.sleep(0.005)

    async def clients() -> None:
        await asyncio.gather(*(client(number) for number in range(WRITERS)))

    asyncio.run(clients())
    times.put((found, wrong))


def appends(folder: Path) -> tuple[list[float], list[str], list[float]]:
    """Return times of appends (ms), errors, and lags of checkpoints (s)."""
    url = f"sqlite:///{folder}/record.db"
    record, context = Record.open(url, VAULT), multiprocessing.get_context("spawn")
    notary, times = (
        Checkpointer(record, SEAL, CheckpointFolder([folder / "shelf"]), lambda: NOW),
        context.Queue(),
    )
    workers = [context.Process(target=write, args=(url, n, times)) for n in range(2)]
    for worker in workers:
        worker.start()
    lags, last = list[float](), time.perf_counter()
    while any(worker.is_alive() for worker in workers) and times.qsize() < 2:
        time.sleep(0.5)
        notary.step()
        now = time.perf_counter()
        lags.append(
            now - last
        )  # an entry that just missed a step waits until the end of the next
        last = now
    found = [times.get() for _ in workers]
    for worker in workers:
        worker.join()
    return (
        [one for times_, _ in found for one in times_],
        [one for _, wrong in found for one in wrong],
        lags,
    )


def main() -> None:
    """Measure all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--entries", type=int, default=1_000_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        tree, leaves = large_tree(Path(name), options.entries)
        ours, whole, path_bytes = proofs(tree, leaves)
        proof = {"path": [os.urandom(32).hex() for _ in range(path_bytes // 32)]}
        found, wrong, lags = appends(Path(name))
    found.sort()
    p99, slowest, lag = (
        found[int(len(found) * 0.99)],
        found[-1],
        sorted(lags)[int(len(lags) * 0.99)],
    )
    print(
        f"proof out of {len(leaves):,}: {ours:.2f} ms ({whole / ours:,.0f} times as "
        "fast as from the leaves), "
        f"{path_bytes} bytes of hashes, {len(json.dumps(proof))} as JSON"
    )
    print(
        f"{len(found):,} entries of 16 kB in {SECONDS:.0f} s by 2 processes with "
        f"{WRITERS} clients each: "
        f"median {statistics.median(found):.1f} ms, p99 {p99:.1f}, slowest "
        f"{slowest:.1f}; {len(wrong)} errors; "
        f"checkpoint lag p99 {lag:.2f} s"
    )
    report(
        [
            bar("ms of a proof", ours, 5, ours <= 5),
            bar("bytes of a proof's hashes", path_bytes, 1000, path_bytes <= 1000),
            bar("append p99 ms", p99, 30, p99 <= 30),
            bar("append slowest ms", slowest, 100, slowest <= 100),
            bar("appends that failed", len(wrong), 0, not wrong),
            bar("checkpoint lag p99 s", lag, 2, lag <= 2),
        ],
        options.json,
    )


if __name__ == "__main__":
    main()
