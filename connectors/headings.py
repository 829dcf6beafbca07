"""The headings of lists of receivables, by what stands below them.

English, German, Chinese, French and Spanish headings of accounting programs, and the
field names of SAP, Odoo, ERPNext, Dynamics, QuickBooks and Xero.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from enum import Enum


class Role(Enum):
    """What a column of a list holds; the value is how a message names it."""

    CUSTOMER = "the customer's number"
    CUSTOMER_NAME = "the customer's name"
    INVOICE = "the number of the invoice"
    ISSUED = "the date of the invoice"
    POSTED = "the posting date"
    ENTERED = "the day of entry"
    DUE = "the due date"
    BASELINE = "the day from which the terms count"
    TERMS = "the terms in days"
    AMOUNT = "the amount"
    OPEN = "the open amount"
    PAID_AMOUNT = "the paid amount"
    PAID = "the day of payment"
    PAYMENT = "the number of the payment"
    KIND = "the kind of the row"
    SIDE = "debit or credit"
    DEBIT = "amounts on the debit side"
    CREDIT = "amounts on the credit side"
    CURRENCY = "the currency"
    COMPANY = "the company"
    YEAR = "the fiscal year"
    LINE = "the line of the document"
    STATUS = "the state of the row"
    COUNTRY = "the country"
    SECTOR = "the industry"
    REGISTERED = "the day of registration"


# By role, one line for each language or system; a bar parts the headings. Of two
# headings in one list, the one further in front is taken.
HEADINGS: dict[Role, dict[str, str]] = {
    Role.CUSTOMER: {
        "SAP": "kunnr",
        "Dynamics": "accountnum|custaccount|customer account|invoice account",
        "Odoo": "partner_id|partner id|invoice partner display name",
        "ERPNext": "party",
        "Xero": "contactid|accountnumber",
        "QuickBooks": "customerref|customer ref",
        "English": "customer id|customer no|customer number|customer code|cust no|"
        "customer account no|cust id|custno|customer|client id|client no|client|"
        "debtor no|debtor id|debtor|buyer id|buyer|bill to customer no|sold to|"
        "account number|account no|account id|account",
        "German": "kundennummer|kunden nr|kundennr|kd nr|kdnr|kunden id|debitor|"
        "debitorennummer|debitoren nr|debitorenkonto|personenkonto|kundenkonto|"
        "kunde|kontonummer|konto",
        "Chinese": "客户编号|客户代码|客户编码|客户号|客户id|往来单位编码|单位编码|"
        "客户|往来单位|购货单位",
        "French": "code client|n client|no client|numero client|compte client|"
        "compte tiers|client",
        "Spanish": "codigo cliente|codigo de cliente|num cliente|numero de cliente|"
        "id cliente|cliente",
    },
    Role.CUSTOMER_NAME: {
        "SAP": "name1|name 1",
        "Dynamics": "customer name",
        "ERPNext": "customer_name|party name",
        "Odoo": "partner_name",
        "Xero": "contactname|contact name|contact",
        "English": "customer name|client name|debtor name|company name|account name|"
        "customer full name|display name|buyer name|name",
        "German": "kundenname|debitorenname|debitorname|firmenname|name des kunden",
        "Chinese": "客户名称|单位名称|往来单位名称|公司名称|名称",
        "French": "nom du client|nom client|raison sociale|nom",
        "Spanish": "nombre del cliente|nombre cliente|razon social|nombre",
    },
    Role.INVOICE: {
        "SAP": "belnr|document number|vbeln",
        "Dynamics": "invoice|invoiceid|invoice number",
        "Odoo": "move_name|invoice/bill number|number",
        "ERPNext": "voucher_no|against_voucher_no|voucher no",
        "Xero": "invoicenumber|invoiceid",
        "QuickBooks": "docnumber|num",
        "English": "invoice id|invoice no|invoice number|invoice num|invoice nbr|"
        "inv no|inv number|invoice|document no|document number|document id|doc no|"
        "doc number|docno|document|bill no|bill number|transaction number|item no|"
        "item id|reference no|reference number|reference|ref no",
        "German": "rechnungsnummer|rechnungs nr|rechnungsnr|re nr|rg nr|rechnung|"
        "belegnummer|beleg nr|belegnr|belegfeld 1|beleg|op nummer|op nr|"
        "dokumentnummer",
        "Chinese": "发票号码|发票号|发票编号|单据编号|单据号|凭证编号|凭证号|"
        "应收单号|票号",
        "French": "numero de facture|numero facture|n facture|no facture|facture|"
        "n piece|numero de piece|piece",
        "Spanish": "numero de factura|num factura|n factura|no factura|factura|"
        "numero de documento|documento",
    },
    Role.ISSUED: {
        "SAP": "bldat",
        "Dynamics": "transdate|invoicedate|documentdate",
        "Odoo": "invoice_date|invoice/bill date",
        "Xero": "invoicedate|datestring",
        "QuickBooks": "txndate",
        "English": "invoice date|issue date|issued on|issued|date issued|inv date|"
        "document date|doc date|bill date|billing date|transaction date|date",
        "German": "rechnungsdatum|rechnungs datum|ausstellungsdatum|belegdatum|"
        "re datum|datum",
        "Chinese": "发票日期|开票日期|单据日期|业务日期|凭证日期|日期",
        "French": "date de facture|date facture|date de la facture|date d emission|"
        "date emission|date piece|date",
        "Spanish": "fecha de factura|fecha factura|fecha de emision|fecha emision|"
        "fecha documento|fecha",
    },
    Role.POSTED: {
        "SAP": "budat",
        "ERPNext": "posting_date",
        "English": "posting date|posted on|posted|gl date|booking date",
        "German": "buchungsdatum|buchungs datum",
        "Chinese": "过账日期|记账日期|入账日期",
        "French": "date comptable|date de comptabilisation",
        "Spanish": "fecha contable|fecha de contabilizacion",
    },
    Role.ENTERED: {
        "SAP": "cpudt",
        "Odoo": "create_date",
        "ERPNext": "creation",
        "Dynamics": "createddatetime",
        "English": "known on|entry date|entered on|created on|created at|created",
        "German": "erfassungsdatum|erfasst am|angelegt am",
        "Chinese": "创建日期|录入日期|制单日期",
        "French": "date de saisie|date de creation",
        "Spanish": "fecha de registro|fecha de creacion",
    },
    Role.DUE: {
        "SAP": "faedt|netdt|net due date",
        "Odoo": "date_maturity|invoice_date_due",
        "ERPNext": "due_date",
        "English": "due date|due on|date due|net due|net due date|due|maturity date|"
        "maturity|payment due date|payment due|expected payment date",
        "German": "falligkeitsdatum|faelligkeitsdatum|falligkeit|faelligkeit|"
        "nettofalligkeit|nettofaelligkeit|fallig am|faellig am|fallig|faellig|"
        "zahlbar bis|netto fallig",
        "Chinese": "到期日期|到期日|应收日期|付款到期日|收款到期日|账期到期日",
        "French": "date d echeance|date echeance|echeance",
        "Spanish": "fecha de vencimiento|fecha vencimiento|vencimiento",
    },
    Role.BASELINE: {
        "SAP": "zfbdt|baseline payment date|baseline payment dte|baseline date",
        "German": "basisdatum|basisdatum fur falligkeit",
    },
    Role.TERMS: {
        "SAP": "zbd1t|zbd2t|zbd3t",
        "English": "terms days|payment terms days|net days|payment days|credit days|"
        "terms|payment terms",
        "German": "zahlungsziel|zieltage|tage netto|netto tage|zahlungsziel tage",
        "Chinese": "账期天数|付款天数|账期|信用天数",
        "French": "delai de paiement|delai|jours",
        "Spanish": "plazo de pago|plazo|dias",
    },
    Role.AMOUNT: {
        "SAP": "wrbtr|amount in doc. curr.|amount in document currency|dmbtr|"
        "amount in local currency|amount in loc.curr.|amount in lc",
        "Dynamics": "amountcur|amountmst",
        "Odoo": "amount_currency|amount_total|amount_total_signed|total in currency",
        "ERPNext": "amount_in_account_currency|grand_total|rounded_total",
        "Xero": "invoicetotal|total",
        "QuickBooks": "totalamt|amount",
        "English": "invoice amount|amount|total amount|gross amount|original amount|"
        "invoice total|document amount|total|gross|value|invoice value",
        "German": "rechnungsbetrag|bruttobetrag|betrag brutto|gesamtbetrag|"
        "belegbetrag|betrag in belegwahrung|betrag in hauswahrung|brutto|betrag|"
        "umsatz",
        "Chinese": "价税合计|含税金额|发票金额|应收金额|原币金额|本币金额|总金额|金额",
        "French": "montant ttc|montant total|montant de la facture|montant facture|"
        "montant|total ttc|ttc",
        "Spanish": "importe total|importe de la factura|importe factura|importe|"
        "monto total|monto|total",
    },
    Role.OPEN: {
        "Odoo": "amount_residual_currency|amount_residual|amount due",
        "ERPNext": "outstanding_amount|outstanding",
        "Xero": "amountdue",
        "QuickBooks": "openbalance|open balance|balance",
        "Dynamics": "balance_mst|remainamountcur|remaining amount",
        "English": "open amount|outstanding amount|amount outstanding|outstanding|"
        "balance due|amount due|amount open|open balance|remaining amount|"
        "remaining balance|remaining|residual amount|residual|balance|open",
        "German": "offener betrag|offener posten|offener saldo|restbetrag|offen|"
        "op betrag|saldo|restforderung",
        "Chinese": "未收金额|未付金额|应收余额|未核销金额|未清金额|欠款金额|欠款|余额",
        "French": "montant restant du|reste a payer|montant du|solde du|solde",
        "Spanish": "importe pendiente|saldo pendiente|pendiente|saldo",
    },
    Role.PAID_AMOUNT: {
        "Dynamics": "settleamountcur|settleamountmst",
        "ERPNext": "paid_amount|allocated_amount",
        "Xero": "amountpaid",
        "English": "payment amount|paid amount|amount paid|amount received|"
        "received amount|receipt amount|allocated amount|applied amount|paid|received",
        "German": "zahlbetrag|zahlungsbetrag|gezahlter betrag|bezahlter betrag|"
        "eingegangener betrag|gezahlt|bezahlt",
        "Chinese": "收款金额|已收金额|实收金额|核销金额|付款金额|到账金额|回款金额",
        "French": "montant paye|montant regle|montant du paiement|paye|regle",
        "Spanish": "importe pagado|importe cobrado|monto pagado|pagado|cobrado",
    },
    Role.PAID: {
        "SAP": "augdt|clearing date|clearing",
        "Dynamics": "closed|lastsettledate",
        "Xero": "fullypaidondate|fully paid on date",
        "Odoo": "payment_date|full reconcile date",
        "English": "payment date|paid on|paid date|date paid|pay date|receipt date|"
        "received on|date received|settled date|settlement date|settled on|settled|"
        "cleared on|cleared date|cleared",
        "German": "zahlungsdatum|zahldatum|zahlungseingang|zahlungseingangsdatum|"
        "bezahlt am|gezahlt am|ausgleichsdatum|ausgleich|ausgeglichen am|eingangsdatum",
        "Chinese": "收款日期|付款日期|到账日期|回款日期|核销日期|清账日期|结清日期",
        "French": "date de paiement|date paiement|date de reglement|date reglement|"
        "date d encaissement",
        "Spanish": "fecha de pago|fecha pago|fecha de cobro|fecha cobro",
    },
    Role.PAYMENT: {
        "SAP": "augbl|clearing document|clrng doc.",
        "Xero": "paymentid",
        "English": "payment id|payment no|payment number|payment reference|receipt id|"
        "receipt no|receipt number|transaction id|payment",
        "German": "zahlungsnummer|zahlungs nr|zahlungsnr|ausgleichsbeleg|zahlungs id",
        "Chinese": "收款单号|收款编号|收款单编号|流水号|回单号",
        "French": "numero de paiement|n paiement|reference paiement",
        "Spanish": "numero de pago|id pago|referencia de pago",
    },
    Role.KIND: {
        "SAP": "blart|document type",
        "Odoo": "move_type",
        "ERPNext": "voucher_type",
        "Dynamics": "transtype|transaction type",
        "English": "type|document type|doc type|transaction type|payment type|kind|"
        "entry type",
        "German": "belegart|art|typ|buchungsart|zahlungsart|vorgang",
        "Chinese": "单据类型|类型|业务类型|凭证类型",
        "French": "type de piece|type",
        "Spanish": "tipo de documento|tipo",
    },
    Role.SIDE: {
        "SAP": "shkzg|debit/credit ind.|d/c",
        "English": "debit/credit|debit credit indicator|dr/cr|dc|debit credit|sign",
        "German": "soll/haben|soll haben kennzeichen|s/h|sh kz|sollhaben",
        "Chinese": "借贷方向|借贷标志|借贷|方向",
        "French": "sens|debit/credit",
        "Spanish": "debe/haber",
    },
    Role.DEBIT: {
        "English": "debit|debit amount|charges",
        "German": "soll|sollbetrag",
        "Chinese": "借方金额|借方|本期应收",
        "French": "montant debit",
        "Spanish": "debe|cargo",
    },
    Role.CREDIT: {
        "English": "credit|credit amount|payments",
        "German": "haben|habenbetrag",
        "Chinese": "贷方金额|贷方|本期收款",
        "French": "montant credit",
        "Spanish": "haber|abono",
    },
    Role.CURRENCY: {
        "SAP": "waers|document currency|currency key",
        "Dynamics": "currencycode",
        "Odoo": "currency_id",
        "ERPNext": "account_currency",
        "English": "currency|currency code|curr|ccy|cur|document currency",
        "German": "wahrung|waehrung|whg|wrg|belegwahrung|wkz",
        "Chinese": "币种|币别|货币|原币",
        "French": "devise|monnaie",
        "Spanish": "moneda|divisa",
    },
    Role.COMPANY: {
        "SAP": "bukrs|company code",
        "Dynamics": "dataareaid|legal entity",
        "Odoo": "company_id",
        "English": "company|company code|company id|entity|business unit",
        "German": "buchungskreis|mandant|firma|gesellschaft",
        "Chinese": "公司代码|公司|账套|组织",
        "French": "societe|code societe",
        "Spanish": "sociedad|empresa",
    },
    Role.YEAR: {
        "SAP": "gjahr",
        "English": "fiscal year|year",
        "German": "geschaftsjahr|geschaeftsjahr|jahr|wirtschaftsjahr",
        "Chinese": "会计年度|年度",
        "French": "exercice|annee",
        "Spanish": "ejercicio|ano",
    },
    Role.LINE: {
        "SAP": "buzei|line item",
        "English": "line item|line no|line number|line|position|instalment|installment",
        "German": "buchungszeile|positionsnummer|position|pos|zeile|rate",
        "Chinese": "行号|分录号|期数",
        "French": "ligne|no ligne",
        "Spanish": "linea|posicion",
    },
    Role.STATUS: {
        "Odoo": "state|payment_state",
        "ERPNext": "docstatus",
        "English": "status|state|document status|invoice status",
        "German": "status|belegstatus",
        "Chinese": "状态|单据状态",
        "French": "statut|etat",
        "Spanish": "estado",
    },
    Role.COUNTRY: {
        "SAP": "land1",
        "English": "country|country code|country region",
        "German": "land|landerkennzeichen|laendercode",
        "Chinese": "国家|国家地区",
        "French": "pays|code pays",
        "Spanish": "pais",
    },
    Role.SECTOR: {
        "SAP": "brsch",
        "English": "sector|industry|industry code|segment",
        "German": "branche|branchenschlussel",
        "Chinese": "行业|所属行业",
        "French": "secteur|secteur d activite",
        "Spanish": "sector|industria",
    },
    Role.REGISTERED: {
        "SAP": "erdat",
        "English": "registered on|registration date|customer since|opened on|since",
        "German": "kunde seit|anlagedatum|registriert am|erstellt am",
        "Chinese": "建档日期|开户日期|注册日期|合作日期",
        "French": "client depuis|date d inscription",
        "Spanish": "cliente desde|fecha de alta",
    },
}
# Below these, too short to be looked for inside a longer heading.
SHORTEST_PART = 7
SHORTEST_CHINESE_PART = 3
_BRACKETS = re.compile(r"[(\[（【][^)\]）】]*[)\]）】]")
_CURRENCY = re.compile(r"[(\[（【\s_]([A-Z]{3})[)\]）】]?\s*$")


@dataclass(frozen=True)
class HeadingMatch:
    """What a heading says.

    Attributes
    ----------
    role : Role
        What stands below it.
    source : str
        The language or system that the name is of.
    rank : int
        The lower, the better the name fits the role.
    is_exact : bool
        Whether the heading is the name, not a longer text that contains it.
    """

    role: Role
    source: str
    rank: int
    is_exact: bool


def folded(heading: str) -> str:
    """Return a heading without case, accents, signs, blanks and bracketed parts.

    Examples
    --------
    >>> folded("Fälligkeits-Datum (netto)"), folded("客户 编号")
    ('falligkeitsdatum', '客户编号')
    """
    bare = _BRACKETS.sub("", heading) or heading
    plain = unicodedata.normalize("NFKD", bare.casefold())
    return "".join(sign for sign in plain if sign.isalnum())


def currency_in(heading: str) -> str:
    """Return the currency that a heading ends with, such as ``Amount (EUR)``."""
    match = _CURRENCY.search(heading)
    return match[1] if match else ""


def _names() -> dict[str, list[HeadingMatch]]:
    """Return the meanings of each folded name."""
    names: dict[str, list[HeadingMatch]] = {}
    for role, by_source in HEADINGS.items():
        rank = 0
        for source, texts in by_source.items():
            for text in texts.split("|"):
                match = HeadingMatch(role, source, rank, is_exact=True)
                names.setdefault(folded(text), []).append(match)
                rank += 1
    return names


NAMES = _names()


def meanings(heading: str) -> list[HeadingMatch]:
    """Return what a heading may say, the likeliest first; nothing if it is not known.

    Examples
    --------
    >>> [match.role.name for match in meanings("KUNNR")]
    ['CUSTOMER']
    >>> meanings("Umsatzsteuer-ID")
    []
    """
    name = folded(heading)
    exact = NAMES.get(name, [])
    if exact:
        return exact
    parts = [
        HeadingMatch(match.role, match.source, match.rank + 1000, is_exact=False)
        for known_name, matches in NAMES.items()
        if _is_part(known_name, name)
        for match in matches
    ]
    return sorted(parts, key=lambda match: match.rank)


def _is_part(known_name: str, name: str) -> bool:
    """Return whether a heading ends with a name, such as SAP Invoice Number."""
    is_chinese = any("\u4e00" <= sign <= "\u9fff" for sign in known_name)
    shortest = SHORTEST_CHINESE_PART if is_chinese else SHORTEST_PART
    if len(known_name) < shortest or len(name) > 2 * len(known_name) + 4:
        return False
    return name.endswith(known_name) or (is_chinese and name.startswith(known_name))
