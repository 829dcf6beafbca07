"""The provision for an open invoice, by age and by expected loss.

The matrix of IFRS 9 goes by age, the expected loss by the PD of the customer.
"""

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
        Open amount in `currency`.
    dpd_days : int
        Days past due; negative before the due date.
    pd_12m : Decimal
        PD of the customer, 0 to 1.
    currency : str
        The reporting currency; both provisions are rounded to its minor unit.
    rulebook : Rulebook
        Gives the matrix and LGD.

    Returns
    -------
    Provision
        Bucket and both provisions.

    Notes
    -----
    Matrix: open amount x loss rate of its age (IFRS 9 5.5.15, B5.5.35). Expected loss:
    open amount x LGD x `p_default`.

    Examples
    --------
    >>> from obligor.policy.rulebooks.rulebook import RULES, read_rulebook
    >>> rules = read_rulebook(RULES / "2000-01-01")
    >>> amount, pd_12m = Decimal(10000), Decimal("0.10")
    >>> not_due = provision(amount, -30, pd_12m, "EUR", rules)
    >>> not_due.bucket, not_due.matrix
    ('not_due', Decimal('50.00'))
    >>> not_due.expected_loss  # 10000 x .45 x (1 - .9 ** (120 / 365))
    Decimal('153.21')
    >>> provision(amount, 45, pd_12m, "EUR", rules).expected_loss
    Decimal('450.00')
    >>> in_default = provision(amount, 95, pd_12m, "EUR", rules)
    >>> in_default.bucket, in_default.matrix, in_default.expected_loss
    ('90+', Decimal('5000.00'), Decimal('4500.00'))
    """
    row = rulebook.tables["provision_matrix"](dpd_days=dpd_days)
    matrix = open_amount * row.number("loss_rate")
    loss = open_amount * rulebook.parameters["lgd"] * p_default(pd_12m, dpd_days)
    return Provision(
        bucket=str(row.outputs["bucket"]),
        matrix=round_money(matrix, currency),
        expected_loss=round_money(loss, currency),
    )


def p_default(pd_12m: Decimal, dpd_days: int) -> Decimal:
    """Return the probability that an open invoice ends in default.

    Before its due date it is the PD until the invoice would be 90 days past due. Past
    due it is the PD of the whole year, as a late payer defaults soon. In default it
    is 1.

    Examples
    --------
    >>> round(p_default(Decimal("0.10"), -30), 4)  # 1 - .9 ** (120 / 365)
    Decimal('0.0340')
    >>> p_default(Decimal("0.10"), 45), p_default(Decimal("0.10"), 95)
    (Decimal('0.10'), Decimal('1'))
    """
    if dpd_days <= 0:
        return pd_until(pd_12m, Decimal(DEFAULT_DPD_DAYS - dpd_days))
    return pd_12m if dpd_days <= DEFAULT_DPD_DAYS else Decimal(1)
