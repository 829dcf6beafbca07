"""What credit costs: expected loss, capital, and the exposure its margin can carry."""

from __future__ import annotations

import math
from decimal import Decimal
from functools import cache
from statistics import NormalDist

PD_FLOOR = 0.0005  # Basel CRE32.4
_NORMAL = NormalDist()
_quantile = cache(_NORMAL.inv_cdf)  # of the confidence, which never changes


def expected_loss(pd_12m: Decimal, lgd: Decimal, ead: Decimal) -> Decimal:
    """Return PD x LGD x EAD, the loss expected within 12 months.

    Examples
    --------
    >>> expected_loss(Decimal("0.02"), Decimal("0.45"), Decimal("10000"))
    Decimal('90.0000')
    """
    return pd_12m * lgd * ead


def capital_ratio(
    pd_12m: float, lgd: float, maturity_years: float = 1.0, confidence: float = 0.999
) -> float:
    """Return the capital per unit of exposure by the Basel IRB formula for corporates (CRE31.5, CRE31.6).

    Notes
    -----
    ``K = (LGD * N((G(PD) + sqrt(R) G(.999)) / sqrt(1 - R)) - PD * LGD) * (1 + (M - 2.5) b) / (1 - 1.5 b)``.

    Examples
    --------
    The illustrative weight of Basel II, Annex 5: PD 1%, LGD 45%, 2.5 years give 92.32%.

    >>> round(capital_ratio(0.01, 0.45, 2.5) * 12.5, 4)
    0.9232
    """
    pd_ = min(max(pd_12m, PD_FLOOR), 1 - PD_FLOOR)
    weight = (1 - math.exp(-50 * pd_)) / (1 - math.exp(-50))
    correlation = 0.12 * weight + 0.24 * (1 - weight)
    stressed = _NORMAL.cdf(
        (_NORMAL.inv_cdf(pd_) + math.sqrt(correlation) * _quantile(confidence))
        / math.sqrt(1 - correlation)
    )
    slope = (0.11852 - 0.05478 * math.log(pd_)) ** 2
    return (
        (lgd * stressed - pd_ * lgd)
        * (1 + (maturity_years - 2.5) * slope)
        / (1 - 1.5 * slope)
    )


def risk_cost(
    pd_12m: Decimal, lgd: Decimal, hurdle_rate: Decimal, capital: Decimal
) -> Decimal:
    """Return what one unit of unsecured exposure costs in a year besides its financing: EL and return on capital.

    Examples
    --------
    >>> risk_cost(Decimal("0.02"), Decimal("0.45"), Decimal("0.12"), Decimal("0.05"))
    Decimal('0.0150')
    """
    return pd_12m * lgd + hurdle_rate * capital


def eva(
    exposure: Decimal,
    annual_margin: Decimal,
    cost_of_funds: Decimal,
    risk_per_unit: Decimal,
    secured: Decimal,
) -> Decimal:
    """Return the economic value added of a year: margin - financing - (EL + hurdle x capital) of what is not secured.

    Examples
    --------
    >>> eva(Decimal(10000), Decimal(970), Decimal("0.082"), Decimal("0.015"), Decimal(0))
    Decimal('0.000')
    """
    return (
        annual_margin
        - exposure * cost_of_funds
        - max(exposure - secured, Decimal(0)) * risk_per_unit
    )


def economic_cap(
    annual_margin: Decimal,
    cost_of_funds: Decimal,
    risk_per_unit: Decimal,
    secured: Decimal,
) -> Decimal:
    """Return the largest exposure with EVA >= 0, exactly.

    The margin comes from what the customer buys and does not grow with the limit; the costs do. Up to what
    is secured a unit costs its financing, beyond that its risk as well: EVA falls along two straight lines.

    Examples
    --------
    >>> economic_cap(Decimal("970"), Decimal("0.082"), Decimal("0.015"), Decimal(0))
    Decimal('10000')
    >>> economic_cap(Decimal("970"), Decimal("0.082"), Decimal("0.015"), Decimal(1000))     # 985 / .097
    Decimal('10154.63917525773195876288660')
    """
    unsecured = (annual_margin + secured * risk_per_unit) / (
        cost_of_funds + risk_per_unit
    )
    return unsecured if unsecured >= secured else annual_margin / cost_of_funds


def raroc(
    annual_margin: Decimal, expected_loss: Decimal, financing: Decimal, capital: Decimal
) -> Decimal:
    """Return (margin - EL - financing) / capital.

    Examples
    --------
    >>> raroc(Decimal(1000), Decimal(100), Decimal(300), Decimal(4000))
    Decimal('0.15')
    """
    return (annual_margin - expected_loss - financing) / capital


def pd_until(pd_12m: Decimal, days: Decimal) -> Decimal:
    """Return the PD over some days at a constant hazard: 1 - (1 - PD) ** (days / 365).

    Examples
    --------
    >>> pd_until(Decimal("0.19"), Decimal(365)), round(pd_until(Decimal("0.19"), Decimal(182)), 4)
    (Decimal('0.19'), Decimal('0.0997'))
    """
    return 1 - (1 - pd_12m) ** (days / 365)
