"""Early warnings about a customer, from the last two decisions in the record."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import Annotated, Any

import orjson
from pydantic import Field
from typing_extensions import TypedDict

from obligor.casework.contact_queries import credit_file_of
from obligor.decisions.json_values import DateText, one_of
from obligor.decisions.rulebooks import Rulebooks
from obligor.errors import UnknownDecisionError
from obligor.policy.credit.credit_file import NOTHING_ON_FILE
from obligor.policy.credit.early_warnings import (
    Driver,
    Snapshot,
    drivers,
    early_warnings,
)
from obligor.policy.rulebooks.decision_table import Evaluation
from obligor.record.entry import OpenedEntry
from obligor.record.reader import RecordReader


class EarlyWarning(TypedDict):
    """An early warning that fired, with the values it saw."""

    code: str
    severity: Annotated[str, one_of("watch", "act")]
    text: str
    text_zh: str
    evidence: dict[str, object]


class DriverAnswer(TypedDict):
    """A feature's part in the change of the margin (log-odds)."""

    feature: str
    was: float | None
    now: float | None
    margin_change: float


class Since(TypedDict):
    """The change since the decision before; drivers only if one model gave both."""

    decision_id: str
    as_of: date
    pd_12m: Annotated[list[float], Field(description="Before and now")]
    grade: list[int]
    margin_change: float
    drivers: list[DriverAnswer]
    text: str


class WarningsAnswer(TypedDict):
    """The early warnings about a customer, as of the last recorded decision."""

    customer_id: str
    decision_id: str
    as_of: date
    warnings: list[EarlyWarning]
    review_on: Annotated[
        DateText,
        Field(description="At once if a warning asks to act, else as decided"),
    ]
    since: Since | None


def warnings_about(
    customer_id: str, reader: RecordReader, rulebooks: Rulebooks
) -> WarningsAnswer:
    """Return the early warnings about a customer, and what changed.

    Parameters
    ----------
    customer_id : str
        The customer.
    reader : RecordReader
        The record.
    rulebooks : Rulebooks
        The rules by the day they are in force.

    Returns
    -------
    WarningsAnswer
        Under the rules in force on the last decision's as-of date.

    Raises
    ------
    UnknownDecisionError
        If no decision about the customer is recorded.
    """
    entries = reader.of_customer(customer_id, "decision", limit=2)
    if not entries:
        raise UnknownDecisionError(
            f"no decision about {customer_id!r}",
            where="customer_id",
            do="ask for one first",
        )
    last, *earlier = entries
    now = _snapshot(last)
    before = _snapshot(earlier[0]) if earlier else None
    warnings = _warnings(now, before, rulebooks)
    is_urgent = any(warning["severity"] == "act" for warning in warnings)
    answer = orjson.loads(last.body)
    return {
        "customer_id": customer_id,
        "decision_id": answer["decision_id"],
        "as_of": now.as_of,
        "warnings": warnings,
        "review_on": answer["as_of"] if is_urgent else answer["next_review_on"],
        "since": _since(now, before, earlier[0].entry_id) if before else None,
    }


def warnings_between(
    last: OpenedEntry, before: OpenedEntry | None, rulebooks: Rulebooks
) -> list[EarlyWarning]:
    """Return the early warnings that a decision raises, given the one before it.

    Parameters
    ----------
    last : OpenedEntry
        The decision.
    before : OpenedEntry, optional
        The decision before it about the same customer.
    rulebooks : Rulebooks
        The rules by the day they are in force.

    Returns
    -------
    list of EarlyWarning
        Under the rules in force on the decision's as-of date.

    Raises
    ------
    AsOfError
        If no rules were in force on that date.
    """
    earlier = _snapshot(before) if before is not None else None
    return _warnings(_snapshot(last), earlier, rulebooks)


def _warnings(
    now: Snapshot, before: Snapshot | None, rulebooks: Rulebooks
) -> list[EarlyWarning]:
    fired = early_warnings(now, before, rulebooks.in_force(now.as_of))
    return [_warning(rule) for rule in fired]


def _warning(rule: Evaluation) -> EarlyWarning:
    evidence = dict[str, object]()
    for name, value in rule.inputs.items():
        if value is not None:
            evidence[name] = float(value) if isinstance(value, Decimal) else value
    return {
        "code": rule.fired,
        "severity": str(rule.outputs["severity"]),
        "text": rule.because,
        "text_zh": rule.because_zh,
        "evidence": evidence,
    }


def _since(now: Snapshot, before: Snapshot, decision_id: str) -> Since:
    moved = drivers(now, before)
    return {
        "decision_id": decision_id,
        "as_of": before.as_of,
        "pd_12m": [before.pd_12m, now.pd_12m],
        "grade": [before.grade, now.grade],
        "margin_change": now.margin - before.margin,
        "drivers": [
            {
                "feature": driver.feature,
                "was": driver.was,
                "now": driver.now,
                "margin_change": driver.margin_change,
            }
            for driver in moved
        ],
        "text": _since_text(now, before, moved),
    }


def _since_text(now: Snapshot, before: Snapshot, moved: Sequence[Driver]) -> str:
    text = f"PD {before.pd_12m:.1%} -> {now.pd_12m:.1%}"
    if now.model_sha256 != before.model_sha256:
        return f"{text}: another model gave it, so features cannot be compared"
    if not moved:
        return text
    first = moved[0]
    change = now.margin - before.margin
    return (
        f"{text}: {first.feature} {_number(first.was)} -> {_number(first.now)}"
        f" explains {first.margin_change:+.2f} of the {change:+.2f} in margin"
    )


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:,.4g}"


def _snapshot(entry: OpenedEntry) -> Snapshot:
    answer: dict[str, Any] = orjson.loads(entry.body)
    position: dict[str, Any] = answer.get("position", {})
    return Snapshot(
        as_of=date.fromisoformat(answer["as_of"]),
        pd_12m=answer["pd_12m"],
        grade=answer["grade"],
        limit=Decimal(answer["limit"]["amount"]),
        features=answer["features"],
        contributions=answer["explanation"]["contributions"],
        margin=answer["explanation"]["margin"],
        model_sha256=answer["model"]["sha256"],
        credit_file=credit_file_of(entry.request) or NOTHING_ON_FILE,
        owed=_exact(position.get("owed")),
        material_dpd_days=_exact(position.get("material_dpd_days")),
        dpd_days=_exact(position.get("dpd_days")),
    )


def _exact(value: str | int | None) -> Decimal | None:
    return None if value is None else Decimal(value)
