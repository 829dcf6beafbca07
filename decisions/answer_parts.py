"""The parts that answers share: PD, explanation, limit, terms, rules.

Each part is described once, by the TypedDict it is built as; the OpenAPI document reads
the same ones. They are not pydantic models: dumping a decision by pydantic takes 39 us
and orjson 12, of the 500 that a decision in a batch takes; and pydantic writes times
with ``Z``, where recorded answers have ``+00:00``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Annotated, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from obligor.data.account import FIRST_ACCOUNTING, Account
from obligor.data.bureau import bureau_facts
from obligor.data.money import round_money
from obligor.decisions.champion import Champion
from obligor.decisions.facts import DecidedQuestion, ScoredRow
from obligor.decisions.json_values import Money, money, one_of, value_or_none
from obligor.decisions.reasons import ExplainedRow, Reason, principal_reasons
from obligor.policy.credit.limits import Limit
from obligor.policy.credit.position import Position
from obligor.policy.credit.pricing import PriceFloor, discount_per_year
from obligor.policy.credit.terms import Terms as OfferedTerms
from obligor.policy.rulebooks.decision_table import Evaluation
from obligor.policy.rulebooks.rulebook import Rulebook

Outcome = Annotated[str, one_of("approve", "refer", "decline")]
CustomerClass = Annotated[str, one_of("premium", "general", "risk")]


class LimitAnswer(Money):
    """The credit limit, every cap considered, and the cap that binds."""

    binding_cap: str
    next_cap: Annotated[
        str | None,
        Field(description="The cap that would bind without the binding one"),
    ]
    caps: dict[str, str]


class Terms(TypedDict):
    """Payment terms.

    `discount_per_year` is what paying by `discount_days` earns in a year.
    """

    terms_days: int
    is_prepaid: bool
    deposit_share: float
    discount_rate: float
    discount_days: int | None
    discount_per_year: float | None


class PriceFloorAnswer(TypedDict):
    """The lowest price on credit that pays for the credit, and its parts."""

    cash_price: str
    financing: str
    expected_loss: str
    capital_charge: str
    amount: str
    currency: str


class Authority(TypedDict):
    """Who may approve the amount, and how many persons it takes."""

    approver: Annotated[
        str, one_of("system", "credit_analyst", "credit_manager", "director")
    ]
    persons: int


class BaselineAnswer(TypedDict):
    """The population that reasons compare the customer with."""

    population: str
    n: int


class Explanation(TypedDict):
    """Exact SHAP contributions, log-odds.

    Base plus contributions is the margin; the calibration turns the margin into the PD.
    """

    base: float
    contributions: dict[str, float]
    margin: float
    calibration: Mapping[str, object]
    baseline: BaselineAnswer


class ModelAnswer(TypedDict):
    """The model that gave the PD."""

    name: str
    version: str
    sha256: str
    horizon_days: int


class RuleTrace(TypedDict):
    """What one decision table saw, tried, and answered."""

    table: str
    inputs: Mapping[str, object]
    tried: Sequence[str]
    fired: str
    because: str
    because_zh: str
    outputs: Mapping[str, object]


class PolicyAnswer(TypedDict):
    """The rulebook that decided."""

    version: str
    sha256: str


class SourceAnswer(TypedDict):
    """A source of reports, and the day of its last one."""

    source: str
    as_of: date


class BureauAnswer(TypedDict):
    """What bureaus and registers say of the customer, by their last word."""

    insolvency: bool
    score: Annotated[
        float | None,
        Field(description="The lowest, as a share of its scale: 1 is its best end"),
    ]
    recommended_limit: Annotated[
        Money | None, Field(description="The lowest; a cap on the limit")
    ]
    sources: list[SourceAnswer]


class GroupAnswer(TypedDict):
    """What the other members of a group owe, and what of its limit is used."""

    name: str
    exposure_of_others: Money
    room: Annotated[
        Money,
        Field(description="The limit of the group less what the others owe"),
    ]
    in_ledger: Annotated[
        int, Field(description="How many of the others are customers of the ledger")
    ]
    not_in_ledger: Annotated[
        int, Field(description="How many of those that the file names are not")
    ]
    incomplete: Annotated[
        int,
        Field(description="How many of the others have an incomplete ledger"),
    ]


class LedgerNote(TypedDict):
    """What a reader must know of how a row was used."""

    text: str
    text_zh: str


class LedgerAnswer(TypedDict):
    """Where the facts came from; notes, reports and groups if there are any."""

    source: Annotated[str, one_of("store", "request")]
    observed_until: date | None
    notes: NotRequired[list[LedgerNote]]
    bureau: NotRequired[BureauAnswer]
    groups: NotRequired[list[GroupAnswer]]


class PositionAnswer(TypedDict):
    """What the customer owes, and since when a material part of it is past due."""

    open_amount: str | None
    unapplied_amount: Annotated[
        str,
        Field(description="Money of the customer that belongs to no item"),
    ]
    owed: Annotated[
        str,
        Field(description="The open amount less the unapplied money, never below 0"),
    ]
    overdue_amount: Annotated[
        str | None,
        Field(description="What is past due, less the unapplied money"),
    ]
    currency: str
    dpd_days: Annotated[
        int | None,
        Field(description="Days past due of the oldest item, however small"),
    ]
    material_dpd_days: Annotated[
        int | None,
        Field(description="Days for which a material amount has been past due"),
    ]
    is_incomplete: Annotated[
        bool,
        Field(description="Whether the ledger may lack a part of what is owed"),
    ]


class PositionPart(TypedDict, total=False):
    """What the customer owes, shown under rulebooks that say what is material."""

    position: PositionAnswer


class PdAnswer(TypedDict):
    """The probability of default.

    Over 12 months with its 95% interval over resampled customers, and earlier.
    """

    pd_12m: float
    pd_12m_interval: Annotated[
        list[float],
        Field(description="Low and high end of the default rate at such a margin"),
    ]
    pd_3m: float
    pd_6m: float


def explanation(champion: Champion, scored: ScoredRow) -> Explanation:
    """Return the exact explanation of a score."""
    model = champion.model
    baseline = model.reference
    return {
        "base": model.base,
        "contributions": dict(zip(model.features, scored.contributions, strict=True)),
        "margin": scored.margin,
        "calibration": champion.calibration,
        "baseline": {"population": baseline.population, "n": baseline.n},
    }


def model_answer(champion: Champion) -> ModelAnswer:
    """Return which model scored."""
    return {
        "name": champion.name,
        "version": champion.version,
        "sha256": champion.sha256,
        "horizon_days": champion.model.horizon_days,
    }


def policy_answer(rulebook: Rulebook) -> PolicyAnswer:
    """Return which rulebook decided."""
    return {"version": rulebook.version, "sha256": rulebook.sha256}


def pd_answer(scored: ScoredRow) -> PdAnswer:
    """Return the PD over 12, 3 and 6 months."""
    return {
        "pd_12m": scored.pd_12m,
        "pd_12m_interval": list(scored.interval_12m),
        "pd_3m": scored.pd_3m,
        "pd_6m": scored.pd_6m,
    }


def reasons_of(decided: DecidedQuestion, champion: Champion) -> list[Reason]:
    """Return the principal reasons of a decision.

    A reason that rests on the reports of bureaus names them.
    """
    reasons = principal_reasons(
        decided.decision.reasons,
        ExplainedRow(
            champion.model.features,
            decided.scored.values,
            decided.scored.contributions,
        ),
        champion.model.reference,
        decided.known_question.currency,
    )
    sources = decided.facts.bureau_sources
    if sources:
        for reason, rule in zip(reasons, decided.decision.reasons, strict=False):
            if _rests_on_bureaus(rule, decided):
                reason["sources"] = list(sources)
    return reasons


def _rests_on_bureaus(rule: Evaluation, decided: DecidedQuestion) -> bool:
    """Return whether a rule fired by a report, or by the cap of a recommended limit."""
    limit = decided.decision.limit
    is_by_limit = rule.inputs.get("request_fits") is False
    if is_by_limit and limit.binding_cap == "bureau":
        return True
    return decided.rulebook.tables[rule.table].tests(rule.fired, "bureau_")


def ledger_answer(decided: DecidedQuestion) -> LedgerAnswer:
    """Return where the facts of a decision came from."""
    known_question = decided.known_question
    answer: LedgerAnswer = {
        "source": known_question.source,
        "observed_until": known_question.observed_until,
    }
    # Left out if there are none, as in the answers of earlier versions.
    notes = _ledger_notes(known_question.account.account)
    if notes:
        answer["notes"] = notes
    if known_question.reports:
        answer["bureau"] = _bureau_answer(decided)
    if known_question.exposures:
        answer["groups"] = _group_answers(decided)
    return answer


def _ledger_notes(account: Account) -> list[LedgerNote]:
    """Return the note on late billing, if any invoice was billed late."""
    if account.accounting == FIRST_ACCOUNTING:
        return []
    n_late = int((account.items.due < account.items.issued).sum())
    if n_late == 0:
        return []
    noun = "invoice was" if n_late == 1 else "invoices were"
    return [
        {
            "text": f"{n_late} {noun} due before issue; the due dates count",
            "text_zh": f"{n_late} 张发票的到期日早于开票日；以到期日为准",
        }
    ]


def _bureau_answer(decided: DecidedQuestion) -> BureauAnswer:
    facts = decided.facts
    limit = facts.bureau_recommended_limit
    last_days = bureau_facts(decided.known_question.reports).last_days
    return {
        "insolvency": facts.bureau_insolvency,
        "score": value_or_none(facts.bureau_score),
        "recommended_limit": None if limit is None else money(limit, facts.currency),
        "sources": [
            {"source": source, "as_of": as_of} for source, as_of in last_days.items()
        ],
    }


def _group_answers(decided: DecidedQuestion) -> list[GroupAnswer]:
    currency = decided.facts.currency
    limits = {group.name: group.limit for group in decided.facts.credit_file.groups}
    return [
        {
            "name": exposure.name,
            "exposure_of_others": _rounded(exposure.amount, currency),
            "room": _rounded(limits[exposure.name] - exposure.amount, currency),
            "in_ledger": exposure.in_ledger,
            "not_in_ledger": exposure.not_in_ledger,
            "incomplete": exposure.incomplete,
        }
        for exposure in decided.known_question.exposures
    ]


def _rounded(amount: Decimal, currency: str) -> Money:
    return money(round_money(amount, currency), currency)


def position_answer(position: Position) -> PositionAnswer:
    """Return what the customer owes."""
    return {
        "open_amount": _text(position.open_amount),
        "unapplied_amount": str(position.unapplied_amount),
        "owed": str(position.used),
        "overdue_amount": _text(position.overdue_amount),
        "currency": position.currency,
        "dpd_days": _whole(position.dpd_days),
        "material_dpd_days": _whole(position.material_dpd_days),
        "is_incomplete": position.is_incomplete,
    }


def _text(amount: Decimal | None) -> str | None:
    return None if amount is None else str(amount)


def _whole(days: Decimal | None) -> int | None:
    return None if days is None else int(days)


def with_position(
    answer: Mapping[str, object], decided: DecidedQuestion
) -> Mapping[str, object]:
    """Return an answer with what the customer owes.

    Answers by a rulebook without a materiality did not show it, and replay as they
    were.
    """
    if decided.rulebook.materiality is None:
        return answer
    return {**answer, "position": position_answer(decided.decision.position)}


def limit_answer(limit: Limit) -> LimitAnswer:
    """Return the limit with all its caps."""
    return {
        "amount": str(limit.amount),
        "currency": limit.currency,
        "binding_cap": limit.binding_cap,
        "next_cap": limit.next_cap,
        "caps": {name: str(cap) for name, cap in limit.caps.items()},
    }


def terms_answer(terms: OfferedTerms) -> Terms:
    """Return the terms; without a discount if there is none to take."""
    days_earlier = terms.terms_days - terms.discount_days
    per_year = None
    if terms.discount_rate and days_earlier > 0:
        per_year = float(discount_per_year(terms.discount_rate, days_earlier))
    has_discount = per_year is not None
    return {
        "terms_days": terms.terms_days,
        "is_prepaid": terms.is_prepaid,
        "deposit_share": float(terms.deposit_share),
        "discount_rate": float(terms.discount_rate) if has_discount else 0.0,
        "discount_days": terms.discount_days if has_discount else None,
        "discount_per_year": per_year,
    }


def price_floor_answer(floor: PriceFloor | None) -> PriceFloorAnswer | None:
    """Return the price floor, None if nothing was requested."""
    if floor is None:
        return None
    return {
        "cash_price": str(floor.cash_price),
        "financing": str(floor.financing),
        "expected_loss": str(floor.expected_loss),
        "capital_charge": str(floor.capital_charge),
        "amount": str(floor.amount),
        "currency": floor.currency,
    }


def rule_traces(evaluations: Sequence[Evaluation]) -> list[RuleTrace]:
    """Return what each decision table did, in order."""
    return [
        {
            "table": evaluation.table,
            "inputs": evaluation.inputs,
            "tried": evaluation.tried,
            "fired": evaluation.fired,
            "because": evaluation.because,
            "because_zh": evaluation.because_zh,
            "outputs": evaluation.outputs,
        }
        for evaluation in evaluations
    ]
