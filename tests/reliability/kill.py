"""kill -9 of the service's processes under load: nothing that was acknowledged is lost, doubled or changed.

Each client asks with an idempotency key of its own and asks again with the same key until it has an answer. At the
end every acknowledged answer must be in the record, once, with the same text, and its receipt must hold.
Run: ``python tests/reliability/kill.py [--json] [--kills N]``.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from random import Random

sys.path.insert(0, str(Path(__file__).parents[2]))

import httpx
import psutil

from data.keys import release_signer
from data.simulate import simulate_ledger
from data.store import LedgerStore
from serving.assembly import open_record
from serving.audit import verify
from serving.notary import Notary
from serving.process import serve_command
from serving.seal import Shelf
from serving.settings import Settings
from tests.benchmarks.bars import bar, report
from training.config import TrainingConfig
from training.registry import Registry
from training.run import train

PORT, CLIENTS, KEY = 24_900, 16, "reliability-admin-key"
ROOT = Path(__file__).parents[2]
Acked = dict[str, tuple[str, str]]  # idempotency key -> text, receipt


def prepare(store: Path) -> None:
    """A small model and ledger."""
    simulation = simulate_ledger(600, 30, seed=5)
    config = TrainingConfig.model_validate({"bootstrap_rounds": 20, "model": {"max_trees": 60}})
    trained = train(simulation.ledger, config, store, store / "report", at=datetime.now(UTC))
    Registry(store).promote(
        trained.version,
        by="reliability",
        because="test",
        at=datetime.now(UTC),
        signer=release_signer(store, None, os.urandom),
        force=True,
    )
    LedgerStore(f"sqlite:///{store}/ledger.db").write(simulation.ledger)


def start(environment: dict[str, str], log: Path) -> subprocess.Popen[bytes]:
    """The service in a process group of its own."""
    with log.open("ab") as output:
        return subprocess.Popen(serve_command("127.0.0.1", PORT), env=environment, cwd=ROOT, stdout=output,
                                stderr=output, start_new_session=True)  # fmt: skip


async def ask(client: httpx.AsyncClient, name: str, acked: Acked, stop: asyncio.Event) -> None:
    """Ask one question after the other, each until it is answered."""
    n = 0
    while not stop.is_set():
        key, customer = f"{name}-{n}", f"C{n % 500:07d}"
        while key not in acked and not stop.is_set():
            try:
                headers = {"Idempotency-Key": key, "Authorization": f"Bearer {KEY}"}
                response = await client.post("/v1/decisions", json={"customer_id": customer}, headers=headers)
                if response.status_code == 200:
                    acked[key] = response.text, response.headers["obligor-receipt"]
                elif response.status_code < 500:
                    break  # this customer has no answer
            except httpx.TransportError:
                await asyncio.sleep(0.2)
        n += 1


async def storm(environment: dict[str, str], log: Path, kills: int) -> tuple[Acked, list[float]]:
    """Load, and so many kills; returns what was acknowledged, and how long each return took."""
    acked, stop, random, back = Acked(), asyncio.Event(), Random(0), list[float]()
    process = start(environment, log)
    limits = httpx.Limits(max_connections=CLIENTS)
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{PORT}", timeout=10, limits=limits) as client:
        clients = [asyncio.create_task(ask(client, f"c{n}", acked, stop)) for n in range(CLIENTS)]
        for _ in range(kills):
            before = len(acked)
            while len(acked) < before + 50:
                await asyncio.sleep(0.05)
            await asyncio.sleep(random.uniform(0.5, 2.5))
            for one in reversed([psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]):
                one.kill()  # the workers, then their parent: nobody says goodbye; killed first, it would leave them
            process.wait()
            killed, before = time.monotonic(), len(acked)
            process = start(environment, log)
            while len(acked) == before:
                await asyncio.sleep(0.05)
            back.append(time.monotonic() - killed)
        stop.set()
        await asyncio.gather(*clients)
    os.killpg(process.pid, signal.SIGTERM)
    process.wait(20)
    return acked, back


def main() -> None:
    """Kill, then compare the record with what was acknowledged."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--kills", type=int, default=20)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        store = Path(name)
        prepare(store)
        environment = {**os.environ, "OBLIGOR_STORE": name, "OBLIGOR_ADMIN_KEY": KEY, "OBLIGOR_LOG": "WARNING"}
        acked, back = asyncio.run(storm(environment, store / "log", options.kills))
        settings = Settings.of({"OBLIGOR_STORE": name})
        record, seal = open_record(settings, os.urandom)
        shelf = Shelf(settings.checkpoints)
        notary = Notary(record, seal, shelf, lambda: datetime.now(UTC))
        notary.step()
        texts = [(body, record.kept(receipt.split(";")[1]).body) for body, receipt in acked.values()]
        changed = sum(body != kept for body, kept in texts)
        doubled = len(record.ids(["decision"])) - len({receipt for _, receipt in acked.values()})
        findings = list(verify(notary.tree, shelf.all(), seal.public, [receipt for _, receipt in acked.values()]))
        record.close()
    print(f"{options.kills} kills, {len(acked):,} acknowledged, {changed} changed, {doubled} kept whose answer was "
          f"still on its way, {len(findings)} findings; back after {max(back):.1f} s at most")  # fmt: skip
    lost = sum("no such entry" in one.what for one in findings)
    bars = [
        bar("acknowledged and lost", lost, 0, lost == 0),
        bar("acknowledged and changed", changed, 0, changed == 0),
        bar("not acknowledged, and kept", doubled, CLIENTS, 0 <= doubled <= CLIENTS),
        bar("findings of verify", len(findings), 0, not findings),
        bar("acknowledged", len(acked), 1000 * options.kills // 20, len(acked) >= 1000 * options.kills // 20),
    ]
    report(bars, options.json)


if __name__ == "__main__":
    main()
