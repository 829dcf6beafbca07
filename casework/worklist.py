"""Collecting: the worklist of a day for so many collectors, and the contacts they record."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import orjson

from obligor.casework.debts import debts_on
from obligor.casework.questions import WorklistQuery
from obligor.data.money import round_money
from obligor.decisions.engine import Engine
from obligor.policy.collecting.debt import Debt
from obligor.policy.collecting.priority import is_quiet
from obligor.policy.collecting.worklist import Pause, Task, task_of, worklist
from obligor.policy.rulebooks.rulebook import in_force


def worklist_answer(asked: WorklistQuery, engine: Engine) -> bytes:
    """Return the worklist of a day as JSON: the best value within capacity, each line with its reason.

    Raises
    ------
    AsOfError, SchemaError
        Where the day lies in the future, or no ledger is loaded.
    """
    as_of = engine.day(asked.as_of)
    rulebook = in_force(engine.rulebooks, as_of)
    answer: dict[str, Any] = {
        "as_of": as_of,
        "collectors": asked.collectors,
        "minutes": asked.minutes,
        "policy": {"version": rulebook.version, "sha256": rulebook.sha256},
    }
    found = [task_of(debt, as_of, rulebook) for debt in debts_on(engine, as_of)]
    tasks, resting = (
        [one for one in found if isinstance(one, Task)],
        [one for one in found if isinstance(one, Pause)],
    )
    quiet = is_quiet(as_of, rulebook)
    planned = worklist([] if quiet else tasks, asked.collectors, asked.minutes)
    left_out = tasks if quiet else planned.left_out
    answer |= {
        "is_quiet": quiet,
        "value": _total([task for _, task in planned.lines]),
        "lines": [
            _line(rank, *line) for rank, line in enumerate(planned.lines, start=1)
        ],
        "left_out": {"n": len(left_out), "value": _total(left_out)},
        "resting": dict(sorted(Counter(one.code for one in resting).items())),
    }
    return orjson.dumps(answer, default=str)


def _line(rank: int, collector: int, task: Task) -> dict[str, Any]:
    debt, plan = task.debt, task.plan
    broken = debt.last_broken_on
    hand_over = (
        "insurer" if task.is_urgent else "lawyer" if plan.channel == "lawyer" else None
    )
    return {
        "rank": rank,
        "collector": collector,
        "customer_id": debt.customer_id,
        "customer_class": debt.customer_class,
        "pd_12m": float(debt.pd_12m),
        "amount": _of(debt.workable, debt),
        "overdue": _of(debt.overdue, debt),
        "disputed": _of(debt.disputed, debt),
        "dpd_days": int(debt.dpd_days),
        "stage": plan.stage,
        "channel": plan.channel,
        "minutes": plan.minutes,
        "calls_left_today": plan.calls_per_day - debt.contacts_today,
        "value": _of(round_money(task.value, debt.currency), debt),
        "value_per_minute": _of(task.priority.value_per_minute, debt),
        "late_interest": {**vars(task.late_interest), "currency": debt.currency},
        "hand_over": hand_over,
        "deadline": task.deadline,
        "promise_broken_on": broken,
        "because": task.priority.because
        + (f"; a promise was broken on {broken}" if broken else ""),
        "because_zh": task.priority.because_zh
        + (f"；{broken} 未履行付款承诺" if broken else ""),
    }


def _of(amount: Decimal, debt: Debt) -> dict[str, Any]:
    return {"amount": amount, "currency": debt.currency}


def _total(tasks: Sequence[Task]) -> dict[str, Any] | None:
    """What tasks are worth together; None where there are none to say the currency."""
    if not tasks:
        return None
    currency = tasks[0].debt.currency
    return {
        "amount": round_money(
            sum((task.value for task in tasks), Decimal(0)), currency
        ),
        "currency": currency,
    }
