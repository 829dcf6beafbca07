"""The checks of a deployment: what would go wrong or is not safe, and what to do."""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from shutil import disk_usage
from typing import Literal, NamedTuple

import httpx
import sqlalchemy as sa

from obligor.data.time_zone import day_at
from obligor.decisions.as_of import last_posting
from obligor.decisions.replay import COMPUTED
from obligor.errors import ObligorError
from obligor.model.bundle import MODEL_NAME
from obligor.policy.collecting.late_interest import outdated_rates
from obligor.record.merkle_log import Tree
from obligor.record.receipts import PUBLIC, CheckpointFolder
from obligor.record.tables import ENTRIES
from obligor.serving.access.api_keys import list_keys
from obligor.serving.assembly import Service, build_webhooks
from obligor.serving.settings import Settings
from obligor.serving.webhooks.deliverer import Webhooks
from obligor.signing import public_key

OLD_LEDGER_DAYS = 7
LITTLE_SPACE_BYTES = 2 * 1024**3
SHORT_KEY = 32
LATE_WEBHOOK_S = 300
TIMEOUT_S = 5
# With these set, BentoML leaves a dead worker dead, or opens a port that runs what it
# is sent.
_DANGEROUS = ("BENTOML_CONTAINERIZED", "BENTOML_NO_UDS")
_KEY_FILES = {"OBLIGOR_DATA_KEY": "data.key", "OBLIGOR_SIGNING_KEY": "signing.key"}
# The status that each path must have without a key.
_CLOSED = {
    "/v1/metrics": 401,
    "/v1/openapi.json": 401,
    "/v1/cases": 401,
    "/metrics": 404,
    "/docs.json": 404,
    "/schema.json": 404,
}
State = Literal["good", "warning", "bad"]


class Check(NamedTuple):
    """The result of a check.

    Attributes
    ----------
    name : str
        What was checked.
    state : {"good", "warning", "bad"}
        How it is.
    detail : str
        What was seen.
    do : str
        What to do; empty if nothing.
    """

    name: str
    state: State
    detail: str
    do: str = ""


@dataclass(frozen=True)
class Deployment:
    """The deployment to check.

    Attributes
    ----------
    settings : Settings
        Its settings.
    service : Service
        The service on its store.
    environment : mapping
        The environment of the service.
    now : datetime
        The time, with its zone.
    url : str, optional
        The address of the running service.
    """

    settings: Settings
    service: Service
    environment: Mapping[str, str]
    now: datetime
    url: str | None = None

    def today(self) -> date:
        """Return the day that it is for the house."""
        return day_at(self.now, self.settings.time_zone)


def examine(deployment: Deployment) -> Iterator[Check]:
    """Yield the result of every check; one that cannot be made is bad."""
    for name, check in _CHECKS.items():
        try:
            yield from check(deployment)
        except (
            ObligorError,
            OSError,
            sa.exc.SQLAlchemyError,
            httpx.HTTPError,
        ) as error:
            yield Check(name, "bad", f"{type(error).__name__}: {error}")


def _environment(deployment: Deployment) -> Iterator[Check]:
    for name in _DANGEROUS:
        if name in deployment.environment:
            yield Check(
                "environment",
                "bad",
                f"{name} is set",
                do="unset it: see docs/how-to/deploy.md",
            )
    admin_key = deployment.environment.get("OBLIGOR_ADMIN_KEY")
    if admin_key is not None and len(admin_key) < SHORT_KEY:
        yield Check(
            "admin key",
            "bad",
            f"it has {len(admin_key)} characters",
            do=f"use at least {SHORT_KEY}, or `obligor keys create`",
        )


def _secrets(deployment: Deployment) -> Iterator[Check]:
    folder = deployment.settings.store / "keys"
    for name, file in _KEY_FILES.items():
        if name in deployment.environment:
            yield Check(name, "good", "it comes from the environment")
        else:
            yield Check(
                name,
                "warning",
                f"it is in {folder / file}",
                do=f"set {name}: whoever copies the store has the key, too",
            )
    for path in sorted(folder.glob("*.key")):
        # Group and others must have no permission at all.
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            yield Check(
                "key file",
                "bad",
                f"other users can read {path}",
                do=f"chmod 600 {path}",
            )


def _record(deployment: Deployment) -> Iterator[Check]:
    database = deployment.service.record.database
    with database.engine.connect() as connection:
        count = sa.select(sa.func.count()).select_from(ENTRIES)
        n_entries = connection.scalar(count) or 0
        if database.is_sqlite:
            is_durable, detail = _sqlite_durability(connection)
        else:
            is_durable, detail = _postgres_durability(connection)
    yield Check(
        "record",
        "good" if is_durable else "bad",
        f"{n_entries:,} entries; {detail}",
        do="" if is_durable else "acknowledged entries may be lost",
    )


def _sqlite_durability(connection: sa.Connection) -> tuple[bool, str]:
    journal = connection.exec_driver_sql("PRAGMA journal_mode").scalar()
    synchronous = connection.exec_driver_sql("PRAGMA synchronous").scalar()
    # 2 is FULL.
    is_durable = journal == "wal" and synchronous == 2
    return is_durable, f"SQLite, journal {journal}, synchronous {synchronous}"


def _postgres_durability(connection: sa.Connection) -> tuple[bool, str]:
    commit = connection.exec_driver_sql("SHOW synchronous_commit").scalar()
    return commit != "off", f"PostgreSQL, synchronous_commit {commit}"


def _checkpoints(deployment: Deployment) -> Iterator[Check]:
    folders = deployment.settings.checkpoints
    for folder in folders:
        yield from _check_folder(folder, deployment.settings.store)
    checkpoints = list(CheckpointFolder(folders).all())
    keys = [folder / PUBLIC for folder in folders if (folder / PUBLIC).exists()]
    if not checkpoints or not keys:
        yield Check(
            "checkpoints",
            "warning",
            "there are none yet",
            do="they are signed with the first entries",
        )
        return
    public_key(keys[0].read_bytes(), str(keys[0]))
    last = checkpoints[-1]
    # A fresh tree: it must read the stored hashes, not remember them.
    tree = Tree(deployment.service.record.database)
    size = tree.size()
    is_whole = last.size <= size and tree.root(last.size) == last.root
    yield Check(
        "checkpoints",
        "good" if is_whole else "bad",
        f"{len(checkpoints):,}, the last over {last.size:,} of {size:,} entries "
        f"at {last.at}",
        do="" if is_whole else "the record was changed: `obligor audit verify`",
    )


def _check_folder(folder: Path, store: Path) -> Iterator[Check]:
    if not folder.is_dir():
        yield Check(
            "checkpoints",
            "bad",
            f"{folder} does not exist",
            do="start the service, or mount the folder",
        )
    elif folder.stat().st_dev == store.stat().st_dev:
        yield Check(
            "checkpoints",
            "warning",
            f"{folder} is on the same disk as the store",
            do="name a mount of another machine in OBLIGOR_CHECKPOINTS",
        )


def _champion(deployment: Deployment) -> Iterator[Check]:
    models = deployment.service.models
    names = models.names() or [MODEL_NAME]
    for name in names:
        champion = models.champion(name)
        title = "champion" if name == MODEL_NAME else f"champion of {name}"
        yield Check(
            title,
            "good",
            f"version {champion.version}, signed, {champion.sha256[:12]}",
        )


def _rulebooks(deployment: Deployment) -> Iterator[Check]:
    rulebooks = deployment.service.rulebooks
    rulebook = rulebooks.in_force(deployment.today())
    yield Check(
        "rules",
        "good",
        f"{rulebook.version} is in force, {len(rulebooks.released)} are released",
    )


def _reference_rates(deployment: Deployment) -> Iterator[Check]:
    today = deployment.today()
    rulebook = deployment.service.rulebooks.in_force(today)
    if "reference_rates" not in rulebook.tables:
        yield Check(
            "reference rates",
            "warning",
            f"the rulebook {rulebook.version} has no rates by half-year: late "
            "interest is worked out at one rate for all days",
            do="release a rulebook with the tables interest_laws, reference_rates and "
            "compensation",
        )
        return
    outdated = outdated_rates(rulebook, today)
    for rate in outdated:
        yield Check(
            "reference rates",
            "warning",
            f"{rate.reference} {rate.what}: late interest of today is missing or may "
            f"be wrong in {', '.join(rate.countries)}",
            do="add the rate of the half-year to a new rulebook: "
            "docs/how-to/charge-late-interest.md",
        )
    if not outdated:
        yield Check("reference rates", "good", f"they reach to {today}")


def _ledger(deployment: Deployment) -> Iterator[Check]:
    today = deployment.today()
    ledger = deployment.service.ledger
    exported_on = ledger.exported_on()
    observed_until = exported_on or last_posting(ledger) or today
    age_days = (today - observed_until).days
    if exported_on is None:
        yield Check(
            "ledger",
            "warning",
            f"its last posting is of {observed_until}, {age_days} days ago; the day of "
            "the export is not stated, so questions are answered as of today",
            do="state exported_on in the mapping, and load it again",
        )
        return
    is_old = age_days > OLD_LEDGER_DAYS
    yield Check(
        "ledger",
        "warning" if is_old else "good",
        f"it was exported on {exported_on}, {age_days} days ago",
        do="load it again" if is_old else "",
    )


def _names(deployment: Deployment) -> Iterator[Check]:
    """Open what is sealed; a store restored without its keys cannot be read."""
    n_customers = deployment.service.ledger.parties.n_sealed()
    if n_customers:
        yield Check(
            "names",
            "good",
            f"those of {n_customers:,} customers are sealed, and can be opened",
        )


def _replay(deployment: Deployment) -> Iterator[Check]:
    entry_ids = deployment.service.record.reader.ids_of_kinds(COMPUTED)
    for entry_id in entry_ids[-1:]:
        result = deployment.service.replayer.replay(entry_id)
        if result.is_equal:
            yield Check("replay", "good", "the last decision replays bit for bit")
        else:
            yield Check("replay", "bad", "; ".join(result.differences[:3]))


def _access(deployment: Deployment) -> Iterator[Check]:
    keys = list_keys(deployment.service.record.database.engine)
    valid = [key for key in keys if key["revoked_at"] is None]
    n_admins = sum(key["role"] == "admin" for key in valid)
    if valid or "OBLIGOR_ADMIN_KEY" in deployment.environment:
        yield Check(
            "keys",
            "good",
            f"{len(valid)} are valid, {n_admins} of them with the role admin",
        )
    else:
        yield Check(
            "keys",
            "bad",
            "there is no valid key",
            do="obligor keys create --name shop --role application",
        )


def _webhooks(deployment: Deployment) -> Iterator[Check]:
    webhooks = build_webhooks(
        deployment.service, deployment.settings, deployment.environment
    )
    status = webhooks.outbox.status(deployment.now)
    if status.n_endpoints == 0:
        yield Check("webhooks", "good", "there are no endpoints")
        return
    yield from _endpoint_checks(webhooks, deployment.now)
    is_late = status.oldest_s > LATE_WEBHOOK_S
    yield Check(
        "webhooks",
        "warning" if is_late or status.dead else "good",
        f"{status.waiting:,} waiting, {status.dead:,} dead, {status.delivered:,} "
        f"delivered; the oldest has waited for {status.oldest_s:,.0f} s",
        do="`obligor webhooks deliveries` shows why" if is_late or status.dead else "",
    )


def _endpoint_checks(webhooks: Webhooks, now: datetime) -> Iterator[Check]:
    """Check that each endpoint may be called, and that its secrets can be read."""
    for endpoint in webhooks.endpoints.active():
        try:
            webhooks.sender.guard.url(endpoint.url)
            webhooks.endpoints.secrets(endpoint, now)
        except ObligorError as error:
            yield Check(
                "webhooks",
                "bad",
                f"endpoint {endpoint.endpoint_id}: {error}",
                do="nothing is delivered to it",
            )


def _space(deployment: Deployment) -> Iterator[Check]:
    free = disk_usage(deployment.settings.store).free
    is_enough = free > LITTLE_SPACE_BYTES
    yield Check(
        "disk",
        "good" if is_enough else "bad",
        f"{free / 1024**3:.1f} GB are free",
        do="" if is_enough else "free some: soon nothing can be recorded",
    )


def _service(deployment: Deployment) -> Iterator[Check]:
    url = deployment.url
    if url is None:
        return
    is_local = url.startswith(("http://127.0.0.1", "http://localhost"))
    if url.startswith("http://") and not is_local:
        yield Check("TLS", "bad", f"{url} is not encrypted", do="put TLS in front")
    for path in ("/livez", "/readyz"):
        status = httpx.get(url + path, timeout=TIMEOUT_S).status_code
        yield Check(path, "good" if status == 200 else "bad", str(status))
    yield _closed_paths(url)
    headers = httpx.get(f"{url}/v1/cases", timeout=TIMEOUT_S).headers
    if "server" in headers or headers.get("x-content-type-options") != "nosniff":
        yield Check(
            "headers",
            "bad",
            "there is a server header, or ours are missing",
            do="check that Obligor answers, and through which proxy",
        )


def _closed_paths(url: str) -> Check:
    open_paths = dict[str, int]()
    for path, expected in _CLOSED.items():
        status = httpx.get(url + path, timeout=TIMEOUT_S).status_code
        if status != expected:
            open_paths[path] = status
    if open_paths:
        return Check("closed paths", "bad", f"unexpected answers: {open_paths}")
    return Check("closed paths", "good", "all are closed")


_CHECKS: dict[str, Callable[[Deployment], Iterator[Check]]] = {
    "environment": _environment,
    "secrets": _secrets,
    "record": _record,
    "checkpoints": _checkpoints,
    "champion": _champion,
    "rules": _rulebooks,
    "reference rates": _reference_rates,
    "ledger": _ledger,
    "names": _names,
    "replay": _replay,
    "keys": _access,
    "webhooks": _webhooks,
    "disk": _space,
    "service": _service,
}
