"""Late interest against a plain count, day after day, written by hand."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from fractions import Fraction
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from obligor.policy.collecting.debt import Debt, LateItem, OpenAmount
from obligor.policy.collecting.late_interest import late_interest, rate_periods
from tests.customers import NEW_RULEBOOK

# The Bundesbank's base rates in percent, from the day on which each began.
BASE_RATES = {
    date(2023, 1, 1): "1.62",
    date(2023, 7, 1): "3.12",
    date(2024, 1, 1): "3.62",
    date(2024, 7, 1): "3.37",
    date(2025, 1, 1): "2.27",
    date(2025, 7, 1): "1.27",
}
# Bank Rate in percent, for the half-year that begins on the day.
BANK_RATES = {
    date(2023, 1, 1): "3.50",
    date(2023, 7, 1): "5.00",
    date(2024, 1, 1): "5.25",
    date(2025, 1, 1): "4.75",
    date(2025, 7, 1): "4.25",
}
FIRST, LAST = date(2023, 1, 10), date(2025, 12, 20)
A_DAY = timedelta(days=1)

days = st.dates(FIRST, LAST)
amounts = st.decimals("0.01", "50000", places=2)


@dataclass(frozen=True)
class Case:
    """An item and what came in for it."""

    due_on: date
    amount: Decimal
    payments: list[tuple[date, Decimal]]
    as_of: date

    def open_on(self, day: date) -> Decimal:
        """What was open at the beginning of a day."""
        paid = sum(amount for paid_on, amount in self.payments if paid_on < day)
        return max(self.amount - paid, Decimal(0))

    def late_item(self) -> LateItem:
        """The item as the code takes it."""
        starts = {self.due_on, *(paid_on + A_DAY for paid_on, _ in self.payments)}
        return LateItem(
            issued_on=min(starts),
            due_on=self.due_on,
            currency="EUR",
            rate=Decimal(1),
            open_amounts=tuple(
                OpenAmount(start, self.open_on(start)) for start in sorted(starts)
            ),
        )


cases = st.builds(
    Case,
    due_on=days,
    amount=amounts,
    payments=st.lists(st.tuples(days, amounts), max_size=4),
    as_of=days,
)


def rate_on(day: date, rates: dict[date, str]) -> Fraction:
    """The rate of a day, as a share."""
    return Fraction(rates[max(start for start in rates if start <= day)]) / 100


def counted(case: Case, country: str) -> Decimal:
    """The interest of a case, one day after the other."""
    first = max(case.due_on, case.late_item().issued_on) + A_DAY
    total = Fraction(0)
    day = first
    while day <= case.as_of:
        if country == "DE":
            rate = rate_on(day, BASE_RATES) + Fraction(9, 100)
        else:
            rate = rate_on(first, BANK_RATES) + Fraction(8, 100)
        total += Fraction(case.open_on(day)) * rate / 365
        day += A_DAY
    exact = Decimal(total.numerator) / Decimal(total.denominator)
    return exact.quantize(Decimal("0.01"), ROUND_HALF_EVEN)


@settings(deadline=None, max_examples=150)
@given(cases, st.sampled_from(["DE", "GB"]))
def test_interest_is_the_sum_of_its_days(case: Case, country: str) -> None:
    debt = Debt(
        customer_id="ANNA",
        currency="EUR",
        overdue=case.amount,
        dpd_days=Decimal(1),
        pd_12m=Decimal("0.1"),
        customer_class="general",
        country=country,
        late_items=(case.late_item(),),
    )
    interest = late_interest(debt, NEW_RULEBOOK, case.as_of)
    assert not interest.missing
    assert interest.amount == counted(case, country)


def test_periods_of_a_rate_leave_no_day_out() -> None:
    for reference in ("ecb", "bundesbank", "oenb", "boe", "lpr_1y", "national", "none"):
        periods = rate_periods(NEW_RULEBOOK, reference)
        assert periods[0].first == date.min
        assert periods[-1].last == date.max
        for before, after in pairwise(periods):
            assert after.first == before.last + A_DAY
