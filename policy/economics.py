"""The cost of credit: expected loss, capital, and the exposure a margin pays for."""

from __future__ import annotations

import math
from decimal import Decimal
from functools import cache
from statistics import NormalDist

PD_FLOOR = 0.0005  # Basel CRE32.4
_NORMAL = NormalDist()
_quantile = cache(_NORMAL.inv_cdf)  # of the confidence, which never changes
_EXP_MINUS_50 = math.exp(-50)


def expected_loss(
    pd_12m: Decimal,
    lgd: Decimal,
    ead: Decimal,
) -> Decimal:
    """Return PD x LGD x EAD, the loss expected within 12 months (Basel CRE35.2).

    Parameters
    ----------
    pd_12m : Decimal
        Probability of default within 12 months, 0 to 1.
    lgd : Decimal
        Loss given default as a share of the exposure, 0 to 1.
    ead : Decimal
        Exposure at default, in the reporting currency.

    Returns
    -------
    Decimal
        Expected loss in the reporting currency, not rounded.

    Examples
    --------
    >>> expected_loss(Decimal("0.02"), Decimal("0.45"), Decimal("10000"))
    Decimal('90.0000')
    """
    return pd_12m * lgd * ead


def capital_ratio(
    pd_12m: float,
    lgd: float,
    maturity_years: float = 1.0,
    confidence: float = 0.999,
) -> float:
    """Return the capital per unit of exposure by the Basel IRB formula for corporates.

    Parameters
    ----------
    pd_12m : float
        Probability of default within 12 months; clipped to 0.0005 and 0.9995.
    lgd : float
        Loss given default, 0 to 1.
    maturity_years : float
        Effective maturity; 1 for trade credit.
    confidence : float
        Probability that the capital covers the loss of a year, below 1.

    Returns
    -------
    float
        Capital per unit of exposure, 0 or more.

    Notes
    -----
    CRE31.5 and CRE31.6: ``K = (LGD * N((G(PD) + sqrt(R) G(.999)) / sqrt(1 - R))
    - PD * LGD) * (1 + (M - 2.5) b) / (1 - 1.5 b)``.

    Examples
    --------
    The illustrative weight of Basel II, Annex 5: PD 1%, LGD 45%, 2.5 years give 92.32%.

    >>> round(capital_ratio(0.01, 0.45, 2.5) * 12.5, 4)
    0.9232
    """
    pd_ = min(max(pd_12m, PD_FLOOR), 1 - PD_FLOOR)
    weight = (1 - math.exp(-50 * pd_)) / (1 - _EXP_MINUS_50)
    # The safer the customer, the more its default depends on the economy (CRE31.5).
    correlation = 0.12 * weight + 0.24 * (1 - weight)
    systematic = math.sqrt(correlation) * _quantile(confidence)
    threshold = _NORMAL.inv_cdf(pd_) + systematic
    stressed_pd = _NORMAL.cdf(threshold / math.sqrt(1 - correlation))
    unexpected_loss = lgd * stressed_pd - pd_ * lgd
    # The maturity adjustment b of CRE31.6.
    slope = (0.11852 - 0.05478 * math.log(pd_)) ** 2
    # Basel calibrates to 2.5 years; at one year the adjustment is 1.
    beyond_reference = 1 + (maturity_years - 2.5) * slope
    return unexpected_loss * beyond_reference / (1 - 1.5 * slope)


def risk_cost(
    pd_12m: Decimal,
    lgd: Decimal,
    hurdle_rate: Decimal,
    capital: Decimal,
) -> Decimal:
    """Return the yearly cost of a unit of unsecured exposure besides its financing.

    Parameters
    ----------
    pd_12m : Decimal
        Probability of default within 12 months, 0 to 1.
    lgd : Decimal
        Loss given default, 0 to 1.
    hurdle_rate : Decimal
        Return the owners require on capital, per year.
    capital : Decimal
        Capital per unit of exposure.

    Returns
    -------
    Decimal
        Expected loss plus the return on capital, per unit of exposure and year.

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
    """Return the economic value added of one year of credit to a customer.

    Parameters
    ----------
    exposure : Decimal
        Exposure through the year, in the reporting currency.
    annual_margin : Decimal
        Margin on what the customer buys in a year.
    cost_of_funds : Decimal
        Interest rate at which the exposure is financed, per year.
    risk_per_unit : Decimal
        `risk_cost` of a unit of unsecured exposure.
    secured : Decimal
        Part of the exposure that securities cover, after haircuts.

    Returns
    -------
    Decimal
        Margin - financing - risk cost of the unsecured part, in the reporting currency.

    Examples
    --------
    >>> margin = Decimal(970)
    >>> eva(Decimal(10000), margin, Decimal("0.082"), Decimal("0.015"), Decimal(0))
    Decimal('0.000')
    """
    financing = exposure * cost_of_funds
    unsecured = max(exposure - secured, Decimal(0))
    return annual_margin - financing - unsecured * risk_per_unit


def economic_cap(
    annual_margin: Decimal,
    cost_of_funds: Decimal,
    risk_per_unit: Decimal,
    secured: Decimal,
) -> Decimal:
    """Return the largest exposure whose `eva` is not negative, exactly.

    Parameters
    ----------
    annual_margin : Decimal
        Margin on what the customer buys in a year; it does not grow with the limit.
    cost_of_funds : Decimal
        Interest rate at which the exposure is financed, per year, above 0.
    risk_per_unit : Decimal
        `risk_cost` of a unit of unsecured exposure.
    secured : Decimal
        Part of the exposure that securities cover, after haircuts.

    Returns
    -------
    Decimal
        Exposure in the reporting currency, not rounded.

    Notes
    -----
    A secured unit costs only its financing, an unsecured one its risk as well. EVA
    therefore falls along two straight lines, and its root is exact on either.

    Examples
    --------
    >>> margin, funds, risk = Decimal("970"), Decimal("0.082"), Decimal("0.015")
    >>> economic_cap(margin, funds, risk, Decimal(0))
    Decimal('10000')
    >>> economic_cap(margin, funds, risk, Decimal(1000))  # 985 / .097
    Decimal('10154.63917525773195876288660')
    """
    cap = (annual_margin + secured * risk_per_unit) / (cost_of_funds + risk_per_unit)
    # If the cap is below what is secured, no unit costs risk.
    return cap if cap >= secured else annual_margin / cost_of_funds


def raroc(
    annual_margin: Decimal,
    expected_loss: Decimal,
    financing: Decimal,
    capital: Decimal,
) -> Decimal:
    """Return the risk-adjusted return on capital: (margin - EL - financing) / capital.

    Parameters
    ----------
    annual_margin : Decimal
        Margin on what the customer buys in a year.
    expected_loss : Decimal
        Loss expected within the year.
    financing : Decimal
        Interest on the exposure of the year.
    capital : Decimal
        Capital that the exposure binds, above 0.

    Returns
    -------
    Decimal
        Return per unit of capital and year.

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
    >>> pd_until(Decimal("0.19"), Decimal(365))
    Decimal('0.19')
    >>> round(pd_until(Decimal("0.19"), Decimal(182)), 4)
    Decimal('0.0997')
    """
    return 1 - (1 - pd_12m) ** (days / 365)
