"""Late interest and compensation under the law of the customer's country.

Interest is simple, from day to day on what was open then. The law, the rates by day and
the compensation are tables of the rulebook, with their sources. A day that has no rate
on file refuses the whole sum: nothing is estimated.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import NamedTuple, cast

from obligor.data.money import round_money
from obligor.policy.collecting.debt import Debt, LateItem
from obligor.policy.collecting.working_days import (
    NO_CALENDAR,
    Calendar,
    DayTest,
    never,
    next_day,
)
from obligor.policy.rulebooks.contracts import OTHER_COUNTRY, REFERENCE
from obligor.policy.rulebooks.decision_table import DecisionTable, Evaluation
from obligor.policy.rulebooks.rulebook import INTEREST_TABLES, Rulebook

# Member states of the EU: directive 2011/7/EU on late payment.
_EU_CODES = """
AT BE BG CY CZ DE DK EE ES FI FR GR HR HU IE IT LT LU LV MT NL PL PT RO SE SI SK
"""
EU = frozenset(_EU_CODES.split())
# Of the rulebooks in which the law is one table.
_LAWS = {"CN": "cn", "GB": "gb"}
_YEAR = Decimal(365)
_ZERO = Decimal(0)
_A_DAY = timedelta(days=1)
NO_CURRENCY = "none"
HALF_A_YEAR = timedelta(days=184)


@dataclass(frozen=True)
class LateInterest:
    """The interest and fee that the law adds to a debt.

    Attributes
    ----------
    amount : Decimal
        Interest so far, in the reporting currency; 0 if it cannot be worked out.
    fee : Decimal
        Compensation for all items, in `fee_currency`.
    fee_currency : str
        The currency of the law.
    because : str
        The law and the rates, or why there is no interest.
    missing : str
        What is not on file, so that no interest could be worked out; empty if nothing.
    """

    amount: Decimal
    fee: Decimal
    fee_currency: str
    because: str
    missing: str = ""


class RatePeriod(NamedTuple):
    """A reference rate and the days for which it holds.

    Attributes
    ----------
    first, last : date
        The days, both included.
    rate : Decimal, optional
        Per year; None if it is not on file.
    because : str
        Its source, or what is missing.
    """

    first: date
    last: date
    rate: Decimal | None
    because: str


class OutdatedRate(NamedTuple):
    """A reference rate that laws refer to and that is older than half a year.

    Attributes
    ----------
    reference : str
        The rate.
    countries : tuple of str
        The countries whose law refers to it.
    what : str
        Since when it is outdated, as a clause about it.
    """

    reference: str
    countries: tuple[str, ...]
    what: str


def late_interest(
    debt: Debt,
    rulebook: Rulebook,
    as_of: date,
    calendar: Calendar = NO_CALENDAR,
) -> LateInterest:
    """Return the interest and the compensation by the law of the customer's country.

    What is in dispute bears no interest while the dispute is open; if it is settled for
    the house, interest counts from the due day as if there had been none. Money that
    came in bears interest up to its day. The sum of amount x rate x days is exact; it
    is converted, divided by 365, and rounded once, halves to even.

    Parameters
    ----------
    debt : Debt
        The overdue debt, with its items.
    rulebook : Rulebook
        The rules in force.
    as_of : date
        The last day for which interest is counted.
    calendar : Calendar
        The days off of countries, for laws that postpone a due day.

    Returns
    -------
    LateInterest
        With what is missing, if a rate is not on file.

    Examples
    --------
    1,000 EUR are due on 2025-06-20 in France; 400 EUR come in on 2025-07-10. That is
    1,000 EUR for 10 days at 13.15% and 10 days at 12.15%, and 600 EUR for 5 days more.

    >>> from obligor.policy.collecting.debt import OpenAmount
    >>> from obligor.policy.rulebooks.rulebook import RULES, read_rulebook
    >>> item = LateItem(
    ...     issued_on=date(2025, 5, 20),
    ...     due_on=date(2025, 6, 20),
    ...     currency="EUR",
    ...     rate=Decimal(1),
    ...     open_amounts=(
    ...         OpenAmount(date(2025, 5, 20), Decimal(1000)),
    ...         OpenAmount(date(2025, 7, 11), Decimal(600)),
    ...     ),
    ... )
    >>> debt = Debt(
    ...     customer_id="C",
    ...     currency="EUR",
    ...     overdue=Decimal(600),
    ...     dpd_days=Decimal(25),
    ...     pd_12m=Decimal("0.1"),
    ...     customer_class="general",
    ...     country="FR",
    ...     late_items=(item,),
    ... )
    >>> rules = read_rulebook(RULES / "2023-12-31")
    >>> interest = late_interest(debt, rules, date(2025, 7, 15))
    >>> interest.amount  # (1000 x (.1315 + .1215) x 10 + 600 x .1215 x 5) / 365
    Decimal('7.93')
    >>> interest.fee
    Decimal('40')
    """
    if INTEREST_TABLES[0] not in rulebook.tables:
        return _by_amount_days(debt, rulebook)
    law = _law_of(debt.country, rulebook, calendar)
    nothing = round_money(_ZERO, debt.currency)
    if not law.row.outputs["has_law"]:
        return LateInterest(nothing, _ZERO, NO_CURRENCY, law.row.because)
    compensation = _compensation(debt, law, as_of, rulebook)
    spans = [span for item in debt.late_items for span in law.spans(item, as_of)]
    missing = _missing(spans)
    if missing:
        return LateInterest(
            amount=nothing,
            fee=compensation.fee,
            fee_currency=compensation.currency,
            because=f"{law.row.because}; {missing}",
            missing=missing,
        )
    interest = sum((span.interest_days for span in spans), _ZERO) / _YEAR
    reasons = [law.row.because, *_rate_texts(spans), compensation.note]
    return LateInterest(
        amount=round_money(interest, debt.currency),
        fee=compensation.fee,
        fee_currency=compensation.currency,
        because="; ".join(filter(None, reasons)),
    )


def law_currency(country: str, rulebook: Rulebook) -> str:
    """Return the currency in which a country's law states the compensation.

    `NO_CURRENCY` if there is none, or under rules in which the law is one table.

    Parameters
    ----------
    country : str
        ISO 3166 code of the customer's country.
    rulebook : Rulebook
        The rules in force.
    """
    if INTEREST_TABLES[0] not in rulebook.tables:
        return NO_CURRENCY
    table = rulebook.tables["compensation"]
    row = table(country=_listed(country, rulebook), amount=_ZERO)
    return str(row.outputs["fee_currency"])


def outdated_rates(rulebook: Rulebook, day: date) -> list[OutdatedRate]:
    """Return the reference rates of laws that are older than half a year on a day.

    They end before the day, or began more than half a year before it and have no end.
    Rates that were never on file are not among them: the rulebook and every answer say
    so. Nor is any of a rulebook in which the law is one table.
    """
    if INTEREST_TABLES[0] not in rulebook.tables:
        return []
    outdated = list[OutdatedRate]()
    for reference, countries in _countries_by_rate(rulebook).items():
        periods = rate_periods(rulebook, reference)
        (current,) = [period for period in periods if _holds_on(period, day)]
        last_days = [period.last for period in periods if period.rate is not None]
        if current.rate is None and last_days:
            what = f"ends on {max(last_days)}"
            outdated.append(OutdatedRate(reference, countries, what))
        is_endless = current.rate is not None and current.last == date.max
        if is_endless and day - current.first > HALF_A_YEAR:
            what = f"is of {current.first} and has no end"
            outdated.append(OutdatedRate(reference, countries, what))
    return outdated


def _countries_by_rate(rulebook: Rulebook) -> dict[str, tuple[str, ...]]:
    """The countries whose law refers to each reference rate."""
    laws = rulebook.tables["interest_laws"]
    (country,) = laws.inputs
    countries = dict[str, tuple[str, ...]]()
    for code in country.values:
        row = laws(country=code)
        if row.outputs["has_law"]:
            reference = str(row.outputs[REFERENCE.name])
            countries[reference] = (*countries.get(reference, ()), code)
    return countries


def rate_periods(rulebook: Rulebook, reference: str) -> Sequence[RatePeriod]:
    """Return a reference rate by period, without a gap, from the first day to the last.

    Parameters
    ----------
    rulebook : Rulebook
        A rulebook with the table ``reference_rates``.
    reference : str
        The rate.
    """
    key = ("rate_periods", reference)
    if key not in rulebook.memo:
        table = rulebook.tables["reference_rates"]
        rulebook.memo[key] = tuple(_periods_of(table, reference))
    return cast("Sequence[RatePeriod]", rulebook.memo[key])


def _periods_of(table: DecisionTable, reference: str) -> Iterator[RatePeriod]:
    current = None
    for first in _days_of_change(table):
        row = table(reference=reference, day=int(first.strftime("%Y%m%d")))
        rate = row.number("rate") if row.outputs["is_known"] else None
        if current is None:
            current = RatePeriod(first, date.max, rate, row.because)
        # A day on which another rate changes is none for this one.
        elif (rate, row.because) != (current.rate, current.because):
            yield current._replace(last=first - _A_DAY)
            current = RatePeriod(first, date.max, rate, row.because)
    if current is not None:
        yield current


def _days_of_change(table: DecisionTable) -> list[date]:
    """The days on which a row of the table may begin, the first of all included."""
    position = [column.name for column in table.inputs].index("day")
    days = {date.min}
    for point in table.points[position]:
        try:
            day = date.fromisoformat(f"{int(point):08}")
        except ValueError:
            continue
        # A cell may include the day it ends on, or not.
        days.add(day)
        if day < date.max:
            days.add(day + _A_DAY)
    return sorted(days)


def _holds_on(period: RatePeriod, day: date) -> bool:
    return period.first <= day <= period.last


class _Span(NamedTuple):
    """Days on which one amount bore interest at one rate.

    Attributes
    ----------
    period : RatePeriod
        The days, with the rate of interest in place of the reference rate.
    amount : Decimal
        In the reporting currency.
    """

    period: RatePeriod
    amount: Decimal

    @property
    def interest_days(self) -> Decimal:
        """Amount x rate x days."""
        n_days = (self.period.last - self.period.first).days + 1
        return self.amount * (self.period.rate or _ZERO) * n_days


@dataclass(frozen=True)
class _Law:
    """The law of a country on late interest.

    Attributes
    ----------
    country : str
        ISO 3166 code of the customer's country.
    row : Evaluation
        The row of the rulebook.
    periods : sequence of RatePeriod
        The reference rate.
    postpones : callable
        Whether a due day in the country that falls on a day moves on.
    """

    country: str
    row: Evaluation
    periods: Sequence[RatePeriod]
    postpones: DayTest

    def first_day(self, item: LateItem) -> date:
        """The first day for which an item bears interest."""
        # Nobody is late with a bill that was not written yet.
        due_on = max(item.due_on, item.issued_on)
        return next_day(due_on, self.country, self.postpones) + _A_DAY

    def spans(self, item: LateItem, as_of: date) -> Iterator[_Span]:
        """The days for which an item bears interest, by amount and rate."""
        begins_on = self.first_day(item)
        ends = [step.since - _A_DAY for step in item.open_amounts[1:]]
        for step, last in zip(item.open_amounts, [*ends, as_of], strict=True):
            amount = (step.amount - item.disputed) * item.rate
            if amount <= 0:
                continue
            whole = RatePeriod(max(step.since, begins_on), min(last, as_of), None, "")
            for period in self._rates(whole, begins_on):
                yield _Span(period, amount)

    def _rates(self, whole: RatePeriod, begins_on: date) -> Iterator[RatePeriod]:
        """The rates of interest within some days."""
        if whole.first > whole.last:
            return
        for period in self.periods:
            first = max(period.first, whole.first)
            last = min(period.last, whole.last)
            if self.row.outputs["is_fixed"]:
                # The rate of the day on which the delay began holds to the end.
                if _holds_on(period, begins_on):
                    yield self._of_law(period, whole.first, whole.last)
            elif first <= last:
                yield self._of_law(period, first, last)

    def _of_law(
        self,
        period: RatePeriod,
        first: date,
        last: date,
    ) -> RatePeriod:
        rate = period.rate
        if rate is not None:
            rate = self.row.number("factor") * rate + self.row.number("margin")
        return RatePeriod(first, last, rate, period.because)


def _law_of(country: str, rulebook: Rulebook, calendar: Calendar) -> _Law:
    row = rulebook.tables["interest_laws"](country=_listed(country, rulebook))
    postpones = {
        "never": never,
        "sundays": calendar.is_holiday,
        "days_off": calendar.is_day_off,
    }
    return _Law(
        country=country,
        row=row,
        periods=rate_periods(rulebook, str(row.outputs[REFERENCE.name])),
        postpones=postpones[str(row.outputs["postpones_due_day"])],
    )


def _listed(country: str, rulebook: Rulebook) -> str:
    """The country as the tables name it."""
    (column,) = rulebook.tables["interest_laws"].inputs
    return country if country in column.values else OTHER_COUNTRY


class _Compensation(NamedTuple):
    fee: Decimal
    currency: str
    note: str = ""


def _compensation(
    debt: Debt,
    law: _Law,
    as_of: date,
    rulebook: Rulebook,
) -> _Compensation:
    """The fixed sum for each item that is late, by what was open as the delay began."""
    table = rulebook.tables["compensation"]
    country = _listed(debt.country, rulebook)
    least = table(country=country, amount=_ZERO).number("fee")
    currency = law_currency(debt.country, rulebook)
    fee = _ZERO
    note = ""
    for item in debt.late_items:
        begins_on = law.first_day(item)
        amount = item.open_on(begins_on) - item.disputed
        if begins_on > as_of or amount <= 0:
            continue
        converted = _in_currency(amount, item, currency, debt)
        if converted is None:
            fee += least
            note = f"at least: an amount in {item.currency} was not converted"
        else:
            fee += table(country=country, amount=converted).number("fee")
    return _Compensation(fee, currency, note)


def _in_currency(
    amount: Decimal,
    item: LateItem,
    currency: str,
    debt: Debt,
) -> Decimal | None:
    """An amount of an item in the currency of the law; None without a rate for it."""
    if currency in (item.currency, NO_CURRENCY):
        return amount
    reporting_amount = amount * item.rate
    if currency == debt.currency:
        return reporting_amount
    return reporting_amount / debt.law_rate if debt.law_rate else None


def _missing(spans: Iterable[_Span]) -> str:
    """What is not on file; empty if every day has its rate."""
    for span in spans:
        period = span.period
        if period.rate is None:
            return (
                f"no interest was worked out from {period.first} on: {period.because}"
            )
    return ""


def _rate_texts(spans: Iterable[_Span]) -> Iterator[str]:
    """The rates of interest, each with the first day for which it was used."""
    rates = {(span.period.first, span.period.rate or _ZERO) for span in spans}
    previous = None
    for first, rate in sorted(rates):
        if rate != previous:
            yield f"{(rate * 100).normalize():f}% from {first}"
        previous = rate


def _by_amount_days(debt: Debt, rulebook: Rulebook) -> LateInterest:
    """Amount x rate x days / 365, by a rulebook in which the law is one table.

    Items are taken as if what is open now had been open from the due day on.
    """
    law = "eu" if debt.country in EU else _LAWS.get(debt.country, "other")
    evaluation = rulebook.tables["late_interest"](country=law)
    rate_per_year = evaluation.number("rate_per_year")
    # The sum over items of amount x days, as items are late by different days.
    interest = debt.amount_days * rate_per_year / _YEAR
    return LateInterest(
        amount=round_money(interest, debt.currency),
        fee=evaluation.number("fee_per_item") * debt.n_items,
        fee_currency=str(evaluation.outputs["fee_currency"]),
        because=evaluation.because,
    )
