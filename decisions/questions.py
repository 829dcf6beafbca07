"""The questions the service accepts, strict about names and types.

The request schemas of the OpenAPI document are generated from these models.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from obligor.data.money import MINOR_DIGITS, minor_digits
from obligor.errors import SchemaError
from obligor.policy.credit.credit_file import (
    Assessment,
    CreditFile,
    LimitEvent,
    Override,
    Security,
    TemporaryLimit,
)
from obligor.policy.credit.groups import Group

MAX_ROWS = 20_000


def _known_currency(code: str) -> str:
    try:
        minor_digits(code)
    except SchemaError as error:
        raise ValueError(str(error)) from None
    return code


Id = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[^\x00-\x1f]+$")]

Currency = Annotated[
    str,
    Field(json_schema_extra={"enum": sorted(MINOR_DIGITS)}, max_length=3),
    AfterValidator(_known_currency),
]

Amount = Annotated[
    Decimal,
    Field(
        gt=0, le=Decimal("1e12"), max_digits=18, decimal_places=3, allow_inf_nan=False
    ),
]


def _not_zero(amount: Decimal) -> Decimal:
    if amount == 0:
        raise ValueError("the amount is 0")
    return amount


SignedAmount = Annotated[
    Decimal,
    Field(
        ge=Decimal("-1e12"),
        le=Decimal("1e12"),
        max_digits=18,
        decimal_places=3,
        allow_inf_nan=False,
        description="Not 0",
    ),
    AfterValidator(_not_zero),
]

AmountOrZero = Annotated[
    Decimal, Field(ge=0, le=Decimal("1e12"), max_digits=18, decimal_places=3)
]

Text = Annotated[str, Field(max_length=500)]

Figure = Annotated[float, Field(allow_inf_nan=False, ge=-1e15, le=1e15)]
# A code of a table, which may have more digits than a float holds.
WholeNumber = Annotated[int, Field(ge=-(2**63), lt=2**63)]


class Body(BaseModel):
    """The body or query of a request: strict about types and names."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class CustomerRow(Body):
    """The customer's master record."""

    registered_on: date
    known_on: date | None = None


def _is_none(value: object) -> bool:
    return value is None


def _is_empty(rows: Sequence[Body]) -> bool:
    return not rows


# Fields that earlier versions did not have are left out of the recorded text if they
# are empty: requests that were recorded must compare equal.
OptionalId = Annotated[Id | None, Field(exclude_if=_is_none)]

OptionalText = Annotated[Text | None, Field(exclude_if=_is_none)]


class InvoiceRow(Body):
    """An item that was invoiced, or with an amount below 0 a credit memo."""

    invoice_id: Id
    issued_on: date
    due_on: date = Field(
        description="May lie before issued_on: such an item was late when it was billed"
    )
    amount: SignedAmount
    currency: Currency
    document_id: OptionalId = Field(
        None, description="The invoice that several items are parts of"
    )
    known_on: date | None = None


class PaymentRow(Body):
    """Money that came in, or a credit note; below 0, or returned, it undoes one."""

    invoice_id: Id | None = Field(
        None, description="Without it, the money belongs to no item"
    )
    paid_on: date
    amount: SignedAmount
    kind: Literal["payment", "credit_note", "returned", "refund"] = "payment"
    payment_id: Id | None = None
    currency: Annotated[Currency | None, Field(exclude_if=_is_none)] = Field(
        None, description="By default that of the item"
    )
    reverses: OptionalId = Field(
        None, description="The payment_id of what this row undoes"
    )
    known_on: date | None = None


class AllocationRow(Body):
    """A part of a receipt without an item that was put on an item."""

    payment_id: Id
    invoice_id: Id
    allocated_on: date
    amount: SignedAmount
    known_on: date | None = None


class CancellationRow(Body):
    """An invoice or a payment that was cancelled as a whole: one of both ids."""

    invoice_id: Id | None = None
    payment_id: Id | None = None
    cancelled_on: date
    known_on: date | None = None


class ExtensionRow(Body):
    """A later due date of an item."""

    invoice_id: Id
    extended_on: date
    due_on: date
    known_on: date | None = None


class PromiseRow(Body):
    """A promise to pay an amount of an item by a day."""

    invoice_id: Id
    promised_on: date
    pay_by: date
    amount: Amount
    known_on: date | None = None


class DisputeRow(Body):
    """A dispute about an item."""

    invoice_id: Id
    opened_on: date
    resolved_on: date | None = None
    amount: Annotated[Amount | None, Field(exclude_if=_is_none)] = Field(
        None, description="By default the whole item"
    )
    reason: OptionalText = None
    owner: OptionalText = None
    known_on: date | None = None


class WriteOffRow(Body):
    """An amount of an item that was written off; below 0 it undoes an earlier one."""

    invoice_id: Id
    written_off_on: date
    amount: SignedAmount
    known_on: date | None = None


class LimitRow(Body):
    """A credit limit and the day it became known."""

    amount: AmountOrZero
    currency: Currency
    known_on: date


class FinancialsRow(Body):
    """A yearly statement and the day it became known."""

    period_end: date
    known_on: date
    turnover: Figure | None = None
    net_income: Figure | None = None
    total_assets: Figure | None = None
    equity: Figure | None = None
    current_assets: Figure | None = None
    current_liabilities: Figure | None = None


class RateRow(Body):
    """Units of the reporting currency per unit of another."""

    currency: Currency
    rate_on: date
    rate: Annotated[float, Field(gt=0, le=1e9, allow_inf_nan=False)]
    known_on: date | None = None


class ReportRow(Body):
    """What a bureau or a register says of the customer."""

    source: Id
    as_of: date
    known_on: date | None = None
    score: Figure | None = None
    scale: Annotated[str, Field(max_length=40)] = Field(
        "", description="The worst and the best score, such as 0-100 or 600-100"
    )
    rating: Annotated[str, Field(max_length=40)] = ""
    recommended_limit: Annotated[float, Field(ge=0, le=1e12)] | None = None
    currency: Currency | None = Field(
        None, description="Of the limit; by default the reporting currency"
    )
    status: Text = ""
    event: Text = Field("", description="Such as insolvency, or insolvency ended")


class InlineLedger(Body):
    """One customer's ledger, sent with the request instead of looked up."""

    currency: Currency = Field(description="The reporting currency")
    customers: Annotated[list[CustomerRow], Field(max_length=1)] = []
    invoices: Annotated[list[InvoiceRow], Field(max_length=MAX_ROWS)] = []
    payments: Annotated[list[PaymentRow], Field(max_length=MAX_ROWS)] = []
    allocations: Annotated[list[AllocationRow], Field(max_length=MAX_ROWS)] = Field(
        default=[], exclude_if=_is_empty
    )
    cancellations: Annotated[list[CancellationRow], Field(max_length=MAX_ROWS)] = Field(
        default=[], exclude_if=_is_empty
    )
    extensions: Annotated[list[ExtensionRow], Field(max_length=MAX_ROWS)] = Field(
        default=[], exclude_if=_is_empty
    )
    promises: Annotated[list[PromiseRow], Field(max_length=MAX_ROWS)] = []
    disputes: Annotated[list[DisputeRow], Field(max_length=MAX_ROWS)] = []
    write_offs: Annotated[list[WriteOffRow], Field(max_length=MAX_ROWS)] = []
    limits: Annotated[list[LimitRow], Field(max_length=MAX_ROWS)] = []
    financials: Annotated[list[FinancialsRow], Field(max_length=MAX_ROWS)] = []
    fx_rates: Annotated[list[RateRow], Field(max_length=MAX_ROWS)] = []
    unapplied: Literal["oldest_first", "as_allocated"] | None = Field(
        None,
        description="What is done with money of no item; by default oldest_first",
        exclude_if=_is_none,
    )
    bureau: Annotated[list[ReportRow], Field(max_length=1000)] = Field(
        default=[], exclude_if=_is_empty
    )


class CreditRequest(Body):
    """The credit that the customer asks for now."""

    amount: Amount
    currency: Currency
    terms_days: Annotated[int, Field(ge=0, le=365)] | None = None


Mark = Annotated[int, Field(ge=1, le=5)]

Person = Annotated[str, Field(min_length=1, max_length=128)]

Because = Annotated[str, Field(min_length=1, max_length=500)]

Share = Annotated[
    Decimal, Field(ge=0, le=1, max_digits=9, decimal_places=8, allow_inf_nan=False)
]


class AssessmentBody(Body):
    """An analyst's marks, 1 (worst) to 5 (best)."""

    market_position: Mark
    operating_capability: Mark
    industry_risk: Mark
    management_quality: Mark
    by: Person
    expires_on: date


class OverrideBody(Body):
    """A grade set by a person."""

    grade: Annotated[int, Field(ge=1, le=10)]
    by: Person
    because: Because
    expires_on: date


class SecurityBody(Body):
    """Collateral or insurance, in the reporting currency."""

    kind: Literal["guarantee", "deposit", "pledge", "insurance"]
    amount: AmountOrZero
    haircut: Share = Decimal(0)
    expires_on: date


class TemporaryLimitBody(Body):
    """A limit for a season, in the reporting currency."""

    amount: AmountOrZero
    starts_on: date
    ends_on: date
    grace_days: Annotated[int, Field(ge=0, le=60)] = 0
    by: Person


class GroupBody(Body):
    """A group of the tree the customer belongs to, in the reporting currency."""

    name: Id
    limit: AmountOrZero
    exposure_of_others: AmountOrZero | None = Field(
        None,
        description="The debt of its other members, including groups below it; what "
        "the ledger knows of them is added up, and counts if it is more",
    )
    parent: Id | None = None
    members: Annotated[list[Id], Field(max_length=1000)] = Field(
        default=[],
        description="Customers that belong to it directly; "
        "may be left out if there is one group only",
    )

    def group(self) -> Group:
        """Return the group in the form that the rules use."""
        return Group(
            name=self.name,
            limit=self.limit,
            exposure_of_others=self.exposure_of_others or Decimal(0),
            parent=self.parent,
            members=tuple(self.members),
        )


class LimitEventBody(Body):
    """A person's intervention in the limit."""

    kind: Literal["freeze", "reduce", "cancel"]
    by: Person
    because: Because
    amount: AmountOrZero = Decimal(0)


class CreditFileBody(Body):
    """The credit file: what people have put on file about the customer."""

    assessment: AssessmentBody | None = None
    override: OverrideBody | None = None
    securities: Annotated[list[SecurityBody], Field(max_length=100)] = []
    temporary_limit: TemporaryLimitBody | None = None
    groups: Annotated[list[GroupBody], Field(max_length=100)] = Field(
        default=[], description="A tree by `parent`"
    )
    limit_event: LimitEventBody | None = None
    payment_details_changed_on: date | None = Field(
        None, description="Bank account or method of payment"
    )

    def credit_file(self) -> CreditFile:
        """Return the credit file in the form that the rules use."""
        assessment = override = temporary_limit = limit_event = None
        if self.assessment:
            assessment = Assessment(**vars(self.assessment))
        if self.override:
            override = Override(**vars(self.override))
        if self.temporary_limit:
            temporary_limit = TemporaryLimit(**vars(self.temporary_limit))
        if self.limit_event:
            limit_event = LimitEvent(**vars(self.limit_event))
        securities = [Security(**vars(security)) for security in self.securities]
        groups = [group.group() for group in self.groups]
        return CreditFile(
            assessment=assessment,
            override=override,
            securities=tuple(securities),
            temporary_limit=temporary_limit,
            groups=tuple(groups),
            limit_event=limit_event,
            payment_details_changed_on=self.payment_details_changed_on,
        )


class DecisionRequest(Body):
    """A question about one customer."""

    customer_id: Id
    as_of: date | None = Field(
        None,
        description="Uses what was known at the end of that day; "
        "by default the day of the ledger's export, or today",
    )
    request: CreditRequest | None = None
    requested_by: Person | None = Field(
        None, description="Who asks; this person may not resolve the case"
    )
    is_natural_person: bool = Field(
        False, description="A person or sole trader: other rights, longer retention"
    )
    file: CreditFileBody | None = Field(
        None, description="The credit file: what people have put on file"
    )
    ledger: InlineLedger | None = None


class OrderBody(Body):
    """An order, or an accepted order that is not invoiced yet."""

    amount: Amount
    currency: Currency
    deliver_on: date | None = Field(None, description="By default the as-of date")
    is_prepaid: bool = False


class OrderRequest(Body):
    """The question whether an order may go out."""

    customer_id: Id
    as_of: date | None = Field(
        None,
        description="Uses what was known at the end of that day; "
        "by default the day of the ledger's export, or today",
    )
    order: OrderBody
    unbilled: Annotated[list[OrderBody], Field(max_length=1000)] = Field(
        default=[], description="Accepted orders that are not invoiced yet"
    )
    requested_by: Person | None = Field(
        None, description="Who asks; this person may not resolve the case"
    )
    file: CreditFileBody | None = Field(
        None, description="The credit file: what people have put on file"
    )
    ledger: InlineLedger | None = None

    def question(self) -> DecisionRequest:
        """Return the question about the customer, which is decided first."""
        return DecisionRequest(
            customer_id=self.customer_id,
            as_of=self.as_of,
            file=self.file,
            ledger=self.ledger,
        )


class ScoreRequest(Body):
    """Ready-made features to score.

    They must name every feature of the catalogue, or every column of the table the
    model was trained on; null stands for a missing value.
    """

    features: Annotated[
        dict[str, bool | WholeNumber | Figure | Text | None], Field(max_length=1000)
    ]
    model: OptionalId = Field(
        None,
        description="The name of the model; by default the one without a name",
    )
    record: bool = Field(
        False,
        description="Record the score like a decision: encrypted, provable, replayable",
    )
    customer_id: OptionalId = Field(
        None,
        description="Whom a recorded score is about; erasing the customer erases it",
    )
    is_natural_person: bool = False
