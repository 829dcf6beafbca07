"""Early warnings: what got worse since the last decision, with the evidence and the part each feature had in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from obligor.policy.credit.credit_file import CreditFile
from obligor.policy.rulebooks.cells import Value
from obligor.policy.rulebooks.decision_table import Evaluation
from obligor.policy.rulebooks.rulebook import Rulebook

DORMANT_DAYS, SPIKE = (
    90,
    3,
)  # an order spike: three usual months in one, after so long without any
MOST_DRIVERS = 4


@dataclass(frozen=True)
class Snapshot:
    """What a recorded decision says about a customer."""

    as_of: date
    pd_12m: float
    grade: int
    limit: Decimal
    features: Mapping[str, float | None]
    contributions: Mapping[str, float]
    margin: float
    model_sha256: str
    file: CreditFile


@dataclass(frozen=True)
class Driver:
    """A feature's part in the change of the margin."""

    feature: str
    was: float | None
    now: float | None
    margin_change: float


def early_warnings(
    now: Snapshot, before: Snapshot | None, rulebook: Rulebook
) -> list[Evaluation]:
    """Return the warnings that fire, each with the values it saw.

    Parameters
    ----------
    before : Snapshot, optional
        The decision before; without one nothing can have changed.
    """
    return rulebook.tables["warnings"].all(**_inputs(now, before))


def drivers(now: Snapshot, before: Snapshot) -> list[Driver]:
    """Return the features that moved the margin most the way it went, largest first; none across two models.

    Examples
    --------
    >>> def at(dbt: float, part: float) -> Snapshot:
    ...     day, file = date(2025, 1, 1), CreditFile()
    ...     return Snapshot(day, 0.02, 5, Decimal(1), {"dbt_days": dbt}, {"dbt_days": part}, part, "m", file)
    >>> drivers(at(15.0, 1.25), at(4.0, 0.25))
    [Driver(feature='dbt_days', was=4.0, now=15.0, margin_change=1.0)]
    """
    if now.model_sha256 != before.model_sha256:
        return []
    sign = 1 if now.margin >= before.margin else -1
    parts = {
        name: part - before.contributions[name]
        for name, part in now.contributions.items()
    }
    moved = sorted(
        (name for name in parts if sign * parts[name] > 0),
        key=lambda name: -sign * parts[name],
    )
    return [
        Driver(name, before.features.get(name), now.features.get(name), parts[name])
        for name in moved[:MOST_DRIVERS]
    ]


def _inputs(now: Snapshot, before: Snapshot | None) -> dict[str, Value]:
    number = {
        name: None if value is None else Decimal(str(value))
        for name, value in now.features.items()
    }
    open_amount, invoiced = number["open_amount"], number["invoiced_amount_90d"]
    paid = number["paid_amount_90d"] or Decimal(0)
    days = [(security.expires_on - now.as_of).days for security in now.file.securities]
    inputs: dict[str, Value] = {
        "utilisation": open_amount / now.limit
        if open_amount is not None and now.limit > 0
        else None,
        "dpd_change": None,
        "grade_change": None,
        "payment_ratio": paid / invoiced if invoiced else None,
        "disputed_share": number["disputed_share"],
        "broken_promises": number["broken_promises_365d"],
        "has_new_payment_details": False,
        "is_spike": False,
        "security_days": min((left for left in days if left >= 0), default=None),
    }
    if before is None:
        return inputs
    was, dpd = before.features["dpd_days"], number["dpd_days"]
    changed_on, idle = (
        now.file.payment_details_changed_on,
        before.features["days_since_last_invoice"],
    )
    month, year = (
        now.features["invoiced_amount_30d"] or 0.0,
        before.features["invoiced_amount_365d"] or 0.0,
    )
    return inputs | {
        "dpd_change": dpd - Decimal(str(was))
        if dpd is not None and was is not None
        else None,
        "grade_change": now.grade - before.grade,
        "has_new_payment_details": changed_on is not None
        and before.as_of < changed_on <= now.as_of,
        "is_spike": idle is not None
        and idle > DORMANT_DAYS
        and month > SPIKE * year / 12,
    }
