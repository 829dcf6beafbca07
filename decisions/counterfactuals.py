"""The smallest acts of the customer that would have led to an approval.

Each option is applied to the account, not to its features: items are paid, disputes
are settled, and the account after it is scored and decided from the start, so every
dependent figure changes with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np
from typing_extensions import TypedDict

from obligor.arrays import Floats
from obligor.data.asof import KnownAccount
from obligor.data.open_items import has_open_dispute, open_items
from obligor.decisions.acts import with_disputes_settled, with_payments
from obligor.decisions.ageing import ageing_of
from obligor.decisions.batch import Question
from obligor.decisions.facts import DecidedQuestion, KnownQuestion, promises_of
from obligor.decisions.json_values import Money, money, value_or_none
from obligor.features.catalogue import CATALOGUE, CHANGEABLE, NAMES
from obligor.policy.credit.decide import Decision, decide
from obligor.policy.credit.facts import Facts

# Returns features, shape (questions, features), and PD over 12 months of questions.
ScoreQuestions = Callable[[Sequence[KnownQuestion]], tuple[Floats, Floats]]
MAX_OFFERED = 3
MAX_STEPS = 6  # numbers of items that are tried first
MAX_BETWEEN = 20  # numbers that are tried between two of these
_OPEN_AMOUNT = NAMES.index("open_amount")

Change = TypedDict(
    "Change",
    {"feature": str, "from": float | None, "to": float | None, "unit": str},
)
Change.__doc__ = "A field that an act would change."


class Counterfactual(TypedDict):
    """An act of the customer that would have led to an approval."""

    act: str
    text: str
    text_zh: str
    changes: list[Change]
    outcome: Literal["approve"]
    pd_12m: float
    grade: int
    limit: Money


@dataclass(frozen=True)
class OfferedQuestion:
    """A decided question with the acts that would have led to an approval."""

    decided: DecidedQuestion
    counterfactuals: Sequence[Counterfactual]

    @property
    def question(self) -> Question:
        """The question as it was asked."""
        return self.decided.question


class _Kind(NamedTuple):
    """Which question an act belongs to, and what is done in it."""

    question_index: int
    is_settling: bool
    is_paying: bool


@dataclass(frozen=True)
class _Act:
    """Some of the oldest items paid, disputes settled or not; the account after it."""

    question_index: int
    n_paid: int
    is_settling: bool
    account: KnownAccount

    @property
    def kind(self) -> _Kind:
        """The kind of the act."""
        return _Kind(self.question_index, self.is_settling, self.n_paid > 0)


@dataclass(frozen=True)
class _Approval:
    """An act that leads to an approval, with its features, PD and decision."""

    act: _Act
    values: Floats
    pd_12m: float
    decision: Decision


class _Texts(NamedTuple):
    """A text in English and in Chinese."""

    english: str
    chinese: str


def counterfactuals(
    refused: Sequence[DecidedQuestion], score: ScoreQuestions
) -> list[list[Counterfactual]]:
    """Return up to three smallest acts for each question that lead to an approval.

    Parameters
    ----------
    refused : sequence of DecidedQuestion
        Declined and referred questions.
    score : callable
        Scores questions with the model that decided.

    Returns
    -------
    list of list of Counterfactual
        As long as `refused`; an empty list if no act leads to an approval.
    """
    trials = [_Trial(index, question) for index, question in enumerate(refused)]
    # 1. Everything at once: if that does not lead to an approval, nothing less will.
    everything = [trial.act(len(trial.due), is_settling=True) for trial in trials]
    hopeful = [
        trials[approval.act.question_index]
        for approval in _approvals(everything, refused, score)
    ]
    # 2. Paying and settling, alone and together, in a few steps.
    steps = [act for trial in hopeful for act in trial.steps()]
    smallest = _smallest(_approvals(steps, refused, score))
    # 3. Between the last step that failed and the first that passed, exactly.
    between = list[_Act]()
    for kind, approval in smallest.items():
        trial = trials[kind.question_index]
        between.extend(trial.between(approval.act.n_paid, kind.is_settling))
    smallest |= _smallest(_approvals(between, refused, score))
    offered = [_smaller_request(question) for question in refused]
    for kind, approval in smallest.items():
        if not _has_smaller_part(kind, smallest):
            option = _act_counterfactual(approval, refused[kind.question_index])
            offered[kind.question_index].append(option)
    return [options[:MAX_OFFERED] for options in offered]


class _Trial:
    """Tries acts on the account of one question; the oldest items are paid first."""

    def __init__(self, index: int, question: DecidedQuestion) -> None:
        self.index = index
        self.account = question.known_question.account
        self.due = open_items(self.account.account)

    def act(self, n_paid: int, is_settling: bool) -> _Act:
        """Return an act with the account after it."""
        account = self.account
        if n_paid:
            account = with_payments(account, self.due[:n_paid])
        if is_settling:
            account = with_disputes_settled(account)
        return _Act(self.index, n_paid, is_settling, account)

    def steps(self) -> list[_Act]:
        """Return paying a few numbers of items, settling, and both."""
        numbers = _step_numbers(len(self.due))
        acts = [self.act(n_paid, is_settling=False) for n_paid in numbers]
        if has_open_dispute(self.account.account):
            acts += [self.act(n_paid, is_settling=True) for n_paid in (0, *numbers)]
        return acts

    def between(self, n_passed: int, is_settling: bool) -> list[_Act]:
        """Return the acts that pay less than a step that passed."""
        numbers = _numbers_between(n_passed, len(self.due))
        return [self.act(n_paid, is_settling) for n_paid in numbers]


def _has_smaller_part(kind: _Kind, smallest: Iterable[_Kind]) -> bool:
    """Return whether one half of paying and settling is enough by itself."""
    if not (kind.is_settling and kind.is_paying):
        return False
    halves = {kind._replace(is_paying=False), kind._replace(is_settling=False)}
    return not halves.isdisjoint(smallest)


def _smaller_request(question: DecidedQuestion) -> list[Counterfactual]:
    """Return the request that fits the limit, if only its size is in the way."""
    request = question.facts.request
    if request is None:
        return []
    room = question.decision.limit.amount - question.decision.position.used
    if not 0 < room < request.amount:
        return []
    facts = replace(question.facts, request=replace(request, amount=room))
    decision = decide(facts, question.rulebook)
    if decision.outcome != "approve":
        return []
    currency = question.facts.currency
    change: Change = {
        "feature": "request.amount",
        "from": float(request.amount),
        "to": float(room),
        "unit": currency,
    }
    texts = _Texts(
        english=f"Ask for {room} {currency} or less",
        chinese=f"申请金额不超过 {room} {currency}",
    )
    return [_counterfactual("ask_less", texts, [change], facts.pd_12m, decision)]


def _step_numbers(n_items: int) -> list[int]:
    """Return a few numbers of items from 1 to all of them.

    Examples
    --------
    >>> _step_numbers(20), _step_numbers(2), _step_numbers(0)
    ([1, 5, 9, 12, 16, 20], [1, 2], [])
    """
    if not n_items:
        return []
    return sorted({round(n) for n in np.linspace(1, n_items, MAX_STEPS)})


def _numbers_between(n_passed: int, n_items: int) -> range:
    """Return the numbers after the last step that failed, up to the one that passed.

    Examples
    --------
    >>> _numbers_between(9, 20)
    range(6, 9)
    """
    failed = [n for n in _step_numbers(n_items) if n < n_passed]
    first = max(failed, default=0) + 1
    return range(first, n_passed)[:MAX_BETWEEN]


def _approvals(
    acts: Sequence[_Act], refused: Sequence[DecidedQuestion], score: ScoreQuestions
) -> list[_Approval]:
    """Score and decide each act; return those that lead to an approval."""
    if not acts:
        return []
    questions = []
    for act in acts:
        known_question = refused[act.question_index].known_question
        questions.append(replace(known_question, account=act.account))
    rows, pds = score(questions)
    approvals = list[_Approval]()
    for act, row, pd_12m in zip(acts, rows, pds.tolist(), strict=True):
        question = refused[act.question_index]
        facts = replace(
            question.facts,
            pd_12m=pd_12m,
            features=dict(zip(NAMES, row.tolist(), strict=True)),
            promises=promises_of(act.account),
            ageing=ageing_of(act.account),
        )
        decision = decide(facts, question.rulebook)
        if decision.outcome == "approve":
            approvals.append(_Approval(act, row, pd_12m, decision))
    return approvals


def _smallest(approvals: Iterable[_Approval]) -> dict[_Kind, _Approval]:
    """Return the approval with the fewest items paid for each kind of act."""
    smallest = dict[_Kind, _Approval]()
    for approval in sorted(approvals, key=lambda approval: approval.act.n_paid):
        smallest.setdefault(approval.act.kind, approval)
    return smallest


def _act_counterfactual(
    approval: _Approval, question: DecidedQuestion
) -> Counterfactual:
    act = approval.act
    currency = question.facts.currency
    before = question.facts.features
    parts = dict[str, _Texts]()
    if act.is_settling:
        parts["settle"] = _Texts("settle the open disputes", "解决未决争议")
    if act.n_paid:
        paid = before["open_amount"] - float(approval.values[_OPEN_AMOUNT])
        items = "open item" if act.n_paid == 1 else f"{act.n_paid} oldest open items"
        parts["pay"] = _Texts(
            english=f"pay the {items}, {paid:,.2f} {currency}",
            chinese=f"付清最早的 {act.n_paid} 张未清发票，{paid:,.2f} {currency}",
        )
    english = " and ".join(texts.english for texts in parts.values())
    texts = _Texts(
        english=english[0].upper() + english[1:],
        chinese="，并".join(texts.chinese for texts in parts.values()),
    )
    changes = _changes(question.facts, approval.values)
    code = "_and_".join(parts)
    return _counterfactual(code, texts, changes, approval.pd_12m, approval.decision)


def _changes(facts: Facts, values: Floats) -> list[Change]:
    """Return the changeable features that an act changes."""
    changes = list[Change]()
    for feature, value in zip(CATALOGUE, values.tolist(), strict=True):
        if feature.name not in CHANGEABLE:
            continue
        before = value_or_none(facts.features[feature.name])
        after = value_or_none(value)
        if before != after:
            unit = facts.currency if feature.unit == "money" else feature.unit
            change: Change = {
                "feature": feature.name,
                "from": before,
                "to": after,
                "unit": unit,
            }
            changes.append(change)
    return changes


def _counterfactual(
    code: str,
    texts: _Texts,
    changes: list[Change],
    pd_12m: float,
    decision: Decision,
) -> Counterfactual:
    return {
        "act": code,
        "text": texts.english,
        "text_zh": texts.chinese,
        "changes": changes,
        "outcome": "approve",
        "pd_12m": pd_12m,
        "grade": decision.grade,
        "limit": money(decision.limit.amount, decision.limit.currency),
    }
