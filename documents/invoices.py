"""Reading electronic invoices: UBL 2.1, UN/CEFACT CII, and PDF files that hold one.

The elements are those of EN 16931 (table of its syntax bindings): XRechnung, Peppol,
Factur-X and ZUGFeRD 2 have them in the same places.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from datetime import date
from decimal import Decimal, InvalidOperation

import pandas as pd
import pypdf

from obligor.documents.xml import Element, parse_xml
from obligor.errors import SchemaError

# The XML in a PDF file: Factur-X 1.0, chapter 6.2, and its forerunners.
ATTACHMENTS = ("factur-x.xml", "xrechnung.xml", "zugferd-invoice.xml")
# UNTDID 1001: the types of documents that credit the buyer.
CREDIT_TYPES = ("81", "83", "261", "262", "296", "308", "381", "396", "420", "458")
# What may name the customer, the best first.
BUYER_COLUMNS = (
    "buyer_account",
    "buyer_id",
    "buyer_vat",
    "buyer_registration",
    "buyer_endpoint",
    "buyer_name",
)


@dataclass(frozen=True)
class InvoiceItem:
    """An invoice, a credit note, or one instalment of an invoice.

    Attributes
    ----------
    invoice_id, document_id : str
        The number; of an instalment with its position.
    issued_on, due_on : str
        Days; due on is empty if the document has none.
    amount : str
        What is payable, negative if it is a credit note.
    currency : str
        Of the amount.
    corrects : str
        The invoice that a credit note names.
    type_code : str
        The type of the document.
    buyer_account, buyer_id, buyer_vat, buyer_registration, buyer_endpoint : str
        What identifies the buyer: the seller's account of it, its id, its numbers.
    buyer_name, buyer_reference : str
        The buyer's name, and what it wants to see on the invoice.
    line : int
        The line of the document.
    """

    invoice_id: str
    document_id: str
    issued_on: str
    due_on: str
    amount: str
    currency: str
    corrects: str
    type_code: str
    buyer_account: str
    buyer_id: str
    buyer_vat: str
    buyer_registration: str
    buyer_endpoint: str
    buyer_name: str
    buyer_reference: str
    line: int


def read_invoice(content: bytes, where: str) -> list[InvoiceItem]:
    """Return the items of an electronic invoice.

    Parameters
    ----------
    content : bytes
        An XML document, or a PDF file that holds one.
    where : str
        The table and the file, for messages.

    Raises
    ------
    SchemaError
        If it is not an electronic invoice, or lacks what one must have.
    """
    if content[:1024].lstrip().startswith(b"%PDF"):
        content = _attachment(content, where)
    root = parse_xml(content, where)
    if root.name == "StandardBusinessDocument":
        root = root.first("Invoice", "CreditNote") or root
    if root.name in ("Invoice", "CreditNote") and "ubl" in root.namespace:
        return list(_UblReader(root, where).items())
    if root.name == "CrossIndustryInvoice":
        return list(_CiiReader(root, where).items())
    raise SchemaError(
        f"the file is not an electronic invoice: its root is {root.name!r}",
        where=where,
        expected="a UBL Invoice or CreditNote, or a CrossIndustryInvoice",
    )


def _attachment(content: bytes, where: str) -> bytes:
    """Return the XML document in a PDF file."""
    # The library logs what is damaged; the error says it.
    logging.getLogger("pypdf").setLevel(logging.CRITICAL)
    try:
        attachments = pypdf.PdfReader(io.BytesIO(content)).attachments
        contents = {name.lower(): list(parts) for name, parts in attachments.items()}
    # The library raises what it likes about a damaged file, and for a password.
    except Exception as error:
        raise SchemaError(
            f"the PDF file cannot be read: {type(error).__name__}",
            where=where,
            expected="a PDF file without a password",
        ) from None
    for name in ATTACHMENTS:
        for part in contents.get(name, []):
            return bytes(part)
    raise SchemaError(
        f"the PDF file holds no electronic invoice; it holds {sorted(contents)}",
        where=where,
        expected=f"one of {list(ATTACHMENTS)}",
    )


@dataclass(frozen=True)
class _Instalment:
    """A part of an invoice: when it is due, and its amount."""

    due_on: str
    amount: str


@dataclass(frozen=True)
class _Reader:
    """What the two syntaxes have in common."""

    root: Element
    where: str

    def error(
        self,
        what: str,
        expected: str,
        element: Element | None = None,
    ) -> SchemaError:
        """Return the error of an element, or of the document."""
        line = (element or self.root).line
        return SchemaError(what, where=f"{self.where} line {line}", expected=expected)

    def required(self, text: str, name: str) -> str:
        """Return a text that must be there."""
        if not text:
            raise self.error(f"the invoice has no {name}", name)
        return text

    def signed(self, text: str, name: str, *, is_credit: bool) -> str:
        """Return an amount, negative if it credits the buyer."""
        try:
            amount = Decimal(self.required(text, name))
        except InvalidOperation:
            amount = Decimal("NaN")
        if not amount.is_finite():
            raise self.error(f"{name} is {text!r}", "a number")
        return str(-amount if is_credit else amount)


class _UblReader(_Reader):
    """Reads a UBL 2.1 Invoice or CreditNote."""

    def items(self) -> Iterator[InvoiceItem]:
        """Yield the document, or its instalments."""
        root = self.root
        type_code = root.text_at("InvoiceTypeCode", "CreditNoteTypeCode")
        is_credit = root.name == "CreditNote" or type_code in CREDIT_TYPES
        number = self.required(root.text_at("ID"), "ID")
        total = root.text_at("LegalMonetaryTotal/PayableAmount")
        due_on = root.text_at(
            "DueDate",
            "PaymentTerms/PaymentDueDate",
            "PaymentMeans/PaymentDueDate",
            "PaymentTerms/InstallmentDueDate",
        )
        instalments = [
            _Instalment(terms.text_at("InstallmentDueDate"), terms.text_at("Amount"))
            for terms in root.each("PaymentTerms")
        ]
        whole = _Instalment(due_on, total)
        issued_on = self.required(root.text_at("IssueDate"), "IssueDate")
        for invoice_id, part in _parts(number, whole, instalments):
            yield InvoiceItem(
                invoice_id=invoice_id,
                document_id=number,
                issued_on=issued_on,
                due_on=part.due_on,
                amount=self.signed(part.amount, "PayableAmount", is_credit=is_credit),
                currency=root.text_at("DocumentCurrencyCode"),
                corrects=root.text_at("BillingReference/InvoiceDocumentReference/ID"),
                type_code=type_code,
                line=root.line,
                **self._buyer(),
            )

    def _buyer(self) -> dict[str, str]:
        customer = self.root.first("AccountingCustomerParty")
        buyer = customer.first("Party") if customer is not None else None
        if customer is None or buyer is None:
            raise self.error("the invoice has no buyer", "AccountingCustomerParty")
        return {
            "buyer_account": customer.text_at("SupplierAssignedAccountID"),
            "buyer_id": buyer.text_at("PartyIdentification/ID"),
            "buyer_vat": buyer.text_at("PartyTaxScheme/CompanyID"),
            "buyer_registration": buyer.text_at("PartyLegalEntity/CompanyID"),
            "buyer_endpoint": buyer.text_at("EndpointID"),
            "buyer_name": buyer.text_at(
                "PartyLegalEntity/RegistrationName",
                "PartyName/Name",
            ),
            "buyer_reference": self.root.text_at("BuyerReference"),
        }


class _CiiReader(_Reader):
    """Reads a CrossIndustryInvoice: Factur-X, ZUGFeRD 2, XRechnung."""

    def items(self) -> Iterator[InvoiceItem]:
        """Yield the document, or its instalments."""
        document = self._part("ExchangedDocument")
        settlement = self._part(f"{_TRADE}/ApplicableHeaderTradeSettlement")
        type_code = document.text_at("TypeCode")
        number = self.required(document.text_at("ID"), "ID")
        total = settlement.text_at(
            "SpecifiedTradeSettlementHeaderMonetarySummation/DuePayableAmount",
            "SpecifiedTradeSettlementHeaderMonetarySummation/GrandTotalAmount",
        )
        terms = list(settlement.each("SpecifiedTradePaymentTerms"))
        instalments = [
            _Instalment(
                self._day(part, "DueDateDateTime"),
                part.text_at("PartialPaymentAmount"),
            )
            for part in terms
        ]
        due_days = [part.due_on for part in instalments if part.due_on]
        whole = _Instalment(due_days[0] if due_days else "", total)
        issued_on = self._day(document, "IssueDateTime")
        is_credit = type_code in CREDIT_TYPES
        for invoice_id, item in _parts(number, whole, instalments):
            yield InvoiceItem(
                invoice_id=invoice_id,
                document_id=number,
                issued_on=self.required(issued_on, "IssueDateTime"),
                due_on=item.due_on,
                amount=self.signed(
                    item.amount, "DuePayableAmount", is_credit=is_credit
                ),
                currency=settlement.text_at("InvoiceCurrencyCode"),
                corrects=settlement.text_at(
                    "InvoiceReferencedDocument/IssuerAssignedID"
                ),
                type_code=type_code,
                line=self.root.line,
                **self._buyer(),
            )

    def _part(self, path: str) -> Element:
        element = self.root.first(path)
        if element is None:
            raise self.error(f"the invoice has no {path}", path)
        return element

    def _day(self, element: Element, path: str) -> str:
        """Return a day as ISO 8601; format 102 is YYYYMMDD (UNTDID 2379)."""
        text = element.text_at(f"{path}/DateTimeString", f"{path}/DateTime")
        if not text:
            return ""
        digits = text[:10].replace("-", "")[:8]
        try:
            return date.fromisoformat(digits).isoformat()
        except ValueError:
            raise self.error(
                f"{path} is {text!r}", "a day such as 20260131", element
            ) from None

    def _buyer(self) -> dict[str, str]:
        agreement = self._part(f"{_TRADE}/ApplicableHeaderTradeAgreement")
        buyer = agreement.first("BuyerTradeParty")
        if buyer is None:
            raise self.error("the invoice has no buyer", "BuyerTradeParty")
        vat_numbers = [
            registration.text_at("ID")
            for registration in buyer.each("SpecifiedTaxRegistration")
        ]
        return {
            "buyer_account": "",
            "buyer_id": buyer.text_at("ID", "GlobalID"),
            "buyer_vat": next(iter(vat_numbers), ""),
            "buyer_registration": buyer.text_at("SpecifiedLegalOrganization/ID"),
            "buyer_endpoint": buyer.text_at("URIUniversalCommunication/URIID"),
            "buyer_name": buyer.text_at("Name"),
            "buyer_reference": agreement.text_at("BuyerReference"),
        }


_TRADE = "SupplyChainTradeTransaction"


def _parts(
    number: str,
    whole: _Instalment,
    instalments: Sequence[_Instalment],
) -> Iterator[tuple[str, _Instalment]]:
    """Yield the items of an invoice: its instalments, if they are its whole amount."""
    dated = [part for part in instalments if part.due_on and part.amount]
    if len(dated) < 2 or not _are_whole(dated, whole.amount):
        yield number, whole
        return
    for position, part in enumerate(dated, start=1):
        yield f"{number}/{position}", part


def _are_whole(instalments: Sequence[_Instalment], total: str) -> bool:
    try:
        amounts = [Decimal(part.amount) for part in instalments]
        return sum(amounts) == Decimal(total)
    except InvalidOperation:
        return False


def invoices_frame(items: Sequence[InvoiceItem]) -> pd.DataFrame:
    """Return items as the rows of a source, under the names of their fields."""
    columns = {
        field.name: pd.Series([getattr(item, field.name) for item in items])
        for field in fields(InvoiceItem)
        if field.name != "line"
    }
    frame = pd.DataFrame(columns, dtype="str")
    return frame.where(frame != "")


def name_customers(frame: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """Return invoices with their ``customer_id``, and what it is taken from.

    One identifier is taken for all of them, so that no customer gets two ids: the first
    of `BUYER_COLUMNS` that every invoice has, else the first that most have.
    """
    counts = [int(frame[column].notna().sum()) for column in BUYER_COLUMNS]
    column = BUYER_COLUMNS[counts.index(max(counts))]
    return frame.assign(customer_id=frame[column]), column
