"""The spine of one decision: from a checked request to a recorded answer."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import Decimal
from math import isnan
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel

from obligor.data.account import Account
from obligor.data.asof import known_account
from obligor.data.store import LedgerStore
from obligor.decisions.answer import entry_of, order_entry_of, score_answer
from obligor.decisions.champion import Champion, ChampionLoader
from obligor.decisions.facts import DecidedQuestion, KnownQuestion, ScoredRow
from obligor.decisions.inline_ledger import account_of
from obligor.decisions.questions import DecisionRequest, OrderRequest, ScoreRequest
from obligor.decisions.scoring import (
    _catalogue_row,
    _counterfactuals,
    _each,
    _features,
    _or_raise,
    _scored,
)
from obligor.errors import (
    AsOfError,
    ConflictError,
    ObligorError,
    PolicyError,
    SchemaError,
)
from obligor.model.pd_model import PdModel
from obligor.policy.credit.decide import decide
from obligor.policy.credit.orders import OrderBook, check_order
from obligor.policy.rulebooks.rulebook import (
    RULES,
    Rulebook,
    digest_of,
    in_force,
    read_rulebook,
)
from obligor.record.checkpointer import Checkpointer
from obligor.record.entry import Entry
from obligor.record.receipts import ReceiptSigner
from obligor.record.record import Record

log = logging.getLogger("obligor")


class Answer(NamedTuple):
    """The exact text of a recorded answer, and the signed receipt of its entry."""

    body: str
    receipt: str


@dataclass(frozen=True)
class Engine:
    """Everything a decision needs; clock and ids come from the rim.

    Attributes
    ----------
    now : callable
        The time, with its zone.
    new_id : callable
        A fresh decision id.
    seal : ReceiptSigner
        Signs receipts and checkpoints.
    notary : Checkpointer
        Gives entries their place in the tree and keeps checkpoints.
    archive : Path
        Where every rulebook that was ever in force is kept, by its hash.
    rules : Path
        The folder of the rulebooks; drafts in it can be simulated.
    """

    ledger: LedgerStore
    record: Record
    champions: ChampionLoader
    rulebooks: Sequence[Rulebook]
    now: Callable[[], datetime]
    new_id: Callable[[], str]
    seal: ReceiptSigner
    notary: Checkpointer
    archive: Path
    rules: Path = RULES

    def last_day(self) -> date:
        """Return the last day the loaded ledger knows of, or today where that is earlier.

        Raises
        ------
        SchemaError
            Where no ledger is loaded.
        """
        first = self.ledger.customer_ids(1)
        if not first:
            raise self.ledger.unknown("")
        today, last = self.now().date(), self.ledger.account(first[0]).observed_until
        return min(last, today) if last else today

    def recorded(self, entries: Sequence[Entry]) -> list[Answer]:
        """Make entries durable and return the answers with their receipts; raises as `Record.append`."""
        hashes = self.record.writer.append(entries)
        return [
            Answer(entry.body, self.seal.receipt(entry.entry_id, hash_))
            for entry, hash_ in zip(entries, hashes, strict=True)
        ]

    def stored(self, entry_id: str) -> Answer:
        """Return the answer of an entry as it was given; raises as `Record.kept`."""
        kept = self.record.reader.entry(entry_id)
        return Answer(kept.body, self.seal.receipt(entry_id, kept.leaf_hash))

    def day(self, asked: date | None) -> date:
        """Return the day asked about, by default the ledger's last; raises as `last_day` and `require_past`."""
        as_of = asked or self.last_day()
        require_past(as_of, self.now().date(), "as_of")
        return as_of

    def decide(self, request: DecisionRequest, key: str | None = None) -> Answer:
        """Return the recorded answer to one request; a repeated key gets the stored one."""
        return _or_raise(self.decide_all([request], [key])[0])

    def decide_all(
        self,
        requests: Sequence[DecisionRequest],
        keys: Sequence[str | None],
        makers: Sequence[str | None] | None = None,
    ) -> list[Answer | ObligorError]:
        """Answer many requests with one prediction and one commit; each answer is there or its error.

        Parameters
        ----------
        keys : sequence of str or None
            The idempotency key of each.
        makers : sequence of str or None, optional
            Who asks each; kept with the entry.

        Raises
        ------
        ModelError, RecordError
            Where no answer at all can be given.
        """
        # 1-2. What was answered before is not asked again, and needs no model.
        done: list[Answer | ObligorError | None] = [
            self.answered(*pair) for pair in zip(requests, keys, strict=True)
        ]
        asked = [place for place, answer in enumerate(done) if answer is None]
        entries = self._entries(
            [requests[place] for place in asked], [keys[place] for place in asked]
        )
        if makers:
            entries = [
                replace(entry, requested_by_key=makers[place])
                if isinstance(entry, Entry)
                else entry
                for place, entry in zip(asked, entries, strict=True)
            ]
        # 9. Durable before any answer leaves.
        try:
            answers = iter(
                self.recorded([entry for entry in entries if isinstance(entry, Entry)])
            )
        except ConflictError:
            # Another request with one of these keys was recorded meanwhile: its answer is the answer.
            return self.decide_all(requests, keys, makers)
        for place, entry in zip(asked, entries, strict=True):
            done[place] = next(answers) if isinstance(entry, Entry) else entry
        return [answer for answer in done if answer is not None]

    def _entries(
        self, requests: Sequence[DecisionRequest], keys: Sequence[str | None]
    ) -> list[Entry | ObligorError]:
        """Answer new questions, each with an entry or the error that stops it."""
        if not requests:
            return []
        champion = self.champions.of_ledger()
        # 3-4. Checked requests -> known_on(as_of) -> features.
        known = self._known(requests)
        rows = _features(known)
        # 5-6. PD and exact contributions, by one prediction.
        scored = _scored(champion.model, rows)
        # 7. Decisions, and for those that are no approval the acts that would make it one.
        decided = _each(self._decided, known, keys, scored)
        acts = self.acts(decided, champion.model)
        # 8. Reasons and the answer.
        return _each(
            lambda one, offered: entry_of(
                one, offered, champion, self.new_id(), self.now()
            ),
            decided,
            acts,
        )

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
        encoding = champion.model.encoding
        row = encoding.row(given)[0] if encoding else _catalogue_row(given)
        (scored,) = _scored(champion.model, [row])
        return score_answer(champion, _or_raise(scored))

    def check_order(
        self, request: OrderRequest, key: str | None = None, maker: str | None = None
    ) -> Answer:
        """Return the recorded answer to an order; a repeated key gets the stored one.

        Raises
        ------
        ObligorError
            Where no answer can be given.
        """
        stored = self.answered(request, key)
        if stored is not None:
            return _or_raise(stored)
        entry = replace(self._order_entry(request, key), requested_by_key=maker)
        try:
            return self.recorded([entry])[0]
        except ConflictError:
            return self.check_order(request, key, maker)

    def again(self, kind: str, request: str) -> Entry:
        """Answer a recorded request about a decision or an order with what is known today; nothing is recorded.

        Raises
        ------
        SchemaError
            Where the request came with a ledger of its own.
        """
        shape = DecisionRequest if kind == "decision" else OrderRequest
        asked = shape.model_validate_json(request).model_copy(update={"as_of": None})
        if asked.ledger is not None:
            do = "send a new request with the ledger as it is now"
            raise SchemaError("came with a ledger of its own", where="case_id", do=do)
        if isinstance(asked, OrderRequest):
            return self._order_entry(asked, None)
        return _or_raise(self._entries([asked], [None])[0])

    def look(
        self, question: DecisionRequest, currencies: Sequence[str] = ()
    ) -> DecidedQuestion:
        """Decide on one customer without recording it: what orders and contacts are measured by."""
        known = self._known_one(question, None, currencies)
        (scored,) = _scored(self.champions.of_ledger().model, _features([known]))
        return self._decided(known, None, _or_raise(scored))

    def _order_entry(self, request: OrderRequest, key: str | None) -> Entry:
        orders = [request.order, *request.unbilled]
        one = replace(
            self.look(request.question(), [order.currency for order in orders]), key=key
        )
        return self.order_entry(
            one, request, self.champions.of_ledger(), self.new_id(), self.now()
        )

    def order_entry(
        self,
        one: DecidedQuestion,
        request: OrderRequest,
        champion: Champion,
        entry_id: str,
        at: datetime,
    ) -> Entry:
        """Return the entry of an order check, from the decision about its customer."""
        order, *unbilled = (
            one.known.order(order) for order in (request.order, *request.unbilled)
        )
        idle = one.facts.features["days_since_last_invoice"]
        idle_days = None if isnan(idle) else Decimal(str(idle))
        book = OrderBook(one.known.account.as_of, tuple(unbilled), idle_days)
        check = check_order(order, book, one.decision, one.rulebook)
        return order_entry_of(one, request, order, check, champion, entry_id, at)

    def answered(
        self, request: BaseModel, key: str | None
    ) -> Answer | ObligorError | None:
        """Return the stored answer to a key, or that the key is taken; None where the question is new."""
        if key is None:
            return None
        try:
            kept = self.record.reader.for_key(key, request.model_dump_json())
        except ConflictError as error:
            return error
        return kept and Answer(
            kept.body, self.seal.receipt(kept.entry_id, kept.leaf_hash)
        )

    def _known(
        self, requests: Sequence[DecisionRequest]
    ) -> list[KnownQuestion | ObligorError]:
        """What was known of each customer on the as-of date, or why that cannot be said."""
        stored = [request.customer_id for request in requests if request.ledger is None]
        accounts = self.ledger.accounts(stored) if len(stored) > 1 else None
        return _each(lambda request: self._known_one(request, accounts), requests)

    def _known_one(
        self,
        request: DecisionRequest,
        accounts: Mapping[str, Account] | None,
        currencies: Sequence[str] = (),
    ) -> KnownQuestion:
        today, asked = self.now().date(), request.request
        wanted = [*currencies, asked.currency] if asked else currencies
        account = accounts.get(request.customer_id) if accounts is not None else None
        if request.ledger is not None:
            account = account_of(request.customer_id, request.ledger, today)
        elif account is None and accounts is not None:
            raise self.ledger.unknown(request.customer_id)
        elif account is None or set(wanted) - {account.currency, *account.rates}:
            account = self.ledger.account(request.customer_id, wanted)
        last = account.observed_until
        as_of = request.as_of or (min(last, today) if last else today)
        require_past(as_of, today, "as_of")
        return KnownQuestion(
            request,
            known_account(account, as_of),
            "request" if last is None else "store",
            last,
        )

    def _decided(
        self,
        known: KnownQuestion,
        key: str | None,
        scored: ScoredRow,
        rulebook: Rulebook | None = None,
    ) -> DecidedQuestion:
        rulebook = rulebook or in_force(self.rulebooks, known.account.as_of)
        facts = scored.facts(known)
        return DecidedQuestion(
            known, key, scored, facts, decide(facts, rulebook), rulebook
        )

    def decided_again(
        self, known: KnownQuestion, model: PdModel, rulebook: Rulebook
    ) -> DecidedQuestion:
        """Decide as on an earlier day, with the model and the rules of that day."""
        (scored,) = _scored(model, _features([known]))
        return self._decided(known, None, _or_raise(scored), rulebook)

    def acts(
        self, decided: Sequence[DecidedQuestion | ObligorError], model: PdModel
    ) -> list[list[dict[str, Any]]]:
        """Return what is offered to each question: nothing to those approved."""
        return _counterfactuals(decided, model)

    def rulebook(self, sha256: str) -> Rulebook:
        """Return a rulebook by its hash: one that is released, or one kept since it was.

        Raises
        ------
        PolicyError
            Where nobody has it any more.
        """
        found = next((one for one in self.rulebooks if one.sha256 == sha256), None)
        if found:
            return found
        return read_rulebook(self.folder_of(sha256))

    def folder_of(self, sha256: str) -> Path:
        """Return where a rulebook that was ever in force is kept; raises as `rulebook`."""
        for folder in (
            sorted((self.archive / sha256).glob("*")) if sha256.isalnum() else ()
        ):
            if digest_of(folder) == sha256:  # before anything in it is parsed
                return folder
        raise PolicyError(
            f"no rulebook {sha256}",
            where="rulebooks",
            do="put it back into the store's rulebooks",
        )


def require_past(day: date, today: date, where: str) -> None:
    """Refuse a day that lies in the future with an `AsOfError`."""
    if day > today:
        raise AsOfError(
            f"{day} lies in the future", where=where, expected=f"a day up to {today}"
        )
