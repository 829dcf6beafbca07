"""The feature catalogue: what each feature means, its unit, and its reason texts.

`CATALOGUE` is the order of every feature vector in the project; `features.kernel`
computes it. Names, definitions, units and directions are part of every bundle's hash.
An edition never changes: a model trained on an earlier one is served as it was.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from math import inf, isnan
from typing import NamedTuple

from obligor.errors import ModelError
from obligor.features.kernel import WINDOWS

# Why a feature has no value on a date, in English and in Chinese.
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
    "no_score": ("No bureau score is known", "没有已知的征信评分"),
}


@dataclass(frozen=True)
class Feature:
    """The catalogue entry of one feature.

    Attributes
    ----------
    name : str
        In snake case, with its window or unit.
    definition : str
        What is counted; ``tests/oracle`` has the same definition in SQL.
    unit : str
        ``days``, ``share``, ``count``, ``ratio`` or ``money`` (the reporting currency).
    low, high : float
        The range of its values.
    direction : int
        +1 if a higher value can only raise the PD, -1 if it can only lower it, 0 for
        neither.
    family : str
        Features about the same thing; a reason is given once per family.
    reason_en, reason_zh : str
        The reason text; ``{value}`` is replaced by the value with its unit.
    unknown : str
        Why a value can be missing: a key of `UNKNOWN`, whose text is then the reason.
    window : int
        The days of the window named in that text.
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

    def reason(
        self,
        value: float,
        language: str = "en",
        currency: str = "",
    ) -> str:
        """Return the reason text with the value, or why there is no value.

        Parameters
        ----------
        value : float
            The value of the feature, NaN if it has none.
        language : {"en", "zh"}
            The language of the text.
        currency : str
            The reporting currency, for amounts.

        Examples
        --------
        >>> by_name("dpd_days").reason(41.0)
        'A material amount has been past due for 41 days'
        >>> by_name("share_late_30d").reason(float("nan"))
        'No payment came in the last 30 days'
        >>> by_name("overdue_amount").reason(1250.0, currency="EUR")
        '1,250 EUR is past due'
        """
        is_english = language == "en"
        if isnan(value):
            english, chinese = UNKNOWN[self.unknown]
            text = english if is_english else chinese
            return text.format(n=self.window)
        text = self.reason_en if is_english else self.reason_zh
        return text.format(value=_formatted(value, self.unit, language, currency))


def _formatted(
    value: float,
    unit: str,
    language: str,
    currency: str,
) -> str:
    """Return a value with its unit."""
    if unit == "money" and currency:
        return f"{value:,.0f} {currency}"
    if unit == "share":
        return f"{value:.0%}"
    if unit == "days":
        return f"{value:.0f} days" if language == "en" else f"{value:.0f} 天"
    if unit in ("money", "count"):
        return f"{value:,.0f}"
    return f"{value:.2f}"


class _Measure(NamedTuple):
    """What is measured over each of the windows; ``{n}`` is the days of the window."""

    name: str
    definition: str
    unit: str
    high: float
    direction: int
    family: str
    reason_en: str
    reason_zh: str


_MEASURES = (
    _Measure(
        name="invoice_count",
        definition="Items issued",
        unit="count",
        high=inf,
        direction=0,
        family="activity",
        reason_en="{value} invoices in the last {n} days",
        reason_zh="最近 {n} 天内开票 {value} 张",
    ),
    _Measure(
        name="invoiced_amount",
        definition="Amount issued",
        unit="money",
        high=inf,
        direction=0,
        family="activity",
        reason_en="{value} invoiced in the last {n} days",
        reason_zh="最近 {n} 天内开票金额 {value}",
    ),
    _Measure(
        name="paid_amount",
        definition="Cash received",
        unit="money",
        high=inf,
        direction=0,
        family="activity",
        reason_en="{value} paid in the last {n} days",
        reason_zh="最近 {n} 天内付款 {value}",
    ),
    _Measure(
        name="dbt_days_mean",
        definition="Days beyond terms of cash received, weighted by amount, early = 0,",
        unit="days",
        high=inf,
        direction=1,
        family="lateness",
        reason_en="Payments of the last {n} days came {value} beyond terms on average",
        reason_zh="最近 {n} 天内付款平均逾期 {value}",
    ),
    _Measure(
        name="dbt_days_max",
        definition="Most days beyond terms of a payment received",
        unit="days",
        high=inf,
        direction=1,
        family="lateness",
        reason_en="The latest payment of the last {n} days came {value} beyond terms",
        reason_zh="最近 {n} 天内最长付款逾期 {value}",
    ),
    _Measure(
        name="share_late",
        definition="Share of cash received after its due date",
        unit="share",
        high=1,
        direction=1,
        family="lateness",
        reason_en="{value} of the money received in the last {n} days came late",
        reason_zh="最近 {n} 天内 {value} 的回款逾期到账",
    ),
)


def _over_window(measure: _Measure, n: int) -> Feature:
    """Return the feature that measures over a window of n days."""
    return Feature(
        name=f"{measure.name}_{n}d",
        definition=f"{measure.definition} in (as_of-{n}, as_of]",
        unit=measure.unit,
        low=0.0,
        high=measure.high,
        direction=measure.direction,
        family=measure.family,
        reason_en=measure.reason_en.replace("{n}", str(n)),
        reason_zh=measure.reason_zh.replace("{n}", str(n)),
        unknown="no_payment" if measure.family == "lateness" else "never",
        window=n,
    )


_WINDOWED = [_over_window(measure, n) for measure in _MEASURES for n in WINDOWS]

_ON_THE_DATE = (
    Feature(
        name="open_amount",
        definition="Balance of all open items",
        unit="money",
        low=0,
        high=inf,
        direction=0,
        family="exposure",
        reason_en="{value} is open",
        reason_zh="未清余额 {value}",
    ),
    Feature(
        name="open_count",
        definition="Open items",
        unit="count",
        low=0,
        high=inf,
        direction=0,
        family="exposure",
        reason_en="{value} items are open",
        reason_zh="未清发票 {value} 张",
    ),
    Feature(
        name="overdue_amount",
        definition="Balance of items past due",
        unit="money",
        low=0,
        high=inf,
        direction=0,
        family="overdue",
        reason_en="{value} is past due",
        reason_zh="逾期余额 {value}",
    ),
    Feature(
        name="overdue_1_30_amount",
        definition="Balance of items 1 to 30 days past due",
        unit="money",
        low=0,
        high=inf,
        direction=0,
        family="overdue",
        reason_en="{value} is 1 to 30 days past due",
        reason_zh="逾期 1-30 天余额 {value}",
    ),
    Feature(
        name="overdue_31_60_amount",
        definition="Balance of items 31 to 60 days past due",
        unit="money",
        low=0,
        high=inf,
        direction=0,
        family="overdue",
        reason_en="{value} is 31 to 60 days past due",
        reason_zh="逾期 31-60 天余额 {value}",
    ),
    Feature(
        name="overdue_61_90_amount",
        definition="Balance of items 61 to 90 days past due",
        unit="money",
        low=0,
        high=inf,
        direction=0,
        family="overdue",
        reason_en="{value} is 61 to 90 days past due",
        reason_zh="逾期 61-90 天余额 {value}",
    ),
    Feature(
        name="overdue_over_90_amount",
        definition="Balance of items more than 90 days past due",
        unit="money",
        low=0,
        high=inf,
        direction=0,
        family="overdue",
        reason_en="{value} is more than 90 days past due",
        reason_zh="逾期超过 90 天余额 {value}",
    ),
    Feature(
        name="overdue_share",
        definition="Overdue balance over open balance",
        unit="share",
        low=0,
        high=1,
        direction=1,
        family="overdue",
        reason_en="{value} of the open balance is past due",
        reason_zh="未清余额中 {value} 已逾期",
        unknown="nothing_open",
    ),
    Feature(
        name="dpd_days",
        definition="Days past due of the oldest open item",
        unit="days",
        low=0,
        high=inf,
        direction=1,
        family="overdue",
        reason_en="The oldest open item is {value} past due",
        reason_zh="最早未清发票已逾期 {value}",
    ),
    Feature(
        name="dpd_days_mean",
        definition="Days past due of open items, weighted by balance, not yet due = 0",
        unit="days",
        low=0,
        high=inf,
        direction=1,
        family="overdue",
        reason_en="Open items are {value} past due on average",
        reason_zh="未清发票平均逾期 {value}",
        unknown="nothing_open",
    ),
    Feature(
        name="disputed_share",
        definition="Balance under an unresolved dispute over open balance",
        unit="share",
        low=0,
        high=1,
        direction=1,
        family="disputes",
        reason_en="{value} of the open balance is disputed",
        reason_zh="未清余额中 {value} 有争议",
        unknown="nothing_open",
    ),
    Feature(
        name="largest_open_share",
        definition="Largest open item over open balance",
        unit="share",
        low=0,
        high=1,
        direction=0,
        family="concentration",
        reason_en="One item makes up {value} of the open balance",
        reason_zh="单张发票占未清余额 {value}",
        unknown="nothing_open",
    ),
    Feature(
        name="utilisation",
        definition="Open balance over the credit limit",
        unit="ratio",
        low=0,
        high=inf,
        direction=1,
        family="utilisation",
        reason_en="The credit limit is used {value} times",
        reason_zh="信用额度使用倍数 {value}",
        unknown="no_limit",
    ),
    Feature(
        name="open_to_sales_90d",
        definition="Open balance over the amount issued in (as_of-90, as_of]",
        unit="ratio",
        low=0,
        high=inf,
        direction=1,
        family="utilisation",
        reason_en="The open balance is {value} times the sales of 90 days",
        reason_zh="未清余额为 90 天销售额的 {value} 倍",
        unknown="no_sales",
        window=90,
    ),
    Feature(
        name="dbt_days_trend",
        definition="dbt_days_mean_90d less dbt_days_mean_365d",
        unit="days",
        low=-inf,
        high=inf,
        direction=0,
        family="trend",
        reason_en="Payments of 90 days moved by {value} against the year's average",
        reason_zh="近 90 天付款较全年平均变动 {value}",
        unknown="no_payment",
        window=90,
    ),
    Feature(
        name="sales_trend",
        definition="Amount issued in 90 days, per year, over that of 365 days",
        unit="ratio",
        low=0,
        high=inf,
        direction=0,
        family="trend",
        reason_en="Purchases run at {value} times the year's pace",
        reason_zh="采购节奏为全年平均的 {value} 倍",
        unknown="no_sales",
    ),
    Feature(
        name="days_since_last_payment",
        definition="Days since the last cash received",
        unit="days",
        low=0,
        high=inf,
        direction=1,
        family="recency",
        reason_en="The last payment came {value} ago",
        reason_zh="距上次付款 {value}",
        unknown="no_payment_yet",
    ),
    Feature(
        name="days_since_last_invoice",
        definition="Days since the last item issued",
        unit="days",
        low=0,
        high=inf,
        direction=0,
        family="recency",
        reason_en="The last invoice was issued {value} ago",
        reason_zh="距上次开票 {value}",
        unknown="no_invoice_yet",
    ),
    Feature(
        name="days_since_first_invoice",
        definition="Days since the first item issued",
        unit="days",
        low=0,
        high=inf,
        direction=0,
        family="tenure",
        reason_en="The first invoice was issued {value} ago",
        reason_zh="距首次开票 {value}",
        unknown="no_invoice_yet",
    ),
    Feature(
        name="tenure_days",
        definition="Days since the customer was registered",
        unit="days",
        low=0,
        high=inf,
        direction=0,
        family="tenure",
        reason_en="The customer has been known for {value}",
        reason_zh="客户建档 {value}",
    ),
    Feature(
        name="broken_promises_365d",
        definition=(
            "Promises past their day,"
            " in (as_of-365, as_of], with less paid than promised"
        ),
        unit="count",
        low=0,
        high=inf,
        direction=1,
        family="promises",
        reason_en="{value} promises to pay were broken in a year",
        reason_zh="一年内 {value} 次未履行付款承诺",
    ),
    Feature(
        name="disputes_365d",
        definition="Disputes opened in (as_of-365, as_of]",
        unit="count",
        low=0,
        high=inf,
        direction=0,
        family="disputes",
        reason_en="{value} disputes were opened in a year",
        reason_zh="一年内提出 {value} 次争议",
    ),
    Feature(
        name="partial_payment_share_365d",
        definition="Share of payments in (as_of-365, as_of] that left a balance",
        unit="share",
        low=0,
        high=1,
        direction=0,
        family="payment_size",
        reason_en="{value} of the payments of a year were partial",
        reason_zh="一年内 {value} 的付款为部分付款",
        unknown="no_payment",
    ),
    Feature(
        name="payment_size_mean_365d",
        definition="Mean payment over its item's amount in (as_of-365, as_of]",
        unit="share",
        low=0,
        high=inf,
        direction=0,
        family="payment_size",
        reason_en="A payment covers {value} of its invoice on average",
        reason_zh="每次付款平均覆盖发票的 {value}",
        unknown="no_payment",
    ),
    Feature(
        name="credit_note_share_365d",
        definition="Credit notes over the amount issued, both in (as_of-365, as_of]",
        unit="share",
        low=0,
        high=inf,
        direction=0,
        family="disputes",
        reason_en="{value} of a year's sales was credited",
        reason_zh="一年销售额中 {value} 被冲减",
        unknown="no_sales",
    ),
    Feature(
        name="terms_days_mean_365d",
        definition=(
            "Days from issue to due of items issued "
            "in (as_of-365, as_of], weighted by amount"
        ),
        unit="days",
        low=0,
        high=inf,
        direction=0,
        family="terms",
        reason_en="Agreed terms are {value}",
        reason_zh="约定账期 {value}",
        unknown="no_sales",
    ),
    Feature(
        name="written_off_amount_365d",
        definition="Balance written off in (as_of-365, as_of]",
        unit="money",
        low=0,
        high=inf,
        direction=1,
        family="losses",
        reason_en="{value} was written off in a year",
        reason_zh="一年内核销 {value}",
    ),
    Feature(
        name="equity_ratio",
        definition="Equity over total assets of the last statement known",
        unit="ratio",
        low=-inf,
        high=inf,
        direction=-1,
        family="financials",
        reason_en="The equity ratio is {value}",
        reason_zh="权益比率 {value}",
        unknown="no_statement",
    ),
    Feature(
        name="current_ratio",
        definition=(
            "Current assets over current liabilities of the last statement known"
        ),
        unit="ratio",
        low=0,
        high=inf,
        direction=-1,
        family="financials",
        reason_en="The current ratio is {value}",
        reason_zh="流动比率 {value}",
        unknown="no_statement",
    ),
    Feature(
        name="net_margin",
        definition="Net income over turnover of the last statement known",
        unit="ratio",
        low=-inf,
        high=inf,
        direction=-1,
        family="financials",
        reason_en="The net margin is {value}",
        reason_zh="净利率 {value}",
        unknown="no_statement",
    ),
)

# What came with the second edition.
_SINCE_THE_SECOND = (
    Feature(
        name="unapplied_amount",
        definition="Money of the customer that belongs to no item",
        unit="money",
        low=0,
        high=inf,
        direction=0,
        family="unapplied",
        reason_en="{value} of the customer's money belongs to no item",
        reason_zh="客户有 {value} 款项未核销",
    ),
    Feature(
        name="returned_payments_90d",
        definition="Payments that came back in (as_of-90, as_of]",
        unit="count",
        low=0,
        high=inf,
        direction=1,
        family="returns",
        reason_en="{value} payments came back in the last 90 days",
        reason_zh="最近 90 天内 {value} 笔付款被退回",
        window=90,
    ),
    Feature(
        name="returned_payment_share_365d",
        definition=(
            "Payments that came back over these and the payments that stand,"
            " both in (as_of-365, as_of]"
        ),
        unit="share",
        low=0,
        high=1,
        direction=1,
        family="returns",
        reason_en="{value} of the payments of a year came back",
        reason_zh="一年内 {value} 的付款被退回",
        unknown="no_payment",
    ),
    Feature(
        name="bureau_score",
        definition=(
            "Lowest of the last scores of the sources,"
            " each as a share of its scale from worst to best"
        ),
        unit="share",
        low=0,
        high=1,
        direction=-1,
        family="bureaus",
        reason_en="The lowest bureau score is at {value} of its scale",
        reason_zh="最低征信评分位于其区间的 {value}",
        unknown="no_score",
    ),
    Feature(
        name="bureau_score_mean",
        definition=(
            "Mean of the last scores of the sources,"
            " each as a share of its scale from worst to best"
        ),
        unit="share",
        low=0,
        high=1,
        direction=-1,
        family="bureaus",
        reason_en="The bureau scores are at {value} of their scales on average",
        reason_zh="征信评分平均位于其区间的 {value}",
        unknown="no_score",
    ),
)
# The second edition counts the days of a material amount, as the rules do.
_MATERIAL_DPD_DAYS = Feature(
    name="dpd_days",
    definition=(
        "Days for which a material amount has been past due: the longest time for"
        " which what is past due so long or longer, less the unapplied money, exceeds"
        " both the amount and the share of what is owed that the model was trained with"
    ),
    unit="days",
    low=0,
    high=inf,
    direction=1,
    family="overdue",
    reason_en="A material amount has been past due for {value}",
    reason_zh="达到重要性标准的金额已逾期 {value}",
)


@dataclass(frozen=True)
class Edition:
    """The features of a model, in their order.

    Attributes
    ----------
    number : int
        1 for the first.
    features : tuple of Feature
        A later edition has those of the earlier one first, some with another meaning.
    """

    number: int
    features: tuple[Feature, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the features."""
        return tuple([feature.name for feature in self.features])

    def fingerprint(self) -> str:
        """Return the SHA-256 of what the features mean.

        A bundle has the fingerprint of its edition, and is refused if no edition has
        it. Reason texts are not part of it, so better wording does not invalidate a
        model.

        Examples
        --------
        >>> len(EDITIONS[1].fingerprint())
        64
        """
        meanings = [
            [feature.name, feature.definition, feature.unit, feature.direction]
            for feature in self.features
        ]
        text = json.dumps(meanings, ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()


def _second_edition() -> Edition:
    renewed = []
    for feature in (*_WINDOWED, *_ON_THE_DATE):
        is_renewed = feature.name == _MATERIAL_DPD_DAYS.name
        renewed.append(_MATERIAL_DPD_DAYS if is_renewed else feature)
    return Edition(2, (*renewed, *_SINCE_THE_SECOND))


EDITIONS: dict[int, Edition] = {
    1: Edition(1, (*_WINDOWED, *_ON_THE_DATE)),
    2: _second_edition(),
}
# What models are trained on if their configuration does not name an edition.
CURRENT: Edition = EDITIONS[2]
CATALOGUE: tuple[Feature, ...] = CURRENT.features
NAMES: tuple[str, ...] = CURRENT.names
# What a customer can change today, by paying open items or settling disputes.
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
_BY_NAMES = {edition.names: edition for edition in EDITIONS.values()}


def by_name(name: str) -> Feature:
    """Return the entry of a feature in the current edition."""
    return _BY_NAME[name]


def edition_of(names: tuple[str, ...]) -> Edition:
    """Return the edition that has these features.

    Raises
    ------
    ModelError
        If no edition has them in this order.
    """
    edition = _BY_NAMES.get(names)
    if edition is None:
        raise ModelError(
            f"the {len(names)} features are those of no edition of the catalogue",
            where="features",
            expected=f"the features of one of the editions {list(EDITIONS)}",
            do="train again with this version",
        )
    return edition
