"""What a decision is made from: the question, what was known, and its score."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from typing import Any

import numpy as np
import orjson

from obligor.data.account import Rates, unpacked
from obligor.data.asof import KnownAccount
from obligor.data.days import day_number
from obligor.data.money import round_money
from obligor.data.open_items import settled_promises
from obligor.data.rates import rates_on
from obligor.decisions.questions import DecisionRequest, OrderBody
from obligor.features.catalogue import NAMES
from obligor.policy.credit.credit_file import NOTHING_ON_FILE
from obligor.policy.credit.decide import Decision
from obligor.policy.credit.facts import Facts, RequestedCredit
from obligor.policy.credit.orders import Order
from obligor.policy.credit.promise_ladder import Promise
from obligor.policy.rulebooks.rulebook import Rulebook


@dataclass(frozen=True)
class KnownQuestion:
    """A question with what was known of its customer."""

    request: DecisionRequest
    account: KnownAccount
    source: str
    observed_until: date | None

    @property
    def currency(self) -> str:
        """The reporting currency."""
        return self.account.account.currency

    def reporting(self, amount: Decimal, currency: str) -> Decimal:
        """Return an amount in the reporting currency, at the last rate known."""
        rate = rates_on(
            self.account.account, currency, np.array([day_number(self.account.as_of)])
        )[0]
        return round_money(amount * Decimal(str(float(rate))), self.currency)

    def order(self, asked: OrderBody) -> Order:
        """Return an order in the reporting currency."""
        deliver_on = asked.deliver_on or self.account.as_of
        return Order(
            self.reporting(asked.amount, asked.currency), deliver_on, asked.is_prepaid
        )


@dataclass(frozen=True)
class ScoredRow:
    """Features, PD and exact contributions of a row, in catalogue order."""

    values: list[float]
    pd_12m: float
    pd_3m: float
    pd_6m: float
    contributions: list[float]
    margin: float
    interval_12m: tuple[float, float]

    def pds(self) -> dict[str, Any]:
        """Return what an answer says of the PD: over 12 months with its 95% interval, and earlier."""
        return {
            "pd_12m": self.pd_12m,
            "pd_12m_interval": list(self.interval_12m),
            "pd_3m": self.pd_3m,
            "pd_6m": self.pd_6m,
        }

    def facts(self, known: KnownQuestion) -> Facts:
        """Return what the rules are asked about."""
        asked, account, request = known.request.request, known.account.account, None
        if asked is not None:
            request = RequestedCredit(
                known.reporting(asked.amount, asked.currency), asked.terms_days
            )
        features, file = dict(zip(NAMES, self.values, strict=True)), known.request.file
        return Facts(
            self.pd_12m,
            known.currency,
            features,
            known.account.as_of,
            request,
            file.credit_file() if file else NOTHING_ON_FILE,
            *account.last_statement(),
            promises=promises_of(known.account),
            customer_id=known.request.customer_id,
        )


@dataclass(frozen=True)
class DecidedQuestion:
    """A question with everything its answer says."""

    known: KnownQuestion
    key: str | None
    scored: ScoredRow
    facts: Facts
    decision: Decision
    rulebook: Rulebook


def inputs_of(known: KnownQuestion) -> bytes:
    """Return what was known of the customer, as `known_of` reads it: a decision can be made again from this alone."""
    account = known.account.account
    head = orjson.dumps(
        {
            "source": known.source,
            "observed_until": known.observed_until,
            "rates": {
                code: [column.tolist() for column in rates]
                for code, rates in account.rates.items()
            },
        }
    )
    return len(head).to_bytes(4, "big") + head + account.packed()


def known_of(request: DecisionRequest, as_of: date, inputs: bytes) -> KnownQuestion:
    """Return what was known when a decision was made, from what `inputs_of` kept."""
    size = int.from_bytes(inputs[:4], "big")
    head, account = orjson.loads(inputs[4 : 4 + size]), unpacked(inputs[4 + size :])
    rates = {
        code: Rates(*(np.array(column, dtype=np.float64) for column in found))
        for code, found in head["rates"].items()
    }
    until = head["observed_until"] and date.fromisoformat(head["observed_until"])
    return KnownQuestion(
        request,
        KnownAccount(replace(account, rates=rates), as_of),
        head["source"],
        until,
    )


def promises_of(known: KnownAccount) -> tuple[Promise, ...]:
    """Return the promises settled by the as-of date."""
    return tuple(Promise(*one) for one in settled_promises(known))
