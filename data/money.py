"""Currencies, their minor units, and rounding."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal
from functools import cache

from obligor.errors import SchemaError

# The largest whole number that fits a database column.
MOST_MINOR_UNITS = 2**63 - 1

# ISO 4217 active codes, by the number of digits of the minor unit (list of 2026-01-01).
_TWO_DIGITS = """
AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BRL BSD BTN BWP
BYN BZD CAD CDF CHF CNY COP CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP
GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW
KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR
MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR
SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS
UAH USD UYU UZS VED VES WST XCD XCG YER ZAR ZMW ZWG
"""
_NO_DIGITS = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX VND VUV XAF XOF XPF"
_THREE_DIGITS = "BHD IQD JOD KWD LYD OMR TND"

MINOR_DIGITS: dict[str, int] = {
    **dict.fromkeys(_TWO_DIGITS.split(), 2),
    **dict.fromkeys(_NO_DIGITS.split(), 0),
    **dict.fromkeys(_THREE_DIGITS.split(), 3),
}


def minor_digits(currency: str) -> int:
    """Return the number of decimals of a currency (ISO 4217).

    Raises
    ------
    SchemaError
        If it is not an active ISO 4217 code.

    Examples
    --------
    >>> minor_digits("EUR"), minor_digits("JPY"), minor_digits("KWD")
    (2, 0, 3)
    """
    try:
        return MINOR_DIGITS[currency]
    except KeyError:
        raise SchemaError(
            f"unknown currency {currency!r}",
            expected="an ISO 4217 code such as EUR, USD or CNY",
            do="correct the code",
        ) from None


@cache
def minor_unit(currency: str) -> Decimal:
    """Return the smallest amount of a currency.

    Examples
    --------
    >>> minor_unit("EUR"), minor_unit("JPY")
    (Decimal('0.01'), Decimal('1'))
    """
    return Decimal(1).scaleb(-minor_digits(currency))


def round_money(amount: Decimal, currency: str) -> Decimal:
    """Return an amount rounded to the minor unit of its currency, halves to even.

    Examples
    --------
    >>> round_money(Decimal("10.005"), "EUR"), round_money(Decimal("10.5"), "JPY")
    (Decimal('10.00'), Decimal('10'))
    """
    return amount.quantize(minor_unit(currency), ROUND_HALF_EVEN)


def to_minor(amount: Decimal, currency: str) -> int:
    """Return an amount in whole minor units (cents).

    Raises
    ------
    SchemaError
        If the amount has more decimals than the currency, or needs more than 64 bits.

    Examples
    --------
    >>> to_minor(Decimal("12.34"), "EUR")
    1234
    >>> to_minor(Decimal("12.345"), "EUR")
    Traceback (most recent call last):
    obligor.errors.SchemaError: 12.345 EUR has more than 2 decimals; expected ...
    """
    scaled = amount.scaleb(minor_digits(currency))
    if scaled != scaled.to_integral_value():
        raise SchemaError(
            f"{amount} {currency} has more than {minor_digits(currency)} decimals",
            expected="whole minor units",
        )
    if abs(scaled) > MOST_MINOR_UNITS:
        raise SchemaError(
            f"{amount:.3E} {currency} is too large",
            expected=f"up to {MOST_MINOR_UNITS} minor units",
        )
    return int(scaled)
