"""What would have made it an approval: the smallest acts of the customer, each scored and decided again.

An act is done to the account, not to its features: the items are paid, the disputes settled, and gate,
kernel, model and rules see the account that follows. So no figure is moved that would not move.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

from obligor.arrays import Floats
from obligor.data.asof import KnownAccount
from obligor.data.open_items import has_open_dispute, open_items
from obligor.decisions.acts import with_disputes_settled, with_payments
from obligor.decisions.facts import promises_of
from obligor.features.catalogue import CATALOGUE, CHANGEABLE, NAMES
from obligor.policy.credit.decide import Decision, decide
from obligor.policy.credit.facts import Facts
from obligor.policy.rulebooks.rulebook import Rulebook

# Features and PD over 12 months of some accounts.
Score = Callable[[Sequence[KnownAccount]], tuple[Floats, Floats]]
MOST = 3
MOST_STEPS = 6  # numbers of items tried at once
MOST_CLOSER = 20  # numbers tried between two of these


@dataclass(frozen=True)
class Refused:
    """A question that did not end in an approval, with what was decided."""

    known: KnownAccount
    facts: Facts
    decision: Decision
    rulebook: Rulebook


@dataclass(frozen=True)
class _Act:
    """An act that is tried: so many items paid (the oldest first), disputes settled or not."""

    of: int
    n_paid: int
    is_settled: bool
    account: KnownAccount


def counterfactuals(
    refused: Sequence[Refused], score: Score
) -> list[list[dict[str, Any]]]:
    """Return up to three smallest acts for each question that flip it to an approval; none rather than a guess.

    Parameters
    ----------
    refused : sequence of Refused
        Declined and referred questions.
    score : callable
        What scores accounts with the model that decided.
    """
    found = [_smaller_request(one) for one in refused]
    # 1. All that can be done at once: where that is not enough, nothing less is tried.
    due = [open_items(one.known.account) for one in refused]
    all_done = [
        _act(of, one.known, due[of], len(due[of]), True)
        for of, one in enumerate(refused)
    ]
    hopeful = {act.of for act, _ in _approved(all_done, refused, score)}
    # 2. Each act alone, in steps; then, between the last step that failed and the first that did not, exactly.
    single = [
        act for of in sorted(hopeful) for act in _steps(of, refused[of].known, due[of])
    ]
    passed = _smallest(_approved(single, refused, score))
    closer = [
        _act(of, refused[of].known, due[of], n, is_settled)
        for (of, is_settled, _), (act, _) in passed.items()
        for n in _between(act.n_paid, len(due[of]))
    ]
    passed |= _smallest(_approved(closer, refused, score))
    for (of, is_settled, is_paying), (act, answer) in passed.items():
        is_both = is_settled and is_paying
        if is_both and {(of, True, False), (of, False, True)} & passed.keys():
            continue  # one of the two is enough
        found[of].append(_said(act, refused[of], *answer))
    return [acts[:MOST] for acts in found]


def _smaller_request(one: Refused) -> list[dict[str, Any]]:
    """The request that would fit the limit, where only its size is in the way."""
    request, open_amount = (
        one.facts.request,
        one.decision.position.open_amount or Decimal(0),
    )
    room = one.decision.limit.amount - open_amount
    if request is None or not 0 < room < request.amount:
        return []
    facts = replace(one.facts, request=replace(request, amount=room))
    decision = decide(facts, one.rulebook)
    if decision.outcome != "approve":
        return []
    currency = one.facts.currency
    change = {
        "feature": "request.amount",
        "from": float(request.amount),
        "to": float(room),
        "unit": currency,
    }
    said = f"Ask for {room} {currency} or less", f"申请金额不超过 {room} {currency}"
    return [_answer("ask_less", said, [change], facts.pd_12m, decision)]


def _act(
    of: int, known: KnownAccount, due: NDArray[np.int64], n_paid: int, is_settled: bool
) -> _Act:
    account = with_payments(known, due[:n_paid]) if n_paid else known
    return _Act(
        of,
        n_paid,
        is_settled,
        with_disputes_settled(account) if is_settled else account,
    )


def _steps(of: int, known: KnownAccount, due: NDArray[np.int64]) -> list[_Act]:
    """Paying 1, ..., all items in a few steps; settling; and both."""
    numbers = _numbers(len(due))
    acts = [_act(of, known, due, n, False) for n in numbers]
    if has_open_dispute(known.account):
        acts += [_act(of, known, due, n, True) for n in (0, *numbers)]
    return acts


def _numbers(n_items: int) -> list[int]:
    return (
        sorted({round(n) for n in np.linspace(1, n_items, MOST_STEPS)})
        if n_items
        else []
    )


def _between(n_passed: int, n_items: int) -> range:
    """The numbers between the step before the one that passed and that one, the first of them."""
    return range(
        max((n for n in _numbers(n_items) if n < n_passed), default=0) + 1, n_passed
    )[:MOST_CLOSER]


def _approved(
    acts: Sequence[_Act], refused: Sequence[Refused], score: Score
) -> list[tuple[_Act, tuple[Floats, float, Decision]]]:
    """Score and decide each act; only those that end in an approval."""
    if not acts:
        return []
    rows, pd_12m = score([act.account for act in acts])
    found = []
    for act, row, pd_ in zip(acts, rows, pd_12m.tolist(), strict=True):
        one = refused[act.of]
        features = dict(zip(NAMES, row.tolist(), strict=True))
        facts = replace(
            one.facts, pd_12m=pd_, features=features, promises=promises_of(act.account)
        )
        decision = decide(facts, one.rulebook)
        if decision.outcome == "approve":
            found.append((act, (row, pd_, decision)))
    return found


def _smallest(
    approved: Sequence[tuple[_Act, tuple[Floats, float, Decision]]],
) -> dict[tuple[int, bool, bool], tuple[_Act, tuple[Floats, float, Decision]]]:
    """The fewest items paid per question and kind of act (settling or not, paying or not)."""
    found: dict[
        tuple[int, bool, bool], tuple[_Act, tuple[Floats, float, Decision]]
    ] = {}
    for act, answer in sorted(approved, key=lambda pair: pair[0].n_paid):
        found.setdefault((act.of, act.is_settled, act.n_paid > 0), (act, answer))
    return found


def _said(
    act: _Act, one: Refused, row: Floats, pd_12m: float, decision: Decision
) -> dict[str, Any]:
    before, currency = one.facts.features, one.facts.currency
    changes = [
        {
            "feature": feature.name,
            "from": _known(before[feature.name]),
            "to": _known(float(value)),
            "unit": currency if feature.unit == "money" else feature.unit,
        }
        for feature, value in zip(CATALOGUE, row, strict=True)
        if feature.name in CHANGEABLE
        and _known(before[feature.name]) != _known(float(value))
    ]
    paid = before["open_amount"] - float(row[NAMES.index("open_amount")])
    items = "open item" if act.n_paid == 1 else f"{act.n_paid} oldest open items"
    pay = (
        f"pay the {items}, {paid:,.2f} {currency}",
        f"付清最早的 {act.n_paid} 张未清发票，{paid:,.2f} {currency}",
    )
    settle = "settle the open disputes", "解决未决争议"
    acts = [settle] * act.is_settled + [pay] * (act.n_paid > 0)
    said = " and ".join(text for text, _ in acts), "，并".join(text for _, text in acts)
    code = "_and_".join(["settle"] * act.is_settled + ["pay"] * (act.n_paid > 0))
    return _answer(
        code, (said[0][0].upper() + said[0][1:], said[1]), changes, pd_12m, decision
    )


def _known(value: float) -> float | None:
    return None if value != value else value


def _answer(
    code: str,
    said: tuple[str, str],
    changes: list[dict[str, Any]],
    pd_12m: float,
    decision: Decision,
) -> dict[str, Any]:
    return {
        "act": code,
        "text": said[0],
        "text_zh": said[1],
        "changes": changes,
        "outcome": decision.outcome,
        "pd_12m": pd_12m,
        "grade": decision.grade,
        "limit": {
            "amount": str(decision.limit.amount),
            "currency": decision.limit.currency,
        },
    }
