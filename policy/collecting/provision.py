"""What to provide for an open invoice: the IFRS 9 matrix by age, and beside it the loss its customer's PD expects."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from obligor.data.money import round_money
from obligor.policy.collecting.priority import DEFAULT_DPD_DAYS
from obligor.policy.economics import pd_until
from obligor.policy.rulebooks.rulebook import Rulebook


@dataclass(frozen=True)
class Provision:
    """The age bucket of an invoice and both provisions, in the reporting currency."""

    bucket: str
    matrix: Decimal
    expected_loss: Decimal


def provision(
    open_amount: Decimal,
    dpd_days: int,
    pd_12m: Decimal,
    currency: str,
    rulebook: Rulebook,
) -> Provision:
    """Return the provision of one open invoice by both methods.

    Parameters
    ----------
    open_amount : Decimal
        What is open, in the reporting currency.
    dpd_days : int
        Days past due; negative before the due date.

    Notes
    -----
    Matrix: open amount x loss rate of its age (IFRS 9 5.5.15, B5.5.35). Expected loss: open amount x LGD x the PD
    until the invoice would be in default, ``pd_until(PD, days to due + 90)``; past due the PD of the whole year, as a
    late payer's default comes soon; in default 1.

    Examples
    --------
    >>> from policy.rulebook import RULES, read_rulebook
    >>> rules = read_rulebook(RULES / "2000-01-01")
    >>> provision(Decimal(10000), -30, Decimal("0.10"), "EUR", rules)     # 10000 x .45 x (1 - .9 ** (120 / 365))
    Provision(bucket='not_due', matrix=Decimal('50.00'), expected_loss=Decimal('153.21'))
    >>> provision(Decimal(10000), 45, Decimal("0.10"), "EUR", rules).expected_loss
    Decimal('450.00')
    >>> provision(Decimal(10000), 95, Decimal("0.10"), "EUR", rules)
    Provision(bucket='90+', matrix=Decimal('5000.00'), expected_loss=Decimal('4500.00'))
    """
    row = rulebook.tables["provision_matrix"](dpd_days=dpd_days).outputs
    p_default = Decimal(1)
    if dpd_days <= 0:
        p_default = pd_until(pd_12m, Decimal(DEFAULT_DPD_DAYS - dpd_days))
    elif dpd_days <= DEFAULT_DPD_DAYS:
        p_default = pd_12m
    return Provision(
        bucket=str(row["bucket"]),
        matrix=round_money(open_amount * Decimal(str(row["loss_rate"])), currency),
        expected_loss=round_money(
            open_amount * rulebook.parameters["lgd"] * p_default, currency
        ),
    )
