"""Early warnings about a customer, from the last two decisions in the record."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import Any

import orjson

from obligor.decisions.questions import DecisionRequest
from obligor.errors import UnknownDecisionError
from obligor.policy.credit.credit_file import NOTHING_ON_FILE
from obligor.policy.credit.early_warnings import Snapshot, drivers, early_warnings
from obligor.policy.rulebooks.rulebook import Rulebook, in_force
from obligor.record.reader import RecordReader


def warnings_about(
    customer_id: str, reader: RecordReader, rulebooks: Sequence[Rulebook]
) -> bytes:
    """Return the warnings as JSON, with what changed since the decision before.

    Raises
    ------
    UnknownDecisionError
        Where nothing was decided about the customer yet.
    """
    pairs = [
        (orjson.loads(entry.body), entry.request)
        for entry in reader.of_customer(customer_id, "decision", limit=2)
    ]
    if not pairs:
        raise UnknownDecisionError(
            f"no decision about {customer_id!r}",
            where="customer_id",
            do="ask for one first",
        )
    (answer, asked), *earlier = pairs
    now = _snapshot(answer, asked)
    before = _snapshot(*earlier[0]) if earlier else None
    fired = early_warnings(now, before, in_force(rulebooks, now.as_of))
    warnings = [
        {
            "code": one.fired,
            "severity": one.outputs["severity"],
            "text": one.because,
            "text_zh": one.because_zh,
            "evidence": {
                name: value for name, value in one.inputs.items() if value is not None
            },
        }
        for one in fired
    ]
    found = {
        "customer_id": customer_id,
        "decision_id": answer["decision_id"],
        "as_of": now.as_of,
        "warnings": warnings,
        "review_on": answer["as_of"]
        if any(one.outputs["severity"] == "act" for one in fired)
        else answer["next_review_on"],
        "since": _since(now, before, earlier[0][0]["decision_id"]) if before else None,
    }
    return orjson.dumps(found, default=float)


def _since(now: Snapshot, before: Snapshot, decision_id: str) -> dict[str, Any]:
    moved, change = drivers(now, before), now.margin - before.margin
    said = f"PD {before.pd_12m:.1%} -> {now.pd_12m:.1%}"
    if now.model_sha256 != before.model_sha256:
        said += ": another model gave it, so features cannot be compared"
    elif moved:
        first = moved[0]
        said += f": {first.feature} {_number(first.was)} -> {_number(first.now)} explains {first.margin_change:+.2f}"
        said += f" of the {change:+.2f} in margin"
    return {
        "decision_id": decision_id,
        "as_of": before.as_of,
        "pd_12m": [before.pd_12m, now.pd_12m],
        "grade": [before.grade, now.grade],
        "margin_change": change,
        "drivers": moved,
        "text": said,
    }


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:,.4g}"


def _snapshot(answer: dict[str, Any], asked: str) -> Snapshot:
    file = DecisionRequest.model_validate_json(asked).file
    return Snapshot(
        as_of=date.fromisoformat(answer["as_of"]),
        pd_12m=answer["pd_12m"],
        grade=answer["grade"],
        limit=Decimal(answer["limit"]["amount"]),
        features=answer["features"],
        contributions=answer["explanation"]["contributions"],
        margin=answer["explanation"]["margin"],
        model_sha256=answer["model"]["sha256"],
        credit_file=file.credit_file() if file else NOTHING_ON_FILE,
    )
