"""Putting an engine together from the settings."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx

from obligor.data.store import LedgerStore
from obligor.decisions.champion import ChampionLoader
from obligor.decisions.engine import Engine
from obligor.decisions.shadow import Shadow
from obligor.model.bundle import SHADOW_POINTER
from obligor.policy.rulebooks.rulebook import RULES, Rulebook, read_rulebooks
from obligor.record.checkpointer import Checkpointer
from obligor.record.encryption import Vault
from obligor.record.housekeeper import Task
from obligor.record.receipts import CheckpointFolder, ReceiptSigner
from obligor.record.record import Record
from obligor.serving.access.gate import Gate
from obligor.serving.access.oidc import TokenCheck
from obligor.serving.settings import Settings
from obligor.signing import Random, key_file, public_key

log = logging.getLogger("obligor")


def build_engine(
    settings: Settings,
    now: Callable[[], datetime],
    new_id: Callable[[], str],
    random: Random,
) -> Engine:
    """Put together everything a decision needs; a doubtful rulebook is told and left out."""
    keys = [
        public_key(path.read_bytes(), str(path))
        for path in settings.trusted
        if path.exists()
    ]
    rulebooks, refused = read_rulebooks(
        settings.rules, None if settings.rules == RULES else keys
    )
    for error in refused:
        log.error("a rulebook is refused, the last good one stays in force: %s", error)
    settings.store.mkdir(parents=True, exist_ok=True)
    record, seal = open_record(settings, random)
    archive = settings.store / "rulebooks"
    keep_rulebooks(rulebooks, settings.rules, archive)
    return Engine(
        ledger=LedgerStore(settings.ledger_url),
        record=record,
        champions=ChampionLoader(settings.store, settings.trusted),
        rulebooks=rulebooks,
        now=now,
        new_id=new_id,
        seal=seal,
        notary=Checkpointer(record, seal, CheckpointFolder(settings.checkpoints), now),
        archive=archive,
        rules=settings.rules,
    )


def build_shadow(engine: Engine, settings: Settings) -> Shadow:
    """Put together what a challenger does."""
    return Shadow(
        engine.record,
        ChampionLoader(settings.store, settings.trusted, SHADOW_POINTER),
        engine.now,
    )


def housekeeping_tasks(engine: Engine, gate: Gate, shadow: Shadow) -> list[Task]:
    """Return what the housekeeper does behind the answers, in its order.

    Parameters
    ----------
    engine : Engine
        Whose record is written to and signed for.
    gate : Gate
        Whose quotas and denied calls are put into the database.
    shadow : Shadow
        The challenger, which scores what was decided.
    """

    def record_denials(is_last: bool) -> None:
        entry = gate.denials.entry(engine.now(), engine.new_id(), is_last)
        if entry is not None:
            engine.record.writer.append([entry])

    def score_in_shadow(is_last: bool) -> None:
        # A process that ends does not wait for a challenger: another one scores.
        if not is_last:
            _in_shadow(shadow)

    return [
        Task("saving quotas", lambda is_last: gate.quota.flush()),
        Task("recording denied calls", record_denials),
        Task("scoring in the shadow", score_in_shadow),
        Task("signing a checkpoint", lambda is_last: engine.notary.step()),
    ]


def _in_shadow(shadow: Shadow) -> None:
    try:
        shadow.step()
    except (
        Exception
    ) as error:  # whatever is wrong with a challenger, checkpoints must go on
        log.error("the challenger did not score: %s", type(error).__name__)


def keep_rulebooks(rulebooks: Sequence[Rulebook], rules: Path, archive: Path) -> None:
    """Keep every rulebook in force by its hash: decisions are made again with the rules of their day."""
    for rulebook in rulebooks:
        kept = archive / rulebook.sha256 / rulebook.version
        if not kept.is_dir():
            shutil.copytree(rules / rulebook.version, kept)


def build_gate(engine: Engine, environment: Mapping[str, str]) -> Gate:
    """Put together who gets in."""
    return Gate(
        engine.record.database.engine,
        engine.now,
        environment.get("OBLIGOR_ADMIN_KEY"),
        tokens=_token_check(environment, engine.now),
    )


def _token_check(
    environment: Mapping[str, str], now: Callable[[], datetime]
) -> TokenCheck | None:
    """Tokens are taken where issuer, audience and the issuer's keys are named."""
    issuer, audience, keys = (
        environment.get(f"OBLIGOR_OIDC_{name}")
        for name in ("ISSUER", "AUDIENCE", "JWKS")
    )
    if not (issuer and audience and keys):
        return None

    def read_keys() -> Mapping[str, Any]:
        if keys.startswith("https://"):
            return dict(httpx.get(keys, timeout=5).raise_for_status().json())
        return dict(json.loads(Path(keys).read_text(encoding="utf-8")))

    return TokenCheck(
        issuer,
        audience,
        read_keys,
        now,
        environment.get("OBLIGOR_OIDC_ROLE_CLAIM", "obligor_role"),
    )


def open_record(settings: Settings, random: Random) -> tuple[Record, ReceiptSigner]:
    """Return the record and the seal; keys that the environment does not give are made once, in the store."""
    keys = settings.store / "keys"
    for name, given in (
        ("OBLIGOR_DATA_KEY", settings.data_key),
        ("OBLIGOR_SIGNING_KEY", settings.signing_key),
    ):
        if given is None:
            log.warning(
                "%s is not set: a key in the store is used; set it before the record matters",
                name,
            )
    vault = Vault(settings.data_key or key_file(keys / "data.key", random), random)
    return Record.open(settings.record_url, vault), ReceiptSigner(
        settings.signing_key or key_file(keys / "signing.key", random)
    )
