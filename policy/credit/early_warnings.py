"""Early warnings: changes for the worse since the last decision, with evidence.

Each feature's part in the change of the margin is reported beside the warnings.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from obligor.policy.credit.credit_file import CreditFile
from obligor.policy.rulebooks.cells import Value
from obligor.policy.rulebooks.decision_table import Evaluation
from obligor.policy.rulebooks.rulebook import Rulebook

# An order spike: three usual months in one, after so long without an invoice.
DORMANT_DAYS = 90
SPIKE_MONTHS = 3
MOST_DRIVERS = 4


@dataclass(frozen=True)
class Snapshot:
    """A customer at the time of a recorded decision.

    Attributes
    ----------
    as_of : date
        The date of the decision.
    pd_12m, grade, limit : float, int, Decimal
        The decision.
    features : mapping of str to float or None
        Features by name; None if not known.
    contributions : mapping of str to float
        Exact contribution of each feature to `margin`, in log odds.
    margin : float
        Log odds of default by the model.
    model_sha256 : str
        The model that scored it; contributions of two models are not comparable.
    credit_file : CreditFile
        The credit file at that time.
    owed : Decimal, optional
        The open amount less the unapplied money; None if the decision does not show it.
    material_dpd_days : Decimal, optional
        Days for which a material amount had been past due; None if the decision does
        not show it.
    dpd_days : Decimal, optional
        Days past due of the oldest item; None if the decision does not show it beside
        the features, of which it is one then.
    """

    as_of: date
    pd_12m: float
    grade: int
    limit: Decimal
    features: Mapping[str, float | None]
    contributions: Mapping[str, float]
    margin: float
    model_sha256: str
    credit_file: CreditFile
    owed: Decimal | None = None
    material_dpd_days: Decimal | None = None
    dpd_days: Decimal | None = None

    def oldest_dpd_days(self) -> Decimal | None:
        """Return the days past due of the oldest item, however small."""
        if self.dpd_days is not None:
            return self.dpd_days
        return _exact(self.features["dpd_days"])


@dataclass(frozen=True)
class Driver:
    """A feature's part in the change of the margin."""

    feature: str
    was: float | None
    now: float | None
    margin_change: float


def early_warnings(
    now: Snapshot,
    before: Snapshot | None,
    rulebook: Rulebook,
) -> list[Evaluation]:
    """Return the warnings that fire, each with the values it saw.

    Parameters
    ----------
    now : Snapshot
        The last decision about the customer.
    before : Snapshot, optional
        The decision before it; without one no change can be seen.
    rulebook : Rulebook
        The rules in force.

    Returns
    -------
    list of Evaluation
        Rows of the table ``warnings``, in its order.
    """
    inputs = _state(now)
    if before is not None:
        inputs |= _changes(now, before)
    return rulebook.tables["warnings"].all(**inputs)


def drivers(now: Snapshot, before: Snapshot) -> list[Driver]:
    """Return the features that moved the margin most in the direction it went.

    The largest comes first; the list is empty if two models scored the customer.

    Examples
    --------
    >>> def at(dbt: float, part: float) -> Snapshot:
    ...     return Snapshot(
    ...         as_of=date(2025, 1, 1),
    ...         pd_12m=0.02,
    ...         grade=5,
    ...         limit=Decimal(1),
    ...         features={"dbt_days": dbt},
    ...         contributions={"dbt_days": part},
    ...         margin=part,
    ...         model_sha256="m",
    ...         credit_file=CreditFile(),
    ...     )
    >>> drivers(at(15.0, 1.25), at(4.0, 0.25))
    [Driver(feature='dbt_days', was=4.0, now=15.0, margin_change=1.0)]
    """
    if now.model_sha256 != before.model_sha256:
        return []
    sign = 1 if now.margin >= before.margin else -1
    changes = {
        name: part - before.contributions[name]
        for name, part in now.contributions.items()
    }
    with_the_margin = [name for name in changes if sign * changes[name] > 0]
    # Largest first; changes have the sign of the margin here.
    with_the_margin.sort(key=lambda name: -sign * changes[name])
    return [
        Driver(
            name,
            before.features.get(name),
            now.features.get(name),
            changes[name],
        )
        for name in with_the_margin[:MOST_DRIVERS]
    ]


def _state(now: Snapshot) -> dict[str, Value]:
    """The inputs of the table that one decision gives; no change is seen yet."""
    owed = now.owed
    if owed is None:
        owed = _exact(now.features["open_amount"])
    invoiced = _exact(now.features["invoiced_amount_90d"])
    paid = _exact(now.features["paid_amount_90d"]) or Decimal(0)
    utilisation = None
    if owed is not None and now.limit > 0:
        utilisation = owed / now.limit
    return {
        "utilisation": utilisation,
        "dpd_change": None,
        "material_dpd_change": None,
        "grade_change": None,
        "payment_ratio": paid / invoiced if invoiced else None,
        "disputed_share": _exact(now.features["disputed_share"]),
        "broken_promises": _exact(now.features["broken_promises_365d"]),
        "has_new_payment_details": False,
        "is_spike": False,
        "security_days": _days_to_expiry(now),
    }


def _changes(now: Snapshot, before: Snapshot) -> dict[str, Value]:
    """The inputs of the table that compare two decisions."""
    dpd_change = _difference(
        now.oldest_dpd_days(),
        before.oldest_dpd_days(),
    )
    material_dpd_change = _difference(now.material_dpd_days, before.material_dpd_days)
    if material_dpd_change is None:
        material_dpd_change = dpd_change
    changed_on = now.credit_file.payment_details_changed_on
    is_new = changed_on is not None and before.as_of < changed_on <= now.as_of
    return {
        "dpd_change": dpd_change,
        "material_dpd_change": material_dpd_change,
        "grade_change": now.grade - before.grade,
        "has_new_payment_details": is_new,
        "is_spike": _is_spike(now, before),
    }


def _difference(now: Decimal | None, before: Decimal | None) -> Decimal | None:
    if now is None or before is None:
        return None
    return now - before


def _is_spike(now: Snapshot, before: Snapshot) -> bool:
    """Whether a dormant customer suddenly buys several usual months' worth."""
    idle_days = before.features["days_since_last_invoice"]
    if idle_days is None or idle_days <= DORMANT_DAYS:
        return False
    invoiced_month = now.features["invoiced_amount_30d"] or 0.0
    invoiced_year = before.features["invoiced_amount_365d"] or 0.0
    return invoiced_month > SPIKE_MONTHS * invoiced_year / 12


def _days_to_expiry(now: Snapshot) -> int | None:
    """Days until the first security ends that is still valid."""
    days = [
        (security.expires_on - now.as_of).days
        for security in now.credit_file.securities
    ]
    # An expired security no longer counts in the limit, so its end does not matter.
    return min((left for left in days if left >= 0), default=None)


def _exact(value: float | None) -> Decimal | None:
    return None if value is None else Decimal(str(value))
