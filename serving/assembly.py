"""Putting the service together from its settings."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import httpx

from obligor.casework.case_queries import CaseQueries
from obligor.casework.cases import CaseDesk
from obligor.casework.contact_queries import ContactQueries
from obligor.casework.contacts import ContactDesk
from obligor.casework.customers import CustomerDesk
from obligor.casework.erasure import Eraser
from obligor.casework.ledger_updates import LedgerDesk
from obligor.casework.worklist import WorklistPlanner
from obligor.data.store import LedgerStore
from obligor.data.time_zone import day_at
from obligor.decisions.champion import ChampionLoader
from obligor.decisions.evidence import EvidenceCollector
from obligor.decisions.named_models import NamedModels
from obligor.decisions.orders import OrderChecker
from obligor.decisions.recorded import AnswerRecord
from obligor.decisions.reevaluate import reevaluate
from obligor.decisions.replay import Replayer
from obligor.decisions.rulebooks import Rulebooks
from obligor.decisions.score_shadow import Shadows
from obligor.decisions.scores import Scorer
from obligor.decisions.shadow import Shadow
from obligor.decisions.spine import Decider
from obligor.model.bundle import SHADOW_POINTER
from obligor.policy.rulebooks.rulebook import RULES, read_rulebooks
from obligor.record.checkpointer import Checkpointer
from obligor.record.encryption import Vault
from obligor.record.housekeeper import Task
from obligor.record.receipts import CheckpointFolder, ReceiptSigner
from obligor.record.record import Record
from obligor.record.seals import CustomerSeals
from obligor.serving.access.gate import Gate
from obligor.serving.access.oidc import TokenCheck
from obligor.serving.settings import Settings
from obligor.serving.webhooks.address_guard import AddressGuard, parsed_networks
from obligor.serving.webhooks.cloud_event import EventWriter
from obligor.serving.webhooks.deliverer import Webhooks
from obligor.serving.webhooks.endpoints import Endpoints
from obligor.serving.webhooks.events import EventReader
from obligor.serving.webhooks.outbox import Outbox
from obligor.serving.webhooks.sender import Sender
from obligor.signing import Random, key_file, public_key

log = logging.getLogger("obligor")


@dataclass(frozen=True)
class Service:
    """The parts of one process of the service, and what is put together from them.

    Only the rim sees it whole: the HTTP routes, the commands and the tests. They hand
    on the one part that is needed.

    Attributes
    ----------
    ledger : LedgerStore
        The loaded ledger.
    record : Record
        The record, opened.
    champions : ChampionLoader
        Loads the model that serves.
    rulebooks : Rulebooks
        The rules by the day they are in force.
    signer : ReceiptSigner
        Signs receipts and checkpoints.
    checkpointer : Checkpointer
        Gives entries their place in the Merkle tree.
    now : callable
        Returns the time, with its zone.
    new_id : callable
        Returns a fresh entry id.
    zone : tzinfo
        The time zone of the house.
    """

    ledger: LedgerStore
    record: Record
    champions: ChampionLoader
    rulebooks: Rulebooks
    signer: ReceiptSigner
    checkpointer: Checkpointer
    now: Callable[[], datetime]
    new_id: Callable[[], str]
    zone: tzinfo = UTC

    def today(self) -> date:
        """Return the day that it is for the house."""
        return day_at(self.now(), self.zone)

    @cached_property
    def answers(self) -> AnswerRecord:
        """The answers in the record."""
        return AnswerRecord(self.record.writer, self.record.reader, self.signer)

    @cached_property
    def decider(self) -> Decider:
        """Answers questions about customers."""
        return Decider(
            ledger=self.ledger,
            champions=self.champions,
            rulebooks=self.rulebooks,
            answers=self.answers,
            now=self.now,
            new_id=self.new_id,
            zone=self.zone,
        )

    @cached_property
    def orders(self) -> OrderChecker:
        """Checks orders."""
        return OrderChecker(self.decider, self.answers)

    @cached_property
    def models(self) -> NamedModels:
        """The models of the store by name."""
        return NamedModels(self.champions)

    @cached_property
    def scorer(self) -> Scorer:
        """Scores ready-made features."""
        return Scorer(self.models, self.answers, self.decider.stamp)

    @cached_property
    def replayer(self) -> Replayer:
        """Computes recorded decisions again."""
        return Replayer(self.record.reader, self.champions, self.rulebooks)

    @cached_property
    def evidence(self) -> EvidenceCollector:
        """Collects the evidence about recorded decisions."""
        return EvidenceCollector(
            replayer=self.replayer,
            checkpointer=self.checkpointer,
            signer=self.signer,
            models=self.champions.store / "models",
            rulebooks=self.rulebooks,
        )

    @cached_property
    def cases(self) -> CaseDesk:
        """Shows cases, and records what people do about them."""
        return CaseDesk(
            queries=CaseQueries(self.record.reader),
            writer=self.record.writer,
            reevaluate=partial(reevaluate, decider=self.decider, orders=self.orders),
            stamp=self.decider.stamp,
            zone=self.zone,
        )

    @cached_property
    def contacts(self) -> ContactDesk:
        """Records contacts."""
        return ContactDesk(
            queries=ContactQueries(self.record.reader),
            answers=self.answers,
            decide=self.decider.decide_unrecorded,
            now=self.now,
            new_id=self.new_id,
            zone=self.zone,
        )

    @cached_property
    def customers(self) -> CustomerDesk:
        """Shows who customers are."""
        return CustomerDesk(
            ledger=self.ledger,
            now=self.now,
            zone=self.zone,
        )

    @cached_property
    def eraser(self) -> Eraser:
        """Erases customers."""
        return Eraser(
            record=self.record,
            ledger=self.ledger,
            now=self.now,
            new_id=self.new_id,
        )

    @cached_property
    def ledger_desk(self) -> LedgerDesk:
        """Takes rows into the loaded ledger."""
        return LedgerDesk(
            ledger=self.ledger,
            answers=self.answers,
            stamp=self.decider.stamp,
            today=self.today,
        )

    @cached_property
    def worklists(self) -> WorklistPlanner:
        """Plans the collectors' day."""
        return WorklistPlanner(
            ledger=self.ledger,
            champions=self.champions,
            rulebooks=self.rulebooks,
            contacts=ContactQueries(self.record.reader),
            now=self.now,
            zone=self.zone,
        )


def assemble_service(
    settings: Settings,
    now: Callable[[], datetime],
    new_id: Callable[[], str],
    random: Random,
) -> Service:
    """Put the service together.

    Parameters
    ----------
    settings : Settings
        Paths, URLs and keys.
    now : callable
        Returns the time, with its zone.
    new_id : callable
        Returns a fresh entry id.
    random : callable
        Returns so many random bytes.

    Returns
    -------
    Service
        Without the rulebooks that were refused; the log names them.
    """
    settings.store.mkdir(parents=True, exist_ok=True)
    record, signer = open_record(settings, random)
    folder = CheckpointFolder(settings.checkpoints)
    return Service(
        ledger=LedgerStore(settings.ledger_url, lambda: CustomerSeals(record.database)),
        record=record,
        champions=ChampionLoader(settings.store, settings.trusted),
        rulebooks=_open_rulebooks(settings),
        signer=signer,
        checkpointer=Checkpointer(record, signer, folder, now),
        now=now,
        new_id=new_id,
        zone=settings.time_zone,
    )


def _open_rulebooks(settings: Settings) -> Rulebooks:
    """Read the rulebooks and keep a copy of each that is released."""
    keys = [
        public_key(path.read_bytes(), str(path))
        for path in settings.trusted
        if path.exists()
    ]
    is_shipped = settings.rules == RULES
    released, refused = read_rulebooks(settings.rules, None if is_shipped else keys)
    for error in refused:
        log.error("a rulebook is refused, the last good one stays in force: %s", error)
    rulebooks = Rulebooks(released, settings.rules, settings.store / "rulebooks")
    rulebooks.keep()
    return rulebooks


def build_shadow(service: Service, settings: Settings) -> Shadows:
    """Put together what scores recorded decisions and scores with challengers."""
    decisions = Shadow(
        service.record,
        ChampionLoader(settings.store, settings.trusted, SHADOW_POINTER),
        service.now,
    )
    return Shadows(
        decisions,
        service.record,
        service.models,
        service.now,
    )


def housekeeping_tasks(
    service: Service, gate: Gate, shadow: Shadow | Shadows
) -> list[Task]:
    """Return the tasks of the housekeeper, in order; they run behind the answers.

    Parameters
    ----------
    service : Service
        Its record takes the denied calls; its checkpointer signs.
    gate : Gate
        Its quotas and denied calls are saved.
    shadow : Shadow or Shadows
        Scores recorded decisions with the challenger.

    Returns
    -------
    list of Task
        The checkpoint comes last, so that it covers the others' entries.
    """

    def record_denials(is_last: bool) -> None:
        entry = gate.denials.entry(service.now(), service.new_id(), is_last)
        if entry is not None:
            service.record.writer.append([entry])

    def score_in_shadow(is_last: bool) -> None:
        # A process that ends does not wait for a challenger: another one scores.
        if not is_last:
            try_shadow(shadow)

    return [
        Task("saving quotas", lambda is_last: gate.quota.flush()),
        Task("recording denied calls", record_denials),
        Task("scoring in the shadow", score_in_shadow),
        Task("signing a checkpoint", lambda is_last: service.checkpointer.step()),
    ]


def build_webhooks(
    service: Service, settings: Settings, environment: Mapping[str, str]
) -> Webhooks:
    """Put together what reads the record for events and delivers them.

    Parameters
    ----------
    service : Service
        Its record is read; its rulebooks say what an early warning is.
    settings : Settings
        Networks, days and source of webhooks.
    environment : mapping
        Where the secrets of an endpoint may come from.

    Returns
    -------
    Webhooks
        The parts; `Deliverer` runs them.

    Raises
    ------
    SchemaError
        If the setting of the networks cannot be read.
    """
    record = service.record
    guard = AddressGuard(parsed_networks(settings.webhook_networks))
    return Webhooks(
        record=record,
        endpoints=Endpoints(record, environment),
        outbox=Outbox(record),
        reader=EventReader(record, service.rulebooks),
        writer=EventWriter(record.reader, settings.webhook_source),
        sender=Sender(guard),
        patience=timedelta(days=settings.webhook_days),
    )


def try_shadow(shadow: Shadow | Shadows) -> None:
    """Score with the challenger; whatever is wrong with it, checkpoints must go on."""
    try:
        shadow.step()
    except Exception as error:
        log.error("the challenger did not score: %s", type(error).__name__)


def build_gate(service: Service, environment: Mapping[str, str]) -> Gate:
    """Put together what authenticates callers and enforces their rate limits."""
    return Gate(
        service.record.database.engine,
        service.now,
        environment.get("OBLIGOR_ADMIN_KEY"),
        tokens=_token_check(environment, service.now),
    )


def _token_check(
    environment: Mapping[str, str], now: Callable[[], datetime]
) -> TokenCheck | None:
    """Return what checks tokens, if issuer, audience and the issuer's keys are set."""
    issuer = environment.get("OBLIGOR_OIDC_ISSUER")
    audience = environment.get("OBLIGOR_OIDC_AUDIENCE")
    keys = environment.get("OBLIGOR_OIDC_JWKS")
    if not (issuer and audience and keys):
        return None
    return TokenCheck(
        issuer,
        audience,
        partial(_read_json, keys),
        now,
        environment.get("OBLIGOR_OIDC_ROLE_CLAIM", "obligor_role"),
    )


def _read_json(source: str) -> Mapping[str, Any]:
    """Read JSON from a URL or a file."""
    if source.startswith("https://"):
        return dict(httpx.get(source, timeout=5).raise_for_status().json())
    return dict(json.loads(Path(source).read_text(encoding="utf-8")))


def open_record(settings: Settings, random: Random) -> tuple[Record, ReceiptSigner]:
    """Open the record, and return what signs its receipts and checkpoints.

    A key that the environment does not give is made once and kept in the store.
    """
    keys = {
        "OBLIGOR_DATA_KEY": settings.data_key,
        "OBLIGOR_SIGNING_KEY": settings.signing_key,
    }
    for name, key in keys.items():
        if key is None:
            log.warning(
                "%s is not set: a key in the store is used; "
                "set it before the record matters",
                name,
            )
    folder = settings.store / "keys"
    data_key = settings.data_key or key_file(folder / "data.key", random)
    signing_key = settings.signing_key or key_file(folder / "signing.key", random)
    record = Record.open(settings.record_url, Vault(data_key, random))
    return record, ReceiptSigner(signing_key)
