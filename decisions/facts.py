"""What a decision is made from: what was known of the customer, and the score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from typing import Any

import numpy as np
import orjson

from obligor.arrays import Floats
from obligor.data.account import Rates, unpacked
from obligor.data.asof import KnownAccount
from obligor.data.bureau import BureauReport, bureau_facts, report_of
from obligor.data.open_items import settled_promises
from obligor.decisions.ageing import ageing_of
from obligor.decisions.batch import Question
from obligor.decisions.bureau_reports import in_reporting_currency, lowest_limit
from obligor.decisions.group_exposure import GroupExposure, with_exposures
from obligor.decisions.questions import DecisionRequest, OrderBody
from obligor.features.catalogue import NAMES
from obligor.policy.credit.credit_file import NOTHING_ON_FILE, CreditFile
from obligor.policy.credit.decide import Decision
from obligor.policy.credit.facts import Facts, RequestedCredit
from obligor.policy.credit.orders import Order
from obligor.policy.credit.promise_ladder import Promise
from obligor.policy.rulebooks.rulebook import Rulebook


@dataclass(frozen=True)
class KnownQuestion:
    """A question with what was known of its customer.

    Attributes
    ----------
    question : Question
        The question as it was asked.
    account : KnownAccount
        The customer's account as it was known on the as-of date.
    source : {"store", "request"}
        Whether the account was loaded from the ledger or sent with the request.
    observed_until : date, optional
        The last day the ledger covers; None for a ledger sent with the request.
    reports : tuple of BureauReport
        What bureaus and registers had said by the as-of date.
    exposures : tuple of GroupExposure
        What the other members of the customer's groups owed.
    """

    question: Question
    account: KnownAccount
    source: str
    observed_until: date | None
    reports: tuple[BureauReport, ...] = ()
    exposures: tuple[GroupExposure, ...] = ()

    @property
    def request(self) -> DecisionRequest:
        """The body of the request."""
        return self.question.request

    @property
    def currency(self) -> str:
        """The reporting currency."""
        return self.account.account.currency

    def reporting(self, amount: Decimal, currency: str) -> Decimal:
        """Return an amount in the reporting currency, at the last rate known."""
        return in_reporting_currency(self.account, amount, currency)

    def credit_file(self) -> CreditFile:
        """Return what is on file, with what the others of the groups owe."""
        body = self.request.file
        credit_file = NOTHING_ON_FILE if body is None else body.credit_file()
        return with_exposures(credit_file, self.request.customer_id, self.exposures)

    def order(self, body: OrderBody) -> Order:
        """Return an order in the reporting currency."""
        return Order(
            amount=self.reporting(body.amount, body.currency),
            deliver_on=body.deliver_on or self.account.as_of,
            is_prepaid=body.is_prepaid,
        )


@dataclass(frozen=True)
class QuestionFeatures:
    """A question with the customer's features, in catalogue order."""

    known_question: KnownQuestion
    values: Floats

    @property
    def question(self) -> Question:
        """The question as it was asked."""
        return self.known_question.question


@dataclass(frozen=True)
class ScoredRow:
    """Features, PD and exact contributions of a row, in the order of the model.

    Attributes
    ----------
    values : list of float
        The features; NaN if not known.
    pd_12m, pd_3m, pd_6m : float
        Probability of default within so many months.
    contributions : list of float
        SHAP contribution of each feature to the margin, log-odds.
    margin : float
        The model's raw output, log-odds.
    interval_12m : tuple of float
        95% interval of `pd_12m`, low and high.
    """

    values: list[float]
    pd_12m: float
    pd_3m: float
    pd_6m: float
    contributions: list[float]
    margin: float
    interval_12m: tuple[float, float]


@dataclass(frozen=True)
class ScoredQuestion:
    """A question with its score."""

    known_question: KnownQuestion
    scored: ScoredRow

    @property
    def question(self) -> Question:
        """The question as it was asked."""
        return self.known_question.question

    def facts(self) -> Facts:
        """Return what the rules decide on."""
        account = self.known_question.account.account
        body = self.known_question.request.request
        request = None
        if body is not None:
            amount = self.known_question.reporting(body.amount, body.currency)
            request = RequestedCredit(amount, body.terms_days)
        bureau = bureau_facts(self.known_question.reports)
        equity, turnover = account.last_statement()
        return Facts(
            pd_12m=self.scored.pd_12m,
            currency=account.currency,
            # An earlier edition of the catalogue has the first names of a later one.
            features=dict(zip(NAMES, self.scored.values, strict=False)),
            as_of=self.known_question.account.as_of,
            request=request,
            credit_file=self.known_question.credit_file(),
            equity=equity,
            turnover=turnover,
            promises=promises_of(self.known_question.account),
            customer_id=self.known_question.request.customer_id,
            bureau_score=bureau.score,
            bureau_insolvency=bureau.is_insolvent,
            bureau_recommended_limit=lowest_limit(self.known_question.account, bureau),
            bureau_sources=bureau.sources,
            ageing=ageing_of(self.known_question.account),
            is_incomplete=account.is_incomplete,
        )


@dataclass(frozen=True)
class DecidedQuestion:
    """A question with its score and its decision."""

    known_question: KnownQuestion
    scored: ScoredRow
    facts: Facts
    decision: Decision
    rulebook: Rulebook

    @property
    def question(self) -> Question:
        """The question as it was asked."""
        return self.known_question.question


def inputs_of(known_question: KnownQuestion) -> bytes:
    """Return what was known of the customer as bytes, to be recorded with the decision.

    `known_of` reads them: the decision can be computed again from them alone.
    """
    account = known_question.account.account
    contents: dict[str, object] = {
        "source": known_question.source,
        "observed_until": known_question.observed_until,
        "rates": {
            code: [column.tolist() for column in rates]
            for code, rates in account.rates.items()
        },
    }
    # Left out if there are none, as in what earlier versions recorded.
    if known_question.reports:
        contents["bureau"] = [list(report) for report in known_question.reports]
    if known_question.exposures:
        contents["groups"] = [
            _recorded_exposure(exposure) for exposure in known_question.exposures
        ]
    head = orjson.dumps(contents)
    return len(head).to_bytes(4, "big") + head + account.packed()


def known_of(request: DecisionRequest, as_of: date, inputs: bytes) -> KnownQuestion:
    """Return what was known when a decision was made.

    Parameters
    ----------
    request : DecisionRequest
        The recorded question.
    as_of : date
        The as-of date of the recorded answer.
    inputs : bytes
        What `inputs_of` recorded.

    Returns
    -------
    KnownQuestion
        The same as when the decision was made.
    """
    size = int.from_bytes(inputs[:4], "big")
    head = orjson.loads(inputs[4 : 4 + size])
    account = unpacked(inputs[4 + size :])
    rates = {
        code: Rates(*(np.array(column, dtype=np.float64) for column in columns))
        for code, columns in head["rates"].items()
    }
    until = head["observed_until"]
    return KnownQuestion(
        question=Question(request),
        account=KnownAccount(replace(account, rates=rates), as_of),
        source=head["source"],
        observed_until=date.fromisoformat(until) if until else None,
        reports=tuple([report_of(report) for report in head.get("bureau", ())]),
        exposures=tuple([_exposure_of(values) for values in head.get("groups", ())]),
    )


def _recorded_exposure(exposure: GroupExposure) -> list[object]:
    """Return an exposure as JSON; the limit is left out if it is on file, as before."""
    values = [exposure.name, str(exposure.amount), *exposure[2:-1]]
    if exposure.limit is not None:
        values.append(str(exposure.limit))
    return values


def _exposure_of(values: Sequence[Any]) -> GroupExposure:
    """Return the exposure that `_recorded_exposure` wrote."""
    name, amount, *counts = values
    exposure = GroupExposure(name, Decimal(amount), *counts)
    if exposure.limit is None:
        return exposure
    return exposure._replace(limit=Decimal(exposure.limit))


def promises_of(known_account: KnownAccount) -> tuple[Promise, ...]:
    """Return the promises that were kept or broken by the as-of date."""
    return tuple([Promise(*promise) for promise in settled_promises(known_account)])
