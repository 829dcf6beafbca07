"""One decision, step by step: from a question to its recorded answer.

`Decider.answer_all` is the spine. Each step takes a batch and returns a batch; a
question that fails becomes a `Failed`, which the later steps pass on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, tzinfo

from obligor.data.account import Account
from obligor.data.asof import known_account, known_rows
from obligor.data.bureau import BureauReport
from obligor.data.store import LedgerStore
from obligor.data.time_zone import day_at
from obligor.decisions.answer import Stamp, decision_entry
from obligor.decisions.as_of import as_of_day
from obligor.decisions.batch import (
    Batch,
    Failed,
    Question,
    for_each,
    not_failed,
    or_raise,
)
from obligor.decisions.champion import Champion, ChampionLoader
from obligor.decisions.counterfactuals import OfferedQuestion
from obligor.decisions.facts import DecidedQuestion, KnownQuestion, ScoredQuestion
from obligor.decisions.group_exposure import group_exposures
from obligor.decisions.inline_ledger import account_of, reports_of
from obligor.decisions.recorded import MAX_ATTEMPTS, AnswerRecord, RecordedAnswer
from obligor.decisions.rulebooks import Rulebooks
from obligor.decisions.scoring import features, scored, with_counterfactuals
from obligor.errors import ConflictError, ObligorError
from obligor.model.pd_model import PdModel
from obligor.policy.credit.decide import decide
from obligor.policy.rulebooks.rulebook import Rulebook
from obligor.record.entry import Entry


@dataclass(frozen=True)
class Decider:
    """Decides questions about customers; no answer leaves before it is recorded.

    Attributes
    ----------
    ledger : LedgerStore
        The loaded ledger.
    champions : ChampionLoader
        Loads the model that serves.
    rulebooks : Rulebooks
        The rules by the day they are in force.
    answers : AnswerRecord
        Where answers are recorded.
    now : callable
        Returns the time, with its zone.
    new_id : callable
        Returns a fresh decision id.
    zone : tzinfo
        The time zone of the house.
    """

    ledger: LedgerStore
    champions: ChampionLoader
    rulebooks: Rulebooks
    answers: AnswerRecord
    now: Callable[[], datetime]
    new_id: Callable[[], str]
    zone: tzinfo = UTC

    def answer(self, question: Question) -> RecordedAnswer:
        """Return the recorded answer to one question, or raise why it failed."""
        return or_raise(self.answer_all([question])[0])

    def answer_all(self, questions: Sequence[Question]) -> Batch[RecordedAnswer]:
        """Answer many questions by one prediction and one commit.

        Raises
        ------
        ModelError, RecordError
            If no question at all can be answered.
        """
        for _ in range(MAX_ATTEMPTS):
            # 1. A repeated key gets the recorded answer; that needs no model.
            before = answered_before(questions, self.answers)
            new = [
                question
                for question, answer in zip(questions, before, strict=True)
                if answer is None
            ]
            entries = self.new_entries(new)
            # 8. Durable before any answer leaves.
            try:
                answers = iter(recorded(entries, self.answers))
            except ConflictError as error:
                # Another writer has recorded an answer to one of the keys meanwhile.
                conflict = error
                continue
            return [next(answers) if answer is None else answer for answer in before]
        raise conflict

    def new_entries(self, questions: Sequence[Question]) -> Batch[Entry]:
        """Answer new questions; return the entries, not yet recorded."""
        if not questions:
            return []
        champion = self.champions.for_customers()
        # 2. What was known of the customer on the as-of date.
        known_batch = known(questions, self.ledger, self.today())
        # 3. Features, by one pass of the kernel per day.
        with_features = features(known_batch, champion.model)
        # 4. PD and exact contributions, by one prediction.
        scored_batch = scored(with_features, champion.model)
        # 5. Rating, hard stops, terms, limit, price, authority.
        decided_batch = decided(scored_batch, self.rulebooks)
        # 6. What would have led to an approval.
        offered_batch = with_counterfactuals(decided_batch, champion.model)
        # 7. Reasons, and the text of the answer.
        return answered(offered_batch, champion, self.stamp)

    def decide_unrecorded(
        self, question: Question, currencies: Sequence[str] = ()
    ) -> DecidedQuestion:
        """Decide on one customer without recording it, as for an order or a contact.

        Parameters
        ----------
        question : Question
            The question about the customer.
        currencies : sequence of str, optional
            Currencies whose rates are needed beside those of the account.

        Returns
        -------
        DecidedQuestion
            With the rules in force on the as-of date.

        Raises
        ------
        ObligorError
            If the question cannot be decided.
        """
        champion = self.champions.for_customers()
        customer = known_customer(question, self.ledger, self.today(), None, currencies)
        scored_batch = scored(features([customer], champion.model), champion.model)
        return or_raise(decided(scored_batch, self.rulebooks)[0])

    def today(self) -> date:
        """Return the day that it is for the house."""
        return day_at(self.now(), self.zone)

    def stamp(self) -> Stamp:
        """Return the id and the time of a new entry."""
        return Stamp(self.new_id(), self.now())


def answered_before(
    questions: Sequence[Question], answers: AnswerRecord
) -> list[RecordedAnswer | Failed | None]:
    """Return the recorded answer of each question; None for a new question."""
    results: list[RecordedAnswer | Failed | None] = []
    for question in questions:
        try:
            results.append(answers.answer_for_key(question.request, question.key))
        except ConflictError as error:
            results.append(Failed(question, error))
    return results


def known(
    questions: Sequence[Question], ledger: LedgerStore, today: date
) -> Batch[KnownQuestion]:
    """Return what was known of each customer on the as-of date.

    Parameters
    ----------
    questions : sequence of Question
        Questions with their own ledger, or about customers of the loaded one.
    ledger : LedgerStore
        The loaded ledger; all customers of a batch are read at once.
    today : date
        The current day: the latest as-of date.

    Returns
    -------
    list of KnownQuestion or Failed
        One for each question.
    """
    customer_ids = [
        question.request.customer_id
        for question in questions
        if question.request.ledger is None
    ]
    accounts = ledger.accounts(customer_ids) if len(customer_ids) > 1 else None
    results: Batch[KnownQuestion] = []
    for question in questions:
        try:
            results.append(known_customer(question, ledger, today, accounts))
        except ObligorError as error:
            results.append(Failed(question, error))
    return results


def known_customer(
    question: Question,
    ledger: LedgerStore,
    today: date,
    accounts: Mapping[str, Account] | None = None,
    currencies: Sequence[str] = (),
) -> KnownQuestion:
    """Return what was known of one customer on the as-of date.

    Parameters
    ----------
    question : Question
        The question about the customer.
    ledger : LedgerStore
        The loaded ledger.
    today : date
        The current day: the latest as-of date.
    accounts : mapping of str to Account, optional
        Accounts that were read before; a customer not among them is unknown.
    currencies : sequence of str, optional
        Currencies whose rates are needed beside those of the account.

    Returns
    -------
    KnownQuestion
        As of the requested date, by default the day of the ledger's export,
        or today.

    Raises
    ------
    UnknownCustomerError
        If the ledger has no such customer.
    AsOfError
        If the as-of date lies in the future, or before the first invoice.
    SchemaError
        If a row sent with the request is invalid.
    """
    request = question.request
    if request.ledger is not None:
        account = account_of(request.customer_id, request.ledger, today)
        reports = reports_of(request.ledger, today)
    else:
        reports = ledger.reports(request.customer_id)
        needed = [*currencies, *_currencies(question, reports)]
        account = _stored_account(request.customer_id, ledger, accounts, needed)
    exported_on = None
    if request.as_of is None and request.ledger is None:
        exported_on = ledger.exported_on()
    as_of = as_of_day(request.as_of, exported_on, today).day
    gated = known_account(account, as_of)
    # As it was known that day: the ledger may reach further now.
    observed_until = gated.account.observed_until
    return KnownQuestion(
        question=question,
        account=gated,
        source="request" if observed_until is None else "store",
        observed_until=observed_until,
        reports=tuple(known_rows(reports, as_of)),
        exposures=group_exposures(request, ledger, as_of),
    )


def _currencies(question: Question, reports: Sequence[BureauReport]) -> Iterator[str]:
    """Yield the currencies of the request and of recommended limits."""
    if question.request.request is not None:
        yield question.request.request.currency
    for report in reports:
        if report.currency:
            yield report.currency


def _stored_account(
    customer_id: str,
    ledger: LedgerStore,
    accounts: Mapping[str, Account] | None,
    currencies: Sequence[str],
) -> Account:
    if accounts is None:
        return ledger.account(customer_id, currencies)
    if customer_id not in accounts:
        raise ledger.unknown(customer_id)
    account = accounts[customer_id]
    if set(currencies) - {account.currency, *account.rates}:
        return ledger.account(customer_id, currencies)
    return account


def decided(
    batch: Batch[ScoredQuestion], rulebooks: Rulebooks
) -> Batch[DecidedQuestion]:
    """Decide each question under the rules in force on its as-of date."""

    def decide_in_force(item: ScoredQuestion) -> DecidedQuestion:
        return _decided(item, rulebooks.in_force(item.known_question.account.as_of))

    return for_each(batch, decide_in_force)


def _decided(item: ScoredQuestion, rulebook: Rulebook) -> DecidedQuestion:
    facts = item.facts()
    decision = decide(facts, rulebook)
    return DecidedQuestion(item.known_question, item.scored, facts, decision, rulebook)


def decide_with(
    known_question: KnownQuestion, model: PdModel, rulebook: Rulebook
) -> DecidedQuestion:
    """Decide as on an earlier day, with the model and the rules of that day.

    Parameters
    ----------
    known_question : KnownQuestion
        What was known when the decision was made.
    model : PdModel
        The model that scored.
    rulebook : Rulebook
        The rulebook that decided.

    Returns
    -------
    DecidedQuestion
        The same decision as then.

    Raises
    ------
    ObligorError
        If the question cannot be decided.
    """
    with_features = features([known_question], model)
    return _decided(or_raise(scored(with_features, model)[0]), rulebook)


def answered(
    batch: Batch[OfferedQuestion], champion: Champion, stamp: Callable[[], Stamp]
) -> Batch[Entry]:
    """Return the entry of each decided question, with its reasons and its answer.

    Parameters
    ----------
    batch : list of OfferedQuestion or Failed
        Decided questions.
    champion : Champion
        The model that scored them.
    stamp : callable
        Returns the id and the time of a new entry.

    Returns
    -------
    list of Entry or Failed
        One for each question.
    """
    return for_each(batch, lambda item: decision_entry(item, champion, stamp()))


def recorded(batch: Batch[Entry], answers: AnswerRecord) -> Batch[RecordedAnswer]:
    """Record the entries in one commit and return their answers."""
    by_entry = iter(answers.record_all(not_failed(batch)))
    return [item if isinstance(item, Failed) else next(by_entry) for item in batch]
