"""Checks of what identifies a company or a person: VAT ids, LEIs, e-mail addresses.

Each returns the text in its usual form, or None if the text is not valid. The rules are
those of python-stdnum and email-validator; nothing is asked of a network.
"""

from __future__ import annotations

import re
from functools import lru_cache

from email_validator import EmailNotValidError, validate_email
from stdnum import get_cc_module, lei
from stdnum.eu import vat
from stdnum.exceptions import ValidationError

# Prefixes of VAT ids that differ from the country's code (ISO 3166-1).
_COUNTRY_OF_PREFIX = {"EL": "GR"}
_PREFIX_OF_COUNTRY = {"GR": "EL"}
_COUNTRY = re.compile(r"[A-Z]{2}")
_LANGUAGE = re.compile(
    r"([a-zA-Z]{2,3})(?:[-_]([a-zA-Z]{4}))?(?:[-_]([a-zA-Z]{2}|\d{3}))?"
)
_SEPARATORS = re.compile(r"[\s.\-/]")
_MOST_CACHED = 100_000


@lru_cache(maxsize=_MOST_CACHED)
def valid_vat_id(text: str, country: str = "") -> str | None:
    """Return a VAT id in its usual form, None if its check digits are wrong.

    Parameters
    ----------
    text : str
        The id, with the prefix of its country or without one.
    country : str, optional
        The country's code (ISO 3166-1), for an id without a prefix.

    Returns
    -------
    str or None
        An id of the European Union has its prefix. An id of a country whose rule is
        not known is returned as it is, without blanks.

    Examples
    --------
    >>> valid_vat_id("DE 136 695 976"), valid_vat_id("136695976", "DE")
    ('DE136695976', 'DE136695976')
    >>> valid_vat_id("DE136695978")
    """
    compact = _SEPARATORS.sub("", text).upper()
    prefix = compact[:2] if _COUNTRY.fullmatch(compact[:2]) else ""
    code = prefix or country.strip().upper()
    code = _COUNTRY_OF_PREFIX.get(code, code)
    if not _COUNTRY.fullmatch(code):
        return compact
    if code.lower() in vat.MEMBER_STATES:
        union_prefix = _PREFIX_OF_COUNTRY.get(code, code)
        number = compact if prefix else union_prefix + compact
        return _valid_union_vat_id(number)
    module = get_cc_module(code, "vat")
    if module is None:
        return compact
    try:
        return str(module.validate(compact))
    except ValidationError:
        return None


def _valid_union_vat_id(number: str) -> str | None:
    try:
        return vat.validate(number)
    except ValidationError:
        return None


@lru_cache(maxsize=_MOST_CACHED)
def valid_lei(text: str) -> str | None:
    """Return a legal entity identifier (ISO 17442), None if its check digits are wrong.

    Examples
    --------
    >>> valid_lei("2138 00KU D8LA JWSQ 9D15")
    '213800KUD8LAJWSQ9D15'
    >>> valid_lei("213800KUD8LAJWSQ9D16")
    """
    try:
        return lei.validate(text)
    except ValidationError:
        return None


def valid_email(text: str) -> str | None:
    """Return an e-mail address in its usual form, None if it cannot be one.

    Whether the mailbox exists is not asked.

    Examples
    --------
    >>> valid_email("Anna@EXAMPLE.com")
    'Anna@example.com'
    >>> valid_email("anna at example.com")
    """
    try:
        address = validate_email(text, check_deliverability=False)
    except EmailNotValidError:
        return None
    return address.normalized


def valid_language(text: str) -> str | None:
    """Return the code of a language, None if it cannot be one (BCP 47, ISO 639).

    Examples
    --------
    >>> valid_language("DE_at"), valid_language("zh-Hans-CN"), valid_language("German")
    ('de-AT', 'zh-Hans-CN', None)
    """
    match = _LANGUAGE.fullmatch(text.strip())
    if match is None:
        return None
    language, script, region = match.groups()
    parts = [language.lower()]
    if script:
        parts.append(script.title())
    if region:
        parts.append(region.upper())
    return "-".join(parts)


def compact_id(text: str) -> str:
    """Return an id without blanks, dots and dashes, in capitals, so that it compares.

    Examples
    --------
    >>> compact_id("hrb 12.345")
    'HRB12345'
    """
    return _SEPARATORS.sub("", text).upper()
