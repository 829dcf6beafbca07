"""One entry per feature: what it means, its unit and range, the direction risk moves with it, its reason text.

`CATALOGUE` is the order of every feature vector in the project; `features.kernel` fills it.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from math import inf, isnan
from typing import Any

from obligor.features.kernel import WINDOWS


@dataclass(frozen=True)
class Feature:
    """The catalogue entry of one feature.

    Attributes
    ----------
    name : str
        Snake case; carries its window or unit.
    definition : str
        What is counted, in words; `tests/oracle/features.sql` says it in SQL.
    unit : str
        ``days``, ``share``, ``count``, ``ratio`` or ``money`` (the reporting currency).
    low, high : float
        The range a value can take.
    direction : int
        +1 where a higher value can only raise the PD, -1 where it can only lower it, 0 for neither.
    family : str
        Features that say the same thing; a reason is given once per family.
    reason_en, reason_zh : str
        The reason text; ``{value}`` is replaced by the value with its unit.
    unknown : str
        Why a value can be unknown: a key of `UNKNOWN`, whose text is the reason then.
    window : int
        Days of the window that `unknown` speaks of.
    """

    name: str
    definition: str
    unit: str
    low: float
    high: float
    direction: int
    family: str
    reason_en: str
    reason_zh: str
    unknown: str = "never"
    window: int = 365

    def reason(self, value: float, language: str = "en", currency: str = "") -> str:
        """Say the reason with its value and unit, or why there is no value.

        Examples
        --------
        >>> by_name("dpd_days").reason(41.0)
        'The oldest open item is 41 days past due'
        >>> by_name("share_late_30d").reason(float("nan"))
        'No payment came in the last 30 days'
        >>> by_name("overdue_amount").reason(1250.0, currency="EUR")
        '1,250 EUR is past due'
        """
        if isnan(value):
            return UNKNOWN[self.unknown][0 if language == "en" else 1].format(
                n=self.window
            )
        text = self.reason_en if language == "en" else self.reason_zh
        return text.format(value=_said(value, self.unit, language, currency))


# Why a feature has no value on a date.
UNKNOWN = {
    "never": ("It is not known", "未知"),
    "no_payment": ("No payment came in the last {n} days", "最近 {n} 天内没有付款"),
    "no_payment_yet": ("No payment has come yet", "尚无付款"),
    "no_sales": ("Nothing was invoiced in the last {n} days", "最近 {n} 天内没有开票"),
    "no_invoice_yet": ("Nothing has been invoiced yet", "尚无开票"),
    "nothing_open": ("Nothing is open", "没有未清发票"),
    "no_limit": ("No credit limit is known", "没有已知的信用额度"),
    "no_statement": (
        "No financial statement with this figure is known",
        "没有含该项目的已知财务报表",
    ),
}


def _said(value: float, unit: str, language: str, currency: str) -> str:
    if unit == "money" and currency:
        return f"{value:,.0f} {currency}"
    if unit == "share":
        return f"{value:.0%}"
    if unit == "days":
        return f"{value:.0f} days" if language == "en" else f"{value:.0f} 天"
    return f"{value:,.0f}" if unit in ("money", "count") else f"{value:.2f}"


def _windowed() -> list[Feature]:
    measures = [
        (
            "invoice_count",
            "Items issued",
            "count",
            inf,
            0,
            "activity",
            "{value} invoices in the last {n} days",
            "最近 {n} 天内开票 {value} 张",
        ),
        (
            "invoiced_amount",
            "Amount issued",
            "money",
            inf,
            0,
            "activity",
            "{value} invoiced in the last {n} days",
            "最近 {n} 天内开票金额 {value}",
        ),
        (
            "paid_amount",
            "Cash received",
            "money",
            inf,
            0,
            "activity",
            "{value} paid in the last {n} days",
            "最近 {n} 天内付款 {value}",
        ),
        (
            "dbt_days_mean",
            "Days beyond terms of cash received, weighted by amount, early = 0,",
            "days",
            inf,
            1,
            "lateness",
            "Payments of the last {n} days came {value} beyond terms on average",
            "最近 {n} 天内付款平均逾期 {value}",
        ),
        (
            "dbt_days_max",
            "Most days beyond terms of a payment received",
            "days",
            inf,
            1,
            "lateness",
            "The latest payment of the last {n} days came {value} beyond terms",
            "最近 {n} 天内最长付款逾期 {value}",
        ),
        (
            "share_late",
            "Share of cash received after its due date",
            "share",
            1,
            1,
            "lateness",
            "{value} of the money received in the last {n} days came late",
            "最近 {n} 天内 {value} 的回款逾期到账",
        ),
    ]
    return [
        Feature(
            name=f"{name}_{n}d",
            definition=f"{definition} in (as_of-{n}, as_of]",
            unit=unit,
            low=0.0,
            high=high,
            direction=direction,
            family=family,
            reason_en=en.replace("{n}", str(n)),
            reason_zh=zh.replace("{n}", str(n)),
            unknown="no_payment" if family == "lateness" else "never",
            window=n,
        )
        for name, definition, unit, high, direction, family, en, zh in measures
        for n in WINDOWS
    ]


_AT_AS_OF: list[tuple[Any, ...]] = [
    (
        "open_amount",
        "Balance of all open items",
        "money",
        0,
        inf,
        0,
        "exposure",
        "{value} is open",
        "未清余额 {value}",
    ),
    (
        "open_count",
        "Open items",
        "count",
        0,
        inf,
        0,
        "exposure",
        "{value} items are open",
        "未清发票 {value} 张",
    ),
    (
        "overdue_amount",
        "Balance of items past due",
        "money",
        0,
        inf,
        0,
        "overdue",
        "{value} is past due",
        "逾期余额 {value}",
    ),
    (
        "overdue_1_30_amount",
        "Balance of items 1 to 30 days past due",
        "money",
        0,
        inf,
        0,
        "overdue",
        "{value} is 1 to 30 days past due",
        "逾期 1-30 天余额 {value}",
    ),
    (
        "overdue_31_60_amount",
        "Balance of items 31 to 60 days past due",
        "money",
        0,
        inf,
        0,
        "overdue",
        "{value} is 31 to 60 days past due",
        "逾期 31-60 天余额 {value}",
    ),
    (
        "overdue_61_90_amount",
        "Balance of items 61 to 90 days past due",
        "money",
        0,
        inf,
        0,
        "overdue",
        "{value} is 61 to 90 days past due",
        "逾期 61-90 天余额 {value}",
    ),
    (
        "overdue_over_90_amount",
        "Balance of items more than 90 days past due",
        "money",
        0,
        inf,
        0,
        "overdue",
        "{value} is more than 90 days past due",
        "逾期超过 90 天余额 {value}",
    ),
    (
        "overdue_share",
        "Overdue balance over open balance",
        "share",
        0,
        1,
        1,
        "overdue",
        "{value} of the open balance is past due",
        "未清余额中 {value} 已逾期",
        "nothing_open",
    ),
    (
        "dpd_days",
        "Days past due of the oldest open item",
        "days",
        0,
        inf,
        1,
        "overdue",
        "The oldest open item is {value} past due",
        "最早未清发票已逾期 {value}",
    ),
    (
        "dpd_days_mean",
        "Days past due of open items, weighted by balance, not yet due = 0",
        "days",
        0,
        inf,
        1,
        "overdue",
        "Open items are {value} past due on average",
        "未清发票平均逾期 {value}",
        "nothing_open",
    ),
    (
        "disputed_share",
        "Balance under an unresolved dispute over open balance",
        "share",
        0,
        1,
        1,
        "disputes",
        "{value} of the open balance is disputed",
        "未清余额中 {value} 有争议",
        "nothing_open",
    ),
    (
        "largest_open_share",
        "Largest open item over open balance",
        "share",
        0,
        1,
        0,
        "concentration",
        "One item makes up {value} of the open balance",
        "单张发票占未清余额 {value}",
        "nothing_open",
    ),
    (
        "utilisation",
        "Open balance over the credit limit",
        "ratio",
        0,
        inf,
        1,
        "utilisation",
        "The credit limit is used {value} times",
        "信用额度使用倍数 {value}",
        "no_limit",
    ),
    (
        "open_to_sales_90d",
        "Open balance over the amount issued in (as_of-90, as_of]",
        "ratio",
        0,
        inf,
        1,
        "utilisation",
        "The open balance is {value} times the sales of 90 days",
        "未清余额为 90 天销售额的 {value} 倍",
        "no_sales",
        90,
    ),
    (
        "dbt_days_trend",
        "dbt_days_mean_90d less dbt_days_mean_365d",
        "days",
        -inf,
        inf,
        0,
        "trend",
        "Payments of 90 days moved by {value} against the year's average",
        "近 90 天付款较全年平均变动 {value}",
        "no_payment",
        90,
    ),
    (
        "sales_trend",
        "Amount issued in 90 days, per year, over that of 365 days",
        "ratio",
        0,
        inf,
        0,
        "trend",
        "Purchases run at {value} times the year's pace",
        "采购节奏为全年平均的 {value} 倍",
        "no_sales",
    ),
    (
        "days_since_last_payment",
        "Days since the last cash received",
        "days",
        0,
        inf,
        1,
        "recency",
        "The last payment came {value} ago",
        "距上次付款 {value}",
        "no_payment_yet",
    ),
    (
        "days_since_last_invoice",
        "Days since the last item issued",
        "days",
        0,
        inf,
        0,
        "recency",
        "The last invoice was issued {value} ago",
        "距上次开票 {value}",
        "no_invoice_yet",
    ),
    (
        "days_since_first_invoice",
        "Days since the first item issued",
        "days",
        0,
        inf,
        0,
        "tenure",
        "The first invoice was issued {value} ago",
        "距首次开票 {value}",
        "no_invoice_yet",
    ),
    (
        "tenure_days",
        "Days since the customer was registered",
        "days",
        0,
        inf,
        0,
        "tenure",
        "The customer has been known for {value}",
        "客户建档 {value}",
    ),
    (
        "broken_promises_365d",
        "Promises past their day, in (as_of-365, as_of], with less paid than promised",
        "count",
        0,
        inf,
        1,
        "promises",
        "{value} promises to pay were broken in a year",
        "一年内 {value} 次未履行付款承诺",
    ),
    (
        "disputes_365d",
        "Disputes opened in (as_of-365, as_of]",
        "count",
        0,
        inf,
        0,
        "disputes",
        "{value} disputes were opened in a year",
        "一年内提出 {value} 次争议",
    ),
    (
        "partial_payment_share_365d",
        "Share of payments in (as_of-365, as_of] that left a balance",
        "share",
        0,
        1,
        0,
        "payment_size",
        "{value} of the payments of a year were partial",
        "一年内 {value} 的付款为部分付款",
        "no_payment",
    ),
    (
        "payment_size_mean_365d",
        "Mean payment over its item's amount in (as_of-365, as_of]",
        "share",
        0,
        inf,
        0,
        "payment_size",
        "A payment covers {value} of its invoice on average",
        "每次付款平均覆盖发票的 {value}",
        "no_payment",
    ),
    (
        "credit_note_share_365d",
        "Credit notes over the amount issued, both in (as_of-365, as_of]",
        "share",
        0,
        inf,
        0,
        "disputes",
        "{value} of a year's sales was credited",
        "一年销售额中 {value} 被冲减",
        "no_sales",
    ),
    (
        "terms_days_mean_365d",
        "Days from issue to due of items issued in (as_of-365, as_of], weighted by amount",
        "days",
        0,
        inf,
        0,
        "terms",
        "Agreed terms are {value}",
        "约定账期 {value}",
        "no_sales",
    ),
    (
        "written_off_amount_365d",
        "Balance written off in (as_of-365, as_of]",
        "money",
        0,
        inf,
        1,
        "losses",
        "{value} was written off in a year",
        "一年内核销 {value}",
    ),
    (
        "equity_ratio",
        "Equity over total assets of the last statement known",
        "ratio",
        -inf,
        inf,
        -1,
        "financials",
        "The equity ratio is {value}",
        "权益比率 {value}",
        "no_statement",
    ),
    (
        "current_ratio",
        "Current assets over current liabilities of the last statement known",
        "ratio",
        0,
        inf,
        -1,
        "financials",
        "The current ratio is {value}",
        "流动比率 {value}",
        "no_statement",
    ),
    (
        "net_margin",
        "Net income over turnover of the last statement known",
        "ratio",
        -inf,
        inf,
        -1,
        "financials",
        "The net margin is {value}",
        "净利率 {value}",
        "no_statement",
    ),
]

CATALOGUE: tuple[Feature, ...] = (
    *_windowed(),
    *(Feature(*entry) for entry in _AT_AS_OF),
)
NAMES: tuple[str, ...] = tuple(feature.name for feature in CATALOGUE)
# What a customer can change by an act today: paying open items, settling disputes.
CHANGEABLE: tuple[str, ...] = (
    "open_amount",
    "open_count",
    "overdue_amount",
    "overdue_1_30_amount",
    "overdue_31_60_amount",
    "overdue_61_90_amount",
    "overdue_over_90_amount",
    "overdue_share",
    "dpd_days",
    "dpd_days_mean",
    "disputed_share",
    "utilisation",
    "open_to_sales_90d",
)
_BY_NAME = {feature.name: feature for feature in CATALOGUE}


def by_name(name: str) -> Feature:
    """Return the entry of a feature."""
    return _BY_NAME[name]


def fingerprint() -> str:
    """SHA-256 of what the features mean: a model knows by it whether they still mean the same.

    Texts for people are not in it; a better wording does not invalidate a model.

    Examples
    --------
    >>> len(fingerprint())
    64
    """
    text = json.dumps(
        [[f.name, f.definition, f.unit, f.direction] for f in CATALOGUE],
        ensure_ascii=False,
    )
    return hashlib.sha256(text.encode()).hexdigest()
