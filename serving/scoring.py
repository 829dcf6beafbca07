"""The spine of one decision: from a checked request to a recorded answer."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from data.account import Account, day_number
from data.asof import KnownAccount, known_account
from data.errors import AsOfError, ConflictError, ObligorError, SchemaError
from data.money import round_money, to_minor
from data.store import LedgerStore
from features.build import account_features, rates_on
from features.catalogue import NAMES
from policy.decide import Decision, Facts, Request, decide
from policy.rulebook import Rulebook, in_force, read_rulebooks
from policy.tables import Evaluation
from serving.champion import Champion, ChampionKeeper
from serving.inline import account_of
from serving.reasons import principal_reasons
from serving.record import Entry, Record
from serving.schemas import DecisionRequest, ScoreRequest
from serving.settings import Settings
from training.pd_model import NAME, PdModel

Floats = NDArray[np.float64]
log = logging.getLogger("obligor")


@dataclass(frozen=True)
class Known:
    """A question with what was known of its customer."""

    request: DecisionRequest
    account: KnownAccount
    source: str
    observed_until: date | None


@dataclass(frozen=True)
class Prepared:
    """The answers to some questions, and the entries that must be durable before any of them leaves."""

    answers: list[str | ObligorError]
    entries: list[Entry]


@dataclass(frozen=True)
class Engine:
    """Everything a decision needs; clock and ids come from the rim.

    Attributes
    ----------
    now : callable
        The time, with its zone.
    new_id : callable
        A fresh decision id.
    """

    ledger: LedgerStore
    record: Record
    champions: ChampionKeeper
    rulebooks: Sequence[Rulebook]
    now: Callable[[], datetime]
    new_id: Callable[[], str]

    def decide(self, request: DecisionRequest, key: str | None = None) -> str:
        """Return the recorded answer to one request as JSON text; a repeated key gets the stored one."""
        answer = self.decide_all([request], [key])[0]
        if isinstance(answer, ObligorError):
            raise answer
        return answer

    def decide_all(self, requests: Sequence[DecisionRequest], keys: Sequence[str | None]) -> list[str | ObligorError]:
        """Answer many requests with one prediction and one commit; each answer is a text or its error.

        Raises
        ------
        ModelError, RecordError
            Where no answer at all can be given.
        """
        prepared = self.prepare(requests, keys)
        try:
            self.record.append(prepared.entries)
        except ConflictError:
            # Another request with one of these keys was recorded meanwhile: its answer is the answer.
            return self.decide_all(requests, keys)
        return prepared.answers

    def prepare(self, requests: Sequence[DecisionRequest], keys: Sequence[str | None]) -> Prepared:
        """Do all but the last step: what is returned may leave once its entries are durable.

        Raises
        ------
        ModelError
            Where there is no champion.
        """
        # 1-2. What was answered before is not asked again, and needs no model.
        done = [self._answered(*pair) for pair in zip(requests, keys, strict=True)]
        asked = [place for place, answer in enumerate(done) if answer is None]
        if not asked:
            return Prepared([answer for answer in done if answer is not None], [])
        champion = self.champions.current()
        # 3-4. Checked requests -> known_on(as_of) -> features.
        fresh = dict[int, Known]()
        for place, known in zip(asked, self._known([requests[place] for place in asked]), strict=True):
            if isinstance(known, ObligorError):
                done[place] = known
            else:
                fresh[place] = known
        features = _features(list(fresh.values()))
        # 5-8. PD and contributions once for all, reasons and decision one by one.
        entries = list[Entry]()
        rows = [row for row in features if not isinstance(row, ObligorError)]
        explained = iter(_explained(champion.model, rows))
        for (place, known), values in zip(fresh.items(), features, strict=True):
            if isinstance(values, ObligorError):
                done[place] = values
                continue
            pd_12m, explanation = next(explained)
            try:
                entries.append(self._entry(known, keys[place], values, pd_12m, explanation, champion))
                done[place] = entries[-1].body
            except ObligorError as error:
                done[place] = error
        return Prepared([answer for answer in done if answer is not None], entries)

    def score(self, request: ScoreRequest) -> bytes:
        """Return the PD of ready-made features with its explanation, as JSON; nothing is recorded.

        Raises
        ------
        SchemaError
            Where a feature is missing or unknown.
        ModelError
            Where there is no champion.
        """
        champion, given = self.champions.current(), request.features
        if given.keys() != set(NAMES):
            missing, unknown = sorted(set(NAMES) - given.keys())[:5], sorted(given.keys() - set(NAMES))[:5]
            raise SchemaError(
                f"missing {missing}, unknown {unknown}",
                where="features",
                expected=f"the {len(NAMES)} names of the catalogue, null where not known",
            )
        row = np.array([given[name] for name in NAMES], dtype=np.float64)  # null becomes NaN
        values = dict(zip(NAMES, row.tolist(), strict=True))
        pd_12m, explanation = _explained(champion.model, [row])[0]
        reasons = principal_reasons((), values, explanation["contributions"])
        answer = {"pd_12m": pd_12m, "reasons": reasons, "explanation": explanation, "model": _model(champion)}
        return orjson.dumps(answer)

    def _answered(self, request: DecisionRequest, key: str | None) -> str | ObligorError | None:
        """The stored answer to a key, or that the key is taken; None where the question is new."""
        if key is None:
            return None
        try:
            return self.record.answered(key, _sha256(request.model_dump_json()))
        except ConflictError as error:
            return error

    def _known(self, requests: Sequence[DecisionRequest]) -> list[Known | ObligorError]:
        """What was known of each customer on the as-of date, or why that cannot be said."""
        stored = [request.customer_id for request in requests if request.ledger is None]
        accounts = self.ledger.accounts(stored) if len(stored) > 1 else {}
        found = list[Known | ObligorError]()
        for request in requests:
            try:
                found.append(self._known_one(request, accounts.get(request.customer_id)))
            except ObligorError as error:
                found.append(error)
        return found

    def _known_one(self, request: DecisionRequest, account: Account | None) -> Known:
        today, asked = self.now().date(), request.request
        if request.ledger is not None:
            account = account_of(request.customer_id, request.ledger, today)
        elif account is None or (asked and asked.currency not in (account.currency, *account.rates)):
            account = self.ledger.account(request.customer_id, [asked.currency] if asked else [])
        last = account.observed_until
        as_of = request.as_of or (min(last, today) if last else today)
        if as_of > today:
            raise AsOfError(f"{as_of} lies in the future", where="as_of", expected=f"a day up to {today}")
        return Known(request, known_account(account, as_of), "request" if last is None else "store", last)

    def _entry(
        self,
        question: Known,
        key: str | None,
        features: Floats,
        pd_12m: float,
        explained: Mapping[str, Any],
        champion: Champion,
    ) -> Entry:
        known, request = question.account, question.request
        rulebook = in_force(self.rulebooks, known.as_of)
        values = dict(zip(NAMES, features.tolist(), strict=True))
        facts = Facts(pd_12m, known.account.currency, values, _request_in_reporting(question))
        decision = decide(facts, rulebook)
        decision_id, recorded_at, asked = self.new_id(), self.now(), request.model_dump_json()
        answer = {
            "decision_id": decision_id,
            "customer_id": request.customer_id,
            "as_of": known.as_of,
            "recorded_at": recorded_at,
            "outcome": decision.outcome,
            "pd_12m": pd_12m,
            **_decided(decision),
            "reasons": principal_reasons(decision.reasons, values, explained["contributions"]),
            "explanation": explained,
            "rules": [_traced(evaluation) for evaluation in decision.trace],
            "model": _model(champion),
            "policy": {"version": rulebook.version, "sha256": rulebook.sha256},
            "features": values,  # NaN is written as null
            "ledger": {"source": question.source, "observed_until": question.observed_until},
        }
        return Entry(
            decision_id=decision_id,
            customer_id=request.customer_id,
            as_of=known.as_of,
            recorded_at=recorded_at,
            idempotency_key=key,
            request_sha256=_sha256(asked),
            outcome=decision.outcome,
            pd_12m=pd_12m,
            grade=decision.grade,
            limit_minor=to_minor(decision.limit.amount, decision.limit.currency),
            currency=decision.limit.currency,
            model_sha256=champion.sha256,
            policy_sha256=rulebook.sha256,
            request=asked,
            # Decimals are written as text: a trace is read by people and must not lose a digit.
            body=orjson.dumps(answer, default=str).decode(),
        )


def _model(champion: Champion) -> dict[str, Any]:
    return {
        "name": NAME,
        "version": champion.version,
        "sha256": champion.sha256,
        "horizon_days": champion.model.horizon_days,
    }


def _features(known: Sequence[Known]) -> list[Floats | ObligorError]:
    """The features of each question, by one pass of the kernel per as-of date."""
    found: list[Floats | ObligorError | None] = [None] * len(known)
    for as_of in {one.account.as_of for one in known}:
        places = [place for place, one in enumerate(known) if one.account.as_of == as_of]
        try:
            rows: Sequence[Floats | ObligorError] = list(account_features([known[place].account for place in places]))
        except ObligorError as error:
            # A rate is missing: of one account, which the others must not pay for.
            rows = [error] if len(places) == 1 else [_features([known[place]])[0] for place in places]
        for place, row in zip(places, rows, strict=True):
            found[place] = row
    return [row for row in found if row is not None]


def _explained(model: PdModel, features: Sequence[Floats]) -> list[tuple[float, dict[str, Any]]]:
    """The PD over 12 months and the explanation of each question, by one prediction."""
    if not features:
        return []
    contributions, margins = model.explain(np.array(features))
    calibration = model.calibration.as_dict()
    return [
        (
            float(pd_12m),
            {
                "base": model.base,
                "contributions": dict(zip(NAMES, given.tolist(), strict=True)),
                "margin": float(margin),
                "calibration": calibration,
            },
        )
        for pd_12m, given, margin in zip(model.pd_12m(margins), contributions, margins, strict=True)
    ]


def build_engine(settings: Settings, now: Callable[[], datetime], new_id: Callable[[], str]) -> Engine:
    """Put together everything a decision needs; a doubtful rulebook is told and left out."""
    rulebooks, refused = read_rulebooks(settings.rules)
    for error in refused:
        log.error("a rulebook is refused, the last good one stays in force: %s", error)
    settings.store.mkdir(parents=True, exist_ok=True)
    return Engine(
        ledger=LedgerStore(settings.ledger_url),
        record=Record(settings.record_url),
        champions=ChampionKeeper(settings.store),
        rulebooks=rulebooks,
        now=now,
        new_id=new_id,
    )


def _sha256(request: str) -> str:
    """Of a parsed request as JSON again: spacing and order of keys as sent do not matter."""
    return hashlib.sha256(request.encode()).hexdigest()


def _request_in_reporting(question: Known) -> Request | None:
    """The requested amount in the reporting currency, at the last rate known."""
    asked, account = question.request.request, question.account.account
    if asked is None:
        return None
    today = np.array([day_number(question.account.as_of)])
    rate = Decimal(str(float(rates_on(account, asked.currency, today)[0])))
    return Request(round_money(asked.amount * rate, account.currency), asked.terms_days)


def _decided(decision: Decision) -> dict[str, Any]:
    currency = decision.limit.currency
    collection = decision.collection and {
        "stage": decision.collection.stage,
        "value_per_minute": {"amount": str(decision.collection.value_per_minute), "currency": currency},
        "because": decision.collection.because,
    }
    return {
        "grade": decision.grade,
        "score": decision.score,
        "limit": {
            "amount": str(decision.limit.amount),
            "currency": currency,
            "binding_cap": decision.limit.binding_cap,
            "caps": {name: str(cap) for name, cap in decision.limit.caps.items()},
        },
        "terms": {"terms_days": decision.terms_days, "is_prepaid": decision.is_prepaid},
        "expected_loss": {"amount": str(decision.expected_loss), "currency": currency},
        "collection": collection,
    }


def _traced(evaluation: Evaluation) -> dict[str, Any]:
    return {
        "table": evaluation.table,
        "inputs": evaluation.inputs,
        "tried": evaluation.tried,
        "fired": evaluation.fired,
        "because": evaluation.because,
        "outputs": evaluation.outputs,
    }
