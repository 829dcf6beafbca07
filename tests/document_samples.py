"""Bank statements and electronic invoices of a few lines, made by hand."""

from __future__ import annotations

import io
from dataclasses import dataclass

import pypdf

CAMT = "urn:iso:std:iso:20022:tech:xsd:camt.053.001.08"


@dataclass(frozen=True)
class Movement:
    """One transaction of a bank statement."""

    amount: str
    text: str = ""
    day: str = "2024-03-05"
    is_debit: bool = False
    is_reversal: bool = False
    name: str = ""
    iban: str = ""
    reference: str = ""
    end_to_end_id: str = "NOTPROVIDED"
    bank_id: str = ""
    status: str = "BOOK"
    return_code: str = ""


def camt(*movements: Movement, opening: str = "0", closing: str = "") -> bytes:
    """Return a camt.053 statement with one entry for each movement."""
    entries = "".join(map(_entry, movements))
    balances = ""
    if closing:
        balances = _balance("OPBD", opening) + _balance("CLBD", closing)
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<Document xmlns="{CAMT}"><BkToCstmrStmt><Stmt><Id>S1</Id>
<Acct><Id><IBAN>DE02120300000000202051</IBAN></Id></Acct>
{balances}{entries}</Stmt></BkToCstmrStmt></Document>""".encode()


def _balance(code: str, amount: str) -> str:
    return f"""<Bal><Tp><CdOrPrtry><Cd>{code}</Cd></CdOrPrtry></Tp>
<Amt Ccy="EUR">{amount}</Amt><CdtDbtInd>CRDT</CdtDbtInd></Bal>
"""


def _entry(movement: Movement) -> str:
    side = "Cdtr" if movement.is_debit and not movement.is_reversal else "Dbtr"
    reversal = "<RvslInd>true</RvslInd>" if movement.is_reversal else ""
    bank_id = movement.bank_id and f"<AcctSvcrRef>{movement.bank_id}</AcctSvcrRef>"
    reason = movement.return_code and (
        f"<RtrInf><Rsn><Cd>{movement.return_code}</Cd></Rsn></RtrInf>"
    )
    structured = movement.reference and (
        "<Strd><CdtrRefInf><Ref>" + movement.reference + "</Ref></CdtrRefInf></Strd>"
    )
    return f"""<Ntry><Amt Ccy="EUR">{movement.amount}</Amt>
<CdtDbtInd>{"DBIT" if movement.is_debit else "CRDT"}</CdtDbtInd>{reversal}
<Sts><Cd>{movement.status}</Cd></Sts>
<BookgDt><Dt>{movement.day}</Dt></BookgDt><ValDt><Dt>{movement.day}</Dt></ValDt>
{bank_id}<NtryDtls><TxDtls>
<Refs><EndToEndId>{movement.end_to_end_id}</EndToEndId></Refs>
<RltdPties><{side}><Pty><Nm>{movement.name}</Nm></Pty></{side}>
<{side}Acct><Id><IBAN>{movement.iban}</IBAN></Id></{side}Acct></RltdPties>
<RmtInf><Ustrd>{movement.text}</Ustrd>{structured}</RmtInf>{reason}
</TxDtls></NtryDtls></Ntry>
"""


def mt940(*lines: str) -> bytes:
    """Return an MT940 statement with some fields :61: and :86:."""
    fields = "\n".join(lines)
    return f""":20:STARTUMS
:25:12030000/202051
:28C:7/1
:60F:C240304EUR0,00
{fields}
:62F:C240305EUR0,00
-
""".encode()


UBL = "urn:oasis:names:specification:ubl:schema:xsd"


def ubl(
    number: str,
    amount: str,
    *,
    buyer_id: str = "C1",
    due_on: str = "2024-02-14",
    corrects: str = "",
) -> bytes:
    """Return a UBL invoice, or the credit note of the invoice that it corrects."""
    name = "CreditNote" if corrects else "Invoice"
    due = "" if corrects else f"<DueDate>{due_on}</DueDate>"
    billing = corrects and (
        "<BillingReference><InvoiceDocumentReference>"
        f"<ID>{corrects}</ID></InvoiceDocumentReference></BillingReference>"
    )
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<{name} xmlns="{UBL}:{name}-2"><ID>{number}</ID>
<IssueDate>2024-01-15</IssueDate>{due}
<DocumentCurrencyCode>EUR</DocumentCurrencyCode>{billing}
<AccountingCustomerParty><Party>
<PartyIdentification><ID>{buyer_id}</ID></PartyIdentification>
<PartyTaxScheme><CompanyID>DE123456789</CompanyID></PartyTaxScheme>
<PartyLegalEntity><RegistrationName>Anna GmbH</RegistrationName></PartyLegalEntity>
</Party></AccountingCustomerParty>
<LegalMonetaryTotal><PayableAmount currencyID="EUR">{amount}</PayableAmount>
</LegalMonetaryTotal></{name}>""".encode()


CII = "urn:un:unece:uncefact:data:standard:CrossIndustryInvoice:100"


def cii(number: str, amount: str, *, type_code: str = "380") -> bytes:
    """Return an invoice as Factur-X and ZUGFeRD hold it."""
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<rsm:CrossIndustryInvoice xmlns:rsm="{CII}" xmlns:ram="urn:ram" xmlns:udt="urn:udt">
<rsm:ExchangedDocument><ram:ID>{number}</ram:ID><ram:TypeCode>{type_code}</ram:TypeCode>
<ram:IssueDateTime><udt:DateTimeString format="102">20240115</udt:DateTimeString>
</ram:IssueDateTime></rsm:ExchangedDocument>
<rsm:SupplyChainTradeTransaction>
<ram:ApplicableHeaderTradeAgreement><ram:BuyerTradeParty>
<ram:ID>C2</ram:ID><ram:Name>Bruno SARL</ram:Name>
<ram:SpecifiedTaxRegistration><ram:ID schemeID="VA">FR12345678901</ram:ID>
</ram:SpecifiedTaxRegistration>
</ram:BuyerTradeParty></ram:ApplicableHeaderTradeAgreement>
<ram:ApplicableHeaderTradeSettlement>
<ram:InvoiceCurrencyCode>EUR</ram:InvoiceCurrencyCode>
<ram:SpecifiedTradePaymentTerms><ram:DueDateDateTime>
<udt:DateTimeString format="102">20240214</udt:DateTimeString>
</ram:DueDateDateTime></ram:SpecifiedTradePaymentTerms>
<ram:SpecifiedTradeSettlementHeaderMonetarySummation>
<ram:DuePayableAmount>{amount}</ram:DuePayableAmount>
</ram:SpecifiedTradeSettlementHeaderMonetarySummation>
</ram:ApplicableHeaderTradeSettlement>
</rsm:SupplyChainTradeTransaction></rsm:CrossIndustryInvoice>""".encode()


def pdf(attachment: bytes | None, name: str = "factur-x.xml") -> bytes:
    """Return a PDF file of one page, which may hold a document."""
    writer = pypdf.PdfWriter()
    writer.add_blank_page(200, 200)
    if attachment is not None:
        writer.add_attachment(name, attachment)
    stream = io.BytesIO()
    writer.write(stream)
    return stream.getvalue()
