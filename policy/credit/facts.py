"""The facts a decision starts from, and the customer they describe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import NamedTuple

from obligor.errors import PolicyError
from obligor.policy.credit.ageing import Ageing
from obligor.policy.credit.credit_file import (
    NOTHING_ON_FILE,
    CreditFile,
    check_credit_file,
)
from obligor.policy.credit.position import (
    BureauSummary,
    Position,
    decimal_of,
    position_of,
)
from obligor.policy.credit.pricing import Pricing, pricing_of
from obligor.policy.credit.promise_ladder import Promise
from obligor.policy.rulebooks.rulebook import Rulebook


@dataclass(frozen=True)
class RequestedCredit:
    """The credit a customer asks for: an amount in the reporting currency, and days."""

    amount: Decimal
    terms_days: int | None = None


@dataclass(frozen=True)
class Facts:
    """The facts known about a customer on a date.

    Attributes
    ----------
    pd_12m : float
        Probability of default within 12 months, 0 to 1.
    currency : str
        The reporting currency.
    features : mapping of str to float
        Features by name; NaN if not known.
    as_of : date
        The date.
    request : RequestedCredit, optional
        The credit asked for; without one the limit itself is decided.
    credit_file : CreditFile
        The entries people made about the customer.
    equity, turnover : float
        Of the last statement, in the reporting currency; NaN if not known.
    promises : tuple of Promise
        The promises settled so far.
    customer_id : str
        Needed only if the credit file names groups.
    bureau_score : float
        The lowest last score of the sources, as a share of its scale: 0 is its worst
        end, 1 its best; NaN if no source gave a score.
    bureau_insolvency : bool
        Whether the last word of a source is that the customer is insolvent.
    bureau_recommended_limit : Decimal, optional
        The lowest limit that a source recommends, in the reporting currency.
    bureau_sources : tuple of str
        The sources that said any of this, by name.
    ageing : Ageing, optional
        What is owed by age. Without it all that is past due counts as old as the
        oldest item.
    is_incomplete : bool
        Whether the ledger may lack a part of what the customer owes.
    """

    pd_12m: float
    currency: str
    features: Mapping[str, float]
    as_of: date
    request: RequestedCredit | None = None
    credit_file: CreditFile = NOTHING_ON_FILE
    equity: float = float("nan")
    turnover: float = float("nan")
    promises: tuple[Promise, ...] = ()
    customer_id: str = ""
    bureau_score: float = float("nan")
    bureau_insolvency: bool = False
    bureau_recommended_limit: Decimal | None = None
    bureau_sources: tuple[str, ...] = ()
    ageing: Ageing | None = None
    is_incomplete: bool = False


def check_facts(facts: Facts) -> None:
    """Refuse facts that no rule can work with.

    Raises
    ------
    PolicyError
        If the PD is not a probability, or the credit file is not valid.
    """
    if not 0 <= facts.pd_12m <= 1:
        raise PolicyError(
            f"PD {facts.pd_12m} is not a probability", where="pd_12m", expected="0 to 1"
        )
    if facts.credit_file is not NOTHING_ON_FILE:
        check_credit_file(facts.credit_file)


class Customer(NamedTuple):
    """A customer as the rules see it: the facts, and exact numbers derived from them.

    Attributes
    ----------
    facts : Facts
        The facts.
    position : Position
        The features as exact numbers.
    pricing : Pricing
        The cost of credit to this customer.
    requested_exposure : Decimal, optional
        The open amount plus the credit asked for; None without a request.
    """

    facts: Facts
    position: Position
    pricing: Pricing
    requested_exposure: Decimal | None


def customer_of(facts: Facts, rulebook: Rulebook) -> Customer:
    """Return the customer that facts describe, priced under a rulebook."""
    position = position_of(
        facts.features,
        facts.currency,
        facts.ageing,
        rulebook.materiality,
    )
    position = position._replace(
        is_incomplete=facts.is_incomplete,
        bureau=BureauSummary(
            score=decimal_of(facts.bureau_score),
            has_insolvency=facts.bureau_insolvency,
            recommended_limit=facts.bureau_recommended_limit,
        ),
    )
    requested_exposure = None
    if facts.request is not None:
        requested_exposure = position.used + facts.request.amount
    pricing = pricing_of(facts.pd_12m, rulebook)
    return Customer(facts, position, pricing, requested_exposure)
