"""Served PDs against the registry's, on random tables as people export them.

Each of 20 tables is written to a file, read, fitted, registered and promoted. A real
service then scores 50 of its rows, sent as JSON with the types of the file and once
more as texts. Every PD must be that of the registry on the table, bit for bit.

Run: ``python benchmarks/served.py [--json]``.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
sys.path.insert(0, str(Path(__file__).parents[1]))

import httpx
import numpy as np

from benchmarks.bars import bar, report
from benchmarks.random_tables import (
    RandomTable,
    applications_of,
    fit_quickly,
    random_table,
    requests_of,
)
from obligor.arrays import Floats
from obligor.features.applications import Applications
from obligor.signing import release_signer
from obligor.training.lifecycle.registry import Approval, Registry, TrainingRun
from obligor.training.lifecycle.table_rows import months_of
from obligor.training.validation.subject import LabelledRows, stored_rows
from reliability.running import HEADERS, environment_of, running

TABLES = 20
ROWS_OF_EACH = 50
PORT = 3895
PATIENCE_S = 30
JSON = {**HEADERS, "Content-Type": "application/json"}


def register(store: Path, data: Applications) -> str:
    """Fit and promote a model of a table; return its version."""
    now = datetime.now(UTC)
    model = fit_quickly(data)
    if model.encoding is None:
        raise AssertionError("a model of a table has an encoding")
    rows = LabelledRows(
        model.encoding.rows(data.frame),
        data.label,
        data.groups,
        months_of(data),
    )
    registry = Registry(store)
    version = registry.log_run(TrainingRun(model, stored_rows(model, rows)), now)
    registry.promote(
        version,
        Approval("benchmark", "to be served", now),
        release_signer(store, None, os.urandom),
        force=True,
        second="others",
    )
    return version


class Served:
    """How many served PDs are those of the registry."""

    def __init__(self) -> None:
        self.requests = 0
        self.different = 0
        self.largest = 0.0

    def compare(
        self, client: httpx.Client, body: str, version: str, pd_: float
    ) -> None:
        """Score one row, and count it if its PD is another."""
        answer = client.post("/v1/scores", content=body).json()
        if answer.get("model", {}).get("version") != version:
            raise AssertionError(f"not scored by version {version}: {answer}")
        self.requests += 1
        if answer["pd_12m"] != pd_:
            self.different += 1
            self.largest = max(self.largest, abs(answer["pd_12m"] - pd_))


def wait_for(client: httpx.Client, version: str, body: str) -> None:
    """Wait until a promoted version serves."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        answer = client.post("/v1/scores", content=body).json()
        if answer.get("model", {}).get("version") == version:
            return
        time.sleep(0.1)
    raise AssertionError(f"version {version} does not serve: {answer}")


def score_table(
    client: httpx.Client,
    store: Path,
    version: str,
    table: RandomTable,
    data: Applications,
) -> Served:
    """Score rows of a table and compare them with the registry.

    Parameters
    ----------
    client : Client
        Of the service.
    store : Path
        Of the registry.
    version : str
        The promoted version.
    table : RandomTable
        With its texts.
    data : Applications
        The same rows as they were read.
    """
    model = Registry(store).model(version)
    if model.encoding is None:
        raise AssertionError("a model of a table has an encoding")
    names = [column.name for column in model.encoding.columns]
    pds: Floats = model.predict_pd(model.encoding.rows(data.frame))
    served = Served()
    wait_for(client, version, requests_of(table, data, 0, names)[0])
    drawn = np.random.default_rng(0).permutation(len(data))[:ROWS_OF_EACH]
    for index in drawn.tolist():
        for body in requests_of(table, data, index, names):
            served.compare(client, body, version, pds[index])
    return served


def main() -> None:
    """Serve every table and print how many PDs differ."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    n_requests = 0
    n_different = 0
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "store"
        store.mkdir()
        tables = [random_table(seed) for seed in range(TABLES)]
        read = [applications_of(table, store) for table in tables]
        version = register(store, read[0])
        url = f"http://127.0.0.1:{PORT}"
        log = Path(folder) / "service.log"
        with (
            running(environment_of(store), PORT, log),
            httpx.Client(base_url=url, headers=JSON, timeout=PATIENCE_S) as client,
        ):
            for seed, (table, data) in enumerate(zip(tables, read, strict=True)):
                if seed:
                    version = register(store, data)
                served = score_table(client, store, version, table, data)
                n_requests += served.requests
                n_different += served.different
                print(
                    f"table {seed}: {len(table.cells.columns)} columns, "
                    f"{served.requests} PDs, {served.different} differ, by up to "
                    f"{served.largest:.3g}"
                )
    expected = 2 * TABLES * ROWS_OF_EACH
    bars = [
        bar("served PDs", n_requests, expected, n_requests == expected),
        bar("served PDs that differ", n_different, 0, n_different == 0),
    ]
    report(bars, options.json)


if __name__ == "__main__":
    main()
