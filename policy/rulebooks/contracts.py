"""What the code gives each decision table, and what it reads of its answer.

A table of a rulebook is a house's own; the columns it may use are not. An input that
nothing fills makes a rule that never fires, and an output that nobody reads makes one
that changes nothing. So a contract is declared once for each table: evaluations are
compiled with its inputs as their only parameters (`obligor.policy.rulebooks.lookup`),
rulebooks are checked against it (`obligor.policy.rulebooks.contract_check`), and a test
compares it with the values of real decisions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from obligor.policy.rulebooks.cells import Column


@dataclass(frozen=True)
class TableContract:
    """The columns that a decision table may use.

    Attributes
    ----------
    inputs : tuple of Column
        Every input the code gives, with the range, the texts and the unit it has. A
        table uses those it needs.
    outputs : tuple of Column
        Every output the code reads; a table has all of them. A range is stated only if
        the output is the input of another table.
    is_collect : bool
        Whether every row that fits counts; otherwise one row answers.
    """

    inputs: tuple[Column, ...]
    outputs: tuple[Column, ...]
    is_collect: bool = False


def _number(
    name: str,
    unit: str,
    low: int | None = None,
    high: int | None = None,
) -> Column:
    return Column(
        name=name,
        type="number",
        unit=unit,
        low=None if low is None else Decimal(low),
        high=None if high is None else Decimal(high),
    )


def _integer(
    name: str,
    unit: str,
    low: int | None = None,
    high: int | None = None,
) -> Column:
    return Column(
        name=name,
        type="integer",
        unit=unit,
        low=None if low is None else Decimal(low),
        high=None if high is None else Decimal(high),
    )


def _nullable(column: Column) -> Column:
    """The column, if what it holds may be not known."""
    return Column(
        name=column.name,
        type=column.type,
        unit=column.unit,
        low=column.low,
        high=column.high,
        values=column.values,
        is_nullable=True,
    )


def _boolean(name: str) -> Column:
    return Column(name=name, type="boolean")


def _text(name: str, values: Sequence[str] = ()) -> Column:
    """A column of texts; without values a rulebook names its own."""
    return Column(name=name, type="text", values=tuple(values))


GRADE = _integer("grade", "grade", low=1, high=10)
CUSTOMER_CLASS = _text("customer_class", ("premium", "general", "risk"))
APPROVER = _text(
    "approver",
    ("system", "credit_analyst", "credit_manager", "director"),
)
OUTCOME = _text("outcome", ("approve", "refer", "decline"))
STOP = _text("stop", ("none", "refer", "decline"))
BUCKET = _text("bucket", ("not_due", "1-15", "16-30", "31-60", "61-90", "90+"))
STAGE = _text("stage")
COUNTRY = _text("country")
OTHER_COUNTRY = "other"
REFERENCE = _text("reference")
RUNG = _integer("rung", "rung", low=-3, high=2)
DPD_DAYS = _number("dpd_days", "days", low=0)
# Days past due of what is material together, by the parameters of the rulebook.
MATERIAL_DPD_DAYS = _number("material_dpd_days", "days", low=0)
# What is past due, less the customer's unapplied money.
OVERDUE_AMOUNT = _number("overdue_amount", "reporting currency", low=0)
UNAPPLIED_AMOUNT = _number("unapplied_amount", "reporting currency", low=0)
OPEN_AMOUNT = _number("open_amount", "reporting currency", low=0)
DISPUTED_SHARE = _number("disputed_share", "share", low=0, high=1)
BROKEN_PROMISES = _number("broken_promises", "promises", low=0)

# What is known of the customer's account, and what others say of the customer: every
# table about the customer is given all of it.
STANDING = (
    _nullable(DPD_DAYS),
    _nullable(MATERIAL_DPD_DAYS),
    _nullable(OPEN_AMOUNT),
    _nullable(OVERDUE_AMOUNT),
    UNAPPLIED_AMOUNT,
    _nullable(_number("written_off_amount_365d", "reporting currency", low=0)),
    # The same, and 0 if it is not material.
    _nullable(_number("material_written_off_amount_365d", "reporting currency", low=0)),
    _nullable(DISPUTED_SHARE),
    _nullable(BROKEN_PROMISES),
    _boolean("is_incomplete"),
    _nullable(_number("bureau_score", "share", low=0, high=1)),
    _boolean("bureau_insolvency"),
    _nullable(_number("bureau_recommended_limit", "reporting currency", low=0)),
)

CONTRACTS: Mapping[str, TableContract] = {
    "master_scale": TableContract(
        inputs=(_number("pd_12m", "probability", low=0, high=1),),
        outputs=(GRADE,),
    ),
    "overlay": TableContract(
        inputs=(_nullable(_number("assessment_mean", "mean", low=1, high=5)),),
        outputs=(_integer("notches", "grades"),),
    ),
    "override": TableContract(
        inputs=(
            _boolean("has_override"),
            _boolean("is_expired"),
            _integer("notches_better", "grades", low=-9, high=9),
        ),
        outputs=(_boolean("applies"),),
    ),
    "customer_class": TableContract(
        inputs=(
            GRADE,
            RUNG,
            *STANDING,
        ),
        outputs=(CUSTOMER_CLASS,),
    ),
    "hard_stops": TableContract(
        inputs=(
            _boolean("has_invoices"),
            *STANDING,
        ),
        outputs=(STOP,),
    ),
    "terms": TableContract(
        inputs=(GRADE, CUSTOMER_CLASS),
        outputs=(
            _integer("terms_days", "days"),
            _boolean("is_prepaid"),
            _number("deposit_share", "share"),
            _number("discount_rate", "share"),
            _integer("discount_days", "days"),
        ),
    ),
    "exposure_caps": TableContract(
        inputs=(GRADE,),
        outputs=(
            _number("ceiling", "reporting currency"),
            _number("unsecured", "reporting currency"),
            _number("net_worth_share", "share"),
            _number("turnover_share", "share"),
        ),
    ),
    "step_up": TableContract(
        inputs=(_nullable(_number("relation_days", "days", low=0)),),
        outputs=(_number("share", "share"),),
    ),
    "authority": TableContract(
        inputs=(
            _number("amount", "reporting currency", low=0),
            CUSTOMER_CLASS,
            GRADE,
        ),
        outputs=(APPROVER, _integer("persons", "persons")),
    ),
    "outcome": TableContract(
        inputs=(
            STOP,
            GRADE,
            _nullable(_boolean("request_fits")),
            APPROVER,
        ),
        outputs=(OUTCOME,),
    ),
    "review": TableContract(
        inputs=(CUSTOMER_CLASS, _boolean("has_event")),
        outputs=(_integer("review_days", "days"),),
    ),
    "order_blocks": TableContract(
        inputs=(
            _boolean("is_prepaid"),
            _boolean("is_small"),
            OUTCOME,
            CUSTOMER_CLASS,
            _boolean("is_over_limit"),
            _boolean("pays_in_advance"),
            *STANDING,
            _nullable(_number("order_multiple", "the order over", low=0)),
            _nullable(_number("idle_days", "days", low=0)),
            _boolean("is_stopped"),
        ),
        outputs=(_text("action", ("hold", "refer")),),
        is_collect=True,
    ),
    "warnings": TableContract(
        inputs=(
            _nullable(_number("utilisation", "the open balance over", low=0)),
            _nullable(_number("dpd_change", "days")),
            _nullable(_number("material_dpd_change", "days")),
            _nullable(_integer("grade_change", "grades", low=-9, high=9)),
            _nullable(_number("payment_ratio", "paid over invoiced", low=0)),
            _nullable(DISPUTED_SHARE),
            _nullable(BROKEN_PROMISES),
            _boolean("has_new_payment_details"),
            _boolean("is_spike"),
            _nullable(_integer("security_days", "days", low=0)),
        ),
        outputs=(_text("severity", ("watch", "act")),),
        is_collect=True,
    ),
    "ladder_moves": TableContract(
        inputs=(
            _text("event", ("kept", "broken", "quiet_year")),
            _integer("kept_in_a_row", "promises", low=0),
            RUNG,
        ),
        outputs=(_integer("step", "rungs"),),
    ),
    "ladder": TableContract(
        inputs=(RUNG,),
        outputs=(
            _integer("days_change", "days"),
            _number("deposit_share", "share"),
            _number("discount_change", "share"),
            _boolean("is_stopped"),
        ),
    ),
    "collection_stage": TableContract(
        inputs=(DPD_DAYS, MATERIAL_DPD_DAYS, OVERDUE_AMOUNT, UNAPPLIED_AMOUNT),
        outputs=(STAGE,),
    ),
    "collection_strategy": TableContract(
        inputs=(STAGE, CUSTOMER_CLASS),
        outputs=(
            _text("channel", ("none", "mail", "call", "visit", "lawyer")),
            _integer("calls_per_day", "contacts"),
            _integer("minutes", "minutes"),
            _integer("rest_days", "days"),
            _number("contact_effect", "share"),
            _integer("days_saved", "days"),
        ),
    ),
    "quiet_days": TableContract(
        inputs=(
            _integer("weekday", "day of the week", low=1, high=7),
            _boolean("is_day_off"),
        ),
        outputs=(_boolean("is_quiet"),),
    ),
    "late_interest": TableContract(
        inputs=(_text("country", ("eu", "cn", "gb", "other")),),
        outputs=(
            _number("rate_per_year", "per year"),
            _number("fee_per_item", "currency of the law"),
            _text("fee_currency", ("EUR", "GBP", "none")),
        ),
    ),
    # A house adds the countries it sells to; the code gives `other` for the rest.
    "interest_laws": TableContract(
        inputs=(COUNTRY,),
        outputs=(
            _boolean("has_law"),
            REFERENCE,
            _number("factor", "times"),
            _number("margin", "per year"),
            _boolean("is_fixed"),
            _text("postpones_due_day", ("never", "sundays", "days_off")),
        ),
    ),
    "reference_rates": TableContract(
        inputs=(
            REFERENCE,
            _integer("day", "yyyymmdd", low=10101, high=99991231),
        ),
        outputs=(_boolean("is_known"), _number("rate", "per year")),
    ),
    "compensation": TableContract(
        inputs=(COUNTRY, _number("amount", "currency of the law", low=0)),
        outputs=(
            _number("fee", "currency of the law"),
            _text("fee_currency", ("EUR", "GBP", "none")),
        ),
    ),
    "provision_matrix": TableContract(
        inputs=(_integer("dpd_days", "days", low=-10_000, high=100_000),),
        outputs=(BUCKET, _number("loss_rate", "share")),
    ),
    "stress": TableContract(
        inputs=(_text("scenario", ("mild", "severe", "sector")),),
        outputs=(
            _number("pd_factor", "times"),
            _number("lgd_add", "added to the LGD"),
            _number("sector_pd_factor", "times"),
        ),
    ),
}
