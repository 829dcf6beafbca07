"""A look at a deployment: what would go wrong, or is not safe, and what to do about it."""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from shutil import disk_usage
from typing import Literal, NamedTuple

import httpx
import sqlalchemy as sa

from obligor.decisions.engine import Engine
from obligor.decisions.replay import replay
from obligor.errors import ObligorError
from obligor.policy.rulebooks.rulebook import in_force
from obligor.record.merkle_log import Tree
from obligor.record.receipts import PUBLIC
from obligor.record.tables import ENTRIES
from obligor.serving.access.api_keys import list_keys
from obligor.serving.settings import Settings
from obligor.signing import public_key

OLD_LEDGER_DAYS, LITTLE_SPACE, SHORT_KEY = 7, 2 * 1024**3, 32
# What BentoML would do with these set: leave a dead worker dead; open a port that runs what it is sent.
_DANGEROUS = ("BENTOML_CONTAINERIZED", "BENTOML_NO_UDS")
# What must be answered so without a key.
_CLOSED = {
    "/v1/metrics": 401,
    "/v1/openapi.json": 401,
    "/v1/cases": 401,
    "/metrics": 404,
    "/docs.json": 404,
    "/schema.json": 404,
}


class Check(NamedTuple):
    """What was looked at, how it is, and what to do."""

    name: str
    state: Literal["good", "warning", "bad"]
    said: str
    do: str = ""


@dataclass(frozen=True)
class Deployment:
    """What is looked at.

    Attributes
    ----------
    environment : mapping
        That of the service.
    url : str, optional
        Where the service answers.
    """

    settings: Settings
    engine: Engine
    environment: Mapping[str, str]
    now: datetime
    url: str | None = None


def examine(deployment: Deployment) -> Iterator[Check]:
    """Give what every look found; one that fails is a finding, and the others go on."""
    for look in _LOOKS:
        try:
            yield from look(deployment)
        except (
            ObligorError,
            OSError,
            sa.exc.SQLAlchemyError,
            httpx.HTTPError,
        ) as error:
            yield Check(
                look.__name__.strip("_").replace("_", " "),
                "bad",
                f"{type(error).__name__}: {error}",
            )


def _environment(d: Deployment) -> Iterator[Check]:
    for name in _DANGEROUS:
        if name in d.environment:
            yield Check(
                "environment",
                "bad",
                f"{name} is set",
                "unset it: see docs/how-to/deploy.md",
            )
    admin = d.environment.get("OBLIGOR_ADMIN_KEY")
    if admin is not None and len(admin) < SHORT_KEY:
        yield Check(
            "admin key",
            "bad",
            f"has {len(admin)} characters",
            f"{SHORT_KEY} at least, or `obligor keys create`",
        )


def _secrets(d: Deployment) -> Iterator[Check]:
    for name, file in (
        ("OBLIGOR_DATA_KEY", "data.key"),
        ("OBLIGOR_SIGNING_KEY", "signing.key"),
    ):
        path = d.settings.store / "keys" / file
        if name in d.environment:
            yield Check(name, "good", "comes from the environment")
        else:
            yield Check(
                name,
                "warning",
                f"lies in {path}",
                f"set {name}: who takes the store has the key too",
            )
    for path in sorted((d.settings.store / "keys").glob("*.key")):
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            yield Check(
                "key file", "bad", f"{path} can be read by others", f"chmod 600 {path}"
            )


def _record(d: Deployment) -> Iterator[Check]:
    database = d.engine.record.database.engine
    with database.connect() as connection:
        count = connection.scalar(sa.select(sa.func.count()).select_from(ENTRIES)) or 0
        if database.dialect.name == "sqlite":
            mode, sync = (
                connection.exec_driver_sql(f"PRAGMA {name}").scalar()
                for name in ("journal_mode", "synchronous")
            )
            is_durable, said = (
                (mode, sync) == ("wal", 2),
                f"SQLite, journal {mode}, synchronous {sync}",
            )
        else:
            sync = connection.exec_driver_sql("SHOW synchronous_commit").scalar()
            is_durable, said = sync != "off", f"PostgreSQL, synchronous_commit {sync}"
    state: Literal["good", "bad"] = "good" if is_durable else "bad"
    yield Check(
        "record",
        state,
        f"{count:,} entries; {said}",
        "" if is_durable else "acknowledged entries may be lost",
    )


def _checkpoints(d: Deployment) -> Iterator[Check]:
    for folder in d.settings.checkpoints:
        if not folder.is_dir():
            yield Check(
                "checkpoints",
                "bad",
                f"{folder} is not there",
                "start the service, or mount it",
            )
        elif folder.stat().st_dev == d.settings.store.stat().st_dev:
            yield Check(
                "checkpoints",
                "warning",
                f"{folder} is on the store's disk",
                "name a folder on another machine's mount in OBLIGOR_CHECKPOINTS",
            )
    kept = list(d.engine.notary.folder.all())
    key = next(
        (
            folder / PUBLIC
            for folder in d.settings.checkpoints
            if (folder / PUBLIC).exists()
        ),
        None,
    )
    if not kept or key is None:
        yield Check(
            "checkpoints", "warning", "none yet", "they come with the first entries"
        )
        return
    public_key(key.read_bytes(), str(key))
    tree, last = Tree(d.engine.record.database), kept[-1]  # one that remembers nothing
    size = tree.size()
    is_whole = last.size <= size and tree.root(last.size) == last.root
    said = (
        f"{len(kept):,}, the last over {last.size:,} of {size:,} entries at {last.at}"
    )
    yield Check(
        "checkpoints",
        "good" if is_whole else "bad",
        said,
        "" if is_whole else "the record is not what was signed: `obligor audit verify`",
    )


def _champion(d: Deployment) -> Iterator[Check]:
    champion = d.engine.champions.current()
    yield Check(
        "champion",
        "good",
        f"version {champion.version}, signed, {champion.sha256[:12]}",
    )


def _rulebooks(d: Deployment) -> Iterator[Check]:
    found = in_force(d.engine.rulebooks, d.now.date())
    yield Check(
        "rules",
        "good",
        f"{found.version} is in force, {len(d.engine.rulebooks)} released",
    )


def _ledger(d: Deployment) -> Iterator[Check]:
    last = d.engine.last_day()
    age = (d.now.date() - last).days
    state: Literal["good", "warning"] = "warning" if age > OLD_LEDGER_DAYS else "good"
    yield Check(
        "ledger",
        state,
        f"known until {last}, {age} days ago",
        "load it anew" if age > OLD_LEDGER_DAYS else "",
    )


def _replay(d: Deployment) -> Iterator[Check]:
    last = d.engine.record.reader.ids_of_kinds(("decision", "order"))[-1:]
    for entry_id in last:
        found = replay(entry_id, d.engine)
        said = (
            "the last decision comes out again bit for bit"
            if found.is_equal
            else "; ".join(found.differences[:3])
        )
        yield Check("replay", "good" if found.is_equal else "bad", said)


def _access(d: Deployment) -> Iterator[Check]:
    good = [
        row
        for row in list_keys(d.engine.record.database.engine)
        if row["revoked_at"] is None
    ]
    admins = sum(row["role"] == "admin" for row in good)
    if not good and "OBLIGOR_ADMIN_KEY" not in d.environment:
        yield Check(
            "keys",
            "bad",
            "nobody has one",
            "obligor keys create --name shop --role application",
        )
    else:
        yield Check("keys", "good", f"{len(good)} in use, {admins} of them admins'")


def _space(d: Deployment) -> Iterator[Check]:
    free = disk_usage(d.settings.store).free
    state: Literal["good", "bad"] = "good" if free > LITTLE_SPACE else "bad"
    yield Check(
        "disk",
        state,
        f"{free / 1024**3:.1f} GB free",
        "" if free > LITTLE_SPACE else "nothing can be recorded soon",
    )


def _service(d: Deployment) -> Iterator[Check]:
    if d.url is None:
        return
    if d.url.startswith("http://") and not d.url.startswith(
        ("http://127.0.0.1", "http://localhost")
    ):
        yield Check("TLS", "bad", f"{d.url} is not encrypted", "put TLS in front of it")
    for path in ("/livez", "/readyz"):
        status = httpx.get(d.url + path, timeout=5).status_code
        yield Check(path, "good" if status == 200 else "bad", str(status))
    wrong = {
        path: status
        for path, expected in _CLOSED.items()
        if (status := httpx.get(d.url + path, timeout=5).status_code) != expected
    }
    yield Check(
        "closed paths",
        "bad" if wrong else "good",
        f"answered otherwise: {wrong}" if wrong else "all are",
    )
    headers = httpx.get(d.url + "/v1/cases", timeout=5).headers
    if "server" in headers or headers.get("x-content-type-options") != "nosniff":
        yield Check(
            "headers",
            "bad",
            "a server header, or none of ours",
            "is it Obligor that answers, and which proxy?",
        )


_LOOKS: tuple[Callable[[Deployment], Iterator[Check]], ...] = (
    _environment,
    _secrets,
    _record,
    _checkpoints,
    _champion,
    _rulebooks,
    _ledger,
    _replay,
    _access,
    _space,
    _service,
)
