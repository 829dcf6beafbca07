"""Late interest and compensation under the law of a country."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from obligor.data.money import round_money
from obligor.policy.collecting.debt import Debt
from obligor.policy.collecting.priority import _YEAR
from obligor.policy.rulebooks.rulebook import Rulebook

EU = frozenset(
    (
        "AT",
        "BE",
        "BG",
        "CY",
        "CZ",
        "DE",
        "DK",
        "EE",
        "ES",
        "FI",
        "FR",
        "GR",
        "HR",
        "HU",
        "IE",
        "IT",
        "LT",
        "LU",
        "LV",
        "MT",
        "NL",
        "PL",
        "PT",
        "RO",
        "SE",
        "SI",
        "SK",
    )
)

_LAWS = {"CN": "cn", "GB": "gb"}


@dataclass(frozen=True)
class LateInterest:
    """What the law of the customer's country adds: interest so far, and a fee in that law's currency."""

    amount: Decimal
    fee: Decimal
    fee_currency: str
    because: str


def late_interest(debt: Debt, rulebook: Rulebook) -> LateInterest:
    """Return amount x rate x days / 365 by the law of the customer's country, and its fee per item.

    Examples
    --------
    >>> from policy.rulebook import RULES, read_rulebook
    >>> debt = Debt("C", "EUR", Decimal(1000), Decimal(73), Decimal("0.1"), "general", country="CN",
    ...             amount_days=Decimal(73000))
    >>> late_interest(debt, read_rulebook(RULES / "2000-01-01")).amount         # 1000 x .0005 x 73
    Decimal('36.50')
    """
    law = "eu" if debt.country in EU else _LAWS.get(debt.country, "other")
    found = rulebook.tables["late_interest"](country=law)
    rate, fee = (
        Decimal(str(found.outputs[name])) for name in ("rate_per_year", "fee_per_item")
    )
    amount = round_money(debt.amount_days * rate / _YEAR, debt.currency)
    return LateInterest(
        amount, fee * debt.n_items, str(found.outputs["fee_currency"]), found.because
    )
