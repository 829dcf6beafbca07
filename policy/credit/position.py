"""A customer's position with us: the features the rules look at, as exact numbers."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from functools import lru_cache
from math import isnan
from typing import NamedTuple

from obligor.data.money import round_money
from obligor.policy.collecting.priority import DEFAULT_DPD_DAYS
from obligor.policy.credit.ageing import Ageing, OverdueItem
from obligor.policy.rulebooks.cells import Value
from obligor.policy.rulebooks.rulebook import Materiality

SHORTEST_YEAR = Decimal(90)  # fewest days of purchases that are scaled up to a year
_YEAR = Decimal(365)
_ZERO = Decimal(0)


class BureauSummary(NamedTuple):
    """What bureaus say of a customer.

    Attributes
    ----------
    score : Decimal, optional
        The lowest score, as a share of its scale: 0 is the worst end, 1 the best.
    has_insolvency : bool
        Whether the last word of a source is that the customer is insolvent.
    recommended_limit : Decimal, optional
        The lowest limit that a source recommends, in the reporting currency.
    """

    score: Decimal | None = None
    has_insolvency: bool = False
    recommended_limit: Decimal | None = None


NO_REPORT = BureauSummary()


class Position(NamedTuple):
    """A customer's position in exact numbers; None if not known.

    Attributes
    ----------
    open_amount : Decimal, optional
        The sum of the open items, in the reporting currency.
    overdue_amount : Decimal, optional
        What of it is past due, less the unapplied money; 0 or more.
    dpd_days, material_dpd_days : Decimal, optional
        Days past due of the oldest open item, and those for which a material amount
        has been past due; the same under rules that do not say what is material.
    dbt_days : Decimal, optional
        Days beyond terms of paid items, weighted by amount, of the last year.
    written_off_amount_365d, material_written_off_amount_365d : Decimal, optional
        What was written off in a year; the second is 0 if that is not material.
    disputed_share : Decimal, optional
        Share of the open amount in dispute, 0 to 1.
    relation_days : Decimal, optional
        Days since the first invoice.
    broken_promises : Decimal, optional
        Number of promises to pay broken in the last year.
    annual_sales, sales_90d : Decimal
        Purchases of a year and of the last 90 days; 0 if not known.
    currency : str
        The reporting currency.
    unapplied_amount : Decimal
        Money of the customer that belongs to no item.
    overdue_in_default : Decimal, optional
        What of the overdue amount is more than 90 days past due; None if the rules
        take the age of the oldest item for all of it.
    is_incomplete : bool
        Whether the ledger may lack a part of what the customer owes.
    bureau : BureauSummary
        What bureaus say of the customer.
    """

    open_amount: Decimal | None
    overdue_amount: Decimal | None
    dpd_days: Decimal | None
    material_dpd_days: Decimal | None
    dbt_days: Decimal | None
    written_off_amount_365d: Decimal | None
    material_written_off_amount_365d: Decimal | None
    disputed_share: Decimal | None
    relation_days: Decimal | None
    broken_promises: Decimal | None
    annual_sales: Decimal
    sales_90d: Decimal
    currency: str
    unapplied_amount: Decimal = _ZERO
    overdue_in_default: Decimal | None = None
    is_incomplete: bool = False
    bureau: BureauSummary = NO_REPORT

    @property
    def used(self) -> Decimal:
        """The open amount less the unapplied money, never below 0.

        It is 0 if the open amount is not known, as a hard stop then refers the
        customer.
        """
        return max((self.open_amount or _ZERO) - self.unapplied_amount, _ZERO)

    def standing(self) -> dict[str, Value]:
        """Return the inputs of `contracts.STANDING` by name."""
        return {
            "dpd_days": self.dpd_days,
            "material_dpd_days": self.material_dpd_days,
            "open_amount": self.open_amount,
            "overdue_amount": self.overdue_amount,
            "unapplied_amount": self.unapplied_amount,
            "written_off_amount_365d": self.written_off_amount_365d,
            "material_written_off_amount_365d": self.material_written_off_amount_365d,
            "disputed_share": self.disputed_share,
            "broken_promises": self.broken_promises,
            "is_incomplete": self.is_incomplete,
            "bureau_score": self.bureau.score,
            "bureau_insolvency": self.bureau.has_insolvency,
            "bureau_recommended_limit": self.bureau.recommended_limit,
        }


def position_of(
    features: Mapping[str, float],
    currency: str,
    ageing: Ageing | None = None,
    materiality: Materiality | None = None,
) -> Position:
    """Return the position that features describe, money rounded to minor units.

    Purchases of less than a year are scaled up to a year, from at least 90 days.

    Parameters
    ----------
    features : mapping of str to float
        Features by name; NaN if not known.
    currency : str
        The reporting currency.
    ageing : Ageing, optional
        What is owed by age. Without it all that is past due counts as old as the
        oldest item.
    materiality : Materiality, optional
        From what amount on a debt counts. Without it every amount does, and the age of
        the oldest item is that of all that is past due.

    Returns
    -------
    Position
        Without what the ledger cannot say: completeness and bureaus.
    """
    open_amount = _money(features["open_amount"], currency)
    overdue_amount = _money(features["overdue_amount"], currency)
    dpd_days = _oldest_dpd_days(features["dpd_days"], ageing)
    written_off = decimal_of(features["written_off_amount_365d"])
    unapplied = ageing.unapplied if ageing else _ZERO
    position = Position(
        open_amount=open_amount,
        overdue_amount=_less(overdue_amount, unapplied),
        dpd_days=dpd_days,
        material_dpd_days=dpd_days,
        dbt_days=decimal_of(features["dbt_days_mean_365d"]),
        written_off_amount_365d=written_off,
        material_written_off_amount_365d=written_off,
        disputed_share=decimal_of(features["disputed_share"]),
        relation_days=decimal_of(features["days_since_first_invoice"]),
        broken_promises=decimal_of(features["broken_promises_365d"]),
        annual_sales=_annual_sales(features, currency),
        sales_90d=_money(features["invoiced_amount_90d"], currency) or _ZERO,
        currency=currency,
        unapplied_amount=unapplied,
    )
    if materiality is None:
        return position
    return _by_materiality(position, ageing or _lump(position), materiality)


def _oldest_dpd_days(feature: float, ageing: Ageing | None) -> Decimal | None:
    """The age of the oldest item: a model may count from a material amount on."""
    if ageing is None or isnan(feature):
        return decimal_of(feature)
    # As a feature is written: a recorded 41.0 must not become 41.
    return decimal_of(float(ageing.oldest_dpd_days))


def _less(amount: Decimal | None, unapplied: Decimal) -> Decimal | None:
    """What is left of an amount after the unapplied money; None if not known."""
    # Unchanged in the usual case: a recorded 0.0 must not become 0.
    if amount is None or not unapplied:
        return amount
    return max(amount - unapplied, _ZERO)


def _annual_sales(features: Mapping[str, float], currency: str) -> Decimal:
    """Yearly purchases, 0 if not known."""
    relation_days = decimal_of(features["days_since_first_invoice"])
    sales = _money(features["invoiced_amount_365d"], currency)
    if sales is None or relation_days is None:
        return _ZERO
    # The day of the first invoice counts, hence the 1.
    days = min(max(relation_days + 1, SHORTEST_YEAR), _YEAR)
    return sales * 365 / days


def _lump(position: Position) -> Ageing | None:
    """All that is past due, as old as the oldest item; None if not known."""
    open_amount = position.open_amount
    overdue = position.overdue_amount
    dpd_days = position.dpd_days
    if open_amount is None or overdue is None or dpd_days is None:
        return None
    if not dpd_days:
        return Ageing(open_amount)
    return Ageing(open_amount, (OverdueItem(int(dpd_days), overdue),))


def _by_materiality(
    position: Position,
    ageing: Ageing | None,
    materiality: Materiality,
) -> Position:
    """The position with only material amounts past due or written off."""
    if ageing is None or position.dpd_days is None:
        return position
    threshold = materiality.threshold(ageing.owed)
    written_off = position.written_off_amount_365d
    if written_off is not None:
        is_material = round_money(written_off, position.currency) > threshold
        written_off = written_off if is_material else _ZERO
    in_default = ageing.overdue_beyond(DEFAULT_DPD_DAYS)
    # Items are rounded one by one and the overdue amount as a whole.
    if position.overdue_amount is not None:
        in_default = min(in_default, position.overdue_amount)
    return position._replace(
        material_dpd_days=Decimal(ageing.material_dpd_days(materiality)),
        material_written_off_amount_365d=written_off,
        overdue_in_default=in_default,
    )


# Days, counts and shares recur; to build one anew takes ten times as long.
@lru_cache(maxsize=100_000)
def decimal_of(value: float) -> Decimal | None:
    """Return the number that a float displays, None for NaN.

    Examples
    --------
    >>> decimal_of(0.1), decimal_of(float("nan"))
    (Decimal('0.1'), None)
    """
    return None if isnan(value) else Decimal(str(value))


def _money(value: float, currency: str) -> Decimal | None:
    return None if isnan(value) else round_money(Decimal(str(value)), currency)
